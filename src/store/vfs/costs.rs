//! What a thousand messages cost in bytes and syncs, by journal mode, page size, room for the WAL, and order of the keys.
//!
//! The tests hold what the choice of pragmas and keys rests on; `figures`, which is run by hand, prints the tables that
//! stand in [`crate::store::vfs`]. What a file system makes of it is reckoned, not measured ([`Flash`]).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, OpenFlags};

use super::{Action, Counts, Failure, Kind, Layer, Vfs};
use crate::store::folder::Folder;

/// Messages that fill the database before those that count.
const BEFORE: i64 = 1000;
/// Messages of a transaction, as many as a client may have in flight.
const GROUP: i64 = 20;
/// How many messages later one is taken from its queue.
const LATE: i64 = 400;

/// A message once and who must get it, by session or in the order of arrival; or both in one row; and retained messages by their topic or by a number.
const SCHEMA: &str = "
    CREATE TABLE message (id INTEGER PRIMARY KEY, topic TEXT, properties BLOB, payload BLOB, qos INTEGER, expiry INTEGER);
    CREATE TABLE by_session (session INTEGER, number INTEGER, packet_id INTEGER, message INTEGER, state INTEGER,
        PRIMARY KEY (session, number)) WITHOUT ROWID;
    CREATE TABLE by_arrival (number INTEGER PRIMARY KEY, session INTEGER, packet_id INTEGER, message INTEGER, state INTEGER);
    CREATE TABLE queued (id INTEGER PRIMARY KEY, topic TEXT, properties BLOB, payload BLOB, qos INTEGER, expiry INTEGER,
        session INTEGER, packet_id INTEGER, state INTEGER);
    CREATE TABLE retained_by_number (id INTEGER PRIMARY KEY, topic TEXT, properties BLOB, payload BLOB, qos INTEGER, expiry INTEGER);
    CREATE TABLE retained (topic TEXT PRIMARY KEY, properties BLOB, payload BLOB, qos INTEGER, expiry INTEGER) WITHOUT ROWID;
    CREATE TABLE progress (sequence INTEGER);
    INSERT INTO progress VALUES (0);";

#[derive(Debug, Clone, Copy)]
struct Setup {
    mode: &'static str,
    page_size: u64,
    /// Bytes of WAL after which a checkpoint is made.
    checkpoint: u64,
    auto_vacuum: &'static str,
    group: i64,
    /// Thousands of messages that count: more than one, as it matters where in a run a checkpoint falls.
    thousands: u64,
}

const WAL_1024: Setup = Setup {
    mode: "WAL",
    page_size: 1024,
    checkpoint: 256 << 10,
    auto_vacuum: "NONE",
    group: GROUP,
    thousands: 2,
};

/// What a run cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    counts: Counts,
    flash: Reckoned,
    transactions: u64,
    thousands: u64,
    /// The most bytes that the WAL had.
    wal_max: u64,
    database: u64,
}

/// Bytes that get to flash, without compression.
#[derive(Debug, Clone, Copy, Default)]
struct Reckoned {
    jffs2: u64,
    ubifs: u64,
}

/// Reckons what file systems write. JFFS2 writes a node with a header of 68 bytes for each piece of a write that lies in one block of 4,096 bytes,
/// and the whole block if the piece ends it. UBIFS, with sync after sync, writes each block that was touched in between, with a header of 48 bytes.
#[derive(Debug, Default)]
struct Flash(Mutex<(Reckoned, BTreeSet<(PathBuf, u64)>)>);

impl Flash {
    const BLOCK: u64 = 4096;

    fn reckoned(&self) -> Reckoned {
        self.0.lock().expect("no thread panicked with it").0
    }
}

impl Layer for Flash {
    fn before(&self, path: &Path, _kind: Kind, action: Action<'_>) -> Result<(), Failure> {
        let mut state = self.0.lock().expect("no thread panicked with it");
        let (reckoned, touched) = &mut *state;
        match action {
            Action::Write { offset, data } => {
                let (mut from, end) = (offset, offset + data.len() as u64);
                while from < end {
                    let block = from / Self::BLOCK;
                    let to = end.min((block + 1) * Self::BLOCK);
                    let whole = to % Self::BLOCK == 0;
                    reckoned.jffs2 += 68 + if whole { Self::BLOCK } else { to - from };
                    touched.insert((path.to_owned(), block));
                    from = to;
                }
            }
            Action::Truncate { .. } => reckoned.jffs2 += 68,
            Action::Sync => {
                let before = touched.len();
                touched.retain(|(other, _)| other != path);
                reckoned.ubifs += (before - touched.len()) as u64 * (Self::BLOCK + 48);
            }
            Action::Open { .. } | Action::Read { .. } | Action::Delete { .. } => {}
        }
        Ok(())
    }
}

fn open(folder: &Folder, vfs: &Vfs, setup: Setup) -> Connection {
    let path = folder.path().join("fosquitto.db");
    let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), vfs.name())
        .expect("it opens");
    let Setup {
        mode,
        page_size,
        checkpoint,
        auto_vacuum,
        ..
    } = setup;
    let pages = checkpoint / (page_size + 24);
    let pragmas = format!(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size={page_size}; PRAGMA auto_vacuum={auto_vacuum};
         PRAGMA journal_mode={mode}; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint={pages};
         PRAGMA journal_size_limit={checkpoint}; PRAGMA cache_size=-256; PRAGMA temp_store=MEMORY; {SCHEMA}"
    );
    connection
        .execute_batch(&pragmas)
        .expect("the pragmas hold");
    connection
}

fn length(folder: &Folder, name: &str) -> u64 {
    std::fs::metadata(folder.path().join(name)).map_or(0, |metadata| metadata.len())
}

type Work = fn(&Connection, i64) -> rusqlite::Result<()>;

/// Gives `work` the numbers of some thousand messages, in transactions.
fn run(setup: Setup, work: Work) -> Cost {
    let folder = Folder::make();
    let flash = Arc::new(Flash::default());
    let vfs = Vfs::register(Some(flash.clone())).expect("a VFS can be registered");
    let mut connection = open(&folder, vfs, setup);
    let (mut wal_max, mut before) = (0, (vfs.counts(), flash.reckoned()));
    let messages = BEFORE + 1000 * setup.thousands.cast_signed();
    for first in (0..messages).step_by(setup.group as usize) {
        if first == BEFORE {
            before = (vfs.counts(), flash.reckoned());
        }
        let transaction = connection.transaction().expect("a transaction begins");
        for number in first..first + setup.group {
            work(&transaction, number).expect("rows are changed");
        }
        transaction
            .execute("UPDATE progress SET sequence = sequence + 1", [])
            .expect("the number is changed");
        transaction.commit().expect("it commits");
        wal_max = wal_max.max(length(&folder, "fosquitto.db-wal"));
    }
    let reckoned = flash.reckoned();
    Cost {
        counts: super::tests::since(before.0, vfs.counts()),
        flash: Reckoned {
            jffs2: reckoned.jffs2 - before.1.jffs2,
            ubifs: reckoned.ubifs - before.1.ubifs,
        },
        thousands: setup.thousands,
        transactions: 1000 * setup.thousands / setup.group.unsigned_abs(),
        wal_max,
        database: length(&folder, "fosquitto.db"),
    }
}

/// Bytes for a thousand messages.
fn bytes(cost: Cost) -> u64 {
    cost.counts.total().bytes / cost.thousands
}

/// Text of this length that differs from number to number.
fn text(number: i64, length: usize) -> String {
    let mut state = (number.unsigned_abs() + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut text = String::new();
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text += &format!("{state:016x}");
    }
    text.truncate(length);
    text
}

/// A topic of 46 bytes and a payload of 120.
fn message(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    let topic = format!("foris-controller/notification/{}", text(number, 16));
    connection
        .prepare_cached("INSERT INTO message VALUES (?1, ?2, NULL, ?3, 1, NULL)")?
        .execute((number, topic, text(number, 120)))
        .map(drop)
}

/// A message for one of ten sessions that are away.
fn queue(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    message(connection, number)?;
    connection
        .prepare_cached("INSERT INTO by_arrival VALUES (?1, ?2, ?1, ?1, 0)")?
        .execute((number, number % 10))
        .map(drop)
}

/// The same, kept by session.
fn queue_by_session(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    message(connection, number)?;
    connection
        .prepare_cached("INSERT INTO by_session VALUES (?1, ?2, ?2, ?2, 0)")?
        .execute((number % 10, number))
        .map(drop)
}

/// The same, with its one session in the row of the message.
fn queue_in_one_row(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    let topic = format!("foris-controller/notification/{}", text(number, 16));
    connection
        .prepare_cached("INSERT INTO queued VALUES (?1, ?2, NULL, ?3, 1, NULL, ?4, ?1, 0)")?
        .execute((number, topic, text(number, 120), number % 10))
        .map(drop)
}

/// A message comes, and an older one is delivered.
fn pass(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    queue(connection, number)?;
    for table in ["by_arrival WHERE number", "message WHERE id"] {
        connection
            .prepare_cached(&format!("DELETE FROM {table} = ?1"))?
            .execute([number - LATE])?;
    }
    Ok(())
}

/// The same with one row.
fn pass_in_one_row(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    queue_in_one_row(connection, number)?;
    connection
        .prepare_cached("DELETE FROM queued WHERE id = ?1")?
        .execute([number - LATE])
        .map(drop)
}

/// One of 500 retained messages is replaced.
fn retain(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    let topic = format!("zigbee2mqtt/{}", text(number * 7 % 500, 16));
    connection
        .prepare_cached("INSERT OR REPLACE INTO retained VALUES (?1, NULL, ?2, 1, NULL)")?
        .execute((topic, text(number, 120)))
        .map(drop)
}

/// The same, found by a number that the program keeps.
fn retain_by_number(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    let topic = format!("zigbee2mqtt/{}", text(number * 7 % 500, 16));
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO retained_by_number VALUES (?1, ?2, NULL, ?3, 1, NULL)",
        )?
        .execute((number * 7 % 500, topic, text(number, 120)))
        .map(drop)
}

#[test]
fn pages_of_1024_bytes_write_about_half_of_what_pages_of_4096_do() {
    for work in [queue, pass, retain] as [Work; 3] {
        let large = Setup {
            page_size: 4096,
            ..WAL_1024
        };
        assert!(bytes(run(WAL_1024, work)) * 100 < bytes(run(large, work)) * 55);
    }
}

#[test]
fn a_wal_is_synced_once_a_transaction_and_a_journal_four_times() {
    let journal = Setup {
        mode: "TRUNCATE",
        ..WAL_1024
    };
    for work in [queue, pass, retain] as [Work; 3] {
        let (wal, journal) = (run(WAL_1024, work), run(journal, work));
        // Beyond one a transaction, a checkpoint takes three: the WAL, the database, and the WAL's new header.
        let syncs = wal.counts.total().syncs as f64 / wal.transactions as f64;
        assert!((1.0..1.4).contains(&syncs), "{syncs}");
        assert_eq!(journal.counts.total().syncs, 4 * journal.transactions);
    }
}

#[test]
fn deliveries_in_the_order_of_arrival_write_half_of_what_those_by_session_do() {
    let (arrival, session) = (run(WAL_1024, queue), run(WAL_1024, queue_by_session));
    assert!(bytes(arrival) * 2 < bytes(session) + bytes(session) / 10);
}

#[test]
fn numbers_as_keys_write_less_than_topics_do() {
    let (number, topic) = (run(WAL_1024, retain_by_number), run(WAL_1024, retain));
    assert!(bytes(number) * 100 < bytes(topic) * 75);
}

#[test]
fn a_message_with_its_one_session_in_the_same_row_writes_less_than_two_rows() {
    let (one, two) = (run(WAL_1024, queue_in_one_row), run(WAL_1024, queue));
    assert!(bytes(one) * 100 < bytes(two) * 90);
}

#[test]
fn a_wal_stays_within_its_limit_and_one_transaction() {
    for checkpoint in [64 << 10, 256 << 10] {
        let cost = run(
            Setup {
                checkpoint,
                ..WAL_1024
            },
            retain,
        );
        assert!(cost.wal_max < checkpoint + (48 << 10), "{}", cost.wal_max);
    }
}

/// What the figures are printed for.
fn setups() -> Vec<Setup> {
    let one = Setup {
        thousands: 4,
        ..WAL_1024
    };
    let mut setups = Vec::new();
    for page_size in [512, 1024, 2048, 4096] {
        for (mode, checkpoint) in [
            ("WAL", 64),
            ("WAL", 128),
            ("WAL", 256),
            ("WAL", 512),
            ("TRUNCATE", 64),
        ] {
            setups.push(Setup {
                mode,
                page_size,
                checkpoint: checkpoint << 10,
                ..one
            });
        }
    }
    for mode in ["WAL", "TRUNCATE"] {
        setups.push(Setup {
            mode,
            auto_vacuum: "INCREMENTAL",
            ..one
        });
        for page_size in [512, 1024, 4096] {
            setups.push(Setup {
                mode,
                page_size,
                group: 1,
                ..one
            });
        }
    }
    setups
}

#[test]
#[ignore = "prints figures for people"]
fn figures() {
    println!(
        "work, mode, page, checkpoint KiB, vacuum, group: KiB of log, database, both; jffs2, ubifs; writes and syncs a transaction; WAL at most, database KiB"
    );
    let works: [(&str, Work); 7] = [
        ("queue", queue),
        ("queue one", queue_in_one_row),
        ("pass one", pass_in_one_row),
        ("number", retain_by_number),
        ("by session", queue_by_session),
        ("pass", pass),
        ("retain", retain),
    ];
    let setups = setups();
    for (name, work) in works {
        for setup in &setups {
            let cost = run(*setup, work);
            let total = cost.counts.total();
            println!(
                "{name:10} {:8} {:4} {:3} {:4.4} {:2}: {:5} {:5} {:5}; {:5} {:5}; {:6.1} {:4.2}; {:3} {:3}",
                setup.mode,
                setup.page_size,
                setup.checkpoint >> 10,
                setup.auto_vacuum,
                setup.group,
                (total.bytes - cost.counts.database.bytes) / cost.thousands / 1024,
                cost.counts.database.bytes / cost.thousands / 1024,
                total.bytes / cost.thousands / 1024,
                cost.flash.jffs2 / cost.thousands / 1024,
                cost.flash.ubifs / cost.thousands / 1024,
                total.writes as f64 / cost.transactions as f64,
                total.syncs as f64 / cost.transactions as f64,
                cost.wal_max >> 10,
                cost.database >> 10,
            );
        }
    }
}
