//! Lists of what there is, each a page at a time: clients, sessions, subscriptions, what waits, retained messages. And what an
//! administrator ends or clears.
//!
//! Entered by the methods of [`Broker`] here, each of which looks at no more than [`limits::LOOKED_AT_MAX`] things and gives no more than
//! [`limits::TOLD_ITEMS_MAX`], so that a list takes the event loop no longer than a packet, however long it is. `dump` tells
//! everything at once; the form of its items is used here too.

use super::dump::{Filling, Held, Item, retained_item};
use super::effect::{Close, Effects, StoreOp};
use super::input::{ConnectionId, Owner};
use super::session::{Connection, Session, SessionKey};
use super::timers::Time;
use super::{Broker, limits};
use crate::acl::is_servers;
use crate::mqtt::packet::ClientPacket;
use crate::mqtt::{ReasonCode, Version, topic};

/// Rows, and where the next ones begin; `None` after the last.
pub type Told<Row, Next> = (Vec<Row>, Option<Next>);

/// A connected client.
#[derive(Debug, Clone)]
pub struct ClientRow {
    /// Its connection, of which the network knows more.
    pub connection: ConnectionId,
    /// Its session.
    pub session: SessionRow,
    /// Its version of MQTT.
    pub version: Version,
    /// Whether it said that it is a bridge.
    pub bridge: bool,
    /// For how many seconds nothing has come from it.
    pub idle_s: u64,
    /// Its Keep Alive in seconds; 0 for none.
    pub keep_alive_s: u64,
}

/// A session.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Its Client Identifier.
    pub client_id: String,
    /// The user name of its owner; `None` for anonymous clients.
    pub user: Option<String>,
    /// Whether it is that of one of this broker's own bridges.
    pub is_own: bool,
    /// Whether its client is connected.
    pub connected: bool,
    /// For how many seconds it has not been.
    pub away_s: Option<u64>,
    /// Its Session Expiry Interval in seconds; `None`: it never ends.
    pub expiry_s: Option<u32>,
    /// In how many seconds it ends.
    pub ends_s: Option<u64>,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// QoS 1 and 2 messages that its client has not acknowledged.
    pub inflight: usize,
    /// QoS 1 and 2 messages that wait.
    pub queued: usize,
    /// QoS 0 messages that wait.
    pub queued_qos0: usize,
    /// Bytes of all that wait.
    pub queued_bytes: usize,
    /// QoS 2 messages of the client whose identifiers are in use.
    pub taken: usize,
    /// Whether it has a Will.
    pub will: bool,
}

/// Which of the things that sessions hold are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Subscriptions.
    Subscriptions,
    /// Messages on their way to clients, or from them.
    Messages,
}

impl Kind {
    fn has(self, held: &Held<'_>) -> bool {
        match held {
            Held::Itself | Held::Will(_) => false,
            Held::Filter(_) => self == Kind::Subscriptions,
            Held::Sent(_) | Held::Waiting(_) | Held::Taken(_) => self == Kind::Messages,
        }
    }
}

impl Broker {
    /// Connected clients, from a position in the table of connections on.
    pub fn clients(&self, now: Time, from: u32) -> Told<ClientRow, u32> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        let slots = self.connections.iter().zip(0..).skip(from as usize);
        for (looked, (slot, index)) in slots.enumerate() {
            if is_full(looked, rows.len(), bytes) {
                return (rows, Some(index));
            }
            if let Some(connection) = slot {
                let row = self.client_row(now, index, connection);
                bytes += row.session.client_id.len();
                rows.push(row);
            }
        }
        (rows, None)
    }

    fn client_row(&self, now: Time, index: u32, connection: &Connection) -> ClientRow {
        ClientRow {
            connection: ConnectionId {
                index,
                generation: connection.generation,
            },
            session: self.session_row(now, &self.sessions[connection.session.index()]),
            version: connection.version,
            bridge: connection.bridge,
            idle_s: now.since_ms(connection.last_heard) / 1000,
            keep_alive_s: connection.keep_alive_ms / 1500,
        }
    }

    /// Sessions, from a position in their table on.
    pub fn sessions(&self, now: Time, from: u32) -> Told<SessionRow, u32> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        for (looked, index) in (from..self.session_slots()).enumerate() {
            if is_full(looked, rows.len(), bytes) {
                return (rows, Some(index));
            }
            if let Some(session) = self.sessions.get(index as usize) {
                let row = self.session_row(now, session);
                bytes += row.client_id.len();
                rows.push(row);
            }
        }
        (rows, None)
    }

    fn session_slots(&self) -> u32 {
        let last = self.sessions.iter().next_back();
        last.map_or(0, |(index, _)| index as u32 + 1)
    }

    fn session_row(&self, now: Time, session: &Session) -> SessionRow {
        let since = |at: Time| now.since_ms(at) / 1000;
        let (queue, qos0) = (&session.queue, &session.qos0_queue);
        SessionRow {
            client_id: session.client_id.to_string(),
            // The owner of bridges is no user.
            user: session
                .owner
                .user()
                .filter(|_| session.owner != Owner::bridges())
                .map(str::to_owned),
            is_own: session.owner == Owner::bridges(),
            connected: session.connection.is_some(),
            away_s: match session.connection {
                Some(_) => None,
                None => Some(since(session.offline_since)),
            },
            expiry_s: Some(session.expiry_s).filter(|s| *s < u32::MAX),
            ends_s: session.expires_at.map(|at| at.since_ms(now) / 1000),
            subscriptions: session.filters.len(),
            inflight: session.inflight.len(),
            queued: queue.len(),
            queued_qos0: qos0.len(),
            queued_bytes: queue.bytes() + qos0.bytes(),
            taken: session.received.len(),
            will: self.will_of_session(session).is_some(),
        }
    }

    /// What sessions hold of a kind, of one client or of all, from a session's position and so many of its things on. `None`: there is
    /// no such session.
    pub fn held(
        &self,
        now: Time,
        kind: Kind,
        client_id: Option<&str>,
        from: (u32, u32),
    ) -> Option<Told<Item, (u32, u32)>> {
        let mut page = Filling::default();
        let mut looked = 0;
        let (index, skip) = from;
        let range = match client_id {
            None => index..self.session_slots(),
            Some(client_id) => {
                let key = self.by_client_id.get(client_id)?;
                key.0..key.0 + 1
            }
        };
        for at in range {
            let Some(session) = self.sessions.get(at as usize) else {
                looked += 1;
                continue;
            };
            let skip = if at == index { skip } else { 0 };
            let held = self.held_by(session).zip(0..).skip(skip as usize);
            for (held, position) in held {
                if looked >= limits::LOOKED_AT_MAX {
                    return Some((page.items, Some((at, position))));
                }
                looked += 1;
                let item = kind.has(&held).then(|| {
                    let key = SessionKey(at);
                    self.item(key, session, held, now)
                });
                if item.flatten().is_some_and(|item| page.add(item).is_break()) {
                    return Some((page.items, Some((at, position + 1))));
                }
            }
        }
        Some((page.items, None))
    }

    /// Retained messages that match a filter, or all, after a topic; where the next ones begin is the last topic that was looked at.
    pub fn retained(
        &self,
        now: Time,
        filter: Option<&str>,
        after: Option<&str>,
    ) -> Told<Item, String> {
        let mut page = Filling::default();
        let filter = filter.unwrap_or("");
        for (looked, message) in self.retained.below(filter, after).enumerate() {
            let matches = filter.is_empty() || topic::matches(filter, message.topic());
            let is_last = matches && page.add(retained_item(message, now)).is_break();
            if is_last || looked + 1 >= limits::LOOKED_AT_MAX {
                return (page.items, Some(message.topic().to_owned()));
            }
        }
        (page.items, None)
    }

    /// The topics of retained messages that match a filter, after a topic, as many as are cleared at a time. Those of the bus itself are not
    /// for clearing.
    pub fn retained_topics(&self, filter: &str, after: Option<&str>) -> Told<String, String> {
        let mut topics = Vec::new();
        for (looked, message) in self.retained.below(filter, after).enumerate() {
            let name = message.topic();
            if topic::matches(filter, name) && !is_servers(name) {
                topics.push(name.to_owned());
            }
            if is_full(looked + 1, topics.len(), 0) {
                return (topics, Some(name.to_owned()));
            }
        }
        (topics, None)
    }

    /// Whether a topic has a retained message.
    pub fn is_retained(&self, name: &str) -> bool {
        self.retained.get(name).is_some()
    }

    /// Whether the last PUBLISH was taken: neither refused, nor did it cost the connection.
    pub fn has_taken(&self) -> bool {
        self.has_taken
    }

    /// The number that the next message gets.
    pub fn next_message_id(&self) -> u64 {
        self.last_message_id + 1
    }

    /// The connection of a client.
    pub fn connection_of(&self, client_id: &str) -> Option<ConnectionId> {
        let key = self.by_client_id.get(client_id)?;
        self.sessions[key.index()].connection
    }

    /// Whether there is a session with this Client Identifier.
    pub fn has_session(&self, client_id: &str) -> bool {
        self.by_client_id.contains_key(client_id)
    }

    /// The topic that a PUBLISH names by its alias alone.
    pub fn aliased(&self, from: ConnectionId, packet: &ClientPacket<'_>) -> Option<&str> {
        let ClientPacket::Publish(publish) = packet else {
            return None;
        };
        let connection = self.connections.get(from.index as usize)?.as_deref()?;
        let alias = publish.topic_alias.filter(|_| publish.topic.is_empty())?;
        let aliased = connection
            .topic_aliases
            .get(usize::from(alias).checked_sub(1)?)?;
        Some(aliased).map(|topic| &**topic)
    }

    /// Ends a session for an administrator, and its client's connection before.
    pub(super) fn drop_session<E: Effects>(&mut self, now: Time, name: &str, effects: &mut E) {
        if let Some(connection) = self.connection_of(name) {
            let close = Close {
                reason: ReasonCode::ADMINISTRATIVE_ACTION,
                what: "the administrator ends the session",
            };
            self.end_connection(now, connection, close, effects);
        }
        // One that does not outlive its connection is gone by now.
        if let Some(key) = self.by_client_id.get(name) {
            self.end_session(now, *key, effects);
        }
    }

    /// Clears a retained message for an administrator. Nobody is told, as when one expires.
    pub(super) fn clear_retained<E: Effects>(&mut self, name: &str, effects: &mut E) {
        if !is_servers(name) && self.retained.clear(name) {
            effects.store(&StoreOp::RetainCleared { topic: name });
        }
    }
}

/// Whether a page ends after so many things that were looked at, rows and bytes.
fn is_full(looked: usize, rows: usize, bytes: usize) -> bool {
    looked >= limits::LOOKED_AT_MAX
        || rows >= limits::TOLD_ITEMS_MAX
        || bytes >= limits::TOLD_PAGE_BYTES
}
