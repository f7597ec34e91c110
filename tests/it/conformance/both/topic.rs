//! Chapter 4.7: topic names and topic filters.

use crate::conformance::raw::is_closed;
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{BOTH, Connect, subscribe, unsubscribe};

#[test]
fn filters_that_begin_with_a_wildcard_do_not_match_dollar_topics_4_7_2_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.subscribe("#", 0);
        client.subscribe("+/x", 0);
        client.publish("$mine/x", "x");
        client.publish("end", "end");
        assert_eq!(client.text(), "end");
    }
}

#[test]
fn topics_of_no_character_are_none_4_7_3_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.publish("", "x");
        // 5.0 has a topic of no character where an alias stands for it: to lack both is a protocol error.
        client.closed_because(0x82);
    }
}

#[test]
fn topics_with_the_null_character_are_none_4_7_3_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.publish("a\0b", "x");
        client.closed_because(0x81);
    }
}

/// The specifications leave open how a filter that is none is refused: it is malformed here, and no part of the SUBSCRIBE is granted.
#[test]
fn a_wildcard_out_of_its_place_makes_no_filter_4_7_1_1_and_4_7_1_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for filter in ["a#", "a/#/b", "#/a", "##", "a+", "+a", "a/b+/c", "a/++"] {
            is_closed(
                &broker,
                version,
                &subscribe(version, 1, &[("a", 0), (filter, 0)]),
                0x81,
            );
            is_closed(&broker, version, &unsubscribe(version, 1, &[filter]), 0x81);
        }
        let mut client = broker.join(&Connect::new(version, "a"));
        for filter in ["#", "a/#", "+", "+/+", "/+", "+/a/+/b/#"] {
            assert_eq!(client.subscribe(filter, 0), 0, "{filter}");
        }
    }
}

#[test]
fn a_topic_of_as_many_bytes_as_a_string_can_have_passes_4_7_3_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let topic = "t".repeat(65_535);
        let mut client = broker.join(&Connect::new(version, "a"));
        assert_eq!(client.subscribe(&topic, 0), 0);
        client.publish(&topic, "x");
        let message = client.message();
        assert_eq!((message.topic, message.payload), (topic, b"x".to_vec()));
    }
}

#[test]
fn topics_are_compared_as_they_are_4_7_3_4() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        // The same letter in two forms of Unicode, cases, levels without a character, spaces, a path.
        for filter in ["caf\u{E9}", "Topic", "a//b", "a b", "a/../b", "/a"] {
            client.subscribe(filter, 0);
        }
        for other in [
            "cafe\u{301}",
            "topic",
            "a/b",
            "a/b/",
            "ab",
            "a  b",
            "b",
            "a",
            "/a/",
        ] {
            client.publish(other, "not the same");
        }
        for topic in ["caf\u{E9}", "Topic", "a//b", "a b", "a/../b", "/a"] {
            client.publish(topic, topic);
            let message = client.message();
            assert_eq!(
                (&*message.topic, &*message.payload),
                (topic, topic.as_bytes())
            );
        }
    }
}
