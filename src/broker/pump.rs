//! What waits for a client is sent when there is room again: what was in flight over an earlier connection, retained messages of new
//! subscriptions, and then the session's queues.
//!
//! It is entered by [`Broker::pump`], whenever a connection is new, its output has drained, its window has opened or it has subscribed. What
//! is sent at once and what waits is decided in `deliver`.

use super::Broker;
use super::deliver::{Grant, remaining_s, store_sent};
use super::effect::{Delivery, Effects, Payload, Sent, StoreOp};
use super::inflight::Stage;
use super::input::ConnectionId;
use super::queue::Queued;
use super::session::SessionKey;
use super::timers::Time;
use crate::mqtt::message::Origin;
use crate::mqtt::packet::{Ack, ServerPacket};
use crate::mqtt::{Message, Qos, ReasonCode};

/// What the pump does next for a session.
enum Step {
    /// Nothing waits, or nothing may be sent now.
    Rest,
    /// Something was sent or dropped: look again.
    Again,
}

impl Broker {
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
        let key = connection.session;
        let max_inflight = self.settings.max_inflight;
        let window = self
            .connection(to)
            .map_or(0, |connection| connection.window(max_inflight));
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

    /// Whether the message that is to be sent again may no longer be read: the right that it was first sent by is gone, and the client may
    /// never have got it.
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
            return Step::Again;
        };
        let message = message.clone();
        if let Some(origin) = message.origin()
            && session.bridge.is_some()
            && origin == Origin::of(&session.client_id)
        {
            // It is from there: there it is the same, or was replaced meanwhile.
            replay.after = Some(message);
            return Step::Again;
        }
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
        let session = &mut self.sessions[key.index()];
        let queue = if kind == Qos::AtMostOnce {
            &mut session.qos0_queue
        } else {
            &mut session.queue
        };
        let Some(queued) = queue.pop() else {
            return Step::Rest;
        };
        if kind == Qos::AtMostOnce {
            let ttl_ms = match &session.bridge {
                Some(bridge) => self
                    .settings
                    .request_ttl_within(queued.message.topic(), bridge.bounds.qos0_ttl_ms),
                None => self.settings.request_ttl_ms(queued.message.topic()),
            };
            if ttl_ms > 0 && now.since_ms(queued.since) > ttl_ms {
                self.sys.publish_dropped += 1;
                session.count_dropped(1);
                return Step::Again;
            }
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
                    share: grant.share.as_deref(),
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
            self.sessions[key.index()].count_dropped(usize::from(waited));
            return false;
        }
        let session = &mut self.sessions[key.index()];
        let packet_id = (grant.qos > Qos::AtMostOnce).then(|| session.inflight.new_id());
        match packet_id.filter(|_| session.is_durable()) {
            Some(packet_id) if waited => effects.store(&StoreOp::Inflight {
                session: session.id,
                message: message.id(),
                share: grant.share.as_deref(),
                packet_id,
            }),
            Some(packet_id) => store_sent(session, message, grant, packet_id, effects),
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
                subscription_ids: grant.subscription_ids.kept(&self.memory.tally),
                share: grant.share.clone(),
            };
            self.note_inflight(key, packet_id, stage, sent, effects);
        }
        self.sent(to, sent, message.payload().len());
        true
    }
}
