//! What keeps a flood from one address or one client from being everybody's flood: connections, wrong passwords, fights for a client id.
//!
//! A [`Guard`] keeps small tables of who did how much of what lately, and says what is to be done: refuse a connection, answer a wrong
//! password later, let a takeover wait. Whoever does nothing of the kind stands in no table, and a table has a fixed size: the entry that is
//! nearest to being forgotten makes place. It waits for nothing itself, and it knows no connection. It may be asked from any thread.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Entries of each table: more than a house has devices, at some 50 bytes each.
const ENTRIES_MAX: usize = 1024;

/// An address may open as many connections at once as its rate permits in this time, in milliseconds: a host of many clients comes
/// back all at once after a restart of the router.
const CONNECTION_BURST_MS: u64 = 10_000;

/// A wrong password costs an address as much as so many connections.
const FAILURE_IN_CONNECTIONS: u64 = 10;

/// One wrong password is forgotten after this time, in milliseconds.
const FAILURE_MS: u64 = 10_000;

/// So many wrong passwords are answered at once: people mistype.
const FAILURES_FREE: u64 = 5;

/// Each further one adds this to the delay of its answer, in milliseconds.
const FAILURE_DELAY_MS: u64 = 500;

/// What is remembered of an address's wrong passwords, in milliseconds of [`FAILURE_MS`]: after ten quiet minutes nothing.
const FAILURES_MS_MAX: u64 = 600_000;

/// A client id may change hands this often for any time, in milliseconds between two takeovers.
const TAKEOVER_MS: u64 = 250;

/// So many takeovers may come at once, of a client whose network changes again and again.
const TAKEOVERS_FREE: u64 = 10;

/// A takeover that would have to wait for longer is refused, in milliseconds.
const TAKEOVER_DELAY_MS_MAX: u64 = 2000;

/// Lines of one kind that are logged at once, and the time between two after that, in milliseconds.
const LINES_FREE: u64 = 50;
const LINE_MS: u64 = 2000;

/// What an owner sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// New connections a second from one address; 0 for no bound.
    pub connections_per_s: u32,
    /// The longest delay of the answer to a wrong password, in milliseconds; 0 for none.
    pub login_delay_ms: u64,
}

/// What is to be done with a client that takes over a session whose client is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// Let it.
    Now,
    /// Let it after so many milliseconds.
    After(u64),
    /// Refuse it: the identifier is fought for.
    Refuse,
}

/// The guard of all listeners.
#[derive(Debug)]
pub struct Guard {
    clock: fn() -> u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rates: Rates,
    connections: Recent<IpAddr>,
    failures: Recent<IpAddr>,
    /// By the hash of the Client Identifier: two that share one are slowed together, which harms nobody.
    takeovers: Recent<u64>,
    hasher: RandomState,
    refusals: Throttle,
    denials: Throttle,
}

impl Guard {
    /// A guard that knows nobody. `clock` gives milliseconds and never goes back.
    pub fn new(rates: Rates, clock: fn() -> u64) -> Guard {
        Guard {
            clock,
            state: Mutex::new(State {
                rates,
                connections: Recent::default(),
                failures: Recent::default(),
                takeovers: Recent::default(),
                hasher: RandomState::new(),
                refusals: Throttle::default(),
                denials: Throttle::default(),
            }),
        }
    }

    /// Follows new settings.
    pub fn set(&self, rates: Rates) {
        self.state().rates = rates;
    }

    /// Whether a new connection may come in. Those from the router itself always may. The log is told of one that may not.
    pub fn admits(&self, from: IpAddr) -> bool {
        let now_ms = (self.clock)();
        let from = from.to_canonical();
        let mut state = self.state();
        let Some(interval_ms) = state.interval_ms(from) else {
            return true;
        };
        let used_ms = state.connections.used(from, now_ms);
        if used_ms < CONNECTION_BURST_MS {
            state.connections.charge(from, now_ms, interval_ms);
            return true;
        }
        if let Some(left_out) = state.refusals.say(now_ms) {
            log::warn!(
                "{from}: refused: too many connections a second{}",
                LeftOut(left_out)
            );
        }
        false
    }

    /// A password was wrong: how long its answer has to wait, in milliseconds. `None` is a Unix socket.
    pub fn failed(&self, from: Option<IpAddr>) -> u64 {
        let Some(from) = from.map(|from| from.to_canonical()) else {
            return 0;
        };
        let now_ms = (self.clock)();
        let mut state = self.state();
        if let Some(interval_ms) = state.interval_ms(from) {
            let cost_ms = interval_ms * FAILURE_IN_CONNECTIONS;
            state.connections.charge(from, now_ms, cost_ms);
        }
        let network = network(from);
        let used_ms = state.failures.used(network, now_ms);
        if used_ms < FAILURES_MS_MAX {
            state.failures.charge(network, now_ms, FAILURE_MS);
        }
        let failures = used_ms.div_ceil(FAILURE_MS) + 1;
        let delay_ms = failures.saturating_sub(FAILURES_FREE) * FAILURE_DELAY_MS;
        delay_ms.min(state.rates.login_delay_ms)
    }

    /// A client comes for a session whose client is there: what is to be done.
    pub fn takes_over(&self, client_id: &str) -> Takeover {
        let now_ms = (self.clock)();
        let mut state = self.state();
        let key = state.hasher.hash_one(client_id);
        let used_ms = state.takeovers.used(key, now_ms);
        let delay_ms = used_ms.saturating_sub((TAKEOVERS_FREE - 1) * TAKEOVER_MS);
        if delay_ms > TAKEOVER_DELAY_MS_MAX {
            return Takeover::Refuse;
        }
        state.takeovers.charge(key, now_ms, TAKEOVER_MS);
        if delay_ms == 0 {
            Takeover::Now
        } else {
            Takeover::After(delay_ms)
        }
    }

    /// Whether the log is to be told of a client that was refused, and how many it was not told of before.
    pub fn tells_of_denial(&self) -> Option<LeftOut> {
        let now_ms = (self.clock)();
        self.state().denials.say(now_ms).map(LeftOut)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with it left numbers, which are right enough.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What one connection costs an address, in milliseconds; `None` where there is no bound.
    fn interval_ms(&self, from: IpAddr) -> Option<u64> {
        let rate = u64::from(self.rates.connections_per_s);
        (rate > 0 && !from.is_loopback()).then(|| (1000 / rate).max(1))
    }
}

/// Who is behind an address: of IPv6, all of its network of 64 bits, since every host there has as many addresses as it likes; but of the
/// link-local network, which all share, the address itself.
fn network(from: IpAddr) -> IpAddr {
    match from {
        IpAddr::V6(address) if !address.is_unicast_link_local() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
        }
        _ => from,
    }
}

/// A table of who has used how much of what they may, each as the moment at which all of it is forgotten.
#[derive(Debug)]
struct Recent<K>(HashMap<K, u64>);

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Recent(HashMap::new())
    }
}

impl<K: Hash + Eq + Copy> Recent<K> {
    /// What is not forgotten, in milliseconds.
    fn used(&self, key: K, now_ms: u64) -> u64 {
        let until_ms = self.0.get(&key).copied().unwrap_or(0);
        until_ms.saturating_sub(now_ms)
    }

    /// Adds so many milliseconds.
    fn charge(&mut self, key: K, now_ms: u64, cost_ms: u64) {
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(&key) {
            self.0.retain(|_, until_ms| *until_ms > now_ms);
            let nearest = self.0.iter().min_by_key(|(_, until_ms)| **until_ms);
            if self.0.len() >= ENTRIES_MAX
                && let Some(nearest) = nearest.map(|(key, _)| *key)
            {
                self.0.remove(&nearest);
            }
        }
        let until_ms = self.0.entry(key).or_insert(0);
        *until_ms = (*until_ms).max(now_ms) + cost_ms;
    }
}

/// How often a kind of line is logged, and how many were left out.
#[derive(Debug, Default)]
pub struct Throttle {
    until_ms: u64,
    left_out: u64,
}

impl Throttle {
    /// Whether a line is to be logged at this moment: how many were left out since the last one.
    pub fn say(&mut self, now_ms: u64) -> Option<u64> {
        let used_ms = self.until_ms.saturating_sub(now_ms);
        if used_ms >= LINES_FREE * LINE_MS {
            self.left_out += 1;
            return None;
        }
        self.until_ms = self.until_ms.max(now_ms) + LINE_MS;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// The end of a log line: how many of its kind were left out before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut(pub u64);

impl std::fmt::Display for LeftOut {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(out, " ({count} such lines were left out)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static NOW_MS: Cell<u64> = const { Cell::new(1_000_000) };
    }

    fn pass(ms: u64) {
        NOW_MS.set(NOW_MS.get() + ms);
    }

    fn guard() -> Guard {
        let rates = Rates {
            connections_per_s: 100,
            login_delay_ms: 5000,
        };
        Guard::new(rates, || NOW_MS.get())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_that_connects_too_often_is_refused_and_others_are_not() {
        let guard = guard();
        let flood = ip("192.0.2.1");
        let admitted = (0..5000).filter(|_| guard.admits(flood)).count();
        assert_eq!(admitted, 1000);
        assert!(guard.admits(ip("192.0.2.2")));
        assert!(
            !guard.admits(ip("::ffff:192.0.2.1")),
            "it is the same address"
        );
        pass(1000);
        assert_eq!((0..5000).filter(|_| guard.admits(flood)).count(), 100);
    }

    #[test]
    fn the_router_itself_is_never_refused() {
        let guard = guard();
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!((0..5000).all(|_| guard.admits(ip(address))), "{address}");
        }
    }

    #[test]
    fn no_rate_is_no_bound() {
        let guard = guard();
        guard.set(Rates {
            connections_per_s: 0,
            login_delay_ms: 0,
        });
        assert!((0..5000).all(|_| guard.admits(ip("192.0.2.1"))));
        assert!((0..50).all(|_| guard.failed(Some(ip("192.0.2.1"))) == 0));
    }

    #[test]
    fn wrong_passwords_are_answered_later_and_later_and_forgotten_in_time() {
        let guard = guard();
        let from = Some(ip("192.0.2.1"));
        let delays: Vec<u64> = (0..8).map(|_| guard.failed(from)).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 500, 1000, 1500]);
        for _ in 0..1000 {
            assert!(guard.failed(from) <= 5000);
        }
        assert_eq!(guard.failed(from), 5000);
        assert_eq!(guard.failed(Some(ip("192.0.2.2"))), 0);
        assert_eq!(guard.failed(None), 0);
        pass(FAILURES_MS_MAX);
        assert_eq!(guard.failed(from), 0);
    }

    #[test]
    fn who_changes_the_address_within_its_network_is_the_same() {
        let guard = guard();
        for host in 1..=6 {
            guard.failed(Some(ip(&format!("2001:db8::{host}"))));
        }
        assert!(guard.failed(Some(ip("2001:db8::7"))) > 0);
        assert_eq!(guard.failed(Some(ip("2001:db8:0:1::7"))), 0);
        for host in 1..=6 {
            guard.failed(Some(ip(&format!("fe80::{host}"))));
        }
        assert_eq!(guard.failed(Some(ip("fe80::7"))), 0);
    }

    #[test]
    fn wrong_passwords_cost_connections() {
        let guard = guard();
        let from = ip("192.0.2.1");
        for _ in 0..100 {
            guard.failed(Some(from));
        }
        assert!(!guard.admits(from));
    }

    #[test]
    fn a_fight_for_a_client_id_is_slowed_down_and_then_refused() {
        let guard = guard();
        for _ in 0..TAKEOVERS_FREE {
            assert_eq!(guard.takes_over("a"), Takeover::Now);
        }
        let mut last_ms = 0;
        for _ in 0..8 {
            let Takeover::After(ms) = guard.takes_over("a") else {
                panic!("it waits");
            };
            assert!(ms > last_ms);
            last_ms = ms;
        }
        assert_eq!(guard.takes_over("a"), Takeover::Refuse);
        assert_eq!(guard.takes_over("b"), Takeover::Now);
        pass(60_000);
        assert_eq!(guard.takes_over("a"), Takeover::Now);
    }

    #[test]
    fn the_tables_do_not_grow_with_the_addresses_and_keep_the_worst() {
        let guard = guard();
        let worst = ip("192.0.2.1");
        while guard.admits(worst) {}
        for host in 0..10_000_u32 {
            guard.admits(IpAddr::V4((0x0A00_0000 + host).into()));
        }
        assert_eq!(guard.state().connections.0.len(), ENTRIES_MAX);
        assert!(!guard.admits(worst));
    }

    #[test]
    fn lines_of_a_flood_are_left_out_and_counted() {
        let mut throttle = Throttle::default();
        let said = (0..1000).filter(|_| throttle.say(5).is_some()).count();
        assert_eq!(said as u64, LINES_FREE);
        assert_eq!(throttle.say(5 + LINE_MS), Some(1000 - LINES_FREE));
        assert_eq!(LeftOut(3).to_string(), " (3 such lines were left out)");
    }
}
