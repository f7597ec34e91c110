//! What a bridge says over its connection, and what it makes of the answers: remote brokers that a test plays with raw bytes.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::Value;

use super::hostile::{CONNACK, Remote, expect_close, publish, read_packet, victim};
use super::{bridge, open_on, root_with, subscriber};
use crate::harness::broker::{Broker, until};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Publish, Version, property, put_string};

/// CONNACK that accepts, of MQTT 5, with the session that was there.
const RESUMED: [u8; 5] = [0x20, 3, 1, 0, 0];

/// The level of the next connection's CONNECT: 5, 0x84 or 4.
fn next_level(remote: &Remote) -> (TcpStream, u8) {
    let mut stream = remote.accept();
    let connect = read_packet(&mut stream);
    (stream, connect[7])
}

/// The next packet of this kind, by the high bits of its first byte.
fn next(stream: &mut TcpStream, kind: u8) -> Vec<u8> {
    loop {
        let packet = read_packet(stream);
        let first = *packet.first().expect("the connection is up");
        if first & 0xF0 == kind {
            return packet;
        }
    }
}

/// The next message of QoS 1 or 2.
fn next_message(stream: &mut TcpStream) -> Vec<u8> {
    loop {
        // What is told of the bridge comes at QoS 0.
        let packet = next(stream, 0x30);
        if packet[0] & 0x06 != 0 {
            return packet;
        }
    }
}

/// What the command says of the bridge, once it is so.
fn told(broker: &Broker, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    until(what, || {
        let output = broker.root().command(&["bridges", "--json"]).stdout;
        let told: Value = serde_json::from_slice(&output).expect("it is JSON");
        let told = told[0].clone();
        is_so(&told).then_some(told)
    })
}

/// The configuration of a bus with the bridge `up` and an open listener.
fn uci(port: u16, topics: &[&str], more: &str) -> String {
    format!("{}{}", open_on(0), bridge("up", port, topics, more))
}

#[test]
fn a_line_that_fails_once_does_not_lower_the_version_and_a_lower_one_is_not_for_good() {
    let remote = Remote::new();
    let (_here, _bystander) = victim(remote.port(), "");
    let (first, level) = next_level(&remote);
    assert_eq!(level, 5);
    drop(first);
    let (second, level) = next_level(&remote);
    assert_eq!(level, 5, "that may have been the line");
    drop(second);
    let (mut third, level) = next_level(&remote);
    assert_eq!(level, 0x84, "it does not know that version");
    third.write_all(&[0x20, 2, 0, 0]).expect("the bridge reads");
    next(&mut third, 0x80);
    drop(third);
    assert_eq!(next_level(&remote).1, 5, "it may be another by now");
}

#[test]
fn a_reload_during_an_attempt_is_not_lost() {
    let remote = Remote::new();
    let waits = format!(
        "config bridge 'up'\n\tlist address '127.0.0.1:{}'\n\tlist topic '#'\n\
         \toption restart_timeout '1h'\n\toption restart_timeout_max '1h'\n",
        remote.port()
    );
    let configured = format!("{}{waits}", open_on(0));
    let here = Broker::start(&configured);
    let (stream, _) = next_level(&remote);
    here.reload(&configured);
    drop(stream);
    next_level(&remote);
}

#[test]
fn what_cannot_be_subscribed_to_stays_in_the_state() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "\toption protocol '5'\n");
    // There are no wildcard subscriptions.
    let _stream = remote.accepted(&[0x20, 5, 0, 0, 2, 0x28, 0]);
    let told = told(&here, "it is connected", |told| {
        told["state"] == "connected"
    });
    assert_eq!(told["refused"], serde_json::json!(["in/#"]));
}

#[test]
fn the_error_says_why_the_bus_closed_the_link() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "\toption protocol '5'\n");
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "from"));
    let mut stream = remote.accepted(&CONNACK);
    next(&mut stream, 0x80);
    from.publish_acknowledged(Publish::new("out/x", "one").qos(1, 1));
    let sent = next_message(&mut stream);
    // The topic, its length and the packet identifier.
    let wrong = [0x50, 2, sent[8], sent[9]];
    stream.write_all(&wrong).expect("the bridge reads");
    expect_close(&mut stream, "PUBREC for QoS 1");
    let told = told(&here, "it waits", |told| !told["error"].is_null());
    let error = told["error"].as_str().expect("words");
    assert!(error.contains("PUBREC for a QoS 1 message"), "{error}");
}

#[test]
fn a_connected_link_is_asked_at_a_reload_whether_it_is_there() {
    let remote = Remote::new();
    let configured = uci(remote.port(), &["# out"], "\toption keepalive '3600'\n");
    let here = Broker::start(&configured);
    let mut stream = remote.accepted(&CONNACK);
    here.log().wait_from(0, "bridge 'up': connected to");
    here.reload(&configured);
    assert_eq!(next(&mut stream, 0xC0), [0xC0]);
    stream.write_all(&[0xD0, 0]).expect("the bridge reads");
}

#[test]
fn what_is_no_longer_wanted_is_unsubscribed_until_that_is_answered() {
    let remote = Remote::new();
    let here = Broker::start(&uci(remote.port(), &["a in 1", "b in 1"], ""));
    let mut stream = remote.accepted(&CONNACK);
    next(&mut stream, 0x80);
    here.reload(&uci(remote.port(), &["b in 1"], ""));
    for _ in 0..2 {
        let mut stream = remote.accepted(&RESUMED);
        let asked = next(&mut stream, 0xA0);
        assert!(asked.ends_with(b"\0\x01a"), "{asked:?}");
    }
}

#[test]
fn a_message_that_the_remote_broker_refuses_is_counted_and_told() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "\toption protocol '5'\n");
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "from"));
    let mut stream = remote.accepted(&CONNACK);
    next(&mut stream, 0x80);
    for (qos, answer) in [(1, 0x40), (2, 0x50)] {
        from.publish_acknowledged(Publish::new("out/x", "one").qos(qos, 1));
        let sent = next_message(&mut stream);
        let denied = [answer, 3, sent[8], sent[9], 0x87];
        stream.write_all(&denied).expect("the bridge reads");
    }
    let told = told(&here, "two are refused", |told| told["rejected"] == 2);
    assert_eq!(told["rejection"], "not authorized");
    here.log().wait_from(
        0,
        "bridge 'up': the other broker refuses a message: not authorized",
    );
}

#[test]
fn a_remote_broker_that_has_no_room_gets_the_message_again() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "\toption protocol '5'\n");
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "from"));
    let mut stream = remote.accepted(&CONNACK);
    next(&mut stream, 0x80);
    from.publish_acknowledged(Publish::new("out/x", "one").qos(1, 1));
    let sent = next_message(&mut stream);
    let full = [0x40, 3, sent[8], sent[9], 0x97];
    stream.write_all(&full).expect("the bridge reads");
    expect_close(&mut stream, "a quota that is exceeded");
    let mut stream = remote.accepted(&RESUMED);
    let again = next_message(&mut stream);
    assert_eq!(again[0], 0x3A, "at QoS 1, once more");
    assert_eq!(again[1..], sent[1..]);
}

#[test]
fn what_comes_in_may_lose_its_retain_flag() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "\toption retain_in '0'\n");
    let mut stream = remote.accepted(&CONNACK);
    let mut at_here = subscriber(here.address("open"), "at-here", &[("in/#", 0)]);
    let bytes = publish(0x31, b"in/x", None, &[]);
    stream.write_all(&bytes).expect("the bridge reads");
    assert_eq!(at_here.text(), "payload");
    let mut late = subscriber(here.address("open"), "late", &[("in/#", 0)]);
    late.ping();
}

#[test]
fn what_waits_over_a_restart_keeps_its_name_among_brokers() {
    let remote = Remote::new();
    let bridges = bridge("up", remote.port(), &["# out 1"], "");
    let here = Broker::start_on(root_with(0, &bridges, ""));
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "from"));
    let mut stream = remote.accepted(&CONNACK);
    from.publish_acknowledged(Publish::new("t", "one").qos(1, 1));
    let sent = next_message(&mut stream);
    let path = |packet: &[u8]| {
        let text = String::from_utf8_lossy(packet).into_owned();
        let (_, path) = text.split_once("fosquitto-path").expect("it has a trail");
        path.to_owned()
    };
    let here = Broker::start_on(here.kill());
    let mut stream = remote.accepted(&RESUMED);
    let again = next_message(&mut stream);
    assert_eq!(path(&again), path(&sent));
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "from"));
    from.publish_acknowledged(Publish::new("t", "one").qos(1, 1));
    assert_ne!(path(&next_message(&mut stream)), path(&sent));
}

#[test]
fn a_will_that_the_remote_broker_does_not_take_is_asked_for_with_less() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "\toption protocol '5'\n");
    // Retained at QoS 1, neither, none at all.
    for (expected, answer) in [(0x2C, 0x9A), (0x04, 0x9B), (0x00, 0x00)] {
        let mut stream = remote.accept();
        let connect = read_packet(&mut stream);
        assert_eq!(connect[8] & 0x3C, expected);
        stream
            .write_all(&[0x20, 3, 0, answer, 0])
            .expect("the bridge reads");
        match answer {
            0 => here.log().wait_from(0, "bridge 'up': connected to"),
            _ => here.log().wait_from(0, "it does not take the Will"),
        };
    }
}

#[test]
fn a_remote_broker_need_keep_nothing_for_a_bridge_that_is_removed() {
    let remote = Remote::new();
    let here = Broker::start(&uci(remote.port(), &["# out"], ""));
    let mut stream = remote.accepted(&CONNACK);
    here.log().wait_from(0, "bridge 'up': connected to");
    here.reload(&open_on(0));
    // Session Expiry Interval 0.
    let expected = [0xE0, 4, 5, 0x11, 0, 0, 0, 0];
    assert_eq!(next(&mut stream, 0xE0), expected);
}

#[test]
fn a_session_that_is_ended_by_hand_begins_anew_on_both_sides() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "\toption protocol '5'\n");
    let mut stream = remote.accepted(&CONNACK);
    next(&mut stream, 0x80);
    assert!(here.root().command(&["drop", "bridge:up"]).status.success());
    expect_close(&mut stream, "the session's end");
    for is_clean in [true, false] {
        let mut stream = remote.accept();
        let connect = read_packet(&mut stream);
        assert_eq!(connect[8] & 2 != 0, is_clean);
        stream.write_all(&CONNACK).expect("the bridge reads");
        next(&mut stream, 0x80);
    }
}

/// What a bridge with these lines says in CONNECT and SUBSCRIBE.
fn said(more: &str) -> (Vec<u8>, Vec<u8>) {
    let remote = Remote::new();
    let (_here, _bystander) = victim(remote.port(), &format!("\toption protocol '5'\n{more}"));
    let mut stream = remote.accept();
    let connect = read_packet(&mut stream);
    stream.write_all(&CONNACK).expect("the bridge reads");
    let subscribe = next(&mut stream, 0x80);
    (connect, subscribe)
}

fn has(packet: &[u8], bytes: &[u8]) -> bool {
    packet.windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn the_remote_broker_is_asked_for_what_the_options_say() {
    let (connect, subscribe) = said("");
    assert_eq!(connect[8] & 2, 0, "the session goes on");
    assert!(has(&connect, b"\x11\x00\x09\x3A\x80"), "for seven days");
    assert!(has(&connect, b"$SYS/broker/connection/up."));
    // QoS 2, No Local, Retain As Published, retained messages for a new subscription.
    assert_eq!(subscribe.last(), Some(&(2 | 4 | 8 | 0x10)));

    let (connect, subscribe) = said(
        "\toption session_expiry '60'\n\toption retain_handling 'always'\n\
         \toption notification_topic 'told/here'\n",
    );
    assert!(has(&connect, b"\x11\x00\x00\x00\x3C"));
    assert!(has(&connect, b"told/here"));
    assert_eq!(subscribe.last(), Some(&(2 | 4 | 8)));

    let (connect, subscribe) = said(
        "\toption clean_start '1'\n\toption retain_handling 'never'\n\toption notifications '0'\n",
    );
    assert_eq!(connect[8] & (2 | 4), 2, "it begins anew, without a Will");
    assert_eq!(subscribe.last(), Some(&(2 | 4 | 8 | 0x20)));

    let (connect, _) = said("\toption notifications_local_only '1'\n");
    assert_eq!(connect[8] & 4, 0, "it is told here alone");
}

#[test]
fn a_bridge_need_not_say_that_it_is_one() {
    let remote = Remote::new();
    let more = "\toption protocol '3.1.1'\n\toption try_private '0'\n";
    let (_here, _bystander) = victim(remote.port(), more);
    assert_eq!(next_level(&remote).1, 4);
}

#[test]
fn what_goes_out_may_lose_its_retain_flag_and_goes_one_at_a_time() {
    let remote = Remote::new();
    let more = "\toption retain_out '0'\n\toption max_inflight '1'\n";
    let (here, _bystander) = victim(remote.port(), more);
    let mut stream = remote.accepted(&CONNACK);
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "from"));
    for text in ["one", "two"] {
        from.publish_acknowledged(Publish::new("out/x", text).qos(1, 1).retained());
    }
    let first = next_message(&mut stream);
    assert_eq!(first[0], 0x32, "not retained");
    let told = told(&here, "one is on its way", |told| told["inflight"] == 1);
    assert_eq!(told["queued"], 1);
    stream
        .write_all(&[0x40, 2, first[8], first[9]])
        .expect("the bridge reads");
    assert!(next_message(&mut stream).ends_with(b"two"));
}

#[test]
fn beyond_the_hops_a_message_does_not_go_out() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "\toption max_hops '2'\n");
    let mut stream = remote.accepted(&CONNACK);
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "from"));
    for hops in [2, 1] {
        let mut message = Publish::new("out/x", format!("{hops}")).qos(1, 1);
        let mut pair = Vec::new();
        put_string(&mut pair, b"fosquitto-path");
        put_string(&mut pair, format!("00000000000000bb-1-{hops}").as_bytes());
        message.properties.push((property::USER_PROPERTY, pair));
        from.publish_acknowledged(message);
    }
    let sent = next_message(&mut stream);
    assert!(sent.ends_with(b"1") && has(&sent, b"00000000000000bb-1-2"));
    told(&here, "the other is dropped", |told| told["dropped"] == 1);
}

#[test]
fn a_lower_qos_than_was_asked_for_is_told() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "\toption protocol '5'\n");
    let mut stream = remote.accepted(&CONNACK);
    let asked = next(&mut stream, 0x80);
    let granted = [0x90, 4, asked[1], asked[2], 0, 0];
    stream.write_all(&granted).expect("the bridge reads");
    here.log()
        .wait_from(0, "the other broker sends 'in/#' with QoS 0 at most");
}
