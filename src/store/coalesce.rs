//! What is left of many records: the difference that flash and the next journal need.
//!
//! Entered by [`Coalesced::add`], record after record in the order of the journal. What was added and removed again within the span
//! is gone; of values that changed the last one stays. What is left, in its order, has the same effect as all of it.
//!
//! Records come in three sorts. Those that the database has taken already (`applied`) count only for what they say of QoS 0
//! messages, and of kept and resting ones. QoS 0 messages that wait for a client, messages that the keeper has, and retained ones that
//! rest, never go to flash: they stay in the journal, and with it on tmpfs. All others are for flash. It reads no file and knows no database but through [`Known`].

//!
//! Of each record it holds where it begins, and nothing of its content but keys: it is decoded again where it is left. So a span takes about as much memory
//! as its records do, beside them.

use std::num::NonZeroU32;

use super::Map;
use super::record::{self, Body, Extras, Record};

/// What is in the database.
pub trait Known {
    /// Whether a topic may have a retained message there; a wrong yes costs a statement without effect.
    fn may_retain(&self, topic: &str) -> bool;
}

/// Of a database that cannot be opened nothing is known: it may have anything.
impl<K: Known> Known for Option<&K> {
    fn may_retain(&self, topic: &str) -> bool {
        self.is_none_or(|known| known.may_retain(topic))
    }
}

/// A span of the journal.
pub struct Coalesced<'a> {
    /// Every record up to this number is in the database.
    applied: u64,
    /// The records, part by part.
    parts: Vec<&'a [u8]>,
    entries: Vec<Entry>,
    bodies: Map<u64, Place>,
    sessions: Map<u64, Session<'a>>,
    /// Messages that wait in a queue, by session.
    queued: Map<(u64, Waiting<'a>), At>,
    /// Messages in flight, by session and packet identifier.
    flying: Map<(u64, u16), Flying>,
    taken: Map<(u64, u16), At>,
    subscriptions: Map<(u64, &'a str), At>,
    retained: Map<&'a str, At>,
    /// Retained messages that rest.
    resting: Map<&'a str, At>,
    /// What the keeper has, by message.
    kept: Map<u64, At>,
    numbers: Numbers,
    /// Where the record at hand begins.
    place: Place,
}

/// Where a record begins: its part, and the byte there.
#[derive(Debug, Clone, Copy)]
struct Place {
    part: u32,
    start: u32,
}

/// A record of the span.
struct Entry {
    /// `None` where nothing is left of it.
    place: Option<Start>,
    part: u32,
    /// The one before it of the same session.
    before: Option<At>,
}

/// The first byte of a record in its part, counted from 1.
type Start = NonZeroU32;

/// An entry's place in their list, counted from 1.
type At = NonZeroU32;

/// The highest numbers that the broker gave, so that they are not given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// To a message.
    pub message: u64,
    /// To a session.
    pub session: u64,
}

impl Numbers {
    /// The higher ones of both.
    pub fn max(self, other: Numbers) -> Numbers {
        Numbers {
            message: self.message.max(other.message),
            session: self.session.max(other.session),
        }
    }
}

/// What tells the messages apart that wait for one session: the message, and the Shared Subscription that it came through.
type Waiting<'a> = (u64, Option<&'a str>);

/// What the span has of one session.
#[derive(Default)]
struct Session<'a> {
    /// Whether it was made within the span, so that the database has nothing of it.
    is_new: bool,
    changed: Option<At>,
    will: Option<At>,
    /// The last entry of it that is for flash: each knows the one before.
    last: Option<At>,
    /// QoS 0 messages that wait for it.
    waiting: Option<Box<Map<Waiting<'a>, At>>>,
}

/// What the span has of a message in flight.
#[derive(Default)]
struct Flying {
    /// Whether the span has it from the beginning, so that the database has nothing of it.
    is_new: bool,
    entries: [Option<At>; 2],
}

impl<'a> Coalesced<'a> {
    /// An empty span; records up to the number `applied` are in the database.
    pub fn new(applied: u64) -> Coalesced<'a> {
        Coalesced {
            applied,
            parts: Vec::new(),
            entries: Vec::new(),
            bodies: Map::default(),
            sessions: Map::default(),
            queued: Map::default(),
            flying: Map::default(),
            taken: Map::default(),
            subscriptions: Map::default(),
            retained: Map::default(),
            resting: Map::default(),
            kept: Map::default(),
            numbers: Numbers::default(),
            place: Place { part: 0, start: 0 },
        }
    }

    /// The highest numbers in the span.
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// Adds the records of a part, which are fewer than 4 GiB; `number` says which number each has, from the first on.
    pub fn add(&mut self, records: &'a [u8], number: impl Fn(u64) -> u64, known: &impl Known) {
        self.parts.push(records);
        let (mut count, mut rest) = (0, records);
        while let Some((record, following)) = record::read(rest).filter(|_| !rest.is_empty()) {
            let Ok(start) = u32::try_from(records.len() - rest.len()) else {
                return;
            };
            let part = self.parts.len() as u32 - 1;
            self.add_one(number(count), Place { part, start }, record, known);
            count += 1;
            rest = following;
        }
    }

    /// Adds the next record, the one with this number.
    fn add_one(&mut self, number: u64, place: Place, record: Record<'a>, known: &impl Known) {
        let is_applied = number <= self.applied;
        self.place = place;
        match record {
            Record::Body(body) => {
                self.numbers.message = self.numbers.message.max(body.id);
                self.bodies.insert(body.id, place);
            }
            Record::Queued { qos: 0, .. } => self.wait(&record),
            Record::Kept { message, .. } => {
                let entry = self.push(None);
                let former = self.kept.insert(message, entry);
                self.kill(former);
            }
            Record::Resting { topic, .. } => {
                let entry = self.push(None);
                let former = self.resting.insert(topic, entry);
                self.kill(former);
            }
            Record::Retained { topic, .. } | Record::RetainCleared { topic } => {
                let former = self.resting.remove(topic);
                self.kill(former);
                self.add_for_flash(is_applied, record, known);
            }
            Record::KeptGone { message } => {
                let entry = self.kept.remove(&message);
                self.kill(entry);
            }
            Record::SessionChanged {
                session,
                offline_since_ms: None,
                ..
            } => {
                self.forget_waiting(session);
                self.add_for_flash(is_applied, record, known);
            }
            Record::SessionEnded { session } => {
                self.forget_waiting(session);
                self.add_for_flash(is_applied, record, known);
            }
            Record::Dropped {
                session,
                message,
                share,
            } => {
                if !self.stop_waiting(session, (message, share)) {
                    self.add_for_flash(is_applied, record, known);
                }
            }
            _ => self.add_for_flash(is_applied, record, known),
        }
    }

    /// What is for flash, in order. The body of a message comes before the first record that needs it.
    pub fn for_flash(&self) -> impl Iterator<Item = Item<'a>> {
        self.all().filter(|item| !is_volatile(&item.record))
    }

    /// What stays in the journal once the database has the rest.
    pub fn for_tmpfs(&self) -> impl Iterator<Item = Item<'a>> {
        self.all().filter(|item| is_volatile(&item.record))
    }

    /// All that is left.
    pub fn all(&self) -> impl Iterator<Item = Item<'a>> {
        self.entries.iter().filter_map(|entry| {
            let start = entry.place?.get() - 1;
            let part = entry.part;
            let record = self.record(Place { part, start })?;
            let body = record.message().and_then(|id| self.bodies.get(&id));
            let body = body.and_then(|place| match self.record(*place) {
                Some(Record::Body(body)) => Some(body),
                _ => None,
            });
            Some(Item { record, body })
        })
    }

    /// The record of a place, which was read there before.
    fn record(&self, place: Place) -> Option<Record<'a>> {
        let records = self.parts.get(place.part as usize)?;
        let (record, _) = record::read(records.get(place.start as usize..)?)?;
        Some(record)
    }
}

/// A record that is left, with the body that it needs.
pub struct Item<'a> {
    /// The record.
    pub record: Record<'a>,
    /// The body of its message, unless an earlier span had it.
    pub body: Option<Body<'a>>,
}

/// Whether a record is of a message that only waits for somebody, at QoS 0 or kept, or that rests.
fn is_volatile(record: &Record<'_>) -> bool {
    matches!(
        record,
        Record::Queued { qos: 0, .. } | Record::Kept { .. } | Record::Resting { .. }
    )
}

impl<'a> Coalesced<'a> {
    /// An entry of the record at hand; `before` is the one before it of the same session.
    fn push(&mut self, before: Option<At>) -> At {
        self.entries.push(Entry {
            place: Start::MIN.checked_add(self.place.start),
            part: self.place.part,
            before,
        });
        // More than four thousand million of them have no place in memory.
        At::new(self.entries.len() as u32).unwrap_or(At::MAX)
    }

    /// Notes the record at hand, which is for flash, under its session.
    fn push_of(&mut self, session: u64) -> At {
        let before = self.sessions.entry(session).or_default().last;
        let entry = self.push(before);
        self.sessions.entry(session).or_default().last = Some(entry);
        entry
    }

    fn kill(&mut self, entry: Option<At>) {
        if let Some(entry) = entry {
            self.entries[entry.get() as usize - 1].place = None;
        }
    }

    fn is_new(&self, session: u64) -> bool {
        self.sessions.get(&session).is_some_and(|it| it.is_new)
    }

    fn wait(&mut self, record: &Record<'a>) {
        let Record::Queued {
            session,
            message,
            with,
            ..
        } = record
        else {
            return;
        };
        let what = (*message, Extras::share_of(with.as_deref()));
        let entry = self.push(None);
        let former = self
            .sessions
            .entry(*session)
            .or_default()
            .waiting
            .get_or_insert_default()
            .insert(what, entry);
        self.kill(former);
    }

    fn stop_waiting(&mut self, session: u64, what: Waiting<'a>) -> bool {
        let state = self.sessions.get_mut(&session);
        let waiting = state.and_then(|state| state.waiting.as_mut());
        let entry = waiting.and_then(|waiting| waiting.remove(&what));
        self.kill(entry);
        entry.is_some()
    }

    fn forget_waiting(&mut self, session: u64) {
        if let Some(state) = self.sessions.get_mut(&session) {
            for (_, entry) in state.waiting.take().into_iter().flat_map(|all| *all) {
                self.kill(Some(entry));
            }
        }
    }

    fn add_for_flash(&mut self, is_applied: bool, record: Record<'a>, known: &impl Known) {
        if is_applied {
            return;
        }
        match record {
            Record::Queued { .. }
            | Record::Inflight { .. }
            | Record::Received { .. }
            | Record::Done { .. }
            | Record::Dropped { .. }
            | Record::Taken { .. }
            | Record::Released { .. } => self.add_delivery(record),
            Record::Retained { topic, .. } | Record::RetainCleared { topic } => {
                let former = self.retained.remove(topic);
                self.kill(former);
                if matches!(record, Record::Retained { .. }) || known.may_retain(topic) {
                    let entry = self.push(None);
                    self.retained.insert(topic, entry);
                }
            }
            _ => self.add_session(record),
        }
    }

    fn add_session(&mut self, record: Record<'a>) {
        match record {
            Record::SessionMade { session, .. } => {
                self.numbers.session = self.numbers.session.max(session);
                self.push_of(session);
                self.sessions.entry(session).or_default().is_new = true;
            }
            Record::SessionChanged { session, .. } => {
                let entry = self.push_of(session);
                let state = self.sessions.entry(session).or_default();
                let former = state.changed.replace(entry);
                self.kill(former);
            }
            Record::SessionEnded { session } => {
                let state = self.sessions.entry(session).or_default();
                let (is_new, mut last) = (state.is_new, state.last.take());
                while let Some(entry) = last {
                    self.kill(last);
                    last = self.entries[entry.get() as usize - 1].before;
                }
                match is_new {
                    // No number of a session comes again.
                    true => drop(self.sessions.remove(&session)),
                    false => drop(self.push_of(session)),
                }
            }
            Record::Subscribed {
                session, filter, ..
            } => {
                let entry = self.push_of(session);
                let former = self.subscriptions.insert((session, filter), entry);
                self.kill(former);
            }
            Record::Unsubscribed { session, filter } => {
                let former = self.subscriptions.remove(&(session, filter));
                self.kill(former);
                if !self.is_new(session) {
                    let entry = self.push_of(session);
                    self.subscriptions.insert((session, filter), entry);
                }
            }
            Record::WillSet { session, .. } | Record::WillCleared { session } => {
                let former = self.sessions.entry(session).or_default().will.take();
                self.kill(former);
                if matches!(record, Record::WillSet { .. }) || !self.is_new(session) {
                    let entry = self.push_of(session);
                    self.sessions.entry(session).or_default().will = Some(entry);
                }
            }
            _ => unreachable!("add_for_flash knows the others"),
        }
    }

    fn add_delivery(&mut self, record: Record<'a>) {
        match record {
            Record::Queued {
                session,
                message,
                packet_id,
                ref with,
                ..
            } => {
                let what = (message, Extras::share_of(with.as_deref()));
                let entry = self.push_of(session);
                if packet_id == 0 {
                    self.queued.insert((session, what), entry);
                } else {
                    let flying = Flying {
                        is_new: true,
                        entries: [Some(entry), None],
                    };
                    self.flying.insert((session, packet_id), flying);
                }
            }
            Record::Inflight {
                session,
                message,
                share,
                packet_id,
            } => {
                let queued = self.queued.remove(&(session, (message, share)));
                let entry = self.push_of(session);
                let flying = Flying {
                    is_new: queued.is_some(),
                    entries: [queued, Some(entry)],
                };
                self.flying.insert((session, packet_id), flying);
            }
            Record::Received { session, packet_id } => {
                let entry = self.push_of(session);
                let flying = self.flying.entry((session, packet_id)).or_default();
                // A message that the database has must become one in flight there before it can be a PUBREL.
                if flying.is_new {
                    let former = std::mem::replace(&mut flying.entries, [Some(entry), None]);
                    former.into_iter().for_each(|entry| self.kill(entry));
                }
            }
            Record::Done { session, packet_id } => {
                match self.flying.remove(&(session, packet_id)) {
                    Some(Flying {
                        is_new: true,
                        entries,
                    }) => {
                        entries.into_iter().for_each(|entry| self.kill(entry));
                    }
                    _ => {
                        self.push_of(session);
                    }
                }
            }
            _ => self.add_ends(record),
        }
    }

    fn add_ends(&mut self, record: Record<'a>) {
        match record {
            Record::Dropped {
                session,
                message,
                share,
            } => match self.queued.remove(&(session, (message, share))) {
                Some(entry) => self.kill(Some(entry)),
                None => {
                    self.push_of(session);
                }
            },
            Record::Taken { session, packet_id } => {
                let entry = self.push_of(session);
                self.taken.insert((session, packet_id), entry);
            }
            Record::Released { session, packet_id } => {
                match self.taken.remove(&(session, packet_id)) {
                    Some(entry) => self.kill(Some(entry)),
                    None => {
                        self.push_of(session);
                    }
                }
            }
            _ => unreachable!("add_for_flash knows the others"),
        }
    }
}
