//! What the broker has promised: every message of the load, by topic and number, and whether it was acknowledged.
//!
//! Publishers write it, subscribers are held to it. It outlives every life of the broker.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::packet::Publish;

/// All messages.
#[derive(Default)]
pub struct Ledger {
    /// The numbers that were acknowledged, by topic.
    pub acknowledged: BTreeMap<String, BTreeSet<u32>>,
}

impl Ledger {
    /// The broker has acknowledged a message.
    pub fn acknowledge(&mut self, topic: &str, number: u32) {
        let topic = self.acknowledged.entry(topic.to_owned()).or_default();
        topic.insert(number);
    }

    /// How many were acknowledged.
    pub fn count(&self) -> usize {
        self.acknowledged.values().map(BTreeSet::len).sum()
    }
}

/// What one subscriber has got, with what it must not get.
#[derive(Default)]
pub struct Received(BTreeMap<String, BTreeSet<u32>>);

impl Received {
    /// Takes a message. `is_durable` says that the subscription is older than all of them and survives.
    ///
    /// # Panics
    /// When a QoS 2 message comes twice, one comes before another of its topic, or an acknowledged one is missing.
    pub fn take(&mut self, who: &str, publish: &Publish, ledger: &Ledger, is_durable: bool) {
        let number = number_of(publish);
        let topic = &publish.topic;
        let known = self.0.entry(topic.clone()).or_default();
        let highest = known.last().copied();
        if known.contains(&number) {
            assert!(publish.qos < 2, "{who}: {topic} {number} comes twice");
            return;
        }
        assert!(
            highest.is_none_or(|highest| highest < number),
            "{who}: {topic} {number} comes after {highest:?}"
        );
        if is_durable && let Some(acknowledged) = ledger.acknowledged.get(topic) {
            let from = highest.map_or(0, |highest| highest + 1);
            let missing: Vec<&u32> = acknowledged.range(from..number).collect();
            assert!(
                missing.is_empty(),
                "{who}: {topic} {missing:?} were acknowledged and are missing before {number}"
            );
        }
        known.insert(number);
    }

    /// Which acknowledged messages have not come, each with its topic.
    pub fn missing(&self, ledger: &Ledger) -> Vec<(String, u32)> {
        let none = BTreeSet::new();
        let all = ledger.acknowledged.iter();
        all.flat_map(|(topic, numbers)| {
            let got = self.0.get(topic).unwrap_or(&none);
            let missing = numbers.difference(got);
            missing.map(|number| (topic.clone(), *number))
        })
        .collect()
    }
}

/// The number that a message's payload is.
pub fn number_of(publish: &Publish) -> u32 {
    let text = std::str::from_utf8(&publish.payload).expect("the load is text");
    text.parse().expect("the load is numbers")
}
