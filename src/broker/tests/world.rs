//! The stage of the broker's tests: a broker, its clients' ends and a store, in virtual time.
//!
//! After every input it holds the broker to what always holds: nothing is sent to a connection that is closed or full,
//! no packet identifier is given twice at a time, and the store operations add up to the state that the broker holds.

use std::collections::{BTreeMap, BTreeSet};

use super::restart::restore;
use super::store::Store;
use crate::acl::{Access, Action, Pattern, Permissions, Rule, Rules, Subject};
use crate::broker::effect::Denial;
use crate::broker::{
    Broker, Close, ConnectionId, Delivery, Effects, Input, Owner, Restored, Sent, Settings,
    StoreOp, Time, Traffic,
};
use crate::mqtt::packet::{
    Ack, ClientPacket, ConnAck, Connect, ConnectProperties, Disconnect, Publish, ServerPacket,
    Subscribe, SubscribeFilter, SubscriptionOptions, Unsubscribe, Will,
};
use crate::mqtt::{Capabilities, PacketId, Qos, ReasonCode, Version};

/// A packet as a client got it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Packet {
    ConnAck {
        session_present: bool,
        reason: ReasonCode,
        expiry_s: Option<u32>,
        assigned: Option<String>,
    },
    Publish(Seen),
    PubAck(u16, ReasonCode),
    PubRec(u16, ReasonCode),
    PubRel(u16, ReasonCode),
    PubComp(u16, ReasonCode),
    SubAck(u16, Vec<ReasonCode>),
    UnsubAck(u16, Vec<ReasonCode>),
    PingResp,
    Disconnect(ReasonCode),
}

/// A PUBLISH as a client got it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Seen {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    /// 0 for none.
    pub id: u16,
    pub duplicate: bool,
    pub retain: bool,
    pub expiry_s: Option<u32>,
    pub subscription_ids: Vec<u32>,
    pub properties: Vec<u8>,
}

/// A client's end of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub packets: Vec<Packet>,
    pub closed: Option<Close>,
    /// How many more deliveries its output takes.
    pub room: usize,
    pub congested: bool,
    /// Larger payloads are larger than its Maximum Packet Size.
    pub payload_max: usize,
    /// The identifiers of what was delivered and not completed.
    open: BTreeSet<u16>,
}

/// Records effects.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    pub links: BTreeMap<ConnectionId, Link>,
    pub denied: Vec<(Action, String)>,
    pub store: Store,
    pub operations: usize,
    /// The moment of the input at hand.
    now: Time,
    /// The highest numbers of messages and sessions that operations have named.
    pub numbers: (u64, u64),
}

impl Recorder {
    fn open_link(&mut self, id: ConnectionId) -> &mut Link {
        let link = self.links.get_mut(&id).expect("a connection of the world");
        assert_eq!(link.closed, None, "{id:?} is closed");
        link
    }
}

impl Effects for Recorder {
    fn deliver(&mut self, to: ConnectionId, delivery: &Delivery<'_>) -> Sent {
        let link = self.open_link(to);
        assert!(!link.congested, "nothing more before Drained");
        let payload = delivery.payload.bytes();
        if payload.len() > link.payload_max {
            return Sent::TooLarge;
        }
        let id = delivery.packet_id.map_or(0, PacketId::value);
        assert_eq!(id != 0, delivery.qos > Qos::AtMostOnce);
        assert!(id == 0 || link.open.insert(id), "{id} is given twice");
        link.packets.push(Packet::Publish(Seen {
            topic: delivery.topic.to_owned(),
            payload: String::from_utf8_lossy(payload).into_owned(),
            qos: delivery.qos as u8,
            id,
            duplicate: delivery.duplicate,
            retain: delivery.retain,
            expiry_s: delivery.expiry_s,
            subscription_ids: delivery.subscription_ids.to_vec(),
            properties: delivery.properties.to_vec(),
        }));
        link.room -= 1;
        link.congested = link.room == 0;
        if link.congested {
            Sent::Congested
        } else {
            Sent::Sent
        }
    }

    fn send(&mut self, to: ConnectionId, packet: &ServerPacket<'_>) {
        let id = |ack: &Ack| ack.packet_id.value();
        let seen = match packet {
            ServerPacket::ConnAck(connack) => seen_connack(connack),
            ServerPacket::PubAck(ack) => Packet::PubAck(id(ack), ack.reason),
            ServerPacket::PubRec(ack) => Packet::PubRec(id(ack), ack.reason),
            ServerPacket::Refusal {
                ack,
                qos: Qos::ExactlyOnce,
                ..
            } => Packet::PubRec(id(ack), ack.reason),
            ServerPacket::Refusal { ack, .. } => Packet::PubAck(id(ack), ack.reason),
            ServerPacket::PubRel(ack) => Packet::PubRel(id(ack), ack.reason),
            ServerPacket::PubComp(ack) => Packet::PubComp(id(ack), ack.reason),
            ServerPacket::SubAck {
                packet_id, reasons, ..
            } => Packet::SubAck(packet_id.value(), reasons.to_vec()),
            ServerPacket::UnsubAck { packet_id, reasons } => {
                Packet::UnsubAck(packet_id.value(), reasons.to_vec())
            }
            ServerPacket::PingResp => Packet::PingResp,
            ServerPacket::Disconnect { reason, .. } => Packet::Disconnect(*reason),
            ServerPacket::Auth(_) => panic!("the broker knows nothing of enhanced authentication"),
        };
        self.open_link(to).packets.push(seen);
    }

    fn close(&mut self, connection: ConnectionId, close: Close) {
        self.open_link(connection).closed = Some(close);
    }

    fn denied(&mut self, _connection: ConnectionId, denial: &Denial<'_>) {
        assert!(!denial.decision.allowed);
        self.denied.push((denial.action, denial.topic.to_owned()));
    }

    fn store(&mut self, operation: &StoreOp<'_>) {
        self.operations += 1;
        match operation {
            StoreOp::SessionMade { session, .. } => {
                assert!(session.0 > self.numbers.1, "{session:?} is new");
                self.numbers.1 = session.0;
            }
            StoreOp::Queued { message, .. }
            | StoreOp::Retained { message }
            | StoreOp::WillSet { message, .. }
            | StoreOp::Kept { message, .. } => {
                self.numbers.0 = self.numbers.0.max(message.id());
            }
            _ => {}
        }
        self.store.apply(self.now, operation);
    }
}

fn seen_connack(connack: &ConnAck<'_>) -> Packet {
    Packet::ConnAck {
        session_present: connack.session_present,
        reason: connack.reason,
        expiry_s: connack.properties.session_expiry_s,
        assigned: connack.properties.assigned_client_id.map(str::to_owned),
    }
}

/// The whole stage.
pub(super) struct World {
    pub broker: Broker,
    pub now: Time,
    pub effects: Recorder,
    next_index: u32,
    payload_max: usize,
    /// How many deliveries the outputs of connections to come take.
    pub room: usize,
    /// Every how many inputs the store is compared with the broker: it costs as much as both hold.
    pub compare_every: u32,
    inputs: u32,
    /// Whether connections to come are of the router itself.
    pub reserve: bool,
}

impl World {
    /// A world whose broker publishes no `$SYS`, so that only what a test does is seen.
    pub fn new() -> World {
        World::with(Settings {
            sys_interval_ms: 0,
            ..Settings::default()
        })
    }

    pub fn with(settings: Settings) -> World {
        World::made(settings, 1)
    }

    /// The same as `new`, with other chances.
    pub fn seeded(seed: u64) -> World {
        let quiet = Settings {
            sys_interval_ms: 0,
            ..Settings::default()
        };
        World::made(quiet, seed)
    }

    fn made(settings: Settings, seed: u64) -> World {
        World {
            broker: Broker::new(settings, seed, Time(0)),
            now: Time(0),
            effects: Recorder::default(),
            next_index: 0,
            payload_max: usize::MAX,
            room: usize::MAX,
            compare_every: 1,
            inputs: 0,
            reserve: false,
        }
    }

    /// Hands an input to the broker and checks what always holds.
    pub fn handle(&mut self, input: Input<'_>) {
        self.effects.now = self.now;
        self.broker.handle(self.now, input, &mut self.effects);
        self.check();
    }

    fn check(&mut self) {
        self.inputs += 1;
        if self.inputs.is_multiple_of(self.compare_every) && !self.effects.store.without_sys {
            self.compare();
        }
    }

    /// Holds the store against the broker.
    pub fn compare(&mut self) {
        let held = Store::held_by(&self.broker);
        assert_eq!(self.effects.store, held, "the operations say the state");
        for (_, session) in &self.broker.sessions {
            let Some(id) = session.connection else {
                continue;
            };
            assert_eq!(self.effects.links[&id].closed, None, "closed, not detached");
        }
    }

    /// Lets time pass, with a tick whenever one is due.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now.after_ms(ms);
        while let Some(due) = self.broker.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Input::Tick(Traffic::default()));
        }
        self.now = end;
    }

    pub fn advance_s(&mut self, s: u64) {
        self.advance(s * 1000);
    }

    /// Connects an anonymous client that may do everything; what it got is to be taken.
    pub fn connect(&mut self, connect: &Connect<'_>) -> ConnectionId {
        self.connect_as(connect, None, Permissions::allow_all())
    }

    pub fn connect_as(
        &mut self,
        connect: &Connect<'_>,
        user: Option<&str>,
        permissions: Permissions,
    ) -> ConnectionId {
        let connection = self.open();
        self.handle(Input::Connect {
            connection,
            connect,
            owner: Owner::of(user),
            permissions,
            reserve: self.reserve,
            offer: Capabilities::default(),
            mount: "",
        });
        connection
    }

    /// A connection that the broker does not know yet.
    pub fn open(&mut self) -> ConnectionId {
        // Indices are used again, with a new generation, so that stale ones are met.
        let free = (0..self.next_index)
            .rev()
            .filter_map(|index| self.effects.links.keys().rfind(|id| id.index == index))
            .find(|id| self.effects.links[id].closed.is_some());
        let connection = match free {
            Some(id) => ConnectionId {
                index: id.index,
                generation: id.generation + 1,
            },
            None => {
                self.next_index += 1;
                ConnectionId {
                    index: self.next_index - 1,
                    generation: 0,
                }
            }
        };
        self.effects.links.insert(
            connection,
            Link {
                packets: Vec::new(),
                closed: None,
                room: self.room,
                congested: false,
                payload_max: self.payload_max,
                open: BTreeSet::new(),
            },
        );
        connection
    }

    /// Connects a client that takes no larger payloads than this.
    pub fn join_small(&mut self, connect: &Connect<'_>, payload_max: usize) -> ConnectionId {
        self.payload_max = payload_max;
        let (id, _) = self.join(connect);
        self.payload_max = usize::MAX;
        id
    }

    /// Connects a client that must be accepted, and takes its CONNACK; whether its session was present.
    pub fn join(&mut self, connect: &Connect<'_>) -> (ConnectionId, bool) {
        let id = self.connect(connect);
        let connack = self.link(id).packets.remove(0);
        let Packet::ConnAck {
            session_present,
            reason: ReasonCode::SUCCESS,
            ..
        } = connack
        else {
            panic!("accepted: {connack:?}");
        };
        (id, session_present)
    }

    pub fn link(&mut self, id: ConnectionId) -> &mut Link {
        self.effects.links.get_mut(&id).expect("of this world")
    }

    /// Everything that a client got since it was last asked.
    pub fn take(&mut self, id: ConnectionId) -> Vec<Packet> {
        std::mem::take(&mut self.link(id).packets)
    }

    /// The messages that a client got; it MUST have got nothing else.
    pub fn messages(&mut self, id: ConnectionId) -> Vec<Seen> {
        let message = |packet| match packet {
            Packet::Publish(seen) => seen,
            other => panic!("only messages: {other:?}"),
        };
        self.take(id).into_iter().map(message).collect()
    }

    /// The payloads of the messages that a client got; it MUST have got nothing else.
    pub fn payloads(&mut self, id: ConnectionId) -> Vec<String> {
        self.messages(id)
            .into_iter()
            .map(|seen| seen.payload)
            .collect()
    }

    /// Why a connection was closed.
    pub fn closed(&self, id: ConnectionId) -> Option<ReasonCode> {
        self.effects.links[&id].closed.map(|close| close.reason)
    }

    pub fn send(&mut self, connection: ConnectionId, packet: ClientPacket<'_>) {
        let link = self.link(connection);
        match &packet {
            ClientPacket::PubAck(ack) | ClientPacket::PubComp(ack) => {
                link.open.remove(&ack.packet_id.value());
            }
            ClientPacket::PubRec(ack) if ack.reason.is_error() => {
                link.open.remove(&ack.packet_id.value());
            }
            _ => {}
        }
        self.handle(Input::Packet { connection, packet });
    }

    /// As `send`, without the checks: their cost grows with what the broker holds.
    pub fn send_unchecked(&mut self, connection: ConnectionId, packet: ClientPacket<'_>) {
        if let ClientPacket::PubAck(ack) = &packet {
            self.link(connection).open.remove(&ack.packet_id.value());
        }
        let input = Input::Packet { connection, packet };
        self.effects.now = self.now;
        self.broker.handle(self.now, input, &mut self.effects);
    }

    pub fn publish(&mut self, from: ConnectionId, publish: Publish<'_>) {
        self.send(from, ClientPacket::Publish(publish));
    }

    /// Publishes at QoS 1 from a client that comes for it and goes.
    pub fn publish_passing(&mut self, topic: &str, payload: &str) {
        let (id, _) = self.join(&v3("a passing client"));
        self.publish(id, qos1(topic, payload, 1));
        self.disconnect(id, ReasonCode::SUCCESS, None);
    }

    pub fn puback(&mut self, from: ConnectionId, id: u16) {
        self.send(from, ClientPacket::PubAck(ack(id)));
    }

    pub fn pubrec(&mut self, from: ConnectionId, id: u16) {
        self.send(from, ClientPacket::PubRec(ack(id)));
    }

    pub fn pubrel(&mut self, from: ConnectionId, id: u16) {
        self.send(from, ClientPacket::PubRel(ack(id)));
    }

    pub fn pubcomp(&mut self, from: ConnectionId, id: u16) {
        self.send(from, ClientPacket::PubComp(ack(id)));
    }

    /// Subscribes to one filter, which MUST be granted; what follows the SUBACK is to be taken.
    pub fn subscribe(&mut self, from: ConnectionId, filter: &str, qos: Qos) {
        self.subscribe_with(from, filter, SubscriptionOptions::with_qos(qos), None);
    }

    pub fn subscribe_with(
        &mut self,
        from: ConnectionId,
        filter: &str,
        options: SubscriptionOptions,
        subscription_id: Option<u32>,
    ) {
        let before = self.link(from).packets.len();
        self.send(from, subscribe(filter, options, subscription_id));
        let suback = self.link(from).packets.remove(before);
        let granted = ReasonCode(options.qos as u8);
        assert_eq!(suback, Packet::SubAck(1, vec![granted]));
    }

    /// Unsubscribes from one filter; the code of the answer.
    pub fn unsubscribe(&mut self, from: ConnectionId, filter: &str) -> ReasonCode {
        let before = self.link(from).packets.len();
        let unsubscribe = Unsubscribe {
            packet_id: PacketId::FIRST,
            filters: vec![filter],
        };
        self.send(from, ClientPacket::Unsubscribe(unsubscribe));
        match self.link(from).packets.remove(before) {
            Packet::UnsubAck(1, reasons) => reasons[0],
            other => panic!("UNSUBACK: {other:?}"),
        }
    }

    /// The client says that it goes.
    pub fn disconnect(&mut self, from: ConnectionId, reason: ReasonCode, expiry_s: Option<u32>) {
        let disconnect = Disconnect {
            reason,
            session_expiry_s: expiry_s,
        };
        self.send(from, ClientPacket::Disconnect(disconnect));
    }

    /// The network connection breaks.
    pub fn cut(&mut self, connection: ConnectionId) {
        self.link(connection).closed = Some(Close {
            reason: ReasonCode::UNSPECIFIED_ERROR,
            what: "cut",
        });
        self.handle(Input::Closed { connection });
    }

    /// The broker is killed, with all connections. After `ms` another one has restored what the store has kept.
    pub fn crash(&mut self, ms: u64) {
        for link in self.effects.links.values_mut() {
            link.closed.get_or_insert(Close {
                reason: ReasonCode::UNSPECIFIED_ERROR,
                what: "the broker is gone",
            });
        }
        self.now = self.now.after_ms(ms);
        self.effects.now = self.now;
        let settings = self.broker.settings.clone();
        self.broker = Broker::new(settings, self.now.0, self.now);
        let (message, session) = self.effects.numbers;
        let numbers = Restored::Numbers { message, session };
        self.restore(numbers).expect("it gave them");
        restore(&self.effects.store, &mut self.broker, self.now);
        self.broker.restored(self.now, &mut self.effects);
        if !self.effects.store.without_sys {
            self.compare();
        }
    }

    /// Gives the broker one item of a store.
    pub fn restore(&mut self, item: Restored<'_>) -> Result<(), &'static str> {
        self.broker.restore(self.now, item)
    }

    /// Lets a client's output take this many deliveries more.
    pub fn drain(&mut self, connection: ConnectionId, room: usize) {
        let link = self.link(connection);
        (link.room, link.congested) = (room, false);
        self.handle(Input::Drained { connection });
    }

    /// When all sessions have ended, nothing of them is left.
    pub fn assert_nobody_left(&self) {
        let broker = &self.broker;
        assert!(broker.sessions.is_empty() && broker.by_client_id.is_empty());
        assert!(broker.connections.iter().all(Option::is_none));
        assert_eq!((broker.router.count(), broker.router.sizes()), (0, (0, 0)));
        assert_eq!(broker.shares.groups(), 0);
        assert_eq!(broker.timers.len(), 1, "only the sweep");
        assert!(self.effects.store.sessions.is_empty());
    }

    /// When nothing is retained either, not even by the server, no byte is counted any more.
    pub fn assert_nothing_is_counted(&self) {
        if self.broker.retained.len() == 0 {
            assert_eq!(self.broker.memory.tally.bytes(), 0);
        }
    }

    /// Answers a message as its QoS asks, to the end.
    pub fn complete(&mut self, from: ConnectionId, seen: &Seen) {
        match seen.qos {
            0 => {}
            1 => self.puback(from, seen.id),
            _ => {
                self.pubrec(from, seen.id);
                let released = Packet::PubRel(seen.id, ReasonCode::SUCCESS);
                let packets = &mut self.link(from).packets;
                let position = packets.iter().position(|packet| *packet == released);
                packets.remove(position.expect("PUBREC is answered"));
                self.pubcomp(from, seen.id);
            }
        }
    }
}

/// CONNECT of a 3.1.1 client with Clean Session 1.
pub(super) fn v3(client_id: &str) -> Connect<'_> {
    Connect {
        version: Version::V3_1_1,
        bridge: false,
        clean_start: true,
        keep_alive_s: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// CONNECT of a 3.1.1 client with Clean Session 0.
pub(super) fn v3_durable(client_id: &str) -> Connect<'_> {
    Connect {
        clean_start: false,
        ..v3(client_id)
    }
}

/// CONNECT of a 5.0 client with Clean Start 0 and a Session Expiry Interval.
pub(super) fn v5(client_id: &str, expiry_s: u32) -> Connect<'_> {
    Connect {
        version: Version::V5,
        clean_start: false,
        properties: ConnectProperties {
            session_expiry_s: Some(expiry_s),
            ..ConnectProperties::default()
        },
        ..v3(client_id)
    }
}

/// A Will at QoS 1 without a delay.
pub(super) fn will(topic: &'static str) -> Will<'static> {
    Will {
        topic,
        payload: b"will",
        qos: Qos::AtLeastOnce,
        retain: false,
        delay_s: 0,
        expiry_s: None,
        properties: &[],
    }
}

/// A PUBLISH at QoS 0.
pub(super) fn qos0<'a>(topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish {
        topic,
        packet_id: None,
        qos: Qos::AtMostOnce,
        duplicate: false,
        retain: false,
        topic_alias: None,
        expiry_s: None,
        properties: &[],
        payload: payload.as_bytes(),
    }
}

/// A PUBLISH at QoS 1.
pub(super) fn qos1<'a>(topic: &'a str, payload: &'a str, id: u16) -> Publish<'a> {
    Publish {
        packet_id: PacketId::new(id),
        qos: Qos::AtLeastOnce,
        ..qos0(topic, payload)
    }
}

/// A PUBLISH at QoS 2.
pub(super) fn qos2<'a>(topic: &'a str, payload: &'a str, id: u16) -> Publish<'a> {
    Publish {
        packet_id: PacketId::new(id),
        qos: Qos::ExactlyOnce,
        ..qos0(topic, payload)
    }
}

/// A PUBLISH that is to be retained.
pub(super) fn retained<'a>(topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish {
        retain: true,
        ..qos0(topic, payload)
    }
}

/// An acknowledgement that says success.
pub(super) fn ack(id: u16) -> Ack {
    ack_with(id, ReasonCode::SUCCESS)
}

pub(super) fn ack_with(id: u16, reason: ReasonCode) -> Ack {
    Ack {
        packet_id: PacketId::new(id).expect("tests count from 1"),
        reason,
    }
}

/// A SUBSCRIBE to one filter with the packet identifier 1.
pub(super) fn subscribe(
    filter: &str,
    options: SubscriptionOptions,
    subscription_id: Option<u32>,
) -> ClientPacket<'_> {
    ClientPacket::Subscribe(Subscribe {
        packet_id: PacketId::FIRST,
        subscription_id,
        filters: vec![SubscribeFilter { filter, options }],
    })
}

/// What a client may do that may not do this.
pub(super) fn without(access: Access, topic: &str) -> Permissions {
    let rule = Rule {
        place: Default::default(),
        users: vec![],
        groups: vec![],
        listeners: vec![],
        access,
        allow: false,
        topics: vec![Pattern::new(topic).expect("tests use patterns")],
    };
    Rules::new(true, vec![rule]).permissions(&Subject {
        user: None,
        groups: &[],
        listener: "lan",
        client_id: "any",
    })
}
