//! What is kept, damaged or put there by others, and the clock: hostile inputs 59 to 61.
//!
//! Power cuts at every write and flash that fails at every write need a disk that a test commands: they stand beside the store. Here the
//! program is started on what such a day may leave behind. It must start, say it once, serve, keep what it is given from then on, and
//! lose no file.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::siege::{self, Siege};
use crate::harness::broker::Broker;
use crate::harness::client::Client;
use crate::harness::packet::{Connect, PINGREQ, Packet, Publish, Version};
use crate::harness::root::Root;

const DATABASE: &str = "etc/fosquitto/fosquitto.db";
const JOURNAL: &str = "var/run/fosquitto";

/// Retained messages that are there before an attack.
pub(super) const KEPT: usize = 200;

/// The name under which [`serves`] keeps something.
const LATER: &str = "kept/later";

pub(super) fn uci(durability: &str) -> String {
    format!(
        "{}\nconfig persistence 'persistence'\n\toption durability '{durability}'\n",
        siege::UCI
    )
}

fn sleeper() -> Connect {
    Connect::new(Version::V5, "sleeper").persistent()
}

/// A broker that has kept a session with a message and many retained ones.
fn keeping(durability: &str) -> Broker {
    let broker = Broker::start(&uci(durability));
    keep(&broker);
    broker
}

/// Gives a broker a session with a message and many retained ones to keep.
pub(super) fn keep(broker: &Broker) {
    let dial = || Client::dial(broker.address("open"));
    let mut client = dial().join(&sleeper());
    client.subscribe("to/sleeper", 1);
    client.disconnect();
    let mut publisher = dial().join(&Connect::new(Version::V311, "publisher"));
    publisher.publish_acknowledged(Publish::new("to/sleeper", "wake").qos(1, 1));
    for number in 0..KEPT {
        let publish = Publish::new(&format!("kept/{number}"), "x".repeat(50));
        publisher.publish_acknowledged(publish.qos(1, 1).retained());
    }
}

/// The root of one that was stopped.
fn stopped() -> Root {
    keeping("interval").stop().1
}

/// The root of one that was killed, whose last changes are in the journal or in the log.
fn killed(durability: &str) -> Root {
    keeping(durability).kill()
}

/// How many retained messages there are.
pub(super) fn retained(broker: &Broker) -> usize {
    let guest = Connect::new(Version::V311, "guest");
    let mut guest = Client::dial(broker.address("open")).join(&guest);
    guest.send_subscribe("kept/#", 0);
    guest.send(&PINGREQ);
    let mut count = 0;
    loop {
        match guest.receive() {
            Packet::Pingresp => return count,
            Packet::Publish(_) => count += 1,
            _ => {}
        }
    }
}

/// Whether the session is there, with its message.
pub(super) fn is_session_there(broker: &Broker) -> bool {
    let mut client = Client::dial(broker.address("open"));
    let connack = client.connect(&sleeper());
    if !connack.session_present {
        return false;
    }
    assert_eq!(client.text(), "wake");
    true
}

/// What the store has said in warnings and errors.
fn said(broker: &Broker) -> Vec<String> {
    let lines = broker.log().lines().into_iter();
    lines
        .filter(|line| line.contains("store") && !line.starts_with("notice"))
        .collect()
}

/// Starts on a root, which must be said once in these words (or in none at all), serves, and keeps over a crash what it is given. How many retained messages
/// were there, and whether the session was.
fn serves(root: Root, words: &str) -> (Root, usize, bool) {
    let siege = Siege::of(Broker::start_on(root));
    let (count, is_there) = (retained(&siege.broker), is_session_there(&siege.broker));
    let mut client = siege.join(&Connect::new(Version::V311, "client"));
    client.publish_acknowledged(Publish::new(LATER, "x").qos(1, 1).retained());
    let lines = said(&siege.broker);
    match words.is_empty() {
        true => assert!(lines.is_empty(), "{lines:?}"),
        false => {
            let about: Vec<&String> = lines.iter().filter(|it| it.contains(words)).collect();
            assert_eq!(about.len(), 1, "{words:?} is said once in {lines:?}");
        }
    }
    let broker = siege.survived();
    let root = broker.kill();
    let broker = Broker::start_on(root);
    assert_eq!(
        retained(&broker),
        count + 1,
        "what was given later is there"
    );
    (broker.kill(), count, is_there)
}

/// Changes the bytes of the database.
fn damage(root: &Root, damage: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(root.join(DATABASE)).expect("it is there");
    damage(&mut bytes);
    root.write(DATABASE, bytes);
}

#[test]
fn a_database_cut_short_or_of_noughts_is_set_aside_59() {
    for share in [1, 2, 50, 99] {
        let root = stopped();
        damage(&root, |bytes| bytes.truncate(bytes.len() * share / 100));
        let (root, ..) = serves(root, "is damaged");
        assert!(root.join("etc/fosquitto/fosquitto.db.corrupt-1").exists());
    }
    let root = stopped();
    damage(&root, |bytes| bytes.fill(0));
    let (root, count, _) = serves(root, "is damaged");
    assert!(root.join("etc/fosquitto/fosquitto.db.corrupt-1").exists());
    assert_eq!(count, 0);
    let root = stopped();
    damage(&root, Vec::clear);
    assert_eq!(serves(root, "").1, 0);
}

#[test]
fn what_can_be_read_of_a_database_with_flipped_bits_is_there_59() {
    let mut salvaged = 0;
    for place in 1..12 {
        let root = stopped();
        damage(&root, |bytes| {
            let at = bytes.len() * place / 12;
            for byte in &mut bytes[at..at + 40] {
                *byte ^= 0x55;
            }
        });
        // Bits in the middle of a payload are nobody's to see.
        let siege = Siege::of(Broker::start_on(root));
        salvaged += retained(&siege.broker);
        assert!(said(&siege.broker).len() <= 2, "{:?}", said(&siege.broker));
        siege.survived();
    }
    println!("{salvaged} of {} retained messages", 11 * KEPT);
    assert!(salvaged > 11 * KEPT / 2, "only {salvaged} were salvaged");
}

#[test]
fn a_database_of_a_later_version_or_of_another_program_is_kept_for_them_59() {
    // Where SQLite's file format has them: the user version, and the application id.
    for (at, words, name) in [
        (60, "later version", "newer-1"),
        (68, "another program", "foreign-1"),
    ] {
        let root = stopped();
        damage(&root, |bytes| {
            bytes[at..at + 4].copy_from_slice(&[0, 0, 9, 9])
        });
        let before = fs::read(root.join(DATABASE)).expect("it is there");
        let (root, count, _) = serves(root, words);
        let aside = root.join(&format!("{DATABASE}.{name}"));
        assert!(fs::read(aside).expect("it is kept") == before);
        assert_eq!(count, 0);
    }
}

#[test]
fn a_log_without_its_database_is_set_aside_59() {
    let root = killed("commit");
    fs::remove_file(root.join(DATABASE)).expect("it is there");
    let (root, count, is_there) = serves(root, "there is no database to");
    assert!(
        root.join("etc/fosquitto/fosquitto.db-wal.orphaned-1")
            .exists()
    );
    // The journal had not been needed any more, so that it need not have all of it.
    assert!(count <= KEPT && (is_there || count < KEPT));
}

#[test]
fn what_is_no_plain_file_is_neither_followed_nor_waited_for_59() {
    let kinds: [fn(&Root); 3] = [
        |root| symlink(root.join("etc/other"), root.join(DATABASE)).expect("a link can be made"),
        |root| fs::create_dir(root.join(DATABASE)).expect("a folder can be made"),
        |root| make_fifo(root, DATABASE),
    ];
    for make in kinds {
        let root = stopped();
        root.write(
            "etc/other",
            fs::read(root.join(DATABASE)).expect("it is there"),
        );
        let before = fs::read(root.join("etc/other")).expect("it is there");
        fs::remove_file(root.join(DATABASE)).expect("it is there");
        make(&root);
        let siege = Siege::of(Broker::start_on(root));
        assert_eq!(retained(&siege.broker), 0);
        let mut client = siege.join(&Connect::new(Version::V311, "client"));
        client.publish_acknowledged(Publish::new(LATER, "x").qos(1, 1).retained());
        assert_eq!(said(&siege.broker).len(), 1, "{:?}", said(&siege.broker));
        // The journal has it, whatever flash is.
        let broker = Broker::start_on(siege.survived().kill());
        assert_eq!(retained(&broker), 1);
        let other = fs::read(broker.root().join("etc/other"));
        assert_eq!(other.expect("it is there"), before);
    }
}

fn make_fifo(root: &Root, path: &str) {
    let path = CString::new(root.join(path).as_os_str().as_bytes()).expect("a path of text");
    // SAFETY: the path ends in a NUL.
    let made = unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
    assert_eq!(made, 0, "a FIFO can be made");
}

#[test]
fn a_database_of_another_owner_is_used_as_far_as_it_can_be_59() {
    let root = stopped();
    let path = CString::new(root.join(DATABASE).as_os_str().as_bytes()).expect("a path of text");
    // SAFETY: the path ends in a NUL.
    let changed = unsafe { libc::chown(path.as_ptr(), 65_534, 65_534) };
    // Whoever is not root cannot give it away, and uses it as it is.
    println!("another owner: {}", changed == 0);
    let (_, count, is_there) = serves(root, "");
    assert!(count == KEPT && is_there);
}

#[test]
fn a_read_only_file_system_is_read_and_what_comes_survives_a_crash_59() {
    let root = stopped();
    let folder = root.join("etc/fosquitto");
    let folder = CString::new(folder.as_os_str().as_bytes()).expect("a path of text");
    if !may_mount() {
        println!("not shown: nothing can be mounted here");
        return;
    }
    let broker = Broker::start_with(root, |command| {
        mounting(command, folder.clone(), folder.clone(), libc::MS_RDONLY);
    });
    let siege = Siege::of(broker);
    assert_eq!(retained(&siege.broker), KEPT);
    assert!(is_session_there(&siege.broker));
    let mut client = siege.join(&Connect::new(Version::V311, "client"));
    client.publish_acknowledged(Publish::new("kept/meanwhile", "x").qos(1, 1).retained());
    assert_eq!(said(&siege.broker).len(), 1, "{:?}", said(&siege.broker));
    let root = siege.survived().kill();
    let (_, count, is_there) = serves(root, "");
    assert!(count == KEPT + 1 && is_there);
}

/// Whether this process may mount something in a namespace of its own.
pub(super) fn may_mount() -> bool {
    let mut command = Command::new("/bin/true");
    let root = c"/".to_owned();
    mounting(&mut command, root.clone(), root, 0);
    command.status().is_ok_and(|status| status.success())
}

/// Has a command see one path in the place of another, for itself alone.
pub(super) fn mounting(command: &mut Command, from: CString, to: CString, flags: libc::c_ulong) {
    let mount = move || {
        let nothing = std::ptr::null();
        let bind = libc::MS_BIND | libc::MS_REC;
        // SAFETY: all paths end in a NUL and last as long as the closure.
        let done = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(
                    nothing,
                    c"/".as_ptr(),
                    nothing,
                    libc::MS_REC | libc::MS_PRIVATE,
                    nothing.cast(),
                ) == 0
                && libc::mount(from.as_ptr(), to.as_ptr(), nothing, bind, nothing.cast()) == 0
                && libc::mount(
                    nothing,
                    to.as_ptr(),
                    nothing,
                    libc::MS_REMOUNT | libc::MS_BIND | flags,
                    nothing.cast(),
                ) == 0
        };
        match done {
            true => Ok(()),
            false => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    unsafe { command.pre_exec(mount) };
}

/// The journal's newest segment that has more than its head.
fn segment(root: &Root) -> std::path::PathBuf {
    let entries = fs::read_dir(root.join(JOURNAL)).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let of_journal = paths.filter(|path| path.to_string_lossy().contains("/journal-"));
    of_journal
        .max_by_key(|path| path.metadata().map_or(0, |metadata| metadata.len()))
        .expect("a crash leaves a journal")
}

#[test]
fn a_journal_cut_off_loses_its_last_frame_alone_59() {
    let root = killed("interval");
    let path = segment(&root);
    let bytes = fs::read(&path).expect("it is there");
    fs::write(&path, &bytes[..bytes.len() - 3]).expect("it can be written");
    let (_, count, is_there) = serves(root, "the last frame was cut off");
    assert!((KEPT - 1..=KEPT).contains(&count) && is_there);
}

#[test]
fn a_journal_of_another_database_is_not_applied_59() {
    let (root, other) = (stopped(), killed("interval"));
    let path = root.join(JOURNAL).join("journal-5");
    fs::copy(segment(&other), &path).expect("it can be copied");
    let (root, count, is_there) = serves(root, "is no journal of this database");
    assert!(count == KEPT && is_there);
    assert!(root.join(JOURNAL).join("foreign-5").exists());
}

#[test]
fn rubbish_in_the_folder_of_the_journal_is_put_away_59() {
    let root = killed("interval");
    let at = |name: &str| root.join(JOURNAL).join(name);
    fs::create_dir(at("journal-700")).expect("a folder can be made");
    make_fifo(&root, "var/run/fosquitto/journal-701");
    symlink("/etc/passwd", at("journal-702")).expect("a link can be made");
    for name in [
        "journal-703",
        "journal-018",
        "journal-+19",
        "journal-18446744073709551615",
        "journal-x",
        "compacting-3",
        "rubbish",
    ] {
        fs::write(at(name), [0xA5; 5000]).expect("a file can be written");
    }
    let (root, count, is_there) = serves(root, "journal-703 is no journal");
    assert!(count == KEPT && is_there);
    let at = |name: &str| root.join(JOURNAL).join(name);
    assert!(at("foreign-700").is_dir() && at("foreign-702").is_symlink());
    assert!(at("foreign-701").exists() && at("rubbish").exists());
    assert!(!at("compacting-3").exists());
}

#[test]
fn a_power_cut_that_empties_tmpfs_takes_nothing_that_was_committed_60() {
    let root = killed("commit");
    fs::remove_dir_all(root.join(JOURNAL)).expect("it is there");
    let (_, count, is_there) = serves(root, "");
    assert!(count == KEPT && is_there);
}

#[test]
fn another_boot_without_a_date_expires_nothing_61() {
    if !may_mount() {
        println!("not shown: nothing can be mounted here");
        return;
    }
    let root = stopped();
    root.write("boot_id", "00000000-0000-0000-0000-000000000001\n");
    let from = CString::new(root.join("boot_id").as_os_str().as_bytes()).expect("a path of text");
    let broker = Broker::start_with(root, |command| {
        let to = c"/proc/sys/kernel/random/boot_id".to_owned();
        mounting(command, from.clone(), to, 0);
    });
    let siege = Siege::of(broker);
    assert_eq!(retained(&siege.broker), KEPT);
    assert!(is_session_there(&siege.broker));
    assert!(said(&siege.broker).is_empty());
    siege.survived();
}
