//! `fosquitto check`: says what is wrong with a configuration, with the parser that `serve` uses. Entered through
//! [`run`]. It opens no sockets, and of files only those of bridges, so what it calls good may still wait for a file or an address.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::bridge::check::{self, Warning};
use crate::config;

/// Checks the router's configuration below the root, or the given file in its place. Prints `FILE: ok` to standard
/// output, or every fault to standard error; exit status 0 or 1. What will keep a bridge from connecting is a warning, to standard
/// error, and changes nothing else.
pub fn run(root: &Path, file: Option<PathBuf>) -> ExitCode {
    let (path, result) = match file {
        Some(file) => {
            let result = config::load_file(&file, root);
            (file, result)
        }
        None => (config::path(root), config::load(root)),
    };
    match result {
        Ok(config) => {
            for Warning { line, what } in check::warnings(&config, root) {
                eprintln!("{}:{line}: warning: {what}", path.display());
            }
            super::print(&format!("{}: ok\n", path.display()))
        }
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::from(super::FAULTS)
        }
    }
}
