//! Bridges come, change and go with the configuration, and those that stay as they are feel nothing of it.

use super::{bridge, open_on, root_with, subscriber, take_text, wait_for_link};
use crate::harness::broker::{Broker, until};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Publish, Version};
use crate::harness::reference::free_port;

/// The configuration with these bridges.
fn uci(broker: &Broker, bridges: &str) -> String {
    let database = broker.root().join("fosquitto.db");
    format!(
        "{}{bridges}config persistence 'persistence'\n\toption path '{}'\n",
        open_on(0),
        database.display()
    )
}

#[test]
fn a_bridge_comes_and_goes_and_the_others_stay() {
    let (one, two) = (Broker::start(&open_on(0)), Broker::start(&open_on(0)));
    let to = |name: &str, broker: &Broker, topics: &[&str]| {
        bridge(name, broker.address("open").port(), topics, "")
    };
    let stays = to("stays", &one, &["a/# out 1"]);
    let here = Broker::start_on(root_with(0, &stays, ""));
    wait_for_link(&here, 0, "stays");
    let mut at_one = subscriber(one.address("open"), "at-one", &[("a/#", 1)]);
    let mut at_two = subscriber(two.address("open"), "at-two", &[("#", 1)]);

    let mark = here.log().mark();
    here.reload(&uci(
        &here,
        &format!("{stays}{}", to("comes", &two, &["b/# out 1"])),
    ));
    wait_for_link(&here, mark, "comes");
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V311, "from"));
    from.publish_acknowledged(Publish::new("a/x", "to one").qos(1, 1));
    from.publish_acknowledged(Publish::new("b/x", "to two").qos(1, 1));
    assert_eq!(take_text(&mut at_one), "to one");
    assert_eq!(take_text(&mut at_two), "to two");

    let mark = here.log().mark();
    here.reload(&uci(
        &here,
        &format!("{stays}{}", to("comes", &two, &["c/# out 1"])),
    ));
    wait_for_link(&here, mark, "comes");
    from.publish_acknowledged(Publish::new("b/x", "no longer").qos(1, 1));
    from.publish_acknowledged(Publish::new("c/x", "instead").qos(1, 1));
    assert_eq!(take_text(&mut at_two), "instead");
    assert!(!here.log().says(0, "bridge 'stays': the connection"));

    here.reload(&uci(&here, &stays));
    from.publish_acknowledged(Publish::new("c/x", "to nobody").qos(1, 1));
    from.publish_acknowledged(Publish::new("a/x", "still").qos(1, 1));
    assert_eq!(take_text(&mut at_one), "still");
    at_two.nothing_for(std::time::Duration::from_millis(200));
    let state = "$SYS/broker/connection/+/state";
    let mut states = subscriber(here.address("open"), "states", &[(state, 0)]);
    assert_eq!(states.message().topic, "$SYS/broker/connection/stays/state");
    states.ping();
    let stayed = here.log().lines();
    let connects = stayed
        .iter()
        .filter(|line| line.contains("bridge 'stays': connected"));
    assert_eq!(connects.count(), 1, "it was not touched");
}

#[test]
fn what_a_bridge_subscribed_to_before_does_not_come_any_more() {
    let there = Broker::start(&open_on(0));
    let port = there.address("open").port();
    let here = Broker::start_on(root_with(
        0,
        &bridge("up", port, &["a in 1", "b in 1"], ""),
        "",
    ));
    wait_for_link(&here, 0, "up");
    let mark = here.log().mark();
    here.reload(&uci(&here, &bridge("up", port, &["b in 1"], "")));
    wait_for_link(&here, mark, "up");
    let mut at_here = subscriber(here.address("open"), "here", &[("#", 1)]);
    let mut from = Client::dial(there.address("open")).join(&Connect::new(Version::V5, "from"));
    until("what it subscribed to is gone", || {
        let nobody = from.publish_acknowledged(Publish::new("a", "x").qos(1, 1)) == 0x10;
        nobody.then_some(())
    });
    from.publish_acknowledged(Publish::new("b", "comes").qos(1, 1));
    assert_eq!(take_text(&mut at_here), "comes");
}

#[test]
fn what_waits_for_a_bridge_that_changes_goes_on_waiting() {
    let there = Broker::start(&open_on(0));
    let port = crate::harness::reference::free_port();
    let here = Broker::start_on(root_with(0, &bridge("up", port, &["a out 1"], ""), ""));
    let mut from = Client::dial(here.address("open")).join(&Connect::new(Version::V5, "from"));
    from.publish_acknowledged(Publish::new("a", "has waited").qos(1, 1));
    let mut at_there = subscriber(there.address("open"), "there", &[("a", 1)]);
    let now_there = bridge("up", there.address("open").port(), &["a out 1"], "");
    here.reload(&uci(&here, &now_there));
    assert_eq!(take_text(&mut at_there), "has waited");
}

#[test]
fn a_bridge_that_waits_tries_again_at_a_reload() {
    let port = free_port();
    let waits = format!(
        "config bridge 'up'\n\tlist address '127.0.0.1:{port}'\n\tlist topic '#'\n\
         \toption restart_timeout '1h'\n\toption restart_timeout_max '1h'\n"
    );
    let here = Broker::start_on(root_with(0, &waits, ""));
    here.log().wait_from(0, "next attempt in 3600.0 s");
    let _there = Broker::start(&open_on(port));
    let mark = here.log().mark();
    here.reload(&uci(&here, &waits));
    wait_for_link(&here, mark, "up");
}
