//! Chapters 3.1, 3.2 and 3.12: CONNECT, CONNACK, sessions, PINGREQ.

use crate::conformance::raw::{connect_head, is_malformed};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{
    self, BOTH, Connect, Packet, Publish, Version, frame, property, put_string, subscribe,
};

fn session_present(client: &Client) -> bool {
    client
        .connack
        .as_ref()
        .expect("the client has joined")
        .session_present
}

fn is_refused(broker: &Broker, bytes: &[u8]) {
    let mut client = broker.dial();
    client.send(bytes);
    client.refused();
}

#[test]
fn the_first_packet_must_be_connect_3_1_0_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.dial();
        client.send(&Publish::new("a", "x").encode(version));
        client.refused();
    }
}

#[test]
fn second_connect_closes_the_connection_3_1_0_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = broker.as_local(&Connect::new(version, "twice"));
        let mut client = broker.join(&connect);
        client.send(&connect.encode());
        client.closed_because(0x82);
    }
}

#[test]
fn the_reserved_flag_of_connect_closes_the_connection_3_1_2_3() {
    let broker = Broker::start(LOCAL);
    for (version, level) in [(Version::V311, 4), (Version::V5, 5)] {
        let connect = broker.as_local(&Connect::new(version, "a"));
        is_malformed(
            &broker,
            version,
            &connect.encode_as(b"MQTT", level, connect.flags() | 1),
        );
    }
}

#[test]
fn client_ids_of_letters_and_digits_up_to_23_bytes_are_allowed_3_1_3_5() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for id in [
            "0123456789abcdefghijklm",
            "nopqrstuvwxyzABCDEFGHIJ",
            "KLMNOPQRSTUVWXYZ",
        ] {
            broker.join(&Connect::new(version, id)).disconnect();
        }
    }
}

#[test]
fn a_session_is_present_only_where_one_is_3_2_2_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = Connect::new(version, &format!("{version:?}")).persistent();
        for present in [false, true, true] {
            let client = broker.join(&connect);
            assert_eq!(
                client
                    .connack
                    .as_ref()
                    .expect("the client has joined")
                    .session_present,
                present
            );
            client.disconnect();
        }
    }
}

#[test]
fn a_ping_is_answered_3_12_4_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.ping();
        client.ping();
    }
}

#[test]
fn the_client_id_is_well_formed_3_1_3_4() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut connect = broker.as_local(&Connect::new(version, ""));
        connect.client_id = b"\xFF\xFE".to_vec();
        is_malformed(&broker, version, &connect.encode());
    }
}

#[test]
fn another_protocol_name_is_refused_3_1_2_1() {
    let broker = Broker::start(LOCAL);
    for (version, level) in [(Version::V311, 4), (Version::V5, 5)] {
        let connect = broker.as_local(&Connect::new(version, "a"));
        for name in [&b"mqtt"[..], b"MQTT ", b"MQIsdp", b"HTTP", b""] {
            is_refused(&broker, &connect.encode_as(name, level, connect.flags()));
        }
    }
}

#[test]
fn a_clean_start_begins_anew_3_1_2_4_and_3_2_2_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = Connect::new(version, "a").persistent();
        let mut client = broker.join(&connect);
        client.subscribe("a", 1);
        client.disconnect();
        let clean = Connect {
            clean: true,
            ..connect
        };
        let mut client = broker.join(&clean);
        assert!(!session_present(&client));
        client.publish("a", "of the former session");
        client.subscribe("b", 0);
        client.publish("b", "end");
        assert_eq!(client.text(), "end");
        drop(client);
        broker.join(&Connect::new(version, "a")).disconnect();
    }
}

#[test]
fn a_session_is_resumed_with_its_subscriptions_3_1_2_5() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = Connect::new(version, &format!("{version:?}")).persistent();
        let mut client = broker.join(&connect);
        client.subscribe("a", 1);
        client.disconnect();
        let mut client = broker.join(&connect);
        assert!(session_present(&client));
        client.publish("a", "x");
        assert_eq!(client.text(), "x");
    }
}

#[test]
fn a_session_that_is_not_there_is_made_3_1_2_6() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, &format!("{version:?}")).persistent());
        assert!(!session_present(&client));
        client.subscribe("a", 0);
        client.publish("a", "x");
        assert_eq!(client.text(), "x");
    }
}

/// The four statements are one table: a field is there exactly when its flag says so.
#[test]
fn user_name_and_password_are_there_when_their_flags_say_so_3_1_2_16_and_3_1_2_17_and_3_1_2_18_and_3_1_2_19()
 {
    let broker = Broker::start(LOCAL);
    for (version, level) in [(Version::V311, 4), (Version::V5, 5)] {
        let both = broker.as_local(&Connect::new(version, "a"));
        let user_only = Connect {
            password: None,
            ..both.clone()
        };
        let none = Connect::new(version, "a");
        for (connect, flags) in [
            (&both, 0x02),
            (&none, 0x82),
            (&both, 0x82),
            (&user_only, 0xC2),
        ] {
            is_malformed(&broker, version, &connect.encode_as(b"MQTT", level, flags));
        }
        broker.dial().join(&both);
    }
}

#[test]
fn the_fields_of_the_payload_have_their_order_3_1_3_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("will", 0);
        drop(broker.join(&Connect::new(version, "id").will("will", "of all fields")));
        assert_eq!(watcher.text(), "of all fields");
        let password = broker.root().local_password();
        let mut swapped = connect_head(version, 0xC2);
        for field in ["id", &password, "local"] {
            put_string(&mut swapped, field.as_bytes());
        }
        is_refused(&broker, &frame(0x10, &swapped));
    }
}

#[test]
fn a_session_belongs_to_its_client_id_3_1_3_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = |id: &str| Connect::new(version, &format!("{id}{version:?}")).persistent();
        broker.join(&connect("one")).disconnect();
        for (id, present) in [("two", false), ("one", true), ("ONE", false)] {
            assert_eq!(session_present(&broker.join(&connect(id))), present, "{id}");
        }
    }
}

#[test]
fn a_connect_without_a_client_id_field_is_refused_3_1_3_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        is_malformed(&broker, version, &frame(0x10, &connect_head(version, 0x02)));
    }
}

#[test]
fn a_client_without_an_id_is_given_one_of_its_own_3_1_3_6() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut first = broker.join(&Connect::new(version, ""));
        let mut second = broker.join(&Connect::new(version, ""));
        first.ping();
        second.ping();
    }
}

#[test]
fn the_user_name_is_well_formed_3_1_3_12() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut connect = broker.as_local(&Connect::new(version, "a"));
        connect.user_name = Some(b"local\xFF".to_vec());
        is_malformed(&broker, version, &connect.encode());
    }
}

#[test]
fn a_connect_that_is_cut_short_or_too_long_is_refused_3_1_4_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let whole = broker.as_local(&Connect::new(version, "a")).encode();
        for length in [1, 4, 7, 9, 11, 13, 20, whole.len() - 3, whole.len() - 1] {
            let body = whole.get(2..length).unwrap_or_default();
            is_malformed(&broker, version, &frame(0x10, body));
        }
        is_malformed(
            &broker,
            version,
            &frame(0x10, &[&whole[2..], b"x"].concat()),
        );
    }
}

#[test]
fn a_wrong_password_closes_the_connection_3_1_4_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let (mut client, connack) =
            broker.attempt(&Connect::new(version, "a").user("local", "wrong"));
        assert_ne!(connack.code, 0);
        assert_eq!(client.closed(), []);
    }
}

#[test]
fn a_clean_start_at_a_takeover_ends_the_session_3_1_4_4() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = Connect::new(version, "a").persistent();
        let mut first = broker.join(&connect);
        first.subscribe("a", 1);
        let mut second = broker.join(&Connect::new(version, "a"));
        assert!(!session_present(&second));
        first.closed_because(0x8E);
        second.publish("a", "x");
        second.ping();
    }
}

#[test]
fn what_follows_a_refused_connect_is_not_handled_3_1_4_6() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("a", 0);
        let mut client = broker.dial();
        let connect = Connect::new(version, "a").user("local", "wrong").encode();
        let publish = Publish::new("a", "of nobody").encode(version);
        client.send(&[connect, publish].concat());
        client.refused();
        watcher.publish("a", "end");
        assert_eq!(watcher.text(), "end");
    }
}

#[test]
fn connack_comes_first_and_once_though_messages_wait_3_1_4_5_and_3_2_0_1_and_3_2_0_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let client_id = format!("{version:?}");
        let connect = broker.as_local(&Connect::new(version, &client_id).persistent());
        let mut client = broker.join(&connect);
        client.subscribe("a", 1);
        client.disconnect();
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.publish_acknowledged(Publish::new("a", "waits").qos(1, 0));
        let mut client = broker.dial();
        let more = subscribe(version, 9, &[("b", 0)]);
        client.send(&[&connect.encode()[..], &more, &packet::PINGREQ].concat());
        assert_eq!(client.connected(&connect).code, 0);
        loop {
            match client.receive() {
                Packet::Pingresp => break,
                other => assert!(!matches!(other, Packet::Connack(_))),
            }
        }
    }
}

#[test]
fn a_session_lasts_as_long_as_its_connection_4_1_0_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut connect = Connect::new(version, "a");
        if version == Version::V5 {
            let expiry = 1u32.to_be_bytes().to_vec();
            connect
                .properties
                .push((property::SESSION_EXPIRY_INTERVAL, expiry));
        }
        let mut client = broker.join(&connect);
        client.subscribe("a", 1);
        broker.let_time_pass();
        client.publish("a", "still there");
        assert_eq!(client.text(), "still there");
    }
}
