//! What goes to a client now, what waits, and what is dropped.
//!
//! A message is sent at once when nothing that it must not overtake waits: no earlier message of its kind, no retained
//! message of a new subscription, no message to be sent again; when the client's output has room; and at QoS > 0 when its
//! window has. Otherwise it waits in the session's queue for its kind, and [`pump`](super::pump) sends it when there is room again.

use std::rc::Rc;

use super::effect::{Delivery, Effects, Payload, Sent, StoreOp};
use super::inflight::{Entry, Stage};
use super::input::ConnectionId;
use super::publish::Outgoing;
use super::queue::{Queued, SubscriptionIds};
use super::router::Subscriber;
use super::session::{Connection, Session, SessionKey};
use super::timers::Time;
use super::{Broker, limits};
use crate::mqtt::{Message, PacketId, Qos};

/// How a session gets a message: what its matching subscriptions say together (3.3.4).
#[derive(Debug)]
pub(super) struct Grant {
    /// The highest QoS granted, but not above the message's [MQTT-3.8.4-8].
    pub qos: Qos,
    /// The RETAIN flag to send it with (3.3.1.3).
    pub retain: bool,
    /// The identifiers of all matching subscriptions that have one [MQTT-3.3.4-3].
    pub subscription_ids: SubscriptionIds,
    /// The name of the Shared Subscription that it comes through.
    pub share: Option<Rc<str>>,
}

impl Grant {
    /// The same for a member of a Shared Subscription.
    pub fn shared_by(self, share: Rc<str>) -> Grant {
        Grant {
            share: Some(share),
            ..self
        }
    }

    /// What the subscriptions of one session grant; `None` when all of them are No Local and its own [MQTT-3.8.3-3].
    #[inline]
    pub fn of(
        subscribers: &[Subscriber],
        outgoing: &Outgoing<'_>,
        publisher: Option<SessionKey>,
    ) -> Option<Grant> {
        let mut granted: Option<Grant> = None;
        for subscriber in subscribers {
            let options = subscriber.options;
            if options.no_local && publisher == Some(subscriber.session) {
                continue;
            }
            let grant = granted.get_or_insert_with(|| Grant {
                qos: Qos::AtMostOnce,
                retain: false,
                subscription_ids: SubscriptionIds::default(),
                share: None,
            });
            grant.qos = grant.qos.max(options.qos.min(outgoing.qos));
            grant.retain |= options.retain_as_published && outgoing.retain;
            if subscriber.subscription_id != 0 {
                grant.subscription_ids.push(subscriber.subscription_id);
            }
        }
        granted
    }
}

impl Broker {
    /// Passes a message to one session: sends it now, queues it or drops it. `false` when its client may not read it.
    #[inline]
    pub(super) fn deliver<E: Effects>(
        &mut self,
        now: Time,
        key: SessionKey,
        grant: &Grant,
        outgoing: &mut Outgoing<'_>,
        effects: &mut E,
    ) -> bool {
        let session = &mut self.sessions[key.index()];
        if let Some(to) = session.connection
            && let Some(connection) = self.connections[to.index as usize].as_deref_mut()
        {
            if !connection.permissions.reads_all()
                && !connection.permissions.may_read(outgoing.topic)
            {
                return false;
            }
            outgoing.reached = true;
            if has_room(session, connection, grant.qos, self.settings.max_inflight) {
                match grant.qos {
                    Qos::AtMostOnce => {
                        let is_broker = connection.is_link || connection.bridge;
                        self.send_qos0(now, to, is_broker, grant, outgoing, effects);
                    }
                    _ => self.send_new(now, to, key, grant, outgoing, effects),
                }
                return true;
            }
        }
        self.enqueue(now, key, grant, outgoing, effects);
        true
    }

    fn send_qos0<E: Effects>(
        &mut self,
        now: Time,
        to: ConnectionId,
        is_broker: bool,
        grant: &Grant,
        outgoing: &mut Outgoing<'_>,
        effects: &mut E,
    ) {
        // What goes to other brokers has a number, by which they know it when it comes to them on several ways.
        if is_broker || outgoing.payload.len() > limits::COPY_PAYLOAD_MAX {
            outgoing.keep(&mut self.last_message_id, &self.memory.tally);
        }
        let delivery = delivery_of(now, outgoing, grant, None);
        let sent = effects.deliver(to, &delivery);
        self.sent(to, sent, outgoing.payload.len());
    }

    fn send_new<E: Effects>(
        &mut self,
        now: Time,
        to: ConnectionId,
        key: SessionKey,
        grant: &Grant,
        outgoing: &mut Outgoing<'_>,
        effects: &mut E,
    ) {
        let message = outgoing
            .keep(&mut self.last_message_id, &self.memory.tally)
            .clone();
        let session = &mut self.sessions[key.index()];
        let packet_id = session.inflight.new_id();
        if session.is_durable() {
            store_sent(session, &message, grant, packet_id, effects);
        }
        let delivery = delivery_of(now, outgoing, grant, Some(packet_id));
        let sent = effects.deliver(to, &delivery);
        let stage = Stage::Publish {
            message,
            qos: grant.qos,
            retain: grant.retain,
            subscription_ids: grant.subscription_ids.kept(&self.memory.tally),
            share: grant.share.clone(),
        };
        self.note_inflight(key, packet_id, stage, sent, effects);
        self.sent(to, sent, outgoing.payload.len());
    }

    /// Notes a message as in flight, unless the client does not take it: then it is as if it were done [MQTT-3.1.2-25].
    pub(super) fn note_inflight<E: Effects>(
        &mut self,
        key: SessionKey,
        packet_id: PacketId,
        stage: Stage,
        sent: Sent,
        effects: &mut E,
    ) {
        let session = &mut self.sessions[key.index()];
        if sent != Sent::TooLarge {
            session.inflight.push_sent(Entry {
                packet_id,
                stage,
                duplicate: false,
            });
        } else if session.is_durable() {
            effects.store(&StoreOp::Done {
                session: session.id,
                packet_id,
            });
        }
    }

    /// Counts what became of a delivery, and remembers a full output.
    #[inline]
    pub(super) fn sent(&mut self, to: ConnectionId, sent: Sent, payload_bytes: usize) {
        match sent {
            Sent::Sent => {}
            Sent::Congested => {
                if let Some(connection) = self.connection(to) {
                    connection.congested = true;
                }
            }
            Sent::TooLarge => {
                self.sys.publish_dropped += 1;
                if let Some(key) = self.connection(to).map(|connection| connection.session) {
                    self.sessions[key.index()].count_dropped(1);
                }
                return;
            }
        }
        self.sys.delivered(payload_bytes);
    }

    fn enqueue<E: Effects>(
        &mut self,
        now: Time,
        key: SessionKey,
        grant: &Grant,
        outgoing: &mut Outgoing<'_>,
        effects: &mut E,
    ) {
        if grant.qos == Qos::AtMostOnce && !self.may_wait(now, key, outgoing, effects) {
            self.sys.publish_dropped += 1;
            self.sessions[key.index()].count_dropped(1);
            return;
        }
        let message = outgoing
            .keep(&mut self.last_message_id, &self.memory.tally)
            .clone();
        let queued = Queued {
            qos: grant.qos,
            retain: grant.retain,
            subscription_ids: grant.subscription_ids.kept(&self.memory.tally),
            share: grant.share.clone(),
            since: now,
            message,
        };
        let settings = &self.settings;
        let session = &mut self.sessions[key.index()];
        let (messages_max, bytes_max, ttl_ms) = match &session.bridge {
            Some(bridge) => (
                bridge.bounds.messages,
                bridge.bounds.bytes,
                bridge.bounds.qos0_ttl_ms,
            ),
            None => (
                settings.queue_messages,
                settings.queue_bytes,
                settings.qos0_queue_ttl_ms,
            ),
        };
        session.store_waiting(&queued, effects);
        let dropped = if grant.qos == Qos::AtMostOnce {
            let queue = &mut session.qos0_queue;
            let mut dropped = queue.drop_older(now, ttl_ms);
            dropped.extend(queue.push(queued, messages_max, bytes_max));
            dropped
        } else {
            // What has expired makes room before anything that has not.
            let mut dropped = session.queue.drop_expired(now);
            dropped.extend(session.queue.push(queued, messages_max, bytes_max));
            dropped
        };
        self.sys.publish_dropped += dropped.len() as u64;
        session.count_dropped(dropped.len());
        for dropped in &dropped {
            session.store_dropped(dropped, effects);
        }
    }

    /// Whether a QoS 0 message may wait for a session's client.
    fn may_wait<E: Effects>(
        &mut self,
        now: Time,
        key: SessionKey,
        outgoing: &Outgoing<'_>,
        effects: &mut E,
    ) -> bool {
        let session = &self.sessions[key.index()];
        let ttl_ms = match &session.bridge {
            Some(bridge) => bridge.bounds.qos0_ttl_ms,
            None => self.settings.qos0_queue_ttl_ms,
        };
        let is_kept = session.connection.is_some() || ttl_ms > 0;
        is_kept && self.make_room_to_wait(now, outgoing.cost(), Some(key), effects)
    }
}

/// Whether a message may be sent to a session's client at once.
#[inline]
fn has_room(session: &Session, connection: &Connection, qos: Qos, max_inflight: u16) -> bool {
    if connection.congested || !session.replays.is_empty() {
        return false;
    }
    if qos == Qos::AtMostOnce {
        return session.qos0_queue.is_empty();
    }
    let window = connection.window(max_inflight);
    session.queue.is_empty() && session.inflight.all_sent() && session.inflight.sent() < window
}

/// The delivery of a message on its way through.
#[inline]
fn delivery_of<'a>(
    now: Time,
    outgoing: &'a Outgoing<'_>,
    grant: &'a Grant,
    packet_id: Option<PacketId>,
) -> Delivery<'a> {
    Delivery {
        serial: outgoing.serial,
        topic: outgoing.topic,
        properties: outgoing.properties,
        payload: match &outgoing.kept {
            Some(message) => Payload::Kept(message),
            None => Payload::Borrowed(outgoing.payload),
        },
        qos: grant.qos,
        packet_id,
        duplicate: false,
        retain: grant.retain,
        expiry_s: remaining_s(now, outgoing.expires_at),
        subscription_ids: &grant.subscription_ids,
    }
}

/// What is left of a Message Expiry Interval in seconds, begun ones counted whole [MQTT-3.3.2-6].
#[inline]
pub(super) fn remaining_s(now: Time, expires_at: Option<Time>) -> Option<u32> {
    expires_at.map(|at| u32::try_from(at.since_ms(now).div_ceil(1000)).unwrap_or(u32::MAX))
}

/// Tells the store of a message that is in flight at once.
pub(super) fn store_sent<E: Effects>(
    session: &Session,
    message: &Message,
    grant: &Grant,
    packet_id: PacketId,
    effects: &mut E,
) {
    effects.store(&StoreOp::Queued {
        session: session.id,
        message,
        qos: grant.qos,
        retain: grant.retain,
        subscription_ids: &grant.subscription_ids,
        share: grant.share.as_deref(),
        packet_id: Some(packet_id),
    });
}
