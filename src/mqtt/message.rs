//! An Application Message that the broker keeps: queued, in flight, retained or a will.
//!
//! A message that is only passed on is never made into one: it is borrowed from the packet it came in
//! ([`Publish`](super::packet::Publish)). A kept one is made once and shared by all who hold it.

use std::rc::Rc;

use ntex_bytes::{Bytes, BytesMut};

use super::Qos;

/// An Application Message: topic, properties and payload in one allocation.
///
/// Cloning is cheap: clones share the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(Rc<Kept>);

#[derive(Debug, PartialEq, Eq)]
struct Kept {
    /// Topic, properties and payload, one after the other.
    bytes: Bytes,
    topic_bytes: u16,
    properties_bytes: u32,
    qos: Qos,
    retain: bool,
    id: u64,
    expires_at_ms: Option<u64>,
}

/// What a [`Message`] is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The Topic Name, at most 65,535 bytes.
    pub topic: &'a str,
    /// The properties that travel with the message, as encoded in a PUBLISH, without the expiry.
    pub properties: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// The QoS that it was published with.
    pub qos: Qos,
    /// The RETAIN flag that it was published with.
    pub retain: bool,
    /// When its Message Expiry Interval ends, in milliseconds of the broker's clock.
    pub expires_at_ms: Option<u64>,
}

impl Message {
    /// Copies the parts; `id` is what the store calls it by and is unique within one broker.
    pub fn new(id: u64, parts: Parts<'_>) -> Message {
        let size = parts.topic.len() + parts.properties.len() + parts.payload.len();
        let mut bytes = BytesMut::with_capacity(size);
        bytes.extend_from_slice(parts.topic.as_bytes());
        bytes.extend_from_slice(parts.properties);
        bytes.extend_from_slice(parts.payload);
        debug_assert!(parts.topic.len() <= usize::from(u16::MAX));
        Message(Rc::new(Kept {
            bytes: bytes.freeze(),
            topic_bytes: parts.topic.len() as u16,
            properties_bytes: parts.properties.len() as u32,
            qos: parts.qos,
            retain: parts.retain,
            id,
            expires_at_ms: parts.expires_at_ms,
        }))
    }

    /// What the store calls the message by.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The Topic Name.
    pub fn topic(&self) -> &str {
        let bytes = &self.0.bytes[..usize::from(self.0.topic_bytes)];
        std::str::from_utf8(bytes).expect("made from a str in new")
    }

    /// The properties that travel with the message, as encoded in a PUBLISH.
    pub fn properties(&self) -> &[u8] {
        let from = usize::from(self.0.topic_bytes);
        &self.0.bytes[from..from + self.0.properties_bytes as usize]
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.0.bytes[self.payload_from()..]
    }

    /// The payload as a share of the message's bytes, so that an output buffer need not copy it.
    pub fn payload_shared(&self) -> Bytes {
        self.0.bytes.slice(self.payload_from()..)
    }

    fn payload_from(&self) -> usize {
        usize::from(self.0.topic_bytes) + self.0.properties_bytes as usize
    }

    /// The QoS that it was published with.
    pub fn qos(&self) -> Qos {
        self.0.qos
    }

    /// The RETAIN flag that it was published with.
    pub fn retain(&self) -> bool {
        self.0.retain
    }

    /// When its Message Expiry Interval ends, in milliseconds of the broker's clock.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.0.expires_at_ms
    }

    /// What it costs to keep it, in bytes, shared or not.
    pub fn size(&self) -> usize {
        self.0.bytes.len() + size_of::<Kept>() + 2 * size_of::<usize>()
    }

    /// How many hold it.
    pub fn holders(&self) -> usize {
        Rc::strong_count(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_gives_back_its_parts() {
        let message = Message::new(
            7,
            Parts {
                topic: "a/b",
                properties: &[1, 0],
                payload: b"payload",
                qos: Qos::AtLeastOnce,
                retain: true,
                expires_at_ms: Some(9),
            },
        );
        assert_eq!(
            (message.topic(), message.properties()),
            ("a/b", &[1, 0][..])
        );
        assert_eq!(
            (message.payload(), &message.payload_shared()[..]),
            (&b"payload"[..], &b"payload"[..])
        );
        assert_eq!(
            (message.qos(), message.retain(), message.id()),
            (Qos::AtLeastOnce, true, 7)
        );
        assert_eq!(message.expires_at_ms(), Some(9));
    }
}
