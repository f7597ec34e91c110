//! The clients that publish while the broker is killed, and what each of them holds it to.
//!
//! An [`Actor`] outlives the broker: in each life it gets a new connection and goes on as its protocol asks it to. A persistent
//! publisher sends again what was not acknowledged; a plain one gives it up, as its session is gone.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use super::Random;
use super::ledger::{Ledger, number_of};
use super::link::Link;
use crate::harness::packet::{self, Connect, PINGREQ, Packet, Publish, Version};

/// A client of the load.
pub trait Actor {
    /// A new life begins: its CONNECT, and what it forgets.
    fn begin(&mut self, random: &mut Random) -> Connect;
    /// A packet has come. Whatever it sends now is written, unless the broker is dead.
    fn receive(&mut self, packet: Packet, link: &mut Link, ledger: &mut Ledger);
    /// Sends more, as far as its window allows.
    fn go_on(&mut self, _link: &mut Link, _random: &mut Random) {}
    /// Whether it comes and goes as it likes, instead of being there all the time.
    fn wanders(&self) -> bool {
        false
    }
    /// Whether it waits for nothing that the broker owes it.
    fn is_done(&self, ledger: &Ledger) -> bool;
    /// Whether it sends nothing new.
    fn settle(&mut self, _is_settled: bool) {}
    /// In how many lives it has looked at what was kept to the end.
    fn looks(&self) -> u32 {
        0
    }
}

/// Checks the answer to a CONNECT: a session that was promised is there.
pub fn check_connack(who: &str, packet: &Packet, is_promised: bool) {
    let Packet::Connack(connack) = packet else {
        panic!("{who}: {packet:?} comes before CONNACK");
    };
    assert_eq!(connack.code, 0, "{who} is let in");
    assert!(
        connack.session_present || !is_promised,
        "{who}: its session is gone"
    );
}

/// A message that is not acknowledged to its end.
struct Open {
    packet_id: u16,
    qos: u8,
    number: u32,
    is_released: bool,
}

/// Messages that a publisher has open at once.
const WINDOW: usize = 10;

/// A client that publishes at QoS 1 and 2 and counts.
pub struct Publisher {
    name: String,
    version: Version,
    is_persistent: bool,
    is_promised: bool,
    is_connected: bool,
    is_settled: bool,
    open: VecDeque<Open>,
    packet_id: u16,
    /// The last number of QoS 1 and of QoS 2.
    numbers: [u32; 2],
}

impl Publisher {
    pub fn new(name: &str, version: Version, is_persistent: bool) -> Publisher {
        Publisher {
            name: name.to_owned(),
            version,
            is_persistent,
            is_promised: false,
            is_connected: false,
            is_settled: false,
            open: VecDeque::new(),
            packet_id: 0,
            numbers: [0; 2],
        }
    }

    fn topic(&self, qos: u8) -> String {
        format!("load/{}/{qos}", self.name)
    }

    fn publish(&self, open: &Open, dup: bool) -> Publish {
        let payload = open.number.to_string();
        let publish = Publish::new(&self.topic(open.qos), payload).qos(open.qos, open.packet_id);
        Publish { dup, ..publish }
    }

    /// Sends everything again that was not acknowledged, in its order [MQTT-4.4.0-1].
    fn resend(&self, link: &mut Link) {
        for open in &self.open {
            if open.is_released {
                link.send(&packet::ack(0x62, open.packet_id));
            } else {
                link.publish(&self.publish(open, true));
            }
        }
    }

    fn find(&mut self, packet_id: u16) -> usize {
        let place = self.open.iter().position(|it| it.packet_id == packet_id);
        place.unwrap_or_else(|| panic!("{}: {packet_id} is acknowledged in vain", self.name))
    }
}

impl Actor for Publisher {
    fn begin(&mut self, _random: &mut Random) -> Connect {
        self.is_connected = false;
        let connect = Connect::new(self.version, &self.name);
        match self.is_persistent {
            true => connect.persistent(),
            false => {
                self.open.clear();
                connect
            }
        }
    }

    fn receive(&mut self, packet: Packet, link: &mut Link, ledger: &mut Ledger) {
        if !self.is_connected {
            check_connack(&self.name, &packet, self.is_promised);
            (self.is_connected, self.is_promised) = (true, self.is_persistent);
            self.resend(link);
            return;
        }
        match packet {
            Packet::Puback { packet_id, .. } => {
                let place = self.find(packet_id);
                let open = self.open.remove(place).expect("it was found");
                ledger.acknowledge(&self.topic(1), open.number);
            }
            Packet::Pubrec { packet_id, .. } => {
                let place = self.find(packet_id);
                let open = &mut self.open[place];
                open.is_released = true;
                let number = open.number;
                ledger.acknowledge(&self.topic(2), number);
                link.send(&packet::ack(0x62, packet_id));
            }
            Packet::Pubcomp { packet_id, .. } => {
                let place = self.find(packet_id);
                self.open.remove(place);
            }
            other => panic!("{}: unexpected {other:?}", self.name),
        }
    }

    fn go_on(&mut self, link: &mut Link, random: &mut Random) {
        while self.is_connected && !self.is_settled && self.open.len() < WINDOW {
            let qos = 1 + random.below(2) as u8;
            let number = &mut self.numbers[usize::from(qos) - 1];
            *number += 1;
            self.packet_id = self.packet_id % 60_000 + 1;
            let open = Open {
                packet_id: self.packet_id,
                qos,
                number: *number,
                is_released: false,
            };
            link.publish(&self.publish(&open, false));
            self.open.push_back(open);
        }
    }

    fn is_done(&self, _ledger: &Ledger) -> bool {
        self.open.is_empty()
    }

    fn settle(&mut self, is_settled: bool) {
        self.is_settled = is_settled;
    }
}

/// How many topics have retained messages.
const KEPT: usize = 8;

/// A plain client that sets and clears retained messages, and looks at them in the beginning of each life.
pub struct Keeper {
    /// What may be retained: what was acknowledged last, and what was sent since; `None` for nothing.
    possible: [VecDeque<Option<u32>>; KEPT],
    /// What the broker has shown in this life.
    shown: BTreeMap<usize, u32>,
    is_looking: bool,
    is_settled: bool,
    /// The topic of each message that is not acknowledged.
    open: BTreeMap<u16, usize>,
    packet_id: u16,
    number: u32,
    looks: u32,
}

impl Keeper {
    pub fn new() -> Keeper {
        Keeper {
            possible: std::array::from_fn(|_| VecDeque::from([None])),
            shown: BTreeMap::new(),
            is_looking: true,
            is_settled: false,
            open: BTreeMap::new(),
            packet_id: 1,
            number: 0,
            looks: 0,
        }
    }

    /// Holds what was shown to what may be. Whether all of it has come.
    fn look(&mut self) {
        for (topic, possible) in self.possible.iter_mut().enumerate() {
            let shown = self.shown.get(&topic).copied();
            assert!(
                possible.contains(&shown),
                "keep/{topic}: {shown:?} is retained instead of one of {possible:?}"
            );
            *possible = VecDeque::from([shown]);
        }
        (self.is_looking, self.looks) = (false, self.looks + 1);
    }
}

impl Actor for Keeper {
    fn begin(&mut self, _random: &mut Random) -> Connect {
        self.is_looking = true;
        self.shown.clear();
        self.open.clear();
        Connect::new(Version::V311, "keeper")
    }

    fn receive(&mut self, packet: Packet, link: &mut Link, _ledger: &mut Ledger) {
        match packet {
            Packet::Connack(_) => link.subscribe(1, "keep/#", 0),
            Packet::Suback { .. } => link.send(&PINGREQ),
            Packet::Publish(publish) if publish.retain => {
                let (_, topic) = publish.topic.split_once('/').expect("keep/NUMBER");
                let topic = topic.parse().expect("keep/NUMBER");
                self.shown.insert(topic, number_of(&publish));
            }
            // Its own messages come back, too.
            Packet::Publish(_) => {}
            Packet::Pingresp => self.look(),
            Packet::Puback { packet_id, .. } => {
                let topic = self
                    .open
                    .remove(&packet_id)
                    .expect("it is acknowledged once");
                self.possible[topic].pop_front();
            }
            other => panic!("keeper: unexpected {other:?}"),
        }
    }

    fn go_on(&mut self, link: &mut Link, random: &mut Random) {
        while !self.is_looking && !self.is_settled && self.open.len() < 4 {
            let topic = random.below(KEPT as u64) as usize;
            self.number += 1;
            let number = Some(self.number).filter(|_| random.below(3) > 0);
            self.packet_id = self.packet_id % 60_000 + 1;
            let payload = number.map_or(String::new(), |number| number.to_string());
            let publish = Publish::new(&format!("keep/{topic}"), payload);
            link.publish(&publish.qos(1, self.packet_id).retained());
            self.open.insert(self.packet_id, topic);
            self.possible[topic].push_back(number);
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
