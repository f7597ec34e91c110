//! Strings that a log, a topic or an identity must not be fooled by: hostile inputs 27, 28, 32, 51, 52 and 64 in part.

use super::Victim;
use crate::harness::packet::{BOTH, Connect, Publish, Version, put_string};

#[test]
fn a_client_id_cannot_write_a_line_of_the_log_64() {
    let victim = Victim::new();
    let forged = "x'\nnotice: forged\r\u{1b}[31m";
    let right = victim.broker.as_local(&Connect::new(Version::V311, forged));
    let wrong = Connect::new(Version::V311, forged).user("u\nnotice: forged", "x");
    for connect in [right, wrong] {
        // It may be accepted, refused or closed; only the log matters here.
        let mut client = victim.broker.dial();
        client.send(&connect.encode());
        client.receive_or_close();
    }
    let mut last = victim.member(Version::V5);
    last.ping();
    for line in victim.broker.log().lines() {
        assert!(
            !line.starts_with("notice: forged"),
            "a client wrote a line of the log"
        );
        assert!(
            !line.contains('\u{1b}') && !line.contains('\r'),
            "a control character in {line:?}"
        );
    }
}

#[test]
fn strings_that_are_no_utf_8_are_closed_27() {
    let mut victim = Victim::new();
    for bytes in [
        &b"\xC0\x80"[..],
        b"\xED\xA0\x80",
        b"\xFF",
        b"a\0b",
        b"\xF4\x90\x80\x80",
    ] {
        for version in BOTH {
            let mut connect = victim.broker.as_local(&Connect::new(version, ""));
            connect.client_id = bytes.to_vec();
            let mut attacker = victim.broker.dial();
            attacker.send(&connect.encode());
            attacker.refused();
            let mut member = victim.member(version);
            let mut body = Vec::new();
            put_string(&mut body, bytes);
            if version == Version::V5 {
                body.push(0);
            }
            member.send(&crate::harness::packet::frame(0x30, &body));
            member.closed();
        }
    }
    victim.unharmed();
}

#[test]
fn topics_that_are_none_are_closed_28() {
    let mut victim = Victim::new();
    for version in BOTH {
        for topic in ["", "a/+", "#", "+/b"] {
            let mut member = victim.member(version);
            member.send(&Publish::new(topic, "x").encode(version));
            member.closed();
        }
    }
    victim.unharmed();
}

#[test]
fn filters_that_are_none_are_refused_32() {
    let mut victim = Victim::new();
    for version in BOTH {
        for filter in ["", "a/#/b", "a#", "a+", "+a/b", "#/a"] {
            let mut member = victim.member(version);
            member.send_subscribe(filter, 0);
            match member.receive_or_close() {
                Some(crate::harness::packet::Packet::Suback { codes, .. }) => {
                    assert!(codes[0] >= 0x80, "{filter}")
                }
                Some(crate::harness::packet::Packet::Disconnect { code }) => {
                    assert!(code >= 0x80, "{filter}")
                }
                Some(other) => panic!("{filter} is answered by {other:?}"),
                None => {}
            }
        }
    }
    victim.unharmed();
}
