//! Statements that 3.1.1 and 5.0 share, by 5.0's number where the two differ. `closed_because` knows that only 5.0 tells a reason.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{
    self, BOTH, Connect, Packet, Publish, Version, frame, put_string, subscribe, unsubscribe,
};

#[test]
fn the_first_packet_must_be_connect_3_1_0_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.dial();
        client.send(&Publish::new("a", "x").encode(version));
        client.refused();
    }
}

#[test]
fn second_connect_closes_the_connection_3_1_0_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = broker.as_local(&Connect::new(version, "twice"));
        let mut client = broker.join(&connect);
        client.send(&connect.encode());
        client.closed_because(0x82);
    }
}

#[test]
fn the_reserved_flag_of_connect_closes_the_connection_3_1_2_3() {
    let broker = Broker::start(LOCAL);
    for (version, level) in [(Version::V311, 4), (Version::V5, 5)] {
        let connect = broker.as_local(&Connect::new(version, "a"));
        let mut client = broker.dial();
        client.send(&connect.encode_as(b"MQTT", level, connect.flags() | 1));
        client.refused();
    }
}

#[test]
fn the_will_is_published_when_the_connection_is_lost_3_1_2_8() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("will", 0);
        drop(broker.join(&Connect::new(version, "mortal").will("will", "gone")));
        assert_eq!(watcher.text(), "gone");
    }
}

#[test]
fn the_will_is_discarded_at_disconnect_3_1_2_10() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("will", 0);
        broker
            .join(&Connect::new(version, "mortal").will("will", "gone"))
            .disconnect();
        watcher.publish("will", "end");
        assert_eq!(watcher.text(), "end");
    }
}

#[test]
fn a_will_of_qos_3_is_refused_3_1_2_12() {
    let broker = Broker::start(LOCAL);
    for (version, level) in [(Version::V311, 4), (Version::V5, 5)] {
        let connect = broker
            .as_local(&Connect::new(version, "a"))
            .will("will", "x");
        let mut client = broker.dial();
        client.send(&connect.encode_as(b"MQTT", level, connect.flags() | 0x18));
        client.refused();
    }
}

#[test]
fn a_will_is_retained_when_its_flag_says_so_3_1_2_15() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for retain in [false, true] {
            let mut watcher = broker.join(&Connect::new(version, "watcher"));
            watcher.send_publish(&Publish::new("will", "").retained());
            watcher.ping();
            watcher.subscribe("will", 0);
            let mut connect = Connect::new(version, "mortal").will("will", "gone");
            connect.will.as_mut().expect("the will was just set").retain = retain;
            drop(broker.join(&connect));
            assert!(!watcher.message().retain, "a live message");
            watcher.subscribe("end", 0);
            watcher.subscribe("will", 0);
            watcher.publish("end", "end");
            assert_eq!(watcher.message().topic == "will", retain);
        }
    }
}

#[test]
fn the_client_id_is_utf_8_3_1_3_4() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut connect = broker.as_local(&Connect::new(version, ""));
        connect.client_id = b"\xFF\xFE".to_vec();
        let mut client = broker.dial();
        client.send(&connect.encode());
        client.refused();
    }
}

#[test]
fn client_ids_of_letters_and_digits_up_to_23_bytes_are_allowed_3_1_3_5() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for id in [
            "0123456789abcdefghijklm",
            "nopqrstuvwxyzABCDEFGHIJ",
            "KLMNOPQRSTUVWXYZ",
        ] {
            broker.join(&Connect::new(version, id)).disconnect();
        }
    }
}

#[test]
fn a_session_is_present_only_where_one_is_3_2_2_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = Connect::new(version, &format!("{version:?}")).persistent();
        for present in [false, true, true] {
            let client = broker.join(&connect);
            assert_eq!(
                client
                    .connack
                    .as_ref()
                    .expect("the client has joined")
                    .session_present,
                present
            );
            client.disconnect();
        }
    }
}

#[test]
fn a_publish_of_qos_3_closes_the_connection_3_3_1_4() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send_publish(&Publish::new("a", "x").qos(3, 1));
        assert!(client.closed().len() <= 1);
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
        client.closed();
    }
}

#[test]
fn a_topic_name_with_wildcards_closes_the_connection_3_3_2_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for topic in ["a/+", "a/#", "+", "#"] {
            let mut client = broker.join(&Connect::new(version, "a"));
            client.publish(topic, "x");
            client.closed();
        }
    }
}

#[test]
fn a_qos_1_publish_is_answered_by_puback_with_its_packet_id_3_3_4_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        for packet_id in [1, 255, 256, 65_535] {
            client.send_publish(&Publish::new("a", "x").qos(1, packet_id));
            client.expect(
                |packet| matches!(packet, Packet::Puback { packet_id: id, .. } if *id == packet_id),
            );
        }
    }
}

#[test]
fn a_packet_id_of_0_closes_the_connection_2_2_1_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let wrong = [
            Publish::new("a", "x").qos(1, 0).encode(version),
            Publish::new("a", "x").qos(2, 0).encode(version),
            subscribe(version, 0, &[("a", 0)]),
            unsubscribe(version, 0, &["a"]),
        ];
        for bytes in wrong {
            let mut client = broker.join(&Connect::new(version, "a"));
            client.send(&bytes);
            assert!(
                client
                    .closed()
                    .iter()
                    .all(|packet| matches!(packet, Packet::Disconnect { .. }))
            );
        }
    }
}

#[test]
fn the_flags_of_subscribe_are_2_3_8_1_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut bytes = subscribe(version, 1, &[("a", 0)]);
        bytes[0] = 0x80;
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send(&bytes);
        client.closed();
    }
}

#[test]
fn a_subscribe_without_filters_closes_the_connection_3_8_3_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send(&subscribe(version, 1, &[]));
        client.closed();
    }
}

#[test]
fn a_subscribe_is_answered_with_its_packet_id_3_8_4_2() {
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
fn an_equal_filter_replaces_the_subscription_and_sends_retained_messages_again_3_8_4_3() {
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
        client.closed();
    }
}

#[test]
fn an_unsubscribe_of_nothing_is_answered_too_3_10_4_5() {
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
fn a_ping_is_answered_3_12_4_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.ping();
        client.ping();
    }
}

#[test]
fn a_pubrel_is_answered_by_pubcomp_4_3_3_11() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send_publish(&Publish::new("a", "x").qos(2, 3));
        client.expect(|packet| matches!(packet, Packet::Pubrec { packet_id: 3, .. }));
        client.send(&packet::ack(0x62, 3));
        client.expect(|packet| matches!(packet, Packet::Pubcomp { packet_id: 3, .. }));
    }
}

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
        client.closed();
    }
}

#[test]
fn topics_with_the_null_character_are_none_4_7_3_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.publish("a\0b", "x");
        client.closed();
    }
}

#[test]
fn the_order_of_a_publisher_and_topic_is_kept_4_6_0_5() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.subscribe("a", 0);
        for number in 0..100 {
            client.publish("a", &number.to_string());
        }
        for number in 0..100 {
            assert_eq!(client.text(), number.to_string());
        }
    }
}

#[test]
fn a_string_that_reaches_past_its_packet_closes_the_connection_4_13_1_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        let mut body = Vec::new();
        put_string(&mut body, b"topic");
        body[1] = 200;
        client.send(&frame(0x30, &body));
        client.closed();
    }
}
