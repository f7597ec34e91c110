//! Rows that are not as the schema says, as flash leaves them whose bits have flipped where SQLite's own check does not look.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;

use super::super::folder::Folder;
use super::super::{Class, recover};
use super::{Random, World, parts, plain, seed};
use crate::broker::Restored;

/// The client ids and the topics that are given back after a change to the database.
fn given_after(change: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut world = World::new(seed(), Class::Interval);
    while world.model.sessions.len() < 3 || world.model.retained.len() < 3 {
        world.step();
    }
    world.stop();
    drop(world.ends.take());
    let folder = world.folder.path();
    let connection = Connection::open(folder.join("fosquitto.db")).expect("it is a database");
    connection.execute_batch(change).expect("it can be changed");
    drop(connection);
    let recovery = recover(parts(folder, &folder.join("run"), Class::Interval, plain()));
    let (mut ids, mut topics) = (BTreeSet::new(), BTreeSet::new());
    recovery.expect("nobody else is there").load(|item| {
        match item {
            Restored::Session { client_id, .. } => ids.insert(client_id.to_owned()),
            Restored::Message { topic, .. } => topics.insert(topic.to_owned()),
            _ => true,
        };
        Ok(())
    });
    let model = &world.model;
    let is_known = |id: &String| model.sessions.values().any(|it| it.client_id == *id);
    assert!(ids.iter().all(is_known));
    (ids, topics)
}

#[test]
fn a_client_id_that_is_no_text_costs_its_own_session_alone() {
    let (ids, topics) = given_after(
        "UPDATE session SET client_id = CAST(x'ff' AS TEXT) WHERE id = (SELECT min(id) FROM session)",
    );
    assert!(ids.len() >= 2 && topics.len() >= 3, "{ids:?} {topics:?}");
}

#[test]
fn a_message_of_a_qos_that_is_none_costs_that_message_alone() {
    let (ids, topics) = given_after(
        "UPDATE message SET qos = 9 WHERE topic = (SELECT min(topic) FROM message WHERE retained)",
    );
    assert!(ids.len() >= 3 && topics.len() >= 2, "{ids:?} {topics:?}");
}

#[test]
fn a_topic_that_is_no_text_costs_its_own_message_alone() {
    let (ids, topics) = given_after(
        "UPDATE message SET topic = CAST(x'ff' AS TEXT) WHERE topic = (SELECT min(topic) FROM message WHERE retained)",
    );
    assert!(ids.len() >= 3 && topics.len() >= 2, "{ids:?} {topics:?}");
}

/// Databases with chance damage that are opened.
const DAMAGED: usize = 300;

#[test]
fn whatever_bytes_of_a_database_flash_has_changed_the_bus_starts_and_keeps_what_comes() {
    let seed = seed();
    let mut world = World::new(seed, Class::Interval);
    for _ in 0..200 {
        world.step();
    }
    world.stop();
    drop(world.ends.take());
    let database = std::fs::read(world.folder.path().join("fosquitto.db")).expect("it is there");
    let mut random = Random(seed);
    for _ in 0..DAMAGED {
        let (mut bytes, folder) = (database.clone(), Folder::make());
        for _ in 0..=random.below(12) {
            // The first page says what all others are.
            let within = match random.below(4) {
                0 => 1024,
                _ => bytes.len() as u64,
            };
            bytes[random.below(within) as usize] ^= 1 << random.below(8);
        }
        std::fs::write(folder.path().join("fosquitto.db"), &bytes).expect("there is room");
        is_kept_after(&mut world, folder.path());
    }
}

/// Starts with a damaged database, and holds that a message which comes then is there at the next start.
fn is_kept_after(world: &mut World, folder: &Path) {
    let of = || parts(folder, &folder.join("run"), Class::Interval, plain());
    let recovery = recover(of()).expect("nobody else is there");
    recovery.load(|_| Ok(()));
    let (mut store, mut worker, orders) = recovery.begin(Box::new(|_| {}));
    let message = world.message("after", crate::mqtt::Qos::AtLeastOnce);
    store.record(
        &crate::broker::StoreOp::Retained { message: &message },
        1_000_000,
    );
    store.end_turn();
    worker.turn(orders.try_iter());
    worker.end();
    drop(store);
    let mut is_there = false;
    recover(of()).expect("nobody else is there").load(|item| {
        is_there |= matches!(item, Restored::Message { topic: "after", .. });
        Ok(())
    });
    assert!(is_there, "what came after the damage is not there");
}

#[test]
fn a_number_that_has_become_that_of_a_message_to_come_costs_that_nothing() {
    let mut world = World::new(seed(), Class::Interval);
    while world.model.sessions.is_empty() {
        world.step();
    }
    world.stop();
    drop(world.ends.take());
    let next = world.message("next", crate::mqtt::Qos::AtLeastOnce).id() + 1;
    let folder = world.folder.path().to_owned();
    let connection = Connection::open(folder.join("fosquitto.db")).expect("it is a database");
    connection
        .execute_batch(&format!(
            "INSERT INTO delivery VALUES ({next}, (SELECT min(id) FROM session), 0, '', 1, 1, 0, NULL);
             UPDATE session SET will_message = {next}, will_delay_s = 1"
        ))
        .expect("it can be changed");
    drop(connection);
    is_kept_after(&mut world, &folder);
}
