//! What attackers send, numbered as the project's list of hostile inputs numbers it.
//!
//! To survive an input means: the answer that the specification asks for or a close, bounded memory, and no effect on any
//! other client. Every test here ends in [`Victim::unharmed`], which holds the last two.

mod first_packet;
mod flow;
mod strings;
mod websocket;

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Version};

/// A broker under attack, and a client that has nothing to do with it.
pub struct Victim {
    pub broker: Broker,
    bystander: Client,
    resident_bytes: usize,
}

impl Victim {
    /// A broker with one honest client.
    pub fn new() -> Victim {
        Victim::with_uci(LOCAL)
    }

    /// The same with another configuration.
    pub fn with_uci(uci: &str) -> Victim {
        let broker = Broker::start(uci);
        let mut bystander = broker.join(&Connect::new(Version::V311, "bystander"));
        bystander.subscribe("to/bystander", 0);
        let resident_bytes = broker.resident_bytes();
        Victim {
            broker,
            bystander,
            resident_bytes,
        }
    }

    /// A client that has joined in order, to misbehave after that.
    pub fn member(&self, version: Version) -> Client {
        self.broker
            .join(&Connect::new(version, "attacker").will("to/bystander", "will"))
    }

    /// Sends these bytes as the first of a connection and waits for the close.
    pub fn attack(&mut self, bytes: &[u8]) {
        let mut attacker = self.broker.dial();
        attacker.send(bytes);
        attacker.refused();
        self.unharmed();
    }

    /// The bystander still gets its messages, and the broker has not grown by more than a few megabytes.
    pub fn unharmed(&mut self) {
        self.bystander.publish("to/bystander", "still here");
        while self.bystander.text() != "still here" {}
        let grown = self
            .broker
            .resident_bytes()
            .saturating_sub(self.resident_bytes);
        assert!(grown < 8 << 20, "the broker has grown by {grown} bytes");
    }
}
