//! A session: what the broker remembers of a client between and during its connections (4.1).

use std::rc::Rc;

use super::effect::{Effects, SessionId, StoreOp};
use super::inflight::{Inflight, Received};
use super::input::{Bounds, ConnectionId, Owner};
use super::limits;
use super::queue::{Queue, Queued};
use super::replay::Replays;
use super::timers::Time;
use super::will::PendingWill;
use crate::acl::Permissions;
use crate::mqtt::{Capabilities, Charge, Qos, Tally, Version};

/// A session's position in the broker's table; used again after the session's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionKey(pub u32);

impl SessionKey {
    /// The position.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Session State (4.1.0).
#[derive(Debug)]
pub(super) struct Session {
    pub id: SessionId,
    pub client_id: Rc<str>,
    pub owner: Owner,
    /// The client's connection while it has one.
    pub connection: Option<ConnectionId>,
    /// Session Expiry Interval in seconds: 0 ends the session with its connection, 0xFFFFFFFF never.
    pub expiry_s: u32,
    /// When the expiry timer is armed for, while there is no connection.
    pub expires_at: Option<Time>,
    /// Since when there is none.
    pub offline_since: Time,
    /// Whether its client may take from the reserve of memory; set by each CONNECT.
    pub has_reserve: bool,
    /// What it costs beside its messages.
    pub charge: Charge,
    /// A Will whose client has gone and whose delay has not ended.
    pub pending_will: Option<Box<PendingWill>>,
    /// The filters, `$share/{ShareName}/` included, sorted; their options stand in the router.
    pub filters: Vec<Rc<str>>,
    pub inflight: Inflight,
    pub received: Received,
    /// QoS 1 and 2 messages that wait for the client or for room in its window.
    pub queue: Queue,
    /// QoS 0 messages that wait for the client or for room in its output buffer.
    pub qos0_queue: Queue,
    /// Retained messages still to be sent for subscriptions.
    pub replays: Replays,
    /// What is different because its client is another broker.
    pub bridge: Option<Box<Bridged>>,
}

/// What a session has whose client is another broker.
#[derive(Debug)]
pub(super) struct Bridged {
    pub bounds: Bounds,
    /// What says whether it is connected.
    pub state_topic: Option<Rc<str>>,
    /// What it forwards, with the QoS that is asked for; the router has that which the remote broker takes.
    pub filters: Vec<(Rc<str>, Qos)>,
    /// Whether all retained messages that it forwards are to be sent when it is connected next.
    pub owes_retained: bool,
    /// The highest QoS that the remote broker took last.
    pub max_qos: Qos,
    /// Messages that went because too many waited, or for too long.
    pub dropped: u64,
}

/// What a session holds, the more precious the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holds {
    /// Nothing.
    Nothing,
    /// Subscriptions, or QoS 0 messages.
    Subscriptions,
    /// Messages that were promised, on their way to the client or from it.
    Messages,
}

impl Session {
    /// What a session costs that holds nothing, in bytes.
    pub fn cost(client_id: &str) -> usize {
        limits::SESSION_BYTES + client_id.len()
    }

    /// A new session without a connection.
    pub fn new(id: SessionId, client_id: Rc<str>, owner: Owner, tally: &Tally) -> Session {
        Session {
            id,
            offline_since: Time(0),
            has_reserve: false,
            charge: Charge::new(tally, Session::cost(&client_id)),
            client_id,
            owner,
            connection: None,
            expiry_s: 0,
            expires_at: None,
            pending_will: None,
            filters: Vec::new(),
            inflight: Inflight::default(),
            received: Received::default(),
            queue: Queue::default(),
            qos0_queue: Queue::default(),
            replays: Replays::default(),
            bridge: None,
        }
    }

    /// What its end would lose.
    pub fn holds(&self) -> Holds {
        if !self.inflight.is_empty() || !self.queue.is_empty() || self.received.len() > 0 {
            Holds::Messages
        } else if !self.filters.is_empty() || !self.qos0_queue.is_empty() {
            Holds::Subscriptions
        } else {
            Holds::Nothing
        }
    }

    /// Whether the session outlives its connection, so that its changes are store operations.
    #[inline]
    pub fn is_durable(&self) -> bool {
        self.expiry_s > 0
    }

    /// Whether the store knows of messages that wait at this QoS: at QoS 0 only while the client is away.
    #[inline]
    pub fn stores(&self, qos: Qos) -> bool {
        self.is_durable() && (qos > Qos::AtMostOnce || self.connection.is_none())
    }

    /// Takes the messages out that have waited for too long; at QoS 0 that is `qos0_ttl_ms`, unless it is a bridge's session, which
    /// has its own.
    pub fn drop_older(&mut self, now: Time, qos0_ttl_ms: u64) -> Vec<Queued> {
        let bounds = self.bridge.as_ref().map(|bridge| bridge.bounds);
        let Some(bounds) = bounds else {
            return self.qos0_queue.drop_older(now, qos0_ttl_ms);
        };
        let mut dropped = self.qos0_queue.drop_older(now, bounds.qos0_ttl_ms);
        dropped.extend(self.queue.drop_older(now, bounds.ttl_ms));
        dropped
    }

    /// Counts messages that a bridge has lost.
    #[inline]
    pub fn count_dropped(&mut self, count: usize) {
        if let Some(bridge) = &mut self.bridge {
            bridge.dropped += count as u64;
        }
    }

    /// Tells the store that a message waits, if it is to know.
    pub fn store_waiting<E: Effects>(&self, queued: &Queued, effects: &mut E) {
        if self.stores(queued.qos) {
            effects.store(&StoreOp::Queued {
                session: self.id,
                message: &queued.message,
                qos: queued.qos,
                retain: queued.retain,
                subscription_ids: &queued.subscription_ids,
                share: queued.share.as_deref(),
                packet_id: None,
            });
        }
    }

    /// Tells the store that a message waits no longer, if it knows of it.
    pub fn store_dropped<E: Effects>(&self, dropped: &Queued, effects: &mut E) {
        if self.stores(dropped.qos) {
            effects.store(&StoreOp::Dropped {
                session: self.id,
                message: dropped.message.id(),
                share: dropped.share.as_deref(),
            });
        }
    }
}

/// A connection whose client has been authenticated and whose CONNECT was accepted.
#[derive(Debug)]
pub(super) struct Connection {
    pub generation: u32,
    pub session: SessionKey,
    pub version: Version,
    /// Whether the client said in CONNECT that it is a bridge, as bridges of 3.1 and 3.1.1 do.
    pub bridge: bool,
    /// Whether this side has connected to it: it is a bridge's remote broker.
    pub is_link: bool,
    /// What of MQTT the client may use, as its CONNACK said.
    pub offer: Capabilities,
    pub permissions: Permissions,
    /// One and a half times the Keep Alive, 0 for none (3.1.2.10).
    pub keep_alive_ms: u64,
    /// When the keep alive timer is armed for.
    pub keep_alive_at: Time,
    /// When the client was last heard of.
    pub last_heard: Time,
    /// The client's Receive Maximum: how many QoS 1 and 2 messages it takes at a time.
    pub receive_maximum: u16,
    /// Whether the output is full; set by an answer of `deliver`, cleared by [`Input::Drained`](super::Input::Drained).
    pub congested: bool,
    /// The topics of the client's aliases, by alias less one.
    pub topic_aliases: Vec<Rc<str>>,
    /// What the connection costs.
    pub charge: Charge,
    /// What to publish if the connection ends without a DISCONNECT.
    pub will: Option<Box<PendingWill>>,
}

impl Connection {
    /// How many QoS 1 and 2 messages may be in flight to it; `max_inflight` is the setting for clients.
    #[inline]
    pub fn window(&self, max_inflight: u16) -> usize {
        if self.is_link {
            usize::from(self.receive_maximum)
        } else {
            usize::from(self.receive_maximum.min(max_inflight))
        }
    }
}
