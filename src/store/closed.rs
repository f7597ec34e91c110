//! Whether the database is still the file that was closed in order, so that it need not be looked through page by page at the start.
//!
//! Entered by [`note`] when the database was closed, and by [`take`] at the next start. The note lies beside the journal, in memory, and counts once: after
//! a crash or a power cut there is none, and the database is looked through. A file that somebody wrote to meanwhile has another time: it
//! was given nanoseconds by chance, so that not even a write within the same tick of the clock has the same. What flash does to
//! a file by itself within one boot of the machine is found where it is read.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The note's name in the journal's directory.
const NAME: &str = "closed";

/// Notes that a database was closed in order. The caller writes to it no more.
pub fn note(directory: &Path, database: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(database)?;
    let modified = file.metadata()?.modified()?;
    let since = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(io::Error::other)?;
    let nanos = RandomState::new().hash_one(NAME) % 1_000_000_000;
    let chosen = Duration::new(since.as_secs(), nanos as u32);
    file.set_modified(SystemTime::UNIX_EPOCH + chosen)?;
    fs::write(directory.join(NAME), seen(&file.metadata()?))
}

/// Whether a database is as it was when that was noted. The note is gone afterwards.
pub fn take(directory: &Path, database: &Path) -> bool {
    let path = directory.join(NAME);
    let noted = fs::read_to_string(&path);
    // One that cannot be removed must not count twice.
    let is_taken = fs::remove_file(&path).is_ok();
    let found = fs::symlink_metadata(database).map(|metadata| seen(&metadata));
    matches!((noted, found), (Ok(noted), Ok(found)) if is_taken && noted == found)
}

/// What of a file tells that nobody has written to it.
fn seen(metadata: &fs::Metadata) -> String {
    format!(
        "{} {} {} {} {}\n",
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec()
    )
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::*;

    #[test]
    fn a_database_that_was_closed_is_known_once() {
        let folder = Folder::make();
        let database = folder.path().join("database");
        fs::write(&database, "content").expect("it can be written");
        assert!(!take(folder.path(), &database));
        note(folder.path(), &database).expect("it can be noted");
        assert!(take(folder.path(), &database));
        assert!(!take(folder.path(), &database));
    }

    #[test]
    fn a_database_that_somebody_wrote_to_is_not_known() {
        let folder = Folder::make();
        let database = folder.path().join("database");
        for _ in 0..20 {
            fs::write(&database, "content").expect("it can be written");
            note(folder.path(), &database).expect("it can be noted");
            // As long as before, and at once.
            fs::write(&database, "changed").expect("it can be written");
            assert!(!take(folder.path(), &database));
        }
    }
}
