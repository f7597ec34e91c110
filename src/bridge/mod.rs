//! Bridges: connections that this side makes to other brokers, over which topics are forwarded.
//!
//! A bridge has two halves. Its **session** is in the broker (`broker::bridge`): a session like any other, whose subscriptions are what
//! goes out and whose queue holds it while there is no connection, in the store under its durability class. Its **link** is a task here
//! (`link`): it connects, again and again, and then is a translator between that session and the remote broker. Packet
//! identifiers are the same on both sides: a PUBLISH that the broker sends to the session goes out with its identifier, and the remote
//! broker's PUBACK, PUBREC and PUBCOMP are the session's; a PUBLISH of the remote broker is the session's client's, and what the broker
//! answers goes back. So what is in flight is always the session's, and a crash of either side or a cut in between goes on where it was,
//! with the session that the remote broker keeps (Clean Start 0). When it has kept none, messages are sent as new.
//!
//! | file | what it is |
//! |---|---|
//! | [`mapping`] | what is subscribed on both sides, and what a message's topic becomes; pure |
//! | `link` | one bridge's task: when it connects, in which version, and when again |
//! | `wire` | one connection from CONNECT to its end: its packets and its timers |
//! | `echo` | what a remote broker that knows no bridges sends back |
//! | `outward` | what a message is on its way out: the network's [`Outlet`](crate::net::outlet::Outlet) |
//! | [`foris`] | subordinates as bridges; pure |
//! | [`discovery`] | where subordinates are |
//! | [`check`] | what is wrong with the files of bridges |
//!
//! Entered by [`Bridges::follow`] with a configuration, at the start and at each reload: bridges that are as they were are not touched.
//!
//! **A remote broker is not trusted.** What it sends goes through the same checks as a client's packets, a bounded number of them a turn; what
//! arrives in part, and what it does not take, counts in the same account; it has no aliases to set; a topic that nothing is mapped from
//! goes no further; where it says that this side should go instead, it does not. What it does wrong costs its own connection.
//!
//! **Versions.** `auto` begins with MQTT 5. A broker that refuses that or closes before an answer is tried with 3.1.1, first with the bit
//! that says that this is a bridge, then without. Without MQTT 5 there is no trail ([`trail`](crate::net::trail)).
//!
//! What this does not do: it keeps no message, and it decides nothing about rights: whoever may write the configuration may forward.

pub mod check;
pub mod discovery;
mod echo;
pub mod foris;
mod link;
pub mod mapping;
mod outward;
mod wire;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use ntex::service::cfg::SharedCfg;
use ntex::task::LocalWaker;

use crate::broker::{Bounds, Bridge as Declared, ConnectionId, Input, Time};
use crate::config;
use crate::config::bridge::Notify;
use crate::mqtt::Qos;
use crate::net::dial::Dialer;
use crate::net::hub::Hub;
use crate::net::tls::client::{ClientTls, Stamp};
use discovery::Finder;
use echo::Echoes;
use mapping::Mappings;

/// All bridges that there are.
#[derive(Default)]
pub struct Bridges(Vec<Rc<Bridge>>);

/// What is the same for all of them.
#[derive(Clone)]
pub struct Surroundings {
    /// The router's root.
    pub root: PathBuf,
    /// This host's name.
    pub host: String,
    /// What makes connections.
    pub dialer: Dialer,
    /// What finds subordinates on the network.
    pub finder: Finder,
    /// How sockets are read and written.
    pub sockets: SharedCfg,
    /// A source of chance, for the times between two attempts.
    pub chance: fn() -> u64,
}

/// A bridge while it is configured.
struct Bridge {
    config: config::Bridge,
    mappings: Mappings,
    /// The Client Identifier of its session here.
    session: String,
    /// Its Client Identifier there.
    client_id: String,
    /// Filters that a former configuration has subscribed to there.
    stale: RefCell<Vec<String>>,
    /// What its TLS files said when they were read last, and which those were.
    tls: RefCell<Option<(Stamp, ClientTls)>>,
    is_stopped: Cell<bool>,
    /// Whether it is to try again now, if it waits.
    is_nudged: Cell<bool>,
    stop: LocalWaker,
    connection: Cell<Option<ConnectionId>>,
    /// Whether the next connection is to begin without what the remote broker has kept: the session here was ended by hand.
    begins_anew: Cell<bool>,
    /// Whether it is configured no longer, so that the remote broker need keep nothing for it.
    is_removed: Cell<bool>,
    /// How the Will is asked for that says there that the bridge is gone.
    will: Cell<WillForm>,
    /// Whether the remote broker is to be asked now whether it is there.
    is_doubted: Cell<bool>,
    /// How often in a row it had no room for a message.
    was_full: Cell<u32>,
    /// What the remote broker will send back, if it is one that does.
    echoes: RefCell<Echoes>,
    state: RefCell<State>,
}

/// How much of a Will is asked for: not every broker takes all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WillForm {
    /// Retained, at QoS 1.
    Full,
    /// Not retained, at QoS 0.
    Plain,
    /// None.
    None,
}

/// What a bridge's link is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// It tries to connect.
    #[default]
    Connecting,
    /// The remote broker has let it in.
    Connected,
    /// It waits for the next attempt.
    Waiting,
}

/// How a bridge is, as far as its link knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// What it is doing.
    pub phase: Phase,
    /// Since when; `None` for what has only just begun.
    pub since: Option<Time>,
    /// Where the remote broker is, or where it was tried last.
    pub address: String,
    /// The version of MQTT that is spoken.
    pub protocol: Option<&'static str>,
    /// Why there was no connection, or none any more, the last time.
    pub last_error: Option<String>,
    /// What the remote broker does not let it subscribe to.
    pub refused: Vec<String>,
    /// Messages that it has refused; they are lost.
    pub rejected: u64,
    /// Why it has refused the last of them.
    pub rejection: Option<String>,
    /// Messages that came.
    pub received: u64,
    /// Messages that went, those that were sent again included.
    pub sent: u64,
    /// Attempts to connect since the start.
    pub attempts: u64,
}

/// How a bridge is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The section's name.
    pub name: String,
    /// The Client Identifier of its session in the broker.
    pub session: String,
    /// What its link knows.
    pub state: State,
}

impl Bridges {
    /// Makes the bridges those of the configuration: others end, new ones and changed ones begin, and the rest is not touched.
    pub fn follow<H: Hub>(
        &mut self,
        hub: &Rc<H>,
        configured: &[config::Bridge],
        surroundings: &Surroundings,
    ) {
        let looked_for = configured
            .iter()
            .filter_map(|config| config.found.as_deref());
        surroundings.finder.follow(looked_for);
        // What comes on two ways may wait on one of them for as long as a queue lasts.
        let queues = configured.iter().map(|config| config.queue.messages);
        let largest = usize::try_from(queues.max().unwrap_or(0));
        hub.trail().set_room(largest.unwrap_or(usize::MAX));
        let former = std::mem::take(&mut self.0);
        let mut new = Vec::new();
        for config in configured {
            let same = former
                .iter()
                .find(|bridge| bridge.config.name == config.name);
            if let Some(same) = same.filter(|bridge| bridge.config == *config) {
                // Connections stay; the next one is made with the certificates that are there then.
                same.tls.take();
                same.nudge();
                same.doubt(&**hub);
                self.0.push(same.clone());
                continue;
            }
            let bridge = Bridge::new(config, &surroundings.host);
            if let Some(same) = same {
                bridge.take_over(same);
            }
            new.push(Rc::new(bridge));
        }
        for bridge in former {
            if !self.0.iter().any(|kept| Rc::ptr_eq(kept, &bridge)) {
                let is_named = |config: &config::Bridge| config.name == bridge.config.name;
                bridge.is_removed.set(!configured.iter().any(is_named));
                bridge.stop(&**hub);
            }
        }
        self.0.extend(new.iter().cloned());
        self.declare(&**hub);
        for bridge in new {
            ntex::rt::spawn(link::run(hub.clone(), bridge, surroundings.clone()));
        }
    }

    /// Makes the session of a bridge anew that was ended by hand, here and at the remote broker, which may hold identifiers of it.
    pub fn begin_anew<H: Hub>(&self, hub: &H, session: &str) {
        for bridge in self.0.iter().filter(|bridge| bridge.session == session) {
            bridge.begins_anew.set(true);
        }
        self.declare(hub);
    }

    /// Tells the broker which sessions there are to be.
    fn declare<H: Hub>(&self, hub: &H) {
        let filters: Vec<_> = self
            .0
            .iter()
            .map(|bridge| bridge.mappings.local_filters())
            .collect();
        let filters: Vec<Vec<(&str, Qos)>> = filters
            .iter()
            .map(|wanted| {
                wanted
                    .iter()
                    .map(|it| (it.filter.as_str(), it.qos))
                    .collect()
            })
            .collect();
        let topics: Vec<_> = self
            .0
            .iter()
            .map(|bridge| bridge.local_state_topic())
            .collect();
        let declared: Vec<Declared<'_>> = self
            .0
            .iter()
            .enumerate()
            .map(|(index, bridge)| Declared {
                client_id: &bridge.session,
                filters: &filters[index],
                bounds: bridge.bounds(),
                state_topic: topics[index].as_deref(),
            })
            .collect();
        hub.handle(Input::Bridges(&declared));
    }

    /// Ends the links of all; their sessions stay.
    pub fn stop<H: Hub>(&mut self, hub: &H) {
        for bridge in self.0.drain(..) {
            bridge.stop(hub);
        }
    }

    /// How all of them are, in the order of the configuration.
    pub fn told(&self) -> Vec<Told> {
        let told = |bridge: &Rc<Bridge>| Told {
            name: bridge.config.name.clone(),
            session: bridge.session.clone(),
            state: bridge.state.borrow().clone(),
        };
        self.0.iter().map(told).collect()
    }
}

impl Bridge {
    fn new(config: &config::Bridge, host: &str) -> Bridge {
        let name = &config.name;
        let client_id = config.client_id.clone();
        Bridge {
            mappings: Mappings::new(&config.topics),
            session: format!("bridge:{name}"),
            client_id: client_id.unwrap_or_else(|| format!("{name}.{host}")),
            config: config.clone(),
            stale: RefCell::default(),
            tls: RefCell::default(),
            is_stopped: Cell::new(false),
            is_nudged: Cell::new(false),
            stop: LocalWaker::new(),
            connection: Cell::new(None),
            begins_anew: Cell::new(false),
            is_removed: Cell::new(false),
            will: Cell::new(WillForm::Full),
            is_doubted: Cell::new(false),
            was_full: Cell::new(0),
            echoes: RefCell::default(),
            state: RefCell::default(),
        }
    }

    /// Goes on in the place of one with another configuration.
    fn take_over(&self, former: &Bridge) {
        let wanted = self.mappings.remote_filters();
        let is_stale = |filter: &String| !wanted.iter().any(|wanted| wanted.filter == *filter);
        let subscribed = former.mappings.remote_filters().into_iter();
        let stale = subscribed.map(|it| it.filter).chain(former.stale.take());
        self.stale.replace(stale.filter(is_stale).collect());
        let former = former.state.borrow();
        self.state.replace(State {
            received: former.received,
            sent: former.sent,
            attempts: former.attempts,
            rejected: former.rejected,
            rejection: former.rejection.clone(),
            ..State::default()
        });
    }

    /// Has a link that waits try again at once: what kept it from connecting may be another now, a certificate or the network.
    fn nudge(&self) {
        self.is_nudged.set(true);
        self.stop.wake();
    }

    /// Has a link that is connected ask whether the remote broker is there: the way to it may be gone, with the address that it was made from.
    fn doubt<H: Hub>(&self, hub: &H) {
        if let Some(connection) = self.connection.get() {
            self.is_doubted.set(true);
            hub.table().borrow_mut().wake_at(connection, hub.time());
            hub.end_turn_soon();
        }
    }

    /// Ends the link.
    fn stop<H: Hub>(&self, hub: &H) {
        self.is_stopped.set(true);
        self.stop.wake();
        if let Some(connection) = self.connection.get() {
            wire::close(hub, connection);
        }
    }

    fn set_phase(&self, phase: Phase, now: Time) {
        let mut state = self.state.borrow_mut();
        (state.phase, state.since) = (phase, Some(now));
    }

    /// The topic that says here whether it is connected.
    fn local_state_topic(&self) -> Option<String> {
        let named = self.config.notification_topic.clone();
        let own = || format!("$SYS/broker/connection/{}/state", self.config.name);
        (self.config.notify != Notify::Nobody).then(|| named.unwrap_or_else(own))
    }

    /// The topic that says it at the remote broker.
    fn remote_state_topic(&self) -> Option<String> {
        let named = self.config.notification_topic.clone();
        let own = || format!("$SYS/broker/connection/{}/state", self.client_id);
        (self.config.notify == Notify::Both).then(|| named.unwrap_or_else(own))
    }

    fn bounds(&self) -> Bounds {
        let queue = &self.config.queue;
        let millis =
            |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Bounds {
            messages: usize::try_from(queue.messages).unwrap_or(usize::MAX),
            bytes: usize::try_from(queue.bytes).unwrap_or(usize::MAX),
            ttl_ms: queue.ttl.map_or(0, millis),
            qos0_ttl_ms: millis(queue.qos0_ttl),
        }
    }
}
