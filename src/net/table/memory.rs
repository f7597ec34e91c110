//! What the connections hold in memory, when an output is full, and what is done where memory is short.
//!
//! The table keeps a sum that is rather too large, since a socket may have taken something since the last flush; [`Table::measure`] looks
//! it up. Whether it is too much, the broker's account says; what is done is for the caller, which asks for it here.
//!
//! A large payload that several outputs share is counted in each of them. Which of them lets it go last, nobody could say but ntex's pages, which
//! do not tell what they let go, and a count of its holders would cost every delivery something. So the sum is never less than what there
//! is, and more where many slow clients get the same large messages: by what a full output holds for each. Outputs are kept short earlier
//! than they need be then, and nothing else: what waits in the broker's queues is shared too, and counted once ([`crate::mqtt::Message`]).

use super::live::Through;
use super::{CONGESTED_BYTES, Door, Live, Table};
use crate::broker::{ConnectionId, Sent, Time};
use crate::config::Protocol;
use crate::net::alias::Aliases;
use crate::net::write;

/// An output of this many bytes is full where memory is short. It MUST be more than the socket's high-water mark
/// ([`Live::congestion`] says why).
const CONGESTED_THRIFTY_BYTES: usize = 96 * 1024;

/// What a connection takes by itself, in bytes: its socket's state, its future and its place in the table.
const CONNECTION_BYTES: usize = 3 * 1024;

/// What OpenSSL takes for one, in bytes.
const TLS_BYTES: usize = 32 * 1024;

/// What WebSocket takes for one, in bytes: a page of each direction between its frames and its packets, and its state.
const WEBSOCKET_BYTES: usize = 5 * 1024;

/// Answers of this many bytes that a client has not taken: nothing more is read from it until it has. They are those to 65,536
/// PUBLISHes, so nobody who reads at all gets there; without a bound, a flood of PINGREQ would take all memory.
const ANSWERS_MAX: usize = 256 * 1024;

/// So many bytes may be copied to outputs in a turn at any rate.
const COPIED_MAX_LEAST: usize = 256 * 1024;

impl Table {
    /// What a connection takes, in bytes.
    pub(super) fn cost_of(way: &Through) -> usize {
        match way {
            Through::Door(door) => Table::cost(door),
            Through::Outlet(outlet) if outlet.has_layers() => CONNECTION_BYTES + TLS_BYTES,
            Through::Outlet(_) => CONNECTION_BYTES,
        }
    }

    /// What one more connection through a listener takes, in bytes.
    pub fn cost(door: &Door) -> usize {
        let tls = if door.tls.is_some() { TLS_BYTES } else { 0 };
        let is_websocket = door.listener.protocol == Protocol::WebSocket;
        CONNECTION_BYTES + tls + if is_websocket { WEBSOCKET_BYTES } else { 0 }
    }

    /// What all of them hold, in bytes: rather too much, since sockets may have taken something since their last flush. What outputs hold
    /// costs a quarter more, since it lies in pages, and is there twice for a moment.
    pub fn held(&self) -> usize {
        self.fixed + self.unsent / 4 * 5 + self.gathered
    }

    /// The same, looked up.
    pub fn measure(&mut self) -> usize {
        self.unsent = 0;
        for live in self
            .slots
            .iter_mut()
            .filter_map(|slot| slot.live.as_deref_mut())
        {
            if live.counted > 0 {
                live.counted = live.pending();
            }
            self.unsent += live.counted;
        }
        self.held()
    }

    /// A turn has ended at this moment.
    pub fn set_time(&mut self, now: Time) {
        self.now = now;
    }

    /// Whether outputs are to be kept short.
    pub fn be_thrifty(&mut self, is_thrifty: bool) {
        self.is_thrifty = is_thrifty;
    }

    /// From how many bytes on an output is full.
    #[inline]
    pub(super) fn full(&self) -> usize {
        if self.is_thrifty || self.is_turn_full() {
            CONGESTED_THRIFTY_BYTES
        } else {
            CONGESTED_BYTES
        }
    }

    /// Says how many bytes there are for more, until this is said again: for packets that arrive in part, and a share of them for what is copied
    /// to outputs within one turn.
    pub fn set_room(&mut self, bytes: usize) {
        self.room = Some(bytes);
        self.copied_max = Some((bytes / 4).max(COPIED_MAX_LEAST));
    }

    /// Whether so much goes out in this turn that no further packet is to be handled in it: what outputs hold at its end is more than
    /// sockets have been given a chance to take.
    #[inline]
    pub fn is_turn_full(&self) -> bool {
        self.copied_max.is_some_and(|max| self.copied > max)
    }

    /// A connection has gathered so many bytes of a packet; whether there is memory for them.
    pub fn gathers(&mut self, id: ConnectionId, bytes: usize) -> bool {
        let Some(live) = self.live(id) else {
            return false;
        };
        let before = std::mem::replace(&mut live.gathered, bytes);
        self.gathered = self.gathered - before + bytes;
        self.takes_room(before, bytes)
    }

    /// A connection holds so many bytes beside its packets; whether there is memory for them.
    pub fn keeps(&mut self, id: ConnectionId, bytes: usize) -> bool {
        let Some(live) = self.live(id) else {
            return false;
        };
        let before = std::mem::replace(&mut live.kept, bytes);
        self.fixed = self.fixed - before + bytes;
        self.takes_room(before, bytes)
    }

    fn takes_room(&mut self, before: usize, bytes: usize) -> bool {
        match &mut self.room {
            Some(room) if bytes > before => {
                let more = bytes - before;
                let fits = more <= *room;
                *room = room.saturating_sub(more);
                fits
            }
            _ => true,
        }
    }

    /// The connection whose socket has not taken the most, if that is worth a connection.
    pub fn slowest(&self) -> Option<ConnectionId> {
        let unsent = |(_, live): &(ConnectionId, &Live)| live.counted;
        self.all()
            .filter(|(_, live)| live.counted >= CONGESTED_THRIFTY_BYTES / 2)
            .max_by_key(unsent)
            .map(|(id, _)| id)
    }

    /// Breaks a connection off, with all that it has not taken.
    pub fn abandon(&mut self, id: ConnectionId) {
        if let Some(live) = self.live(id) {
            live.io.terminate();
            let counted = std::mem::take(&mut live.counted);
            self.unsent -= counted;
        }
    }

    /// Whether a client does not take the answers to what it sends.
    pub fn is_backed_up(&mut self, id: ConnectionId) -> bool {
        let Some(live) = self.live(id) else {
            return false;
        };
        if live.answers < ANSWERS_MAX {
            return false;
        }
        live.answers = live.answers.min(live.output.len() + live.pending());
        live.answers >= ANSWERS_MAX && live.closing.is_none()
    }
}

impl Live {
    /// Bytes that it holds beside its output and what it has gathered.
    pub(super) fn aside(&self) -> usize {
        self.kept + self.aliases.as_deref().map_or(0, Aliases::bytes)
    }

    /// Whether the output is full now.
    #[inline]
    pub(super) fn congestion(&mut self, full: usize) -> Sent {
        if self.output.len() + self.unsent < full {
            return Sent::Sent;
        }
        // What the socket had not taken at the last flush it may have taken since. A connection that is called congested
        // MUST hold more than the socket's high-water mark, or nobody would ever say that it has drained.
        self.unsent = self.pending();
        if self.output.len() + self.unsent < full {
            return Sent::Sent;
        }
        self.is_congested = true;
        Sent::Congested
    }

    /// Bytes that the socket has not taken, before and after encryption and framing.
    pub(super) fn pending(&self) -> usize {
        let encrypted = if self.way.has_layers() {
            write::encrypted(&self.io)
        } else {
            0
        };
        encrypted + self.io.with_write_buf(|pages| pages.len()).unwrap_or(0)
    }
}
