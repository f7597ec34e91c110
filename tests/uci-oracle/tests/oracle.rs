//! The same texts go to libuci and to fosquitto's reader: both accept or both refuse, and what they read is the same.
//! Random texts come from a seed, which a failure prints and `FOSQUITTO_SEED` repeats.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fosquitto::config::uci;
use uci_oracle::{Section, Value, read as libuci};

/// So many random texts of each kind are compared.
const TEXTS: usize = 20_000;

/// What fosquitto reads, in libuci's words.
fn ours(text: &[u8]) -> Option<Vec<Section>> {
    let (package, faults) = uci::read(text);
    let bytes = |token: &uci::Token| token.text.as_bytes().to_vec();
    let section = |section: &uci::Section| Section {
        kind: bytes(&section.kind),
        name: section.name.as_ref().map(bytes),
        options: section
            .entries
            .iter()
            .map(|entry| {
                let value = match &entry.value {
                    uci::Value::Single(token) => Value::Single(bytes(token)),
                    uci::Value::List(items) => Value::List(items.iter().map(bytes).collect()),
                };
                (bytes(&entry.name), value)
            })
            .collect(),
    };
    faults
        .is_empty()
        .then(|| package.sections.iter().map(section).collect())
}

/// A file that both read, removed at the end.
struct File(PathBuf);

impl File {
    fn new(test: &str) -> Self {
        // In memory where Linux has it mounted: a disk takes a minute for the thousands of texts.
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() {
            memory
        } else {
            std::env::temp_dir()
        };
        File(folder.join(format!("uci-oracle-{test}-{}", std::process::id())))
    }

    /// Whether both say the same of the text.
    fn agrees(&self, text: &str) -> bool {
        self.write(text);
        libuci(&self.0) == ours(text.as_bytes())
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).expect("a temporary file can be written");
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Fails with both readings of a text.
fn disagree(file: &File, text: &str, seed: u64) -> ! {
    file.write(text);
    let faults = uci::read(text.as_bytes()).1;
    panic!(
        "FOSQUITTO_SEED={seed}\ntext: {text:?}\nlibuci: {:#?}\nfosquitto: {:#?}\nfaults: {faults:#?}",
        libuci(file.path()).map(shown),
        ours(text.as_bytes()).map(shown),
    );
}

fn shown(sections: Vec<Section>) -> Vec<String> {
    let text = |bytes: &[u8]| format!("{:?}", String::from_utf8_lossy(bytes));
    let option = |(name, value): &(Vec<u8>, Value)| match value {
        Value::Single(value) => format!("{}={}", text(name), text(value)),
        Value::List(items) => format!(
            "{}={:?}",
            text(name),
            items.iter().map(|item| text(item)).collect::<Vec<_>>()
        ),
    };
    let section = |section: Section| {
        let options: Vec<_> = section.options.iter().map(option).collect();
        format!(
            "{} {:?} {options:?}",
            text(&section.kind),
            section.name.as_deref().map(text)
        )
    };
    sections.into_iter().map(section).collect()
}

/// SplitMix64: any seed is good, and the same one gives the same texts everywhere.
struct Random(u64);

impl Random {
    fn from_environment() -> (Self, u64) {
        let clock = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |time| time.as_nanos() as u64)
        };
        let seed = match std::env::var("FOSQUITTO_SEED") {
            Ok(text) => text.parse().expect("FOSQUITTO_SEED is a number"),
            Err(_) => clock(),
        };
        (Random(seed), seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn one_of<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Compares texts made of pieces, and takes pieces away from one on which the two disagree for as long as they do.
fn compare(test: &str, mut make: impl FnMut(&mut Random) -> Vec<&'static str>) {
    let file = File::new(test);
    let (mut random, seed) = Random::from_environment();
    let mut accepted = 0;
    for _ in 0..TEXTS {
        let mut pieces = make(&mut random);
        if file.agrees(&pieces.concat()) {
            accepted += usize::from(
                ours(pieces.concat().as_bytes()).is_some_and(|sections| !sections.is_empty()),
            );
            continue;
        }
        let mut at = 0;
        while at < pieces.len() {
            let mut fewer = pieces.clone();
            fewer.remove(at);
            if file.agrees(&fewer.concat()) {
                at += 1
            } else {
                pieces = fewer
            }
        }
        disagree(&file, &pieces.concat(), seed);
    }
    // A generator whose texts are all refused, or empty, would prove nothing.
    assert!(
        accepted > TEXTS / 50,
        "FOSQUITTO_SEED={seed}: only {accepted} of {TEXTS} texts have sections"
    );
    println!("{test}: {accepted} of {TEXTS} texts have sections");
}

const BLANKS: [&str; 8] = [" ", " ", " ", "\t", "  ", " \t", "\x0b", " \\\n"];
const VALUES: [&str; 24] = [
    "a",
    "b",
    "'a'",
    "\"b\"",
    "''",
    "\"\"",
    "'two\nlines'",
    "\"two\nlines\"",
    "'it'\\''s'",
    "a\\ b",
    "a\\\nb",
    "\"a\\\nb\"",
    "a#b",
    "'a#b'",
    "a;b",
    "'a;b'",
    "\\#",
    "\"\\\"\"",
    "\\\\",
    "grün",
    "'a'\"b\"c",
    "x-y",
    "0",
    "$",
];
const NAMES: [&str; 8] = ["a", "b", "n1", "_x", "'a'", "\"b\"", "a", "b"];
const ENDS: [&str; 12] = [
    "\n", "\n", "\n", "\n", "\r\n", "\n\n", " \n", " # c\n", "#c\n", ";\n", " ; ", "; ",
];

#[test]
fn files_like_those_that_people_write_are_read_as_libuci_reads_them() {
    compare("lines", |random| {
        let mut pieces = Vec::new();
        for _ in 0..random.below(8) {
            let keyword = random.one_of(&[
                "config", "config", "c", "option", "option", "o", "list", "list", "l", "package",
            ]);
            pieces.push(random.one_of(&["", "", "\t", "  "]));
            pieces.push(keyword);
            pieces.push(random.one_of(&[" ", "\t", " ", "  "]));
            pieces.push(if random.below(12) == 0 {
                random.one_of(&VALUES)
            } else {
                random.one_of(&NAMES)
            });
            if random.below(8) > 0 {
                pieces.push(random.one_of(&BLANKS));
                let value = !keyword.starts_with('c') || random.below(8) == 0;
                pieces.push(if value {
                    random.one_of(&VALUES)
                } else {
                    random.one_of(&NAMES)
                });
            }
            pieces.push(random.one_of(&ENDS));
        }
        // A section to begin with, mostly, and sometimes no last line's end.
        if random.below(10) > 0 {
            pieces.insert(
                0,
                random.one_of(&["config t\n", "config t a\n", "config 't' 'b'\n"]),
            );
        }
        if random.below(5) == 0 {
            pieces.pop();
        }
        pieces
    });
}

#[test]
fn any_soup_of_the_syntaxs_pieces_is_read_or_refused_as_libuci_does() {
    const PIECES: [&str; 32] = [
        "config",
        "option",
        "list",
        "package",
        "c",
        "o",
        "l",
        "p",
        " ",
        " ",
        " ",
        "\t",
        "\n",
        "\n",
        "\r\n",
        "\r",
        "\x0b",
        "\x0c",
        "'",
        "\"",
        "\\",
        ";",
        "#",
        "a",
        "b",
        "-",
        "\\\n",
        "\\\r\n",
        "''",
        "\x01",
        "é",
        "config t a\n",
    ];
    compare("soup", |random| {
        let mut pieces = vec!["config t\n", "o a "];
        for _ in 0..random.below(24) {
            pieces.push(random.one_of(&PIECES));
        }
        pieces
    });
}

/// Texts that each have something odd.
const CORNERS: &[&str] = &[
    "",
    "\n",
    "config",
    "config ",
    "config a",
    "config a b",
    "config a b c",
    "config a ''",
    "config ''",
    "config a-b/c! n",
    "config a n-m",
    "config gr\u{fc}n",
    "config a\noption",
    "config a\noption ",
    "config a\noption x",
    "config a\noption x ''",
    "config a\noption x y z",
    "config a\noption x y ''",
    "config a\noption x y '' option z 1\n",
    "config a\noption x y \\\n option z 1\n",
    "config a\noption x y \\\noption z 1\n",
    "config a\noption x \\\n  y\n",
    "config a\noption x \\\ny\n",
    "config a\noption x y\\",
    "config a\noption x \"y\\",
    "config a\noption x 'y",
    "config a\noption x 'y\n",
    "config a b; option x 1\n",
    "config a b ; option x 1\n",
    "config a 'b'; option x 1\n",
    "config a 'b';\n",
    "config a 'b';",
    "config a b ;;\n",
    "config a ;; option x 1\n",
    "config a ; option x 1\n",
    "config a;",
    ";\n",
    "option x 1\n",
    "list x 1\n",
    "config a n\noption x 1\nconfig b\nconfig a n\noption x 2\noption y 3\n",
    "config a n\nconfig b n\n",
    "config a\nlist x 1\nlist x 2\noption x 3\n",
    "config a\noption x 1\nlist x 2\noption y 1\n",
    "config a\noption x 1\noption y 2\noption x 1\n",
    "config a\noption x 1\noption y 2\noption x 3\n",
    "config a\noption x 1\noption x ''\n",
    "config a\nlist x 1\noption x ''\n",
    "config a\nlist x ''\nlist x\nlist x 'b'\n",
    "package other\nconfig a\n",
    "package other-one\nconfig a\n",
    "package 'other'\n",
    "package\n",
    "package a b\n",
    "\u{feff}config a\n",
    "config a\r\n\toption x y\r\n",
    "config a\n\x0boption x y\n",
    "config a\noption\x0bx y\n",
    "config a\noptions x y\n",
    "configs a\n",
    "'config' a\n",
    "config 0000000A00000214 0000000A00000214\noption via 0000000A00000214\n",
    "config a\noption x 'tab\there'\n",
];

#[test]
fn the_odd_corners_are_libucis() {
    let file = File::new("corners");
    for text in CORNERS {
        if !file.agrees(text) {
            disagree(&file, text, 0);
        }
    }
}

#[test]
fn the_shipped_file_and_a_long_one_are_read_as_libuci_reads_them() {
    let file = File::new("long");
    let shipped = include_str!("../../../files/etc/config/fosquitto");
    let long = format!("config a\noption x '{}'\n", "long ".repeat(20_000));
    let many: String = (0..2_000)
        .map(|number| format!("config rule r{number}\n\tlist l '{number}'\n"))
        .collect();
    for text in [shipped, &long, &many] {
        if !file.agrees(text) {
            disagree(&file, text, 0);
        }
    }
}
