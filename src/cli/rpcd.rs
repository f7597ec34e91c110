//! `fosquitto rpcd`: the ubus object `fosquitto`, as rpcd asks its executable plugins. Entered through [`run`].
//!
//! rpcd calls `/usr/libexec/rpcd/fosquitto list` once and learns the methods and their arguments, and then `… call METHOD` with the
//! arguments as JSON on standard input for each call; standard output is the answer, one object. Most methods are requests to the
//! control socket under the same name, with the same fields (src/control/mod.rs); a few work on the router's files: passwords, the log, and
//! what is wrong with a configuration. What goes wrong is `{"error":"…"}`: rpcd knows no other way.
//!
//! Who may call what is rpcd's matter, by its files in `acl.d`. No method names a file, runs what it is given, or tells a password or what a
//! message says: who may look at the bus in LuCI is not for that reason a subscriber. The commands, which are root's, tell messages whole.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::check::judge;
use super::dump::{asker, line};
use crate::auth::{self, Secret};
use crate::config::{self, Surroundings, fault::Fault};
use crate::control::Request;

const USAGE: &str = "\
Usage: fosquitto rpcd [--root DIR] list           say which methods there are, as JSON
       fosquitto rpcd [--root DIR] call METHOD    do it, with the arguments as JSON on standard input

The ubus object 'fosquitto', for rpcd.

      --root DIR take the router's paths below DIR (default /)
  -h, --help     show this
";

/// rpcd adds the caller's session to the arguments.
const SESSION: &str = "ubus_rpc_session";

/// A configuration of the largest size, each of whose bytes is escaped in JSON.
const ARGUMENTS_BYTES_MAX: u64 = 4 << 20;

/// The log's lines that are told at most, and their bytes: a message on ubus has at most 1 MiB.
const LOG_LINES_MAX: usize = 1000;
const LOG_BYTES_MAX: usize = 256 << 10;

/// What does a method's work.
enum Work {
    /// The running bus, by a request of the same name.
    Bus,
    /// This program.
    Own(fn(&Path, Map<String, Value>) -> Result<Value, String>),
}

/// A method: its name, its arguments with an example of each, and what does its work.
struct Method(&'static str, &'static [(&'static str, Example)], Work);

/// What stands for an argument's type in the answer to `list`.
#[derive(Clone, Copy)]
enum Example {
    Text,
    Number,
}

use Example::{Number, Text};
use Work::{Bus, Own};

const METHODS: &[Method] = &[
    Method("status", &[], Bus),
    Method("clients", &[("from", Text)], Bus),
    Method("sessions", &[("from", Text)], Bus),
    Method("subscriptions", &[("client_id", Text), ("from", Text)], Bus),
    Method("retained", &[("filter", Text), ("from", Text)], Bus),
    Method("queues", &[("client_id", Text), ("from", Text)], Bus),
    Method("bridges", &[], Bus),
    Method("denials", &[], Own(denials)),
    Method(
        "why",
        &[
            ("action", Text),
            ("topic", Text),
            ("user", Text),
            ("client_id", Text),
            ("listener", Text),
        ],
        Bus,
    ),
    Method("trace", &[("from", Text), ("client_id", Text)], Bus),
    Method(
        "trace_start",
        &[("client_id", Text), ("filter", Text), ("for_s", Number)],
        Bus,
    ),
    Method("trace_stop", &[("client_id", Text), ("filter", Text)], Bus),
    Method("kick", &[("client_id", Text)], Bus),
    Method("drop", &[("client_id", Text)], Bus),
    Method(
        "clear",
        &[("topic", Text), ("filter", Text), ("from", Text)],
        Bus,
    ),
    Method("reload", &[], Bus),
    Method("log_level", &[("level", Text)], Bus),
    Method("log", &[("lines", Number)], Own(log_lines)),
    Method("check", &[("config", Text)], Own(check)),
    Method("list_users", &[], Own(list_users)),
    Method(
        "set_password",
        &[("user", Text), ("password", Text)],
        Own(set_password),
    ),
    Method("remove_user", &[("user", Text)], Own(remove_user)),
];

/// Runs the command with what follows its name. The exit status is 0 where there is an answer, an error among them.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let (root, words) = match parse(root, arguments) {
        Ok(Some(understood)) => understood,
        Ok(None) => return super::print(USAGE),
        Err(what) => return misunderstood(&what),
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => super::print(&line(&list())),
        ["call", method] => {
            let answer = call(&root, method).unwrap_or_else(|what| json!({ "error": what }));
            super::print(&line(&answer))
        }
        _ => misunderstood("'list' or 'call METHOD' is missing"),
    }
}

fn misunderstood(what: &str) -> ExitCode {
    eprintln!("fosquitto rpcd: {what}\n\n{USAGE}");
    ExitCode::from(super::USAGE)
}

/// The root and the words of the command line; `None` asks for help.
fn parse(root: &Path, arguments: Vec<OsString>) -> Result<Option<(PathBuf, Vec<String>)>, String> {
    use lexopt::{Arg, Parser};
    let mut parser = Parser::from_args(arguments);
    let (mut root, mut words) = (root.to_owned(), Vec::new());
    let in_words = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(in_words)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("root") => root = parser.value().map_err(in_words)?.into(),
            Arg::Value(word) => words.push(word.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(Some((root, words)))
}

/// The methods with an example of each argument.
fn list() -> Value {
    let methods = METHODS.iter().map(|Method(name, arguments, _)| {
        let arguments = arguments.iter().map(|(name, example)| {
            let example = match example {
                Text => json!("text"),
                Number => json!(1),
            };
            ((*name).to_owned(), example)
        });
        ((*name).to_owned(), Value::Object(arguments.collect()))
    });
    Value::Object(methods.collect())
}

fn call(root: &Path, name: &str) -> Result<Value, String> {
    let Method(_, known, work) = METHODS
        .iter()
        .find(|Method(other, ..)| *other == name)
        .ok_or("there is no such method")?;
    let mut arguments = read_arguments()?;
    arguments.remove(SESSION);
    // A page that leaves an argument out sends null, or nothing.
    arguments.retain(|_, value| !value.is_null());
    if let Some(unknown) = arguments
        .keys()
        .find(|key| known.iter().all(|(name, _)| name != key))
    {
        return Err(format!("there is no argument {unknown:?}"));
    }
    match work {
        Bus => ask(root, name, arguments),
        Own(work) => work(root, arguments),
    }
}

fn read_arguments() -> Result<Map<String, Value>, String> {
    let mut text = Vec::new();
    let read = io::stdin()
        .take(ARGUMENTS_BYTES_MAX + 1)
        .read_to_end(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > ARGUMENTS_BYTES_MAX {
        return Err("the arguments are too long".into());
    }
    if text.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&text).map_err(|error| format!("the arguments are no object: {error}"))
}

/// The typed arguments of a method of this program.
fn typed<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| error.to_string())
}

/// Asks the running bus. What is no object in its answer becomes one: ubus has nothing else.
fn ask(root: &Path, name: &str, mut arguments: Map<String, Value>) -> Result<Value, String> {
    arguments.insert("request".into(), name.into());
    let request: Request = typed(arguments)?;
    let mut answer = asker(root)?.ok_or("no bus is running")?.ask(&request)?;
    leave_out_contents(&mut answer);
    Ok(match answer {
        Value::Object(_) => answer,
        other => json!({ "result": other }),
    })
}

/// What messages say goes from a list of them; their sizes stay.
fn leave_out_contents(answer: &mut Value) {
    let items = answer.get_mut("items").and_then(Value::as_array_mut);
    let messages = items.into_iter().flatten();
    let messages = messages.filter_map(|item| item.get_mut("message")?.as_object_mut());
    for message in messages {
        for content in ["payload", "payload_base64", "properties_base64"] {
            message.remove(content);
        }
    }
}

/// What clients were denied last: a part of the status, for those who want no more of it.
fn denials(root: &Path, _: Map<String, Value>) -> Result<Value, String> {
    let mut status = ask(root, "status", Map::new())?;
    let denials = status.get_mut("denials").map(Value::take);
    Ok(json!({ "items": denials.unwrap_or_else(|| json!([])) }))
}

/// The log's last lines that are about the bus.
fn log_lines(_: &Path, arguments: Map<String, Value>) -> Result<Value, String> {
    #[derive(Deserialize)]
    struct Arguments {
        lines: Option<usize>,
    }
    let Arguments { lines } = typed(arguments)?;
    let count = lines.unwrap_or(LOG_LINES_MAX).min(LOG_LINES_MAX);
    let output = Command::new("logread").args(["-e", "fosquitto"]).output();
    let output = output.map_err(|error| format!("logread: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut bytes = 0;
    let last = text.lines().rev().take(count).take_while(|line| {
        bytes += line.len();
        bytes <= LOG_BYTES_MAX
    });
    let mut lines: Vec<&str> = last.collect();
    lines.reverse();
    Ok(json!({ "lines": lines }))
}

/// What is wrong with the configuration, or with a text that is to become it, or odd about it. A text has no lines that its author knows.
fn check(root: &Path, arguments: Map<String, Value>) -> Result<Value, String> {
    #[derive(Deserialize)]
    struct Arguments {
        config: Option<String>,
    }
    let Arguments { config: text } = typed(arguments)?;
    let path = config::path(root);
    let result = match &text {
        Some(text) => config::parse(text, &path, &Surroundings::of(root)),
        None => config::load(root),
    };
    let (faults, warnings) = judge(result, &path, root);
    let told = |all: &[Fault]| -> Vec<String> {
        let told = all.iter().map(|fault| match text {
            Some(_) => fault.what.clone(),
            None => fault.to_string(),
        });
        told.collect()
    };
    Ok(json!({ "ok": faults.is_empty(), "faults": told(&faults), "warnings": told(&warnings) }))
}

fn list_users(root: &Path, _: Map<String, Value>) -> Result<Value, String> {
    let users = auth::users(root).map_err(|faults| in_words(&faults))?;
    Ok(json!({ "users": users }))
}

fn set_password(root: &Path, arguments: Map<String, Value>) -> Result<Value, String> {
    #[derive(Deserialize)]
    struct Arguments {
        user: String,
        password: String,
    }
    let Arguments { user, password } = typed(arguments)?;
    let password = Secret::of(password.into_bytes());
    auth::set_user(root, &user, &password).map_err(|faults| in_words(&faults))?;
    Ok(json!({ "set": true, "reloaded": reload(root) }))
}

fn remove_user(root: &Path, arguments: Map<String, Value>) -> Result<Value, String> {
    #[derive(Deserialize)]
    struct Arguments {
        user: String,
    }
    let Arguments { user } = typed(arguments)?;
    if !auth::remove_user(root, &user).map_err(|faults| in_words(&faults))? {
        return Err(format!(
            "there is no user {user:?} in the file of passwords"
        ));
    }
    Ok(json!({ "removed": true, "reloaded": reload(root) }))
}

/// Lets a running bus read the passwords again, and says whether it has. Without one they are read at the next start.
fn reload(root: &Path) -> bool {
    let answer = ask(root, "reload", Map::new());
    answer.is_ok_and(|answer| answer["reloaded"] == true)
}

fn in_words(faults: &[auth::Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_bus_is_a_request_that_it_knows() {
        for Method(name, arguments, work) in METHODS {
            let mut request = Map::from_iter([("request".to_owned(), json!(name))]);
            for (argument, example) in *arguments {
                let example = match (*argument, example) {
                    ("action", _) => json!("publish"),
                    (_, Text) => json!("text"),
                    (_, Number) => json!(1),
                };
                request.insert((*argument).to_owned(), example);
            }
            if let Bus = work {
                let understood = typed::<Request>(request);
                assert!(understood.is_ok(), "{name}: {understood:?}");
            }
        }
    }

    #[test]
    fn every_method_is_listed_with_the_types_of_its_arguments() {
        let listed = list();
        assert_eq!(listed["kick"], json!({ "client_id": "text" }));
        assert_eq!(listed["log"], json!({ "lines": 1 }));
        assert_eq!(listed.as_object().map(Map::len), Some(METHODS.len()));
    }
}
