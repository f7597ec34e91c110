//! The ubus object: what rpcd's plugin answers for a running bus and without one, and what the collectors make of it. rpcd itself is not
//! here; the plugin is called as rpcd calls it.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::broker::{Broker, LOCAL, OPEN};
use crate::harness::packet::{Connect, Publish, Version};
use crate::harness::python::PROJECT;
use crate::harness::root::{FOSQUITTO, Root};

/// Calls the plugin with a program's own root, as the router's script does it.
fn plugin(root: &Root, words: &[&str], arguments: &str) -> Value {
    let mut command = Command::new(&*FOSQUITTO);
    command.arg("rpcd").arg("--root").arg(root.path());
    command.args(words).stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be run");
    let mut input = child.stdin.take().expect("it is piped");
    // An error means that it does not read arguments.
    let _ = input.write_all(arguments.as_bytes());
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{words:?} {arguments}");
    serde_json::from_slice(&output.stdout).expect("it says JSON")
}

fn call(root: &Root, method: &str, arguments: &Value) -> Value {
    plugin(root, &["call", method], &arguments.to_string())
}

#[test]
fn ubus_tells_the_bus_by_the_same_names_as_the_control_socket() {
    let broker = Broker::start(OPEN);
    let mut client = broker.join(&Connect::new(Version::V5, "<b>client</b>").persistent());
    client.subscribe("a/+", 1);
    let root = broker.root();
    let status = call(root, "status", &json!({}));
    assert_eq!(status["counts"]["clients"], 1, "{status}");
    // rpcd adds the caller's session, and a page sends null for what it leaves out.
    let session = json!({ "ubus_rpc_session": "0123456789abcdef", "from": null });
    let clients = call(root, "clients", &session);
    assert_eq!(clients["items"][0]["client_id"], "<b>client</b>");
    assert_eq!(clients["next"], Value::Null);
    let why = call(root, "why", &json!({ "action": "publish", "topic": "a/b" }));
    assert_eq!(why["allowed"], true, "{why}");
    assert_eq!(call(root, "denials", &json!({}))["items"], json!([]));
    client.publish_acknowledged(Publish::new("secret", "payload").qos(1, 1).retained());
    let retained = call(root, "retained", &json!({ "filter": "secret" }));
    let message = &retained["items"][0]["message"];
    assert_eq!(message["topic"], "secret");
    assert_eq!(message["payload_bytes"], 7);
    assert!(!retained.to_string().contains("payload\""), "{retained}");
    let odd = "config local 'local'\n\toption enabled '0'\n\n\
        config listener 'wan'\n\toption port '1883'\n\tlist address '0.0.0.0'\n\toption allow_anonymous '1'\n";
    let verdict = call(root, "check", &json!({ "config": odd }));
    assert_eq!(verdict["ok"], true, "{verdict}");
    let warning = verdict["warnings"][0].as_str().expect("a warning");
    assert!(
        warning.starts_with("fosquitto.wan.allow_anonymous: "),
        "{warning}"
    );
    let kicked = call(root, "kick", &json!({ "client_id": "<b>client</b>" }));
    assert_eq!(kicked["kicked"], true);
    client.closed();
    let level = call(root, "log_level", &json!({ "level": "info" }));
    assert_eq!(level["level"], "info");
}

#[test]
fn what_ubus_cannot_do_is_an_error_and_has_no_effect() {
    let broker = Broker::start(LOCAL);
    let root = broker.root();
    let error = |method: &str, arguments: &str| {
        let answer = plugin(root, &["call", method], arguments);
        answer["error"].as_str().expect("an error").to_owned()
    };
    assert_eq!(error("explode", "{}"), "there is no such method");
    assert!(error("kick", "{}").contains("client_id"));
    assert!(error("kick", r#"{"client_id":7}"#).contains("string"));
    let unknown = error("kick", r#"{"client_id":"x","root":"/"}"#);
    assert_eq!(unknown, r#"there is no argument "root""#);
    assert!(error("status", "[1]").contains("no object"));
    assert!(error("status", "{").contains("no object"));
    // What the control socket knows and ubus need not.
    assert_eq!(error("dump", "{}"), "there is no such method");
    assert_eq!(error("backup", "{}"), "there is no such method");
    let long = format!(r#"{{"config":"{}"}}"#, "x".repeat(5 << 20));
    assert_eq!(error("check", &long), "the arguments are too long");
}

#[test]
fn without_a_bus_ubus_says_so_and_the_files_are_served_all_the_same() {
    let root = Root::with_uci("config local 'local'\n\toption port '99999'\n");
    assert_eq!(
        call(&root, "status", &json!({})),
        json!({ "error": "no bus is running" })
    );
    let checked = call(&root, "check", &json!({}));
    assert_eq!(checked["ok"], false);
    let fault = checked["faults"][0].as_str().expect("a fault");
    assert!(
        fault.contains("fosquitto:2: fosquitto.local.port: '99999'"),
        "{fault}"
    );
    let text = "config local 'local'\n\toption port '1'\n";
    let checked = call(&root, "check", &json!({ "config": text }));
    assert_eq!(checked, json!({ "ok": true, "faults": [], "warnings": [] }));
    let text = "config local 'local'\n\toption port 'x'\n";
    let checked = call(&root, "check", &json!({ "config": text }));
    assert_eq!(
        checked["faults"],
        json!(["fosquitto.local.port: 'x' is not a port (1-65535)"])
    );
    assert_eq!(
        call(&root, "list_users", &json!({})),
        json!({ "users": [] })
    );
}

#[test]
fn a_password_that_is_set_by_ubus_lets_its_user_in_at_once() {
    let broker = Broker::start(LOCAL);
    let root = broker.root();
    let user = "<i>bob";
    let set = json!({ "user": user, "password": "a good one" });
    assert_eq!(
        call(root, "set_password", &set),
        json!({ "set": true, "reloaded": true })
    );
    assert_eq!(call(root, "list_users", &json!({}))["users"], json!([user]));
    let connect = Connect::new(Version::V311, "bob").user(user, "a good one");
    let mut bob = broker.join(&connect);
    let removed = call(root, "remove_user", &json!({ "user": user }));
    assert_eq!(removed, json!({ "removed": true, "reloaded": true }));
    bob.closed();
    let again = call(root, "remove_user", &json!({ "user": user }));
    assert!(
        again["error"]
            .as_str()
            .is_some_and(|what| what.contains("no user"))
    );
    let local = json!({ "user": "local", "password": "x" });
    assert!(call(root, "set_password", &local)["error"].is_string());
}

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Array(items) => format!(
            "{{{}}}",
            items.iter().map(lua).collect::<Vec<_>>().join(",")
        ),
        Value::Object(fields) => {
            let field = |(name, value)| format!("[{name:?}]={}", lua(value));
            format!(
                "{{{}}}",
                fields.iter().map(field).collect::<Vec<_>>().join(",")
            )
        }
        other => other.to_string(),
    }
}

/// Runs a collector in Lua with a stand-in of ubus that has this answer, and returns what it says.
fn collect(file: &str, answer: &Value, before: &str, after: &str) -> String {
    let script = format!(
        "package.preload.ubus = function() return {{ connect = function() return {{ \
         call = function(_, object, method) assert(object == 'fosquitto' and method == 'status') return {} end, \
         close = function() end }} end }} end\n{before}\nlocal made = dofile('{PROJECT}/files/usr/{file}')\n{after}\n",
        lua(answer)
    );
    let output = Command::new("lua5.1").args(["-e", &script]).output();
    let output = output.expect("lua5.1 is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("it is text")
}

#[test]
fn prometheus_gets_every_metric_that_the_collector_names() {
    let file = "lib/lua/prometheus-collectors/fosquitto.lua";
    let before = "function metric(name, kind, labels, value) local function say(labels, value) \
                  print(name, kind, labels and labels.listener or '-', value) end \
                  if value then say(labels, value) end return say end";
    let broker = Broker::start(OPEN);
    let _client = broker.join(&Connect::new(Version::V5, "client"));
    let status = call(broker.root(), "status", &json!({}));
    let said = collect(file, &status, before, "made.scrape()");
    for line in [
        "fosquitto_up\tgauge\t-\t1",
        "fosquitto_clients\tgauge\t-\t1",
        "fosquitto_listener_connections\tgauge\tlocal\t1",
    ] {
        assert!(said.contains(&format!("{line}\n")), "{line}: {said}");
    }
    let source =
        std::fs::read_to_string(format!("{PROJECT}/files/usr/{file}")).expect("it is there");
    for name in source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ \""))
    {
        let name = name.split('"').next().expect("a split has a first part");
        assert!(said.contains(&format!("{name}\t")), "{name}: {said}");
    }
    let none = collect(
        file,
        &json!({ "error": "no bus is running" }),
        before,
        "made.scrape()",
    );
    assert_eq!(none, "fosquitto_up\tgauge\t-\t0\n");
}

#[test]
fn collectd_gets_its_values_and_nothing_where_no_bus_runs() {
    let file = "share/collectd/fosquitto.lua";
    let before = "collectd = { register_read = function(read) collectd.read = read end, log_error = print, \
                  dispatch_values = function(it) print(it.plugin, it.type, it.type_instance, it.values[1]) end }";
    let broker = Broker::start(OPEN);
    let _client = broker.join(&Connect::new(Version::V5, "client"));
    let status = call(broker.root(), "status", &json!({}));
    let said = collect(file, &status, before, "print(collectd.read())");
    assert!(said.contains("fosquitto\tgauge\tclients\t1\n"), "{said}");
    assert_eq!(said.lines().count(), 14, "{said}");
    let none = collect(
        file,
        &json!({ "error": "no bus is running" }),
        before,
        "print(collectd.read())",
    );
    assert_eq!(none, "0\n");
}
