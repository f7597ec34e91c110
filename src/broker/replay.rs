//! Retained messages that subscriptions still have to get: which subscriptions, in the order in which they were made.
//!
//! A client that subscribes again and again while it does not read has one replay a filter. Finding the former one costs no look at all of
//! them, since a session may have as many as it has subscriptions: what was replaced stays in the line, and is passed over.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::queue::SubscriptionIds;
use crate::mqtt::{Message, Qos};

/// Retained messages that a subscription still has to get, in the order of their topics.
#[derive(Debug)]
pub(super) struct Replay {
    /// The filter that messages are matched with.
    pub filter: Rc<str>,
    /// The QoS granted.
    pub qos: Qos,
    pub subscription_ids: SubscriptionIds,
    /// The last message that the broker had made when the subscription was made: what waits from before goes first.
    pub since: u64,
    /// The last one that was sent.
    pub after: Option<Message>,
}

/// The replays of a session. Without any, as nearly always, it is a pointer.
#[derive(Debug, Default)]
pub(super) struct Replays(Option<Box<Line>>);

/// At least one replay that counts.
#[derive(Debug, Default)]
struct Line {
    /// Each with its number; those that were replaced or taken back are among them.
    replays: VecDeque<(u64, Replay)>,
    /// The numbers of those that count.
    numbers: BTreeMap<Rc<str>, u64>,
    last: u64,
}

impl Replays {
    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a filter has one.
    pub fn contains(&self, filter: &str) -> bool {
        let mut lines = self.0.iter();
        lines.any(|line| line.numbers.contains_key(filter))
    }

    /// Appends one, in place of an earlier one of its filter.
    pub fn push(&mut self, replay: Replay) {
        let line = self.0.get_or_insert_default();
        line.last += 1;
        line.numbers.insert(replay.filter.clone(), line.last);
        line.replays.push_back((line.last, replay));
        if line.replays.len() > 2 * line.numbers.len() + 8 {
            let Line {
                replays, numbers, ..
            } = &mut **line;
            replays.retain(|(number, replay)| numbers.get(&replay.filter) == Some(number));
        }
        self.settle();
    }

    /// Takes one back.
    pub fn remove(&mut self, filter: &str) {
        if let Some(line) = &mut self.0 {
            line.numbers.remove(filter);
            self.settle();
        }
    }

    /// The first.
    pub fn front_mut(&mut self) -> Option<&mut Replay> {
        let line = self.0.as_deref_mut()?;
        line.replays.front_mut().map(|(_, replay)| replay)
    }

    /// Ends the first.
    pub fn pop_front(&mut self) {
        if let Some(line) = &mut self.0
            && let Some((_, replay)) = line.replays.pop_front()
        {
            line.numbers.remove(&replay.filter);
            self.settle();
        }
    }

    /// Ends all.
    pub fn clear(&mut self) {
        self.0 = None;
    }

    /// Sees to it that the first is one that counts, and that there is nothing where none does.
    fn settle(&mut self) {
        let Some(line) = &mut self.0 else {
            return;
        };
        while let Some((number, replay)) = line.replays.front()
            && line.numbers.get(&replay.filter) != Some(number)
        {
            line.replays.pop_front();
        }
        if line.numbers.is_empty() {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(filter: &str, since: u64) -> Replay {
        Replay {
            filter: Rc::from(filter),
            qos: Qos::AtMostOnce,
            subscription_ids: SubscriptionIds::default(),
            since,
            after: None,
        }
    }

    fn rest(replays: &mut Replays) -> Vec<(String, u64)> {
        let mut rest = Vec::new();
        while let Some(replay) = replays.front_mut() {
            rest.push((replay.filter.to_string(), replay.since));
            replays.pop_front();
        }
        assert!(replays.is_empty());
        rest
    }

    #[test]
    fn a_filter_has_one_replay_and_the_others_keep_their_order() {
        let mut replays = Replays::default();
        for (filter, since) in [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5), ("d", 6)] {
            replays.push(replay(filter, since));
        }
        replays.remove("d");
        replays.remove("nobody's");
        assert!(replays.contains("c") && !replays.contains("d"));
        let expected = [("a", 3), ("c", 4), ("b", 5)];
        let expected = expected.map(|(filter, since)| (filter.to_owned(), since));
        assert_eq!(rest(&mut replays), expected);
    }

    #[test]
    fn what_was_replaced_takes_no_room_for_long() {
        let mut replays = Replays::default();
        for round in 0..1000 {
            for filter in ["a", "b"] {
                replays.push(replay(filter, round));
            }
            let line = replays.0.as_ref().expect("two");
            assert!(line.replays.len() <= 12 && line.numbers.len() == 2);
        }
        replays.remove("a");
        replays.remove("b");
        assert!(replays.is_empty());
    }
}
