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

    /// Whether it has not run out.
    pub fn has_room(&self) -> bool {
        self.daily == 0 || self.left >= 0.0
    }

    /// How long to wait instead of `interval`.
    pub fn stretched(&self, interval: Duration) -> Duration {
        if self.has_room() {
            return interval;
        }
        let until_paid_s = -self.left / (self.daily as f64 / DAY_S);
        let stretched = interval + Duration::from_secs_f64(until_paid_s.min(DAY_S));
        stretched.min(INTERVAL_MAX.max(interval))
    }
}

/// What was written in the last 24 hours, by the hour.
#[derive(Debug, Clone, Default)]
pub struct Day {
    /// When the first hour began.
    from: Option<Instant>,
    /// The number of the last hour with bytes.
    last: u64,
    /// Bytes of the last 24 hours, each at its number's place.
    hours: [u64; 24],
}

impl Day {
    /// Notes bytes.
    pub fn add(&mut self, bytes: u64, now: Instant) {
        let hour = hour(*self.from.get_or_insert(now), now);
        for passed in self.last + 1..=hour.min(self.last + 24) {
            self.hours[(passed % 24) as usize] = 0;
        }
        self.last = hour;
        self.hours[(hour % 24) as usize] += bytes;
    }

    /// The bytes of the hour at hand and the 23 before.
    pub fn bytes(&self, now: Instant) -> u64 {
        let Some(from) = self.from else {
            return 0;
        };
        let hour = hour(from, now);
        let is_recent = |at: u64| at <= self.last && at + 24 > hour;
        let numbers = self.last.saturating_sub(23)..=self.last;
        let recent = numbers.filter(|at| is_recent(*at));
        recent.map(|at| self.hours[(at % 24) as usize]).sum()
    }
}

fn hour(from: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(from).as_secs() / 3600
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
    fn a_day_has_the_bytes_of_its_hours_and_no_others() {
        let now = Instant::now();
        let after = |hours: u64| now + Duration::from_secs(hours * 3600 + 1);
        let mut day = Day::default();
        assert_eq!(day.bytes(now), 0);
        day.add(1, now);
        day.add(10, after(1));
        day.add(100, after(23));
        assert_eq!(day.bytes(after(23)), 111);
        assert_eq!(day.bytes(after(24)), 110);
        day.add(1000, after(25));
        assert_eq!(day.bytes(after(25)), 1100);
        assert_eq!(day.bytes(after(48)), 1000);
        assert_eq!(day.bytes(after(100)), 0);
        day.add(5, after(1000));
        assert_eq!(day.bytes(after(1000)), 5);
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
