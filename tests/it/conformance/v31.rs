//! MQTT 3.1 (IBM, 2010), as far as it differs from 3.1.1, and what bridges of both ask for by a bit. It has no numbered statements.

use crate::conformance::raw::{frames_after, too_deep};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{self, Connect, Packet, Publish, Version, subscribe};

/// Protocol name and level of the versions before 5.0.
const OLD: [(&[u8], u8, Version); 2] = [(b"MQIsdp", 3, Version::V31), (b"MQTT", 4, Version::V311)];

/// What mosquitto's bridges add to the level.
const BRIDGE: u8 = 0x80;

const DENY: &str =
    "\nconfig acl\n\tlist topic 'secret'\n\toption access 'deny'\n\toption action 'deny'\n";

fn bridge(broker: &Broker, (name, level, version): (&[u8], u8, Version)) -> Client {
    let connect = broker.as_local(&Connect::new(version, "bridge"));
    let mut client = broker.dial();
    client.send(&connect.encode_as(name, level | BRIDGE, connect.flags()));
    client.expect(|packet| matches!(packet, Packet::Connack(connack) if connack.code == 0));
    client
}

#[test]
fn a_client_of_3_1_is_served_at_each_quality_of_service() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V31, "a"));
    assert_eq!(client.subscribe("a/#", 2), 2);
    let mut other = broker.join(&Connect::new(Version::V5, "other"));
    for qos in 0..=2 {
        let message = Publish::new("a/b", "x").qos(qos, 0);
        match qos {
            0 => other.send_publish(&message),
            _ => assert_eq!(other.publish_acknowledged(message), 0),
        }
        let message = client.message();
        assert_eq!((&*message.topic, message.qos), ("a/b", qos));
        match qos {
            1 => client.send(&packet::ack(0x40, message.packet_id)),
            2 => {
                let packet_id = message.packet_id;
                client.send(&packet::ack(0x50, packet_id));
                assert_eq!(client.receive(), Packet::Pubrel { packet_id, code: 0 });
                client.send(&packet::ack(0x70, packet_id));
            }
            _ => {}
        }
    }
    client.unsubscribe("a/#");
    client.ping();
    client.disconnect();
}

#[test]
fn ids_of_3_1_may_be_longer_than_23_bytes_and_not_empty() {
    let broker = Broker::start(LOCAL);
    let id = |length| "i".repeat(length);
    for length in [1, 23, 24, 1000] {
        broker
            .join(&Connect::new(Version::V31, &id(length)))
            .disconnect();
    }
    for clean in [true, false] {
        let mut connect = broker.as_local(&Connect::new(Version::V31, ""));
        connect.clean = clean;
        let (mut client, connack) = broker.attempt(&connect);
        assert_eq!(connack.code, 2, "3.1 has no ids that the server chooses");
        assert_eq!(client.closed(), []);
    }
}

#[test]
fn a_session_of_3_1_is_resumed_without_a_word_about_it() {
    let broker = Broker::start(LOCAL);
    let connect = Connect::new(Version::V31, "a").persistent();
    let mut client = broker.join(&connect);
    client.subscribe("a", 1);
    client.disconnect();
    let mut other = broker.join(&Connect::new(Version::V311, "other"));
    other.publish_acknowledged(Publish::new("a", "kept").qos(1, 0));
    let frames = frames_after(&broker, &connect, &[]);
    assert_eq!(frames[0], (0x20, vec![0, 0]), "3.1 reserves the byte");
    assert_eq!(broker.join(&connect).text(), "kept");
}

#[test]
fn what_3_1_may_not_subscribe_to_is_told_by_80_as_in_3_1_1() {
    let broker = Broker::start(&format!("{LOCAL}{DENY}"));
    for (_, _, version) in OLD {
        let mut client = broker.join(&Connect::new(version, "a"));
        let filters = [("secret", 1), ("open", 1), (&*too_deep(), 0)];
        client.send(&subscribe(version, 1, &filters));
        let codes = vec![0x80, 1, 0x80];
        assert_eq!(
            client.receive(),
            Packet::Suback {
                packet_id: 1,
                codes
            }
        );
    }
}

#[test]
fn old_clients_share_subscriptions_too() {
    let broker = Broker::start(LOCAL);
    for (_, _, version) in OLD {
        let mut members = ["one", "two"].map(|id| broker.join(&Connect::new(version, id)));
        for member in &mut members {
            assert_eq!(member.subscribe("$share/group/jobs/#", 0), 0);
        }
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        for number in 0..4 {
            publisher.publish("jobs/x", &number.to_string());
        }
        publisher.ping();
        let mut got: Vec<String> = Vec::new();
        for member in &mut members {
            got.extend([member.text(), member.text()]);
            member.ping();
        }
        got.sort();
        assert_eq!(got, ["0", "1", "2", "3"]);
    }
}

#[test]
fn a_bridge_gets_the_retain_flag_as_published_and_not_its_own_messages() {
    let broker = Broker::start(LOCAL);
    for old in OLD {
        let mut bridge = bridge(&broker, old);
        bridge.subscribe("a", 0);
        bridge.publish("a", "its own");
        let mut other = broker.join(&Connect::new(Version::V311, "other"));
        other.subscribe("a", 0);
        // The bridge's own message has been handled before anything of the other.
        bridge.ping();
        other.send_publish(&Publish::new("a", "another's").retained());
        assert!(!other.message().retain, "a plain client");
        let message = bridge.message();
        assert_eq!(
            (&*message.payload, message.retain),
            (&b"another's"[..], true)
        );
        other.send_publish(&Publish::new("a", "").retained());
        assert!(bridge.message().retain);
        other.message();
        other.disconnect();
        bridge.disconnect();
    }
}

#[test]
fn the_bit_of_a_bridge_means_nothing_in_5_0() {
    let broker = Broker::start(LOCAL);
    let connect = broker.as_local(&Connect::new(Version::V5, "bridge"));
    let mut client = broker.dial();
    client.send(&connect.encode_as(b"MQTT", 5 | BRIDGE, connect.flags()));
    let bytes = client.bytes_until_close();
    assert_eq!((bytes[0], bytes[3]), (0x20, 0x84), "a level that is none");
}
