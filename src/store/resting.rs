//! Retained messages that rest before they are for flash: a foris reply is retained at QoS 0 and cleared ten seconds later, and at any
//! moment many of them are there.
//!
//! Entered by [`Resting::rest`]; [`Resting::ripe`] gives those whose time has come. While a message rests it is in the journal only, so
//! that a crash loses nothing; a power cut may take it, and nothing acknowledged it. A topic rests from its first message on, however
//! often that is replaced, so that no topic is kept from flash by being busy. It writes nothing and knows no clock.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::time::Duration;

use super::Map;
use super::write::topic_hash;
use crate::mqtt::Message;

/// How long a message rests, where the interval is long enough: a little longer than a foris reply lives.
pub const REST: Duration = Duration::from_secs(12);

/// Topics that rest at the same time; messages of others are for flash at once. One takes about 60 bytes.
const TOPICS_MAX: usize = 4096;

/// What rests.
#[derive(Debug, Default)]
pub struct Resting {
    /// Since when, in milliseconds of the broker's time, and the hash of the topic: the oldest first.
    since: VecDeque<(u64, u64)>,
    /// The message of each of them; `None` where it was cleared, or is for flash by now.
    latest: Map<u64, Option<Message>>,
}

impl Resting {
    /// Whether a message rests from now on; there may be too many.
    pub fn rest(&mut self, message: &Message, now_ms: u64) -> bool {
        let is_full = self.latest.len() >= TOPICS_MAX;
        let hash = topic_hash(message.topic());
        match self.latest.entry(hash) {
            Entry::Occupied(mut entry) => {
                entry.insert(Some(message.clone()));
            }
            Entry::Vacant(_) if is_full => return false,
            Entry::Vacant(entry) => {
                entry.insert(Some(message.clone()));
                self.since.push_back((now_ms, hash));
            }
        }
        true
    }

    /// What rests under a topic is gone, or replaced by one that does not rest.
    pub fn forget(&mut self, topic: &str) {
        if self.latest.is_empty() {
            return;
        }
        if let Some(message) = self.latest.get_mut(&topic_hash(topic)) {
            *message = None;
        }
    }

    /// Since when the oldest rests.
    pub fn oldest_ms(&mut self) -> Option<u64> {
        while let Some((since_ms, hash)) = self.since.front() {
            if self.latest.get(hash).is_some_and(Option::is_some) {
                return Some(*since_ms);
            }
            self.latest.remove(hash);
            self.since.pop_front();
        }
        None
    }

    /// Takes the next of those that rest since this time or longer.
    pub fn ripe(&mut self, until_ms: u64) -> Option<Message> {
        self.oldest_ms().filter(|since_ms| *since_ms <= until_ms)?;
        let (_, hash) = self.since.pop_front()?;
        self.latest.remove(&hash).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::Qos;
    use crate::mqtt::message::Parts;

    fn message(id: u64, topic: &str) -> Message {
        Message::new(
            id,
            Parts {
                topic,
                properties: &[],
                payload: b"x",
                qos: Qos::AtMostOnce,
                retain: true,
                expires_at_ms: None,
            },
        )
    }

    fn ripe(resting: &mut Resting, until_ms: u64) -> Vec<u64> {
        std::iter::from_fn(|| resting.ripe(until_ms))
            .map(|message| message.id())
            .collect()
    }

    #[test]
    fn a_topic_rests_since_its_first_message_and_gives_its_last() {
        let mut resting = Resting::default();
        resting.rest(&message(1, "busy"), 100);
        resting.rest(&message(2, "other"), 200);
        resting.rest(&message(3, "busy"), 300);
        assert!(ripe(&mut resting, 99).is_empty());
        assert_eq!(ripe(&mut resting, 100), [3]);
        assert_eq!(resting.oldest_ms(), Some(200));
        assert_eq!(ripe(&mut resting, 1000), [2]);
        assert_eq!(resting.oldest_ms(), None);
    }

    #[test]
    fn what_was_cleared_is_never_ripe_and_holds_no_message() {
        let mut resting = Resting::default();
        for number in 0..3 {
            resting.rest(&message(number, "cleared"), 100 + number);
            resting.forget("cleared");
        }
        assert!(ripe(&mut resting, 1000).is_empty());
        assert!(resting.latest.is_empty() && resting.since.is_empty());
    }

    #[test]
    fn only_so_many_topics_rest() {
        let mut resting = Resting::default();
        for number in 0..TOPICS_MAX as u64 {
            assert!(resting.rest(&message(number, &format!("t/{number}")), 0));
        }
        assert!(!resting.rest(&message(0, "one too many"), 0));
        assert!(resting.rest(&message(0, "t/7"), 0));
    }
}
