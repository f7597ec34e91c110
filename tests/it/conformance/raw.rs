//! Packets that a well-behaved client cannot write, and what a broker sends as plain bytes.
//!
//! Nothing here judges: a test says what must come back.

use crate::harness::broker::Broker;
use crate::harness::packet::{self, Connect, Packet, Version, frame, put_string, put_variable};

/// Byte sequences that are no UTF-8: an overlong form, a surrogate, a byte that is never one, a code point that is none.
pub const ILL_FORMED: [&[u8]; 4] = [b"\xC0\x80", b"\xED\xA0\x80", b"\xFF", b"\xF4\x90\x80\x80"];

/// A QoS 0 PUBLISH whose topic name is these bytes.
pub fn publish_to(version: Version, topic: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(&mut body, topic);
    put_no_properties(&mut body, version);
    body.push(b'x');
    frame(0x30, &body)
}

/// A SUBSCRIBE whose topic filter is these bytes.
pub fn subscribe_to(version: Version, filter: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1];
    put_no_properties(&mut body, version);
    put_string(&mut body, filter);
    body.push(0);
    frame(0x82, &body)
}

/// An UNSUBSCRIBE whose topic filter is these bytes.
pub fn unsubscribe_from(version: Version, filter: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1];
    put_no_properties(&mut body, version);
    put_string(&mut body, filter);
    frame(0xA2, &body)
}

/// A QoS 0 PUBLISH of 5.0 to `a` with these bytes as its properties.
pub fn publish_with(properties: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(&mut body, b"a");
    put_variable(&mut body, properties.len());
    body.extend_from_slice(properties);
    frame(0x30, &body)
}

/// A filter that the broker understands and does not grant: it has too many levels.
pub fn too_deep() -> String {
    "a/".repeat(300)
}

/// The bytes of a property whose value is a string.
pub fn string_property(id: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    put_string(&mut bytes, value);
    bytes
}

/// The bytes of a user property.
pub fn user_property(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = string_property(packet::property::USER_PROPERTY, name);
    put_string(&mut bytes, value);
    bytes
}

/// The beginning of a CONNECT up to its payload: name, level, flags, no keep alive, no properties.
pub fn connect_head(version: Version, flags: u8) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(&mut body, b"MQTT");
    body.push(if version == Version::V5 { 5 } else { 4 });
    body.extend([flags, 0, 0]);
    put_no_properties(&mut body, version);
    body
}

fn put_no_properties(out: &mut Vec<u8>, version: Version) {
    if version == Version::V5 {
        out.push(0);
    }
}

/// A client of its own sends these bytes after its CONNACK, and the broker closes for this reason.
pub fn is_closed(broker: &Broker, version: Version, bytes: &[u8], reason: u8) {
    let mut offender = broker.join(&Connect::new(version, "offender"));
    offender.send(bytes);
    offender.closed_because(reason);
}

/// A first packet of these bytes is refused for its form: without a word in 3.1.1, and by no other code than 0x81 in 5.0.
///
/// A refusal for wrong credentials would hide that the form was accepted.
pub fn is_malformed(broker: &Broker, version: Version, connect: &[u8]) {
    let mut client = broker.dial();
    client.send(connect);
    match &client.closed()[..] {
        [] => {}
        [Packet::Connack(connack)] if version == Version::V5 => assert_eq!(connack.code, 0x81),
        other => panic!("{version:?}: {other:?}"),
    }
}

/// Sends CONNECT, these bytes and DISCONNECT at once, and returns the broker's packets to its close: first byte and body.
pub fn frames_after(broker: &Broker, connect: &Connect, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut client = broker.dial();
    let connect = broker.as_local(connect).encode();
    client.send(&[&connect[..], bytes, &packet::DISCONNECT].concat());
    split(&client.bytes_until_close())
}

/// The Server Reference and the Reason String among properties that may hold those two alone, after their length.
pub fn reference_and_reason(properties: &[u8]) -> (Option<String>, Option<String>) {
    let (mut reference, mut reason) = (None, None);
    let [length, rest @ ..] = properties else {
        return (None, None);
    };
    let mut rest = &rest[..usize::from(*length)];
    while let [id, high, low, after @ ..] = rest {
        let (text, after) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        let text = String::from_utf8(text.to_vec()).expect("a string is UTF-8");
        let place = match id {
            0x1C => &mut reference,
            0x1F => &mut reason,
            other => panic!("an unexpected property {other:#04x}"),
        };
        assert_eq!(place.replace(text), None, "{id:#04x} stands twice");
        rest = after;
    }
    (reference, reason)
}

/// Cuts bytes into packets. A Remaining Length has one byte here: no answer of these tests is longer.
pub fn split(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        assert!(*length < 0x80, "a short packet: {bytes:02X?}");
        let (body, after) = rest.split_at(usize::from(*length));
        frames.push((*first, body.to_vec()));
        bytes = after;
    }
    assert!(bytes.is_empty(), "whole packets");
    frames
}
