//! All connections of the event loop, and what the broker's effects do to them.
//!
//! The table is the broker's [`Effects`]: a PUBLISH is encoded straight into its receiver's [`Output`], and for the next
//! receivers of the same packet those bytes are copied. At the end of the loop's turn [`Table::flush`] gives each output to its
//! socket, once. The table closes sockets and says why in the log; it reads nothing from them.

mod backlog;
mod denials;
mod hold;
mod live;
mod memory;
mod trace;
mod wait;

use std::collections::BTreeSet;
use std::rc::Rc;

use ntex::io::IoRef;

use backlog::Backlog;
pub use denials::{Denials, Denied};
use live::Through;
pub use live::{Address, Client, Live};
pub use trace::{EVENTS_MAX, Event, Trace, WATCHES_MAX, Watched, Way};

use super::alias::Aliases;
use super::codec::{self, AckKind, Peer};
use super::door::Door;
use super::outlet::Outlet;
use super::output::{Output, Pool};
use super::round::Rounds;
use super::trail::Trail;
use super::write;
use crate::auth::{LeftOut, Throttle, Verdict};
use crate::broker::effect::{Denial, StoreOp};
use crate::broker::{Close, ConnectionId, Delivery, Effects, Sent, Time, limits};
use crate::log::Escaped;
use crate::mqtt::packet::{Ack, Connect, ServerPacket};
use crate::mqtt::{Qos, ReasonCode, Version};

/// An output of this many bytes is full. It holds several turns of a busy subscriber, so that one that keeps up is never taken
/// for one that does not read; what a slow one costs is this much.
pub const CONGESTED_BYTES: usize = 512 * 1024;

/// Where a listener has as many connections before CONNECT as it may, the oldest of them keeps its place for so long, in
/// milliseconds: enough for a client on a slow line with TLS, and little enough that many that say nothing keep nobody out.
const CROWDED_MS: u64 = 1000;

/// The connections.
#[derive(Default)]
pub struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Those that have something to flush or to close.
    dirty: Vec<u32>,
    /// Those that have something to hold.
    held: Vec<u32>,
    /// Whether what is sent now waits for what the store was told.
    is_holding: bool,
    pool: Pool,
    /// The rounds of the loop; set by the server.
    rounds: Option<Rounds>,
    /// Where the last QoS 0 packet was encoded, for its next receivers.
    encoded: Option<Encoded>,
    /// When those that are not past CONNECT must be.
    deadlines: BTreeSet<(Time, ConnectionId)>,
    /// When those that wait for a time are to be woken up.
    waits: BTreeSet<(Time, ConnectionId)>,
    /// What clients were denied.
    denials: Denials,
    /// What happened.
    trace: Trace,
    /// How often it is said that a client was disconnected.
    closes: Throttle,
    /// The beginning of the turn.
    now: Time,
    count: usize,
    /// What all connections take, without what they send and get.
    fixed: usize,
    /// What their sockets have not taken, in bytes: as of the last flush of each, so rather too much.
    unsent: usize,
    /// Packets that have arrived in part, in bytes.
    gathered: usize,
    /// How much more may be gathered, in bytes; `None` before the first turn.
    room: Option<usize>,
    /// Whether memory is short.
    is_thrifty: bool,
    /// Bytes of payloads that were copied into outputs in this turn, and how many of them it may take.
    copied: usize,
    copied_max: Option<usize>,
    bytes_received: u64,
    bytes_sent: u64,
    /// Connections that there were.
    accepted: u64,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    live: Option<Box<Live>>,
}

/// A packet in an output of this turn.
struct Encoded {
    serial: u64,
    is_v5: bool,
    retain: bool,
    slot: usize,
    from: usize,
    to: usize,
}

impl Table {
    /// Adds a connection that must be past CONNECT by `deadline`.
    pub fn add(
        &mut self,
        io: IoRef,
        door: Rc<Door>,
        address: Address,
        now: Time,
        deadline: Time,
    ) -> ConnectionId {
        let id = self.insert(io, Through::Door(door), address, now, Some(deadline));
        self.deadlines.insert((deadline, id));
        id
    }

    /// Adds a connection that this side has made.
    pub fn add_outlet(
        &mut self,
        io: IoRef,
        outlet: Rc<dyn Outlet>,
        address: Address,
        now: Time,
    ) -> ConnectionId {
        self.insert(io, Through::Outlet(outlet), address, now, None)
    }

    fn insert(
        &mut self,
        io: IoRef,
        way: Through,
        address: Address,
        now: Time,
        deadline: Option<Time>,
    ) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.fixed += Table::cost_of(&way);
        slot.live = Some(Box::new(Live {
            io,
            output: Output::default(),
            held: None,
            unsent: 0,
            counted: 0,
            answers: 0,
            received: 0,
            backlog: Backlog::default(),
            gathered: 0,
            kept: 0,
            named: 0,
            is_dirty: false,
            is_congested: false,
            closing: None,
            peer: Peer {
                version: Version::V3_1_1,
                maximum_packet_size: None,
                problem_information: true,
            },
            aliases: None,
            since: now,
            deadline,
            wait: None,
            way,
            trail: None,
            address,
            client: None,
            verdict: None,
            exchange_end: None,
            is_admitted: false,
            denials: 0,
        }));
        let id = ConnectionId {
            index,
            generation: slot.generation,
        };
        self.count += 1;
        self.accepted += 1;
        id
    }

    /// Removes a connection whose socket is closed.
    pub fn remove(&mut self, id: ConnectionId) {
        self.sweep();
        self.forget_wait(id);
        if self.live(id).is_some_and(|live| live.closing.is_none()) {
            self.trace_end(id, None);
        }
        if let Some(live) = self.live(id) {
            if live.closing.is_none() {
                log::debug!("{}: connection closed by the client", live.name());
            }
            let deadline = live.deadline.take();
            let (counted, gathered) = (live.counted, live.gathered);
            let cost = Table::cost_of(&live.way) + live.aside() + live.named;
            let mut output = std::mem::take(&mut live.output);
            output.clear(&mut self.pool);
            if let Some(deadline) = deadline {
                self.deadlines.remove(&(deadline, id));
            }
            self.slots[id.index as usize].live = None;
            self.fixed -= cost;
            self.unsent -= counted;
            self.gathered -= gathered;
            self.free.push(id.index);
            self.count -= 1;
            // A table that was large gives its memory back when it is empty.
            if self.count == 0 {
                self.encoded = None;
            }
        }
    }

    /// The connection of an identifier, unless it is gone.
    #[inline]
    pub fn live(&mut self, id: ConnectionId) -> Option<&mut Live> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation {
            slot.live.as_deref_mut()
        } else {
            None
        }
    }

    /// All connections.
    pub fn all(&self) -> impl Iterator<Item = (ConnectionId, &Live)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| {
            Some((
                ConnectionId {
                    index,
                    generation: slot.generation,
                },
                slot.live.as_deref()?,
            ))
        })
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes read from and written to clients.
    pub fn traffic(&self) -> crate::broker::Traffic<'static> {
        crate::broker::Traffic {
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            sockets: self.accepted,
            ..Default::default()
        }
    }

    /// Counts bytes that a client sent.
    pub fn count_received(&mut self, id: ConnectionId, bytes: usize) {
        self.bytes_received += bytes as u64;
        if let Some(live) = self.live(id) {
            live.received = live.received.wrapping_add(bytes);
        }
    }

    /// A CONNECT was read: how to encode for its sender, and who it is.
    pub fn introduce(&mut self, id: ConnectionId, peer: Peer, aliases_max: u16, client: Client) {
        if let Some(live) = self.live(id) {
            let before = live.aside() + live.named;
            live.peer = peer;
            live.aliases = Aliases::new(aliases_max);
            live.named = client.client_id.len();
            live.client = Some(client);
            let after = live.aside() + live.named;
            self.fixed = self.fixed - before + after;
        }
    }

    /// Its sender is another broker's bridge: its messages carry the trail of their ways.
    pub fn set_trail(&mut self, id: ConnectionId, trail: Rc<Trail>) {
        if let Some(live) = self.live(id) {
            live.trail = Some(trail);
        }
    }

    /// A remote broker has let this side in. It gets no aliases: one that follows trails must see the topic of each message.
    pub fn admit_outlet(&mut self, id: ConnectionId, peer: Peer) {
        if let Some(live) = self.live(id) {
            live.peer = peer;
            live.is_admitted = true;
        }
    }

    /// Appends a packet that is not the broker's.
    pub fn write(&mut self, id: ConnectionId, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(live) = self.output(id) {
            write(live.output.bytes());
        }
    }

    /// A CONNECT was read whose sender is not known yet: how to encode for it.
    pub fn set_peer(&mut self, id: ConnectionId, peer: Peer) {
        if let Some(live) = self.live(id) {
            live.peer = peer;
        }
    }

    /// Enhanced authentication has succeeded: the server's last data, which goes out with the CONNACK if the broker accepts.
    pub fn set_exchange_end(&mut self, id: ConnectionId, data: Box<str>) {
        if let Some(live) = self.live(id) {
            live.exchange_end = Some(Box::new(data));
        }
    }

    /// A connection is past CONNECT: its deadline is void.
    pub fn admit(&mut self, id: ConnectionId, connect: &Connect<'_>) {
        self.clear_deadline(id);
        let Some(live) = self.live(id) else {
            return;
        };
        live.is_admitted = true;
        let client = live.client.as_ref();
        let user = client.and_then(|client| client.identity.user());
        let words = format!(
            "user '{}', MQTT {}, keep alive {} s, listener '{}'",
            Escaped(user.unwrap_or_default()),
            connect.version.name(),
            connect.keep_alive_s,
            live.door().map_or("", |door| &door.listener.name),
        );
        log::debug!("{}: connected: {words}", live.name());
        let words = format!("from {}, {words}", live.address);
        self.trace_admission(id, words);
    }

    /// The connection's CONNECT is there, or will never be: its deadline is void.
    pub fn clear_deadline(&mut self, id: ConnectionId) {
        if let Some(deadline) = self.live(id).and_then(|live| live.deadline.take()) {
            self.deadlines.remove(&(deadline, id));
        }
    }

    /// When the next connection must be past CONNECT: earlier where others wait for its place.
    pub fn next_deadline(&self) -> Option<Time> {
        self.next_to_expire().map(|(at, ..)| at)
    }

    /// Whose time before CONNECT is over first, when, and when it would be if nobody waited for its place.
    fn next_to_expire(&self) -> Option<(Time, Time, ConnectionId)> {
        let (at, id) = *self.deadlines.first()?;
        // There are as many as the listeners let in before CONNECT, and mostly none.
        let crowded = self.deadlines.iter().find_map(|&(at, id)| {
            let live = self.slots[id.index as usize].live.as_deref()?;
            let place_until = live.since.after_ms(CROWDED_MS).min(at);
            live.is_in_the_way().then_some((place_until, at, id))
        });
        crowded
            .filter(|(place_until, ..)| *place_until <= at)
            .or(Some((at, at, id)))
    }

    /// Ends the connections whose time before CONNECT is over.
    pub fn expire(&mut self, now: Time) {
        while let Some((_, at, id)) = self.next_to_expire().filter(|(due, ..)| *due <= now) {
            self.deadlines.remove(&(at, id));
            if let Some(live) = self.live(id) {
                live.deadline = None;
                live.closing = Some(Close {
                    reason: ReasonCode::MAXIMUM_CONNECT_TIME,
                    what: "no CONNECT in time",
                });
                log::debug!("{}: closed: no CONNECT in time", live.name());
                live.io.terminate();
            }
        }
    }

    /// The verdict about a connection's password has come.
    pub fn set_verdict(&mut self, id: ConnectionId, verdict: Verdict) {
        if let Some(live) = self.live(id) {
            live.verdict = Some(Box::new(verdict));
            live.io.notify_dispatcher();
        }
    }

    /// Takes the verdict about a connection's password.
    pub fn take_verdict(&mut self, id: ConnectionId) -> Option<Verdict> {
        self.live(id)?.verdict.take().map(|verdict| *verdict)
    }

    /// Whether the broker was told that a connection's output is full.
    pub fn is_congested(&mut self, id: ConnectionId) -> bool {
        self.live(id).is_some_and(|live| live.is_congested)
    }

    /// A full output has drained.
    pub fn set_drained(&mut self, id: ConnectionId) {
        if let Some(live) = self.live(id) {
            live.is_congested = false;
            live.unsent = 0;
        }
    }

    /// Whether a connection has output that is for the end of the turn.
    pub fn has_output(&mut self, id: ConnectionId) -> bool {
        self.live(id).is_some_and(|live| !live.output.is_empty())
    }

    /// Ends the connections that are not past CONNECT: nobody has to be told.
    pub fn end_before_connect(&mut self) {
        let lives = self.slots.iter_mut().filter_map(|slot| slot.live.as_mut());
        for live in lives.filter(|live| !live.is_admitted && live.closing.is_none()) {
            live.closing = Some(Close {
                reason: ReasonCode::SERVER_SHUTTING_DOWN,
                what: "the bus stops",
            });
            live.io.terminate();
        }
    }

    /// Closes a connection of which the log has been told already.
    pub fn close_silently(&mut self, id: ConnectionId, close: Close) {
        if let Some(live) = self.output(id) {
            live.closing = Some(close);
        }
    }

    /// Whether a connection is being closed.
    pub fn is_closing(&mut self, id: ConnectionId) -> bool {
        self.live(id).is_none_or(|live| live.closing.is_some())
    }

    /// Why this side closes a connection, once it does.
    pub fn closing(&mut self, id: ConnectionId) -> Option<Close> {
        self.live(id)?.closing
    }

    /// Says why a connection was closed, unless that is said too often.
    pub fn say(&mut self, line: String) {
        if let Some(left_out) = self.closes.say(self.now.0).map(LeftOut) {
            log::info!("{line}{left_out}");
        }
    }

    /// Whether a flush has something to do.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Gives every output of this turn to its socket, but what is held, and closes what is to be closed. `number` is that of the
    /// turn's last change.
    pub fn flush(&mut self, number: u64) {
        self.encoded = None;
        self.copied = 0;
        for index in std::mem::take(&mut self.dirty) {
            let Some(live) = self.slots[index as usize].live.as_deref_mut() else {
                continue;
            };
            live.is_dirty = false;
            let free = live.free_bytes(number);
            if free > 0 {
                let (output, pool) = (&mut live.output, &mut self.pool);
                self.bytes_sent += free as u64;
                // An error means that the connection is going already: its future sees that.
                let has_layers = live.way.has_layers();
                let is_drained = !has_layers || write::encrypted(&live.io) == 0;
                let backlog = &mut live.backlog;
                let pending = live.io.with_write_buf(|pages| {
                    backlog.flush(free, is_drained && pages.is_empty());
                    output.drain_to(pages, free, pool);
                    pages.len()
                });
                write::by_task(&live.io);
                if pending.is_err() {
                    live.output.clear(&mut self.pool);
                    live.held = None;
                }
                live.unsent = pending.unwrap_or(0);
                self.unsent = self.unsent - live.counted + live.unsent;
                live.counted = live.unsent;
            }
            if live.closing.is_some() && live.output.is_empty() {
                live.io.close();
            }
        }
    }

    /// A connection's output, noted for the next flush.
    #[inline]
    fn output(&mut self, id: ConnectionId) -> Option<&mut Live> {
        let slot = self.slots.get_mut(id.index as usize)?;
        let live = slot
            .live
            .as_deref_mut()
            .filter(|_| slot.generation == id.generation)?;
        if live.closing.is_some() {
            return None;
        }
        if !live.is_dirty {
            live.is_dirty = true;
            live.output.borrow(&mut self.pool);
            self.dirty.push(id.index);
        }
        Some(live)
    }

    /// Copies the packet that was encoded for an earlier receiver, if it is the same for this one.
    #[inline]
    fn copy_encoded(&mut self, to: ConnectionId, delivery: &Delivery<'_>) -> Option<Sent> {
        let encoded = self
            .encoded
            .as_ref()
            .filter(|encoded| encoded.serial == delivery.serial)?;
        let Encoded {
            is_v5,
            retain,
            slot,
            from,
            to: end,
            ..
        } = *encoded;
        let full = self.full();
        let live = self.output(to)?;
        let fits = live.peer.version.is_v5() == is_v5
            && delivery.retain == retain
            && live.peer.maximum_packet_size.is_none()
            && live.has_plain_topics()
            && is_common(delivery);
        if !fits || slot == to.index as usize {
            return None;
        }
        let [source, target] = self
            .slots
            .get_disjoint_mut([slot, to.index as usize])
            .ok()?;
        let (source, target) = (source.live.as_deref_mut()?, target.live.as_deref_mut()?);
        let bytes = source.output.bytes().get(from..end)?;
        target.output.bytes().extend_from_slice(bytes);
        target.backlog.add();
        Some(target.congestion(full))
    }
}

/// Whether a delivery's packet is the same for all receivers that speak the same version.
#[inline]
fn is_common(delivery: &Delivery<'_>) -> bool {
    delivery.qos == Qos::AtMostOnce
        && delivery.expiry_s.is_none()
        && delivery.subscription_ids.is_empty()
        && delivery.payload.bytes().len() <= limits::COPY_PAYLOAD_MAX
}

impl Effects for Table {
    #[inline]
    fn deliver(&mut self, to: ConnectionId, delivery: &Delivery<'_>) -> Sent {
        if self.is_tracing() {
            self.trace_delivery(to, delivery);
        }
        self.copied += delivery.payload.bytes().len().min(limits::COPY_PAYLOAD_MAX);
        if let Some(sent) = self.copy_encoded(to, delivery) {
            return sent;
        }
        let full = self.full();
        let is_promise = self.is_holding && delivery.qos != Qos::AtMostOnce;
        let Some(live) = self.output(to) else {
            return Sent::Sent;
        };
        let is_newly_held = is_promise && live.hold();
        let (from, aside) = (live.output.bytes().len(), live.aside());
        let sent = live.publish(delivery, full);
        let aside_now = live.aside();
        let (is_v5, end) = (live.peer.version.is_v5(), live.output.bytes().len());
        if sent != Sent::TooLarge && live.has_plain_topics() && is_common(delivery) {
            self.encoded = Some(Encoded {
                serial: delivery.serial,
                is_v5,
                retain: delivery.retain,
                slot: to.index as usize,
                from,
                to: end,
            });
        }
        if is_newly_held {
            self.held.push(to.index);
        }
        self.fixed = self.fixed + aside_now - aside;
        sent
    }

    #[inline]
    fn send(&mut self, to: ConnectionId, packet: &ServerPacket<'_>) {
        if self.is_tracing() {
            self.trace_output(to, packet);
        }
        let is_holding = self.is_holding;
        let Some(live) = self.output(to) else {
            return;
        };
        let is_newly_held = is_holding && live.hold();
        let (version, before) = (live.peer.version, live.output.len());
        let mut answer = |kind, ack: &Ack| {
            codec::acks(
                kind,
                ack.packet_id,
                ack.reason,
                version,
                live.output.bytes(),
            )
        };
        match packet {
            ServerPacket::PubAck(ack) => answer(AckKind::PubAck, ack),
            ServerPacket::PubRec(ack) => answer(AckKind::PubRec, ack),
            ServerPacket::PubRel(ack) => answer(AckKind::PubRel, ack),
            ServerPacket::PubComp(ack) => answer(AckKind::PubComp, ack),
            ServerPacket::Refusal {
                ack,
                qos,
                reason_string,
            } => {
                codec::refusal(*ack, *qos, reason_string, &live.peer, live.output.bytes());
            }
            ServerPacket::PingResp => live.output.bytes().extend_from_slice(&[0xD0, 0]),
            _ => live.send_rare(packet),
        }
        live.answers += live.output.len() - before;
        live.backlog.add();
        if is_newly_held {
            self.held.push(to.index);
        }
    }

    fn close(&mut self, connection: ConnectionId, close: Close) {
        let Some(live) = self.output(connection) else {
            return;
        };
        live.closing = Some(close);
        let name = live.name();
        self.trace_end(connection, Some(close));
        match close.reason {
            ReasonCode::SUCCESS => log::debug!("{name}: disconnected"),
            ReasonCode::DISCONNECT_WITH_WILL
            | ReasonCode::SERVER_SHUTTING_DOWN
            | ReasonCode::USE_ANOTHER_SERVER => {
                log::debug!("{name}: closed: {}", close.what);
            }
            _ => self.say(format!(
                "{name}: closed: {} (0x{:02X})",
                close.what, close.reason.0
            )),
        }
    }

    fn denied(&mut self, connection: ConnectionId, denial: &Denial<'_>) {
        self.note_denial(connection, denial);
    }

    fn store(&mut self, _operation: &StoreOp<'_>) {
        // The server tells the store itself: it knows which packets are to be held for it.
    }
}
