//! One section, held against its table: unknown options, lists where one value is expected and values of the wrong kind
//! become faults at once; after that the section's own file asks for typed values. Entered through [`Reader::new`].
//!
//! It knows kinds and tables, not what an option does; what options mean to one another is checked by the sections.

use std::path::Path;

use super::bridge::Mapping;
use super::fault::{Faults, Quoted, did_you_mean};
use super::options::{Absent, Kind, OptionRow, SectionTable};
use super::uci::{self, Token, Value};
use super::value;

/// A section being read. Values with a fault count as absent, so that one slip is one fault.
pub struct Reader<'a> {
    table: &'static SectionTable,
    /// `None` if the file has no such section: everything is as by default.
    section: Option<&'a uci::Section>,
    /// Its UCI address: `fosquitto.lan`, `fosquitto.@acl[2]`.
    address: String,
    path: &'a Path,
    faults: &'a mut Faults,
}

impl<'a> Reader<'a> {
    /// Checks the section against the table and says what is wrong.
    pub fn new(
        table: &'static SectionTable,
        section: Option<&'a uci::Section>,
        address: String,
        path: &'a Path,
        faults: &'a mut Faults,
    ) -> Self {
        let mut reader = Reader {
            table,
            section,
            address,
            path,
            faults,
        };
        for entry in section.iter().flat_map(|section| &section.entries) {
            match table.option(&entry.name.text) {
                None => {
                    let hint =
                        did_you_mean(&entry.name.text, table.options.iter().map(|row| row.name));
                    let what = format!("there is no such option in '{}'{hint}", table.kind);
                    reader.fault(&entry.name.text, entry.name.at.line, what);
                }
                Some(row) => reader.check(row, &entry.value),
            }
        }
        reader
    }

    fn check(&mut self, row: &OptionRow, value: &Value) {
        let tokens = match value {
            Value::Single(token) => std::slice::from_ref(token),
            Value::List(items) if row.list => items,
            Value::List(items) => {
                let line = items.last().map_or(0, |item| item.at.line);
                let what = format!(
                    "is a list here and must be one value: write 'option {}'",
                    row.name
                );
                return self.fault(row.name, line, what);
            }
        };
        for token in tokens
            .iter()
            .filter(|token| !value::is_valid(&token.text, row.kind))
        {
            let mut what = format!("{} is not {}", Quoted(&token.text), row.kind.expected());
            if let (Kind::Topic, Err(reason)) = (row.kind, crate::acl::Pattern::new(&token.text)) {
                what += &format!(": {reason}");
            }
            if let (Kind::Filter, Some(reason)) = (row.kind, value::filter_fault(&token.text)) {
                what += &format!(": {reason}");
            }
            if let (Kind::BridgeTopic, Err(reason)) = (row.kind, Mapping::parse(&token.text)) {
                what += &format!(": {reason}");
            }
            if let Kind::Word(words) = row.kind {
                what += &did_you_mean(&token.text, words.iter().copied());
            }
            self.fault(row.name, token.at.line, what);
        }
    }

    /// Says that an option is wrong.
    pub fn fault(&mut self, option: &str, line: u32, what: impl AsRef<str>) {
        let what = format!("{}.{option}: {}", self.address, what.as_ref());
        self.faults.push(self.path, line, what);
    }

    /// Says that something is missing: the place is the section's.
    pub fn missing(&mut self, option: &str, what: impl AsRef<str>) {
        self.fault(option, self.line(), what);
    }

    /// Says that the section itself is wrong.
    pub fn fault_here(&mut self, what: impl AsRef<str>) {
        let what = format!("{}: {}", self.address, what.as_ref());
        let line = self.line();
        self.faults.push(self.path, line, what);
    }

    /// The section's line; 0 if it is not in the file.
    pub fn line(&self) -> u32 {
        self.section.map_or(0, |section| section.kind.at.line)
    }

    /// The section's name, if it has one.
    pub fn name(&self) -> Option<&'a str> {
        self.section?.name.as_ref().map(|name| name.text.as_str())
    }

    /// What UCI calls the section within the file: its name, or `@acl[2]`.
    pub fn section_name(&self) -> &str {
        let address = self.address.split_once('.');
        address.map_or(self.address.as_str(), |(_, name)| name)
    }

    /// Whether the option is written in the file, rightly or not.
    pub fn is_set(&self, option: &str) -> bool {
        self.section
            .is_some_and(|section| section.value(option).is_some())
    }

    /// The line of an option, else the section's.
    pub fn line_of(&self, option: &str) -> u32 {
        let entry = self.section.and_then(|section| {
            section
                .entries
                .iter()
                .find(|entry| entry.name.text == option)
        });
        entry.map_or(self.line(), |entry| entry.name.at.line)
    }

    /// The option's value: what is written, else the table's default, else nothing.
    pub fn optional<T>(&self, option: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let row = self.row(option);
        let written = match self.section.and_then(|section| section.value(option)) {
            Some(Value::Single(token)) => self.valid(row, token).and_then(&parse),
            _ => None,
        };
        written.or_else(|| match row.default {
            Absent::Is(text) => parse(text),
            Absent::Said(_) => None,
        })
    }

    /// The value of an option that has a default in the table.
    pub fn required<T>(&self, option: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        self.optional(option, parse)
            .expect("the table gives it a default, and a test holds defaults to their kinds")
    }

    /// A yes or no.
    pub fn flag(&self, option: &str) -> bool {
        self.required(option, value::bool)
    }

    /// A number that its table's bounds fit into the type.
    pub fn number<T: TryFrom<u64>>(&self, option: &str) -> T {
        self.required(option, |text| {
            value::size(text).and_then(|number| T::try_from(number).ok())
        })
    }

    /// The items of a list with their lines.
    pub fn list<T>(&self, option: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<(T, u32)> {
        let row = self.row(option);
        let tokens = match self.section.and_then(|section| section.value(option)) {
            Some(Value::Single(token)) => std::slice::from_ref(token),
            Some(Value::List(items)) => items,
            None => &[],
        };
        let valid = tokens
            .iter()
            .filter_map(|token| self.valid(row, token).map(|text| (text, token.at.line)));
        valid
            .filter_map(|(text, line)| Some((parse(text)?, line)))
            .collect()
    }

    /// The texts of a list.
    pub fn texts(&self, option: &str) -> Vec<String> {
        self.list(option, text)
            .into_iter()
            .map(|(text, _)| text)
            .collect()
    }

    fn valid<'t>(&self, row: &OptionRow, token: &'t Token) -> Option<&'t str> {
        value::is_valid(&token.text, row.kind).then_some(token.text.as_str())
    }

    fn row(&self, option: &str) -> &'static OptionRow {
        self.table
            .option(option)
            .expect("the sections' files ask for options of their tables only")
    }
}

/// The value as it is written.
pub fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}
