//! `fosquitto check`: what is wrong, and warnings of what is right and still odd.

use serde_json::Value;

use crate::harness::broker::LOCAL;
use crate::harness::pki::{Days, REMOTE};
use crate::harness::root::{Root, stderr};

/// The warnings of a configuration, and that they stop nothing unless that is asked for.
fn warnings(root: &Root) -> Vec<String> {
    let output = root.command(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(told["faults"], Value::Array(Vec::new()));
    let warnings = told["warnings"].as_array().expect("a list");
    let texts: Vec<String> = warnings
        .iter()
        .map(|warning| warning["what"].as_str().expect("a text").to_owned())
        .collect();
    let strict = root.command(&["check", "--strict"]);
    let expected = if texts.is_empty() { Some(0) } else { Some(1) };
    assert_eq!(strict.status.code(), expected);
    for text in &texts {
        assert!(stderr(&strict).contains(text.as_str()), "{text}");
    }
    texts
}

#[test]
fn a_sound_configuration_has_no_warnings() {
    let root = Root::with_uci(LOCAL);
    assert!(root.passwd("anna", "password").status.success());
    assert_eq!(warnings(&root), [""; 0]);
    root.write_uci(&format!(
        "{LOCAL}\nconfig acl\n\tlist user 'anna'\n\toption access 'write'\n\toption action 'deny'\n\tlist topic 'a'\n"
    ));
    assert_eq!(warnings(&root), [""; 0]);
}

#[test]
fn a_shadowed_rule_and_an_unknown_user_are_told() {
    let root = Root::with_uci(&format!(
        "{LOCAL}\nconfig user 'anna'\n\nconfig acl 'first'\n\toption access 'readwrite'\n\toption action 'allow'\n\tlist topic 'a/#'\n\n\
         config acl 'second'\n\tlist user 'ann'\n\toption access 'deny'\n\tlist topic 'a/b'\n\n"
    ));
    let found = warnings(&root);
    let expected = [
        "fosquitto.second: never decides anything: the rule 'first' in line ",
        "fosquitto.second.user: 'ann' has neither a password nor a section 'user' (did you mean 'anna'?)",
    ];
    assert_eq!(found.len(), 2, "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn a_listener_that_lets_everybody_in_from_outside_is_told() {
    let open = |place: &str| {
        let root = Root::with_uci(&format!(
            "{LOCAL}\nconfig listener 'open'\n\toption port '0'\n\toption allow_anonymous '1'\n{place}\n"
        ));
        root.write(
            "etc/config/network",
            "config interface 'lan'\n\toption device 'br-lan'\n\nconfig interface 'uplink'\n\toption device 'eth9'\n",
        );
        root.write(
            "etc/config/firewall",
            "config zone\n\toption name 'wan'\n\tlist network 'uplink'\n",
        );
        warnings(&root)
    };
    for place in [
        "",
        "\tlist interface 'uplink'\n",
        "\tlist address '192.0.2.1'\n",
    ] {
        let found = open(place);
        assert_eq!(found.len(), 1, "{place}: {found:?}");
        assert!(
            found[0].starts_with("fosquitto.open.allow_anonymous: "),
            "{found:?}"
        );
    }
    for place in [
        "\tlist interface 'lan'\n",
        "\tlist address '192.168.1.1'\n",
        "\tlist address '127.0.0.1'\n",
    ] {
        assert_eq!(open(place), [""; 0], "{place}");
    }
}

#[test]
fn files_that_cannot_be_used_or_not_for_long_are_told() {
    let root = Root::with_uci(&format!(
        "{LOCAL}\nconfig remote 'remote'\n\toption enabled '1'\n\toption port '0'\n"
    ));
    let found = warnings(&root);
    assert!(!found.is_empty());
    assert!(
        found
            .iter()
            .all(|it| it.starts_with("fosquitto.remote: it would stay closed: ")),
        "{found:?}"
    );
    REMOTE.install(&root);
    assert!(warnings(&root).is_empty(), "{:?}", warnings(&root));
    // Each of the two, some time before its end.
    let of = |from, to| {
        REMOTE.install_for(&root, Days { from, to });
        let found = warnings(&root);
        let told: Vec<_> = found
            .iter()
            .map(|it| it.split_once(": ").expect("section and words").1)
            .map(|it| it.split_once(" in ").map_or(it, |(words, _)| words))
            .map(|it| it.rsplit_once('/').map_or(it, |(_, name)| name).to_owned())
            .collect();
        told
    };
    // A list of turris-cagen, made today, and one that should have been made anew long ago.
    assert!(of(-1, 29).is_empty());
    let late = of(-25, 5);
    assert_eq!(
        late,
        ["01.crt: the certificate ends", "ca.crl: a new list is due"]
    );
    // A year is told of a month before.
    assert!(of(-334, 31).is_empty());
    assert_eq!(of(-336, 29).len(), 2);
    let over = of(-30, -1);
    assert_eq!(over.len(), 2, "{over:?}");
    assert!(over.iter().all(|it| !late.contains(it)), "{over:?}");
}

#[test]
fn a_database_in_memory_is_told() {
    let root = Root::with_uci(&format!(
        "{LOCAL}\nconfig persistence 'persistence'\n\toption path '/dev/shm/fosquitto-check.db'\n"
    ));
    let found = warnings(&root);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("/dev/shm/fosquitto-check.db lies in memory"),
        "{found:?}"
    );
}
