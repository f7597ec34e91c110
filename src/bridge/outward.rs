//! What a message is on its way out over one connection: its topic there, the trail that it carries, and whether it is retained.
//!
//! The network asks it for each message, as its [`Outlet`]. It changes nothing but a count, and notes what will come back.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use super::Bridge;
use crate::broker::{Delivery, Payload};
use crate::config::bridge::Notify;
use crate::net::outlet::{Outlet, Translated};
use crate::net::trail::Trail;

/// The way out of one connection.
pub(super) struct Outward {
    pub bridge: Rc<Bridge>,
    pub name: String,
    pub has_layers: bool,
    pub is_v5: Cell<bool>,
    /// Whether the remote broker sends back what it gets.
    pub echoes: bool,
    /// Whether the remote broker retains messages.
    pub retains: Cell<bool>,
    pub trail: Rc<Trail>,
}

impl Outlet for Outward {
    fn name(&self) -> &str {
        &self.name
    }

    fn has_layers(&self) -> bool {
        self.has_layers
    }

    fn translate<'a>(&self, delivery: &Delivery<'a>) -> Option<Translated<'a>> {
        let topic = self.bridge.mappings.to_remote(delivery.topic)?;
        let config = &self.bridge.config;
        let properties = match &delivery.payload {
            // What has no number goes to nobody but this: the broker keeps what goes to brokers.
            Payload::Kept(message) if self.is_v5.get() => {
                let (number, max_hops) = (message.id(), config.max_hops);
                let stamped = self.trail.stamp(delivery.properties, number, max_hops)?;
                Cow::Owned(stamped)
            }
            _ => Cow::Borrowed(delivery.properties),
        };
        if self.echoes && self.bridge.mappings.to_local(&topic).is_some() {
            let mut echoes = self.bridge.echoes.borrow_mut();
            echoes.went(Instant::now(), &topic, delivery.payload.bytes());
        }
        self.bridge.state.borrow_mut().sent += 1;
        Some(Translated {
            topic,
            properties,
            retain: delivery.retain && config.retain_out && self.retains.get(),
        })
    }

    fn goodbye(&self) -> &'static [u8] {
        let config = &self.bridge.config;
        let is_kept = !config.clean_start && !config.session_expiry.is_zero();
        match self.is_v5.get() {
            // As below; and nothing need be kept for a bridge that is configured no longer: Session Expiry Interval 0.
            true if self.bridge.is_removed.get() && is_kept => &[0xE0, 7, 4, 5, 0x11, 0, 0, 0, 0],
            // The remote broker says to its clients that the bridge is gone: that is the Will, which a normal end would void.
            true => &[0xE0, 1, 4],
            false if self.bridge.config.notify == Notify::Both => &[],
            false => &[0xE0, 0],
        }
    }
}
