//! Topic filters and the patterns of rules, against a naive matcher and against what each promises of the other.

use fosquitto::acl::{Pattern, covers, matches};
use fosquitto::fuzzing::matches_naively;
use fosquitto::mqtt::topic;

/// Three texts between line ends: a filter, another one and a topic name.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut texts = text.split('\n');
    let mut next = || texts.next().unwrap_or_default();
    let (filter, other, name) = (next(), next(), next());
    // Of malformed texts they say something, but do not fail.
    let is_covered = covers(filter, other);
    let is_matched = matches(filter, name);
    let pattern = Pattern::new(filter);
    assert!(pattern.is_err() || topic::is_filter(filter));
    if let Ok(pattern) = &pattern {
        let substituted = pattern.substituted(Some(other), name);
        if let Some(substituted) = &substituted {
            assert!(Pattern::new(substituted).is_ok() || substituted.contains('%'));
            assert!(topic::is_filter(substituted) || substituted.len() > topic::TOPIC_BYTES_MAX);
            assert_eq!(
                substituted.matches('/').count(),
                filter.matches('/').count()
            );
            assert_eq!(
                topic::has_wildcard(substituted),
                topic::has_wildcard(filter)
            );
        }
    }
    if let Some(subscribed) = topic::subscribed(filter) {
        assert!(topic::is_filter(subscribed.filter));
        assert_eq!(subscribed.share.is_some(), topic::is_shared(filter));
    }
    if !topic::is_filter(filter) || !topic::is_name(name) {
        return;
    }
    assert_eq!(is_matched, matches_naively(filter, name));
    if is_matched {
        assert!(topic::has_wildcard(filter) || filter == name);
    }
    assert_eq!(
        covers(filter, name),
        is_matched,
        "a name is the filter of itself"
    );
    if topic::is_filter(other) {
        // Whoever may subscribe to `other` because of `filter` gets nothing that `filter` does not match.
        assert!(!(is_covered && matches_naively(other, name)) || is_matched);
    }
}
