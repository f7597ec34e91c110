//! The listeners that are open, and how they follow the configuration.
//!
//! A listener that cannot be opened is said with the line that asked for it and stays closed, and the others are served: what
//! its clients would have had to show is never left out. Sockets that a reload does not touch stay open.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::bus::Bus;
use crate::auth::Policy;
use crate::config::{Bind, Config, Listener, Protocol};
use crate::log::Escaped;
use crate::net::door::{Crowd, Door};
use crate::net::listener::handed::{self, Handed};
use crate::net::listener::{self, SocketId};
use crate::net::tls::TlsContext;

/// All open listeners.
#[derive(Default)]
pub struct Doors {
    by_name: HashMap<String, Rc<Door>>,
    sockets: Vec<Open>,
    last_socket: u32,
    /// What a service manager has opened and no listener has taken.
    handed: Vec<Handed>,
    /// Why listeners are closed, or not as they were asked for, since the configuration was followed last.
    faults: HashMap<String, Vec<String>>,
}

/// What there is to tell of a listener.
pub struct DoorState<'d> {
    /// The listener, if it is open.
    pub door: Option<&'d Door>,
    /// Where it listens.
    pub places: Vec<String>,
    /// What is wrong with it.
    pub faults: Vec<String>,
}

/// A listening socket.
struct Open {
    id: SocketId,
    listener: String,
    bind: Bind,
    /// Where it listens, with the port that the kernel chose.
    place: String,
    /// Whether a service manager has it too, and with it what it leaves in the file system.
    is_handed: bool,
}

impl Open {
    fn clean_up(&self) {
        if !self.is_handed {
            listener::clean_up(&self.bind);
        }
    }
}

impl Doors {
    /// Has the first listeners take what a service manager has opened for them.
    pub fn hand(&mut self, handed: Vec<Handed>) {
        self.handed = handed;
    }

    /// What there is to tell of a listener, open or not.
    pub fn state(&self, name: &str) -> DoorState<'_> {
        let sockets = self.sockets.iter().filter(|open| open.listener == name);
        let door = self.by_name.get(name).map(|door| &**door);
        DoorState {
            door,
            places: sockets.map(|open| open.place.clone()).collect(),
            faults: self.faults.get(name).cloned().unwrap_or_default(),
        }
    }

    /// The listener of a name.
    pub fn by_name(&self, name: &str) -> Option<Rc<Door>> {
        self.by_name.get(name).cloned()
    }

    /// The listener of a socket.
    pub fn by_socket(&self, id: SocketId) -> Option<Rc<Door>> {
        let open = self.sockets.iter().find(|open| open.id == id)?;
        self.by_name(&open.listener)
    }

    /// How many listening sockets are open.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Makes the open listeners those of the configuration.
    pub fn follow(&mut self, bus: &Bus, config: &Config) {
        let former = std::mem::take(&mut self.by_name);
        self.faults.clear();
        for listener in &config.listeners {
            if let Some(door) = self.door(listener, config, former.get(&listener.name)) {
                self.by_name.insert(listener.name.clone(), Rc::new(door));
            }
        }
        self.close_others(bus);
        for listener in &config.listeners {
            if let Some(door) = self.by_name(&listener.name) {
                self.open(bus, listener, &door.crowd);
            }
        }
        let open: Vec<&str> = self
            .sockets
            .iter()
            .map(|open| open.listener.as_str())
            .collect();
        self.by_name.retain(|name, _| open.contains(&name.as_str()));
        for unasked in self.handed.drain(..) {
            log::warn!(
                "listener '{}': {} was handed over, and nothing asks for it: closed",
                Escaped(&unasked.name),
                Escaped(&unasked.place())
            );
        }
    }

    /// A listener's door, or `None` when it has to stay closed.
    fn door(
        &mut self,
        listener: &Listener,
        config: &Config,
        former: Option<&Rc<Door>>,
    ) -> Option<Door> {
        let tls = match &listener.tls {
            None => None,
            Some(tls) => match TlsContext::build(tls) {
                Ok(context) => {
                    for warning in context.warnings() {
                        log::warn!("listener '{}': {warning}", listener.name);
                    }
                    Some(context)
                }
                Err(faults) => {
                    for fault in &faults {
                        log::error!("{}: {fault}", place(listener));
                    }
                    self.faults.insert(listener.name.clone(), faults);
                    // The files may be in the middle of being replaced: what was good goes on, as with the configuration.
                    let kept = former
                        .filter(|door| door.listener.tls == listener.tls)?
                        .tls
                        .clone()?;
                    log::warn!(
                        "listener '{}': goes on with the certificates that it had",
                        listener.name
                    );
                    Some(kept)
                }
            },
        };
        let waiting_max = u32::try_from(config.global.max_unauthenticated).unwrap_or(u32::MAX);
        let crowd = match former {
            Some(door) => door.crowd.clone(),
            None => Arc::new(Crowd::new(listener.max_connections, waiting_max)),
        };
        crowd.set_bounds(listener.max_connections, waiting_max);
        Some(Door {
            policy: Policy::new(listener, &config.users),
            listener: listener.clone(),
            tls,
            crowd,
        })
    }

    /// Closes the sockets that no listener asks for any more.
    fn close_others(&mut self, bus: &Bus) {
        let by_name = &self.by_name;
        self.sockets.retain(|open| {
            let is_wanted = by_name
                .get(&open.listener)
                .is_some_and(|door| door.listener.binds.contains(&open.bind));
            if !is_wanted {
                bus.acceptor.ignore(open.id);
                open.clean_up();
                log::info!(
                    "listener '{}': no longer listening on {}",
                    open.listener,
                    bind_name(&open.bind)
                );
            }
            is_wanted
        });
    }

    /// Opens the sockets of a listener that are not open yet.
    fn open(&mut self, bus: &Bus, listener: &Listener, crowd: &Arc<Crowd>) {
        // Where the kernel chooses a port, it chooses one for all addresses of the listener.
        let mut chosen = None;
        for bind in &listener.binds {
            let is_open = |open: &Open| open.listener == listener.name && open.bind == *bind;
            if self.sockets.iter().any(is_open) {
                continue;
            }
            let bound = with_port(bind, chosen);
            let handed = handed::take(&mut self.handed, &listener.name, &bound);
            let is_handed = handed.is_some();
            match handed.map_or_else(|| listener::open(&bound), Ok) {
                Ok(socket) => {
                    let place = listener::describe(bind, &socket);
                    chosen = chosen.or_else(|| Some(socket.local_addr().ok()?.as_socket()?.port()));
                    self.last_socket += 1;
                    let id = SocketId(self.last_socket);
                    bus.acceptor
                        .listen(id, socket, crowd.clone(), listener.name.clone());
                    self.sockets.push(Open {
                        id,
                        listener: listener.name.clone(),
                        bind: bind.clone(),
                        place: place.clone(),
                        is_handed,
                    });
                    let how = match listener.protocol {
                        Protocol::Mqtt => "",
                        Protocol::WebSocket => " by WebSocket",
                    };
                    let whose = if is_handed { " (handed over)" } else { "" };
                    log::info!(
                        "listener '{}': listening on {place}{how}{whose}",
                        listener.name
                    );
                }
                Err(error) if is_without_ipv6(bind, &error) => {
                    log::info!("listener '{}': the system has no IPv6", listener.name);
                }
                Err(error) => {
                    let fault = format!("cannot listen on {}: {error}", bind_name(bind));
                    log::error!("{}: {fault}", place(listener));
                    let faults = self.faults.entry(listener.name.clone()).or_default();
                    faults.push(fault);
                }
            }
        }
    }

    /// Lets nobody in any more. The sockets stay open: to a client, a bus that is about to come back is better one that is slow to
    /// answer than one that refuses.
    pub fn shut(&mut self, bus: &Bus) {
        bus.acceptor.pause();
        self.by_name.clear();
    }

    /// Closes all sockets.
    pub fn close_all(&mut self, bus: &Bus) {
        for open in self.sockets.drain(..) {
            bus.acceptor.ignore(open.id);
            open.clean_up();
        }
        self.by_name.clear();
    }
}

/// Where a listener was asked for, as faults name it.
fn place(listener: &Listener) -> String {
    let (path, line, name) = (listener.path.display(), listener.line, &listener.name);
    if line == 0 {
        format!("{path}: fosquitto.{name}")
    } else {
        format!("{path}:{line}: fosquitto.{name}")
    }
}

/// The bind with this port, if it leaves the choice to the kernel.
fn with_port(bind: &Bind, port: Option<u16>) -> Bind {
    match (bind, port) {
        (Bind::Tcp { address, device }, Some(port)) if address.port() == 0 => Bind::Tcp {
            address: (address.ip(), port).into(),
            device: device.clone(),
        },
        _ => bind.clone(),
    }
}

fn bind_name(bind: &Bind) -> String {
    match bind {
        Bind::Tcp {
            address,
            device: None,
        } => address.to_string(),
        Bind::Tcp {
            address,
            device: Some(device),
        } => format!("{address} ({device})"),
        Bind::Unix(path) => path.display().to_string(),
    }
}

/// Whether a bind failed only because the kernel has no IPv6, which a router may well have not.
fn is_without_ipv6(bind: &Bind, error: &std::io::Error) -> bool {
    matches!(bind, Bind::Tcp { address, .. } if address.is_ipv6())
        && error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}
