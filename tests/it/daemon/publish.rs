//! Messages from one client to another: every quality of service, every pair of versions, in order and exactly once.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{self, BOTH, Connect, Packet, Publish, Version, property};

/// Takes a message and acknowledges it to the end, as its quality of service asks.
fn take(client: &mut Client) -> Publish {
    let publish = client.message();
    let packet_id = publish.packet_id;
    match publish.qos {
        0 => {}
        1 => client.send(&packet::ack(0x40, packet_id)),
        _ => {
            client.send(&packet::ack(0x50, packet_id));
            assert_eq!(client.receive(), Packet::Pubrel { packet_id, code: 0 });
            client.send(&packet::ack(0x70, packet_id));
        }
    }
    publish
}

#[test]
fn a_message_arrives_at_the_lower_of_both_qualities_of_service() {
    let broker = Broker::start(LOCAL);
    for from in BOTH {
        for to in BOTH {
            let mut publisher = broker.join(&Connect::new(from, "publisher"));
            let mut subscriber = broker.join(&Connect::new(to, "subscriber"));
            for granted in 0..=2 {
                assert_eq!(subscriber.subscribe("a/b", granted), granted);
                for sent in 0..=2 {
                    let text = format!("{from:?} {to:?} {sent} {granted}");
                    let message = Publish::new("a/b", &text).qos(sent, 0);
                    match sent {
                        0 => publisher.send_publish(&message),
                        _ => assert_eq!(publisher.publish_acknowledged(message), 0),
                    }
                    let got = take(&mut subscriber);
                    assert_eq!(
                        (got.topic.as_str(), got.payload.as_slice()),
                        ("a/b", text.as_bytes())
                    );
                    assert_eq!(
                        (got.qos, got.retain, got.dup),
                        (sent.min(granted), false, false),
                        "{text}"
                    );
                }
            }
            publisher.disconnect();
            subscriber.disconnect();
        }
    }
}

#[test]
fn messages_of_one_publisher_arrive_in_their_order() {
    let broker = Broker::start(LOCAL);
    for qos in 0..=2 {
        let mut subscriber = broker.join(&Connect::new(Version::V311, "subscriber"));
        assert_eq!(subscriber.subscribe("count", qos), qos);
        let mut publisher = broker.join(&Connect::new(Version::V5, "publisher"));
        for number in 0..500 {
            let message = Publish::new("count", number.to_string()).qos(qos, 0);
            match qos {
                0 => publisher.send_publish(&message),
                _ => assert_eq!(publisher.publish_acknowledged(message), 0),
            }
            if qos > 0 {
                assert_eq!(take(&mut subscriber).payload, number.to_string().as_bytes());
            }
        }
        if qos == 0 {
            for number in 0..500 {
                assert_eq!(take(&mut subscriber).payload, number.to_string().as_bytes());
            }
        }
    }
}

#[test]
fn a_qos_2_message_that_is_sent_twice_arrives_once() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut subscriber = broker.join(&Connect::new(version, "subscriber"));
        subscriber.subscribe("a", 0);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        let mut message = Publish::new("a", "once").qos(2, 7);
        publisher.send_publish(&message);
        assert_eq!(
            publisher.receive(),
            Packet::Pubrec {
                packet_id: 7,
                code: 0
            }
        );
        message.dup = true;
        publisher.send_publish(&message);
        assert_eq!(
            publisher.receive(),
            Packet::Pubrec {
                packet_id: 7,
                code: 0
            }
        );
        publisher.send(&packet::ack(0x62, 7));
        assert_eq!(
            publisher.receive(),
            Packet::Pubcomp {
                packet_id: 7,
                code: 0
            }
        );
        publisher.publish("a", "end");
        assert_eq!(
            (subscriber.text(), subscriber.text()),
            ("once".into(), "end".into())
        );
        subscriber.disconnect();
    }
}

#[test]
fn acknowledgements_of_a_subscriber_may_come_in_any_order() {
    let broker = Broker::start(LOCAL);
    let mut subscriber = broker.join(&Connect::new(Version::V311, "subscriber"));
    subscriber.subscribe("a", 1);
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    for number in 0..5 {
        publisher.publish_acknowledged(Publish::new("a", number.to_string()).qos(1, 0));
    }
    let mut ids: Vec<u16> = (0..5).map(|_| subscriber.message().packet_id).collect();
    ids.reverse();
    for id in &ids {
        subscriber.send(&packet::ack(0x40, *id));
    }
    subscriber.ping();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each message has a packet id of its own");
}

#[test]
fn a_publisher_that_subscribes_gets_its_own_message() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "self"));
        client.subscribe("echo", 0);
        client.publish("echo", "to me");
        assert_eq!(client.text(), "to me");
    }
}

#[test]
fn user_properties_pass_through_in_their_order() {
    let broker = Broker::start(LOCAL);
    let mut subscriber = broker.join(&Connect::new(Version::V5, "subscriber"));
    subscriber.subscribe("a", 0);
    let mut old = broker.join(&Connect::new(Version::V311, "old"));
    old.subscribe("a", 0);
    let mut publisher = broker.join(&Connect::new(Version::V5, "publisher"));
    let pair = |name: &str, value: &str| {
        let mut bytes = Vec::new();
        packet::put_string(&mut bytes, name.as_bytes());
        packet::put_string(&mut bytes, value.as_bytes());
        (property::USER_PROPERTY, bytes)
    };
    let properties = vec![pair("b", "1"), pair("a", "2"), pair("b", "3")];
    publisher.send_publish(&Publish {
        properties: properties.clone(),
        ..Publish::new("a", "x")
    });
    assert_eq!(subscriber.message().properties, properties);
    assert_eq!(old.message(), Publish::new("a", "x"));
}

#[test]
fn an_empty_message_is_a_message() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "self"));
        client.subscribe("a", 0);
        client.publish("a", "");
        assert_eq!(client.message(), Publish::new("a", ""));
    }
}
