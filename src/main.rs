//! The `fosquitto` program: hands its arguments to [`fosquitto::cli`] and exits with its status.

fn main() -> std::process::ExitCode {
    fosquitto::cli::run(std::env::args_os())
}
