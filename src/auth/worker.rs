//! The thread on which passwords are checked.
//!
//! A check takes milliseconds of a router's core, which the event loop must not spend. There is one thread and a short queue: who
//! floods the bus with wrong passwords slows other logins down and nothing else, and when the queue is full the next attempt is
//! answered at once with [`Verdict::Busy`]. What this does not do: it reads no file; the credentials come with each attempt, so a
//! reload needs no word to this thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::{Attempt, Credentials, Denied, Identity};

/// Attempts that wait. At 10 ms each the last one waits 2.5 s, which is less than any client's patience.
const QUEUE_MAX: usize = 256;

/// OpenSSL's hashes need some 10 KiB; a thread's usual 2 MiB would be a router's to reserve for nothing.
const STACK_BYTES: usize = 128 * 1024;

/// What became of an [`Attempt`].
#[derive(Debug)]
pub enum Verdict {
    /// The password is the user's.
    Granted(Identity),
    /// It is not.
    Denied(Denied),
    /// Too many attempts wait already, or the process is stopping: this one was not checked.
    Busy,
}

type Reply = Box<dyn FnOnce(Verdict) + Send>;

struct Job {
    credentials: Arc<Credentials>,
    attempt: Attempt,
    reply: Reply,
}

/// The handle of the thread `fosquitto-auth`, which ends when this is dropped.
pub struct Verifier {
    /// `None` only while dropping: the thread ends when its queue has no sender.
    queue: Option<SyncSender<Job>>,
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Verifier {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> std::io::Result<Verifier> {
        // Reading OpenSSL's configuration and loading its providers takes more stack than a hash: do it on this thread.
        openssl::init();
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let is_stopping = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("fosquitto-auth".into())
            .stack_size(STACK_BYTES)
            .spawn({
                let is_stopping = is_stopping.clone();
                move || work(&jobs, &is_stopping)
            })?;
        Ok(Verifier {
            queue: Some(queue),
            is_stopping,
            thread: Some(thread),
        })
    }

    /// Checks an attempt. `reply` is called exactly once: from the thread, or at once and from here with [`Verdict::Busy`].
    pub fn verify(&self, credentials: Arc<Credentials>, attempt: Attempt, reply: Reply) {
        let job = Job {
            credentials,
            attempt,
            reply,
        };
        let refused = match &self.queue {
            Some(queue) => queue.try_send(job).err(),
            None => Some(TrySendError::Disconnected(job)),
        };
        if let Some(TrySendError::Full(job) | TrySendError::Disconnected(job)) = refused {
            (job.reply)(Verdict::Busy);
        }
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.queue = None;
        if let Some(thread) = self.thread.take()
            // A reply may own the last handle, and a thread cannot wait for its own end.
            && thread.thread().id() != std::thread::current().id()
        {
            // An error means that a reply panicked, which has been told already.
            let _ = thread.join();
        }
    }
}

/// Ends when the [`Verifier`] is dropped; what still waits then is answered, not checked.
fn work(jobs: &Receiver<Job>, is_stopping: &AtomicBool) {
    for job in jobs {
        let verdict = if is_stopping.load(Ordering::Relaxed) {
            Verdict::Busy
        } else {
            job.attempt.decide(&job.credentials)
        };
        (job.reply)(verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{Scratch, attempt};
    use crate::auth::{Secret, set_user};
    use std::sync::mpsc::channel;

    fn credentials() -> Arc<Credentials> {
        let scratch = Scratch::new();
        set_user(scratch.path(), "ann", &Secret::copy_of(b"right")).expect("written");
        Arc::new(Credentials::load(scratch.path()).expect("sound"))
    }

    fn answer(
        verifier: &Verifier,
        credentials: &Arc<Credentials>,
        user: &str,
        password: &[u8],
    ) -> Verdict {
        let (sender, receiver) = channel();
        let reply = move |verdict| sender.send(verdict).expect("the test waits");
        verifier.verify(
            credentials.clone(),
            attempt(user, password),
            Box::new(reply),
        );
        receiver.recv().expect("exactly one reply")
    }

    #[test]
    fn the_right_password_grants_the_users_identity_on_a_small_stack() {
        let (verifier, credentials) = (Verifier::start().expect("a thread"), credentials());
        match answer(&verifier, &credentials, "ann", b"right") {
            Verdict::Granted(identity) => assert_eq!(identity.user(), Some("ann")),
            other => panic!("{other:?}"),
        }
        // The longest password takes OpenSSL's longest way.
        assert!(matches!(
            answer(&verifier, &credentials, "ann", &[b'x'; 65_535]),
            Verdict::Denied(_)
        ));
    }

    #[test]
    fn a_wrong_password_is_refused_like_an_unknown_user() {
        let (verifier, credentials) = (Verifier::start().expect("a thread"), credentials());
        for user in ["ann", "nobody"] {
            let verdict = answer(&verifier, &credentials, user, b"wrong");
            assert!(
                matches!(verdict, Verdict::Denied(Denied::BadUserNameOrPassword)),
                "{user}"
            );
        }
    }

    #[test]
    fn a_full_queue_answers_at_once_and_the_end_answers_everybody() {
        let (verifier, credentials) = (Verifier::start().expect("a thread"), credentials());
        // The first reply holds the thread until the test lets go.
        let (started, has_started) = channel();
        let (release, released) = channel::<()>();
        let hold = move |_| {
            started.send(()).expect("the test waits");
            let _ = released.recv();
        };
        verifier.verify(
            credentials.clone(),
            attempt("ann", b"right"),
            Box::new(hold),
        );
        has_started.recv().expect("the thread runs");
        let (sender, verdicts) = channel();
        let submit = || {
            let sender = sender.clone();
            let reply = move |verdict| sender.send(verdict).expect("the test waits");
            verifier.verify(
                credentials.clone(),
                attempt("ann", b"right"),
                Box::new(reply),
            );
        };
        for _ in 0..QUEUE_MAX {
            submit();
        }
        assert!(verdicts.try_recv().is_err(), "the queue has room for these");
        submit();
        assert!(matches!(verdicts.try_recv(), Ok(Verdict::Busy)));
        let ending = std::thread::spawn({
            let is_stopping = verifier.is_stopping.clone();
            move || {
                while !is_stopping.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                drop(release);
            }
        });
        drop(verifier);
        ending.join().expect("no panic");
        drop(sender);
        assert_eq!(
            verdicts
                .iter()
                .filter(|verdict| matches!(verdict, Verdict::Busy))
                .count(),
            QUEUE_MAX
        );
    }
}
