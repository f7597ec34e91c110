//! `make run`: what it starts is a bus, and the two commands that it prints work as they stand.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::harness::broker::until;
use crate::harness::log::Log;
use crate::harness::python::PROJECT;
use crate::harness::reference::free_port;
use crate::harness::root::{FOSQUITTO, Root, run, stderr};

/// `make start`, which is `make run` without the set-up and the build, in a scratch root.
struct Started {
    child: Child,
    commands: Vec<String>,
    log: Log,
}

impl Started {
    fn new(root: &Root, port: u16) -> Started {
        let mut child = Command::new("make")
            .args(["-s", "-C", PROJECT, "start"])
            .arg(format!("RUN_ROOT={}", root.path().display()))
            .arg(format!("RUN_PORT={port}"))
            .arg(format!("FOSQUITTO={}", *FOSQUITTO))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("make is installed");
        let log = Log::follow(child.stderr.take().expect("the standard error is a pipe"));
        let stdout = BufReader::new(child.stdout.take().expect("the standard output is a pipe"));
        let lines = stdout
            .lines()
            .map(|line| line.expect("the program writes UTF-8"));
        let commands = lines
            .map(|line| line.trim().to_owned())
            .filter(|line| line.starts_with("mosquitto_"))
            .take(2)
            .collect();
        Started {
            child,
            commands,
            log,
        }
    }

    fn command(&self, program: &str) -> &str {
        let command = self
            .commands
            .iter()
            .find(|command| command.starts_with(program));
        command.unwrap_or_else(|| panic!("a command with {program} in {:?}", self.commands))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // The recipe is one process: make's child has become the broker, and ends when it is told to.
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.child.id()))
                .unwrap_or_default();
        for pid in children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
        {
            // SAFETY: kill() takes plain numbers; the process is a child of our own child, which has not been waited for.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let _ = self.child.wait();
    }
}

#[test]
fn the_two_commands_that_make_run_prints_talk_through_the_bus() {
    let root = Root::new();
    let started = Started::new(&root, free_port());
    started.log.wait_from(0, "notice: ready");
    let subscribe = Command::new("sh")
        // -C is added for the test alone: it ends the command after one message.
        .args([
            "-c",
            &format!("exec {} -C 1", started.command("mosquitto_sub")),
        ])
        .stdout(Stdio::piped())
        .spawn();
    let mut subscribe = subscribe.expect("sh is installed");
    // mosquitto_sub does not say when its subscription holds, so the message is sent until it is seen.
    let status = until("the subscriber gets a message", || {
        let publish = run(
            Command::new("sh").args(["-c", started.command("mosquitto_pub")]),
            "",
        );
        assert!(publish.status.success(), "{}", stderr(&publish));
        subscribe.try_wait().expect("a child can be waited for")
    });
    let mut said = String::new();
    let mut stdout = subscribe
        .stdout
        .take()
        .expect("the standard output is a pipe");
    stdout
        .read_to_string(&mut said)
        .expect("the message is text");
    assert!(status.success());
    assert_eq!(said, "hello/world hello\n");
}

#[test]
fn a_second_make_run_keeps_the_configuration_of_the_first() {
    let root = Root::new();
    drop(Started::new(&root, free_port()));
    let uci = root.read("etc/config/fosquitto");
    root.write_uci(&format!("# mine\n{uci}"));
    let started = Started::new(&root, free_port());
    started.log.wait_from(0, "notice: ready");
    assert!(root.read("etc/config/fosquitto").starts_with("# mine\n"));
}
