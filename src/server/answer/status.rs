//! How the bus is, as the control socket tells it. Entered by [`status`], which only reads: counters, the open listeners, what the store's
//! thread said last.

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::broker::{Counts as Broker, Time};
use crate::config::Protocol;
use crate::control::{
    Certificate, Configuration, Counts, Denial, Listener, Memory, Status, Storage, Traffic,
};
use crate::log as logging;
use crate::net::table::{Denied, Table};
use crate::server::bus::Bus;
use crate::server::{clock, keeping};

/// How the bus is.
pub fn status(bus: &Bus) -> Status {
    let now = clock::now();
    let counts = bus.broker.borrow().counts();
    let table = bus.table.borrow();
    let followed = bus.followed.borrow();
    let denials = table.denials();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_s: now.since_ms(counts.uptime_from) / 1000,
        log_level: logging::level().name().to_owned(),
        configuration: Configuration {
            path: followed.path.clone(),
            read_s: now.since_ms(followed.at) / 1000,
            faults: followed.faults.clone(),
        },
        listeners: listeners(bus),
        certificates: certificates(bus),
        counts: in_numbers(&counts, &table),
        traffic: traffic(&counts, &table),
        memory: memory(&counts),
        store: storage(bus),
        denials: denials.recent().map(|it| denial(it, now)).collect(),
    }
}

fn listeners(bus: &Bus) -> Vec<Listener> {
    let (config, doors) = (bus.config.borrow(), bus.doors.borrow());
    let mut listeners: Vec<_> = config.listeners.iter().collect();
    listeners.sort_by_key(|listener| &listener.name);
    let told = listeners.into_iter().map(|listener| {
        let state = doors.state(&listener.name);
        Listener {
            name: listener.name.clone(),
            protocol: match listener.protocol {
                Protocol::Mqtt => "mqtt",
                Protocol::WebSocket => "websocket",
            }
            .to_owned(),
            tls: listener.tls.is_some(),
            open: state.door.is_some(),
            places: state.places,
            connections: state.door.map_or(0, |door| door.crowd.open()),
            connections_max: listener.max_connections,
            faults: state.faults,
        }
    });
    told.collect()
}

fn certificates(bus: &Bus) -> Vec<Certificate> {
    let (config, doors) = (bus.config.borrow(), bus.doors.borrow());
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = since_1970.map_or(0, |since| since.as_secs().cast_signed());
    let mut told = Vec::new();
    for listener in &config.listeners {
        let tls = doors
            .state(&listener.name)
            .door
            .and_then(|door| door.tls.as_ref());
        let dates = tls.map_or(&[][..], |tls| tls.dates());
        told.extend(dates.iter().map(|validity| Certificate {
            listener: listener.name.clone(),
            kind: validity.kind.to_owned(),
            path: validity.path.clone(),
            subject: validity.subject.clone(),
            from: validity.from.clone(),
            until: validity.until.clone(),
            left_s: validity.until_s.map(|until_s| until_s - now_s),
            due: validity.is_due(now_s),
        }));
    }
    told
}

fn in_numbers(counts: &Broker, table: &Table) -> Counts {
    Counts {
        clients: counts.clients,
        clients_max: counts.clients_max,
        sessions: counts.sessions,
        sessions_expired: counts.sessions_expired,
        subscriptions: counts.subscriptions,
        shared_subscriptions: counts.shared,
        retained: counts.retained,
        waiting: counts.waiting,
        denied: table.denials().count(),
        logins_failed: table.denials().logins(),
        held_bytes: counts.held_bytes,
        held_bytes_max: counts.held_bytes_max,
    }
}

fn traffic(counts: &Broker, table: &Table) -> Traffic {
    let bytes = table.traffic();
    Traffic {
        packets_received: counts.packets.0,
        packets_sent: counts.packets.1,
        messages_received: counts.messages.0,
        messages_sent: counts.messages.1,
        messages_dropped: counts.dropped,
        bytes_received: bytes.bytes_received,
        bytes_sent: bytes.bytes_sent,
    }
}

fn memory(counts: &Broker) -> Memory {
    let others = counts.subscriptions_bytes + counts.network_bytes;
    Memory {
        held: counts.held_bytes,
        held_max: counts.held_bytes_max,
        held_highest: counts.held_bytes_highest,
        sessions_and_messages: counts.held_bytes.saturating_sub(others),
        retained: counts.retained_bytes,
        subscriptions: counts.subscriptions_bytes,
        network: counts.network_bytes,
        process: process_bytes(),
    }
}

/// What the process takes of the machine's memory. The file is the kernel's own, so that reading it waits for nothing.
fn process_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
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
    let last_error = status.last_error.as_ref();
    Storage {
        class: told.class.to_owned(),
        path: Some(store.path().to_owned()),
        flash_bytes: told.flash_bytes,
        flash_bytes_day: status.day.bytes(Instant::now()),
        daily_budget: bus.config.borrow().persistence.daily_budget,
        flash_syncs: told.flash_syncs,
        commits: told.commits,
        journal_bytes: told.journal_bytes,
        last_commit_s: told.last_commit_s,
        applied: told.applied,
        pending: told.pending,
        error: status.error.clone(),
        last_error: last_error.map(|(what, _)| what.clone()),
        last_error_s: last_error.map(|(_, until)| until.elapsed().as_secs()),
    }
}

fn denial(denied: &Denied, now: Time) -> Denial {
    let rule = denied.rule.as_ref();
    Denial {
        ago_s: now.since_ms(denied.at) / 1000,
        count: denied.count,
        client_id: denied.client_id.clone(),
        user: denied.user.clone(),
        address: denied.address.clone(),
        listener: denied.listener.clone(),
        action: denied.action.to_owned(),
        topic: denied.topic.clone(),
        section: rule.map(|(section, _)| section.clone()),
        line: rule.map(|(_, line)| *line),
        words: denied.words.clone(),
    }
}
