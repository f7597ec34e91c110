//! The store's thread: it writes to flash what the journal says, when it is time, and keeps the journal short.
//!
//! Entered by [`Worker::run`]. It waits for [`Order`]s, and for the moment at which the oldest change that flash lacks is as old as the
//! interval and the day's budget allow. It reads the journal from the files, which are memory, so that nothing is queued twice;
//! only where the journal cannot be written do records come in an order.
//!
//! Flash that is full, read-only or broken stops nothing: it is said once, what was promised to wait for flash waits no longer, the
//! journal keeps what is missing, and it is tried again until it works.

mod compact;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::aside::set_aside_whole;
use super::budget::Budget;
use super::closed;
use super::coalesce::Coalesced;
use super::database::{Database, Place};
use super::journal;
use super::lead::Progress;
use super::live::Closed;
use super::status::{Status, Written};
use super::{Clocks, Event, Notify, Settings};

/// How long it waits before it tries again after flash has failed: the first time, or whenever acknowledgements would wait, and at most.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// When what flash lacks has so many bytes after it was compacted, it is written before the interval is over: it is read as a whole for
/// that, which takes two to three times the memory, and that is dearer than writing early what will hardly be taken back.
const LACK_BYTES_MAX: u64 = 1 << 20;

/// How long after much was read memory is given back once more, if nothing is to be done meanwhile: what a flood leaves goes last.
const QUIET: Duration = Duration::from_secs(1);

/// What the event loop has the thread do.
pub enum Order {
    /// There is something in the journal that flash lacks.
    Changed,
    /// The same, and acknowledgements wait for everything up to this number.
    Commit(u64),
    /// Acknowledgements wait until all that there is of the journal is read.
    CatchUp,
    /// The answer to [`Event::Due`].
    Flush,
    /// There is something in the journal, this old, that flash will lack.
    Rests(Duration),
    /// The journal goes on in the segment with this number; its first record has this one.
    Rotated {
        /// The segment.
        segment: u64,
        /// The record.
        first: u64,
        /// What is known of the one before, if there was one and all went well.
        closed: Option<Closed>,
    },
    /// Records that the journal did not take.
    Frame {
        /// The number of the first.
        first: u64,
        /// How many there are.
        count: u64,
        /// The records.
        records: Vec<u8>,
    },
    /// The configuration has changed.
    Settings(Settings),
    /// Writes a consistent copy of the database.
    Copy {
        /// Where to.
        path: PathBuf,
        /// Told when it is done.
        done: Box<dyn FnOnce(Result<(), String>) + Send>,
    },
    /// Writes everything and ends.
    Stop,
}

/// A segment of the journal that the thread reads.
#[derive(Debug, Clone, Copy)]
struct Segment {
    number: u64,
    /// Where what flash lacks begins, and the number of the record there.
    from: u64,
    next: u64,
    /// Whether flash has all of it that is for flash.
    is_applied: bool,
    /// Whether it may have something that stays in the journal even so.
    is_volatile: bool,
}

impl Segment {
    /// One of which nothing more is known.
    fn new(number: u64, from: u64, next: u64) -> Segment {
        Segment {
            number,
            from,
            next,
            is_applied: false,
            is_volatile: true,
        }
    }
}

/// Records in memory.
#[derive(Debug)]
pub struct Chunk {
    /// The number of the first.
    pub first: u64,
    /// How many there are.
    pub count: u64,
    /// For what was compacted: the number that all of it counts as.
    pub compacted_to: Option<u64>,
    /// The records.
    pub records: Vec<u8>,
}

/// The thread's state.
pub struct Worker {
    directory: PathBuf,
    settings: Settings,
    place: Place,
    database: Option<Database>,
    /// The closed segments and, last, the one that is written.
    segments: Vec<Segment>,
    /// Bytes of closed segments after they were compacted last, and those that have come since.
    compacted_bytes: u64,
    closed_bytes: u64,
    /// Bytes of the compacted segment where flash lacks some of it.
    lack_bytes: u64,
    /// Records that are in no segment.
    frames: Vec<Chunk>,
    /// Every record up to this one is in the database.
    applied: u64,
    store: u64,
    clocks: Clocks,
    budget: Budget,
    status: Arc<Mutex<Status>>,
    notify: Notify,
    /// Whether the event loop has said that something has changed.
    is_told: Arc<AtomicBool>,
    progress: Progress,
    /// The last segment of which something was read; locked meanwhile, as the event loop may have it go on in another file.
    read: Arc<Mutex<u64>>,
    /// Since when flash lacks something.
    changed: Option<Instant>,
    /// Whether the event loop was told that flash is to be written, and has not answered.
    has_asked: bool,
    failing: Option<Failing>,
    /// Whether more was read than an ordinary bus says, since memory was given back in a quiet moment.
    has_read_much: bool,
    /// Transactions that flash took.
    commits: u64,
    /// Bytes and syncs of copies, which lie in memory or where their owner wants them.
    copied: Written,
}

/// Flash fails.
#[derive(Debug)]
struct Failing {
    what: String,
    last: Instant,
    again: Instant,
    wait: Duration,
}

/// What a worker begins with.
pub struct Beginning {
    /// Where the journal is.
    pub directory: PathBuf,
    /// What the configuration says.
    pub settings: Settings,
    /// Where the database is.
    pub place: Place,
    /// The database, if it could be opened.
    pub database: Option<Database>,
    /// The journal's own number for the database.
    pub store: u64,
    /// Segments that were there at the start: their numbers, where what flash lacks begins, and the number of the record there.
    pub closed: Vec<(u64, u64, u64)>,
    /// The segment that is written, if one can be, and the number of its first record.
    pub current: Option<(u64, u64)>,
    /// What is in the database.
    pub applied: u64,
    /// How to tell the time.
    pub clocks: Clocks,
    /// What others may know.
    pub status: Arc<Mutex<Status>>,
    /// How to tell the event loop something.
    pub notify: Notify,
    /// Set by the event loop when it says that something has changed, cleared when that is written.
    pub is_told: Arc<AtomicBool>,
    /// How the event loop knows how far the journal was read.
    pub progress: Progress,
    /// How it knows which segment must stay as it is.
    pub read: Arc<Mutex<u64>>,
    /// Why the database could not be opened.
    pub failing: Option<String>,
}

impl Worker {
    /// A worker that has nothing to do yet.
    pub fn new(beginning: Beginning) -> Worker {
        let closed = beginning.closed.into_iter();
        let segments = closed.chain(beginning.current.map(|(number, next)| (number, 0, next)));
        let mut worker = Worker {
            segments: segments
                .map(|(number, from, next)| Segment::new(number, from, next))
                .collect(),
            directory: beginning.directory,
            budget: Budget::new(beginning.settings.daily_budget, Instant::now()),
            settings: beginning.settings,
            place: beginning.place,
            database: beginning.database,
            compacted_bytes: 0,
            lack_bytes: 0,
            closed_bytes: 0,
            frames: Vec::new(),
            applied: beginning.applied,
            store: beginning.store,
            clocks: beginning.clocks,
            status: beginning.status,
            notify: beginning.notify,
            is_told: beginning.is_told,
            progress: beginning.progress,
            read: beginning.read,
            changed: None,
            has_asked: false,
            failing: None,
            has_read_much: false,
            commits: 0,
            copied: Written::default(),
        };
        if let Some(what) = beginning.failing {
            worker.fail(what, Instant::now());
        }
        worker.compact();
        worker
    }

    /// Serves until it is told to stop, or the event loop is gone.
    pub fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let quiet = self.has_read_much.then(|| Instant::now() + QUIET);
            let order = match self.due().into_iter().chain(quiet).min() {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => orders.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            if matches!(order, Err(RecvTimeoutError::Timeout)) && self.has_read_much {
                self.has_read_much = false;
                give_back(usize::MAX);
            }
            let is_end = matches!(order, Err(RecvTimeoutError::Disconnected));
            let more = std::iter::from_fn(|| orders.try_recv().ok());
            if self.turn(order.ok().into_iter().chain(more)) || is_end {
                self.end();
                return;
            }
        }
    }

    /// Carries out what has been ordered, and what is due. Whether the end is among it.
    pub(super) fn turn(&mut self, orders: impl Iterator<Item = Order>) -> bool {
        let (mut is_urgent, mut is_end, mut awaited) = (false, false, None);
        let mut is_behind = false;
        for order in orders {
            match order {
                Order::Commit(number) => awaited = Some(number),
                Order::CatchUp => is_behind = true,
                Order::Flush => is_urgent = true,
                Order::Stop => is_end = true,
                order => self.carry_out(order),
            }
        }
        let now = Instant::now();
        if let Some(number) = awaited {
            self.changed.get_or_insert(now);
            match self
                .failing
                .as_ref()
                .is_some_and(|it| now < it.last + RETRY)
            {
                // Each try costs flash that is ill more writes, and nothing is served by waiting for it.
                true => (self.notify)(Event::Committed(number)),
                false => is_urgent = true,
            }
        }
        if !is_end && (is_urgent || self.due().is_some_and(|due| due <= now && !self.asks())) {
            self.flush(now);
        }
        self.compact_if_long();
        if is_behind {
            // Who waits for flash came before: that was written, or is tried again on its own account.
            if self.closed_bytes > 0 {
                self.compact();
            }
            (self.notify)(Event::CaughtUp);
        }
        is_end
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Changed => {
                self.changed.get_or_insert_with(Instant::now);
            }
            Order::Rests(age) => {
                let since = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
                self.changed = Some(self.changed.map_or(since, |changed| changed.min(since)));
            }
            Order::Rotated {
                segment,
                first,
                closed,
            } => {
                self.close(closed, first - 1);
                self.segments.push(Segment::new(segment, 0, first));
            }
            Order::Frame {
                first,
                count,
                records,
            } => {
                self.changed.get_or_insert_with(Instant::now);
                self.frames.push(Chunk {
                    first,
                    count,
                    compacted_to: None,
                    records,
                });
            }
            Order::Settings(settings) => {
                self.budget.set(settings.daily_budget);
                self.settings = settings;
            }
            Order::Copy { path, done } => {
                self.flush(Instant::now());
                done(self.copy_to(&path));
            }
            Order::Commit(_) | Order::CatchUp | Order::Flush | Order::Stop => {
                unreachable!("turn has handled them")
            }
        }
    }

    /// Whether the event loop has to say first what has rested, which it does at the end of an interval.
    fn asks(&mut self) -> bool {
        let is_hurried = self.failing.is_some() || !self.frames.is_empty() || self.lacks_much();
        if !is_hurried {
            self.has_asked = true;
            (self.notify)(Event::Due);
        }
        !is_hurried
    }

    /// Whether so much is in the journal alone that it is written early, while the day's budget has room for that.
    fn lacks_much(&self) -> bool {
        self.lack_bytes > LACK_BYTES_MAX && self.budget.has_room()
    }

    /// When there is something to do without an order.
    fn due(&self) -> Option<Instant> {
        let changed = self.changed.filter(|_| !self.has_asked)?;
        match &self.failing {
            Some(failing) => Some(failing.again),
            // What only memory has is as good as lost.
            None if !self.frames.is_empty() => Some(changed),
            None if self.lacks_much() => Some(changed),
            None => Some(changed + self.budget.stretched(self.settings.flush_interval)),
        }
    }

    /// Brings flash up to date, and tells who waits for it.
    fn flush(&mut self, now: Instant) {
        // Whatever is written from here on is said again.
        self.is_told.store(false, Ordering::SeqCst);
        self.has_asked = false;
        let (chunks, ends) = match self.unapplied() {
            Ok(read) => read,
            Err(error) => {
                self.fail(format!("the journal cannot be read: {error}"), now);
                // Nothing is served by waiting for it. No number of a record is as high.
                (self.notify)(Event::Committed(u64::MAX - 1));
                return;
            }
        };
        let last = last_of(&chunks).unwrap_or(self.applied);
        let read: usize = chunks.iter().map(|chunk| chunk.records.len()).sum();
        let written = self.write(&chunks, last);
        drop(chunks);
        self.has_read_much |= give_back(read);
        match written {
            Ok(()) => {
                self.applied = last;
                (self.changed, self.lack_bytes) = (None, 0);
                for (segment, (from, next)) in self.segments.iter_mut().zip(ends) {
                    (segment.from, segment.next) = (from, next);
                }
                if let Some((_, closed)) = self.segments.split_last_mut() {
                    closed.iter_mut().for_each(|it| it.is_applied = true);
                }
                self.recover();
                if self.segments.len() > 1 {
                    self.compact();
                }
                if !self.frames.is_empty() {
                    self.frames = Vec::new();
                    (self.notify)(Event::JournalIsFree);
                }
            }
            Err(what) => {
                // If it is still in doubt, the next write begins with it.
                let _ = self.make_sure();
                self.fail(what, now);
            }
        }
        self.account();
        // Where flash fails, nothing is served by waiting for it.
        (self.notify)(Event::Committed(last));
    }

    /// Finds out how far the database is, where a write has failed.
    fn make_sure(&mut self) -> Result<(), String> {
        if let Some(database) = &mut self.database {
            database.make_sure().map_err(|error| error.to_string())?;
            self.applied = self.applied.max(database.state().applied);
        }
        Ok(())
    }

    fn write(&mut self, chunks: &[Chunk], last: u64) -> Result<(), String> {
        if self.database.is_none() {
            self.reopen()?;
        }
        self.make_sure()?;
        let stamp = self.clocks.stamp();
        let Some(database) = &mut self.database else {
            return Err("there is no database".into());
        };
        let ceiling = self.settings.size_max(database_bytes(&self.place.path));
        let written = database.set_size_max(ceiling).and_then(|()| {
            let span = coalesced(chunks, self.applied, database);
            database.write(&span, last, stamp)
        });
        let rows = written.map_err(|error| error.to_string())?;
        self.commits += u64::from(rows > 0);
        Ok(())
    }

    /// Opens a database that could not be opened before. One that is not as it was read at the start is not what the bus goes on
    /// from: it is set aside.
    fn reopen(&mut self) -> Result<(), String> {
        let mut database = self.open()?;
        let state = database.state();
        if (state.store, state.applied) != (self.store, self.applied) {
            drop(database);
            let aside =
                set_aside_whole(&self.place.path, "stale").map_err(|why| why.to_string())?;
            log::warn!(
                "store: {} came back with another content: it is now {}",
                self.place.path.display(),
                aside.display()
            );
            database = self.open()?;
        }
        self.database = Some(database);
        Ok(())
    }

    fn open(&self) -> Result<Database, String> {
        let opened =
            Database::open(&self.place, self.store, false).map_err(|why| why.to_string())?;
        let said = opened.said.iter();
        said.for_each(|said| log::warn!("store: {said}"));
        let spared = opened.database.spare_memory();
        spared.map_err(|error| error.to_string())?;
        Ok(opened.database)
    }

    fn fail(&mut self, what: String, now: Instant) {
        let wait = self
            .failing
            .as_ref()
            .map_or(RETRY, |it| (it.wait * 2).min(RETRY_MAX));
        if self
            .failing
            .as_ref()
            .is_none_or(|failing| failing.what != what)
        {
            log::error!(
                "store: {}: {what}; the bus goes on in memory and tries again",
                self.place.path.display()
            );
        }
        self.changed.get_or_insert(now);
        self.failing = Some(Failing {
            what,
            last: now,
            again: now + wait,
            wait,
        });
        self.account();
    }

    fn recover(&mut self) {
        if self.failing.take().is_some() {
            log::warn!("store: {}: it is written again", self.place.path.display());
        }
    }

    fn copy_to(&mut self, path: &Path) -> Result<(), String> {
        let Some(database) = &self.database else {
            return Err("there is no database".into());
        };
        let before = self.place.vfs.counts().total();
        let copied = database.copy_to(path).map_err(|error| error.to_string());
        let after = self.place.vfs.counts().total();
        self.copied.bytes += after.bytes - before.bytes;
        self.copied.syncs += after.syncs - before.syncs;
        copied
    }

    pub(super) fn end(mut self) {
        self.flush(Instant::now());
        let stamp = self.clocks.stamp();
        if self.failing.is_none()
            && let Some(mut database) = self.database.take()
        {
            let stamped = database.stamp(stamp).and_then(|()| database.close());
            if stamped.is_ok() {
                // Without a note the next start takes longer.
                let _ = closed::note(&self.directory, &self.place.path);
            }
            match stamped {
                Ok(()) if self.is_journal_done() => self.remove_all(),
                Ok(()) => {}
                Err(error) => log::error!("store: {}: {error}", self.place.path.display()),
            }
        }
    }

    /// Whether the journal has nothing that the database has not.
    fn is_journal_done(&self) -> bool {
        let chunks: io::Result<Vec<Chunk>> =
            self.segments.iter().map(|it| self.whole(it)).collect();
        chunks.is_ok_and(|chunks| {
            let mut span = Coalesced::new(self.applied);
            add(&mut span, &chunks, &super::write::Content::default());
            span.all().next().is_none()
        })
    }

    /// All records of a segment.
    fn whole(&self, segment: &Segment) -> io::Result<Chunk> {
        let content = journal::read(&journal::path(&self.directory, segment.number), 0)?;
        Ok(Chunk {
            first: content.header.first,
            count: content.count,
            compacted_to: content.header.compacted_to,
            records: content.records,
        })
    }

    fn remove_all(&self) {
        for segment in &self.segments {
            // What is left of it is passed over at the next start.
            let _ = std::fs::remove_file(journal::path(&self.directory, segment.number));
        }
        journal::remove_spare(&self.directory);
    }

    fn account(&mut self) {
        let now = Instant::now();
        let written = self.place.vfs.counts().total();
        let mut status = self.status.lock().expect("nobody panics while holding it");
        let before = status.flash.bytes;
        status.flash = Written {
            bytes: written.bytes - self.copied.bytes,
            syncs: written.syncs - self.copied.syncs,
        };
        let more = status.flash.bytes.saturating_sub(before);
        status.day.add(more, now);
        status.commits = self.commits;
        status.applied = self.applied;
        status.error = self.failing.as_ref().map(|failing| failing.what.clone());
        match &status.error {
            Some(what) => status.last_error = Some((what.clone(), now)),
            None => status.last_commit = Some(now),
        }
        self.budget.spend(status.flash.bytes, now);
    }
}

impl Worker {
    /// What flash lacks, and where each segment ends.
    #[expect(
        clippy::type_complexity,
        reason = "it is taken apart by its only caller"
    )]
    fn unapplied(&mut self) -> io::Result<(Vec<Chunk>, Vec<(u64, u64)>)> {
        let (mut chunks, mut ends) = (Vec::new(), Vec::new());
        let mut read = self.read.lock().expect("nobody panics while holding it");
        *read = self.segments.last().map_or(*read, |it| it.number);
        for segment in &self.segments {
            let path = journal::path(&self.directory, segment.number);
            let content = journal::read(&path, segment.from)?;
            // Until it is read, it may have begun anew.
            let (first, compacted_to) = match segment.from {
                0 => (content.header.first, content.header.compacted_to),
                _ => (segment.next, None),
            };
            ends.push((content.end, first + content.count));
            chunks.push(Chunk {
                first,
                count: content.count,
                compacted_to,
                records: content.records,
            });
        }
        // They are few, and only there while the journal is not.
        chunks.extend(self.frames.iter().map(|frame| Chunk {
            first: frame.first,
            count: frame.count,
            compacted_to: frame.compacted_to,
            records: frame.records.clone(),
        }));
        Ok((chunks, ends))
    }
}

/// Gives memory back to the system after so many bytes were read, where they are many; whether they are. glibc keeps what a thread frees; other
/// libraries do not.
pub fn give_back(read: usize) -> bool {
    // More than a busy bus with small messages reads at once: it would need the memory again the next moment.
    const MANY: usize = 512 << 10;
    let is_many = read > MANY;
    if is_many {
        #[cfg(target_env = "gnu")]
        // SAFETY: it frees what nobody has, and may be called at any time.
        unsafe {
            libc::malloc_trim(0);
        }
    }
    is_many
}

/// What is left of records.
fn coalesced<'c>(chunks: &'c [Chunk], applied: u64, database: &Database) -> Coalesced<'c> {
    let mut span = Coalesced::new(applied);
    add(&mut span, chunks, database.content());
    span
}

/// Adds records to a span.
pub fn add<'c>(span: &mut Coalesced<'c>, chunks: &'c [Chunk], known: &impl super::coalesce::Known) {
    for chunk in chunks {
        let number = |count| chunk.compacted_to.unwrap_or(chunk.first + count);
        span.add(&chunk.records, number, known);
    }
}

/// The number of the last record.
pub fn last_of(chunks: &[Chunk]) -> Option<u64> {
    let of = |chunk: &Chunk| match chunk.compacted_to {
        Some(last) => last,
        None => (chunk.first + chunk.count).saturating_sub(1),
    };
    chunks.iter().map(of).max()
}

/// What the database's file has, 0 where there is none.
fn database_bytes(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}
