//! The process's signals: SIGTERM and SIGINT stop it, SIGHUP makes it read its configuration again.
//!
//! A handler sets a flag and writes a byte to a pipe that the accept thread waits for; nothing else happens in it.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// What has been asked for by signal and not yet been done.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
}

impl Asked {
    /// Whether to stop.
    pub fn stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Whether the stop begins now; however often it is asked for, it is told once.
    pub fn take_stop(&self) -> bool {
        self.stop() && !self.stops.swap(true, Ordering::AcqRel)
    }

    /// Whether to reload; asked once, it is told once.
    pub fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::AcqRel)
    }
}

/// Installs the handlers. What is asked for, and the pipe that tells when to look.
///
/// # Errors
/// The system gives no descriptors.
pub fn install() -> io::Result<(Asked, UnixStream)> {
    let asked = Asked::default();
    let (told, tell) = UnixStream::pair()?;
    for (signal, flag) in [
        (SIGTERM, &asked.stop),
        (SIGINT, &asked.stop),
        (SIGHUP, &asked.reload),
    ] {
        flag::register(signal, flag.clone())?;
        pipe::register(signal, tell.try_clone()?)?;
    }
    Ok((asked, told))
}
