//! Packets of a server, for the connections that this side makes: as strict as with those of clients.
//!
//! Entered by [`decode_connack`] with the first packet, and by [`decode_remote`] with all later ones. PUBLISH and its answers are read by
//! the same code as a client's. A Server Reference is not given out, since none is ever followed.

use super::properties::{IN_ACK, IN_AUTH, IN_CONNACK, IN_SERVER_DISCONNECT, Properties, Property};
use super::publish::{ack, is_received_reason, is_release_reason, publish};
use super::{Fault, Reader, Scratch};
use crate::mqtt::packet::{Ack, Publish};
use crate::mqtt::{PacketId, Qos, ReasonCode, Version};

/// A packet that a server may send after CONNACK.
#[derive(Debug, Clone, PartialEq)]
pub enum RemotePacket<'a> {
    /// PUBLISH (3.3).
    Publish(Publish<'a>),
    /// PUBACK (3.4).
    PubAck(Ack),
    /// PUBREC (3.5).
    PubRec(Ack),
    /// PUBREL (3.6).
    PubRel(Ack),
    /// PUBCOMP (3.7).
    PubComp(Ack),
    /// SUBACK (3.9) with one code a filter; those of 3.1.1 are codes of 5.0 too.
    SubAck(PacketId, &'a [u8]),
    /// UNSUBACK (3.11).
    UnsubAck(PacketId),
    /// PINGRESP (3.13).
    PingResp,
    /// DISCONNECT (3.14), of 5.0 only.
    Disconnect(ReasonCode),
}

/// CONNACK (3.2) from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteConnAck {
    /// Session Present.
    pub session_present: bool,
    /// The Connect Reason Code; a Return Code of 3.1.1 is told by the code of 5.0 that says the same.
    pub reason: ReasonCode,
    /// Receive Maximum.
    pub receive_maximum: u16,
    /// Maximum QoS.
    pub maximum_qos: Qos,
    /// Retain Available.
    pub retain_available: bool,
    /// Maximum Packet Size in bytes.
    pub maximum_packet_size: Option<u32>,
    /// Topic Alias Maximum.
    pub topic_alias_maximum: u16,
    /// Wildcard Subscription Available.
    pub wildcard_available: bool,
    /// Shared Subscription Available.
    pub shared_available: bool,
    /// Server Keep Alive in seconds.
    pub keep_alive_s: Option<u16>,
}

impl RemoteConnAck {
    /// What one without properties says.
    fn plain(session_present: bool, reason: ReasonCode) -> RemoteConnAck {
        RemoteConnAck {
            session_present,
            reason,
            receive_maximum: u16::MAX,
            maximum_qos: Qos::ExactlyOnce,
            retain_available: true,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            wildcard_available: true,
            shared_available: true,
            keep_alive_s: None,
        }
    }
}

/// Reads the first packet of a server, which must be a CONNACK; `first` is its first byte.
///
/// A server that does not know 5.0 answers in the form of 3.1.1, which is understood as well.
///
/// # Errors
/// It is another packet, or ill formed.
pub fn decode_connack(version: Version, first: u8, body: &[u8]) -> Result<RemoteConnAck, Fault> {
    if first != 0x20 {
        return Err(Fault::protocol("the first packet is not a CONNACK"));
    }
    let mut reader = Reader::new(body);
    let flags = reader.byte()?;
    if flags > 1 {
        // [MQTT-3.2.2-1]
        return Err(Fault::malformed("a reserved flag of CONNACK is set"));
    }
    let code = reader.byte()?;
    // [MQTT-3.2.2-6], and [MQTT-3.2.2-4] of 3.1.1
    if flags == 1 && code != 0 {
        return Err(Fault::protocol("a refusal says that a session is present"));
    }
    if !version.is_v5() || reader.is_empty() {
        reader.finish()?;
        return Ok(RemoteConnAck::plain(flags == 1, of_return_code(code)));
    }
    let mut connack = RemoteConnAck::plain(flags == 1, ReasonCode(code));
    read_properties(&mut connack, reader.properties()?)?;
    reader.finish()?;
    Ok(connack)
}

fn read_properties(connack: &mut RemoteConnAck, block: &[u8]) -> Result<(), Fault> {
    let mut properties = Properties::new(block, IN_CONNACK);
    while let Some(property) = properties.next()? {
        match property {
            Property::ReceiveMaximum(value) => connack.receive_maximum = value,
            Property::MaximumQos(qos) => connack.maximum_qos = qos,
            Property::RetainAvailable(is) => connack.retain_available = is,
            Property::MaximumPacketSize(bytes) => connack.maximum_packet_size = Some(bytes),
            Property::TopicAliasMaximum(value) => connack.topic_alias_maximum = value,
            Property::WildcardAvailable(is) => connack.wildcard_available = is,
            Property::SharedAvailable(is) => connack.shared_available = is,
            Property::ServerKeepAlive(seconds) => connack.keep_alive_s = Some(seconds),
            Property::AuthenticationMethod(_) | Property::AuthenticationData(_) => {
                return Err(Fault::protocol("an authentication that nobody began"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The code of 5.0 that says what a Return Code of 3.1.1 says (3.2.2.3 there).
fn of_return_code(code: u8) -> ReasonCode {
    match code {
        0 => ReasonCode::SUCCESS,
        1 => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        2 => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
        3 => ReasonCode::SERVER_UNAVAILABLE,
        4 => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        5 => ReasonCode::NOT_AUTHORIZED,
        // Brokers that are asked for the unknown say what they like; some answer by codes of 5.0.
        other => ReasonCode(other.max(0x80)),
    }
}

/// Reads a packet after CONNACK; `first` is its first byte and `body` what follows its fixed header.
///
/// # Errors
/// It is ill formed, or one that a server cannot send to this client.
pub fn decode_remote<'a>(
    version: Version,
    first: u8,
    body: &'a [u8],
    scratch: &'a mut Scratch,
) -> Result<RemotePacket<'a>, Fault> {
    scratch.trim();
    if first >> 4 == 3 {
        return of_publish(publish(version, first & 0x0F, body, scratch)?);
    }
    let flags = first & 0x0F;
    if flags != if first >> 4 == 6 { 2 } else { 0 } {
        return Err(Fault::malformed(
            "a reserved flag of the fixed header is not as it must be",
        ));
    }
    match first >> 4 {
        4 => ack(version, body, is_received_reason).map(RemotePacket::PubAck),
        5 => ack(version, body, is_received_reason).map(RemotePacket::PubRec),
        6 => ack(version, body, is_release_reason).map(RemotePacket::PubRel),
        7 => ack(version, body, is_release_reason).map(RemotePacket::PubComp),
        9 => match subscribed(version, body)? {
            // [MQTT-3.8.3-2] and [MQTT-3.9.3-1]: there is one a filter, and there was a filter.
            (_, []) => Err(Fault::protocol("a SUBACK without a code")),
            (packet_id, codes) => Ok(RemotePacket::SubAck(packet_id, codes)),
        },
        11 => subscribed(version, body).map(|(packet_id, _)| RemotePacket::UnsubAck(packet_id)),
        13 => Reader::new(body).finish().map(|()| RemotePacket::PingResp),
        14 if version.is_v5() => disconnect(body).map(RemotePacket::Disconnect),
        15 if version.is_v5() => {
            Properties::new(body.get(2..).unwrap_or_default(), IN_AUTH).skip()?;
            Err(Fault::protocol("an authentication that nobody began"))
        }
        _ => Err(Fault::protocol("a packet that no server sends now")),
    }
}

/// A PUBLISH without a Topic Alias: none was offered [MQTT-3.3.2-9].
fn of_publish(publish: Publish<'_>) -> Result<RemotePacket<'_>, Fault> {
    match publish.topic_alias {
        None => Ok(RemotePacket::Publish(publish)),
        Some(_) => Err(Fault::topic_alias("a topic alias, and none was offered")),
    }
}

/// SUBACK and UNSUBACK.
fn subscribed(version: Version, body: &[u8]) -> Result<(PacketId, &[u8]), Fault> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    if version.is_v5() {
        Properties::new(reader.properties()?, IN_ACK).skip()?;
    }
    Ok((packet_id, reader.rest()))
}

fn disconnect(body: &[u8]) -> Result<ReasonCode, Fault> {
    let mut reader = Reader::new(body);
    if reader.is_empty() {
        return Ok(ReasonCode::SUCCESS);
    }
    let reason = ReasonCode(reader.byte()?);
    if !reader.is_empty() {
        Properties::new(reader.properties()?, IN_SERVER_DISCONNECT).skip()?;
    }
    reader.finish()?;
    Ok(reason)
}
