//! Packets that wait for their sockets: how many, for `$SYS`.
//!
//! A packet counts from the moment at which it is encoded until its socket has taken it. Where each packet ends is not remembered, since
//! that would cost every message something for the sake of a number: of those since the socket had last taken everything it is known
//! how many there were and how many bytes they had, and what is left of the bytes says what is left of them. So the number is
//! exact where nothing waits and where nothing was taken yet, and between the two if packets have one size.

use super::{Live, Table};

/// What went into one connection's output since its socket had taken all that was in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backlog {
    /// Packets since the last flush.
    fresh: u32,
    /// Packets before that.
    packets: u32,
    /// Bytes that were given to the socket.
    bytes: usize,
}

impl Backlog {
    /// A packet was encoded.
    #[inline]
    pub fn add(&mut self) {
        self.fresh = self.fresh.wrapping_add(1);
    }

    /// So many bytes go to the socket; `is_drained`: it had taken all before them.
    #[inline]
    pub fn flush(&mut self, bytes: usize, is_drained: bool) {
        let before = if is_drained {
            Backlog::default()
        } else {
            *self
        };
        *self = Backlog {
            fresh: 0,
            packets: before.packets.saturating_add(self.fresh),
            bytes: before.bytes.saturating_add(bytes),
        };
    }

    /// How many packets the bytes are that are left: some in the output, some with the socket.
    pub fn left(&self, output: usize, socket: usize) -> u64 {
        let (left, all) = (output + socket, output + self.bytes);
        let packets = u64::from(self.packets) + u64::from(self.fresh);
        match all {
            0 => 0,
            _ => (packets * left as u64).div_ceil(all as u64).min(packets),
        }
    }
}

impl Live {
    /// Packets and bytes that its socket has not taken.
    pub(super) fn backlog(&self) -> (u64, u64) {
        let (output, socket) = (self.output.len(), self.pending());
        let packets = self.backlog.left(output, socket);
        (packets, (output + socket) as u64)
    }
}

impl Table {
    /// Packets and bytes that sockets have not taken, looked up with each connection.
    pub fn backlog(&self) -> (u64, u64) {
        let lives = self.slots.iter().filter_map(|slot| slot.live.as_deref());
        lives.map(Live::backlog).fold((0, 0), |sum, one| {
            let (packets, bytes) = one;
            (sum.0 + packets, sum.1 + bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_count_from_being_encoded_until_the_socket_has_them() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.left(0, 0), 0);
        for _ in 0..3 {
            backlog.add();
        }
        assert_eq!(backlog.left(30, 0), 3, "in the output");
        backlog.flush(30, true);
        assert_eq!(backlog.left(0, 30), 3, "with the socket");
        assert_eq!(backlog.left(0, 20), 2);
        assert_eq!(backlog.left(0, 1), 1, "a part of one is one");
        backlog.add();
        assert_eq!(backlog.left(10, 20), 3);
        backlog.flush(10, false);
        assert_eq!(backlog.left(0, 40), 4);
        assert_eq!(backlog.left(0, 0), 0);
        backlog.add();
        backlog.flush(10, true);
        assert_eq!(backlog.left(0, 10), 1, "what was taken counts no more");
        // TLS makes more bytes of them, and no more packets.
        assert_eq!(backlog.left(0, 50), 1);
    }
}
