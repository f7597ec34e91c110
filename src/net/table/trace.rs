//! The trace: what happened on connections, the last of it, for whoever looks for a fault.
//!
//! Connections, their ends and denials are always in it. Packets are while somebody watches their client or their topic
//! ([`Trace::watch`]); otherwise a message costs a look at one flag ([`Table::is_tracing`]). Of a packet it has the type, the topic, flags,
//! sizes and codes, and never a payload, a password or a property.
//!
//! It is a ring: the oldest goes when there are too many. Each event is also noted where a process that dies can still write it
//! (`log::black_box`). It decides nothing, and a watch ends by itself.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Table;
use super::denials::{Denied, TEXT_BYTES_MAX, cut, cut_to};
use crate::broker::effect::Denial;
use crate::broker::{Close, ConnectionId, Delivery, Time};
use crate::log::{Escaped, black_box};
use crate::mqtt::packet::{Ack, ClientPacket, ServerPacket};
use crate::mqtt::{ReasonCode, topic};

/// Events that are remembered, of some 150 bytes each, and of 2 KB where clients chose the longest names.
pub const EVENTS_MAX: usize = 1000;

/// So many bytes are remembered of what there is to say of one.
const WORDS_BYTES_MAX: usize = 1024;

/// Watches at a time: each packet is held to all of them.
pub const WATCHES_MAX: usize = 8;

/// Which way something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    In,
    /// To the client.
    Out,
    /// It is no packet.
    Event,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number; they grow by one.
    pub number: u64,
    /// When.
    pub at: Time,
    /// Which way.
    pub way: Way,
    /// Whose; empty where that is not known.
    pub client_id: Rc<str>,
    /// The type of packet, or of event.
    pub what: &'static str,
    /// The topic, or the first filter.
    pub topic: Option<Box<str>>,
    /// The rest.
    pub detail: Detail,
    /// What there is to say besides.
    pub words: Option<Box<str>>,
}

/// The numbers of a packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Detail {
    /// The QoS.
    pub qos: Option<u8>,
    /// RETAIN.
    pub retain: bool,
    /// DUP.
    pub duplicate: bool,
    /// The Packet Identifier.
    pub packet_id: Option<u16>,
    /// Bytes of the payload, or the number of filters.
    pub size: Option<u64>,
    /// The Reason Code.
    pub reason: Option<u8>,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// A client.
    Client(String),
    /// The topics of a filter.
    Filter(String),
}

/// The trace.
#[derive(Debug, Default)]
pub struct Trace {
    events: VecDeque<Event>,
    /// The number of the next event.
    next: u64,
    watches: Vec<(Watched, Time)>,
}

impl Trace {
    /// Watches something until a moment; anew if it is watched already.
    ///
    /// # Errors
    /// So much is watched already.
    pub fn watch(&mut self, watched: Watched, now: Time, until: Time) -> Result<(), &'static str> {
        self.watches
            .retain(|(known, end)| *known != watched && *end > now);
        if self.watches.len() >= WATCHES_MAX {
            return Err("too much is watched already");
        }
        self.watches.push((watched, until));
        Ok(())
    }

    /// Watches something no more, or nothing at all.
    pub fn stop(&mut self, watched: Option<&Watched>) {
        self.watches
            .retain(|(known, _)| watched.is_some_and(|watched| known != watched));
    }

    /// What is watched, and until when.
    pub fn watches(&mut self, now: Time) -> &[(Watched, Time)] {
        self.watches.retain(|(_, until)| *until > now);
        &self.watches
    }

    /// The remembered events from a number on, the oldest first.
    pub fn from(&self, number: u64) -> impl Iterator<Item = &Event> {
        let first = self.first();
        let skip = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        self.events.iter().skip(skip)
    }

    /// The number of the oldest event that is remembered.
    pub fn first(&self) -> u64 {
        self.next - self.events.len() as u64
    }

    /// The number of the next event.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether a packet of a client, on a topic, is watched.
    fn sees(&mut self, now: Time, client_id: &str, name: Option<&str>) -> bool {
        self.watches(now)
            .iter()
            .any(|(watched, _)| match (watched, name) {
                (Watched::Client(watched), _) => *watched == *client_id,
                (Watched::Filter(filter), Some(name)) => topic::matches(filter, name),
                (Watched::Filter(_), None) => false,
            })
    }

    fn add(&mut self, mut event: Event) {
        event.number = self.next;
        self.next += 1;
        // What a client chose may be long, and would stay here when its connection is gone.
        if event.client_id.len() > TEXT_BYTES_MAX {
            event.client_id = cut(&event.client_id).into();
        }
        if let Some(words) = &mut event.words
            && words.len() > WORDS_BYTES_MAX
        {
            *words = cut_to(words, WORDS_BYTES_MAX).into();
        }
        let (client, name) = (
            Escaped(&event.client_id),
            event.topic.as_deref().unwrap_or(""),
        );
        let (name, words) = (Escaped(name), event.words.as_deref().unwrap_or(""));
        black_box::note(format_args!(
            "{} {:?} {} client '{client}' topic '{name}' {words}",
            event.at.0, event.way, event.what
        ));
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

impl Table {
    /// Whether packets are watched, so that the table is to be told of those that come.
    #[inline]
    pub fn is_tracing(&self) -> bool {
        !self.trace.watches.is_empty()
    }

    /// The trace.
    pub fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// A packet has come from a client; `aliased` is the topic that its alias stands for.
    #[cold]
    pub fn trace_input(
        &mut self,
        from: ConnectionId,
        packet: &ClientPacket<'_>,
        aliased: Option<&str>,
    ) {
        let ack = |ack: &Ack| Detail {
            packet_id: Some(ack.packet_id.value()),
            reason: Some(ack.reason.0),
            ..Detail::default()
        };
        let (what, topic, detail) = match packet {
            ClientPacket::Connect(_) => ("CONNECT", None, Detail::default()),
            ClientPacket::Publish(publish) => (
                "PUBLISH",
                Some(aliased.unwrap_or(publish.topic)),
                Detail {
                    qos: Some(publish.qos as u8),
                    retain: publish.retain,
                    duplicate: publish.duplicate,
                    packet_id: publish.packet_id.map(|id| id.value()),
                    size: Some(publish.payload.len() as u64),
                    reason: None,
                },
            ),
            ClientPacket::PubAck(it) => ("PUBACK", None, ack(it)),
            ClientPacket::PubRec(it) => ("PUBREC", None, ack(it)),
            ClientPacket::PubRel(it) => ("PUBREL", None, ack(it)),
            ClientPacket::PubComp(it) => ("PUBCOMP", None, ack(it)),
            ClientPacket::Subscribe(it) => {
                let first = it.filters.first();
                let detail = Detail {
                    qos: first.map(|first| first.options.qos as u8),
                    packet_id: Some(it.packet_id.value()),
                    size: Some(it.filters.len() as u64),
                    ..Detail::default()
                };
                ("SUBSCRIBE", first.map(|first| first.filter), detail)
            }
            ClientPacket::Unsubscribe(it) => {
                let detail = Detail {
                    packet_id: Some(it.packet_id.value()),
                    size: Some(it.filters.len() as u64),
                    ..Detail::default()
                };
                ("UNSUBSCRIBE", it.filters.first().copied(), detail)
            }
            ClientPacket::PingReq => ("PINGREQ", None, Detail::default()),
            ClientPacket::Disconnect(it) => ("DISCONNECT", None, reason_of(it.reason)),
            ClientPacket::Auth(it) => ("AUTH", None, reason_of(it.reason)),
        };
        self.trace_packet(from, Way::In, what, topic, detail);
    }

    /// A PUBLISH goes to a client.
    #[cold]
    pub(super) fn trace_delivery(&mut self, to: ConnectionId, delivery: &Delivery<'_>) {
        let detail = Detail {
            qos: Some(delivery.qos as u8),
            retain: delivery.retain,
            duplicate: delivery.duplicate,
            packet_id: delivery.packet_id.map(|id| id.value()),
            size: Some(delivery.payload.bytes().len() as u64),
            reason: None,
        };
        self.trace_packet(to, Way::Out, "PUBLISH", Some(delivery.topic), detail);
    }

    /// Any other packet goes to a client.
    #[cold]
    pub(super) fn trace_output(&mut self, to: ConnectionId, packet: &ServerPacket<'_>) {
        let ack = |ack: &Ack| Detail {
            packet_id: Some(ack.packet_id.value()),
            reason: Some(ack.reason.0),
            ..Detail::default()
        };
        let of_filters = |packet_id: &crate::mqtt::PacketId, reasons: &[ReasonCode]| Detail {
            packet_id: Some(packet_id.value()),
            size: Some(reasons.len() as u64),
            reason: reasons.first().map(|reason| reason.0),
            ..Detail::default()
        };
        let (what, detail) = match packet {
            ServerPacket::ConnAck(it) => ("CONNACK", reason_of(it.reason)),
            ServerPacket::PubAck(it) => ("PUBACK", ack(it)),
            ServerPacket::PubRec(it) => ("PUBREC", ack(it)),
            ServerPacket::PubRel(it) => ("PUBREL", ack(it)),
            ServerPacket::PubComp(it) => ("PUBCOMP", ack(it)),
            ServerPacket::Refusal { ack: it, qos, .. } => match *qos as u8 {
                1 => ("PUBACK", ack(it)),
                _ => ("PUBREC", ack(it)),
            },
            ServerPacket::SubAck {
                packet_id, reasons, ..
            } => ("SUBACK", of_filters(packet_id, reasons)),
            ServerPacket::UnsubAck { packet_id, reasons } => {
                ("UNSUBACK", of_filters(packet_id, reasons))
            }
            ServerPacket::PingResp => ("PINGRESP", Detail::default()),
            ServerPacket::Disconnect { reason, .. } => ("DISCONNECT", reason_of(*reason)),
            ServerPacket::Auth(it) => ("AUTH", reason_of(it.reason)),
        };
        self.trace_packet(to, Way::Out, what, None, detail);
    }

    fn trace_packet(
        &mut self,
        of: ConnectionId,
        way: Way,
        what: &'static str,
        topic: Option<&str>,
        detail: Detail,
    ) {
        let client_id = self.client_id(of);
        if self.trace.sees(self.now, &client_id, topic) {
            self.trace.add(Event {
                number: 0,
                at: self.now,
                way,
                client_id,
                what,
                topic: topic.map(|topic| cut(topic).into()),
                detail,
                words: None,
            });
        }
    }

    fn client_id(&mut self, of: ConnectionId) -> Rc<str> {
        let client = self.live(of).and_then(|live| live.client.as_ref());
        client.map_or_else(|| Rc::from(""), |client| client.client_id.clone())
    }

    fn trace_event(
        &mut self,
        of: ConnectionId,
        what: &'static str,
        reason: Option<ReasonCode>,
        words: String,
    ) {
        let detail = reason.map_or_else(Detail::default, reason_of);
        let event = Event {
            number: 0,
            at: self.now,
            way: Way::Event,
            client_id: self.client_id(of),
            what,
            topic: None,
            detail,
            words: Some(words.into()),
        };
        self.trace.add(event);
    }

    /// A client is past CONNECT.
    pub(super) fn trace_admission(&mut self, of: ConnectionId, words: String) {
        self.trace_event(of, "connected", None, words);
    }

    /// A client's connection ends, by whomever.
    pub(super) fn trace_end(&mut self, of: ConnectionId, close: Option<Close>) {
        if self.live(of).is_some_and(|live| live.client.is_some()) {
            let what = close.map_or("connection closed by the client", |close| close.what);
            self.trace_event(of, "closed", close.map(|it| it.reason), what.to_owned());
        }
    }

    /// A client was denied something.
    pub(super) fn trace_denial(&mut self, of: ConnectionId, denial: &Denial<'_>, words: &str) {
        let event = Event {
            number: 0,
            at: self.now,
            way: Way::Event,
            client_id: self.client_id(of),
            what: "denied",
            topic: Some(cut(denial.topic).into()),
            detail: reason_of(ReasonCode::NOT_AUTHORIZED),
            words: Some(format!("{}: {words}", denial.action.name()).into()),
        };
        self.trace.add(event);
    }

    /// A client was not let in.
    pub(super) fn trace_refusal(&mut self, denied: &Denied) {
        let (user, address) = (denied.user.as_deref().unwrap_or(""), &denied.address);
        let words = format!("user '{}' from {address}: {}", Escaped(user), denied.words);
        self.trace.add(Event {
            number: 0,
            at: denied.at,
            way: Way::Event,
            client_id: Rc::from(denied.client_id.as_str()),
            what: "login failed",
            topic: None,
            detail: Detail::default(),
            words: Some(words.into()),
        });
    }
}

fn reason_of(reason: ReasonCode) -> Detail {
    Detail {
        reason: Some(reason.0),
        ..Detail::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(client_id: &str) -> Event {
        Event {
            number: 0,
            at: Time(0),
            way: Way::Event,
            client_id: Rc::from(client_id),
            what: "closed",
            topic: None,
            detail: Detail::default(),
            words: None,
        }
    }

    #[test]
    fn the_oldest_events_go_and_the_numbers_go_on() {
        let mut trace = Trace::default();
        for _ in 0..EVENTS_MAX + 10 {
            trace.add(event("a"));
        }
        assert_eq!((trace.first(), trace.next()), (10, EVENTS_MAX as u64 + 10));
        assert_eq!(trace.from(0).count(), EVENTS_MAX);
        let last: Vec<_> = trace.from(1008).map(|event| event.number).collect();
        assert_eq!(last, [1008, 1009]);
        assert_eq!(trace.from(u64::MAX).count(), 0);
    }

    #[test]
    fn long_names_are_remembered_in_part() {
        let mut trace = Trace::default();
        trace.add(Event {
            words: Some("é".repeat(65_535).into()),
            ..event(&"c".repeat(65_535))
        });
        let event = trace.from(0).next().expect("the one");
        assert_eq!(event.client_id.len(), TEXT_BYTES_MAX);
        assert_eq!(event.words.as_ref().map(|it| it.len()), Some(1024));
    }

    #[test]
    fn a_watch_sees_its_client_or_its_topics_and_ends_by_itself() {
        let mut trace = Trace::default();
        let client = Watched::Client("a".into());
        trace
            .watch(client.clone(), Time(0), Time(10))
            .expect("the first");
        trace
            .watch(Watched::Filter("x/+".into()), Time(0), Time(20))
            .expect("the second");
        assert!(trace.sees(Time(1), "a", None));
        assert!(trace.sees(Time(1), "b", Some("x/y")));
        assert!(!trace.sees(Time(1), "b", Some("x")));
        assert!(!trace.sees(Time(10), "a", None), "its time is over");
        trace.watch(client, Time(10), Time(30)).expect("once more");
        trace.stop(Some(&Watched::Filter("x/+".into())));
        assert!(!trace.sees(Time(11), "b", Some("x/y")));
        assert!(trace.sees(Time(11), "a", None));
        trace.stop(None);
        assert!(trace.watches(Time(11)).is_empty());
    }

    #[test]
    fn no_more_is_watched_than_a_packet_can_be_held_to() {
        let mut trace = Trace::default();
        for number in 0..WATCHES_MAX {
            let watched = Watched::Client(number.to_string());
            trace
                .watch(watched, Time(0), Time(10))
                .expect("there is room");
        }
        let other = Watched::Client("other".into());
        assert!(trace.watch(other.clone(), Time(0), Time(10)).is_err());
        assert!(
            trace.watch(other, Time(10), Time(20)).is_ok(),
            "theirs are over"
        );
    }
}
