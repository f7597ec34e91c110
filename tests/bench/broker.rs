//! A broker as a child process: its configuration in a scratch folder of its own, its ports, its processor time and memory, its end.
//! Both brokers run as they are shipped, with no more than a listener, anonymous access and room for the connections added. What they
//! log goes to `log` in the scratch folder, which is removed with the broker. It does not speak MQTT beyond awaiting the first CONNACK.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::certificate;
use crate::client::Client;
use crate::machine::{self, Memory};

/// How long a broker may take until its first CONNACK; under callgrind that is many times what it takes alone.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// More connections than any case makes.
const CONNECTIONS_MAX: u32 = 20_000;
/// How long a broker may take to end after SIGTERM.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Debian's mosquitto.
    Mosquitto,
    /// This project's binary.
    Fosquitto,
    /// The relay of `relay`, which only copies bytes: what the system calls cost alone.
    Relay,
}

impl Kind {
    /// The name in options and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mosquitto => "mosquitto",
            Kind::Fosquitto => "fosquitto",
            Kind::Relay => "relay",
        }
    }
}

/// What an acknowledgement promises.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing.
    Volatile,
    /// To survive a crash, and a power cut but for the last half a minute.
    Interval,
    /// To survive a power cut.
    Commit,
}

/// What a case asks of a broker beyond what is shipped.
#[derive(Clone, Copy, Default)]
pub struct Setup<'a> {
    /// A TLS listener too.
    pub tls: bool,
    /// Where what lasts is, and how it does; without it a broker's default in its scratch folder.
    pub state: Option<State<'a>>,
    /// A bridge to the generator, by which everything goes out at QoS 1.
    pub bridge: bool,
    /// A copy of the passwords that another start made: a router has them.
    pub passwords: Option<&'a Path>,
}

/// What lasts.
#[derive(Clone, Copy)]
pub struct State<'a> {
    /// How it does. mosquitto promises nothing whatever it is; it writes its file at its end, each half a minute, or each second and
    /// after each change, and all of it each time.
    pub class: Class,
    /// A folder on a disk.
    pub folder: &'a Path,
}

impl Class {
    /// The name in UCI and in cases.
    pub fn name(self) -> &'static str {
        match self {
            Class::Volatile => "volatile",
            Class::Interval => "interval",
            Class::Commit => "commit",
        }
    }
}

/// Where the programs are, and where brokers may run.
#[derive(Clone)]
pub struct Programs {
    /// Debian's mosquitto.
    pub mosquitto: PathBuf,
    /// This project's release binary.
    pub fosquitto: PathBuf,
    /// The processors that brokers may use; empty: all.
    pub processors: Vec<usize>,
    /// The processors that the generator does not use, as far as there are such.
    pub apart: Vec<usize>,
    /// What brokers are run under (callgrind), or nothing.
    pub wrapper: Vec<String>,
}

/// A running broker. Dropping it kills it and removes its folder.
pub struct Broker {
    child: Child,
    folder: Scratch,
    /// The plain listener's port on the loopback.
    pub port: u16,
    /// The TLS listener's port on the loopback, if the case wants one.
    pub tls_port: Option<u16>,
    /// From the start of the process to its first CONNACK.
    pub start_up: Duration,
    /// Where its bridge connects to, if it has one.
    remote: Option<TcpListener>,
}

impl Broker {
    /// Starts a broker and awaits its first CONNACK.
    pub fn start(kind: Kind, programs: &Programs, setup: Setup<'_>) -> io::Result<Broker> {
        let scratch = Scratch::new()?;
        let folder = scratch.path();
        let port = free_port()?;
        let tls_port = if setup.tls { Some(free_port()?) } else { None };
        let remote = match setup.bridge {
            true => Some(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?),
            false => None,
        };
        let ports = Ports {
            plain: port,
            tls: tls_port,
            remote: match &remote {
                Some(remote) => Some(remote.local_addr()?.port()),
                None => None,
            },
        };
        let arguments = match kind {
            Kind::Mosquitto => mosquitto(&programs.mosquitto, folder, &ports, setup.state)?,
            Kind::Fosquitto => fosquitto(&programs.fosquitto, folder, &ports, setup.state)?,
            Kind::Relay => vec![
                path(&std::env::current_exe()?),
                "--relay".to_owned(),
                port.to_string(),
            ],
        };
        if let Some(passwords) = setup.passwords.filter(|_| kind == Kind::Fosquitto) {
            copy_files(passwords, &folder.join(PASSWORDS))?;
        }
        let mut command = command(
            &[&programs.wrapper[..], &arguments].concat(),
            &programs.processors,
        );
        let log = File::create(folder.join("log"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let started = Instant::now();
        let child = command
            .spawn()
            .map_err(|error| io::Error::other(format!("{}: {error}", arguments[0])))?;
        let mut broker = Broker {
            child,
            folder: scratch,
            port,
            tls_port,
            start_up: Duration::ZERO,
            remote,
        };
        broker.await_ready(started)?;
        Ok(broker)
    }

    fn await_ready(&mut self, started: Instant) -> io::Result<()> {
        loop {
            match Client::connect(self.port, "bench-ready") {
                Ok(_) => {
                    self.start_up = started.elapsed();
                    return Ok(());
                }
                Err(error) if started.elapsed() > READY_WITHIN => return Err(self.explain(error)),
                Err(_) => std::thread::sleep(Duration::from_micros(100)),
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(self.explain(io::Error::other(format!("ended with {status}"))));
            }
        }
    }

    /// Adds the end of the broker's log to an error.
    pub fn explain(&self, error: io::Error) -> io::Error {
        let log = fs::read_to_string(self.folder.0.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join(" | ");
        io::Error::other(format!("{error}; the broker's log ends: {last}"))
    }

    /// The processor time that it has used so far, in nanoseconds.
    pub fn processor_time_ns(&self) -> io::Result<u64> {
        machine::processor_time_ns(self.child.id())
    }

    /// The remote end of its bridge, if it has one.
    pub fn accept_bridge(&self) -> io::Result<Option<Client>> {
        self.remote.as_ref().map(Client::accept).transpose()
    }

    /// The folder with its configuration, its log and what it keeps in memory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its resident memory.
    pub fn memory(&self) -> io::Result<Memory> {
        Memory::of(self.child.id())
    }

    /// The file with the certificate of the TLS listener, which is its own authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.0.join("cert.pem")
    }

    /// Ends it by SIGTERM, so that it can write what it writes at its end.
    pub fn stop(mut self) -> io::Result<()> {
        // SAFETY: the child has not been waited for, so the number is still its own.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let since = Instant::now();
        while self.child.try_wait()?.is_none() {
            if since.elapsed() > ENDED_WITHIN {
                return Err(io::Error::other("the broker does not end after SIGTERM"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Nothing can be done about a child that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command line `arguments`, restricted to `processors` and ended by the kernel if the generator dies.
fn command(arguments: &[String], processors: &[usize]) -> Command {
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]);
    let processors = processors.to_vec();
    // SAFETY: between fork and exec only system calls are made, nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if processors.is_empty() {
                Ok(())
            } else {
                machine::stay_on(&processors)
            }
        });
    }
    command
}

/// The ports of the loopback that a configuration names.
struct Ports {
    plain: u16,
    tls: Option<u16>,
    /// Where a bridge connects to.
    remote: Option<u16>,
}

/// Debian's configuration with its paths in the scratch folder, a listener and anonymous access; returns the command line. It stays the user that
/// started it, because that is who may read the folder.
fn mosquitto(
    program: &Path,
    folder: &Path,
    ports: &Ports,
    state: Option<State<'_>>,
) -> io::Result<Vec<String>> {
    let (shown, port) = (folder.display(), ports.plain);
    let mut text = format!(
        "user root\npersistence true\npersistence_location {}/\nlog_dest file {shown}/log\n\
         allow_anonymous true\nlistener {port} 127.0.0.1\n",
        state.map_or(folder, |state| state.folder).display()
    );
    text += match state.map(|state| state.class) {
        None | Some(Class::Volatile) => "",
        Some(Class::Interval) => "autosave_interval 30\n",
        Some(Class::Commit) => "autosave_on_changes true\nautosave_interval 1\n",
    };
    if let Some(remote) = ports.remote {
        text += &format!(
            "connection out\naddress 127.0.0.1:{remote}\ntopic # out 1\nnotifications false\n"
        );
    }
    if let Some(tls_port) = ports.tls {
        let files = certificate::write(folder)?;
        text += &format!(
            "listener {tls_port} 127.0.0.1\ncertfile {}\nkeyfile {}\n",
            files.certificate.display(),
            files.key.display()
        );
    }
    let file = folder.join("mosquitto.conf");
    fs::write(&file, text)?;
    Ok(vec![path(program), "-c".to_owned(), path(&file)])
}

/// The shipped defaults with a listener and anonymous access, in a root of its own; returns the command line. A listener's default bound of
/// connections is a router's; mosquitto has none.
fn fosquitto(
    program: &Path,
    folder: &Path,
    ports: &Ports,
    state: Option<State<'_>>,
) -> io::Result<Vec<String>> {
    let listener = |name: &str, port: u16| {
        format!(
            "\nconfig listener '{name}'\n\toption port '{port}'\n\tlist address '127.0.0.1'\n\toption allow_anonymous '1'\n\
             \toption max_connections '{CONNECTIONS_MAX}'\n"
        )
    };
    let local = free_port()?;
    let mut text = format!(
        "config local 'local'\n\toption port '{local}'\n{}",
        listener("bench", ports.plain)
    );
    if let Some(remote) = ports.remote {
        text += &format!(
            "\nconfig bridge 'out'\n\tlist address '127.0.0.1:{remote}'\n\tlist topic '# out 1'\n\toption notifications '0'\n"
        );
    }
    if let Some(tls_port) = ports.tls {
        let files = certificate::write(folder)?;
        text += &listener("bench_tls", tls_port);
        text += &format!(
            "\toption tls '1'\n\toption cert '{}'\n\toption key '{}'\n",
            files.certificate.display(),
            files.key.display()
        );
    }
    if let Some(State { class, folder }) = state {
        text += &format!(
            "\nconfig persistence 'persistence'\n\toption durability '{}'\n\toption path '{}/fosquitto.db'\n",
            class.name(),
            folder.display()
        );
    }
    fs::create_dir_all(folder.join("etc/config"))?;
    fs::write(folder.join("etc/config/fosquitto"), text)?;
    Ok(vec![
        path(program),
        "serve".to_owned(),
        "--root".to_owned(),
        path(folder),
    ])
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// Where this project's broker keeps passwords, below its root.
pub const PASSWORDS: &str = "etc/fosquitto";

/// Copies the files of a folder into another one, which is made; nothing if it is not there.
pub fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// A folder for one broker, removed with it.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder, in memory where the system has such a place: the journal of a router is in memory too.
    pub fn new() -> io::Result<Scratch> {
        let shared_memory = Path::new("/dev/shm");
        let parent = if shared_memory.is_dir() {
            shared_memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        Scratch::below(&parent)
    }

    /// A new folder where the system keeps temporary files, which should be on a disk: there a sync costs something.
    pub fn on_disk() -> io::Result<Scratch> {
        Scratch::below(&std::env::temp_dir())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn below(parent: &Path) -> io::Result<Scratch> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("bench-bus-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about a folder that cannot be removed.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port that nobody listens on now. Another process could take it before the broker does; then the start fails and says so.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
