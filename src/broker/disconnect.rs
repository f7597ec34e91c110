//! The ends of connections and of sessions: DISCONNECT, silence, faults, time, and the end of the broker itself.
//!
//! How they begin stands in `connect`; when a Will is sent, in `will`.

use super::Broker;
use super::effect::{Close, Effects, StoreOp};
use super::input::ConnectionId;
use super::session::{Connection, SessionKey};
use super::timers::{Time, Timer};
use crate::mqtt::packet::{Disconnect, ServerPacket};
use crate::mqtt::{ReasonCode, topic};

impl Broker {
    /// DISCONNECT (3.14).
    pub(super) fn disconnect<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        key: SessionKey,
        disconnect: Disconnect,
        effects: &mut E,
    ) {
        if let Some(expiry_s) = disconnect.session_expiry_s {
            let expiry_s = expiry_s.min(self.settings.max_session_expiry_s);
            let session = &self.sessions[key.index()];
            if session.expiry_s == 0 && expiry_s != 0 {
                // [MQTT-3.14.2-2] and 3.14.2.2.2: a session that was to end cannot be made to last.
                return self.violation(now, from, "session expiry was 0 in CONNECT", effects);
            }
            self.set_expiry(key, expiry_s, true, effects);
        }
        // [MQTT-3.14.4-3]: a normal DISCONNECT voids the Will, any other keeps it.
        let will_counts = disconnect.reason != ReasonCode::SUCCESS;
        self.detach(now, from, will_counts, effects);
        effects.close(
            from,
            Close {
                reason: disconnect.reason,
                what: "client disconnected",
            },
        );
    }

    /// Tells a client why (5.0 only has the words), and closes its connection.
    pub(super) fn end_connection<E: Effects>(
        &mut self,
        now: Time,
        id: ConnectionId,
        close: Close,
        effects: &mut E,
    ) {
        self.redirect(now, id, close, None, effects);
    }

    /// The same, with the word where the client is to go.
    pub(super) fn redirect<E: Effects>(
        &mut self,
        now: Time,
        id: ConnectionId,
        close: Close,
        server_reference: Option<&str>,
        effects: &mut E,
    ) {
        if self.connection(id).is_none() {
            return;
        }
        self.say_why(id, close, server_reference, effects);
        self.detach(now, id, true, effects);
    }

    /// Sends DISCONNECT and closes.
    fn say_why<E: Effects>(
        &mut self,
        id: ConnectionId,
        close: Close,
        server_reference: Option<&str>,
        effects: &mut E,
    ) {
        let packet = ServerPacket::Disconnect {
            reason: close.reason,
            reason_string: Some(close.what),
            server_reference,
        };
        self.send(id, &packet, effects);
        effects.close(id, close);
    }

    /// Takes a connection from its session. `will_counts` unless the client said that it goes.
    pub(super) fn detach<E: Effects>(
        &mut self,
        now: Time,
        id: ConnectionId,
        will_counts: bool,
        effects: &mut E,
    ) {
        let Some(connection) = self.unbind(id) else {
            return;
        };
        let key = connection.session;
        let had_will = connection.will.is_some();
        // What the client may publish can have changed since its CONNECT.
        let permissions = &connection.permissions;
        let mut will = connection
            .will
            .filter(|will| will_counts && permissions.may_write(will.message.topic()));
        if self.sessions[key.index()].is_durable() {
            self.goes_offline(now, key, effects);
            self.link_down(now, key, effects);
            self.hand_over_shared(now, key, effects);
            if let Some(will) = will.take_if(|will| will.delay_s > 0) {
                return self.delay_will(now, key, will);
            }
            if had_will {
                let session = self.sessions[key.index()].id;
                effects.store(&StoreOp::WillCleared { session });
            }
        } else {
            self.end_session(now, key, effects);
        }
        if let Some(will) = will {
            self.publish_will(now, key, &will, effects);
        }
    }

    /// Takes a connection out of the table and from its session.
    fn unbind(&mut self, id: ConnectionId) -> Option<Box<Connection>> {
        self.connection(id)?;
        let connection = self.connections[id.index as usize].take()?;
        if connection.keep_alive_ms > 0 {
            self.timers
                .disarm(connection.keep_alive_at, Timer::KeepAlive(id));
        }
        self.sys.client_disconnected();
        self.sessions[connection.session.index()].connection = None;
        Some(connection)
    }

    /// The lifetime of a session that outlives its connection begins to run.
    pub(super) fn goes_offline<E: Effects>(&mut self, now: Time, key: SessionKey, effects: &mut E) {
        let session = &mut self.sessions[key.index()];
        session.offline_since = now;
        effects.store(&StoreOp::SessionChanged {
            session: session.id,
            expiry_s: session.expiry_s,
            connected: false,
        });
        for queued in session.qos0_queue.iter() {
            session.store_waiting(queued, effects);
        }
        self.start_expiry(now, key);
    }

    /// Arms the expiry of a session whose client went at `since`.
    pub(super) fn start_expiry(&mut self, since: Time, key: SessionKey) {
        let session = &mut self.sessions[key.index()];
        if session.expiry_s != u32::MAX {
            let at = since.after_s(u64::from(session.expiry_s));
            session.expires_at = Some(at);
            self.timers.arm(at, Timer::SessionExpiry(key));
        }
    }

    /// Ends a session without a connection, and all that it held. A Will that waits is sent now [MQTT-3.1.3-9].
    pub(super) fn end_session<E: Effects>(&mut self, now: Time, key: SessionKey, effects: &mut E) {
        let will = self.take_pending_will(key);
        let mut session = self.sessions.remove(key.index());
        if let Some(at) = session.expires_at {
            self.timers.disarm(at, Timer::SessionExpiry(key));
        }
        self.by_client_id.remove(&*session.client_id);
        for filter in std::mem::take(&mut session.filters) {
            if topic::is_shared(&filter) {
                self.shares.unsubscribe(&filter, key);
                let released = session.release(&filter, effects);
                self.redeliver(now, key, released, effects);
            } else {
                self.router.unsubscribe(&filter, key);
            }
        }
        if session.is_durable() {
            effects.store(&StoreOp::SessionEnded {
                session: session.id,
            });
        }
        if let Some(will) = will {
            self.publish_will(now, key, &will, effects);
        }
    }

    /// The keep alive timer of a connection is due: the client is gone, or has been heard of since [MQTT-3.1.2-22].
    pub(super) fn check_keep_alive<E: Effects>(
        &mut self,
        now: Time,
        id: ConnectionId,
        effects: &mut E,
    ) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let due = connection.last_heard.after_ms(connection.keep_alive_ms);
        connection.keep_alive_at = due;
        if due > now {
            self.timers.arm(due, Timer::KeepAlive(id));
        } else {
            let close = Close {
                reason: ReasonCode::KEEP_ALIVE_TIMEOUT,
                what: "keep alive exceeded",
            };
            self.end_connection(now, id, close, effects);
        }
    }

    /// Tells every client that the broker stops. A session that ends with its connection ends now and its Will is
    /// published; one that lasts keeps its Will in the store, to be published after the restart unless its client
    /// is back by then (3.1.2.5 permits the delay). Clients that are to use another server meanwhile are told which (4.11).
    pub(super) fn shutdown<E: Effects>(&mut self, now: Time, effects: &mut E) {
        let another = self.settings.server_reference.clone();
        let close = Close {
            reason: match another {
                Some(_) => ReasonCode::USE_ANOTHER_SERVER,
                None => ReasonCode::SERVER_SHUTTING_DOWN,
            },
            what: "the broker stops",
        };
        let all = self.sessions.iter();
        let (lasting, ending): (Vec<_>, Vec<_>) = all
            .filter_map(|(_, session)| Some((session.connection?, session.is_durable())))
            .partition(|(_, is_durable)| *is_durable);
        for (id, _) in ending {
            self.redirect(now, id, close, another.as_deref(), effects);
        }
        for (id, _) in lasting {
            self.say_why(id, close, another.as_deref(), effects);
            if let Some(connection) = self.unbind(id) {
                let key = connection.session;
                self.goes_offline(now, key, effects);
                self.sessions[key.index()].pending_will = connection.will.map(|mut will| {
                    will.due_at = Time(u64::MAX);
                    will
                });
            }
        }
    }
}
