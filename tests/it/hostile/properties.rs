//! Properties of MQTT 5.0 that no honest client sends: hostile inputs 16 to 26.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::Victim;
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{
    Connack, Connect, Packet, Property, Publish, Version, frame, property, put_string, put_variable,
};
use crate::harness::root::Root;

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const TOPIC_ALIAS_INVALID: u8 = 0x94;

const RESPONSE_TOPIC: u8 = 0x08;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const WILL_DELAY_INTERVAL: u8 = 0x18;
const TOPIC_ALIAS: u8 = 0x23;

/// Every property of the specification with a value that it may have.
const ALL: [(u8, &[u8]); 27] = [
    (0x01, &[1]),
    (0x02, &[0, 0, 0, 9]),
    (0x03, b"\0\x01t"),
    (RESPONSE_TOPIC, b"\0\x01r"),
    (0x09, b"\0\x01d"),
    (SUBSCRIPTION_IDENTIFIER, &[1]),
    (0x11, &[0, 0, 0, 9]),
    (0x12, b"\0\x01i"),
    (0x13, &[0, 9]),
    (0x15, b"\0\x01m"),
    (0x16, b"\0\x01d"),
    (0x17, &[1]),
    (WILL_DELAY_INTERVAL, &[0, 0, 0, 9]),
    (0x19, &[1]),
    (0x1A, b"\0\x01r"),
    (0x1C, b"\0\x01s"),
    (0x1F, b"\0\x01r"),
    (0x21, &[0, 9]),
    (0x22, &[0, 9]),
    (TOPIC_ALIAS, &[0, 9]),
    (0x24, &[1]),
    (0x25, &[1]),
    (0x26, b"\0\x01n\0\x01v"),
    (0x27, &[0, 0, 9, 0]),
    (0x28, &[1]),
    (0x29, &[1]),
    (0x2A, &[1]),
];

/// A packet's first byte, what stands before its properties, what stands behind them, and which properties belong there.
type Form = (u8, &'static [u8], &'static [u8], &'static [u8]);

/// The packets of a client that is connected.
const PACKETS: [Form; 8] = [
    (
        0x30,
        b"\0\x01a",
        b"x",
        &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26],
    ),
    (0x40, &[0, 1, 0], b"", &[0x1F, 0x26]),
    (0x50, &[0, 1, 0], b"", &[0x1F, 0x26]),
    (0x62, &[0, 1, 0], b"", &[0x1F, 0x26]),
    (0x70, &[0, 1, 0], b"", &[0x1F, 0x26]),
    (0x82, &[0, 1], b"\0\x01a\0", &[0x0B, 0x26]),
    (0xA2, &[0, 1], b"\0\x01a", &[0x26]),
    (0xE0, &[0], b"", &[0x11, 0x1C, 0x1F, 0x26]),
];

const IN_CONNECT: [u8; 9] = [0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27];
const IN_WILL: [u8; 7] = [0x01, 0x02, 0x03, 0x08, 0x09, WILL_DELAY_INTERVAL, 0x26];

/// Properties with their length before them.
fn block(properties: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_variable(&mut bytes, properties.len());
    bytes.extend_from_slice(properties);
    bytes
}

fn one(id: u8, value: &[u8]) -> Vec<u8> {
    [&[id], value].concat()
}

/// A packet of the table above with these bytes in the place of its properties and their length.
fn packet(index: usize, block: &[u8]) -> Vec<u8> {
    let (first, before, behind, _) = PACKETS[index];
    frame(first, &[before, block, behind].concat())
}

/// A CONNECT with these bytes in the place of its properties, and a will with those in the place of its own.
fn connect_with(connect: &Connect, properties: &[u8], of_will: &[u8]) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x05".to_vec();
    body.push(connect.flags() | 0x04);
    body.extend([0, 0]);
    body.extend_from_slice(properties);
    put_string(&mut body, &connect.client_id);
    body.extend_from_slice(of_will);
    put_string(&mut body, b"will");
    put_string(&mut body, b"x");
    for field in [&connect.user_name, &connect.password]
        .into_iter()
        .flatten()
    {
        put_string(&mut body, field);
    }
    frame(0x10, &body)
}

impl Victim {
    /// Has a member send this and expects that it is told one of these reasons and closed.
    fn closes(&self, bytes: &[u8], reasons: &[u8]) {
        let mut member = self.member(Version::V5);
        member.send(bytes);
        assert_closed(&mut member, reasons);
    }

    /// Sends this as the first packet and expects a CONNACK with one of these reasons.
    fn refuses(&self, bytes: &[u8], reasons: &[u8]) {
        let mut stranger = self.broker.dial();
        stranger.send(bytes);
        let connack = stranger.connected(&Connect::new(Version::V5, "attacker"));
        assert!(
            reasons.contains(&connack.code),
            "{bytes:02x?} is answered by {:#04x}",
            connack.code
        );
        stranger.refused();
    }

    fn connect(&self) -> Connect {
        self.broker.as_local(&Connect::new(Version::V5, "attacker"))
    }
}

fn assert_closed(client: &mut Client, reasons: &[u8]) {
    match client.closed().pop() {
        Some(Packet::Disconnect { code }) => {
            assert!(reasons.contains(&code), "closed because of {code:#04x}")
        }
        other => panic!("closed without a reason, after {other:?}"),
    }
}

#[test]
fn properties_that_are_longer_than_their_packet_are_malformed_16() {
    let mut victim = Victim::new();
    for index in 0..PACKETS.len() {
        for block in [&[200][..], &[0xFF, 0xFF, 0xFF, 0x7F], &[3, 0x26], &[0x80]] {
            victim.closes(&packet(index, block), &[MALFORMED]);
        }
        let endless = packet(index, &[0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        victim.closes(&endless, &[MALFORMED]);
    }
    let connect = victim.connect();
    for wrong in [
        &[0xFF, 0xFF, 0xFF, 0x7F][..],
        &[250, 1],
        &[0x80, 0x80, 0x80, 0x80, 1],
    ] {
        victim.refuses(&connect_with(&connect, wrong, &[0]), &[MALFORMED]);
        victim.refuses(&connect_with(&connect, &[0], wrong), &[MALFORMED]);
    }
    victim.unharmed();
}

#[test]
fn unknown_properties_are_malformed_17() {
    let mut victim = Victim::new();
    let connect = victim.connect();
    for id in [0x00, 0x04, 0x0A, 0x2B, 0x3F, 0x40, 0x7F, 0x80, 0xA6, 0xFF] {
        let block = block(&one(id, &[0, 0, 0, 0]));
        for index in 0..PACKETS.len() {
            victim.closes(&packet(index, &block), &[MALFORMED]);
        }
        victim.refuses(&connect_with(&connect, &block, &[0]), &[MALFORMED]);
        victim.refuses(&connect_with(&connect, &[0], &block), &[MALFORMED]);
    }
    victim.unharmed();
}

#[test]
fn a_property_that_stands_twice_is_a_protocol_error_18() {
    let mut victim = Victim::new();
    let connect = victim.connect();
    for (id, value) in ALL.into_iter().filter(|(id, _)| *id != 0x26) {
        let twice = block(&one(id, value).repeat(2));
        for (index, (.., allowed)) in PACKETS.into_iter().enumerate() {
            // A server may end a connection that names another server before it looks further.
            if allowed.contains(&id) {
                victim.closes(&packet(index, &twice), &[PROTOCOL_ERROR]);
            }
        }
        if IN_CONNECT.contains(&id) {
            victim.refuses(&connect_with(&connect, &twice, &[0]), &[PROTOCOL_ERROR]);
        }
        if IN_WILL.contains(&id) {
            victim.refuses(&connect_with(&connect, &[0], &twice), &[PROTOCOL_ERROR]);
        }
    }
    victim.unharmed();
}

#[test]
fn a_property_of_another_packet_is_refused_19() {
    let mut victim = Victim::new();
    let connect = victim.connect();
    let wrong = [MALFORMED, PROTOCOL_ERROR];
    for (id, value) in ALL {
        let single = block(&one(id, value));
        for (index, (.., allowed)) in PACKETS.into_iter().enumerate() {
            if !allowed.contains(&id) {
                victim.closes(&packet(index, &single), &wrong);
            }
        }
        if !IN_CONNECT.contains(&id) {
            victim.refuses(&connect_with(&connect, &single, &[0]), &wrong);
        }
        if !IN_WILL.contains(&id) {
            victim.refuses(&connect_with(&connect, &[0], &single), &wrong);
        }
    }
    victim.unharmed();
}

#[test]
fn ten_thousand_user_properties_are_passed_on_in_order_and_cost_little_20() {
    let victim = Victim::new();
    let pair = |number: u32| {
        let mut value = Vec::new();
        put_string(&mut value, format!("name {}", number % 7).as_bytes());
        put_string(&mut value, number.to_string().as_bytes());
        (property::USER_PROPERTY, value)
    };
    let properties: Vec<Property> = (0..10_000).map(pair).collect();
    let all: Vec<u8> = properties
        .iter()
        .flat_map(|(id, value)| one(*id, value))
        .collect();
    let all = block(&all);

    let mut reader = victim.broker.join(&Connect::new(Version::V5, "reader"));
    reader.subscribe("a", 0);
    reader.subscribe("will", 0);
    // A CONNECT has less room than other packets, since nobody knows yet whose it is.
    let empty = block(&one(property::USER_PROPERTY, &[0; 4]).repeat(10_000));
    let connect = victim.connect();
    let mut greedy = victim.broker.dial();
    greedy.send(&connect_with(&connect, &all, &all));
    greedy.refused();
    let mut attacker = victim.broker.dial();
    attacker.send(&connect_with(&connect, &empty, &all));
    attacker.connected(&Connect::new(Version::V5, ""));
    // Subscribed, unsubscribed and acknowledged without need.
    attacker.send(&packet(5, &all));
    attacker.expect(|packet| matches!(packet, Packet::Suback { .. }));
    attacker.send(&packet(6, &all));
    attacker.expect(|packet| matches!(packet, Packet::Unsuback { .. }));
    attacker.send(&packet(1, &all));
    for _ in 0..100 {
        attacker.send(&packet(0, &all));
        assert_eq!(reader.message().properties, properties);
    }
    // DISCONNECT with the will.
    attacker.send(&frame(0xE0, &[&[0x04][..], &all].concat()));
    assert_eq!(reader.message().properties, properties);
    attacker.closed();
    victim.unharmed_within(Duration::from_secs(4));
}

#[test]
fn topic_aliases_that_stand_for_nothing_are_closed_21() {
    let mut victim = Victim::new();
    let publish = |topic: &str, alias: u16| {
        let mut publish = Publish::new(topic, "x");
        publish.properties = vec![(TOPIC_ALIAS, alias.to_be_bytes().to_vec())];
        publish.encode(Version::V5)
    };
    for alias in [0, 17, 65_535] {
        for topic in ["", "a"] {
            victim.closes(&publish(topic, alias), &[TOPIC_ALIAS_INVALID]);
        }
    }
    victim.closes(&publish("", 1), &[PROTOCOL_ERROR]);
    victim.closes(
        &[publish("a", 2), publish("", 1)].concat(),
        &[PROTOCOL_ERROR],
    );
    victim.closes(
        &[publish("a", 1), publish("a", 2), publish("", 3)].concat(),
        &[PROTOCOL_ERROR],
    );
    // An alias lives as long as its connection, also where the session lives on.
    let persistent = Connect::new(Version::V5, "returning").persistent();
    let mut first = victim.broker.join(&persistent);
    first.subscribe("a", 0);
    first.send(&publish("a", 1));
    first.send(&publish("", 1));
    assert_eq!((first.text(), first.text()), ("x".into(), "x".into()));
    drop(first);
    let mut second = victim.broker.join(&persistent);
    second.send(&publish("", 1));
    assert_closed(&mut second, &[PROTOCOL_ERROR]);
    // Set again and again, to long topics.
    let mut busy = victim.member(Version::V5);
    for number in 0..2000_u16 {
        let topic = format!("{number}{}", "t".repeat(60_000));
        busy.send(&publish(&topic, number % 16 + 1));
    }
    busy.ping();
    victim.unharmed();
}

#[test]
fn subscription_identifiers_of_no_number_or_in_a_publish_are_closed_22() {
    let mut victim = Victim::new();
    let id = |value: &[u8]| block(&one(SUBSCRIPTION_IDENTIFIER, value));
    victim.closes(&packet(5, &id(&[0])), &[PROTOCOL_ERROR]);
    victim.closes(
        &packet(5, &id(&[0xFF, 0xFF, 0xFF, 0xFF, 0x01])),
        &[MALFORMED],
    );
    for value in [&[0][..], &[1], &[0xFF, 0xFF, 0xFF, 0x7F]] {
        victim.closes(&packet(0, &id(value)), &[PROTOCOL_ERROR]);
    }
    // The largest is one as any other.
    let mut member = victim.member(Version::V5);
    member.send(&packet(5, &id(&[0xFF, 0xFF, 0xFF, 0x7F])));
    member.receive();
    member.publish("a", "x");
    assert_eq!(
        member.message().properties,
        [(SUBSCRIPTION_IDENTIFIER, vec![0xFF, 0xFF, 0xFF, 0x7F])]
    );
    victim.unharmed();
}

#[test]
fn maxima_of_nothing_are_refused_23() {
    let mut victim = Victim::new();
    let connect = victim.connect();
    for nothing in [
        one(property::RECEIVE_MAXIMUM, &[0, 0]),
        one(property::MAXIMUM_PACKET_SIZE, &[0, 0, 0, 0]),
    ] {
        victim.refuses(
            &connect_with(&connect, &block(&nothing), &[0]),
            &[PROTOCOL_ERROR],
        );
    }
    // So small that nothing can be answered: there is nothing to say but the end.
    let mut tiny = connect.clone();
    tiny.properties = vec![(property::MAXIMUM_PACKET_SIZE, vec![0, 0, 0, 1])];
    let mut stranger = victim.broker.dial();
    stranger.send(&tiny.encode());
    assert_eq!(stranger.closed(), []);
    victim.unharmed();
}

/// A DISCONNECT with this Session Expiry Interval.
fn disconnect(expiry_s: u32) -> Vec<u8> {
    let properties = block(&one(
        property::SESSION_EXPIRY_INTERVAL,
        &expiry_s.to_be_bytes(),
    ));
    packet(7, &properties)
}

/// A CONNECT with this Session Expiry Interval that goes on with what is there.
fn connect(expiry_s: u32) -> Connect {
    let mut connect = Connect::new(Version::V5, "flipping");
    connect.clean = false;
    connect.properties = vec![(
        property::SESSION_EXPIRY_INTERVAL,
        expiry_s.to_be_bytes().to_vec(),
    )];
    connect
}

#[test]
fn a_session_expiry_that_flips_at_disconnect_ends_or_keeps_the_session_24() {
    let mut victim = Victim::new();
    let was_there = |client: &Client| {
        let connack: &Connack = client.connack.as_ref().expect("it has joined");
        connack.session_present
    };
    for _ in 0..50 {
        // For ever, and then not at all.
        let mut client = victim.broker.join(&connect(u32::MAX));
        assert!(!was_there(&client));
        client.subscribe("a", 1);
        client.send(&disconnect(0));
        client.closed();
        // Not at all, and then for ever: a protocol error, after which the session ends [MQTT-3.1.2-23].
        let mut client = victim.broker.join(&connect(0));
        assert!(!was_there(&client));
        client.send(&disconnect(u32::MAX));
        assert_closed(&mut client, &[PROTOCOL_ERROR]);
        // A minute, and then for ever.
        let mut client = victim.broker.join(&connect(60));
        assert!(!was_there(&client));
        client.send(&disconnect(u32::MAX));
        client.closed();
        let mut client = victim.broker.join(&connect(60));
        assert!(was_there(&client));
        client.send(&disconnect(0));
        client.closed();
    }
    victim.unharmed();
}

/// The UCI of a listener on a unix socket, over which a connection costs the least, and the socket's path.
pub fn by_unix_socket(root: &Root, global: &str) -> (String, PathBuf) {
    let path = root.join("s");
    let uci = format!(
        "{global}{LOCAL}\nconfig listener 'open'\n\toption port '0'\n\tlist address '127.0.0.1'\n\
         \toption allow_anonymous '1'\n\tlist unix '{}'\n",
        path.display()
    );
    (uci, path)
}

#[test]
fn a_hundred_thousand_wills_with_an_invalid_property_leave_nothing_25() {
    let root = Root::new();
    let (uci, path) = by_unix_socket(&root, "");
    root.write_uci(&uci);
    let victim = Victim::of(Broker::start_on(root));
    let connect = Connect::new(Version::V5, "attacker");
    // Checked last: what stands before it has been read by then.
    let of_will = [
        &one(WILL_DELAY_INTERVAL, &[0, 0, 0, 9])[..],
        &one(0x26, b"\0\x04name\0\x05value"),
        &one(TOPIC_ALIAS, &[0, 1]),
    ];
    let bytes = connect_with(&connect, &[0], &block(&of_will.concat()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25_000 {
                    let mut stream = UnixStream::connect(&path).expect("it listens");
                    stream.write_all(&bytes).expect("it reads");
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer).expect("it answers");
                    assert_eq!((answer[0], answer[3]), (0x20, MALFORMED));
                }
            });
        }
    });
    victim.unharmed_within(Duration::from_secs(120));
}

#[test]
fn response_topics_that_are_none_are_closed_26() {
    let mut victim = Victim::new();
    let connect = victim.connect();
    let wrong = [MALFORMED, PROTOCOL_ERROR, 0x90];
    for topic in [
        &b"a/+"[..],
        b"#",
        b"+",
        b"a/#",
        b"",
        b"a\0b",
        b"\xFF",
        b"\xED\xA0\x80",
    ] {
        let mut value = Vec::new();
        put_string(&mut value, topic);
        let single = block(&one(RESPONSE_TOPIC, &value));
        victim.closes(&packet(0, &single), &wrong);
        victim.refuses(&connect_with(&connect, &[0], &single), &wrong);
    }
    victim.unharmed();
}
