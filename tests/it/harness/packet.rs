//! MQTT 3.1, 3.1.1 and 5.0 packets as a client writes and reads them, in plain bytes.
//!
//! This is written against the specification alone and shares nothing with the broker, so that a mistake in the
//! broker's codec cannot hide behind the same mistake here. It does not judge what it reads beyond its shape.

/// The protocol version a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V311,
    /// MQTT 5.0: protocol name `MQTT`, level 5.
    V5,
}

/// The two versions that almost every statement is tested in.
pub const BOTH: [Version; 2] = [Version::V311, Version::V5];

/// A property of MQTT 5.0 as it stood in the packet: its identifier and its bytes without the identifier.
pub type Property = (u8, Vec<u8>);

/// Property identifiers that the tests name.
pub mod property {
    pub const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub const WILL_DELAY_INTERVAL: u8 = 0x18;
    pub const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    pub const AUTHENTICATION_DATA: u8 = 0x16;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
}

/// What a broker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    Connack(Connack),
    Publish(Publish),
    Puback { packet_id: u16, code: u8 },
    Pubrec { packet_id: u16, code: u8 },
    Pubrel { packet_id: u16, code: u8 },
    Pubcomp { packet_id: u16, code: u8 },
    Suback { packet_id: u16, codes: Vec<u8> },
    Unsuback { packet_id: u16, codes: Vec<u8> },
    Pingresp,
    Disconnect { code: u8 },
    Auth(Auth),
}

/// The answer to a CONNECT. `code` is the return code of 3.x or the reason code of 5.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    pub session_present: bool,
    pub code: u8,
    pub properties: Vec<Property>,
}

impl Connack {
    /// The bytes of the property with this identifier.
    pub fn property(&self, id: u8) -> Option<&[u8]> {
        find(&self.properties, id)
    }
}

/// An AUTH in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub code: u8,
    pub properties: Vec<Property>,
}

impl Auth {
    /// The bytes of the property with this identifier.
    pub fn property(&self, id: u8) -> Option<&[u8]> {
        find(&self.properties, id)
    }

    /// The packet's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.code];
        put_properties(&mut body, &self.properties);
        frame(0xF0, &body)
    }
}

/// A PUBLISH in either direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    /// 0 where the packet carries none (QoS 0).
    pub packet_id: u16,
    pub properties: Vec<Property>,
}

impl Publish {
    /// A QoS 0 message.
    pub fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Publish {
            topic: topic.to_owned(),
            payload: payload.as_ref().to_vec(),
            ..Publish::default()
        }
    }

    /// The same with another quality of service; `packet_id` must not be 0 when `qos` is not.
    pub fn qos(mut self, qos: u8, packet_id: u16) -> Self {
        (self.qos, self.packet_id) = (qos, packet_id);
        self
    }

    /// The same, retained.
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// The packet's bytes.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.payload.len() + self.topic.len() + 16);
        put_string(&mut body, self.topic.as_bytes());
        if self.qos > 0 {
            body.extend(self.packet_id.to_be_bytes());
        }
        if version == Version::V5 {
            put_properties(&mut body, &self.properties);
        }
        body.extend_from_slice(&self.payload);
        let flags = u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        frame(0x30 | flags, &body)
    }
}

/// A will as it stands in CONNECT.
#[derive(Clone, Debug)]
pub struct Will {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Vec<Property>,
}

/// A CONNECT. Fields are public so that a test can make one that is wrong.
#[derive(Clone, Debug)]
pub struct Connect {
    pub version: Version,
    pub client_id: Vec<u8>,
    /// Clean Session of 3.x, Clean Start of 5.0.
    pub clean: bool,
    pub keep_alive_s: u16,
    pub user_name: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    pub will: Option<Will>,
    pub properties: Vec<Property>,
}

impl Connect {
    /// A clean connection without credentials and without keep alive.
    pub fn new(version: Version, client_id: &str) -> Self {
        Connect {
            version,
            client_id: client_id.as_bytes().to_vec(),
            clean: true,
            keep_alive_s: 0,
            user_name: None,
            password: None,
            will: None,
            properties: Vec::new(),
        }
    }

    /// A session that outlives the connection, in the words of either version.
    pub fn persistent(mut self) -> Self {
        self.clean = false;
        if self.version == Version::V5 {
            let hour = 3600u32.to_be_bytes().to_vec();
            self.properties
                .push((property::SESSION_EXPIRY_INTERVAL, hour));
        }
        self
    }

    /// With a user name and a password.
    pub fn user(mut self, user_name: &str, password: &str) -> Self {
        self.user_name = Some(user_name.as_bytes().to_vec());
        self.password = Some(password.as_bytes().to_vec());
        self
    }

    /// With a QoS 0 will.
    pub fn will(mut self, topic: &str, payload: &str) -> Self {
        self.will = Some(Will {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            qos: 0,
            retain: false,
            properties: Vec::new(),
        });
        self
    }

    /// With a keep alive in seconds.
    pub fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    /// The connect flags that these fields ask for.
    pub fn flags(&self) -> u8 {
        let will = self
            .will
            .as_ref()
            .map_or(0, |will| 0x04 | will.qos << 3 | u8::from(will.retain) << 5);
        u8::from(self.clean) << 1
            | will
            | u8::from(self.password.is_some()) << 6
            | u8::from(self.user_name.is_some()) << 7
    }

    /// The packet's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (name, level) = match self.version {
            Version::V31 => ("MQIsdp", 3),
            Version::V311 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        };
        self.encode_as(name.as_bytes(), level, self.flags())
    }

    /// The packet's bytes under another protocol name, level or other flags; the payload follows the fields, not `flags`.
    pub fn encode_as(&self, protocol_name: &[u8], level: u8, flags: u8) -> Vec<u8> {
        let mut body = Vec::new();
        put_string(&mut body, protocol_name);
        body.push(level);
        body.push(flags);
        body.extend(self.keep_alive_s.to_be_bytes());
        if self.version == Version::V5 {
            put_properties(&mut body, &self.properties);
        }
        put_string(&mut body, &self.client_id);
        if let Some(will) = &self.will {
            if self.version == Version::V5 {
                put_properties(&mut body, &will.properties);
            }
            put_string(&mut body, will.topic.as_bytes());
            put_string(&mut body, &will.payload);
        }
        for field in [&self.user_name, &self.password].into_iter().flatten() {
            put_string(&mut body, field);
        }
        frame(0x10, &body)
    }
}

/// A SUBSCRIBE with one options byte a filter.
pub fn subscribe(version: Version, packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        put_properties(&mut body, &[]);
    }
    for (filter, options) in filters {
        put_string(&mut body, filter.as_bytes());
        body.push(*options);
    }
    frame(0x82, &body)
}

/// An UNSUBSCRIBE.
pub fn unsubscribe(version: Version, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        put_properties(&mut body, &[]);
    }
    for filter in filters {
        put_string(&mut body, filter.as_bytes());
    }
    frame(0xA2, &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP in the short form, which is the same in every version.
pub fn ack(first_byte: u8, packet_id: u16) -> Vec<u8> {
    frame(first_byte, &packet_id.to_be_bytes())
}

/// DISCONNECT in the short form.
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// PINGREQ.
pub const PINGREQ: [u8; 2] = [0xC0, 0];

/// A fixed header and its body.
pub fn frame(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first_byte];
    put_variable(&mut bytes, body.len());
    bytes.extend_from_slice(body);
    bytes
}

/// A Variable Byte Integer in its shortest form.
pub fn put_variable(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        out.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return;
        }
    }
}

/// A UTF-8 string or binary data: two bytes of length, then the bytes.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("a test's string fits its length field");
    out.extend(length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_properties(out: &mut Vec<u8>, properties: &[Property]) {
    let mut bytes = Vec::new();
    for (id, value) in properties {
        bytes.push(*id);
        bytes.extend_from_slice(value);
    }
    put_variable(out, bytes.len());
    out.extend(bytes);
}

fn find(properties: &[Property], id: u8) -> Option<&[u8]> {
    let (_, value) = properties.iter().find(|(other, _)| *other == id)?;
    Some(value)
}

/// Takes one whole packet off the front of `buffer`, or nothing when it is not complete yet.
///
/// # Panics
/// When the bytes are no packet that a broker may send.
pub fn take(buffer: &mut Vec<u8>, version: Version) -> Option<Packet> {
    let mut header = Reader {
        bytes: buffer,
        at: 0,
    };
    let first_byte = header.try_byte()?;
    let length = header.try_variable()?;
    let start = header.at;
    if buffer.len() < start + length {
        return None;
    }
    let packet = decode(first_byte, &buffer[start..start + length], version);
    buffer.drain(..start + length);
    Some(packet)
}

fn decode(first_byte: u8, body: &[u8], version: Version) -> Packet {
    let mut body = Reader { bytes: body, at: 0 };
    let v5 = version == Version::V5;
    match first_byte {
        0x20 => Packet::Connack(Connack {
            session_present: body.byte() == 1,
            code: body.byte(),
            properties: if v5 { body.properties() } else { Vec::new() },
        }),
        0x30..=0x3F => Packet::Publish(decode_publish(first_byte, &mut body, v5)),
        0x40 | 0x50 | 0x62 | 0x70 => {
            let packet_id = body.word();
            let code = body.try_byte().unwrap_or(0);
            match first_byte {
                0x40 => Packet::Puback { packet_id, code },
                0x50 => Packet::Pubrec { packet_id, code },
                0x62 => Packet::Pubrel { packet_id, code },
                _ => Packet::Pubcomp { packet_id, code },
            }
        }
        0x90 | 0xB0 => {
            let packet_id = body.word();
            if v5 {
                body.properties();
            }
            let codes = body.rest();
            if first_byte == 0x90 {
                Packet::Suback { packet_id, codes }
            } else {
                Packet::Unsuback { packet_id, codes }
            }
        }
        0xD0 => Packet::Pingresp,
        0xE0 if v5 => Packet::Disconnect {
            code: body.try_byte().unwrap_or(0),
        },
        0xF0 if v5 => Packet::Auth(Auth {
            code: body.byte(),
            properties: body.properties(),
        }),
        other => panic!(
            "the broker sent a packet that starts with {other:#04x}: {:?}",
            body.bytes
        ),
    }
}

fn decode_publish(first_byte: u8, body: &mut Reader<'_>, v5: bool) -> Publish {
    let qos = first_byte >> 1 & 3;
    Publish {
        dup: first_byte & 8 != 0,
        qos,
        retain: first_byte & 1 != 0,
        topic: String::from_utf8(body.string()).expect("a topic name is UTF-8"),
        packet_id: if qos > 0 { body.word() } else { 0 },
        properties: if v5 { body.properties() } else { Vec::new() },
        payload: body.rest(),
    }
}

/// A cursor. Its plain functions panic past the end: only whole packets reach them.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn try_byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn try_variable(&mut self) -> Option<usize> {
        let mut value = 0;
        for place in 0..4 {
            let byte = self.try_byte()?;
            value |= usize::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        panic!("the broker sent a variable byte integer of more than four bytes");
    }

    fn byte(&mut self) -> u8 {
        self.try_byte().expect("the packet holds this byte")
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let bytes = self.bytes[self.at..self.at + count].to_vec();
        self.at += count;
        bytes
    }

    fn string(&mut self) -> Vec<u8> {
        let length = usize::from(self.word());
        self.take(length)
    }

    fn rest(&mut self) -> Vec<u8> {
        self.take(self.bytes.len() - self.at)
    }

    fn properties(&mut self) -> Vec<Property> {
        let length = self
            .try_variable()
            .expect("the packet holds its property length");
        let end = self.at + length;
        let mut properties = Vec::new();
        while self.at < end {
            let id = self.byte();
            let start = self.at;
            match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => self.at += 1,
                0x13 | 0x21..=0x23 => self.at += 2,
                0x02 | 0x11 | 0x18 | 0x27 => self.at += 4,
                0x0B => drop(self.try_variable()),
                0x26 => drop((self.string(), self.string())),
                0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => drop(self.string()),
                _ => panic!("the broker sent the unknown property {id:#04x}"),
            }
            properties.push((id, self.bytes[start..self.at].to_vec()));
        }
        assert_eq!(
            self.at, end,
            "the broker's properties end where their length says"
        );
        properties
    }
}
