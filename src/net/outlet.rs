//! What the table asks of a connection that this side has made, to a bridge's remote broker. `bridge` is the only one to answer; it is a trait
//! so that nothing of the network knows what is forwarded under which name.

use std::borrow::Cow;

use crate::broker::Delivery;

/// The way out of one connection to a remote broker.
pub trait Outlet {
    /// How log lines call it.
    fn name(&self) -> &str;

    /// Whether there is TLS between the output and the socket.
    fn has_layers(&self) -> bool;

    /// What a message is at the remote broker; `None` when it does not go there.
    fn translate<'a>(&self, delivery: &Delivery<'a>) -> Option<Translated<'a>>;

    /// The bytes that end the connection in order.
    fn goodbye(&self) -> &'static [u8];
}

/// A message as the remote broker gets it.
#[derive(Debug)]
pub struct Translated<'a> {
    /// The Topic Name.
    pub topic: Cow<'a, str>,
    /// The properties.
    pub properties: Cow<'a, [u8]>,
    /// The RETAIN flag.
    pub retain: bool,
}
