//! The sections `subordinate` and `subsubordinate`: devices whose controllers are reached through this one, written by
//! the router's subordinates page. Entered through [`Subordinate::direct`] and [`Subordinate::indirect`]. What they mean is
//! said in `bridge::foris`.
//!
//! A `via` that names no subordinate is no fault: the page removes sections one at a time, and a bus that does not
//! start over a leftover helps nobody. `check` warns of it.

use std::net::IpAddr;

use super::bridge::Line;
use super::section::{Reader, text};

/// The port of another device's remote side, if its section does not say another.
const PORT: u16 = 11_884;

/// A device below this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subordinate {
    /// Its controller id: the section's name.
    pub id: String,
    /// Where it was asked for.
    pub line: Line,
    /// Whether its messages are forwarded.
    pub enabled: bool,
    /// How it is reached.
    pub reach: Reach,
}

/// How a subordinate is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// By a connection of our own.
    Direct {
        /// Its address; `None`: it is found on the network.
        address: Option<IpAddr>,
        /// The port of its remote side.
        port: u16,
    },
    /// Through the subordinate with this id.
    Via(String),
}

impl Subordinate {
    /// A `subordinate`. `None` if it has no name, which is a fault already.
    pub(super) fn direct(reader: &mut Reader<'_>) -> Option<Self> {
        let mut port = reader.number("port");
        if port == 0 {
            let line = reader.line_of("port");
            reader.fault(
                "port",
                line,
                "'0' is not a port (1-65535): it is the other device's",
            );
            port = PORT;
        }
        let address = reader.optional("address", |text| text.parse().ok());
        let reach = Reach::Direct { address, port };
        Some(Subordinate {
            id: reader.name()?.to_owned(),
            line: Line(reader.line()),
            enabled: reader.flag("enabled"),
            reach,
        })
    }

    /// A `subsubordinate`. `None` if it lacks something, which is a fault then.
    pub(super) fn indirect(reader: &mut Reader<'_>) -> Option<Self> {
        if !reader.is_set("via") {
            reader.missing(
                "via",
                "is missing: the ID of the subordinate through which it is reached",
            );
        }
        let via = reader.optional("via", text)?;
        Some(Subordinate {
            id: reader.name()?.to_owned(),
            line: Line(reader.line()),
            enabled: reader.flag("enabled"),
            reach: Reach::Via(via),
        })
    }
}
