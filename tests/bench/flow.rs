//! Messages from publishers to subscribers, as many as the broker can take: one thread, one epoll, all connections. A publisher keeps a window of
//! messages on their way and fills it up in one write as soon as half of it has arrived, so the broker always has a batch to work
//! on and never more than its queues hold. Every message carries its publisher and its number: what is lost, doubled or
//! out of order is counted. It does not measure latency (`latency` does), and it never sleeps while messages are on their way.

use std::io;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::Client;
use crate::machine::{Event, Poll};
use crate::packet::{self, Delivery, Frame, Publish, kind};

/// Read buffer; much larger than the largest packet (16 KiB and its header).
const BUFFER: usize = 256 * 1024;
/// Messages that do not arrive within this time of silence are lost.
const SILENCE: Duration = Duration::from_secs(5);
/// Unacknowledged messages a publisher at QoS 1 and 2 has: the default of client libraries, and mosquitto's `max_inflight_messages`.
const UNACKNOWLEDGED: u32 = 20;
/// Subscribers of each publisher where they are away, which get its messages in turn: their queues are bounded.
pub const AWAY: usize = 10;

/// Who sends what to whom.
#[derive(Clone, Copy)]
pub struct Flow {
    /// Publishing connections.
    pub publishers: usize,
    /// Subscribing connections.
    pub subscribers: usize,
    /// Every subscriber receives every message; otherwise each publisher has one subscriber of its own.
    pub shared: bool,
    /// The QoS of messages and subscriptions.
    pub qos: u8,
    /// Bytes of payload.
    pub payload: usize,
    /// Messages of a publisher that have not yet reached every subscriber, at most.
    pub window: u32,
    /// If not 0: each subscriber has this many filters with wildcards, and successive messages match one each, in turn.
    pub filters: usize,
    /// Which sessions there are. With [`Presence::Away`] each publisher has [`AWAY`] subscribers, whatever the others say.
    pub presence: Presence,
}

/// Whether sessions last, and whether subscribers are there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// All sessions end with their connections.
    Clean,
    /// All sessions last, and everybody is there.
    Lasting,
    /// The subscribers' sessions last, and they are away: a message has arrived when it is acknowledged.
    Away,
    /// The one subscriber is another broker, to which the one that is measured has a bridge.
    Beyond,
    /// The same, but that broker never answers: a message has arrived when it is acknowledged.
    Cut,
}

/// When publishing ends.
#[derive(Clone, Copy)]
pub enum Amount {
    /// After a time.
    Time(Duration),
    /// After this many messages of each publisher.
    Messages(u32),
}

/// What arrived.
#[derive(Clone, Copy, Default)]
pub struct Count {
    /// Messages that subscribers received.
    pub delivered: u64,
    /// Messages that were due and did not come.
    pub lost: u64,
    /// Messages that came twice or after a later one.
    pub disordered: u64,
}

struct Publisher {
    /// What it sends, in turn.
    messages: Vec<Publish>,
    sent: u32,
    unacknowledged: u32,
    /// Messages that every one of its subscribers has.
    completed: u32,
    /// How many subscribers have message `n`, at `n % arrivals.len()`; a power of two, at least the window.
    arrivals: Vec<u32>,
}

/// What is known about messages on their way; apart from the connections, so that a packet can be taken while its connection is borrowed.
struct Ledger {
    publishers: Vec<Publisher>,
    /// By subscriber and publisher: the next sequence number.
    expected: Vec<Vec<u32>>,
    /// Subscribers that each message reaches.
    fan_out: u32,
    count: Count,
}

/// The connections of a flow, set up and ready to run any number of times.
pub struct Driver {
    flow: Flow,
    poll: Poll,
    /// Subscribers first, then publishers.
    clients: Vec<Client>,
    /// By client: epoll waits until it can be written.
    blocked: Vec<bool>,
    ledger: Ledger,
    buffer: Vec<u8>,
}

impl Driver {
    /// Connects and subscribes everyone.
    pub fn new(mut flow: Flow, broker: &Broker) -> io::Result<Driver> {
        if flow.presence == Presence::Away {
            flow.leave_sessions(broker)?;
        }
        if matches!(flow.presence, Presence::Away | Presence::Cut) {
            flow.subscribers = 0;
        }
        let connect = match flow.presence {
            Presence::Lasting => Client::resume,
            _ => Client::connect,
        };
        let mut clients = Vec::with_capacity(flow.subscribers + flow.publishers);
        if flow.presence == Presence::Beyond {
            clients.extend(broker.accept_bridge()?);
        }
        for subscriber in clients.len()..flow.subscribers {
            let mut client = connect(broker.port, &format!("bench-s{subscriber}"))?;
            client.subscribe(&flow.filters_of(subscriber), flow.qos)?;
            clients.push(client);
        }
        for publisher in 0..flow.publishers {
            clients.push(connect(broker.port, &format!("bench-p{publisher}"))?);
        }
        let poll = Poll::new()?;
        for (token, client) in clients.iter().enumerate() {
            client.stop_blocking()?;
            poll.add(client.descriptor(), token)?;
        }
        let publishers = (0..flow.publishers)
            .map(|number| Publisher::new(&flow, number))
            .collect();
        let ledger = Ledger {
            publishers,
            expected: vec![vec![0; flow.publishers]; flow.subscribers],
            fan_out: if flow.shared || flow.presence == Presence::Away {
                flow.subscribers as u32
            } else {
                1
            },
            count: Count::default(),
        };
        let blocked = vec![false; clients.len()];
        Ok(Driver {
            flow,
            poll,
            clients,
            blocked,
            ledger,
            buffer: vec![0; BUFFER],
        })
    }

    /// Publishes for `amount`, awaits that everything has arrived, and returns what did since the last run.
    pub fn run(&mut self, amount: Amount) -> io::Result<Count> {
        let started = Instant::now();
        let limits: Vec<u32> = self
            .ledger
            .publishers
            .iter()
            .map(|publisher| amount.limit(publisher.sent))
            .collect();
        let mut ready: Vec<Event> = Vec::new();
        let mut heard = Instant::now();
        loop {
            let open = !matches!(amount, Amount::Time(time) if started.elapsed() >= time);
            if open {
                for (publisher, &limit) in limits.iter().enumerate() {
                    self.publish(publisher, limit)?;
                }
            }
            if self
                .ledger
                .publishers
                .iter()
                .zip(&limits)
                .all(|(publisher, &limit)| publisher.rests(limit, open))
            {
                break;
            }
            self.poll.wait(Duration::from_millis(200), &mut ready)?;
            for event in &ready {
                self.handle(*event)?;
            }
            if !ready.is_empty() {
                heard = Instant::now();
            } else if heard.elapsed() > SILENCE {
                self.ledger.give_up();
                break;
            }
        }
        Ok(std::mem::take(&mut self.ledger.count))
    }

    /// Fills the window of a publisher if half of it is free.
    fn publish(&mut self, number: usize, limit: u32) -> io::Result<()> {
        let publisher = &mut self.ledger.publishers[number];
        let room = publisher.room(&self.flow).min(limit - publisher.sent);
        if room == 0 {
            return Ok(());
        }
        let token = self.flow.subscribers + number;
        let output = &mut self.clients[token].output;
        for sequence in publisher.sent..publisher.sent + room {
            let message = &publisher.messages[sequence as usize % publisher.messages.len()];
            message.append_to(output, number as u32, sequence);
        }
        publisher.sent += room;
        if self.flow.qos > 0 {
            publisher.unacknowledged += room;
        }
        self.flush(token)
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        let Driver {
            flow,
            clients,
            ledger,
            buffer,
            ..
        } = self;
        if event.readable {
            let subscribers = flow.subscribers;
            let has_properties = clients[event.token].has_properties;
            clients[event.token].read(buffer, |frame, output| {
                match event.token.checked_sub(subscribers) {
                    None => ledger.subscriber_takes(event.token, frame, has_properties, output),
                    Some(publisher) => ledger.publisher_takes(publisher, frame, output),
                }
            })?;
        }
        self.flush(event.token)
    }

    fn flush(&mut self, token: usize) -> io::Result<()> {
        let client = &mut self.clients[token];
        let blocked = !client.flush()?;
        if blocked != self.blocked[token] {
            self.poll
                .watch_writing(client.descriptor(), token, blocked)?;
            self.blocked[token] = blocked;
        }
        Ok(())
    }
}

impl Flow {
    /// Makes the sessions of subscribers that are away.
    fn leave_sessions(&self, broker: &Broker) -> io::Result<()> {
        let topics = (0..self.publishers).flat_map(|publisher| self.topics_of(publisher));
        for (number, topic) in topics.enumerate() {
            let mut client = Client::resume(broker.port, &format!("bench-s{number}"))?;
            client.subscribe(&[topic], self.qos)?;
            client.leave()?;
        }
        Ok(())
    }

    fn filters_of(&self, subscriber: usize) -> Vec<String> {
        match (self.filters, self.shared) {
            (0, true) => vec!["bench/all".to_owned()],
            (0, false) => vec![format!("bench/{subscriber}")],
            (filters, _) => (0..filters)
                .map(|number| format!("a/+/{number}/#"))
                .collect(),
        }
    }

    fn topics_of(&self, publisher: usize) -> Vec<String> {
        if self.presence == Presence::Away {
            let topic = |number| format!("bench/{publisher}/{number}");
            return (0..AWAY).map(topic).collect();
        }
        match (self.filters, self.shared) {
            (0, true) => vec!["bench/all".to_owned()],
            (0, false) => vec![format!("bench/{publisher}")],
            (filters, _) => (0..filters)
                .map(|number| format!("a/x/{number}/y"))
                .collect(),
        }
    }
}

impl Amount {
    /// The number of sent messages at which a publisher stops that has sent `sent` now.
    fn limit(self, sent: u32) -> u32 {
        match self {
            Amount::Time(_) => u32::MAX,
            Amount::Messages(messages) => sent + messages,
        }
    }
}

impl Publisher {
    fn new(flow: &Flow, number: usize) -> Publisher {
        let topics = flow.topics_of(number);
        let messages = topics
            .iter()
            .map(|topic| Publish::new(topic, flow.qos, flow.payload, false))
            .collect();
        let arrivals = vec![0; flow.window.next_power_of_two() as usize];
        Publisher {
            messages,
            sent: 0,
            unacknowledged: 0,
            completed: 0,
            arrivals,
        }
    }

    /// How many messages it may send now: none until half of the window is free.
    fn room(&self, flow: &Flow) -> u32 {
        let free = |window: u32, taken: u32| {
            if taken > window / 2 {
                0
            } else {
                window - taken
            }
        };
        let room = free(flow.window, self.sent - self.completed);
        if flow.qos == 0 {
            room
        } else {
            room.min(UNACKNOWLEDGED - self.unacknowledged)
        }
    }

    /// Nothing is on its way and nothing more is to be sent.
    fn rests(&self, limit: u32, open: bool) -> bool {
        self.completed == self.sent && self.unacknowledged == 0 && (!open || self.sent == limit)
    }
}

impl Ledger {
    fn subscriber_takes(
        &mut self,
        subscriber: usize,
        frame: Frame<'_>,
        has_properties: bool,
        output: &mut Vec<u8>,
    ) {
        match frame.kind {
            kind::PUBLISH => {
                let Some(delivery) = frame.delivery(has_properties) else {
                    return;
                };
                self.arrived(subscriber, &delivery);
                match delivery.qos {
                    0 => {}
                    1 => output.extend(packet::acknowledgement(kind::PUBACK, delivery.packet_id)),
                    _ => output.extend(packet::acknowledgement(kind::PUBREC, delivery.packet_id)),
                }
            }
            kind::PUBREL => {
                output.extend(packet::acknowledgement(kind::PUBCOMP, frame.packet_id()))
            }
            _ => {}
        }
    }

    fn publisher_takes(&mut self, publisher: usize, frame: Frame<'_>, output: &mut Vec<u8>) {
        match frame.kind {
            kind::PUBREC => output.extend(packet::acknowledgement(kind::PUBREL, frame.packet_id())),
            kind::PUBACK | kind::PUBCOMP => {
                let publisher = &mut self.publishers[publisher];
                publisher.unacknowledged = publisher.unacknowledged.saturating_sub(1);
                if self.fan_out == 0 {
                    publisher.completed += 1;
                    self.count.delivered += 1;
                }
            }
            _ => {}
        }
    }

    /// Notes that a subscriber has a message, and that it will not have those between the last one and this one.
    fn arrived(&mut self, subscriber: usize, delivery: &Delivery) {
        let Some(publisher) = self.publishers.get_mut(delivery.publisher as usize) else {
            return;
        };
        let expected = &mut self.expected[subscriber][delivery.publisher as usize];
        if delivery.sequence < *expected || delivery.sequence >= publisher.sent {
            self.count.disordered += 1;
            return;
        }
        self.count.delivered += 1;
        self.count.lost += u64::from(delivery.sequence - *expected);
        let places = publisher.arrivals.len();
        for sequence in *expected..=delivery.sequence {
            publisher.arrivals[sequence as usize % places] += 1;
        }
        *expected = delivery.sequence + 1;
        while publisher.completed < publisher.sent {
            let arrivals = &mut publisher.arrivals[publisher.completed as usize % places];
            if *arrivals < self.fan_out {
                break;
            }
            *arrivals = 0;
            publisher.completed += 1;
        }
    }

    /// Counts everything that is still on its way as lost.
    fn give_up(&mut self) {
        for (number, publisher) in self.publishers.iter_mut().enumerate() {
            let due = u64::from(publisher.sent - publisher.completed) * u64::from(self.fan_out);
            let came: u64 = publisher
                .arrivals
                .iter()
                .map(|&arrivals| u64::from(arrivals))
                .sum();
            self.count.lost += due.saturating_sub(came);
            publisher.arrivals.fill(0);
            publisher.completed = publisher.sent;
            publisher.unacknowledged = 0;
            for expected in &mut self.expected {
                expected[number] = publisher.sent;
            }
        }
    }
}
