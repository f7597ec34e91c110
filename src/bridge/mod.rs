//! Connections to other brokers: which topics go which way, and how the other side is found.
//!
//! [`mapping`] says what is subscribed on both sides and what a message's topic becomes. The sockets are those of `net`, and who is
//! asked what is the configuration's matter.

pub mod check;
pub mod discovery;
pub mod foris;
pub mod mapping;
