//! The command line: `fosquitto COMMAND`, one file a command. Entered through [`run`].
//!
//! What is not understood starts nothing. The meaning of the exit statuses is here and nowhere else; what a command
//! does is in its file.

mod act;
mod ask;
mod backup;
mod bus;
mod check;
mod client;
mod control;
mod dump;
mod list;
mod monitor;
pub mod passwd;
mod request;
mod rpcd;
mod serve;
mod status;
mod talk;
mod trace;
mod why;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::{Arg, Parser};

use crate::config::fault::{Quoted, did_you_mean};
use crate::log::Target;

/// All went as asked.
pub const OK: u8 = 0;
/// What was asked has faults: a configuration that is wrong, a bus that could not start.
pub const FAULTS: u8 = 1;
/// The command line was not understood, and nothing was done.
pub const USAGE: u8 = 2;
/// `request`: there was no answer in time. A command line that it does not understand is [`FAULTS`], so that a script knows one
/// from the other.
pub const TIMED_OUT: u8 = 2;
/// `request`: the controller replied with errors.
pub const ERROR_REPLY: u8 = 3;

const HELP: &str = "\
The MQTT message bus of an OpenWrt router.

Usage: fosquitto [--root DIR] COMMAND

Commands:
  serve [--log stderr|syslog]  run the bus in the foreground
  check [FILE]                 say what is wrong with the configuration, or with FILE as one
  passwd ...                   set and check passwords; 'fosquitto passwd --help' says more
  status [--json]              say how the running bus is
  clients                      list the clients that are connected
  sessions                     list the sessions
  subscriptions [CLIENT]       list the subscriptions
  retained [FILTER]            list the retained messages
  queues [CLIENT]              list the messages that wait for clients
  bridges                      list the bridges to other buses
  why ...                      say which rule allows or denies something; 'fosquitto why --help' says more
  kick CLIENT                  end a client's connection
  drop CLIENT                  end a client's session
  clear TOPIC                  clear a retained message
  trace ...                    show what happens; 'fosquitto trace --help' says more
  reload                       read the configuration again
  log-level [LEVEL]            say or set what is logged
  control REQUEST              ask the running bus in JSON
  dump [FILE]                  say what the running bus holds, or the database FILE, in lines of JSON
  backup FILE                  copy the database into a new file; 'fosquitto backup --help' says more
  pub ...                      publish a message; 'fosquitto pub --help' says more
  sub ...                      print the messages of topics; 'fosquitto sub --help' says more
  monitor ...                  show what foris controllers say; the same as fosquitto-monitor
  request ...                  ask a foris controller over the bus; 'fosquitto request --help' says more
  rpcd ...                     be the ubus object 'fosquitto' for rpcd; 'fosquitto rpcd --help' says more
  help                         show this
  version                      show the version

Options:
  --root DIR                   take all of the router's paths below DIR (default /)
  --log stderr|syslog          where 'serve' logs to (default stderr)
  -h, --help                   show this
  -V, --version                show the version

The configuration is DIR/etc/config/fosquitto, and DIR/var/run/uci/fosquitto instead if that exists.
SIGHUP makes a running bus read it again, SIGTERM ends it.

Exit status: 0 all went as asked, 1 there are faults, 2 the command line was not understood.
'request', 'pub', 'sub', 'why' and 'monitor' have their own.
";

/// A command that understands by itself what follows its name.
type Run = fn(&Path, Vec<OsString>) -> ExitCode;

/// The commands: those that this file understands, and those that do by themselves.
const COMMANDS: [(&str, Option<Run>); 27] = [
    ("serve", None),
    ("check", Some(check::run)),
    ("passwd", Some(passwd::run)),
    ("status", Some(status::run)),
    (
        "clients",
        Some(|root, rest| list::run("clients", root, rest)),
    ),
    (
        "sessions",
        Some(|root, rest| list::run("sessions", root, rest)),
    ),
    (
        "subscriptions",
        Some(|root, rest| list::run("subscriptions", root, rest)),
    ),
    (
        "retained",
        Some(|root, rest| list::run("retained", root, rest)),
    ),
    ("queues", Some(|root, rest| list::run("queues", root, rest))),
    (
        "bridges",
        Some(|root, rest| list::run("bridges", root, rest)),
    ),
    ("why", Some(why::run)),
    ("kick", Some(act::kick)),
    ("drop", Some(act::drop)),
    ("clear", Some(act::clear)),
    ("trace", Some(trace::run)),
    ("reload", Some(act::reload)),
    ("log-level", Some(act::log_level)),
    ("control", Some(control::run)),
    ("dump", Some(dump::run)),
    ("backup", Some(backup::run)),
    ("request", Some(request::run)),
    ("pub", Some(talk::publish)),
    ("sub", Some(talk::subscribe)),
    ("monitor", Some(monitor::run)),
    ("rpcd", Some(rpcd::run)),
    ("help", None),
    ("version", None),
];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Operation {
    Serve {
        log: Target,
    },
    /// A command that understands what follows its name by itself.
    Own(&'static str, Vec<OsString>),
    Help,
    Version,
}

/// Runs the program with its arguments, the program's name first.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.peekable();
    let name = arguments.peek().map(Path::new).and_then(Path::file_name);
    if name == Some(OsStr::new(monitor::NAME)) {
        return monitor::run(Path::new("/"), arguments.skip(1).collect());
    }
    let (root, operation) = match parse(arguments) {
        Ok(understood) => understood,
        Err(what) => {
            eprintln!("fosquitto: {what}\nTry 'fosquitto --help'.");
            return ExitCode::from(USAGE);
        }
    };
    match operation {
        Operation::Serve { log } => serve::run(root, log),
        Operation::Own(name, arguments) => {
            let run = COMMANDS.iter().find(|(command, _)| *command == name);
            let run = run.and_then(|(_, run)| *run);
            run.expect("the parser gives those that have one")(&root, arguments)
        }
        Operation::Help => print(HELP),
        Operation::Version => print(concat!("fosquitto ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

/// Prints to standard output. That the reader has gone away, as `head` does, is no reason to panic.
fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(OK),
        Err(_) => ExitCode::from(FAULTS),
    }
}

/// The root and what is asked for, or why it is not understood.
fn parse(arguments: impl Iterator<Item = OsString>) -> Result<(PathBuf, Operation), String> {
    let mut parser = Parser::from_iter(arguments);
    let mut line = Line::default();
    loop {
        let in_words = |error: lexopt::Error| error.to_string();
        match parser.next().map_err(in_words)? {
            None => break,
            Some(Arg::Short('h') | Arg::Long("help")) => return Ok((line.root, Operation::Help)),
            Some(Arg::Short('V') | Arg::Long("version")) => {
                return Ok((line.root, Operation::Version));
            }
            Some(Arg::Long("root")) => line.root = parser.value().map_err(in_words)?.into(),
            Some(Arg::Long("log")) => line.log = Some(target(&parser.value().map_err(in_words)?)?),
            Some(Arg::Long(other)) => {
                let other = format!("--{other}");
                let hint = did_you_mean(&other, ["--root", "--log", "--help", "--version"]);
                return Err(format!("unknown option {}{hint}", Quoted(&other)));
            }
            Some(Arg::Short(other)) => {
                return Err(format!("unknown option '-{}'", other.escape_debug()));
            }
            Some(Arg::Value(word)) if line.command.is_none() => {
                let (command, run) = command(&word)?;
                if run.is_none() {
                    line.command = Some(command);
                    continue;
                }
                let rest = parser.raw_args().map_err(in_words)?.collect();
                return line
                    .only_root(command)
                    .map(|root| (root, Operation::Own(command, rest)));
            }
            Some(Arg::Value(word)) => {
                let word = word.to_string_lossy();
                return Err(format!("one word too many: {}", Quoted(&word)));
            }
        }
    }
    line.operation()
}

/// The command line as far as it was read.
struct Line {
    root: PathBuf,
    log: Option<Target>,
    command: Option<&'static str>,
}

impl Default for Line {
    fn default() -> Self {
        Line {
            root: "/".into(),
            log: None,
            command: None,
        }
    }
}

impl Line {
    fn operation(self) -> Result<(PathBuf, Operation), String> {
        match self.command {
            Some("serve") => Ok((
                self.root,
                Operation::Serve {
                    log: self.log.unwrap_or_default(),
                },
            )),
            Some("version") => Ok((self.root, Operation::Version)),
            Some(_) => Ok((self.root, Operation::Help)),
            None => Err("a command is missing".into()),
        }
    }

    fn only_root(self, command: &str) -> Result<PathBuf, String> {
        match self.log {
            None => Ok(self.root),
            Some(_) => Err(format!("'{command}' does not log: --log is for 'serve'")),
        }
    }
}

fn command(word: &OsStr) -> Result<(&'static str, Option<Run>), String> {
    let word = word.to_string_lossy();
    COMMANDS
        .into_iter()
        .find(|(command, _)| *command == word)
        .ok_or_else(|| {
            let hint = did_you_mean(&word, COMMANDS.map(|(command, _)| command));
            format!("unknown command {}{hint}", Quoted(&word))
        })
}

fn target(word: &OsStr) -> Result<Target, String> {
    match word.to_string_lossy().as_ref() {
        "stderr" => Ok(Target::Stderr),
        "syslog" => Ok(Target::Syslog),
        other => {
            let hint = did_you_mean(other, ["stderr", "syslog"]);
            Err(format!(
                "--log {} is not stderr or syslog{hint}",
                Quoted(other)
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(line: &str) -> Result<(PathBuf, Operation), String> {
        parse(
            std::iter::once("fosquitto")
                .chain(line.split_whitespace())
                .map(OsString::from),
        )
    }

    #[test]
    fn commands_take_the_root_before_or_after_their_name() {
        let serve = |log| Ok(("/r".into(), Operation::Serve { log }));
        assert_eq!(understood("serve --root /r"), serve(Target::Stderr));
        assert_eq!(
            understood("--root=/r serve --log syslog"),
            serve(Target::Syslog)
        );
        let rest = ["--root", "/q"].map(OsString::from).into();
        assert_eq!(
            understood("--root /r check --root /q"),
            Ok(("/r".into(), Operation::Own("check", rest)))
        );
    }

    #[test]
    fn what_follows_passwd_and_request_is_passed_on_as_it_stands() {
        let rest = ["--check", "--root", "/q", "anna"]
            .map(OsString::from)
            .into();
        assert_eq!(
            understood("--root /r passwd --check --root /q anna"),
            Ok(("/r".into(), Operation::Own("passwd", rest)))
        );
        let rest = ["-t", "5", "--list", "C"].map(OsString::from).into();
        assert_eq!(
            understood("request -t 5 --list C"),
            Ok(("/".into(), Operation::Own("request", rest)))
        );
    }

    #[test]
    fn help_and_version_win_over_what_is_missing() {
        for line in ["help", "--help", "-h", "serve --help"] {
            assert_eq!(
                understood(line).map(|(_, operation)| operation),
                Ok(Operation::Help),
                "{line}"
            );
        }
        assert_eq!(
            understood("--version").map(|(_, operation)| operation),
            Ok(Operation::Version)
        );
        for (command, _) in COMMANDS {
            assert!(HELP.contains(&format!("\n  {command} ")), "{command}");
        }
    }

    #[test]
    fn what_is_not_understood_starts_nothing_and_says_what_was_near() {
        for (line, what) in [
            ("", "a command is missing"),
            ("sevre", "unknown command 'sevre' (did you mean 'serve'?)"),
            (
                "serve --rot /r",
                "unknown option '--rot' (did you mean '--root'?)",
            ),
            ("serve --frobnicate", "unknown option '--frobnicate'"),
            ("serve -x", "unknown option '-x'"),
            ("serve now", "one word too many: 'now'"),
            (
                "--log syslog check",
                "'check' does not log: --log is for 'serve'",
            ),
            (
                "serve --log sylog",
                "--log 'sylog' is not stderr or syslog (did you mean 'syslog'?)",
            ),
        ] {
            assert_eq!(understood(line), Err(what.into()), "{line}");
        }
        assert!(understood("serve --root").is_err());
    }
}
