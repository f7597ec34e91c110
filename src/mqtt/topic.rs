//! Topic Names and Topic Filters (4.7 of MQTT 5.0): what is well formed, and what matches what.
//!
//! Names and filters are `&str`: their bytes were checked as UTF-8 when the packet was read. Nothing here
//! allocates or recurses, so the deepest topic costs a loop.

/// The longest topic in bytes; its length has two bytes in every packet.
pub const TOPIC_BYTES_MAX: usize = u16::MAX as usize;

/// Whether `name` is a Topic Name that a message may be published to: not empty [MQTT-4.7.3-1], without
/// wildcards [MQTT-3.3.2-2] and without U+0000 [MQTT-4.7.3-2].
#[inline]
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= TOPIC_BYTES_MAX
        && !name.bytes().any(|byte| matches!(byte, b'+' | b'#' | 0))
}

/// Whether `filter` is a Topic Filter: not empty, without U+0000, `#` alone in the last level
/// [MQTT-4.7.1-1], `+` alone in its level [MQTT-4.7.1-2].
pub fn is_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > TOPIC_BYTES_MAX || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let well_formed = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            other => !other.contains(['+', '#']),
        };
        if !well_formed {
            return false;
        }
    }
    true
}

/// Whether a filter contains a wildcard, so that more than one topic can match it.
#[inline]
pub fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}

/// A filter as SUBSCRIBE names it, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribed<'a> {
    /// The ShareName of `$share/{ShareName}/{filter}` (4.8.2), if it is a Shared Subscription.
    pub share: Option<&'a str>,
    /// The Topic Filter that messages are matched with.
    pub filter: &'a str,
}

/// Takes the Topic Filter of a SUBSCRIBE or UNSUBSCRIBE apart.
///
/// `None` when it is not well formed: a bad filter, or `$share` without a ShareName of at least one
/// character free of `/`, `+` and `#` followed by a filter [MQTT-4.8.2-1] [MQTT-4.8.2-2].
pub fn subscribed(text: &str) -> Option<Subscribed<'_>> {
    match text.strip_prefix("$share/") {
        Some(rest) => {
            let (share, filter) = rest.split_once('/')?;
            let well_formed =
                !share.is_empty() && !share.contains(['+', '#', '\0']) && is_filter(filter);
            well_formed.then_some(Subscribed {
                share: Some(share),
                filter,
            })
        }
        None if text == "$share" => None,
        None => is_filter(text).then_some(Subscribed {
            share: None,
            filter: text,
        }),
    }
}

/// Whether the filter of a SUBSCRIBE names a Shared Subscription.
#[inline]
pub fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/")
}

/// Whether a topic belongs to the server: its first level begins with `$`, and a filter that begins with
/// a wildcard does not match it [MQTT-4.7.2-1].
#[inline]
pub fn is_reserved(topic: &str) -> bool {
    topic.as_bytes().first() == Some(&b'$')
}

/// Whether the well-formed `filter` matches the Topic Name `topic` (4.7.1).
pub fn matches(filter: &str, topic: &str) -> bool {
    if is_reserved(topic) && !is_reserved(filter) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_the_examples_of_the_specification_4_7_1() {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/ranking",
                true,
            ),
            ("sport/#", "sport", true),
            ("#", "a/b/c", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("a/+/c", "a//c", true),
            ("a", "a/", false),
            ("a/", "a", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} against {topic}");
        }
    }

    #[test]
    fn a_leading_wildcard_does_not_match_a_topic_of_the_server_4_7_2_1() {
        assert!(!matches("#", "$SYS/broker/uptime"));
        assert!(!matches("+/broker/uptime", "$SYS/broker/uptime"));
        assert!(matches("$SYS/#", "$SYS/broker/uptime"));
        assert!(matches("$SYS/+/uptime", "$SYS/broker/uptime"));
    }

    #[test]
    fn misplaced_wildcards_make_no_filter_4_7_1_1_and_4_7_1_2() {
        for filter in ["", "a#", "#/a", "a/#/b", "a+", "+a", "a/b+/c", "\0", "a/+#"] {
            assert!(!is_filter(filter), "{filter:?}");
        }
        for filter in ["#", "+", "+/+/#", "/", "//", "a/+/b", "$SYS/#"] {
            assert!(is_filter(filter), "{filter:?}");
        }
    }

    #[test]
    fn a_name_has_no_wildcards_and_is_not_empty_3_3_2_2() {
        for name in ["", "a/+", "#", "a\0b"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name("/"));
        assert!(is_name("HOST->SUB/ä"));
    }

    #[test]
    fn a_share_needs_a_name_and_a_filter_4_8_2() {
        for text in [
            "$share",
            "$share/",
            "$share/g",
            "$share//a",
            "$share/+/a",
            "$share/g/",
            "$share/g#/a",
        ] {
            assert_eq!(subscribed(text), None, "{text:?}");
        }
        assert_eq!(
            subscribed("$share/g/a/+"),
            Some(Subscribed {
                share: Some("g"),
                filter: "a/+"
            })
        );
        assert_eq!(
            subscribed("$shared/a"),
            Some(Subscribed {
                share: None,
                filter: "$shared/a"
            })
        );
    }
}
