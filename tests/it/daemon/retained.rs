//! Retained messages: kept for who comes later, replaced, and cleared.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{BOTH, Connect, Publish, Version};

#[test]
fn a_retained_message_waits_for_subscribers() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.send_publish(&Publish::new("state/lamp", "on").retained());
        publisher.ping();
        for filter in ["state/lamp", "state/+", "#"] {
            let mut late = broker.join(&Connect::new(version, "late"));
            late.subscribe(filter, 0);
            assert_eq!(
                late.message(),
                Publish::new("state/lamp", "on").retained(),
                "{filter}"
            );
            late.disconnect();
        }
        publisher.disconnect();
    }
}

#[test]
fn who_is_subscribed_already_gets_it_as_a_live_message() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "client"));
        client.subscribe("live", 0);
        client.send_publish(&Publish::new("live", "now").retained());
        assert_eq!(client.message(), Publish::new("live", "now"));
        client.send_publish(&Publish::new("live", "").retained());
        assert_eq!(client.message(), Publish::new("live", ""));
        client.disconnect();
    }
}

#[test]
fn the_last_retained_message_of_a_topic_replaces_the_one_before() {
    let broker = Broker::start(LOCAL);
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    for text in ["one", "two", "three"] {
        publisher.publish_acknowledged(Publish::new("a", text).qos(1, 0).retained());
    }
    let mut late = broker.join(&Connect::new(Version::V5, "late"));
    late.subscribe("a", 1);
    let message = late.message();
    assert_eq!(
        (message.payload.as_slice(), message.qos, message.retain),
        (&b"three"[..], 1, true)
    );
}

#[test]
fn an_empty_retained_message_clears_the_topic() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for qos in 0..=2 {
            let mut publisher = broker.join(&Connect::new(version, "publisher"));
            publisher.send_publish(&Publish::new("a", "gone soon").retained());
            publisher.send_publish(&Publish::new("b", "stays").retained());
            let empty = Publish::new("a", "").qos(qos, 0).retained();
            match qos {
                0 => publisher.send_publish(&empty),
                // 0x10 says that nobody was subscribed.
                _ => assert!(publisher.publish_acknowledged(empty) <= 0x10),
            }
            publisher.ping();
            let mut late = broker.join(&Connect::new(version, "late"));
            late.subscribe("#", 0);
            assert_eq!(late.message().topic, "b", "{version:?} at QoS {qos}");
            publisher.publish("end", "");
            assert_eq!(late.message().topic, "end");
            late.disconnect();
            publisher.disconnect();
        }
    }
}

#[test]
fn subscribing_again_sends_the_retained_messages_again() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "client"));
        client.send_publish(&Publish::new("a", "kept").retained());
        for _ in 0..3 {
            client.subscribe("a", 0);
            assert_eq!(client.message(), Publish::new("a", "kept").retained());
        }
        client.disconnect();
    }
}

#[test]
fn a_thousand_retained_messages_reach_a_new_subscriber() {
    let broker = Broker::start(LOCAL);
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    for number in 0..1000 {
        publisher.send_publish(&Publish::new(&format!("many/{number}"), "x").retained());
    }
    publisher.ping();
    let mut late = broker.join(&Connect::new(Version::V5, "late"));
    late.subscribe("many/+", 0);
    let mut topics: Vec<String> = (0..1000).map(|_| late.message().topic).collect();
    topics.sort_unstable();
    topics.dedup();
    assert_eq!(topics.len(), 1000);
}
