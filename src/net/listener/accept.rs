//! Accepting one connection, and whether the process has a descriptor for it. Whether the listener has room, `super` asks.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use socket2::{SockAddr, Socket};

use super::BATCH;

/// Descriptors that connections leave to the rest of the program: a reload opens files.
const DESCRIPTORS_KEPT: RawFd = 16;

/// Accepts a connection whose socket does not block, so that ntex need not ask for that.
pub(super) fn accept(socket: &Socket) -> io::Result<(Socket, SockAddr)> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the address and its length are valid for the whole call, which fills them, and the descriptor that it gives is
    // nobody else's.
    let (socket, address) = unsafe {
        SockAddr::try_init(|address, length| {
            match libc::accept4(socket.as_raw_fd(), address.cast(), length, flags) {
                fd @ 0.. => Ok(Socket::from_raw_fd(fd)),
                _ => Err(io::Error::last_os_error()),
            }
        })
    }?;
    Ok((socket, address))
}

/// Whether there is a descriptor for one more connection. The kernel always gives the lowest that is free, so a copy of another tells
/// which is next; a connection that was accepted could not be put back.
pub(super) fn is_descriptor_left(socket: &Socket) -> io::Result<()> {
    let next = socket.try_clone()?;
    if next.as_raw_fd() < descriptors_max().saturating_sub(DESCRIPTORS_KEPT) {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EMFILE))
    }
}

/// Whether that many connections leave so many descriptors that the next batch need not be looked at one by one: each has at most
/// two, and half of them are for all the rest, connections of removed listeners among it.
pub(super) fn is_ample(open: u32) -> bool {
    let batch = BATCH as u64;
    (u64::from(open) + batch) * 4 + batch < u64::try_from(descriptors_max()).unwrap_or(0)
}

/// The bound of the process's descriptors.
fn descriptors_max() -> RawFd {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit for the whole call, which cannot fail with valid arguments.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    RawFd::try_from(limit.rlim_cur).unwrap_or(RawFd::MAX)
}
