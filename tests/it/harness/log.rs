//! The log of a running program, line by line, with waits for what it is to say.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use super::PATIENCE;

/// All lines that a program has written so far.
#[derive(Clone, Default)]
pub struct Log {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads `source` to its end on a thread of its own.
    pub fn follow(source: impl Read + Send + 'static) -> Log {
        let log = Log::default();
        let writer = log.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                let text = String::from_utf8_lossy(&line)
                    .trim_end_matches('\n')
                    .to_owned();
                writer.state().lines.push(text);
                writer.shared.1.notify_all();
                line.clear();
            }
            writer.state().ended = true;
            writer.shared.1.notify_all();
        });
        log
    }

    /// How many lines there are: the place to wait from for what comes later.
    pub fn mark(&self) -> usize {
        self.state().lines.len()
    }

    /// All lines.
    pub fn lines(&self) -> Vec<String> {
        self.state().lines.clone()
    }

    /// Whether a line from `mark` on contains `text`.
    pub fn says(&self, mark: usize, text: &str) -> bool {
        let state = self.state();
        state
            .lines
            .iter()
            .skip(mark)
            .any(|line| line.contains(text))
    }

    /// Waits for a line from `mark` on that contains `text`, and returns it.
    ///
    /// # Panics
    /// When the program ends or [`PATIENCE`] is over before it says so.
    pub fn wait_from(&self, mark: usize, text: &str) -> String {
        self.wait_for_any(mark, &[text])
    }

    /// Waits for a line from `mark` on that contains one of `texts`.
    pub fn wait_for_any(&self, mark: usize, texts: &[&str]) -> String {
        let found = self.wait(|state| {
            let said = |line: &&String| texts.iter().any(|text| line.contains(text));
            let line = state.lines.iter().skip(mark).find(said).cloned();
            // An end is an answer too: nothing will be said any more.
            line.map(Some).or(state.ended.then_some(None))
        });
        let lines = || self.lines().join("\n");
        found.flatten().unwrap_or_else(|| {
            panic!(
                "the log does not say any of {texts:?}; it says:\n{}",
                lines()
            )
        })
    }

    /// Waits for the end of the log, which comes with the end of the program.
    pub fn wait_for_end(&self) {
        let ended = self.wait(|state| state.ended.then_some(()));
        assert!(
            ended.is_some(),
            "the program does not end; it says:\n{}",
            self.lines().join("\n")
        );
    }

    fn wait<T>(&self, mut condition: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + *PATIENCE;
        let mut state = self.state();
        loop {
            let found = condition(&state);
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() {
                return found;
            }
            let woken = self.shared.1.wait_timeout(state, left);
            state = woken.expect("nobody panics with the lock").0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("nobody panics with the lock")
    }
}
