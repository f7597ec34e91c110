//! `fosquitto passwd`: gives users of this bus their passwords, takes them away, and checks them.
//!
//! The password comes from the terminal, typed twice without being shown, or is the first line of standard input when that is no
//! terminal. It is never an argument: those are visible to every process of the system. The running bus is not told; it reads
//! the file again at its next reload. What is in the file, and how it is replaced, `auth` knows.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::auth::{self, Credentials, Secret};

const USAGE: &str = "\
Usage: fosquitto passwd [--root DIR] USER            set the password of USER
       fosquitto passwd [--root DIR] --check USER    exit with 0 if the password is the one of USER, otherwise with 1
       fosquitto passwd [--root DIR] --delete USER   USER cannot log in any more

The password is asked for on the terminal, or is the first line of standard input. It is kept, hashed, in DIR/etc/fosquitto/passwd and scram.

  -c, --check    check a password, change nothing
  -D, --delete   delete the user
      --root DIR use the files below DIR (default /)
  -h, --help     show this
";

/// An MQTT password has no more bytes.
const PASSWORD_BYTES_MAX: usize = 65_535;

/// Runs the command with what follows its name on the command line, on the files below `root` unless `--root` says otherwise.
///
/// The exit status is 0 when it is done (or the checked password is right), 1 when it failed (or the password is wrong), and 2 when the
/// command line is not understood.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let request = match parse(root, arguments) {
        Ok(Some(request)) => request,
        Ok(None) => {
            say(USAGE.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(what) => {
            eprintln!("fosquitto passwd: {what}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match execute(&request, read_password) {
        Ok(done) => {
            say(&done);
            ExitCode::SUCCESS
        }
        Err(faults) => {
            for fault in faults {
                eprintln!("{fault}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints a line. A reader that went away misses it; what was asked is done all the same.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

#[derive(Debug, PartialEq)]
struct Request {
    root: PathBuf,
    action: Action,
    user: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Set,
    Check,
    Delete,
}

/// Understands the command line; `None` asks for help.
fn parse(root: &Path, arguments: Vec<OsString>) -> Result<Option<Request>, String> {
    use lexopt::{Arg, Parser};
    let mut parser = Parser::from_args(arguments);
    let (mut root, mut action, mut user) = (root.to_owned(), Action::Set, None);
    let in_words = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(in_words)? {
        let wanted = match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("root") => {
                root = parser.value().map_err(in_words)?.into();
                continue;
            }
            Arg::Short('c') | Arg::Long("check") => Action::Check,
            Arg::Short('D') | Arg::Long("delete") => Action::Delete,
            Arg::Value(value) if user.is_none() => {
                user = Some(
                    value
                        .into_string()
                        .map_err(|_| "the user name is not UTF-8")?,
                );
                continue;
            }
            // The argument is not repeated: it may be the password of somebody who knows other programs' ways.
            Arg::Value(_) => {
                return Err("one argument too many; a password is never an argument".into());
            }
            other => return Err(other.unexpected().to_string()),
        };
        if action != Action::Set && action != wanted {
            return Err("--check and --delete exclude each other".into());
        }
        action = wanted;
    }
    let user = user.ok_or("the user name is missing")?;
    Ok(Some(Request { root, action, user }))
}

/// Does what was asked and returns what to say about it, or all that went wrong. `read_password` is told how often the password has to
/// be typed.
fn execute(
    request: &Request,
    read_password: impl FnOnce(&str, Typed) -> Result<Secret, String>,
) -> Result<String, Vec<String>> {
    let Request { root, action, user } = request;
    let told =
        |faults: Vec<auth::Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    const RELOAD: &str = "'/etc/init.d/fosquitto reload' makes that effective";
    match action {
        Action::Set => {
            auth::check_user(root, user).map_err(told)?;
            let password = read_password(user, Typed::Twice).map_err(|what| vec![what])?;
            auth::set_user(root, user, &password).map_err(told)?;
            Ok(format!("the password of {user:?} is set; {RELOAD}"))
        }
        Action::Check => {
            let credentials = Credentials::load(root).map_err(told)?;
            let password = read_password(user, Typed::Once).map_err(|what| vec![what])?;
            if credentials.verify(user, password.expose()) {
                Ok(format!("this is the password of {user:?}"))
            } else {
                Err(vec![format!(
                    "there is no user {user:?} with this password"
                )])
            }
        }
        Action::Delete => {
            if auth::remove_user(root, user).map_err(told)? {
                Ok(format!("user {user:?} is deleted; {RELOAD}"))
            } else {
                Err(vec![format!(
                    "there is no user {user:?} in the file of passwords"
                )])
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Typed {
    Once,
    Twice,
}

/// Reads the password from the terminal or from standard input.
fn read_password(user: &str, typed: Typed) -> Result<Secret, String> {
    let input = io::stdin();
    // Not through `Stdin`, whose buffer would keep the password for as long as the process lives.
    let mut file = input
        .as_fd()
        .try_clone_to_owned()
        .map(File::from)
        .map_err(|error| error.to_string())?;
    let in_words = |error: io::Error| format!("no password: {error}");
    if !input.is_terminal() {
        return read_line(&mut file).map_err(in_words);
    }
    let password = ask(&file, &format!("Password of {user:?}: ")).map_err(in_words)?;
    if typed == Typed::Twice {
        let again = ask(&file, "The same again: ").map_err(in_words)?;
        if again.expose() != password.expose() {
            return Err("the two passwords differ; nothing is changed".into());
        }
    }
    Ok(password)
}

/// Reads up to the first line feed, or the end.
fn read_line(input: &mut impl Read) -> io::Result<Secret> {
    let mut line = Secret::with_capacity(PASSWORD_BYTES_MAX);
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => return Ok(line),
            Ok(_) if byte[0] == b'\n' => return Ok(line),
            Ok(_) => add(&mut line, byte[0])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Asks on the terminal without showing what is typed.
fn ask(mut terminal: &File, prompt: &str) -> io::Result<Secret> {
    eprint!("{prompt}");
    io::stderr().flush()?;
    let silence = Silence::begin(terminal)?;
    let result = read_typed(&mut terminal);
    drop(silence);
    eprintln!();
    result
}

/// Reads a typed line key by key: the terminal sends them as they are, so the keys that edit and end a line are handled here.
fn read_typed(input: &mut impl Read) -> io::Result<Secret> {
    const INTERRUPT: u8 = 0x03;
    const END: u8 = 0x04;
    const BACKSPACE: u8 = 0x08;
    const KILL_LINE: u8 = 0x15;
    const DELETE: u8 = 0x7f;
    let mut line = Secret::with_capacity(PASSWORD_BYTES_MAX);
    let mut key = [0];
    loop {
        match input.read(&mut key) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => match key[0] {
                b'\n' | b'\r' => return Ok(line),
                INTERRUPT | END => return Err(io::Error::other("given up")),
                BACKSPACE | DELETE => line.pop(),
                KILL_LINE => line = Secret::with_capacity(PASSWORD_BYTES_MAX),
                other => add(&mut line, other)?,
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn add(line: &mut Secret, byte: u8) -> io::Result<()> {
    if line.push(byte) {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "it has more than {PASSWORD_BYTES_MAX} bytes"
        )))
    }
}

/// A terminal that shows nothing and sends every key at once, until this is dropped. Keys that would end the process come as bytes too,
/// so that it never leaves the terminal mute.
struct Silence<'a> {
    terminal: &'a File,
    before: libc::termios,
}

impl Silence<'_> {
    fn begin(terminal: &File) -> io::Result<Silence<'_>> {
        let mut settings = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the descriptor is open, and tcgetattr writes a whole termios where it succeeds.
        if unsafe { libc::tcgetattr(terminal.as_raw_fd(), settings.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it did succeed.
        let before = unsafe { settings.assume_init() };
        let mut mute = before;
        mute.c_lflag &= !(libc::ECHO | libc::ECHONL | libc::ICANON | libc::ISIG | libc::IEXTEN);
        mute.c_cc[libc::VMIN] = 1;
        mute.c_cc[libc::VTIME] = 0;
        set_terminal(terminal, &mute)?;
        Ok(Silence { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // There is nobody to tell: if this fails, the terminal is gone.
        let _ = set_terminal(self.terminal, &self.before);
    }
}

fn set_terminal(terminal: &File, settings: &libc::termios) -> io::Result<()> {
    // TCSAFLUSH: what was typed before the prompt is no password.
    // SAFETY: the descriptor is open and the settings are a whole termios.
    match unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, settings) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
#[path = "passwd_tests.rs"]
mod tests;
