//! What is there, in pages: a cursor in, some rows and the next cursor out. Entered by one function a list.
//!
//! The broker bounds what one page costs the loop. A cursor is made here and read here, and whoever sends back something else gets an
//! error.

use crate::bridge::{Phase, Told};
use crate::broker::{ClientRow, Kind, SessionRow};
use crate::control::{Answer, Bridge, Client, Outcome, Rows, Session};
use crate::log::Escaped;
use crate::mqtt::topic;
use crate::server::bus::Bus;
use crate::server::clock;

/// What the words are when a cursor is none.
const NO_CURSOR: &str = "'from' is not where a page ended";

/// The position that a cursor names.
fn position(from: Option<&str>) -> Result<u32, String> {
    from.map_or(Ok(0), |from| from.parse().map_err(|_| NO_CURSOR.into()))
}

/// Connected clients.
pub fn clients(bus: &Bus, from: Option<&str>) -> Outcome {
    let from = position(from)?;
    let now = clock::now();
    let (rows, next) = bus.broker.borrow().clients(now, from);
    let mut table = bus.table.borrow_mut();
    let items = rows.into_iter().filter_map(|row| {
        let live = table.live(row.connection)?;
        let since = live.since();
        Some(Client {
            address: live.address().to_string(),
            listener: live.through(),
            tls: live.is_encrypted(),
            connected_s: now.since_ms(since) / 1000,
            unsent_bytes: live.unsent_bytes(),
            denials: live.denials(),
            ..client(row)
        })
    });
    Ok(Answer::Clients(Rows {
        items: items.collect(),
        next: next.map(|next| next.to_string()),
    }))
}

/// What the broker knows of a client.
fn client(row: ClientRow) -> Client {
    let ClientRow {
        session,
        version,
        bridge,
        idle_s,
        keep_alive_s,
        ..
    } = row;
    Client {
        client_id: session.client_id,
        user: session.user,
        address: String::new(),
        listener: String::new(),
        version: version.name().to_owned(),
        tls: false,
        bridge,
        connected_s: 0,
        idle_s,
        keep_alive_s,
        subscriptions: session.subscriptions,
        inflight: session.inflight,
        queued: session.queued + session.queued_qos0,
        queued_bytes: session.queued_bytes,
        unsent_bytes: 0,
        will: session.will,
        denials: 0,
    }
}

/// Sessions.
pub fn sessions(bus: &Bus, from: Option<&str>) -> Outcome {
    let from = position(from)?;
    let (rows, next) = bus.broker.borrow().sessions(clock::now(), from);
    let items = rows.into_iter().map(session);
    Ok(Answer::Sessions(Rows {
        items: items.collect(),
        next: next.map(|next| next.to_string()),
    }))
}

fn session(row: SessionRow) -> Session {
    Session {
        client_id: row.client_id,
        user: row.user,
        own: row.is_own,
        connected: row.connected,
        away_s: row.away_s,
        expiry_s: row.expiry_s,
        ends_s: row.ends_s,
        subscriptions: row.subscriptions,
        inflight: row.inflight,
        queued: row.queued,
        queued_qos0: row.queued_qos0,
        queued_bytes: row.queued_bytes,
        taken: row.taken,
        will: row.will,
    }
}

/// What sessions hold.
pub fn held(bus: &Bus, kind: Kind, client_id: Option<&str>, from: Option<&str>) -> Outcome {
    let from = match from {
        None => (0, 0),
        Some(from) => {
            let (index, skip) = from.split_once('.').ok_or(NO_CURSOR)?;
            (position(Some(index))?, position(Some(skip))?)
        }
    };
    let broker = bus.broker.borrow();
    let (items, next) = broker
        .held(clock::now(), kind, client_id, from)
        .ok_or("there is no session with this identifier")?;
    Ok(Answer::Items(Rows {
        items,
        next: next.map(|(index, skip)| format!("{index}.{skip}")),
    }))
}

/// Retained messages.
pub fn retained(bus: &Bus, filter: Option<&str>, from: Option<&str>) -> Outcome {
    if let Some(filter) = filter.filter(|filter| !topic::is_filter(filter)) {
        return Err(format!("'{}' is not a topic filter", Escaped(filter)));
    }
    let broker = bus.broker.borrow();
    let (items, next) = broker.retained(clock::now(), filter, from);
    Ok(Answer::Items(Rows { items, next }))
}

/// Bridges.
pub fn bridges(bus: &Bus) -> Answer {
    let now = clock::now();
    let broker = bus.broker.borrow();
    let row = |Told {
                   name,
                   session,
                   state,
               }: Told| {
        let held = broker.bridge_state(&session);
        Bridge {
            name,
            state: match state.phase {
                Phase::Connecting => "connecting",
                Phase::Connected => "connected",
                Phase::Waiting => "waiting",
            }
            .to_owned(),
            address: state.address,
            since_s: state.since.map_or(0, |since| now.since_ms(since) / 1000),
            queued: held.map_or(0, |held| held.waiting),
            queued_bytes: held.map_or(0, |held| held.waiting_bytes),
            messages_in: state.received,
            messages_out: state.sent,
            inflight: held.map_or(0, |held| held.inflight),
            dropped: held.map_or(0, |held| held.dropped),
            protocol: state.protocol.map(str::to_owned),
            refused: state.refused,
            rejected: state.rejected,
            rejection: state.rejection,
            error: state.last_error,
        }
    };
    Answer::Bridges(Rows {
        items: bus.bridges.borrow().told().into_iter().map(row).collect(),
        next: None,
    })
}
