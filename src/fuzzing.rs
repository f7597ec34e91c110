//! What the fuzz targets (`tests/fuzz`) reach of the private parts, and what they share with the tests here.
//!
//! It is there in tests and with the feature `fuzzing`, which nothing that is installed has: the rest of the program stays
//! as closed as it is. A target is a function of bytes that panics when something does not hold; those that need only
//! public parts stand in `tests/fuzz`.

pub use crate::auth::fuzzing::{passwd, replace_user, scram};
pub use crate::broker::tests::{any_inputs::any_inputs, model::model, simulation::simulation};
pub use crate::net::websocket::frames::{Event, Reader};
pub use crate::net::websocket::upgrade::{HEAD_MAX, Upgrade, head};

/// Bytes as a row of decisions. When they have come to their end every decision is the last one that there is.
#[derive(Debug, Clone)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// The decisions that these bytes make.
    pub fn new(bytes: &'a [u8]) -> Choices<'a> {
        Choices(bytes)
    }

    /// Whether no byte is left.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `end`, which is not 0. It takes one byte, or eight where one is not enough.
    pub fn below(&mut self, end: u64) -> u64 {
        let size = if end <= 256 { 1 } else { 8 };
        match self.0.split_at_checked(size) {
            Some((bytes, rest)) => {
                self.0 = rest;
                let number = bytes
                    .iter()
                    .fold(0, |number, byte| number << 8 | u64::from(*byte));
                number % end
            }
            None => {
                self.0 = &[];
                end - 1
            }
        }
    }

    /// One of these, which are not none.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// The next bytes, at most so many.
    pub fn bytes(&mut self, size: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(size.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }
}

/// Whether a Topic Filter matches a Topic Name (4.7), word for word as the specification has it and in no hurry: what the
/// router and [`topic::matches`](crate::mqtt::topic::matches) are held to.
pub fn matches_naively(filter: &str, name: &str) -> bool {
    fn levels(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            // "it represents the parent and any number of child levels" (4.7.1.2).
            (["#"], _) => true,
            ([wanted, filter @ ..], [level, name @ ..]) => {
                (*wanted == "+" || wanted == level) && levels(filter, name)
            }
            (filter, name) => filter.is_empty() && name.is_empty(),
        }
    }
    // [MQTT-4.7.2-1]
    if name.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    levels(&filter, &name)
}
