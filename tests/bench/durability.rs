//! What lasting messages cost: processor time, messages a second, and what goes to the flash and to the journal, by class of durability, beside
//! mosquitto with its persistence set as nearly alike as it can be. And how long a broker with much to load takes until its first CONNACK.
//!
//! Each run starts a broker twice. The first one works undisturbed, for time. The second one takes 1,000 messages under `strace`, which sees each
//! write and sync of any broker with its path: what it costs must not count as time. Both are stopped in order, so that what a broker writes
//! later counts too. The state lies in the system's temporary folder, as a sync in memory is none. It does not look whether what was
//! written can be read again: the tests of the program do.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Class, Kind, PASSWORDS, Programs, Scratch, Setup, State, copy_files};
use crate::client::Client;
use crate::flow::{Amount, Driver, Flow, Presence};
use crate::machine;
use crate::packet::Publish;

/// Messages of the run in which writes are counted.
const COUNTED: u32 = 1000;
/// Messages for the sessions of one publisher that are away, so that none is dropped: a queue has 1,000 at most.
const AWAY_MESSAGES: u32 = 9000;
/// Messages of all publishers together, where there are many.
const AWAY_MESSAGES_MAX: u32 = 60_000;
/// What a broker has to load: retained messages and sessions with a subscription.
const RETAINED: u32 = 10_000;
const SESSIONS: u32 = 1000;
/// The payload of a retained message, in bytes.
const RETAINED_PAYLOAD: usize = 100;

/// What a run found.
pub struct Costs {
    /// Processor time until the last acknowledgement, in microseconds a message.
    pub processor_us: f64,
    /// The same with the end of the broker, by which it has written everything.
    pub processor_with_end_us: f64,
    /// Messages a second.
    pub rate: f64,
    /// Bytes and syncs of 1,000 messages.
    pub written: Written,
    /// Messages that did not arrive.
    pub lost: u64,
    /// Messages that came twice or out of order.
    pub disordered: u64,
}

/// What a broker wrote.
#[derive(Clone, Copy, Default)]
pub struct Written {
    /// Bytes to where its state lasts.
    pub flash: f64,
    /// How often it had them synced.
    pub syncs: f64,
    /// Bytes to the journal in memory.
    pub journal: f64,
}

/// Lets `flow` run with messages of a class.
pub fn run(
    flow: Flow,
    class: Class,
    kind: Kind,
    programs: &Programs,
    time: Duration,
) -> io::Result<Costs> {
    let mut costs = timed(flow, class, kind, programs, time)?;
    costs.written = counted(flow, class, kind, programs)?;
    Ok(costs)
}

fn timed(
    flow: Flow,
    class: Class,
    kind: Kind,
    programs: &Programs,
    time: Duration,
) -> io::Result<Costs> {
    let folder = Scratch::on_disk()?;
    let broker = Broker::start(kind, programs, lasting(flow, class, folder.path()))?;
    let mut driver = Driver::new(flow, &broker)?;
    let before = broker.processor_time_ns()?;
    let ended = machine::processor_time_of_children_ns()?;
    let started = Instant::now();
    let count = driver.run(amount(flow, class, kind, time))?;
    let seconds = started.elapsed().as_secs_f64();
    let working = broker.processor_time_ns()? - before;
    drop(driver);
    broker.stop()?;
    let all = machine::processor_time_of_children_ns()? - ended - before;
    let taken = count.delivered as f64;
    Ok(Costs {
        processor_us: working as f64 / 1e3 / taken,
        processor_with_end_us: all as f64 / 1e3 / taken,
        rate: taken / seconds,
        written: Written::default(),
        lost: count.lost,
        disordered: count.disordered,
    })
}

/// As much as no queue drops. mosquitto writes all it has after each message where it is to write at once, so that it gets few.
fn amount(flow: Flow, class: Class, kind: Kind, time: Duration) -> Amount {
    let publishers = flow.publishers as u32;
    match (kind, class, flow.presence) {
        (Kind::Mosquitto, Class::Commit, _) => Amount::Messages(COUNTED / publishers),
        (_, _, Presence::Away) => {
            Amount::Messages(AWAY_MESSAGES.min(AWAY_MESSAGES_MAX / publishers))
        }
        _ => Amount::Time(time),
    }
}

fn lasting(flow: Flow, class: Class, folder: &Path) -> Setup<'_> {
    Setup {
        bridge: matches!(flow.presence, Presence::Beyond | Presence::Cut),
        ..kept(class, folder)
    }
}

fn kept(class: Class, folder: &Path) -> Setup<'_> {
    Setup {
        state: Some(State { class, folder }),
        ..Setup::default()
    }
}

/// What 1,000 messages and the end of the broker write.
fn counted(flow: Flow, class: Class, kind: Kind, programs: &Programs) -> io::Result<Written> {
    let (folder, trace) = (Scratch::on_disk()?, Scratch::new()?);
    let calls = "trace=write,writev,pwrite64,pwritev,pwritev2,sendfile,copy_file_range,fsync,fdatasync,sync_file_range,syncfs,sync";
    let output = trace.path().join("calls").display().to_string();
    // The broker stays the generator's child (-D), each thread has a file of its own (-ff), and descriptors have their paths (-y).
    let wrapper = [
        "strace", "-D", "-ff", "-qq", "-y", "-s", "0", "-e", calls, "-o", &output,
    ];
    let programs = Programs {
        wrapper: wrapper.map(str::to_owned).to_vec(),
        ..programs.clone()
    };
    let broker = Broker::start(kind, &programs, lasting(flow, class, folder.path()))?;
    let memory = broker.folder().to_owned();
    let mut driver = Driver::new(flow, &broker)?;
    let before = written(trace.path(), folder.path(), &memory)?;
    driver.run(Amount::Messages(COUNTED / flow.publishers as u32))?;
    drop(driver);
    broker.stop()?;
    let after = written(trace.path(), folder.path(), &memory)?;
    Ok(Written {
        flash: after.flash - before.flash,
        syncs: after.syncs - before.syncs,
        journal: after.journal - before.journal,
    })
}

/// What the calls in strace's files have written so far. strace notes a call before the broker goes on from it.
fn written(trace: &Path, flash: &Path, memory: &Path) -> io::Result<Written> {
    let mut all = Written::default();
    for file in fs::read_dir(trace)? {
        let text = fs::read_to_string(file?.path())?;
        for (call, path, result) in text.lines().filter_map(call) {
            let is_flash = Path::new(path).starts_with(flash);
            let is_journal = Path::new(path).starts_with(memory) && !path.ends_with("/log");
            match call {
                _ if result < 0 => {}
                "sync" | "syncfs" => all.syncs += 1.0,
                "fsync" | "fdatasync" | "sync_file_range" if is_flash => all.syncs += 1.0,
                "fsync" | "fdatasync" | "sync_file_range" => {}
                _ if is_flash => all.flash += result as f64,
                _ if is_journal => all.journal += result as f64,
                _ => {}
            }
        }
    }
    Ok(all)
}

/// The name of a line's system call, the path of its first descriptor and its result.
fn call(line: &str) -> Option<(&str, &str, i64)> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let path = arguments
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or("", |(path, _)| path);
    let result = result.split(' ').next()?.parse().ok()?;
    Some((name, path, result))
}

/// Starts a broker on the state that another one left: 10,000 retained messages and 1,000 sessions. The caller measures it. It is as after a reboot: what
/// lies in memory is gone, and the passwords that the first start makes are there.
pub fn restarted(kind: Kind, programs: &Programs) -> io::Result<(Scratch, Broker)> {
    let folder = Scratch::on_disk()?;
    let broker = Broker::start(kind, programs, kept(Class::Interval, folder.path()))?;
    for number in 0..SESSIONS {
        let mut client = Client::resume(broker.port, &format!("bench-{number:05}"))?;
        client.subscribe(&[format!("bench/session/{number}")], 1)?;
        client.leave()?;
    }
    let mut client = Client::connect(broker.port, "bench-first")?;
    for number in 0..RETAINED {
        let topic = format!("bench/{number}");
        client.publish_acknowledged(&Publish::new(&topic, 1, RETAINED_PAYLOAD, true))?;
    }
    drop(client);
    let passwords = folder.path().join("passwords");
    copy_files(&broker.folder().join(PASSWORDS), &passwords)?;
    broker.stop()?;
    let setup = Setup {
        passwords: Some(&passwords),
        ..kept(Class::Interval, folder.path())
    };
    let broker = Broker::start(kind, programs, setup)?;
    Ok((folder, broker))
}

/// What a broker holds of messages for a bridge that is down.
pub struct Heap {
    /// By how much its memory grew, in bytes.
    pub resident: f64,
    /// What its state takes where it lasts, with the end of the broker, and in memory before that, in bytes.
    pub flash: f64,
    /// The same of its journal.
    pub journal: f64,
    /// Processor time, in microseconds a message.
    pub processor_us: f64,
}

/// Has a broker take `messages` for a bridge that is down: more than it may keep.
pub fn heap_up(flow: Flow, messages: u32, kind: Kind, programs: &Programs) -> io::Result<Heap> {
    let folder = Scratch::on_disk()?;
    let setup = lasting(flow, Class::Interval, folder.path());
    let broker = Broker::start(kind, programs, setup)?;
    let (before, started) = (broker.memory()?.resident, broker.processor_time_ns()?);
    Driver::new(flow, &broker)?.run(Amount::Messages(messages))?;
    let used = broker.processor_time_ns()? - started;
    let resident = broker.memory()?.resident - before;
    let journal = bytes_below(&broker.folder().join("var"))?;
    broker.stop()?;
    Ok(Heap {
        resident,
        flash: bytes_below(folder.path())?,
        journal,
        processor_us: used as f64 / 1e3 / f64::from(messages),
    })
}

/// What the files of a folder take; nothing if it is not there.
fn bytes_below(folder: &Path) -> io::Result<f64> {
    let mut bytes = 0.0;
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let (path, facts) = (entry?.path(), fs::symlink_metadata);
        bytes += match path.is_dir() {
            true => bytes_below(&path)?,
            false => facts(&path).map_or(0.0, |facts| facts.len() as f64),
        };
    }
    Ok(bytes)
}

/// How long a sync of a page takes where states lie, in milliseconds: the median of some.
pub fn sync_ms() -> io::Result<f64> {
    let folder = Scratch::on_disk()?;
    let mut file = fs::File::create(folder.path().join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..101 {
        file.write_all(&[0; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64() * 1e3)
}
