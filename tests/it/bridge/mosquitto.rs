//! Debian's mosquitto as the remote broker, with bridges translated line by line from its documentation, mosquitto.conf(5) "Configuring
//! Bridges"; and as the one that has the bridge, to a bus that is the remote broker.

use super::{Mosquitto, bridge, open_on, root_with, subscriber, take, wait_for_link, wait_for_way};
use crate::harness::broker::Broker;
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Publish, Version};
use crate::harness::reference::free_port;
use crate::harness::root::Root;

/// A client here and one there.
fn clients(here: &Broker, there: &Mosquitto) -> (Client, Client) {
    let connect = |id| Connect::new(Version::V311, id);
    (
        Client::dial(here.address("open")).join(&connect("here")),
        Client::dial(there.address()).join(&connect("there")),
    )
}

/// Messages of each QoS go from topic to topic.
fn goes(from: &mut Client, topic: &str, to: &mut Client, expected: &str) {
    for qos in 0..3 {
        let text = format!("{topic} {qos}");
        match qos {
            0 => from.publish(topic, &text),
            _ => assert!(from.publish_acknowledged(Publish::new(topic, &text).qos(qos, 1)) < 0x80),
        }
        let arrived = take(to);
        assert_eq!((arrived.topic.as_str(), arrived.qos), (expected, qos));
        assert_eq!(arrived.payload, text.as_bytes());
    }
}

/// The examples of the section "topic": in both versions of MQTT.
fn the_documentations_mappings(protocol: &str) {
    let there = Mosquitto::start("");
    let topics = [
        "# out 2 local/out/ remote/in/",
        "# both 2 local/topic/ remote/topic/",
        "clients/total in 0 test/mosquitto/org/ $SYS/broker/",
    ];
    let more = format!("\toption protocol '{protocol}'\n");
    let here = Broker::start_on(root_with(0, &bridge("up", there.port, &topics, &more), ""));
    wait_for_link(&here, 0, "up");
    let (mut from_here, mut from_there) = clients(&here, &there);
    let filters = [("local/topic/#", 2), ("test/#", 2)];
    let mut at_here = subscriber(here.address("open"), "at-here", &filters[..1]);
    let mut at_there = subscriber(there.address(), "at-there", &[("remote/#", 2)]);
    wait_for_way(&mut from_there, "remote/topic/probe", &mut at_here);
    wait_for_way(&mut from_here, "local/out/probe", &mut at_there);
    goes(&mut from_here, "local/out/x", &mut at_there, "remote/in/x");
    goes(
        &mut from_here,
        "local/topic/a/b",
        &mut at_there,
        "remote/topic/a/b",
    );
    let mut at_here = subscriber(here.address("open"), "at-here", &filters);
    let total = take(&mut at_here);
    assert_eq!(total.topic, "test/mosquitto/org/clients/total");
    let mut at_here = subscriber(here.address("open"), "at-here", &filters[..1]);
    goes(
        &mut from_there,
        "remote/topic/c",
        &mut at_here,
        "local/topic/c",
    );
}

#[test]
fn mosquittos_own_examples_forward_as_documented_in_mqtt_5() {
    the_documentations_mappings("auto");
}

#[test]
fn mosquittos_own_examples_forward_as_documented_in_mqtt_3_1_1() {
    the_documentations_mappings("3.1.1");
}

#[test]
fn what_goes_both_ways_to_mosquitto_does_not_come_back() {
    // As a bridge it is told to keep a message from whom it came; a plain client of 3.1.1 gets its own messages.
    for (protocol, is_told) in [("5", true), ("3.1.1", true), ("3.1.1", false)] {
        let there = Mosquitto::start("");
        let private = u8::from(is_told);
        let more = format!("\toption protocol '{protocol}'\n\toption try_private '{private}'\n");
        let here = Broker::start_on(root_with(
            0,
            &bridge("up", there.port, &["# both 2"], &more),
            "",
        ));
        wait_for_link(&here, 0, "up");
        let (mut from_here, mut from_there) = clients(&here, &there);
        let mut at_here = subscriber(here.address("open"), "at-here", &[("#", 2)]);
        let mut at_there = subscriber(there.address(), "at-there", &[("#", 2)]);
        wait_for_way(&mut from_there, "probe", &mut at_here);
        wait_for_way(&mut from_here, "probe", &mut at_there);
        goes(&mut from_here, "h", &mut at_there, "h");
        for qos in 0..3 {
            assert_eq!(take(&mut at_here).payload, format!("h {qos}").as_bytes());
        }
        goes(&mut from_there, "t", &mut at_here, "t");
        for qos in 0..3 {
            assert_eq!(take(&mut at_there).payload, format!("t {qos}").as_bytes());
        }
    }
}

#[test]
fn a_mosquitto_may_have_its_bridge_to_this_bus() {
    for version in ["mqttv311", "mqttv50"] {
        let port = free_port();
        let here = Broker::start(&open_on(port));
        let lines = format!(
            "connection up\naddress 127.0.0.1:{port}\nbridge_protocol_version {version}\n\
             topic # both 2\nremote_clientid its-bridge\nrestart_timeout 1\n"
        );
        let there = Mosquitto::start_on(Root::new(), free_port(), &lines);
        let (mut from_here, mut from_there) = clients(&here, &there);
        let mut at_here = subscriber(here.address("open"), "at-here", &[("#", 2)]);
        let mut at_there = subscriber(there.address(), "at-there", &[("#", 2)]);
        wait_for_way(&mut from_there, "probe", &mut at_here);
        wait_for_way(&mut from_here, "probe", &mut at_there);
        goes(&mut from_here, "h", &mut at_there, "h");
        for qos in 0..3 {
            assert_eq!(take(&mut at_here).payload, format!("h {qos}").as_bytes());
        }
        goes(&mut from_there, "t", &mut at_here, "t");
        let state = "$SYS/broker/connection/its-bridge/state";
        let mut watcher = subscriber(here.address("open"), "watcher", &[(state, 1)]);
        assert_eq!(take(&mut watcher).payload, b"1");
        drop(there);
        assert_eq!(take(&mut watcher).payload, b"0", "{version}");
    }
}
