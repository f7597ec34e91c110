//! Names to addresses, on threads of their own: the system's resolver blocks, for many seconds where no server answers.
//!
//! A thread `fosquitto-names` is there while names wait, and no longer. There are [`THREADS_MAX`] at most, so that one name whose
//! servers are silent holds up no other; one name is asked for once at a time, whoever waits for it. Names that took long the last time
//! have all threads but one, so that many of them hold up the others for no longer than the resolver's patience, once. How long an asker
//! waits is its own matter: it may go, and the answer is then for whoever still waits.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::answer::{Answerer, answer};

/// Names that are asked for at once. musl's resolver gives up after 5 s, glibc's after 30 or so.
const THREADS_MAX: usize = 4;

/// A name that takes longer has a server that is silent, or far away.
const SLOW: Duration = Duration::from_secs(3);

/// Names that wait; every bridge and every subordinate has one at a time.
const NAMES_MAX: usize = 256;

/// Addresses that are taken of an answer.
const ADDRESSES_MAX: usize = 16;

/// The system's resolvers keep packets and search lists on the stack.
const STACK_BYTES: usize = 256 * 1024;

type Answer = Result<Vec<SocketAddr>, String>;
type Lookup = dyn Fn(&str) -> Answer + Send + Sync;

/// The resolver. Names and addresses have no port: it is 0.
pub(super) struct Names {
    lookup: Arc<Lookup>,
    slow: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Who waits for each name, those included that a thread is at.
    askers: HashMap<String, Vec<Answerer<Answer>>>,
    /// The names that no thread is at.
    waiting: VecDeque<String>,
    threads: usize,
    /// Names that took long the last time.
    slow: HashSet<String>,
    /// Threads that are at one of those.
    slow_threads: usize,
}

impl State {
    /// The next name that a thread may ask for, and whether it is a slow one.
    fn next(&mut self) -> Option<(String, bool)> {
        let has_room = self.slow_threads + 1 < THREADS_MAX;
        let may = |name: &String| has_room || !self.slow.contains(name);
        let index = self.waiting.iter().position(may)?;
        let name = self.waiting.remove(index)?;
        let is_slow = self.slow.contains(&name);
        Some((name, is_slow))
    }
}

impl Default for Names {
    fn default() -> Self {
        Names::with(Arc::new(system), SLOW)
    }
}

fn system(name: &str) -> Answer {
    let found = (name, 0).to_socket_addrs();
    let found = found.map_err(|error| error.to_string())?;
    Ok(found.take(ADDRESSES_MAX).collect())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing panics while it is held.
    state
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Names {
    /// With another resolver than the system's, and another measure of slowness.
    pub(super) fn with(lookup: Arc<Lookup>, slow: Duration) -> Names {
        Names {
            lookup,
            slow,
            state: Arc::default(),
        }
    }

    /// The addresses of a name, in the resolver's order.
    pub(super) async fn resolve(&self, name: &str) -> Answer {
        let (answerer, asked) = answer();
        self.ask(name, answerer);
        asked
            .await
            .unwrap_or_else(|| Err("the resolver's thread has ended".into()))
    }

    fn ask(&self, name: &str, answerer: Answerer<Answer>) {
        let mut state = lock(&self.state);
        if let Some(askers) = state.askers.get_mut(name) {
            // Those who went are not kept for as long as a server is silent.
            askers.retain(|asker| !asker.is_forgotten());
            askers.push(answerer);
            return;
        }
        if state.askers.len() >= NAMES_MAX {
            drop(state);
            answerer.give(Err("too many names wait to be resolved".into()));
            return;
        }
        state.askers.insert(name.to_owned(), vec![answerer]);
        state.waiting.push_back(name.to_owned());
        if state.threads == THREADS_MAX {
            return;
        }
        let (lookup, shared, slow) = (self.lookup.clone(), self.state.clone(), self.slow);
        let started = std::thread::Builder::new()
            .name("fosquitto-names".into())
            .stack_size(STACK_BYTES)
            .spawn(move || work(&*lookup, &shared, slow));
        match started {
            Ok(_) => state.threads += 1,
            // Another thread comes to it when it is free.
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                state.waiting.clear();
                let askers: Vec<_> = state.askers.drain().collect();
                drop(state);
                for answerer in askers.into_iter().flat_map(|(_, askers)| askers) {
                    answerer.give(Err(format!("no thread to resolve it: {error}")));
                }
            }
        }
    }
}

/// Ends when no name waits that it may ask for.
fn work(lookup: &Lookup, shared: &Mutex<State>, slow: Duration) {
    loop {
        let (name, was_slow) = {
            let mut state = lock(shared);
            let Some((name, is_slow)) = state.next() else {
                state.threads -= 1;
                return;
            };
            let is_wanted =
                |askers: &Vec<Answerer<Answer>>| askers.iter().any(|asker| !asker.is_forgotten());
            if !state.askers.get(&name).is_some_and(is_wanted) {
                state.askers.remove(&name);
                continue;
            }
            state.slow_threads += usize::from(is_slow);
            (name, is_slow)
        };
        let begin = Instant::now();
        let answer = lookup(&name);
        let askers = {
            let mut state = lock(shared);
            state.slow_threads -= usize::from(was_slow);
            state.slow.remove(&name);
            if begin.elapsed() >= slow && state.slow.len() < NAMES_MAX {
                state.slow.insert(name.clone());
            }
            state.askers.remove(&name)
        };
        for asker in askers.into_iter().flatten() {
            asker.give(answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Waits for an answer without a loop.
    fn wait<T>(asked: super::super::answer::Asked<T>) -> Option<T> {
        let (woken, wakes) = channel();
        struct Wake(Mutex<Sender<()>>);
        impl std::task::Wake for Wake {
            fn wake(self: Arc<Self>) {
                let _ = self.0.lock().expect("nothing panics").send(());
            }
        }
        let waker = Arc::new(Wake(Mutex::new(woken))).into();
        let mut cx = std::task::Context::from_waker(&waker);
        let mut asked = std::pin::pin!(asked);
        loop {
            if let std::task::Poll::Ready(answer) = asked.as_mut().poll(&mut cx) {
                return answer;
            }
            wakes.recv().expect("it is woken");
        }
    }

    /// A resolver for which names that begin with "silent" have no server until the test lets go.
    fn names() -> (Names, Sender<()>, Receiver<String>) {
        let (release, released) = channel::<()>();
        let (asked, questions) = channel();
        let (released, asked) = (Mutex::new(released), Mutex::new(asked));
        let lookup = move |name: &str| {
            let _ = asked.lock().expect("nothing panics").send(name.to_owned());
            if name.starts_with("silent") {
                let _ = released.lock().map(|released| released.recv());
                return Err("no server".into());
            }
            Ok(vec![SocketAddr::from(([192, 0, 2, 1], 0))])
        };
        let names = Names::with(Arc::new(lookup), Duration::from_millis(50));
        (names, release, questions)
    }

    fn ask(names: &Names, name: &str) -> super::super::answer::Asked<Answer> {
        let (answerer, asked) = answer();
        names.ask(name, answerer);
        asked
    }

    #[test]
    fn a_name_whose_servers_are_silent_holds_up_no_other() {
        let (names, release, questions) = names();
        let silent = ask(&names, "silent.example");
        assert_eq!(questions.recv().as_deref(), Ok("silent.example"));
        for _ in 0..10 {
            let answer = wait(ask(&names, "broker.example"));
            assert!(matches!(answer, Some(Ok(addresses)) if addresses.len() == 1));
        }
        drop(release);
        assert_eq!(wait(silent), Some(Err("no server".into())));
    }

    #[test]
    fn one_name_is_asked_for_once_at_a_time() {
        let (names, release, questions) = names();
        let first = ask(&names, "silent.example");
        let second = ask(&names, "silent.example");
        assert_eq!(questions.recv().as_deref(), Ok("silent.example"));
        drop(release);
        assert!(wait(first).is_some_and(|answer| answer.is_err()));
        assert!(wait(second).is_some_and(|answer| answer.is_err()));
        assert!(questions.try_recv().is_err(), "it was asked for once");
    }

    #[test]
    fn very_many_names_are_refused_and_the_threads_are_few() {
        let (names, release, questions) = names();
        let waiting: Vec<_> = (0..NAMES_MAX)
            .map(|number| ask(&names, &format!("silent{number}")))
            .collect();
        for _ in 0..THREADS_MAX {
            questions.recv().expect("a thread is at it");
        }
        assert!(wait(ask(&names, "one more")).is_some_and(|answer| answer.is_err()));
        assert_eq!(lock(&names.state).threads, THREADS_MAX);
        drop(waiting);
        drop(release);
        // Nobody waits for the others any more, and they are not asked for.
        while lock(&names.state).threads > 0 {
            std::thread::yield_now();
        }
        assert!(lock(&names.state).askers.is_empty());
    }

    #[test]
    fn names_that_were_slow_leave_a_thread_to_the_others() {
        let (names, release, questions) = names();
        let silent = |number: usize| format!("silent{number}");
        let slow = ask(&names, &silent(0));
        questions.recv().expect("a thread is at it");
        std::thread::park_timeout(Duration::from_millis(60));
        release.send(()).expect("it waits");
        assert!(wait(slow).is_some_and(|answer| answer.is_err()));
        assert!(lock(&names.state).slow.contains("silent0"));

        lock(&names.state).slow = (0..2 * THREADS_MAX).map(silent).collect();
        let _waiting: Vec<_> = (0..2 * THREADS_MAX)
            .map(|number| ask(&names, &silent(number)))
            .collect();
        let answer = wait(ask(&names, "broker.example"));
        assert!(matches!(answer, Some(Ok(addresses)) if addresses.len() == 1));
        assert!(lock(&names.state).slow_threads < THREADS_MAX);
        drop(release);
    }
}
