//! Well-formed packets of clients, written by the codecs of ntex-mqtt: an independent reading of the specification.

use std::num::{NonZeroU16, NonZeroU32};

use ntex::codec::Encoder;
use ntex_bytes::{BytePages, ByteString, Bytes};
use ntex_mqtt::{QoS, v3, v5};

use crate::mqtt::Version;

/// A whole frame of a connection of `version`.
pub(super) struct Sample {
    pub(super) version: Version,
    pub(super) frame: Vec<u8>,
}

pub(super) fn id(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).expect("not 0")
}

fn users() -> v5::codec::UserProperties {
    vec![
        ("name".into(), "value".into()),
        ("name".into(), "äöü".into()),
    ]
}

pub(super) fn encoded<C: Encoder>(codec: C, packet: C::Item) -> Vec<u8>
where
    C::Error: std::fmt::Debug,
{
    let mut pages = BytePages::default();
    codec.encodev(packet, &mut pages).expect("a test's packet");
    pages.freeze().to_vec()
}

pub(super) fn v3_frame(packet: v3::codec::Packet) -> Vec<u8> {
    encoded(v3::codec::Codec::new(), packet.into())
}

pub(super) fn v5_frame(packet: impl Into<v5::codec::Packet>) -> Vec<u8> {
    encoded(v5::codec::Codec::new(), packet.into().into())
}

pub(super) fn v3_connect() -> v3::codec::Connect {
    v3::codec::Connect {
        clean_session: true,
        keep_alive: 60,
        last_will: Some(v3::codec::LastWill {
            qos: QoS::AtLeastOnce,
            retain: true,
            topic: "will/topic".into(),
            message: Bytes::from_static(b"gone"),
        }),
        client_id: "client".into(),
        username: Some("user".into()),
        password: Some(Bytes::from_static(b"pass\0word")),
    }
}

pub(super) fn v5_connect() -> v5::codec::Connect {
    v5::codec::Connect {
        clean_start: false,
        keep_alive: 65_535,
        session_expiry_interval_secs: u32::MAX,
        auth_method: Some("method".into()),
        auth_data: Some(Bytes::from_static(b"data")),
        request_problem_info: false,
        request_response_info: true,
        receive_max: Some(id(7)),
        topic_alias_max: 11,
        user_properties: users(),
        max_packet_size: NonZeroU32::new(1234),
        last_will: Some(v5::codec::LastWill {
            qos: QoS::ExactlyOnce,
            retain: false,
            topic: "will/topic".into(),
            message: Bytes::new(),
            will_delay_interval_sec: Some(5),
            correlation_data: Some(Bytes::from_static(b"correlation")),
            message_expiry_interval: NonZeroU32::new(6),
            content_type: Some("text".into()),
            user_properties: users(),
            is_utf8_payload: Some(true),
            response_topic: Some("answer/here".into()),
        }),
        client_id: ByteString::new(),
        username: None,
        password: Some(Bytes::from_static(b"token")),
    }
}

pub(super) fn v5_publish() -> v5::codec::Publish {
    v5::codec::Publish {
        dup: true,
        retain: true,
        qos: QoS::AtLeastOnce,
        packet_id: Some(id(0x1234)),
        topic: "a/topic".into(),
        payload_size: 7,
        properties: v5::codec::PublishProperties {
            topic_alias: Some(id(3)),
            correlation_data: Some(Bytes::from_static(b"correlation")),
            message_expiry_interval: NonZeroU32::new(10),
            content_type: Some("text".into()),
            user_properties: users(),
            is_utf8_payload: true,
            response_topic: Some("answer/here".into()),
            subscription_ids: Vec::new(),
        },
    }
}

pub(super) fn v5_publish_frame(publish: v5::codec::Publish, payload: &'static [u8]) -> Vec<u8> {
    let payload = Some(Bytes::from_static(payload));
    encoded(
        v5::codec::Codec::new(),
        v5::codec::Encoded::Publish(publish, payload),
    )
}

pub(super) fn v3_publish_frame(publish: v3::codec::Publish, payload: &'static [u8]) -> Vec<u8> {
    let payload = Some(Bytes::from_static(payload));
    encoded(
        v3::codec::Codec::new(),
        v3::codec::Encoded::Publish(publish, payload),
    )
}

pub(super) fn v3_publish(qos: QoS) -> v3::codec::Publish {
    v3::codec::Publish {
        dup: qos != QoS::AtMostOnce,
        retain: true,
        qos,
        topic: "a/topic".into(),
        packet_id: (qos != QoS::AtMostOnce).then(|| id(9)),
        payload_size: 7,
    }
}

pub(super) fn v5_subscribe() -> v5::codec::Subscribe {
    use v5::codec::{RetainHandling, SubscriptionOptions};
    v5::codec::Subscribe {
        packet_id: id(5),
        id: NonZeroU32::new(268_435_455),
        user_properties: users(),
        topic_filters: vec![
            ("a/+".into(), SubscriptionOptions::default()),
            (
                "#".into(),
                SubscriptionOptions {
                    qos: QoS::ExactlyOnce,
                    no_local: true,
                    retain_as_published: true,
                    retain_handling: RetainHandling::NoAtSubscribe,
                },
            ),
            ("$share/group/b".into(), SubscriptionOptions::default()),
        ],
    }
}

/// One of every packet that a client may send, CONNECT first within a version.
pub(super) fn all() -> Vec<Sample> {
    let v3 = |frame| Sample {
        version: Version::V3_1_1,
        frame,
    };
    let v5 = |frame| Sample {
        version: Version::V5,
        frame,
    };
    v3_frames()
        .into_iter()
        .map(v3)
        .chain(v5_frames().into_iter().map(v5))
        .collect()
}

fn v3_frames() -> Vec<Vec<u8>> {
    use v3::codec::Packet;
    let packet_id = id(0x0102);
    let mut frames: Vec<Vec<u8>> = [
        v3_connect().into(),
        Packet::PublishAck { packet_id },
        Packet::PublishReceived { packet_id },
        Packet::PublishRelease { packet_id },
        Packet::PublishComplete { packet_id },
        Packet::Subscribe {
            packet_id,
            topic_filters: vec![
                ("a/+".into(), QoS::AtLeastOnce),
                ("#".into(), QoS::ExactlyOnce),
            ],
        },
        Packet::Unsubscribe {
            packet_id,
            topic_filters: vec!["a/+".into(), "b".into()],
        },
        Packet::PingRequest,
        Packet::Disconnect,
    ]
    .into_iter()
    .map(v3_frame)
    .collect();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        frames.push(v3_publish_frame(v3_publish(qos), b"payload"));
    }
    frames
}

fn v5_frames() -> Vec<Vec<u8>> {
    use v5::codec::*;
    let received = PublishAck {
        packet_id: id(0x0102),
        reason_code: PublishAckReason::NotAuthorized,
        properties: users(),
        reason_string: Some("why".into()),
    };
    let release = PublishAck2 {
        packet_id: id(0x0102),
        reason_code: PublishAck2Reason::PacketIdNotFound,
        properties: users(),
        reason_string: None,
    };
    let mut frames: Vec<Vec<u8>> = [
        v5_connect().into(),
        Packet::PublishAck(received.clone()),
        Packet::PublishReceived(received),
        Packet::PublishRelease(release.clone()),
        Packet::PublishComplete(release),
        v5_subscribe().into(),
        Unsubscribe {
            packet_id: id(6),
            user_properties: users(),
            topic_filters: vec!["a/+".into(), "$share/group/b".into()],
        }
        .into(),
        Packet::PingRequest,
        Disconnect {
            session_expiry_interval_secs: Some(77),
            user_properties: users(),
            ..Disconnect::new(DisconnectReasonCode::DisconnectWithWillMessage)
        }
        .into(),
        Auth {
            reason_code: AuthReasonCode::ContinueAuth,
            auth_method: Some("method".into()),
            auth_data: Some(Bytes::from_static(b"data")),
            reason_string: Some("why".into()),
            user_properties: users(),
        }
        .into(),
    ]
    .into_iter()
    .map(|packet: Packet| v5_frame(packet))
    .collect();
    frames.push(v5_publish_frame(v5_publish(), b"payload"));
    frames.push(v5_publish_frame(
        Publish {
            topic: "t".into(),
            ..Publish::default()
        },
        b"",
    ));
    frames
}
