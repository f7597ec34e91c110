//! Statements of MQTT 3.1.1 (OASIS standard of 29 October 2014) that 5.0 says otherwise or not at all.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Packet, Publish, Version};

#[test]
fn an_unacceptable_protocol_level_gets_return_code_1_3_1_2_2() {
    let broker = Broker::start(LOCAL);
    let connect = broker.as_local(&Connect::new(Version::V311, "a"));
    let mut client = broker.dial();
    client.send(&connect.encode_as(b"MQTT", 6, connect.flags()));
    for packet in client.closed() {
        // 0x84 is what 5.0 adds for clients of versions yet to come.
        assert!(
            matches!(packet, Packet::Connack(connack) if connack.code == 1 || connack.code == 0x84)
        );
    }
}

#[test]
fn a_password_needs_a_user_name_3_1_2_22() {
    let broker = Broker::start(LOCAL);
    let mut connect = broker.as_local(&Connect::new(Version::V311, "a"));
    connect.user_name = None;
    let mut client = broker.dial();
    client.send(&connect.encode());
    client.refused();
}

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_connection_3_1_2_24() {
    let broker = Broker::start(LOCAL);
    broker
        .join(&Connect::new(Version::V311, "a").keep_alive(1))
        .closed_because(0);
}

#[test]
fn an_empty_client_id_without_a_clean_session_gets_return_code_2_3_1_3_8() {
    let broker = Broker::start(LOCAL);
    let mut connect = broker.as_local(&Connect::new(Version::V311, ""));
    connect.clean = false;
    let (mut client, connack) = broker.attempt(&connect);
    assert_eq!(connack.code, 2);
    client.refused();
}

#[test]
fn after_a_refusal_the_connection_is_closed_3_2_2_5() {
    let broker = Broker::start(LOCAL);
    let (mut client, connack) =
        broker.attempt(&Connect::new(Version::V311, "a").user("local", "wrong"));
    assert_ne!(connack.code, 0);
    assert!(!connack.session_present, "[MQTT-3.2.2-4]");
    assert_eq!(client.closed(), []);
}

#[test]
fn a_connection_that_ends_without_disconnect_leaves_unacknowledged_messages_to_be_sent_again_4_4_0_1()
 {
    let broker = Broker::start(LOCAL);
    let connect = Connect::new(Version::V311, "a").persistent();
    let mut client = broker.join(&connect);
    client.subscribe("a", 1);
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    publisher.publish_acknowledged(Publish::new("a", "x").qos(1, 0));
    let first = client.message();
    drop(client);
    let again = broker.join(&connect).message();
    assert_eq!((again.packet_id, again.dup), (first.packet_id, true));
}

#[test]
fn bytes_after_the_payload_of_connect_close_the_connection_4_8_0_1() {
    let broker = Broker::start(LOCAL);
    let mut bytes = broker.as_local(&Connect::new(Version::V311, "a")).encode();
    bytes[1] += 1;
    bytes.push(0);
    let mut client = broker.dial();
    client.send(&bytes);
    client.refused();
}

#[test]
fn an_older_connection_of_the_same_client_id_is_closed_3_1_4_2() {
    let broker = Broker::start(LOCAL);
    let mut first = broker.join(&Connect::new(Version::V311, "twin"));
    let mut second = broker.join(&Connect::new(Version::V311, "twin"));
    first.closed_because(0x8E);
    second.ping();
}
