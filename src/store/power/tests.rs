//! Power cuts at every operation of SQLite, in the modes that the store uses; and with syncs left out, so that they can be seen to fail.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use super::{Disk, Recorder};
use crate::store::folder::Folder;
use crate::store::vfs::Vfs;

const ROWS: i64 = 5;

fn open(folder: &Path, vfs: &Vfs, pragmas: &str) -> rusqlite::Result<Connection> {
    let path = folder.join("fosquitto.db");
    let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), vfs.name())?;
    // The size of a page counts for a new database only, and before its mode is set.
    let first = "PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size=1024;";
    connection.execute_batch(&format!("{first} {pragmas}"))?;
    Ok(connection)
}

/// Works on a database, and gives for each transaction the number of steps after which it was acknowledged.
fn work(recorder: &Arc<Recorder>, pragmas: &str) -> Vec<usize> {
    let folder = Folder::make();
    let vfs = Vfs::register(Some(recorder.clone())).expect("a VFS can be registered");
    let mut connection = open(folder.path(), vfs, pragmas).expect("it opens");
    connection
        .execute_batch("CREATE TABLE message (number INTEGER, row INTEGER, payload BLOB, PRIMARY KEY (number, row)) WITHOUT ROWID")
        .expect("a table can be made");
    let mut acknowledged = Vec::new();
    for number in 0..10_i64 {
        if number == 6 {
            // An orderly end and a new beginning, which removes the WAL and makes it again.
            drop(connection);
            connection = open(folder.path(), vfs, pragmas).expect("it opens");
        }
        let transaction = connection.transaction().expect("a transaction begins");
        for row in 0..ROWS {
            let payload = vec![u8::try_from(number).expect("it is small"); 300];
            transaction
                .execute(
                    "INSERT INTO message VALUES (?1, ?2, ?3)",
                    (number, row, payload),
                )
                .expect("a row is inserted");
        }
        // Pages come free and are used again, so that writes over old content are among the cuts.
        transaction
            .execute(
                "UPDATE message SET payload = zeroblob(40) WHERE number = ?1",
                [number - 4],
            )
            .expect("rows are changed");
        transaction.commit().expect("it commits");
        acknowledged.push(recorder.steps());
    }
    acknowledged
}

/// The transactions that are whole in the database of a folder. Fails if one is there in part, or one is missing before another.
fn whole_transactions(folder: &Path, vfs: &Vfs) -> Result<usize, String> {
    let read = || -> rusqlite::Result<(String, Vec<i64>)> {
        let connection = open(folder, vfs, "PRAGMA synchronous=OFF;")?;
        let verdict = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        let exists = "SELECT count(*) FROM sqlite_master WHERE name = 'message'";
        if connection.query_row(exists, [], |row| row.get::<_, i64>(0))? == 0 {
            return Ok((verdict, Vec::new()));
        }
        let mut counts =
            connection.prepare("SELECT count(*) FROM message GROUP BY number ORDER BY number")?;
        let counts = counts
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok((verdict, counts))
    };
    match read() {
        Ok((verdict, _)) if verdict != "ok" => Err(verdict),
        Ok((_, counts)) if counts.iter().any(|count| *count != ROWS) => {
            Err(format!("transactions in part: {counts:?}"))
        }
        Ok((_, counts)) => Ok(counts.len()),
        Err(error) => Err(error.to_string()),
    }
}

/// What power cuts did: how many there were, and how they went wrong.
#[derive(Default)]
struct Outcome {
    cuts: usize,
    lost: Vec<String>,
    broken: Vec<String>,
}

/// Cuts the power after every step of some work.
fn cut_everywhere(name: &str, pragmas: &str) -> Outcome {
    let recorder = Arc::new(Recorder::default());
    let acknowledged = work(&recorder, pragmas);
    let image = Folder::make();
    let plain = Vfs::register(None).expect("a VFS can be registered");
    let mut disk = Disk::default();
    let mut outcome = Outcome::default();
    for (index, step) in recorder.log().iter().enumerate() {
        disk.apply(step);
        let promised = acknowledged
            .iter()
            .filter(|steps| **steps <= index + 1)
            .count();
        let random = 2 + 3 * index as u64;
        for seed in [0, 1, random, random + 1, random + 2] {
            disk.cut(seed, image.path());
            outcome.cuts += 1;
            let place = format!("step {} of {name}, seed {seed}", index + 1);
            match whole_transactions(image.path(), plain) {
                Ok(found) if found < promised => {
                    outcome.lost.push(format!("{place}: {found} of {promised}"))
                }
                Ok(_) => {}
                Err(error) => outcome.broken.push(format!("{place}: {error}")),
            }
        }
    }
    assert!(outcome.cuts > 100, "the work was recorded");
    outcome
}

#[track_caller]
fn assert_everything_survives(outcome: &Outcome) {
    assert_eq!(outcome.broken, [""; 0], "of {} cuts", outcome.cuts);
    assert_eq!(outcome.lost, [""; 0], "of {} cuts", outcome.cuts);
}

#[test]
fn what_was_committed_with_a_wal_and_full_syncs_survives_every_power_cut() {
    let pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=20; PRAGMA journal_size_limit=16384;";
    assert_everything_survives(&cut_everywhere("wal-full", pragmas));
}

#[test]
fn what_was_committed_with_a_truncated_journal_and_full_syncs_survives_every_power_cut() {
    let pragmas = "PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=FULL;";
    assert_everything_survives(&cut_everywhere("truncate-full", pragmas));
}

#[test]
fn a_wal_with_normal_syncs_loses_commits_in_a_power_cut_and_nothing_else() {
    let pragmas =
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=20;";
    let outcome = cut_everywhere("wal-normal", pragmas);
    assert_eq!(outcome.broken, [""; 0], "of {} cuts", outcome.cuts);
    assert!(
        !outcome.lost.is_empty(),
        "commits that were not synced are lost"
    );
}

#[test]
fn without_syncs_a_power_cut_loses_commits_and_breaks_databases() {
    for (name, mode) in [("wal-off", "WAL"), ("truncate-off", "TRUNCATE")] {
        let pragmas = format!(
            "PRAGMA journal_mode={mode}; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=20;"
        );
        let outcome = cut_everywhere(name, &pragmas);
        assert!(!outcome.lost.is_empty(), "{mode}: the recorder sees losses");
        assert!(
            !outcome.broken.is_empty(),
            "{mode}: the recorder sees damage"
        );
    }
}

#[test]
fn an_image_depends_on_its_seed_alone() {
    let recorder = Arc::new(Recorder::default());
    work(
        &recorder,
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
    );
    let (first, second) = (Folder::make(), Folder::make());
    let mut disk = Disk::default();
    recorder.log().iter().for_each(|step| disk.apply(step));
    let mut images = Vec::new();
    for seed in 0..6 {
        disk.cut(seed, first.path());
        disk.cut(seed, second.path());
        let image = format!("{:?}", Disk::of(first.path()));
        assert_eq!(image, format!("{:?}", Disk::of(second.path())));
        images.push(image);
    }
    images.sort();
    images.dedup();
    assert_eq!(images.len(), 6, "and each seed gives another");
}
