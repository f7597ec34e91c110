//! Shared Subscriptions (4.8.2), in both versions.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{BOTH, Connect, Version};

#[test]
fn each_message_goes_to_one_member_of_a_group_of_both_versions() {
    let broker = Broker::start(LOCAL);
    let mut members =
        BOTH.map(|version| broker.join(&Connect::new(version, &format!("{version:?}"))));
    for member in &mut members {
        assert_eq!(member.subscribe("$share/group/jobs/+", 1), 1);
    }
    let mut publisher = broker.join(&Connect::new(Version::V311, "publisher"));
    for n in 0..10 {
        publisher.publish("jobs/x", &n.to_string());
    }
    publisher.ping();
    let mut got: Vec<String> = Vec::new();
    for member in &mut members {
        got.extend((0..5).map(|_| member.text()));
        member.ping();
    }
    got.sort();
    assert_eq!(got, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_filter_and_the_same_filter_shared_are_two_subscriptions() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "client"));
    client.subscribe("$share/group/t", 0);
    client.subscribe("t", 0);
    client.publish("t", "x");
    assert_eq!([client.text(), client.text()], ["x", "x"]);
    client.unsubscribe("t");
    client.publish("t", "y");
    assert_eq!(client.text(), "y");
    client.ping();
}
