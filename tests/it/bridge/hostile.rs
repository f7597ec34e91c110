//! Remote brokers that are broken or mean harm (57 of the catalogue): whatever they send, their own link ends or goes on, and a
//! bystander is served as before.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::{bridge, root_with, subscriber};
use crate::harness::PATIENCE;
use crate::harness::broker::{Broker, until};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Version, frame, put_string};

/// A remote broker that a test plays.
pub(super) struct Remote(TcpListener);

impl Remote {
    pub(super) fn new() -> Remote {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        listener.set_nonblocking(true).expect("a TCP socket");
        Remote(listener)
    }

    pub(super) fn port(&self) -> u16 {
        self.0.local_addr().expect("it is bound").port()
    }

    /// The next connection, of which nothing has been read.
    pub(super) fn accept(&self) -> TcpStream {
        let (stream, _) = until("the bridge connects", || self.0.accept().ok());
        stream.set_nonblocking(false).expect("a TCP socket");
        stream
            .set_read_timeout(Some(*PATIENCE))
            .expect("a TCP socket");
        stream
    }

    /// The next connection whose CONNECT is of MQTT 5; others are closed, as by brokers that know no other.
    pub(super) fn accept_v5(&self) -> TcpStream {
        loop {
            let mut stream = self.accept();
            let connect = read_packet(&mut stream);
            if connect.get(7) == Some(&5) {
                return stream;
            }
        }
    }

    /// The next connection, accepted, with this CONNACK.
    pub(super) fn accepted(&self, connack: &[u8]) -> TcpStream {
        let mut stream = self.accept_v5();
        stream.write_all(connack).expect("the bridge reads");
        stream
    }
}

/// CONNACK that accepts, of MQTT 5 without properties.
pub(super) const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];

/// The body of the next packet, its first byte before it.
pub(super) fn read_packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut first = [0; 1];
    if stream.read_exact(&mut first).is_err() {
        return Vec::new();
    }
    let (mut length, mut shift) = (0, 0);
    loop {
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).expect("a whole packet");
        length |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a whole packet");
    [&first[..], &body].concat()
}

/// Reads until the bridge closes.
pub(super) fn expect_close(stream: &mut TcpStream, what: &str) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("the bridge does not close after {what}")
        }
        _ => {}
    }
}

/// A bus with a bridge to a port, and a client of it.
pub(super) fn victim(port: u16, more: &str) -> (Broker, Client) {
    let topics = ["in/# in 2", "out/# out 2"];
    let here = Broker::start_on(root_with(0, &bridge("up", port, &topics, more), ""));
    let bystander = subscriber(here.address("open"), "bystander", &[("own", 0)]);
    (here, bystander)
}

/// The bystander is served.
fn served(bystander: &mut Client) {
    bystander.publish("own", "still here?");
    assert_eq!(bystander.text(), "still here?");
    bystander.ping();
}

/// A PUBLISH of MQTT 5.
pub(super) fn publish(
    first: u8,
    topic: &[u8],
    packet_id: Option<u16>,
    properties: &[u8],
) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(&mut body, topic);
    body.extend(packet_id.into_iter().flat_map(u16::to_be_bytes));
    body.push(properties.len() as u8);
    body.extend(properties);
    body.extend(b"payload");
    frame(first, &body)
}

#[test]
fn packets_that_break_the_protocol_cost_the_link_alone() {
    let remote = Remote::new();
    let (here, mut bystander) = victim(remote.port(), "\toption protocol '5'\n");
    let hostile: Vec<(&str, Vec<u8>)> = vec![
        ("a second CONNACK", CONNACK.to_vec()),
        ("a CONNECT", Connect::new(Version::V5, "x").encode()),
        ("a SUBSCRIBE", vec![0x82, 6, 0, 1, 0, 0, 1, b'#']),
        ("a PINGREQ", vec![0xC0, 0]),
        ("packet type 0", vec![0, 0]),
        ("an AUTH", vec![0xF0, 0]),
        ("a topic alias", publish(0x30, b"in/x", None, &[0x23, 0, 1])),
        ("an alias alone", publish(0x30, b"", None, &[0x23, 0, 1])),
        ("a wildcard topic", publish(0x30, b"in/#", None, &[])),
        ("an empty topic", publish(0x30, b"", None, &[])),
        (
            "a topic that is not UTF-8",
            publish(0x30, b"in/\xFF", None, &[]),
        ),
        ("a topic with U+0000", publish(0x30, b"in/\0", None, &[])),
        ("QoS 3", publish(0x36, b"in/x", Some(1), &[])),
        ("packet identifier 0", publish(0x32, b"in/x", Some(0), &[])),
        (
            "a subscription identifier",
            publish(0x30, b"in/x", None, &[0x0B, 1]),
        ),
        (
            "a property of CONNACK",
            publish(0x30, b"in/x", None, &[0x24, 1]),
        ),
        (
            "a remaining length of five bytes",
            vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1],
        ),
        ("more than it may send", vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("a SUBACK for nothing", vec![0x90, 4, 0, 1, 0, 0]),
        ("a SUBACK with too few codes", vec![0x90, 3, 0xFF, 0xFF, 0]),
        ("reserved flags", vec![0x41, 2, 0, 1]),
        ("an unknown reason code", vec![0x40, 3, 0, 1, 0x55]),
        ("a truncated PUBACK", vec![0x40, 1, 0]),
        ("a redirect", vec![0xE0, 2, 0x9D, 0]),
    ];
    for (what, bytes) in hostile {
        let mut stream = remote.accepted(&CONNACK);
        stream.write_all(&bytes).expect("the bridge reads");
        expect_close(&mut stream, what);
        served(&mut bystander);
    }
    drop(here);
}

#[test]
fn answers_to_connect_that_are_none_cost_the_attempt_alone() {
    let remote = Remote::new();
    let (here, mut bystander) = victim(remote.port(), "\toption protocol '5'\n");
    let answers: Vec<(&str, Vec<u8>)> = vec![
        ("a PUBLISH", publish(0x30, b"in/x", None, &[])),
        ("reserved flags", vec![0x20, 3, 2, 0, 0]),
        ("a session and a refusal", vec![0x20, 3, 1, 0x87, 0]),
        ("receive maximum 0", vec![0x20, 6, 0, 0, 3, 0x21, 0, 0]),
        ("maximum QoS 2", vec![0x20, 5, 0, 0, 2, 0x24, 2]),
        (
            "maximum packet size 0",
            vec![0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 0],
        ),
        ("a property twice", vec![0x20, 7, 0, 0, 4, 0x25, 1, 0x25, 1]),
        ("authentication", vec![0x20, 7, 0, 0, 4, 0x15, 0, 1, b'x']),
        ("a redirect", vec![0x20, 7, 0, 0x9C, 4, 0x1C, 0, 1, b'x']),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        (
            "more than a CONNACK may have",
            vec![0x20, 0xFF, 0xFF, 0xFF, 0x7F],
        ),
    ];
    for (what, bytes) in answers {
        let mut stream = remote.accepted(&bytes);
        expect_close(&mut stream, what);
        served(&mut bystander);
    }
    drop(here);
}

#[test]
fn a_remote_broker_that_accepts_and_says_nothing_is_given_up() {
    let remote = Remote::new();
    let (here, mut bystander) = victim(remote.port(), "\toption connect_timeout '1'\n");
    let mut stream = remote.accept();
    read_packet(&mut stream);
    served(&mut bystander);
    expect_close(&mut stream, "a second");
    here.log().wait_from(0, "no answer to CONNECT in time");
}

#[test]
fn a_remote_broker_that_falls_silent_is_given_up() {
    let remote = Remote::new();
    let (here, mut bystander) = victim(remote.port(), "\toption keepalive '5'\n");
    let mut stream = remote.accepted(&[0x20, 6, 0, 0, 3, 0x13, 0, 1]);
    // The server's keep alive, one second, holds.
    loop {
        match read_packet(&mut stream).first() {
            Some(0xC0) => break,
            Some(_) => {}
            None => panic!("it asks before it closes"),
        }
    }
    served(&mut bystander);
    expect_close(&mut stream, "a ping that nobody answers");
    here.log().wait_from(0, "it is silent");
}

#[test]
fn a_flood_delays_nobody_and_is_bounded() {
    let remote = Remote::new();
    let (here, mut bystander) = victim(remote.port(), "\toption protocol '5'\n");
    let mut stream = remote.accepted(&CONNACK);
    let before = here.resident_bytes();
    let flood: Vec<u8> = (0..2000u16)
        .flat_map(|id| publish(0x34, b"in/x", Some(id % 1000 + 1), &[]))
        .collect();
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("a TCP socket");
    // It sends and does not read: nothing more is taken of it when the answers pile up.
    for _ in 0..20 {
        if stream.write_all(&flood).is_err() {
            break;
        }
        served(&mut bystander);
    }
    let grown = here.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
}

#[test]
fn topics_that_nothing_maps_go_no_further() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "\toption protocol '5'\n");
    let mut all = subscriber(
        here.address("open"),
        "all",
        &[("#", 2), ("$SYS/broker/uptime", 2)],
    );
    let mut stream = remote.accepted(&CONNACK);
    for topic in [&b"other"[..], b"$SYS/broker/uptime", b"out/x", b"in/x"] {
        let bytes = publish(0x30, topic, None, &[]);
        stream.write_all(&bytes).expect("the bridge reads");
    }
    loop {
        let came = all.message();
        match came.topic.as_str() {
            "in/x" => break,
            "$SYS/broker/uptime" => assert_ne!(came.payload, b"payload"),
            other => panic!("{other} came in"),
        }
    }
}

#[test]
fn refused_subscriptions_are_told_and_the_rest_goes_on() {
    let remote = Remote::new();
    let topics = ["a in 1", "b in 1"];
    let here = Broker::start_on(root_with(0, &bridge("up", remote.port(), &topics, ""), ""));
    let mut stream = remote.accepted(&CONNACK);
    while read_packet(&mut stream).first() != Some(&0x82) {}
    let suback = [0x90, 5, 0xFF, 0xFF, 0, 0x87, 1];
    stream.write_all(&suback).expect("the bridge reads");
    here.log()
        .wait_from(0, "the other broker refuses 'a': not authorized");
    let mut at_here = subscriber(here.address("open"), "here", &[("b", 0)]);
    let bytes = publish(0x30, b"b", None, &[]);
    stream.write_all(&bytes).expect("the bridge reads");
    assert_eq!(at_here.text(), "payload");
}

#[test]
fn a_broker_that_knows_no_mqtt_5_is_spoken_to_in_3_1_1() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "");
    let mut levels = Vec::new();
    loop {
        let mut stream = remote.accept();
        let level = read_packet(&mut stream).get(7).copied();
        levels.extend(level);
        // It knows neither 5 nor the bridges' bit, and says so as 3.1.1 does.
        let code = u8::from(level != Some(4));
        stream
            .write_all(&[0x20, 2, 0, code])
            .expect("the bridge reads");
        if code == 0 {
            break;
        }
        expect_close(&mut stream, "a refusal");
    }
    assert_eq!(levels, [5, 0x84, 4]);
    here.log().wait_from(0, "(MQTT 3.1.1)");
}

#[test]
fn a_remote_brokers_limits_are_kept() {
    let remote = Remote::new();
    let (here, _bystander) = victim(remote.port(), "\toption protocol '5'\n");
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V311, "from"));
    // Receive maximum 2, maximum QoS 1, no retained messages, packets of 100 bytes.
    let limits = [
        0x20, 15, 0, 0, 12, 0x21, 0, 2, 0x24, 1, 0x25, 0, 0x27, 0, 0, 0, 100,
    ];
    let mut stream = remote.accepted(&limits);
    while read_packet(&mut stream).first() != Some(&0x82) {}
    let message = |text: &str| {
        crate::harness::packet::Publish::new("out/x", text)
            .qos(2, 1)
            .retained()
    };
    from.publish_acknowledged(message(&"too large".repeat(20)));
    for text in ["one", "two", "three"] {
        from.publish_acknowledged(message(text));
    }
    let mut ids = Vec::new();
    while ids.len() < 2 {
        let packet = read_packet(&mut stream);
        // What is told of the bridge comes at QoS 0.
        if packet[0] != 0x30 {
            assert_eq!(packet[0], 0x32, "QoS 1, and not retained");
            ids.push([packet[8], packet[9]]);
        }
    }
    from.ping();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a TCP socket");
    let mut byte = [0; 1];
    assert!(stream.peek(&mut byte).is_err(), "two are in flight");
    stream
        .write_all(&[0x40, 2, ids[0][0], ids[0][1]])
        .expect("the bridge reads");
    stream
        .set_read_timeout(Some(*PATIENCE))
        .expect("a TCP socket");
    assert!(read_packet(&mut stream).ends_with(b"three"));
}
