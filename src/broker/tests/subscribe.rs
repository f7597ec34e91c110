//! SUBSCRIBE and UNSUBSCRIBE: what is granted, and what overlapping subscriptions come to.

use super::world::{Packet, World, qos0, qos1, qos2, retained, subscribe, v3, v5, without};
use crate::acl::{Access, Action};
use crate::mqtt::packet::{
    ClientPacket, Connect, RetainHandling, Subscribe, SubscribeFilter, SubscriptionOptions,
};
use crate::mqtt::{PacketId, Qos, ReasonCode};

fn options(qos: Qos) -> SubscriptionOptions {
    SubscriptionOptions::with_qos(qos)
}

#[test]
fn each_filter_is_answered_for_itself_3_8_4_5() {
    let mut world = World::new();
    let id = world.connect_as(&v5("a", 0), None, without(Access::Read, "secret/#"));
    world.take(id);
    let deep = "/".repeat(201);
    let filters = [
        ("a", Qos::AtMostOnce),
        ("b/#", Qos::AtLeastOnce),
        ("secret/x", Qos::AtLeastOnce),
        ("$share/g/t", Qos::AtLeastOnce),
        ("$share/g", Qos::AtLeastOnce),
        (&deep, Qos::AtLeastOnce),
        ("+/c", Qos::ExactlyOnce),
    ];
    let filters = filters.map(|(filter, qos)| SubscribeFilter {
        filter,
        options: options(qos),
    });
    world.send(
        id,
        ClientPacket::Subscribe(Subscribe {
            packet_id: PacketId::FIRST,
            subscription_id: None,
            filters: filters.to_vec(),
        }),
    );
    let reasons = vec![
        ReasonCode::SUCCESS,
        ReasonCode::GRANTED_QOS_1,
        ReasonCode::NOT_AUTHORIZED,
        ReasonCode::GRANTED_QOS_1,
        ReasonCode::TOPIC_FILTER_INVALID,
        ReasonCode::QUOTA_EXCEEDED,
        ReasonCode::GRANTED_QOS_2,
    ];
    assert_eq!(world.take(id), [Packet::SubAck(1, reasons)]);
    let denied = (Action::Subscribe, "secret/x".to_owned());
    assert_eq!(world.effects.denied, [denied]);
    assert_eq!(world.broker.router.count(), 3);
}

#[test]
fn overlapping_subscriptions_give_one_copy_with_the_highest_qos_and_all_identifiers_3_3_4_2_and_3_3_4_4()
 {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    world.subscribe_with(id, "t/#", options(Qos::AtLeastOnce), Some(1));
    world.subscribe_with(id, "t/+", options(Qos::ExactlyOnce), Some(2));
    world.subscribe_with(id, "t/x", options(Qos::AtMostOnce), Some(3));
    world.subscribe_with(id, "+/x", options(Qos::AtMostOnce), None);
    let (publisher, _) = world.join(&v3("publisher"));
    world.publish(publisher, qos2("t/x", "x", 1));
    let [seen] = &mut world.messages(id)[..] else {
        panic!("one copy");
    };
    seen.subscription_ids.sort_unstable();
    assert_eq!((seen.qos, &seen.subscription_ids[..]), (2, &[1, 2, 3][..]));
}

#[test]
fn a_subscription_to_the_same_filter_replaces_the_former_3_8_4_3() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 100));
    world.subscribe_with(id, "t", options(Qos::ExactlyOnce), Some(1));
    world.subscribe_with(id, "t", options(Qos::AtMostOnce), None);
    world.publish(id, qos1("t", "x", 1));
    let acked = world.take(id);
    let [Packet::Publish(seen), Packet::PubAck(..)] = &acked[..] else {
        panic!("one copy: {acked:?}");
    };
    assert_eq!((seen.qos, seen.subscription_ids.len()), (0, 0));
    assert_eq!(world.broker.router.count(), 1);
}

#[test]
fn no_local_keeps_a_clients_own_messages_from_it_3_8_3_3() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    let no_local = SubscriptionOptions {
        no_local: true,
        ..options(Qos::AtMostOnce)
    };
    world.subscribe_with(id, "t", no_local, Some(1));
    world.publish(id, qos0("t", "own"));
    let (other, _) = world.join(&v5("b", 0));
    world.publish(other, qos0("t", "other"));
    assert_eq!(world.payloads(id), ["other"]);
    // A second subscription without the option gets it, and only its identifier is told.
    world.subscribe_with(id, "#", options(Qos::AtMostOnce), Some(2));
    world.publish(id, qos0("t", "own"));
    assert_eq!(world.messages(id)[0].subscription_ids, [2]);
}

#[test]
fn retain_as_published_keeps_the_flag_and_others_lose_it_3_3_1_12_and_3_3_1_13() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    for (retain_as_published, flags) in [(false, [false, false]), (true, [true, false])] {
        let options = SubscriptionOptions {
            retain_as_published,
            retain_handling: RetainHandling::DoNotSend,
            ..options(Qos::AtMostOnce)
        };
        world.subscribe_with(id, "t", options, None);
        world.publish(id, retained("t", "x"));
        world.publish(id, qos0("t", "x"));
        let seen: Vec<_> = world.messages(id).iter().map(|it| it.retain).collect();
        assert_eq!(seen, flags);
    }
}

#[test]
fn a_bridge_of_3_1_1_gets_the_flag_as_published_and_not_its_own_messages() {
    let mut world = World::new();
    let bridge = Connect {
        bridge: true,
        ..v3("bridge")
    };
    let (id, _) = world.join(&bridge);
    world.subscribe(id, "#", Qos::AtMostOnce);
    world.publish(id, qos0("t", "own"));
    let (other, _) = world.join(&v3("other"));
    world.publish(other, retained("t", "x"));
    let seen = world.messages(id);
    assert_eq!((seen.len(), seen[0].retain), (1, true));
}

#[test]
fn unsubscribe_ends_a_subscription_and_says_which_there_was_not_3_10_4() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 100));
    world.subscribe(id, "t/+", Qos::AtMostOnce);
    assert_eq!(world.unsubscribe(id, "t/+"), ReasonCode::SUCCESS);
    let none = ReasonCode::NO_SUBSCRIPTION_EXISTED;
    for filter in ["t/+", "t", "#", "+/+/+", "$share/g/t"] {
        assert_eq!(world.unsubscribe(id, filter), none);
    }
    world.publish(id, qos0("t/x", "x"));
    assert_eq!(world.payloads(id), [""; 0]);
    assert_eq!(world.broker.router.sizes(), (0, 0));
}

#[test]
fn what_was_queued_before_unsubscribe_is_still_delivered_3_10_4_3() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 100));
    world.subscribe(id, "t", Qos::AtLeastOnce);
    world.link(id).room = 1;
    world.publish_passing("t", "a");
    world.publish_passing("t", "b");
    world.unsubscribe(id, "t");
    world.drain(id, 9);
    assert_eq!(world.payloads(id), ["a", "b"]);
}

#[test]
fn a_filter_with_the_most_levels_is_granted() {
    let mut world = World::new();
    let (id, _) = world.join(&v3("a"));
    world.subscribe(id, &"/".repeat(200), Qos::AtMostOnce);
    world.send(id, subscribe("t", options(Qos::AtMostOnce), None));
    assert_eq!(world.broker.router.count(), 2);
}
