//! Messages that wait for a client, within bounds.

use std::collections::VecDeque;
use std::rc::Rc;

use smallvec::SmallVec;

use super::timers::Time;
use crate::mqtt::{Message, Qos};

/// The Subscription Identifiers that a message is sent with; seldom any, hardly ever two.
pub(super) type SubscriptionIds = SmallVec<[u32; 2]>;

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
}

impl Queue {
    /// Appends a message, and gives back what had to go for it.
    pub fn push(&mut self, queued: Queued, messages_max: usize, bytes_max: usize) -> Vec<Queued> {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes += queued.message.size();
        waiting.messages.push_back(queued);
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
        let Waiting { messages, bytes } = self.0.as_deref_mut()?;
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

    /// Drops the messages that have waited longer than `ttl_ms`, 0 for no bound; how many.
    pub fn drop_older(&mut self, now: Time, ttl_ms: u64) -> u64 {
        let mut dropped = 0;
        while ttl_ms > 0
            && self
                .front()
                .is_some_and(|oldest| now.since_ms(oldest.since) > ttl_ms)
        {
            self.pop();
            dropped += 1;
        }
        dropped
    }

    /// Whether the message with this id waits.
    pub fn contains(&self, id: u64) -> bool {
        let mut waiting = self.0.iter().flat_map(|waiting| &waiting.messages);
        waiting.any(|queued| queued.message.id() == id)
    }

    /// Takes the messages whose Shared Subscription is asked for.
    pub fn take(&mut self, is_asked: &impl Fn(&Option<Rc<str>>) -> bool) -> Vec<Queued> {
        let Some(waiting) = self.0.take() else {
            return Vec::new();
        };
        let all = waiting.messages.into_iter();
        let (taken, kept): (Vec<Queued>, Vec<Queued>) =
            all.partition(|queued| is_asked(&queued.share));
        self.0 = (!kept.is_empty()).then(|| {
            Box::new(Waiting {
                bytes: kept.iter().map(|queued| queued.message.size()).sum(),
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
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.0.iter().flat_map(|waiting| &waiting.messages)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::message::Parts;

    fn queued(id: u64, bytes: usize) -> Queued {
        let payload = vec![0; bytes];
        let parts = Parts {
            topic: "t",
            properties: &[],
            payload: &payload,
            qos: Qos::AtLeastOnce,
            retain: false,
            expires_at_ms: None,
        };
        Queued {
            message: Message::new(id, parts),
            qos: Qos::AtLeastOnce,
            retain: false,
            subscription_ids: SubscriptionIds::new(),
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
}
