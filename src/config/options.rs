//! The one table of all sections and options: their names, kinds, defaults and what they mean. Entered through
//! [`tables`], from which the parsers check a file, and through [`markdown`], with which the README is compared.
//!
//! An option that is not here does not exist; a default stands here and nowhere else. What an option's value becomes
//! is said in the file of its section.

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
    /// A topic's beginning.
    MountPoint,
}

impl Kind {
    /// The short name of the kind in the option tables.
    pub fn name(self) -> String {
        match self {
            Kind::Bool => "bool".into(),
            Kind::Size { .. } => "size".into(),
            Kind::Duration { .. } => "time".into(),
            Kind::Count { .. } => "number".into(),
            Kind::Port => "port".into(),
            Kind::Word(words) => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Kind::Name => "name".into(),
            Kind::Path => "path".into(),
            Kind::Address | Kind::Ip => "IP address".into(),
            Kind::Device => "device".into(),
            Kind::Fingerprint => "SHA-256 fingerprint".into(),
            Kind::Topic => "topic filter".into(),
            Kind::MountPoint => "topic".into(),
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
            Kind::Port => "a port (1-65535)".into(),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Name => "a name (not empty, no control characters)".into(),
            Kind::Path => "an absolute path".into(),
            Kind::Address => {
                "an IP address (a link-local one needs its device: fe80::1%br-lan)".into()
            }
            Kind::Ip => "an IP address".into(),
            Kind::Device => "a network device's name (1 to 15 characters)".into(),
            Kind::Fingerprint => "a SHA-256 fingerprint (64 hexadecimal digits)".into(),
            Kind::Topic => "a topic filter".into(),
            Kind::MountPoint => "the beginning of a topic (no +, # or $)".into(),
        }
    }
}

/// Bytes in the largest unit that divides them.
fn in_bytes(bytes: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let unit = units
        .iter()
        .find(|(shift, _)| bytes > 0 && bytes % (1 << shift) == 0);
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
        .find(|(length, _)| seconds > 0 && seconds % length == 0);
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

const fn option(name: &'static str, kind: Kind, default: Absent, doc: &'static str) -> OptionRow {
    OptionRow {
        name,
        kind,
        list: false,
        default,
        doc,
    }
}

const fn list(name: &'static str, kind: Kind, default: Absent, doc: &'static str) -> OptionRow {
    OptionRow {
        name,
        kind,
        list: true,
        default,
        doc,
    }
}

use Absent::{Is, Said};
use Kind::{Bool, Count, Duration, Port, Size, Word};

/// MQTT's largest packet: a remaining length of 268,435,455 bytes and its header.
const PACKET_MAX: u64 = 256 << 20;
/// Memory sizes fit a 32-bit router's address space.
const MEMORY_MAX: u64 = 2 << 30;
/// A hundred years: a longer time in a file is a slip.
const YEARS_100_S: u64 = 36_500 * 86_400;
/// MQTT's packet identifiers limit the messages in flight.
const INFLIGHT_MAX: u64 = 65_535;

const TABLES: &[SectionTable] = &[
    SectionTable {
        kind: "global",
        naming: Naming::Fixed("global"),
        doc: "What holds for the whole bus.",
        options: &[
            option(
                "debug",
                Bool,
                Is("0"),
                "Log everything, whatever `log_level` says.",
            ),
            option(
                "log_level",
                Word(&["error", "warning", "notice", "info", "debug"]),
                Is("notice"),
                "Log this and what is worse.",
            ),
            option(
                "memory_limit",
                Size {
                    min: 1 << 20,
                    max: MEMORY_MAX,
                },
                Said("a share of the RAM"),
                "The ceiling of what all clients' data may take together.",
            ),
            option(
                "max_packet_size",
                Size {
                    min: 1 << 10,
                    max: PACKET_MAX,
                },
                Is("16M"),
                "The largest packet that is accepted.",
            ),
            option(
                "max_inflight",
                Count {
                    min: 1,
                    max: INFLIGHT_MAX,
                },
                Is("20"),
                "So many messages with QoS 1 or 2 are on the way to one client at once.",
            ),
            option(
                "queue_messages",
                Count {
                    min: 1,
                    max: 1_000_000,
                },
                Is("1000"),
                "So many messages wait for one client.",
            ),
            option(
                "queue_bytes",
                Size {
                    min: 1 << 10,
                    max: MEMORY_MAX,
                },
                Is("1M"),
                "So many bytes wait for one client; a larger message waits alone.",
            ),
            option(
                "qos0_queue_ttl",
                Duration {
                    min_s: 0,
                    max_s: YEARS_100_S,
                },
                Is("60"),
                "So long a message with QoS 0 waits for a client that is away; 0: not at all.",
            ),
            option(
                "session_expiry",
                Duration {
                    min_s: 0,
                    max_s: YEARS_100_S,
                },
                Is("1d"),
                "So long the session of an MQTT 3 client that is away is kept.",
            ),
            option(
                "max_session_expiry",
                Duration {
                    min_s: 0,
                    max_s: YEARS_100_S,
                },
                Said("no limit"),
                "The longest that an MQTT 5 client may ask its session to be kept.",
            ),
            option(
                "sys_interval",
                Duration {
                    min_s: 0,
                    max_s: 86_400,
                },
                Is("10"),
                "So often the `$SYS` topics are renewed; 0: never.",
            ),
            option(
                "acl_default",
                Word(&["allow", "deny"]),
                Is("allow"),
                "What holds when no `acl` section matches.",
            ),
            option(
                "connect_timeout",
                Duration {
                    min_s: 1,
                    max_s: 3_600,
                },
                Is("15"),
                "The TLS handshake and the CONNECT packet must be there within this time together.",
            ),
            option(
                "max_unauthenticated",
                Count {
                    min: 1,
                    max: 65_535,
                },
                Is("64"),
                "So many connections of one listener may be without an accepted CONNECT at once.",
            ),
        ],
    },
    SectionTable {
        kind: "local",
        naming: Naming::Fixed("local"),
        doc: "The router's own programs: 127.0.0.1 and ::1, with a user name and a password.",
        options: &[
            option("enabled", Bool, Is("1"), "Whether it listens."),
            option(
                "port",
                Port,
                Is("11883"),
                "The TCP port; 0: the kernel chooses one.",
            ),
        ],
    },
    SectionTable {
        kind: "remote",
        naming: Naming::Fixed("remote"),
        doc: "Other devices: all addresses, by TLS with the certificates of `/etc/ssl/ca/remote`. Every client needs a \
              certificate of that CA; its common name is the user name.",
        options: &[
            option("enabled", Bool, Is("0"), "Whether it listens."),
            option(
                "port",
                Port,
                Is("11884"),
                "The TCP port; 0: the kernel chooses one.",
            ),
        ],
    },
    SectionTable {
        kind: "listener",
        naming: Naming::Named("NAME"),
        doc: "A further listener, any number of them. It listens on all that `address`, `interface`, `device` and `unix` \
              name together; without any of them on all addresses, IPv4 and IPv6.",
        options: &[
            option("enabled", Bool, Is("1"), "Whether it listens."),
            option(
                "port",
                Port,
                Said("1883, with `tls` 8883"),
                "The TCP port; 0: the kernel chooses one.",
            ),
            list(
                "address",
                Kind::Address,
                Said("none"),
                "An address to listen on; it may come later.",
            ),
            list(
                "interface",
                Kind::Name,
                Said("none"),
                "An interface of `/etc/config/network`, by its name there.",
            ),
            list(
                "device",
                Kind::Device,
                Said("none"),
                "A network device, such as `br-lan`.",
            ),
            list(
                "unix",
                Kind::Path,
                Said("none"),
                "The path of a Unix socket.",
            ),
            option(
                "protocol",
                Word(&["mqtt", "websocket"]),
                Is("mqtt"),
                "`websocket` is not available in this version.",
            ),
            option(
                "tls",
                Bool,
                Is("0"),
                "Whether connections are TLS; needs `cert` and `key`.",
            ),
            option(
                "ca",
                Kind::Path,
                Said("none"),
                "The CA certificates that clients' certificates are checked against.",
            ),
            option(
                "cert",
                Kind::Path,
                Said("none"),
                "The listener's certificate with its chain, in PEM.",
            ),
            option(
                "key",
                Kind::Path,
                Said("none"),
                "The key of the certificate, in PEM.",
            ),
            option(
                "crl",
                Kind::Path,
                Said("none"),
                "The certificates that the CA has revoked, in PEM.",
            ),
            option(
                "tls_min",
                Word(&["1.2", "1.3"]),
                Is("1.2"),
                "The oldest version of TLS that is spoken.",
            ),
            option(
                "require_certificate",
                Bool,
                Is("0"),
                "Whether a client needs a certificate; needs `ca`.",
            ),
            option(
                "identity",
                Word(&["cn", "subject", "username"]),
                Said("`cn` with `require_certificate`, else `username`"),
                "Who a client is: its certificate's common name, its certificate's subject, or the user name of its \
                 CONNECT with the password.",
            ),
            option(
                "allow_anonymous",
                Bool,
                Is("0"),
                "Whether a client without a user name is accepted.",
            ),
            option(
                "max_connections",
                Count {
                    min: 1,
                    max: 65_535,
                },
                Is("1000"),
                "So many connections at once.",
            ),
            option(
                "mount_point",
                Kind::MountPoint,
                Said("none"),
                "Put before every topic of this listener's clients.",
            ),
        ],
    },
    SectionTable {
        kind: "user",
        naming: Naming::Named("NAME"),
        doc: "What is known of a user beside the password, which is never in UCI: `fosquitto passwd` sets it.",
        options: &[
            option(
                "name",
                Kind::Name,
                Said("the section's name"),
                "The user name, if UCI cannot have it as a section's name.",
            ),
            list(
                "group",
                Kind::Name,
                Said("none"),
                "A group that the user is in, for `acl` sections.",
            ),
            list(
                "pin",
                Kind::Fingerprint,
                Said("any certificate"),
                "A certificate of which one must be shown, by the SHA-256 fingerprint that `openssl x509 -fingerprint -sha256` prints.",
            ),
        ],
    },
    SectionTable {
        kind: "acl",
        naming: Naming::Free,
        doc: "One rule of who may do what. The rules are asked in their order; the first one that matches decides, and \
              `acl_default` if none does.",
        options: &[
            list(
                "user",
                Kind::Name,
                Said("everyone"),
                "The rule is for this user.",
            ),
            list(
                "group",
                Kind::Name,
                Said("everyone"),
                "The rule is for the users of this group, beside those of `user`.",
            ),
            list(
                "listener",
                Kind::Name,
                Said("any"),
                "The rule is for the clients of this listener, `local` and `remote` included.",
            ),
            option(
                "access",
                Word(&["read", "write", "readwrite", "subscribe", "deny"]),
                Is("readwrite"),
                "What the rule is about: `read` is subscribing and receiving, `write` publishing, `subscribe` the \
                 subscribing alone; `deny` forbids everything.",
            ),
            list(
                "topic",
                Kind::Topic,
                Said("none: it is required"),
                "A topic filter; a level `%u` is the user name, a level `%c` the client id. A filter that begins with a \
                 wildcard does not mean topics that begin with `$`.",
            ),
            option(
                "action",
                Word(&["allow", "deny"]),
                Is("allow"),
                "Whether the rule allows or forbids.",
            ),
        ],
    },
    SectionTable {
        kind: "subordinate",
        naming: Naming::Named("ID"),
        doc: "A device whose controller is reached through this one. Written by the subordinates page.",
        options: &[
            option("enabled", Bool, Is("1"), "Whether it is connected to."),
            option(
                "address",
                Kind::Ip,
                Said("found on the network"),
                "Its address.",
            ),
            option("port", Port, Is("11884"), "The port of its remote side."),
        ],
    },
    SectionTable {
        kind: "subsubordinate",
        naming: Naming::Named("ID"),
        doc: "A device that is reached through a subordinate.",
        options: &[
            option(
                "enabled",
                Bool,
                Is("1"),
                "Whether its messages are forwarded.",
            ),
            option(
                "via",
                Kind::Name,
                Said("none: it is required"),
                "The ID of the subordinate.",
            ),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_valid_value_of_its_option() {
        for table in tables() {
            for row in table.options {
                if let Is(value) = row.default {
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
