//! The end: SIGTERM, and what clients are told.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{BOTH, Connect, Version};

#[test]
fn sigterm_ends_it_in_order() {
    let broker = Broker::start(LOCAL);
    let mut clients: Vec<_> = BOTH
        .map(|version| broker.join(&Connect::new(version, &format!("{version:?}"))))
        .into();
    let (status, _root) = broker.stop();
    assert_eq!(status.code(), Some(0));
    for client in &mut clients {
        client.closed_because(0x8B);
    }
}

#[test]
fn sigterm_ends_it_while_clients_do_not_read() {
    let broker = Broker::start(LOCAL);
    let mut stuck = broker.join(&Connect::new(Version::V311, "stuck"));
    stuck.subscribe("flood", 0);
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    for _ in 0..100 {
        publisher.publish("flood", &"x".repeat(100_000));
    }
    publisher.ping();
    let (status, _root) = broker.stop();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_next_one_starts_on_the_same_port_at_once() {
    let port = crate::harness::reference::free_port();
    let uci = format!("config local 'local'\n\toption port '{port}'\n");
    let mut broker = Broker::start(&uci);
    for _ in 0..3 {
        let mut client = broker.join(&Connect::new(Version::V311, "a"));
        client.ping();
        let (status, root) = broker.stop();
        assert!(status.success());
        client.closed();
        broker = Broker::start_on(root);
        assert_eq!(broker.address("local").port(), port);
    }
}
