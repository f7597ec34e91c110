//! Chapter 4.10 of 5.0: Response Information, and a request that is answered below it.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Publish, Version, property};

const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
const RESPONSE_INFORMATION: u8 = 0x1A;

fn asking(client_id: &str) -> Connect {
    let mut connect = Connect::new(Version::V5, client_id);
    connect
        .properties
        .push((REQUEST_RESPONSE_INFORMATION, vec![1]));
    connect
}

fn text(client: &Client, id: u8) -> Option<String> {
    let connack = client.connack.as_ref().expect("the client has joined");
    let bytes = connack.property(id)?;
    Some(String::from_utf8(bytes[2..].to_vec()).expect("it is a string"))
}

fn information(client: &Client) -> Option<String> {
    text(client, RESPONSE_INFORMATION)
}

#[test]
fn a_client_that_asks_is_told_a_topic_of_its_own_3_1_2_28() {
    let broker = Broker::start(LOCAL);
    let client = broker.join(&asking("tablet"));
    assert_eq!(information(&client).as_deref(), Some("reply/tablet"));
    let client = broker.join(&asking(""));
    let assigned = text(&client, property::ASSIGNED_CLIENT_IDENTIFIER).expect("it has none");
    assert_eq!(information(&client), Some(format!("reply/{assigned}")));
}

#[test]
fn a_request_is_answered_below_the_topic_that_was_told() {
    let broker = Broker::start(LOCAL);
    let mut requester = broker.join(&asking("tablet"));
    let topic = information(&requester).expect("it has asked") + "/lamp";
    requester.subscribe(&topic, 1);
    let mut responder = broker.join(&Connect::new(Version::V5, "lamp"));
    responder.subscribe("lamp/state", 0);
    let mut request = Publish::new("lamp/state", "?");
    let mut response_topic = Vec::new();
    crate::harness::packet::put_string(&mut response_topic, topic.as_bytes());
    let correlation = (CORRELATION_DATA, vec![0, 1, 42]);
    request.properties = vec![(RESPONSE_TOPIC, response_topic), correlation.clone()];
    requester.send_publish(&request);
    let asked = responder.message();
    let (_, to) = &asked.properties[0];
    let to = String::from_utf8(to[2..].to_vec()).expect("a topic is text");
    let mut response = Publish::new(&to, "on");
    response.properties = vec![asked.properties[1].clone()];
    responder.send_publish(&response);
    let answer = requester.message();
    assert_eq!((&*answer.topic, &*answer.payload), (&*topic, &b"on"[..]));
    assert_eq!(answer.properties, [correlation]);
}

#[test]
fn no_topic_is_told_that_the_client_could_not_subscribe_below() {
    let rule = "\nconfig acl\n\tlist topic 'reply/guest/#'\n\toption access 'deny'\n\
        \toption action 'deny'\n";
    let broker = Broker::start(&format!("{LOCAL}{rule}"));
    assert_eq!(information(&broker.join(&asking("guest"))), None);
    assert!(information(&broker.join(&asking("other"))).is_some());
    // A client id that is no level of its own would be a topic, or a filter, of others.
    for client_id in ["a/b", "+", "#"] {
        assert_eq!(information(&broker.join(&asking(client_id))), None);
    }
}

#[test]
fn the_topic_is_as_the_client_sees_it_and_as_the_option_says() {
    let global = "config global 'global'\n\toption response_information 'rpc/%u/%c'\n";
    let rule = "\nconfig acl\n\tlist topic 'guests/rpc/anna/denied/#'\n\toption action 'deny'\n";
    let broker = Broker::start(&format!(
        "{global}{LOCAL}\nconfig listener 'guest'\n\toption port '0'\n\tlist address '127.0.0.1'\n\
         \toption allow_anonymous '1'\n\toption mount_point 'guests/'\n{rule}"
    ));
    assert!(broker.root().passwd("anna", "password").status.success());
    broker.reload_files();
    let guest = |connect: &Connect| Client::dial(broker.address("guest")).join(connect);
    let anna = |id: &str| guest(&asking(id).user("anna", "password"));
    assert_eq!(information(&anna("a")).as_deref(), Some("rpc/anna/a"));
    assert_eq!(information(&anna("denied")), None, "by the bus's own topic");
    assert_eq!(
        information(&guest(&asking("a"))),
        None,
        "it has no user name"
    );
}
