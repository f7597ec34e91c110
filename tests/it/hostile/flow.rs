//! Packets out of order and out of number from clients that are let in: hostile inputs 35 to 42, 48 and 49.

use super::siege::{Siege, text};
use crate::harness::client::Client;
use crate::harness::packet::{
    BOTH, Connect, PINGREQ, Packet, Publish, Version, ack, frame, put_string, subscribe,
};

#[test]
fn one_qos_2_identifier_without_an_end_is_one_message_35() {
    let siege = Siege::begin();
    for version in BOTH {
        let mut attacker = siege.attacker(version);
        let publish = Publish::new("a", text(1000)).qos(2, 7);
        for _ in 0..5000 {
            attacker.send_publish(&publish);
            attacker.expect(|packet| matches!(packet, Packet::Pubrec { packet_id: 7, .. }));
        }
        attacker.disconnect();
    }
    siege.survived();
}

#[test]
fn all_qos_2_identifiers_may_be_open_at_once_36() {
    let siege = Siege::begin();
    let mut attacker = siege.attacker(Version::V311);
    for first in (1..=65_535_u32).step_by(1000) {
        let ids = first..(first + 1000).min(65_536);
        let bytes: Vec<u8> = ids
            .clone()
            .flat_map(|id| {
                Publish::new("a", "x")
                    .qos(2, id as u16)
                    .encode(Version::V311)
            })
            .collect();
        attacker.send(&bytes);
        for id in ids {
            let id = id as u16;
            attacker.expect(
                |packet| matches!(packet, Packet::Pubrec { packet_id, .. } if *packet_id == id),
            );
        }
    }
    attacker.ping();
    siege.survived();
}

#[test]
fn acknowledgements_of_nothing_change_nothing_37() {
    let siege = Siege::begin();
    for version in BOTH {
        let mut attacker = siege.attacker(version);
        for first in [0x40, 0x50, 0x62, 0x70] {
            attacker.send(&ack(first, 999));
        }
        attacker.send(&PINGREQ);
        while attacker.receive() != Packet::Pingresp {}
        attacker.disconnect();
    }
    siege.survived();
}

#[test]
fn a_puback_for_a_qos_2_message_is_closed_38() {
    let siege = Siege::begin();
    for version in BOTH {
        let mut attacker = siege.attacker(version);
        attacker.subscribe("mine", 2);
        attacker.send_publish(&Publish::new("mine", "x").qos(2, 1));
        let mut id = 0;
        while id == 0 {
            if let Packet::Publish(publish) = attacker.receive() {
                id = publish.packet_id;
            }
        }
        attacker.send(&ack(0x40, id));
        attacker.closed();
    }
    siege.survived();
}

#[test]
fn more_than_the_receive_maximum_is_closed_39() {
    let siege = Siege::begin();
    let mut attacker = siege.attacker(Version::V5);
    for id in 1..=1025 {
        attacker.send_publish(&Publish::new("a", "x").qos(2, id));
    }
    let last = attacker.closed().pop();
    assert_eq!(last, Some(Packet::Disconnect { code: 0x93 }));
    siege.survived();
}

#[test]
fn subscribes_without_filters_are_closed_and_ten_thousand_filters_are_answered_40() {
    let siege = Siege::begin();
    for version in BOTH {
        for filter in [&b""[..], b"\0\x01a"] {
            let mut body = vec![0, 1];
            if version == Version::V5 {
                body.push(0);
            }
            body.extend_from_slice(filter);
            let mut attacker = siege.attacker(version);
            attacker.send(&frame(0x82, &body));
            attacker.closed();
        }
        let mut attacker = siege.attacker(version);
        let filters: Vec<String> = (0..10_000).map(|n| format!("f/{n}")).collect();
        let filters: Vec<(&str, u8)> = filters.iter().map(|filter| (filter.as_str(), 0)).collect();
        attacker.send(&subscribe(version, 1, &filters));
        attacker.expect(
            |packet| matches!(packet, Packet::Suback { codes, .. } if codes.len() == 10_000),
        );
        attacker.disconnect();
    }
    siege.survived();
}

#[test]
fn a_plain_filter_and_a_shared_one_do_not_end_each_other_41() {
    let siege = Siege::begin();
    let mut attacker = siege.attacker(Version::V5);
    for (subscribed, other) in [("a/b", "$share/g/a/b"), ("$share/g/c/d", "c/d")] {
        assert_eq!(attacker.subscribe(subscribed, 0), 0);
        attacker.unsubscribe(other);
        attacker.publish(
            subscribed.trim_start_matches("$share/g/"),
            "still subscribed",
        );
        assert_eq!(attacker.text(), "still subscribed");
    }
    siege.survived();
}

#[test]
fn publishes_whose_qos_does_not_fit_are_closed_42() {
    let siege = Siege::begin();
    for version in BOTH {
        let mut body = Vec::new();
        put_string(&mut body, b"a");
        let without_id = body.clone();
        body.extend_from_slice(&[0, 0]);
        if version == Version::V5 {
            body.push(0);
        }
        for (first, body) in [
            (0x36, &body),
            (0x38, &body),
            (0x32, &body),
            (0x32, &without_id),
        ] {
            let mut attacker = siege.attacker(version);
            attacker.send(&frame(first, body));
            attacker.closed();
        }
    }
    siege.survived();
}

#[test]
fn identifiers_of_a_resumed_session_do_not_collide_with_new_ones_48() {
    let siege = Siege::begin();
    let connect = Connect::new(Version::V311, "resumed").persistent();
    let mut client = siege.join(&connect);
    client.subscribe("a", 1);
    let mut publisher = siege.join(&Connect::new(Version::V311, "publisher"));
    publisher.publish_acknowledged(Publish::new("a", "first").qos(1, 0));
    let first = client.message();
    drop(client);
    let mut client = siege.join(&connect);
    let again = client.message();
    assert_eq!((again.packet_id, again.dup), (first.packet_id, true));
    publisher.publish_acknowledged(Publish::new("a", "second").qos(1, 0));
    assert_ne!(client.message().packet_id, first.packet_id);
    siege.survived();
}

#[test]
fn who_never_pings_goes_when_that_was_promised_and_only_then_49() {
    let siege = Siege::begin();
    let mut silent: Vec<Client> = [0, 65_535]
        .map(|keep_alive_s| {
            let id = format!("silent {keep_alive_s}");
            siege.join(&Connect::new(Version::V311, &id).keep_alive(keep_alive_s))
        })
        .into();
    let mut late = siege.join(&Connect::new(Version::V311, "late").keep_alive(1));
    late.closed();
    for client in &mut silent {
        client.ping();
    }
    siege.survived();
}
