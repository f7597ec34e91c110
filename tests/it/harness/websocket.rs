//! The client's side of a WebSocket, in plain bytes: frames that are right, and frames that are not.
//!
//! Written against RFC 6455 alone. A [`WebSocket`] is also a [`Wire`], so that a [`Client`](super::client::Client) can speak MQTT
//! through it; each of its writes is one frame then.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;
use super::client::{Client, Wire};

/// Opcodes, with the bit of the last fragment.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8A;

/// A request as every broker's listener takes it. The key is that of the RFC's example.
pub const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: 192.0.2.1:80\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// One connection.
pub struct WebSocket {
    wire: Box<dyn Wire>,
    /// What has arrived and is not taken yet.
    bytes: Vec<u8>,
    /// Payload for [`Read`].
    payload: Vec<u8>,
}

impl WebSocket {
    /// Connects and sends nothing.
    pub fn dial(address: SocketAddr) -> WebSocket {
        let stream = TcpStream::connect(address).expect("the listener listens");
        stream
            .set_nodelay(true)
            .expect("a TCP socket takes TCP_NODELAY");
        WebSocket::over(Box::new(stream))
    }

    /// Takes a stream that is open already.
    pub fn over(wire: Box<dyn Wire>) -> WebSocket {
        wire.read_within(*PATIENCE)
            .expect("a socket takes a read deadline");
        WebSocket {
            wire,
            bytes: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Connects and is let in.
    pub fn open(address: SocketAddr) -> WebSocket {
        WebSocket::dial(address).upgraded()
    }

    /// Sends the request and expects to be let in.
    pub fn upgraded(mut self) -> WebSocket {
        let answer = self.ask(REQUEST);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        self
    }

    /// An MQTT client that speaks through it.
    pub fn client(self) -> Client {
        Client::over(Box::new(self))
    }

    /// Sends a request and returns the answer's head.
    pub fn ask(&mut self, request: &str) -> String {
        self.send_bytes(request.as_bytes());
        loop {
            if let Some(end) = self.bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                let head = self.bytes.drain(..end + 4).collect();
                return String::from_utf8(head).expect("the answer is text");
            }
            assert!(self.receive(), "an answer comes");
        }
    }

    /// Sends bytes as they stand. That the broker closed meanwhile is no error here: the next read tells.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.wire.write_all(bytes).and_then(|()| self.wire.flush());
    }

    /// Sends a masked frame.
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(&frame(first, payload));
    }

    /// The next frame: its first byte and its payload. `None` when the broker closes instead.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((header, size)) = self.header()
                && self.bytes.len() >= header + size
            {
                let frame: Vec<u8> = self.bytes.drain(..header + size).collect();
                assert_eq!(frame[1] & 0x80, 0, "a server does not mask");
                return Some((frame[0], frame[header..].to_vec()));
            }
            if !self.receive() {
                assert!(self.bytes.is_empty(), "a frame is sent whole");
                return None;
            }
        }
    }

    /// The size of the next frame's header and payload.
    fn header(&self) -> Option<(usize, usize)> {
        let (header, length) = match self.bytes.get(1)? {
            126 => (4, self.bytes.get(2..4)?),
            127 => (10, self.bytes.get(2..10)?),
            _ => (2, &self.bytes[1..2]),
        };
        let size = length
            .iter()
            .fold(0, |size, byte| size << 8 | usize::from(*byte));
        Some((header, size))
    }

    /// Expects a Close frame with this status, after frames of MQTT or none, and then the end of the connection.
    pub fn closed(&mut self, code: u16) {
        loop {
            match self.frame() {
                Some((BINARY, _)) => {}
                Some((CLOSE, payload)) => {
                    assert_eq!(payload, code.to_be_bytes());
                    assert_eq!(self.frame(), None, "nothing follows a Close");
                    return;
                }
                other => panic!("expected Close {code}, got {other:?}"),
            }
        }
    }

    /// Reads until the end and returns everything.
    pub fn rest(mut self) -> Vec<u8> {
        while self.receive() {}
        self.bytes
    }

    /// Reads something. `false` when the broker has closed.
    fn receive(&mut self) -> bool {
        let mut chunk = [0; 65536];
        match self.wire.read(&mut chunk) {
            Ok(count) => {
                self.bytes.extend_from_slice(&chunk[..count]);
                count > 0
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("the broker sends nothing and does not close")
            }
            // A reset, or the end of TCP without that of TLS.
            Err(_) => false,
        }
    }
}

/// A masked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut bytes = vec![first];
    match payload.len() {
        size @ ..126 => bytes.push(0x80 | size as u8),
        size @ ..0x10000 => {
            bytes.push(0xFE);
            bytes.extend((size as u16).to_be_bytes());
        }
        size => {
            bytes.push(0xFF);
            bytes.extend((size as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    bytes
}

impl Read for WebSocket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.payload.is_empty() {
            let Some((header, size)) = self
                .header()
                .filter(|(header, size)| self.bytes.len() >= header + size)
            else {
                let mut chunk = [0; 65536];
                match self.wire.read(&mut chunk)? {
                    0 => return Ok(0),
                    count => self.bytes.extend_from_slice(&chunk[..count]),
                }
                continue;
            };
            let frame: Vec<u8> = self.bytes.drain(..header + size).collect();
            match frame[0] {
                BINARY => self.payload = frame[header..].to_vec(),
                CLOSE => return Ok(0),
                other => panic!("expected a binary frame, got {other:#x}"),
            }
        }
        let count = self.payload.len().min(into.len());
        into[..count].copy_from_slice(&self.payload[..count]);
        self.payload.drain(..count);
        Ok(count)
    }
}

impl Write for WebSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.write_all(&frame(BINARY, bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()
    }
}

impl Wire for WebSocket {
    fn read_within(&self, time: Duration) -> io::Result<()> {
        self.wire.read_within(time)
    }
}
