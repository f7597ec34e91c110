//! One answer from a thread to a future of the event loop. Entered through [`answer`], and through [`aside`] with a thread for it.
//!
//! The loop's tasks may be woken from any thread. An asker that is dropped is not told, and the thread can see that.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// The end that gives the answer; dropped without one, the asker is told so.
pub(super) struct Answerer<T>(Arc<Mutex<Slot<T>>>);

/// The end that waits: `None` if there will be no answer.
pub(super) struct Asked<T>(Arc<Mutex<Slot<T>>>);

struct Slot<T> {
    answer: Option<T>,
    is_settled: bool,
    waker: Option<Waker>,
}

/// A new pair.
pub(super) fn answer<T>() -> (Answerer<T>, Asked<T>) {
    let slot = Arc::new(Mutex::new(Slot {
        answer: None,
        is_settled: false,
        waker: None,
    }));
    (Answerer(slot.clone()), Asked(slot))
}

/// Does what blocks on a thread of its own, which is called `fosquitto-NAME` and ends with it. Who does not wait any more does not stop it.
///
/// # Errors
/// There is no thread to do it, or it has failed; said in words.
pub async fn aside<T: Send + 'static>(
    name: &str,
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (answerer, asked) = answer();
    std::thread::Builder::new()
        .name(format!("fosquitto-{name}"))
        .stack_size(256 * 1024)
        .spawn(move || answerer.give(act()))
        .map_err(|error| format!("no thread to do it: {error}"))?;
    let answer = asked.await;
    answer.ok_or_else(|| "the thread has failed".to_owned())
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    // Nothing panics while it is held.
    slot.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl<T> Answerer<T> {
    /// Gives the answer.
    pub(super) fn give(self, answer: T) {
        lock(&self.0).answer = Some(answer);
    }

    /// Whether nobody waits any more.
    pub(super) fn is_forgotten(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<T> Drop for Answerer<T> {
    fn drop(&mut self) {
        let waker = {
            let mut slot = lock(&self.0);
            slot.is_settled = true;
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Asked<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = lock(&self.0);
        if slot.is_settled {
            return Poll::Ready(slot.answer.take());
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
