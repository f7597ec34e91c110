//! The bus's end of the control socket: its file, its connections and their lines.
//!
//! Entered by [`Control::open`], and left when that is dropped, which removes the file. A connection that says nothing for a minute, or
//! does not take its answer for ten seconds, is closed, so that nobody keeps others out.

use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::{CONNECTIONS_MAX, Outcome, REQUEST_BYTES_MAX, Reply, Request};

/// How long a connection may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take for a part of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take: a copy of a large database on a small router is the longest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// JSON is read by recursion, and a request is flat.
const STACK_BYTES: usize = 256 << 10;

/// Gives a request to the event loop.
pub type Ask = Arc<dyn Fn(Request, Reply) + Send + Sync>;

/// The open socket.
pub struct Control {
    path: PathBuf,
    is_closed: Arc<AtomicBool>,
}

impl Control {
    /// Opens the socket, and answers with what `ask` gives. A file that a former process left is replaced.
    ///
    /// # Errors
    /// Another process listens there, the path is too long for a socket, or the system refuses.
    pub fn open(path: &Path, ask: Ask) -> io::Result<Control> {
        let is_left_behind = fs::symlink_metadata(path)
            .is_ok_and(|metadata| metadata.file_type().is_socket())
            && UnixStream::connect(path).is_err();
        if is_left_behind {
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let is_closed = Arc::new(AtomicBool::new(false));
        let control = Control {
            path: path.to_owned(),
            is_closed: is_closed.clone(),
        };
        thread::Builder::new()
            .name("fosquitto-control".into())
            .stack_size(STACK_BYTES)
            .spawn(move || accept(&listener, &ask, &is_closed))?;
        Ok(control)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::SeqCst);
        // It wakes the thread up. An error means that it is gone already.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
    }
}

fn accept(listener: &UnixListener, ask: &Ask, is_closed: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if is_closed.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else {
            // The process has no descriptor left, and the connection still waits.
            thread::sleep(Duration::from_millis(200));
            continue;
        };
        if open.load(Ordering::SeqCst) >= CONNECTIONS_MAX {
            // It may not wait for an answer either.
            let _ = refuse(&stream, "too many connections to the control socket");
            continue;
        }
        open.fetch_add(1, Ordering::SeqCst);
        let counted = Counted(open.clone());
        let ask = ask.clone();
        let spawned = thread::Builder::new()
            .name("fosquitto-asked".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _counted = counted;
                // An error is the end of this connection, which nobody else needs to know of.
                let _ = serve(&stream, &ask);
            });
        if let Err(error) = spawned {
            log::warn!("control: {error}");
        }
    }
}

/// Counts a connection until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers a connection's lines.
fn serve(stream: &UnixStream, ask: &Ask) -> io::Result<()> {
    if !is_owner(stream) {
        return refuse(stream, "only the bus's own user and root may ask");
    }
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        (&mut reader)
            .take(REQUEST_BYTES_MAX)
            .read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return match line.len() as u64 + 1 >= REQUEST_BYTES_MAX {
                true => refuse(stream, "the request is too long"),
                false => Ok(()),
            };
        }
        write(stream, &outcome(&line, ask))?;
    }
}

/// What comes of a line.
fn outcome(line: &[u8], ask: &Ask) -> Outcome {
    let request = serde_json::from_slice(line);
    let request: Request = request.map_err(|error| format!("not a request: {error}"))?;
    let (reply, replied) = mpsc::channel();
    ask(
        request,
        Box::new(move |outcome| {
            // An error means that nobody waits any more.
            let _ = reply.send(outcome);
        }),
    );
    match replied.recv_timeout(ANSWER_TIMEOUT) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => Err("it takes too long".into()),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("the bus stops".into()),
    }
}

fn refuse(stream: &UnixStream, what: &str) -> io::Result<()> {
    write(stream, &Err(what.to_owned()))
}

/// The form of an answer.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Ok(&'a super::Answer),
    Error(&'a str),
}

fn write(mut stream: &UnixStream, outcome: &Outcome) -> io::Result<()> {
    let line = match outcome {
        Ok(answer) => Line::Ok(answer),
        Err(what) => Line::Error(what),
    };
    let mut bytes = serde_json::to_vec(&line)?;
    bytes.push(b'\n');
    stream.write_all(&bytes)
}

/// Whether the other end is a process of this user, or root's.
fn is_owner(stream: &UnixStream) -> bool {
    let mut peer = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `peer` has room for `length` bytes, and both are valid for the whole call.
    let is_known = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    } == 0;
    // SAFETY: it cannot fail.
    let own = unsafe { libc::geteuid() };
    is_known && (peer.uid == 0 || peer.uid == own)
}
