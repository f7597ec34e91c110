//! Messages that wait for a client, within bounds.

use std::collections::VecDeque;
use std::ops::Deref;
use std::rc::Rc;

use smallvec::SmallVec;

use super::timers::Time;
use crate::mqtt::{Message, Qos, Tally};

/// The Subscription Identifiers that a message is sent with; seldom any, hardly ever two. But a session may have tens of thousands that match the
/// same topic: those that are kept with a message are counted.
#[derive(Debug, Default)]
pub(super) struct SubscriptionIds {
    ids: SmallVec<[u32; 2]>,
    /// Where they are counted, if they take memory of their own and are kept.
    tally: Option<Tally>,
}

impl SubscriptionIds {
    /// Adds one, of a message that is not kept yet.
    #[inline]
    pub fn push(&mut self, id: u32) {
        debug_assert!(self.tally.is_none(), "what is counted does not grow");
        self.ids.push(id);
    }

    /// The same, to be kept with a message and counted as long as that.
    #[inline]
    pub fn kept(&self, tally: &Tally) -> SubscriptionIds {
        SubscriptionIds::of(&self.ids, tally)
    }

    /// These, to be kept with a message and counted as long as that.
    #[inline]
    pub fn of(ids: &[u32], tally: &Tally) -> SubscriptionIds {
        let ids = SmallVec::from_slice(ids);
        let tally = ids.spilled().then(|| {
            tally.add(bytes(&ids));
            tally.clone()
        });
        SubscriptionIds { ids, tally }
    }
}

impl Clone for SubscriptionIds {
    fn clone(&self) -> SubscriptionIds {
        match &self.tally {
            Some(tally) => self.kept(tally),
            None => SubscriptionIds {
                ids: self.ids.clone(),
                tally: None,
            },
        }
    }
}

impl Drop for SubscriptionIds {
    #[inline]
    fn drop(&mut self) {
        if let Some(tally) = &self.tally {
            tally.remove(bytes(&self.ids));
        }
    }
}

impl Deref for SubscriptionIds {
    type Target = [u32];

    #[inline]
    fn deref(&self) -> &[u32] {
        &self.ids
    }
}

/// What identifiers take that have no room in the message's entry, in bytes.
fn bytes(ids: &SmallVec<[u32; 2]>) -> usize {
    ids.len() * size_of::<u32>()
}

/// A message that waits.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub message: Message,
    pub qos: Qos,
    pub retain: bool,
    pub subscription_ids: SubscriptionIds,
    /// The name of the Shared Subscription that it came through.
    pub share: Option<Rc<str>>,
    pub since: Time,
}

/// A queue that drops its oldest message when a new one would exceed its bounds: the newest state is
/// worth more to a client that comes back than the oldest.
///
/// An empty one, as nearly all are, is a pointer.
#[derive(Debug, Default)]
pub(super) struct Queue(Option<Box<Waiting>>);

/// What waits, at least one message.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Queued>,
    bytes: usize,
    /// No message expires before this moment; `None` when none ever does. It may lie too early, but not too late.
    expires_from: Option<Time>,
}

impl Queue {
    /// Appends a message, and gives back what had to go for it.
    pub fn push(&mut self, queued: Queued, messages_max: usize, bytes_max: usize) -> Vec<Queued> {
        self.append(queued);
        self.trim(messages_max, bytes_max)
    }

    /// Appends a message whatever the bounds; the caller MUST trim later.
    pub fn append(&mut self, queued: Queued) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes += queued.message.size();
        waiting.expires_from = sooner(waiting.expires_from, &queued);
        waiting.messages.push_back(queued);
    }

    /// Drops the oldest messages until the others are within bounds, and gives them back.
    pub fn trim(&mut self, messages_max: usize, bytes_max: usize) -> Vec<Queued> {
        let mut dropped = Vec::new();
        while let Some(waiting) = &self.0
            && (waiting.messages.len() > messages_max
                || (waiting.bytes > bytes_max && waiting.messages.len() > 1))
        {
            dropped.extend(self.pop());
        }
        dropped
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<Queued> {
        let Waiting {
            messages, bytes, ..
        } = self.0.as_deref_mut()?;
        let queued = messages.pop_front()?;
        *bytes -= queued.message.size();
        if messages.is_empty() {
            // An idle session holds no buffer.
            self.0 = None;
        } else if messages.capacity() > 64 && messages.len() < messages.capacity() / 4 {
            // Nor does one that was busy hold what it will hardly need again.
            messages.shrink_to(messages.len() * 2);
        }
        Some(queued)
    }

    /// Takes the messages out that have waited longer than `ttl_ms`, 0 for no bound.
    pub fn drop_older(&mut self, now: Time, ttl_ms: u64) -> Vec<Queued> {
        let mut dropped = Vec::new();
        while ttl_ms > 0
            && self
                .front()
                .is_some_and(|oldest| now.since_ms(oldest.since) > ttl_ms)
        {
            dropped.extend(self.pop());
        }
        dropped
    }

    /// Takes out the messages whose Message Expiry Interval is over. It costs a look at all of them where there may be one, else nothing.
    pub fn drop_expired(&mut self, now: Time) -> Vec<Queued> {
        let expires_from = self.0.as_ref().and_then(|waiting| waiting.expires_from);
        if expires_from.is_none_or(|from| from > now) {
            return Vec::new();
        }
        self.take_where(|queued| expiry(queued).is_some_and(|at| at <= now))
    }

    /// Whether the message with this id waits.
    pub fn contains(&self, id: u64) -> bool {
        let mut waiting = self.0.iter().flat_map(|waiting| &waiting.messages);
        waiting.any(|queued| queued.message.id() == id)
    }

    /// Takes the messages whose Shared Subscription is asked for.
    pub fn take(&mut self, is_asked: &impl Fn(&Option<Rc<str>>) -> bool) -> Vec<Queued> {
        self.take_where(|queued| is_asked(&queued.share))
    }

    fn take_where(&mut self, is_asked: impl Fn(&Queued) -> bool) -> Vec<Queued> {
        let Some(waiting) = self.0.take() else {
            return Vec::new();
        };
        let all = waiting.messages.into_iter();
        let (taken, kept): (Vec<Queued>, Vec<Queued>) = all.partition(is_asked);
        self.0 = (!kept.is_empty()).then(|| {
            Box::new(Waiting {
                bytes: kept.iter().map(|queued| queued.message.size()).sum(),
                expires_from: kept.iter().fold(None, sooner),
                messages: kept.into(),
            })
        });
        taken
    }

    /// The oldest message.
    pub fn front(&self) -> Option<&Queued> {
        self.0.as_ref()?.messages.front()
    }

    /// All messages, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.0.iter().flat_map(|waiting| &waiting.messages)
    }

    /// Changes all messages, but neither their sizes nor their expiry.
    pub fn each(&mut self, change: impl FnMut(&mut Queued)) {
        if let Some(waiting) = &mut self.0 {
            waiting.messages.iter_mut().for_each(change);
        }
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.messages.len())
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }
}

/// When a message's Message Expiry Interval ends, if it has one.
fn expiry(queued: &Queued) -> Option<Time> {
    queued.message.expires_at_ms().map(Time)
}

/// The sooner of a moment and a message's expiry.
fn sooner(than: Option<Time>, queued: &Queued) -> Option<Time> {
    than.into_iter().chain(expiry(queued)).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::message::Parts;

    fn queued(id: u64, bytes: usize) -> Queued {
        expiring(id, bytes, None)
    }

    fn expiring(id: u64, bytes: usize, expires_at_ms: Option<u64>) -> Queued {
        let payload = vec![0; bytes];
        let parts = Parts {
            topic: "t",
            properties: &[],
            payload: &payload,
            qos: Qos::AtLeastOnce,
            retain: false,
            expires_at_ms,
        };
        Queued {
            message: Message::new(id, parts),
            qos: Qos::AtLeastOnce,
            retain: false,
            subscription_ids: SubscriptionIds::default(),
            share: None,
            since: Time(0),
        }
    }

    fn ids(dropped: Vec<Queued>) -> Vec<u64> {
        dropped.iter().map(|queued| queued.message.id()).collect()
    }

    #[test]
    fn the_oldest_message_goes_when_there_are_too_many_or_too_large_ones() {
        let mut queue = Queue::default();
        assert!(queue.push(queued(1, 10), 2, 10_000).is_empty());
        assert!(queue.push(queued(2, 10), 2, 10_000).is_empty());
        assert_eq!(ids(queue.push(queued(3, 10), 2, 10_000)), [1]);
        assert_eq!(ids(queue.push(queued(4, 9_990), 9, 10_000)), [2, 3]);
        assert_eq!(queue.pop().map(|queued| queued.message.id()), Some(4));
        assert!(queue.is_empty() && queue.0.is_none());
    }

    #[test]
    fn one_message_above_the_bound_waits_alone() {
        let mut queue = Queue::default();
        assert!(queue.push(queued(1, 20_000), 9, 10_000).is_empty());
        assert_eq!(ids(queue.push(queued(2, 10), 9, 10_000)), [1]);
    }
    #[test]
    fn what_has_expired_goes_from_wherever_it_stands() {
        let mut queue = Queue::default();
        for (id, expires_at_ms) in [(1, None), (2, Some(500)), (3, Some(100)), (4, Some(900))] {
            queue.push(expiring(id, 10, expires_at_ms), 9, 10_000);
        }
        assert!(queue.drop_expired(Time(99)).is_empty());
        assert_eq!(ids(queue.drop_expired(Time(100))), [3]);
        assert_eq!(
            queue.0.as_ref().and_then(|it| it.expires_from),
            Some(Time(500))
        );
        assert_eq!(ids(queue.drop_expired(Time(1000))), [2, 4]);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.0.as_ref().and_then(|it| it.expires_from), None);
        queue.pop();
        assert!(queue.0.is_none());
    }
}
