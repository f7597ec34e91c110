//! Listening sockets that a service manager hands over: taken by name, kept open by their owner, closed where nothing asks for them.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use crate::harness::broker::{Broker, until};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Version};
use crate::harness::root::Root;

fn lan(port: u16) -> String {
    format!(
        "config local 'local'\n\toption enabled '0'\n\n\
         config listener 'lan'\n\toption port '{port}'\n\tlist address '127.0.0.1'\n\tlist address '127.0.0.2'\n\
         \toption allow_anonymous '1'\n"
    )
}

/// Lines of the log that hold a text.
fn count(broker: &Broker, text: &str) -> usize {
    let lines = broker.log().lines();
    lines.iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_port_stays_open_from_one_process_to_the_next() {
    let first = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = first.local_addr().expect("it is bound");
    let second = TcpListener::bind(("127.0.0.2", address.port())).expect("the port is free");
    let root = Root::with_uci(&lan(address.port()));
    let sockets = [("lan", first.as_fd()), ("lan", second.as_fd())];
    let broker = Broker::start_handed(root, &sockets);
    let places = broker.addresses("lan");
    assert_eq!(places, [address, second.local_addr().expect("it is bound")]);
    assert_eq!(count(&broker, " (handed over)"), 2);
    Client::dial(address).join(&Connect::new(Version::V5, "before"));
    let (status, root) = broker.stop();
    assert!(status.success());
    // Nobody serves it, and it is let in all the same.
    let waiting = Client::dial(address);
    let also_waiting = Client::dial(places[1]);
    let _broker = Broker::start_handed(root, &sockets);
    waiting.join(&Connect::new(Version::V311, "between"));
    also_waiting.join(&Connect::new(Version::V5, "between too"));
}

#[test]
fn what_no_listener_asks_for_is_closed_and_said() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port();
    let other_port = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let other_address = other_port.local_addr().expect("it is bound");
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let root = Root::with_uci(&lan(port));
    let file = std::fs::File::open(root.path()).expect("the root is there");
    let broker = Broker::start_handed(
        root,
        &[
            ("lan", taken.as_fd()),
            ("lan", other_port.as_fd()),
            ("stranger\n", stranger.as_fd()),
            ("lan", file.as_fd()),
        ],
    );
    assert_eq!(count(&broker, " (handed over)"), 1);
    let closed = "handed over, and nothing asks for it: closed";
    assert_eq!(count(&broker, closed), 3);
    let line = format!("listener 'lan': {other_address} was {closed}");
    assert_eq!(count(&broker, &line), 1);
    assert_eq!(count(&broker, "listener 'stranger\\n'"), 1);
    drop((other_port, stranger));
    // A process that another test is about to start holds a copy of this one's sockets for a moment.
    until("the broker has it no longer", || {
        TcpStream::connect(other_address).is_err().then_some(())
    });
    // What was not handed over, the broker has opened itself.
    Client::dial(broker.addresses("lan")[1]).join(&Connect::new(Version::V5, "client"));
}

#[test]
fn a_unix_socket_that_was_handed_over_stays_its_owners() {
    let root = Root::new();
    let path = root.join("bus.sock");
    root.write_uci(&format!(
        "config local 'local'\n\toption enabled '0'\n\n\
         config listener 'programs'\n\tlist unix '{}'\n\toption allow_anonymous '1'\n",
        path.display()
    ));
    let socket = UnixListener::bind(&path).expect("a path below the root is short enough");
    let broker = Broker::start_handed(root, &[("programs", socket.as_fd())]);
    Client::dial_unix(&path).join(&Connect::new(Version::V5, "client"));
    let (_, root) = broker.stop();
    assert!(root.join("bus.sock").exists());
    let waiting = Client::dial_unix(&path);
    let _broker = Broker::start_handed(root, &[("programs", socket.as_fd())]);
    waiting.join(&Connect::new(Version::V5, "client"));
}
