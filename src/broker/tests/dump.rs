//! What the broker tells of itself: everything once, in pages that are never too large.

use super::world::{World, qos1, retained, v5};
use crate::broker::{Item, Page, Place, Time, limits};
use crate::mqtt::{Qos, ReasonCode};

/// All pages, each within its bounds.
fn pages(world: &World) -> Vec<Item> {
    let (mut items, mut from) = (Vec::new(), Some(Place::FIRST));
    while let Some(place) = from {
        let Page { items: more, next } = world.broker.page(world.now, &place);
        assert!(!more.is_empty() || next.is_none(), "a page goes on");
        assert!(more.len() <= limits::TOLD_ITEMS_MAX);
        items.extend(more);
        from = next;
    }
    items
}

#[test]
fn everything_is_told_once_however_the_pages_fall() {
    for filters in [0, 1, 98, 99, 100, 101, 250] {
        let mut world = World::new();
        for name in ["a", "b"] {
            let (id, _) = world.join(&v5(name, 100));
            for number in 0..filters {
                world.subscribe(id, &format!("{name}/{number:03}"), Qos::AtLeastOnce);
            }
            world.publish(id, retained(&format!("r/{name}"), "x"));
        }
        let items = pages(&world);
        assert_eq!(items.len(), 2 * (filters + 2), "{filters}");
        for (at, item) in items.iter().enumerate() {
            assert!(!items[..at].contains(item), "{item:?} comes twice");
        }
    }
}

#[test]
fn a_page_ends_when_it_has_many_bytes_and_a_long_payload_is_cut() {
    let mut world = World::new();
    let (id, _) = world.join(&v5("a", 0));
    let long = "x".repeat(limits::TOLD_PAYLOAD_BYTES + 1);
    for number in 0..10 {
        world.publish(id, retained(&format!("long/{number}"), &long));
    }
    let page = world.broker.page(world.now, &Place::FIRST);
    // The session, and as many as fill the page, in base64.
    assert_eq!(page.items.len(), 4);
    let Some(Item::Retained { message, .. }) = page.items.last() else {
        panic!("a retained message comes last: {:?}", page.items.last());
    };
    assert_eq!(message.payload_bytes, limits::TOLD_PAYLOAD_BYTES + 1);
    assert_eq!(message.payload, None);
    let cut = message.payload_base64.as_ref().map_or(0, String::len);
    assert_eq!(cut, limits::TOLD_PAYLOAD_BYTES.div_ceil(3) * 4);
    assert_eq!(page.next, Some(Place::RetainedAfter("long/2".into())));
    assert_eq!(pages(&world).len(), 11);
}

#[test]
fn what_waits_stands_in_the_order_in_which_it_is_sent() {
    let mut world = World::new();
    let (away, _) = world.join(&v5("away", 1000));
    world.subscribe(away, "q", Qos::AtLeastOnce);
    world.disconnect(away, ReasonCode::SUCCESS, None);
    let (id, _) = world.join(&v5("publisher", 0));
    for (packet_id, text) in [(1, "first"), (2, "second")] {
        world.publish(id, qos1("q", text, packet_id));
    }
    world.now = Time(world.now.0 + 7_000);
    let items = pages(&world);
    let texts: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::Queued { message, state, .. } => Some((*state, message.payload.as_deref()?)),
            _ => None,
        })
        .collect();
    assert_eq!(texts, [("waiting", "first"), ("waiting", "second")]);
    let is_away = |item: &Item| {
        matches!(
            item,
            Item::Session {
                away_s: Some(7),
                connected: false,
                ..
            }
        )
    };
    assert_eq!(items.iter().filter(|item| is_away(item)).count(), 1);
    let beyond = Place::Session {
        index: u32::MAX,
        skip: u32::MAX,
    };
    assert!(world.broker.page(world.now, &beyond).items.is_empty());
    // A place within a session that has gone, or has less than it had.
    let within = Place::Session {
        index: 0,
        skip: u32::MAX,
    };
    assert!(world.broker.page(world.now, &within).next.is_none());
}
