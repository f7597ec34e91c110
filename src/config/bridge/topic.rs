//! What a bridge forwards: the option `topic`, in the words of mosquitto's configuration and with their meaning. Entered
//! through [`Mapping::parse`] and [`wandering`].
//!
//! A mapping is `PATTERN [DIRECTION [QOS [LOCAL_PREFIX [REMOTE_PREFIX]]]]`, parted by blanks; `""` is an empty text. The
//! prefix of a side stands before the pattern in that side's topics. It translates no message: that is the bridge's.

use crate::mqtt::Qos;
use crate::mqtt::topic::{is_filter, is_name, is_reserved, is_shared};

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the other broker to this one.
    In,
    /// From this one to the other.
    Out,
    /// Either way.
    Both,
}

impl Direction {
    /// Whether messages of the other broker come in.
    pub fn is_in(self) -> bool {
        matches!(self, Direction::In | Direction::Both)
    }

    /// Whether messages of this broker go out.
    pub fn is_out(self) -> bool {
        matches!(self, Direction::Out | Direction::Both)
    }
}

/// One mapping of topics here to topics at the other broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// What is the same on both sides; empty if a single topic has another name there.
    pub pattern: String,
    /// Which way.
    pub direction: Direction,
    /// The highest QoS that messages are forwarded with.
    pub qos: Qos,
    /// What stands before the pattern here; may be empty.
    pub local_prefix: String,
    /// What stands before the pattern at the other broker; may be empty.
    pub remote_prefix: String,
}

impl Mapping {
    /// Reads one mapping, with mosquitto's defaults: out, QoS 0, no prefixes.
    ///
    /// # Errors
    /// What is wrong, as the end of "'x' is not …: ".
    pub fn parse(text: &str) -> Result<Mapping, String> {
        let mut words = text.split_ascii_whitespace();
        let pattern = unquoted(words.next().ok_or("it is empty")?);
        let direction = match words.next() {
            None => Direction::Out,
            Some(word) => direction(word).ok_or("the second word is none of out, in and both")?,
        };
        let qos = match words.next() {
            None => Qos::AtMostOnce,
            Some("0") => Qos::AtMostOnce,
            Some("1") => Qos::AtLeastOnce,
            Some("2") => Qos::ExactlyOnce,
            Some(_) => return Err("the third word is no QoS (0, 1 or 2)".into()),
        };
        let mapping = Mapping {
            pattern: pattern.into(),
            direction,
            qos,
            local_prefix: unquoted(words.next().unwrap_or_default()).into(),
            remote_prefix: unquoted(words.next().unwrap_or_default()).into(),
        };
        if words.next().is_some() {
            return Err("there are more than five words".into());
        }
        mapping.check()?;
        Ok(mapping)
    }

    fn check(&self) -> Result<(), &'static str> {
        for prefix in [&self.local_prefix, &self.remote_prefix] {
            if !prefix.is_empty() && !is_name(prefix) {
                return Err("a prefix has no + or #");
            }
        }
        if self.pattern.is_empty()
            && (self.local_prefix.is_empty() || self.remote_prefix.is_empty())
        {
            return Err(
                "without a pattern both prefixes are needed: the topic here and the topic there",
            );
        }
        for filter in [self.local_filter(), self.remote_filter()] {
            if !is_filter(&filter) {
                return Err(
                    "prefix and pattern together are no topic filter: + and # must be alone in their level, and # in the last",
                );
            }
            if is_shared(&filter) {
                return Err("a shared subscription has no topics of its own to forward");
            }
        }
        Ok(())
    }

    /// The topic filter of this mapping's topics here.
    pub fn local_filter(&self) -> String {
        format!("{}{}", self.local_prefix, self.pattern)
    }

    /// The topic filter of this mapping's topics at the other broker.
    pub fn remote_filter(&self) -> String {
        format!("{}{}", self.remote_prefix, self.pattern)
    }

    /// Whether topics have other names on the other side.
    pub fn renames(&self) -> bool {
        !self.local_prefix.is_empty() || !self.remote_prefix.is_empty()
    }

    /// Whether what goes out by this mapping would come back in by the other under its old name, if it came back. Their topics
    /// there MUST overlap: then one of the prefixes there begins with the other.
    fn comes_back_by(&self, other: &Mapping) -> bool {
        let rest = |long: &str, short: &str| long.strip_prefix(short).map(str::to_owned);
        if let Some(rest) = rest(&self.remote_prefix, &other.remote_prefix) {
            return self.local_prefix == format!("{}{rest}", other.local_prefix);
        }
        let rest = rest(&other.remote_prefix, &self.remote_prefix).unwrap_or_default();
        other.local_prefix == format!("{}{rest}", self.local_prefix)
    }
}

fn unquoted(word: &str) -> &str {
    if word == "\"\"" { "" } else { word }
}

fn direction(word: &str) -> Option<Direction> {
    let words = [
        ("out", Direction::Out),
        ("in", Direction::In),
        ("both", Direction::Both),
    ];
    let found = words
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name));
    found.map(|(_, direction)| *direction)
}

/// The first mapping, by its place, that with an earlier or a later one sends a message round under ever new names: what one sends
/// out another brings back as another topic, which goes out again. Nothing that looks at one topic can stop such a loop.
pub fn wandering(mappings: &[Mapping]) -> Option<usize> {
    let outs = || mappings.iter().filter(|mapping| mapping.direction.is_out());
    mappings.iter().position(|back| {
        let goes_out_again =
            || outs().any(|out| overlap(&back.local_filter(), &out.local_filter()));
        let renames = |out: &Mapping| {
            overlap(&out.remote_filter(), &back.remote_filter()) && !out.comes_back_by(back)
        };
        back.direction.is_in() && outs().any(renames) && goes_out_again()
    })
}

/// Whether there is a topic that both filters match.
pub fn overlap(one: &str, other: &str) -> bool {
    if is_reserved(one) != is_reserved(other) {
        return false;
    }
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    loop {
        match (ones.next(), others.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(text: &str) -> Mapping {
        Mapping::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
    }

    #[test]
    fn a_mapping_has_mosquittos_defaults() {
        let expected = Mapping {
            pattern: "a/#".into(),
            direction: Direction::Out,
            qos: Qos::AtMostOnce,
            local_prefix: String::new(),
            remote_prefix: String::new(),
        };
        assert_eq!(mapping("a/#"), expected);
        assert_eq!(mapping("a/# out"), expected);
        assert_eq!(mapping("  a/#\tOut 0 \"\" \"\" "), expected);
    }

    /// The table of mosquitto.conf(5), "topic".
    #[test]
    fn prefixes_make_the_topics_of_mosquittos_table() {
        for (text, local, remote) in [
            ("pattern both 0 L/ R/", "L/pattern", "R/pattern"),
            ("pattern both 0 L/ \"\"", "L/pattern", "pattern"),
            ("pattern both 0 L/", "L/pattern", "pattern"),
            ("pattern both 0 \"\" R/", "pattern", "R/pattern"),
            ("pattern both 0 \"\" \"\"", "pattern", "pattern"),
            ("\"\" both 0 local remote", "local", "remote"),
            (
                "# both 2 local/topic/ remote/topic/",
                "local/topic/#",
                "remote/topic/#",
            ),
            (
                "clients/total in 0 test/mosquitto/org/ $SYS/broker/",
                "test/mosquitto/org/clients/total",
                "$SYS/broker/clients/total",
            ),
        ] {
            let mapping = mapping(text);
            assert_eq!(mapping.local_filter(), local, "{text}");
            assert_eq!(mapping.remote_filter(), remote, "{text}");
        }
    }

    #[test]
    fn what_mosquitto_refuses_is_refused() {
        for text in [
            "",
            "a sideways",
            "a out 3",
            "a out one",
            "a out -1",
            "\"\" both 0 local \"\"",
            "\"\" both 0 \"\" remote",
            "\"\" both 0",
            "\"\"",
            "# out 0 a",
            "# out 0 \"\" a+/",
            "a/#/b",
            "a+",
            "a out 0 L/ R/ more",
            "x out 0 $share/g/",
        ] {
            assert!(Mapping::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn filters_overlap_when_one_topic_matches_both() {
        for (one, other, expected) in [
            ("#", "a/b", true),
            ("a/#", "a", true),
            ("a/+", "+/b", true),
            ("a/+", "a", false),
            ("a/+/c", "a/b/#", true),
            ("a", "b", false),
            ("#", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} and {other}");
            assert_eq!(overlap(other, one), expected, "{other} and {one}");
        }
    }

    #[test]
    fn a_message_that_comes_back_under_another_name_and_goes_out_again_wanders() {
        for (texts, expected) in [
            (&["# both 0 L/ R/"][..], None),
            (&["# both"], None),
            (&["# out 0 L/ R/", "# in 0 L/ R/"], None),
            // The same names, written with longer prefixes.
            (&["# out 0 L/ R/", "b/# in 0 L/a/ R/a/"], None),
            // It comes in under another name, but that goes nowhere.
            (&["# out 0 a/ \"\"", "# in 0 b/ \"\""], None),
            (&["# out", "# in 0 from/"], Some(1)),
            (&["# in", "# out 0 \"\" R/"], Some(0)),
            (&["x/# in 0 y/", "y/# out 0 \"\" x/"], Some(0)),
            (&["# out", "clients/total in 0 test/ $SYS/broker/"], None),
        ] {
            let mappings: Vec<_> = texts.iter().map(|text| mapping(text)).collect();
            assert_eq!(wandering(&mappings), expected, "{texts:?}");
        }
    }
}
