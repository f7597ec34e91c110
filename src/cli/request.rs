//! `fosquitto request`: asks a foris controller over the bus and prints its answer, for scripts. Entered through [`run`].
//!
//! The command line and the output are here; how an answer is got past a bus that restarts is in [`exchange`]. What the modules and
//! actions of a controller are, it does not know.

pub(super) mod exchange;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::bus::{self, Part, Way};
use super::{ERROR_REPLY, FAULTS, OK, TIMED_OUT};
use crate::config::fault::Quoted;
use exchange::{End, Exchange, Question};

const USAGE: &str = "\
Usage: fosquitto request [OPTION...] CONTROLLER MODULE ACTION [JSON]   ask for an action, with JSON as its data ('-': standard input)
       fosquitto request [OPTION...] --list CONTROLLER [MODULE]        ask for the modules, or for the actions of MODULE
       fosquitto request [OPTION...] --schemas CONTROLLER              ask for the JSON schemas of all messages

CONTROLLER is the id of a foris controller, as in foris-controller/CONTROLLER/... on the bus. Its reply goes to standard output as
one line of JSON. A bus that restarts meanwhile, or a controller that is away for a moment, only takes more time.

  -t, --timeout SECONDS     give up after so long (default 30)
";

const USAGE_END: &str = "
      --root DIR            take the router's paths below DIR (default /)
  -h, --help                show this

Exit status: 0 the answer is there, 1 it could not be asked, 2 there was no answer in time, 3 the controller replied with errors.
";

const TIMEOUT: Duration = Duration::from_secs(30);
/// A week: more is a slip.
const TIMEOUT_S_MAX: u64 = 604_800;
/// The broker takes no larger packets by default.
const DATA_BYTES_MAX: u64 = 16 << 20;

/// Runs the command with what follows its name on the command line, on the paths below `root` unless `--root` says otherwise.
///
/// The exit status is 0 with an answer, 1 when it could not be asked (the command line is not understood, the bus refuses), 2 when
/// there was no answer in time, and 3 when the controller replied with errors.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let request = match parse(root, arguments) {
        Ok(Some(request)) => request,
        Ok(None) => return super::print(&format!("{USAGE}{}{}", bus::HELP, &USAGE_END[1..])),
        Err(what) => {
            eprintln!("fosquitto request: {what}\nTry 'fosquitto request --help'.");
            return ExitCode::from(FAULTS);
        }
    };
    match request.execute() {
        Ok(status) => ExitCode::from(status),
        Err(what) => {
            eprintln!("fosquitto request: {what}");
            ExitCode::from(FAULTS)
        }
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Request {
    root: PathBuf,
    way: Way,
    timeout: Duration,
    what: What,
    words: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Action,
    List,
    Schemas,
}

/// Understands the command line; `None` asks for help.
fn parse(root: &Path, arguments: Vec<OsString>) -> Result<Option<Request>, String> {
    use lexopt::{Arg, Parser};
    let mut parser = Parser::from_args(arguments);
    let mut request = Request {
        root: root.to_owned(),
        way: Way::default(),
        timeout: TIMEOUT,
        what: What::Action,
        words: Vec::new(),
    };
    let in_words = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(in_words)? {
        if let Some(part) = Part::of(&argument) {
            let value = part.value(&mut parser)?;
            request.way.take(part, value)?;
            continue;
        }
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("root") => request.root = parser.value().map_err(in_words)?.into(),
            Arg::Short('t') | Arg::Long("timeout") => {
                request.timeout = seconds(parser.value().map_err(in_words)?)?;
            }
            Arg::Long("list") => request.choose(What::List)?,
            Arg::Long("schemas") => request.choose(What::Schemas)?,
            Arg::Value(word) => request.words.push(
                word.into_string()
                    .map_err(|word| format!("{} is not UTF-8", Quoted(&word.to_string_lossy())))?,
            ),
            other => return Err(other.unexpected().to_string()),
        }
    }
    request.check()?;
    Ok(Some(request))
}

fn seconds(value: OsString) -> Result<Duration, String> {
    let value = value.to_string_lossy();
    let seconds = value
        .parse()
        .ok()
        .filter(|seconds| (1..=TIMEOUT_S_MAX).contains(seconds));
    let wrong = || {
        format!(
            "{} is not a number of seconds (1-{TIMEOUT_S_MAX})",
            Quoted(&value)
        )
    };
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

impl Request {
    fn choose(&mut self, what: What) -> Result<(), String> {
        if self.what != What::Action && self.what != what {
            return Err("--list and --schemas exclude each other".into());
        }
        self.what = what;
        Ok(())
    }

    /// Whether there are as many words as it takes, and names are names.
    fn check(&self) -> Result<(), String> {
        let (needed, names) = match self.what {
            What::Action => (&["CONTROLLER", "MODULE", "ACTION"][..], 3),
            What::List => (&["CONTROLLER"][..], 2),
            What::Schemas => (&["CONTROLLER"][..], 1),
        };
        if let Some(missing) = needed.get(self.words.len()) {
            return Err(format!("{missing} is missing"));
        }
        let most = names + usize::from(self.what == What::Action);
        if let Some(word) = self.words.get(most) {
            return Err(format!("one word too many: {}", Quoted(word)));
        }
        // A name with wildcards or levels would be another topic.
        let bad = |name: &&String| {
            name.is_empty() || name.len() > 1_000 || name.contains(['/', '+', '#', '\0'])
        };
        match self.words.iter().take(names).find(bad) {
            Some(name) => Err(format!("{} is not a name: no /, +, #", Quoted(name))),
            None => Ok(()),
        }
    }

    fn question(&self) -> Result<Question, String> {
        let topic = match (self.what, self.words.as_slice()) {
            (What::Action, [_, module, action, ..]) => format!("request/{module}/action/{action}"),
            (What::List, [_, module]) => format!("request/{module}/list"),
            (What::Schemas, _) => "jsonschemas".into(),
            _ => "list".into(),
        };
        let data = match self.words.get(3) {
            Some(word) if word == "-" => Some(read_data(std::io::stdin().lock())?),
            Some(word) => Some(word.clone()),
            None => None,
        };
        if let Some(data) = &data
            && let Err(error) = serde_json::from_str::<IgnoredAny>(data)
        {
            return Err(format!("the data is not JSON: {error}"));
        }
        Ok(Question {
            controller: self.words[0].clone(),
            topic,
            data,
        })
    }

    /// Asks, prints the answer and returns the exit status; what went wrong is said here or is the error.
    fn execute(&self) -> Result<u8, String> {
        let question = self.question()?;
        let give_up = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, give_up.clone())
                .map_err(|error| error.to_string())?;
        }
        let login = || self.way.login(&self.root);
        let endpoint = self.way.endpoint(&self.root)?;
        let mut exchange = Exchange::new(endpoint, &login, &question, self.timeout, &give_up)?;
        let end = exchange.run();
        // Before the traces are removed: a script waits for this.
        let status = tell(end);
        if let Err(what) = exchange.clean_up() {
            eprintln!("fosquitto request: {what}");
        }
        status
    }
}

fn read_data(input: impl Read) -> Result<String, String> {
    let mut data = String::new();
    let read = input.take(DATA_BYTES_MAX).read_to_string(&mut data);
    read.map_err(|error| format!("standard input: {error}"))?;
    Ok(data)
}

/// Says how it ended.
fn tell(end: End) -> Result<u8, String> {
    match end {
        End::Answer(payload) => {
            let (line, status) = answer(&payload)?;
            let mut output = std::io::stdout();
            let written = writeln!(output, "{line}").and_then(|()| output.flush());
            written.map_err(|error| format!("standard output: {error}"))?;
            Ok(status)
        }
        End::TimedOut(what) => {
            eprintln!("fosquitto request: {what}");
            Ok(TIMED_OUT)
        }
        End::Failed(what) => Err(what),
        End::GivenUp => Err("given up".into()),
    }
}

/// A reply as one line, and the exit status that it means.
fn answer(payload: &[u8]) -> Result<(String, u8), String> {
    let text = str::from_utf8(payload).map_err(|_| "the reply is not text")?;
    let reply: Value =
        serde_json::from_str(text).map_err(|error| format!("the reply is not JSON: {error}"))?;
    // As it came, with its numbers and its order: in JSON, line ends stand between values only.
    let line = text.trim().replace(['\n', '\r'], " ");
    let has_errors = reply.get("errors").is_some_and(|errors| !errors.is_null());
    Ok((line, if has_errors { ERROR_REPLY } else { OK }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Request>, String> {
        let words = line.split_whitespace().map(OsString::from);
        parse(Path::new("/"), words.collect())
    }

    fn question(line: &str) -> (String, String, Option<String>) {
        let request = parsed(line).expect("understood").expect("no help");
        let Question {
            controller,
            topic,
            data,
        } = request.question().expect("well-formed");
        (controller, topic, data)
    }

    #[test]
    fn each_form_has_its_topic() {
        let is =
            |topic: &str, data: Option<&str>| ("C".into(), topic.into(), data.map(String::from));
        assert_eq!(question("C m a"), is("request/m/action/a", None));
        assert_eq!(
            question("C m a {\"b\":1e400}"),
            is("request/m/action/a", Some("{\"b\":1e400}"))
        );
        assert_eq!(question("--list C"), is("list", None));
        assert_eq!(question("C m --list"), is("request/m/list", None));
        assert_eq!(question("--schemas C"), is("jsonschemas", None));
        assert_eq!(parsed("C -h"), Ok(None));
        let request = parsed("-t 7 --root /r C m a")
            .expect("understood")
            .expect("no help");
        assert_eq!(request.timeout, Duration::from_secs(7));
        assert_eq!(request.root, Path::new("/r"));
    }

    #[test]
    fn what_is_not_understood_asks_nothing() {
        for (line, what) in [
            ("", "CONTROLLER is missing"),
            ("C m", "ACTION is missing"),
            ("C m a {} x", "one word too many: 'x'"),
            ("--list C m a", "one word too many: 'a'"),
            ("C m/n a", "'m/n' is not a name: no /, +, #"),
            ("+ m a", "'+' is not a name: no /, +, #"),
            ("-t 0 C m a", "'0' is not a number of seconds (1-604800)"),
            (
                "--list --schemas C",
                "--list and --schemas exclude each other",
            ),
        ] {
            assert_eq!(parsed(line), Err(what.into()), "{line}");
        }
        let request = parsed("C m a {").expect("understood").expect("no help");
        assert!(
            request
                .question()
                .is_err_and(|what| what.contains("not JSON"))
        );
    }

    #[test]
    fn a_reply_is_one_line_as_it_came_and_errors_are_a_status() {
        let is = |line: &str, status| Ok((line.to_owned(), status));
        assert_eq!(answer(b"[\"b\",\n 1.50]\n"), is("[\"b\",  1.50]", OK));
        assert_eq!(
            answer(b"{\"data\": {\"errors\": []}}"),
            is("{\"data\": {\"errors\": []}}", OK)
        );
        assert_eq!(
            answer(b"{\"errors\": []}"),
            is("{\"errors\": []}", ERROR_REPLY)
        );
        assert!(answer(b"\xFF").is_err() && answer(b"{").is_err());
    }
}
