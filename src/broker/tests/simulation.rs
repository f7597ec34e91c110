//! Random clients against a model of what they must get.
//!
//! Clients of both versions connect, subscribe, publish, read late, acknowledge late, break off, come back and take their
//! own sessions over, while outputs fill up and time passes. Every message has a number; the model notes for each
//! session which numbers it must get. [`World`] compares the store with the broker again and again.
//! `FOSQUITTO_SEED=` repeats the run whose seed was printed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};

use super::world::{Packet, Seen, World, ack, ack_with, qos0, v3, will};
use crate::broker::{ConnectionId, Input, Settings};
use crate::fuzzing::Choices;
use crate::mqtt::packet::{
    ClientPacket, Connect, ConnectProperties, Publish, RetainHandling, SubscriptionOptions, Will,
};
use crate::mqtt::{PacketId, Qos, ReasonCode, Version, topic};

const RUNS: u64 = 8;
const STEPS: u32 = 1_500;
const STEPS_OF_A_LIFE: u32 = 250;
const TOPICS: [&str; 5] = ["a/x", "a/y", "b/x", "c", "a/x/z"];
const FILTERS: [&str; 9] = ["a/x", "a/y", "b/x", "c", "#", "a/#", "+/x", "will", "a/+/z"];
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
const NAMES: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];

#[test]
fn random_clients_get_what_they_are_owed() {
    simulate(0);
}

/// An input of which the broker has told the store not all is one that it never got; after it, any of what it said to clients may be lost.
/// So a crash before and after inputs is one at every store operation.
#[test]
fn random_clients_get_what_they_are_owed_although_the_broker_crashes_again_and_again() {
    simulate(10);
}

/// The same life again and again, each time with a crash at the next step.
#[test]
fn a_crash_at_any_step_of_a_life_costs_nothing_that_was_promised() {
    for seed in seeds().into_iter().take(2) {
        println!("FOSQUITTO_SEED={seed}");
        for crash_at in 0..STEPS_OF_A_LIFE {
            live(seed, STEPS_OF_A_LIFE, |_, step| step == crash_at);
        }
    }
}

fn simulate(crashes_percent: u64) {
    for seed in seeds() {
        println!("FOSQUITTO_SEED={seed}");
        live(seed, STEPS, |random, _| random.percent(crashes_percent));
    }
}

/// So many steps; some of them, by their number, end in a crash.
fn live(seed: u64, steps: u32, mut crashes: impl FnMut(&mut Random<'_>, u32) -> bool) {
    let mut simulation = Simulation::new(Random::Seed(seed));
    for step in 0..steps {
        if crashes(&mut simulation.random, step) {
            simulation.step_and_crash();
        } else {
            simulation.step();
        }
    }
    simulation.end();
}

/// The seed that is given, or some by chance.
fn seeds() -> Vec<u64> {
    let given = std::env::var("FOSQUITTO_SEED");
    match given.ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => {
            let first = RandomState::new().build_hasher().finish();
            (0..RUNS).map(|run| first.wrapping_add(run)).collect()
        }
    }
}

/// The same, where bytes decide what happens until they come to their end.
pub fn simulation(bytes: &[u8]) {
    let mut simulation = Simulation::new(Random::Bytes(Choices::new(bytes)));
    while !matches!(&simulation.random, Random::Bytes(choices) if choices.is_over()) {
        simulation.step();
    }
    simulation.end();
}

/// What decides: a seed (SplitMix64) or bytes.
enum Random<'a> {
    Seed(u64),
    Bytes(Choices<'a>),
}

impl Random<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        let state = match self {
            Random::Seed(state) => state,
            Random::Bytes(choices) => return choices.below(bound),
        };
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// What a session must get of one message.
#[derive(Debug)]
struct Owed {
    topic: &'static str,
    qos: Qos,
    seen: u32,
}

/// What a client published and is not done with.
#[derive(Debug)]
struct Open {
    packet_id: u16,
    qos: Qos,
    topic: &'static str,
    number: u64,
    retain: bool,
    released: bool,
    /// Whether the broker got it.
    given: bool,
}

#[derive(Debug)]
struct Client {
    name: &'static str,
    version: Version,
    expiry_s: u32,
    link: Option<ConnectionId>,
    /// How long its session lasts without a connection.
    granted_s: u32,
    /// When its session ends, while it is away.
    ends_at_ms: u64,
    has_session: bool,
    subscriptions: BTreeMap<&'static str, (Qos, bool)>,
    owed: BTreeMap<u64, Owed>,
    /// The highest number seen of a topic at a QoS.
    last: HashMap<(String, u8), u64>,
    /// The same of what was published with RETAIN, seen live or because of a subscription.
    last_retained: HashMap<(String, u8), u64>,
    /// Identifiers of QoS 2 messages that it holds.
    holds: BTreeSet<u16>,
    /// Acknowledgements that it has not sent yet.
    acks: VecDeque<Packet>,
    open: VecDeque<Open>,
    will: Option<u64>,
}

impl Client {
    fn forget_session(&mut self) {
        self.has_session = false;
        self.subscriptions.clear();
        self.owed.clear();
        self.last.clear();
        self.last_retained.clear();
        self.holds.clear();
        self.open.clear();
    }
}

struct Simulation<'a> {
    random: Random<'a>,
    world: World,
    clients: Vec<Client>,
    number: u64,
    /// Numbers that were published with RETAIN.
    retained: BTreeSet<u64>,
    /// Wills that may be seen, and those that must not be.
    void_wills: BTreeSet<u64>,
    /// Whether queues have room for all, so that nothing may be lost.
    complete: bool,
}

impl<'a> Simulation<'a> {
    fn new(mut random: Random<'a>) -> Simulation<'a> {
        let complete = random.percent(70);
        let mut world = World::with(Settings {
            queue_messages: if complete { 100_000 } else { 4 },
            queue_bytes: usize::MAX,
            max_inflight: 1 + random.below(12) as u16,
            sys_interval_ms: random.one_of(&[0, 10_000]),
            ..Settings::default()
        });
        world.compare_every = 32;
        let clients = NAMES.map(|name| Client {
            name,
            version: random.one_of(&[Version::V3_1_1, Version::V5]),
            expiry_s: random.one_of(&[0, 20, 100_000, 100_000]),
            link: None,
            granted_s: 0,
            ends_at_ms: 0,
            has_session: false,
            subscriptions: BTreeMap::new(),
            owed: BTreeMap::new(),
            last: HashMap::new(),
            last_retained: HashMap::new(),
            holds: BTreeSet::new(),
            acks: VecDeque::new(),
            open: VecDeque::new(),
            will: None,
        });
        Simulation {
            random,
            world,
            clients: clients.into(),
            number: 0,
            retained: BTreeSet::new(),
            void_wills: BTreeSet::new(),
            complete,
        }
    }

    fn step(&mut self) {
        let who = self.random.below(self.clients.len() as u64) as usize;
        let Some(link) = self.clients[who].link else {
            if self.random.percent(50) {
                self.connect(who);
            }
            return;
        };
        match self.random.below(100) {
            0..35 => self.publish(who, link),
            35..60 => self.read(who, link),
            60..80 => self.send_acks(who, link, 3),
            80..86 => self.subscribe(who, link),
            86..88 => self.unsubscribe(who, link),
            88..91 => self.cut(who, link),
            91..92 => self.disconnect(who, link),
            92..93 => self.connect(who),
            93..97 => {
                let room = self.random.below(6) as usize + 1;
                self.world.drain(link, room);
            }
            _ => {
                let ms = self.random.below(4_000);
                self.world.advance(ms);
                self.expire();
            }
        }
    }

    /// A step whose effects are lost in part, or a message that the broker does not get; and then it is killed.
    fn step_and_crash(&mut self) {
        let links: Vec<_> = self.clients.iter().map(|client| client.link).collect();
        let read: Vec<_> = links
            .iter()
            .map(|link| link.map_or(0, |link| self.world.link(link).packets.len()))
            .collect();
        match self.random.percent(40) {
            true => self.publish_in_vain(),
            false => self.step(),
        }
        for who in 0..self.clients.len() {
            let Some(link) = self.clients[who].link else {
                continue;
            };
            let before = if links[who] == Some(link) {
                read[who]
            } else {
                0
            };
            let packets = self.world.link(link).packets.len();
            let reach = self.random.below(packets.saturating_sub(before) as u64 + 1) as usize;
            self.world.link(link).packets.truncate(before + reach);
            if self.random.percent(50) {
                self.read(who, link);
            }
        }
        let ms = self.random.one_of(&[0, 300, 2_000, 25_000]);
        self.world.crash(ms);
        for who in 0..self.clients.len() {
            if self.clients[who].link.is_some() {
                self.went(who);
            }
        }
        self.expire();
    }

    /// A client publishes, and the broker does not get it any more.
    fn publish_in_vain(&mut self) {
        let who = self.random.below(self.clients.len() as u64) as usize;
        if self.clients[who].link.is_some()
            && let Some(open) = self.next_publish(who)
            && open.qos > Qos::AtMostOnce
        {
            self.clients[who].open.push_back(open);
        }
    }

    fn expire(&mut self) {
        for client in &mut self.clients {
            if client.link.is_none() && client.ends_at_ms <= self.world.now.0 {
                client.forget_session();
            }
        }
    }

    fn connect(&mut self, who: usize) {
        let clean_start = self.random.percent(10);
        let (will_number, delay_s) = (self.next_number(), self.random.one_of(&[0, 0, 3, 50]));
        let receive_maximum = self.random.below(9) as u16 + 1;
        let with_will = self.random.percent(50);
        self.world.room = self.random.below(20) as usize + 1;
        if self.clients[who].link.take().is_some() {
            self.went(who);
        }
        let client = &mut self.clients[who];
        let is_v5 = client.version == Version::V5;
        let payload = will_number.to_string();
        let connect = Connect {
            version: client.version,
            clean_start: clean_start || (!is_v5 && client.expiry_s == 0),
            will: with_will.then_some(Will {
                payload: payload.as_bytes(),
                delay_s: if is_v5 { delay_s } else { 0 },
                ..will("will")
            }),
            properties: ConnectProperties {
                session_expiry_s: is_v5.then_some(client.expiry_s),
                receive_maximum: if is_v5 { receive_maximum } else { u16::MAX },
                ..ConnectProperties::default()
            },
            ..v3(client.name)
        };
        let (link, present) = self.world.join(&connect);
        let expected = client.has_session && !connect.clean_start;
        assert_eq!(present, expected, "the session of {}", client.name);
        if !present {
            client.forget_session();
        }
        client.link = Some(link);
        client.granted_s = match (is_v5, connect.clean_start) {
            (true, _) => client.expiry_s,
            (false, true) => 0,
            (false, false) => Settings::default().session_expiry_s,
        };
        client.has_session = true;
        client.will = with_will.then_some(will_number);
        for mut open in std::mem::take(&mut self.clients[who].open) {
            if !open.given {
                open.number = self.next_number();
                self.give(who, &mut open);
            }
            let payload = open.number.to_string();
            // Published already: a repetition must not be passed on again.
            let packet = match open.released {
                true => ClientPacket::PubRel(ack(open.packet_id)),
                false => ClientPacket::Publish(Publish {
                    duplicate: true,
                    ..open.publish(&payload)
                }),
            };
            self.world.send(link, packet);
            self.clients[who].open.push_back(open);
        }
    }

    /// What the model knows of a client whose connection has ended. QoS 1 messages that it was not told about are given
    /// up: the broker has them.
    fn went(&mut self, who: usize) {
        let now = self.world.now;
        let client = &mut self.clients[who];
        client.link = None;
        client.acks.clear();
        let is_kept = |open: &Open| open.qos == Qos::ExactlyOnce || !open.given;
        client.open.retain(is_kept);
        client.ends_at_ms = now.after_s(u64::from(client.granted_s)).0;
        if client.granted_s == 0 {
            client.forget_session();
        }
    }

    fn cut(&mut self, who: usize, link: ConnectionId) {
        self.world.cut(link);
        self.went(who);
    }

    fn disconnect(&mut self, who: usize, link: ConnectionId) {
        let client = &self.clients[who];
        let is_v5 = client.version == Version::V5;
        let reason = match is_v5 && self.random.percent(30) {
            true => ReasonCode::DISCONNECT_WITH_WILL,
            false => {
                self.void_wills.extend(client.will);
                ReasonCode::SUCCESS
            }
        };
        self.world.disconnect(link, reason, None);
        self.went(who);
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn publish(&mut self, who: usize, link: ConnectionId) {
        let Some(mut open) = self.next_publish(who) else {
            return;
        };
        self.give(who, &mut open);
        let payload = open.number.to_string();
        self.world.publish(link, open.publish(&payload));
        if open.qos > Qos::AtMostOnce {
            self.clients[who].open.push_back(open);
        }
    }

    /// What a client publishes next, if it has an identifier for it.
    fn next_publish(&mut self, who: usize) -> Option<Open> {
        let client = &self.clients[who];
        let used = |id: u16| client.open.iter().any(|open| open.packet_id == id);
        let packet_id = (1..30).find(|id| !used(*id))?;
        Some(Open {
            packet_id,
            qos: self.random.one_of(&QOS),
            topic: self.random.one_of(&TOPICS),
            number: self.next_number(),
            retain: self.random.percent(15),
            released: false,
            given: false,
        })
    }

    /// Notes who must get a message that the broker gets now.
    fn give(&mut self, who: usize, open: &mut Open) {
        open.given = true;
        let number = open.number;
        if open.retain {
            self.retained.insert(number);
        }
        for (other, client) in self.clients.iter_mut().enumerate() {
            let matching = client.subscriptions.iter();
            let granted = matching
                .filter(|(filter, (_, no_local))| {
                    topic::matches(filter, open.topic) && !(*no_local && other == who)
                })
                .map(|(_, (qos, _))| (*qos).min(open.qos))
                .max();
            if let Some(qos) = granted {
                let (topic, seen) = (open.topic, 0);
                client.owed.insert(number, Owed { topic, qos, seen });
            }
        }
    }

    fn subscribe(&mut self, who: usize, link: ConnectionId) {
        let filter = self.random.one_of(&FILTERS);
        let is_v5 = self.clients[who].version == Version::V5;
        let handling = [
            RetainHandling::Send,
            RetainHandling::SendIfNew,
            RetainHandling::DoNotSend,
        ];
        let options = SubscriptionOptions {
            qos: self.random.one_of(&QOS),
            no_local: is_v5 && self.random.percent(20),
            retain_as_published: false,
            retain_handling: if is_v5 {
                self.random.one_of(&handling)
            } else {
                RetainHandling::Send
            },
        };
        let id = (is_v5 && self.random.percent(30)).then_some(7);
        self.world.subscribe_with(link, filter, options, id);
        let granted = (options.qos, options.no_local);
        self.clients[who].subscriptions.insert(filter, granted);
    }

    fn unsubscribe(&mut self, who: usize, link: ConnectionId) {
        let filter = self.random.one_of(&FILTERS);
        let reason = self.world.unsubscribe(link, filter);
        let had = self.clients[who].subscriptions.remove(filter).is_some();
        assert_eq!(had, reason == ReasonCode::SUCCESS);
    }

    /// The client reads all that it was sent, and notes what it has to answer.
    fn read(&mut self, who: usize, link: ConnectionId) {
        for packet in self.world.take(link) {
            let client = &mut self.clients[who];
            match packet {
                Packet::Publish(seen) => self.saw(who, &seen),
                Packet::PubAck(id, _) => client.open.retain(|open| open.packet_id != id),
                Packet::PubRec(id, _) => {
                    let mut open = client.open.iter_mut();
                    if let Some(open) = open.find(|open| open.packet_id == id) {
                        open.released = true;
                        client.acks.push_back(packet);
                    }
                }
                Packet::PubComp(id, _) => client.open.retain(|open| open.packet_id != id),
                Packet::PubRel(id, _) => {
                    client.holds.remove(&id);
                    client.acks.push_back(packet);
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    fn saw(&mut self, who: usize, seen: &Seen) {
        let client = &mut self.clients[who];
        if seen.qos == 2 {
            client.acks.push_back(Packet::Publish(seen.clone()));
            if !client.holds.insert(seen.id) {
                return assert!(seen.duplicate, "held already: {seen:?}");
            }
        } else if seen.qos == 1 {
            client.acks.push_back(Packet::Publish(seen.clone()));
        }
        let number: u64 = seen.payload.parse().unwrap_or_default();
        if seen.topic == "will" {
            return assert!(!self.void_wills.contains(&number), "{seen:?} is void");
        }
        let is_repeated = if seen.retain {
            assert!(self.retained.contains(&number), "{seen:?}");
            seen.duplicate
        } else {
            let owed = client.owed.get_mut(&number);
            let owed = owed.unwrap_or_else(|| panic!("{} is not owed {seen:?}", client.name));
            assert_eq!((owed.topic, owed.qos as u8), (&*seen.topic, seen.qos));
            owed.seen += 1;
            let once_more = seen.qos == 1 && seen.duplicate;
            assert!(owed.seen == 1 || once_more, "{seen:?}");
            owed.seen > 1 || seen.duplicate
        };
        let key = (seen.topic.clone(), seen.qos);
        let in_order = |last: &mut u64| {
            assert!(is_repeated || *last <= number, "{seen:?} after {last}");
            *last = number.max(*last);
        };
        // A replay can be older than what was published since without RETAIN, but not than what was with it.
        if self.retained.contains(&number) {
            in_order(client.last_retained.entry(key.clone()).or_default());
        }
        if !seen.retain {
            in_order(client.last.entry(key).or_default());
        }
    }

    fn send_acks(&mut self, who: usize, link: ConnectionId, count: usize) {
        for _ in 0..count {
            let Some(packet) = self.clients[who].acks.pop_front() else {
                return;
            };
            let answer = match packet {
                Packet::Publish(Seen { qos: 1, id, .. }) => ClientPacket::PubAck(ack(id)),
                Packet::Publish(Seen { id, .. }) => {
                    let is_v5 = self.clients[who].version == Version::V5;
                    if is_v5 && self.random.percent(3) {
                        self.clients[who].holds.remove(&id);
                        ClientPacket::PubRec(ack_with(id, ReasonCode::QUOTA_EXCEEDED))
                    } else {
                        ClientPacket::PubRec(ack(id))
                    }
                }
                Packet::PubRel(id, _) => ClientPacket::PubComp(ack(id)),
                Packet::PubRec(id, _) => ClientPacket::PubRel(ack(id)),
                other => panic!("needs no answer: {other:?}"),
            };
            self.world.send(link, answer);
        }
    }

    /// Everyone comes back and reads to the end; then nobody is owed anything, and when all have gone nothing is left.
    fn end(mut self) {
        for who in 0..self.clients.len() {
            if self.clients[who].link.is_none() {
                self.expire();
                self.connect(who);
            }
        }
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            for who in 0..self.clients.len() {
                let link = self.clients[who].link.expect("all are connected");
                self.world.drain(link, 1_000_000);
                is_busy |= !self.world.link(link).packets.is_empty();
                is_busy |= !self.clients[who].acks.is_empty();
                self.read(who, link);
                self.send_acks(who, link, usize::MAX);
            }
        }
        for client in &self.clients {
            for (number, owed) in &client.owed {
                let got = owed.seen > 0 || owed.qos == Qos::AtMostOnce || !self.complete;
                assert!(got, "{} did not get {number}: {owed:?}", client.name);
            }
            assert!(client.open.is_empty(), "{:?}", client.open);
            assert!(
                client.holds.is_empty(),
                "{} holds {:?}",
                client.name,
                client.holds
            );
        }
        for who in 0..self.clients.len() {
            let link = self.clients[who].link.expect("all are connected");
            self.cut(who, link);
        }
        // Without `$SYS` in between, the days in which sessions run out take no time.
        self.world.handle(Input::Settings(Settings {
            sys_interval_ms: 0,
            ..Settings::default()
        }));
        self.world.advance_s(200_000);
        self.world.assert_nobody_left();
    }
}

impl Open {
    fn publish<'a>(&self, payload: &'a str) -> Publish<'a> {
        Publish {
            packet_id: PacketId::new(self.packet_id).filter(|_| self.qos > Qos::AtMostOnce),
            qos: self.qos,
            retain: self.retain,
            ..qos0(self.topic, payload)
        }
    }
}
