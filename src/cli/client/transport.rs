//! What carries the commands' MQTT: TCP, TLS or a Unix socket, and WebSocket over each of them. Entered through [`Stream::open`].
//!
//! It blocks, and each wait has an end. It knows nothing of MQTT.

use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslStream, SslVersion};

use super::websocket::WebSocket;

/// A bus that does not read for so long is as good as lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a bus is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A host's name or address, and a TCP port.
    Tcp(String, u16),
    /// The same by TLS.
    Tls(String, u16, TlsFiles),
    /// A Unix socket.
    Unix(PathBuf),
    /// WebSocket over one of the others.
    WebSocket(Box<Endpoint>),
}

/// How the two ends of TLS know each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The CA's certificate.
    pub ca: PathBuf,
    /// The client's certificate and its chain, and its key, if it has them.
    pub own: Option<(PathBuf, PathBuf)>,
    /// The name that the bus's certificate must have instead of the host's; empty: any.
    pub name: Option<String>,
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tls(host, port, _) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp(host, port) | Endpoint::Tls(host, port, _) => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
            Endpoint::WebSocket(below) => {
                let is_tls = matches!(**below, Endpoint::Tls(..));
                let scheme = if is_tls { "wss" } else { "ws" };
                write!(f, "{scheme}://{below}")
            }
        }
    }
}

/// A stream of any kind.
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS.
    Tls(Box<SslStream<TcpStream>>),
    /// A Unix socket.
    Unix(UnixStream),
    /// WebSocket.
    WebSocket(Box<WebSocket<Stream>>),
}

impl Stream {
    /// Connects.
    ///
    /// # Errors
    /// There is no connection at `until`, or what answers is something else.
    pub fn open(endpoint: &Endpoint, until: Instant) -> io::Result<Stream> {
        let stream = match endpoint {
            Endpoint::Tcp(host, port) => Stream::Tcp(dial(host, *port, until)?),
            Endpoint::Tls(host, port, files) => {
                let stream = dial(host, *port, until)?;
                let left = until.saturating_duration_since(Instant::now());
                stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
                Stream::Tls(Box::new(shake_hands(stream, host, files)?))
            }
            Endpoint::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Endpoint::WebSocket(below) => {
                let host = match &**below {
                    Endpoint::Unix(_) => "localhost".to_owned(),
                    other => other.to_string(),
                };
                let wait = |stream: &Stream| {
                    let left = until.saturating_duration_since(Instant::now());
                    let is_late = left.is_zero();
                    let late = || io::Error::from(ErrorKind::TimedOut);
                    (!is_late).then_some(()).ok_or_else(late)?;
                    stream.read_within(left)
                };
                let opened = WebSocket::open(Stream::open(below, until)?, &host, wait)?;
                Stream::WebSocket(Box::new(opened))
            }
        };
        match &stream {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(SEND_TIMEOUT))?,
            Stream::Tls(stream) => stream.get_ref().set_write_timeout(Some(SEND_TIMEOUT))?,
            Stream::Unix(stream) => stream.set_write_timeout(Some(SEND_TIMEOUT))?,
            // The stream below has it.
            Stream::WebSocket(_) => {}
        }
        Ok(stream)
    }

    /// No read waits longer than this.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn read_within(&self, time: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(time)),
            Stream::Tls(stream) => stream.get_ref().set_read_timeout(Some(time)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(time)),
            Stream::WebSocket(stream) => stream.below().read_within(time),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
            Stream::WebSocket(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
            Stream::WebSocket(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connects to the first address of the host that answers.
fn dial(host: &str, port: u16, until: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Makes TLS of a connection: of version 1.2 at least, to a bus whose certificate the CA has signed.
fn shake_hands(
    stream: TcpStream,
    host: &str,
    files: &TlsFiles,
) -> io::Result<SslStream<TcpStream>> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_ca_file(&files.ca)?;
    if let Some((certificate, key)) = &files.own {
        builder.set_certificate_chain_file(certificate)?;
        builder.set_private_key_file(key, SslFiletype::PEM)?;
    }
    let mut configuration = builder.build().configure()?;
    let name = files.name.as_deref().unwrap_or(host);
    configuration.set_verify_hostname(!name.is_empty());
    let connected = match name {
        // Without a name that is checked, the host's only says who is meant.
        "" => configuration.connect(host, stream),
        name => configuration.connect(name, stream),
    };
    connected.map_err(|error| io::Error::other(format!("TLS: {error}")))
}
