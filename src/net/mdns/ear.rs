//! The sockets of multicast DNS, and the thread `fosquitto-mdns` that listens to them. Entered through [`Ear::start`].
//!
//! There is one socket for each family, in the groups of every device that there is. Other programs of the router listen on the same
//! port; where one of them lets nobody else, questions go out from another port, and routers answer that port alone (RFC 6762, section
//! 6.7). The thread costs nothing while the network is silent, and of a flood of packets it takes a bounded number a second. What to ask,
//! and what an answer means, is the [`Listener`]'s matter.

use std::io::{self, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};

use super::{GROUP_V4, GROUP_V6, Kind, Name, PACKET_BYTES_MAX, PORT, Record, question, read};

/// Packets that are read a second. A busy network has a few; what is more waits in the socket's buffer, or is lost.
const PACKETS_MAX: u32 = 100;

/// Devices that are asked on.
const DEVICES_MAX: usize = 64;

/// Packets do not leave the link, and show by this that they have not been routed (RFC 6762, section 11).
const TTL: u32 = 255;

/// Who asks and listens. It is called on the thread.
pub trait Listener: Send + Sync + 'static {
    /// What a packet said. `device` is where it came from, if it came from a link-local address.
    fn heard(&self, device: Option<&str>, records: &[Record], now: Instant);

    /// What is to be asked now, and after how long it wants to be asked this again. It is asked after each packet too.
    fn asks(&self, now: Instant) -> (Vec<(Name, Kind)>, Duration);
}

/// The handle of the thread, which ends when this is dropped.
pub struct Ear {
    wake: UnixStream,
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ear {
    /// Opens the sockets and starts the thread.
    ///
    /// # Errors
    /// There is neither a socket for IPv4 nor one for IPv6, or no thread.
    pub fn start(listener: Arc<impl Listener>) -> io::Result<Ear> {
        let (v4, v6) = (open(Domain::IPV4), open(Domain::IPV6));
        let (v4, v6) = match (v4, v6) {
            (Err(error), Err(_)) => return Err(error),
            (v4, v6) => (v4.ok(), v6.ok()),
        };
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            listener,
            v4,
            v6,
            woken,
            is_stopping: is_stopping.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("fosquitto-mdns".into())
            .stack_size(128 * 1024)
            .spawn(move || worker.run())?;
        Ok(Ear {
            wake,
            is_stopping,
            thread: Some(thread),
        })
    }

    /// Has the listener asked at once what it asks.
    pub fn wake(&self) {
        // A full pipe has woken the thread already.
        let _ = (&self.wake).write(&[0]);
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // An error means that the thread panicked, which has been told already. It waits for nothing but the network.
            let _ = thread.join();
        }
    }
}

fn open(domain: Domain) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    let is_v6 = domain == Domain::IPV6;
    if is_v6 {
        socket.set_only_v6(true)?;
        socket.set_multicast_hops_v6(TTL)?;
    } else {
        socket.set_multicast_ttl_v4(TTL)?;
    }
    let at = |port| match is_v6 {
        true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    };
    if socket.bind(&at(PORT).into()).is_err() {
        socket.bind(&at(0).into())?;
    }
    Ok(socket)
}

struct Worker<L> {
    listener: Arc<L>,
    v4: Option<Socket>,
    v6: Option<Socket>,
    woken: UnixStream,
    is_stopping: Arc<AtomicBool>,
}

impl<L: Listener> Worker<L> {
    fn run(mut self) {
        let mut buffer = vec![MaybeUninit::uninit(); PACKET_BYTES_MAX];
        let mut since = Instant::now();
        let mut packets = 0;
        while !self.is_stopping.load(Ordering::Acquire) {
            let now = Instant::now();
            let (asked, wait) = self.listener.asks(now);
            if !asked.is_empty() {
                self.ask(&asked);
            }
            if now.duration_since(since) >= Duration::from_secs(1) {
                (since, packets) = (now, 0);
            }
            let is_flooded = packets >= PACKETS_MAX;
            self.wait(wait, is_flooded);
            for socket in [&self.v4, &self.v6].into_iter().flatten() {
                while packets < PACKETS_MAX && self.hear(socket, &mut buffer) {
                    packets += 1;
                }
            }
        }
    }

    /// Waits for a packet, a word, or for so long. What floods it is not waited for.
    fn wait(&mut self, wait: Duration, is_flooded: bool) {
        let poll_fd = |fd: RawFd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut fds = vec![poll_fd(self.woken.as_raw_fd())];
        let mut wait = wait;
        if is_flooded {
            wait = wait.min(Duration::from_secs(1));
        } else {
            let sockets = [&self.v4, &self.v6].into_iter().flatten();
            fds.extend(sockets.map(|socket| poll_fd(socket.as_raw_fd())));
        }
        let timeout_ms = i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: `fds` is a valid array of that many entries for the whole call.
        unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) };
        let mut bytes = [0; 64];
        // It ends: the pipe is bounded, and whoever writes writes seldom.
        while let Ok(1..) = self.woken.read(&mut bytes) {}
    }

    /// Takes a packet; whether there was one.
    fn hear(&self, socket: &Socket, buffer: &mut [MaybeUninit<u8>]) -> bool {
        let Ok((count, from)) = socket.recv_from(buffer) else {
            return false;
        };
        let packet: Vec<u8> = buffer[..count]
            .iter()
            // SAFETY: the kernel has written so many bytes.
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        // Whoever answers does so from this port (RFC 6762, section 6).
        let from = from.as_socket().filter(|from| from.port() == PORT);
        if let (Some(from), Ok(records)) = (from, read(&packet))
            && !records.is_empty()
        {
            let device = match from {
                SocketAddr::V6(from) => device_name(from.scope_id()),
                SocketAddr::V4(_) => None,
            };
            self.listener
                .heard(device.as_deref(), &records, Instant::now());
        }
        true
    }

    /// Asks on every device, after joining its groups: a device may have come since. An error is a device's that cannot do this, or
    /// whose network is away.
    fn ask(&self, asked: &[(Name, Kind)]) {
        let packet = question(asked, false);
        for (index, name) in devices() {
            if let Some(socket) = &self.v4 {
                let on = InterfaceIndexOrAddress::Index(index);
                let _ = socket.join_multicast_v4_n(&GROUP_V4, &on);
                let to = SockAddr::from(SocketAddr::from((GROUP_V4, PORT)));
                let sent = set_multicast_device_v4(socket, index)
                    .and_then(|()| socket.send_to(&packet, &to));
                if let Err(error) = sent {
                    log::debug!("mdns: {name}: IPv4: {error}");
                }
            }
            if let Some(socket) = &self.v6 {
                let _ = socket.join_multicast_v6(&GROUP_V6, index);
                let to = SockAddr::from(SocketAddr::from((GROUP_V6, PORT)));
                let sent = socket
                    .set_multicast_if_v6(index)
                    .and_then(|()| socket.send_to(&packet, &to));
                if let Err(error) = sent {
                    log::debug!("mdns: {name}: IPv6: {error}");
                }
            }
        }
    }
}

/// Multicast goes out through this device. The binding does it by address only, and a device may have none yet.
fn set_multicast_device_v4(socket: &Socket, index: u32) -> io::Result<()> {
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: i32::try_from(index).unwrap_or_default(),
    };
    let size = libc::socklen_t::try_from(size_of_val(&request)).unwrap_or_default();
    // SAFETY: `request` is valid for the whole call, and that large.
    let result = unsafe {
        let value = (&raw const request).cast();
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            value,
            size,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The devices that there are, with their numbers.
fn devices() -> Vec<(u32, String)> {
    let mut devices = Vec::new();
    // SAFETY: the list ends with a number of 0, each name is a C string, and the list is freed once, after its use.
    unsafe {
        let list = libc::if_nameindex();
        if list.is_null() {
            return devices;
        }
        let mut entry = list;
        while (*entry).if_index != 0 && devices.len() < DEVICES_MAX {
            let name = std::ffi::CStr::from_ptr((*entry).if_name);
            devices.push(((*entry).if_index, name.to_string_lossy().into_owned()));
            entry = entry.add(1);
        }
        libc::if_freenameindex(list);
    }
    devices
}

fn device_name(index: u32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: `name` has the room that the call may fill, and it is a C string then.
    unsafe {
        let name = libc::if_indextoname(index, name.as_mut_ptr());
        let name = (!name.is_null()).then(|| std::ffi::CStr::from_ptr(name));
        name.map(|name| name.to_string_lossy().into_owned())
    }
}
