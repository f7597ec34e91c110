//! What `$SYS` tells (there is no specification; the names and forms are mosquitto's, which monitors of routers know).
//!
//! Values are retained, published at QoS 2, and only when they have changed. They never expire and are never stored.

use super::effect::Effects;
use super::input::{Storage, Traffic};
use super::load::{self, Loads};
use super::publish::Outgoing;
use super::queue::Queue;
use super::timers::{Time, Timer};
use super::{Broker, limits};
use crate::mqtt::Qos;

/// Counters of the broker since its start.
#[derive(Debug)]
pub(super) struct Sys {
    started: Time,
    /// When the timer is armed for.
    due_at: Option<Time>,
    pub messages_received: u64,
    pub messages_sent: u64,
    pub publish_dropped: u64,
    pub clients_expired: u64,
    publish_received: u64,
    publish_sent: u64,
    publish_bytes_received: u64,
    publish_bytes_sent: u64,
    connected: usize,
    connected_maximum: usize,
    /// Rounds that have been published.
    rounds: u64,
    /// Clients that have come since the start.
    connects: u64,
    loads: Loads,
}

/// What there is, in numbers.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// When the broker began.
    pub uptime_from: Time,
    /// Clients that are connected.
    pub clients: usize,
    /// The most that ever were.
    pub clients_max: usize,
    /// Sessions that ended because their time was over, or for want of room.
    pub sessions_expired: u64,
    /// Subscriptions that are shared.
    pub shared: usize,
    /// Packets from clients, and to them.
    pub packets: (u64, u64),
    /// PUBLISH packets from clients, and to them.
    pub messages: (u64, u64),
    /// Messages that were dropped.
    pub dropped: u64,
    /// Bytes of subscriptions.
    pub subscriptions_bytes: usize,
    /// Bytes of retained messages.
    pub retained_bytes: usize,
    /// The most bytes that clients ever made the bus hold.
    pub held_bytes_highest: usize,
    /// Bytes of the network.
    pub network_bytes: usize,
    /// Sessions, theirs included.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages, those of `$SYS` included.
    pub retained: usize,
    /// Messages that wait for clients.
    pub waiting: usize,
    /// Bytes that clients make the bus hold.
    pub held_bytes: usize,
    /// Their ceiling.
    pub held_bytes_max: usize,
}

impl Sys {
    /// Counters of a broker that starts now.
    pub fn new(now: Time) -> Sys {
        Sys {
            started: now,
            due_at: None,
            messages_received: 0,
            messages_sent: 0,
            publish_dropped: 0,
            clients_expired: 0,
            publish_received: 0,
            publish_sent: 0,
            publish_bytes_received: 0,
            publish_bytes_sent: 0,
            connected: 0,
            connected_maximum: 0,
            rounds: 0,
            connects: 0,
            loads: Loads::default(),
        }
    }

    /// A client has published.
    #[inline]
    pub fn published(&mut self, payload_bytes: usize) {
        self.publish_received += 1;
        self.publish_bytes_received += payload_bytes as u64;
    }

    /// A PUBLISH was sent.
    #[inline]
    pub fn delivered(&mut self, payload_bytes: usize) {
        self.messages_sent += 1;
        self.publish_sent += 1;
        self.publish_bytes_sent += payload_bytes as u64;
    }

    /// A client has connected.
    pub fn client_connected(&mut self) {
        self.connected += 1;
        self.connects += 1;
        self.connected_maximum = self.connected_maximum.max(self.connected);
    }

    /// How many clients are connected.
    #[inline]
    pub fn connected(&self) -> usize {
        self.connected
    }

    /// A client has gone.
    pub fn client_disconnected(&mut self) {
        self.connected -= 1;
    }
}

impl Broker {
    /// When `$SYS` is told the next time, with an [`Input::Tick`](super::Input::Tick).
    pub fn tells_at(&self) -> Option<Time> {
        self.sys.due_at
    }

    pub(super) fn arm_sys(&mut self, now: Time) {
        let interval_ms = match self.settings.sys_interval_ms {
            0 => limits::SWEEP_INTERVAL_MS,
            // The first round comes at once, so that the version is there from the start.
            _ if self.sys.rounds == 0 => 0,
            interval_ms => interval_ms,
        };
        let at = now.after_ms(interval_ms);
        self.sys.due_at = Some(at);
        self.timers.arm(at, Timer::Sys);
    }

    pub(super) fn disarm_sys(&mut self) {
        if let Some(at) = self.sys.due_at.take() {
            self.timers.disarm(at, Timer::Sys);
        }
    }

    /// Publishes every value that has changed.
    pub(super) fn publish_sys<E: Effects>(
        &mut self,
        now: Time,
        traffic: Traffic<'_>,
        effects: &mut E,
    ) {
        self.sys.rounds += 1;
        let uptime_s = now.since_ms(self.sys.started) / 1000;
        let version = format!("fosquitto version {}", self.settings.version);
        self.publish_value(now, "version", version, effects);
        self.publish_value(now, "uptime", format!("{uptime_s} seconds"), effects);
        for (name, value) in self.sys_values(traffic) {
            self.publish_value(now, name, value.to_string(), effects);
        }
        self.publish_loads(now, &traffic, effects);
        let class = traffic.store.map_or("volatile", |store| store.class);
        self.publish_value(now, "store/class", class.to_owned(), effects);
        if let Some(store) = traffic.store {
            self.publish_store(now, store, effects);
        }
    }

    fn publish_loads<E: Effects>(&mut self, now: Time, traffic: &Traffic<'_>, effects: &mut E) {
        let sys = &mut self.sys;
        let totals = [
            sys.messages_received,
            sys.messages_sent,
            sys.publish_dropped,
            sys.publish_received,
            sys.publish_sent,
            traffic.bytes_received,
            traffic.bytes_sent,
            traffic.sockets,
            sys.connects,
        ];
        for (which, span, value) in sys.loads.update(now, totals) {
            let (name, minutes) = (load::NAMES[which], load::MINUTES[span]);
            let name = format!("load/{name}/{minutes}min");
            self.publish_value(now, &name, format!("{value:.2}"), effects);
        }
    }

    /// What mosquitto has no names for: it does not keep anything from one moment to the next.
    fn publish_store<E: Effects>(&mut self, now: Time, store: Storage<'_>, effects: &mut E) {
        for (name, value) in [
            ("store/flash/bytes", store.flash_bytes),
            ("store/flash/syncs", store.flash_syncs),
            ("store/commits", store.commits),
            ("store/journal/bytes", store.journal_bytes),
            ("store/records/applied", store.applied),
            ("store/records/pending", store.pending),
        ] {
            self.publish_value(now, name, value.to_string(), effects);
        }
        if let Some(age_s) = store.last_commit_s {
            self.publish_value(
                now,
                "store/commits/last",
                format!("{age_s} seconds"),
                effects,
            );
        }
        self.publish_value(now, "store/error", store.error.to_owned(), effects);
    }

    /// What there is, in numbers.
    pub fn counts(&self) -> Counts {
        let waiting = self.sessions.iter();
        let waiting = waiting.map(|(_, it)| it.queue.len() + it.qos0_queue.len());
        Counts {
            uptime_from: self.sys.started,
            clients: self.sys.connected,
            clients_max: self.sys.connected_maximum,
            sessions_expired: self.sys.clients_expired,
            shared: self.shares.count(),
            packets: (self.sys.messages_received, self.sys.messages_sent),
            messages: (self.sys.publish_received, self.sys.publish_sent),
            dropped: self.sys.publish_dropped,
            subscriptions_bytes: self.router.bytes() + self.shares.bytes(),
            retained_bytes: self.retained.bytes(),
            held_bytes_highest: self.memory.maximum,
            network_bytes: self.memory.network,
            sessions: self.sessions.len(),
            subscriptions: self.router.count() + self.shares.count(),
            retained: self.retained.len(),
            waiting: waiting.sum(),
            held_bytes: self.held_bytes(),
            held_bytes_max: self.settings.memory_limit,
        }
    }

    fn sys_values(&self, traffic: Traffic<'_>) -> [(&'static str, u64); 27] {
        let sys = &self.sys;
        let (sessions, connected) = (self.sessions.len() as u64, sys.connected as u64);
        let queues = || {
            let sessions = self.sessions.iter();
            sessions.flat_map(|(_, session)| [&session.queue, &session.qos0_queue])
        };
        let queued: usize = queues().map(Queue::len).sum();
        let queued_bytes: usize = queues().map(Queue::bytes).sum();
        let stored = (queued + self.keeper.len() + self.retained.len()) as u64;
        let stored_bytes = (queued_bytes + self.keeper.bytes() + self.retained.bytes()) as u64;
        [
            ("clients/total", sessions),
            ("clients/maximum", sys.connected_maximum as u64),
            ("clients/connected", connected),
            ("clients/active", connected),
            ("clients/disconnected", sessions - connected),
            ("clients/inactive", sessions - connected),
            ("clients/expired", sys.clients_expired),
            ("messages/stored", stored),
            ("messages/received", sys.messages_received),
            ("messages/sent", sys.messages_sent),
            ("store/messages/count", stored),
            ("store/messages/bytes", stored_bytes),
            (
                "subscriptions/count",
                (self.router.count() + self.shares.count()) as u64,
            ),
            ("shared_subscriptions/count", self.shares.count() as u64),
            ("retained messages/count", self.retained.len() as u64),
            ("heap/current", self.held_bytes() as u64),
            ("heap/maximum", self.memory.maximum as u64),
            ("bytes/received", traffic.bytes_received),
            ("bytes/sent", traffic.bytes_sent),
            ("publish/messages/dropped", sys.publish_dropped),
            ("publish/messages/received", sys.publish_received),
            ("publish/messages/sent", sys.publish_sent),
            ("publish/bytes/received", sys.publish_bytes_received),
            ("publish/bytes/sent", sys.publish_bytes_sent),
            // A counter of mosquitto 2.1, by its name there: of all that there were.
            ("connections/socket/count", traffic.sockets),
            ("packet/out/count", traffic.unsent_packets),
            ("packet/out/bytes", traffic.unsent_bytes),
        ]
    }

    /// Publishes a value if it is not what it was. One that is empty is not there.
    fn publish_value<E: Effects>(&mut self, now: Time, name: &str, value: String, effects: &mut E) {
        let topic = format!("$SYS/broker/{name}");
        let former = self.retained.get(&topic);
        if former.map_or(&[][..], |former| former.payload()) == value.as_bytes() {
            return;
        }
        let mut outgoing = Outgoing {
            serial: 0,
            topic: &topic,
            properties: &[],
            payload: value.as_bytes(),
            qos: Qos::ExactlyOnce,
            retain: true,
            expires_at: None,
            origin: None,
            kept: None,
            reached: false,
        };
        self.accept(now, &mut outgoing, None, effects);
    }
}
