//! Python programs with paho-mqtt, each version in a virtual environment of its own.
//!
//! The environments are made by `make venvs`, which this calls: with everything in place that takes no time and no network.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

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
