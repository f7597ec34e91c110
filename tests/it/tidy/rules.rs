//! The rules: which module may name which, what the core may not touch, how long things are, and what words do not stay.
//!
//! The table is that of the project's design; `src/lib.rs` tells it to readers. A rule returns its violations, each with its
//! place and what was expected; it reads no file.

use super::source::{Function, Kind, Path, Source, Token, functions, paths};

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    pub file: String,
    pub line: usize,
    pub expected: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.expected)
    }
}

/// A module's row of the table.
struct Row {
    module: &'static str,
    /// Modules of this crate, or single items of them, that it may name; itself and `log` go without saying.
    modules: &'static [&'static str],
    /// Whether it may name [`INPUTS_AND_EFFECTS`] too.
    speaks_to_broker: bool,
    /// Crates beyond [`EVERYWHERE`].
    crates: &'static [&'static str],
}

/// Crates that are values and algorithms only: any module may name them.
pub const EVERYWHERE: [&str; 10] = [
    "base64",
    "crc32fast",
    "foldhash",
    "hashbrown",
    "log",
    "postcard",
    "serde",
    "slab",
    "smallvec",
    "strsim",
];

/// Crates that reach out of the process, or belong to one module.
pub const BOUND: [&str; 12] = [
    "lexopt",
    "libc",
    "ntex",
    "ntex_bytes",
    "ntex_httparse",
    "ntex_mqtt",
    "openssl",
    "rusqlite",
    "serde_json",
    "signal_hook",
    "socket2",
    "syslog",
];

/// The broker's inputs and effects: the modules that have them, and the names under which the broker hands them on.
const INPUTS_AND_EFFECTS: [&str; 17] = [
    "broker::input",
    "broker::effect",
    "broker::limits",
    "broker::Input",
    "broker::Effects",
    "broker::ConnectionId",
    "broker::Owner",
    "broker::Settings",
    "broker::Traffic",
    "broker::Time",
    "broker::Delivery",
    "broker::Payload",
    "broker::Sent",
    "broker::Close",
    "broker::Bridge",
    "broker::Bounds",
    "broker::Link",
];

const ALL_BUT_CLI: [&str; 10] = [
    "mqtt", "acl", "broker", "config", "store", "auth", "net", "bridge", "control", "server",
];

const TABLE: [Row; 12] = [
    Row {
        module: "mqtt",
        modules: &[],
        speaks_to_broker: false,
        crates: &["ntex_bytes"],
    },
    Row {
        module: "acl",
        modules: &["mqtt"],
        speaks_to_broker: false,
        crates: &[],
    },
    Row {
        module: "broker",
        modules: &["mqtt", "acl"],
        speaks_to_broker: false,
        crates: &["ntex_bytes"],
    },
    Row {
        module: "config",
        modules: &["mqtt", "acl"],
        speaks_to_broker: false,
        crates: &["libc"],
    },
    Row {
        module: "store",
        modules: &[
            "mqtt",
            "broker::effect",
            "broker::StoreOp",
            "broker::Restored",
            // Whose a session is, and when it was left, are parts of what comes back.
            "broker::Owner",
            "broker::Time",
        ],
        speaks_to_broker: false,
        // Of the system it asks how much room its file system has, and opens files that are no links.
        crates: &["rusqlite", "libc"],
    },
    Row {
        module: "auth",
        modules: &["mqtt", "config"],
        speaks_to_broker: false,
        crates: &["openssl", "libc"],
    },
    Row {
        module: "net",
        // What a client may do, and what it was denied, are parts of an input and of an effect.
        modules: &["mqtt", "auth", "config", "acl::Permissions", "acl::Action"],
        speaks_to_broker: true,
        crates: &[
            "ntex",
            "ntex_bytes",
            "ntex_httparse",
            "ntex_mqtt",
            "openssl",
            "socket2",
            "libc",
        ],
    },
    Row {
        module: "bridge",
        modules: &["net", "mqtt", "config"],
        speaks_to_broker: true,
        crates: &["ntex", "ntex_bytes", "openssl"],
    },
    Row {
        module: "control",
        modules: &ALL_BUT_CLI,
        speaks_to_broker: false,
        crates: &BOUND,
    },
    Row {
        module: "server",
        modules: &ALL_BUT_CLI,
        speaks_to_broker: false,
        crates: &BOUND,
    },
    Row {
        module: "log",
        modules: &[],
        speaks_to_broker: false,
        crates: &["syslog", "libc"],
    },
    Row {
        module: "cli",
        modules: &[],
        speaks_to_broker: false,
        crates: &BOUND,
    },
];

/// What the core may not name: it has no clock, no files, no sockets, no environment, no threads and no chance.
const IMPURE: [&[&str]; 13] = [
    &["std", "fs"],
    &["std", "net"],
    &["core", "net"],
    &["std", "env"],
    &["std", "thread"],
    &["std", "process"],
    &["std", "os"],
    &["std", "io"],
    &["std", "sync", "mpsc"],
    &["std", "time", "SystemTime"],
    &["std", "hash", "RandomState"],
    &["std", "collections", "hash_map", "RandomState"],
    &["std"],
];

/// The modules that are pure.
const PURE: [&str; 3] = ["mqtt", "acl", "broker"];

/// The most lines of a file, and of code in a function.
pub const FILE_LINES: usize = 800;
pub const FUNCTION_LINES: usize = 70;

/// Holds one file below `src/` to every rule. `code` is its code without what is built for tests alone.
pub fn check_program(file: &str, code: &[Token]) -> Vec<Violation> {
    let module = module_path(file);
    let mut violations = Vec::new();
    let Some(top) = module.first() else {
        return violations;
    };
    let Some(row) = TABLE.iter().find(|row| row.module == top) else {
        return vec![violation(
            file,
            1,
            format!("a module of the table, and `{top}` is none"),
        )];
    };
    for path in paths(code) {
        violations.extend(check_import(file, row, &module, &path));
        if PURE.contains(&row.module) {
            violations.extend(check_purity(file, &path));
        }
    }
    violations.extend(check_words_of_code(file, row.module, code));
    violations
}

/// Holds any file of Rust to the rules of form.
pub fn check_form(file: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let source = Source::read(text);
    if !text.starts_with("//!") {
        violations.push(violation(
            file,
            1,
            "a file begins with `//!`: what it is, how it is entered, what it does not do".into(),
        ));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES {
        violations.push(violation(
            file,
            FILE_LINES + 1,
            format!("at most {FILE_LINES} lines in a file, and there are {lines}"),
        ));
    }
    for Function {
        name,
        line,
        code_lines,
    } in functions(&source.tokens)
    {
        if code_lines > FUNCTION_LINES {
            let expected = format!(
                "at most {FUNCTION_LINES} lines of code in a function, and `{name}` has {code_lines}"
            );
            violations.push(violation(file, line, expected));
        }
    }
    // Put together here, so that this file does not hold them itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    for (line, comment) in &source.comments {
        for (offset, text) in comment.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| {
                text.split(|char: char| !char.is_alphanumeric())
                    .any(|other| other == **word)
            }) {
                violations.push(violation(
                    file,
                    line + offset,
                    format!("no `{word}`: do it, or leave it out"),
                ));
            }
        }
    }
    let macros = [concat!("to", "do"), concat!("un", "implemented")];
    for pair in source.tokens.windows(2) {
        if let Some(name) = pair[0]
            .word()
            .filter(|name| macros.contains(name) && pair[1].is('!'))
        {
            violations.push(violation(
                file,
                pair[0].line,
                format!("no `{name}!`: what is not there yet is not there"),
            ));
        }
    }
    violations
}

/// `src/broker/will.rs` is `broker`, `will`; `src/broker/mod.rs` is `broker`; `src/lib.rs` and `src/main.rs` are nothing.
fn module_path(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    if matches!(
        parts.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        parts.pop();
    }
    parts
}

fn check_import(file: &str, row: &Row, module: &[String], path: &Path) -> Option<Violation> {
    let first = path.segments.first()?.as_str();
    let named: Vec<&str> = match first {
        "crate" => path.segments[1..].iter().map(String::as_str).collect(),
        "super" => {
            let ups = path
                .segments
                .iter()
                .take_while(|segment| *segment == "super")
                .count();
            let base = module.get(..module.len().checked_sub(ups)?)?;
            base.iter()
                .chain(&path.segments[ups..])
                .map(String::as_str)
                .collect()
        }
        // A path of one word is a local name, whatever crate is called the same.
        name if BOUND.contains(&name) && path.segments.len() > 1 && !row.crates.contains(&name) => {
            return Some(violation(
                file,
                path.line,
                format!("`{}` may not name the crate `{name}`", row.module),
            ));
        }
        _ => return None,
    };
    let top = *named.first()?;
    let is_module = TABLE.iter().any(|other| other.module == top);
    let also: &[&str] = if row.speaks_to_broker {
        &INPUTS_AND_EFFECTS
    } else {
        &[]
    };
    let is_within = |entry: &&str| {
        let entry: Vec<&str> = entry.split("::").collect();
        named.starts_with(&entry)
    };
    let allowed = top == row.module
        || top == "log"
        || row.module == "cli"
        || !is_module
        || row.modules.iter().chain(also).any(is_within);
    let expected = || {
        let broker = if row.speaks_to_broker {
            " and the broker's inputs and effects"
        } else {
            ""
        };
        let whole = named.join("::");
        format!(
            "`{}` may name {:?}{broker} of this crate, and this is `{whole}`",
            row.module, row.modules
        )
    };
    (!allowed).then(|| violation(file, path.line, expected()))
}

fn check_purity(file: &str, path: &Path) -> Option<Violation> {
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
    let impure = IMPURE.iter().find(|impure| match impure {
        // `use std as other` would hide what comes after it.
        [_] => segments == **impure,
        _ => segments.starts_with(impure),
    });
    let clock = segments.len() > 1 && segments.last() == Some(&"now");
    let chance = matches!(
        segments.as_slice(),
        [.., "HashMap" | "HashSet", "new" | "with_capacity"] | ["RandomState", ..]
    );
    let word = segments
        .iter()
        .find(|word| matches!(**word, "async" | "await" | "extern"));
    let found = match (impure, word) {
        (Some(_), _) => segments.join("::"),
        (None, Some(word)) => (*word).to_owned(),
        (None, None) if clock || chance => segments.join("::"),
        (None, None) => return None,
    };
    Some(violation(
        file,
        path.line,
        format!("a pure module: the same inputs give the same effects, and this is `{found}`"),
    ))
}

/// Invariants of the program as far as words show them.
fn check_words_of_code(file: &str, module: &str, code: &[Token]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, token) in code.iter().enumerate() {
        let Some(word) = token.word() else { continue };
        let next = code.get(index + 1);
        // 4: an Identity is made by auth only.
        if word == "Identity" && module != "auth" && makes_identity(code, index) {
            violations.push(violation(
                file,
                token.line,
                "an identity is made by `auth` alone".into(),
            ));
        }
        // 7: every line goes through log, which escapes what clients chose.
        let prints = matches!(word, "println" | "eprintln" | "print" | "eprint" | "dbg")
            && next.is_some_and(|next| next.is('!'));
        if prints && !matches!(module, "cli" | "log") {
            violations.push(violation(
                file,
                token.line,
                "a line is written by `log`, which escapes it, or by a command".into(),
            ));
        }
    }
    violations
}

/// `Identity { .. }` or `Identity::made(..)`, but not the type in a signature, a match or an impl.
fn makes_identity(code: &[Token], index: usize) -> bool {
    let at = |offset: usize| code.get(index + offset);
    let calls = at(1).is_some_and(|token| token.is(':'))
        && at(2).is_some_and(|token| token.is(':'))
        && at(3)
            .and_then(Token::word)
            .is_some_and(|word| word.starts_with(char::is_lowercase))
        && at(4).is_some_and(|token| token.is('('));
    let before = index.checked_sub(1).map(|before| &code[before]);
    let declares = before
        .is_some_and(|token| matches!(&token.kind, Kind::Mark('>' | '&') | Kind::Literal(_)))
        || before
            .and_then(Token::word)
            .is_some_and(|word| matches!(word, "struct" | "enum" | "impl" | "for" | "mut"));
    calls || (at(1).is_some_and(|token| token.is('{')) && !declares)
}

fn violation(file: &str, line: usize, expected: String) -> Violation {
    Violation {
        file: file.to_owned(),
        line,
        expected,
    }
}
