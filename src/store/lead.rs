//! How far the event loop is ahead of the store's thread: what keeps the journal short where messages come and go faster than the thread finds
//! out what of them is left.
//!
//! Entered by [`Lead::go_on`] with each new segment of the journal, and by [`Progress`] from the thread. Where more than [`LEAD_MAX`] segments
//! are unread, acknowledgements wait until they are read: then clients send no faster than that. Nothing is promised by it, nothing goes to flash
//! for it, and no message is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Segments that may be unread: 4 MiB. To read them takes as much memory again.
const LEAD_MAX: usize = 32;

/// Up to where the thread has read, as both of them know it.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicUsize>);

impl Progress {
    /// All segments before the one with this number were read. Numbers may wrap where they are short: only differences count.
    pub fn set(&self, segment: u64) {
        self.0.store(segment as usize, Ordering::Relaxed);
    }

    /// The same for the segment before this one, if all before that were read.
    pub fn set_after(&self, segment: u64) {
        if self.0.load(Ordering::Relaxed) == segment as usize {
            self.set(segment + 1);
        }
    }
}

/// The event loop's end.
#[derive(Debug)]
pub struct Lead {
    progress: Progress,
    is_long: bool,
    /// Whether the thread was told that somebody waits for it.
    is_told: bool,
    /// The last operation that waits for flash, and up to where that is done.
    promised: u64,
    committed: u64,
}

impl Lead {
    /// None: the segment with this number begins.
    pub fn new(progress: Progress, segment: u64) -> Lead {
        progress.set(segment);
        Lead {
            progress,
            is_long: false,
            is_told: false,
            promised: 0,
            committed: 0,
        }
    }

    /// Whether acknowledgements are to wait for the thread.
    pub fn is_long(&self) -> bool {
        self.is_long
    }

    /// The segment with this number begins.
    pub fn go_on(&mut self, segment: u64) {
        let read = self.progress.0.load(Ordering::Relaxed);
        self.is_long = (segment as usize).wrapping_sub(read) > LEAD_MAX;
    }

    /// Whether the thread is to be told that somebody waits for it.
    pub fn is_news(&mut self) -> bool {
        self.is_long && !std::mem::replace(&mut self.is_told, true)
    }

    /// The operation with this number waits for flash.
    pub fn promise(&mut self, number: u64) {
        self.promised = number;
    }

    /// Flash has everything up to this number.
    pub fn commit(&mut self, number: u64) {
        self.committed = number;
    }

    /// The thread has read all it was told of, while `segment` is written. Whether nobody waits for flash.
    pub fn catch_up(&mut self, segment: u64) -> bool {
        self.is_told = false;
        self.go_on(segment);
        self.promised <= self.committed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_wait_while_too_much_is_unread_and_the_thread_is_told_once() {
        let progress = Progress::default();
        let mut lead = Lead::new(progress.clone(), 7);
        lead.go_on(7 + LEAD_MAX as u64);
        assert!(!lead.is_long() && !lead.is_news());
        lead.go_on(8 + LEAD_MAX as u64);
        assert!(lead.is_long() && lead.is_news() && !lead.is_news());
        progress.set_after(7);
        assert!(lead.catch_up(8 + LEAD_MAX as u64) && !lead.is_long());
        progress.set_after(7);
        lead.go_on(9 + LEAD_MAX as u64);
        assert!(lead.is_long() && lead.is_news(), "it was read before");
    }

    #[test]
    fn who_waits_for_flash_waits_on_when_the_journal_is_read() {
        let mut lead = Lead::new(Progress::default(), 1);
        lead.promise(5);
        assert!(!lead.catch_up(1));
        lead.commit(6);
        assert!(lead.catch_up(1));
    }
}
