//! The database's tables, and how one of an earlier version becomes one of this.
//!
//! Entered by [`prepare`] with a connection whose database is empty or this program's. The file is an SQLite database with the
//! `application_id` `FQTO` and the schema's version as its `user_version`.
//!
//! | table | a row is |
//! |---|---|
//! | `state` | the one row: the database's number, the number of the last record that it has, the highest numbers that were given, and when that was |
//! | `message` | a message, once, however many wait for it; with the first of its deliveries, and whether it is its topic's retained one |
//! | `delivery` | one more delivery of a message |
//! | `release` | a message in flight of which PUBREL is left |
//! | `session` | a session, with its will |
//! | `subscription` | a subscription of a session |
//! | `taken` | a QoS 2 identifier that a client has not released |
//!
//! A *delivery* is a message that waits for a session (`packet_id` 0) or is in flight to it; `position` orders those of a session.
//! Nearly every message that is kept has one, so that a row of its own would write a page more, and no table has a second index for the
//! same reason: messages and deliveries come in the order of their numbers and go where they stand. What an index would find
//! is in memory (`super::write::Content`). Times are milliseconds of the broker's time, which goes on over restarts by
//! what is known to have passed; no date is kept.

use rusqlite::Connection;

/// `FQTO`.
pub const APPLICATION_ID: i32 = i32::from_be_bytes(*b"FQTO");

/// The present version.
pub const VERSION: i32 = 1;

/// A table as a copy takes it.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns as they stand in it; the first is the key.
    pub columns: &'static str,
    /// What holds of a row that this program has written: SQLite keeps a value of any type in any column.
    pub sound: &'static str,
}

/// The tables in the order in which they are copied.
pub const TABLES: [Table; 7] = [
    Table {
        name: "state",
        columns: "id, store, applied, position, message, session, time_ms, wall_s, boot, offset_ms",
        sound: "typeof(store) = 'integer' AND typeof(applied) = 'integer' AND typeof(position) = 'integer'
            AND typeof(message) = 'integer' AND typeof(session) = 'integer' AND typeof(time_ms) = 'integer'
            AND typeof(ifnull(wall_s, 0)) = 'integer' AND typeof(boot) = 'integer' AND typeof(offset_ms) = 'integer'",
    },
    Table {
        name: "message",
        columns: "id, topic, properties, payload, qos, retain, expires_at_ms, retained,
         session, packet_id, position, sent_qos, sent_retain, subscription_ids, share",
        sound: "typeof(topic) = 'text' AND typeof(ifnull(properties, x'')) = 'blob' AND typeof(payload) = 'blob'
            AND typeof(qos) = 'integer' AND qos BETWEEN 0 AND 2 AND typeof(retain) = 'integer'
            AND typeof(ifnull(expires_at_ms, 0)) = 'integer' AND typeof(retained) = 'integer'",
    },
    Table {
        name: "delivery",
        columns: "message, session, packet_id, share, position, sent_qos, sent_retain, subscription_ids",
        sound: "typeof(message) = 'integer' AND typeof(session) = 'integer' AND typeof(packet_id) = 'integer'
            AND packet_id BETWEEN 0 AND 65535 AND typeof(share) = 'text' AND typeof(position) = 'integer'
            AND typeof(sent_qos) = 'integer' AND sent_qos BETWEEN 0 AND 2 AND typeof(sent_retain) = 'integer'
            AND typeof(ifnull(subscription_ids, x'')) = 'blob'",
    },
    Table {
        name: "release",
        columns: "session, packet_id, position",
        sound: "typeof(session) = 'integer' AND typeof(packet_id) = 'integer' AND packet_id BETWEEN 1 AND 65535
            AND typeof(position) = 'integer'",
    },
    Table {
        name: "session",
        columns: "id, client_id, user, expiry_s, offline_since_ms, will_message, will_delay_s, will_expiry_s",
        sound: "typeof(client_id) = 'text' AND typeof(ifnull(user, '')) = 'text' AND typeof(expiry_s) = 'integer'
            AND expiry_s BETWEEN 0 AND 4294967295 AND typeof(ifnull(offline_since_ms, 0)) = 'integer'
            AND typeof(ifnull(will_message, 0)) = 'integer'
            AND typeof(ifnull(will_delay_s, 0)) = 'integer' AND ifnull(will_delay_s, 0) BETWEEN 0 AND 4294967295
            AND typeof(ifnull(will_expiry_s, 0)) = 'integer' AND ifnull(will_expiry_s, 0) BETWEEN 0 AND 4294967295",
    },
    Table {
        name: "subscription",
        columns: "session, filter, options, subscription_id",
        sound: "typeof(session) = 'integer' AND typeof(filter) = 'text' AND typeof(options) = 'integer'
            AND options BETWEEN 0 AND 255 AND typeof(ifnull(subscription_id, 0)) = 'integer'
            AND ifnull(subscription_id, 0) BETWEEN 0 AND 268435455",
    },
    Table {
        name: "taken",
        columns: "session, packet_id",
        sound: "typeof(session) = 'integer' AND typeof(packet_id) = 'integer' AND packet_id BETWEEN 1 AND 65535",
    },
];

/// What holds of a message that waits for one session: the columns that its delivery would have.
pub const SOUND_WAITING: &str = "typeof(session) = 'integer' AND typeof(packet_id) = 'integer' AND packet_id BETWEEN 0 AND 65535
    AND typeof(share) = 'text' AND typeof(position) = 'integer' AND typeof(sent_qos) = 'integer' AND sent_qos BETWEEN 0 AND 2
    AND typeof(sent_retain) = 'integer' AND typeof(ifnull(subscription_ids, x'')) = 'blob'";

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
    expires_at_ms INTEGER,
    retained INTEGER NOT NULL,
    session INTEGER,
    packet_id INTEGER,
    position INTEGER,
    sent_qos INTEGER,
    sent_retain INTEGER,
    subscription_ids BLOB,
    share TEXT
);
CREATE TABLE delivery(
    message INTEGER NOT NULL,
    session INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    share TEXT NOT NULL,
    position INTEGER NOT NULL,
    sent_qos INTEGER NOT NULL,
    sent_retain INTEGER NOT NULL,
    subscription_ids BLOB,
    PRIMARY KEY(message, session, packet_id, share)
) WITHOUT ROWID;
CREATE TABLE release(
    session INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY(session, packet_id)
) WITHOUT ROWID;
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
CREATE TABLE taken(
    session INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    PRIMARY KEY(session, packet_id)
) WITHOUT ROWID;
";

/// The steps from each version to the next.
const MIGRATIONS: [&str; VERSION as usize] = [VERSION_1];

/// Whether the tables are those of the present version, to the letter: a column of another name, or one that may be null now, is damage that
/// no check of pages finds.
pub fn is_whole(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let steps = MIGRATIONS.iter().flat_map(|step| step.split(';'));
    for table in steps.map(str::trim).filter(|table| !table.is_empty()) {
        match rows.next()? {
            Some(row) if row.get_ref(0)?.as_bytes()? == table.as_bytes() => {}
            _ => return Ok(false),
        }
    }
    Ok(rows.next()?.is_none())
}

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
