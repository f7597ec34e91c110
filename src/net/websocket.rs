//! MQTT in WebSocket frames (RFC 6455; MQTT 5.0, section 6): a layer of a connection, below which may be TLS.
//!
//! [`accept`] reads a client's HTTP request (`upgrade`), answers it, and gives back the connection with the layer. From then on the
//! layer takes frames apart (`frames`) and puts what is sent into one binary frame for each time that the socket is written to, so
//! that the rest of the program sees MQTT and nothing else. ntex has such a layer, which is not used: it gathers each frame
//! before it says anything of it, so that a stranger could fill the memory before CONNECT; it takes reserved bits and messages inside
//! of messages; and it answers a Close with a status of its own. Extensions, and with them compression, are never agreed to.
//!
//! The connection's end: what breaks the protocol is answered by a Close with the status that says why, a Close by the same Close;
//! after it nothing more is sent or read, and the socket is closed without waiting for the client's last word.

pub(crate) mod frames;
pub(crate) mod upgrade;

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use ntex::io::{Filter, FilterBuf, FilterLayer, Io, Layer};

pub use frames::Fault;
use frames::{Event, Reader};
pub use upgrade::{Origin, admits};
use upgrade::{Refusal, Upgrade};

use super::hub::Hub;
use super::write;
use crate::config::Listener;

/// One Pong answers all the Pings of a read, and it is put off while so many bytes wait for the client. "If an endpoint
/// receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping frame(s), the endpoint MAY elect to
/// send a Pong frame for only the most recently processed Ping frame" (5.5.3): else a flood of them would take all memory.
const PONG_BACKLOG_MAX: usize = 16 * 1024;

/// The layer. It answers queries for [`Fault`], which is why the connection was failed, and for [`Origin`].
pub struct WebSocket<H: Hub> {
    hub: Rc<H>,
    origin: Option<Origin>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    reader: Reader,
    /// The payload of the last Ping that is not answered yet.
    ping: Option<Box<[u8]>>,
    /// Whether a Close frame was sent: nothing may follow it.
    is_closed: bool,
    fault: Option<Fault>,
}

/// Reads the HTTP request of a new connection, answers it, and on success gives back the connection for MQTT. It ends only with
/// the request: the connection's deadline MUST end the connection.
///
/// # Errors
/// Why the client was refused, which has been told.
pub async fn accept<F: Filter, H: Hub>(
    io: Io<F>,
    hub: Rc<H>,
    listener: &Listener,
) -> Result<Io<Layer<WebSocket<H>, F>>, String> {
    let mut known = 0;
    loop {
        let outcome = io.with_read_buf(|bytes| {
            let size = match upgrade::head(bytes, known) {
                Ok(size) => size?,
                Err(refusal) => return Some(Err(refusal)),
            };
            let outcome = Upgrade::of(&bytes[..size], listener);
            bytes.advance_to(size);
            Some(outcome)
        });
        match outcome {
            Some(Ok(upgrade)) => {
                send(&io, &upgrade.answer());
                return Ok(io.add_filter(WebSocket {
                    hub,
                    origin: upgrade.origin,
                    state: RefCell::default(),
                }));
            }
            Some(Err(refusal)) => {
                refuse(&io, &refusal).await;
                return Err(refusal.what);
            }
            None => known = io.with_read_buf(|bytes| bytes.len()),
        }
        if !matches!(io.read_ready().await, Ok(Some(()))) {
            return Err("the client went away".to_owned());
        }
    }
}

/// Tells a client why it is refused, and waits until its socket has taken that.
async fn refuse<F: Filter>(io: &Io<F>, refusal: &Refusal) {
    send(io, &refusal.answer());
    // An error means that it is gone already.
    let _ = io.shutdown().await;
}

fn send<F: Filter>(io: &Io<F>, answer: &str) {
    // An error means that the connection is going: the next read tells.
    let _ = io.encode_slice(answer.as_bytes());
    write::by_task(&io.get_ref());
}

impl<H: Hub> WebSocket<H> {
    /// Takes apart what has arrived. `Some` when there is a Close to be sent.
    fn read(&self, buffers: &FilterBuf<'_>) -> Option<Option<u16>> {
        let size_max = self.hub.max_packet_size();
        let mut state = self.state.borrow_mut();
        let State {
            reader,
            ping,
            fault,
            ..
        } = &mut *state;
        buffers.with_read_buffers(|source, data| {
            let source = source.as_mut()?;
            let mut used = 0;
            while used < source.len() {
                match reader.next(&mut source[used..], size_max) {
                    Ok((size, event)) => {
                        used += size;
                        match event {
                            Some(Event::Data(bytes)) => data.extend_from_slice(bytes),
                            Some(Event::Ping(payload)) => *ping = Some(payload.into()),
                            Some(Event::Close(code)) => return Some(code),
                            None => {}
                        }
                    }
                    Err(found) => {
                        *fault = Some(found);
                        return Some(Some(found.code));
                    }
                }
            }
            source.clear();
            None
        })
    }

    /// Answers the last Ping, unless the client takes nothing.
    fn answer_ping(&self, buffers: &FilterBuf<'_>) {
        let mut state = self.state.borrow_mut();
        if state.ping.is_none() || write::encrypted(buffers.io()) > PONG_BACKLOG_MAX {
            return;
        }
        let payload = state.ping.take().unwrap_or_default();
        buffers.with_write_buffers(|_, frames| {
            frames::write_pong(&payload, |bytes| frames.extend_from_slice(bytes));
        });
    }

    /// Sends the one Close frame.
    fn send_close(&self, buffers: &FilterBuf<'_>, code: Option<u16>) {
        if std::mem::replace(&mut self.state.borrow_mut().is_closed, true) {
            return;
        }
        buffers.with_write_buffers(|_, frames| {
            frames::write_close(code, |bytes| frames.extend_from_slice(bytes));
        });
    }
}

impl<H: Hub> FilterLayer for WebSocket<H> {
    fn query(&self, id: TypeId) -> Option<Box<dyn Any>> {
        if id == TypeId::of::<Fault>() {
            Some(Box::new(self.state.borrow().fault?))
        } else if id == TypeId::of::<Origin>() {
            Some(Box::new(self.origin.clone()?))
        } else {
            None
        }
    }

    fn process_read_buf(&self, buffers: &FilterBuf<'_>) -> io::Result<()> {
        if self.state.borrow().is_closed {
            buffers.with_read_src(|source| *source = None);
            return Ok(());
        }
        let close = self.read(buffers);
        self.answer_ping(buffers);
        if let Some(code) = close {
            buffers.with_read_src(|source| *source = None);
            self.send_close(buffers, code);
            buffers.io().close();
        }
        Ok(())
    }

    fn process_write_buf(&self, buffers: &FilterBuf<'_>) -> io::Result<()> {
        self.answer_ping(buffers);
        let is_closed = self.state.borrow().is_closed;
        buffers.with_write_buffers(|data, frames| {
            if is_closed {
                data.clear();
            } else if !data.is_empty() {
                frames::write_data_header(data.len(), |bytes| frames.extend_from_slice(bytes));
                data.move_to(frames);
            }
        });
        Ok(())
    }

    fn shutdown(&self, buffers: &FilterBuf<'_>) -> io::Result<Poll<()>> {
        self.send_close(buffers, Some(frames::NORMAL));
        Ok(Poll::Ready(()))
    }
}

impl<H: Hub> std::fmt::Debug for WebSocket<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
