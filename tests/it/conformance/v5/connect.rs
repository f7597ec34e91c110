//! Chapter 3.1 of 5.0: CONNECT, its properties, sessions.

use crate::conformance::raw::{connect_head, frames_after, user_property};
use crate::harness::broker::{Broker, LOCAL, OPEN};
use crate::harness::client::Client;
use crate::harness::packet::{
    Connect, Packet, Publish, Version, frame, property, put_string, unsubscribe,
};

const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
const RESPONSE_INFORMATION: u8 = 0x1A;
const TOPIC_ALIAS: u8 = 0x23;

fn is_a_protocol_error(broker: &Broker, connect: &Connect) {
    let (mut client, connack) = broker.attempt(connect);
    assert_eq!(connack.code, 0x82);
    assert_eq!(client.closed(), []);
}

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
fn an_assigned_client_id_is_told_3_1_3_7_and_3_2_2_16() {
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
fn a_session_ends_when_its_expiry_interval_is_over_4_1_0_2() {
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
fn the_same_property_twice_is_a_protocol_error_3_1_2_11_2() {
    let broker = Broker::start(LOCAL);
    let mut connect = broker.as_local(&Connect::new(Version::V5, "a"));
    let expiry = (
        property::SESSION_EXPIRY_INTERVAL,
        60u32.to_be_bytes().to_vec(),
    );
    connect.properties = vec![expiry.clone(), expiry];
    is_a_protocol_error(&broker, &connect);
}

#[test]
fn a_receive_maximum_of_0_is_a_protocol_error_3_1_2_11_3() {
    let broker = Broker::start(LOCAL);
    let mut connect = broker.as_local(&Connect::new(Version::V5, "a"));
    connect
        .properties
        .push((property::RECEIVE_MAXIMUM, vec![0, 0]));
    is_a_protocol_error(&broker, &connect);
}

#[test]
fn a_session_with_an_expiry_interval_is_kept_3_1_2_23() {
    let broker = Broker::start(LOCAL);
    let connect = Connect::new(Version::V5, "a").persistent();
    let mut client = broker.join(&connect);
    client.subscribe("a", 1);
    drop(client);
    let mut publisher = broker.join(&Connect::new(Version::V5, "publisher"));
    publisher.publish_acknowledged(Publish::new("a", "x").qos(1, 0));
    assert_eq!(broker.join(&connect).text(), "x");
}

#[test]
fn a_client_that_takes_no_aliases_gets_none_3_1_2_27() {
    let broker = Broker::start(LOCAL);
    let mut none = Connect::new(Version::V5, "none");
    none.properties.push((0x22, vec![0, 0]));
    for connect in [none, Connect::new(Version::V5, "absent")] {
        let mut client = broker.join(&connect);
        client.subscribe("a/busy/topic", 0);
        for _ in 0..5 {
            client.publish("a/busy/topic", "x");
            let message = client.message();
            assert_eq!(message.topic, "a/busy/topic");
            assert!(message.properties.iter().all(|(id, _)| *id != TOPIC_ALIAS));
        }
    }
}

#[test]
fn response_information_is_not_told_to_who_did_not_ask_3_1_2_28() {
    let broker = Broker::start(LOCAL);
    let mut unasked = Connect::new(Version::V5, "unasked");
    unasked
        .properties
        .push((REQUEST_RESPONSE_INFORMATION, vec![0]));
    for connect in [unasked, Connect::new(Version::V5, "absent")] {
        let (_, connack) = broker.attempt(&broker.as_local(&connect));
        assert_eq!(connack.property(RESPONSE_INFORMATION), None);
    }
}

#[test]
fn who_wants_no_reasons_gets_none_3_1_2_29() {
    let broker = Broker::start(LOCAL);
    let mut connect = Connect::new(Version::V5, "a");
    connect
        .properties
        .push((REQUEST_PROBLEM_INFORMATION, vec![0]));
    let sent = [
        unsubscribe(Version::V5, 1, &["nothing"]),
        Publish::new("$SYS/denied", "x")
            .qos(1, 2)
            .encode(Version::V5),
        Publish::new("$SYS/denied", "x")
            .qos(2, 3)
            .encode(Version::V5),
    ];
    let frames = frames_after(&broker, &connect, &sent.concat());
    // Three bytes at most: packet id and reason code. UNSUBACK has an empty property length before its code.
    let bodies: Vec<_> = frames[1..].iter().map(|(_, body)| &body[..]).collect();
    assert_eq!(bodies, [&[0, 1, 0, 0x11][..], &[0, 2, 0x87], &[0, 3, 0x87]]);
}

#[test]
fn the_id_of_another_user_s_session_is_refused_3_1_3_8() {
    let broker = Broker::start(OPEN);
    let _owner = broker.join(&Connect::new(Version::V5, "taken"));
    let mut other = Client::dial(broker.address("open"));
    assert_eq!(
        other.connect(&Connect::new(Version::V5, "taken")).code,
        0x85
    );
    assert_eq!(other.closed(), []);
}

#[test]
fn the_user_properties_of_a_will_keep_their_order_3_1_3_10() {
    let broker = Broker::start(LOCAL);
    let mut watcher = broker.join(&Connect::new(Version::V5, "watcher"));
    watcher.subscribe("will", 0);
    let pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("a", "2")];
    let properties: Vec<u8> = pairs
        .iter()
        .flat_map(|(name, value)| user_property(name.as_bytes(), value.as_bytes()))
        .collect();
    let mut body = connect_head(Version::V5, 0xC6);
    put_string(&mut body, b"mortal");
    body.push(properties.len() as u8);
    body.extend(&properties);
    let password = broker.root().local_password();
    for field in ["will", "gone", "local", &password] {
        put_string(&mut body, field.as_bytes());
    }
    let mut mortal = broker.dial();
    mortal.send(&frame(0x10, &body));
    mortal.expect(|packet| matches!(packet, Packet::Connack(connack) if connack.code == 0));
    drop(mortal);
    let message = watcher.message();
    let arrived: Vec<u8> = message
        .properties
        .iter()
        .flat_map(|(id, value)| [&[*id][..], value].concat())
        .collect();
    assert_eq!(arrived, properties);
}
