//! PUBLISH from a client and its acknowledgements (3.3 to 3.7, 4.3).
//!
//! A QoS 2 message is passed on when its PUBLISH arrives, and its identifier kept until PUBREL: of the two ways that
//! 4.3.3 permits, the one that keeps no message.

use std::rc::Rc;

use super::deliver::Grant;
use super::effect::{Close, Denial, Effects, StoreOp};
use super::inflight::Met;
use super::input::ConnectionId;
use super::session::{Connection, SessionKey};
use super::timers::Time;
use super::{Broker, limits};
use crate::acl::Action;
use crate::mqtt::message::{Origin, Parts};
use crate::mqtt::packet::{Ack, Publish, ServerPacket};
use crate::mqtt::{Message, PacketId, Qos, ReasonCode, Tally};

/// A message on its way through the router. It is borrowed until somebody must keep it.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    /// The delivery's serial; the router sets it.
    pub serial: u64,
    pub topic: &'a str,
    pub properties: &'a [u8],
    pub payload: &'a [u8],
    pub qos: Qos,
    pub retain: bool,
    pub expires_at: Option<Time>,
    /// The bridge that it came by.
    pub origin: Option<Origin>,
    /// The message, once it was made.
    pub kept: Option<Message>,
    /// Whether a client that is connected gets it, or a Shared Subscription has it.
    pub reached: bool,
}

impl Outgoing<'_> {
    /// The message to keep; made at the first call, shared at the others.
    pub fn keep(&mut self, last_message_id: &mut u64, tally: &Tally) -> &Message {
        self.kept.get_or_insert_with(|| {
            *last_message_id += 1;
            Message::counted(
                *last_message_id,
                Parts {
                    topic: self.topic,
                    properties: self.properties,
                    payload: self.payload,
                    qos: self.qos,
                    retain: self.retain,
                    expires_at_ms: self.expires_at.map(|at| at.0),
                },
                tally,
            )
            .from_bridge(self.origin)
        })
    }

    /// What keeping the message costs, in bytes.
    pub fn cost(&self) -> usize {
        Message::cost(self.topic, self.properties, self.payload)
    }
}

impl Broker {
    /// PUBLISH (3.3).
    pub(super) fn publish<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        key: SessionKey,
        publish: &Publish<'_>,
        effects: &mut E,
    ) {
        self.has_taken = false;
        self.sys.published(publish.payload.len());
        let aliased = match self.topic_of_alias(from, publish) {
            Ok(aliased) => aliased,
            Err(close) => return self.end_connection(now, from, close, effects),
        };
        let name = aliased.as_deref().unwrap_or(publish.topic);
        if let Err(close) = self.is_offered(from, publish) {
            return self.end_connection(now, from, close, effects);
        }
        if let (Qos::ExactlyOnce, Some(packet_id)) = (publish.qos, publish.packet_id)
            && !self.is_new(now, from, key, packet_id, effects)
        {
            return;
        }
        let Some(connection) = self.connection(from) else {
            return;
        };
        if !connection.permissions.may_write(name) {
            let denial = Denial::of(&connection.permissions, Action::Write, name);
            effects.denied(from, &denial);
            let why = "not authorized to publish to this topic";
            return self.refuse(from, publish, ReasonCode::NOT_AUTHORIZED, why, effects);
        }
        let is_kept = publish.retain && !publish.payload.is_empty();
        if is_kept && publish.qos > Qos::AtMostOnce && self.retained.is_full_for(name) {
            // An acknowledgement would promise that the message is retained.
            self.sys.publish_dropped += 1;
            let why = "no room for another retained message";
            return self.refuse(from, publish, ReasonCode::QUOTA_EXCEEDED, why, effects);
        }
        if is_kept || publish.qos > Qos::AtMostOnce {
            let has_room = self.make_room(now, cost(name, publish), Some(key), effects);
            if !has_room && publish.qos > Qos::AtMostOnce {
                return self.refuse_for_memory(now, from, publish, effects);
            }
        }
        let mut outgoing = Outgoing {
            serial: 0,
            topic: name,
            properties: publish.properties,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expires_at: publish
                .expiry_s
                .map(|expiry_s| now.after_s(u64::from(expiry_s))),
            origin: self.origin_of(key),
            kept: None,
            reached: false,
        };
        let receivers = self.accept(now, &mut outgoing, Some(key), effects);
        self.has_taken = true;
        let reason = if receivers > 0 {
            ReasonCode::SUCCESS
        } else {
            ReasonCode::NO_MATCHING_SUBSCRIBERS
        };
        self.acknowledge(from, key, publish, reason, effects);
    }

    /// The bridge whose session this is, if it is one.
    fn origin_of(&self, key: SessionKey) -> Option<Origin> {
        let session = &self.sessions[key.index()];
        let bridge = session.bridge.as_ref();
        bridge.map(|_| Origin::of(&session.client_id))
    }

    /// Whether a client may use what this PUBLISH uses: [MQTT-3.2.2-11] and [MQTT-3.2.2-14] bind it.
    #[inline]
    fn is_offered(&mut self, from: ConnectionId, publish: &Publish<'_>) -> Result<(), Close> {
        if publish.qos == Qos::AtMostOnce && !publish.retain {
            return Ok(());
        }
        let Some(Connection { offer, .. }) = self.connection(from) else {
            return Ok(());
        };
        let (reason, what) = if publish.qos > offer.max_qos {
            (ReasonCode::QOS_NOT_SUPPORTED, "a QoS above the maximum QoS")
        } else if publish.retain && !offer.retain_available {
            (
                ReasonCode::RETAIN_NOT_SUPPORTED,
                "messages may not be retained",
            )
        } else {
            return Ok(());
        };
        Err(Close { reason, what })
    }

    /// There is no memory for a message that would be acknowledged. A 5.0 client is told; to an older one, and to another broker, no answer is no promise: it is
    /// disconnected, and sends the message again when it comes back [MQTT-4.4.0-1], so that nothing is lost.
    fn refuse_for_memory<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        publish: &Publish<'_>,
        effects: &mut E,
    ) {
        self.sys.publish_dropped += 1;
        let reason = ReasonCode::QUOTA_EXCEEDED;
        let is_told = self
            .connection(from)
            .is_some_and(|connection| connection.version.is_v5() && !connection.is_link);
        if is_told {
            let why = "no memory for the message";
            return self.refuse(from, publish, reason, why, effects);
        }
        let close = Close {
            reason,
            what: "no memory for a message",
        };
        self.end_connection(now, from, close, effects);
    }

    /// Whether a QoS 2 message is to be passed on: it is no repetition, and the client may have one more open.
    fn is_new<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        key: SessionKey,
        packet_id: PacketId,
        effects: &mut E,
    ) -> bool {
        let received = &self.sessions[key.index()].received;
        if received.contains(packet_id) {
            // [MQTT-4.3.3-10]: a repetition is acknowledged and not passed on again.
            self.has_taken = true;
            let reason = ReasonCode::SUCCESS;
            let ack = Ack { packet_id, reason };
            self.send(from, &ServerPacket::PubRec(ack), effects);
            return false;
        }
        let open = received.len();
        let is_v5 = self
            .connection(from)
            .is_some_and(|connection| connection.version.is_v5());
        if is_v5 && open >= usize::from(limits::RECEIVE_MAXIMUM) {
            // [MQTT-3.3.4-9]
            let close = Close {
                reason: ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
                what: "receive maximum exceeded",
            };
            self.end_connection(now, from, close, effects);
            return false;
        }
        true
    }

    /// Resolves a Topic Alias (3.3.2.3.4): the topic that it stands for, or `None` when the packet names its topic.
    fn topic_of_alias(
        &mut self,
        from: ConnectionId,
        publish: &Publish<'_>,
    ) -> Result<Option<Rc<str>>, Close> {
        let Some(alias) = publish.topic_alias else {
            return Ok(None);
        };
        let invalid = |what| Close {
            reason: ReasonCode::TOPIC_ALIAS_INVALID,
            what,
        };
        let fits = self.fits(
            publish.topic.len() + usize::from(alias) * limits::TOPIC_ALIAS_BYTES,
            None,
        );
        let Some(connection) = self.connection(from) else {
            return Ok(None);
        };
        if alias > connection.offer.max_topic_alias {
            // [MQTT-3.3.2-9]
            return Err(invalid("topic alias above the topic alias maximum"));
        }
        let position = usize::from(alias) - 1;
        if publish.topic.is_empty() {
            let known = connection
                .topic_aliases
                .get(position)
                .filter(|topic| !topic.is_empty());
            return match known {
                Some(topic) => Ok(Some(topic.clone())),
                None => Err(Close {
                    reason: ReasonCode::PROTOCOL_ERROR,
                    what: "unknown topic alias",
                }),
            };
        }
        let aliases = &mut connection.topic_aliases;
        let former = aliases.get(position);
        if former.is_none_or(|former| **former != *publish.topic) {
            if !fits {
                return Err(Close {
                    reason: ReasonCode::QUOTA_EXCEEDED,
                    what: "no memory for a topic alias",
                });
            }
            let more = (position + 1).saturating_sub(aliases.len());
            connection
                .charge
                .remove(former.map_or(0, |former| former.len()));
            connection
                .charge
                .add(publish.topic.len() + more * limits::TOPIC_ALIAS_BYTES);
            aliases.resize_with(aliases.len() + more, || Rc::from(""));
            aliases[position] = Rc::from(publish.topic);
        }
        Ok(None)
    }

    /// Answers a PUBLISH that was taken as its QoS asks [MQTT-4.3.2-4] [MQTT-4.3.3-8].
    fn acknowledge<E: Effects>(
        &mut self,
        from: ConnectionId,
        key: SessionKey,
        publish: &Publish<'_>,
        reason: ReasonCode,
        effects: &mut E,
    ) {
        let Some(packet_id) = publish.packet_id else {
            return;
        };
        let ack = Ack { packet_id, reason };
        if publish.qos == Qos::AtLeastOnce {
            return self.send(from, &ServerPacket::PubAck(ack), effects);
        }
        let session = &mut self.sessions[key.index()];
        session.received.insert(packet_id);
        session.charge.add(limits::RECEIVED_ID_BYTES);
        if session.is_durable() {
            effects.store(&StoreOp::Taken {
                session: session.id,
                packet_id,
            });
        }
        self.send(from, &ServerPacket::PubRec(ack), effects);
    }

    /// Answers a PUBLISH that is not taken: at QoS 0 by silence, and an MQTT 3 client by an acknowledgement like any other.
    fn refuse<E: Effects>(
        &mut self,
        from: ConnectionId,
        publish: &Publish<'_>,
        reason: ReasonCode,
        why: &'static str,
        effects: &mut E,
    ) {
        let Some(packet_id) = publish.packet_id else {
            return;
        };
        let packet = ServerPacket::Refusal {
            ack: Ack { packet_id, reason },
            qos: publish.qos,
            reason_string: why,
        };
        self.send(from, &packet, effects);
    }

    /// Takes a message that may be published: retains it if it says so, and routes it. For how many sessions there is a subscription.
    pub(super) fn accept<E: Effects>(
        &mut self,
        now: Time,
        outgoing: &mut Outgoing<'_>,
        publisher: Option<SessionKey>,
        effects: &mut E,
    ) -> usize {
        if outgoing.retain {
            self.retain(outgoing, publisher, effects);
        }
        let receivers = self.route(now, outgoing, publisher, effects);
        if !outgoing.reached {
            self.keep(now, outgoing, publisher, effects);
        }
        receivers
    }

    fn retain<E: Effects>(
        &mut self,
        outgoing: &mut Outgoing<'_>,
        publisher: Option<SessionKey>,
        effects: &mut E,
    ) {
        let is_stored = !outgoing.topic.starts_with("$SYS/");
        if outgoing.payload.is_empty() {
            // [MQTT-3.3.1-6]
            if self.retained.clear(outgoing.topic) && is_stored {
                effects.store(&StoreOp::RetainCleared {
                    topic: outgoing.topic,
                });
            }
            return;
        }
        let is_full =
            || self.retained.is_full_for(outgoing.topic) || !self.fits(outgoing.cost(), publisher);
        if is_stored && is_full() {
            // A message at QoS 0 or a Will: it is passed on, and need not be kept (3.3.1.3).
            self.sys.publish_dropped += 1;
            return;
        }
        let message = outgoing
            .keep(&mut self.last_message_id, &self.memory.tally)
            .clone();
        if is_stored {
            effects.store(&StoreOp::Retained { message: &message });
        }
        self.retained.set(message);
    }

    /// Passes a message to every session with a subscription that matches, once each. How many there are, those included whose own message it is.
    pub(super) fn route<E: Effects>(
        &mut self,
        now: Time,
        outgoing: &mut Outgoing<'_>,
        publisher: Option<SessionKey>,
        effects: &mut E,
    ) -> usize {
        outgoing.serial = self.new_serial();
        let mut found = std::mem::take(&mut self.found);
        let mut lists = 0;
        self.router.matching(outgoing.topic, |list| {
            found.extend_from_slice(list);
            lists += 1;
        });
        if lists > 1 {
            // Only in several lists can a session stand more than once.
            found.sort_unstable_by_key(|subscriber| subscriber.session);
        }
        let mut receivers = 0;
        for of_session in found.chunk_by(|one, next| one.session == next.session) {
            let Some(grant) = Grant::of(of_session, outgoing, publisher) else {
                // Its own, with No Local: a subscriber that matches, which 0x10 would deny.
                receivers += 1;
                continue;
            };
            let receives = self.deliver(now, of_session[0].session, &grant, outgoing, effects);
            receivers += usize::from(receives);
        }
        found.clear();
        self.found = found;
        if !self.shares.is_empty() {
            let groups = self.route_shared(now, outgoing, effects);
            // A group has it, whether or not the member that was chosen is there.
            outgoing.reached |= groups > 0;
            receivers += groups;
        }
        receivers
    }

    /// PUBACK (3.4).
    pub(super) fn puback<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        key: SessionKey,
        ack: Ack,
        effects: &mut E,
    ) {
        let met = self.sessions[key.index()]
            .inflight
            .acknowledged(ack.packet_id);
        self.after_ack(now, from, key, ack.packet_id, &met, effects);
    }

    /// PUBCOMP (3.7).
    pub(super) fn pubcomp<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        key: SessionKey,
        ack: Ack,
        effects: &mut E,
    ) {
        let met = self.sessions[key.index()].inflight.completed(ack.packet_id);
        self.after_ack(now, from, key, ack.packet_id, &met, effects);
    }

    /// PUBREC (3.5): PUBREL follows, unless the client refused the message [MQTT-4.3.3-4].
    pub(super) fn pubrec<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        key: SessionKey,
        ack: Ack,
        effects: &mut E,
    ) {
        let packet_id = ack.packet_id;
        let session = &mut self.sessions[key.index()];
        if ack.reason.is_error() {
            let met = session.inflight.refused(packet_id);
            return self.after_ack(now, from, key, packet_id, &met, effects);
        }
        let reason = match session.inflight.received(packet_id) {
            Met::Release => {
                if session.is_durable() {
                    effects.store(&StoreOp::Received {
                        session: session.id,
                        packet_id,
                    });
                }
                ReasonCode::SUCCESS
            }
            Met::Mismatch => {
                return self.violation(now, from, "PUBREC for a QoS 1 message", effects);
            }
            // The client still holds the identifier: let it go on.
            Met::Unknown | Met::Done => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
        };
        self.send(
            from,
            &ServerPacket::PubRel(Ack { packet_id, reason }),
            effects,
        );
    }

    /// PUBREL (3.6) [MQTT-4.3.3-11].
    pub(super) fn pubrel<E: Effects>(
        &mut self,
        from: ConnectionId,
        key: SessionKey,
        ack: Ack,
        effects: &mut E,
    ) {
        let packet_id = ack.packet_id;
        let session = &mut self.sessions[key.index()];
        let reason = if session.received.remove(packet_id) {
            session.charge.remove(limits::RECEIVED_ID_BYTES);
            if session.is_durable() {
                effects.store(&StoreOp::Released {
                    session: session.id,
                    packet_id,
                });
            }
            ReasonCode::SUCCESS
        } else {
            ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
        };
        self.send(
            from,
            &ServerPacket::PubComp(Ack { packet_id, reason }),
            effects,
        );
    }

    fn after_ack<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        key: SessionKey,
        packet_id: PacketId,
        met: &Met,
        effects: &mut E,
    ) {
        match met {
            Met::Done => {
                let session = &self.sessions[key.index()];
                if session.is_durable() {
                    effects.store(&StoreOp::Done {
                        session: session.id,
                        packet_id,
                    });
                }
                self.pump(now, from, effects);
            }
            Met::Mismatch => {
                self.violation(
                    now,
                    from,
                    "the acknowledgement does not fit the message's QoS",
                    effects,
                );
            }
            // An acknowledgement that arrives twice, or after a takeover, changes nothing.
            Met::Unknown | Met::Release => {}
        }
    }
}

/// What keeping a client's message costs, in bytes: in flight or retained, and once more for a receiver.
fn cost(name: &str, publish: &Publish<'_>) -> usize {
    Message::cost(name, publish.properties, publish.payload)
}
