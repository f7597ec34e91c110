//! Brokers in a circle, each bridged to the next with everything both ways: each message comes once everywhere, and does not go round.

use super::{bridge, root_with, subscriber, take_text, wait_for_link};
use crate::harness::broker::{Broker, until};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Publish, Version};
use crate::harness::reference::free_port;

/// Brokers of which each has a bridge to the next; all links are up.
fn ring(count: usize) -> Vec<Broker> {
    let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
    let brokers: Vec<Broker> = (0..count)
        .map(|index| {
            let next = ports[(index + 1) % count];
            Broker::start_on(root_with(
                ports[index],
                &bridge("next", next, &["# both 2"], ""),
                "",
            ))
        })
        .collect();
    for broker in &brokers {
        wait_for_link(broker, 0, "next");
    }
    brokers
}

/// Says something at each broker until all have heard it from there on all ways that there are.
fn settle(brokers: &[Broker], at: &mut [Client], filter: &str) {
    for (index, broker) in brokers.iter().enumerate() {
        let mut from =
            Client::dial(broker.address("open")).join(&Connect::new(Version::V5, "from"));
        for (number, client) in at.iter_mut().enumerate() {
            until("the ring is closed", || {
                from.publish(&format!("{filter}/{index}/{number}"), super::PROBE);
                client
                    .came_within(std::time::Duration::from_millis(50))
                    .then_some(())
            });
        }
    }
}

#[test]
fn each_message_comes_once_everywhere_in_a_ring_of_three() {
    let brokers = ring(3);
    let subscribe = |filter: &str| -> Vec<Client> {
        let at = |broker: &Broker| subscriber(broker.address("open"), filter, &[(filter, 2)]);
        brokers.iter().map(at).collect()
    };
    let mut probes = subscribe("probe/#");
    settle(&brokers, &mut probes, "probe");
    let mut at = subscribe("t/#");
    for qos in 0..3u8 {
        for (index, broker) in brokers.iter().enumerate() {
            let mut from =
                Client::dial(broker.address("open")).join(&Connect::new(Version::V311, "from"));
            for number in 0..10 {
                let text = format!("{qos} {index} {number:02}");
                let publish = Publish::new(&format!("t/{index}"), text);
                match qos {
                    0 => from.send_publish(&publish),
                    _ => assert!(from.publish_acknowledged(publish.qos(qos, 1)) < 0x80),
                }
            }
            from.ping();
        }
    }
    for client in &mut at {
        let mut texts: Vec<String> = (0..90).map(|_| take_text(client)).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 90, "each message once");
    }
    for client in &mut at {
        client.no_message_for(std::time::Duration::from_millis(300));
    }
}

#[test]
fn a_retained_message_stands_still_in_a_ring() {
    let brokers = ring(3);
    let mut from =
        Client::dial(brokers[0].address("open")).join(&Connect::new(Version::V5, "from"));
    from.publish_acknowledged(Publish::new("state", "on").qos(1, 1).retained());
    for broker in &brokers {
        until("it is retained", || {
            let mut late = subscriber(broker.address("open"), "late", &[("state", 0)]);
            late.came_within(std::time::Duration::from_millis(50))
                .then_some(())
        });
    }
    let mut at: Vec<Client> = brokers
        .iter()
        .map(|broker| subscriber(broker.address("open"), "at", &[("state", 1)]))
        .collect();
    for client in &mut at {
        assert_eq!(take_text(client), "on");
        client.no_message_for(std::time::Duration::from_millis(300));
    }
}
