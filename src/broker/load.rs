//! Load averages, as `$SYS/broker/load/` tells them: how much happens a minute, over the last 1, 5 and 15 minutes.
//!
//! Entered by [`Loads::update`] in each round of `$SYS`. As mosquitto does it and the system's own load average, each is an average
//! that forgets exponentially: what was counted in a round, made an amount a minute, weighs the more the longer the round was.

use super::timers::Time;

/// What is averaged, in the order of their totals.
pub(super) const NAMES: [&str; 9] = [
    "messages/received",
    "messages/sent",
    "publish/dropped",
    "publish/received",
    "publish/sent",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
];

/// Over how many minutes.
pub(super) const MINUTES: [u32; 3] = [1, 5, 15];

/// A value that moves by less is not published again.
const STEP: f64 = 0.01;

/// The averages.
#[derive(Debug, Default)]
pub(super) struct Loads {
    last: Option<Time>,
    totals: [u64; NAMES.len()],
    averages: [[f64; MINUTES.len()]; NAMES.len()],
    told: [[Option<f64>; MINUTES.len()]; NAMES.len()],
}

impl Loads {
    /// Takes the totals at the moment `now`; what is to be published: the name's and the minutes' positions, and the value.
    pub fn update(&mut self, now: Time, totals: [u64; NAMES.len()]) -> Vec<(usize, usize, f64)> {
        let passed_ms = now.since_ms(self.last.unwrap_or(now));
        if passed_ms > 0 {
            let passed_min = passed_ms as f64 / 60_000.0;
            for (which, averages) in self.averages.iter_mut().enumerate() {
                let counted = totals[which].saturating_sub(self.totals[which]);
                let a_minute = counted as f64 / passed_min;
                for (average, minutes) in averages.iter_mut().zip(MINUTES) {
                    let kept = (-passed_min / f64::from(minutes)).exp();
                    *average = a_minute + kept * (*average - a_minute);
                }
            }
        }
        if passed_ms > 0 || self.last.is_none() {
            self.totals = totals;
            self.last = Some(now);
        }
        self.changed()
    }

    fn changed(&mut self) -> Vec<(usize, usize, f64)> {
        let mut changed = Vec::new();
        for (which, averages) in self.averages.iter().enumerate() {
            for (span, average) in averages.iter().enumerate() {
                let told = &mut self.told[which][span];
                if told.is_none_or(|told| (told - average).abs() >= STEP) {
                    *told = Some(*average);
                    changed.push((which, span, *average));
                }
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A total that grows by 60 a minute in all places.
    fn totals(s: u64) -> [u64; NAMES.len()] {
        [s; NAMES.len()]
    }

    #[test]
    fn a_steady_load_is_approached_by_each_average_in_its_time() {
        let mut loads = Loads::default();
        assert_eq!(loads.update(Time(0), totals(0)).len(), 27);
        for round in 1..=6 {
            loads.update(Time(round * 10_000), totals(round * 10));
        }
        // After t minutes of m an average has 1 - exp(-t/m) of it.
        for (span, minutes) in MINUTES.into_iter().enumerate() {
            let expected = 60.0 * (1.0 - (-1.0 / f64::from(minutes)).exp());
            assert!((loads.averages[0][span] - expected).abs() < 1e-6);
        }
        for round in 7..=1000 {
            loads.update(Time(round * 10_000), totals(round * 10));
        }
        assert!(
            loads
                .averages
                .iter()
                .flatten()
                .all(|it| (it - 60.0).abs() < 0.01)
        );
        assert!(loads.update(Time(10_000_000), totals(10_000)).is_empty());
    }
}
