//! What of the journal's present segment is still needed, so that the store's thread need not read the segment to find out.
//!
//! Entered by [`Live::note`], record after record, and by [`Live::take`] when the segment ends. A message that was sent and done within a
//! segment leaves nothing of it, nor does a QoS 2 identifier that was taken and released there, and a busy journal is hardly anything else. What is left
//! are a few places of the file, which the thread copies.
//!
//! It remembers places, no content, and few of them: of a segment of which much is left it says nothing, and the thread reads that one
//! as it does all that spans several ([`super::coalesce`]). It knows neither what flash has nor what an earlier segment has: a record that
//! ends something of theirs is needed.

use super::Map;
use super::journal::SEGMENT_BYTES;
use crate::broker::StoreOp;
use crate::broker::effect::SessionId;
use crate::mqtt::{PacketId, Qos};

/// Of a segment with more than this left, the thread finds out itself: copying it would cost what reading it does. Most of what tests say is
/// left.
const LEFT_BYTES_MAX: u64 = SEGMENT_BYTES / if cfg!(test) { 1 } else { 4 };

/// As many messages in flight, and places, as are remembered: some 30 KiB of each.
const PLACES_MAX: usize = 2048;

/// A segment of which no more than this is left can go on in another file, with a copy of that.
const LITTLE_BYTES: u64 = SEGMENT_BYTES / 16;

/// Where something begins in a segment, and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its first byte.
    pub start: u32,
    /// The first byte after it.
    pub end: u32,
}

/// Where an operation's records are: first the body of its message, if that was not written yet, then its own.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Where the body begins, or the operation's own record if there is none.
    pub start: u64,
    /// Where the operation's own record begins.
    pub own: u64,
    /// Where it ends.
    pub end: u64,
}

/// What is known of a segment at its end.
#[derive(Debug)]
pub struct Closed {
    /// What is left of it, where that is little and known.
    pub left: Option<Left>,
    /// Whether it may have something that stays in the journal when flash has the rest.
    pub is_volatile: bool,
    /// Whether hardly anything of it can have come and gone.
    pub is_dense: bool,
}

/// What is left of a segment.
#[derive(Debug, Default)]
pub struct Left {
    /// Where it is, in order.
    pub places: Vec<Place>,
    /// How many records that are.
    pub records: u32,
}

/// A message in flight, or an identifier that was taken.
#[derive(Debug, Clone, Copy)]
struct Entry {
    place: Place,
    /// Its message's body, if that counts its holders.
    body: Option<u16>,
}

/// The body of a message, and how many entries need it.
#[derive(Debug, Clone, Copy)]
struct Body {
    place: Place,
    holders: u32,
}

/// The body that was written last in this turn: the next operation may need it as well.
#[derive(Debug, Clone, Copy, Default)]
enum Last {
    #[default]
    None,
    /// It is needed whoever holds it.
    Pinned,
    /// It counts its holders, of which this is one.
    Counted(u16),
}

/// The present segment.
#[derive(Debug, Default)]
pub struct Live {
    entries: Map<u64, Entry>,
    bodies: Vec<Body>,
    /// Which of the bodies are none.
    free: Vec<u16>,
    last: Last,
    /// What is needed in any case.
    others: Vec<Place>,
    other_records: u32,
    /// Bytes of all that is left.
    bytes: u64,
    /// Whether that is too much to say.
    is_lost: bool,
    is_volatile: bool,
    waiting: Waiting,
}

/// What the segment has of messages that wait for a client to come.
#[derive(Debug, Default)]
struct Waiting {
    bytes: u64,
    /// How many began and how many may have ended.
    begun: u32,
    ended: u32,
}

impl Live {
    /// Notes an operation that was written there; a message that it makes retained may rest.
    pub fn note(&mut self, operation: &StoreOp<'_>, written: Written, rests: bool) {
        self.is_volatile |= rests;
        self.count(operation, written);
        if self.is_lost {
            return;
        }
        let Some((body, own)) = places(written) else {
            return self.lose();
        };
        match *operation {
            StoreOp::Queued {
                session,
                packet_id: Some(packet_id),
                ..
            } => self.fly(session, packet_id, body, own),
            StoreOp::Received { session, packet_id } => {
                // What is left of the message is this record.
                match self.end(session, packet_id, false) {
                    true => self.begin(
                        session,
                        packet_id,
                        false,
                        Entry {
                            place: own,
                            body: None,
                        },
                    ),
                    false => self.need(own),
                }
            }
            StoreOp::Done { session, packet_id } => {
                if !self.end(session, packet_id, false) {
                    self.need(own);
                }
            }
            StoreOp::Taken { session, packet_id } => {
                self.begin(
                    session,
                    packet_id,
                    true,
                    Entry {
                        place: own,
                        body: None,
                    },
                );
            }
            StoreOp::Released { session, packet_id } => {
                if !self.end(session, packet_id, true) {
                    self.need(own);
                }
            }
            StoreOp::Queued { .. }
            | StoreOp::Retained { .. }
            | StoreOp::WillSet { .. }
            | StoreOp::Kept { .. } => self.need_message(body, own),
            _ => self.need(own),
        }
        let places = self.entries.len().max(self.others.len());
        if self.bytes > LEFT_BYTES_MAX || places > PLACES_MAX {
            self.lose();
        }
    }

    /// The turn has ended: the next one writes the bodies that it needs again.
    pub fn turn_ends(&mut self) {
        if let Last::Counted(body) = std::mem::take(&mut self.last) {
            self.release(body);
        }
    }

    /// Nothing more is said of this segment.
    pub fn lose(&mut self) {
        self.is_lost = true;
        self.forget();
    }

    /// Ends the segment, of which `written` bytes are records; the next one begins.
    pub fn take(&mut self, written: u64) -> Closed {
        self.turn_ends();
        let waiting = std::mem::take(&mut self.waiting);
        let closed = Closed {
            left: (!self.is_lost).then(|| self.left()),
            is_volatile: self.is_volatile,
            is_dense: waiting.bytes > written / 4 * 3 && waiting.ended < waiting.begun / 8,
        };
        self.forget();
        (self.is_lost, self.is_volatile) = (false, false);
        closed
    }

    /// What is left of the segment so far, where that is little. The caller has ended the turn.
    pub fn little(&self) -> Option<Left> {
        (!self.is_lost && self.bytes <= LITTLE_BYTES).then(|| self.left())
    }

    /// What is left stands at the beginning of another file now: the places in their order, from `start` on. There, the segment goes on.
    pub fn moved(&mut self, left: &Left, start: u64) {
        let mut to = start as u32;
        let moves: Vec<(Place, u32)> = left
            .places
            .iter()
            .map(|from| {
                let start = to;
                to += from.end - from.start;
                (*from, start)
            })
            .collect();
        let moved = |place: &mut Place| {
            let after = moves.partition_point(|(from, _)| from.start <= place.start);
            // Each lies in one of those that are left: they are made of them.
            let (from, to) = moves[after - 1];
            let start = to + (place.start - from.start);
            let end = start + (place.end - place.start);
            *place = Place { start, end };
        };
        self.entries
            .values_mut()
            .for_each(|it| moved(&mut it.place));
        let bodies = self.bodies.iter_mut().filter(|body| body.holders > 0);
        bodies.for_each(|body| moved(&mut body.place));
        self.others.iter_mut().for_each(moved);
        self.waiting = Waiting::default();
    }

    /// Forgets all places. The memory of an ordinary segment is kept for the next.
    fn forget(&mut self) {
        const KEPT_MAX: usize = 256;
        self.entries.clear();
        self.entries.shrink_to(KEPT_MAX);
        self.bodies.clear();
        self.bodies.shrink_to(KEPT_MAX);
        self.free.clear();
        self.free.shrink_to(KEPT_MAX);
        self.others.clear();
        self.others.shrink_to(KEPT_MAX);
        (self.last, self.other_records, self.bytes) = (Last::None, 0, 0);
    }

    fn left(&self) -> Left {
        let bodies = self.bodies.iter().filter(|body| body.holders > 0);
        let bodies = bodies.map(|body| body.place);
        let entries = self.entries.values().map(|entry| entry.place);
        let mut all: Vec<Place> = bodies.chain(entries).collect();
        let records = self.other_records + all.len() as u32;
        all.extend_from_slice(&self.others);
        all.sort_unstable();
        all.dedup_by(|next, before| {
            let is_adjacent = before.end == next.start;
            if is_adjacent {
                before.end = next.end;
            }
            is_adjacent
        });
        Left {
            places: all,
            records,
        }
    }
}

impl Live {
    fn count(&mut self, operation: &StoreOp<'_>, written: Written) {
        match operation {
            StoreOp::Queued {
                qos: Qos::AtMostOnce,
                ..
            }
            | StoreOp::Kept { .. } => self.is_volatile = true,
            StoreOp::Queued {
                packet_id: None, ..
            } => {
                self.waiting.bytes += written.end - written.start;
                self.waiting.begun += 1;
            }
            _ => self.waiting.ended += 1,
        }
    }

    /// A message is in flight that had not waited.
    fn fly(&mut self, session: SessionId, packet_id: PacketId, body: Option<Place>, own: Place) {
        if let Some(place) = body {
            self.turn_ends();
            match self.insert(place) {
                Some(body) => self.last = Last::Counted(body),
                None => return self.lose(),
            }
        }
        let body = match self.last {
            Last::Counted(body) => {
                self.bodies[usize::from(body)].holders += 1;
                Some(body)
            }
            Last::Pinned | Last::None => None,
        };
        self.begin(session, packet_id, false, Entry { place: own, body });
    }

    /// A body that counts its holders, the first of which is `last`.
    fn insert(&mut self, place: Place) -> Option<u16> {
        let body = Body { place, holders: 1 };
        self.bytes += place.bytes();
        if let Some(index) = self.free.pop() {
            self.bodies[usize::from(index)] = body;
            return Some(index);
        }
        let index = u16::try_from(self.bodies.len()).ok()?;
        self.bodies.push(body);
        Some(index)
    }

    fn release(&mut self, body: u16) {
        let of = &mut self.bodies[usize::from(body)];
        of.holders -= 1;
        if of.holders == 0 {
            self.bytes -= of.place.bytes();
            self.free.push(body);
        }
    }

    fn begin(&mut self, session: SessionId, packet_id: PacketId, taken: bool, entry: Entry) {
        let Some(key) = key(session, packet_id, taken) else {
            return self.lose();
        };
        self.bytes += entry.place.bytes();
        if let Some(former) = self.entries.insert(key, entry) {
            // Nobody said that it is over; its body stays held.
            self.others.push(former.place);
            self.other_records += 1;
        }
    }

    /// Whether what ended had begun here; then nothing of it is needed.
    fn end(&mut self, session: SessionId, packet_id: PacketId, taken: bool) -> bool {
        let key = key(session, packet_id, taken);
        let Some(entry) = key.and_then(|key| self.entries.remove(&key)) else {
            return false;
        };
        self.bytes -= entry.place.bytes();
        if let Some(body) = entry.body {
            self.release(body);
        }
        true
    }

    /// An operation on a message is needed whatever follows, and with it the body.
    fn need_message(&mut self, body: Option<Place>, own: Place) {
        if let Some(body) = body {
            self.turn_ends();
            self.last = Last::Pinned;
            self.need(body);
        } else if let Last::Counted(body) = self.last {
            // Nobody takes this holder away.
            self.bodies[usize::from(body)].holders += 1;
        }
        self.need(own);
    }

    fn need(&mut self, place: Place) {
        self.bytes += place.bytes();
        self.other_records += 1;
        match self.others.last_mut() {
            Some(last) if last.end == place.start => last.end = place.end,
            _ => self.others.push(place),
        }
    }
}

impl Place {
    fn bytes(self) -> u64 {
        u64::from(self.end - self.start)
    }
}

/// The places of the body, if there is one, and of the operation itself; `None` beyond 4 GiB.
fn places(written: Written) -> Option<(Option<Place>, Place)> {
    let start = u32::try_from(written.start).ok()?;
    let own = u32::try_from(written.own).ok()?;
    let end = u32::try_from(written.end).ok()?;
    let body = (start < own).then_some(Place { start, end: own });
    Some((body, Place { start: own, end }))
}

/// An identifier of a session as one number, if there is room for it.
fn key(session: SessionId, packet_id: PacketId, taken: bool) -> Option<u64> {
    const BITS: u32 = 17;
    let is_small = session.0 >> (u64::BITS - BITS) == 0;
    is_small.then(|| session.0 << BITS | u64::from(taken) << 16 | u64::from(packet_id.value()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::Message;
    use crate::mqtt::message::Parts;
    use crate::store::record::{self, HEAD_BYTES, Writer};

    /// A segment without a header.
    #[derive(Default)]
    struct Segment {
        bytes: Vec<u8>,
        writer: Writer,
        live: Live,
    }

    impl Segment {
        fn say(&mut self, operation: StoreOp<'_>) {
            let base = self.bytes.len();
            let start = base + self.writer.frame_bytes();
            let own = base + self.writer.operation(&operation, 0);
            let end = base + self.writer.frame_bytes();
            let written = Written {
                start: start as u64,
                own: own as u64,
                end: end as u64,
            };
            self.live.note(&operation, written, false);
        }

        fn queued(&mut self, message: &Message, session: u64, packet_id: u16) {
            self.say(StoreOp::Queued {
                session: SessionId(session),
                message,
                qos: message.qos(),
                retain: false,
                subscription_ids: &[],
                share: None,
                packet_id: PacketId::new(packet_id),
            });
        }

        fn done(&mut self, session: u64, packet_id: u16) {
            self.say(StoreOp::Done {
                session: SessionId(session),
                packet_id: id(packet_id),
            });
        }

        fn received(&mut self, session: u64, packet_id: u16) {
            self.say(StoreOp::Received {
                session: SessionId(session),
                packet_id: id(packet_id),
            });
        }

        fn end_turn(&mut self) {
            self.bytes
                .extend_from_slice(self.writer.frame([0; HEAD_BYTES]));
            self.writer.clear();
            self.live.turn_ends();
        }

        /// Ends it; what is left, each record with its first word.
        fn left(&mut self) -> Option<Vec<String>> {
            self.end_turn();
            let left = self.live.take(self.bytes.len() as u64).left?;
            let mut records = Vec::new();
            for place in left.places {
                let mut rest = &self.bytes[place.start as usize..place.end as usize];
                while !rest.is_empty() {
                    let (record, following) = record::read(rest).expect("it is one");
                    let text = format!("{record:?}");
                    let end = text.find([' ', '(']).unwrap_or(text.len());
                    records.push(text[..end].to_owned());
                    rest = following;
                }
            }
            assert_eq!(records.len(), left.records as usize);
            Some(records)
        }
    }

    fn id(packet_id: u16) -> PacketId {
        PacketId::new(packet_id).expect("not 0")
    }

    fn message(number: u64, qos: Qos) -> Message {
        let parts = Parts {
            topic: "topic",
            properties: &[],
            payload: &[7; 100],
            qos,
            retain: false,
            expires_at_ms: None,
        };
        Message::new(number, parts)
    }

    #[test]
    fn a_message_that_was_sent_and_done_leaves_nothing() {
        let mut segment = Segment::default();
        for (number, qos) in [(1, Qos::AtLeastOnce), (2, Qos::ExactlyOnce)] {
            segment.queued(&message(number, qos), 1, number as u16);
            segment.end_turn();
            if qos == Qos::ExactlyOnce {
                segment.received(1, number as u16);
            }
            segment.done(1, number as u16);
        }
        assert_eq!(segment.left(), Some(Vec::new()));
    }

    #[test]
    fn of_a_message_that_was_received_the_pubrel_is_left() {
        let mut segment = Segment::default();
        segment.queued(&message(1, Qos::ExactlyOnce), 1, 1);
        segment.received(1, 1);
        assert_eq!(segment.left(), Some(vec!["Received".to_owned()]));
    }

    #[test]
    fn a_body_stays_until_nobody_needs_it() {
        let mut segment = Segment::default();
        let shared = message(1, Qos::AtLeastOnce);
        (1..=3).for_each(|session| segment.queued(&shared, session, 9));
        segment.done(1, 9);
        segment.done(3, 9);
        let expected = ["Body", "Queued"].map(str::to_owned);
        assert_eq!(segment.left(), Some(expected.to_vec()));
    }

    #[test]
    fn a_body_stays_for_who_waits_whoever_else_is_done() {
        for waits_first in [true, false] {
            let mut segment = Segment::default();
            let shared = message(1, Qos::AtLeastOnce);
            let ids = if waits_first { [0, 9] } else { [9, 0] };
            segment.queued(&shared, 1, ids[0]);
            segment.queued(&shared, 2, ids[1]);
            segment.done(if waits_first { 2 } else { 1 }, 9);
            let expected = ["Body", "Queued"].map(str::to_owned);
            assert_eq!(segment.left(), Some(expected.to_vec()));
        }
    }

    #[test]
    fn what_ends_something_of_another_segment_is_left() {
        let mut segment = Segment::default();
        segment.queued(&message(1, Qos::AtLeastOnce), 1, 1);
        segment.left();
        segment = Segment {
            live: segment.live,
            ..Segment::default()
        };
        segment.done(1, 1);
        segment.say(StoreOp::Released {
            session: SessionId(1),
            packet_id: id(1),
        });
        let expected = ["Done", "Released"].map(str::to_owned);
        assert_eq!(segment.left(), Some(expected.to_vec()));
    }

    #[test]
    fn of_a_segment_with_much_left_nothing_is_said() {
        let mut segment = Segment::default();
        for number in 1..SEGMENT_BYTES / 100 {
            segment.queued(&message(number, Qos::AtLeastOnce), 1, 0);
        }
        segment.end_turn();
        let closed = segment.live.take(segment.bytes.len() as u64);
        assert!(closed.left.is_none() && closed.is_dense && !closed.is_volatile);
    }
}
