//! `fosquitto clients`, `sessions`, `subscriptions`, `retained`, `queues` and `bridges`: what is on the bus, a line each. Entered through
//! [`run`] with the name of the list. They ask by the control socket, page after page.
//!
//! For people it is a table whose texts are escaped and cut; `--json` gives all of it as one JSON array with an item a line.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::Value;

use super::ask::{Asked, Command, number, text};
use super::dump::line;
use super::status::{bytes, duration};
use crate::control::Request;
use crate::control::client::Asker;
use crate::log::Escaped;

/// The longest text in a table, in characters.
const TEXT_MAX: usize = 48;

/// A list.
struct List {
    command: Command,
    /// The request for a page: with the command's word, and from a cursor.
    request: fn(Option<String>, Option<String>) -> Request,
    /// The columns: what stands above them, and what of a row.
    columns: &'static [Column],
}

/// What stands above a column, and what of a row stands in it.
type Column = (&'static str, fn(&Value) -> String);

const CLIENTS: List = List {
    command: Command {
        name: "clients",
        usage: "\
Usage: fosquitto clients [--root DIR] [--json]

Lists the clients that are connected.

      --json     a JSON array; src/control/rows.rs describes its objects
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
        words: (0, 0),
        options: &[],
        flags: &[],
    },
    request: |_, from| Request::Clients { from },
    columns: &[
        ("CLIENT", |row| shown(text(row, "client_id"))),
        ("USER", |row| user(row)),
        ("LISTENER", |row| shown(text(row, "listener"))),
        ("FROM", |row| shown(text(row, "address"))),
        ("MQTT", |row| {
            let tls = if row["tls"] == true { " TLS" } else { "" };
            format!("{}{tls}", shown(text(row, "version")))
        }),
        ("SINCE", |row| duration(number(row, "connected_s"))),
        ("IDLE", |row| duration(number(row, "idle_s"))),
        ("FILTERS", |row| number(row, "subscriptions").to_string()),
        ("WAITING", |row| number(row, "queued").to_string()),
        ("DENIED", |row| number(row, "denials").to_string()),
    ],
};

const SESSIONS: List = List {
    command: Command {
        name: "sessions",
        usage: "\
Usage: fosquitto sessions [--root DIR] [--json]

Lists the sessions, those of connected clients and those that wait for theirs.

      --json     a JSON array; src/control/rows.rs describes its objects
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
        words: (0, 0),
        options: &[],
        flags: &[],
    },
    request: |_, from| Request::Sessions { from },
    columns: &[
        ("CLIENT", |row| shown(text(row, "client_id"))),
        ("USER", |row| user(row)),
        ("STATE", |row| match row["away_s"].as_u64() {
            None => "connected".to_owned(),
            Some(s) => format!("away for {}", duration(s)),
        }),
        ("ENDS", |row| {
            match (row["ends_s"].as_u64(), row["expiry_s"].as_u64()) {
                (Some(s), _) => format!("in {}", duration(s)),
                (None, Some(0)) => "with it".to_owned(),
                (None, Some(s)) => format!("{} after it", duration(s)),
                (None, None) => "never".to_owned(),
            }
        }),
        ("FILTERS", |row| number(row, "subscriptions").to_string()),
        ("SENT", |row| number(row, "inflight").to_string()),
        ("WAITING", |row| {
            (number(row, "queued") + number(row, "queued_qos0")).to_string()
        }),
        ("BYTES", |row| bytes(number(row, "queued_bytes"))),
    ],
};

const SUBSCRIPTIONS: List = List {
    command: Command {
        name: "subscriptions",
        usage: "\
Usage: fosquitto subscriptions [--root DIR] [--json] [CLIENT]

Lists the subscriptions of all sessions, or of the session of CLIENT.

      --json     a JSON array of what 'fosquitto dump' calls subscription
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
        words: (0, 1),
        options: &[],
        flags: &[],
    },
    request: |client_id, from| Request::Subscriptions { client_id, from },
    columns: &[
        ("CLIENT", |row| shown(text(row, "client_id"))),
        ("QOS", |row| number(row, "qos").to_string()),
        ("FILTER", |row| shown(text(row, "filter"))),
    ],
};

const RETAINED: List = List {
    command: Command {
        name: "retained",
        usage: "\
Usage: fosquitto retained [--root DIR] [--json] [FILTER]

Lists the retained messages, all of them but those of $SYS, or those that FILTER matches.

      --json     a JSON array of what 'fosquitto dump' calls retained
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
        words: (0, 1),
        options: &[],
        flags: &[],
    },
    request: |filter, from| Request::Retained {
        filter: Some(filter.unwrap_or_else(|| "#".to_owned())),
        from,
    },
    columns: &[
        ("QOS", |row| number(row, "qos").to_string()),
        ("BYTES", |row| {
            bytes(number(&row["message"], "payload_bytes"))
        }),
        ("EXPIRES", |row| {
            match row["message"]["expires_s"].as_u64() {
                Some(s) => format!("in {}", duration(s)),
                None => "never".to_owned(),
            }
        }),
        ("TOPIC", |row| shown(text(&row["message"], "topic"))),
        ("PAYLOAD", |row| payload(&row["message"])),
    ],
};

const QUEUES: List = List {
    command: Command {
        name: "queues",
        usage: "\
Usage: fosquitto queues [--root DIR] [--json] [CLIENT]

Lists the messages that wait for clients or are on their way to them, of all sessions or of that of CLIENT.

      --json     a JSON array of what 'fosquitto dump' calls queued, released and taken
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
        words: (0, 1),
        options: &[],
        flags: &[],
    },
    request: |client_id, from| Request::Queues { client_id, from },
    columns: &[
        ("CLIENT", |row| shown(text(row, "client_id"))),
        ("STATE", |row| match text(row, "kind") {
            "queued" => shown(text(row, "state")),
            kind => shown(kind),
        }),
        ("ID", |row| match row["packet_id"].as_u64() {
            Some(id) => id.to_string(),
            None => "-".to_owned(),
        }),
        ("QOS", |row| match row["qos"].as_u64() {
            Some(qos) => qos.to_string(),
            None => "2".to_owned(),
        }),
        ("BYTES", |row| bytes(number(&row["message"], "payload_bytes"))),
        ("TOPIC", |row| shown(text(&row["message"], "topic"))),
    ],
};

const BRIDGES: List = List {
    command: Command {
        name: "bridges",
        usage: "\
Usage: fosquitto bridges [--root DIR] [--json]

Lists the bridges to other buses, the links to subordinates included.

      --json     a JSON array; src/control/rows.rs describes its objects
      --root DIR ask the bus that runs on DIR (default /)
  -h, --help     show this
",
        words: (0, 0),
        options: &[],
        flags: &[],
    },
    request: |_, _| Request::Bridges {},
    columns: &[
        ("BRIDGE", |row| shown(text(row, "name"))),
        ("STATE", |row| shown(text(row, "state"))),
        ("FOR", |row| duration(number(row, "since_s"))),
        ("TO", |row| shown(text(row, "address"))),
        ("MQTT", |row| shown(text(row, "protocol"))),
        ("WAITING", |row| number(row, "queued").to_string()),
        ("ON-WAY", |row| number(row, "inflight").to_string()),
        ("DROPPED", |row| number(row, "dropped").to_string()),
        ("REJECTED", |row| number(row, "rejected").to_string()),
        ("IN", |row| number(row, "messages_in").to_string()),
        ("OUT", |row| number(row, "messages_out").to_string()),
        ("ERROR", |row| shown(text(row, "error"))),
    ],
};

/// The lists.
const LISTS: [List; 6] = [CLIENTS, SESSIONS, SUBSCRIPTIONS, RETAINED, QUEUES, BRIDGES];

/// A page as it comes by the socket.
#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    next: Option<String>,
}

/// Runs the command of a list with what follows its name. Exit status 1 where no bus runs or it does not answer.
pub fn run(name: &str, root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let list = LISTS.iter().find(|list| list.command.name == name);
    let list = list.expect("the commands that come here are those of the lists");
    let asked = match list.command.read(root, arguments) {
        Ok(asked) => asked,
        Err(status) => return status,
    };
    let printed = asked.bus().and_then(|mut bus| match asked.as_json {
        true => print_json(list, &asked, &mut bus).map(|()| String::new()),
        false => table(list, &asked, &mut bus),
    });
    asked.end(printed)
}

/// Gives all rows, a page at a time.
fn each_page(
    list: &List,
    asked: &Asked,
    bus: &mut Asker,
    mut give: impl FnMut(Vec<Value>) -> Result<(), String>,
) -> Result<(), String> {
    let mut from = None;
    loop {
        let request = (list.request)(asked.words.first().cloned(), from);
        let answer = bus.ask(&request)?;
        let page: Page = serde_json::from_value(answer).map_err(|error| error.to_string())?;
        give(page.items)?;
        from = page.next;
        if from.is_none() {
            return Ok(());
        }
    }
}

fn print_json(list: &List, asked: &Asked, bus: &mut Asker) -> Result<(), String> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut before = "[\n";
    let said = |error: io::Error| error.to_string();
    each_page(list, asked, bus, |items| {
        for item in &items {
            let item = line(item);
            write!(out, "{before}{}", item.trim_end()).map_err(said)?;
            before = ",\n";
        }
        Ok(())
    })?;
    let end = if before == ",\n" { "\n]\n" } else { "[]\n" };
    write!(out, "{end}")
        .and_then(|()| out.flush())
        .map_err(said)
}

/// The rows in columns that are as wide as what stands in them.
fn table(list: &List, asked: &Asked, bus: &mut Asker) -> Result<String, String> {
    let heads = list.columns.iter().map(|(head, _)| (*head).to_owned());
    let mut rows: Vec<Vec<String>> = vec![heads.collect()];
    each_page(list, asked, bus, |items| {
        let cells = |item: &Value| list.columns.iter().map(|(_, cell)| cell(item)).collect();
        rows.extend(items.iter().map(cells));
        Ok(())
    })?;
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..list.columns.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut cells = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(cells, "{cell:<width$}  ").expect("a string takes everything");
        }
        text += cells.trim_end();
        text.push('\n');
    }
    Ok(text)
}

fn user(row: &Value) -> String {
    match row["user"].as_str() {
        Some(user) => shown(user),
        None if row["own"] == true => "(this bus)".to_owned(),
        None => "(anonymous)".to_owned(),
    }
}

/// A text that somebody chose, for a terminal.
fn shown(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        text => Escaped::bounded(text, TEXT_MAX).to_string(),
    }
}

fn payload(message: &Value) -> String {
    match message["payload"].as_str() {
        Some(text) => shown(text),
        None => "(binary)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_chose_commands_no_terminal_in_any_column() {
        let hostile = "a\u{1b}[2J\u{9b}2J\u{7f}\n\u{202e}";
        let row = serde_json::json!({
            "client_id": hostile, "user": hostile, "listener": hostile, "address": hostile,
            "version": hostile, "filter": hostile, "state": hostile, "kind": hostile,
            "name": hostile, "error": hostile, "message": {"topic": hostile, "payload": hostile},
        });
        for list in &LISTS {
            for (head, cell) in list.columns {
                let shown = cell(&row);
                let is_safe = |it: char| !it.is_control() && it != '\u{202e}';
                assert!(shown.chars().all(is_safe), "{head}: {shown:?}");
            }
        }
    }
}
