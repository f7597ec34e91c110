//! What is wrong with a bridge beside its configuration: files that are missing, unreadable or out of date. Entered through
//! [`warnings`], by the command `check`.
//!
//! None of it keeps the bus from starting, nor a bridge from trying again: a certificate may come later. It connects to nothing.

use std::path::Path;

use super::foris;
use crate::config::{Bridge, Config, Reach};
use crate::net::dial::password;
use crate::net::tls::client::ClientTls;

/// Something that will keep a bridge from connecting, and the line of its section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The line; 0 if none.
    pub line: u32,
    /// What is wrong, beginning with the section's UCI address.
    pub what: String,
}

/// Looks at the files of all enabled bridges and subordinates, in the order of the file.
pub fn warnings(config: &Config, root: &Path) -> Vec<Warning> {
    let links = foris::links(&config.subordinates, root, None);
    let mut warnings: Vec<_> = config
        .bridges
        .iter()
        .chain(&links)
        .flat_map(|bridge| of(bridge, root))
        .collect();
    for subordinate in config.subordinates.iter().filter(|other| other.enabled) {
        let Reach::Via(via) = &subordinate.reach else {
            continue;
        };
        let through = config.subordinates.iter().find(|other| other.id == *via);
        let reason = match through {
            Some(other) if matches!(other.reach, Reach::Via(_)) => "is no subordinate itself",
            Some(other) if !other.enabled => "is disabled",
            Some(_) => continue,
            None => "is no subordinate",
        };
        let via = crate::log::Escaped(via);
        warnings.push(Warning {
            line: subordinate.line.0,
            what: format!(
                "fosquitto.{}.via: '{via}' {reason}: it is not reached",
                subordinate.id
            ),
        });
    }
    warnings.sort_by_key(|warning| warning.line);
    warnings
}

fn of(bridge: &Bridge, root: &Path) -> Vec<Warning> {
    let mut found = match bridge.tls.as_ref().map(|tls| ClientTls::build(tls, root)) {
        Some(Ok(tls)) => tls.warnings().to_vec(),
        Some(Err(faults)) => faults,
        None => Vec::new(),
    };
    if let Some(path) = &bridge.password_file {
        found.extend(password(path).err());
    }
    let warning = |what| Warning {
        line: bridge.line.0,
        what: format!("fosquitto.{}: {what}", bridge.name),
    };
    found.into_iter().map(warning).collect()
}
