//! Packets from clients, of every version: what is accepted is well formed, and ntex-mqtt's codec reads the same in it; what is
//! passed on is read by the next broker as it was read here; and memory follows the packet's size.

use fosquitto::mqtt::packet::{ClientPacket, Connect, Publish};
use fosquitto::mqtt::{Version, topic};
use fosquitto::net::codec::{PublishHead, Scratch, decode, decode_connect};
use ntex_bytes::BytesMut;
use ntex_codec::Decoder;
use ntex_mqtt::{v3, v5};

use crate::memory::peak_of;

/// The first byte of a packet and its body.
pub fn run(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    connect(*first, body);
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        let mut scratch = Scratch::new();
        let (decoded, peak) = peak_of(|| decode(version, *first, body, &mut scratch));
        check_peak(peak, body);
        match decoded {
            Err(fault) => assert!(fault.reason.is_error() && !fault.what.is_empty()),
            Ok(packet) => accepted(version, &packet, bytes),
        }
    }
}

/// A filter of one byte takes four bytes of a packet and 24 in its list, which grows by doubling.
fn check_peak(peak: usize, body: &[u8]) {
    assert!(
        peak <= 512 + 24 * body.len(),
        "{peak} bytes for a packet of {}",
        body.len()
    );
}

fn connect(first: u8, body: &[u8]) {
    let mut scratch = Scratch::new();
    let (decoded, peak) = peak_of(|| decode_connect(first, body, &mut scratch));
    check_peak(peak, body);
    let Ok(connect) = decoded else {
        return;
    };
    assert!(!connect.client_id.contains('\0'));
    assert!(connect.will.is_none_or(|will| topic::is_name(will.topic)));
    let frame = frame(first, body);
    match connect.version {
        Version::V5 => match read_v5(&frame) {
            Ok(v5::codec::Decoded::Packet(v5::codec::Packet::Connect(theirs), _)) => {
                assert_eq!(&*theirs.client_id, connect.client_id);
                assert_eq!(theirs.keep_alive, connect.keep_alive_s);
                assert_eq!(theirs.clean_start, connect.clean_start);
                assert_eq!(theirs.last_will.is_some(), connect.will.is_some());
                assert_eq!(theirs.username.as_deref(), connect.user_name);
                assert_eq!(theirs.password.as_deref(), connect.password);
            }
            other => may_differ_connect(&connect, &other),
        },
        Version::V3_1_1 => match read_v3(&frame) {
            Ok(v3::codec::Decoded::Packet(v3::codec::Packet::Connect(theirs), _)) => {
                assert_eq!(&*theirs.client_id, connect.client_id);
                assert_eq!(theirs.keep_alive, connect.keep_alive_s);
                assert_eq!(theirs.clean_session, connect.clean_start);
                assert_eq!(theirs.username.as_deref(), connect.user_name);
                assert_eq!(theirs.password.as_deref(), connect.password);
            }
            other => may_differ_connect(&connect, &other),
        },
        // ntex-mqtt does not know it.
        Version::V3_1 => {}
    }
}

/// What we take and ntex-mqtt does not: the level of a bridge, and a Will's Message Expiry Interval of 0.
fn may_differ_connect(connect: &Connect<'_>, other: &dyn std::fmt::Debug) {
    let expires_at_once = connect.will.is_some_and(|will| will.expiry_s == Some(0));
    assert!(connect.bridge || expires_at_once, "{connect:?}: {other:?}");
}

fn accepted(version: Version, packet: &ClientPacket<'_>, bytes: &[u8]) {
    match packet {
        ClientPacket::Publish(publish) => passed_on(version, publish),
        ClientPacket::Subscribe(packet) => {
            assert!(!packet.filters.is_empty());
            for entry in &packet.filters {
                assert!(topic::subscribed(entry.filter).is_some());
            }
        }
        ClientPacket::Unsubscribe(packet) => {
            assert!(!packet.filters.is_empty());
            for filter in &packet.filters {
                assert!(topic::subscribed(filter).is_some());
            }
        }
        ClientPacket::Connect(_) => panic!("a second CONNECT is a fault"),
        _ => {}
    }
    let frame = frame(bytes[0], &bytes[1..]);
    match version {
        Version::V5 => match (packet, read_v5(&frame)) {
            (ClientPacket::Publish(ours), Ok(v5::codec::Decoded::Publish(theirs, payload, _))) => {
                assert_eq!((&*theirs.topic, &*payload), (ours.topic, ours.payload));
                assert_eq!(
                    theirs.packet_id.map(u16::from),
                    ours.packet_id.map(|id| id.value())
                );
                assert_eq!((theirs.retain, theirs.dup), (ours.retain, ours.duplicate));
                assert_eq!(
                    theirs.properties.topic_alias.map(u16::from),
                    ours.topic_alias
                );
            }
            (_, Ok(v5::codec::Decoded::Packet(..))) => {}
            (ClientPacket::Publish(ours), _) if ours.expiry_s == Some(0) => {}
            (packet, other) => panic!("{packet:?}: {other:?}"),
        },
        Version::V3_1_1 => match (packet, read_v3(&frame)) {
            (ClientPacket::Publish(ours), Ok(v3::codec::Decoded::Publish(theirs, payload, _))) => {
                assert_eq!((&*theirs.topic, &*payload), (ours.topic, ours.payload));
                assert_eq!((theirs.retain, theirs.dup), (ours.retain, ours.duplicate));
            }
            (_, Ok(v3::codec::Decoded::Packet(..))) => {}
            (packet, other) => panic!("{packet:?}: {other:?}"),
        },
        Version::V3_1 => {}
    }
}

/// A PUBLISH goes out as it came in.
fn passed_on(version: Version, publish: &Publish<'_>) {
    let names = topic::is_name(publish.topic);
    assert!(names || publish.topic.is_empty() && publish.topic_alias.is_some());
    let head = PublishHead {
        topic: publish.topic,
        topic_alias: publish.topic_alias,
        packet_id: publish.packet_id,
        qos: publish.qos,
        duplicate: publish.duplicate,
        retain: publish.retain,
        expiry_s: publish.expiry_s,
        subscription_ids: &[],
        properties: publish.properties,
        payload_bytes: publish.payload.len(),
    };
    let mut frame = Vec::new();
    head.encode(version, &mut frame);
    frame.extend_from_slice(publish.payload);
    assert_eq!(frame.len(), head.size(version));
    let header = 1 + frame[1..].iter().take_while(|byte| **byte > 0x7F).count() + 1;
    assert_eq!(
        decode(version, frame[0], &frame[header..], &mut Scratch::new()),
        Ok(ClientPacket::Publish(*publish))
    );
}

/// A whole packet.
fn frame(first: u8, body: &[u8]) -> BytesMut {
    let mut frame = vec![first];
    let mut left = body.len();
    while left > 0x7F {
        frame.push(left as u8 | 0x80);
        left >>= 7;
    }
    frame.push(left as u8);
    frame.extend_from_slice(body);
    BytesMut::copy_from_slice(&frame)
}

fn read_v5(frame: &BytesMut) -> Result<v5::codec::Decoded, String> {
    let read = v5::codec::Codec::new().decode(&mut BytesMut::copy_from_slice(frame));
    read.map_err(|error| error.to_string())
        .and_then(|packet| packet.ok_or_else(|| "incomplete".to_owned()))
}

fn read_v3(frame: &BytesMut) -> Result<v3::codec::Decoded, String> {
    let read = v3::codec::Codec::new().decode(&mut BytesMut::copy_from_slice(frame));
    read.map_err(|error| error.to_string())
        .and_then(|packet| packet.ok_or_else(|| "incomplete".to_owned()))
}
