//! README.md's commands: each is one that something runs, and each make target that it names is there.
//!
//! A command is a line of a code block that begins with ```` ```sh ````. [`SHOWN`] says for each what runs it: a test of this
//! binary by its name, or a file of the project that calls it.

use std::fs;
use std::path::Path;

use crate::harness::python::PROJECT;

/// What runs a command.
enum Runner {
    /// A test function with this name.
    Test(&'static str),
    /// A file that holds this line.
    File(&'static str),
}

/// Every command that README.md may show.
const SHOWN: [(&str, Runner); 7] = [
    (
        "make run",
        Runner::Test("the_two_commands_that_make_run_prints_talk_through_the_bus"),
    ),
    ("make test", Runner::File(".ci/run")),
    (
        "make check",
        Runner::Test("make_check_is_made_of_targets_that_are_there"),
    ),
    ("make setup", Runner::File("Makefile")),
    (
        "cargo test --no-default-features --test it -- tidy::",
        Runner::File("Makefile"),
    ),
    (
        "fosquitto check --root target/run",
        Runner::Test("the_file_of_the_original_is_correct"),
    ),
    (
        "fosquitto passwd --root target/run alice",
        Runner::Test("a_user_of_the_password_command_gets_in"),
    ),
];

fn project_file(name: &str) -> String {
    fs::read_to_string(Path::new(PROJECT).join(name))
        .unwrap_or_else(|error| panic!("{name} can be read: {error}"))
}

/// The lines of all ```` ```sh ```` blocks with their numbers.
fn commands(text: &str) -> Vec<(usize, String)> {
    let mut inside = false;
    let mut commands = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            "" => {}
            command if inside => commands.push((index + 1, command.to_owned())),
            _ => {}
        }
    }
    commands
}

#[test]
fn every_command_of_the_readme_is_one_that_something_runs() {
    let commands = commands(&project_file("README.md"));
    assert!(commands.len() >= 2, "it shows the two commands at least");
    for (line, command) in &commands {
        let known = SHOWN.iter().any(|(shown, _)| shown == command);
        assert!(
            known,
            "README.md:{line}: `{command}` is run by nothing: add a test and name it in SHOWN"
        );
    }
}

#[test]
fn what_is_said_to_run_a_command_is_there() {
    let makefile = project_file("Makefile");
    for (command, runner) in SHOWN {
        match runner {
            Runner::Test(name) => {
                let folder = Path::new(PROJECT).join("tests/it");
                assert!(
                    holds(&folder, &format!("\nfn {name}()")),
                    "`{command}` is said to be run by {name}"
                );
            }
            Runner::File(name) => {
                let text = project_file(name)
                    .replace("$(CARGO)", "cargo")
                    .replace("--locked $(FEATURES)", "--no-default-features");
                let target = command.strip_prefix("make ").unwrap_or(command);
                assert!(
                    text.contains(target),
                    "`{command}` is said to be called by {name}"
                );
            }
        }
        if let Some(target) = command.strip_prefix("make ") {
            assert!(
                makefile.contains(&format!("\n{target}:")),
                "the Makefile has no {target}"
            );
        }
    }
}

#[test]
fn make_check_is_made_of_targets_that_are_there() {
    let output = crate::harness::root::run(
        std::process::Command::new("make").args(["-n", "-C", PROJECT, "check"]),
        "",
    );
    assert!(
        output.status.success(),
        "{}",
        crate::harness::root::stderr(&output)
    );
    let text = String::from_utf8(output.stdout).expect("make writes UTF-8");
    for command in ["fmt --check", "clippy", "shellcheck", "doc", "test"] {
        assert!(text.contains(command), "make check runs {command}: {text}");
    }
}

#[test]
fn continuous_integration_calls_the_test_command_and_nothing_else() {
    let text = project_file(".ci/run");
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(
        lines,
        [
            "set -euo pipefail",
            "cd \"$(dirname \"$0\")/..\"",
            "make test"
        ]
    );
}

/// Whether a Rust file below this folder holds a text.
fn holds(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder)
        .expect("a folder of the project can be read")
        .any(|entry| {
            let path = entry.expect("an entry can be read").path();
            match path.is_dir() {
                true => holds(&path, text),
                false => fs::read_to_string(&path).is_ok_and(|source| source.contains(text)),
            }
        })
}
