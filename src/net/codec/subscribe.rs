//! SUBSCRIBE and UNSUBSCRIBE (3.8 and 3.10 of MQTT 5.0).
//!
//! A filter is taken apart by `mqtt::topic`, so that a Shared Subscription is one in every version. Whether the
//! client may have it is the broker's matter.

use super::properties::{IN_SUBSCRIBE, IN_UNSUBSCRIBE, Properties, Property};
use super::{Fault, Reader};
use crate::mqtt::packet::{
    RetainHandling, Subscribe, SubscribeFilter, SubscriptionOptions, Unsubscribe,
};
use crate::mqtt::topic::{self, Subscribed};
use crate::mqtt::{Qos, Version};

/// The most filters of one packet. A filter of one byte costs 4 bytes in the packet and 24 in memory, so that a
/// packet of 16 MiB would cost 100 MB; this many cost 400 kB.
pub const FILTERS_MAX: usize = 16_384;

const TOO_MANY: Fault = Fault::quota("the packet has too many topic filters");

/// Reads a SUBSCRIBE.
pub(super) fn subscribe(version: Version, body: &[u8]) -> Result<Subscribe<'_>, Fault> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let mut subscription_id = None;
    if version.is_v5() {
        let mut properties = Properties::new(reader.properties()?, IN_SUBSCRIBE);
        while let Some(property) = properties.next()? {
            if let Property::SubscriptionId(value) = property {
                subscription_id = Some(value);
            }
        }
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let (filter, subscribed) = topic_filter(&mut reader)?;
        let options = options(version, reader.byte()?)?;
        if options.no_local && subscribed.share.is_some() {
            // [MQTT-3.8.3-4]
            return Err(Fault::protocol("a shared subscription asks for no local"));
        }
        if filters.len() == FILTERS_MAX {
            return Err(TOO_MANY);
        }
        filters.push(SubscribeFilter { filter, options });
    }
    if filters.is_empty() {
        // [MQTT-3.8.3-2]
        return Err(Fault::protocol("a SUBSCRIBE names no topic filter"));
    }
    Ok(Subscribe {
        packet_id,
        subscription_id,
        filters,
    })
}

/// Reads an UNSUBSCRIBE.
pub(super) fn unsubscribe(version: Version, body: &[u8]) -> Result<Unsubscribe<'_>, Fault> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    if version.is_v5() {
        Properties::new(reader.properties()?, IN_UNSUBSCRIBE).skip()?;
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let (filter, _) = topic_filter(&mut reader)?;
        if filters.len() == FILTERS_MAX {
            return Err(TOO_MANY);
        }
        filters.push(filter);
    }
    if filters.is_empty() {
        // [MQTT-3.10.3-2]
        return Err(Fault::protocol("an UNSUBSCRIBE names no topic filter"));
    }
    Ok(Unsubscribe { packet_id, filters })
}

/// Reads a Topic Filter, as sent and taken apart.
///
/// An ill-formed one makes the packet malformed. It is not answered with 0x8F in a SUBACK, which is for a filter
/// that "is correctly formed but is not allowed" (3.9.3).
fn topic_filter<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, Subscribed<'a>), Fault> {
    let text = reader.text()?;
    topic::subscribed(text)
        .map(|subscribed| (text, subscribed))
        .ok_or(Fault::malformed("a topic filter is ill formed"))
}

/// Reads the Subscription Options (3.8.3.1), of which 3.1.1 has the QoS only.
fn options(version: Version, byte: u8) -> Result<SubscriptionOptions, Fault> {
    let reserved = if version.is_v5() { 0xC0 } else { 0xFC };
    if byte & reserved != 0 {
        // [MQTT-3.8.3-5]; in 3.1.1 [MQTT-3-8.3-4]
        return Err(Fault::malformed(
            "a reserved bit of the subscription options is set",
        ));
    }
    // "It is a Protocol Error if the Maximum QoS field has the value 3" (3.8.3.1).
    let qos = Qos::from_bits(byte & 3).ok_or(Fault::protocol("a subscription asks for QoS 3"))?;
    let retain_handling = match byte >> 4 & 3 {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(Fault::protocol("the retain handling is 3")),
    };
    Ok(SubscriptionOptions {
        qos,
        no_local: byte & 4 != 0,
        retain_as_published: byte & 8 != 0,
        retain_handling,
    })
}
