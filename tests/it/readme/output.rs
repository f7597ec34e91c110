//! What README.md shows of the commands' output: produced here, on a bus with a phone, a thermostat and an alarm, and held to what stands there.
//!
//! Numbers and their units differ from run to run (ports, sizes, seconds) and do not count, nor does how many spaces stand between columns.
//! `UPDATE_EXPECT=1` writes what this run gave.

use std::fs;
use std::path::Path;

use super::project_file;
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Publish, Version};
use crate::harness::python::PROJECT;
use crate::harness::root::Root;

const BEGIN: &str = "<!-- output of commands: begin -->\n";
const END: &str = "<!-- output of commands: end -->\n";

/// What is shown, in this order.
const COMMANDS: [&str; 9] = [
    "fosquitto clients",
    "fosquitto sessions",
    "fosquitto subscriptions phone",
    "fosquitto queues",
    "fosquitto retained",
    "fosquitto why --user ben --action publish --topic alarm/off",
    "fosquitto trace",
    "fosquitto status",
    "fosquitto kick phone",
];

const UCI: &str = "
config user 'anna'

config user 'ben'

config acl 'alarm'
	list user 'ben'
	option access 'write'
	option action 'deny'
	list topic 'alarm/#'
";

/// The bus of the examples.
fn home() -> Broker {
    let root = Root::with_uci(&format!("{LOCAL}{UCI}"));
    for user in ["anna", "ben"] {
        assert!(root.passwd(user, "password").status.success());
    }
    let broker = Broker::start_on(root);
    let connect = |user: &str, client_id: &str| {
        Connect::new(Version::V5, client_id)
            .user(user, "password")
            .persistent()
    };
    let mut alarm = broker.join(&connect("anna", "alarm"));
    alarm.subscribe("alarm/#", 1);
    alarm.disconnect();
    let mut phone = broker.join(&connect("anna", "phone"));
    phone.subscribe("home/+/temperature", 1);
    let mut thermostat = broker.join(&connect("ben", "thermostat"));
    let watched = broker
        .root()
        .command(&["trace", "--start", "--client", "thermostat"]);
    assert!(watched.status.success());
    let reading = Publish::new("home/hall/temperature", "21.5")
        .qos(1, 0)
        .retained();
    thermostat.publish_acknowledged(reading);
    assert_eq!(phone.text(), "21.5");
    let denied = Publish::new("alarm/off", "please").qos(1, 0);
    assert_eq!(thermostat.publish_acknowledged(denied), 0x87);
    phone.publish_acknowledged(Publish::new("alarm/test", "at noon").qos(1, 0));
    // They stay connected until the broker goes.
    std::mem::forget((phone, thermostat));
    broker
}

/// What a reader would see, on a router.
fn produced() -> String {
    let broker = home();
    let root = broker.root();
    let mut text = String::from("\n```console\n");
    for command in COMMANDS {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let output = root.command(&words);
        let said = String::from_utf8(output.stdout).expect("it is text");
        text += &format!("$ {command}\n{said}");
    }
    let path = root.path().display().to_string();
    text.replace(&path, "") + "```\n\n"
}

/// A text without what differs from run to run: numbers with their units, and spaces.
fn skeleton(text: &str) -> Vec<String> {
    let is_unit = |word: &str| matches!(word, "B" | "KiB" | "MiB" | "s" | "min");
    let without_digits = |word: &str| {
        let mut kept: String = word
            .chars()
            .map(|it| if it.is_ascii_digit() { '0' } else { it })
            .collect();
        while kept.contains("00") {
            kept = kept.replace("00", "0");
        }
        kept
    };
    // Whether flash was written yet is a matter of time too.
    let text = text.replace("not yet", "0 s ago");
    let lines = text.lines().map(|line| {
        let words = line
            .split_whitespace()
            .filter(|word| !is_unit(word.trim_end_matches([',', ';', ':'])));
        words.map(without_digits).collect::<Vec<_>>().join(" ")
    });
    lines.collect()
}

#[test]
fn the_output_of_commands_is_what_they_print() {
    let text = project_file("README.md");
    let (before, rest) = text.split_once(BEGIN).expect("the line before is there");
    let (shown, after) = rest.split_once(END).expect("the line after is there");
    let produced = produced();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        if skeleton(shown) != skeleton(&produced) {
            let text = format!("{before}{BEGIN}{produced}{END}{after}");
            fs::write(Path::new(PROJECT).join("README.md"), text)
                .expect("README.md can be written");
        }
        return;
    }
    assert_eq!(
        skeleton(shown),
        skeleton(&produced),
        "README.md shows old output: UPDATE_EXPECT=1 writes this:\n{produced}"
    );
}
