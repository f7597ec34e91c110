//! The whole store on flash that fails at each of its changes in turn: full or broken, once or until it is well again.
//!
//! Whatever fails, the loop's end goes on, what waits for flash is let go, a crash meanwhile loses nothing, and when flash is well again it has
//! what the model has.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use rusqlite::ffi;

use super::super::faults::Faults;
use super::super::vfs::{Action, Failure, Kind, Layer, Vfs};
use super::{Class, World, on_flash, seed};

/// Turns before, under and after the failure.
const TURNS: usize = 12;

/// What a change fails with: ENOSPC, and what SQLite makes of EIO and EROFS alike.
const CODES: [i32; 2] = [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE];

/// What happens to a store while its flash fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meanwhile {
    Nothing,
    Crash,
}

/// Faults on a file system on which SQLite's log may not work.
struct Flash {
    faults: Arc<Faults>,
    has_log: bool,
}

impl Layer for Flash {
    fn before(
        &self,
        path: &std::path::Path,
        kind: Kind,
        action: Action<'_>,
    ) -> Result<(), Failure> {
        match (kind, &action) {
            (Kind::Wal, Action::Write { .. }) if !self.has_log => Err(Failure {
                code: ffi::SQLITE_IOERR_WRITE,
                written: 0,
            }),
            _ => self.faults.before(path, kind, action),
        }
    }
}

/// A turn whose changes are said to be as safe as they get.
fn turn(world: &mut World) {
    for _ in 0..4 {
        world.step();
    }
    let number = world.commit();
    let committed = world.committed.load(Ordering::SeqCst);
    assert!(committed >= number, "what waits for {number} waits on");
}

/// Lets changes fail from the one with the number `after` on, and after so many more no longer. Whether one failed.
fn fail(
    seed: u64,
    has_log: bool,
    (after, count): (usize, usize),
    code: i32,
    meanwhile: Meanwhile,
) -> bool {
    println!("{code} at {after} for {count}, with a log: {has_log}, meanwhile: {meanwhile:?}");
    let faults = Arc::new(Faults::default());
    let flash = Flash {
        faults: faults.clone(),
        has_log,
    };
    let vfs = Vfs::register(Some(Arc::new(flash))).expect("SQLite takes a VFS");
    let mut world = World::on(seed, Class::Commit, vfs, Arc::new(Mutex::new(|_| {})));
    for _ in 0..TURNS {
        turn(&mut world);
    }
    faults.fail(after..after.saturating_add(count), code);
    for _ in 0..TURNS {
        turn(&mut world);
    }
    if meanwhile == Meanwhile::Crash {
        world.crash();
        turn(&mut world);
    }
    let has_failed = faults.failed() > 0;
    faults.heal();
    for _ in 0..3 {
        turn(&mut world);
    }
    assert_eq!(on_flash(world.folder.path()), world.model.for_flash());
    world.crash();
    world.stop();
    has_failed
}

/// Each change in turn fails, alone or with all that follow.
fn fails_at_each_change(has_log: bool, meanwhile: Meanwhile) {
    let seed = seed();
    for code in CODES {
        for count in [1, 7, usize::MAX] {
            let mut after = 0;
            while fail(seed, has_log, (after, count), code, meanwhile) {
                after += 1 + after / 8;
            }
            assert!(after > 20, "few changes could fail");
        }
    }
}

#[test]
fn flash_that_fails_at_any_change_gets_all_when_it_is_well_again() {
    fails_at_each_change(true, Meanwhile::Nothing);
}

#[test]
fn the_same_holds_where_the_log_does_not_work() {
    fails_at_each_change(false, Meanwhile::Nothing);
}

#[test]
fn a_crash_while_flash_fails_loses_nothing() {
    fails_at_each_change(true, Meanwhile::Crash);
}

#[test]
fn a_crash_loses_nothing_either_where_the_log_does_not_work() {
    fails_at_each_change(false, Meanwhile::Crash);
}

/// Has the journal's writes fail from now on.
fn fill_up(world: &mut World) {
    let (store, ..) = world.ends.as_mut().expect("it runs");
    store.tail.as_mut().expect("it is written").fill_up();
}

/// Says a few things and ends the turn. Whether the journal has taken them.
fn journal_takes(world: &mut World) -> bool {
    for _ in 0..6 {
        world.make_retained();
    }
    let (store, ..) = world.ends.as_mut().expect("it runs");
    store.end_turn();
    store.tail.is_some()
}

#[test]
fn where_the_journal_cannot_be_written_changes_go_straight_to_flash_until_it_can() {
    let mut world = World::new(seed(), Class::Interval);
    assert!(journal_takes(&mut world));
    fill_up(&mut world);
    for _ in 0..3 {
        assert!(!journal_takes(&mut world));
        // Nobody has to ask for it: what is in memory alone is due at once.
        world.let_thread_run();
        assert_eq!(on_flash(world.folder.path()), world.model.for_flash());
    }
    let (store, ..) = world.ends.as_mut().expect("it runs");
    store.journal_is_free();
    assert!(journal_takes(&mut world));
    let before = on_flash(world.folder.path());
    assert!(
        before != world.model.for_flash(),
        "the interval is not over"
    );
    world.crash();
    world.stop();
}

#[test]
fn where_neither_journal_nor_flash_can_be_written_memory_has_it_until_one_can() {
    let faults = Arc::new(Faults::default());
    let vfs = Vfs::register(Some(faults.clone())).expect("SQLite takes a VFS");
    let mut world = World::on(seed(), Class::Commit, vfs, Arc::new(Mutex::new(|_| {})));
    turn(&mut world);
    fill_up(&mut world);
    faults.fail(0..usize::MAX, ffi::SQLITE_FULL);
    for _ in 0..50 {
        turn(&mut world);
    }
    assert!(faults.failed() > 0);
    let status = |world: &World| world.ends.as_ref().expect("it runs").0.status();
    let error = status(&world).error.expect("flash cannot be written");
    faults.heal();
    turn(&mut world);
    let well = status(&world);
    assert_eq!(
        (well.error, well.last_error.map(|it| it.0)),
        (None, Some(error))
    );
    // What is not for flash was in memory alone.
    assert_eq!(on_flash(world.folder.path()), world.model.for_flash());
}

#[test]
fn with_commit_flash_that_fails_is_not_tried_again_at_every_turn() {
    let faults = Arc::new(Faults::default());
    let vfs = Vfs::register(Some(faults.clone())).expect("SQLite takes a VFS");
    let mut world = World::on(seed(), Class::Commit, vfs, Arc::new(Mutex::new(|_| {})));
    faults.fail(0..usize::MAX, ffi::SQLITE_FULL);
    turn(&mut world);
    let failed = faults.failed();
    assert!(failed > 0);
    // Nobody waits meanwhile.
    for _ in 0..50 {
        world.make_retained();
        let (store, ..) = world.ends.as_mut().expect("it runs");
        let number = store.end_turn();
        world.let_thread_run();
        assert_eq!(world.committed.load(Ordering::SeqCst), number);
    }
    // A machine that is slow may be at the next try already.
    assert!(
        faults.failed() < 10 * failed,
        "{failed} a try, and then {}",
        faults.failed()
    );
    faults.heal();
    turn(&mut world);
    assert_eq!(on_flash(world.folder.path()), world.model.for_flash());
}
