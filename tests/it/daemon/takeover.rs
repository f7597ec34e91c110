//! A second connection with a client id that is in use or has a session.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::broker::{Broker, LOCAL, OPEN, until};
use crate::harness::client::Client;
use crate::harness::is_delivered;
use crate::harness::packet::{BOTH, Connect, DISCONNECT, PINGREQ, Publish, Version};
use crate::harness::root::Root;

#[test]
fn the_same_identity_takes_its_client_id_over() {
    let broker = Broker::start(LOCAL);
    for old in BOTH {
        for new in BOTH {
            let mut first = broker.join(&Connect::new(old, "twin"));
            let mut second = broker.join(&Connect::new(new, "twin"));
            first.closed_because(0x8E);
            second.ping();
            second.disconnect();
        }
    }
}

/// Answers to all of these are less than a client may leave unread, and reading them takes more than one turn of the loop.
const PINGS: usize = 25_000;

#[test]
fn a_client_that_has_said_disconnect_is_not_taken_over_by_its_next_connection() {
    let broker = Broker::start(OPEN);
    let mut watcher = broker.join(&Connect::new(Version::V5, "watcher"));
    watcher.subscribe("will", 0);
    for version in BOTH {
        let connect = Connect::new(version, "again").will("will", "gone").encode();
        for _ in 0..5 {
            let dial = || TcpStream::connect(broker.address("open")).expect("the broker listens");
            let (mut old, mut connack) = (dial(), [0; 4]);
            old.write_all(&connect).expect("it is sent");
            old.read_exact(&mut connack).expect("a CONNACK");
            broker.signal(libc::SIGSTOP);
            let mut said = PINGREQ.repeat(PINGS);
            said.extend(DISCONNECT);
            old.write_all(&said).expect("the kernel takes it");
            until("the broker's kernel has it", || {
                is_delivered(&old).then_some(())
            });
            let mut new = dial();
            new.write_all(&connect).expect("it is sent");
            broker.signal(libc::SIGCONT);
            new.read_exact(&mut connack).expect("a CONNACK");
            assert_eq!(connack[3], 0, "it is let in");
            watcher.publish("will", "no Will");
            assert_eq!(watcher.text(), "no Will");
            new.write_all(&DISCONNECT).expect("it is sent");
        }
    }
}

#[test]
fn a_takeover_keeps_the_session_and_publishes_the_will() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("will", 0);
        let connect = Connect::new(version, "twin").persistent();
        let mut first = broker.join(&connect.clone().will("will", "gone"));
        first.subscribe("a", 0);
        let mut second = broker.join(&connect);
        assert!(
            second
                .connack
                .as_ref()
                .expect("the client has joined")
                .session_present
        );
        first.closed_because(0x8E);
        assert_eq!(watcher.text(), "gone");
        watcher.publish("a", "for the second");
        assert_eq!(second.text(), "for the second");
        second.disconnect();
        broker.join(&Connect::new(version, "twin")).disconnect();
        watcher.disconnect();
    }
}

/// A broker with the users alice and bob beside `local`.
fn two_users() -> Broker {
    let root = Root::with_uci(&format!(
        "{LOCAL}\nconfig user 'alice'\n\nconfig user 'bob'\n"
    ));
    for user in ["alice", "bob"] {
        assert!(
            root.passwd(user, &format!("{user}'s password"))
                .status
                .success()
        );
    }
    Broker::start_on(root)
}

fn as_user(connect: Connect, user: &str) -> Connect {
    connect.user(user, &format!("{user}'s password"))
}

/// The answer to an identity whose client id is another's.
fn refusal(version: Version) -> u8 {
    if version == Version::V5 { 0x85 } else { 2 }
}

#[test]
fn another_identity_cannot_take_over_a_connected_session() {
    let broker = two_users();
    for version in BOTH {
        for clean in [true, false] {
            let mut alice = broker.join(&as_user(
                Connect::new(version, "phone").persistent(),
                "alice",
            ));
            alice.subscribe("private", 1);
            let mut connect = as_user(Connect::new(version, "phone").persistent(), "bob");
            connect.clean = clean;
            let (mut bob, connack) = broker.attempt(&connect);
            assert_eq!(
                (connack.code, connack.session_present),
                (refusal(version), false),
                "{version:?}, clean: {clean}"
            );
            bob.refused();
            alice.publish("private", "still here");
            assert_eq!(alice.text(), "still here");
            alice.disconnect();
        }
        broker
            .join(&as_user(Connect::new(version, "phone"), "alice"))
            .disconnect();
    }
}

#[test]
fn another_identity_cannot_take_over_a_session_that_is_away() {
    let broker = two_users();
    for version in BOTH {
        let persistent = as_user(Connect::new(version, "phone").persistent(), "alice");
        let mut alice = broker.join(&persistent);
        alice.subscribe("private", 1);
        alice.disconnect();
        for clean in [true, false] {
            let mut connect = as_user(Connect::new(version, "phone").persistent(), "bob");
            connect.clean = clean;
            let (mut bob, connack) = broker.attempt(&connect);
            assert_eq!(
                connack.code,
                refusal(version),
                "{version:?}, clean: {clean}"
            );
            bob.refused();
        }
        let mut local = broker.join(&Connect::new(version, "publisher"));
        local.publish_acknowledged(Publish::new("private", "queued").qos(1, 0));
        let mut alice = broker.join(&persistent);
        assert!(
            alice
                .connack
                .as_ref()
                .expect("the client has joined")
                .session_present
        );
        assert_eq!(alice.text(), "queued");
        alice.disconnect();
        broker
            .join(&as_user(Connect::new(version, "phone"), "alice"))
            .disconnect();
    }
}

#[test]
fn an_anonymous_client_cannot_take_over_the_session_of_a_user() {
    let broker = Broker::start(OPEN);
    for version in BOTH {
        let mut user = broker.join(&Connect::new(version, "phone").persistent());
        let mut stranger = Client::dial(broker.address("open"));
        assert_eq!(
            stranger.connect(&Connect::new(version, "phone")).code,
            refusal(version)
        );
        stranger.refused();
        user.ping();
        user.disconnect();
        broker.join(&Connect::new(version, "phone")).disconnect();
    }
}

#[test]
fn a_client_id_whose_session_has_ended_is_free_for_another_identity() {
    let broker = two_users();
    for version in BOTH {
        broker
            .join(&as_user(Connect::new(version, "shared"), "alice"))
            .disconnect();
        broker
            .join(&as_user(Connect::new(version, "shared"), "bob"))
            .disconnect();
    }
}
