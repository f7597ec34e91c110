//! Has the event loop give back the descriptors of sockets that have ended.
//!
//! A socket of ntex-net 3.16 is closed when its handle and its task have both been dropped. One that turns out to be closed or broken while
//! its own task reads or writes (a new socket is read at once, and [output](super::write) is written there) has its handle set aside
//! until the loop has heard an event of some socket. Where nothing else happens there is none, and the descriptor stays. So who forgets
//! a connection calls [`Sweep::sweep`], which makes such an event with a pair of sockets that are there for nothing else. It closes
//! nothing itself.

use std::cell::Cell;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use ntex::service::cfg::SharedCfg;

/// What asks for it.
pub struct Sweep(Rc<Inner>);

struct Inner {
    bell: UnixStream,
    asked: Cell<Asked>,
}

/// What has been asked for and not been heard of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Once,
    /// The event may have been there already when it was asked for the second time.
    Again,
}

impl Sweep {
    /// Starts it. MUST be called on the event loop, before there is a connection.
    ///
    /// # Errors
    /// There are no descriptors for it.
    pub fn start(cfg: SharedCfg) -> io::Result<Sweep> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let ear = ntex::rt::from_unix_stream(ear, cfg)?;
        let inner = Rc::new(Inner {
            bell,
            asked: Cell::new(Asked::Nothing),
        });
        let heard = inner.clone();
        ntex::rt::spawn(async move {
            while let Ok(Some(())) = ear.read_ready().await {
                ear.with_read_buf(|buffer| buffer.clear());
                heard.hear();
            }
        });
        Ok(Sweep(inner))
    }

    /// Asks for it: what has ended before this call is given back.
    pub fn sweep(&self) {
        match self.0.asked.get() {
            Asked::Nothing => self.0.ring(),
            Asked::Once => self.0.asked.set(Asked::Again),
            Asked::Again => {}
        }
    }
}

impl Inner {
    /// No more than one byte is ever on its way: many at once would fill the buffer of the ear, and what is read after that makes no event.
    fn ring(&self) {
        // An error cannot be: there is room for a byte.
        let _ = (&self.bell).write(&[0]);
        self.asked.set(Asked::Once);
    }

    fn hear(&self) {
        match self.asked.replace(Asked::Nothing) {
            Asked::Again => self.ring(),
            Asked::Nothing | Asked::Once => {}
        }
    }
}
