//! The control socket: how the commands of this program, and whoever may act for the router's owner, ask a running bus.
//!
//! It is a Unix socket, `/var/run/fosquitto/control.sock` below the root, that only its owner may connect to (mode 0600); whoever is
//! neither that user nor root is refused besides, by the credentials that the kernel tells.
//!
//! # Protocol
//!
//! Lines of JSON: a request in one line of at most [`REQUEST_BYTES_MAX`] bytes, an answer in one line, in the order of the requests. A
//! connection may ask as often as it likes. What a client chose stands in strings, where JSON escapes it.
//!
//! | request | answer in `ok` |
//! |---|---|
//! | `{"request":"status"}` | an object: [`Status`] |
//! | `{"request":"dump"}`, `{"request":"dump","from":PLACE}` | `{"items":[…],"next":PLACE}`: what the broker holds, a page at a time ([`Page`]); `next` is null at the end, and what it is otherwise is for `from` |
//! | `{"request":"backup"}` | `{"path":"…"}`: a consistent copy of the database, in a file beside the socket that is whoever's asked, to be moved away |
//!
//! An answer is `{"ok":…}` or `{"error":"what is wrong"}`. A line that is no request gets an error and has no effect; one that is too
//! long ends the connection besides.
//!
//! # Who does what
//!
//! [`socket`] has a thread that accepts and one for each of at most [`CONNECTIONS_MAX`] connections: they wait for slow readers, read and
//! write JSON, and none of that is for the event loop. The loop gets a [`Request`] and gives an [`Answer`], which takes it no longer than a
//! packet; a backup is written by the store's thread. [`client`] is the other end, for commands. This module knows nothing of the
//! broker's state: what is answered is `server`'s matter.

pub mod client;
pub mod socket;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::broker::{Page, Place};

/// The socket, below the root.
pub const SOCKET: &str = "var/run/fosquitto/control.sock";

/// The longest line of a request: a place may name a topic, which has 65,535 bytes, each up to 6 in JSON.
pub const REQUEST_BYTES_MAX: u64 = 512 << 10;

/// Connections at a time: a command needs one for a moment.
pub const CONNECTIONS_MAX: usize = 8;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the bus is.
    Status {},
    /// What the broker holds.
    Dump {
        /// Where to begin; at the beginning if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Place>,
    },
    /// A copy of the database.
    Backup {},
}

/// What is answered.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// How the bus is.
    Status(Box<Status>),
    /// What the broker holds.
    Page(Page),
    /// A copy of the database.
    Backup(Backup),
}

/// A copy of the database.
#[derive(Debug, Serialize, Deserialize)]
pub struct Backup {
    /// Its file.
    pub path: PathBuf,
}

/// How the bus is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// Seconds since it began to serve.
    pub uptime_s: u64,
    /// The open listeners, in the order of their names.
    pub listeners: Vec<Listener>,
    /// What there is.
    pub counts: Counts,
    /// What is kept.
    pub store: Storage,
}

/// An open listener.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listener {
    /// The name of its section.
    pub name: String,
    /// Where it listens.
    pub places: Vec<String>,
    /// Its connections, those before their CONNECT included.
    pub connections: u32,
}

/// What there is, in numbers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Counts {
    /// Clients that are connected.
    pub clients: usize,
    /// Sessions, theirs included.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages, those of `$SYS` included.
    pub retained: usize,
    /// Messages that wait for clients.
    pub waiting: usize,
    /// Bytes that clients make the bus hold.
    pub held_bytes: usize,
    /// Their ceiling.
    pub held_bytes_max: usize,
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
}

/// An answer, or why there is none.
pub type Outcome = Result<Answer, String>;

/// Takes the answer to a request.
pub type Reply = Box<dyn FnOnce(Outcome) + Send>;
