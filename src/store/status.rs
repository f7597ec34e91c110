//! What others may know of the store: counts and the last fault. Written by its thread, read by anybody.

use std::time::Instant;

/// The store's present state.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The number of the last record that flash has.
    pub applied: u64,
    /// When it was written last without a fault.
    pub last_commit: Option<Instant>,
    /// Why flash cannot be written now.
    pub error: Option<String>,
    /// What went to flash since the start.
    pub flash: Written,
}

/// How much was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// In bytes.
    pub bytes: u64,
    /// How often the file system was asked to make it last.
    pub syncs: u64,
}
