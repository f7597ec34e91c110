//! `fosquitto pub` and `sub`: small clients, as scripts use them.

use std::io::{BufRead as _, BufReader, Lines};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::harness::broker::{Broker, LOCAL, until};
use crate::harness::pki::REMOTE;
use crate::harness::root::{FOSQUITTO, Root, run, stderr};

/// A command that has been started, and its lines.
pub(super) struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Started {
    pub(super) fn new(command: &mut Command) -> Started {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let out = child.stdout.take().expect("it is piped");
        Started {
            child,
            lines: BufReader::new(out).lines(),
        }
    }

    pub(super) fn line(&mut self) -> String {
        let line = self.lines.next().expect("there is one more");
        line.expect("it is text")
    }

    pub(super) fn status(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn talk(broker: &Broker, arguments: &[&str]) -> Command {
    let mut command = Command::new(&*FOSQUITTO);
    command
        .args(arguments)
        .arg("--root")
        .arg(broker.root().path());
    let address = broker.address("local");
    command.args([
        "-H",
        &address.ip().to_string(),
        "-P",
        &address.port().to_string(),
    ]);
    command
}

fn said(command: &mut Command, input: &str) -> Output {
    let output = run(command, input);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
}

pub(super) fn subscribed(broker: &Broker, count: usize) {
    until("the subscription is there", || {
        let output = broker.root().command(&["subscriptions", "--json"]);
        let subscriptions: Vec<Value> = serde_json::from_slice(&output.stdout).ok()?;
        (subscriptions.len() == count).then_some(())
    });
}

#[test]
fn what_is_published_comes_as_it_was_said() {
    let broker = Broker::start(LOCAL);
    for (qos, version) in [("0", "5"), ("1", "5"), ("2", "5"), ("1", "3.1.1")] {
        let mut sub = Started::new(&mut talk(
            &broker,
            &[
                "sub", "-t", "a/+", "-q", qos, "-v", "-c", "5", "-V", version,
            ],
        ));
        subscribed(&broker, 1);
        said(
            &mut talk(&broker, &["pub", "-t", "a/1", "-m", "text", "-q", qos]),
            "",
        );
        said(
            &mut talk(&broker, &["pub", "-t", "a/2", "-l", "-q", qos]),
            "one\ntwo\n",
        );
        said(
            &mut talk(&broker, &["pub", "-t", "a/3", "-s", "-q", qos]),
            "all of it",
        );
        said(&mut talk(&broker, &["pub", "-t", "b", "-n"]), "");
        said(
            &mut talk(&broker, &["pub", "-t", "a/\u{1b}[2J", "-n", "-q", qos]),
            "",
        );
        let lines = [(); 5].map(|()| sub.line());
        let expected = [
            "a/1 text",
            "a/2 one",
            "a/2 two",
            "a/3 all of it",
            "a/\\u{1b}[2J ",
        ];
        assert_eq!(lines, expected);
        assert_eq!(sub.status(), Some(0));
        until("it has gone", || {
            let output = broker.root().command(&["clients", "--json"]);
            (output.stdout == b"[]\n").then_some(())
        });
    }
}

#[test]
fn retained_messages_are_told_from_others_and_cleared() {
    let broker = Broker::start(LOCAL);
    let file = broker.root().join("payload");
    std::fs::write(&file, b"\xff\0").expect("it can be written");
    let file = file.to_str().expect("text");
    said(
        &mut talk(&broker, &["pub", "-t", "k", "-f", file, "-r", "-q", "1"]),
        "",
    );
    let output = said(
        &mut talk(&broker, &["sub", "-t", "k", "--json", "-c", "1"]),
        "",
    );
    let message: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(message["payload_base64"], "/wA=");
    assert_eq!(message["retain"], true);
    let output = said(
        &mut talk(
            &broker,
            &["sub", "-t", "k", "--format", "%t %l %r", "-c", "1"],
        ),
        "",
    );
    assert_eq!(output.stdout, b"k 2 1\n");
    // There is none but that one.
    let mut sub = talk(&broker, &["sub", "-t", "k", "--no-retained", "-W", "0.3"]);
    assert_eq!(run(&mut sub, "").status.code(), Some(2));
    said(&mut talk(&broker, &["pub", "-t", "k", "-n", "-r"]), "");
    let mut sub = talk(&broker, &["sub", "-t", "k", "-c", "1", "-W", "0.3"]);
    assert_eq!(run(&mut sub, "").status.code(), Some(2));
}

#[test]
fn what_cannot_be_done_is_said_and_has_its_exit_status() {
    let rule = "config acl\n\toption access 'deny'\n\tlist topic 'secret/#'\n\n";
    let broker = Broker::start(&format!("{LOCAL}\n{rule}"));
    let output = run(
        &mut talk(&broker, &["sub", "-t", "secret/x", "-c", "1"]),
        "",
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("denies the subscription"),
        "{}",
        stderr(&output)
    );
    let output = run(
        &mut talk(&broker, &["pub", "-t", "a", "-m", "x", "-u", "nobody"]),
        "",
    );
    assert_eq!(output.status.code(), Some(1));
    let output = run(&mut talk(&broker, &["pub", "-t", "a/#", "-m", "x"]), "");
    assert_eq!(output.status.code(), Some(1));
    let (_, root) = broker.stop();
    let output = root.command(&["pub", "-t", "a", "-m", "x", "-P", "1"]);
    assert_eq!(output.status.code(), Some(1), "nobody listens there");
    let silent = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = silent.local_addr().expect("it is bound").port().to_string();
    let output = root.command(&["pub", "-t", "a", "-n", "-P", &port, "-W", "0.2"]);
    assert_eq!(output.status.code(), Some(2), "nobody answers there");
}

#[test]
fn a_message_that_the_rules_deny_is_not_published_in_silence() {
    let rule = "config acl 'quiet'\n\tlist topic 'quiet/#'\n\toption access 'deny'\n";
    let broker = Broker::start(&format!("{LOCAL}\n{rule}"));
    for qos in ["1", "2"] {
        let denied = ["pub", "-t", "quiet/a", "-m", "x", "-q", qos];
        let output = run(&mut talk(&broker, &denied), "");
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("denies the message"), "{qos}");
        // Which 3.1.1 has no words for.
        said(talk(&broker, &denied).args(["-V", "3.1.1"]), "");
    }
    let sub = run(&mut talk(&broker, &["sub", "-t", "quiet/#"]), "");
    assert_eq!(sub.status.code(), Some(1));
    assert!(stderr(&sub).contains("denies the subscription"));
}

#[test]
fn properties_are_given_and_told() {
    let broker = Broker::start(LOCAL);
    let mut sub = Started::new(&mut talk(&broker, &["sub", "-t", "a", "--json", "-c", "2"]));
    subscribed(&broker, 1);
    let given = [
        "--content-type",
        "text/plain",
        "--response-topic",
        "b",
        "--correlation",
        "7",
        "--user-property",
        "room=hall",
    ];
    let mut publish = talk(&broker, &["pub", "-t", "a", "-m", "x", "--expiry", "3600"]);
    said(publish.args(given), "");
    let mut told: Value = serde_json::from_str(&sub.line()).expect("it is JSON");
    let expiry_s = told["expiry_s"].take();
    assert!(
        expiry_s
            .as_u64()
            .is_some_and(|left| (1..=3600).contains(&left))
    );
    let expected = json!({
        "topic": "a", "payload": "x", "qos": 0, "retain": false, "expiry_s": null, "content_type": "text/plain",
        "response_topic": "b", "correlation": "7", "user_properties": [["room", "hall"]],
    });
    assert_eq!(told, expected);
    said(&mut talk(&broker, &["pub", "-t", "a", "-n"]), "");
    let plain = r#"{"payload":"","qos":0,"retain":false,"topic":"a"}"#;
    assert_eq!(sub.line(), plain);
}

#[test]
fn they_come_by_websocket_with_and_without_tls() {
    let root = Root::with_uci(&format!(
        "{LOCAL}\nconfig listener 'web'\n\toption port '0'\n\tlist address '127.0.0.1'\n\toption protocol 'websocket'\n\n\
         config listener 'safe'\n\toption port '0'\n\tlist address '127.0.0.1'\n\toption protocol 'websocket'\n\toption tls '1'\n\
         \toption cert '/nowhere/01.crt'\n\toption key '/nowhere/01.key'\n"
    ));
    REMOTE.install(&root);
    let files = root.join("etc/ssl/ca/remote");
    let uci = root.read("etc/config/fosquitto");
    root.write_uci(&uci.replace("/nowhere", files.to_str().expect("text")));
    let broker = Broker::start_on(root);
    let by_web = |command: &str, listener: &str| {
        let mut by_web = talk(&broker, &[command]);
        let port = broker.address(listener).port().to_string();
        by_web.args(["--websocket", "-P", &port]);
        if listener == "safe" {
            let ca = files.join("ca.crt");
            by_web.arg("--cafile").arg(ca).args(["--server-name", ""]);
        }
        by_web
    };
    // Longer than any one read, and than the lengths of two bytes.
    let long = "x".repeat(100_000);
    let listeners = ["web", "safe"];
    for (from, to) in [("web", "safe"), ("safe", "web")] {
        let mut sub = Started::new(by_web("sub", to).args(["-t", "a", "-c", "2", "-q", "1"]));
        subscribed(&broker, 1);
        said(
            by_web("pub", from).args(["-t", "a", "-q", "2", "-s"]),
            &long,
        );
        said(by_web("pub", from).args(["-t", "a", "-m", "y"]), "");
        assert!(sub.line() == long, "from {from} to {to}");
        assert_eq!(sub.line(), "y");
        assert_eq!(sub.status(), Some(0));
        until("it has gone", || {
            let output = broker.root().command(&["clients", "--json"]);
            (output.stdout == b"[]\n").then_some(())
        });
    }
    for listener in listeners {
        let mut plain = by_web("pub", listener);
        plain.args(["-t", "a", "-n", "-P"]);
        plain.arg(broker.address("local").port().to_string());
        let output = run(&mut plain, "");
        assert_eq!(output.status.code(), Some(1), "that is no WebSocket");
    }
}

#[test]
fn they_come_by_tls_and_by_unix_socket_too() {
    let root = Root::with_uci(&format!(
        "{LOCAL}\nconfig remote 'remote'\n\toption enabled '1'\n\toption port '0'\n\n\
         config listener 'near'\n\tlist unix '/tmp/none'\n\n"
    ));
    let socket = root.join("near.sock");
    let uci = root.read("etc/config/fosquitto");
    root.write_uci(&uci.replace("/tmp/none", socket.to_str().expect("text")));
    REMOTE.install(&root);
    REMOTE
        .client("notebook", 2)
        .write_token(&root, "token", &REMOTE);
    let broker = Broker::start_on(root);
    let token = |name: &str| broker.root().join("token").join(name);
    let port = broker.address("remote").port().to_string();
    let by_tls = |command: &str| {
        let mut by_tls = Command::new(&*FOSQUITTO);
        by_tls.args([command, "--root"]).arg(broker.root().path());
        by_tls.args([
            "-H",
            "127.0.0.1",
            "-P",
            &port,
            "--server-name",
            "",
            "--cafile",
        ]);
        by_tls
            .arg(token("ca.crt"))
            .arg("--cert")
            .arg(token("token.crt"));
        by_tls.arg("--key").arg(token("token.key"));
        by_tls
    };
    let mut sub = Started::new(by_tls("sub").args(["-t", "a", "-c", "2"]));
    subscribed(&broker, 1);
    said(
        by_tls("pub").args(["-t", "a", "-m", "by TLS", "-q", "2"]),
        "",
    );
    assert_eq!(sub.line(), "by TLS");
    let near = [
        "pub",
        "-H",
        socket.to_str().expect("text"),
        "-t",
        "a",
        "-m",
        "near",
    ];
    let output = broker.root().command(&near);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(sub.line(), "near");
    assert_eq!(sub.status(), Some(0));
    // The name is held to the certificate unless that is told otherwise.
    let mut strict = by_tls("pub");
    strict.args(["-t", "a", "-m", "x", "--server-name", "elsewhere"]);
    assert_eq!(run(&mut strict, "").status.code(), Some(1));
}
