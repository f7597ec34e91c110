//! What can still be read of a damaged database, into a new one.
//!
//! Entered by [`copy`], then [`mend`]. A table is read from both ends, since SQLite goes no further than a page that it cannot read. It
//! does not look for rows in pages to which no table leads any more.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row};

use super::schema::{self, SOUND_WAITING, Table};

/// Copies what can be read: each table forwards until its first damage, then backwards until its last. How many rows.
pub fn copy(source: &Connection, to: &Connection) -> usize {
    let mut rows = 0;
    let Ok(transaction) = to.unchecked_transaction() else {
        return 0;
    };
    for Table {
        name,
        columns,
        sound,
    } in schema::TABLES
    {
        for order in ["ASC", "DESC"] {
            let key = columns.split(',').next().unwrap_or("rowid");
            let read = format!(
                "WITH whole({columns}) AS (SELECT * FROM {name})
                 SELECT {columns} FROM whole WHERE {sound} ORDER BY {key} {order}"
            );
            let places = vec!["?"; columns.split(',').count()].join(", ");
            let write = if name == "state" {
                "REPLACE"
            } else {
                "INSERT OR IGNORE"
            };
            let write = format!("{write} INTO {name} VALUES ({places})");
            let (copied, is_whole) = copy_rows(source, &transaction, &read, &write);
            rows += copied;
            if is_whole {
                break;
            }
        }
    }
    let committed = transaction.commit();
    if committed.is_ok() { rows } else { 0 }
}

fn copy_rows(source: &Connection, to: &Connection, read: &str, write: &str) -> (usize, bool) {
    let mut copied = 0;
    let (Ok(mut from), Ok(mut into)) = (source.prepare(read), to.prepare(write)) else {
        return (0, false);
    };
    let columns = from.column_count();
    let Ok(mut rows) = from.query([]) else {
        return (0, false);
    };
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                let values = (0..columns).map(|column| sound(row, column));
                let values: rusqlite::Result<Vec<ToSqlOutput<'_>>> = values.collect();
                let inserted =
                    values.and_then(|values| into.execute(rusqlite::params_from_iter(values)));
                copied += inserted.unwrap_or(0);
            }
            Ok(None) => return (copied, true),
            Err(_) => return (copied, false),
        }
    }
}

/// A value of a row, unless it is a text that is none: SQLite looks at no encoding.
fn sound<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<ToSqlOutput<'r>> {
    let value = row.get_ref(column)?;
    if let ValueRef::Text(text) = value {
        std::str::from_utf8(text).map_err(rusqlite::Error::Utf8Error)?;
    }
    Ok(ToSqlOutput::Borrowed(value))
}

/// Removes what refers to rows that could not be read, and what waits for nobody.
pub fn mend(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN;
         UPDATE message SET session = NULL, position = NULL
             WHERE session IS NOT NULL AND (session NOT IN (SELECT id FROM session) OR NOT ({SOUND_WAITING}))
             OR session IS NULL AND position IS NOT NULL;
         DELETE FROM delivery WHERE session NOT IN (SELECT id FROM session)
             OR message NOT IN (SELECT id FROM message);
         DELETE FROM release WHERE session NOT IN (SELECT id FROM session);
         DELETE FROM subscription WHERE session NOT IN (SELECT id FROM session);
         DELETE FROM taken WHERE session NOT IN (SELECT id FROM session);
         UPDATE session SET will_message = NULL WHERE will_message NOT IN (SELECT id FROM message);
         DELETE FROM message WHERE session IS NULL AND retained = 0
             AND id NOT IN (SELECT message FROM delivery)
             AND id NOT IN (SELECT will_message FROM session WHERE will_message IS NOT NULL);
         COMMIT;",
    ))
}
