//! An Application Message that the broker keeps: queued, in flight, retained or a will.
//!
//! A message that is only passed on is never made into one: it is borrowed from the packet it came in
//! ([`Publish`](super::packet::Publish)). A kept one is made once and shared by all who hold it.

use std::borrow::Cow;
use std::num::NonZeroU64;
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
    /// `NEVER` if it does not expire.
    expires_at_ms: u64,
    origin: Option<Origin>,
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
            && self.origin == other.origin
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

/// When a message expires that does not.
const NEVER: u64 = u64::MAX;

/// What stands before the properties of a message that has an [`Origin`], where it is stored: no property has this number.
const ORIGIN: u8 = 0;

/// The bridge by which a message came: what is retained of it does not go back to where it is from.
///
/// It is known by a number that is made of the name of the bridge's session (FNV-1a: the same in every build), so that a message need not
/// hold the name, and knows its bridge again after a restart that has cost the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin(NonZeroU64);

impl Origin {
    /// The bridge whose session has this Client Identifier.
    pub fn of(session: &str) -> Origin {
        let hash = session
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
            });
        Origin(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }

    /// What [`Message::stored_properties`] says: the origin, and the properties.
    pub fn split(stored: &[u8]) -> (Option<Origin>, &[u8]) {
        let marked = stored.strip_prefix(&[ORIGIN]);
        match marked.and_then(|rest| rest.split_first_chunk::<8>()) {
            Some((number, properties)) => {
                let number = NonZeroU64::new(u64::from_be_bytes(*number));
                (number.map(Origin), properties)
            }
            None => (None, stored),
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

    /// The same message as one that came by a bridge. Nobody else MUST hold it yet.
    pub fn from_bridge(mut self, origin: Option<Origin>) -> Message {
        let kept = Rc::get_mut(&mut self.0).expect("nobody else holds it");
        kept.origin = origin;
        self
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
            expires_at_ms: parts.expires_at_ms.unwrap_or(NEVER),
            origin: None,
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

    /// The properties with the origin, as the store is to keep them: [`Origin::split`] takes them apart.
    pub fn stored_properties(&self) -> Cow<'_, [u8]> {
        let Some(Origin(number)) = self.0.origin else {
            return self.properties().into();
        };
        let mark = [ORIGIN].into_iter().chain(number.get().to_be_bytes());
        mark.chain(self.properties().iter().copied()).collect()
    }

    /// The bridge that it came by.
    pub fn origin(&self) -> Option<Origin> {
        self.0.origin
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
        Some(self.0.expires_at_ms).filter(|at| *at != NEVER)
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
    fn what_is_stored_says_by_which_bridge_a_message_came() {
        let parts = Parts {
            topic: "a",
            properties: &[1, 0],
            payload: b"payload",
            qos: Qos::AtMostOnce,
            retain: true,
            expires_at_ms: None,
        };
        for origin in [None, Some(Origin::of("bridge:up"))] {
            let message = Message::new(1, parts).from_bridge(origin);
            assert_eq!(message.properties(), [1, 0]);
            let stored = message.stored_properties();
            assert_eq!(Origin::split(&stored), (origin, &[1, 0][..]));
        }
        assert_ne!(Origin::of("bridge:up"), Origin::of("bridge:other"));
        for none in [&[][..], &[0], &[0; 9], &[0, 1, 2, 3, 4, 5, 6, 7]] {
            assert_eq!(Origin::split(none).0, None);
        }
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
