//! One bridge's task: when it connects, in which version of MQTT, and when again. Entered through [`run`], left when the bridge is stopped.
//!
//! All addresses are tried in their order, then it waits: for a random time between the shortest and three times the last, but not longer
//! than the longest (decorrelated jitter), so that bridges that have lost one broker do not come back all at once. What happens on a
//! connection is `wire`'s matter.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ntex::io::IoBoxed;
use ntex::time::{Millis, sleep};
use ntex::util::{Either, select};

use super::outward::Outward;
use super::wire::{self, Ended, Wire};
use super::{Bridge, Phase, Surroundings};
use crate::config::bridge::{BridgeProtocol, Remote};
use crate::log::Escaped;
use crate::mqtt::Version;
use crate::net::dial::{self, Source, Target};
use crate::net::hub::Hub;
use crate::net::table::Address;
use crate::net::tls::client::{self, ClientTls};

/// A connection that was up for so long was a good one: the next attempt is as soon as the first.
const STABLE_MS: u64 = 30_000;

/// The longest that a dead line goes unnoticed while something is to go over it.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Which words a CONNECT is said in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub version: Version,
    /// Whether the level says that this is a bridge, in 3.1.1.
    pub is_private: bool,
}

/// Connects until the bridge is stopped.
pub(super) async fn run<H: Hub>(hub: Rc<H>, bridge: Rc<Bridge>, surroundings: Surroundings) {
    let (least, most) = bridge.config.restart;
    let mut backoff = Backoff::new(least, most);
    let mut told = Told::default();
    let mut silent = Vec::new();
    while !bridge.is_stopped.get() {
        // A nudge during the attempt is for the next one: this may have begun before what has changed.
        bridge.is_nudged.set(false);
        bridge.set_phase(Phase::Connecting, hub.time());
        let ended = attempt(&hub, &bridge, &mut silent, &surroundings).await;
        if bridge.is_stopped.get() {
            break;
        }
        if ended.up_ms >= STABLE_MS {
            backoff.reset();
        }
        let wait = backoff.next((surroundings.chance)());
        told.tell(&bridge, &ended, wait);
        bridge.set_phase(Phase::Waiting, hub.time());
        bridge.state.borrow_mut().last_error = Some(ended.why);
        let slept = sleep(Millis(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)));
        if let Either::Right(()) = select(slept, called(&bridge)).await {
            backoff.reset();
        }
    }
}

/// Tries all addresses, and serves the first connection that comes to something. `silent` are those that closed without a word the last time.
///
/// Each begins in the first form: what kept it from being understood the last time may have been the line, or a program that has since
/// been replaced by a newer one.
async fn attempt<H: Hub>(
    hub: &Rc<H>,
    bridge: &Rc<Bridge>,
    silent: &mut Vec<Remote>,
    surroundings: &Surroundings,
) -> Ended {
    let mut ended = Ended::before("it has no address".into());
    let remotes = remotes(bridge, surroundings);
    silent.retain(|remote| remotes.contains(remote));
    for remote in &remotes {
        let mut form = Form::first(bridge);
        bridge.state.borrow_mut().address = remote.to_string();
        // From one form to the next there is no waiting; there are three at most.
        loop {
            bridge.state.borrow_mut().attempts += 1;
            let connecting = pin!(connect(bridge, remote, surroundings));
            let connected = match select(connecting, stopped(bridge)).await {
                Either::Left(connected) => connected,
                Either::Right(()) => return Ended::before("stopped".into()),
            };
            let (io, address) = match connected {
                Ok(connected) => connected,
                Err(why) => {
                    hub.table().borrow().sweep();
                    ended = Ended::before(why);
                    break;
                }
            };
            ended = serve(hub, bridge, form, io, address).await;
            let is_misunderstood = is_misunderstood(&ended, form, remote, silent, bridge);
            if ended.up_ms > 0 {
                rank(bridge, remote, surroundings, true);
            }
            if ended.up_ms > 0 || bridge.is_stopped.get() {
                return ended;
            }
            match form.after(bridge).filter(|_| is_misunderstood) {
                Some(next) => form = next,
                None => break,
            }
        }
        rank(bridge, remote, surroundings, false);
    }
    ended
}

/// Whether the remote broker does not know what was said to it in this form. Many a broker that does not know a version closes without a word; but so
/// does a line that fails, and whoever can cut one, and what stands before a broker that is being started. So that counts only when the
/// first form met with it twice in a row.
fn is_misunderstood(
    ended: &Ended,
    form: Form,
    remote: &Remote,
    silent: &mut Vec<Remote>,
    bridge: &Bridge,
) -> bool {
    if form != Form::first(bridge) {
        return ended.is_misunderstood || ended.is_closed_early;
    }
    let was_silent = silent.contains(remote);
    if !ended.is_closed_early {
        silent.retain(|other| other != remote);
    } else if !was_silent {
        silent.push(remote.clone());
    }
    ended.is_misunderstood || (ended.is_closed_early && was_silent)
}

/// Where the remote broker may be: as it is configured, or as a subordinate is found.
fn remotes(bridge: &Bridge, surroundings: &Surroundings) -> Vec<Remote> {
    let configured = &bridge.config.remotes;
    match &bridge.config.found {
        Some(id) => surroundings.finder.candidates(id, configured),
        None => configured.clone(),
    }
}

/// Notes whether a subordinate was there.
fn rank(bridge: &Bridge, remote: &Remote, surroundings: &Surroundings, was_there: bool) {
    match &bridge.config.found {
        Some(id) if was_there => surroundings.finder.succeeded(id, remote),
        Some(id) => surroundings.finder.failed(id, remote),
        None => {}
    }
}

/// Serves one connection to its end.
async fn serve<H: Hub>(
    hub: &Rc<H>,
    bridge: &Rc<Bridge>,
    form: Form,
    io: IoBoxed,
    address: Address,
) -> Ended {
    let outward = Rc::new(Outward {
        bridge: bridge.clone(),
        name: format!("bridge '{}'", Escaped(&bridge.config.name)),
        has_layers: bridge.config.tls.is_some(),
        is_v5: Cell::new(form.version.is_v5()),
        echoes: !form.version.is_v5() && !form.is_private,
        retains: Cell::new(true),
        trail: hub.trail().clone(),
    });
    let ended = match Wire::open(hub.clone(), bridge.clone(), outward, form, io, address) {
        Ok(wire) => wire.await,
        Err(why) => Ended::before(why),
    };
    if let Some(connection) = bridge.connection.take() {
        wire::forget(&**hub, connection);
    }
    ended
}

async fn connect(
    bridge: &Bridge,
    remote: &Remote,
    surroundings: &Surroundings,
) -> Result<(IoBoxed, Address), String> {
    let config = &bridge.config;
    let target = Target {
        remote: remote.clone(),
        tls: tls(bridge, surroundings).await?,
        from: Source {
            address: config.bind_address,
            device: config.bind_device.clone(),
        },
        timeout: config.connect_timeout,
        silence: silence(config.keep_alive_s),
    };
    let sockets = surroundings.sockets.clone();
    match surroundings.dialer.dial(&target, sockets).await {
        Ok(dialed) => Ok((dialed.io, Address::Ip(dialed.peer))),
        Err(failure) => Err(failure.to_string()),
    }
}

/// For how long what was sent may stay without a sign that it has arrived: half the keep alive, but neither less than the remote broker has for
/// an answer to PINGREQ nor more than [`SILENCE_MAX`]. A line that is dead without having said so is noticed then, not when the next PINGREQ
/// stays without an answer; one that only loses much comes back within.
fn silence(keep_alive_s: u16) -> Duration {
    let keep_alive = Duration::from_secs(keep_alive_s.into());
    let patience = keep_alive.min(Duration::from_millis(wire::PATIENCE_MS));
    (keep_alive / 2).clamp(patience, SILENCE_MAX)
}

/// What the bridge's TLS files say; they are read at the first attempt, where they are others than they were, and after a reload. A file of a
/// hundred CAs takes a router a good part of a second, so that is not the loop's matter.
async fn tls(bridge: &Bridge, surroundings: &Surroundings) -> Result<Option<ClientTls>, String> {
    let Some(config) = &bridge.config.tls else {
        return Ok(None);
    };
    let stamp = client::Stamp::of(config, &surroundings.root);
    if let Some((read, tls)) = &*bridge.tls.borrow()
        && *read == stamp
    {
        return Ok(Some(tls.clone()));
    }
    let (config, root) = (config.clone(), surroundings.root.clone());
    let built = dial::aside("files", move || ClientTls::build(&config, &root)).await?;
    let tls = built.map_err(|faults| faults.join("; "))?;
    for warning in tls.warnings() {
        log::warn!("bridge '{}': {warning}", Escaped(&bridge.config.name));
    }
    bridge.tls.replace(Some((stamp, tls.clone())));
    Ok(Some(tls))
}

/// Waits until the bridge is to do something else than to wait.
async fn called(bridge: &Bridge) {
    poll_fn(|cx| {
        bridge.stop.register(cx.waker());
        match bridge.is_stopped.get() || bridge.is_nudged.take() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// Waits until the bridge is stopped.
async fn stopped(bridge: &Bridge) {
    poll_fn(|cx| {
        bridge.stop.register(cx.waker());
        match bridge.is_stopped.get() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

impl Form {
    /// The one to begin with.
    fn first(bridge: &Bridge) -> Form {
        Form {
            version: match bridge.config.protocol {
                BridgeProtocol::Auto | BridgeProtocol::V5 => Version::V5,
                BridgeProtocol::V311 => Version::V3_1_1,
            },
            is_private: bridge.config.try_private,
        }
    }

    /// The one after this, where this was not understood; `None` when there is no other.
    fn after(self, bridge: &Bridge) -> Option<Form> {
        if self.version.is_v5() {
            return (bridge.config.protocol == BridgeProtocol::Auto).then_some(Form {
                version: Version::V3_1_1,
                is_private: bridge.config.try_private,
            });
        }
        self.is_private.then_some(Form {
            is_private: false,
            ..self
        })
    }
}

/// How long to wait before the next attempt.
#[derive(Debug)]
struct Backoff {
    least: Duration,
    most: Duration,
    last: Duration,
}

impl Backoff {
    fn new(least: Duration, most: Duration) -> Backoff {
        Backoff {
            least,
            most,
            last: least,
        }
    }

    fn reset(&mut self) {
        self.last = self.least;
    }

    /// The next wait, by a random number.
    fn next(&mut self, chance: u64) -> Duration {
        let most = (self.last * 3).clamp(self.least, self.most);
        let range = most - self.least;
        let share = (chance >> 32) as u32;
        self.last = self.least + range.mul_f64(f64::from(share) / f64::from(u32::MAX));
        self.last
    }
}

/// What the log was told of failures: the same again and again is told ever more seldom.
#[derive(Debug, Default)]
struct Told {
    why: String,
    count: u32,
}

impl Told {
    fn tell(&mut self, bridge: &Bridge, ended: &Ended, wait: Duration) {
        if self.why != ended.why || ended.up_ms > 0 {
            self.why.clone_from(&ended.why);
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        if self.count.is_power_of_two() {
            let name = Escaped(&bridge.config.name);
            let (why, address) = (&ended.why, bridge.state.borrow().address.clone());
            let seconds = wait.as_secs_f32();
            let again = if self.count > 1 {
                format!(" ({} times)", self.count)
            } else {
                String::new()
            };
            log::warn!("bridge '{name}': {address}: {why}{again}; next attempt in {seconds:.1} s");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_line_is_noticed_before_the_keep_alive_is_over() {
        let after = |keep_alive_s, silence_s| {
            assert_eq!(silence(keep_alive_s), Duration::from_secs(silence_s));
        };
        after(1, 1);
        after(10, 10);
        after(30, 15);
        after(60, 30);
        after(u16::MAX, 30);
    }

    #[test]
    fn the_waits_grow_within_their_bounds_and_begin_anew() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(5), seconds(30));
        assert_eq!(backoff.next(0), seconds(5));
        assert_eq!(backoff.next(u64::MAX), seconds(15));
        assert_eq!(backoff.next(u64::MAX), seconds(30));
        assert_eq!(backoff.next(u64::MAX), seconds(30));
        backoff.reset();
        assert_eq!(backoff.next(u64::MAX), seconds(15));
    }
}
