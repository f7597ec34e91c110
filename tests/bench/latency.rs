//! The time from a publisher's write to the subscriber's read while messages come at a steady rate: 1,000 a second, QoS 0, 64 B. The generator waits
//! without sleeping, so what is measured is the broker's and the kernel's share, not its own wake-up.

use std::io;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::Client;
use crate::packet::{Publish, kind};

const INTERVAL: Duration = Duration::from_millis(1);
const PAYLOAD: usize = 64;
/// A message that takes longer than this is lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a run found.
pub struct Latency {
    /// Half of the messages were at least as fast, in microseconds.
    pub median_us: f64,
    /// All but one of a hundred were at least as fast, in microseconds.
    pub p99_us: f64,
    /// Processor time of the broker, in microseconds a message.
    pub processor_us: f64,
    /// Messages that did not arrive.
    pub lost: u64,
}

/// Publishes for `time`, one message a millisecond.
pub fn run(broker: &Broker, time: Duration) -> io::Result<Latency> {
    let mut subscriber = Client::connect(broker.port, "bench-s0")?;
    subscriber.subscribe(&["bench/latency".to_owned()], 0)?;
    let mut publisher = Client::connect(broker.port, "bench-p0")?;
    subscriber.stop_blocking()?;
    publisher.stop_blocking()?;
    let message = Publish::new("bench/latency", 0, PAYLOAD, false);
    let total = (time.as_nanos() / INTERVAL.as_nanos()) as u32;
    let mut sent_at: Vec<Instant> = Vec::with_capacity(total as usize);
    let mut taken_us: Vec<f64> = Vec::with_capacity(total as usize);
    let mut buffer = vec![0; 64 * 1024];
    let before = broker.processor_time_ns()?;
    let started = Instant::now();
    while (taken_us.len() as u32) < total {
        let now = Instant::now();
        let next = sent_at.len() as u32;
        if next < total && now >= started + INTERVAL * next {
            message.append_to(&mut publisher.output, 0, next);
            sent_at.push(now);
            publisher.flush()?;
        } else if next == total && now > started + INTERVAL * total + PATIENCE {
            break;
        }
        subscriber.read(&mut buffer, |frame, _| {
            if frame.kind == kind::PUBLISH
                && let Some(sent) = frame
                    .delivery(false)
                    .and_then(|delivery| sent_at.get(delivery.sequence as usize))
            {
                taken_us.push(sent.elapsed().as_secs_f64() * 1e6);
            }
        })?;
        // Where the broker has no processor of its own, it gets this one.
        std::thread::yield_now();
    }
    let processor_us =
        (broker.processor_time_ns()? - before) as f64 / 1e3 / f64::from(total.max(1));
    taken_us.sort_by(f64::total_cmp);
    let at = |share: f64| {
        taken_us
            .get((taken_us.len() as f64 * share) as usize)
            .copied()
            .unwrap_or(f64::NAN)
    };
    let lost = u64::from(total) - taken_us.len() as u64;
    Ok(Latency {
        median_us: at(0.5),
        p99_us: at(0.99),
        processor_us,
        lost,
    })
}
