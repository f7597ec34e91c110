//! What goes to a subscriber: order, windows, queues, congestion, repetition, expiry.

use super::world::{Packet, World, ack_with, qos0, qos1, qos2, v3, v3_durable, v5};
use crate::broker::{ConnectionId, Settings};
use crate::mqtt::packet::{
    ClientPacket, Connect, ConnectProperties, Publish, RetainHandling, SubscriptionOptions,
};
use crate::mqtt::{Qos, ReasonCode};

fn receiving(client_id: &str, receive_maximum: u16) -> Connect<'_> {
    Connect {
        properties: ConnectProperties {
            receive_maximum,
            session_expiry_s: Some(1000),
            ..ConnectProperties::default()
        },
        ..v5(client_id, 0)
    }
}

/// A durable subscriber of `t` with this Receive Maximum, and a publisher.
fn pair(receive_maximum: u16) -> (World, ConnectionId, ConnectionId) {
    pair_with(Settings::default(), receive_maximum)
}

fn pair_with(settings: Settings, receive_maximum: u16) -> (World, ConnectionId, ConnectionId) {
    let mut world = World::with(Settings {
        sys_interval_ms: 0,
        ..settings
    });
    let (subscriber, _) = world.join(&receiving("subscriber", receive_maximum));
    world.subscribe(subscriber, "t", Qos::ExactlyOnce);
    let (publisher, _) = world.join(&v3("publisher"));
    (world, subscriber, publisher)
}

fn publish_numbered(world: &mut World, from: ConnectionId, numbers: std::ops::Range<u16>) {
    for number in numbers {
        world.publish(from, qos1("t", &number.to_string(), 1));
    }
    world.take(from);
}

#[test]
fn a_message_is_delivered_at_the_lower_of_both_qos_3_8_4_8() {
    let mut world = World::new();
    let (publisher, _) = world.join(&v3("publisher"));
    for granted in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let (subscriber, _) = world.join(&v3("subscriber"));
        world.subscribe(subscriber, "t", granted);
        world.publish(publisher, qos0("t", "x"));
        world.publish(publisher, qos1("t", "x", 1));
        world.publish(publisher, qos2("t", "x", 1));
        world.pubrel(publisher, 1);
        let seen: Vec<u8> = world.messages(subscriber).iter().map(|it| it.qos).collect();
        assert_eq!(seen, [0, 1, 2].map(|qos| qos.min(granted as u8)));
    }
}

#[test]
fn a_window_is_not_exceeded_and_what_waits_follows_in_order() {
    let (mut world, subscriber, publisher) = pair(3);
    publish_numbered(&mut world, publisher, 0..10);
    let mut all = Vec::new();
    loop {
        let seen = world.messages(subscriber);
        if seen.is_empty() {
            break;
        }
        assert!(seen.len() <= 3);
        for seen in seen {
            world.complete(subscriber, &seen);
            all.push(seen.payload);
        }
    }
    let expected: Vec<_> = (0..10).map(|number: u16| number.to_string()).collect();
    assert_eq!(all, expected);
}

#[test]
fn the_window_of_an_old_client_is_the_settings() {
    let mut world = World::new();
    let (subscriber, _) = world.join(&v3("subscriber"));
    world.subscribe(subscriber, "t", Qos::AtLeastOnce);
    let (publisher, _) = world.join(&v3("publisher"));
    publish_numbered(&mut world, publisher, 0..50);
    assert_eq!(world.messages(subscriber).len(), 20);
}

#[test]
fn a_qos_2_message_keeps_its_place_in_the_window_until_pubcomp_4_9() {
    let (mut world, subscriber, publisher) = pair(1);
    world.publish(publisher, qos2("t", "a", 1));
    world.publish(publisher, qos2("t", "b", 2));
    assert_eq!(world.payloads(subscriber), ["a"]);
    world.pubrec(subscriber, 1);
    let released = [Packet::PubRel(1, ReasonCode::SUCCESS)];
    assert_eq!(world.take(subscriber), released);
    world.pubrec(subscriber, 1);
    assert_eq!(world.take(subscriber), released);
    world.pubcomp(subscriber, 1);
    assert_eq!(world.payloads(subscriber), ["b"]);
}

#[test]
fn a_message_that_the_client_refuses_is_done_4_3_3_4() {
    let (mut world, subscriber, publisher) = pair(1);
    world.publish(publisher, qos2("t", "a", 1));
    world.publish(publisher, qos2("t", "b", 2));
    world.take(subscriber);
    let refused = ack_with(1, ReasonCode::QUOTA_EXCEEDED);
    world.send(subscriber, ClientPacket::PubRec(refused));
    assert_eq!(world.payloads(subscriber), ["b"]);
}

#[test]
fn a_resumed_session_gets_what_is_open_again_in_order_4_4_0_1() {
    let (mut world, subscriber, publisher) = pair(20);
    world.publish(publisher, qos1("t", "a", 1));
    world.publish(publisher, qos2("t", "b", 2));
    world.publish(publisher, qos2("t", "c", 3));
    world.publish(publisher, qos1("t", "d", 4));
    world.pubrec(subscriber, 2);
    world.puback(subscriber, 1);
    world.cut(subscriber);
    world.publish(publisher, qos1("t", "e", 5));
    for _ in 0..2 {
        let (subscriber, present) = world.join(&receiving("subscriber", 20));
        assert!(present);
        let packets = world.take(subscriber);
        let [
            Packet::PubRel(2, ReasonCode::SUCCESS),
            Packet::Publish(c),
            Packet::Publish(d),
            Packet::Publish(e),
        ] = &packets[..]
        else {
            panic!("PUBREL and three messages: {packets:?}");
        };
        assert_eq!((c.id, c.duplicate, c.payload.as_str()), (3, true, "c"));
        assert_eq!((d.id, d.duplicate, d.payload.as_str()), (4, true, "d"));
        assert_eq!((e.id, e.payload.as_str()), (5, "e"));
        world.cut(subscriber);
    }
}

#[test]
fn a_pubrel_is_sent_again_when_nothing_else_is_in_flight() {
    let (mut world, subscriber, publisher) = pair(1);
    world.publish(publisher, qos2("t", "a", 1));
    world.take(subscriber);
    world.pubrec(subscriber, 1);
    world.cut(subscriber);
    let (subscriber, _) = world.join(&receiving("subscriber", 1));
    let released = [Packet::PubRel(1, ReasonCode::SUCCESS)];
    assert_eq!(world.take(subscriber), released);
    world.pubcomp(subscriber, 1);
    assert_eq!(
        world
            .broker
            .sessions
            .iter()
            .next()
            .map(|it| it.1.inflight.iter().count()),
        Some(0)
    );
}

#[test]
fn a_smaller_window_after_a_resumption_holds_for_what_is_sent_again() {
    let (mut world, subscriber, publisher) = pair(20);
    publish_numbered(&mut world, publisher, 0..5);
    world.cut(subscriber);
    let (subscriber, _) = world.join(&receiving("subscriber", 2));
    let mut all = Vec::new();
    for _ in 0..3 {
        let seen = world.messages(subscriber);
        assert!(seen.len() <= 2);
        for seen in seen {
            world.complete(subscriber, &seen);
            all.push((seen.id, seen.payload));
        }
    }
    all.extend(
        world
            .messages(subscriber)
            .into_iter()
            .map(|it| (it.id, it.payload)),
    );
    let expected: Vec<_> = (0..5).map(|it: u16| (it + 1, it.to_string())).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_full_queue_drops_its_oldest_message() {
    let settings = Settings {
        queue_messages: 3,
        ..Settings::default()
    };
    let (mut world, subscriber, publisher) = pair_with(settings, 1);
    world.cut(subscriber);
    publish_numbered(&mut world, publisher, 0..5);
    for number in 5..10 {
        world.publish(publisher, qos0("t", &number.to_string()));
    }
    let (subscriber, _) = world.join(&receiving("subscriber", 20));
    let expected = ["2", "3", "4", "7", "8", "9"];
    assert_eq!(world.payloads(subscriber), expected);
}

#[test]
fn a_queue_is_bounded_in_bytes_too() {
    let settings = Settings {
        queue_bytes: 3000,
        ..Settings::default()
    };
    let (mut world, subscriber, publisher) = pair_with(settings, 1);
    world.cut(subscriber);
    let payload = "x".repeat(1000);
    for _ in 0..5 {
        world.publish(publisher, qos1("t", &payload, 1));
    }
    let (subscriber, _) = world.join(&receiving("subscriber", 20));
    assert_eq!(world.payloads(subscriber).len(), 2);
}

#[test]
fn a_qos_0_message_waits_for_a_client_that_is_away_but_not_for_ever() {
    let (mut world, subscriber, publisher) = pair(20);
    world.cut(subscriber);
    world.publish(publisher, qos0("t", "a"));
    world.advance_s(30);
    world.publish(publisher, qos0("t", "b"));
    world.advance_s(31);
    let (subscriber, _) = world.join(&receiving("subscriber", 20));
    assert_eq!(world.payloads(subscriber), ["b"]);
}

#[test]
fn a_qos_0_message_waits_for_nobody_when_the_settings_say_so() {
    let settings = Settings {
        qos0_queue_ttl_ms: 0,
        ..Settings::default()
    };
    let (mut world, subscriber, publisher) = pair_with(settings, 20);
    world.cut(subscriber);
    world.publish(publisher, qos0("t", "a"));
    let (subscriber, _) = world.join(&receiving("subscriber", 20));
    assert_eq!(world.payloads(subscriber), [""; 0]);
}

#[test]
fn a_client_that_does_not_read_gets_the_rest_in_order_when_it_does() {
    let (mut world, subscriber, publisher) = pair(20);
    world.link(subscriber).room = 2;
    for name in 0..3 {
        world.publish(publisher, qos0("t", &format!("{name}-0")));
        world.publish(publisher, qos1("t", &format!("{name}-1"), 1));
    }
    assert_eq!(world.payloads(subscriber), ["0-0", "0-1"]);
    world.drain(subscriber, 3);
    assert_eq!(world.payloads(subscriber), ["1-1", "2-1", "1-0"]);
    world.publish(publisher, qos0("t", "3-0"));
    world.drain(subscriber, 9);
    assert_eq!(world.payloads(subscriber), ["2-0", "3-0"]);
    world.publish(publisher, qos0("t", "4-0"));
    assert_eq!(world.payloads(subscriber), ["4-0"]);
}

#[test]
fn a_client_that_does_not_read_delays_no_other() {
    let (mut world, subscriber, publisher) = pair(20);
    world.link(subscriber).room = 1;
    let (other, _) = world.join(&v3("other"));
    world.subscribe(other, "#", Qos::AtMostOnce);
    for _ in 0..100 {
        world.publish(publisher, qos0("t", "x"));
    }
    assert_eq!(world.payloads(other).len(), 100);
    assert_eq!(world.payloads(subscriber).len(), 1);
}

#[test]
fn a_message_too_large_for_a_client_is_left_out_3_1_2_25() {
    let (mut world, subscriber, publisher) = pair(1);
    world.link(subscriber).payload_max = 3;
    world.publish(publisher, qos0("t", "large"));
    world.publish(publisher, qos1("t", "large", 1));
    world.publish(publisher, qos1("t", "abc", 2));
    world.publish(publisher, qos1("t", "large", 3));
    world.publish(publisher, qos1("t", "def", 3));
    let [seen] = &world.messages(subscriber)[..] else {
        panic!("one in the window");
    };
    world.complete(subscriber, seen);
    assert_eq!(world.payloads(subscriber), ["def"]);
    world.cut(subscriber);
    let id = world.join_small(&receiving("subscriber", 1), 2);
    assert_eq!(world.payloads(id), [""; 0]);
    let session = world.effects.store.sessions.values().next();
    assert!(session.expect("of the subscriber").inflight.is_empty());
}

#[test]
fn a_message_that_waits_expires_and_says_what_is_left_3_3_2_5_and_3_3_2_6() {
    let (mut world, subscriber, publisher) = pair(20);
    world.cut(subscriber);
    for (payload, expiry_s) in [("a", 10), ("b", 20)] {
        for qos in [0, 1] {
            let publish = match qos {
                0 => qos0("t", payload),
                _ => qos1("t", payload, 1),
            };
            let expiry_s = Some(expiry_s);
            world.publish(
                publisher,
                Publish {
                    expiry_s,
                    ..publish
                },
            );
        }
    }
    world.advance(10_000);
    let (subscriber, _) = world.join(&receiving("subscriber", 20));
    let seen = world.messages(subscriber);
    let seen: Vec<_> = seen
        .iter()
        .map(|it| (it.payload.as_str(), it.qos, it.expiry_s))
        .collect();
    assert_eq!(seen, [("b", 1, Some(10)), ("b", 0, Some(10))]);
}

#[test]
fn a_message_that_waits_with_its_retain_flag_is_stored_once() {
    let (mut world, subscriber, publisher) = pair(1);
    let options = SubscriptionOptions {
        qos: Qos::AtLeastOnce,
        no_local: false,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    world.subscribe_with(subscriber, "r", options, Some(5));
    for payload in ["a", "b"] {
        let retained = Publish {
            retain: true,
            ..qos1("r", payload, 1)
        };
        world.publish(publisher, retained);
    }
    let first = world.messages(subscriber).remove(0);
    world.complete(subscriber, &first);
    let [second] = &world.messages(subscriber)[..] else {
        panic!("one in the window");
    };
    assert!(first.retain && second.retain);
    assert_eq!(second.subscription_ids, [5]);
    world.complete(subscriber, second);
}

#[test]
fn a_packet_identifier_is_not_used_twice_at_a_time_2_2_1_4() {
    let (mut world, subscriber, publisher) = pair(20);
    world.publish(publisher, qos1("t", "first", 1));
    world.take(subscriber);
    for _ in 0..3_000 {
        world.publish(publisher, qos1("t", "x", 1));
        let seen = world.messages(subscriber).remove(0);
        assert_ne!(seen.id, 1);
        world.complete(subscriber, &seen);
    }
}

#[test]
fn a_session_that_was_busy_gives_its_memory_back() {
    let mut world = World::new();
    let (id, _) = world.join(&v3_durable("a"));
    for packet_id in 1..1000 {
        world.publish(id, qos2("t", "x", packet_id));
    }
    for packet_id in 1..1000 {
        world.pubrel(id, packet_id);
    }
    let session = world.broker.sessions.iter().next().expect("of a").1;
    assert!(session.received.capacity() < 64);
}
