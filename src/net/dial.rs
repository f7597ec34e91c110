//! Connections that go out: from a host's name to a socket that has shaken hands. Entered through [`Dialer::dial`], on the event loop.
//!
//! Three steps, each with the whole of the target's timeout: the name is resolved on threads of their own (`names`), since the system's
//! resolver blocks; the addresses are tried a quarter of a second after one another until one is connected (`connect`, RFC 8305); and TLS
//! is shaken on the loop. Whoever drops the future gives up. It speaks no MQTT, and it tries once: when to try again is the caller's
//! matter.
//!
//! What a resolver says is not trusted more than who answers it: an answer that names no host, or this one, for a name that is not
//! this one's is dropped, so that nobody's answer makes the bus talk to its own ports.

mod answer;
mod connect;
mod names;

use std::fmt::{self, Display, Formatter};
use std::future::Future;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ntex::io::IoBoxed;
use ntex::service::cfg::SharedCfg;
use ntex::time::{Millis, timeout};
use socket2::SockRef;

use super::listener::Stream;
use super::tls::client::ClientTls;
use super::tls::filter;
use super::write::Watch;
use crate::auth;
use crate::config::{Host, Remote};
pub use answer::aside;
use connect::{Connector, Race, with_scope};
use names::Names;

/// Where to connect to, and how.
#[derive(Clone)]
pub struct Target {
    /// The host and port.
    pub remote: Remote,
    /// TLS, if it is to be spoken.
    pub tls: Option<ClientTls>,
    /// Where the connection goes out.
    pub from: Source,
    /// The longest that each step may take; not zero.
    pub timeout: Duration,
    /// How long the other end's kernel may leave data without a word before the connection fails (TCP_USER_TIMEOUT, RFC 5482): so
    /// a line that is dead without having said so is noticed while something is under way.
    pub silence: Duration,
}

/// Where a connection goes out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// The local address; an address of another family is not tried then.
    pub address: Option<IpAddr>,
    /// The network device.
    pub device: Option<String>,
}

/// A connection that was made.
pub struct Dialed {
    /// The connection, after TLS if there is any.
    pub io: IoBoxed,
    /// The address that was connected to.
    pub peer: SocketAddr,
}

/// Why there is no connection, as far as it reaches: one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The name has no address.
    Name(String),
    /// No address could be connected.
    Connect(String),
    /// TLS failed.
    Tls(String),
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Name(what) => write!(f, "the name cannot be resolved: {what}"),
            Failure::Connect(what) => write!(f, "cannot connect: {what}"),
            Failure::Tls(what) => write!(f, "TLS handshake failed: {what}"),
        }
    }
}

/// Makes connections. A clone is the same.
#[derive(Clone)]
pub struct Dialer(Arc<Inner>);

struct Inner {
    names: Names,
    connector: Connector,
}

impl Default for Dialer {
    fn default() -> Self {
        Dialer(Arc::new(Inner {
            names: Names::default(),
            connector: Connector::default(),
        }))
    }
}

impl Dialer {
    /// Tries once to connect. MUST be polled on the event loop.
    ///
    /// # Errors
    /// Why not; nothing is left of the attempt.
    pub async fn dial(&self, target: &Target, cfg: SharedCfg) -> Result<Dialed, Failure> {
        let addresses = self.addresses(target).await?;
        let (stream, peer) = self.connected(target, addresses).await?;
        let failed = |error: std::io::Error| Failure::Connect(error.to_string());
        let Some(tls) = &target.tls else {
            let io = ntex::rt::from_tcp_stream(stream, cfg).map_err(failed)?;
            return Ok(Dialed {
                io: io.boxed(),
                peer,
            });
        };
        let spare = stream.try_clone().ok();
        let spare = spare.map(|spare| Stream::Tcp(spare, peer));
        let io = ntex::rt::from_tcp_stream(stream, cfg).map_err(failed)?;
        let (ssl, refusal) = tls.ssl(&target.remote.host).map_err(Failure::Tls)?;
        io.register_filter_callbacks(Watch::default());
        let shaken = within(target.timeout, filter::shake_hands(io, ssl, spare)).await;
        let shaken = shaken.unwrap_or_else(|| Err("no answer in time".to_owned()));
        let io = shaken.map_err(|what| {
            Failure::Tls(match refusal.take() {
                Some(refusal) => format!("the certificate of {peer} is refused: {refusal}"),
                None => format!("{peer}: {what}"),
            })
        })?;
        Ok(Dialed {
            io: io.boxed(),
            peer,
        })
    }

    /// The addresses of the target in the order in which they are tried.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, Failure> {
        let port = target.remote.port;
        let name = match &target.remote.host {
            Host::Address(ip, device) => {
                let address = with_scope(SocketAddr::new(*ip, port), device.as_deref());
                return address
                    .map(|address| vec![address])
                    .map_err(Failure::Connect);
            }
            Host::Name(name) => name,
        };
        let resolved = within(target.timeout, self.0.names.resolve(name)).await;
        let no_answer = || Err("no answer in time".to_owned());
        let mut addresses = resolved.unwrap_or_else(no_answer).map_err(Failure::Name)?;
        if !is_this_hosts(name) {
            addresses.retain(|address| may_be_another_host(address.ip()));
        }
        if addresses.is_empty() {
            let what = "the answer has no address of another host".to_owned();
            return Err(Failure::Name(what));
        }
        for address in &mut addresses {
            address.set_port(port);
        }
        Ok(interleaved(addresses))
    }

    async fn connected(
        &self,
        target: &Target,
        addresses: Vec<SocketAddr>,
    ) -> Result<(TcpStream, SocketAddr), Failure> {
        let race = Race::new(addresses, target.from.clone(), target.timeout);
        let connected = self.0.connector.connect(race).await;
        let (stream, peer) = connected.map_err(Failure::Connect)?;
        // An error leaves it as it is without the option: the kernel tries for a quarter of an hour, and the keep alive is earlier.
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(target.silence));
        Ok((stream, peer))
    }
}

/// The password in the first line of a file.
///
/// # Errors
/// It cannot be read, with the file's path.
pub fn password(path: &std::path::Path) -> Result<auth::Secret, String> {
    /// MQTT's passwords have a length of two bytes.
    const PASSWORD_BYTES_MAX: usize = 65_535;
    let fault = |what: &dyn Display| format!("{}: {what}, expected a password", path.display());
    let content = auth::file::read(path, PASSWORD_BYTES_MAX + 2).map_err(|error| fault(&error))?;
    let content = auth::Secret::of(content.ok_or_else(|| fault(&"the file is missing"))?);
    let line = content.expose().split(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default();
    match line.strip_suffix(b"\r").unwrap_or(line) {
        [] => Err(fault(&"the first line is empty")),
        line => Ok(auth::Secret::copy_of(line)),
    }
}

async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let time = Millis(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
    timeout(time, future).await.ok()
}

/// Whether a name stands for this host whatever a resolver says (RFC 6761, section 6.3).
fn is_this_hosts(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether an address that somebody else named can be a host's, and another's than this one.
pub fn may_be_another_host(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let is_nobodys = match ip {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.octets()[0] == 0,
        IpAddr::V6(_) => false,
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_nobodys)
}

/// The families in turns, beginning with that of the first; within one the order stays (RFC 8305, section 4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_v6_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let of_first = |address: &SocketAddr| address.is_ipv6() == is_v6_first;
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(of_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests;
