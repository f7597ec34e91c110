//! The crash test: the broker is killed at random points under load and started again on the same root, some hundred times.
//!
//! One thread serves all clients and counts the packets that come. After a number of them that chance gives, SIGKILL; what had left
//! the broker by then is still read, for it was promised. Some lives end while the state is being read. No client waits by a clock.

use super::Random;
use super::actors::{Actor, Keeper, Publisher};
use super::ledger::Ledger;
use super::link::Link;
use super::subscribers::{Changer, Subscriber};
use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::packet::{DISCONNECT, Version};
use crate::harness::root::Root;

/// Kills of each of the three tests: more than 500 in all.
const KILLS: u32 = 170;

/// The most packets that come in one life.
const PACKETS: u64 = 300;

/// A durability, queues that never overflow, and a listener that asks for nothing.
fn uci(durability: &str, more: &str) -> String {
    format!(
        "config global 'global'\n\toption queue_messages '1000000'\n\toption queue_bytes '64M'\n\n\
         config local 'local'\n\toption enabled '0'\n\n\
         config listener 'open'\n\toption port '0'\n\tlist address '127.0.0.1'\n\toption allow_anonymous '1'\n\n\
         config persistence 'persistence'\n\toption durability '{durability}'\n\toption flush_interval '1'\n\n{more}"
    )
}

/// A client, and its connection in this life.
struct Seat {
    actor: Box<dyn Actor>,
    link: Option<Link>,
    /// After how many packets of a life it comes or goes; only one that wanders.
    turns_at: u64,
}

/// All clients, and what they were promised.
struct Load {
    random: Random,
    ledger: Ledger,
    seats: Vec<Seat>,
}

impl Load {
    fn new() -> Load {
        let random = Random::new();
        let publisher = |name, version, is_persistent| -> Box<dyn Actor> {
            Box::new(Publisher::new(name, version, is_persistent))
        };
        let actors: Vec<Box<dyn Actor>> = vec![
            publisher("a", Version::V311, true),
            publisher("b", Version::V5, true),
            publisher("plain", Version::V311, false),
            Box::new(Subscriber::new("always", Version::V311, 2)),
            Box::new(Subscriber::new("sometimes", Version::V5, 2).wandering()),
            Box::new(Subscriber::new("seldom", Version::V311, 1).wandering()),
            Box::new(Subscriber::new("guest", Version::V5, 2).plain()),
            Box::new(Keeper::new()),
            Box::new(Changer::new()),
        ];
        let seats = actors.into_iter().map(|actor| Seat {
            actor,
            link: None,
            turns_at: 0,
        });
        Load {
            random,
            ledger: Ledger::default(),
            seats: seats.collect(),
        }
    }

    /// Serves the clients until so many packets have come, or, without a number, until nobody waits for anything.
    fn live(&mut self, broker: &Broker, packets: Option<u64>) {
        let address = broker.address("open");
        for seat in &mut self.seats {
            let is_here = packets.is_none() || !seat.actor.wanders() || self.random.below(2) == 0;
            seat.turns_at = self.random.below(PACKETS);
            if is_here {
                seat.link = Some(Link::open(address, &seat.actor.begin(&mut self.random)));
            }
        }
        let mut come = 0;
        loop {
            come += self.receive(true);
            let is_over = match packets {
                Some(packets) => come >= packets,
                None => self.seats.iter().all(|it| it.actor.is_done(&self.ledger)),
            };
            if is_over {
                return;
            }
            for seat in &mut self.seats {
                if packets.is_some() && seat.actor.wanders() && come >= seat.turns_at {
                    seat.turns_at = u64::MAX;
                    match seat.link.take() {
                        Some(mut link) => {
                            link.send(&DISCONNECT);
                            link.write();
                        }
                        None => {
                            let connect = seat.actor.begin(&mut self.random);
                            seat.link = Some(Link::open(address, &connect));
                        }
                    }
                }
                if let Some(link) = &mut seat.link {
                    seat.actor.go_on(link, &mut self.random);
                    link.write();
                }
            }
            self.wait();
        }
    }

    /// Has each client take what has come; how many packets these are.
    fn receive(&mut self, is_broker_alive: bool) -> u64 {
        let mut come = 0;
        for seat in &mut self.seats {
            let Some(link) = &mut seat.link else {
                continue;
            };
            for packet in link.packets() {
                come += 1;
                seat.actor.receive(packet, link, &mut self.ledger);
            }
            assert!(
                !is_broker_alive || !link.is_closed(),
                "the broker closes a connection"
            );
        }
        come
    }

    /// Waits until a socket can be read or written.
    fn wait(&self) {
        let links = self.seats.iter().filter_map(|seat| seat.link.as_ref());
        let mut polled: Vec<libc::pollfd> = links.map(Link::poll).collect();
        let (count, patience) = (polled.len() as libc::nfds_t, PATIENCE.as_millis());
        // SAFETY: it is a list of so many entries that is valid for the whole call.
        let ready = unsafe { libc::poll(polled.as_mut_ptr(), count, patience as libc::c_int) };
        assert!(ready > 0, "the broker owes something and sends nothing");
    }

    /// Has everything come to its end, and kills the broker.
    fn settle(&mut self, broker: Broker) -> Root {
        let actors = self.seats.iter_mut().map(|seat| &mut seat.actor);
        actors.for_each(|actor| actor.settle(true));
        self.live(&broker, None);
        let root = broker.kill();
        self.mourn();
        let actors = self.seats.iter_mut().map(|seat| &mut seat.actor);
        actors.for_each(|actor| actor.settle(false));
        root
    }

    /// The broker is dead: what it had sent before still counts.
    fn mourn(&mut self) {
        self.receive(false);
        self.seats.iter_mut().for_each(|seat| seat.link = None);
    }
}

/// Kills the broker under load, again and again, and holds it to everything in the end.
fn survives_kills(uci: &str) {
    let mut load = Load::new();
    // Whoever is to miss nothing subscribes before anything is published.
    let root = Root::with_uci(uci);
    let mut root = load.settle(Broker::start_on(root));
    let mut kills = 0;
    while kills < KILLS {
        if load.random.below(8) == 0 {
            root = Broker::start_half(root).kill();
            kills += 1;
        }
        let broker = Broker::start_on(root);
        let packets = load.random.below(PACKETS);
        load.live(&broker, Some(packets));
        root = broker.kill();
        load.mourn();
        kills += 1;
    }
    load.settle(Broker::start_on(root));
    let looks: u32 = load.seats.iter().map(|seat| seat.actor.looks()).sum();
    let count = load.ledger.count();
    println!("{kills} kills, {count} acknowledged messages, {looks} looks");
    assert!(
        count > 2_000 && looks > KILLS / 4,
        "it was not much of a load"
    );
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_with_interval() {
    survives_kills(&uci("interval", ""));
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_with_commit() {
    survives_kills(&uci("commit", ""));
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_where_each_topic_has_its_class() {
    let commit = "config durability 'hurried'\n\tlist topic 'load/a/1'\n\tlist topic 'keep/3'\n\toption class 'commit'\n";
    survives_kills(&uci("interval", commit));
}
