//! The table of cases: each has a name, a way to run it once against one broker, and what it finds there. A new case is a new line in [`all`].

use std::io;
use std::time::Duration;

use crate::broker::{Broker, Kind, Programs};
use crate::connections;
use crate::flow::{Amount, Count, Driver, Flow};
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

/// A flow at QoS 0 with 64 B, from which the cases differ.
const BASE: Flow = Flow {
    publishers: 1,
    subscribers: 1,
    shared: true,
    qos: 0,
    payload: 64,
    window: 1000,
    filters: 0,
};

/// All cases, in the order of the report.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for qos in 0..3_u8 {
        for (payload, shown) in [(64, "64B"), (1024, "1KiB"), (16 * 1024, "16KiB")] {
            let flow = Flow {
                qos,
                payload,
                window: one_to_one_window(payload),
                ..BASE
            };
            let aim = [0.08, 0.20, 0.20][usize::from(qos)];
            cases.push(case(
                format!("1-1-qos{qos}-{shown}"),
                Work::Flow(flow),
                (payload == 64).then_some(aim),
            ));
        }
    }
    let mut flow = |name: &str, flow: Flow, aim: Option<f64>| {
        cases.push(case(name.to_owned(), Work::Flow(flow), aim))
    };
    flow(
        "1-100-qos0",
        Flow {
            subscribers: 100,
            window: 400,
            ..BASE
        },
        Some(0.09),
    );
    flow(
        "1-1000-qos0",
        Flow {
            subscribers: 1000,
            window: 100,
            ..BASE
        },
        None,
    );
    flow(
        "1-100-qos1",
        Flow {
            subscribers: 100,
            qos: 1,
            window: 400,
            ..BASE
        },
        Some(0.12),
    );
    flow(
        "100-1-qos0",
        Flow {
            publishers: 100,
            window: 10,
            ..BASE
        },
        None,
    );
    let fifty = Flow {
        publishers: 50,
        subscribers: 50,
        qos: 1,
        ..BASE
    };
    flow(
        "50-50-qos1",
        Flow {
            shared: false,
            window: 400,
            ..fifty
        },
        Some(0.16),
    );
    // Every subscriber has 50 publishers; its queue of 1,000 messages bounds what each of them may have on its way.
    flow(
        "50-50-all-qos1",
        Flow {
            window: 20,
            ..fifty
        },
        Some(0.16),
    );
    flow(
        "wildcards-10000",
        Flow {
            filters: 10_000,
            ..BASE
        },
        Some(0.12),
    );
    let mut other =
        |name: &str, work: Work, aim: Option<f64>| cases.push(case(name.to_owned(), work, aim));
    other("connect-plain", Work::Connections { tls: false }, Some(1.0));
    other("connect-tls", Work::Connections { tls: true }, Some(1.05));
    other("latency-1000", Work::Latency, None);
    other("idle-1000", Work::Memory(Thing::Connection, 1_000), None);
    other("idle-10000", Work::Memory(Thing::Connection, 10_000), None);
    other(
        "subscriptions-10000",
        Work::Memory(Thing::Subscription, 10_000),
        None,
    );
    other(
        "retained-10000",
        Work::Memory(Thing::RetainedMessage, 10_000),
        None,
    );
    other("start-up", Work::StartUp, None);
    cases
}

/// The flow whose instructions are counted: 1→1, QoS 0, 64 B.
pub fn counted_flow() -> Flow {
    Flow {
        window: 500,
        ..BASE
    }
}

fn case(name: String, work: Work, aim: Option<f64>) -> Case {
    Case { name, work, aim }
}

/// A thousand messages, but not more than a mebibyte.
fn one_to_one_window(payload: usize) -> u32 {
    (1024 * 1024 / payload as u32).min(1000)
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
        let tls = matches!(self.work, Work::Connections { tls: true } | Work::StartUp);
        Some(Broker::start(kind, programs, tls).and_then(|broker| {
            self.measure(&broker, time)
                .map_err(|error| broker.explain(error))
        }))
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
            Work::Memory(thing, count) => {
                let each = memory::run(broker, thing, count)?;
                Ok(only(vec![
                    figure("B heap each", each.anonymous),
                    figure("B resident each", each.resident),
                ]))
            }
            Work::StartUp => {
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

fn figure(what: &'static str, value: f64) -> Figure {
    Figure { what, value }
}

fn only(figures: Vec<Figure>) -> Found {
    Found {
        figures,
        ..Found::default()
    }
}
