//! What waits for a subscriber who is not there: to whom it comes, that it comes once, and when it goes.

use super::world::{World, qos0, qos1, qos2, retained, v3, v3_durable, v5, without};
use crate::acl::{Access, Permissions};
use crate::broker::effect::SessionId;
use crate::broker::{ConnectionId, Input, KeptTopics, Restored, Settings, Time, limits};
use crate::mqtt::Qos;
use crate::mqtt::packet::{RetainHandling, SubscriptionOptions};

fn settings() -> Settings {
    let topics = |filter: &str, ttl_ms, are_requests| KeptTopics {
        filters: vec![filter.to_owned()],
        ttl_ms,
        are_requests,
    };
    Settings {
        sys_interval_ms: 0,
        keepers: vec![
            topics("request/+", 5_000, true),
            topics("reply/+", 30_000, false),
        ],
        ..Settings::default()
    }
}

/// A world with a client that publishes.
fn world() -> (World, ConnectionId) {
    let mut world = World::with(settings());
    let (publisher, _) = world.join(&v3("publisher"));
    (world, publisher)
}

impl World {
    /// A client that comes with a new session, subscribes and gets these payloads.
    fn newcomer_gets(&mut self, filter: &str, payloads: &[&str]) {
        let (newcomer, _) = self.join(&v3("newcomer"));
        self.subscribe(newcomer, filter, Qos::AtMostOnce);
        assert_eq!(self.payloads(newcomer), payloads);
        self.cut(newcomer);
    }
}

#[test]
fn a_request_waits_for_the_first_who_subscribes_and_for_nobody_else() {
    let (mut world, publisher) = world();
    world.publish(publisher, qos0("request/a", "one"));
    world.publish(publisher, qos2("request/a", "two", 1));
    world.publish(publisher, qos0("else/a", "not kept"));
    world.newcomer_gets("other/+", &[]);
    world.newcomer_gets("#", &["one", "two"]);
    world.newcomer_gets("#", &[]);
}

#[test]
fn a_request_waits_no_longer_than_its_time_and_a_reply_longer() {
    let (mut world, publisher) = world();
    world.publish(publisher, qos0("request/a", "request"));
    world.publish(publisher, qos0("reply/a", "reply"));
    world.advance_s(5);
    world.newcomer_gets("request/a", &[]);
    world.newcomer_gets("reply/a", &["reply"]);
    world.publish(publisher, qos0("reply/a", "reply"));
    world.advance_s(30);
    world.newcomer_gets("reply/a", &[]);
    world.advance(limits::SWEEP_INTERVAL_MS);
    assert!(world.effects.store.kept.is_empty());
}

#[test]
fn a_message_expires_in_the_keeper_too() {
    let (mut world, _) = world();
    let (publisher, _) = world.join(&v5("five", 0));
    let mut request = qos0("request/a", "x");
    request.expiry_s = Some(2);
    world.publish(publisher, request);
    world.advance_s(1);
    let (newcomer, _) = world.join(&v5("newcomer", 0));
    world.subscribe(newcomer, "request/a", Qos::AtMostOnce);
    assert_eq!(world.messages(newcomer)[0].expiry_s, Some(1));
    world.cut(newcomer);
    world.publish(publisher, request);
    world.advance_s(2);
    world.newcomer_gets("request/a", &[]);
}

#[test]
fn what_somebody_who_is_connected_gets_is_not_kept() {
    let (mut world, publisher) = world();
    let (subscriber, _) = world.join(&v3("s"));
    world.subscribe(subscriber, "request/+", Qos::AtMostOnce);
    world.publish(publisher, qos0("request/a", "x"));
    assert_eq!(world.payloads(subscriber), ["x"]);
    world.newcomer_gets("#", &[]);
}

#[test]
fn a_session_that_comes_back_gets_a_request_once_and_then_nobody_does() {
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        let (mut world, publisher) = world();
        let (away, _) = world.join(&v3_durable("away"));
        world.subscribe(away, "request/+", qos);
        world.cut(away);
        world.publish(publisher, qos1("request/a", "x", 1));
        let (back, present) = world.join(&v3_durable("away"));
        assert!(present);
        assert_eq!(world.payloads(back), ["x"]);
        world.subscribe(back, "request/+", qos);
        assert_eq!(world.payloads(back), [""; 0], "it comes once");
        world.newcomer_gets("#", &[]);
    }
}

#[test]
fn a_session_that_was_left_behind_keeps_no_request_from_who_comes() {
    let (mut world, publisher) = world();
    let (orphan, _) = world.join(&v3_durable("orphan"));
    world.subscribe(orphan, "request/+", Qos::AtMostOnce);
    world.cut(orphan);
    world.publish(publisher, qos0("request/a", "x"));
    world.newcomer_gets("request/+", &["x"]);
    world.newcomer_gets("request/+", &[]);
}

#[test]
fn a_request_is_too_late_for_a_session_when_it_is_for_the_keeper_and_a_reply_is_not() {
    let (mut world, publisher) = world();
    let (away, _) = world.join(&v3_durable("away"));
    world.subscribe(away, "#", Qos::AtMostOnce);
    world.cut(away);
    world.publish(publisher, qos0("request/a", "request"));
    world.publish(publisher, qos0("else", "else"));
    world.advance_s(6);
    let (back, _) = world.join(&v3_durable("away"));
    assert_eq!(world.payloads(back), ["else"]);
}

#[test]
fn a_session_without_a_queue_for_qos_0_gets_what_is_kept_when_it_comes_back() {
    let mut world = World::with(Settings {
        qos0_queue_ttl_ms: 0,
        ..settings()
    });
    let (publisher, _) = world.join(&v3("publisher"));
    let (away, _) = world.join(&v3_durable("away"));
    world.subscribe(away, "request/a", Qos::AtMostOnce);
    world.subscribe(away, "request/+", Qos::AtMostOnce);
    world.cut(away);
    world.publish(publisher, qos0("request/a", "x"));
    let (back, _) = world.join(&v3_durable("away"));
    assert_eq!(world.payloads(back), ["x"]);
    world.newcomer_gets("request/a", &[]);
}

#[test]
fn a_reply_that_is_retained_comes_once_and_outlives_its_clearing() {
    let (mut world, publisher) = world();
    world.publish(publisher, retained("reply/a", "x"));
    let (late, _) = world.join(&v3("late"));
    world.subscribe(late, "reply/a", Qos::AtMostOnce);
    let seen = world.messages(late);
    assert_eq!((seen.len(), seen[0].retain), (1, true));
    world.cut(late);
    world.publish(publisher, retained("reply/a", ""));
    world.newcomer_gets("reply/a", &[]);

    world.publish(publisher, retained("reply/b", "y"));
    world.publish(publisher, retained("reply/b", ""));
    world.newcomer_gets("reply/+", &["y"]);
    world.newcomer_gets("reply/+", &[]);
}

#[test]
fn who_wants_no_retained_messages_gets_a_kept_one() {
    let (mut world, publisher) = world();
    world.publish(publisher, retained("reply/a", "x"));
    let (late, _) = world.join(&v5("late", 0));
    let options = SubscriptionOptions {
        retain_handling: RetainHandling::DoNotSend,
        ..SubscriptionOptions::with_qos(Qos::AtMostOnce)
    };
    world.subscribe_with(late, "reply/a", options, Some(7));
    let seen = world.messages(late);
    assert_eq!((seen.len(), seen[0].retain), (1, false));
    assert_eq!(seen[0].subscription_ids, [7]);
}

#[test]
fn a_member_of_a_shared_subscription_gets_it_and_its_publisher_not_with_no_local() {
    let (mut world, publisher) = world();
    world.publish(publisher, qos1("request/a", "x", 1));
    world.newcomer_gets("$share/group/request/+", &["x"]);

    let (own, _) = world.join(&v5("own", 60));
    world.publish(own, qos0("request/a", "y"));
    let options = SubscriptionOptions {
        no_local: true,
        ..SubscriptionOptions::with_qos(Qos::AtMostOnce)
    };
    world.subscribe_with(own, "request/a", options, None);
    assert_eq!(world.payloads(own), [""; 0]);
    world.newcomer_gets("request/a", &["y"]);
}

#[test]
fn a_shared_subscription_that_has_a_member_needs_no_keeper() {
    let (mut world, publisher) = world();
    let (away, _) = world.join(&v3_durable("away"));
    world.subscribe(away, "$share/group/request/+", Qos::AtMostOnce);
    world.cut(away);
    world.publish(publisher, qos0("request/a", "x"));
    world.newcomer_gets("$share/group/request/+", &[]);
    let (back, _) = world.join(&v3_durable("away"));
    assert_eq!(world.payloads(back), ["x"]);
}

#[test]
fn who_may_not_read_it_leaves_it_to_others() {
    let (mut world, publisher) = world();
    let denied = |world: &mut World, client_id| {
        let id = world.connect_as(
            &v3(client_id),
            None,
            without(Access::Read, "request/secret"),
        );
        world.take(id);
        world.subscribe(id, "request/+", Qos::AtMostOnce);
        assert_eq!(world.payloads(id), [""; 0]);
        id
    };
    let connected = denied(&mut world, "one");
    world.publish(publisher, qos0("request/secret", "x"));
    assert_eq!(world.payloads(connected), [""; 0]);
    denied(&mut world, "other");
    world.newcomer_gets("request/+", &["x"]);
    let permissions = Permissions::allow_all();
    world.handle(Input::Permissions {
        connection: connected,
        permissions,
    });
}

#[test]
fn what_is_kept_survives_a_crash_and_comes_once() {
    let (mut world, publisher) = world();
    let (away, _) = world.join(&v3_durable("away"));
    world.subscribe(away, "request/a", Qos::AtMostOnce);
    world.cut(away);
    world.publish(publisher, qos0("request/a", "session's"));
    world.publish(publisher, qos0("request/b", "nobody's"));
    world.publish(publisher, retained("reply/a", "retained"));
    world.crash(1_000);
    let (back, present) = world.join(&v3_durable("away"));
    assert!(present);
    assert_eq!(world.payloads(back), ["session's"]);
    world.newcomer_gets("#", &["nobody's", "retained"]);
    world.crash(1_000);
    world.newcomer_gets("request/#", &[]);
    assert!(world.effects.store.kept.is_empty());
}

#[test]
fn a_crash_does_not_lengthen_its_time() {
    let (mut world, publisher) = world();
    world.publish(publisher, qos0("request/a", "x"));
    world.advance_s(3);
    world.crash(1_000);
    world.crash(1_000);
    world.newcomer_gets("#", &[]);
    assert!(world.effects.store.kept.is_empty());
}

#[test]
fn other_settings_hold_for_what_comes_then() {
    let (mut world, publisher) = world();
    world.publish(publisher, qos0("request/a", "before"));
    world.handle(Input::Settings(Settings {
        sys_interval_ms: 0,
        ..Settings::default()
    }));
    world.publish(publisher, qos0("request/a", "after"));
    world.newcomer_gets("#", &["before"]);
}

#[test]
fn the_oldest_goes_when_there_are_too_many_or_too_much() {
    let (mut world, publisher) = world();
    world.compare_every = 1_000;
    for number in 0..=limits::KEPT_MESSAGES_MAX {
        world.publish(publisher, qos0("request/a", &number.to_string()));
    }
    assert_eq!(world.effects.store.kept.len(), limits::KEPT_MESSAGES_MAX);
    assert_eq!(world.effects.store.kept[0].0.payload(), b"1");
    let large = "x".repeat(limits::KEPT_BYTES_MAX);
    world.publish(publisher, qos0("request/a", &large));
    assert_eq!(world.effects.store.kept.len(), 1);
    world.compare();
}

#[test]
fn kept_messages_go_first_when_memory_is_short_and_are_counted() {
    let mut world = World::with(Settings {
        memory_limit: 100_000,
        ..settings()
    });
    let (publisher, _) = world.join(&v3("publisher"));
    let payload = "x".repeat(1_000);
    for _ in 0..200 {
        world.publish(publisher, qos0("request/a", &payload));
    }
    let count = world.effects.store.kept.len();
    assert!((10..90).contains(&count), "{count}");
    let (away, _) = world.join(&v3_durable("away"));
    world.subscribe(away, "else", Qos::AtLeastOnce);
    world.cut(away);
    for number in 1..=60 {
        world.publish(publisher, qos1("else", &payload, number));
    }
    assert!(world.effects.store.kept.len() < count);
    let (back, _) = world.join(&v3_durable("away"));
    assert!(!world.take(back).is_empty());
    world.cut(back);
    world.cut(publisher);
    world.advance_s(2 * 86_400);
    world.assert_nobody_left();
    world.assert_nothing_is_counted();
}

#[test]
fn a_will_that_nobody_hears_is_kept_like_any_message() {
    let (mut world, _) = world();
    let mut connect = v3("mortal");
    connect.will = Some(super::world::will("request/a"));
    let (mortal, _) = world.join(&connect);
    world.cut(mortal);
    world.newcomer_gets("request/a", &["will"]);
}

#[test]
fn an_item_of_a_damaged_store_is_refused() {
    let mut world = World::with(settings());
    let message = |id, topic, payload| Restored::Message {
        id,
        topic,
        properties: &[],
        payload,
        qos: Qos::AtMostOnce,
        retain: false,
        expires_at_ms: None,
    };
    let kept = |message| Restored::Kept {
        message,
        publisher: Some(SessionId(9)),
        until: Time(5_000),
    };
    for (id, topic, payload) in [
        (1, "request/a", &b"x"[..]),
        (2, "$SYS/a", b"x"),
        (3, "a", b""),
    ] {
        world
            .restore(message(id, topic, payload))
            .expect("a message");
    }
    world.restore(kept(1)).expect("kept");
    for id in 1..=4 {
        assert!(world.restore(kept(id)).is_err(), "{id}");
    }
    assert_eq!(world.broker.keeper.iter().count(), 1);
}
