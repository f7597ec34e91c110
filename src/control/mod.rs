//! The control socket: how the commands of this program, and whoever may act for the router's owner, ask a running bus.
//!
//! It is a Unix socket, `/var/run/fosquitto/control.sock` below the root, that only its owner may connect to (mode 0600); whoever is
//! neither that user nor root is refused besides, by the credentials that the kernel tells.
//!
//! # Protocol
//!
//! Lines of JSON: a request in one line of at most [`REQUEST_BYTES_MAX`] bytes, an answer in one line, in the order of the requests. A
//! connection may ask as often as it likes. What a client chose stands in strings, where JSON escapes it; whoever shows it to a terminal or in
//! a page MUST escape it for that. `fosquitto control 'REQUEST'` asks one request and prints the answer's line, for scripts.
//!
//! An answer is `{"ok":…}` or `{"error":"what is wrong"}`. A line that is no request (malformed, with a field that is unknown or missing, or
//! of another type) gets an error and has no effect; one that is too long ends the connection besides.
//!
//! | request | fields besides `request`, those with `?` may be left out | what stands in `ok` |
//! |---|---|---|
//! | `status` | | an object: [`Status`] |
//! | `clients` | `from?` | a page of connected clients: [`Client`] |
//! | `sessions` | `from?` | a page of sessions, those of connected clients included: [`Session`] |
//! | `subscriptions` | `client_id?`, `from?` | a page of subscriptions, of one client or of all: [`Item::Subscription`](crate::broker::Item) |
//! | `retained` | `filter?`, `from?` | a page of retained messages, of those that match or of all: [`Item::Retained`](crate::broker::Item) |
//! | `queues` | `client_id?`, `from?` | a page of what waits for clients or is on its way to them, of one client or of all: `queued`, `released` and `taken` of [`Item`](crate::broker::Item) |
//! | `bridges` | | a page of bridges: [`Bridge`] |
//! | `kick` | `client_id` | `{"kicked":true}`: the client's connection is ended with 0x98 (administrative action); its session stays |
//! | `drop` | `client_id` | `{"dropped":true}`: its session with all that it holds is ended, and its connection before that |
//! | `clear` | `topic` | `{"cleared":0 or 1}`: the topic's retained message is gone |
//! | `clear` | `filter`, `from?` | `{"cleared":COUNT,"next":CURSOR}`: those that match are gone, so many in this page |
//! | `trace_start` | `client_id` or `filter`, `for_s?` | `{"watches":[…]}`: from now on what one client does, or what happens on the topics of a filter, is traced, for so many seconds (600, at most 86,400). Once more for the same: its time begins anew |
//! | `trace_stop` | `client_id?` or `filter?` | `{"watches":[…]}`: that is traced no more, or nothing |
//! | `trace` | `from?`, `client_id?` | a page of the trace: [`Traced`], of one client or all, the oldest first; see below |
//! | `why` | `action`, `topic`, `user?`, `client_id?`, `listener?` | an object: [`Reason`], why the rules would allow or deny it |
//! | `reload` | | `{"reloaded":BOOL,"faults":["…"]}`: the configuration was read again, or kept because the new one has faults |
//! | `log_level` | `level?` | `{"level":"notice"}`: what is logged, `error`, `warning`, `notice`, `info` or `debug`; if it is given it holds until the next reload or start |
//! | `dump` | `from?` | `{"items":[…],"next":PLACE}`: what the broker holds altogether ([`Page`]); `next` is an object here |
//! | `backup` | | `{"path":"…"}`: a consistent copy of the database, in a file beside the socket that is whoever's asked, to be moved away |
//!
//! For example
//!
//! ```text
//! → {"request":"clients"}
//! ← {"ok":{"items":[{"client_id":"phone","user":"anna","address":"192.0.2.7:50123","listener":"lan",…}],"next":null}}
//! → {"request":"kick","client_id":"phone"}
//! ← {"ok":{"kicked":true}}
//! → {"request":"kick","client_id":"phone"}
//! ← {"error":"no client with this identifier is connected"}
//! → {"request":"why","user":"anna","action":"publish","topic":"alarm/off","listener":"lan"}
//! ← {"ok":{"allowed":false,"by":"rule","section":"guests","line":12,"file":"/etc/config/fosquitto","topic":"alarm/off","words":"denied by the rule 'guests' in line 12"}}
//! ```
//!
//! **Pages.** What may be long is told in pages, `{"items":[…],"next":CURSOR}`: at most 100 items or about 64 KiB. `next` is a string that is
//! for the `from` of the next request and for nothing else, or null after the last page. A page may be short, or even empty, with more
//! after it: each is what the event loop finds by looking at no more than a thousand things. The bus goes on between two pages: what stays as
//! it is is told once, what comes or goes meanwhile may be told or not.
//!
//! **The trace** is a ring of the last [`TRACED_MAX`] events. Connections, their ends, denials and logins that failed are always in it;
//! the packets of a client or of a topic are only while they are watched, and cost nothing otherwise. Of a packet its type, topic,
//! flags, size and reason are told, never its payload, a password or a user property. In a page of it `next` is never null: it is where to
//! go on, at once if `more` is true, or later, to follow what happens (`{"items":[…],"next":"123","more":false,"lost":0,"watches":[…]}`).
//! `lost` is how many events after `from` the ring has let go already.
//!
//! **Actions** of `why` are `publish`, `subscribe`, `read` (whether a message of the topic would be delivered) and `will`. `topic` is what the
//! client would say: of a listener with a mount point that is put before it. Groups and pins are those of the configured user. Without `user` the
//! client is anonymous, without `listener` it comes through none that a rule could name, without `client_id` it has none.
//!
//! # Who does what
//!
//! [`socket`] has a thread that accepts and one for each of at most [`CONNECTIONS_MAX`] connections: they wait for slow readers, read and
//! write JSON, and none of that is for the event loop. The loop gets a [`Request`] and gives an [`Answer`], which takes it no longer than a
//! packet; a backup is written by the store's thread. [`client`] is the other end, for commands. `status` says what [`Status`] is made of, `rows` the rows of pages. This module knows nothing of the
//! broker's state: what is answered is `server`'s matter.

pub mod client;
mod rows;
pub mod socket;
mod status;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use rows::{Bridge, Client, Direction, Reason, Session, Traced};
pub use status::{
    Certificate, Configuration, Counts, Denial, Listener, Memory, Status, Storage, Traffic,
};

use crate::broker::{Page, Place};
pub use crate::net::table::EVENTS_MAX as TRACED_MAX;

/// The socket, below the root.
pub const SOCKET: &str = "var/run/fosquitto/control.sock";

/// The longest line of a request: a place may name a topic, which has 65,535 bytes, each up to 6 in JSON.
pub const REQUEST_BYTES_MAX: u64 = 512 << 10;

/// Connections at a time: a command needs one for a moment, and whoever follows a trace needs one for longer.
pub const CONNECTIONS_MAX: usize = 8;

/// How long a watch lasts if it is not said, in seconds, and how long at most: one that was forgotten costs each message something.
pub const WATCH_S: u32 = 600;
/// See [`WATCH_S`].
pub const WATCH_S_MAX: u32 = 86_400;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the bus is.
    Status {},
    /// Connected clients.
    Clients {
        /// Where to go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// Sessions.
    Sessions {
        /// Where to go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// Subscriptions.
    Subscriptions {
        /// Whose; everybody's if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// Where to go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// Retained messages.
    Retained {
        /// Of which topics; all if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
        /// Where to go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// What waits for clients.
    Queues {
        /// Whose; everybody's if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// Where to go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// Bridges.
    Bridges {},
    /// Ends a client's connection.
    Kick {
        /// Whose.
        client_id: String,
    },
    /// Ends a session.
    Drop {
        /// Whose.
        client_id: String,
    },
    /// Clears retained messages: of a topic or of a filter, one of which is given.
    Clear {
        /// The topic.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        /// The filter.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
        /// Where to go on, with a filter.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// Watches a client or a filter, one of which is given.
    TraceStart {
        /// The client.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// The filter.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
        /// For how many seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_s: Option<u32>,
    },
    /// Watches no more: what is given, or nothing at all.
    TraceStop {
        /// The client.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// The filter.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
    },
    /// What happened.
    Trace {
        /// Where to go on; at the oldest event if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// Of this client alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
    /// Why the rules allow or deny.
    Why(Question),
    /// Reads the configuration again.
    Reload {},
    /// What is logged.
    LogLevel {
        /// From now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<String>,
    },
    /// What the broker holds.
    Dump {
        /// Where to begin; at the beginning if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Place>,
    },
    /// A copy of the database.
    Backup {},
}

/// What is asked of the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// What a client would do.
    pub action: Action,
    /// On which topic, or for `subscribe` with which filter, as the client says it.
    pub topic: String,
    /// As which user; anonymous if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// With which Client Identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Through which listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
}

/// What a client would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Publish to the topic.
    Publish,
    /// Subscribe to the filter.
    Subscribe,
    /// Connect with a Will on the topic.
    Will,
    /// Get a message of the topic.
    Read,
}

/// What is answered.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// How the bus is.
    Status(Box<Status>),
    /// Connected clients.
    Clients(Rows<Client>),
    /// Sessions.
    Sessions(Rows<Session>),
    /// What the broker holds, of one kind.
    Items(Rows<crate::broker::Item>),
    /// Bridges.
    Bridges(Rows<Bridge>),
    /// What happened.
    Trace(Trace),
    /// What is watched.
    Watches {
        /// Them.
        watches: Vec<Watch>,
    },
    /// Why.
    Why(Reason),
    /// A short answer: what has been done.
    Done(Value),
    /// What the broker holds.
    Page(Page),
    /// A copy of the database.
    Backup(Backup),
}

/// A page.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rows<Row> {
    /// What there is.
    pub items: Vec<Row>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<String>,
}

/// A page of the trace.
#[derive(Debug, Serialize, Deserialize)]
pub struct Trace {
    /// What happened, the oldest first.
    pub items: Vec<Traced>,
    /// Where to go on.
    pub next: String,
    /// Whether there is more already.
    pub more: bool,
    /// Events between `from` and the first one that are remembered no more.
    pub lost: u64,
    /// What is watched.
    pub watches: Vec<Watch>,
}

/// What is watched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Watch {
    /// A client,
    pub client_id: Option<String>,
    /// or the topics of a filter.
    pub filter: Option<String>,
    /// For how many more seconds.
    pub left_s: u64,
}

/// A copy of the database.
#[derive(Debug, Serialize, Deserialize)]
pub struct Backup {
    /// Its file.
    pub path: PathBuf,
}

/// An answer, or why there is none.
pub type Outcome = Result<Answer, String>;

/// Takes the answer to a request.
pub type Reply = Box<dyn FnOnce(Outcome) + Send>;
