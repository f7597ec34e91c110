//! What others may know of the store: counts and the last fault. Written by its thread, read by anybody; what only the event
//! loop's end knows, [`Store::status`](super::Store::status) adds.

use std::time::Instant;

use super::Class;
use super::budget::Day;

/// The store's present state.
#[derive(Debug, Clone)]
pub struct Status {
    /// How durable changes are where no pattern says otherwise. Of the event loop.
    pub class: Class,
    /// The number of the last record that there is. Of the event loop.
    pub last: u64,
    /// Bytes that went to the journal since the start, without what compacting it writes. Of the event loop.
    pub journal_bytes: u64,
    /// Transactions that flash took since the start.
    pub commits: u64,
    /// The number of the last record that flash has.
    pub applied: u64,
    /// When it was written last without a fault.
    pub last_commit: Option<Instant>,
    /// Why flash cannot be written now.
    pub error: Option<String>,
    /// Why it could not be written the last time that it could not, and until when: what was wrong in the night is still told in the morning.
    pub last_error: Option<(String, Instant)>,
    /// What went to flash since the start.
    pub flash: Written,
    /// Bytes of the last 24 hours.
    pub day: Day,
}

impl Default for Status {
    fn default() -> Self {
        Status {
            class: Class::Volatile,
            last: 0,
            journal_bytes: 0,
            commits: 0,
            applied: 0,
            last_commit: None,
            error: None,
            last_error: None,
            flash: Written::default(),
            day: Day::default(),
        }
    }
}

/// How much was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// In bytes.
    pub bytes: u64,
    /// How often the file system was asked to make it last.
    pub syncs: u64,
}
