//! The store: what survives a crash, a restart and a power cut.
//!
//! Entered by [`recover`] at the start, which gives back what was there, and from then on by [`Store::record`], with which the event loop
//! says each operation of the broker, and [`Store::end_turn`], after which what was said survives a crash.
//!
//! # The way of an operation
//!
//! ```text
//! StoreOp → record → frame of the turn → journal on tmpfs ──(interval, commit)──→ coalesce → write → database on flash
//! ```
//!
//! The event loop appends one frame a turn to the `journal`, a file in memory, before anything is sent. The store's own thread
//! (`worker`) reads that file when it is time, leaves out what came and went within the span (`coalesce`), and writes the rest in one
//! transaction (`write`, `database`). So the journal is the queue between the threads, and nothing is held twice.
//!
//! # Classes
//!
//! | class | an acknowledgement waits for | survives a crash | survives a power cut |
//! |---|---|---|---|
//! | [`Class::Volatile`] | nothing | no | no |
//! | [`Class::Interval`] | the frame in the journal | all | all but the last interval |
//! | [`Class::Commit`] | the transaction on flash | all | all |
//!
//! Where the thread is far behind the event loop, acknowledgements of every class but the first wait until it has caught up (`lead`), so that
//! the journal stays short.
//!
//! A transaction takes everything before it with it, so an operation of class `commit` hurries those of class `interval` along.
//! QoS 0 messages that wait for a client, and messages that the keeper has, are in the journal only, and `$SYS` is nowhere. A message
//! that is retained at QoS 0 rests in the journal before it is for flash (`resting`).
//!
//! # What it is not
//!
//! It decides nothing about messages: an operation that makes no sense is passed over. It knows neither clients nor sockets, and
//! it holds no packet back: it says which number the last operation has and until which number all is safe.

mod aside;
mod budget;
mod closed;
mod coalesce;
mod database;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod folder;
mod journal;
mod lead;
mod live;
mod passed;
#[cfg(test)]
mod power;
mod reader;
mod record;
mod recovery;
mod resting;
mod rows;
mod salvage;
mod schema;
mod status;
#[cfg(test)]
mod tests;
pub mod vfs;
mod worker;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::broker::StoreOp;
use crate::mqtt::{Message, Qos, topic};

pub use database::Stamp;
pub use journal::Clock;
pub use recovery::{Parts, Recovery, kept, recover};
pub use resting::REST;
pub use status::Status;

use journal::{Header, Tail};
use lead::Lead;
use live::{Live, Written};
use record::Writer;
use resting::Resting;
use worker::Order;

/// What is found by a number or a topic. Its keys are partly what clients chose, so its seed is chance.
type Map<K, V> = std::collections::HashMap<K, V, foldhash::quality::RandomState>;
type Set<K> = std::collections::HashSet<K, foldhash::quality::RandomState>;

/// How durable a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It lives in memory.
    Volatile,
    /// It is in the journal before it is acknowledged, and on flash at the end of the interval.
    Interval,
    /// It is on flash before it is acknowledged.
    Commit,
}

/// What the configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The database.
    pub path: PathBuf,
    /// What holds where no pattern does.
    pub class: Class,
    /// Topic filters with the class of the messages that match; the first holds.
    pub classes: Vec<(String, Class)>,
    /// How old a change may become before flash has it.
    pub flush_interval: Duration,
    /// Bytes that the database may take; `None` for what the file system can spare.
    pub size_limit: Option<u64>,
    /// How long a message that is retained at QoS 0 is in the journal only; at most half an interval, or nothing.
    pub rest: Duration,
    /// Bytes a day that may go to flash before the interval is stretched; 0 for any number.
    pub daily_budget: u64,
}

impl Class {
    /// Its name, as the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Class::Volatile => "volatile",
            Class::Interval => "interval",
            Class::Commit => "commit",
        }
    }
}

/// What a database may take where no option says it, however much is free: more than a router's bus has to keep.
const SIZE_MAX_BYTES: u64 = 64 << 20;

impl Settings {
    /// The class of a message. Its topic is only looked at as a whole where there are patterns.
    fn class_of_message(&self, message: &Message) -> Class {
        match self.classes.is_empty() && !message.topic_bytes().starts_with(b"$") {
            true => self.class,
            false => self.class_of(message.topic()),
        }
    }

    /// The class of a topic's messages. What the broker says of itself is never kept.
    fn class_of(&self, name: &str) -> Class {
        if name.starts_with("$SYS/") {
            return Class::Volatile;
        }
        let pattern = self
            .classes
            .iter()
            .find(|(filter, _)| topic::matches(filter, name));
        pattern.map_or(self.class, |(_, class)| *class)
    }

    /// Whether nothing is kept.
    pub fn is_volatile(&self) -> bool {
        self.class == Class::Volatile
            && self
                .classes
                .iter()
                .all(|(_, class)| *class == Class::Volatile)
    }

    /// What the database's file may grow to when it has `taken` bytes: never so much that the file system is full, because a full
    /// one can delete nothing.
    fn size_max(&self, taken: u64) -> u64 {
        let limit = self.size_limit.unwrap_or(SIZE_MAX_BYTES);
        match free_bytes(&self.path) {
            Some(free) => limit.min(taken + free / 2),
            None => limit,
        }
    }
}

/// The header of a segment that is new.
fn header(store: u64, clock: Clock, number: u64, first: u64) -> Header {
    Header {
        store,
        clock,
        covers_from: number,
        first,
        compacted_to: None,
        is_reused: false,
    }
}

/// What the file system of a path can still take, in bytes.
fn free_bytes(path: &std::path::Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = std::ffi::CString::new(path.parent()?.as_os_str().as_bytes()).ok()?;
    let mut facts = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends in a NUL, and `facts` has room for what is written there.
    let is_known = unsafe { libc::statvfs(folder.as_ptr(), facts.as_mut_ptr()) } == 0;
    if !is_known {
        return None;
    }
    // SAFETY: the call succeeded, so that all of it is written.
    let facts = unsafe { facts.assume_init() };
    #[allow(clippy::unnecessary_cast, reason = "the types differ between targets")]
    Some(facts.f_bavail as u64 * facts.f_frsize as u64)
}

/// How the store's thread tells the time.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// How the broker's time and the boot clock go together.
    pub clock: Clock,
    /// The boot clock, in milliseconds.
    pub boot_ms: fn() -> u64,
    /// The date in seconds since 1970, if the machine knows it.
    pub wall_s: fn() -> Option<u64>,
}

impl Clocks {
    /// The present moment.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            time_ms: (self.boot_ms)().wrapping_add(self.clock.offset_ms),
            wall_s: (self.wall_s)(),
            clock: self.clock,
        }
    }
}

/// What the store's thread tells the event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Everything up to the operation with this number is as safe as it gets.
    Committed(u64),
    /// The journal may be tried again.
    JournalIsFree,
    /// An interval is over: what has rested is to be said, and then [`Store::flush`] called.
    Due,
    /// The thread has read all of the journal that there was: [`Store::caught_up`] is to be called.
    CaughtUp,
}

/// How the store's thread tells it.
pub type Notify = Box<dyn Fn(Event) + Send>;

/// The event loop's end of the store.
pub struct Store {
    settings: Settings,
    store: u64,
    clock: Clock,
    writer: Writer,
    resting: Resting,
    /// What of the journal's segment is needed.
    live: Live,
    /// The journal; `None` while it cannot be written.
    tail: Option<Tail>,
    directory: PathBuf,
    segment: u64,
    /// How far it is ahead of the thread.
    lead: Lead,
    /// The last segment of which the thread has read something; locked while it reads.
    read: Arc<Mutex<u64>>,
    /// The number of the last record of the last turn.
    last: u64,
    /// What went to the journal since the start.
    journal_bytes: u64,
    /// Whether something of this turn is to be on flash before it is acknowledged.
    is_urgent: bool,
    orders: Sender<Order>,
    is_told: Arc<AtomicBool>,
    status: Arc<Mutex<Status>>,
    thread: Option<JoinHandle<()>>,
    /// Held until the thread is done.
    _lock: File,
}

impl Store {
    /// Says an operation at `now_ms` of the broker's time. Whether what acknowledges it has to wait for flash: until
    /// [`Event::Committed`] comes for the number that the turn's end gives; or where the thread is far behind until it has caught up.
    pub fn record(&mut self, operation: &StoreOp<'_>, now_ms: u64) -> bool {
        let mut rests = false;
        let class = match operation {
            StoreOp::Queued { message, qos, .. } => {
                let class = self.settings.class_of_message(message);
                // What may be lost on its way anyway waits for nothing.
                class.min(if *qos as u8 == 0 {
                    Class::Interval
                } else {
                    Class::Commit
                })
            }
            StoreOp::Retained { message } => {
                let class = self.settings.class_of_message(message);
                rests = class == Class::Interval && self.rests(message, now_ms);
                class
            }
            StoreOp::RetainCleared { topic } => {
                self.resting.forget(topic);
                self.settings.class_of(topic)
            }
            // Nothing promises it, and flash never has it.
            StoreOp::Kept { message, .. } => {
                let class = self.settings.class_of_message(message);
                class.min(Class::Interval)
            }
            StoreOp::KeptGone { .. } => Class::Interval,
            // Of a session that nothing keeps there are no operations that matter.
            _ => self.settings.class.max(Class::Interval),
        };
        if class == Class::Volatile {
            return false;
        }
        self.write(operation, now_ms, rests);
        self.is_urgent |= class == Class::Commit;
        class == Class::Commit || self.lead.is_long()
    }

    /// Appends an operation to the frame; one that makes a message retained may let it rest.
    fn write(&mut self, operation: &StoreOp<'_>, now_ms: u64, rests: bool) {
        let start = self.writer.frame_bytes();
        let own = match operation {
            StoreOp::Retained { message } if rests => self.writer.resting(message),
            operation => self.writer.operation(operation, now_ms),
        };
        if let Some(tail) = &self.tail {
            let at = |place: usize| tail.bytes() + place as u64;
            let written = Written {
                start: at(start),
                own: at(own),
                end: at(self.writer.frame_bytes()),
            };
            self.live.note(operation, written, rests);
        }
    }

    /// Whether a message that is retained rests; if not, what rests under its topic is replaced.
    fn rests(&mut self, message: &Message, now_ms: u64) -> bool {
        let is_promised = message.qos() != Qos::AtMostOnce;
        let rests =
            !is_promised && !self.settings.rest.is_zero() && self.resting.rest(message, now_ms);
        if !rests {
            self.resting.forget(message.topic());
        }
        rests
    }

    /// Says again, for flash, what rests since `until_ms` of the broker's time or longer.
    fn say_rested(&mut self, until_ms: u64) {
        while let Some(message) = self.resting.ripe(until_ms) {
            let operation = StoreOp::Retained { message: &message };
            self.write(&operation, until_ms, false);
        }
    }

    /// Has everything that is for flash written: an interval is over at `now_ms` of the broker's time.
    pub fn flush(&mut self, now_ms: u64) {
        self.say_rested(now_ms.saturating_sub(self.settings.rest.as_millis() as u64));
        self.end_turn();
        self.order(Order::Flush);
    }

    /// Flash was written, up to this number. What rests goes on waiting for the next time.
    pub fn flushed(&mut self, number: u64, now_ms: u64) {
        self.lead.commit(number);
        if let Some(since_ms) = self.resting.oldest_ms() {
            let age = Duration::from_millis(now_ms.saturating_sub(since_ms));
            self.order(Order::Rests(age));
        }
    }

    /// The thread has caught up. The number up to which nothing waits for flash, if it is known to be all.
    pub fn caught_up(&mut self) -> Option<u64> {
        self.lead.catch_up(self.segment).then_some(self.last)
    }

    /// Ends a turn: what was said survives a crash from now on. The number of the last operation.
    pub fn end_turn(&mut self) -> u64 {
        if self.writer.count() == 0 {
            return self.last;
        }
        let (first, count) = (self.last + 1, u64::from(self.writer.count()));
        let appended = self.tail.as_mut().map(|tail| tail.append(&mut self.writer));
        if let Some(Ok(bytes)) = &appended {
            self.journal_bytes += bytes;
        }
        if let Some(Err(error)) = &appended {
            log::error!(
                "store: {}: {error}; changes go straight to flash until there is room",
                self.directory.display()
            );
            (self.tail, self.live) = (None, Live::default());
        }
        if !matches!(appended, Some(Ok(_))) {
            let records = self.writer.bytes().to_vec();
            self.order(Order::Frame {
                first,
                count,
                records,
            });
        }
        self.last += count;
        self.writer.clear();
        self.live.turn_ends();
        self.renew_segment();
        if std::mem::take(&mut self.is_urgent) {
            self.lead.promise(self.last);
            self.order(Order::Commit(self.last));
        } else if !self.is_told.swap(true, Ordering::SeqCst) {
            self.order(Order::Changed);
        }
        if self.lead.is_news() {
            self.order(Order::CatchUp);
        }
        if self.tail.as_ref().is_some_and(Tail::is_full) {
            self.begin_segment();
        }
        self.last
    }

    /// The journal may be tried again.
    pub fn journal_is_free(&mut self) {
        if self.tail.is_none() {
            self.begin_segment();
            if self.tail.is_some() {
                log::warn!(
                    "store: {}: the journal is written again",
                    self.directory.display()
                );
            }
        }
    }

    /// Has the segment go on in another file, if it is long and hardly anything of it is left. What is left is said again there. The thread has
    /// read nothing of it: flash has none of it.
    fn renew_segment(&mut self) {
        let Some(tail) = self.tail.as_mut().filter(|tail| tail.is_renewable()) else {
            return;
        };
        tail.is_not_renewed();
        let header = header(self.store, self.clock, self.segment, self.last + 1);
        let header = Header {
            is_reused: true,
            ..header
        };
        let Some(left) = self.live.little() else {
            return;
        };
        let Some(_read) = self.read.try_lock().ok().filter(|it| **it < self.segment) else {
            return;
        };
        match tail.renew(&self.directory, self.segment, header, &left) {
            Ok((bytes, start)) => {
                self.live.moved(&left, start);
                self.last += u64::from(left.records);
                self.journal_bytes += bytes;
            }
            Err(error) => log::debug!("store: the journal is not renewed: {error}"),
        }
    }

    fn begin_segment(&mut self) {
        let number = self.segment + 1;
        let header = header(self.store, self.clock, number, self.last + 1);
        match Tail::begin(&self.directory, number, header) {
            Ok(mut tail) => {
                if let Some(former) = &mut self.tail {
                    tail.follow(former);
                }
                let former = self.tail.replace(tail);
                // Of a segment that was not written to its end, nothing is known.
                let closed = former.map(|tail| self.live.take(tail.bytes()));
                self.segment = number;
                self.lead.go_on(number);
                self.order(Order::Rotated {
                    segment: number,
                    first: self.last + 1,
                    closed,
                });
            }
            // The present one goes on, if there is one.
            Err(error) => log::debug!("store: no new segment of the journal: {error}"),
        }
    }

    fn order(&self, order: Order) {
        // The thread ends only when it is told to.
        let _ = self.orders.send(order);
    }

    /// Follows the configuration. A database of another path is taken at the next start.
    pub fn set(&mut self, settings: Settings) {
        let settings = Settings {
            path: self.settings.path.clone(),
            ..settings
        };
        self.order(Order::Settings(settings.clone()));
        self.settings = settings;
    }

    /// Has a consistent copy of the database written.
    pub fn copy_to(&mut self, path: PathBuf, done: Box<dyn FnOnce(Result<(), String>) + Send>) {
        self.say_rested(u64::MAX);
        self.end_turn();
        self.order(Order::Copy { path, done });
    }

    /// What is known of it.
    pub fn status(&self) -> Status {
        let status = self.status.lock().expect("nobody panics while holding it");
        Status {
            class: self.settings.class,
            last: self.last,
            journal_bytes: self.journal_bytes,
            ..status.clone()
        }
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Writes everything, and waits until that is done.
    pub fn stop(&mut self) {
        self.say_rested(u64::MAX);
        self.end_turn();
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("store: its thread failed");
        }
    }
}
