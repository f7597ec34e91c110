//! How `fosquitto sub` prints a message. Entered through [`Format::printed`].
//!
//! Where a terminal reads it nothing in it commands that; a script gets the payload as it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::properties;
use crate::cli::client::Message;
use crate::cli::dump::line;
use crate::log::Printable;

/// How a message is printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Its payload.
    #[default]
    Payload,
    /// Its topic, and its payload.
    Topic,
    /// All of it, as a line of JSON.
    Json,
    /// What a format of the user's names.
    Own(String),
}

impl Format {
    /// What is printed of a message. On a terminal nothing in it commands that.
    pub fn printed(&self, message: &Message, is_terminal: bool) -> Vec<u8> {
        let payload = match is_terminal {
            true => Printable(&String::from_utf8_lossy(&message.payload))
                .to_string()
                .into_bytes(),
            false => message.payload.clone(),
        };
        let topic = Printable(&message.topic).to_string();
        match self {
            Format::Payload => [&payload[..], b"\n"].concat(),
            Format::Topic => [topic.as_bytes(), b" ", &payload[..], b"\n"].concat(),
            Format::Json => json_of(message).into_bytes(),
            Format::Own(format) => own_format(format, message, &topic, &payload),
        }
    }
}

fn json_of(message: &Message) -> String {
    let mut said = Map::new();
    let (is_text, payload) = text_or_base64(&message.payload);
    let name = if is_text { "payload" } else { "payload_base64" };
    said.insert("topic".into(), json!(message.topic));
    said.insert(name.into(), payload);
    said.insert("qos".into(), json!(message.qos));
    said.insert("retain".into(), json!(message.retain));
    if let Some(seconds) = message.expiry_s {
        said.insert("expiry_s".into(), json!(seconds));
    }
    properties::tell(&message.properties, &mut said);
    line(&Value::Object(said))
}

/// Bytes as a text, and whether they are one; else in base64.
pub fn text_or_base64(bytes: &[u8]) -> (bool, Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (true, json!(text)),
        Err(_) => (false, json!(STANDARD.encode(bytes))),
    }
}

fn own_format(format: &str, message: &Message, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        let command = if character == '%' {
            characters.next()
        } else {
            None
        };
        match command {
            Some('t') => out.extend(topic.as_bytes()),
            Some('p') => out.extend(payload),
            Some('q') => out.extend(message.qos.to_string().into_bytes()),
            Some('r') => out.extend(u8::from(message.retain).to_string().into_bytes()),
            Some('l') => out.extend(message.payload.len().to_string().into_bytes()),
            Some('n') => out.push(b'\n'),
            Some(other) => {
                let text = if other == '%' {
                    String::new()
                } else {
                    "%".to_owned()
                };
                out.extend(format!("{text}{other}").into_bytes());
            }
            None => out.extend(character.to_string().into_bytes()),
        }
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            topic: "a/\u{1b}b".into(),
            payload: b"x%t\xff".to_vec(),
            qos: 1,
            retain: true,
            ..Message::default()
        }
    }

    #[test]
    fn a_format_has_what_it_names_and_nothing_else_is_a_command() {
        let message = message();
        let said = own_format("%t|%p|%q|%r|%l|%%|%x|100%", &message, "a", &message.payload);
        assert_eq!(said, b"a|x%t\xff|1|1|4|%|%x|100%\n");
    }

    #[test]
    fn json_says_bytes_that_are_no_text_in_base64() {
        let said = json_of(&message());
        assert_eq!(
            said,
            "{\"payload_base64\":\"eCV0/w==\",\"qos\":1,\"retain\":true,\"topic\":\"a/\\u001bb\"}\n"
        );
    }
}
