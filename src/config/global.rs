//! The section `global`: what holds for the whole bus. Entered through [`Global::read`]. It sets values only; each is
//! obeyed where it matters.

use std::time::Duration;

use super::section::Reader;
use super::value;
use crate::acl::Pattern;
use crate::log::Level;

/// What holds for the whole bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// Log this and what is worse; `debug '1'` makes it [`Level::Debug`].
    pub log_level: Level,
    /// The ceiling of all clients' data in bytes; `None`: a quarter of the RAM.
    pub memory_limit: Option<usize>,
    /// The largest packet that is accepted, in bytes.
    pub max_packet_size: u32,
    /// Messages with QoS 1 or 2 on the way to one client at once; not 0.
    pub max_inflight: u16,
    /// Messages that wait for one client; not 0.
    pub queue_messages: usize,
    /// Bytes that wait for one client.
    pub queue_bytes: usize,
    /// How long a message with QoS 0 waits for a client that is away; zero: not at all.
    pub qos0_queue_ttl: Duration,
    /// How long the session of an MQTT 3 client that is away is kept; whole seconds that fit 32 bits.
    pub session_expiry: Duration,
    /// The longest that an MQTT 5 client may ask for; `None`: no limit, and never expiring is possible.
    pub max_session_expiry: Option<Duration>,
    /// The longest Keep Alive of an MQTT 5 client in seconds; 0: any.
    pub max_keep_alive_s: u16,
    /// The topic below which a client may expect responses.
    pub response_information: Pattern,
    /// The servers to use when this one stops, with a space between them.
    pub server_reference: Option<String>,
    /// How often the `$SYS` topics are renewed; zero: never.
    pub sys_interval: Duration,
    /// The time for the TLS handshake and CONNECT together; not zero.
    pub connect_timeout: Duration,
    /// Connections of one listener that are not past CONNECT; not 0.
    pub max_unauthenticated: usize,
    /// New connections a second from one address; 0: no limit.
    pub connection_rate: u32,
    /// The longest wait for the answer to a wrong password; zero: none.
    pub login_delay: Duration,
    /// What holds when no rule matches; it is in the rules too.
    pub acl_default_allow: bool,
}

impl Global {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        let level = reader.required("log_level", Level::named);
        let size = |text: &str| value::size(text).and_then(|size| usize::try_from(size).ok());
        Global {
            log_level: if reader.flag("debug") {
                Level::Debug
            } else {
                level
            },
            memory_limit: reader.optional("memory_limit", size),
            max_packet_size: reader.number("max_packet_size"),
            max_inflight: reader.number("max_inflight"),
            queue_messages: reader.number("queue_messages"),
            queue_bytes: reader.number("queue_bytes"),
            qos0_queue_ttl: reader.required("qos0_queue_ttl", value::duration),
            session_expiry: reader.required("session_expiry", value::duration),
            max_session_expiry: reader.optional("max_session_expiry", value::duration),
            max_keep_alive_s: reader.required("max_keep_alive", |text| {
                u16::try_from(value::duration(text)?.as_secs()).ok()
            }),
            response_information: reader
                .required("response_information", |text| Pattern::new(text).ok()),
            server_reference: servers(reader, "server_reference"),
            sys_interval: reader.required("sys_interval", value::duration),
            connect_timeout: reader.required("connect_timeout", value::duration),
            max_unauthenticated: reader.number("max_unauthenticated"),
            connection_rate: reader.number("connection_rate"),
            login_delay: reader.required("login_delay", value::duration),
            acl_default_allow: reader.required("acl_default", |text| Some(text == "allow")),
        }
    }
}

/// Servers as a Server Reference names them (4.11).
pub(super) fn servers(reader: &Reader<'_>, option: &str) -> Option<String> {
    let servers = reader.texts(option);
    (!servers.is_empty()).then(|| servers.join(" "))
}
