//! Topic Aliases from the broker to one client (3.3.2.3.4 of MQTT 5.0): busy topics become two bytes.
//!
//! A client says how many aliases it takes; a few are enough, since few topics make most of a client's traffic. An alias goes to a
//! topic the first time while there are free ones. After that a topic that comes twice among the topics without an alias takes the
//! alias that has gone unused for longest, so that a topic that comes once drives no busy one out. An alias lives as long as its
//! connection.

/// Aliases that are used at most, whatever a client takes: each holds a topic in memory.
const ALIASES_MAX: u16 = 16;

/// Topics that are not longer than this, in bytes, are sent as they are: the property that replaces them has three.
const SHORT_TOPIC_BYTES: usize = 4;

/// Topics that are longer than this, in bytes, get no alias: who publishes chooses them, and every subscriber's aliases hold them.
const LONG_TOPIC_BYTES: usize = 512;

/// The aliases of one connection.
#[derive(Debug)]
pub struct Aliases {
    max: u16,
    entries: Vec<Entry>,
    /// What the entries hold.
    bytes: usize,
    /// Counts uses.
    clock: u32,
    /// The last topic without an alias, as a hash.
    candidate: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    topic: Box<str>,
    used: u32,
}

/// How a topic is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// By its name alone.
    Name,
    /// By an alias that the client knows.
    Alias(u16),
    /// By its name with an alias, which stands for it from now on if the packet is sent: see [`Aliases::keep`].
    Both(u16),
}

impl Aliases {
    /// Aliases for a client that takes this many (its Topic Alias Maximum), or `None` for one that takes none.
    pub fn new(topic_alias_maximum: u16) -> Option<Box<Aliases>> {
        let max = topic_alias_maximum.min(ALIASES_MAX);
        (max > 0).then(|| {
            Box::new(Aliases {
                max,
                entries: Vec::new(),
                bytes: size_of::<Aliases>(),
                clock: 0,
                candidate: None,
            })
        })
    }

    /// How to send a message to this topic.
    pub fn name(&mut self, topic: &str) -> Naming {
        if topic.len() <= SHORT_TOPIC_BYTES || topic.len() > LONG_TOPIC_BYTES {
            return Naming::Name;
        }
        self.clock = self.clock.wrapping_add(1);
        if let Some(position) = self.entries.iter().position(|entry| *entry.topic == *topic) {
            self.entries[position].used = self.clock;
            return Naming::Alias(position as u16 + 1);
        }
        if self.entries.len() < usize::from(self.max) {
            return Naming::Both(self.entries.len() as u16 + 1);
        }
        let hash = hash_of(topic);
        if self.candidate.replace(hash) != Some(hash) {
            return Naming::Name;
        }
        // What was used last has the smallest distance to the clock, also when that has begun anew.
        let age = |entry: &Entry| self.clock.wrapping_sub(entry.used);
        let oldest = self
            .entries
            .iter()
            .enumerate()
            .max_by_key(|(_, entry)| age(entry));
        oldest.map_or(Naming::Name, |(position, _)| {
            Naming::Both(position as u16 + 1)
        })
    }

    /// What they hold in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A packet that names a topic with an alias has been sent: the alias stands for it.
    pub fn keep(&mut self, alias: u16, topic: &str) {
        let entry = Entry {
            topic: topic.into(),
            used: self.clock,
        };
        let position = usize::from(alias).saturating_sub(1);
        match self.entries.get_mut(position) {
            Some(former) => {
                self.bytes = self.bytes - former.topic.len() + topic.len();
                *former = entry;
            }
            None => {
                self.bytes += size_of::<Entry>() + topic.len();
                self.entries.push(entry);
            }
        }
    }
}

/// FNV-1a. Two topics of the same hash only cost an alias that was not worth it.
fn hash_of(topic: &str) -> u64 {
    topic.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(aliases: &mut Aliases, topic: &str) -> Naming {
        let naming = aliases.name(topic);
        if let Naming::Both(alias) = naming {
            aliases.keep(alias, topic);
        }
        naming
    }

    #[test]
    fn a_topic_is_named_once_and_then_by_its_alias() {
        let mut aliases = Aliases::new(2).expect("two");
        assert_eq!(send(&mut aliases, "topic/one"), Naming::Both(1));
        assert_eq!(send(&mut aliases, "topic/two"), Naming::Both(2));
        assert_eq!(send(&mut aliases, "topic/one"), Naming::Alias(1));
        assert_eq!(
            send(&mut aliases, "t"),
            Naming::Name,
            "shorter than an alias"
        );
        assert!(Aliases::new(0).is_none());
    }

    #[test]
    fn what_they_hold_follows_the_topics() {
        let mut aliases = Aliases::new(1).expect("one");
        let empty = aliases.bytes();
        send(&mut aliases, "topic/one");
        let one = aliases.bytes();
        assert!(one >= empty + "topic/one".len());
        send(&mut aliases, "topic/other");
        send(&mut aliases, "topic/other");
        assert_eq!(aliases.bytes(), one + 2);
    }

    #[test]
    fn only_a_topic_that_comes_again_takes_the_alias_of_the_least_busy_one() {
        let mut aliases = Aliases::new(2).expect("two");
        for topic in ["topic/one", "topic/two", "topic/one"] {
            send(&mut aliases, topic);
        }
        for n in 0..10 {
            assert_eq!(send(&mut aliases, &format!("once/{n}")), Naming::Name);
        }
        assert_eq!(send(&mut aliases, "again"), Naming::Name);
        assert_eq!(send(&mut aliases, "again"), Naming::Both(2));
        assert_eq!(send(&mut aliases, "topic/one"), Naming::Alias(1));
        assert_eq!(send(&mut aliases, "topic/two"), Naming::Name);
    }

    #[test]
    fn an_alias_that_was_not_sent_stands_for_nothing() {
        let mut aliases = Aliases::new(1).expect("one");
        assert_eq!(aliases.name("topic/one"), Naming::Both(1));
        assert_eq!(aliases.name("topic/one"), Naming::Both(1));
    }
}
