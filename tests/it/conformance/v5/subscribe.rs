//! Chapter 3.8 of 5.0: subscription options.

use crate::conformance::raw::is_closed;
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Packet, Version, subscribe};

#[test]
fn no_local_keeps_a_client_s_own_messages_from_it_3_8_3_3() {
    let broker = Broker::start(LOCAL);
    let mut client = broker.join(&Connect::new(Version::V5, "a"));
    client.send(&subscribe(Version::V5, 1, &[("a", 0x04)]));
    client.expect(|packet| matches!(packet, Packet::Suback { .. }));
    client.publish("a", "my own");
    let mut other = broker.join(&Connect::new(Version::V5, "other"));
    client.ping();
    other.publish("a", "another's");
    assert_eq!(client.text(), "another's");
}

#[test]
fn reserved_bits_of_subscription_options_are_malformed_3_8_3_5() {
    let broker = Broker::start(LOCAL);
    // QoS 3 and Retain Handling 3 are no reserved bits but values that are not allowed.
    for (options, reason) in [(0x40, 0x81), (0x80, 0x81), (0x03, 0x82), (0x30, 0x82)] {
        let bytes = subscribe(Version::V5, 1, &[("a", options)]);
        is_closed(&broker, Version::V5, &bytes, reason);
    }
}

#[test]
fn no_local_on_a_shared_subscription_closes_the_connection_3_8_3_4() {
    let broker = Broker::start(LOCAL);
    let bytes = subscribe(Version::V5, 1, &[("$share/group/a", 0x04)]);
    is_closed(&broker, Version::V5, &bytes, 0x82);
}
