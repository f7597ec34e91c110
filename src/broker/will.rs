//! Wills (3.1.2.5): what is published for a client that went without saying so.

use super::Broker;
use super::effect::{Effects, StoreOp};
use super::input::Judge;
use super::publish::Outgoing;
use super::session::SessionKey;
use super::timers::{Time, Timer};
use crate::mqtt::Message;
use crate::mqtt::message::Parts;
use crate::mqtt::packet::Will;

/// A Will Message with what decides when it is sent.
#[derive(Debug)]
pub(super) struct PendingWill {
    pub message: Message,
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
    /// Message Expiry Interval in seconds; it runs from when the Will Message is published.
    pub expiry_s: Option<u32>,
    /// When the timer is armed for, once the client has gone; before that, and after a shutdown, there is none.
    pub due_at: Time,
}

impl Broker {
    /// Takes the Will of a CONNECT over.
    pub(super) fn will_of(&mut self, will: &Will<'_>) -> Box<PendingWill> {
        let message = Message::counted(
            self.new_message_id(),
            Parts {
                topic: will.topic,
                properties: will.properties,
                payload: will.payload,
                qos: will.qos,
                retain: will.retain,
                expires_at_ms: None,
            },
            &self.memory.tally,
        );
        Box::new(PendingWill {
            message,
            delay_s: will.delay_s,
            expiry_s: will.expiry_s,
            due_at: Time(0),
        })
    }

    /// Keeps a Will until its delay or its session ends, whichever is first [MQTT-3.1.3-9].
    pub(super) fn delay_will(&mut self, now: Time, key: SessionKey, mut will: Box<PendingWill>) {
        will.due_at = now.after_s(u64::from(will.delay_s));
        self.timers.arm(will.due_at, Timer::WillDelay(key));
        self.sessions[key.index()].pending_will = Some(will);
    }

    /// Takes back a Will that waits for its delay to end.
    pub(super) fn take_pending_will(&mut self, key: SessionKey) -> Option<Box<PendingWill>> {
        let will = self.sessions[key.index()].pending_will.take()?;
        self.timers.disarm(will.due_at, Timer::WillDelay(key));
        Some(will)
    }

    /// Drops the Wills that wait for their delay and whose clients may not publish them any more.
    pub(super) fn review_wills<E: Effects>(&mut self, judge: Judge<'_>, effects: &mut E) {
        let void: Vec<SessionKey> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                session.pending_will.as_ref().is_some_and(|will| {
                    let topic = will.message.topic();
                    !(judge.0)(&session.owner, &session.client_id, topic)
                })
            })
            .map(|(index, _)| SessionKey(index as u32))
            .collect();
        for key in void {
            self.take_pending_will(key);
            let session = self.sessions[key.index()].id;
            effects.store(&StoreOp::WillCleared { session });
        }
    }

    /// The delay of a session's Will has ended.
    pub(super) fn will_delay_ended<E: Effects>(
        &mut self,
        now: Time,
        key: SessionKey,
        effects: &mut E,
    ) {
        if let Some(will) = self.take_pending_will(key) {
            let session = self.sessions[key.index()].id;
            effects.store(&StoreOp::WillCleared { session });
            self.publish_will(now, key, &will, effects);
        }
    }

    /// Publishes a Will Message [MQTT-3.1.2-8]. `key` is the session of its client, gone or not: it is the publisher.
    pub(super) fn publish_will<E: Effects>(
        &mut self,
        now: Time,
        key: SessionKey,
        will: &PendingWill,
        effects: &mut E,
    ) {
        let message = &will.message;
        let mut outgoing = Outgoing {
            serial: 0,
            topic: message.topic(),
            properties: message.properties(),
            payload: message.payload(),
            qos: message.qos(),
            retain: message.retain(),
            expires_at: will
                .expiry_s
                .map(|expiry_s| now.after_s(u64::from(expiry_s))),
            // A Will Message without an expiry of its own can be queued as it is.
            origin: None,
            kept: will.expiry_s.is_none().then(|| message.clone()),
            reached: false,
        };
        self.accept(now, &mut outgoing, Some(key), effects);
    }
}
