//! `fosquitto status`: says how the running bus is, for people or as JSON. Entered through [`run`]. It asks by the control socket and
//! decides nothing.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::dump::{asker, line};
use crate::control::{Request, Status, Storage};
use crate::log::Escaped;

const USAGE: &str = "\
Usage: fosquitto status [--root DIR] [--json]

Says how the running bus is: its listeners, what it holds, and what it keeps.

      --json     one line of JSON; src/control/mod.rs describes it
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
";

/// Runs the command with what follows its name. Exit status 1 where no bus runs or it does not answer.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let (root, as_json) = match parse(root, arguments) {
        Ok(Some(understood)) => understood,
        Ok(None) => return super::print(USAGE),
        Err(what) => {
            eprintln!("fosquitto status: {what}\n\n{USAGE}");
            return ExitCode::from(super::USAGE);
        }
    };
    match say(&root, as_json) {
        Ok(text) => super::print(&text),
        Err(what) => {
            eprintln!("fosquitto status: {what}");
            ExitCode::from(super::FAULTS)
        }
    }
}

fn parse(root: &Path, arguments: Vec<OsString>) -> Result<Option<(PathBuf, bool)>, String> {
    use lexopt::{Arg, Parser};
    let mut parser = Parser::from_args(arguments);
    let (mut root, mut as_json) = (root.to_owned(), false);
    let in_words = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(in_words)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("root") => root = parser.value().map_err(in_words)?.into(),
            Arg::Long("json") => as_json = true,
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(Some((root, as_json)))
}

fn say(root: &Path, as_json: bool) -> Result<String, String> {
    let answer = asker(root)?
        .ok_or("no bus is running")?
        .ask(&Request::Status {})?;
    if as_json {
        return Ok(line(&answer));
    }
    let status = serde_json::from_value(answer).map_err(|error| error.to_string())?;
    Ok(in_words(&status))
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
    for listener in &status.listeners {
        let (name, places) = (&listener.name, listener.places.join(", "));
        let count = listener.connections;
        say(
            "listener",
            format!(
                "{}: {}; {count} connections",
                Escaped(name),
                Escaped::bounded(&places, 1000)
            ),
        );
    }
    let counts = &status.counts;
    let (clients, sessions) = (counts.clients, counts.sessions);
    say(
        "clients",
        format!("{clients} connected, {sessions} sessions"),
    );
    say("subscribed", format!("{} filters", counts.subscriptions));
    let (retained, waiting) = (counts.retained, counts.waiting);
    say(
        "messages",
        format!("{retained} retained, {waiting} waiting"),
    );
    let (held, ceiling) = (
        bytes(counts.held_bytes as u64),
        bytes(counts.held_bytes_max as u64),
    );
    say("memory", format!("{held} of {ceiling} for clients"));
    for what in store_in_words(&status.store) {
        say("store", what);
    }
    text
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
            "to flash {} in {} transactions and {} syncs, to the journal {}; {} changes to go",
            bytes(store.flash_bytes),
            store.commits,
            store.flash_syncs,
            bytes(store.journal_bytes),
            store.pending
        ),
    ];
    if let Some(error) = &store.error {
        said.push(format!("cannot be written: {}", Escaped(error)));
    }
    said
}

fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} B"),
        10_240..10_485_760 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}

fn duration(s: u64) -> String {
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
    }

    #[test]
    fn quantities_have_the_unit_that_suits_them() {
        assert_eq!([bytes(10_239), bytes(10_240)], ["10239 B", "10 KiB"]);
        assert_eq!(bytes(100 << 20), "100 MiB");
        assert_eq!([duration(119), duration(120)], ["119 s", "2 min"]);
        assert_eq!([duration(7_200), duration(172_800)], ["2 h", "2 days"]);
    }
}
