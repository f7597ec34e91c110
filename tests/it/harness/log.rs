//! The log of a running program, line by line, with waits for what it is to say.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
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
            let (state, changed) = &*writer.shared;
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                let text = String::from_utf8_lossy(&line)
                    .trim_end_matches('\n')
                    .to_owned();
                state.lock().expect("no holder panics").lines.push(text);
                changed.notify_all();
                line.clear();
            }
            state.lock().expect("no holder panics").ended = true;
            changed.notify_all();
        });
        log
    }

    /// How many lines there are: the place to wait from for what comes later.
    pub fn mark(&self) -> usize {
        self.shared.0.lock().expect("no holder panics").lines.len()
    }

    /// All lines.
    pub fn lines(&self) -> Vec<String> {
        self.shared
            .0
            .lock()
            .expect("no holder panics")
            .lines
            .clone()
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
        let (state, changed) = &*self.shared;
        let deadline = Instant::now() + PATIENCE;
        let mut state = state.lock().expect("no holder panics");
        loop {
            let new = state.lines.iter().skip(mark);
            if let Some(line) = new
                .clone()
                .find(|line| texts.iter().any(|text| line.contains(text)))
            {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !state.ended,
                "the log does not say any of {texts:?}; it says:\n{}",
                state.lines.join("\n")
            );
            state = changed
                .wait_timeout(state, left)
                .expect("no holder panics")
                .0;
        }
    }

    /// Waits for the end of the log, which comes with the end of the program.
    pub fn wait_for_end(&self) {
        let (state, changed) = &*self.shared;
        let deadline = Instant::now() + PATIENCE;
        let mut state = state.lock().expect("no holder panics");
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the program does not end");
            state = changed
                .wait_timeout(state, left)
                .expect("no holder panics")
                .0;
        }
    }
}
