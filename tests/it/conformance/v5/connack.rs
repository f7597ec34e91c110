//! Chapter 3.2 of 5.0: CONNACK, and what follows a refusal.

use crate::conformance::raw::{frames_after, split};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Packet, Version, property};

const MAXIMUM_QOS: u8 = 0x24;
const RETAIN_AVAILABLE: u8 = 0x25;

/// The codes that a CONNACK of 5.0 can have (table 3-1).
const CODES: [u8; 22] = [
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];

/// The broker's whole answer to a CONNECT with a wrong password.
fn refusal(broker: &Broker, maximum_packet_size: Option<u32>) -> Vec<u8> {
    let mut connect = Connect::new(Version::V5, "a").user("local", "wrong");
    if let Some(size) = maximum_packet_size {
        let size = size.to_be_bytes().to_vec();
        connect
            .properties
            .push((property::MAXIMUM_PACKET_SIZE, size));
    }
    let mut client = Client::dial(broker.address("local"));
    client.send(&connect.encode());
    client.bytes_until_close()
}

#[test]
fn the_reserved_flags_of_connack_are_0_3_2_2_1() {
    let broker = Broker::start(LOCAL);
    let connect = Connect::new(Version::V5, "a").persistent();
    for session_present in [0, 1] {
        let frames = frames_after(&broker, &connect, &[]);
        assert_eq!((frames[0].0, frames[0].1[0]), (0x20, session_present));
    }
}

#[test]
fn a_refusal_says_no_session_and_closes_3_2_2_6_and_3_2_2_7_and_4_13_2_1() {
    let broker = Broker::start(LOCAL);
    broker
        .join(&Connect::new(Version::V5, "a").persistent())
        .disconnect();
    // That the bytes end is the close.
    let frames = split(&refusal(&broker, None));
    assert_eq!(frames.len(), 1, "{frames:02X?}");
    assert_eq!((frames[0].0, frames[0].1[0]), (0x20, 0));
    assert!(frames[0].1[1] >= 0x80);
}

#[test]
fn every_connack_has_a_code_of_its_table_3_2_2_8() {
    let broker = Broker::start(LOCAL);
    let good = broker.as_local(&Connect::new(Version::V5, "a"));
    let will = good.clone().will("$SYS/x", "x");
    let method = Connect {
        properties: vec![(0x15, b"\0\x01m".to_vec())],
        ..good.clone()
    };
    let wrong = good.clone().user("local", "wrong");
    for connect in [&good, &will, &method, &wrong] {
        let (_, connack) = broker.attempt(connect);
        assert!(CODES.contains(&connack.code), "{:#x}", connack.code);
    }
    let mut client = broker.dial();
    client.send(&good.encode_as(b"MQTT", 5, good.flags() | 1));
    for packet in client.closed() {
        assert!(
            matches!(&packet, Packet::Connack(connack) if CODES.contains(&connack.code)),
            "{packet:?}"
        );
    }
}

#[test]
fn every_qos_and_retained_messages_are_there_3_2_2_9_and_3_2_2_10() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "a"));
    let connack = client.connack.clone().expect("the client has joined");
    assert_eq!(connack.property(MAXIMUM_QOS), None);
    assert_eq!(connack.property(RETAIN_AVAILABLE), None);
    for qos in 0..=2 {
        assert_eq!(client.subscribe("a", qos), qos);
    }
}

#[test]
fn a_connack_is_never_larger_than_the_client_takes_3_2_2_19_and_3_2_2_20() {
    let broker = Broker::start(LOCAL);
    for size in [5, 6, 10, 20, 40] {
        assert!(refusal(&broker, Some(size)).len() <= size as usize);
    }
}

#[test]
fn without_a_server_keep_alive_the_client_s_own_holds_3_2_2_22() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "a").keep_alive(1));
    let connack = client.connack.clone().expect("the client has joined");
    assert_eq!(connack.property(0x13), None);
    client.closed_because(0x8D);
}

#[test]
fn a_client_without_a_method_gets_none_4_12_0_6() {
    let broker = Broker::start(LOCAL);
    let frames = frames_after(&broker, &Connect::new(Version::V5, "a"), &[]);
    assert_eq!(frames.len(), 1, "no AUTH: {frames:02X?}");
    let (_, connack) = broker.attempt(&broker.as_local(&Connect::new(Version::V5, "a")));
    assert_eq!(connack.property(0x15), None);
}
