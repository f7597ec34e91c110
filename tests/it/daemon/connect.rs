//! CONNECT as ordinary clients send it, and the answers that they get.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{BOTH, Connect, Version, property};

#[test]
fn a_client_of_each_version_is_accepted() {
    let broker = Broker::start(LOCAL);
    for version in [Version::V31, Version::V311, Version::V5] {
        let mut client = broker.join(&Connect::new(version, "one"));
        client.ping();
        let connack = client.connack.clone().expect("the client has joined");
        assert!(!connack.session_present, "{version:?}");
        client.disconnect();
    }
}

#[test]
fn a_client_without_an_id_gets_one() {
    let broker = Broker::start(LOCAL);
    let first = broker.join(&Connect::new(Version::V311, ""));
    let second = broker.join(&Connect::new(Version::V5, ""));
    let third = broker.join(&Connect::new(Version::V5, ""));
    let assigned = |client: &crate::harness::client::Client| {
        let connack = client.connack.as_ref().expect("the client has joined");
        connack
            .property(property::ASSIGNED_CLIENT_IDENTIFIER)
            .expect("5.0 tells the id")
            .to_vec()
    };
    assert_ne!(assigned(&second), assigned(&third));
    for mut client in [first, second, third] {
        client.ping();
    }
}

#[test]
fn a_connection_that_disconnects_leaves_its_id_free() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for _ in 0..3 {
            let client = broker.join(&Connect::new(version, "again"));
            assert!(
                !client
                    .connack
                    .as_ref()
                    .expect("the client has joined")
                    .session_present
            );
            client.disconnect();
        }
    }
}

#[test]
fn many_clients_at_once_are_all_served() {
    let broker = Broker::start(LOCAL);
    let mut clients: Vec<_> = (0..200)
        .map(|number| broker.join(&Connect::new(BOTH[number % 2], &format!("client-{number}"))))
        .collect();
    for client in &mut clients {
        assert_eq!(client.subscribe("to/all", 0), 0);
    }
    clients[0].publish("to/all", "hello");
    for client in &mut clients {
        assert_eq!(client.text(), "hello");
    }
}
