//! A disk that fails at will, for tests: put under a [`Vfs`](super::vfs::Vfs), it counts changes and lets some or all of them fail.
//!
//! It does not fail on reads or opens, and knows no size: a full disk is `SQLITE_FULL` at every change.

use std::ffi::c_int;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::vfs::{Action, Failure, Kind, Layer};

/// A layer that lets changes (writes, truncates, syncs and removals) fail.
#[derive(Debug, Default)]
pub struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    changes: usize,
    /// The changes that fail, by their number from 0, and the code they fail with.
    failing: Option<(Range<usize>, c_int)>,
    failed: usize,
}

impl Faults {
    /// How many changes failed since the last call of [`Faults::fail`].
    pub fn failed(&self) -> usize {
        self.with(|state| state.failed)
    }

    /// Lets the changes of these numbers fail, counted from now; half of what a failing write writes gets to the file.
    pub fn fail(&self, changes: Range<usize>, code: c_int) {
        self.with(|state| {
            *state = State {
                failing: Some((changes, code)),
                ..State::default()
            };
        });
    }

    /// Lets everything succeed again.
    pub fn heal(&self) {
        self.with(|state| state.failing = None);
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Layer for Faults {
    fn before(&self, _path: &Path, _kind: Kind, action: Action<'_>) -> Result<(), Failure> {
        let written = match action {
            Action::Open { .. } | Action::Read { .. } => return Ok(()),
            Action::Write { data, .. } => data.len() / 2,
            Action::Truncate { .. } | Action::Sync | Action::Delete { .. } => 0,
        };
        self.with(|state| {
            let number = state.changes;
            state.changes += 1;
            match &state.failing {
                Some((changes, code)) if changes.contains(&number) => {
                    let code = *code;
                    state.failed += 1;
                    Err(Failure { code, written })
                }
                _ => Ok(()),
            }
        })
    }
}
