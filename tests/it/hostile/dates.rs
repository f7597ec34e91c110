//! Dates that jump, with the real program: hostile input 61.
//!
//! The program is started with a date of the test's, between whose starts the machine seems to have booted. It needs the right to
//! mount, for the number of the boot, and says so where it has not.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use super::stored::{KEPT, is_session_there, keep, may_mount, mounting, retained, uci};
use crate::harness::broker::Broker;
use crate::harness::root::Root;

const FIFTY_YEARS_S: i64 = 50 * 365 * 86_400;

/// What stands before the C library, made in a root.
fn make_library(root: &Root) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hostile/dates.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
    let made = compiler.arg(root.join("dates.so")).arg(source).status();
    assert!(made.is_ok_and(|status| status.success()), "cc fails");
}

/// From now on the date is so many seconds later than the machine's.
fn set_date(root: &Root, ahead_s: i64) {
    // A reader finds the one or the other.
    root.write("date.new", ahead_s.to_string());
    std::fs::rename(root.join("date.new"), root.join("date")).expect("one folder");
}

/// Starts after a boot, with such a date.
fn boot(root: Root, number: u32, ahead_s: i64) -> Broker {
    set_date(&root, ahead_s);
    root.write(
        "boot_id",
        format!("00000000-0000-0000-0000-00000000000{number}\n"),
    );
    let path = root.join("boot_id");
    let from = CString::new(path.as_os_str().as_bytes()).expect("a path of text");
    let (library, date) = (root.join("dates.so"), root.join("date"));
    Broker::start_with(root, |command| {
        let to = c"/proc/sys/kernel/random/boot_id".to_owned();
        mounting(command, from.clone(), to, 0);
        command.env("LD_PRELOAD", library).env("DATE_AHEAD", date);
    })
}

fn has_all(broker: &Broker) -> bool {
    retained(broker) == KEPT && is_session_there(broker)
}

#[test]
fn a_date_that_jumps_by_fifty_years_expires_nothing_and_two_hours_that_have_passed_do_61() {
    if !may_mount() {
        println!("not shown: nothing can be mounted here");
        return;
    }
    let root = Root::with_uci(&uci("interval"));
    make_library(&root);
    let broker = boot(root, 1, 0);
    keep(&broker);
    for ahead_s in [FIFTY_YEARS_S, -FIFTY_YEARS_S, 0] {
        set_date(broker.root(), ahead_s);
        assert!(has_all(&broker), "{ahead_s} while it runs");
    }
    let mut root = broker.stop().1;
    for (number, ahead_s) in [(2, FIFTY_YEARS_S), (3, -FIFTY_YEARS_S), (4, 0)] {
        let broker = boot(root, number, ahead_s);
        assert!(has_all(&broker), "{ahead_s} after boot {number}");
        root = broker.stop().1;
    }
    // The session is for an hour, which the machine was off, and knows it.
    let broker = boot(root, 5, 7200);
    assert_eq!(retained(&broker), KEPT);
    assert!(!is_session_there(&broker));
}
