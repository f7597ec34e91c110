//! One connection on the event loop: its TLS and WebSocket handshakes, its CONNECT, its packets, its end.
//!
//! [`accept`] is entered with a new socket. The handshake is a future of its own; what follows is the hand-written
//! `Connection`, which keeps little while its client is idle: bytes are parsed where they were read, and only a packet larger than a
//! read is gathered. It handles a bounded number of packets a turn and decides nothing: what a packet means, the broker says; what is sent,
//! the [table](super::table) holds. Until its CONNECT is accepted a client may send one packet of bounded size and nothing else, but for
//! the AUTH packets of enhanced authentication.

mod delay;
mod exchange;

use std::future::Future;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ntex::io::{Filter, Io, IoBoxed};
use ntex::service::cfg::SharedCfg;
use ntex::tls::openssl::PeerCert;

use super::codec::{self, Fault, Peer, Scratch};
use super::door::{Crowd, Door};
use super::frame::{self, Assembler, FrameFault, Scan};
use super::hub::Hub;
use super::listener::{Accepted, Stream};
use super::mount::Prefixed;
use super::table::{Address, Client};
use super::tls::filter;
use super::{websocket, write};
use crate::auth::{Denied, Identity, Step, Verdict};
use crate::broker::{Close, ConnectionId, Effects, Input, Owner, Time};
use crate::config::Protocol;
use crate::log::Escaped;
use crate::mqtt::packet::{ClientPacket, ConnAck, Connect, ServerPacket};
use crate::mqtt::{ReasonCode, Version};
use delay::Delay;
use exchange::{Handshake, Reauthentication};

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

/// Takes a socket that was accepted: makes it a connection of the table, which runs to its end by itself.
pub fn accept<H: Hub>(hub: Rc<H>, accepted: Accepted, door: Rc<Door>, due: Due, cfg: SharedCfg) {
    let crowd = accepted.crowd;
    let is_plain = door.tls.is_none() && door.listener.protocol == Protocol::Mqtt;
    let spare = door
        .tls
        .as_ref()
        .and_then(|_| accepted.stream.try_clone().ok());
    let remains = match &accepted.stream {
        Stream::Unix(stream) if is_plain => stream.try_clone().ok(),
        _ => None,
    };
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
            left(&*hub, &crowd, true);
            return;
        }
    };
    let id =
        hub.table()
            .borrow_mut()
            .add(io.get_ref(), door.clone(), address, due.now, due.deadline);
    let connection = move |hub, io, door, crowd| Connection {
        hub,
        io,
        id,
        remains,
        door,
        crowd,
        state: State::Connect,
        reauthentication: Reauthentication::Never,
        assembler: None,
    };
    if is_plain {
        // Nothing is to be awaited, and the future of handshakes is large.
        ntex::rt::spawn(connection(hub, io.boxed(), door, crowd));
        return;
    }
    ntex::rt::spawn(async move {
        match shake_hands(io, &hub, &door, spare).await {
            Ok(io) => {
                ntex::rt::spawn(connection(hub, io, door, crowd));
            }
            Err(what) => fail(&*hub, id, &what, &crowd),
        }
    });
}

/// Ends a connection whose handshake has failed.
fn fail<H: Hub>(hub: &H, id: ConnectionId, what: &str, crowd: &Crowd) {
    let close = Close {
        reason: ReasonCode::UNSPECIFIED_ERROR,
        what: "handshake failed",
    };
    let mut table = hub.table().borrow_mut();
    if !table.is_closing(id)
        && let Some(live) = table.live(id)
    {
        let (address, name) = (live.address(), live.door().listener.name.clone());
        table.say(format!("{address} on listener '{name}': closed: {what}"));
    }
    table.close_silently(id, close);
    table.clear_deadline(id);
    table.remove(id);
    drop(table);
    left(hub, crowd, true);
}

/// Speaks TLS and WebSocket if the listener does. The connection's deadline ends a handshake that takes too long.
async fn shake_hands<H: Hub>(
    io: Io,
    hub: &Rc<H>,
    door: &Door,
    spare: Option<Stream>,
) -> Result<IoBoxed, String> {
    let Some(tls) = &door.tls else {
        if door.listener.protocol == Protocol::WebSocket {
            io.register_filter_callbacks(write::Watch::default());
        }
        return upgrade(io, hub, door).await;
    };
    let failed = |what| format!("TLS handshake failed: {what}");
    let ssl = tls.ssl().map_err(|error| failed(error.to_string()))?;
    io.register_filter_callbacks(write::Watch::default());
    let io = filter::accept(io, ssl, spare).await.map_err(failed)?;
    upgrade(io, hub, door).await
}

/// Speaks WebSocket if the listener does.
async fn upgrade<F: Filter, H: Hub>(
    io: Io<F>,
    hub: &Rc<H>,
    door: &Door,
) -> Result<IoBoxed, String> {
    if door.listener.protocol == Protocol::Mqtt {
        return Ok(io.boxed());
    }
    match websocket::accept(io, hub.clone(), &door.listener).await {
        Ok(io) => Ok(io.boxed()),
        Err(what) => Err(format!("WebSocket handshake failed: {what}")),
    }
}

/// A connection is gone: its listener has room for another.
fn left<H: Hub>(hub: &H, crowd: &Crowd, before_connect: bool) {
    crowd.leave();
    if before_connect && crowd.admit() {
        hub.accept_more();
    }
}

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
    reauthentication: Reauthentication,
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
                if this.is_closing() || this.io.is_closed() {
                    return this.end();
                }
                this.io.poll_dispatch(cx);
                return Poll::Pending;
            }
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
            Ok(packet) => {
                let connection = self.id;
                match &self.door.listener.mount_point {
                    None => hub.handle(Input::Packet { connection, packet }),
                    Some(mount) => match Prefixed::of(mount, &packet) {
                        Ok(prefixed) => hub.handle(Input::Packet {
                            connection,
                            packet: prefixed.packet(packet),
                        }),
                        Err(fault) => self.refuse(fault),
                    },
                }
            }
            Err(fault) => self.refuse(fault),
        }
        if self.is_closing() {
            self.state = State::Closing;
        }
    }

    /// The first packet: a CONNECT from somebody who is still to be known.
    fn connect(&mut self, first: u8, body: &[u8], whole: &[u8]) {
        if self.is_closing() {
            // Its time was over.
            self.state = State::Closing;
            return;
        }
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
        if let Some(method) = connect.properties.authentication_method {
            return self.begin_exchange(&connect, method, whole);
        }
        let certificate = self.io.query::<PeerCert>();
        let certificate = certificate.as_ref().map(|certificate| &*certificate.0);
        let step = self
            .door
            .policy
            .begin(certificate, connect.user_name, connect.password);
        match step {
            Step::Granted(identity) => self.granted(&connect, identity, whole),
            Step::Denied(denied) => self.denied(&connect, user_of(&connect), denied),
            Step::Verify(attempt) => {
                // The password is checked elsewhere; the packet is read again when the verdict is there. That always comes, and
                // how long it takes is not the client's fault.
                hub.table().borrow_mut().gathers(self.id, whole.len());
                self.state = State::Verifying(whole.into());
                hub.table().borrow_mut().clear_deadline(self.id);
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
        let Some(connect) = reread(&packet, &mut scratch) else {
            return;
        };
        match verdict {
            Verdict::Granted(identity) => self.granted(&connect, identity, &packet),
            Verdict::Denied(denied) => self.denied(&connect, user_of(&connect), denied),
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
    fn join(&mut self, connect: &Connect<'_>, identity: Identity) {
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
        let peer = peer_of(connect);
        let client = Client {
            client_id: Rc::from(connect.client_id),
            identity,
        };
        let mount = self.door.listener.mount_point.as_ref();
        let prefixed = match mount.map(|mount| Prefixed::of_will(mount, connect)) {
            None => None,
            Some(Ok(prefixed)) => Some(prefixed),
            Some(Err(Fault { reason, what })) => {
                self.answer_connect(connect.version, reason);
                return self.close(reason, what);
            }
        };
        let aliases_max = connect.properties.topic_alias_maximum;
        hub.table()
            .borrow_mut()
            .introduce(id, peer, aliases_max, client);
        match &prefixed {
            None => hub.handle(Input::Connect {
                connection: id,
                connect,
                owner,
                permissions,
                reserve,
            }),
            Some(prefixed) => {
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
        if self.crowd.admit() {
            hub.accept_more();
        }
    }

    /// The client is not let in as `user`.
    fn denied(&mut self, connect: &Connect<'_>, user: &str, denied: Denied) {
        let user = Escaped(user);
        let address = self
            .hub
            .table()
            .borrow_mut()
            .live(self.id)
            .map(|live| live.address());
        if let Some(address) = address
            && let Some(left_out) = self.hub.guard().tells_of_denial()
        {
            let (client, what) = (Escaped(connect.client_id), denied.describe());
            log::info!(
                "client '{client}' from {address}: refused: {what} (user '{user}'){left_out}"
            );
        }
        self.refuse_connect(connect.version, denied);
    }

    /// Whether nothing is to be read for now, although there may be something.
    fn waits(&self) -> bool {
        matches!(self.state, State::Verifying(_) | State::Delayed(_))
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
            if let State::Exchanging(_) = self.state {
                // No DISCONNECT before CONNACK [MQTT-3.14.0-1].
                self.answer_connect(Version::V5, fault.reason);
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
            self.hub.table().borrow_mut().count_received(size);
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

/// Reads a CONNECT again that was read before and kept.
fn reread<'a>(packet: &'a [u8], scratch: &'a mut Scratch) -> Option<Connect<'a>> {
    let Ok(Scan::Frame {
        first,
        header,
        size,
    }) = frame::scan(packet, packet.len())
    else {
        return None;
    };
    codec::decode_connect(first, &packet[header..size], scratch).ok()
}

/// What a CONNECT says about the packets that its sender takes.
fn peer_of(connect: &Connect<'_>) -> Peer {
    Peer {
        version: connect.version,
        maximum_packet_size: connect.properties.maximum_packet_size,
        problem_information: connect.properties.request_problem_information,
    }
}

/// The user name for the log.
fn user_of<'a>(connect: &Connect<'a>) -> &'a str {
    connect.user_name.unwrap_or_default()
}

/// The broker's name for an identity: the one place where an owner is made of one.
fn owner_of(identity: &Identity) -> Owner {
    Owner::of(identity.user())
}
