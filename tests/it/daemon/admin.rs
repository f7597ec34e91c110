//! What an administrator asks of a running bus and has it do, by its commands: lists, rules, denials, the trace, clients sent away.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::broker::{Broker, LOCAL, OPEN, until};
use crate::harness::packet::{BOTH, Connect, Publish, Version};
use crate::harness::root::{FOSQUITTO, Root, stderr};

/// A name that would end lines, command terminals and close strings.
const HOSTILE: &str = "a\u{1b}[2J\u{9b}2J\n\"'<b>\u{202e}";

fn said(root: &Root, arguments: &[&str]) -> String {
    let output = root.command(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    String::from_utf8(output.stdout).expect("it is text")
}

fn status_of(root: &Root, arguments: &[&str]) -> Option<i32> {
    root.command(arguments).status.code()
}

/// A list as JSON.
fn list(root: &Root, arguments: &[&str]) -> Vec<Value> {
    let text = said(root, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The answer to a request by `fosquitto control`.
fn control(root: &Root, request: &Value) -> Value {
    let output = root.command(&["control", &request.to_string()]);
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

fn row<'l>(list: &'l [Value], client_id: &str) -> &'l Value {
    let found = list.iter().find(|row| row["client_id"] == client_id);
    found.unwrap_or_else(|| panic!("{client_id} is in {list:?}"))
}

#[test]
fn clients_sessions_and_subscriptions_are_told_with_what_is_known_of_them() {
    let broker = Broker::start(OPEN);
    let mut phone = broker.join(
        &Connect::new(Version::V5, "phone")
            .persistent()
            .will("w", "x"),
    );
    phone.subscribe("a/+", 1);
    phone.subscribe("$share/g/b", 0);
    let hostile = broker.join(&Connect::new(Version::V311, HOSTILE));
    let mut away = broker.join(&Connect::new(Version::V5, "away").persistent());
    away.subscribe("q", 1);
    away.disconnect();
    phone.publish_acknowledged(Publish::new("q", "four").qos(1, 0));
    let root = broker.root();
    let clients = list(root, &["clients"]);
    let told = row(&clients, "phone");
    for (field, expected) in [
        ("listener", json!("local")),
        ("version", json!("5.0")),
        ("tls", json!(false)),
        ("subscriptions", json!(2)),
        ("queued", json!(0)),
        ("will", json!(true)),
        ("denials", json!(0)),
    ] {
        assert_eq!(told[field], expected, "{field}");
    }
    assert_eq!(row(&clients, HOSTILE)["version"], "3.1.1");
    assert_eq!(clients.len(), 2);
    let sessions = list(root, &["sessions"]);
    let told = row(&sessions, "away");
    assert_eq!(
        (&told["connected"], &told["queued"]),
        (&json!(false), &json!(1))
    );
    assert!(told["ends_s"].as_u64() > Some(0));
    assert_eq!(sessions.len(), 3);
    assert_eq!(list(root, &["subscriptions"]).len(), 3);
    assert_eq!(list(root, &["subscriptions", "away"])[0]["filter"], "q");
    let queued = list(root, &["queues", "away"]);
    assert_eq!(queued[0]["message"]["payload"], "four");
    assert_eq!(status_of(root, &["queues", "nobody"]), Some(1));
    let table = said(root, &["clients"]);
    assert!(table.starts_with("CLIENT "), "{table}");
    assert!(
        !table.replace('\n', "").contains(char::is_control),
        "{table:?}"
    );
    assert!(table.contains(r"a\x1b[2J"), "{table}");
    drop(hostile);
}

#[test]
fn a_long_list_comes_in_pages_none_of_which_holds_the_loop_up() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "client"));
    for number in 0..1500 {
        client.send_publish(&Publish::new(&format!("kept/{number:04}"), "x").retained());
        client.send_publish(&Publish::new(&format!("other/{number:04}"), "x").retained());
    }
    for number in 0..250 {
        client.subscribe(&format!("f/{number}"), 0);
    }
    let root = broker.root();
    for (request, expected) in [
        (json!({"request": "retained", "filter": "kept/#"}), 1500),
        (json!({"request": "retained", "filter": "+/0007"}), 2),
        (json!({"request": "retained", "filter": "other/0007"}), 1),
        (json!({"request": "subscriptions"}), 250),
    ] {
        let (mut request, mut found, mut pages) = (request, 0, 0);
        loop {
            let answer = control(root, &request);
            let items = answer["ok"]["items"].as_array().expect("a page").len();
            assert!(items <= 100, "{request}: {items}");
            (found, pages) = (found + items, pages + 1);
            match &answer["ok"]["next"] {
                Value::Null => break,
                next => request["from"] = next.clone(),
            }
        }
        assert_eq!(found, expected, "{request}");
        // No page looks at more than a thousand messages.
        assert!(request["filter"] != "+/0007" || pages >= 3, "{pages}");
    }
    assert_eq!(
        said(root, &["clear", "--filter", "kept/#"]),
        "1500 cleared\n"
    );
    assert_eq!(said(root, &["clear", "other/0007"]), "1 cleared\n");
    assert_eq!(status_of(root, &["clear", "other/0007"]), Some(1));
    assert_eq!(status_of(root, &["clear"]), Some(1));
    assert_eq!(list(root, &["retained"]).len(), 1499);
    assert_eq!(said(root, &["clear", "--filter", "$SYS/#"]), "0 cleared\n");
    let (_, root) = broker.stop();
    let broker = Broker::start_on(root);
    assert_eq!(list(broker.root(), &["retained"]).len(), 1499, "it lasts");
}

#[test]
fn a_client_that_is_sent_away_keeps_its_session_and_one_that_is_dropped_does_not() {
    let broker = Broker::start(LOCAL);
    let root = broker.root();
    for version in BOTH {
        let name = format!("{version:?}");
        let connect = Connect::new(version, &name).persistent();
        let mut client = broker.join(&connect);
        client.subscribe("a", 1);
        said(root, &["kick", &name]);
        match version {
            Version::V5 => client.closed_because(0x98),
            _ => drop(client.closed()),
        }
        assert_eq!(status_of(root, &["kick", &name]), Some(1));
        assert_eq!(list(root, &["subscriptions", &name]).len(), 1);
        let client = broker.join(&connect);
        said(root, &["drop", &name]);
        drop(client);
        let sessions = list(root, &["sessions"]);
        assert!(sessions.iter().all(|row| row["client_id"] != name.as_str()));
        assert_eq!(status_of(root, &["drop", &name]), Some(1));
    }
}

/// A broker whose rules deny two users something.
fn with_rules() -> Broker {
    let uci = format!(
        "{LOCAL}\nconfig user 'alice'\n\nconfig user 'bob'\n\tlist group 'guests'\n\n\
         config acl 'alarm'\n\tlist user 'alice'\n\toption access 'write'\n\tlist topic 'alarm/#'\n\toption action 'deny'\n\n\
         config acl\n\tlist group 'guests'\n\toption access 'deny'\n\tlist topic 'secret/#'\n\n"
    );
    let root = Root::with_uci(&uci);
    for user in ["alice", "bob"] {
        assert!(root.passwd(user, "password").status.success());
    }
    Broker::start_on(root)
}

/// A question that a rule of [`with_rules`] answers.
const ALARM: [&str; 7] = [
    "why",
    "--user",
    "alice",
    "--action",
    "publish",
    "--topic",
    "alarm/off",
];

#[test]
fn why_names_the_rule_of_the_running_bus_and_of_a_file() {
    let broker = with_rules();
    let root = broker.root();
    let output = root.command(&ALARM);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let uci = root.read("etc/config/fosquitto");
    let line = uci
        .lines()
        .position(|line| line.starts_with("config acl 'alarm'"));
    let line = line.expect("it is there") + 1;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let end =
        format!("fosquitto:{line}: 'alarm/off' is denied by the rule 'alarm' in line {line}\n");
    assert!(text.ends_with(&end), "{text}");
    for (arguments, expected) in [
        (
            [
                "--user",
                "bob",
                "--action",
                "subscribe",
                "--topic",
                "secret/+",
            ],
            Some(3),
        ),
        (
            [
                "--user",
                "alice",
                "--action",
                "subscribe",
                "--topic",
                "secret/+",
            ],
            Some(0),
        ),
        (
            ["--user", "bob", "--action", "read", "--topic", "alarm/x"],
            Some(0),
        ),
        (
            ["--user", "alice", "--action", "will", "--topic", "alarm/x"],
            Some(3),
        ),
        (
            [
                "--user", "alice", "--action", "publish", "--topic", "$SYS/x",
            ],
            Some(3),
        ),
        (
            ["--user", "alice", "--action", "publish", "--topic", "a/#"],
            Some(1),
        ),
        (
            ["--listener", "none", "--action", "read", "--topic", "a"],
            Some(1),
        ),
        (
            ["--user", "alice", "--action", "fly", "--topic", "a"],
            Some(2),
        ),
    ] {
        let arguments = [&["why"], &arguments[..]].concat();
        assert_eq!(status_of(root, &arguments), expected, "{arguments:?}");
    }
}

#[test]
fn why_agrees_with_what_happens_and_follows_the_file_where_no_bus_runs() {
    let broker = with_rules();
    let root = broker.root();
    let uci = root.read("etc/config/fosquitto");
    // What happens agrees.
    let mut alice = broker.join(&Connect::new(Version::V5, "a").user("alice", "password"));
    assert_eq!(
        alice.publish_acknowledged(Publish::new("alarm/off", "").qos(1, 0)),
        0x87
    );
    // A file that is not the one that the bus follows, and no bus.
    let other = root.join("other");
    fs::write(&other, uci.replace("'alarm/#'", "'other/#'")).expect("it can be written");
    let file = [&ALARM[..], &["--file", other.to_str().expect("text")]].concat();
    assert_eq!(status_of(root, &file), Some(0));
    let running = said_json(root, &ALARM);
    let (_, root) = broker.stop();
    assert_eq!(said_json(&root, &ALARM), running);
}

fn said_json(root: &Root, arguments: &[&str]) -> Value {
    let output = root.command(&[arguments, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn denials_are_told_with_their_rule_and_a_flood_of_them_in_few_lines() {
    let broker = with_rules();
    let mark = broker.log().mark();
    let mut alice = broker.join(&Connect::new(Version::V5, "a").user("alice", "password"));
    for number in 0..100 {
        let topic = format!("alarm/{number}");
        assert_eq!(
            alice.publish_acknowledged(Publish::new(&topic, "").qos(1, 0)),
            0x87
        );
    }
    assert_eq!(alice.subscribe("secret/x", 0), 0, "it is for guests only");
    let (_, connack) = broker.attempt(&Connect::new(Version::V5, "b").user("bob", "wrong"));
    assert_ne!(connack.code, 0);
    let lines = broker.log().lines();
    let denied = lines[mark..]
        .iter()
        .filter(|line| line.contains("denied by the rule 'alarm' in line "));
    // The first, second, fourth … sixty-fourth.
    assert_eq!(denied.count(), 7);
    let line = broker.log().wait_from(mark, "denied by the rule 'alarm'");
    assert!(
        line.starts_with("notice: client 'a' from 127.0.0.1:"),
        "{line}"
    );
    let status = said_json(broker.root(), &["status"]);
    assert_eq!(status["counts"]["denied"], 100);
    assert_eq!(status["counts"]["logins_failed"], 1);
    let denials = status["denials"].as_array().expect("a list");
    let told: Vec<_> = denials
        .iter()
        .map(|it| (&it["action"], &it["count"]))
        .collect();
    let expected = [
        (&json!("login"), &json!(1)),
        (&json!("publish"), &json!(100)),
    ];
    assert_eq!(told, expected);
    assert_eq!(denials[1]["section"], "alarm");
    assert_eq!(denials[1]["topic"], "alarm/99");
    assert_eq!(row(&list(broker.root(), &["clients"]), "a")["denials"], 100);
}

#[test]
fn the_trace_has_what_a_watched_client_does_and_no_payload() {
    let broker = Broker::start(LOCAL);
    let root = broker.root();
    let mut other = broker.join(&Connect::new(Version::V5, "other"));
    let mut phone = broker.join(&Connect::new(Version::V5, "phone"));
    phone.publish("before", "unseen");
    phone.ping();
    let watched = said(root, &["trace", "--start", "--client", "phone"]);
    assert!(watched.starts_with("client 'phone' for 600 s"), "{watched}");
    phone.subscribe("a/b", 1);
    other.publish_acknowledged(Publish::new("a/b", "a secret").qos(1, 0).retained());
    assert_eq!(phone.text(), "a secret");
    other.publish("c", "unseen");
    other.ping();
    phone.ping_past_messages();
    let text = said(root, &["trace"]);
    for what in [
        "'phone' connected: from 127.0.0.1:",
        "in  'phone' SUBSCRIBE 'a/b', QoS 1",
        "out 'phone' SUBACK",
        "out 'phone' PUBLISH 'a/b', QoS 1",
        "8 bytes",
    ] {
        assert!(text.contains(what), "{what}: {text}");
    }
    for what in ["before", "secret", "'c'", "unseen"] {
        assert!(!text.contains(what), "{what}: {text}");
    }
    // One's own part, and nothing any more once it is not watched.
    assert_eq!(said(root, &["trace", "--stop"]), "nothing is watched\n");
    phone.publish("after", "unseen");
    phone.ping();
    let text = said(root, &["trace", "--client", "phone"]);
    assert!(
        text.contains("'phone'") && !text.contains("'other'"),
        "{text}"
    );
    assert!(!text.contains("after"), "{text}");
    said(
        root,
        &["trace", "--start", "--topic", "t/#", "--for", "100"],
    );
    phone.publish("t/1", "seen");
    phone.publish("u/1", "unseen");
    phone.ping();
    let text = said(root, &["trace"]);
    assert!(
        text.contains("PUBLISH 't/1'") && !text.contains("u/1"),
        "{text}"
    );
}

#[test]
fn a_trace_can_be_followed_while_it_happens() {
    let broker = Broker::start(LOCAL);
    let mut command = Command::new(&*FOSQUITTO);
    command.args(["trace", "--follow", "--json", "--client", "phone", "--root"]);
    command.arg(broker.root().path()).stdout(Stdio::piped());
    let mut follower = command.spawn().expect("it starts");
    let mut lines = BufReader::new(follower.stdout.take().expect("it is piped")).lines();
    until("it is watched", || {
        let answer = control(broker.root(), &json!({"request": "trace"}));
        let watches = answer["ok"]["watches"].as_array()?;
        (!watches.is_empty()).then_some(())
    });
    let mut phone = broker.join(&Connect::new(Version::V5, "phone"));
    phone.publish("a", "x");
    phone.ping();
    let published = lines.find(|line| {
        let line = line.as_ref().expect("the trace goes on");
        line.contains(r#""what":"PUBLISH""#)
    });
    let published = published.expect("it is seen").expect("it is text");
    let published: Value = serde_json::from_str(&published).expect("it is JSON");
    assert_eq!(
        (&published["topic"], &published["size"]),
        (&json!("a"), &json!(1))
    );
    follower.kill().expect("it runs");
    follower.wait().expect("it ends");
}

#[test]
fn the_configuration_and_the_log_level_are_changed_by_command() {
    let broker = Broker::start(LOCAL);
    let root = broker.root();
    assert_eq!(said(root, &["log-level"]), "notice\n");
    assert_eq!(said(root, &["log-level", "error"]), "error\n");
    assert_eq!(status_of(root, &["log-level", "loud"]), Some(1));
    said(root, &["reload"]);
    assert_eq!(
        said(root, &["log-level"]),
        "notice\n",
        "the configuration says so"
    );
    let uci = root.read("etc/config/fosquitto");
    root.write_uci(&format!("{uci}\nconfig nonsense\n"));
    let output = root.command(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("unknown section type 'nonsense'"));
    let status = said_json(root, &["status"]);
    assert_eq!(
        status["configuration"]["faults"].as_array().map(Vec::len),
        Some(1)
    );
    assert!(said(root, &["status"]).contains("not reloaded: "));
    root.write_uci(&uci);
    said(root, &["reload"]);
    assert_eq!(
        said_json(root, &["status"])["configuration"]["faults"],
        json!([])
    );
}

#[test]
fn a_process_that_dies_leaves_behind_what_happened_before() {
    let broker = Broker::start(LOCAL);
    let mut phone = broker.join(&Connect::new(Version::V5, HOSTILE));
    phone.ping();
    broker.signal(libc::SIGABRT);
    let file = broker.root().join("var/run/fosquitto/last-words");
    until("it has said its last words", || {
        let words = fs::read_to_string(&file).ok()?;
        words.ends_with("died: aborted\n").then_some(())
    });
    let root = broker.kill();
    assert_eq!(root.mode("var/run/fosquitto/last-words"), 0o600);
    let words = root.read("var/run/fosquitto/last-words");
    assert!(words.contains(r"client 'a\x1b[2J"), "{words}");
    let broker = Broker::start_on(root);
    broker.log().wait_from(
        0,
        "the last process died: what happened before that stands in ",
    );
    assert!(
        broker
            .root()
            .join("var/run/fosquitto/last-words.old")
            .exists()
    );
}

#[test]
fn requests_that_make_no_sense_get_an_error_and_have_no_effect() {
    let broker = Broker::start(LOCAL);
    let root = broker.root();
    let mut client = broker.join(&Connect::new(Version::V5, "client"));
    client.publish_acknowledged(Publish::new("kept", "x").qos(1, 0).retained());
    for request in [
        json!({"request": "kick"}),
        json!({"request": "kick", "client_id": 1}),
        json!({"request": "kick", "client_id": "client", "now": true}),
        json!({"request": "clients", "from": "the middle"}),
        json!({"request": "clients", "from": "-1"}),
        json!({"request": "queues", "from": "1"}),
        json!({"request": "retained", "filter": "a/#/b"}),
        json!({"request": "clear"}),
        json!({"request": "clear", "topic": "kept", "filter": "#"}),
        json!({"request": "clear", "topic": "kept", "from": "a"}),
        json!({"request": "clear", "filter": "k#"}),
        json!({"request": "clear", "topic": "$SYS/broker/version"}),
        json!({"request": "trace", "from": "now"}),
        json!({"request": "trace_start"}),
        json!({"request": "trace_start", "client_id": "a", "for_s": 0}),
        json!({"request": "trace_start", "client_id": "a", "for_s": 100_000}),
        json!({"request": "trace_start", "client_id": "a", "filter": "b"}),
        json!({"request": "why", "action": "publish"}),
        json!({"request": "log_level", "level": "loud"}),
    ] {
        let answer = control(root, &request);
        assert!(answer["error"].is_string(), "{request}: {answer}");
    }
    // Cursors beyond all that there is are the end.
    for request in ["clients", "sessions"] {
        let answer = control(
            root,
            &json!({"request": request, "from": u32::MAX.to_string()}),
        );
        assert_eq!(answer["ok"]["items"], json!([]), "{request}");
    }
    client.ping();
    assert_eq!(list(root, &["retained"]).len(), 1);
    let output = root.command(&["control", "status"]);
    let status: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert!(status["ok"]["version"].is_string());
    assert_eq!(status_of(root, &["control", "nonsense"]), Some(1));
}
