//! Certificates that must not get in, or not as who they say they are: hostile inputs 27, 34, 53 and 55 as far as TLS sees them.

use openssl::nid::Nid;
use openssl::ssl::SslVersion;

use super::Victim;
use crate::harness::broker::Broker;
use crate::harness::client::Client;
use crate::harness::packet::{BOTH, Connect, Publish, Version};
use crate::harness::pki::{
    Authority, Certified, EXPIRED, Handshake, LATER, LATER_REMOTE, REMOTE, STRANGER, VALID,
    common_name, name_of,
};
use crate::harness::root::Root;

const REMOTE_SIDE: &str = "config local 'local'\n\toption port '0'\n\n\
    config remote 'remote'\n\toption enabled '1'\n\toption port '0'\n";

/// A broker with a remote side, this UCI beside it, and a bystander on the local side.
fn victim(uci: &str) -> Victim {
    let root = Root::with_uci(&format!("{REMOTE_SIDE}{uci}"));
    REMOTE.install(&root);
    Victim::of(Broker::start_on(root))
}

impl Victim {
    fn remote(&self, certified: &Certified) -> Client {
        Handshake::new(certified).dial(self.broker.address("remote"))
    }

    /// Expects that the handshake fails in both versions of TLS, by an alert that has this word in it.
    fn alerts(&self, certified: &Certified, chain: &[Authority], word: &str) {
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let handshake = Handshake {
                version,
                chain: chain.iter().map(Authority::certificate).collect(),
                ..Handshake::new(certified)
            };
            let refusal = handshake.refusal(self.broker.address("remote"));
            assert!(refusal.to_lowercase().contains(word), "{word}: {refusal}");
        }
    }

    /// Expects that the certificate is good but its name is nobody's, whatever CONNECT says.
    fn is_nobody(&self, certified: &Certified) {
        for version in BOTH {
            let mut client = self.remote(certified);
            let connect = Connect::new(version, "attacker").user("local", "wrong");
            let code = client.connect(&connect).code;
            assert_eq!(code, if version == Version::V5 { 0x86 } else { 4 });
            client.refused();
        }
    }
}

#[test]
fn common_names_that_are_no_name_are_nobody_34() {
    let mut victim = victim("");
    let names = [
        vec![],
        vec![(Nid::COMMONNAME, "")],
        vec![(Nid::COMMONNAME, "alice"), (Nid::COMMONNAME, "local")],
        vec![(Nid::COMMONNAME, "local"), (Nid::COMMONNAME, "local")],
        vec![(Nid::COMMONNAME, "local\0.evil.example")],
        vec![(Nid::COMMONNAME, "\0")],
    ];
    for (serial, name) in (2..).zip(&names) {
        victim.is_nobody(&REMOTE.client_of(&name_of(name), serial, VALID));
    }
    victim.unharmed();
}

#[test]
fn a_common_name_of_64_kilobytes_is_nobody_or_refused_by_tls_34() {
    let mut victim = victim("");
    for size in [257, 4_000, 65_535] {
        let name = "x".repeat(size);
        let large = REMOTE.client_of(&name_of(&[(Nid::COMMONNAME, &name)]), 9, VALID);
        victim.is_nobody(&large);
    }
    // Larger than what OpenSSL reads of a client's certificates.
    let name = "x".repeat(200_000);
    let huge = REMOTE.client_of(&name_of(&[(Nid::COMMONNAME, &name)]), 10, VALID);
    for _ in 0..20 {
        Handshake::new(&huge).refusal(victim.broker.address("remote"));
    }
    victim.unharmed();
}

#[test]
fn control_characters_in_a_common_name_are_nobody_and_write_no_log_27() {
    let mut victim = victim("");
    for (serial, name) in (2..).zip([
        "x'\nnotice: forged",
        "x\r",
        "\u{1b}[31mx",
        "x\u{7f}",
        "\u{85}",
    ]) {
        victim.is_nobody(&REMOTE.client_of(&name_of(&[(Nid::COMMONNAME, name)]), serial, VALID));
    }
    for line in victim.broker.log().lines() {
        assert!(!line.starts_with("notice: forged"), "a client wrote a line");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    victim.unharmed();
}

#[test]
fn a_common_name_with_wildcards_does_not_widen_a_pattern_34() {
    let mut victim = victim(
        "\nconfig global 'global'\n\toption acl_default 'deny'\n\n\
         config acl\n\toption access 'readwrite'\n\tlist topic 'user/%u/#'\n\n\
         config acl\n\tlist user 'local'\n\toption access 'readwrite'\n\tlist topic '#'\n",
    );
    for (serial, name) in (2..).zip(["+", "#", "%u", "a/b", "victim/../victim"]) {
        let certified = REMOTE.client_of(&name_of(&[(Nid::COMMONNAME, name)]), serial, VALID);
        let mut client = victim.remote(&certified);
        if client.connect(&Connect::new(Version::V5, "attacker")).code == 0 {
            let publish = Publish::new("user/victim/x", "x").qos(1, 0);
            assert_eq!(client.publish_acknowledged(publish), 0x87, "{name}");
            assert_eq!(client.subscribe("user/victim/#", 0), 0x87, "{name}");
            assert_eq!(client.subscribe("user/+/#", 0), 0x87, "{name}");
        }
    }
    victim.unharmed();
}

#[test]
fn certificates_out_of_their_time_or_of_others_are_refused_55() {
    let mut victim = victim("");
    REMOTE.install_crl(victim.broker.root(), &[66]);
    victim.broker.reload_files();
    let name = common_name("local");
    victim.alerts(&REMOTE.client_of(&name, 66, VALID), &[], "revoked");
    victim.alerts(&REMOTE.client_of(&name, 2, EXPIRED), &[], "expired");
    victim.alerts(&REMOTE.client_of(&name, 3, LATER), &[], "bad certificate");
    victim.alerts(&STRANGER.client_of(&name, 4, VALID), &[], "unknown ca");
    // The list has expired: whom it names stays out, the others stay in.
    let root = victim.broker.root();
    root.write("etc/ssl/ca/remote/ca.crl", REMOTE.crl(&[66], EXPIRED));
    victim.broker.reload_files();
    victim.alerts(&REMOTE.client_of(&name, 66, VALID), &[], "revoked");
    let good = REMOTE.client("good", 5);
    let mut client = victim
        .remote(&good)
        .join(&Connect::new(Version::V5, "good"));
    client.ping();
    // A list of another CA is no list: the former one goes on to hold.
    let root = victim.broker.root();
    root.write("etc/ssl/ca/remote/ca.crl", STRANGER.crl(&[], VALID));
    let mark = victim.broker.ask_to_reload();
    victim.broker.log().wait_from(mark, "ca.crl");
    victim.alerts(&REMOTE.client_of(&name, 66, VALID), &[], "revoked");
    client.ping();
    victim.unharmed();
}

#[test]
fn with_a_clock_that_is_behind_the_ca_only_the_beginning_is_not_asked_for_55() {
    // The same for the broker as a clock in 1970 and certificates of today.
    let root = Root::with_uci(REMOTE_SIDE);
    LATER_REMOTE.install_for(&root, LATER);
    root.write("etc/ssl/ca/remote/ca.crl", LATER_REMOTE.crl(&[66], LATER));
    let mut victim = Victim::of(Broker::start_on(root));
    let good = LATER_REMOTE.client_of(&common_name("good"), 2, LATER);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let handshake = Handshake {
            trusted: &LATER_REMOTE,
            version,
            ..Handshake::new(&good)
        };
        let mut client = handshake
            .dial(victim.broker.address("remote"))
            .join(&Connect::new(Version::V5, "good"));
        victim.broker.reload_files();
        client.ping();
    }
    let refused = |certified: &Certified| {
        let handshake = Handshake {
            trusted: &LATER_REMOTE,
            ..Handshake::new(certified)
        };
        handshake.refusal(victim.broker.address("remote"))
    };
    let name = common_name("good");
    for (certified, word) in [
        (LATER_REMOTE.client_of(&name, 66, LATER), "revoked"),
        (LATER_REMOTE.client_of(&name, 3, EXPIRED), "expired"),
        (REMOTE.client_of(&name, 4, VALID), "alert"),
    ] {
        let refusal = refused(&certified);
        assert!(refusal.contains(word), "{word}: {refusal}");
    }
    victim.unharmed();
}

#[test]
fn a_chain_of_twenty_is_refused_55() {
    let mut victim = victim("");
    let mut chain = vec![REMOTE.below("1")];
    for depth in 2..=20 {
        let next = chain[0].below(&depth.to_string());
        chain.insert(0, next);
    }
    let deep = chain[0].client("deep", 2);
    victim.alerts(&deep, &chain, "unknown ca");
    for _ in 0..20 {
        let handshake = Handshake {
            chain: chain.iter().map(Authority::certificate).collect(),
            ..Handshake::new(&deep)
        };
        handshake.refusal(victim.broker.address("remote"));
    }
    victim.unharmed();
}

#[test]
fn who_loses_its_certificate_loses_its_connection_and_nobody_gets_its_session_53() {
    let mut victim = victim("\nconfig user 'thief'\n");
    assert!(
        victim
            .broker
            .root()
            .passwd("thief", "password")
            .status
            .success()
    );
    victim.broker.reload_files();
    let lost = REMOTE.client("lost", 7);
    let connect = Connect::new(Version::V5, "lost").persistent();
    let mut client = victim.remote(&lost).join(&connect);
    client.subscribe("private", 1);
    let mut owner = victim.broker.join(&Connect::new(Version::V5, "owner"));
    for payload in ["in flight", "in flight too"] {
        owner.publish_acknowledged(Publish::new("private", payload).qos(1, 0));
    }
    assert_eq!(client.text(), "in flight");
    REMOTE.install_crl(victim.broker.root(), &[7]);
    victim.broker.reload_files();
    client.closed();
    owner.publish_acknowledged(Publish::new("private", "queued").qos(1, 0));
    victim.alerts(&lost, &[], "revoked");
    let thief = Connect::new(Version::V5, "lost").user("thief", "password");
    for clean in [true, false] {
        let mut thief = thief.clone();
        thief.clean = clean;
        let (mut client, connack) = victim.broker.attempt(&thief);
        assert_eq!(connack.code, 0x85);
        client.refused();
    }
    victim.unharmed();
}
