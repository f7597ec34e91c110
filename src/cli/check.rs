//! `fosquitto check`: says what is wrong with a configuration, with the parser that `serve` uses, and what is odd about it. Entered through
//! [`run`]. It opens no sockets, so what it calls good may still wait for an address.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::ask::Command;
use super::dump::line;
use crate::bridge::check::{self as bridges, Warning};
use crate::config::fault::Fault;
use crate::config::{self, Config, Faults};
use crate::server::lint;

const COMMAND: Command = Command {
    name: "check",
    usage: "\
Usage: fosquitto check [--root DIR] [--strict] [--json] [FILE]

Says what is wrong with the router's configuration, or with FILE as one, a line each; and warns of what is right and still odd: a rule that
never decides, a listener that lets everybody in from outside, certificates that cannot be read or end soon, a database in memory, users
in rules whom nobody can be, a bridge that cannot connect.

      --strict   warnings count as faults
      --json     one line of JSON: {\"faults\":[{\"path\",\"line\",\"what\"}],\"warnings\":[...]}
      --root DIR take the router's paths below DIR (default /)
  -h, --help     show this

Exit status: 0 a bus would start with it, 1 there are faults, 2 the command line was not understood.
",
    words: (0, 1),
    options: &[],
    flags: &["strict"],
};

/// Runs the command with what follows its name. Prints `FILE: ok` to standard output, or every fault to standard error, and warnings there
/// too.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let asked = match COMMAND.read(root, arguments) {
        Ok(asked) => asked,
        Err(status) => return status,
    };
    let (path, result) = match asked.words.first().map(PathBuf::from) {
        Some(file) => {
            let result = config::load_file(&file, &asked.root);
            (file, result)
        }
        None => (config::path(&asked.root), config::load(&asked.root)),
    };
    let (faults, warnings) = judge(result, &path, &asked.root);
    let is_good = faults.is_empty() && (warnings.is_empty() || !asked.has("strict"));
    let status = ExitCode::from(if is_good { super::OK } else { super::FAULTS });
    if asked.as_json {
        super::print(&line(
            &json!({"faults": told(&faults), "warnings": told(&warnings)}),
        ));
        return status;
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    for warning in &warnings {
        let path = warning.path.display();
        match warning.line {
            0 => eprintln!("{path}: warning: {}", warning.what),
            line => eprintln!("{path}:{line}: warning: {}", warning.what),
        }
    }
    if is_good {
        return super::print(&format!("{}: ok\n", path.display()));
    }
    status
}

/// The faults of a configuration read from `path`, or, when it has none, what is odd about it, in the order of its lines.
pub(super) fn judge(
    result: Result<Config, Faults>,
    path: &Path,
    root: &Path,
) -> (Vec<Fault>, Vec<Fault>) {
    let config = match result {
        Ok(config) => config,
        Err(faults) => return (faults.0, Vec::new()),
    };
    let mut warnings = lint::warnings(&config, path, root);
    let bridges = bridges::warnings(&config, root).into_iter();
    warnings.extend(bridges.map(|Warning { line, what }| Fault {
        path: path.to_owned(),
        line,
        what,
    }));
    warnings.sort_by_key(|warning| warning.line);
    (Vec::new(), warnings)
}

fn told(faults: &[Fault]) -> Vec<Value> {
    let told = faults.iter().map(|fault| {
        let line = (fault.line > 0).then_some(fault.line);
        json!({"path": fault.path, "line": line, "what": fault.what})
    });
    told.collect()
}
