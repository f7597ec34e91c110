//! Rounds of the event loop: when one is over, each socket that had something to say when it was asked for has been read.
//!
//! A round is asked for by a byte on a pair of sockets that is there for nothing else. The loop hears it with everything that the kernel had
//! to tell before, and what that woke up has run before those who wait for the round are woken. A round is one read of each socket
//! and no more; whoever has more to say needs several. Two need them:
//!
//! - A takeover: what the old connection has said already, above all that it goes, counts before it is ended.
//! - Descriptors. A socket of ntex-net 3.16 is closed when its handle and its task have both been dropped. One that turns out to be
//!   closed or broken while its own task reads or writes (a new socket is read at once, and output is written
//!   there) has its handle set aside until the loop has heard an event of some socket. Where nothing else happens there is none, and the
//!   descriptor stays. So who forgets a connection asks for a round.
//!
//! Nothing of others is read or closed here.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use ntex::io::IoRef;
use ntex::service::cfg::SharedCfg;

/// One round, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Round(u64);

/// The rounds of a loop.
pub struct Rounds(Rc<Inner>);

struct Inner {
    bell: UnixStream,
    /// The last that is over.
    last: Cell<Round>,
    /// Those that were asked for and are not over: two at most, since the byte of the first may have been read already when the second is
    /// asked for.
    asked: Cell<u64>,
    /// Who is woken after which.
    waiting: RefCell<Vec<(Round, IoRef)>>,
}

impl Rounds {
    /// Starts them. MUST be called on the event loop, before there is a connection.
    ///
    /// # Errors
    /// There are no descriptors for the pair.
    pub fn start(cfg: SharedCfg) -> io::Result<Rounds> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let ear = ntex::rt::from_unix_stream(ear, cfg)?;
        let inner = Rc::new(Inner {
            bell,
            last: Cell::new(Round(0)),
            asked: Cell::new(0),
            waiting: RefCell::default(),
        });
        let heard = inner.clone();
        ntex::rt::spawn(async move {
            while let Ok(Some(())) = ear.read_ready().await {
                ear.with_read_buf(|buffer| buffer.clear());
                heard.hear();
            }
        });
        Ok(Rounds(inner))
    }

    /// Asks for a round from now on.
    pub fn ask(&self) -> Round {
        let asked = match self.0.asked.get() {
            0 => {
                self.0.ring();
                1
            }
            _ => 2,
        };
        self.0.asked.set(asked);
        Round(self.0.last.get().0 + asked)
    }

    /// Whether a round is over.
    pub fn is_over(&self, round: Round) -> bool {
        self.0.last.get() >= round
    }

    /// Has a connection's future woken up when a round is over.
    pub fn wake_after(&self, round: Round, io: IoRef) {
        self.0.waiting.borrow_mut().push((round, io));
    }
}

impl Inner {
    /// No more than one byte is on its way at a time: what is read while the buffer of the ear is full comes without an event.
    fn ring(&self) {
        // An error cannot be: there is room for a byte.
        let _ = (&self.bell).write(&[0]);
    }

    fn hear(&self) {
        let last = Round(self.last.get().0 + 1);
        self.last.set(last);
        let asked = self.asked.get() - 1;
        self.asked.set(asked);
        if asked > 0 {
            self.ring();
        }
        self.waiting.borrow_mut().retain(|(round, io)| {
            let waits = *round > last;
            if !waits {
                io.notify_dispatcher();
            }
            waits
        });
    }
}
