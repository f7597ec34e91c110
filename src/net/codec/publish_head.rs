//! The broker's PUBLISH (3.3 of MQTT 5.0), all but its payload.
//!
//! The payload is added by the caller, who may share it between connections instead of copying it.

use super::encode::{put_variable, variable_size};
use crate::mqtt::property as id;
use crate::mqtt::{PacketId, Qos, Version};

/// What stands before the payload of a PUBLISH to a client.
///
/// Everything that only 5.0 has is left out for older clients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishHead<'a> {
    /// The Topic Name, at most 65,535 bytes; empty when the alias was said before.
    pub topic: &'a str,
    /// Topic Alias, within the client's Topic Alias Maximum.
    pub topic_alias: Option<u16>,
    /// The Packet Identifier, at QoS 1 and 2 and only there.
    pub packet_id: Option<PacketId>,
    /// The QoS.
    pub qos: Qos,
    /// The DUP flag, never at QoS 0.
    pub duplicate: bool,
    /// The RETAIN flag.
    pub retain: bool,
    /// Message Expiry Interval in seconds: what is left of it [MQTT-3.3.2-6].
    pub expiry_s: Option<u32>,
    /// The Subscription Identifiers of the subscriptions that match, 1 to 268,435,455.
    pub subscription_ids: &'a [u32],
    /// The properties that travel with the message, encoded.
    pub properties: &'a [u8],
    /// The payload's size in bytes.
    pub payload_bytes: usize,
}

impl PublishHead<'_> {
    /// The whole packet's size in bytes, payload included: what is compared with the client's Maximum Packet Size
    /// [MQTT-3.1.2-24] and MUST NOT exceed [`PACKET_BYTES_MAX`](crate::net::frame::PACKET_BYTES_MAX).
    #[inline]
    pub fn size(&self, version: Version) -> usize {
        let remaining = self.remaining(version, self.properties_size());
        1 + variable_size(remaining) + remaining
    }

    /// Appends everything up to the payload, which the caller MUST add.
    // Only in the place of its call it is as quick as for one kind of caller.
    #[inline(always)]
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        debug_assert!(self.topic.len() <= usize::from(u16::MAX));
        debug_assert_eq!(self.packet_id.is_some(), self.qos != Qos::AtMostOnce);
        let properties = self.properties_size();
        let remaining = self.remaining(version, properties);
        out.reserve(5 + remaining - self.payload_bytes);
        out.push(
            0x30 | u8::from(self.duplicate) << 3 | (self.qos as u8) << 1 | u8::from(self.retain),
        );
        put_variable(remaining, out);
        out.extend_from_slice(&(self.topic.len() as u16).to_be_bytes());
        out.extend_from_slice(self.topic.as_bytes());
        if let Some(packet_id) = self.packet_id {
            out.extend_from_slice(&packet_id.value().to_be_bytes());
        }
        if version.is_v5() {
            put_variable(properties, out);
            self.put_properties(out);
        }
    }

    fn put_properties(&self, out: &mut Vec<u8>) {
        if let Some(alias) = self.topic_alias {
            let [high, low] = alias.to_be_bytes();
            out.extend_from_slice(&[id::TOPIC_ALIAS, high, low]);
        }
        if let Some(seconds) = self.expiry_s {
            let [a, b, c, d] = seconds.to_be_bytes();
            out.extend_from_slice(&[id::MESSAGE_EXPIRY_INTERVAL, a, b, c, d]);
        }
        for &subscription_id in self.subscription_ids {
            out.push(id::SUBSCRIPTION_IDENTIFIER);
            put_variable(subscription_id as usize, out);
        }
        out.extend_from_slice(self.properties);
    }

    /// The size of the properties of 5.0 without their length, in bytes.
    #[inline]
    fn properties_size(&self) -> usize {
        let mut size = self.properties.len();
        if self.topic_alias.is_some() {
            size += 3;
        }
        if self.expiry_s.is_some() {
            size += 5;
        }
        for &subscription_id in self.subscription_ids {
            size += 1 + variable_size(subscription_id as usize);
        }
        size
    }

    /// The Remaining Length.
    #[inline]
    fn remaining(&self, version: Version, properties: usize) -> usize {
        let mut size = 2 + self.topic.len() + self.payload_bytes;
        if self.packet_id.is_some() {
            size += 2;
        }
        if version.is_v5() {
            size += variable_size(properties) + properties;
        }
        size
    }
}
