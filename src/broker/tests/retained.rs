//! Retained messages: set, cleared, and sent to new subscriptions.

use super::world::{Packet, World, qos0, qos1, retained, v3, v5, without};
use crate::acl::Access;
use crate::broker::{Settings, limits};
use crate::mqtt::packet::{ClientPacket, Publish, RetainHandling, SubscriptionOptions};
use crate::mqtt::{Qos, ReasonCode};

#[test]
fn the_last_retained_message_of_a_topic_is_sent_to_a_new_subscription_3_3_1_5() {
    let mut world = World::new();
    let (id, _) = world.join(&v3("a"));
    world.publish(id, retained("t", "first"));
    world.publish(
        id,
        Publish {
            retain: true,
            ..qos1("t", "last", 1)
        },
    );
    world.publish(id, qos0("t", "not retained"));
    world.take(id);
    for (qos, seen_qos) in [(Qos::AtMostOnce, 0), (Qos::ExactlyOnce, 1)] {
        world.subscribe(id, "t", qos);
        let seen = world.messages(id);
        assert_eq!((seen.len(), seen[0].payload.as_str()), (1, "last"));
        assert_eq!((seen[0].retain, seen[0].qos), (true, seen_qos));
    }
}

#[test]
fn an_empty_retained_message_clears_its_topic_and_is_delivered_3_3_1_6() {
    let mut world = World::new();
    let (id, _) = world.join(&v3("a"));
    world.subscribe(id, "t", Qos::AtMostOnce);
    world.publish(id, retained("t", "x"));
    world.publish(id, retained("t", ""));
    world.publish(id, retained("t", ""));
    assert_eq!(world.payloads(id), ["x", "", ""]);
    world.subscribe(id, "t", Qos::AtMostOnce);
    assert_eq!(world.payloads(id), [""; 0]);
    assert!(world.effects.store.retained.is_empty());
}

#[test]
fn a_wildcard_gets_all_that_match_in_order_and_with_its_identifier() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    for topic in ["b/1", "a/2", "a/1", "c", "a"] {
        world.publish(id, retained(topic, topic));
    }
    let options = SubscriptionOptions::with_qos(Qos::AtMostOnce);
    world.subscribe_with(id, "a/#", options, Some(4));
    let seen = world.messages(id);
    assert!(seen.iter().all(|seen| seen.subscription_ids == [4]));
    let payloads: Vec<_> = seen.iter().map(|seen| seen.payload.as_str()).collect();
    assert_eq!(payloads, ["a", "a/1", "a/2"]);
}

#[test]
fn retain_handling_says_when_they_are_sent_3_3_1_10() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    world.publish(id, retained("t", "x"));
    for (retain_handling, counts) in [
        (RetainHandling::Send, [1, 1]),
        (RetainHandling::SendIfNew, [1, 0]),
        (RetainHandling::DoNotSend, [0, 0]),
    ] {
        for expected in counts {
            let options = SubscriptionOptions {
                retain_handling,
                ..SubscriptionOptions::with_qos(Qos::AtMostOnce)
            };
            world.subscribe_with(id, "t", options, None);
            assert_eq!(world.messages(id).len(), expected);
        }
        world.unsubscribe(id, "t");
    }
}

#[test]
fn what_a_client_may_not_read_is_kept_back() {
    let mut world = World::new();
    let (id, _) = world.join(&v3("a"));
    for topic in ["t/open", "t/secret", "t/welcome"] {
        world.publish(id, retained(topic, topic));
    }
    let id = world.connect_as(&v3("b"), None, without(Access::Read, "t/secret"));
    world.take(id);
    world.subscribe(id, "t/#", Qos::AtMostOnce);
    assert_eq!(world.payloads(id), ["t/open", "t/welcome"]);
}

#[test]
fn an_expired_retained_message_is_not_sent_even_before_it_is_swept() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    world.publish(
        id,
        Publish {
            expiry_s: Some(1),
            ..retained("t", "x")
        },
    );
    world.now = world.now.after_ms(999);
    world.subscribe(id, "t", Qos::AtMostOnce);
    assert_eq!(world.messages(id)[0].expiry_s, Some(1));
    world.now = world.now.after_ms(1);
    world.subscribe(id, "t", Qos::AtMostOnce);
    assert_eq!(world.payloads(id), [""; 0]);
}

fn filled(settings: Settings, topics: usize) -> World {
    let mut world = World::with(Settings {
        sys_interval_ms: 0,
        ..settings
    });
    let (id, _) = world.join(&v3("publisher"));
    for number in 0..topics {
        let topic = format!("t/{number:05}");
        let publish = Publish {
            retain: true,
            ..qos1(&topic, &topic, 1)
        };
        let connection = id;
        let packet = ClientPacket::Publish(publish);
        let input = crate::broker::Input::Packet { connection, packet };
        // Without the world's checks: their cost grows with what is retained.
        world.broker.handle(world.now, input, &mut world.effects);
    }
    world.take(id);
    world
}

#[test]
fn a_replay_goes_on_where_a_full_output_stopped_it() {
    let mut world = filled(Settings::default(), 10);
    let (id, _) = world.join(&v3("a"));
    world.link(id).room = 4;
    world.subscribe(id, "t/#", Qos::AtMostOnce);
    assert_eq!(
        world.payloads(id),
        ["t/00000", "t/00001", "t/00002", "t/00003"]
    );
    world.publish_passing("live", "x");
    world.drain(id, 100);
    assert_eq!(world.payloads(id).len(), 6);
}

#[test]
fn none_of_5000_retained_messages_is_lost_for_a_window_of_20() {
    let mut world = filled(Settings::default(), 5_000);
    let (id, _) = world.join(&v3("a"));
    world.subscribe(id, "t/#", Qos::AtLeastOnce);
    let mut all = Vec::new();
    loop {
        let seen = world.messages(id);
        if seen.is_empty() {
            break;
        }
        for seen in seen {
            let ack = super::world::ack(seen.id);
            all.push(seen.payload);
            world.send_unchecked(id, ClientPacket::PubAck(ack));
        }
    }
    let expected: Vec<_> = (0..5_000).map(|number| format!("t/{number:05}")).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_replay_that_a_broken_connection_stopped_goes_on_in_the_resumed_session() {
    let mut world = filled(Settings::default(), 30);
    let (id, _) = world.join(&v5("a", 100));
    world.subscribe(id, "t/#", Qos::AtLeastOnce);
    assert_eq!(world.messages(id).len(), 20);
    world.cut(id);
    let (id, _) = world.join(&v5("a", 100));
    let mut all = Vec::new();
    loop {
        let seen = world.messages(id);
        if seen.is_empty() {
            break;
        }
        for seen in seen {
            world.complete(id, &seen);
            all.push(seen.payload);
        }
    }
    let expected: Vec<_> = (0..30).map(|number| format!("t/{number:05}")).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_replay_does_not_overtake_messages_that_wait_4_6_0_6() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 100));
    world.subscribe(id, "t", Qos::AtLeastOnce);
    world.link(id).room = 1;
    let (publisher, _) = world.join(&v3("publisher"));
    for payload in ["1", "2", "3"] {
        world.publish(
            publisher,
            Publish {
                retain: true,
                ..qos1("t", payload, 1)
            },
        );
    }
    // The output is full: two messages wait, and then the subscription asks for the retained one.
    world.subscribe(id, "t", Qos::AtLeastOnce);
    world.publish(
        publisher,
        Publish {
            retain: true,
            ..qos1("t", "4", 1)
        },
    );
    world.drain(id, 100);
    let seen = world.messages(id);
    let payloads: Vec<_> = seen.iter().map(|seen| seen.payload.as_str()).collect();
    let mut sorted = payloads.clone();
    sorted.sort_unstable();
    assert_eq!(payloads, sorted);
    assert_eq!(payloads.first(), Some(&"1"));
    assert_eq!(payloads.last(), Some(&"4"));
}

#[test]
fn a_new_subscription_gets_its_retained_message_after_the_same_that_waited_3_3_1_9() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 100));
    world.subscribe(id, "t", Qos::AtMostOnce);
    world.link(id).room = 1;
    for payload in ["1", "2", "3"] {
        let (publisher, _) = world.join(&v3("publisher"));
        world.publish(publisher, retained("t", payload));
    }
    world.subscribe(id, "t", Qos::AtMostOnce);
    world.drain(id, 100);
    let seen = world.messages(id);
    let seen: Vec<_> = seen.iter().map(|it| (&*it.payload, it.retain)).collect();
    let expected = [("1", false), ("2", false), ("3", false), ("3", true)];
    assert_eq!(seen, expected);
}

#[test]
fn a_clients_own_retained_message_does_not_overtake_anothers_that_waits_4_6_0_6() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 100));
    world.subscribe(id, "other", Qos::AtMostOnce);
    world.link(id).room = 1;
    let (publisher, _) = world.join(&v3("publisher"));
    world.publish(publisher, qos0("other", "fills the output"));
    world.publish(publisher, retained("t", "0"));
    let options = SubscriptionOptions {
        no_local: true,
        ..SubscriptionOptions::with_qos(Qos::AtLeastOnce)
    };
    world.subscribe_with(id, "t", options, None);
    world.publish(publisher, qos1("t", "1", 1));
    // Its own message is not queued for it, and yet it is what the subscription finds retained.
    world.publish(id, retained("t", "2"));
    world.take(id);
    world.drain(id, 100);
    assert_eq!(world.payloads(id), ["1", "2"]);
}

#[test]
fn a_client_that_ends_a_subscription_is_not_held_up_by_its_replay() {
    let mut world = filled(Settings::default(), 30);
    let (id, _) = world.join(&v3("a"));
    world.subscribe(id, "t/#", Qos::AtLeastOnce);
    world.subscribe(id, "live", Qos::AtMostOnce);
    world.take(id);
    let (publisher, _) = world.join(&v3("p"));
    world.publish(publisher, qos0("live", "x"));
    world.unsubscribe(id, "t/#");
    assert_eq!(world.payloads(id), ["x"]);
}

#[test]
fn a_topic_of_another_kind_of_server_is_retained_and_stored() {
    let mut world = World::new();
    let (id, _) = world.join(&v3("a"));
    world.publish(id, retained("$other/x", "x"));
    assert_eq!(world.effects.store.retained.len(), 1);
    world.publish(id, retained("$other/x", ""));
    assert!(world.effects.store.retained.is_empty());
}

#[test]
fn the_bound_of_retained_messages_holds_and_known_topics_go_on() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    for number in 0..limits::RETAINED_MAX {
        let topic = number.to_string();
        world.send_unchecked(id, ClientPacket::Publish(retained(&topic, "x")));
    }
    world.subscribe(id, "one", Qos::AtMostOnce);
    let refused = Publish {
        retain: true,
        ..qos1("one", "too many", 1)
    };
    world.send_unchecked(id, ClientPacket::Publish(refused));
    let reason = ReasonCode::QUOTA_EXCEEDED;
    assert_eq!(world.take(id), [Packet::PubAck(1, reason)]);
    world.send_unchecked(id, ClientPacket::Publish(retained("one", "passed on")));
    assert_eq!(world.payloads(id), ["passed on"]);
    world.send_unchecked(id, ClientPacket::Publish(retained("7", "y")));
    assert_eq!(world.broker.retained.len(), limits::RETAINED_MAX);
    let seven = world.broker.retained.get("7").expect("it is retained");
    assert_eq!(seven.payload(), b"y");
}
