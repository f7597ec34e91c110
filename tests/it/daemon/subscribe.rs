//! Topic filters with and without wildcards, and the end of a subscription.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{self, BOTH, Connect, Packet, Publish, Version};

/// Filter, topic, whether it matches.
const CASES: [(&str, &str, bool); 22] = [
    ("a/b", "a/b", true),
    ("a/b", "a/b/", false),
    ("a/b", "A/b", false),
    ("+", "a", true),
    ("+", "/a", false),
    ("+/+", "/a", true),
    ("/+", "/a", true),
    ("a/+/c", "a/b/c", true),
    ("a/+/c", "a//c", true),
    ("a/+/c", "a/b/b/c", false),
    ("a/+", "a", false),
    ("a/+", "a/", true),
    ("#", "a/b/c", true),
    ("#", "/", true),
    ("a/#", "a", true),
    ("a/#", "a/b/c", true),
    ("a/#", "ab", false),
    ("a/+/#", "a/b", true),
    ("a/+/#", "a", false),
    ("#", "$private/a", false),
    ("+/a", "$private/a", false),
    ("$private/#", "$private/a", true),
];

#[test]
fn a_filter_gets_the_topics_that_it_matches_and_no_others() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        for (filter, topic, matches) in CASES {
            let mut subscriber = broker.join(&Connect::new(version, "subscriber"));
            assert_eq!(subscriber.subscribe(filter, 0), 0, "{filter}");
            assert_eq!(subscriber.subscribe("end", 0), 0);
            publisher.publish(topic, "x");
            publisher.publish("end", "x");
            let first = subscriber.message().topic;
            let expected = if matches { topic } else { "end" };
            assert_eq!(first, expected, "{filter} gets {topic}: {matches}");
            subscriber.disconnect();
        }
    }
}

#[test]
fn one_subscribe_may_hold_several_filters_and_each_is_answered_in_its_place() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "client"));
        client.send(&packet::subscribe(
            version,
            9,
            &[("a", 2), ("b", 0), ("c/#", 1)],
        ));
        assert_eq!(
            client.receive(),
            Packet::Suback {
                packet_id: 9,
                codes: vec![2, 0, 1]
            }
        );
        for topic in ["c/d", "b", "a"] {
            client.publish(topic, topic);
            assert_eq!(client.text(), topic);
        }
    }
}

#[test]
fn an_unsubscribed_filter_gets_nothing_more() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "client"));
        client.subscribe("a/+", 0);
        client.subscribe("end", 0);
        client.unsubscribe("a/+");
        client.publish("a/b", "late");
        client.publish("end", "end");
        assert_eq!(client.text(), "end");
    }
}

#[test]
fn a_client_gets_what_it_last_asked_for() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "client"));
        assert_eq!(client.subscribe("a", 2), 2);
        assert_eq!(client.subscribe("a", 0), 0);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.publish_acknowledged(Publish::new("a", "x").qos(1, 0));
        publisher.publish_acknowledged(Publish::new("a", "y").qos(1, 0));
        assert_eq!(client.message(), Publish::new("a", "x"));
        assert_eq!(client.message(), Publish::new("a", "y"));
        publisher.disconnect();
    }
}

#[test]
fn the_subscriptions_of_one_client_do_not_end_those_of_another() {
    let broker = Broker::start(LOCAL);
    let mut first = broker.join(&Connect::new(Version::V311, "first"));
    let mut second = broker.join(&Connect::new(Version::V5, "second"));
    first.subscribe("a/#", 0);
    second.subscribe("a/#", 0);
    first.unsubscribe("a/#");
    second.publish("a/b", "still");
    assert_eq!(second.text(), "still");
    first.disconnect();
    second.publish("a/b", "and still");
    assert_eq!(second.text(), "and still");
}
