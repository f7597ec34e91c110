//! What a bridge subscribes to on both sides, and what a message's topic becomes on its way. Pure; entered through
//! [`Mappings::new`].
//!
//! The rule is mosquitto's. A message that goes one way is translated by **the first mapping of that way, in the order of the file,
//! that has a prefix and whose filter matches the topic**: the prefix of the side that it comes from is taken off, that of the other
//! side is put before what is left. If none of them matches, but one without prefixes does, the topic stays. What no mapping of that way
//! matches does not go that way: a broker may send what nobody has subscribed to. One message goes out once, whatever number of
//! mappings match it.
//!
//! One case is not mosquitto's. `L/#` matches the topic `L` too, which does not begin with the prefix `L/`; mosquitto makes `R/L` of it.
//! Here it becomes `R`, so that it finds its way back; where the other prefix is empty it has no name there and does not go.
//!
//! It forwards nothing, and knows neither QoS nor retain beyond what a subscription asks for.

use std::borrow::Cow;

use crate::config::Mapping;
use crate::config::bridge::Direction;
use crate::mqtt::Qos;
use crate::mqtt::topic::{TOPIC_BYTES_MAX, is_name, matches};

/// The mappings of one bridge.
#[derive(Debug, Clone, Default)]
pub struct Mappings {
    out: Vec<Way>,
    into: Vec<Way>,
}

/// One mapping, one way.
#[derive(Debug, Clone)]
struct Way {
    /// What matches topics of the side that messages come from.
    filter: String,
    /// What is taken off and what is put before instead.
    from_prefix: String,
    to_prefix: String,
    qos: Qos,
}

/// A filter to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The topic filter.
    pub filter: String,
    /// The highest QoS that one of its mappings asks for.
    pub qos: Qos,
}

impl Mappings {
    /// The mappings in the order of the file.
    pub fn new(mappings: &[Mapping]) -> Mappings {
        let way = |mapping: &Mapping, is_out: bool| {
            let (here, there) = (&mapping.local_prefix, &mapping.remote_prefix);
            let (filter, from, to) = match is_out {
                true => (mapping.local_filter(), here, there),
                false => (mapping.remote_filter(), there, here),
            };
            Way {
                filter,
                from_prefix: from.clone(),
                to_prefix: to.clone(),
                qos: mapping.qos,
            }
        };
        let of = |goes: fn(Direction) -> bool, is_out| {
            let going = mappings.iter().filter(|mapping| goes(mapping.direction));
            // Those with prefixes are asked first; within both kinds the order stays.
            let (renaming, plain): (Vec<_>, Vec<_>) = going.partition(|mapping| mapping.renames());
            let ways = renaming.into_iter().chain(plain);
            ways.map(|mapping| way(mapping, is_out)).collect()
        };
        Mappings {
            out: of(Direction::is_out, true),
            into: of(Direction::is_in, false),
        }
    }

    /// What to subscribe to here, each filter once.
    pub fn local_filters(&self) -> Vec<Wanted> {
        wanted(&self.out)
    }

    /// What to subscribe to at the other broker, each filter once.
    pub fn remote_filters(&self) -> Vec<Wanted> {
        wanted(&self.into)
    }

    /// What a topic of this broker is called at the other; `None` if it does not go there.
    pub fn to_remote<'t>(&self, topic: &'t str) -> Option<Cow<'t, str>> {
        translate(&self.out, topic)
    }

    /// What a topic of the other broker is called here; `None` if it does not come in. The topic is the other broker's word: it may be
    /// anything.
    pub fn to_local<'t>(&self, topic: &'t str) -> Option<Cow<'t, str>> {
        translate(&self.into, topic)
    }
}

fn wanted(ways: &[Way]) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for way in ways {
        match all.iter_mut().find(|wanted| wanted.filter == way.filter) {
            Some(wanted) => wanted.qos = wanted.qos.max(way.qos),
            None => all.push(Wanted {
                filter: way.filter.clone(),
                qos: way.qos,
            }),
        }
    }
    all
}

fn translate<'t>(ways: &[Way], topic: &'t str) -> Option<Cow<'t, str>> {
    let way = ways.iter().find(|way| matches(&way.filter, topic))?;
    let translated = way.translate(topic)?;
    (is_name(&translated) && translated.len() <= TOPIC_BYTES_MAX).then_some(translated)
}

impl Way {
    fn translate<'t>(&self, topic: &'t str) -> Option<Cow<'t, str>> {
        let Some(rest) = topic.strip_prefix(&self.from_prefix) else {
            // `L` where the prefix is `L/`: see the module's text.
            return self
                .to_prefix
                .strip_suffix('/')
                .map(|parent| parent.to_owned().into());
        };
        if self.to_prefix.is_empty() {
            return Some(rest.into());
        }
        Some(format!("{}{rest}", self.to_prefix).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mappings(texts: &[&str]) -> Mappings {
        let parsed = texts
            .iter()
            .map(|text| Mapping::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}")));
        Mappings::new(&parsed.collect::<Vec<_>>())
    }

    fn filters(wanted: Vec<Wanted>) -> Vec<(String, u8)> {
        let all = wanted.into_iter();
        all.map(|wanted| (wanted.filter, wanted.qos as u8))
            .collect()
    }

    /// Both ways of one topic: here, there.
    fn assert_same(mappings: &Mappings, here: &str, there: &str) {
        assert_eq!(
            mappings.to_remote(here).as_deref(),
            Some(there),
            "{here} goes out"
        );
        assert_eq!(
            mappings.to_local(there).as_deref(),
            Some(here),
            "{there} comes in"
        );
    }

    /// The table and the examples of mosquitto.conf(5), "topic".
    #[test]
    fn topics_are_exchanged_as_mosquittos_documentation_says() {
        for (text, here, there) in [
            ("pattern both 0 L/ R/", "L/pattern", "R/pattern"),
            ("pattern both 0 L/ \"\"", "L/pattern", "pattern"),
            ("pattern both 0 \"\" R/", "pattern", "R/pattern"),
            ("pattern both 0 \"\" \"\"", "pattern", "pattern"),
            ("\"\" both 0 local remote", "local", "remote"),
            (
                "# both 2 local/topic/ remote/topic/",
                "local/topic/a/b",
                "remote/topic/a/b",
            ),
        ] {
            assert_same(&mappings(&[text]), here, there);
        }
        let example = mappings(&["clients/total in 0 test/mosquitto/org/ $SYS/broker/"]);
        assert_eq!(
            filters(example.remote_filters()),
            [("$SYS/broker/clients/total".into(), 0)]
        );
        assert!(example.local_filters().is_empty());
        let local = example.to_local("$SYS/broker/clients/total");
        assert_eq!(local.as_deref(), Some("test/mosquitto/org/clients/total"));
        assert_eq!(example.to_remote("test/mosquitto/org/clients/total"), None);
    }

    #[test]
    fn the_first_mapping_with_a_prefix_translates() {
        let mappings = mappings(&["# out", "a/b out 1 \"\" first/", "a/+ out 2 \"\" second/"]);
        for (topic, expected) in [("a/b", "first/a/b"), ("a/c", "second/a/c"), ("b", "b")] {
            assert_eq!(mappings.to_remote(topic).as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_parent_of_a_prefix_finds_its_way_back() {
        assert_same(&mappings(&["# both 0 L/ R/"]), "L", "R");
        let to_the_root = mappings(&["# both 0 L/ \"\""]);
        assert_eq!(to_the_root.to_remote("L"), None);
    }

    #[test]
    fn what_no_mapping_matches_does_not_come_in() {
        let mappings = mappings(&["a/# in 1 L/ R/", "b out"]);
        for topic in ["a/x", "R/b", "b", "", "R/a/+", "R/a/\0", "$SYS/x"] {
            assert_eq!(mappings.to_local(topic), None, "{topic:?}");
        }
        let longest = format!("R/a/{}", "x".repeat(TOPIC_BYTES_MAX - 4));
        assert_eq!(
            mappings.to_local(&longest).map(|local| local.len()),
            Some(TOPIC_BYTES_MAX)
        );
        let longer_here = self::mappings(&["# in 0 longer/ R/"]);
        assert_eq!(longer_here.to_local(&longest), None);
    }

    #[test]
    fn a_filter_is_subscribed_once_with_the_highest_qos() {
        let mappings = mappings(&["a/# both 1 L/ R/", "a/# out 2 L/ other/", "b in 0"]);
        assert_eq!(filters(mappings.local_filters()), [("L/a/#".into(), 2)]);
        let remote = [("R/a/#".to_owned(), 1), ("b".to_owned(), 0)];
        assert_eq!(filters(mappings.remote_filters()), remote);
    }

    #[test]
    fn a_topic_without_a_new_name_is_not_copied() {
        let mappings = mappings(&["#", "x/# out 0 L/ \"\""]);
        assert!(matches!(mappings.to_remote("a"), Some(Cow::Borrowed("a"))));
        assert!(matches!(
            mappings.to_remote("L/x/a"),
            Some(Cow::Borrowed("x/a"))
        ));
    }
}
