//! WebSocket frames: the stream in any pieces means what a simple reader of the whole stream makes of it.

use fosquitto::fuzzing::{Choices, Event, Reader};
use fosquitto::net::websocket::Fault;

use crate::memory::peak_of;

/// What a stream means: its MQTT bytes, its Pings, and how it ends.
#[derive(Debug, Default, PartialEq)]
struct Meaning {
    data: Vec<u8>,
    pings: Vec<Vec<u8>>,
    close: Option<Option<u16>>,
    /// The status code of the fault.
    fault: Option<u16>,
}

/// The longest frame, how large the pieces are, and the stream.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let size_max = choices.one_of(&[1 << 20, 200, 16]);
    let piece = 1 + choices.below(40) as usize;
    let stream = choices.rest();
    let simply = simply(stream, size_max);
    assert_eq!(in_pieces(stream, size_max, stream.len().max(1)), simply);
    assert_eq!(in_pieces(stream, size_max, piece), simply);
}

fn in_pieces(stream: &[u8], size_max: usize, piece: usize) -> Meaning {
    let mut reader = Reader::default();
    let mut meaning = Meaning::default();
    for piece in stream.chunks(piece) {
        let mut piece = piece.to_vec();
        let mut used = 0;
        while used < piece.len() {
            let (read, peak) =
                peak_of(|| next(&mut reader, &mut piece[used..], size_max, &mut meaning));
            // What is read is kept by the meaning, which is the test's.
            assert!(peak <= 2 * (stream.len() + 64) * 8);
            match read {
                Ok(size) => used += size,
                Err(fault) => {
                    assert!(!fault.what.is_empty());
                    meaning.fault = Some(fault.code);
                    return meaning;
                }
            }
            if meaning.close.is_some() {
                return meaning;
            }
        }
    }
    meaning
}

fn next(
    reader: &mut Reader,
    bytes: &mut [u8],
    size_max: usize,
    meaning: &mut Meaning,
) -> Result<usize, Fault> {
    let size = bytes.len();
    let (used, event) = reader.next(bytes, size_max)?;
    assert!(used > 0 && (used == size || event.is_some() || used <= size));
    match event {
        Some(Event::Data(data)) => meaning.data.extend_from_slice(data),
        Some(Event::Ping(payload)) => meaning.pings.push(payload.to_vec()),
        Some(Event::Close(code)) => meaning.close = Some(code),
        None => {}
    }
    Ok(used)
}

/// Reads the whole stream frame by frame, as RFC 6455 says it in section 5.2.
fn simply(stream: &[u8], size_max: usize) -> Meaning {
    let mut meaning = Meaning::default();
    let mut rest = stream;
    let mut is_fragmented = false;
    loop {
        let Some((header, after)) = rest.split_at_checked(2) else {
            return meaning;
        };
        let (is_final, opcode) = (header[0] & 0x80 != 0, header[0] & 0x0F);
        let is_control = opcode >= 8;
        let length = header[1] & 0x7F;
        meaning.fault = fault_of(header, is_fragmented);
        if meaning.fault.is_some() {
            return meaning;
        }
        let length_bytes = [0, 2, 8][usize::from(length.saturating_sub(125))];
        let Some((more, after)) = after.split_at_checked(length_bytes + 4) else {
            return meaning;
        };
        let (long, mask) = more.split_at(length_bytes);
        let long = long
            .iter()
            .fold(0, |long, byte| long << 8 | u64::from(*byte));
        let size = if length > 125 {
            long
        } else {
            u64::from(length)
        };
        meaning.fault = if size > size_max as u64 {
            Some(1009)
        } else {
            let shortest = [0, 126, 0x1_0000][usize::from(length.saturating_sub(125))];
            (size < shortest).then_some(1002)
        };
        if meaning.fault.is_some() {
            return meaning;
        }
        if !is_control {
            is_fragmented = !is_final;
        }
        let (payload, after) = after.split_at(after.len().min(size as usize));
        let masks = mask.iter().cycle();
        let plain: Vec<u8> = payload
            .iter()
            .zip(masks)
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        let is_whole = plain.len() as u64 == size;
        rest = after;
        match opcode {
            0 | 2 => meaning.data.extend(plain),
            9 if is_whole => meaning.pings.push(plain),
            8 if is_whole => {
                match status(&plain) {
                    Ok(code) => meaning.close = Some(code),
                    Err(code) => meaning.fault = Some(code),
                }
                return meaning;
            }
            _ => {}
        }
    }
}

/// The status that answers the first two bytes of a frame, if they are no beginning of one (5.2, 5.4, 5.5).
fn fault_of(header: &[u8], is_fragmented: bool) -> Option<u16> {
    let (is_final, opcode) = (header[0] & 0x80 != 0, header[0] & 0x0F);
    let is_bad_control = opcode >= 8 && (!is_final || header[1] & 0x7F > 125);
    match opcode {
        _ if header[0] & 0x70 != 0 || header[1] & 0x80 == 0 => Some(1002),
        1 => Some(1003),
        0 if !is_fragmented => Some(1002),
        2 if is_fragmented => Some(1002),
        3..=7 | 11.. => Some(1002),
        _ if is_bad_control => Some(1002),
        _ => None,
    }
}

/// The status of a Close frame (7.4), or the status that answers a bad one.
fn status(payload: &[u8]) -> Result<Option<u16>, u16> {
    let Some((code, reason)) = payload.split_at_checked(2) else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(1002)
        };
    };
    let code = u16::from_be_bytes([code[0], code[1]]);
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => match std::str::from_utf8(reason) {
            Ok(_) => Ok(Some(code)),
            Err(_) => Err(1007),
        },
        _ => Err(1002),
    }
}
