//! The control socket: what it answers, and to whom, and that what is no request has no effect.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::broker::{Broker, LOCAL, OPEN};
use crate::harness::packet::{Connect, Publish, Version};
use crate::harness::root::{FOSQUITTO, run, stderr};

/// A connection to the control socket.
struct Asker(BufReader<UnixStream>);

impl Asker {
    fn connect(broker: &Broker) -> Asker {
        let path = broker.root().join("var/run/fosquitto/control.sock");
        let stream = UnixStream::connect(path).expect("the bus listens there");
        let patience = Some(*crate::harness::PATIENCE);
        stream.set_read_timeout(patience).expect("it is not zero");
        Asker(BufReader::new(stream))
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.0.get_mut().write_all(bytes.as_ref());
        sent.expect("the bus reads");
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the bus answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.send(format!("{request}\n"));
        self.answer()
    }

    fn error(&mut self) -> String {
        let answer = self.answer();
        answer["error"].as_str().expect("an error").to_owned()
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.0.read_until(b'\n', &mut Vec::new()), Ok(0) | Err(_))
    }
}

#[test]
fn the_status_says_what_is_there() {
    let broker = Broker::start(OPEN);
    let mut client = broker.join(&Connect::new(Version::V5, "client").persistent());
    client.subscribe("a/+", 1);
    client.publish_acknowledged(Publish::new("kept", "x").qos(1, 0).retained());
    let status = Asker::connect(&broker).ask(&json!({"request": "status"}));
    let status = &status["ok"];
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], broker.pid());
    assert_eq!(status["counts"]["clients"], 1);
    assert_eq!(status["counts"]["subscriptions"], 1);
    assert_eq!(status["store"]["class"], "interval");
    assert!(status["store"]["journal_bytes"].as_u64() > Some(0));
    assert_eq!(status["store"]["error"], Value::Null);
    let listeners = status["listeners"].as_array().expect("a list");
    let names: Vec<_> = listeners.iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["local", "open"]);
    let place = broker.address("open").to_string();
    assert_eq!(listeners[1]["places"], json!([place]));
    assert_eq!(listeners[0]["connections"], 1);
    let output = broker.root().command(&["status"]);
    let said = String::from_utf8(output.stdout).expect("it is text");
    for what in [&place, "1 connected, 1 sessions", "interval, in "] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let output = broker.root().command(&["status", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(said["listeners"], status["listeners"]);
}

#[test]
fn what_is_no_request_gets_an_error_and_the_next_one_its_answer() {
    let broker = Broker::start(LOCAL);
    let mut asker = Asker::connect(&broker);
    for line in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        r#"{"request":"stop"}"#,
        r#"{"request":"status","of":"all"}"#,
        r#"{"request":"dump","from":"the middle"}"#,
        r#"{"request":"dump","from":{"session":{"index":-1,"skip":0}}}"#,
        "\u{0}\u{7f}",
    ] {
        asker.send(format!("{line}\n"));
        assert!(asker.error().starts_with("not a request: "), "{line}");
    }
    asker.send(b"\xff\xfe\n");
    assert!(asker.error().starts_with("not a request: "));
    let deep = "[".repeat(100_000);
    asker.send(format!("{deep}\n"));
    assert!(asker.error().starts_with("not a request: "));
    // Two in one piece, and one in two.
    asker.send("{\"request\":\"status\"}\n{\"request\":\"dump\"}\n{\"request\":");
    asker.send("\"status\"}\n");
    for part in ["version", "items", "version"] {
        assert!(!asker.answer()["ok"][part].is_null(), "{part}");
    }
    // A place that nothing is at.
    let beyond = json!({"session": {"index": u32::MAX, "skip": u32::MAX}});
    let page = asker.ask(&json!({"request": "dump", "from": beyond}));
    assert!(page["ok"]["items"].is_array());
}

#[test]
fn a_request_without_an_end_is_cut_off() {
    let broker = Broker::start(LOCAL);
    let mut asker = Asker::connect(&broker);
    // The bus may close before it has all of it.
    let _ = asker.0.get_mut().write_all(&vec![b' '; 512 << 10]);
    assert_eq!(asker.error(), "the request is too long");
    assert!(asker.is_closed());
    broker.join(&Connect::new(Version::V5, "client"));
}

#[test]
fn too_many_connections_are_told_so_and_others_get_in_when_they_are_gone() {
    let broker = Broker::start(LOCAL);
    let status = json!({"request": "status"});
    let mut open: Vec<Asker> = (0..8).map(|_| Asker::connect(&broker)).collect();
    for asker in &mut open {
        assert!(asker.ask(&status)["ok"].is_object());
    }
    let mut late = Asker::connect(&broker);
    assert!(late.error().contains("too many"));
    drop(open);
    crate::harness::broker::until("there is room", || {
        let mut asker = Asker::connect(&broker);
        // Where there is no room the socket may be closed already.
        let _ = asker.0.get_mut().write_all(b"{\"request\":\"status\"}\n");
        asker.answer()["ok"].is_object().then_some(())
    });
}

#[test]
fn only_the_owner_may_ask() {
    let broker = Broker::start(LOCAL);
    let path = "var/run/fosquitto/control.sock";
    assert_eq!(broker.root().mode(path), 0o600);
    // SAFETY: it takes and gives plain numbers.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("who runs the test is not root and cannot be somebody else");
        return;
    }
    // Somebody else who has got as far as the socket all the same.
    let folder = broker.root().join("var/run/fosquitto");
    let set_mode = |path: &Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("it is ours");
    };
    set_mode(&folder, 0o755);
    set_mode(&folder.join("control.sock"), 0o666);
    let answer = std::thread::spawn(move || {
        // SAFETY: the call takes a plain number. The working directory is this thread's own from here on.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FS) }, 0);
        std::env::set_current_dir(folder).expect("the folder is there");
        let nobody: libc::uid_t = 65_534;
        // SAFETY: the call takes plain numbers. By itself, beside libc, it is for this thread alone.
        let status = unsafe { libc::syscall(libc::SYS_setresuid, nobody, nobody, nobody) };
        assert_eq!(status, 0);
        let stream = UnixStream::connect("control.sock").expect("everybody may connect");
        Asker(BufReader::new(stream)).error()
    });
    let answer = answer.join().expect("it is answered");
    assert_eq!(answer, "only the bus's own user and root may ask");
}

#[test]
fn without_a_bus_there_is_no_status_and_the_socket_goes_with_the_bus() {
    let broker = Broker::start(LOCAL);
    let (_, root) = broker.stop();
    let socket = root.join("var/run/fosquitto/control.sock");
    assert!(!socket.exists());
    let output = root.command(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no bus is running"));
    // One that was left behind by a crash is replaced.
    let root = Broker::start_on(root).kill();
    assert!(root.join("var/run/fosquitto/control.sock").exists());
    let broker = Broker::start_on(root);
    assert!(broker.root().command(&["status"]).status.success());
    for arguments in [&["status", "now"][..], &["dump", "--all"], &["backup"]] {
        let output = run(Command::new(&*FOSQUITTO).args(arguments), "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
