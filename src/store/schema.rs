//! The database's tables, and how one of an earlier version becomes one of this.
//!
//! Entered by [`prepare`] with a connection whose database is empty or this program's. The file is an SQLite database with the
//! `application_id` `FQTO` and the schema's version as its `user_version`.
//!
//! | table | a row is |
//! |---|---|
//! | `state` | the one row: the database's number, the number of the last record that it has, the highest numbers that were given, and when that was |
//! | `message` | a message, once, however many wait for it, keep it or will send it |
//! | `session` | a session, with its will |
//! | `subscription` | a subscription of a session |
//! | `delivery` | a message that waits for a session (`packet_id` 0) or is in flight to it, in the order of `position`; `message` 0 where PUBREL is what is left |
//! | `taken` | a QoS 2 identifier that a client has not released |
//! | `retained` | a topic with its retained message |
//!
//! No table has a second index: each is clustered by the key that its statements use, so that a change writes one place. Times
//! are milliseconds of the broker's time, which goes on over restarts by what is known to have passed; no date is kept.

use rusqlite::Connection;

/// `FQTO`.
pub const APPLICATION_ID: i32 = i32::from_be_bytes(*b"FQTO");

/// The present version.
pub const VERSION: i32 = 1;

/// The tables with the columns that a copy takes, in the order in which they are copied.
pub const TABLES: [(&str, &str); 7] = [
    (
        "state",
        "id, store, applied, position, message, session, time_ms, wall_s, boot, offset_ms",
    ),
    (
        "message",
        "id, topic, properties, payload, qos, retain, expires_at_ms",
    ),
    (
        "session",
        "id, client_id, user, expiry_s, offline_since_ms, will_message, will_delay_s, will_expiry_s",
    ),
    ("subscription", "session, filter, options, subscription_id"),
    (
        "delivery",
        "session, packet_id, message, share, position, qos, retain, subscription_ids",
    ),
    ("taken", "session, packet_id"),
    ("retained", "topic, message"),
];

const VERSION_1: &str = "
CREATE TABLE state(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    store INTEGER NOT NULL,
    applied INTEGER NOT NULL,
    position INTEGER NOT NULL,
    message INTEGER NOT NULL,
    session INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    wall_s INTEGER,
    boot INTEGER NOT NULL,
    offset_ms INTEGER NOT NULL
);
CREATE TABLE message(
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    properties BLOB,
    payload BLOB NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    expires_at_ms INTEGER
);
CREATE TABLE session(
    id INTEGER PRIMARY KEY,
    client_id TEXT NOT NULL,
    user TEXT,
    expiry_s INTEGER NOT NULL,
    offline_since_ms INTEGER,
    will_message INTEGER,
    will_delay_s INTEGER,
    will_expiry_s INTEGER
);
CREATE TABLE subscription(
    session INTEGER NOT NULL,
    filter TEXT NOT NULL,
    options INTEGER NOT NULL,
    subscription_id INTEGER,
    PRIMARY KEY(session, filter)
) WITHOUT ROWID;
CREATE TABLE delivery(
    session INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    message INTEGER NOT NULL,
    share TEXT NOT NULL,
    position INTEGER NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    subscription_ids BLOB,
    PRIMARY KEY(session, packet_id, message, share)
) WITHOUT ROWID;
CREATE TABLE taken(
    session INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    PRIMARY KEY(session, packet_id)
) WITHOUT ROWID;
CREATE TABLE retained(
    topic TEXT PRIMARY KEY NOT NULL,
    message INTEGER NOT NULL
) WITHOUT ROWID;
";

/// The steps from each version to the next.
const MIGRATIONS: [&str; VERSION as usize] = [VERSION_1];

/// Brings the database to the present version. `store` is the number of one that is made. The caller has looked that its version is
/// not later.
pub fn prepare(connection: &Connection, store: u64) -> rusqlite::Result<()> {
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let Ok(done) = usize::try_from(version) else {
        return Err(rusqlite::Error::InvalidQuery);
    };
    if done >= MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    for step in &MIGRATIONS[done..] {
        transaction.execute_batch(step)?;
    }
    if done == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.execute(
            "INSERT INTO state VALUES (1, ?, 0, 0, 0, 0, 0, NULL, 0, 0)",
            [store as i64],
        )?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
