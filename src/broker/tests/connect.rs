//! CONNECT, the takeover of a session, and who may have one.

use super::world::{Packet, World, qos0, qos1, v3, v3_durable, v5, will, without};
use crate::acl::{Access, Action, Permissions};
use crate::broker::{Input, Settings};
use crate::mqtt::packet::{Auth, ClientPacket, Connect};
use crate::mqtt::{Qos, ReasonCode};

fn refusal(world: &mut World, connect: &Connect<'_>) -> ReasonCode {
    let id = world.connect(connect);
    let packets = world.take(id);
    let [Packet::ConnAck { reason, .. }] = packets[..] else {
        panic!("one CONNACK: {packets:?}");
    };
    assert_eq!(world.closed(id), Some(reason));
    reason
}

#[test]
fn a_clean_session_ends_with_its_connection() {
    let mut world = World::new();
    let (id, present) = world.join(&v3("a"));
    assert!(!present);
    world.subscribe(id, "t/+", Qos::AtLeastOnce);
    world.cut(id);
    assert!(world.broker.sessions.is_empty() && world.broker.by_client_id.is_empty());
    assert_eq!(world.broker.router.sizes(), (0, 0));
    assert_eq!(world.effects.operations, 0);
    assert!(!world.join(&v3_durable("a")).1);
}

#[test]
fn a_session_is_resumed_with_its_subscriptions_3_1_2_5() {
    let mut world = World::new();
    let (id, _) = world.join(&v3_durable("a"));
    world.subscribe(id, "t", Qos::AtLeastOnce);
    world.cut(id);
    let (id, present) = world.join(&v3_durable("a"));
    assert!(present);
    world.publish(id, qos0("t", "x"));
    assert_eq!(world.payloads(id), ["x"]);
}

#[test]
fn a_clean_start_discards_the_former_session_3_1_2_4() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 100));
    world.subscribe(id, "t", Qos::AtLeastOnce);
    world.cut(id);
    let clean = Connect {
        clean_start: true,
        ..v5("a", 100)
    };
    let (id, present) = world.join(&clean);
    assert!(!present);
    world.publish(id, qos0("t", "x"));
    assert_eq!(world.payloads(id), [""; 0]);
}

#[test]
fn a_second_connection_takes_the_session_over_3_1_4_3() {
    let mut world = World::new();
    let (first, _) = world.join(&v5("a", 100));
    let (second, present) = world.join(&v5("a", 100));
    assert!(present);
    let told = [Packet::Disconnect(ReasonCode::SESSION_TAKEN_OVER)];
    assert_eq!(world.take(first), told);
    assert_eq!(world.closed(first), Some(ReasonCode::SESSION_TAKEN_OVER));
    assert_eq!(world.closed(second), None);
    // The end of the first network connection is heard of later and changes nothing.
    let connection = first;
    world.handle(Input::Closed { connection });
    world.send(second, ClientPacket::PingReq);
    assert_eq!(world.take(second), [Packet::PingResp]);
}

#[test]
fn a_takeover_does_not_resume_a_session_that_ends_with_its_connection() {
    let mut world = World::new();
    let (first, _) = world.join(&v5("a", 0));
    world.subscribe(first, "t", Qos::AtMostOnce);
    let (second, present) = world.join(&v5("a", 100));
    assert!(!present);
    world.publish(second, qos0("t", "x"));
    assert_eq!(world.payloads(second), [""; 0]);
}

#[test]
fn a_takeover_publishes_the_will_of_the_former_connection() {
    let mut world = World::new();
    let (watcher, _) = world.join(&v3("watcher"));
    world.subscribe(watcher, "gone", Qos::AtMostOnce);
    let with_will = Connect {
        will: Some(will("gone")),
        ..v5("a", 100)
    };
    world.join(&with_will);
    world.join(&with_will);
    assert_eq!(world.payloads(watcher), ["will"]);
}

#[test]
fn another_user_cannot_take_a_session_over_or_end_it() {
    let mut world = World::new();
    let (first, _) = world.join(&v5("a", 100));
    for clean_start in [false, true] {
        let thief = Connect {
            clean_start,
            ..v5("a", 0)
        };
        let id = world.connect_as(&thief, Some("thief"), Permissions::allow_all());
        let reason = ReasonCode::CLIENT_IDENTIFIER_NOT_VALID;
        assert_eq!(world.closed(id), Some(reason));
    }
    assert_eq!(world.closed(first), None);
    assert!(world.take(first).is_empty());
    world.cut(first);
    assert!(world.join(&v5("a", 100)).1);
}

#[test]
fn a_client_without_an_identifier_is_given_one_of_its_own_3_1_3_6() {
    let mut world = World::new();
    let mut names = Vec::new();
    for _ in 0..2 {
        let id = world.connect(&v5("", 0));
        match &world.take(id)[..] {
            [
                Packet::ConnAck {
                    assigned: Some(name),
                    session_present: false,
                    ..
                },
            ] => names.push(name.clone()),
            other => panic!("an assigned identifier: {other:?}"),
        }
        assert_eq!(world.closed(id), None);
    }
    assert_ne!(names[0], names[1]);
    assert_eq!(world.broker.sessions.len(), 2);
}

#[test]
fn a_second_connect_closes_the_connection_3_1_0_2() {
    let mut world = World::new();
    let (id, _) = world.join(&v3("a"));
    world.send(id, ClientPacket::Connect(v3("a")));
    assert_eq!(world.closed(id), Some(ReasonCode::PROTOCOL_ERROR));
    assert!(world.broker.sessions.is_empty());
}

#[test]
fn an_auth_of_a_client_without_a_method_is_a_protocol_error_4_12_0_7() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    let auth = Auth {
        reason: ReasonCode::REAUTHENTICATE,
        method: None,
        data: None,
    };
    world.send(id, ClientPacket::Auth(auth));
    assert_eq!(world.closed(id), Some(ReasonCode::PROTOCOL_ERROR));
}

#[test]
fn a_will_that_may_not_be_published_refuses_the_connection() {
    let mut world = World::new();
    let connect = Connect {
        will: Some(will("secret/x")),
        ..v3("a")
    };
    let id = world.connect_as(&connect, None, without(Access::Write, "secret/#"));
    assert_eq!(world.closed(id), Some(ReasonCode::NOT_AUTHORIZED));
    let denied = (Action::Will, "secret/x".to_owned());
    assert_eq!(world.effects.denied, [denied]);
    for topic in ["$SYS/broker/version", "$share/g/t"] {
        let connect = Connect {
            will: Some(will(topic)),
            ..v3("a")
        };
        assert_eq!(refusal(&mut world, &connect), ReasonCode::NOT_AUTHORIZED);
    }
    assert!(world.broker.sessions.is_empty());
}

#[test]
fn inputs_of_an_unknown_connection_change_nothing() {
    let mut world = World::new();
    let (first, _) = world.join(&v3("a"));
    world.cut(first);
    let (second, _) = world.join(&v3("b"));
    assert_eq!(first.index, second.index);
    world.publish(first, qos1("t", "x", 1));
    let connection = first;
    world.handle(Input::Closed { connection });
    world.handle(Input::Alive { connection });
    world.handle(Input::Drained { connection });
    let permissions = without(Access::ReadWrite, "#");
    world.handle(Input::Permissions {
        connection,
        permissions,
    });
    let (reason, what) = (ReasonCode::MALFORMED_PACKET, "bad");
    world.handle(Input::Violation {
        connection,
        reason,
        what,
    });
    world.send(second, ClientPacket::PingReq);
    assert_eq!(world.take(second), [Packet::PingResp]);
}

#[test]
fn a_violation_and_an_administrator_close_a_connection_with_their_reason() {
    let mut world = World::new();
    for by_administrator in [false, true] {
        let (connection, _) = world.join(&v5("a", 0));
        let what = "for a test";
        let reason = ReasonCode::ADMINISTRATIVE_ACTION;
        world.handle(if by_administrator {
            Input::Disconnect {
                connection,
                reason,
                what,
                server_reference: None,
            }
        } else {
            Input::Violation {
                connection,
                reason,
                what,
            }
        });
        assert_eq!(world.closed(connection), Some(reason));
        assert_eq!(world.take(connection), [Packet::Disconnect(reason)]);
    }
}

#[test]
fn a_client_that_was_given_no_session_may_repeat_in_disconnect_what_it_asked_for() {
    let mut world = World::with(Settings {
        sys_interval_ms: 0,
        max_session_expiry_s: 0,
        ..Settings::default()
    });
    let (id, _) = world.join(&v5("a", 100));
    world.disconnect(id, ReasonCode::SUCCESS, Some(100));
    assert_eq!(world.closed(id), Some(ReasonCode::SUCCESS));
}
