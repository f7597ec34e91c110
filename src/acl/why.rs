//! What is asked of the rules and what they answer. Entered by naming [`Action`] and [`Decision`]; the deciding itself
//! is in `rules`.

use std::fmt::{self, Display, Formatter};

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publish to a topic name.
    Write,
    /// Receive a message of a topic name.
    Read,
    /// Subscribe to a topic filter, without its `$share/GROUP/`.
    Subscribe,
}

/// Whether something is allowed, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is.
    pub allowed: bool,
    /// The line of the rule that says so, in the file of the configuration; `None` if no rule matches and the default
    /// says so.
    pub line: Option<u32>,
}

/// `allowed by the rule in line 12`, `denied by the default`.
impl Display for Decision {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allowed {
            "allowed by "
        } else {
            "denied by "
        })?;
        match self.line {
            Some(line) => write!(f, "the rule in line {line}"),
            None => f.write_str("the default"),
        }
    }
}
