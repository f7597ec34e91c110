//! The clock of the running broker: the kernel's boot clock, which never jumps and goes on while a device sleeps.

use crate::broker::Time;

/// The present moment, in milliseconds since the system booted.
pub fn now() -> Time {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the whole call, and CLOCK_BOOTTIME is there since Linux 2.6.39, so that
    // the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    // Neither is negative: the clock begins at 0.
    Time(time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000)
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
