//! One connection to a remote broker, from CONNECT to its end: its packets and its timers.
//!
//! A [`Wire`] is a future like that of a client's connection: it handles a bounded number of packets a turn, parses them where they were read, and
//! gathers only what is larger than a read. What is sent lies in the [table](crate::net::table::Table) until the turn ends.
//!
//! After CONNACK the broker is told ([`Input::Link`]), and what was in flight and what waits goes out; meanwhile the filters of what is to come
//! are subscribed, a few at a time, since some brokers take no more. That is done at each connection, whether or not the remote broker
//! has a session: it may have lost it, or the filters may be others. A filter that is refused is said in the log and in the state.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use ntex::io::{IoBoxed, IoStatusUpdate};

use super::link::Form;
use super::outward::Outward;
use super::{Bridge, Phase, WillForm, foris};
use crate::broker::{Close, ConnectionId, Effects as _, Input, Link, Time, limits};
use crate::config;
use crate::config::bridge::RetainHandling as When;
use crate::log::Escaped;
use crate::mqtt::packet::{
    Ack, ClientPacket, Publish, RetainHandling, ServerPacket, SubscriptionOptions,
};
use crate::mqtt::{PacketId, Qos, ReasonCode, Version, topic};
use crate::net::codec::{self, Fault, Peer, RemoteConnAck, RemotePacket, outward};
use crate::net::dial;
use crate::net::frame::{self, Assembler, FrameFault, Scan};
use crate::net::hub::Hub;
use crate::net::table::Address;
use crate::net::trail;

/// Packets that are handled before others have their turn.
const PACKETS_PER_TURN: usize = 1024;

/// The largest CONNACK: it has some strings, which nobody here reads.
const CONNACK_BYTES_MAX: usize = 64 * 1024;

/// Filters in one SUBSCRIBE: what the strictest of the large brokers take.
const FILTERS_AT_ONCE: usize = 8;

/// After a PINGREQ the remote broker must be heard of within this time, in milliseconds, or within the keep alive if that is less.
pub(super) const PATIENCE_MS: u64 = 10_000;

/// So often in a row a message is kept for which the remote broker has no room (0x97), and sent again over the next connection.
const FULL_MAX: u32 = 10;

/// What a SUBACK or UNSUBACK is that nothing was asked for.
const ANSWER_TO_NOTHING: &str = "it breaks the protocol: an answer to nothing that was asked";

/// How a connection has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Why, in words for the log.
    pub why: String,
    /// Whether the remote broker has answered that it does not understand the CONNECT, or in words that are none of that version.
    pub is_misunderstood: bool,
    /// Whether it was closed before there was an answer: the other side may not have understood the CONNECT.
    pub is_closed_early: bool,
    /// For how long it was accepted, in milliseconds; 0: it was not.
    pub up_ms: u64,
}

impl Ended {
    /// One that was never accepted, for another reason than its form.
    pub fn before(why: String) -> Ended {
        Ended {
            why,
            is_misunderstood: false,
            is_closed_early: false,
            up_ms: 0,
        }
    }
}

/// What is still to be asked of the remote broker.
enum Ask {
    Subscribe(Vec<(String, SubscriptionOptions)>),
    Unsubscribe(Vec<String>),
}

/// One connection.
pub(super) struct Wire<H: Hub> {
    hub: Rc<H>,
    bridge: Rc<Bridge>,
    outward: Rc<Outward>,
    io: IoBoxed,
    id: ConnectionId,
    version: Version,
    /// Since when it is accepted.
    since: Option<Time>,
    /// When CONNACK or a sign of life must have come.
    deadline: Option<Time>,
    /// When the next PINGREQ is due.
    ping_at: Option<Time>,
    keep_alive_ms: u64,
    /// What the remote broker was told of the largest packet, in bytes.
    packet_max: usize,
    /// What waits for an answer, and what comes after it.
    asked: Vec<(String, SubscriptionOptions)>,
    withdrawn: Vec<String>,
    asks: VecDeque<Ask>,
    assembler: Option<Box<Assembler>>,
    /// Why it ends, once it does.
    why: Option<String>,
    is_misunderstood: bool,
}

/// Closes a connection in order: the broker forgets it, and the remote broker is told.
pub(super) fn close<H: Hub>(hub: &H, connection: ConnectionId) {
    let mut table = hub.table().borrow_mut();
    let close = Close {
        reason: ReasonCode::SUCCESS,
        what: "the bridge ends",
    };
    let goodbye = ServerPacket::Disconnect {
        reason: ReasonCode::SUCCESS,
        reason_string: None,
        server_reference: None,
    };
    table.send(connection, &goodbye);
    table.close_silently(connection, close);
    drop(table);
    hub.handle(Input::Closed { connection });
    hub.end_turn_soon();
}

/// A connection is gone.
pub(super) fn forget<H: Hub>(hub: &H, connection: ConnectionId) {
    hub.handle(Input::Closed { connection });
    hub.table().borrow_mut().remove(connection);
}

impl<H: Hub> Wire<H> {
    /// Sends CONNECT.
    ///
    /// # Errors
    /// The password cannot be read.
    pub fn open(
        hub: Rc<H>,
        bridge: Rc<Bridge>,
        outward: Rc<Outward>,
        form: Form,
        io: IoBoxed,
        address: Address,
    ) -> Result<Wire<H>, String> {
        let now = hub.time();
        let id = hub
            .table()
            .borrow_mut()
            .add_outlet(io.get_ref(), outward.clone(), address, now);
        bridge.connection.set(Some(id));
        let patience = u64::try_from(bridge.config.connect_timeout.as_millis());
        let mut wire = Wire {
            deadline: Some(now.after_ms(patience.unwrap_or(u64::MAX))),
            ping_at: None,
            since: None,
            keep_alive_ms: u64::from(bridge.config.keep_alive_s) * 1000,
            packet_max: hub.max_packet_size(),
            version: form.version,
            asked: Vec::new(),
            withdrawn: Vec::new(),
            asks: VecDeque::new(),
            assembler: None,
            why: None,
            is_misunderstood: false,
            hub,
            bridge,
            outward,
            io,
            id,
        };
        wire.connect(form)?;
        wire.wake();
        Ok(wire)
    }

    fn connect(&mut self, form: Form) -> Result<(), String> {
        let config = &self.bridge.config;
        let password = match &config.password_file {
            Some(path) => Some(dial::password(path)?),
            None => None,
        };
        let state_topic = self.bridge.remote_state_topic();
        let form_of_will = self.bridge.will.get();
        let will = state_topic.as_deref().map(|topic| outward::Will {
            topic,
            payload: b"0",
            is_full: form_of_will == WillForm::Full,
        });
        let expiry_s = u32::try_from(config.session_expiry.as_secs()).unwrap_or(u32::MAX);
        let opening = outward::Opening {
            version: form.version,
            bridge: form.is_private,
            // 3.1.1 would keep no session at all then.
            clean_start: config.clean_start
                || (form.version.is_v5() && self.bridge.begins_anew.get()),
            keep_alive_s: config.keep_alive_s,
            client_id: &self.bridge.client_id,
            will: will.filter(|_| form_of_will != WillForm::None),
            user_name: config.username.as_deref(),
            password: password.as_ref().map(|password| password.expose()),
            session_expiry_s: if config.clean_start { 0 } else { expiry_s },
            receive_maximum: limits::RECEIVE_MAXIMUM,
            maximum_packet_size: u32::try_from(self.packet_max).unwrap_or(u32::MAX),
            trail: self.hub.trail(),
        };
        self.write(|out| opening.encode(out));
        Ok(())
    }

    fn write(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.hub.table().borrow_mut().write(self.id, write);
        self.hub.end_turn_soon();
    }

    /// Has itself woken up at the next of its times.
    fn wake(&self) {
        if let Some(at) = self.deadline.into_iter().chain(self.ping_at).min() {
            self.hub.table().borrow_mut().wake_at(self.id, at);
            self.hub.end_turn_soon();
        }
    }

    /// Ends the connection for a reason of this side.
    fn end(&mut self, why: String) {
        if self.why.is_none() {
            self.why = Some(why);
            close(&*self.hub, self.id);
        }
    }

    fn is_ending(&self) -> bool {
        self.why.is_some() || self.hub.table().borrow_mut().is_closing(self.id)
    }

    /// What is due at this moment.
    fn look_at_clock(&mut self) {
        if self.deadline.is_none() && self.ping_at.is_none() {
            return;
        }
        let now = self.hub.time();
        if self.since.is_some() && self.bridge.is_doubted.take() {
            self.ping_at = Some(now);
        }
        if self.deadline.is_some_and(|at| at <= now) {
            let what = match self.since {
                Some(_) => "it is silent",
                None => "no answer to CONNECT in time",
            };
            (self.deadline, self.ping_at) = (None, None);
            return self.end(what.into());
        }
        if self.ping_at.is_some_and(|at| at <= now) {
            self.write(|out| out.extend_from_slice(&outward::PINGREQ));
            self.ping_at = Some(now.after_ms(self.keep_alive_ms));
            let patience_ms = PATIENCE_MS.min(self.keep_alive_ms);
            self.deadline = self.deadline.or(Some(now.after_ms(patience_ms)));
            self.wake();
        }
    }

    /// Handles the packets that have arrived; whether there may be more for the next turn.
    fn read(&mut self) -> bool {
        let (hub, io) = (self.hub.clone(), self.io.get_ref());
        let mut handled = 0;
        io.with_read_buf(|buffer| {
            let before = buffer.len();
            let mut used = 0;
            while handled < PACKETS_PER_TURN {
                if used < before && hub.table().borrow().is_turn_full() {
                    handled = PACKETS_PER_TURN;
                    break;
                }
                let step = self.step(&buffer[used..]);
                used += step;
                handled += 1;
                if step == 0 {
                    break;
                }
            }
            if used > 0 {
                hub.table().borrow_mut().count_received(self.id, used);
                if self.since.is_some() && self.deadline.take().is_some() {
                    self.wake();
                }
            }
            buffer.advance_to(used);
        });
        handled == PACKETS_PER_TURN
    }

    /// Handles the first packet of `bytes`, or gathers what there is of it. How many bytes it used.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() || self.is_ending() {
            return bytes.len();
        }
        if self.assembler.is_some() {
            return self.gather(bytes);
        }
        match frame::scan(bytes, self.packet_max()) {
            Ok(Scan::Frame {
                first,
                header,
                size,
            }) => {
                self.packet(first, &bytes[header..size]);
                size
            }
            Ok(Scan::Partial { .. }) => self.gather(bytes),
            Err(fault) => {
                self.refuse_frame(fault);
                bytes.len()
            }
        }
    }

    fn packet_max(&self) -> usize {
        match self.since {
            Some(_) => self.packet_max,
            None => CONNACK_BYTES_MAX.min(self.packet_max),
        }
    }

    /// Gathers a packet that is larger than what has arrived of it.
    fn gather(&mut self, bytes: &[u8]) -> usize {
        let mut assembler = self.assembler.take().unwrap_or_default();
        let used = match assembler.push(bytes, self.packet_max()) {
            Ok(used) => used,
            Err(fault) => {
                self.refuse_frame(fault);
                return bytes.len();
            }
        };
        let Some(packet) = assembler.complete() else {
            let held = assembler.memory();
            self.assembler = Some(assembler);
            if !self.hub.table().borrow_mut().gathers(self.id, held) {
                self.assembler = None;
                self.end("no memory for its packet".into());
            }
            return used;
        };
        if let Ok(Scan::Frame {
            first,
            header,
            size,
        }) = frame::scan(packet, packet.len())
        {
            self.packet(first, &packet[header..size]);
        }
        self.hub.table().borrow_mut().gathers(self.id, 0);
        used
    }

    fn refuse(&mut self, fault: Fault) {
        self.is_misunderstood = self.since.is_none();
        self.end(format!("it breaks the protocol: {}", fault.what));
    }

    fn refuse_frame(&mut self, fault: FrameFault) {
        self.refuse(Fault {
            reason: fault.reason(),
            what: fault.what(),
        });
    }

    /// Handles a whole packet.
    fn packet(&mut self, first: u8, body: &[u8]) {
        if self.since.is_none() {
            match codec::decode_connack(self.version, first, body) {
                Ok(connack) => return self.connack(&connack),
                Err(fault) => return self.refuse(fault),
            }
        }
        let hub = self.hub.clone();
        let mut scratch = hub.scratch().borrow_mut();
        let packet = match codec::decode_remote(self.version, first, body, &mut scratch) {
            Ok(packet) => packet,
            Err(fault) => return self.refuse(fault),
        };
        let connection = self.id;
        let packet = match packet {
            RemotePacket::Publish(publish) => return self.publish(&publish),
            RemotePacket::SubAck(packet_id, codes) => return self.subscribed(packet_id, codes),
            RemotePacket::UnsubAck(packet_id) => return self.unsubscribed(packet_id),
            RemotePacket::PingResp => return,
            RemotePacket::Disconnect(reason) => {
                return self.end(format!("it disconnects: {reason}"));
            }
            RemotePacket::PubAck(ack) | RemotePacket::PubRec(ack)
                if !self.is_settled(ack.reason) =>
            {
                return;
            }
            RemotePacket::PubAck(ack) => ClientPacket::PubAck(ack),
            RemotePacket::PubRec(ack) => ClientPacket::PubRec(ack),
            RemotePacket::PubRel(ack) => ClientPacket::PubRel(ack),
            RemotePacket::PubComp(ack) => ClientPacket::PubComp(ack),
        };
        hub.handle(Input::Packet { connection, packet });
    }

    /// Whether an answer to a message settles it; a refusal is noted. Where the remote broker has no room, the message is kept: it is sent
    /// again over the next connection, as long as that helps some of the times.
    fn is_settled(&mut self, reason: ReasonCode) -> bool {
        let was_full = &self.bridge.was_full;
        if !reason.is_error() {
            was_full.set(0);
            return true;
        }
        if reason == ReasonCode::QUOTA_EXCEEDED && was_full.get() < FULL_MAX {
            was_full.set(was_full.get() + 1);
            self.end(format!("it has no room for a message: {reason}"));
            return false;
        }
        let mut state = self.bridge.state.borrow_mut();
        state.rejected += 1;
        state.rejection = Some(reason.text().to_owned());
        if state.rejected.is_power_of_two() {
            let name = Escaped(&self.bridge.config.name);
            let (why, count) = (reason.text(), state.rejected);
            log::warn!(
                "bridge '{name}': the other broker refuses a message: {why} ({count} in all)"
            );
        }
        true
    }

    /// CONNACK: the broker may send.
    fn connack(&mut self, connack: &RemoteConnAck) {
        if connack.reason != ReasonCode::SUCCESS {
            let reason = connack.reason;
            self.is_misunderstood = reason == ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
            if let Some(lesser) = self.lesser_will(reason) {
                self.bridge.will.set(lesser);
                return self.end(format!(
                    "it does not take the Will that says that the bridge is gone: {reason}"
                ));
            }
            return self.end(format!("it refuses the connection: {reason}"));
        }
        let now = self.hub.time();
        self.since = Some(now);
        if self.version.is_v5() {
            self.bridge.begins_anew.set(false);
        }
        let keep_alive_s = connack.keep_alive_s.filter(|seconds| *seconds > 0);
        self.keep_alive_ms = keep_alive_s.map_or(self.keep_alive_ms, |it| u64::from(it) * 1000);
        (self.deadline, self.ping_at) = (None, Some(now.after_ms(self.keep_alive_ms)));
        self.wake();
        self.outward.retains.set(connack.retain_available);
        let peer = Peer {
            version: self.version,
            maximum_packet_size: connack.maximum_packet_size,
            problem_information: true,
        };
        self.hub.table().borrow_mut().admit_outlet(self.id, peer);
        self.bridge.state.borrow_mut().refused.clear();
        self.plan_asks(connack);
        self.ask();
        if let Some(topic) = self.bridge.remote_state_topic() {
            let (version, retain) = (self.version, connack.retain_available);
            self.write(|out| outward::publish(version, &topic, b"1", retain, out));
        }
        self.say_connected(now, connack.session_present);
        self.hub.handle(Input::Link(Link {
            connection: self.id,
            client_id: &self.bridge.session,
            version: self.version,
            window: self.bridge.config.max_inflight.min(connack.receive_maximum),
            max_qos: connack.maximum_qos,
            session_present: connack.session_present,
        }));
    }

    /// What to ask for instead of a Will that the remote broker does not take.
    fn lesser_will(&self, reason: ReasonCode) -> Option<WillForm> {
        let is_about_will = [
            ReasonCode::RETAIN_NOT_SUPPORTED,
            ReasonCode::QOS_NOT_SUPPORTED,
        ]
        .contains(&reason);
        match self.bridge.will.get() {
            WillForm::Full if is_about_will => Some(WillForm::Plain),
            WillForm::Plain if is_about_will => Some(WillForm::None),
            _ => None,
        }
    }

    fn say_connected(&self, now: Time, session_present: bool) {
        let mut state = self.bridge.state.borrow_mut();
        (state.phase, state.since) = (Phase::Connected, Some(now));
        state.protocol = Some(self.version.name());
        log::info!(
            "bridge '{}': connected to {} (MQTT {}{})",
            Escaped(&self.bridge.config.name),
            state.address,
            self.version.name(),
            if session_present {
                ", its session goes on"
            } else {
                ""
            },
        );
    }

    /// Notes what is to be subscribed and what not any more.
    fn plan_asks(&mut self, connack: &RemoteConnAck) {
        let config = &self.bridge.config;
        if !connack.session_present {
            self.bridge.stale.borrow_mut().clear();
        }
        for some in self.bridge.stale.borrow().chunks(FILTERS_AT_ONCE) {
            self.asks.push_back(Ask::Unsubscribe(some.to_vec()));
        }
        let mut wanted = Vec::new();
        for asked in self.bridge.mappings.remote_filters() {
            if topic::has_wildcard(&asked.filter) && !connack.wildcard_available {
                self.refused(&asked.filter, "it has no subscriptions of this kind");
                continue;
            }
            let options = SubscriptionOptions {
                qos: asked.qos,
                no_local: true,
                retain_as_published: true,
                retain_handling: retain_handling(config),
            };
            wanted.push((asked.filter, options));
        }
        let chunks = wanted.chunks(FILTERS_AT_ONCE);
        self.asks
            .extend(chunks.map(|some| Ask::Subscribe(some.to_vec())));
    }

    /// Asks for the next of what is to be asked.
    fn ask(&mut self) {
        let (version, id) = (self.version, PacketId::LINK);
        match self.asks.pop_front() {
            None => {}
            Some(Ask::Unsubscribe(filters)) => {
                let borrowed: Vec<&str> = filters.iter().map(String::as_str).collect();
                self.write(|out| outward::unsubscribe(version, id, &borrowed, out));
                self.withdrawn = filters;
            }
            Some(Ask::Subscribe(filters)) => {
                let borrowed: Vec<_> = filters
                    .iter()
                    .map(|(it, how)| (it.as_str(), *how))
                    .collect();
                self.write(|out| outward::subscribe(version, id, &borrowed, out));
                self.asked = filters;
            }
        }
    }

    /// SUBACK.
    fn subscribed(&mut self, packet_id: PacketId, codes: &[u8]) {
        let asked = std::mem::take(&mut self.asked);
        if packet_id != PacketId::LINK || asked.is_empty() || codes.len() < asked.len() {
            return self.end(ANSWER_TO_NOTHING.into());
        }
        for ((filter, options), code) in asked.iter().zip(codes) {
            let reason = ReasonCode(*code);
            if reason.is_error() {
                self.refused(filter, reason.text());
            } else if *code < options.qos as u8 {
                let (name, shown) = (Escaped(&self.bridge.config.name), Escaped(filter));
                log::warn!(
                    "bridge '{name}': the other broker sends '{shown}' with QoS {code} at most"
                );
            }
        }
        self.ask();
    }

    /// UNSUBACK: now the remote broker has forgotten them.
    fn unsubscribed(&mut self, packet_id: PacketId) {
        let withdrawn = std::mem::take(&mut self.withdrawn);
        if packet_id != PacketId::LINK || withdrawn.is_empty() {
            return self.end(ANSWER_TO_NOTHING.into());
        }
        let mut stale = self.bridge.stale.borrow_mut();
        stale.retain(|filter| !withdrawn.contains(filter));
        drop(stale);
        self.ask();
    }

    fn refused(&self, filter: &str, why: &str) {
        let (name, shown) = (Escaped(&self.bridge.config.name), Escaped(filter));
        log::warn!("bridge '{name}': the other broker refuses '{shown}': {why}");
        self.bridge
            .state
            .borrow_mut()
            .refused
            .push(filter.to_owned());
    }

    /// A message of the remote broker.
    fn publish(&mut self, publish: &Publish<'_>) {
        self.bridge.state.borrow_mut().received += 1;
        let Some(local) = self.bridge.mappings.to_local(publish.topic) else {
            return self.acknowledge(publish);
        };
        if self.outward.echoes {
            let mut echoes = self.bridge.echoes.borrow_mut();
            if echoes.is_echo(Instant::now(), publish.topic, publish.payload) {
                drop(echoes);
                return self.acknowledge(publish);
            }
        }
        let retain = publish.retain && self.bridge.config.retain_in;
        let is_foris = retain && self.bridge.config.found.is_some();
        let expiry_s = foris::expiry_s(&local).filter(|_| is_foris);
        let message = Publish {
            topic: &local,
            retain,
            expiry_s: publish.expiry_s.into_iter().chain(expiry_s).min(),
            ..*publish
        };
        trail::arrive(&*self.hub, &self.outward.trail, self.id, &message);
    }

    /// Acknowledges a message that goes no further.
    fn acknowledge(&self, publish: &Publish<'_>) {
        let Some(packet_id) = publish.packet_id else {
            return;
        };
        let reason = ReasonCode::SUCCESS;
        let ack = Ack { packet_id, reason };
        let packet = match publish.qos {
            Qos::ExactlyOnce => ServerPacket::PubRec(ack),
            _ => ServerPacket::PubAck(ack),
        };
        self.hub.table().borrow_mut().send(self.id, &packet);
        self.hub.end_turn_soon();
    }

    /// Whether nothing may be read before the remote broker has taken the answers to what it sent.
    fn is_backed_up(&mut self, cx: &mut Context<'_>) -> bool {
        let mut table = self.hub.table().borrow_mut();
        if !table.is_backed_up(self.id) {
            return false;
        }
        match self.io.poll_flush(cx, false) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) if table.has_output(self.id) => {
                self.io.poll_dispatch(cx);
                true
            }
            Poll::Ready(_) => false,
        }
    }

    /// Tells the broker when a full output has drained.
    fn drain(&mut self, cx: &mut Context<'_>) {
        let mut table = self.hub.table().borrow_mut();
        if table.is_congested(self.id)
            && !table.is_held(self.id)
            && let Poll::Ready(Ok(())) = self.io.poll_flush(cx, false)
        {
            table.set_drained(self.id);
            drop(table);
            self.hub.handle(Input::Drained {
                connection: self.id,
            });
        }
    }

    /// How it has ended, given what the socket says last.
    fn ended(&mut self, status: Poll<IoStatusUpdate>) -> Ended {
        let up_ms = self
            .since
            .map_or(0, |since| self.hub.time().since_ms(since).max(1));
        let closing = self.hub.table().borrow_mut().closing(self.id);
        let by_bus = closing.map(|close| format!("the bus closes it: {}", close.what));
        let why = self.why.take().or(by_bus);
        let is_closed_early = why.is_none() && self.since.is_none();
        let closed = || match status {
            Poll::Ready(IoStatusUpdate::PeerGone(Some(error))) => {
                format!("the connection failed: {error}")
            }
            _ => "the connection was closed".into(),
        };
        Ended {
            why: why.unwrap_or_else(closed),
            is_misunderstood: self.is_misunderstood,
            is_closed_early,
            up_ms,
        }
    }
}

impl<H: Hub> Future for Wire<H> {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        loop {
            this.look_at_clock();
            if this.is_backed_up(cx) {
                return Poll::Pending;
            }
            if this.read() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.drain(cx);
            match this.io.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(()))) => {}
                Poll::Ready(_) => {
                    let status = this.io.poll_status_update(cx);
                    return Poll::Ready(this.ended(status));
                }
            }
        }
    }
}

fn retain_handling(config: &config::Bridge) -> RetainHandling {
    match config.retain_handling {
        When::Always => RetainHandling::Send,
        When::New => RetainHandling::SendIfNew,
        When::Never => RetainHandling::DoNotSend,
    }
}
