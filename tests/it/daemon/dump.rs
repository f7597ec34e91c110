//! `fosquitto dump` and `fosquitto backup`: the state of a running bus and that of its files, and copies of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Packet, Publish, Version};
use crate::harness::root::{Root, stderr};

/// What a dump tells, without `$SYS` and what time changes.
fn dump(root: &Root, arguments: &[&str]) -> Vec<Value> {
    let output = root.command(&[&["dump"], arguments].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).expect("it is UTF-8");
    let items = text.lines().map(|line| {
        let mut item: Value = serde_json::from_str(line).expect("a line is JSON");
        let item_object = item.as_object_mut().expect("an item is an object");
        item_object.remove("away_s");
        item_object.remove("connected");
        item
    });
    let is_sys = |item: &Value| {
        let topic = item["message"]["topic"].as_str();
        topic.is_some_and(|topic| topic.starts_with("$SYS/"))
    };
    items.filter(|item| !is_sys(item)).collect()
}

/// Holds two dumps to each other; what differs is shown, cut, and no more than that.
fn same(one: &[Value], other: &[Value]) {
    let missing = |from: &[Value], of: &[Value]| -> Vec<String> {
        let lacking = of.iter().filter(|item| !from.contains(item));
        lacking
            .map(|item| item.to_string().chars().take(300).collect())
            .collect()
    };
    assert_eq!((missing(one, other), missing(other, one)), (vec![], vec![]));
    // Sessions come in any order, what they hold in one.
    let sorted = |items: &[Value]| {
        let mut items = items.to_vec();
        items.sort_by_key(|item| item["client_id"].as_str().map(str::to_owned));
        items
    };
    assert!(sorted(one) == sorted(other), "the order differs");
}

fn of_kind<'d>(items: &'d [Value], kind: &str) -> Vec<&'d Value> {
    items.iter().filter(|item| item["kind"] == kind).collect()
}

/// A bus whose clients have left something of each kind behind.
fn furnished() -> Broker {
    let broker = Broker::start(LOCAL);
    let mut publisher = broker.join(&Connect::new(Version::V5, "publisher"));
    for number in 0..250 {
        let topic = format!("kept/{number:03}");
        publisher.send_publish(&Publish::new(&topic, "x").retained());
    }
    let bytes = Publish::new("kept/bytes", [0xff, 0, 1])
        .qos(1, 0)
        .retained();
    publisher.publish_acknowledged(bytes);
    let long = Publish::new("kept/long", "y".repeat(20_000))
        .qos(1, 0)
        .retained();
    publisher.publish_acknowledged(long);
    let name = "away \u{1b}[2J \u{9b}2J \"";
    let mut away = broker.join(&Connect::new(Version::V5, name).persistent());
    for number in 0..150 {
        away.subscribe(&format!("a/{number}"), 1);
    }
    away.subscribe("$share/g/s", 2);
    publisher.publish_acknowledged(Publish::new("a/1", "sent").qos(1, 0));
    assert_eq!(away.text(), "sent");
    drop(away);
    crate::harness::broker::until("the lost connection is noticed", || {
        let sessions = dump_whole(broker.root());
        let is_away = |item: &Value| item["client_id"] == name && item["connected"] == false;
        sessions.iter().any(is_away).then_some(())
    });
    publisher.publish_acknowledged(Publish::new("a/2", "waits").qos(1, 0));
    publisher.publish("a/2", "waits lightly");
    publisher.send(&Publish::new("q2", "half").qos(2, 77).encode(Version::V5));
    publisher.expect(|packet| matches!(packet, Packet::Pubrec { .. }));
    publisher.disconnect();
    let will = Connect::new(Version::V5, "mortal").persistent();
    let mut mortal = broker.join(&will.will("last/words", "bye"));
    mortal.send(&Publish::new("q2", "half").qos(2, 7).encode(Version::V5));
    mortal.expect(|packet| matches!(packet, Packet::Pubrec { .. }));
    // It stays connected until the broker goes.
    std::mem::forget(mortal);
    broker
}

fn dump_whole(root: &Root) -> Vec<Value> {
    let output = root.command(&["dump"]);
    let text = String::from_utf8(output.stdout).expect("it is UTF-8");
    let items = text.lines();
    items
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

/// Every file below a folder with its content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.append(&mut files(&path)),
            false => {
                // A socket has no content.
                let content = fs::read(&path).unwrap_or_default();
                found.insert(path.display().to_string(), content);
            }
        }
    }
    found
}

#[test]
fn a_running_bus_and_its_files_after_a_crash_tell_the_same() {
    let broker = furnished();
    let running = dump(broker.root(), &[]);
    assert_eq!(of_kind(&running, "retained").len(), 252);
    assert_eq!(of_kind(&running, "subscription").len(), 151);
    assert_eq!(of_kind(&running, "will").len(), 1);
    assert_eq!(of_kind(&running, "taken").len(), 1);
    let queued = of_kind(&running, "queued");
    let texts: Vec<_> = queued
        .iter()
        .map(|item| (item["state"].as_str(), item["message"]["payload"].as_str()))
        .collect();
    let (sent, waiting) = (Some("sent"), Some("waiting"));
    let expected = [
        (sent, Some("sent")),
        (waiting, Some("waits")),
        (waiting, Some("waits lightly")),
    ];
    assert_eq!(texts, expected);
    let retained = of_kind(&running, "retained");
    let find = |topic: &str| {
        let found = retained.iter().find(|it| it["message"]["topic"] == topic);
        &found.expect("it is there")["message"]
    };
    assert_eq!(find("kept/bytes")["payload_base64"], "/wAB");
    assert_eq!(find("kept/long")["payload_bytes"], 20_000);
    let root = broker.kill();
    let before = files(root.path());
    let stopped = dump(&root, &[]);
    same(&stopped, &running);
    assert!(files(root.path()) == before, "it changes nothing");
    // The database with its log and its journal in a place of their own.
    let folder = root.join("elsewhere");
    fs::create_dir(&folder).expect("a folder can be made");
    for (path, content) in &before {
        let name = Path::new(path).file_name().expect("a file");
        let name_text = name.to_string_lossy();
        if name_text.starts_with("fosquitto.db") || name_text.starts_with("journal-") {
            fs::write(folder.join(name), content).expect("it can be written");
        }
    }
    let file = folder.join("fosquitto.db");
    let file = file.to_str().expect("a path of text");
    same(&dump(&root, &[file]), &running);
    // A start goes on from what was told.
    let (_, root) = Broker::start_on(root).stop();
    assert_eq!(of_kind(&dump(&root, &[]), "retained").len(), 252);
}

#[test]
fn a_dump_of_a_running_bus_database_says_whom_to_ask() {
    let broker = Broker::start(LOCAL);
    let database = broker.root().join("etc/fosquitto/fosquitto.db");
    crate::harness::broker::until("there is a database", || database.exists().then_some(()));
    let file = database.to_str().expect("a path of text");
    let output = broker.root().command(&["dump", file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("a running bus has it"),
        "{}",
        stderr(&output)
    );
    let output = broker.root().command(&["dump", "/nowhere/there.db"]);
    assert!(stderr(&output).contains("/nowhere/there.db: No such file"));
}

#[test]
fn a_backup_has_all_that_lasts_and_overwrites_nothing() {
    let broker = furnished();
    let lasting = |items: Vec<Value>| -> Vec<Value> {
        let lasts = |item: &Value| item["kind"] != "queued" || item["qos"] != 0;
        items.into_iter().filter(lasts).collect()
    };
    let running = lasting(dump(broker.root(), &[]));
    let copy = broker.root().join("copies/first.db");
    fs::create_dir(broker.root().join("copies")).expect("a folder can be made");
    let path = copy.to_str().expect("a path of text");
    let output = broker.root().command(&["backup", path]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(broker.root().mode("copies/first.db"), 0o600);
    same(&dump(broker.root(), &[path]), &running);
    let content = fs::read(&copy).expect("it is there");
    // The first one has brought flash up to date, and a copy is none of what flash takes.
    let written = || -> Value {
        let status = broker.root().command(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&status.stdout).expect("it is JSON");
        status["store"]["flash_bytes"].clone()
    };
    let before = written();
    assert!(before.as_u64() > Some(0));
    let again = broker.root().command(&["backup", "--kept"]);
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(written(), before);
    let output = broker.root().command(&["backup", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("is there already"),
        "{}",
        stderr(&output)
    );
    assert!(fs::read(&copy).expect("it is there") == content);
    let in_vain = broker.root().command(&["backup", "/nowhere/there.db"]);
    assert_eq!(in_vain.status.code(), Some(1));
    let root = broker.kill();
    let left = files(&root.join("var/run/fosquitto"));
    assert!(
        !left.keys().any(|path| path.contains("backup-")),
        "{left:?}"
    );
    let second = root.join("copies/second.db");
    let path = second.to_str().expect("a path of text");
    let output = root.command(&["backup", path]);
    assert!(output.status.success(), "{}", stderr(&output));
    same(&dump(&root, &[path]), &running);
}

#[test]
fn a_copy_that_was_kept_is_the_database_where_there_is_none() {
    let broker = furnished();
    let output = broker.root().command(&["backup", "--kept"]);
    let kept = broker.root().join("etc/fosquitto/fosquitto.db.kept");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        said.trim_end(),
        kept.display().to_string(),
        "{}",
        stderr(&output)
    );
    // A second one replaces the first.
    assert!(
        broker
            .root()
            .command(&["backup", "--kept"])
            .status
            .success()
    );
    let copy = fs::read(&kept).expect("it is there");
    let (_, root) = broker.stop();
    for folder in ["etc/fosquitto", "var/run/fosquitto"] {
        for path in files(&root.join(folder)).keys() {
            if path.contains("fosquitto.db") || path.contains("journal-") {
                fs::remove_file(path).expect("it is there");
            }
        }
    }
    fs::write(&kept, copy).expect("it can be written");
    let broker = Broker::start_on(root);
    let items = dump(broker.root(), &[]);
    assert_eq!(of_kind(&items, "retained").len(), 252);
    assert_eq!(of_kind(&items, "subscription").len(), 151);
    assert!(!kept.exists());
    // Beside a database it has had its time.
    let (_, root) = broker.stop();
    fs::write(&kept, "old").expect("it can be written");
    let broker = Broker::start_on(root);
    assert!(!kept.exists());
    assert_eq!(of_kind(&dump(broker.root(), &[]), "retained").len(), 252);
}

#[test]
fn where_nothing_is_kept_there_is_nothing_to_copy() {
    let volatile = "config persistence 'persistence'\n\toption durability 'volatile'\n\n";
    let broker = Broker::start(&format!("{volatile}{LOCAL}"));
    let mut client = broker.join(&Connect::new(Version::V5, "client"));
    client.publish_acknowledged(Publish::new("kept", "x").qos(1, 0).retained());
    assert_eq!(of_kind(&dump(broker.root(), &[]), "retained").len(), 1);
    let output = broker.root().command(&["backup", "--kept"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("nothing is kept"),
        "{}",
        stderr(&output)
    );
    let (_, root) = broker.stop();
    assert_eq!(root.command(&["dump"]).status.code(), Some(1));
}
