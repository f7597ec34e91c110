//! Python programs with paho-mqtt, each version in a virtual environment of its own.
//!
//! The environments are made by `make venvs`, which this calls: with everything in place that takes no time and no network.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex};

use super::log::Log;
use super::root::{run, stderr};

/// The versions of paho-mqtt that programs of routers use: 1.6.1 is Turris OS', 2 has another interface.
pub const PAHO: [&str; 2] = ["paho-1", "paho-2"];

/// The folder that holds Cargo.toml.
pub const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a script of `tests/python` and returns the one line of JSON that it prints at its end.
///
/// # Panics
/// When the script fails, with everything that it wrote.
pub fn run_script(paho: &str, script: &str, arguments: &[String]) -> serde_json::Value {
    let python = environments().join(paho).join("bin/python3");
    let script = Path::new(PROJECT).join("tests/python").join(script);
    let mut command = Command::new(python);
    let output = run(command.arg(&script).args(arguments), "");
    let text = String::from_utf8(output.stdout.clone()).expect("the script writes UTF-8");
    assert!(
        output.status.success(),
        "{command:?} failed:\n{text}\n{}",
        stderr(&output)
    );
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{last:?} is no JSON: {error}"))
}

/// A script of `tests/python` that runs, is told what to do line by line, and says line by line what happens.
pub struct Script {
    child: Child,
    input: Mutex<ChildStdin>,
    log: Log,
}

impl Script {
    /// Starts it.
    pub fn start(paho: &str, script: &str) -> Script {
        let python = environments().join(paho).join("bin/python3");
        let mut child = Command::new(python)
            .arg(Path::new(PROJECT).join("tests/python").join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the environment has a Python");
        let input = child.stdin.take().expect("the standard input is a pipe");
        let output = child.stdout.take().expect("the standard output is a pipe");
        Script {
            log: Log::follow(output),
            child,
            input: Mutex::new(input),
        }
    }

    /// Tells it a line.
    pub fn tell(&self, line: &str) {
        let mut input = self.input.lock().expect("nobody panics with it");
        writeln!(input, "{line}").expect("the script reads its input");
    }

    /// What it says.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn environments() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let output = run(
            Command::new("make").args(["-s", "-C", PROJECT, "venvs"]),
            "",
        );
        assert!(
            output.status.success(),
            "make venvs failed: {}",
            stderr(&output)
        );
        Path::new(PROJECT).join("target/python")
    });
    &FOLDER
}
