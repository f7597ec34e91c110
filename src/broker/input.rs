//! What goes into the broker: packets of authenticated connections, the ends of connections, time, settings.

use std::fmt;
use std::rc::Rc;

use crate::acl::{Pattern, Permissions};
use crate::mqtt::packet::{ClientPacket, Connect};
use crate::mqtt::{Capabilities, Qos, ReasonCode, Version, topic};

/// A network connection, named by whoever holds its socket.
///
/// `index` is small and used again; `generation` tells a connection from its predecessors at that index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Position in the table of connections.
    pub index: u32,
    /// How often the position was used before.
    pub generation: u32,
}

/// Whom a session belongs to: the user name of an authenticated identity, or nobody's name for anonymous clients.
///
/// Made from an `auth::Identity` in `net`, and there only.
#[derive(Clone, PartialEq, Eq)]
pub struct Owner(Option<Rc<str>>);

impl Owner {
    /// The owner that an identity with this user name is.
    pub fn of(user: Option<&str>) -> Owner {
        Owner(user.map(Rc::from))
    }

    /// The owner of the sessions of bridges. No client has it: a user name that a client can prove has no U+0000.
    pub fn bridges() -> Owner {
        Owner::of(Some("\0bridge"))
    }

    /// The user name.
    pub fn user(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({:?})", self.0)
    }
}

/// One event for the broker to handle.
#[derive(Debug)]
pub enum Input<'a> {
    /// The first packet of a connection whose client has been authenticated, by whichever Authentication Method it names.
    Connect {
        /// The connection; it MUST be new to the broker.
        connection: ConnectionId,
        /// The packet.
        connect: &'a Connect<'a>,
        /// Whom the session is to belong to.
        owner: Owner,
        /// What the client may do.
        permissions: Permissions,
        /// Whether it is one of the router itself, which may take from the reserve of memory.
        reserve: bool,
        /// What of MQTT it may use.
        offer: Capabilities,
        /// What stands before every topic of its connection, and what the client does not see.
        mount: &'a str,
    },
    /// The bridges that there are from now on: each has a session, which others of them have no longer.
    Bridges(&'a [Bridge<'a>]),
    /// A bridge's connection to its remote broker begins. What it sends and gets from now on are packets like a client's: the
    /// remote broker's PUBLISHes and acknowledgements come as [`Input::Packet`].
    Link(Link<'a>),
    /// A packet after CONNECT.
    Packet {
        /// Where it came from; unknown connections are ignored.
        connection: ConnectionId,
        /// The packet.
        packet: ClientPacket<'a>,
    },
    /// What the client sent is no packet, or none that it may send: the connection is closed.
    Violation {
        /// Where it came from.
        connection: ConnectionId,
        /// The code of the DISCONNECT.
        reason: ReasonCode,
        /// What was wrong, for the log and the Reason String.
        what: &'static str,
    },
    /// The network connection is gone.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// The output of a connection for which [`Sent::Congested`](super::effect::Sent) was answered has drained.
    Drained {
        /// Which.
        connection: ConnectionId,
    },
    /// Part of a packet arrived: the client is alive.
    Alive {
        /// Which.
        connection: ConnectionId,
    },
    /// What a client may do has changed.
    Permissions {
        /// Whose.
        connection: ConnectionId,
        /// What it may do from now on.
        permissions: Permissions,
    },
    /// What clients that are away may do may have changed: a Will that waits for its delay goes if its client may not publish it any more.
    Rights(Judge<'a>),
    /// The administrator, or a rule of the configuration, ends a connection.
    Disconnect {
        /// Which.
        connection: ConnectionId,
        /// The code of the DISCONNECT.
        reason: ReasonCode,
        /// Why, for the log and the Reason String.
        what: &'static str,
        /// Where the client is to go, with 0x9C and 0x9D.
        server_reference: Option<&'a str>,
    },
    /// The administrator ends a session with all that it holds, and its client's connection before; none is no fault.
    DropSession {
        /// Its Client Identifier.
        client_id: &'a str,
    },
    /// The administrator clears a retained message, unless it is one of the bus itself.
    ClearRetained {
        /// Its topic.
        topic: &'a str,
    },
    /// Time has passed: timers that are due expire.
    Tick(Traffic<'a>),
    /// How much the network holds for clients: what their sockets have not taken, packets that have arrived in part,
    /// and what a connection takes by itself.
    Network {
        /// In bytes.
        bytes: usize,
    },
    /// The settings have changed.
    Settings(Settings),
    /// The broker stops: every client is told and disconnected. Sessions that end with their connections end, and their
    /// Wills are published; those that last keep theirs.
    Shutdown,
}

/// Who knows whether a client that is away may publish: asked with whom its session belongs to, its Client Identifier and the topic.
#[derive(Clone, Copy)]
pub struct Judge<'a>(pub &'a dyn Fn(&Owner, &str, &str) -> bool);

impl fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

/// A bridge as the broker sees it: a session whose client is another broker.
#[derive(Debug, Clone, Copy)]
pub struct Bridge<'a> {
    /// The Client Identifier of its session, as [`Input::Link`] names it.
    pub client_id: &'a str,
    /// What it forwards to the remote broker.
    pub filters: &'a [(&'a str, Qos)],
    /// How much may wait for its connection.
    pub bounds: Bounds,
    /// The topic that says here whether it is connected.
    pub state_topic: Option<&'a str>,
}

/// How much may wait for a bridge's connection. The oldest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Messages of each kind, those of QoS 0 and the others.
    pub messages: usize,
    /// Bytes of each kind.
    pub bytes: usize,
    /// How long a message of QoS 1 or 2 waits, in milliseconds; 0: for ever.
    pub ttl_ms: u64,
    /// How long one of QoS 0 waits, in milliseconds; 0 keeps none.
    pub qos0_ttl_ms: u64,
}

/// What a remote broker's CONNACK said.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The connection; it MUST be new to the broker.
    pub connection: ConnectionId,
    /// The bridge's session; the connection is closed when there is none.
    pub client_id: &'a str,
    /// The version that is spoken.
    pub version: Version,
    /// QoS 1 and 2 messages that may be in flight to the remote broker at a time; not 0.
    pub window: u16,
    /// The highest QoS that the remote broker takes.
    pub max_qos: Qos,
    /// Whether the remote broker still has its session with this bridge.
    pub session_present: bool,
}

/// Totals that only the network and the store know, for `$SYS`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic<'a> {
    /// Bytes read from clients.
    pub bytes_received: u64,
    /// Bytes written to clients.
    pub bytes_sent: u64,
    /// Packets that their sockets have not taken. Like the next it is told when [`Broker::tells_at`](super::Broker::tells_at) has come.
    pub unsent_packets: u64,
    /// Bytes that their sockets have not taken.
    pub unsent_bytes: u64,
    /// Connections that were accepted.
    pub sockets: u64,
    /// What is said of the store; `None` where nothing is kept.
    pub store: Option<Storage<'a>>,
}

/// What `$SYS` tells of a store, which the broker does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage<'a> {
    /// How durable changes are: the name of a class.
    pub class: &'static str,
    /// Bytes that went to flash since the start.
    pub flash_bytes: u64,
    /// How often flash was asked to make them last.
    pub flash_syncs: u64,
    /// Transactions that flash took.
    pub commits: u64,
    /// Bytes that went to the journal.
    pub journal_bytes: u64,
    /// How long ago flash was written last without a fault, in seconds.
    pub last_commit_s: Option<u64>,
    /// The number of the last record that flash has.
    pub applied: u64,
    /// Records that flash lacks.
    pub pending: u64,
    /// Why flash cannot be written; empty when it can.
    pub error: &'a str,
}

/// What an administrator sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What `$SYS/broker/version` says.
    pub version: &'static str,
    /// The ceiling of what clients can make the broker and the network hold together, in bytes.
    pub memory_limit: usize,
    /// The largest packet that a client may send, in bytes.
    pub max_packet_size: u32,
    /// QoS 1 and 2 messages in flight to one client at a time, if it does not take fewer.
    pub max_inflight: u16,
    /// Messages waiting for one session.
    pub queue_messages: usize,
    /// Bytes of messages waiting for one session.
    pub queue_bytes: usize,
    /// How long a QoS 0 message waits for a client, in milliseconds; 0 keeps none.
    pub qos0_queue_ttl_ms: u64,
    /// Session Expiry Interval of 3.1 and 3.1.1 clients that ask for a session, in seconds.
    pub session_expiry_s: u32,
    /// The longest Session Expiry Interval, in seconds; 0xFFFFFFFF for no bound.
    pub max_session_expiry_s: u32,
    /// The longest Keep Alive of a 5.0 client in seconds; 0: any.
    pub max_keep_alive_s: u16,
    /// The topic below which a client may expect responses; `None`: none is told.
    pub response_information: Option<Pattern>,
    /// The servers that clients are told to use when this one stops.
    pub server_reference: Option<Rc<str>>,
    /// Milliseconds between two rounds of `$SYS`; 0 for none.
    pub sys_interval_ms: u64,
    /// Messages that wait for a subscriber who is not there; the first whose filter matches decides.
    pub keepers: Vec<KeptTopics>,
}

/// Topics whose messages wait for a subscriber who is not there.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptTopics {
    /// Topic filters.
    pub filters: Vec<String>,
    /// How long a message waits, in milliseconds; not 0.
    pub ttl_ms: u64,
    /// Whether these are requests: one that comes later than that does harm, so that at QoS 0 it waits in sessions no longer either.
    pub are_requests: bool,
}

impl KeptTopics {
    /// Whether a topic is one of these.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.filters
            .iter()
            .any(|filter| topic::matches(filter, name))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            version: env!("CARGO_PKG_VERSION"),
            memory_limit: 1 << 30,
            max_packet_size: 16 << 20,
            max_inflight: 20,
            queue_messages: 1000,
            queue_bytes: 1 << 20,
            qos0_queue_ttl_ms: 60_000,
            session_expiry_s: 86_400,
            max_session_expiry_s: u32::MAX,
            max_keep_alive_s: 0,
            response_information: None,
            server_reference: None,
            sys_interval_ms: 10_000,
            keepers: Vec::new(),
        }
    }
}
