//! What comes out of the broker: packets to send, connections to close, operations to make durable.
//!
//! The caller of [`Broker::handle`](super::Broker::handle) passes its [`Effects`]; the broker calls it while it handles
//! an input, in the order in which things are to happen. What it passes is borrowed from the input or
//! from its own state, so that a message on its way through is copied by nobody but the output buffer.

use super::input::{ConnectionId, Owner};
use super::timers::Time;
use crate::acl::{Action, Decision, Permissions};
use crate::mqtt::packet::{ServerPacket, SubscriptionOptions};
use crate::mqtt::{Message, PacketId, Qos, ReasonCode};

/// What carries out the broker's decisions.
pub trait Effects {
    /// Sends a PUBLISH to a client.
    fn deliver(&mut self, to: ConnectionId, delivery: &Delivery<'_>) -> Sent;

    /// Sends any other packet.
    fn send(&mut self, to: ConnectionId, packet: &ServerPacket<'_>);

    /// Closes a connection after what was sent before. The broker has forgotten it.
    fn close(&mut self, connection: ConnectionId, close: Close);

    /// A client was refused something that it asked for.
    fn denied(&mut self, connection: ConnectionId, denial: &Denial<'_>);

    /// Makes a change durable before anything that is sent after it leaves.
    fn store(&mut self, operation: &StoreOp<'_>);
}

/// What a client was refused.
#[derive(Debug, Clone)]
pub struct Denial<'a> {
    /// What it wanted to do.
    pub action: Action,
    /// On which topic, or with which filter, `$share/{ShareName}/` included.
    pub topic: &'a str,
    /// What decided.
    pub decision: Decision,
}

impl<'a> Denial<'a> {
    /// The denial that a client's rules have made.
    #[cold]
    pub(super) fn of(permissions: &Permissions, action: Action, topic: &'a str) -> Denial<'a> {
        Denial {
            action,
            topic,
            decision: permissions.why(action, topic),
        }
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is in the output buffer.
    Sent,
    /// It is in the output buffer, and that is full: nothing more before
    /// [`Input::Drained`](super::Input::Drained).
    Congested,
    /// It is larger than the client's Maximum Packet Size and was not sent [MQTT-3.1.2-24].
    TooLarge,
}

/// A PUBLISH on its way to one client (3.3).
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Equal for deliveries of the same message in a row: at QoS 0 with the same RETAIN flag, no identifier and
    /// no expiry, their packets are equal too.
    pub serial: u64,
    /// The Topic Name.
    pub topic: &'a str,
    /// The properties that travel with the message, as encoded.
    pub properties: &'a [u8],
    /// The payload.
    pub payload: Payload<'a>,
    /// The QoS to send it with.
    pub qos: Qos,
    /// The Packet Identifier, at QoS > 0.
    pub packet_id: Option<PacketId>,
    /// The DUP flag.
    pub duplicate: bool,
    /// The RETAIN flag.
    pub retain: bool,
    /// What is left of the Message Expiry Interval, in seconds.
    pub expiry_s: Option<u32>,
    /// The identifiers of all subscriptions that match.
    pub subscription_ids: &'a [u32],
}

/// Where a payload is.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// In the packet that is being handled: it is to be copied.
    Borrowed(&'a [u8]),
    /// In a message that is kept: its bytes can be shared.
    Kept(&'a Message),
}

impl<'a> Payload<'a> {
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Payload::Borrowed(bytes) => bytes,
            Payload::Kept(message) => message.payload(),
        }
    }
}

/// Why a connection is closed, for the log. The client has been told where it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// The reason.
    pub reason: ReasonCode,
    /// In words.
    pub what: &'static str,
}

/// The number of a session in the store; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A change of what survives a restart. Together, from the first, they say the whole durable state: the sessions that
/// outlive their connections, with what is queued and in flight in order, the retained messages but those of `$SYS`, and what waits
/// for a subscriber who is not there.
/// After a restart, what was restored ([`Restored`](super::Restored)) is the first.
///
/// An operation names only what is there: a session after `SessionMade` and before `SessionEnded`, a message or an
/// identifier that an earlier operation brought and none has taken. The numbers of sessions and messages are never used twice as
/// long as the store lives, and grow.
///
/// **One input's operations belong together**: a store MUST keep all of them or none, and nothing that the broker said to a
/// client besides may leave before they are kept. Half of them is no state that the broker ever was in between two inputs: a QoS 2 message
/// that is queued and not `Taken` would come twice, one that is `Taken` and not queued would be lost.
///
/// **QoS 0 messages** that wait for a session whose client is away are `Queued` and `Dropped` like the others, with QoS 0 and
/// never an identifier. They are worth a journal, not flash. A session whose client is connected has none: `SessionChanged` with
/// `connected` voids them, and those that still wait when the client goes are `Queued` (again) right after `SessionChanged` without it.
///
/// **Messages of `$SYS`** wait for sessions like others and have the same operations, which a store need not keep. It tells by
/// the topic of `Queued`; the later ones (`Inflight`, `Received`, `Done`, `Dropped`) then name a message or an identifier that it does not have, and it passes
/// over them. What is left is consistent: no identifier is that of two messages at a time.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreOp<'a> {
    /// A session is there, and its client is connected.
    SessionMade {
        /// Its number.
        session: SessionId,
        /// Its Client Identifier; no other live session has it.
        client_id: &'a str,
        /// Whom it belongs to.
        owner: &'a Owner,
        /// Its Session Expiry Interval in seconds.
        expiry_s: u32,
    },
    /// A session's expiry has changed, or its client came (`connected`) or went. With `connected`, its QoS 0 messages are void.
    SessionChanged {
        /// Its number.
        session: SessionId,
        /// Its Session Expiry Interval in seconds.
        expiry_s: u32,
        /// Whether its lifetime stands still.
        connected: bool,
    },
    /// A session and all that it held is gone.
    SessionEnded {
        /// Its number.
        session: SessionId,
    },
    /// A subscription was made or replaced.
    Subscribed {
        /// Whose.
        session: SessionId,
        /// The filter, `$share/{ShareName}/` included.
        filter: &'a str,
        /// Its options.
        options: SubscriptionOptions,
        /// Its Subscription Identifier.
        subscription_id: Option<u32>,
    },
    /// A subscription has ended.
    Unsubscribed {
        /// Whose.
        session: SessionId,
        /// The filter.
        filter: &'a str,
    },
    /// A message waits for a session or is in flight to it; at QoS 0 only while its client is away.
    Queued {
        /// Whose.
        session: SessionId,
        /// The message; its id tells whether the store has it already.
        message: &'a Message,
        /// The QoS to send it with.
        qos: Qos,
        /// The RETAIN flag to send it with.
        retain: bool,
        /// The subscription identifiers to send it with.
        subscription_ids: &'a [u32],
        /// The Shared Subscription (`$share/{ShareName}/{filter}`) that it came through: it goes to another member when this session ends.
        share: Option<&'a str>,
        /// Its identifier when it is in flight from the start and was never in the queue.
        packet_id: Option<PacketId>,
    },
    /// A queued message was given a packet identifier: it may have reached the client. It goes to the end of what is in
    /// flight. A session's queue has at most one message with an id and a share; what is in flight may have the same besides.
    Inflight {
        /// Whose.
        session: SessionId,
        /// The message's id.
        message: u64,
        /// As in `Queued`.
        share: Option<&'a str>,
        /// The identifier.
        packet_id: PacketId,
    },
    /// A message in flight was received (PUBREC); its PUBREL is what is left.
    Received {
        /// Whose.
        session: SessionId,
        /// The identifier.
        packet_id: PacketId,
    },
    /// What was in flight under an identifier is done.
    Done {
        /// Whose.
        session: SessionId,
        /// The identifier.
        packet_id: PacketId,
    },
    /// A queued message was dropped.
    Dropped {
        /// Whose.
        session: SessionId,
        /// The message's id.
        message: u64,
        /// As in `Queued`.
        share: Option<&'a str>,
    },
    /// A QoS 2 message of a client was taken: the same identifier is a repetition until it is released.
    Taken {
        /// Whose.
        session: SessionId,
        /// The client's identifier.
        packet_id: PacketId,
    },
    /// A client released (PUBREL) an identifier.
    Released {
        /// Whose.
        session: SessionId,
        /// The client's identifier.
        packet_id: PacketId,
    },
    /// A retained message was set.
    Retained {
        /// The message.
        message: &'a Message,
    },
    /// A topic's retained message was cleared.
    RetainCleared {
        /// The topic.
        topic: &'a str,
    },
    /// A session's client has a Will, which is sent `delay_s` after it went.
    WillSet {
        /// Whose.
        session: SessionId,
        /// The Will Message; `expiry_s` counts from when it is sent.
        message: &'a Message,
        /// Will Delay Interval in seconds.
        delay_s: u32,
        /// Message Expiry Interval in seconds.
        expiry_s: Option<u32>,
    },
    /// A session's Will was sent or is void.
    WillCleared {
        /// Whose.
        session: SessionId,
    },
    /// A message waits for a subscriber who is not there. It is worth a journal, not flash.
    Kept {
        /// The message; its id tells whether the store has it already.
        message: &'a Message,
        /// The session that it came from, which may have ended or never have been in the store.
        publisher: Option<SessionId>,
        /// It is void from this moment of the broker's clock on.
        until: Time,
    },
    /// A message that was `Kept` was given to somebody or is void.
    KeptGone {
        /// The message's id.
        message: u64,
    },
}
