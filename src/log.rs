//! Where log lines go: syslog on a router, standard error at a desk. Entered once through [`start`]; after that
//! everyone logs through the macros of the `log` crate, and [`set_level`] follows a reload.
//!
//! The `log` crate has no notice, the level at which a router's daemon says what an administrator wants to see on any
//! day. So its levels stand for one lower each: `info!` is notice, `debug!` is info and `trace!` is debug.
//!
//! It does not decide what is logged, and it does not escape: whoever puts a client's text into a line wraps it in
//! [`Escaped`].

use std::fmt::{self, Display, Formatter, Write as _};
use std::io::Write as _;

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
        Target::Syslog => match open_syslog() {
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

/// Changes which lines are written from now on.
pub fn set_level(level: Level) {
    ::log::set_max_level(level.filter());
}

type SyslogLogger = syslog::Logger<syslog::LoggerBackend, syslog::Formatter3164>;

/// Lines for syslog. The crate's own backend maps the levels one to one; this one makes `info!` a notice.
struct Syslog(std::sync::Mutex<SyslogLogger>);

fn open_syslog() -> Result<Syslog, syslog::Error> {
    let formatter = syslog::Formatter3164 {
        facility: syslog::Facility::LOG_DAEMON,
        hostname: None,
        process: "fosquitto".into(),
        pid: std::process::id(),
    };
    Ok(Syslog(std::sync::Mutex::new(syslog::unix(formatter)?)))
}

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_written(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // A thread that panicked while it logged has left nothing half done that matters here.
        let mut logger = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = record.args().to_string();
        let sent = match Level::of(record.level()) {
            Level::Error => logger.err(&text),
            Level::Warning => logger.warning(&text),
            Level::Notice => logger.notice(&text),
            Level::Info => logger.info(&text),
            Level::Debug => logger.debug(&text),
        };
        if sent.is_err() {
            // logd restarts now and then. The line goes to standard error and the next one tries a new socket.
            write_line(record);
            if let Ok(Syslog(again)) = open_syslog() {
                *logger = again
                    .into_inner()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
            }
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

/// What std would not escape in a debug string is printable: so neither controls nor the characters that change the
/// writing direction, that are invisible or that are not assigned.
fn is_printable(character: char) -> bool {
    character.is_ascii() || character.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
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
    fn a_long_text_is_cut_with_an_ellipsis() {
        assert_eq!(Escaped(&"é".repeat(128)).to_string(), "é".repeat(128));
        assert_eq!(
            Escaped(&"é".repeat(129)).to_string(),
            format!("{}…", "é".repeat(128))
        );
    }

    #[test]
    fn info_is_a_notice_and_each_level_shows_those_before_it() {
        assert_eq!(Level::of(::log::Level::Info), Level::Notice);
        assert_eq!(Level::Notice.filter(), LevelFilter::Info);
        assert!(Level::Error < Level::Warning && Level::Info < Level::Debug);
        assert_eq!(Level::default().name(), "notice");
    }
}
