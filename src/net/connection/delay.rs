//! What waits on a connection because the [guard](crate::auth::Guard) says so: the answer to a wrong password, and a takeover of a client id that
//! is fought for. Nothing is read from the client meanwhile, and the loop's timer wakes the connection; no thread waits.

use super::connect::{peer_of, reread};
use super::{Connection, State};
use crate::auth::{Denied, Identity, Takeover};
use crate::broker::{Close, Time};
use crate::mqtt::ReasonCode;
use crate::mqtt::packet::Connect;
use crate::net::codec::{Peer, Scratch};
use crate::net::hub::Hub;
use crate::net::table::Address;

/// What a connection waits for.
pub(super) struct Delay {
    until: Time,
    then: Then,
}

/// What comes after the wait.
enum Then {
    /// The client is refused.
    Refuse(Peer, Close),
    /// The CONNECT goes to the broker.
    Join(Box<[u8]>, Identity),
}

impl<H: Hub> Connection<H> {
    /// Goes on with a client who is who it says: at once, unless it takes over too often. `whole` is its CONNECT.
    pub(super) fn granted(&mut self, connect: &Connect<'_>, identity: Identity, whole: &[u8]) {
        let takeover = if self.hub.is_connected(connect.client_id) {
            self.hub.guard().takes_over(connect.client_id)
        } else {
            Takeover::Now
        };
        match takeover {
            Takeover::Now => self.join(connect, identity),
            Takeover::After(ms) => self.wait(ms, Then::Join(whole.into(), identity)),
            Takeover::Refuse => {
                let reason = ReasonCode::SERVER_BUSY;
                let what = "the client id changes hands too often";
                self.answer_connect(peer_of(connect), reason, what);
                self.close(reason, what);
            }
        }
    }

    /// Answers a client that is not let in: at once, unless its address has tried too many passwords.
    pub(super) fn refuse_connect(&mut self, peer: Peer, denied: Denied) {
        let reason = denied.reason(peer.version);
        let what = denied.describe();
        let then = Then::Refuse(peer, Close { reason, what });
        let delay_ms = match denied {
            Denied::BadUserNameOrPassword => self.hub.guard().failed(self.ip()),
            _ => 0,
        };
        if delay_ms == 0 {
            self.go_on(then);
        } else {
            self.wait(delay_ms, then);
        }
    }

    /// Whether the connection still waits; when not, it has gone on.
    pub(super) fn is_delayed(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Closing) {
            State::Delayed(delay) if delay.until > self.hub.time() => {
                self.state = State::Delayed(delay);
                true
            }
            State::Delayed(delay) => {
                self.hub.table().borrow_mut().gathers(self.id, 0);
                self.go_on(delay.then);
                false
            }
            state => {
                self.state = state;
                false
            }
        }
    }

    fn wait(&mut self, ms: u64, then: Then) {
        let until = self.hub.time().after_ms(ms);
        let mut table = self.hub.table().borrow_mut();
        table.wake_at(self.id, until);
        // Its time for CONNECT is not to end while it waits.
        table.clear_deadline(self.id);
        if let Then::Join(packet, _) = &then {
            table.gathers(self.id, packet.len());
        }
        drop(table);
        self.state = State::Delayed(Box::new(Delay { until, then }));
        self.hub.end_turn_soon();
    }

    fn go_on(&mut self, then: Then) {
        match then {
            Then::Refuse(peer, close) => {
                self.answer_connect(peer, close.reason, close.what);
                self.hub.table().borrow_mut().close_silently(self.id, close);
                self.hub.end_turn_soon();
                self.state = State::Closing;
            }
            Then::Join(packet, identity) => {
                let mut scratch = Scratch::new();
                if let Some(connect) = reread(&packet, &mut scratch) {
                    self.join(&connect, identity);
                }
            }
        }
    }

    /// The address of the client, if it has one.
    fn ip(&self) -> Option<std::net::IpAddr> {
        match self.hub.table().borrow_mut().live(self.id)?.address() {
            Address::Ip(address) => Some(address.ip()),
            Address::Unix => None,
        }
    }
}
