//! The client's end of a WebSocket (RFC 6455), over any stream. Entered through [`WebSocket::open`].
//!
//! Bytes of MQTT are read and written as if there were no frames: a packet may span frames, and a frame may hold several
//! [MQTT-6.0.0-2]. A Ping is answered, a Close is the stream's end. There are no extensions, no text and no redirections.

use std::io::{self, ErrorKind, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::net::websocket::upgrade::accept_of;

/// The answer to a request has no longer head.
const HEAD_BYTES_MAX: usize = 8192;

/// The request's path. This bus takes any, and others of their kind this one.
const PATH: &str = "/mqtt";

const CONTINUATION: u8 = 0x0;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// A WebSocket that is open.
pub struct WebSocket<S> {
    below: S,
    /// What was read from below and not understood yet.
    input: Vec<u8>,
    /// Bytes of the data frame whose header is past.
    left: u64,
}

impl<S: Read + Write> WebSocket<S> {
    /// Asks for a WebSocket. `wait` is called before each read, and bounds it.
    ///
    /// # Errors
    /// Whoever answers does not speak WebSocket, or no MQTT in it; or the stream's errors.
    pub fn open(
        mut below: S,
        host: &str,
        wait: impl Fn(&S) -> io::Result<()>,
    ) -> io::Result<WebSocket<S>> {
        let mut bytes = [0; 16];
        openssl::rand::rand_bytes(&mut bytes)?;
        let key = STANDARD.encode(bytes);
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        below.write_all(request.as_bytes())?;
        let (mut input, mut chunk) = (Vec::new(), [0; 1024]);
        let end = loop {
            if let Some(at) = input.windows(4).position(|end| end == b"\r\n\r\n") {
                break at;
            }
            if input.len() > HEAD_BYTES_MAX {
                return Err(not_websocket());
            }
            wait(&below)?;
            match below.read(&mut chunk)? {
                0 => return Err(not_websocket()),
                count => input.extend_from_slice(&chunk[..count]),
            }
        };
        check(&input[..end], &accept_of(&key))?;
        input.drain(..end + 4);
        Ok(WebSocket {
            below,
            input,
            left: 0,
        })
    }

    /// The stream that carries it.
    pub fn below(&self) -> &S {
        &self.below
    }

    /// Takes the next frame's header, and the whole frame if it is for control. What it was; `None`: it is not there yet.
    fn begin(&mut self) -> io::Result<Option<Begun>> {
        let broken = || io::Error::new(ErrorKind::InvalidData, "a WebSocket frame is ill formed");
        let [first, second, rest @ ..] = self.input.as_slice() else {
            return Ok(None);
        };
        let (opcode, short) = (first & 0x0F, *second);
        // Reserved bits mean extensions, and the mask is the client's alone (5.1).
        if first & 0x70 != 0 || short & 0x80 != 0 {
            return Err(broken());
        }
        let digits = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(long) = rest.get(..digits) else {
            return Ok(None);
        };
        let shifted = |value, byte: &u8| value << 8 | u64::from(*byte);
        let size = match digits {
            0 => u64::from(short),
            _ => long.iter().fold(0, shifted),
        };
        let header = 2 + digits;
        match opcode {
            CONTINUATION | BINARY => {
                self.input.drain(..header);
                self.left = size;
                Ok(Some(Begun::Data))
            }
            CLOSE | PING | PONG if digits == 0 => {
                let end = header + usize::from(short);
                if self.input.len() < end {
                    return Ok(None);
                }
                let payload = self.input[header..end].to_vec();
                self.input.drain(..end);
                Ok(Some(match opcode {
                    CLOSE => Begun::Close,
                    PING => Begun::Ping(payload),
                    _ => Begun::Pong,
                }))
            }
            _ => Err(broken()),
        }
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut mask = [0; 4];
        openssl::rand::rand_bytes(&mut mask)?;
        let mut frame = vec![0x80 | opcode];
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(size @ ..126), _) => frame.push(0x80 | size),
            (_, Ok(size)) => {
                frame.push(0x80 | 126);
                frame.extend(size.to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        let masked = payload.iter().zip(mask.iter().cycle());
        frame.extend(masked.map(|(byte, mask)| byte ^ mask));
        self.below.write_all(&frame)
    }
}

/// What a frame is.
enum Begun {
    Data,
    Ping(Vec<u8>),
    Pong,
    Close,
}

impl<S: Read + Write> Read for WebSocket<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut chunk = [0; 16_384];
        loop {
            if self.left > 0 && !self.input.is_empty() {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let count = left.min(self.input.len()).min(out.len());
                out[..count].copy_from_slice(&self.input[..count]);
                self.input.drain(..count);
                self.left -= count as u64;
                return Ok(count);
            }
            if self.left == 0 {
                match self.begin()? {
                    Some(Begun::Ping(payload)) => {
                        self.send(PONG, &payload)?;
                        continue;
                    }
                    Some(Begun::Close) => return Ok(0),
                    Some(Begun::Data | Begun::Pong) => continue,
                    None => {}
                }
            }
            match self.below.read(&mut chunk)? {
                0 => return Ok(0),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

impl<S: Read + Write> Write for WebSocket<S> {
    /// All of the bytes in one frame.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(BINARY, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.below.flush()
    }
}

/// Holds the head of the answer to what was asked (4.1).
fn check(head: &[u8], accept: &str) -> io::Result<()> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let mut status = lines.next().unwrap_or_default().split(' ');
    let is_http = status.next().is_some_and(|it| it.starts_with("HTTP/1."));
    let code = status.next().unwrap_or_default();
    if !is_http {
        return Err(not_websocket());
    }
    if code != "101" {
        let number = code.parse::<u16>().unwrap_or_default();
        let what = format!("the WebSocket is refused with status {number}");
        return Err(io::Error::other(what));
    }
    let header = |name: &str| {
        let lines = head.split("\r\n").skip(1);
        let mut headers = lines.filter_map(|line| line.split_once(':'));
        let found = headers.find(|(known, _)| known.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned())
    };
    if header("Sec-WebSocket-Accept").as_deref() != Some(accept) {
        return Err(not_websocket());
    }
    if header("Sec-WebSocket-Protocol").as_deref() != Some("mqtt") {
        return Err(io::Error::other("the WebSocket is not for MQTT"));
    }
    Ok(())
}

fn not_websocket() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "what answers is no WebSocket")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that gives what it was made with, byte by byte, and keeps what is written.
    #[derive(Default)]
    struct Script {
        given: Vec<u8>,
        at: usize,
        written: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some(byte) = self.given.get(self.at) else {
                return Err(ErrorKind::WouldBlock.into());
            };
            out[0] = *byte;
            self.at += 1;
            Ok(1)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn opened(given: &[u8]) -> WebSocket<Script> {
        WebSocket {
            below: Script {
                given: given.to_vec(),
                ..Script::default()
            },
            input: Vec::new(),
            left: 0,
        }
    }

    #[test]
    fn data_is_the_same_however_it_is_framed_and_a_ping_is_answered() {
        let mut long = vec![0x82, 126, 1, 0];
        long.extend([b'y'; 256]);
        let given = [&b"\x02\x02ab\x89\x01?\x8A\0\x80\x01c"[..], &long].concat();
        let mut socket = opened(&given);
        let mut read = Vec::new();
        let ended = socket.read_to_end(&mut read).expect_err("no more comes");
        assert_eq!(ended.kind(), ErrorKind::WouldBlock);
        assert_eq!(read, [&b"abc"[..], &[b'y'; 256]].concat());
        let [first, size, a, _, _, _, masked] = socket.below.written[..] else {
            panic!("one Pong");
        };
        assert_eq!((first, size, masked ^ a), (0x8A, 0x81, b'?'));
    }

    #[test]
    fn a_close_is_the_end_and_what_the_protocol_forbids_an_error() {
        assert_eq!(opened(b"\x88\x02\x03\xE8").read(&mut [0; 9]).ok(), Some(0));
        for wrong in [
            &b"\x81\x01x"[..],
            b"\xC2\x01x",
            b"\x82\x81mask",
            b"\x88\x7E\0\x7E",
        ] {
            let error = opened(wrong).read(&mut [0; 9]).expect_err("it is wrong");
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_written_is_masked_and_has_the_shortest_length() {
        for (size, header) in [
            (5, vec![0x82, 0x85]),
            (126, vec![0x82, 0xFE, 0, 126]),
            (65_536, vec![0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut socket = opened(b"");
            let payload = vec![b'z'; size];
            socket.write_all(&payload).expect("it is taken");
            let (head, rest) = socket.below.written.split_at(header.len());
            let (mask, masked) = rest.split_at(4);
            assert_eq!(head, header);
            let bytes = masked.iter().zip(mask.iter().cycle());
            let bytes: Vec<u8> = bytes.map(|(byte, mask)| byte ^ mask).collect();
            assert_eq!(bytes, payload);
        }
    }

    #[test]
    fn only_the_answer_to_the_own_request_opens_it() {
        let head = |protocol: &str| {
            format!(
                "HTTP/1.1 101 x\r\nsec-websocket-accept:  A\r\nSec-WebSocket-Protocol: {protocol}"
            )
        };
        assert!(check(head("mqtt").as_bytes(), "A").is_ok());
        for (head, accept) in [
            (head("mqtt"), "B"),
            (head("chat"), "A"),
            ("HTTP/1.1 400 Bad Request".to_owned(), "A"),
            ("SSH-2.0-x".to_owned(), "A"),
            ("".to_owned(), "A"),
        ] {
            assert!(check(head.as_bytes(), accept).is_err(), "{head}");
        }
    }
}
