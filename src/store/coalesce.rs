//! What is left of many records: the difference that flash and the next journal need.
//!
//! Entered by [`Coalesced::add`], record after record in the order of the journal. What was added and removed again within the span
//! is gone; of values that changed the last one stays. What is left, in its order, has the same effect as all of it.
//!
//! Records come in three sorts. Those that the database has taken already (`applied`) count only for what they say of QoS 0
//! messages, and of kept and resting ones. QoS 0 messages that wait for a client, messages that the keeper has, and retained ones that
//! rest, never go to flash: they stay in the journal, and with it on tmpfs. All others are for flash. It reads no file and knows no database but through [`Known`].

use super::Map;
use super::record::{Body, Extras, Record};

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
    entries: Vec<Option<Record<'a>>>,
    bodies: Map<u64, Body<'a>>,
    sessions: Map<u64, Session<'a>>,
    /// Messages that wait in a queue, by session.
    queued: Map<(u64, Waiting<'a>), usize>,
    /// Messages in flight, by session and packet identifier.
    flying: Map<(u64, u16), Flying>,
    taken: Map<(u64, u16), usize>,
    subscriptions: Map<(u64, &'a str), usize>,
    retained: Map<&'a str, usize>,
    /// Retained messages that rest.
    resting: Map<&'a str, usize>,
    /// What the keeper has, by message.
    kept: Map<u64, usize>,
    numbers: Numbers,
}

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
    changed: Option<usize>,
    will: Option<usize>,
    /// Everything of it that is for flash.
    entries: Vec<usize>,
    /// QoS 0 messages that wait for it.
    waiting: Option<Box<Map<Waiting<'a>, usize>>>,
}

/// What the span has of a message in flight.
#[derive(Default)]
struct Flying {
    /// Whether the span has it from the beginning, so that the database has nothing of it.
    is_new: bool,
    entries: [Option<usize>; 2],
}

impl<'a> Coalesced<'a> {
    /// An empty span; records up to the number `applied` are in the database.
    pub fn new(applied: u64) -> Coalesced<'a> {
        Coalesced {
            applied,
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
        }
    }

    /// The highest numbers in the span.
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// Adds the next record, the one with this number.
    pub fn add(&mut self, number: u64, record: Record<'a>, known: &impl Known) {
        let is_applied = number <= self.applied;
        match record {
            Record::Body(body) => {
                self.numbers.message = self.numbers.message.max(body.id);
                self.bodies.insert(body.id, body);
            }
            Record::Queued { qos: 0, .. } => self.wait(record),
            Record::Kept { message, .. } => {
                let entry = self.push(record);
                let former = self.kept.insert(message, entry);
                self.kill(former);
            }
            Record::Resting { topic, .. } => {
                let entry = self.push(record);
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
    pub fn for_flash(&self) -> impl Iterator<Item = Item<'_, 'a>> {
        self.left(|record| !is_volatile(record))
    }

    /// What stays in the journal once the database has the rest.
    pub fn for_tmpfs(&self) -> impl Iterator<Item = Item<'_, 'a>> {
        self.left(is_volatile)
    }

    /// All that is left.
    pub fn all(&self) -> impl Iterator<Item = Item<'_, 'a>> {
        self.left(|_| true)
    }

    fn left(&self, is_asked: impl Fn(&Record<'a>) -> bool) -> impl Iterator<Item = Item<'_, 'a>> {
        let records = self.entries.iter().flatten();
        records
            .filter(move |record| is_asked(record))
            .map(|record| Item {
                record,
                body: record.message().and_then(|id| self.bodies.get(&id)),
            })
    }
}

/// A record that is left, with the body that it needs.
pub struct Item<'s, 'a> {
    /// The record.
    pub record: &'s Record<'a>,
    /// The body of its message, unless an earlier span had it.
    pub body: Option<&'s Body<'a>>,
}

/// Whether a record is of a message that only waits for somebody, at QoS 0 or kept, or that rests.
fn is_volatile(record: &Record<'_>) -> bool {
    matches!(
        record,
        Record::Queued { qos: 0, .. } | Record::Kept { .. } | Record::Resting { .. }
    )
}

impl<'a> Coalesced<'a> {
    fn push(&mut self, record: Record<'a>) -> usize {
        self.entries.push(Some(record));
        self.entries.len() - 1
    }

    /// Notes a record for flash under its session.
    fn push_of(&mut self, session: u64, record: Record<'a>) -> usize {
        let entry = self.push(record);
        self.sessions
            .entry(session)
            .or_default()
            .entries
            .push(entry);
        entry
    }

    fn kill(&mut self, entry: Option<usize>) {
        if let Some(entry) = entry {
            self.entries[entry] = None;
        }
    }

    fn is_new(&self, session: u64) -> bool {
        self.sessions.get(&session).is_some_and(|it| it.is_new)
    }

    fn wait(&mut self, record: Record<'a>) {
        let Record::Queued {
            session,
            message,
            ref with,
            ..
        } = record
        else {
            return;
        };
        let what = (message, Extras::share_of(with.as_deref()));
        let entry = self.push(record);
        let former = self
            .sessions
            .entry(session)
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
                self.entries[entry] = None;
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
                    let entry = self.push(record);
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
                self.push_of(session, record);
                self.sessions.entry(session).or_default().is_new = true;
            }
            Record::SessionChanged { session, .. } => {
                let entry = self.push_of(session, record);
                let state = self.sessions.entry(session).or_default();
                let former = state.changed.replace(entry);
                self.kill(former);
            }
            Record::SessionEnded { session } => {
                let state = self.sessions.entry(session).or_default();
                let (is_new, entries) = (state.is_new, std::mem::take(&mut state.entries));
                for entry in entries {
                    self.entries[entry] = None;
                }
                if !is_new {
                    self.push_of(session, record);
                }
            }
            Record::Subscribed {
                session, filter, ..
            } => {
                let entry = self.push_of(session, record);
                let former = self.subscriptions.insert((session, filter), entry);
                self.kill(former);
            }
            Record::Unsubscribed { session, filter } => {
                let former = self.subscriptions.remove(&(session, filter));
                self.kill(former);
                if !self.is_new(session) {
                    let entry = self.push_of(session, record);
                    self.subscriptions.insert((session, filter), entry);
                }
            }
            Record::WillSet { session, .. } | Record::WillCleared { session } => {
                let former = self.sessions.entry(session).or_default().will.take();
                self.kill(former);
                if matches!(record, Record::WillSet { .. }) || !self.is_new(session) {
                    let entry = self.push_of(session, record);
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
                let entry = self.push_of(session, record);
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
                let entry = self.push_of(session, record);
                let flying = Flying {
                    is_new: queued.is_some(),
                    entries: [queued, Some(entry)],
                };
                self.flying.insert((session, packet_id), flying);
            }
            Record::Received { session, packet_id } => {
                let entry = self.push_of(session, record);
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
                        self.push_of(session, record);
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
                    self.push_of(session, record);
                }
            },
            Record::Taken { session, packet_id } => {
                let entry = self.push_of(session, record);
                self.taken.insert((session, packet_id), entry);
            }
            Record::Released { session, packet_id } => {
                match self.taken.remove(&(session, packet_id)) {
                    Some(entry) => self.kill(Some(entry)),
                    None => {
                        self.push_of(session, record);
                    }
                }
            }
            _ => unreachable!("add_for_flash knows the others"),
        }
    }
}
