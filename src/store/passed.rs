//! How much time has passed for the broker while the program was away.
//!
//! Entered by [`offset`]. It asks no clock: who calls it has.

use super::Stamp;
use super::journal::Clock;

/// A longer absence than ten years is a date that jumped.
const ABSENCE_MAX_S: u64 = 10 * 365 * 86_400;

/// What the broker's time has more than the boot clock. It goes on by what is known to have passed: all of it within one boot, by the
/// date over several if the machine knew it at both ends, and else not at all.
pub fn offset(
    boot: u64,
    boot_ms: u64,
    wall_s: Option<u64>,
    of_journal: impl Iterator<Item = Clock>,
    stamp: Stamp,
) -> u64 {
    let mut clocks = of_journal.chain([stamp.clock]);
    if let Some(clock) = clocks.find(|clock| clock.boot == boot) {
        return clock.offset_ms;
    }
    let passed_s = stamp
        .wall_s
        .zip(wall_s)
        .map(|(then, now)| now.saturating_sub(then))
        .filter(|passed_s| *passed_s <= ABSENCE_MAX_S)
        .unwrap_or(0);
    let time_ms = stamp.time_ms.saturating_add(passed_s.saturating_mul(1000));
    // A boot clock that began after the broker's time gives a negative difference, which wraps.
    time_ms.wrapping_sub(boot_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The date and the broker's time in the end of the first boot, and what its clock lacked.
    const DATE_S: u64 = 1_800_000_000;
    const TIME_MS: u64 = 5_000_000;
    const CLOCK: Clock = Clock {
        boot: 1,
        offset_ms: 3_000_000,
    };
    const FIFTY_YEARS_S: u64 = 50 * 365 * 86_400;

    /// The broker's time at a start, 700 ms after the machine's.
    fn time_ms(boot: u64, now_s: Option<u64>, journal: Option<Clock>) -> u64 {
        let stamp = Stamp {
            time_ms: TIME_MS,
            wall_s: Some(DATE_S),
            clock: CLOCK,
        };
        700_u64.wrapping_add(offset(boot, 700, now_s, journal.into_iter(), stamp))
    }

    #[test]
    fn the_time_goes_on_by_what_is_known_to_have_passed() {
        assert_eq!(time_ms(2, Some(DATE_S + 60), None), TIME_MS + 60_000);
        assert_eq!(time_ms(2, None, None), TIME_MS);
    }

    #[test]
    fn a_date_that_jumps_by_fifty_years_either_way_passes_no_time() {
        for now_s in [DATE_S - FIFTY_YEARS_S, DATE_S + FIFTY_YEARS_S] {
            assert_eq!(time_ms(2, Some(now_s), None), TIME_MS);
            assert_eq!(time_ms(1, Some(now_s), None), 700 + CLOCK.offset_ms);
        }
    }

    #[test]
    fn within_one_boot_its_clock_counts_and_the_journal_knows_it_best() {
        let later = Clock {
            offset_ms: 4_000_000,
            ..CLOCK
        };
        assert_eq!(time_ms(1, None, Some(later)), 700 + later.offset_ms);
        assert_eq!(time_ms(2, None, Some(later)), TIME_MS);
    }
}
