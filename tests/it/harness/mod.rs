//! What the tests stand on: the real binary in a scratch root, clients that speak raw bytes, a CA, and Python programs.
//!
//! Tests enter at [`broker::Broker::start`]. Each has a root and ports of its own, so that all run side by side. A wait has a
//! condition and a deadline; there is no sleep in here and none in the tests.

pub mod broker;
pub mod client;
pub mod controller;
pub mod log;
pub mod own_tests;
pub mod packet;
pub mod pki;
pub mod python;
pub mod reference;
pub mod relay;
pub mod root;
pub mod scram;
pub mod websocket;

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::LazyLock;
use std::time::Duration;

/// How long anything may take before a test fails. Long: two busy cores must not make a test fail. `FOSQUITTO_PATIENCE`, in seconds,
/// makes it longer for a program that an emulator runs.
pub static PATIENCE: LazyLock<Duration> = LazyLock::new(|| {
    let seconds = std::env::var("FOSQUITTO_PATIENCE").map_or(60, |seconds| {
        let seconds = seconds.parse();
        seconds.expect("FOSQUITTO_PATIENCE is a number of seconds")
    });
    Duration::from_secs(seconds)
});

/// Whether the kernel of the other side has all that was written.
pub fn is_delivered(stream: &TcpStream) -> bool {
    let mut unsent: libc::c_int = 0;
    // SAFETY: the descriptor is open, and TIOCOUTQ writes one c_int.
    let status = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &mut unsent) };
    status == 0 && unsent == 0
}
