//! What the broker sends is read by the codecs of ntex-mqtt as it was meant.

use std::num::NonZeroU16;

use ntex::codec::Decoder;
use ntex_bytes::{BytePages, Bytes, BytesMut};
use ntex_mqtt::{QoS, v3, v5};

use super::*;
use crate::mqtt::packet::*;
use crate::mqtt::{PacketId, Qos};

const V5: Peer = Peer {
    version: Version::V5,
    maximum_packet_size: None,
    problem_information: true,
};
const V3: Peer = Peer {
    version: Version::V3_1_1,
    ..V5
};

fn packet_id() -> PacketId {
    PacketId::new(0x0102).expect("not 0")
}

fn sent(packet: &ServerPacket<'_>, to: &Peer) -> Result<Vec<u8>, TooLarge> {
    let mut out = BytePages::default();
    encode(packet, to, &mut out)?;
    Ok(out.freeze().to_vec())
}

fn read_v3(bytes: &[u8]) -> v3::codec::Packet {
    let mut bytes = BytesMut::copy_from_slice(bytes);
    match v3::codec::Codec::new().decode(&mut bytes) {
        Ok(Some(v3::codec::Decoded::Packet(packet, _))) => packet,
        other => panic!("{other:?}"),
    }
}

fn read_v5(bytes: &[u8]) -> v5::codec::Packet {
    let mut bytes = BytesMut::copy_from_slice(bytes);
    match v5::codec::Codec::new().decode(&mut bytes) {
        Ok(Some(v5::codec::Decoded::Packet(packet, _))) => packet,
        other => panic!("{other:?}"),
    }
}

fn connack(reason: ReasonCode) -> ServerPacket<'static> {
    ServerPacket::ConnAck(ConnAck {
        session_present: true,
        reason,
        properties: ConnAckProperties {
            shared_subscription_available: Some(false),
            session_expiry_s: Some(1),
            receive_maximum: Some(2),
            maximum_packet_size: Some(3),
            assigned_client_id: Some("assigned"),
            topic_alias_maximum: Some(4),
            reason_string: Some("in words"),
            server_keep_alive_s: Some(5),
            maximum_qos: Some(Qos::AtLeastOnce),
            retain_available: Some(false),
            response_information: Some("reply/a"),
            server_reference: Some("b.lan"),
            authentication_method: Some("method"),
            authentication_data: Some(b"data"),
        },
    })
}

#[test]
fn a_connack_of_5_0_says_all_its_properties() {
    let bytes = sent(&connack(ReasonCode::SUCCESS), &V5).expect("no limit");
    let v5::codec::Packet::ConnectAck(read) = read_v5(&bytes) else {
        panic!("a CONNACK");
    };
    assert_eq!(
        *read,
        v5::codec::ConnectAck {
            session_present: true,
            session_expiry_interval_secs: Some(1),
            receive_max: NonZeroU16::new(2).expect("not 0"),
            max_packet_size: Some(3),
            assigned_client_id: Some("assigned".into()),
            topic_alias_max: 4,
            reason_string: Some("in words".into()),
            server_keepalive_sec: Some(5),
            max_qos: QoS::AtLeastOnce,
            retain_available: false,
            response_info: Some("reply/a".into()),
            server_reference: Some("b.lan".into()),
            auth_method: Some("method".into()),
            auth_data: Some(Bytes::from_static(b"data")),
            shared_subscription_available: false,
            ..v5::codec::ConnectAck::default()
        }
    );
}

#[test]
fn an_auth_says_its_method_and_data_and_is_nothing_before_5_0() {
    for (reason, code) in [
        (ReasonCode::SUCCESS, v5::codec::AuthReasonCode::Success),
        (
            ReasonCode::CONTINUE_AUTHENTICATION,
            v5::codec::AuthReasonCode::ContinueAuth,
        ),
    ] {
        for data in [None, Some(&b"data"[..])] {
            let packet = ServerPacket::Auth(Auth {
                reason,
                method: Some("method"),
                data,
            });
            let v5::codec::Packet::Auth(read) = read_v5(&sent(&packet, &V5).expect("no limit"))
            else {
                panic!("an AUTH");
            };
            assert_eq!(read.reason_code, code);
            assert_eq!(read.auth_method.as_deref(), Some("method"));
            assert_eq!(read.auth_data.as_deref(), data);
            assert_eq!(sent(&packet, &V3).expect("no limit"), b"");
        }
    }
}

#[test]
fn a_refusal_says_no_session_present_3_2_2_6() {
    for (reason, code) in [
        (ReasonCode::NOT_AUTHORIZED, 0x87),
        (ReasonCode::MALFORMED_PACKET, 0x81),
        (ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, 0x84),
        // A code that a CONNACK cannot have.
        (ReasonCode::TOPIC_ALIAS_INVALID, 0x80),
    ] {
        let bytes = sent(&connack(reason), &V5).expect("no limit");
        assert_eq!(bytes[2..4], [0, code]);
    }
}

#[test]
fn a_connack_before_5_0_has_a_return_code_and_no_properties() {
    for (reason, code) in [
        (ReasonCode::SUCCESS, 0),
        (ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, 1),
        (ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, 2),
        (ReasonCode::SERVER_UNAVAILABLE, 3),
        (ReasonCode::NOT_AUTHORIZED, 5),
    ] {
        let present = u8::from(code == 0);
        let bytes = sent(&connack(reason), &V3).expect("no limit");
        assert_eq!(bytes, [0x20, 2, present, code]);
        let oldest = Peer {
            version: Version::V3_1,
            ..V3
        };
        let bytes = sent(&connack(reason), &oldest).expect("no limit");
        assert_eq!(bytes, [0x20, 2, 0, code], "3.1 has no session present");
    }
}

#[test]
fn a_suback_says_what_its_version_can_say() {
    let reasons = [
        ReasonCode::SUCCESS,
        ReasonCode::GRANTED_QOS_1,
        ReasonCode::GRANTED_QOS_2,
        ReasonCode::NOT_AUTHORIZED,
        ReasonCode::QUOTA_EXCEEDED,
    ];
    let packet = ServerPacket::SubAck {
        packet_id: packet_id(),
        reasons: &reasons,
        reason_string: Some("in words"),
    };
    let v3::codec::Packet::SubscribeAck { status, .. } =
        read_v3(&sent(&packet, &V3).expect("no limit"))
    else {
        panic!("a SUBACK");
    };
    use v3::codec::SubscribeReturnCode::{Failure, Success};
    assert_eq!(
        status,
        [
            Success(QoS::AtMostOnce),
            Success(QoS::AtLeastOnce),
            Success(QoS::ExactlyOnce),
            Failure,
            Failure
        ]
    );
    let v5::codec::Packet::SubscribeAck(read) = read_v5(&sent(&packet, &V5).expect("no limit"))
    else {
        panic!("a SUBACK");
    };
    assert_eq!(read.reason_string.as_deref(), Some("in words"));
    let codes: Vec<u8> = read.status.into_iter().map(u8::from).collect();
    assert_eq!(codes, [0, 1, 2, 0x87, 0x97]);
}

#[test]
fn an_unsuback_before_5_0_has_no_codes() {
    let packet = ServerPacket::UnsubAck {
        packet_id: packet_id(),
        reasons: &[ReasonCode::SUCCESS, ReasonCode::NO_SUBSCRIPTION_EXISTED],
    };
    assert_eq!(sent(&packet, &V3), Ok(vec![0xB0, 2, 1, 2]));
    assert_eq!(sent(&packet, &V5), Ok(vec![0xB0, 5, 1, 2, 0, 0, 0x11]));
}

#[test]
fn a_disconnect_says_its_reason_in_5_0_and_nothing_before() {
    let packet = ServerPacket::Disconnect {
        reason: ReasonCode::SESSION_TAKEN_OVER,
        reason_string: Some("elsewhere"),
        server_reference: Some("b.lan"),
    };
    assert_eq!(sent(&packet, &V3), Ok(Vec::new()));
    let v5::codec::Packet::Disconnect(read) = read_v5(&sent(&packet, &V5).expect("no limit"))
    else {
        panic!("a DISCONNECT");
    };
    assert_eq!(u8::from(read.reason_code), 0x8E);
    assert_eq!(read.reason_string.as_deref(), Some("elsewhere"));
    assert_eq!(read.server_reference.as_deref(), Some("b.lan"));
}

#[test]
fn a_reason_string_is_left_out_where_nobody_asked_or_there_is_no_room_3_14_2_3() {
    let packet = ServerPacket::Disconnect {
        reason: ReasonCode::SERVER_SHUTTING_DOWN,
        reason_string: Some("until later"),
        server_reference: None,
    };
    let silent = vec![0xE0, 2, 0x8B, 0];
    let full = sent(&packet, &V5).expect("no limit");
    for (problem_information, maximum, expected) in [
        (true, full.len(), Ok(full.clone())),
        (true, full.len() - 1, Ok(silent.clone())),
        (true, 4, Ok(silent.clone())),
        (true, 3, Err(TooLarge)),
        (false, 1000, Ok(silent.clone())),
    ] {
        let to = Peer {
            maximum_packet_size: u32::try_from(maximum).ok(),
            problem_information,
            ..V5
        };
        assert_eq!(sent(&packet, &to), expected, "{maximum}");
    }
}

#[test]
fn a_refused_publish_is_told_why_where_that_is_wanted_and_fits_3_4_2_2_and_3_5_2_2() {
    for (qos, first) in [(Qos::AtLeastOnce, 0x40), (Qos::ExactlyOnce, 0x50)] {
        let packet = ServerPacket::Refusal {
            ack: Ack {
                packet_id: packet_id(),
                reason: ReasonCode::NOT_AUTHORIZED,
            },
            qos,
            reason_string: "no",
        };
        let full = vec![first, 9, 1, 2, 0x87, 5, 0x1F, 0, 2, b'n', b'o'];
        let silent = vec![first, 3, 1, 2, 0x87];
        read_v5(&full);
        assert_eq!(sent(&packet, &V3), Ok(vec![first, 2, 1, 2]));
        for (problem_information, maximum, expected) in [
            (true, None, &full),
            (true, Some(11), &full),
            (true, Some(10), &silent),
            (false, None, &silent),
        ] {
            let to = Peer {
                maximum_packet_size: maximum,
                problem_information,
                ..V5
            };
            assert_eq!(sent(&packet, &to).as_ref(), Ok(expected));
        }
    }
}

#[test]
fn response_information_is_left_out_where_there_is_no_room() {
    let packet = connack(ReasonCode::SUCCESS);
    let full = sent(&packet, &V5).expect("no limit").len();
    for (maximum, is_there) in [(full, true), (full - 1, false)] {
        let to = Peer {
            maximum_packet_size: u32::try_from(maximum).ok(),
            ..V5
        };
        let v5::codec::Packet::ConnectAck(read) = read_v5(&sent(&packet, &to).expect("room"))
        else {
            panic!("a CONNACK");
        };
        assert_eq!(read.response_info.is_some(), is_there);
    }
}

#[test]
fn what_exceeds_the_maximum_packet_size_leaves_no_bytes_3_1_2_24() {
    let to = Peer {
        maximum_packet_size: Some(1),
        ..V5
    };
    let ack = Ack {
        packet_id: packet_id(),
        reason: ReasonCode::SUCCESS,
    };
    for packet in [
        connack(ReasonCode::SUCCESS),
        ServerPacket::PubAck(ack),
        ServerPacket::PingResp,
        ServerPacket::SubAck {
            packet_id: packet_id(),
            reasons: &[ReasonCode::SUCCESS],
            reason_string: None,
        },
    ] {
        let mut out = BytePages::default();
        out.extend_from_slice(b"before");
        assert_eq!(encode(&packet, &to, &mut out), Err(TooLarge));
        assert_eq!(&out.freeze()[..], b"before");
    }
}

#[test]
fn the_answers_to_publish_are_short_and_read_back() {
    let failed = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
    for (kind, packet) in [
        (AckKind::PubAck, ServerPacket::PubAck as fn(Ack) -> _),
        (AckKind::PubRec, ServerPacket::PubRec),
        (AckKind::PubRel, ServerPacket::PubRel),
        (AckKind::PubComp, ServerPacket::PubComp),
    ] {
        let first = kind as u8;
        for (version, reason, expected) in [
            (Version::V5, ReasonCode::SUCCESS, vec![first, 2, 1, 2]),
            (Version::V5, failed, vec![first, 3, 1, 2, 0x92]),
            (Version::V3_1_1, ReasonCode::SUCCESS, vec![first, 2, 1, 2]),
            (Version::V3_1_1, failed, vec![first, 2, 1, 2]),
        ] {
            let mut out = Vec::new();
            acks(kind, packet_id(), reason, version, &mut out);
            assert_eq!(out, expected);
            let ack = Ack {
                packet_id: packet_id(),
                reason,
            };
            assert_eq!(sent(&packet(ack), &Peer { version, ..V5 }), Ok(expected));
            if reason == ReasonCode::SUCCESS {
                read_v3(&out);
                read_v5(&out);
            }
        }
    }
    assert_eq!(sent(&ServerPacket::PingResp, &V3), Ok(vec![0xD0, 0]));
}

const HEAD: PublishHead<'_> = PublishHead {
    topic: "a/topic",
    topic_alias: Some(7),
    packet_id: None,
    qos: Qos::AtMostOnce,
    duplicate: false,
    retain: true,
    expiry_s: Some(300),
    subscription_ids: &[1, 128, 268_435_455],
    properties: &[0x03, 0, 4, b't', b'e', b'x', b't'],
    payload_bytes: 7,
};

fn publish(head: &PublishHead<'_>, version: Version, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0xC0, 0];
    head.encode(version, &mut out);
    out.extend_from_slice(payload);
    assert_eq!(out.len() - 2, head.size(version), "size is what is written");
    out.split_off(2)
}

#[test]
fn a_publish_of_5_0_is_read_as_it_was_meant() {
    let head = PublishHead {
        packet_id: Some(packet_id()),
        qos: Qos::ExactlyOnce,
        duplicate: true,
        ..HEAD
    };
    let mut bytes = BytesMut::copy_from_slice(publish(&head, Version::V5, b"payload"));
    let Ok(Some(v5::codec::Decoded::Publish(read, payload, _))) =
        v5::codec::Codec::new().decode(&mut bytes)
    else {
        panic!("a PUBLISH");
    };
    assert_eq!(&payload[..], b"payload");
    assert_eq!(
        (read.dup, read.retain, read.qos),
        (true, true, QoS::ExactlyOnce)
    );
    assert_eq!(read.packet_id.map(NonZeroU16::get), Some(0x0102));
    assert_eq!(read.topic, "a/topic");
    let properties = read.properties;
    assert_eq!(properties.topic_alias.map(NonZeroU16::get), Some(7));
    assert_eq!(properties.message_expiry_interval.map(u32::from), Some(300));
    assert_eq!(properties.content_type.as_deref(), Some("text"));
    let ids: Vec<u32> = properties
        .subscription_ids
        .into_iter()
        .map(u32::from)
        .collect();
    assert_eq!(ids, HEAD.subscription_ids);
}

#[test]
fn a_publish_before_5_0_has_no_properties() {
    let bytes = publish(&HEAD, Version::V3_1_1, b"payload");
    let expected = join(&[&[0x31, 16], &field("a/topic"), b"payload"]);
    assert_eq!(bytes, expected);
    let mut bytes = BytesMut::copy_from_slice(&bytes);
    let Ok(Some(v3::codec::Decoded::Publish(read, payload, _))) =
        v3::codec::Codec::new().decode(&mut bytes)
    else {
        panic!("a PUBLISH");
    };
    assert_eq!(
        (read.topic.as_ref(), &payload[..]),
        ("a/topic", &b"payload"[..])
    );
}

#[test]
fn a_publish_of_any_size_says_its_size() {
    // Around every size at which the Remaining Length gets another byte; the head has up to 40 bytes.
    let edges = [128, 1 << 14, 1 << 21];
    let sizes = edges.into_iter().flat_map(|edge| edge - 45..edge + 5);
    for payload_bytes in sizes.chain([0, 1]) {
        let head = PublishHead {
            payload_bytes,
            ..HEAD
        };
        for version in [Version::V3_1_1, Version::V5] {
            let bytes = publish(&head, version, &vec![0; payload_bytes]);
            let (first, _) = split(&bytes);
            assert_eq!(first, 0x31);
        }
    }
}
