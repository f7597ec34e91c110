//! Chapters 3.14 and 3.15 of 5.0: DISCONNECT in both directions, and the flags of AUTH.

use crate::conformance::raw::{is_closed, split};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Publish, Version, frame, property};

/// The codes that a DISCONNECT of a server can have (table 3-10).
const CODES: [u8; 28] = [
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];

/// What the broker sends after CONNACK to a client that breaks a rule, up to its close.
fn after_a_violation(
    broker: &Broker,
    maximum_packet_size: u32,
    bytes: &[u8],
) -> Vec<(u8, Vec<u8>)> {
    let mut connect = broker.as_local(&Connect::new(Version::V5, "offender"));
    let size = maximum_packet_size.to_be_bytes().to_vec();
    connect
        .properties
        .push((property::MAXIMUM_PACKET_SIZE, size));
    let mut client = broker.dial();
    client.send(&[&connect.encode()[..], bytes, bytes].concat());
    split(&client.bytes_until_close()).split_off(1)
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
fn a_client_that_was_not_accepted_gets_no_disconnect_3_14_0_1() {
    let broker = Broker::start(LOCAL);
    let connect = broker.as_local(&Connect::new(Version::V5, "a"));
    let wrong = Connect::new(Version::V5, "a").user("local", "wrong");
    for bytes in [
        wrong.encode(),
        connect.encode_as(b"MQTT", 5, connect.flags() | 1),
        Publish::new("a", "x").encode(Version::V5),
        vec![0x10, 0xFF, 0xFF, 0xFF, 0xFF, 1],
    ] {
        let mut client = broker.dial();
        client.send(&bytes);
        let frames = split(&client.bytes_until_close());
        assert!(frames.iter().all(|(first, _)| *first == 0x20), "{frames:?}");
    }
}

#[test]
fn the_reserved_flags_of_disconnect_are_0_3_14_1_1() {
    let broker = Broker::start(LOCAL);
    for first in [0xE1, 0xE2, 0xE4, 0xE8] {
        is_closed(&broker, Version::V5, &[first, 0], 0x81);
    }
}

#[test]
fn a_disconnect_of_the_broker_has_a_code_of_its_table_and_ends_everything_3_14_2_1_and_3_14_4_1_and_3_14_4_2()
 {
    let broker = Broker::start(LOCAL);
    for bytes in [
        Publish::new("a/#", "x").encode(Version::V5),
        Publish::new("a", "x").qos(3, 1).encode(Version::V5),
        broker.as_local(&Connect::new(Version::V5, "a")).encode(),
        frame(0x82, &[0, 1, 0]),
        frame(0xD0, &[]),
        frame(0xF0, &[]),
    ] {
        let frames = after_a_violation(&broker, 1000, &bytes);
        let [(0xE0, body)] = &frames[..] else {
            panic!("one DISCONNECT and the close: {frames:02X?}");
        };
        assert!(CODES.contains(&body[0]), "{body:02X?}");
    }
}

#[test]
fn a_disconnect_of_the_broker_has_no_session_expiry_interval_3_14_2_2() {
    let broker = Broker::start(LOCAL);
    let frames = after_a_violation(&broker, 1000, &frame(0xD0, &[]));
    let body = &frames[0].1;
    // Reason code, property length, properties: a Reason String or nothing.
    assert!(body.len() < 3 || body[2] == 0x1F, "{body:02X?}");
    if let [_, properties, _, high, low, ..] = body[..] {
        assert_eq!(
            properties as usize,
            3 + usize::from(high) * 256 + low as usize
        );
    }
}

#[test]
fn a_disconnect_of_the_broker_is_never_larger_than_the_client_takes_3_14_2_3_and_3_14_2_4() {
    let broker = Broker::start(LOCAL);
    // 30 is room for CONNACK and for a DISCONNECT with hardly a word.
    for size in [30, 32, 40, 1000] {
        for (_, body) in after_a_violation(&broker, size, &frame(0xD0, &[])) {
            assert!(body.len() + 2 <= size as usize);
        }
    }
}

#[test]
fn other_flags_of_auth_close_the_connection_3_15_1_1() {
    let broker = Broker::start(LOCAL);
    for first in [0xF1, 0xF2, 0xF4, 0xF8] {
        is_closed(&broker, Version::V5, &[first, 0], 0x81);
    }
}
