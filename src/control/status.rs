//! How the bus is, as the control socket tells it: plain values, made by `server` and read by commands and pages.
//!
//! Times are told as seconds that have passed or are left, since a router's clock may be wrong; dates of certificates are their own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How the bus is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// Seconds since it began to serve.
    pub uptime_s: u64,
    /// What is logged: `error`, `warning`, `notice`, `info` or `debug`.
    pub log_level: String,
    /// The configuration.
    pub configuration: Configuration,
    /// The configured listeners, in the order of their names.
    pub listeners: Vec<Listener>,
    /// Their certificates, those of their CAs, and lists of revoked ones.
    pub certificates: Vec<Certificate>,
    /// What there is.
    pub counts: Counts,
    /// What has passed since the start.
    pub traffic: Traffic,
    /// Memory.
    pub memory: Memory,
    /// What is kept.
    pub store: Storage,
    /// The last that clients were denied, the newest first, at most 32.
    pub denials: Vec<Denial>,
}

/// The configuration that holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Configuration {
    /// Its file.
    pub path: PathBuf,
    /// Seconds since it was read last.
    pub read_s: u64,
    /// What is wrong with the one that is there now, so that the former one was kept; empty if nothing is.
    pub faults: Vec<String>,
}

/// A listener.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listener {
    /// The name of its section.
    pub name: String,
    /// `mqtt` or `websocket`.
    pub protocol: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether it is open, at one place at least.
    pub open: bool,
    /// Where it listens.
    pub places: Vec<String>,
    /// Its connections, those before their CONNECT included.
    pub connections: u32,
    /// How many it takes.
    pub connections_max: u32,
    /// Why it is closed, wholly or at some of its places, or goes on with what it had; empty if all is well.
    pub faults: Vec<String>,
}

/// A file of a listener's TLS: a certificate, or a list of revoked ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Certificate {
    /// The listener.
    pub listener: String,
    /// `certificate`, `ca` or `crl`.
    pub kind: String,
    /// Its file.
    pub path: PathBuf,
    /// Whose it is; of a list, who made it.
    pub subject: String,
    /// From when it is valid, as `Jan  1 00:00:00 2026 GMT`.
    pub from: String,
    /// Until when it is valid; of a list, when the next one is due. `None`: that is not said.
    pub until: Option<String>,
    /// Seconds until then by the system's clock, negative if it is over.
    pub left_s: Option<i64>,
    /// Whether it should have been made anew by now: less than 30 days are left, and less than a quarter of its time.
    pub due: bool,
}

/// What there is, in numbers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Counts {
    /// Clients that are connected.
    pub clients: usize,
    /// The most that ever were.
    pub clients_max: usize,
    /// Sessions, theirs included.
    pub sessions: usize,
    /// Sessions that ended because their time was over or there was no room for them.
    pub sessions_expired: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Those of them that are shared.
    pub shared_subscriptions: usize,
    /// Retained messages, those of `$SYS` included.
    pub retained: usize,
    /// Messages that wait for clients.
    pub waiting: usize,
    /// What clients were denied, since the start.
    pub denied: u64,
    /// Logins that failed, since the start.
    pub logins_failed: u64,
    /// Bytes that clients make the bus hold.
    pub held_bytes: usize,
    /// Their ceiling.
    pub held_bytes_max: usize,
}

/// What has passed since the start.
#[derive(Debug, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets from clients.
    pub packets_received: u64,
    /// Packets to clients.
    pub packets_sent: u64,
    /// PUBLISH packets from clients.
    pub messages_received: u64,
    /// PUBLISH packets to clients.
    pub messages_sent: u64,
    /// Messages that were dropped: queues were full, or memory was short.
    pub messages_dropped: u64,
    /// Bytes from clients.
    pub bytes_received: u64,
    /// Bytes to clients.
    pub bytes_sent: u64,
}

/// Memory, in bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Memory {
    /// What clients make the bus hold.
    pub held: usize,
    /// Its ceiling.
    pub held_max: usize,
    /// The most that it ever was.
    pub held_highest: usize,
    /// Of what is held, sessions, connections and all messages.
    pub sessions_and_messages: usize,
    /// Of these, retained messages, as far as they can be told apart.
    pub retained: usize,
    /// Of what is held, subscriptions.
    pub subscriptions: usize,
    /// Of what is held, sockets and what is on its way through them.
    pub network: usize,
    /// What the process takes of the machine's memory (VmRSS); `None` where the system does not tell.
    pub process: Option<u64>,
}

/// What is known of the store. Where nothing is kept, `class` is `volatile` and all else is 0 or null.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Storage {
    /// How durable changes are: `volatile`, `interval` or `commit`.
    pub class: String,
    /// The database.
    pub path: Option<PathBuf>,
    /// Bytes that went to flash since the start.
    pub flash_bytes: u64,
    /// Those of the last 24 hours.
    pub flash_bytes_day: u64,
    /// How many a day may.
    pub daily_budget: Option<u64>,
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
    /// Why flash cannot be written.
    pub error: Option<String>,
    /// Why it could not be written the last time that it could not.
    pub last_error: Option<String>,
    /// How long ago that was, in seconds.
    pub last_error_s: Option<u64>,
}

/// Something that a client was denied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Denial {
    /// How many seconds ago, the last time.
    pub ago_s: u64,
    /// How often the same client was denied the same by the same rule, on whatever topic.
    pub count: u64,
    /// The client.
    pub client_id: String,
    /// Its user name; `None` for an anonymous one.
    pub user: Option<String>,
    /// Where it came from.
    pub address: String,
    /// The listener that it came through.
    pub listener: String,
    /// What it wanted: `publish`, `subscribe`, `will` or `login`.
    pub action: String,
    /// On which topic, the last time; empty for `login`.
    pub topic: String,
    /// The section of the rule that denied it; `None`: no rule did.
    pub section: Option<String>,
    /// The line of that rule.
    pub line: Option<u32>,
    /// Why, in words: `denied by the rule 'guests' in line 12`.
    pub words: String,
}
