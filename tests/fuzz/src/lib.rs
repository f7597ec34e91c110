//! The fuzz targets: functions of bytes that panic when something does not hold.
//!
//! `main.rs` hands them to libFuzzer, which looks for inputs that take new ways through the code (`make fuzz`);
//! `tests/corpus.rs` calls the same functions as ordinary tests, on the kept inputs below `corpus` and on chance's changes of
//! them. Nothing here is about libFuzzer.

mod credentials;
mod frame;
mod mapping;
mod mdns;
pub mod memory;
mod packet;
mod remote_packet;
mod server_packet;
mod topic;
mod uci;
mod upgrade;
mod websocket;

use fosquitto::fuzzing;

/// One target. Its inputs are kept in the folder of `corpus` that has its name.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 14] = [
    target("any_inputs", fuzzing::any_inputs),
    target("credentials", credentials::run),
    target("frame", frame::run),
    target("mapping", mapping::run),
    target("mdns", mdns::run),
    target("model", fuzzing::model),
    target("packet", packet::run),
    target("remote_packet", remote_packet::run),
    target("server_packet", server_packet::run),
    target("simulation", fuzzing::simulation),
    target("topic", topic::run),
    target("uci", uci::run),
    target("upgrade", upgrade::run),
    target("websocket", websocket::run),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// The target of this name.
pub fn named(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
