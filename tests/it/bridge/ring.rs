//! Brokers in a circle, each bridged to the next with everything both ways: each message comes once everywhere, and does not go round.

use super::{bridge, root_with, subscriber, take_text, wait_for_link};
use crate::harness::broker::{Broker, until};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Packet, Publish, Version, ack, property, put_string};
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

/// A user property.
fn user_property(name: &str, value: &str) -> (u8, Vec<u8>) {
    let mut pair = Vec::new();
    put_string(&mut pair, name.as_bytes());
    put_string(&mut pair, value.as_bytes());
    (property::USER_PROPERTY, pair)
}

/// A client that says that it is another broker.
fn as_broker(broker: &Broker, id: &str) -> Client {
    let mut connect = Connect::new(Version::V5, id);
    let said = user_property("fosquitto-bridge", "00000000000000aa");
    connect.properties.push(said);
    Client::dial(broker.address("open")).join(&connect)
}

/// Publishes at QoS 2, to the end. Of what was here already PUBCOMP says that it is not known.
fn say(client: &mut Client, message: Publish) {
    client.send_publish(&message);
    assert!(matches!(
        client.receive(),
        Packet::Pubrec { packet_id: 1, code } if code < 0x80
    ));
    client.send(&ack(0x62, 1));
    assert!(matches!(
        client.receive(),
        Packet::Pubcomp { packet_id: 1, .. }
    ));
}

#[test]
fn a_message_that_comes_on_two_ways_comes_once_also_if_the_bus_is_killed_in_between() {
    let mut here = Broker::start_on(root_with(0, "", ""));
    let lasting = Connect::new(Version::V5, "lasting").persistent();
    let mut at_here = Client::dial(here.address("open")).join(&lasting);
    assert!(at_here.subscribe("t", 2) < 3);
    let mut neighbour = as_broker(&here, "listens");
    assert!(neighbour.subscribe("t", 1) < 3);
    let mut own = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "own"));
    own.publish_acknowledged(Publish::new("t", "own").qos(2, 1));
    let path = super::take(&mut neighbour).properties;
    assert!(!path.is_empty(), "it has a trail");
    drop((at_here, neighbour, own));
    for round in 0..3 {
        // What began here, and is on its way round.
        let mut back = Publish::new("t", "own").qos(2, 1);
        back.properties.clone_from(&path);
        let mut neighbour = as_broker(&here, "one way");
        say(&mut neighbour, back);
        // What began elsewhere, and came before each restart.
        for number in 0..=round {
            let text = format!("other {number}");
            say(&mut neighbour, foreign("t", &text, number));
        }
        here = Broker::start_on(here.kill());
    }
    let mut at_here = Client::dial(here.address("open")).join(&lasting);
    for expected in ["own", "other 0", "other 1", "other 2"] {
        assert_eq!(take_text(&mut at_here), expected);
    }
    at_here.no_message_for(std::time::Duration::from_millis(300));
}

/// A message that began elsewhere, with this number there.
fn foreign(topic: &str, text: &str, number: u32) -> Publish {
    let mut message = Publish::new(topic, text).qos(2, 1);
    let said = format!("00000000000000bb-{number:x}-1");
    message
        .properties
        .push(user_property("fosquitto-path", &said));
    message
}

#[test]
fn what_a_restart_has_cost_is_taken_again_from_another_broker() {
    let here = Broker::start_on(root_with(0, "", "\toption durability 'volatile'\n"));
    let state = || foreign("state", "on", 1).retained();
    say(&mut as_broker(&here, "other"), state());
    let here = Broker::start_on(here.kill());
    let mut neighbour = as_broker(&here, "other");
    say(&mut neighbour, state());
    let mut late = subscriber(here.address("open"), "late", &[("state", 2)]);
    assert_eq!(take_text(&mut late), "on");
    say(&mut neighbour, state());
    // What is cleared stays so.
    say(&mut neighbour, foreign("state", "", 2).retained());
    say(&mut neighbour, state());
    assert_eq!(take_text(&mut late), "");
    late.ping_past_messages();
    late.no_message_for(std::time::Duration::from_millis(100));
}

#[test]
fn what_was_refused_may_come_again() {
    let uci = |rule: &str| format!("{}{rule}", super::open_on(0));
    let deny = "config acl\n\toption access 'deny'\n\tlist topic 't'\n";
    let here = Broker::start(&uci(deny));
    let mut neighbour = as_broker(&here, "other");
    neighbour.send_publish(&foreign("t", "once", 1));
    let refused = Packet::Pubrec {
        packet_id: 1,
        code: 0x87,
    };
    assert_eq!(neighbour.receive(), refused);
    here.reload(&uci(""));
    let mut at_here = subscriber(here.address("open"), "at-here", &[("t", 2)]);
    say(&mut as_broker(&here, "other"), foreign("t", "once", 1));
    assert_eq!(take_text(&mut at_here), "once");
}
