//! Packets of servers: what this broker says is read as it was meant, what a server may not say is refused, and no bytes do harm.

use ntex_bytes::BytePages;

use super::*;
use crate::mqtt::packet::{Ack, ConnAck, ConnAckProperties, ServerPacket};
use crate::mqtt::{PacketId, Qos};
use crate::net::codec::outward::{self, Opening};
use crate::net::trail::Trail;

fn peer(version: Version) -> Peer {
    Peer {
        version,
        maximum_packet_size: None,
        problem_information: true,
    }
}

/// The first byte and the body of a packet that this broker sends.
fn sent(packet: &ServerPacket<'_>, version: Version) -> (u8, Vec<u8>) {
    let mut out = BytePages::default();
    encode(packet, &peer(version), &mut out).expect("it fits");
    split(&out.freeze())
}

fn split(bytes: &[u8]) -> (u8, Vec<u8>) {
    match crate::net::frame::scan(bytes, bytes.len()) {
        Ok(crate::net::frame::Scan::Frame {
            first,
            header,
            size,
        }) => (first, bytes[header..size].to_vec()),
        other => panic!("a whole packet: {other:?}"),
    }
}

#[test]
fn a_connack_is_read_as_it_was_meant() {
    let properties = ConnAckProperties {
        receive_maximum: Some(7),
        maximum_qos: Some(Qos::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: Some(1000),
        topic_alias_maximum: Some(3),
        shared_subscription_available: Some(false),
        server_keep_alive_s: Some(30),
        assigned_client_id: Some("x"),
        reason_string: Some("in words"),
        ..ConnAckProperties::default()
    };
    let connack = ServerPacket::ConnAck(ConnAck {
        session_present: true,
        reason: ReasonCode::SUCCESS,
        properties,
    });
    let (first, body) = sent(&connack, Version::V5);
    let read = decode_connack(Version::V5, first, &body).expect("it is well formed");
    let expected = RemoteConnAck {
        session_present: true,
        reason: ReasonCode::SUCCESS,
        receive_maximum: 7,
        maximum_qos: Qos::AtLeastOnce,
        retain_available: false,
        maximum_packet_size: Some(1000),
        topic_alias_maximum: 3,
        wildcard_available: true,
        shared_available: false,
        keep_alive_s: Some(30),
    };
    assert_eq!(read, expected);
    let (first, body) = sent(&connack, Version::V3_1_1);
    let read = decode_connack(Version::V3_1_1, first, &body).expect("it is well formed");
    assert!(read.session_present && read.maximum_qos == Qos::ExactlyOnce);
}

#[test]
fn a_server_that_does_not_know_5_0_is_understood() {
    for (code, reason) in [
        (0, ReasonCode::SUCCESS),
        (1, ReasonCode::UNSUPPORTED_PROTOCOL_VERSION),
        (4, ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        (0x84, ReasonCode::UNSUPPORTED_PROTOCOL_VERSION),
    ] {
        let read = decode_connack(Version::V5, 0x20, &[0, code]).map(|connack| connack.reason);
        assert_eq!(read, Ok(reason));
    }
}

#[test]
fn later_packets_are_read_as_they_were_meant() {
    let packet_id = PacketId::new(0x0102).expect("not 0");
    let ack = Ack {
        packet_id,
        reason: ReasonCode::SUCCESS,
    };
    let reasons = [ReasonCode::GRANTED_QOS_1, ReasonCode::NOT_AUTHORIZED];
    for version in [Version::V3_1_1, Version::V5] {
        let mut scratch = Scratch::new();
        let mut reads = |packet: &ServerPacket<'_>, expected: RemotePacket<'_>| {
            let (first, body) = sent(packet, version);
            let read = decode_remote(version, first, &body, &mut scratch);
            assert_eq!(read, Ok(expected));
        };
        reads(&ServerPacket::PubAck(ack), RemotePacket::PubAck(ack));
        reads(&ServerPacket::PubRec(ack), RemotePacket::PubRec(ack));
        reads(&ServerPacket::PubRel(ack), RemotePacket::PubRel(ack));
        reads(&ServerPacket::PubComp(ack), RemotePacket::PubComp(ack));
        reads(&ServerPacket::PingResp, RemotePacket::PingResp);
        let refusal = if version.is_v5() { 0x87 } else { 0x80 };
        reads(
            &ServerPacket::SubAck {
                packet_id,
                reasons: &reasons,
                reason_string: Some("in words"),
            },
            RemotePacket::SubAck(packet_id, &[1, refusal]),
        );
        reads(
            &ServerPacket::UnsubAck {
                packet_id,
                reasons: &reasons[..1],
            },
            RemotePacket::UnsubAck(packet_id),
        );
    }
}

#[test]
fn what_a_bridge_says_is_read_by_this_broker_as_it_was_meant() {
    let trail = Trail::new(1);
    for version in [Version::V3_1_1, Version::V5] {
        let opening = Opening {
            version,
            bridge: true,
            clean_start: false,
            keep_alive_s: 60,
            client_id: "bridge",
            will: Some(outward::Will {
                topic: "state",
                payload: b"0",
                is_full: true,
            }),
            user_name: Some("user"),
            password: Some(b"password"),
            session_expiry_s: 100,
            receive_maximum: 20,
            maximum_packet_size: 1000,
            trail: &trail,
        };
        let mut bytes = Vec::new();
        opening.encode(&mut bytes);
        let (first, body) = split(&bytes);
        let mut scratch = Scratch::new();
        let connect = decode_connect(first, &body, &mut scratch).expect("it is well formed");
        assert_eq!((connect.version, connect.bridge), (version, true));
        assert_eq!((connect.client_id, connect.clean_start), ("bridge", false));
        let will = connect.will.expect("it has one");
        assert_eq!((will.topic, will.payload), ("state", &b"0"[..]));
        assert!(will.retain && will.qos == Qos::AtLeastOnce);
        assert_eq!(connect.user_name, Some("user"));
        assert_eq!(connect.password, Some(&b"password"[..]));
        if version.is_v5() {
            assert_eq!(connect.properties.session_expiry_s, Some(100));
            assert_eq!(connect.properties.receive_maximum, 20);
        }
        let mut bytes = Vec::new();
        outward::unsubscribe(version, PacketId::LINK, &["a/#", "b"], &mut bytes);
        let (first, body) = split(&bytes);
        let unsubscribe = decode(version, first, &body, &mut scratch);
        let Ok(ClientPacket::Unsubscribe(unsubscribe)) = unsubscribe else {
            panic!("an UNSUBSCRIBE: {unsubscribe:?}");
        };
        assert_eq!(unsubscribe.filters, ["a/#", "b"]);
    }
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[test]
fn no_bytes_do_harm() {
    let mut state = 1;
    let seeds = [
        sent(
            &ServerPacket::ConnAck(ConnAck::refusal(ReasonCode::BANNED, "in words")),
            Version::V5,
        )
        .1,
        vec![0, 3, b'a', b'/', b'b', 0, 1, 5, 0x26, 0, 0, 0, 0, 1, 2, 3],
        vec![0, 1, 0, 0, 1, 2],
    ];
    for round in 0..20_000 {
        let mut body = seeds[round % seeds.len()].clone();
        for _ in 0..random(&mut state) % 4 {
            let at = (random(&mut state) % body.len() as u64) as usize;
            body[at] = random(&mut state) as u8;
        }
        body.truncate((random(&mut state) % (body.len() as u64 + 1)) as usize);
        let first = random(&mut state) as u8;
        for version in [Version::V3_1_1, Version::V5] {
            // Whatever comes of it.
            let _ = decode_connack(version, 0x20, &body);
            let mut scratch = Scratch::new();
            if let Ok(RemotePacket::Publish(publish)) =
                decode_remote(version, first, &body, &mut scratch)
            {
                assert!(crate::mqtt::topic::is_name(publish.topic));
            }
        }
    }
}
