//! `$SYS/broker/`: what the broker says of itself, retained.

use std::collections::HashMap;

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Publish, Version};

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
fn what_the_store_writes_is_counted() {
    let commit = "config persistence 'persistence'\n\toption durability 'commit'\n\n";
    let broker = Broker::start(&format!("{FAST}{commit}{LOCAL}"));
    let mut client = broker.join(&Connect::new(Version::V311, "client"));
    client.publish_acknowledged(Publish::new("kept", "x").qos(1, 0).retained());
    client.subscribe("$SYS/broker/store/#", 0);
    let mut values = HashMap::new();
    let is_counted = |values: &HashMap<String, String>| {
        let counts = [
            "flash/bytes",
            "flash/syncs",
            "commits",
            "journal/bytes",
            "records/applied",
        ];
        counts.iter().all(|name| {
            let value = values.get(&format!("$SYS/broker/store/{name}"));
            value.is_some_and(|value| value.parse::<u64>().is_ok_and(|count| count > 0))
        })
    };
    while !is_counted(&values) || !values.contains_key("$SYS/broker/store/commits/last") {
        let message = client.message();
        let value = String::from_utf8(message.payload).expect("a value is text");
        values.insert(message.topic, value);
    }
    assert_eq!(values["$SYS/broker/store/class"], "commit");
    assert!(values["$SYS/broker/store/commits/last"].ends_with(" seconds"));
    assert!(!values.contains_key("$SYS/broker/store/error"));
}

#[test]
fn packets_that_wait_for_a_socket_are_counted_and_no_others() {
    let broker = Broker::start(&format!("{FAST}{LOCAL}"));
    let mut watcher = broker.join(&Connect::new(Version::V311, "watcher"));
    watcher.subscribe("$SYS/broker/packet/out/+", 0);
    let mut values = HashMap::new();
    let mut wait = |is_it: fn(u64, u64) -> bool| {
        loop {
            let number = |values: &HashMap<String, u64>, name: &str| {
                values
                    .get(&format!("$SYS/broker/packet/out/{name}"))
                    .copied()
            };
            if let (Some(count), Some(bytes)) = (number(&values, "count"), number(&values, "bytes"))
                && is_it(count, bytes)
            {
                return;
            }
            let message = watcher.message();
            let value = String::from_utf8(message.payload).expect("a value is text");
            values.insert(message.topic, value.parse().expect("a number"));
        }
    };
    // A message that waits for a client that is away waits for no socket.
    let mut away = broker.join(&Connect::new(Version::V311, "away").persistent());
    away.subscribe("large", 1);
    drop(away);
    // Nor does one that a client has.
    let mut reader = broker.join(&Connect::new(Version::V311, "reader"));
    reader.subscribe("large", 0);
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    publisher.publish_acknowledged(Publish::new("large", "x").qos(1, 7));
    assert_eq!(reader.text(), "x");
    wait(|count, bytes| count == 0 && bytes == 0);
    // More than the kernel's buffers take.
    let mut slow = broker.join(&Connect::new(Version::V311, "slow"));
    slow.subscribe("large", 0);
    for _ in 0..40 {
        publisher.send_publish(&Publish::new("large", vec![b'x'; 1 << 20]));
        publisher.ping();
    }
    wait(|count, bytes| (1..=100).contains(&count) && bytes > 0);
    drop(slow);
    drop(reader);
    wait(|count, bytes| count == 0 && bytes == 0);
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
