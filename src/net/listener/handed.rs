//! Listening sockets that a service manager has opened and hands over: descriptors from 3 on, told by `LISTEN_FDS`, `LISTEN_PID` and
//! `LISTEN_FDNAMES` in the environment, as systemd's sd_listen_fds(3) describes it. A name is that of a listener.
//!
//! Entered by [`handed_over`], once, before anything else opens a descriptor. [`take`] looks for the one that fits what a listener asks for:
//! such a port stays open while one process of this program follows another. What fits nothing is its owner's to close.

use std::env;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use socket2::{Socket, Type};

use super::open::{prepare, prepare_tcp};
use crate::config::Bind;

/// The first descriptor that is handed over.
const FIRST: RawFd = 3;

/// More than this are not handed over: it is a number from the environment.
const COUNT_MAX: RawFd = 1024;

/// A socket that was handed over.
#[derive(Debug)]
pub struct Handed {
    /// The name of the listener that it is for.
    pub name: String,
    socket: Socket,
}

impl Handed {
    /// Where it listens, for the log.
    pub fn place(&self) -> String {
        let Ok(address) = self.socket.local_addr() else {
            return "no socket".to_owned();
        };
        match (address.as_socket(), address.as_pathname()) {
            (Some(address), _) => address.to_string(),
            (None, Some(path)) => path.display().to_string(),
            (None, None) => "another kind of socket".to_owned(),
        }
    }
}

/// The sockets that this process was handed.
///
/// # Safety
/// MUST be called once, before this process has opened a descriptor: what the environment names is taken into possession.
pub unsafe fn handed_over() -> Vec<Handed> {
    let number = |name: &str| env::var(name).ok()?.parse::<RawFd>().ok();
    let own = RawFd::try_from(std::process::id()).ok();
    let is_for_us = own.is_some() && number("LISTEN_PID") == own;
    let count = number("LISTEN_FDS").filter(|_| is_for_us).unwrap_or(0);
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let descriptors = FIRST..FIRST + count.clamp(0, COUNT_MAX);
    descriptors
        .filter_map(|fd| {
            // sd_listen_fds(3): one without a name is `unknown`.
            let name = names.next().filter(|name| !name.is_empty());
            let name = name.unwrap_or("unknown").to_owned();
            // SAFETY: the call looks at a number; one that is no descriptor gives an error.
            let is_open = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
            // SAFETY: it is open, and the caller promises that nobody else has it.
            let owned = is_open.then(|| unsafe { OwnedFd::from_raw_fd(fd) })?;
            let socket = Socket::from(owned);
            Some(Handed { name, socket })
        })
        .collect()
}

/// Takes the socket out that is what a listener asks for, ready to accept from.
pub fn take(handed: &mut Vec<Handed>, listener: &str, bind: &Bind) -> Option<Socket> {
    let fits = |it: &Handed| it.name == listener && is_what_is_asked(&it.socket, bind);
    let position = handed.iter().position(fits)?;
    let Handed { socket, .. } = handed.swap_remove(position);
    let prepared = match bind {
        Bind::Tcp { .. } => prepare_tcp(&socket),
        Bind::Unix(_) => Ok(()),
    };
    prepared.and_then(|()| prepare(&socket)).ok()?;
    Some(socket)
}

/// Whether a socket is a listening one of this address, device or path. Port 0 is any.
fn is_what_is_asked(socket: &Socket, bind: &Bind) -> bool {
    let facts = || -> io::Result<bool> {
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Ok(false);
        }
        let bound = socket.local_addr()?;
        Ok(match bind {
            Bind::Unix(path) => bound.as_pathname() == Some(path),
            Bind::Tcp { address, device } => {
                let Some(bound) = bound.as_socket() else {
                    return Ok(false);
                };
                let is_there = bound.ip() == address.ip()
                    && (address.port() == 0 || address.port() == bound.port());
                // One for both families would keep the listener's own IPv4 socket out.
                let is_alone = !address.is_ipv6() || socket.only_v6()?;
                is_there
                    && is_alone
                    && socket.device()?.as_deref() == device.as_ref().map(|it| it.as_bytes())
            }
        })
    };
    facts().unwrap_or(false)
}
