//! Bridges: sessions whose clients are other brokers.

use super::world::{Packet, Seen, World, qos0, qos1, qos2, retained, v3, v5};
use crate::broker::{Bounds, Bridge, BridgeState, ConnectionId, Input, Link, Settings};
use crate::mqtt::packet::Publish;
use crate::mqtt::{Qos, ReasonCode, Version};

const BOUNDS: Bounds = Bounds {
    messages: 100,
    bytes: 1 << 20,
    ttl_ms: 0,
    qos0_ttl_ms: 1000,
};

const STATE: &str = "$SYS/broker/connection/up/state";

/// The bridge `up`, which forwards these.
fn bridge<'a>(filters: &'a [(&'a str, Qos)]) -> Bridge<'a> {
    Bridge {
        client_id: "bridge:up",
        filters,
        bounds: BOUNDS,
        state_topic: Some(STATE),
    }
}

/// A world with the bridge `up`, which forwards `out/#` at QoS 2.
fn bridged() -> World {
    let mut world = World::new();
    let filters = [("out/#", Qos::ExactlyOnce)];
    world.handle(Input::Bridges(&[bridge(&filters)]));
    world
}

/// The remote broker lets the bridge in.
fn link(world: &mut World, session_present: bool, max_qos: Qos) -> ConnectionId {
    link_of(world, "bridge:up", session_present, max_qos)
}

/// The same of another bridge.
fn link_of(
    world: &mut World,
    client_id: &str,
    session_present: bool,
    max_qos: Qos,
) -> ConnectionId {
    let connection = world.open();
    world.handle(Input::Link(Link {
        connection,
        client_id,
        version: Version::V5,
        window: 20,
        max_qos,
        session_present,
    }));
    connection
}

fn state(world: &World) -> BridgeState {
    let state = world.broker.bridge_state("bridge:up");
    state.expect("the bridge is configured")
}

fn short(messages: Vec<Seen>) -> Vec<(String, u8, bool)> {
    let all = messages.into_iter();
    all.map(|seen| (seen.payload, seen.qos, seen.duplicate))
        .collect()
}

fn is(payload: &str, qos: u8, duplicate: bool) -> (String, u8, bool) {
    (payload.to_owned(), qos, duplicate)
}

#[test]
fn what_waits_for_a_link_goes_out_in_order_and_again_after_a_cut() {
    let mut world = bridged();
    world.publish_passing("out/1", "one");
    world.publish_passing("other", "not forwarded");
    world.publish_passing("out/2", "two");
    let up = link(&mut world, false, Qos::ExactlyOnce);
    let sent = world.messages(up);
    let expected = [is("one", 1, false), is("two", 1, false)];
    assert_eq!(short(sent.clone()), expected);
    world.complete(up, &sent[0]);
    world.cut(up);
    let up = link(&mut world, true, Qos::ExactlyOnce);
    let again = world.messages(up);
    assert_eq!(short(again.clone()), [is("two", 1, true)]);
    assert_eq!(
        again[0].id, sent[1].id,
        "the remote broker knows it by that"
    );
}

#[test]
fn a_crash_costs_a_bridge_nothing_of_what_waits_beyond_the_bounds_of_clients() {
    let mut world = World::with(Settings {
        queue_messages: 5,
        sys_interval_ms: 0,
        ..Settings::default()
    });
    let filters = [("out/#", Qos::AtLeastOnce)];
    world.handle(Input::Bridges(&[bridge(&filters)]));
    for number in 0..20 {
        world.publish_passing("out/x", &number.to_string());
    }
    world.crash(100);
    world.handle(Input::Bridges(&[bridge(&filters)]));
    assert_eq!((state(&world).waiting, state(&world).dropped), (20, 0));
    let up = link(&mut world, true, Qos::ExactlyOnce);
    assert_eq!(world.payloads(up).first().map(String::as_str), Some("0"));
}

#[test]
fn a_crash_resumes_what_was_in_flight() {
    let mut world = bridged();
    let (id, _) = world.join(&v3("client"));
    world.publish(id, qos2("out/1", "one", 1));
    let up = link(&mut world, false, Qos::ExactlyOnce);
    let sent = world.messages(up);
    let release = Packet::PubRel(sent[0].id, ReasonCode::SUCCESS);
    world.pubrec(up, sent[0].id);
    assert_eq!(world.take(up), std::slice::from_ref(&release));
    world.crash(100);
    let filters = [("out/#", Qos::ExactlyOnce)];
    world.handle(Input::Bridges(&[bridge(&filters)]));
    let up = link(&mut world, true, Qos::ExactlyOnce);
    assert_eq!(world.take(up), [release]);
    world.pubcomp(up, sent[0].id);
    assert_eq!(state(&world).inflight, 0);
}

#[test]
fn a_remote_broker_without_a_session_gets_everything_as_new() {
    let mut world = bridged();
    let (id, _) = world.join(&v3("client"));
    let up = link(&mut world, false, Qos::ExactlyOnce);
    for (number, payload) in [(1, "released"), (2, "sent")] {
        world.publish(id, qos2("out/x", payload, number));
    }
    let sent = world.messages(up);
    world.pubrec(up, sent[0].id);
    world.publish(up, qos2("in/x", "from there", 7));
    world.cut(up);
    let up = link(&mut world, false, Qos::ExactlyOnce);
    assert_eq!(short(world.messages(up)), [is("sent", 2, false)]);
    let (watcher, _) = world.join(&v5("watcher", 0));
    world.subscribe(watcher, "in/#", Qos::ExactlyOnce);
    world.publish(up, qos2("in/x", "another", 7));
    let came = world.payloads(watcher);
    assert_eq!(came, ["another"], "its identifiers begin anew");
}

#[test]
fn what_the_remote_broker_sent_does_not_go_back() {
    let mut world = World::new();
    let filters = [("#", Qos::AtLeastOnce)];
    world.handle(Input::Bridges(&[bridge(&filters)]));
    let up = link(&mut world, false, Qos::ExactlyOnce);
    world.publish(up, qos1("x", "from there", 1));
    let answer = Packet::PubAck(1, ReasonCode::SUCCESS);
    assert_eq!(world.take(up), [answer]);
}

#[test]
fn a_remote_broker_of_a_lower_qos_gets_what_waited_with_that() {
    for (max, expected) in [(Qos::AtLeastOnce, 1), (Qos::AtMostOnce, 0)] {
        let mut world = bridged();
        let (id, _) = world.join(&v3("client"));
        let up = link(&mut world, false, Qos::ExactlyOnce);
        world.publish(id, qos2("out/x", "in flight", 1));
        world.messages(up);
        world.cut(up);
        world.publish(id, qos1("out/x", "waits", 2));
        world.publish(id, qos2("out/x", "waits too", 3));
        let up = link(&mut world, true, max);
        world.publish(id, qos2("out/x", "new", 4));
        let texts = ["in flight", "waits", "waits too", "new"];
        let expected: Vec<_> = texts.iter().map(|text| is(text, expected, false)).collect();
        assert_eq!(short(world.messages(up)), expected);
        world.cut(up);
        let up = link(&mut world, true, Qos::ExactlyOnce);
        world.take(up);
        world.publish(id, qos2("out/x", "as it was", 5));
        assert_eq!(short(world.messages(up)), [is("as it was", 2, false)]);
    }
}

#[test]
fn what_waits_has_bounds_in_number_and_in_time() {
    let mut world = World::new();
    let filters = [("out/#", Qos::AtLeastOnce)];
    let bounds = Bounds {
        messages: 3,
        ttl_ms: 10_000,
        ..BOUNDS
    };
    let bounded = Bridge {
        bounds,
        ..bridge(&filters)
    };
    world.handle(Input::Bridges(&[bounded]));
    for number in 0..5 {
        world.publish_passing("out/x", &number.to_string());
    }
    assert_eq!((state(&world).waiting, state(&world).dropped), (3, 2));
    let (id, _) = world.join(&v3("client"));
    world.publish(id, qos0("out/x", "short lived"));
    world.advance(5000);
    world.publish_passing("out/x", "late");
    world.advance(6000);
    let up = link(&mut world, false, Qos::ExactlyOnce);
    assert_eq!(world.payloads(up), ["late"]);
    // Two and one for the later ones, then what was left of the first and the one of QoS 0.
    assert_eq!(state(&world).dropped, 2 + 1 + 2 + 1);
}

#[test]
fn a_bridge_that_is_no_longer_configured_is_gone_with_all_that_it_held() {
    let mut world = bridged();
    world.publish_passing("out/1", "one");
    let up = link(&mut world, false, Qos::ExactlyOnce);
    world.handle(Input::Bridges(&[]));
    let gone = Some(ReasonCode::ADMINISTRATIVE_ACTION);
    assert_eq!(world.closed(up), gone);
    assert_eq!(world.broker.bridge_state("bridge:up"), None);
    world.assert_nobody_left();
    assert_eq!(world.broker.retained.len(), 0, "nor is its state told");
    let late = link(&mut world, false, Qos::ExactlyOnce);
    assert_eq!(world.closed(late), gone);
}

#[test]
fn nobody_takes_the_session_of_a_bridge_and_who_has_its_name_goes() {
    let mut world = World::new();
    let (squatter, _) = world.join(&v5("bridge:up", 100));
    world.handle(Input::Bridges(&[bridge(&[("out/#", Qos::AtLeastOnce)])]));
    let taken_over = Some(ReasonCode::SESSION_TAKEN_OVER);
    assert_eq!(world.closed(squatter), taken_over);
    let thief = world.connect(&v3("bridge:up"));
    let refused = Some(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
    assert_eq!(world.closed(thief), refused);
    assert_eq!(state(&world).waiting, 0);
}

#[test]
fn its_state_is_told_while_it_is_configured() {
    let mut world = World::new();
    let (watcher, _) = world.join(&v5("watcher", 0));
    world.subscribe(watcher, STATE, Qos::AtMostOnce);
    let filters = [("out/#", Qos::AtLeastOnce)];
    world.handle(Input::Bridges(&[bridge(&filters)]));
    let up = link(&mut world, false, Qos::ExactlyOnce);
    world.handle(Input::Bridges(&[bridge(&filters)]));
    world.cut(up);
    world.handle(Input::Bridges(&[]));
    assert_eq!(world.payloads(watcher), ["0", "1", "0", ""]);
}

#[test]
fn retained_messages_go_out_when_the_remote_broker_may_lack_them() {
    let mut world = bridged();
    let (id, _) = world.join(&v3("client"));
    let state = Publish {
        retain: true,
        ..qos1("out/state", "on", 1)
    };
    let up = link(&mut world, false, Qos::ExactlyOnce);
    world.publish(id, state);
    let sent = world.messages(up);
    assert!(sent[0].retain);
    world.complete(up, &sent[0]);
    world.cut(up);
    let up = link(&mut world, true, Qos::ExactlyOnce);
    assert_eq!(world.messages(up), [], "it has it");
    world.publish(id, retained("out/state", "off, at QoS 0"));
    assert_eq!(world.payloads(up), ["off, at QoS 0"]);
    world.cut(up);
    let up = link(&mut world, false, Qos::ExactlyOnce);
    let sent = world.messages(up);
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].payload.as_str(), sent[0].retain),
        ("off, at QoS 0", true)
    );
}

#[test]
fn a_bridges_session_stays_where_memory_is_short() {
    let mut world = World::with(Settings {
        memory_limit: 200_000,
        sys_interval_ms: 0,
        ..Settings::default()
    });
    world.handle(Input::Bridges(&[bridge(&[("out/#", Qos::AtLeastOnce)])]));
    let payload = "x".repeat(1000);
    for number in 0..500 {
        let name = format!("gone {number}");
        let (id, _) = world.join(&v5(&name, 1000));
        world.subscribe(id, "t", Qos::AtLeastOnce);
        world.cut(id);
        world.publish_passing("out/x", &payload);
    }
    let up = link(&mut world, false, Qos::ExactlyOnce);
    assert!(!world.messages(up).is_empty());
}

#[test]
fn a_retained_message_of_the_remote_broker_does_not_go_back_to_it() {
    let mut world = World::new();
    let filters = [("home/#", Qos::AtMostOnce)];
    let other = Bridge {
        client_id: "bridge:other",
        state_topic: None,
        ..bridge(&filters)
    };
    let declare = |world: &mut World| world.handle(Input::Bridges(&[bridge(&filters), other]));
    declare(&mut world);
    let (id, _) = world.join(&v3("client"));
    let mut up = link(&mut world, false, Qos::ExactlyOnce);
    world.publish(up, retained("home/light", "on"));
    world.publish(up, retained("home/door", "open"));
    world.publish(id, retained("home/door", "shut"));
    world.take(up);
    // Its session may be there or gone, and this broker may have been killed.
    for (session_present, crashes) in [(true, false), (false, false), (true, true), (false, true)] {
        world.cut(up);
        if crashes {
            world.crash(100);
            declare(&mut world);
        }
        up = link(&mut world, session_present, Qos::ExactlyOnce);
        assert_eq!(world.payloads(up), ["shut"], "{session_present} {crashes}");
    }
    // What waited for it goes before what is retained.
    world.advance_s(10);
    let elsewhere = link_of(&mut world, "bridge:other", false, Qos::ExactlyOnce);
    let messages = world.messages(elsewhere);
    assert_eq!(messages.len(), 2, "another broker gets them");
    assert!(messages[1].properties.is_empty(), "as it was published");
}

#[test]
fn the_longest_keep_alive_of_clients_does_not_bind_a_link() {
    let mut world = World::with(Settings {
        max_keep_alive_s: 10,
        sys_interval_ms: 0,
        ..Settings::default()
    });
    world.handle(Input::Bridges(&[bridge(&[("out/#", Qos::AtLeastOnce)])]));
    let up = link(&mut world, false, Qos::ExactlyOnce);
    world.advance_s(3600);
    assert_eq!(world.closed(up), None);
}

#[test]
fn identifiers_of_a_new_session_begin_anywhere() {
    // The remote broker may hold some of a session that this broker has lost: mostly the first ones.
    let first = |seed: u64| {
        let mut world = World::seeded(seed);
        world.handle(Input::Bridges(&[bridge(&[("out/#", Qos::ExactlyOnce)])]));
        let (id, _) = world.join(&v3("client"));
        let up = link(&mut world, true, Qos::ExactlyOnce);
        world.publish(id, qos2("out/x", "first", 1));
        world.messages(up)[0].id
    };
    let ids: std::collections::BTreeSet<u16> = (1..=8).map(first).collect();
    assert!(ids.len() > 1, "{ids:?}");
}

#[test]
fn what_a_link_does_not_take_is_counted_as_dropped() {
    let mut world = bridged();
    let (id, _) = world.join(&v3("client"));
    let up = link(&mut world, true, Qos::ExactlyOnce);
    world.link(up).payload_max = 5;
    world.publish(id, qos1("out/x", "too large", 1));
    world.publish(id, qos1("out/x", "fits", 2));
    assert_eq!(world.payloads(up), ["fits"]);
    assert_eq!(state(&world).dropped, 1);
}
