//! PUBLISH and its four answers from a client (3.3 to 3.7 of MQTT 5.0).
//!
//! A PUBLISH is the packet that a broker reads most: nothing of it is copied or allocated here, unless its
//! properties stand in an order that no known client uses.

use super::properties::{IN_ACK, IN_PUBLISH, MessageProperties, Properties, of_message};
use super::{Fault, Reader, Scratch};
use crate::mqtt::packet::{Ack, Publish};
use crate::mqtt::{Qos, ReasonCode, Version, topic};

/// Reads a PUBLISH; `flags` are the lower four bits of its first byte. A remote broker's are read by it too, but rarely: it is as quick as
/// it can be only in the place of its call.
#[inline(always)]
pub(super) fn publish<'a>(
    version: Version,
    flags: u8,
    body: &'a [u8],
    scratch: &'a mut Scratch,
) -> Result<Publish<'a>, Fault> {
    // [MQTT-3.3.1-4]
    let qos = Qos::from_bits(flags >> 1 & 3).ok_or(Fault::malformed("a PUBLISH has QoS 3"))?;
    let duplicate = flags & 8 != 0;
    if duplicate && qos == Qos::AtMostOnce {
        // [MQTT-3.3.1-2]
        return Err(Fault::malformed(
            "a PUBLISH of QoS 0 is marked as a duplicate",
        ));
    }
    let mut reader = Reader::new(body);
    let topic = reader.text()?;
    let packet_id = match qos {
        Qos::AtMostOnce => None,
        _ => Some(reader.packet_id()?),
    };
    let properties = match version {
        Version::V5 => match reader.properties()? {
            [] => MessageProperties::default(),
            block => of_message(block, IN_PUBLISH, scratch)?,
        },
        _ => MessageProperties::default(),
    };
    if !topic::is_name(topic) {
        check_bad_name(version, topic, properties.topic_alias)?;
    }
    Ok(Publish {
        topic,
        packet_id,
        qos,
        duplicate,
        retain: flags & 1 != 0,
        topic_alias: properties.topic_alias,
        expiry_s: properties.expiry_s,
        properties: properties.travelling,
        payload: reader.rest(),
    })
}

/// Lets pass the one text that is no Topic Name but may stand in its place: none, when an alias names it.
///
/// Wildcards [MQTT-3.3.2-2] are answered as malformed and not with 0x90, which is for a name that "is correctly
/// formed, but is not accepted" (2.4).
#[cold]
fn check_bad_name(version: Version, topic: &str, alias: Option<u16>) -> Result<(), Fault> {
    if !topic.is_empty() {
        Err(Fault::malformed("the topic name is ill formed"))
    } else if !version.is_v5() {
        // [MQTT-4.7.3-1]
        Err(Fault::malformed("the topic name is empty"))
    } else if alias.is_none() {
        // "It is a Protocol Error if the Topic Name is zero length and there is no Topic Alias" (3.3.2.1).
        Err(Fault::protocol(
            "there is neither a topic name nor an alias",
        ))
    } else {
        Ok(())
    }
}

/// Whether a PUBACK or PUBREC may carry this Reason Code (3.4.2.1, 3.5.2.1).
pub(super) fn is_received_reason(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::SUCCESS
            | ReasonCode::NO_MATCHING_SUBSCRIBERS
            | ReasonCode::UNSPECIFIED_ERROR
            | ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
            | ReasonCode::NOT_AUTHORIZED
            | ReasonCode::TOPIC_NAME_INVALID
            | ReasonCode::PACKET_IDENTIFIER_IN_USE
            | ReasonCode::QUOTA_EXCEEDED
            | ReasonCode::PAYLOAD_FORMAT_INVALID
    )
}

/// Whether a PUBREL or PUBCOMP may carry this Reason Code (3.6.2.1, 3.7.2.1).
pub(super) fn is_release_reason(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::SUCCESS | ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
    )
}

/// Reads PUBACK, PUBREC, PUBREL or PUBCOMP, whose Reason Code must be one that `is_reason` knows.
#[inline]
pub(super) fn ack(
    version: Version,
    body: &[u8],
    is_reason: fn(ReasonCode) -> bool,
) -> Result<Ack, Fault> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let mut reason = ReasonCode::SUCCESS;
    // Both the Reason Code and the Property Length may be missing (3.4.2.1, 3.4.2.2.1).
    if version.is_v5() && !reader.is_empty() {
        reason = ReasonCode(reader.byte()?);
        if !is_reason(reason) {
            // [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]
            return Err(Fault::protocol("the packet cannot have this reason code"));
        }
        if !reader.is_empty() {
            Properties::new(reader.properties()?, IN_ACK).skip()?;
        }
    }
    reader.finish()?;
    Ok(Ack { packet_id, reason })
}
