//! What the broker's memory grows by when it holds thousands of equal things: idle connections, subscriptions, retained messages. It is the
//! growth divided by their number, so what a broker reserves ahead counts too; the kernel's socket buffers do not.

use std::io;
use std::time::Duration;

use crate::broker::Broker;
use crate::client::Client;
use crate::machine::Memory;
use crate::packet::Publish;

/// The payload of a retained message, in bytes.
const RETAINED_PAYLOAD: usize = 100;
/// Brokers that give buffers back when they have nothing to do get this time for it.
const REST: Duration = Duration::from_millis(300);

/// What the broker is to hold.
#[derive(Clone, Copy)]
pub enum Thing {
    /// Connections that do nothing, with one subscription each.
    Connection,
    /// Subscriptions of one client.
    Subscription,
    /// Retained messages of 100 B.
    RetainedMessage,
}

/// Lets the broker hold `count` things; returns by how many bytes each of them made it grow.
pub fn run(broker: &Broker, thing: Thing, count: usize) -> io::Result<Memory> {
    // What is allocated once, at the first client that does the same, is not what a thing takes.
    let mut client = Client::connect(broker.port, "bench-first")?;
    client.subscribe(&["first/+".to_owned()], 0)?;
    client.publish_acknowledged(&Publish::new("other/first", 1, RETAINED_PAYLOAD, true))?;
    let before = at_rest(broker)?;
    let mut idle = Vec::new();
    match thing {
        Thing::Connection => {
            for number in 0..count {
                let mut client = Client::connect(broker.port, &format!("bench-{number:05}"))?;
                client.subscribe(&[format!("bench/idle/{number}")], 0)?;
                idle.push(client);
            }
        }
        Thing::Subscription => {
            let filters: Vec<String> = (0..count)
                .map(|number| format!("bench/+/{number}/#"))
                .collect();
            client.subscribe(&filters, 0)?;
        }
        Thing::RetainedMessage => {
            for number in 0..count {
                client.publish_acknowledged(&Publish::new(
                    &format!("bench/{number}"),
                    1,
                    RETAINED_PAYLOAD,
                    true,
                ))?;
            }
        }
    }
    let after = at_rest(broker)?;
    let each = |before: f64, after: f64| (after - before) / count as f64;
    Ok(Memory {
        resident: each(before.resident, after.resident),
        anonymous: each(before.anonymous, after.anonymous),
    })
}

fn at_rest(broker: &Broker) -> io::Result<Memory> {
    std::thread::sleep(REST);
    broker.memory()
}
