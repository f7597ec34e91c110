//! Reason Strings: what is refused is told in words, where they are wanted and where there is room for them.

use crate::conformance::raw::{frames_after, reference_and_reason, too_deep};
use crate::harness::broker::{Broker, LOCAL, OPEN};
use crate::harness::client::Client;
use crate::harness::packet::{Connack, Connect, Publish, Version, property, subscribe};

const REASON_STRING: u8 = 0x1F;
const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;

const NOT_TO_PUBLISH: &str = "not authorized to publish to this topic";
const NOT_TO_SUBSCRIBE: &str = "not authorized to subscribe to this filter";

/// Nobody may touch `secret`.
const DENY: &str =
    "\nconfig acl\n\tlist topic 'secret'\n\toption access 'deny'\n\toption action 'deny'\n";

fn limited(mut connect: Connect, size: usize) -> Connect {
    let size = u32::try_from(size).expect("a small number");
    connect
        .properties
        .push((property::MAXIMUM_PACKET_SIZE, size.to_be_bytes().to_vec()));
    connect
}

fn declining(mut connect: Connect) -> Connect {
    connect
        .properties
        .push((REQUEST_PROBLEM_INFORMATION, vec![0]));
    connect
}

fn v5() -> Connect {
    Connect::new(Version::V5, "a")
}

/// The answers to a conversation, without the CONNACK.
fn answers(broker: &Broker, connect: &Connect, sent: &[Vec<u8>]) -> Vec<(u8, Vec<u8>)> {
    frames_after(broker, connect, &sent.concat()).split_off(1)
}

fn words(connack: &Connack) -> Option<String> {
    let bytes = connack.property(REASON_STRING)?;
    Some(String::from_utf8(bytes[2..].to_vec()).expect("a Reason String is text"))
}

#[test]
fn a_refused_publish_and_a_refused_subscription_are_told_in_words() {
    let broker = Broker::start(&format!("{LOCAL}{DENY}"));
    let sent = [
        Publish::new("secret", "x").qos(1, 1).encode(Version::V5),
        Publish::new("secret", "x").qos(2, 2).encode(Version::V5),
        subscribe(
            Version::V5,
            3,
            &[("a", 0), ("secret", 1), (&*too_deep(), 1)],
        ),
        subscribe(Version::V5, 4, &[(&*too_deep(), 1)]),
    ];
    let frames = answers(&broker, &v5(), &sent);
    for (frame, (first, head, text)) in frames.iter().zip([
        (0x40, &[0, 1, 0x87][..], NOT_TO_PUBLISH),
        (0x50, &[0, 2, 0x87], NOT_TO_PUBLISH),
        (0x90, &[0, 3], NOT_TO_SUBSCRIBE),
        (0x90, &[0, 4], "the filter has too many levels"),
    ]) {
        assert_eq!((frame.0, &frame.1[..head.len()]), (first, head));
        let (_, reason) = reference_and_reason(&frame.1[head.len()..]);
        assert_eq!(reason.as_deref(), Some(text), "the first that was refused");
    }
    assert_eq!(frames.len(), 4);
    assert!(frames[2].1.ends_with(&[0, 0x87, 0x97]));
}

#[test]
fn what_was_taken_is_told_without_words_2_2_2_1() {
    let broker = Broker::start(LOCAL);
    let sent = [
        Publish::new("a", "x").qos(1, 1).encode(Version::V5),
        Publish::new("a", "x").qos(2, 2).encode(Version::V5),
        subscribe(Version::V5, 3, &[("a", 0), ("b", 1)]),
    ];
    let bodies: Vec<_> = answers(&broker, &v5(), &sent);
    assert_eq!(
        bodies,
        [
            (0x40, vec![0, 1, 0x10]),
            (0x50, vec![0, 2, 0x10]),
            (0x90, vec![0, 3, 0, 0, 1])
        ]
    );
}

#[test]
fn words_that_nobody_wants_or_that_do_not_fit_are_left_out_3_4_2_2_and_3_5_2_2_and_3_9_2_1() {
    let broker = Broker::start(&format!("{LOCAL}{DENY}"));
    let sent = [
        Publish::new("secret", "x").qos(1, 1).encode(Version::V5),
        Publish::new("secret", "x").qos(2, 2).encode(Version::V5),
        subscribe(Version::V5, 3, &[("secret", 1)]),
    ];
    let full = answers(&broker, &v5(), &sent);
    let silent = answers(&broker, &declining(v5()), &sent);
    assert_eq!(
        silent,
        [
            (0x40, vec![0, 1, 0x87]),
            (0x50, vec![0, 2, 0x87]),
            (0x90, vec![0, 3, 0, 0x87])
        ]
    );
    for (position, (_, body)) in full.iter().enumerate() {
        let size = body.len() + 2;
        for (maximum, expected) in [(size, &full), (size - 1, &silent)] {
            let frames = answers(&broker, &limited(v5(), maximum), &sent);
            assert_eq!(frames[position], expected[position], "{maximum}");
        }
    }
}

#[test]
fn a_refused_connect_is_told_in_words_3_1_2_29_and_3_2_2_19() {
    let broker = Broker::start(OPEN);
    let _owner = broker.join(&Connect::new(Version::V5, "taken"));
    let wrong = v5().user("local", "wrong");
    let refusal = |listener: &str, connect: &Connect| {
        let mut client = Client::dial(broker.address(listener));
        let connack = client.connect(connect);
        assert_eq!(client.closed(), []);
        connack
    };
    for (listener, connect, code, text) in [
        ("local", wrong.clone(), 0x86, "bad user name or password"),
        (
            "open",
            Connect::new(Version::V5, "taken"),
            0x85,
            "the session belongs to another user",
        ),
        (
            "open",
            v5().will("$SYS/x", "x"),
            0x87,
            "the will's topic may not be written",
        ),
    ] {
        let connack = refusal(listener, &connect);
        assert_eq!(
            (connack.code, words(&connack).as_deref()),
            (code, Some(text))
        );
        let connack = refusal(listener, &declining(connect));
        assert_eq!((connack.code, words(&connack)), (code, None));
    }
    // Header and length, flags, code, the length of the properties.
    let silent = 2 + 2 + 1;
    let text = "bad user name or password".len() + 3;
    for (maximum, is_told) in [(silent + text, true), (silent + text - 1, false)] {
        let connack = refusal("local", &limited(wrong.clone(), maximum));
        assert_eq!(words(&connack).is_some(), is_told);
    }
}

#[test]
fn who_is_disconnected_is_told_in_words_unless_it_declines_them() {
    let broker = Broker::start(LOCAL);
    for (connect, text) in [(v5(), Some("a second CONNECT")), (declining(v5()), None)] {
        let again = broker.as_local(&v5()).encode();
        let frames = answers(&broker, &connect, &[again]);
        let [(0xE0, body)] = &frames[..] else {
            panic!("a DISCONNECT: {frames:02X?}");
        };
        assert_eq!(body[0], 0x82);
        assert_eq!(reference_and_reason(&body[1..]).1.as_deref(), text);
    }
}

#[test]
fn a_connect_that_cannot_be_read_is_refused_without_words() {
    let broker = Broker::start(LOCAL);
    let connect = broker.as_local(&v5());
    let mut client = broker.dial();
    client.send(&connect.encode_as(b"MQTT", 5, connect.flags() | 1));
    // Nobody knows what its sender wants, and how much it takes.
    assert_eq!(client.bytes_until_close()[4..], [0]);
}
