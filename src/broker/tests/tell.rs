//! Lists in pages: what each page costs the loop, held by what it looks at and not by a clock.

use super::world::{World, retained, v3, v5};
use crate::broker::{Kind, Settings, limits};

const CLIENTS: usize = 300;
const MESSAGES: usize = 2500;

/// How many pages a list has, and how many rows; each page has no more rows than it may.
fn pages<Next>(mut page: impl FnMut(Option<Next>) -> (usize, Option<Next>)) -> (usize, usize) {
    let (mut from, mut pages, mut rows) = (None, 0, 0);
    loop {
        let (count, next) = page(from);
        assert!(count <= limits::TOLD_ITEMS_MAX, "{count} in a page");
        (pages, rows) = (pages + 1, rows + count);
        match next {
            Some(next) => from = Some(next),
            None => return (pages, rows),
        }
    }
}

/// A broker with many clients, one of which has a session that lasts, and many retained messages.
fn crowd() -> World {
    let mut world = World::with(Settings::default());
    // Other tests hold the store to so much of it.
    world.compare_every = u32::MAX;
    let (publisher, _) = world.join(&v5("publisher", 60));
    for number in 0..MESSAGES {
        let topic = format!("kept/{number}/x");
        world.publish(publisher, retained(&topic, "x"));
    }
    for number in 1..CLIENTS {
        world.join(&v3(&format!("client-{number}")));
    }
    world
}

#[test]
fn a_page_has_few_rows_and_looks_at_few_things_however_long_the_list_is() {
    let world = crowd();
    let (broker, now) = (&world.broker, world.now);
    let clients = pages(|from| {
        let (rows, next) = broker.clients(now, from.unwrap_or(0));
        (rows.len(), next)
    });
    assert_eq!(clients.1, CLIENTS);
    let sessions = pages(|from| {
        let (rows, next) = broker.sessions(now, from.unwrap_or(0));
        (rows.len(), next)
    });
    assert_eq!(sessions.1, CLIENTS);
    for (filter, rows) in [
        (None, MESSAGES),
        (Some("kept/7/x"), 1),
        (Some("kept/+/x"), MESSAGES),
        // Nothing matches, which is known of none before it is looked at.
        (Some("kept/+/y"), 0),
        (Some("+/+/y"), 0),
    ] {
        let told = pages(|from: Option<String>| {
            let (items, next) = broker.retained(now, filter, from.as_deref());
            (items.len(), next)
        });
        let cleared = pages(|from: Option<String>| {
            let (topics, next) = broker.retained_topics(filter.unwrap_or("#"), from.as_deref());
            (topics.len(), next)
        });
        assert_eq!([told.1, cleared.1], [rows, rows], "{filter:?}");
        if filter.is_some_and(|filter| filter.contains('+')) {
            // So no page has looked at more.
            let least = MESSAGES / limits::LOOKED_AT_MAX;
            assert!(told.0 >= least && cleared.0 >= least, "{filter:?}");
        }
    }
}

#[test]
fn what_sessions_hold_of_another_kind_is_looked_at_too() {
    let mut world = World::with(Settings::default());
    world.compare_every = u32::MAX;
    let (client, _) = world.join(&v5("client", 60));
    for number in 0..2500 {
        world.subscribe(client, &format!("f/{number}"), crate::mqtt::Qos::AtMostOnce);
    }
    let (broker, now) = (&world.broker, world.now);
    for client_id in [None, Some("client")] {
        let of = |kind: Kind| {
            pages(|from: Option<(u32, u32)>| {
                let held = broker.held(now, kind, client_id, from.unwrap_or_default());
                let (items, next) = held.expect("there is the session");
                (items.len(), next)
            })
        };
        assert_eq!(of(Kind::Subscriptions).1, 2500);
        let (count, rows) = of(Kind::Messages);
        assert_eq!(rows, 0);
        assert!(count >= 2500 / limits::LOOKED_AT_MAX, "{count} pages");
    }
}
