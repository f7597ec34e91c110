//! CONNECT: sessions begin, are resumed and taken over here, and CONNACK says what the client may count on.
//!
//! Who the client is, the network has found out before; how connections and sessions end stands in `disconnect`.

use std::rc::Rc;

use super::effect::{Close, Denial, Effects, SessionId, StoreOp};
use super::input::{ConnectionId, Owner};
use super::session::{Connection, Session, SessionKey};
use super::timers::{Time, Timer};
use super::{Broker, limits};
use crate::acl::{Action, Permissions};
use crate::mqtt::packet::{ConnAck, ConnAckProperties, Connect, ServerPacket};
use crate::mqtt::{Capabilities, Charge, Message, Qos, ReasonCode, Version, topic};

/// Who sends a CONNECT.
pub(super) struct Newcomer<'a> {
    pub owner: Owner,
    pub permissions: Permissions,
    pub has_reserve: bool,
    pub offer: Capabilities,
    pub mount: &'a str,
    /// Whether this side has connected to it: it is a bridge's remote broker.
    pub is_link: bool,
}

impl Broker {
    /// CONNECT of an authenticated client (3.1.4).
    pub(super) fn connect<E: Effects>(
        &mut self,
        now: Time,
        id: ConnectionId,
        connect: &Connect<'_>,
        from: Newcomer<'_>,
        effects: &mut E,
    ) {
        self.sys.messages_received += 1;
        if let Err(close) = self.may_connect(now, id, connect, &from, effects) {
            self.send(
                id,
                &ServerPacket::ConnAck(ConnAck::refusal(close.reason, close.what)),
                effects,
            );
            effects.close(id, close);
            return;
        }
        let assigned: Option<Rc<str>> = connect.client_id.is_empty().then(|| self.new_client_id());
        let client_id = assigned
            .clone()
            .unwrap_or_else(|| Rc::from(connect.client_id));
        self.overtake_timers(now, &client_id, effects);
        self.take_over(now, &client_id, connect.clean_start, effects);
        let (key, session_present) = match self.by_client_id.get(&*client_id) {
            Some(key) => (*key, true),
            None => (self.new_session(client_id, from.owner.clone()), false),
        };
        let expiry_s = self.session_expiry_s(connect);
        let (offer, responses) = (from.offer, self.response_information(key, connect, &from));
        self.attach(now, id, key, connect, from, effects);
        self.set_expiry(key, expiry_s, session_present, effects);
        self.store_will(id, key, effects);
        let keep_alive_s = self.keep_alive_s(connect);
        let properties = ConnAckProperties {
            session_expiry_s: (connect.properties.session_expiry_s.unwrap_or(0) != expiry_s)
                .then_some(expiry_s),
            receive_maximum: Some(limits::RECEIVE_MAXIMUM),
            maximum_qos: (offer.max_qos < Qos::ExactlyOnce).then_some(offer.max_qos),
            retain_available: (!offer.retain_available).then_some(false),
            maximum_packet_size: Some(self.settings.max_packet_size),
            assigned_client_id: assigned.as_deref(),
            topic_alias_maximum: Some(offer.max_topic_alias),
            server_keep_alive_s: (keep_alive_s != connect.keep_alive_s).then_some(keep_alive_s),
            response_information: responses.as_deref(),
            ..ConnAckProperties::default()
        };
        let accepted = ConnAck {
            session_present,
            reason: ReasonCode::SUCCESS,
            properties,
        };
        self.send(id, &ServerPacket::ConnAck(accepted), effects);
        self.sessions[key.index()].inflight.reconnected();
        self.give_kept_to_session(now, key, effects);
        self.pump(now, id, effects);
    }

    /// Whether the client may have the session that it asks for, and the Will.
    fn may_connect<E: Effects>(
        &mut self,
        now: Time,
        id: ConnectionId,
        connect: &Connect<'_>,
        from: &Newcomer<'_>,
        effects: &mut E,
    ) -> Result<(), Close> {
        let refuse = |reason, what| Err(Close { reason, what });
        match self.by_client_id.get(connect.client_id) {
            Some(key) if self.sessions[key.index()].owner != from.owner => {
                // A session belongs to its identity (5.4.2): nobody else can take it over or end it.
                return refuse(
                    ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
                    "the session belongs to another user",
                );
            }
            None if self.sessions.len() >= limits::SESSIONS_MAX => {
                return refuse(ReasonCode::QUOTA_EXCEEDED, "too many sessions");
            }
            _ => {}
        }
        if let Some(will) = &connect.will
            && !from.permissions.may_write(will.topic)
        {
            effects.denied(id, &Denial::of(&from.permissions, Action::Will, will.topic));
            return refuse(
                ReasonCode::NOT_AUTHORIZED,
                "the will's topic may not be written",
            );
        }
        if let Some(will) = &connect.will {
            // [MQTT-3.2.2-12] [MQTT-3.2.2-13]
            if will.qos > from.offer.max_qos {
                return refuse(
                    ReasonCode::QOS_NOT_SUPPORTED,
                    "the will's QoS is above the maximum QoS",
                );
            }
            if will.retain && !from.offer.retain_available {
                return refuse(
                    ReasonCode::RETAIN_NOT_SUPPORTED,
                    "the will may not be retained",
                );
            }
        }
        // Who has a session may come back to it: that takes no more than it has.
        if !self.by_client_id.contains_key(connect.client_id)
            && !self.make_room_for(now, cost(connect), from.has_reserve, effects)
        {
            return refuse(ReasonCode::QUOTA_EXCEEDED, "no memory for a new session");
        }
        Ok(())
    }

    /// Ends what is over for a client that comes back before the tick that would have said so.
    fn overtake_timers<E: Effects>(&mut self, now: Time, client_id: &str, effects: &mut E) {
        let Some(key) = self.by_client_id.get(client_id).copied() else {
            return;
        };
        let session = &self.sessions[key.index()];
        if session.expires_at.is_some_and(|at| at <= now) {
            self.sys.clients_expired += 1;
            self.end_session(now, key, effects);
        } else if session
            .pending_will
            .as_ref()
            .is_some_and(|will| will.due_at <= now)
        {
            self.will_delay_ended(now, key, effects);
        }
    }

    /// Disconnects the client that has this Client Identifier now [MQTT-3.1.4-3], and ends its session if the
    /// new one wants to start clean [MQTT-3.1.2-4].
    pub(super) fn take_over<E: Effects>(
        &mut self,
        now: Time,
        client_id: &str,
        clean: bool,
        effects: &mut E,
    ) {
        if let Some(key) = self.by_client_id.get(client_id)
            && let Some(connection) = self.sessions[key.index()].connection
        {
            let close = Close {
                reason: ReasonCode::SESSION_TAKEN_OVER,
                what: "session taken over",
            };
            self.end_connection(now, connection, close, effects);
        }
        if clean && let Some(key) = self.by_client_id.get(client_id) {
            self.end_session(now, *key, effects);
        }
    }

    pub(super) fn new_session(&mut self, client_id: Rc<str>, owner: Owner) -> SessionKey {
        self.last_session_id += 1;
        self.insert_session(SessionId(self.last_session_id), client_id, owner)
    }

    /// Adds a session. No other MUST have its Client Identifier, nor its number have been used, and there MUST be fewer than the most.
    pub(super) fn insert_session(
        &mut self,
        id: SessionId,
        client_id: Rc<str>,
        owner: Owner,
    ) -> SessionKey {
        let session = Session::new(id, client_id.clone(), owner, &self.memory.tally);
        let index = self.sessions.insert(session);
        let key = SessionKey(u32::try_from(index).expect("below SESSIONS_MAX"));
        self.by_client_id.insert(client_id, key);
        key
    }

    /// Binds a session to its client's connection: its expiry stands still and its Will is void.
    pub(super) fn attach<E: Effects>(
        &mut self,
        now: Time,
        id: ConnectionId,
        key: SessionKey,
        connect: &Connect<'_>,
        from: Newcomer<'_>,
        effects: &mut E,
    ) {
        // [MQTT-3.1.3-9]: a Will whose delay has not ended is not sent when the session goes on.
        if self.take_pending_will(key).is_some() {
            effects.store(&StoreOp::WillCleared {
                session: self.sessions[key.index()].id,
            });
        }
        if let Some(at) = self.sessions[key.index()].expires_at.take() {
            self.timers.disarm(at, Timer::SessionExpiry(key));
        }
        // [MQTT-3.2.2-21] and [MQTT-3.2.2-22]: what CONNACK says holds, or what the client asked for.
        // A remote broker promises none: its bridge asks it whether it is there.
        let keep_alive_ms = match from.is_link {
            true => 0,
            false => u64::from(self.keep_alive_s(connect)) * 1500,
        };
        let keep_alive_at = now.after_ms(keep_alive_ms);
        if keep_alive_ms > 0 {
            self.timers.arm(keep_alive_at, Timer::KeepAlive(id));
        }
        let will = connect.will.as_ref().map(|will| self.will_of(will));
        let connection = Connection {
            generation: id.generation,
            session: key,
            version: connect.version,
            bridge: connect.bridge,
            is_link: from.is_link,
            offer: from.offer,
            permissions: from.permissions,
            keep_alive_ms,
            keep_alive_at,
            last_heard: now,
            receive_maximum: connect.properties.receive_maximum,
            congested: false,
            topic_aliases: Vec::new(),
            charge: Charge::new(&self.memory.tally, limits::CONNECTION_BYTES),
            will,
        };
        let index = id.index as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        debug_assert!(self.connections[index].is_none(), "a connection is new");
        self.connections[index] = Some(Box::new(connection));
        let session = &mut self.sessions[key.index()];
        session.connection = Some(id);
        session.has_reserve = from.has_reserve;
        self.sys.client_connected();
    }

    /// The Session Expiry Interval that a CONNECT is granted, in seconds (3.1.2.11.2).
    fn session_expiry_s(&self, connect: &Connect<'_>) -> u32 {
        let wanted = match connect.version {
            Version::V5 => connect.properties.session_expiry_s.unwrap_or(0),
            _ if connect.clean_start => 0,
            _ => self.settings.session_expiry_s,
        };
        wanted.min(self.settings.max_session_expiry_s)
    }

    /// The Keep Alive that holds for a client, in seconds. Only 5.0 can be told another than it asked for: an older client, which would
    /// not know, keeps its own.
    fn keep_alive_s(&self, connect: &Connect<'_>) -> u16 {
        let asked = connect.keep_alive_s;
        match self.settings.max_keep_alive_s {
            max @ 1.. if connect.version.is_v5() && (asked == 0 || asked > max) => max,
            _ => asked,
        }
    }

    /// The Response Information of a client that asks for it [MQTT-3.1.2-28]: a topic of its own, if its rights and its names are such
    /// that it could subscribe to what is below (4.10).
    fn response_information(
        &self,
        key: SessionKey,
        connect: &Connect<'_>,
        from: &Newcomer<'_>,
    ) -> Option<String> {
        if !connect.properties.request_response_information {
            return None;
        }
        let pattern = self.settings.response_information.as_ref()?;
        let client_id = &self.sessions[key.index()].client_id;
        let topic = pattern.substituted(from.owner.user(), client_id)?;
        let below = format!("{}{topic}/#", from.mount);
        let is_filter = below.len() <= topic::TOPIC_BYTES_MAX;
        (is_filter && from.permissions.may_subscribe(&below)).then_some(topic)
    }

    /// Sets a connected session's expiry, and says so to the store: a session that outlives its connection is there.
    pub(super) fn set_expiry<E: Effects>(
        &mut self,
        key: SessionKey,
        expiry_s: u32,
        present: bool,
        effects: &mut E,
    ) {
        let session = &mut self.sessions[key.index()];
        let was_durable = present && session.is_durable();
        session.expiry_s = expiry_s;
        match (was_durable, session.is_durable()) {
            (false, true) => effects.store(&StoreOp::SessionMade {
                session: session.id,
                client_id: &session.client_id,
                owner: &session.owner,
                expiry_s,
            }),
            (true, true) => {
                effects.store(&StoreOp::SessionChanged {
                    session: session.id,
                    expiry_s,
                    connected: true,
                });
            }
            (true, false) => effects.store(&StoreOp::SessionEnded {
                session: session.id,
            }),
            (false, false) => {}
        }
    }

    /// Says the Will of a session's client to the store, if the session is there.
    fn store_will<E: Effects>(&self, id: ConnectionId, key: SessionKey, effects: &mut E) {
        let session = &self.sessions[key.index()];
        let connection = self.connections[id.index as usize].as_ref();
        let will = connection.and_then(|connection| connection.will.as_ref());
        if let Some(will) = will.filter(|_| session.is_durable()) {
            effects.store(&StoreOp::WillSet {
                session: session.id,
                message: &will.message,
                delay_s: will.delay_s,
                expiry_s: will.expiry_s,
            });
        }
    }

    /// A Client Identifier that no session has [MQTT-3.1.3-6].
    fn new_client_id(&mut self) -> Rc<str> {
        loop {
            let words = [self.next_random(), self.next_random()];
            let id = format!("auto-{:016X}{:016X}", words[0], words[1]);
            if !self.by_client_id.contains_key(id.as_str()) {
                return Rc::from(id);
            }
        }
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014): enough for names that must differ; nothing is guarded by them.
    pub(super) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// What a new session and connection cost, in bytes.
fn cost(connect: &Connect<'_>) -> usize {
    let will = connect.will.as_ref();
    Session::cost(connect.client_id)
        + limits::CONNECTION_BYTES
        + will.map_or(0, |will| {
            Message::cost(will.topic, will.properties, will.payload)
        })
}
