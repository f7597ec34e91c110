//! What went out to a broker that knows no bridges, so that it is known again when it comes back.
//!
//! Such a broker speaks MQTT 3.1.1 and ignores the bit that says that a client is a bridge: it sends what the bridge publishes to the bridge
//! too, where that has subscribed to it. [`Echoes`] remembers what went, and takes as much of the same for its echo. What comes
//! back later than that is remembered, or over a session that is resumed, passes as new: twice is better than never. In MQTT 5, and with
//! brokers that know bridges, nothing comes back, and nothing is remembered.

use std::collections::VecDeque;
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

/// For so long an echo is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// So many are waited for: 24 bytes each.
const WAITED_FOR_MAX: usize = 4096;

/// What is to come back of one bridge's messages, in the order in which it went.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    waited_for: VecDeque<(Instant, u64)>,
    /// Two messages of one hash are taken for the same; nobody outside can find such.
    hasher: foldhash::quality::RandomState,
}

impl Echoes {
    /// A message went out, by its topic there, and will come back.
    pub fn went(&mut self, now: Instant, topic: &str, payload: &[u8]) {
        if self.waited_for.len() == WAITED_FOR_MAX {
            self.waited_for.pop_front();
        }
        let name = self.hasher.hash_one((topic, payload));
        self.waited_for.push_back((now, name));
    }

    /// Whether a message that comes in is one that went out. It is so once for each time that it went.
    pub fn is_echo(&mut self, now: Instant, topic: &str, payload: &[u8]) -> bool {
        let late = |at: Instant| now.saturating_duration_since(at) > PATIENCE;
        while self.waited_for.front().is_some_and(|(at, _)| late(*at)) {
            self.waited_for.pop_front();
        }
        let name = self.hasher.hash_one((topic, payload));
        // Echoes come in order, so it is one of the first.
        let mut waited_for = self.waited_for.iter();
        let place = waited_for.position(|(_, other)| *other == name);
        place
            .and_then(|place| self.waited_for.remove(place))
            .is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_out_is_an_echo_as_often_as_it_went() {
        let (mut echoes, now) = (Echoes::default(), Instant::now());
        echoes.went(now, "t", b"on");
        echoes.went(now, "t", b"off");
        echoes.went(now, "t", b"on");
        assert!(!echoes.is_echo(now, "u", b"on"));
        assert!(!echoes.is_echo(now, "t", b"o"));
        assert!(echoes.is_echo(now, "t", b"off"));
        assert!(echoes.is_echo(now, "t", b"on"));
        assert!(echoes.is_echo(now, "t", b"on"));
        assert!(!echoes.is_echo(now, "t", b"on"), "somebody else's");
    }

    #[test]
    fn what_comes_too_late_or_was_too_much_is_new() {
        let (mut echoes, now) = (Echoes::default(), Instant::now());
        echoes.went(now, "t", b"on");
        assert!(!echoes.is_echo(now + PATIENCE * 2, "t", b"on"));
        for number in 0..=WAITED_FOR_MAX {
            echoes.went(now, "t", &number.to_le_bytes());
        }
        assert!(!echoes.is_echo(now, "t", &0_usize.to_le_bytes()));
        assert!(echoes.is_echo(now, "t", &1_usize.to_le_bytes()));
        assert!(echoes.waited_for.len() < WAITED_FOR_MAX);
    }
}
