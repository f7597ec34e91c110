//! Bridges to other brokers, seen from outside: real programs on both sides, Debian's mosquitto among them, and remote brokers that a test
//! plays with raw bytes.
//!
//! `forward` is what goes where; `outage` what becomes of it while the link is down and the bus is killed; `ring` brokers in a circle;
//! `mosquitto` the other program; `link` what is said over one connection, to a remote broker that a test plays; `reload` the configuration; `routers` subordinates in networks of their own, over lines (`line`) that are slow; `names` name servers
//! that are silent; `hostile` remote brokers that are broken or mean harm.

mod forward;
mod hostile;
mod line;
mod link;
mod mosquitto;
mod names;
mod outage;
mod reload;
mod ring;
mod routers;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::harness::broker::{Broker, until};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Packet, Publish, Version};
use crate::harness::reference::free_port;
use crate::harness::root::Root;

/// A listener `open` on loopback for anybody, on this port; 0: the kernel chooses.
fn open_on(port: u16) -> String {
    format!(
        "config local 'local'\n\toption enabled '0'\n\n\
         config listener 'open'\n\toption port '{port}'\n\tlist address '127.0.0.1'\n\toption allow_anonymous '1'\n\n"
    )
}

/// A bridge of this name to a port on loopback, with these topics and further lines.
fn bridge(name: &str, port: u16, topics: &[&str], more: &str) -> String {
    let topics: String = topics
        .iter()
        .map(|topic| format!("\tlist topic '{topic}'\n"))
        .collect();
    format!(
        "config bridge '{name}'\n\tlist address '127.0.0.1:{port}'\n\toption restart_timeout '1'\n\
         \toption restart_timeout_max '1'\n{topics}{more}\n"
    )
}

/// A root with an open listener on this port, a bridge and a database of its own.
fn root_with(port: u16, bridges: &str, more: &str) -> Root {
    let root = Root::new();
    let database = root.join("fosquitto.db");
    root.write_uci(&format!(
        "{}{bridges}config persistence 'persistence'\n\toption path '{}'\n{more}\n",
        open_on(port),
        database.display()
    ));
    root
}

/// Two brokers, the first with a bridge to the second that is up.
fn bridged(topics: &[&str], more: &str) -> (Broker, Broker) {
    let there = Broker::start(&open_on(0));
    let port = there.address("open").port();
    let here = Broker::start_on(root_with(0, &bridge("up", port, topics, more), ""));
    wait_for_link(&here, 0, "up");
    (here, there)
}

/// Waits until a bridge is connected and what it subscribes to is granted.
fn wait_for_link(broker: &Broker, mark: usize, name: &str) {
    broker
        .log()
        .wait_from(mark, &format!("bridge '{name}': connected to"));
}

/// A client of MQTT 5 at the listener `open`, by its subscriptions, which are granted.
fn subscriber(at: SocketAddr, id: &str, filters: &[(&str, u8)]) -> Client {
    let mut client = Client::dial(at).join(&Connect::new(Version::V5, id));
    for (filter, qos) in filters {
        assert!(client.subscribe(filter, *qos) < 3);
    }
    client
}

/// What goes to and fro before anything counts.
const PROBE: &str = "is the way there?";

/// The next message but probes, acknowledged.
fn take(client: &mut Client) -> Publish {
    loop {
        match client.receive() {
            Packet::Publish(publish) if publish.payload == PROBE.as_bytes() => {}
            Packet::Publish(publish) => {
                match publish.qos {
                    1 => client.send(&crate::harness::packet::ack(0x40, publish.packet_id)),
                    2 => client.send(&crate::harness::packet::ack(0x50, publish.packet_id)),
                    _ => {}
                }
                return publish;
            }
            Packet::Pubrel { packet_id, .. } => {
                client.send(&crate::harness::packet::ack(0x70, packet_id));
            }
            other => panic!("expected a message, got {other:?}"),
        }
    }
}

/// The payload of the next message.
fn take_text(client: &mut Client) -> String {
    String::from_utf8(take(client).payload).expect("a test's payload is text")
}

/// Publishes until a message comes through a link whose subscriptions at the other side are being made.
fn wait_for_way(from: &mut Client, topic: &str, to: &mut Client) {
    until("a message passes", || {
        from.publish(topic, PROBE);
        to.came_within(std::time::Duration::from_millis(50))
            .then_some(())
    });
}

/// Debian's mosquitto on a port of its own, until it is dropped.
struct Mosquitto {
    child: Child,
    port: u16,
    root: Root,
}

impl Mosquitto {
    /// Starts with these lines after those of an open listener.
    fn start(lines: &str) -> Mosquitto {
        Mosquitto::start_on(Root::new(), free_port(), lines)
    }

    fn start_on(root: Root, port: u16, lines: &str) -> Mosquitto {
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nlog_dest stderr\n{lines}\n"
        );
        root.write("mosquitto.conf", text);
        let child = Command::new("/usr/sbin/mosquitto")
            .arg("-c")
            .arg(root.join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed");
        let mosquitto = Mosquitto { child, port, root };
        until("mosquitto listens", || {
            std::net::TcpStream::connect(mosquitto.address()).ok()
        });
        mosquitto
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = &self.root;
    }
}
