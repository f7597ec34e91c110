//! The broker against a simple model that is exact: for every message the model says which client must get it now, at which QoS,
//! with which flag and identifiers, and what waits for whom.
//!
//! That is possible because the clients here read and acknowledge everything at once, so that nothing is on its way between two
//! steps; `simulation` is for what is. The model looks at every subscription of every session ([`matches_naively`]); it has
//! no tries, no queues and no packet identifiers. Of a Shared Subscription it knows that one member gets each message: when some
//! are there one of those, and else nobody in particular, later.

use std::collections::BTreeMap;

use super::world::{Packet, World, ack, v3, v5, will, without};
use crate::acl::{Access, Permissions};
use crate::broker::{ConnectionId, Settings};
use crate::fuzzing::{Choices, matches_naively};
use crate::mqtt::packet::{
    ClientPacket, Connect, ConnectProperties, Publish, RetainHandling, SubscriptionOptions, Will,
};
use crate::mqtt::{PacketId, Qos, ReasonCode};

const NAMES: [&str; 4] = ["a", "b", "c", GUEST];
/// May neither read nor write below `secret`.
const GUEST: &str = "guest";
const TOPICS: [&str; 8] = [
    "x", "x/y", "x/y/z", "/", "/x", "secret/x", "$own/x", "$SYS/x",
];
const FILTERS: [&str; 17] = [
    "#",
    "+",
    "+/+",
    "+/#",
    "x",
    "x/#",
    "x/+",
    "x/y/#",
    "+/y/+",
    "/+",
    "$own/#",
    "$SYS/#",
    "secret/#",
    "$share/g/x/#",
    "$share/g/#",
    "$share/h/x/#",
    "$share/h/+/x",
];
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
/// No sum of the steps of time is a time at which something ends, so that nothing ends in the moment of something else.
const STEPS_MS: [u64; 3] = [1_713, 20_357, 100_931];

/// Runs what bytes say.
pub fn model(bytes: &[u8]) {
    let mut model = Model {
        choices: Choices::new(bytes),
        world: World::with(Settings {
            sys_interval_ms: 0,
            ..Settings::default()
        }),
        sessions: BTreeMap::new(),
        retained: BTreeMap::new(),
        due: BTreeMap::new(),
        groups: Vec::new(),
        floating: Vec::new(),
        number: 0,
    };
    model.world.compare_every = 8;
    while !model.choices.is_over() {
        model.step();
        model.settle();
    }
}

/// A message as a client must get it.
#[derive(Debug, Clone, PartialEq)]
struct Owed {
    topic: &'static str,
    /// Its payload; 0 for an empty one.
    number: u64,
    qos: Qos,
    retain: bool,
    ids: Vec<u32>,
    expires_at: Option<u64>,
    since: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    topic: &'static str,
    number: u64,
    qos: Qos,
    retain: bool,
    expires_at: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    topic: &'static str,
    number: u64,
    qos: Qos,
    delay_s: u64,
}

#[derive(Debug, Default)]
struct Session {
    link: Option<ConnectionId>,
    is_v5: bool,
    expiry_s: u64,
    /// When it ends, and when its Will is sent, while its client is away.
    ends_at: Option<u64>,
    will_at: Option<u64>,
    will: Option<Last>,
    subscriptions: BTreeMap<&'static str, (SubscriptionOptions, Option<u32>)>,
    waiting: Vec<Owed>,
    aliases: BTreeMap<u16, &'static str>,
}

struct Model<'a> {
    choices: Choices<'a>,
    world: World,
    sessions: BTreeMap<&'static str, Session>,
    retained: BTreeMap<&'static str, Sent>,
    /// What clients that are there must have got by the end of the step.
    due: BTreeMap<&'static str, Vec<Owed>>,
    /// For each message to a group with members that are there: one of these must have got it.
    groups: Vec<Vec<(&'static str, Owed)>>,
    /// Messages to groups of which no member was there.
    floating: Vec<(&'static str, u64)>,
    number: u64,
}

impl Model<'_> {
    fn now(&self) -> u64 {
        self.world.now.0
    }

    fn step(&mut self) {
        let name = self.choices.one_of(&NAMES);
        let link = self.sessions.get(name).and_then(|session| session.link);
        match (self.choices.below(12), link) {
            (0, _) => {
                let ms = self.choices.one_of(&STEPS_MS);
                self.advance(ms);
            }
            (1, _) | (_, None) => self.connect(name),
            (2, Some(link)) => {
                self.world.cut(link);
                self.went(name);
            }
            (3, Some(link)) => self.disconnect(name, link),
            (4..7, Some(link)) => self.subscribe(name, link),
            (7, Some(link)) => self.unsubscribe(name, link),
            (_, Some(link)) => self.publish(name, link),
        }
    }

    /// Time passes: sessions end and Wills are sent, each at its time.
    fn advance(&mut self, ms: u64) {
        let end = self.now() + ms;
        self.world.advance(ms);
        let next = |model: &Self| {
            let sessions = model.sessions.iter();
            let times = sessions.flat_map(|(name, session)| {
                let ends = session.ends_at.map(|at| (at, *name, true));
                ends.into_iter()
                    .chain(session.will_at.map(|at| (at, *name, false)))
            });
            times.filter(|(at, ..)| *at <= end).min()
        };
        while let Some((at, name, is_end)) = next(self) {
            if is_end {
                self.end_session(name, at);
            } else {
                self.send_will(name, at);
            }
        }
    }

    fn send_will(&mut self, name: &'static str, at: u64) {
        let session = self.sessions.get_mut(name).expect("it has a Will");
        session.will_at = None;
        if let Some(will) = session.will.take() {
            self.route(name, sent(will), at);
        }
    }

    fn end_session(&mut self, name: &'static str, at: u64) {
        if let Some(session) = self.sessions.remove(name)
            && let Some(will) = session.will
        {
            self.route(name, sent(will), at);
        }
    }

    /// A client has gone in a way that leaves its Will.
    fn went(&mut self, name: &'static str) {
        let now = self.now();
        let session = self.sessions.get_mut(name).expect("it was there");
        session.link = None;
        session.aliases.clear();
        if session.expiry_s == 0 {
            return self.end_session(name, now);
        }
        session.ends_at = Some(now + session.expiry_s * 1000);
        match session.will {
            Some(will) if will.delay_s > 0 => session.will_at = Some(now + will.delay_s * 1000),
            _ => self.send_will(name, now),
        }
    }

    fn connect(&mut self, name: &'static str) {
        let now = self.now();
        if self.sessions.get(name).is_some_and(|it| it.link.is_some()) {
            self.went(name);
        }
        let is_v5 = self.choices.below(2) == 1;
        let is_clean = self.choices.below(4) == 0;
        let expiry_s = self.choices.one_of(&[0, 10, 60, 100_000]);
        let receive_maximum = self.choices.one_of(&[u16::MAX, 1, 2]);
        let last = self.last_words(is_v5);
        if is_clean {
            self.end_session(name, now);
        }
        let payload = last.map_or(0, |will| will.number).to_string();
        let connect = Connect {
            clean_start: is_clean,
            will: last.map(|last| Will {
                payload: payload.as_bytes(),
                qos: last.qos,
                delay_s: last.delay_s as u32,
                ..will(last.topic)
            }),
            properties: match is_v5 {
                true => ConnectProperties {
                    receive_maximum,
                    ..v5(name, expiry_s).properties
                },
                false => ConnectProperties::default(),
            },
            version: if is_v5 { v5(name, 0) } else { v3(name) }.version,
            ..v3(name)
        };
        let permissions = match name {
            GUEST => without(Access::ReadWrite, "secret/#"),
            _ => Permissions::allow_all(),
        };
        let link = self.world.connect_as(&connect, Some(name), permissions);
        let is_there = self.sessions.contains_key(name);
        match self.world.link(link).packets.remove(0) {
            Packet::ConnAck {
                session_present,
                reason: ReasonCode::SUCCESS,
                ..
            } => assert_eq!(session_present, is_there, "the session of {name}"),
            other => panic!("accepted: {other:?}"),
        }
        let session = self.sessions.entry(name).or_default();
        (session.link, session.is_v5, session.will) = (Some(link), is_v5, last);
        (session.ends_at, session.will_at) = (None, None);
        session.expiry_s = match (is_v5, is_clean) {
            (true, _) => u64::from(expiry_s),
            (false, true) => 0,
            (false, false) => u64::from(Settings::default().session_expiry_s),
        };
        let ttl_ms = Settings::default().qos0_queue_ttl_ms;
        let waiting = std::mem::take(&mut session.waiting).into_iter();
        let fresh = waiting.filter(|owed| {
            let is_late = owed.qos == Qos::AtMostOnce && now - owed.since > ttl_ms;
            !is_late && owed.expires_at.is_none_or(|at| at > now)
        });
        self.due.entry(name).or_default().extend(fresh);
    }

    fn last_words(&mut self, is_v5: bool) -> Option<Last> {
        let has_will = self.choices.below(2) == 0;
        let topic = self.choices.one_of(&["x", "x/y", "$own/x"]);
        let qos = self.choices.one_of(&QOS);
        let delay_s = self.choices.one_of(&[0, 3, 30]);
        has_will.then(|| Last {
            topic,
            number: self.next_number(),
            qos,
            delay_s: if is_v5 { delay_s } else { 0 },
        })
    }

    fn disconnect(&mut self, name: &'static str, link: ConnectionId) {
        let session = self.sessions.get_mut(name).expect("it is there");
        let mut reason = ReasonCode::SUCCESS;
        let mut expiry_s = None;
        if session.is_v5 {
            reason = self
                .choices
                .one_of(&[ReasonCode::SUCCESS, ReasonCode::DISCONNECT_WITH_WILL]);
            expiry_s = self.choices.one_of(&[None, Some(0), Some(60)]);
            expiry_s = expiry_s.filter(|_| session.expiry_s > 0);
        }
        if let Some(expiry_s) = expiry_s {
            session.expiry_s = u64::from(expiry_s);
        }
        if reason == ReasonCode::SUCCESS {
            session.will = None;
        }
        self.world.disconnect(link, reason, expiry_s);
        self.went(name);
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn subscribe(&mut self, name: &'static str, link: ConnectionId) {
        let filter = self.choices.one_of(&FILTERS);
        let is_shared = filter.starts_with("$share/");
        let mut options = SubscriptionOptions::with_qos(self.choices.one_of(&QOS));
        let session = self.sessions.get_mut(name).expect("it is there");
        let mut id = None;
        if session.is_v5 {
            options.no_local = self.choices.below(3) == 0 && !is_shared;
            options.retain_as_published = self.choices.below(3) == 0;
            options.retain_handling = self.choices.one_of(&[
                RetainHandling::DoNotSend,
                RetainHandling::SendIfNew,
                RetainHandling::Send,
            ]);
            id = self.choices.one_of(&[None, Some(1), Some(2)]);
        }
        if name == GUEST && filter == "secret/#" {
            return;
        }
        self.world.subscribe_with(link, filter, options, id);
        let is_new = session
            .subscriptions
            .insert(filter, (options, id))
            .is_none();
        let wants = match options.retain_handling {
            RetainHandling::Send => !is_shared,
            RetainHandling::SendIfNew => !is_shared && is_new,
            RetainHandling::DoNotSend => false,
        };
        if wants {
            let now = self.world.now.0;
            let retained = self.retained.values().filter(|sent| {
                matches_naively(filter, sent.topic)
                    && may_read(name, sent.topic)
                    && sent.expires_at.is_none_or(|at| at > now)
            });
            let due = self.due.entry(name).or_default();
            due.extend(retained.map(|sent| owed(sent, &[(options, id)], now, true)));
        }
    }

    fn unsubscribe(&mut self, name: &'static str, link: ConnectionId) {
        let filter = self.choices.one_of(&FILTERS);
        let session = self.sessions.get_mut(name).expect("it is there");
        let had = session.subscriptions.remove(filter).is_some();
        let reason = self.world.unsubscribe(link, filter);
        assert_eq!(had, reason == ReasonCode::SUCCESS, "{filter}");
    }

    fn publish(&mut self, name: &'static str, link: ConnectionId) {
        let mut topic = self.choices.one_of(&TOPICS);
        let qos = self.choices.one_of(&QOS);
        let retain = self.choices.below(4) == 0;
        let is_empty = retain && self.choices.below(3) == 0;
        let number = if is_empty { 0 } else { self.next_number() };
        let (mut alias, mut expiry_s, mut said) = (None, None, topic);
        let session = self.sessions.get_mut(name).expect("it is there");
        if session.is_v5 {
            expiry_s = self.choices.one_of(&[None, Some(5), Some(50)]);
            alias = self
                .choices
                .one_of(&[None, None, Some(1), Some(16), Some(17)]);
            if alias.is_some() && self.choices.below(2) == 0 {
                said = "";
            }
        }
        let payload = if is_empty {
            String::new()
        } else {
            number.to_string()
        };
        let publish = Publish {
            topic: said,
            packet_id: PacketId::new(1).filter(|_| qos > Qos::AtMostOnce),
            qos,
            duplicate: false,
            retain,
            topic_alias: alias,
            expiry_s,
            properties: &[],
            payload: payload.as_bytes(),
        };
        self.world.publish(link, publish);
        if let Some(alias) = alias {
            let known = match said {
                _ if alias > 16 => None,
                "" => session.aliases.get(&alias).copied(),
                said => {
                    session.aliases.insert(alias, said);
                    Some(said)
                }
            };
            let Some(known) = known else {
                assert!(self.world.closed(link).is_some_and(ReasonCode::is_error));
                return self.went(name);
            };
            topic = known;
        }
        let reason = if topic.starts_with("$SYS/") || !may_read(name, topic) {
            Some(ReasonCode::NOT_AUTHORIZED)
        } else {
            let expires_at = expiry_s.map(|s| self.world.now.0 + u64::from(s) * 1000);
            let sent = Sent {
                topic,
                number,
                qos,
                retain,
                expires_at,
            };
            self.route(name, sent, self.world.now.0)
        };
        self.complete(link, qos, reason);
    }

    /// The publisher's end of its own message's handshake.
    fn complete(&mut self, link: ConnectionId, qos: Qos, reason: Option<ReasonCode>) {
        if qos == Qos::AtMostOnce {
            return;
        }
        let is_answer =
            |packet: &Packet| matches!(packet, Packet::PubAck(1, _) | Packet::PubRec(1, _));
        let packets = &mut self.world.link(link).packets;
        let position = packets.iter().position(is_answer);
        let answer = packets.remove(position.expect("a PUBLISH is answered"));
        let (Packet::PubAck(_, told) | Packet::PubRec(_, told)) = answer else {
            unreachable!("it is one of the two");
        };
        assert!(reason.is_none_or(|reason| reason == told), "{told:?}");
        assert_eq!(
            matches!(answer, Packet::PubRec(..)),
            qos == Qos::ExactlyOnce
        );
        if qos == Qos::ExactlyOnce && !told.is_error() {
            self.world.pubrel(link, 1);
            let packets = &mut self.world.link(link).packets;
            let done = Packet::PubComp(1, ReasonCode::SUCCESS);
            let position = packets.iter().position(|packet| *packet == done);
            packets.remove(position.expect("a PUBREL is answered"));
        }
    }

    /// Says who must get a message; what its publisher is told, where that is certain.
    fn route(&mut self, publisher: &str, sent: Sent, at: u64) -> Option<ReasonCode> {
        if sent.retain && sent.number == 0 {
            self.retained.remove(sent.topic);
        } else if sent.retain {
            self.retained.insert(sent.topic, sent);
        }
        let mut receivers = 0;
        for (name, session) in &mut self.sessions {
            let mut local = false;
            let own = session
                .subscriptions
                .iter()
                .filter(|(filter, (options, _))| {
                    !filter.starts_with("$share/") && matches_naively(filter, sent.topic) && {
                        let is_local = options.no_local && *name == publisher;
                        local |= is_local;
                        !is_local
                    }
                });
            let own: Vec<_> = own.map(|(_, subscription)| *subscription).collect();
            receivers += usize::from(own.is_empty() && local);
            if own.is_empty() || (session.link.is_some() && !may_read(name, sent.topic)) {
                continue;
            }
            receivers += 1;
            let owed = owed(&sent, &own, at, false);
            if session.link.is_some() {
                self.due.entry(name).or_default().push(owed);
            } else if may_read(name, sent.topic) {
                session.waiting.push(owed);
            }
        }
        let groups = self.route_shared(&sent, at);
        match (receivers, groups) {
            (0, 0) => Some(ReasonCode::NO_MATCHING_SUBSCRIBERS),
            (0, _) => None,
            _ => Some(ReasonCode::SUCCESS),
        }
    }

    /// The same for groups; how many match.
    fn route_shared(&mut self, sent: &Sent, at: u64) -> usize {
        let shares = FILTERS.iter().filter_map(|filter| {
            let (_, matched) = filter.strip_prefix("$share/")?.split_once('/')?;
            matches_naively(matched, sent.topic).then_some(*filter)
        });
        let mut groups = 0;
        for filter in shares {
            let members: Vec<_> = self
                .sessions
                .iter()
                .filter_map(|(name, session)| {
                    let own = *session.subscriptions.get(filter)?;
                    Some((*name, session.link.is_some(), own))
                })
                .collect();
            let there: Vec<_> = members
                .iter()
                .filter(|(name, is_there, _)| *is_there && may_read(name, sent.topic))
                .map(|(name, _, own)| (*name, owed(sent, &[*own], at, false)))
                .collect();
            groups += usize::from(!members.is_empty());
            if !there.is_empty() {
                self.groups.push(there);
            } else if !members.is_empty() {
                self.floating.push((sent.topic, sent.number));
            }
        }
        groups
    }

    /// Everybody reads and answers until nothing comes any more: it must be what was said.
    fn settle(&mut self) {
        let mut got: BTreeMap<&'static str, Vec<Owed>> = BTreeMap::new();
        let links: Vec<_> = self
            .sessions
            .iter()
            .filter_map(|(name, session)| Some((*name, session.link?)))
            .collect();
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            for (name, link) in &links {
                for packet in self.world.take(*link) {
                    is_busy = true;
                    got.entry(name)
                        .or_default()
                        .extend(self.answer(*link, packet));
                }
            }
        }
        for (name, due) in std::mem::take(&mut self.due) {
            let seen = got.entry(name).or_default();
            for owed in due {
                let position = seen.iter().position(|seen| is_same(seen, &owed));
                let position =
                    position.unwrap_or_else(|| panic!("{name} did not get {owed:?}: {seen:?}"));
                seen.remove(position);
            }
        }
        let groups = std::mem::take(&mut self.groups);
        let rest = assigned(&groups, got.clone(), &self.floating);
        let rest = rest.unwrap_or_else(|| panic!("{groups:?} do not explain {got:?}"));
        for owed in rest.into_values().flatten() {
            let position = position_of(&self.floating, &owed);
            self.floating.remove(position.expect("assigned says so"));
        }
        self.compare_sessions();
    }

    fn answer(&mut self, link: ConnectionId, packet: Packet) -> Option<Owed> {
        let seen = match packet {
            Packet::Publish(seen) => seen,
            Packet::PubRel(id, _) => {
                self.world.send(link, ClientPacket::PubComp(ack(id)));
                return None;
            }
            other => panic!("nobody asked for {other:?}"),
        };
        assert!(!seen.duplicate, "everything is acknowledged: {seen:?}");
        match seen.qos {
            0 => {}
            1 => self.world.puback(link, seen.id),
            _ => self.world.pubrec(link, seen.id),
        }
        let mut ids = seen.subscription_ids;
        ids.sort_unstable();
        Some(Owed {
            topic: TOPICS.into_iter().find(|topic| *topic == seen.topic)?,
            number: seen.payload.parse().unwrap_or(0),
            qos: Qos::from_bits(seen.qos).expect("a QoS"),
            retain: seen.retain,
            ids,
            expires_at: None,
            since: 0,
        })
    }

    /// The sessions that outlive their connections, with their subscriptions.
    fn compare_sessions(&self) {
        let stored = self.world.effects.store.sessions.values();
        let stored: BTreeMap<&str, Vec<&str>> = stored
            .map(|session| {
                let filters = session.subscriptions.keys().map(String::as_str).collect();
                (&*session.client_id, filters)
            })
            .collect();
        let durable = self.sessions.iter().filter(|(_, it)| it.expiry_s > 0);
        let expected: BTreeMap<&str, Vec<&str>> = durable
            .map(|(name, session)| (*name, session.subscriptions.keys().copied().collect()))
            .collect();
        assert_eq!(stored, expected);
    }
}

fn may_read(name: &str, topic: &str) -> bool {
    name != GUEST || !topic.starts_with("secret/")
}

fn sent(will: Last) -> Sent {
    Sent {
        topic: will.topic,
        number: will.number,
        qos: will.qos,
        retain: false,
        expires_at: None,
    }
}

/// What subscriptions of one session say together of a message (3.3.4).
fn owed(
    sent: &Sent,
    subscriptions: &[(SubscriptionOptions, Option<u32>)],
    at: u64,
    is_retained: bool,
) -> Owed {
    let options = || subscriptions.iter().map(|(options, _)| options);
    let mut ids: Vec<u32> = subscriptions.iter().filter_map(|(_, id)| *id).collect();
    ids.sort_unstable();
    let granted = options().map(|options| options.qos).max();
    Owed {
        topic: sent.topic,
        number: sent.number,
        qos: granted.map_or(sent.qos, |granted| granted.min(sent.qos)),
        retain: is_retained || (sent.retain && options().any(|it| it.retain_as_published)),
        ids,
        expires_at: sent.expires_at,
        since: at,
    }
}

fn is_same(seen: &Owed, owed: &Owed) -> bool {
    (seen.topic, seen.number, seen.qos, seen.retain, &seen.ids)
        == (owed.topic, owed.number, owed.qos, owed.retain, &owed.ids)
}

fn position_of(floating: &[(&str, u64)], owed: &Owed) -> Option<usize> {
    let is_it = |it: &(&str, u64)| *it == (owed.topic, owed.number);
    floating.iter().position(is_it)
}

/// What is left of what clients got when one member of each group has taken its message, if everything left is floating.
fn assigned(
    groups: &[Vec<(&'static str, Owed)>],
    got: BTreeMap<&'static str, Vec<Owed>>,
    floating: &[(&str, u64)],
) -> Option<BTreeMap<&'static str, Vec<Owed>>> {
    let Some((group, groups)) = groups.split_first() else {
        let mut floating = floating.to_vec();
        let is_explained = got.values().flatten().all(|owed| {
            position_of(&floating, owed)
                .map(|position| floating.remove(position))
                .is_some()
        });
        return is_explained.then_some(got);
    };
    group.iter().find_map(|(name, owed)| {
        let mut got = got.clone();
        let seen = got.get_mut(name)?;
        let position = seen.iter().position(|seen| is_same(seen, owed))?;
        seen.remove(position);
        assigned(groups, got, floating)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, Hasher, RandomState};

    #[test]
    fn every_client_gets_what_a_simple_model_says_and_nothing_else() {
        let seed = RandomState::new().build_hasher().finish();
        println!("seed {seed}");
        let mut state = seed;
        for _ in 0..300 {
            let bytes: Vec<u8> = (0..600)
                .map(|_| {
                    state = state
                        .wrapping_mul(0x5851_F42D_4C95_7F2D)
                        .wrapping_add(0x1405_7B7E_F767_814F);
                    (state >> 56) as u8
                })
                .collect();
            model(&bytes);
        }
    }
}
