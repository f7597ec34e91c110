//! Opens listening sockets as the configuration asks for them, and cleans up after them. It accepts nothing.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::config::Bind;

/// The kernel's queue of connections that wait to be accepted; it takes its own bound if that is lower.
const BACKLOG: i32 = 1024;

/// A dead client is noticed by the kernel after about two minutes, also where it asked for no keep alive.
const TCP_KEEPALIVE: (Duration, Duration, u32) =
    (Duration::from_secs(60), Duration::from_secs(15), 4);

/// Opens a listening socket.
///
/// An address that the router does not have yet is bound all the same (IP_FREEBIND): it may come later, and then the
/// listener is there.
///
/// # Errors
/// The address is in use, or the system refuses for another reason.
pub fn open(bind: &Bind) -> io::Result<Socket> {
    let socket = match bind {
        Bind::Tcp { address, device } => open_tcp(*address, device.as_deref())?,
        Bind::Unix(path) => open_unix(path)?,
    };
    prepare(&socket)?;
    Ok(socket)
}

fn open_tcp(address: SocketAddr, device: Option<&str>) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    if let Some(device) = device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    prepare_tcp(&socket)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// What accepted sockets inherit.
pub(in crate::net) fn prepare_tcp(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let (time, interval, retries) = TCP_KEEPALIVE;
    let keepalive = TcpKeepalive::new()
        .with_time(time)
        .with_interval(interval)
        .with_retries(retries);
    socket.set_tcp_keepalive(&keepalive)
}

/// Makes any socket one that the accept thread can wait for with others.
pub(super) fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)
}

/// A Unix socket that its owner and group may connect to. One that a former process left behind is replaced; one that is
/// listened on is not.
fn open_unix(path: &Path) -> io::Result<Socket> {
    let is_left_behind = fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.file_type().is_socket())
        && UnixStream::connect(path).is_err();
    if is_left_behind {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(socket)
}

/// Removes what a listening socket leaves behind in the file system.
pub fn clean_up(bind: &Bind) {
    if let Bind::Unix(path) = bind {
        // An error means that it is gone already.
        let _ = fs::remove_file(path);
    }
}

/// Where a socket listens: with the port that the kernel chose, if it was to.
pub fn describe(bind: &Bind, socket: &Socket) -> String {
    match bind {
        Bind::Unix(path) => path.display().to_string(),
        Bind::Tcp { address, device } => {
            let bound = socket
                .local_addr()
                .ok()
                .and_then(|bound| bound.as_socket())
                .unwrap_or(*address);
            match device {
                Some(device) => format!("{bound} ({device})"),
                None => bound.to_string(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_there_yet_can_be_listened_on() {
        // 192.0.2.0/24 is nobody's (RFC 5737).
        let address = SocketAddr::from(([192, 0, 2, 1], 0));
        assert!(
            open(&Bind::Tcp {
                address,
                device: None
            })
            .is_ok()
        );
    }
}
