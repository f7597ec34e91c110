//! Chapter 4.6: what keeps its order.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{self, BOTH, Connect, Packet, Publish};

/// The next message, past the PUBRELs of former ones, and answered to its end: more come than are sent at once.
fn answered(client: &mut Client) -> Publish {
    loop {
        match client.receive() {
            Packet::Pubrel { packet_id, .. } => client.send(&packet::ack(0x70, packet_id)),
            Packet::Publish(message) => {
                match message.qos {
                    1 => client.send(&packet::ack(0x40, message.packet_id)),
                    2 => client.send(&packet::ack(0x50, message.packet_id)),
                    _ => {}
                }
                return message;
            }
            other => panic!("neither a message nor a PUBREL: {other:?}"),
        }
    }
}

#[test]
fn the_order_of_a_publisher_and_topic_is_kept_4_6_0_5() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.subscribe("a", 2);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        for qos in 0..=2 {
            for number in 0..100 {
                let message = Publish::new("a", number.to_string()).qos(qos, 0);
                match qos {
                    0 => publisher.send_publish(&message),
                    _ => assert!(publisher.publish_acknowledged(message) < 0x80),
                }
            }
            for number in 0..100 {
                let message = answered(&mut client);
                let expected = (qos, number.to_string().into_bytes());
                assert_eq!((message.qos, message.payload), expected);
            }
        }
    }
}

#[test]
fn messages_are_sent_again_in_their_order_4_6_0_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = Connect::new(version, &format!("{version:?}")).persistent();
        let mut subscriber = broker.join(&connect);
        subscriber.subscribe("a", 2);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        for number in 0..10 {
            let message = Publish::new("a", number.to_string());
            publisher.publish_acknowledged(message.qos(1 + number % 2, 0));
        }
        let sent: Vec<_> = (0..10).map(|_| subscriber.message().packet_id).collect();
        drop(subscriber);
        let mut subscriber = broker.join(&connect);
        let again: Vec<_> = (0..10).map(|_| subscriber.message().packet_id).collect();
        assert_eq!(again, sent);
    }
}

#[test]
fn puback_and_pubrec_come_in_the_order_of_publish_4_6_0_2_and_4_6_0_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        let ids = [7, 3, 9, 1, 300, 2, 8, 5];
        for (place, packet_id) in ids.into_iter().enumerate() {
            let qos = 1 + place as u8 % 2;
            client.send_publish(&Publish::new("a", "x").qos(qos, packet_id));
        }
        let answered = ids.map(|_| match client.receive() {
            Packet::Puback { packet_id, .. } | Packet::Pubrec { packet_id, .. } => packet_id,
            other => panic!("expected an acknowledgement, got {other:?}"),
        });
        assert_eq!(answered, ids);
    }
}

#[test]
fn pubrel_comes_in_the_order_of_pubrec_4_6_0_4() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut subscriber = broker.join(&Connect::new(version, "a"));
        subscriber.subscribe("a", 2);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        for _ in 0..5 {
            publisher.publish_acknowledged(Publish::new("a", "x").qos(2, 0));
        }
        let mut ids: Vec<_> = (0..5).map(|_| subscriber.message().packet_id).collect();
        ids.swap(1, 3);
        for packet_id in &ids {
            subscriber.send(&packet::ack(0x50, *packet_id));
        }
        for packet_id in ids {
            assert_eq!(subscriber.receive(), Packet::Pubrel { packet_id, code: 0 });
        }
    }
}

#[test]
fn every_topic_is_an_ordered_topic_4_6_0_6() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut subscriber = broker.join(&Connect::new(version, "a"));
        subscriber.subscribe("#", 1);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        for number in 0..15 {
            let topic = ["one", "two/three", "four"][number % 3];
            let message = Publish::new(topic, number.to_string());
            publisher.publish_acknowledged(message.qos(1, 0));
        }
        for number in 0..15 {
            assert_eq!(subscriber.text(), number.to_string());
        }
    }
}
