//! An Application Message that the broker keeps: queued, in flight, retained or a will.
//!
//! A message that is only passed on is never made into one: it is borrowed from the packet it came in
//! ([`Publish`](super::packet::Publish)). A kept one is made once and shared by all who hold it.

use std::rc::Rc;

use ntex_bytes::{Bytes, BytesMut};

use super::{Qos, Tally};

/// What one more holder of a message costs beside the message, in bytes: its place in a queue, with the room that a
/// growing one has to spare.
const HOLDER_BYTES: usize = 96;

/// An Application Message: topic, properties and payload in one allocation.
///
/// Cloning is cheap: clones share the bytes. A message that is [counted](Message::counted) is counted once, and each who
/// holds it besides, until the last of them is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Message(Rc<Kept>);

#[derive(Debug)]
struct Kept {
    /// Topic, properties and payload, one after the other.
    bytes: Bytes,
    topic_bytes: u16,
    properties_bytes: u32,
    qos: Qos,
    retain: bool,
    id: u64,
    expires_at_ms: Option<u64>,
    /// Where it is counted; no part of what it is.
    tally: Option<Tally>,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
            && self.topic_bytes == other.topic_bytes
            && self.properties_bytes == other.properties_bytes
            && self.qos == other.qos
            && self.retain == other.retain
            && self.id == other.id
            && self.expires_at_ms == other.expires_at_ms
    }
}

impl Eq for Kept {}

impl Clone for Message {
    fn clone(&self) -> Self {
        if let Some(tally) = &self.0.tally {
            tally.add(HOLDER_BYTES);
        }
        Message(self.0.clone())
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Some(tally) = &self.0.tally {
            let is_last = self.holders() == 1;
            tally.remove(HOLDER_BYTES + if is_last { self.size() } else { 0 });
        }
    }
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
        Message::made(id, parts, None)
    }

    /// The same, counted in `tally` as long as anybody holds it.
    pub fn counted(id: u64, parts: Parts<'_>, tally: &Tally) -> Message {
        let message = Message::made(id, parts, Some(tally.clone()));
        tally.add(message.size() + HOLDER_BYTES);
        message
    }

    /// What a message of these parts costs its first holder, in bytes.
    pub fn cost(topic: &str, properties: &[u8], payload: &[u8]) -> usize {
        let bytes = topic.len() + properties.len() + payload.len();
        bytes + size_of::<Kept>() + 2 * size_of::<usize>() + HOLDER_BYTES
    }

    fn made(id: u64, parts: Parts<'_>, tally: Option<Tally>) -> Message {
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
            tally,
        }))
    }

    /// What the store calls the message by.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The Topic Name.
    pub fn topic(&self) -> &str {
        std::str::from_utf8(self.topic_bytes()).expect("made from a str in new")
    }

    /// The Topic Name's bytes, whose order is that of the names.
    pub fn topic_bytes(&self) -> &[u8] {
        &self.0.bytes[..usize::from(self.0.topic_bytes)]
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

    #[test]
    fn a_message_is_counted_once_with_all_its_holders_until_the_last_is_gone() {
        let tally = Tally::default();
        let parts = Parts {
            topic: "a",
            properties: &[],
            payload: b"payload",
            qos: Qos::AtMostOnce,
            retain: false,
            expires_at_ms: None,
        };
        let message = Message::counted(1, parts, &tally);
        let cost = Message::cost("a", &[], b"payload");
        assert_eq!(tally.bytes(), cost);
        let others = vec![message.clone(); 9];
        assert_eq!(tally.bytes(), cost + 9 * HOLDER_BYTES);
        drop(message);
        assert_eq!(tally.bytes(), cost + 8 * HOLDER_BYTES);
        drop(others);
        assert_eq!(tally.bytes(), 0);
    }
}
