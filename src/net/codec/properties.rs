//! The Properties of the packets that arrive (2.2.2.2 of MQTT 5.0).
//!
//! A packet's file walks over its properties with [`Properties`], which holds the rules that are the same
//! everywhere: which property belongs in which packet, how often, and which values it can have. Properties
//! that only a server sends are let in by what a server sends alone.

use super::{Fault, Reader, Scratch};
use crate::mqtt::property as id;
use crate::mqtt::{Qos, topic};

/// A property, its value within its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property<'a> {
    /// Payload Format Indicator, Content Type, Response Topic, Correlation Data or a User Property: checked,
    /// and passed on unread.
    Travelling,
    MessageExpiry(u32),
    SubscriptionId(u32),
    SessionExpiry(u32),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    WillDelay(u32),
    RequestResponseInformation(bool),
    ServerReference,
    ReasonString,
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumPacketSize(u32),
    MaximumQos(Qos),
    RetainAvailable(bool),
    WildcardAvailable(bool),
    SharedAvailable(bool),
    ServerKeepAlive(u16),
    /// One of CONNACK that nobody here has a use for.
    Idle,
}

/// The identifiers that may stand in one kind of packet, a bit each. All identifiers are below 64.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed(u64);

impl Allowed {
    const fn of(ids: &[u8]) -> Allowed {
        let mut bits = 0;
        let mut at = 0;
        while at < ids.len() {
            bits |= 1 << ids[at];
            at += 1;
        }
        Allowed(bits)
    }
}

pub(super) const IN_CONNECT: Allowed = Allowed::of(&[
    id::SESSION_EXPIRY_INTERVAL,
    id::RECEIVE_MAXIMUM,
    id::MAXIMUM_PACKET_SIZE,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REQUEST_RESPONSE_INFORMATION,
    id::REQUEST_PROBLEM_INFORMATION,
    id::USER_PROPERTY,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
]);
pub(super) const IN_WILL: Allowed = Allowed::of(&[
    id::WILL_DELAY_INTERVAL,
    id::PAYLOAD_FORMAT_INDICATOR,
    id::MESSAGE_EXPIRY_INTERVAL,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER_PROPERTY,
]);
pub(super) const IN_PUBLISH: Allowed = Allowed::of(&[
    id::PAYLOAD_FORMAT_INDICATOR,
    id::MESSAGE_EXPIRY_INTERVAL,
    id::TOPIC_ALIAS,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER_PROPERTY,
    id::SUBSCRIPTION_IDENTIFIER,
    id::CONTENT_TYPE,
]);
pub(super) const IN_ACK: Allowed = Allowed::of(&[id::REASON_STRING, id::USER_PROPERTY]);
pub(super) const IN_SUBSCRIBE: Allowed =
    Allowed::of(&[id::SUBSCRIPTION_IDENTIFIER, id::USER_PROPERTY]);
pub(super) const IN_UNSUBSCRIBE: Allowed = Allowed::of(&[id::USER_PROPERTY]);
pub(super) const IN_DISCONNECT: Allowed = Allowed::of(&[
    id::SESSION_EXPIRY_INTERVAL,
    id::REASON_STRING,
    id::USER_PROPERTY,
    id::SERVER_REFERENCE,
]);
pub(super) const IN_AUTH: Allowed = Allowed::of(&[
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
    id::REASON_STRING,
    id::USER_PROPERTY,
]);

pub(super) const IN_CONNACK: Allowed = Allowed::of(&[
    id::SESSION_EXPIRY_INTERVAL,
    id::RECEIVE_MAXIMUM,
    id::MAXIMUM_QOS,
    id::RETAIN_AVAILABLE,
    id::MAXIMUM_PACKET_SIZE,
    id::ASSIGNED_CLIENT_IDENTIFIER,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REASON_STRING,
    id::USER_PROPERTY,
    id::WILDCARD_SUBSCRIPTION_AVAILABLE,
    id::SUBSCRIPTION_IDENTIFIER_AVAILABLE,
    id::SHARED_SUBSCRIPTION_AVAILABLE,
    id::SERVER_KEEP_ALIVE,
    id::RESPONSE_INFORMATION,
    id::SERVER_REFERENCE,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
]);
pub(super) const IN_SERVER_DISCONNECT: Allowed =
    Allowed::of(&[id::REASON_STRING, id::USER_PROPERTY, id::SERVER_REFERENCE]);

/// A walk over the properties of one packet.
#[derive(Debug)]
pub(super) struct Properties<'a> {
    reader: Reader<'a>,
    allowed: Allowed,
    /// The identifiers that stood before, a bit each.
    seen: u64,
}

impl<'a> Properties<'a> {
    pub(super) fn new(block: &'a [u8], allowed: Allowed) -> Properties<'a> {
        Properties {
            reader: Reader::new(block),
            allowed,
            seen: 0,
        }
    }

    /// The next property, or `None` after the last.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Property<'a>>, Fault> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let id = self.reader.byte()?;
        let bit = 1u64.checked_shl(u32::from(id)).unwrap_or(0);
        if self.allowed.0 & bit == 0 {
            // "a Control Packet which contains an Identifier which is not valid for its packet type … is a
            // Malformed Packet" (2.2.2.2).
            return Err(match id::layout(id) {
                Some(_) => Fault::malformed("a property does not belong in this packet"),
                None => Fault::malformed("a property's identifier is unknown"),
            });
        }
        // A User Property may stand as often as the packet has room for.
        if self.seen & bit != 0 && id != id::USER_PROPERTY {
            return Err(Fault::protocol("a property stands twice"));
        }
        self.seen |= bit;
        read(id, &mut self.reader).map(Some)
    }

    /// Checks properties that nobody needs.
    pub(super) fn skip(mut self) -> Result<(), Fault> {
        while self.next()?.is_some() {}
        Ok(())
    }

    /// How many bytes are unread.
    pub(super) fn unread(&self) -> usize {
        self.reader.rest().len()
    }
}

/// Reads the value of property `id` and checks its range.
fn read<'a>(id: u8, from: &mut Reader<'a>) -> Result<Property<'a>, Fault> {
    Ok(match id {
        id::PAYLOAD_FORMAT_INDICATOR => {
            flag(from, "the payload format indicator is not 0 or 1")?;
            Property::Travelling
        }
        id::CONTENT_TYPE => {
            from.string()?;
            Property::Travelling
        }
        id::RESPONSE_TOPIC => {
            response_topic(from)?;
            Property::Travelling
        }
        id::CORRELATION_DATA => {
            from.binary()?;
            Property::Travelling
        }
        id::USER_PROPERTY => {
            from.string()?;
            from.string()?;
            Property::Travelling
        }
        id::MESSAGE_EXPIRY_INTERVAL => Property::MessageExpiry(from.four_byte()?),
        id::SUBSCRIPTION_IDENTIFIER => match from.variable()? {
            0 => return Err(Fault::protocol("the subscription identifier is 0")),
            value => Property::SubscriptionId(value),
        },
        id::SESSION_EXPIRY_INTERVAL => Property::SessionExpiry(from.four_byte()?),
        id::AUTHENTICATION_METHOD => Property::AuthenticationMethod(from.string()?),
        id::AUTHENTICATION_DATA => Property::AuthenticationData(from.binary()?),
        id::REQUEST_PROBLEM_INFORMATION => Property::RequestProblemInformation(flag(
            from,
            "request problem information is not 0 or 1",
        )?),
        id::WILL_DELAY_INTERVAL => Property::WillDelay(from.four_byte()?),
        id::REQUEST_RESPONSE_INFORMATION => Property::RequestResponseInformation(flag(
            from,
            "request response information is not 0 or 1",
        )?),
        id::SERVER_REFERENCE => {
            from.string()?;
            Property::ServerReference
        }
        id::REASON_STRING => {
            from.string()?;
            Property::ReasonString
        }
        id::RECEIVE_MAXIMUM => match from.two_byte()? {
            0 => return Err(Fault::protocol("the receive maximum is 0")),
            value => Property::ReceiveMaximum(value),
        },
        id::TOPIC_ALIAS_MAXIMUM => Property::TopicAliasMaximum(from.two_byte()?),
        id::TOPIC_ALIAS => match from.two_byte()? {
            // [MQTT-3.3.2-8]
            0 => return Err(Fault::topic_alias("the topic alias is 0")),
            value => Property::TopicAlias(value),
        },
        id::MAXIMUM_PACKET_SIZE => match from.four_byte()? {
            0 => return Err(Fault::protocol("the maximum packet size is 0")),
            value => Property::MaximumPacketSize(value),
        },
        _ => return read_of_server(id, from),
    })
}

/// Reads the value of a property that only a server sends.
#[cold]
fn read_of_server<'a>(id: u8, from: &mut Reader<'a>) -> Result<Property<'a>, Fault> {
    let mut is = || flag(from, "what is available is not said by 0 or 1");
    Ok(match id {
        id::MAXIMUM_QOS => Property::MaximumQos(if is()? {
            Qos::AtLeastOnce
        } else {
            Qos::AtMostOnce
        }),
        id::RETAIN_AVAILABLE => Property::RetainAvailable(is()?),
        id::WILDCARD_SUBSCRIPTION_AVAILABLE => Property::WildcardAvailable(is()?),
        id::SHARED_SUBSCRIPTION_AVAILABLE => Property::SharedAvailable(is()?),
        id::SUBSCRIPTION_IDENTIFIER_AVAILABLE => {
            is()?;
            Property::Idle
        }
        id::SERVER_KEEP_ALIVE => Property::ServerKeepAlive(from.two_byte()?),
        id::ASSIGNED_CLIENT_IDENTIFIER | id::RESPONSE_INFORMATION => {
            from.string()?;
            Property::Idle
        }
        _ => return Err(Fault::malformed("a property's identifier is unknown")),
    })
}

#[inline]
fn flag(from: &mut Reader<'_>, what: &'static str) -> Result<bool, Fault> {
    match from.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Fault::protocol(what)),
    }
}

/// A Response Topic is the Topic Name of the answer: no wildcards [MQTT-3.3.2-14], not empty [MQTT-4.7.3-1].
///
/// The packet can be parsed although it breaks this, so that it is a Protocol Error (1.2). U+0000 makes the
/// string itself ill formed [MQTT-1.5.4-2].
fn response_topic(from: &mut Reader<'_>) -> Result<(), Fault> {
    if topic::is_name(from.string()?) {
        Ok(())
    } else {
        Err(Fault::protocol("the response topic is not a topic name"))
    }
}

/// The properties of an Application Message, in a PUBLISH or a Will.
#[derive(Debug, Default)]
pub(super) struct MessageProperties<'a> {
    pub(super) topic_alias: Option<u16>,
    pub(super) expiry_s: Option<u32>,
    pub(super) delay_s: u32,
    /// The others, as they were encoded and in their order.
    pub(super) travelling: &'a [u8],
}

/// Reads the properties of an Application Message.
///
/// Those that travel usually stand side by side and are a part of `block`; else they are gathered in `scratch`.
pub(super) fn of_message<'a>(
    block: &'a [u8],
    allowed: Allowed,
    scratch: &'a mut Scratch,
) -> Result<MessageProperties<'a>, Fault> {
    let mut found = MessageProperties::default();
    let mut walk = Properties::new(block, allowed);
    // From where to where travelling properties were seen, and how many bytes of them.
    let (mut from, mut to, mut bytes) = (0, 0, 0);
    loop {
        let start = block.len() - walk.unread();
        match walk.next()? {
            None => break,
            Some(Property::Travelling) => {
                let end = block.len() - walk.unread();
                if bytes == 0 {
                    from = start;
                }
                to = end;
                bytes += end - start;
            }
            Some(Property::MessageExpiry(seconds)) => found.expiry_s = Some(seconds),
            Some(Property::WillDelay(seconds)) => found.delay_s = seconds,
            Some(Property::TopicAlias(alias)) => found.topic_alias = Some(alias),
            // Only a PUBLISH of the server names the subscriptions that it answers [MQTT-3.3.4-6]; no
            // other property is allowed here.
            Some(_) => {
                return Err(Fault::protocol(
                    "a subscription identifier that was not given",
                ));
            }
        }
    }
    found.travelling = if bytes == to - from {
        block.get(from..to).unwrap_or_default()
    } else {
        gather(block, allowed, bytes, &mut scratch.gathered)?;
        &scratch.gathered
    };
    Ok(found)
}

/// Copies the travelling properties of a checked block into `into`, `bytes` of them.
#[cold]
fn gather(block: &[u8], allowed: Allowed, bytes: usize, into: &mut Vec<u8>) -> Result<(), Fault> {
    into.clear();
    into.reserve(bytes);
    let mut walk = Properties::new(block, allowed);
    let mut rest = block;
    while let Some(property) = walk.next()? {
        let (encoded, after) = rest.split_at(rest.len() - walk.unread());
        if property == Property::Travelling {
            into.extend_from_slice(encoded);
        }
        rest = after;
    }
    Ok(())
}
