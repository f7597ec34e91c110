//! The bridges and the subordinates' links, as the configuration asks for them. Entered through [`follow`], at the start and at each reload.

use std::fs;
use std::rc::Rc;

use super::bus::Bus;
use super::io_config;
use crate::bridge::{Surroundings, foris};

/// The environment's variable that has the router's controller id, where it has one: the init script knows it.
const CONTROLLER_ID: &str = "FOSQUITTO_CONTROLLER_ID";

/// Makes the bridges those of the configuration.
pub fn follow(bus: &Rc<Bus>) {
    let is_id = |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let controller = std::env::var(CONTROLLER_ID).ok().filter(is_id);
    let surroundings = Surroundings {
        root: bus.root.clone(),
        host: host(),
        dialer: bus.dialer.clone(),
        finder: bus.finder.clone(),
        sockets: io_config(),
        chance,
    };
    let config = bus.config.borrow();
    let subordinates = foris::links(&config.subordinates, &bus.root, controller.as_deref());
    let configured: Vec<_> = config.bridges.iter().cloned().chain(subordinates).collect();
    drop(config);
    let mut bridges = bus.bridges.borrow_mut();
    bridges.follow(bus, &configured, &surroundings);
}

/// This host's name, which tells the bridges of several routers apart at one remote broker.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "fosquitto".to_owned(),
        name => name.replace(['+', '#'], "-"),
    }
}

/// Without chance the times between two attempts are the longest.
fn chance() -> u64 {
    let mut bytes = [0; 8];
    let drawn = openssl::rand::rand_bytes(&mut bytes);
    drawn.map_or(u64::MAX, |()| u64::from_ne_bytes(bytes))
}
