//! Every rule that one packet alone can break, with the reason that its breach is answered with.

use super::*;
use crate::mqtt::packet::{Ack, Auth, Disconnect};
use Version::{V3_1, V3_1_1, V5};

const MALFORMED: Option<ReasonCode> = Some(ReasonCode::MALFORMED_PACKET);
const PROTOCOL: Option<ReasonCode> = Some(ReasonCode::PROTOCOL_ERROR);
const ALIAS: Option<ReasonCode> = Some(ReasonCode::TOPIC_ALIAS_INVALID);

/// The body of a PUBLISH of QoS 0 with these properties.
fn publish_with(properties: &[u8]) -> Vec<u8> {
    join(&[&field("t"), &block(properties), b"payload"])
}

fn subscribe_with(properties: &[u8], filters: &[u8]) -> Vec<u8> {
    join(&[&[0, 1], &block(properties), filters])
}

#[track_caller]
fn check(what: &str, version: Version, first: u8, body: &[u8], expected: Option<ReasonCode>) {
    assert_eq!(
        refused(version, first, body),
        expected,
        "{what}: {} {first:02X} {body:02X?}",
        version.name()
    );
}

#[test]
fn a_packet_type_that_no_client_may_send_is_refused() {
    for version in ALL {
        check("type 0", version, 0x00, &[], MALFORMED);
        check(
            "CONNECT 3.1.0-2",
            version,
            0x10,
            &connect_start(version, 0),
            PROTOCOL,
        );
        check("CONNACK", version, 0x20, &[0, 0], PROTOCOL);
        check("SUBACK", version, 0x90, &[0, 1, 0], PROTOCOL);
        check("UNSUBACK", version, 0xB0, &[0, 1], PROTOCOL);
        check("PINGRESP", version, 0xD0, &[], PROTOCOL);
    }
    check("AUTH before 5.0", V3_1, 0xF0, &[], MALFORMED);
    check("AUTH before 5.0", V3_1_1, 0xF0, &[], MALFORMED);
}

#[test]
fn a_reserved_flag_of_the_fixed_header_is_refused_2_1_3_1() {
    let filter = field("a");
    for version in [V3_1_1, V5] {
        let empty: &[u8] = if version.is_v5() { &[0] } else { &[] };
        let subscribe = join(&[&[0, 1], empty, &filter, &[0]]);
        let unsubscribe = join(&[&[0, 1], empty, &filter]);
        for (kind, flags, body) in [
            (0x40, 0, &[0, 1][..]),
            (0x50, 0, &[0, 1]),
            (0x60, 2, &[0, 1]),
            (0x70, 0, &[0, 1]),
            (0x80, 2, &subscribe),
            (0xA0, 2, &unsubscribe),
            (0xC0, 0, &[]),
            (0xE0, 0, &[]),
        ] {
            for wrong in (0..16).filter(|&other| other != flags) {
                check("flags", version, kind | wrong, body, MALFORMED);
            }
            check("flags", version, kind | flags, body, None);
        }
    }
    for wrong in 1..16 {
        let body = join(&[&[0x18], &block(&join(&[&[0x15], &field("m")]))]);
        check("AUTH", V5, 0xF0 | wrong, &body, MALFORMED);
    }
}

#[test]
fn a_duplicate_mark_on_what_3_1_sent_with_qos_1_is_read() {
    let subscribe = join(&[&[0, 1], &field("a"), &[0]]);
    for first in [0x82, 0x8A] {
        check("SUBSCRIBE", V3_1, first, &subscribe, None);
    }
    check("PUBREL", V3_1, 0x6A, &[0, 1], None);
    check("PUBREL", V3_1, 0x60, &[0, 1], MALFORMED);
    check("PUBREL", V3_1_1, 0x6A, &[0, 1], MALFORMED);
}

#[test]
fn the_flags_of_a_publish_are_checked_3_3_1() {
    for version in ALL {
        let empty: &[u8] = if version.is_v5() { &[0] } else { &[] };
        let with_id = join(&[&field("t"), &[0, 1], empty]);
        check("QoS 3 3.3.1-4", version, 0x36, &with_id, MALFORMED);
        check("DUP 3.3.1-2", version, 0x38, &with_id, MALFORMED);
        check(
            "id 0 2.2.1-3",
            version,
            0x32,
            &join(&[&field("t"), &[0, 0], empty]),
            PROTOCOL,
        );
        check("no id", version, 0x32, &field("t"), MALFORMED);
        check(
            "half an id",
            version,
            0x34,
            &join(&[&field("t"), &[1]]),
            MALFORMED,
        );
        for first in [0x32, 0x33, 0x34, 0x3A, 0x3D] {
            check("well formed", version, first, &with_id, None);
        }
    }
}

#[test]
fn a_topic_name_without_one_of_its_properties_is_refused_4_7() {
    for version in ALL {
        let empty: &[u8] = if version.is_v5() { &[0] } else { &[] };
        for name in [&b"a/+"[..], b"#", b"a#", b"+"]
            .into_iter()
            .chain(ILL_FORMED)
        {
            check(
                "3.3.2-2",
                version,
                0x30,
                &join(&[&field(name), empty]),
                MALFORMED,
            );
        }
        check("no topic", version, 0x30, &[], MALFORMED);
        check("short topic", version, 0x30, &[0, 5, b'a'], MALFORMED);
    }
    check("4.7.3-1", V3_1_1, 0x30, &field(""), MALFORMED);
    check(
        "neither topic nor alias",
        V5,
        0x30,
        &join(&[&field(""), &[0]]),
        PROTOCOL,
    );
    let alias = join(&[&field(""), &block(&[0x23, 0, 1])]);
    check("an alias alone", V5, 0x30, &alias, None);
    let long = "a".repeat(65_535);
    check("the longest", V5, 0x30, &join(&[&field(&long), &[0]]), None);
    let deep = "/".repeat(32_767);
    check("the deepest", V5, 0x30, &join(&[&field(&deep), &[0]]), None);
}

#[test]
fn the_properties_of_a_publish_are_checked_3_3_2_8() {
    let wild = |topic: &str| join(&[&[0x08], &field(topic)]);
    for (what, properties, expected) in [
        ("unknown id", vec![0x7E, 0], MALFORMED),
        ("id 0", vec![0], MALFORMED),
        ("id of two bytes", vec![0x81, 0], MALFORMED),
        ("id beyond 63", vec![0x41, 0], MALFORMED),
        ("server's property", vec![0x24, 1], MALFORMED),
        ("will's property", vec![0x18, 0, 0, 0, 1], MALFORMED),
        ("alias 0 3.3.2-8", vec![0x23, 0, 0], ALIAS),
        ("alias twice", vec![0x23, 0, 1, 0x23, 0, 1], PROTOCOL),
        ("subscription id 3.3.4-6", vec![0x0B, 1], PROTOCOL),
        ("subscription id 0", vec![0x0B, 0], PROTOCOL),
        ("non-minimal id", vec![0x0B, 0x81, 0], MALFORMED),
        (
            "five bytes",
            vec![0x0B, 0xFF, 0xFF, 0xFF, 0xFF, 1],
            MALFORMED,
        ),
        ("format 2", vec![0x01, 2], PROTOCOL),
        ("format twice", vec![0x01, 1, 0x01, 1], PROTOCOL),
        (
            "expiry twice",
            vec![0x02, 0, 0, 0, 1, 0x02, 0, 0, 0, 1],
            PROTOCOL,
        ),
        ("truncated expiry", vec![0x02, 0, 0, 0], MALFORMED),
        ("truncated alias", vec![0x23, 0], MALFORMED),
        ("no value", vec![0x01], MALFORMED),
        ("content type twice", vec![0x03, 0, 0, 0x03, 0, 0], PROTOCOL),
        ("correlation twice", vec![0x09, 0, 0, 0x09, 0, 0], PROTOCOL),
        ("response twice", [wild("a"), wild("a")].concat(), PROTOCOL),
        ("response wildcard 3.3.2-14", wild("a/+"), PROTOCOL),
        ("response wildcard 3.3.2-14", wild("#"), PROTOCOL),
        ("response empty", wild(""), PROTOCOL),
        ("response NUL", wild("a\0"), MALFORMED),
        ("half a pair", join(&[&[0x26], &field("name")]), MALFORMED),
        ("beyond the block", vec![0x03, 0, 9, b'a'], MALFORMED),
    ] {
        check(what, V5, 0x30, &publish_with(&properties), expected);
    }
    for text in ILL_FORMED {
        for properties in [
            join(&[&[0x03], &field(text)]),
            join(&[&[0x08], &field(text)]),
            join(&[&[0x26], &field(text), &field("v")]),
            join(&[&[0x26], &field("n"), &field(text)]),
        ] {
            check(
                "ill formed",
                V5,
                0x30,
                &publish_with(&properties),
                MALFORMED,
            );
        }
    }
    check("no property length", V5, 0x30, &field("t"), MALFORMED);
    let beyond = join(&[&field("t"), &[9, 0x01, 1]]);
    check(
        "property length beyond the packet",
        V5,
        0x30,
        &beyond,
        MALFORMED,
    );
    let padded = join(&[&field("t"), &[0x80, 0]]);
    check("non-minimal property length", V5, 0x30, &padded, MALFORMED);
}

#[test]
fn a_user_property_may_stand_as_often_as_there_is_room() {
    let pair = join(&[&[0x26], &field("n"), &field("v")]);
    let properties = pair.repeat(10_000);
    let body = publish_with(&properties);
    let mut scratch = Scratch::new();
    let Ok(ClientPacket::Publish(publish)) = decode(V5, 0x30, &body, &mut scratch) else {
        panic!("a PUBLISH with 10,000 User Properties");
    };
    assert_eq!(publish.properties, properties);
}

#[test]
fn an_ack_is_as_long_as_its_version_says() {
    for first in [0x40, 0x50, 0x62, 0x70] {
        for version in ALL {
            check("no id", version, first, &[], MALFORMED);
            check("half an id", version, first, &[1], MALFORMED);
            check("id 0", version, first, &[0, 0], PROTOCOL);
            check("id only", version, first, &[0, 1], None);
        }
        check("trailing", V3_1_1, first, &[0, 1, 0], MALFORMED);
        check("reason only 3.4.2.2.1", V5, first, &[0, 1, 0], None);
        check("no properties", V5, first, &[0, 1, 0, 0], None);
        check("trailing", V5, first, &[0, 1, 0, 0, 0], MALFORMED);
        check("beyond", V5, first, &[0, 1, 0, 5], MALFORMED);
        let words = join(&[&[0, 1, 0], &block(&join(&[&[0x1F], &field("why")]))]);
        check("reason string", V5, first, &words, None);
        let twice = join(&[&[0, 1, 0], &block(&[0x1F, 0, 0, 0x1F, 0, 0])]);
        check("reason string twice", V5, first, &twice, PROTOCOL);
        let alien = join(&[&[0, 1, 0], &block(&[0x23, 0, 1])]);
        check("alien property", V5, first, &alien, MALFORMED);
    }
}

#[test]
fn an_ack_has_the_reason_codes_of_its_packet_only() {
    let received = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    let release = [0x00, 0x92];
    for (first, allowed) in [
        (0x40, &received[..]),
        (0x50, &received),
        (0x62, &release),
        (0x70, &release),
    ] {
        for code in 0..=255 {
            let expected = if allowed.contains(&code) {
                None
            } else {
                PROTOCOL
            };
            check("reason", V5, first, &[0, 1, code], expected);
        }
    }
    assert_eq!(
        decode(V5, 0x70, &[1, 2, 0x92], &mut Scratch::new()),
        Ok(ClientPacket::PubComp(Ack {
            packet_id: crate::mqtt::PacketId::new(0x102).expect("not 0"),
            reason: ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
        }))
    );
}

/// The filter `a` with this options byte, as it stands in a SUBSCRIBE.
fn option(bits: u8) -> Vec<u8> {
    join(&[&field("a"), &[bits]])
}

#[test]
fn a_subscribe_is_checked_3_8() {
    for version in ALL {
        let empty: &[u8] = if version.is_v5() { &[0] } else { &[] };
        let body = |filters: &[u8]| join(&[&[0, 1], empty, filters]);
        check("no filter 3.8.3-2", version, 0x82, &body(&[]), PROTOCOL);
        check(
            "id 0",
            version,
            0x82,
            &join(&[&[0, 0], empty, &option(0)]),
            PROTOCOL,
        );
        check("no options", version, 0x82, &body(&field("a")), MALFORMED);
        check("QoS 3", version, 0x82, &body(&option(3)), PROTOCOL);
        check(
            "reserved 3.8.3-5",
            version,
            0x82,
            &body(&option(0x40)),
            MALFORMED,
        );
        check(
            "reserved 3.8.3-5",
            version,
            0x82,
            &body(&option(0x81)),
            MALFORMED,
        );
        check(
            "short filter",
            version,
            0x82,
            &body(&[0, 9, b'a']),
            MALFORMED,
        );
        let good = join(&[&option(0), &option(2), &field("$share/g/+/#"), &[1]]);
        check("well formed", version, 0x82, &body(&good), None);
    }
}

#[test]
fn a_topic_filter_is_checked_4_7() {
    for version in ALL {
        let empty: &[u8] = if version.is_v5() { &[0] } else { &[] };
        for filter in [
            &b""[..],
            b"a#",
            b"#/a",
            b"a+",
            b"$share",
            b"$share/g",
            b"$share/g/",
            b"$share//x",
            b"$share/+/x",
            b"$share/g/a#",
        ]
        .into_iter()
        .chain(ILL_FORMED)
        {
            let filters = join(&[&option(1), &field(filter), &[0]]);
            let body = join(&[&[0, 1], empty, &filters]);
            check("filter", version, 0x82, &body, MALFORMED);
        }
    }
}

#[test]
fn the_options_of_a_subscription_are_checked_3_8_3_5() {
    check(
        "an option of 5.0",
        V3_1_1,
        0x82,
        &join(&[&[0, 1], &option(4)]),
        MALFORMED,
    );
    check(
        "retain handling 3",
        V5,
        0x82,
        &subscribe_with(&[], &option(0x30)),
        PROTOCOL,
    );
    check(
        "every option",
        V5,
        0x82,
        &subscribe_with(&[], &option(0x2E)),
        None,
    );
    let shared = join(&[&field("$share/g/a"), &[4]]);
    check(
        "no local 3.8.3-4",
        V5,
        0x82,
        &subscribe_with(&[], &shared),
        PROTOCOL,
    );
}

#[test]
fn the_properties_of_subscribe_and_unsubscribe_are_checked() {
    let filter = join(&[&field("a"), &[0]]);
    for (what, properties, expected) in [
        ("id 0", &[0x0B, 0][..], PROTOCOL),
        ("id twice", &[0x0B, 1, 0x0B, 2], PROTOCOL),
        ("alien", &[0x23, 0, 1], MALFORMED),
        ("unknown", &[0x04, 1], MALFORMED),
        ("largest id", &[0x0B, 0xFF, 0xFF, 0xFF, 0x7F], None),
        ("user", &[0x26, 0, 0, 0, 0], None),
    ] {
        check(
            what,
            V5,
            0x82,
            &subscribe_with(properties, &filter),
            expected,
        );
    }
    for (what, properties, expected) in [
        ("no subscription id", &[0x0B, 1][..], MALFORMED),
        ("user", &[0x26, 0, 0, 0, 0], None),
    ] {
        check(
            what,
            V5,
            0xA2,
            &subscribe_with(properties, &field("a")),
            expected,
        );
    }
}

#[test]
fn an_unsubscribe_is_checked_3_10() {
    for version in ALL {
        let empty: &[u8] = if version.is_v5() { &[0] } else { &[] };
        let body = |filters: &[u8]| join(&[&[0, 1], empty, filters]);
        check("no filter 3.10.3-2", version, 0xA2, &body(&[]), PROTOCOL);
        check(
            "id 0",
            version,
            0xA2,
            &join(&[&[0, 0], empty, &field("a")]),
            PROTOCOL,
        );
        for filter in [&b""[..], b"a#", b"$share/g"].into_iter().chain(ILL_FORMED) {
            check("filter", version, 0xA2, &body(&field(filter)), MALFORMED);
        }
        let good = join(&[&field("a"), &field("$share/g/b")]);
        check("well formed", version, 0xA2, &body(&good), None);
    }
}

#[test]
fn the_number_of_filters_in_a_packet_is_bounded() {
    let quota = Some(ReasonCode::QUOTA_EXCEEDED);
    let filter = join(&[&field("a"), &[0]]);
    for (count, expected) in [
        (10_000, None),
        (FILTERS_MAX, None),
        (FILTERS_MAX + 1, quota),
    ] {
        let subscribe = subscribe_with(&[], &filter.repeat(count));
        assert_eq!(refused(V5, 0x82, &subscribe), expected, "{count}");
        let unsubscribe = subscribe_with(&[], &field("a").repeat(count));
        assert_eq!(refused(V5, 0xA2, &unsubscribe), expected, "{count}");
    }
}

#[test]
fn a_pingreq_and_a_disconnect_of_3_1_1_are_empty() {
    for version in ALL {
        check("PINGREQ", version, 0xC0, &[0], MALFORMED);
        check("PINGREQ", version, 0xC0, &[], None);
        check("DISCONNECT", version, 0xE0, &[], None);
    }
    check("DISCONNECT", V3_1_1, 0xE0, &[0], MALFORMED);
}

#[test]
fn a_disconnect_is_checked_3_14() {
    let from_client = [
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
    ];
    for code in 0..=255 {
        let expected = if from_client.contains(&code) {
            None
        } else {
            PROTOCOL
        };
        check("3.14.2-1", V5, 0xE0, &[code], expected);
    }
    for (what, properties, expected) in [
        ("expiry", &[0x11, 0, 0, 0, 9][..], None),
        (
            "expiry twice",
            &[0x11, 0, 0, 0, 9, 0x11, 0, 0, 0, 9],
            PROTOCOL,
        ),
        ("server reference", &[0x1C, 0, 1, b's'], PROTOCOL),
        ("alien", &[0x21, 0, 9], MALFORMED),
        ("reason string", &[0x1F, 0, 1, b'w'], None),
        ("user", &[0x26, 0, 0, 0, 0], None),
    ] {
        let body = join(&[&[0], &block(properties)]);
        check(what, V5, 0xE0, &body, expected);
        check(
            "trailing",
            V5,
            0xE0,
            &[&body[..], &[0]].concat(),
            expected.or(MALFORMED),
        );
    }
    assert_eq!(
        decode(V5, 0xE0, &[4, 5, 0x11, 0, 0, 1, 0], &mut Scratch::new()),
        Ok(ClientPacket::Disconnect(Disconnect {
            reason: ReasonCode::DISCONNECT_WITH_WILL,
            session_expiry_s: Some(256),
        }))
    );
}

#[test]
fn an_auth_is_checked_3_15() {
    let method = join(&[&[0x15], &field("m")]);
    let body = |code: u8, properties: &[u8]| join(&[&[code], &block(properties)]);
    for code in 0..=255 {
        let expected = if matches!(code, 0x18 | 0x19) {
            None
        } else {
            PROTOCOL
        };
        check("3.15.2-1", V5, 0xF0, &body(code, &method), expected);
    }
    check("success is the server's", V5, 0xF0, &[], PROTOCOL);
    check("no property length", V5, 0xF0, &[0x18], MALFORMED);
    check("no method", V5, 0xF0, &body(0x18, &[]), PROTOCOL);
    check(
        "data only",
        V5,
        0xF0,
        &body(0x18, &[0x16, 0, 1, 1]),
        PROTOCOL,
    );
    check(
        "method twice",
        V5,
        0xF0,
        &body(0x18, &method.repeat(2)),
        PROTOCOL,
    );
    check(
        "trailing",
        V5,
        0xF0,
        &[&body(0x18, &method)[..], &[0]].concat(),
        MALFORMED,
    );
    let full = body(0x19, &join(&[&method, &[0x16, 0, 1, 7, 0x1F, 0, 1, b'w']]));
    assert_eq!(
        decode(V5, 0xF0, &full, &mut Scratch::new()),
        Ok(ClientPacket::Auth(Auth {
            reason: ReasonCode::REAUTHENTICATE,
            method: Some("m"),
            data: Some(&[7]),
        }))
    );
}
