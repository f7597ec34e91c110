//! s
pub struct Options { pub root: std::path::PathBuf, pub log: crate::log::Target }
pub fn run(_: Options) -> std::process::ExitCode { std::process::ExitCode::SUCCESS }
