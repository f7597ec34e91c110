//! Chapter 3.3 of 5.0: retained messages and subscription options, subscription identifiers, aliases.

use crate::conformance::raw::{is_closed, publish_with};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{
    Connect, Packet, Publish, Version, frame, property, put_string, subscribe,
};

const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const TOPIC_ALIAS: u8 = 0x23;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;

/// A message to this topic with this alias.
fn aliased(topic: &str, payload: &str, alias: u16) -> Publish {
    Publish {
        properties: vec![(TOPIC_ALIAS, alias.to_be_bytes().to_vec())],
        ..Publish::new(topic, payload)
    }
}

#[test]
fn retain_as_published_keeps_the_flag_3_3_1_13() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "a"));
    client.send(&subscribe(Version::V5, 1, &[("a", 0x08)]));
    client.expect(|packet| matches!(packet, Packet::Suback { .. }));
    client.send_publish(&Publish::new("a", "x").retained());
    assert!(client.message().retain);
    client.publish("a", "y");
    assert!(!client.message().retain);
}

#[test]
fn retain_handling_tells_when_retained_messages_are_sent_3_3_1_9_and_3_3_1_11() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "a"));
    client.send_publish(&Publish::new("a", "kept").retained());
    for (handling, packet_id, comes) in [(2, 1, false), (1, 2, false), (0, 3, true)] {
        client.send(&subscribe(Version::V5, packet_id, &[("a", handling << 4)]));
        client.expect(|packet| matches!(packet, Packet::Suback { .. }));
        client.publish("a", "live");
        if comes {
            assert_eq!(client.text(), "kept");
        }
        assert_eq!(client.text(), "live", "retain handling {handling}");
    }
}

#[test]
fn what_has_expired_is_not_delivered_3_3_2_5_and_3_3_2_6() {
    let broker = Broker::start(LOCAL);
    let away = Connect::new(Version::V5, "away").persistent();
    let mut client = broker.join(&away);
    client.subscribe("a", 1);
    client.disconnect();
    let mut publisher = broker.join(&Connect::new(Version::V5, "publisher"));
    let expiring = |text: &str, seconds: u32| Publish {
        properties: vec![(
            property::MESSAGE_EXPIRY_INTERVAL,
            seconds.to_be_bytes().to_vec(),
        )],
        ..Publish::new("a", text).qos(1, 0)
    };
    publisher.publish_acknowledged(expiring("short", 1));
    publisher.publish_acknowledged(expiring("long", 1000));
    broker
        .join(&Connect::new(Version::V5, "clock").keep_alive(1))
        .closed_because(0x8D);
    let message = broker.join(&away).message();
    assert_eq!(message.payload, b"long");
    let left = message
        .properties
        .iter()
        .find(|(id, _)| *id == property::MESSAGE_EXPIRY_INTERVAL);
    let left = left.map(|(_, bytes)| u32::from_be_bytes(bytes[..].try_into().expect("four bytes")));
    // [MQTT-3.3.2-6]: less the time that it waited.
    assert!(
        left.is_some_and(|left| (900..1000).contains(&left)),
        "{left:?}"
    );
}

#[test]
fn retain_handling_1_sends_them_to_a_new_subscription_only_3_3_1_10() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "a"));
    client.send_publish(&Publish::new("a", "kept").retained());
    for (packet_id, comes) in [(1, true), (2, false)] {
        client.send(&subscribe(Version::V5, packet_id, &[("a", 0x10)]));
        client.expect(|packet| matches!(packet, Packet::Suback { .. }));
        if comes {
            assert_eq!(client.text(), "kept");
        }
        client.ping();
    }
}

#[test]
fn an_alias_does_not_outlive_its_connection_3_3_2_7() {
    let broker = Broker::start(LOCAL);
    let connect = Connect::new(Version::V5, "a").persistent();
    let mut client = broker.join(&connect);
    client.subscribe("topic", 0);
    client.send_publish(&aliased("topic", "x", 1));
    client.send_publish(&aliased("", "y", 1));
    assert_eq!((client.text(), client.text()), ("x".into(), "y".into()));
    drop(client);
    let mut client = broker.join(&connect);
    client.send_publish(&aliased("", "z", 1));
    client.closed_because(0x82);
}

#[test]
fn an_alias_of_0_is_invalid_3_3_2_8() {
    let broker = Broker::start(LOCAL);
    is_closed(
        &broker,
        Version::V5,
        &publish_with(&[TOPIC_ALIAS, 0, 0]),
        0x94,
    );
}

#[test]
fn every_alias_up_to_the_maximum_is_taken_and_no_other_3_3_2_9_and_3_3_2_12() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "a"));
    let connack = client.connack.clone().expect("the client has joined");
    let maximum = connack.property(TOPIC_ALIAS_MAXIMUM).expect("aliases");
    let maximum = u16::from_be_bytes([maximum[0], maximum[1]]);
    client.subscribe("#", 0);
    for alias in 1..=maximum {
        let topic = format!("topic/{alias}");
        client.send_publish(&aliased(&topic, "x", alias));
        client.message();
        client.send_publish(&aliased("", "x", alias));
        assert_eq!(client.message().topic, topic);
    }
    client.send_publish(&aliased("topic", "x", maximum + 1));
    client.closed_because(0x94);
}

#[test]
fn an_alias_is_not_above_what_the_client_takes_3_1_2_26_and_3_3_2_11() {
    let broker = Broker::start(LOCAL);
    for maximum in [1, 3, 65_535_u16] {
        let mut connect = Connect::new(Version::V5, "a");
        let bytes = maximum.to_be_bytes().to_vec();
        connect.properties.push((TOPIC_ALIAS_MAXIMUM, bytes));
        let mut client = broker.join(&connect);
        client.subscribe("#", 0);
        for number in 0..20 {
            let topic = format!("a/busy/topic/{}", number % 5);
            client.publish(&topic, "x");
            for (id, value) in client.message().properties {
                let alias = u16::from_be_bytes([value[0], value[1]]);
                assert!(id != TOPIC_ALIAS || (1..=maximum).contains(&alias));
            }
        }
    }
}

#[test]
fn a_message_has_the_identifiers_of_all_its_subscriptions_3_3_4_3_and_3_3_4_4() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "a"));
    for (packet_id, filter) in [(1, "a/#"), (2, "a/b"), (3, "+/b"), (4, "other")] {
        let mut body = vec![0, packet_id, 2, SUBSCRIPTION_IDENTIFIER, 10 + packet_id];
        put_string(&mut body, filter.as_bytes());
        body.push(0);
        client.send(&frame(0x82, &body));
        client.expect(|packet| matches!(packet, Packet::Suback { .. }));
    }
    client.subscribe("#", 0);
    client.publish("a/b", "x");
    let properties = client.message().properties;
    let mut ids: Vec<_> = properties
        .iter()
        .filter(|(id, _)| *id == SUBSCRIPTION_IDENTIFIER)
        .map(|(_, value)| value[0])
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [11, 12, 13]);
    client.ping();
}

#[test]
fn a_client_s_publish_with_a_subscription_identifier_closes_the_connection_3_3_4_6() {
    let broker = Broker::start(LOCAL);
    let bytes = publish_with(&[SUBSCRIPTION_IDENTIFIER, 1]);
    is_closed(&broker, Version::V5, &bytes, 0x82);
}
