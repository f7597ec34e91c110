//! WebSocket frames as a server reads and writes them (RFC 6455, section 5), without sockets.
//!
//! [`Reader::next`] takes bytes as they come, in any pieces, and gives back what they mean: data is unmasked where it stands and is
//! never gathered, so that a frame of any length costs no memory; only a header and the payload of a control frame are kept
//! until they are whole. Text is refused: MQTT is binary [MQTT-6.0.0-1]. It does not know which frame a byte of MQTT came in, since a
//! packet may span frames and a frame may hold several [MQTT-6.0.0-2].

/// The longest header: two bytes, a length of eight, and the mask.
const HEADER_MAX: usize = 14;

/// The longest payload of a control frame (5.5).
const CONTROL_MAX: usize = 125;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The status codes of a Close frame that are sent from here (7.4.1).
pub const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;
const INVALID_PAYLOAD: u16 = 1007;
const TOO_BIG: u16 = 1009;

/// What a client did wrong. It reaches as far as its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The status code that the Close frame carries.
    pub code: u16,
    /// The same for the log.
    pub what: &'static str,
}

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The next bytes of MQTT.
    Data(&'a [u8]),
    /// A Ping, which is answered by a Pong with the same payload.
    Ping(&'a [u8]),
    /// A Close with its status code, if it had one.
    Close(Option<u16>),
}

/// The frames of one client, as far as they have arrived.
#[derive(Debug)]
pub struct Reader {
    header: [u8; HEADER_MAX],
    header_size: usize,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// Whether the last data frame was not the last one of its message.
    is_fragmented: bool,
    control: [u8; CONTROL_MAX],
    control_size: usize,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: u8,
    /// Turned so that its first byte is for the next byte of the payload.
    mask: [u8; 4],
    left: u64,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            header: [0; HEADER_MAX],
            header_size: 0,
            frame: None,
            is_fragmented: false,
            control: [0; CONTROL_MAX],
            control_size: 0,
        }
    }
}

impl Reader {
    /// Reads on in `bytes`: how many were used, which is all of them unless something happened, and what it was. No frame may be
    /// longer than `size_max` bytes.
    ///
    /// # Errors
    /// The client breaks the protocol. Nothing may be read after that.
    pub fn next<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
        size_max: usize,
    ) -> Result<(usize, Option<Event<'a>>), Fault> {
        let mut used = 0;
        let frame = loop {
            if let Some(frame) = self.frame {
                break frame;
            }
            let Some(byte) = bytes.get(used) else {
                return Ok((used, None));
            };
            used += 1;
            self.header[self.header_size] = *byte;
            self.header_size += 1;
            self.frame = self.begin(size_max)?;
        };
        let size = usize::try_from(frame.left).unwrap_or(usize::MAX);
        let size = size.min(bytes.len() - used);
        let payload = &mut bytes[used..used + size];
        used += size;
        unmask(payload, frame.mask);
        let left = frame.left - size as u64;
        let mut mask = frame.mask;
        mask.rotate_left(size % 4);
        self.frame = (left > 0).then_some(Frame {
            mask,
            left,
            ..frame
        });
        if frame.opcode < CLOSE {
            return Ok((used, (size > 0).then_some(Event::Data(payload))));
        }
        self.control[self.control_size..self.control_size + size].copy_from_slice(payload);
        self.control_size += size;
        if left > 0 {
            return Ok((used, None));
        }
        let payload = &self.control[..std::mem::take(&mut self.control_size)];
        Ok((
            used,
            match frame.opcode {
                PING => Some(Event::Ping(payload)),
                CLOSE => Some(Event::Close(status_of(payload)?)),
                // "A response to an unsolicited Pong frame is not expected" (5.5.3).
                _ => None,
            },
        ))
    }

    /// The frame whose header has arrived, if it has.
    fn begin(&mut self, size_max: usize) -> Result<Option<Frame>, Fault> {
        let header = &self.header[..self.header_size];
        let [first, second, rest @ ..] = header else {
            return Ok(None);
        };
        if header.len() == 2 {
            self.check(*first, *second)?;
        }
        let (length, mask) = match second & 0x7F {
            126 if rest.len() == 6 => rest.split_at(2),
            127 if rest.len() == 12 => rest.split_at(8),
            0..=125 if rest.len() == 4 => rest.split_at(0),
            _ => return Ok(None),
        };
        let left = match length {
            [] => u64::from(second & 0x7F),
            length => length
                .iter()
                .fold(0, |left, byte| left << 8 | u64::from(*byte)),
        };
        if left > size_max as u64 {
            return Err(Fault {
                code: TOO_BIG,
                what: "a WebSocket frame is longer than the largest packet",
            });
        }
        let least = match length.len() {
            8 => 0x1_0000,
            2 => 126,
            _ => 0,
        };
        if left < least {
            return Err(broken(
                "the length of a WebSocket frame has more bytes than it needs",
            ));
        }
        let frame = Frame {
            opcode: first & 0x0F,
            mask: mask
                .try_into()
                .expect("the patterns above leave four bytes"),
            left,
        };
        if frame.opcode < CLOSE {
            self.is_fragmented = first & 0x80 == 0;
        }
        self.header_size = 0;
        Ok(Some(frame))
    }

    /// Holds the first two bytes of a header to the protocol.
    fn check(&self, first: u8, second: u8) -> Result<(), Fault> {
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0F);
        if first & 0x70 != 0 {
            return Err(broken("a reserved bit of a WebSocket frame is set"));
        }
        if second & 0x80 == 0 {
            return Err(broken("a WebSocket frame is not masked"));
        }
        match opcode {
            BINARY if self.is_fragmented => Err(broken(
                "a WebSocket message begins before the last one ended",
            )),
            CONTINUATION if !self.is_fragmented => {
                Err(broken("a WebSocket frame continues no message"))
            }
            CONTINUATION | BINARY => Ok(()),
            // [MQTT-6.0.0-1]
            TEXT => Err(Fault {
                code: UNSUPPORTED_DATA,
                what: "a WebSocket frame is text",
            }),
            CLOSE | PING | PONG if !is_final => {
                Err(broken("a WebSocket control frame is fragmented"))
            }
            CLOSE | PING | PONG if usize::from(second & 0x7F) > CONTROL_MAX => {
                Err(broken("a WebSocket control frame is too long"))
            }
            CLOSE | PING | PONG => Ok(()),
            _ => Err(broken("a WebSocket frame has an unknown opcode")),
        }
    }
}

fn broken(what: &'static str) -> Fault {
    Fault {
        code: PROTOCOL_ERROR,
        what,
    }
}

/// The status code of a Close frame's payload (5.5.1, 7.4).
fn status_of(payload: &[u8]) -> Result<Option<u16>, Fault> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        _ => return Err(broken("the status of a WebSocket Close is cut off")),
    };
    // The others are reserved, or must not be sent.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(broken("the status of a WebSocket Close is none"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Fault {
            code: INVALID_PAYLOAD,
            what: "the reason of a WebSocket Close is not UTF-8",
        });
    }
    Ok(Some(code))
}

/// Applies a mask whose first byte is for the first of `bytes` (5.3).
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ wide).to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The header of a binary frame of so many bytes, through `write`. A server does not mask.
pub fn write_data_header(size: usize, write: impl FnMut(&[u8])) {
    write_header(BINARY, size, write);
}

/// A whole Pong frame, through `write`.
pub fn write_pong(payload: &[u8], mut write: impl FnMut(&[u8])) {
    write_header(PONG, payload.len(), &mut write);
    write(payload);
}

/// A whole Close frame, through `write`.
pub fn write_close(code: Option<u16>, mut write: impl FnMut(&[u8])) {
    write_header(CLOSE, code.map_or(0, |_| 2), &mut write);
    if let Some(code) = code {
        write(&code.to_be_bytes());
    }
}

fn write_header(opcode: u8, size: usize, mut write: impl FnMut(&[u8])) {
    write(&[0x80 | opcode]);
    match (u8::try_from(size), u16::try_from(size)) {
        (Ok(size @ ..126), _) => write(&[size]),
        (_, Ok(size)) => {
            write(&[126]);
            write(&size.to_be_bytes());
        }
        _ => {
            write(&[127]);
            write(&(size as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame; `first` is the byte with the opcode.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_header(first & 0x0F, payload.len(), |part| {
            bytes.extend_from_slice(part)
        });
        bytes[0] = first;
        bytes[1] |= 0x80;
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        bytes
    }

    /// All data and all events besides, of bytes that arrive in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<String>), Fault> {
        let (mut reader, mut data, mut events) = (Reader::default(), Vec::new(), Vec::new());
        for piece in bytes.to_vec().chunks_mut(piece) {
            let mut at = 0;
            while at < piece.len() {
                let (used, event) = reader.next(&mut piece[at..], 1 << 20)?;
                assert!(used > 0, "it goes on");
                at += used;
                match event {
                    Some(Event::Data(bytes)) => data.extend_from_slice(bytes),
                    Some(other) => events.push(format!("{other:?}")),
                    None => {}
                }
            }
        }
        Ok((data, events))
    }

    fn code_of(bytes: &[u8]) -> Option<u16> {
        let codes =
            [1, 3, bytes.len()].map(|piece| read(bytes, piece).err().map(|fault| fault.code));
        assert!(
            codes.iter().all(|code| *code == codes[0]),
            "pieces make no difference: {codes:?}"
        );
        codes[0]
    }

    #[test]
    fn data_is_the_same_in_whatever_pieces_and_frames_it_comes() {
        let payload: Vec<u8> = (0..70_000u32)
            .map(|byte| byte as u8 ^ (byte >> 8) as u8)
            .collect();
        let one = frame(0x82, &payload);
        let mut many = frame(0x02, &payload[..3]);
        many.extend(frame(0x00, &payload[3..200]));
        many.extend(frame(0x89, b"are you there"));
        many.extend(frame(0x00, &[]));
        many.extend(frame(0x80, &payload[200..500]));
        many.extend(frame(0x82, &payload[500..]));
        for piece in [1, 2, 5, 1000, 100_000] {
            assert_eq!(read(&one, piece), Ok((payload.clone(), vec![])));
            let ping = format!("{:?}", Event::Ping(b"are you there"));
            assert_eq!(read(&many, piece), Ok((payload.clone(), vec![ping])));
        }
    }

    #[test]
    fn frames_with_any_bytes_changed_are_read_or_refused_and_never_more() {
        let good = [
            frame(0x02, &[7; 200]),
            frame(0x89, &[8; 125]),
            frame(0x80, &[9; 300]),
            frame(0x88, &[0x03, 0xE8, b'x']),
        ]
        .concat();
        let mut random = 1u64;
        let mut next = |bound: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % bound
        };
        for _ in 0..2000 {
            let mut bytes = good.clone();
            for _ in 0..=next(4) {
                // Headers are where it matters, and they are at the beginning.
                let bound = if next(4) == 0 { good.len() } else { 400 };
                let at = next(bound);
                bytes[at] = next(256) as u8;
            }
            let size = bytes.len();
            let piece = 1 + next(size);
            if let Ok((data, _)) = read(&bytes, piece) {
                assert!(data.len() < size);
            }
        }
    }

    #[test]
    fn control_frames_are_told_and_a_pong_is_not() {
        let mut bytes = frame(0x89, &[]);
        bytes.extend(frame(0x8A, b"nobody asked"));
        bytes.extend(frame(0x88, &[0x03, 0xE8, b'b', b'y', b'e']));
        let events = vec!["Ping([])".to_owned(), "Close(Some(1000))".to_owned()];
        assert_eq!(read(&bytes, 3), Ok((vec![], events)));
        let events = vec!["Close(None)".to_owned()];
        assert_eq!(read(&frame(0x88, &[]), 1), Ok((vec![], events)));
    }

    #[test]
    fn what_the_protocol_forbids_has_its_status_code() {
        let unmasked = [0x82, 0x01, 0xC0];
        assert_eq!(code_of(&unmasked), Some(1002));
        for reserved in [0x40, 0x20, 0x10] {
            assert_eq!(code_of(&frame(0x82 | reserved, b"x")), Some(1002));
        }
        for unknown in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
            assert_eq!(code_of(&frame(0x80 | unknown, b"x")), Some(1002));
        }
        for control in [8, 9, 10] {
            assert_eq!(code_of(&frame(control, b"")), Some(1002), "fragmented");
            assert_eq!(code_of(&frame(0x80 | control, &[b'x'; 126])), Some(1002));
        }
        assert_eq!(code_of(&frame(0x81, b"text")), Some(1003));
        assert_eq!(code_of(&frame(0x01, b"text")), Some(1003));
        assert_eq!(code_of(&frame(0x80, b"continues nothing")), Some(1002));
        let restarted = [frame(0x02, b"a"), frame(0x82, b"b")].concat();
        assert_eq!(code_of(&restarted), Some(1002));
        let text_inside = [frame(0x02, b"a"), frame(0x81, b"b")].concat();
        assert_eq!(code_of(&text_inside), Some(1003));
    }

    #[test]
    fn lengths_are_bounded_before_anything_of_the_payload_is_there() {
        for (length, code) in [
            (1u64 << 63, 1009),
            (u64::MAX, 1009),
            ((1 << 20) + 1, 1009),
            (0xFFFF, 1002),
        ] {
            let mut header = vec![0x82, 0xFF];
            header.extend(length.to_be_bytes());
            header.extend([0; 4]);
            assert_eq!(code_of(&header), Some(code), "{length}");
        }
        assert_eq!(code_of(&[0x82, 0xFE, 0, 125, 0, 0, 0, 0]), Some(1002));
        assert_eq!(code_of(&[0x82, 0xFE, 0, 126, 0, 0, 0, 0]), None);
    }

    #[test]
    fn the_status_of_a_close_is_one_that_may_be_sent_and_its_reason_text() {
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert_eq!(code_of(&frame(0x88, &code.to_be_bytes())), Some(1002));
        }
        for code in [1000u16, 1001, 1003, 1011, 3000, 4999] {
            assert_eq!(code_of(&frame(0x88, &code.to_be_bytes())), None);
        }
        assert_eq!(code_of(&frame(0x88, &[3])), Some(1002));
        assert_eq!(code_of(&frame(0x88, &[0x03, 0xE8, 0xFF])), Some(1007));
    }
}
