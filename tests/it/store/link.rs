//! A connection that never waits: many of them are served by one thread, which sees what the broker has sent until its last moment.
//!
//! It knows packets and no meaning. A broker that is gone is no error: what it sent before is still given.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;

use crate::harness::PATIENCE;
use crate::harness::packet::{self, Connect, Packet, Publish, Version};

/// One connection.
pub struct Link {
    stream: TcpStream,
    version: Version,
    received: Vec<u8>,
    output: Vec<u8>,
    is_closed: bool,
}

impl Link {
    /// Connects, and has CONNECT ready to be written.
    pub fn open(address: SocketAddr, connect: &Connect) -> Link {
        let stream = TcpStream::connect_timeout(&address, *PATIENCE).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_nonblocking(true).expect("a TCP socket");
        Link {
            stream,
            version: connect.version,
            received: Vec::new(),
            output: connect.encode(),
            is_closed: false,
        }
    }

    /// Has bytes ready to be written.
    pub fn send(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Has a PUBLISH ready to be written.
    pub fn publish(&mut self, publish: &Publish) {
        let bytes = publish.encode(self.version);
        self.send(&bytes);
    }

    /// Has a SUBSCRIBE of one filter ready to be written.
    pub fn subscribe(&mut self, packet_id: u16, filter: &str, qos: u8) {
        let bytes = packet::subscribe(self.version, packet_id, &[(filter, qos)]);
        self.send(&bytes);
    }

    /// Has an UNSUBSCRIBE of one filter ready to be written.
    pub fn unsubscribe(&mut self, packet_id: u16, filter: &str) {
        let bytes = packet::unsubscribe(self.version, packet_id, &[filter]);
        self.send(&bytes);
    }

    /// Writes what the socket takes.
    pub fn write(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // It is gone.
                Err(_) => self.output.clear(),
            }
        }
    }

    /// Every whole packet that has come.
    pub fn packets(&mut self) -> Vec<Packet> {
        let mut chunk = [0; 16 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(count @ 1..) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                _ => {
                    self.is_closed = true;
                    break;
                }
            }
        }
        std::iter::from_fn(|| packet::take(&mut self.received, self.version)).collect()
    }

    /// Whether the broker has closed it, or is gone.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// What to wait for with poll().
    pub fn poll(&self) -> libc::pollfd {
        let writes = match self.output.is_empty() {
            true => 0,
            false => libc::POLLOUT,
        };
        libc::pollfd {
            fd: self.stream.as_raw_fd(),
            events: libc::POLLIN | writes,
            revents: 0,
        }
    }
}
