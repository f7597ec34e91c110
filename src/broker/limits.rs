//! The bounds of everything that a client can grow, and why each is what it is.
//!
//! What an administrator sets stands in [`Settings`](super::input::Settings); these are the bounds that no
//! option moves.

/// Levels of a Topic Filter. Each level of a filter with a wildcard is a node of the router; mosquitto takes 200 `/`, which are
/// 201 levels, so no filter that works there fails here. A deeper filter is refused with 0x97.
pub const FILTER_LEVELS_MAX: usize = 201;

/// Subscriptions of one session. The router keeps about 200 bytes for each; a bridge of a whole bus needs a
/// few dozen. One more is refused with 0x97.
pub const SUBSCRIPTIONS_PER_SESSION_MAX: usize = 50_000;

/// Members of one Shared Subscription: each message looks at all of them.
pub const SHARE_MEMBERS_MAX: usize = 1000;

/// The place of a client's topic alias, in bytes, beside its topic.
pub const TOPIC_ALIAS_BYTES: usize = 48;

/// QoS 2 messages that an MQTT 5 client may have open (Receive Maximum of CONNACK).
///
/// For older clients the 65,535 packet identifiers are the bound, at two bytes each.
pub const RECEIVE_MAXIMUM: u16 = 1024;

/// Sessions, connected or not. Each costs some 500 bytes; the foris programs leave three behind at each start.
pub const SESSIONS_MAX: usize = 100_000;

/// Sessions whose client is away. The foris programs leave three behind at each start, under random identifiers, which last a day: ten
/// thousand are a start every half minute of it. Each is some rows in the database on flash. Beyond it go those whose end costs
/// least (`broker::memory`), a sixteenth at a time, since looking for them costs as much as there are sessions.
pub const SESSIONS_AWAY_MAX: usize = 10_000;

/// How long after a restart, in milliseconds, no Will of a client that was connected before it is sent, so that its client can come back: most
/// try again at once and then after 1, 2, 4, 8 and 16 seconds, which is 31. Without it every restart would tell that every device is gone; the
/// cost is that those that went in the same moment are told so much later.
pub const WILL_GRACE_MS: u64 = 35_000;

/// Retained messages. A house full of devices has some thousands; each costs some 200 bytes and its payload. One more is
/// refused with 0x97, or at QoS 0 passed on and not retained.
pub const RETAINED_MAX: usize = 100_000;

/// Messages that wait for a subscriber who is not there (`broker::keeper`): of a bus that restarts there are a few. Each look for one
/// who comes goes through all of them.
pub const KEPT_MESSAGES_MAX: usize = 1000;

/// Bytes of them; as in a session's queue, one that is larger waits alone.
pub const KEPT_BYTES_MAX: usize = 1 << 20;

/// Milliseconds between two looks for what has expired, where no round of `$SYS` looks for it. Nothing that has expired
/// is sent before that; a minute only bounds how long its memory is held.
pub const SWEEP_INTERVAL_MS: u64 = 60_000;

/// Payloads above this many bytes are kept once and shared by the output buffers; below it, copying them is
/// cheaper than counting references.
pub const COPY_PAYLOAD_MAX: usize = 4096;

/// The part of the memory limit that only clients of the router itself may take: an eighth, so that its programs are
/// served while everybody else is refused.
pub fn reserve(memory_limit: usize) -> usize {
    memory_limit / 8
}

/// A session with its places in the tables of sessions, identifiers and timers, in bytes; its filters, messages and names
/// are counted by themselves.
pub const SESSION_BYTES: usize = 640;

/// A connection's state in the broker, in bytes.
pub const CONNECTION_BYTES: usize = 384;

/// A subscription in its session, in bytes, beside its filter; and the place of a replay of retained messages for it.
pub const SUBSCRIPTION_BYTES: usize = 120;

/// A QoS 2 identifier that a client has not released, in bytes: two, and as much again for what a growing list has to spare.
pub const RECEIVED_ID_BYTES: usize = 4;

/// What one page of [`Broker::page`](super::Broker::page) takes: so many items, which the loop tells in less than a millisecond, and so many
/// bytes, above which the page ends.
pub const TOLD_ITEMS_MAX: usize = 100;
/// See [`TOLD_ITEMS_MAX`].
pub const TOLD_PAGE_BYTES: usize = 64 << 10;

/// So many things one page of a list looks at for those that it tells: a few tens of microseconds.
pub const LOOKED_AT_MAX: usize = 1000;

/// So many bytes of a payload are told; of a longer one, which is seldom text, its beginning.
pub const TOLD_PAYLOAD_BYTES: usize = 16 << 10;
