//! Keep alive: who is silent for one and a half times as long as promised is taken for lost.

use std::time::{Duration, Instant};

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{BOTH, Connect};

#[test]
fn a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let start = Instant::now();
        let mut silent = broker.join(&Connect::new(version, "silent").keep_alive(1));
        silent.closed_because(0x8D);
        let silence = start.elapsed();
        assert!(
            silence >= Duration::from_millis(1400),
            "closed after {silence:?}"
        );
        assert!(silence < Duration::from_secs(8), "closed after {silence:?}");
    }
}

#[test]
fn a_silent_client_goes_before_one_that_promised_twice_as_long() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut longer = broker.join(&Connect::new(version, "longer").keep_alive(2));
        let mut shorter = broker.join(&Connect::new(version, "shorter").keep_alive(1));
        // However slow this machine is: the one is gone while the other is still there.
        shorter.closed_because(0x8D);
        longer.ping();
    }
}

#[test]
fn a_client_that_pings_stays_while_a_silent_one_goes() {
    let broker = Broker::start(LOCAL);
    let mut alive = broker.join(&Connect::new(BOTH[0], "alive").keep_alive(1));
    let mut silent = broker.join(&Connect::new(BOTH[1], "silent").keep_alive(3));
    while !silent.is_closed_within(Duration::from_millis(100)) {
        alive.ping();
    }
    alive.ping();
}

#[test]
fn a_client_without_keep_alive_may_be_silent() {
    let broker = Broker::start(LOCAL);
    let mut patient = broker.join(&Connect::new(BOTH[0], "patient").keep_alive(0));
    let mut silent = broker.join(&Connect::new(BOTH[1], "silent").keep_alive(1));
    silent.closed_because(0x8D);
    patient.ping();
}

#[test]
fn the_will_of_a_silent_client_is_published() {
    let broker = Broker::start(LOCAL);
    let mut watcher = broker.join(&Connect::new(BOTH[0], "watcher"));
    watcher.subscribe("will", 0);
    let _silent = broker.join(
        &Connect::new(BOTH[1], "silent")
            .keep_alive(1)
            .will("will", "gone"),
    );
    assert_eq!(watcher.text(), "gone");
}
