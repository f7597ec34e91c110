//! `fosquitto-monitor`: what it prints, held against Python and against what the original printed.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::talk::{Started, subscribed};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::controller::{Controller, ID};
use crate::harness::packet::{Connect, Publish, Version};
use crate::harness::root::{FOSQUITTO, run, stderr};

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

/// What the original prints of a change of the language, over a connection that is lost once.
const TRANSCRIPT: &str = r#"Connected.
Subscribed to mid='1'.
===================== message recieved for 'foris-controller/0000000B00009CD6/request/web/action/set_language' =====================
{
  "reply_msg_id": "d4956689",
  "data": {
    "language": "cs"
  }
}
====================================================================================================================================
===================== message recieved for 'foris-controller/0000000B00009CD6/notification/web/action/set_language' =====================
{
  "module": "web",
  "data": {
    "languages": [
      "cs",
      "\u017elu\u0165"
    ],
    "none": []
  }
}
=========================================================================================================================================
===================== message recieved for 'foris-controller/0000000B00009CD6/reply/d4956689' =====================
b''
===================================================================================================================
Connected.
Subscribed to mid='2'.
===================== message recieved for 'foris-controller//notification/remote/action/advertize' =====================
5
=========================================================================================================================
"#;

#[test]
fn the_monitors_transcript_is_that_of_the_original() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V311, "client"));
    let mut say = |below: &str, payload: &str| {
        let topic = format!("foris-controller/{below}");
        client.send_publish(&Publish::new(&topic, payload));
    };
    let mut listen = Started::new(&mut monitor(&broker, &["listen"]));
    let address = broker.address("local");
    assert_eq!(listen.line(), format!("Connecting to host {address}."));
    let mut lines = TRANSCRIPT.lines();
    let mut expect = |until: &str| {
        for expected in lines.by_ref() {
            assert_eq!(listen.line(), expected);
            if expected == until {
                return;
            }
        }
    };
    expect("Subscribed to mid='1'.");
    let id = "0000000B00009CD6";
    say(
        &format!("{id}/request/web/action/set_language"),
        r#"{"reply_msg_id": "d4956689", "data": {"language": "cs"}}"#,
    );
    say(
        &format!("{id}/notification/remote/action/advertize"),
        r#"{"module": "remote"}"#,
    );
    say(
        &format!("{id}/notification/web/action/set_language"),
        r#"{"module":"web","data":{"languages":["cs","žluť"],"none":[]}}"#,
    );
    say(&format!("{id}/reply/d4956689"), "");
    expect(&"=".repeat(115));
    // A connection that is lost is made again, and its packet ids go on.
    let clients = broker.root().command(&["clients", "--json"]);
    let clients = String::from_utf8(clients.stdout).expect("it is text");
    let monitor = clients
        .split('"')
        .find(|word| word.starts_with("fosquitto-monitor"))
        .expect("it is connected");
    let kicked = broker.root().command(&["kick", monitor]);
    assert!(kicked.status.success(), "{}", stderr(&kicked));
    expect("Subscribed to mid='2'.");
    say("/notification/remote/action/advertize", "5");
    expect("");
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
