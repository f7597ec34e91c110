//! Multicast DNS (RFC 6762), as far as one looks for services with it: questions as packets, and packets as records. Entered through
//! [`question`] and [`read`]; pure.
//!
//! Whoever is on the network may send such packets. Everything is bounded and checked before it is used: a name's pointers lead
//! backwards only, its labels and its whole have the lengths of RFC 1035, records end where they say, and a packet that is wrong
//! anywhere is not used at all. The sockets are [`ear`]'s, and it keeps nothing; types other than those of [`Data`] are passed over.

pub mod ear;

use std::fmt::{self, Display, Formatter, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The port of both questions and answers.
pub const PORT: u16 = 5353;

/// The groups of the link.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// The same for IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// The longest packet (RFC 6762, section 17).
pub const PACKET_BYTES_MAX: usize = 9000;

/// Records that are taken of a packet: no honest answer for services has so many.
const RECORDS_MAX: usize = 128;

/// A name's length with its labels' lengths (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 255;

const CLASS_IN: u16 = 1;
/// In an answer: other records of this name and type are no longer true. In a question: answer me alone.
const CLASS_TOP_BIT: u16 = 0x8000;

const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_TXT: u16 = 16;
const TYPE_AAAA: u16 = 28;
const TYPE_SRV: u16 = 33;

/// A domain name: its labels with their lengths, in lower case, without the root's. Two are equal if DNS says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Vec<u8>);

impl Name {
    /// The name with these labels; `None` if one is empty or too long, or all together are.
    pub fn of<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Name> {
        let mut name = Name(Vec::new());
        for label in labels {
            name.push(label).ok()?;
        }
        Some(name)
    }

    /// The labels, from the first.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (label, after) = after.split_at(usize::from(*length));
            rest = after;
            Some(label)
        })
    }

    /// What stands before an ending, as one text with dots; `None` if the name does not end so, or nothing is before it.
    pub fn before(&self, ending: &Name) -> Option<String> {
        let (all, end) = (self.labels().count(), ending.labels().count());
        let count = all.checked_sub(end).filter(|count| *count > 0)?;
        if !self.labels().skip(count).eq(ending.labels()) {
            return None;
        }
        let labels: Vec<_> = self.labels().take(count).collect();
        String::from_utf8(labels.join(&b'.')).ok()
    }

    fn push(&mut self, label: &[u8]) -> Result<(), Fault> {
        let length = u8::try_from(label.len()).ok();
        let length = length.filter(|length| (1..=63).contains(length));
        let length = length.ok_or(Fault("a label is empty or too long"))?;
        // The root's length is the last byte.
        if self.0.len() + label.len() + 2 > NAME_BYTES_MAX {
            return Err(Fault("a name is too long"));
        }
        self.0.push(length);
        self.0.extend(label.iter().map(u8::to_ascii_lowercase));
        Ok(())
    }

    fn write(&self, packet: &mut Vec<u8>) {
        packet.extend_from_slice(&self.0);
        packet.push(0);
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for label in self.labels() {
            for byte in label {
                match byte {
                    b'!'..=b'~' => f.write_char(char::from(*byte))?,
                    other => write!(f, "\\{other:03}")?,
                }
            }
            f.write_char('.')?;
        }
        Ok(())
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The services of a type.
    Services,
    /// Where a service is, and what is said of it.
    Service,
    /// A host's addresses.
    Addresses,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub name: Name,
    /// How long it is true, in seconds; 0: no longer.
    pub ttl_s: u32,
    /// Whether others of this name and type are no longer true.
    pub replaces: bool,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// A service of a type.
    Pointer(Name),
    /// Where a service is.
    Service {
        /// The host.
        host: Name,
        /// The port.
        port: u16,
    },
    /// What is said of a service: `key=value` each.
    Text(Vec<Vec<u8>>),
    /// An address of a host.
    V4(Ipv4Addr),
    /// An address of a host.
    V6(Ipv6Addr),
}

/// Why a packet is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault(&'static str);

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A packet that asks for all of these. `alone`: answers are to come to us and not to all, as a first question may ask (RFC 6762,
/// section 5.4).
pub fn question(asked: &[(Name, Kind)], alone: bool) -> Vec<u8> {
    let types = |kind: &Kind| match kind {
        Kind::Services => &[TYPE_PTR][..],
        Kind::Service => &[TYPE_SRV, TYPE_TXT],
        Kind::Addresses => &[TYPE_A, TYPE_AAAA],
    };
    let mut count: u16 = 0;
    let mut packet = vec![0; 12];
    for (name, kind) in asked {
        for of in types(kind) {
            name.write(&mut packet);
            packet.extend_from_slice(&of.to_be_bytes());
            let class = if alone {
                CLASS_IN | CLASS_TOP_BIT
            } else {
                CLASS_IN
            };
            packet.extend_from_slice(&class.to_be_bytes());
            count += 1;
        }
    }
    packet[4..6].copy_from_slice(&count.to_be_bytes());
    packet
}

/// The records of an answer; none of a question.
///
/// # Errors
/// The packet is not well formed; nothing of it may be used.
pub fn read(packet: &[u8]) -> Result<Vec<Record>, Fault> {
    let mut reader = Reader { packet, at: 0 };
    let _id = reader.u16()?;
    let flags = reader.u16()?;
    let mut counts = [0; 4];
    for count in &mut counts {
        *count = usize::from(reader.u16()?);
    }
    let [questions, answers, authorities, additionals] = counts;
    // QR is 1 and the operation is a query's (RFC 6762, sections 18.2 and 18.3).
    if flags & 0xf800 != 0x8000 {
        return Ok(Vec::new());
    }
    let records = answers + authorities + additionals;
    if questions > RECORDS_MAX || records > RECORDS_MAX {
        return Err(Fault("there are too many records"));
    }
    for _ in 0..questions {
        reader.name()?;
        reader.take(4)?;
    }
    let mut all = Vec::new();
    for _ in 0..records {
        all.extend(reader.record()?);
    }
    if reader.at != packet.len() {
        return Err(Fault("something follows the last record"));
    }
    Ok(all)
}

struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.packet.get(self.at..end));
        let taken = taken.ok_or(Fault("it ends too early"))?;
        self.at += count;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    /// A name, which may go on earlier in the packet (RFC 1035, section 4.1.4).
    fn name(&mut self) -> Result<Name, Fault> {
        let mut name = Name(Vec::new());
        let mut after = None;
        // A pointer leads to before all that has been read of the name, so that it ends.
        let mut earliest = self.at;
        loop {
            let length = self.u8()?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self.take(usize::from(length))?;
                    name.push(label)?;
                }
                0xc0..=0xff => {
                    let low = self.u8()?;
                    let to = usize::from(length & 0x3f) << 8 | usize::from(low);
                    after.get_or_insert(self.at);
                    if to >= earliest {
                        return Err(Fault("a name points forwards"));
                    }
                    (self.at, earliest) = (to, to);
                }
                _ => return Err(Fault("a label is of an unknown kind")),
            }
        }
        self.at = after.unwrap_or(self.at);
        Ok(name)
    }

    /// A record; `None` if it is of another type or class.
    fn record(&mut self) -> Result<Option<Record>, Fault> {
        let name = self.name()?;
        let (of, class, ttl_s) = (self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let end = self.at + length;
        if end > self.packet.len() {
            return Err(Fault("it ends too early"));
        }
        if class & !CLASS_TOP_BIT != CLASS_IN {
            self.at = end;
            return Ok(None);
        }
        let data = self.data(of, end)?;
        if self.at != end {
            return Err(Fault("a record is longer or shorter than what is in it"));
        }
        Ok(data.map(|data| Record {
            name,
            // A value with the top bit set is nobody's (RFC 2181, section 8).
            ttl_s: if ttl_s > i32::MAX.unsigned_abs() {
                0
            } else {
                ttl_s
            },
            replaces: class & CLASS_TOP_BIT != 0,
            data,
        }))
    }

    fn data(&mut self, of: u16, end: usize) -> Result<Option<Data>, Fault> {
        Ok(Some(match of {
            TYPE_PTR => Data::Pointer(self.name()?),
            TYPE_SRV => {
                let _priority_and_weight = self.take(4)?;
                let port = self.u16()?;
                let host = self.name()?;
                Data::Service { host, port }
            }
            TYPE_TXT => {
                let mut texts = Vec::new();
                while self.at < end {
                    let length = usize::from(self.u8()?);
                    if self.at + length > end {
                        return Err(Fault("a text is longer than its record"));
                    }
                    texts.push(self.take(length)?.to_vec());
                }
                Data::Text(texts)
            }
            TYPE_A => {
                let bytes: [u8; 4] = self.array()?;
                Data::V4(bytes.into())
            }
            TYPE_AAAA => {
                let bytes: [u8; 16] = self.array()?;
                Data::V6(bytes.into())
            }
            _ => {
                self.at = end;
                return Ok(None);
            }
        }))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Fault("it ends too early"))
    }
}

#[cfg(test)]
mod tests;
