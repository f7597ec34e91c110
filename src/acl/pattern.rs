//! Topic patterns: what a topic filter matches and covers, and the levels `%u` and `%c`, which stand for a client's
//! user name and client id. Entered through [`matches()`] and [`covers`], which allocate nothing, and through
//! [`Pattern::new`] when the configuration is read.
//!
//! It does not know what a pattern is used for, and neither function checks that its arguments are well-formed: of
//! malformed ones they say something, but do not fail.

use std::fmt::{self, Display, Formatter};

use crate::mqtt::topic::TOPIC_BYTES_MAX;
pub use crate::mqtt::topic::matches;

/// Whether every topic that the filter matches is matched by the pattern.
pub fn covers(pattern: &str, filter: &str) -> bool {
    if filter.starts_with('$') && pattern.starts_with(['+', '#']) {
        return false;
    }
    // Every topic has a first level, so there is nothing in `#` that is not in `+/#`. Deeper down there is: the parent.
    if filter == "#" {
        return pattern == "#" || pattern == "+/#";
    }
    let mut levels = filter.split('/');
    for wanted in pattern.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if level != "#" && (wanted == "+" || wanted == level) => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// A topic filter of a rule, checked, in which whole levels may be `%u` and `%c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternFault {
    /// It is empty.
    Empty,
    /// It is longer than a topic can be.
    TooLong,
    /// It contains the character U+0000, which no topic can.
    Zero,
    /// `#` is not its last level, or not a level of its own.
    Hash,
    /// `+` is not a level of its own.
    Plus,
    /// `%u` or `%c` is not a level of its own.
    Placeholder,
}

impl Display for PatternFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PatternFault::Empty => "it is empty",
            PatternFault::TooLong => "it is longer than 65535 bytes",
            PatternFault::Zero => "it contains a zero character",
            PatternFault::Hash => "'#' must be its last level, and alone in it",
            PatternFault::Plus => "'+' must be alone in its level",
            PatternFault::Placeholder => "'%u' and '%c' must be alone in their level",
        })
    }
}

impl Pattern {
    /// Checks a text as a topic filter [MQTT-4.7.1-1, 4.7.1-2, 4.7.3-1, 4.7.3-2, 4.7.3-3] with placeholders.
    pub fn new(text: &str) -> Result<Self, PatternFault> {
        if text.is_empty() {
            return Err(PatternFault::Empty);
        }
        if text.len() > TOPIC_BYTES_MAX {
            return Err(PatternFault::TooLong);
        }
        if text.contains('\0') {
            return Err(PatternFault::Zero);
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(PatternFault::Hash);
            }
            if level.contains('+') && level != "+" {
                return Err(PatternFault::Plus);
            }
            if level.len() > 2 && (level.contains("%u") || level.contains("%c")) {
                return Err(PatternFault::Placeholder);
            }
        }
        Ok(Pattern(text.into()))
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The filter for one client. `None` if it needs a name that the client does not have or that would not be one
    /// level and nothing else: such a pattern matches nothing for that client.
    pub fn substituted(&self, user: Option<&str>, client_id: &str) -> Option<String> {
        let mut filter = String::with_capacity(self.0.len());
        for (index, level) in self.0.split('/').enumerate() {
            if index > 0 {
                filter.push('/');
            }
            filter.push_str(match level {
                "%u" => user.filter(|user| is_level(user))?,
                "%c" => Some(client_id).filter(|id| is_level(id))?,
                _ => level,
            });
        }
        Some(filter)
    }
}

/// Whether a name stands for itself as one level: a client whose name is `+` would otherwise get everyone's topics.
fn is_level(name: &str) -> bool {
    !name.is_empty() && !name.contains(['+', '#', '/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_examples_of_wildcards_4_7_1() {
        for topic in [
            "sport/tennis/player1",
            "sport/tennis/player1/ranking",
            "sport/tennis/player1/score/wimbledon",
        ] {
            assert!(matches("sport/tennis/player1/#", topic));
        }
        assert!(matches("sport/#", "sport"));
        assert!(matches("sport/tennis/+", "sport/tennis/player1"));
        assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
        assert!(!matches("sport/+", "sport"));
        assert!(matches("sport/+", "sport/"));
        assert!(matches("+/+", "/finance"));
        assert!(matches("/+", "/finance"));
        assert!(!matches("+", "/finance"));
    }

    #[test]
    fn a_wildcard_does_not_match_a_first_level_with_a_dollar_4_7_2_1() {
        for filter in ["#", "+", "+/#", "+/broker/uptime"] {
            assert!(!matches(filter, "$SYS/broker/uptime"), "{filter}");
            assert!(!covers(filter, "$SYS/broker/uptime"), "{filter}");
        }
        assert!(matches("$SYS/#", "$SYS/broker/uptime"));
        assert!(matches("$SYS/+/uptime", "$SYS/broker/uptime"));
        assert!(matches("a/+", "a/$b"));
        assert!(covers("a/#", "a/$b"));
    }

    #[test]
    fn a_level_is_compared_as_a_whole_and_with_its_case() {
        assert!(!matches("a/b", "a/bc"));
        assert!(!matches("a/bc", "a/b"));
        assert!(!matches("a/b", "A/b"));
        assert!(!matches("a", "a/"));
        assert!(!matches("a/", "a"));
    }

    /// All texts of up to `depth` levels of the given words.
    fn texts(words: &[&str], depth: usize) -> Vec<String> {
        let mut all: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        let mut last = all.clone();
        for _ in 1..depth {
            last = last
                .iter()
                .flat_map(|text| words.iter().map(move |word| format!("{text}/{word}")))
                .collect();
            all.extend_from_slice(&last);
        }
        all
    }

    #[test]
    fn a_pattern_covers_exactly_the_filters_whose_every_topic_it_matches() {
        let filters = texts(&["a", "$s", "", "+", "#"], 3);
        let filters: Vec<_> = filters
            .iter()
            .filter(|text| Pattern::new(text).is_ok())
            .collect();
        // One level more than the filters have, and a word that stands in none of them.
        let topics = texts(&["a", "$s", "", "other", "$other"], 4);
        for filter in &filters {
            let matched: Vec<_> = topics
                .iter()
                .filter(|topic| matches(filter, topic))
                .collect();
            for pattern in &filters {
                let all = matched.iter().all(|topic| matches(pattern, topic));
                assert_eq!(
                    covers(pattern, filter),
                    all,
                    "pattern {pattern:?}, filter {filter:?}"
                );
            }
        }
    }

    #[test]
    fn a_malformed_filter_is_no_pattern() {
        for (text, fault) in [
            ("", PatternFault::Empty),
            ("a#", PatternFault::Hash),
            ("a/#/b", PatternFault::Hash),
            ("##", PatternFault::Hash),
            ("a+/b", PatternFault::Plus),
            ("++", PatternFault::Plus),
            ("a\0", PatternFault::Zero),
            ("user-%u/a", PatternFault::Placeholder),
            ("a/%c%u", PatternFault::Placeholder),
        ] {
            assert_eq!(Pattern::new(text), Err(fault), "{text:?}");
        }
        assert_eq!(
            Pattern::new(&"a".repeat(65_536)),
            Err(PatternFault::TooLong)
        );
        for text in [
            "#", "+", "/", "a//b", "%u/#", "%c", "a/%u/%c", "100%", "%x/a", "$SYS/#",
        ] {
            assert!(Pattern::new(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_is_not_one_plain_level_is_never_substituted() {
        let pattern = Pattern::new("%u/x/%c").expect("it is well-formed");
        assert_eq!(
            pattern.substituted(Some("anna"), "c1"),
            Some("anna/x/c1".into())
        );
        assert_eq!(
            pattern.substituted(Some("a%c"), "%u"),
            Some("a%c/x/%u".into())
        );
        for bad in ["", "+", "#", "a/b", "a\0", "a+"] {
            assert_eq!(pattern.substituted(Some(bad), "c1"), None, "{bad:?}");
            assert_eq!(pattern.substituted(Some("anna"), bad), None, "{bad:?}");
        }
        assert_eq!(pattern.substituted(None, "c1"), None);
        let plain = Pattern::new("a/+").expect("it is well-formed");
        assert_eq!(plain.substituted(None, "#"), Some("a/+".into()));
    }
}
