//! What goes where: directions, prefixes, QoS, the retain flag, and what says that a bridge is connected.

use super::{bridged, subscriber, take, take_text, wait_for_way};
use crate::harness::broker::until;
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Publish, Version};

#[test]
fn messages_go_out_and_come_in_under_their_names_at_any_qos() {
    let (here, there) = bridged(&["# out 2 out/ here/", "# in 2 in/ there/"], "");
    let mut here_in = subscriber(here.address("open"), "here", &[("in/#", 2)]);
    let mut there_out = subscriber(there.address("open"), "there", &[("here/#", 2)]);
    let mut from_here = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "a"));
    let mut from_there = Client::dial(there.address("open")).join(&Connect::new(Version::V5, "b"));
    wait_for_way(&mut from_there, "there/probe", &mut here_in);
    for qos in 0..3 {
        let text = format!("with QoS {qos}");
        let publish = |topic: &str| Publish::new(topic, &text).qos(qos, u16::from(qos > 0));
        for (from, topic) in [(&mut from_here, "out/a/b"), (&mut from_there, "there/a/b")] {
            match qos {
                0 => from.publish(topic, &text),
                _ => assert_eq!(from.publish_acknowledged(publish(topic)), 0),
            }
        }
        let arrived = take(&mut there_out);
        assert_eq!((arrived.topic.as_str(), arrived.qos), ("here/a/b", qos));
        assert_eq!(arrived.payload, text.as_bytes());
        let arrived = take(&mut here_in);
        assert_eq!((arrived.topic.as_str(), arrived.qos), ("in/a/b", qos));
        assert_eq!(arrived.payload, text.as_bytes());
    }
}

#[test]
fn what_goes_both_ways_comes_once_to_each_side() {
    let (here, there) = bridged(&["# both 1"], "");
    let mut at_here = subscriber(here.address("open"), "here", &[("t", 1)]);
    let mut at_there = subscriber(there.address("open"), "there", &[("t", 1), ("probe", 0)]);
    let mut from_here = Client::dial(here.address("open")).join(&Connect::new(Version::V311, "a"));
    let mut from_there =
        Client::dial(there.address("open")).join(&Connect::new(Version::V311, "b"));
    wait_for_way(&mut from_here, "probe", &mut at_there);
    let mut at_probe = subscriber(here.address("open"), "probe", &[("back", 0)]);
    wait_for_way(&mut from_there, "back", &mut at_probe);
    for count in 0..20 {
        from_here.publish_acknowledged(Publish::new("t", format!("h{count}")).qos(1, 1));
        from_there.publish_acknowledged(Publish::new("t", format!("t{count}")).qos(1, 1));
    }
    for client in [&mut at_here, &mut at_there] {
        let mut texts: Vec<String> = (0..40).map(|_| take_text(client)).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 40, "each once");
        client.ping();
    }
}

#[test]
fn retained_messages_are_retained_on_the_other_side_and_cleared_there() {
    let (here, there) = bridged(&["s/# out 1", "r/# in 1"], "");
    let mut from_here = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "a"));
    let mut from_there = Client::dial(there.address("open")).join(&Connect::new(Version::V5, "b"));
    from_here.publish_acknowledged(Publish::new("s/x", "state").qos(1, 1).retained());
    from_there.publish_acknowledged(Publish::new("r/x", "state").qos(1, 1).retained());
    for (broker, topic) in [(&there, "s/x"), (&here, "r/x")] {
        until("it is retained", || {
            let mut late = subscriber(broker.address("open"), "late", &[(topic, 1)]);
            let came = late.came_within(std::time::Duration::from_millis(50));
            came.then_some(())
        });
    }
    from_here.publish_acknowledged(Publish::new("s/x", "").qos(1, 1).retained());
    until("it is cleared", || {
        let mut late = subscriber(there.address("open"), "late", &[("s/x", 1)]);
        (!late.came_within(std::time::Duration::from_millis(50))).then_some(())
    });
}

#[test]
fn both_sides_say_whether_the_bridge_is_connected() {
    let (here, there) = bridged(&["# out"], "\toption client_id 'the-bridge'\n");
    let filter = "$SYS/broker/connection/#";
    let mut at_here = subscriber(here.address("open"), "here", &[(filter, 1)]);
    let mut at_there = subscriber(there.address("open"), "there", &[(filter, 1)]);
    let said = take(&mut at_here);
    assert_eq!(said.topic, "$SYS/broker/connection/up/state");
    assert_eq!(said.payload, b"1");
    let said = take(&mut at_there);
    assert_eq!(said.topic, "$SYS/broker/connection/the-bridge/state");
    assert_eq!(said.payload, b"1");
    let state = || {
        let told = here.root().command(&["bridges", "--json"]).stdout;
        let told: serde_json::Value = serde_json::from_slice(&told).expect("it is JSON");
        assert_eq!(told[0]["name"], "up");
        told[0]["state"].as_str().expect("a word").to_owned()
    };
    assert_eq!(state(), "connected");
    drop(there.stop());
    assert_eq!(take_text(&mut at_here), "0");
    assert_eq!(state(), "waiting");
    drop(here);
}

#[test]
fn the_remote_brokers_clients_are_told_when_the_bridge_is_gone() {
    let (here, there) = bridged(&["# out"], "\toption client_id 'the-bridge'\n");
    let filter = "$SYS/broker/connection/the-bridge/state";
    let mut at_there = subscriber(there.address("open"), "there", &[(filter, 1)]);
    assert_eq!(take_text(&mut at_there), "1");
    drop(here.kill());
    assert_eq!(take_text(&mut at_there), "0");
}

#[test]
fn the_command_bridges_shows_how_they_are() {
    let (here, there) = bridged(&["# out 1"], "");
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "from"));
    from.publish_acknowledged(Publish::new("t", "x").qos(1, 1));
    let shown = |words: &[&str]| {
        let output = here.root().command(words);
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("JSON is text")
    };
    until("it has sent the message", || {
        let bridges = shown(&["bridges", "--json"]);
        (bridges.contains("\"state\":\"connected\"") && bridges.contains("\"messages_out\":1"))
            .then_some(())
    });
    let port = there.address("open").port();
    drop(there.stop());
    until("it says why it is not connected", || {
        let bridges = shown(&["bridges"]);
        let line = bridges.lines().find(|line| line.starts_with("up "))?;
        let is_down = line.contains("waiting") && line.contains(&format!("127.0.0.1:{port}"));
        is_down.then_some(())
    });
}
