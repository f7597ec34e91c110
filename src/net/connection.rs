//! One connection on the event loop: its TLS handshake, its CONNECT, its packets, its end.
//!
//! [`accept`] is entered with a new socket. The handshake is a future of its own; what follows is the hand-written
//! [`Connection`], which keeps little while its client is idle: bytes are parsed where they were read, and only a packet larger than a
//! read is gathered. It handles a bounded number of packets a turn and decides nothing: what a packet means, the broker says; what is sent,
//! the [table](super::table) holds. Until its CONNECT is accepted a client may send one packet of bounded size and nothing else.

use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ntex::io::{Io, IoBoxed, IoRef};
use ntex::service::cfg::SharedCfg;
use ntex::tls::openssl::PeerCert;

use super::codec::{self, Fault, Peer, Scratch};
use super::door::Door;
use super::frame::{self, Assembler, FrameFault, Scan};
use super::hub::Hub;
use super::listener::{Accepted, Stream};
use super::mount::Prefixed;
use super::table::{Address, Client};
use crate::auth::{Denied, Identity, Step, Verdict};
use crate::broker::{Close, ConnectionId, Effects, Input, Owner, Time};
use crate::log::Escaped;
use crate::mqtt::packet::{ConnAck, Connect, ServerPacket};
use crate::mqtt::{ReasonCode, Version};

/// The largest CONNECT: it may name a Will, a user and a password of 65,535 bytes each; more than that is nobody's.
const CONNECT_BYTES_MAX: usize = 256 * 1024;

/// Packets of one connection that are handled before others have their turn.
const PACKETS_PER_TURN: usize = 1024;

/// When a connection was accepted, and when it must be past CONNECT.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// The present.
    pub now: Time,
    /// The end of its time.
    pub deadline: Time,
}

/// Takes a socket that was accepted: makes it a connection of the table and runs it to its end.
pub async fn accept<H: Hub>(
    hub: Rc<H>,
    accepted: Accepted,
    door: Rc<Door>,
    due: Due,
    cfg: SharedCfg,
) {
    let spare = door
        .tls
        .as_ref()
        .and_then(|_| accepted.stream.try_clone().ok());
    let (io, address) = match accepted.stream {
        Stream::Tcp(stream, address) => {
            (ntex::rt::from_tcp_stream(stream, cfg), Address::Ip(address))
        }
        Stream::Unix(stream) => (ntex::rt::from_unix_stream(stream, cfg), Address::Unix),
    };
    let io = match io {
        Ok(io) => io,
        Err(error) => {
            log::warn!("{address}: cannot be served: {error}");
            left(&*hub, &door, true);
            return;
        }
    };
    let socket = io.get_ref();
    let id =
        hub.table()
            .borrow_mut()
            .add(socket.clone(), door.clone(), address, due.now, due.deadline);
    match shake_hands(io, &door).await {
        Ok(io) => {
            ntex::rt::spawn(Connection {
                hub,
                io,
                id,
                door,
                state: State::Connect,
                assembler: None,
            });
        }
        Err(what) => {
            send_alert(&socket, spare);
            let reason = ReasonCode::UNSPECIFIED_ERROR;
            let mut table = hub.table().borrow_mut();
            if !table.is_closing(id) {
                log::info!(
                    "{address} on listener '{}': closed: TLS handshake failed: {what}",
                    door.listener.name
                );
            }
            table.close_silently(
                id,
                Close {
                    reason,
                    what: "TLS handshake failed",
                },
            );
            table.clear_deadline(id);
            table.remove(id);
            drop(table);
            left(&*hub, &door, true);
        }
    }
}

/// Speaks TLS if the listener does. The connection's deadline ends a handshake that takes too long.
async fn shake_hands(io: Io, door: &Door) -> Result<IoBoxed, String> {
    let Some(tls) = &door.tls else {
        return Ok(io.boxed());
    };
    let ssl = tls.ssl().map_err(|error| error.to_string())?;
    // The handshake's direction is the context's: it is in accept state.
    let io = ntex::tls::openssl::connect(io, ssl)
        .await
        .map_err(|error| error.to_string())?;
    Ok(io.boxed())
}

/// Sends what OpenSSL had to say about a handshake that failed: the alert that tells the client why.
///
/// ntex gives the socket up with the failure, before it has written anything; the alert is still in the buffer, and a second
/// descriptor of the socket takes it. A socket that has no room for it has a client that does not listen.
fn send_alert(socket: &IoRef, spare: Option<Stream>) {
    let alert = socket.with_write_dst_buf(|pages| pages.freeze());
    let _ = match spare {
        Some(Stream::Tcp(mut stream, _)) => stream.write(&alert),
        Some(Stream::Unix(mut stream)) => stream.write(&alert),
        None => Ok(0),
    };
}

/// Sends a connection away that was accepted, before anything is done for it.
pub fn turn_away<H: Hub>(hub: &H, door: &Door) {
    left(hub, door, true);
}

/// A connection is gone: its listener has room for another.
fn left<H: Hub>(hub: &H, door: &Door, before_connect: bool) {
    door.crowd.leave();
    if before_connect && door.crowd.admit() {
        hub.accept_more();
    }
}

/// The future of a connection after its TLS handshake.
struct Connection<H: Hub> {
    hub: Rc<H>,
    io: IoBoxed,
    id: ConnectionId,
    door: Rc<Door>,
    state: State,
    /// A packet larger than one read, as far as it has arrived.
    assembler: Option<Box<Assembler>>,
}

/// How far a connection has come.
enum State {
    /// CONNECT is to come.
    Connect,
    /// Its CONNECT waits for the verdict about the password.
    Verifying(Box<[u8]>),
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
                this.take_verdict();
            }
            if let State::Verifying(_) = this.state {
                this.io.poll_dispatch(cx);
                return if this.io.is_closed() {
                    this.end()
                } else {
                    Poll::Pending
                };
            }
            if this.is_choked(cx) {
                return if this.io.is_closed() {
                    this.end()
                } else {
                    Poll::Pending
                };
            }
            if let Read::More = this.read() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let State::Verifying(_) = this.state {
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
    /// Whether the client must take answers before it may ask for more. This future is polled again when it has.
    fn is_choked(&mut self, cx: &mut Context<'_>) -> bool {
        let mut table = self.hub.table().borrow_mut();
        if matches!(self.state, State::Closing) || !table.is_choked(self.id) {
            return false;
        }
        if self.io.poll_flush(cx, false).is_pending() {
            return true;
        }
        table.set_heard(self.id);
        false
    }

    /// The largest packet that the client may send now, in bytes.
    fn packet_max(&self) -> usize {
        let max = self.hub.max_packet_size();
        match self.state {
            State::Running(_) => max,
            _ => CONNECT_BYTES_MAX.min(max),
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
                let step = self.step(&buffer[used..]);
                used += step;
                handled += 1;
                if step == 0 || matches!(self.state, State::Verifying(_)) {
                    break;
                }
            }
            if used > 0 {
                hub.table().borrow_mut().count_received(used);
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
        if !matches!(self.state, State::Running(_)) && !frame::may_come_first(bytes[0]) {
            self.refuse(Fault {
                reason: ReasonCode::PROTOCOL_ERROR,
                what: "the first packet is not a CONNECT",
            });
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
        if !matches!(self.state, State::Verifying(_)) {
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
            State::Verifying(_) | State::Closing => return,
        };
        let hub = self.hub.clone();
        let mut scratch = hub.scratch().borrow_mut();
        match codec::decode(version, first, body, &mut scratch) {
            Ok(packet) => {
                let connection = self.id;
                match &self.door.listener.mount_point {
                    None => hub.handle(Input::Packet { connection, packet }),
                    Some(mount) => {
                        let prefixed = Prefixed::of(mount, &packet);
                        hub.handle(Input::Packet {
                            connection,
                            packet: prefixed.packet(packet),
                        });
                    }
                }
            }
            Err(fault) => self.refuse(fault),
        }
        if hub.table().borrow_mut().is_closing(self.id) {
            self.state = State::Closing;
        }
    }

    /// The first packet: a CONNECT from somebody who is still to be known.
    fn connect(&mut self, first: u8, body: &[u8], whole: &[u8]) {
        let hub = self.hub.clone();
        let mut scratch = Scratch::new();
        let connect = match codec::decode_connect(first, body, &mut scratch) {
            Ok(connect) => connect,
            Err(refused) => {
                if let Some(version) = refused.answer {
                    self.answer_connect(version, refused.fault.reason);
                }
                return self.close(refused.fault.reason, refused.fault.what);
            }
        };
        let certificate = self.io.query::<PeerCert>();
        let certificate = certificate.as_ref().map(|certificate| &*certificate.0);
        let step = self
            .door
            .policy
            .begin(certificate, connect.user_name, connect.password);
        match step {
            Step::Granted(identity) => self.granted(&connect, identity),
            Step::Denied(denied) => self.denied(&connect, denied),
            Step::Verify(attempt) => {
                // The password is checked elsewhere; the packet is read again when the verdict is there.
                self.hub.table().borrow_mut().gathers(self.id, whole.len());
                self.state = State::Verifying(whole.into());
                hub.verify(self.id, attempt);
            }
        }
    }

    /// Goes on with a CONNECT when the verdict about its password is there.
    fn take_verdict(&mut self) {
        let Some(verdict) = self.hub.table().borrow_mut().take_verdict(self.id) else {
            return;
        };
        let State::Verifying(packet) = std::mem::replace(&mut self.state, State::Connect) else {
            return;
        };
        self.hub.table().borrow_mut().gathers(self.id, 0);
        let mut scratch = Scratch::new();
        let Ok(Scan::Frame {
            first,
            header,
            size,
        }) = frame::scan(&packet, packet.len())
        else {
            return;
        };
        let Ok(connect) = codec::decode_connect(first, &packet[header..size], &mut scratch) else {
            return;
        };
        match verdict {
            Verdict::Granted(identity) => self.granted(&connect, identity),
            Verdict::Denied(denied) => self.denied(&connect, denied),
            Verdict::Busy => {
                self.answer_connect(connect.version, ReasonCode::SERVER_BUSY);
                self.close(
                    ReasonCode::SERVER_BUSY,
                    "too many passwords wait to be checked",
                );
            }
        }
    }

    /// The client is who it says: the broker decides about the rest.
    fn granted(&mut self, connect: &Connect<'_>, identity: Identity) {
        let hub = self.hub.clone();
        let id = self.id;
        let identity = match hub.current(&self.door, &identity, &self.io) {
            Ok((door, identity)) => {
                self.door = door;
                identity
            }
            Err(what) => {
                self.answer_connect(connect.version, ReasonCode::NOT_AUTHORIZED);
                return self.close(ReasonCode::NOT_AUTHORIZED, what);
            }
        };
        let owner = owner_of(&identity);
        let reserve = self.door.listener.is_local();
        let permissions = hub.permissions(&self.door, &identity, connect.client_id);
        let peer = Peer {
            version: connect.version,
            maximum_packet_size: connect.properties.maximum_packet_size,
            problem_information: connect.properties.request_problem_information,
        };
        let client = Client {
            client_id: Rc::from(connect.client_id),
            identity,
        };
        hub.table().borrow_mut().introduce(id, peer, client);
        match &self.door.listener.mount_point {
            None => hub.handle(Input::Connect {
                connection: id,
                connect,
                owner,
                permissions,
                reserve,
            }),
            Some(mount) => {
                let prefixed = Prefixed::of_will(mount, connect);
                let connect = &prefixed.connect(connect.clone());
                hub.handle(Input::Connect {
                    connection: id,
                    connect,
                    owner,
                    permissions,
                    reserve,
                });
            }
        }
        let mut table = hub.table().borrow_mut();
        if table.is_closing(id) {
            self.state = State::Closing;
            return;
        }
        self.state = State::Running(connect.version);
        table.admit(id, connect);
        drop(table);
        if self.door.crowd.admit() {
            hub.accept_more();
        }
    }

    fn denied(&mut self, connect: &Connect<'_>, denied: Denied) {
        let user = Escaped(connect.user_name.unwrap_or_default());
        let address = self
            .hub
            .table()
            .borrow_mut()
            .live(self.id)
            .map(|live| live.address());
        if let Some(address) = address {
            let (client, what) = (Escaped(connect.client_id), denied.describe());
            log::info!("client '{client}' from {address}: refused: {what} (user '{user}')");
        }
        let reason = match connect.version {
            Version::V5 => ReasonCode(denied.reason_code()),
            _ => ReasonCode::NOT_AUTHORIZED,
        };
        self.answer_connect(connect.version, reason);
        let close = Close {
            reason,
            what: denied.describe(),
        };
        self.hub.table().borrow_mut().close_silently(self.id, close);
        self.hub.end_turn_soon();
        self.state = State::Closing;
    }

    /// Answers a CONNECT that the broker never sees.
    fn answer_connect(&mut self, version: Version, reason: ReasonCode) {
        let mut table = self.hub.table().borrow_mut();
        table.set_version(self.id, version);
        table.send(
            self.id,
            &ServerPacket::ConnAck(ConnAck {
                reason,
                ..ConnAck::default()
            }),
        );
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

    /// Tells the broker when a full output has drained.
    fn drain(&mut self, cx: &mut Context<'_>) {
        let mut table = self.hub.table().borrow_mut();
        if table.is_congested(self.id) && self.io.poll_flush(cx, false).is_ready() {
            table.set_drained(self.id);
            drop(table);
            self.hub.handle(Input::Drained {
                connection: self.id,
            });
        }
    }

    /// The socket is closed.
    fn end(&mut self) -> Poll<()> {
        self.hub.handle(Input::Closed {
            connection: self.id,
        });
        let mut table = self.hub.table().borrow_mut();
        let before_connect = table.live(self.id).is_some_and(|live| !live.is_admitted());
        table.remove(self.id);
        drop(table);
        left(&*self.hub, &self.door, before_connect);
        Poll::Ready(())
    }
}

/// The broker's name for an identity: the one place where an owner is made of one.
fn owner_of(identity: &Identity) -> Owner {
    Owner::of(identity.user())
}
