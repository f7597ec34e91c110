//! Small files, read within a bound and replaced so that a power cut leaves the old or the new content, never a part.
//!
//! What this does not do: it knows nothing of what is in them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Reads a whole file, `None` if there is none.
///
/// # Errors
/// The file cannot be read, or has more than `bytes_max` bytes.
pub(crate) fn read(path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut content)?;
    if content.len() > bytes_max {
        return Err(io::Error::other(format!(
            "the file has more than {bytes_max} bytes"
        )));
    }
    Ok(Some(content))
}

/// Makes a directory of mode 0700, and its parents of the usual mode, where they are missing; what exists stays as it is.
pub(crate) fn create_private_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

/// Replaces the content of a file; its mode becomes 0600. Its owner stays, and a new file gets the owner of its directory, so that
/// root may write what the service's own user reads.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(".new");
    let temporary = directory.join(temporary_name);
    let result = write_temporary(path, &temporary, directory, content)
        .and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The first error is the one to tell; whether the leftover could be removed changes nothing.
        let _ = fs::remove_file(&temporary);
    }
    result?;
    File::open(directory)?.sync_all()
}

fn write_temporary(
    path: &Path,
    temporary: &Path,
    directory: &Path,
    content: &[u8],
) -> io::Result<()> {
    // A power cut may have left one behind, and O_EXCL must not stumble over it; nor would it follow a link put there.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)?;
    let model = fs::metadata(path).or_else(|_| fs::metadata(directory))?;
    let made = file.metadata()?;
    // Only root can give a file away; for everybody else it is theirs.
    if made.uid() == 0 && (model.uid(), model.gid()) != (made.uid(), made.gid()) {
        fchown(&file, Some(model.uid()), Some(model.gid()))?;
    }
    file.write_all(content)?;
    file.sync_all()
}

/// Holds other processes that take the same lock until it is dropped: two commands that read, change and replace one file would lose
/// one of the changes.
pub(crate) struct DirectoryLock(
    #[expect(dead_code, reason = "the lock lasts as long as the open file")] File,
);

impl DirectoryLock {
    /// Waits for the lock of a directory.
    pub(crate) fn acquire(directory: &Path) -> io::Result<DirectoryLock> {
        let file = File::open(directory)?;
        // SAFETY: flock has no memory to harm, and the descriptor is open as long as `file` lives.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(DirectoryLock(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::Scratch;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_replaced_file_is_private_and_whole_and_leaves_nothing_beside_it() {
        let scratch = Scratch::new();
        let path = scratch.path().join("passwd");
        fs::write(scratch.path().join(".passwd.new"), "left by a power cut").expect("scratch");
        fs::write(&path, "old").expect("scratch");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("scratch");
        replace(&path, b"new").expect("written");
        assert_eq!(fs::read(&path).expect("scratch"), b"new");
        assert_eq!(fs::metadata(&path).expect("scratch").mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(scratch.path()).expect("scratch").count(), 1);
    }

    #[test]
    fn a_file_over_the_bound_is_an_error_and_a_missing_one_is_none() {
        let scratch = Scratch::new();
        let path = scratch.path().join("big");
        fs::write(&path, [0; 11]).expect("scratch");
        assert!(read(&path, 10).is_err());
        assert_eq!(
            read(&path, 11)
                .expect("readable")
                .map(|content| content.len()),
            Some(11)
        );
        assert_eq!(
            read(&scratch.path().join("none"), 10).expect("no error"),
            None
        );
    }
}
