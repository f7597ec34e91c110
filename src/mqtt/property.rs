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
