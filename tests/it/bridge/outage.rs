//! The link is down, the bus is killed meanwhile, and what was promised arrives all the same: in order, and at QoS 2 once.

use std::path::Path;

use super::{
    Mosquitto, bridge, bridged, open_on, root_with, subscriber, take, take_text, wait_for_link,
};
use crate::harness::broker::Broker;
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Packet, Publish, Version};
use crate::harness::reference::free_port;
use crate::harness::relay::{Relay, Side};
use crate::harness::root::Root;

/// Publishes so many messages with a QoS, all at once, and waits until all are acknowledged.
fn publish_many(broker: &Broker, qos: u8, count: u16) {
    let mut client =
        Client::dial(broker.address("open")).join(&Connect::new(Version::V311, "many"));
    for number in 1..=count {
        client.publish_acknowledged(Publish::new("out/n", number.to_string()).qos(qos, number));
    }
}

/// Publishes so many numbered messages of so many bytes at QoS 1, many on their way at once, until all are acknowledged.
fn pour(broker: &Broker, count: u32, bytes: usize) {
    const AT_ONCE: usize = 500;
    let mut client =
        Client::dial(broker.address("open")).join(&Connect::new(Version::V311, "pour"));
    let numbers: Vec<u32> = (1..=count).collect();
    for some in numbers.chunks(AT_ONCE) {
        let packet = |number: &u32| {
            let packet_id = (number % 60_000) as u16 + 1;
            let publish = Publish::new("out/n", format!("{number:0bytes$}")).qos(1, packet_id);
            publish.encode(Version::V311)
        };
        client.send(&some.iter().flat_map(packet).collect::<Vec<u8>>());
        for _ in some {
            assert!(matches!(client.receive(), Packet::Puback { code: 0, .. }));
        }
    }
}

#[test]
fn what_was_acknowledged_while_the_link_was_down_arrives_after_the_bus_was_killed() {
    let port = free_port();
    let topics = ["# out 2 out/ here/"];
    let many = "\toption queue_messages '20000'\n";
    let here = Broker::start_on(root_with(0, &bridge("up", port, &topics, many), ""));
    pour(&here, 10_000, 1);
    publish_many(&here, 2, 500);
    let root = here.kill();
    // Its client may be slower than the link.
    let roomy =
        "config global 'global'\n\toption queue_messages '20000'\n\toption queue_bytes '16M'\n\n";
    let there = Broker::start(&format!("{roomy}{}", open_on(port)));
    let mut at_there = subscriber(there.address("open"), "there", &[("here/#", 2)]);
    let here = Broker::start_on(root);
    for (qos, count) in [(1, 10_000), (2, 500)] {
        for number in 1..=count {
            let arrived = take(&mut at_there);
            assert_eq!(arrived.payload, number.to_string().as_bytes());
            assert_eq!(arrived.qos, qos);
        }
    }
    publish_many(&here, 2, 1);
    assert_eq!(
        take_text(&mut at_there),
        "1",
        "nothing came twice before it"
    );
}

#[test]
fn a_link_that_is_cut_at_any_packet_loses_nothing_and_brings_nothing_twice_at_qos_2() {
    let there = Broker::start(&open_on(0));
    let relay = Relay::start();
    relay.lead_to(Some(there.address("open")));
    let topics = ["# out 2 out/ here/"];
    let here = Broker::start_on(root_with(0, &bridge("up", relay.port(), &topics, ""), ""));
    wait_for_link(&here, 0, "up");
    let mut at_there = subscriber(there.address("open"), "there", &[("here/#", 2)]);
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "a"));
    // PUBLISH, PUBREC, PUBREL, PUBCOMP: each is lost once.
    let lost = [
        (Side::Client, 3),
        (Side::Broker, 5),
        (Side::Client, 6),
        (Side::Broker, 7),
    ];
    for (number, kind) in lost.into_iter().enumerate() {
        let mark = here.log().mark();
        relay.lose(kind);
        from.publish_acknowledged(Publish::new("out/n", number.to_string()).qos(2, 1));
        relay.wait_for_loss();
        relay.lead_to(Some(there.address("open")));
        wait_for_link(&here, mark, "up");
        assert_eq!(take_text(&mut at_there), number.to_string());
    }
    from.publish_acknowledged(Publish::new("out/n", "last").qos(2, 1));
    assert_eq!(
        take_text(&mut at_there),
        "last",
        "nothing came twice before it"
    );
}

#[test]
fn what_comes_in_at_qos_2_while_the_link_is_cut_comes_once() {
    let there = Broker::start(&open_on(0));
    let relay = Relay::start();
    relay.lead_to(Some(there.address("open")));
    let topics = ["# in 2 in/ there/"];
    let here = Broker::start_on(root_with(0, &bridge("up", relay.port(), &topics, ""), ""));
    wait_for_link(&here, 0, "up");
    relay.wait_for((Side::Broker, 9));
    let mut at_here = subscriber(here.address("open"), "here", &[("in/#", 2)]);
    let mut from = Client::dial(there.address("open")).join(&Connect::new(Version::V5, "a"));
    let lost = [
        (Side::Broker, 3),
        (Side::Client, 5),
        (Side::Broker, 6),
        (Side::Client, 7),
    ];
    for (number, kind) in lost.into_iter().enumerate() {
        let mark = here.log().mark();
        relay.lose(kind);
        from.publish_acknowledged(Publish::new("there/n", number.to_string()).qos(2, 1));
        relay.wait_for_loss();
        relay.lead_to(Some(there.address("open")));
        wait_for_link(&here, mark, "up");
        assert_eq!(take_text(&mut at_here), number.to_string());
    }
    from.publish_acknowledged(Publish::new("there/n", "last").qos(2, 1));
    assert_eq!(
        take_text(&mut at_here),
        "last",
        "nothing came twice before it"
    );
}

#[test]
fn a_remote_broker_that_has_forgotten_its_session_gets_what_was_in_flight_as_new() {
    let port = free_port();
    let mosquitto = Mosquitto::start_on(Root::new(), port, "");
    let relay = Relay::start();
    relay.lead_to(Some(mosquitto.address()));
    let topics = ["# out 2 out/ here/", "# in 2 in/ there/"];
    let here = Broker::start_on(root_with(0, &bridge("up", relay.port(), &topics, ""), ""));
    wait_for_link(&here, 0, "up");
    publish_many(&here, 2, 5);
    relay.lead_to(None);
    drop(mosquitto);
    publish_many(&here, 2, 50);
    let mark = here.log().mark();
    let again = Mosquitto::start_on(Root::new(), port, "");
    let mut at_there = subscriber(again.address(), "there", &[("here/#", 2)]);
    relay.lead_to(Some(again.address()));
    wait_for_link(&here, mark, "up");
    let mut numbers = Vec::new();
    while numbers.last() != Some(&50) {
        numbers.push(take_text(&mut at_there).parse::<u32>().expect("a number"));
    }
    // Of the five before them, those that were in flight come again.
    let before = numbers.len().saturating_sub(50);
    assert!(before <= 5, "{numbers:?}");
    assert!(numbers[before..].iter().copied().eq(1..=50), "{numbers:?}");
}

/// What the files of a folder take, in bytes.
fn bytes_in(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder).expect("it is there").flatten();
    // A file that is gone meanwhile takes nothing.
    let bytes = files.map(|file| file.metadata().map_or(0, |it| it.len()));
    bytes.sum::<u64>() as usize
}

#[test]
fn a_flood_while_the_link_is_down_stays_within_memory_and_store_and_its_newest_arrive() {
    const COUNT: u32 = 60_000;
    const BYTES: usize = 1000;
    // What may wait, some times: as such, on flash with what replaces it there, and in the journal with what has not been looked through.
    const QUEUE_BYTES: usize = 4 << 20;
    const BOUND: usize = 8 * QUEUE_BYTES;
    const _: () = assert!(COUNT as usize * BYTES > 3 * BOUND / 2, "it is a flood");
    let port = free_port();
    let topics = ["# out 1 out/ here/"];
    let often = "\toption flush_interval '1'\n";
    let here = Broker::start_on(root_with(0, &bridge("up", port, &topics, ""), often));
    let before = here.resident_bytes();
    pour(&here, COUNT, BYTES);
    let grown = here.peak_resident_bytes().saturating_sub(before);
    let journal = bytes_in(&here.root().join("var/run/fosquitto"));
    let database = bytes_in(here.root().path());
    for (what, bytes) in [
        ("memory", grown),
        ("journal", journal),
        ("database", database),
    ] {
        assert!(bytes < BOUND, "{what}: {bytes} bytes");
    }
    let root = here.kill();
    let roomy =
        "config global 'global'\n\toption queue_messages '20000'\n\toption queue_bytes '16M'\n\n";
    let there = Broker::start(&format!("{roomy}{}", open_on(port)));
    let mut at_there = subscriber(there.address("open"), "there", &[("here/#", 1)]);
    let _here = Broker::start_on(root);
    let first = number(&mut at_there);
    for expected in first + 1..=COUNT {
        assert_eq!(number(&mut at_there), expected);
    }
    let arrived = (COUNT - first) as usize * BYTES;
    assert!(
        (QUEUE_BYTES / 2..QUEUE_BYTES).contains(&arrived),
        "{arrived} bytes"
    );
}

/// The number of the next message.
fn number(client: &mut Client) -> u32 {
    take_text(client).parse().expect("a number")
}

#[test]
fn what_waits_is_bounded_and_the_oldest_goes() {
    let relay = Relay::start();
    let bounded = "\toption queue_messages '10'\n";
    let here = Broker::start_on(root_with(
        0,
        &bridge("up", relay.port(), &["# out 1 out/ here/"], bounded),
        "",
    ));
    publish_many(&here, 1, 100);
    let there = Broker::start(&open_on(0));
    let mut at_there = subscriber(there.address("open"), "there", &[("here/#", 1)]);
    relay.lead_to(Some(there.address("open")));
    for number in 91..=100 {
        assert_eq!(take_text(&mut at_there), number.to_string());
    }
}

#[test]
fn nobody_can_take_the_session_of_a_bridge() {
    let (here, there) = bridged(&["# out 1 out/ here/"], "");
    let mut thief = Client::dial(here.address("open"));
    let connack = thief.connect(&Connect::new(Version::V5, "bridge:up"));
    assert_eq!(connack.code, 0x85, "it belongs to nobody who connects");
    let mut at_there = subscriber(there.address("open"), "there", &[("here/#", 1)]);
    publish_many(&here, 1, 1);
    assert_eq!(take_text(&mut at_there), "1");
}
