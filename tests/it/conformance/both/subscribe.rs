//! Chapters 3.8 to 3.11: SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK.

use crate::conformance::raw::{is_closed, too_deep};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{
    self, BOTH, Connect, Packet, Publish, Version, subscribe, unsubscribe,
};

#[test]
fn other_flags_of_subscribe_close_the_connection_3_8_1_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut bytes = subscribe(version, 1, &[("a", 0)]);
        bytes[0] = 0x80;
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send(&bytes);
        client.closed_because(0x81);
    }
}

#[test]
fn a_subscribe_without_filters_closes_the_connection_3_8_3_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send(&subscribe(version, 1, &[]));
        client.closed_because(0x82);
    }
}

#[test]
fn a_subscribe_is_answered_with_its_packet_id_3_8_4_1_and_3_8_4_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send(&subscribe(version, 4711, &[("a", 1)]));
        assert_eq!(
            client.receive(),
            Packet::Suback {
                packet_id: 4711,
                codes: vec![1]
            }
        );
    }
}

#[test]
fn an_equal_filter_replaces_the_subscription_and_sends_retained_messages_again_3_8_4_3_and_3_8_4_4()
{
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send_publish(&Publish::new("a", "kept").retained());
        client.subscribe("a", 0);
        assert_eq!(client.text(), "kept");
        client.subscribe("a", 0);
        assert_eq!(client.text(), "kept");
        client.publish("a", "once");
        client.publish("a", "end");
        assert_eq!(
            (client.text(), client.text()),
            ("once".into(), "end".into())
        );
    }
}

#[test]
fn an_unsubscribe_without_filters_closes_the_connection_3_10_3_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send(&unsubscribe(version, 1, &[]));
        client.closed_because(0x82);
    }
}

#[test]
fn an_unsubscribe_of_nothing_is_answered_too_3_10_4_4_and_3_10_4_5() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send(&unsubscribe(version, 9, &["never/subscribed"]));
        // 0x11: no subscription existed; 3.1.1 has no codes here.
        let codes = if version == Version::V5 {
            vec![0x11]
        } else {
            vec![]
        };
        assert_eq!(
            client.receive(),
            Packet::Unsuback {
                packet_id: 9,
                codes
            }
        );
    }
}

#[test]
fn several_filters_are_answered_in_one_suback_in_their_order_3_8_4_5_and_3_8_4_6_and_3_9_3_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        let filters = [("a", 2), ("b", 0), (&*too_deep(), 0), ("c", 1)];
        client.send(&subscribe(version, 5, &filters));
        let Packet::Suback { packet_id, codes } = client.receive() else {
            panic!("expected SUBACK");
        };
        assert_eq!((packet_id, codes.len()), (5, 4));
        assert_eq!((codes[0], codes[1], codes[3]), (2, 0, 1));
        assert!(codes[2] >= 0x80, "a filter that is not granted: {codes:?}");
        for topic in ["a", "b", "c"] {
            client.publish(topic, topic);
            assert_eq!(client.text(), topic);
        }
    }
}

#[test]
fn the_code_of_suback_is_the_qos_that_holds_3_8_4_7_and_3_8_4_8() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        for granted in 0..=2 {
            let mut client = broker.join(&Connect::new(version, "a"));
            assert_eq!(client.subscribe("a", granted), granted);
            for qos in 0..=2 {
                let message = Publish::new("a", "x");
                if qos == 0 {
                    publisher.send_publish(&message);
                } else {
                    publisher.publish_acknowledged(message.qos(qos, 0));
                }
                assert_eq!(client.message().qos, qos.min(granted));
            }
        }
    }
}

#[test]
fn other_flags_of_unsubscribe_close_the_connection_3_10_1_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for first in [0xA0, 0xA1, 0xA3, 0xAA] {
            let mut bytes = unsubscribe(version, 1, &["a"]);
            bytes[0] = first;
            is_closed(&broker, version, &bytes, 0x81);
        }
    }
}

#[test]
fn a_filter_is_removed_by_the_same_characters_only_3_10_4_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.subscribe("a/+", 0);
        for other in ["a/b", "a/#", "#", "A/+", "a/+/"] {
            client.unsubscribe(other);
        }
        client.publish("a/b", "still");
        assert_eq!(client.text(), "still");
        client.unsubscribe("a/+");
        client.publish("a/b", "no longer");
        client.ping();
    }
}

#[test]
fn nothing_new_comes_after_an_unsubscribe_3_10_4_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.subscribe("a", 1);
        client.unsubscribe("a");
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.publish_acknowledged(Publish::new("a", "x").qos(1, 0));
        client.ping();
    }
}

#[test]
fn what_was_begun_before_an_unsubscribe_is_carried_through_3_10_4_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.subscribe("a", 2);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.publish_acknowledged(Publish::new("a", "x").qos(2, 0));
        let message = client.message();
        client.unsubscribe("a");
        client.send(&packet::ack(0x50, message.packet_id));
        client.expect(
            |packet| matches!(packet, Packet::Pubrel { packet_id, code: 0 } if *packet_id == message.packet_id),
        );
    }
}

#[test]
fn several_filters_are_removed_and_answered_in_one_unsuback_3_10_4_6() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send(&subscribe(version, 1, &[("a", 0), ("b", 0), ("c", 0)]));
        client.expect(|packet| matches!(packet, Packet::Suback { .. }));
        client.send(&unsubscribe(version, 2, &["a", "c"]));
        client.expect(|packet| matches!(packet, Packet::Unsuback { packet_id: 2, .. }));
        for topic in ["a", "b", "c"] {
            client.publish(topic, topic);
        }
        assert_eq!(client.text(), "b");
        client.ping();
    }
}
