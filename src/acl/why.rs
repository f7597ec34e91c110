//! What is asked of the rules and what they answer. Entered by naming [`Action`] and [`Decision`]; the deciding itself
//! is in `rules`.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::mqtt::topic;

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publish to a topic name.
    Write,
    /// Connect with a Will on a topic name; who may publish to it may have it.
    Will,
    /// Receive a message of a topic name.
    Read,
    /// Subscribe to a topic filter, without its `$share/GROUP/`.
    Subscribe,
}

impl Action {
    /// The word for it that people and programs are told.
    pub fn name(self) -> &'static str {
        match self {
            Action::Write => "publish",
            Action::Will => "will",
            Action::Read => "read",
            Action::Subscribe => "subscribe",
        }
    }
}

/// Where a rule stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its section's name, or `@acl[2]` for the third without one.
    pub section: String,
    /// The line in which its section begins.
    pub line: u32,
}

/// What decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A rule.
    Rule(Arc<Place>),
    /// No rule matches, and the default says so.
    Default,
    /// Only the bus itself publishes to the topic.
    Reserved,
}

/// Whether something is allowed, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is.
    pub allowed: bool,
    /// What says so.
    pub by: By,
}

impl Decision {
    /// The rule that says so, if one does.
    pub fn rule(&self) -> Option<&Place> {
        match &self.by {
            By::Rule(place) => Some(place),
            By::Default | By::Reserved => None,
        }
    }
}

/// `allowed by the rule 'guests' in line 12`, `denied by the default`.
impl Display for Decision {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allowed { "allowed" } else { "denied" })?;
        match &self.by {
            // A section's name is a word of letters, digits and underscores, which the configuration sees to.
            By::Rule(place) => write!(f, " by the rule '{}' in line {}", place.section, place.line),
            By::Default => f.write_str(" by the default"),
            By::Reserved => f.write_str(": only the bus itself publishes to this topic"),
        }
    }
}

/// Whether only the bus itself publishes to a topic: `$SYS`, and what would look like a Shared Subscription.
#[inline]
pub fn is_servers(name: &str) -> bool {
    topic::is_reserved(name)
        && matches!(name.split('/').next(), Some("$SYS" | "$share"))
        && !is_state_of_bridge(name)
}

/// Whether a topic says of a bridge whether it is connected: the one part of `$SYS` that clients may write, since bridges of other
/// brokers do.
fn is_state_of_bridge(name: &str) -> bool {
    let id = name
        .strip_prefix("$SYS/broker/connection/")
        .and_then(|rest| rest.strip_suffix("/state"));
    id.is_some_and(|id| !id.is_empty() && topic::is_name(id))
}
