//! The HTTP request of a WebSocket: found alike however it arrives, granted with its one answer or refused with one.

use std::path::Path;
use std::sync::OnceLock;

use fosquitto::config::{self, Listener, Protocol, Surroundings};
use fosquitto::fuzzing::{Choices, HEAD_MAX, Upgrade, head};

use crate::memory::peak_of;

/// Which listener, and the stream.
pub fn run(bytes: &[u8]) {
    static LISTENERS: OnceLock<Vec<Listener>> = OnceLock::new();
    let listeners = LISTENERS.get_or_init(listeners);
    let mut choices = Choices::new(bytes);
    let listener = &listeners[choices.below(listeners.len() as u64) as usize];
    let stream = choices.rest();
    let whole = head(stream, 0).map_err(|refusal| refusal.what);
    let mut in_pieces = Ok(None);
    for known in 0..stream.len() {
        in_pieces = head(&stream[..=known], known).map_err(|refusal| refusal.what);
        if in_pieces != Ok(None) {
            break;
        }
    }
    assert_eq!(in_pieces, whole, "it does not matter how it arrives");
    let Ok(Some(size)) = whole else {
        return;
    };
    assert!(size <= HEAD_MAX && stream[..size].ends_with(b"\r\n\r\n"));
    let (outcome, peak) = peak_of(|| Upgrade::of(&stream[..size], listener));
    assert!(peak <= 4096 + 8 * size, "{peak} bytes for {size}");
    let answer = match &outcome {
        Ok(upgrade) => upgrade.answer(),
        Err(refusal) => refusal.answer(),
    };
    let status = if outcome.is_ok() { "101" } else { "4" };
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")));
    let lines = answer.split("\r\n\r\n").next().unwrap_or_default();
    // Nothing of the client's words makes a header of the answer.
    assert!(
        lines
            .split("\r\n")
            .all(|line| !line.contains(['\r', '\n', '\0']))
    );
    assert!(lines.split("\r\n").count() <= 7);
}

/// One that asks for passwords, one that lets anybody in, and one that names the pages.
fn listeners() -> Vec<Listener> {
    let text = "config listener 'one'\n\toption port '9001'\n\toption protocol 'websocket'\n\
        config listener 'two'\n\toption port '9002'\n\toption protocol 'websocket'\n\toption allow_anonymous '1'\n\
        config listener 'three'\n\toption port '9003'\n\toption protocol 'websocket'\n\tlist origin 'https://a.example'\n";
    let config = config::parse(text, Path::new("fosquitto"), &Surroundings::default());
    let config = config.unwrap_or_else(|faults| panic!("{faults}"));
    let listeners = config.listeners.into_iter();
    listeners
        .filter(|listener| listener.protocol == Protocol::WebSocket)
        .collect()
}
