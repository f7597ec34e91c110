//! SIGHUP: what changed is taken over, and nobody whose rights stand is disconnected.

use crate::harness::broker::{Broker, LOCAL, RELOADED};
use crate::harness::client::Client;
use crate::harness::packet::{self, BOTH, Connect, Packet, Publish, Version};
use crate::harness::pki::{Handshake, REMOTE, VALID};
use crate::harness::root::Root;

const REMOTE_SIDE: &str = "config local 'local'\n\toption port '0'\n\n\
    config remote 'remote'\n\toption enabled '1'\n\toption port '0'\n";

const LAN: &str = "\nconfig listener 'lan'\n\toption port '0'\n\tlist address '127.0.0.1'\n";

#[test]
fn fifty_clients_stay_connected_and_lose_no_message_while_everything_around_them_changes() {
    let broker = Broker::start(LOCAL);
    let mut clients: Vec<Client> = (0..50)
        .map(|number| {
            let mut client =
                broker.join(&Connect::new(BOTH[number % 2], &format!("client-{number}")));
            client.subscribe("news/#", 0);
            client
        })
        .collect();
    let acl =
        "\nconfig acl\n\toption access 'write'\n\tlist topic 'secret/#'\n\toption action 'deny'\n";
    let changes = [
        format!("config global 'global'\n\toption debug '1'\n\n{LOCAL}"),
        format!("{LOCAL}{LAN}"),
        format!("{LOCAL}{LAN}{acl}"),
        format!("{LOCAL}\nconfig user 'alice'\n{acl}"),
        LOCAL.to_owned(),
    ];
    let mut number = 0;
    for change in &changes {
        broker.root().write_uci(change);
        let mark = broker.ask_to_reload();
        let mut is_reloaded = false;
        while !is_reloaded {
            // Asked before the message, so that the last one goes through what is new.
            is_reloaded = broker.log().says(mark, RELOADED);
            number += 1;
            clients[number % 50].publish("news/number", &number.to_string());
            for client in &mut clients {
                assert_eq!(client.text(), number.to_string());
            }
        }
    }
    clients.iter_mut().for_each(Client::ping);
}

#[test]
fn a_listener_comes_and_goes_with_its_section() {
    let root = Root::with_uci(LOCAL);
    assert!(root.passwd("alice", "password").status.success());
    let broker = Broker::start_on(root);
    let connect = Connect::new(Version::V5, "on-lan").user("alice", "password");
    broker.reload(&format!("{LOCAL}{LAN}"));
    let address = broker.address("lan");
    let mut on_lan = Client::dial(address).join(&connect);
    on_lan.ping();
    broker.reload(LOCAL);
    on_lan.closed();
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "nobody listens there any more"
    );
}

/// A listener `lan` that lets anybody in, with these options.
fn open_lan(options: &str) -> String {
    format!("{LOCAL}{LAN}\toption allow_anonymous '1'\n{options}")
}

#[test]
fn clients_whose_listener_turned_into_another_go_and_those_of_the_others_stay() {
    let anonymous = Connect::new(Version::V5, "on-lan");
    let without_anonymous = format!("{LOCAL}{LAN}");
    for change in [
        without_anonymous,
        open_lan("\toption mount_point 'guests/'\n"),
        open_lan("\toption enabled '0'\n"),
        LOCAL.to_owned(),
    ] {
        let broker = Broker::start(&open_lan(""));
        let mut local = broker.join(&Connect::new(Version::V311, "local"));
        let mut on_lan = Client::dial(broker.address("lan")).join(&anonymous);
        broker.reload(&change);
        on_lan.closed_because(0x87);
        local.ping();
    }
}

#[test]
fn a_listener_that_moves_is_found_at_its_new_port_only() {
    let port = crate::harness::reference::free_port();
    let broker = Broker::start(&open_lan(""));
    let before = broker.address("lan");
    let mut client = Client::dial(before).join(&Connect::new(Version::V311, "before"));
    broker.reload(&open_lan("").replace(
        "'lan'\n\toption port '0'",
        &format!("'lan'\n\toption port '{port}'"),
    ));
    assert!(
        std::net::TcpStream::connect(before).is_err(),
        "nobody listens there any more"
    );
    let after = (before.ip(), port).into();
    Client::dial(after)
        .join(&Connect::new(Version::V311, "after"))
        .ping();
    // Who is inside is as welcome as before.
    client.ping();
}

#[test]
fn the_bounds_of_a_listener_follow_its_section() {
    let broker = Broker::start(&open_lan("\toption max_connections '1'\n"));
    let address = broker.address("lan");
    let mut first = Client::dial(address).join(&Connect::new(Version::V311, "first"));
    let mut second = Client::dial(address);
    second.send(&Connect::new(Version::V311, "second").encode());
    second.refused();
    broker.reload(&open_lan("\toption max_connections '2'\n"));
    let mut second = Client::dial(address).join(&Connect::new(Version::V311, "second"));
    first.ping();
    second.ping();
}

#[test]
fn a_listener_that_did_not_change_keeps_its_port_and_its_clients() {
    let broker = Broker::start(LOCAL);
    let address = broker.address("local");
    let mut client = broker.join(&Connect::new(Version::V311, "a"));
    broker.reload(&format!("{LOCAL}{LAN}"));
    broker.reload_files();
    client.ping();
    Client::dial(address)
        .join(&broker.as_local(&Connect::new(Version::V311, "b")))
        .ping();
}

#[test]
fn a_faulty_file_changes_nothing_and_the_log_has_its_faults() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V311, "a"));
    let faulty = format!("config local 'local'\n\toption port '99999'\n\toption prot '1'\n{LAN}");
    let log = broker.reload_refused(&faulty);
    for line in [2, 3] {
        let place = format!("etc/config/fosquitto:{line}: fosquitto.local.");
        assert!(
            log.iter().any(|text| text.contains(&place)),
            "no {place} in {log:?}"
        );
    }
    client.ping();
    broker.join(&Connect::new(Version::V311, "b")).ping();
    assert!(
        broker.addresses("lan").is_empty(),
        "nothing of a faulty file is taken over"
    );
    broker.reload(&format!("{LOCAL}{LAN}"));
    assert!(!broker.addresses("lan").is_empty(), "a repaired file is");
    client.ping();
}

#[test]
fn a_client_whose_certificate_was_revoked_goes_and_the_others_stay() {
    let root = Root::with_uci(REMOTE_SIDE);
    REMOTE.install(&root);
    let broker = Broker::start_on(root);
    let (lost, kept) = (REMOTE.client("lost", 2), REMOTE.client("kept", 3));
    let connect = |token, id: &str| {
        Handshake::new(token)
            .dial(broker.address("remote"))
            .join(&Connect::new(Version::V311, id))
    };
    let (mut on_lost, mut on_kept) = (connect(&lost, "lost"), connect(&kept, "kept"));
    let mut local = broker.join(&Connect::new(Version::V311, "local"));
    REMOTE.install_crl(broker.root(), &[2]);
    broker.reload_files();
    on_lost.closed();
    on_kept.ping();
    local.ping();
    let refusal = Handshake::new(&lost).refusal(broker.address("remote"));
    assert!(refusal.contains("certificate revoked"), "{refusal}");
    connect(&kept, "kept-2").ping();
}

#[test]
fn a_client_whose_certificate_was_revoked_goes_without_a_reload_and_the_others_stay() {
    let root = Root::with_uci(REMOTE_SIDE);
    REMOTE.install(&root);
    let broker = Broker::start_on(root);
    let (lost, kept) = (REMOTE.client("lost", 2), REMOTE.client("kept", 3));
    let connect = |token, id: &str| {
        Handshake::new(token)
            .dial(broker.address("remote"))
            .join(&Connect::new(Version::V311, id))
    };
    let (mut on_lost, mut on_kept) = (connect(&lost, "lost"), connect(&kept, "kept"));
    // What is not asked for does not happen: the remote side stays as it is configured.
    broker
        .root()
        .write_uci("config remote 'remote'\n\toption enabled '0'\n");
    REMOTE.install_crl(broker.root(), &[2]);
    on_lost.closed();
    on_kept.ping();
    let refusal = Handshake::new(&lost).refusal(broker.address("remote"));
    assert!(refusal.contains("certificate revoked"), "{refusal}");
    connect(&kept, "kept-2").ping();
}

#[test]
fn a_renewed_server_certificate_is_shown_to_new_clients() {
    let root = Root::with_uci(REMOTE_SIDE);
    REMOTE.install(&root);
    let broker = Broker::start_on(root);
    let token = REMOTE.client("notebook", 2);
    let mut before = Handshake::new(&token)
        .dial(broker.address("remote"))
        .join(&Connect::new(Version::V311, "before"));
    let renewed = REMOTE.server(VALID);
    let pem = renewed
        .certificate
        .to_pem()
        .expect("a certificate has a PEM form");
    broker.root().write("etc/ssl/ca/remote/01.crt", pem);
    broker
        .root()
        .write("etc/ssl/ca/remote/01.key", renewed.key_pem());
    broker.reload_files();
    before.ping();
    let stream = Handshake::new(&token)
        .open(broker.address("remote"))
        .expect("the handshake is accepted");
    let shown = stream
        .ssl()
        .peer_certificate()
        .expect("a server shows its certificate");
    let print = |certificate: &openssl::x509::X509| {
        certificate.to_der().expect("a certificate has a DER form")
    };
    assert_eq!(print(&shown), print(&renewed.certificate));
}

#[test]
fn a_new_user_gets_in_and_a_removed_one_goes() {
    let root = Root::with_uci(LOCAL);
    assert!(root.passwd("alice", "password").status.success());
    let broker = Broker::start_on(root);
    let mut alice = broker.join(&Connect::new(Version::V311, "alice").user("alice", "password"));
    assert!(broker.root().passwd("bob", "password").status.success());
    broker.reload_files();
    let mut bob = broker.join(&Connect::new(Version::V311, "bob").user("bob", "password"));
    alice.ping();
    let text = broker.root().read("etc/fosquitto/passwd");
    let rest: String = text
        .lines()
        .filter(|line| !line.starts_with("alice:"))
        .map(|line| format!("{line}\n"))
        .collect();
    broker.root().write("etc/fosquitto/passwd", rest);
    broker.reload_files();
    alice.closed();
    bob.ping();
}

#[test]
fn a_right_that_was_taken_away_holds_for_who_is_connected() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "reader"));
    client.subscribe("secret", 0);
    client.subscribe("end", 0);
    broker.reload(&format!(
        "{LOCAL}\nconfig acl\n\toption access 'read'\n\tlist topic 'secret'\n\toption action 'deny'\n"
    ));
    let mut publisher = broker.join(&Connect::new(Version::V5, "publisher"));
    publisher.publish("secret", "denied");
    publisher.publish("end", "end");
    // A broker may drop the client or the subscription: the message is what must not come.
    client.send(&packet::PINGREQ);
    loop {
        match client.receive_or_close() {
            Some(Packet::Publish(message)) => {
                assert_eq!(message.topic, "end");
                break;
            }
            Some(Packet::Disconnect { .. }) | None => break,
            Some(_) => {}
        }
    }
}

#[test]
fn rules_of_a_new_file_hold_for_who_is_connected() {
    let root = Root::with_uci(LOCAL);
    assert!(root.passwd("alice", "password").status.success());
    let broker = Broker::start_on(root);
    let mut alice = broker.join(&Connect::new(Version::V5, "alice").user("alice", "password"));
    let mut publish = |topic: &str| alice.publish_acknowledged(Publish::new(topic, "x").qos(1, 0));
    assert_ne!(publish("secret"), 0x87);
    let denied = "\nconfig acl\n\tlist group 'guests'\n\toption access 'readwrite'\n\tlist topic 'secret'\n\toption action 'deny'\n";
    let guest = |user: &str| format!("\nconfig user '{user}'\n\tlist group 'guests'\n");
    broker.reload(&format!("{LOCAL}{denied}{}", guest("bob")));
    assert_ne!(publish("secret"), 0x87, "alice is no guest yet");
    broker.reload(&format!("{LOCAL}{denied}{}", guest("alice")));
    assert_eq!(publish("secret"), 0x87, "alice is a guest now");
    assert_ne!(publish("open"), 0x87);
    broker.reload(LOCAL);
    assert_ne!(publish("secret"), 0x87, "the rule is gone");
    let deny_all = format!("config global 'global'\n\toption acl_default 'deny'\n\n{LOCAL}");
    broker.reload(&deny_all);
    assert_eq!(publish("open"), 0x87);
    assert_eq!(alice.subscribe("open", 0), 0x87);
}

#[test]
fn global_options_of_a_new_file_hold_for_who_is_connected() {
    let global = |options: &str| format!("config global 'global'\n{options}\n{LOCAL}");
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V311, "client"));
    client.subscribe("a", 0);
    client.publish("a", &"x".repeat(3000));
    assert_eq!(client.message().payload.len(), 3000);
    broker.reload(&global("\toption log_level 'info'\n"));
    let mark = broker.log().mark();
    broker.join(&Connect::new(Version::V311, "noticed")).ping();
    broker
        .log()
        .wait_from(mark, "info: client 'noticed' from 127.0.0.1");
    broker.reload(&global(
        "\toption qos0_queue_ttl '0'\n\toption max_packet_size '2000'\n",
    ));
    let away = Connect::new(Version::V311, "away").persistent();
    let mut sleeper = broker.join(&away);
    sleeper.subscribe("a", 0);
    sleeper.disconnect();
    client.publish("a", "not kept for the sleeper");
    assert_eq!(client.text(), "not kept for the sleeper");
    broker.join(&away).ping();
    client.publish("a", &"x".repeat(3000));
    client.closed();
}

#[test]
fn a_new_password_counts_at_the_next_connect() {
    let root = Root::with_uci(LOCAL);
    assert!(root.passwd("alice", "old").status.success());
    let broker = Broker::start_on(root);
    let mut alice = broker.join(&Connect::new(Version::V311, "alice").user("alice", "old"));
    assert!(broker.root().passwd("alice", "new").status.success());
    broker.reload_files();
    alice.ping();
    let connect = |password| Connect::new(Version::V311, "again").user("alice", password);
    assert_eq!(broker.attempt(&connect("old")).1.code, 5);
    broker.join(&connect("new")).ping();
}
