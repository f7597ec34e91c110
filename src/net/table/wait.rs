//! Connections that are to be woken up: at a time of their own, or when the loop has read what others have said already.

use super::Table;
use crate::broker::{ConnectionId, Time};
use crate::net::round::{Round, Rounds};

impl Table {
    /// Sets the rounds of the loop. MUST come before any connection.
    pub fn set_rounds(&mut self, rounds: Rounds) {
        self.rounds = Some(rounds);
    }

    /// Has the descriptor of a socket that has ended given back.
    pub fn sweep(&self) {
        if let Some(rounds) = &self.rounds {
            rounds.ask();
        }
    }

    /// Has a connection's future polled when the loop has read each socket that has something to say now. `None`: nothing is to be
    /// waited for.
    pub fn wake_after_round(&mut self, id: ConnectionId) -> Option<Round> {
        let io = self.live(id)?.io.clone();
        let rounds = self.rounds.as_ref()?;
        let round = rounds.ask();
        rounds.wake_after(round, io);
        Some(round)
    }

    /// Whether a round is over.
    pub fn is_over(&self, round: Round) -> bool {
        let rounds = self.rounds.as_ref();
        rounds.is_none_or(|rounds| rounds.is_over(round))
    }

    /// How much was handled of what a connection has sent, in bytes, counted around; `None` when nothing that it sends counts any more.
    pub fn received(&mut self, id: ConnectionId) -> Option<usize> {
        let live = self.live(id)?;
        live.closing.is_none().then_some(live.received)
    }

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
