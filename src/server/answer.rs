//! What the control socket is answered, on the event loop. Entered by [`open`], which opens the socket, and then by each request.
//!
//! `status` says how the bus is, `rows` tells what is there in pages, `acts` does what is asked for, `trace` tells what happened.
//! Nothing here takes longer than a packet: a dump is given a page at a time, and a backup is written by the store's thread into a file
//! beside the journal, on tmpfs, which whoever asked moves to where it is wanted. That way no request names a file.

mod acts;
mod rows;
mod status;
mod trace;

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::bus::Bus;
use super::{clock, keeping, why};
use crate::broker::{Kind, Place};
use crate::control::socket::Control;
use crate::control::{Answer, Backup, Outcome, Reply, Request, SOCKET};

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

fn answer(bus: &Rc<Bus>, request: Request, reply: Reply) {
    let outcome = match request {
        Request::Backup {} => return back_up(bus, reply),
        Request::Status {} => Ok(Answer::Status(Box::new(status::status(bus)))),
        Request::Clients { from } => rows::clients(bus, from.as_deref()),
        Request::Sessions { from } => rows::sessions(bus, from.as_deref()),
        Request::Subscriptions { client_id, from } => rows::held(
            bus,
            Kind::Subscriptions,
            client_id.as_deref(),
            from.as_deref(),
        ),
        Request::Queues { client_id, from } => {
            rows::held(bus, Kind::Messages, client_id.as_deref(), from.as_deref())
        }
        Request::Retained { filter, from } => {
            rows::retained(bus, filter.as_deref(), from.as_deref())
        }
        Request::Bridges {} => Ok(rows::bridges(bus)),
        Request::Kick { client_id } => acts::kick(bus, &client_id),
        Request::Drop { client_id } => acts::drop_session(bus, &client_id),
        Request::Clear {
            topic,
            filter,
            from,
        } => acts::clear(bus, topic.as_deref(), filter.as_deref(), from.as_deref()),
        Request::TraceStart {
            client_id,
            filter,
            for_s,
        } => trace::start(bus, client_id, filter, for_s),
        Request::TraceStop { client_id, filter } => trace::stop(bus, client_id, filter),
        Request::Trace { from, client_id } => {
            trace::page(bus, from.as_deref(), client_id.as_deref())
        }
        Request::Why(question) => {
            let config = bus.config.borrow();
            why::reason(&config, &bus.followed.borrow().path, &question).map(Answer::Why)
        }
        Request::Reload {} => Ok(acts::reload(bus)),
        Request::LogLevel { level } => acts::log_level(level.as_deref()),
        Request::Dump { from } => {
            let from = from.unwrap_or(Place::FIRST);
            Ok(Answer::Page(bus.broker.borrow().page(clock::now(), &from)))
        }
    };
    reply(outcome);
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
