//! A listener as the event loop knows it: its configuration, who may come in, its TLS, and how many are there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::tls::TlsContext;
use crate::auth::Policy;
use crate::config::Listener;

/// A listener that is open. A reload replaces it; connections that came through the former one keep that.
pub struct Door {
    /// Its configuration.
    pub listener: Listener,
    /// Who is who.
    pub policy: Policy,
    /// TLS, if it speaks it.
    pub tls: Option<TlsContext>,
    /// Who is inside; the same for a listener across its reloads.
    pub crowd: Arc<Crowd>,
}

/// How many connections a listener has. The accept thread counts them in, the event loop out.
#[derive(Debug)]
pub struct Crowd {
    /// Connections in all.
    open: AtomicU32,
    /// Those that are not past CONNECT.
    unauthenticated: AtomicU32,
    /// The bounds of both.
    open_max: AtomicU32,
    unauthenticated_max: AtomicU32,
}

/// What a listener may do with the next connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Take it.
    Free,
    /// Leave it in the kernel's queue until somebody is past CONNECT or gone.
    Wait,
    /// Close it: the listener is full.
    Full,
}

impl Crowd {
    /// Nobody, with bounds.
    pub fn new(open_max: u32, unauthenticated_max: u32) -> Crowd {
        Crowd {
            open: AtomicU32::new(0),
            unauthenticated: AtomicU32::new(0),
            open_max: AtomicU32::new(open_max),
            unauthenticated_max: AtomicU32::new(unauthenticated_max),
        }
    }

    /// Changes the bounds.
    pub fn set_bounds(&self, open_max: u32, unauthenticated_max: u32) {
        self.open_max.store(open_max, Ordering::Relaxed);
        self.unauthenticated_max
            .store(unauthenticated_max, Ordering::Relaxed);
    }

    /// Whether there is room for one more.
    pub fn room(&self) -> Room {
        if self.unauthenticated.load(Ordering::Acquire)
            >= self.unauthenticated_max.load(Ordering::Relaxed)
        {
            Room::Wait
        } else if self.open.load(Ordering::Acquire) >= self.open_max.load(Ordering::Relaxed) {
            Room::Full
        } else {
            Room::Free
        }
    }

    /// How many connections there are.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Acquire)
    }

    /// One comes in.
    pub fn enter(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.unauthenticated.fetch_add(1, Ordering::AcqRel);
    }

    /// One is past CONNECT, or gone before; whether the accept thread waits for that.
    #[must_use]
    pub fn admit(&self) -> bool {
        let before = self.unauthenticated.fetch_sub(1, Ordering::AcqRel);
        before >= self.unauthenticated_max.load(Ordering::Relaxed)
    }

    /// One is gone before CONNECT; whether the accept thread waits for that.
    #[must_use]
    pub fn turn_back(&self) -> bool {
        self.leave();
        self.admit()
    }

    /// One that had come in is gone.
    pub fn leave(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_waits_for_clients_before_connect_and_refuses_when_it_is_full() {
        let crowd = Crowd::new(3, 2);
        assert_eq!(crowd.room(), Room::Free);
        crowd.enter();
        crowd.enter();
        assert_eq!(crowd.room(), Room::Wait);
        assert!(crowd.admit(), "somebody waits");
        assert_eq!(crowd.room(), Room::Free);
        crowd.enter();
        assert!(crowd.admit());
        assert!(!crowd.admit());
        assert_eq!(crowd.room(), Room::Full);
        crowd.leave();
        assert_eq!(crowd.room(), Room::Free);
    }
}
