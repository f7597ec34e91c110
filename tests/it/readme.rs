//! README.md, held to the program: its commands work, its UCI is correct, its tables are those of the parser.
//!
//! A command is a line of a code block that begins with ```` ```sh ````, a piece of configuration a block that begins with
//! ```` ```uci ````. What builds and tests is run by something else, which [`BUILDS`] names for each; everything else is run here in
//! the order of the text, on a scratch root, with addresses, ports and paths of the test's own in place of the router's.

mod output;

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::broker::{Broker, until};
use crate::harness::pki::REMOTE;
use crate::harness::python::PROJECT;
use crate::harness::root::{FOSQUITTO, Root, run, stderr};

/// What runs a command.
enum Runner {
    /// A test function with this name.
    Test(&'static str),
    /// A file that holds this line.
    File(&'static str),
}

/// The commands that build and test, which no test can run within itself, and those that need a peer of their own.
const BUILDS: [(&str, Runner); 16] = [
    (
        r#"fosquitto request 0000000A00000214 about get '{"b": 1}'"#,
        Runner::Test("a_request_is_answered_in_one_line_of_json"),
    ),
    (
        "fosquitto why --user anna --action publish --topic anna/x --listener lan",
        Runner::Test("why_names_the_rule_of_the_running_bus_and_of_a_file"),
    ),
    (
        "fosquitto trace --follow --client phone",
        Runner::Test("a_trace_can_be_followed_while_it_happens"),
    ),
    (
        "fosquitto pub -t home/hall/light -m on -q 1 -r",
        Runner::Test("retained_messages_are_told_from_others_and_cleared"),
    ),
    (
        "fosquitto sub -t 'home/#' -v -c 1",
        Runner::Test("what_is_published_comes_as_it_was_said"),
    ),
    (
        "fosquitto-monitor listen",
        Runner::Test("the_monitor_listens_and_shows_what_python_would"),
    ),
    (
        "make run",
        Runner::Test("the_two_commands_that_make_run_prints_talk_through_the_bus"),
    ),
    ("make packages", Runner::File("Makefile")),
    (
        "opkg install /tmp/fosquitto_26.11.0-r1_arm_cortex-a9_vfpv3-d16.ipk",
        Runner::Test("installed_as_the_readme_says_it_runs"),
    ),
    (
        "make cross TARGET=armv7-unknown-linux-musleabihf",
        Runner::File("Makefile"),
    ),
    ("make test", Runner::File(".ci/run")),
    (
        "make check",
        Runner::Test("make_check_is_made_of_targets_that_are_there"),
    ),
    ("make setup", Runner::File("Makefile")),
    ("make fuzz SECONDS=600", Runner::File("Makefile")),
    (
        "make bench BENCH='--case durable-*'",
        Runner::File("Makefile"),
    ),
    (
        "cargo test --no-default-features --test it -- tidy::",
        Runner::File("Makefile"),
    ),
];

/// The password that README.md's user has.
const PASSWORD: &str = "her password";

/// The router's network, as far as README.md names it. The device is one that every machine has.
const NETWORK: &str = "config interface 'lan'\n\toption device 'lo'\n";

/// The lines between which the tables of options stand.
const TABLES_BEGIN: &str = "<!-- tables of options: begin -->\n";
const TABLES_END: &str = "<!-- tables of options: end -->\n";

fn project_file(name: &str) -> String {
    fs::read_to_string(Path::new(PROJECT).join(name))
        .unwrap_or_else(|error| panic!("{name} can be read: {error}"))
}

/// A code block.
struct Block {
    /// The number of its first line within.
    line: usize,
    /// What stands after the opening fence.
    language: String,
    text: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block {
                    line: index + 2,
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "every code block is closed");
    blocks
}

/// A scratch root with a running bus, on which README.md is followed.
struct Story {
    broker: Broker,
    uci: String,
    /// The router's ports, and those that stand for them here.
    ports: [(&'static str, String); 5],
    subscriber: Option<Subscriber>,
    /// How many commands were run.
    commands: usize,
}

/// A `mosquitto_sub` that ends after one message, or with the test.
struct Subscriber(Child);

impl Drop for Subscriber {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Story {
    /// A router as it is after the installation, with a CA `remote` and the token of a tablet.
    fn begin() -> Story {
        let mut free = quiet_ports();
        let ports = ["11883", "11884", "1883", "8883", "9001"].map(|port| {
            let other = free.next().expect("some port is free");
            (port, other.to_string())
        });
        let uci = with_ports(&project_file("files/etc/config/fosquitto"), &ports);
        let root = Root::with_uci(&uci);
        root.write("etc/config/network", NETWORK);
        REMOTE.install(&root);
        REMOTE.client("tablet", 2).write_token(&root, ".", &REMOTE);
        Story {
            broker: Broker::start_on(root),
            uci,
            ports,
            subscriber: None,
            commands: 0,
        }
    }

    /// Adds a piece of configuration to the file, as its reader would.
    fn configure(&mut self, text: &str) {
        // README.md's other broker is nobody, and is not asked for beyond this machine.
        let text = text.replace("broker.example", "127.0.0.1");
        self.uci += &format!("\n{}", with_ports(&text, &self.ports));
        self.broker.root().write_uci(&self.uci);
    }

    /// The command with this machine's program, paths, addresses and ports.
    fn translated(&self, command: &str) -> String {
        let root = self.broker.root().path().display().to_string();
        // The ports first: the numbers in a path are not README.md's.
        let command = with_ports(command, &self.ports)
            .replace("target/run/", &format!("{root}/"))
            .replace(" /var/", &format!(" {root}/var/"))
            .replace("192.168.1.1", "127.0.0.1");
        match command.strip_prefix("fosquitto ") {
            Some(rest) => format!("{} --root '{root}' {rest}", *FOSQUITTO),
            None => command,
        }
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .current_dir(self.broker.root().path());
        command
    }

    /// Runs a command, which must succeed.
    fn run(&mut self, command: &str) {
        self.commands += 1;
        let script = self.translated(command);
        match command.split(' ').next() {
            Some("mosquitto_sub") => self.subscribe(&script),
            Some("mosquitto_pub") => self.publish(command, &script),
            Some("kill") => {
                let mark = self.broker.log().mark();
                self.succeed(&script);
                self.broker
                    .log()
                    .wait_from(mark, "notice: configuration reloaded");
            }
            Some("fosquitto") => self.succeed(&script),
            _ => panic!("run by nothing: teach Story::run, or add a test and name it in BUILDS"),
        }
    }

    fn succeed(&self, script: &str) {
        let output = run(&mut self.shell(script), &format!("{PASSWORD}\n"));
        assert!(output.status.success(), "{script}: {}", stderr(&output));
    }

    fn subscribe(&mut self, script: &str) {
        // -C is added for the test alone: it ends the command after one message.
        let child = self
            .shell(&format!("exec {script} -C 1"))
            .stdout(Stdio::piped())
            .spawn();
        self.subscriber = Some(Subscriber(child.expect("sh is installed")));
    }

    /// Publishes until the subscriber has it: mosquitto_sub does not say when its subscription holds.
    fn publish(&mut self, command: &str, script: &str) {
        let mut subscriber = self
            .subscriber
            .take()
            .expect("a command to subscribe stands before one to publish");
        let status = until("the subscriber gets a message", || {
            self.succeed(script);
            subscriber.0.try_wait().expect("a child can be waited for")
        });
        assert!(status.success(), "mosquitto_sub ends with {status}");
        let mut said = String::new();
        let stdout = subscriber.0.stdout.as_mut();
        stdout
            .expect("the standard output is a pipe")
            .read_to_string(&mut said)
            .expect("the message is text");
        let (topic, message) = (argument(command, "-t"), argument(command, "-m"));
        assert_eq!(said, format!("{topic} {message}\n"));
    }
}

/// Ports that are free, and stay so until they are used: the kernel chooses from 32768 on for all other tests, and each run of the
/// tests begins at another one.
fn quiet_ports() -> impl Iterator<Item = u16> {
    let first = 12_000 + u16::try_from(std::process::id() % 20_000).expect("it is below 20,000");
    (first..32_768).filter(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
}

/// What follows an option of a command.
fn argument<'a>(command: &'a str, option: &str) -> &'a str {
    command
        .split(' ')
        .skip_while(|word| *word != option)
        .nth(1)
        .unwrap_or_else(|| panic!("{command} has {option}"))
}

/// The text with other ports. A number counts as a whole: 1883 is not found in 11883.
fn with_ports(text: &str, ports: &[(&str, String)]) -> String {
    let mut changed = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|character: char| !character.is_ascii_digit());
        let (number, after) = from.split_at(end.unwrap_or(from.len()));
        let other = ports.iter().find(|(port, _)| *port == number);
        changed += before;
        changed += other.map_or(number, |(_, other)| other);
        rest = after;
    }
    changed + rest
}

#[test]
fn the_commands_of_the_readme_work_one_after_the_other() {
    let mut story = Story::begin();
    for block in blocks(&project_file("README.md")) {
        match block.language.as_str() {
            "uci" => story.configure(&block.text),
            "sh" => {
                for (command, line) in block.text.lines().zip(block.line..) {
                    if !BUILDS.iter().any(|(known, _)| *known == command) {
                        eprintln!("README.md:{line}: {command}");
                        story.run(command);
                    }
                }
            }
            // Those are held by `output`.
            "console" => {}
            other => panic!(
                "README.md:{}: a block of '{other}' is held by nothing",
                block.line
            ),
        }
    }
    assert!(story.commands >= 10, "it shows how the program is used");
    // All pieces of configuration together are one that a running bus takes over.
    story.broker.reload_files();
}

#[test]
fn every_piece_of_configuration_in_the_readme_is_correct_by_itself() {
    let root = Root::new();
    root.write("etc/config/network", NETWORK);
    let readme = blocks(&project_file("README.md"));
    let pieces: Vec<&Block> = readme
        .iter()
        .filter(|block| block.language == "uci")
        .collect();
    assert!(
        pieces.len() >= 4,
        "it shows how listeners and rules are made"
    );
    for block in pieces {
        root.write_uci(&block.text);
        let output = root.check();
        assert!(
            output.status.success(),
            "README.md:{}: {}",
            block.line,
            stderr(&output)
        );
    }
}

#[test]
fn the_tables_of_options_are_those_of_the_parser() {
    let text = project_file("README.md");
    let (before, rest) = text
        .split_once(TABLES_BEGIN)
        .expect("the line before the tables is there");
    let (tables, after) = rest
        .split_once(TABLES_END)
        .expect("the line after the tables is there");
    let expected = format!("\n{}\n", fosquitto::config::options::markdown());
    if tables == expected {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_EXPECT").is_some(),
        "README.md's tables are old: UPDATE_EXPECT=1 writes these:\n{expected}"
    );
    let text = format!("{before}{TABLES_BEGIN}{expected}{TABLES_END}{after}");
    fs::write(Path::new(PROJECT).join("README.md"), text).expect("README.md can be written");
}

#[test]
fn the_map_of_the_code_names_every_file() {
    let map = project_file("src/lib.rs");
    let mut folders = vec![Path::new(PROJECT).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project can be read") {
            let path = entry.expect("an entry can be read").path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let name = stem.expect("a file of the project has a name in UTF-8");
            if name.contains("test") || matches!(name, "lib" | "main" | "mod") {
                continue;
            }
            assert!(
                [format!("`{name}`"), format!("::{name}`")]
                    .iter()
                    .any(|named| map.contains(named.as_str())),
                "src/lib.rs says nothing of {}",
                path.display()
            );
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}

#[test]
fn the_shipped_configuration_is_correct_and_says_what_holds_without_it() {
    let root = Root::with_uci(&project_file("files/etc/config/fosquitto"));
    let output = root.check();
    assert!(output.status.success(), "{}", stderr(&output));
    let read = |text: &str| {
        fosquitto::config::parse(text, Path::new("fosquitto"), &Default::default())
            .expect("it has no faults")
    };
    assert_eq!(
        read(&project_file("files/etc/config/fosquitto")),
        read(""),
        "whoever removes an option gets what the file said"
    );
}

#[test]
fn what_is_said_to_run_a_build_command_is_there() {
    let makefile = project_file("Makefile");
    for (command, runner) in BUILDS {
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
        // What stands behind the target is a variable of the Makefile.
        if let Some(target) = command
            .strip_prefix("make ")
            .and_then(|target| target.split(' ').next())
        {
            assert!(
                makefile.contains(&format!("\n{target}:")),
                "the Makefile has no {target}"
            );
        }
    }
}

#[test]
fn make_check_is_made_of_targets_that_are_there() {
    let output = run(
        Command::new("make").args(["-n", "-C", PROJECT, "check"]),
        "",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).expect("make writes UTF-8");
    for command in [
        "fmt --check",
        "clippy",
        "shellcheck",
        "doc",
        "uci-oracle",
        "test",
    ] {
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
