//! The VFS under a real SQLite: what it counts, the modes that the store uses, failures, and what a transaction costs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::{Action, Counts, Failure, FileCounts, Kind, Layer, Vfs};
use crate::store::faults::Faults;
use crate::store::folder::Folder;

/// Where the database stands in a folder.
fn database(folder: &Folder) -> PathBuf {
    folder.path().join("fosquitto.db")
}

/// The length of the database's file, journal or WAL, in bytes; 0 if it is not there.
fn length(folder: &Folder, suffix: &str) -> u64 {
    let path = folder.path().join(format!("fosquitto.db{suffix}"));
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

const WAL: &str = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;";
const TRUNCATE: &str = "PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=FULL;";

fn open(path: &Path, vfs: &Vfs, pragmas: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), vfs.name())?;
    connection.execute_batch("PRAGMA locking_mode=EXCLUSIVE;")?;
    connection.execute_batch(pragmas)?;
    Ok(connection)
}

fn plain() -> &'static Vfs {
    Vfs::register(None).expect("a VFS can be registered")
}

/// What was done between two looks at the counts.
pub fn since(before: Counts, after: Counts) -> Counts {
    let less = |before: FileCounts, after: FileCounts| FileCounts {
        bytes: after.bytes - before.bytes,
        writes: after.writes - before.writes,
        syncs: after.syncs - before.syncs,
        truncates: after.truncates - before.truncates,
    };
    Counts {
        database: less(before.database, after.database),
        journal: less(before.journal, after.journal),
        wal: less(before.wal, after.wal),
        other: less(before.other, after.other),
    }
}

fn try_rows(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM message", [], |row| row.get(0))
}

fn rows(connection: &Connection) -> i64 {
    try_rows(connection).expect("the rows can be counted")
}

fn assert_whole(connection: &Connection) {
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("the check runs");
    assert_eq!(verdict, "ok");
}

#[test]
fn what_is_written_to_each_kind_of_file_is_counted() {
    let folder = Folder::make();
    let vfs = plain();
    let connection = open(&database(&folder), vfs, WAL).expect("it opens");
    connection
        .execute_batch("CREATE TABLE message (id INTEGER PRIMARY KEY, payload TEXT)")
        .expect("a table can be made");
    let before = vfs.counts();
    connection
        .execute("INSERT INTO message (payload) VALUES ('off')", [])
        .expect("a row is inserted");
    // One page is changed: its frame is a header of 24 bytes and the page, and the commit is one sync.
    let wal = FileCounts {
        bytes: 24 + 4096,
        writes: 2,
        syncs: 1,
        truncates: 0,
    };
    let after = vfs.counts();
    assert_eq!(
        since(before, after),
        Counts {
            wal,
            ..Counts::default()
        }
    );
    connection
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .expect("a checkpoint is made");
    // Page 1, with the table's definition, and page 2, with its rows, go home; the length is set as well.
    let checkpoint = since(after, vfs.counts());
    let database = FileCounts {
        bytes: 2 * 4096,
        writes: 2,
        syncs: 1,
        truncates: 1,
    };
    assert_eq!(checkpoint.database, database);
    assert_eq!((checkpoint.wal.bytes, checkpoint.wal.truncates), (0, 1));
    assert_eq!(length(&folder, ""), 2 * 4096);
    assert_eq!(length(&folder, "-wal"), 0);
    assert_eq!(vfs.counts().total().bytes, {
        let counts = vfs.counts();
        counts.database.bytes + counts.journal.bytes + counts.wal.bytes
    });
}

#[test]
fn a_rollback_journal_is_counted_as_such() {
    let folder = Folder::make();
    let vfs = plain();
    let connection = open(&database(&folder), vfs, TRUNCATE).expect("it opens");
    connection
        .execute_batch("CREATE TABLE message (id INTEGER PRIMARY KEY, payload TEXT)")
        .expect("a table can be made");
    let before = vfs.counts();
    connection
        .execute("INSERT INTO message (payload) VALUES ('off')", [])
        .expect("a row is inserted");
    let counts = since(before, vfs.counts());
    // A header, one page with its number and its checksum, and the number of pages in the header; one sync for what stands in the
    // journal, one for the number, one for its end. An exclusive lock needs no counter of changes in page 1.
    let journal = FileCounts {
        bytes: 512 + (4 + 4096 + 4) + 12,
        writes: 5,
        syncs: 3,
        truncates: 1,
    };
    assert_eq!(counts.journal, journal);
    let database = FileCounts {
        bytes: 4096,
        writes: 1,
        syncs: 1,
        truncates: 0,
    };
    assert_eq!(counts.database, database);
    assert_eq!((counts.wal, counts.other), Default::default());
}

#[test]
fn a_connection_that_does_not_lock_exclusively_gets_no_wal() {
    let folder = Folder::make();
    let connection = Connection::open_with_flags_and_vfs(
        database(&folder),
        OpenFlags::default(),
        plain().name(),
    )
    .expect("it opens");
    let mode: String = connection
        .query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))
        .expect("the pragma answers");
    assert_eq!(mode, "delete");
}

#[test]
fn a_vfs_is_not_the_default() {
    let folder = Folder::make();
    let vfs = plain();
    let connection = Connection::open(database(&folder)).expect("it opens");
    connection
        .execute_batch("CREATE TABLE message (id INTEGER PRIMARY KEY)")
        .expect("a table can be made");
    assert_eq!(vfs.counts(), Counts::default());
}

/// Set for the process that [`what_was_committed_is_there_after_a_crash`] starts: it works on this folder and dies.
const CRASHES_IN: &str = "FOSQUITTO_TEST_CRASHES_IN";

#[test]
fn what_was_committed_is_there_after_a_crash() {
    if let Some(folder) = std::env::var_os(CRASHES_IN) {
        crash(Path::new(&folder));
    }
    for (mode, pragmas) in [("wal", WAL), ("truncate", TRUNCATE)] {
        let folder = Folder::make();
        std::fs::write(folder.path().join("pragmas"), pragmas).expect("a file can be written");
        let test = std::thread::current()
            .name()
            .expect("a test's thread has its name")
            .to_owned();
        let program = std::env::current_exe().expect("the test knows itself");
        let status = Command::new(program)
            .args([test.as_str(), "--exact", "--test-threads=1"])
            .env(CRASHES_IN, folder.path())
            .output()
            .expect("the process runs")
            .status;
        assert!(!status.success(), "it died: {status}");
        let left = length(&folder, if mode == "wal" { "-wal" } else { "-journal" });
        assert!(left > 0, "{mode}: it left its log behind");
        let connection = open(&database(&folder), plain(), pragmas).expect("it opens again");
        assert_eq!(rows(&connection), 7, "{mode}");
        assert_whole(&connection);
        let mode_now: String = connection
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))
            .expect("the pragma answers");
        assert_eq!(mode_now, mode);
        connection
            .execute("INSERT INTO message VALUES (100, NULL)", [])
            .expect("it can be written to");
    }
}

/// Commits seven rows and dies in the middle of the next transaction, when part of it has been written out.
fn crash(folder: &Path) -> ! {
    let pragmas = std::fs::read_to_string(folder.join("pragmas")).expect("a file can be read");
    let pragmas = format!("{pragmas} PRAGMA cache_size=4;");
    let connection = open(&folder.join("fosquitto.db"), plain(), &pragmas).expect("it opens");
    connection
        .execute_batch("CREATE TABLE message (id INTEGER PRIMARY KEY, payload BLOB)")
        .expect("a table can be made");
    let insert = "INSERT INTO message VALUES (?1, zeroblob(3000))";
    for id in 0..7 {
        connection.execute(insert, [id]).expect("a row is inserted");
    }
    connection
        .execute_batch("BEGIN")
        .expect("a transaction begins");
    for id in 7..40 {
        connection.execute(insert, [id]).expect("a row is inserted");
    }
    std::process::abort();
}

/// How many rows a transaction of [`work`] adds.
const ROWS: i64 = 4;

/// Ten transactions.
fn work(connection: &mut Connection, committed: &mut i64) -> rusqlite::Result<()> {
    for _ in 0..10 {
        let transaction = connection.transaction()?;
        for _ in 0..ROWS {
            transaction.execute("INSERT INTO message (payload) VALUES (zeroblob(900))", [])?;
        }
        transaction.commit()?;
        *committed += ROWS;
    }
    Ok(())
}

/// Lets `count` changes of some work fail, beginning with each in turn, and works on when the disk is well again.
fn fail_everywhere(mode: &str, pragmas: &str, count: usize, code: i32, expected: &[ErrorCode]) {
    let (mut first, mut failures) = (0, 0);
    loop {
        let folder = Folder::make();
        let faults = Arc::new(Faults::default());
        let vfs = Vfs::register(Some(faults.clone())).expect("a VFS can be registered");
        let pragmas = format!("{pragmas} PRAGMA wal_autocheckpoint=16;");
        let mut connection = open(&database(&folder), vfs, &pragmas).expect("it opens");
        connection
            .execute_batch("CREATE TABLE message (id INTEGER PRIMARY KEY, payload BLOB)")
            .expect("a table can be made");
        faults.fail(first..first.saturating_add(count), code);
        let mut committed = 0;
        let result = work(&mut connection, &mut committed);
        if faults.failed() == 0 {
            assert!(failures > 10, "there were changes to fail at: {failures}");
            return;
        }
        let place = format!("{mode}, code {code}, {count} from change {first}");
        let failed = result.is_err();
        if let Err(error) = result {
            let code = error.sqlite_error_code();
            assert!(
                code.is_some_and(|code| expected.contains(&code)),
                "{place}: {error}"
            );
            failures += 1;
        }
        // A journal that cannot be played back makes reading fail as well. A commit whose last sync failed may have happened.
        let whole = [committed, committed + i64::from(failed) * ROWS];
        if let Ok(rows) = try_rows(&connection) {
            assert!(whole.contains(&rows), "{place}: {rows}, while it fails");
        }
        faults.heal();
        committed = rows(&connection);
        assert!(whole.contains(&committed), "{place}: {committed}");
        work(&mut connection, &mut committed).expect("the disk is well again");
        assert_eq!(rows(&connection), committed, "{place}: when it is well");
        assert_whole(&connection);
        drop(connection);
        let connection = open(&database(&folder), plain(), &pragmas).expect("it opens again");
        assert_eq!(rows(&connection), committed, "{place}: in another process");
        assert_whole(&connection);
        first += 1;
    }
}

#[test]
fn a_full_disk_is_told_at_every_change_and_got_over() {
    let expected = [ErrorCode::DiskFull];
    fail_everywhere("wal", WAL, usize::MAX, ffi::SQLITE_FULL, &expected);
    fail_everywhere(
        "truncate",
        TRUNCATE,
        usize::MAX,
        ffi::SQLITE_FULL,
        &expected,
    );
}

#[test]
fn a_failing_disk_is_told_at_every_change_and_got_over() {
    let expected = [ErrorCode::SystemIoFailure];
    let (write, sync) = (ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_FSYNC);
    fail_everywhere("wal", WAL, usize::MAX, write, &expected);
    fail_everywhere("truncate", TRUNCATE, usize::MAX, sync, &expected);
}

#[test]
fn one_change_that_fails_is_told_and_got_over() {
    let expected = [ErrorCode::SystemIoFailure];
    fail_everywhere("wal", WAL, 1, ffi::SQLITE_IOERR_WRITE, &expected);
    fail_everywhere("truncate", TRUNCATE, 1, ffi::SQLITE_IOERR_WRITE, &expected);
}

/// A layer that panics at the first write.
struct Panics;

impl Layer for Panics {
    fn before(&self, _path: &Path, _kind: Kind, action: Action<'_>) -> Result<(), Failure> {
        assert!(!matches!(action, Action::Write { .. }), "meant to happen");
        Ok(())
    }
}

#[test]
fn a_panic_of_a_layer_is_an_error_of_the_disk() {
    let folder = Folder::make();
    let vfs = Vfs::register(Some(Arc::new(Panics))).expect("a VFS can be registered");
    let connection = open(&database(&folder), vfs, TRUNCATE).expect("it opens");
    let error = connection
        .execute_batch("CREATE TABLE message (id INTEGER PRIMARY KEY)")
        .expect_err("it cannot be written");
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure));
}
