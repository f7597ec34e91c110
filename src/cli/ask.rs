//! What the commands share that ask a running bus: how their words and options are read, and how answers come out.
//!
//! Entered by [`Command::read`], then by [`Asked::bus`]. What a command asks for and how it shows the answer is its own matter.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::{Arg, Parser};
use serde_json::Value;

use super::dump::{asker, line};
use crate::config::fault::{Quoted, did_you_mean};
use crate::control::Request;
use crate::control::client::Asker;

/// What a command takes, beside `--root DIR`, `--json` and `--help`.
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Its help, from the word `Usage` on.
    pub usage: &'static str,
    /// How many words it takes, at least and at most.
    pub words: (usize, usize),
    /// Its options with a value, without the dashes.
    pub options: &'static [&'static str],
    /// Its options without one.
    pub flags: &'static [&'static str],
}

/// A command line that was understood.
pub struct Asked {
    name: &'static str,
    /// The root.
    pub root: PathBuf,
    /// Whether JSON is wanted.
    pub as_json: bool,
    /// The words.
    pub words: Vec<String>,
    options: Vec<(&'static str, String)>,
    flags: Vec<&'static str>,
}

impl Command {
    /// Reads what follows the command's name. `Err`: the help was asked for, or the line is not understood; that is said, and this is the
    /// exit status.
    pub fn read(&self, root: &Path, arguments: Vec<OsString>) -> Result<Asked, ExitCode> {
        match self.parse(root, arguments) {
            Ok(Some(asked)) => Ok(asked),
            Ok(None) => Err(super::print(self.usage)),
            Err(what) => {
                eprintln!("fosquitto {}: {what}\n\n{}", self.name, self.usage);
                Err(ExitCode::from(super::USAGE))
            }
        }
    }

    fn parse(&self, root: &Path, arguments: Vec<OsString>) -> Result<Option<Asked>, String> {
        let in_words = |error: lexopt::Error| error.to_string();
        let text = |value: OsString| {
            let told =
                |value: OsString| format!("{} is no UTF-8", Quoted(&value.to_string_lossy()));
            value.into_string().map_err(told)
        };
        let mut asked = Asked {
            name: self.name,
            root: root.to_owned(),
            as_json: false,
            words: Vec::new(),
            options: Vec::new(),
            flags: Vec::new(),
        };
        let mut parser = Parser::from_args(arguments);
        while let Some(argument) = parser.next().map_err(in_words)? {
            match argument {
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Long("root") => asked.root = parser.value().map_err(in_words)?.into(),
                Arg::Long("json") => asked.as_json = true,
                Arg::Long(name) => {
                    let known =
                        |names: &[&'static str]| names.iter().find(|it| **it == name).copied();
                    if let Some(flag) = known(self.flags) {
                        asked.flags.push(flag);
                    } else if let Some(option) = known(self.options) {
                        let value = text(parser.value().map_err(in_words)?)?;
                        asked.options.push((option, value));
                    } else {
                        let all = self
                            .options
                            .iter()
                            .chain(self.flags)
                            .chain(&["root", "json"]);
                        let hint = did_you_mean(name, all.copied());
                        return Err(format!(
                            "unknown option {}{hint}",
                            Quoted(&format!("--{name}"))
                        ));
                    }
                }
                Arg::Value(word) if asked.words.len() < self.words.1 => {
                    asked.words.push(text(word)?);
                }
                other => return Err(other.unexpected().to_string()),
            }
        }
        match asked.words.len() < self.words.0 {
            true => Err("something is missing".into()),
            false => Ok(Some(asked)),
        }
    }
}

impl Asked {
    /// The value of an option; the last one holds.
    pub fn option(&self, name: &str) -> Option<&str> {
        let mut given = self.options.iter().rev();
        let found = given.find(|(option, _)| *option == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether an option without a value is given.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// The running bus.
    pub fn bus(&self) -> Result<Asker, String> {
        asker(&self.root)?.ok_or_else(|| "no bus is running".to_owned())
    }

    /// Ends the command: prints what it has, or says why there is nothing.
    pub fn end(&self, outcome: Result<String, String>) -> ExitCode {
        match outcome {
            Ok(text) => super::print(&text),
            Err(what) => {
                eprintln!("fosquitto {}: {what}", self.name);
                ExitCode::from(super::FAULTS)
            }
        }
    }

    /// Asks one thing, and shows it: the answer's line, or what `show` makes of it.
    pub fn ask(
        &self,
        request: &Request,
        show: impl FnOnce(&Value) -> String,
    ) -> Result<String, String> {
        let answer = self.bus()?.ask(request)?;
        Ok(match self.as_json {
            true => line(&answer),
            false => show(&answer),
        })
    }
}

/// A field's text; empty where it is null or something else.
pub fn text<'v>(row: &'v Value, field: &str) -> &'v str {
    row[field].as_str().unwrap_or_default()
}

/// A field's number; 0 where it is null or something else.
pub fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_default()
}
