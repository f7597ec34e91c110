//! `fosquitto dump`: tells what a bus holds, in lines of JSON: sessions, each followed by its subscriptions and messages, then retained
//! messages. Entered through [`run`].
//!
//! Without a file it asks the running bus by the control socket; where none runs it reads the database and the journal that the next start
//! would go on from. With a file it reads that database, and the journal beside it if there is one. It changes nothing.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

use crate::broker::Place;
use crate::config;
use crate::control::Request;
use crate::control::client::Asker;
use crate::log::{self as logging, Target};
use crate::server::offline::Offline;

/// Where a bus has its journal, below the root.
const JOURNAL: &str = "var/run/fosquitto";

const USAGE: &str = "\
Usage: fosquitto dump [--root DIR] [FILE]

Tells what the running bus holds, one line of JSON each; 'kind' says what a line is: session, subscription, queued, released, taken, will
or retained. Where no bus runs, and with the name of a database's FILE, its content is told, with what the journal has for it.

      --root DIR take the router's paths below DIR (default /)
  -h, --help     show this
";

/// Runs the command with what follows its name. Exit status 1 where there is nothing to tell.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let (root, file) = match parse(root, arguments) {
        Ok(Some(understood)) => understood,
        Ok(None) => return super::print(USAGE),
        Err(what) => {
            eprintln!("fosquitto dump: {what}\n\n{USAGE}");
            return ExitCode::from(super::USAGE);
        }
    };
    match dump(&root, file.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("fosquitto dump: {what}");
            ExitCode::from(super::FAULTS)
        }
    }
}

fn parse(
    root: &Path,
    arguments: Vec<OsString>,
) -> Result<Option<(PathBuf, Option<PathBuf>)>, String> {
    use lexopt::{Arg, Parser};
    let mut parser = Parser::from_args(arguments);
    let (mut root, mut file) = (root.to_owned(), None);
    let in_words = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(in_words)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("root") => root = parser.value().map_err(in_words)?.into(),
            Arg::Value(value) if file.is_none() => file = Some(value.into()),
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(Some((root, file)))
}

fn dump(root: &Path, file: Option<&Path>) -> Result<(), String> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if file.is_none()
        && let Some(mut asker) = asker(root)?
    {
        return dump_running(&mut asker, &mut out);
    }
    let state = offline(root, file)?;
    let told = state.dump(|page| {
        let mut items = page.items.iter();
        items.try_for_each(|item| out.write_all(line(item).as_bytes()))
    });
    told.and_then(|()| out.flush())
        .map_err(|error| error.to_string())
}

/// A page as it comes by the socket.
#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    next: Option<Place>,
}

fn dump_running(asker: &mut Asker, out: &mut impl Write) -> Result<(), String> {
    let mut from = None;
    loop {
        let answer = asker.ask(&Request::Dump { from })?;
        let page: Page = serde_json::from_value(answer).map_err(|error| error.to_string())?;
        for item in &page.items {
            let written = out.write_all(line(item).as_bytes());
            written.map_err(|error| error.to_string())?;
        }
        from = page.next;
        if from.is_none() {
            return out.flush().map_err(|error| error.to_string());
        }
    }
}

/// A connection to the running bus; `None` where none runs.
pub(super) fn asker(root: &Path) -> Result<Option<Asker>, String> {
    Asker::connect(root).map_err(|error| format!("the bus cannot be asked: {error}"))
}

/// The state of a database without a running bus: of the one that is configured, or of a file.
pub(super) fn offline(root: &Path, file: Option<&Path>) -> Result<Offline, String> {
    // What is wrong with the files is said as a start would say it.
    logging::start(Target::Stderr, logging::Level::Warning);
    let (path, journal) = match file {
        Some(file) => (file.to_owned(), file.parent().unwrap_or(file).to_owned()),
        None => (database(root)?, root.join(JOURNAL)),
    };
    Offline::open(&path, &journal).map_err(|error| format!("{}: {error}", path.display()))
}

/// Where the configuration has the database.
pub(super) fn database(root: &Path) -> Result<PathBuf, String> {
    let config = config::load(root).map_err(|faults| faults.to_string())?;
    Ok(config.persistence.path)
}

/// A line of JSON in which nothing commands a terminal.
pub(super) fn line(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Printable);
    // Every value has a form, and memory takes everything.
    value.serialize(&mut serializer).expect("it has a form");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// JSON whose strings have no control characters: JSON itself escapes those below U+0020 alone.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for part in fragment.split_inclusive(char::is_control) {
            let control = part.chars().next_back().filter(|it| it.is_control());
            let plain = part.len() - control.map_or(0, char::len_utf8);
            writer.write_all(&part.as_bytes()[..plain])?;
            if let Some(control) = control {
                write!(writer, "\\u{:04x}", u32::from(control))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_has_no_control_characters_and_says_the_same() {
        let said = "a\u{1b}[2J\u{9b}2J\u{7f}\"\\ž\u{85}";
        let line = line(&said);
        assert!(!line.trim_end().contains(char::is_control), "{line:?}");
        assert_eq!(
            serde_json::from_str::<String>(&line).ok().as_deref(),
            Some(said)
        );
    }
}
