//! Power cuts, for tests: what may stand on flash if the power goes after any operation of SQLite.
//!
//! A [`Recorder`] is put under a [`Vfs`](super::vfs::Vfs) and keeps every change, while the files themselves are written as ever. Its steps are then
//! given one by one to a [`Disk`], and after each of them [`Disk::cut`] makes the folder as a power cut may leave it:
//!
//! ```text
//! let recorder = Arc::new(Recorder::default());
//! let vfs = Vfs::register(Some(recorder.clone()))?;
//! // … work on a database in a folder that was empty; `recorder.steps()` after a commit says what it must survive …
//! let mut disk = Disk::default();
//! for step in recorder.log() {
//!     disk.apply(&step);
//!     for seed in 0..8 {
//!         disk.cut(seed, &other_folder);
//!         // … open the database in `other_folder` …
//!     }
//! }
//! ```
//!
//! What a file system promises is taken at its least. A sync makes durable what was written to that one file, and nothing else. Of what
//! was not synced, any part may have got to flash, in any order: each write whole, torn in sectors of 512 bytes, or not at all; each change of a length or not;
//! each new or removed name or not, until the folder is synced. SQLite syncs the folder with the first sync of a journal or WAL that it
//! opened, and with a removal that asks for it.
//!
//! It does not know: bytes that change without being written, sectors half written (flash has checksums for those), syncs that lie, and
//! more than one folder. Temporary files are left out, as nobody reads them after a cut.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::vfs::{Action, Failure, Kind, Layer};

mod tests;

/// What is written whole or not at all, in bytes.
const SECTOR: usize = 512;

/// One change of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The file's name in its folder.
    name: PathBuf,
    kind: Kind,
    change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Open,
    Write { offset: usize, data: Vec<u8> },
    Truncate { size: usize },
    Sync,
    Delete { sync_folder: bool },
}

/// A layer that keeps every change that SQLite makes.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<Step>>);

impl Recorder {
    /// How many changes there were until now.
    pub fn steps(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// All changes until now, in their order.
    pub fn log(&self) -> Vec<Step> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Layer for Recorder {
    fn before(&self, path: &Path, kind: Kind, action: Action<'_>) -> Result<(), Failure> {
        let change = match action {
            Action::Open { create: true } => Change::Open,
            Action::Open { create: false } | Action::Read { .. } => return Ok(()),
            Action::Write { offset, data } => Change::Write {
                offset: usize::try_from(offset).expect("a test's file is small"),
                data: data.to_vec(),
            },
            Action::Truncate { size } => Change::Truncate {
                size: usize::try_from(size).expect("a test's file is small"),
            },
            Action::Sync => Change::Sync,
            Action::Delete { sync_folder } => Change::Delete { sync_folder },
        };
        if let (Some(name), false) = (path.file_name(), kind == Kind::Other) {
            let step = Step {
                name: PathBuf::from(name),
                kind,
                change,
            };
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(step);
        }
        Ok(())
    }
}

/// A file's content, whatever names it has.
#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    /// Writes and truncates since the last sync.
    unsynced: Vec<Change>,
    /// Whether the next sync is one of the folder too.
    syncs_folder: bool,
}

/// A folder on a disk: what is durable, and what has been done since.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    contents: Vec<Content>,
    /// The folder as the running program sees it: an index of `contents` for each name.
    seen: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// Names that came (with their content) or went since the folder was synced.
    unsynced: Vec<(PathBuf, Option<usize>)>,
}

impl Disk {
    /// A disk on which the files of `folder` are durable as they stand. `Disk::default()` is an empty one.
    pub fn of(folder: &Path) -> Disk {
        let mut disk = Disk::default();
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = PathBuf::from(path.file_name().expect("an entry has a name"));
            disk.seen.insert(name.clone(), disk.contents.len());
            disk.durable.insert(name, disk.contents.len());
            disk.contents.push(Content {
                durable: fs::read(&path).expect("a file can be read"),
                ..Content::default()
            });
        }
        disk
    }

    /// A disk with one empty file, which is durable.
    pub fn with_empty(name: &Path) -> Disk {
        let content = Content::default();
        let names = BTreeMap::from([(name.to_owned(), 0)]);
        Disk {
            contents: vec![content],
            seen: names.clone(),
            durable: names,
            unsynced: Vec::new(),
        }
    }

    /// Carries out one change.
    pub fn apply(&mut self, step: &Step) {
        let index = match (self.seen.get(&step.name), &step.change) {
            (Some(index), _) => *index,
            (None, Change::Open) => {
                let index = self.contents.len();
                self.contents.push(Content::default());
                self.seen.insert(step.name.clone(), index);
                self.unsynced.push((step.name.clone(), Some(index)));
                index
            }
            // SQLite removes files without looking whether they are there.
            (None, _) => return,
        };
        let content = &mut self.contents[index];
        match &step.change {
            Change::Open => content.syncs_folder = step.kind != Kind::Database,
            Change::Write { .. } | Change::Truncate { .. } => {
                content.unsynced.push(step.change.clone());
            }
            Change::Sync => {
                for change in std::mem::take(&mut content.unsynced) {
                    carry_out(&change, &mut content.durable, &mut || true);
                }
                if std::mem::take(&mut content.syncs_folder) {
                    self.sync_folder();
                }
            }
            Change::Delete { sync_folder } => {
                self.seen.remove(&step.name);
                self.unsynced.push((step.name.clone(), None));
                if *sync_folder {
                    self.sync_folder();
                }
            }
        }
    }

    fn sync_folder(&mut self) {
        for (name, content) in std::mem::take(&mut self.unsynced) {
            rename(&mut self.durable, name, content);
        }
    }

    /// Makes `folder` what a power cut may leave now; what stood there is removed. With seed 0 nothing survives but what was synced,
    /// with seed 1 everything (as after a crash of the process alone), and with every other seed a part that is always the same.
    pub fn cut(&self, seed: u64, folder: &Path) {
        let mut chance = Chance::new(seed);
        let mut names = self.durable.clone();
        for (name, content) in &self.unsynced {
            if chance.survives() {
                rename(&mut names, name.clone(), *content);
            }
        }
        // It is not there before the first cut.
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).expect("the folder of an image can be made");
        for (name, index) in names {
            let content = &self.contents[index];
            let mut bytes = content.durable.clone();
            for change in &content.unsynced {
                if chance.survives() {
                    let torn = chance.tears();
                    carry_out(change, &mut bytes, &mut || !torn || chance.survives());
                }
            }
            fs::write(folder.join(name), bytes).expect("a file of an image can be written");
        }
    }
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, name: PathBuf, content: Option<usize>) {
    match content {
        Some(index) => names.insert(name, index),
        None => names.remove(&name),
    };
}

/// Carries out a write, as far as `sector_survives` says of each of its sectors, or a truncate.
fn carry_out(change: &Change, bytes: &mut Vec<u8>, sector_survives: &mut dyn FnMut() -> bool) {
    match change {
        Change::Write { offset, data } => {
            let mut from = *offset;
            let end = offset + data.len();
            while from < end {
                let to = end.min((from / SECTOR + 1) * SECTOR);
                if sector_survives() {
                    bytes.resize(bytes.len().max(to), 0);
                    bytes[from..to].copy_from_slice(&data[from - offset..to - offset]);
                }
                from = to;
            }
        }
        Change::Truncate { size } => bytes.resize(*size, 0),
        Change::Open | Change::Sync | Change::Delete { .. } => {}
    }
}

/// What survives, from a seed: xorshift64*, with a share of survivors that differs from seed to seed.
struct Chance {
    seed: u64,
    state: u64,
    /// How many of 8 survive.
    share: u64,
}

impl Chance {
    fn new(seed: u64) -> Chance {
        let mut chance = Chance {
            seed,
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            share: 0,
        };
        chance.share = 1 + chance.below(7);
        chance
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn survives(&mut self) -> bool {
        match self.seed {
            0 => false,
            1 => true,
            _ => self.below(8) < self.share,
        }
    }

    fn tears(&mut self) -> bool {
        self.seed > 1 && self.below(4) == 0
    }
}
