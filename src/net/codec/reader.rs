//! The primitive values of a packet (1.5 of MQTT 5.0), read one after the other from its body.
//!
//! Every function here either gives a value that is well formed and moves on, or a [`Fault`]; none reads
//! beyond the body or panics. What the values mean is told by the files of the packets.

use super::Fault;
use crate::mqtt::PacketId;
use crate::net::frame::variable_byte_integer;

const TRUNCATED: Fault = Fault::malformed("the packet ends within a field");

/// The unread rest of a packet's body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(body: &'a [u8]) -> Reader<'a> {
        Reader { rest: body }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is unread.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    fn take(&mut self, size: usize) -> Result<&'a [u8], Fault> {
        let (head, rest) = self.rest.split_at_checked(size).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(head)
    }

    /// One byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    /// Two Byte Integer (1.5.2).
    #[inline]
    pub(super) fn two_byte(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four Byte Integer (1.5.3).
    #[inline]
    pub(super) fn four_byte(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    /// Variable Byte Integer (1.5.5), in the shortest encoding only [MQTT-1.5.5-1].
    #[inline]
    pub(super) fn variable(&mut self) -> Result<u32, Fault> {
        if let [value @ 0..=0x7F, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u32::from(*value));
        }
        let (value, used) = variable_byte_integer(self.rest)
            .map_err(|_| Fault::malformed("a variable byte integer is ill formed"))?
            .ok_or(TRUNCATED)?;
        self.take(used)?;
        Ok(value)
    }

    /// Binary Data (1.5.6).
    #[inline]
    pub(super) fn binary(&mut self) -> Result<&'a [u8], Fault> {
        let size = self.two_byte()?;
        self.take(usize::from(size))
    }

    /// UTF-8 Encoded String (1.5.4) [MQTT-1.5.4-1], in which U+0000 was not looked for: the caller MUST
    /// do it, as the checks of `mqtt::topic` do.
    #[inline]
    pub(super) fn text(&mut self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.binary()?).map_err(|_| Fault::malformed("a string is not UTF-8"))
    }

    /// UTF-8 Encoded String (1.5.4) without U+0000 [MQTT-1.5.4-2].
    ///
    /// Control characters and non-characters, which a receiver may refuse, pass: what is shown to a person
    /// is escaped there.
    #[inline]
    pub(super) fn string(&mut self) -> Result<&'a str, Fault> {
        let text = self.text()?;
        if text.as_bytes().contains(&0) {
            return Err(Fault::malformed("a string contains U+0000"));
        }
        Ok(text)
    }

    /// A Packet Identifier, which is never 0 [MQTT-2.2.1-3].
    #[inline]
    pub(super) fn packet_id(&mut self) -> Result<PacketId, Fault> {
        PacketId::new(self.two_byte()?).ok_or(Fault::protocol("the packet identifier is 0"))
    }

    /// The bytes of a packet's Properties (2.2.2), without their length.
    #[inline]
    pub(super) fn properties(&mut self) -> Result<&'a [u8], Fault> {
        let size = self.variable()?;
        self.take(size as usize)
    }

    /// Refuses what stands behind a packet's last field.
    #[inline]
    pub(super) fn finish(self) -> Result<(), Fault> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Fault::malformed("bytes follow the packet's last field"))
        }
    }
}
