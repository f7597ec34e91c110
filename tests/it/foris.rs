//! The foris programs' protocol over the bus, spoken by the MQTT library that they use, in both of its lines.
//!
//! What one request is (subscribe, publish, receive, reply, receive, unsubscribe) and how the programs connect stands in
//! `tests/python/foris_round_trip.py`. A bus that ends in the middle of a request is in `six_states`, what was
//! on its way when it was told to end in `ordered_stop`.

mod ordered_stop;
mod six_states;

use serde_json::{Value, json};

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::pki::REMOTE;
use crate::harness::python::{PAHO, run_script};
use crate::harness::root::Root;

/// MQTT 3.1.1 and 5 by the numbers that stand in CONNECT.
const PROTOCOLS: [u8; 2] = [4, 5];

/// The versions that the environments of [`PAHO`] must have: that of the router's programs, and the one with another interface.
const PAHO_VERSIONS: [&str; 2] = ["1.6.1", "2."];

/// How many of whom.
struct Cast {
    controllers: u32,
    clients: u32,
    requests_each: u32,
    padding: usize,
}

/// A broker with both sides, and the ways in by password and by certificate.
fn both_sides() -> (Broker, [Value; 2]) {
    let root = Root::with_uci(&format!(
        "{LOCAL}\nconfig remote 'remote'\n\toption enabled '1'\n\toption port '0'\n"
    ));
    REMOTE.install(&root);
    REMOTE
        .client("notebook", 2)
        .write_token(&root, "token", &REMOTE);
    let broker = Broker::start_on(root);
    let ways = [by_password(&broker), by_certificate(&broker)];
    (broker, ways)
}

fn by_password(broker: &Broker) -> Value {
    let address = broker.address("local");
    json!({"host": address.ip(), "port": address.port(), "user": "local", "password": broker.root().local_password()})
}

fn by_certificate(broker: &Broker) -> Value {
    let token = broker.root().join("token");
    json!({
        // The remote side may be bound to an address that means all of them.
        "host": "127.0.0.1",
        "port": broker.address("remote").port(),
        "ca": token.join("ca.crt"),
        "certificate": token.join("token.crt"),
        "key": token.join("token.key"),
    })
}

/// Runs the cast and holds the outcome: every request answered once, every reply cleared.
fn play(paho: &str, protocol: u8, ways: &[Value], cast: &Cast) {
    let mut arguments: Vec<String> = ways
        .iter()
        .flat_map(|way| ["--endpoint".to_owned(), way.to_string()])
        .collect();
    for (name, value) in [
        ("--protocol", protocol.to_string()),
        ("--controllers", cast.controllers.to_string()),
        ("--clients", cast.clients.to_string()),
        ("--requests", cast.requests_each.to_string()),
        ("--padding", cast.padding.to_string()),
    ] {
        arguments.extend([name.to_owned(), value]);
    }
    let outcome = run_script(paho, "foris_round_trip.py", &arguments);
    let version = outcome["paho"].as_str().unwrap_or_default();
    assert!(
        version.starts_with(PAHO_VERSIONS[usize::from(paho == PAHO[1])]),
        "{outcome}"
    );
    let requests = u64::from(cast.clients * cast.requests_each);
    for (name, expected) in [
        ("requests", requests),
        ("seen", requests),
        ("cleared", requests),
        ("twice", 0),
        ("left", 0),
    ] {
        assert_eq!(
            outcome[name], expected,
            "{name} of {outcome} with {paho}, protocol {protocol}"
        );
    }
}

#[test]
fn requests_are_answered_by_password_and_by_certificate_at_the_same_time() {
    let (_broker, ways) = both_sides();
    for paho in PAHO {
        for protocol in PROTOCOLS {
            play(
                paho,
                protocol,
                &ways,
                &Cast {
                    controllers: 3,
                    clients: 4,
                    requests_each: 5,
                    padding: 0,
                },
            );
        }
    }
}

#[test]
fn a_client_that_has_only_the_password_is_answered() {
    let broker = Broker::start(LOCAL);
    for paho in PAHO {
        for protocol in PROTOCOLS {
            play(
                paho,
                protocol,
                &[by_password(&broker)],
                &Cast {
                    controllers: 1,
                    clients: 1,
                    requests_each: 3,
                    padding: 0,
                },
            );
        }
    }
}

#[test]
fn a_thousand_requests_of_fifty_clients_to_three_controllers_lose_no_reply() {
    let (_broker, ways) = both_sides();
    let cast = Cast {
        controllers: 3,
        clients: 50,
        requests_each: 20,
        padding: 100,
    };
    play(PAHO[0], PROTOCOLS[0], &ways, &cast);
    play(PAHO[1], PROTOCOLS[1], &ways, &cast);
}

#[test]
fn a_message_of_ten_mebibytes_goes_there_and_comes_back() {
    let (_broker, ways) = both_sides();
    let cast = Cast {
        controllers: 1,
        clients: 1,
        requests_each: 1,
        padding: 10_485_760,
    };
    for (paho, protocol) in PAHO.into_iter().zip(PROTOCOLS) {
        play(paho, protocol, &ways, &cast);
    }
}
