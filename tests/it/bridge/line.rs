//! A line between two routers that is slow, goes dead and is cut: a relay of bytes in a router's network, which holds back for a time what goes
//! over it each way. It stands in for the kernel's own delays, which not every kernel has, and knows nothing of what it carries.
//!
//! What is held back when the line is cut is lost, as on a real one.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::routers::{LONG, Network};

/// Which way something goes over a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From who has connected.
    There,
    /// To who has connected.
    Back,
}

/// A line, which lasts as long as the test.
pub(super) struct Line(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    delay: Duration,
    /// Nothing that goes this way comes out.
    dead: Option<Way>,
    is_cut: bool,
    /// How often it was cut.
    cuts: usize,
    /// Bytes that are held back, there and back.
    held: [usize; 2],
}

impl Line {
    /// A line in a router from one address to another.
    pub(super) fn new(network: &Network, router: &str, from: SocketAddr, to: SocketAddr) -> Line {
        let listener = network.within(router, move || TcpListener::bind(from));
        let listener = listener.expect("the address is the router's");
        let shared = Arc::new(Shared::default());
        let (line, door) = (Line(shared.clone()), network.door(router));
        thread::spawn(move || {
            super::routers::enter(&door).expect("the namespace can be entered");
            for near in listener.incoming().flatten() {
                let cuts = shared.lock().cuts;
                // Dropped, it is closed: there is no line, or nobody at its end.
                if let (false, Ok(far)) = (shared.lock().is_cut, TcpStream::connect(to)) {
                    carry(&near, &far, Way::There, cuts, &shared);
                    carry(&far, &near, Way::Back, cuts, &shared);
                }
            }
        });
        line
    }

    /// From now on what goes over it takes so long each way.
    pub(super) fn delay(&self, delay: Duration) {
        self.0.change(|state| state.delay = delay);
    }

    /// From now on nothing comes out that goes this way, until it is cut.
    pub(super) fn die(&self, way: Way) {
        self.0.change(|state| state.dead = Some(way));
    }

    /// Waits until something is held back on this way.
    pub(super) fn wait_until_it_holds(&self, way: Way) {
        let holds = |state: &State| state.held[way as usize] > 0;
        let deadline = Instant::now() + LONG;
        let mut state = self.0.lock();
        while !holds(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing goes over the line");
            state = self.0.wait(state, left);
        }
    }

    /// Breaks all connections and loses what is on its way; nothing connects until it is mended.
    pub(super) fn cut(&self) {
        self.0.change(|state| {
            (state.is_cut, state.dead) = (true, None);
            state.cuts += 1;
            state.held = [0, 0];
        });
    }

    /// It is there again.
    pub(super) fn mend(&self) {
        self.0.change(|state| state.is_cut = false);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, time);
        waited.expect("no thread panics with it").0
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// What is on its way, and since when.
type OnItsWay = Arc<Mutex<VecDeque<(Instant, Vec<u8>)>>>;

/// Carries bytes one way, on two threads, until an end closes or the line is cut once more than `cuts` times.
fn carry(from: &TcpStream, to: &TcpStream, way: Way, cuts: usize, shared: &Arc<Shared>) {
    let second = |stream: &TcpStream| stream.try_clone().expect("a socket has a second handle");
    let (mut reader, mut writer, ends) = (second(from), second(to), [second(from), second(to)]);
    let held = OnItsWay::default();
    let (taken, shared, readers) = (held.clone(), shared.clone(), shared.clone());
    thread::spawn(move || {
        let mut chunk = [0; 16_384];
        loop {
            // Nothing read: the end, which comes out after all that went before it.
            let count = reader.read(&mut chunk).unwrap_or(0);
            let mut state = readers.lock();
            if state.cuts != cuts {
                return;
            }
            let mut held = held.lock().expect("no thread panics with it");
            held.push_back((Instant::now(), chunk[..count].to_vec()));
            state.held[way as usize] += count;
            drop((state, held));
            readers.changed.notify_all();
            if count == 0 {
                return;
            }
        }
    });
    thread::spawn(move || {
        while let Some(bytes) = next(&taken, way, cuts, &shared) {
            if bytes.is_empty() || writer.write_all(&bytes).is_err() {
                break;
            }
        }
        for end in ends {
            // An error means that it is closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    });
}

/// Waits for the next bytes that come out; `None` when the line is cut.
fn next(held: &OnItsWay, way: Way, cuts: usize, shared: &Shared) -> Option<Vec<u8>> {
    let mut state = shared.lock();
    loop {
        if state.cuts != cuts {
            return None;
        }
        let mut held = held.lock().expect("no thread panics with it");
        let since = held.front().map(|(since, _)| *since);
        let due = since.filter(|_| state.dead != Some(way));
        let left = due.map(|since| (since + state.delay).saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            let (_, bytes) = held.pop_front()?;
            state.held[way as usize] -= bytes.len();
            return Some(bytes);
        }
        drop(held);
        state = shared.wait(state, left.unwrap_or(LONG));
    }
}
