//! A small MQTT 3.1.1 client for the commands: one connection, blocking, with an end to every wait. Entered through
//! [`Client::connect`].
//!
//! It sends what it is told, hands over what comes, and acknowledges messages that come with QoS 1 and 2. It does not connect again,
//! send again or ping by itself: what a lost connection means is the command's matter.

use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslStream, SslVersion};

use crate::auth::Secret;

/// A bus that does not read for so long is as good as lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// The first bytes of the packets that are sent; the lower half has the flags (2.2.2).
const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;
const SUBSCRIBE: u8 = 0x82;
const PINGREQ: [u8; 2] = [0xC0, 0];
const DISCONNECT: [u8; 2] = [0xE0, 0];

/// Where a bus is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A host's name or address, and a TCP port.
    Tcp(String, u16),
    /// The same by TLS.
    Tls(String, u16, TlsFiles),
    /// A Unix socket.
    Unix(PathBuf),
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
        }
    }
}

/// A user name and its password.
pub struct Login {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// How a connection begins.
pub struct Opening<'a> {
    /// The client id; not empty.
    pub client_id: &'a str,
    /// Whether an earlier session with this id ends, and this one with its connection.
    pub clean_session: bool,
    /// The bus may close a connection on which nothing was sent for one and a half times so long; 0: never.
    pub keep_alive_s: u16,
    /// Who connects; `None`: nobody by name.
    pub login: Option<&'a Login>,
}

/// A message, in either direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The bus keeps it, or sends it because it was kept.
    pub retain: bool,
    /// It may have been sent before.
    pub dup: bool,
    /// Not 0 with QoS 1 and 2, and 0 with QoS 0.
    pub packet_id: u16,
}

/// What the bus sends. What needs no decision (a PUBREL) is not handed over.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet {
    /// A message; with QoS 1 and 2 it has been acknowledged.
    Publish(Message),
    /// A message with QoS 1 has arrived.
    Puback(u16),
    /// A message with QoS 2 has arrived, and waits for [`Client::release`].
    Pubrec(u16),
    /// A message with QoS 2 is done.
    Pubcomp(u16),
    /// The answer to a SUBSCRIBE, a code a filter; 0x80 is a refusal.
    Suback(u16, Vec<u8>),
    /// The answer to an UNSUBSCRIBE.
    Unsuback(u16),
    /// The answer to a ping.
    Pingresp,
}

/// Why there is no connection, or no longer.
#[derive(Debug)]
pub enum Failure {
    /// The bus does not let the client in: a return code of CONNACK (table 3.1).
    Refused(u8),
    /// The connection could not be made, or was lost.
    Lost(io::Error),
}

impl Failure {
    /// Whether another attempt would end in the same way: all refusals but "server unavailable".
    pub fn is_final(&self) -> bool {
        matches!(self, Failure::Refused(code) if *code != 3)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(2) => f.write_str("the bus refuses the client id"),
            Failure::Refused(3) => f.write_str("the bus is not available"),
            Failure::Refused(4 | 5) => {
                f.write_str("the bus refuses the user name and the password")
            }
            Failure::Refused(code) => write!(f, "the bus refuses the connection with code {code}"),
            Failure::Lost(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Lost(error)
    }
}

/// One connection, past CONNACK.
pub struct Client {
    stream: Stream,
    /// What was read and is not a whole packet yet.
    input: Vec<u8>,
    packet_id: u16,
    /// Messages with QoS 2 that were handed over and not released yet.
    received: Vec<u16>,
}

impl Client {
    /// Connects, and says whether the bus has a session of this client.
    ///
    /// # Errors
    /// There is no connection and no CONNACK at `until`, or the bus refuses.
    pub fn connect(
        endpoint: &Endpoint,
        opening: &Opening<'_>,
        until: Instant,
    ) -> Result<(Client, bool), Failure> {
        let mut client = Client {
            stream: Stream::open(endpoint, until)?,
            input: Vec::new(),
            packet_id: 0,
            received: Vec::new(),
        };
        client.send(&connect(opening))?;
        let (first, body) = client.frame_until(until)?.ok_or_else(late)?;
        match (first >> 4, body.as_slice()) {
            (2, [flags, 0]) => Ok((client, flags & 1 == 1)),
            (2, [_, code]) => Err(Failure::Refused(*code)),
            _ => Err(malformed().into()),
        }
    }

    /// The next packet; `None` if there is none before `until`.
    ///
    /// # Errors
    /// The connection is lost, or what comes is not MQTT.
    pub fn receive(&mut self, until: Instant) -> Result<Option<Packet>, Failure> {
        while let Some((first, body)) = self.frame_until(until)? {
            if let Some(packet) = self.understand(first, &body)? {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }

    /// Subscribes to filters, each with the highest QoS that is wanted, and returns the packet id of the answer.
    pub fn subscribe(&mut self, filters: &[(&str, u8)]) -> Result<u16, Failure> {
        self.packet_id += 1;
        let mut body = self.packet_id.to_be_bytes().to_vec();
        for (filter, qos) in filters {
            put_bytes(&mut body, filter.as_bytes());
            body.push(*qos);
        }
        self.send(&frame(SUBSCRIBE, &body))?;
        Ok(self.packet_id)
    }

    /// Publishes. A message with QoS 1 and 2 MUST have a packet id that no other one on its way has.
    pub fn publish(&mut self, message: &Message) -> Result<(), Failure> {
        let mut body = Vec::with_capacity(message.topic.len() + message.payload.len() + 4);
        put_bytes(&mut body, message.topic.as_bytes());
        if message.qos > 0 {
            body.extend(message.packet_id.to_be_bytes());
        }
        body.extend(&message.payload);
        let flags = u8::from(message.dup) << 3 | message.qos << 1 | u8::from(message.retain);
        self.send(&frame(PUBLISH | flags, &body))
    }

    /// Answers a PUBREC.
    pub fn release(&mut self, packet_id: u16) -> Result<(), Failure> {
        self.send(&acknowledgement(PUBREL, packet_id))
    }

    /// Asks for a sign of life, which comes after the answers to everything that was sent before.
    pub fn ping(&mut self) -> Result<(), Failure> {
        self.send(&PINGREQ)
    }

    /// Ends the connection in order.
    pub fn disconnect(mut self) -> Result<(), Failure> {
        self.send(&DISCONNECT)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The next packet's first byte and its body.
    fn frame_until(&mut self, until: Instant) -> io::Result<Option<(u8, Vec<u8>)>> {
        let mut chunk = [0; 16_384];
        loop {
            if let Some(frame) = take_frame(&mut self.input)? {
                return Ok(Some(frame));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.read_within(left)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if is_wait(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The packet, if it is for the caller. What it asks for is answered.
    fn understand(&mut self, first: u8, body: &[u8]) -> Result<Option<Packet>, Failure> {
        let id = || match body {
            [high, low, ..] => Ok(u16::from_be_bytes([*high, *low])),
            _ => Err(malformed()),
        };
        Ok(Some(match first >> 4 {
            3 => return self.message(first, body),
            4 => Packet::Puback(id()?),
            5 => Packet::Pubrec(id()?),
            6 => {
                let id = id()?;
                self.received.retain(|received| *received != id);
                self.send(&acknowledgement(PUBCOMP, id))?;
                return Ok(None);
            }
            7 => Packet::Pubcomp(id()?),
            9 => Packet::Suback(id()?, body[2..].to_vec()),
            11 => Packet::Unsuback(id()?),
            13 => Packet::Pingresp,
            _ => return Err(malformed().into()),
        }))
    }

    fn message(&mut self, first: u8, body: &[u8]) -> Result<Option<Packet>, Failure> {
        let message = publish(first, body).ok_or_else(malformed)?;
        match message.qos {
            0 => {}
            1 => self.send(&acknowledgement(PUBACK, message.packet_id))?,
            _ => {
                self.send(&acknowledgement(PUBREC, message.packet_id))?;
                // [MQTT-4.3.3-2]: it is the same message until PUBREL.
                if self.received.contains(&message.packet_id) {
                    return Ok(None);
                }
                self.received.push(message.packet_id);
            }
        }
        Ok(Some(Packet::Publish(message)))
    }
}

/// A stream of any kind.
enum Stream {
    Tcp(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
    Unix(UnixStream),
}

impl Stream {
    fn open(endpoint: &Endpoint, until: Instant) -> io::Result<Stream> {
        let stream = match endpoint {
            Endpoint::Tcp(host, port) => Stream::Tcp(dial(host, *port, until)?),
            Endpoint::Tls(host, port, files) => {
                let stream = dial(host, *port, until)?;
                let left = until.saturating_duration_since(Instant::now());
                stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
                Stream::Tls(Box::new(shake_hands(stream, host, files)?))
            }
            Endpoint::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        match &stream {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(SEND_TIMEOUT))?,
            Stream::Tls(stream) => stream.get_ref().set_write_timeout(Some(SEND_TIMEOUT))?,
            Stream::Unix(stream) => stream.set_write_timeout(Some(SEND_TIMEOUT))?,
        }
        Ok(stream)
    }

    fn read_within(&self, time: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(time)),
            Stream::Tls(stream) => stream.get_ref().set_read_timeout(Some(time)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(time)),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
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
            return Err(late());
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

/// CONNECT (3.1).
fn connect(opening: &Opening<'_>) -> Vec<u8> {
    let login = opening.login.map_or(0, |_| 0xC0);
    let mut body = b"\0\x04MQTT\x04".to_vec();
    body.push(login | u8::from(opening.clean_session) << 1);
    body.extend(opening.keep_alive_s.to_be_bytes());
    put_bytes(&mut body, opening.client_id.as_bytes());
    if let Some(login) = opening.login {
        put_bytes(&mut body, login.user.as_bytes());
        put_bytes(&mut body, login.password.expose());
    }
    frame(CONNECT, &body)
}

fn acknowledgement(first: u8, packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    [first, 2, high, low]
}

/// A packet with its fixed header (2.2).
fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        packet.push(low & 0x7F | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// A string or binary data with its length before it (1.5.3). Callers' strings are within the 65,535 bytes; a longer one is cut.
fn put_bytes(body: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    body.extend(length.to_be_bytes());
    body.extend(&bytes[..usize::from(length)]);
}

/// Takes the first packet out of what was read, if it is whole.
fn take_frame(input: &mut Vec<u8>) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut length = 0;
    for index in 0..4 {
        let Some(byte) = input.get(1 + index) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let end = 2 + index + length;
            if input.len() < end {
                return Ok(None);
            }
            let first = input[0];
            let body = input[2 + index..end].to_vec();
            input.drain(..end);
            return Ok(Some((first, body)));
        }
    }
    Err(malformed())
}

/// PUBLISH (3.3).
fn publish(first: u8, body: &[u8]) -> Option<Message> {
    let (length, rest) = body.split_first_chunk::<2>()?;
    let (topic, mut rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let qos = first >> 1 & 3;
    let mut packet_id = 0;
    if qos > 0 {
        let (id, payload) = rest.split_first_chunk::<2>()?;
        packet_id = u16::from_be_bytes(*id);
        rest = payload;
    }
    Some(Message {
        topic: String::from_utf8(topic.to_vec()).ok()?,
        payload: rest.to_vec(),
        qos,
        retain: first & 1 == 1,
        dup: first & 8 == 8,
        packet_id,
    })
}

fn malformed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "what answers is not MQTT 3.1.1")
}

fn late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "the bus does not answer")
}

/// Whether a read only found nothing yet.
fn is_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_has_the_bytes_of_the_specifications_figures_3_1() {
        let login = Login {
            user: "u".into(),
            password: Secret::copy_of(b"p"),
        };
        let opening = Opening {
            client_id: "c",
            clean_session: false,
            keep_alive_s: 30,
            login: Some(&login),
        };
        let expected = b"\x10\x13\0\x04MQTT\x04\xC0\0\x1E\0\x01c\0\x01u\0\x01p";
        assert_eq!(connect(&opening), expected);
        let opening = Opening {
            clean_session: true,
            login: None,
            ..opening
        };
        assert_eq!(
            connect(&opening),
            b"\x10\x0D\0\x04MQTT\x04\x02\0\x1E\0\x01c"
        );
    }

    #[test]
    fn a_packet_is_taken_when_it_is_whole_and_what_follows_stays() {
        let payload = vec![b'x'; 300];
        let mut body = Vec::new();
        put_bytes(&mut body, b"a/b");
        body.extend(7_u16.to_be_bytes());
        body.extend(&payload);
        let bytes = frame(0x3B, &body);
        let mut input = Vec::new();
        for byte in &bytes {
            assert_eq!(take_frame(&mut input).expect("a beginning"), None);
            input.push(*byte);
        }
        input.push(0xD0);
        let (first, body) = take_frame(&mut input).expect("whole").expect("whole");
        assert_eq!(input, [0xD0]);
        let expected = Message {
            topic: "a/b".into(),
            payload,
            qos: 1,
            retain: true,
            dup: true,
            packet_id: 7,
        };
        assert_eq!(publish(first, &body), Some(expected));
    }

    #[test]
    fn what_is_not_mqtt_is_an_error_and_not_an_endless_wait() {
        assert!(take_frame(&mut b"\x30\xFF\xFF\xFF\xFF".to_vec()).is_err());
        for body in [&b""[..], b"\0", b"\0\x05a", b"\0\x01a", b"\0\x01\xFF\0\x01"] {
            assert_eq!(publish(0x32, body), None, "{body:?}");
        }
    }
}
