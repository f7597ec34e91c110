//! What the specifications leave to the server and README.md promises, as far as no numbered statement's test shows it.

use crate::conformance::raw::is_closed;
use crate::harness::broker::{Broker, LOCAL, OPEN};
use crate::harness::client::Client;
use crate::harness::packet::{self, BOTH, Connect, Packet, Publish, Version, subscribe};

#[test]
fn a_qos_2_message_is_passed_on_before_its_pubrel() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut subscriber = broker.join(&Connect::new(version, "subscriber"));
        subscriber.subscribe("a", 0);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        publisher.send_publish(&Publish::new("a", "x").qos(2, 1));
        assert_eq!(subscriber.text(), "x", "nobody has sent a PUBREL");
    }
}

#[test]
fn nothing_is_sent_again_within_a_connection() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut subscriber = broker.join(&Connect::new(version, "subscriber"));
        subscriber.subscribe("a", 2);
        let mut publisher = broker.join(&Connect::new(version, "publisher"));
        for qos in [1, 2] {
            publisher.publish_acknowledged(Publish::new("a", "x").qos(qos, 0));
            subscriber.message();
        }
        broker.let_time_pass();
        subscriber.ping();
    }
}

#[test]
fn qos_0_messages_wait_for_a_session_that_is_away_as_long_as_the_option_says() {
    for (ttl, waits) in [("60", true), ("0", false)] {
        let broker = Broker::start(&format!(
            "config global 'global'\n\toption qos0_queue_ttl '{ttl}'\n\n{LOCAL}"
        ));
        for version in BOTH {
            let away = Connect::new(version, "away").persistent();
            let mut client = broker.join(&away);
            client.subscribe("a", 1);
            client.disconnect();
            let mut publisher = broker.join(&Connect::new(version, "publisher"));
            publisher.publish("a", "at QoS 0");
            publisher.publish_acknowledged(Publish::new("a", "at QoS 1").qos(1, 0));
            let mut client = broker.join(&away);
            let mut texts = vec![client.text()];
            if waits {
                texts.push(client.text());
            }
            texts.sort();
            let expected = if waits {
                &["at QoS 0", "at QoS 1"][..]
            } else {
                &["at QoS 1"]
            };
            assert_eq!(texts, expected);
            client.ping_past_messages();
            broker.join(&Connect::new(version, "away")).disconnect();
        }
    }
}

#[test]
fn lengths_that_are_longer_than_they_need_to_be_are_refused_in_all_versions() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for bytes in [
            &[0xC0, 0x80, 0][..],
            &[0x30, 0x84, 0x80, 0, 0, 1, b'a', b'x'],
        ] {
            is_closed(&broker, version, bytes, 0x81);
        }
    }
}

#[test]
fn an_acknowledgement_that_nobody_waits_for_changes_nothing() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        for first_byte in [0x40, 0x70] {
            client.send(&packet::ack(first_byte, 9));
        }
        client.ping();
        // The other side still holds the identifier: it is let go on.
        let code = if version == Version::V5 { 0x92 } else { 0 };
        client.send(&packet::ack(0x50, 9));
        assert_eq!(client.receive(), Packet::Pubrel { packet_id: 9, code });
        client.send(&packet::ack(0x62, 9));
        assert_eq!(client.receive(), Packet::Pubcomp { packet_id: 9, code });
    }
}

#[test]
fn an_acknowledgement_of_the_other_qos_closes_the_connection() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for (qos, first_byte) in [(1, 0x50), (1, 0x70), (2, 0x40)] {
            let mut client = broker.join(&Connect::new(version, "a"));
            client.subscribe("a", 2);
            let mut publisher = broker.join(&Connect::new(version, "publisher"));
            publisher.publish_acknowledged(Publish::new("a", "x").qos(qos, 0));
            let packet_id = client.message().packet_id;
            client.send(&packet::ack(first_byte, packet_id));
            client.closed_because(0x82);
        }
    }
}

#[test]
fn each_of_overlapping_subscriptions_gets_the_retained_messages_when_it_is_made() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send_publish(&Publish::new("a/b", "kept").retained());
        client.send(&subscribe(version, 1, &[("a/#", 0), ("a/b", 0)]));
        client.expect(|packet| matches!(packet, Packet::Suback { .. }));
        assert_eq!([client.text(), client.text()], ["kept", "kept"]);
        client.publish("a/b", "live");
        assert_eq!(client.text(), "live", "and one copy of it");
        client.ping();
    }
}

#[test]
fn the_retained_messages_are_not_for_shared_subscriptions() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.send_publish(&Publish::new("a", "kept").retained());
        client.subscribe("$share/group/a", 0);
        client.ping();
    }
}

#[test]
fn a_client_that_names_no_protocol_of_mqtt_is_not_answered() {
    let broker = Broker::start(LOCAL);
    let connect = broker.as_local(&Connect::new(Version::V311, "a"));
    for name in [&b"mqtt"[..], b"MQTT ", b"HTTP", b""] {
        let mut client = broker.dial();
        client.send(&connect.encode_as(name, 4, connect.flags()));
        assert_eq!(client.closed(), []);
    }
}

#[test]
fn a_user_name_of_no_characters_is_none() {
    let broker = Broker::start(OPEN);
    for version in BOTH {
        let blank = Connect::new(version, "blank").user("", "");
        Client::dial(broker.address("open")).join(&blank).ping();
        let unknown = Connect::new(version, "unknown").user("somebody", "");
        let connack = Client::dial(broker.address("open")).connect(&unknown);
        let bad_user = if version == Version::V5 { 0x86 } else { 5 };
        assert_eq!(connack.code, bad_user, "a name is to be proved");
        let (_, connack) = broker.attempt(&blank);
        let nobody = if version == Version::V5 { 0x87 } else { 5 };
        assert_eq!(connack.code, nobody, "where nobody is let in without one");
    }
}

#[test]
fn every_character_but_the_null_character_may_stand_in_a_topic() {
    let broker = Broker::start(LOCAL);
    let topic = "\u{1}/\u{1F}/\u{7F}/\u{9F}/\u{FDD0}/\u{FFFF}/\u{10FFFF}";
    for version in BOTH {
        let mut client = broker.join(&Connect::new(version, "a"));
        client.subscribe(topic, 0);
        client.publish(topic, "x");
        assert_eq!(client.message().topic, topic);
    }
}
