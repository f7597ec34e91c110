//! One MQTT connection of the load generator: it begins blocking (CONNECT, SUBSCRIBE, publishing what is to be retained) and then, if a case
//! needs it, goes on without blocking within the loop of `flow`. It is not a client library: no keep alive, no reconnect.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use crate::packet::{self, Frame, Publish, kind};

/// How long the blocking part waits for an answer. Under callgrind a broker takes its time.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Filters in one SUBSCRIBE: a packet stays far below every broker's limit.
const FILTERS_A_PACKET: usize = 100;

/// A connection that has its CONNACK.
pub struct Client {
    stream: TcpStream,
    /// The beginning of a packet whose rest has not come yet.
    partial: Vec<u8>,
    /// What waits to be written; the loop that owns the client appends to it.
    pub output: Vec<u8>,
    written: usize,
    /// Whether packets have properties: MQTT 5, which only a bridge speaks here.
    pub has_properties: bool,
}

impl Client {
    /// Connects to a port of the loopback with a clean session and awaits the CONNACK; an error if the broker refuses.
    pub fn connect(port: u16, client_id: &str) -> io::Result<Client> {
        Client::open(port, client_id, true)
    }

    /// The same with a session that lasts.
    pub fn resume(port: u16, client_id: &str) -> io::Result<Client> {
        Client::open(port, client_id, false)
    }

    /// The remote end of a bridge: awaits its connection and its CONNECT, and lets it in. It is asked for nothing else, or need not answer.
    pub fn accept(listener: &TcpListener) -> io::Result<Client> {
        let (stream, _) = listener.accept()?;
        let mut client = Client::of(stream)?;
        let connect = client.await_packet(kind::CONNECT)?;
        client.has_properties = packet::is_v5(&connect);
        let answer = packet::connack(client.has_properties);
        client.stream.write_all(&answer)?;
        Ok(client)
    }

    fn of(stream: TcpStream) -> io::Result<Client> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Client {
            stream,
            partial: Vec::new(),
            output: Vec::new(),
            written: 0,
            has_properties: false,
        })
    }

    fn open(port: u16, client_id: &str, clean: bool) -> io::Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        let mut client = Client::of(stream)?;
        let answer = client.request(&packet::connect(client_id, clean), kind::CONNACK)?;
        match answer[..] {
            [_, 0] => Ok(client),
            _ => Err(io::Error::other(format!(
                "CONNACK refuses {client_id}: {answer:?}"
            ))),
        }
    }

    /// Subscribes to all `filters` and awaits that each is granted.
    pub fn subscribe(&mut self, filters: &[String], qos: u8) -> io::Result<()> {
        for some in filters.chunks(FILTERS_A_PACKET) {
            let answer = self.request(&packet::subscribe(1, some, qos), kind::SUBACK)?;
            if answer.len() != some.len() + 2 || answer[2..].iter().any(|&code| code != qos) {
                return Err(io::Error::other(format!("SUBACK refuses: {answer:?}")));
            }
        }
        Ok(())
    }

    /// Publishes one message at QoS 1 and awaits its PUBACK.
    pub fn publish_acknowledged(&mut self, message: &Publish) -> io::Result<()> {
        let mut bytes = Vec::new();
        message.append_to(&mut bytes, 0, 0);
        self.request(&bytes, kind::PUBACK).map(drop)
    }

    /// Sends PINGREQ and awaits its answer.
    pub fn ping(&mut self) -> io::Result<()> {
        self.request(&packet::PINGREQ, kind::PINGRESP).map(drop)
    }

    /// Says DISCONNECT and awaits that the broker closes: then it knows that the client is away.
    pub fn leave(mut self) -> io::Result<()> {
        self.stream.write_all(&packet::DISCONNECT)?;
        match self.stream.read(&mut [0; 16])? {
            0 => Ok(()),
            _ => Err(io::Error::other("the broker answers DISCONNECT by data")),
        }
    }

    /// Writes `request` and awaits a packet of the type `expected`; returns its body.
    fn request(&mut self, request: &[u8], expected: u8) -> io::Result<Vec<u8>> {
        self.stream.write_all(request)?;
        self.await_packet(expected)
    }

    /// Awaits a packet of the type `expected`, skipping others; returns its body.
    fn await_packet(&mut self, expected: u8) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.partial);
        let mut buffer = [0; 4096];
        loop {
            while let Some((frame, length)) = Frame::first(&bytes) {
                let body = (frame.kind == expected).then(|| frame.body.to_vec());
                bytes.drain(..length);
                if let Some(body) = body {
                    self.partial = bytes;
                    return Ok(body);
                }
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(closed()),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// From now on `read` and `flush` return at once.
    pub fn stop_blocking(&self) -> io::Result<()> {
        self.stream.set_nonblocking(true)
    }

    /// The socket's number, for epoll.
    pub fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Reads once into `buffer` (shared by all clients; larger than any packet) and gives each whole packet to `take`, with the output to
    /// which its answer goes. Answers leave with the next [`Client::flush`].
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        mut take: impl FnMut(Frame<'_>, &mut Vec<u8>),
    ) -> io::Result<()> {
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        self.partial.clear();
        let filled = match self.stream.read(&mut buffer[kept..]) {
            Ok(0) => return Err(closed()),
            Ok(count) => kept + count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => kept,
            Err(error) => return Err(error),
        };
        let mut rest = &buffer[..filled];
        while let Some((frame, length)) = Frame::first(rest) {
            take(frame, &mut self.output);
            rest = &rest[length..];
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Writes what it can; true if nothing is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(true)
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the broker closed the connection",
    )
}
