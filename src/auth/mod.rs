//! Who a client is: passwords, certificates, and the one place where an [`Identity`] is made.
//!
//! A listener has a [`Policy`]. When CONNECT has arrived, [`Policy::begin`] decides at once from the certificate, or hands back an
//! [`Attempt`] which the [`Verifier`] checks against the [`Credentials`] on its own thread, so that no password is ever hashed on
//! the event loop. A client that asks for enhanced authentication goes through an [`Exchange`] instead, whose few microseconds the
//! event loop can spare. Whoever holds an [`Identity`] knows that one of these ways was taken: nothing outside of this module
//! can make one.
//!
//! What it does not do: it does not say what an identity may do (that is `acl`), it does not speak TLS (that is `net::tls`, which
//! asks OpenSSL whether a certificate is of our CA before it ever gets here).

mod certificate;
mod credentials;
mod exchange;
pub(crate) mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod guard;
mod identity;
mod passwd_file;
mod password;
mod policy;
mod scram;
mod scram_file;
#[cfg(test)]
pub(crate) mod testing;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};

pub use certificate::{common_name, describe, fingerprint, subject};
pub use credentials::{
    Credentials, LOCAL_USER, LocalCredentials, check_user, ensure_local, ensure_scram_secret,
    remove_user, set_user, users,
};
pub use exchange::{Exchange, Progress};
pub use guard::{Guard, LeftOut, Rates, Takeover, Throttle};
pub use identity::{Identity, Means};
pub use password::Secret;
pub use policy::{Attempt, Denied, Policy, Step};
pub use scram::MECHANISM;
pub use worker::{Verdict, Verifier};

/// What is wrong with a file of credentials. It reaches as far as the file: none of its users can log in until it is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1, if the fault lies in one.
    pub line: Option<usize>,
    /// What is wrong and what was expected; no password and no hash is ever part of it.
    pub what: String,
}

impl Fault {
    fn of_file(path: &Path, what: impl Into<String>) -> Fault {
        Fault {
            path: path.to_owned(),
            line: None,
            what: what.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(out, "{line}:")?;
        }
        write!(out, " {}", self.what)
    }
}
