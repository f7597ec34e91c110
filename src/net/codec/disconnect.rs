//! DISCONNECT and AUTH from a client (3.14 and 3.15 of MQTT 5.0).

use super::properties::{IN_AUTH, IN_DISCONNECT, Properties, Property};
use super::{Fault, Reader};
use crate::mqtt::packet::{Auth, Disconnect};
use crate::mqtt::{ReasonCode, Version};

/// Reads a DISCONNECT. Before 5.0 it is empty and means a normal end.
pub(super) fn disconnect(version: Version, body: &[u8]) -> Result<Disconnect, Fault> {
    let mut reader = Reader::new(body);
    let mut packet = Disconnect {
        reason: ReasonCode::SUCCESS,
        session_expiry_s: None,
    };
    // Both the Reason Code and the Property Length may be missing (3.14.2.1, 3.14.2.2.1).
    if version.is_v5() && !reader.is_empty() {
        packet.reason = ReasonCode(reader.byte()?);
        if !is_client_reason(packet.reason) {
            // [MQTT-3.14.2-1]
            return Err(Fault::protocol(
                "a client cannot disconnect with this reason code",
            ));
        }
        if !reader.is_empty() {
            packet.session_expiry_s = session_expiry(reader.properties()?)?;
        }
    }
    reader.finish()?;
    Ok(packet)
}

fn session_expiry(block: &[u8]) -> Result<Option<u32>, Fault> {
    let mut expiry_s = None;
    let mut properties = Properties::new(block, IN_DISCONNECT);
    while let Some(property) = properties.next()? {
        match property {
            Property::SessionExpiry(seconds) => expiry_s = Some(seconds),
            // "The Server sends DISCONNECT including a Server Reference" (3.14.2.2.5).
            Property::ServerReference => {
                return Err(Fault::protocol("a client names a server reference"));
            }
            _ => {}
        }
    }
    Ok(expiry_s)
}

/// Whether the table of 3.14.2.1 has a client among the senders of this code.
fn is_client_reason(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::SUCCESS
            | ReasonCode::DISCONNECT_WITH_WILL
            | ReasonCode::UNSPECIFIED_ERROR
            | ReasonCode::MALFORMED_PACKET
            | ReasonCode::PROTOCOL_ERROR
            | ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
            | ReasonCode::TOPIC_NAME_INVALID
            | ReasonCode::RECEIVE_MAXIMUM_EXCEEDED
            | ReasonCode::TOPIC_ALIAS_INVALID
            | ReasonCode::PACKET_TOO_LARGE
            | ReasonCode::MESSAGE_RATE_TOO_HIGH
            | ReasonCode::QUOTA_EXCEEDED
            | ReasonCode::ADMINISTRATIVE_ACTION
            | ReasonCode::PAYLOAD_FORMAT_INVALID
    )
}

/// Reads an AUTH.
pub(super) fn auth(body: &[u8]) -> Result<Auth<'_>, Fault> {
    let mut reader = Reader::new(body);
    // An empty AUTH means success (3.15.2.1), and only the server says that.
    let reason = match body {
        [] => ReasonCode::SUCCESS,
        _ => ReasonCode(reader.byte()?),
    };
    if !matches!(
        reason,
        ReasonCode::CONTINUE_AUTHENTICATION | ReasonCode::REAUTHENTICATE
    ) {
        // [MQTT-3.15.2-1]
        return Err(Fault::protocol(
            "a client cannot send AUTH with this reason code",
        ));
    }
    let (mut method, mut data) = (None, None);
    let mut properties = Properties::new(reader.properties()?, IN_AUTH);
    while let Some(property) = properties.next()? {
        match property {
            Property::AuthenticationMethod(name) => method = Some(name),
            Property::AuthenticationData(bytes) => data = Some(bytes),
            _ => {}
        }
    }
    if method.is_none() {
        // "It is a Protocol Error to omit the Authentication Method" (3.15.2.2.2).
        return Err(Fault::protocol("an AUTH names no authentication method"));
    }
    reader.finish()?;
    Ok(Auth {
        reason,
        method,
        data,
    })
}
