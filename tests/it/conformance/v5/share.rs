//! Chapter 4.8.2 of 5.0: Shared Subscriptions.

use crate::conformance::raw::is_closed;
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{self, Connect, Packet, Publish, Version, frame, subscribe};

const V5: Version = Version::V5;

/// A member of the group `$share/group/a` whose session outlives its connection.
fn member(broker: &Broker, id: &str, qos: u8) -> Client {
    let mut member = broker.join(&Connect::new(V5, id).persistent());
    assert_eq!(member.subscribe("$share/group/a", qos), qos);
    member
}

#[test]
fn a_share_has_a_name_and_a_filter_4_8_2_1_and_4_8_2_2() {
    let broker = Broker::start(LOCAL);
    for filter in [
        "$share",
        "$share/",
        "$share//a",
        "$share/group",
        "$share/group/",
        "$share/gr+up/a",
        "$share/gr#up/a",
        "$share/+/a",
        "$share/#",
    ] {
        is_closed(&broker, V5, &subscribe(V5, 1, &[(filter, 0)]), 0x81);
    }
    let mut client = broker.join(&Connect::new(V5, "a"));
    for filter in ["$share/g/a", "$share/g/+/b/#", "$share/$g/$a", "$share/g//"] {
        assert_eq!(client.subscribe(filter, 0), 0, "{filter}");
    }
}

#[test]
fn each_member_gets_at_most_the_qos_it_was_granted_4_8_2_3() {
    let broker = Broker::start(LOCAL);
    let mut members = [0, 1].map(|qos| member(&broker, &format!("m{qos}"), qos));
    let mut publisher = broker.join(&Connect::new(V5, "publisher"));
    for _ in 0..2 {
        publisher.publish_acknowledged(Publish::new("a", "x").qos(2, 0));
    }
    for (qos, member) in members.iter_mut().enumerate() {
        assert_eq!(usize::from(member.message().qos), qos, "members take turns");
    }
}

#[test]
fn a_qos_2_message_is_carried_through_with_the_member_that_has_it_4_8_2_4() {
    let broker = Broker::start(LOCAL);
    let mut first = member(&broker, "first", 2);
    let mut publisher = broker.join(&Connect::new(V5, "publisher"));
    publisher.publish_acknowledged(Publish::new("a", "x").qos(2, 0));
    let packet_id = first.message().packet_id;
    let mut second = member(&broker, "second", 2);
    drop(first);
    let mut first = broker.join(&Connect::new(V5, "first").persistent());
    let again = first.message();
    assert_eq!((again.packet_id, again.dup), (packet_id, true));
    first.send(&packet::ack(0x50, packet_id));
    first.expect(|packet| matches!(packet, Packet::Pubrel { code: 0, .. }));
    second.ping();
}

#[test]
fn a_qos_2_message_that_was_sent_goes_to_nobody_else_when_its_session_ends_4_8_2_5() {
    let broker = Broker::start(LOCAL);
    let mut first = member(&broker, "first", 2);
    let mut publisher = broker.join(&Connect::new(V5, "publisher"));
    publisher.publish_acknowledged(Publish::new("a", "x").qos(2, 0));
    first.message();
    let mut second = member(&broker, "second", 2);
    drop(first);
    // A clean start ends the session.
    broker.join(&Connect::new(V5, "first")).disconnect();
    second.ping();
}

#[test]
fn a_message_that_its_member_refuses_goes_to_nobody_else_4_8_2_6() {
    let broker = Broker::start(LOCAL);
    for (qos, first_byte) in [(1, 0x40), (2, 0x50)] {
        let mut first = member(&broker, "first", 2);
        let mut publisher = broker.join(&Connect::new(V5, "publisher"));
        publisher.publish_acknowledged(Publish::new("a", "x").qos(qos, 0));
        let [high, low] = first.message().packet_id.to_be_bytes();
        let mut second = member(&broker, "second", 2);
        first.send(&frame(first_byte, &[high, low, 0x83]));
        first.ping();
        drop(first);
        broker.join(&Connect::new(V5, "first").persistent()).ping();
        second.ping();
        broker.join(&Connect::new(V5, "first")).disconnect();
        broker.join(&Connect::new(V5, "second")).disconnect();
    }
}
