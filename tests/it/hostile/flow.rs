//! Floods and packets out of order from clients that are let in: hostile inputs 35 to 50 and 65.
//!
//! The broker has a ceiling of 16 MiB. While the attack goes on, a bystander sends itself one message after the other; in the end it must
//! have lost none, and the broker's resident memory must at no moment have grown by more than the ceiling.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::broker::{Broker, until};
use crate::harness::client::Client;
use crate::harness::packet::{
    BOTH, Connect, PINGREQ, Packet, Publish, Version, ack, frame, put_string, subscribe,
};

/// The ceiling of the configuration below.
const LIMIT: usize = 16 << 20;

/// What the process may grow by: the ceiling, and a quarter for what the allocator adds, which is not the broker's to count.
const GROWN_MAX: usize = LIMIT + LIMIT / 4;

/// Bytes of a payload that each receiver's output has a copy of; those of larger ones are shared.
const COPIED: usize = 4000;

const UCI: &str = "config global 'global'\n\toption memory_limit '16M'\n\n\
    config local 'local'\n\toption port '0'\n\n\
    config listener 'open'\n\toption port '0'\n\tlist address '127.0.0.1'\n\toption allow_anonymous '1'\n";

/// A broker under attack, and the thread of its bystander.
struct Siege {
    broker: Broker,
    resident_bytes: usize,
    is_over: Arc<AtomicBool>,
    bystander: JoinHandle<u32>,
}

impl Siege {
    fn begin() -> Siege {
        Siege::with_uci(UCI)
    }

    fn with_uci(uci: &str) -> Siege {
        let broker = Broker::start(uci);
        let connect = Connect::new(Version::V311, "bystander");
        let mut bystander = Client::dial(broker.address("open")).join(&connect);
        bystander.subscribe("to/bystander", 0);
        let resident_bytes = broker.resident_bytes();
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let is_over = is_over.clone();
            move || {
                let mut count = 0;
                // The last round trip begins after the attack has ended.
                loop {
                    let is_last = is_over.load(Ordering::Relaxed);
                    let payload = count.to_string();
                    bystander.publish("to/bystander", &payload);
                    assert_eq!(bystander.text(), payload, "the bystander lost a message");
                    count += 1;
                    if is_last {
                        return count;
                    }
                }
            }
        });
        Siege {
            broker,
            resident_bytes,
            is_over,
            bystander: thread,
        }
    }

    fn dial(&self) -> Client {
        Client::dial(self.broker.address("open"))
    }

    fn join(&self, connect: &Connect) -> Client {
        self.dial().join(connect)
    }

    fn attacker(&self, version: Version) -> Client {
        self.join(&Connect::new(version, "attacker"))
    }

    /// A socket whose client was let in, that gives up a write which the broker does not take.
    fn socket(&self, connect: &Connect) -> TcpStream {
        let mut stream = TcpStream::connect(self.broker.address("open")).expect("it listens");
        let patience = Some(Duration::from_millis(300));
        stream.set_write_timeout(patience).expect("a TCP socket");
        stream.write_all(&connect.encode()).expect("it is there");
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).expect("a CONNACK of 3.1.1");
        assert_eq!(connack, [0x20, 2, 0, 0]);
        stream
    }

    /// The most memory that the broker has had in RAM beyond that of its start, in bytes.
    fn grown(&self) -> usize {
        self.broker.peak_resident_bytes() - self.resident_bytes
    }

    /// The bystander has lost nothing, and the memory was within the ceiling.
    fn survived(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let grown = self.grown();
        let count = self.bystander.join().expect("the bystander lost nothing");
        assert!(count > 0);
        assert!(grown <= GROWN_MAX, "the broker has grown by {grown} bytes");
    }
}

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[test]
fn one_qos_2_identifier_without_an_end_is_one_message_35() {
    let siege = Siege::begin();
    for version in BOTH {
        let mut attacker = siege.attacker(version);
        let publish = Publish::new("a", text(1000)).qos(2, 7);
        for _ in 0..5000 {
            attacker.send_publish(&publish);
            attacker.expect(|packet| matches!(packet, Packet::Pubrec { packet_id: 7, .. }));
        }
        attacker.disconnect();
    }
    siege.survived();
}

#[test]
fn all_qos_2_identifiers_may_be_open_at_once_36() {
    let siege = Siege::begin();
    let mut attacker = siege.attacker(Version::V311);
    for first in (1..=65_535_u32).step_by(1000) {
        let ids = first..(first + 1000).min(65_536);
        let bytes: Vec<u8> = ids
            .clone()
            .flat_map(|id| {
                Publish::new("a", "x")
                    .qos(2, id as u16)
                    .encode(Version::V311)
            })
            .collect();
        attacker.send(&bytes);
        for id in ids {
            let id = id as u16;
            attacker.expect(
                |packet| matches!(packet, Packet::Pubrec { packet_id, .. } if *packet_id == id),
            );
        }
    }
    attacker.ping();
    siege.survived();
}

#[test]
fn acknowledgements_of_nothing_change_nothing_37() {
    let siege = Siege::begin();
    for version in BOTH {
        let mut attacker = siege.attacker(version);
        for first in [0x40, 0x50, 0x62, 0x70] {
            attacker.send(&ack(first, 999));
        }
        attacker.send(&PINGREQ);
        while attacker.receive() != Packet::Pingresp {}
        attacker.disconnect();
    }
    siege.survived();
}

#[test]
fn a_puback_for_a_qos_2_message_is_closed_38() {
    let siege = Siege::begin();
    for version in BOTH {
        let mut attacker = siege.attacker(version);
        attacker.subscribe("mine", 2);
        attacker.send_publish(&Publish::new("mine", "x").qos(2, 1));
        let mut id = 0;
        while id == 0 {
            if let Packet::Publish(publish) = attacker.receive() {
                id = publish.packet_id;
            }
        }
        attacker.send(&ack(0x40, id));
        attacker.closed();
    }
    siege.survived();
}

#[test]
fn more_than_the_receive_maximum_is_closed_39() {
    let siege = Siege::begin();
    let mut attacker = siege.attacker(Version::V5);
    for id in 1..=1025 {
        attacker.send_publish(&Publish::new("a", "x").qos(2, id));
    }
    let last = attacker.closed().pop();
    assert_eq!(last, Some(Packet::Disconnect { code: 0x93 }));
    siege.survived();
}

#[test]
fn subscribes_without_filters_are_closed_and_ten_thousand_filters_are_answered_40() {
    let siege = Siege::begin();
    for version in BOTH {
        for filter in [&b""[..], b"\0\x01a"] {
            let mut body = vec![0, 1];
            if version == Version::V5 {
                body.push(0);
            }
            body.extend_from_slice(filter);
            let mut attacker = siege.attacker(version);
            attacker.send(&frame(0x82, &body));
            attacker.closed();
        }
        let mut attacker = siege.attacker(version);
        let filters: Vec<String> = (0..10_000).map(|n| format!("f/{n}")).collect();
        let filters: Vec<(&str, u8)> = filters.iter().map(|filter| (filter.as_str(), 0)).collect();
        attacker.send(&subscribe(version, 1, &filters));
        attacker.expect(
            |packet| matches!(packet, Packet::Suback { codes, .. } if codes.len() == 10_000),
        );
        attacker.disconnect();
    }
    siege.survived();
}

#[test]
fn a_plain_filter_and_a_shared_one_do_not_end_each_other_41() {
    let siege = Siege::begin();
    let mut attacker = siege.attacker(Version::V5);
    for (subscribed, other) in [("a/b", "$share/g/a/b"), ("$share/g/c/d", "c/d")] {
        assert_eq!(attacker.subscribe(subscribed, 0), 0);
        attacker.unsubscribe(other);
        attacker.publish(
            subscribed.trim_start_matches("$share/g/"),
            "still subscribed",
        );
        assert_eq!(attacker.text(), "still subscribed");
    }
    siege.survived();
}

#[test]
fn publishes_whose_qos_does_not_fit_are_closed_42() {
    let siege = Siege::begin();
    for version in BOTH {
        let mut body = Vec::new();
        put_string(&mut body, b"a");
        let without_id = body.clone();
        body.extend_from_slice(&[0, 0]);
        if version == Version::V5 {
            body.push(0);
        }
        for (first, body) in [
            (0x36, &body),
            (0x38, &body),
            (0x32, &body),
            (0x32, &without_id),
        ] {
            let mut attacker = siege.attacker(version);
            attacker.send(&frame(first, body));
            attacker.closed();
        }
    }
    siege.survived();
}

#[test]
fn subscribers_that_never_read_cost_no_more_than_the_ceiling_43() {
    let siege = Siege::begin();
    let deaf: Vec<TcpStream> = (0..100)
        .map(|number| {
            let mut stream = siege.socket(&Connect::new(Version::V311, &format!("deaf {number}")));
            let bytes = subscribe(Version::V311, 1, &[("flood", number % 2)]);
            stream.write_all(&bytes).expect("it is there");
            stream
        })
        .collect();
    let mut publisher = siege.attacker(Version::V5);
    for number in 0..3000_u16 {
        let qos = (number % 2) as u8;
        publisher.send_publish(&Publish::new("flood", text(COPIED)).qos(qos, number + 1));
        if qos == 1 {
            publisher.expect(|packet| matches!(packet, Packet::Puback { .. }));
        }
    }
    drop(deaf);
    siege.survived();
}

#[test]
fn a_client_that_sends_and_never_reads_is_not_read_from_43() {
    let siege = Siege::begin();
    let mut flood = Vec::new();
    for id in 1..=10_000 {
        flood.extend(Publish::new("a", "").qos(1, id).encode(Version::V311));
        flood.extend(PINGREQ);
    }
    let mut deaf: Vec<TcpStream> = (0..4)
        .map(|number| siege.socket(&Connect::new(Version::V311, &format!("deaf {number}"))))
        .collect();
    for stream in &mut deaf {
        // The broker takes so much of it that the answers fill all buffers in between, and then no more.
        let is_stopped = (0..2000).any(|_| stream.write_all(&flood).is_err());
        assert!(is_stopped, "the broker reads without end");
    }
    siege.survived();
}

#[test]
fn slow_readers_of_many_retained_messages_cost_no_more_than_the_ceiling_44() {
    let siege = Siege::begin();
    let mut slow: Vec<TcpStream> = (0..60)
        .map(|number| siege.socket(&Connect::new(Version::V311, &format!("slow {number}"))))
        .collect();
    let mut publisher = siege.attacker(Version::V5);
    for number in 1..=2000 {
        let topic = format!("retained/{number}");
        let publish = Publish::new(&topic, text(COPIED)).retained().qos(1, 0);
        assert!(publisher.publish_acknowledged(publish) < 0x80);
    }
    for stream in &mut slow {
        // An error means that its memory was needed.
        let _ = stream.write_all(&subscribe(Version::V311, 1, &[("#", 0)]));
        let _ = stream.read(&mut [0]);
    }
    siege.survived();
}

#[test]
fn a_fight_for_a_client_id_harms_nobody_else_45() {
    let siege = Siege::begin();
    let address = siege.broker.address("open");
    let fighters: Vec<JoinHandle<(u32, u32)>> = (0..2)
        .map(|_| {
            std::thread::spawn(move || {
                let (mut won, mut lost) = (0, 0);
                for _ in 0..15 {
                    let mut client = Client::dial(address);
                    client.send(&Connect::new(Version::V311, "fought for").encode());
                    client.send(&subscribe(Version::V311, 1, &[("f/#", 0)]));
                    match client.receive_or_close() {
                        Some(Packet::Connack(connack)) if connack.code == 0 => won += 1,
                        _ => lost += 1,
                    }
                    std::mem::forget(client);
                }
                (won, lost)
            })
        })
        .collect();
    let mut all = (0, 0);
    let begun = Instant::now();
    for fighter in fighters {
        let (won, lost) = fighter.join().expect("no panic");
        all = (all.0 + won, all.1 + lost);
    }
    assert!(all.0 >= 10, "{all:?}");
    assert!(
        begun.elapsed() > Duration::from_secs(2),
        "it is slowed down"
    );
    siege.survived();
}

#[test]
fn a_takeover_in_the_middle_of_retained_messages_or_a_will_is_clean_46() {
    let siege = Siege::begin();
    let mut publisher = siege.join(&Connect::new(Version::V311, "publisher"));
    for number in 0..500 {
        publisher.send_publish(&Publish::new(&format!("r/{number:03}"), text(4000)).retained());
    }
    publisher.ping();
    for _ in 0..5 {
        let connect = Connect::new(Version::V311, "taken over").will("r/000", "will");
        let mut first = siege.join(&connect);
        first.send_subscribe("r/#", 0);
        first.receive();
        let mut second = siege.join(&connect);
        second.ping();
        second.disconnect();
    }
    siege.survived();
}

#[test]
fn sessions_of_random_ids_cost_no_more_than_the_ceiling_47() {
    let siege = Siege::begin();
    for number in 0..20_000 {
        let id = format!("random {number} {}", text(600));
        let connect = Connect::new(Version::V311, &id).persistent();
        let mut bytes = connect.encode();
        bytes.extend(subscribe(Version::V311, 1, &[(&format!("of/{number}"), 1)]));
        bytes.extend([0xE0, 0]);
        let mut attacker = siege.dial();
        attacker.send(&bytes);
        attacker.closed();
    }
    siege.survived();
}

#[test]
fn identifiers_of_a_resumed_session_do_not_collide_with_new_ones_48() {
    let siege = Siege::begin();
    let connect = Connect::new(Version::V311, "resumed").persistent();
    let mut client = siege.join(&connect);
    client.subscribe("a", 1);
    let mut publisher = siege.join(&Connect::new(Version::V311, "publisher"));
    publisher.publish_acknowledged(Publish::new("a", "first").qos(1, 0));
    let first = client.message();
    drop(client);
    let mut client = siege.join(&connect);
    let again = client.message();
    assert_eq!((again.packet_id, again.dup), (first.packet_id, true));
    publisher.publish_acknowledged(Publish::new("a", "second").qos(1, 0));
    assert_ne!(client.message().packet_id, first.packet_id);
    siege.survived();
}

#[test]
fn who_never_pings_goes_when_that_was_promised_and_only_then_49() {
    let siege = Siege::begin();
    let mut silent: Vec<Client> = [0, 65_535]
        .map(|keep_alive_s| {
            let id = format!("silent {keep_alive_s}");
            siege.join(&Connect::new(Version::V311, &id).keep_alive(keep_alive_s))
        })
        .into();
    let mut late = siege.join(&Connect::new(Version::V311, "late").keep_alive(1));
    late.closed();
    for client in &mut silent {
        client.ping();
    }
    siege.survived();
}

#[test]
fn without_descriptors_clients_wait_and_a_reload_still_works_50() {
    let siege = Siege::begin();
    // What is open already stays open.
    siege.broker.limit_descriptors(60);
    let mut flood: Vec<TcpStream> = (0..200)
        .map(|_| {
            TcpStream::connect(siege.broker.address("open")).expect("the kernel's queue has room")
        })
        .collect();
    siege.broker.log().wait_from(0, "cannot accept for now");
    siege.broker.reload(UCI);
    flood.clear();
    siege.broker.limit_descriptors(1000);
    siege.attacker(Version::V311).ping();
    siege.survived();
}

#[test]
fn connections_beyond_what_memory_takes_are_refused_50() {
    let siege = Siege::with_uci(&format!("{UCI}\toption max_connections '20000'\n\n"));
    let connect = |number: u32| Connect::new(Version::V311, &format!("idle {number}")).encode();
    let mut inside = 0;
    let crowd: Vec<TcpStream> = (0..4000)
        .map(|number| {
            let mut stream = TcpStream::connect(siege.broker.address("open")).expect("it listens");
            // An error means that it was refused.
            let _ = stream.write_all(&connect(number));
            let mut connack = [0; 4];
            let _ = stream.read(&mut connack);
            inside += usize::from(connack == [0x20, 2, 0, 0]);
            stream
        })
        .collect();
    drop(crowd);
    assert!((1000..4000).contains(&inside), "{inside} came in");
    until("the connections are gone", || {
        let mut client = siege.dial();
        client.send(&Connect::new(Version::V311, "later").encode());
        matches!(client.receive_or_close(), Some(Packet::Connack(connack)) if connack.code == 0)
            .then_some(())
    });
    siege.survived();
}

#[test]
fn a_flood_of_denied_publishes_is_a_few_lines_of_the_log_65() {
    let siege = Siege::with_uci(&format!(
        "{UCI}\nconfig acl\n\toption access 'write'\n\toption action 'deny'\n\tlist topic 'forbidden/#'\n"
    ));
    let mark = siege.broker.log().mark();
    for number in 0..200 {
        let mut attacker = siege.join(&Connect::new(Version::V311, &format!("attacker {number}")));
        let bytes = Publish::new("forbidden/a", "x")
            .encode(Version::V311)
            .repeat(500);
        attacker.send(&bytes);
        attacker.ping();
    }
    let said = siege.broker.log().mark() - mark;
    assert!((1..200).contains(&said), "{said} lines");
    siege.survived();
}

#[test]
fn a_flood_of_wrong_passwords_is_answered_later_and_later() {
    let siege = Siege::begin();
    let mut slowest = Duration::ZERO;
    for _ in 0..8 {
        let begun = Instant::now();
        let wrong = Connect::new(Version::V311, "guesser").user("local", "wrong");
        let (_, connack) = siege.broker.attempt(&wrong);
        assert_eq!(connack.code, 5);
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest >= Duration::from_millis(1000), "{slowest:?}");
    siege
        .broker
        .join(&Connect::new(Version::V311, "right"))
        .ping();
    siege.survived();
}

#[test]
fn memory_that_is_refused_is_told_and_the_topics_of_the_heap_tell_it() {
    let siege = Siege::begin();
    let mut publisher = siege.attacker(Version::V5);
    let mut refused = 0;
    for number in 1..=60 {
        let topic = format!("retained/{number}");
        let publish = Publish::new(&topic, text(400_000))
            .retained()
            .qos(1, number);
        publisher.send_publish(&publish);
        match publisher.receive() {
            Packet::Puback { code, .. } => refused += usize::from(code == 0x97),
            // There was not even room to gather the packet.
            Packet::Disconnect { code: 0x97 } => {
                refused += 1;
                publisher = siege.attacker(Version::V5);
            }
            other => panic!("neither taken nor refused: {other:?}"),
        }
    }
    assert!((10..50).contains(&refused), "{refused} were refused");
    siege.broker.log().wait_from(0, "what can be spared goes");
    let mut own = siege.broker.join(&Connect::new(Version::V311, "own"));
    own.subscribe("$SYS/broker/heap/maximum", 0);
    let maximum: usize = own.text().parse().expect("a number");
    assert!(maximum <= LIMIT);
    siege.survived();
}
