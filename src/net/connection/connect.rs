//! A connection's CONNECT: from its bytes over the verdict about its sender to the broker's input, or to the answer that it never sees.
//!
//! Who the sender is, `auth` decides, what is to wait, `delay`, and an exchange of AUTH packets goes through `exchange`. Whether a client that
//! is known may have the session that it asks for, is the broker's matter.

use std::rc::Rc;

use ntex::tls::openssl::PeerCert;

use super::{Connection, State};
use crate::auth::{Denied, Identity, Step, Verdict};
use crate::broker::{Effects, Input, Owner};
use crate::log::Escaped;
use crate::mqtt::packet::{ConnAck, Connect, ServerPacket};
use crate::mqtt::{ReasonCode, Version};
use crate::net::codec::{self, Fault, Peer, Scratch};
use crate::net::frame::{self, Scan};
use crate::net::hub::Hub;
use crate::net::mount::Prefixed;
use crate::net::table::Client;

impl<H: Hub> Connection<H> {
    /// The first packet: a CONNECT from somebody who is still to be known.
    pub(super) fn connect(&mut self, first: u8, body: &[u8], whole: &[u8]) {
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
                let Fault { reason, what } = refused.fault;
                if let Some(version) = refused.answer {
                    self.answer_connect(stranger(version), reason, what);
                }
                return self.close(reason, what);
            }
        };
        if self.sends_away(&connect) {
            return;
        }
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
    pub(super) fn take_verdict(&mut self) {
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
                let (reason, what) = (
                    ReasonCode::SERVER_BUSY,
                    "too many passwords wait to be checked",
                );
                self.answer_connect(peer_of(&connect), reason, what);
                self.close(reason, what);
            }
        }
    }

    /// The client is who it says: the broker decides about the rest.
    pub(super) fn join(&mut self, connect: &Connect<'_>, identity: Identity) {
        let hub = self.hub.clone();
        let id = self.id;
        let identity = match hub.current(&self.door, &identity, &self.io) {
            Ok((door, identity)) => {
                self.door = door;
                identity
            }
            Err(what) => {
                let reason = ReasonCode::NOT_AUTHORIZED;
                self.answer_connect(peer_of(connect), reason, what);
                return self.close(reason, what);
            }
        };
        if self.sends_away(connect) {
            return;
        }
        let owner = owner_of(&identity);
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
                self.answer_connect(peer, reason, what);
                return self.close(reason, what);
            }
        };
        let aliases_max = connect.properties.topic_alias_maximum;
        hub.table()
            .borrow_mut()
            .introduce(id, peer, aliases_max, client);
        let mounted = prefixed
            .as_ref()
            .map(|prefixed| prefixed.connect(connect.clone()));
        if connect.bridge && connect.version.is_v5() {
            self.trail = Some(hub.trail().clone());
            hub.table().borrow_mut().set_trail(id, hub.trail().clone());
        }
        hub.handle(Input::Connect {
            connection: id,
            connect: mounted.as_ref().unwrap_or(connect),
            owner,
            permissions,
            reserve: self.door.listener.is_local(),
            offer: self.door.listener.offer,
            mount: mount.map_or("", String::as_str),
        });
        // What CONNACK said holds for as long as the connection.
        self.packet_max = hub.max_packet_size();
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
    pub(super) fn denied(&mut self, connect: &Connect<'_>, user: &str, denied: Denied) {
        let mut table = self.hub.table().borrow_mut();
        table.refused(self.id, connect.client_id, user, denied.describe());
        let address = table.live(self.id).map(|live| live.address());
        drop(table);
        let user = Escaped(user);
        if let Some(address) = address
            && let Some(left_out) = self.hub.guard().tells_of_denial()
        {
            let (client, what) = (Escaped(connect.client_id), denied.describe());
            log::info!(
                "client '{client}' from {address}: refused: {what} (user '{user}'){left_out}"
            );
        }
        self.refuse_connect(peer_of(connect), denied);
    }

    /// Answers a CONNECT that the broker never sees, and whose sender is `peer`.
    pub(super) fn answer_connect(&mut self, peer: Peer, reason: ReasonCode, why: &'static str) {
        let mut table = self.hub.table().borrow_mut();
        table.set_peer(self.id, peer);
        table.send(
            self.id,
            &ServerPacket::ConnAck(ConnAck::refusal(reason, why)),
        );
    }

    /// Tells a client where the bus is now, if its listener says that it has moved (4.11). Nobody has to prove anything for that: whoever
    /// asks there is asked again.
    fn sends_away(&mut self, connect: &Connect<'_>) -> bool {
        let door = self.door.clone();
        let Some(reference) = &door.listener.moved_to else {
            return false;
        };
        let (reason, what) = (ReasonCode::SERVER_MOVED, "the bus has moved");
        let mut connack = ConnAck::refusal(reason, what);
        connack.properties.server_reference = Some(reference);
        let mut table = self.hub.table().borrow_mut();
        table.set_peer(self.id, peer_of(connect));
        table.send(self.id, &ServerPacket::ConnAck(connack));
        drop(table);
        self.close(reason, what);
        true
    }
}

/// Reads a CONNECT again that was read before and kept.
pub(super) fn reread<'a>(packet: &'a [u8], scratch: &'a mut Scratch) -> Option<Connect<'a>> {
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
pub(super) fn peer_of(connect: &Connect<'_>) -> Peer {
    Peer {
        version: connect.version,
        maximum_packet_size: connect.properties.maximum_packet_size,
        problem_information: connect.properties.request_problem_information,
    }
}

/// What is known of the sender of a CONNECT that cannot be read: not whether it wants words, and how large they may be.
pub(super) fn stranger(version: Version) -> Peer {
    Peer {
        version,
        maximum_packet_size: None,
        problem_information: false,
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
