//! Chapter 3.2.2.3 of 5.0: CONNACK says what the configuration grants, and what it says holds.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{
    BOTH, Connack, Connect, Packet, Publish, Version, property, subscribe,
};

const SERVER_KEEP_ALIVE: u8 = 0x13;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
const TOPIC_ALIAS: u8 = 0x23;
const MAXIMUM_QOS: u8 = 0x24;
const RETAIN_AVAILABLE: u8 = 0x25;
const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
const SUBSCRIPTION_IDENTIFIER_AVAILABLE: u8 = 0x29;
const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;

const QOS_NOT_SUPPORTED: u8 = 0x9B;
const RETAIN_NOT_SUPPORTED: u8 = 0x9A;

/// The local side with these lines in `global`, and a listener `lan` that lets anybody in with those.
fn broker(global: &str, listener: &str) -> Broker {
    Broker::start(&uci(global, listener))
}

fn uci(global: &str, listener: &str) -> String {
    format!(
        "config global 'global'\n{global}\n{LOCAL}\nconfig listener 'lan'\n\toption port '0'\n\
         \tlist address '127.0.0.1'\n\toption allow_anonymous '1'\n{listener}"
    )
}

fn on_lan(broker: &Broker, connect: &Connect) -> Client {
    Client::dial(broker.address("lan")).join(connect)
}

fn refusal(broker: &Broker, connect: &Connect) -> Connack {
    let mut client = Client::dial(broker.address("lan"));
    let connack = client.connect(connect);
    assert_eq!(client.closed(), []);
    connack
}

fn told(client: &Client, id: u8) -> Option<Vec<u8>> {
    let connack = client.connack.as_ref().expect("the client has joined");
    connack.property(id).map(<[u8]>::to_vec)
}

fn v5(client_id: &str) -> Connect {
    Connect::new(Version::V5, client_id)
}

#[test]
fn what_is_as_the_specification_presumes_is_not_told() {
    let broker = broker("", "");
    let client = on_lan(&broker, &v5("a"));
    for id in [
        SERVER_KEEP_ALIVE,
        MAXIMUM_QOS,
        RETAIN_AVAILABLE,
        WILDCARD_SUBSCRIPTION_AVAILABLE,
        SUBSCRIPTION_IDENTIFIER_AVAILABLE,
        SHARED_SUBSCRIPTION_AVAILABLE,
        property::ASSIGNED_CLIENT_IDENTIFIER,
        property::SESSION_EXPIRY_INTERVAL,
    ] {
        assert_eq!(told(&client, id), None, "{id:#04x}");
    }
}

#[test]
fn wildcards_subscription_identifiers_and_shares_that_nobody_denies_are_there() {
    let broker = broker("", "");
    let mut client = on_lan(&broker, &v5("a"));
    assert_eq!(client.subscribe("a/+/#", 2), 2);
    assert_eq!(client.subscribe("$share/group/b", 2), 2);
    let mut with_identifier = subscribe(Version::V5, 9, &[("c", 0)]);
    // The length of the properties stands after the packet identifier.
    with_identifier.splice(4..5, [2, 0x0B, 7]);
    with_identifier[1] += 2;
    client.send(&with_identifier);
    client.expect(|packet| matches!(packet, Packet::Suback { codes, .. } if *codes == [0]));
    client.publish("c", "x");
    assert_eq!(client.message().properties, [(0x0B, vec![7])]);
}

#[test]
fn a_session_expiry_that_is_cut_short_is_told() {
    let broker = broker("\toption max_session_expiry '60'\n", "");
    for (asked, answer) in [(60u32, None), (61, Some(60u32)), (u32::MAX, Some(60))] {
        let mut connect = v5("a");
        let asked = asked.to_be_bytes().to_vec();
        connect
            .properties
            .push((property::SESSION_EXPIRY_INTERVAL, asked));
        let client = on_lan(&broker, &connect);
        let answer = answer.map(|seconds| seconds.to_be_bytes().to_vec());
        assert_eq!(told(&client, property::SESSION_EXPIRY_INTERVAL), answer);
    }
}

#[test]
fn the_maximum_packet_size_that_was_told_holds_although_a_reload_changes_it_3_2_2_15() {
    let size = |bytes: u32| format!("\toption max_packet_size '{bytes}'\n");
    let broker = broker(&size(4096), "");
    let told_size = |client: &Client| told(client, property::MAXIMUM_PACKET_SIZE);
    let mut before = on_lan(&broker, &v5("before"));
    assert_eq!(told_size(&before), Some(4096u32.to_be_bytes().to_vec()));
    broker.reload(&uci(&size(2048), ""));
    let mut after = on_lan(&broker, &v5("after"));
    assert_eq!(told_size(&after), Some(2048u32.to_be_bytes().to_vec()));
    // Two bytes of header and length, one more of length, topic, an empty property length.
    let of_size = |bytes: usize| Publish::new("a", "x".repeat(bytes - 7)).encode(Version::V5);
    for (client, largest) in [(&mut before, 4096), (&mut after, 2048)] {
        assert_eq!(of_size(largest).len(), largest);
        client.send(&of_size(largest));
        client.ping();
        client.send(&of_size(largest + 1));
        client.closed_because(0x95);
    }
}

#[test]
fn a_maximum_qos_is_told_and_holds_3_2_2_9_and_3_2_2_10_and_3_2_2_11() {
    for maximum in [0, 1] {
        let broker = broker("", &format!("\toption max_qos '{maximum}'\n"));
        let mut client = on_lan(&broker, &v5("a"));
        assert_eq!(told(&client, MAXIMUM_QOS), Some(vec![maximum]));
        for qos in 0..=2 {
            assert_eq!(client.subscribe("a", qos), qos.min(maximum), "any is taken");
        }
        let mut local = broker.join(&v5("local"));
        local.publish_acknowledged(Publish::new("a", "x").qos(2, 0));
        assert_eq!(client.message().qos, maximum);
        client.disconnect();
        for version in BOTH {
            let mut client = on_lan(&broker, &Connect::new(version, "b"));
            client.send_publish(&Publish::new("a", "x").qos(maximum + 1, 1));
            client.closed_because(QOS_NOT_SUPPORTED);
        }
    }
}

#[test]
fn a_will_above_the_maximum_qos_refuses_the_connection_3_2_2_12() {
    let broker = broker("", "\toption max_qos '1'\n");
    for version in BOTH {
        let mut connect = Connect::new(version, "a").will("gone", "x");
        for (qos, code) in [(2, [5, QOS_NOT_SUPPORTED]), (1, [0, 0])] {
            connect.will.as_mut().expect("it has a will").qos = qos;
            if qos == 1 {
                on_lan(&broker, &connect).disconnect();
                continue;
            }
            let code = code[usize::from(version == Version::V5)];
            assert_eq!(refusal(&broker, &connect).code, code);
        }
    }
}

#[test]
fn without_retain_available_it_is_told_and_nobody_retains_3_2_2_14() {
    let broker = broker("", "\toption retain_available '0'\n");
    let mut local = broker.join(&v5("local"));
    local.publish_acknowledged(Publish::new("kept", "x").qos(1, 0).retained());
    for version in BOTH {
        for payload in ["x", ""] {
            let mut client = on_lan(&broker, &Connect::new(version, "a"));
            let expected = (version == Version::V5).then(|| vec![0]);
            assert_eq!(told(&client, RETAIN_AVAILABLE), expected);
            client.publish("not retained", "x");
            client.subscribe("kept", 0);
            assert!(client.message().retain, "what others retain is for all");
            client.send_publish(&Publish::new("kept", payload).retained());
            client.closed_because(RETAIN_NOT_SUPPORTED);
        }
    }
    local.subscribe("kept", 0);
    assert_eq!(local.text(), "x", "nobody has cleared it");
}

#[test]
fn a_will_that_cannot_be_retained_refuses_the_connection_3_2_2_13() {
    let broker = broker("", "\toption retain_available '0'\n");
    for (version, code) in [(Version::V311, 5), (Version::V5, RETAIN_NOT_SUPPORTED)] {
        let mut connect = Connect::new(version, "a").will("gone", "x");
        connect.will.as_mut().expect("it has a will").retain = true;
        assert_eq!(refusal(&broker, &connect).code, code);
        connect.will.as_mut().expect("it has a will").retain = false;
        on_lan(&broker, &connect).disconnect();
    }
}

#[test]
fn the_topic_alias_maximum_that_is_told_is_the_one_that_counts_3_2_2_17_and_3_2_2_18() {
    for maximum in [0u16, 1, 1000] {
        let broker = broker("", &format!("\toption max_topic_alias '{maximum}'\n"));
        let aliased = |topic: &str, alias: u16| {
            let mut publish = Publish::new(topic, "x");
            publish
                .properties
                .push((TOPIC_ALIAS, alias.to_be_bytes().to_vec()));
            publish
        };
        let mut client = on_lan(&broker, &v5("a"));
        let expected = (maximum > 0).then(|| maximum.to_be_bytes().to_vec());
        assert_eq!(told(&client, TOPIC_ALIAS_MAXIMUM), expected);
        client.subscribe("a", 0);
        if maximum > 0 {
            for topic in ["a", ""] {
                client.send_publish(&aliased(topic, maximum));
                assert_eq!(client.text(), "x");
            }
        }
        client.send_publish(&aliased("a", maximum + 1));
        client.closed_because(0x94);
    }
}

#[test]
fn a_server_keep_alive_is_told_to_who_asks_for_more_and_holds_3_1_2_21_and_3_2_2_21() {
    let broker = broker("\toption max_keep_alive '1'\n", "");
    for (asked, answer) in [(1, None), (2, Some(vec![0, 1])), (0, Some(vec![0, 1]))] {
        let mut client = on_lan(&broker, &v5("a").keep_alive(asked));
        assert_eq!(told(&client, SERVER_KEEP_ALIVE), answer);
        client.closed_because(0x8D);
    }
    // It could not be told: it keeps what it asked for, which is never.
    let mut silent = on_lan(&broker, &Connect::new(Version::V311, "silent"));
    broker.let_time_pass();
    silent.ping();
}
