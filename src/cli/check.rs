//! `fosquitto check`: says what is wrong with a configuration, with the parser that `serve` uses. Entered through
//! [`run`]. It opens no sockets and no certificates, so what it calls good may still wait for a file or an address.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config;

/// Checks the router's configuration below the root, or the given file in its place. Prints `FILE: ok` to standard
/// output, or every fault to standard error; exit status 0 or 1.
pub fn run(root: &Path, file: Option<PathBuf>) -> ExitCode {
    let (path, result) = match file {
        Some(file) => {
            let result = config::load_file(&file, root);
            (file, result)
        }
        None => (config::path(root), config::load(root)),
    };
    match result {
        Ok(_) => super::print(&format!("{}: ok\n", path.display())),
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::from(super::FAULTS)
        }
    }
}
