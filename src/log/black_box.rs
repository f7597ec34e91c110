//! What happened last, where a process that dies can still write it.
//!
//! Entered by [`note`] for each event, once by [`arm`], and after that only by the process's death: a panic that ends it, or a signal such as
//! a fault of memory. What is left of a dying process may do nothing but copy bytes, so what is noted is kept as text from the start,
//! in one buffer whose oldest bytes go first, and is written to a file on tmpfs. The next start tells of that ([`former`]).
//!
//! Whoever notes escapes what clients chose, as for a log line. It knows nothing of what is noted.

use std::ffi::CString;
use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};
use std::{fs, io, ptr};

/// So many bytes are kept: some two hundred lines. A power of two, so that the position may wrap around.
const BYTES: usize = 16 << 10;

/// The longest line; more of one is left out.
const LINE_BYTES_MAX: usize = 400;

/// Signals that end a process which has gone wrong.
const FATAL: [libc::c_int; 5] = [
    libc::SIGABRT,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
];

static LINES: [AtomicU8; BYTES] = [const { AtomicU8::new(0) }; BYTES];
/// How many bytes were noted, modulo all that it can hold.
static POSITION: AtomicUsize = AtomicUsize::new(0);
/// The file's path, ending in 0; null before [`arm`].
static FILE: AtomicPtr<libc::c_char> = AtomicPtr::new(ptr::null_mut());

/// Notes a line. It takes no lock and asks for no memory; two threads at once may mix theirs.
pub fn note(line: fmt::Arguments<'_>) {
    let mut text = Line {
        bytes: [0; LINE_BYTES_MAX],
        length: 0,
    };
    // An error means that the line is full, and its beginning is there.
    let _ = text.write_fmt(line);
    let bytes = &text.bytes[..text.length];
    let from = POSITION.fetch_add(bytes.len() + 1, Ordering::Relaxed);
    for (offset, byte) in bytes.iter().chain(b"\n").enumerate() {
        LINES[from.wrapping_add(offset) % BYTES].store(*byte, Ordering::Relaxed);
    }
}

struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    length: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LINE_BYTES_MAX - self.length;
        let taken = text.len().min(room);
        self.bytes[self.length..][..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        match taken == text.len() {
            true => Ok(()),
            false => Err(fmt::Error),
        }
    }
}

/// Has what was noted written to a file when the process dies of a panic or a signal. To be called once, when no other thread changes how
/// signals are handled.
///
/// From then on a panic of any thread ends the process, also where it is built to unwind, as OpenWrt's packages of Rust programs are: a bus
/// without its store's thread would go on and keep nothing, and procd starts it again.
pub fn arm(file: &Path) {
    let Ok(path) = CString::new(file.as_os_str().as_bytes()) else {
        return;
    };
    // It is never freed: the process may die at any time.
    FILE.store(path.into_raw(), Ordering::Release);
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        note(format_args!("{panic}"));
        next(panic);
        std::process::abort();
    }));
    for signal in FATAL {
        // SAFETY: all bits 0 are a valid sigaction; `die` does only what is permitted in a handler, and both pointers are valid for
        // the call.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = die as extern "C" fn(libc::c_int) as libc::sighandler_t;
            // The handler is gone when it runs, so that the signal then does what it always does.
            action.sa_flags = libc::SA_RESETHAND | libc::SA_NODEFER | libc::SA_ONSTACK;
            libc::sigaction(signal, &action, ptr::null_mut());
        }
    }
}

/// What a former process has left in the file when it died: whether it did. The file is moved aside, so that this is told once.
pub fn former(file: &Path) -> io::Result<bool> {
    match fs::rename(file, file.with_extension("old")) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The handler. Only calls that a handler may make are made here: open, write, close, raise.
extern "C" fn die(signal: libc::c_int) {
    let path = FILE.load(Ordering::Acquire);
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: `path` ends in 0 and is never freed. The buffer is static, atomic bytes have the form of bytes, and each range lies
    // within it.
    unsafe {
        let file = libc::open(path, flags, 0o600);
        if file >= 0 {
            let position = POSITION.load(Ordering::Relaxed);
            let bytes = LINES.as_ptr().cast::<u8>();
            let start = position % BYTES;
            if position >= BYTES {
                libc::write(file, bytes.add(start).cast(), BYTES - start);
            }
            libc::write(file, bytes.cast(), start);
            let ending = match signal {
                libc::SIGABRT => &b"died: aborted\n"[..],
                libc::SIGSEGV => b"died: a fault of memory\n",
                _ => b"died: a signal\n",
            };
            libc::write(file, ending.as_ptr().cast(), ending.len());
            libc::close(file);
        }
        libc::raise(signal);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;
    use crate::auth::testing::Scratch;

    #[test]
    fn the_last_lines_are_there_and_a_long_one_is_cut() {
        let kept = || -> String {
            let bytes = LINES.iter().map(|byte| byte.load(Ordering::Relaxed));
            String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
        };
        note(format_args!("the first of all lines"));
        assert!(kept().contains("the first of all lines\n"));
        note(format_args!("{}", "x".repeat(10 * LINE_BYTES_MAX)));
        for number in 0..BYTES {
            note(format_args!("line {number}"));
        }
        assert!(!kept().contains("the first of all lines"));
        assert!(kept().contains(&format!("line {}\n", BYTES - 1)));
    }

    #[test]
    fn a_panic_ends_the_process_and_leaves_its_words_and_those_before() {
        const FILE: &str = "FOSQUITTO_LAST_WORDS";
        if let Some(file) = std::env::var_os(FILE) {
            arm(Path::new(&file));
            note(format_args!("what happened before"));
            // In a thread whose end nobody waits for, of a program that is built to unwind.
            let _ = std::thread::spawn(|| panic!("the words of a panic")).join();
            std::process::exit(0);
        }
        let scratch = Scratch::new();
        let file = scratch.path().join("last");
        let name =
            "log::black_box::tests::a_panic_ends_the_process_and_leaves_its_words_and_those_before";
        let own = std::env::current_exe().expect("a test is a file");
        let output = Command::new(own)
            .args(["--exact", name])
            .env(FILE, &file)
            .output()
            .expect("it runs");
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
        let words = fs::read_to_string(&file).expect("it left them");
        for expected in ["what happened before\n", "the words of a panic\n"] {
            assert!(words.contains(expected), "{words}");
        }
        assert!(words.ends_with("died: aborted\n"), "{words}");
        assert!(former(&file).expect("it can be moved"));
        assert!(!former(&file).expect("there is none"));
    }
}
