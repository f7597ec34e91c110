//! What is kept, seen from outside: the real program is killed under load, stopped and started again, and must have forgotten nothing.
//!
//! `crash` kills it at random points and holds every promise that it made on a socket before; `restart` is the ordered end and the
//! start; `wear` counts what goes to flash. Damaged and foreign files are attacks and stand in `hostile`; power cuts and failing flash need a disk that a test
//! commands, and stand beside the store itself.

mod actors;
mod crash;
mod ledger;
mod link;
mod restart;
mod subscribers;
mod wear;

/// SplitMix64: any seed is good, and the same one gives the same choices everywhere.
pub struct Random(u64);

impl Random {
    /// Seeded by `FOSQUITTO_SEED` or the clock; the seed is printed, which a failing test shows.
    fn new() -> Random {
        let seed = match std::env::var("FOSQUITTO_SEED") {
            Ok(text) => text.parse().expect("FOSQUITTO_SEED is a number"),
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos() as u64),
        };
        println!("FOSQUITTO_SEED={seed}");
        Random(seed)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
