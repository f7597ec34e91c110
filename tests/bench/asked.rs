//! What an administrator's questions cost a broker with 1,000 clients and 10,000 retained messages: how long `status` and all of `clients` take to be
//! answered by the control socket, and what becomes of a client's round trips meanwhile. mosquitto answers no such question.
//!
//! The questions are asked as the command asks them, page by page on one connection, but without the start of a process for each, which the
//! broker has no part in.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::client::Client;
use crate::packet::Publish;

const CLIENTS: usize = 1000;
const RETAINED: usize = 10_000;
const RETAINED_PAYLOAD: usize = 100;

/// What a run found; half of the times were at most as long.
pub struct Answers {
    /// Until `status` is answered, in milliseconds.
    pub status_ms: f64,
    /// Until all pages of `clients` are there, in milliseconds.
    pub clients_ms: f64,
    /// A client's round trip while nobody asks, in microseconds.
    pub alone_us: f64,
    /// The same while one question follows the other.
    pub meanwhile_us: f64,
    /// The same for all but one of a hundred round trips.
    pub meanwhile_p99_us: f64,
}

/// Fills the broker, and then asks for half of `time`.
pub fn run(broker: &Broker, socket: &Path, time: Duration) -> io::Result<Answers> {
    let mut client = Client::connect(broker.port, "bench-pings")?;
    for number in 0..RETAINED {
        let topic = format!("bench/{number}");
        client.publish_acknowledged(&Publish::new(&topic, 1, RETAINED_PAYLOAD, true))?;
    }
    let mut idle = Vec::with_capacity(CLIENTS);
    for number in 0..CLIENTS {
        let mut client = Client::connect(broker.port, &format!("bench-{number:04}"))?;
        client.subscribe(&[format!("bench/idle/{number}")], 1)?;
        idle.push(client);
    }
    let never = AtomicBool::new(false);
    let alone_us = round_trips(&mut client, time / 2, &never)?;
    let is_over = AtomicBool::new(false);
    let asker = Asker::connect(socket)?;
    let (asked, meanwhile_us) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let asked = asker.ask_for(time / 2);
            is_over.store(true, Ordering::Relaxed);
            asked
        });
        let meanwhile = round_trips(&mut client, time * 10, &is_over);
        let asked = asking
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the asking thread has panicked")));
        (asked, meanwhile)
    });
    let (status_ms, clients_ms) = asked?;
    let meanwhile_us = meanwhile_us?;
    Ok(Answers {
        status_ms: at(&status_ms, 0.5),
        clients_ms: at(&clients_ms, 0.5),
        alone_us: at(&alone_us, 0.5),
        meanwhile_us: at(&meanwhile_us, 0.5),
        meanwhile_p99_us: at(&meanwhile_us, 0.99),
    })
}

/// Round trips one after the other, in microseconds, sorted.
fn round_trips(client: &mut Client, time: Duration, is_over: &AtomicBool) -> io::Result<Vec<f64>> {
    let until = Instant::now() + time;
    let mut taken_us = Vec::new();
    while Instant::now() < until && !is_over.load(Ordering::Relaxed) {
        let sent = Instant::now();
        client.ping()?;
        taken_us.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    taken_us.sort_by(f64::total_cmp);
    Ok(taken_us)
}

/// The value that such a share of sorted ones is below.
fn at(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// A connection to the control socket.
struct Asker {
    stream: BufReader<UnixStream>,
}

impl Asker {
    fn connect(socket: &Path) -> io::Result<Asker> {
        let stream = BufReader::new(UnixStream::connect(socket)?);
        Ok(Asker { stream })
    }

    fn ask(&mut self, request: &Value) -> io::Result<Value> {
        self.stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer)?;
        let mut answer: Value = serde_json::from_str(&answer)?;
        match answer["ok"].take() {
            Value::Null => Err(io::Error::other(answer.to_string())),
            told => Ok(told),
        }
    }

    /// Asks for the status and for all clients in turn; how long each took in milliseconds, sorted.
    fn ask_for(mut self, time: Duration) -> io::Result<(Vec<f64>, Vec<f64>)> {
        let until = Instant::now() + time;
        let (mut status_ms, mut clients_ms) = (Vec::new(), Vec::new());
        while Instant::now() < until {
            let asked = Instant::now();
            let status = self.ask(&json!({ "request": "status" }))?;
            status_ms.push(asked.elapsed().as_secs_f64() * 1e3);
            let asked = Instant::now();
            let mut rows = 0;
            let mut from = Value::Null;
            loop {
                let page = self.ask(&json!({ "request": "clients", "from": from }))?;
                rows += page["items"].as_array().map_or(0, Vec::len);
                from = page["next"].clone();
                if from.is_null() {
                    break;
                }
            }
            clients_ms.push(asked.elapsed().as_secs_f64() * 1e3);
            let retained = status["counts"]["retained"].as_u64();
            if rows < CLIENTS || retained.is_none_or(|count| count < RETAINED as u64) {
                let what = format!("{rows} clients and {retained:?} retained messages are told");
                return Err(io::Error::other(what));
            }
        }
        status_ms.sort_by(f64::total_cmp);
        clients_ms.sort_by(f64::total_cmp);
        Ok((status_ms, clients_ms))
    }
}
