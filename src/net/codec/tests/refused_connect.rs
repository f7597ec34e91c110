//! Every rule that a CONNECT can break, and who is told.

use super::*;
use Version::{V3_1, V3_1_1, V5};

/// What a CONNECT is answered with: the version of the CONNACK, if there is one, and the reason.
#[track_caller]
fn check_connect(what: &str, body: &[u8], expected: Option<(Option<Version>, ReasonCode)>) {
    let found = connect(body, &mut Scratch::new())
        .err()
        .map(|refusal| (refusal.answer, refusal.fault.reason));
    assert_eq!(found, expected, "{what}: {body:02X?}");
}

#[test]
fn an_unknown_protocol_is_told_so_in_its_own_words_3_1_2_2() {
    let unsupported = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
    for (name, level, answer) in [
        ("MQTT", 0, Some(V3_1_1)),
        ("MQTT", 3, Some(V3_1_1)),
        ("MQTT", 0x83, Some(V5)),
        ("MQTT", 6, Some(V5)),
        ("MQTT", 0x85, Some(V5)),
        ("MQTT", 255, Some(V5)),
        ("MQIsdp", 4, Some(V3_1_1)),
        ("MQIsdp", 5, Some(V3_1_1)),
        ("MQIsdp", 0x84, Some(V3_1_1)),
        ("mqtt", 4, None),
        ("", 4, None),
        ("HTTP", 5, None),
    ] {
        let body = join(&[&field(name), &[level, 2, 0, 0], &[0], &field("c")]);
        check_connect(name, &body, Some((answer, unsupported)));
    }
    let long = join(&[&[0xFF, 0xFF], &[b'M'; 300]]);
    check_connect(
        "a long name",
        &long,
        Some((None, ReasonCode::MALFORMED_PACKET)),
    );
    check_connect("no name", &[], Some((None, ReasonCode::MALFORMED_PACKET)));
    check_connect(
        "no level",
        &field("MQTT"),
        Some((None, ReasonCode::MALFORMED_PACKET)),
    );
}

#[test]
fn the_first_packet_is_a_connect_with_clear_flags_3_1_0_1() {
    let body = join(&[&connect_start(V3_1_1, 2), &field("c")]);
    for first in (0..=255).filter(|&first| first != 0x10) {
        let refusal = decode_connect(first, &body, &mut Scratch::new()).expect_err("not a CONNECT");
        assert_eq!(refusal.answer, None);
    }
}

#[test]
fn the_flags_of_a_connect_agree_with_each_other_3_1_2() {
    let silent = Some((None, ReasonCode::MALFORMED_PACKET));
    let told = Some((Some(V5), ReasonCode::MALFORMED_PACKET));
    for version in ALL {
        let (empty, malformed): (&[u8], _) = if version.is_v5() {
            (&[0], told)
        } else {
            (&[], silent)
        };
        let body = |flags: u8, rest: &[&[u8]]| {
            join(&[
                &connect_start(version, flags),
                empty,
                &field("c"),
                &rest.concat(),
            ])
        };
        let will = join(&[empty, &field("w"), &field("p")]);
        check_connect("will QoS 3 3.1.2-12", &body(0x1E, &[&will]), malformed);
        check_connect("QoS without a will 3.1.2-11", &body(0x0A, &[]), malformed);
        check_connect(
            "retain without a will 3.1.2-13",
            &body(0x22, &[]),
            malformed,
        );
        check_connect("a will", &body(0x36, &[&will]), None);
        check_connect("no will", &body(0x06, &[]), malformed);
        check_connect("trailing", &body(0x02, &[&[0]]), malformed);
        let password_only = if version.is_v5() { None } else { malformed };
        check_connect("password only", &body(0x42, &[&field("p")]), password_only);
        check_connect("both", &body(0xC2, &[&field("u"), &field("p")]), None);
        let reserved = if version == V3_1 { None } else { malformed };
        check_connect("reserved 3.1.2-3", &body(0x03, &[]), reserved);
        // The User Name is missing, which 3.1 tolerates.
        let missing = if version == V3_1 { None } else { malformed };
        check_connect("no user name", &body(0xC2, &[]), missing);
        check_connect("no password", &body(0xC2, &[&field("u")]), missing);
    }
}

#[test]
fn ill_formed_strings_in_a_connect_are_refused() {
    for version in ALL {
        let empty: &[u8] = if version.is_v5() { &[0] } else { &[] };
        let answer = version.is_v5().then_some(V5);
        let malformed = Some((answer, ReasonCode::MALFORMED_PACKET));
        for text in ILL_FORMED {
            let id = join(&[&connect_start(version, 2), empty, &field(text)]);
            check_connect("client id", &id, malformed);
            let start = join(&[&connect_start(version, 0x82), empty, &field("c")]);
            check_connect("user name", &join(&[&start, &field(text)]), malformed);
        }
        for topic in [&b""[..], b"a/+", b"#"].into_iter().chain(ILL_FORMED) {
            let start = join(&[&connect_start(version, 6), empty, &field("c"), empty]);
            let body = join(&[&start, &field(topic), &field("p")]);
            check_connect("will topic 3.1.3-11", &body, malformed);
        }
    }
}

#[test]
fn an_empty_client_identifier_is_refused_where_it_must_be_3_1_3_8() {
    let refused = ReasonCode::CLIENT_IDENTIFIER_NOT_VALID;
    for (version, flags, expected) in [
        (V3_1, 0, Some((Some(V3_1), refused))),
        (V3_1, 2, Some((Some(V3_1), refused))),
        (V3_1_1, 0, Some((Some(V3_1_1), refused))),
        (V3_1_1, 2, None),
        (V5, 0, None),
        (V5, 2, None),
    ] {
        let empty: &[u8] = if version.is_v5() { &[0] } else { &[] };
        let body = join(&[&connect_start(version, flags), empty, &field("")]);
        check_connect(version.name(), &body, expected);
    }
    let long = join(&[&connect_start(V3_1, 2), &field("c".repeat(24))]);
    check_connect("longer than 3.1 wanted", &long, None);
}

#[test]
fn the_properties_of_a_connect_are_checked_3_1_2_11() {
    let malformed = Some((Some(V5), ReasonCode::MALFORMED_PACKET));
    let protocol = Some((Some(V5), ReasonCode::PROTOCOL_ERROR));
    for (what, properties, expected) in [
        ("receive maximum 0", &[0x21, 0, 0][..], protocol),
        ("packet size 0", &[0x27, 0, 0, 0, 0], protocol),
        ("response information 2", &[0x19, 2], protocol),
        ("problem information 2", &[0x17, 2], protocol),
        ("data without method", &[0x16, 0, 1, 1], protocol),
        ("data with method", &[0x16, 0, 1, 1, 0x15, 0, 1, b'm'], None),
        (
            "expiry twice",
            &[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1],
            protocol,
        ),
        ("alias maximum twice", &[0x22, 0, 1, 0x22, 0, 1], protocol),
        ("method NUL", &[0x15, 0, 1, 0], malformed),
        ("alien", &[0x23, 0, 1], malformed),
        ("server's", &[0x12, 0, 1, b'x'], malformed),
        ("unknown", &[0x3F, 0], malformed),
        ("truncated", &[0x11, 0, 0, 0], malformed),
    ] {
        let body = join(&[&connect_start(V5, 2), &block(properties), &field("c")]);
        check_connect(what, &body, expected);
    }
    for (what, properties, expected) in [
        ("delay", &[0x18, 0, 0, 0, 1][..], None),
        ("expiry 0", &[0x02, 0, 0, 0, 0], None),
        (
            "delay twice",
            &[0x18, 0, 0, 0, 1, 0x18, 0, 0, 0, 1],
            protocol,
        ),
        ("format 2", &[0x01, 2], protocol),
        ("alias", &[0x23, 0, 1], malformed),
        ("response topic", &[0x08, 0, 1, b'#'], protocol),
        ("subscription id", &[0x0B, 1], malformed),
    ] {
        let start = join(&[&connect_start(V5, 6), &[0], &field("c")]);
        let body = join(&[&start, &block(properties), &field("w"), &field("p")]);
        check_connect(what, &body, expected);
    }
}
