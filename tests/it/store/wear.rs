//! What goes to flash, in bytes as SQLite gives them to the file system: the bus counts them, and these tests hold the count.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::broker::{Broker, LOCAL, until};
use crate::harness::client::Client;
use crate::harness::controller::{Controller, below};
use crate::harness::packet::{Connect, Packet, Publish, Version};
use crate::harness::root::stderr;

/// Bytes written to flash since the start, without copies.
fn flash_bytes(broker: &Broker) -> u64 {
    let bytes = status(broker)["store"]["flash_bytes"].as_u64();
    bytes.expect("the status counts them")
}

fn status(broker: &Broker) -> Value {
    let output = broker.root().command(&["status", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

/// A client as the foris programs have them: a session of its own under a chance identifier, which it leaves behind.
fn foris_client(broker: &Broker, number: u32) -> Client {
    let client_id = format!("foris-{number:08x}");
    broker.join(&Connect::new(Version::V311, &client_id).persistent())
}

/// One request and its reply, to the end of the client's part.
fn ask(client: &mut Client, controller: &mut Controller, number: u32) -> String {
    let reply_id = format!("00000000-0000-4000-8000-{number:012}");
    let topic = below(&format!("reply/{reply_id}"));
    client.subscribe(&topic, 0);
    let request = json!({"reply_msg_id": reply_id, "data": {"number": number}});
    client.publish(&below("request/about/action/get"), &request.to_string());
    let asked = controller.request();
    let data = json!({"data": {"number": number, "text": "x".repeat(300)}, "kind": "reply"});
    controller.reply(&asked, &data);
    assert_eq!(client.message().topic, topic);
    client.unsubscribe(&topic);
    topic
}

/// Thirty seconds are shortened to two here, and so is the time that replies are there: about a third of an interval.
#[test]
fn a_thousand_requests_with_their_replies_write_at_most_64_kib() {
    const REQUESTS: u32 = 1_000;
    const REPLY_LIFE: Duration = Duration::from_millis(660);
    let uci = format!("{LOCAL}\nconfig persistence 'persistence'\n\toption flush_interval '2'\n");
    let broker = Broker::start(&uci);
    let mut controller = Controller::on(&broker);
    let mut cleaner = broker.join(&Connect::new(Version::V311, "controller-cleaner"));
    let (mut replies, mut client) = (VecDeque::new(), None);
    for number in 0..REQUESTS {
        if number % 100 == 0 {
            client = Some(foris_client(&broker, number));
        }
        let client = client.as_mut().expect("it was just made");
        let topic = ask(client, &mut controller, number);
        replies.push_back((Instant::now(), topic));
        let old = replies
            .iter()
            .take_while(|(at, _): &&(Instant, _)| at.elapsed() > REPLY_LIFE);
        let count = old.count();
        for (_, topic) in replies.drain(..count) {
            cleaner.send_publish(&Publish::new(&topic, "").retained());
        }
    }
    for (_, topic) in replies {
        cleaner.send_publish(&Publish::new(&topic, "").retained());
    }
    cleaner.ping();
    let commits = until("what is for flash is there", || {
        let store = &status(&broker)["store"];
        let is_done = store["pending"] == 0;
        is_done.then(|| store["commits"].as_u64())
    });
    let bytes = flash_bytes(&broker);
    println!("{REQUESTS} requests in {commits:?} intervals: {bytes} bytes");
    assert!(bytes > 0, "the sessions are kept");
    assert!(bytes <= 64 << 10, "{bytes} bytes went to flash");
}

#[test]
fn a_thousand_committed_messages_for_clients_that_are_away_write_at_most_600_kib() {
    const WINDOW: u16 = 20;
    let uci = format!("{LOCAL}\nconfig persistence 'persistence'\n\toption durability 'commit'\n");
    let broker = Broker::start(&uci);
    let mut away = broker.join(&Connect::new(Version::V311, "away").persistent());
    away.subscribe("state/#", 1);
    away.disconnect();
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    publisher.ping();
    let before = flash_bytes(&broker);
    for number in 0..1_000_u16 {
        let publish = Publish::new(&format!("state/{}", number % 50), "y".repeat(100));
        publisher.send_publish(&publish.qos(1, number % WINDOW + 1));
        if number >= WINDOW - 1 {
            publisher.expect(|packet| matches!(packet, Packet::Puback { .. }));
        }
    }
    for _ in 1..WINDOW {
        publisher.expect(|packet| matches!(packet, Packet::Puback { .. }));
    }
    let bytes = flash_bytes(&broker) - before;
    println!("1,000 messages: {bytes} bytes");
    assert!(bytes > 100_000, "the messages are on flash");
    assert!(bytes <= 600 << 10, "{bytes} bytes went to flash");
}
