//! Chapters 3.4 to 3.7, 3.9 and 3.11 of 5.0: what the broker's acknowledgements say to a client that has room for hardly more.
//!
//! The broker puts no User Property into them, and a Reason String only where it fits: `reasons` tests those.

use crate::conformance::raw::{frames_after, too_deep};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{self, Connect, Publish, Version, property, subscribe, unsubscribe};

/// All that the broker sends of one kind in a conversation that brings each of its acknowledgements about.
fn acknowledgements(first_byte: u8) -> Vec<Vec<u8>> {
    let broker = Broker::start(LOCAL);
    let mut connect = Connect::new(Version::V5, "a");
    let largest = 40u32.to_be_bytes().to_vec();
    connect
        .properties
        .push((property::MAXIMUM_PACKET_SIZE, largest));
    let publish = |topic: &str, qos, packet_id| {
        Publish::new(topic, "x")
            .qos(qos, packet_id)
            .encode(Version::V5)
    };
    let sent = [
        publish("nobody", 1, 1),
        publish("$SYS/denied", 1, 2),
        publish("nobody", 2, 3),
        publish("$SYS/denied", 2, 4),
        packet::ack(0x62, 3),
        packet::ack(0x62, 9),
        packet::ack(0x50, 9),
        subscribe(Version::V5, 5, &[("a", 2), (&*too_deep(), 1), ("b", 0)]),
        unsubscribe(Version::V5, 6, &["b", "nothing", "a"]),
    ];
    let frames = frames_after(&broker, &connect, &sent.concat());
    let kind = frames.into_iter().filter(|(first, _)| *first == first_byte);
    kind.map(|(_, body)| body).collect()
}

#[test]
fn a_puback_has_a_code_of_its_table_and_no_property_without_room_3_4_2_1_and_3_4_2_2_and_3_4_2_3() {
    assert_eq!(acknowledgements(0x40), [[0, 1, 0x10], [0, 2, 0x87]]);
}

#[test]
fn a_pubrec_has_a_code_of_its_table_and_no_property_without_room_3_5_2_1_and_3_5_2_2_and_3_5_2_3() {
    assert_eq!(acknowledgements(0x50), [[0, 3, 0x10], [0, 4, 0x87]]);
}

#[test]
fn a_pubrel_has_a_code_of_its_table_and_no_property_3_6_2_1_and_3_6_2_2_and_3_6_2_3() {
    assert_eq!(acknowledgements(0x62), [[0, 9, 0x92]]);
}

#[test]
fn a_pubcomp_has_a_code_of_its_table_and_no_property_3_7_2_1_and_3_7_2_2_and_3_7_2_3() {
    assert_eq!(acknowledgements(0x70), [&[0, 3][..], &[0, 9, 0x92]]);
}

#[test]
fn a_suback_has_codes_of_its_table_and_no_property_without_room_3_9_2_1_and_3_9_2_2_and_3_9_3_2() {
    assert_eq!(acknowledgements(0x90), [[0, 5, 0, 2, 0x97, 0]]);
}

#[test]
fn an_unsuback_has_codes_of_its_table_and_no_property_3_11_2_1_and_3_11_2_2_and_3_11_3_2() {
    assert_eq!(acknowledgements(0xB0), [[0, 6, 0, 0, 0x11, 0]]);
}

#[test]
fn the_codes_of_unsuback_have_the_order_of_the_filters_3_11_3_1() {
    assert_eq!(acknowledgements(0xB0)[0][3..], [0, 0x11, 0]);
}

#[test]
fn no_properties_are_said_by_a_length_of_0_2_2_2_1() {
    for first_byte in [0x90, 0xB0] {
        assert_eq!(acknowledgements(first_byte)[0][2], 0);
    }
}
