//! Statements of MQTT 3.1.1 (OASIS standard of 29 October 2014) that 5.0 says otherwise or not at all.

use crate::conformance::raw::{is_malformed, too_deep};
use crate::harness::broker::{Broker, LOCAL, OPEN};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, DISCONNECT, Packet, Publish, Version, subscribe};

#[test]
fn an_unacceptable_protocol_level_gets_return_code_one_3_1_2_2() {
    let broker = Broker::start(LOCAL);
    let connect = broker.as_local(&Connect::new(Version::V311, "a"));
    for (name, level) in [
        (&b"MQTT"[..], 0),
        (b"MQTT", 3),
        (b"MQIsdp", 4),
        (b"MQIsdp", 2),
    ] {
        let mut client = broker.dial();
        client.send(&connect.encode_as(name, level, connect.flags()));
        assert_eq!(client.bytes_until_close(), [0x20, 2, 0, 1], "{level}");
    }
    // 0x84 is what 5.0 has for clients of versions yet to come.
    for level in [6, 0x7F, 0xFF] {
        let mut client = broker.dial();
        client.send(&connect.encode_as(b"MQTT", level, connect.flags()));
        let bytes = client.bytes_until_close();
        assert_eq!((bytes[0], bytes[3]), (0x20, 0x84), "{level}");
    }
}

#[test]
fn a_password_needs_a_user_name_3_1_2_22() {
    let broker = Broker::start(LOCAL);
    let mut connect = broker.as_local(&Connect::new(Version::V311, "a"));
    connect.user_name = None;
    // Anything but a close without a word would be about credentials, not about the form.
    is_malformed(&broker, Version::V311, &connect.encode());
}

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_connection_3_1_2_24() {
    let broker = Broker::start(LOCAL);
    broker
        .join(&Connect::new(Version::V311, "a").keep_alive(1))
        .closed_because(0);
}

#[test]
fn an_empty_client_id_without_a_clean_session_gets_return_code_two_3_1_3_8() {
    let broker = Broker::start(LOCAL);
    let mut connect = broker.as_local(&Connect::new(Version::V311, ""));
    connect.clean = false;
    let (mut client, connack) = broker.attempt(&connect);
    assert_eq!(connack.code, 2);
    assert_eq!(client.closed(), []);
}

#[test]
fn after_a_refusal_the_connection_is_closed_3_2_2_4_and_3_2_2_5() {
    let broker = Broker::start(LOCAL);
    let (mut client, connack) =
        broker.attempt(&Connect::new(Version::V311, "a").user("local", "wrong"));
    assert_ne!(connack.code, 0);
    assert!(!connack.session_present, "[MQTT-3.2.2-4]");
    assert_eq!(client.closed(), []);
}

#[test]
fn unacknowledged_messages_are_sent_again_4_4_0_1() {
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
fn an_older_connection_of_the_same_client_id_is_closed_3_1_4_2() {
    let broker = Broker::start(LOCAL);
    let mut first = broker.join(&Connect::new(Version::V311, "twin"));
    let mut second = broker.join(&Connect::new(Version::V311, "twin"));
    first.closed_because(0x8E);
    second.ping();
}

#[test]
fn a_connect_that_does_not_conform_is_closed_without_a_word_3_1_4_1() {
    let broker = Broker::start(LOCAL);
    let connect = broker.as_local(&Connect::new(Version::V311, "a"));
    let mut longer = connect.encode();
    longer[1] += 1;
    longer.push(0);
    for bytes in [longer, connect.encode_as(b"MQTT", 4, connect.flags() | 1)] {
        let mut client = broker.dial();
        client.send(&bytes);
        assert_eq!(client.closed(), []);
    }
}

#[test]
fn the_id_of_another_user_s_session_gets_return_code_two_3_1_3_9() {
    let broker = Broker::start(OPEN);
    let _owner = broker.join(&Connect::new(Version::V311, "taken"));
    let mut other = Client::dial(broker.address("open"));
    let connack = other.connect(&Connect::new(Version::V311, "taken"));
    assert_eq!(connack.code, 2);
    assert_eq!(other.closed(), []);
}

#[test]
fn retained_messages_outlive_the_session_3_1_2_7() {
    let broker = Broker::start(LOCAL);
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    publisher.send_publish(&Publish::new("kept", "x").retained());
    publisher.disconnect();
    let mut client = broker.join(&Connect::new(Version::V311, "publisher"));
    client.subscribe("kept", 0);
    assert_eq!(client.text(), "x");
}

#[test]
fn a_qos_0_message_discards_the_retained_one_of_its_topic_3_3_1_7() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V311, "a"));
    client.publish_acknowledged(Publish::new("kept", "former").qos(1, 0).retained());
    client.send_publish(&Publish::new("kept", "latter").retained());
    client.subscribe("kept", 1);
    assert_eq!(client.text(), "latter");
    client.ping();
}

#[test]
fn a_new_subscription_gets_the_last_retained_message_with_the_flag_3_3_1_6_and_3_3_1_8() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V311, "a"));
    for topic in ["kept/1", "kept/2"] {
        client.send_publish(&Publish::new(topic, topic).retained());
    }
    client.subscribe("kept/+", 0);
    let mut got = [client.message(), client.message()];
    got.sort_by(|one, other| one.topic.cmp(&other.topic));
    for (message, topic) in got.iter().zip(["kept/1", "kept/2"]) {
        assert_eq!((&*message.topic, message.retain), (topic, true));
    }
}

#[test]
fn a_message_that_may_not_be_published_is_acknowledged_and_goes_nowhere_3_3_5_2() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V311, "a"));
    client.subscribe("$SYS/denied", 0);
    client.publish_acknowledged(Publish::new("$SYS/denied", "x").qos(1, 0));
    client.publish_acknowledged(Publish::new("$SYS/denied", "x").qos(2, 0));
    client.ping();
}

#[test]
fn reserved_bits_of_the_requested_qos_close_the_connection_3_8_3_4() {
    let broker = Broker::start(LOCAL);
    for options in [0x03, 0x04, 0x08, 0x10, 0x80] {
        let mut client = broker.join(&Connect::new(Version::V311, "a"));
        client.send(&subscribe(Version::V311, 1, &[("a", options)]));
        client.closed_because(0);
    }
}

#[test]
fn suback_has_no_other_return_codes_3_9_3_2() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V311, "a"));
    let filters = [("a", 0), ("b", 1), ("c", 2), (&*too_deep(), 2)];
    client.send(&subscribe(Version::V311, 1, &filters));
    let expected = Packet::Suback {
        packet_id: 1,
        codes: vec![0, 1, 2, 0x80],
    };
    assert_eq!(client.receive(), expected);
}

#[test]
fn the_reserved_flags_of_disconnect_are_0_3_14_1_1() {
    let broker = Broker::start(LOCAL);
    for first in [0xE1, 0xE2, 0xE4, 0xE8] {
        let mut watcher = broker.join(&Connect::new(Version::V311, "watcher"));
        watcher.subscribe("will", 0);
        let mut client = broker.join(&Connect::new(Version::V311, "a").will("will", "gone"));
        client.send(&[first, 0]);
        client.closed_because(0);
        assert_eq!(watcher.text(), "gone", "no orderly end");
    }
}

#[test]
fn an_old_client_is_closed_when_there_is_no_room_for_what_it_would_be_promised_4_8_0_2() {
    let memory = "config global 'global'\n\toption memory_limit '1M'\n\
        \toption max_packet_size '256K'\n\toption queue_bytes '1M'\n\n";
    let open = OPEN.replace(LOCAL, "");
    let broker = Broker::start(&format!("{memory}{LOCAL}{open}"));
    let mut client =
        Client::dial(broker.address("open")).join(&Connect::new(Version::V311, "hoarder"));
    let large = "x".repeat(200_000);
    let mut acknowledged = 0;
    loop {
        let topic = format!("kept/{acknowledged}");
        client.send_publish(&Publish::new(&topic, &large).qos(1, 1).retained());
        match client.receive_or_close() {
            Some(Packet::Puback { packet_id: 1, .. }) => acknowledged += 1,
            None => break,
            other => panic!("neither an acknowledgement nor a close: {other:?}"),
        }
        assert!(acknowledged < 10, "more than the limit was taken");
    }
    assert!(acknowledged > 0, "there was room for some");
    broker
        .join(&Connect::new(Version::V311, "bystander"))
        .ping();
}

#[test]
fn what_follows_a_disconnect_is_not_handled_and_the_broker_closes_3_14_4_1_and_3_14_4_2() {
    let broker = Broker::start(LOCAL);
    let mut watcher = broker.join(&Connect::new(Version::V311, "watcher"));
    watcher.subscribe("a", 0);
    let mut client = broker.join(&Connect::new(Version::V311, "a").will("a", "the will"));
    let late = Publish::new("a", "too late").encode(Version::V311);
    client.send(&[&DISCONNECT[..], &late].concat());
    // It does not close itself: the broker does.
    assert_eq!(client.closed(), []);
    watcher.publish("a", "end");
    assert_eq!(watcher.text(), "end");
}

#[test]
fn a_protocol_violation_closes_the_connection_of_its_client_alone_4_8_0_1() {
    let broker = Broker::start(LOCAL);
    let mut other = broker.join(&Connect::new(Version::V311, "other"));
    for bytes in [&[0x00, 0][..], &[0xF0, 0], &[0x20, 2, 0, 0], &[0xD0, 0]] {
        let mut client = broker.join(&Connect::new(Version::V311, "a"));
        client.send(bytes);
        client.closed_because(0);
        other.ping();
    }
}

#[test]
fn without_a_will_none_is_published_3_1_2_12() {
    let broker = Broker::start(LOCAL);
    let mut watcher = broker.join(&Connect::new(Version::V311, "watcher"));
    watcher.subscribe("#", 0);
    drop(broker.join(&Connect::new(Version::V311, "mortal")));
    // The same id comes back, so that the broker has noticed the loss.
    let again = Connect::new(Version::V311, "mortal").will("will", "x");
    broker.join(&again).disconnect();
    watcher.publish("end", "end");
    assert_eq!(watcher.text(), "end");
}
