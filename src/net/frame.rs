//! Frames: where one control packet ends and the next begins (2.1 of MQTT 5.0).
//!
//! [`scan`] looks for a complete frame in the bytes that a read gave; it is called once a packet and copies
//! nothing. What a read left incomplete is gathered by an [`Assembler`].
//! Nothing here knows what stands in a frame (`codec` does) or reads from a socket.

use crate::mqtt::ReasonCode;

/// The most that a Remaining Length can say (1.5.5).
pub const REMAINING_LENGTH_MAX: usize = 268_435_455;

/// The largest packet that the protocol can express, fixed header included, in bytes.
pub const PACKET_BYTES_MAX: usize = REMAINING_LENGTH_MAX + 5;

/// How much an [`Assembler`] reserves for a frame of which hardly anything arrived, in bytes: a frame of
/// the usual size is then copied once.
const FIRST_RESERVATION: usize = 1024;

/// What [`scan`] found at the start of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// A complete frame. Its body is `bytes[header..size]`.
    Frame {
        /// The first byte: packet type and flags.
        first: u8,
        /// The fixed header's size in bytes.
        header: usize,
        /// The whole frame's size in bytes.
        size: usize,
    },
    /// The frame has not fully arrived.
    Partial {
        /// The whole frame's size in bytes, once the fixed header is there.
        size: Option<usize>,
    },
}

/// Why no frame can be found. The connection cannot go on: where the next frame begins is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFault {
    /// The Remaining Length has more than four bytes, or more than it needs [MQTT-1.5.5-1].
    Malformed,
    /// The packet is larger than what was allowed.
    TooLarge {
        /// The whole frame's size in bytes.
        size: usize,
    },
}

impl FrameFault {
    /// The Reason Code that a DISCONNECT or CONNACK gives.
    pub fn reason(self) -> ReasonCode {
        match self {
            FrameFault::Malformed => ReasonCode::MALFORMED_PACKET,
            FrameFault::TooLarge { .. } => ReasonCode::PACKET_TOO_LARGE,
        }
    }

    /// What is wrong, for the log.
    pub fn what(self) -> &'static str {
        match self {
            FrameFault::Malformed => "the remaining length is ill formed",
            FrameFault::TooLarge { .. } => "the packet is too large",
        }
    }
}

/// Whether a connection's first packet may begin with this byte: only CONNECT [MQTT-3.1.0-1], whose flags
/// are 0.
///
/// A caller that asks before the frame is complete need not wait for a body that it would refuse.
#[inline]
pub fn may_come_first(first: u8) -> bool {
    first == 0x10
}

/// Whether a packet that begins with this byte may come while a CONNECT waits for the end of enhanced authentication: AUTH or
/// DISCONNECT [MQTT-3.1.2-30]. Its flags are still to be checked.
#[inline]
pub fn may_come_in_exchange(first: u8) -> bool {
    matches!(first >> 4, 14 | 15)
}

/// Looks for one frame at the start of `bytes`.
///
/// `max_packet_size` bounds the whole frame, in bytes. A frame that is larger is a fault as soon as its
/// fixed header is there, so that nobody gathers it.
#[inline]
pub fn scan(bytes: &[u8], max_packet_size: usize) -> Result<Scan, FrameFault> {
    let (first, length, header) = match *bytes {
        // Most packets: a length of one byte.
        [first, length @ 0..=0x7F, ..] => (first, usize::from(length), 2),
        [first, ref length @ ..] => match variable_byte_integer(length) {
            Ok(Some((length, used))) => (first, length as usize, 1 + used),
            Ok(None) => return Ok(Scan::Partial { size: None }),
            Err(IllFormed) => return Err(FrameFault::Malformed),
        },
        [] => return Ok(Scan::Partial { size: None }),
    };
    let size = header + length;
    if size > max_packet_size {
        return Err(FrameFault::TooLarge { size });
    }
    if size <= bytes.len() {
        Ok(Scan::Frame {
            first,
            header,
            size,
        })
    } else {
        Ok(Scan::Partial { size: Some(size) })
    }
}

/// A Variable Byte Integer that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IllFormed;

/// Reads a Variable Byte Integer (1.5.5) at the start of `bytes`: its value and how many bytes it has, or
/// `None` when it goes on after the end of `bytes`.
///
/// MQTT 3.1.1 does not forbid an encoding that is longer than needed. It is refused there too: no known
/// client writes one, and two spellings of one length are what hides a packet from a filter.
pub(super) fn variable_byte_integer(bytes: &[u8]) -> Result<Option<(u32, usize)>, IllFormed> {
    let mut value = 0;
    for (used, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * used);
        if byte < 0x80 {
            let minimal = byte != 0 || used == 0;
            return if minimal {
                Ok(Some((value, used + 1)))
            } else {
                Err(IllFormed)
            };
        }
    }
    if bytes.len() < 4 {
        Ok(None)
    } else {
        Err(IllFormed)
    }
}

/// Gathers a frame that did not arrive in one read.
///
/// The size that a frame announces is not trusted: memory grows with what arrived, by doubling, and never
/// beyond the announced size. An empty assembler owns no memory.
#[derive(Debug, Default)]
pub struct Assembler {
    bytes: Vec<u8>,
    /// The whole frame's size in bytes; `None` until its fixed header is there.
    size: Option<usize>,
}

impl Assembler {
    /// An assembler that holds nothing.
    pub const fn new() -> Assembler {
        Assembler {
            bytes: Vec::new(),
            size: None,
        }
    }

    /// Takes from `input` what belongs to the frame, and says how many bytes that was.
    ///
    /// What is left of `input` belongs to the next frame: the caller MUST use [`complete`](Self::complete)
    /// and [`clear`](Self::clear) before it pushes that. Faults are those of [`scan`].
    pub fn push(&mut self, input: &[u8], max_packet_size: usize) -> Result<usize, FrameFault> {
        let mut rest = input;
        let size = loop {
            if let Some(size) = self.size {
                break size;
            }
            // The header has at most five bytes, so this loop ends after five turns.
            match scan(&self.bytes, max_packet_size)? {
                Scan::Frame { size, .. } | Scan::Partial { size: Some(size) } => {
                    self.size = Some(size);
                }
                Scan::Partial { size: None } => match rest.split_first() {
                    Some((&byte, after)) => {
                        self.bytes.push(byte);
                        rest = after;
                    }
                    None => return Ok(input.len()),
                },
            }
        };
        let wanted = size.saturating_sub(self.bytes.len());
        let taken = rest.get(..wanted).unwrap_or(rest);
        self.make_room(taken.len(), size);
        self.bytes.extend_from_slice(taken);
        Ok(input.len() - rest.len() + taken.len())
    }

    fn make_room(&mut self, more: usize, size: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let doubled = self.bytes.capacity().saturating_mul(2);
            let capacity = needed.max(size.min(doubled.max(FIRST_RESERVATION)));
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }

    /// The whole frame, fixed header included, once it is there.
    pub fn complete(&self) -> Option<&[u8]> {
        (self.size == Some(self.bytes.len())).then_some(&*self.bytes)
    }

    /// Whether nothing of a frame is held.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The first byte of the frame that is gathered: packet type and flags.
    pub fn first(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// The memory held, in bytes.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets the frame and gives its memory back.
    pub fn clear(&mut self) {
        *self = Assembler::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = PACKET_BYTES_MAX;

    #[test]
    fn a_complete_frame_is_found_and_what_follows_is_left() {
        assert_eq!(
            scan(&[0x40, 2, 0, 1, 0xC0, 0], MAX),
            Ok(Scan::Frame {
                first: 0x40,
                header: 2,
                size: 4
            })
        );
        assert_eq!(
            scan(&[0xC0, 0], 2),
            Ok(Scan::Frame {
                first: 0xC0,
                header: 2,
                size: 2
            })
        );
        let mut long = vec![0x30, 0x80, 0x01];
        long.resize(3 + 128, 0);
        assert_eq!(
            scan(&long, MAX),
            Ok(Scan::Frame {
                first: 0x30,
                header: 3,
                size: 131
            })
        );
    }

    #[test]
    fn a_partial_frame_says_its_size_once_the_header_is_there() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0xFF, 0xFF],
            &[0x30, 0xFF, 0xFF, 0xFF],
        ] {
            assert_eq!(scan(bytes, MAX), Ok(Scan::Partial { size: None }));
        }
        for (bytes, size) in [
            (&[0x30, 1][..], 3),
            (&[0x30, 0x80, 1], 131),
            (&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], PACKET_BYTES_MAX),
        ] {
            assert_eq!(scan(bytes, MAX), Ok(Scan::Partial { size: Some(size) }));
        }
    }

    #[test]
    fn a_remaining_length_of_five_bytes_or_of_more_than_it_needs_is_malformed_1_5_5_1() {
        for length in [
            &[0xFF, 0xFF, 0xFF, 0xFF, 1][..],
            &[0x80, 0x80, 0x80, 0x80],
            &[0x80, 0],
            &[0x81, 0],
            &[0xFF, 0x80, 0],
            &[0x80, 0x80, 0x80, 0],
        ] {
            let bytes = [&[0x10], length].concat();
            assert_eq!(
                scan(&bytes, MAX),
                Err(FrameFault::Malformed),
                "{length:02X?}"
            );
        }
    }

    #[test]
    fn a_frame_over_the_maximum_is_refused_by_its_header_alone() {
        assert_eq!(
            scan(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], 1 << 20),
            Err(FrameFault::TooLarge {
                size: PACKET_BYTES_MAX
            })
        );
        assert_eq!(scan(&[0x30, 9], 10), Err(FrameFault::TooLarge { size: 11 }));
        assert_eq!(scan(&[0x30, 8], 10), Ok(Scan::Partial { size: Some(10) }));
    }

    #[test]
    fn only_a_connect_with_clear_flags_may_come_first_3_1_0_1() {
        let accepted: Vec<u8> = (0..=255).filter(|&first| may_come_first(first)).collect();
        assert_eq!(accepted, [0x10]);
    }

    #[test]
    fn a_frame_is_gathered_from_pieces_of_any_size_and_the_next_one_is_left() {
        let mut frame = vec![0x30, 0xAC, 0x02];
        frame.extend((0..300).map(|n| n as u8));
        let stream = [&frame[..], &[0xC0, 0]].concat();
        for piece in 1..=stream.len() {
            let mut assembler = Assembler::new();
            let mut at = 0;
            while assembler.complete().is_none() {
                let end = stream.len().min(at + piece);
                at += assembler
                    .push(&stream[at..end], MAX)
                    .expect("the frame is well formed");
            }
            assert_eq!(assembler.complete(), Some(&frame[..]), "pieces of {piece}");
            assert_eq!(at, frame.len());
        }
    }

    #[test]
    fn memory_follows_what_arrived_and_not_what_was_announced() {
        let mut assembler = Assembler::new();
        let header = [0x30, 0xFF, 0xFF, 0xFF, 0x7F];
        assert_eq!(assembler.push(&header, MAX), Ok(5));
        assert!(assembler.memory() <= FIRST_RESERVATION);
        let mut arrived = header.len();
        for _ in 0..100 {
            arrived += assembler.push(&[0; 999], MAX).expect("within the frame");
            assert!(assembler.memory() <= (2 * arrived).max(FIRST_RESERVATION));
        }
        assembler.clear();
        assert_eq!((assembler.memory(), assembler.is_empty()), (0, true));
    }

    #[test]
    fn memory_never_exceeds_the_frame() {
        let mut assembler = Assembler::new();
        let size = 3 + 0x7F + (20 << 7);
        assembler.push(&[0x30, 0xFF, 20], MAX).expect("a header");
        while assembler.complete().is_none() {
            assembler.push(&[0; 100], MAX).expect("within the frame");
        }
        assert_eq!(assembler.memory(), size);
    }

    #[test]
    fn a_gathered_frame_over_the_maximum_is_refused_before_its_body() {
        let mut assembler = Assembler::new();
        assert_eq!(assembler.push(&[0x10], 100), Ok(1));
        assert_eq!(assembler.first(), Some(0x10));
        assert_eq!(
            assembler.push(&[99], 100),
            Err(FrameFault::TooLarge { size: 101 })
        );
    }
}
