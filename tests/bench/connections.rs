//! Connections a second: some clients at once, each of which connects, awaits its CONNACK, disconnects and awaits that the broker closes,
//! over and over. Over TLS each connection is a full handshake. It measures the broker's processor time a connection; the rate is that of both
//! sides together.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslMethod};

use crate::broker::Broker;
use crate::certificate;
use crate::packet;

/// Clients at once.
const CLIENTS: usize = 8;
/// How long a client waits for any answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a run found.
pub struct Connections {
    /// Processor time of the broker, in microseconds a connection.
    pub processor_us: f64,
    /// Connections a second.
    pub rate: f64,
}

/// Connects for `time`, by TLS if the broker has been started with it.
pub fn run(broker: &Broker, time: Duration) -> io::Result<Connections> {
    let connector = match broker.tls_port {
        None => None,
        Some(_) => {
            let mut builder = SslConnector::builder(SslMethod::tls_client())?;
            builder.set_ca_file(broker.authority())?;
            Some(builder.build())
        }
    };
    let port = broker.tls_port.unwrap_or(broker.port);
    let before = broker.processor_time_ns()?;
    let started = Instant::now();
    let done = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let connector = &connector;
                    move || repeat(port, connector.as_ref(), number, started + time)
                })
            })
            .collect();
        clients.into_iter().try_fold(0_u64, |sum, client| {
            let done = client
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a client panicked")))?;
            Ok::<u64, io::Error>(sum + done)
        })
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let processor_us = (broker.processor_time_ns()? - before) as f64 / 1e3 / done as f64;
    Ok(Connections {
        processor_us,
        rate: done as f64 / seconds,
    })
}

/// One client, connecting again and again until `end`; returns how often.
fn repeat(
    port: u16,
    connector: Option<&SslConnector>,
    number: usize,
    end: Instant,
) -> io::Result<u64> {
    let connect = packet::connect(&format!("bench-c{number}"), true);
    let mut done = 0;
    while Instant::now() < end {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        match connector {
            None => visit(stream, &connect)?,
            Some(connector) => {
                visit(
                    connector
                        .connect(certificate::HOST, stream)
                        .map_err(io::Error::other)?,
                    &connect,
                )?;
            }
        }
        done += 1;
    }
    Ok(done)
}

/// CONNECT, CONNACK, DISCONNECT, and the broker's end of the connection.
fn visit(mut stream: impl Read + Write, connect: &[u8]) -> io::Result<()> {
    stream.write_all(connect)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    if answer != [0x20, 2, 0, 0] {
        return Err(io::Error::other(format!(
            "not a CONNACK that accepts: {answer:?}"
        )));
    }
    stream.write_all(&packet::DISCONNECT)?;
    match stream.read(&mut answer) {
        Ok(0) => Ok(()),
        // A broker may close TLS without its alert, or the socket by a reset: closed is closed.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(()),
        Ok(_) => Err(io::Error::other("the broker answers DISCONNECT by data")),
        Err(_) => Err(io::Error::other(
            "the broker does not close after DISCONNECT",
        )),
    }
}
