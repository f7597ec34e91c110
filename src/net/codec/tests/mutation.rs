//! Truncated, changed and random bytes: nothing panics, and what is accepted keeps the codec's promises.

use super::samples::{Sample, all};
use super::*;
use crate::mqtt::packet::Publish;
use crate::mqtt::topic;
use crate::net::frame::{Assembler, FrameFault, Scan, scan};

/// A small generator (xorshift64), so that a seed repeats a run.
struct Random(u64);

impl Random {
    /// Seeded by `FOSQUITTO_SEED` or the clock; the seed is printed, which a failing test shows.
    fn new() -> Random {
        let seed = match std::env::var("FOSQUITTO_SEED") {
            Ok(seed) => seed.parse().expect("FOSQUITTO_SEED is a number"),
            Err(_) => std::time::UNIX_EPOCH
                .elapsed()
                .map_or(1, |elapsed| elapsed.as_nanos() as u64),
        };
        println!("FOSQUITTO_SEED={seed}");
        Random(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }

    fn byte(&mut self) -> u8 {
        // Bytes that mean something in a packet come up more often than by chance.
        const TELLING: &[u8] = b"\0\x01\x02\x03\x04\x05\x7F\x80\xFF+#/$\x08\x09\x0B\x23\x26";
        match self.below(3) {
            0 => TELLING[self.below(TELLING.len())],
            _ => self.next() as u8,
        }
    }
}

/// Decodes as any version and checks what every accepted packet promises.
fn examine(first: u8, body: &[u8]) -> bool {
    let mut scratch = Scratch::new();
    let mut accepted = false;
    if let Ok(packet) = decode_connect(first, body, &mut scratch) {
        accepted = true;
        assert!(!packet.client_id.contains('\0'));
        assert!(packet.will.is_none_or(|will| topic::is_name(will.topic)));
    }
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        match decode(version, first, body, &mut scratch) {
            Err(fault) => assert!(fault.reason.is_error() && !fault.what.is_empty()),
            Ok(packet) => {
                accepted = true;
                examine_packet(version, &packet);
            }
        }
    }
    accepted
}

fn examine_packet(version: Version, packet: &ClientPacket<'_>) {
    match packet {
        ClientPacket::Publish(publish) => examine_publish(version, publish),
        ClientPacket::Subscribe(packet) => {
            assert!(!packet.filters.is_empty());
            for entry in &packet.filters {
                assert!(topic::subscribed(entry.filter).is_some());
            }
        }
        ClientPacket::Unsubscribe(packet) => {
            assert!(!packet.filters.is_empty());
            assert!(
                packet
                    .filters
                    .iter()
                    .all(|it| topic::subscribed(it).is_some())
            );
        }
        ClientPacket::Connect(_) => panic!("a second CONNECT is a fault"),
        _ => {}
    }
}

/// What is passed on is read by the next broker as it was read here.
fn examine_publish(version: Version, publish: &Publish<'_>) {
    assert!(
        topic::is_name(publish.topic) || publish.topic.is_empty() && publish.topic_alias.is_some()
    );
    let head = PublishHead {
        topic: publish.topic,
        topic_alias: publish.topic_alias,
        packet_id: publish.packet_id,
        qos: publish.qos,
        duplicate: publish.duplicate,
        retain: publish.retain,
        expiry_s: publish.expiry_s,
        subscription_ids: &[],
        properties: publish.properties,
        payload_bytes: publish.payload.len(),
    };
    let mut frame = Vec::new();
    head.encode(version, &mut frame);
    frame.extend_from_slice(publish.payload);
    assert_eq!(frame.len(), head.size(version));
    let (first, body) = split(&frame);
    assert_eq!(
        decode(version, first, body, &mut Scratch::new()),
        Ok(ClientPacket::Publish(*publish))
    );
}

#[test]
fn every_sample_is_accepted() {
    for Sample { frame, .. } in all() {
        let (first, body) = split(&frame);
        assert!(examine(first, body), "{frame:02X?}");
    }
}

#[test]
fn a_sample_cut_anywhere_is_refused_or_is_a_shorter_packet() {
    for Sample { version, frame } in all() {
        let (first, body) = split(&frame);
        for size in 0..body.len() {
            // A vector of its own, so that a reader beyond the end would be noticed by a checker of memory.
            let cut = body[..size].to_vec();
            let accepted = examine(first, &cut);
            if first == 0x10 {
                assert!(!accepted, "a CONNECT has no end but its own: {cut:02X?}");
            }
            let longer = [&cut[..], &[0]].concat();
            examine(first, &longer);
        }
        // The packets without a payload or a list end where they end.
        let lists = matches!(first >> 4, 1 | 3 | 8 | 10);
        if !lists {
            let longer = [body, &[0]].concat();
            assert!(refused(version, first, &longer).is_some(), "{longer:02X?}");
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match (random.below(6), bytes.get_mut(at)) {
            (0, Some(byte)) => *byte = random.byte(),
            (1, Some(byte)) => *byte ^= 1 << random.below(8),
            (2, Some(byte)) => *byte = byte.wrapping_add(1),
            (3, Some(_)) => drop(bytes.remove(at)),
            (4, Some(_)) => bytes.truncate(at),
            _ => bytes.insert(at, random.byte()),
        }
    }
}

#[test]
fn changed_packets_never_panic_and_what_is_accepted_is_well_formed() {
    let mut random = Random::new();
    let samples = all();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..60_000 {
        let sample = &samples[random.below(samples.len())];
        let (first, body) = split(&sample.frame);
        let mut body = body.to_vec();
        mutate(&mut body, &mut random);
        let first = match random.below(20) {
            0 => random.next() as u8,
            _ => first,
        };
        match examine(first, &body) {
            true => accepted += 1,
            false => refused += 1,
        }
    }
    // The changes are neither harmless nor always deadly: both ways were taken often.
    assert!(accepted > 1000 && refused > 1000, "{accepted}, {refused}");
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random::new();
    for _ in 0..60_000 {
        let body: Vec<u8> = (0..random.below(60)).map(|_| random.byte()).collect();
        examine(random.next() as u8, &body);
    }
}

/// The frames of a stream, or the fault that ends it.
fn frames_at_once(stream: &[u8], max: usize) -> (Vec<Vec<u8>>, Option<FrameFault>) {
    let mut frames = Vec::new();
    let mut rest = stream;
    loop {
        match scan(rest, max) {
            Ok(Scan::Frame { size, .. }) => {
                frames.push(rest[..size].to_vec());
                rest = &rest[size..];
            }
            Ok(Scan::Partial { .. }) => return (frames, None),
            Err(fault) => return (frames, Some(fault)),
        }
    }
}

fn frames_in_pieces(
    stream: &[u8],
    max: usize,
    random: &mut Random,
) -> (Vec<Vec<u8>>, Option<FrameFault>) {
    let mut frames = Vec::new();
    let mut assembler = Assembler::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let piece = &rest[..1 + random.below(rest.len())];
        match assembler.push(piece, max) {
            Ok(consumed) => rest = &rest[consumed..],
            Err(fault) => return (frames, Some(fault)),
        }
        if let Some(frame) = assembler.complete() {
            frames.push(frame.to_vec());
            assembler.clear();
        }
    }
    (frames, None)
}

#[test]
fn a_stream_in_pieces_has_the_frames_of_the_stream_at_once() {
    let mut random = Random::new();
    let samples = all();
    for _ in 0..3000 {
        let mut stream = Vec::new();
        for _ in 0..random.below(8) {
            stream.extend_from_slice(&samples[random.below(samples.len())].frame);
        }
        if random.below(2) == 0 {
            mutate(&mut stream, &mut random);
        }
        let max = 50 + random.below(400);
        assert_eq!(
            frames_in_pieces(&stream, max, &mut random),
            frames_at_once(&stream, max),
            "{stream:02X?}"
        );
    }
}
