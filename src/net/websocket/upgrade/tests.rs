//! Requests and their answers.

use super::*;
use crate::config::Protocol;

/// A listener that asks for passwords.
fn listener() -> Listener {
    Listener {
        name: "web".into(),
        path: "/etc/config/fosquitto".into(),
        line: 1,
        binds: Vec::new(),
        protocol: Protocol::WebSocket,
        origins: Vec::new(),
        tls: None,
        identity: IdentitySource::UserName,
        allow_anonymous: false,
        max_connections: 1,
        mount_point: None,
        offer: crate::mqtt::Capabilities::default(),
        moved_to: None,
    }
}

/// The example of RFC 6455 with MQTT's subprotocol, and with some text replaced.
fn request(replace: &str, by: &str) -> Vec<u8> {
    let request = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";
    assert!(request.contains(replace));
    request.replacen(replace, by, 1).into_bytes()
}

fn status(request: &[u8], listener: &Listener) -> String {
    let size = head(request, 0).map(|size| size.expect("the request is whole"));
    let answer = match size.and_then(|size| Upgrade::of(&request[..size], listener)) {
        Ok(upgrade) => upgrade.answer(),
        Err(refusal) => refusal.answer(),
    };
    answer["HTTP/1.1 ".len()..][..3].to_owned()
}

#[test]
fn the_example_of_the_standard_is_answered_as_there() {
    let upgrade = Upgrade::of(&request("", ""), &listener()).expect("it is right");
    let answer = upgrade.answer();
    assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(answer.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"));
}

#[test]
fn what_is_missing_or_wrong_has_its_status() {
    for (replace, by, expected) in [
        ("GET", "POST", "405"),
        ("GET", "OPTIONS", "405"),
        ("HTTP/1.1", "HTTP/1.0", "400"),
        ("HTTP/1.1", "HTTP/2.0", "400"),
        ("Upgrade: websocket\r\n", "", "426"),
        ("Upgrade: websocket", "Upgrade: h2c", "426"),
        ("Version: 13", "Version: 8", "426"),
        ("Sec-WebSocket-Version: 13\r\n", "", "426"),
        ("Connection: Upgrade", "Connection: close", "400"),
        ("Connection: Upgrade\r\n", "", "400"),
        ("Host: server.example.com\r\n", "", "400"),
        ("Host:", "Host: another\r\nHost:", "400"),
        ("Host: server", "Host : server", "400"),
        ("Host", "Content-Length: 5\r\nHost", "400"),
        ("Host", "Transfer-Encoding: chunked\r\nHost", "400"),
        ("Host", "A header without a colon\r\nHost", "400"),
        ("Host: server.example.com", "Host: server\0", "400"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", "400"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", "400"),
        (
            "dGhlIHNhbXBsZSBub25jZQ==",
            "dGhlIHNhbXBsZSBub25jZQ!!",
            "400",
        ),
        ("Sec-WebSocket-Protocol: mqtt\r\n", "", "400"),
        ("Protocol: mqtt", "Protocol: wamp, MQTT", "400"),
    ] {
        let request = request(replace, by);
        assert_eq!(status(&request, &listener()), expected, "{replace} -> {by}");
    }
}

#[test]
fn what_may_be_otherwise_may_be() {
    for (replace, by) in [
        ("/chat", "*"),
        ("Upgrade: websocket", "UPGRADE:WebSocket"),
        ("Connection: Upgrade", "Connection: keep-alive, upgrade"),
        ("Host", "Content-Length: 0\r\nHost"),
        (
            "Host",
            "Sec-WebSocket-Extensions: permessage-deflate\r\nHost",
        ),
        ("Host", "Cookie: a=\u{e9}\r\nCookie: b\r\nHost"),
        ("Origin: http://example.com\r\n", ""),
    ] {
        let request = request(replace, by);
        assert_eq!(status(&request, &listener()), "101", "{replace} -> {by}");
    }
}

#[test]
fn a_request_with_any_byte_changed_is_answered() {
    let request = request("", "");
    for at in 0..request.len() {
        for byte in [0, b'\n', b'\r', b' ', b':', b',', 0x7F, 0x80, 0xFF] {
            let mut changed = request.clone();
            changed[at] = byte;
            if let Ok(Some(size)) = head(&changed, 0) {
                // Whatever it is, it is one of the answers.
                let _ = Upgrade::of(&changed[..size], &listener());
            }
        }
    }
}

#[test]
fn of_the_subprotocols_offered_that_of_the_standard_is_chosen() {
    for (offered, chosen) in [
        ("mqttv3.1", "mqttv3.1"),
        ("mqttv3.1, mqtt", "mqtt"),
        ("other,mqtt , more", "mqtt"),
        ("mqttv3.1\r\nSec-WebSocket-Protocol: mqtt", "mqtt"),
    ] {
        let request = request("Protocol: mqtt", &format!("Protocol: {offered}"));
        let upgrade = Upgrade::of(&request, &listener()).expect("one is known");
        assert_eq!(upgrade.subprotocol, chosen);
    }
}

#[test]
fn a_request_is_whole_at_its_empty_line_and_not_longer_than_its_bound() {
    let request = request("", "");
    for size in 0..request.len() {
        assert_eq!(head(&request[..size], size / 2), Ok(None), "{size}");
    }
    assert_eq!(head(&request, request.len() - 1), Ok(Some(request.len())));
    let mut long = vec![b'G'; HEAD_MAX];
    assert_eq!(head(&long, 0), Ok(None));
    long.push(b'G');
    assert!(head(&long, HEAD_MAX).is_err());
    for first in [0x10, 0x16, 0, b' '] {
        assert!(head(&[first], 0).is_err(), "not HTTP");
    }
}

#[test]
fn a_page_of_another_origin_gets_in_where_only_a_password_does() {
    let origin = |origin: &str| request("http://example.com", origin);
    let (foreign, own) = (
        origin("http://example.com"),
        origin("https://server.example.com"),
    );
    assert_eq!(status(&foreign, &listener()), "101");
    let anonymous = Listener {
        allow_anonymous: true,
        ..listener()
    };
    let certificate = Listener {
        identity: IdentitySource::CommonName,
        ..listener()
    };
    for ambient in [anonymous, certificate] {
        assert_eq!(status(&foreign, &ambient), "403");
        assert_eq!(status(&origin("null"), &ambient), "403");
        assert_eq!(status(&own, &ambient), "101");
        let none = request("Origin: http://example.com\r\n", "");
        assert_eq!(status(&none, &ambient), "101", "it is no page");
    }
}

#[test]
fn origins_that_are_named_are_the_only_ones() {
    let named = |named: &str| Listener {
        origins: vec![named.into()],
        ..listener()
    };
    let request = request("", "");
    assert_eq!(status(&request, &named("http://EXAMPLE.com")), "101");
    assert_eq!(status(&request, &named("*")), "101");
    assert_eq!(status(&request, &named("https://example.com")), "403");
    assert_eq!(status(&request, &named("http://example.com:8080")), "403");
}
