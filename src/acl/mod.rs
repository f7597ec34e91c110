//! Who may publish, receive and subscribe to what. Entered through [`Rules::permissions`] when a client connects or the
//! rules change, then through [`Permissions`] for each packet, and through [`Permissions::why`] by whoever asks for the
//! reason.
//!
//! The rules are asked in their order and the first one that matches decides; if none does, the default does. A
//! subscription is matched by a rule that *covers* its filter: every topic that the filter can match is one of the rule's.
//! So `#` may be subscribed to beside a rule that denies `secret/#`; what it must not see is kept back at delivery,
//! message by message.
//!
//! No rule lets a client publish to the topics of the bus itself, `$SYS`.
//!
//! This is pure: it knows neither users nor passwords nor the configuration's syntax, and logs nothing.

mod pattern;
mod rules;
mod why;

pub use pattern::{Pattern, PatternFault, covers, matches};
pub use rules::{Access, Permissions, Rule, Rules, Subject};
pub use why::{Action, By, Decision, Place, is_servers};
