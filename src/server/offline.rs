//! The state in a database file, without a running bus: what the next start would go on from.
//!
//! Entered by [`Offline::open`]. The database is copied with its log and the segments of its journal into a folder of its own below the machine's folder for temporary files, and opened there as a start does it: salvaged where it is
//! damaged, the journal of the same database replayed. So nothing of the original is changed, and it may be read-only. The copy takes as much room
//! as the original until it is dropped.
//!
//! The database of a running bus is not for this: it is locked, and its state is in the bus.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{clock, keeping};
use crate::broker::{Broker, Page, Place, Settings};
use crate::store::{self, Class, Recovery};

/// The copy's name in its folder.
const COPY: &str = "copy.db";

/// The state of a database file.
pub struct Offline {
    folder: Folder,
    recovery: Recovery,
}

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Offline {
    /// Reads the database of a path, and the journal in a folder. One of another database is passed over.
    ///
    /// # Errors
    /// There is none, a running bus has it, or it cannot be read or copied.
    pub fn open(path: &Path, journal: &Path) -> io::Result<Offline> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if is_locked(&file) {
            return Err(io::Error::other(
                "a running bus has it; without a file's name the command asks that bus",
            ));
        }
        let mut chance = [0; 8];
        openssl::rand::rand_bytes(&mut chance)?;
        let seed = u64::from_ne_bytes(chance);
        let folder = Folder(std::env::temp_dir().join(format!("fosquitto-{seed:016x}")));
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(folder.0.join(keeping::JOURNAL))?;
        let copy = folder.0.join(COPY);
        for suffix in ["", "-wal", "-journal"] {
            copy_if_there(&with_suffix(path, suffix), &with_suffix(&copy, suffix))?;
        }
        copy_journal(journal, &folder.0.join(keeping::JOURNAL))?;
        let settings = store::Settings {
            path: copy,
            class: Class::Interval,
            classes: Vec::new(),
            flush_interval: Duration::MAX,
            rest: Duration::ZERO,
            size_limit: None,
            daily_budget: 0,
        };
        let recovery = keeping::recover(&folder.0, settings, seed)
            .ok_or_else(|| io::Error::other("it cannot be read"))?;
        Ok(Offline { folder, recovery })
    }

    /// Gives everything that is there, a page at a time, until `give` fails.
    pub fn dump(&self, mut give: impl FnMut(Page) -> io::Result<()>) -> io::Result<()> {
        let now = clock::now();
        let mut broker = Broker::new(Settings::default(), 0, now);
        self.recovery.load(|item| broker.restore(now, item));
        let mut from = Some(Place::FIRST);
        while let Some(place) = from {
            let mut page = broker.page(now, &place);
            from = page.next.take();
            give(page)?;
        }
        Ok(())
    }

    /// Makes a file with a consistent copy of the database, what only the journal had for it included; the file's path. It is gone
    /// when this is dropped.
    pub fn copy(&self) -> Result<PathBuf, String> {
        let path = self.folder.0.join("backup.db");
        super::answer::create_alone(&path).map_err(|error| error.to_string())?;
        self.recovery.copy_to(&path)?;
        Ok(path)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn copy_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match File::open(from) {
        Ok(mut source) => io::copy(&mut source, &mut super::answer::create_alone(to)?).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Copies the segments of a journal, if there are any. Which belong to the database, the recovery finds out.
fn copy_journal(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("journal-"));
        if number.is_some_and(|number| number.parse::<u64>().is_ok()) {
            copy_if_there(&entry.path(), &to.join(&name))?;
        }
    }
    Ok(())
}

/// Whether another process has a lock on a file, as SQLite takes them.
fn is_locked(file: &File) -> bool {
    // SAFETY: all bits 0 are a valid flock.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open, and `lock` is valid for the whole call, which only fills it in.
    let is_known = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) } == 0;
    is_known && lock.l_type != libc::F_UNLCK as libc::c_short
}
