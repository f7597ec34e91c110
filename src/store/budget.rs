//! The day's budget of bytes to flash: when it runs out, the interval between two writes grows. Nothing is dropped for it.
//!
//! Entered by [`Budget::stretched`]. Bytes come back evenly over the day, up to one day's worth, so that an hour's storm is paid for by
//! longer intervals afterwards and not by a night in which nothing is written.

use std::time::{Duration, Instant};

/// The longest interval: what a power cut may take never grows beyond an hour.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

const DAY_S: f64 = 86_400.0;

/// A budget.
#[derive(Debug)]
pub struct Budget {
    /// Bytes a day; 0 for no bound.
    daily: u64,
    /// What may be written at `at`; negative where too much was.
    left: f64,
    at: Instant,
    /// All bytes that were accounted for.
    spent: u64,
}

impl Budget {
    /// A budget of so many bytes a day, none of which is spent.
    pub fn new(daily: u64, now: Instant) -> Budget {
        Budget {
            daily,
            left: daily as f64,
            at: now,
            spent: 0,
        }
    }

    /// Changes the budget.
    pub fn set(&mut self, daily: u64) {
        self.left += daily as f64 - self.daily as f64;
        self.daily = daily;
    }

    /// Notes that `total` bytes have been written since the start.
    pub fn spend(&mut self, total: u64, now: Instant) {
        let daily = self.daily as f64;
        let passed_s = now.saturating_duration_since(self.at).as_secs_f64();
        let refilled = (self.left + daily * passed_s / DAY_S).min(daily);
        self.left = refilled - total.saturating_sub(self.spent) as f64;
        (self.at, self.spent) = (now, total);
    }

    /// How long to wait instead of `interval`.
    pub fn stretched(&self, interval: Duration) -> Duration {
        if self.daily == 0 || self.left >= 0.0 {
            return interval;
        }
        let until_paid_s = -self.left / (self.daily as f64 / DAY_S);
        let stretched = interval + Duration::from_secs_f64(until_paid_s.min(DAY_S));
        stretched.min(INTERVAL_MAX.max(interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    #[test]
    fn within_the_budget_the_interval_is_as_configured() {
        let now = Instant::now();
        let mut budget = Budget::new(86_400, now);
        budget.spend(86_400, now);
        assert_eq!(budget.stretched(INTERVAL), INTERVAL);
    }

    #[test]
    fn what_was_spent_too_much_is_waited_for() {
        let now = Instant::now();
        let mut budget = Budget::new(86_400, now);
        budget.spend(86_400 + 100, now);
        assert_eq!(budget.stretched(INTERVAL), Duration::from_secs(130));
        budget.spend(86_400 + 100, now + Duration::from_secs(60));
        assert_eq!(budget.stretched(INTERVAL), Duration::from_secs(70));
        budget.spend(86_400 + 100, now + Duration::from_secs(200));
        assert_eq!(budget.stretched(INTERVAL), INTERVAL);
    }

    #[test]
    fn no_storm_makes_the_interval_longer_than_an_hour() {
        let now = Instant::now();
        let mut budget = Budget::new(1_000, now);
        budget.spend(1 << 40, now);
        assert_eq!(budget.stretched(INTERVAL), INTERVAL_MAX);
        assert_eq!(Budget::new(0, now).stretched(INTERVAL), INTERVAL);
    }
}
