//! A small client of MQTT 3.1.1 and 5.0 for the commands: one connection, blocking, with an end to every wait. Entered through
//! [`Client::connect`]. `transport` carries its bytes, in `websocket` frames where that is asked for.
//!
//! It sends what it is told, hands over what comes, and acknowledges messages that come with QoS 1 and 2. It does not connect again,
//! send again or ping by itself: what a lost connection means is the command's matter. Packets are read by the bridges' code.

mod transport;
mod websocket;

use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::time::Instant;

pub use transport::{Endpoint, TlsFiles};

use self::transport::Stream;
use crate::auth::Secret;
use crate::mqtt::packet::SubscriptionOptions;
use crate::mqtt::{PacketId, Qos, ReasonCode, Version};
use crate::net::codec::{self, PublishHead, RemoteConnAck, RemotePacket, Scratch, outward};

/// The first bytes of the packets that are sent; the lower half has the flags (2.2.2).
const CONNECT: u8 = 0x10;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;
const DISCONNECT: [u8; 2] = [0xE0, 0];

/// A user name and its password.
pub struct Login {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// How a connection begins.
pub struct Opening<'a> {
    /// The version: 3.1.1 or 5.0.
    pub version: Version,
    /// The client id; not empty.
    pub client_id: &'a str,
    /// Whether an earlier session with this id ends, and this one with its connection.
    pub clean_session: bool,
    /// The bus may close a connection on which nothing was sent for one and a half times so long; 0: never.
    pub keep_alive_s: u16,
    /// Who connects; `None`: nobody by name.
    pub login: Option<&'a Login>,
}

/// A message, in either direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The bus keeps it, or sends it because it was kept.
    pub retain: bool,
    /// It may have been sent before.
    pub dup: bool,
    /// Not 0 with QoS 1 and 2, and 0 with QoS 0.
    pub packet_id: u16,
    /// Seconds after which nobody wants it any more, in 5.0.
    pub expiry_s: Option<u32>,
    /// The properties of 5.0 that travel with it, as they are encoded.
    pub properties: Vec<u8>,
}

/// What the bus sends. What needs no decision (a PUBREL) is not handed over.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet {
    /// A message; with QoS 1 and 2 it has been acknowledged.
    Publish(Message),
    /// A message with QoS 1 has arrived, or, in 5.0, is refused.
    Puback(u16, ReasonCode),
    /// A message with QoS 2 has arrived, and waits for [`Client::release`], or, in 5.0, is refused.
    Pubrec(u16, ReasonCode),
    /// A message with QoS 2 is done.
    Pubcomp(u16),
    /// The answer to a SUBSCRIBE, a code a filter; 0x80 and above are refusals.
    Suback(u16, Vec<u8>),
    /// The answer to an UNSUBSCRIBE.
    Unsuback(u16),
    /// The answer to a ping.
    Pingresp,
}

/// Why there is no connection, or no longer.
#[derive(Debug)]
pub enum Failure {
    /// The bus does not let the client in; a return code of 3.1.1 is told by the code of 5.0 that says the same.
    Refused(ReasonCode),
    /// The bus has ended the connection, and said why.
    Ended(ReasonCode),
    /// The bus takes no such message, as it said in CONNACK.
    Unable(&'static str),
    /// The connection could not be made, or was lost.
    Lost(io::Error),
}

impl Failure {
    /// Whether another attempt would end in the same way: all refusals but those that pass.
    pub fn is_final(&self) -> bool {
        let passes = [
            ReasonCode::SERVER_UNAVAILABLE,
            ReasonCode::SERVER_BUSY,
            ReasonCode::QUOTA_EXCEEDED,
            ReasonCode::CONNECTION_RATE_EXCEEDED,
        ];
        matches!(self, Failure::Refused(reason) if !passes.contains(reason))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID) => {
                f.write_str("the bus refuses the client id")
            }
            Failure::Refused(ReasonCode::SERVER_UNAVAILABLE) => {
                f.write_str("the bus is not available")
            }
            Failure::Refused(
                ReasonCode::BAD_USER_NAME_OR_PASSWORD | ReasonCode::NOT_AUTHORIZED,
            ) => f.write_str("the bus refuses the user name and the password"),
            Failure::Refused(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION) => {
                f.write_str("the bus does not know this version of MQTT")
            }
            Failure::Refused(reason) => write!(f, "the bus refuses the connection: {reason}"),
            Failure::Ended(reason) => write!(f, "the bus has ended the connection: {reason}"),
            Failure::Unable(what) => f.write_str(what),
            Failure::Lost(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Lost(error)
    }
}

/// One connection, past CONNACK.
pub struct Client {
    stream: Stream,
    version: Version,
    /// What the bus said that it takes.
    takes: RemoteConnAck,
    scratch: Scratch,
    /// What was read and is not a whole packet yet.
    input: Vec<u8>,
    packet_id: u16,
    /// Messages with QoS 2 that were handed over and not released yet.
    received: Vec<u16>,
}

impl Client {
    /// Connects, and says whether the bus has a session of this client.
    ///
    /// # Errors
    /// There is no connection and no CONNACK at `until`, or the bus refuses.
    pub fn connect(
        endpoint: &Endpoint,
        opening: &Opening<'_>,
        until: Instant,
    ) -> Result<(Client, bool), Failure> {
        let mut stream = Stream::open(endpoint, until)?;
        stream.write_all(&connect(opening))?;
        let mut input = Vec::new();
        let answer = frame_until(&mut stream, &mut input, until)?;
        let (first, body) = answer.ok_or_else(late)?;
        let takes = codec::decode_connack(opening.version, first, &body);
        let takes = takes.map_err(|_| malformed())?;
        if takes.reason != ReasonCode::SUCCESS {
            return Err(Failure::Refused(takes.reason));
        }
        let client = Client {
            stream,
            version: opening.version,
            takes,
            scratch: Scratch::new(),
            input,
            packet_id: 0,
            received: Vec::new(),
        };
        Ok((client, takes.session_present))
    }

    /// The next packet; `None` if there is none before `until`.
    ///
    /// # Errors
    /// The connection is lost, or what comes is not MQTT.
    pub fn receive(&mut self, until: Instant) -> Result<Option<Packet>, Failure> {
        while let Some((first, body)) = frame_until(&mut self.stream, &mut self.input, until)? {
            if let Some(packet) = self.understand(first, &body)? {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }

    /// Subscribes to filters, each with the highest QoS that is wanted, and returns the packet id of the answer.
    pub fn subscribe(&mut self, filters: &[(&str, u8)]) -> Result<u16, Failure> {
        self.packet_id += 1;
        let options = |qos| SubscriptionOptions::with_qos(qos_of(qos));
        let filters: Vec<_> = filters
            .iter()
            .map(|(filter, qos)| (*filter, options(*qos)))
            .collect();
        let id = PacketId::new(self.packet_id).ok_or_else(malformed)?;
        let mut packet = Vec::new();
        outward::subscribe(self.version, id, &filters, &mut packet);
        self.send(&packet)?;
        Ok(self.packet_id)
    }

    /// Publishes. A message with QoS 1 and 2 MUST have a packet id that no other one on its way has.
    pub fn publish(&mut self, message: &Message) -> Result<(), Failure> {
        let head = PublishHead {
            topic: &message.topic,
            topic_alias: None,
            packet_id: PacketId::new(message.packet_id).filter(|_| message.qos > 0),
            qos: qos_of(message.qos),
            duplicate: message.dup,
            retain: message.retain,
            expiry_s: message.expiry_s,
            subscription_ids: &[],
            properties: &message.properties,
            payload_bytes: message.payload.len(),
        };
        let size = head.size(self.version);
        if head.qos > self.takes.maximum_qos {
            return Err(Failure::Unable("the bus takes no messages with this QoS"));
        }
        if head.retain && !self.takes.retain_available {
            return Err(Failure::Unable("the bus retains no messages"));
        }
        let largest = self.takes.maximum_packet_size.map_or(u32::MAX, |it| it);
        if u32::try_from(size).is_ok_and(|size| size > largest) {
            return Err(Failure::Unable("the bus takes no messages so large"));
        }
        let mut packet = Vec::with_capacity(size);
        head.encode(self.version, &mut packet);
        packet.extend(&message.payload);
        self.send(&packet)
    }

    /// Answers a PUBREC.
    pub fn release(&mut self, packet_id: u16) -> Result<(), Failure> {
        self.send(&acknowledgement(PUBREL, packet_id))
    }

    /// Asks for a sign of life, which comes after the answers to everything that was sent before.
    pub fn ping(&mut self) -> Result<(), Failure> {
        self.send(&outward::PINGREQ)
    }

    /// Ends the connection in order.
    pub fn disconnect(mut self) -> Result<(), Failure> {
        self.send(&DISCONNECT)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The packet, if it is for the caller. What it asks for is answered.
    fn understand(&mut self, first: u8, body: &[u8]) -> Result<Option<Packet>, Failure> {
        let packet = codec::decode_remote(self.version, first, body, &mut self.scratch);
        Ok(Some(match packet.map_err(|_| malformed())? {
            RemotePacket::Publish(publish) => {
                let message = Message {
                    topic: publish.topic.to_owned(),
                    payload: publish.payload.to_vec(),
                    qos: publish.qos as u8,
                    retain: publish.retain,
                    dup: publish.duplicate,
                    packet_id: publish.packet_id.map_or(0, PacketId::value),
                    expiry_s: publish.expiry_s,
                    properties: publish.properties.to_vec(),
                };
                return self.message(message);
            }
            RemotePacket::PubAck(ack) => Packet::Puback(ack.packet_id.value(), ack.reason),
            RemotePacket::PubRec(ack) => Packet::Pubrec(ack.packet_id.value(), ack.reason),
            RemotePacket::PubRel(ack) => {
                let id = ack.packet_id.value();
                self.received.retain(|received| *received != id);
                self.send(&acknowledgement(PUBCOMP, id))?;
                return Ok(None);
            }
            RemotePacket::PubComp(ack) => Packet::Pubcomp(ack.packet_id.value()),
            RemotePacket::SubAck(id, codes) => Packet::Suback(id.value(), codes.to_vec()),
            RemotePacket::UnsubAck(id) => Packet::Unsuback(id.value()),
            RemotePacket::PingResp => Packet::Pingresp,
            RemotePacket::Disconnect(reason) => return Err(Failure::Ended(reason)),
        }))
    }

    fn message(&mut self, message: Message) -> Result<Option<Packet>, Failure> {
        match message.qos {
            0 => {}
            1 => self.send(&acknowledgement(PUBACK, message.packet_id))?,
            _ => {
                self.send(&acknowledgement(PUBREC, message.packet_id))?;
                // [MQTT-4.3.3-2]: it is the same message until PUBREL.
                if self.received.contains(&message.packet_id) {
                    return Ok(None);
                }
                self.received.push(message.packet_id);
            }
        }
        Ok(Some(Packet::Publish(message)))
    }
}

/// The next packet's first byte and its body.
fn frame_until(
    stream: &mut Stream,
    input: &mut Vec<u8>,
    until: Instant,
) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut chunk = [0; 16_384];
    loop {
        if let Some(frame) = take_frame(input)? {
            return Ok(Some(frame));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        stream.read_within(left)?;
        match stream.read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => input.extend_from_slice(&chunk[..count]),
            Err(error) if is_wait(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn qos_of(level: u8) -> Qos {
    match level {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    }
}

/// CONNECT (3.1).
fn connect(opening: &Opening<'_>) -> Vec<u8> {
    let login = opening.login.map_or(0, |_| 0xC0);
    let is_v5 = opening.version.is_v5();
    let mut body = b"\0\x04MQTT".to_vec();
    body.push(if is_v5 { 5 } else { 4 });
    body.push(login | u8::from(opening.clean_session) << 1);
    body.extend(opening.keep_alive_s.to_be_bytes());
    if is_v5 {
        // No properties: a session ends with its connection.
        body.push(0);
    }
    put_bytes(&mut body, opening.client_id.as_bytes());
    if let Some(login) = opening.login {
        put_bytes(&mut body, login.user.as_bytes());
        put_bytes(&mut body, login.password.expose());
    }
    frame(CONNECT, &body)
}

fn acknowledgement(first: u8, packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    [first, 2, high, low]
}

/// A packet with its fixed header (2.2).
fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        packet.push(low & 0x7F | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// A string or binary data with its length before it (1.5.3). Callers' strings are within the 65,535 bytes; a longer one is cut.
fn put_bytes(body: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    body.extend(length.to_be_bytes());
    body.extend(&bytes[..usize::from(length)]);
}

/// Takes the first packet out of what was read, if it is whole.
fn take_frame(input: &mut Vec<u8>) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut length = 0;
    for index in 0..4 {
        let Some(byte) = input.get(1 + index) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let end = 2 + index + length;
            if input.len() < end {
                return Ok(None);
            }
            let first = input[0];
            let body = input[2 + index..end].to_vec();
            input.drain(..end);
            return Ok(Some((first, body)));
        }
    }
    Err(malformed())
}

fn malformed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "what answers is not MQTT")
}

fn late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "the bus does not answer")
}

/// Whether a read only found nothing yet.
fn is_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_has_the_bytes_of_the_specifications_figures_3_1() {
        let login = Login {
            user: "u".into(),
            password: Secret::copy_of(b"p"),
        };
        let opening = Opening {
            version: Version::V3_1_1,
            client_id: "c",
            clean_session: false,
            keep_alive_s: 30,
            login: Some(&login),
        };
        let expected = b"\x10\x13\0\x04MQTT\x04\xC0\0\x1E\0\x01c\0\x01u\0\x01p";
        assert_eq!(connect(&opening), expected);
        let opening = Opening {
            clean_session: true,
            login: None,
            ..opening
        };
        assert_eq!(
            connect(&opening),
            b"\x10\x0D\0\x04MQTT\x04\x02\0\x1E\0\x01c"
        );
        let opening = Opening {
            version: Version::V5,
            ..opening
        };
        assert_eq!(
            connect(&opening),
            b"\x10\x0E\0\x04MQTT\x05\x02\0\x1E\0\0\x01c"
        );
    }

    #[test]
    fn a_packet_is_taken_when_it_is_whole_and_what_follows_stays() {
        let body = vec![b'x'; 300];
        let bytes = frame(0x3B, &body);
        let mut input = Vec::new();
        for byte in &bytes {
            assert_eq!(take_frame(&mut input).expect("a beginning"), None);
            input.push(*byte);
        }
        input.push(0xD0);
        let taken = take_frame(&mut input).expect("whole");
        assert_eq!((taken, input), (Some((0x3B, body)), vec![0xD0]));
    }

    #[test]
    fn what_is_not_mqtt_is_an_error_and_not_an_endless_wait() {
        assert!(take_frame(&mut b"\x30\xFF\xFF\xFF\xFF".to_vec()).is_err());
    }
}
