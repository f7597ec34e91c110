//! Who is who and may do what, under attack: hostile inputs 51 to 54 and 56. Those of certificates stand in `certificates`.

use super::Victim;
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{BOTH, Connect, Packet, Publish, Version, ack, frame, property};
use crate::harness::root::Root;

/// A broker with the users alice and bob beside `local`, and this UCI.
fn victim(uci: &str) -> Victim {
    let root = Root::with_uci(&uci_with(uci));
    for user in ["alice", "bob"] {
        assert!(root.passwd(user, "password").status.success());
    }
    Victim::of(Broker::start_on(root))
}

/// One message in flight at a time, so that the next one is queued.
fn uci_with(rules: &str) -> String {
    format!(
        "config global 'global'\n\toption max_inflight '1'\n\n{LOCAL}\n\
         config user 'alice'\n\nconfig user 'bob'\n\n{rules}"
    )
}

/// A rule for alice.
fn rule(access: &str, topic: &str, action: &str) -> String {
    format!(
        "config acl\n\tlist user 'alice'\n\toption access '{access}'\n\tlist topic '{topic}'\n\
         \toption action '{action}'\n\n"
    )
}

fn alice(version: Version) -> Connect {
    Connect::new(version, "of alice").user("alice", "password")
}

/// What a SUBACK, PUBACK or PUBREC says of what is not allowed; 3.1.1 has a word for subscriptions only.
fn denied(version: Version) -> u8 {
    if version == Version::V5 { 0x87 } else { 0x80 }
}

fn present(client: &Client) -> bool {
    client
        .connack
        .as_ref()
        .expect("it has joined")
        .session_present
}

#[test]
fn a_second_user_gets_neither_the_connection_nor_the_session_of_a_client_id_51() {
    let mut victim = victim("");
    for version in BOTH {
        let persistent = alice(version).persistent();
        let mut owner = victim.broker.join(&persistent);
        owner.subscribe("private", 1);
        let bob = |clean| {
            let mut connect = Connect::new(version, "of alice").persistent();
            connect.clean = clean;
            connect.user("bob", "password").will("will", "of bob")
        };
        let mut local = victim.broker.join(&Connect::new(version, "local"));
        local.subscribe("will", 0);
        for clean in [false, true] {
            let (mut thief, connack) = victim.broker.attempt(&bob(clean));
            let refusal = if version == Version::V5 { 0x85 } else { 2 };
            assert_eq!((connack.code, connack.session_present), (refusal, false));
            thief.refused();
        }
        owner.ping();
        drop(owner);
        local.publish_acknowledged(Publish::new("private", "queued").qos(1, 0));
        for clean in [false, true] {
            let (mut thief, connack) = victim.broker.attempt(&bob(clean));
            assert_ne!(connack.code, 0);
            thief.refused();
        }
        let mut owner = victim.broker.join(&persistent);
        assert!(present(&owner));
        assert_eq!(owner.text(), "queued");
        owner.disconnect();
        victim.broker.join(&alice(version)).disconnect();
        // No will of somebody who was never in.
        local.ping();
        local.disconnect();
    }
    victim.unharmed();
}

#[test]
fn a_will_of_a_connect_that_fails_is_never_published_52() {
    let mut victim = victim("");
    for version in BOTH {
        // It would come to the bystander, to whom nothing may come but its own.
        let will = |connect: Connect| connect.will("to/bystander", "will of nobody");
        let wrong = Connect::new(version, "attacker").user("local", "wrong");
        let taken = Connect::new(version, "bystander").user("bob", "password");
        for connect in [wrong, taken] {
            let (mut attacker, connack) = victim.broker.attempt(&will(connect));
            assert_ne!(connack.code, 0);
            attacker.refused();
        }
    }
    victim.unharmed();
}

#[test]
fn a_will_on_a_forbidden_topic_refuses_its_connect_52() {
    let mut victim = victim(&rule("write", "secret/#", "deny"));
    let mut watcher = victim.broker.join(&Connect::new(Version::V311, "watcher"));
    watcher.subscribe("secret/#", 0);
    watcher.subscribe("$SYS/forged", 0);
    for version in BOTH {
        for topic in ["secret/will", "$SYS/forged"] {
            let connect = alice(version).will(topic, "forbidden");
            let (mut refused, connack) = victim.broker.attempt(&connect);
            let code = if version == Version::V5 { 0x87 } else { 5 };
            assert_eq!(connack.code, code, "{topic}");
            refused.refused();
        }
    }
    watcher.ping();
    victim.unharmed();
}

#[test]
fn what_may_no_longer_be_read_is_not_sent_from_wherever_it_waits_53() {
    let mut victim = victim("");
    let forbidden = uci_with(&rule("read", "secret/#", "deny"));
    for version in BOTH {
        for acknowledges in [true, false] {
            let mut local = victim.broker.join(&Connect::new(version, "local"));
            local.publish_acknowledged(Publish::new("secret/kept", "kept").qos(1, 0).retained());
            let persistent = alice(version).persistent();
            let mut reader = victim.broker.join(&persistent);
            assert_eq!(reader.subscribe("end", 1), 1);
            assert_eq!(reader.subscribe("secret/#", 1), 1);
            let kept = reader.message();
            reader.send(&ack(0x40, kept.packet_id));
            reader.ping();
            for topic in ["secret/in-flight", "secret/queued", "secret/queued"] {
                local.publish_acknowledged(Publish::new(topic, topic).qos(1, 0));
            }
            let in_flight = reader.message();
            assert_eq!(in_flight.topic, "secret/in-flight");
            victim.broker.reload(&forbidden);
            if acknowledges {
                reader.send(&ack(0x40, in_flight.packet_id));
            } else {
                drop(reader);
                reader = victim.broker.join(&persistent);
                assert!(present(&reader));
            }
            // Neither what is in flight again, nor what was queued, nor what comes now.
            local.publish_acknowledged(Publish::new("secret/now", "now").qos(1, 0));
            local.publish_acknowledged(Publish::new("end", "end").qos(1, 0));
            let end = reader.message();
            assert_eq!(end.topic, "end", "{version:?} {acknowledges}");
            reader.send(&ack(0x40, end.packet_id));
            // Nor what is retained, by a wider filter or by the same.
            assert_eq!(reader.subscribe("secret/#", 1), denied(version));
            assert_eq!(reader.subscribe("+/kept", 1), 1);
            reader.ping();
            reader.disconnect();
            victim.broker.join(&alice(version)).disconnect();
            local.disconnect();
            victim.broker.reload(&uci_with(""));
        }
    }
    victim.unharmed();
}

#[test]
fn what_may_no_longer_be_written_is_not_published_even_as_a_will_53() {
    let mut victim = victim("");
    let forbidden = uci_with(&rule("write", "secret/#", "deny"));
    for version in BOTH {
        let mut watcher = victim.broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("secret/#", 0);
        watcher.subscribe("end", 0);
        let mut writer = victim
            .broker
            .join(&alice(version).will("secret/will", "will"));
        writer.send_publish(&Publish::new("secret/before", "before").qos(2, 1));
        writer.expect(|packet| matches!(packet, Packet::Pubrec { code: 0, .. }));
        assert_eq!(watcher.text(), "before");
        victim.broker.reload(&forbidden);
        // What was taken while it was allowed is carried to its end.
        writer.send(&ack(0x62, 1));
        writer.expect(|packet| matches!(packet, Packet::Pubcomp { packet_id: 1, .. }));
        for qos in [1, 2] {
            let publish = Publish::new("secret/after", "after").qos(qos, 0);
            let code = writer.publish_acknowledged(publish.retained());
            assert_eq!(code == 0x87, version == Version::V5);
        }
        drop(writer);
        victim.broker.join(&alice(version)).disconnect();
        watcher.publish("end", "end");
        assert_eq!(watcher.text(), "end");
        watcher.subscribe("secret/after", 0);
        watcher.ping();
        watcher.disconnect();
        victim.broker.reload(&uci_with(""));
    }
    victim.unharmed();
}

#[test]
fn a_user_who_is_removed_goes_and_nobody_gets_its_session_53() {
    let mut victim = victim("");
    let persistent = alice(Version::V5).persistent();
    let mut removed = victim.broker.join(&persistent);
    removed.subscribe("private", 1);
    let mut local = victim.broker.join(&Connect::new(Version::V5, "local"));
    for payload in ["in flight", "queued"] {
        local.publish_acknowledged(Publish::new("private", payload).qos(1, 0));
    }
    assert_eq!(removed.text(), "in flight");
    let passwd = victim.broker.root().read("etc/fosquitto/passwd");
    let without: Vec<&str> = passwd
        .lines()
        .filter(|line| !line.starts_with("alice:"))
        .collect();
    let root = victim.broker.root();
    root.write("etc/fosquitto/passwd", without.join("\n") + "\n");
    victim.broker.reload_files();
    removed.closed();
    for (user, clean) in [("alice", false), ("bob", false), ("bob", true)] {
        let mut connect = persistent.clone().user(user, "password");
        connect.clean = clean;
        let (mut refused, connack) = victim.broker.attempt(&connect);
        assert_ne!(connack.code, 0, "{user}");
        refused.refused();
    }
    victim.broker.root().write("etc/fosquitto/passwd", passwd);
    victim.broker.reload_files();
    let mut back = victim.broker.join(&persistent);
    assert!(present(&back));
    assert_eq!(back.text(), "in flight");
    victim.unharmed();
}

/// alice's client goes and leaves a Will that waits; a session that is begun anew would have it published.
fn leaves_a_will(broker: &Broker) {
    let mut connect = alice(Version::V5).persistent().will("secret/will", "will");
    let hours = 7200_u32.to_be_bytes().to_vec();
    let will = connect.will.as_mut().expect("it was just set");
    will.properties.push((property::WILL_DELAY_INTERVAL, hours));
    let mut leaver = broker.join(&connect);
    leaver.send(&frame(0xE0, &[0x04]));
    leaver.closed();
}

#[test]
fn a_delayed_will_whose_right_was_taken_away_is_not_published_53() {
    let mut victim = victim("");
    let forbidden = uci_with(&rule("write", "secret/#", "deny"));
    let passwd = victim.broker.root().read("etc/fosquitto/passwd");
    let without_alice: Vec<&str> = passwd
        .lines()
        .filter(|line| !line.starts_with("alice:"))
        .collect();
    let without_alice = without_alice.join("\n") + "\n";
    for (uci, users, published) in [
        (&uci_with(""), &passwd, true),
        (&forbidden, &passwd, false),
        (&uci_with(""), &without_alice, false),
    ] {
        let mut watcher = victim.broker.join(&Connect::new(Version::V5, "watcher"));
        watcher.subscribe("secret/#", 0);
        leaves_a_will(&victim.broker);
        victim.broker.root().write("etc/fosquitto/passwd", users);
        victim.broker.reload(uci);
        // Whoever comes back may begin anew, which ends the session and with it the delay.
        victim.broker.root().write("etc/fosquitto/passwd", &passwd);
        victim.broker.reload(&uci_with(""));
        victim.broker.join(&alice(Version::V5)).disconnect();
        watcher.publish("secret/end", "end");
        let first = if published { "will" } else { "end" };
        assert_eq!(watcher.text(), first, "{uci}");
    }
    victim.unharmed();
}

#[test]
fn a_delayed_will_that_is_forbidden_while_the_bus_is_down_is_not_published_53() {
    let allowed = uci_with("");
    for (uci, published) in [
        (&allowed, true),
        (&uci_with(&rule("write", "secret/#", "deny")), false),
    ] {
        let root = Root::with_uci(&allowed);
        assert!(root.passwd("alice", "password").status.success());
        let broker = Broker::start_on(root);
        leaves_a_will(&broker);
        let (_, root) = broker.stop();
        root.write_uci(uci);
        let broker = Broker::start_on(root);
        let mut watcher = broker.join(&Connect::new(Version::V5, "watcher"));
        watcher.subscribe("secret/#", 0);
        broker.reload(&allowed);
        broker.join(&alice(Version::V5)).disconnect();
        watcher.publish("secret/end", "end");
        let first = if published { "will" } else { "end" };
        assert_eq!(watcher.text(), first, "{uci}");
    }
}

/// Configurations that would open the bus if the faulty part were left out.
fn faulty() -> Vec<String> {
    let faults = [
        // Misspelt options, sections and values.
        "config acl\n\tlist user 'alice'\n\toption acces 'deny'\n\tlist topic '#'\n",
        "config acl\n\tlist usr 'alice'\n\toption access 'deny'\n\tlist topic '#'\n",
        "config acl\n\tlist user 'alice'\n\toption access 'dney'\n\tlist topic '#'\n",
        "config acl\n\tlist user 'alice'\n\toption action 'denyed'\n\tlist topic '#'\n",
        "config alc\n\tlist user 'alice'\n\toption access 'deny'\n\tlist topic '#'\n",
        // A rule of nothing, of no topic, of half a topic.
        "config acl\n",
        "config acl\n\tlist user 'alice'\n\toption access 'deny'\n",
        "config acl\n\tlist user 'alice'\n\toption access 'deny'\n\tlist topic 'secret/#/x'\n",
        "config acl\n\tlist user 'alice'\n\toption access 'deny'\n\tlist topic ''\n",
        // A rule for groups and listeners that are not there.
        "config acl\n\tlist group 'guest'\n\toption access 'deny'\n\tlist topic '#'\n",
        "config acl\n\tlist listener 'lcoal'\n\toption access 'deny'\n\tlist topic '#'\n",
        // Cut off, and rubbish.
        "config acl\n\tlist user 'alice'\n\toption access 'de",
        "\0\u{1}\u{2}\u{fffd}",
        "config listener 'open'\n\toption port '0'\n\toption allow_anonymos '0'\n",
        "config global 'global'\n\toption acl_defualt 'deny'\n",
    ];
    let whole = rule("readwrite", "secret/#", "deny");
    let mut all: Vec<String> = faults
        .iter()
        .map(|fault| format!("{}{fault}", uci_with("")))
        .collect();
    all.extend(faults.map(|fault| format!("{fault}\n{}", uci_with(&whole))));
    all
}

#[test]
fn a_configuration_with_any_fault_opens_nothing_54() {
    let mut victim = victim(&rule("readwrite", "secret/#", "deny"));
    let mut client = victim.broker.join(&alice(Version::V5));
    for uci in faulty() {
        let said = victim.broker.reload_refused(&uci);
        let names_file = |line: &String| line.contains("etc/config/fosquitto");
        assert!(said.iter().any(names_file), "{uci}: {said:?}");
        assert_eq!(client.subscribe("secret/x", 0), 0x87, "{uci}");
    }
    for uci in faulty() {
        let output = Root::with_uci(&uci).serve_to_the_end();
        assert!(!output.status.success(), "it starts with {uci}");
    }
    victim.unharmed();
}

#[test]
fn without_any_rule_a_default_of_deny_denies_everything_54() {
    let deny = "config global 'global'\n\toption acl_default 'deny'\n\n";
    let rules = "config acl\n\tlist user 'local'\n\tlist topic '#'\n";
    let root = Root::with_uci(&format!("{deny}{LOCAL}\n{rules}"));
    assert!(root.passwd("alice", "password").status.success());
    let mut victim = Victim::of(Broker::start_on(root));
    let mut client = victim.broker.join(&alice(Version::V5));
    for filter in ["a", "#", "+", "$SYS/#", "$share/g/#"] {
        assert_eq!(client.subscribe(filter, 0), 0x87, "{filter}");
    }
    let publish = Publish::new("a", "x").qos(1, 0);
    assert_eq!(client.publish_acknowledged(publish), 0x87);
    victim.unharmed();
}

#[test]
fn a_password_file_that_is_empty_garbled_or_missing_lets_nobody_of_it_in_54() {
    let mut victim = victim("");
    let passwd = victim.broker.root().read("etc/fosquitto/passwd");
    let cut = &passwd[..passwd.len() / 3];
    let garbled = [
        "",
        "\n",
        "alice:\n",
        "alice\n",
        "alice:password\n",
        ":\n",
        "alice:$7$\n",
        "alice:$7$0$$\n",
        "alice:$7$101$AAAA$\n",
        "alice:$8$101$AAAA$AAAA\n",
        "\0\0\0\0\0\0\0\0",
        cut,
    ];
    for text in garbled {
        victim.broker.root().write("etc/fosquitto/passwd", text);
        let root = victim.broker.root();
        let at_once = uci_with("").replacen("\n", "\n\toption login_delay '0'\n", 1);
        let started = Root::with_uci(&at_once);
        started.write("etc/fosquitto/passwd", root.read("etc/fosquitto/passwd"));
        let other = Broker::start_on(started);
        for user in ["alice", "bob", ""] {
            for password in ["", "password", "x"] {
                let connect = Connect::new(Version::V5, "a").user(user, password);
                let (mut refused, connack) = other.attempt(&connect);
                // Without a name there is nothing that the file could say.
                let code = if user.is_empty() { 0x87 } else { 0x86 };
                assert_eq!(connack.code, code, "{text:?} lets {user:?} in");
                refused.refused();
            }
        }
        // The router's own programs are not locked out by it.
        other.join(&Connect::new(Version::V5, "own")).ping();
    }
    // A running broker goes on with what it has, until there is a sound file; that there is none is one.
    let path = victim.broker.root().join("etc/fosquitto/passwd");
    std::fs::remove_file(path).expect("the file is there");
    victim.broker.reload_files();
    let (mut refused, connack) = victim.broker.attempt(&alice(Version::V5));
    assert_eq!(connack.code, 0x86);
    refused.refused();
    victim.unharmed();
}

#[test]
fn a_shared_subscription_does_not_get_around_a_denial_56() {
    let rules = rule("subscribe", "secret/#", "deny") + &rule("read", "hidden/#", "deny");
    let mut victim = victim(&rules);
    for version in BOTH {
        let mut client = victim.broker.join(&alice(version));
        for filter in ["secret/#", "secret/x", "secret/+", "hidden/x"] {
            let shared = format!("$share/g/{filter}");
            assert_eq!(client.subscribe(&shared, 1), denied(version), "{filter}");
        }
        // What a wider filter of the group matches goes to a member who may read it, and never to one who may not.
        let mut local = victim.broker.join(&Connect::new(version, "local"));
        assert_eq!(client.subscribe("$share/h/+/x", 0), 0);
        assert_eq!(local.subscribe("$share/h/+/x", 0), 0);
        for number in 0..50 {
            local.publish("hidden/x", &number.to_string());
            assert_eq!(local.text(), number.to_string(), "it is not lost");
        }
        client.ping();
        client.disconnect();
        local.disconnect();
    }
    victim.unharmed();
}

#[test]
fn a_filter_that_is_wider_than_the_grant_is_refused_or_gets_only_what_is_granted_56() {
    let grant = rule("readwrite", "open/#", "allow") + &rule("readwrite", "#", "deny");
    let mut victim = victim(&grant);
    for version in BOTH {
        let mut local = victim.broker.join(&Connect::new(version, "local"));
        let kept = Publish::new("secret/kept", "kept").qos(1, 0).retained();
        local.publish_acknowledged(kept);
        let mut client = victim.broker.join(&alice(version));
        for filter in ["#", "+/#", "+/kept", "+", "+/+", "open", "secret/#", "/#"] {
            let code = client.subscribe(filter, 1);
            let is_inside = filter == "open" && code == 1;
            assert!(code == denied(version) || is_inside, "{filter}: {code:#x}");
        }
        assert_eq!(client.subscribe("open/+", 0), 0);
        local.publish("secret/x", "secret");
        local.publish("open/x", "open");
        assert_eq!(client.text(), "open");
        client.ping();
        client.disconnect();
        local.disconnect();
    }
    victim.unharmed();
}
