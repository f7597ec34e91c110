//! Bridges as the broker sees them: sessions whose clients are other brokers, to which this side connects.
//!
//! A bridge's session is there as long as it is configured ([`Input::Bridges`](super::Input::Bridges)), whether or not it is connected. What
//! matches its filters waits in its queue within bounds of its own, is in the store like that of any session, and goes out in order when the
//! remote broker has accepted the connection ([`Input::Link`](super::Input::Link)). From then on the remote broker's packets are inputs like a
//! client's: its PUBLISH is one of the bridge's client, with its packet identifier, and its acknowledgements are those of what was sent to
//! the session. So nothing about QoS 1 and 2 is new here.
//!
//! No client can have the session's owner, so none can take it over; it never expires, and it does not end where memory is short,
//! although what waits in it may go.
//!
//! What this does not do: it knows neither addresses nor topics of the other side; names are translated on the way out and in by
//! `bridge`, as are the SUBSCRIBEs for what is to come.

use std::rc::Rc;

use super::Broker;
use super::connect::Newcomer;
use super::effect::{Close, Effects, StoreOp};
use super::inflight::Stage;
use super::input::{Bounds, Bridge, Link, Owner};
use super::limits;
use super::publish::Outgoing;
use super::queue::Queued;
use super::router::Subscriber;
use super::session::{Bridged, SessionKey};
use super::timers::Time;
use crate::acl::Permissions;
use crate::mqtt::packet::{Connect, ConnectProperties, RetainHandling, SubscriptionOptions};
use crate::mqtt::{Capabilities, PacketId, Qos, ReasonCode};

/// How a bridge's session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BridgeState {
    /// Messages that wait.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// Messages of QoS 1 and 2 that were sent and not acknowledged.
    pub inflight: usize,
    /// Messages that went because too many waited, or for too long, since the start.
    pub dropped: u64,
}

impl Broker {
    /// How the session of a bridge is, if it is one.
    pub fn bridge_state(&self, client_id: &str) -> Option<BridgeState> {
        let session = &self.sessions[self.by_client_id.get(client_id)?.index()];
        let bridge = session.bridge.as_ref()?;
        Some(BridgeState {
            waiting: session.queue.len() + session.qos0_queue.len(),
            waiting_bytes: session.queue.bytes() + session.qos0_queue.bytes(),
            inflight: session.inflight.len(),
            dropped: bridge.dropped,
        })
    }

    /// Makes the sessions of bridges those that are configured.
    pub(super) fn set_bridges<E: Effects>(
        &mut self,
        now: Time,
        bridges: &[Bridge<'_>],
        effects: &mut E,
    ) {
        let owner = Owner::bridges();
        let is_kept = |id: &str| bridges.iter().any(|bridge| bridge.client_id == id);
        let gone: Vec<SessionKey> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.owner == owner && !is_kept(&session.client_id))
            .map(|(index, _)| SessionKey(index as u32))
            .collect();
        for key in gone {
            self.end_bridge(now, key, effects);
        }
        for bridge in bridges {
            let key = self.bridge_session(now, bridge, &owner, effects);
            self.set_bridge(now, key, bridge, effects);
        }
    }

    /// Ends a bridge's session with all that waits in it.
    fn end_bridge<E: Effects>(&mut self, now: Time, key: SessionKey, effects: &mut E) {
        let session = &self.sessions[key.index()];
        let state_topic = session
            .bridge
            .as_ref()
            .and_then(|it| it.state_topic.clone());
        if let Some(connection) = session.connection {
            let close = Close {
                reason: ReasonCode::ADMINISTRATIVE_ACTION,
                what: "the bridge was removed",
            };
            self.end_connection(now, connection, close, effects);
        }
        let session = &self.sessions[key.index()];
        let lost = session.queue.len() + session.qos0_queue.len() + session.inflight.len();
        if lost > 0 {
            let name = crate::log::Escaped(&session.client_id);
            log::warn!(
                "'{name}' is configured no longer: {lost} messages that waited for it are dropped"
            );
        }
        self.end_session(now, key, effects);
        if let Some(topic) = state_topic {
            self.say_bridge_state(now, &topic, b"", effects);
        }
    }

    /// The session of a bridge, which is made if it is not there. A client that has its name goes: nothing forbids it to take that
    /// before the bridge is configured.
    fn bridge_session<E: Effects>(
        &mut self,
        now: Time,
        bridge: &Bridge<'_>,
        owner: &Owner,
        effects: &mut E,
    ) -> SessionKey {
        if let Some(key) = self.by_client_id.get(bridge.client_id).copied() {
            if self.sessions[key.index()].owner == *owner {
                return key;
            }
            self.take_over(now, bridge.client_id, true, effects);
        }
        let key = self.new_session(Rc::from(bridge.client_id), owner.clone());
        // The remote broker can hold identifiers of a session that is lost here, and would take a new message under one for a repetition. Those
        // are the last that were given: anywhere else a collision is as good as excluded.
        let random = PacketId::new(self.next_random() as u16);
        let inflight = &mut self.sessions[key.index()].inflight;
        inflight.begin_with(random.unwrap_or(PacketId::FIRST));
        self.set_expiry(key, u32::MAX, false, effects);
        self.goes_offline(now, key, effects);
        key
    }

    /// Gives a bridge's session its bounds and its subscriptions.
    fn set_bridge<E: Effects>(
        &mut self,
        now: Time,
        key: SessionKey,
        bridge: &Bridge<'_>,
        effects: &mut E,
    ) {
        let session = &mut self.sessions[key.index()];
        let is_up = session.connection.is_some();
        let former = session.bridge.take();
        let former_topic = former.as_ref().and_then(|it| it.state_topic.clone());
        session.bridge = Some(Box::new(Bridged {
            bounds: bridge.bounds,
            state_topic: bridge.state_topic.map(Rc::from),
            filters: bridge
                .filters
                .iter()
                .map(|(filter, qos)| (Rc::from(*filter), *qos))
                .collect(),
            owes_retained: former.as_ref().is_some_and(|it| it.owes_retained),
            max_qos: former.as_ref().map_or(Qos::ExactlyOnce, |it| it.max_qos),
            dropped: former.as_ref().map_or(0, |it| it.dropped),
        }));
        self.trim_bridge(key, effects);
        let unwanted: Vec<Rc<str>> = self.sessions[key.index()]
            .filters
            .iter()
            .filter(|filter| {
                !bridge
                    .filters
                    .iter()
                    .any(|(wanted, _)| *wanted == &***filter)
            })
            .cloned()
            .collect();
        for filter in unwanted {
            self.unsubscribe_one(now, key, &filter, effects);
        }
        for (filter, qos) in bridge.filters {
            let is_new = self.forward(key, filter, *qos, effects);
            let session = &mut self.sessions[key.index()];
            if let Some(bridge) = session.bridge.as_mut().filter(|_| is_new && !is_up) {
                bridge.owes_retained = true;
            }
        }
        if former_topic.as_deref() != bridge.state_topic {
            if let Some(topic) = former_topic {
                self.say_bridge_state(now, &topic, b"", effects);
            }
            self.say_state_of(now, key, effects);
        }
        if let Some(connection) = self.sessions[key.index()].connection {
            self.pump(now, connection, effects);
        }
    }

    /// Subscribes a bridge's session; whether it was not subscribed before. While it is connected, the retained messages of
    /// a new subscription follow.
    fn forward<E: Effects>(
        &mut self,
        key: SessionKey,
        filter: &str,
        qos: Qos,
        effects: &mut E,
    ) -> bool {
        let known = self.router.find(filter, key).map(|it| it.options);
        let session = &self.sessions[key.index()];
        let max_qos = session.bridge.as_ref().map_or(qos, |it| it.max_qos);
        let options = SubscriptionOptions {
            qos: qos.min(max_qos),
            // What the remote broker sent does not go back to it.
            no_local: true,
            retain_as_published: true,
            retain_handling: match session.connection {
                Some(_) => RetainHandling::SendIfNew,
                None => RetainHandling::DoNotSend,
            },
        };
        if known.is_some_and(|known| known.qos == options.qos) {
            return false;
        }
        if self.room_for_subscription(key, filter).is_err() {
            log::error!(
                "bridge: '{}' cannot be subscribed to",
                crate::log::Escaped(filter)
            );
            return false;
        }
        let subscriber = Subscriber {
            session: key,
            subscription_id: 0,
            options,
        };
        self.subscribe_one(filter, subscriber, effects);
        known.is_none()
    }

    /// Drops what is beyond a bridge's bounds.
    fn trim_bridge<E: Effects>(&mut self, key: SessionKey, effects: &mut E) {
        let session = &mut self.sessions[key.index()];
        let Some(Bounds {
            messages, bytes, ..
        }) = session.bridge.as_ref().map(|it| it.bounds)
        else {
            return;
        };
        let mut dropped = session.queue.trim(messages, bytes);
        dropped.extend(session.qos0_queue.trim(messages, bytes));
        self.drop_of_bridge(key, &dropped, effects);
    }

    fn drop_of_bridge<E: Effects>(&mut self, key: SessionKey, dropped: &[Queued], effects: &mut E) {
        let session = &mut self.sessions[key.index()];
        session.count_dropped(dropped.len());
        for dropped in dropped {
            session.store_dropped(dropped, effects);
        }
        self.sys.publish_dropped += dropped.len() as u64;
    }

    /// A remote broker has accepted the connection.
    pub(super) fn link<E: Effects>(&mut self, now: Time, link: &Link<'_>, effects: &mut E) {
        let key = self.by_client_id.get(link.client_id).copied();
        let key = key.filter(|key| self.sessions[key.index()].bridge.is_some());
        let Some(key) = key else {
            let close = Close {
                reason: ReasonCode::ADMINISTRATIVE_ACTION,
                what: "the bridge was removed",
            };
            return effects.close(link.connection, close);
        };
        if let Some(former) = self.sessions[key.index()].connection {
            self.detach(now, former, false, effects);
        }
        self.attach_link(now, key, link, effects);
        self.set_expiry(key, u32::MAX, true, effects);
        // What has waited for too long goes before anything is sent.
        let mut dropped = self.sessions[key.index()].drop_older(now, 0);
        dropped.extend(self.sessions[key.index()].queue.drop_expired(now));
        self.drop_of_bridge(key, &dropped, effects);
        let inflight = &mut self.sessions[key.index()].inflight;
        inflight.reconnected();
        if !link.session_present {
            self.begin_anew(key, effects);
        }
        self.lower_qos(now, key, link.max_qos, effects);
        self.owe_retained(key, !link.session_present, link.max_qos, effects);
        self.say_state_of(now, key, effects);
        self.give_kept_to_session(now, key, effects);
        self.pump(now, link.connection, effects);
    }

    fn attach_link<E: Effects>(
        &mut self,
        now: Time,
        key: SessionKey,
        link: &Link<'_>,
        effects: &mut E,
    ) {
        let connect = Connect {
            version: link.version,
            bridge: true,
            clean_start: false,
            keep_alive_s: 0,
            client_id: link.client_id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties {
                receive_maximum: link.window,
                ..ConnectProperties::default()
            },
        };
        let from = Newcomer {
            owner: Owner::bridges(),
            permissions: Permissions::allow_all(),
            has_reserve: false,
            offer: Capabilities {
                max_topic_alias: 0,
                ..Capabilities::default()
            },
            mount: "",
            is_link: true,
        };
        self.attach(now, link.connection, key, &connect, from, effects);
    }

    /// The remote broker has no session of the bridge (any more): what it may have got is sent as new, its identifiers count from the
    /// beginning, and what it had received and was not told to release is over (4.1).
    fn begin_anew<E: Effects>(&mut self, key: SessionKey, effects: &mut E) {
        let session = &mut self.sessions[key.index()];
        let (id, received) = (session.id, session.received.iter().collect::<Vec<_>>());
        for packet_id in session.inflight.begin_anew() {
            effects.store(&StoreOp::Done {
                session: id,
                packet_id,
            });
        }
        for packet_id in received {
            session.received.remove(packet_id);
            session.charge.remove(limits::RECEIVED_ID_BYTES);
            effects.store(&StoreOp::Released {
                session: id,
                packet_id,
            });
        }
    }

    /// Has everything that waits go out with no higher QoS than the remote broker takes [MQTT-3.2.2-11].
    fn lower_qos<E: Effects>(&mut self, now: Time, key: SessionKey, max: Qos, effects: &mut E) {
        if max == Qos::ExactlyOnce {
            return;
        }
        let session = &mut self.sessions[key.index()];
        if !session.inflight.is_above(max) && !session.queue.iter().any(|it| it.qos > max) {
            return;
        }
        let (id, lowered) = (session.id, session.inflight.lower(max));
        for packet_id in lowered.gone {
            effects.store(&StoreOp::Done {
                session: id,
                packet_id,
            });
        }
        if max > Qos::AtMostOnce {
            return self.tell_lowered(key, max, effects);
        }
        let mut unsent = lowered.messages;
        while let Some(queued) = session.queue.pop() {
            session.store_dropped(&queued, effects);
            unsent.push((queued.message, queued.retain));
        }
        for (message, retain) in unsent {
            session.qos0_queue.append(Queued {
                message,
                qos: Qos::AtMostOnce,
                retain,
                subscription_ids: Default::default(),
                share: None,
                since: now,
            });
        }
    }

    /// Lowers what waits, and tells the store anew of all that waits and is in flight, in order.
    fn tell_lowered<E: Effects>(&mut self, key: SessionKey, max: Qos, effects: &mut E) {
        let session = &mut self.sessions[key.index()];
        for entry in session.inflight.iter() {
            if let Stage::Publish {
                message,
                qos,
                retain,
                subscription_ids,
                share,
            } = &entry.stage
            {
                effects.store(&StoreOp::Done {
                    session: session.id,
                    packet_id: entry.packet_id,
                });
                effects.store(&StoreOp::Queued {
                    session: session.id,
                    message,
                    qos: *qos,
                    retain: *retain,
                    subscription_ids,
                    share: share.as_deref(),
                    packet_id: Some(entry.packet_id),
                });
            }
        }
        for queued in session.queue.iter() {
            session.store_dropped(queued, effects);
        }
        session
            .queue
            .each(|queued| queued.qos = queued.qos.min(max));
        for queued in session.queue.iter() {
            session.store_waiting(queued, effects);
        }
    }

    /// Subscribes with the QoS that the remote broker takes, and notes which retained messages it is to get: all of them when it may
    /// lack some, else those of QoS 0, of which it can have missed any.
    fn owe_retained<E: Effects>(
        &mut self,
        key: SessionKey,
        is_new: bool,
        max_qos: Qos,
        effects: &mut E,
    ) {
        let Some(bridge) = self.sessions[key.index()].bridge.as_mut() else {
            return;
        };
        bridge.max_qos = max_qos;
        let all = std::mem::take(&mut bridge.owes_retained) || is_new;
        let filters = bridge.filters.clone();
        self.sessions[key.index()].replays.clear();
        for (filter, qos) in filters {
            let qos = qos.min(max_qos);
            let is_owed = all || qos == Qos::AtMostOnce;
            let subscriber = Subscriber {
                session: key,
                subscription_id: 0,
                options: SubscriptionOptions {
                    qos,
                    no_local: true,
                    retain_as_published: true,
                    retain_handling: match is_owed {
                        true => RetainHandling::Send,
                        false => RetainHandling::DoNotSend,
                    },
                },
            };
            let known = self.router.find(&filter, key).map(|it| it.options.qos);
            if known.is_some_and(|known| is_owed || known != qos) {
                self.subscribe_one(&filter, subscriber, effects);
            }
        }
    }

    /// Says here whether a bridge is connected.
    pub(super) fn say_state_of<E: Effects>(&mut self, now: Time, key: SessionKey, effects: &mut E) {
        let session = &self.sessions[key.index()];
        let state: &[u8] = if session.connection.is_some() {
            b"1"
        } else {
            b"0"
        };
        let topic = session
            .bridge
            .as_ref()
            .and_then(|it| it.state_topic.clone());
        if let Some(topic) = topic {
            self.say_bridge_state(now, &topic, state, effects);
        }
    }

    fn say_bridge_state<E: Effects>(
        &mut self,
        now: Time,
        topic: &str,
        state: &[u8],
        effects: &mut E,
    ) {
        let mut outgoing = Outgoing {
            serial: 0,
            topic,
            properties: &[],
            payload: state,
            qos: Qos::AtLeastOnce,
            retain: true,
            expires_at: None,
            origin: None,
            kept: None,
            reached: false,
        };
        self.accept(now, &mut outgoing, None, effects);
    }

    /// The connection of a bridge has gone.
    pub(super) fn link_down<E: Effects>(&mut self, now: Time, key: SessionKey, effects: &mut E) {
        let session = &mut self.sessions[key.index()];
        if let Some(bridge) = &mut session.bridge {
            // What was not sent of them is owed again.
            bridge.owes_retained |= !session.replays.is_empty();
            session.replays.clear();
            self.say_state_of(now, key, effects);
        }
    }
}
