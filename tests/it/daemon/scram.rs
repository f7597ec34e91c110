//! Enhanced authentication by SCRAM-SHA-256: at CONNECT and again later, what ends it, and that nothing else changes.

use std::time::{Duration, Instant};

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{self, Auth, BOTH, Connack, Connect, Packet, Version, property};
use crate::harness::root::Root;
use crate::harness::scram::{METHOD, Scram, auth, connect, parameters, properties, receive_auth};

const CONTINUE: u8 = 0x18;
const AGAIN: u8 = 0x19;

/// A broker with the users alice and bob beside `local`.
fn two_users() -> Broker {
    two_users_with("")
}

fn two_users_with(global: &str) -> Broker {
    let root = Root::with_uci(&format!(
        "config global 'global'\n{global}\n{LOCAL}\nconfig user 'alice'\n\nconfig user 'bob'\n"
    ));
    for user in ["alice", "bob"] {
        let output = root.passwd(user, &format!("{user}'s password"));
        assert!(output.status.success());
    }
    Broker::start_on(root)
}

fn scram(user: &str) -> Scram {
    Scram::new(user, &format!("{user}'s password"))
}

/// Sends a CONNECT with the first message, and returns the connection and the server's first message.
fn begin(broker: &Broker, scram: &Scram) -> (Client, Vec<u8>) {
    begin_with(broker, &connect("phone", METHOD, Some(&scram.first())))
}

fn begin_with(broker: &Broker, connect: &Connect) -> (Client, Vec<u8>) {
    let mut client = broker.dial();
    client.send_connect(connect);
    let data = receive_auth(&mut client, CONTINUE).expect("the server's first message");
    (client, data)
}

/// Takes a CONNECT's exchange to its end and returns the connection and the CONNACK.
fn finish(mut client: Client, scram: &mut Scram, server_first: &[u8]) -> (Client, Connack) {
    client.send(&auth(CONTINUE, &scram.last(server_first)));
    match client.receive() {
        Packet::Connack(connack) => (client, connack),
        other => panic!("expected CONNACK, got {other:?}"),
    }
}

/// Joins by SCRAM.
fn join(broker: &Broker, user: &str) -> Client {
    let mut scram = scram(user);
    let (client, first) = begin(broker, &scram);
    let (client, connack) = finish(client, &mut scram, &first);
    assert_eq!(connack.code, 0);
    client
}

/// The Authentication Data of a CONNACK.
fn data_of(connack: &Connack) -> Option<&[u8]> {
    let data = connack.property(property::AUTHENTICATION_DATA)?;
    Some(&data[2..])
}

/// Expects a CONNACK that refuses with this code, and a close.
fn refused_with(client: &mut Client, code: u8) {
    let packets = client.closed();
    let [Packet::Connack(connack)] = &packets[..] else {
        panic!("expected CONNACK and a close, got {packets:?}");
    };
    assert_eq!(connack.code, code);
    assert_eq!(data_of(connack), None);
}

#[test]
fn a_user_comes_in_without_sending_the_password_4_12_0_2_4_12_0_5() {
    let broker = two_users();
    let mut scram = scram("alice");
    let (client, first) = begin(&broker, &scram);
    let (mut client, connack) = finish(client, &mut scram, &first);
    assert_eq!(connack.code, 0);
    let method = &properties(METHOD, None)[0].1;
    assert_eq!(
        connack.property(property::AUTHENTICATION_METHOD),
        Some(&method[..])
    );
    scram.verify(data_of(&connack));
    assert_eq!(client.subscribe("a", 1), 1);
    client.publish("a", "alice is in");
    assert_eq!(client.text(), "alice is in");
    client.disconnect();
}

#[test]
fn the_local_user_can_prove_its_password_from_the_first_start_on() {
    let broker = Broker::start(LOCAL);
    assert_eq!(broker.root().mode("etc/fosquitto/scram"), 0o600);
    assert_eq!(broker.root().mode("etc/fosquitto/scram.secret"), 0o600);
    let mut scram = Scram::new("local", &broker.root().local_password());
    let (client, first) = begin(&broker, &scram);
    let (mut client, connack) = finish(client, &mut scram, &first);
    assert_eq!(connack.code, 0);
    client.ping();
}

#[test]
fn a_client_that_begins_without_data_is_asked_for_it() {
    let broker = two_users();
    let mut scram = scram("alice");
    let mut client = broker.dial();
    client.send_connect(&connect("phone", METHOD, None));
    assert_eq!(receive_auth(&mut client, CONTINUE), None);
    client.send(&auth(CONTINUE, &scram.first()));
    let first = receive_auth(&mut client, CONTINUE).expect("the server's first message");
    let (mut client, connack) = finish(client, &mut scram, &first);
    assert_eq!(connack.code, 0);
    client.ping();
    let mut mute = broker.dial();
    mute.send_connect(&connect("mute", METHOD, None));
    assert_eq!(receive_auth(&mut mute, CONTINUE), None);
    mute.send(&auth(CONTINUE, b""));
    refused_with(&mut mute, 0x87);
}

#[test]
fn a_wrong_proof_is_refused_like_an_unknown_user_4_12_0_4() {
    let broker = two_users();
    for (user, password) in [
        ("alice", "bob's password"),
        ("alice", ""),
        ("nobody", "nobody's password"),
    ] {
        let mut scram = Scram::new(user, password);
        let (mut client, first) = begin(&broker, &scram);
        client.send(&auth(CONTINUE, &scram.last(&first)));
        refused_with(&mut client, 0x86);
    }
    join(&broker, "alice").ping();
}

#[test]
fn an_unknown_user_is_answered_like_a_known_one_even_after_a_restart() {
    let ask = |broker: &Broker, user: &str| {
        let (_client, first) = begin(broker, &scram(user));
        let text = String::from_utf8(first).expect("SCRAM is text");
        let (nonce, salt, iterations) = parameters(&text);
        (nonce.len(), salt, iterations)
    };
    let broker = two_users();
    let before: Vec<_> = ["alice", "bob", "carol", "dave"]
        .map(|user| ask(&broker, user))
        .into();
    for (length, salt, iterations) in &before {
        assert_eq!((*length, salt.len(), *iterations), (44, 16, 4096));
    }
    assert_ne!(before[2], before[3], "each has a salt of its own");
    let (_, root) = broker.stop();
    let broker = Broker::start_on(root);
    let after: Vec<_> = ["alice", "bob", "carol", "dave"]
        .map(|user| ask(&broker, user))
        .into();
    assert_eq!(before, after);
}

#[test]
fn another_method_is_refused_4_12_0_1() {
    let broker = two_users();
    for method in [
        "SCRAM-SHA-1",
        "SCRAM-SHA-256-PLUS",
        "scram-sha-256",
        "PLAIN",
        "",
    ] {
        let connect = connect("phone", method, Some(&scram("alice").first()));
        let mut client = broker.dial();
        client.send_connect(&broker.as_local(&connect));
        refused_with(&mut client, 0x8C);
    }
}

#[test]
fn data_that_is_not_scram_is_refused_4_12_0_4() {
    let broker = two_users();
    for first in [&b"garbage"[..], b"p=tls-exporter,,n=alice,r=x", b"\xff"] {
        let mut client = broker.dial();
        client.send_connect(&connect("phone", METHOD, Some(first)));
        refused_with(&mut client, 0x87);
    }
    let (mut client, _) = begin(&broker, &scram("alice"));
    client.send(&auth(CONTINUE, b"garbage"));
    refused_with(&mut client, 0x87);
}

#[test]
fn a_proof_counts_once() {
    let broker = two_users();
    let mut alice = scram("alice");
    let (client, first) = begin(&broker, &alice);
    let last = alice.last(&first);
    let (client, connack) = finish(client, &mut alice, &first);
    assert_eq!(connack.code, 0);
    client.disconnect();
    // The same first message, as a listener replays it: the server's nonce is another one.
    let (mut replay, again) = begin(&broker, &alice);
    assert_ne!(first, again);
    replay.send(&auth(CONTINUE, &last));
    refused_with(&mut replay, 0x87);
}

#[test]
fn nobody_comes_in_under_two_names() {
    let broker = two_users();
    let acting = Scram::with_header("alice", "alice's password", "n,a=bob,");
    let named = connect("phone", METHOD, Some(&scram("alice").first())).user("bob", "x");
    for (mut scram, connect) in [
        (scram("alice"), named),
        (acting, Connect::new(Version::V5, "phone")),
    ] {
        let mut connect = connect;
        connect.properties = properties(METHOD, Some(&scram.first()));
        let (mut client, first) = begin_with(&broker, &connect);
        client.send(&auth(CONTINUE, &scram.last(&first)));
        refused_with(&mut client, 0x86);
    }
    let mut acting = Scram::with_header("alice", "alice's password", "y,a=alice,");
    let connect = connect("phone", METHOD, Some(&acting.first())).user("alice", "x");
    let (client, first) = begin_with(&broker, &connect);
    assert_eq!(finish(client, &mut acting, &first).1.code, 0);
}

#[test]
fn only_auth_and_disconnect_may_come_before_connack_3_1_2_30() {
    let broker = two_users();
    let publish = packet::Publish::new("a", "early").encode(Version::V5);
    let connect = connect("phone", METHOD, Some(&scram("alice").first())).encode();
    for early in [&publish[..], &packet::PINGREQ, &connect, &[0x30]] {
        let (mut client, _) = begin(&broker, &scram("alice"));
        client.send(early);
        refused_with(&mut client, 0x82);
    }
    let (client, _) = begin(&broker, &scram("alice"));
    client.disconnect();
    join(&broker, "alice").ping();
}

#[test]
fn an_auth_out_of_place_refuses_the_connect_4_12_0_3_3_15_2_1() {
    let broker = two_users();
    let other = properties("SCRAM-SHA-1", Some(b"x"));
    let other = Auth {
        code: CONTINUE,
        properties: other,
    };
    for (packet, code) in [
        (auth(AGAIN, b"x"), 0x82),
        (auth(0x00, b"x"), 0x82),
        (auth(0x87, b"x"), 0x82),
        (other.encode(), 0x82),
        // No method, and no properties at all.
        (packet::frame(0xF0, &[CONTINUE, 0]), 0x82),
        (packet::frame(0xF0, &[]), 0x82),
    ] {
        let (mut client, _) = begin(&broker, &scram("alice"));
        client.send(&packet);
        refused_with(&mut client, code);
    }
}

#[test]
fn the_flags_of_an_auth_are_reserved_3_15_1_1() {
    let broker = two_users();
    for flags in [1, 2, 4, 8] {
        let mut packet = auth(AGAIN, &scram("alice").first());
        packet[0] |= flags;
        let (mut client, _) = begin(&broker, &scram("alice"));
        client.send(&packet);
        refused_with(&mut client, 0x81);
        let mut client = join(&broker, "alice");
        client.send(&packet);
        client.closed_because(0x81);
    }
}

#[test]
fn an_exchange_that_takes_too_long_is_closed() {
    let broker = two_users_with("\toption connect_timeout '1'\n");
    let start = Instant::now();
    let (mut client, _) = begin(&broker, &scram("alice"));
    assert_eq!(client.closed(), []);
    assert!(start.elapsed() >= Duration::from_millis(900));
}

#[test]
fn a_client_that_takes_no_packet_of_this_size_is_closed_3_1_2_24() {
    let broker = two_users();
    let mut connect = connect("phone", METHOD, Some(&scram("alice").first()));
    let maximum = 50u32.to_be_bytes().to_vec();
    connect
        .properties
        .push((property::MAXIMUM_PACKET_SIZE, maximum));
    let mut client = broker.dial();
    client.send_connect(&connect);
    assert_eq!(client.closed(), []);
}

#[test]
fn a_client_without_a_method_is_sent_none_and_may_send_no_auth_4_12_0_6_4_12_0_7() {
    let broker = two_users();
    let connect = Connect::new(Version::V5, "phone").user("alice", "alice's password");
    let (mut client, connack) = broker.attempt(&connect);
    assert_eq!(connack.code, 0);
    assert_eq!(connack.property(property::AUTHENTICATION_METHOD), None);
    assert_eq!(data_of(&connack), None);
    client.send(&auth(AGAIN, &scram("alice").first()));
    client.closed_because(0x82);
}

#[test]
fn the_password_itself_still_lets_its_user_in_in_every_version() {
    let broker = two_users();
    let mut proved = join(&broker, "alice");
    for version in BOTH {
        let connect = Connect::new(version, "plain").user("alice", "alice's password");
        broker.join(&connect).ping();
    }
    // AUTH is no packet before 5.0.
    let connect = Connect::new(Version::V311, "plain").user("alice", "alice's password");
    let mut client = broker.join(&connect);
    client.send(&auth(AGAIN, &scram("alice").first()));
    assert_eq!(client.closed(), []);
    proved.ping();
}

#[test]
fn a_session_is_its_users_whichever_way_the_user_comes_in() {
    let broker = two_users();
    let plain = Connect::new(Version::V5, "phone").persistent();
    let mut alice = broker.join(&plain.clone().user("alice", "alice's password"));
    alice.subscribe("a", 1);
    alice.disconnect();
    let by_scram = |user: &str| {
        let mut scram = scram(user);
        let mut connect = plain.clone();
        let exchange = properties(METHOD, Some(&scram.first()));
        connect.properties.extend(exchange);
        let (client, first) = begin_with(&broker, &connect);
        finish(client, &mut scram, &first)
    };
    let (_, connack) = by_scram("bob");
    assert_eq!(connack.code, 0x85);
    assert_eq!(data_of(&connack), None);
    let (_, connack) = by_scram("alice");
    assert_eq!((connack.code, connack.session_present), (0, true));
}

#[test]
fn a_client_proves_itself_again_while_its_packets_flow_4_12_1_1() {
    let broker = two_users();
    let mut client = join(&broker, "alice");
    client.subscribe("a", 0);
    for round in ["once", "twice"] {
        let mut scram = scram("alice");
        client.send(&auth(AGAIN, &scram.first()));
        let first = receive_auth(&mut client, CONTINUE).expect("the server's first message");
        client.publish("a", round);
        assert_eq!(client.text(), round);
        client.send(&auth(CONTINUE, &scram.last(&first)));
        scram.verify(receive_auth(&mut client, 0x00).as_deref());
        client.ping();
    }
    // One that is never finished changes nothing.
    client.send(&auth(AGAIN, &scram("alice").first()));
    receive_auth(&mut client, CONTINUE);
    client.publish("a", "still here");
    assert_eq!(client.text(), "still here");
}

#[test]
fn a_second_proof_that_is_not_finished_in_time_ends_the_connection() {
    let broker = two_users_with("\toption connect_timeout '1'\n");
    let mut honest = join(&broker, "bob");
    let mut again = scram("bob");
    honest.send(&auth(AGAIN, &again.first()));
    let first = receive_auth(&mut honest, CONTINUE).expect("the server's first message");
    honest.send(&auth(CONTINUE, &again.last(&first)));
    again.verify(receive_auth(&mut honest, 0x00).as_deref());
    let mut alice = scram("alice");
    let (client, first) = begin_with(&broker, &connect("late", METHOD, Some(&alice.first())));
    let (mut client, connack) = finish(client, &mut alice, &first);
    assert_eq!(connack.code, 0);
    let start = Instant::now();
    client.send(&auth(AGAIN, &scram("alice").first()));
    receive_auth(&mut client, CONTINUE);
    client.closed_because(0x87);
    assert!(start.elapsed() >= Duration::from_millis(900));
    honest.ping();
}

#[test]
fn a_failed_second_proof_ends_the_connection_and_publishes_the_will_4_12_1_2() {
    let broker = two_users();
    let mut watcher = broker.join(&Connect::new(Version::V311, "watcher"));
    watcher.subscribe("will", 0);
    for (user, password) in [
        ("alice", "wrong"),
        // Somebody else, who is right about the password.
        ("bob", "bob's password"),
        ("nobody", "x"),
    ] {
        let mut scram = scram("alice");
        let mut connect = Connect::new(Version::V5, "phone").will("will", "gone");
        connect.properties = properties(METHOD, Some(&scram.first()));
        let (client, first) = begin_with(&broker, &connect);
        let (mut client, connack) = finish(client, &mut scram, &first);
        assert_eq!(connack.code, 0);
        let mut again = Scram::new(user, password);
        client.send(&auth(AGAIN, &again.first()));
        let first = receive_auth(&mut client, CONTINUE).expect("the server's first message");
        client.send(&auth(CONTINUE, &again.last(&first)));
        client.closed_because(0x87);
        assert_eq!(watcher.text(), "gone");
    }
    let mut client = join(&broker, "alice");
    client.send(&auth(AGAIN, b"garbage"));
    client.closed_because(0x87);
}

#[test]
fn an_auth_out_of_place_ends_a_connection_4_12_1_1_3_15_2_1() {
    let broker = two_users();
    let other = properties("SCRAM-SHA-1", Some(&scram("alice").first()));
    let other = Auth {
        code: AGAIN,
        properties: other,
    };
    for packet in [
        auth(CONTINUE, b"x"),
        auth(0x00, b"x"),
        other.encode(),
        packet::frame(0xF0, &[AGAIN, 0]),
    ] {
        let mut client = join(&broker, "alice");
        client.send(&packet);
        client.closed_because(0x82);
    }
    let mut client = join(&broker, "alice");
    let again = auth(AGAIN, &scram("alice").first());
    client.send(&again);
    receive_auth(&mut client, CONTINUE);
    client.send(&again);
    client.closed_because(0x82);
}

#[test]
fn keys_of_a_former_password_and_of_a_deleted_user_count_for_nothing() {
    let broker = two_users();
    let root = broker.root();
    let passwd = root.read("etc/fosquitto/passwd");
    let bobs = passwd.lines().find_map(|line| line.strip_prefix("bob:"));
    // As mosquitto's own tool leaves the file: alice has another password, and bob is gone.
    let changed = format!("alice:{}\n", bobs.expect("bob has a password"));
    root.write("etc/fosquitto/passwd", changed);
    broker.reload_files();
    for user in ["alice", "bob"] {
        let mut scram = scram(user);
        let (mut client, first) = begin(&broker, &scram);
        client.send(&auth(CONTINUE, &scram.last(&first)));
        refused_with(&mut client, 0x86);
    }
    let mut plain = Connect::new(Version::V5, "plain").user("alice", "bob's password");
    broker.join(&plain).ping();
    assert!(root.passwd("alice", "third").status.success());
    broker.reload_files();
    let mut third = Scram::new("alice", "third");
    let (client, first) = begin(&broker, &third);
    assert_eq!(finish(client, &mut third, &first).1.code, 0);
    plain = plain.user("alice", "third");
    broker.join(&plain).ping();
}

#[test]
fn a_fault_in_the_file_of_keys_leaves_the_passwords_alone() {
    let broker = two_users();
    let (_, root) = broker.stop();
    let keys = root.read("etc/fosquitto/scram");
    root.write("etc/fosquitto/scram", format!("{keys}bad line\n"));
    let broker = Broker::start_on(root);
    let mut alice = scram("alice");
    let (mut client, first) = begin(&broker, &alice);
    client.send(&auth(CONTINUE, &alice.last(&first)));
    refused_with(&mut client, 0x86);
    let connect = Connect::new(Version::V5, "plain").user("alice", "alice's password");
    broker.join(&connect).ping();
    let lines = broker.log().lines();
    let told = lines
        .iter()
        .any(|line| line.contains("etc/fosquitto/scram:4: "));
    assert!(told, "the log names the line: {lines:?}");
}
