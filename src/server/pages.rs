//! Pages of the program's files that only its start needed. Entered by [`let_go`], once, when the bus is ready.
//!
//! Reading a configuration, loading OpenSSL's providers and making a database runs code that is not run again, and the kernel maps sixteen pages
//! for each that is touched. On a router with little memory pages that stand in a process's tables are the last that the kernel takes back. They
//! are given back here: what is needed again comes from the kernel's cache, where it still is, without the disk.
//!
//! It touches no page that was written to, and nothing depends on whether it succeeds.

use std::fs;

/// Gives back what the process has mapped of files and never wrote to.
pub fn let_go() {
    let Ok(smaps) = fs::read_to_string("/proc/self/smaps") else {
        return;
    };
    for (start, bytes) in unwritten(&smaps) {
        // SAFETY: the range is a private mapping of a file that cannot be written to and of which no page was ever copied, so that
        // each page comes back from the file as it is. The addresses are what the kernel has just said of this process.
        unsafe {
            libc::madvise(start as *mut libc::c_void, bytes, libc::MADV_DONTNEED);
        }
    }
}

/// The private mappings of files that cannot be written to and have no page of their own, in the form of proc_pid_smaps(5): where they start,
/// and their bytes.
fn unwritten(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at_hand = None;
    for line in smaps.lines() {
        if let Some(kilobytes) = line.strip_prefix("Anonymous:") {
            if kilobytes.trim() == "0 kB" {
                found.extend(at_hand.take());
            }
        } else if let Some(mapping) = mapping(line) {
            at_hand = mapping;
        }
    }
    found
}

/// The mapping whose first line this is; `Some(None)` for one that must stay as it is, and `None` for another line.
fn mapping(line: &str) -> Option<Option<(usize, usize)>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let rights = words.next()?.as_bytes();
    let path = words.nth(3).unwrap_or_default();
    let is_unwritten = matches!(rights, [b'r', b'-', _, b'p']) && path.starts_with('/');
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = address(start).zip(address(end));
    Some(
        range
            .filter(|_| is_unwritten)
            .map(|(start, end)| (start, end.saturating_sub(start))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_back_from_a_file_as_it_was_is_given_back() {
        let mapping = |head: &str, anonymous: u32| {
            format!("{head}\nSize:  8 kB\nAnonymous:   {anonymous} kB\nVmFlags: rd ex mr\n")
        };
        let smaps = [
            mapping("1000-3000 r-xp 00000000 08:01 7   /usr/bin/fosquitto", 0),
            mapping("3000-4000 r--p 00002000 08:01 7   /usr/bin/fosquitto", 4),
            mapping("4000-5000 rw-p 00003000 08:01 7   /usr/bin/fosquitto", 0),
            mapping("5000-6000 r--s 00000000 08:01 8   /dev/shm/shared", 0),
            mapping("6000-7000 r-xp 00000000 00:00 0   [vdso]", 0),
            mapping("7000-8000 r--p 00000000 00:00 0", 0),
            mapping("8000-9000 ---p 00000000 08:01 9   /lib/libc.so", 0),
            mapping("a000-e000 r--p 00000000 08:01 9   /lib/with a space.so", 0),
        ];
        assert_eq!(
            unwritten(&smaps.concat()),
            [(0x1000, 0x2000), (0xa000, 0x4000)]
        );
        assert!(unwritten("nonsense\nAnonymous: 0 kB\n-\n").is_empty());
    }

    #[test]
    fn the_process_goes_on_with_what_it_gave_back() {
        let_go();
        assert!(
            !unwritten(&fs::read_to_string("/proc/self/smaps").expect("it is there")).is_empty()
        );
    }
}
