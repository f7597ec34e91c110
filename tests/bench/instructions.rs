//! Instructions a message in user space, counted by callgrind: 1→1, QoS 0, 64 B. Two runs with N and 2 N messages
//! differ by N messages and nothing else, so what starting and ending cost cancels out, and the number hardly depends on the machine's load. It says nothing about the kernel's share.

use std::fs;
use std::io;

use crate::broker::{Broker, Kind, Programs};
use crate::cases;
use crate::flow::{Amount, Driver};

/// Messages in the shorter run.
const MESSAGES: u32 = 20_000;

/// Instructions a message of one broker.
pub fn a_message(kind: Kind, programs: &Programs) -> io::Result<f64> {
    let short = total(kind, programs, MESSAGES)?;
    let long = total(kind, programs, 2 * MESSAGES)?;
    Ok((long as f64 - short as f64) / f64::from(MESSAGES))
}

/// Instructions of a whole run with `messages`.
fn total(kind: Kind, programs: &Programs, messages: u32) -> io::Result<u64> {
    let file = std::env::temp_dir().join(format!("bench-bus-callgrind-{}", std::process::id()));
    let option = format!("--callgrind-out-file={}", file.display());
    let wrapper = ["valgrind", "--quiet", "--tool=callgrind", &option]
        .map(str::to_owned)
        .to_vec();
    let programs = Programs {
        wrapper,
        ..programs.clone()
    };
    let broker = Broker::start(kind, &programs, false)?;
    let mut driver = Driver::new(cases::COUNTED, &broker)?;
    let count = driver.run(Amount::Messages(messages))?;
    if count.lost + count.disordered > 0 {
        return Err(io::Error::other(format!(
            "{} messages lost, {} disordered",
            count.lost, count.disordered
        )));
    }
    drop(driver);
    broker.stop()?;
    let text = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
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
