//! The codec: from the bytes of a frame to a [`ClientPacket`] and from a
//! [`ServerPacket`](crate::mqtt::packet::ServerPacket) to bytes, for MQTT 3.1, 3.1.1 and 5.0.
//!
//! A connection's first frame goes to [`decode_connect`], all later ones to [`decode`]. Packets go out by
//! [`encode()`], the broker's PUBLISH by [`PublishHead`] and its four answers by [`acks`] and [`refusal`].
//!
//! **Decoding is written here, strict and in one pass.** The packets borrow from the frame, and every rule of the
//! specification that one packet alone can break is held, so that nobody behind the codec checks a string or a
//! topic again. The codecs of ntex-mqtt let dozens of ill-formed packets pass (U+0000, wildcards in topic
//! names, reserved bits, empty SUBSCRIBEs …), refuse MQTT 3.1 and a Message Expiry Interval of 0, and allocate.
//!
//! **Encoding of the rare packets** (CONNACK, SUBACK, UNSUBACK, DISCONNECT, AUTH) is left to the codecs of ntex-mqtt,
//! which know the layout of every property. PUBLISH, its answers and PINGRESP are most of the traffic and
//! have few fields: they are written here.
//!
//! Nothing here keeps state from packet to packet: Topic Aliases, Receive Maximum and which packet may come when are
//! the broker's matter.

mod connect;
mod disconnect;
mod encode;
pub mod outward;
mod properties;
mod publish;
mod publish_head;
mod reader;
mod remote;
mod subscribe;
#[cfg(test)]
mod tests;

pub use connect::{ConnectFault, decode_connect};
pub use encode::{AckKind, Peer, TooLarge, acks, encode, refusal};
pub use publish_head::PublishHead;
pub use remote::{RemoteConnAck, RemotePacket, decode_connack, decode_remote};
pub use subscribe::FILTERS_MAX;

use crate::mqtt::packet::ClientPacket;
use crate::mqtt::{ReasonCode, Version};
use reader::Reader;

/// Why a packet is refused. It ends the connection: 5.0 is told the reason in a DISCONNECT [MQTT-4.13.1-1], older
/// clients see a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// 0x81 when the packet cannot be parsed, 0x82 when it can but says what is not allowed (1.2), or the code
    /// that the specification has for the case.
    pub reason: ReasonCode,
    /// What is wrong, in words of this program's own: it may be logged and sent as it is.
    pub what: &'static str,
}

impl Fault {
    const fn malformed(what: &'static str) -> Fault {
        Fault {
            reason: ReasonCode::MALFORMED_PACKET,
            what,
        }
    }

    const fn protocol(what: &'static str) -> Fault {
        Fault {
            reason: ReasonCode::PROTOCOL_ERROR,
            what,
        }
    }

    const fn topic_alias(what: &'static str) -> Fault {
        Fault {
            reason: ReasonCode::TOPIC_ALIAS_INVALID,
            what,
        }
    }

    const fn quota(what: &'static str) -> Fault {
        Fault {
            reason: ReasonCode::QUOTA_EXCEEDED,
            what,
        }
    }

    const fn unsupported(what: &'static str) -> Fault {
        Fault {
            reason: ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            what,
        }
    }
}

/// Memory that decoding may use: one for all connections is enough.
///
/// A packet needs it when the properties that travel with its message do not stand side by side.
#[derive(Debug, Default)]
pub struct Scratch {
    gathered: Vec<u8>,
}

impl Scratch {
    /// What is kept from packet to packet, in bytes.
    const KEPT: usize = 4096;

    /// Memory that holds nothing yet.
    pub const fn new() -> Scratch {
        Scratch {
            gathered: Vec::new(),
        }
    }

    /// Gives back what an unusual packet needed.
    #[inline]
    fn trim(&mut self) {
        if self.gathered.capacity() > Scratch::KEPT {
            self.gathered = Vec::new();
        }
    }
}

/// Reads a packet of a connection whose CONNECT named `version`; `first` is the packet's first byte and `body` what
/// follows its fixed header.
///
/// A second CONNECT is a fault, so that [`ClientPacket::Connect`] never comes from here.
#[inline]
pub fn decode<'a>(
    version: Version,
    first: u8,
    body: &'a [u8],
    scratch: &'a mut Scratch,
) -> Result<ClientPacket<'a>, Fault> {
    scratch.trim();
    if first >> 4 == 3 {
        return publish::publish(version, first & 0x0F, body, scratch).map(ClientPacket::Publish);
    }
    decode_other(version, first, body)
}

/// Reads any packet but CONNECT and PUBLISH.
fn decode_other(version: Version, first: u8, body: &[u8]) -> Result<ClientPacket<'_>, Fault> {
    use publish::{ack, is_received_reason, is_release_reason};
    check_type(version, first >> 4)?;
    check_flags(version, first)?;
    match first >> 4 {
        4 => ack(version, body, is_received_reason).map(ClientPacket::PubAck),
        5 => ack(version, body, is_received_reason).map(ClientPacket::PubRec),
        6 => ack(version, body, is_release_reason).map(ClientPacket::PubRel),
        7 => ack(version, body, is_release_reason).map(ClientPacket::PubComp),
        8 => subscribe::subscribe(version, body).map(ClientPacket::Subscribe),
        10 => subscribe::unsubscribe(version, body).map(ClientPacket::Unsubscribe),
        12 => Reader::new(body).finish().map(|()| ClientPacket::PingReq),
        14 => disconnect::disconnect(version, body).map(ClientPacket::Disconnect),
        _ => disconnect::auth(body).map(ClientPacket::Auth),
    }
}

/// Refuses the packet types that a client cannot send after its CONNECT (2.1.2).
#[inline]
fn check_type(version: Version, packet_type: u8) -> Result<(), Fault> {
    match packet_type {
        0 => Err(Fault::malformed("packet type 0 is forbidden")),
        1 => Err(Fault::protocol("a second CONNECT")), // [MQTT-3.1.0-2]
        2 | 9 | 11 | 13 => Err(Fault::protocol("only a server sends this packet")),
        15 if !version.is_v5() => Err(Fault::malformed("packet type 15 is forbidden")),
        _ => Ok(()),
    }
}

/// Refuses flags of the fixed header that are not as reserved [MQTT-2.1.3-1].
#[inline]
fn check_flags(version: Version, first: u8) -> Result<(), Fault> {
    let flags = first & 0x0F;
    let as_reserved = match first >> 4 {
        // MQTT 3.1 gave these packets QoS 1 and marked a repetition as a duplicate (2.1 of 3.1).
        6 | 8 | 10 if version == Version::V3_1 => flags & 0x07 == 2,
        6 | 8 | 10 => flags == 2,
        _ => flags == 0,
    };
    if as_reserved {
        Ok(())
    } else {
        Err(Fault::malformed(
            "a reserved flag of the fixed header is not as it must be",
        ))
    }
}
