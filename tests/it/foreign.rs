//! The binary for a router's processor: what kind of file it is, how large, and that it computes what this machine computes.
//!
//! `cross/test` runs these tests, with `FOSQUITTO` naming the binary under emulation and `FOSQUITTO_BINARY` the file itself; without
//! them there is no such binary, so they are ignored otherwise. What the program does is held by the tests of the daemon, which
//! `cross/test` runs against it too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::broker::{Broker, LOCAL, until};
use crate::harness::packet::{Connect, Version};
use crate::harness::python::PROJECT;
use crate::harness::root::{FOSQUITTO, Root, run, stderr};

/// A kind of binary: the target, its class, byte order and machine as ELF numbers them (the gABI's EI_CLASS, EI_DATA and e_machine),
/// and the most bytes that it, and its package's archive of files, may have: what they are, and room for what the
/// program will learn.
struct Kind {
    target: &'static str,
    class: u8,
    order: u8,
    machine: u16,
    bytes_max: usize,
    packed_max: usize,
}

const fn kind(
    target: &'static str,
    (class, order, machine): (u8, u8, u16),
    bytes_max: usize,
    packed_max: usize,
) -> Kind {
    Kind {
        target,
        class,
        order,
        machine,
        bytes_max,
        packed_max,
    }
}

const LITTLE: u8 = 1;
const BIG: u8 = 2;

const KINDS: [Kind; 6] = [
    kind("mips-unknown-linux-musl", (1, BIG, 8), 4_900_000, 2_240_000),
    kind(
        "mipsel-unknown-linux-musl",
        (1, LITTLE, 8),
        4_900_000,
        2_240_000,
    ),
    kind(
        "armv7-unknown-linux-musleabihf",
        (1, LITTLE, 40),
        2_800_000,
        1_850_000,
    ),
    kind(
        "arm-unknown-linux-musleabi",
        (1, LITTLE, 40),
        4_700_000,
        2_500_000,
    ),
    kind(
        "aarch64-unknown-linux-musl",
        (2, LITTLE, 183),
        6_000_000,
        3_000_000,
    ),
    kind(
        "x86_64-unknown-linux-musl",
        (2, LITTLE, 62),
        6_500_000,
        3_000_000,
    ),
];

/// The file under test and its kind, by the name of its folder.
fn binary() -> (PathBuf, &'static Kind) {
    let path = std::env::var("FOSQUITTO_BINARY").expect("cross/test names it");
    let path = PathBuf::from(path);
    let folder = path.parent().and_then(Path::file_name);
    let target = folder.and_then(|name| name.to_str()).unwrap_or_default();
    let kind = KINDS.iter().find(|kind| kind.target == target);
    (path.clone(), kind.unwrap_or_else(|| panic!("no {target}")))
}

/// What a tool says of the binary.
fn said(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = run(Command::new(program).args(arguments).arg(path), "");
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "it needs the binary of another processor: make cross-test"]
fn the_binary_is_of_its_processor_static_and_stripped() {
    let (path, kind) = binary();
    let bytes = fs::read(&path).expect("it can be read");
    assert_eq!(bytes[..4], *b"\x7fELF");
    assert_eq!((bytes[4], bytes[5]), (kind.class, kind.order));
    let machine = [bytes[18], bytes[19]];
    let machine = match kind.order {
        BIG => u16::from_be_bytes(machine),
        _ => u16::from_le_bytes(machine),
    };
    assert_eq!(machine, kind.machine);
    let segments = said("llvm-readelf", &["--program-headers"], &path);
    assert!(!segments.contains("INTERP"), "{segments}");
    let sections = said("llvm-readelf", &["--sections", "--wide"], &path);
    assert!(sections.contains(".text"), "{sections}");
    for needless in [".symtab", ".pdr", ".comment", ".mdebug", ".debug"] {
        assert!(!sections.contains(needless), "{needless} in {sections}");
    }
}

#[test]
#[ignore = "it needs the binary of another processor: make cross-test"]
fn the_binary_is_small() {
    let (path, kind) = binary();
    let bytes = fs::metadata(&path).expect("it is there").len();
    let mut gzip = Command::new("gzip");
    let packed = gzip.arg("-9nc").arg(&path).output();
    let packed = packed.expect("gzip is there").stdout.len();
    eprintln!("{}: {bytes} bytes, {packed} packed", kind.target);
    assert!(bytes <= kind.bytes_max as u64, "{bytes}");
    assert!(packed <= kind.packed_max, "{packed}");
}

#[test]
#[ignore = "it needs the binary of another processor: make cross-test"]
fn nothing_within_names_the_machine_that_built_it() {
    let (path, _) = binary();
    let bytes = fs::read(&path).expect("it can be read");
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".into());
    // With what lies in them, since a project may stand in a folder as short as `/src`.
    for place in [
        &format!("{PROJECT}/src/"),
        &format!("{PROJECT}/target/"),
        &format!("{home}/.cargo"),
        ".cargo/registry",
        "/usr/lib/rustlib",
        "/usr/src/",
    ] {
        let found = bytes
            .windows(place.len())
            .position(|part| part == place.as_bytes());
        let around = found.map(|at| {
            let part = &bytes[at..(at + 120).min(bytes.len())];
            String::from_utf8_lossy(part).into_owned()
        });
        assert_eq!(around, None, "{place} is in it");
    }
}

#[test]
#[ignore = "it needs the binary of another processor: make cross-test"]
fn its_clock_goes_on_after_2038() {
    let (path, kind) = binary();
    let symbols = said(
        "llvm-nm",
        &["--defined-only"],
        &path.with_extension("symbols"),
    );
    let has = |name: &str| {
        symbols
            .lines()
            .any(|line| line.ends_with(&format!(" {name}")))
    };
    assert!(has("main"), "the symbols are there");
    if kind.class == 1 {
        // musl has two of each: that which programs of 64-bit seconds call, and that which older ones call.
        assert!(has("__clock_gettime64"));
        for old in [
            "__clock_gettime32",
            "clock_gettime",
            "__stat_time32",
            "stat",
            "fstat",
        ] {
            assert!(!has(old), "{old} counts seconds in 32 bits");
        }
    }
}

/// Hashes that mosquitto made, of the password 0123456789ABCDEF0123456789ABCDEF.
const KNOWN: [&str; 2] = [
    "$7$101$AAECAwQFBgcICQoL$02NS2eDWClBU0t5fjavY7arv2wsc3CilhyCU9VSPRmLvTozK+8buLbimiq0tIUSeue2pXcmdqLR6oJQ9YDn40Q==",
    "$6$AAECAwQFBgcICQoL$IqzzGyHXNhyhGRGJpmaEkfP+oYE8T7Y0wMJ56lLwZsIlm8OhK9VPj23Smvsw+rVi7Y+IBxpxl1V30YoYH5EUQQ==",
];

#[test]
fn passwords_of_mosquitto_are_what_this_processor_computes_too() {
    let root = Root::with_uci(LOCAL);
    let [first, second] = KNOWN;
    root.write(
        "etc/fosquitto/passwd",
        format!("first:{first}\nsecond:{second}\n"),
    );
    let broker = Broker::start_on(root);
    let password = "0123456789ABCDEF0123456789ABCDEF";
    for user in ["first", "second"] {
        let connect = Connect::new(Version::V311, user).user(user, password);
        broker.join(&connect).ping();
        let wrong = Connect::new(Version::V311, user).user(user, "0123456789ABCDEF");
        assert_eq!(broker.attempt(&wrong).1.code, 5);
    }
}

#[test]
fn a_crash_ends_the_program_by_its_signal() {
    use std::os::unix::process::ExitStatusExt;

    let mut broker = Broker::start(LOCAL);
    // Rust's own handler looks whether a stack overflowed, and leaves the rest to what happens when the program goes on: with a
    // signal from outside that may be nothing, the first time.
    let stat = format!("/proc/{}/stat", broker.pid());
    until("the program is gone", || {
        broker.signal(libc::SIGSEGV);
        let stat = fs::read_to_string(&stat).expect("nobody has waited for it");
        stat.contains(") Z ").then_some(())
    });
    let status = broker.wait_for_exit();
    assert_eq!(status.signal(), Some(libc::SIGSEGV), "{status}");
}

#[test]
#[ignore = "it needs the binary of another processor: make cross-test"]
fn it_says_its_version_like_the_one_of_this_machine() {
    let output = run(Command::new(&*FOSQUITTO).arg("--version"), "");
    let version = concat!("fosquitto ", env!("CARGO_PKG_VERSION"));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(version));
}
