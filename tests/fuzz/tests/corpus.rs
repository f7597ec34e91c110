//! The targets as ordinary tests: on every input that is kept below `corpus`, and on a bounded number of random changes of those.
//!
//! `FOSQUITTO_SEED` repeats the random run whose seed was printed. A failing input is written to a file, whose path is printed.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fosquitto_fuzz::{TARGETS, Target};

/// So many changed inputs of each target; fewer of those that run a whole broker.
const EXECUTIONS: usize = 2_000;
const EXECUTIONS_OF_BROKER: usize = 300;

/// No changed input is longer, in bytes.
const INPUT_MAX: usize = 2_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The kept inputs of a target, in the order of their names.
fn corpus(target: Target) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder().join(target.name)).expect("every target has a corpus");
    let mut inputs: Vec<(PathBuf, Vec<u8>)> = entries
        .map(|entry| entry.expect("an entry can be read").path())
        .map(|path| (path.clone(), fs::read(path).expect("an input can be read")))
        .collect();
    inputs.sort();
    inputs
}

/// SplitMix64: any seed is good.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

fn changed(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(5) {
        let at = random.below(bytes.len() + 1);
        match (random.below(8), bytes.get_mut(at)) {
            (0, Some(byte)) => *byte = random.below(256) as u8,
            (1, Some(byte)) => *byte ^= 1 << random.below(8),
            (2, Some(byte)) => *byte = byte.wrapping_add(1),
            (3, Some(_)) => {
                let end = bytes.len().min(at + 1 + random.below(8));
                drop(bytes.drain(at..end));
            }
            (4, _) => bytes.truncate(at),
            (5 | 6, _) if !other.is_empty() => {
                let from = random.below(other.len());
                let to = from + random.below(other.len() - from + 1);
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => bytes.insert(at, random.below(256) as u8),
        }
    }
    bytes.truncate(INPUT_MAX);
    bytes
}

/// Runs a changed input; one that fails is kept.
fn run(target: Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let path =
            std::env::temp_dir().join(format!("fuzz-{}-{}", target.name, std::process::id()));
        let kept = fs::write(&path, input);
        println!("{} fails on {} ({kept:?})", target.name, path.display());
        resume_unwind(panic);
    }
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let entries = fs::read_dir(folder()).expect("there is a corpus");
    let mut folders: Vec<String> = entries
        .map(|entry| entry.expect("an entry can be read").file_name())
        .map(|name| name.into_string().expect("a name of the project is UTF-8"))
        .collect();
    folders.sort();
    assert_eq!(folders, TARGETS.map(|target| target.name));
    for target in TARGETS {
        assert!(!corpus(target).is_empty(), "{} has inputs", target.name);
    }
}

#[test]
fn every_kept_input_holds() {
    for target in TARGETS {
        for (path, input) in corpus(target) {
            println!("{}", path.display());
            (target.run)(&input);
        }
    }
}

#[test]
fn changed_inputs_hold() {
    let clock = || {
        UNIX_EPOCH
            .elapsed()
            .map_or(1, |elapsed| elapsed.as_nanos() as u64)
    };
    let given = std::env::var("FOSQUITTO_SEED").ok();
    let seed = given.map_or_else(clock, |seed| {
        seed.parse().expect("FOSQUITTO_SEED is a number")
    });
    println!("FOSQUITTO_SEED={seed}");
    for target in TARGETS {
        let inputs = corpus(target);
        let mut random = Random(seed);
        let executions = match target.name {
            "any_inputs" | "model" | "simulation" => EXECUTIONS_OF_BROKER,
            _ => EXECUTIONS,
        };
        for _ in 0..executions {
            let (_, input) = &inputs[random.below(inputs.len())];
            let (_, other) = &inputs[random.below(inputs.len())];
            run(target, &changed(input, other, &mut random));
        }
    }
}
