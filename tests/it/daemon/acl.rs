//! ACL sections: the first rule that matches decides, for publishing, reading, subscribing and wills.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{BOTH, Connect, Publish, Version};
use crate::harness::root::Root;

/// A broker with the users alice and bob and these rules.
fn broker(rules: &str) -> Broker {
    let root = Root::with_uci(&format!(
        "{LOCAL}\nconfig user 'alice'\n\nconfig user 'bob'\n\tlist group 'guests'\n\n{rules}"
    ));
    for user in ["alice", "bob"] {
        assert!(root.passwd(user, "password").status.success());
    }
    Broker::start_on(root)
}

/// A rule as it stands in UCI.
fn rule(who: &str, access: &str, topic: &str, action: &str) -> String {
    format!(
        "config acl\n{who}\toption access '{access}'\n\tlist topic '{topic}'\n\toption action '{action}'\n\n"
    )
}

fn alice(version: Version) -> Connect {
    Connect::new(version, "alice-1").user("alice", "password")
}

const ALICE: &str = "\tlist user 'alice'\n";

#[test]
fn a_denied_publish_reaches_nobody_and_is_answered() {
    let broker =
        broker(&(rule(ALICE, "write", "open/#", "allow") + &rule(ALICE, "write", "#", "deny")));
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("#", 0);
        let mut alice = broker.join(&alice(version));
        alice.publish("secret/0", "denied");
        for qos in 1..=2 {
            let code = alice.publish_acknowledged(Publish::new("secret/x", "denied").qos(qos, 0));
            // 3.1.1 has no word for it: acknowledged and dropped.
            assert_eq!(code, if version == Version::V5 { 0x87 } else { 0 });
        }
        alice.send_publish(&Publish::new("secret/kept", "denied").retained());
        alice.publish("open/x", "allowed");
        assert_eq!(watcher.message(), Publish::new("open/x", "allowed"));
        let mut late = broker.join(&Connect::new(version, "late"));
        late.subscribe("secret/#", 0);
        late.subscribe("end", 0);
        late.publish("end", "nothing was kept");
        assert_eq!(late.text(), "nothing was kept");
        alice.disconnect();
        watcher.disconnect();
        late.disconnect();
    }
}

#[test]
fn a_denied_subscription_is_answered_and_the_others_of_the_packet_hold() {
    let broker = broker(&rule(ALICE, "subscribe", "secret/#", "deny"));
    for version in BOTH {
        let denied = if version == Version::V5 { 0x87 } else { 0x80 };
        let mut alice = broker.join(&alice(version));
        assert_eq!(alice.subscribe("secret/x", 0), denied);
        assert_eq!(alice.subscribe("secret/#", 2), denied);
        assert_eq!(alice.subscribe("open/x", 1), 1);
        let mut local = broker.join(&Connect::new(version, "local"));
        local.publish("secret/x", "denied");
        local.publish("open/x", "allowed");
        assert_eq!(alice.text(), "allowed");
        alice.disconnect();
        local.disconnect();
    }
}

#[test]
fn what_may_not_be_read_is_left_out_of_a_wider_subscription() {
    let broker = broker(&rule(ALICE, "read", "secret/#", "deny"));
    for version in BOTH {
        let mut local = broker.join(&Connect::new(version, "local"));
        local.send_publish(&Publish::new("secret/kept", "denied").retained());
        local.ping();
        let mut alice = broker.join(&alice(version));
        assert_eq!(alice.subscribe("#", 0), 0);
        local.publish("secret/x", "denied");
        local.publish("open/x", "allowed");
        assert_eq!(alice.text(), "allowed");
        alice.disconnect();
        local.disconnect();
    }
}

#[test]
fn a_will_on_a_denied_topic_is_refused_with_its_connect() {
    let broker = broker(&rule(ALICE, "write", "secret/#", "deny"));
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("#", 0);
        let (mut refused, connack) = broker.attempt(&alice(version).will("secret/will", "denied"));
        assert_eq!(connack.code, if version == Version::V5 { 0x87 } else { 5 });
        refused.refused();
        drop(broker.join(&alice(version).will("open/will", "allowed")));
        assert_eq!(watcher.text(), "allowed");
        watcher.disconnect();
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let broker = broker(
        &(rule(ALICE, "readwrite", "a/b", "allow") + &rule(ALICE, "readwrite", "a/#", "deny")),
    );
    let mut watcher = broker.join(&Connect::new(Version::V311, "watcher"));
    watcher.subscribe("#", 0);
    let mut alice = broker.join(&alice(Version::V311));
    alice.publish("a/c", "denied");
    alice.publish("a/b", "allowed");
    assert_eq!(watcher.text(), "allowed");
    let bob = Connect::new(Version::V311, "bob-1").user("bob", "password");
    broker.join(&bob).publish("a/c", "bob has no rule");
    assert_eq!(watcher.text(), "bob has no rule");
}

#[test]
fn a_rule_for_a_group_holds_for_its_members() {
    let broker = broker(&rule("\tlist group 'guests'\n", "write", "#", "deny"));
    let mut watcher = broker.join(&Connect::new(Version::V311, "watcher"));
    watcher.subscribe("a", 0);
    let mut bob = broker.join(&Connect::new(Version::V5, "bob-1").user("bob", "password"));
    assert_eq!(
        bob.publish_acknowledged(Publish::new("a", "denied").qos(1, 0)),
        0x87
    );
    broker
        .join(&alice(Version::V5))
        .publish("a", "alice is no guest");
    assert_eq!(watcher.text(), "alice is no guest");
}

#[test]
fn a_rule_for_a_listener_holds_for_who_comes_by_it() {
    let broker = broker(&rule("\tlist listener 'local'\n", "write", "a", "deny"));
    let mut alice = broker.join(&alice(Version::V5));
    assert_eq!(
        alice.publish_acknowledged(Publish::new("a", "denied").qos(1, 0)),
        0x87
    );
    assert!(alice.publish_acknowledged(Publish::new("b", "allowed").qos(1, 0)) < 0x80);
}

#[test]
fn patterns_stand_for_the_user_and_the_client() {
    let rules =
        rule("", "readwrite", "user/%u/#", "allow") + &rule("", "readwrite", "client/%c", "allow");
    let broker = broker(&format!(
        "config global 'global'\n\toption acl_default 'deny'\n\n{rules}"
    ));
    let mut alice = broker.join(&alice(Version::V5));
    for (topic, allowed) in [
        ("user/alice/x", true),
        ("user/bob/x", false),
        ("client/alice-1", true),
        ("client/alice-2", false),
        ("elsewhere", false),
    ] {
        let code = alice.publish_acknowledged(Publish::new(topic, "x").qos(1, 0));
        assert_eq!(code == 0x87, !allowed, "{topic} is answered by {code:#x}");
    }
}

#[test]
fn a_client_id_with_wildcards_does_not_widen_a_pattern() {
    let rules = rule("", "readwrite", "client/%c", "allow");
    let broker = broker(&format!(
        "config global 'global'\n\toption acl_default 'deny'\n\n{rules}"
    ));
    for id in ["+", "#", "%u", "a/b"] {
        let mut client = broker.dial();
        let connack = client.connect(&Connect::new(Version::V5, id).user("alice", "password"));
        if connack.code == 0 {
            assert_eq!(
                client.publish_acknowledged(Publish::new("client/victim", "x").qos(1, 0)),
                0x87,
                "{id}"
            );
        }
    }
}

#[test]
fn without_rules_every_authenticated_client_may_do_anything() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "a"));
    assert_eq!(client.subscribe("#", 0), 0);
    client.publish("anything", "x");
    assert_eq!(client.text(), "x");
}
