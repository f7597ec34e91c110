//! Hostile inputs 1 to 15: what a connection sends first, and packets that only a broker may send.

use std::time::{Duration, Instant};

use super::Victim;
use crate::harness::broker::LOCAL;
use crate::harness::client::Client;
use crate::harness::packet::{
    BOTH, Connect, PINGREQ, Packet, Publish, Version, ack, frame, subscribe,
};
use crate::harness::pki::REMOTE;
use crate::harness::root::Root;

/// Fixed headers that promise 256 MB less one byte.
const HUGE: [u8; 4] = [0xFF, 0xFF, 0xFF, 0x7F];

/// The settings that make a slow attacker be closed within a test's time.
fn impatient() -> String {
    format!("config global 'global'\n\toption connect_timeout '1'\n\n{LOCAL}")
}

#[test]
fn a_first_packet_of_256_mb_that_is_no_connect_is_closed_at_its_header_1() {
    let mut victim = Victim::new();
    for first_byte in [0x30, 0x82, 0x20, 0xE0, 0xF0] {
        let mut bytes = vec![first_byte];
        bytes.extend(HUGE);
        bytes.extend([0; 4096]);
        victim.attack(&bytes);
    }
}

#[test]
fn a_first_packet_that_is_no_connect_is_closed_at_its_first_byte_1() {
    let mut victim = Victim::new();
    for first_byte in [0x00, 0x11, 0x30, 0x82, 0xC0, 0xE0, 0xF0] {
        let mut attacker = victim.broker.dial();
        // Nothing follows, and the broker does not wait for it: that would take until `connect_timeout`.
        attacker.send(&[first_byte]);
        assert!(
            attacker.is_closed_within(Duration::from_secs(8)),
            "{first_byte:#04x}"
        );
    }
    victim.unharmed();
}

#[test]
fn a_connect_of_256_mb_is_closed_at_its_header_1() {
    let mut victim = Victim::new();
    let mut bytes = vec![0x10];
    bytes.extend(HUGE);
    bytes.extend([0; 4096]);
    victim.attack(&bytes);
}

#[test]
fn a_connect_that_comes_byte_by_byte_is_closed_in_time_2() {
    let mut victim = Victim::with_uci(&impatient());
    let bytes = victim
        .broker
        .as_local(&Connect::new(Version::V311, &"slow".repeat(10_000)))
        .encode();
    let start = Instant::now();
    let mut attacker = victim.broker.dial();
    for byte in bytes {
        attacker.send(&[byte]);
        if attacker.is_closed_within(Duration::from_millis(50)) {
            break;
        }
        assert!(
            start.elapsed() < *crate::harness::PATIENCE,
            "each byte must not buy new time"
        );
    }
    victim.unharmed();
}

#[test]
fn a_tls_hello_and_then_silence_is_closed_in_time_3() {
    let root = Root::with_uci(&format!(
        "{}\nconfig remote 'remote'\n\toption enabled '1'\n\toption port '0'\n",
        impatient()
    ));
    REMOTE.install(&root);
    let broker = crate::harness::broker::Broker::start_on(root);
    // A record header that promises a handshake message of 512 bytes, and its first bytes.
    for hello in [
        &[
            0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03,
        ][..],
        &[],
    ] {
        let mut attacker = Client::dial(broker.address("remote"));
        attacker.send(hello);
        attacker.bytes_until_close();
    }
    broker.join(&Connect::new(Version::V311, "a")).ping();
}

#[test]
fn a_connection_that_says_nothing_is_closed_in_time_4() {
    let mut victim = Victim::with_uci(&impatient());
    assert_eq!(victim.broker.dial().closed(), []);
    victim.unharmed();
}

#[test]
fn a_length_of_five_bytes_is_closed_5() {
    let mut victim = Victim::new();
    victim.attack(&[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 0, 0]);
    victim.attack(&[0x10, 0x80, 0x80, 0x80, 0x80, 0x00]);
    for version in BOTH {
        let mut member = victim.member(version);
        member.send(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]);
        member.closed();
        victim.unharmed();
    }
}

#[test]
fn a_length_that_is_longer_than_it_must_be_is_closed_6() {
    let mut victim = Victim::new();
    let connect = victim
        .broker
        .as_local(&Connect::new(Version::V5, "a"))
        .encode();
    assert!(connect[1] < 0x80, "the length has one byte");
    let mut padded = vec![connect[0], connect[1] | 0x80, 0];
    padded.extend(&connect[2..]);
    victim.attack(&padded);
}

#[test]
fn a_packet_that_ends_early_is_dropped_with_its_connection_7() {
    let mut victim = Victim::new();
    let connect = victim
        .broker
        .as_local(&Connect::new(Version::V311, "a"))
        .encode();
    for length in 0..connect.len() {
        let mut attacker = victim.broker.dial();
        attacker.send(&connect[..length]);
        drop(attacker);
    }
    let mut member = victim.member(Version::V311);
    let publish = Publish::new("to/bystander", "whole").encode(Version::V311);
    member.send(&publish[..publish.len() - 1]);
    drop(member);
    victim.unharmed();
}

#[test]
fn a_second_connect_is_closed_8() {
    let mut victim = Victim::new();
    for version in BOTH {
        let mut member = victim.member(version);
        member.send(&Connect::new(version, "another").encode());
        member.closed_because(0x82);
        victim.unharmed();
    }
}

#[test]
fn the_reserved_connect_flag_is_refused_9() {
    let mut victim = Victim::new();
    for version in BOTH {
        let connect = victim.broker.as_local(&Connect::new(version, "a"));
        let level = if version == Version::V5 { 5 } else { 4 };
        victim.attack(&connect.encode_as(b"MQTT", level, connect.flags() | 1));
    }
}

#[test]
fn reserved_flags_of_the_fixed_header_are_closed_9() {
    let mut victim = Victim::new();
    for version in BOTH {
        let wrong: [&[u8]; 6] = [
            &[0xC1, 0],
            &[0xE1, 0],
            &[0x60, 2, 0, 1],
            &[0x41, 2, 0, 1],
            &[0x80, 6, 0, 1, 0, 1, b'a', 0],
            &[0xA0, 5, 0, 1, 0, 1, b'a'],
        ];
        for bytes in wrong {
            let mut member = victim.member(version);
            member.send(bytes);
            member.closed();
        }
        let mut connect = victim.broker.as_local(&Connect::new(version, "a")).encode();
        connect[0] = 0x11;
        victim.attack(&connect);
    }
}

#[test]
fn will_flags_without_a_will_are_refused_10() {
    let mut victim = Victim::new();
    for version in BOTH {
        let level = if version == Version::V5 { 5 } else { 4 };
        let connect = victim.broker.as_local(&Connect::new(version, "a"));
        for extra in [0x08, 0x10, 0x18, 0x20] {
            victim.attack(&connect.encode_as(b"MQTT", level, connect.flags() | extra));
        }
        let with_will = connect.clone().will("a", "x");
        victim.attack(&with_will.encode_as(b"MQTT", level, with_will.flags() | 0x18));
    }
}

#[test]
fn in_3_1_1_a_password_without_a_user_name_is_refused_11() {
    let mut victim = Victim::new();
    let mut connect = victim.broker.as_local(&Connect::new(Version::V311, "a"));
    connect.user_name = None;
    victim.attack(&connect.encode());
}

#[test]
fn protocol_names_and_levels_that_do_not_belong_together_are_refused_12() {
    let mut victim = Victim::new();
    let connect = victim.broker.as_local(&Connect::new(Version::V311, "a"));
    for (name, level) in [
        (&b"MQIsdp"[..], 4),
        (b"MQIsdp", 5),
        (b"MQTT", 3),
        (b"MQTT", 6),
        (b"MQTT", 0),
        (b"MQTT", 255),
        (b"mqtt", 4),
        (b"MQTX", 4),
        (b"MQTTT", 4),
    ] {
        victim.attack(&connect.encode_as(name, level, connect.flags()));
    }
}

#[test]
fn the_bridge_bit_of_the_level_is_a_known_level_or_refused_12() {
    let mut victim = Victim::new();
    let connect = victim.broker.as_local(&Connect::new(Version::V311, "a"));
    let mut client = victim.broker.dial();
    client.send(&connect.encode_as(b"MQTT", 0x84, connect.flags()));
    match client.receive_or_close() {
        Some(Packet::Connack(connack)) if connack.code == 0 => client.ping(),
        Some(Packet::Connack(connack)) => assert_eq!(connack.code, 1),
        other => assert_eq!(other, None),
    }
    victim.unharmed();
}

#[test]
fn protocol_names_of_no_and_of_all_lengths_are_refused_13() {
    let mut victim = Victim::new();
    let connect = victim.broker.as_local(&Connect::new(Version::V311, "a"));
    victim.attack(&connect.encode_as(b"", 4, connect.flags()));
    victim.attack(&connect.encode_as(&[b'M'; 65_535], 4, connect.flags()));
    // The name's length reaches past the packet.
    victim.attack(&frame(
        0x10,
        &[0xFF, 0xFF, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0],
    ));
}

#[test]
fn what_only_a_broker_may_send_is_closed_before_connect_14() {
    let mut victim = Victim::new();
    for bytes in server_packets() {
        victim.attack(&bytes);
    }
}

#[test]
fn what_only_a_broker_may_send_is_closed_after_connect_14() {
    let mut victim = Victim::new();
    for version in BOTH {
        for bytes in server_packets() {
            let mut member = victim.member(version);
            member.send(&bytes);
            member.closed();
        }
        victim.unharmed();
    }
}

#[test]
fn what_a_client_may_send_later_is_closed_before_connect_14() {
    let mut victim = Victim::new();
    for version in BOTH {
        victim.attack(&Publish::new("to/bystander", "x").encode(version));
        victim.attack(&subscribe(version, 1, &[("#", 0)]));
        victim.attack(&PINGREQ);
        victim.attack(&ack(0x40, 1));
        victim.attack(&ack(0x62, 1));
    }
}

#[test]
fn an_authentication_packet_that_nobody_asked_for_is_closed_14() {
    let mut victim = Victim::new();
    victim.attack(&[0xF0, 0]);
    for version in BOTH {
        let mut member = victim.member(version);
        member.send(&[0xF0, 0]);
        member.closed();
        victim.unharmed();
    }
}

#[test]
fn packet_types_0_and_15_are_closed_15() {
    let mut victim = Victim::new();
    victim.attack(&[0x00, 0]);
    victim.attack(&[0xF0, 2, 0, 0]);
    for first_byte in [0x00, 0xF0, 0xFF] {
        let mut member = victim.member(Version::V311);
        member.send(&[first_byte, 0]);
        member.closed();
        victim.unharmed();
    }
}

/// CONNACK, SUBACK, UNSUBACK and PINGRESP, well-formed.
fn server_packets() -> [Vec<u8>; 4] {
    [
        vec![0x20, 2, 0, 0],
        vec![0x90, 3, 0, 1, 0],
        vec![0xB0, 2, 0, 1],
        vec![0xD0, 0],
    ]
}
