//! Retained messages (3.3.1.3): the last one of each topic, in the order of topics.
//!
//! The order makes a subscription's replay a walk with a cursor: it sends what the client's window and buffer take and goes on
//! from there when there is room, so that no number of retained messages is too many for a slow client. A filter that begins
//! with literal levels walks only the topics below them.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;

use super::limits;
use crate::mqtt::{Message, topic};

/// All retained messages.
#[derive(Debug, Default)]
pub(super) struct Retained {
    messages: BTreeSet<ByTopic>,
    bytes: usize,
    /// How many of them have a Message Expiry Interval.
    expiring: usize,
}

/// A message that is its topic as far as order goes. It goes by bytes: a name would be checked again at each comparison.
#[derive(Debug)]
struct ByTopic(Message);

impl Borrow<[u8]> for ByTopic {
    fn borrow(&self) -> &[u8] {
        self.0.topic_bytes()
    }
}
impl PartialEq for ByTopic {
    fn eq(&self, other: &Self) -> bool {
        self.0.topic_bytes() == other.0.topic_bytes()
    }
}
impl Eq for ByTopic {}
impl PartialOrd for ByTopic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ByTopic {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.topic_bytes().cmp(other.0.topic_bytes())
    }
}

impl Retained {
    /// Sets the message of its topic [MQTT-3.3.1-5].
    pub fn set(&mut self, message: Message) {
        self.bytes += message.size();
        self.expiring += usize::from(message.expires_at_ms().is_some());
        if let Some(ByTopic(former)) = self.messages.replace(ByTopic(message)) {
            self.forget(&former);
        }
    }

    /// Takes a message back that a store has kept; `false` when its topic has one.
    pub fn restore(&mut self, message: Message) -> bool {
        let (bytes, expires) = (message.size(), message.expires_at_ms().is_some());
        let is_new = self.messages.insert(ByTopic(message));
        if is_new {
            self.bytes += bytes;
            self.expiring += usize::from(expires);
        }
        is_new
    }

    /// Clears a topic [MQTT-3.3.1-6]; whether it had a message.
    pub fn clear(&mut self, topic: &str) -> bool {
        let former = self.messages.take(topic.as_bytes());
        if let Some(ByTopic(former)) = &former {
            self.forget(former);
        }
        former.is_some()
    }

    fn forget(&mut self, message: &Message) {
        self.bytes -= message.size();
        self.expiring -= usize::from(message.expires_at_ms().is_some());
    }

    /// Whether a message of this topic would be one too many.
    pub fn is_full_for(&self, topic: &str) -> bool {
        self.messages.len() >= limits::RETAINED_MAX && self.get(topic).is_none()
    }

    /// The message of a topic.
    pub fn get(&self, topic: &str) -> Option<&Message> {
        let found = self.messages.get(topic.as_bytes());
        found.map(|ByTopic(message)| message)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of them, in the order of their topics.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().map(|ByTopic(message)| message)
    }

    /// Those after a topic, in the order of their topics, from the first that may match `filter` to the last; all for an empty one.
    pub fn below(&self, filter: &str, after: Option<&str>) -> impl Iterator<Item = &Message> {
        let prefix = match topic::has_wildcard(filter) {
            true => literal_prefix(filter),
            false => filter,
        };
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let from = from.map(str::as_bytes);
        let rest = self.messages.range::<[u8], _>((from, Bound::Unbounded));
        rest.map(|ByTopic(message)| message)
            .take_while(move |message| message.topic().starts_with(prefix))
    }

    /// The first message after the topic `after` that matches `filter`.
    pub fn next_matching(&self, filter: &str, after: Option<&str>) -> Option<&Message> {
        if !topic::has_wildcard(filter) {
            return self.get(filter).filter(|_| after.is_none());
        }
        self.below(filter, after)
            .find(|message| topic::matches(filter, message.topic()))
    }

    /// Takes the messages out whose expiry has passed at `now_ms`.
    pub fn take_expired(&mut self, now_ms: u64) -> Vec<Message> {
        if self.expiring == 0 {
            return Vec::new();
        }
        let is_expired = |message: &Message| message.expires_at_ms().is_some_and(|at| at <= now_ms);
        let expired: Vec<Message> = self
            .messages
            .iter()
            .map(|ByTopic(message)| message.clone())
            .filter(is_expired)
            .collect();
        for message in &expired {
            self.clear(message.topic());
        }
        expired
    }
}

/// What every topic that matches a filter with wildcards begins with. `a/b/#` also matches `a/b`, so the slash before
/// a `#` is not part of it.
fn literal_prefix(filter: &str) -> &str {
    let wildcard = filter.find(['+', '#']).unwrap_or(filter.len());
    let prefix = &filter[..wildcard];
    if filter[wildcard..].starts_with('#') {
        prefix.strip_suffix('/').unwrap_or(prefix)
    } else {
        prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::Qos;
    use crate::mqtt::message::Parts;

    fn message(topic: &str, expires_at_ms: Option<u64>) -> Message {
        let qos = Qos::AtMostOnce;
        Message::new(
            0,
            Parts {
                topic,
                properties: &[],
                payload: b"x",
                qos,
                retain: true,
                expires_at_ms,
            },
        )
    }

    fn all(retained: &Retained, filter: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        while let Some(message) = retained.next_matching(filter, found.last().map(String::as_str)) {
            found.push(message.topic().to_owned());
        }
        found
    }

    #[test]
    fn a_walk_finds_all_that_match_and_each_once() {
        let mut retained = Retained::default();
        for topic in ["a", "a/b", "a/b/c", "a!", "ab/c", "$SYS/x", "b", "a/"] {
            retained.set(message(topic, None));
        }
        assert_eq!(all(&retained, "a/#"), ["a", "a/", "a/b", "a/b/c"]);
        assert_eq!(all(&retained, "a/+"), ["a/", "a/b"]);
        assert_eq!(all(&retained, "+/+/c"), ["a/b/c"]);
        assert_eq!(all(&retained, "a/b"), ["a/b"]);
        assert_eq!(all(&retained, "$SYS/#"), ["$SYS/x"]);
        assert_eq!(all(&retained, "#").len(), 7);
    }

    #[test]
    fn what_is_replaced_cleared_or_expired_is_no_longer_counted() {
        let mut retained = Retained::default();
        retained.set(message("a", Some(10)));
        retained.set(message("a", None));
        retained.set(message("b", Some(20)));
        assert_eq!(retained.len(), 2);
        assert!(retained.take_expired(19).is_empty());
        assert_eq!(retained.take_expired(20).len(), 1);
        assert!(retained.clear("a") && !retained.clear("a"));
        assert_eq!(
            (retained.len(), retained.bytes(), retained.expiring),
            (0, 0, 0)
        );
    }
}
