//! Enhanced authentication on a connection (4.12 of MQTT 5.0): which AUTH may come when, and what is answered.
//!
//! A CONNECT that names a method waits here, as bytes, until the exchange has ended; only then the broker hears of it. A client that came
//! in by an exchange may repeat it at any time, and its other packets go on meanwhile. The broker learns of neither, but for the
//! connection that a failure ends. One exchange takes some microseconds of the event loop, because PBKDF2 is the client's work, and
//! the connection's deadline holds for all of it; a connected client has as much time again for each further one, and is closed when that
//! is over. Who the client is, `auth` decides.

use ntex::tls::openssl::PeerCert;

use super::connect::{peer_of, reread};
use super::{Connection, Fault, State};
use crate::auth::{Exchange, MECHANISM, Progress};
use crate::broker::{Effects, Input, Time};
use crate::mqtt::packet::{Auth, ClientPacket, Connect, ServerPacket};
use crate::mqtt::{ReasonCode, Version};
use crate::net::codec::{self, Scratch};
use crate::net::hub::Hub;

/// What an exchange takes beside the CONNECT that waits for it, in bytes: names, nonces and keys.
const EXCHANGE_BYTES: usize = 1024;

/// A CONNECT whose sender is to prove who it is.
pub(super) struct Handshake {
    packet: Box<[u8]>,
    exchange: Exchange,
}

/// What a connected client may do with AUTH.
pub(super) enum Reauthentication {
    /// Nothing, because its CONNECT named no Authentication Method.
    Never,
    /// Begin an exchange.
    Possible,
    /// Go on with one, until this moment.
    UnderWay(Box<Exchange>, Time),
}

impl<H: Hub> Connection<H> {
    /// A CONNECT that names an Authentication Method.
    pub(super) fn begin_exchange(&mut self, connect: &Connect<'_>, method: &str, whole: &[u8]) {
        let certificate = self.io.query::<PeerCert>();
        let certificate = certificate.as_ref().map(|certificate| &*certificate.0);
        if method != MECHANISM || !self.door.policy.takes_passwords(certificate) {
            // [MQTT-4.12.0-1]
            let reason = ReasonCode::BAD_AUTHENTICATION_METHOD;
            let what = "no such authentication method";
            self.answer_connect(peer_of(connect), reason, what);
            return self.close(reason, what);
        }
        let handshake = Handshake {
            packet: whole.into(),
            exchange: Exchange::new(connect.user_name),
        };
        let data = connect.properties.authentication_data;
        self.advance_connect(connect, handshake, data);
    }

    /// A packet of a client whose CONNECT waits for the end of its exchange.
    pub(super) fn continue_exchange(&mut self, first: u8, body: &[u8]) {
        let mut scratch = Scratch::new();
        let auth = match codec::decode(Version::V5, first, body, &mut scratch) {
            Ok(ClientPacket::Auth(auth)) => auth,
            Ok(ClientPacket::Disconnect(_)) => {
                return self.close(ReasonCode::SUCCESS, "client disconnected");
            }
            // [MQTT-3.1.2-30]
            Ok(_) => return self.refuse(protocol("neither AUTH nor DISCONNECT before CONNACK")),
            Err(fault) => return self.refuse(fault),
        };
        if let Err(fault) = check(&auth, ReasonCode::CONTINUE_AUTHENTICATION) {
            return self.refuse(fault);
        }
        let State::Exchanging(handshake) = std::mem::replace(&mut self.state, State::Connect)
        else {
            return;
        };
        let packet = handshake.packet.clone();
        let mut scratch = Scratch::new();
        if let Some(connect) = reread(&packet, &mut scratch) {
            self.advance_connect(&connect, *handshake, auth.data);
        }
    }

    /// Takes the next message of a client that is to be let in.
    fn advance_connect(
        &mut self,
        connect: &Connect<'_>,
        mut handshake: Handshake,
        data: Option<&[u8]>,
    ) {
        match self.advance(&mut handshake.exchange, data) {
            Progress::Continue(answer) => {
                let peer = peer_of(connect);
                let mut table = self.hub.table().borrow_mut();
                table.set_peer(self.id, peer);
                let fits = table.keeps(self.id, handshake.packet.len() + EXCHANGE_BYTES);
                drop(table);
                if !fits {
                    let (reason, what) = (ReasonCode::QUOTA_EXCEEDED, "no memory for its CONNECT");
                    self.answer_connect(peer_of(connect), reason, what);
                    return self.close(reason, what);
                }
                self.state = State::Exchanging(Box::new(handshake));
                // [MQTT-4.12.0-2]
                self.send_auth(ReasonCode::CONTINUE_AUTHENTICATION, &answer);
            }
            Progress::Granted(identity, answer) => {
                let mut table = self.hub.table().borrow_mut();
                table.keeps(self.id, 0);
                table.set_exchange_end(self.id, answer.into());
                drop(table);
                self.granted(connect, identity, &handshake.packet);
                self.reauthentication = Reauthentication::Possible;
            }
            Progress::Denied(denied) => {
                let user = handshake.exchange.user().unwrap_or_default();
                self.denied(connect, user, denied);
            }
        }
    }

    /// AUTH of a connected client whose CONNECT named the method (4.12.1).
    pub(super) fn reauthenticate(&mut self, auth: &Auth<'_>) {
        self.hub.handle(Input::Alive {
            connection: self.id,
        });
        let before = std::mem::replace(&mut self.reauthentication, Reauthentication::Possible);
        let (due, mut exchange, until) = match before {
            Reauthentication::UnderWay(exchange, until) => {
                (ReasonCode::CONTINUE_AUTHENTICATION, exchange, until)
            }
            _ => {
                let until = self.hub.time().after_ms(self.connect_ms);
                let exchange = Box::new(self.new_exchange());
                (ReasonCode::REAUTHENTICATE, exchange, until)
            }
        };
        if let Err(fault) = check(auth, due) {
            return self.refuse(fault);
        }
        match self.advance(&mut exchange, auth.data) {
            Progress::Continue(answer) => {
                self.reauthentication = Reauthentication::UnderWay(exchange, until);
                let mut table = self.hub.table().borrow_mut();
                table.wake_at(self.id, until);
                table.keeps(self.id, EXCHANGE_BYTES);
                drop(table);
                self.send_auth(ReasonCode::CONTINUE_AUTHENTICATION, &answer);
            }
            Progress::Granted(_, answer) => {
                self.hub.table().borrow_mut().keeps(self.id, 0);
                self.send_auth(ReasonCode::SUCCESS, &answer);
            }
            // [MQTT-4.12.1-2]. A DISCONNECT has no other code for any way of failing.
            Progress::Denied(denied) => self.refuse(Fault {
                reason: ReasonCode::NOT_AUTHORIZED,
                what: denied.describe(),
            }),
        }
    }

    /// Closes a connected client that has begun to prove itself again and not ended it in time.
    pub(super) fn end_late_exchange(&mut self) {
        if let Reauthentication::UnderWay(_, until) = &self.reauthentication
            && *until <= self.hub.time()
        {
            self.reauthentication = Reauthentication::Possible;
            self.refuse(Fault {
                reason: ReasonCode::NOT_AUTHORIZED,
                what: "the exchange of AUTH packets was not finished in time",
            });
        }
    }

    /// An exchange out of which nobody comes but the user who is connected: a session belongs to its identity.
    fn new_exchange(&self) -> Exchange {
        let mut table = self.hub.table().borrow_mut();
        let client = table.live(self.id).and_then(|live| live.client());
        Exchange::new(client.and_then(|client| client.identity.user()))
    }

    fn advance(&self, exchange: &mut Exchange, data: Option<&[u8]>) -> Progress {
        // A reload gives a connected client's listener to the table.
        let current = self
            .hub
            .table()
            .borrow_mut()
            .live(self.id)
            .and_then(|live| live.door().cloned());
        let door = current.as_ref().unwrap_or(&self.door);
        let certificate = self.io.query::<PeerCert>();
        let certificate = certificate.as_ref().map(|certificate| &*certificate.0);
        exchange.advance(&door.policy, certificate, &self.hub.credentials(), data)
    }

    fn send_auth(&mut self, reason: ReasonCode, data: &str) {
        let auth = Auth {
            reason,
            // [MQTT-4.12.0-5]
            method: Some(MECHANISM),
            data: (!data.is_empty()).then_some(data.as_bytes()),
        };
        let mut table = self.hub.table().borrow_mut();
        table.send(self.id, &ServerPacket::Auth(auth));
        let is_closing = table.is_closing(self.id);
        drop(table);
        self.hub.end_turn_soon();
        if is_closing && matches!(self.state, State::Exchanging(_)) {
            self.state = State::Closing;
        }
    }
}

/// Whether this is the AUTH that is due.
fn check(auth: &Auth<'_>, due: ReasonCode) -> Result<(), Fault> {
    if auth.method != Some(MECHANISM) {
        // [MQTT-4.12.0-5] [MQTT-4.12.1-1]
        return Err(protocol("the authentication method has changed"));
    }
    if auth.reason != due {
        // [MQTT-4.12.0-3]
        return Err(protocol("an AUTH out of place"));
    }
    Ok(())
}

fn protocol(what: &'static str) -> Fault {
    Fault {
        reason: ReasonCode::PROTOCOL_ERROR,
        what,
    }
}
