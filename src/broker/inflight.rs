//! QoS 1 and 2 messages on their way to one client, and the identifiers of those on their way from it (4.3, 4.4).
//!
//! Messages stay in the order in which they were first sent, so that they are sent again in that
//! order [MQTT-4.6.0-1]. What is sent is the broker's decision; here is only what was.

use std::collections::VecDeque;
use std::rc::Rc;

use super::queue::SubscriptionIds;
use super::share::Released;
use crate::mqtt::{Message, PacketId, Qos};

/// What has been sent and not yet completed.
#[derive(Debug)]
pub(super) struct Inflight {
    entries: VecDeque<Entry>,
    next_id: PacketId,
    /// Entries from this one on have not been sent over the present connection.
    unsent_from: usize,
}

/// One message in flight.
#[derive(Debug)]
pub(super) struct Entry {
    pub packet_id: PacketId,
    pub stage: Stage,
    /// Whether it was sent over an earlier connection: then DUP is set [MQTT-3.3.1-1].
    pub duplicate: bool,
}

/// How far a message has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// PUBLISH is sent or to be sent; PUBACK or PUBREC is to come.
    Publish {
        message: Message,
        qos: Qos,
        retain: bool,
        subscription_ids: SubscriptionIds,
        /// The name of the Shared Subscription that it came through.
        share: Option<Rc<str>>,
    },
    /// PUBREL is sent or to be sent; PUBCOMP is to come.
    PubRel,
}

/// What an acknowledgement met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// Nothing in flight has that identifier.
    Unknown,
    /// It does not fit what is in flight: a protocol error of the client.
    Mismatch,
    /// The message is done.
    Done,
    /// PUBREL is to be sent.
    Release,
}

/// What is no longer in flight because the other side takes no such QoS.
#[derive(Debug, Default)]
pub(super) struct Lowered {
    /// The identifiers.
    pub gone: Vec<PacketId>,
    /// Messages that are to be sent without one, and their RETAIN flags.
    pub messages: Vec<(Message, bool)>,
}

impl Default for Inflight {
    fn default() -> Self {
        Inflight {
            entries: VecDeque::new(),
            next_id: PacketId::FIRST,
            unsent_from: 0,
        }
    }
}

impl Inflight {
    /// Entries that were sent over the present connection: what a Receive Maximum bounds.
    #[inline]
    pub fn sent(&self) -> usize {
        self.unsent_from
    }

    /// Whether everything in flight has been sent over the present connection.
    #[inline]
    pub fn all_sent(&self) -> bool {
        self.unsent_from == self.entries.len()
    }

    /// Entries in all.
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes the QoS 1 messages whose Shared Subscription is asked for, with their identifiers.
    pub fn take_unacknowledged(
        &mut self,
        is_asked: &impl Fn(&Option<Rc<str>>) -> bool,
    ) -> Vec<(PacketId, Released)> {
        let mut taken = Vec::new();
        let mut position = 0;
        while let Some(entry) = self.entries.get(position) {
            let Stage::Publish {
                message,
                qos: Qos::AtLeastOnce,
                retain,
                share,
                ..
            } = &entry.stage
            else {
                position += 1;
                continue;
            };
            let Some(name) = share.as_ref().filter(|_| is_asked(share)) else {
                position += 1;
                continue;
            };
            let released = Released {
                share: name.clone(),
                message: message.clone(),
                retain: *retain,
            };
            taken.push((entry.packet_id, released));
            self.entries.remove(position);
            if position < self.unsent_from {
                self.unsent_from -= 1;
            }
        }
        taken
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, in the order in which they were first sent.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// An identifier that nothing in flight has [MQTT-2.2.1-2].
    pub fn new_id(&mut self) -> PacketId {
        let mut id = self.next_id;
        // At most 65,535 are in flight, and the caller's window is below that: the loop ends.
        while id == PacketId::LINK || self.position(id).is_some() {
            id = id.next();
        }
        self.next_id = id.next();
        id
    }

    /// Notes a message that has just been sent for the first time. The caller MUST have sent all others.
    pub fn push_sent(&mut self, entry: Entry) {
        debug_assert!(self.all_sent());
        self.entries.push_back(entry);
        self.unsent_from = self.entries.len();
    }

    /// Takes back what was in flight before a restart, after all others; `false` when its identifier is in use.
    pub fn restore(&mut self, packet_id: PacketId, stage: Stage) -> bool {
        let is_free = self.position(packet_id).is_none();
        if is_free {
            self.entries.push_back(Entry {
                packet_id,
                stage,
                // It may have been sent.
                duplicate: true,
            });
        }
        is_free
    }

    /// The next new identifier is this one or, if that is in use, the first one after it that is not.
    pub fn begin_with(&mut self, id: PacketId) {
        self.next_id = id;
    }

    /// The client has a new connection: everything is to be sent again, in order [MQTT-4.4.0-1].
    pub fn reconnected(&mut self) {
        for entry in self.entries.range_mut(..self.unsent_from) {
            entry.duplicate = true;
        }
        self.unsent_from = 0;
    }

    /// The other side has forgotten everything: what it may have got is to be sent as new, and what it was to release is over. The
    /// identifiers of the latter.
    pub fn begin_anew(&mut self) -> Vec<PacketId> {
        let mut over = Vec::new();
        self.entries.retain_mut(|entry| {
            entry.duplicate = false;
            let is_over = matches!(entry.stage, Stage::PubRel);
            over.extend(is_over.then_some(entry.packet_id));
            !is_over
        });
        self.unsent_from = 0;
        over
    }

    /// Whether something is in flight with a higher QoS than this.
    pub fn is_above(&self, max: Qos) -> bool {
        self.entries.iter().any(|entry| match &entry.stage {
            Stage::Publish { qos, .. } => *qos > max,
            Stage::PubRel => Qos::ExactlyOnce > max,
        })
    }

    /// The other side takes no QoS above `max`, which is not 2. Nothing MUST have been sent over the present connection.
    pub fn lower(&mut self, max: Qos) -> Lowered {
        let mut lowered = Lowered::default();
        self.entries.retain_mut(|entry| {
            if let Stage::Publish { qos, .. } = &mut entry.stage
                && max > Qos::AtMostOnce
            {
                entry.duplicate &= *qos <= max;
                *qos = max.min(*qos);
                return true;
            }
            lowered.gone.push(entry.packet_id);
            if let Stage::Publish {
                message, retain, ..
            } = &entry.stage
            {
                lowered.messages.push((message.clone(), *retain));
            }
            false
        });
        lowered
    }

    /// The next entry to send again.
    pub fn next_unsent(&self) -> Option<&Entry> {
        self.entries.get(self.unsent_from)
    }

    /// Notes that the next entry was sent again.
    pub fn mark_sent(&mut self) {
        self.unsent_from += 1;
    }

    /// Gives up the next entry to send again: the client does not take it. Its identifier.
    pub fn drop_unsent(&mut self) -> Option<PacketId> {
        self.entries
            .remove(self.unsent_from)
            .map(|entry| entry.packet_id)
    }

    /// PUBACK for an identifier.
    pub fn acknowledged(&mut self, id: PacketId) -> Met {
        self.complete(id, |stage| {
            matches!(
                stage,
                Stage::Publish {
                    qos: Qos::AtLeastOnce,
                    ..
                }
            )
        })
    }

    /// PUBCOMP for an identifier.
    pub fn completed(&mut self, id: PacketId) -> Met {
        self.complete(id, |stage| matches!(stage, Stage::PubRel))
    }

    /// PUBREC with an error for an identifier: the client does not want the message [MQTT-4.3.3-4].
    pub fn refused(&mut self, id: PacketId) -> Met {
        self.complete(id, |stage| {
            matches!(
                stage,
                Stage::Publish {
                    qos: Qos::ExactlyOnce,
                    ..
                }
            )
        })
    }

    /// PUBREC for an identifier.
    pub fn received(&mut self, id: PacketId) -> Met {
        let Some(position) = self.position(id) else {
            return Met::Unknown;
        };
        let entry = &mut self.entries[position];
        match entry.stage {
            Stage::Publish {
                qos: Qos::ExactlyOnce,
                ..
            } => {
                entry.stage = Stage::PubRel;
                Met::Release
            }
            Stage::PubRel => Met::Release,
            Stage::Publish { .. } => Met::Mismatch,
        }
    }

    fn complete(&mut self, id: PacketId, fits: impl Fn(&Stage) -> bool) -> Met {
        let Some(position) = self.position(id) else {
            return Met::Unknown;
        };
        if !fits(&self.entries[position].stage) {
            return Met::Mismatch;
        }
        self.entries.remove(position);
        if position < self.unsent_from {
            self.unsent_from -= 1;
        }
        if self.entries.is_empty() {
            // An idle session holds no buffer, once it has been busy beyond a small window.
            self.entries.shrink_to(4);
        }
        Met::Done
    }

    /// Clients acknowledge in order [MQTT-4.6.0-2], so the search ends at once.
    fn position(&self, id: PacketId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.packet_id == id)
    }
}

/// The identifiers of QoS 2 messages that a client sent and has not released (4.3.3).
///
/// A sorted list: two bytes each, and clients count upwards, so that a new one goes to the end.
#[derive(Debug, Default)]
pub(super) struct Received {
    ids: Vec<PacketId>,
}

impl Received {
    /// Whether a message with this identifier was taken.
    pub fn contains(&self, id: PacketId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// All of them, sorted.
    pub fn iter(&self) -> impl Iterator<Item = PacketId> {
        self.ids.iter().copied()
    }

    /// How many it has memory for.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.ids.capacity()
    }

    /// Notes an identifier.
    pub fn insert(&mut self, id: PacketId) {
        if let Err(position) = self.ids.binary_search(&id) {
            self.ids.insert(position, id);
        }
    }

    /// Releases an identifier; whether it was there.
    pub fn remove(&mut self, id: PacketId) -> bool {
        match self.ids.binary_search(&id) {
            Ok(position) => {
                self.ids.remove(position);
                if self.ids.is_empty() && self.ids.capacity() > 16 {
                    // A busy session that rests holds no buffer; a small one is worth keeping.
                    self.ids = Vec::new();
                }
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::message::Parts;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).expect("not 0")
    }

    fn entry(inflight: &mut Inflight, qos: Qos) -> PacketId {
        let packet_id = inflight.new_id();
        let parts = Parts {
            topic: "t",
            properties: &[],
            payload: &[],
            qos,
            retain: false,
            expires_at_ms: None,
        };
        inflight.push_sent(Entry {
            packet_id,
            stage: Stage::Publish {
                message: Message::new(0, parts),
                qos,
                retain: false,
                subscription_ids: SubscriptionIds::default(),
                share: None,
            },
            duplicate: false,
        });
        packet_id
    }

    #[test]
    fn an_identifier_in_use_is_not_given_twice_2_2_1_4() {
        let mut inflight = Inflight::default();
        let first = entry(&mut inflight, Qos::AtLeastOnce);
        inflight.next_id = first;
        assert_eq!(entry(&mut inflight, Qos::AtLeastOnce), first.next());
    }

    #[test]
    fn an_acknowledgement_must_fit_the_quality_of_service() {
        let mut inflight = Inflight::default();
        let (one, two) = (
            entry(&mut inflight, Qos::AtLeastOnce),
            entry(&mut inflight, Qos::ExactlyOnce),
        );
        assert_eq!(inflight.acknowledged(two), Met::Mismatch);
        assert_eq!(inflight.received(one), Met::Mismatch);
        assert_eq!(inflight.completed(two), Met::Mismatch);
        assert_eq!(inflight.acknowledged(one), Met::Done);
        assert_eq!(inflight.acknowledged(one), Met::Unknown);
        assert_eq!(inflight.received(two), Met::Release);
        assert_eq!(inflight.received(two), Met::Release);
        assert_eq!(inflight.completed(two), Met::Done);
        assert_eq!(inflight.iter().count(), 0);
    }

    #[test]
    fn a_new_connection_gets_everything_again_in_order_as_duplicates_4_4_0_1() {
        let mut inflight = Inflight::default();
        let ids = [Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::AtLeastOnce]
            .map(|qos| entry(&mut inflight, qos));
        inflight.received(ids[1]);
        inflight.reconnected();
        assert_eq!(inflight.sent(), 0);
        for id in ids {
            let entry = inflight.next_unsent().expect("three are to be sent");
            assert_eq!((entry.packet_id, entry.duplicate), (id, true));
            inflight.mark_sent();
        }
        assert!(inflight.all_sent());
    }

    #[test]
    fn received_identifiers_are_kept_until_they_are_released() {
        let mut received = Received::default();
        received.insert(id(7));
        received.insert(id(3));
        received.insert(id(7));
        assert_eq!(received.len(), 2);
        assert!(received.contains(id(3)));
        assert!(received.remove(id(3)) && !received.remove(id(3)));
    }
}
