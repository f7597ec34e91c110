//! What the control socket is answered, on the event loop. Entered by [`open`], which opens the socket, and then by each request.
//!
//! Nothing here takes longer than a packet: a dump is given a page at a time, and a backup is written by the store's thread into a file
//! beside the journal, on tmpfs, which whoever asked moves to where it is wanted. That way no request names a file.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bus::Bus;
use super::{clock, keeping};
use crate::broker::Place;
use crate::control::socket::Control;
use crate::control::{
    Answer, Backup, Counts, Listener, Outcome, Reply, Request, SOCKET, Status, Storage,
};

/// What the copies of the database are called, before their number.
const COPY: &str = "backup-";

/// Opens the control socket; `None`, and a line in the log, where that cannot be.
pub fn open(bus: &Bus) -> Option<Control> {
    let path = bus.root.join(SOCKET);
    let directory = path.parent().unwrap_or(&path);
    remove_copies(directory, None);
    let handle = ntex::rt::Handle::current();
    let ask = Arc::new(move |request: Request, reply: Reply| {
        handle.spawn(async move { Bus::with(|bus| answer(bus, request, reply)) });
    });
    let opened = fs::create_dir_all(directory).and_then(|()| Control::open(&path, ask));
    opened
        .inspect_err(|error| log::error!("control: {}: {error}", path.display()))
        .ok()
}

fn answer(bus: &Bus, request: Request, reply: Reply) {
    match request {
        Request::Status {} => reply(Ok(Answer::Status(Box::new(status(bus))))),
        Request::Dump { from } => {
            let from = from.unwrap_or(Place::FIRST);
            let page = bus.broker.borrow().page(clock::now(), &from);
            reply(Ok(Answer::Page(page)));
        }
        Request::Backup {} => back_up(bus, reply),
    }
}

fn status(bus: &Bus) -> Status {
    let counts = bus.broker.borrow().counts();
    let listeners = bus.doors.borrow().list();
    let listeners = listeners.into_iter();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_s: clock::now().since_ms(counts.uptime_from) / 1000,
        listeners: listeners
            .map(|(name, places, connections)| Listener {
                name,
                places,
                connections,
            })
            .collect(),
        counts: Counts {
            clients: counts.clients,
            sessions: counts.sessions,
            subscriptions: counts.subscriptions,
            retained: counts.retained,
            waiting: counts.waiting,
            held_bytes: counts.held_bytes,
            held_bytes_max: counts.held_bytes_max,
        },
        store: storage(bus),
    }
}

fn storage(bus: &Bus) -> Storage {
    let store = bus.store.borrow();
    let Some(store) = store.as_ref() else {
        return Storage {
            class: "volatile".to_owned(),
            ..Storage::default()
        };
    };
    let status = store.status();
    let told = keeping::storage(&status);
    Storage {
        class: told.class.to_owned(),
        path: Some(store.path().to_owned()),
        flash_bytes: told.flash_bytes,
        flash_syncs: told.flash_syncs,
        commits: told.commits,
        journal_bytes: told.journal_bytes,
        last_commit_s: told.last_commit_s,
        applied: told.applied,
        pending: told.pending,
        error: status.error.clone(),
    }
}

fn back_up(bus: &Bus, reply: Reply) {
    let mut store = bus.store.borrow_mut();
    let Some(store) = store.as_mut() else {
        return reply(Err("nothing is kept: there is no database".into()));
    };
    let path = match new_copy(&bus.root.join(keeping::JOURNAL)) {
        Ok(path) => path,
        Err(error) => return reply(Err(error.to_string())),
    };
    let done = {
        let path = path.clone();
        Box::new(move |written: Result<(), String>| reply(outcome(path, written)))
    };
    store.copy_to(path, done);
}

fn outcome(path: PathBuf, written: Result<(), String>) -> Outcome {
    match written {
        Ok(()) => Ok(Answer::Backup(Backup { path })),
        Err(what) => {
            // An error means that there is nothing to remove.
            let _ = fs::remove_file(path);
            Err(what)
        }
    }
}

/// An empty file for a copy. Those that nobody has moved away are removed, but for the last: its owner may be about to.
fn new_copy(directory: &Path) -> io::Result<PathBuf> {
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    let number = NUMBER.get() + 1;
    remove_copies(directory, Some(number - 1));
    let path = directory.join(format!("{COPY}{number}"));
    create_alone(&path)?;
    NUMBER.set(number);
    Ok(path)
}

/// Makes a file that only its owner may read, and that is not there yet.
///
/// # Errors
/// It is there, or cannot be made.
pub fn create_alone(path: &Path) -> io::Result<File> {
    let mut open = OpenOptions::new();
    open.write(true).create_new(true).mode(0o600);
    open.custom_flags(libc::O_NOFOLLOW).open(path)
}

fn remove_copies(directory: &Path, but: Option<u64>) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(COPY));
        let number = number.and_then(|number| number.parse::<u64>().ok());
        if number.is_some_and(|number| Some(number) != but) {
            // What cannot be removed is tried again by the next one.
            let _ = fs::remove_file(entry.path());
        }
    }
}
