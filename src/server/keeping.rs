//! What binds the store to the running bus: its settings, its start, and the way of an operation from the broker to it.
//!
//! Entered by [`recover`] at the start, and by [`Keeper`], the broker's effects from then on. Which packets wait for flash is decided here:
//! all that the broker sends after an operation of class `commit` until its next input.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;

use super::bus::{self, Bus};
use super::clock;
use crate::broker::{
    Broker, Close, ConnectionId, Delivery, Denial, Effects, Sent, Storage, StoreOp, Time,
};
use crate::config::{Durability, Persistence};
use crate::mqtt::packet::ServerPacket;
use crate::net::table::Table;
use crate::store::vfs::Vfs;
use crate::store::{self, Class, Event, Recovery, Settings, Status, Store};

/// Where the journal is, below the root.
pub const JOURNAL: &str = "var/run/fosquitto";

/// The store's settings that the configuration asks for.
pub fn settings_of(persistence: &Persistence) -> Settings {
    let class_of = |durability| match durability {
        Durability::Volatile => Class::Volatile,
        Durability::Interval => Class::Interval,
        Durability::Commit => Class::Commit,
    };
    let classes = persistence.classes.iter();
    Settings {
        path: persistence.path.clone(),
        class: class_of(persistence.durability),
        classes: classes
            .map(|topics| (topics.filter.clone(), class_of(topics.class)))
            .collect(),
        flush_interval: persistence.flush_interval,
        rest: store::REST.min(persistence.flush_interval / 2),
        size_limit: persistence.size_limit,
        daily_budget: persistence.daily_budget.unwrap_or(0),
    }
}

/// What `$SYS` tells of the store.
pub fn storage(status: &Status) -> Storage<'_> {
    Storage {
        class: status.class.name(),
        flash_bytes: status.flash.bytes,
        flash_syncs: status.flash.syncs,
        commits: status.commits,
        journal_bytes: status.journal_bytes,
        last_commit_s: status.last_commit.map(|at| at.elapsed().as_secs()),
        applied: status.applied,
        pending: status.last.saturating_sub(status.applied),
        error: status.error.as_deref().unwrap_or(""),
    }
}

/// What was kept, and the clock set to go on from there; `None` where nothing is to be kept.
pub fn recover(root: &Path, settings: Settings, seed: u64) -> Option<Recovery> {
    if settings.is_volatile() {
        return None;
    }
    let vfs = Vfs::register(None)
        .inspect_err(|error| log::error!("store: {error}"))
        .ok()?;
    let recovery = store::recover(store::Parts {
        directory: root.join(JOURNAL),
        settings,
        vfs,
        seed,
        boot: boot(seed),
        boot_ms: clock::boot_ms,
        wall_s: clock::wall_s,
    })
    .inspect_err(|error| log::error!("store: nothing is kept: {error}"))
    .ok()?;
    clock::go_on(recovery.clock().offset_ms);
    Some(recovery)
}

/// Gives what was kept to the broker, and begins to keep.
pub fn start(recovery: Recovery, broker: &mut Broker, table: &mut Table) -> Option<Store> {
    let now = clock::now();
    recovery.load(|item| broker.restore(now, item));
    let handle = ntex::rt::Handle::current();
    let notify = Box::new(move |event| {
        handle.spawn(async move { Bus::with(|bus| bus.stored(event)) });
    });
    let mut store = recovery
        .start(notify)
        .inspect_err(|error| log::error!("store: {error}"))
        .ok()?;
    let mut keeper = Keeper {
        table,
        store: Some(&mut store),
        now,
    };
    broker.restored(now, &mut keeper);
    store.end_turn();
    Some(store)
}

/// A number of the present boot of the machine.
fn boot(seed: u64) -> u64 {
    match fs::read("/proc/sys/kernel/random/boot_id") {
        Ok(id) => {
            let mut hasher = foldhash::quality::FixedState::with_seed(0).build_hasher();
            hasher.write(&id);
            hasher.finish()
        }
        // No two boots may look the same.
        Err(_) => seed,
    }
}

/// The broker's effects: packets go to the table, changes to the store.
pub struct Keeper<'b> {
    /// The connections.
    pub table: &'b mut Table,
    /// The store, if something is kept.
    pub store: Option<&'b mut Store>,
    /// The time of the turn.
    pub now: Time,
}

impl Effects for Keeper<'_> {
    #[inline]
    fn deliver(&mut self, to: ConnectionId, delivery: &Delivery<'_>) -> Sent {
        self.table.deliver(to, delivery)
    }

    #[inline]
    fn send(&mut self, to: ConnectionId, packet: &ServerPacket<'_>) {
        self.table.send(to, packet);
    }

    fn close(&mut self, connection: ConnectionId, close: Close) {
        self.table.close(connection, close);
    }

    fn denied(&mut self, connection: ConnectionId, denial: &Denial<'_>) {
        self.table.denied(connection, denial);
    }

    #[inline]
    fn store(&mut self, operation: &StoreOp<'_>) {
        if let Some(store) = &mut self.store
            && store.record(operation, self.now.0)
        {
            self.table.hold();
        }
    }
}

impl Bus {
    /// Takes over what was kept before, and keeps from now on. The listeners are open: who connects meanwhile waits.
    pub fn restore(&self, seed: u64) {
        let settings = settings_of(&self.config.borrow().persistence);
        let Some(recovery) = recover(&self.root, settings, seed) else {
            return;
        };
        let mut broker = self.broker.borrow_mut();
        // Its clock goes on from where it was.
        *broker = Broker::new(bus::settings_of(&self.config.borrow()), seed, clock::now());
        let store = start(recovery, &mut broker, &mut self.table.borrow_mut());
        *self.store.borrow_mut() = store;
    }

    /// The store's thread has something to say.
    pub fn stored(&self, event: Event) {
        match event {
            Event::Committed(number) => {
                self.table.borrow_mut().release(number);
                self.with_store(|store| store.flushed(number, clock::now().0));
            }
            Event::JournalIsFree => self.with_store(Store::journal_is_free),
            Event::CaughtUp => self.with_store(|store| {
                if let Some(number) = store.caught_up() {
                    self.table.borrow_mut().release(number);
                }
            }),
            Event::Due => self.with_store(|store| store.flush(clock::now().0)),
        }
        crate::net::hub::Hub::end_turn_soon(self);
    }

    fn with_store(&self, use_it: impl FnOnce(&mut Store)) {
        if let Some(store) = self.store.borrow_mut().as_mut() {
            use_it(store);
        }
    }

    /// Writes everything that is to be kept, and ends the store's thread.
    pub fn stop_store(&self) {
        if let Some(mut store) = self.store.borrow_mut().take() {
            store.stop();
        }
    }
}
