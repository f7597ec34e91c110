//! `fosquitto why`: says whether the rules allow something, and which of them decides. Entered through [`run`].
//!
//! The running bus answers, by the rules that it follows; where none runs, and with the name of a file, the rules are read from the
//! configuration. In both cases it is the code that decides about packets (`server::why`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::ask::{Asked, Command};
use super::dump::{asker, line};
use crate::config;
use crate::config::fault::{Quoted, did_you_mean};
use crate::control::{Action, Question, Reason, Request};
use crate::log::{Escaped, Printable};
use crate::server::why;

const COMMAND: Command = Command {
    name: "why",
    usage: "\
Usage: fosquitto why [--root DIR] [--json] [--file FILE] [--user USER] [--client-id CLIENT] [--listener LISTENER]
                     --action publish|subscribe|will|read --topic TOPIC

Says whether the rules of the running bus let a client do something, and which rule or default decides. Where no bus runs it is those of the
configuration, and with --file those of FILE as one.

      --user USER          as USER; without it as an anonymous client
      --client-id CLIENT   with the client identifier CLIENT
      --listener LISTENER  through LISTENER, with its mount point before the topic
      --action ACTION      what it wants to do; 'read' is to get a message of the topic
      --topic TOPIC        the topic, or the filter to subscribe to
      --json               one line of JSON
      --root DIR           take the router's paths below DIR (default /)
  -h, --help               show this

Exit status: 0 it is allowed, 3 it is denied, 1 it cannot be said, 2 the command line was not understood.
",
    words: (0, 0),
    options: &["user", "client-id", "listener", "action", "topic", "file"],
    flags: &[],
};

/// Exit status: the rules deny it.
const DENIED: u8 = 3;

/// Runs the command with what follows its name.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let asked = match COMMAND.read(root, arguments) {
        Ok(asked) => asked,
        Err(status) => return status,
    };
    let question = match question(&asked) {
        Ok(question) => question,
        Err(what) => {
            eprintln!("fosquitto why: {what}\n\n{}", COMMAND.usage);
            return ExitCode::from(super::USAGE);
        }
    };
    match reason(&asked, question) {
        Ok(reason) => {
            let status = super::print(&match asked.as_json {
                true => line(&reason),
                false => in_words(&reason),
            });
            match reason.allowed {
                true => status,
                false => ExitCode::from(DENIED),
            }
        }
        Err(what) => asked.end(Err(what)),
    }
}

fn question(asked: &Asked) -> Result<Question, String> {
    let owned = |name: &str| asked.option(name).map(str::to_owned);
    let words = ["publish", "subscribe", "will", "read"];
    let action = match asked.option("action") {
        Some("publish") => Action::Publish,
        Some("subscribe") => Action::Subscribe,
        Some("will") => Action::Will,
        Some("read") => Action::Read,
        Some(other) => {
            let hint = did_you_mean(other, words);
            let words = words.join(", ");
            return Err(format!(
                "--action {} is none of {words}{hint}",
                Quoted(other)
            ));
        }
        None => return Err("--action is missing".into()),
    };
    Ok(Question {
        action,
        topic: owned("topic").ok_or("--topic is missing")?,
        user: owned("user"),
        client_id: owned("client-id"),
        listener: owned("listener"),
    })
}

fn reason(asked: &Asked, question: Question) -> Result<Reason, String> {
    let file = asked.option("file").map(PathBuf::from);
    if file.is_none()
        && let Some(mut bus) = asker(&asked.root)?
    {
        let answer = bus.ask(&Request::Why(question))?;
        return serde_json::from_value(answer).map_err(|error| error.to_string());
    }
    let (path, loaded) = match file {
        Some(file) => {
            let loaded = config::load_file(&file, &asked.root);
            (file, loaded)
        }
        None => (config::path(&asked.root), config::load(&asked.root)),
    };
    let config = loaded.map_err(|faults| faults.to_string())?;
    why::reason(&config, &path, &question)
}

/// `/etc/config/fosquitto:12: 'alarm/off' is denied by the rule 'guests' in line 12`.
fn in_words(reason: &Reason) -> String {
    let place = match reason.line {
        Some(line) => {
            let file = reason.file.to_string_lossy();
            format!("{}:{line}: ", Escaped::bounded(&file, 1000))
        }
        None => String::new(),
    };
    let topic = Escaped::bounded(&reason.topic, 1000);
    let words = Printable(&reason.words);
    format!("{place}'{topic}' is {words}\n")
}
