//! What one line of the journal says: a store operation of the broker as bytes that outlive it.
//!
//! Entered by [`Writer`], which appends records to the frame of a turn, and by [`read`], which gives those of a frame back. A record is
//! its serde form in postcard's encoding: variable-length numbers, strings and bytes with their length, borrowed when read. The
//! records of a message's holders name it by its id; the record of its body stands before the first of them in the frame.
//! A frame's length and CRC are the journal's matter.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

use crate::broker::StoreOp;
use crate::mqtt::packet::{RetainHandling, SubscriptionOptions};
use crate::mqtt::{Message, Qos};

/// One change of the durable state. The fields are those of [`StoreOp`], where they are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record<'a> {
    /// The body of a message.
    #[serde(borrow)]
    Body(Body<'a>),
    /// [`StoreOp::Queued`]; `packet_id` is 0 where there is none.
    Queued {
        session: u64,
        message: u64,
        qos: u8,
        retain: bool,
        packet_id: u16,
        #[serde(borrow)]
        with: Option<Box<Extras<'a>>>,
    },
    /// [`StoreOp::Inflight`].
    Inflight {
        session: u64,
        message: u64,
        share: Option<&'a str>,
        packet_id: u16,
    },
    /// [`StoreOp::Received`].
    Received { session: u64, packet_id: u16 },
    /// [`StoreOp::Done`].
    Done { session: u64, packet_id: u16 },
    /// [`StoreOp::Dropped`].
    Dropped {
        session: u64,
        message: u64,
        share: Option<&'a str>,
    },
    /// [`StoreOp::Taken`].
    Taken { session: u64, packet_id: u16 },
    /// [`StoreOp::Released`].
    Released { session: u64, packet_id: u16 },
    /// [`StoreOp::Retained`].
    Retained { topic: &'a str, message: u64 },
    /// The same of a message that rests: it is in the journal only, until it is said again as retained, replaced or cleared.
    Resting { topic: &'a str, message: u64 },
    /// [`StoreOp::RetainCleared`].
    RetainCleared { topic: &'a str },
    /// [`StoreOp::SessionMade`].
    SessionMade {
        session: u64,
        client_id: &'a str,
        user: Option<&'a str>,
        expiry_s: u32,
    },
    /// [`StoreOp::SessionChanged`]; `offline_since_ms` is when the client went, in the broker's time.
    SessionChanged {
        session: u64,
        expiry_s: u32,
        offline_since_ms: Option<u64>,
    },
    /// [`StoreOp::SessionEnded`].
    SessionEnded { session: u64 },
    /// [`StoreOp::Subscribed`]; the options are the byte of SUBSCRIBE (5.0, 3.8.3.1).
    Subscribed {
        session: u64,
        filter: &'a str,
        options: u8,
        subscription_id: Option<u32>,
    },
    /// [`StoreOp::Unsubscribed`].
    Unsubscribed { session: u64, filter: &'a str },
    /// [`StoreOp::WillSet`].
    WillSet {
        session: u64,
        message: u64,
        delay_s: u32,
        expiry_s: Option<u32>,
    },
    /// [`StoreOp::WillCleared`].
    WillCleared { session: u64 },
    /// [`StoreOp::Kept`].
    Kept {
        message: u64,
        publisher: Option<u64>,
        until_ms: u64,
    },
    /// [`StoreOp::KeptGone`].
    KeptGone { message: u64 },
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Body<'a> {
    /// Its id.
    pub id: u64,
    /// The Topic Name.
    pub topic: &'a str,
    /// The properties as encoded, with the origin ([`Message::stored_properties`]).
    #[serde(serialize_with = "at_once")]
    pub properties: &'a [u8],
    /// The payload.
    #[serde(serialize_with = "at_once")]
    pub payload: &'a [u8],
    /// The QoS that it was published with.
    pub qos: u8,
    /// The RETAIN flag that it was published with.
    pub retain: bool,
    /// When it expires, in the broker's time.
    pub expires_at_ms: Option<u64>,
}

/// The same bytes as serde's own form of a slice, which would give them one by one.
fn at_once<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

impl<'a> Extras<'a> {
    /// The Shared Subscription of a queued message.
    pub fn share_of(with: Option<&Extras<'a>>) -> Option<&'a str> {
        with.and_then(|with| with.share)
    }
}

/// What few queued messages have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extras<'a> {
    /// The Subscription Identifiers to send it with.
    pub subscription_ids: Cow<'a, [u32]>,
    /// The Shared Subscription that it came through.
    pub share: Option<&'a str>,
}

impl Record<'_> {
    /// The message that it needs the body of.
    pub fn message(&self) -> Option<u64> {
        match *self {
            Record::Queued { message, .. }
            | Record::Retained { message, .. }
            | Record::Resting { message, .. }
            | Record::WillSet { message, .. }
            | Record::Kept { message, .. } => Some(message),
            _ => None,
        }
    }
}

/// Bytes before the records of a turn, for the head of their frame: so that it is written at once without being copied.
pub const HEAD_BYTES: usize = 12;

/// Appends the records of one turn.
#[derive(Debug)]
pub struct Writer {
    /// Room for the head, then the records.
    bytes: Vec<u8>,
    count: u32,
    /// The message whose body was written last in this frame.
    body: Option<u64>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer {
            bytes: vec![0; HEAD_BYTES],
            count: 0,
            body: None,
        }
    }
}

impl Writer {
    /// The records so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[HEAD_BYTES..]
    }

    /// The same after this head.
    pub fn frame(&mut self, head: [u8; HEAD_BYTES]) -> &[u8] {
        self.bytes[..HEAD_BYTES].copy_from_slice(&head);
        &self.bytes
    }

    /// How many records there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Begins the next frame. The memory of an ordinary turn is kept for it.
    pub fn clear(&mut self) {
        const KEPT_MAX: usize = 64 << 10;
        self.bytes.truncate(HEAD_BYTES);
        self.bytes.shrink_to(KEPT_MAX);
        self.count = 0;
        self.body = None;
    }

    /// Appends what an operation says at `now_ms` of the broker's time. Where its own record begins in the frame: it is the last one, and
    /// behind the body of its message if that had to be written.
    #[inline]
    pub fn operation(&mut self, operation: &StoreOp<'_>, now_ms: u64) -> usize {
        match *operation {
            StoreOp::Queued { message, .. }
            | StoreOp::Retained { message }
            | StoreOp::WillSet { message, .. }
            | StoreOp::Kept { message, .. } => self.body_of(message),
            _ => {}
        }
        let own = self.bytes.len();
        match Short::of(operation) {
            Some(short) => self.short(&short),
            None => self.record(&record_of(operation, now_ms)),
        }
        own
    }

    /// How long the frame is, with its head.
    pub fn frame_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends that a message is retained and rests. Where in the frame the operation's own record begins.
    pub fn resting(&mut self, message: &Message) -> usize {
        self.body_of(message);
        let own = self.bytes.len();
        self.record(&Record::Resting {
            topic: message.topic(),
            message: message.id(),
        });
        own
    }

    /// Appends a record.
    pub fn record(&mut self, record: &Record<'_>) {
        let bytes = std::mem::take(&mut self.bytes);
        // Writing to memory cannot fail, and every type of a record has a length.
        self.bytes = postcard::to_extend(record, bytes).expect("a record has a serde form");
        self.count += 1;
    }

    /// Room for records that were written before, so many bytes of them. [`Writer::counts`] MUST be told how many they are.
    pub fn append(&mut self, bytes: usize) -> &mut [u8] {
        let start = self.bytes.len();
        self.bytes.resize(start + bytes, 0);
        &mut self.bytes[start..]
    }

    /// So many records more were appended.
    pub fn counts(&mut self, records: u32) {
        self.count += records;
    }

    /// The same for one that is at hand as it stands in the frame.
    fn short(&mut self, record: &Short) {
        self.bytes.extend_from_slice(record.bytes());
        self.count += 1;
    }

    fn body_of(&mut self, message: &Message) {
        if self.body == Some(message.id()) {
            return;
        }
        self.body = Some(message.id());
        let mut number = Short::new(0);
        number.number(message.id());
        self.bytes.extend_from_slice(number.bytes());
        let properties = message.stored_properties();
        let parts = [message.topic_bytes(), &properties, message.payload()];
        for part in parts {
            let mut length = Short::default();
            length.number(part.len() as u64);
            self.bytes.extend_from_slice(length.bytes());
            self.bytes.extend_from_slice(part);
        }
        let mut rest = Short::default();
        rest.byte(message.qos() as u8);
        rest.byte(message.retain().into());
        rest.byte(message.expires_at_ms().is_some().into());
        message
            .expires_at_ms()
            .iter()
            .for_each(|at| rest.number(*at));
        self.short(&rest);
    }
}

/// A record of numbers only, or a part of one, byte for byte as its serde form: those that a busy bus writes a few of for each message, for
/// which serde takes several times as long.
#[derive(Debug, Default)]
struct Short {
    bytes: [u8; Short::BYTES_MAX],
    length: usize,
}

impl Short {
    /// Of a variant, two numbers of 64 bits, one of 16 and three bytes.
    const BYTES_MAX: usize = 1 + 2 * 10 + 3 + 3;

    /// The beginning of one: the place of the variant in [`Record`].
    fn new(variant: u8) -> Short {
        let mut short = Short::default();
        short.byte(variant);
        short
    }

    /// The record of an operation, if it is one of these.
    #[inline]
    fn of(operation: &StoreOp<'_>) -> Option<Short> {
        let (variant, session, packet_id) = match *operation {
            StoreOp::Queued {
                session,
                message,
                qos,
                retain,
                subscription_ids: [],
                share: None,
                packet_id,
            } => {
                let mut short = Short::new(1);
                short.number(session.0);
                short.number(message.id());
                short.byte(qos as u8);
                short.byte(retain.into());
                short.number(packet_id.map_or(0, |id| id.value()).into());
                short.byte(0);
                return Some(short);
            }
            StoreOp::Received { session, packet_id } => (3, session, packet_id),
            StoreOp::Done { session, packet_id } => (4, session, packet_id),
            StoreOp::Taken { session, packet_id } => (6, session, packet_id),
            StoreOp::Released { session, packet_id } => (7, session, packet_id),
            _ => return None,
        };
        let mut short = Short::new(variant);
        short.number(session.0);
        short.number(packet_id.value().into());
        Some(short)
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    /// Seven bits a byte, the lowest first.
    #[inline]
    fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The next record of a frame and what follows it; `None` where the bytes are none.
pub fn read(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    postcard::take_from_bytes(bytes).ok()
}

fn record_of<'a>(operation: &StoreOp<'a>, now_ms: u64) -> Record<'a> {
    match *operation {
        StoreOp::SessionMade {
            session,
            client_id,
            owner,
            expiry_s,
        } => Record::SessionMade {
            session: session.0,
            client_id,
            user: owner.user(),
            expiry_s,
        },
        StoreOp::SessionChanged {
            session,
            expiry_s,
            connected,
        } => Record::SessionChanged {
            session: session.0,
            expiry_s,
            offline_since_ms: (!connected).then_some(now_ms),
        },
        StoreOp::SessionEnded { session } => Record::SessionEnded { session: session.0 },
        StoreOp::Subscribed {
            session,
            filter,
            options,
            subscription_id,
        } => Record::Subscribed {
            session: session.0,
            filter,
            options: options_byte(options),
            subscription_id,
        },
        StoreOp::Unsubscribed { session, filter } => Record::Unsubscribed {
            session: session.0,
            filter,
        },
        StoreOp::Retained { message } => Record::Retained {
            topic: message.topic(),
            message: message.id(),
        },
        StoreOp::RetainCleared { topic } => Record::RetainCleared { topic },
        StoreOp::WillSet {
            session,
            message,
            delay_s,
            expiry_s,
        } => Record::WillSet {
            session: session.0,
            message: message.id(),
            delay_s,
            expiry_s,
        },
        StoreOp::WillCleared { session } => Record::WillCleared { session: session.0 },
        StoreOp::Kept {
            message,
            publisher,
            until,
        } => Record::Kept {
            message: message.id(),
            publisher: publisher.map(|session| session.0),
            until_ms: until.0,
        },
        StoreOp::KeptGone { message } => Record::KeptGone { message },
        _ => record_of_delivery(operation),
    }
}

/// The operations on messages on their way.
fn record_of_delivery<'a>(operation: &StoreOp<'a>) -> Record<'a> {
    match *operation {
        StoreOp::Queued {
            session,
            message,
            qos,
            retain,
            subscription_ids,
            share,
            packet_id,
        } => Record::Queued {
            session: session.0,
            message: message.id(),
            qos: qos as u8,
            retain,
            packet_id: packet_id.map_or(0, |id| id.value()),
            with: (!subscription_ids.is_empty() || share.is_some()).then(|| {
                Box::new(Extras {
                    subscription_ids: Cow::Borrowed(subscription_ids),
                    share,
                })
            }),
        },
        StoreOp::Inflight {
            session,
            message,
            share,
            packet_id,
        } => Record::Inflight {
            session: session.0,
            message,
            share,
            packet_id: packet_id.value(),
        },
        StoreOp::Received { session, packet_id } => Record::Received {
            session: session.0,
            packet_id: packet_id.value(),
        },
        StoreOp::Done { session, packet_id } => Record::Done {
            session: session.0,
            packet_id: packet_id.value(),
        },
        StoreOp::Dropped {
            session,
            message,
            share,
        } => Record::Dropped {
            session: session.0,
            message,
            share,
        },
        StoreOp::Taken { session, packet_id } => Record::Taken {
            session: session.0,
            packet_id: packet_id.value(),
        },
        StoreOp::Released { session, packet_id } => Record::Released {
            session: session.0,
            packet_id: packet_id.value(),
        },
        _ => unreachable!("record_of knows the others"),
    }
}

/// The Subscription Options byte (5.0, 3.8.3.1).
fn options_byte(options: SubscriptionOptions) -> u8 {
    let retain_handling = match options.retain_handling {
        RetainHandling::Send => 0,
        RetainHandling::SendIfNew => 1,
        RetainHandling::DoNotSend => 2,
    };
    options.qos as u8
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | retain_handling << 4
}

/// What a Subscription Options byte says, if it is one.
pub fn options_of(byte: u8) -> Option<SubscriptionOptions> {
    Some(SubscriptionOptions {
        qos: Qos::from_bits(byte & 3)?,
        no_local: byte & 4 != 0,
        retain_as_published: byte & 8 != 0,
        retain_handling: match byte >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::effect::SessionId;
    use crate::mqtt::PacketId;
    use crate::mqtt::message::Parts;

    const NUMBERS: [u64; 6] = [0, 127, 128, 16_384, u32::MAX as u64, u64::MAX];

    /// The operations that are encoded by hand, with numbers of all lengths.
    fn each(mut say: impl FnMut(&StoreOp<'_>)) {
        for number in NUMBERS {
            let session = SessionId(number);
            for packet_id in [1, 127, 128, 16_383, 16_384, u16::MAX] {
                let packet_id = PacketId::new(packet_id).expect("not 0");
                say(&StoreOp::Received { session, packet_id });
                say(&StoreOp::Done { session, packet_id });
                say(&StoreOp::Taken { session, packet_id });
                say(&StoreOp::Released { session, packet_id });
            }
            for expires_at_ms in [None, Some(number)] {
                let parts = Parts {
                    topic: "a/topic",
                    properties: &[1, 0],
                    payload: &[7; 300],
                    qos: Qos::ExactlyOnce,
                    retain: expires_at_ms.is_some(),
                    expires_at_ms,
                };
                for (share, subscription_ids) in [(None, &[][..]), (Some("s"), &[]), (None, &[9])] {
                    say(&StoreOp::Queued {
                        session,
                        message: &Message::new(number, parts),
                        qos: Qos::AtLeastOnce,
                        retain: true,
                        subscription_ids,
                        share,
                        packet_id: PacketId::new((number >> 3) as u16),
                    });
                }
            }
        }
    }

    #[test]
    fn what_is_encoded_by_hand_is_the_serde_form() {
        each(|operation| {
            let mut by_hand = Writer::default();
            by_hand.operation(operation, 0);
            let mut by_serde = Writer::default();
            if let StoreOp::Queued { message, .. } = operation {
                by_serde.record(&Record::Body(Body {
                    id: message.id(),
                    topic: message.topic(),
                    properties: message.properties(),
                    payload: message.payload(),
                    qos: message.qos() as u8,
                    retain: message.retain(),
                    expires_at_ms: message.expires_at_ms(),
                }));
            }
            by_serde.record(&record_of(operation, 0));
            assert_eq!(by_hand.bytes(), by_serde.bytes(), "{operation:?}");
            assert_eq!(by_hand.count(), by_serde.count());
        });
    }
}
