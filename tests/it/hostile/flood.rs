//! Floods from clients that are let in: hostile inputs 43 to 47, 50 and 65.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::properties::by_unix_socket;
use super::siege::{CEILING, LIMIT, Siege, UCI, text};
use crate::harness::broker::{Broker, RELOADED, take_all_descriptors, until};
use crate::harness::client::Client;
use crate::harness::packet::{
    Connect, DISCONNECT, PINGREQ, Packet, Publish, Version, property, put_string, subscribe,
    unsubscribe,
};
use crate::harness::root::Root;
use crate::harness::scram::{self, METHOD, Scram};

/// The identifier of the property Topic Alias Maximum.
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;

/// Bytes of a payload that each receiver's output has a copy of; those of larger ones are shared.
const COPIED: usize = 4000;

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

/// A socket from this address of the loopback network.
fn connect_from(host: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
    let from = SocketAddr::from((host, 0));
    socket.bind(&from.into()).expect("all of 127/8 is local");
    let patience = Duration::from_secs(10);
    socket
        .connect_timeout(&to.into(), patience)
        .expect("it listens");
    socket.into()
}

#[test]
fn a_fight_of_two_hosts_for_a_client_id_harms_nobody_else_45() {
    take_all_descriptors();
    let siege = Siege::begin();
    let address = siege.broker.address("open");
    let begun = Instant::now();
    let fight = |host: u8| -> Vec<TcpStream> {
        let host = Ipv4Addr::new(127, 0, 0, host);
        let connect = Connect::new(Version::V311, "fought for").persistent();
        let attempt = |number: u32| {
            let mut stream = connect_from(host, address);
            let mut bytes = connect.encode();
            // Now a subscription and now its end, so that they hit sessions of any age.
            if !number.is_multiple_of(3) {
                bytes.extend(subscribe(Version::V311, 1, &[("f/#", 1), ("g/+", 0)]));
            }
            if number % 3 != 1 {
                bytes.extend(unsubscribe(Version::V311, 2, &["f/#"]));
            }
            stream.write_all(&bytes).expect("it is there");
            stream
        };
        (0..1000).map(attempt).collect()
    };
    let fighters: Vec<TcpStream> = std::thread::scope(|scope| {
        let fighters = [2, 3].map(|host| scope.spawn(move || fight(host)));
        let ends = fighters.map(|fighter| fighter.join().expect("no panic"));
        ends.into_iter().flatten().collect()
    });
    let won: u32 = fighters.into_iter().map(came_in).sum();
    // The guard lets ten in at once, some wait for their turn, and after that four come in a second.
    let seconds = u32::try_from(begun.elapsed().as_secs()).expect("it ends");
    assert!((1..=20 + 4 * (seconds + 1)).contains(&won), "{won} came in");
    siege.survived();
}

/// Whether the connection's CONNECT was accepted, as far as the answer has come or will come.
fn came_in(mut stream: TcpStream) -> u32 {
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a TCP socket");
    let mut connack = [0; 4];
    u32::from(stream.read_exact(&mut connack).is_ok() && connack[3] == 0)
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
fn a_hundred_thousand_sessions_of_random_ids_cost_no_more_than_the_ceiling_47() {
    let root = Root::new();
    let (uci, path) = by_unix_socket(&root, CEILING);
    root.write_uci(&uci);
    let siege = Siege::of(Broker::start_on(root));
    let filler = text(100);
    let attack = &|from: u32| {
        for number in from..from + 25_000 {
            let id = format!("random {number} {filler}");
            let connect = Connect::new(Version::V311, &id).persistent();
            let mut bytes = connect.encode();
            bytes.extend(subscribe(Version::V311, 1, &[(&format!("of/{number}"), 1)]));
            bytes.extend(DISCONNECT);
            let mut stream = UnixStream::connect(&path).expect("it listens");
            stream.write_all(&bytes).expect("it reads");
            // Its answers, or a refusal for want of memory.
            let mut answers = Vec::new();
            stream.read_to_end(&mut answers).expect("it closes");
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || attack(thread * 25_000));
        }
    });
    siege
        .broker
        .log()
        .wait_from(0, "those that can best be spared end");
    // 40 µs each in a release build, ten times as much in a debug build.
    siege.survived_within(Duration::from_secs(100));
}

#[test]
fn without_descriptors_clients_wait_and_a_reload_opens_nothing_50() {
    let uci = format!("{UCI}\nconfig acl\n\toption access 'deny'\n\tlist topic 'forbidden/#'\n");
    let siege = Siege::with_uci(&uci);
    let mut member = siege.attacker(Version::V5);
    // What is open already stays open. The limit is low, so that a few sockets of this side reach it.
    siege.broker.limit_descriptors(60);
    let mut flood: Vec<TcpStream> = (0..200)
        .map(|_| {
            TcpStream::connect(siege.broker.address("open")).expect("the kernel's queue has room")
        })
        .collect();
    siege.broker.log().wait_from(0, "cannot accept for now");
    // It can read its files now or cannot: it keeps the rules that it has in either case.
    let mark = siege.broker.ask_to_reload();
    let log = siege.broker.log();
    log.wait_for_any(mark, &[RELOADED, "configuration kept"]);
    let publish = Publish::new("forbidden/a", "x").qos(1, 0);
    assert_eq!(member.publish_acknowledged(publish), 0x87);
    flood.clear();
    siege.broker.limit_descriptors(1000);
    siege.broker.reload(&uci);
    siege.join(&Connect::new(Version::V311, "later")).ping();
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
fn a_million_denied_publishes_are_a_few_lines_of_the_log_65() {
    let siege = Siege::with_uci(&format!(
        "{UCI}\nconfig acl\n\toption access 'write'\n\toption action 'deny'\n\tlist topic 'forbidden/#'\n"
    ));
    let mark = siege.broker.log().mark();
    let begun = Instant::now();
    for number in 0..200 {
        let mut attacker = siege.join(&Connect::new(Version::V311, &format!("attacker {number}")));
        let bytes = Publish::new("forbidden/a", "x")
            .encode(Version::V311)
            .repeat(5000);
        attacker.send(&bytes);
        attacker.ping();
    }
    let said = siege.broker.log().mark() - mark;
    // Fifty at once and then one in two seconds.
    let free = 50 + usize::try_from(begun.elapsed().as_secs()).expect("it ends") / 2 + 1;
    assert!((1..=free).contains(&said), "{said} lines");
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

/// Waits until the broker's account says that so much is held.
fn heap_reaches(siege: &Siege, bytes: usize) {
    let mut own = siege.broker.join(&Connect::new(Version::V311, "own"));
    own.subscribe("$SYS/broker/heap/current", 0);
    let mut said = String::new();
    let is_reached = (0..10).any(|_| {
        said = own.text();
        said.parse::<usize>().expect("a number") >= bytes
    });
    assert!(is_reached, "{said} of {bytes} bytes are counted");
}

/// A siege whose broker tells its account every second.
fn telling() -> Siege {
    Siege::with_uci(&UCI.replacen("\n\toption", "\n\toption sys_interval '1'\n\toption", 1))
}

#[test]
fn exchanges_that_nobody_ends_are_counted_with_their_connects() {
    let siege = telling();
    let mut connect = scram::connect("attacker", METHOD, Some(&Scram::new("local", "x").first()));
    let mut pair = Vec::new();
    put_string(&mut pair, b"");
    put_string(&mut pair, text(60_000).as_bytes());
    for _ in 0..4 {
        connect
            .properties
            .push((property::USER_PROPERTY, pair.clone()));
    }
    let waiting: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = siege.broker.dial();
            client.send_connect(&connect);
            client.expect(|packet| matches!(packet, Packet::Auth(_)));
            client
        })
        .collect();
    heap_reaches(&siege, 20 * 240_000);
    drop(waiting);
    siege.survived();
}

#[test]
fn aliases_of_many_subscribers_are_counted() {
    let siege = telling();
    let mut aliasing = Connect::new(Version::V5, "");
    aliasing.properties = vec![(TOPIC_ALIAS_MAXIMUM, vec![0, 16])];
    let mut subscribers: Vec<Client> = (0..200).map(|_| siege.join(&aliasing)).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe("aliased/#", 0);
    }
    let mut publisher = siege.attacker(Version::V5);
    for number in 0..16 {
        publisher.publish(&format!("aliased/{number}/{}", text(480)), "x");
    }
    for subscriber in &mut subscribers {
        for _ in 0..16 {
            subscriber.message();
        }
    }
    // A connection and its session take some four kilobytes themselves.
    heap_reaches(&siege, 200 * (16 * 480 + 4000));
    siege.survived();
}
