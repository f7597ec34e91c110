//! Listening sockets, and the thread that accepts from all of them.
//!
//! The event loop adds and removes sockets at run time with [`Acceptor::listen`] and [`Acceptor::ignore`]; what is accepted comes back
//! in batches through the function given to [`Acceptor::start`]. The thread does nothing else, so that a flood of
//! connections costs the event loop no more than what it takes of it: a listener with too many clients before their
//! CONNECT leaves the next ones in the kernel's queue. The process's signals arrive here too, since this thread waits for
//! descriptors anyway. It reads nothing from a connection and knows nothing of TLS.

mod accept;
pub mod handed;
mod open;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use socket2::Socket;

pub(super) use open::prepare_tcp;
pub use open::{clean_up, describe, open};

use super::door::{Crowd, Room};
use crate::auth::Guard;
use accept::{accept, is_ample, is_descriptor_left};

/// Connections that are accepted in a row before they are handed over.
const BATCH: usize = 64;

/// How long the thread stays away from its sockets when the process has no descriptors or memory left, in milliseconds:
/// a connection that cannot be accepted stays ready, and asking again at once would be a loop.
const EXHAUSTED_PAUSE_MS: i32 = 200;

/// The number of a listening socket; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

/// A new connection.
#[derive(Debug)]
pub struct Accepted {
    /// The socket that it came through.
    pub socket: SocketId,
    /// The connection.
    pub stream: Stream,
    /// Who counts it: MUST be told once that it is past CONNECT or gone, and once that it is gone, whatever becomes of the
    /// listener until then.
    pub crowd: Arc<Crowd>,
}

/// The kinds of connections.
#[derive(Debug)]
pub enum Stream {
    /// TCP, with the client's address.
    Tcp(TcpStream, SocketAddr),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// A second descriptor of the socket.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Stream> {
        match self {
            Stream::Tcp(stream, address) => Ok(Stream::Tcp(stream.try_clone()?, *address)),
            Stream::Unix(stream) => Ok(Stream::Unix(stream.try_clone()?)),
        }
    }
}

/// What the thread reports.
#[derive(Debug)]
pub enum Event {
    /// New connections.
    Accepted(Vec<Accepted>),
    /// The process got a signal.
    Signalled,
}

enum Command {
    Listen(SocketId, Socket, Arc<Crowd>, String),
    Ignore(SocketId, Sender<()>),
    Pause(Sender<()>),
    Stop,
}

/// The handle of the thread `fosquitto-accept`, which ends when this is dropped.
pub struct Acceptor {
    commands: Sender<Command>,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Starts the thread. `signals` can be read from when the process got a signal; `guard` refuses addresses that come too
    /// often; `report` is called on the thread.
    ///
    /// # Errors
    /// The system gives no thread or no descriptors.
    pub fn start(
        signals: UnixStream,
        guard: Arc<Guard>,
        report: impl Fn(Event) + Send + 'static,
    ) -> io::Result<Acceptor> {
        let (commands, inbox) = channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        signals.set_nonblocking(true)?;
        let worker = Worker {
            inbox,
            woken,
            signals,
            guard,
            sockets: Vec::new(),
            report,
            polled: Vec::new(),
            is_exhausted: false,
            is_paused: false,
        };
        let thread = std::thread::Builder::new()
            .name("fosquitto-accept".into())
            .stack_size(128 * 1024)
            .spawn(move || worker.run())?;
        Ok(Acceptor {
            commands,
            wake,
            thread: Some(thread),
        })
    }

    /// Accepts from a socket as long as `crowd` has room. `name` is for the log.
    pub fn listen(&self, id: SocketId, socket: Socket, crowd: Arc<Crowd>, name: String) {
        self.command(Command::Listen(id, socket, crowd, name));
    }

    /// Closes a listening socket; it is closed when this returns.
    pub fn ignore(&self, id: SocketId) {
        self.ask(|done| Command::Ignore(id, done));
    }

    /// Accepts nothing more, for good. The sockets stay open: who connects waits in the kernel's queue.
    pub fn pause(&self) {
        self.ask(Command::Pause);
    }

    /// Has the thread do something and waits until it is done.
    fn ask(&self, command: impl FnOnce(Sender<()>) -> Command) {
        let (done, is_done) = channel();
        self.command(command(done));
        // An error means that the thread is gone, and with it the sockets.
        let _ = is_done.recv();
    }

    /// Looks again at listeners that had no room.
    pub fn look_again(&self) {
        // A full pipe has woken the thread already.
        let _ = (&self.wake).write(&[0]);
    }

    fn command(&self, command: Command) {
        // An error means that the thread is gone: it only ends with the process.
        let _ = self.commands.send(command);
        self.look_again();
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.command(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // An error means that the thread panicked, which has been told already.
            let _ = thread.join();
        }
    }
}

struct Listening {
    id: SocketId,
    socket: Socket,
    crowd: Arc<Crowd>,
    name: String,
    /// Connections that were closed because the listener is full.
    refused: u32,
    /// How often the process had nothing left to accept with.
    exhausted: u32,
}

struct Worker<F> {
    inbox: Receiver<Command>,
    woken: UnixStream,
    signals: UnixStream,
    guard: Arc<Guard>,
    sockets: Vec<Listening>,
    report: F,
    /// What the thread waited for last, and what came of it.
    polled: Vec<libc::pollfd>,
    /// Whether the process had no descriptors or memory left at the last attempt.
    is_exhausted: bool,
    /// Whether nothing is accepted any more.
    is_paused: bool,
}

impl<F: Fn(Event)> Worker<F> {
    fn run(mut self) {
        loop {
            self.wait();
            if self.is_ready(&self.woken) {
                drain(&self.woken);
            }
            while let Ok(command) = self.inbox.try_recv() {
                match command {
                    Command::Listen(id, socket, crowd, name) => {
                        self.sockets.push(Listening {
                            id,
                            socket,
                            crowd,
                            name,
                            refused: 0,
                            exhausted: 0,
                        });
                    }
                    Command::Ignore(id, done) => {
                        self.sockets.retain(|listening| listening.id != id);
                        // An error means that nobody waits.
                        let _ = done.send(());
                    }
                    Command::Pause(done) => {
                        self.is_paused = true;
                        let _ = done.send(());
                    }
                    Command::Stop => return,
                }
            }
            if self.is_ready(&self.signals) && drain(&self.signals) {
                (self.report)(Event::Signalled);
            }
            if self.is_paused {
                continue;
            }
            let open = self.sockets.iter().map(|listening| listening.crowd.open());
            let is_ample = is_ample(open.sum());
            let mut batch = Vec::new();
            for listening in &mut self.sockets {
                if is_ready(&self.polled, &listening.socket) {
                    self.is_exhausted |= !listening.accept(&mut batch, &self.guard, is_ample);
                }
            }
            if !batch.is_empty() {
                (self.report)(Event::Accepted(batch));
            }
        }
    }

    /// Waits for something to do.
    fn wait(&mut self) {
        let poll_fd = |fd: RawFd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let fds = &mut self.polled;
        fds.clear();
        fds.push(poll_fd(self.woken.as_raw_fd()));
        fds.push(poll_fd(self.signals.as_raw_fd()));
        let mut timeout_ms = -1;
        if std::mem::take(&mut self.is_exhausted) {
            timeout_ms = EXHAUSTED_PAUSE_MS;
        } else if !self.is_paused {
            let with_room = self
                .sockets
                .iter()
                .filter(|listening| listening.crowd.room() != Room::Wait);
            fds.extend(with_room.map(|listening| poll_fd(listening.socket.as_raw_fd())));
        }
        // SAFETY: `fds` is a valid array of that many entries for the whole call.
        let count = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) };
        if count < 0 {
            // Interrupted: nothing is known to be ready.
            fds.clear();
        }
    }

    fn is_ready(&self, descriptor: &impl AsRawFd) -> bool {
        is_ready(&self.polled, descriptor)
    }
}

fn is_ready(polled: &[libc::pollfd], descriptor: &impl AsRawFd) -> bool {
    let fd = descriptor.as_raw_fd();
    polled.iter().any(|of| of.fd == fd && of.revents != 0)
}

impl Listening {
    /// Accepts what waits, as far as there is room. `false` when the process has nothing left to accept with; `is_ample` says that
    /// this cannot be for a batch.
    fn accept(&mut self, batch: &mut Vec<Accepted>, guard: &Guard, is_ample: bool) -> bool {
        for _ in 0..BATCH {
            let room = self.crowd.room();
            if room == Room::Wait {
                return true;
            }
            if !is_ample && let Err(error) = is_descriptor_left(&self.socket) {
                return self.is_harmless(&error);
            }
            let (socket, address) = match accept(&self.socket) {
                Ok(accepted) => accepted,
                Err(error) => return self.is_harmless(&error),
            };
            if room == Room::Full {
                self.refused = self.refused.saturating_add(1);
                if self.refused.is_power_of_two() {
                    log::warn!(
                        "listener '{}': full: {} connections refused so far",
                        self.name,
                        self.refused
                    );
                }
                continue;
            }
            if let Some(address) = address.as_socket()
                && !guard.admits(address.ip())
            {
                continue;
            }
            self.crowd.enter();
            let stream = match address.as_socket() {
                Some(address) => Stream::Tcp(OwnedFd::from(socket).into(), address),
                None => Stream::Unix(OwnedFd::from(socket).into()),
            };
            batch.push(Accepted {
                socket: self.id,
                stream,
                crowd: self.crowd.clone(),
            });
        }
        true
    }

    /// Whether accepting may go on at once after an error. Most are of the connection that was to be accepted (accept(2)).
    fn is_harmless(&mut self, error: &io::Error) -> bool {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                self.exhausted = self.exhausted.saturating_add(1);
                // It may last for days, and is found again five times a second.
                if self.exhausted.is_power_of_two() {
                    log::warn!("listener '{}': cannot accept for now: {error}", self.name);
                }
                false
            }
            _ => true,
        }
    }
}

/// Reads what there is; whether there was anything.
fn drain(mut stream: &UnixStream) -> bool {
    let mut bytes = [0; 64];
    let mut was_there = false;
    while let Ok(1..) = stream.read(&mut bytes) {
        was_there = true;
    }
    was_there
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Bind;

    #[test]
    fn connections_are_accepted_only_while_there_is_room() {
        let (events, reported) = channel();
        let (_signals, their_signals) = UnixStream::pair().expect("two descriptors");
        let rates = crate::auth::Rates {
            connections_per_s: 0,
            login_delay_ms: 0,
        };
        let guard = Guard::new(rates, || 0);
        let acceptor = Acceptor::start(their_signals, Arc::new(guard), move |event| {
            let _ = events.send(event);
        });
        let acceptor = acceptor.expect("a thread");
        let bind = Bind::Tcp {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            device: None,
        };
        let socket = open(&bind).expect("a port");
        let address = socket
            .local_addr()
            .ok()
            .and_then(|bound| bound.as_socket())
            .expect("an address");
        let crowd = Arc::new(Crowd::new(10, 1));
        acceptor.listen(SocketId(1), socket, crowd.clone(), "test".into());
        let _clients = [(); 2].map(|()| TcpStream::connect(address).expect("the kernel queues it"));
        let next = || match reported
            .recv_timeout(Duration::from_secs(20))
            .expect("one is accepted")
        {
            Event::Accepted(batch) => batch.len(),
            Event::Signalled => panic!("nobody sent a signal"),
        };
        assert_eq!(next(), 1);
        assert!(reported.try_recv().is_err(), "there is no room for another");
        assert!(crowd.admit());
        acceptor.look_again();
        assert_eq!(next(), 1);
    }
}
