//! One connection on the event loop: its packets and its end.
//!
//! [`accept`] is entered with a new socket; the handshakes are a future of their own, in `handshake`. What follows is the hand-written
//! `Connection`, which keeps little while its client is idle: bytes are parsed where they were read, and only a packet larger than a
//! read is gathered. It handles a bounded number of packets a turn and decides nothing: what a packet means, the broker says; what is sent,
//! the [table](super::table) holds. Until its CONNECT is accepted a client may send one packet of bounded size and nothing else, but for
//! the AUTH packets of enhanced authentication.

mod connect;
mod delay;
mod exchange;
mod handshake;

use std::future::Future;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ntex::io::IoBoxed;

use super::codec::{self, Fault};
use super::door::{Crowd, Door};
use super::frame::{self, Assembler, FrameFault, Scan};
use super::hub::Hub;
use super::mount::Prefixed;
use super::trail::{self, Trail};
use super::websocket;
use crate::broker::{Close, ConnectionId, Effects, Input};
use crate::mqtt::packet::ClientPacket;
use crate::mqtt::{ReasonCode, Version};
use connect::stranger;
use delay::Delay;
use exchange::{Handshake, Reauthentication};
use handshake::left;
pub use handshake::{Due, accept};

/// The largest CONNECT: it may name a Will, a user and a password of 65,535 bytes each; more than that is nobody's.
const CONNECT_BYTES_MAX: usize = 256 * 1024;

/// Packets of one connection that are handled before others have their turn.
const PACKETS_PER_TURN: usize = 1024;

/// The future of a connection after its TLS handshake.
struct Connection<H: Hub> {
    hub: Rc<H>,
    io: IoBoxed,
    id: ConnectionId,
    /// The listener; a reload may put another in its place until CONNECT.
    door: Rc<Door>,
    /// Who counted it in; that of `door` is another one if the listener was removed and came back.
    crowd: Arc<Crowd>,
    /// A second descriptor of a Unix socket, for what its client sent before it closed.
    remains: Option<UnixStream>,
    state: State,
    /// How long it may take to come in, and later to prove itself again, in milliseconds.
    connect_ms: u64,
    /// The largest packet that its CONNACK permits, in bytes.
    packet_max: usize,
    reauthentication: Reauthentication,
    /// What the messages of another broker's bridge carry.
    trail: Option<Rc<Trail>>,
    /// A packet larger than one read, as far as it has arrived.
    assembler: Option<Box<Assembler>>,
}

/// How far a connection has come.
enum State {
    /// CONNECT is to come.
    Connect,
    /// Its CONNECT waits for the verdict about the password.
    Verifying(Box<[u8]>),
    /// Its CONNECT, or the answer to it, waits for a time to be over.
    Delayed(Box<Delay>),
    /// Its CONNECT waits for the end of an exchange of AUTH packets.
    Exchanging(Box<Handshake>),
    /// Its CONNECT went to the broker.
    Running(Version),
    /// Nothing that it sends counts any more.
    Closing,
}

/// What reading came to.
enum Read {
    /// Everything that was there has been handled.
    All,
    /// There is more, for the next turn.
    More,
}

impl<H: Hub> Future for Connection<H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            if let State::Verifying(_) = this.state {
                if this.is_closing() {
                    return this.end();
                }
                this.take_verdict();
            }
            if let State::Verifying(_) = this.state {
                // A client that closed already has still said all that it sent, and the verdict comes in any case.
                this.io.poll_dispatch(cx);
                return Poll::Pending;
            }
            if let State::Delayed(_) = this.state
                && this.is_delayed()
            {
                if this.is_closing() || this.io.is_closed() && this.may_give_up() {
                    return this.end();
                }
                this.io.poll_dispatch(cx);
                return Poll::Pending;
            }
            this.end_late_exchange();
            if this.is_backed_up(cx) {
                return Poll::Pending;
            }
            if let Read::More = this.read() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if this.waits() {
                continue;
            }
            this.drain(cx);
            match this.io.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(()))) => {}
                Poll::Ready(_) => return this.end(),
            }
        }
    }
}

impl<H: Hub> Connection<H> {
    /// Whether a packet of this first byte may come now.
    fn may_come(&self, first: u8) -> Result<(), Fault> {
        let what = match self.state {
            State::Running(_) => return Ok(()),
            State::Exchanging(_) if frame::may_come_in_exchange(first) => return Ok(()),
            // [MQTT-3.1.2-30]
            State::Exchanging(_) => "neither AUTH nor DISCONNECT before CONNACK",
            _ if frame::may_come_first(first) => return Ok(()),
            _ => "the first packet is not a CONNECT",
        };
        Err(Fault {
            reason: ReasonCode::PROTOCOL_ERROR,
            what,
        })
    }

    /// The largest packet that the client may send now, in bytes.
    fn packet_max(&self) -> usize {
        match self.state {
            // [MQTT-3.2.2-15] binds the client to what it was told; older ones are told nothing.
            State::Running(version) if version.is_v5() => self.packet_max,
            State::Running(_) => self.hub.max_packet_size(),
            _ => CONNECT_BYTES_MAX.min(self.hub.max_packet_size()),
        }
    }

    /// Handles the packets that have arrived.
    fn read(&mut self) -> Read {
        let (hub, io) = (self.hub.clone(), self.io.get_ref());
        let mut handled = 0;
        io.with_read_buf(|buffer| {
            let before = buffer.len();
            let mut used = 0;
            while handled < PACKETS_PER_TURN {
                if used < before && hub.table().borrow().is_turn_full() {
                    handled = PACKETS_PER_TURN;
                    break;
                }
                let step = self.step(&buffer[used..]);
                used += step;
                handled += 1;
                if step == 0 || self.waits() {
                    break;
                }
            }
            if used > 0 {
                hub.table().borrow_mut().count_received(self.id, used);
            }
            debug_assert!(used <= before);
            buffer.advance_to(used);
        });
        if handled == PACKETS_PER_TURN {
            Read::More
        } else {
            Read::All
        }
    }

    /// Handles the first packet of `bytes`, or gathers what there is of it. How many bytes it used; 0 when it takes more of
    /// them than there are.
    #[inline]
    fn step(&mut self, bytes: &[u8]) -> usize {
        if matches!(self.state, State::Closing) || bytes.is_empty() {
            return bytes.len();
        }
        if self.assembler.is_some() {
            return self.gather(bytes);
        }
        if let Err(fault) = self.may_come(bytes[0]) {
            self.refuse(fault);
            return bytes.len();
        }
        match frame::scan(bytes, self.packet_max()) {
            Ok(Scan::Frame {
                first,
                header,
                size,
            }) => {
                self.packet(first, &bytes[header..size], &bytes[..size]);
                size
            }
            // Also a header that is not whole is gathered, so that the read buffer is free: it is large.
            Ok(Scan::Partial { .. }) => self.gather(bytes),
            Err(fault) => {
                self.refuse_frame(fault);
                bytes.len()
            }
        }
    }

    /// Gathers a packet that is larger than what has arrived of it.
    fn gather(&mut self, bytes: &[u8]) -> usize {
        let mut assembler = self.assembler.take().unwrap_or_default();
        let used = match assembler.push(bytes, self.packet_max()) {
            Ok(used) => used,
            Err(fault) => {
                self.refuse_frame(fault);
                return bytes.len();
            }
        };
        let Some(packet) = assembler.complete() else {
            let held = assembler.memory();
            self.assembler = Some(assembler);
            if !self.hub.table().borrow_mut().gathers(self.id, held) {
                self.refuse(Fault {
                    reason: ReasonCode::QUOTA_EXCEEDED,
                    what: "no memory for its packet",
                });
                self.assembler = None;
                return bytes.len();
            }
            if matches!(self.state, State::Running(_)) {
                // A large packet over a slow line may take longer than the keep alive.
                self.hub.handle(Input::Alive {
                    connection: self.id,
                });
            }
            return used;
        };
        if let Ok(Scan::Frame {
            first,
            header,
            size,
        }) = frame::scan(packet, packet.len())
        {
            self.packet(first, &packet[header..size], packet);
        }
        if !self.waits() {
            self.hub.table().borrow_mut().gathers(self.id, 0);
        }
        used
    }

    /// Handles a whole packet.
    #[inline]
    fn packet(&mut self, first: u8, body: &[u8], whole: &[u8]) {
        let version = match self.state {
            State::Running(version) => version,
            State::Connect => return self.connect(first, body, whole),
            State::Exchanging(_) => return self.continue_exchange(first, body),
            State::Verifying(_) | State::Delayed(_) | State::Closing => return,
        };
        let hub = self.hub.clone();
        let mut scratch = hub.scratch().borrow_mut();
        match codec::decode(version, first, body, &mut scratch) {
            Ok(ClientPacket::Auth(auth)) if self.may_reauthenticate() => self.reauthenticate(&auth),
            Ok(packet) => match &self.door.listener.mount_point {
                None => self.give(packet),
                Some(mount) => match Prefixed::of(mount, &packet) {
                    Ok(prefixed) => self.give(prefixed.packet(packet)),
                    Err(fault) => self.refuse(fault),
                },
            },
            Err(fault) => self.refuse(fault),
        }
        if self.is_closing() {
            self.state = State::Closing;
        }
    }

    /// Gives a packet to the broker, unless it is a message of another broker that was here already.
    #[inline]
    fn give(&self, packet: ClientPacket<'_>) {
        let connection = self.id;
        match (&self.trail, &packet) {
            (Some(trail), ClientPacket::Publish(publish)) => {
                trail::arrive(&*self.hub, trail, connection, publish);
            }
            _ => self.hub.handle(Input::Packet { connection, packet }),
        }
    }

    /// Whether nothing is to be read for now, although there may be something.
    fn waits(&self) -> bool {
        matches!(self.state, State::Verifying(_) | State::Delayed(_))
    }

    /// The client broke the protocol.
    fn refuse(&mut self, fault: Fault) {
        if let State::Running(_) = self.state {
            let Fault { reason, what } = fault;
            self.hub.handle(Input::Violation {
                connection: self.id,
                reason,
                what,
            });
            self.state = State::Closing;
        } else {
            if let State::Exchanging(_) = self.state {
                // No DISCONNECT before CONNACK [MQTT-3.14.0-1].
                let peer = self
                    .hub
                    .table()
                    .borrow_mut()
                    .live(self.id)
                    .map(|live| live.peer());
                let peer = peer.unwrap_or(stranger(Version::V5));
                self.answer_connect(peer, fault.reason, fault.what);
            }
            self.close(fault.reason, fault.what);
        }
    }

    fn refuse_frame(&mut self, fault: FrameFault) {
        self.refuse(Fault {
            reason: fault.reason(),
            what: fault.what(),
        });
    }

    /// Closes a connection that the broker does not know.
    fn close(&mut self, reason: ReasonCode, what: &'static str) {
        self.hub
            .table()
            .borrow_mut()
            .close(self.id, Close { reason, what });
        self.hub.end_turn_soon();
        self.state = State::Closing;
    }

    /// Whether AUTH is this connection's own matter: its CONNECT named a method.
    fn may_reauthenticate(&self) -> bool {
        !matches!(self.reauthentication, Reauthentication::Never)
    }

    /// Whether the connection is being closed from this side.
    fn is_closing(&self) -> bool {
        self.hub.table().borrow_mut().is_closing(self.id)
    }

    /// Whether nothing may be read before the client has taken the answers to what it sent. It is woken up then.
    fn is_backed_up(&mut self, cx: &mut Context<'_>) -> bool {
        let mut table = self.hub.table().borrow_mut();
        if !table.is_backed_up(self.id) {
            return false;
        }
        match self.io.poll_flush(cx, false) {
            Poll::Pending => true,
            // The answers are still to be flushed, and fill the socket's buffer then, which wakes this up.
            Poll::Ready(Ok(())) if table.has_output(self.id) => {
                self.io.poll_dispatch(cx);
                true
            }
            Poll::Ready(_) => false,
        }
    }

    /// Tells the broker when a full output has drained.
    fn drain(&mut self, cx: &mut Context<'_>) {
        let mut table = self.hub.table().borrow_mut();
        if table.is_congested(self.id)
            && !table.is_held(self.id)
            && let Poll::Ready(Ok(())) = self.io.poll_flush(cx, false)
        {
            table.set_drained(self.id);
            drop(table);
            self.hub.handle(Input::Drained {
                connection: self.id,
            });
        }
    }

    /// Handles what the client of a Unix socket sent before it closed. The kernel says that it has closed before all has been
    /// read, and ntex reads no more then; with TCP this is so only when the client broke the connection off.
    fn read_remains(&mut self) {
        let Some(mut stream) = self.remains.take() else {
            return;
        };
        let mut bytes = self.io.with_read_buf(|buffer| {
            let bytes = buffer.to_vec();
            buffer.advance_to(bytes.len());
            bytes
        });
        let mut chunk = [0; 4096];
        // It ends: the socket's queue is bounded, and nobody writes to it any more.
        while let Ok(size @ 1..) = stream.read(&mut chunk) {
            self.hub.table().borrow_mut().count_received(self.id, size);
            bytes.extend_from_slice(&chunk[..size]);
            let mut used = 0;
            loop {
                match self.step(&bytes[used..]) {
                    0 => break,
                    step => used += step,
                }
            }
            bytes.drain(..used);
        }
    }

    /// The socket is closed.
    fn end(&mut self) -> Poll<()> {
        if !self.is_closing() {
            self.read_remains();
            if let Some(fault) = self.io.query::<websocket::Fault>().get() {
                self.refuse(Fault {
                    reason: ReasonCode::PROTOCOL_ERROR,
                    what: fault.what,
                });
            }
        }
        self.hub.handle(Input::Closed {
            connection: self.id,
        });
        let mut table = self.hub.table().borrow_mut();
        let before_connect = table.live(self.id).is_some_and(|live| !live.is_admitted());
        table.remove(self.id);
        drop(table);
        left(&*self.hub, &self.crowd, before_connect);
        Poll::Ready(())
    }
}
