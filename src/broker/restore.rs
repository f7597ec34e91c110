//! What a store has kept comes back: sessions with all that they hold, and retained messages.
//!
//! It is entered before the first input: [`Broker::restore`] takes one item at a time, messages first, and [`Broker::restored`] ends it.
//! What was stored is input like any other: a damaged file or another program may have written it. Each item is
//! checked against what is there and against the bounds, and a bad one is refused in words and changes nothing; what refers to it is then refused too.
//!
//! What this does not do: it knows neither files nor how long the broker was gone. The broker's [`Time`] goes on across a restart, and
//! the caller sees to that. It does not ask what a client may do either: a queued message is asked about when it is sent, a Will was when its client connected.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use super::effect::{Effects, SessionId, StoreOp};
use super::inflight::Stage;
use super::input::Owner;
use super::keeper::Kept;
use super::queue::{Queued, SubscriptionIds};
use super::router::Subscriber;
use super::session::{Session, SessionKey};
use super::timers::{Time, Timer};
use super::will::PendingWill;
use super::{Broker, limits};
use crate::acl::is_servers;
use crate::mqtt::message::{Origin, Parts};
use crate::mqtt::packet::SubscriptionOptions;
use crate::mqtt::{Message, PacketId, Qos, property, topic};

/// One item of what a store has kept, as the [operations](StoreOp) said it. An item comes after those that it refers to.
#[derive(Debug, Clone)]
pub enum Restored<'a> {
    /// The highest numbers that any operation has ever named, so that they are not used again. What the other items name counts
    /// without it.
    Numbers {
        /// Of a message.
        message: u64,
        /// Of a session.
        session: u64,
    },
    /// A message, to which later items refer; one to which none does is forgotten at the end.
    Message {
        /// What they call it by.
        id: u64,
        /// The Topic Name.
        topic: &'a str,
        /// The properties as [`Message::stored_properties`] gives them.
        properties: &'a [u8],
        /// The payload.
        payload: &'a [u8],
        /// The QoS that it was published with.
        qos: Qos,
        /// The RETAIN flag that it was published with.
        retain: bool,
        /// When its Message Expiry Interval ends, in milliseconds of the broker's clock.
        expires_at_ms: Option<u64>,
    },
    /// A session.
    Session {
        /// Its number.
        session: SessionId,
        /// Its Client Identifier.
        client_id: &'a str,
        /// Whom it belongs to.
        owner: Owner,
        /// Its Session Expiry Interval in seconds.
        expiry_s: u32,
        /// Since when its client is away. `None` if it was connected when the broker went: its lifetime begins now.
        offline_since: Option<Time>,
    },
    /// A subscription of a session.
    Subscription {
        /// Whose.
        session: SessionId,
        /// The filter, `$share/{ShareName}/` included.
        filter: &'a str,
        /// Its options.
        options: SubscriptionOptions,
        /// Its Subscription Identifier.
        subscription_id: Option<u32>,
    },
    /// A message that waits for a session's client or is in flight to it, after those that waited or were sent before.
    Queued {
        /// Whose.
        session: SessionId,
        /// Which message.
        message: u64,
        /// The QoS to send it with.
        qos: Qos,
        /// The RETAIN flag to send it with.
        retain: bool,
        /// The subscription identifiers to send it with.
        subscription_ids: &'a [u32],
        /// The Shared Subscription that it came through.
        share: Option<&'a str>,
        /// Its identifier if it is in flight.
        packet_id: Option<PacketId>,
    },
    /// A message in flight of which only PUBREL and PUBCOMP are left; in one order with those `Queued` that have an identifier.
    PubRel {
        /// Whose.
        session: SessionId,
        /// The identifier.
        packet_id: PacketId,
    },
    /// A QoS 2 message of a client that was taken and not released.
    Taken {
        /// Whose.
        session: SessionId,
        /// The client's identifier.
        packet_id: PacketId,
    },
    /// The retained message of its topic.
    Retained {
        /// Which message.
        message: u64,
    },
    /// The Will of a session's client.
    Will {
        /// Whose.
        session: SessionId,
        /// The Will Message.
        message: u64,
        /// Will Delay Interval in seconds.
        delay_s: u32,
        /// Message Expiry Interval in seconds.
        expiry_s: Option<u32>,
    },
    /// A message that waits for a subscriber who is not there, after those that waited before.
    Kept {
        /// Which message.
        message: u64,
        /// The session that it came from.
        publisher: Option<SessionId>,
        /// It is void from this moment on.
        until: Time,
    },
}

/// What is found by a number of a file. Somebody may have written that to do harm, so its seed is chance.
type Map<K, V> = HashMap<K, V, foldhash::quality::RandomState>;

/// What the items have named so far.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    messages: Map<u64, Message>,
    sessions: Map<SessionId, SessionKey>,
    /// Those whose client was connected.
    connected: Vec<SessionKey>,
}

/// Why an item was not taken, for the log.
type Refused = &'static str;

/// Numbers above this are nobody's: the broker counts from 1, and must be able to go on.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// The largest Remaining Length of a packet (2.1.4): no message is larger.
const PACKET_BYTES_MAX: usize = 268_435_455;

impl Broker {
    /// Takes an item of the store back, or says why not. `now` goes on from the broker's clock before the restart; no input MUST
    /// have been handled, and [`Broker::restored`] MUST follow before one is.
    ///
    /// What is refused is not there: the caller forgets it, and with a session all that is the session's.
    pub fn restore(&mut self, now: Time, item: Restored<'_>) -> Result<(), Refused> {
        let mut restoring = self.restoring.take().unwrap_or_default();
        let taken = self.restore_one(now, item, &mut restoring);
        self.restoring = Some(restoring);
        taken
    }

    fn restore_one(
        &mut self,
        now: Time,
        item: Restored<'_>,
        restoring: &mut Restoring,
    ) -> Result<(), Refused> {
        match item {
            Restored::Numbers { message, session } => {
                if message.max(session) > NUMBER_MAX {
                    return Err("a number that was never given");
                }
                self.last_message_id = self.last_message_id.max(message);
                self.last_session_id = self.last_session_id.max(session);
                Ok(())
            }
            Restored::Message {
                id,
                topic,
                properties,
                payload,
                qos,
                retain,
                expires_at_ms,
            } => {
                let parts = Parts {
                    topic,
                    properties,
                    payload,
                    qos,
                    retain,
                    expires_at_ms,
                };
                self.restore_message(id, parts, restoring)
            }
            Restored::Session {
                session,
                client_id,
                owner,
                expiry_s,
                offline_since,
            } => {
                let key =
                    self.restore_session(session, client_id, owner, expiry_s, &restoring.sessions)?;
                // What is later than now was not written by this clock.
                self.sessions[key.index()].offline_since = offline_since.unwrap_or(now).min(now);
                restoring.sessions.insert(session, key);
                if offline_since.is_none() {
                    restoring.connected.push(key);
                }
                Ok(())
            }
            Restored::Retained { message } => self.restore_retained(restoring.message(message)?),
            Restored::Kept {
                message,
                publisher,
                until,
            } => {
                let kept = Kept {
                    message: restoring.message(message)?.clone(),
                    publisher,
                    since: now,
                    until,
                };
                self.restore_kept(kept)
            }
            of_session => self.restore_to_session(now, of_session, restoring),
        }
    }

    /// Takes back what is a session's.
    fn restore_to_session(
        &mut self,
        now: Time,
        item: Restored<'_>,
        restoring: &Restoring,
    ) -> Result<(), Refused> {
        match item {
            Restored::Subscription {
                session,
                filter,
                options,
                subscription_id,
            } => {
                let subscriber = Subscriber {
                    session: restoring.session(session)?,
                    subscription_id: subscription_id.unwrap_or(0),
                    options,
                };
                self.restore_subscription(filter, subscriber)
            }
            Restored::Queued {
                session,
                message,
                qos,
                retain,
                subscription_ids,
                share,
                packet_id,
            } => {
                let key = restoring.session(session)?;
                let message = restoring.message(message)?.clone();
                let waits = qos > Qos::AtMostOnce || !restoring.connected.contains(&key);
                if !waits {
                    return Err("a QoS 0 message for a client that was connected");
                }
                let queued = Queued {
                    message,
                    qos,
                    retain,
                    subscription_ids: SubscriptionIds::of(subscription_ids, &self.memory.tally),
                    share: self.share_of(key, share)?,
                    since: now,
                };
                self.restore_queued(key, queued, packet_id)
            }
            Restored::PubRel { session, packet_id } => {
                let key = restoring.session(session)?;
                self.restore_inflight(key, packet_id, Stage::PubRel)
            }
            Restored::Taken { session, packet_id } => {
                self.restore_taken(restoring.session(session)?, packet_id)
            }
            Restored::Will {
                session,
                message,
                delay_s,
                expiry_s,
            } => {
                let key = restoring.session(session)?;
                let will = PendingWill {
                    message: restoring.message(message)?.clone(),
                    delay_s,
                    expiry_s,
                    due_at: Time(u64::MAX),
                };
                self.restore_will(key, will)
            }
            _ => Err("no item of a session"),
        }
    }
}

impl Restoring {
    fn message(&self, id: u64) -> Result<&Message, Refused> {
        self.messages.get(&id).ok_or("an unknown message")
    }

    fn session(&self, id: SessionId) -> Result<SessionKey, Refused> {
        self.sessions.get(&id).copied().ok_or("an unknown session")
    }
}

/// One kind of item each.
impl Broker {
    fn restore_message(
        &mut self,
        id: u64,
        parts: Parts<'_>,
        restoring: &mut Restoring,
    ) -> Result<(), Refused> {
        let Entry::Vacant(place) = restoring.messages.entry(id) else {
            return Err("a message whose number is another's");
        };
        if id > NUMBER_MAX {
            return Err("a message whose number is another's");
        }
        if !topic::is_name(parts.topic) {
            return Err("a message whose topic is none");
        }
        let (origin, properties) = Origin::split(parts.properties);
        let parts = Parts {
            properties,
            ..parts
        };
        if !property::may_travel(properties) {
            return Err("a message with bad properties");
        }
        if parts.properties.len().saturating_add(parts.payload.len()) > PACKET_BYTES_MAX {
            return Err("a message larger than any packet");
        }
        let cost = Message::cost(parts.topic, parts.properties, parts.payload);
        self.room_for(cost)?;
        let message = Message::counted(id, parts, &self.memory.tally).from_bridge(origin);
        self.last_message_id = self.last_message_id.max(id);
        place.insert(message);
        Ok(())
    }

    fn restore_session(
        &mut self,
        id: SessionId,
        client_id: &str,
        owner: Owner,
        expiry_s: u32,
        known: &Map<SessionId, SessionKey>,
    ) -> Result<SessionKey, Refused> {
        if id.0 > NUMBER_MAX || known.contains_key(&id) {
            return Err("a session whose number is another's");
        }
        let is_text = client_id.len() <= topic::TOPIC_BYTES_MAX && !client_id.contains('\0');
        if client_id.is_empty() || !is_text {
            return Err("a session without a client identifier");
        }
        if self.by_client_id.contains_key(client_id) {
            return Err("a second session of a client identifier");
        }
        if expiry_s == 0 {
            return Err("a session that ended with its connection");
        }
        if self.sessions.len() >= limits::SESSIONS_MAX {
            return Err("too many sessions");
        }
        self.room_for(Session::cost(client_id))?;
        let key = self.insert_session(id, Rc::from(client_id), owner);
        self.sessions[key.index()].expiry_s = expiry_s;
        self.last_session_id = self.last_session_id.max(id.0);
        Ok(key)
    }

    fn restore_subscription(
        &mut self,
        filter: &str,
        subscriber: Subscriber,
    ) -> Result<(), Refused> {
        let asked = self
            .room_for_subscription(subscriber.session, filter)
            .map_err(|(_, why)| why)?;
        self.room_for(asked.bytes)?;
        self.insert_subscription(filter, subscriber);
        Ok(())
    }

    fn restore_queued(
        &mut self,
        key: SessionKey,
        queued: Queued,
        packet_id: Option<PacketId>,
    ) -> Result<(), Refused> {
        if queued.subscription_ids.len() > limits::SUBSCRIPTIONS_PER_SESSION_MAX {
            return Err("a message with too many subscription identifiers");
        }
        let Some(packet_id) = packet_id else {
            self.room_for(size_of::<Queued>())?;
            let session = &mut self.sessions[key.index()];
            match queued.qos {
                Qos::AtMostOnce => session.qos0_queue.append(queued),
                _ => session.queue.append(queued),
            }
            return Ok(());
        };
        if queued.qos == Qos::AtMostOnce {
            return Err("a QoS 0 message with an identifier");
        }
        let stage = Stage::Publish {
            message: queued.message,
            qos: queued.qos,
            retain: queued.retain,
            subscription_ids: queued.subscription_ids,
            share: queued.share,
        };
        self.restore_inflight(key, packet_id, stage)
    }

    fn restore_inflight(
        &mut self,
        key: SessionKey,
        packet_id: PacketId,
        stage: Stage,
    ) -> Result<(), Refused> {
        self.room_for(size_of::<Queued>())?;
        if self.sessions[key.index()]
            .inflight
            .restore(packet_id, stage)
        {
            Ok(())
        } else {
            Err("an identifier that another message in flight has")
        }
    }

    fn restore_taken(&mut self, key: SessionKey, packet_id: PacketId) -> Result<(), Refused> {
        self.room_for(limits::RECEIVED_ID_BYTES)?;
        let session = &mut self.sessions[key.index()];
        if session.received.contains(packet_id) {
            return Err("an identifier that was taken twice");
        }
        session.received.insert(packet_id);
        session.charge.add(limits::RECEIVED_ID_BYTES);
        Ok(())
    }

    fn restore_retained(&mut self, message: &Message) -> Result<(), Refused> {
        if is_servers(message.topic()) {
            return Err("a retained message of the broker itself");
        }
        if message.payload().is_empty() {
            return Err("a retained message without a payload");
        }
        if self.retained.is_full_for(message.topic()) {
            return Err("too many retained messages");
        }
        match self.retained.restore(message.clone()) {
            true => Ok(()),
            false => Err("a second retained message of a topic"),
        }
    }

    fn restore_kept(&mut self, kept: Kept) -> Result<(), Refused> {
        if is_servers(kept.message.topic()) || kept.message.payload().is_empty() {
            return Err("a kept message that nobody keeps");
        }
        let is_it = |other: &Kept| other.message.id() == kept.message.id();
        if self.keeper.iter().any(is_it) {
            return Err("a message that is kept twice");
        }
        if !self.keeper.has_room() {
            return Err("too many kept messages");
        }
        self.keeper.push(kept);
        Ok(())
    }

    fn restore_will(&mut self, key: SessionKey, will: PendingWill) -> Result<(), Refused> {
        if is_servers(will.message.topic()) {
            return Err("a will for the broker's own topics");
        }
        let session = &mut self.sessions[key.index()];
        if session.pending_will.is_some() {
            return Err("a second will of a session");
        }
        session.pending_will = Some(Box::new(will));
        Ok(())
    }

    /// The name of a Shared Subscription, one with the session's own filter if it still has that.
    fn share_of(&self, key: SessionKey, share: Option<&str>) -> Result<Option<Rc<str>>, Refused> {
        let Some(name) = share else {
            return Ok(None);
        };
        let is_shared =
            topic::subscribed(name).is_some_and(|subscribed| subscribed.share.is_some());
        if !is_shared {
            return Err("a shared subscription that is none");
        }
        let filters = &self.sessions[key.index()].filters;
        let position = filters.binary_search_by(|known| (**known).cmp(name));
        Ok(Some(match position {
            Ok(position) => filters[position].clone(),
            Err(_) => Rc::from(name),
        }))
    }

    /// Whether there is memory; the reserve is for who connects.
    fn room_for(&self, bytes: usize) -> Result<(), Refused> {
        if self.fits(bytes, None) {
            Ok(())
        } else {
            Err("the memory limit is reached")
        }
    }
}

/// The end.
impl Broker {
    /// Everything is restored: lifetimes and the delays of Wills run, and what is over ends. Effects are store operations only.
    pub fn restored<E: Effects>(&mut self, now: Time, effects: &mut E) {
        let Restoring {
            messages,
            sessions,
            connected,
        } = *self.restoring.take().unwrap_or_default();
        drop(messages);
        for key in connected {
            let session = &self.sessions[key.index()];
            effects.store(&StoreOp::SessionChanged {
                session: session.id,
                expiry_s: session.expiry_s,
                connected: false,
            });
        }
        for key in sessions.values() {
            self.resume(now, *key, effects);
        }
        for key in sessions.into_values() {
            let session = &self.sessions[key.index()];
            if session.expires_at.is_some_and(|at| at <= now) {
                self.sys.clients_expired += 1;
                self.end_session(now, key, effects);
            }
        }
        self.sweep_kept(now, effects);
        self.settle(now, effects);
    }

    /// Lets a restored session go on.
    fn resume<E: Effects>(&mut self, now: Time, key: SessionKey, effects: &mut E) {
        // A client can hold an identifier of which the store has lost the trace, and would take a new message under it for a repetition.
        // Those are the last that were given: anywhere else a collision is as good as excluded.
        let random = self.next_random() as u16;
        let session = &mut self.sessions[key.index()];
        let first_id = PacketId::new(random).unwrap_or(PacketId::FIRST);
        session.inflight.begin_with(first_id);
        let since = session.offline_since;
        self.start_expiry(since, key);
        let session = &mut self.sessions[key.index()];
        if let Some(will) = &mut session.pending_will {
            let delayed = since.after_s(u64::from(will.delay_s));
            will.due_at = delayed.max(now.after_ms(limits::WILL_GRACE_MS));
            self.timers.arm(will.due_at, Timer::WillDelay(key));
        }
        self.trim(key, effects);
    }

    /// Drops what exceeds the bounds of a session's queues, which may have been wider before the restart.
    fn trim<E: Effects>(&mut self, key: SessionKey, effects: &mut E) {
        if self.sessions[key.index()].owner == Owner::bridges() {
            // A bridge has bounds of its own, which it says before anything is sent.
            return;
        }
        let (messages_max, bytes_max) = (self.settings.queue_messages, self.settings.queue_bytes);
        let session = &mut self.sessions[key.index()];
        let mut dropped = session.qos0_queue.trim(messages_max, bytes_max);
        dropped.extend(session.queue.trim(messages_max, bytes_max));
        for dropped in dropped {
            self.sys.publish_dropped += 1;
            session.store_dropped(&dropped, effects);
        }
    }
}
