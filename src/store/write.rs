//! What the journal says as changes of the database: one transaction a span.
//!
//! Entered by [`Database::write`](super::database::Database::write) with what is left of a span. Each record is a statement or a few. A record on
//! something that is not there is passed over: the journal may begin after the database was lost, or say again what it has.
//!
//! A message is there once and counted by those that refer to it: the counts live in memory, so that no index is needed to see
//! whether the last of them is gone.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Params, params};

use super::coalesce::{Item, Known};
use super::record::{Body, Extras, Record};
use super::{Map, Set};

/// What the store keeps in memory of the database's content: numbers, no content.
#[derive(Debug, Default)]
pub struct Content {
    /// How many rows refer to each message.
    pub holders: Map<u64, u32>,
    /// Hashes of the topics that have a retained message.
    pub retained: Set<u64>,
    /// The last position given to a delivery.
    pub position: i64,
}

impl Known for Content {
    fn may_retain(&self, topic: &str) -> bool {
        self.retained.contains(&topic_hash(topic))
    }
}

/// A topic as [`Content`] remembers it.
pub fn topic_hash(topic: &str) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    // Whoever finds two topics with one hash costs the database a statement without effect.
    let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
    hasher.write(topic.as_bytes());
    hasher.finish()
}

/// The changes of one transaction, and what they change of the content once it is committed.
pub struct Changes<'c> {
    connection: &'c Connection,
    content: &'c Content,
    holders: Map<u64, i64>,
    retained: Map<u64, bool>,
    position: i64,
    rows: usize,
}

/// What is to be done to a [`Content`] after the commit.
pub struct Outcome {
    holders: Map<u64, i64>,
    retained: Map<u64, bool>,
    position: i64,
    /// Rows that were changed.
    pub rows: usize,
}

impl Outcome {
    /// The last position given.
    pub fn position(&self) -> i64 {
        self.position
    }
}

impl Content {
    /// Follows a transaction that was committed.
    pub fn follow(&mut self, outcome: Outcome) {
        for (message, change) in outcome.holders {
            let count = self
                .holders
                .get(&message)
                .map_or(0, |count| i64::from(*count))
                + change;
            match u32::try_from(count) {
                Ok(count) if count > 0 => {
                    self.holders.insert(message, count);
                }
                _ => {
                    self.holders.remove(&message);
                }
            }
        }
        for (topic, is_there) in outcome.retained {
            if is_there {
                self.retained.insert(topic);
            } else {
                self.retained.remove(&topic);
            }
        }
        self.position = outcome.position;
    }
}

impl<'c> Changes<'c> {
    /// No change yet. The caller has begun a transaction.
    pub fn new(connection: &'c Connection, content: &'c Content) -> Changes<'c> {
        Changes {
            connection,
            content,
            holders: Map::default(),
            retained: Map::default(),
            position: content.position,
            rows: 0,
        }
    }

    /// Removes the messages that nobody refers to any more.
    pub fn finish(mut self) -> rusqlite::Result<Outcome> {
        let holders = std::mem::take(&mut self.holders);
        for (message, change) in &holders {
            if self.held(*message) + change <= 0 {
                self.run("DELETE FROM message WHERE id = ?", [*message as i64])?;
            }
        }
        Ok(Outcome {
            holders,
            retained: self.retained,
            position: self.position,
            rows: self.rows,
        })
    }

    /// Carries a record out.
    pub fn apply(&mut self, item: &Item<'_, '_>) -> rusqlite::Result<()> {
        if let Some(message) = item.record.message() {
            match item.body {
                Some(body) => self.keep(body)?,
                None if !self.is_there(message) => return Ok(()),
                None => {}
            }
        }
        match *item.record {
            Record::SessionMade { .. }
            | Record::SessionChanged { .. }
            | Record::SessionEnded { .. }
            | Record::Subscribed { .. }
            | Record::Unsubscribed { .. } => self.session(item.record),
            Record::WillSet {
                session,
                message,
                delay_s,
                expiry_s,
            } => self.set_will(session, message, delay_s, expiry_s),
            Record::WillCleared { session } => self.clear_will(session),
            Record::Retained { topic, message } => self.retain(topic, message),
            Record::RetainCleared { topic } => self.clear_retained(topic),
            _ => self.delivery(item.record),
        }
    }

    fn run(&mut self, sql: &str, with: impl Params) -> rusqlite::Result<usize> {
        let rows = self.connection.prepare_cached(sql)?.execute(with)?;
        self.rows += rows;
        Ok(rows)
    }

    /// Runs a DELETE that returns message ids, and lets go of these.
    fn delete(&mut self, sql: &str, with: impl Params) -> rusqlite::Result<usize> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let ids: Vec<Option<i64>> = statement
            .query_map(with, |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        self.rows += ids.len();
        for id in ids.iter().flatten().filter(|id| **id != 0) {
            self.release(*id as u64);
        }
        Ok(ids.len())
    }
}

impl Changes<'_> {
    fn held(&self, message: u64) -> i64 {
        self.content
            .holders
            .get(&message)
            .map_or(0, |count| i64::from(*count))
    }

    fn is_there(&self, message: u64) -> bool {
        self.content.holders.contains_key(&message) || self.holders.contains_key(&message)
    }

    fn hold(&mut self, message: u64) {
        *self.holders.entry(message).or_default() += 1;
    }

    fn release(&mut self, message: u64) {
        *self.holders.entry(message).or_default() -= 1;
    }

    /// Sees to it that a message is in the database.
    fn keep(&mut self, body: &Body<'_>) -> rusqlite::Result<()> {
        if self.is_there(body.id) {
            return Ok(());
        }
        self.run(
            "INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                body.id as i64,
                body.topic,
                Some(body.properties).filter(|properties| !properties.is_empty()),
                body.payload,
                body.qos,
                body.retain,
                body.expires_at_ms.map(|at| at as i64),
            ],
        )?;
        self.holders.insert(body.id, 0);
        Ok(())
    }

    fn next_position(&mut self) -> i64 {
        self.position += 1;
        self.position
    }
}

impl Changes<'_> {
    fn session(&mut self, record: &Record<'_>) -> rusqlite::Result<()> {
        match *record {
            Record::SessionMade { session, client_id, user, expiry_s } => self.run(
                "INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, NULL, NULL, NULL, NULL)",
                params![session as i64, client_id, user, expiry_s],
            ),
            Record::SessionChanged { session, expiry_s, offline_since_ms } => self.run(
                "UPDATE session SET expiry_s = ?2, offline_since_ms = ?3
                 WHERE id = ?1 AND (expiry_s <> ?2 OR offline_since_ms IS NOT ?3)",
                params![session as i64, expiry_s, offline_since_ms.map(|at| at as i64)],
            ),
            Record::SessionEnded { session } => return self.end_session(session as i64),
            Record::Subscribed { session, filter, options, subscription_id } => self.run(
                "INSERT INTO subscription VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
                 SET options = excluded.options, subscription_id = excluded.subscription_id
                 WHERE options <> excluded.options OR subscription_id IS NOT excluded.subscription_id",
                params![session as i64, filter, options, subscription_id],
            ),
            Record::Unsubscribed { session, filter } => self.run(
                "DELETE FROM subscription WHERE session = ? AND filter = ?",
                params![session as i64, filter],
            ),
            _ => unreachable!("apply gives only these"),
        }?;
        Ok(())
    }

    fn end_session(&mut self, session: i64) -> rusqlite::Result<()> {
        self.delete(
            "DELETE FROM delivery WHERE session = ? RETURNING message",
            [session],
        )?;
        self.run("DELETE FROM taken WHERE session = ?", [session])?;
        self.run("DELETE FROM subscription WHERE session = ?", [session])?;
        self.delete(
            "DELETE FROM session WHERE id = ? RETURNING will_message",
            [session],
        )?;
        Ok(())
    }

    /// A client says its Will at every CONNECT, and it is mostly the same.
    fn set_will(
        &mut self,
        session: u64,
        message: u64,
        delay_s: u32,
        expiry_s: Option<u32>,
    ) -> rusqlite::Result<()> {
        let is_same = self
            .connection
            .prepare_cached(
                "SELECT 1 FROM session JOIN message AS old ON old.id = will_message JOIN message AS new ON new.id = ?2
                 WHERE session.id = ?1 AND will_delay_s = ?3 AND will_expiry_s IS ?4 AND old.topic = new.topic
                 AND old.properties IS new.properties AND old.payload = new.payload
                 AND old.qos = new.qos AND old.retain = new.retain",
            )?
            .exists(params![session as i64, message as i64, delay_s, expiry_s])?;
        if is_same {
            return Ok(());
        }
        self.clear_will(session)?;
        let rows = self.run(
            "UPDATE session SET will_message = ?2, will_delay_s = ?3, will_expiry_s = ?4 WHERE id = ?1",
            params![session as i64, message as i64, delay_s, expiry_s],
        )?;
        if rows > 0 {
            self.hold(message);
        }
        Ok(())
    }

    fn clear_will(&mut self, session: u64) -> rusqlite::Result<()> {
        let former: Option<i64> = self
            .connection
            .prepare_cached("SELECT will_message FROM session WHERE id = ?")?
            .query_row([session as i64], |row| row.get(0))
            .optional()?
            .flatten();
        if let Some(former) = former {
            self.release(former as u64);
            self.run(
                "UPDATE session SET will_message = NULL WHERE id = ?",
                [session as i64],
            )?;
        }
        Ok(())
    }

    fn retain(&mut self, topic: &str, message: u64) -> rusqlite::Result<()> {
        self.clear_retained(topic)?;
        self.run(
            "INSERT OR REPLACE INTO retained VALUES (?, ?)",
            params![topic, message as i64],
        )?;
        self.hold(message);
        self.retained.insert(topic_hash(topic), true);
        Ok(())
    }

    fn clear_retained(&mut self, topic: &str) -> rusqlite::Result<()> {
        self.delete(
            "DELETE FROM retained WHERE topic = ? RETURNING message",
            [topic],
        )?;
        self.retained.insert(topic_hash(topic), false);
        Ok(())
    }

    fn delivery(&mut self, record: &Record<'_>) -> rusqlite::Result<()> {
        match *record {
            Record::Queued {
                session,
                message,
                qos,
                retain,
                packet_id,
                ref with,
            } => {
                self.queue(session, message, (qos, retain, packet_id), with.as_deref())?;
            }
            Record::Inflight {
                session,
                message,
                share,
                packet_id,
            } => {
                let position = self.next_position();
                self.run(
                    "UPDATE delivery SET packet_id = ?4, position = ?5
                     WHERE session = ?1 AND packet_id = 0 AND message = ?2 AND share = ?3",
                    params![
                        session as i64,
                        message as i64,
                        share.unwrap_or_default(),
                        packet_id,
                        position
                    ],
                )?;
            }
            Record::Received { session, packet_id } => {
                self.done(session, packet_id)?;
                // PUBREL is sent again in the order in which PUBREC came [MQTT-4.6.0-4].
                let position = self.next_position();
                self.run(
                    "INSERT INTO delivery VALUES (?, ?, 0, '', ?, 2, 0, NULL)",
                    params![session as i64, packet_id, position],
                )?;
            }
            Record::Done { session, packet_id } => self.done(session, packet_id)?,
            Record::Dropped {
                session,
                message,
                share,
            } => {
                self.delete(
                    "DELETE FROM delivery WHERE session = ? AND packet_id = 0 AND message = ? AND share = ?
                     RETURNING message",
                    params![session as i64, message as i64, share.unwrap_or_default()],
                )?;
            }
            Record::Taken { session, packet_id } => {
                self.run(
                    "INSERT OR IGNORE INTO taken VALUES (?, ?)",
                    params![session as i64, packet_id],
                )?;
            }
            Record::Released { session, packet_id } => {
                self.run(
                    "DELETE FROM taken WHERE session = ? AND packet_id = ?",
                    params![session as i64, packet_id],
                )?;
            }
            _ => unreachable!("apply gives only these"),
        }
        Ok(())
    }

    fn queue(
        &mut self,
        session: u64,
        message: u64,
        (qos, retain, packet_id): (u8, bool, u16),
        with: Option<&Extras<'_>>,
    ) -> rusqlite::Result<()> {
        let position = self.next_position();
        let ids = with.map_or(&[][..], |with| &with.subscription_ids);
        let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let ids = if ids.is_empty() {
            Value::Null
        } else {
            Value::Blob(ids)
        };
        let rows = self.run(
            "INSERT OR IGNORE INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                session as i64,
                packet_id,
                message as i64,
                Extras::share_of(with).unwrap_or_default(),
                position,
                qos,
                retain,
                ids,
            ],
        )?;
        if rows > 0 {
            self.hold(message);
        }
        Ok(())
    }

    fn done(&mut self, session: u64, packet_id: u16) -> rusqlite::Result<()> {
        self.delete(
            "DELETE FROM delivery WHERE session = ? AND packet_id = ? AND packet_id > 0 RETURNING message",
            params![session as i64, packet_id],
        )?;
        Ok(())
    }
}
