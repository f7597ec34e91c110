//! The file `scram`: what a proof by SCRAM is verified with, one line a user.
//!
//! `USER:SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`, the form of RFC 5803 that PostgreSQL keeps too; empty lines and comments as in
//! `passwd`. It is a file of its own because mosquitto refuses a password file with lines that it does not know, and because these keys cannot be
//! computed from mosquitto's hashes: they need the password, so they are written whenever a password is set.
//!
//! A user's salt is a fingerprint of its line in the password file. Keys whose salt is not that of the present line belong to a former
//! password, which another program has changed, or to a user whom one has deleted: they count for nothing. What was made for
//! a password goes with it, and `passwd` alone says who may come in.
//!
//! What this does not do: it opens no file (`credentials`) and judges no proof (`scram`).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use openssl::error::ErrorStack;

use super::Fault;
use super::passwd_file::{self, Entries, Users};
use super::password::{Hash, Secret};
use super::scram::{Keys, NEW_ITERATIONS, SALT_BYTES};

/// The users of the file and their keys.
pub(super) type KeysOfUsers = Entries<Keys>;

const SECRET_BYTES: usize = 32;

/// The keys of all users, those who do not exist included.
pub(super) struct Secrets {
    keys: KeysOfUsers,
    secret: [u8; SECRET_BYTES],
}

impl Secrets {
    /// These keys, and a secret for the keys of everybody else.
    pub(super) fn new(keys: KeysOfUsers, secret: [u8; SECRET_BYTES]) -> Secrets {
        Secrets { keys, secret }
    }

    /// A user's keys; made-up ones for a user who has none, at the same cost.
    ///
    /// # Errors
    /// OpenSSL has no SHA-256 to give.
    pub(super) fn keys_of(&self, user: &str) -> Result<Keys, ErrorStack> {
        let made_up = Keys::made_up(&self.secret, user)?;
        Ok(self.keys.get(user).cloned().unwrap_or(made_up))
    }
}

/// Reads the file.
///
/// # Errors
/// All its faults; there is no partial result.
pub(super) fn parse(path: &Path, content: &[u8]) -> Result<KeysOfUsers, Vec<Fault>> {
    passwd_file::parse_entries(path, content, Keys::parse)
}

/// The text for the file: keys of a password of which this is the hash.
///
/// # Errors
/// OpenSSL has no SHA-256 to give.
pub(super) fn make_for(password: &[u8], hash: &Hash) -> Result<String, ErrorStack> {
    Keys::derive(password, salt_of(hash), NEW_ITERATIONS).map(|keys| keys.to_string())
}

/// The same for a hash that was just made, as text.
///
/// # Errors
/// OpenSSL has no SHA-256 to give.
pub(super) fn make(password: &[u8], hash: &str) -> Result<String, ErrorStack> {
    let hash = Hash::parse(hash).expect("what was made can be read");
    make_for(password, &hash)
}

/// Whether keys are those of the password of which this is the hash.
pub(super) fn fits(keys: &Keys, hash: &Hash) -> bool {
    keys.salt() == salt_of(hash)
}

/// Drops the keys that are not those of a present password, and says in words whose these are, if there are any.
pub(super) fn drop_stale(keys: &mut KeysOfUsers, users: &Users) -> Option<String> {
    let count = keys.len();
    let mut example: Option<Box<str>> = None;
    keys.retain(|user, keys| {
        let counts = users.get(user).is_some_and(|hash| fits(keys, hash));
        if !counts {
            example.get_or_insert_with(|| user.clone());
        }
        counts
    });
    let stale = count - keys.len();
    example.map(|user| {
        format!(
            "the keys of {stale} users, {user:?} among them, are not those of a present password and count for nothing: \
             'fosquitto passwd' makes new ones"
        )
    })
}

/// The secret in the file `scram.secret`.
pub(super) fn parse_secret(content: &[u8]) -> Option<[u8; SECRET_BYTES]> {
    let secret = BASE64.decode(content.strip_suffix(b"\n")?).ok()?;
    secret.try_into().ok()
}

/// The content of a new file `scram.secret`.
///
/// # Errors
/// OpenSSL has no random numbers to give.
pub(super) fn new_secret() -> Result<Secret, ErrorStack> {
    let mut secret = [0; SECRET_BYTES];
    openssl::rand::rand_bytes(&mut secret)?;
    Ok(Secret::of(format!("{}\n", BASE64.encode(secret)).into()))
}

fn salt_of(hash: &Hash) -> [u8; SALT_BYTES] {
    let mut salt = [0; SALT_BYTES];
    salt.copy_from_slice(&hash.fingerprint()[..SALT_BYTES]);
    salt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_count_as_long_as_the_password_they_were_made_for() {
        let [old, new] = [b"old", b"new"].map(|password| Hash::make(password).expect("OpenSSL"));
        let keys = make(b"old", &old).expect("OpenSSL hashes");
        let parsed = || parse(Path::new("scram"), format!("ann:{keys}\n").as_bytes());
        let users = |text: String| passwd_file::parse(Path::new("passwd"), text.as_bytes());
        for (passwd, counts) in [
            (format!("ann:{old}\n"), true),
            (format!("ann:{new}\n"), false),
            (format!("bob:{old}\n"), false),
            (String::new(), false),
        ] {
            let mut keys = parsed().expect("sound");
            let stale = drop_stale(&mut keys, &users(passwd).expect("sound"));
            assert_eq!(keys.contains_key("ann"), counts);
            assert_eq!(stale.is_none(), counts);
        }
    }

    #[test]
    fn one_bad_line_refuses_the_file_with_all_its_faults() {
        let hash = Hash::make(b"x").expect("OpenSSL hashes");
        let keys = make(b"x", &hash).expect("OpenSSL hashes");
        let content = format!("# comment\n\na:{keys}\nb:{hash}\na:{keys}\nc\n");
        let faults = parse(Path::new("scram"), content.as_bytes()).err();
        let lines: Vec<_> = faults
            .into_iter()
            .flatten()
            .map(|fault| fault.line)
            .collect();
        assert_eq!(lines, [Some(4), Some(5), Some(6)]);
    }

    #[test]
    fn a_secret_is_read_as_it_was_written_and_nothing_else_is_one() {
        let secret = new_secret().expect("OpenSSL has random numbers");
        assert!(parse_secret(secret.expose()).is_some());
        for content in [&b""[..], b"\n", b"AAAA\n", &secret.expose()[..44]] {
            assert_eq!(parse_secret(content), None);
        }
    }
}
