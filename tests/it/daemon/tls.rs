//! The remote side: TLS with client certificates, and each certificate that must not get in.

use openssl::hash::MessageDigest;
use openssl::ssl::SslVersion;

use crate::harness::broker::Broker;
use crate::harness::client::Client;
use crate::harness::packet::{BOTH, Connect, Publish, Version};
use crate::harness::pki::{
    Certified, EXPIRED, Handshake, LATER, REMOTE, STRANGER, VALID, common_name, organisation,
};
use crate::harness::root::Root;

/// The local and the remote side on ports of the kernel's choice.
const REMOTE_SIDE: &str = "config local 'local'\n\toption port '0'\n\n\
    config remote 'remote'\n\toption enabled '1'\n\toption port '0'\n";

/// A broker with a remote side whose CRL revokes the serial number 66.
fn broker(uci: &str) -> Broker {
    let root = Root::with_uci(uci);
    REMOTE.install(&root);
    REMOTE.install_crl(&root, &[66]);
    Broker::start_on(root)
}

#[test]
fn a_client_with_a_certificate_of_the_ca_gets_in_by_tls_1_2_and_1_3() {
    let broker = broker(REMOTE_SIDE);
    let token = REMOTE.client("notebook", 2);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        for protocol in BOTH {
            let handshake = Handshake {
                version,
                ..Handshake::new(&token)
            };
            let mut client = handshake
                .dial(broker.address("remote"))
                .join(&Connect::new(protocol, "remote-client"));
            client.subscribe("a", 0);
            client.publish("a", "over TLS");
            assert_eq!(client.text(), "over TLS");
            client.disconnect();
        }
    }
}

#[test]
fn both_sides_are_one_bus() {
    let broker = broker(REMOTE_SIDE);
    let token = REMOTE.client("notebook", 2);
    let mut remote = Handshake::new(&token)
        .dial(broker.address("remote"))
        .join(&Connect::new(Version::V311, "remote"));
    let mut local = broker.join(&Connect::new(Version::V5, "local"));
    remote.subscribe("to/remote", 0);
    local.subscribe("to/local", 0);
    remote.publish("to/local", "hello");
    assert_eq!(local.text(), "hello");
    local.publish("to/remote", "welcome");
    assert_eq!(remote.text(), "welcome");
}

#[test]
fn the_common_name_is_the_user_whatever_connect_says() {
    let rules = "config acl\n\tlist user 'notebook'\n\toption access 'write'\n\tlist topic 'secret'\n\toption action 'deny'\n";
    let broker = broker(&format!("{REMOTE_SIDE}\n{rules}"));
    let (notebook, phone) = (REMOTE.client("notebook", 2), REMOTE.client("phone", 3));
    for (token, denied) in [(&notebook, true), (&phone, false)] {
        let connect = Connect::new(Version::V5, "by-certificate").user("local", "wrong");
        let mut client = Handshake::new(token)
            .dial(broker.address("remote"))
            .join(&connect);
        let code = client.publish_acknowledged(Publish::new("secret", "x").qos(1, 0));
        assert_eq!(code == 0x87, denied);
        client.disconnect();
    }
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let broker = broker(REMOTE_SIDE);
    let foreign = STRANGER.client("notebook", 2);
    assert_alerts(
        &broker,
        &Handshake::new(&foreign),
        &["unknown ca", "decrypt error", "bad certificate"],
    );
}

#[test]
fn a_revoked_certificate_is_refused() {
    let broker = broker(REMOTE_SIDE);
    let revoked = REMOTE.client("lost", 66);
    assert_alerts(&broker, &Handshake::new(&revoked), &["certificate revoked"]);
    let tls_1_3 = Handshake {
        version: SslVersion::TLS1_3,
        ..Handshake::new(&revoked)
    };
    assert_alerts(&broker, &tls_1_3, &["certificate revoked"]);
}

#[test]
fn an_expired_certificate_is_refused() {
    let broker = broker(REMOTE_SIDE);
    let expired = REMOTE.client_of(&common_name("old"), 4, EXPIRED);
    assert_alerts(&broker, &Handshake::new(&expired), &["certificate expired"]);
}

#[test]
fn a_certificate_of_the_future_is_refused() {
    let broker = broker(REMOTE_SIDE);
    let early = REMOTE.client_of(&common_name("early"), 5, LATER);
    assert_alerts(
        &broker,
        &Handshake::new(&early),
        &["bad certificate", "certificate expired"],
    );
}

#[test]
fn no_certificate_is_refused() {
    let broker = broker(REMOTE_SIDE);
    let nameless = Handshake {
        trusted: &REMOTE,
        certificate: None,
        chain: Vec::new(),
        version: SslVersion::TLS1_2,
    };
    assert_alerts(&broker, &nameless, &["handshake failure"]);
    let tls_1_3 = Handshake {
        version: SslVersion::TLS1_3,
        ..nameless
    };
    assert_alerts(&broker, &tls_1_3, &["certificate required"]);
}

#[test]
fn tls_1_1_is_refused() {
    let broker = broker(REMOTE_SIDE);
    let token = REMOTE.client("notebook", 2);
    let old = Handshake {
        version: SslVersion::TLS1_1,
        ..Handshake::new(&token)
    };
    assert_alerts(&broker, &old, &["alert protocol version"]);
}

#[test]
fn a_server_certificate_does_not_open_the_door() {
    let broker = broker(REMOTE_SIDE);
    let server = REMOTE.server(VALID);
    assert_alerts(
        &broker,
        &Handshake::new(&server),
        &[
            "unsupported certificate",
            "bad certificate",
            "certificate unknown",
        ],
    );
}

#[test]
fn a_certificate_without_a_common_name_is_refused_as_a_bad_user() {
    let broker = broker(REMOTE_SIDE);
    let nameless = REMOTE.client_of(&organisation("nobody"), 7, VALID);
    for version in BOTH {
        let mut client = Handshake::new(&nameless).dial(broker.address("remote"));
        let code = client.connect(&Connect::new(version, "a")).code;
        let expected = if version == Version::V5 { 0x86 } else { 4 };
        assert_eq!(code, expected, "{version:?}");
        client.refused();
    }
}

#[test]
fn a_client_without_tls_gets_no_word_from_the_remote_side() {
    let broker = broker(REMOTE_SIDE);
    let mut plain = Client::dial(broker.address("remote"));
    plain.send(&Connect::new(Version::V5, "plain").encode());
    assert!(
        !plain.bytes_until_close().starts_with(&[0x20]),
        "no CONNACK"
    );
}

#[test]
fn a_crl_that_has_expired_refuses_whom_it_names_and_nobody_else() {
    let root = Root::with_uci(REMOTE_SIDE);
    REMOTE.install(&root);
    root.write("etc/ssl/ca/remote/ca.crl", REMOTE.crl(&[66], EXPIRED));
    let broker = Broker::start_on(root);
    let line = broker.log().wait_from(0, "ca.crl");
    assert!(
        line.contains("warning") && line.contains("remote"),
        "the owner is warned: {line}"
    );
    let (token, revoked) = (REMOTE.client("notebook", 2), REMOTE.client("lost", 66));
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let with = |certified| Handshake {
            version,
            ..Handshake::new(certified)
        };
        with(&token)
            .dial(broker.address("remote"))
            .join(&Connect::new(Version::V311, "notebook"))
            .ping();
        assert_alerts(&broker, &with(&revoked), &["certificate revoked"]);
    }
}

#[test]
fn with_a_crl_of_another_ca_nobody_gets_in() {
    let root = Root::with_uci(REMOTE_SIDE);
    REMOTE.install(&root);
    root.write("etc/ssl/ca/remote/ca.crl", STRANGER.crl(&[], VALID));
    let broker = Broker::start_on(root);
    let token = REMOTE.client("notebook", 2);
    let port_is_open = !broker.addresses("remote").is_empty();
    if port_is_open {
        assert_alerts(&broker, &Handshake::new(&token), &["alert"]);
    }
    broker.join(&Connect::new(Version::V311, "local")).ping();
}

#[test]
fn a_refused_handshake_touches_no_other_client() {
    let broker = broker(REMOTE_SIDE);
    let (token, revoked) = (REMOTE.client("notebook", 2), REMOTE.client("lost", 66));
    let mut client = Handshake::new(&token)
        .dial(broker.address("remote"))
        .join(&Connect::new(Version::V311, "good"));
    for _ in 0..10 {
        Handshake::new(&revoked).refusal(broker.address("remote"));
        client.ping();
    }
}

/// A UCI section that ties the user `notebook` to one certificate.
fn pinned(certified: &Certified) -> String {
    let digest = certified.certificate.digest(MessageDigest::sha256());
    let digest = digest.expect("OpenSSL has SHA-256");
    let pin: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    format!(
        "{REMOTE_SIDE}\nconfig user 'notebook'\n\tlist pin '{}'\n",
        pin.join(":")
    )
}

#[test]
fn a_user_with_a_pin_comes_with_that_certificate_only() {
    let (mine, renewed) = (REMOTE.client("notebook", 2), REMOTE.client("notebook", 8));
    let broker = broker(&pinned(&mine));
    assert!(
        broker
            .root()
            .passwd("notebook", "password")
            .status
            .success()
    );
    broker.reload_files();
    for version in BOTH {
        let refusal = if version == Version::V5 { 0x86 } else { 5 };
        let mut other = Handshake::new(&renewed).dial(broker.address("remote"));
        assert_eq!(other.connect(&Connect::new(version, "a")).code, refusal);
        other.refused();
        let by_password = Connect::new(version, "a").user("notebook", "password");
        let (mut other, connack) = broker.attempt(&by_password);
        assert_eq!(connack.code, refusal, "a password alone is not enough");
        other.refused();
    }
    let dial = |certified| Handshake::new(certified).dial(broker.address("remote"));
    let mut client = dial(&mine).join(&Connect::new(Version::V5, "a"));
    client.ping();
    broker.reload(&pinned(&renewed));
    client.closed_because(0x87);
    dial(&renewed).join(&Connect::new(Version::V5, "a")).ping();
}

/// Expects that the handshake ends by one of these alerts of the broker.
fn assert_alerts(broker: &Broker, handshake: &Handshake<'_>, alerts: &[&str]) {
    let refusal = handshake.refusal(broker.address("remote"));
    let said = alerts
        .iter()
        .any(|alert| refusal.to_lowercase().contains(alert));
    assert!(said, "expected one of {alerts:?}, got: {refusal}");
}
