//! The table of cases: each has a name, a way to run it once against one broker, and what it finds there. A new case is a new line in [`all`].

use std::io;
use std::time::Duration;

use crate::asked;
use crate::broker::{Broker, Class, Kind, Programs, Setup};
use crate::connections;
use crate::durability;
use crate::flow::{Amount, Count, Driver, Flow, Presence};
use crate::latency;
use crate::memory::{self, Thing};

/// One thing to measure.
pub struct Case {
    /// The name by which `--case` chooses it.
    pub name: String,
    work: Work,
    /// The ratio to mosquitto that this project wants to reach, for the case's first figure.
    pub aim: Option<f64>,
}

#[derive(Clone, Copy)]
enum Work {
    Flow(Flow),
    Latency,
    Connections { tls: bool },
    Memory(Thing, usize),
    StartUp,
    Lasting(Flow, Class),
    Restart,
    Asked,
    HeapUp(Flow, u32),
}

/// A number that a run found.
pub struct Figure {
    /// What it is, with its unit.
    pub what: &'static str,
    /// Its value.
    pub value: f64,
}

/// What one run against one broker found.
#[derive(Default)]
pub struct Found {
    /// The same figures in the same order at every run of a case.
    pub figures: Vec<Figure>,
    /// Messages that did not arrive.
    pub lost: u64,
    /// Messages that came twice or out of order.
    pub disordered: u64,
}

/// One publisher, one subscriber, QoS 0, 64 B: what the other flows differ from. Every subscriber receives every message.
const ONE_TO_ONE: Flow = Flow {
    publishers: 1,
    subscribers: 1,
    shared: true,
    qos: 0,
    payload: 64,
    window: 1000,
    filters: 0,
    presence: Presence::Clean,
};

/// 50 pairs. Fifty publishers for each of fifty subscribers cannot be compared: mosquitto 2.0.11 then leaves messages in its queues for ever.
const FIFTY_PAIRS: Flow = Flow {
    publishers: 50,
    subscribers: 50,
    shared: false,
    qos: 1,
    window: QUEUE_MESSAGES,
    ..ONE_TO_ONE
};

/// Ten thousand filters with wildcards, of which each message matches one.
const WILDCARDS: Flow = Flow {
    filters: 10_000,
    ..ONE_TO_ONE
};

/// The same at QoS 1 between sessions that last.
const LASTING: Flow = Flow {
    qos: 1,
    window: QUEUE_MESSAGES,
    presence: Presence::Lasting,
    ..ONE_TO_ONE
};

/// Messages for a bridge that is down: many times what may wait for it.
const CUT: Flow = Flow {
    presence: Presence::Cut,
    payload: 1024,
    ..LASTING
};

/// Messages on their way to a subscriber: well below mosquitto's `max_queued_messages` of 1,000.
const QUEUE_MESSAGES: u32 = 400;

/// A flow whose instructions are counted.
#[derive(Clone, Copy)]
pub struct Counted {
    /// Its name among the numbers that are kept.
    pub name: &'static str,
    /// The flow.
    pub flow: Flow,
    /// Messages in the shorter run.
    pub messages: u32,
}

/// The flows whose instructions are counted. Their windows fit into what a broker reads at once.
pub fn counted() -> [Counted; 4] {
    let flow = |qos, subscribers, window| Flow {
        qos,
        subscribers,
        window,
        ..ONE_TO_ONE
    };
    let case = |name, flow, messages| Counted {
        name,
        flow,
        messages,
    };
    [
        case("1-1-qos0-64B", flow(0, 1, 500), 20_000),
        case("1-1-qos1-64B", flow(1, 1, QUEUE_MESSAGES), 10_000),
        case("1-1-qos2-64B", flow(2, 1, QUEUE_MESSAGES), 10_000),
        case("1-100-qos0", flow(0, 100, QUEUE_MESSAGES), 1_000),
    ]
}

/// All cases, in the order of the report.
pub fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = (0..3).flat_map(one_to_one).collect();
    let plain = Work::Connections { tls: false };
    let tls = Work::Connections { tls: true };
    let others = [
        ("1-100-qos0", fan_out(100, 0, QUEUE_MESSAGES), Some(0.09)),
        ("1-1000-qos0", fan_out(1000, 0, 100), None),
        ("1-100-qos1", fan_out(100, 1, QUEUE_MESSAGES), Some(0.12)),
        ("100-1-qos0", fan_in(100), None),
        ("50-50-qos1", Work::Flow(FIFTY_PAIRS), Some(0.16)),
        ("wildcards-10000", Work::Flow(WILDCARDS), Some(0.12)),
        ("connect-plain", plain, Some(1.0)),
        ("connect-tls", tls, Some(1.05)),
        ("latency-1000", Work::Latency, None),
        ("idle-1000", Work::Memory(Thing::Connection, 1000), None),
        ("idle-10000", Work::Memory(Thing::Connection, 10_000), None),
        (
            "subscriptions-10000",
            Work::Memory(Thing::Subscription, 10_000),
            None,
        ),
        (
            "retained-10000",
            Work::Memory(Thing::RetainedMessage, 10_000),
            None,
        ),
        ("start-up", Work::StartUp, None),
        ("restart-10000", Work::Restart, Some(1.5)),
        ("asked-1000-10000", Work::Asked, None),
    ];
    cases.extend(others.map(|(name, work, aim)| Case {
        name: name.to_owned(),
        work,
        aim,
    }));
    cases.extend(CLASSES.into_iter().flat_map(lasting));
    cases.extend(
        [Class::Volatile, Class::Interval]
            .into_iter()
            .flat_map(bridged),
    );
    cases.push(Case {
        name: "bridge-down-1000000".to_owned(),
        work: Work::HeapUp(CUT, 1_000_000),
        aim: None,
    });
    cases
}

const CLASSES: [Class; 3] = [Class::Volatile, Class::Interval, Class::Commit];

/// QoS 1 in one class of durability: from one publisher and from twenty to sessions that are away, and from one to one that is there.
fn lasting(class: Class) -> impl Iterator<Item = Case> {
    let away = |publishers| Flow {
        publishers,
        presence: Presence::Away,
        window: 20,
        ..LASTING
    };
    let flows = [
        ("away-1", away(1)),
        ("away-20", away(20)),
        ("there", LASTING),
    ];
    flows.into_iter().map(move |(name, flow)| Case {
        name: format!("durable-{}-{name}", class.name()),
        work: Work::Lasting(flow, class),
        aim: None,
    })
}

/// QoS 1 out over a bridge that is up, in one class of durability: from one publisher, which has no more on their way than the bridge, and from
/// two, whose messages wait for it. With more, mosquitto 2.0.11 leaves some in its queue.
fn bridged(class: Class) -> impl Iterator<Item = Case> {
    [1, 2].into_iter().map(move |publishers: u32| Case {
        name: format!("bridge-{}-{publishers}", class.name()),
        work: Work::Lasting(
            Flow {
                publishers: publishers as usize,
                window: QUEUE_MESSAGES / publishers,
                presence: Presence::Beyond,
                ..LASTING
            },
            class,
        ),
        aim: Some(0.33),
    })
}

/// One publisher and one subscriber at `qos`, with small, middling and large messages: at QoS 0 a thousand or a mebibyte of them on their way.
fn one_to_one(qos: u8) -> impl Iterator<Item = Case> {
    let aim = if qos == 0 { 0.08 } else { 0.20 };
    let sizes = [(64, "64B"), (1024, "1KiB"), (16 * 1024, "16KiB")];
    sizes.into_iter().map(move |(payload, shown)| {
        let window = (1024 * 1024 / payload as u32).min(ONE_TO_ONE.window);
        let flow = Flow {
            qos,
            payload,
            window,
            ..ONE_TO_ONE
        };
        Case {
            name: format!("1-1-qos{qos}-{shown}"),
            work: Work::Flow(flow),
            aim: (payload == ONE_TO_ONE.payload).then_some(aim),
        }
    })
}

/// One publisher, and `subscribers` that receive everything.
fn fan_out(subscribers: usize, qos: u8, window: u32) -> Work {
    Work::Flow(Flow {
        subscribers,
        qos,
        window,
        ..ONE_TO_ONE
    })
}

/// `publishers` and one subscriber, which has as many messages on their way as it has alone.
fn fan_in(publishers: usize) -> Work {
    let window = ONE_TO_ONE.window / publishers as u32;
    Work::Flow(Flow {
        publishers,
        window,
        ..ONE_TO_ONE
    })
}

impl Case {
    /// Runs the case once against a broker of its own. `None` if it makes no sense for this kind: the relay has only two sides.
    pub fn run(
        &self,
        kind: Kind,
        programs: &Programs,
        time: Duration,
    ) -> Option<io::Result<Found>> {
        if kind == Kind::Relay && !self.suits_the_relay() {
            return None;
        }
        if kind != Kind::Fosquitto && matches!(self.work, Work::Asked) {
            return None;
        }
        let tls = matches!(self.work, Work::Connections { tls: true } | Work::StartUp);
        let mut programs = programs.clone();
        // Where time counts, not processor time, the broker must not wait for the generator.
        if matches!(
            self.work,
            Work::Latency | Work::StartUp | Work::Restart | Work::Asked
        ) {
            programs.processors = programs.apart.clone();
        }
        Some(match self.work {
            Work::Lasting(flow, class) => {
                durability::run(flow, class, kind, &programs, time).map(costs)
            }
            Work::HeapUp(flow, messages) => {
                durability::heap_up(flow, messages, kind, &programs).map(heap)
            }
            Work::Restart => durability::restarted(kind, &programs)
                .and_then(|(_folder, broker)| self.measure(&broker, time)),
            _ => {
                let setup = Setup {
                    tls,
                    ..Setup::default()
                };
                Broker::start(kind, &programs, setup).and_then(|broker| {
                    self.measure(&broker, time)
                        .map_err(|error| broker.explain(error))
                })
            }
        })
    }

    /// Whether it depends on how long a sync takes.
    pub fn is_synced(&self) -> bool {
        matches!(self.work, Work::Lasting(..))
    }

    fn suits_the_relay(&self) -> bool {
        matches!(self.work, Work::Flow(flow) if flow.publishers == 1 && flow.subscribers == 1 && flow.filters == 0)
    }

    fn measure(&self, broker: &Broker, time: Duration) -> io::Result<Found> {
        match self.work {
            Work::Flow(flow) => measure_flow(flow, broker, time),
            Work::Latency => {
                let found = latency::run(broker, time)?;
                let figures = vec![
                    figure("µs median", found.median_us),
                    figure("µs p99", found.p99_us),
                    figure("CPU µs a message", found.processor_us),
                ];
                Ok(Found {
                    figures,
                    lost: found.lost,
                    ..Found::default()
                })
            }
            Work::Connections { .. } => {
                let found = connections::run(broker, time)?;
                Ok(only(vec![
                    figure("CPU µs a connection", found.processor_us),
                    figure("connections a second", found.rate),
                ]))
            }
            Work::Asked => {
                let socket = broker.folder().join("var/run/fosquitto/control.sock");
                let found = asked::run(broker, &socket, time)?;
                Ok(only(vec![
                    figure("ms until `status` is answered", found.status_ms),
                    figure("ms until `clients` is, 1,000 of them", found.clients_ms),
                    figure("µs for a round trip", found.alone_us),
                    figure("µs for a round trip meanwhile", found.meanwhile_us),
                    figure("µs for 99 of 100 meanwhile", found.meanwhile_p99_us),
                ]))
            }
            Work::Memory(thing, count) => {
                let each = memory::run(broker, thing, count)?;
                Ok(only(vec![
                    figure("B heap each", each.anonymous),
                    figure("B resident each", each.resident),
                ]))
            }
            Work::Lasting(..) | Work::HeapUp(..) => {
                Err(io::Error::other("it starts brokers of its own"))
            }
            Work::StartUp | Work::Restart => {
                let memory = broker.memory()?;
                Ok(only(vec![
                    figure(
                        "ms to the first CONNACK",
                        broker.start_up.as_secs_f64() * 1e3,
                    ),
                    figure("MB resident then", memory.resident / 1e6),
                    figure("MB heap then", memory.anonymous / 1e6),
                    figure("CPU ms", broker.processor_time_ns()? as f64 / 1e6),
                ]))
            }
        }
    }
}

/// Processor time a delivered message, after a first part that is not measured.
fn measure_flow(flow: Flow, broker: &Broker, time: Duration) -> io::Result<Found> {
    let mut driver = Driver::new(flow, broker)?;
    let first = driver.run(Amount::Time(time / 5))?;
    let before = broker.processor_time_ns()?;
    let started = std::time::Instant::now();
    let count = driver.run(Amount::Time(time))?;
    let seconds = started.elapsed().as_secs_f64();
    let used_us = (broker.processor_time_ns()? - before) as f64 / 1e3;
    let delivered = count.delivered as f64;
    let both = |of: fn(&Count) -> u64| of(&first) + of(&count);
    Ok(Found {
        figures: vec![
            figure("CPU µs a message", used_us / delivered),
            figure("messages a second", delivered / seconds),
        ],
        lost: both(|count| count.lost),
        disordered: both(|count| count.disordered),
    })
}

fn costs(found: durability::Costs) -> Found {
    let written = found.written;
    Found {
        figures: vec![
            figure("CPU µs a message", found.processor_us),
            figure(
                "CPU µs a message, with the end",
                found.processor_with_end_us,
            ),
            figure("messages a second", found.rate),
            figure("B to flash for 1,000", written.flash),
            figure("syncs for 1,000", written.syncs),
            figure("B to the journal for 1,000", written.journal),
        ],
        lost: found.lost,
        disordered: found.disordered,
    }
}

fn heap(found: durability::Heap) -> Found {
    only(vec![
        figure("MB resident more", found.resident / 1e6),
        figure("MB on flash at the end", found.flash / 1e6),
        figure("MB of the journal", found.journal / 1e6),
        figure("CPU µs a message", found.processor_us),
    ])
}

fn figure(what: &'static str, value: f64) -> Figure {
    Figure { what, value }
}

fn only(figures: Vec<Figure>) -> Found {
    Found {
        figures,
        ..Found::default()
    }
}
