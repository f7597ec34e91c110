//! How long connections and sessions last: keep alive, session expiry, DISCONNECT, shutdown.

use super::world::{Packet, World, qos0, qos1, v3, v3_durable, v5, will};
use crate::broker::{Input, Settings, Traffic};
use crate::mqtt::packet::{ClientPacket, Connect, Will};
use crate::mqtt::{Qos, ReasonCode};

fn session_lasts(world: &mut World, connect: &Connect<'_>) -> bool {
    world.join(connect).1
}

#[test]
fn a_session_of_5_0_lasts_for_its_expiry_interval_after_its_connection_3_1_2_23_and_4_1_0_2() {
    for (wait_ms, lasts) in [(9_999, true), (10_000, false)] {
        let mut world = World::new();
        let (id, _) = world.join(&v5("a", 10));
        world.advance_s(100);
        world.cut(id);
        world.advance(wait_ms);
        assert_eq!(session_lasts(&mut world, &v5("a", 10)), lasts);
    }
}

#[test]
fn a_session_of_3_1_1_lasts_as_long_as_the_settings_say() {
    for (wait_s, lasts) in [(86_399, true), (86_400, false)] {
        let mut world = World::new();
        let (id, _) = world.join(&v3_durable("a"));
        world.disconnect(id, ReasonCode::SUCCESS, None);
        world.advance_s(wait_s);
        assert_eq!(session_lasts(&mut world, &v3_durable("a")), lasts);
    }
}

#[test]
fn what_was_over_when_a_client_comes_back_is_over_though_no_tick_has_said_so() {
    let mut world = World::new();
    let (watcher, _) = world.join(&v3("watcher"));
    world.subscribe(watcher, "gone", Qos::AtMostOnce);
    for (expiry_s, delay_s, lasts) in [(10, 100, false), (100, 10, true)] {
        let (id, _) = world.join(&Connect {
            clean_start: true,
            will: Some(Will {
                delay_s,
                ..will("gone")
            }),
            ..v5("a", expiry_s)
        });
        world.cut(id);
        world.now = world.now.after_s(10);
        assert_eq!(session_lasts(&mut world, &v5("a", 100)), lasts);
        assert_eq!(world.payloads(watcher), ["will"]);
    }
}

#[test]
fn a_session_that_never_expires_has_no_timer() {
    let mut world = World::new();
    let timers = world.broker.timers.len();
    let (id, _) = world.join(&v5("a", u32::MAX));
    world.cut(id);
    assert_eq!(world.broker.timers.len(), timers);
    world.advance_s(u64::from(u32::MAX) / 1000);
    assert!(session_lasts(&mut world, &v5("a", 0)));
}

#[test]
fn a_session_that_is_resumed_does_not_expire_4_1_0_1() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 10));
    world.cut(id);
    world.advance_s(9);
    let (id, present) = world.join(&v5("a", 10));
    assert!(present);
    world.advance_s(100);
    assert_eq!(world.closed(id), None);
    world.send(id, ClientPacket::PingReq);
    assert_eq!(world.take(id), [Packet::PingResp]);
}

#[test]
fn the_broker_grants_at_most_its_longest_session_expiry_and_says_so() {
    let mut world = World::with(Settings {
        sys_interval_ms: 0,
        max_session_expiry_s: 60,
        ..Settings::default()
    });
    for (wanted, told) in [(100, Some(60)), (60, None), (0, None)] {
        let id = world.connect(&v5("a", wanted));
        match world.take(id)[..] {
            [Packet::ConnAck { expiry_s, .. }] => assert_eq!(expiry_s, told),
            ref other => panic!("a CONNACK: {other:?}"),
        }
        world.cut(id);
    }
    let (id, _) = world.join(&v5("a", u32::MAX));
    world.disconnect(id, ReasonCode::SUCCESS, Some(u32::MAX));
    world.advance_s(60);
    assert!(world.broker.sessions.is_empty());
}

#[test]
fn disconnect_changes_the_session_expiry_3_14_2_2_2() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 1000));
    world.disconnect(id, ReasonCode::SUCCESS, Some(5));
    world.advance_s(5);
    assert!(world.broker.sessions.is_empty());
    let (id, _) = world.join(&v5("a", 1000));
    world.disconnect(id, ReasonCode::SUCCESS, Some(0));
    assert!(world.broker.sessions.is_empty());
    let (id, _) = world.join(&v5("a", 5));
    world.disconnect(id, ReasonCode::SUCCESS, Some(1000));
    world.advance_s(999);
    assert!(session_lasts(&mut world, &v5("a", 0)));
}

#[test]
fn a_session_that_was_to_end_cannot_be_made_to_last_by_disconnect() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    world.disconnect(id, ReasonCode::SUCCESS, Some(10));
    assert_eq!(world.closed(id), Some(ReasonCode::PROTOCOL_ERROR));
    assert!(world.broker.sessions.is_empty());
}

#[test]
fn a_session_that_is_resumed_without_expiry_ends_with_its_connection() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 100));
    world.subscribe(id, "t", Qos::AtLeastOnce);
    world.cut(id);
    world.publish_passing("t", "waits");
    let (id, present) = world.join(&v5("a", 0));
    assert!(present);
    let [seen] = &world.messages(id)[..] else {
        panic!("one message waits");
    };
    world.complete(id, seen);
    assert!(world.effects.store.sessions.is_empty());
    world.cut(id);
    assert!(world.broker.sessions.is_empty());
}

#[test]
fn a_silent_client_is_closed_after_exactly_one_and_a_half_keep_alives_3_1_2_22() {
    let mut world = World::new();
    let connect = Connect {
        keep_alive_s: 10,
        ..v5("a", 0)
    };
    let (id, _) = world.join(&connect);
    world.advance(14_999);
    assert_eq!(world.closed(id), None);
    world.advance(1);
    assert_eq!(world.closed(id), Some(ReasonCode::KEEP_ALIVE_TIMEOUT));
    let told = [Packet::Disconnect(ReasonCode::KEEP_ALIVE_TIMEOUT)];
    assert_eq!(world.take(id), told);
}

#[test]
fn every_packet_and_every_part_of_one_shows_that_a_client_is_alive() {
    let mut world = World::new();
    let connect = Connect {
        keep_alive_s: 10,
        ..v3("a")
    };
    let (connection, _) = world.join(&connect);
    for _ in 0..3 {
        world.advance(14_000);
        world.send(connection, ClientPacket::PingReq);
        world.advance(14_000);
        world.handle(Input::Alive { connection });
        world.advance(14_000);
        world.publish(connection, qos0("t", "x"));
    }
    world.advance(14_999);
    assert_eq!(world.closed(connection), None);
    world.advance(1);
    let reason = ReasonCode::KEEP_ALIVE_TIMEOUT;
    assert_eq!(world.closed(connection), Some(reason));
}

#[test]
fn without_keep_alive_a_client_may_be_silent() {
    let mut world = World::new();
    let (id, _) = world.join(&v3("a"));
    world.advance_s(1_000_000);
    assert_eq!(world.closed(id), None);
}

#[test]
fn what_a_client_leaves_behind_is_nothing() {
    let mut world = World::new();
    let timers = world.broker.timers.len();
    for round in 0..3 {
        let connect = Connect {
            keep_alive_s: 10,
            will: Some(will("gone/x")),
            ..v5("a", 50 * round)
        };
        let (id, _) = world.join(&connect);
        world.subscribe(id, "t/+/x", Qos::ExactlyOnce);
        world.subscribe(id, "u", Qos::ExactlyOnce);
        world.publish(id, qos1("u", "x", 1));
        world.cut(id);
        world.advance_s(200);
        let broker = &world.broker;
        assert!(broker.sessions.is_empty() && broker.by_client_id.is_empty());
        assert!(broker.connections.iter().all(Option::is_none));
        assert_eq!(broker.router.sizes(), (0, 0));
        assert_eq!((broker.router.count(), broker.timers.len()), (0, timers));
        assert_eq!(world.effects.store.sessions.len(), 0);
    }
}

#[test]
fn a_shutdown_tells_everyone_and_sessions_stay() {
    let mut world = World::new();
    let (stays, _) = world.join(&Connect {
        will: Some(will("gone/stays")),
        keep_alive_s: 10,
        ..v5("stays", 100)
    });
    let (watcher, _) = world.join(&v5("watcher", 100));
    world.subscribe(watcher, "gone/#", Qos::AtLeastOnce);
    let (ends, _) = world.join(&Connect {
        will: Some(will("gone/ends")),
        ..v3("ends")
    });
    world.handle(Input::Shutdown);
    for id in [stays, watcher, ends] {
        let told = world.take(id).pop();
        let reason = ReasonCode::SERVER_SHUTTING_DOWN;
        assert_eq!(told, Some(Packet::Disconnect(reason)));
        assert_eq!(world.closed(id), Some(reason));
    }
    // What the network says afterwards, and time, find a whole broker.
    let connection = watcher;
    world.handle(Input::Closed { connection });
    world.handle(Input::Tick(Traffic::default()));
    let store = &world.effects.store;
    assert_eq!(store.sessions.len(), 2);
    assert!(
        store
            .sessions
            .values()
            .all(|session| session.away_since.is_some())
    );
    // The Will of the session that lasts waits with it; that of the one that ended was sent.
    let with_will = |session: &&super::store::StoredSession| session.will.is_some();
    assert_eq!(store.sessions.values().filter(with_will).count(), 1);
    let waits = store.sessions.values().find(|it| it.client_id == "watcher");
    let waits = waits.expect("it is durable");
    assert_eq!(waits.inflight.len() + waits.queued.len(), 1);
}
