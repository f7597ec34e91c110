//! The ceiling of memory: what is counted, what goes first, and who is refused.

use super::world::{Packet, World, qos0, qos1, retained, subscribe, v3, v3_durable, v5, will};
use crate::broker::{ConnectionId, Input, Settings};
use crate::mqtt::packet::{Connect, ConnectProperties, Publish, SubscriptionOptions, Will};
use crate::mqtt::{Qos, ReasonCode};

/// What a world may hold, in bytes: an eighth of it is the reserve.
const LIMIT: usize = 64 << 10;

fn world() -> World {
    World::with(Settings {
        sys_interval_ms: 0,
        memory_limit: LIMIT,
        queue_messages: 10_000,
        ..Settings::default()
    })
}

fn kilobytes(count: usize) -> String {
    "x".repeat(count << 10)
}

/// A durable session that is away, with a subscription to its own name at this QoS.
fn away(world: &mut World, name: &str, qos: Qos) {
    let (id, _) = world.join(&v3_durable(name));
    world.subscribe(id, name, qos);
    world.cut(id);
}

/// The payloads that wait for a session, without the padding.
fn waiting(world: &World, name: &str) -> (Vec<String>, Vec<String>) {
    let key = world.broker.by_client_id[name];
    let session = &world.broker.sessions[key.index()];
    let text = |queue: &crate::broker::queue::Queue| {
        let text = |payload: &[u8]| String::from_utf8_lossy(payload).replace('x', "");
        queue
            .iter()
            .map(|queued| text(queued.message.payload()))
            .collect()
    };
    (text(&session.qos0_queue), text(&session.queue))
}

#[test]
fn the_identifiers_that_a_kept_message_is_sent_with_are_in_the_account() {
    let mut world = World::with(Settings {
        max_inflight: 1,
        ..Settings::default()
    });
    let (id, _) = world.join(&v5("many", 100));
    for number in 0..256_u32 {
        let level = |bit: u32| if number >> bit & 1 == 0 { "+" } else { "a" };
        let filter = (0..8).map(level).collect::<Vec<_>>().join("/");
        let options = SubscriptionOptions::with_qos(Qos::AtLeastOnce);
        world.subscribe_with(id, &filter, options, Some(number + 1));
    }
    let before = world.broker.held_bytes();
    let topic = ["a"; 8].join("/");
    for _ in 0..10 {
        world.publish_passing(&topic, "x");
    }
    let held = world.broker.held_bytes() - before;
    assert!(held > 10 * 256 * size_of::<u32>(), "{held}");
    world.disconnect(id, ReasonCode::SUCCESS, Some(0));
    assert_eq!(world.broker.held_bytes(), 0);
}

#[test]
fn what_comes_and_goes_leaves_nothing_in_the_account() {
    let mut world = world();
    assert_eq!(world.broker.held_bytes(), 0);
    let with_will = Connect {
        will: Some(will("a will")),
        ..v3_durable("one")
    };
    let (one, _) = world.join(&with_will);
    let (two, _) = world.join(&v5("two", 100));
    for filter in ["a", "a/b", "+/b", "a/#", "#", "+/+/c/d"] {
        world.subscribe(one, filter, Qos::ExactlyOnce);
        world.subscribe(two, filter, Qos::AtMostOnce);
    }
    world.cut(two);
    world.publish(
        one,
        Publish {
            retain: true,
            ..super::world::qos2("a/b", "kept", 1)
        },
    );
    world.publish(one, qos1("a", "kept", 2));
    world.publish(
        one,
        Publish {
            topic_alias: Some(3),
            ..qos0("a/b/c", "aliased")
        },
    );
    assert!(world.broker.held_bytes() > 3000);
    world.publish(one, retained("a/b", ""));
    world.cut(one);
    world.advance_s(100_000);
    assert_eq!(world.broker.sessions.len(), 0);
    assert_eq!(world.broker.held_bytes(), 0);
}

#[test]
fn a_message_for_a_hundred_sessions_is_counted_once() {
    let mut world = World::new();
    for number in 0..100 {
        let name = format!("away {number}");
        let (id, _) = world.join(&v3_durable(&name));
        world.subscribe(id, "all", Qos::AtLeastOnce);
        world.cut(id);
    }
    let (publisher, _) = world.join(&v3("publisher"));
    let before = world.broker.held_bytes();
    world.publish(publisher, qos1("all", &kilobytes(100), 1));
    let grown = world.broker.held_bytes() - before;
    assert!((100 << 10..120 << 10).contains(&grown), "{grown}");
}

#[test]
fn qos_0_messages_that_wait_go_first_and_the_oldest_of_them_before_the_others() {
    let mut world = world();
    away(&mut world, "a", Qos::AtMostOnce);
    away(&mut world, "b", Qos::AtMostOnce);
    away(&mut world, "c", Qos::AtLeastOnce);
    let (publisher, _) = world.join(&v3("publisher"));
    world.publish(publisher, qos1("c", &format!("c1{}", kilobytes(8)), 1));
    for number in 1..=4 {
        world.advance(10);
        world.publish(publisher, qos0("a", &format!("a{number}{}", kilobytes(4))));
        world.publish(publisher, qos0("b", &format!("b{number}{}", kilobytes(4))));
    }
    assert_eq!(waiting(&world, "a").0, ["a1", "a2", "a3", "a4"]);
    world.publish(publisher, qos1("c", &format!("c2{}", kilobytes(16)), 2));
    assert_eq!(waiting(&world, "c").1, ["c1", "c2"]);
    assert_eq!(waiting(&world, "a").0, ["a3", "a4"]);
    assert_eq!(waiting(&world, "b").0, ["b2", "b3", "b4"]);
    assert_eq!(world.broker.sessions.len(), 4);
}

#[test]
fn then_sessions_of_nobody_go_those_that_hold_nothing_first_and_then_the_longest_away() {
    let mut world = world();
    for name in ["first", "second", "third"] {
        away(&mut world, name, Qos::AtLeastOnce);
        world.advance(10);
    }
    let (empty, _) = world.join(&v3_durable("empty"));
    world.cut(empty);
    let (publisher, _) = world.join(&v3("publisher"));
    for name in ["first", "second", "third"] {
        world.publish(publisher, qos1(name, &kilobytes(16), 1));
    }
    assert_eq!(world.broker.sessions.len(), 5);
    world.publish(publisher, qos1("third", &kilobytes(8), 2));
    let mut left: Vec<&str> = world.broker.by_client_id.keys().map(|id| &**id).collect();
    left.sort_unstable();
    assert_eq!(left, ["publisher", "second", "third"]);
    assert_eq!(world.closed(publisher), None);
}

#[test]
fn then_the_oldest_messages_of_clients_that_are_there() {
    let mut world = world();
    world.room = 1;
    let (reader, _) = world.join(&v3("reader"));
    world.room = usize::MAX;
    world.subscribe(reader, "r", Qos::AtLeastOnce);
    let (publisher, _) = world.join(&v3("publisher"));
    for number in 1..=20 {
        world.advance(1);
        world.publish(
            publisher,
            qos1("r", &format!("{number}{}", kilobytes(8)), 1),
        );
    }
    let left = waiting(&world, "reader").1;
    assert!((3..=6).contains(&left.len()), "{left:?}");
    assert_eq!(left.last().map(String::as_str), Some("20"));
    assert_eq!(world.closed(publisher), None);
    assert!(world.broker.held_bytes() <= LIMIT);
}

/// A world that is full of what cannot go: retained messages.
fn full() -> (World, ConnectionId) {
    let mut world = world();
    let (id, _) = world.join(&v5("filler", 0));
    for number in 0..100 {
        let topic = format!("retained/{number}");
        world.publish(id, retained(&topic, &kilobytes(1)));
    }
    let limit = LIMIT - LIMIT / 8;
    assert!((limit - 2048..=limit).contains(&world.broker.held_bytes()));
    // What is asked for next is more than one of them.
    world.publish(id, retained("retained/0", ""));
    world.take(id);
    (world, id)
}

#[test]
fn then_new_work_is_refused_with_its_reason() {
    let (mut world, filler) = full();
    let big = kilobytes(4);
    world.publish(filler, qos1("t", &big, 1));
    let refused = Packet::PubAck(1, ReasonCode::QUOTA_EXCEEDED);
    assert_eq!(world.take(filler), [refused]);
    let filter = format!("{big}/x");
    world.send(
        filler,
        subscribe(
            &filter,
            SubscriptionOptions::with_qos(Qos::AtMostOnce),
            None,
        ),
    );
    assert_eq!(
        world.take(filler),
        [Packet::SubAck(1, vec![ReasonCode::QUOTA_EXCEEDED])]
    );
    let large = Will {
        payload: big.as_bytes(),
        ..will("w")
    };
    let newcomer = world.connect(&Connect {
        will: Some(large),
        ..v5("newcomer", 0)
    });
    assert_eq!(world.closed(newcomer), Some(ReasonCode::QUOTA_EXCEEDED));
    // What asks for nothing is served.
    world.subscribe(filler, "t", Qos::AtMostOnce);
    world.publish(filler, qos0("t", &big));
    assert_eq!(world.payloads(filler), [big]);
}

#[test]
fn a_client_of_3_1_1_is_disconnected_rather_than_told_that_its_message_is_taken() {
    let (mut world, _) = full();
    let (old, _) = world.join(&v3("old"));
    world.publish(old, qos1("t", &kilobytes(4), 1));
    assert_eq!(world.closed(old), Some(ReasonCode::QUOTA_EXCEEDED));
    assert!(
        world
            .take(old)
            .iter()
            .all(|packet| !matches!(packet, Packet::PubAck(..)))
    );
}

#[test]
fn the_routers_own_clients_have_a_reserve() {
    let (mut world, _) = full();
    world.reserve = true;
    let (own, _) = world.join(&v3_durable("own"));
    world.subscribe(own, "t", Qos::AtLeastOnce);
    world.publish(own, qos1("t", &kilobytes(2), 1));
    assert_eq!(world.closed(own), None);
    assert_eq!(world.take(own).len(), 2);
    world.cut(own);
    let (_, is_present) = world.join(&v3_durable("own"));
    assert!(is_present, "its session is not spent for others");
}

#[test]
fn what_the_network_holds_counts_and_is_felt_at_once() {
    let mut world = world();
    away(&mut world, "a", Qos::AtMostOnce);
    let (publisher, _) = world.join(&v3("publisher"));
    world.publish(publisher, qos0("a", &kilobytes(4)));
    world.publish(publisher, qos0("a", &kilobytes(4)));
    assert_eq!(waiting(&world, "a").0.len(), 2);
    world.handle(Input::Network { bytes: 48 << 10 });
    assert_eq!(waiting(&world, "a").0.len(), 0);
    world.handle(Input::Network { bytes: LIMIT });
    let refused = world.connect(&v3("newcomer"));
    assert_eq!(world.closed(refused), Some(ReasonCode::QUOTA_EXCEEDED));
    world.handle(Input::Network { bytes: 0 });
    world.join(&v3("newcomer"));
}

#[test]
fn a_flood_of_sessions_costs_no_more_than_the_limit_and_spares_who_is_there() {
    let mut world = world();
    world.compare_every = 1000;
    let (present, _) = world.join(&v3("present"));
    world.subscribe(present, "p", Qos::AtMostOnce);
    for number in 0..5000 {
        let id = world.connect(&Connect {
            properties: ConnectProperties::default(),
            ..v3_durable(&format!("random {number}"))
        });
        world.subscribe(id, "+/x", Qos::AtLeastOnce);
        world.cut(id);
        assert!(world.broker.held_bytes() <= LIMIT);
    }
    world.publish(present, qos0("p", "still here"));
    assert_eq!(world.payloads(present), ["still here"]);
}

#[test]
fn a_deep_tree_of_filters_is_given_back() {
    let mut world = World::new();
    let (id, _) = world.join(&v3("a"));
    let filters: Vec<String> = (0..50)
        .map(|n| format!("{n}/{}#", "l/".repeat(60)))
        .collect();
    for filter in &filters {
        world.subscribe(id, filter, Qos::AtMostOnce);
    }
    world.subscribe(id, "keep/+/this", Qos::AtMostOnce);
    for filter in &filters {
        world.unsubscribe(id, filter);
    }
    world.broker.router.shrink();
    assert_eq!(world.broker.router.slots(), 4);
    world.publish(id, qos0("keep/x/this", "found"));
    assert_eq!(world.payloads(id), ["found"]);
    assert_eq!(world.unsubscribe(id, "keep/+/this"), ReasonCode::SUCCESS);
}
