//! Topic Aliases from the broker to a client that takes them (3.3.2.3.4 of MQTT 5.0).

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Publish, Version};

const TOPIC_ALIAS: u8 = 0x23;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;

fn aliasing(client_id: &str, maximum: u16) -> Connect {
    let mut connect = Connect::new(Version::V5, client_id);
    connect
        .properties
        .push((TOPIC_ALIAS_MAXIMUM, maximum.to_be_bytes().to_vec()));
    connect
}

/// The topic and the alias that a message came with.
fn naming(message: &Publish) -> (String, Option<u16>) {
    let alias = message.properties.iter().find(|(id, _)| *id == TOPIC_ALIAS);
    (
        message.topic.clone(),
        alias.map(|(_, value)| u16::from_be_bytes([value[0], value[1]])),
    )
}

#[test]
fn a_busy_topic_is_named_once_to_a_client_that_takes_aliases_3_1_2_26() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&aliasing("aliasing", 1));
    let mut plain = broker.join(&Connect::new(Version::V5, "plain"));
    client.subscribe("#", 0);
    plain.subscribe("#", 0);
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    for topic in ["busy/topic", "busy/topic", "another", "busy/topic"] {
        publisher.publish(topic, "x");
    }
    let got: Vec<_> = (0..4).map(|_| naming(&client.message())).collect();
    let expected = [
        ("busy/topic", Some(1)),
        ("", Some(1)),
        ("another", None),
        ("", Some(1)),
    ];
    assert_eq!(
        got,
        expected.map(|(topic, alias)| (topic.to_owned(), alias))
    );
    for topic in ["busy/topic", "busy/topic", "another", "busy/topic"] {
        assert_eq!(
            naming(&plain.message()),
            (topic.to_owned(), None),
            "who takes none gets none"
        );
    }
}

#[test]
fn an_alias_ends_with_its_connection() {
    let broker = Broker::start(LOCAL);
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    for _ in 0..2 {
        let mut client = broker.join(&aliasing("aliasing", 5));
        client.subscribe("busy/topic", 0);
        publisher.publish("busy/topic", "x");
        assert_eq!(
            naming(&client.message()),
            ("busy/topic".to_owned(), Some(1))
        );
        client.disconnect();
    }
}
