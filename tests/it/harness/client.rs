//! A client that a test drives by hand: one connection, raw bytes out, packets in.
//!
//! Every wait is for a condition and has a deadline ([`PATIENCE`]); nothing here sleeps, reconnects or answers by itself.

use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use openssl::ssl::SslStream;

use super::PATIENCE;
use super::packet::{self, Connack, Connect, Packet, Publish, Version};
use super::reference;

/// A stream of any kind with a read deadline.
pub trait Wire: Read + Write + Send {
    /// Lets a read fail after this time.
    fn read_within(&self, time: Duration) -> std::io::Result<()>;
}

impl Wire for TcpStream {
    fn read_within(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

impl Wire for UnixStream {
    fn read_within(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

impl Wire for SslStream<TcpStream> {
    fn read_within(&self, time: Duration) -> std::io::Result<()> {
        self.get_ref().set_read_timeout(Some(time))
    }
}

/// One connection to a broker.
pub struct Client {
    wire: Box<dyn Wire>,
    buffer: Vec<u8>,
    version: Version,
    packet_id: u16,
    /// What the broker answered to the CONNECT of [`Client::connect`].
    pub connack: Option<Connack>,
}

impl Client {
    /// Opens a TCP connection and sends nothing.
    pub fn dial(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, *PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream
            .set_nodelay(true)
            .expect("a TCP socket takes TCP_NODELAY");
        Client::over(Box::new(stream))
    }

    /// Opens a unix socket and sends nothing.
    pub fn dial_unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()));
        Client::over(Box::new(stream))
    }

    /// Takes a stream that is open already.
    pub fn over(wire: Box<dyn Wire>) -> Client {
        Client {
            wire,
            buffer: Vec::new(),
            version: Version::V311,
            packet_id: 0,
            connack: None,
        }
    }

    /// A packet id that this client has not used yet.
    pub fn fresh_packet_id(&mut self) -> u16 {
        self.packet_id += 1;
        self.packet_id
    }

    /// Sends bytes. That the broker closed meanwhile is no error here: the next read tells.
    pub fn send(&mut self, bytes: &[u8]) {
        match self.wire.write_all(bytes).and_then(|()| self.wire.flush()) {
            Err(error) if !is_close(&error) => panic!("cannot send: {error}"),
            _ => {}
        }
    }

    /// Sends bytes one by one, with `pause` after each: a pause in which the broker reads keeps them apart on their way.
    pub fn send_bytewise(&mut self, bytes: &[u8], mut pause: impl FnMut()) {
        for byte in bytes {
            self.send(std::slice::from_ref(byte));
            pause();
        }
    }

    /// Sends CONNECT and leaves its answer to be received.
    pub fn send_connect(&mut self, connect: &Connect) {
        self.version = connect.version;
        self.send(&connect.encode());
    }

    /// Sends CONNECT and returns the CONNACK, whatever it says.
    pub fn connect(&mut self, connect: &Connect) -> Connack {
        self.send(&connect.encode());
        self.connected(connect)
    }

    /// Waits for the answer to a CONNECT that was sent by other means, whatever it says.
    pub fn connected(&mut self, connect: &Connect) -> Connack {
        self.version = connect.version;
        match self.receive() {
            Packet::Connack(connack) => {
                self.connack = Some(connack.clone());
                connack
            }
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }

    /// Sends CONNECT and expects it to be accepted.
    pub fn join(mut self, connect: &Connect) -> Client {
        let connack = self.connect(connect);
        assert_eq!(connack.code, 0, "the broker accepts {connect:?}");
        self
    }

    /// The next packet.
    ///
    /// # Panics
    /// When the broker closes instead, or sends nothing for [`PATIENCE`].
    pub fn receive(&mut self) -> Packet {
        self.next(*PATIENCE)
            .unwrap_or_else(|end| panic!("expected a packet, but {end}"))
    }

    /// The next packet, which must be a PUBLISH.
    pub fn message(&mut self) -> Publish {
        match self.receive() {
            Packet::Publish(publish) => publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    /// The payload of the next message, as text.
    pub fn text(&mut self) -> String {
        String::from_utf8(self.message().payload).expect("a test's payload is text")
    }

    /// Waits until the broker closes the connection and returns what it sent before.
    pub fn closed(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        loop {
            match self.next(*PATIENCE) {
                Ok(packet) => packets.push(packet),
                Err(End::Closed) => return packets,
                Err(end) => panic!("expected the broker to close, but {end}; before: {packets:?}"),
            }
        }
    }

    /// Expects that the broker closes without accepting: nothing, a refusing CONNACK or a DISCONNECT may come before.
    pub fn refused(&mut self) {
        for packet in self.closed() {
            match packet {
                Packet::Connack(connack) if connack.code != 0 => {}
                Packet::Disconnect { code } if code >= 0x80 => {}
                other => panic!("expected a refusal, got {other:?}"),
            }
        }
    }

    /// Expects the close of an established connection, announced by this reason code in 5.0 and by nothing in 3.x.
    pub fn closed_because(&mut self, reason: u8) {
        let packets = self.closed();
        match self.version {
            // mosquitto 2.0 tells no reason at most closes.
            Version::V5 if packets.is_empty() && reference::in_use() => {}
            Version::V5 => assert_eq!(packets, [Packet::Disconnect { code: reason }]),
            _ => assert_eq!(packets, []),
        }
    }

    /// Subscribes to one filter and returns what SUBACK says of it.
    pub fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let packet_id = self.fresh_packet_id();
        self.send(&packet::subscribe(
            self.version,
            packet_id,
            &[(filter, qos)],
        ));
        match self.receive() {
            Packet::Suback {
                packet_id: answered,
                codes,
            } => {
                assert_eq!((answered, codes.len()), (packet_id, 1));
                codes[0]
            }
            other => panic!("expected SUBACK, got {other:?}"),
        }
    }

    /// Unsubscribes from one filter and waits for UNSUBACK.
    pub fn unsubscribe(&mut self, filter: &str) {
        let packet_id = self.fresh_packet_id();
        self.send(&packet::unsubscribe(self.version, packet_id, &[filter]));
        self.expect(
            |packet| matches!(packet, Packet::Unsuback { packet_id: id, .. } if *id == packet_id),
        );
    }

    /// Sends a PUBLISH as it stands and waits for nothing.
    pub fn send_publish(&mut self, publish: &Publish) {
        let bytes = publish.encode(self.version);
        self.send(&bytes);
    }

    /// Publishes at QoS 0.
    pub fn publish(&mut self, topic: &str, payload: &str) {
        self.send_publish(&Publish::new(topic, payload));
    }

    /// Publishes and carries the acknowledgements through to their end; returns the code of PUBACK or PUBREC.
    pub fn publish_acknowledged(&mut self, publish: Publish) -> u8 {
        let packet_id = self.fresh_packet_id();
        let qos = publish.qos;
        self.send_publish(&Publish {
            packet_id,
            ..publish
        });
        let (answered, code) = match self.receive() {
            Packet::Puback { packet_id, code } if qos == 1 => (packet_id, code),
            Packet::Pubrec { packet_id, code } if qos == 2 => (packet_id, code),
            other => panic!("expected the acknowledgement of a QoS {qos} message, got {other:?}"),
        };
        assert_eq!(answered, packet_id);
        if qos == 2 && code < 0x80 {
            self.send(&packet::ack(0x62, packet_id));
            assert_eq!(self.receive(), Packet::Pubcomp { packet_id, code: 0 });
        }
        code
    }

    /// Waits until the broker has handled everything that this client sent so far.
    pub fn ping(&mut self) {
        self.send(&packet::PINGREQ);
        self.expect(|packet| *packet == Packet::Pingresp);
    }

    /// Like [`Client::ping`] where messages may come before the answer; they are dropped.
    pub fn ping_past_messages(&mut self) {
        self.send(&packet::PINGREQ);
        while self.receive() != Packet::Pingresp {}
    }

    /// Sends a SUBSCRIBE and leaves its answer to be received.
    pub fn send_subscribe(&mut self, filter: &str, qos: u8) {
        let packet_id = self.fresh_packet_id();
        self.send(&packet::subscribe(
            self.version,
            packet_id,
            &[(filter, qos)],
        ));
    }

    /// The next packet, or nothing when the broker closes.
    pub fn receive_or_close(&mut self) -> Option<Packet> {
        match self.next(*PATIENCE) {
            Ok(packet) => Some(packet),
            Err(End::Closed) => None,
            Err(end) => panic!("expected a packet or a close, but {end}"),
        }
    }

    /// Whether the broker closes within this time; packets before the close are dropped.
    pub fn is_closed_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(End::Closed) => return true,
                Err(End::Silent) => return false,
                Err(end) => panic!("expected a close, but {end}"),
            }
        }
    }

    /// Whether a message comes within this time; it is dropped.
    pub fn came_within(&mut self, time: Duration) -> bool {
        match self.next(time) {
            Ok(Packet::Publish(_)) => true,
            Err(End::Silent) => false,
            Err(end) => panic!("expected a message or nothing, but {end}"),
            Ok(packet) => panic!("expected a message or nothing, got {packet:?}"),
        }
    }

    /// Expects that no message comes for this time, whatever else does.
    pub fn no_message_for(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Err(End::Silent) => return,
                Err(end) => panic!("expected no message, but {end}"),
                Ok(Packet::Publish(publish)) => panic!("expected no message, got {publish:?}"),
                Ok(_) => {}
            }
        }
    }

    /// Expects that the broker neither sends anything nor closes for this time.
    pub fn nothing_for(&mut self, time: Duration) {
        match self.next(time) {
            Err(End::Silent) => {}
            Err(end) => panic!("expected nothing, but {end}"),
            Ok(packet) => panic!("expected nothing, got {packet:?}"),
        }
    }

    /// Everything that the broker sends until it closes, as bytes: for an answer that is not MQTT.
    pub fn bytes_until_close(mut self) -> Vec<u8> {
        self.wire
            .read_within(*PATIENCE)
            .expect("a socket takes a read deadline");
        match self.wire.read_to_end(&mut self.buffer) {
            Err(error) if !is_close(&error) => {
                panic!("expected a close, but reading failed: {error}")
            }
            _ => self.buffer,
        }
    }

    /// Ends the connection in order and waits until the broker has closed its side.
    pub fn disconnect(mut self) {
        self.send(&packet::DISCONNECT);
        self.closed();
    }

    /// Receives one packet and holds it to a condition.
    pub fn expect(&mut self, condition: impl Fn(&Packet) -> bool) -> Packet {
        let packet = self.receive();
        assert!(condition(&packet), "unexpected {packet:?}");
        packet
    }

    fn next(&mut self, patience: Duration) -> Result<Packet, End> {
        let deadline = Instant::now() + patience;
        let mut chunk = vec![0; 65536];
        loop {
            if let Some(packet) = packet::take(&mut self.buffer, self.version) {
                return Ok(packet);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(End::Silent);
            }
            self.wire
                .read_within(left)
                .expect("a socket takes a read deadline");
            match self.wire.read(&mut chunk) {
                Ok(0) => return Err(End::Closed),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if is_close(&error) => return Err(End::Closed),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Failed(error.to_string())),
            }
        }
    }
}

impl Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Client({:?}, {:?})", self.version, self.connack)
    }
}

/// Why there is no further packet.
#[derive(Debug)]
enum End {
    Closed,
    Silent,
    Failed(String),
}

impl std::fmt::Display for End {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Closed => write!(formatter, "the broker closed the connection"),
            End::Silent => write!(
                formatter,
                "the broker sent nothing for {} s",
                PATIENCE.as_secs()
            ),
            End::Failed(why) => write!(formatter, "reading failed: {why}"),
        }
    }
}

/// A close by the peer, orderly or not: with unread bytes in its buffer a closing peer resets.
fn is_close(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::UnexpectedEof
            | ErrorKind::NotConnected
    )
}
