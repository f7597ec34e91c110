//! The few MQTT 3.1.1 packets that the load generator speaks: made once and copied, or read from a buffer without allocation.
//! It is not a codec: whatever a broker sends that the generator does not expect is skipped by its length.

/// The packet types (the upper four bits of the first byte) that the generator meets.
pub mod kind {
    /// The beginning of a bridge's connection.
    pub const CONNECT: u8 = 1;
    /// The broker's answer to CONNECT.
    pub const CONNACK: u8 = 2;
    /// A message.
    pub const PUBLISH: u8 = 3;
    /// The acknowledgement at QoS 1.
    pub const PUBACK: u8 = 4;
    /// The first acknowledgement at QoS 2.
    pub const PUBREC: u8 = 5;
    /// The release at QoS 2.
    pub const PUBREL: u8 = 6;
    /// The last acknowledgement at QoS 2.
    pub const PUBCOMP: u8 = 7;
    /// The broker's answer to SUBSCRIBE.
    pub const SUBACK: u8 = 9;
    /// Answer to PINGREQ.
    pub const PINGRESP: u8 = 13;
}

/// DISCONNECT, whole.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];
/// PINGREQ, whole.
pub const PINGREQ: [u8; 2] = [0xc0, 0];

/// The smallest payload: the publisher's number and the message's sequence number.
pub const PAYLOAD_MIN: usize = 8;

/// A CONNECT with a keep alive that no benchmark outlives, and a clean session or one that lasts.
pub fn connect(client_id: &str, clean: bool) -> Vec<u8> {
    let flags = if clean { 0x02 } else { 0 };
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0xff, 0xff];
    push_string(&mut body, client_id);
    framed(0x10, &body)
}

/// Whether the body of a CONNECT says MQTT 5. The upper bit of the level is that of mosquitto's bridges.
pub fn is_v5(connect: &[u8]) -> bool {
    connect.get(6).is_some_and(|level| level & 0x7f == 5)
}

/// A CONNACK that accepts, of MQTT 5 or before.
pub fn connack(has_properties: bool) -> Vec<u8> {
    let body: &[u8] = if has_properties { &[0, 0, 0] } else { &[0, 0] };
    framed(kind::CONNACK << 4, body)
}

/// A SUBSCRIBE for all `filters` at `qos`.
pub fn subscribe(packet_id: u16, filters: &[String], qos: u8) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    for filter in filters {
        push_string(&mut body, filter);
        body.push(qos);
    }
    framed(0x82, &body)
}

/// One of the four acknowledgements; PUBREL's reserved bits are set as the specification demands.
pub fn acknowledgement(kind: u8, packet_id: u16) -> [u8; 4] {
    let flags = if kind == kind::PUBREL { 2 } else { 0 };
    let [high, low] = packet_id.to_be_bytes();
    [kind << 4 | flags, 2, high, low]
}

/// A PUBLISH made once, of which copies are sent with their own packet id and sequence number.
pub struct Publish {
    bytes: Vec<u8>,
    packet_id_at: Option<usize>,
    payload_at: usize,
}

impl Publish {
    /// A message of `payload` bytes (at least [`PAYLOAD_MIN`]) for `topic`.
    pub fn new(topic: &str, qos: u8, payload: usize, retain: bool) -> Publish {
        let mut body = Vec::with_capacity(topic.len() + payload + 4);
        push_string(&mut body, topic);
        let packet_id = body.len();
        if qos > 0 {
            body.extend([0, 0]);
        }
        let payload_in_body = body.len();
        body.resize(payload_in_body + payload.max(PAYLOAD_MIN), b'.');
        let bytes = framed(0x30 | qos << 1 | u8::from(retain), &body);
        let header = bytes.len() - body.len();
        Publish {
            bytes,
            packet_id_at: (qos > 0).then_some(header + packet_id),
            payload_at: header + payload_in_body,
        }
    }

    /// Appends the message `sequence` of `publisher`. The packet id follows from the sequence number, so a publisher MUST NOT
    /// have 65,535 messages in flight.
    pub fn append_to(&self, output: &mut Vec<u8>, publisher: u32, sequence: u32) {
        let start = output.len();
        output.extend_from_slice(&self.bytes);
        let copy = &mut output[start..];
        if let Some(at) = self.packet_id_at {
            let packet_id = (sequence % 65_535) as u16 + 1;
            copy[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        let payload = &mut copy[self.payload_at..];
        payload[..4].copy_from_slice(&publisher.to_be_bytes());
        payload[4..8].copy_from_slice(&sequence.to_be_bytes());
    }
}

/// A whole packet within a buffer.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// The packet's type, one of [`kind`].
    pub kind: u8,
    /// The first byte's lower four bits.
    pub flags: u8,
    /// What follows the fixed header.
    pub body: &'a [u8],
}

/// What a received PUBLISH says about itself.
pub struct Delivery {
    /// The QoS at which it came.
    pub qos: u8,
    /// Its packet id; 0 at QoS 0.
    pub packet_id: u16,
    /// The number of the publisher that made it.
    pub publisher: u32,
    /// Its place among that publisher's messages, from 0.
    pub sequence: u32,
}

impl<'a> Frame<'a> {
    /// The first packet of `bytes` and its whole length; `None` while it is incomplete.
    pub fn first(bytes: &'a [u8]) -> Option<(Frame<'a>, usize)> {
        let first = *bytes.first()?;
        let mut length = 0_usize;
        for (place, byte) in bytes.iter().skip(1).take(4).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                let header = place + 2;
                let body = bytes.get(header..header + length)?;
                let frame = Frame {
                    kind: first >> 4,
                    flags: first & 0x0f,
                    body,
                };
                return Some((frame, header + length));
            }
        }
        None
    }

    /// The packet id with which the body of an acknowledgement begins.
    pub fn packet_id(&self) -> u16 {
        self.number_at(0)
    }

    /// The body of a PUBLISH, with properties in MQTT 5; `None` if it is not one of the generator's own messages.
    pub fn delivery(&self, has_properties: bool) -> Option<Delivery> {
        let qos = self.flags >> 1 & 3;
        let mut at = 2 + usize::from(self.number_at(0));
        let mut packet_id = 0;
        if qos > 0 {
            packet_id = self.number_at(at);
            at += 2;
        }
        if has_properties {
            // What a bridge adds has less than 128 bytes.
            at += 1 + usize::from(*self.body.get(at)?);
        }
        let stamp: [u8; PAYLOAD_MIN] = self.body.get(at..at + PAYLOAD_MIN)?.try_into().ok()?;
        let stamp = u64::from_be_bytes(stamp);
        Some(Delivery {
            qos,
            packet_id,
            publisher: (stamp >> 32) as u32,
            sequence: stamp as u32,
        })
    }

    fn number_at(&self, at: usize) -> u16 {
        match self.body.get(at..at + 2) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => 0,
        }
    }
}

fn push_string(body: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("the generator's own strings are short");
    body.extend(length.to_be_bytes());
    body.extend(text.as_bytes());
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(body.len() + 5);
    packet.push(first);
    let mut length = body.len();
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}
