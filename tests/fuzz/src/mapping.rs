//! What a bridge forwards: a mapping that is read gives topics that are topics, and gives back what it took.

use fosquitto::bridge::mapping::Mappings;
use fosquitto::config::Mapping;
use fosquitto::config::bridge::topic::{overlap, wandering};
use fosquitto::mqtt::topic::{is_filter, is_name, is_reserved, matches};

/// Mappings between line ends; the last line is a topic.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some((lines, name)) = text.rsplit_once('\n') else {
        return;
    };
    let mappings: Vec<Mapping> = lines
        .split('\n')
        .filter_map(|line| Mapping::parse(line).ok())
        .take(8)
        .collect();
    for mapping in &mappings {
        let (local, remote) = (mapping.local_filter(), mapping.remote_filter());
        assert!(is_filter(&local) && is_filter(&remote));
        if is_name(name) && matches(&local, name) {
            assert!(overlap(&local, name), "a name is the filter of itself");
        }
    }
    let _ = wandering(&mappings);
    let all = Mappings::new(&mappings);
    let both = [all.to_remote(name), all.to_local(name)];
    assert!(both.iter().flatten().all(|topic| is_name(topic)));
    let [mapping] = &mappings[..] else { return };
    // Below a prefix a topic may begin with $, which no filter that begins with a wildcard matches on the other side.
    // Nothing here is called by an empty topic.
    if is_name(name)
        && mapping.direction.is_in()
        && let Some(there) = all.to_remote(name)
        && is_reserved(&there) == is_reserved(&mapping.remote_filter())
    {
        assert_eq!(all.to_local(&there).as_deref(), Some(name), "{mapping:?}");
    }
}
