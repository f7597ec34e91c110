//! The clients that are sent something while the broker is killed: those that follow the load, and one that changes its subscriptions.

use std::collections::{BTreeMap, BTreeSet};

use super::Random;
use super::actors::{Actor, check_connack};
use super::ledger::{Ledger, Received};
use super::link::Link;
use crate::harness::packet::{self, Connect, Packet, Publish, Version};

/// A client that follows the whole load.
pub struct Subscriber {
    name: String,
    version: Version,
    qos: u8,
    is_persistent: bool,
    wanders: bool,
    is_promised: bool,
    is_connected: bool,
    received: Received,
    /// Identifiers of QoS 2 messages that it has taken and that were not released.
    held: BTreeSet<u16>,
}

impl Subscriber {
    pub fn new(name: &str, version: Version, qos: u8) -> Subscriber {
        Subscriber {
            name: name.to_owned(),
            version,
            qos,
            is_persistent: true,
            wanders: false,
            is_promised: false,
            is_connected: false,
            received: Received::default(),
            held: BTreeSet::new(),
        }
    }

    /// One that is not there half of the time.
    pub fn wandering(self) -> Subscriber {
        Subscriber {
            wanders: true,
            ..self
        }
    }

    /// One without a session that lasts.
    pub fn plain(self) -> Subscriber {
        Subscriber {
            is_persistent: false,
            ..self
        }
    }

    fn take(&mut self, publish: &Publish, link: &mut Link, ledger: &Ledger) {
        let id = publish.packet_id;
        match publish.qos {
            1 => link.send(&packet::ack(0x40, id)),
            2 => link.send(&packet::ack(0x50, id)),
            _ => panic!("{}: {publish:?} has lost its QoS", self.name),
        }
        // What it has under an identifier that was not released is the same message [MQTT-4.3.3-10].
        if publish.qos == 1 || self.held.insert(id) {
            let is_durable = self.is_persistent && self.is_promised;
            self.received.take(&self.name, publish, ledger, is_durable);
        }
    }
}

impl Actor for Subscriber {
    fn begin(&mut self, _random: &mut Random) -> Connect {
        self.is_connected = false;
        let connect = Connect::new(self.version, &self.name);
        if self.is_persistent {
            return connect.persistent();
        }
        (self.received, self.held) = (Received::default(), BTreeSet::new());
        connect
    }

    fn receive(&mut self, packet: Packet, link: &mut Link, ledger: &mut Ledger) {
        if !self.is_connected {
            check_connack(&self.name, &packet, self.is_promised);
            self.is_connected = true;
            if !self.is_promised {
                link.subscribe(1, "load/#", self.qos);
            }
            return;
        }
        match packet {
            Packet::Suback { .. } => self.is_promised = self.is_persistent,
            Packet::Publish(publish) => self.take(&publish, link, ledger),
            Packet::Pubrel { packet_id, .. } => {
                self.held.remove(&packet_id);
                link.send(&packet::ack(0x70, packet_id));
            }
            other => panic!("{}: unexpected {other:?}", self.name),
        }
    }

    fn wanders(&self) -> bool {
        self.wanders
    }

    fn is_done(&self, ledger: &Ledger) -> bool {
        !self.is_persistent
            || self.is_promised && self.held.is_empty() && self.received.missing(ledger).is_empty()
    }
}

/// How many filters come and go.
const FILTERS: u64 = 6;

/// The topic that tells the end of a look at the subscriptions.
const END: &str = "change/end";

/// A client whose subscriptions change. In each life it first looks which there are, by a message for each.
pub struct Changer {
    is_promised: bool,
    is_connected: bool,
    is_looking: bool,
    is_settled: bool,
    life: u32,
    /// The QoS that each filter may have; `None` for no subscription.
    possible: Vec<Vec<Option<u8>>>,
    /// What was seen in this life.
    seen: BTreeMap<String, u8>,
    /// The filter of each change that is not acknowledged.
    open: BTreeMap<u16, usize>,
    packet_id: u16,
    looks: u32,
}

impl Changer {
    pub fn new() -> Changer {
        Changer {
            is_promised: false,
            is_connected: false,
            is_looking: true,
            is_settled: false,
            life: 0,
            possible: vec![vec![None]; FILTERS as usize],
            seen: BTreeMap::new(),
            open: BTreeMap::new(),
            packet_id: 100,
            looks: 0,
        }
    }

    /// Publishes to each filter, and then to that of the end.
    fn look(&mut self, link: &mut Link) {
        let topics = (0..FILTERS).map(|filter| format!("change/{filter}"));
        for (id, topic) in (1..).zip(topics.chain([END.to_owned()])) {
            link.publish(&Publish::new(&topic, self.life.to_string()).qos(1, id));
        }
    }

    fn see(&mut self, publish: &Publish, link: &mut Link) {
        if publish.qos > 0 {
            link.send(&packet::ack(0x40, publish.packet_id));
        }
        // Those of earlier lives may come again.
        if publish.payload != self.life.to_string().as_bytes() {
            return;
        }
        self.seen.insert(publish.topic.clone(), publish.qos);
        if publish.topic != END {
            return;
        }
        for (filter, possible) in self.possible.iter_mut().enumerate() {
            let seen = self.seen.get(&format!("change/{filter}")).copied();
            assert!(
                possible.contains(&seen),
                "change/{filter} is subscribed to with {seen:?} instead of {possible:?}"
            );
            *possible = vec![seen];
        }
        (self.is_looking, self.looks) = (false, self.looks + 1);
    }
}

impl Actor for Changer {
    fn begin(&mut self, _random: &mut Random) -> Connect {
        self.life += 1;
        (self.is_connected, self.is_looking) = (false, true);
        self.seen.clear();
        self.open.clear();
        Connect::new(Version::V5, "changer").persistent()
    }

    fn receive(&mut self, packet: Packet, link: &mut Link, _ledger: &mut Ledger) {
        if !self.is_connected {
            check_connack("changer", &packet, self.is_promised);
            self.is_connected = true;
            match self.is_promised {
                true => self.look(link),
                false => link.subscribe(99, END, 1),
            }
            return;
        }
        match packet {
            Packet::Suback { packet_id: 99, .. } => {
                self.is_promised = true;
                self.look(link);
            }
            Packet::Suback { packet_id, .. } | Packet::Unsuback { packet_id, .. } => {
                let filter = self.open.remove(&packet_id).expect("it is answered once");
                self.possible[filter].remove(0);
            }
            Packet::Publish(publish) => self.see(&publish, link),
            Packet::Puback { .. } => {}
            other => panic!("changer: unexpected {other:?}"),
        }
    }

    fn go_on(&mut self, link: &mut Link, random: &mut Random) {
        while !self.is_looking && !self.is_settled && self.open.len() < 3 {
            let filter = random.below(FILTERS) as usize;
            self.packet_id = (self.packet_id + 1).max(100);
            let name = format!("change/{filter}");
            let qos = [None, Some(0), Some(1)][random.below(3) as usize];
            match qos {
                Some(qos) => link.subscribe(self.packet_id, &name, qos),
                None => link.unsubscribe(self.packet_id, &name),
            }
            self.open.insert(self.packet_id, filter);
            self.possible[filter].push(qos);
        }
    }

    fn is_done(&self, _ledger: &Ledger) -> bool {
        !self.is_looking && self.open.is_empty()
    }

    fn looks(&self) -> u32 {
        self.looks
    }

    fn settle(&mut self, is_settled: bool) {
        self.is_settled = is_settled;
    }
}
