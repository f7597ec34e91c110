//! Chapters 1.5.7 and 3.3.2.3 of 5.0: the properties that travel with a message.

use crate::conformance::raw::{
    ILL_FORMED, is_closed, publish_with, string_property, user_property,
};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Property, Publish, Version, property};

const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;

/// Publishes with these properties and returns those that arrive, at a subscriber that is there and one that comes back.
fn arrived(properties: &[Property]) -> [Vec<Property>; 2] {
    let broker = Broker::start(LOCAL);
    let away = Connect::new(Version::V5, "away").persistent();
    let mut absent = broker.join(&away);
    absent.subscribe("a", 1);
    absent.disconnect();
    let mut present = broker.join(&Connect::new(Version::V5, "present"));
    present.subscribe("a", 0);
    let mut publisher = broker.join(&Connect::new(Version::V5, "publisher"));
    publisher.publish_acknowledged(Publish {
        properties: properties.to_vec(),
        ..Publish::new("a", "x").qos(1, 0)
    });
    [
        present.message().properties,
        broker.join(&away).message().properties,
    ]
}

/// A property whose value is a string.
fn string(id: u8, value: &[u8]) -> Property {
    (id, string_property(id, value)[1..].to_vec())
}

fn user(name: &str, value: &str) -> Property {
    let bytes = user_property(name.as_bytes(), value.as_bytes());
    (bytes[0], bytes[1..].to_vec())
}

#[test]
fn the_payload_format_is_sent_unaltered_3_3_2_4() {
    for value in [0, 1] {
        let sent = [(PAYLOAD_FORMAT_INDICATOR, vec![value])];
        assert_eq!(arrived(&sent), [sent.to_vec(), sent.to_vec()]);
    }
}

#[test]
fn the_response_topic_is_sent_unaltered_3_3_2_15() {
    let sent = [string(
        RESPONSE_TOPIC,
        "answers/\u{FEFF}caf\u{E9}".as_bytes(),
    )];
    assert_eq!(arrived(&sent), [sent.to_vec(), sent.to_vec()]);
}

#[test]
fn the_correlation_data_is_sent_unaltered_3_3_2_16() {
    let sent = [string(CORRELATION_DATA, b"\0\xFF\xC0\x80")];
    assert_eq!(arrived(&sent), [sent.to_vec(), sent.to_vec()]);
}

#[test]
fn user_properties_are_sent_unaltered_and_in_their_order_3_3_2_17_and_3_3_2_18() {
    let sent = [
        user("b", "1"),
        user("a", ""),
        user("", "3"),
        user("b", "1"),
        user("b", "0"),
    ];
    assert_eq!(arrived(&sent), [sent.to_vec(), sent.to_vec()]);
}

#[test]
fn the_content_type_is_sent_unaltered_3_3_2_20() {
    let sent = [string(CONTENT_TYPE, b"text/plain; charset=x")];
    assert_eq!(arrived(&sent), [sent.to_vec(), sent.to_vec()]);
}

#[test]
fn both_strings_of_a_user_property_are_well_formed_1_5_7_1() {
    let broker = Broker::start(LOCAL);
    for bytes in ILL_FORMED {
        for property in [user_property(bytes, b"x"), user_property(b"x", bytes)] {
            is_closed(&broker, Version::V5, &publish_with(&property), 0x81);
        }
    }
    let null = user_property(b"a\0", b"x");
    is_closed(&broker, Version::V5, &publish_with(&null), 0x81);
}

#[test]
fn a_response_topic_is_well_formed_and_has_no_wildcards_3_3_2_13_and_3_3_2_14() {
    let broker = Broker::start(LOCAL);
    for bytes in ILL_FORMED {
        let property = string_property(RESPONSE_TOPIC, bytes);
        is_closed(&broker, Version::V5, &publish_with(&property), 0x81);
    }
    for topic in ["a/+", "#"] {
        let property = string_property(RESPONSE_TOPIC, topic.as_bytes());
        is_closed(&broker, Version::V5, &publish_with(&property), 0x82);
    }
}

#[test]
fn a_content_type_is_well_formed_3_3_2_19() {
    let broker = Broker::start(LOCAL);
    for bytes in ILL_FORMED {
        let property = string_property(CONTENT_TYPE, bytes);
        is_closed(&broker, Version::V5, &publish_with(&property), 0x81);
    }
}

#[test]
fn an_expiry_interval_is_sent_as_it_was_when_nothing_has_waited_3_3_2_6() {
    let sent = (property::MESSAGE_EXPIRY_INTERVAL, 1000u32.to_be_bytes());
    let [present, _] = arrived(&[(sent.0, sent.1.to_vec())]);
    let left = u32::from_be_bytes(present[0].1[..].try_into().expect("four bytes"));
    assert!((990..=1000).contains(&left), "{left}");
}
