//! What waits on a connection: the answer to a wrong password, and a takeover of a client id that is fought for, because the
//! [guard](crate::auth::Guard) says so; and each takeover until what the old connection has said already is heard. Nothing is read from the
//! client meanwhile, and the loop wakes the connection; no thread waits.

use super::connect::{peer_of, reread};
use super::{Connection, State};
use crate::auth::{Denied, Identity, Takeover};
use crate::broker::{Close, ConnectionId, Time};
use crate::mqtt::ReasonCode;
use crate::mqtt::packet::Connect;
use crate::net::codec::{Peer, Scratch};
use crate::net::hub::Hub;
use crate::net::round::Round;
use crate::net::table::Address;

/// In so many rounds of the loop the old connection is heard out at most: a quarter of a million packets, or 8 MiB of large ones, which is more than a
/// kernel keeps. One that goes on talking keeps its successor out for no longer.
const HEARING_ROUNDS_MAX: u32 = 256;

/// What a connection waits for.
pub(super) struct Delay {
    until: Until,
    then: Then,
}

/// When the wait is over.
enum Until {
    /// At this time.
    Time(Time),
    /// When nothing more is to be heard of another connection.
    HeardOut(Hearing),
}

/// How far another connection is heard out.
struct Hearing {
    other: ConnectionId,
    /// When that was to have said more.
    round: Round,
    /// How much it had said when the round was asked for.
    received: usize,
    rounds_left: u32,
}

/// What comes after the wait.
enum Then {
    /// The client is refused.
    Refuse(Peer, Close),
    /// The guard is asked if there is something to be taken over still.
    TakeOver(Box<[u8]>, Identity),
    /// The CONNECT goes to the broker.
    Join(Box<[u8]>, Identity),
}

impl<H: Hub> Connection<H> {
    /// Goes on with a client who is who it says: at once, unless it is connected already. `whole` is its CONNECT.
    ///
    /// A client may end one connection by DISCONNECT and make the next at once. Its DISCONNECT was there first, but the loop may
    /// come to the new socket before the old one; then its session would be taken over from a client that has said that it goes, and
    /// its Will be published.
    pub(super) fn granted(&mut self, connect: &Connect<'_>, identity: Identity, whole: &[u8]) {
        let hub = self.hub.clone();
        let mut table = hub.table().borrow_mut();
        let hearing = hub.connection_of(connect.client_id).and_then(|other| {
            Some(Hearing {
                other,
                received: table.received(other)?,
                round: table.wake_after_round(self.id)?,
                rounds_left: HEARING_ROUNDS_MAX,
            })
        });
        drop(table);
        match hearing {
            Some(hearing) => {
                let then = Then::TakeOver(whole.into(), identity);
                self.wait(Until::HeardOut(hearing), then);
            }
            None => self.take_over(connect, identity, whole),
        }
    }

    /// Goes on with a client who is not to wait for another: at once, unless it takes over too often.
    fn take_over(&mut self, connect: &Connect<'_>, identity: Identity, whole: &[u8]) {
        let takeover = match self.hub.connection_of(connect.client_id) {
            Some(_) => self.hub.guard().takes_over(connect.client_id),
            None => Takeover::Now,
        };
        match takeover {
            Takeover::Now => self.join(connect, identity),
            Takeover::After(ms) => {
                self.wait_ms(ms, Then::Join(whole.into(), identity));
            }
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
            self.wait_ms(delay_ms, then);
        }
    }

    /// Whether the connection still waits; when not, it has gone on.
    pub(super) fn is_delayed(&mut self) -> bool {
        let mut delay = match std::mem::replace(&mut self.state, State::Closing) {
            State::Delayed(delay) => delay,
            state => {
                self.state = state;
                return false;
            }
        };
        if self.is_early(&mut delay.until) {
            self.state = State::Delayed(delay);
            return true;
        }
        self.hub.table().borrow_mut().gathers(self.id, 0);
        self.go_on(delay.then);
        matches!(self.state, State::Delayed(_))
    }

    /// Whether the client may end the wait by closing its socket. Where it waits for nothing that it has done, it is heard out itself.
    pub(super) fn may_give_up(&self) -> bool {
        match &self.state {
            State::Delayed(delay) => matches!(delay.until, Until::Time(_)),
            _ => false,
        }
    }

    fn is_early(&self, until: &mut Until) -> bool {
        let hearing = match until {
            Until::Time(at) => return *at > self.hub.time(),
            Until::HeardOut(hearing) => hearing,
        };
        let mut table = self.hub.table().borrow_mut();
        if !table.is_over(hearing.round) {
            return true;
        }
        let Some(received) = table.received(hearing.other) else {
            return false;
        };
        // What a round has brought may have been less than all.
        if received == hearing.received || hearing.rounds_left == 0 {
            return false;
        }
        let Some(round) = table.wake_after_round(self.id) else {
            return false;
        };
        hearing.round = round;
        hearing.received = received;
        hearing.rounds_left -= 1;
        true
    }

    fn wait_ms(&mut self, ms: u64, then: Then) {
        let until = self.hub.time().after_ms(ms);
        self.hub.table().borrow_mut().wake_at(self.id, until);
        self.wait(Until::Time(until), then);
        self.hub.end_turn_soon();
    }

    fn wait(&mut self, until: Until, then: Then) {
        let mut table = self.hub.table().borrow_mut();
        // Its time for CONNECT is not to end while it waits.
        table.clear_deadline(self.id);
        if let Then::TakeOver(packet, _) | Then::Join(packet, _) = &then {
            table.gathers(self.id, packet.len());
        }
        drop(table);
        self.state = State::Delayed(Box::new(Delay { until, then }));
    }

    fn go_on(&mut self, then: Then) {
        let mut scratch = Scratch::new();
        match then {
            Then::Refuse(peer, close) => {
                self.answer_connect(peer, close.reason, close.what);
                self.hub.table().borrow_mut().close_silently(self.id, close);
                self.hub.end_turn_soon();
                self.state = State::Closing;
            }
            Then::TakeOver(packet, identity) => {
                if let Some(connect) = reread(&packet, &mut scratch) {
                    self.take_over(&connect, identity, &packet);
                }
            }
            Then::Join(packet, identity) => {
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
