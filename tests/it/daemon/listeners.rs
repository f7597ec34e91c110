//! Listeners: addresses of both families, unix sockets, and what happens when one cannot be made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::fs::FileTypeExt;

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Packet, Version};
use crate::harness::pki::REMOTE;
use crate::harness::root::Root;

fn listener(name: &str, options: &str) -> String {
    format!("\nconfig listener '{name}'\n\toption allow_anonymous '1'\n{options}")
}

#[test]
fn the_local_side_listens_on_loopback_of_both_families() {
    let broker = Broker::start(LOCAL);
    let addresses = broker.addresses("local");
    for loopback in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        let address = addresses.iter().find(|address| address.ip() == loopback);
        let address = address.unwrap_or_else(|| panic!("{loopback} is bound: {addresses:?}"));
        Client::dial(*address)
            .join(&broker.as_local(&Connect::new(Version::V311, "a")))
            .ping();
    }
    assert_eq!(addresses.len(), 2, "and nothing else: {addresses:?}");
    assert_eq!(
        addresses[0].port(),
        addresses[1].port(),
        "one port for both"
    );
}

#[test]
fn one_listener_has_several_addresses() {
    let options = "\toption port '0'\n\tlist address '127.0.0.1'\n\tlist address '127.0.0.2'\n\tlist address '::1'\n";
    let broker = Broker::start(&format!("{LOCAL}{}", listener("many", options)));
    let addresses = broker.addresses("many");
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    for (number, address) in addresses.into_iter().enumerate() {
        Client::dial(address)
            .join(&Connect::new(Version::V5, &number.to_string()))
            .ping();
    }
}

#[test]
fn a_unix_socket_is_a_listener_too() {
    let root = Root::new();
    let socket = root.join("bus.sock");
    root.write_uci(&format!(
        "{LOCAL}{}",
        listener("socket", &format!("\toption unix '{}'\n", socket.display()))
    ));
    let broker = Broker::start_on(root);
    assert_eq!(broker.sockets("socket"), std::slice::from_ref(&socket));
    let mut client = Client::dial_unix(&socket).join(&Connect::new(Version::V5, "by-socket"));
    let mut local = broker.join(&Connect::new(Version::V311, "local"));
    client.subscribe("a", 0);
    local.publish("a", "over the socket");
    assert_eq!(client.text(), "over the socket");
    let (status, root) = broker.stop();
    assert!(status.success());
    assert!(!socket.exists(), "the socket's name goes with the broker");
    // A name that a crash left behind is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("the name is free"));
    assert!(
        std::fs::metadata(&socket)
            .expect("the name stays")
            .file_type()
            .is_socket()
    );
    let broker = Broker::start_on(root);
    Client::dial_unix(&socket)
        .join(&Connect::new(Version::V5, "again"))
        .ping();
    drop(broker);
}

#[test]
fn an_address_that_the_router_does_not_have_yet_is_bound_all_the_same() {
    let options = "\toption port '0'\n\tlist address '192.0.2.1'\n";
    let broker = Broker::start(&format!("{LOCAL}{}", listener("later", options)));
    assert_eq!(
        broker.address("later").ip(),
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))
    );
}

#[test]
fn a_disabled_listener_is_not_there() {
    let options = "\toption enabled '0'\n\toption port '0'\n\tlist address '127.0.0.1'\n";
    let broker = Broker::start(&format!("{LOCAL}{}", listener("off", options)));
    assert!(broker.addresses("off").is_empty());
    assert!(
        broker.addresses("remote").is_empty(),
        "the remote side is off until it is asked for"
    );
}

#[test]
fn a_port_in_use_is_said_with_its_section_and_the_others_run() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the kernel has a free port");
    let port = taken
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    let options = format!("\toption port '{port}'\n\tlist address '127.0.0.1'\n");
    let broker = Broker::start(&format!("{LOCAL}{}", listener("busy", &options)));
    let line = broker.log().wait_from(0, &format!("127.0.0.1:{port}"));
    let names = |text: &str| line.contains(text);
    assert!(
        names("etc/config/fosquitto:4: fosquitto.busy: ") && names("in use"),
        "the section, and the line that begins it: {line}"
    );
    broker.join(&Connect::new(Version::V311, "a")).ping();
}

#[test]
fn a_listener_without_its_certificate_fails_closed_and_the_others_run() {
    for missing in ["ca.crt", "01.crt", "01.key", "ca.crl"] {
        let root = Root::with_uci(&format!(
            "{LOCAL}\nconfig remote 'remote'\n\toption enabled '1'\n\toption port '0'\n"
        ));
        REMOTE.install(&root);
        std::fs::remove_file(root.join("etc/ssl/ca/remote").join(missing))
            .expect("the file was just written");
        let broker = Broker::start_on(root);
        assert!(broker.addresses("remote").is_empty(), "without {missing}");
        let line = broker.log().wait_from(0, missing);
        assert!(line.contains("remote"), "the section is named: {line}");
        broker.join(&Connect::new(Version::V311, "a")).ping();
    }
}

#[test]
fn a_listener_with_a_garbled_certificate_fails_closed() {
    for garbled in ["ca.crt", "01.crt", "01.key", "ca.crl"] {
        let root = Root::with_uci(&format!(
            "{LOCAL}\nconfig remote 'remote'\n\toption enabled '1'\n\toption port '0'\n"
        ));
        REMOTE.install(&root);
        root.write(
            &format!("etc/ssl/ca/remote/{garbled}"),
            "-----BEGIN NOTHING-----\n",
        );
        let broker = Broker::start_on(root);
        assert!(
            broker.addresses("remote").is_empty(),
            "with a garbled {garbled}"
        );
        broker.log().wait_from(0, garbled);
        broker.join(&Connect::new(Version::V311, "a")).ping();
    }
}

#[test]
fn a_missing_certificate_that_appears_is_taken_over_by_a_reload() {
    let root = Root::with_uci(&format!(
        "{LOCAL}\nconfig remote 'remote'\n\toption enabled '1'\n\toption port '0'\n"
    ));
    let broker = Broker::start_on(root);
    assert!(broker.addresses("remote").is_empty());
    REMOTE.install(broker.root());
    broker.reload_files();
    assert!(!broker.addresses("remote").is_empty());
}

#[test]
fn a_full_listener_turns_away_who_is_too_many() {
    let options = "\toption port '0'\n\tlist address '127.0.0.1'\n\toption max_connections '2'\n";
    let broker = Broker::start(&format!("{LOCAL}{}", listener("small", options)));
    let address = broker.address("small");
    let mut first = Client::dial(address).join(&Connect::new(Version::V311, "first"));
    let mut second = Client::dial(address).join(&Connect::new(Version::V311, "second"));
    let mut third = Client::dial(address);
    third.send(&Connect::new(Version::V311, "third").encode());
    third.refused();
    first.ping();
    second.ping();
    broker
        .join(&Connect::new(Version::V311, "elsewhere"))
        .ping();
    first.disconnect();
    crate::harness::broker::until("a place is free again", || {
        let mut fourth = Client::dial(address);
        fourth.send(&Connect::new(Version::V311, "fourth").encode());
        matches!(fourth.receive_or_close(), Some(Packet::Connack(connack)) if connack.code == 0)
            .then_some(())
    });
}
