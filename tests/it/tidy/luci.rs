//! The LuCI app, held to the table of options: its form has every option, and knows of each what the parser knows.
//!
//! The form does not repeat the table. `fosquitto/options.js` is the table in JavaScript, written by a test here, and the samples in
//! `tests/luci/values.json` say what the parser finds wrong with many values; `tests/luci` holds the form's own checks to them. Whether
//! the pages work is tested there, in a browser.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use fosquitto::config::options::{Absent, Kind, Naming, OptionRow, SectionTable, tables};
use fosquitto::config::{self, Surroundings};
use serde_json::{Value, json};

use crate::harness::python::PROJECT;

const RESOURCES: &str = "openwrt/luci-app-fosquitto/htdocs/luci-static/resources";
const OPTIONS: &str =
    "openwrt/luci-app-fosquitto/htdocs/luci-static/resources/fosquitto/options.js";
const SAMPLES: &str = "tests/luci/values.json";

const HEADER: &str = "'use strict';
'require baseclass';

/* The sections and options that the daemon knows: their kinds, bounds and defaults, and what they do. It is made from the daemon's own
   table by the test that compares the two, so an edit here is lost. How a value is checked stands in values.js. */

return baseclass.extend({
\tsections: {
";

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(Path::new(PROJECT).join(path)).unwrap_or_default()
}

/// Holds a file to what it should be, or writes it.
pub(super) fn assert_is(path: &str, expected: &str) {
    if read(path) == expected {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_EXPECT").is_some(),
        "{path} is old: UPDATE_EXPECT=1 writes it anew"
    );
    fs::write(Path::new(PROJECT).join(path), expected)
        .expect("a file of the project can be written");
}

/// A text in JavaScript's quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The kind's name as `values.js` has it: the first word of its name here, in lower case.
fn slug(kind: Kind) -> String {
    let name = format!("{kind:?}");
    let end = name.find(|letter: char| !letter.is_alphanumeric());
    name[..end.unwrap_or(name.len())].to_lowercase()
}

fn kind_fields(kind: Kind) -> String {
    let slug = quoted(&slug(kind));
    match kind {
        Kind::Size { min, max } | Kind::Count { min, max } => {
            format!("kind: {slug}, min: {min}, max: {max}")
        }
        Kind::Duration { min_s, max_s } => format!("kind: {slug}, min: {min_s}, max: {max_s}"),
        Kind::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            format!("kind: {slug}, words: [ {} ]", words.join(", "))
        }
        _ => format!("kind: {slug}"),
    }
}

fn option(row: &OptionRow) -> String {
    let list = if row.list { ", list: true" } else { "" };
    let absent = match row.default {
        Absent::Is(value) => format!("default: {}", quoted(value)),
        Absent::Said(words) => format!("absent: _({})", quoted(words)),
    };
    format!(
        "\t\t\t\t{}: {{\n\t\t\t\t\t{}{list}, {absent},\n\t\t\t\t\tdoc: _({})\n\t\t\t\t}}",
        quoted(row.name),
        kind_fields(row.kind),
        quoted(row.doc)
    )
}

fn section(table: &SectionTable) -> String {
    let name = match table.naming {
        Naming::Fixed(name) => format!("\t\t\tname: {},\n", quoted(name)),
        Naming::Named(_) => "\t\t\tnamed: true,\n".to_owned(),
        Naming::Free => String::new(),
    };
    let options: Vec<String> = table.options.iter().map(option).collect();
    format!(
        "\t\t{}: {{\n{name}\t\t\tdoc: _({}),\n\t\t\toptions: {{\n{}\n\t\t\t}}\n\t\t}}",
        quoted(table.kind),
        quoted(table.doc),
        options.join(",\n")
    )
}

#[test]
fn the_luci_app_knows_the_table_of_options() {
    let sections: Vec<String> = tables().iter().map(section).collect();
    assert_is(
        OPTIONS,
        &format!("{HEADER}{}\n\t}}\n}});\n", sections.join(",\n")),
    );
}

/// The pages' source, all together.
fn pages() -> String {
    let folder = Path::new(PROJECT).join(RESOURCES).join("view/fosquitto");
    let entries = fs::read_dir(folder).expect("the app has pages");
    entries
        .map(|entry| entry.expect("an entry can be read").path())
        .map(|path| fs::read_to_string(path).expect("a page is UTF-8"))
        .collect()
}

#[test]
fn every_option_of_the_table_is_in_the_luci_form() {
    let pages = pages();
    let mut missing = String::new();
    for table in tables() {
        for row in table.options {
            let named = format!("'{}.{}'", table.kind, row.name);
            if !pages.contains(&named) {
                writeln!(missing, "{named}").expect("a string takes everything");
            }
        }
    }
    assert!(
        missing.is_empty(),
        "no page below {RESOURCES}/view/fosquitto has a field for:\n{missing}"
    );
}

/// Values at and beside the edges of every kind.
const VALUES: &[&str] = &[
    "0",
    "1",
    "2",
    "20",
    "-1",
    "1.5",
    " 1",
    "1 ",
    "0x10",
    "007",
    "99999999999999999999",
    "65535",
    "65536",
    "1024",
    "1023",
    "64K",
    "64k",
    "1M",
    "16M",
    "256M",
    "257M",
    "2G",
    "3G",
    "1T",
    "1MB",
    "128K",
    "127K",
    "K",
    "60s",
    "30m",
    "12h",
    "1d",
    "2w",
    "1y",
    "36500d",
    "36501d",
    "24h",
    "1h",
    "61m",
    "true",
    "TRUE",
    "yes",
    "on",
    "enabled",
    "off",
    "disabled",
    "allow",
    "deny",
    "notice",
    "readwrite",
    "websocket",
    "interval",
    "1.2",
    "1.1",
    "cn",
    "a",
    "a b",
    "žluť",
    "\u{7f}",
    "/",
    "/etc/x y",
    "etc/x",
    "127.0.0.1",
    "127.0.0.256",
    "127.1",
    "01.2.3.4",
    "::1",
    "[::1]",
    "::ffff:1.2.3.4",
    "fe80::1",
    "fe80::1%br-lan",
    "fe80::1%",
    "febf::1",
    "1::2::3",
    "br-lan.100",
    "sixteen-letters-",
    "..",
    "a:b",
    "#",
    "a/#",
    "a#",
    "#/a",
    "+/a",
    "a+/b",
    "%u/x",
    "x%u",
    "$SYS/#",
    "a//b",
    "https://router.lan",
    "https://router.lan/",
    "*",
    "http://192.0.2.1:8080",
    "router.lan:8883",
    "router.lan:0",
    "[2001:db8::1]:1883",
    "2001:db8::1",
    "a.example.:1883",
    "1.2",
    "0x7f.1",
    "[::1]:1883",
    "[fe80::1%br-lan]:1",
    "a..b",
    "a/# out 1 b/ c/",
    "a In",
    "a up",
    "a out 3",
    "\"\" both 0 a b",
    "\"\" out 0 a",
    "a out 0 b+ c",
    "a/# out 0 b c d",
    "a# out",
    "$share/x/a",
    "a out 0 \"\" $share/b/",
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff",
];

/// What the parser says of a value of an option: the part behind "is not", if it is wrong.
fn fault(table: &SectionTable, row: &OptionRow, value: &str) -> Option<String> {
    let name = match table.naming {
        Naming::Fixed(name) => name,
        Naming::Named(_) | Naming::Free => "x",
    };
    let keyword = if row.list { "list" } else { "option" };
    let text = format!(
        "config {} '{name}'\n\t{keyword} {} '{value}'\n",
        table.kind, row.name
    );
    let faults = config::parse(&text, Path::new("x"), &Surroundings::default()).err()?;
    let own = faults.0.into_iter().find(|fault| {
        fault.line == 2
            && fault.what.contains(&format!(".{}: '", row.name))
            && fault.what.contains("' is not ")
    })?;
    let (_, what) = own.what.rsplit_once("' is not ")?;
    // A hint at what was near is the command line's way of helping; a form has the words to choose from.
    let what = what.split(" (did you mean").next()?;
    what.starts_with(row.kind.expected().as_str())
        .then(|| what.to_owned())
}

/// A value, and what is wrong with it.
type Sample = (&'static str, String);

#[test]
fn the_samples_say_what_the_parser_finds_wrong() {
    let mut kinds: BTreeMap<String, (Value, Vec<Sample>)> = BTreeMap::new();
    for table in tables() {
        for row in table.options {
            let key = format!("{:?}", row.kind);
            kinds.entry(key).or_insert_with(|| {
                let faults = VALUES
                    .iter()
                    .filter_map(|value| fault(table, row, value).map(|what| (*value, what)));
                (
                    json!(format!("{}.{}", table.kind, row.name)),
                    faults.collect(),
                )
            });
        }
    }
    let mut text = String::from("{\n");
    writeln!(text, "\t\"values\": {},", json!(VALUES)).expect("a string takes everything");
    let kinds: Vec<String> = kinds
        .into_values()
        .map(|(option, faults)| {
            let faults: Vec<String> = faults
                .iter()
                .map(|(value, what)| format!("\t\t{}: {}", json!(value), json!(what)))
                .collect();
            format!("\t{option}: {{\n{}\n\t}}", faults.join(",\n"))
        })
        .collect();
    write!(text, "{}\n}}\n", kinds.join(",\n")).expect("a string takes everything");
    assert_is(SAMPLES, &text);
}
