//! The HTTP request that makes a connection a WebSocket, and its answer (RFC 6455, section 4.2), without sockets.
//!
//! [`head`] finds the request in what has arrived, [`Upgrade::of`] says what is to be answered. It is the whole of HTTP that is spoken:
//! one GET without a body, and on a refusal a short text after which the connection is closed. The path means nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ntex_httparse::{Header, HeaderParsed, Request, SlicePos, Status};
use openssl::sha::sha1;

use crate::config::{IdentitySource, Listener};
use crate::log::Escaped;

/// The longest request, in bytes: what browsers send with cookies, and no more.
pub const HEAD_MAX: usize = 8 * 1024;

/// What every server appends to a client's key (1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subprotocols, the one of the standard [MQTT-6.0.0-4] and the one that clients of MQTT 3.1 know.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// A request that is granted.
#[derive(Debug)]
pub struct Upgrade {
    accept: String,
    subprotocol: &'static str,
    /// The page that asks, if a page does.
    pub origin: Option<Origin>,
}

/// The page that opened a connection: browsers say it, and a page cannot say anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    text: Box<str>,
    /// Whether it comes from where the connection goes to.
    is_own: bool,
}

/// A request that is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status line and the headers that belong to it.
    status: &'static str,
    /// What was wrong, for the client and the log.
    pub what: String,
}

const BAD_REQUEST: &str = "400 Bad Request";
const FORBIDDEN: &str = "403 Forbidden";
const METHOD_NOT_ALLOWED: &str = "405 Method Not Allowed\r\nAllow: GET";
const UPGRADE_REQUIRED: &str = "426 Upgrade Required\r\nUpgrade: websocket";
/// "If this version does not match a version understood by the server" (4.2.2).
const VERSION_REQUIRED: &str =
    "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13";

fn refusal(status: &'static str, what: &str) -> Refusal {
    let what = what.to_owned();
    Refusal { status, what }
}

/// The size of the request at the beginning of `bytes`, or `None` while it is not whole. The first `known` bytes were there
/// at the last call.
///
/// # Errors
/// It is too long, or not HTTP.
pub fn head(bytes: &[u8], known: usize) -> Result<Option<usize>, Refusal> {
    // Whoever speaks TLS or MQTT here by mistake need not wait for the end of their time.
    if bytes.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
        return Err(refusal(BAD_REQUEST, "this is not HTTP"));
    }
    let from = known.saturating_sub(3);
    let end = bytes[from..].windows(4).position(|end| end == b"\r\n\r\n");
    let size = end.map(|end| from + end + 4);
    if size.unwrap_or(bytes.len()) > HEAD_MAX {
        let what = format!("the request is longer than {HEAD_MAX} bytes");
        return Err(refusal(BAD_REQUEST, &what));
    }
    Ok(size)
}

/// What of a request's headers counts.
#[derive(Default)]
struct Headers<'a> {
    host: Option<&'a str>,
    origin: Option<&'a str>,
    key: Option<&'a str>,
    version: Option<&'a str>,
    is_websocket: bool,
    is_upgrade: bool,
    has_body: bool,
    subprotocol: Option<usize>,
}

impl Upgrade {
    /// Holds a whole request to the protocol and the listener.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(head: &[u8], listener: &Listener) -> Result<Upgrade, Refusal> {
        let malformed = || refusal(BAD_REQUEST, "the request is malformed");
        let mut request = Request::default();
        let Ok(Status::Complete(at)) = request.parse(head) else {
            return Err(malformed());
        };
        let headers = Headers::read(&head[at..]).ok_or_else(malformed)??;
        if &head[request.method.start..request.method.end] != b"GET" {
            return Err(refusal(METHOD_NOT_ALLOWED, "the method is not GET"));
        }
        if request.version == 0 {
            return Err(refusal(BAD_REQUEST, "HTTP is older than 1.1"));
        }
        headers.judge(listener)
    }

    /// The answer, after which frames are spoken.
    pub fn answer(&self) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
            self.accept, self.subprotocol
        )
    }
}

impl Refusal {
    /// The answer, after which the connection is closed.
    pub fn answer(&self) -> String {
        let Refusal { status, what } = self;
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n{what}\n",
            what.len() + 1
        )
    }
}

impl<'a> Headers<'a> {
    /// Reads them to their end. `None` when they are malformed, an error when one stands twice that may not.
    fn read(mut bytes: &'a [u8]) -> Option<Result<Headers<'a>, Refusal>> {
        let mut headers = Headers::default();
        loop {
            let mut header = Header::default();
            let next = match header.parse(bytes) {
                Ok(Status::Complete(HeaderParsed::Header(next))) => next,
                Ok(Status::Complete(HeaderParsed::Eof(_))) => return Some(Ok(headers)),
                _ => return None,
            };
            let text = |at: SlicePos| std::str::from_utf8(&bytes[at.start..at.end]).ok();
            let name = text(header.name)?.to_ascii_lowercase();
            // A value that is no UTF-8 may be a cookie's; of those that count none is.
            let value = text(header.value).unwrap_or("\u{FFFD}");
            if !headers.take(&name, value) {
                let what = format!("the header {} stands twice", Escaped(&name));
                return Some(Err(refusal(BAD_REQUEST, &what)));
            }
            bytes = &bytes[next..];
        }
    }

    /// Takes one header. `false` when it has been there and may be there once only.
    fn take(&mut self, name: &str, value: &'a str) -> bool {
        let mut tokens = value.split(',').map(str::trim);
        let once = match name {
            "host" => &mut self.host,
            "origin" => &mut self.origin,
            "sec-websocket-key" => &mut self.key,
            "sec-websocket-version" => &mut self.version,
            "upgrade" => {
                self.is_websocket |= tokens.any(|token| token.eq_ignore_ascii_case("websocket"));
                return true;
            }
            "connection" => {
                self.is_upgrade |= tokens.any(|token| token.eq_ignore_ascii_case("upgrade"));
                return true;
            }
            "sec-websocket-protocol" => {
                let known = |token: &str| SUBPROTOCOLS.iter().position(|known| *known == token);
                let best = tokens.filter_map(known).chain(self.subprotocol).min();
                self.subprotocol = best;
                return true;
            }
            "content-length" => {
                self.has_body |= value != "0";
                return true;
            }
            "transfer-encoding" => {
                self.has_body = true;
                return true;
            }
            _ => return true,
        };
        once.replace(value).is_none()
    }

    fn judge(&self, listener: &Listener) -> Result<Upgrade, Refusal> {
        if !self.is_websocket {
            return Err(refusal(UPGRADE_REQUIRED, "only WebSocket is spoken here"));
        }
        if self.version != Some("13") {
            return Err(refusal(VERSION_REQUIRED, "the WebSocket version is not 13"));
        }
        let what = if !self.is_upgrade {
            "the header Connection does not say Upgrade"
        } else if self.has_body {
            "the request has a body"
        } else if self.host.is_none() {
            "the header Host is missing"
        } else {
            ""
        };
        if !what.is_empty() {
            return Err(refusal(BAD_REQUEST, what));
        }
        let key = self.key.filter(|key| is_key(key)).ok_or_else(|| {
            let what = "the header Sec-WebSocket-Key is not 16 bytes in base64";
            refusal(BAD_REQUEST, what)
        })?;
        let subprotocol = self.subprotocol.ok_or_else(|| {
            let what = "the header Sec-WebSocket-Protocol does not offer mqtt";
            refusal(BAD_REQUEST, what)
        })?;
        let origin = self.origin.map(|origin| Origin {
            text: origin.into(),
            is_own: self.host.is_some_and(|host| is_of(origin, host)),
        });
        if !admits(listener, origin.as_ref()) {
            let what = "pages of this origin may not connect";
            return Err(refusal(FORBIDDEN, what));
        }
        Ok(Upgrade {
            accept: accept_of(key),
            subprotocol: SUBPROTOCOLS[subprotocol],
            origin,
        })
    }
}

/// What proves that a key was read (RFC 6455, 4.2.2).
pub fn accept_of(key: &str) -> String {
    STANDARD.encode(sha1(format!("{key}{KEY_SUFFIX}").as_bytes()))
}

fn is_key(text: &str) -> bool {
    text.len() == 24 && STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 16)
}

/// Whether an origin (`https://host:port`) is that of a host (`host:port`).
fn is_of(origin: &str, host: &str) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// Whether a listener takes connections that a page of this origin opens; `None` is no page, and not bound by this.
///
/// A page of anybody's may open a WebSocket to the router from the browser of somebody in the house. Where clients have
/// to say a password that is no harm: the page does not know it, and nothing of the browser stands for it. Where the browser's
/// certificate or nothing at all is enough, the page would be in: there, only the router's own pages are let in unless the listener's
/// `origin` says otherwise. A page whose name an attacker's name server points to the router counts as the router's own; the
/// name server of OpenWrt refuses such answers (`rebind_protection`).
pub fn admits(listener: &Listener, origin: Option<&Origin>) -> bool {
    let Some(origin) = origin else {
        return true;
    };
    if listener.origins.is_empty() {
        let asks_password =
            listener.identity == IdentitySource::UserName && !listener.allow_anonymous;
        return asks_password || origin.is_own;
    }
    let is_named = |named: &String| named == "*" || named.eq_ignore_ascii_case(&origin.text);
    listener.origins.iter().any(is_named)
}

#[cfg(test)]
mod tests;
