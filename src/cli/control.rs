//! `fosquitto control`: asks the running bus what a script says in the words of the control socket. Entered through [`run`]. It neither
//! knows nor changes what is asked.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::ask::{Asked, Command};
use super::dump::line;
use crate::control::SOCKET;

const COMMAND: Command = Command {
    name: "control",
    usage: "\
Usage: fosquitto control [--root DIR] REQUEST

Asks the running bus by its control socket, and prints the answer, one line of JSON: {\"ok\":...} or {\"error\":\"...\"}. REQUEST is JSON too:
{\"request\":\"clients\"}, or the word alone where it needs no more: clients. src/control/mod.rs lists the requests.
Exit status 1: the answer is an error, or there is none.

      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
    words: (1, 1),
    options: &[],
    flags: &[],
};

/// Runs the command with what follows its name.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let asked = match COMMAND.read(root, arguments) {
        Ok(asked) => asked,
        Err(status) => return status,
    };
    match answer(&asked) {
        Ok(answer) => {
            let status = super::print(&line(&answer));
            match answer.get("ok") {
                Some(_) => status,
                None => ExitCode::from(super::FAULTS),
            }
        }
        Err(what) => asked.end(Err(what)),
    }
}

fn answer(asked: &Asked) -> Result<Value, String> {
    let said = &asked.words[0];
    let is_word = said
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let mut request = match is_word {
        true => format!("{{\"request\":\"{said}\"}}"),
        // A line ends a request, and JSON has no line ends but between its parts.
        false => said.replace(['\n', '\r'], " "),
    };
    request.push('\n');
    let words = |error: std::io::Error| format!("the bus cannot be asked: {error}");
    let mut stream =
        UnixStream::connect(asked.root.join(SOCKET)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                "no bus is running".to_owned()
            }
            _ => words(error),
        })?;
    stream.write_all(request.as_bytes()).map_err(words)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .map_err(words)?;
    serde_json::from_str(&answer).map_err(|_| "the bus gives no answer".to_owned())
}
