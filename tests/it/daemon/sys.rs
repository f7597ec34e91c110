//! `$SYS/broker/`: what the broker says of itself, retained.

use std::collections::HashMap;

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Version};

const FAST: &str = "config global 'global'\n\toption sys_interval '1'\n\n";

#[test]
fn the_broker_tells_of_itself_to_who_subscribes() {
    let broker = Broker::start(&format!("{FAST}{LOCAL}"));
    let _other = broker.join(&Connect::new(Version::V311, "other"));
    let mut client = broker.join(&Connect::new(Version::V311, "client"));
    client.subscribe("$SYS/#", 0);
    let mut values = HashMap::new();
    let names = [
        "version",
        "uptime",
        "clients/connected",
        "messages/received",
        "messages/sent",
        "bytes/received",
        "bytes/sent",
    ];
    while !names
        .iter()
        .all(|name| values.contains_key(&format!("$SYS/broker/{name}")))
    {
        let message = client.message();
        values.insert(
            message.topic,
            String::from_utf8(message.payload).expect("a value is text"),
        );
    }
    assert!(
        values["$SYS/broker/version"].contains("26.11.0"),
        "{values:?}"
    );
}

#[test]
fn the_version_is_retained() {
    let broker = Broker::start(&format!("{FAST}{LOCAL}"));
    let mut client = broker.join(&Connect::new(Version::V5, "client"));
    client.subscribe("$SYS/broker/version", 0);
    let message = client.message();
    assert!(
        message.retain || message.payload.starts_with(b"fosquitto"),
        "{message:?}"
    );
}

#[test]
fn the_count_of_clients_follows_them() {
    let broker = Broker::start(&format!("{FAST}{LOCAL}"));
    let mut watcher = broker.join(&Connect::new(Version::V311, "watcher"));
    watcher.subscribe("$SYS/broker/clients/connected", 0);
    let others: Vec<_> = (0..4)
        .map(|number| broker.join(&Connect::new(Version::V311, &number.to_string())))
        .collect();
    while watcher.text() != "5" {}
    drop(others);
    while watcher.text() != "1" {}
}

#[test]
fn a_client_cannot_write_there() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V311, "client"));
    client.subscribe("$SYS/forged", 0);
    client.subscribe("end", 0);
    client.publish("$SYS/forged", "x");
    client.publish("end", "end");
    assert_eq!(client.text(), "end");
}
