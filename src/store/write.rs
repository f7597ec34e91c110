//! What the journal says as changes of the database: one transaction a span.
//!
//! Entered by [`Database::write`](super::database::Database::write) with what is left of a span. Each record is a statement or a few. A record on
//! something that is not there is passed over: the journal may begin after the database was lost, or say again what it has.
//!
//! A message is there once and counted by those that refer to it: the counts live in memory, so that no index is needed to see
//! whether the last of them is gone.

use std::sync::LazyLock;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Params, params};

use super::Map;
use super::coalesce::{Item, Known};
use super::record::{Body, Extras, Record};

/// What the store keeps in memory of the database's content: numbers, no content.
#[derive(Debug, Default)]
pub struct Content {
    /// How many refer to each message that is there.
    pub holders: Map<u64, u32>,
    /// The retained message of a topic, by the topic's hash.
    pub retained: Map<u64, u64>,
    /// The message in flight to a session under an identifier.
    pub flying: Map<(u64, u16), u64>,
    /// How many deliveries each session has.
    pub deliveries: Map<u64, u32>,
    /// The last position given to a delivery.
    pub position: i64,
}

impl Known for Content {
    fn may_retain(&self, topic: &str) -> bool {
        self.retained.contains_key(&topic_hash(topic))
    }
}

/// A topic as [`Content`] remembers it.
pub fn topic_hash(topic: &str) -> u64 {
    use std::hash::BuildHasher as _;
    // Nobody can look for two topics with one hash: of two such, the second could not be cleared.
    static SEED: LazyLock<foldhash::quality::RandomState> = LazyLock::new(Default::default);
    SEED.hash_one(topic)
}

/// The changes of one transaction, and what they change of the content once it is committed.
pub struct Changes<'c> {
    connection: &'c Connection,
    content: &'c Content,
    outcome: Outcome,
}

/// What is to be done to a [`Content`] after the commit.
#[derive(Debug, Default)]
pub struct Outcome {
    holders: Map<u64, i64>,
    retained: Map<u64, Option<u64>>,
    flying: Map<(u64, u16), Option<u64>>,
    deliveries: Map<u64, i64>,
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
    /// Takes a delivery up that the database has.
    pub fn has_delivery(&mut self, message: i64, session: i64, packet_id: u16) {
        let (message, session) = (message as u64, session as u64);
        *self.holders.entry(message).or_default() += 1;
        *self.deliveries.entry(session).or_default() += 1;
        if packet_id > 0 {
            self.flying.insert((session, packet_id), message);
        }
    }

    /// Follows a transaction that was committed.
    pub fn follow(&mut self, outcome: Outcome) {
        add_counts(&mut self.holders, outcome.holders);
        add_counts(&mut self.deliveries, outcome.deliveries);
        set_or_remove(&mut self.retained, outcome.retained);
        set_or_remove(&mut self.flying, outcome.flying);
        self.position = outcome.position;
    }
}

fn add_counts(counts: &mut Map<u64, u32>, changes: Map<u64, i64>) {
    for (of, change) in changes {
        let count = counts.get(&of).map_or(0, |count| i64::from(*count)) + change;
        match u32::try_from(count) {
            Ok(count) if count > 0 => {
                counts.insert(of, count);
            }
            _ => {
                counts.remove(&of);
            }
        }
    }
}

fn set_or_remove<K: Eq + std::hash::Hash>(of: &mut Map<K, u64>, changes: Map<K, Option<u64>>) {
    for (key, value) in changes {
        match value {
            Some(value) => of.insert(key, value),
            None => of.remove(&key),
        };
    }
}

impl<'c> Changes<'c> {
    /// No change yet. The caller has begun a transaction.
    pub fn new(connection: &'c Connection, content: &'c Content) -> Changes<'c> {
        Changes {
            connection,
            content,
            outcome: Outcome {
                position: content.position,
                ..Outcome::default()
            },
        }
    }

    /// Removes the messages that nobody refers to any more.
    pub fn finish(mut self) -> rusqlite::Result<Outcome> {
        let changed: Vec<u64> = self.outcome.holders.keys().copied().collect();
        for message in changed {
            if self.holders(message) <= 0 {
                self.run("DELETE FROM message WHERE id = ?", [message as i64])?;
            }
        }
        Ok(self.outcome)
    }

    /// Carries a record out.
    pub fn apply(&mut self, item: &Item<'_>) -> rusqlite::Result<()> {
        if let Some(message) = item.record.message()
            && item.body.is_none()
            && !self.is_there(message)
        {
            return Ok(());
        }
        match item.record {
            Record::SessionMade { .. }
            | Record::SessionChanged { .. }
            | Record::SessionEnded { .. }
            | Record::Subscribed { .. }
            | Record::Unsubscribed { .. } => self.session(&item.record),
            Record::WillSet {
                session,
                message,
                delay_s,
                expiry_s,
            } => {
                self.keep(item.body.as_ref())?;
                self.set_will(session, message, delay_s, expiry_s)
            }
            Record::WillCleared { session } => self.clear_will(session),
            Record::Retained { topic, message } => {
                self.keep(item.body.as_ref())?;
                self.retain(topic, message)
            }
            Record::RetainCleared { topic } => self.clear_retained(topic),
            Record::Queued {
                session,
                message,
                qos,
                retain,
                packet_id,
                ref with,
            } => {
                let delivery = Delivery {
                    session,
                    packet_id,
                    qos,
                    retain,
                    with: with.as_deref(),
                };
                self.queue(message, item.body.as_ref(), &delivery)
            }
            _ => self.delivery(&item.record),
        }
    }

    fn run(&mut self, sql: &str, with: impl Params) -> rusqlite::Result<usize> {
        let rows = self.connection.prepare_cached(sql)?.execute(with)?;
        self.outcome.rows += rows;
        Ok(rows)
    }
}

impl Changes<'_> {
    /// How many refer to a message now.
    fn holders(&self, message: u64) -> i64 {
        let before = self.content.holders.get(&message);
        let change = self.outcome.holders.get(&message);
        before.map_or(0, |count| i64::from(*count)) + change.unwrap_or(&0)
    }

    fn is_there(&self, message: u64) -> bool {
        self.content.holders.contains_key(&message) || self.outcome.holders.contains_key(&message)
    }

    fn hold(&mut self, message: u64) {
        *self.outcome.holders.entry(message).or_default() += 1;
    }

    fn release(&mut self, message: u64) {
        *self.outcome.holders.entry(message).or_default() -= 1;
    }

    /// Sees to it that a message is in the database.
    fn keep(&mut self, body: Option<&Body<'_>>) -> rusqlite::Result<()> {
        match body {
            Some(body) if !self.is_there(body.id) => self.insert(body, None),
            _ => Ok(()),
        }
    }

    /// Makes a message's row, with its first delivery if that is known.
    fn insert(&mut self, body: &Body<'_>, delivery: Option<&Delivery<'_>>) -> rusqlite::Result<()> {
        let position = delivery.map(|_| self.next_position());
        self.run(
            "INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
            params![
                body.id as i64,
                body.topic,
                Some(body.properties).filter(|properties| !properties.is_empty()),
                body.payload,
                body.qos,
                body.retain,
                body.expires_at_ms.map(|at| at as i64),
                delivery.map(|delivery| delivery.session as i64),
                delivery.map(|delivery| delivery.packet_id),
                position,
                delivery.map(|delivery| delivery.qos),
                delivery.map(|delivery| delivery.retain),
                delivery.map(Delivery::subscription_ids),
                delivery.map(Delivery::share),
            ],
        )?;
        self.outcome.holders.insert(body.id, 0);
        Ok(())
    }

    fn next_position(&mut self) -> i64 {
        self.outcome.position += 1;
        self.outcome.position
    }
}

/// How a message waits for a session or is in flight to it.
struct Delivery<'a> {
    session: u64,
    packet_id: u16,
    qos: u8,
    retain: bool,
    with: Option<&'a Extras<'a>>,
}

impl Delivery<'_> {
    fn share(&self) -> &str {
        Extras::share_of(self.with).unwrap_or_default()
    }

    fn subscription_ids(&self) -> Value {
        let ids = self.with.map_or(&[][..], |with| &with.subscription_ids);
        match ids {
            [] => Value::Null,
            ids => Value::Blob(ids.iter().flat_map(|id| id.to_le_bytes()).collect()),
        }
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
        self.clear_will(session as u64)?;
        self.end_deliveries(session as u64)?;
        self.run("DELETE FROM release WHERE session = ?", [session])?;
        self.run("DELETE FROM taken WHERE session = ?", [session])?;
        self.run("DELETE FROM subscription WHERE session = ?", [session])?;
        self.run("DELETE FROM session WHERE id = ?", [session])?;
        Ok(())
    }

    /// Looks through all deliveries; that is done only for a session that has some.
    fn end_deliveries(&mut self, session: u64) -> rusqlite::Result<()> {
        let before = self
            .content
            .deliveries
            .get(&session)
            .map_or(0, |count| i64::from(*count));
        let change = self.outcome.deliveries.get(&session).copied().unwrap_or(0);
        if before + change <= 0 {
            return Ok(());
        }
        for sql in [
            "UPDATE message SET session = NULL WHERE session = ? RETURNING id, packet_id",
            "DELETE FROM delivery WHERE session = ? RETURNING message, packet_id",
        ] {
            let mut statement = self.connection.prepare_cached(sql)?;
            let ended: Vec<(i64, u16)> = statement
                .query_map([session as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            for (message, packet_id) in ended {
                self.ended(session, message as u64, packet_id);
            }
        }
        Ok(())
    }

    /// A delivery is gone.
    fn ended(&mut self, session: u64, message: u64, packet_id: u16) {
        self.outcome.rows += 1;
        self.release(message);
        *self.outcome.deliveries.entry(session).or_default() -= 1;
        if packet_id > 0 {
            self.outcome.flying.insert((session, packet_id), None);
        }
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
            "UPDATE message SET retained = 1 WHERE id = ?",
            [message as i64],
        )?;
        self.hold(message);
        self.outcome
            .retained
            .insert(topic_hash(topic), Some(message));
        Ok(())
    }

    fn clear_retained(&mut self, topic: &str) -> rusqlite::Result<()> {
        let hash = topic_hash(topic);
        let changed = self.outcome.retained.get(&hash).copied();
        let Some(former) = changed.unwrap_or_else(|| self.content.retained.get(&hash).copied())
        else {
            return Ok(());
        };
        let mut message = former;
        let clear = "UPDATE message SET retained = 0 WHERE id = ? AND topic = ? AND retained = 1";
        if self.run(clear, params![former as i64, topic])? == 0 {
            // Another topic has the same hash: nothing remembers where this one's is.
            let find = "SELECT id FROM message WHERE retained = 1 AND topic = ?";
            let found: Option<i64> = self
                .connection
                .prepare_cached(find)?
                .query_row([topic], |row| row.get(0))
                .optional()?;
            let Some(found) = found else {
                return Ok(());
            };
            message = found as u64;
            self.run(clear, params![found, topic])?;
        } else {
            self.outcome.retained.insert(hash, None);
        }
        self.release(message);
        Ok(())
    }
}

impl Changes<'_> {
    fn delivery(&mut self, record: &Record<'_>) -> rusqlite::Result<()> {
        match *record {
            Record::Inflight {
                session,
                message,
                share,
                packet_id,
            } => self.fly(session, message, share.unwrap_or_default(), packet_id)?,
            Record::Received { session, packet_id } => {
                self.done(session, packet_id)?;
                // PUBREL is sent again in the order in which PUBREC came [MQTT-4.6.0-4].
                let position = self.next_position();
                self.run(
                    "INSERT OR REPLACE INTO release VALUES (?, ?, ?)",
                    params![session as i64, packet_id, position],
                )?;
            }
            Record::Done { session, packet_id } => self.done(session, packet_id)?,
            Record::Dropped {
                session,
                message,
                share,
            } => self.end_delivery(session, message, 0, share)?,
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
        message: u64,
        body: Option<&Body<'_>>,
        delivery: &Delivery<'_>,
    ) -> rusqlite::Result<()> {
        match body {
            Some(body) if !self.is_there(message) => self.insert(body, Some(delivery))?,
            _ => self.queue_another(message, delivery)?,
        }
        self.hold(message);
        *self.outcome.deliveries.entry(delivery.session).or_default() += 1;
        if delivery.packet_id > 0 {
            let key = (delivery.session, delivery.packet_id);
            self.outcome.flying.insert(key, Some(message));
        }
        Ok(())
    }

    /// A delivery of a message that is there: in its row if there is none, else in one of its own.
    fn queue_another(&mut self, message: u64, delivery: &Delivery<'_>) -> rusqlite::Result<()> {
        let position = self.next_position();
        let rows = self.run(
            "UPDATE message SET session = ?2, packet_id = ?3, share = ?4, position = ?5, sent_qos = ?6,
             sent_retain = ?7, subscription_ids = ?8 WHERE id = ?1 AND session IS NULL",
            params![
                message as i64,
                delivery.session as i64,
                delivery.packet_id,
                delivery.share(),
                position,
                delivery.qos,
                delivery.retain,
                delivery.subscription_ids(),
            ],
        )?;
        if rows == 0 {
            self.run(
                "INSERT OR REPLACE INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    message as i64,
                    delivery.session as i64,
                    delivery.packet_id,
                    delivery.share(),
                    position,
                    delivery.qos,
                    delivery.retain,
                    delivery.subscription_ids(),
                ],
            )?;
        }
        Ok(())
    }

    /// A message that waited gets its identifier.
    fn fly(
        &mut self,
        session: u64,
        message: u64,
        share: &str,
        packet_id: u16,
    ) -> rusqlite::Result<()> {
        let position = self.next_position();
        for sql in [
            "UPDATE message SET packet_id = ?4, position = ?5
             WHERE id = ?1 AND session = ?2 AND packet_id = 0 AND share = ?3",
            "UPDATE delivery SET packet_id = ?4, position = ?5
             WHERE message = ?1 AND session = ?2 AND packet_id = 0 AND share = ?3",
        ] {
            let what = params![message as i64, session as i64, share, packet_id, position];
            if self.run(sql, what)? > 0 {
                self.outcome
                    .flying
                    .insert((session, packet_id), Some(message));
                break;
            }
        }
        Ok(())
    }

    fn done(&mut self, session: u64, packet_id: u16) -> rusqlite::Result<()> {
        let key = (session, packet_id);
        let changed = self.outcome.flying.get(&key).copied();
        match changed.unwrap_or_else(|| self.content.flying.get(&key).copied()) {
            Some(message) => self.end_delivery(session, message, packet_id, None),
            None => self
                .run(
                    "DELETE FROM release WHERE session = ? AND packet_id = ?",
                    params![session as i64, packet_id],
                )
                .map(drop),
        }
    }

    /// Removes a delivery: one in flight by its identifier, one that waits by its share.
    fn end_delivery(
        &mut self,
        session: u64,
        message: u64,
        packet_id: u16,
        share: Option<&str>,
    ) -> rusqlite::Result<()> {
        for sql in [
            "UPDATE message SET session = NULL WHERE id = ?1 AND session = ?2 AND packet_id = ?3
             AND (?3 > 0 OR share = ?4)",
            "DELETE FROM delivery WHERE message = ?1 AND session = ?2 AND packet_id = ?3 AND (?3 > 0 OR share = ?4)",
        ] {
            let what = params![
                message as i64,
                session as i64,
                packet_id,
                share.unwrap_or_default()
            ];
            if self.run(sql, what)? > 0 {
                self.ended(session, message, packet_id);
                break;
            }
        }
        Ok(())
    }
}
