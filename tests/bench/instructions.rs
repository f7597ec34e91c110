//! Instructions a delivered message in user space, counted by callgrind, and held against the numbers that are kept in
//! `tests/bench/instructions.txt`. Two runs with N and 2 N messages differ by N messages and nothing else, so what starting and ending cost
//! cancels out, and the number hardly depends on the machine or its load. It says nothing about the kernel's share.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::broker::{Broker, Kind, Programs, Setup};
use crate::cases::{self, Counted};
use crate::flow::{Amount, Driver};

/// By how much a count may exceed the one that is kept. How many messages a broker finds at each read depends on when it is scheduled,
/// and so does what a turn of its loop costs each of them: runs of one binary differ by up to 1 % on a busy machine. The rest is
/// for another compiler of the same year and for the C library's choice of `memcpy` by processor. A copy, an allocation or a look-up more
/// for each message is more than this.
const TOLERANCE: f64 = 0.05;

/// The numbers of this project's broker: a line a case, its name and the instructions.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/instructions.txt");

/// The table of all cases for `kinds`, printed line by line. `false` if this project's broker takes more than is kept. With `UPDATE_EXPECT=1` in
/// the environment its numbers are kept instead.
pub fn hold(kinds: &[Kind], programs: &Programs) -> io::Result<bool> {
    let renews = std::env::var_os("UPDATE_EXPECT").is_some();
    let kept = Kept::read(Path::new(KEPT))?;
    let mut found = Kept(Vec::new());
    let mut good = true;
    println!("| case | broker | instructions a message | kept |\n|---|---|---:|---:|");
    for case in cases::counted() {
        for &kind in kinds.iter().filter(|&&kind| kind != Kind::Relay) {
            let instructions = a_message(case, kind, programs)?;
            let (name, broker) = (case.name, kind.name());
            if kind != Kind::Fosquitto {
                println!("| {name} | {broker} | {instructions:.0} | |");
                continue;
            }
            found.0.push((name.to_owned(), instructions));
            let expected = kept.of(name).unwrap_or(0.0);
            println!("| {name} | {broker} | {instructions:.0} | {expected:.0} |");
            if !renews && instructions > expected * (1.0 + TOLERANCE) {
                good = false;
                eprintln!(
                    "bench: {name}: {instructions:.0} instructions a message, and {expected:.0} are kept; \
                     where more are worth it, UPDATE_EXPECT=1 keeps them"
                );
            } else if !renews && instructions < expected * (1.0 - TOLERANCE) {
                eprintln!("bench: {name}: fewer than kept; UPDATE_EXPECT=1 keeps that");
            }
        }
    }
    if renews {
        found.write(Path::new(KEPT))?;
    }
    Ok(good)
}

/// Numbers by case.
struct Kept(Vec<(String, f64)>);

impl Kept {
    /// What a file says; none if it is not there.
    fn read(path: &Path) -> io::Result<Kept> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let numbers = lines.map(|line| {
            let (name, number) = line.split_once(' ')?;
            Some((name.to_owned(), number.trim().parse().ok()?))
        });
        numbers
            .collect::<Option<Vec<_>>>()
            .map(Kept)
            .ok_or_else(|| io::Error::other(format!("{}: not a name and a number", path.display())))
    }

    fn of(&self, name: &str) -> Option<f64> {
        let found = self.0.iter().find(|(of, _)| of == name);
        found.map(|&(_, number)| number)
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = "# Instructions in user space a delivered message, which `make bench-instructions` holds the program against;\n\
                        # with UPDATE_EXPECT=1 in its environment it writes them anew.\n"
            .to_owned();
        for (name, number) in &self.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} {number:.0}");
        }
        fs::write(path, text)
    }
}

/// Instructions a delivered message of one broker.
fn a_message(case: Counted, kind: Kind, programs: &Programs) -> io::Result<f64> {
    let short = total(case, kind, programs, case.messages)?;
    let long = total(case, kind, programs, 2 * case.messages)?;
    let delivered = f64::from(case.messages) * case.flow.subscribers as f64;
    Ok((long as f64 - short as f64) / delivered)
}

/// Instructions of a whole run with `messages`.
fn total(case: Counted, kind: Kind, programs: &Programs, messages: u32) -> io::Result<u64> {
    let file =
        Output(std::env::temp_dir().join(format!("bench-bus-callgrind-{}", std::process::id())));
    let option = format!("--callgrind-out-file={}", file.0.display());
    let wrapper = ["valgrind", "--quiet", "--tool=callgrind", &option]
        .map(str::to_owned)
        .to_vec();
    let programs = Programs {
        wrapper,
        ..programs.clone()
    };
    let broker = Broker::start(kind, &programs, Setup::default())?;
    let mut driver = Driver::new(case.flow, &broker)?;
    let count = driver.run(Amount::Messages(messages))?;
    if count.lost + count.disordered > 0 {
        return Err(io::Error::other(format!(
            "{} messages lost, {} disordered",
            count.lost, count.disordered
        )));
    }
    drop(driver);
    broker.stop()?;
    let text = fs::read_to_string(&file.0)?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("summary:")
                .or_else(|| line.strip_prefix("totals:"))?
                .trim()
                .parse()
                .ok()
        })
        .ok_or_else(|| io::Error::other("callgrind wrote no summary"))
}

/// What callgrind writes, removed when it has been read.
struct Output(PathBuf);

impl Drop for Output {
    fn drop(&mut self) {
        // It is not there if callgrind could not run.
        let _ = fs::remove_file(&self.0);
    }
}
