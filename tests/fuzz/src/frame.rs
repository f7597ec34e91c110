//! Frames: the stream cut into any pieces has the frames of the stream at once, and memory follows what arrived.

use fosquitto::fuzzing::Choices;
use fosquitto::net::frame::{Assembler, FrameFault, PACKET_BYTES_MAX, Scan, scan};

use crate::memory::peak_of;

/// The largest packet, how large the pieces are, and the stream.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let max = choices.one_of(&[PACKET_BYTES_MAX, 16 << 20, 300, 20, 2]);
    let piece = 1 + choices.below(40) as usize;
    let stream = choices.rest();
    let whole = at_once(stream, max);
    assert_eq!(in_pieces(stream, max, piece), whole);
}

type Frames<'a> = (Vec<&'a [u8]>, Option<FrameFault>);

fn at_once(stream: &[u8], max: usize) -> Frames<'_> {
    let mut frames = Vec::new();
    let mut rest = stream;
    loop {
        let (scanned, peak) = peak_of(|| scan(rest, max));
        assert_eq!(peak, 0, "looking for a frame allocates nothing");
        match scanned {
            Ok(Scan::Frame {
                first,
                header,
                size,
            }) => {
                assert!((2..=5).contains(&header) && header <= size && size <= max);
                assert_eq!(first, rest[0]);
                let (frame, after) = rest.split_at(size);
                frames.push(frame);
                rest = after;
            }
            Ok(Scan::Partial { size }) => {
                assert!(size.is_none_or(|size| size > rest.len() && size <= max));
                return (frames, None);
            }
            Err(fault) => return (frames, Some(fault)),
        }
    }
}

fn in_pieces(stream: &[u8], max: usize, piece: usize) -> Frames<'_> {
    let mut frames = Vec::new();
    let mut assembler = Assembler::new();
    let (mut begin, mut at) = (0, 0);
    while at < stream.len() {
        let piece = &stream[at..stream.len().min(at + piece)];
        match assembler.push(piece, max) {
            Ok(used) => {
                assert!(used <= piece.len() && (used > 0 || assembler.complete().is_some()));
                at += used;
            }
            Err(fault) => return (frames, Some(fault)),
        }
        assert_eq!(assembler.first(), Some(stream[begin]));
        assert!(assembler.memory() <= (2 * (at - begin)).max(1024));
        if let Some(frame) = assembler.complete() {
            assert_eq!(frame, &stream[begin..at]);
            frames.push(&stream[begin..at]);
            begin = at;
            assembler.clear();
        }
    }
    (frames, None)
}
