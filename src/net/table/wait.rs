//! Connections that are to be woken up at a time of their own.

use super::Table;
use crate::broker::{ConnectionId, Time};

impl Table {
    /// Has a connection's future polled at a time; a later call replaces an earlier one.
    pub fn wake_at(&mut self, id: ConnectionId, at: Time) {
        self.forget_wait(id);
        if let Some(live) = self.live(id) {
            live.wait = Some(at);
            self.waits.insert((at, id));
        }
    }

    /// When the next connection is to be woken up.
    pub fn next_wait(&self) -> Option<Time> {
        self.waits.first().map(|(at, _)| *at)
    }

    /// Wakes those up whose time has come.
    pub fn wake(&mut self, now: Time) {
        while self.next_wait().is_some_and(|at| at <= now) {
            let Some((_, id)) = self.waits.pop_first() else {
                return;
            };
            if let Some(live) = self.live(id) {
                live.wait = None;
                live.io.notify_dispatcher();
            }
        }
    }

    /// A connection is not to be woken up any more.
    pub(super) fn forget_wait(&mut self, id: ConnectionId) {
        if let Some(at) = self.live(id).and_then(|live| live.wait.take()) {
            self.waits.remove(&(at, id));
        }
    }
}
