//! The running program: entered through [`run`], left when a signal asks for it.
//!
//! Threads, each with its reason: the event loop does all network I/O and owns the broker; `fosquitto-accept` waits for new
//! connections and signals, so that a flood of them costs the loop nothing; `fosquitto-auth` computes hashes, which take
//! milliseconds. The loop is ntex's runtime without its `System`: only that would give the closing of sockets to a pool of threads,
//! which costs a connection more than its CONNECT, and the sockets here do not linger, so closing one never blocks.
//!
//! `bus` is the loop's state, `doors` the open listeners, `bridges` the connections to other brokers, `reload` and `judge` what SIGHUP does, `answer` what the control socket is
//! told, `signals` and `clock` what their names say; `offline` reads a state that no bus is running with. What a command line means is `cli`'s matter.

mod answer;
mod bridges;
mod bus;
mod clock;
mod doors;
mod judge;
mod keeping;
pub mod lint;
pub mod offline;
mod pages;
mod ram;
mod reload;
mod signals;
mod trail;
mod watch;
pub mod why;

use std::fs;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use ntex::rt::{DefaultRuntime, Handle, Runner as _};
use ntex::service::cfg::SharedCfg;
use ntex::time::{Millis, sleep};
use ntex::util::BytePageSize;

use crate::auth::{self, Credentials, Guard, LocalCredentials, Verifier};
use crate::broker::Input;
use crate::config::{self, Config};
use crate::log::{self as logging, black_box};
use crate::net::connection::{self, Due};
use crate::net::hub::Hub;
use crate::net::listener::handed::{Handed, handed_over};
use crate::net::listener::{Accepted, Acceptor, Event};
use crate::net::round::Rounds;
use bus::{Bus, Parts};
use signals::Asked;

/// What the command line says about the program.
#[derive(Debug)]
pub struct Options {
    /// The directory that stands for `/` in the router's paths.
    pub root: PathBuf,
    /// Where log lines go.
    pub log: logging::Target,
}

/// The process's number, below the root.
const PID_FILE: &str = "var/run/fosquitto/fosquitto.pid";

/// How long an ordered stop waits for its clients' sockets, in milliseconds: procd kills after 5 s.
const STOP_MS: u64 = 2000;

/// How many ticks an ordered stop hears its clients at least, and while they go on talking at most. In each tick every socket is read. A
/// client needs some of them to send what it connected for.
const HEAR_TICKS: Range<u32> = 3..25;

/// How often an ordered stop looks how far it has come. It goes by a thread's clock: after a rest the loop's timer is late by up to a
/// tenth of a second.
const TICK: Duration = Duration::from_millis(4);

/// What a process that dies leaves behind, below the root.
const LAST_WORDS: &str = "var/run/fosquitto/last-words";

/// A read takes so many bytes of a connection at once. It bounds what one connection does in a turn, and the buffers
/// that are passed around among the busy ones.
const READ_BYTES: usize = 32 * 1024;

/// A socket that holds more than this many bytes tells its connection when it has drained to the half.
const WRITE_HIGH_BYTES: usize = 64 * 1024;

/// Runs the bus until a signal ends it.
pub fn run(options: Options) -> ExitCode {
    // SAFETY: the process has opened no descriptor yet, and comes here once.
    let handed = unsafe { handed_over() };
    let config = match config::load(&options.root) {
        Ok(config) => config,
        Err(faults) => {
            logging::start(options.log, logging::Level::Notice);
            for fault in faults.0 {
                log::error!("{fault}");
            }
            return ExitCode::FAILURE;
        }
    };
    logging::start(options.log, config.global.log_level);
    match serve(options.root, config, handed) {
        Ok(code) => code,
        Err(error) => {
            log::error!("cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(root: PathBuf, config: Config, handed: Vec<Handed>) -> io::Result<ExitCode> {
    // A signal that comes early must find its handler: without one, SIGHUP ends a process.
    let (asked, told) = signals::install()?;
    log::info!("fosquitto {} starts", env!("CARGO_PKG_VERSION"));
    raise_descriptor_limit();
    let pid_file = root.join(PID_FILE);
    let credentials = credentials(&root, &config);
    let (mut seed, mut origin) = ([0; 8], [0; 8]);
    openssl::rand::rand_bytes(&mut seed)?;
    openssl::rand::rand_bytes(&mut origin)?;
    let verifier = Verifier::start()?;
    let (tell, outcome) = std::sync::mpsc::channel::<io::Result<ExitCode>>();
    let run = async move {
        let handle = Handle::current();
        let guard = Arc::new(Guard::new(bus::rates_of(&config.global), || clock::now().0));
        let acceptor = Acceptor::start(told, guard.clone(), move |event| {
            report(&handle, event, &asked);
        })?;
        let seed = u64::from_ne_bytes(seed);
        let bus = Bus::start(Parts {
            root,
            config,
            credentials,
            acceptor,
            verifier,
            guard,
            seed,
            origin: u64::from_ne_bytes(origin),
        });
        let rounds = Rounds::start(io_config())?;
        bus.table.borrow_mut().set_rounds(rounds);
        let config = bus.config.borrow().clone();
        bus.doors.borrow_mut().hand(handed);
        bus.doors.borrow_mut().follow(&bus, &config);
        if bus.doors.borrow().sockets() == 0 {
            log::error!("no listener could be opened");
            return Ok(ExitCode::FAILURE);
        }
        bus.restore(seed);
        bus.open_trail();
        reload::review_wills(&bus, None);
        bridges::follow(&bus);
        // Not before: a second one by mistake must not take the first one's place.
        write_pid_file(&bus.root.join(PID_FILE));
        watch_over(&bus.root.join(LAST_WORDS));
        watch::watch(&bus);
        *bus.control.borrow_mut() = answer::open(&bus);
        log::info!("ready");
        pages::let_go();
        bus.ended().await;
        Ok(ExitCode::SUCCESS)
    };
    let ended = DefaultRuntime.block_on(Box::pin(async move {
        // An error means that nobody waits for the outcome any more, and nobody does not.
        let _ = tell.send(run.await);
    }));
    // SAFETY: nothing of the loop runs any more, so nobody is in the middle of using an item. They must go while the thread's other
    // local values are there.
    unsafe { ntex::rt::remove_all_items() };
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
    let outcome = outcome.recv().map_err(io::Error::other)?;
    if let Ok(ExitCode::SUCCESS) = outcome {
        // An error means that it is gone already.
        let _ = fs::remove_file(pid_file);
    }
    outcome
}

/// Passes what the accept thread has to say to the event loop.
fn report(handle: &Handle, event: Event, asked: &Asked) {
    match event {
        Event::Accepted(batch) => {
            handle.spawn(async move { Bus::with(|bus| accept(bus, batch)) });
        }
        Event::Signalled => {
            let asked = asked.clone();
            handle.spawn(async move {
                Bus::with(|bus| {
                    if asked.take_stop() {
                        stop(bus);
                    } else if !asked.stop() && asked.take_reload() {
                        reload::reload(bus);
                    }
                });
            });
        }
    }
}

fn accept(bus: &Rc<Bus>, batch: Vec<Accepted>) {
    let timeout = bus.config.borrow().global.connect_timeout;
    let now = clock::now();
    let deadline = now.after_ms(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    let due = Due { now, deadline };
    for accepted in batch {
        let door = bus.doors.borrow().by_socket(accepted.socket);
        match door {
            Some(door) if bus.has_room_for(&door) => {
                let cfg = io_config();
                connection::accept(bus.clone(), accepted, door, due, cfg);
            }
            // There is no memory for it; or the listening socket was closed in the meantime, and with it goes who came through it.
            _ if accepted.crowd.turn_back() => bus.accept_more(),
            _ => {}
        }
    }
    bus.end_turn_soon();
}

/// How sockets are read and written; the same for all.
fn io_config() -> SharedCfg {
    thread_local! {
        static CONFIG: SharedCfg = SharedCfg::new("fosquitto")
            .add(
                ntex::io::IoConfig::new()
                    .set_read_buf(READ_BYTES, 1024, 16)
                    .set_write_buf(WRITE_HIGH_BYTES, 1024, 16)
                    .set_write_page_size(BytePageSize::Size16)
                    // Output is written at the end of the turn, never in between.
                    .set_write_buf_threshold(0),
            )
            .build();
    }
    CONFIG.with(Clone::clone)
}

/// Stops in order: nobody comes in any more, what clients have sent is taken, every client is told, and what is on its way to them is
/// sent.
fn stop(bus: &Rc<Bus>) {
    log::info!("stopping");
    bus.control.borrow_mut().take();
    bus.doors.borrow_mut().shut(bus);
    // Before it is answered: whoever has no answer connects again, and nothing of it is lost.
    bus.table.borrow_mut().end_before_connect();
    let bus = bus.clone();
    ntex::rt::spawn(async move {
        take_what_was_sent(&bus).await;
        bus.bridges.borrow_mut().stop(&*bus);
        bus.handle(Input::Shutdown);
        let deadline = clock::now().after_ms(STOP_MS);
        // Each connection ends when its socket has taken everything or its client is gone.
        while !bus.table.borrow().is_empty() && clock::now() < deadline {
            tick().await;
        }
        bus.stop_store();
        bus.doors.borrow_mut().close_all(&bus);
        log::info!("stopped");
        bus.end();
    });
}

/// Waits until clients have nothing more to say. Who publishes at QoS 0 takes a message as delivered when the kernel has it, and has
/// gone before it could hear otherwise.
async fn take_what_was_sent(bus: &Bus) {
    let received = || bus.table.borrow().traffic().bytes_received;
    let mut before = received();
    for count in 1..=HEAR_TICKS.end {
        tick().await;
        let after = received();
        if after == before && count >= HEAR_TICKS.start {
            return;
        }
        before = after;
    }
}

/// Waits for [`TICK`], while the loop looks at its sockets.
async fn tick() {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut is_started = false;
    let is_timed = poll_fn(|cx| {
        if is_over.load(Ordering::Acquire) {
            return Poll::Ready(true);
        }
        if is_started {
            return Poll::Pending;
        }
        is_started = true;
        let (over, waker) = (is_over.clone(), cx.waker().clone());
        let wait = move || {
            thread::sleep(TICK);
            over.store(true, Ordering::Release);
            waker.wake();
        };
        let thread = thread::Builder::new().name("fosquitto-stop".into());
        match thread.stack_size(64 * 1024).spawn(wait) {
            Ok(_) => Poll::Pending,
            Err(_) => Poll::Ready(false),
        }
    });
    if !is_timed.await {
        sleep(Millis(10)).await;
    }
}

/// The passwords, and on the first start those of the local side. Nobody of a file that cannot be used comes in.
fn credentials(root: &Path, config: &Config) -> Credentials {
    if config
        .listeners
        .iter()
        .any(|listener| listener.name == "local")
    {
        match auth::ensure_local(root) {
            Ok(LocalCredentials::Kept) => {}
            Ok(LocalCredentials::Created) => log::info!("the local credentials were made"),
            Ok(LocalCredentials::Repaired) => log::warn!("the local credentials were repaired"),
            Err(fault) => log::error!("the local credentials cannot be made: {fault}"),
        }
    }
    if let Err(fault) = auth::ensure_scram_secret(root) {
        log::error!("{fault}");
    }
    let (credentials, faults) = Credentials::load_sound(root);
    for fault in &faults {
        log::error!("{fault}");
    }
    if !faults.is_empty() {
        log::error!("nobody of a file with faults can log in");
    }
    credentials
}

/// Writes the process's number where the router's scripts look for it. A router whose /var/run is full runs all the same.
fn write_pid_file(path: &Path) {
    let directory = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(directory)
        .and_then(|()| fs::write(path, format!("{}\n", std::process::id())));
    if let Err(error) = written {
        log::warn!("{}: cannot be written: {error}", path.display());
    }
}

/// Tells of a former process that died, and has this one leave its last words in the same place.
fn watch_over(file: &Path) {
    match black_box::former(file) {
        Ok(true) => {
            let old = file.with_extension("old");
            let old = old.display();
            log::error!("the last process died: what happened before that stands in {old}");
        }
        Ok(false) => {}
        Err(error) => log::warn!("{}: {error}", file.display()),
    }
    black_box::arm(file);
}

/// Takes as many descriptors as the process may have: each connection needs one.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit for both calls. A failure leaves the limit as it is, which is then the bound.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}
