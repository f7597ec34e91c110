//! The physical limit: a process that accepts one subscriber and one publisher and then copies bytes between them in batches, as whatever a
//! broker does costs at least these system calls. It is entered by `--relay PORT`, runs until one side closes, and understands no MQTT beyond
//! answering the first packets: acknowledgements pass from end to end, so QoS 1 and 2 work through it as well.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::machine::{Event, Poll};
use crate::packet::{Frame, kind};

/// As much as is copied at once.
const BATCH: usize = 256 * 1024;

/// Serves one subscriber and one publisher, in this order.
pub fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let subscriber = loop {
        match accept(&listener, true) {
            // Whoever only wanted to know whether the relay is up has gone again.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            subscriber => break subscriber?,
        }
    };
    let mut sides = [subscriber, accept(&listener, false)?];
    let mut poll = Poll::new()?;
    for (token, side) in sides.iter().enumerate() {
        side.set_nodelay(true)?;
        poll.add(side.as_raw_fd(), token)?;
    }
    let mut buffer = vec![0; BATCH];
    let mut ready: Vec<Event> = Vec::new();
    loop {
        poll.wait(Duration::from_secs(1), &mut ready)?;
        for event in &ready {
            match sides[event.token].read(&mut buffer)? {
                0 => return Ok(()),
                // The write blocks while the reader is slow: the generator always reads, so this ends.
                count => sides[1 - event.token].write_all(&buffer[..count])?,
            }
        }
    }
}

/// Accepts a connection and plays the broker until it is set up: CONNACK, and SUBACK if it is to subscribe.
fn accept(listener: &TcpListener, subscribes: bool) -> io::Result<TcpStream> {
    let (mut side, _) = listener.accept()?;
    await_packet(&mut side)?;
    side.write_all(&[kind::CONNACK << 4, 2, 0, 0])?;
    if subscribes {
        let (packet_id, qos) = await_packet(&mut side)?;
        let [high, low] = packet_id.to_be_bytes();
        side.write_all(&[kind::SUBACK << 4, 3, high, low, qos])?;
    }
    Ok(side)
}

/// Reads one packet, after which the client waits; returns the first two bytes of its body as a number, and its last byte.
fn await_packet(side: &mut TcpStream) -> io::Result<(u16, u8)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        if let Some((frame, _)) = Frame::first(&bytes) {
            return Ok((frame.packet_id(), frame.body.last().copied().unwrap_or(0)));
        }
        match side.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
