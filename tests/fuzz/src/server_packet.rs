//! Packets to clients: whatever the broker says is read by ntex-mqtt's codec as it was meant, within the client's Maximum Packet
//! Size, or is nothing at all.

use fosquitto::fuzzing::Choices;
use fosquitto::mqtt::packet::{Ack, Auth, ConnAck, ConnAckProperties, ServerPacket};
use fosquitto::mqtt::{PacketId, Qos, ReasonCode, Version};
use fosquitto::net::codec::{Peer, encode};
use ntex_bytes::{BytePages, BytesMut};
use ntex_codec::Decoder;
use ntex_mqtt::{v3, v5};

/// The client, and a packet for it.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let version = choices.one_of(&[Version::V5, Version::V3_1_1, Version::V3_1]);
    let maximum = [None, Some(choices.below(100) as u32)];
    let to = Peer {
        version,
        maximum_packet_size: choices.one_of(&maximum),
        problem_information: choices.below(2) == 0,
    };
    let text_bytes = choices.below(300) as usize;
    let text = String::from_utf8_lossy(choices.bytes(text_bytes)).into_owned();
    let codes: Vec<ReasonCode> = (0..choices.below(20))
        .map(|_| ReasonCode(choices.below(256) as u8))
        .collect();
    let packet = packet(&mut choices, &text, &codes);
    let mut out = BytePages::default();
    let written = encode(&packet, &to, &mut out);
    let written = written.map(|()| out.freeze());
    let Ok(written) = written else {
        let bound = to.maximum_packet_size.is_some() || text.len() > usize::from(u16::MAX);
        return assert!(bound, "{packet:?} fits into no bound");
    };
    let maximum = to.maximum_packet_size.unwrap_or(u32::MAX);
    assert!(written.len() <= maximum as usize);
    if written.is_empty() {
        let is_of_5_0 = matches!(
            packet,
            ServerPacket::Disconnect { .. } | ServerPacket::Auth(_)
        );
        return assert!(!version.is_v5() && is_of_5_0, "{packet:?} is nothing");
    }
    let mut bytes = BytesMut::copy_from_slice(&written);
    match version {
        Version::V5 => match v5::codec::Codec::new().decode(&mut bytes) {
            Ok(Some(v5::codec::Decoded::Packet(read, _))) => is_meant(&packet, &read, &text),
            other => panic!("{packet:?}: {other:?}"),
        },
        _ => match v3::codec::Codec::new().decode(&mut bytes) {
            Ok(Some(v3::codec::Decoded::Packet(..))) => {}
            other => panic!("{packet:?}: {other:?}"),
        },
    }
    assert!(bytes.is_empty(), "one packet and nothing more");
}

fn packet<'a>(
    choices: &mut Choices<'_>,
    text: &'a str,
    codes: &'a [ReasonCode],
) -> ServerPacket<'a> {
    let packet_id = PacketId::new(1 + choices.below(65_535) as u16).unwrap_or(PacketId::FIRST);
    // The broker answers with these; a code that the packet cannot have is another case of the encoder.
    let reason = ReasonCode(choices.below(256) as u8);
    let ack = Ack {
        packet_id,
        reason: choices.one_of(&[ReasonCode::SUCCESS, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND]),
    };
    match choices.below(11) {
        0 => ServerPacket::PubAck(Ack {
            reason: ReasonCode::QUOTA_EXCEEDED,
            ..ack
        }),
        1 => ServerPacket::PubRec(Ack {
            reason: ReasonCode::NOT_AUTHORIZED,
            ..ack
        }),
        2 => ServerPacket::PubRel(ack),
        3 => ServerPacket::PubComp(ack),
        4 => ServerPacket::SubAck {
            packet_id,
            reasons: codes,
            reason_string: (choices.below(2) == 0).then_some(text),
        },
        5 => ServerPacket::UnsubAck {
            packet_id,
            reasons: codes,
        },
        6 => ServerPacket::PingResp,
        7 => ServerPacket::Disconnect {
            reason,
            reason_string: (choices.below(2) == 0).then_some(text),
            server_reference: (choices.below(2) == 0).then_some("other.example:8883"),
        },
        8 => ServerPacket::Auth(Auth {
            reason: choices.one_of(&[ReasonCode::SUCCESS, ReasonCode(0x18)]),
            method: Some("SCRAM-SHA-256"),
            data: Some(text.as_bytes()),
        }),
        9 => ServerPacket::Refusal {
            ack: Ack {
                reason: ReasonCode::NOT_AUTHORIZED,
                ..ack
            },
            qos: choices.one_of(&[Qos::AtLeastOnce, Qos::ExactlyOnce]),
            reason_string: text,
        },
        _ => ServerPacket::ConnAck(connack(choices, reason, text)),
    }
}

fn connack<'a>(choices: &mut Choices<'_>, reason: ReasonCode, text: &'a str) -> ConnAck<'a> {
    let mut is_there = || choices.below(2) == 0;
    let properties = ConnAckProperties {
        session_expiry_s: is_there().then_some(7),
        receive_maximum: is_there().then_some(1024),
        maximum_packet_size: is_there().then_some(16 << 20),
        assigned_client_id: is_there().then_some(text),
        topic_alias_maximum: is_there().then_some(16),
        reason_string: is_there().then_some(text),
        shared_subscription_available: is_there().then_some(true),
        server_keep_alive_s: is_there().then_some(60),
        authentication_method: is_there().then_some("SCRAM-SHA-256"),
        authentication_data: is_there().then_some(text.as_bytes()),
        maximum_qos: is_there().then_some(Qos::AtLeastOnce),
        retain_available: is_there().then_some(false),
        response_information: is_there().then_some("responses/"),
        server_reference: is_there().then_some("other.example:8883"),
    };
    ConnAck {
        session_present: choices.below(2) == 0,
        reason,
        properties,
    }
}

fn is_meant(packet: &ServerPacket<'_>, read: &v5::codec::Packet, text: &str) {
    match (packet, read) {
        (ServerPacket::ConnAck(ours), v5::codec::Packet::ConnectAck(theirs)) => {
            let is_accepted = ours.reason == ReasonCode::SUCCESS;
            assert_eq!(theirs.session_present, ours.session_present && is_accepted);
            let assigned = theirs.assigned_client_id.as_deref();
            assert_eq!(assigned, ours.properties.assigned_client_id);
            let reason = theirs.reason_string.as_deref();
            assert!(reason.is_none_or(|reason| reason == text));
        }
        (ServerPacket::SubAck { reasons, .. }, v5::codec::Packet::SubscribeAck(theirs)) => {
            assert_eq!(theirs.status.len(), reasons.len());
        }
        (ServerPacket::UnsubAck { reasons, .. }, v5::codec::Packet::UnsubscribeAck(theirs)) => {
            assert_eq!(theirs.status.len(), reasons.len());
        }
        (ServerPacket::Auth(ours), v5::codec::Packet::Auth(theirs)) => {
            assert_eq!(theirs.auth_data.as_deref(), ours.data);
        }
        (
            ServerPacket::Refusal { .. },
            v5::codec::Packet::PublishAck(_) | v5::codec::Packet::PublishReceived(_),
        ) => {}
        (ServerPacket::Disconnect { .. }, v5::codec::Packet::Disconnect(_))
        | (ServerPacket::PubAck(_), v5::codec::Packet::PublishAck(_))
        | (ServerPacket::PubRec(_), v5::codec::Packet::PublishReceived(_))
        | (ServerPacket::PubRel(_), v5::codec::Packet::PublishRelease(_))
        | (ServerPacket::PubComp(_), v5::codec::Packet::PublishComplete(_))
        | (ServerPacket::PingResp, v5::codec::Packet::PingResponse) => {}
        (packet, read) => panic!("{packet:?} is read as {read:?}"),
    }
}
