//! Statements of the MQTT specifications, each held by a test whose name ends in the statement's number.
//!
//! `..._3_1_0_2` is [MQTT-3.1.0-2], and `..._3_3_2_5_and_3_3_2_6` holds two. A module tells the version: `v3` for 3.1.1, `v31` for 3.1, `v5`
//! for 5.0, `both` where both say the same, by 5.0's number where the numbers differ. A number of five parts is the section of
//! a sentence that has no number of its own. `statements` lists every statement with its test, or why it has none.

mod both;
mod raw;
mod statements;
mod v3;
mod v31;
mod v5;
