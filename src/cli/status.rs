//! `fosquitto status`: says how the running bus is, for people or as JSON. Entered through [`run`]. It asks by the control socket and
//! decides nothing.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::ask::Command;
use super::dump::line;
use crate::control::{Certificate, Denial, Listener, Memory, Request, Status, Storage};
use crate::log::{Escaped, Printable};

const USAGE: &str = "\
Usage: fosquitto status [--root DIR] [--json]

Says how the running bus is: its listeners and certificates, what it holds and keeps, and what clients were denied last.

      --json     one line of JSON; src/control/status.rs describes it
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
";

/// So many of the last denials are shown to people.
const DENIALS: usize = 5;

const COMMAND: Command = Command {
    name: "status",
    usage: USAGE,
    words: (0, 0),
    options: &[],
    flags: &[],
};

/// Runs the command with what follows its name. Exit status 1 where no bus runs or it does not answer.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let asked = match COMMAND.read(root, arguments) {
        Ok(asked) => asked,
        Err(status) => return status,
    };
    let said = asked.bus().and_then(|mut bus| {
        let answer = bus.ask(&Request::Status {})?;
        if asked.as_json {
            return Ok(line(&answer));
        }
        let status = serde_json::from_value(answer).map_err(|error| error.to_string())?;
        Ok(in_words(&status))
    });
    asked.end(said)
}

/// The status for people.
fn in_words(status: &Status) -> String {
    let mut text = String::new();
    let mut say = |name: &str, what: String| {
        writeln!(text, "{name:<10} {what}").expect("a string takes everything");
    };
    let version = Escaped(&status.version);
    let uptime = duration(status.uptime_s);
    say(
        "fosquitto",
        format!("{version}, up for {uptime}, process {}", status.pid),
    );
    for fault in &status.configuration.faults {
        say("kept", format!("not reloaded: {}", Printable(fault)));
    }
    for listener in &status.listeners {
        for what in listener_in_words(listener) {
            say("listener", what);
        }
    }
    for certificate in &status.certificates {
        say(&certificate.kind, certificate_in_words(certificate));
    }
    let counts = &status.counts;
    let (clients, sessions) = (counts.clients, counts.sessions);
    say(
        "clients",
        format!("{clients} connected, {sessions} sessions"),
    );
    say("subscribed", format!("{} filters", counts.subscriptions));
    let (retained, waiting) = (counts.retained, counts.waiting);
    let (came, went) = (
        status.traffic.messages_received,
        status.traffic.messages_sent,
    );
    let dropped = status.traffic.messages_dropped;
    say(
        "messages",
        format!(
            "{retained} retained, {waiting} waiting; {came} came, {went} went, {dropped} were dropped"
        ),
    );
    say("memory", memory_in_words(&status.memory));
    for what in store_in_words(&status.store) {
        say("store", what);
    }
    let (denied, failed) = (counts.denied, counts.logins_failed);
    say(
        "denied",
        format!("{denied} times, and {failed} logins failed"),
    );
    for denial in status.denials.iter().take(DENIALS) {
        say("", denial_in_words(denial));
    }
    text
}

fn listener_in_words(listener: &Listener) -> Vec<String> {
    let name = Escaped(&listener.name);
    let places = listener.places.join(", ");
    let places = Escaped::bounded(&places, 1000);
    let count = listener.connections;
    let mut said = vec![match listener.open {
        true => format!("{name}: {places}; {count} connections"),
        false => format!("{name}: closed"),
    }];
    let faults = listener.faults.iter();
    said.extend(faults.map(|fault| format!("{name}: {}", Printable(fault))));
    said
}

fn certificate_in_words(certificate: &Certificate) -> String {
    let left = match certificate.left_s {
        None => "for ever".to_owned(),
        Some(left_s @ 0..) => format!("for {} more", duration(left_s.unsigned_abs())),
        Some(left_s) => format!("no more since {}", duration(left_s.unsigned_abs())),
    };
    let path = certificate.path.to_string_lossy();
    format!(
        "{}: {}, valid {left} ({})",
        Escaped(&certificate.listener),
        Escaped(&certificate.subject),
        Escaped::bounded(&path, 1000)
    )
}

fn memory_in_words(memory: &Memory) -> String {
    let in_units = |count: usize| bytes(count as u64);
    let (held, ceiling) = (in_units(memory.held), in_units(memory.held_max));
    let highest = in_units(memory.held_highest);
    let process = match memory.process {
        Some(process) => format!(", the process has {}", bytes(process)),
        None => String::new(),
    };
    format!("{held} of {ceiling} for clients, at most {highest} so far{process}")
}

fn denial_in_words(denial: &Denial) -> String {
    let user = match &denial.user {
        Some(user) => format!(" (user '{}')", Escaped(user)),
        None => String::new(),
    };
    let topic = match denial.topic.as_str() {
        "" => String::new(),
        topic => format!(" '{}'", Escaped(topic)),
    };
    let words = Printable(&denial.words);
    format!(
        "{} ago, {} times: '{}'{user} from {}: {}{topic}: {words}",
        duration(denial.ago_s),
        denial.count,
        Escaped(&denial.client_id),
        Escaped(&denial.address),
        Escaped(&denial.action)
    )
}

fn store_in_words(store: &Storage) -> Vec<String> {
    let class = Escaped(&store.class).to_string();
    let Some(path) = &store.path else {
        return vec![format!("{class}: nothing is kept")];
    };
    let path = path.to_string_lossy();
    let ago = match store.last_commit_s {
        Some(s) => format!("{} ago", duration(s)),
        None => "not yet".to_owned(),
    };
    let mut said = vec![
        format!(
            "{class}, in {}; last written {ago}",
            Escaped::bounded(&path, 1000)
        ),
        format!(
            "to flash {} in 24 hours{}, {} in {} transactions and {} syncs, to the journal {}; {} changes to go",
            bytes(store.flash_bytes_day),
            match store.daily_budget {
                Some(budget) => format!(" of {}", bytes(budget)),
                None => String::new(),
            },
            bytes(store.flash_bytes),
            store.commits,
            store.flash_syncs,
            bytes(store.journal_bytes),
            store.pending
        ),
    ];
    if let Some(error) = &store.error {
        said.push(format!("cannot be written: {}", Escaped(error)));
    } else if let (Some(error), Some(s)) = (&store.last_error, store.last_error_s) {
        let ago = duration(s);
        said.push(format!(
            "could not be written until {ago} ago: {}",
            Escaped(error)
        ));
    }
    said
}

pub(super) fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} B"),
        10_240..10_485_760 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}

pub(super) fn duration(s: u64) -> String {
    match s {
        0..120 => format!("{s} s"),
        120..7_200 => format!("{} min", s / 60),
        7_200..172_800 => format!("{} h", s / 3_600),
        _ => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_chose_commands_no_terminal() {
        let store = Storage {
            class: "interval".into(),
            path: Some("/a\u{1b}[2J".into()),
            error: Some("\u{9b}2J".into()),
            ..Storage::default()
        };
        let said = store_in_words(&store).concat();
        assert!(!said.contains(char::is_control), "{said:?}");
        let well_again = Storage {
            last_error: store.error.clone(),
            error: None,
            last_error_s: Some(7200),
            ..store
        };
        let said = store_in_words(&well_again).concat();
        assert!(!said.contains(char::is_control), "{said:?}");
        assert!(said.contains("could not be written until 2 h ago: "));
    }

    #[test]
    fn quantities_have_the_unit_that_suits_them() {
        assert_eq!([bytes(10_239), bytes(10_240)], ["10239 B", "10 KiB"]);
        assert_eq!(bytes(100 << 20), "100 MiB");
        assert_eq!([duration(119), duration(120)], ["119 s", "2 min"]);
        assert_eq!([duration(7_200), duration(172_800)], ["2 h", "2 days"]);
    }
}
