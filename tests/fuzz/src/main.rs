//! The targets under libFuzzer, which brings `main`. The environment's `FUZZ_TARGET` names the one that runs:
//!
//! `FUZZ_TARGET=packet fosquitto-fuzz FILE` runs one input again; `make fuzz` runs them all.

#![no_main]

use std::sync::OnceLock;

use fosquitto_fuzz::{Target, named};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    named(&name).unwrap_or_else(|| panic!("there is no target {name}"))
}

fuzz_target!(init: { TARGET.get_or_init(chosen); }, |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(bytes);
    }
});
