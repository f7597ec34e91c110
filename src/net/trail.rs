//! The trail of a message through bridged brokers: a User Property of MQTT 5.0 by which a broker knows a message that it has had.
//!
//! Between brokers that know of each other ([`is_bridge`] in CONNECT says so) a message carries `fosquitto-path: ORIGIN-NUMBER-HOPS`: the broker
//! that it was first given out by, as 16 hexadecimal digits that are chosen anew at each start, its number there, and how many bridges it has passed.
//! Each broker passes a message on once: one that comes again under the same name, on another way or in a circle, is acknowledged and goes no
//! further, and so is one that comes back to its origin. So any number of brokers may be bridged in any shape, and each
//! message comes once everywhere. Beyond `max_hops` bridges it is not passed on. A message that waited over a restart of its first broker keeps
//! the name that it had before.
//!
//! Which messages were had is remembered for as many as may wait in the largest queue of a bridge here ([`Trail::set_room`]), over a restart too
//! where the server keeps it ([`Kept`]): only a message that is on two ways at once while the power of a broker on one of them is cut, or that is
//! on one of them for longer than that, may come twice. What was had before the last start is taken again where it is to be retained and is not:
//! then the restart has cost it. MQTT 3.1.1 has no properties: there only the bridges' bit in CONNECT
//! holds, by which no message goes back to where it came from, and a circle of such bridges is one without end.
//!
//! Who writes a trail is believed as far as that: it may keep messages of a topic that it may write from being had twice.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hasher as _};

use super::hub::Hub;
use crate::broker::{ConnectionId, Effects as _, Input};
use crate::mqtt::packet::{Ack, ClientPacket, Publish, ServerPacket};
use crate::mqtt::property::USER_PROPERTY;
use crate::mqtt::{Qos, ReasonCode};

/// The name of the property of a message.
const PATH: &[u8] = b"fosquitto-path";

/// The name of the property of a CONNECT.
const BRIDGE: &[u8] = b"fosquitto-bridge";

/// The most that the property of a message takes, in bytes.
const PATH_BYTES_MAX: usize = 1 + 2 + PATH.len() + 2 + 16 + 1 + 16 + 1 + 3;

/// Messages that are remembered: the newest so many at least, and at most three times as many. Each takes some 16 bytes.
pub const REMEMBERED: usize = 8192;

/// The most that a large queue makes of it.
pub const REMEMBERED_MAX: usize = 65_536;

/// Starts of which the origin is known: whatever was under way since then is at its end.
const ORIGINS_MAX: usize = 16;

/// What a broker knows of the ways of messages.
#[derive(Debug)]
pub struct Trail {
    /// This broker since its start.
    start: Cell<Start>,
    /// What it was before, at former starts.
    former: RefCell<Vec<Start>>,
    /// Messages that are remembered at least.
    room: Cell<usize>,
    /// What the names of messages are made with, so that nobody can foresee them.
    seed: Cell<u64>,
    seen: RefCell<Seen>,
    /// The names that came since they were taken last.
    new: RefCell<Vec<u64>>,
}

/// A broker from one start to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// What it was called.
    pub origin: u64,
    /// The first message that got its number then.
    pub first: u64,
}

/// What is to be known after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What names are made with.
    pub seed: u64,
    /// What the broker was called, its present name the last.
    pub starts: Vec<Start>,
    /// The names of messages that it has had, the older ones first.
    pub names: Vec<u64>,
}

/// A set that forgets the oldest.
#[derive(Debug, Default)]
struct Seen {
    new: HashSet<u64, foldhash::quality::FixedState>,
    old: HashSet<u64, foldhash::quality::FixedState>,
    /// Those of former starts.
    past: HashSet<u64, foldhash::quality::FixedState>,
}

/// What a message's property says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Path {
    origin: u64,
    number: u64,
    hops: u8,
}

/// What is to be done with a message that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is new; once it is taken, this MUST be given to [`Trail::remember`].
    New(Option<u64>),
    /// It was here before: it is to be acknowledged and goes no further.
    Known,
    /// It was here, but before the last start: unless that has cost what there was of it, it is [`Known`](Arrival::Known), else new by this name.
    Past(u64),
}

impl Trail {
    /// A broker that nobody has heard of. `seed` SHOULD differ from start to start.
    pub fn new(seed: u64) -> Trail {
        Trail {
            start: Cell::new(Start {
                origin: seed,
                first: 0,
            }),
            room: Cell::new(REMEMBERED),
            former: RefCell::default(),
            seed: Cell::new(seed),
            seen: RefCell::default(),
            new: RefCell::default(),
        }
    }

    /// Goes on from a former start. MUST come before any message.
    pub fn go_on(&self, kept: Kept) {
        self.seed.set(kept.seed);
        let more = kept.starts.len().saturating_sub(ORIGINS_MAX);
        self.former.replace(kept.starts[more..].to_vec());
        self.seen.borrow_mut().past = kept.names.into_iter().collect();
    }

    /// The first message that will get its number from now on; those before it are of former starts.
    pub fn begin_at(&self, first: u64) {
        let origin = self.start.get().origin;
        self.start.set(Start { origin, first });
    }

    /// Remembers so many messages at least, within the bounds of [`REMEMBERED`] and [`REMEMBERED_MAX`], and no fewer than before.
    pub fn set_room(&self, messages: usize) {
        let room = messages.clamp(self.room.get(), REMEMBERED_MAX);
        self.room.set(room);
    }

    /// How many are remembered at least.
    pub fn room(&self) -> usize {
        self.room.get()
    }

    /// What is to be known after a restart.
    pub fn kept(&self) -> Kept {
        let seen = self.seen.borrow();
        let own = std::iter::once(self.start.get());
        let names = seen.past.iter().chain(&seen.old).chain(&seen.new);
        Kept {
            seed: self.seed.get(),
            starts: self.former.borrow().iter().copied().chain(own).collect(),
            names: names.copied().collect(),
        }
    }

    /// Gives the names that have come since the last time, if any.
    pub fn take_new(&self, take: impl FnOnce(&[u64])) {
        let mut new = self.new.borrow_mut();
        if !new.is_empty() {
            take(&new);
            new.clear();
        }
    }

    /// Judges a message that arrives from another broker and is to be published here under `topic`.
    pub fn judge(&self, properties: &[u8], topic: &str) -> Arrival {
        let Some((path, ..)) = find(properties) else {
            return Arrival::New(None);
        };
        if path.origin == self.start.get().origin {
            return Arrival::Known;
        }
        let mut hasher = foldhash::quality::FixedState::with_seed(self.seed.get()).build_hasher();
        hasher.write_u64(path.origin);
        hasher.write_u64(path.number);
        hasher.write(topic.as_bytes());
        let name = hasher.finish();
        let (seen, former) = (self.seen.borrow(), self.former.borrow());
        if seen.new.contains(&name) || seen.old.contains(&name) {
            Arrival::Known
        } else if seen.past.contains(&name)
            || former.iter().any(|start| start.origin == path.origin)
        {
            Arrival::Past(name)
        } else {
            Arrival::New(Some(name))
        }
    }

    /// A message was taken.
    pub fn remember(&self, name: u64) {
        self.insert(name);
        let mut new = self.new.borrow_mut();
        // Nobody takes them where nothing can be kept.
        if new.len() < self.room.get() {
            new.push(name);
        }
    }

    fn insert(&self, name: u64) {
        let mut seen = self.seen.borrow_mut();
        seen.new.insert(name);
        if seen.new.len() >= self.room.get() {
            seen.old = std::mem::take(&mut seen.new);
            seen.past = HashSet::default();
        }
    }

    /// The properties of a message on its way to another broker; `number` is the message's here. `None` when it has passed `max_hops`
    /// bridges already.
    pub fn stamp(&self, properties: &[u8], number: u64, max_hops: u8) -> Option<Vec<u8>> {
        let (path, from, to) = match find(properties) {
            Some((path, from, to)) => (path, from, to),
            None => {
                let path = Path {
                    origin: self.origin_of(number),
                    number,
                    hops: 0,
                };
                (path, properties.len(), properties.len())
            }
        };
        let hops = path.hops.checked_add(1).filter(|hops| *hops <= max_hops)?;
        let mut stamped = Vec::with_capacity(properties.len() + PATH_BYTES_MAX);
        stamped.extend_from_slice(&properties[..from]);
        Path { hops, ..path }.put(&mut stamped);
        stamped.extend_from_slice(&properties[to..]);
        Some(stamped)
    }

    /// What this broker was called when a message got its number: those that waited since then are on another way under that name already.
    fn origin_of(&self, number: u64) -> u64 {
        let present = self.start.get();
        if number >= present.first {
            return present.origin;
        }
        let former = self.former.borrow();
        let then = former.iter().rev().find(|start| start.first <= number);
        then.map_or(present.origin, |start| start.origin)
    }

    /// Appends the property by which a CONNECT says that messages to and from its sender have a trail.
    pub fn put_bridge(&self, into: &mut Vec<u8>) {
        put_property(
            BRIDGE,
            format!("{:016x}", self.start.get().origin).as_bytes(),
            into,
        );
    }
}

/// Gives a message of another broker to this one, or acknowledges it where it was here already.
pub fn arrive<H: Hub>(hub: &H, trail: &Trail, connection: ConnectionId, publish: &Publish<'_>) {
    let arrival = match publish.topic {
        // An alias stands for it: it is nobody's before its broker has looked it up.
        "" => Arrival::New(None),
        topic => trail.judge(publish.properties, topic),
    };
    let is_lost =
        || publish.retain && !publish.payload.is_empty() && !hub.is_retained(publish.topic);
    let arrival = match arrival {
        Arrival::Past(name) if is_lost() => Arrival::New(Some(name)),
        Arrival::Past(_) => Arrival::Known,
        arrival => arrival,
    };
    let reason = ReasonCode::SUCCESS;
    match (arrival, publish.packet_id) {
        (Arrival::New(name), _) => {
            let packet = ClientPacket::Publish(*publish);
            hub.handle(Input::Packet { connection, packet });
            // What was not taken may come again, on this way or another.
            if let Some(name) = name.filter(|_| hub.has_taken()) {
                trail.remember(name);
            }
        }
        (_, None) => {}
        (_, Some(packet_id)) => {
            let ack = Ack { packet_id, reason };
            let packet = match publish.qos {
                Qos::ExactlyOnce => ServerPacket::PubRec(ack),
                _ => ServerPacket::PubAck(ack),
            };
            hub.table().borrow_mut().send(connection, &packet);
            hub.end_turn_soon();
        }
    }
}

/// Whether this is the property, as encoded, by which a CONNECT says that messages to and from its sender have a trail.
pub fn is_bridge(property: &[u8]) -> bool {
    pair(property).is_some_and(|(name, ..)| name == BRIDGE)
}

fn put_property(name: &[u8], value: &[u8], into: &mut Vec<u8>) {
    into.push(USER_PROPERTY);
    for text in [name, value] {
        // Both are short.
        into.extend((text.len() as u16).to_be_bytes());
        into.extend_from_slice(text);
    }
}

fn hexadecimal_digit(value: u64) -> u8 {
    b"0123456789abcdef"[(value & 0xF) as usize]
}

/// The first path among a message's properties, and from where to where it stands.
fn find(properties: &[u8]) -> Option<(Path, usize, usize)> {
    let mut rest = properties;
    while let Some((id, after)) = rest.split_first() {
        let from = properties.len() - rest.len();
        // They were checked when they were read.
        rest = match *id {
            0x01 => after.get(1..)?,
            USER_PROPERTY => {
                let (name, value, next) = pair(rest)?;
                if name == PATH
                    && let Some(path) = Path::read(value)
                {
                    return Some((path, from, properties.len() - next.len()));
                }
                next
            }
            _ => text(after)?.1,
        };
    }
    None
}

/// The name and value of a User Property, and what follows it.
fn pair(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let bytes = bytes.strip_prefix(&[USER_PROPERTY])?;
    let (name, bytes) = text(bytes)?;
    let (value, bytes) = text(bytes)?;
    Some((name, value, bytes))
}

fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

impl Path {
    /// Appends the property. Every message to another broker has one, so nothing is allocated for it.
    fn put(self, into: &mut Vec<u8>) {
        into.push(USER_PROPERTY);
        into.extend((PATH.len() as u16).to_be_bytes());
        into.extend_from_slice(PATH);
        let length_at = into.len();
        into.extend([0, 0]);
        for shift in (0..16).rev() {
            into.push(hexadecimal_digit(self.origin >> (4 * shift)));
        }
        into.push(b'-');
        let digits = (64 - self.number.leading_zeros()).div_ceil(4).max(1);
        for shift in (0..digits).rev() {
            into.push(hexadecimal_digit(self.number >> (4 * shift)));
        }
        into.push(b'-');
        for place in [100, 10, 1] {
            if self.hops >= place || place == 1 {
                into.push(b'0' + self.hops / place % 10);
            }
        }
        let length = (into.len() - length_at - 2) as u16;
        into[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    fn read(value: &[u8]) -> Option<Path> {
        let mut parts = std::str::from_utf8(value).ok()?.splitn(3, '-');
        let mut hexadecimal = || u64::from_str_radix(parts.next()?, 16).ok();
        let (origin, number) = (hexadecimal()?, hexadecimal()?);
        let hops = parts.next()?.parse().ok()?;
        Some(Path {
            origin,
            number,
            hops,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrives(at: &Trail, properties: &[u8]) -> bool {
        match at.judge(properties, "t") {
            Arrival::New(name) => {
                name.into_iter().for_each(|name| at.remember(name));
                true
            }
            Arrival::Known | Arrival::Past(_) => false,
        }
    }

    #[test]
    fn what_waited_over_a_restart_of_its_origin_keeps_its_name() {
        let before = Trail::new(1);
        before.begin_at(1);
        let named = before.stamp(b"", 5, 10);
        let after = Trail::new(2);
        after.go_on(before.kept());
        after.begin_at(6);
        assert_eq!(after.stamp(b"", 5, 10), named);
        assert_ne!(after.stamp(b"", 6, 10), before.stamp(b"", 6, 10));
        let later = Trail::new(3);
        later.go_on(after.kept());
        later.begin_at(9);
        assert_eq!(later.stamp(b"", 5, 10), named);
        assert_eq!(later.stamp(b"", 6, 10), after.stamp(b"", 6, 10));
    }

    #[test]
    fn what_was_had_before_the_last_start_is_told_apart() {
        let [before, other] = [1, 9].map(Trail::new);
        let own = before.stamp(b"", 1, 10).expect("no hops yet");
        let others = other.stamp(b"", 1, 10).expect("no hops yet");
        assert!(arrives(&before, &others));
        let after = Trail::new(2);
        after.go_on(before.kept());
        for message in [own, others] {
            let Arrival::Past(name) = after.judge(&message, "t") else {
                panic!("it is of the past")
            };
            after.remember(name);
            assert_eq!(after.judge(&message, "t"), Arrival::Known);
        }
    }

    #[test]
    fn a_large_queue_is_remembered_in_full() {
        let [broker, other] = [1, 2].map(Trail::new);
        broker.set_room(20_000);
        let named = |number| other.stamp(b"", number, 10).expect("no hops yet");
        for number in 0..20_000 {
            assert!(arrives(&broker, &named(number)));
        }
        for number in 0..20_000 {
            assert!(!arrives(&broker, &named(number)), "{number}");
        }
        broker.set_room(1 << 30);
        assert_eq!(broker.room(), REMEMBERED_MAX);
    }

    #[test]
    fn a_message_is_new_once_on_whatever_way_it_comes() {
        let [one, two, three] = [1, 2, 3].map(Trail::new);
        let direct = one.stamp(b"\x01\x01", 7, 10).expect("no hops yet");
        assert!(arrives(&two, &direct));
        let detour = two.stamp(&direct, 99, 10).expect("one hop");
        assert!(arrives(&three, &direct));
        assert!(!arrives(&three, &detour));
        assert!(!arrives(&one, &detour), "it is back at its origin");
        let next = one.stamp(b"", 8, 10).expect("no hops yet");
        assert!(arrives(&three, &next));
    }

    #[test]
    fn the_same_message_is_new_under_another_topic() {
        let [one, two] = [1, 2].map(Trail::new);
        let stamped = one.stamp(b"", 7, 10).expect("no hops yet");
        assert!(arrives(&two, &stamped));
        assert!(matches!(
            two.judge(&stamped, "other"),
            Arrival::New(Some(_))
        ));
    }

    #[test]
    fn beyond_the_hops_nothing_goes_on() {
        let broker = Trail::new(1);
        let mut properties = b"\x26\x00\x01k\x00\x01v".to_vec();
        for _ in 0..3 {
            properties = broker.stamp(&properties, 7, 3).expect("within the hops");
        }
        assert_eq!(broker.stamp(&properties, 7, 3), None);
        assert!(properties.starts_with(b"\x26\x00\x01k"), "the others stay");
    }

    #[test]
    fn a_path_is_read_as_it_was_written() {
        for (origin, number, hops) in [
            (0, 0, 0),
            (1, 0xF, 9),
            (u64::MAX, 0x10, 10),
            (7, u64::MAX, 255),
        ] {
            let path = Path {
                origin,
                number,
                hops,
            };
            let mut written = Vec::new();
            path.put(&mut written);
            let value = format!("{origin:016x}-{number:x}-{hops}");
            assert!(written.ends_with(value.as_bytes()));
            assert_eq!(find(&written), Some((path, 0, written.len())));
            assert!(written.len() <= PATH_BYTES_MAX);
        }
    }

    #[test]
    fn what_is_no_path_is_nobodys() {
        let mut property = Vec::new();
        for value in [
            "",
            "x",
            "1-2",
            "1-2-256",
            "1-2-3-4",
            "g-1-1",
            "-1-1",
            "11111111111111111-1-1",
        ] {
            property.clear();
            put_property(PATH, value.as_bytes(), &mut property);
            assert_eq!(find(&property), None, "{value}");
        }
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let trail = Trail::new(1);
        for name in 0..100_000 {
            trail.remember(name);
        }
        let seen = trail.seen.borrow();
        assert!(seen.new.len() + seen.old.len() <= 2 * REMEMBERED);
        assert!(seen.new.contains(&99_999) || seen.old.contains(&99_999));
    }
}
