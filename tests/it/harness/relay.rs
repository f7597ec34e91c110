//! A relay between a client and the broker of a test: it forwards packets as they are, can lose one and the connection with it, and lets
//! the broker change its address.
//!
//! It reads no more of a packet than its first byte and its length.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use super::PATIENCE;

/// Who sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Broker,
}

/// A packet's sender and the upper half of its first byte.
pub type Kind = (Side, u8);

#[derive(Default)]
struct State {
    broker: Option<SocketAddr>,
    /// The next packet of this kind is lost, and its connection.
    trap: Option<Kind>,
    passed: Vec<Kind>,
    /// Both ends of every connection there was.
    sockets: Vec<TcpStream>,
}

/// A relay that runs as long as the test.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Relay {
    /// Listens on a port of its own. Without a broker, connections are closed.
    pub fn start() -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
        let relay = Relay {
            address: listener.local_addr().expect("it is bound"),
            shared: Arc::default(),
        };
        let shared = relay.shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let broker = lock(&shared).broker;
                // A broker that is gone meanwhile is as none: the client's connection is closed.
                if let Some(Ok(broker)) = broker.map(TcpStream::connect) {
                    forward(&client, &broker, Side::Client, &shared);
                    forward(&broker, &client, Side::Broker, &shared);
                }
            }
        });
        relay
    }

    /// The port for the client.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Says where the broker is from now on.
    pub fn lead_to(&self, broker: Option<SocketAddr>) {
        lock(&self.shared).broker = broker;
    }

    /// Has the next packet of this kind lost, and its connection; nothing connects then until the relay leads to a broker again.
    pub fn lose(&self, kind: Kind) {
        lock(&self.shared).trap = Some(kind);
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        for socket in lock(&self.shared).sockets.drain(..) {
            // An error means that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Waits until a packet was lost.
    pub fn wait_for_loss(&self) {
        self.wait("a packet is lost", |state| state.trap.is_none());
    }

    /// Waits until a packet of this kind has passed.
    pub fn wait_for(&self, kind: Kind) {
        self.wait("a packet passes", |state| state.passed.contains(&kind));
    }

    fn wait(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + *PATIENCE;
        let mut state = lock(&self.shared);
        while !condition(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never came true: {what}");
            let waited = self.shared.1.wait_timeout(state, left);
            state = waited.expect("no thread panics with it").0;
        }
    }
}

fn lock(shared: &(Mutex<State>, Condvar)) -> MutexGuard<'_, State> {
    shared.0.lock().expect("no thread panics with it")
}

/// Forwards packets in one direction, on a thread of its own, until either end closes.
fn forward(from: &TcpStream, to: &TcpStream, side: Side, shared: &Arc<(Mutex<State>, Condvar)>) {
    let mut from = from.try_clone().expect("a socket has a second handle");
    let mut to = to.try_clone().expect("a socket has a second handle");
    let shared = shared.clone();
    let second = from.try_clone().expect("a socket has a second handle");
    lock(&shared).sockets.push(second);
    thread::spawn(move || {
        let mut buffer = Vec::new();
        let mut chunk = [0; 16_384];
        'connection: while let Ok(count @ 1..) = from.read(&mut chunk) {
            buffer.extend_from_slice(&chunk[..count]);
            while let Some(length) = packet_length(&buffer) {
                let packet: Vec<u8> = buffer.drain(..length).collect();
                let kind = (side, packet[0] >> 4);
                let mut state = lock(&shared);
                if state.trap == Some(kind) {
                    state.trap = None;
                    state.broker = None;
                    shared.1.notify_all();
                    break 'connection;
                }
                if to.write_all(&packet).is_err() {
                    break 'connection;
                }
                state.passed.push(kind);
                shared.1.notify_all();
            }
        }
        // Errors mean that it is closed already.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// The length of the first packet, if all of it is there.
fn packet_length(buffer: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (index, byte) in buffer.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let end = 2 + index + length;
            return (buffer.len() >= end).then_some(end);
        }
    }
    None
}
