//! Tests of the codec: what is refused, what two codecs agree on, and what random bytes do.

mod malformed;
mod mutation;
mod refused_connect;
mod remote;
mod round_trip;
mod samples;
mod server;

use super::*;
use crate::mqtt::packet::Connect;

const ALL: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

/// Strings that are no UTF-8 Encoded Strings (1.5.4).
const ILL_FORMED: [&[u8]; 7] = [
    b"a\0b",
    b"\xFF",
    b"\xC3",
    b"\xC0\xAF",              // overlong
    b"\xED\xA0\x80",          // a lone surrogate
    b"\xF4\x90\x80\x80",      // beyond U+10FFFF
    b"\xF0\x82\x82\xAC tail", // overlong
];

/// A UTF-8 Encoded String or Binary Data.
fn field(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let size = u16::try_from(bytes.len()).expect("a test's field is short");
    [&size.to_be_bytes(), bytes].concat()
}

/// Properties with their length in front.
fn block(properties: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::put_variable(properties.len(), &mut bytes);
    bytes.extend_from_slice(properties);
    bytes
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The first byte and the body of a whole frame.
fn split(frame: &[u8]) -> (u8, &[u8]) {
    use crate::net::frame::{PACKET_BYTES_MAX, Scan, scan};
    match scan(frame, PACKET_BYTES_MAX) {
        Ok(Scan::Frame {
            first,
            header,
            size,
        }) => {
            assert_eq!(size, frame.len(), "the frame ends where the bytes end");
            (first, &frame[header..])
        }
        other => panic!("not a frame: {other:?}"),
    }
}

/// The reason for which a packet is refused.
fn refused(version: Version, first: u8, body: &[u8]) -> Option<ReasonCode> {
    decode(version, first, body, &mut Scratch::new())
        .err()
        .map(|fault| fault.reason)
}

/// A CONNECT's body up to its flags, for a version.
fn connect_start(version: Version, flags: u8) -> Vec<u8> {
    let (name, level) = match version {
        Version::V3_1 => ("MQIsdp", 3),
        Version::V3_1_1 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    join(&[&field(name), &[level, flags, 0, 30]])
}

/// Reads a CONNECT that keeps nothing in a scratch.
fn connect<'a>(body: &'a [u8], scratch: &'a mut Scratch) -> Result<Connect<'a>, ConnectFault> {
    decode_connect(0x10, body, scratch)
}
