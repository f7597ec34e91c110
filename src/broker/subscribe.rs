//! SUBSCRIBE and UNSUBSCRIBE (3.8 to 3.11).

use std::rc::Rc;

use smallvec::SmallVec;

use super::effect::{Denial, Effects, StoreOp};
use super::input::ConnectionId;
use super::queue::SubscriptionIds;
use super::replay::Replay;
use super::router::{Router, Subscriber};
use super::session::SessionKey;
use super::timers::Time;
use super::{Broker, limits, share};
use crate::acl::Action;
use crate::mqtt::packet::{RetainHandling, ServerPacket, Subscribe, Unsubscribe};
use crate::mqtt::{ReasonCode, topic};

/// The codes of a SUBACK or UNSUBACK; most have one.
type Reasons = SmallVec<[ReasonCode; 4]>;

/// Why a subscription is refused, for the SUBACK and in words.
type Refusal = (ReasonCode, &'static str);

impl Broker {
    /// SUBSCRIBE (3.8): each filter is answered for itself, and then retained messages follow.
    pub(super) fn subscribe<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        key: SessionKey,
        subscribe: &Subscribe<'_>,
        effects: &mut E,
    ) {
        // A bridge of 3.1 or 3.1.1 cannot ask for what it needs: it gets it, as mosquitto gives it.
        let Some(connection) = self.connection(from) else {
            return;
        };
        let is_bridge = connection.bridge && !connection.version.is_v5();
        let max_qos = connection.offer.max_qos;
        let subscription_id = subscribe.subscription_id;
        let mut reasons = Reasons::new();
        // One Reason String is for all filters: it is about the first that was refused.
        let mut reason_string = None;
        let mut kept = Vec::new();
        for asked in &subscribe.filters {
            let reason = match self.may_subscribe(now, from, key, asked.filter, effects) {
                Ok(()) => {
                    let mut options = asked.options;
                    if is_bridge {
                        (options.no_local, options.retain_as_published) = (true, true);
                    }
                    // [MQTT-3.2.2-10]: any QoS may be asked for.
                    options.qos = options.qos.min(max_qos);
                    let subscriber = Subscriber {
                        session: key,
                        subscription_id: subscription_id.unwrap_or(0),
                        options,
                    };
                    let filter = self.subscribe_one(asked.filter, subscriber, effects);
                    kept.extend(self.take_kept_for(now, &filter, subscriber, effects));
                    ReasonCode(options.qos as u8)
                }
                Err((reason, why)) => {
                    reason_string = reason_string.or(Some(why));
                    reason
                }
            };
            reasons.push(reason);
        }
        let packet = ServerPacket::SubAck {
            packet_id: subscribe.packet_id,
            reasons: &reasons,
            reason_string,
        };
        self.send(from, &packet, effects);
        for (kept, grant) in &kept {
            self.give(now, key, kept, grant, effects);
        }
        self.pump(now, from, effects);
    }

    fn may_subscribe<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        key: SessionKey,
        filter: &str,
        effects: &mut E,
    ) -> Result<(), Refusal> {
        let asked = self.room_for_subscription(key, filter)?;
        if let Some(connection) = self.connection(from)
            && !connection.permissions.may_subscribe(asked.filter)
        {
            let mut denial = Denial::of(&connection.permissions, Action::Subscribe, asked.filter);
            denial.topic = filter;
            effects.denied(from, &denial);
            let why = "not authorized to subscribe to this filter";
            return Err((ReasonCode::NOT_AUTHORIZED, why));
        }
        if asked.bytes > 0 && !self.make_room(now, asked.bytes, Some(key), effects) {
            let why = "no memory for the subscription";
            return Err((ReasonCode::QUOTA_EXCEEDED, why));
        }
        Ok(())
    }

    /// Whether a filter is well formed and within the bounds of its kind.
    pub(super) fn room_for_subscription<'a>(
        &self,
        key: SessionKey,
        filter: &'a str,
    ) -> Result<Asked<'a>, Refusal> {
        let quota = |why| Err((ReasonCode::QUOTA_EXCEEDED, why));
        let Some(subscribed) = topic::subscribed(filter) else {
            return Err((ReasonCode::TOPIC_FILTER_INVALID, "not a topic filter"));
        };
        if subscribed.share.is_some() && share::is_full(&self.shares, filter) {
            return quota("the shared subscription has too many members");
        }
        let levels = filter.bytes().filter(|byte| *byte == b'/').count() + 1;
        let filters = &self.sessions[key.index()].filters;
        let is_new = filters
            .binary_search_by(|known| (**known).cmp(filter))
            .is_err();
        let is_full = is_new && filters.len() >= limits::SUBSCRIPTIONS_PER_SESSION_MAX;
        if levels > limits::FILTER_LEVELS_MAX {
            return quota("the filter has too many levels");
        }
        if is_full {
            return quota("too many subscriptions");
        }
        let bytes = cost(filter) + Router::cost(filter, levels);
        Ok(Asked {
            filter: subscribed.filter,
            bytes: if is_new { bytes } else { 0 },
        })
    }

    /// Makes or replaces one subscription [MQTT-3.8.4-3]; its filter as it is kept.
    pub(super) fn subscribe_one<E: Effects>(
        &mut self,
        asked: &str,
        subscriber: Subscriber,
        effects: &mut E,
    ) -> Rc<str> {
        let (key, options) = (subscriber.session, subscriber.options);
        let subscription_id = Some(subscriber.subscription_id).filter(|id| *id != 0);
        let (filter, is_new) = self.insert_subscription(asked, subscriber);
        let is_shared = topic::is_shared(&filter);
        let session = &mut self.sessions[key.index()];
        if session.is_durable() {
            effects.store(&StoreOp::Subscribed {
                session: session.id,
                filter: &filter,
                options,
                subscription_id,
            });
        }
        let wants_retained = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        // 4.8.2: a Shared Subscription gets no retained messages when it is made.
        if wants_retained && !is_shared && self.retained.next_matching(&filter, None).is_some() {
            // A client that subscribes again and again while it does not read has one replay a filter.
            let mut subscription_ids = SubscriptionIds::default();
            subscription_id
                .into_iter()
                .for_each(|id| subscription_ids.push(id));
            session.replays.push(Replay {
                filter: filter.clone(),
                qos: options.qos,
                subscription_ids,
                since: self.last_message_id,
                after: None,
            });
        }
        filter
    }

    /// Gives a session a subscription, or replaces its earlier one to the same filter, for which there MUST be room. The filter as
    /// it is kept, and whether it is new.
    pub(super) fn insert_subscription(
        &mut self,
        filter: &str,
        subscriber: Subscriber,
    ) -> (Rc<str>, bool) {
        let session = &mut self.sessions[subscriber.session.index()];
        let known = session
            .filters
            .binary_search_by(|known| (**known).cmp(filter));
        let filter = match known {
            Ok(position) => session.filters[position].clone(),
            Err(position) => {
                let filter: Rc<str> = Rc::from(filter);
                if session.filters.capacity() == 0 {
                    // Most sessions have one subscription for ever.
                    session.filters.reserve_exact(1);
                }
                session.filters.insert(position, filter.clone());
                session.charge.add(cost(&filter));
                filter
            }
        };
        if topic::is_shared(&filter) {
            self.shares.subscribe(&filter, subscriber);
        } else {
            self.router.subscribe(&filter, subscriber);
        }
        (filter, known.is_err())
    }

    /// UNSUBSCRIBE (3.10). What is queued or in flight already goes on [MQTT-3.10.4-2] [MQTT-3.10.4-3].
    pub(super) fn unsubscribe<E: Effects>(
        &mut self,
        now: Time,
        from: ConnectionId,
        key: SessionKey,
        unsubscribe: &Unsubscribe<'_>,
        effects: &mut E,
    ) {
        let reasons: Reasons = unsubscribe
            .filters
            .iter()
            .map(|filter| self.unsubscribe_one(now, key, filter, effects))
            .collect();
        let packet_id = unsubscribe.packet_id;
        self.send(
            from,
            &ServerPacket::UnsubAck {
                packet_id,
                reasons: &reasons,
            },
            effects,
        );
        // What waited for the retained messages of a filter waits for them no longer.
        self.pump(now, from, effects);
    }

    pub(super) fn unsubscribe_one<E: Effects>(
        &mut self,
        now: Time,
        key: SessionKey,
        filter: &str,
        effects: &mut E,
    ) -> ReasonCode {
        let session = &mut self.sessions[key.index()];
        let Ok(position) = session
            .filters
            .binary_search_by(|known| (**known).cmp(filter))
        else {
            return ReasonCode::NO_SUBSCRIPTION_EXISTED;
        };
        session.filters.remove(position);
        session.charge.remove(cost(filter));
        session.replays.remove(filter);
        if session.is_durable() {
            effects.store(&StoreOp::Unsubscribed {
                session: session.id,
                filter,
            });
        }
        if topic::is_shared(filter) {
            self.shares.unsubscribe(filter, key);
            // What it has not been sent is the others'. What it has been sent it may still acknowledge.
            let released = self.sessions[key.index()].release_queued(filter, effects);
            self.redeliver(now, key, released, effects);
        } else {
            self.router.unsubscribe(filter, key);
        }
        ReasonCode::SUCCESS
    }
}

/// A subscription that may be made, as far as its filter goes.
pub(super) struct Asked<'a> {
    /// What messages are matched with.
    pub filter: &'a str,
    /// What it takes, in bytes; 0 when it replaces another.
    pub bytes: usize,
}

/// What a filter costs its session, in bytes.
fn cost(filter: &str) -> usize {
    filter.len() + limits::SUBSCRIPTION_BYTES
}
