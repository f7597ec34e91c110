//! What the router's programs meet when the bus is restarted: a controller makes a connection for each reply, sends it at QoS 0 and is
//! gone before it could hear that the bus ends, and it takes a refused connection twice within 0.3 s as the end of that reply.
//!
//! The bytes are those of paho-mqtt's `publish.single`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::broker::{Broker, until};
use crate::harness::packet::{Connect, Publish, Version};
use crate::harness::reference::free_port;
use crate::harness::{PATIENCE, is_delivered};

const V311: Version = Version::V311;
const DISCONNECT: [u8; 2] = [0xE0, 0];

/// More than the bus reads of a socket at once, and less than the kernel takes for one that nobody reads from.
const REPLY_BYTES: usize = 60 * 1024;

const SENDERS: usize = 100;

fn reply_topic(number: usize) -> String {
    format!("foris-controller/0000000A00000214/reply/{number}")
}

/// A connection that has sent CONNECT, and has read the answer.
fn connected(broker: &Broker, address: SocketAddr, client_id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the bus listens");
    stream
        .set_read_timeout(Some(*PATIENCE))
        .expect("a socket takes a time");
    let connect = broker.as_local(&Connect::new(V311, client_id));
    stream
        .write_all(&connect.encode())
        .expect("the bus takes bytes");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).expect("the bus answers");
    assert_eq!(connack, [0x20, 2, 0, 0]);
    stream
}

/// The local side on a port that the next bus has too.
fn uci() -> String {
    format!("config local 'local'\n\toption port '{}'\n", free_port())
}

#[test]
fn replies_that_were_sent_before_a_stop_are_kept_though_their_senders_are_gone() {
    let broker = Broker::start(&uci());
    let address = broker.address("local");
    let senders: Vec<TcpStream> = (0..SENDERS)
        .map(|number| connected(&broker, address, &format!("sender-{number}")))
        .collect();
    broker.signal(libc::SIGSTOP);
    for (number, mut sender) in senders.into_iter().enumerate() {
        let reply = Publish::new(&reply_topic(number), "x".repeat(REPLY_BYTES)).retained();
        let mut bytes = reply.encode(V311);
        bytes.extend(DISCONNECT);
        sender.write_all(&bytes).expect("the kernel takes bytes");
        until("the kernel has it", || is_delivered(&sender).then_some(()));
    }
    // It hears of the end before it sees the replies.
    broker.signal(libc::SIGTERM);
    broker.signal(libc::SIGCONT);
    let (status, root) = broker.stop();
    assert!(status.success());
    let broker = Broker::start_on(root);
    let mut client = broker.join(&Connect::new(V311, "client"));
    client.subscribe("foris-controller/+/reply/+", 0);
    for _ in 0..SENDERS {
        let reply = client.message();
        assert_eq!(reply.payload.len(), REPLY_BYTES, "{}", reply.topic);
    }
}

#[test]
fn who_connects_while_the_bus_stops_is_not_refused() {
    let broker = Broker::start(&uci());
    let address = broker.address("local");
    // One who does not read what it gets holds the stop up.
    let mut stuck = broker.join(&Connect::new(V311, "stuck"));
    stuck.subscribe("flood", 0);
    let mut publisher = broker.join(&Connect::new(V311, "publisher"));
    for _ in 0..100 {
        publisher.publish("flood", &"x".repeat(100_000));
    }
    publisher.ping();
    broker.signal(libc::SIGTERM);
    broker.log().wait_from(0, "notice: stopping");
    publisher.closed();
    broker.signal(libc::SIGSTOP);
    let early = TcpStream::connect(address);
    broker.signal(libc::SIGCONT);
    let mut early = early.expect("the bus listens until it is gone");
    let mut broker = broker;
    assert!(broker.wait_for_exit().success());
    // Whose connection ends without an answer connects again.
    let answer = early.read(&mut [0; 4]);
    assert!(!matches!(answer, Ok(1..)), "{answer:?}");
}
