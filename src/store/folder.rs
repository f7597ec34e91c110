//! A folder for one test of the store, which goes when the test ends. It lies in memory, as these tests make thousands of files and no
//! sync has to be true.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// An empty folder that nobody else has.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one in `/dev/shm`, or where that is missing below the system's temporary folder.
    pub fn make() -> Folder {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            std::env::temp_dir()
        };
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("fosquitto-store-{}-{number}", std::process::id()));
        // A process that had the same number may have died in it.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a temporary folder can be made");
        Folder(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
