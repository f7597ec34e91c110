//! Chapter 3.3: PUBLISH and retained messages.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{BOTH, Connect, Packet, Publish, subscribe};

#[test]
fn a_publish_of_qos_3_closes_the_connection_3_3_1_4() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send_publish(&Publish::new("a", "x").qos(3, 1));
        client.closed_because(0x81);
    }
}

#[test]
fn dup_at_qos_0_closes_the_connection_3_3_1_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send_publish(&Publish {
            dup: true,
            ..Publish::new("a", "x")
        });
        client.closed_because(0x81);
    }
}

#[test]
fn a_topic_name_with_wildcards_closes_the_connection_3_3_2_2_and_4_7_0_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for topic in ["a/+", "a/#", "+", "#"] {
            let mut client = broker.join(&Connect::new(version, "a"));
            client.publish(topic, "x");
            client.closed_because(0x81);
        }
    }
}

#[test]
fn the_dup_flag_of_a_publisher_is_not_passed_on_3_3_1_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.subscribe("a", 2);
        for (qos, packet_id) in [(1, 1), (2, 2)] {
            client.send_publish(&Publish {
                dup: true,
                ..Publish::new("a", "x").qos(qos, packet_id)
            });
            let message = loop {
                if let Packet::Publish(message) = client.receive() {
                    break message;
                }
            };
            assert_eq!((message.qos, message.dup), (qos, false));
            client.ping_past_messages();
        }
    }
}

#[test]
fn the_last_retained_message_takes_the_place_of_the_former_3_3_1_5() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for qos in [0, 1, 2] {
            let mut client = broker.join(&Connect::new(version, "a"));
            for payload in ["former", "latter"] {
                let message = Publish::new("kept", payload).retained();
                if qos == 0 {
                    client.send_publish(&message);
                } else {
                    client.publish_acknowledged(message.qos(qos, 0));
                }
            }
            client.subscribe("kept", 2);
            let message = client.message();
            assert_eq!(message.payload, b"latter");
            assert_eq!((message.retain, message.qos), (true, qos));
        }
    }
}

#[test]
fn an_empty_retained_message_is_delivered_and_not_kept_3_3_1_6_and_3_3_1_7() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send_publish(&Publish::new("kept", "x").retained());
        client.subscribe("kept", 0);
        assert_eq!(client.text(), "x");
        client.send_publish(&Publish::new("kept", "").retained());
        assert_eq!(client.text(), "");
        client.unsubscribe("kept");
        client.subscribe("kept", 0);
        client.publish("kept", "live");
        assert_eq!(client.text(), "live");
    }
}

#[test]
fn a_message_without_the_flag_touches_nothing_retained_3_3_1_8() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send_publish(&Publish::new("kept", "x").retained());
        client.publish("kept", "y");
        client.publish("kept", "");
        client.publish("not/kept", "z");
        client.subscribe("not/kept", 0);
        client.subscribe("kept", 0);
        assert_eq!(client.text(), "x");
        client.ping();
    }
}

#[test]
fn an_established_subscription_gets_the_flag_cleared_3_3_1_12() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.subscribe("live", 0);
        client.send_publish(&Publish::new("live", "x").retained());
        assert!(!client.message().retain);
        client.send_publish(&Publish::new("live", "").retained());
        assert!(!client.message().retain);
    }
}

#[test]
fn every_message_matches_a_filter_of_its_receiver_3_3_2_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.subscribe("a/+/c", 0);
        client.subscribe("d/#", 0);
        let topics = [
            "a/b/c", "a/b", "a/b/c/d", "b/b/c", "d", "d/e/f", "dd", "a//c", "e",
        ];
        for topic in topics {
            client.publish(topic, topic);
        }
        for topic in ["a/b/c", "d", "d/e/f", "a//c"] {
            let message = client.message();
            assert_eq!(message.topic, topic);
            assert_eq!(message.payload, topic.as_bytes());
        }
        client.ping();
    }
}

#[test]
fn each_quality_of_service_has_its_answer_3_3_4_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.publish("a", "not answered");
        client.ping();
        client.send_publish(&Publish::new("a", "x").qos(1, 1));
        client.expect(|packet| matches!(packet, Packet::Puback { packet_id: 1, .. }));
        client.send_publish(&Publish::new("a", "x").qos(2, 2));
        client.expect(|packet| matches!(packet, Packet::Pubrec { packet_id: 2, .. }));
    }
}

#[test]
fn overlapping_subscriptions_give_the_highest_qos_3_3_4_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send(&subscribe(
            version,
            1,
            &[("a/#", 0), ("a/b", 2), ("+/b", 1)],
        ));
        client.expect(|packet| matches!(packet, Packet::Suback { .. }));
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.publish_acknowledged(Publish::new("a/b", "x").qos(2, 0));
        assert_eq!(client.message().qos, 2);
        client.ping();
    }
}
