//! Packets to a client: [`encode`] for any of them, [`acks`] for the answers to PUBLISH without a detour.
//!
//! CONNACK, SUBACK, UNSUBACK, DISCONNECT and AUTH are written by the codecs of ntex-mqtt (the module's doc says why). They
//! leave partial bytes behind after an error, so that a packet is written apart and appended when it is whole.

use std::num::NonZeroU16;

use ntex::codec::Encoder;
use ntex_bytes::{BytePageSize, BytePages, ByteString, Bytes};
use ntex_mqtt::{QoS, v3, v5};

use crate::mqtt::packet::{Ack, ConnAck, ServerPacket};
use crate::mqtt::{PacketId, Qos, ReasonCode, Version};

/// The identifier of the property Reason String.
const REASON_STRING: u8 = 0x1F;

/// What encoding has to know of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The version that its CONNECT named.
    pub version: Version,
    /// Its Maximum Packet Size, in bytes.
    pub maximum_packet_size: Option<u32>,
    /// Its Request Problem Information: whether it wants to be told reasons in words.
    pub problem_information: bool,
}

/// The packet exceeds the client's Maximum Packet Size and was not written [MQTT-3.1.2-24]. A client that cannot be
/// answered cannot be served: the caller closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// Which of the answers to PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AckKind {
    /// PUBACK.
    PubAck = 0x40,
    /// PUBREC.
    PubRec = 0x50,
    /// PUBREL, whose flags are not 0.
    PubRel = 0x62,
    /// PUBCOMP.
    PubComp = 0x70,
}

/// Appends `packet` to `out` in the form that `to` understands, or nothing when there is none.
///
/// A Reason String is left out where the client did not ask for it or has no room [MQTT-3.2.2-19] [MQTT-3.4.2-2]
/// [MQTT-3.5.2-2] [MQTT-3.9.2-1] [MQTT-3.14.2-3]; where there is no room, Response Information is too. A Reason Code that the packet cannot have goes out as 0x80.
pub fn encode(packet: &ServerPacket<'_>, to: &Peer, out: &mut BytePages) -> Result<(), TooLarge> {
    match *packet {
        ServerPacket::PubAck(ack) => small(&ack_bytes(AckKind::PubAck, ack, to.version), to, out),
        ServerPacket::PubRec(ack) => small(&ack_bytes(AckKind::PubRec, ack, to.version), to, out),
        ServerPacket::PubRel(ack) => small(&ack_bytes(AckKind::PubRel, ack, to.version), to, out),
        ServerPacket::PubComp(ack) => small(&ack_bytes(AckKind::PubComp, ack, to.version), to, out),
        ServerPacket::Refusal {
            ack,
            qos,
            reason_string,
        } => {
            let mut bytes = Vec::new();
            refusal(ack, qos, reason_string, to, &mut bytes);
            append(&bytes, to, out)
        }
        ServerPacket::PingResp => append(&[0xD0, 0], to, out),
        _ if to.version.is_v5() => {
            let extras = Extras::of(packet, to);
            match encode_v5(packet, extras, to, out) {
                Err(TooLarge) => encode_v5(packet, Extras::default(), to, out),
                written => written,
            }
        }
        _ => encode_v3(packet, to, out),
    }
}

/// Appends an answer to PUBLISH.
///
/// It has at most five bytes; a Maximum Packet Size below that is not looked at here.
#[inline]
pub fn acks(
    kind: AckKind,
    packet_id: PacketId,
    reason: ReasonCode,
    version: Version,
    out: &mut Vec<u8>,
) {
    let (bytes, size) = ack_bytes(kind, Ack { packet_id, reason }, version);
    out.extend_from_slice(bytes.get(..size).unwrap_or(&bytes));
}

/// Appends the answer to a PUBLISH of QoS 1 or 2 that was refused: with its reason in words, if the client wants that and it fits.
///
/// That it fits without words is not looked at here, as with [`acks`].
pub fn refusal(ack: Ack, qos: Qos, reason_string: &str, to: &Peer, out: &mut Vec<u8>) {
    let kind = match qos {
        Qos::ExactlyOnce => AckKind::PubRec,
        _ => AckKind::PubAck,
    };
    let text = reason_string.as_bytes();
    // The packet identifier, the code, the length of the properties, and one property with its length.
    let remaining = 2 + 1 + 1 + 3 + text.len();
    let maximum = to.maximum_packet_size.unwrap_or(u32::MAX);
    // A length of one byte is enough for every sentence of this program.
    let fits = remaining <= 0x7F && remaining as u64 + 2 <= u64::from(maximum);
    if !(to.version.is_v5() && to.problem_information && fits) {
        return acks(kind, ack.packet_id, ack.reason, to.version, out);
    }
    let [high, low] = ack.packet_id.value().to_be_bytes();
    let (remaining, properties, size) = (remaining as u8, text.len() as u8 + 3, text.len() as u8);
    out.extend_from_slice(&[kind as u8, remaining, high, low, ack.reason.0, properties]);
    out.extend_from_slice(&[REASON_STRING, 0, size]);
    out.extend_from_slice(text);
}

/// An answer to PUBLISH and how many bytes it has: success is said by silence in 5.0, and anything else cannot be said
/// to older clients.
#[inline]
fn ack_bytes(kind: AckKind, ack: Ack, version: Version) -> ([u8; 5], usize) {
    let [high, low] = ack.packet_id.value().to_be_bytes();
    if version.is_v5() && ack.reason != ReasonCode::SUCCESS {
        ([kind as u8, 3, high, low, ack.reason.0], 5)
    } else {
        ([kind as u8, 2, high, low, 0], 4)
    }
}

fn small((bytes, size): &([u8; 5], usize), to: &Peer, out: &mut BytePages) -> Result<(), TooLarge> {
    append(bytes.get(..*size).unwrap_or(bytes), to, out)
}

fn append(bytes: &[u8], to: &Peer, out: &mut BytePages) -> Result<(), TooLarge> {
    let fits = to
        .maximum_packet_size
        .is_none_or(|maximum| bytes.len() as u64 <= u64::from(maximum));
    if !fits {
        return Err(TooLarge);
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// What a packet goes out without where it would be too large for the client.
#[derive(Clone, Copy, Default)]
struct Extras<'a> {
    reason_string: Option<&'a str>,
    response_information: Option<&'a str>,
}

impl<'a> Extras<'a> {
    /// Those that may be sent, as far as the client's wish and the format's limit go.
    fn of(packet: &ServerPacket<'a>, to: &Peer) -> Extras<'a> {
        let (text, response_information) = match packet {
            ServerPacket::ConnAck(packet) => {
                let properties = &packet.properties;
                (properties.reason_string, properties.response_information)
            }
            ServerPacket::Disconnect { reason_string, .. } => (*reason_string, None),
            ServerPacket::SubAck { reason_string, .. } => (*reason_string, None),
            _ => (None, None),
        };
        Extras {
            // [MQTT-3.1.2-29] allows one in CONNACK and DISCONNECT at all times; whoever did not ask has no use for it.
            reason_string: text
                .filter(|text| to.problem_information && text.len() <= usize::from(u16::MAX)),
            response_information,
        }
    }
}

fn encode_v3(packet: &ServerPacket<'_>, to: &Peer, out: &mut BytePages) -> Result<(), TooLarge> {
    let packet = match packet {
        ServerPacket::ConnAck(packet) => v3_connack(packet, to.version),
        ServerPacket::SubAck {
            packet_id, reasons, ..
        } => v3::codec::Packet::SubscribeAck {
            packet_id: nonzero(*packet_id),
            status: reasons.iter().copied().map(v3_subscribed).collect(),
        },
        ServerPacket::UnsubAck { packet_id, .. } => v3::codec::Packet::UnsubscribeAck {
            packet_id: nonzero(*packet_id),
        },
        // A server of 3.x just closes; the other packets were written before.
        _ => return Ok(()),
    };
    apart(&v3::codec::Codec::new(), packet.into(), to, out)
}

fn v3_connack(packet: &ConnAck<'_>, version: Version) -> v3::codec::Packet {
    let code = packet.reason.connect_return_code();
    v3::codec::Packet::ConnectAck(v3::codec::ConnectAck {
        return_code: code
            .try_into()
            .unwrap_or(v3::codec::ConnectAckReason::ServiceUnavailable),
        // 3.1 has no such flag; with a refusal it is 0 [MQTT-3.2.2-4].
        session_present: packet.session_present && code == 0 && version != Version::V3_1,
    })
}

/// The return code of a SUBACK before 5.0. 3.1 has no code for a failure: that of 3.1.1 is the only thing which
/// cannot be taken for a granted QoS.
fn v3_subscribed(reason: ReasonCode) -> v3::codec::SubscribeReturnCode {
    match Qos::from_bits(reason.0) {
        Some(qos) => v3::codec::SubscribeReturnCode::Success(level(qos)),
        None => v3::codec::SubscribeReturnCode::Failure,
    }
}

fn encode_v5(
    packet: &ServerPacket<'_>,
    extras: Extras<'_>,
    to: &Peer,
    out: &mut BytePages,
) -> Result<(), TooLarge> {
    use v5::codec::{
        Auth, AuthReasonCode, Disconnect, DisconnectReasonCode, SubscribeAck, SubscribeAckReason,
        UnsubscribeAck, UnsubscribeAckReason,
    };
    let reason_string = extras.reason_string.map(ByteString::from);
    let packet = match packet {
        ServerPacket::ConnAck(packet) => v5_connack(packet, extras).into(),
        ServerPacket::SubAck {
            packet_id, reasons, ..
        } => SubscribeAck {
            packet_id: nonzero(*packet_id),
            properties: Vec::new(),
            reason_string,
            status: codes(reasons, SubscribeAckReason::UnspecifiedError),
        }
        .into(),
        ServerPacket::UnsubAck { packet_id, reasons } => UnsubscribeAck {
            packet_id: nonzero(*packet_id),
            properties: Vec::new(),
            reason_string,
            status: codes(reasons, UnsubscribeAckReason::UnspecifiedError),
        }
        .into(),
        ServerPacket::Disconnect {
            reason,
            server_reference,
            ..
        } => {
            let mut disconnect =
                Disconnect::new(code(*reason, DisconnectReasonCode::UnspecifiedError))
                    .reason_string(reason_string);
            disconnect.server_reference = server_reference.map(ByteString::from);
            disconnect.into()
        }
        ServerPacket::Auth(auth) => Auth {
            reason_code: code(auth.reason, AuthReasonCode::Success),
            auth_method: auth.method.map(ByteString::from),
            auth_data: auth.data.map(Bytes::copy_from_slice),
            ..Auth::default()
        }
        .into(),
        // The other packets were written before.
        _ => return Ok(()),
    };
    let packet: v5::codec::Packet = packet;
    apart(&v5::codec::Codec::new(), packet.into(), to, out)
}

fn v5_connack(packet: &ConnAck<'_>, extras: Extras<'_>) -> v5::codec::ConnectAck {
    use v5::codec::{ConnectAck, ConnectAckReason};
    let properties = &packet.properties;
    ConnectAck {
        // [MQTT-3.2.2-6]
        session_present: packet.session_present && packet.reason == ReasonCode::SUCCESS,
        reason_code: code(packet.reason, ConnectAckReason::UnspecifiedError),
        session_expiry_interval_secs: properties.session_expiry_s,
        receive_max: properties
            .receive_maximum
            .and_then(NonZeroU16::new)
            .unwrap_or(NonZeroU16::MAX),
        max_qos: properties.maximum_qos.map_or(QoS::ExactlyOnce, level),
        retain_available: properties.retain_available.unwrap_or(true),
        max_packet_size: properties.maximum_packet_size,
        assigned_client_id: properties.assigned_client_id.map(ByteString::from),
        topic_alias_max: properties.topic_alias_maximum.unwrap_or(0),
        server_keepalive_sec: properties.server_keep_alive_s,
        shared_subscription_available: properties.shared_subscription_available.unwrap_or(true),
        response_info: extras.response_information.map(ByteString::from),
        server_reference: properties.server_reference.map(ByteString::from),
        reason_string: extras.reason_string.map(ByteString::from),
        auth_method: properties.authentication_method.map(ByteString::from),
        auth_data: properties.authentication_data.map(Bytes::copy_from_slice),
        ..ConnectAck::default()
    }
}

/// A QoS in the words of ntex-mqtt.
fn level(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn code<T: TryFrom<u8>>(reason: ReasonCode, otherwise: T) -> T {
    T::try_from(reason.0).unwrap_or(otherwise)
}

fn codes<T: TryFrom<u8> + Copy>(reasons: &[ReasonCode], otherwise: T) -> Vec<T> {
    reasons
        .iter()
        .map(|&reason| code(reason, otherwise))
        .collect()
}

fn nonzero(packet_id: PacketId) -> NonZeroU16 {
    NonZeroU16::new(packet_id.value()).unwrap_or(NonZeroU16::MIN)
}

/// Writes a packet by a codec of ntex-mqtt and appends it when it is whole and fits.
fn apart<C: Encoder>(
    codec: &C,
    packet: C::Item,
    to: &Peer,
    out: &mut BytePages,
) -> Result<(), TooLarge> {
    let mut pages = BytePages::new(BytePageSize::Size4);
    // The codec fails on what does not fit into the format: a string or a packet that is too long.
    codec.encodev(packet, &mut pages).map_err(|_| TooLarge)?;
    append(&pages.freeze(), to, out)
}

/// How many bytes a Variable Byte Integer has (1.5.5).
#[inline]
pub(super) fn variable_size(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends a Variable Byte Integer of at most 268,435,455.
#[inline]
pub(super) fn put_variable(mut value: usize, out: &mut Vec<u8>) {
    debug_assert!(value <= crate::net::frame::REMAINING_LENGTH_MAX);
    while value > 0x7F {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
