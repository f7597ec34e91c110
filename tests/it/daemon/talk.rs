//! `fosquitto pub`, `sub` and `fosquitto-monitor`: small clients, as scripts use them.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::os::unix::fs::symlink;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::harness::broker::{Broker, LOCAL, until};
use crate::harness::controller::{Controller, ID};
use crate::harness::packet::{Connect, Publish, Version};
use crate::harness::pki::REMOTE;
use crate::harness::root::{FOSQUITTO, Root, run, stderr};

/// A command that has been started, and its lines.
struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Started {
    fn new(command: &mut Command) -> Started {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let out = child.stdout.take().expect("it is piped");
        Started {
            child,
            lines: BufReader::new(out).lines(),
        }
    }

    fn line(&mut self) -> String {
        let line = self.lines.next().expect("there is one more");
        line.expect("it is text")
    }

    fn status(&mut self) -> Option<i32> {
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

fn subscribed(broker: &Broker, count: usize) {
    until("the subscription is there", || {
        let output = broker.root().command(&["subscriptions", "--json"]);
        let subscriptions: Vec<Value> = serde_json::from_slice(&output.stdout).ok()?;
        (subscriptions.len() == count).then_some(())
    });
}

#[test]
fn what_is_published_comes_as_it_was_said() {
    let broker = Broker::start(LOCAL);
    for qos in ["0", "1", "2"] {
        let mut sub = Started::new(&mut talk(
            &broker,
            &["sub", "-t", "a/+", "-q", qos, "-v", "-c", "5"],
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

/// The monitor under its own name.
fn monitor(broker: &Broker, arguments: &[&str]) -> Command {
    let link = broker.root().join("fosquitto-monitor");
    if !link.exists() {
        symlink(&*FOSQUITTO, &link).expect("a link can be made");
    }
    let mut command = Command::new(link);
    let address = broker.address("local");
    command.args([
        "-H",
        &address.ip().to_string(),
        "-P",
        &address.port().to_string(),
        "-F",
    ]);
    command.arg(broker.root().join("etc/fosquitto/credentials.plain"));
    command.args(arguments);
    command
}

/// What Python prints for a payload as the original does.
fn in_python(payload: &[u8]) -> String {
    let program = "import json, sys\npayload = sys.stdin.buffer.read()\n\
        try: print(json.dumps(json.loads(payload), indent=2))\nexcept ValueError: print(payload)";
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(payload).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8(output.stdout).expect("it is text")
}

#[test]
fn the_monitor_listens_and_shows_what_python_would() {
    let broker = Broker::start(LOCAL);
    let mut listen = Started::new(&mut monitor(&broker, &["listen"]));
    let address = broker.address("local");
    assert_eq!(listen.line(), format!("Connecting to host {address}."));
    assert_eq!(listen.line(), "Connected.");
    assert_eq!(listen.line(), "Subscribed to mid='1'.");
    let mut client = broker.join(&Connect::new(Version::V311, "client"));
    client.send_publish(&Publish::new(
        "foris-controller/A/notification/remote/action/advertize",
        "{}",
    ));
    client.send_publish(&Publish::new("elsewhere", "{}"));
    let payloads: [&[u8]; 6] = [
        br#"{"module": "web", "kind": "reply", "data": {"list": [1, 2.50, -0.0, 1e22], "e": {}, "u": "\u00e9 "}}"#,
        "{\"é\": \"😀\", \"b\": [], \"a\": [[]]}".as_bytes(),
        b"no JSON: it's\n\xff",
        b"",
        b"[NaN, 12345678901234567890123]",
        b"{\"a\": 1, \"a\": 2} x",
    ];
    for payload in payloads {
        let topic = "foris-controller/A/reply/1";
        client.send_publish(&Publish::new(topic, payload));
        let title = listen.line();
        assert!(
            title.starts_with("===================== message recieved for 'foris"),
            "{title}"
        );
        assert!(title.ends_with("reply/1' ====================="), "{title}");
        for line in in_python(payload).lines() {
            assert_eq!(listen.line(), line);
        }
        assert_eq!(listen.line(), "=".repeat(title.len()));
    }
}

#[test]
fn the_monitor_detects_and_asks_controllers() {
    let broker = Broker::start(LOCAL);
    let mut detect = Started::new(&mut monitor(&broker, &["detect"]));
    subscribed(&broker, 1);
    let mut client = broker.join(&Connect::new(Version::V311, "client"));
    let mut advertize = |id: &str, state: Value| {
        let topic = format!("foris-controller/{id}/notification/remote/action/advertize");
        let payload = json!({"data": {"id": id, "state": state}}).to_string();
        client.send_publish(&Publish::new(&topic, payload));
    };
    advertize("gone", json!(false));
    advertize("A", json!("running"));
    advertize("A", json!("running"));
    advertize("B", json!("started"));
    assert_eq!([detect.line(), detect.line()], ["A", "B"]);
    let mut controller = Controller::on(&broker);
    let modules =
        json!([{"name": "web", "actions": ["get", "set"]}, {"name": "lan", "actions": []}]);
    let mut list = Started::new(&mut monitor(&broker, &["list", "-i", ID]));
    let asked = controller.request();
    assert_eq!(asked.topic, "list");
    controller.reply(&asked, &modules);
    assert_eq!(
        [list.line(), list.line(), list.line(), list.line()],
        ["web.get", "web.set", "", ""]
    );
    assert_eq!(list.status(), Some(0));
    let mut list = Started::new(&mut monitor(&broker, &["list", "-i", ID, "-m", "web"]));
    let asked = controller.request();
    assert_eq!(asked.topic, "request/web/list");
    controller.reply(&asked, &json!(["get"]));
    assert_eq!([list.line(), list.line()], ["web.get", ""]);
    let mut schemas = Started::new(&mut monitor(&broker, &["schemas", "-i", ID]));
    let asked = controller.request();
    assert_eq!(asked.topic, "jsonschemas");
    controller.reply(&asked, &json!({"web": {}}));
    assert_eq!(
        [schemas.line(), schemas.line(), schemas.line()],
        ["{", "  \"web\": {}", "}"]
    );
    let output = run(&mut monitor(&broker, &["schemas"]), "");
    assert_eq!(output.status.code(), Some(2));
    let nobody = run(&mut monitor(&broker, &["schemas", "-i", "nobody"]), "");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        stderr(&nobody).ends_with("Exception: No answer recieved.\n"),
        "{}",
        stderr(&nobody)
    );
}
