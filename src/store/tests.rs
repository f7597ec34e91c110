//! The whole store against a model: whatever is said, written, compacted, killed or stopped, what comes back is what was said.
//!
//! The model carries out every operation to the letter. The store's two ends run on the test's thread, so that a crash happens
//! between any two of its steps. `FOSQUITTO_SEED=` repeats the run whose seed was printed.

mod busy;
mod damaged;
mod failures;
mod power_cuts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::folder::Folder;
use super::vfs::Vfs;
use super::worker::{Order, Worker};
use super::{Class, Event, Parts, Recovery, Settings, Store, recover};
use crate::broker::effect::SessionId;
use crate::broker::{Owner, Restored, StoreOp, Time};
use crate::mqtt::message::Parts as MessageParts;
use crate::mqtt::packet::{RetainHandling, SubscriptionOptions};
use crate::mqtt::{Message, PacketId, Qos};

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    sessions: BTreeMap<u64, Session>,
    retained: BTreeMap<String, Vec<u8>>,
    /// By message: its payload, its publisher, and until when.
    kept: BTreeMap<u64, (Vec<u8>, Option<u64>, u64)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Session {
    client_id: String,
    user: Option<String>,
    expiry_s: u32,
    offline_since: Option<u64>,
    subscriptions: BTreeMap<String, (u8, bool, Option<u32>)>,
    queue: Vec<Waiting>,
    waiting: Vec<Waiting>,
    inflight: Vec<(u16, Option<Waiting>)>,
    taken: BTreeSet<u16>,
    will: Option<(Vec<u8>, u32, Option<u32>)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Waiting {
    message: u64,
    payload: Vec<u8>,
    qos: u8,
    ids: Vec<u32>,
    share: Option<String>,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        (!all.is_empty()).then(|| &all[self.below(all.len() as u64) as usize])
    }
}

/// A store whose thread is the test.
struct World {
    folder: Folder,
    random: Random,
    model: Model,
    vfs: &'static Vfs,
    class: Class,
    /// How long retained messages rest, from the next start on.
    rest: Duration,
    ends: Option<(Store, Worker, Receiver<Order>)>,
    /// Until which number everything was said to be safe.
    committed: Arc<AtomicU64>,
    /// What else is done when that is said.
    on_commit: OnCommit,
    message: u64,
    session: u64,
    now: u64,
}

/// Called with the number up to which everything is said to be safe.
type OnCommit = Arc<Mutex<dyn FnMut(u64) + Send>>;

fn settings(folder: &Path, class: Class) -> Settings {
    Settings {
        path: folder.join("fosquitto.db"),
        class,
        classes: Vec::new(),
        flush_interval: Duration::from_secs(3600),
        rest: Duration::ZERO,
        size_limit: None,
        daily_budget: 0,
    }
}

impl World {
    fn new(seed: u64, class: Class) -> World {
        World::on(seed, class, plain(), Arc::new(Mutex::new(|_| {})))
    }

    fn on(seed: u64, class: Class, vfs: &'static Vfs, on_commit: OnCommit) -> World {
        let mut world = World {
            folder: Folder::make(),
            random: Random(seed),
            model: Model::default(),
            vfs,
            class,
            rest: Duration::ZERO,
            ends: None,
            committed: Arc::default(),
            on_commit,
            message: 0,
            session: 0,
            now: 1000,
        };
        world.start();
        world
    }

    /// Starts the store; what it gives back is the model.
    fn start(&mut self) {
        let folder = self.folder.path();
        let mut parts = parts(folder, &folder.join("run"), self.class, self.vfs);
        parts.settings.rest = self.rest;
        let recovery = recover(parts);
        let recovery = recovery.expect("nobody else is there");
        assert_eq!(found(&recovery), self.model);
        let (committed, on_commit) = (self.committed.clone(), self.on_commit.clone());
        self.ends = Some(recovery.begin(Box::new(move |event: Event| {
            if let Event::Committed(number) = event {
                committed.store(number, Ordering::SeqCst);
                let mut on_commit = on_commit.lock().expect("nobody panics while holding it");
                on_commit(number);
            }
        })));
    }

    fn say(&mut self, operation: StoreOp<'_>) {
        let (store, ..) = self.ends.as_mut().expect("it runs");
        store.record(&operation, self.now);
    }

    /// Ends a turn, after which the thread may run or not; the number of the last operation.
    fn turn_ends(&mut self) -> u64 {
        let (store, worker, orders) = self.ends.as_mut().expect("it runs");
        let number = store.end_turn();
        if self.random.below(3) == 0 {
            worker.turn(orders.try_iter());
        }
        number
    }

    /// Ends the turn, and has its changes written; the number of the last one.
    fn commit(&mut self) -> u64 {
        let (store, ..) = self.ends.as_mut().expect("it runs");
        let number = store.end_turn();
        self.flush();
        number
    }

    fn let_thread_run(&mut self) {
        let (_, worker, orders) = self.ends.as_mut().expect("it runs");
        worker.turn(orders.try_iter());
    }

    fn flush(&mut self) {
        let (_, worker, orders) = self.ends.as_mut().expect("it runs");
        worker.turn(orders.try_iter().chain([Order::Flush]));
    }

    /// Has everything written that is for flash at the end of an interval.
    fn end_interval(&mut self) {
        let (store, worker, orders) = self.ends.as_mut().expect("it runs");
        store.flush(self.now);
        worker.turn(orders.try_iter());
    }

    /// Begins a segment of the journal before the present one is full.
    fn begin_segment(&mut self) {
        let (store, ..) = self.ends.as_mut().expect("it runs");
        store.begin_segment();
    }

    fn crash(&mut self) {
        drop(self.ends.take());
        self.start();
    }

    fn stop(&mut self) {
        let (mut store, mut worker, orders) = self.ends.take().expect("it runs");
        store.end_turn();
        worker.turn(orders.try_iter());
        worker.end();
        // The place is one's only, for as long as it runs.
        drop(store);
        self.start();
    }
}

/// What a store is made of whose database and whose journal are in these folders.
fn parts(folder: &Path, journal: &Path, class: Class, vfs: &'static Vfs) -> Parts {
    Parts {
        directory: journal.to_owned(),
        settings: settings(folder, class),
        vfs,
        seed: 7,
        boot: 1,
        boot_ms: || 1000,
        wall_s: || None,
    }
}

/// What a store gives back.
fn found(recovery: &Recovery) -> Model {
    let (mut found, mut messages) = (Model::default(), BTreeMap::new());
    let mut numbers = (0, 0);
    recovery.load(|item| {
        found.take(item, &mut messages, &mut numbers);
        Ok(())
    });
    let highest = found.sessions.keys().max().copied().unwrap_or(0);
    assert!(numbers.1 >= highest && numbers.0 >= messages.keys().max().copied().unwrap_or(0));
    found
}

/// What a folder's database has by itself, without a journal; it is looked at in a folder of its own.
fn on_flash(folder: &Path) -> Model {
    let (copy, vfs) = (Folder::make(), plain());
    for entry in std::fs::read_dir(folder).expect("it can be read") {
        let from = entry.expect("an entry can be read").path();
        if from.is_file() {
            let name = from.file_name().expect("an entry has a name");
            std::fs::copy(&from, copy.path().join(name)).expect("it can be copied");
        }
    }
    let journal = copy.path().join("run");
    found(&recover(parts(copy.path(), &journal, Class::Interval, vfs)).expect("it can be made"))
}

/// A VFS that does what it is asked to. One is enough, as none is ever given back.
fn plain() -> &'static Vfs {
    static PLAIN: OnceLock<&'static Vfs> = OnceLock::new();
    PLAIN.get_or_init(|| Vfs::register(None).expect("SQLite takes a VFS"))
}

impl Model {
    /// What of it is for flash: QoS 0 messages that wait, and what the keeper has, are not.
    fn for_flash(&self) -> Model {
        let mut model = self.clone();
        let sessions = model.sessions.values_mut();
        sessions.for_each(|session| session.waiting.clear());
        model.kept.clear();
        model
    }

    fn take(
        &mut self,
        item: Restored<'_>,
        messages: &mut BTreeMap<u64, (String, Vec<u8>)>,
        numbers: &mut (u64, u64),
    ) {
        match item {
            Restored::Numbers { message, session } => *numbers = (message, session),
            Restored::Message {
                id, topic, payload, ..
            } => {
                let body = (topic.to_owned(), payload.to_vec());
                assert!(messages.insert(id, body).is_none(), "each comes once");
            }
            Restored::Session {
                session,
                client_id,
                owner,
                expiry_s,
                offline_since,
            } => {
                let made = Session {
                    client_id: client_id.to_owned(),
                    user: owner.user().map(str::to_owned),
                    expiry_s,
                    offline_since: offline_since.map(|Time(at)| at),
                    ..Session::default()
                };
                assert!(self.sessions.insert(session.0, made).is_none());
            }
            Restored::Subscription {
                session,
                filter,
                options,
                subscription_id,
            } => {
                let what = (options.qos as u8, options.no_local, subscription_id);
                self.of(session)
                    .subscriptions
                    .insert(filter.to_owned(), what);
            }
            Restored::Queued {
                session,
                message,
                qos,
                subscription_ids,
                share,
                packet_id,
                ..
            } => {
                let waiting = Waiting {
                    message,
                    payload: messages[&message].1.clone(),
                    qos: qos as u8,
                    ids: subscription_ids.to_vec(),
                    share: share.map(str::to_owned),
                };
                let session = self.of(session);
                match packet_id {
                    Some(id) => session.inflight.push((id.value(), Some(waiting))),
                    None if qos == Qos::AtMostOnce => session.waiting.push(waiting),
                    None => session.queue.push(waiting),
                }
            }
            item => self.take_rest(item, messages),
        }
    }

    fn take_rest(&mut self, item: Restored<'_>, messages: &BTreeMap<u64, (String, Vec<u8>)>) {
        match item {
            Restored::Kept {
                message,
                publisher,
                until,
            } => {
                let kept = (
                    messages[&message].1.clone(),
                    publisher.map(|it| it.0),
                    until.0,
                );
                assert!(self.kept.insert(message, kept).is_none());
            }
            Restored::PubRel { session, packet_id } => {
                self.of(session).inflight.push((packet_id.value(), None));
            }
            Restored::Taken { session, packet_id } => {
                self.of(session).taken.insert(packet_id.value());
            }
            Restored::Retained { message } => {
                let (topic, payload) = messages[&message].clone();
                self.retained.insert(topic, payload);
            }
            Restored::Will {
                session,
                message,
                delay_s,
                expiry_s,
            } => {
                let payload = messages[&message].1.clone();
                self.of(session).will = Some((payload, delay_s, expiry_s));
            }
            _ => unreachable!("take knows the others"),
        }
    }

    fn of(&mut self, session: SessionId) -> &mut Session {
        self.sessions
            .get_mut(&session.0)
            .expect("a session comes first")
    }
}

impl World {
    fn message(&mut self, topic: &str, qos: Qos) -> Message {
        self.message += 1;
        let size = if self.random.below(50) == 0 {
            30_000
        } else {
            self.random.below(40)
        };
        let payload: Vec<u8> = (0..size).map(|at| (self.message + at) as u8).collect();
        let parts = MessageParts {
            topic,
            properties: &[],
            payload: &payload,
            qos,
            retain: false,
            expires_at_ms: None,
        };
        Message::new(self.message, parts)
    }

    fn step(&mut self) {
        self.now += self.random.below(500);
        let ids: Vec<u64> = self.model.sessions.keys().copied().collect();
        let chosen = self.random.one_of(&ids).copied();
        match (self.random.below(16), chosen) {
            (0, _) if ids.len() < 6 => self.make_session(),
            (1, _) | (_, None) if self.random.below(3) > 0 => self.retain(),
            (1, _) | (_, None) => self.keep(),
            (2, Some(id)) if self.random.below(8) == 0 => {
                self.say(StoreOp::SessionEnded {
                    session: SessionId(id),
                });
                self.model.sessions.remove(&id);
            }
            (3, Some(id)) => self.come_or_go(id),
            (4, Some(id)) => self.subscribe(id),
            (5, Some(id)) => self.will(id),
            (6 | 7, Some(id)) => self.take(id),
            (8..=10, Some(id)) => self.queue(id),
            (_, Some(id)) => self.advance(id),
        }
    }

    fn make_session(&mut self) {
        self.session += 1;
        let (id, client_id) = (self.session, format!("client-{}", self.session));
        let owner = Owner::of((id % 2 == 0).then_some("user"));
        let expiry_s = 100;
        self.say(StoreOp::SessionMade {
            session: SessionId(id),
            client_id: &client_id,
            owner: &owner,
            expiry_s,
        });
        let user = owner.user().map(str::to_owned);
        let made = Session {
            client_id,
            user,
            expiry_s,
            ..Session::default()
        };
        self.model.sessions.insert(id, made);
    }

    fn come_or_go(&mut self, id: u64) {
        let now = self.now;
        let session = self.model.sessions.get_mut(&id).expect("it was chosen");
        let connected = session.offline_since.is_some();
        session.offline_since = (!connected).then_some(now);
        session.expiry_s += 1;
        session.waiting.clear();
        let expiry_s = session.expiry_s;
        self.say(StoreOp::SessionChanged {
            session: SessionId(id),
            expiry_s,
            connected,
        });
    }

    fn subscribe(&mut self, id: u64) {
        let filter = format!("filter/{}", self.random.below(4));
        let session = self.model.sessions.get_mut(&id).expect("it was chosen");
        if session.subscriptions.remove(&filter).is_some() && self.random.below(2) == 0 {
            return self.say(StoreOp::Unsubscribed {
                session: SessionId(id),
                filter: &filter,
            });
        }
        let subscription_id = Some(self.random.below(3) as u32).filter(|id| *id > 0);
        session
            .subscriptions
            .insert(filter.clone(), (1, true, subscription_id));
        self.say(StoreOp::Subscribed {
            session: SessionId(id),
            filter: &filter,
            options: SubscriptionOptions {
                qos: Qos::AtLeastOnce,
                no_local: true,
                retain_as_published: false,
                retain_handling: RetainHandling::SendIfNew,
            },
            subscription_id,
        });
    }

    fn will(&mut self, id: u64) {
        let session = SessionId(id);
        if self.model.of(session).will.take().is_some() {
            return self.say(StoreOp::WillCleared { session });
        }
        let message = self.message("will", Qos::AtLeastOnce);
        self.model.of(session).will = Some((message.payload().to_vec(), 5, None));
        self.say(StoreOp::WillSet {
            session,
            message: &message,
            delay_s: 5,
            expiry_s: None,
        });
    }

    fn take(&mut self, id: u64) {
        let packet_id = PacketId::new(1 + self.random.below(5) as u16).expect("not 0");
        let session = SessionId(id);
        if self.model.of(session).taken.remove(&packet_id.value()) {
            self.say(StoreOp::Released { session, packet_id });
        } else {
            self.model.of(session).taken.insert(packet_id.value());
            self.say(StoreOp::Taken { session, packet_id });
        }
    }

    fn make_retained(&mut self) {
        let topic = format!("topic/{}", self.random.below(6));
        let message = self.message(&topic, Qos::AtMostOnce);
        self.model
            .retained
            .insert(topic, message.payload().to_vec());
        self.say(StoreOp::Retained { message: &message });
    }

    fn retain(&mut self) {
        let topic = format!("topic/{}", self.random.below(6));
        if self.model.retained.remove(&topic).is_some() && self.random.below(2) == 0 {
            return self.say(StoreOp::RetainCleared { topic: &topic });
        }
        let message = self.message(&topic, Qos::AtMostOnce);
        self.model
            .retained
            .insert(topic, message.payload().to_vec());
        self.say(StoreOp::Retained { message: &message });
    }

    /// The keeper takes a message, which may be a retained one or wait for sessions too, or gives one up.
    fn keep(&mut self) {
        let ids: Vec<u64> = self.model.kept.keys().copied().collect();
        if let Some(message) = self.random.one_of(&ids).copied()
            && self.random.below(2) == 0
        {
            self.model.kept.remove(&message);
            return self.say(StoreOp::KeptGone { message });
        }
        let message = self.message("topic/kept", Qos::AtMostOnce);
        let payload = message.payload().to_vec();
        if self.random.below(2) == 0 {
            let topic = message.topic().to_owned();
            self.model.retained.insert(topic, payload.clone());
            self.say(StoreOp::Retained { message: &message });
        }
        let publisher = Some(SessionId(self.random.below(3))).filter(|id| id.0 > 0);
        let until = Time(self.now + 5_000);
        let kept = (payload, publisher.map(|id| id.0), until.0);
        self.model.kept.insert(message.id(), kept);
        self.say(StoreOp::Kept {
            message: &message,
            publisher,
            until,
        });
    }

    /// A message for one session or for several.
    fn queue(&mut self, id: u64) {
        let qos =
            [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][self.random.below(3) as usize];
        let message = self.message("queued", qos);
        let mut all: Vec<u64> = self.model.sessions.keys().copied().collect();
        if self.random.below(3) > 0 {
            all = vec![id];
        }
        for id in all {
            let share = (self.random.below(6) == 0).then_some("$share/group/queued");
            let ids: Vec<u32> = (0..self.random.below(3) as u32).collect();
            let session = self.model.sessions.get_mut(&id).expect("it is there");
            let waiting = Waiting {
                message: message.id(),
                payload: message.payload().to_vec(),
                qos: qos as u8,
                ids: ids.clone(),
                share: share.map(str::to_owned),
            };
            let mut packet_id = None;
            let held = session.waiting.len() + session.queue.len() + session.inflight.len();
            if held > 20 {
                continue;
            }
            match qos {
                Qos::AtMostOnce if session.offline_since.is_none() => continue,
                Qos::AtMostOnce => session.waiting.push(waiting),
                _ if self.random.below(2) == 0 => session.queue.push(waiting),
                _ => {
                    let free = session.free_id();
                    packet_id = PacketId::new(free);
                    session.inflight.push((free, Some(waiting)));
                }
            }
            self.say(StoreOp::Queued {
                session: SessionId(id),
                message: &message,
                qos,
                retain: false,
                subscription_ids: &ids,
                share,
                packet_id,
            });
        }
    }

    /// A message of a session gets on by one step.
    fn advance(&mut self, id: u64) {
        let session = SessionId(id);
        let of = self.model.sessions.get_mut(&id).expect("it was chosen");
        match self.random.below(4) {
            0 if !of.waiting.is_empty() => {
                let gone = of.waiting.remove(0);
                let share = gone.share.as_deref();
                self.say(StoreOp::Dropped {
                    session,
                    message: gone.message,
                    share,
                });
            }
            1 if !of.queue.is_empty() && self.random.below(3) == 0 => {
                let gone = of.queue.remove(0);
                let share = gone.share.as_deref();
                self.say(StoreOp::Dropped {
                    session,
                    message: gone.message,
                    share,
                });
            }
            2 if !of.queue.is_empty() => {
                let (free, next) = (of.free_id(), of.queue.remove(0));
                of.inflight.push((free, Some(next.clone())));
                self.say(StoreOp::Inflight {
                    session,
                    message: next.message,
                    share: next.share.as_deref(),
                    packet_id: PacketId::new(free).expect("not 0"),
                });
            }
            _ if !of.inflight.is_empty() => {
                let (packet_id, waiting) = of.inflight.remove(0);
                let needs_release = waiting.is_some_and(|waiting| waiting.qos == 2);
                if needs_release {
                    of.inflight.push((packet_id, None));
                }
                let packet_id = PacketId::new(packet_id).expect("not 0");
                self.say(match needs_release {
                    true => StoreOp::Received { session, packet_id },
                    false => StoreOp::Done { session, packet_id },
                });
            }
            _ => {}
        }
    }
}

impl Session {
    fn free_id(&self) -> u16 {
        let is_free = |id: &u16| self.inflight.iter().all(|(used, _)| used != id);
        (1..).find(is_free).expect("few are in flight")
    }
}

/// The seed of a run, which is printed.
fn seed() -> u64 {
    let given = std::env::var("FOSQUITTO_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let chance = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = given.unwrap_or_else(|| chance.map_or(0, |since| since.as_nanos() as u64));
    println!("FOSQUITTO_SEED={seed}");
    seed
}

fn run(class: Class, rest: Duration) {
    let seed = seed();
    let mut world = World::new(seed, class);
    world.rest = rest;
    world.stop();
    let (mut has_kept, mut has_retained) = (false, false);
    for _ in 0..5_000 {
        for _ in 0..world.random.below(12) {
            world.step();
        }
        world.turn_ends();
        has_kept |= !world.model.kept.is_empty();
        has_retained |= !world.model.retained.is_empty();
        match world.random.below(400) {
            0..6 => world.flush(),
            6..12 => world.end_interval(),
            12 | 13 => world.crash(),
            14 => world.stop(),
            15..40 => world.begin_segment(),
            _ => {}
        }
    }
    world.stop();
    // Of a few thousand turns, whatever the seed. How many there are at the end is chance.
    assert!(world.session > 6 && has_retained && has_kept);
}

#[test]
fn what_comes_back_after_crashes_and_stops_is_what_was_said() {
    run(Class::Interval, Duration::ZERO);
}

#[test]
fn the_same_holds_where_every_turn_is_committed() {
    run(Class::Commit, Duration::ZERO);
}

#[test]
fn the_same_holds_where_retained_messages_rest() {
    run(Class::Interval, Duration::from_secs(3));
}

#[test]
fn a_retained_message_of_qos_0_rests_before_flash_has_it_and_one_that_is_cleared_meanwhile_never_gets_there()
 {
    let mut world = World::new(seed(), Class::Interval);
    world.rest = Duration::from_secs(3);
    world.stop();
    let (long, short) = (
        world.message("long", Qos::AtMostOnce),
        world.message("short", Qos::AtMostOnce),
    );
    for message in [&long, &short] {
        let payload = message.payload().to_vec();
        world
            .model
            .retained
            .insert(message.topic().to_owned(), payload);
        world.say(StoreOp::Retained { message });
    }
    world.now += 2_999;
    world.end_interval();
    assert_eq!(on_flash(world.folder.path()), Model::default());
    world.model.retained.remove("short");
    world.say(StoreOp::RetainCleared { topic: "short" });
    world.now += 1;
    world.end_interval();
    assert_eq!(on_flash(world.folder.path()), world.model);
    let (store, ..) = world.ends.as_mut().expect("it runs");
    let commits = store.status().commits;
    world.end_interval();
    let (store, ..) = world.ends.as_mut().expect("it runs");
    assert_eq!(store.status().commits, commits);
    world.crash();
    world.stop();
}

#[test]
fn an_acknowledged_retained_message_does_not_rest() {
    let mut world = World::new(seed(), Class::Interval);
    world.rest = Duration::from_secs(3);
    world.stop();
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        let message = world.message("kept", qos);
        let payload = message.payload().to_vec();
        world.model.retained.insert("kept".to_owned(), payload);
        world.say(StoreOp::Retained { message: &message });
    }
    world.end_interval();
    assert_eq!(on_flash(world.folder.path()), world.model);
    world.now += 10_000;
    world.end_interval();
    assert_eq!(on_flash(world.folder.path()), world.model);
}

#[test]
fn without_an_option_a_database_takes_64_mib_and_never_more_than_half_of_what_is_free() {
    let folder = Folder::make();
    let settings = settings(folder.path(), Class::Interval);
    let free = super::free_bytes(&settings.path).expect("it is a file system");
    assert_eq!(settings.size_max(0), (64 << 20).min(free / 2));
    let limited = Settings {
        size_limit: Some(1 << 20),
        ..settings
    };
    assert_eq!(limited.size_max(0), 1 << 20);
}
