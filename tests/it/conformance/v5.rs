//! Statements of MQTT 5.0 (OASIS standard of 7 March 2019) that 3.1.1 says otherwise or not at all.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Packet, Publish, Version, frame, property, subscribe};

#[test]
fn a_keep_alive_that_is_exceeded_ends_in_reason_8d_3_1_2_22() {
    let broker = Broker::start(LOCAL);
    broker
        .join(&Connect::new(Version::V5, "a").keep_alive(1))
        .closed_because(0x8D);
}

#[test]
fn a_packet_larger_than_the_client_takes_is_not_sent_3_1_2_24() {
    let broker = Broker::start(LOCAL);
    let mut connect = Connect::new(Version::V5, "small");
    connect
        .properties
        .push((property::MAXIMUM_PACKET_SIZE, 100u32.to_be_bytes().to_vec()));
    let mut client = broker.join(&connect);
    client.subscribe("a", 0);
    let mut publisher = broker.join(&Connect::new(Version::V5, "publisher"));
    publisher.publish("a", &"x".repeat(200));
    publisher.publish("a", "fits");
    assert_eq!(client.text(), "fits");
}

#[test]
fn an_assigned_client_id_is_told_3_1_3_6() {
    let broker = Broker::start(LOCAL);
    let client = broker.join(&Connect::new(Version::V5, ""));
    let connack = client.connack.as_ref().expect("the client has joined");
    assert!(
        connack
            .property(property::ASSIGNED_CLIENT_IDENTIFIER)
            .is_some_and(|id| id.len() > 2)
    );
}

#[test]
fn the_one_that_is_taken_over_is_told_reason_8e_3_1_4_3() {
    let broker = Broker::start(LOCAL);
    let mut first = broker.join(&Connect::new(Version::V5, "twin"));
    let _second = broker.join(&Connect::new(Version::V5, "twin"));
    first.closed_because(0x8E);
}

#[test]
fn a_session_ends_when_its_expiry_interval_is_over_3_1_2_23() {
    let broker = Broker::start(LOCAL);
    let mut connect = Connect::new(Version::V5, "brief");
    connect.clean = false;
    connect.properties.push((
        property::SESSION_EXPIRY_INTERVAL,
        1u32.to_be_bytes().to_vec(),
    ));
    broker.join(&connect).disconnect();
    // A client of its own measures the time: its keep alive ends after one and a half seconds.
    let mut clock = broker.join(&Connect::new(Version::V5, "clock").keep_alive(1));
    clock.closed_because(0x8D);
    let client = broker.join(&connect);
    assert!(
        !client
            .connack
            .as_ref()
            .expect("the client has joined")
            .session_present
    );
}

#[test]
fn a_client_may_keep_its_session_shorter_at_disconnect_3_14_2_2_2() {
    let broker = Broker::start(LOCAL);
    let mut connect = Connect::new(Version::V5, "a");
    connect.clean = false;
    connect.properties.push((
        property::SESSION_EXPIRY_INTERVAL,
        3600u32.to_be_bytes().to_vec(),
    ));
    let mut client = broker.join(&connect);
    let mut body = vec![0, 5, property::SESSION_EXPIRY_INTERVAL];
    body.extend(0u32.to_be_bytes());
    client.send(&frame(0xE0, &body));
    client.closed();
    let client = broker.join(&connect);
    assert!(
        !client
            .connack
            .as_ref()
            .expect("the client has joined")
            .session_present,
        "0 ends it at once"
    );
}

#[test]
fn a_session_expiry_of_0_cannot_be_raised_at_disconnect_3_14_2_2_2() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "a"));
    let mut body = vec![0, 5, property::SESSION_EXPIRY_INTERVAL];
    body.extend(60u32.to_be_bytes());
    client.send(&frame(0xE0, &body));
    client.closed_because(0x82);
}

#[test]
fn a_client_that_sent_disconnect_may_not_send_more_3_14_4_1() {
    let broker = Broker::start(LOCAL);
    let mut watcher = broker.join(&Connect::new(Version::V5, "watcher"));
    watcher.subscribe("a", 0);
    let mut client = broker.join(&Connect::new(Version::V5, "client"));
    let mut bytes = vec![0xE0, 0];
    bytes.extend(Publish::new("a", "after the end").encode(Version::V5));
    client.send(&bytes);
    client.closed();
    watcher.publish("a", "end");
    assert_eq!(watcher.text(), "end");
}

#[test]
fn no_local_keeps_a_client_s_own_messages_from_it_3_8_3_3() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "a"));
    client.send(&subscribe(Version::V5, 1, &[("a", 0x04)]));
    client.expect(|packet| matches!(packet, Packet::Suback { .. }));
    client.publish("a", "my own");
    let mut other = broker.join(&Connect::new(Version::V5, "other"));
    client.ping();
    other.publish("a", "another's");
    assert_eq!(client.text(), "another's");
}

#[test]
fn reserved_bits_of_subscription_options_are_malformed_3_8_3_5() {
    let broker = Broker::start(LOCAL);
    for options in [0x40, 0x80, 0x03, 0x30] {
        let mut client = broker.join(&Connect::new(Version::V5, "a"));
        client.send(&subscribe(Version::V5, 1, &[("a", options)]));
        let packets = client.closed();
        assert!(
            matches!(packets[..], [] | [Packet::Disconnect { code: 0x81 | 0x82 }]),
            "{options:#x}: {packets:?}"
        );
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
fn retain_handling_tells_when_retained_messages_are_sent_3_3_1_10() {
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
fn what_has_expired_is_not_delivered_3_3_2_5() {
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
fn the_same_property_twice_is_a_protocol_error_3_1_2_11_2() {
    let broker = Broker::start(LOCAL);
    let mut connect = broker.as_local(&Connect::new(Version::V5, "a"));
    let expiry = (
        property::SESSION_EXPIRY_INTERVAL,
        60u32.to_be_bytes().to_vec(),
    );
    connect.properties = vec![expiry.clone(), expiry];
    let mut client = broker.dial();
    client.send(&connect.encode());
    client.refused();
}

#[test]
fn a_receive_maximum_of_0_is_a_protocol_error_3_1_2_11_3() {
    let broker = Broker::start(LOCAL);
    let mut connect = broker.as_local(&Connect::new(Version::V5, "a"));
    connect
        .properties
        .push((property::RECEIVE_MAXIMUM, vec![0, 0]));
    let mut client = broker.dial();
    client.send(&connect.encode());
    client.refused();
}
