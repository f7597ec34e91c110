//! PUBLISH from a client and its acknowledgements, topic aliases, and publishing that is denied.

use super::world::{Packet, World, ack, ack_with, qos0, qos1, qos2, v3, v3_durable, v5, without};
use crate::acl::{Access, Action};
use crate::broker::{ConnectionId, Input, limits};
use crate::mqtt::packet::{ClientPacket, Publish};
use crate::mqtt::{Capabilities, Qos, ReasonCode};

fn pair(qos: Qos) -> (World, ConnectionId, ConnectionId) {
    let mut world = World::new();
    let (subscriber, _) = world.join(&v5("subscriber", 0));
    world.subscribe(subscriber, "t", qos);
    let (publisher, _) = world.join(&v5("publisher", 100));
    (world, subscriber, publisher)
}

#[test]
fn a_message_is_acknowledged_as_its_qos_asks_3_3_4_1() {
    let (mut world, subscriber, publisher) = pair(Qos::AtMostOnce);
    world.publish(publisher, qos0("t", "a"));
    assert!(world.take(publisher).is_empty());
    world.publish(publisher, qos1("t", "b", 7));
    let acked = [Packet::PubAck(7, ReasonCode::SUCCESS)];
    assert_eq!(world.take(publisher), acked);
    world.publish(publisher, qos2("t", "c", 8));
    world.pubrel(publisher, 8);
    let acked = [
        Packet::PubRec(8, ReasonCode::SUCCESS),
        Packet::PubComp(8, ReasonCode::SUCCESS),
    ];
    assert_eq!(world.take(publisher), acked);
    assert_eq!(world.payloads(subscriber), ["a", "b", "c"]);
}

#[test]
fn a_publisher_is_told_that_nobody_listens() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    world.publish(id, qos1("t", "x", 1));
    world.publish(id, qos2("t", "x", 2));
    let reason = ReasonCode::NO_MATCHING_SUBSCRIBERS;
    let acked = [Packet::PubAck(1, reason), Packet::PubRec(2, reason)];
    assert_eq!(world.take(id), acked);
}

#[test]
fn a_subscriber_that_may_not_read_is_no_receiver() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    let subscriber = world.connect_as(&v5("b", 0), None, without(Access::Read, "t/secret"));
    world.take(subscriber);
    world.subscribe(subscriber, "t/#", Qos::AtLeastOnce);
    world.publish(id, qos1("t/secret", "x", 1));
    let reason = ReasonCode::NO_MATCHING_SUBSCRIBERS;
    assert_eq!(world.take(id), [Packet::PubAck(1, reason)]);
    assert!(world.take(subscriber).is_empty());
}

#[test]
fn a_repeated_qos_2_message_is_passed_on_once_until_it_is_released_4_3_3_10() {
    let (mut world, subscriber, publisher) = pair(Qos::AtMostOnce);
    world.publish(publisher, qos2("t", "a", 1));
    let repeated = Publish {
        duplicate: true,
        ..qos2("t", "a", 1)
    };
    world.publish(publisher, repeated);
    world.cut(publisher);
    let (publisher, present) = world.join(&v5("publisher", 100));
    assert!(present);
    world.publish(publisher, repeated);
    let acked = [Packet::PubRec(1, ReasonCode::SUCCESS)];
    assert_eq!(world.take(publisher), acked);
    assert_eq!(world.payloads(subscriber), ["a"]);
    world.pubrel(publisher, 1);
    world.publish(publisher, qos2("t", "b", 1));
    assert_eq!(world.payloads(subscriber), ["b"]);
}

#[test]
fn an_unknown_pubrel_is_answered_and_an_unknown_pubrec_released() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    world.pubrel(id, 9);
    world.pubrec(id, 9);
    let reason = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
    let answers = [Packet::PubComp(9, reason), Packet::PubRel(9, reason)];
    assert_eq!(world.take(id), answers);
    world.puback(id, 9);
    world.pubcomp(id, 9);
    let refused = ack_with(9, ReasonCode::UNSPECIFIED_ERROR);
    world.send(id, ClientPacket::PubRec(refused));
    assert!(world.take(id).is_empty());
    assert_eq!(world.closed(id), None);
}

#[test]
fn an_acknowledgement_that_does_not_fit_closes_the_connection() {
    for (qos, packet) in [
        (Qos::AtLeastOnce, ClientPacket::PubRec(ack(1))),
        (Qos::AtLeastOnce, ClientPacket::PubComp(ack(1))),
        (Qos::ExactlyOnce, ClientPacket::PubAck(ack(1))),
        (Qos::ExactlyOnce, ClientPacket::PubComp(ack(1))),
    ] {
        let (mut world, subscriber, publisher) = pair(qos);
        world.publish(publisher, qos2("t", "a", 1));
        assert_eq!(world.messages(subscriber)[0].id, 1);
        world.send(subscriber, packet);
        let reason = ReasonCode::PROTOCOL_ERROR;
        assert_eq!(world.closed(subscriber), Some(reason));
    }
}

#[test]
fn an_mqtt_5_client_may_have_as_many_qos_2_messages_open_as_connack_says_3_3_4_7() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    for packet_id in 1..=limits::RECEIVE_MAXIMUM {
        world.publish(id, qos2("t", "x", packet_id));
    }
    world.publish(id, qos2("t", "x", 1));
    assert_eq!(world.closed(id), None);
    world.publish(id, qos2("t", "x", limits::RECEIVE_MAXIMUM + 1));
    let reason = ReasonCode::RECEIVE_MAXIMUM_EXCEEDED;
    assert_eq!(world.closed(id), Some(reason));
    let (old, _) = world.join(&v3("old"));
    for packet_id in 1..=limits::RECEIVE_MAXIMUM + 1 {
        world.publish(old, qos2("t", "x", packet_id));
    }
    assert_eq!(world.closed(old), None);
}

#[test]
fn a_topic_alias_stands_for_its_topic_3_3_2_3_4() {
    let (mut world, subscriber, publisher) = pair(Qos::AtMostOnce);
    let aliased = |topic, payload, alias| Publish {
        topic_alias: Some(alias),
        ..qos0(topic, payload)
    };
    let max = Capabilities::default().max_topic_alias;
    world.publish(publisher, aliased("t", "a", max));
    world.publish(publisher, aliased("", "b", max));
    world.publish(publisher, aliased("u", "c", max));
    world.publish(publisher, aliased("", "d", max));
    world.publish(publisher, aliased("t", "e", max));
    let topics: Vec<_> = world.messages(subscriber);
    let payloads: Vec<_> = topics.iter().map(|it| it.payload.as_str()).collect();
    assert_eq!(payloads, ["a", "b", "e"]);
    assert!(topics.iter().all(|it| it.topic == "t"));
    world.publish(publisher, aliased("", "x", 1));
    let reason = ReasonCode::PROTOCOL_ERROR;
    assert_eq!(world.closed(publisher), Some(reason));
    let (publisher, _) = world.join(&v5("publisher", 0));
    world.publish(publisher, aliased("", "x", max));
    assert_eq!(world.closed(publisher), Some(reason), "aliases are gone");
    let (publisher, _) = world.join(&v5("publisher", 0));
    world.publish(publisher, aliased("t", "x", max + 1));
    let reason = ReasonCode::TOPIC_ALIAS_INVALID;
    assert_eq!(world.closed(publisher), Some(reason));
}

#[test]
fn a_denied_message_goes_nowhere_and_is_acknowledged_with_the_reason() {
    let mut world = World::new();
    let (subscriber, _) = world.join(&v3("subscriber"));
    world.subscribe(subscriber, "#", Qos::AtMostOnce);
    for connect in [v3("a"), v5("a", 0)] {
        let id = world.connect_as(&connect, None, without(Access::Write, "secret"));
        world.take(id);
        world.publish(id, qos0("secret", "x"));
        world.publish(id, qos1("secret", "x", 1));
        world.publish(id, qos2("secret", "x", 2));
        world.pubrel(id, 2);
        let reason = ReasonCode::NOT_AUTHORIZED;
        // For 3.1.1 these leave without the reason, and its client goes on [MQTT-3.3.5-2].
        let acked = [
            Packet::PubAck(1, reason),
            Packet::PubRec(2, reason),
            Packet::PubComp(2, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND),
        ];
        assert_eq!(world.take(id), acked);
        assert_eq!(world.closed(id), None);
    }
    let denied = (Action::Write, "secret".to_owned());
    assert_eq!(world.effects.denied, [(); 6].map(|()| denied.clone()));
    assert!(world.take(subscriber).is_empty());
}

#[test]
fn nobody_publishes_to_the_servers_topics() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    world.subscribe(id, "$SYS/#", Qos::AtMostOnce);
    for topic in ["$SYS/broker/version", "$SYS", "$share/g/t", "$share"] {
        world.publish(id, qos1(topic, "x", 1));
        let reason = ReasonCode::NOT_AUTHORIZED;
        assert_eq!(world.take(id), [Packet::PubAck(1, reason)], "{topic}");
    }
    world.subscribe(id, "$other/#", Qos::AtMostOnce);
    world.publish(id, qos0("$other/x", "x"));
    assert_eq!(world.payloads(id), ["x"]);
}

#[test]
fn rights_that_change_hold_from_then_on() {
    let (mut world, subscriber, publisher) = pair(Qos::AtLeastOnce);
    let change = |world: &mut World, connection, permissions| {
        world.handle(Input::Permissions {
            connection,
            permissions,
        });
    };
    let nothing = without(Access::ReadWrite, "#");
    change(&mut world, publisher, nothing.clone());
    world.publish(publisher, qos0("t", "a"));
    change(&mut world, publisher, without(Access::Write, "u"));
    world.publish(publisher, qos0("t", "b"));
    change(&mut world, subscriber, nothing);
    world.publish(publisher, qos0("t", "c"));
    assert_eq!(world.payloads(subscriber), ["b"]);
}

#[test]
fn what_waits_is_not_sent_to_a_client_that_may_no_longer_read_it() {
    let mut world = World::new();
    let (id, _) = world.join(&v3_durable("a"));
    world.subscribe(id, "+", Qos::ExactlyOnce);
    world.cut(id);
    let (publisher, _) = world.join(&v3("publisher"));
    world.publish(publisher, qos1("secret", "a", 1));
    world.publish(publisher, qos0("secret", "b"));
    world.publish(publisher, qos1("open", "c", 1));
    let id = world.connect_as(&v3_durable("a"), None, without(Access::Read, "secret"));
    world.link(id).packets.remove(0);
    assert_eq!(world.payloads(id), ["c"]);
    let session = world.effects.store.sessions.values().next();
    assert!(session.expect("of a").queued.is_empty());
}
