//! How much memory the machine has, and the share of it that clients may take where the configuration names none.

use std::fs;

/// The part of the RAM: a router has other things to do, and what is counted is not all that is taken.
const SHARE: u64 = 4;

/// The least, in bytes: with less the bus would refuse what a small house needs.
const LEAST: u64 = 8 << 20;

/// The most, in bytes: what a 32-bit address space has room for.
const MOST: u64 = 1 << 30;

/// The ceiling of what clients may take together, in bytes, where none is configured.
pub fn share() -> usize {
    let total = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|meminfo| total(&meminfo));
    share_of(total.unwrap_or(0))
}

fn share_of(total: u64) -> usize {
    usize::try_from((total / SHARE).clamp(LEAST, MOST)).expect("MOST fits 32 bits")
}

/// `MemTotal` of proc_meminfo(5), in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_a_quarter_of_the_ram_within_bounds() {
        let meminfo = "MemTotal:         124840 kB\nMemFree:           40000 kB\n";
        assert_eq!(total(meminfo), Some(124_840 << 10));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert_eq!(share_of(128 << 20), 32 << 20);
        assert_eq!((share_of(0), share_of(16 << 20)), (8 << 20, 8 << 20));
        assert_eq!(share_of(64 << 30), 1 << 30);
    }
}
