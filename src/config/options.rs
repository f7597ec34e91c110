//! The one table of all sections and options: their names, kinds, defaults and what they mean. Entered through
//! [`tables`], from which the parsers check a file, and through [`markdown`], with which the README is compared.
//!
//! An option that is not here does not exist; a default stands here and nowhere else. What an option's value becomes
//! is said in the file of its section.

mod bridge;
mod table;

use table::TABLES;

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no, in libuci's words.
    Bool,
    /// Bytes, with K, M or G.
    Size {
        /// The smallest, in bytes.
        min: u64,
        /// The largest, in bytes.
        max: u64,
    },
    /// A time, with s, m, h, d or w.
    Duration {
        /// The shortest, in seconds.
        min_s: u64,
        /// The longest, in seconds.
        max_s: u64,
    },
    /// A number.
    Count {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A TCP port; 0 lets the kernel choose.
    Port,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A name without control characters.
    Name,
    /// An absolute path, taken as it stands.
    Path,
    /// An IP address, a link-local one with its device.
    Address,
    /// An IP address.
    Ip,
    /// A network device's name.
    Device,
    /// A certificate's SHA-256 fingerprint.
    Fingerprint,
    /// A topic filter in which `%u` and `%c` may stand for a level.
    Topic,
    /// A topic filter without placeholders.
    Filter,
    /// A topic's beginning.
    MountPoint,
    /// Where a web page comes from, as browsers say it, or `*`.
    Origin,
    /// A topic without wildcards in which `%u` and `%c` may stand for a level.
    OwnTopic,
    /// Another server, as MQTT clients are told of it.
    Server,
    /// Where another broker is.
    Remote,
    /// The TCP port of another device.
    RemotePort,
    /// A host's name or address.
    Host,
    /// A protocol's name in a TLS handshake.
    Alpn,
    /// A topic without wildcards.
    TopicName,
    /// What a bridge forwards, in the words of mosquitto's configuration.
    BridgeTopic,
}

impl Kind {
    /// The short name of the kind in the option tables.
    pub fn name(self) -> String {
        match self {
            Kind::Bool => "bool".into(),
            Kind::Size { .. } => "size".into(),
            Kind::Duration { .. } => "time".into(),
            Kind::Count { .. } => "number".into(),
            Kind::Port | Kind::RemotePort => "port".into(),
            Kind::Word(words) => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Kind::Name | Kind::Alpn => "name".into(),
            Kind::Path => "path".into(),
            Kind::Address | Kind::Ip => "IP address".into(),
            Kind::Device => "device".into(),
            Kind::Fingerprint => "SHA-256 fingerprint".into(),
            Kind::Topic | Kind::Filter => "topic filter".into(),
            Kind::MountPoint | Kind::OwnTopic | Kind::TopicName => "topic".into(),
            Kind::Origin => "origin".into(),
            Kind::Server | Kind::Remote => "host:port".into(),
            Kind::Host => "host".into(),
            Kind::BridgeTopic => "topic mapping".into(),
        }
    }

    /// What is expected, as the end of "'x' is not …".
    pub fn expected(self) -> String {
        match self {
            Kind::Bool => {
                "a yes or no (1 or 0, true or false, yes or no, on or off, enabled or disabled)"
                    .into()
            }
            Kind::Size { min, max } => {
                format!(
                    "a size (bytes, or with K, M or G; {} to {})",
                    in_bytes(min),
                    in_bytes(max)
                )
            }
            Kind::Duration { min_s, max_s } => {
                format!(
                    "a time (seconds, or with m, h, d or w; {} to {})",
                    in_time(min_s),
                    in_time(max_s)
                )
            }
            Kind::Count { min, max } => format!("a number ({min}-{max})"),
            Kind::Port | Kind::RemotePort => "a port (1-65535)".into(),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Name => "a name (not empty, no control characters)".into(),
            Kind::Path => "an absolute path".into(),
            Kind::Address => {
                "an IP address (a link-local one needs its device: fe80::1%br-lan)".into()
            }
            Kind::Ip => "an IP address".into(),
            Kind::Device => "a network device's name (1 to 15 characters)".into(),
            Kind::Fingerprint => "a SHA-256 fingerprint (64 hexadecimal digits)".into(),
            Kind::Topic | Kind::Filter => "a topic filter".into(),
            Kind::MountPoint => "the beginning of a topic (no +, # or $)".into(),
            Kind::Origin => {
                "an origin (https://host or http://host:port without a path, or *)".into()
            }
            Kind::OwnTopic => {
                "a topic (no +, # or $; '%u' and '%c' must be alone in their level)".into()
            }
            Kind::Server => "a server (host, host:port, or [IPv6 address]:port)".into(),
            Kind::Remote => {
                "a broker's address (host, host:port, IPv4:port, or [IPv6 address]:port)".into()
            }
            Kind::Host => "a host's name or address".into(),
            Kind::Alpn => "a protocol's name (1 to 255 visible characters)".into(),
            Kind::TopicName => "a topic (no + or #)".into(),
            Kind::BridgeTopic => {
                "PATTERN [out, in or both [QOS [LOCAL_PREFIX [REMOTE_PREFIX]]]]".into()
            }
        }
    }
}

/// Bytes in the largest unit that divides them.
fn in_bytes(bytes: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let unit = units
        .iter()
        .find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    unit.map_or_else(
        || bytes.to_string(),
        |(shift, name)| format!("{}{name}", bytes >> shift),
    )
}

/// Seconds in the largest unit that divides them.
fn in_time(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units
        .iter()
        .find(|(length, _)| seconds > 0 && seconds.is_multiple_of(*length));
    unit.map_or_else(
        || seconds.to_string(),
        |(length, name)| format!("{}{name}", seconds / length),
    )
}

/// What holds when an option is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// This value, as it would be written.
    Is(&'static str),
    /// Something that no single value says, told in words.
    Said(&'static str),
}

/// One option of a section.
#[derive(Debug, Clone, Copy)]
pub struct OptionRow {
    /// Its name.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Whether it is a list (`list NAME`); a single `option NAME` is then a list of one.
    pub list: bool,
    /// What holds when it is absent.
    pub default: Absent,
    /// What it does, in Markdown, without a line's end.
    pub doc: &'static str,
}

/// How the sections of a type are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// There is one, of this name.
    Fixed(&'static str),
    /// Each has a name, which means what is told here.
    Named(&'static str),
    /// A name is allowed and means nothing.
    Free,
}

/// One type of section.
#[derive(Debug, Clone, Copy)]
pub struct SectionTable {
    /// The type, as in `config TYPE`.
    pub kind: &'static str,
    /// How its sections are named.
    pub naming: Naming,
    /// What it is for, in Markdown.
    pub doc: &'static str,
    /// Its options.
    pub options: &'static [OptionRow],
}

impl SectionTable {
    /// The row of an option, if the section has such an option.
    pub fn option(&self, name: &str) -> Option<&'static OptionRow> {
        self.options.iter().find(|row| row.name == name)
    }
}

/// The table of a section type, if there is such a type.
pub fn table(kind: &str) -> Option<&'static SectionTable> {
    TABLES.iter().find(|table| table.kind == kind)
}

/// All section types in the order in which they are documented.
pub fn tables() -> &'static [SectionTable] {
    TABLES
}

/// The option tables of all sections as Markdown: a heading, a sentence and a table each.
pub fn markdown() -> String {
    TABLES
        .iter()
        .map(section_markdown)
        .collect::<Vec<_>>()
        .join("\n")
}

fn section_markdown(table: &SectionTable) -> String {
    let heading = match table.naming {
        Naming::Fixed(name) => format!("config {} '{name}'", table.kind),
        Naming::Named(name) => format!("config {} '{name}'", table.kind),
        Naming::Free => format!("config {}", table.kind),
    };
    let mut text = format!("#### `{heading}`\n\n{}\n\n", table.doc);
    text += "| option | type | default | description |\n|---|---|---|---|\n";
    for row in table.options {
        let list = if row.list { "list of " } else { "" };
        let default = match row.default {
            Absent::Is(value) => format!("`{value}`"),
            Absent::Said(words) => words.into(),
        };
        text += &format!(
            "| `{}` | {list}{} | {default} | {} |\n",
            row.name,
            row.kind.name(),
            row.doc
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_valid_value_of_its_option() {
        for table in tables() {
            for row in table.options {
                if let Absent::Is(value) = row.default {
                    assert!(
                        super::super::value::is_valid(value, row.kind),
                        "{}.{}",
                        table.kind,
                        row.name
                    );
                    assert!(
                        !row.list,
                        "{}.{}: a list has no default value",
                        table.kind, row.name
                    );
                }
            }
        }
    }

    #[test]
    fn no_option_is_declared_twice_and_every_one_has_a_sentence() {
        for table in tables() {
            for (index, row) in table.options.iter().enumerate() {
                let earlier = &table.options[..index];
                assert!(
                    earlier.iter().all(|other| other.name != row.name),
                    "{}.{}",
                    table.kind,
                    row.name
                );
                assert!(row.doc.ends_with('.'), "{}.{}", table.kind, row.name);
                assert!(
                    !row.doc.contains(['|', '\n']),
                    "{}.{} breaks the table",
                    table.kind,
                    row.name
                );
            }
        }
    }

    #[test]
    fn markdown_has_one_row_for_each_option() {
        let rows = markdown()
            .lines()
            .filter(|line| line.starts_with("| `"))
            .count();
        assert_eq!(
            rows,
            tables()
                .iter()
                .map(|table| table.options.len())
                .sum::<usize>()
        );
        assert!(markdown().contains("| `port` | port | `11883` | "));
    }

    #[test]
    fn bounds_are_shown_in_the_largest_unit() {
        assert_eq!(
            Kind::Size {
                min: 1 << 10,
                max: 256 << 20
            }
            .expected(),
            "a size (bytes, or with K, M or G; 1K to 256M)"
        );
        assert_eq!(in_time(0), "0");
        assert_eq!(in_time(86_400), "1d");
        assert_eq!(in_time(90), "90");
    }
}
