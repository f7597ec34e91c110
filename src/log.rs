//! Where log lines go: syslog on a router, standard error at a desk. Entered once through [`start`]; after that
//! everyone logs through the macros of the `log` crate, and [`set_level`] follows a reload.
//!
//! The `log` crate has no notice, the level at which a router's daemon says what an administrator wants to see on any
//! day. So its levels stand for one lower each: `info!` is notice, `debug!` is info and `trace!` is debug.
//!
//! It does not decide what is logged, and it does not escape: whoever puts a client's text into a line wraps it in
//! [`Escaped`].

pub mod black_box;

use std::fmt::{self, Display, Formatter, Write as _};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ::log::{LevelFilter, Log, Metadata, Record};

/// Which log lines are written, from the fewest to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// What does not work.
    Error,
    /// What works, but not as asked.
    Warning,
    /// What an administrator wants to know on any day.
    #[default]
    Notice,
    /// Each connection's life.
    Info,
    /// Each packet's way.
    Debug,
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Level::Error => LevelFilter::Error,
            Level::Warning => LevelFilter::Warn,
            Level::Notice => LevelFilter::Info,
            Level::Info => LevelFilter::Debug,
            Level::Debug => LevelFilter::Trace,
        }
    }

    /// The word as it stands in UCI and at the beginning of a line.
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Notice => "notice",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }

    /// The level that a word names.
    pub fn named(word: &str) -> Option<Level> {
        let all = [
            Level::Error,
            Level::Warning,
            Level::Notice,
            Level::Info,
            Level::Debug,
        ];
        all.into_iter().find(|level| level.name() == word)
    }

    fn of(level: ::log::Level) -> Self {
        match level {
            ::log::Level::Error => Level::Error,
            ::log::Level::Warn => Level::Warning,
            ::log::Level::Info => Level::Notice,
            ::log::Level::Debug => Level::Info,
            ::log::Level::Trace => Level::Debug,
        }
    }
}

/// Where the lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// Standard error, one line an event, each flushed: procd passes it on to logd.
    #[default]
    Stderr,
    /// The local syslog daemon, facility daemon.
    Syslog,
}

/// Starts logging to the target. If syslog cannot be opened the lines go to standard error, and the first one says so.
/// A second call changes the level only: a process has one logger.
pub fn start(target: Target, level: Level) {
    let (backend, complaint): (Box<dyn Log>, _) = match target {
        Target::Stderr => (Box::new(Stderr), None),
        Target::Syslog => match Syslog::open(None) {
            Ok(syslog) => (Box::new(syslog), None),
            Err(error) => (Box::new(Stderr), Some(error)),
        },
    };
    let first = ::log::set_boxed_logger(backend).is_ok();
    set_level(level);
    if let (true, Some(error)) = (first, complaint) {
        ::log::warn!("syslog cannot be opened, logging to standard error: {error}");
    }
}

/// Which lines are written now.
pub fn level() -> Level {
    match ::log::max_level() {
        LevelFilter::Off | LevelFilter::Error => Level::Error,
        LevelFilter::Warn => Level::Warning,
        LevelFilter::Info => Level::Notice,
        LevelFilter::Debug => Level::Info,
        LevelFilter::Trace => Level::Debug,
    }
}

/// Changes which lines are written from now on.
pub fn set_level(level: Level) {
    ::log::set_max_level(level.filter());
}

type SyslogLogger = syslog::Logger<syslog::LoggerBackend, syslog::Formatter3164>;

/// Lines for syslog. The crate's own backend maps the levels one to one; this one makes `info!` a notice.
struct Syslog {
    logger: Mutex<SyslogLogger>,
    /// The daemon's socket, if not at one of the usual places.
    path: Option<PathBuf>,
}

impl Syslog {
    fn open(path: Option<PathBuf>) -> Result<Self, syslog::Error> {
        let logger = Mutex::new(connect(path.as_deref())?);
        Ok(Syslog { logger, path })
    }

    /// Sends a line, on a new socket if the old one's daemon is gone: logd restarts now and then.
    fn send(&self, level: Level, text: &str) -> Result<(), syslog::Error> {
        // A thread that panicked while it logged has left nothing half done that matters here.
        let mut logger = self.logger.lock().unwrap_or_else(PoisonError::into_inner);
        match send(&mut logger, level, text) {
            Err(syslog::Error::Write(error)) if error.kind() != ErrorKind::WouldBlock => {
                *logger = connect(self.path.as_deref())?;
                send(&mut logger, level, text)
            }
            sent => sent,
        }
    }
}

fn connect(path: Option<&Path>) -> Result<SyslogLogger, syslog::Error> {
    let formatter = syslog::Formatter3164 {
        facility: syslog::Facility::LOG_DAEMON,
        hostname: None,
        process: "fosquitto".into(),
        pid: std::process::id(),
    };
    let logger = match path {
        Some(path) => syslog::unix_custom(formatter, path)?,
        None => syslog::unix(formatter)?,
    };
    // A daemon that does not read must not stop the bus.
    if let syslog::LoggerBackend::Unix(socket) = &logger.backend {
        socket.set_nonblocking(true)?;
    }
    Ok(logger)
}

fn send(logger: &mut SyslogLogger, level: Level, text: &str) -> Result<(), syslog::Error> {
    match level {
        Level::Error => logger.err(text),
        Level::Warning => logger.warning(text),
        Level::Notice => logger.notice(text),
        Level::Info => logger.info(text),
        Level::Debug => logger.debug(text),
    }
}

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_written(metadata)
    }

    /// A line that syslog does not take goes to standard error.
    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        black_box::note(format_args!("{text}"));
        if self.send(Level::of(record.level()), &text).is_err() {
            write_line(record);
        }
    }

    fn flush(&self) {}
}

/// Lines for standard error.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_written(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            black_box::note(*record.args());
            write_line(record);
        }
    }

    fn flush(&self) {}
}

/// Whether a line is of the level that was asked for. What the libraries say of their own workings is written only when
/// something is wrong: their levels are not this program's.
fn is_written(metadata: &Metadata<'_>) -> bool {
    let is_ours = metadata.target().starts_with(env!("CARGO_PKG_NAME"));
    metadata.level() <= ::log::max_level() && (is_ours || metadata.level() <= ::log::Level::Warn)
}

/// One `write` a line, so that lines of two threads or processes do not mix. A line that cannot be written is lost:
/// there is nowhere to say it.
fn write_line(record: &Record<'_>) {
    let line = format!("{}: {}\n", Level::of(record.level()).name(), record.args());
    let mut stderr = std::io::stderr().lock();
    let _ = stderr
        .write_all(line.as_bytes())
        .and_then(|()| stderr.flush());
}

/// The longest piece of a client's text in a log line, in characters of that text.
const ESCAPED_MAX: usize = 128;

/// A text that somebody else chose, to be put into a log line: whatever could end the line, leave its quotes or
/// command a terminal is escaped, and it is cut after 128 characters with an ellipsis.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl<'a> Escaped<'a> {
    /// The same with another bound, in characters of the text before escaping.
    pub fn bounded(text: &'a str, max: usize) -> impl Display + 'a {
        Bounded(text, max)
    }
}

struct Bounded<'a>(&'a str, usize);

impl Display for Bounded<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        escape(self.0, self.1, f)
    }
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        escape(self.0, ESCAPED_MAX, f)
    }
}

fn escape(text: &str, max: usize, f: &mut Formatter<'_>) -> fmt::Result {
    for (count, character) in text.chars().enumerate() {
        if count == max {
            return f.write_char('…');
        }
        match character {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\'' | '"' | '\\' => write!(f, "\\{character}")?,
            '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", character as u32)?,
            _ if is_printable(character) => f.write_char(character)?,
            _ => write!(f, "\\u{{{:x}}}", character as u32)?,
        }
    }
    Ok(())
}

/// A line that this program has made, in which what somebody else chose is escaped already: only what would command a terminal is
/// escaped, whoever made it.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character.is_control() || !is_printable(character) {
                true => write!(f, "\\u{{{:x}}}", character as u32)?,
                false => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// What std would not escape in a debug string is printable: so neither controls nor the characters that change the
/// writing direction, that are invisible or that are not assigned.
fn is_printable(character: char) -> bool {
    character.is_ascii() || character.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_clients_text_cannot_end_a_line_leave_its_quotes_or_command_a_terminal() {
        let text = "a\n\r\t\x1b[2J\0\x7f'\"\\é\u{202e}\u{9b}";
        assert_eq!(
            Escaped(text).to_string(),
            r#"a\n\r\t\x1b[2J\x00\x7f\'\"\\é\u{202e}\u{9b}"#
        );
    }

    #[test]
    fn a_line_of_our_own_keeps_its_quotes_and_commands_no_terminal() {
        let line = "'a\\n' is\u{1b}[2J \u{9b}\u{202e}é";
        let said = Printable(line).to_string();
        assert_eq!(said, r"'a\n' is\u{1b}[2J \u{9b}\u{202e}é");
    }

    #[test]
    fn a_long_text_is_cut_with_an_ellipsis() {
        assert_eq!(Escaped(&"é".repeat(128)).to_string(), "é".repeat(128));
        assert_eq!(
            Escaped(&"é".repeat(129)).to_string(),
            format!("{}…", "é".repeat(128))
        );
    }

    /// A socket in the place of syslog's, removed at the end.
    struct Daemon(PathBuf, UnixDatagram);

    impl Daemon {
        fn new(test: &str) -> Self {
            let name = format!("fosquitto-log-{test}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_file(&path);
            let socket = UnixDatagram::bind(&path).expect("the temporary directory can be written");
            Daemon(path, socket)
        }

        fn line(&self) -> String {
            let mut buffer = [0; 1024];
            let length = self.1.recv(&mut buffer).expect("a line was sent");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        }
    }

    impl Drop for Daemon {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn syslog_gets_one_datagram_a_line_with_facility_daemon_and_finds_a_daemon_that_came_back() {
        let daemon = Daemon::new("restart");
        let syslog = Syslog::open(Some(daemon.0.clone())).expect("the daemon listens");
        syslog.send(Level::Notice, "a line").expect("it takes it");
        let line = daemon.line();
        // Facility 3, severity 5.
        let end = format!("fosquitto[{}]: a line", std::process::id());
        assert!(line.starts_with("<29>") && line.ends_with(&end), "{line}");
        drop(daemon);
        assert!(syslog.send(Level::Error, "nobody listens").is_err());
        let daemon = Daemon::new("restart");
        syslog.send(Level::Error, "again").expect("it takes it");
        assert!(daemon.line().starts_with("<27>"));
    }

    #[test]
    fn a_syslog_daemon_that_does_not_read_does_not_stop_the_bus() {
        let daemon = Daemon::new("stuck");
        let syslog = Syslog::open(Some(daemon.0.clone())).expect("the daemon listens");
        let stuck = (0..100_000).any(|_| syslog.send(Level::Notice, "a line").is_err());
        assert!(stuck, "the queue of a socket is bounded");
    }

    #[test]
    fn info_is_a_notice_and_each_level_shows_those_before_it() {
        assert_eq!(Level::of(::log::Level::Info), Level::Notice);
        assert_eq!(Level::Notice.filter(), LevelFilter::Info);
        assert!(Level::Error < Level::Warning && Level::Info < Level::Debug);
        assert_eq!(Level::default().name(), "notice");
    }
}
