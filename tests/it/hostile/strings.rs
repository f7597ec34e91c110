//! Strings that a log, a topic, a pattern or a file name must not be fooled by: hostile inputs 27 to 33 and 64.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Victim;
use crate::harness::broker::{Broker, OPEN};
use crate::harness::client::Client;
use crate::harness::packet::{BOTH, Connect, Packet, Publish, Version, put_string, unsubscribe};
use crate::harness::root::Root;

#[test]
fn a_client_id_cannot_write_a_line_of_the_log_64() {
    let victim = Victim::new();
    let forged = "x'\nnotice: forged\r\u{1b}[31m";
    let right = victim.broker.as_local(&Connect::new(Version::V311, forged));
    let wrong = Connect::new(Version::V311, forged).user("u\nnotice: forged", "x");
    for connect in [right, wrong] {
        // It may be accepted, refused or closed; only the log matters here.
        let mut client = victim.broker.dial();
        client.send(&connect.encode());
        client.receive_or_close();
    }
    let mut last = victim.member(Version::V5);
    last.ping();
    for line in victim.broker.log().lines() {
        assert!(
            !line.starts_with("notice: forged"),
            "a client wrote a line of the log"
        );
        assert!(
            !line.contains('\u{1b}') && !line.contains('\r'),
            "a control character in {line:?}"
        );
    }
}

#[test]
fn strings_that_are_no_utf_8_are_closed_27() {
    let mut victim = Victim::new();
    for bytes in [
        &b"\xC0\x80"[..],
        b"\xED\xA0\x80",
        b"\xFF",
        b"a\0b",
        b"\xF4\x90\x80\x80",
    ] {
        for version in BOTH {
            let mut connect = victim.broker.as_local(&Connect::new(version, ""));
            connect.client_id = bytes.to_vec();
            let mut attacker = victim.broker.dial();
            attacker.send(&connect.encode());
            attacker.refused();
            let mut member = victim.member(version);
            let mut body = Vec::new();
            put_string(&mut body, bytes);
            if version == Version::V5 {
                body.push(0);
            }
            member.send(&crate::harness::packet::frame(0x30, &body));
            member.closed();
        }
    }
    victim.unharmed();
}

#[test]
fn odd_characters_come_through_or_are_refused_and_none_stays_in_the_log_27() {
    let mut victim = Victim::with_uci(OPEN);
    for odd in [
        "\u{fffe}", "\u{ffff}", "\u{fdd0}", "\u{1}", "\u{7f}", "\u{9f}", "\u{feff}", "\u{202e}",
    ] {
        for version in BOTH {
            let name = format!("odd {odd}");
            let connect = Connect::new(version, &name).will(&name, odd);
            let strange_user = connect.clone().user(&name, odd);
            let (mut refused, connack) = victim.broker.attempt(&strange_user);
            assert_ne!(connack.code, 0, "{odd:?}");
            refused.refused();
            let mut client = Client::dial(victim.broker.address("open"));
            if client.connect(&connect).code != 0 {
                client.refused();
                continue;
            }
            client.send_subscribe(&name, 0);
            client.send_publish(&Publish::new(&name, odd));
            // All of it or nothing: 1.5.4 lets a server close.
            match client.receive_or_close() {
                Some(Packet::Suback { codes, .. }) if codes[0] < 0x80 => {
                    assert_eq!(client.message(), Publish::new(&name, odd));
                }
                Some(Packet::Suback { .. } | Packet::Disconnect { .. }) | None => {}
                Some(other) => panic!("{odd:?} is answered by {other:?}"),
            }
        }
    }
    for line in victim.broker.log().lines() {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    victim.unharmed();
}

#[test]
fn topics_that_are_none_are_closed_28() {
    let mut victim = Victim::new();
    for version in BOTH {
        for topic in ["", "a/+", "#", "+/b"] {
            let mut member = victim.member(version);
            member.send(&Publish::new(topic, "x").encode(version));
            member.closed();
        }
    }
    victim.unharmed();
}

#[test]
fn filters_that_are_none_are_refused_32() {
    let mut victim = Victim::new();
    for version in BOTH {
        for filter in ["", "a/#/b", "a#", "a+", "+a/b", "#/a"] {
            let mut member = victim.member(version);
            member.send_subscribe(filter, 0);
            match member.receive_or_close() {
                Some(Packet::Suback { codes, .. }) => {
                    assert!(codes[0] >= 0x80, "{filter}")
                }
                Some(Packet::Disconnect { code }) => {
                    assert!(code >= 0x80, "{filter}")
                }
                Some(other) => panic!("{filter} is answered by {other:?}"),
                None => {}
            }
        }
    }
    victim.unharmed();
}

#[test]
fn shared_subscriptions_without_their_parts_are_refused_32() {
    let mut victim = Victim::new();
    for version in BOTH {
        for filter in [
            "$share/",
            "$share//x",
            "$share/g",
            "$share/g/",
            "$share/+/x",
            "$share/#",
            "$share/g+/x",
            "$share/g#/x",
            "$share/g/a+",
            "$share/g/#/x",
        ] {
            let mut member = victim.member(version);
            member.send_subscribe(filter, 0);
            match member.receive_or_close() {
                Some(Packet::Suback { codes, .. }) => assert!(codes[0] >= 0x80, "{filter}"),
                Some(Packet::Disconnect { code }) => assert!(code >= 0x80, "{filter}"),
                Some(other) => panic!("{filter} is answered by {other:?}"),
                None => {}
            }
        }
    }
    victim.unharmed();
}

#[test]
fn nobody_writes_to_the_topics_of_the_broker_32() {
    let mut victim = Victim::new();
    let mut watcher = victim.broker.join(&Connect::new(Version::V5, "watcher"));
    watcher.subscribe("$SYS/forged/#", 0);
    watcher.subscribe("end", 0);
    for version in BOTH {
        let mut member = victim.member(version);
        for qos in 0..=2 {
            let publish = Publish::new("$SYS/forged/x", "x").retained();
            if qos == 0 {
                member.send_publish(&publish);
                continue;
            }
            let code = member.publish_acknowledged(publish.qos(qos, 0));
            assert_eq!(code >= 0x80, version == Version::V5);
        }
        member.publish("end", "end");
        assert_eq!(watcher.text(), "end");
        assert_eq!(member.subscribe("$SYS/forged/#", 0), 0);
        member.ping();
    }
    victim.unharmed();
}

#[test]
fn a_topic_of_65_535_bytes_is_a_topic_29() {
    let victim = Victim::new();
    for version in BOTH {
        let longest = "t".repeat(65_535);
        let mut member = victim.member(version);
        assert_eq!(member.subscribe(&longest, 1), 1);
        member.send_publish(&Publish::new(&longest, "x").retained());
        assert_eq!(member.message().topic, longest);
        member.unsubscribe(&longest);
        member.subscribe("+", 0);
        let mut kept = member.message();
        while kept.topic != longest {
            kept = member.message();
        }
        member.send_publish(&Publish::new(&longest, "").retained());
        member.message();
        member.unsubscribe("+");
        // Each another one, which nobody keeps.
        for number in 10_000..11_000 {
            member.publish(&format!("{number}{}", &longest[5..]), "");
        }
        member.ping();
    }
    victim.unharmed_within(Duration::from_secs(5));
}

#[test]
fn thirty_thousand_levels_are_a_topic_and_too_much_for_a_filter_30() {
    let victim = Victim::new();
    for version in BOTH {
        for levels in ["/".repeat(32_767), "/".repeat(65_535), "a/".repeat(32_767)] {
            let mut member = victim.member(version);
            for filter in ["+/+/+/#", "/#", "/+/#", "a/#"] {
                member.subscribe(filter, 0);
            }
            let refusal = if version == Version::V5 { 0x97 } else { 0x80 };
            let most = &levels[..65_534.min(levels.len())];
            for filter in [format!("{}#", most), most.to_owned(), levels.clone()] {
                match member.subscribe(&filter, 0) {
                    code if code == refusal => {}
                    code => panic!("answered by {code:#x}"),
                }
            }
            member.send(&unsubscribe(version, 9, &[&levels]));
            member.expect(|packet| matches!(packet, Packet::Unsuback { .. }));
            for _ in 0..50 {
                member.send_publish(&Publish::new(&levels, "x").retained());
                assert_eq!(member.message().topic, levels);
            }
            member.send_publish(&Publish::new(&levels, "").retained());
            member.message();
        }
    }
    victim.unharmed_within(Duration::from_secs(10));
}

#[test]
fn a_filter_of_plus_signs_alone_is_too_deep_31() {
    let victim = Victim::new();
    let plus = |count: usize| vec!["+"; count].join("/");
    for version in BOTH {
        let refusal = if version == Version::V5 { 0x97 } else { 0x80 };
        let mut member = victim.member(version);
        for count in [202, 32_767, 32_768] {
            assert_eq!(member.subscribe(&plus(count), 0), refusal, "{count}");
            let shared = format!("$share/g/{}", plus(count.min(32_000)));
            assert_eq!(member.subscribe(&shared, 0), refusal, "{count}");
        }
        // As deep as may be, all mixtures of names and signs at the first levels: what a message costs stays bounded.
        for mixture in 0..256_u32 {
            let level = |bit: u32| if mixture >> bit & 1 == 0 { "+" } else { "a" };
            let head: Vec<&str> = (0..8).map(level).collect();
            let filter = format!("{}/{}", head.join("/"), plus(193));
            assert_eq!(member.subscribe(&filter, 0), 0);
        }
        let topic = vec!["a"; 201].join("/");
        for _ in 0..20 {
            member.publish(&topic, "x");
            assert_eq!(member.message().topic, topic);
            member.ping_past_messages();
        }
        member.disconnect();
    }
    victim.unharmed_within(Duration::from_secs(10));
}

#[test]
fn client_ids_of_65_535_bytes_leave_nothing_behind_27() {
    let mut victim = Victim::new();
    for version in BOTH {
        for number in 0..300 {
            let client_id = format!("{number:03}{}", "x".repeat(65_532));
            victim
                .broker
                .join(&Connect::new(version, &client_id))
                .disconnect();
        }
    }
    victim.unharmed();
}

/// Names that mean something in a pattern, a path or a log line.
const MEANT: [&str; 14] = [
    "+",
    "#",
    "/",
    "a/b",
    "victim/",
    "/victim",
    "%u",
    "%c",
    "..",
    "../victim",
    "../../etc/fosquitto/passwd",
    "->",
    "'; x",
    "victim\u{85}",
];

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn names_that_mean_something_elsewhere_are_names_in_patterns_and_no_paths_33() {
    let rule =
        |topic: &str| format!("\nconfig acl\n\tlist listener 'open'\n\tlist topic '{topic}'\n");
    let deny = "config global 'global'\n\toption acl_default 'deny'\n\n";
    let all = "\nconfig acl\n\tlist user 'local'\n\tlist topic '#'\n";
    let (client, user) = (rule("client/%c/#"), rule("user/%u/#"));
    let root = Root::with_uci(&format!("{deny}{OPEN}{all}{client}{user}"));
    for name in MEANT {
        // A name that cannot be a user's is refused here.
        root.passwd(name, "password");
    }
    let mut victim = Victim::of(Broker::start_on(root));
    let before = files(victim.broker.root().path());
    let mut watcher = victim.broker.join(&Connect::new(Version::V5, "watcher"));
    watcher.subscribe("client/victim/#", 0);
    watcher.subscribe("user/victim/#", 0);
    for name in MEANT {
        for connect in [
            Connect::new(Version::V5, name).persistent(),
            Connect::new(Version::V5, "victim+").user(name, "password"),
        ] {
            let mut client = Client::dial(victim.broker.address("open"));
            if client.connect(&connect).code != 0 {
                continue;
            }
            for topic in ["client/victim/x", "user/victim/x", "client/x", "user/x"] {
                let publish = Publish::new(topic, "x").qos(1, 0);
                assert_eq!(client.publish_acknowledged(publish), 0x87, "{name} {topic}");
                assert_eq!(client.subscribe(topic, 0), 0x87, "{name} {topic}");
            }
            for filter in [
                "client/+/#",
                "user/+/#",
                "client/#",
                "user/#",
                "#",
                "client/victim/#",
            ] {
                assert_eq!(client.subscribe(filter, 0), 0x87, "{name} {filter}");
            }
            client.disconnect();
        }
    }
    watcher.ping();
    assert_eq!(files(victim.broker.root().path()), before);
    victim.unharmed();
}
