//! Hostile input 62: WebSocket requests and frames that no honest client sends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Victim;
use super::siege::{Siege, UCI};
use crate::harness::broker::take_all_descriptors;
use crate::harness::packet::{BOTH, Connect, Publish, Version};
use crate::harness::websocket::{BINARY, CLOSE, PING, PONG, REQUEST, TEXT, WebSocket, frame};

/// The victim's side, with a listener for web pages beside the one of the bystander.
const WEB: &str = "config global 'global'\n\toption connect_timeout '2'\n\toption max_packet_size '1M'\n\n\
    config local 'local'\n\toption port '0'\n\n\
    config listener 'web'\n\toption port '0'\n\tlist address '127.0.0.1'\n\toption protocol 'websocket'\n";

/// A header of a binary frame that promises so many bytes, with its mask.
fn promise(size: u64) -> Vec<u8> {
    let mut bytes = vec![BINARY, 0xFF];
    bytes.extend(size.to_be_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// Frames that break the protocol, each with the status that it is closed by.
fn broken() -> Vec<(Vec<u8>, u16)> {
    let masked = |first| (frame(first, b"x"), 1002);
    let mut all = vec![
        (vec![BINARY, 2, 0xC0, 0], 1002),
        (frame(TEXT, b"text"), 1003),
        (frame(0x01, b"text in fragments"), 1003),
        (frame(0x80, b"continues nothing"), 1002),
        ([frame(0x02, &[0xC0]), frame(BINARY, &[0])].concat(), 1002),
        (vec![PING, 0xFE, 0, 126, 0, 0, 0, 0], 1002),
        (vec![CLOSE, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], 1002),
        (frame(CLOSE, &[3]), 1002),
        (frame(CLOSE, &1005u16.to_be_bytes()), 1002),
        (frame(CLOSE, &[0x03, 0xE8, 0xC3, 0x28]), 1007),
        (promise(1 << 63), 1009),
        (promise(u64::MAX), 1009),
        (promise((1 << 20) + 1), 1009),
        (promise(5), 1002),
    ];
    all.extend([0x08, 0x09, 0x0A].map(masked));
    all.extend([0xC2, 0xA2, 0x92, 0x83, 0x87, 0x8B, 0x8F].map(masked));
    all
}

#[test]
fn frames_that_break_the_protocol_are_closed_by_their_status_before_and_after_connect_62() {
    let mut victim = Victim::with_uci(WEB);
    let address = victim.broker.address("web");
    for (bytes, code) in broken() {
        let mut stranger = WebSocket::open(address);
        stranger.send_bytes(&bytes);
        stranger.closed(code);
        for version in BOTH {
            let connect = victim.broker.as_local(&Connect::new(version, "attacker"));
            let mut member = WebSocket::open(address);
            member.send(BINARY, &connect.encode());
            assert!(member.frame().is_some_and(|(_, connack)| connack[3] == 0));
            member.send_bytes(&bytes);
            member.closed(code);
        }
    }
    victim.unharmed();
}

#[test]
fn packets_split_over_many_frames_and_many_in_one_cost_no_memory_62() {
    let mut victim = Victim::with_uci(WEB);
    let connect = victim
        .broker
        .as_local(&Connect::new(Version::V311, "attacker"));
    let mut attacker = WebSocket::open(victim.broker.address("web"));
    let bytes: Vec<u8> = connect
        .encode()
        .iter()
        .flat_map(|byte| frame(BINARY, &[*byte]))
        .collect();
    attacker.send_bytes(&bytes);
    assert!(attacker.frame().is_some());
    attacker.send_bytes(&frame(0x02, &[]));
    attacker.send_bytes(&frame(0x00, &[]).repeat(100_000));
    let publish = Publish::new("nowhere", "").encode(Version::V311);
    attacker.send_bytes(&frame(0x80, &publish.repeat(20_000)));
    attacker.send(PING, b"done");
    assert_eq!(attacker.frame(), Some((PONG, b"done".to_vec())));
    victim.unharmed();
}

#[test]
fn a_megabyte_of_frame_before_connect_is_refused_at_its_first_byte_62() {
    let mut victim = Victim::with_uci(WEB);
    let mut attackers = Vec::new();
    for _ in 0..50 {
        let mut attacker = WebSocket::open(victim.broker.address("web"));
        attacker.send_bytes(&promise(1 << 20));
        // The header of a CONNECT of that size.
        attacker.send_bytes(&[0x10, 0xFB, 0xFF, 0x3F]);
        attacker.send_bytes(&[0; 4096]);
        attackers.push(attacker);
    }
    for mut attacker in attackers {
        attacker.closed(1000);
    }
    victim.unharmed();
}

#[test]
fn pings_whose_answers_nobody_reads_fill_no_memory_62() {
    let mut victim = Victim::with_uci(WEB);
    let connect = victim
        .broker
        .as_local(&Connect::new(Version::V311, "attacker"));
    let mut attacker = WebSocket::open(victim.broker.address("web"));
    attacker.send(BINARY, &connect.encode());
    let pings = frame(PING, &[b'x'; 125]).repeat(1000);
    for _ in 0..400 {
        attacker.send_bytes(&pings);
    }
    victim.unharmed();
    // The last one is answered all the same.
    attacker.send(PING, b"done");
    while attacker.frame().expect("it is still there") != (PONG, b"done".to_vec()) {}
}

#[test]
fn requests_without_end_and_of_any_size_are_refused_62() {
    let mut victim = Victim::with_uci(WEB);
    let address = victim.broker.address("web");
    let long = REQUEST.replace("Host", &format!("Cookie: {}\r\nHost", "x".repeat(9000)));
    let many = REQUEST.replace("Host", &format!("{}Host", "A: b\r\n".repeat(2000)));
    let endless = "GET /".to_owned() + &"x".repeat(100_000);
    for request in [
        long,
        many,
        endless,
        "\u{16}\u{3}\u{1}".into(),
        "\r\n".into(),
    ] {
        let mut attacker = WebSocket::dial(address);
        attacker.send_bytes(request.as_bytes());
        // What is left unread of a long one may cost its sender the answer.
        let answer = attacker.rest();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "));
    }
    for request in [
        REQUEST.replace("GET", "get"),
        REQUEST.replace("HTTP/1.1", "HTTP/1.1\0"),
        REQUEST.replace("Host", " folded: line\r\nHost"),
        REQUEST.replace("Host", "Host: twice\r\nHost"),
        REQUEST.replace(
            "Host",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\nHost",
        ),
        REQUEST.replace("Host", "Origin: http://a\r\nOrigin: http://b\r\nHost"),
    ] {
        let answer = WebSocket::dial(address).ask(&request);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
    }
    victim.unharmed();
}

#[test]
fn a_page_of_a_bad_origin_is_refused_and_cannot_write_to_the_log_62() {
    let mut victim = Victim::with_uci(&format!("{WEB}\tlist origin 'https://router.lan'\n"));
    for origin in ["null", "https://router.lan.evil.example", "\u{1b}[31m", ""] {
        let request = REQUEST.replace("Host", &format!("Origin: {origin}\r\nHost"));
        let answer = WebSocket::dial(victim.broker.address("web")).ask(&request);
        assert!(
            answer.starts_with("HTTP/1.1 403 ") || answer.starts_with("HTTP/1.1 400 "),
            "{answer}"
        );
    }
    let log = victim.broker.log().lines();
    assert!(log.iter().all(|line| !line.contains('\u{1b}')));
    victim.unharmed();
}

#[test]
fn a_request_that_comes_byte_by_byte_and_one_without_connect_are_closed_in_time_62() {
    let mut victim = Victim::with_uci(WEB);
    let address = victim.broker.address("web");
    let mut upgraded = WebSocket::open(address);
    let mut slow = crate::harness::client::Client::dial(address);
    let is_closed = REQUEST.bytes().any(|byte| {
        slow.send(&[byte]);
        slow.is_closed_within(Duration::from_millis(50))
    });
    assert!(is_closed, "each byte must not buy new time");
    upgraded.send(PING, b"this is no CONNECT");
    while upgraded.frame().is_some() {}
    victim.unharmed();
}

#[test]
fn more_connections_than_memory_takes_are_refused_62() {
    take_all_descriptors();
    let siege = Siege::with_uci(&format!(
        "{UCI}\nconfig listener 'web'\n\toption port '0'\n\tlist address '127.0.0.1'\n\toption protocol 'websocket'\n\
         \toption allow_anonymous '1'\n\toption max_connections '20000'\n"
    ));
    let address = siege.broker.address("web");
    let attempt = |number: u32| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let connect = Connect::new(Version::V311, &format!("idle {number}"));
        let bytes = [REQUEST.as_bytes(), &frame(BINARY, &connect.encode())].concat();
        // An error means that it was refused.
        let _ = stream.write_all(&bytes);
        let mut answer = Vec::new();
        // The CONNACK in its frame is the last.
        while !answer.ends_with(&[BINARY, 4, 0x20, 2, 0, 0]) {
            let mut chunk = [0; 512];
            match stream.read(&mut chunk) {
                Ok(count) if count > 0 => answer.extend_from_slice(&chunk[..count]),
                _ => return None,
            }
        }
        Some(stream)
    };
    let crowd: Vec<TcpStream> = (0..3500).filter_map(attempt).collect();
    let inside = crowd.len();
    assert!((500..3000).contains(&inside), "{inside} came in");
    siege.survived();
}
