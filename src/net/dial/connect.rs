//! Addresses to a connected socket: a quarter of a second after one another until one is connected (RFC 8305).
//!
//! The thread `fosquitto-dial` waits for all sockets that are connecting, and starts with the first of them. ntex can connect, but not from
//! an address or through a device of the caller's choice, and waits for no socket of another's making. Nothing here blocks but the one
//! wait; what is given back does not block either.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::Source;
use super::answer::{Answerer, answer};
use crate::net::listener::prepare_tcp;

/// The Connection Attempt Delay (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Failures that an error tells; more are as many words and no news.
const FAILURES_MAX: usize = 4;

type Outcome = Result<(TcpStream, SocketAddr), String>;

/// Addresses of one host, of which one is to be connected.
pub(super) struct Race {
    waiting: VecDeque<SocketAddr>,
    from: Source,
    connecting: Vec<(Socket, SocketAddr)>,
    /// When the next address is tried.
    next: Instant,
    deadline: Instant,
    failures: Vec<String>,
}

impl Race {
    /// Tries addresses in this order for so long. Their time begins now.
    pub(super) fn new(addresses: Vec<SocketAddr>, from: Source, timeout: Duration) -> Race {
        let now = Instant::now();
        Race {
            waiting: addresses.into(),
            from,
            connecting: Vec::new(),
            next: now,
            deadline: now + timeout,
            failures: Vec::new(),
        }
    }

    /// Does what is due, given which sockets have something to say. `None` while it is undecided.
    fn step(&mut self, now: Instant, is_ready: impl Fn(&Socket) -> bool) -> Option<Outcome> {
        let mut index = 0;
        while index < self.connecting.len() {
            if !is_ready(&self.connecting[index].0) {
                index += 1;
                continue;
            }
            let (socket, address) = self.connecting.remove(index);
            match socket.take_error() {
                // Ready without an error, and without the other end: it was woken for nothing.
                Ok(None) if socket.peer_addr().is_err() => {
                    self.connecting.insert(index, (socket, address));
                    index += 1;
                }
                Ok(None) => return Some(Ok((OwnedFd::from(socket).into(), address))),
                Ok(Some(error)) | Err(error) => self.fail(address, &error),
            }
        }
        while !self.waiting.is_empty() && (self.connecting.is_empty() || now >= self.next) {
            if let Some(connected) = self.start(now) {
                return Some(Ok(connected));
            }
        }
        if self.connecting.is_empty() {
            return Some(Err(self.told()));
        }
        (now >= self.deadline).then(|| {
            let silent = std::mem::take(&mut self.connecting);
            let late = io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
            for (_, address) in silent {
                self.fail(address, &late);
            }
            Err(self.told())
        })
    }

    /// Tries the next address. The connection, if there is one at once.
    fn start(&mut self, now: Instant) -> Option<(TcpStream, SocketAddr)> {
        let address = self.waiting.pop_front()?;
        self.next = now + STAGGER;
        match open(address, &self.from) {
            Ok((socket, true)) => return Some((OwnedFd::from(socket).into(), address)),
            Ok((socket, false)) => self.connecting.push((socket, address)),
            Err(error) => self.fail(address, &error),
        }
        None
    }

    fn fail(&mut self, address: SocketAddr, error: &io::Error) {
        // The next one need not wait for the stagger then.
        self.next = Instant::now();
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(format!("{address}: {error}"));
        }
    }

    fn told(&self) -> String {
        match self.failures.is_empty() {
            true => "there is no address to try".into(),
            false => self.failures.join("; "),
        }
    }

    /// When something is due without a socket's word.
    fn due(&self) -> Instant {
        match self.waiting.is_empty() {
            true => self.deadline,
            false => self.next.min(self.deadline),
        }
    }
}

/// A socket that is connecting, and whether it is connected already.
fn open(address: SocketAddr, from: &Source) -> io::Result<(Socket, bool)> {
    let domain = Domain::for_address(address);
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, Some(Protocol::TCP))?;
    prepare_tcp(&socket)?;
    if let Some(device) = &from.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(local) = from.address {
        if local.is_ipv6() != address.is_ipv6() {
            let what = format!("it cannot be connected from {local}, which is of another family");
            return Err(io::Error::other(what));
        }
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => Ok((socket, true)),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok((socket, false)),
        Err(error) => Err(error),
    }
}

/// The address with its device as the kernel wants it. Only link-local ones have one.
pub(super) fn with_scope(address: SocketAddr, device: Option<&str>) -> Result<SocketAddr, String> {
    let (SocketAddr::V6(mut address), Some(device)) = (address, device) else {
        return Ok(address);
    };
    let fault = || format!("there is no device {device}");
    let name = std::ffi::CString::new(device).map_err(|_| fault())?;
    // SAFETY: the name is a C string for the whole call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(fault()),
        index => {
            address.set_scope_id(index);
            Ok(address.into())
        }
    }
}

type Entry = (Race, Answerer<Outcome>);

/// The handle of the thread, which ends when this is dropped.
#[derive(Default)]
pub(super) struct Connector(Mutex<Option<Handle>>);

struct Handle {
    entries: Sender<Entry>,
    wake: UnixStream,
}

impl Connector {
    /// Runs a race to its end.
    pub(super) async fn connect(&self, race: Race) -> Outcome {
        let (answerer, asked) = answer();
        self.submit((race, answerer))
            .map_err(|error| format!("no thread to do it: {error}"))?;
        asked
            .await
            .unwrap_or_else(|| Err("the thread has ended".into()))
    }

    fn submit(&self, entry: Entry) -> io::Result<()> {
        let mut handle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if handle.is_none() {
            *handle = Some(Handle::start()?);
        }
        if let Some(handle) = &*handle {
            // An error means that the thread is gone, and then so is the answerer, which tells the asker.
            let _ = handle.entries.send(entry);
            // A full pipe has woken the thread already.
            let _ = (&handle.wake).write(&[0]);
        }
        Ok(())
    }
}

impl Handle {
    fn start() -> io::Result<Handle> {
        let (entries, inbox) = channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        std::thread::Builder::new()
            .name("fosquitto-dial".into())
            .stack_size(128 * 1024)
            .spawn(move || work(&inbox, &woken))?;
        Ok(Handle { entries, wake })
    }
}

/// Ends when the handle is dropped.
fn work(inbox: &Receiver<Entry>, woken: &UnixStream) {
    let mut running: Vec<Entry> = Vec::new();
    loop {
        loop {
            match inbox.try_recv() {
                Ok(entry) => running.push(entry),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        running.retain(|(_, answerer)| !answerer.is_forgotten());
        let ready = wait(&running, woken);
        let now = Instant::now();
        let mut index = 0;
        while index < running.len() {
            let is_ready = |socket: &Socket| ready.contains(&socket.as_raw_fd());
            match running[index].0.step(now, is_ready) {
                None => index += 1,
                Some(outcome) => running.swap_remove(index).1.give(outcome),
            }
        }
    }
}

/// Waits until a socket has something to say, something is due or there is a new race; the descriptors that are ready.
fn wait(running: &[Entry], mut woken: &UnixStream) -> Vec<i32> {
    let poll_fd = |fd, events| libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let sockets = running.iter().flat_map(|(race, _)| &race.connecting);
    let mut fds = vec![poll_fd(woken.as_raw_fd(), libc::POLLIN)];
    fds.extend(sockets.map(|(socket, _)| poll_fd(socket.as_raw_fd(), libc::POLLOUT)));
    let due = running
        .iter()
        .map(|(race, _)| match race.connecting.is_empty() {
            // It has not begun.
            true => Instant::now(),
            false => race.due(),
        });
    let timeout_ms = due.min().map_or(-1, |due| {
        let time = due.saturating_duration_since(Instant::now());
        // Rounded up, or it would wake up too early for what is due.
        i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
    });
    // SAFETY: `fds` is a valid array of that many entries for the whole call.
    let count = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) };
    if count < 0 {
        // Interrupted: nothing is known to be ready.
        return Vec::new();
    }
    if fds[0].revents != 0 {
        let mut bytes = [0; 64];
        // It ends: the pipe is bounded, and the rest is read the next time. At its end the inbox tells that nobody is there.
        while let Ok(1..) = woken.read(&mut bytes) {}
    }
    let ready = fds[1..].iter().filter(|fd| fd.revents != 0);
    ready.map(|fd| fd.fd).collect()
}
