//! The whole store and a power cut at every change of its files: tmpfs is empty afterwards, and of what was not synced any part is there.
//!
//! What the database then has is the model as it stood at the end of some turn: for every class not before the last one of which the store has
//! said that it is safe. The cuts are tried one after another with chances that the seed gives, so that their number is bounded.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::super::power::{Disk, Recorder};
use super::super::vfs::{Action, Failure, Kind, Layer, Vfs};
use super::{Class, Folder, Model, Random, World, found, parts, plain, recover, seed};

/// Turns of a run; each gives some ten changes of files where it is committed.
const TURNS: usize = 120;

/// The most cuts of a run that are looked at.
const CUTS: usize = 800;

/// A file system on which SQLite's log does not work.
struct WithoutLog(Arc<Recorder>);

impl Layer for WithoutLog {
    fn before(&self, path: &Path, kind: Kind, action: Action<'_>) -> Result<(), Failure> {
        match (kind, &action) {
            (Kind::Wal, Action::Write { .. }) => Err(Failure {
                code: rusqlite::ffi::SQLITE_IOERR_WRITE,
                written: 0,
            }),
            _ => self.0.before(path, kind, action),
        }
    }
}

/// What a run left to be held to.
struct Run {
    recorder: Arc<Recorder>,
    /// The disk before the first change.
    disk: Disk,
    /// The model at the end of each turn, with the number of its last operation.
    turns: Vec<(u64, Model)>,
    /// After so many changes, everything up to this number was said to be safe.
    promises: Vec<(usize, u64)>,
}

fn run(class: Class, has_log: bool, seed: u64) -> Run {
    let recorder = Arc::new(Recorder::default());
    let layer: Arc<dyn Layer> = match has_log {
        true => recorder.clone(),
        false => Arc::new(WithoutLog(recorder.clone())),
    };
    let vfs = Vfs::register(Some(layer)).expect("SQLite takes a VFS");
    let promises = Arc::new(Mutex::new(Vec::new()));
    let note = {
        let (recorder, promises) = (recorder.clone(), promises.clone());
        move |number| {
            let mut promises = promises.lock().expect("nobody panics while holding it");
            promises.push((recorder.steps(), number));
        }
    };
    // The file is made before SQLite is there.
    let mut world = World::on(seed, class, vfs, Arc::new(Mutex::new(note)));
    let disk = Disk::with_empty(Path::new("fosquitto.db"));
    let mut turns = vec![(0, Model::default())];
    for _ in 0..TURNS {
        for _ in 0..world.random.below(12) {
            world.step();
        }
        let number = world.turn_ends();
        turns.push((number, world.model.for_flash()));
        match world.random.below(40) {
            0..3 => world.flush(),
            3 => world.crash(),
            4 => world.stop(),
            _ => {}
        }
    }
    world.stop();
    let promises = std::mem::take(&mut *promises.lock().expect("nobody holds it"));
    Run {
        recorder,
        disk,
        turns,
        promises,
    }
}

/// Cuts the power after each change of a run, or after some of them; how many changes there were between two promises at most.
fn survives_cuts(class: Class, has_log: bool) {
    let seed = seed();
    let Run {
        recorder,
        mut disk,
        turns,
        promises,
    } = run(class, has_log, seed);
    let (log, mut random) = (recorder.log(), Random(seed));
    let image = Folder::make();
    let share = (log.len() / CUTS + 1) as u64;
    let mut cuts = 0;
    for (step, done) in log.iter().zip(1..) {
        disk.apply(step);
        if random.below(share) > 0 {
            continue;
        }
        cuts += 1;
        let chance = random.below(6);
        disk.cut(chance, image.path());
        let journal = image.path().join("run");
        let recovery = recover(parts(image.path(), &journal, class, plain()));
        let found = found(&recovery.expect("the database opens"));
        let promised = promises.iter().rev().find(|(steps, _)| *steps <= done);
        let promised = promised.map_or(0, |(_, number)| *number);
        let is_there = turns
            .iter()
            .any(|(number, model)| *number >= promised && *model == found);
        assert!(
            is_there,
            "a cut (chance {chance}) after {done} of {} changes leaves no state of {promised} or later: {found:#?}",
            log.len()
        );
    }
    println!(
        "{cuts} cuts after {} changes, {} promises",
        log.len(),
        promises.len()
    );
    // The last stop promises everything: a run without any promise was told nothing.
    assert!(
        cuts > 100 && !promises.is_empty(),
        "it was not much of a run"
    );
}

#[test]
fn a_power_cut_takes_nothing_that_was_committed() {
    survives_cuts(Class::Commit, true);
}

#[test]
fn a_power_cut_takes_no_more_than_what_came_after_the_last_flush() {
    survives_cuts(Class::Interval, true);
}

#[test]
fn the_same_holds_where_the_log_does_not_work() {
    survives_cuts(Class::Commit, false);
    survives_cuts(Class::Interval, false);
}
