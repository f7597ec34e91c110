//! `fosquitto passwd`: what it writes is mosquitto's file format, and the broker lets its users in.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Version};
use crate::harness::root::{Root, run, stderr};

#[test]
fn a_user_of_the_password_command_gets_in() {
    let root = Root::with_uci(LOCAL);
    let output = root.passwd("alice", "correct horse");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(root.mode("etc/fosquitto/passwd"), 0o600);
    let broker = Broker::start_on(root);
    broker
        .join(&Connect::new(Version::V311, "a").user("alice", "correct horse"))
        .ping();
    let (_, connack) =
        broker.attempt(&Connect::new(Version::V311, "a").user("alice", "wrong horse"));
    assert_eq!(connack.code, 5);
}

#[test]
fn a_second_password_replaces_the_first_and_leaves_other_users() {
    let root = Root::with_uci(LOCAL);
    for (user, password) in [("alice", "one"), ("bob", "two"), ("alice", "three")] {
        assert!(root.passwd(user, password).status.success());
    }
    let text = root.read("etc/fosquitto/passwd");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.lines().all(|line| line.contains(":$7$")), "{text}");
    let broker = Broker::start_on(root);
    broker
        .join(&Connect::new(Version::V311, "a").user("alice", "three"))
        .ping();
    broker
        .join(&Connect::new(Version::V311, "b").user("bob", "two"))
        .ping();
    let (_, connack) = broker.attempt(&Connect::new(Version::V311, "a").user("alice", "one"));
    assert_eq!(connack.code, 5);
}

#[test]
fn the_same_password_twice_gives_two_hashes() {
    let root = Root::with_uci(LOCAL);
    for user in ["alice", "bob"] {
        assert!(root.passwd(user, "same").status.success());
    }
    let text = root.read("etc/fosquitto/passwd");
    let hashes: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(_, hash)| hash)
        .collect();
    assert_ne!(hashes[0], hashes[1], "each has a salt of its own");
}

#[test]
fn a_user_name_that_cannot_stand_in_the_file_is_refused() {
    let root = Root::with_uci(LOCAL);
    for user in ["with:colon", "with\nline", ""] {
        let output = root.passwd(user, "x");
        assert!(!output.status.success(), "{user:?}");
        assert!(!stderr(&output).is_empty(), "it says why");
    }
    assert!(
        !root.join("etc/fosquitto/passwd").exists() || root.read("etc/fosquitto/passwd").is_empty()
    );
}

#[test]
fn mosquitto_reads_the_file() {
    let root = Root::with_uci(LOCAL);
    assert!(root.passwd("alice", "correct horse").status.success());
    let port = crate::harness::reference::free_port();
    let configuration = format!(
        "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\nuser root\nlog_dest stderr\n",
        root.join("etc/fosquitto/passwd").display()
    );
    root.write("mosquitto.conf", configuration);
    let mut mosquitto = std::process::Command::new("/usr/sbin/mosquitto");
    mosquitto
        .arg("-c")
        .arg(root.join("mosquitto.conf"))
        .stderr(std::process::Stdio::piped());
    let mut child = mosquitto.spawn().expect("mosquitto is installed");
    let log = crate::harness::log::Log::follow(
        child.stderr.take().expect("the standard error is a pipe"),
    );
    log.wait_from(0, "running");
    let publish = |password: &str| {
        let mut command = std::process::Command::new("mosquitto_pub");
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-t",
            "a",
            "-m",
            "x",
            "-u",
            "alice",
            "-P",
            password,
        ]);
        run(&mut command, "").status.success()
    };
    let (right, wrong) = (publish("correct horse"), publish("wrong horse"));
    child.kill().expect("mosquitto runs until it is ended");
    child.wait().expect("a child can be waited for");
    assert!(
        right && !wrong,
        "mosquitto accepts the right password ({right}) and refuses a wrong one ({})",
        !wrong
    );
}
