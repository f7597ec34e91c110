//! The broker as a pure state machine: sessions, subscriptions, routing, retained messages and wills.
//!
//! It is entered by [`Broker::handle`] with a time, an [`Input`] and the caller's [`Effects`], and by nothing else. The same inputs
//! give the same effects. It knows no socket, no clock, no file, no thread and no source of randomness: time and seed are
//! arguments, so that a test runs in virtual time. It cannot fail: what a client does wrong is an effect, the close of its connection.
//!
//! One file a concern: [`input`] and [`effect`] are what goes in and comes out; `connect`, `disconnect`, `publish` and `subscribe` handle
//! the packets; `bridge` has the sessions whose clients are other brokers; `deliver` decides what goes to a client now and what waits, which `pump` sends when there is room; `session`, `inflight`, `queue`, `retained`, `router`, `share`, `will`,
//! `keeper` (what waits for a subscriber who is not there) and `timers` hold state; `restore` takes back what a store has kept; `dump` and `tell` say what there is; `sys` counts and publishes `$SYS`, with the averages of `load`; [`limits`] bounds what a client can grow, and `memory` all of it together.

mod bridge;
mod connect;
mod deliver;
mod disconnect;
mod dump;
pub mod effect;
mod inflight;
pub mod input;
mod keeper;
pub mod limits;
mod load;
mod memory;
mod publish;
mod pump;
mod queue;
mod replay;
mod restore;
mod retained;
mod router;
mod session;
mod share;
mod subscribe;
mod sys;
mod tell;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod tests;
mod timers;
mod will;

use std::rc::Rc;

use hashbrown::HashMap;
use slab::Slab;

pub use bridge::BridgeState;
pub use dump::{Body, Item, Page, Place};
pub use effect::{Close, Delivery, Denial, Effects, Payload, Sent, StoreOp};
pub use input::{
    Bounds, Bridge, ConnectionId, Input, Judge, KeptTopics, Link, Owner, Settings, Storage, Traffic,
};
pub use restore::Restored;
pub use sys::Counts;
pub use tell::{ClientRow, Kind, SessionRow, Told};
pub use timers::Time;

use keeper::Keeper;
use memory::Memory;

use crate::mqtt::ReasonCode;
use crate::mqtt::packet::{ClientPacket, ServerPacket};
use connect::Newcomer;
use restore::Restoring;
use retained::Retained;
use router::{Router, SeededState, Subscriber};
use session::{Connection, Session, SessionKey};
use share::Shares;
use sys::Sys;
use timers::{Timer, Timers};

/// The broker.
pub struct Broker {
    settings: Settings,
    /// By the index of [`ConnectionId`].
    connections: Vec<Option<Box<Connection>>>,
    sessions: Slab<Session>,
    by_client_id: HashMap<Rc<str>, SessionKey, SeededState>,
    router: Router,
    shares: Shares,
    retained: Retained,
    keeper: Keeper,
    timers: Timers,
    sys: Sys,
    memory: Memory,
    /// What the store's items have named so far, while it is restored.
    restoring: Option<Box<Restoring>>,
    /// The last numbers given to a message, a session and a delivery's serial.
    last_message_id: u64,
    /// Whether the last PUBLISH was taken.
    has_taken: bool,
    last_session_id: u64,
    last_serial: u64,
    /// State of the generator of assigned Client Identifiers.
    random: u64,
    /// Who was found for the message at hand; kept for its memory.
    found: Vec<Subscriber>,
}

impl Broker {
    /// A broker without sessions at the moment `now`. `seed` SHOULD not be known to clients: it keys hash tables and
    /// assigned Client Identifiers.
    pub fn new(settings: Settings, seed: u64, now: Time) -> Broker {
        let mut broker = Broker {
            connections: Vec::new(),
            sessions: Slab::new(),
            by_client_id: HashMap::with_hasher(router::seeded(seed)),
            router: Router::new(seed),
            shares: Shares::new(seed),
            retained: Retained::default(),
            keeper: Keeper::default(),
            timers: Timers::default(),
            sys: Sys::new(now),
            memory: Memory::default(),
            restoring: None,
            last_message_id: 0,
            has_taken: false,
            last_session_id: 0,
            last_serial: 0,
            random: seed,
            found: Vec::new(),
            settings,
        };
        broker.arm_sys(now);
        broker
    }

    /// When the next [`Input::Tick`] is due, if any.
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Handles one event at the moment `now`, which MUST not be earlier than that of the last.
    pub fn handle<E: Effects>(&mut self, now: Time, input: Input<'_>, effects: &mut E) {
        let (away, stops) = (self.sessions_away(), matches!(input, Input::Shutdown));
        match input {
            Input::Bridges(bridges) => self.set_bridges(now, bridges, effects),
            Input::Link(link) => self.link(now, &link, effects),
            Input::Packet { connection, packet } => self.packet(now, connection, packet, effects),
            Input::Connect {
                connection,
                connect,
                owner,
                permissions,
                reserve,
                offer,
                mount,
            } => {
                let from = Newcomer {
                    owner,
                    permissions,
                    has_reserve: reserve,
                    offer,
                    mount,
                    is_link: false,
                };
                self.connect(now, connection, connect, from, effects);
            }
            Input::Violation {
                connection,
                reason,
                what,
            } => self.end_connection(now, connection, Close { reason, what }, effects),
            Input::Closed { connection } => self.detach(now, connection, true, effects),
            Input::Drained { connection } => {
                if let Some(state) = self.connection(connection) {
                    state.congested = false;
                    self.pump(now, connection, effects);
                }
            }
            Input::Alive { connection } => self.is_alive(now, connection),
            Input::Permissions {
                connection,
                permissions,
            } => {
                if let Some(state) = self.connection(connection) {
                    state.permissions = permissions;
                }
            }
            Input::Rights(judge) => self.review_wills(judge, effects),
            Input::Disconnect {
                connection,
                reason,
                what,
                server_reference,
            } => {
                let close = Close { reason, what };
                self.redirect(now, connection, close, server_reference, effects);
            }
            Input::DropSession { client_id } => self.drop_session(now, client_id, effects),
            Input::ClearRetained { topic } => self.clear_retained(topic, effects),
            Input::Tick(traffic) => self.tick(now, traffic, effects),
            Input::Network { bytes } => self.memory.network = bytes,
            Input::Settings(settings) => self.set(now, settings),
            Input::Shutdown => self.shutdown(now, effects),
        }
        if !stops {
            self.bound_sessions_away(now, away, effects);
        }
        self.settle(now, effects);
    }

    fn is_alive(&mut self, now: Time, connection: ConnectionId) {
        if let Some(state) = self.connection(connection) {
            state.last_heard = now;
        }
    }

    fn set(&mut self, now: Time, settings: Settings) {
        self.disarm_sys();
        self.settings = settings;
        self.arm_sys(now);
    }

    fn packet<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        packet: ClientPacket<'_>,
        effects: &mut E,
    ) {
        let Some(connection) = self.connection(from) else {
            return;
        };
        connection.last_heard = now;
        let key = connection.session;
        self.sys.messages_received += 1;
        match packet {
            ClientPacket::Publish(publish) => self.publish(now, from, key, &publish, effects),
            ClientPacket::PubAck(ack) => self.puback(now, from, key, ack, effects),
            ClientPacket::PubRec(ack) => self.pubrec(now, from, key, ack, effects),
            ClientPacket::PubRel(ack) => self.pubrel(from, key, ack, effects),
            ClientPacket::PubComp(ack) => self.pubcomp(now, from, key, ack, effects),
            ClientPacket::Subscribe(subscribe) => {
                self.subscribe(now, from, key, &subscribe, effects)
            }
            ClientPacket::Unsubscribe(unsubscribe) => {
                self.unsubscribe(now, from, key, &unsubscribe, effects)
            }
            ClientPacket::PingReq => self.send(from, &ServerPacket::PingResp, effects),
            ClientPacket::Disconnect(disconnect) => {
                self.disconnect(now, from, key, disconnect, effects)
            }
            ClientPacket::Connect(_) => {
                // [MQTT-3.1.0-2]: a second CONNECT is a protocol error.
                self.violation(now, from, "a second CONNECT", effects);
            }
            ClientPacket::Auth(_) => {
                // [MQTT-4.12.0-7]: the AUTH of a client whose CONNECT named an Authentication Method never gets here.
                self.violation(now, from, "AUTH without an authentication method", effects);
            }
        }
    }

    fn tick<E: Effects>(&mut self, now: Time, traffic: Traffic<'_>, effects: &mut E) {
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::KeepAlive(connection) => self.check_keep_alive(now, connection, effects),
                Timer::SessionExpiry(key) => {
                    self.sys.clients_expired += 1;
                    self.end_session(now, key, effects);
                }
                Timer::WillDelay(key) => self.will_delay_ended(now, key, effects),
                Timer::Sys => {
                    self.sweep(now, effects);
                    if self.settings.sys_interval_ms > 0 {
                        self.publish_sys(now, traffic, effects);
                    }
                    self.arm_sys(now);
                }
            }
        }
    }

    /// Gives back the memory of what has expired and that nobody has come for.
    fn sweep<E: Effects>(&mut self, now: Time, effects: &mut E) {
        for message in self.retained.take_expired(now.0) {
            effects.store(&StoreOp::RetainCleared {
                topic: message.topic(),
            });
        }
        self.sweep_kept(now, effects);
        let ttl_ms = self.settings.qos0_queue_ttl_ms;
        for (_, session) in &mut self.sessions {
            let mut dropped = session.drop_older(now, ttl_ms);
            dropped.extend(session.qos0_queue.drop_expired(now));
            dropped.extend(session.queue.drop_expired(now));
            self.sys.publish_dropped += dropped.len() as u64;
            session.count_dropped(dropped.len());
            for dropped in &dropped {
                session.store_dropped(dropped, effects);
            }
        }
        self.router.shrink();
        self.sessions.shrink_to_fit();
        self.calm_down(now);
    }

    /// The state of a connection, unless it is gone and its index used again.
    #[inline]
    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let connection = self
            .connections
            .get_mut(id.index as usize)?
            .as_deref_mut()?;
        (connection.generation == id.generation).then_some(connection)
    }

    /// Sends a packet that is no PUBLISH, and counts it.
    #[inline]
    fn send<E: Effects>(&mut self, to: ConnectionId, packet: &ServerPacket<'_>, effects: &mut E) {
        self.sys.messages_sent += 1;
        effects.send(to, packet);
    }

    /// Ends a connection because of a protocol error (4.13).
    fn violation<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        what: &'static str,
        effects: &mut E,
    ) {
        self.end_connection(
            now,
            from,
            Close {
                reason: ReasonCode::PROTOCOL_ERROR,
                what,
            },
            effects,
        );
    }

    fn new_message_id(&mut self) -> u64 {
        self.last_message_id += 1;
        self.last_message_id
    }

    fn new_serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }
}
