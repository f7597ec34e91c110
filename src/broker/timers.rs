//! The broker's clock and its timers.
//!
//! Time is an argument of every input: nothing here reads a clock. A timer is armed for a [`Time`] and
//! comes out of [`Timers::expired`] when an input says that it is due. Every timer is removed when its owner
//! goes, so that their number is bounded by that of connections and sessions.

use std::collections::BTreeSet;

use super::input::ConnectionId;
use super::session::SessionKey;

/// A moment of the broker's clock: milliseconds since an origin that only the caller knows.
///
/// It never goes back: the caller takes it from the monotonic (boot) clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// The moment this many milliseconds later; the end of time where that would be later still.
    #[inline]
    pub fn after_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }

    /// The moment this many seconds later.
    #[inline]
    pub fn after_s(self, s: u64) -> Time {
        self.after_ms(s.saturating_mul(1000))
    }

    /// Milliseconds from `earlier` until this moment, 0 when it is not earlier.
    #[inline]
    pub fn since_ms(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A connection's keep alive may be exceeded (3.1.2.10).
    KeepAlive(ConnectionId),
    /// A session's Session Expiry Interval ends (3.1.2.11.2).
    SessionExpiry(SessionKey),
    /// A session's Will Delay Interval ends (3.1.3.2.2).
    WillDelay(SessionKey),
    /// `$SYS` is due, and with it what is swept now and then.
    Sys,
}

/// All timers of the broker in the order in which they are due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Time, Timer)>,
}

impl Timers {
    /// Arms a timer; the caller MUST keep `at` in order to disarm it.
    pub fn arm(&mut self, at: Time, timer: Timer) {
        self.due.insert((at, timer));
    }

    /// Takes a timer back that was armed for `at`.
    pub fn disarm(&mut self, at: Time, timer: Timer) {
        self.due.remove(&(at, timer));
    }

    /// How many are armed.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// When the next timer is due.
    pub fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due at `now`.
    pub fn expired(&mut self, now: Time) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.due.pop_first().map(|(_, timer)| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_out_in_order_and_not_before_they_are_due() {
        let mut timers = Timers::default();
        timers.arm(Time(20), Timer::SessionExpiry(SessionKey(1)));
        timers.arm(Time(10), Timer::Sys);
        timers.arm(Time(15), Timer::WillDelay(SessionKey(1)));
        timers.disarm(Time(15), Timer::WillDelay(SessionKey(1)));
        assert_eq!(timers.next(), Some(Time(10)));
        assert_eq!(timers.expired(Time(9)), None);
        assert_eq!(timers.expired(Time(30)), Some(Timer::Sys));
        assert_eq!(
            timers.expired(Time(30)),
            Some(Timer::SessionExpiry(SessionKey(1)))
        );
        assert_eq!(timers.expired(Time(30)), None);
    }
}
