//! The sections `persistence` and `durability`: what survives the process, and where it is kept. Entered through
//! [`Persistence::read`] and [`class`].
//!
//! It opens no database and looks at no file system: what an absent `size_limit` comes to is found out by who opens it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::section::{Reader, text};
use super::value;

/// What survives the process, and where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persistence {
    /// What holds for the topics of none of `classes`, and for sessions and subscriptions.
    pub durability: Durability,
    /// The database.
    pub path: PathBuf,
    /// How long a change waits for others before they are written together; not zero.
    pub flush_interval: Duration,
    /// The most bytes of the database; `None`: as much of the flash as the free space allows.
    pub size_limit: Option<u64>,
    /// Bytes a day to the flash, after which `flush_interval` is stretched; `None`: no bound.
    pub daily_budget: Option<u64>,
    /// Topics that have a class of their own, in their order: the first one that matches decides.
    pub classes: Vec<TopicClass>,
}

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing but this process.
    Volatile,
    /// To survive the end of the process; a power cut takes the last `flush_interval`.
    Interval,
    /// To survive a power cut.
    Commit,
}

/// Topics whose messages have a class of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicClass {
    /// A well-formed topic filter.
    pub filter: String,
    /// The class of their messages.
    pub class: Durability,
}

impl Persistence {
    /// The section without its classes, which have sections of their own. The default path is below the root.
    pub(super) fn read(reader: &Reader<'_>, root: &Path) -> Self {
        let budget: u64 = reader.number("daily_budget");
        Persistence {
            durability: reader.required("durability", durability),
            path: reader
                .optional("path", value::path)
                .unwrap_or_else(|| root.join("etc/fosquitto/fosquitto.db")),
            flush_interval: reader.required("flush_interval", value::duration),
            size_limit: reader.optional("size_limit", value::size),
            daily_budget: (budget > 0).then_some(budget),
            classes: Vec::new(),
        }
    }
}

/// The topics of one section `durability`, each with its class.
pub(super) fn class(reader: &mut Reader<'_>) -> Vec<TopicClass> {
    if !reader.is_set("topic") {
        reader.missing("topic", "is missing: the topics that the class is for");
    }
    if !reader.is_set("class") {
        reader.missing("class", "is missing: volatile, interval or commit");
    }
    let Some(class) = reader.optional("class", durability) else {
        return Vec::new();
    };
    let filters = reader.list("topic", text).into_iter();
    filters
        .map(|(filter, _)| TopicClass { filter, class })
        .collect()
}

fn durability(text: &str) -> Option<Durability> {
    match text {
        "volatile" => Some(Durability::Volatile),
        "interval" => Some(Durability::Interval),
        "commit" => Some(Durability::Commit),
        _ => None,
    }
}
