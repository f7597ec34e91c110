//! The start of the store: what the database and the journal have together becomes the state to go on from.
//!
//! Entered by [`recover`]; then [`Recovery::load`] gives that state to the broker, row by row, and [`Recovery::start`] begins the store's thread.
//! What the journal has and the database lacks is written to flash first, so that there is one state to read. Where flash cannot be
//! written, a copy of the database in memory takes it, and the journal stays until flash can.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::closed;
use super::coalesce::Coalesced;
use super::database::{Database, Place};
use super::journal::{self, Clock, Header, Tail};
use super::lead::{Lead, Progress};
use super::live::Live;
use super::passed::offset;
use super::record::{Record, Writer};
use super::resting::Resting;
use super::rows::read_all;
use super::status::Status;
use super::vfs::Vfs;
use super::worker::{Beginning, Chunk, Order, Worker, add};
use super::{Clocks, Notify, Set, Settings, Stamp, Store};
use crate::broker::effect::SessionId;
use crate::broker::{Restored, Time};
use crate::mqtt::Qos;

/// What a store is made of.
pub struct Parts {
    /// Where the journal is; made if it is not there.
    pub directory: PathBuf,
    /// What the configuration says.
    pub settings: Settings,
    /// What is under SQLite.
    pub vfs: &'static Vfs,
    /// The number of a new database: chance.
    pub seed: u64,
    /// The number of the present boot.
    pub boot: u64,
    /// The boot clock, in milliseconds.
    pub boot_ms: fn() -> u64,
    /// The date in seconds since 1970, if the machine knows it.
    pub wall_s: fn() -> Option<u64>,
}

/// A store that is not yet running.
pub struct Recovery {
    settings: Settings,
    place: Place,
    directory: PathBuf,
    clocks: Clocks,
    database: Option<Database>,
    /// Where the state is, if the database lacks some of it or cannot be opened.
    memory: Option<Database>,
    /// What only the journal has.
    chunks: Vec<Chunk>,
    leftovers: Vec<Leftover>,
    store: u64,
    applied: u64,
    last: u64,
    failing: Option<String>,
    lock: File,
}

/// A segment of the time before.
#[derive(Debug)]
struct Leftover {
    number: u64,
    header: Header,
    end: u64,
    count: u64,
}

/// Finds out what is there. What cannot be used is said in the log.
///
/// # Errors
/// Another process keeps its state in the same place, or the place cannot be made: nothing can be kept.
pub fn recover(parts: Parts) -> io::Result<Recovery> {
    let directory = parts.directory;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    let lock = lock(&directory)?;
    let mut failing = None;
    let place = Place {
        path: parts.settings.path.clone(),
        vfs: parts.vfs,
        scratch: directory.join("reading"),
    };
    take_kept(&place.path);
    let is_as_closed = closed::take(&directory, &place.path);
    let (database, memory) = match Database::open(&place, parts.seed, is_as_closed) {
        Ok(opened) => {
            let said = opened.said.iter();
            said.for_each(|said| log::warn!("store: {said}"));
            (Some(opened.database), None)
        }
        Err(why) => {
            failing = Some(why.to_string());
            // What can only be read is gone on from all the same.
            let memory = Database::in_memory(&place, parts.seed);
            let memory = memory.inspect_err(|error| log::error!("store: {error}"));
            (None, memory.ok())
        }
    };
    let readable = database.as_ref().or(memory.as_ref());
    let state = readable.map(Database::state);
    let of = state.map(|state| (state.store, state.applied == 0));
    let (leftovers, chunks) = read_journal(&directory, of)?;
    let boot_ms = (parts.boot_ms)();
    let clock = Clock {
        boot: parts.boot,
        offset_ms: offset(
            parts.boot,
            boot_ms,
            (parts.wall_s)(),
            leftovers.iter().rev().map(|leftover| leftover.header.clock),
            state.map(|state| state.stamp).unwrap_or_default(),
        ),
    };
    let applied = state.map_or(0, |state| state.applied);
    let mut recovery = Recovery {
        store: state.map_or(parts.seed, |state| state.store),
        last: super::worker::last_of(&chunks).unwrap_or(0).max(applied),
        settings: parts.settings,
        place,
        directory,
        clocks: Clocks {
            clock,
            boot_ms: parts.boot_ms,
            wall_s: parts.wall_s,
        },
        database,
        memory,
        chunks,
        leftovers,
        applied,
        failing,
        lock,
    };
    recovery.catch_up(parts.seed);
    Ok(recovery)
}

/// Where a copy of a database is that waits for the next start: one that came through an upgrade of the system.
pub fn kept(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".kept");
    PathBuf::from(name)
}

/// Makes the copy that was kept the database, where there is none. Beside a database it has had its time: it would come back when the
/// database is gone.
fn take_kept(path: &Path) {
    let kept = kept(path);
    if !kept.is_file() {
        return;
    }
    let (done, what) = match path.symlink_metadata() {
        Ok(_) => (fs::remove_file(&kept), "is not needed: removed"),
        Err(_) => (fs::rename(&kept, path), "is the database now"),
    };
    match done {
        Ok(()) => log::warn!("store: {}: the copy that was kept {what}", kept.display()),
        Err(error) => log::error!("store: {}: {error}", kept.display()),
    }
}

/// How long a process that is just ending may keep the place, in steps of 10 ms.
const LOCK_STEPS: u32 = 200;

/// Keeps other processes away from the journal and the database as long as the file is open.
fn lock(directory: &Path) -> io::Result<File> {
    let path = directory.join("lock");
    let mut open = File::options();
    open.write(true).create(true).truncate(false).mode(0o600);
    let file = open.custom_flags(libc::O_NOFOLLOW).open(&path)?;
    for _ in 0..LOCK_STEPS {
        // SAFETY: the descriptor is open during the call.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(file);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let what = format!(
        "{} is locked: another bus keeps its state there",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::WouldBlock, what))
}

/// The journal's segments with their records; those that another one has taken up are removed, and what is no segment is set aside.
/// `of` is the database's number, and whether it is new.
fn read_journal(
    directory: &Path,
    of: Option<(u64, bool)>,
) -> io::Result<(Vec<Leftover>, Vec<Chunk>)> {
    let is_ours = |header: Header| of.is_none_or(|(store, is_new)| is_new || header.store == store);
    let (mut leftovers, mut chunks) = (Vec::new(), Vec::new());
    let mut covered_from = u64::MAX;
    for number in journal::list(directory)?.into_iter().rev() {
        let path = journal::path(directory, number);
        let header = journal::read_header(&path).ok().flatten();
        let segment = header
            .filter(|header| is_ours(*header) && number < covered_from)
            .and_then(|header| Some((header, journal::read(&path, 0).ok()?)));
        let Some((header, content)) = segment else {
            put_away(directory, number, number >= covered_from);
            continue;
        };
        covered_from = header.covers_from;
        if content.is_torn {
            log::warn!("store: {}: the last frame was cut off", path.display());
        }
        leftovers.push(Leftover {
            number,
            header,
            end: content.end,
            count: content.count,
        });
        chunks.push(Chunk {
            first: header.first,
            count: content.count,
            compacted_to: header.compacted_to,
            records: content.records,
        });
    }
    leftovers.reverse();
    chunks.reverse();
    Ok((leftovers, chunks))
}

/// Removes a segment of which nothing is needed, and gives another name to what is no segment of this journal.
fn put_away(directory: &Path, number: u64, is_covered: bool) {
    let path = journal::path(directory, number);
    let is_empty = fs::symlink_metadata(&path).is_ok_and(|it| it.is_file() && it.len() == 0);
    let aside = directory.join(format!("foreign-{number}"));
    let done = match is_covered || is_empty {
        true => fs::remove_file(&path),
        false => fs::rename(&path, &aside),
    };
    match done {
        Err(error) => log::warn!("store: {} is in the way: {error}", path.display()),
        Ok(()) if is_covered || is_empty => {}
        Ok(()) => log::warn!(
            "store: {} is no journal of this database: it is now {}",
            path.display(),
            aside.display()
        ),
    }
}

impl Recovery {
    /// Writes to flash what it lacks, or to a copy in memory.
    fn catch_up(&mut self, seed: u64) {
        let stamp = self.clocks.stamp();
        if let Some(database) = &mut self.database {
            let written = write(database, &self.chunks, self.last, stamp);
            let Err(what) = written else {
                self.applied = self.last;
                return;
            };
            self.failing = Some(what);
            // The database may be locked by its connection, which reads it as well as another would.
            let memory = database
                .make_sure()
                .and_then(|()| database.copy_in_memory(seed));
            self.memory = memory
                .inspect_err(|error| log::error!("store: {error}"))
                .ok();
            self.applied = database.state().applied;
        }
        if let Some(memory) = &mut self.memory
            && let Err(error) = write(memory, &self.chunks, self.last, stamp)
        {
            log::error!("store: {error}");
        }
    }

    /// How the broker's time and the boot clock go together from now on.
    pub fn clock(&self) -> Clock {
        self.clocks.clock
    }

    /// Gives everything that was there. What is refused is counted and said.
    pub fn load(&self, mut give: impl FnMut(Restored<'_>) -> Result<(), &'static str>) {
        let mut refused = Refused::default();
        let mut give = |item: Restored<'_>| {
            if let Err(why) = give(item) {
                refused.note(why);
            }
        };
        if let Some(database) = self.memory.as_ref().or(self.database.as_ref())
            && let unread = read_all(database, &mut give)
            && let Some(first) = unread.first
        {
            log::error!(
                "store: {}: {} rows cannot be read, the first because of this: {first}",
                self.settings.path.display(),
                unread.count
            );
        }
        // Everything that is for flash stands in the database that was read.
        let mut span = Coalesced::new(u64::MAX);
        add(&mut span, &self.chunks, &super::write::Content::default());
        let readable = self.memory.as_ref().or(self.database.as_ref());
        let state = readable.map(Database::state);
        let numbers = state.map_or(span.numbers(), |state| state.numbers.max(span.numbers()));
        give(Restored::Numbers {
            message: numbers.message,
            session: numbers.session,
        });
        // What several hold has its body with each of them, and flash may have it too.
        let is_read = |id| readable.is_some_and(|it| it.content().holders.contains_key(&id));
        let mut given = Set::default();
        for item in span.for_tmpfs() {
            if let Some(body) = item.body
                && !is_read(body.id)
                && given.insert(body.id)
            {
                give(Restored::Message {
                    id: body.id,
                    topic: body.topic,
                    properties: body.properties,
                    payload: body.payload,
                    qos: Qos::from_bits(body.qos).unwrap_or(Qos::AtMostOnce),
                    retain: body.retain,
                    expires_at_ms: body.expires_at_ms,
                });
            }
            give_waiting(&item.record, &mut give);
        }
        if refused.count > 0 {
            log::warn!(
                "store: {} rows were not taken over, the first because {}",
                refused.count,
                refused.first
            );
        }
    }

    /// Writes a consistent copy of the database, with what only the journal has for it, into a file that is empty.
    pub fn copy_to(&self, path: &Path) -> Result<(), String> {
        let database = self.memory.as_ref().or(self.database.as_ref());
        let database = database.ok_or("there is no database")?;
        database.copy_to(path).map_err(|error| error.to_string())
    }

    /// Begins the store's thread, which says by `notify` what the event loop has to know.
    pub fn start(self, notify: Notify) -> io::Result<Store> {
        let (mut store, worker, orders) = self.begin(notify);
        let thread = std::thread::Builder::new()
            .name("fosquitto-store".into())
            .spawn(move || worker.run(&orders))?;
        store.thread = Some(thread);
        Ok(store)
    }

    /// Both ends of the store, before its thread runs.
    pub(super) fn begin(self, notify: Notify) -> (Store, Worker, Receiver<Order>) {
        let number = self.leftovers.last().map_or(0, |it| it.number) + 1;
        let header = super::header(self.store, self.clocks.clock, number, self.last + 1);
        let tail = Tail::begin(&self.directory, number, header)
            .inspect_err(|error| log::error!("store: {}: {error}", self.directory.display()))
            .ok();
        let is_applied = self.applied == self.last;
        if let Some(database) = &self.database {
            // Where it cannot, that only takes more memory.
            let _ = database.spare_memory();
            super::worker::give_back(usize::MAX);
        }
        let closed = self.leftovers.iter().map(|it| match is_applied {
            true => (it.number, it.end, it.header.first + it.count),
            false => (it.number, 0, it.header.first),
        });
        let (writer, mut live) = (self.rested(), Live::default());
        if writer.count() > 0 {
            // It was not told of them.
            live.lose();
        }
        let (orders, received) = mpsc::channel();
        let status = Arc::new(Mutex::new(Status::default()));
        let is_told = Arc::new(AtomicBool::new(false));
        let progress = Progress::default();
        let read = Arc::new(Mutex::new(0));
        let beginning = Beginning {
            closed: closed.collect(),
            current: tail.as_ref().map(|_| (number, self.last + 1)),
            directory: self.directory.clone(),
            settings: self.settings.clone(),
            place: self.place,
            database: self.database,
            store: self.store,
            applied: self.applied,
            clocks: self.clocks,
            status: status.clone(),
            notify,
            is_told: is_told.clone(),
            progress: progress.clone(),
            read: read.clone(),
            failing: self.failing,
        };
        let mut store = Store {
            settings: self.settings,
            store: self.store,
            clock: self.clocks.clock,
            writer,
            resting: Resting::default(),
            live,
            tail,
            directory: self.directory,
            segment: number,
            lead: Lead::new(progress, number),
            read,
            last: self.last,
            journal_bytes: 0,
            is_urgent: false,
            orders,
            is_told,
            status,
            _lock: self.lock,
            thread: None,
        };
        // What rested has done so.
        store.end_turn();
        (store, Worker::new(beginning), received)
    }

    /// Says the retained messages that rested when the program ended, as such that are for flash.
    fn rested(&self) -> Writer {
        let mut span = Coalesced::new(u64::MAX);
        add(&mut span, &self.chunks, &super::write::Content::default());
        let mut writer = Writer::default();
        for item in span.for_tmpfs() {
            if let (Record::Resting { topic, message }, Some(body)) = (&item.record, item.body) {
                writer.record(&Record::Body(body));
                writer.record(&Record::Retained {
                    topic,
                    message: *message,
                });
            }
        }
        writer
    }
}

fn write(database: &mut Database, chunks: &[Chunk], last: u64, stamp: Stamp) -> Result<(), String> {
    let mut span = Coalesced::new(database.state().applied);
    add(&mut span, chunks, database.content());
    let written = database.write(&span, last, stamp);
    written.map(drop).map_err(|error| error.to_string())
}

/// What the broker did not take.
#[derive(Default)]
struct Refused {
    count: usize,
    first: &'static str,
}

impl Refused {
    fn note(&mut self, why: &'static str) {
        if self.count == 0 {
            self.first = why;
        }
        self.count += 1;
    }
}

/// Gives what waits on tmpfs only.
fn give_waiting(record: &Record<'_>, give: &mut impl FnMut(Restored<'_>)) {
    match *record {
        Record::Queued {
            session,
            message,
            retain,
            ref with,
            ..
        } => {
            let with = with.as_deref();
            give(Restored::Queued {
                session: SessionId(session),
                message,
                qos: Qos::AtMostOnce,
                retain,
                subscription_ids: with.map_or(&[], |with| &with.subscription_ids),
                share: with.and_then(|with| with.share),
                packet_id: None,
            });
        }
        Record::Resting { message, .. } => give(Restored::Retained { message }),
        Record::Kept {
            message,
            publisher,
            until_ms,
        } => give(Restored::Kept {
            message,
            publisher: publisher.map(SessionId),
            until: Time(until_ms),
        }),
        _ => {}
    }
}
