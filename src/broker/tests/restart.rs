//! The broker is killed, and another takes over what the store has kept.

use std::collections::BTreeMap;

use super::store::{Flying, Store, Waiting};
use super::world::{Packet, World, qos0, qos1, qos2, retained, v3, v3_durable, v5, will};
use crate::broker::effect::SessionId;
use crate::broker::{Broker, Input, Owner, Restored, Settings, Time, limits};
use crate::mqtt::packet::{Connect, SubscriptionOptions, Will};
use crate::mqtt::{Message, PacketId, Qos, ReasonCode};

/// Gives a broker everything that a store has, which it must take.
pub(super) fn restore(store: &Store, broker: &mut Broker, now: Time) {
    let mut take = |item: Restored<'_>| {
        let taken = broker.restore(now, item.clone());
        taken.unwrap_or_else(|refused| panic!("{item:?}: {refused}"));
    };
    for message in messages(store).values() {
        take(Restored::Message {
            id: message.id(),
            topic: message.topic(),
            properties: &message.stored_properties(),
            payload: message.payload(),
            qos: message.qos(),
            retain: message.retain(),
            expires_at_ms: message.expires_at_ms(),
        });
    }
    for (id, session) in &store.sessions {
        take(Restored::Session {
            session: SessionId(*id),
            client_id: &session.client_id,
            owner: Owner::of(session.user.as_deref()),
            expiry_s: session.expiry_s,
            offline_since: session.away_since,
        });
    }
    for id in store.sessions.keys() {
        restore_session(store, SessionId(*id), &mut take);
    }
    for message in store.retained.values() {
        let message = message.id();
        take(Restored::Retained { message });
    }
    for (message, publisher, until) in &store.kept {
        take(Restored::Kept {
            message: message.id(),
            publisher: *publisher,
            until: *until,
        });
    }
}

fn restore_session(store: &Store, session: SessionId, take: &mut impl FnMut(Restored<'_>)) {
    let stored = &store.sessions[&session.0];
    for (filter, (options, subscription_id)) in &stored.subscriptions {
        let (options, subscription_id) = (*options, *subscription_id);
        take(Restored::Subscription {
            session,
            filter,
            options,
            subscription_id,
        });
    }
    for (id, flying) in &stored.inflight {
        let packet_id = PacketId::new(*id).expect("it was given");
        match flying {
            Flying::Publish(waiting) => take(queued(session, waiting, Some(packet_id))),
            Flying::PubRel => take(Restored::PubRel { session, packet_id }),
        }
    }
    for waiting in stored.queued.iter().chain(&stored.queued_qos0) {
        take(queued(session, waiting, None));
    }
    for id in &stored.received {
        let packet_id = PacketId::new(*id).expect("it was taken");
        take(Restored::Taken { session, packet_id });
    }
    if let Some((message, delay_s, expiry_s)) = &stored.will {
        take(Restored::Will {
            session,
            message: message.id(),
            delay_s: *delay_s,
            expiry_s: *expiry_s,
        });
    }
}

fn queued(session: SessionId, waiting: &Waiting, packet_id: Option<PacketId>) -> Restored<'_> {
    Restored::Queued {
        session,
        message: waiting.message.id(),
        qos: waiting.qos,
        retain: waiting.retain,
        subscription_ids: &waiting.subscription_ids,
        share: waiting.share.as_deref(),
        packet_id,
    }
}

fn messages(store: &Store) -> BTreeMap<u64, &Message> {
    let mut all: Vec<&Message> = store.retained.values().collect();
    all.extend(store.kept.iter().map(|(message, ..)| message));
    for session in store.sessions.values() {
        let queued = session.queued.iter().chain(&session.queued_qos0);
        all.extend(queued.map(|waiting| &waiting.message));
        all.extend(session.inflight.iter().filter_map(|(_, it)| match it {
            Flying::Publish(waiting) => Some(&waiting.message),
            Flying::PubRel => None,
        }));
        all.extend(session.will.as_ref().map(|(message, ..)| message));
    }
    let by_id = all.into_iter().map(|message| (message.id(), message));
    by_id.collect()
}

#[test]
fn what_was_in_flight_comes_again_as_a_duplicate_and_in_order_before_what_waited() {
    let mut world = World::with(Settings {
        max_inflight: 2,
        sys_interval_ms: 0,
        ..Settings::default()
    });
    let (client, _) = world.join(&v3_durable("c"));
    world.subscribe(client, "t", Qos::ExactlyOnce);
    let (publisher, _) = world.join(&v3("p"));
    world.publish(publisher, qos2("t", "one", 1));
    world.publish(publisher, qos1("t", "two", 2));
    world.publish(publisher, qos1("t", "three", 3));
    let released = world.messages(client)[0].id;
    world.pubrec(client, released);
    world.crash(100);

    let (client, present) = world.join(&v3_durable("c"));
    assert!(present);
    let packets = world.take(client);
    assert_eq!(packets[0], Packet::PubRel(released, ReasonCode::SUCCESS));
    let Packet::Publish(two) = packets[1].clone() else {
        panic!("{packets:?}");
    };
    assert_eq!((&*two.payload, two.duplicate), ("two", true));
    world.pubcomp(client, released);
    let three = world.messages(client).remove(0);
    assert_eq!((&*three.payload, three.duplicate), ("three", false));
    assert!(three.id != two.id && three.id != released, "{three:?}");
}

#[test]
fn a_qos_2_message_that_was_taken_is_a_repetition_after_a_restart() {
    let mut world = World::new();
    let (client, _) = world.join(&v3_durable("c"));
    world.subscribe(client, "t", Qos::ExactlyOnce);
    let (publisher, _) = world.join(&v3_durable("p"));
    world.publish(publisher, qos2("t", "once", 7));
    world.crash(0);

    let (publisher, _) = world.join(&v3_durable("p"));
    world.publish(publisher, qos2("t", "once", 7));
    assert_eq!(
        world.take(publisher),
        [Packet::PubRec(7, ReasonCode::SUCCESS)]
    );
    let (client, _) = world.join(&v3_durable("c"));
    assert_eq!(world.payloads(client), ["once"]);
}

#[test]
fn a_qos_0_message_that_waits_for_a_client_that_is_away_survives_and_comes_once() {
    let mut world = World::new();
    let (client, _) = world.join(&v3_durable("c"));
    world.subscribe(client, "t", Qos::AtMostOnce);
    world.cut(client);
    let (publisher, _) = world.join(&v3("p"));
    world.publish(publisher, qos0("t", "waits"));
    world.crash(0);
    let (client, _) = world.join(&v3_durable("c"));
    assert_eq!(world.payloads(client), ["waits"]);
    world.crash(0);
    let (client, _) = world.join(&v3_durable("c"));
    assert!(world.payloads(client).is_empty());
}

#[test]
fn qos_0_messages_that_a_client_left_unread_are_stored_when_it_goes() {
    let mut world = World::new();
    world.room = 1;
    let (client, _) = world.join(&v3_durable("c"));
    world.subscribe(client, "t", Qos::AtMostOnce);
    let (publisher, _) = world.join(&v3("p"));
    for payload in ["read", "unread", "unread too"] {
        world.publish(publisher, qos0("t", payload));
    }
    world.cut(client);
    world.room = usize::MAX;
    world.crash(0);
    let (client, _) = world.join(&v3_durable("c"));
    assert_eq!(world.payloads(client), ["unread", "unread too"]);
}

#[test]
fn a_lifetime_goes_on_while_the_broker_is_gone_and_begins_then_for_who_was_connected() {
    let mut world = World::new();
    let (away, _) = world.join(&v5("away", 100));
    world.cut(away);
    world.join(&v5("connected", 100));
    world.advance_s(60);
    world.crash(39_000);
    assert_eq!(world.effects.store.sessions.len(), 2);
    world.advance_s(1);
    assert_eq!(world.effects.store.sessions.len(), 1);
    assert!(world.join(&v5("connected", 100)).1);
    world.crash(100_000);
    assert!(world.join(&v5("connected", 100)).1);
    world.crash(0);
    world.crash(100_000);
    assert!(
        world.effects.store.sessions.is_empty(),
        "away since the first of both"
    );
    assert!(!world.join(&v5("connected", 100)).1);
}

fn v5_with_will(delay_s: u32) -> Connect<'static> {
    Connect {
        will: Some(Will {
            delay_s,
            ..will("gone")
        }),
        ..v5("c", 1_000)
    }
}

#[test]
fn a_will_is_sent_after_a_restart_when_its_client_does_not_come_back_in_time() {
    let grace_s = limits::WILL_GRACE_MS / 1000;
    for (delay_s, due_s) in [(0, grace_s), (10, grace_s), (100, 100)] {
        let mut world = World::new();
        let (watcher, _) = world.join(&v3_durable("watcher"));
        world.subscribe(watcher, "gone", Qos::AtLeastOnce);
        world.join(&v5_with_will(delay_s));
        world.crash(5_000);
        let (watcher, _) = world.join(&v3_durable("watcher"));
        world.advance_s(due_s - 1);
        assert!(world.payloads(watcher).is_empty(), "delay {delay_s}");
        world.advance_s(1);
        assert_eq!(world.payloads(watcher), ["will"], "delay {delay_s}");
    }
}

#[test]
fn a_will_is_void_when_its_client_comes_back_after_a_restart() {
    let mut world = World::new();
    let (watcher, _) = world.join(&v3_durable("watcher"));
    world.subscribe(watcher, "gone", Qos::AtLeastOnce);
    world.join(&v5_with_will(0));
    world.handle(Input::Shutdown);
    world.crash(1_000);
    world.advance_s(10);
    world.join(&v5("c", 1_000));
    let (watcher, _) = world.join(&v3_durable("watcher"));
    world.advance_s(500);
    assert!(world.payloads(watcher).is_empty());
}

#[test]
fn a_restored_message_of_a_shared_subscription_goes_to_another_member_when_its_session_ends() {
    let mut world = World::new();
    let filter = "$share/group/t";
    let (one, _) = world.join(&v5("one", 50));
    world.subscribe(one, filter, Qos::AtLeastOnce);
    world.cut(one);
    world.publish_passing("t", "payload");
    world.crash(0);
    let (other, _) = world.join(&v5("other", 5_000));
    world.subscribe(other, filter, Qos::AtLeastOnce);
    world.advance_s(51);
    assert_eq!(world.payloads(other), ["payload"]);
}

#[test]
fn a_store_that_keeps_nothing_of_sys_is_consistent_after_a_restart() {
    let mut world = World::with(Settings {
        sys_interval_ms: 1_000,
        ..Settings::default()
    });
    world.effects.store.without_sys = true;
    let (client, _) = world.join(&v3_durable("c"));
    world.subscribe(client, "$SYS/#", Qos::ExactlyOnce);
    world.subscribe(client, "t", Qos::AtLeastOnce);
    world.advance_s(5);
    for packet in world.take(client) {
        if let Packet::Publish(seen) = packet
            && seen.id % 2 == 0
        {
            world.pubrec(client, seen.id);
        }
    }
    world.publish_passing("t", "kept");
    world.cut(client);
    world.advance_s(5);
    world.crash(0);
    let (client, present) = world.join(&v3_durable("c"));
    assert!(present);
    let packets = world.take(client);
    let kept = packets.iter().any(|packet| match packet {
        Packet::Publish(seen) => seen.payload == "kept",
        _ => false,
    });
    assert!(kept, "{packets:?}");
}

#[test]
fn numbers_go_on_above_all_that_were_ever_given() {
    let mut world = World::new();
    let numbers = Restored::Numbers {
        message: 70,
        session: 7,
    };
    assert_eq!(world.restore(numbers), Ok(()));
    world.broker.restored(Time(0), &mut world.effects);
    let (client, _) = world.join(&v3_durable("c"));
    world.publish(client, retained("t", "x"));
    assert_eq!(world.effects.numbers, (71, 8));
}

fn a_session(id: u64, client_id: &str) -> Restored<'_> {
    Restored::Session {
        session: SessionId(id),
        client_id,
        owner: Owner::of(None),
        expiry_s: 100,
        offline_since: Some(Time(u64::MAX)),
    }
}

fn a_message(id: u64, topic: &str) -> Restored<'_> {
    Restored::Message {
        id,
        topic,
        properties: &[],
        payload: b"payload",
        qos: Qos::AtLeastOnce,
        retain: true,
        expires_at_ms: None,
    }
}

fn a_queued(session: u64, message: u64, qos: Qos, packet_id: u16) -> Restored<'static> {
    Restored::Queued {
        session: SessionId(session),
        message,
        qos,
        retain: false,
        subscription_ids: &[],
        share: None,
        packet_id: PacketId::new(packet_id),
    }
}

fn a_subscription(session: u64, filter: &str) -> Restored<'_> {
    Restored::Subscription {
        session: SessionId(session),
        filter,
        options: SubscriptionOptions::with_qos(Qos::AtLeastOnce),
        subscription_id: None,
    }
}

#[test]
fn bad_items_are_refused_and_change_nothing() {
    let mut world = World::new();
    for item in [a_message(1, "t"), a_session(1, "c"), a_subscription(1, "t")] {
        assert_eq!(world.restore(item), Ok(()));
    }
    let good = [
        a_queued(1, 1, Qos::AtLeastOnce, 5),
        a_queued(1, 1, Qos::AtLeastOnce, 0),
        a_queued(1, 1, Qos::AtMostOnce, 0),
        Restored::Retained { message: 1 },
    ];
    for item in good {
        assert_eq!(world.restore(item), Ok(()));
    }
    let (session, packet_id) = (SessionId(1), PacketId::FIRST);
    let taken = Restored::Taken { session, packet_id };
    assert_eq!(world.restore(taken.clone()), Ok(()));
    let deep = "+/".repeat(limits::FILTER_LEVELS_MAX);
    let mut bad_properties = a_message(2, "t");
    if let Restored::Message { properties, .. } = &mut bad_properties {
        *properties = &[0x03, 0, 9];
    }
    let mut strange_share = a_queued(1, 1, Qos::AtLeastOnce, 0);
    if let Restored::Queued { share, .. } = &mut strange_share {
        *share = Some("t");
    }
    let bad = [
        a_message(1, "twice"),
        a_message(u64::MAX, "t"),
        a_message(2, "no/name/#"),
        bad_properties,
        a_session(1, "other"),
        a_session(2, "c"),
        a_session(2, ""),
        a_session(u64::MAX, "d"),
        a_subscription(9, "t"),
        a_subscription(1, "a#"),
        a_subscription(1, "$share/t"),
        a_subscription(1, &deep),
        a_queued(1, 9, Qos::AtLeastOnce, 0),
        a_queued(9, 1, Qos::AtLeastOnce, 0),
        a_queued(1, 1, Qos::AtLeastOnce, 5),
        a_queued(1, 1, Qos::AtMostOnce, 6),
        strange_share,
        taken,
        Restored::Retained { message: 1 },
        Restored::Retained { message: 9 },
    ];
    let before = world.broker.held_bytes();
    for item in bad {
        let refused = world.restore(item.clone());
        assert!(refused.is_err(), "{item:?}");
        assert_eq!(world.broker.held_bytes(), before, "{item:?}");
    }
    world.broker.restored(Time(0), &mut world.effects);
    world.effects.store = Store::held_by(&world.broker);
    let (client, present) = world.join(&v3_durable("c"));
    assert!(present);
    assert_eq!(world.payloads(client).len(), 3);
}

#[test]
fn nothing_is_restored_beyond_the_memory_limit() {
    let mut world = World::with(Settings {
        memory_limit: 100_000,
        sys_interval_ms: 0,
        ..Settings::default()
    });
    let taken = (1..1_000).take_while(|id| world.restore(a_message(*id, "t")).is_ok());
    let count = taken.count();
    assert!((100..900).contains(&count), "{count}");
    assert!(world.broker.held_bytes() <= 100_000);
    world.broker.restored(Time(0), &mut world.effects);
    assert!(world.broker.held_bytes() < 2_000, "nothing refers to them");
}

#[test]
fn queues_are_cut_to_bounds_that_have_become_narrower() {
    let mut world = World::with(Settings {
        queue_messages: 2,
        sys_interval_ms: 0,
        ..Settings::default()
    });
    for item in [a_session(1, "c")]
        .into_iter()
        .chain((1..=4).map(|id| a_message(id, "t")))
    {
        assert_eq!(world.restore(item), Ok(()));
    }
    for message in 1..=4 {
        assert_eq!(
            world.restore(a_queued(1, message, Qos::AtLeastOnce, 0)),
            Ok(())
        );
    }
    world.effects.store = Store::held_by(&world.broker);
    world.broker.restored(Time(0), &mut world.effects);
    world.compare();
    assert_eq!(world.effects.store.sessions[&1].queued.len(), 2);
}

#[test]
fn sessions_without_a_client_are_bounded_and_what_holds_least_goes_first() {
    let mut world = World::new();
    world.compare_every = u32::MAX;
    let (first, _) = world.join(&v3_durable("holds a message"));
    world.subscribe(first, "t", Qos::AtLeastOnce);
    world.cut(first);
    world.publish_passing("t", "kept");
    let (second, _) = world.join(&v3_durable("subscribes"));
    world.subscribe(second, "u", Qos::AtLeastOnce);
    world.cut(second);
    for number in 0..limits::SESSIONS_AWAY_MAX {
        let name = format!("orphan {number}");
        let (id, _) = world.join(&v3_durable(&name));
        world.cut(id);
    }
    let count = world.effects.store.sessions.len();
    let most = limits::SESSIONS_AWAY_MAX;
    assert!(count <= most && count > most - most / 15, "{count}");
    world.compare();
    assert!(
        !world.join(&v3_durable("orphan 0")).1,
        "away for longest of those that hold nothing"
    );
    assert!(world.join(&v3_durable("holds a message")).1);
    assert!(world.join(&v3_durable("subscribes")).1);
}
