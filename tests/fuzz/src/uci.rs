//! UCI text: never a panic, every fault has its line and one line of text, and what was read says the same when it is written
//! and read again.

use std::fmt::Write;
use std::path::Path;

use fosquitto::config::uci::{Package, Section, Value, read};
use fosquitto::config::{Surroundings, parse};

/// A text, as the bus's own configuration and as that of the network.
pub fn run(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').count() as u32;
    let (package, faults) = read(bytes);
    for fault in &faults {
        assert!((1..=lines).contains(&fault.at.line) && fault.at.column > 0);
        is_one_line(&fault.what);
    }
    if faults.is_empty() {
        let (again, faults) = read(written(&package).as_bytes());
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(plain(&again), plain(&package));
    }
    let text = String::from_utf8_lossy(bytes);
    let surroundings = Surroundings {
        network: text.clone().into_owned(),
        ..Surroundings::default()
    };
    match parse(&text, Path::new("fosquitto"), &surroundings) {
        Ok(config) => {
            let again = parse(&text, Path::new("fosquitto"), &surroundings);
            assert_eq!(again, Ok(config), "the same text says the same");
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in &faults.0 {
                let says_more = fault.what.contains("more faults");
                assert!((1..=lines).contains(&fault.line) || says_more, "{fault}");
                is_one_line(&fault.to_string());
            }
        }
    }
}

/// A fault is one line of a log, and no byte of the text commands a terminal.
fn is_one_line(what: &str) {
    assert!(
        !what.is_empty() && !what.contains(char::is_control),
        "{what:?}"
    );
}

/// A section without its places: type, name, and each option with its values and whether it is a list.
type Plain<'a> = (&'a str, Option<&'a str>, Vec<(&'a str, Vec<&'a str>, bool)>);

fn plain(package: &Package) -> Vec<Plain<'_>> {
    package.sections.iter().map(plain_section).collect()
}

fn plain_section(section: &Section) -> Plain<'_> {
    let entries = section.entries.iter().map(|entry| match &entry.value {
        Value::Single(token) => (&*entry.name.text, vec![&*token.text], false),
        Value::List(items) => {
            let items = items.iter().map(|token| &*token.text);
            (&*entry.name.text, items.collect(), true)
        }
    });
    let name = section.name.as_ref().map(|name| &*name.text);
    (&section.kind.text, name, entries.collect())
}

/// A package as `uci export` writes it.
fn written(package: &Package) -> String {
    let mut text = String::new();
    for (kind, name, entries) in plain(package) {
        let name = name.map(|name| format!(" {}", quoted(name)));
        let _ = writeln!(
            text,
            "\nconfig {}{}",
            quoted(kind),
            name.unwrap_or_default()
        );
        for (name, values, is_list) in entries {
            let keyword = if is_list { "list" } else { "option" };
            for value in values {
                let _ = writeln!(text, "\t{keyword} {name} {}", quoted(value));
            }
        }
    }
    text
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
