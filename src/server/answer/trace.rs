//! The trace, as the control socket tells it. Entered by [`start`], [`stop`] and [`page`]; the trace itself is in `net::table`.

use crate::broker::limits;
use crate::control::{Answer, Direction, Outcome, Trace, Traced, WATCH_S, WATCH_S_MAX, Watch};
use crate::log::Escaped;
use crate::mqtt::topic;
use crate::net::table::{self, Event, Watched, Way};
use crate::server::bus::Bus;
use crate::server::clock;

/// Watches a client or a filter.
pub fn start(
    bus: &Bus,
    client_id: Option<String>,
    filter: Option<String>,
    for_s: Option<u32>,
) -> Outcome {
    let watched = watched(client_id, filter)?;
    let watched = watched.ok_or("either 'client_id' or 'filter' must be given")?;
    let for_s = for_s.unwrap_or(WATCH_S);
    if for_s == 0 || for_s > WATCH_S_MAX {
        return Err(format!("'for_s' must be 1 to {WATCH_S_MAX}"));
    }
    let now = clock::now();
    let until = now.after_s(u64::from(for_s));
    let mut table = bus.table.borrow_mut();
    table.trace().watch(watched, now, until)?;
    Ok(watches(table.trace()))
}

/// Watches no more.
pub fn stop(bus: &Bus, client_id: Option<String>, filter: Option<String>) -> Outcome {
    let watched = watched(client_id, filter)?;
    let mut table = bus.table.borrow_mut();
    table.trace().stop(watched.as_ref());
    Ok(watches(table.trace()))
}

fn watched(client_id: Option<String>, filter: Option<String>) -> Result<Option<Watched>, String> {
    match (client_id, filter) {
        (Some(_), Some(_)) => Err("'client_id' and 'filter' may not both be given".into()),
        (None, Some(filter)) if !topic::is_filter(&filter) => {
            Err(format!("'{}' is not a topic filter", Escaped(&filter)))
        }
        (client_id, filter) => Ok(client_id
            .map(Watched::Client)
            .or(filter.map(Watched::Filter))),
    }
}

fn watches(trace: &mut table::Trace) -> Answer {
    Answer::Watches {
        watches: told_watches(trace),
    }
}

fn told_watches(trace: &mut table::Trace) -> Vec<Watch> {
    let now = clock::now();
    let watches = trace.watches(now).iter();
    let told = watches.map(|(watched, until)| {
        let (client_id, filter) = match watched {
            Watched::Client(client_id) => (Some(client_id.clone()), None),
            Watched::Filter(filter) => (None, Some(filter.clone())),
        };
        Watch {
            client_id,
            filter,
            left_s: until.since_ms(now).div_ceil(1000),
        }
    });
    told.collect()
}

/// A page of what happened.
pub fn page(bus: &Bus, from: Option<&str>, client_id: Option<&str>) -> Outcome {
    let mut table = bus.table.borrow_mut();
    let trace = table.trace();
    let watches = told_watches(trace);
    let first = trace.first();
    let from = match from {
        None => first,
        Some(from) => from
            .parse()
            .map_err(|_| "'from' is not where a page ended")?,
    };
    let now = clock::now();
    let mut next = from.max(first).min(trace.next());
    let mut items = Vec::new();
    for event in trace.from(from) {
        if items.len() >= limits::TOLD_ITEMS_MAX {
            break;
        }
        next = event.number + 1;
        if client_id.is_none_or(|client_id| *event.client_id == *client_id) {
            items.push(told(event, now.since_ms(event.at)));
        }
    }
    Ok(Answer::Trace(Trace {
        items,
        next: next.to_string(),
        more: next < trace.next(),
        lost: first.saturating_sub(from),
        watches,
    }))
}

fn told(event: &Event, ago_ms: u64) -> Traced {
    let detail = event.detail;
    Traced {
        number: event.number,
        ago_ms,
        direction: match event.way {
            Way::In => Direction::In,
            Way::Out => Direction::Out,
            Way::Event => Direction::Event,
        },
        client_id: event.client_id.to_string(),
        what: event.what.to_owned(),
        topic: event.topic.as_deref().map(str::to_owned),
        qos: detail.qos,
        retain: detail.retain,
        duplicate: detail.duplicate,
        packet_id: detail.packet_id,
        size: detail.size,
        reason: detail.reason,
        words: event.words.as_deref().map(str::to_owned),
    }
}
