//! What the codecs of ntex-mqtt write is read as they meant it.

use ntex_mqtt::QoS;

use super::samples::*;
use super::*;
use crate::mqtt::packet::*;
use crate::mqtt::{PacketId, Qos};

fn packet_id(value: u16) -> PacketId {
    PacketId::new(value).expect("not 0")
}

/// The bytes of the two User Properties of the samples.
fn users() -> Vec<u8> {
    join(&[
        &[0x26],
        &field("name"),
        &field("value"),
        &[0x26],
        &field("name"),
        &field("äöü"),
    ])
}

#[test]
fn a_connect_of_3_1_1_is_read_as_it_was_meant() {
    let frame = v3_frame(v3_connect().into());
    let (first, body) = split(&frame);
    assert_eq!(
        decode_connect(first, body, &mut Scratch::new()),
        Ok(Connect {
            version: Version::V3_1_1,
            bridge: false,
            clean_start: true,
            keep_alive_s: 60,
            client_id: "client",
            will: Some(Will {
                topic: "will/topic",
                payload: b"gone",
                qos: Qos::AtLeastOnce,
                retain: true,
                delay_s: 0,
                expiry_s: None,
                properties: &[],
            }),
            user_name: Some("user"),
            password: Some(b"pass\0word"),
            properties: ConnectProperties::default(),
        })
    );
}

#[test]
fn a_connect_of_5_0_is_read_as_it_was_meant() {
    let frame = v5_frame(v5_connect());
    let (first, body) = split(&frame);
    // Delay and expiry are taken out of what travels with the will.
    let travelling = join(&[
        &[0x01, 1],
        &[0x03],
        &field("text"),
        &[0x08],
        &field("answer/here"),
        &[0x09],
        &field("correlation"),
        &users(),
    ]);
    assert_eq!(
        decode_connect(first, body, &mut Scratch::new()),
        Ok(Connect {
            version: Version::V5,
            bridge: false,
            clean_start: false,
            keep_alive_s: 65_535,
            client_id: "",
            will: Some(Will {
                topic: "will/topic",
                payload: b"",
                qos: Qos::ExactlyOnce,
                retain: false,
                delay_s: 5,
                expiry_s: Some(6),
                properties: &travelling,
            }),
            user_name: None,
            password: Some(b"token"),
            properties: ConnectProperties {
                session_expiry_s: Some(u32::MAX),
                receive_maximum: 7,
                maximum_packet_size: Some(1234),
                topic_alias_maximum: 11,
                request_response_information: true,
                request_problem_information: false,
                authentication_method: Some("method"),
                authentication_data: Some(b"data"),
            },
        })
    );
}

#[test]
fn the_oldest_version_and_bridges_are_known() {
    for (name, level, version, bridge) in [
        ("MQIsdp", 3, Version::V3_1, false),
        ("MQIsdp", 0x83, Version::V3_1, true),
        ("MQTT", 4, Version::V3_1_1, false),
        ("MQTT", 0x84, Version::V3_1_1, true),
    ] {
        let body = join(&[&field(name), &[level, 2, 0, 9], &field("c")]);
        let mut scratch = Scratch::new();
        let packet = connect(&body, &mut scratch).expect("a known version");
        assert_eq!((packet.version, packet.bridge), (version, bridge));
        assert_eq!((packet.client_id, packet.keep_alive_s), ("c", 9));
    }
}

#[test]
fn a_publish_of_3_1_1_is_read_as_it_was_meant() {
    for (qos, expected, id) in [
        (QoS::AtMostOnce, Qos::AtMostOnce, None),
        (QoS::AtLeastOnce, Qos::AtLeastOnce, Some(packet_id(9))),
        (QoS::ExactlyOnce, Qos::ExactlyOnce, Some(packet_id(9))),
    ] {
        let frame = v3_publish_frame(v3_publish(qos), b"payload");
        let (first, body) = split(&frame);
        assert_eq!(
            decode(Version::V3_1_1, first, body, &mut Scratch::new()),
            Ok(ClientPacket::Publish(Publish {
                topic: "a/topic",
                packet_id: id,
                qos: expected,
                duplicate: id.is_some(),
                retain: true,
                topic_alias: None,
                expiry_s: None,
                properties: &[],
                payload: b"payload",
            }))
        );
    }
}

#[test]
fn a_publish_of_5_0_is_read_as_it_was_meant_and_its_properties_are_gathered_in_order() {
    let frame = v5_publish_frame(v5_publish(), b"payload");
    let (first, body) = split(&frame);
    // The sample has the expiry between these properties.
    let travelling = join(&[
        &[0x09],
        &field("correlation"),
        &[0x03],
        &field("text"),
        &[0x01, 1],
        &[0x08],
        &field("answer/here"),
        &users(),
    ]);
    assert_eq!(
        decode(Version::V5, first, body, &mut Scratch::new()),
        Ok(ClientPacket::Publish(Publish {
            topic: "a/topic",
            packet_id: Some(packet_id(0x1234)),
            qos: Qos::AtLeastOnce,
            duplicate: true,
            retain: true,
            topic_alias: Some(3),
            expiry_s: Some(10),
            properties: &travelling,
            payload: b"payload",
        }))
    );
}

#[test]
fn properties_that_stand_side_by_side_are_not_copied() {
    let travelling = join(&[&[0x03], &field("text"), &users()]);
    let properties = join(&[&[0x23, 0, 1], &travelling, &[0x02, 0, 0, 0, 0]]);
    let body = join(&[&field("t"), &block(&properties), b"payload"]);
    let mut scratch = Scratch::new();
    let Ok(ClientPacket::Publish(publish)) = decode(Version::V5, 0x30, &body, &mut scratch) else {
        panic!("a PUBLISH");
    };
    assert_eq!(publish.properties, travelling);
    assert!(body.as_ptr_range().contains(&publish.properties.as_ptr()));
    // An expiry of 0 is a value like any other.
    assert_eq!((publish.expiry_s, publish.topic_alias), (Some(0), Some(1)));
}

#[test]
fn scratch_memory_of_an_unusual_packet_is_given_back() {
    let large = join(&[&[0x09], &field(vec![7; 60_000])]);
    let properties = join(&[&large, &[0x23, 0, 1], &[0x01, 1]]);
    let body = join(&[&field("t"), &block(&properties)]);
    let mut scratch = Scratch::new();
    let expected = [&large[..], &[0x01, 1]].concat();
    match decode(Version::V5, 0x30, &body, &mut scratch) {
        Ok(ClientPacket::Publish(publish)) => assert_eq!(publish.properties, expected),
        other => panic!("{other:?}"),
    }
    decode(Version::V5, 0xC0, &[], &mut scratch).expect("a PINGREQ");
    assert_eq!(scratch.gathered.capacity(), 0);
}

#[test]
fn a_subscribe_of_5_0_is_read_as_it_was_meant() {
    let frame = v5_frame(v5_subscribe());
    let (first, body) = split(&frame);
    let plain = SubscriptionOptions::with_qos(Qos::AtMostOnce);
    let all = SubscriptionOptions {
        qos: Qos::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let filters = [("a/+", plain), ("#", all), ("$share/group/b", plain)];
    assert_eq!(
        decode(Version::V5, first, body, &mut Scratch::new()),
        Ok(ClientPacket::Subscribe(Subscribe {
            packet_id: packet_id(5),
            subscription_id: Some(268_435_455),
            filters: filters
                .map(|(filter, options)| SubscribeFilter { filter, options })
                .to_vec(),
        }))
    );
}

/// What every sample but CONNECT and those above is read as.
#[test]
fn every_sample_is_read_as_it_was_meant() {
    let success = Ack {
        packet_id: packet_id(0x0102),
        reason: ReasonCode::SUCCESS,
    };
    let denied = Ack {
        reason: ReasonCode::NOT_AUTHORIZED,
        ..success
    };
    let unknown = Ack {
        reason: ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
        ..success
    };
    for Sample { version, frame } in all() {
        let (first, body) = split(&frame);
        if first == 0x10 {
            continue;
        }
        let v5 = version.is_v5();
        let mut scratch = Scratch::new();
        let packet = decode(version, first, body, &mut scratch).expect("well formed");
        match packet {
            ClientPacket::PubAck(ack) => assert_eq!(ack, if v5 { denied } else { success }),
            ClientPacket::PubRec(ack) => assert_eq!(ack, if v5 { denied } else { success }),
            ClientPacket::PubRel(ack) => assert_eq!(ack, if v5 { unknown } else { success }),
            ClientPacket::PubComp(ack) => assert_eq!(ack, if v5 { unknown } else { success }),
            ClientPacket::Unsubscribe(packet) => {
                let second = if v5 { "$share/group/b" } else { "b" };
                assert_eq!(packet.filters, ["a/+", second]);
            }
            ClientPacket::Disconnect(packet) => {
                assert_eq!(packet.session_expiry_s, v5.then_some(77));
            }
            ClientPacket::Auth(packet) => {
                assert_eq!(
                    (packet.method, packet.data),
                    (Some("method"), Some(&b"data"[..]))
                );
            }
            ClientPacket::Publish(_) | ClientPacket::Subscribe(_) | ClientPacket::PingReq => {}
            ClientPacket::Connect(_) => panic!("a CONNECT is read by decode_connect"),
        }
    }
}
