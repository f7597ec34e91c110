//! What the broker holds, told a page at a time: sessions, their subscriptions, what waits for them, and retained messages.
//!
//! Entered by [`Broker::page`], which begins at a [`Place`] and says where the next page begins. A page has a bound in items and one in
//! bytes, so that telling takes the event loop no longer than handling a packet. The broker goes on between two pages: a session
//! that changes meanwhile may be told in part, and none that stays as it is is left out or told twice.
//!
//! It changes nothing and decides nothing about who may see it: whoever asks may see everything.

use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::inflight::{Entry, Stage};
use super::queue::Queued;
use super::session::{Session, SessionKey};
use super::timers::Time;
use super::will::PendingWill;
use super::{Broker, limits};
use crate::mqtt::packet::RetainHandling;
use crate::mqtt::{Message, PacketId, topic};

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    /// With what a session holds.
    Session {
        /// The session's position in the table.
        index: u32,
        /// How many of its items come before.
        skip: u32,
    },
    /// With the retained message after this topic.
    RetainedAfter(String),
}

impl Place {
    /// The beginning.
    pub const FIRST: Place = Place::Session { index: 0, skip: 0 };
}

/// Some of what there is.
#[derive(Debug, Serialize)]
pub struct Page {
    /// In order: each session is followed by what it holds, and after the last session come the retained messages.
    pub items: Vec<Item>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Place>,
}

/// One thing that the broker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Item {
    /// A session.
    Session {
        /// Its Client Identifier.
        client_id: String,
        /// The user name of its owner; `None` for anonymous clients.
        user: Option<String>,
        /// Its Session Expiry Interval in seconds; `None`: it never ends.
        expiry_s: Option<u32>,
        /// Whether its client is connected.
        connected: bool,
        /// For how many seconds it has not been.
        away_s: Option<u64>,
    },
    /// A subscription of the session before.
    Subscription {
        /// Whose.
        client_id: String,
        /// The filter, `$share/{ShareName}/` included.
        filter: String,
        /// The QoS granted.
        qos: u8,
        /// Whether the client gets its own messages.
        no_local: bool,
        /// Whether RETAIN is passed on as it was published.
        retain_as_published: bool,
        /// Retain Handling: 0, 1 or 2.
        retain_handling: u8,
        /// The Subscription Identifier.
        subscription_id: Option<u32>,
    },
    /// A message for the session before.
    Queued {
        /// Whose.
        client_id: String,
        /// `waiting`, or `sent` and not acknowledged.
        state: &'static str,
        /// Its identifier once it was sent.
        packet_id: Option<u16>,
        /// The QoS to send it with.
        qos: u8,
        /// The RETAIN flag to send it with.
        retain: bool,
        /// The subscription identifiers to send it with.
        subscription_ids: Vec<u32>,
        /// The Shared Subscription that it came through.
        share: Option<String>,
        /// What it says.
        message: Body,
    },
    /// A QoS 2 message that the client of the session before has and whose identifier is still in use.
    Released {
        /// Whose.
        client_id: String,
        /// The identifier.
        packet_id: u16,
    },
    /// A QoS 2 message from the client of the session before, passed on, whose identifier is still in use.
    Taken {
        /// Whose.
        client_id: String,
        /// The client's identifier.
        packet_id: u16,
    },
    /// The Will of the session before.
    Will {
        /// Whose.
        client_id: String,
        /// Will Delay Interval in seconds.
        delay_s: u32,
        /// Message Expiry Interval in seconds.
        expiry_s: Option<u32>,
        /// The Will Message.
        message: Body,
    },
    /// A retained message.
    Retained {
        /// The QoS that it was published with.
        qos: u8,
        /// The message.
        message: Body,
    },
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Body {
    /// The Topic Name.
    pub topic: String,
    /// The payload, as far as it is text and not too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The beginning of any other payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// How many bytes the whole payload has.
    pub payload_bytes: usize,
    /// The properties of 5.0 as they are encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties_base64: Option<String>,
    /// In how many seconds it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
}

impl Body {
    fn of(message: &Message, now: Time) -> Body {
        let (whole, properties) = (message.payload(), message.properties());
        let payload = &whole[..whole.len().min(limits::TOLD_PAYLOAD_BYTES)];
        let text = std::str::from_utf8(payload).ok();
        let text = text.filter(|_| payload.len() == whole.len());
        Body {
            topic: message.topic().to_owned(),
            payload: text.map(str::to_owned),
            payload_base64: text.is_none().then(|| STANDARD.encode(payload)),
            payload_bytes: whole.len(),
            properties_base64: (!properties.is_empty()).then(|| STANDARD.encode(properties)),
            expires_s: message
                .expires_at_ms()
                .map(|at| Time(at).since_ms(now) / 1000),
        }
    }

    fn bytes(&self) -> usize {
        let texts = [&self.payload, &self.payload_base64, &self.properties_base64];
        let texts = texts.into_iter().flatten();
        self.topic.len() + texts.map(String::len).sum::<usize>()
    }
}

impl Item {
    /// What it takes, roughly.
    fn bytes(&self) -> usize {
        100 + match self {
            Item::Session { client_id, .. }
            | Item::Released { client_id, .. }
            | Item::Taken { client_id, .. } => client_id.len(),
            Item::Subscription {
                client_id, filter, ..
            } => client_id.len() + filter.len(),
            Item::Queued {
                client_id, message, ..
            }
            | Item::Will {
                client_id, message, ..
            } => client_id.len() + message.bytes(),
            Item::Retained { message, .. } => message.bytes(),
        }
    }
}

/// A page as it fills.
#[derive(Default)]
pub(super) struct Filling {
    pub items: Vec<Item>,
    bytes: usize,
}

impl Filling {
    /// Adds an item; `Break` when it was the last.
    pub fn add(&mut self, item: Item) -> ControlFlow<()> {
        self.bytes += item.bytes();
        self.items.push(item);
        let is_full =
            self.items.len() >= limits::TOLD_ITEMS_MAX || self.bytes >= limits::TOLD_PAGE_BYTES;
        match is_full {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Broker {
    /// What there is from a place on, as much as a page takes.
    pub fn page(&self, now: Time, from: &Place) -> Page {
        let mut page = Filling::default();
        let next = match from {
            Place::Session { index, skip } => self.add_sessions(now, *index, *skip, &mut page),
            Place::RetainedAfter(topic) => self.add_retained(now, Some(topic), &mut page),
        };
        Page {
            items: page.items,
            next,
        }
    }

    fn add_sessions(&self, now: Time, index: u32, skip: u32, page: &mut Filling) -> Option<Place> {
        let last = self
            .sessions
            .iter()
            .next_back()
            .map(|(index, _)| index as u32);
        for at in index..=last.unwrap_or(0) {
            let Some(session) = self.sessions.get(at as usize) else {
                continue;
            };
            let skip = if at == index { skip } else { 0 };
            for (held, told) in self
                .held_by(session)
                .skip(skip as usize)
                .zip(skip.saturating_add(1)..)
            {
                let item = self.item(SessionKey(at), session, held, now);
                if item.is_some_and(|item| page.add(item).is_break()) {
                    return Some(Place::Session {
                        index: at,
                        skip: told,
                    });
                }
            }
        }
        self.add_retained(now, None, page)
    }

    fn add_retained(&self, now: Time, after: Option<&str>, page: &mut Filling) -> Option<Place> {
        for message in self.retained.below("", after) {
            if page.add(retained_item(message, now)).is_break() {
                return Some(Place::RetainedAfter(message.topic().to_owned()));
            }
        }
        None
    }

    /// What a session holds, itself first.
    pub(super) fn held_by<'s>(&'s self, session: &'s Session) -> impl Iterator<Item = Held<'s>> {
        let will = self.will_of_session(session);
        let queued = session.queue.iter().chain(session.qos0_queue.iter());
        std::iter::once(Held::Itself)
            .chain(session.filters.iter().map(|filter| Held::Filter(filter)))
            .chain(session.inflight.iter().map(Held::Sent))
            .chain(queued.map(Held::Waiting))
            .chain(session.received.iter().map(Held::Taken))
            .chain(will.map(Held::Will))
    }

    /// The Will of a session, of a client that is connected or that has gone.
    pub(super) fn will_of_session<'s>(&'s self, session: &'s Session) -> Option<&'s PendingWill> {
        let connection = session
            .connection
            .and_then(|id| self.connections.get(id.index as usize)?.as_deref());
        let will = connection.and_then(|connection| connection.will.as_deref());
        session.pending_will.as_deref().or(will)
    }

    pub(super) fn item(
        &self,
        key: SessionKey,
        session: &Session,
        held: Held<'_>,
        now: Time,
    ) -> Option<Item> {
        let client_id = session.client_id.to_string();
        Some(match held {
            Held::Itself => Item::Session {
                client_id,
                user: session.owner.user().map(str::to_owned),
                expiry_s: Some(session.expiry_s).filter(|s| *s < u32::MAX),
                connected: session.connection.is_some(),
                away_s: match session.connection {
                    Some(_) => None,
                    None => Some(now.since_ms(session.offline_since) / 1000),
                },
            },
            Held::Filter(filter) => return self.subscription(key, client_id, filter),
            Held::Sent(entry) => sent(client_id, entry, now),
            Held::Waiting(queued) => Item::Queued {
                client_id,
                state: "waiting",
                packet_id: None,
                qos: queued.qos as u8,
                retain: queued.retain,
                subscription_ids: queued.subscription_ids.to_vec(),
                share: queued.share.as_deref().map(str::to_owned),
                message: Body::of(&queued.message, now),
            },
            Held::Taken(packet_id) => Item::Taken {
                client_id,
                packet_id: packet_id.value(),
            },
            Held::Will(will) => Item::Will {
                client_id,
                delay_s: will.delay_s,
                expiry_s: will.expiry_s,
                message: Body::of(&will.message, now),
            },
        })
    }

    fn subscription(&self, key: SessionKey, client_id: String, filter: &str) -> Option<Item> {
        let found = match topic::is_shared(filter) {
            true => self.shares.find(filter, key),
            false => self.router.find(filter, key),
        }?;
        Some(Item::Subscription {
            client_id,
            filter: filter.to_owned(),
            qos: found.options.qos as u8,
            no_local: found.options.no_local,
            retain_as_published: found.options.retain_as_published,
            retain_handling: match found.options.retain_handling {
                RetainHandling::Send => 0,
                RetainHandling::SendIfNew => 1,
                RetainHandling::DoNotSend => 2,
            },
            subscription_id: Some(found.subscription_id).filter(|id| *id > 0),
        })
    }
}

/// What a session holds, before it is told.
#[derive(Clone, Copy)]
pub(super) enum Held<'s> {
    /// The session itself.
    Itself,
    Filter(&'s str),
    Sent(&'s Entry),
    Waiting(&'s Queued),
    Taken(PacketId),
    Will(&'s PendingWill),
}

/// How a retained message is told.
pub(super) fn retained_item(message: &Message, now: Time) -> Item {
    Item::Retained {
        qos: message.qos() as u8,
        message: Body::of(message, now),
    }
}

fn sent(client_id: String, entry: &Entry, now: Time) -> Item {
    let packet_id = entry.packet_id.value();
    match &entry.stage {
        Stage::PubRel => Item::Released {
            client_id,
            packet_id,
        },
        Stage::Publish {
            message,
            qos,
            retain,
            subscription_ids,
            share,
        } => Item::Queued {
            client_id,
            state: "sent",
            packet_id: Some(packet_id),
            qos: *qos as u8,
            retain: *retain,
            subscription_ids: subscription_ids.to_vec(),
            share: share.as_deref().map(str::to_owned),
            message: Body::of(message, now),
        },
    }
}
