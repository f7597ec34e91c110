//! A mount point: the prefix that the topics of a listener's clients have on the bus, and that these clients do not see.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{BOTH, Connect, Publish, Version};

/// A broker with a listener `guest` whose clients are below `guests/`, and more of its configuration.
fn broker(more: &str) -> Broker {
    Broker::start(&format!(
        "{LOCAL}\nconfig listener 'guest'\n\toption port '0'\n\tlist address '127.0.0.1'\n\
         \toption allow_anonymous '1'\n\toption mount_point 'guests/'\n{more}"
    ))
}

fn guest(broker: &Broker, connect: &Connect) -> Client {
    Client::dial(broker.address("guest")).join(connect)
}

#[test]
fn topics_get_the_prefix_on_the_bus_and_lose_it_on_their_way_back() {
    let broker = broker("");
    for version in BOTH {
        let mut guest = guest(&broker, &Connect::new(version, "guest"));
        let mut local = broker.join(&Connect::new(version, "local"));
        local.subscribe("guests/#", 2);
        for filter in ["#", "+", "a"] {
            guest.subscribe(filter, 0);
            guest.publish("a", "from a guest");
            assert_eq!(local.message().topic, "guests/a");
            assert_eq!(guest.message().topic, "a", "by {filter}");
            local.publish("b", "not for guests");
            local.publish("a", "not for guests either");
            local.publish("guests/a", "for guests");
            assert_eq!(
                guest.message(),
                Publish::new("a", "for guests"),
                "by {filter}"
            );
            assert_eq!(local.text(), "for guests");
            guest.unsubscribe(filter);
            local.publish("guests/a", "nobody is subscribed");
            assert_eq!(local.text(), "nobody is subscribed");
        }
        guest.ping();
        guest.disconnect();
        local.disconnect();
    }
}

#[test]
fn guests_see_each_other_and_a_message_for_all_versions_is_the_same() {
    let broker = broker("");
    let mut guests: Vec<Client> = BOTH
        .into_iter()
        .cycle()
        .take(6)
        .enumerate()
        .map(|(number, version)| {
            let mut guest = guest(&broker, &Connect::new(version, &format!("guest-{number}")));
            guest.subscribe("a/+", 0);
            guest
        })
        .collect();
    let mut locals = BOTH.map(|version| {
        let mut local = broker.join(&Connect::new(version, &format!("{version:?}")));
        local.subscribe("guests/a/+", 0);
        local
    });
    for number in 0..6 {
        let text = number.to_string();
        guests[number].publish("a/b", &text);
        for guest in &mut guests {
            assert_eq!(guest.message(), Publish::new("a/b", &text));
        }
        for local in &mut locals {
            assert_eq!(local.message(), Publish::new("guests/a/b", &text));
        }
    }
}

#[test]
fn a_retained_message_and_a_will_have_the_prefix_too() {
    let broker = broker("");
    for version in BOTH {
        let mut local = broker.join(&Connect::new(version, "local"));
        let connect = Connect::new(version, "mortal").will("will", "gone");
        let mut mortal = guest(&broker, &connect);
        mortal.send_publish(&Publish::new("kept", "by a guest").retained());
        mortal.ping();
        local.subscribe("#", 0);
        assert_eq!(
            local.message(),
            Publish::new("guests/kept", "by a guest").retained()
        );
        drop(mortal);
        assert_eq!(local.message(), Publish::new("guests/will", "gone"));
        let mut late = guest(&broker, &Connect::new(version, "late"));
        late.subscribe("kept", 0);
        assert_eq!(
            late.message(),
            Publish::new("kept", "by a guest").retained()
        );
        late.send_publish(&Publish::new("kept", "").retained());
        late.ping_past_messages();
        let mut later = guest(&broker, &Connect::new(version, "later"));
        later.subscribe("#", 0);
        later.publish("end", "end");
        assert_eq!(later.text(), "end", "the retained message was cleared");
        for client in [late, later, local] {
            client.disconnect();
        }
    }
}

#[test]
fn what_waits_for_a_session_comes_without_the_prefix() {
    let broker = broker("");
    for version in BOTH {
        let connect = Connect::new(version, "away").persistent();
        let mut client = guest(&broker, &connect);
        client.subscribe("a", 1);
        client.disconnect();
        let mut local = broker.join(&Connect::new(version, "local"));
        local.publish_acknowledged(Publish::new("guests/a", "queued").qos(1, 0));
        assert_eq!(guest(&broker, &connect).message().topic, "a");
        guest(&broker, &Connect::new(version, "away")).disconnect();
        local.disconnect();
    }
}

#[test]
fn rules_know_topics_as_they_are_on_the_bus() {
    let broker = broker(
        "\nconfig acl\n\toption access 'write'\n\tlist topic 'guests/secret'\n\toption action 'deny'\n",
    );
    let mut guest = guest(&broker, &Connect::new(Version::V5, "guest"));
    let mut code = |topic: &str| guest.publish_acknowledged(Publish::new(topic, "x").qos(1, 0));
    assert_eq!(code("secret"), 0x87);
    assert_ne!(code("guests/secret"), 0x87, "that is guests/guests/secret");
}

#[test]
fn an_aliased_topic_keeps_the_prefix_that_it_was_set_with() {
    let broker = broker("");
    let mut local = broker.join(&Connect::new(Version::V5, "local"));
    local.subscribe("#", 0);
    let mut guest = guest(&broker, &Connect::new(Version::V5, "guest"));
    for topic in ["a", ""] {
        guest.send_publish(&Publish {
            properties: vec![(0x23, 1u16.to_be_bytes().to_vec())],
            ..Publish::new(topic, "x")
        });
        assert_eq!(local.message().topic, "guests/a");
    }
}
