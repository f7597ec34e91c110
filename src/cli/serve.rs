//! `fosquitto serve`: runs the bus in the foreground until SIGTERM. Entered through [`run`]. Everything that it does is
//! the server's; the exit status too.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::log::Target;
use crate::server::{self, Options};

/// Runs the bus of the router below the root.
pub fn run(root: PathBuf, log: Target) -> ExitCode {
    server::run(Options { root, log })
}
