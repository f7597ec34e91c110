//! The rows of a database as the broker takes them, each kind after those that it refers to.
//!
//! Entered by [`read_all`]. It decides nothing about what it finds: a row that cannot be one of this program's is left out and said,
//! and so is what comes after a page that cannot be read. It writes nothing.

use rusqlite::Row;

use super::database::Database;
use super::record::options_of;
use crate::broker::effect::SessionId;
use crate::broker::{Owner, Restored, Time};
use crate::mqtt::{PacketId, Qos};

/// What could not be read.
#[derive(Debug, Default)]
pub struct Unread {
    /// Rows that are not as the schema says, and tables that were left before their end.
    pub count: usize,
    /// Why the first was not.
    pub first: Option<rusqlite::Error>,
}

/// Gives every row, each kind after those that it refers to. One that cannot be read costs no other.
pub fn read_all(database: &Database, give: &mut impl FnMut(Restored<'_>)) -> Unread {
    let mut rows = Rows {
        database,
        unread: Unread::default(),
    };
    rows.messages(give);
    rows.sessions(give);
    rows.deliveries(give);
    rows.rest(give);
    rows.unread
}

/// A database that is read.
struct Rows<'d> {
    database: &'d Database,
    unread: Unread,
}

impl Rows<'_> {
    fn messages(&mut self, give: &mut impl FnMut(Restored<'_>)) {
        self.each(
        "SELECT id, topic, properties, payload, qos, retain, expires_at_ms, retained FROM message",
        |row| {
            let message = number(row, 0)?;
            give(Restored::Message {
                id: message,
                topic: row.get_ref(1)?.as_str()?,
                properties: row.get_ref(2)?.as_blob_or_null()?.unwrap_or_default(),
                payload: row.get_ref(3)?.as_blob()?,
                qos: qos(row, 4)?,
                retain: row.get(5)?,
                expires_at_ms: row.get::<_, Option<i64>>(6)?.map(|at| at as u64),
            });
            if row.get(7)? {
                give(Restored::Retained { message });
            }
            Ok(())
        },
    );
    }

    fn sessions(&mut self, give: &mut impl FnMut(Restored<'_>)) {
        self.each(
            "SELECT id, client_id, user, expiry_s, offline_since_ms FROM session",
            |row| {
                give(Restored::Session {
                    session: SessionId(number(row, 0)?),
                    client_id: row.get_ref(1)?.as_str()?,
                    owner: Owner::of(row.get_ref(2)?.as_str_or_null()?),
                    expiry_s: row.get(3)?,
                    offline_since: row.get::<_, Option<i64>>(4)?.map(|at| Time(at as u64)),
                });
                Ok(())
            },
        );
    }

    fn deliveries(&mut self, give: &mut impl FnMut(Restored<'_>)) {
        let deliveries = match self.database.content().deliveries.is_empty() {
        // Messages are most of a database: where nobody waits for one, they are not read again.
        true => {
            "SELECT session, packet_id, position, NULL, NULL, NULL, NULL, NULL FROM release ORDER BY session, position"
        }
        false => {
            "SELECT session, packet_id, position, id, sent_qos, sent_retain, subscription_ids, share FROM message
             WHERE session IS NOT NULL
             UNION ALL SELECT session, packet_id, position, message, sent_qos, sent_retain, subscription_ids, share
             FROM delivery
             UNION ALL SELECT session, packet_id, position, NULL, NULL, NULL, NULL, NULL FROM release
             ORDER BY session, position"
        }
    };
        self.each(deliveries, |row| give_delivery(row, give));
    }

    /// What few sessions have many of.
    fn rest(&mut self, give: &mut impl FnMut(Restored<'_>)) {
        self.each(
            "SELECT session, filter, options, subscription_id FROM subscription",
            |row| {
                if let Some(options) = options_of(row.get(2)?) {
                    give(Restored::Subscription {
                        session: SessionId(number(row, 0)?),
                        filter: row.get_ref(1)?.as_str()?,
                        options,
                        subscription_id: row.get(3)?,
                    });
                }
                Ok(())
            },
        );
        self.each("SELECT session, packet_id FROM taken", |row| {
            if let Some(packet_id) = PacketId::new(row.get(1)?) {
                give(Restored::Taken {
                    session: SessionId(number(row, 0)?),
                    packet_id,
                });
            }
            Ok(())
        });
        self.each(
        "SELECT id, will_message, ifnull(will_delay_s, 0), will_expiry_s FROM session WHERE will_message IS NOT NULL",
        |row| {
            give(Restored::Will {
                session: SessionId(number(row, 0)?),
                message: number(row, 1)?,
                delay_s: row.get(2)?,
                expiry_s: row.get(3)?,
            });
            Ok(())
        },
    );
    }

    /// Every row of a query goes to `give`.
    fn each(&mut self, sql: &str, mut give: impl FnMut(&Row<'_>) -> rusqlite::Result<()>) {
        let unread = &mut self.unread;
        let mut note = |error| {
            unread.count += 1;
            unread.first.get_or_insert(error);
        };
        let read = self
            .database
            .connection()
            .prepare(sql)
            .and_then(|mut statement| {
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    give(row).unwrap_or_else(&mut note);
                }
                Ok(())
            });
        read.unwrap_or_else(note);
    }
}

fn give_delivery(row: &Row<'_>, give: &mut impl FnMut(Restored<'_>)) -> rusqlite::Result<()> {
    let session = SessionId(number(row, 0)?);
    let packet_id = PacketId::new(row.get(1)?);
    let Some(message) = row.get::<_, Option<i64>>(3)? else {
        if let Some(packet_id) = packet_id {
            give(Restored::PubRel { session, packet_id });
        }
        return Ok(());
    };
    let ids = row.get_ref(6)?.as_blob_or_null()?.unwrap_or_default();
    let ids: Vec<u32> = ids
        .chunks_exact(4)
        .map(|id| u32::from_le_bytes(id.try_into().expect("chunks of 4")))
        .collect();
    give(Restored::Queued {
        session,
        message: message as u64,
        qos: qos(row, 4)?,
        retain: row.get(5)?,
        subscription_ids: &ids,
        share: Some(row.get_ref(7)?.as_str()?).filter(|share| !share.is_empty()),
        packet_id,
    });
    Ok(())
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)? as u64)
}

fn qos(row: &Row<'_>, column: usize) -> rusqlite::Result<Qos> {
    let bits = row.get(column)?;
    Qos::from_bits(bits).ok_or(rusqlite::Error::IntegralValueOutOfRange(
        column,
        bits.into(),
    ))
}
