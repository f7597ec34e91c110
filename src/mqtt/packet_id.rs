//! Packet identifiers (2.2.1 of MQTT 5.0). Which of them are in use is the session's matter.

use std::num::NonZeroU16;

/// The Packet Identifier of a PUBLISH with QoS > 0, SUBSCRIBE or UNSUBSCRIBE and of their answers.
///
/// It is never 0 [MQTT-2.2.1-3].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The lowest identifier.
    pub const FIRST: PacketId = PacketId(NonZeroU16::MIN);

    /// The last one: no message has it, so that a bridge's connection has it for its SUBSCRIBE.
    pub const LINK: PacketId = PacketId(NonZeroU16::MAX);

    /// The identifier of a packet's two bytes, or `None` for 0.
    #[inline]
    pub fn new(id: u16) -> Option<PacketId> {
        NonZeroU16::new(id).map(PacketId)
    }

    /// The number that goes into the packet.
    #[inline]
    pub fn value(self) -> u16 {
        self.0.get()
    }

    /// The identifier after this one; after 65,535 comes 1.
    #[inline]
    pub fn next(self) -> PacketId {
        PacketId(self.0.checked_add(1).unwrap_or(NonZeroU16::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_packet_id_and_the_last_is_followed_by_the_first() {
        assert_eq!(PacketId::new(0), None);
        let last = PacketId::new(u16::MAX).expect("not 0");
        assert_eq!(last.next(), PacketId::FIRST);
    }
}
