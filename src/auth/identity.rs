//! The proof that a client is who it says it is.
//!
//! An [`Identity`] is made by the modules beside this one only; everyone else is handed one. It holds no right: `acl` gives those.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Who a client was proved to be. Cheap to clone, and it crosses threads.
///
/// Two identities are equal when their user names are: a session that was opened with a password is the same user's when it comes
/// back with a certificate. All anonymous clients are one identity.
#[derive(Clone)]
pub struct Identity {
    user: Option<Arc<str>>,
    groups: Arc<[Box<str>]>,
    means: Means,
}

/// By which proof an identity came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// The listener lets clients in that gave neither a user name nor a certificate.
    Anonymous,
    /// A user name and its password, or the proof of knowing it.
    Password,
    /// A certificate of the listener's CA.
    Certificate,
}

impl Identity {
    pub(super) fn anonymous() -> Identity {
        Identity {
            user: None,
            groups: Arc::default(),
            means: Means::Anonymous,
        }
    }

    pub(super) fn of_user(user: Arc<str>, groups: Arc<[Box<str>]>, means: Means) -> Identity {
        Identity {
            user: Some(user),
            groups,
            means,
        }
    }

    /// The user name, which is `None` for an anonymous client. A client may have chosen it: it may hold `+`, `#` and `/`.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The groups that UCI puts the user in.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|group| &**group)
    }

    /// By which proof this identity came to be.
    pub fn means(&self) -> Means {
        self.means
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Identity) -> bool {
        self.user == other.user
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.user.hash(state);
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user() {
            Some(user) => write!(out, "{user:?} by {:?}", self.means),
            None => out.write_str("anonymous"),
        }
    }
}
