//! The bounds that the owner sets: packets, queues, messages in flight, and clients that have not said who they are.

use std::time::{Duration, Instant};

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{self, BOTH, Connect, Packet, Publish, Version, property};

fn with_global(options: &str) -> Broker {
    Broker::start(&format!("config global 'global'\n{options}\n{LOCAL}"))
}

#[test]
fn a_packet_over_the_limit_closes_its_connection_only() {
    let broker = with_global("\toption max_packet_size '2000'\n");
    for version in BOTH {
        let mut other = broker.join(&Connect::new(version, "other"));
        other.subscribe("a", 0);
        let mut client = broker.join(&Connect::new(version, "client"));
        client.publish("a", &"x".repeat(1900));
        assert_eq!(other.message().payload.len(), 1900);
        client.publish("a", &"x".repeat(2000));
        client.closed_because(0x95);
        other.publish("a", "still here");
        assert_eq!(other.text(), "still here");
        other.disconnect();
    }
}

#[test]
fn in_5_0_the_limit_is_announced() {
    let broker = with_global("\toption max_packet_size '2000'\n");
    let client = broker.join(&Connect::new(Version::V5, "client"));
    let connack = client.connack.as_ref().expect("the client has joined");
    assert_eq!(
        connack.property(property::MAXIMUM_PACKET_SIZE),
        Some(&2000u32.to_be_bytes()[..])
    );
}

#[test]
fn a_subscriber_that_does_not_acknowledge_gets_no_more_than_may_be_in_flight() {
    let broker = with_global("\toption max_inflight '3'\n");
    for version in BOTH {
        let mut slow = broker.join(&Connect::new(version, "slow"));
        slow.subscribe("a", 1);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        for number in 0..6 {
            publisher.publish_acknowledged(Publish::new("a", number.to_string()).qos(1, 0));
        }
        let first: Vec<Publish> = (0..3).map(|_| slow.message()).collect();
        slow.ping();
        slow.send(&packet::ack(0x40, first[0].packet_id));
        assert_eq!(slow.text(), "3", "an acknowledgement makes room for one");
        slow.ping();
        slow.disconnect();
        publisher.disconnect();
    }
}

#[test]
fn in_5_0_the_receive_maximum_of_the_client_counts_too() {
    let broker = Broker::start(LOCAL);
    let mut connect = Connect::new(Version::V5, "slow");
    connect
        .properties
        .push((property::RECEIVE_MAXIMUM, 2u16.to_be_bytes().to_vec()));
    let mut slow = broker.join(&connect);
    slow.subscribe("a", 1);
    let mut publisher = broker.join(&Connect::new(Version::V5, "publisher"));
    for number in 0..4 {
        publisher.publish_acknowledged(Publish::new("a", number.to_string()).qos(1, 0));
    }
    assert_eq!((slow.text(), slow.text()), ("0".into(), "1".into()));
    slow.ping();
}

/// The messages that the broker has ready for a client.
fn messages_before_pong(client: &mut Client) -> Vec<Publish> {
    client.send(&packet::PINGREQ);
    let mut messages = Vec::new();
    loop {
        match client.receive() {
            Packet::Publish(message) => messages.push(message),
            Packet::Pingresp => return messages,
            other => panic!("expected messages, got {other:?}"),
        }
    }
}

#[test]
fn the_queue_of_a_session_that_is_away_is_bounded() {
    let broker = with_global("\toption queue_messages '10'\n\toption max_inflight '5'\n");
    for version in BOTH {
        let away = Connect::new(version, "away").persistent();
        let mut client = broker.join(&away);
        client.subscribe("a", 1);
        client.disconnect();
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        for number in 0..30 {
            publisher.publish_acknowledged(Publish::new("a", number.to_string()).qos(1, 0));
        }
        publisher.disconnect();
        let mut client = broker.join(&away);
        let mut count = 0;
        loop {
            let messages = messages_before_pong(&mut client);
            if messages.is_empty() {
                break;
            }
            count += messages.len();
            for message in messages {
                client.send(&packet::ack(0x40, message.packet_id));
            }
        }
        // What is in flight may count beside what is queued.
        assert!((10..=15).contains(&count), "{version:?}: {count}");
        client.disconnect();
        broker.join(&Connect::new(version, "away")).disconnect();
    }
}

#[test]
fn who_sends_no_connect_in_time_is_closed() {
    let broker = with_global("\toption connect_timeout '1'\n");
    let start = Instant::now();
    let mut silent = broker.dial();
    assert_eq!(silent.closed(), []);
    assert!(
        start.elapsed() >= Duration::from_millis(900),
        "closed after {:?}",
        start.elapsed()
    );
    broker.join(&Connect::new(Version::V311, "a")).ping();
}

#[test]
fn many_connections_that_say_nothing_keep_nobody_out() {
    let broker = with_global("\toption max_unauthenticated '10'\n\toption connect_timeout '5'\n");
    let mut inside = broker.join(&Connect::new(Version::V311, "inside"));
    let silent: Vec<_> = (0..50).map(|_| broker.dial()).collect();
    inside.ping();
    crate::harness::broker::until("a client gets in beside them", || {
        let mut client = broker.dial();
        client.send(
            &broker
                .as_local(&Connect::new(Version::V311, "late"))
                .encode(),
        );
        match client.receive_or_close() {
            Some(Packet::Connack(connack)) if connack.code == 0 => Some(client),
            _ => None,
        }
    });
    drop(silent);
}

#[test]
fn a_subscriber_that_does_not_read_stops_nobody_else() {
    let broker = with_global("\toption queue_messages '100'\n");
    let mut stuck = broker.join(&Connect::new(Version::V311, "stuck"));
    stuck.subscribe("flood", 0);
    let mut reader = broker.join(&Connect::new(Version::V311, "reader"));
    reader.subscribe("flood", 0);
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    let payload = "x".repeat(50_000);
    for _ in 0..400 {
        publisher.publish("flood", &payload);
        assert_eq!(reader.message().payload.len(), payload.len());
    }
    publisher.ping();
}

#[test]
fn what_waits_for_a_subscriber_that_does_not_read_is_bounded() {
    let broker = Broker::start(LOCAL);
    let mut stuck = broker.join(&Connect::new(Version::V311, "stuck"));
    for qos in 0..=1 {
        stuck.subscribe(&format!("flood/{qos}"), qos);
    }
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    publisher.ping();
    let before = broker.resident_bytes();
    let payload = "x".repeat(100_000);
    for number in 0..1000 {
        publisher.publish("flood/0", &payload);
        publisher.publish_acknowledged(Publish::new("flood/1", &*payload).qos(1, 0));
        if number % 100 == 0 {
            let more = broker.resident_bytes().saturating_sub(before);
            assert!(
                more < 30_000_000,
                "{more} bytes more after {number} messages of 100 kB each"
            );
        }
    }
}

#[test]
fn as_many_packets_as_a_client_sends_at_once_are_all_handled() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V311, "client"));
    client.send(&packet::PINGREQ.repeat(20_000));
    for _ in 0..20_000 {
        assert_eq!(client.receive(), Packet::Pingresp);
    }
}
