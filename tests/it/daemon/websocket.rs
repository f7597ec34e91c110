//! MQTT in WebSocket frames: the way in, frames and packets, the end, TLS, and the library that routers' programs use.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use socket2::SockRef;

use super::robust::descriptors;
use crate::harness::broker::{Broker, until};
use crate::harness::client::Client;
use crate::harness::packet::{self, BOTH, Connect, Packet, Publish, Version};
use crate::harness::pki::{Certified, Handshake, REMOTE};
use crate::harness::python::{PAHO, run_script};
use crate::harness::root::Root;
use crate::harness::websocket::{BINARY, CLOSE, PING, PONG, REQUEST, TEXT, WebSocket, frame};

/// The local side, and a listener for web pages that asks for passwords.
const WEB: &str = "config local 'local'\n\toption port '0'\n\n\
    config listener 'web'\n\toption port '0'\n\tlist address '127.0.0.1'\n\toption protocol 'websocket'\n";

/// An MQTT client through the listener.
fn join(broker: &Broker, connect: &Connect) -> Client {
    WebSocket::open(broker.address("web"))
        .client()
        .join(&broker.as_local(connect))
}

/// The bytes of a CONNECT with the local password.
fn connect(broker: &Broker, client_id: &str) -> Vec<u8> {
    broker
        .as_local(&Connect::new(Version::V311, client_id))
        .encode()
}

/// A WebSocket whose CONNECT was accepted.
fn member(broker: &Broker, client_id: &str) -> WebSocket {
    let mut socket = WebSocket::open(broker.address("web"));
    socket.send(BINARY, &connect(broker, client_id));
    assert_eq!(socket.frame(), Some((BINARY, vec![0x20, 2, 0, 0])));
    socket
}

#[test]
fn clients_of_both_kinds_share_one_bus() {
    let broker = Broker::start(WEB);
    for version in BOTH {
        let mut page = join(&broker, &Connect::new(version, "page"));
        let mut plain = broker.join(&Connect::new(version, "plain"));
        assert_eq!(page.subscribe("to/page", 1), 1);
        assert_eq!(plain.subscribe("to/plain", 1), 1);
        page.publish_acknowledged(Publish::new("to/plain", "hello").qos(1, 0));
        assert_eq!(plain.text(), "hello");
        plain.publish("to/page", "welcome");
        assert_eq!(page.text(), "welcome");
        page.ping();
        page.disconnect();
    }
}

#[test]
fn the_answer_proves_that_the_key_was_read_and_chooses_mqtt_6_0_0_4() {
    let broker = Broker::start(WEB);
    for (offered, chosen) in [
        ("mqtt", "mqtt"),
        ("mqttv3.1", "mqttv3.1"),
        ("soap, mqttv3.1, mqtt", "mqtt"),
    ] {
        let request = REQUEST.replace("Protocol: mqtt", &format!("Protocol: {offered}"));
        let answer = WebSocket::dial(broker.address("web")).ask(&request);
        assert_eq!(
            answer,
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: {chosen}\r\n\r\n"
            )
        );
    }
}

#[test]
fn a_request_that_is_no_upgrade_to_mqtt_is_told_why_and_closed() {
    let broker = Broker::start(WEB);
    for (replace, by, status) in [
        ("GET", "POST", "405 Method Not Allowed\r\nAllow: GET\r\n"),
        (
            "Upgrade: websocket\r\n",
            "",
            "426 Upgrade Required\r\nUpgrade: websocket\r\n",
        ),
        (
            "Version: 13",
            "Version: 12",
            "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        ),
        (
            "Connection: Upgrade",
            "Connection: close",
            "400 Bad Request\r\n",
        ),
        (
            "dGhlIHNhbXBsZSBub25jZQ==",
            "c2hvcnQ=",
            "400 Bad Request\r\n",
        ),
        ("Protocol: mqtt", "Protocol: soap", "400 Bad Request\r\n"),
        (
            "Sec-WebSocket-Protocol: mqtt\r\n",
            "",
            "400 Bad Request\r\n",
        ),
        ("HTTP/1.1", "HTTP/1.0", "400 Bad Request\r\n"),
        ("Host: 192.0.2.1:80\r\n", "", "400 Bad Request\r\n"),
    ] {
        let mut socket = WebSocket::dial(broker.address("web"));
        let answer = socket.ask(&REQUEST.replacen(replace, by, 1));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}Connection: close\r\n")),
            "{answer}"
        );
        let size = format!("Content-Length: {}\r\n", socket.rest().len());
        assert!(answer.contains(&size), "{answer}");
    }
    broker.log().wait_from(
        0,
        "on listener 'web': closed: WebSocket handshake failed: the method is not GET",
    );
}

#[test]
fn a_client_that_does_not_offer_mqtt_is_refused_6_0_0_3() {
    let broker = Broker::start(WEB);
    for offered in ["MQTT", "mqttv5", "soap, wamp", ""] {
        let request = REQUEST.replace("Protocol: mqtt", &format!("Protocol: {offered}"));
        let answer = WebSocket::dial(broker.address("web")).ask(&request);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[test]
fn mqtt_without_a_request_is_closed_at_once() {
    let broker = Broker::start(WEB);
    let mut client = Client::dial(broker.address("web"));
    client.send(&connect(&broker, "plain"));
    let answer = client.bytes_until_close();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
}

#[test]
fn packets_may_span_frames_and_frames_may_hold_several_6_0_0_2() {
    let broker = Broker::start(WEB);
    let mut bytes = connect(&broker, "page");
    bytes.extend(packet::subscribe(Version::V311, 1, &[("a", 0)]));
    let first = Publish::new("a", "first").encode(Version::V311);
    let second = Publish::new("a", vec![b'x'; 300]).encode(Version::V311);
    bytes.extend(first.iter().chain(&second));
    let expected = [vec![0x20, 2, 0, 0, 0x90, 3, 0, 1, 0], first, second].concat();
    let framings: [&dyn Fn(&mut WebSocket); 4] = [
        &|socket| socket.send(BINARY, &bytes),
        &|socket| bytes.iter().for_each(|byte| socket.send(BINARY, &[*byte])),
        // One message in fragments, with empty ones and with control frames in between.
        &|socket| {
            socket.send(0x02, &bytes[..1]);
            for byte in &bytes[1..] {
                socket.send(0x00, &[]);
                socket.send(0x00, &[*byte]);
                socket.send(PONG, b"");
            }
            socket.send(0x80, &[]);
        },
        // Frames cut by TCP.
        &|socket| {
            let bytes: Vec<u8> = bytes
                .chunks(7)
                .flat_map(|part| frame(BINARY, part))
                .collect();
            bytes.iter().for_each(|byte| socket.send_bytes(&[*byte]));
        },
    ];
    for framing in framings {
        let mut socket = WebSocket::open(broker.address("web"));
        framing(&mut socket);
        let mut got = Vec::new();
        while got.len() < expected.len() {
            match socket.frame() {
                Some((BINARY, payload)) => got.extend(payload),
                other => panic!("expected a binary frame, got {other:?}"),
            }
        }
        assert_eq!(got, expected);
    }
}

#[test]
fn what_one_turn_sends_is_one_frame() {
    let broker = Broker::start(WEB);
    let mut page = member(&broker, "page");
    page.send(BINARY, &packet::subscribe(Version::V311, 1, &[("a", 0)]));
    assert_eq!(page.frame(), Some((BINARY, vec![0x90, 3, 0, 1, 0])));
    let one = Publish::new("a", "x").encode(Version::V311);
    let hundred = one.repeat(100);
    let mut plain = broker.join(&Connect::new(Version::V311, "plain"));
    plain.send(&hundred);
    assert_eq!(page.frame(), Some((BINARY, hundred)));
}

#[test]
fn a_ping_is_answered_a_pong_is_not_and_a_close_is_echoed() {
    let broker = Broker::start(WEB);
    let mut socket = member(&broker, "page");
    socket.send(PONG, b"nobody asked");
    for payload in [&b"are you there"[..], b"", &[b'x'; 125]] {
        socket.send(PING, payload);
        assert_eq!(socket.frame(), Some((PONG, payload.to_vec())));
    }
    socket.send(CLOSE, &[0x03, 0xE9, b'b', b'y', b'e']);
    socket.closed(1001);
    let mut silent = member(&broker, "page");
    silent.send(CLOSE, &[]);
    assert_eq!(silent.frame(), Some((CLOSE, vec![])));
    assert_eq!(silent.frame(), None);
}

#[test]
fn what_was_sent_before_a_close_still_counts() {
    let broker = Broker::start(WEB);
    let mut watcher = broker.join(&Connect::new(Version::V311, "watcher"));
    watcher.subscribe("#", 0);
    let mut page = WebSocket::open(broker.address("web"));
    let connect = broker.as_local(&Connect::new(Version::V311, "page").will("will", "gone"));
    page.send(BINARY, &connect.encode());
    page.frame();
    let bytes = [
        frame(BINARY, &Publish::new("last", "word").encode(Version::V311)),
        frame(BINARY, &packet::DISCONNECT),
        frame(CLOSE, &1000u16.to_be_bytes()),
    ];
    page.send_bytes(&bytes.concat());
    page.closed(1000);
    assert_eq!(watcher.text(), "word");
    watcher.ping();
}

#[test]
fn text_is_closed_by_1003_and_the_log_and_the_will_tell_6_0_0_1() {
    let broker = Broker::start(WEB);
    let mut watcher = broker.join(&Connect::new(Version::V311, "watcher"));
    watcher.subscribe("will", 0);
    let mut page = WebSocket::open(broker.address("web"));
    let connect = broker.as_local(&Connect::new(Version::V5, "page").will("will", "gone"));
    page.send(BINARY, &connect.encode());
    page.frame();
    page.send(TEXT, &packet::PINGREQ);
    page.closed(1003);
    assert_eq!(watcher.text(), "gone");
    let line = broker.log().wait_from(0, "a WebSocket frame is text");
    assert!(line.contains("client 'page' from 127.0.0.1:"), "{line}");
}

#[test]
fn the_broker_ends_a_connection_by_mqtt_and_then_by_websocket() {
    let broker = Broker::start(WEB);
    let connect = broker.as_local(&Connect::new(Version::V5, "page"));
    let mut page = WebSocket::open(broker.address("web"));
    page.send(BINARY, &connect.encode());
    page.frame();
    let _other = broker.join(&Connect::new(Version::V5, "page"));
    let disconnect = page.frame().expect("DISCONNECT comes first");
    assert_eq!(
        (disconnect.0, disconnect.1[0], disconnect.1[2]),
        (BINARY, 0xE0, 0x8E)
    );
    page.closed(1000);
    let mut wrong = WebSocket::open(broker.address("web"));
    wrong.send(
        BINARY,
        &Connect::new(Version::V311, "a")
            .user("local", "wrong")
            .encode(),
    );
    assert_eq!(wrong.frame(), Some((BINARY, vec![0x20, 2, 0, 5])));
    wrong.closed(1000);
}

#[test]
fn a_thousand_messages_and_one_of_a_megabyte_pass_whole_in_both_directions() {
    let broker = Broker::start(WEB);
    let large: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_be_bytes).collect();
    let mut page = join(&broker, &Connect::new(Version::V5, "page"));
    let mut plain = broker.join(&Connect::new(Version::V5, "plain"));
    page.subscribe("to/page", 0);
    plain.subscribe("to/plain", 0);
    let carry = |from: &mut Client, to: &mut Client, topic: &str| {
        for number in 0..1000 {
            from.publish(topic, &number.to_string());
        }
        for number in 0..1000 {
            assert_eq!(to.text(), number.to_string());
        }
        from.send_publish(&Publish::new(topic, &large));
        assert!(
            to.message().payload == large,
            "the payload is what was sent"
        );
    };
    carry(&mut page, &mut plain, "to/plain");
    carry(&mut plain, &mut page, "to/page");
}

/// A listener `web` by TLS with these options, on a root with the CA's files.
fn secure(options: &str) -> Broker {
    let root = Root::new();
    let files = root.join("etc/ssl/ca/remote");
    let path = |name: &str| files.join(name).display().to_string();
    root.write_uci(&format!(
        "{WEB}\toption tls '1'\n\toption cert '{}'\n\toption key '{}'\n\toption ca '{}'\n{options}",
        path("01.crt"),
        path("01.key"),
        path("ca.crt")
    ));
    REMOTE.install(&root);
    REMOTE
        .client("notebook", 2)
        .write_token(&root, "token", &REMOTE);
    Broker::start_on(root)
}

#[test]
fn by_tls_the_certificate_is_the_identity_as_without_websocket() {
    let rules = "config acl\n\tlist user 'notebook'\n\toption access 'write'\n\tlist topic 'secret'\n\toption action 'deny'\n";
    let broker = secure(&format!("\toption require_certificate '1'\n\n{rules}"));
    let (notebook, phone) = (REMOTE.client("notebook", 2), REMOTE.client("phone", 3));
    for (token, denied) in [(&notebook, true), (&phone, false)] {
        let stream = Handshake::new(token).open(broker.address("web"));
        let socket = WebSocket::over(Box::new(stream.expect("the handshake is accepted")));
        let mut client = socket
            .upgraded()
            .client()
            .join(&Connect::new(Version::V5, "by-certificate"));
        let code = client.publish_acknowledged(Publish::new("secret", "x").qos(1, 0));
        assert_eq!(code == 0x87, denied);
    }
}

#[test]
fn by_tls_control_frames_and_closes_get_through() {
    let broker = secure("");
    let token = REMOTE.client("notebook", 2);
    let open = || {
        let stream = Handshake::new(&token).open(broker.address("web"));
        WebSocket::over(Box::new(stream.expect("the handshake is accepted")))
    };
    let answer = open().ask(&REQUEST.replace("GET", "PUT"));
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let mut socket = open().upgraded();
    socket.send(PING, b"are you there");
    assert_eq!(socket.frame(), Some((PONG, b"are you there".to_vec())));
    socket.send(TEXT, b"hello");
    socket.closed(1003);
    let mut socket = open().upgraded();
    socket.send(BINARY, &connect(&broker, "a"));
    assert_eq!(socket.frame(), Some((BINARY, vec![0x20, 2, 0, 0])));
    socket.send(BINARY, &packet::DISCONNECT);
    socket.closed(1000);
}

#[test]
fn a_page_that_does_not_read_gets_later_messages_when_it_does() {
    let broker = Broker::start(WEB);
    let mut page = member(&broker, "page");
    page.send(BINARY, &packet::subscribe(Version::V311, 1, &[("a", 0)]));
    page.frame();
    let mut plain = broker.join(&Connect::new(Version::V311, "plain"));
    let before = broker.resident_bytes();
    for _ in 0..1000 {
        plain.send_publish(&Publish::new("a", [b'x'; 64 * 1024]));
    }
    plain.ping();
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "the broker has grown by {grown} bytes");
    page.send(PING, b"done");
    while page.frame().expect("it is still there") != (PONG, b"done".to_vec()) {}
    // What still came after the Pong is done with when a message arrives alone.
    let after = Publish::new("a", "after").encode(Version::V311);
    until("a message arrives", || {
        plain.send(&after);
        page.frame().filter(|(_, payload)| *payload == after)
    });
}

#[test]
fn clients_that_break_off_while_they_are_written_to_leave_no_descriptor_behind() {
    let broker = secure("");
    let token = REMOTE.client("notebook", 2);
    let mut flood = join_tls(&broker, &token, "flood");
    let before = descriptors(&broker);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let messages = Publish::new("t", [b'x'; 200])
                .encode(Version::V311)
                .repeat(20);
            while !is_over.load(Ordering::Relaxed) {
                flood.send(BINARY, &messages);
                flood.send(PING, b"");
                while flood.frame().expect("it stays") != (PONG, vec![]) {}
            }
        });
        for _ in 0..20 {
            let stream = Handshake::new(&token).open(broker.address("web"));
            let stream = stream.expect("the handshake is accepted");
            let reset = SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO));
            reset.expect("a socket takes it");
            let mut socket = WebSocket::over(Box::new(stream)).upgraded();
            socket.send(BINARY, &connect(&broker, ""));
            socket.send(BINARY, &packet::subscribe(Version::V311, 1, &[("t", 0)]));
            socket.frame();
            socket.frame();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    until("every descriptor is given back", || {
        (descriptors(&broker) == before).then_some(())
    });
}

/// A WebSocket by TLS whose CONNECT was accepted.
fn join_tls(broker: &Broker, token: &Certified, client_id: &str) -> WebSocket {
    let stream = Handshake::new(token).open(broker.address("web"));
    let stream = stream.expect("the handshake is accepted");
    let mut socket = WebSocket::over(Box::new(stream)).upgraded();
    socket.send(BINARY, &connect(broker, client_id));
    assert_eq!(socket.frame(), Some((BINARY, vec![0x20, 2, 0, 0])));
    socket
}

#[test]
fn a_unix_socket_speaks_websocket_as_well() {
    let root = Root::new();
    let path = root.join("web.sock");
    root.write_uci(&format!("{WEB}\tlist unix '{}'\n", path.display()));
    let broker = Broker::start_on(root);
    let stream = UnixStream::connect(&path).expect("the listener listens");
    let mut socket = WebSocket::over(Box::new(stream)).upgraded();
    socket.send(BINARY, &connect(&broker, "a"));
    assert_eq!(socket.frame(), Some((BINARY, vec![0x20, 2, 0, 0])));
}

#[test]
fn a_page_of_another_origin_gets_in_where_it_needs_a_password_or_is_named() {
    let page = REQUEST.replace("Host", "Origin: http://evil.example\r\nHost");
    let status = |broker: &Broker, request: &str| {
        let answer = WebSocket::dial(broker.address("web")).ask(request);
        answer["HTTP/1.1 ".len()..][..3].to_owned()
    };
    assert_eq!(status(&Broker::start(WEB), &page), "101");
    let anonymous = Broker::start(&format!("{WEB}\toption allow_anonymous '1'\n"));
    assert_eq!(status(&anonymous, &page), "403");
    assert_eq!(status(&anonymous, REQUEST), "101");
    let own = page.replace("evil.example", "192.0.2.1:80");
    assert_eq!(status(&anonymous, &own), "101");
    let named = Broker::start(&format!("{WEB}\tlist origin 'https://router.lan'\n"));
    assert_eq!(status(&named, &page), "403");
    let router = page.replace("http://evil.example", "https://router.lan");
    assert_eq!(status(&named, &router), "101");
}

#[test]
fn after_a_reload_pages_of_an_origin_that_is_no_longer_named_go_and_others_stay() {
    let named = |origin: &str| format!("{WEB}\tlist origin '{origin}'\n");
    let broker = Broker::start(&named("https://one.lan"));
    let mut page = WebSocket::dial(broker.address("web"));
    page.ask(&REQUEST.replace("Host", "Origin: https://one.lan\r\nHost"));
    page.send(BINARY, &connect(&broker, "page"));
    page.frame();
    let mut program = join(&broker, &Connect::new(Version::V311, "program"));
    broker.reload(&named("https://two.lan"));
    page.closed(1000);
    program.ping();
    broker.reload(&WEB.replace("\toption protocol 'websocket'\n", ""));
    assert_eq!(program.closed(), Vec::<Packet>::new());
}

#[test]
fn the_library_of_the_routers_programs_gets_a_thousand_messages_back_plain_and_by_tls() {
    let secure = secure("");
    let plain = Broker::start(WEB);
    for paho in PAHO {
        for (broker, ca) in [(&plain, None), (&secure, Some("token/ca.crt"))] {
            let endpoint = json!({
                "host": "127.0.0.1",
                "port": broker.address("web").port(),
                "user": "local",
                "password": broker.root().local_password(),
                "ca": ca.map(|path| broker.root().join(path)),
            });
            let outcome = run_script(paho, "websocket.py", &[endpoint.to_string()]);
            assert_eq!(outcome, json!({"messages": 1000, "large": 1 << 20}));
        }
    }
}
