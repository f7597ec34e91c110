//! Chapter 4.11 of 5.0: clients are told that the bus stops, and where to go.

use crate::conformance::raw::{reference_and_reason, split};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{BOTH, Connect, Packet, Version};

const SERVER_REFERENCE: u8 = 0x1C;
const SERVER_SHUTTING_DOWN: u8 = 0x8B;
const USE_ANOTHER_SERVER: u8 = 0x9C;
const SERVER_MOVED: u8 = 0x9D;

/// The local side, and a listener `lan` that lets anybody in, with this line.
fn uci(line: &str) -> String {
    format!(
        "{LOCAL}\nconfig listener 'lan'\n\toption port '0'\n\tlist address '127.0.0.1'\n\
         \toption allow_anonymous '1'\n{line}"
    )
}

/// The DISCONNECT that is all that a client gets: its code and its Server Reference.
fn farewell(client: Client) -> (u8, Option<String>) {
    let frames = split(&client.bytes_until_close());
    let [(0xE0, body)] = &frames[..] else {
        panic!("a DISCONNECT: {frames:02X?}");
    };
    (body[0], reference_and_reason(&body[1..]).0)
}

#[test]
fn a_bus_that_stops_says_so_to_every_client_3_14_4_1() {
    let broker = Broker::start(LOCAL);
    let ending = broker.join(&Connect::new(Version::V5, "ending"));
    let lasting = broker.join(&Connect::new(Version::V5, "lasting").persistent());
    let mut old = broker.join(&Connect::new(Version::V311, "old"));
    let (status, _root) = broker.stop();
    assert!(status.success());
    for client in [ending, lasting] {
        assert_eq!(farewell(client), (SERVER_SHUTTING_DOWN, None));
    }
    assert_eq!(old.closed(), []);
}

#[test]
fn a_bus_that_stops_names_the_servers_that_stand_in_for_it() {
    let global = "config global 'global'\n\tlist server_reference 'b.lan:1883'\n\
        \tlist server_reference '[2001:db8::1]:1883'\n\n";
    let broker = Broker::start(&format!("{global}{LOCAL}"));
    let ending = broker.join(&Connect::new(Version::V5, "ending"));
    let lasting = broker.join(&Connect::new(Version::V5, "lasting").persistent());
    let mut old = broker.join(&Connect::new(Version::V311, "old"));
    broker.stop();
    for client in [ending, lasting] {
        let servers = Some("b.lan:1883 [2001:db8::1]:1883".to_owned());
        assert_eq!(farewell(client), (USE_ANOTHER_SERVER, servers));
    }
    assert_eq!(old.closed(), []);
}

#[test]
fn a_listener_that_has_moved_tells_everybody_where_and_lets_nobody_in() {
    let broker = Broker::start(&uci("\tlist moved_to 'b.lan'\n"));
    for version in BOTH {
        for user in [None, Some("anybody")] {
            let mut connect = Connect::new(version, "a");
            if let Some(user) = user {
                connect = connect.user(user, "whatever");
            }
            let mut client = Client::dial(broker.address("lan"));
            let connack = client.connect(&connect);
            let reference = connack.property(SERVER_REFERENCE);
            match version {
                Version::V5 => {
                    assert_eq!(connack.code, SERVER_MOVED);
                    assert_eq!(reference, Some(&b"\0\x05b.lan"[..]));
                }
                // Server unavailable: there is no better word.
                _ => assert_eq!(connack.code, 3),
            }
            assert_eq!(client.closed(), []);
        }
    }
    broker
        .join(&Connect::new(Version::V5, "the local side stays"))
        .ping();
}

#[test]
fn who_is_connected_when_the_bus_moves_is_told_where() {
    let broker = Broker::start(&uci(""));
    let lan = broker.address("lan");
    let connect = |version, id: &str| Client::dial(lan).join(&Connect::new(version, id));
    let new = connect(Version::V5, "new");
    let mut old = connect(Version::V311, "old");
    let mut waiting = Client::dial(lan);
    let mut local = broker.join(&Connect::new(Version::V5, "local"));
    broker.reload(&uci("\tlist moved_to 'b.lan'\n"));
    assert_eq!(farewell(new), (SERVER_MOVED, Some("b.lan".to_owned())));
    assert_eq!(old.closed(), []);
    local.ping();
    // It was accepted before the reload and says who it is after it.
    waiting.send_connect(&Connect::new(Version::V5, "waiting"));
    waiting.expect(|packet| matches!(packet, Packet::Connack(it) if it.code == SERVER_MOVED));
    broker.reload(&uci(""));
    connect(Version::V5, "back").ping();
}
