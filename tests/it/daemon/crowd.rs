//! Many clients at once, and what happens when the process has no file descriptor left for another.

use crate::harness::broker::{Broker, LOCAL, take_all_descriptors};
use crate::harness::client::Client;
use crate::harness::packet::{BOTH, Connect};
use crate::harness::root::Root;

/// Opens this many connections to the local side, each with its CONNECT sent and its answer not awaited.
fn rush(broker: &Broker, count: usize) -> Vec<(Client, Connect)> {
    let clients = (0..count).map(|number| {
        let connect = Connect::new(BOTH[number % 2], &format!("client-{number}"));
        let connect = broker.as_local(&connect);
        let mut client = broker.dial();
        client.send(&connect.encode());
        (client, connect)
    });
    clients.collect()
}

#[test]
fn a_thousand_clients_that_come_at_once_all_get_in() {
    take_all_descriptors();
    let broker = Broker::start(LOCAL);
    let mut clients = rush(&broker, 1000);
    for (client, connect) in &mut clients {
        assert_eq!(client.connected(connect).code, 0, "{connect:?}");
    }
    for (client, _) in &mut clients {
        client.ping();
    }
}

#[test]
fn without_descriptors_the_broker_serves_on_and_takes_others_when_some_leave() {
    let root = Root::with_uci(LOCAL);
    let broker = Broker::start_with_descriptors(root, 100);
    let mut inside = broker.join(&Connect::new(BOTH[0], "inside"));
    inside.subscribe("a", 0);
    let mut clients = rush(&broker, 200);
    broker.log().wait_from(0, "cannot accept for now");
    for _ in 0..100 {
        inside.publish("a", "served on");
        assert_eq!(inside.text(), "served on");
    }
    // The last fifty cannot be in: there are not as many descriptors.
    let mut waiting = clients.split_off(150);
    drop(clients);
    for (client, connect) in &mut waiting {
        assert_eq!(client.connected(connect).code, 0, "{connect:?}");
    }
    for (client, _) in &mut waiting {
        client.ping();
    }
    inside.ping();
    let said = broker.log().lines();
    let said = said.iter().filter(|line| line.contains("cannot accept"));
    assert!(
        said.count() <= 10,
        "a shortage is no reason to fill the log"
    );
}
