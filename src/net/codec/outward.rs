//! What a client sends, for the connections that this side makes: CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ and DISCONNECT.
//!
//! PUBLISH and its answers are the same in both directions: [`PublishHead`](super::PublishHead) and [`acks`](super::acks). Strings MUST have at
//! most 65,535 bytes, which their makers hold.

use super::encode::put_variable;
use crate::mqtt::packet::{RetainHandling, SubscriptionOptions};
use crate::mqtt::property as id;
use crate::mqtt::{PacketId, Qos, Version};
use crate::net::trail::Trail;

/// PINGREQ (3.12).
pub const PINGREQ: [u8; 2] = [0xC0, 0];

/// CONNECT (3.1) of a bridge.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The version; 3.1 is not spoken.
    pub version: Version,
    /// Whether the highest bit of the protocol level says that this is a bridge, which only 3.1.1 knows.
    pub bridge: bool,
    /// Clean Start.
    pub clean_start: bool,
    /// Keep Alive in seconds.
    pub keep_alive_s: u16,
    /// The Client Identifier.
    pub client_id: &'a str,
    /// The Will.
    pub will: Option<Will<'a>>,
    /// The User Name.
    pub user_name: Option<&'a str>,
    /// The Password, which 3.1.1 has with a User Name only.
    pub password: Option<&'a [u8]>,
    /// Session Expiry Interval in seconds, of 5.0.
    pub session_expiry_s: u32,
    /// Receive Maximum, of 5.0.
    pub receive_maximum: u16,
    /// Maximum Packet Size in bytes, of 5.0.
    pub maximum_packet_size: u32,
    /// What says that messages of this client have a trail, of 5.0.
    pub trail: &'a Trail,
}

/// A Will.
#[derive(Debug, Clone, Copy)]
pub struct Will<'a> {
    /// The Topic Name.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// Whether it is retained and sent with QoS 1, or else neither.
    pub is_full: bool,
}

impl Opening<'_> {
    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let is_v5 = self.version.is_v5();
        let password = self.password.filter(|_| is_v5 || self.user_name.is_some());
        let mut body = b"\0\x04MQTT".to_vec();
        let level = if is_v5 { 5 } else { 4 };
        body.push(level | if self.bridge && !is_v5 { 0x80 } else { 0 });
        let will = match self.will {
            Some(Will { is_full: true, .. }) => 0x2C,
            Some(_) => 0x04,
            None => 0,
        };
        body.push(
            u8::from(self.user_name.is_some()) << 7
                | u8::from(password.is_some()) << 6
                | will
                | u8::from(self.clean_start) << 1,
        );
        body.extend(self.keep_alive_s.to_be_bytes());
        if is_v5 {
            let mut properties = vec![id::SESSION_EXPIRY_INTERVAL];
            properties.extend(self.session_expiry_s.to_be_bytes());
            properties.push(id::RECEIVE_MAXIMUM);
            properties.extend(self.receive_maximum.to_be_bytes());
            properties.push(id::MAXIMUM_PACKET_SIZE);
            properties.extend(self.maximum_packet_size.to_be_bytes());
            self.trail.put_bridge(&mut properties);
            put_variable(properties.len(), &mut body);
            body.extend(properties);
        }
        put_binary(self.client_id.as_bytes(), &mut body);
        if let Some(Will { topic, payload, .. }) = self.will {
            if is_v5 {
                body.push(0);
            }
            put_binary(topic.as_bytes(), &mut body);
            put_binary(payload, &mut body);
        }
        if let Some(user_name) = self.user_name {
            put_binary(user_name.as_bytes(), &mut body);
        }
        if let Some(password) = password {
            put_binary(password, &mut body);
        }
        put_packet(0x10, &body, out);
    }
}

/// Appends SUBSCRIBE (3.8).
pub fn subscribe(
    version: Version,
    packet_id: PacketId,
    filters: &[(&str, SubscriptionOptions)],
    out: &mut Vec<u8>,
) {
    let mut body = packet_id.value().to_be_bytes().to_vec();
    if version.is_v5() {
        body.push(0);
    }
    for (filter, options) in filters {
        put_binary(filter.as_bytes(), &mut body);
        body.push(match version {
            Version::V5 => options_byte(options),
            _ => options.qos as u8,
        });
    }
    put_packet(0x82, &body, out);
}

/// The Subscription Options of 5.0 (3.8.3.1).
fn options_byte(options: &SubscriptionOptions) -> u8 {
    let handling = match options.retain_handling {
        RetainHandling::Send => 0,
        RetainHandling::SendIfNew => 1,
        RetainHandling::DoNotSend => 2,
    };
    handling << 4
        | u8::from(options.retain_as_published) << 3
        | u8::from(options.no_local) << 2
        | options.qos as u8
}

/// Appends UNSUBSCRIBE (3.10).
pub fn unsubscribe(version: Version, packet_id: PacketId, filters: &[&str], out: &mut Vec<u8>) {
    let mut body = packet_id.value().to_be_bytes().to_vec();
    if version.is_v5() {
        body.push(0);
    }
    for filter in filters {
        put_binary(filter.as_bytes(), &mut body);
    }
    put_packet(0xA2, &body, out);
}

/// Appends a PUBLISH of QoS 0 without properties.
pub fn publish(version: Version, topic: &str, payload: &[u8], retain: bool, out: &mut Vec<u8>) {
    let head = super::PublishHead {
        topic,
        topic_alias: None,
        packet_id: None,
        qos: Qos::AtMostOnce,
        duplicate: false,
        retain,
        expiry_s: None,
        subscription_ids: &[],
        properties: &[],
        payload_bytes: payload.len(),
    };
    head.encode(version, out);
    out.extend_from_slice(payload);
}

fn put_binary(bytes: &[u8], body: &mut Vec<u8>) {
    debug_assert!(bytes.len() <= usize::from(u16::MAX));
    body.extend((bytes.len() as u16).to_be_bytes());
    body.extend_from_slice(bytes);
}

fn put_packet(first: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    put_variable(body.len(), out);
    out.extend_from_slice(body);
}
