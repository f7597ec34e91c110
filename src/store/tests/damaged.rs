//! Rows that are not as the schema says, as flash leaves them whose bits have flipped where SQLite's own check does not look.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::super::{Class, recover};
use super::{World, parts, plain, seed};
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
