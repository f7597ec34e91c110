//! Sessions that outlive their connection: subscriptions, queued messages and half-finished exchanges.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{self, BOTH, Connect, Packet, Publish, Version};

fn session_present(client: &Client) -> bool {
    client
        .connack
        .as_ref()
        .expect("the client has joined")
        .session_present
}

#[test]
fn a_persistent_session_keeps_its_subscriptions_and_queues_messages() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = Connect::new(version, &format!("keeper-{version:?}")).persistent();
        let mut client = broker.join(&connect);
        assert!(!session_present(&client));
        client.subscribe("a/+", 1);
        client.disconnect();
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        for text in ["one", "two", "three"] {
            publisher.publish_acknowledged(Publish::new("a/b", text).qos(1, 0));
        }
        publisher.disconnect();
        let mut client = broker.join(&connect);
        assert!(session_present(&client), "{version:?}");
        for text in ["one", "two", "three"] {
            let message = client.message();
            assert_eq!(
                (message.payload.as_slice(), message.qos),
                (text.as_bytes(), 1)
            );
            client.send(&packet::ack(0x40, message.packet_id));
        }
        client.publish("a/live", "live");
        assert_eq!(client.text(), "live");
        client.disconnect();
    }
}

#[test]
fn a_clean_start_throws_the_session_away() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = Connect::new(version, "forgetful").persistent();
        let mut client = broker.join(&connect);
        client.subscribe("a", 1);
        client.disconnect();
        let clean = broker.join(&Connect::new(version, "forgetful"));
        assert!(!session_present(&clean));
        clean.disconnect();
        let mut client = broker.join(&connect);
        assert!(!session_present(&client));
        client.subscribe("end", 0);
        client.publish("a", "x");
        client.publish("end", "end");
        assert_eq!(client.text(), "end");
        client.disconnect();
        broker
            .join(&Connect::new(version, "forgetful"))
            .disconnect();
    }
}

#[test]
fn a_clean_session_ends_with_its_connection() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "clean"));
        client.subscribe("a", 1);
        drop(client);
        let mut resumed = Connect::new(version, "clean");
        resumed.clean = false;
        let client = crate::harness::broker::until("the lost connection is noticed", || {
            let client = broker.join(&resumed);
            (!session_present(&client)).then_some(client)
        });
        client.disconnect();
        broker.join(&Connect::new(version, "clean")).disconnect();
    }
}

#[test]
fn what_was_not_acknowledged_comes_again_marked_as_duplicate() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = Connect::new(version, "careless").persistent();
        let mut client = broker.join(&connect);
        client.subscribe("a", 1);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.publish_acknowledged(Publish::new("a", "first").qos(1, 0));
        let first = client.message();
        assert!(!first.dup);
        drop(client);
        let mut client = broker.join(&connect);
        let again = client.message();
        assert_eq!(again, Publish { dup: true, ..first });
        client.send(&packet::ack(0x40, again.packet_id));
        client.ping();
        client.disconnect();
        let mut client = broker.join(&connect);
        publisher.publish("a", "next");
        assert_eq!(
            client.text(),
            "next",
            "an acknowledged message does not come again"
        );
        client.disconnect();
        broker.join(&Connect::new(version, "careless")).disconnect();
    }
}

#[test]
fn a_qos_2_delivery_goes_on_where_it_stopped() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let connect = Connect::new(version, "halfway").persistent();
        let mut client = broker.join(&connect);
        client.subscribe("a", 2);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.publish_acknowledged(Publish::new("a", "once").qos(2, 0));
        let packet_id = client.message().packet_id;
        client.send(&packet::ack(0x50, packet_id));
        assert_eq!(client.receive(), Packet::Pubrel { packet_id, code: 0 });
        drop(client);
        let mut client = broker.join(&connect);
        assert_eq!(client.receive(), Packet::Pubrel { packet_id, code: 0 });
        client.send(&packet::ack(0x70, packet_id));
        client.ping();
        client.disconnect();
        broker.join(&Connect::new(version, "halfway")).disconnect();
    }
}

#[test]
fn a_qos_2_publish_goes_on_after_the_publisher_comes_back() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut subscriber = broker.join(&Connect::new(version, "subscriber"));
        subscriber.subscribe("a", 0);
        let connect = Connect::new(version, "publisher").persistent();
        let mut publisher = broker.join(&connect);
        let mut message = Publish::new("a", "once").qos(2, 5);
        publisher.send_publish(&message);
        assert_eq!(
            publisher.receive(),
            Packet::Pubrec {
                packet_id: 5,
                code: 0
            }
        );
        drop(publisher);
        let mut publisher = broker.join(&connect);
        assert!(session_present(&publisher));
        message.dup = true;
        publisher.send_publish(&message);
        assert_eq!(
            publisher.receive(),
            Packet::Pubrec {
                packet_id: 5,
                code: 0
            }
        );
        publisher.send(&packet::ack(0x62, 5));
        assert_eq!(
            publisher.receive(),
            Packet::Pubcomp {
                packet_id: 5,
                code: 0
            }
        );
        publisher.publish("a", "end");
        assert_eq!(
            (subscriber.text(), subscriber.text()),
            ("once".into(), "end".into())
        );
        publisher.disconnect();
        subscriber.disconnect();
        broker
            .join(&Connect::new(version, "publisher"))
            .disconnect();
    }
}

#[test]
fn in_5_0_a_session_without_expiry_ends_with_its_connection() {
    let broker = Broker::start(LOCAL);
    let mut connect = Connect::new(Version::V5, "brief");
    connect.clean = false;
    broker.join(&connect).disconnect();
    assert!(!session_present(&broker.join(&connect)));
}

/// A broker with this time for QoS 0 messages that wait.
fn with_qos_0_ttl(seconds: u32) -> Broker {
    Broker::start(&format!(
        "config global 'global'\n\toption qos0_queue_ttl '{seconds}'\n\n{LOCAL}"
    ))
}

/// Leaves a session behind that is subscribed to `a` at QoS 0 and to `b` at QoS 1.
fn away(broker: &Broker, version: Version) -> Connect {
    let connect = Connect::new(version, "away").persistent();
    let mut client = broker.join(&connect);
    client.subscribe("a", 0);
    client.subscribe("b", 1);
    client.disconnect();
    connect
}

#[test]
fn a_qos_0_message_waits_a_while_for_a_session_that_is_away() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let away = away(&broker, version);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.publish("a", "at most once");
        publisher.publish_acknowledged(Publish::new("a", "granted 0").qos(1, 0));
        let mut client = broker.join(&away);
        assert_eq!(client.message(), Publish::new("a", "at most once"));
        assert_eq!(client.message(), Publish::new("a", "granted 0"));
        client.disconnect();
        let mut client = broker.join(&away);
        client.ping();
        client.disconnect();
        broker.join(&Connect::new(version, "away")).disconnect();
    }
}

#[test]
fn a_qos_0_message_that_has_waited_too_long_is_dropped() {
    let broker = with_qos_0_ttl(1);
    for version in BOTH {
        let away = away(&broker, version);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.publish("a", "old");
        publisher.publish_acknowledged(Publish::new("b", "not of QoS 0").qos(1, 0));
        broker.let_time_pass();
        let mut client = broker.join(&away);
        assert_eq!(client.text(), "not of QoS 0");
        client.ping();
        client.disconnect();
        broker.join(&Connect::new(version, "away")).disconnect();
    }
}

#[test]
fn with_no_time_to_wait_no_qos_0_message_is_kept_for_who_is_away() {
    let broker = with_qos_0_ttl(0);
    for version in BOTH {
        let away = away(&broker, version);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.publish("a", "dropped");
        publisher.publish_acknowledged(Publish::new("b", "not of QoS 0").qos(1, 0));
        let mut client = broker.join(&away);
        assert_eq!(client.text(), "not of QoS 0");
        client.ping();
        client.publish("a", "live");
        assert_eq!(client.text(), "live");
        client.disconnect();
        broker.join(&Connect::new(version, "away")).disconnect();
    }
}
