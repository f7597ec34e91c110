//! Chapters 4.3 to 4.5: quality of service, and what is sent again.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{self, BOTH, Connect, Packet, Publish, Version};

/// A session that outlives its connections, subscribed to `a`, and a client that publishes.
fn pair(broker: &Broker, version: Version) -> (Connect, Client, Client) {
    let connect = Connect::new(version, &format!("{version:?}")).persistent();
    let mut subscriber = broker.join(&connect);
    assert_eq!(subscriber.subscribe("a", 2), 2);
    let publisher = broker.join(&Connect::new(version, "publisher"));
    (connect, subscriber, publisher)
}

fn pubrel(packet_id: u16) -> Packet {
    Packet::Pubrel { packet_id, code: 0 }
}

#[test]
fn a_qos_1_publish_is_answered_by_puback_with_its_packet_id_4_3_2_4() {
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
fn a_qos_0_message_is_sent_without_dup_4_3_1_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (_, mut subscriber, mut publisher) = pair(&broker, version);
        publisher.publish("a", "x");
        let message = subscriber.message();
        assert_eq!((message.qos, message.dup), (0, false));
    }
}

#[test]
fn each_new_message_has_a_packet_id_of_its_own_4_3_2_1_and_4_3_3_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (_, mut subscriber, mut publisher) = pair(&broker, version);
        let mut seen = Vec::new();
        for number in 0..10 {
            let qos = 1 + number % 2;
            publisher.publish_acknowledged(Publish::new("a", "x").qos(qos, 0));
            let packet_id = subscriber.message().packet_id;
            assert!(packet_id != 0 && !seen.contains(&packet_id), "{seen:?}");
            seen.push(packet_id);
        }
    }
}

#[test]
fn a_new_message_has_its_qos_and_no_dup_flag_4_3_2_2_and_4_3_3_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (_, mut subscriber, mut publisher) = pair(&broker, version);
        for qos in [1, 2] {
            publisher.publish_acknowledged(Publish::new("a", "x").qos(qos, 0));
            let message = subscriber.message();
            assert_eq!((message.qos, message.dup), (qos, false));
        }
    }
}

#[test]
fn a_message_is_sent_again_with_dup_until_it_is_acknowledged_3_3_1_1_and_4_3_2_3_and_4_3_3_3_and_4_4_0_1()
 {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (connect, mut subscriber, mut publisher) = pair(&broker, version);
        for qos in [1, 2] {
            publisher.publish_acknowledged(Publish::new("a", "x").qos(qos, 0));
            let first = subscriber.message();
            for _ in 0..2 {
                drop(subscriber);
                subscriber = broker.join(&connect);
                let again = subscriber.message();
                assert_eq!((again.packet_id, again.dup), (first.packet_id, true));
            }
            if qos == 1 {
                subscriber.send(&packet::ack(0x40, first.packet_id));
            } else {
                subscriber.send(&packet::ack(0x50, first.packet_id));
                assert_eq!(subscriber.receive(), pubrel(first.packet_id));
                subscriber.send(&packet::ack(0x70, first.packet_id));
            }
            subscriber.ping();
            drop(subscriber);
            subscriber = broker.join(&connect);
            subscriber.ping();
        }
    }
}

#[test]
fn nothing_is_sent_again_while_the_connection_lasts_4_4_0_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (_, mut subscriber, mut publisher) = pair(&broker, version);
        publisher.publish_acknowledged(Publish::new("a", "x").qos(1, 0));
        subscriber.message();
        broker.let_time_pass();
        subscriber.ping();
    }
}

#[test]
fn an_acknowledged_packet_id_is_a_new_message_s_whatever_dup_says_4_3_2_5() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (_, mut subscriber, mut publisher) = pair(&broker, version);
        for (payload, dup) in [("one", false), ("two", true), ("three", false)] {
            publisher.send_publish(&Publish {
                dup,
                ..Publish::new("a", payload).qos(1, 7)
            });
            publisher.expect(|packet| {
                matches!(
                    packet,
                    Packet::Puback {
                        packet_id: 7,
                        code: 0
                    }
                )
            });
            assert_eq!(subscriber.text(), payload);
        }
    }
}

#[test]
fn pubrec_is_answered_by_pubrel_with_its_packet_id_4_3_3_4() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (_, mut subscriber, mut publisher) = pair(&broker, version);
        publisher.publish_acknowledged(Publish::new("a", "x").qos(2, 0));
        let packet_id = subscriber.message().packet_id;
        subscriber.send(&packet::ack(0x50, packet_id));
        assert_eq!(subscriber.receive(), pubrel(packet_id));
    }
}

#[test]
fn after_pubrec_only_pubrel_is_sent_again_until_pubcomp_4_3_3_5_and_4_3_3_6() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (connect, mut subscriber, mut publisher) = pair(&broker, version);
        publisher.publish_acknowledged(Publish::new("a", "x").qos(2, 0));
        let packet_id = subscriber.message().packet_id;
        subscriber.send(&packet::ack(0x50, packet_id));
        assert_eq!(subscriber.receive(), pubrel(packet_id));
        for _ in 0..2 {
            drop(subscriber);
            subscriber = broker.join(&connect);
            assert_eq!(subscriber.receive(), pubrel(packet_id));
            subscriber.ping();
        }
        subscriber.send(&packet::ack(0x70, packet_id));
        subscriber.ping();
        drop(subscriber);
        broker.join(&connect).ping();
    }
}

#[test]
fn a_qos_2_message_that_comes_again_is_passed_on_once_4_3_3_8_and_4_3_3_10() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (_, mut subscriber, mut publisher) = pair(&broker, version);
        for dup in [false, true, true] {
            publisher.send_publish(&Publish {
                dup,
                ..Publish::new("a", "once").qos(2, 7)
            });
            publisher.expect(|packet| {
                matches!(
                    packet,
                    Packet::Pubrec {
                        packet_id: 7,
                        code: 0
                    }
                )
            });
        }
        publisher.publish("a", "end");
        assert_eq!(subscriber.text(), "once");
        assert_eq!(subscriber.text(), "end");
    }
}

#[test]
fn a_released_packet_id_is_a_new_message_s_4_3_3_12() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (_, mut subscriber, mut publisher) = pair(&broker, version);
        for (payload, dup) in [("one", false), ("two", true)] {
            publisher.send_publish(&Publish {
                dup,
                ..Publish::new("a", payload).qos(2, 7)
            });
            publisher.expect(|packet| matches!(packet, Packet::Pubrec { packet_id: 7, .. }));
            publisher.send(&packet::ack(0x62, 7));
            publisher.expect(|packet| matches!(packet, Packet::Pubcomp { packet_id: 7, .. }));
            assert_eq!(subscriber.text(), payload);
        }
    }
}

#[test]
fn messages_are_kept_for_a_session_that_is_away_4_5_0_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (connect, subscriber, mut publisher) = pair(&broker, version);
        subscriber.disconnect();
        for qos in [1, 2] {
            publisher.publish_acknowledged(Publish::new("a", qos.to_string()).qos(qos, 0));
        }
        let mut subscriber = broker.join(&connect);
        assert_eq!(subscriber.text(), "1");
        assert_eq!(subscriber.text(), "2");
    }
}

#[test]
fn other_flags_of_pubrel_close_the_connection_3_6_1_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for first_byte in [0x60, 0x61, 0x63, 0x66, 0x6A] {
            let mut client = broker.join(&Connect::new(version, "a"));
            client.send_publish(&Publish::new("a", "x").qos(2, 1));
            client.expect(|packet| matches!(packet, Packet::Pubrec { .. }));
            client.send(&packet::ack(first_byte, 1));
            client.closed_because(0x81);
        }
    }
}
