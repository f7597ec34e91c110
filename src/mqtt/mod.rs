//! The specification's vocabulary as values: topics, packets, messages, identifiers and reason codes.
//!
//! Everything here is plain data with the rules that hold for it alone. Nothing here reads bytes from a
//! connection (`net` does), keeps state between packets or decides what an answer is (`broker` does).

pub mod message;
pub mod packet;
pub mod packet_id;
pub mod property;
pub mod reason;
pub mod tally;
pub mod topic;

pub use message::Message;
pub use packet_id::PacketId;
pub use reason::ReasonCode;
pub use tally::{Charge, Tally};

/// The protocol versions of CONNECT, by the specification that defines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1, protocol name `MQIsdp`, level 3.
    V3_1,
    /// MQTT 3.1.1, protocol name `MQTT`, level 4.
    V3_1_1,
    /// MQTT 5.0, protocol name `MQTT`, level 5.
    V5,
}

impl Version {
    /// Whether the packets of this version carry properties and reason codes.
    #[inline]
    pub fn is_v5(self) -> bool {
        self == Version::V5
    }

    /// The name that log lines use.
    pub fn name(self) -> &'static str {
        match self {
            Version::V3_1 => "3.1",
            Version::V3_1_1 => "3.1.1",
            Version::V5 => "5.0",
        }
    }
}

/// The quality of service of a message or of a subscription (4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Qos {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl Qos {
    /// The level that two bits of a packet name; 3 is none [MQTT-3.3.1-4].
    #[inline]
    pub fn from_bits(bits: u8) -> Option<Qos> {
        match bits {
            0 => Some(Qos::AtMostOnce),
            1 => Some(Qos::AtLeastOnce),
            2 => Some(Qos::ExactlyOnce),
            _ => None,
        }
    }
}

/// What of MQTT a client may use; MQTT 5 tells it in CONNACK (3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Maximum QoS.
    pub max_qos: Qos,
    /// Retain Available.
    pub retain_available: bool,
    /// Topic Alias Maximum; 0: no alias.
    pub max_topic_alias: u16,
}

impl Default for Capabilities {
    /// All of MQTT, and aliases for the busy topics of any client here.
    fn default() -> Self {
        Capabilities {
            max_qos: Qos::ExactlyOnce,
            retain_available: true,
            max_topic_alias: 16,
        }
    }
}
