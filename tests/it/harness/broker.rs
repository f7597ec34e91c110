//! A running broker: started on a scratch root, watched by its log, stopped by its process id.
//!
//! With `FOSQUITTO_REFERENCE=/usr/sbin/mosquitto` in the environment the same tests run against mosquitto, as far as its
//! configuration can say the same ([`super::reference`]): that is how a test of the protocol is held to a second opinion.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::client::Client;
use super::log::Log;
use super::packet::{Connack, Connect, Version};
use super::reference::Reference;
use super::root::{FOSQUITTO, Root};

/// The local side on a port of the kernel's choice and no remote side.
pub const LOCAL: &str = "config local 'local'\n\toption port '0'\n";

/// The local side, and a listener `open` on loopback that asks for nothing.
pub const OPEN: &str = "config local 'local'\n\toption port '0'\n\n\
    config listener 'open'\n\toption port '0'\n\tlist address '127.0.0.1'\n\toption allow_anonymous '1'\n";

/// The line that says that a reload is done.
pub const RELOADED: &str = "notice: configuration reloaded";

/// A broker that runs until it is dropped.
pub struct Broker {
    child: Child,
    root: Root,
    log: Log,
    reference: Option<Reference>,
}

impl Broker {
    /// Starts on a new root with this UCI file and waits until all is up.
    pub fn start(uci: &str) -> Broker {
        Broker::start_on(Root::with_uci(uci))
    }

    /// Starts on a root that is prepared already.
    pub fn start_on(root: Root) -> Broker {
        Broker::start_with(root, |_| {})
    }

    /// Starts with so many file descriptors and no way to get more.
    pub fn start_with_descriptors(root: Root, count: libc::rlim_t) -> Broker {
        Broker::start_with(root, |command| {
            let limit = libc::rlimit {
                rlim_cur: count,
                rlim_max: count,
            };
            let lower = move || match set_descriptor_limit(&limit) {
                true => Ok(()),
                false => Err(std::io::Error::last_os_error()),
            };
            // SAFETY: between fork and exec only setrlimit() is called, which is safe there, and nothing is allocated.
            unsafe { command.pre_exec(lower) };
        })
    }

    /// Starts with these listening sockets handed over, each by its name, as a service manager does it.
    pub fn start_handed(root: Root, sockets: &[(&str, BorrowedFd<'_>)]) -> Broker {
        let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
        // Above those that they will be.
        let moved = |fd: &BorrowedFd<'_>| {
            // SAFETY: the descriptor is open; the call makes another one, which is closed by exec().
            unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 500) }
        };
        let moved: Vec<RawFd> = sockets.iter().map(|(_, fd)| moved(fd)).collect();
        assert!(moved.iter().all(|fd| *fd >= 500), "descriptors are left");
        let copies = moved.clone();
        let mut command = Command::new("sh");
        // Only the process itself knows its number before it becomes the program.
        let script = "LISTEN_PID=$$ exec \"$0\" \"$@\"";
        command.args(["-c", script, &FOSQUITTO, "serve", "--root"]);
        command.arg(root.path());
        command.env("LISTEN_FDS", sockets.len().to_string());
        command.env("LISTEN_FDNAMES", names.join(":"));
        let hand_over = move || {
            // SAFETY: the descriptors are open.
            let is_done = |(fd, to): (&RawFd, RawFd)| unsafe { libc::dup2(*fd, to) == to };
            match copies.iter().zip(3..).all(is_done) {
                true => Ok(()),
                false => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: between fork and exec only dup2() is called, which is safe there, and nothing is allocated.
        unsafe { command.pre_exec(hand_over) };
        let broker = Broker::watch(root, command, None);
        for fd in moved {
            // SAFETY: it was made above, and nobody else has it.
            unsafe { libc::close(fd) };
        }
        broker.log.wait_from(0, "notice: ready");
        broker
    }

    /// Starts and waits until it listens, which it does before all is up.
    pub fn start_half(root: Root) -> Broker {
        let broker = Broker::spawn(root, |_| {});
        broker.log.wait_from(0, "listening on");
        broker
    }

    /// Starts with a command that is prepared, and waits until all is up.
    pub fn start_with(root: Root, prepare: impl FnOnce(&mut Command)) -> Broker {
        let broker = Broker::spawn(root, prepare);
        let ready = if broker.reference.is_some() {
            " running"
        } else {
            "notice: ready"
        };
        broker.log.wait_from(0, ready);
        broker
    }

    /// Starts and waits for nothing.
    fn spawn(root: Root, prepare: impl FnOnce(&mut Command)) -> Broker {
        let reference = Reference::asked_for(&root);
        let mut command = match &reference {
            Some(reference) => reference.command(),
            None => {
                let mut command = Command::new(&*FOSQUITTO);
                command.args(["serve", "--root"]).arg(root.path());
                command
            }
        };
        prepare(&mut command);
        Broker::watch(root, command, reference)
    }

    /// Runs the command and follows its log.
    fn watch(root: Root, mut command: Command, reference: Option<Reference>) -> Broker {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let log = Log::follow(child.stderr.take().expect("the standard error is a pipe"));
        // Made before any wait, so that a broker that never gets ready is ended all the same.
        Broker {
            child,
            root,
            log,
            reference,
        }
    }

    /// The root that it runs on.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Its log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process id.
    pub fn pid(&self) -> libc::pid_t {
        libc::pid_t::try_from(self.child.id()).expect("a process id fits its type")
    }

    /// The first address that the listener with this section name is bound to.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let addresses = self.addresses(listener);
        *addresses
            .first()
            .unwrap_or_else(|| panic!("the listener {listener} has an address"))
    }

    /// All addresses that this listener has been bound to, in the log's order.
    pub fn addresses(&self, listener: &str) -> Vec<SocketAddr> {
        match &self.reference {
            Some(reference) => vec![reference.address(listener)],
            None => bound(&self.log, listener)
                .filter_map(|place| place.parse().ok())
                .collect(),
        }
    }

    /// The unix sockets that this listener has been bound to.
    pub fn sockets(&self, listener: &str) -> Vec<PathBuf> {
        let places = bound(&self.log, listener).filter(|place| place.starts_with('/'));
        places.map(|place| Path::new(&place).to_owned()).collect()
    }

    /// A connection to the local side that has sent nothing.
    pub fn dial(&self) -> Client {
        Client::dial(self.address("local"))
    }

    /// Joins the local side; without a user name in `connect`, as the user `local`.
    pub fn join(&self, connect: &Connect) -> Client {
        self.dial().join(&self.as_local(connect))
    }

    /// Sends a CONNECT to the local side as it stands and returns the answer.
    pub fn attempt(&self, connect: &Connect) -> (Client, Connack) {
        let mut client = self.dial();
        let connack = client.connect(connect);
        (client, connack)
    }

    /// The same CONNECT with the credentials of `local` where it has no user name.
    pub fn as_local(&self, connect: &Connect) -> Connect {
        match connect.user_name {
            Some(_) => connect.clone(),
            None => connect.clone().user("local", &self.root.local_password()),
        }
    }

    /// Writes a new UCI file and has it taken over.
    pub fn reload(&self, uci: &str) {
        self.root.write_uci(uci);
        self.reload_files();
    }

    /// Has everything read again and waits until it is in force.
    pub fn reload_files(&self) {
        let mark = self.ask_to_reload();
        self.log.wait_from(mark, RELOADED);
    }

    /// Asks to have everything read again and waits for nothing: a line [`RELOADED`] from the mark on will say that it is done.
    pub fn ask_to_reload(&self) -> usize {
        let mark = self.log.mark();
        self.signal(libc::SIGHUP);
        mark
    }

    /// Lets one and a half seconds of the broker's time pass: so long it waits for a client that promised a keep alive of one.
    pub fn let_time_pass(&self) {
        let silent = Connect::new(Version::V311, "").keep_alive(1);
        self.join(&silent).closed();
    }

    /// Writes a UCI file that is wrong, and returns the lines of the log from the signal to the refusal.
    pub fn reload_refused(&self, uci: &str) -> Vec<String> {
        self.root.write_uci(uci);
        let mark = self.log.mark();
        self.signal(libc::SIGHUP);
        self.log.wait_from(mark, "configuration kept");
        self.log.lines().split_off(mark)
    }

    /// Sends a signal to this process and no other.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill() takes plain numbers; the process is our own child and not waited for yet.
        let status = unsafe { libc::kill(self.pid(), signal) };
        assert_eq!(status, 0, "the broker can be signalled");
    }

    /// Ends it by SIGTERM and returns its exit status and its root.
    pub fn stop(mut self) -> (ExitStatus, Root) {
        self.signal(libc::SIGTERM);
        let status = self.wait_for_exit();
        let root = std::mem::replace(&mut self.root, Root::new());
        (status, root)
    }

    /// Ends it by SIGKILL, as a crash does, and returns its root.
    pub fn kill(mut self) -> Root {
        self.signal(libc::SIGKILL);
        self.wait_for_exit();
        std::mem::replace(&mut self.root, Root::new())
    }

    /// Waits until the process is gone.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        self.log.wait_for_end();
        self.child.wait().expect("a child can be waited for")
    }

    /// The memory of the process that is in RAM and is no page of a file, in bytes. Pages of files come and go as the kernel likes.
    pub fn resident_bytes(&self) -> usize {
        self.status_bytes("RssAnon:") + self.status_bytes("RssShmem:")
    }

    /// Pages of files, those of its program first, that the process has in RAM, in bytes.
    pub fn resident_file_bytes(&self) -> usize {
        self.status_bytes("RssFile:")
    }

    /// The most memory that the process ever had in RAM beside the pages of files that it has now, in bytes.
    pub fn peak_resident_bytes(&self) -> usize {
        let peak = self.status_bytes("VmHWM:");
        peak.saturating_sub(self.resident_file_bytes())
    }

    /// The processor time that the process has taken so far, all its threads together.
    pub fn processor_time(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let text = text.expect("the process runs");
        // proc(5): the fields behind the name, which may hold anything; utime and stime are the 14th and the 15th of all.
        let (_, fields) = text.rsplit_once(')').expect("the name is in brackets");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks
            .map(|field| field.parse::<u64>().expect("it is a number"))
            .sum();
        // SAFETY: sysconf() takes and gives plain numbers.
        let ticks_a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        let ticks_a_second = u64::try_from(ticks_a_second).expect("the kernel knows it");
        Duration::from_millis(ticks * 1000 / ticks_a_second)
    }

    fn status_bytes(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the process runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("proc(5) lists it");
        let kilobytes = line.trim().trim_end_matches(" kB").parse::<usize>();
        kilobytes.expect("it is a number") * 1024
    }

    /// Lets the process have so many descriptors from now on.
    pub fn limit_descriptors(&self, count: libc::rlim_t) {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` is a valid rlimit for both calls; the process is our own child.
        let status = unsafe {
            libc::prlimit(
                self.pid(),
                libc::RLIMIT_NOFILE,
                std::ptr::null(),
                &mut limit,
            );
            limit.rlim_cur = count;
            libc::prlimit(
                self.pid(),
                libc::RLIMIT_NOFILE,
                &limit,
                std::ptr::null_mut(),
            )
        };
        assert_eq!(status, 0, "the limit is lowered or within the hard one");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the broker's log:\n{}", self.log.lines().join("\n"));
        }
    }
}

/// The places in the log's lines `listener 'NAME': listening on PLACE`.
fn bound(log: &Log, listener: &str) -> impl Iterator<Item = String> {
    let head = format!("listener '{listener}': listening on ");
    log.lines().into_iter().filter_map(move |line| {
        let (_, place) = line.split_once(&head)?;
        Some(place.split(' ').next().unwrap_or(place).to_owned())
    })
}

/// Lets this process, and what it starts, have as many file descriptors as it may.
pub fn take_all_descriptors() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit for the whole call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0;
    limit.rlim_cur = limit.rlim_max;
    assert!(
        known && set_descriptor_limit(&limit),
        "the limit can be raised"
    );
}

fn set_descriptor_limit(limit: &libc::rlimit) -> bool {
    // SAFETY: `limit` is a valid rlimit for the whole call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) == 0 }
}

/// Tries `attempt` again and again until it gives something, for a condition that nothing announces.
///
/// # Panics
/// When [`PATIENCE`] is over.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + *PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::yield_now();
    }
}
