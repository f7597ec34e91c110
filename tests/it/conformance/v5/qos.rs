//! Chapters 4.3, 4.4 and 4.9 of 5.0: refused messages, expiry of messages that are under way, flow control.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{self, Connect, Packet, Publish, Version, frame, property, subscribe};

const V5: Version = Version::V5;

/// An acknowledgement with this reason code.
fn refusal(first_byte: u8, packet_id: u16, code: u8) -> Vec<u8> {
    let [high, low] = packet_id.to_be_bytes();
    frame(first_byte, &[high, low, code])
}

/// A message that expires after a second.
fn brief(qos: u8, packet_id: u16) -> Publish {
    let interval = 1u32.to_be_bytes().to_vec();
    Publish {
        properties: vec![(property::MESSAGE_EXPIRY_INTERVAL, interval)],
        ..Publish::new("a", "brief").qos(qos, packet_id)
    }
}

#[test]
fn a_message_that_was_sent_does_not_expire_any_more_4_3_3_7() {
    let broker = Broker::start(LOCAL);
    let connect = Connect::new(V5, "a").persistent();
    let mut subscriber = broker.join(&connect);
    subscriber.subscribe("a", 2);
    let mut publisher = broker.join(&Connect::new(V5, "publisher"));
    publisher.publish_acknowledged(brief(2, 0));
    let packet_id = subscriber.message().packet_id;
    broker.let_time_pass();
    drop(subscriber);
    let mut subscriber = broker.join(&connect);
    let again = subscriber.message();
    assert_eq!((again.packet_id, again.dup), (packet_id, true));
    subscriber.send(&packet::ack(0x50, packet_id));
    assert_eq!(subscriber.receive(), Packet::Pubrel { packet_id, code: 0 });
}

#[test]
fn a_refused_packet_id_is_a_new_message_s_4_3_3_9() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(V5, "a"));
    client.subscribe("a", 0);
    client.send_publish(&Publish::new("$SYS/denied", "x").qos(2, 7));
    client
        .expect(|packet| matches!(packet, Packet::Pubrec { packet_id: 7, code } if *code >= 0x80));
    client.send_publish(&Publish::new("a", "new").qos(2, 7));
    let packets = [client.receive(), client.receive()];
    assert!(
        packets.contains(&Packet::Pubrec {
            packet_id: 7,
            code: 0
        }),
        "{packets:?}"
    );
    assert!(
        packets.contains(&Packet::Publish(Publish::new("a", "new"))),
        "{packets:?}"
    );
}

#[test]
fn a_qos_2_exchange_goes_on_after_the_message_has_expired_4_3_3_13() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(V5, "a"));
    client.send_publish(&brief(2, 7));
    client.expect(|packet| matches!(packet, Packet::Pubrec { packet_id: 7, .. }));
    broker.let_time_pass();
    client.send_publish(&brief(2, 7));
    client.expect(|packet| matches!(packet, Packet::Pubrec { packet_id: 7, .. }));
    client.send(&packet::ack(0x62, 7));
    assert_eq!(
        client.receive(),
        Packet::Pubcomp {
            packet_id: 7,
            code: 0
        }
    );
}

#[test]
fn a_message_that_was_refused_is_not_sent_again_4_4_0_2() {
    let broker = Broker::start(LOCAL);
    let connect = Connect::new(V5, "a").persistent();
    let mut publisher = broker.join(&Connect::new(V5, "publisher"));
    for (qos, first_byte) in [(1, 0x40), (2, 0x50)] {
        let mut subscriber = broker.join(&connect);
        subscriber.subscribe("a", 2);
        publisher.publish_acknowledged(Publish::new("a", "x").qos(qos, 0));
        let packet_id = subscriber.message().packet_id;
        subscriber.send(&refusal(first_byte, packet_id, 0x83));
        subscriber.ping();
        drop(subscriber);
        broker.join(&connect).ping();
    }
}

#[test]
fn no_more_than_the_receive_maximum_is_under_way_and_all_else_goes_on_3_3_4_9_and_3_3_4_10_and_4_9_0_1_and_4_9_0_2_and_4_9_0_3()
 {
    let broker = Broker::start(LOCAL);
    for maximum in [1u16, 3] {
        let mut connect = Connect::new(V5, "a");
        let bytes = maximum.to_be_bytes().to_vec();
        connect.properties.push((property::RECEIVE_MAXIMUM, bytes));
        let mut subscriber = broker.join(&connect);
        subscriber.subscribe("a", 2);
        subscriber.subscribe("plain", 0);
        let mut publisher = broker.join(&Connect::new(V5, "publisher"));
        for number in 0..6u8 {
            let message = Publish::new("a", number.to_string());
            publisher.publish_acknowledged(message.qos(1 + number % 2, 0));
        }
        let mut open: Vec<_> = (0..maximum).map(|_| subscriber.message()).collect();
        // The quota is used up: answers and QoS 0 messages come all the same.
        subscriber.ping();
        subscriber.send(&subscribe(V5, 99, &[("more", 0)]));
        subscriber.expect(|packet| matches!(packet, Packet::Suback { packet_id: 99, .. }));
        publisher.publish("plain", "plain");
        assert_eq!(subscriber.text(), "plain");
        for number in 0..6u8 {
            let message = open.remove(0);
            assert_eq!(message.payload, number.to_string().as_bytes());
            let packet_id = message.packet_id;
            if message.qos == 1 {
                subscriber.send(&packet::ack(0x40, packet_id));
            } else {
                subscriber.send(&packet::ack(0x50, packet_id));
                assert_eq!(subscriber.receive(), Packet::Pubrel { packet_id, code: 0 });
                subscriber.send(&packet::ack(0x70, packet_id));
            }
            if usize::from(number) + usize::from(maximum) < 6 {
                open.push(subscriber.message());
            }
            subscriber.ping();
        }
    }
}

#[test]
fn a_client_that_exceeds_the_receive_maximum_is_closed_3_3_4_7() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(V5, "a"));
    let connack = client.connack.clone().expect("the client has joined");
    let maximum = connack.property(property::RECEIVE_MAXIMUM);
    let maximum = maximum.map_or(65_535, |value| u16::from_be_bytes([value[0], value[1]]));
    for packet_id in 1..=maximum {
        client.send_publish(&Publish::new("a", "x").qos(2, packet_id));
        client.expect(|packet| matches!(packet, Packet::Pubrec { .. }));
    }
    client.send_publish(&Publish::new("a", "x").qos(2, maximum + 1));
    client.closed_because(0x93);
}
