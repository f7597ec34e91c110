//! The project's own rules, held on its source text: `rules` has them, `source` takes the text apart.
//!
//! The second half tests the rules themselves: each finds its violation in a text that has one.

mod luci;
mod rules;
mod source;
mod translations;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::harness::python::PROJECT;
use rules::{BOUND, EVERYWHERE, Violation, check_form, check_program};
use source::Source;

/// Every Rust file below a folder of the project, by its path from there, in order.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(PROJECT).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                let name = path
                    .strip_prefix(PROJECT)
                    .expect("it stands below the project");
                files.push((name.to_str().expect("its name is UTF-8").to_owned(), text));
            }
        }
    }
    files.sort();
    files
}

/// Holds `files` below `src/` to the rules of the program, less those that are built for tests alone.
fn check_all(files: &[(String, String)]) -> Vec<Violation> {
    let sources: Vec<_> = files
        .iter()
        .map(|(name, text)| (name, Source::read(text).without_tests()))
        .collect();
    let tests: HashSet<String> = sources
        .iter()
        .flat_map(|(name, (_, modules))| {
            modules
                .iter()
                .map(move |module| format!("{}/{module}", folder_of_modules(name)))
        })
        .collect();
    let program = sources.iter().filter(|(name, _)| {
        let path = name.trim_end_matches(".rs");
        !tests
            .iter()
            .any(|test| path == test || path.starts_with(&format!("{test}/")))
    });
    program
        .flat_map(|(name, (code, _))| check_program(name, code))
        .collect()
}

/// The folder where the modules of a file stand.
fn folder_of_modules(file: &str) -> &str {
    let path = file.trim_end_matches(".rs");
    for last in ["/mod", "/lib", "/main"] {
        if let Some(folder) = path.strip_suffix(last) {
            return folder;
        }
    }
    path
}

fn assert_none(violations: &[Violation]) {
    let text: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(text.is_empty(), "expected otherwise:\n{}", text.join("\n"));
}

#[test]
fn modules_name_only_what_the_table_allows() {
    assert_none(&check_all(&rust_files("src")));
}

#[test]
fn files_and_functions_have_their_form() {
    for folder in ["src", "tests"] {
        let files = rust_files(folder);
        assert!(!files.is_empty());
        assert_none(
            &files
                .iter()
                .flat_map(|(name, text)| check_form(name, text))
                .collect::<Vec<_>>(),
        );
    }
}

#[test]
fn every_dependency_has_its_place_in_the_table() {
    let manifest =
        fs::read_to_string(Path::new(PROJECT).join("Cargo.toml")).expect("Cargo.toml can be read");
    let dependencies = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1);
    for line in dependencies
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let name = line
            .split([' ', '='])
            .next()
            .expect("a split has a first part")
            .replace('-', "_");
        let known = EVERYWHERE.contains(&name.as_str()) || BOUND.contains(&name.as_str());
        assert!(
            known,
            "say in tests/it/tidy/rules.rs which modules may name `{name}`"
        );
    }
}

/// The violations of one text that stands in this file.
fn found(file: &str, text: &str) -> Vec<(usize, String)> {
    let violations = check_all(&[(file.to_owned(), text.to_owned())]);
    violations
        .into_iter()
        .map(|violation| (violation.line, violation.expected))
        .collect()
}

#[track_caller]
fn assert_found(file: &str, text: &str, line: usize, expected: &str) {
    let found = found(file, text);
    assert_eq!(found.len(), 1, "one violation in {text:?}: {found:?}");
    assert!(
        found[0].0 == line && found[0].1.contains(expected),
        "{found:?}"
    );
}

#[test]
fn a_clock_a_file_a_socket_and_the_configuration_are_found_in_the_core() {
    for (text, named) in [
        ("use std::time::SystemTime;", "std::time::SystemTime"),
        (
            "fn f() { let now = std::time::Instant::now(); }",
            "std::time::Instant::now",
        ),
        (
            "use std::time::Instant;\nfn f() { Instant::now(); }",
            "Instant::now",
        ),
        ("use std::fs;", "std::fs"),
        ("use std::{fmt, fs::File};", "std::fs::File"),
        ("use std::net::TcpStream;", "std::net::TcpStream"),
        ("fn f() { std::thread::spawn(g); }", "std::thread::spawn"),
        ("fn f() { std::env::var(x); }", "std::env::var"),
        ("use std as other;", "`std`"),
        ("async fn f() {}", "async"),
        ("use crate::config::Options;", "config::Options"),
        ("use crate::{mqtt::Qos, config};", "config"),
        ("use super::super::config::Options;", "config::Options"),
        (
            "fn f(options: &crate::config::Options) {}",
            "config::Options",
        ),
        ("fn f() { HashMap::new(); }", "HashMap::new"),
        ("use rusqlite::Connection;", "rusqlite"),
    ] {
        let line = text.lines().count();
        assert_found("src/broker/will.rs", text, line, named);
    }
}

#[test]
fn what_the_core_may_name_is_not_found() {
    for text in [
        "use std::time::{Duration, Instant};\nuse std::collections::HashMap;\nuse crate::{acl, mqtt::{self, Qos}};",
        "use super::session::Session;\nuse super::super::mqtt::Qos;\nfn now(now: Instant) -> Instant { now }",
        "// std::fs, std::net and config are not for this module\n/* use std::fs; /* nested */ use std::env; */",
        "const TEXT: &str = \"use std::fs; crate::config\";\nconst RAW: &str = r#\"\"std::net\"#;",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n    use crate::config;\n}\nfn f<'a>(quote: char) -> bool { quote == '\"' }",
        "#[cfg(test)]\nuse std::net::TcpStream;\n#[cfg(test)]\n#[track_caller]\nfn f() { std::thread::yield_now(); }",
    ] {
        assert_eq!(found("src/broker/will.rs", text), [], "{text}");
    }
}

#[test]
fn the_table_holds_for_every_module() {
    for (file, text, named) in [
        ("src/mqtt/topic.rs", "use crate::acl::Rules;", "acl::Rules"),
        (
            "src/acl/mod.rs",
            "use crate::broker::Broker;",
            "broker::Broker",
        ),
        ("src/config/mod.rs", "use crate::net;", "`net`"),
        (
            "src/net/connection.rs",
            "use crate::broker::session::Session;",
            "broker::session::Session",
        ),
        (
            "src/net/connection.rs",
            "use crate::server::Loop;",
            "server::Loop",
        ),
        ("src/net/table.rs", "use crate::acl::Rules;", "acl::Rules"),
        ("src/net/hub.rs", "use crate::acl;", "`acl`"),
        (
            "src/net/connection.rs",
            "use rusqlite::Connection;",
            "rusqlite",
        ),
        ("src/store/write.rs", "use crate::net::frame;", "net::frame"),
        ("src/server/mod.rs", "use crate::cli;", "cli"),
        ("src/other/mod.rs", "use std::fmt;", "other"),
    ] {
        assert_found(file, text, 1, named);
    }
    for (file, text) in [
        (
            "src/net/connection.rs",
            "use crate::broker::input::Input;\nuse ntex::io::Io;",
        ),
        (
            "src/net/table.rs",
            "use crate::acl::{Action, Permissions};\nuse crate::broker::{Close, Delivery, Effects};",
        ),
        (
            "src/cli/serve.rs",
            "use crate::server;\nuse lexopt::Parser;",
        ),
        ("src/lib.rs", "pub mod broker;"),
    ] {
        assert_eq!(found(file, text), [], "{text}");
    }
}

#[test]
fn a_file_that_is_built_for_tests_alone_is_not_held_to_the_table() {
    let parent = (
        "src/broker/mod.rs".to_owned(),
        "#[cfg(test)]\nmod tests;\n#[cfg(test)]\n#[path = \"will_tests.rs\"]\nmod w;".to_owned(),
    );
    let tests = |name: &str| (name.to_owned(), "use std::fs;".to_owned());
    let files = [
        parent,
        tests("src/broker/tests.rs"),
        tests("src/broker/tests/pair.rs"),
        tests("src/broker/will_tests.rs"),
    ];
    assert_none(&check_all(&files));
    assert_eq!(
        check_all(&[tests("src/broker/tests_of_time.rs"), files[0].clone()]).len(),
        1
    );
}

#[test]
fn an_identity_that_another_module_makes_is_found() {
    for text in [
        "fn f() { g(Identity { user: None }) }",
        "fn f() { Identity::anonymous(); }",
    ] {
        assert_found("src/net/connection.rs", text, 1, "identity");
        assert_eq!(found("src/auth/policy.rs", text), []);
    }
    let uses = "impl Key for Identity { fn f(&self) -> Identity { self.clone() } }\nfn g(one: &Identity) {}";
    assert_eq!(found("src/net/connection.rs", uses), []);
}

#[test]
fn a_line_that_goes_past_the_log_is_found() {
    assert_found(
        "src/net/connection.rs",
        "fn f() { eprintln!(\"{id}\"); }",
        1,
        "log",
    );
    assert_eq!(
        found("src/cli/check.rs", "fn f() { println!(\"{fault}\"); }"),
        []
    );
}

#[test]
fn form_is_held() {
    let form = |text: &str| -> Vec<(usize, String)> {
        let violations = check_form("src/a.rs", text);
        violations
            .into_iter()
            .map(|violation| (violation.line, violation.expected))
            .collect()
    };
    assert_eq!(form("//! A file.\n\nfn f() {}\n"), []);
    assert_eq!(form("fn f() {}\n")[0].0, 1);
    assert_eq!(
        form(&format!("//! A file.\n{}", "\n".repeat(800)))[0].0,
        801
    );
    let function = |lines: usize| {
        format!(
            "//! A file.\nfn long() {{\n{}}}\n",
            "    f();\n\n    // Why.\n".repeat(lines)
        )
    };
    assert_eq!(form(&function(68)), []);
    let found = form(&function(69));
    assert!(
        found.len() == 1 && found[0].0 == 2 && found[0].1.contains("71"),
        "{found:?}"
    );
    let word = concat!("//! A file.\nfn f() {}\n// FIX", "ME: later\n");
    assert_eq!(form(word)[0].0, 3);
    let hole = concat!("//! A file.\nfn f() { to", "do!() }\n");
    assert_eq!(form(hole)[0].0, 2);
}

#[test]
fn a_violation_says_its_file_line_and_what_was_expected() {
    let violations = check_all(&[(
        "src/broker/mod.rs".to_owned(),
        "\nuse std::fs;\n".to_owned(),
    )]);
    let text = violations[0].to_string();
    assert!(
        text.starts_with("src/broker/mod.rs:2: ") && text.contains("std::fs"),
        "{text}"
    );
}
