//! Statements of the MQTT specifications, each held by a test whose name ends in the statement's number.
//!
//! `..._3_1_0_2` is [MQTT-3.1.0-2]. A module tells the version: `v3` for 3.1.1, `v5` for 5.0, `both` where both say the same.
//! A number of five parts is the section of a sentence that has no number of its own. This is not yet every statement.

mod both;
mod v3;
mod v5;
