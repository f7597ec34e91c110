//! The database on flash: opened, salvaged where it is damaged, read at start, and written a span at a time.
//!
//! Entered by [`Database::open`]. What a router's flash asks for is settled here: `locking_mode=EXCLUSIVE` comes first, without which a
//! write-ahead log cannot work on JFFS2; the log is proved by the first write and a rollback journal taken where it fails; the
//! number of pages has a ceiling, because a full flash file system cannot even delete.
//!
//! A file that cannot be used is never deleted: it is set aside under another name, and what can be read of it goes into a
//! new one. It decides nothing about when to write; that is the [`worker`](super::worker)'s matter.

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::aside::{LOGS, create, has_log, look_at, set_aside, set_aside_whole, with_suffix};
use super::coalesce::{Coalesced, Numbers};
use super::journal::Clock;
use super::reader::Reader;
use super::salvage::{copy, mend};
use super::schema;
use super::vfs::Vfs;
use super::write::{Changes, Content, topic_hash};

/// Bytes of a page: with 1024, a transaction of a few small rows writes about half of what it writes with SQLite's 4096.
const PAGE_BYTES: u32 = 1024;

/// The log is copied back into the database when it has so many pages.
const LOG_PAGES: u32 = 256;

/// Where a database is.
#[derive(Clone)]
pub struct Place {
    /// Its file.
    pub path: PathBuf,
    /// What is under SQLite.
    pub vfs: &'static Vfs,
    /// A folder in memory; made where it is needed, and removed.
    pub scratch: PathBuf,
}

/// The database.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    content: Content,
    state: State,
    /// Whether a write has failed since the state was known.
    is_in_doubt: bool,
}

/// The row that says how far the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The database's own number.
    pub store: u64,
    /// The number of the last record that it has.
    pub applied: u64,
    /// The highest numbers that the broker gave.
    pub numbers: Numbers,
    /// When that was.
    pub stamp: Stamp,
}

/// A moment, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The broker's time in milliseconds.
    pub time_ms: u64,
    /// The date in seconds since 1970, if the machine knew it.
    pub wall_s: Option<u64>,
    /// The boot, and what its clock lacks.
    pub clock: Clock,
}

/// Why the database is not used as it stands.
#[derive(Debug)]
pub enum Unusable {
    /// It is not there to be used, or not for this program: a missing folder, a link, permissions, a read-only file system.
    Inaccessible(String),
    /// SQLite, or a file system below it, failed.
    Failed(rusqlite::Error),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Inaccessible(what) => f.write_str(what),
            Unusable::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        Unusable::Failed(error)
    }
}

/// A database, and what was said on the way to it.
pub struct Opened {
    /// The database.
    pub database: Database,
    /// What its owner should know, each a sentence.
    pub said: Vec<String>,
}

impl Database {
    /// Opens the database of a path, and makes one where there is none. `seed` is the number of a new one. One that is known to be as it was
    /// closed is not looked through.
    pub fn open(place: &Place, seed: u64, is_as_closed: bool) -> Result<Opened, Unusable> {
        let (mut said, path) = (Vec::new(), place.path.as_path());
        look_at(path)?;
        if !path.exists() {
            let logs = LOGS.map(|suffix| with_suffix(path, suffix));
            for log in logs.into_iter().filter(|log| log.exists()) {
                let aside = set_aside(&log, "orphaned")?;
                said.push(format!(
                    "there is no database to {}: it is now {}",
                    log.display(),
                    aside.display()
                ));
            }
            create(path)?;
        }
        let is_known = is_as_closed && !has_log(path);
        let database = match Database::open_sound(place, seed, is_known) {
            Ok(database) => database,
            Err(why) => {
                let why = unless_only_inaccessible(why)?;
                let (database, what) = replace(place, seed, why)?;
                said.push(what);
                database
            }
        };
        Ok(Opened { database, said })
    }

    /// Opens a database that is this program's, of this version or an earlier one, and undamaged.
    fn open_sound(place: &Place, seed: u64, is_known: bool) -> Result<Database, NotSound> {
        let connection = connect(place)?;
        examine(&connection)?;
        // The size of pages counts only before the first.
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        schema::prepare(&connection, seed)?;
        if !schema::is_whole(&connection)? {
            return Err(NotSound::Damaged("its tables are others".to_owned()));
        }
        if !is_known {
            look_through(&connection)?;
        }
        let state = read_state(&connection)?;
        settle(&connection)?;
        shrink(&connection)?;
        Ok(Database {
            content: read_content(&connection)?,
            connection,
            state,
            is_in_doubt: false,
        })
    }

    /// A database in memory, with the content of the one of a path as far as that can be read.
    pub fn in_memory(place: &Place, seed: u64) -> rusqlite::Result<Database> {
        // What is no plain file is not looked into.
        let source = look_at(&place.path)
            .ok()
            .and_then(|()| Reader::of(&place.path, place).ok());
        Database::memory_of(source.as_ref().map(Reader::connection), seed)
    }

    /// The same content in memory.
    pub fn copy_in_memory(&self, seed: u64) -> rusqlite::Result<Database> {
        Database::memory_of(Some(&self.connection), seed)
    }

    fn memory_of(source: Option<&Connection>, seed: u64) -> rusqlite::Result<Database> {
        let connection = Connection::open_in_memory()?;
        schema::prepare(&connection, seed)?;
        if let Some(source) = source {
            copy(source, &connection);
            mend(&connection)?;
        }
        Ok(Database {
            state: read_state(&connection)?,
            content: read_content(&connection)?,
            connection,
            is_in_doubt: false,
        })
    }

    /// Lets go what reading all of it has kept in memory, which a start does more than once: from now on little is read.
    pub fn spare_memory(&self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "cache_size", -256)
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// What it holds, in numbers.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The connection, for reading.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Finds out whether a write that failed has happened all the same: a commit can fail after its last write. The caller MUST look at
    /// [`Database::state`] again before it writes.
    ///
    /// # Errors
    /// It cannot be read either, so that it is still in doubt.
    pub fn make_sure(&mut self) -> rusqlite::Result<()> {
        if self.is_in_doubt {
            let (state, content) = (
                read_state(&self.connection)?,
                read_content(&self.connection)?,
            );
            // A span that changed nothing was not written.
            let applied = self.state.applied.max(state.applied);
            self.state = State { applied, ..state };
            self.content = content;
            self.is_in_doubt = false;
        }
        Ok(())
    }

    /// Whether a write has failed since and nobody could find out whether it happened.
    pub fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// Writes what is left of a span, whose last record has the number `applied`, in one transaction; the rows that it changed. Where
    /// there is nothing to write, nothing is written. After an error, [`Database::make_sure`] says how far the database is.
    pub fn write(
        &mut self,
        span: &Coalesced<'_>,
        applied: u64,
        stamp: Stamp,
    ) -> rusqlite::Result<usize> {
        let written = self.try_to_write(span, applied, stamp);
        self.is_in_doubt |= written.is_err();
        written
    }

    fn try_to_write(
        &mut self,
        span: &Coalesced<'_>,
        applied: u64,
        stamp: Stamp,
    ) -> rusqlite::Result<usize> {
        let transaction = self.connection.unchecked_transaction()?;
        let mut changes = Changes::new(&transaction, &self.content);
        for item in span.for_flash() {
            changes.apply(&item)?;
        }
        let outcome = changes.finish()?;
        let rows = outcome.rows;
        if rows > 0 {
            let state = State {
                applied,
                numbers: self.state.numbers.max(span.numbers()),
                stamp,
                ..self.state
            };
            write_state(&transaction, &state, outcome.position())?;
            transaction.commit()?;
            self.state = state;
            self.content.follow(outcome);
        } else {
            transaction.rollback()?;
            self.state.applied = applied;
        }
        Ok(rows)
    }

    /// Notes the time at the end of the program, so that lifetimes go on from there.
    pub fn stamp(&mut self, stamp: Stamp) -> rusqlite::Result<()> {
        self.state.stamp = stamp;
        write_state(&self.connection, &self.state, self.content.position)
    }

    /// Allows the file so many bytes. What is in it stays.
    pub fn set_size_max(&self, bytes: u64) -> rusqlite::Result<()> {
        let pages = (bytes / u64::from(PAGE_BYTES)).clamp(16, u64::from(u32::MAX >> 1));
        self.connection
            .pragma_update(None, "max_page_count", pages as u32)
    }

    /// Writes a consistent copy into a new file.
    pub fn copy_to(&self, path: &Path) -> rusqlite::Result<()> {
        self.connection
            .execute("VACUUM INTO ?", [path.to_string_lossy().as_ref()])?;
        Ok(())
    }

    /// Copies the log into the database, so that one file has all.
    pub fn close(self) -> Result<(), rusqlite::Error> {
        self.connection.close().map_err(|(_, error)| error)
    }
}

/// Why a file is not opened as it is.
enum NotSound {
    Foreign,
    Newer(i32),
    Damaged(String),
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for NotSound {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                NotSound::Damaged(error.to_string())
            }
            // A schema of ours with a table missing, or a value of another type, is damage too.
            None => NotSound::Damaged(error.to_string()),
            Some(ErrorCode::Unknown) => NotSound::Damaged(error.to_string()),
            _ => NotSound::Failed(error),
        }
    }
}

fn unless_only_inaccessible(why: NotSound) -> Result<NotSound, Unusable> {
    match why {
        NotSound::Failed(error) => Err(Unusable::Failed(error)),
        why => Ok(why),
    }
}

/// Sets a file aside that is no sound database of this program, and makes a new one of what can be read in it.
fn replace(place: &Place, seed: u64, why: NotSound) -> Result<(Database, String), Unusable> {
    let path = place.path.as_path();
    let (kind, what) = match &why {
        NotSound::Foreign => ("foreign", "belongs to another program".to_owned()),
        NotSound::Newer(version) => (
            "newer",
            format!("was written by a later version (its format is {version})"),
        ),
        NotSound::Damaged(what) => ("corrupt", format!("is damaged ({what})")),
        NotSound::Failed(error) => ("corrupt", error.to_string()),
    };
    let aside = set_aside_whole(path, kind)?;
    create(path)?;
    let mut database = Database::open_sound(place, seed, false).map_err(|why| match why {
        NotSound::Failed(error) => Unusable::Failed(error),
        NotSound::Damaged(what) => Unusable::Inaccessible(what),
        NotSound::Foreign | NotSound::Newer(_) => Unusable::Inaccessible(format!(
            "{} was replaced by another program",
            path.display()
        )),
    })?;
    let mut salvaged = 0;
    if matches!(why, NotSound::Damaged(_))
        && let Ok(source) = Reader::of(&aside, place)
    {
        salvaged = copy(source.connection(), &database.connection);
        mend(&database.connection)?;
        database.state = read_state(&database.connection)?;
        database.content = read_content(&database.connection)?;
    }
    let what = format!(
        "{} {what}: it is now {}, and a new database has {salvaged} rows of it",
        path.display(),
        aside.display()
    );
    Ok((database, what))
}

fn connect(place: &Place) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect_by(&place.path, place.vfs, flags)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

pub fn connect_by(path: &Path, vfs: &Vfs, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags_and_vfs(path, flags, vfs.name())?;
    // Before anything else: with it the log needs no shared memory, which JFFS2 cannot map.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    Ok(connection)
}

/// Whether all pages of the database are sound.
fn look_through(connection: &Connection) -> Result<(), NotSound> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match found.as_str() {
        "ok" => Ok(()),
        // It is a list of lines.
        lines => Err(NotSound::Damaged(lines.replace('\n', " "))),
    }
}

/// Whether the database is this program's, of a version that it knows.
fn examine(connection: &Connection) -> Result<(), NotSound> {
    let number = |name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0))
    };
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let (application, version) = (number("application_id")?, number("user_version")?);
    match (application, version) {
        (0, 0) if tables == 0 => Ok(()),
        (schema::APPLICATION_ID, version) if version > schema::VERSION => {
            Err(NotSound::Newer(version))
        }
        (schema::APPLICATION_ID, _) => Ok(()),
        _ => Err(NotSound::Foreign),
    }
}

/// How it is written from now on: with a log that is synced at each commit, or, where that does not work, with a rollback journal.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 10)?;
    let set = |mode: &str| {
        connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |row| {
            row.get::<_, String>(0)
        })
    };
    // It changes nothing and is written all the same.
    let proof = || connection.execute("UPDATE state SET id = id", []);
    match set("WAL") {
        Ok(mode) if mode == "wal" && proof().is_ok() => return Ok(()),
        _ => set("TRUNCATE")?,
    };
    // Where the last step of the change fails, SQLite names the new mode and goes on in the old one.
    proof().map(drop)
}

/// Gives pages back that nothing is in, where they are most of a large file. Nothing does so while the bus runs: free pages are used
/// again, and a list of where each page belongs would cost an eighth more at every write.
fn shrink(connection: &Connection) -> rusqlite::Result<()> {
    const WORTH_IT_PAGES: u32 = 1024;
    let number = |name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, u32>(0))
    };
    let (all, free) = (number("page_count")?, number("freelist_count")?);
    if all > WORTH_IT_PAGES && free > all / 4 * 3 {
        connection.execute_batch("VACUUM")?;
    }
    Ok(())
}

fn read_state(connection: &Connection) -> rusqlite::Result<State> {
    let sql =
        "SELECT store, applied, time_ms, wall_s, boot, offset_ms, message, session FROM state";
    connection.query_row(sql, [], |row| {
        Ok(State {
            store: row.get::<_, i64>(0)? as u64,
            applied: row.get::<_, i64>(1)? as u64,
            numbers: Numbers {
                message: row.get::<_, i64>(6)? as u64,
                session: row.get::<_, i64>(7)? as u64,
            },
            stamp: Stamp {
                time_ms: row.get::<_, i64>(2)? as u64,
                wall_s: row.get::<_, Option<i64>>(3)?.map(|s| s as u64),
                clock: Clock {
                    boot: row.get::<_, i64>(4)? as u64,
                    offset_ms: row.get::<_, i64>(5)? as u64,
                },
            },
        })
    })
}

fn write_state(connection: &Connection, state: &State, position: i64) -> rusqlite::Result<()> {
    let stamp = state.stamp;
    connection
        .prepare_cached(
            "UPDATE state SET applied = ?, position = ?, time_ms = ?, wall_s = ?, boot = ?, offset_ms = ?,
             message = ?, session = ?",
        )?
        .execute(rusqlite::params![
            state.applied as i64,
            position,
            stamp.time_ms as i64,
            stamp.wall_s.map(|s| s as i64),
            stamp.clock.boot as i64,
            stamp.clock.offset_ms as i64,
            state.numbers.message as i64,
            state.numbers.session as i64,
        ])?;
    Ok(())
}

fn read_content(connection: &Connection) -> rusqlite::Result<Content> {
    let mut content = Content::default();
    read_messages(connection, &mut content)?;
    let deliveries = "SELECT message, session, packet_id FROM delivery";
    let mut statement = connection.prepare(deliveries)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // A number that flash has changed may be that of a message which is still to come.
        let message: i64 = row.get(0)?;
        if content.holders.contains_key(&(message as u64)) {
            content.has_delivery(message, row.get(1)?, row.get(2)?);
        }
    }
    let wills = "SELECT will_message FROM session WHERE will_message IS NOT NULL";
    let mut statement = connection.prepare(wills)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let message: i64 = row.get(0)?;
        if let Some(holders) = content.holders.get_mut(&(message as u64)) {
            *holders += 1;
        }
    }
    let position: i64 = connection.query_row(
        "SELECT max(position, (SELECT ifnull(max(position), 0) FROM delivery),
         (SELECT ifnull(max(position), 0) FROM release)) FROM state",
        [],
        |row| row.get(0),
    )?;
    content.position = content.position.max(position);
    Ok(content)
}

/// What the rows of messages say, in one pass: they are most of a database.
fn read_messages(connection: &Connection, content: &mut Content) -> rusqlite::Result<()> {
    let sql = "SELECT id, session, packet_id, position, retained, topic FROM message";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let message: i64 = row.get(0)?;
        content.holders.entry(message as u64).or_default();
        if let Some(session) = row.get(1)? {
            content.has_delivery(message, session, row.get(2)?);
        }
        let position = row.get::<_, Option<i64>>(3)?;
        content.position = content.position.max(position.unwrap_or(0));
        if row.get(4)? {
            *content.holders.entry(message as u64).or_default() += 1;
            let hash = topic_hash(row.get_ref(5)?.as_str()?);
            content.retained.insert(hash, message as u64);
        }
    }
    Ok(())
}
