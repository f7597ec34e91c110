//! Packets of a bridge's remote broker, of every version: what is accepted is well formed, goes on to another broker with one trail, which is
//! read there as it was written, and memory follows the packet's size.

use fosquitto::mqtt::packet::Publish;
use fosquitto::mqtt::{Qos, Version, topic};
use fosquitto::net::codec::{RemotePacket, Scratch, decode_connack, decode_remote};
use fosquitto::net::trail::{Arrival, Trail};

use crate::memory::peak_of;

/// The first byte of a packet and its body.
pub fn run(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    for version in [Version::V3_1_1, Version::V5] {
        connack(version, *first, body);
        let mut scratch = Scratch::new();
        let (decoded, peak) = peak_of(|| decode_remote(version, *first, body, &mut scratch));
        assert!(
            peak <= 512 + 24 * body.len(),
            "{peak} bytes for {} bytes",
            body.len()
        );
        match decoded {
            Err(fault) => assert!(fault.reason.is_error() && !fault.what.is_empty()),
            Ok(packet) => accepted(version, &packet, body),
        }
    }
}

fn connack(version: Version, first: u8, body: &[u8]) {
    let (decoded, peak) = peak_of(|| decode_connack(version, first, body));
    assert!(peak <= 512, "{peak} bytes for a CONNACK");
    match decoded {
        Err(fault) => assert!(fault.reason.is_error() && !fault.what.is_empty()),
        Ok(connack) => {
            // [MQTT-3.2.2-6]
            assert!(!connack.session_present || !connack.reason.is_error());
            assert!(connack.receive_maximum > 0 && connack.maximum_packet_size != Some(0));
        }
    }
}

fn accepted(version: Version, packet: &RemotePacket<'_>, body: &[u8]) {
    match packet {
        RemotePacket::Publish(publish) => {
            assert!(topic::is_name(publish.topic) && publish.topic_alias.is_none());
            assert_eq!(publish.packet_id.is_some(), publish.qos != Qos::AtMostOnce);
            assert!(version.is_v5() || publish.properties.is_empty());
            assert!(body.ends_with(publish.payload));
            passed_on(publish);
        }
        RemotePacket::SubAck(_, codes) => assert!(!codes.is_empty() && body.ends_with(codes)),
        RemotePacket::Disconnect(_) => assert!(version.is_v5()),
        _ => {}
    }
}

/// From a broker to the next one and back: it is new once on each.
fn passed_on(publish: &Publish<'_>) {
    const MAX_HOPS: u8 = 255;
    let [here, there] = [1, 2].map(Trail::new);
    let Some(stamped) = here.stamp(publish.properties, 7, MAX_HOPS) else {
        // It has passed as many as a byte counts.
        return;
    };
    read_again(publish, &stamped);
    let origin_is_there = there.judge(publish.properties, publish.topic) == Arrival::Known;
    match there.judge(&stamped, publish.topic) {
        Arrival::New(name) => {
            let name = name.expect("what is stamped has a name");
            there.remember(name);
            assert_eq!(there.judge(&stamped, publish.topic), Arrival::Known);
        }
        Arrival::Known => assert!(origin_is_there),
        Arrival::Past(_) => panic!("a broker that has just begun has no past"),
    }
    let again = there.stamp(&stamped, 9, MAX_HOPS);
    let again = again.map(|again| there.judge(&again, publish.topic));
    assert!(
        again.is_none_or(|again| again == Arrival::Known),
        "it keeps its name"
    );
}

/// The next broker reads the same message with the new properties.
fn read_again(publish: &Publish<'_>, properties: &[u8]) {
    let mut body = Vec::new();
    body.extend((publish.topic.len() as u16).to_be_bytes());
    body.extend_from_slice(publish.topic.as_bytes());
    put_length(properties.len(), &mut body);
    body.extend_from_slice(properties);
    body.extend_from_slice(publish.payload);
    let mut scratch = Scratch::new();
    match decode_remote(Version::V5, 0x30, &body, &mut scratch) {
        Ok(RemotePacket::Publish(read)) => {
            assert_eq!((read.topic, read.payload), (publish.topic, publish.payload));
            assert_eq!(read.properties, properties);
        }
        other => panic!("it is read as {other:?}"),
    }
}

fn put_length(mut length: usize, into: &mut Vec<u8>) {
    while length > 0x7F {
        into.push(length as u8 | 0x80);
        length >>= 7;
    }
    into.push(length as u8);
}
