//! Wills: when they are published, and when they are not.

use super::world::{World, qos0, v3, v5, will, without};
use crate::acl::Access;
use crate::broker::{ConnectionId, Input, Judge, Owner};
use crate::mqtt::packet::{Connect, RetainHandling, SubscriptionOptions, Will};
use crate::mqtt::{Qos, ReasonCode};

fn delayed(delay_s: u32, expiry_s: u32) -> Connect<'static> {
    Connect {
        will: Some(Will {
            delay_s,
            ..will("gone")
        }),
        ..v5("a", expiry_s)
    }
}

fn watched() -> (World, ConnectionId) {
    let mut world = World::new();
    let (watcher, _) = world.join(&v5("watcher", 0));
    world.subscribe(watcher, "gone", Qos::AtMostOnce);
    (world, watcher)
}

#[test]
fn a_will_is_published_when_the_connection_breaks_3_1_2_8() {
    let (mut world, watcher) = watched();
    let (id, _) = world.join(&delayed(0, 0));
    world.cut(id);
    assert_eq!(world.payloads(watcher), ["will"]);
}

#[test]
fn a_normal_disconnect_voids_the_will_3_14_4_3() {
    let (mut world, watcher) = watched();
    for delay_s in [0, 5] {
        for expiry_s in [0, 100] {
            let (id, _) = world.join(&delayed(delay_s, expiry_s));
            world.disconnect(id, ReasonCode::SUCCESS, None);
            world.advance_s(200);
        }
    }
    assert_eq!(world.payloads(watcher), [""; 0]);
}

#[test]
fn a_disconnect_with_will_publishes_it_3_1_2_8() {
    let (mut world, watcher) = watched();
    let (id, _) = world.join(&delayed(0, 100));
    world.disconnect(id, ReasonCode::DISCONNECT_WITH_WILL, None);
    assert_eq!(world.payloads(watcher), ["will"]);
}

#[test]
fn a_will_waits_for_its_delay() {
    let (mut world, watcher) = watched();
    let (id, _) = world.join(&delayed(5, 100));
    world.cut(id);
    world.advance(4_999);
    assert_eq!(world.payloads(watcher), [""; 0]);
    world.advance(1);
    assert_eq!(world.payloads(watcher), ["will"]);
    world.advance_s(200);
    assert_eq!(world.payloads(watcher), [""; 0]);
}

#[test]
fn a_will_does_not_wait_longer_than_its_session_lasts_3_1_2_8() {
    for (delay_s, expiry_s) in [(100, 5), (5, 5)] {
        let (mut world, watcher) = watched();
        let (id, _) = world.join(&delayed(delay_s, expiry_s));
        world.cut(id);
        world.advance(4_999);
        assert_eq!(world.payloads(watcher), [""; 0]);
        world.advance(1);
        assert_eq!(world.payloads(watcher), ["will"]);
        world.advance_s(200);
        assert_eq!(world.payloads(watcher), [""; 0]);
    }
    let (mut world, watcher) = watched();
    let (id, _) = world.join(&delayed(100, 0));
    world.cut(id);
    assert_eq!(world.payloads(watcher), ["will"]);
}

#[test]
fn a_client_that_comes_back_in_time_voids_its_delayed_will_3_1_3_9() {
    let (mut world, watcher) = watched();
    let (id, _) = world.join(&delayed(5, 100));
    world.cut(id);
    world.advance_s(4);
    world.join(&v5("a", 100));
    world.advance_s(200);
    assert_eq!(world.payloads(watcher), [""; 0]);
}

#[test]
fn a_takeover_voids_a_delayed_will_and_a_clean_one_publishes_it() {
    let (mut world, watcher) = watched();
    world.join(&delayed(5, 100));
    world.join(&delayed(5, 100));
    world.advance_s(10);
    assert_eq!(world.payloads(watcher), [""; 0]);
    world.join(&Connect {
        clean_start: true,
        ..delayed(5, 100)
    });
    assert_eq!(world.payloads(watcher), ["will"]);
    world.advance_s(200);
    assert_eq!(world.payloads(watcher), [""; 0]);
}

#[test]
fn a_delayed_will_is_published_when_a_clean_start_ends_the_waiting_session() {
    let (mut world, watcher) = watched();
    let (id, _) = world.join(&delayed(50, 100));
    world.cut(id);
    world.join(&Connect {
        clean_start: true,
        ..v5("a", 100)
    });
    assert_eq!(world.payloads(watcher), ["will"]);
}

#[test]
fn a_will_is_retained_and_waits_like_any_message() {
    let mut world = World::new();
    let (watcher, _) = world.join(&v5("watcher", 1000));
    world.subscribe(watcher, "gone", Qos::AtLeastOnce);
    world.cut(watcher);
    let (id, _) = world.join(&Connect {
        will: Some(Will {
            retain: true,
            expiry_s: Some(30),
            properties: &[1, 1],
            ..will("gone")
        }),
        ..v3("a")
    });
    world.advance_s(100);
    world.cut(id);
    world.advance_s(10);
    let (watcher, _) = world.join(&v5("watcher", 1000));
    let [seen] = &world.messages(watcher)[..] else {
        panic!("one will waits");
    };
    // The expiry runs from when the Will is published.
    assert_eq!((seen.expiry_s, seen.qos, seen.retain), (Some(20), 1, false));
    assert_eq!(seen.properties, [1, 1]);
    let (late, _) = world.join(&v3("late"));
    world.subscribe(late, "gone", Qos::AtMostOnce);
    assert_eq!(world.payloads(late), ["will"]);
    world.advance_s(20);
    let (later, _) = world.join(&v3("later"));
    world.subscribe(later, "gone", Qos::AtMostOnce);
    assert_eq!(world.payloads(later), [""; 0]);
}

#[test]
fn a_will_that_the_client_may_no_longer_publish_is_void() {
    let (mut world, watcher) = watched();
    for delay_s in [0, 5] {
        let (connection, _) = world.join(&delayed(delay_s, 100));
        let permissions = without(Access::Write, "gone");
        world.handle(Input::Permissions {
            connection,
            permissions,
        });
        world.cut(connection);
        world.advance_s(10);
    }
    assert_eq!(world.payloads(watcher), [""; 0]);
}

#[test]
fn a_delayed_will_goes_when_its_client_may_no_longer_publish_it() {
    let (mut world, watcher) = watched();
    for may in [true, false] {
        let (connection, _) = world.join(&delayed(5, 100));
        world.cut(connection);
        let judge = |_: &Owner, client_id: &str, topic: &str| {
            assert_eq!((client_id, topic), ("a", "gone"));
            may
        };
        world.handle(Input::Rights(Judge(&judge)));
        world.advance_s(10);
        let wills = world.payloads(watcher);
        assert_eq!(wills.len(), usize::from(may));
    }
}

#[test]
fn a_will_does_not_come_back_to_its_own_session_that_wants_nothing_local_3_8_3_3() {
    for delay_s in [0, 5] {
        let mut world = World::new();
        let (id, _) = world.join(&delayed(delay_s, 100));
        let options = SubscriptionOptions {
            qos: Qos::AtLeastOnce,
            no_local: true,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        world.subscribe_with(id, "gone", options, None);
        world.cut(id);
        world.advance_s(10);
        let (id, present) = world.join(&v5("a", 100));
        assert!(present);
        assert_eq!(world.payloads(id), [""; 0]);
    }
}

#[test]
fn a_will_is_not_sent_to_the_connection_that_ends() {
    let mut world = World::new();
    let (id, _) = world.join(&delayed(0, 100));
    world.subscribe(id, "gone", Qos::AtLeastOnce);
    world.disconnect(id, ReasonCode::DISCONNECT_WITH_WILL, None);
    let (id, _) = world.join(&v5("a", 100));
    assert_eq!(world.payloads(id), ["will"]);
    world.publish(id, qos0("gone", "x"));
}
