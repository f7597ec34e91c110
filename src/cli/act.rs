//! `fosquitto kick`, `drop`, `clear`, `reload` and `log-level`: what an administrator has the running bus do. Entered through one function
//! a command; each asks one thing by the control socket, and says what was done.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::ask::{Asked, Command, number, text};
use super::dump::line;
use crate::control::Request;
use crate::log::{Escaped, Printable};

const KICK: Command = Command {
    name: "kick",
    usage: "\
Usage: fosquitto kick [--root DIR] [--json] CLIENT

Ends the connection of the client with the identifier CLIENT. Its session stays, and it may come back.

      --json     one line of JSON
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
    words: (1, 1),
    options: &[],
    flags: &[],
};

/// Ends a client's connection.
pub fn kick(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    run(&KICK, root, arguments, |asked| {
        let client_id = asked.words[0].clone();
        asked.ask(&Request::Kick { client_id }, |_| {
            let client = Escaped(&asked.words[0]);
            format!("the connection of '{client}' is ended\n")
        })
    })
}

const DROP: Command = Command {
    name: "drop",
    usage: "\
Usage: fosquitto drop [--root DIR] [--json] CLIENT

Ends the session of the client with the identifier CLIENT with all that it holds, and its connection if it has one.

      --json     one line of JSON
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
    words: (1, 1),
    options: &[],
    flags: &[],
};

/// Ends a session.
pub fn drop(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    run(&DROP, root, arguments, |asked| {
        let client_id = asked.words[0].clone();
        asked.ask(&Request::Drop { client_id }, |_| {
            let client = Escaped(&asked.words[0]);
            format!("the session of '{client}' is ended\n")
        })
    })
}

const CLEAR: Command = Command {
    name: "clear",
    usage: "\
Usage: fosquitto clear [--root DIR] [--json] TOPIC            clear the retained message of TOPIC
       fosquitto clear [--root DIR] [--json] --filter FILTER  clear all that FILTER matches

Clients are not told of it. What the bus itself retains below $SYS is not cleared.

      --json     one line of JSON
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
    words: (0, 1),
    options: &["filter"],
    flags: &[],
};

/// Clears retained messages. Exit status 1 where a topic has none.
pub fn clear(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    run(&CLEAR, root, arguments, |asked| {
        let cleared = match (asked.words.first(), asked.option("filter")) {
            (Some(topic), None) => {
                let cleared = clear_topic(asked, topic)?;
                if cleared == 0 {
                    let topic = Escaped(topic);
                    return Err(format!("'{topic}' has no retained message"));
                }
                cleared
            }
            (None, Some(filter)) => clear_filter(asked, filter)?,
            _ => return Err("either TOPIC or --filter FILTER is expected".into()),
        };
        Ok(match asked.as_json {
            true => line(&json!({"cleared": cleared})),
            false => format!("{cleared} cleared\n"),
        })
    })
}

fn clear_topic(asked: &Asked, topic: &str) -> Result<u64, String> {
    let answer = asked.bus()?.ask(&Request::Clear {
        topic: Some(topic.to_owned()),
        filter: None,
        from: None,
    })?;
    Ok(number(&answer, "cleared"))
}

fn clear_filter(asked: &Asked, filter: &str) -> Result<u64, String> {
    let mut bus = asked.bus()?;
    let mut from = None;
    let mut cleared = 0;
    loop {
        let answer = bus.ask(&Request::Clear {
            topic: None,
            filter: Some(filter.to_owned()),
            from,
        })?;
        cleared += number(&answer, "cleared");
        from = answer["next"].as_str().map(str::to_owned);
        if from.is_none() {
            return Ok(cleared);
        }
    }
}

const RELOAD: Command = Command {
    name: "reload",
    usage: "\
Usage: fosquitto reload [--root DIR] [--json]

Has the running bus read its configuration again, as SIGHUP does, and says what is wrong with it. Exit status 1: the former one was kept.

      --json     one line of JSON
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
    words: (0, 0),
    options: &[],
    flags: &[],
};

/// Reads the configuration again.
pub fn reload(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    run(&RELOAD, root, arguments, |asked| {
        let answer = asked.bus()?.ask(&Request::Reload {})?;
        if answer["reloaded"] == true {
            return Ok(match asked.as_json {
                true => line(&answer),
                false => "the configuration was read again\n".to_owned(),
            });
        }
        if asked.as_json {
            super::print(&line(&answer));
        }
        let faults = answer["faults"].as_array().into_iter().flatten();
        let faults = faults.filter_map(Value::as_str);
        let faults = faults.map(|fault| format!("\n{}", Printable(fault)));
        Err(format!(
            "the configuration was kept: the new one has faults{}",
            faults.collect::<String>()
        ))
    })
}

const LOG_LEVEL: Command = Command {
    name: "log-level",
    usage: "\
Usage: fosquitto log-level [--root DIR] [--json] [LEVEL]

Says what the running bus logs. With LEVEL (error, warning, notice, info or debug) it logs that from now on, until it is started or its
configuration is read again.

      --json     one line of JSON
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
    words: (0, 1),
    options: &[],
    flags: &[],
};

/// Tells what is logged, or changes it.
pub fn log_level(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    run(&LOG_LEVEL, root, arguments, |asked| {
        let level = asked.words.first().cloned();
        asked.ask(&Request::LogLevel { level }, |answer| {
            format!("{}\n", Escaped(text(answer, "level")))
        })
    })
}

fn run(
    command: &Command,
    root: &Path,
    arguments: Vec<OsString>,
    act: impl FnOnce(&Asked) -> Result<String, String>,
) -> ExitCode {
    match command.read(root, arguments) {
        Ok(asked) => asked.end(act(&asked)),
        Err(status) => status,
    }
}
