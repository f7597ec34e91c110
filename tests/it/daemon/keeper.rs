//! The keeper: what nobody was there to get waits for who comes, also over the end of the bus, and flash never sees it.

use std::fs;

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Packet, Publish, Version};

const REQUEST: &str = "foris-controller/ID/request/about/action/get";
const REPLY: &str = "foris-controller/ID/reply/UUID";

/// A keeper that does not hurry: a busy machine may take longer than 5 s to start a bus.
const PATIENT: &str = "config keeper 'foris'\n\toption request_ttl '60'\n";

fn client(broker: &Broker, client_id: &str) -> Client {
    broker.join(&Connect::new(Version::V311, client_id))
}

fn publish(broker: &Broker, publish: Publish) {
    let mut publisher = client(broker, "publisher");
    publisher.send_publish(&publish);
    publisher.ping();
    publisher.disconnect();
}

/// What a client gets that subscribes and has not been there before.
fn newcomer_gets(broker: &Broker, filter: &str) -> Vec<String> {
    let mut newcomer = client(broker, "newcomer");
    assert_eq!(newcomer.subscribe(filter, 0), 0);
    newcomer.send_subscribe("end", 0);
    let mut payloads = Vec::new();
    loop {
        match newcomer.receive() {
            Packet::Publish(message) => {
                payloads.push(String::from_utf8(message.payload).expect("it is text"));
            }
            Packet::Suback { .. } => break,
            other => panic!("expected a message or SUBACK, got {other:?}"),
        }
    }
    newcomer.disconnect();
    payloads
}

#[test]
fn a_request_and_a_reply_survive_the_bus_come_once_and_never_go_to_flash() {
    let broker = Broker::start(&format!("{LOCAL}{PATIENT}"));
    publish(&broker, Publish::new(REQUEST, "a request that waits"));
    publish(&broker, Publish::new(REPLY, "a reply that waits"));
    let broker = Broker::start_on(broker.kill());
    // What is to be written is written when the bus stops.
    let (_, root) = broker.stop();
    let files = fs::read_dir(root.join("etc/fosquitto")).expect("the database's folder is there");
    let files = files.map(|entry| entry.expect("an entry can be read").path());
    let of_database: Vec<_> = files.filter(|path| path.is_file()).collect();
    assert!(root.join("etc/fosquitto/fosquitto.db").is_file());
    for path in of_database {
        let bytes = fs::read(&path).expect("it can be read");
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!holds(b"that waits"), "{}", path.display());
    }
    let broker = Broker::start_on(root);
    assert_eq!(
        newcomer_gets(&broker, "foris-controller/#"),
        ["a request that waits", "a reply that waits"]
    );
    assert!(newcomer_gets(&broker, "#").is_empty());
    let broker = Broker::start_on(broker.kill());
    assert!(newcomer_gets(&broker, "#").is_empty());
}

#[test]
fn what_is_kept_follows_the_configuration_at_a_reload() {
    let off = "config keeper 'foris'\n\toption enabled '0'\n";
    let own = "config keeper 'own'\n\tlist request 'own/+'\n\toption request_ttl '60'\n";
    let broker = Broker::start(&format!("{LOCAL}{PATIENT}"));
    publish(&broker, Publish::new(REQUEST, "before"));
    publish(&broker, Publish::new("own/a", "before"));
    broker.reload(&format!("{LOCAL}{off}{own}"));
    publish(&broker, Publish::new(REQUEST, "after"));
    publish(&broker, Publish::new("own/a", "after"));
    assert_eq!(newcomer_gets(&broker, "foris-controller/#"), ["before"]);
    assert_eq!(newcomer_gets(&broker, "own/+"), ["after"]);
}
