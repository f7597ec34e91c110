//! The section `bridge`: a connection to another broker, over which topics are forwarded. Entered through `Bridge::read`.
//!
//! It opens neither sockets nor files: a certificate that is missing is found out when the bridge connects, and by `check`. What a
//! message's topic becomes is said in the bridge's mapping; [`topic`] reads the words for it.

pub mod topic;

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use topic::{Direction, Mapping};

use super::fault::Quoted;
use super::listener::{PORT, PORT_TLS, TlsVersion, tls_version};
use super::section::{Reader, text};
use super::value;

/// A connection to another broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The section's name.
    pub name: String,
    /// Where it was asked for.
    pub line: Line,
    /// Where the other broker is, in the order in which it is tried; empty only if it is `found`.
    pub remotes: Vec<Remote>,
    /// The controller id by which the other broker is also looked for on the network; of subordinates only.
    pub found: Option<String>,
    /// How TLS is done; `None`: not at all.
    pub tls: Option<BridgeTls>,
    /// The local address that it connects from.
    pub bind_address: Option<IpAddr>,
    /// The network device that it connects through.
    pub bind_device: Option<String>,
    /// For each of: resolving a name, connecting with TLS, and MQTT's CONNECT; not zero.
    pub connect_timeout: Duration,
    /// The user name at the other broker.
    pub username: Option<String>,
    /// The file whose first line is the password there.
    pub password_file: Option<PathBuf>,
    /// Which MQTT is spoken.
    pub protocol: BridgeProtocol,
    /// The client id there; `None`: `NAME.HOSTNAME`. Without + and #.
    pub client_id: Option<String>,
    /// What is forwarded; not empty.
    pub topics: Vec<Mapping>,
    /// Whether both sides forget what was under way when the connection is lost.
    pub clean_start: bool,
    /// So long the other broker is asked to keep the session.
    pub session_expiry: Duration,
    /// In seconds; not 0.
    pub keep_alive_s: u16,
    /// The shortest and the longest time between two attempts; the second is not less than the first.
    pub restart: (Duration, Duration),
    /// Whether the other broker is told that this is a bridge (MQTT 3.1.1).
    pub try_private: bool,
    /// A message that has passed so many bridges is not forwarded; not 0.
    pub max_hops: u8,
    /// Whether messages keep their retain flag on the way out.
    pub retain_out: bool,
    /// Whether messages keep their retain flag on the way in.
    pub retain_in: bool,
    /// When the other broker sends what it has retained.
    pub retain_handling: RetainHandling,
    /// Who is told whether the bridge is connected.
    pub notify: Notify,
    /// The topic that it is told on; `None`: `$SYS/broker/connection/CLIENT_ID/state`.
    pub notification_topic: Option<String>,
    /// What waits while there is no connection.
    pub queue: BridgeQueue,
    /// Messages with QoS 1 or 2 on the way at once; not 0.
    pub max_inflight: u16,
}

/// A line of the file; 0 if none. Any two are equal: a section that only moved within the file need not be touched.
#[derive(Debug, Clone, Copy)]
pub struct Line(pub u32);

impl PartialEq for Line {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Line {}

/// Where another broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The host.
    pub host: Host,
    /// The TCP port; not 0.
    pub port: u16,
}

/// A host's name or address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name, to be resolved.
    Name(String),
    /// An address, and the device that a link-local one needs.
    Address(IpAddr, Option<String>),
}

impl Display for Host {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(ip, None) => write!(f, "{ip}"),
            Host::Address(ip, Some(device)) => write!(f, "{ip}%{device}"),
        }
    }
}

impl Display for Remote {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.host {
            Host::Address(IpAddr::V6(_), _) => write!(f, "[{}]:{}", self.host, self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How TLS is done to another broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeTls {
    /// The CA certificates, a file or a directory; `None`: the system's, or none if there are pins.
    pub ca: Option<PathBuf>,
    /// Our certificate with its chain, and its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// SHA-256 fingerprints in lower-case digits of which the other's certificate must have one; empty: any.
    pub pins: Vec<String>,
    /// Whether the other's certificate must be for the name that it is connected by; never with pins.
    pub verify_name: bool,
    /// The name in the handshake, and in the certificate; `None`: the host's.
    pub sni: Option<String>,
    /// The protocols offered.
    pub alpn: Vec<String>,
    /// The oldest version.
    pub min_version: TlsVersion,
}

/// Which MQTT a bridge speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeProtocol {
    /// 5.0, and 3.1.1 where the other broker does not know that.
    Auto,
    /// 5.0 only.
    V5,
    /// 3.1.1 only.
    V311,
}

/// When the other broker sends what it has retained (MQTT 5; in 3.1.1 always).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainHandling {
    /// At each subscribing.
    Always,
    /// Where it has no such subscription yet.
    New,
    /// Not at all.
    Never,
}

/// Who is told whether a bridge is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notify {
    /// Nobody.
    Nobody,
    /// The clients here.
    Local,
    /// The clients here and at the other broker.
    Both,
}

/// What waits while a bridge has no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeQueue {
    /// So many messages; not 0.
    pub messages: u32,
    /// So many bytes; not 0.
    pub bytes: u64,
    /// So long one with QoS 1 or 2; `None`: without limit.
    pub ttl: Option<Duration>,
    /// So long one with QoS 0; zero: not at all.
    pub qos0_ttl: Duration,
}

impl Bridge {
    /// A section; `None` if it is disabled, nameless, or has neither an address nor a topic that is right. A disabled one is checked
    /// all the same.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.name()?.to_owned();
        let tls = tls(reader);
        login(reader);
        let bridge = Bridge {
            name,
            line: Line(reader.line()),
            remotes: remotes(reader),
            found: None,
            tls,
            bind_address: reader.optional("bind_address", |text| text.parse().ok()),
            bind_device: reader.optional("bind_device", value::device),
            connect_timeout: reader.required("connect_timeout", value::duration),
            username: reader.optional("username", text),
            password_file: reader.optional("password_file", value::path),
            protocol: reader.required("protocol", protocol),
            client_id: client_id(reader),
            topics: topics(reader),
            clean_start: reader.flag("clean_start"),
            session_expiry: reader.required("session_expiry", value::duration),
            keep_alive_s: reader.required("keepalive", |text| {
                u16::try_from(value::duration(text)?.as_secs()).ok()
            }),
            restart: restart(reader),
            try_private: reader.flag("try_private"),
            max_hops: reader.number("max_hops"),
            retain_out: reader.flag("retain_out"),
            retain_in: reader.flag("retain_in"),
            retain_handling: reader.required("retain_handling", retain_handling),
            notify: notify(reader),
            notification_topic: reader.optional("notification_topic", text),
            queue: BridgeQueue {
                messages: reader.number("queue_messages"),
                bytes: reader.number("queue_bytes"),
                ttl: reader.optional("queue_ttl", value::duration),
                qos0_ttl: reader.required("qos0_queue_ttl", value::duration),
            },
            max_inflight: reader.number("max_inflight"),
        };
        let is_whole = !bridge.remotes.is_empty() && !bridge.topics.is_empty();
        (is_whole && reader.flag("enabled")).then_some(bridge)
    }
}

fn protocol(text: &str) -> Option<BridgeProtocol> {
    match text {
        "auto" => Some(BridgeProtocol::Auto),
        "5" => Some(BridgeProtocol::V5),
        "3.1.1" => Some(BridgeProtocol::V311),
        _ => None,
    }
}

fn retain_handling(text: &str) -> Option<RetainHandling> {
    match text {
        "always" => Some(RetainHandling::Always),
        "new" => Some(RetainHandling::New),
        "never" => Some(RetainHandling::Never),
        _ => None,
    }
}

fn notify(reader: &Reader<'_>) -> Notify {
    match (
        reader.flag("notifications"),
        reader.flag("notifications_local_only"),
    ) {
        (false, _) => Notify::Nobody,
        (true, true) => Notify::Local,
        (true, false) => Notify::Both,
    }
}

fn remotes(reader: &mut Reader<'_>) -> Vec<Remote> {
    if !reader.is_set("address") {
        reader.missing("address", "is missing: where the other broker is");
    }
    let port = reader.optional("port", |text| u16::try_from(value::count(text)?).ok());
    let default_port = if reader.flag("tls") { PORT_TLS } else { PORT };
    let port = port.unwrap_or(default_port);
    let written = reader.list("address", value::remote);
    let remote = |((host, own_port), _): ((Host, Option<u16>), u32)| Remote {
        host,
        port: own_port.unwrap_or(port),
    };
    written.into_iter().map(remote).collect()
}

/// The TLS options, which need one another. `None` without TLS.
fn tls(reader: &mut Reader<'_>) -> Option<BridgeTls> {
    if !reader.flag("tls") {
        let of_tls = [
            "ca",
            "cert",
            "key",
            "pin",
            "verify_name",
            "sni",
            "alpn",
            "tls_min",
        ];
        for option in of_tls {
            if reader.is_set(option) {
                let line = reader.line_of(option);
                reader.fault(option, line, "is of no use without option tls '1'");
            }
        }
        return None;
    }
    for (option, needed) in [("cert", "key"), ("key", "cert")] {
        if reader.is_set(option) && !reader.is_set(needed) {
            let line = reader.line_of(option);
            reader.fault(option, line, format!("needs option {needed} beside it"));
        }
    }
    let pins: Vec<_> = reader
        .list("pin", value::fingerprint)
        .into_iter()
        .map(|(pin, _)| pin)
        .collect();
    let cert = reader.optional("cert", value::path);
    Some(BridgeTls {
        ca: reader.optional("ca", value::path),
        own: cert.zip(reader.optional("key", value::path)),
        verify_name: reader.flag("verify_name") && pins.is_empty(),
        pins,
        sni: reader.optional("sni", text),
        alpn: reader.texts("alpn"),
        min_version: reader.required("tls_min", tls_version),
    })
}

/// MQTT 3.1.1 has no password without a user name [MQTT-3.1.2-22].
fn login(reader: &mut Reader<'_>) {
    if reader.is_set("password_file") && !reader.is_set("username") {
        let line = reader.line_of("password_file");
        reader.fault("password_file", line, "needs option username beside it");
    }
}

/// The client id names a topic, where the state is told.
fn client_id(reader: &mut Reader<'_>) -> Option<String> {
    let client_id = reader.optional("client_id", text)?;
    if client_id.contains(['+', '#']) {
        let line = reader.line_of("client_id");
        let what = format!("{} has a + or #, which no topic has", Quoted(&client_id));
        reader.fault("client_id", line, what);
        return None;
    }
    Some(client_id)
}

fn restart(reader: &mut Reader<'_>) -> (Duration, Duration) {
    let least = reader.required("restart_timeout", value::duration);
    let most = reader.required("restart_timeout_max", value::duration);
    if reader.is_set("restart_timeout_max") && most < least {
        let line = reader.line_of("restart_timeout_max");
        reader.fault(
            "restart_timeout_max",
            line,
            "is less than restart_timeout, with which it begins",
        );
    }
    (least, most.max(least))
}

fn topics(reader: &mut Reader<'_>) -> Vec<Mapping> {
    if !reader.is_set("topic") {
        reader.missing("topic", "is missing: what is forwarded");
    }
    let written = reader.list("topic", |text| Mapping::parse(text).ok());
    let (topics, lines): (Vec<_>, Vec<_>) = written.into_iter().unzip();
    if let Some(index) = topic::wandering(&topics) {
        reader.fault(
            "topic",
            lines[index],
            "brings back under another name what goes out, and that goes out again: a loop",
        );
    }
    topics
}

/// Bridges with one client id at one address would throw each other out for ever: the later one, with what is wrong.
pub(super) fn conflicts(bridges: &[Bridge]) -> Vec<(&Bridge, String)> {
    let mut conflicts = Vec::new();
    for (index, bridge) in bridges.iter().enumerate() {
        let is_same = |other: &&Bridge| {
            bridge.client_id.is_some()
                && bridge.client_id == other.client_id
                && bridge
                    .remotes
                    .iter()
                    .any(|remote| other.remotes.contains(remote))
        };
        if let Some(other) = bridges[..index].iter().find(is_same) {
            let what = format!(
                "has the client id of '{}' at the same address: they would throw each other out",
                other.name
            );
            conflicts.push((bridge, what));
        }
    }
    conflicts
}
