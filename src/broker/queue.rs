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
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Queued>,
    bytes: usize,
}

impl Queue {
    /// Appends a message, and gives back what had to go for it.
    pub fn push(&mut self, queued: Queued, messages_max: usize, bytes_max: usize) -> Vec<Queued> {
        self.bytes += queued.message.size();
        self.messages.push_back(queued);
        let mut dropped = Vec::new();
        while self.messages.len() > messages_max
            || (self.bytes > bytes_max && self.messages.len() > 1)
        {
            dropped.extend(self.pop());
        }
        dropped
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<Queued> {
        let queued = self.messages.pop_front()?;
        self.bytes -= queued.message.size();
        if self.messages.is_empty() {
            // An idle session holds no buffer.
            self.messages = VecDeque::new();
        } else if self.messages.capacity() > 64
            && self.messages.len() < self.messages.capacity() / 4
        {
            // Nor does one that was busy hold what it will hardly need again.
            self.messages.shrink_to(self.messages.len() * 2);
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
        self.messages.iter().any(|queued| queued.message.id() == id)
    }

    /// Takes the messages whose Shared Subscription is asked for.
    pub fn take(&mut self, is_asked: &impl Fn(&Option<Rc<str>>) -> bool) -> Vec<Queued> {
        let all = std::mem::take(&mut self.messages);
        let (taken, kept): (Vec<Queued>, Vec<Queued>) =
            all.into_iter().partition(|queued| is_asked(&queued.share));
        self.messages = kept.into();
        self.bytes -= taken
            .iter()
            .map(|queued| queued.message.size())
            .sum::<usize>();
        taken
    }

    /// The oldest message.
    pub fn front(&self) -> Option<&Queued> {
        self.messages.front()
    }

    /// All messages, the oldest first.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.messages.iter()
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.messages.len()
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
        assert_eq!((queue.bytes, queue.len()), (0, 0));
    }

    #[test]
    fn one_message_above_the_bound_waits_alone() {
        let mut queue = Queue::default();
        assert!(queue.push(queued(1, 20_000), 9, 10_000).is_empty());
        assert_eq!(ids(queue.push(queued(2, 10), 9, 10_000)), [1]);
    }
}
