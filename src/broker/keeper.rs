//! The keeper: what waits for a subscriber who is not there, beyond what MQTT promises. A request whose controller is away for a moment,
//! and a reply whose client is late, would be gone at QoS 0; both are where a bus that restarts hurts.
//!
//! Entered by [`Broker::keep`] with a message that reached nobody, and by [`Broker::give_kept_to_session`] and
//! [`Broker::take_kept_for`] when somebody comes. What it holds goes to the store as [`StoreOp::Kept`] and [`StoreOp::KeptGone`], which a
//! crash does not end and flash never sees.
//!
//! # What is decided here
//!
//! - **A message is kept** when its topic matches a pattern of [`Settings::keepers`], it has a payload, and none of its subscribers is
//!   connected, at any QoS: QoS 0 loses it then, and QoS 1 and 2 promise only what sessions are there for. An empty message is none: it
//!   clears a retained one. Whoever is connected and may read it counts as its receiver, an observer of all topics too: who would
//!   act on it the broker cannot know.
//! - **Sessions whose client is away** queue it as ever, and the keeper has it besides: such a session may be one that a program left behind
//!   under a random identifier. A session never gets it twice: one that comes back and has it in its queue is the subscriber
//!   that came, and the keeper's copy is gone. At QoS 0 the session's copy lives no longer than a kept request would
//!   ([`Settings::request_ttl_ms`]): after that its publisher has asked again, and it would be done twice.
//! - **A Shared Subscription** with a member, connected or not, answers for its messages itself: another member gets what one has not
//!   acknowledged. The keeper has it for the first member of one that is new.
//! - **Who comes first takes it**: a session that comes back and has a subscription to it, or a new subscription. Then it is gone. It is sent like a message that is published at that moment, with what the subscription grants; No Local
//!   holds for its publisher.
//! - **A retained message** is what a new subscription gets anyway: where that is sent, the keeper's copy is gone without being sent. It
//!   outlives the retained one, which its publisher may clear before the client is back.
//! - **Its time** is that of the first pattern that matches when it is published, and its Message Expiry Interval; a restart does not
//!   lengthen it. A change of the settings holds for what comes from then on.
//! - **Rights**: the publisher's were asked when it published, the subscriber's are asked when it is given; who may not read it leaves it
//!   to others.
//! - **Bounds**: [`limits::KEPT_MESSAGES_MAX`] and [`limits::KEPT_BYTES_MAX`], the oldest goes first; its memory is
//!   counted, and it goes with the QoS 0 messages that wait in sessions, the oldest first.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use smallvec::SmallVec;

use super::deliver::Grant;
use super::effect::{Effects, SessionId, StoreOp};
use super::input::Settings;
use super::publish::Outgoing;
use super::router::Subscriber;
use super::session::SessionKey;
use super::timers::Time;
use super::{Broker, limits};
use crate::acl::is_servers;
use crate::mqtt::{Message, topic};

/// A message that waits for a subscriber.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub message: Message,
    /// Whose session it came from, for No Local; it may have ended.
    pub publisher: Option<SessionId>,
    pub since: Time,
    /// It is nobody's from this moment on.
    pub until: Time,
}

impl Kept {
    /// Whether its time is over.
    pub fn is_over(&self, now: Time) -> bool {
        let expires_at = self.message.expires_at_ms().map(Time);
        self.until <= now || expires_at.is_some_and(|at| at <= now)
    }

    /// The message as it is published now.
    fn outgoing(&self, serial: u64) -> Outgoing<'_> {
        let message = &self.message;
        Outgoing {
            serial,
            topic: message.topic(),
            properties: message.properties(),
            payload: message.payload(),
            qos: message.qos(),
            retain: message.retain(),
            expires_at: message.expires_at_ms().map(Time),
            origin: None,
            kept: Some(message.clone()),
            reached: false,
        }
    }
}

/// All that is kept, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    messages: VecDeque<Kept>,
    bytes: usize,
}

impl Keeper {
    /// Appends a message, and gives back what had to go for it.
    pub fn push(&mut self, kept: Kept) -> Vec<Kept> {
        self.bytes += kept.message.size();
        self.messages.push_back(kept);
        let mut dropped = Vec::new();
        while self.messages.len() > limits::KEPT_MESSAGES_MAX
            || (self.bytes > limits::KEPT_BYTES_MAX && self.messages.len() > 1)
        {
            dropped.extend(self.pop());
        }
        dropped
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<Kept> {
        let kept = self.messages.pop_front()?;
        self.bytes -= kept.message.size();
        if self.messages.capacity() > 64 && self.messages.len() < self.messages.capacity() / 4 {
            self.messages.shrink_to(self.messages.len() * 2);
        }
        Some(kept)
    }

    /// The oldest message.
    pub fn front(&self) -> Option<&Kept> {
        self.messages.front()
    }

    /// All messages, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.messages.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is kept.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        self.messages.len() < limits::KEPT_MESSAGES_MAX && self.bytes < limits::KEPT_BYTES_MAX
    }

    /// Takes the messages out that are asked for.
    pub fn take(&mut self, is_asked: impl FnMut(&Kept) -> bool) -> Vec<Kept> {
        let all = std::mem::take(&mut self.messages);
        let (taken, left): (Vec<Kept>, Vec<Kept>) = all.into_iter().partition(is_asked);
        self.messages = left.into();
        self.bytes -= taken.iter().map(|kept| kept.message.size()).sum::<usize>();
        taken
    }
}

impl Settings {
    /// How long a message of this topic is kept, in milliseconds; 0 where no keeper has it.
    fn kept_ms(&self, name: &str) -> u64 {
        let matching = self.keepers.iter().find(|topics| topics.matches(name));
        matching.map_or(0, |topics| topics.ttl_ms)
    }

    /// How long a QoS 0 message of this topic waits in a session, in milliseconds; 0 for no bound.
    pub(super) fn request_ttl_ms(&self, name: &str) -> u64 {
        self.request_ttl_within(name, self.qos0_queue_ttl_ms)
    }

    /// The same for a session with a bound of its own.
    pub(super) fn request_ttl_within(&self, name: &str, qos0_ttl_ms: u64) -> u64 {
        let requests = self.keepers.iter().find(|topics| topics.matches(name));
        let requests = requests.filter(|topics| topics.are_requests);
        match (requests.map_or(0, |topics| topics.ttl_ms), qos0_ttl_ms) {
            (0, ttl_ms) | (ttl_ms, 0) => ttl_ms,
            (one, other) => one.min(other),
        }
    }
}

impl Broker {
    /// Keeps a message that has reached nobody, if it is one of those that are kept.
    pub(super) fn keep<E: Effects>(
        &mut self,
        now: Time,
        outgoing: &mut Outgoing<'_>,
        publisher: Option<SessionKey>,
        effects: &mut E,
    ) {
        let name = outgoing.topic;
        let ttl_ms = self.settings.kept_ms(name);
        if ttl_ms == 0 || outgoing.payload.is_empty() || is_servers(name) {
            return;
        }
        if !self.make_room_to_wait(now, outgoing.cost(), publisher, effects) {
            self.sys.publish_dropped += 1;
            return;
        }
        let message = outgoing.keep(&mut self.last_message_id, &self.memory.tally);
        let kept = Kept {
            message: message.clone(),
            publisher: publisher
                .and_then(|key| self.sessions.get(key.index()))
                .map(|session| session.id),
            since: now,
            until: now.after_ms(ttl_ms),
        };
        effects.store(&StoreOp::Kept {
            message: &kept.message,
            publisher: kept.publisher,
            until: kept.until,
        });
        for dropped in self.keeper.push(kept) {
            self.drop_kept(&dropped, effects);
        }
    }

    /// Tells that a message is kept no longer and nobody got it.
    pub(super) fn drop_kept<E: Effects>(&mut self, dropped: &Kept, effects: &mut E) {
        self.sys.publish_dropped += 1;
        gone(dropped, effects);
    }

    /// Forgets what nobody has come for in time.
    pub(super) fn sweep_kept<E: Effects>(&mut self, now: Time, effects: &mut E) {
        if !self.keeper.is_empty() {
            for dropped in self.keeper.take(|kept| kept.is_over(now)) {
                self.drop_kept(&dropped, effects);
            }
        }
    }

    /// A client has come back to its session, which may have subscriptions to what is kept. CONNACK MUST have been sent.
    pub(super) fn give_kept_to_session<E: Effects>(
        &mut self,
        now: Time,
        key: SessionKey,
        effects: &mut E,
    ) {
        let session = &self.sessions[key.index()];
        if self.keeper.is_empty() || session.filters.is_empty() {
            return;
        }
        // What it has in its queue it gets from there.
        let mut grants: BTreeMap<u64, Option<Grant>> = BTreeMap::new();
        for kept in self.keeper.iter() {
            let id = kept.message.id();
            if let Some(grant) = self.grant_of_session(now, key, kept) {
                let waits = session.queue.contains(id) || session.qos0_queue.contains(id);
                grants.insert(id, (!waits).then_some(grant));
            }
        }
        for kept in self.keeper.take(|it| grants.contains_key(&it.message.id())) {
            match grants.remove(&kept.message.id()).flatten() {
                Some(grant) => self.give(now, key, &kept, &grant, effects),
                None => gone(&kept, effects),
            }
        }
    }

    /// Takes what is kept for a subscription that was just made, so that it is given once SUBACK has been sent. What the
    /// subscription gets as a retained message is gone.
    pub(super) fn take_kept_for<E: Effects>(
        &mut self,
        now: Time,
        filter: &Rc<str>,
        subscriber: Subscriber,
        effects: &mut E,
    ) -> Vec<(Kept, Grant)> {
        if self.keeper.is_empty() {
            return Vec::new();
        }
        let key = subscriber.session;
        let Some(subscribed) = topic::subscribed(filter) else {
            return Vec::new();
        };
        let mut keeper = std::mem::take(&mut self.keeper);
        let taken = keeper.take(|kept| {
            topic::matches(subscribed.filter, kept.message.topic())
                && !kept.is_over(now)
                && self.may_read(key, kept.message.topic())
                && (subscribed.share.is_some() || self.grant(&[subscriber], kept).is_some())
        });
        self.keeper = keeper;
        let gets_retained = self.sessions[key.index()].replays.contains(filter);
        let mut to_give = Vec::new();
        for kept in taken {
            let retained = self.retained.get(kept.message.topic());
            let is_retained = retained.is_some_and(|it| it.id() == kept.message.id());
            let grant = match subscribed.share {
                Some(_) => self.grant_of_share(filter, key, &kept),
                None => self.grant(&[subscriber], &kept),
            };
            match grant.filter(|_| !(gets_retained && is_retained)) {
                Some(grant) => to_give.push((kept, grant)),
                None => gone(&kept, effects),
            }
        }
        to_give
    }

    /// Gives a client what was taken for it.
    pub(super) fn give<E: Effects>(
        &mut self,
        now: Time,
        key: SessionKey,
        kept: &Kept,
        grant: &Grant,
        effects: &mut E,
    ) {
        gone(kept, effects);
        let mut outgoing = kept.outgoing(self.new_serial());
        self.deliver(now, key, grant, &mut outgoing, effects);
    }

    /// How a connected session gets what is kept, if it has a subscription to it and may read it.
    fn grant_of_session(&self, now: Time, key: SessionKey, kept: &Kept) -> Option<Grant> {
        let name = kept.message.topic();
        if kept.is_over(now) || !self.may_read(key, name) {
            return None;
        }
        let mut subscribers: SmallVec<[Subscriber; 2]> = SmallVec::new();
        self.router.matching(name, |list| {
            subscribers.extend(list.iter().copied().filter(|it| it.session == key));
        });
        self.grant(&subscribers, kept)
    }

    fn grant(&self, subscribers: &[Subscriber], kept: &Kept) -> Option<Grant> {
        let is_own =
            |it: &&Subscriber| Some(self.sessions[it.session.index()].id) == kept.publisher;
        let publisher = subscribers.first().filter(is_own).map(|it| it.session);
        Grant::of(subscribers, &kept.outgoing(0), publisher)
    }

    /// There is no No Local for a member of a Shared Subscription [MQTT-3.8.3-4].
    fn grant_of_share(&self, name: &Rc<str>, key: SessionKey, kept: &Kept) -> Option<Grant> {
        let member = *self.shares.find(name, key)?;
        let grant = Grant::of(&[member], &kept.outgoing(0), None)?;
        Some(grant.shared_by(name.clone()))
    }
}

/// Tells the store that a message is kept no longer.
fn gone<E: Effects>(kept: &Kept, effects: &mut E) {
    let message = kept.message.id();
    effects.store(&StoreOp::KeptGone { message });
}
