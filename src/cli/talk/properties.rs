//! The properties of MQTT 5.0 that travel with a message: what a command line gives, and what is told of a message that comes.
//!
//! Entered through [`Given::take`] and [`Given::encoded`], and through [`tell`]. The codec has checked what comes.

use serde_json::{Map, Value, json};

use super::output::text_or_base64;
use crate::mqtt::{property, topic};

/// What a command line gives.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Seconds after which nobody wants the message any more.
    pub expiry_s: Option<u32>,
    content_type: Option<String>,
    response_topic: Option<String>,
    correlation: Option<String>,
    user: Vec<(String, String)>,
}

impl Given {
    /// Takes the value of an option.
    ///
    /// # Errors
    /// What it is not.
    pub fn take(&mut self, option: &str, value: &str) -> Result<(), &'static str> {
        if value.len() > usize::from(u16::MAX) {
            return Err("so short as it must be (65,535 bytes)");
        }
        let owned = value.to_owned();
        match option {
            "expiry" => {
                let seconds = value.parse().map_err(|_| "a number of seconds")?;
                self.expiry_s = Some(seconds);
            }
            "content-type" => self.content_type = Some(owned),
            "response-topic" if !topic::is_name(value) => return Err("a topic"),
            "response-topic" => self.response_topic = Some(owned),
            "correlation" => self.correlation = Some(owned),
            _ => {
                let (name, value) = value.split_once('=').ok_or("NAME=VALUE")?;
                self.user.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(())
    }

    /// All but the expiry, as they stand in a packet.
    pub fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, value) in [
            (property::CONTENT_TYPE, &self.content_type),
            (property::RESPONSE_TOPIC, &self.response_topic),
            (property::CORRELATION_DATA, &self.correlation),
        ] {
            if let Some(value) = value {
                out.push(id);
                put(value, &mut out);
            }
        }
        for (name, value) in &self.user {
            out.push(property::USER_PROPERTY);
            put(name, &mut out);
            put(value, &mut out);
        }
        out
    }
}

fn put(text: &str, out: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).expect("no longer one is taken");
    out.extend(length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Adds what the properties of a message say to what is told of it.
pub fn tell(properties: &[u8], said: &mut Map<String, Value>) {
    let (mut rest, mut user) = (properties, Vec::new());
    while let Some((id, after)) = rest.split_first() {
        rest = after;
        match *id {
            // It says no more of the payload than the payload does.
            property::PAYLOAD_FORMAT_INDICATOR => rest = rest.get(1..).unwrap_or_default(),
            property::USER_PROPERTY => {
                let pair = [taken(&mut rest), taken(&mut rest)];
                user.push(json!(pair.map(String::from_utf8_lossy)));
            }
            id => {
                let value = taken(&mut rest);
                let name = match id {
                    property::CONTENT_TYPE => "content_type",
                    property::RESPONSE_TOPIC => "response_topic",
                    _ => "correlation",
                };
                let (is_text, value) = text_or_base64(value);
                let end = if is_text { "" } else { "_base64" };
                said.insert(format!("{name}{end}"), value);
            }
        }
    }
    if !user.is_empty() {
        said.insert("user_properties".into(), json!(user));
    }
}

/// Takes bytes with their length before them.
fn taken<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (length, after) = rest.split_first_chunk().unwrap_or((&[0; 2], &[]));
    let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
    let (value, after) = after.split_at(length);
    *rest = after;
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_told_again() {
        let mut given = Given::default();
        for (option, value) in [
            ("expiry", "7"),
            ("content-type", "text/plain"),
            ("response-topic", "a/b"),
            ("correlation", "é"),
            ("user-property", "x=y=z"),
            ("user-property", "="),
        ] {
            given.take(option, value).expect(option);
        }
        let mut said = Map::new();
        tell(&given.encoded(), &mut said);
        let expected = json!({
            "content_type": "text/plain", "response_topic": "a/b", "correlation": "é",
            "user_properties": [["x", "y=z"], ["", ""]],
        });
        assert_eq!(Value::Object(said), expected);
        assert_eq!(given.expiry_s, Some(7));
        assert!(given.take("expiry", "-1").is_err());
        assert!(given.take("response-topic", "a/+").is_err());
        assert!(given.take("content-type", &"x".repeat(65_536)).is_err());
    }

    #[test]
    fn what_is_cut_off_ends_the_telling() {
        let mut said = Map::new();
        tell(b"\x01", &mut said);
        tell(b"\x09\0\x01\xFF\x03\0\x09ab", &mut said);
        let expected = json!({"correlation_base64": "/w==", "content_type": "ab"});
        assert_eq!(Value::Object(said), expected);
    }
}
