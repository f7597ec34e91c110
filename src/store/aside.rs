//! The files of a database: which of them may be one, and how those that are none get out of the way.
//!
//! It reads no content, and it removes nothing but the oldest of what was set aside.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::database::Unusable;

/// Files of each kind that are kept when damaged ones are set aside: the newest says what happened, and flash is small.
const ASIDE_MAX: u32 = 3;

/// Whether a path may be a database: the program follows no link there, and opens no device.
pub fn look_at(path: &Path) -> Result<(), Unusable> {
    let inaccessible = |what: String| Err(Unusable::Inaccessible(what));
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(metadata) if metadata.is_symlink() => {
            inaccessible(format!("{} is a symbolic link", path.display()))
        }
        Ok(_) => inaccessible(format!("{} is not a regular file", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => inaccessible(format!("{}: {error}", path.display())),
    }
}

/// Makes the empty file, which only the bus may read.
pub fn create(path: &Path) -> Result<(), Unusable> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path);
    made.map(drop)
        .map_err(|error| Unusable::Inaccessible(format!("{}: {error}", path.display())))
}

/// What the names of the files end in that SQLite keeps beside a database.
pub const LOGS: [&str; 2] = ["-wal", "-journal"];

/// The name of a file beside another one.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether a database has a log with something in it.
pub fn has_log(path: &Path) -> bool {
    LOGS.iter().any(|suffix| {
        let log = fs::symlink_metadata(with_suffix(path, suffix));
        log.is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
    })
}

/// Renames a file to the next free name of its kind, over the oldest where there are enough.
pub fn set_aside(path: &Path, kind: &str) -> Result<PathBuf, Unusable> {
    let name = |number: u32| with_suffix(path, &format!(".{kind}-{number}"));
    let free = (1..=ASIDE_MAX).map(name).find(|name| !name.exists());
    let aside = free.unwrap_or_else(|| {
        for number in 1..ASIDE_MAX {
            // What cannot be renamed is overwritten by the next.
            let _ = fs::rename(name(number + 1), name(number));
        }
        name(ASIDE_MAX)
    });
    fs::rename(path, &aside).map_err(|error| {
        Unusable::Inaccessible(format!("{} cannot be set aside: {error}", path.display()))
    })?;
    Ok(aside)
}

/// The same with its log, which gets the name that SQLite looks for.
pub fn set_aside_whole(path: &Path, kind: &str) -> Result<PathBuf, Unusable> {
    let aside = set_aside(path, kind)?;
    for suffix in LOGS {
        let log = with_suffix(path, suffix);
        if log.exists() {
            fs::rename(&log, with_suffix(&aside, suffix)).map_err(|error| {
                Unusable::Inaccessible(format!("{} cannot be set aside: {error}", log.display()))
            })?;
        }
    }
    Ok(aside)
}
