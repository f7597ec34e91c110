//! The ordered end and the start with much to keep: how long the end takes, and that nobody is refused at the start.

use std::time::Instant;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Packet, Publish, Version};

const SESSIONS: u32 = 1_000;
const RETAINED: u32 = 10_000;

const UCI: &str = "config local 'local'\n\toption enabled '0'\n\n\
    config listener 'open'\n\toption port '0'\n\tlist address '127.0.0.1'\n\toption allow_anonymous '1'\n";

fn session(number: u32) -> Connect {
    Connect::new(Version::V5, &format!("session-{number}")).persistent()
}

/// A broker with that many sessions and retained messages.
fn full() -> Broker {
    let broker = Broker::start(UCI);
    let address = broker.address("open");
    for number in 0..SESSIONS {
        let mut client = Client::dial(address).join(&session(number));
        client.subscribe(&format!("to/{number}/#"), 1);
    }
    let mut publisher = Client::dial(address).join(&Connect::new(Version::V311, "publisher"));
    for first in (0..RETAINED).step_by(20) {
        for number in first..first + 20 {
            let publish = Publish::new(&format!("kept/{number}"), "some state of something");
            publisher.send_publish(&publish.qos(1, (number - first + 1) as u16).retained());
        }
        for _ in 0..20 {
            publisher.expect(|packet| matches!(packet, Packet::Puback { .. }));
        }
    }
    broker
}

#[test]
fn with_much_to_keep_it_ends_in_time_and_nobody_is_refused_when_it_starts() {
    let broker = full();
    let asked = Instant::now();
    let (status, root) = broker.stop();
    let took = asked.elapsed();
    assert!(status.success());
    // Four seconds, where the program is not emulated: procd waits for longer (term_timeout of the init script).
    assert!(took < *PATIENCE / 5, "it took {took:?}");

    // It listens, and has hardly begun to read.
    let broker = Broker::start_half(root);
    let mut client = Client::dial(broker.address("open"));
    let connack = client.connect(&session(7));
    assert!(connack.session_present, "the answer waits for the state");
    client.send_subscribe("kept/#", 0);
    let mut count = 0;
    while count < RETAINED {
        match client.receive() {
            Packet::Publish(publish) => count += u32::from(publish.retain),
            Packet::Suback { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    let lines = broker.log().lines();
    let line = |text: &str| lines.iter().position(|line| line.contains(text));
    assert!(line("listening on") < line("notice: ready"));
    println!("the end took {took:?}");
}
