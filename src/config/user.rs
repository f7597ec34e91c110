//! The section `user`: groups and certificate pins. Entered through [`User::read`]. Passwords are not here: they live
//! in files that `fosquitto passwd` writes, and a user needs no section to have one.

use super::section::{Reader, text};
use super::value;

/// What is known of a user beside the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user name as in CONNECT or in the certificate.
    pub name: String,
    /// The groups for access rules.
    pub groups: Vec<String>,
    /// SHA-256 fingerprints of the certificates of which one must be shown where certificates are asked for, each of 64
    /// lower-case hexadecimal digits; any certificate of the listener's CA will do if empty.
    pub pins: Vec<String>,
}

impl User {
    /// `None` if it has no name, which is a fault already.
    pub(super) fn read(reader: &Reader<'_>) -> Option<Self> {
        let name = reader
            .optional("name", text)
            .or_else(|| reader.name().map(str::to_owned))?;
        let pins = reader
            .list("pin", value::fingerprint)
            .into_iter()
            .map(|(pin, _)| pin)
            .collect();
        Some(User {
            name,
            groups: reader.texts("group"),
            pins,
        })
    }
}
