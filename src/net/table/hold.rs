//! Packets that must not leave before a change is on flash: they wait in their connection's output, and all that follows them.
//!
//! Whoever says the change to the store calls [`Table::hold`]; until the broker has its next input ([`Table::hold_no_more`]), packets that
//! may promise something are marked. What a mark waits for is known at the end of the turn ([`Table::flush`]), and
//! [`Table::release`] lets everything go that waits for no more than that.
//!
//! QoS 0 messages promise nothing: a connection without a mark gets them at once, one with a mark in their order. It knows nothing of
//! the store but the numbers.

use std::collections::VecDeque;

use super::{Live, Table};
use crate::broker::ConnectionId;

/// What a mark waits for until the turn's end.
const THIS_TURN: u64 = u64::MAX;

/// The marks of one connection's output, in order.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// From which byte on, and for which number.
    marks: VecDeque<(usize, u64)>,
}

impl Table {
    /// From now on, what is sent waits for the changes of this turn.
    pub fn hold(&mut self) {
        self.is_holding = true;
    }

    /// The next input begins.
    #[inline]
    pub fn hold_no_more(&mut self) {
        self.is_holding = false;
    }

    /// Lets everything go that waits for a number up to this one.
    pub fn release(&mut self, number: u64) {
        for index in std::mem::take(&mut self.held) {
            let Some(live) = self.slots[index as usize].live.as_deref_mut() else {
                continue;
            };
            let Some(held) = &mut live.held else {
                continue;
            };
            while held
                .marks
                .front()
                .is_some_and(|(_, waits_for)| *waits_for <= number)
            {
                held.marks.pop_front();
            }
            if held.marks.is_empty() {
                live.held = None;
                if live.is_congested {
                    // What it held counted as not drained.
                    live.io.notify_dispatcher();
                }
            } else {
                self.held.push(index);
            }
            if !live.is_dirty {
                live.is_dirty = true;
                self.dirty.push(index);
            }
        }
    }

    /// Whether something of a connection is being held.
    pub fn is_held(&mut self, id: ConnectionId) -> bool {
        self.live(id).is_some_and(|live| live.held.is_some())
    }
}

impl Live {
    /// Marks what follows in this turn. Whether it is the first mark of the output.
    #[inline]
    pub(super) fn hold(&mut self) -> bool {
        let is_first = self.held.is_none();
        let held = self.held.get_or_insert_default();
        if held
            .marks
            .back()
            .is_none_or(|(_, waits_for)| *waits_for != THIS_TURN)
        {
            held.marks.push_back((self.output.len(), THIS_TURN));
        }
        is_first
    }

    /// How much of the output may leave; `number` is what this turn's marks wait for.
    pub(super) fn free_bytes(&mut self, number: u64) -> usize {
        let Some(held) = &mut self.held else {
            return self.output.len();
        };
        if let Some((_, waits_for)) = held.marks.back_mut().filter(|(_, it)| *it == THIS_TURN) {
            *waits_for = number;
        }
        let free = held
            .marks
            .front()
            .map_or(self.output.len(), |(from, _)| *from);
        for (from, _) in &mut held.marks {
            *from -= free;
        }
        free
    }
}
