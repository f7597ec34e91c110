//! Has a socket's output written where a failed write gives everything back.
//!
//! What a turn leaves in the buffer of a socket that has nothing else to write, ntex-io 3.14 writes from a queue of its
//! own, and it takes the socket's handle out of its place while it does so. When that write fails (the client has reset the
//! connection since) ntex ends the connection, finds no handle to drop, and puts the handle back afterwards: descriptor and buffers
//! of that connection are never freed. The socket's own task writes too, with the handle in its place; when that fails the handle is
//! dropped, and the next [round](super::round) gives the descriptor back. So output that is new is announced to that task here, before the
//! queue's turn: [`by_task`] for what the table gave to a socket, [`Watch`] for what TLS and WebSocket add by themselves. It writes nothing and
//! holds nothing.

use std::cell::Cell;

use ntex::io::{IoCallbacks, IoContext, IoRef};

/// Has the socket's task write what is in its buffer.
pub fn by_task(io: &IoRef) {
    const {
        assert!(size_of::<IoContext>() == size_of::<IoRef>());
        assert!(align_of::<IoContext>() == align_of::<IoRef>());
    }
    // SAFETY: an `IoContext` is an `IoRef` and nothing else, which the two assertions hold; ntex-io makes one from
    // the other in the same way, and offers no other.
    let task = unsafe { &*std::ptr::from_ref(io).cast::<IoContext>() };
    // Nothing was written just now. What this is called for is that a buffer with something in it counts as one that the
    // task is to write from.
    task.update_write_status(Ok(false));
    task.notify();
}

/// Announces what TLS and WebSocket themselves write: handshakes, answers, alerts and the end.
#[derive(Debug, Default)]
pub struct Watch {
    /// How much was to be written before TLS was at work.
    before: Cell<usize>,
}

impl IoCallbacks for Watch {
    fn before_processing(&self, io: &IoRef) {
        self.before.set(encrypted(io));
    }

    fn after_processing(&self, io: &IoRef) {
        // Only what is new: the task asks TLS itself, and would wake itself up for ever.
        if encrypted(io) > self.before.get() {
            by_task(io);
        }
    }
}

/// Bytes that the socket has not taken, as they go to the network.
pub fn encrypted(io: &IoRef) -> usize {
    io.with_write_dst_buf(|pages| pages.len())
}
