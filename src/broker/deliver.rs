//! What goes to a client now, what waits, and what is dropped.
//!
//! A message is sent at once when nothing that it must not overtake waits: no earlier message of its kind, no retained
//! message of a new subscription, no message to be sent again; when the client's output has room; and at QoS > 0 when its
//! window has. Otherwise it waits in the session's queue for its kind, and [`Broker::pump`] sends it when there is room again.

use std::collections::VecDeque;
use std::rc::Rc;

use super::effect::{Delivery, Effects, Payload, Sent, SessionId, StoreOp};
use super::inflight::{Entry, Stage};
use super::input::ConnectionId;
use super::publish::Outgoing;
use super::queue::{Queued, SubscriptionIds};
use super::router::Subscriber;
use super::session::{Connection, Session, SessionKey};
use super::timers::Time;
use super::{Broker, limits};
use crate::mqtt::packet::{Ack, ServerPacket};
use crate::mqtt::{Message, PacketId, Qos, ReasonCode};

/// How a session gets a message: what its matching subscriptions say together (3.3.4).
#[derive(Debug)]
pub(super) struct Grant {
    /// The highest QoS granted, but not above the message's [MQTT-3.8.4-8].
    qos: Qos,
    /// The RETAIN flag to send it with (3.3.1.3).
    retain: bool,
    /// The identifiers of all matching subscriptions that have one [MQTT-3.3.4-3].
    subscription_ids: SubscriptionIds,
    /// The name of the Shared Subscription that it comes through.
    share: Option<Rc<str>>,
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
                subscription_ids: SubscriptionIds::new(),
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

/// What the pump does next for a session.
enum Step {
    /// Nothing waits, or nothing may be sent now.
    Rest,
    /// Something was sent or dropped: look again.
    Again,
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
            if has_room(session, connection, grant.qos, self.settings.max_inflight) {
                match grant.qos {
                    Qos::AtMostOnce => self.send_qos0(now, to, grant, outgoing, effects),
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
        grant: &Grant,
        outgoing: &mut Outgoing<'_>,
        effects: &mut E,
    ) {
        if outgoing.payload.len() > limits::COPY_PAYLOAD_MAX {
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
            store_queued(session, &message, grant, Some(packet_id), effects);
        }
        let delivery = delivery_of(now, outgoing, grant, Some(packet_id));
        let sent = effects.deliver(to, &delivery);
        let stage = Stage::Publish {
            message,
            qos: grant.qos,
            retain: grant.retain,
            subscription_ids: grant.subscription_ids.clone(),
            share: grant.share.clone(),
        };
        self.note_inflight(key, packet_id, stage, sent, effects);
        self.sent(to, sent, outgoing.payload.len());
    }

    /// Notes a message as in flight, unless the client does not take it: then it is as if it were done [MQTT-3.1.2-25].
    fn note_inflight<E: Effects>(
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
    fn sent(&mut self, to: ConnectionId, sent: Sent, payload_bytes: usize) {
        match sent {
            Sent::Sent => {}
            Sent::Congested => {
                if let Some(connection) = self.connection(to) {
                    connection.congested = true;
                }
            }
            Sent::TooLarge => return self.sys.publish_dropped += 1,
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
        if grant.qos == Qos::AtMostOnce && !self.may_wait(now, key, outgoing) {
            self.sys.publish_dropped += 1;
            return;
        }
        let message = outgoing
            .keep(&mut self.last_message_id, &self.memory.tally)
            .clone();
        let queued = Queued {
            qos: grant.qos,
            retain: grant.retain,
            subscription_ids: grant.subscription_ids.clone(),
            share: grant.share.clone(),
            since: now,
            message,
        };
        let settings = &self.settings;
        let session = &mut self.sessions[key.index()];
        let (messages_max, bytes_max) = (settings.queue_messages, settings.queue_bytes);
        if grant.qos == Qos::AtMostOnce {
            let expired = session
                .qos0_queue
                .drop_older(now, settings.qos0_queue_ttl_ms);
            self.sys.publish_dropped += expired;
            let dropped = session.qos0_queue.push(queued, messages_max, bytes_max);
            self.sys.publish_dropped += dropped.len() as u64;
            return;
        }
        if session.is_durable() {
            store_queued(session, &queued.message, grant, None, effects);
        }
        // What has expired makes room before anything that has not.
        let mut gone = session.queue.drop_expired(now);
        gone.extend(session.queue.push(queued, messages_max, bytes_max));
        self.sys.publish_dropped += gone.len() as u64;
        if session.is_durable() {
            forget(session.id, &gone, effects);
        }
    }

    /// Whether a QoS 0 message may wait for a session's client.
    fn may_wait(&mut self, now: Time, key: SessionKey, outgoing: &Outgoing<'_>) -> bool {
        let is_kept =
            self.sessions[key.index()].connection.is_some() || self.settings.qos0_queue_ttl_ms > 0;
        is_kept && self.make_room_to_wait(now, outgoing.cost(), key)
    }

    /// Sends what waits for a client, as far as its window and its output have room.
    #[inline]
    pub(super) fn pump<E: Effects>(&mut self, now: Time, to: ConnectionId, effects: &mut E) {
        while let Step::Again = self.pump_one(now, to, effects) {}
    }

    fn pump_one<E: Effects>(&mut self, now: Time, to: ConnectionId, effects: &mut E) -> Step {
        let Some(connection) = self.connection(to) else {
            return Step::Rest;
        };
        if connection.congested {
            return Step::Rest;
        }
        let (key, receive_maximum) = (connection.session, connection.receive_maximum);
        let window = usize::from(receive_maximum.min(self.settings.max_inflight));
        let session = &self.sessions[key.index()];
        let window_open = session.inflight.sent() < window;
        if !session.inflight.all_sent() {
            return self.send_again(now, to, key, window_open, effects);
        }
        if !session.replays.is_empty() {
            return self.replay(now, to, key, window_open, effects);
        }
        if !session.queue.is_empty() && window_open {
            return self.send_queued(now, to, key, Qos::AtLeastOnce, effects);
        }
        if !session.qos0_queue.is_empty() {
            return self.send_queued(now, to, key, Qos::AtMostOnce, effects);
        }
        Step::Rest
    }

    /// Sends the next message again that was in flight over an earlier connection [MQTT-4.4.0-1].
    fn send_again<E: Effects>(
        &mut self,
        now: Time,
        to: ConnectionId,
        key: SessionKey,
        window_open: bool,
        effects: &mut E,
    ) -> Step {
        if self.is_withdrawn(to, key) {
            self.sys.publish_dropped += 1;
            self.drop_unsent(key, effects);
            return Step::Again;
        }
        let serial = self.new_serial();
        let Some(entry) = self.sessions[key.index()].inflight.next_unsent() else {
            return Step::Rest;
        };
        let packet_id = entry.packet_id;
        let (sent, payload_bytes) = match &entry.stage {
            Stage::PubRel => {
                let packet = ServerPacket::PubRel(Ack {
                    packet_id,
                    reason: ReasonCode::SUCCESS,
                });
                self.sessions[key.index()].inflight.mark_sent();
                self.send(to, &packet, effects);
                return Step::Again;
            }
            Stage::Publish { .. } if !window_open => return Step::Rest,
            Stage::Publish {
                message,
                qos,
                retain,
                subscription_ids,
                ..
            } => {
                let delivery = Delivery {
                    serial,
                    topic: message.topic(),
                    properties: message.properties(),
                    payload: Payload::Kept(message),
                    qos: *qos,
                    packet_id: Some(packet_id),
                    duplicate: entry.duplicate,
                    retain: *retain,
                    expiry_s: remaining_s(now, message.expires_at_ms().map(Time)),
                    subscription_ids,
                };
                (effects.deliver(to, &delivery), message.payload().len())
            }
        };
        if sent == Sent::TooLarge {
            self.drop_unsent(key, effects);
        } else {
            self.sessions[key.index()].inflight.mark_sent();
        }
        self.sent(to, sent, payload_bytes);
        Step::Again
    }

    /// Whether the message that is to be sent again may no longer be read: the right that it was first sent by is gone, and the client may never have
    /// got it.
    fn is_withdrawn(&self, to: ConnectionId, key: SessionKey) -> bool {
        let entry = self.sessions[key.index()].inflight.next_unsent();
        let Some(Stage::Publish { message, .. }) = entry.map(|entry| &entry.stage) else {
            return false;
        };
        self.connections
            .get(to.index as usize)
            .and_then(Option::as_deref)
            .is_some_and(|connection| !connection.permissions.may_read(message.topic()))
    }

    /// Gives up the message that is to be sent again.
    fn drop_unsent<E: Effects>(&mut self, key: SessionKey, effects: &mut E) {
        let session = &mut self.sessions[key.index()];
        let dropped = session.inflight.drop_unsent();
        if let Some(packet_id) = dropped.filter(|_| session.is_durable()) {
            effects.store(&StoreOp::Done {
                session: session.id,
                packet_id,
            });
        }
    }

    /// Sends the next retained message of a subscription (3.3.1.3).
    fn replay<E: Effects>(
        &mut self,
        now: Time,
        to: ConnectionId,
        key: SessionKey,
        window_open: bool,
        effects: &mut E,
    ) -> Step {
        let session = &mut self.sessions[key.index()];
        let Some(replay) = session.replays.front_mut() else {
            return Step::Rest;
        };
        let after = replay.after.as_ref().map(Message::topic);
        let Some(message) = self.retained.next_matching(&replay.filter, after) else {
            session.replays.pop_front();
            if session.replays.is_empty() {
                // An idle session holds no buffer.
                session.replays = VecDeque::new();
            }
            return Step::Again;
        };
        let message = message.clone();
        // A retained message must not overtake an earlier one of its topic that waits [MQTT-4.6.0-6].
        let (id, since) = (message.id(), replay.since);
        let is_earlier = |queued: &Queued| {
            let earlier = queued.message.id();
            earlier <= since || earlier < id
        };
        if session.queue.front().is_some_and(is_earlier) {
            return match window_open {
                true => self.send_queued(now, to, key, Qos::AtLeastOnce, effects),
                false => Step::Rest,
            };
        }
        if session.qos0_queue.front().is_some_and(is_earlier) {
            return self.send_queued(now, to, key, Qos::AtMostOnce, effects);
        }
        if session.queue.contains(id) || session.qos0_queue.contains(id) {
            // Published since the subscription was made: it is on its way like any other.
            replay.after = Some(message);
            return Step::Again;
        }
        let grant = Grant {
            qos: replay.qos.min(message.qos()),
            // [MQTT-3.3.1-8]: it is there because of a new subscription.
            retain: true,
            subscription_ids: replay.subscription_ids.clone(),
            share: None,
        };
        if grant.qos > Qos::AtMostOnce && !window_open {
            return Step::Rest;
        }
        replay.after = Some(message.clone());
        self.send_kept(now, to, &message, &grant, false, effects);
        Step::Again
    }

    /// Sends the oldest message of a queue, or drops it when its time is over.
    fn send_queued<E: Effects>(
        &mut self,
        now: Time,
        to: ConnectionId,
        key: SessionKey,
        kind: Qos,
        effects: &mut E,
    ) -> Step {
        let ttl_ms = self.settings.qos0_queue_ttl_ms;
        let session = &mut self.sessions[key.index()];
        let queue = if kind == Qos::AtMostOnce {
            &mut session.qos0_queue
        } else {
            &mut session.queue
        };
        let Some(queued) = queue.pop() else {
            return Step::Rest;
        };
        if kind == Qos::AtMostOnce && ttl_ms > 0 && now.since_ms(queued.since) > ttl_ms {
            self.sys.publish_dropped += 1;
            return Step::Again;
        }
        let grant = Grant {
            qos: queued.qos,
            retain: queued.retain,
            subscription_ids: queued.subscription_ids,
            share: queued.share,
        };
        if !self.send_kept(now, to, &queued.message, &grant, true, effects) {
            let session = &self.sessions[key.index()];
            if grant.qos > Qos::AtMostOnce && session.is_durable() {
                effects.store(&StoreOp::Dropped {
                    session: session.id,
                    message: queued.message.id(),
                });
            }
        }
        Step::Again
    }

    /// Sends a message that was kept, for the first time; the store knows it already if it `waited` in a queue. `false`
    /// when it has expired [MQTT-3.3.2-5] or may not be read (any more).
    fn send_kept<E: Effects>(
        &mut self,
        now: Time,
        to: ConnectionId,
        message: &Message,
        grant: &Grant,
        waited: bool,
        effects: &mut E,
    ) -> bool {
        let Some(connection) = self.connection(to) else {
            return false;
        };
        let key = connection.session;
        let may_read =
            connection.permissions.reads_all() || connection.permissions.may_read(message.topic());
        let expires_at = message.expires_at_ms().map(Time);
        if !may_read || expires_at.is_some_and(|at| at <= now) {
            self.sys.publish_dropped += 1;
            return false;
        }
        let session = &mut self.sessions[key.index()];
        let packet_id = (grant.qos > Qos::AtMostOnce).then(|| session.inflight.new_id());
        match packet_id.filter(|_| session.is_durable()) {
            Some(packet_id) if waited => effects.store(&StoreOp::Inflight {
                session: session.id,
                message: message.id(),
                packet_id,
            }),
            Some(packet_id) => store_queued(session, message, grant, Some(packet_id), effects),
            None => {}
        }
        let delivery = Delivery {
            serial: self.new_serial(),
            topic: message.topic(),
            properties: message.properties(),
            payload: Payload::Kept(message),
            qos: grant.qos,
            packet_id,
            duplicate: false,
            retain: grant.retain,
            expiry_s: remaining_s(now, expires_at),
            subscription_ids: &grant.subscription_ids,
        };
        let sent = effects.deliver(to, &delivery);
        if let Some(packet_id) = packet_id {
            let stage = Stage::Publish {
                message: message.clone(),
                qos: grant.qos,
                retain: grant.retain,
                subscription_ids: grant.subscription_ids.clone(),
                share: grant.share.clone(),
            };
            self.note_inflight(key, packet_id, stage, sent, effects);
        }
        self.sent(to, sent, message.payload().len());
        true
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
    let window = usize::from(connection.receive_maximum.min(max_inflight));
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
fn remaining_s(now: Time, expires_at: Option<Time>) -> Option<u32> {
    expires_at.map(|at| u32::try_from(at.since_ms(now).div_ceil(1000)).unwrap_or(u32::MAX))
}

/// Tells the store that messages of a session's queue are gone.
pub(super) fn forget<E: Effects>(session: SessionId, gone: &[Queued], effects: &mut E) {
    for queued in gone {
        effects.store(&StoreOp::Dropped {
            session,
            message: queued.message.id(),
        });
    }
}

fn store_queued<E: Effects>(
    session: &Session,
    message: &Message,
    grant: &Grant,
    packet_id: Option<PacketId>,
    effects: &mut E,
) {
    effects.store(&StoreOp::Queued {
        session: session.id,
        message,
        qos: grant.qos,
        retain: grant.retain,
        subscription_ids: &grant.subscription_ids,
        packet_id,
    });
}
