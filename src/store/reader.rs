//! A database that is only read: one that is damaged, or lies on flash that cannot be written.
//!
//! Entered by [`Reader::of`]. SQLite reads a database whose log is not copied back only where it may write: it takes its locks by writing, rolls
//! back what was not committed, and makes the index of the log. So one that has a log is copied into memory first, and read there;
//! the files themselves stay as they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::aside::{LOGS, has_log, with_suffix};
use super::database::{Place, connect_by};
use super::vfs::Vfs;

/// A connection to what is read.
pub struct Reader {
    connection: Connection,
    /// Where the copy is; it goes after the connection.
    _copy: Option<Scratch>,
}

/// A folder that goes with what it holds.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left lies in memory, and is overwritten by the next.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Reader {
    /// Opens the database of a path, which need not be that of the place.
    pub fn of(path: &Path, place: &Place) -> rusqlite::Result<Reader> {
        if !has_log(path) {
            return Ok(Reader {
                connection: connect_to_read(path, place.vfs)?,
                _copy: None,
            });
        }
        let copy = Scratch(place.scratch.clone());
        let copied = copy_whole(path, &copy.0).map_err(|error| {
            log::error!("store: {}: {error}", path.display());
            rusqlite::Error::InvalidPath(path.to_owned())
        })?;
        // It is no flash whose bytes are counted.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Ok(Reader {
            connection: Connection::open_with_flags(copied, flags)?,
            _copy: Some(copy),
        })
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Copies a database with its logs into a folder; where it is then.
fn copy_whole(path: &Path, folder: &Path) -> io::Result<PathBuf> {
    // A program that was killed may have left another there.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    let to = folder.join("database");
    for suffix in ["", LOGS[0], LOGS[1]] {
        match fs::copy(with_suffix(path, suffix), with_suffix(&to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(to)
}

/// Opens a database that has no log, without making one: SQLite is told that nobody writes.
fn connect_to_read(path: &Path, vfs: &Vfs) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    connect_by(Path::new(&uri), vfs, flags)
}
