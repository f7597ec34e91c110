//! A count of bytes that all who hold memory for clients share: the one accountant of the broker.
//!
//! Whoever takes memory adds to it and takes the same away again; a [`Charge`] does the second by itself when it is dropped,
//! so that nothing has to be remembered on any of the ways on which a session or a connection ends. It decides nothing:
//! what happens when there is too much is the broker's matter.

use std::cell::Cell;
use std::rc::Rc;

/// A shared count of bytes. Clones are the same count.
#[derive(Debug, Clone, Default)]
pub struct Tally(Rc<Cell<usize>>);

impl Tally {
    /// How many bytes there are.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.0.get()
    }

    /// Adds bytes.
    #[inline]
    pub fn add(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes);
    }

    /// Takes bytes away that were added before.
    #[inline]
    pub fn remove(&self, bytes: usize) {
        debug_assert!(bytes <= self.0.get(), "what is removed was added");
        self.0.set(self.0.get().saturating_sub(bytes));
    }
}

/// What one holder has added to a tally; taken away when it is dropped.
#[derive(Debug)]
pub struct Charge {
    tally: Tally,
    bytes: usize,
}

impl Charge {
    /// Adds bytes to a tally.
    pub fn new(tally: &Tally, bytes: usize) -> Charge {
        tally.add(bytes);
        Charge {
            tally: tally.clone(),
            bytes,
        }
    }

    /// Adds more.
    #[inline]
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.tally.add(bytes);
    }

    /// Takes some away.
    #[inline]
    pub fn remove(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.tally.remove(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.tally.remove(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_gone_with_its_holder() {
        let tally = Tally::default();
        let mut charge = Charge::new(&tally, 10);
        charge.add(5);
        charge.remove(3);
        assert_eq!(tally.bytes(), 12);
        drop(charge);
        assert_eq!(tally.bytes(), 0);
    }
}
