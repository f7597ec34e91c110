//! The sections `local`, `remote` and `listener`: where clients are expected, and what they have to show. Entered
//! through [`Listener::local`], [`Listener::remote`] and [`Listener::read`].
//!
//! It opens neither sockets nor certificates: a file that is missing is found out when the listener starts, which then
//! stays closed while the others run.

use std::path::{Path, PathBuf};

use super::bind::{self, Bind, EVERYWHERE, LOOPBACK, tcp};
use super::global::servers;
use super::network::Network;
use super::section::{Reader, text};
use super::value;
use crate::mqtt::{Capabilities, Qos};

/// MQTT's registered ports, without and with TLS.
pub(super) const PORT: u16 = 1883;
pub(super) const PORT_TLS: u16 = 8883;

/// So many connections at once where the section has no option for it.
const CONNECTIONS_MAX: u32 = 1000;

/// A place where clients are expected.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The section's name.
    pub name: String,
    /// The file in which it was asked for.
    pub path: PathBuf,
    /// The line in which it was asked for; 0 if by default. Not part of equality: a listener that only moved within the
    /// file need not be touched.
    pub line: u32,
    /// The sockets; never empty.
    pub binds: Vec<Bind>,
    /// What is spoken.
    pub protocol: Protocol,
    /// The pages that may connect by WebSocket, as `https://host:port` each, or `*` for any; empty: as
    /// `net::websocket` decides.
    pub origins: Vec<String>,
    /// How TLS is done; `None`: not at all.
    pub tls: Option<Tls>,
    /// What makes a client's user name.
    pub identity: IdentitySource,
    /// Whether a client without a user name is accepted.
    pub allow_anonymous: bool,
    /// Connections at once; not 0.
    pub max_connections: u32,
    /// What is put before every topic of its clients.
    pub mount_point: Option<String>,
    /// What its clients may use of MQTT.
    pub offer: Capabilities,
    /// Where its clients are to go, servers with a space between them; none is let in then.
    pub moved_to: Option<String>,
}

impl PartialEq for Listener {
    fn eq(&self, other: &Self) -> bool {
        let Listener {
            name,
            path: _,
            line: _,
            binds,
            protocol,
            origins,
            tls,
            identity,
            ..
        } = self;
        let Listener {
            allow_anonymous,
            max_connections,
            mount_point,
            offer,
            moved_to,
            ..
        } = self;
        *name == other.name
            && *binds == other.binds
            && *protocol == other.protocol
            && *origins == other.origins
            && *tls == other.tls
            && *identity == other.identity
            && *allow_anonymous == other.allow_anonymous
            && *max_connections == other.max_connections
            && *mount_point == other.mount_point
            && *offer == other.offer
            && *moved_to == other.moved_to
    }
}

impl Eq for Listener {}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT.
    Mqtt,
    /// MQTT in WebSocket frames.
    WebSocket,
}

/// What makes a client's user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentitySource {
    /// The common name of its certificate.
    CommonName,
    /// The whole subject of its certificate.
    Subject,
    /// The user name of its CONNECT, proven by the password.
    UserName,
}

/// How TLS is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The CA certificates for clients' certificates; always there if certificates are required.
    pub ca: Option<PathBuf>,
    /// The certificate and its chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The revoked certificates.
    pub crl: Option<PathBuf>,
    /// The oldest version.
    pub min_version: TlsVersion,
    /// Whether a client without a certificate is refused.
    pub require_certificate: bool,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl Listener {
    /// Whether it is the one of the router's own programs.
    pub fn is_local(&self) -> bool {
        self.name == "local"
    }

    /// The local side; `None` if it is disabled.
    pub(super) fn local(reader: &Reader<'_>, path: &Path) -> Option<Self> {
        let binds = tcp(LOOPBACK, reader.number("port"));
        reader.flag("enabled").then(|| Listener {
            name: "local".into(),
            path: path.to_owned(),
            line: reader.line(),
            binds,
            protocol: Protocol::Mqtt,
            origins: Vec::new(),
            tls: None,
            identity: IdentitySource::UserName,
            allow_anonymous: false,
            max_connections: CONNECTIONS_MAX,
            mount_point: None,
            offer: Capabilities::default(),
            moved_to: None,
        })
    }

    /// The remote side with the certificates below the root; `None` if it is disabled.
    pub(super) fn remote(reader: &Reader<'_>, path: &Path, root: &Path) -> Option<Self> {
        let binds = tcp(EVERYWHERE, reader.number("port"));
        let directory = root.join("etc/ssl/ca/remote");
        reader.flag("enabled").then(|| Listener {
            name: "remote".into(),
            path: path.to_owned(),
            line: reader.line(),
            binds,
            protocol: Protocol::Mqtt,
            origins: Vec::new(),
            tls: Some(Tls {
                ca: Some(directory.join("ca.crt")),
                cert: directory.join("01.crt"),
                key: directory.join("01.key"),
                crl: Some(directory.join("ca.crl")),
                min_version: TlsVersion::V1_2,
                require_certificate: true,
            }),
            identity: IdentitySource::CommonName,
            allow_anonymous: false,
            max_connections: CONNECTIONS_MAX,
            mount_point: None,
            offer: Capabilities::default(),
            moved_to: None,
        })
    }

    /// A listener of the user's own; `None` if it is disabled or nameless. A disabled one is checked all the same.
    pub(super) fn read(reader: &mut Reader<'_>, path: &Path, network: &Network) -> Option<Self> {
        let name = reader.name()?.to_owned();
        if name == "local" || name == "remote" {
            reader.fault_here(format!("'{name}' is the {name} side: choose another name"));
        }
        let protocol = protocol(reader);
        let tls = tls(reader);
        let port = reader.optional("port", |text| u16::try_from(value::count(text)?).ok());
        let default_port = if reader.flag("tls") { PORT_TLS } else { PORT };
        let listener = Listener {
            name,
            path: path.to_owned(),
            line: reader.line(),
            binds: bind::read(reader, port.unwrap_or(default_port), network),
            protocol,
            origins: reader.texts("origin"),
            identity: identity(reader, tls.as_ref()),
            tls,
            allow_anonymous: reader.flag("allow_anonymous"),
            max_connections: reader.number("max_connections"),
            mount_point: reader.optional("mount_point", text),
            offer: offer(reader),
            moved_to: servers(reader, "moved_to"),
        };
        reader.flag("enabled").then_some(listener)
    }
}

fn offer(reader: &Reader<'_>) -> Capabilities {
    Capabilities {
        max_qos: reader.required("max_qos", |text| Qos::from_bits(text.parse().ok()?)),
        retain_available: reader.flag("retain_available"),
        max_topic_alias: reader.number("max_topic_alias"),
    }
}

fn protocol(reader: &mut Reader<'_>) -> Protocol {
    if reader.required("protocol", text) == "websocket" {
        return Protocol::WebSocket;
    }
    if reader.is_set("origin") {
        let line = reader.line_of("origin");
        reader.fault(
            "origin",
            line,
            "is of no use without option protocol 'websocket'",
        );
    }
    Protocol::Mqtt
}

pub(super) fn tls_version(text: &str) -> Option<TlsVersion> {
    match text {
        "1.2" => Some(TlsVersion::V1_2),
        "1.3" => Some(TlsVersion::V1_3),
        _ => None,
    }
}

/// The TLS options, which need one another. `None` without TLS, and when certificate or key are missing.
fn tls(reader: &mut Reader<'_>) -> Option<Tls> {
    if !reader.flag("tls") {
        for option in ["ca", "cert", "key", "crl", "tls_min", "require_certificate"] {
            let off = option == "require_certificate" && !reader.flag(option);
            // A value that is wrong in itself has been said to be wrong.
            let wrong = option == "tls_min" && reader.optional(option, tls_version).is_none();
            if reader.is_set(option) && !off && !wrong {
                let line = reader.line_of(option);
                reader.fault(option, line, "is of no use without option tls '1'");
            }
        }
        return None;
    }
    for (option, what) in [
        ("cert", "the path of the certificate"),
        ("key", "the path of the certificate's key"),
    ] {
        if !reader.is_set(option) {
            reader.missing(option, format!("is missing: tls '1' needs {what}"));
        }
    }
    let require_certificate = reader.flag("require_certificate");
    for (needs, option) in [
        (require_certificate, "require_certificate"),
        (reader.is_set("crl"), "crl"),
    ] {
        if needs && !reader.is_set("ca") {
            let line = reader.line_of(option);
            reader.fault(
                option,
                line,
                "needs option ca: the CA that clients' certificates are checked against",
            );
        }
    }
    let min_version = reader.required("tls_min", tls_version);
    Some(Tls {
        ca: reader.optional("ca", value::path),
        cert: reader.optional("cert", value::path)?,
        key: reader.optional("key", value::path)?,
        crl: reader.optional("crl", value::path),
        min_version,
        require_certificate,
    })
}

fn identity(reader: &mut Reader<'_>, tls: Option<&Tls>) -> IdentitySource {
    let by_default = match tls {
        Some(tls) if tls.require_certificate => IdentitySource::CommonName,
        _ => IdentitySource::UserName,
    };
    let identity = reader.optional("identity", |text| match text {
        "cn" => Some(IdentitySource::CommonName),
        "subject" => Some(IdentitySource::Subject),
        _ => Some(IdentitySource::UserName),
    });
    let needs_ca = matches!(
        identity,
        Some(IdentitySource::CommonName | IdentitySource::Subject)
    );
    if needs_ca && !(reader.flag("tls") && reader.is_set("ca")) {
        let line = reader.line_of("identity");
        reader.fault(
            "identity",
            line,
            "needs tls '1' and option ca: it is read from the client's certificate",
        );
    }
    identity.unwrap_or(by_default)
}
