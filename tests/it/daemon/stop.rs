//! The end: SIGTERM, and what clients are told.

use std::time::{Duration, Instant};

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{BOTH, Connect, Version};
use crate::harness::reference::free_port;
use crate::harness::root::{Root, stderr};

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

/// A client whose socket is full, since it does not read what it subscribed to.
fn stuck(broker: &Broker) -> Client {
    let mut stuck = broker.join(&Connect::new(Version::V311, "stuck"));
    stuck.subscribe("flood", 0);
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    for _ in 0..100 {
        publisher.publish("flood", &"x".repeat(100_000));
    }
    publisher.ping();
    stuck
}

#[test]
fn sigterm_ends_it_in_three_seconds_with_two_hundred_clients_and_one_that_does_not_read() {
    let broker = Broker::start(LOCAL);
    let _stuck = stuck(&broker);
    let mut clients: Vec<Client> = (0..200)
        .map(|number| broker.join(&Connect::new(BOTH[number % 2], &number.to_string())))
        .collect();
    let asked = Instant::now();
    let (status, _root) = broker.stop();
    let took = asked.elapsed();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(3), "it took {took:?}");
    for client in &mut clients {
        client.closed_because(0x8B);
    }
}

#[test]
fn a_second_one_on_the_same_port_says_so_and_ends_and_the_first_stays() {
    let port = free_port();
    let uci = format!("config local 'local'\n\toption port '{port}'\n");
    let first = Broker::start(&uci);
    let second = Root::with_uci(&uci).serve_to_the_end();
    assert_eq!(second.status.code(), Some(1));
    let said = stderr(&second);
    let line = said.lines().find(|line| line.contains("in use"));
    let line = line.unwrap_or_else(|| panic!("it says why: {said}"));
    let names = |text: &str| line.contains(text);
    assert!(
        names("etc/config/fosquitto:1: fosquitto.local") && names(&format!("127.0.0.1:{port}")),
        "{line}"
    );
    first.join(&Connect::new(Version::V311, "a")).ping();
}

#[test]
fn a_second_one_on_the_same_root_takes_nothing_from_the_first() {
    let port = free_port();
    let first = Broker::start(&format!("config local 'local'\n\toption port '{port}'\n"));
    let pid_file = "var/run/fosquitto/fosquitto.pid";
    let password = first.root().local_password();
    assert_eq!(first.root().serve_to_the_end().status.code(), Some(1));
    assert_eq!(
        first.root().read(pid_file),
        format!("{}\n", first.pid()),
        "scripts still find the first"
    );
    assert_eq!(first.root().local_password(), password);
    first.join(&Connect::new(Version::V311, "a")).ping();
    let (_, root) = first.stop();
    assert!(!root.join(pid_file).exists());
}

#[test]
fn the_next_one_starts_on_the_same_port_at_once() {
    let port = free_port();
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
