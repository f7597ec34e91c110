//! A message of 10,485,760 bytes, the largest that the router's programs send.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::client::Client;
use crate::harness::packet::{self, BOTH, Connect, Packet, Publish};

const SIZE: usize = 10_485_760;

#[test]
fn a_message_of_ten_mebibytes_passes_whole_in_both_directions() {
    let broker = Broker::start(LOCAL);
    // No two places of it look alike, so that a lost or doubled piece shows.
    let payload: Vec<u8> = (0..SIZE / 4)
        .flat_map(|number| (number as u32).to_be_bytes())
        .collect();
    for version in BOTH {
        let mut here = broker.join(&Connect::new(version, "here"));
        let mut there = broker.join(&Connect::new(version, "there"));
        here.subscribe("to/here", 1);
        there.subscribe("to/there", 1);
        for qos in 0..=1 {
            carry(&mut here, &mut there, "to/there", &payload, qos);
            carry(&mut there, &mut here, "to/here", &payload, qos);
        }
    }
}

fn carry(from: &mut Client, to: &mut Client, topic: &str, payload: &[u8], qos: u8) {
    let message = Publish::new(topic, payload).qos(qos, from.fresh_packet_id());
    from.send_publish(&message);
    if qos == 1 {
        from.expect(|packet| matches!(packet, Packet::Puback { code: 0, .. }));
    }
    let got = to.message();
    assert_eq!(got.payload.len(), SIZE);
    assert!(got.payload == payload, "the payload is what was sent");
    if qos == 1 {
        to.send(&packet::ack(0x40, got.packet_id));
    }
}

#[test]
fn a_retained_message_of_ten_mebibytes_waits_for_its_reader() {
    let broker = Broker::start(LOCAL);
    let mut publisher = broker.join(&Connect::new(BOTH[0], "publisher"));
    publisher.publish_acknowledged(Publish::new("large", vec![b'x'; SIZE]).qos(1, 0).retained());
    let mut late = broker.join(&Connect::new(BOTH[1], "late"));
    late.subscribe("large", 0);
    assert_eq!(late.message().payload.len(), SIZE);
}
