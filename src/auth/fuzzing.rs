//! The readers of the files of credentials as the fuzz targets call them (`crate::fuzzing`): users and faults come out, and no hash.

use std::path::Path;

use super::{Fault, passwd_file, scram_file};

/// Reads a password file: its users in order.
///
/// # Errors
/// All its faults.
pub fn passwd(content: &[u8]) -> Result<Vec<String>, Vec<Fault>> {
    passwd_file::parse(Path::new("passwd"), content).map(|users| sorted(users.into_keys()))
}

/// Reads a file of SCRAM keys: its users in order.
///
/// # Errors
/// All its faults.
pub fn scram(content: &[u8]) -> Result<Vec<String>, Vec<Fault>> {
    scram_file::parse(Path::new("scram"), content).map(|users| sorted(users.into_keys()))
}

/// Replaces, adds or takes away a user's line; whether the user was there.
pub fn replace_user(content: &[u8], user: &str, hash: Option<&str>) -> (Vec<u8>, bool) {
    passwd_file::replace(content, user, hash)
}

fn sorted(users: impl Iterator<Item = Box<str>>) -> Vec<String> {
    let mut users: Vec<String> = users.map(String::from).collect();
    users.sort();
    users
}
