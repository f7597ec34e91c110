//! UCI text as sections with options and lists, every token with its place. Entered through [`read`].
//!
//! The syntax is libuci's in its strict mode, the one of `uci show` and LuCI: what libuci refuses is a fault here, and
//! what it accepts means the same here (a test holds this reader to libuci itself). The shell's lenient mode, which
//! skips lines that it does not understand, is not offered: a skipped line of a bus's configuration is a wrong
//! configuration. Four things are refused that libuci lets pass, because nothing that writes UCI writes them: zero
//! bytes, values that are not UTF-8, files of more than [`SIZE_MAX`] bytes and sections of more than a thousand options.
//!
//! libuci stops at the first fault. This reader goes on with the next line, so that all faults are said at once; what
//! is read next to a fault is only good for finding more faults.
//!
//! It knows no option's meaning, merges no uncommitted changes and writes nothing.

mod cursor;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::log::Escaped;
pub use cursor::Span;
use cursor::{Cursor, Unterminated, Word};

/// The largest text that is read, in bytes. The largest UCI files of routers have some hundred KiB (firewall sets).
pub const SIZE_MAX: usize = 1 << 20;

/// So many options one section may have: each new one is looked for among the others.
const ENTRIES_MAX: usize = 1_000;

/// After so many faults reading ends: this is no UCI file, and each one costs memory.
const FAULTS_MAX: usize = super::fault::FAULTS_MAX;

/// A text and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The text without quotes and escapes.
    pub text: String,
    /// Where it begins, its quote included.
    pub at: Span,
}

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// By `option`: never empty, since an empty option is an absent one.
    Single(Token),
    /// By `list`, in order; an item may be empty.
    List(Vec<Token>),
}

/// One option or list of a section. The name's place is that of its latest mention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The option's name: `[A-Za-z0-9_]+`.
    pub name: Token,
    /// What it is set to.
    pub value: Value,
}

/// One section. The place is that of its first mention; later ones of the same name add to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The section's type.
    pub kind: Token,
    /// Its name, `[A-Za-z0-9_]+`, unless it is anonymous.
    pub name: Option<Token>,
    /// Its options in libuci's order: an option that is set anew moves to the end.
    pub entries: Vec<Entry>,
}

impl Section {
    /// What the option or list is set to, if it is.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.entries
            .iter()
            .find(|entry| entry.name.text == name)
            .map(|entry| &entry.value)
    }

    /// The text of a single option, if it is set and not a list.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Some(Value::Single(token)) => Some(&token.text),
            _ => None,
        }
    }
}

/// A UCI file's content: its sections in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    /// The sections in the order of their first mention.
    pub sections: Vec<Section>,
}

/// Something in the text that libuci refuses too, or one of the things that only this reader refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxFault {
    /// Where it is.
    pub at: Span,
    /// What it is and what was expected, ready to print.
    pub what: String,
}

/// Reads UCI text. The package is right if there is no fault, and else as much of it as could be read.
pub fn read(text: &[u8]) -> (Package, Vec<SyntaxFault>) {
    if text.len() > SIZE_MAX {
        let what = format!("the file is larger than {} KiB", SIZE_MAX >> 10);
        return (
            Package::default(),
            vec![SyntaxFault {
                at: Span { line: 1, column: 1 },
                what,
            }],
        );
    }
    let mut reader = Reader {
        cursor: Cursor::new(text),
        sections: Vec::new(),
        by_name: HashMap::new(),
        current: Current::None,
    };
    let mut faults = zero_bytes(text);
    while reader.cursor.next_line() {
        let start = reader.cursor.span();
        if let Err(fault) = reader.line() {
            if fault.unterminated {
                reader.cursor.rewind_to_line_after(start);
            }
            faults.push(fault.fault);
            if faults.len() >= FAULTS_MAX {
                break;
            }
        }
    }
    faults.sort_by_key(|fault| fault.at);
    (
        Package {
            sections: reader.sections,
        },
        faults,
    )
}

/// libuci ends a line at a zero byte and joins the next one to it, which nobody can have meant.
fn zero_bytes(text: &[u8]) -> Vec<SyntaxFault> {
    let lines = text.split(|&byte| byte == b'\n').zip(1..);
    lines
        .filter_map(|(line, number)| Some((line.iter().position(|&byte| byte == 0)?, number)))
        .take(1)
        .map(|(at, line)| SyntaxFault {
            at: Span {
                line,
                column: at as u32 + 1,
            },
            what: "a zero byte: this is not a text file".into(),
        })
        .collect()
}

struct LineFault {
    fault: SyntaxFault,
    /// Whether a quote swallowed everything up to the end of the text.
    unterminated: bool,
}

/// The section that `option` and `list` belong to.
enum Current {
    None,
    Index(usize),
    /// The `config` line was faulty: its options are read for their faults and dropped.
    Dropped,
    /// The section was opened more than twice. libuci then has no current section, and refuses the next option.
    OpenedTooOften,
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    sections: Vec<Section>,
    /// Where a named section is, and how often it was opened.
    by_name: HashMap<String, (usize, u32)>,
    current: Current,
}

impl Reader<'_> {
    /// The commands of one line; more than one if `;` separates them.
    fn line(&mut self) -> Result<(), LineFault> {
        while let Some((keyword, at)) = self.cursor.keyword() {
            match keyword {
                [b'#', ..] => return Ok(()),
                b"p" | b"package" => self.package(at)?,
                b"c" | b"config" => self.config(at)?,
                b"o" | b"option" => self.option(at, false)?,
                b"l" | b"list" => self.option(at, true)?,
                other => return Err(unknown_command(other, at)),
            }
        }
        Ok(())
    }

    /// `package NAME`: allowed, and without effect in a file of its own.
    fn package(&mut self, at: Span) -> Result<(), LineFault> {
        let name = self.required("package", "its name", at)?;
        check_name(&name, true)?;
        self.end_of_command()
    }

    /// `config TYPE [NAME]`
    fn config(&mut self, at: Span) -> Result<(), LineFault> {
        self.current = Current::Dropped;
        let kind = self.required("config", "a section type", at)?;
        if let Some(bad) = kind.bytes.iter().find(|byte| !byte.is_ascii_graphic()) {
            let what = format!("a section type cannot contain {}", shown(*bad));
            return Err(fault(kind.at, what));
        }
        let kind = token(kind)?;
        let name = self.cursor.word()?;
        if name.bytes.is_empty() {
            self.end_of_command()?;
            self.open(Section {
                kind,
                name: None,
                entries: Vec::new(),
            });
            return Ok(());
        }
        check_name(&name, false)?;
        self.end_of_command()?;
        let name = token(name)?;
        let Some((index, count)) = self.by_name.get_mut(&name.text) else {
            let entry = (self.sections.len(), 1);
            self.by_name.insert(name.text.clone(), entry);
            self.open(Section {
                kind,
                name: Some(name),
                entries: Vec::new(),
            });
            return Ok(());
        };
        let first = &self.sections[*index].kind;
        if first.text != kind.text {
            let (here, there) = (Escaped(&kind.text), Escaped(&first.text));
            let what = format!(
                "section '{}' is of type '{here}' here and of type '{there}' in line {}",
                name.text, first.at.line
            );
            return Err(fault(kind.at, what));
        }
        *count += 1;
        self.current = match count {
            0..=2 => Current::Index(*index),
            _ => Current::OpenedTooOften,
        };
        Ok(())
    }

    fn open(&mut self, section: Section) {
        self.current = Current::Index(self.sections.len());
        self.sections.push(section);
    }

    /// `option NAME [VALUE]` and `list NAME [VALUE]`
    fn option(&mut self, at: Span, list: bool) -> Result<(), LineFault> {
        let keyword = if list { "list" } else { "option" };
        match self.current {
            Current::None => {
                let what =
                    format!("'{keyword}' before the first section: 'config TYPE' is expected");
                return Err(fault(at, what));
            }
            Current::OpenedTooOften => {
                self.current = Current::Dropped;
                let what = "this section is opened for the third time, after which libuci refuses \
                            options: write them in one place";
                return Err(fault(at, what.into()));
            }
            Current::Dropped | Current::Index(_) => {}
        }
        let name = self.required(keyword, "a name", at)?;
        check_name(&name, false)?;
        let value = self.cursor.word()?;
        self.end_of_command()?;
        let (name, value) = (token(name)?, token(value)?);
        if let Current::Index(index) = self.current {
            let entries = &mut self.sections[index].entries;
            if list {
                add_item(entries, name, value);
            } else {
                set(entries, name, value);
            }
            if entries.len() > ENTRIES_MAX {
                self.current = Current::Dropped;
                return Err(fault(
                    at,
                    format!("the section has more than {ENTRIES_MAX} options"),
                ));
            }
        }
        Ok(())
    }

    fn required(&mut self, keyword: &str, what: &str, at: Span) -> Result<Word, LineFault> {
        let word = self.cursor.word()?;
        if word.bytes.is_empty() {
            Err(fault(at, format!("'{keyword}' needs {what}")))
        } else {
            Ok(word)
        }
    }

    /// Nothing may follow on the line but a comment or `;`.
    fn end_of_command(&mut self) -> Result<(), LineFault> {
        let word = self.cursor.word()?;
        if word.bytes.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&word.bytes);
        let what = format!(
            "too many words: {} is one more than expected (is a quote missing?)",
            quoted(&text)
        );
        Err(fault(word.at, what))
    }
}

/// `option`: replaces an option or a whole list; an empty value changes nothing.
fn set(entries: &mut Vec<Entry>, name: Token, value: Token) {
    if value.text.is_empty() {
        return;
    }
    let index = entries
        .iter()
        .position(|entry| entry.name.text == name.text);
    if let Some(index) = index {
        let same = matches!(&entries[index].value, Value::Single(old) if old.text == value.text);
        if same {
            return;
        }
        entries.remove(index);
    }
    entries.push(Entry {
        name,
        value: Value::Single(value),
    });
}

/// `list`: adds an item; an option of the same name becomes the first item.
fn add_item(entries: &mut Vec<Entry>, name: Token, value: Token) {
    let Some(index) = entries
        .iter()
        .position(|entry| entry.name.text == name.text)
    else {
        entries.push(Entry {
            name,
            value: Value::List(vec![value]),
        });
        return;
    };
    match &mut entries[index].value {
        Value::List(items) => items.push(value),
        Value::Single(_) => {
            let Entry {
                value: Value::Single(first),
                ..
            } = entries.remove(index)
            else {
                unreachable!("the arm says that it is single");
            };
            entries.push(Entry {
                name,
                value: Value::List(vec![first, value]),
            });
        }
    }
}

fn check_name(word: &Word, package: bool) -> Result<(), LineFault> {
    let bad = |byte: &&u8| {
        !(byte.is_ascii_alphanumeric() || **byte == b'_' || (package && **byte == b'-'))
    };
    match word.bytes.iter().find(bad) {
        None => Ok(()),
        Some(byte) => {
            let text = String::from_utf8_lossy(&word.bytes);
            let what = format!(
                "a name consists of A-Z, a-z, 0-9 and _: {} contains {}",
                quoted(&text),
                shown(*byte)
            );
            Err(fault(word.at, what))
        }
    }
}

fn token(word: Word) -> Result<Token, LineFault> {
    match String::from_utf8(word.bytes) {
        Ok(text) => Ok(Token { text, at: word.at }),
        Err(error) => {
            let text = String::from_utf8_lossy(error.as_bytes());
            Err(fault(word.at, format!("{} is not UTF-8", quoted(&text))))
        }
    }
}

fn unknown_command(keyword: &[u8], at: Span) -> LineFault {
    let text = String::from_utf8_lossy(keyword);
    let text = text.trim_end();
    let known = ["config", "option", "list", "package"];
    let what = if keyword.starts_with(b"\xef\xbb\xbf") {
        "a byte order mark: save the file as UTF-8 without one".into()
    } else if known.contains(&text) {
        format!("'{text}' needs a name on the same line")
    } else {
        let hint = super::fault::did_you_mean(text, known);
        format!(
            "{} is not a command (config, option, list, package){hint}",
            quoted(text)
        )
    };
    fault(at, what)
}

fn quoted(text: &str) -> String {
    super::fault::Quoted(text).to_string()
}

fn shown(byte: u8) -> String {
    match byte {
        b' ' => "a blank".into(),
        _ if byte.is_ascii_graphic() => format!("'{}'", byte as char),
        _ => format!("the byte {byte:#04x}"),
    }
}

fn fault(at: Span, what: String) -> LineFault {
    LineFault {
        fault: SyntaxFault { at, what },
        unterminated: false,
    }
}

impl From<Unterminated> for LineFault {
    fn from(error: Unterminated) -> Self {
        let what = format!("the {} that is opened here is never closed", error.quote);
        LineFault {
            fault: SyntaxFault { at: error.at, what },
            unterminated: true,
        }
    }
}
