//! Slow lines: packets that arrive in pieces, and what others notice of them.

use std::time::{Duration, Instant};

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{self, BOTH, Connect, Packet, Publish};

const TEN_MEBIBYTES: usize = 10_485_760;

#[test]
fn a_client_that_sends_one_byte_at_a_time_is_served() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut other = broker.join(&Connect::new(version, "other"));
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("#", 0);
        let connect = broker.as_local(&Connect::new(version, "slow").will("will", "gone"));
        let mut slow = broker.dial();
        slow.send_bytewise(&connect.encode(), || other.ping());
        assert_eq!(slow.connected(&connect).code, 0);
        let first = Publish::new("a/b", "x".repeat(200));
        let second = Publish::new("c", "once").qos(2, 9);
        let bytes = [
            first.encode(version),
            packet::PINGREQ.to_vec(),
            second.encode(version),
            packet::ack(0x62, 9),
        ];
        slow.send_bytewise(&bytes.concat(), || other.ping());
        assert_eq!(watcher.message(), first);
        assert_eq!(watcher.text(), "once");
        let packet_id = 9;
        for answer in [
            Packet::Pingresp,
            Packet::Pubrec { packet_id, code: 0 },
            Packet::Pubcomp { packet_id, code: 0 },
        ] {
            assert_eq!(slow.receive(), answer);
        }
        slow.disconnect();
        other.disconnect();
        watcher.disconnect();
    }
}

#[test]
fn the_pings_of_others_are_answered_while_ten_mebibytes_arrive() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut subscriber = broker.join(&Connect::new(version, "subscriber"));
        subscriber.subscribe("large", 0);
        let mut other = broker.join(&Connect::new(version, "other"));
        let mut uploader = broker.join(&Connect::new(version, "uploader"));
        let bytes = Publish::new("large", vec![b'x'; TEN_MEBIBYTES]).encode(version);
        for piece in bytes.chunks(100_000) {
            uploader.send(piece);
            other.ping();
        }
        assert_eq!(subscriber.message().payload.len(), TEN_MEBIBYTES);
        uploader.disconnect();
        other.disconnect();
        subscriber.disconnect();
    }
}

#[test]
fn the_pings_of_others_are_answered_while_ten_mebibytes_go_to_ten_readers() {
    let broker = Broker::start(LOCAL);
    let mut other = broker.join(&Connect::new(BOTH[0], "other"));
    let mut uploader = broker.join(&Connect::new(BOTH[0], "uploader"));
    let readers: Vec<_> = (0..10)
        .map(|number| {
            let mut reader = broker.join(&Connect::new(BOTH[number % 2], &number.to_string()));
            reader.subscribe("large", 0);
            std::thread::spawn(move || reader.message().payload.len())
        })
        .collect();
    uploader.send_publish(&Publish::new("large", vec![b'x'; TEN_MEBIBYTES]));
    let mut longest = Duration::ZERO;
    while !readers.iter().all(|reader| reader.is_finished()) {
        let start = Instant::now();
        other.ping();
        longest = longest.max(start.elapsed());
    }
    for reader in readers {
        assert_eq!(reader.join().expect("the message comes"), TEN_MEBIBYTES);
    }
    // Far less on a free machine; it is seconds when one connection's transfer holds up the loop.
    assert!(longest < Duration::from_secs(2), "a ping took {longest:?}");
}

#[test]
fn a_client_whose_upload_takes_longer_than_its_keep_alive_stays() {
    let broker = Broker::start(LOCAL);
    let mut subscriber = broker.join(&Connect::new(BOTH[0], "subscriber"));
    subscriber.subscribe("large", 0);
    for version in BOTH {
        let mut uploader = broker.join(&Connect::new(version, "uploader").keep_alive(2));
        let bytes = Publish::new("large", "x".repeat(100_000)).encode(version);
        for piece in bytes.chunks(bytes.len() / 3) {
            // Four times a second and a half, and it would be closed after three seconds of silence.
            uploader.send(piece);
            broker.let_time_pass();
        }
        assert_eq!(subscriber.message().payload.len(), 100_000);
        uploader.ping();
        uploader.disconnect();
    }
}
