//! The clock of the running broker: the kernel's boot clock, which never jumps and goes on while a device sleeps, plus the time that
//! the broker had seen before. So what is kept as a moment of this clock is a lifetime that is left, whatever the date is.
//! [`wall_s`] is the date, for those moments over which no clock went on.

use std::sync::OnceLock;

use crate::broker::Time;

/// What the broker's time has more than the boot clock, in milliseconds; wraps.
static AHEAD: OnceLock<u64> = OnceLock::new();

/// Has the clock go on from a time before. Only the first call counts, and it MUST come before anything is timed.
pub fn go_on(ahead_ms: u64) {
    // The first one holds.
    let _ = AHEAD.set(ahead_ms);
}

/// The present moment.
pub fn now() -> Time {
    Time(boot_ms().wrapping_add(AHEAD.get().copied().unwrap_or(0)))
}

/// The date in seconds since 1970, if the kernel has been told that it is true: by NTP.
pub fn wall_s() -> Option<u64> {
    // SAFETY: all bits 0 are a valid timex, whose modes ask for nothing to be changed; it is valid for the whole call.
    let state = unsafe { libc::adjtimex(&mut std::mem::zeroed()) };
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let is_true = state >= 0 && state != libc::TIME_ERROR;
    since_1970.ok().filter(|_| is_true).map(|it| it.as_secs())
}

/// Milliseconds since the system booted.
pub fn boot_ms() -> u64 {
    // SAFETY: all bits 0 are a valid timespec. It is not written out because some processors' has padding between its fields.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `time` is a valid timespec for the whole call, and CLOCK_BOOTTIME is there since Linux 2.6.39, so that
    // the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    // Neither is negative: the clock begins at 0.
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clock_runs_and_does_not_go_back() {
        let before = super::now();
        assert!(before.0 > 0);
        assert!(super::now() >= before);
    }
}
