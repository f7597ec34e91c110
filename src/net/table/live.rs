//! One connection as the table keeps it, and how packets get into its output.
//!
//! What is encoded for a client is decided here by what it said in CONNECT and by its listener: version, sizes, aliases and the
//! mount point. When the output goes to the socket, and when the connection ends, is the table's matter.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use ntex::io::IoRef;

use super::backlog::Backlog;
use super::hold::Held;
use crate::auth::{Identity, MECHANISM, Verdict};
use crate::broker::{Close, Delivery, Payload, Sent, Time, limits};
use crate::config::Protocol;
use crate::log::Escaped;
use crate::mqtt::ReasonCode;
use crate::mqtt::packet::ServerPacket;
use crate::net::alias::{Aliases, Naming};
use crate::net::codec::{self, Peer, PublishHead};
use crate::net::door::{Door, Room};
use crate::net::outlet::{Outlet, Translated};
use crate::net::output::Output;
use crate::net::trail::Trail;

/// A connection.
pub struct Live {
    pub(super) io: IoRef,
    pub(super) output: Output,
    /// What of it must wait.
    pub(super) held: Option<Box<Held>>,
    /// Bytes that the socket had not taken at the last flush.
    pub(super) unsent: usize,
    /// What of it is in the table's sum.
    pub(super) counted: usize,
    /// Bytes of what is not a PUBLISH in the output and among those that the socket has not taken, or more: counted up by
    /// [`Effects::send`], corrected by [`Table::is_backed_up`].
    pub(super) answers: usize,
    /// Bytes that were handled of what it sent; counted around.
    pub(super) received: usize,
    /// What went into the output, in packets.
    pub(super) backlog: Backlog,
    /// Bytes of a packet that has arrived in part.
    pub(super) gathered: usize,
    /// Bytes of what it keeps of its own: see [`Table::keeps`].
    pub(super) kept: usize,
    /// What its Client Identifier took when it was introduced, in bytes; one that the broker chose is short.
    pub(super) named: usize,
    pub(super) is_dirty: bool,
    pub(super) is_congested: bool,
    /// Set once it is being closed: nothing that it sends counts any more.
    pub(super) closing: Option<Close>,
    pub(super) peer: Peer,
    /// The aliases of its topics, if it takes any.
    pub(super) aliases: Option<Box<Aliases>>,
    pub(super) since: Time,
    pub(super) deadline: Option<Time>,
    /// When it is to be woken up.
    pub(super) wait: Option<Time>,
    pub(super) way: Through,
    /// What its messages carry if it is another broker's bridge; on the way to a remote broker that is the outlet's matter.
    pub(super) trail: Option<Rc<Trail>>,
    pub(super) address: Address,
    pub(super) client: Option<Client>,
    /// The verdict about its password, between the worker and the connection's future.
    pub(super) verdict: Option<Box<Verdict>>,
    /// The Authentication Data of the CONNACK, between the end of enhanced authentication and that packet; boxed twice because hardly
    /// a connection ever has it.
    pub(super) exchange_end: Option<Box<Box<str>>>,
    /// Whether it is past CONNECT, so that its listener no longer counts it among those that are not.
    pub(super) is_admitted: bool,
    pub(super) denials: u32,
}

/// Between whom a connection is.
pub(super) enum Through {
    /// A client has come through a listener.
    Door(Rc<Door>),
    /// This side has connected to a remote broker.
    Outlet(Rc<dyn Outlet>),
}

impl Through {
    /// The listener.
    pub fn door(&self) -> Option<&Rc<Door>> {
        match self {
            Through::Door(door) => Some(door),
            Through::Outlet(_) => None,
        }
    }

    /// Whether there is something between the output and the socket.
    pub fn has_layers(&self) -> bool {
        match self {
            Through::Door(door) => {
                door.tls.is_some() || door.listener.protocol == Protocol::WebSocket
            }
            Through::Outlet(outlet) => outlet.has_layers(),
        }
    }
}

/// A bridge of another broker passes on what has passed fewer bridges than this, whatever it says itself.
const HOPS_MAX: u8 = u8::MAX;

/// The client of a connection, once it is known.
pub struct Client {
    /// Its Client Identifier; empty until the broker has chosen one.
    pub client_id: Rc<str>,
    /// Who it is.
    pub identity: Identity,
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Ip(SocketAddr),
    /// A Unix socket, which has no address worth telling.
    Unix,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // An IPv4 client of a dual-stack socket is told as IPv4.
            Address::Ip(address) => write!(f, "{}:{}", address.ip().to_canonical(), address.port()),
            Address::Unix => f.write_str("unix socket"),
        }
    }
}

impl Live {
    /// How log lines call it.
    pub(super) fn name(&self) -> String {
        match &self.client {
            Some(client) => format!(
                "client '{}' from {}",
                Escaped(&client.client_id),
                self.address
            ),
            None => match &self.way {
                Through::Door(door) => {
                    format!("{} on listener '{}'", self.address, door.listener.name)
                }
                Through::Outlet(outlet) => format!("{} at {}", outlet.name(), self.address),
            },
        }
    }

    /// The name of the listener that its client came through, or of the bridge.
    pub fn through(&self) -> String {
        match &self.way {
            Through::Door(door) => door.listener.name.clone(),
            Through::Outlet(outlet) => outlet.name().to_owned(),
        }
    }

    /// Whether TLS is between the two sides.
    pub fn is_encrypted(&self) -> bool {
        match &self.way {
            Through::Door(door) => door.tls.is_some(),
            Through::Outlet(outlet) => outlet.has_layers(),
        }
    }

    /// Whether its listener has no place for the next client before this one is past CONNECT.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.way
            .door()
            .is_some_and(|door| door.crowd.room() == Room::Wait)
    }

    /// How packets are encoded for it.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The socket.
    pub fn io(&self) -> &IoRef {
        &self.io
    }

    /// The listener that it came through; `None`: this side has connected.
    pub fn door(&self) -> Option<&Rc<Door>> {
        self.way.door()
    }

    /// Where it comes from.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Since when it is there.
    pub fn since(&self) -> Time {
        self.since
    }

    /// Bytes that its socket has not taken.
    pub fn unsent_bytes(&self) -> usize {
        self.output.len() + self.pending()
    }

    /// How often it was denied something.
    pub fn denials(&self) -> u32 {
        self.denials
    }

    /// Whether it is past CONNECT.
    pub fn is_admitted(&self) -> bool {
        self.is_admitted
    }

    /// The listener and the identity that it has after a reload.
    pub fn renew(&mut self, door: Rc<Door>, identity: Identity) {
        self.way = Through::Door(door);
        if let Some(client) = &mut self.client {
            client.identity = identity;
        }
    }

    /// Its client.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }
}

impl Live {
    /// Appends a packet that is seldom sent.
    pub(super) fn send_rare(&mut self, packet: &ServerPacket<'_>) {
        if let Through::Outlet(outlet) = &self.way {
            // To a remote broker it is a client: only the end is to be said.
            if let ServerPacket::Disconnect { .. } = packet {
                self.output.bytes().extend_from_slice(outlet.goodbye());
            }
            return;
        }
        if let ServerPacket::ConnAck(connack) = packet
            && let (Some(assigned), Some(client)) =
                (connack.properties.assigned_client_id, &mut self.client)
        {
            client.client_id = Rc::from(assigned);
        }
        let end = self.exchange_end.take().map(|end| *end);
        let with_end = end
            .as_deref()
            .and_then(|end| with_exchange_end(packet, end));
        let packet = with_end.as_ref().unwrap_or(packet);
        let mut pages = ntex_bytes::BytePages::new(ntex_bytes::BytePageSize::Size4);
        if codec::encode(packet, &self.peer, &mut pages).is_err() {
            self.closing = Some(Close {
                reason: ReasonCode::PACKET_TOO_LARGE,
                what: "the client takes no packet that is large enough to answer it",
            });
            log::info!(
                "{}: closed: its maximum packet size is too small to be answered",
                self.name()
            );
            return;
        }
        for page in pages.iter() {
            self.output.bytes().extend_from_slice(page);
        }
    }
}

impl Live {
    /// Whether its packets name topics as the bus does, so that they are those of others.
    #[inline]
    pub(super) fn has_plain_topics(&self) -> bool {
        let has_mount = || match &self.way {
            Through::Door(door) => door.listener.mount_point.is_some(),
            Through::Outlet(_) => true,
        };
        self.aliases.is_none() && self.trail.is_none() && !has_mount()
    }

    /// What a message is for this receiver; `None` when it does not get it.
    #[inline]
    fn translate<'a>(&self, delivery: &Delivery<'a>) -> Option<Translated<'a>> {
        let door = match &self.way {
            Through::Door(door) => door,
            Through::Outlet(outlet) => return outlet.translate(delivery),
        };
        let topic = match &door.listener.mount_point {
            None => delivery.topic,
            // A message of a session that was made through another listener may lie outside of this one's mount point.
            Some(mount) => delivery.topic.strip_prefix(mount.as_str())?,
        };
        let properties = match (&self.trail, &delivery.payload) {
            (Some(trail), Payload::Kept(message)) => trail
                .stamp(delivery.properties, message.id(), HOPS_MAX)?
                .into(),
            _ => delivery.properties.into(),
        };
        Some(Translated {
            topic: topic.into(),
            properties,
            retain: delivery.retain,
        })
    }

    /// Appends a PUBLISH.
    #[inline]
    pub(super) fn publish(&mut self, delivery: &Delivery<'_>, full: usize) -> Sent {
        let is_plain = self.trail.is_none()
            && matches!(&self.way, Through::Door(door) if door.listener.mount_point.is_none());
        if !is_plain {
            return self.publish_translated(delivery, full);
        }
        let (topic, properties) = (delivery.topic, delivery.properties);
        self.append(delivery, topic, properties, delivery.retain, full)
    }

    /// The same for a receiver for whom a message is another than for others.
    #[inline(never)]
    fn publish_translated(&mut self, delivery: &Delivery<'_>, full: usize) -> Sent {
        let Some(translated) = self.translate(delivery) else {
            return Sent::TooLarge;
        };
        let (topic, properties) = (&translated.topic, &translated.properties);
        self.append(delivery, topic, properties, translated.retain, full)
    }

    #[inline(always)]
    fn append(
        &mut self,
        delivery: &Delivery<'_>,
        topic: &str,
        properties: &[u8],
        retain: bool,
        full: usize,
    ) -> Sent {
        let naming = match &mut self.aliases {
            Some(aliases) => aliases.name(topic),
            None => Naming::Name,
        };
        let (name, topic_alias) = match naming {
            Naming::Name => (topic, None),
            Naming::Alias(alias) => ("", Some(alias)),
            Naming::Both(alias) => (topic, Some(alias)),
        };
        let payload = delivery.payload.bytes();
        let head = PublishHead {
            topic: name,
            topic_alias,
            packet_id: delivery.packet_id,
            qos: delivery.qos,
            duplicate: delivery.duplicate,
            retain,
            expiry_s: delivery.expiry_s,
            subscription_ids: delivery.subscription_ids,
            properties,
            payload_bytes: payload.len(),
        };
        let version = self.peer.version;
        let too_large = |maximum: u32| {
            u64::try_from(head.size(version)).map_or(true, |size| size > u64::from(maximum))
        };
        if self.peer.maximum_packet_size.is_some_and(too_large) {
            return Sent::TooLarge;
        }
        head.encode(version, self.output.bytes());
        self.backlog.add();
        if let (Naming::Both(alias), Some(aliases)) = (naming, &mut self.aliases) {
            aliases.keep(alias, topic);
        }
        match delivery.payload {
            Payload::Kept(message) if payload.len() > limits::COPY_PAYLOAD_MAX => {
                self.output.share(message.payload_shared());
            }
            _ => self.output.bytes().extend_from_slice(payload),
        }
        self.congestion(full)
    }
}

/// The CONNACK that ends a successful exchange of enhanced authentication. [MQTT-4.12.0-5] asks for the method; a refusal has neither.
fn with_exchange_end<'a>(packet: &ServerPacket<'a>, end: &'a str) -> Option<ServerPacket<'a>> {
    let ServerPacket::ConnAck(connack) = packet else {
        return None;
    };
    let mut connack = connack.clone();
    if connack.reason == ReasonCode::SUCCESS {
        connack.properties.authentication_method = Some(MECHANISM);
        connack.properties.authentication_data = Some(end.as_bytes());
    }
    Some(ServerPacket::ConnAck(connack))
}
