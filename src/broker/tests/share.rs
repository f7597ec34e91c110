//! Shared Subscriptions (4.8.2): one member gets each message, and none is lost when a member leaves.

use super::world::{World, qos0, qos1, qos2, retained, v3, v5, without};
use crate::acl::Access;
use crate::broker::ConnectionId;
use crate::mqtt::Qos;

fn member(world: &mut World, name: &str, filter: &str, qos: Qos) -> ConnectionId {
    let (id, _) = world.join(&v5(name, 1000));
    world.subscribe(id, filter, qos);
    world.take(id);
    id
}

#[test]
fn each_message_goes_to_one_member_and_members_take_turns_4_8_2() {
    let mut world = World::new();
    let members =
        ["a", "b", "c"].map(|name| member(&mut world, name, "$share/g/t/+", Qos::AtMostOnce));
    let (publisher, _) = world.join(&v3("publisher"));
    for n in 0..9 {
        world.publish(publisher, qos0("t/x", &n.to_string()));
    }
    let mut all = Vec::new();
    for id in members {
        let got = world.payloads(id);
        assert_eq!(got.len(), 3, "{got:?}");
        all.extend(got);
    }
    all.sort();
    assert_eq!(all, (0..9).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn two_groups_and_a_plain_subscription_each_get_the_message() {
    let mut world = World::new();
    let one = member(&mut world, "a", "$share/g/t", Qos::AtMostOnce);
    let other = member(&mut world, "b", "$share/h/t", Qos::AtMostOnce);
    let plain = member(&mut world, "c", "t", Qos::AtMostOnce);
    world.publish(plain, qos0("t", "x"));
    for id in [one, other, plain] {
        assert_eq!(world.payloads(id), ["x"]);
    }
}

#[test]
fn a_member_that_has_more_to_do_gets_less() {
    let mut world = World::new();
    let slow = member(&mut world, "slow", "$share/g/t", Qos::AtLeastOnce);
    let quick = member(&mut world, "quick", "$share/g/t", Qos::AtLeastOnce);
    let (publisher, _) = world.join(&v3("publisher"));
    for n in 1..=20 {
        world.publish(publisher, qos1("t", &n.to_string(), n));
        for seen in world.messages(quick) {
            world.complete(quick, &seen);
        }
    }
    assert_eq!(
        world.messages(slow).len(),
        1,
        "it has not acknowledged its first"
    );
}

#[test]
fn what_a_member_has_not_acknowledged_goes_to_a_connected_one_when_it_is_cut_off() {
    let mut world = World::new();
    let first = member(&mut world, "a", "$share/g/t", Qos::AtLeastOnce);
    let (publisher, _) = world.join(&v3("publisher"));
    for n in 1..=30 {
        world.publish(publisher, qos1("t", &n.to_string(), n));
    }
    // 20 fill its window, 10 wait.
    assert_eq!(world.messages(first).len(), 20);
    let second = member(&mut world, "b", "$share/g/t", Qos::AtLeastOnce);
    world.cut(first);
    let mut got = Vec::new();
    loop {
        let seen = world.messages(second);
        if seen.is_empty() {
            break;
        }
        for seen in seen {
            assert!(!seen.duplicate, "it is new to this client");
            world.complete(second, &seen);
            got.push(seen.payload.clone());
        }
    }
    let expected: Vec<String> = (1..=30).map(|n| n.to_string()).collect();
    assert_eq!(got, expected, "in order, and none is lost");
    let (first, present) = world.join(&v5("a", 1000));
    assert!(present);
    assert!(
        world.messages(first).is_empty(),
        "nothing is left of them here"
    );
}

#[test]
fn a_qos_2_message_that_was_sent_goes_to_nobody_else_4_8_2_5() {
    let mut world = World::new();
    let first = member(&mut world, "a", "$share/g/t", Qos::ExactlyOnce);
    let (publisher, _) = world.join(&v3("publisher"));
    world.publish(publisher, qos2("t", "x", 1));
    assert_eq!(world.messages(first).len(), 1);
    let second = member(&mut world, "b", "$share/g/t", Qos::ExactlyOnce);
    world.cut(first);
    world.advance_s(2000);
    assert!(world.messages(second).is_empty());
}

#[test]
fn a_session_that_ends_leaves_its_messages_to_members_that_are_away() {
    let mut world = World::new();
    let away = member(&mut world, "away", "$share/g/t", Qos::AtLeastOnce);
    world.cut(away);
    let (here, _) = world.join(&v5("here", 0));
    world.subscribe(here, "$share/g/t", Qos::AtLeastOnce);
    let (publisher, _) = world.join(&v3("publisher"));
    world.publish(publisher, qos1("t", "x", 1));
    assert_eq!(world.payloads(here), ["x"], "connected members come first");
    world.cut(here);
    let (away, _) = world.join(&v5("away", 1000));
    assert_eq!(world.payloads(away), ["x"]);
}

#[test]
fn who_unsubscribes_leaves_what_it_was_not_sent_to_the_others() {
    let mut world = World::new();
    let first = member(&mut world, "a", "$share/g/t", Qos::AtLeastOnce);
    let (publisher, _) = world.join(&v3("publisher"));
    for n in 1..=25 {
        world.publish(publisher, qos1("t", &n.to_string(), n));
    }
    assert_eq!(world.messages(first).len(), 20);
    let second = member(&mut world, "b", "$share/g/t", Qos::AtLeastOnce);
    world.unsubscribe(first, "$share/g/t");
    assert_eq!(world.payloads(second), ["21", "22", "23", "24", "25"]);
    assert!(world.broker.shares.count() == 1);
}

#[test]
fn a_group_gets_no_retained_messages_and_only_those_who_may_read_get_any() {
    let mut world = World::new();
    let (publisher, _) = world.join(&v3("publisher"));
    world.publish(publisher, retained("t", "old"));
    let blind = world.connect_as(&v5("blind", 0), None, without(Access::Read, "secret"));
    world.subscribe(blind, "$share/g/+", Qos::AtMostOnce);
    world.take(blind);
    let member = member(&mut world, "a", "$share/g/+", Qos::AtMostOnce);
    for _ in 0..4 {
        world.publish(publisher, qos0("secret", "x"));
    }
    assert_eq!(world.payloads(member).len(), 4);
    assert!(world.messages(blind).is_empty());
}

#[test]
fn a_group_is_gone_with_its_last_member() {
    let mut world = World::new();
    let id = member(&mut world, "a", "$share/g/t/#", Qos::AtMostOnce);
    world.unsubscribe(id, "$share/g/t/#");
    assert_eq!(
        (world.broker.shares.count(), world.broker.shares.groups()),
        (0, 0)
    );
}
