//! `fosquitto trace`: shows what happened on the running bus, or what happens. Entered through [`run`]. It asks by the control socket, again
//! and again while it follows; the trace itself is the bus's (`net::table`).

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize as _;

use super::ask::{Asked, Command};
use super::dump::line;
use crate::control::client::Asker;
use crate::control::{Direction, Request, Trace, Traced, Watch};
use crate::log::{Escaped, Printable};

const COMMAND: Command = Command {
    name: "trace",
    usage: "\
Usage: fosquitto trace [--root DIR] [--json] [--client CLIENT]          show what is remembered
       fosquitto trace --follow [--client CLIENT | --topic FILTER]      show what happens from now on
       fosquitto trace --start (--client CLIENT | --topic FILTER) [--for SECONDS]
       fosquitto trace --stop [--client CLIENT | --topic FILTER]

Connections, their ends, denials and failed logins are always remembered, the last of them; packets are while their client or their
topic is watched. Never a payload.

      --client CLIENT  of the client with this identifier
      --topic FILTER   PUBLISH packets on the topics of FILTER
      --follow         show it as it happens, and watch CLIENT or FILTER meanwhile
      --start          watch CLIENT or FILTER, for 600 seconds if --for says nothing else
      --stop           watch that no more, or nothing
      --for SECONDS    follow or watch for so long
      --json           lines of JSON; src/control/rows.rs describes them
      --root DIR       ask the bus that runs on DIR (default /)
  -h, --help           show this
",
    words: (0, 0),
    options: &["client", "topic", "for"],
    flags: &["follow", "start", "stop"],
};

/// How often the bus is asked while it is followed, and how long it is told to watch each time, in seconds: somebody who goes leaves
/// a watch behind that ends soon.
const POLL: Duration = Duration::from_millis(200);
const WATCH_S: u32 = 60;
const RENEW: Duration = Duration::from_secs(30);

/// Runs the command with what follows its name.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let asked = match COMMAND.read(root, arguments) {
        Ok(asked) => asked,
        Err(status) => return status,
    };
    let flags = [asked.has("follow"), asked.has("start"), asked.has("stop")];
    let for_s = asked.option("for").map(str::parse::<u32>).transpose();
    let is_understood = flags.iter().filter(|flag| **flag).count() <= 1
        && for_s.is_ok()
        && (flags.contains(&true) || asked.option("topic").is_none());
    if !is_understood {
        eprintln!(
            "fosquitto trace: these do not go together\n\n{}",
            COMMAND.usage
        );
        return ExitCode::from(super::USAGE);
    }
    let for_s = for_s.unwrap_or_default();
    asked.end(match flags {
        [true, ..] => follow(&asked, for_s).map(|()| String::new()),
        [_, true, _] => watch(&asked, for_s),
        [.., true] => stop(&asked),
        _ => remembered(&asked).map(|()| String::new()),
    })
}

fn owned(asked: &Asked, name: &str) -> Option<String> {
    asked.option(name).map(str::to_owned)
}

fn start(asked: &Asked, for_s: Option<u32>) -> Request {
    Request::TraceStart {
        client_id: owned(asked, "client"),
        filter: owned(asked, "topic"),
        for_s,
    }
}

fn watch(asked: &Asked, for_s: Option<u32>) -> Result<String, String> {
    asked.ask(&start(asked, for_s), watches)
}

fn stop(asked: &Asked) -> Result<String, String> {
    let request = Request::TraceStop {
        client_id: owned(asked, "client"),
        filter: owned(asked, "topic"),
    };
    asked.ask(&request, watches)
}

fn watches(answer: &serde_json::Value) -> String {
    let watches = Vec::<Watch>::deserialize(&answer["watches"]).unwrap_or_default();
    if watches.is_empty() {
        return "nothing is watched\n".to_owned();
    }
    let said = watches.iter().map(|watch| {
        let (what, name) = match (&watch.client_id, &watch.filter) {
            (Some(client), _) => ("client", client.as_str()),
            (None, filter) => ("topics", filter.as_deref().unwrap_or_default()),
        };
        let left_s = watch.left_s;
        format!("{what} '{}' for {left_s} s more\n", Escaped(name))
    });
    said.collect()
}

fn page(bus: &mut Asker, asked: &Asked, from: Option<String>) -> Result<Trace, String> {
    let answer = bus.ask(&Request::Trace {
        from,
        client_id: owned(asked, "client"),
    })?;
    serde_json::from_value(answer).map_err(|error| error.to_string())
}

fn remembered(asked: &Asked) -> Result<(), String> {
    let mut bus = asked.bus()?;
    let mut from = None;
    loop {
        let page = page(&mut bus, asked, from)?;
        print(asked, &page.items)?;
        if !page.more {
            return Ok(());
        }
        from = Some(page.next);
    }
}

fn follow(asked: &Asked, for_s: Option<u32>) -> Result<(), String> {
    let until = for_s.map(|s| Instant::now() + Duration::from_secs(u64::from(s)));
    let mut bus = asked.bus()?;
    let is_watching = asked.option("client").or(asked.option("topic")).is_some();
    // Beyond all that there is: from now on.
    let mut from = page(&mut bus, asked, Some(u64::MAX.to_string()))?.next;
    let mut renewed: Option<Instant> = None;
    loop {
        if is_watching && renewed.is_none_or(|at| at.elapsed() >= RENEW) {
            bus.ask(&start(asked, Some(WATCH_S)))?;
            renewed = Some(Instant::now());
        }
        let page = page(&mut bus, asked, Some(from))?;
        if page.lost > 0 {
            eprintln!(
                "fosquitto trace: {} events came too fast to be seen",
                page.lost
            );
        }
        print(asked, &page.items)?;
        if !page.more {
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        from = page.next;
    }
}

fn print(asked: &Asked, items: &[Traced]) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let now = SystemTime::now();
    for item in items {
        let text = match asked.as_json {
            true => line(item),
            false => in_words(item, now),
        };
        out.write_all(text.as_bytes())
            .map_err(|error| error.to_string())?;
    }
    out.flush().map_err(|error| error.to_string())
}

/// `12:34:56.789 in  'phone' PUBLISH 'a/b', QoS 1, id 7, 12 bytes`.
fn in_words(item: &Traced, now: SystemTime) -> String {
    let at = now
        .checked_sub(Duration::from_millis(item.ago_ms))
        .unwrap_or(now);
    let way = match item.direction {
        Direction::In => "in ",
        Direction::Out => "out",
        Direction::Event => " * ",
    };
    let (client, what) = (Escaped(&item.client_id), Escaped(&item.what));
    let mut text = format!("{} {way} '{client}' {what}", clock(at));
    let mut add = |what: String| write!(text, "{what}").expect("a string takes everything");
    if let Some(topic) = &item.topic {
        add(format!(" '{}'", Escaped(topic)));
    }
    if let Some(qos) = item.qos {
        add(format!(", QoS {qos}"));
    }
    for (is_set, word) in [(item.retain, ", retain"), (item.duplicate, ", again")] {
        if is_set {
            add(word.to_owned());
        }
    }
    if let Some(id) = item.packet_id {
        add(format!(", id {id}"));
    }
    match (item.size, item.what.as_str()) {
        (Some(size), "PUBLISH") => add(format!(", {size} bytes")),
        (Some(size), _) if size > 1 => add(format!(", {size} filters")),
        _ => {}
    }
    if let Some(reason) = item.reason.filter(|reason| *reason > 0) {
        add(format!(", 0x{reason:02X}"));
    }
    if let Some(words) = &item.words {
        add(format!(": {}", Printable(words)));
    }
    text.push('\n');
    text
}

/// The time of day here.
fn clock(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() as libc::time_t;
    // SAFETY: all bits 0 are a valid tm, and both pointers are valid for the whole call.
    let local = unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const seconds, &raw mut local);
        local
    };
    let (hour, minute, second) = (local.tm_hour, local.tm_min, local.tm_sec);
    let ms = since.subsec_millis();
    format!("{hour:02}:{minute:02}:{second:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_that_commands_no_terminal() {
        let item = Traced {
            number: 1,
            ago_ms: 0,
            direction: Direction::In,
            client_id: "a\u{1b}[2J\n".into(),
            what: "PUBLISH".into(),
            topic: Some("t/\u{9b}2J".into()),
            qos: Some(1),
            retain: true,
            duplicate: false,
            packet_id: Some(7),
            size: Some(12),
            reason: None,
            words: Some("said\u{1b}".into()),
        };
        let said = in_words(&item, UNIX_EPOCH + Duration::from_millis(789));
        assert_eq!(
            said.trim_end().matches(char::is_control).count(),
            0,
            "{said:?}"
        );
        let end =
            r"in  'a\x1b[2J\n' PUBLISH 't/\u{9b}2J', QoS 1, retain, id 7, 12 bytes: said\u{1b}";
        assert!(said.trim_end().ends_with(end), "{said}");
    }
}
