//! What a store would hold that carries out every [`StoreOp`] to the letter, and the same read from the broker itself.
//!
//! An operation on something that is not there is a fault of the broker: the model panics instead of passing over it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::effect::{SessionId, StoreOp};
use super::super::inflight::Stage;
use super::super::queue::Queued;
use super::super::session::{Session, SessionKey};
use super::super::will::PendingWill;
use crate::broker::{Broker, Time};
use crate::mqtt::packet::SubscriptionOptions;
use crate::mqtt::{Message, Qos};

/// Everything durable.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Store {
    pub sessions: BTreeMap<u64, StoredSession>,
    pub retained: BTreeMap<String, Message>,
    /// What the keeper has, the oldest first.
    pub kept: Vec<Kept>,
    /// Whether messages of `$SYS` are not kept.
    pub without_sys: bool,
}

/// A message that the keeper has, whose it was, and until when.
pub(super) type Kept = (Message, Option<SessionId>, Time);

/// A durable session.
#[derive(Debug, Default, PartialEq)]
pub(super) struct StoredSession {
    pub client_id: String,
    pub user: Option<String>,
    pub expiry_s: u32,
    /// Since when its client is away.
    pub away_since: Option<Time>,
    pub subscriptions: BTreeMap<String, (SubscriptionOptions, Option<u32>)>,
    pub queued: Vec<Waiting>,
    /// QoS 0 messages, while the client is away.
    pub queued_qos0: Vec<Waiting>,
    pub inflight: Vec<(u16, Flying)>,
    pub received: BTreeSet<u16>,
    pub will: Option<(Message, u32, Option<u32>)>,
}

/// A message and how it is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiting {
    pub message: Message,
    pub qos: Qos,
    pub retain: bool,
    pub subscription_ids: Vec<u32>,
    pub share: Option<String>,
}

impl Waiting {
    fn is(&self, id: u64, share: Option<&str>) -> bool {
        self.message.id() == id && self.share.as_deref() == share
    }
}

/// What is in flight under an identifier.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Flying {
    Publish(Waiting),
    PubRel,
}

impl Store {
    fn session(&mut self, id: super::super::effect::SessionId) -> &mut StoredSession {
        self.sessions
            .get_mut(&id.0)
            .unwrap_or_else(|| panic!("the store has no session {id:?}"))
    }

    /// Carries an operation out.
    pub fn apply(&mut self, now: Time, operation: &StoreOp<'_>) {
        match *operation {
            StoreOp::SessionMade {
                session,
                client_id,
                owner,
                expiry_s,
            } => {
                let made = StoredSession {
                    client_id: client_id.to_owned(),
                    user: owner.user().map(str::to_owned),
                    expiry_s,
                    ..StoredSession::default()
                };
                assert!(self.sessions.insert(session.0, made).is_none());
            }
            StoreOp::SessionChanged {
                session,
                expiry_s,
                connected,
            } => {
                let session = self.session(session);
                session.expiry_s = expiry_s;
                session.away_since = (!connected).then_some(now);
                if connected {
                    session.queued_qos0.clear();
                }
            }
            StoreOp::SessionEnded { session } => {
                assert!(self.sessions.remove(&session.0).is_some());
            }
            StoreOp::Subscribed {
                session,
                filter,
                options,
                subscription_id,
            } => {
                let subscriptions = &mut self.session(session).subscriptions;
                subscriptions.insert(filter.to_owned(), (options, subscription_id));
            }
            StoreOp::Unsubscribed { session, filter } => {
                assert!(self.session(session).subscriptions.remove(filter).is_some());
            }
            StoreOp::Retained { message } => {
                self.retained
                    .insert(message.topic().to_owned(), message.clone());
            }
            StoreOp::RetainCleared { topic } => assert!(self.retained.remove(topic).is_some()),
            StoreOp::WillSet {
                session,
                message,
                delay_s,
                expiry_s,
            } => self.session(session).will = Some((message.clone(), delay_s, expiry_s)),
            StoreOp::WillCleared { session } => {
                assert!(self.session(session).will.take().is_some());
            }
            StoreOp::Kept { .. } | StoreOp::KeptGone { .. } => self.apply_to_kept(operation),
            _ if self.without_sys && !self.knows(operation) => {}
            _ => self.apply_to_messages(operation),
        }
    }

    fn apply_to_kept(&mut self, operation: &StoreOp<'_>) {
        match *operation {
            StoreOp::Kept {
                message,
                publisher,
                until,
            } => {
                let others = self.kept.iter();
                assert!(others.map(|it| it.0.id()).all(|id| id != message.id()));
                self.kept.push((message.clone(), publisher, until));
            }
            StoreOp::KeptGone { message } => {
                let position = self.kept.iter().position(|it| it.0.id() == message);
                self.kept.remove(position.expect("it is kept"));
            }
            _ => unreachable!("apply knows the others"),
        }
    }

    /// Whether an operation concerns a message that is kept.
    fn knows(&self, operation: &StoreOp<'_>) -> bool {
        match *operation {
            StoreOp::Queued { message, .. } => !message.topic().starts_with("$SYS/"),
            StoreOp::Inflight {
                session,
                message,
                share,
                ..
            }
            | StoreOp::Dropped {
                session,
                message,
                share,
            } => {
                let session = &self.sessions[&session.0];
                let mut all = session.queued.iter().chain(&session.queued_qos0);
                all.any(|it| it.is(message, share))
            }
            StoreOp::Received { session, packet_id } | StoreOp::Done { session, packet_id } => {
                let mut inflight = self.sessions[&session.0].inflight.iter();
                inflight.any(|(id, _)| *id == packet_id.value())
            }
            _ => true,
        }
    }

    fn apply_to_messages(&mut self, operation: &StoreOp<'_>) {
        match *operation {
            StoreOp::Queued {
                session,
                message,
                qos,
                retain,
                subscription_ids,
                share,
                packet_id,
            } => {
                let waiting = Waiting {
                    message: message.clone(),
                    qos,
                    retain,
                    subscription_ids: subscription_ids.to_vec(),
                    share: share.map(str::to_owned),
                };
                let session = self.session(session);
                let waits =
                    qos > Qos::AtMostOnce || (session.away_since.is_some() && packet_id.is_none());
                assert!(waits, "QoS 0 waits in the store for clients that are away");
                match packet_id {
                    Some(id) => session
                        .inflight
                        .push((id.value(), Flying::Publish(waiting))),
                    None if qos == Qos::AtMostOnce => session.queued_qos0.push(waiting),
                    None => session.queued.push(waiting),
                }
            }
            StoreOp::Inflight {
                session,
                message,
                share,
                packet_id,
            } => {
                let session = self.session(session);
                let waiting = session.take_queued(message, share);
                let flying = (packet_id.value(), Flying::Publish(waiting));
                session.inflight.push(flying);
            }
            StoreOp::Received { session, packet_id } => {
                let flying = self.session(session).flying(packet_id.value());
                flying.1 = Flying::PubRel;
            }
            StoreOp::Done { session, packet_id } => {
                let session = self.session(session);
                session.flying(packet_id.value());
                session.inflight.retain(|(id, _)| *id != packet_id.value());
            }
            StoreOp::Dropped {
                session,
                message,
                share,
            } => {
                self.session(session).take_queued(message, share);
            }
            StoreOp::Taken { session, packet_id } => {
                assert!(self.session(session).received.insert(packet_id.value()));
            }
            StoreOp::Released { session, packet_id } => {
                assert!(self.session(session).received.remove(&packet_id.value()));
            }
            _ => unreachable!("apply knows the others"),
        }
    }

    /// What the broker holds that is durable.
    pub fn held_by(broker: &Broker) -> Store {
        let sessions = broker
            .sessions
            .iter()
            .filter(|(_, session)| session.is_durable())
            .map(|(index, session)| {
                let key = SessionKey(index as u32);
                (session.id.0, stored(broker, key, session))
            });
        let retained = broker.retained.iter();
        let durable = retained.filter(|message| !message.topic().starts_with("$SYS/"));
        Store {
            sessions: sessions.collect(),
            without_sys: false,
            kept: broker
                .keeper
                .iter()
                .map(|kept| (kept.message.clone(), kept.publisher, kept.until))
                .collect(),
            retained: durable
                .map(|message| (message.topic().to_owned(), message.clone()))
                .collect(),
        }
    }
}

impl StoredSession {
    /// The message with this id that came through this Shared Subscription or none.
    fn take_queued(&mut self, id: u64, share: Option<&str>) -> Waiting {
        let is_it = |it: &Waiting| it.is(id, share);
        let all = self.queued.iter().chain(&self.queued_qos0);
        assert_eq!(all.filter(|it| is_it(it)).count(), 1, "it is queued");
        match self.queued.iter().position(is_it) {
            Some(position) => self.queued.remove(position),
            None => {
                let position = self.queued_qos0.iter().position(is_it);
                self.queued_qos0
                    .remove(position.expect("it is one of both"))
            }
        }
    }

    fn flying(&mut self, packet_id: u16) -> &mut (u16, Flying) {
        let mut inflight = self.inflight.iter_mut();
        let found = inflight.find(|(id, _)| *id == packet_id);
        found.expect("it is in flight")
    }
}

fn stored(broker: &Broker, key: SessionKey, session: &Session) -> StoredSession {
    let subscriptions = session.filters.iter().map(|filter| {
        let found = broker
            .router
            .find(filter, key)
            .or_else(|| broker.shares.find(filter, key))
            .expect("the router has every filter of a session");
        let id = (found.subscription_id != 0).then_some(found.subscription_id);
        (filter.to_string(), (found.options, id))
    });
    let waiting = |queued: &Queued| Waiting {
        message: queued.message.clone(),
        qos: queued.qos,
        retain: queued.retain,
        subscription_ids: queued.subscription_ids.to_vec(),
        share: queued.share.as_deref().map(str::to_owned),
    };
    let away = session.connection.is_none();
    let queued_qos0 = session.qos0_queue.iter().filter(|_| away);
    let inflight = session.inflight.iter().map(|entry| {
        let flying = match &entry.stage {
            Stage::PubRel => Flying::PubRel,
            Stage::Publish {
                message,
                qos,
                retain,
                subscription_ids,
                share,
                ..
            } => Flying::Publish(Waiting {
                message: message.clone(),
                qos: *qos,
                retain: *retain,
                subscription_ids: subscription_ids.to_vec(),
                share: share.as_deref().map(str::to_owned),
            }),
        };
        (entry.packet_id.value(), flying)
    });
    let of_connection = session.connection.and_then(|id| {
        let connection = broker.connections.get(id.index as usize)?.as_ref()?;
        connection.will.as_deref()
    });
    let will = of_connection.or(session.pending_will.as_deref());
    let will_of = |will: &PendingWill| (will.message.clone(), will.delay_s, will.expiry_s);
    StoredSession {
        client_id: session.client_id.to_string(),
        user: session.owner.user().map(str::to_owned),
        expiry_s: session.expiry_s,
        away_since: away.then_some(session.offline_since),
        subscriptions: subscriptions.collect(),
        queued: session.queue.iter().map(waiting).collect(),
        queued_qos0: queued_qos0.map(waiting).collect(),
        inflight: inflight.collect(),
        received: session.received.iter().map(|id| id.value()).collect(),
        will: will.map(will_of),
    }
}
