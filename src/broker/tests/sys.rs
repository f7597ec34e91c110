//! `$SYS`: which values are there, and when they are published.

use std::collections::BTreeSet;

use super::world::{World, qos0, qos1, retained, v3, v5};
use crate::broker::{Input, Settings, Storage, Traffic};
use crate::mqtt::{Qos, ReasonCode};

/// What mosquitto 2.1 publishes while nothing is stored, but for what it tells of its own memory and log, and the class of durability.
const NAMES: [&str; 30] = [
    "version",
    "uptime",
    "clients/total",
    "clients/maximum",
    "clients/disconnected",
    "clients/inactive",
    "clients/connected",
    "clients/active",
    "clients/expired",
    "messages/stored",
    "messages/received",
    "messages/sent",
    "store/messages/count",
    "store/messages/bytes",
    "store/class",
    "subscriptions/count",
    "shared_subscriptions/count",
    "retained messages/count",
    "heap/current",
    "heap/maximum",
    "bytes/received",
    "bytes/sent",
    "publish/messages/dropped",
    "publish/messages/received",
    "publish/messages/sent",
    "publish/bytes/received",
    "publish/bytes/sent",
    "packet/out/count",
    "packet/out/bytes",
    "connections/socket/count",
];

/// What is told as a mean of 1, 5 and 15 minutes.
const LOADS: [&str; 9] = [
    "messages/received",
    "messages/sent",
    "publish/dropped",
    "publish/received",
    "publish/sent",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
];

fn value(world: &World, name: &str) -> String {
    let topic = format!("$SYS/broker/{name}");
    let message = world.broker.retained.get(&topic);
    let message = message.unwrap_or_else(|| panic!("{topic} is there"));
    String::from_utf8_lossy(message.payload()).into_owned()
}

#[test]
fn values_are_there_from_the_start_and_retained() {
    let mut world = World::with(Settings::default());
    let (early, _) = world.join(&v3("early"));
    world.subscribe(early, "$SYS/broker/version", Qos::ExactlyOnce);
    world.advance(0);
    assert!(world.payloads(early)[0].starts_with("fosquitto version "));
    let (late, _) = world.join(&v3("late"));
    world.subscribe(late, "$SYS/#", Qos::AtMostOnce);
    let seen = world.messages(late);
    assert!(seen.iter().all(|seen| seen.retain));
    let topics = seen
        .iter()
        .map(|seen| seen.topic.strip_prefix("$SYS/broker/"));
    let topics: BTreeSet<_> = topics.map(|topic| topic.expect("its own")).collect();
    let loads = LOADS.into_iter().flat_map(|name| {
        let spans = ["1min", "5min", "15min"];
        spans.map(|span| format!("load/{name}/{span}"))
    });
    let loads: Vec<String> = loads.collect();
    let expected = loads.iter().map(String::as_str);
    assert_eq!(topics, NAMES.into_iter().chain(expected).collect());
    assert_eq!(world.effects.operations, 0);
}

#[test]
fn only_values_that_changed_are_published_again() {
    let mut world = World::with(Settings::default());
    let (id, _) = world.join(&v3("a"));
    world.advance(0);
    world.subscribe(id, "$SYS/broker/clients/#", Qos::AtMostOnce);
    world.take(id);
    world.advance_s(10);
    assert_eq!(world.payloads(id), [""; 0]);
    world.join(&v5("b", 100));
    world.advance_s(10);
    let topics: Vec<_> = world.messages(id).into_iter().map(|it| it.topic).collect();
    let names = ["total", "maximum", "connected", "active"];
    assert_eq!(
        topics,
        names.map(|name| format!("$SYS/broker/clients/{name}"))
    );
}

#[test]
fn clients_and_messages_are_counted() {
    let mut world = World::with(Settings::default());
    let (a, _) = world.join(&v5("a", 5));
    let (b, _) = world.join(&v3("b"));
    world.subscribe(b, "t", Qos::AtMostOnce);
    world.publish(a, qos0("t", "four"));
    world.cut(a);
    let traffic = Traffic {
        bytes_received: 7,
        bytes_sent: 9,
        unsent_packets: 2,
        unsent_bytes: 3,
        sockets: 4,
        store: None,
    };
    world.handle(Input::Tick(traffic));
    for (name, expected) in [
        ("clients/total", "2"),
        ("clients/connected", "1"),
        ("clients/disconnected", "1"),
        ("clients/maximum", "2"),
        ("publish/messages/received", "1"),
        ("publish/messages/sent", "1"),
        ("publish/bytes/sent", "4"),
        ("subscriptions/count", "1"),
        ("bytes/received", "7"),
        ("bytes/sent", "9"),
        ("packet/out/count", "2"),
        ("packet/out/bytes", "3"),
        ("connections/socket/count", "4"),
        ("load/sockets/1min", "0.00"),
        ("uptime", "0 seconds"),
    ] {
        assert_eq!(value(&world, name), expected, "{name}");
    }
    world.advance_s(10);
    assert_eq!(value(&world, "clients/expired"), "1");
    assert_eq!(value(&world, "uptime"), "10 seconds");
}

#[test]
fn what_waits_and_what_is_retained_is_counted_with_its_bytes() {
    let mut world = World::with(Settings::default());
    let (away, _) = world.join(&v5("away", 100));
    world.subscribe(away, "t", Qos::AtLeastOnce);
    world.cut(away);
    let (publisher, _) = world.join(&v3("publisher"));
    let bytes = |world: &World| -> usize {
        value(world, "store/messages/bytes")
            .parse()
            .expect("a number")
    };
    let tick = |world: &mut World| world.advance_s(10);
    tick(&mut world);
    let before = bytes(&world);
    world.publish(publisher, qos1("t", &"x".repeat(1000), 1));
    tick(&mut world);
    let waits = bytes(&world);
    assert!(waits >= before + 1000, "{before} {waits}");
    world.publish(publisher, retained("r", &"x".repeat(1000)));
    tick(&mut world);
    assert!(bytes(&world) >= waits + 1000);
}

#[test]
fn what_the_store_did_is_told_and_its_error_only_while_there_is_one() {
    let mut world = World::with(Settings::default());
    world.handle(Input::Tick(Traffic::default()));
    assert_eq!(value(&world, "store/class"), "volatile");
    let (id, _) = world.join(&v3("a"));
    world.subscribe(id, "$SYS/broker/store/error", Qos::AtMostOnce);
    let mut storage = Storage {
        class: "commit",
        flash_bytes: 1,
        flash_syncs: 2,
        commits: 3,
        journal_bytes: 4,
        last_commit_s: Some(5),
        applied: 6,
        pending: 7,
        error: "disk full",
    };
    for error in ["disk full", "disk full", "", ""] {
        storage.error = error;
        let now = world.now.after_s(10);
        world.now = now;
        world.handle(Input::Tick(Traffic {
            store: Some(storage),
            ..Traffic::default()
        }));
    }
    assert_eq!(world.payloads(id), ["disk full", ""]);
    for (name, expected) in [
        ("class", "commit"),
        ("flash/bytes", "1"),
        ("flash/syncs", "2"),
        ("commits", "3"),
        ("journal/bytes", "4"),
        ("commits/last", "5 seconds"),
        ("records/applied", "6"),
        ("records/pending", "7"),
    ] {
        assert_eq!(value(&world, &format!("store/{name}")), expected, "{name}");
    }
    let error = world.broker.retained.get("$SYS/broker/store/error");
    assert!(error.is_none());
    assert_eq!(world.effects.operations, 0);
}

#[test]
fn a_wildcard_does_not_show_the_servers_topics_4_7_2_1() {
    let mut world = World::with(Settings::default());
    world.advance(0);
    let (id, _) = world.join(&v3("a"));
    world.subscribe(id, "#", Qos::AtMostOnce);
    world.subscribe(id, "+/broker/version", Qos::AtMostOnce);
    world.advance_s(20);
    assert_eq!(world.payloads(id), [""; 0]);
}

#[test]
fn an_interval_of_0_publishes_nothing_and_a_new_interval_counts_from_now() {
    let mut world = World::new();
    world.advance_s(100);
    assert_eq!(world.broker.retained.len(), 0);
    world.handle(Input::Settings(Settings::default()));
    world.advance(0);
    assert_eq!(value(&world, "uptime"), "100 seconds");
    world.handle(Input::Settings(Settings {
        sys_interval_ms: 1000,
        ..Settings::default()
    }));
    world.advance(999);
    assert_eq!(value(&world, "uptime"), "100 seconds");
    world.advance(1);
    assert_eq!(value(&world, "uptime"), "101 seconds");
}

#[test]
fn what_has_expired_is_swept_without_sys_too() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 1000));
    world.subscribe(id, "q", Qos::AtMostOnce);
    world.subscribe(id, "q1", Qos::AtLeastOnce);
    world.disconnect(id, ReasonCode::SUCCESS, None);
    let (id, _) = world.join(&v5("b", 0));
    for (payload, expiry_s) in [("kept", None), ("expired", Some(5))] {
        world.publish(
            id,
            crate::mqtt::packet::Publish {
                expiry_s,
                ..qos1("q1", payload, 1)
            },
        );
    }
    world.publish(
        id,
        crate::mqtt::packet::Publish {
            expiry_s: Some(5),
            ..retained("t", "x")
        },
    );
    world.publish(id, qos0("q", "x"));
    world.advance_s(200);
    assert_eq!(world.broker.retained.len(), 0);
    assert!(world.effects.store.retained.is_empty());
    let session = world.broker.sessions.iter().next().expect("of a").1;
    assert!(session.qos0_queue.is_empty());
    let waiting: Vec<&[u8]> = session
        .queue
        .iter()
        .map(|queued| queued.message.payload())
        .collect();
    assert_eq!(waiting, [b"kept"]);
}
