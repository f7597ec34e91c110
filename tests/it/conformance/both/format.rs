//! Chapters 1, 2 and 4.13: strings, numbers, the fixed header, packet identifiers, and what breaks their form.

use crate::conformance::raw::{
    ILL_FORMED, frames_after, is_closed, is_malformed, publish_to, subscribe_to, unsubscribe_from,
};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{
    self, BOTH, Connect, Packet, Publish, Version, frame, put_string, subscribe, unsubscribe,
};

#[test]
fn a_packet_id_of_0_closes_the_connection_2_2_1_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let wrong = [
            Publish::new("a", "x").qos(1, 0).encode(version),
            Publish::new("a", "x").qos(2, 0).encode(version),
            subscribe(version, 0, &[("a", 0)]),
            unsubscribe(version, 0, &["a"]),
        ];
        for bytes in wrong {
            is_closed(&broker, version, &bytes, 0x82);
        }
    }
}

#[test]
fn a_string_that_reaches_past_its_packet_closes_the_connection_4_13_1_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        let mut body = Vec::new();
        put_string(&mut body, b"topic");
        body[1] = 200;
        client.send(&frame(0x30, &body));
        client.closed_because(0x81);
    }
}

#[test]
fn ill_formed_utf_in_a_topic_name_closes_the_connection_1_5_4_1_and_3_3_2_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for bytes in ILL_FORMED {
            is_closed(&broker, version, &publish_to(version, bytes), 0x81);
        }
    }
}

#[test]
fn ill_formed_utf_in_a_topic_filter_closes_the_connection_3_8_3_1_and_3_10_3_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for bytes in ILL_FORMED {
            is_closed(&broker, version, &subscribe_to(version, bytes), 0x81);
            is_closed(&broker, version, &unsubscribe_from(version, bytes), 0x81);
        }
    }
}

#[test]
fn the_null_character_in_a_string_closes_the_connection_1_5_4_2() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for bytes in [
            publish_to(version, b"a\0b"),
            subscribe_to(version, b"a\0b"),
            unsubscribe_from(version, b"\0"),
        ] {
            is_closed(&broker, version, &bytes, 0x81);
        }
        for (client_id, user_name, topic) in [
            ("a\0", "local", "a"),
            ("a", "lo\0cal", "a"),
            ("a", "local", "\0"),
        ] {
            let password = broker.root().local_password();
            let connect = Connect::new(version, client_id)
                .will(topic, "x")
                .user(user_name, &password);
            is_malformed(&broker, version, &connect.encode());
        }
    }
}

#[test]
fn a_zero_width_no_break_space_is_a_character_like_any_other_1_5_4_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.subscribe("\u{FEFF}a\u{FEFF}", 0);
        client.publish("a", "without");
        client.publish("\u{FEFF}a\u{FEFF}", "with");
        let message = client.message();
        assert_eq!(message.payload, b"with");
        assert_eq!(message.topic, "\u{FEFF}a\u{FEFF}");
    }
}

#[test]
fn other_flags_than_the_reserved_ones_close_the_connection_2_1_3_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for first in [0x41, 0x52, 0x60, 0x71, 0x83, 0xA0, 0xC4, 0xE8] {
            is_closed(
                &broker,
                version,
                &frame(first, &[0, 1, 0, 1, b'a', 0]),
                0x81,
            );
        }
    }
}

#[test]
fn a_remaining_length_of_five_bytes_closes_the_connection_1_5_5_1() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        is_closed(&broker, version, &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1], 0x81);
    }
}

#[test]
fn a_qos_0_publish_has_no_packet_id_2_2_1_2() {
    let broker = Broker::start(LOCAL);
    for (version, expected) in [
        (Version::V311, &b"\0\x01tx"[..]),
        (Version::V5, b"\0\x01t\0x"),
    ] {
        let sent = [
            subscribe(version, 1, &[("t", 2)]),
            Publish::new("t", "x").encode(version),
        ];
        let frames = frames_after(&broker, &Connect::new(version, "a"), &sent.concat());
        assert_eq!(frames[2], (0x30, expected.to_vec()));
    }
}

#[test]
fn the_answers_to_publish_have_its_packet_id_2_2_1_5() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send_publish(&Publish::new("a", "x").qos(1, 300));
        client.expect(|packet| matches!(packet, Packet::Puback { packet_id: 300, .. }));
        client.send_publish(&Publish::new("a", "x").qos(2, 301));
        client.expect(|packet| matches!(packet, Packet::Pubrec { packet_id: 301, .. }));
        client.send(&packet::ack(0x62, 301));
        client.expect(|packet| matches!(packet, Packet::Pubcomp { packet_id: 301, .. }));
    }
}

#[test]
fn suback_and_unsuback_have_the_packet_id_they_answer_2_2_1_6() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        for packet_id in [1, 65_535, 256] {
            client.send(&subscribe(version, packet_id, &[("a", 0)]));
            client.expect(
                |packet| matches!(packet, Packet::Suback { packet_id: id, .. } if *id == packet_id),
            );
            client.send(&unsubscribe(version, packet_id, &["a"]));
            client.expect(
                |packet| matches!(packet, Packet::Unsuback { packet_id: id, .. } if *id == packet_id),
            );
        }
    }
}
