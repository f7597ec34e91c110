//! The rows of what the control socket tells in pages, and the answer to `why`: plain values, made by `server`, read by commands and pages.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A client that is connected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Client {
    /// Its Client Identifier.
    pub client_id: String,
    /// Its user name; `None` for an anonymous one.
    pub user: Option<String>,
    /// Where it comes from: `192.0.2.7:50123`, `unix socket`.
    pub address: String,
    /// The listener that it came through.
    pub listener: String,
    /// Its version of MQTT: `3.1`, `3.1.1` or `5.0`.
    pub version: String,
    /// Whether it came by TLS.
    pub tls: bool,
    /// Whether it said that it is a bridge.
    pub bridge: bool,
    /// For how many seconds it has been connected.
    pub connected_s: u64,
    /// Seconds since it was last heard of.
    pub idle_s: u64,
    /// Its Keep Alive in seconds; 0 for none.
    pub keep_alive_s: u64,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// QoS 1 and 2 messages that it has not acknowledged.
    pub inflight: usize,
    /// Messages that wait for it.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Bytes that its socket has not taken.
    pub unsent_bytes: usize,
    /// Whether it has a Will.
    pub will: bool,
    /// How often it was denied something.
    pub denials: u32,
}

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// Its Client Identifier.
    pub client_id: String,
    /// The user name of its owner; `None` for anonymous ones.
    pub user: Option<String>,
    /// Whether it is the bus's own, of a section 'bridge', 'subordinate' or 'subsubordinate': what waits there waits for the other broker.
    pub own: bool,
    /// Whether its client is connected.
    pub connected: bool,
    /// For how many seconds it has not been.
    pub away_s: Option<u64>,
    /// Its Session Expiry Interval in seconds; `None`: it never ends.
    pub expiry_s: Option<u32>,
    /// In how many seconds it ends if its client does not come back.
    pub ends_s: Option<u64>,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// QoS 1 and 2 messages that its client has not acknowledged.
    pub inflight: usize,
    /// QoS 1 and 2 messages that wait for it.
    pub queued: usize,
    /// QoS 0 messages that wait for it.
    pub queued_qos0: usize,
    /// Bytes of all that wait.
    pub queued_bytes: usize,
    /// QoS 2 messages of its client whose identifiers are in use.
    pub taken: usize,
    /// Whether it has a Will.
    pub will: bool,
}

/// A bridge.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bridge {
    /// The name of its section.
    pub name: String,
    /// `connected`, `connecting` or `waiting` (for the next attempt).
    pub state: String,
    /// The other end: of the connection, or of the last attempt.
    pub address: String,
    /// For how many seconds it has been so.
    pub since_s: u64,
    /// Messages that wait for the other end.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Messages from the other end, since the start.
    pub messages_in: u64,
    /// Messages to the other end, since the start.
    pub messages_out: u64,
    /// Messages of QoS 1 and 2 that were sent and not acknowledged.
    pub inflight: usize,
    /// Messages that went because too many waited, or for too long, since the start.
    pub dropped: u64,
    /// The version of MQTT that is spoken, or was last; `None` before the first connection.
    pub protocol: Option<String>,
    /// What the other end does not let it subscribe to.
    pub refused: Vec<String>,
    /// Messages that the other end has refused, since the start; they are lost.
    pub rejected: u64,
    /// Why it has refused the last of them.
    pub rejection: Option<String>,
    /// Why it was not connected, or no longer, the last time.
    pub error: Option<String>,
}

/// Which way a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the client.
    In,
    /// To the client.
    Out,
    /// It is no packet.
    Event,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Traced {
    /// Its number; they grow by one.
    pub number: u64,
    /// How many milliseconds ago.
    pub ago_ms: u64,
    /// Which way it went.
    pub direction: Direction,
    /// The client; empty where it is not known.
    pub client_id: String,
    /// The type of the packet, as `PUBLISH`; of an event `connected`, `closed`, `denied` or `login failed`.
    pub what: String,
    /// The topic, or the first filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The QoS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<u8>,
    /// Whether RETAIN is set.
    #[serde(default, skip_serializing_if = "is_false")]
    pub retain: bool,
    /// Whether DUP is set.
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
    /// The Packet Identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packet_id: Option<u16>,
    /// The bytes of the payload; of SUBSCRIBE and UNSUBSCRIBE, the number of filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The Reason Code, as MQTT 5.0 has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<u8>,
    /// What there is to say besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Why the rules allow or deny something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Whether it is allowed.
    pub allowed: bool,
    /// What says so: a `rule`, the `default`, or that the topic is `reserved` for the bus itself.
    pub by: String,
    /// The section of the rule: its name, or `@acl[2]` for the third without one.
    pub section: Option<String>,
    /// The line of the rule.
    pub line: Option<u32>,
    /// The file that it stands in.
    pub file: PathBuf,
    /// The topic that the rules were asked for, with the listener's mount point.
    pub topic: String,
    /// In words: `denied by the rule 'guests' in line 12`.
    pub words: String,
}
