//! Properties (2.2.2 of MQTT 5.0): their identifiers, and how the value of each is laid out.
//!
//! The properties of a PUBLISH that travel with the message are kept as the bytes that they arrived in:
//! they were checked once and go out unchanged and in order [MQTT-3.3.2-17] [MQTT-3.3.2-18].

/// How the value of a property is laid out (1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One byte.
    Byte,
    /// Two bytes, big endian.
    TwoByteInteger,
    /// Four bytes, big endian.
    FourByteInteger,
    /// One to four bytes, seven bits each.
    VariableByteInteger,
    /// A two-byte length and UTF-8 text.
    Utf8String,
    /// Two UTF-8 strings, name and value.
    Utf8StringPair,
    /// A two-byte length and bytes.
    BinaryData,
}

macro_rules! properties {
    ($($name:ident = $id:literal, $layout:ident, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: u8 = $id;)*

        /// The layout of the property with this identifier, or `None` when there is no such property.
        pub fn layout(id: u8) -> Option<Layout> {
            match id {
                $($id => Some(Layout::$layout),)*
                _ => None,
            }
        }

        /// The specification's name of the property with this identifier.
        pub fn name(id: u8) -> &'static str {
            match id {
                $($id => $text,)*
                _ => "unknown property",
            }
        }
    };
}

properties! {
    PAYLOAD_FORMAT_INDICATOR = 0x01, Byte, "Payload Format Indicator";
    MESSAGE_EXPIRY_INTERVAL = 0x02, FourByteInteger, "Message Expiry Interval";
    CONTENT_TYPE = 0x03, Utf8String, "Content Type";
    RESPONSE_TOPIC = 0x08, Utf8String, "Response Topic";
    CORRELATION_DATA = 0x09, BinaryData, "Correlation Data";
    SUBSCRIPTION_IDENTIFIER = 0x0B, VariableByteInteger, "Subscription Identifier";
    SESSION_EXPIRY_INTERVAL = 0x11, FourByteInteger, "Session Expiry Interval";
    ASSIGNED_CLIENT_IDENTIFIER = 0x12, Utf8String, "Assigned Client Identifier";
    SERVER_KEEP_ALIVE = 0x13, TwoByteInteger, "Server Keep Alive";
    AUTHENTICATION_METHOD = 0x15, Utf8String, "Authentication Method";
    AUTHENTICATION_DATA = 0x16, BinaryData, "Authentication Data";
    REQUEST_PROBLEM_INFORMATION = 0x17, Byte, "Request Problem Information";
    WILL_DELAY_INTERVAL = 0x18, FourByteInteger, "Will Delay Interval";
    REQUEST_RESPONSE_INFORMATION = 0x19, Byte, "Request Response Information";
    RESPONSE_INFORMATION = 0x1A, Utf8String, "Response Information";
    SERVER_REFERENCE = 0x1C, Utf8String, "Server Reference";
    REASON_STRING = 0x1F, Utf8String, "Reason String";
    RECEIVE_MAXIMUM = 0x21, TwoByteInteger, "Receive Maximum";
    TOPIC_ALIAS_MAXIMUM = 0x22, TwoByteInteger, "Topic Alias Maximum";
    TOPIC_ALIAS = 0x23, TwoByteInteger, "Topic Alias";
    MAXIMUM_QOS = 0x24, Byte, "Maximum QoS";
    RETAIN_AVAILABLE = 0x25, Byte, "Retain Available";
    USER_PROPERTY = 0x26, Utf8StringPair, "User Property";
    MAXIMUM_PACKET_SIZE = 0x27, FourByteInteger, "Maximum Packet Size";
    WILDCARD_SUBSCRIPTION_AVAILABLE = 0x28, Byte, "Wildcard Subscription Available";
    SUBSCRIPTION_IDENTIFIER_AVAILABLE = 0x29, Byte, "Subscription Identifier Available";
    SHARED_SUBSCRIPTION_AVAILABLE = 0x2A, Byte, "Shared Subscription Available";
}

/// Whether these bytes are whole properties that travel with a message (3.3.2.3), but for the expiry, which is kept apart. For bytes
/// that were read back from where they were stored.
pub fn may_travel(mut bytes: &[u8]) -> bool {
    while let Some((id, rest)) = bytes.split_first() {
        let after = match *id {
            PAYLOAD_FORMAT_INDICATOR => rest.split_first().map(|(_, rest)| rest),
            CONTENT_TYPE | RESPONSE_TOPIC => after_text(rest),
            CORRELATION_DATA => after_data(rest).map(|(_, rest)| rest),
            USER_PROPERTY => after_text(rest).and_then(after_text),
            _ => None,
        };
        let Some(after) = after else {
            return false;
        };
        bytes = after;
    }
    true
}

fn after_text(bytes: &[u8]) -> Option<&[u8]> {
    let (text, rest) = after_data(bytes)?;
    std::str::from_utf8(text).ok()?;
    Some(rest)
}

fn after_data(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_properties_of_a_message_travel() {
        let whole = b"\x01\x01\x03\x00\x01t\x08\x00\x01r\x09\x00\x02\xFF\x00\x26\x00\x01k\x00\x00";
        assert!(may_travel(whole) && may_travel(&[]));
        let ends = [0, 2, 6, 10, 15, 21];
        for end in 0..=whole.len() {
            assert_eq!(may_travel(&whole[..end]), ends.contains(&end), "{end}");
        }
        assert!(!may_travel(b"\x03\x00\x01\xFF"), "no text");
        assert!(!may_travel(b"\x23\x00\x01"), "an alias is a connection's");
    }
}
