//! What a connection needs of the program around it. The server is the only one; it is a trait so that nothing of the
//! network knows who owns the broker.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ntex::io::IoRef;

use super::codec::Scratch;
use super::door::Door;
use super::table::Table;
use super::trail::Trail;
use crate::acl::Permissions;
use crate::auth::{Attempt, Credentials, Guard, Identity};
use crate::broker::{ConnectionId, Input, Time};

/// The program around the connections, on the event loop's thread.
pub trait Hub: 'static {
    /// Gives the broker an input. What comes of it is in the table when this returns.
    fn handle(&self, input: Input<'_>);

    /// All connections.
    fn table(&self) -> &RefCell<Table>;

    /// Memory for decoding packets.
    fn scratch(&self) -> &RefCell<Scratch>;

    /// Has a password checked; the verdict comes through [`Table::set_verdict`].
    fn verify(&self, connection: ConnectionId, attempt: Attempt);

    /// What proofs are judged by that need no hashing.
    fn credentials(&self) -> Arc<Credentials>;

    /// What a client of this identity may do.
    fn permissions(&self, door: &Door, identity: &Identity, client_id: &str) -> Permissions;

    /// The present state of a listener, and whether an identity that `door` granted may still come in through it, by
    /// which name; or why not. A reload may have come between.
    fn current(
        &self,
        door: &Rc<Door>,
        identity: &Identity,
        io: &IoRef,
    ) -> Result<(Rc<Door>, Identity), &'static str>;

    /// The largest packet that a client may send, in bytes.
    fn max_packet_size(&self) -> usize;

    /// Asks for the end of the loop's turn, after everything that is to be done in it already.
    fn end_turn_soon(&self);

    /// What keeps floods from being everybody's.
    fn guard(&self) -> &Guard;

    /// The connection of the client with this Client Identifier, if it is connected.
    fn connection_of(&self, client_id: &str) -> Option<ConnectionId>;

    /// The time of the turn at hand.
    fn time(&self) -> Time;

    /// What is known of the ways of messages through other brokers.
    fn trail(&self) -> &Rc<Trail>;

    /// Whether there is a retained message of this topic.
    fn is_retained(&self, topic: &str) -> bool;

    /// Whether the last PUBLISH that the broker was given was taken: neither refused, nor did it cost the connection.
    fn has_taken(&self) -> bool;

    /// A listener that waited has room for another connection.
    fn accept_more(&self);
}
