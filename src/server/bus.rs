//! The running bus: the broker, its connections and its configuration, on the event loop's thread.
//!
//! A [`Bus`] is the connections' [`Hub`]. It gives each input to the broker with the present time, and ends each turn of the loop: timers
//! that are due, then every output to its socket. The order matters: whatever an acknowledgement promises holds before it leaves.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ntex::io::IoRef;
use ntex::rt::Handle;
use ntex::task::LocalWaker;
use ntex::time::{Millis, Sleep, sleep};

use super::clock;
use super::doors::Doors;
use super::judge;
use super::keeping::{self, Keeper};
use super::ram;
use super::trail::TrailFile;
use crate::acl::{Permissions, Subject};
use crate::auth::{Attempt, Credentials, Guard, Identity, Rates, Verifier};
use crate::bridge::Bridges;
use crate::bridge::discovery::Finder;
use crate::broker::{Broker, ConnectionId, Input, KeptTopics, Settings, Time, Traffic, limits};
use crate::config::{self, Config, Global};
use crate::control::socket::Control;
use crate::mqtt::ReasonCode;
use crate::mqtt::packet::ClientPacket;
use crate::net::codec::Scratch;
use crate::net::dial::Dialer;
use crate::net::door::Door;
use crate::net::hub::Hub;
use crate::net::listener::Acceptor;
use crate::net::table::Table;
use crate::net::trail::Trail;
use crate::store::Store;

thread_local! {
    /// The bus of this thread, for what other threads have to say to it.
    static BUS: RefCell<Option<Rc<Bus>>> = const { RefCell::new(None) };
}

/// The longest that the loop sleeps, in milliseconds: a timer has 32 bits for it.
const SLEEP_MAX_MS: u64 = 3_600_000;

/// What the network holds is measured at most once in so many milliseconds where it is rather much, and in each turn only where it
/// may be too much: it costs as much as there are connections.
const MEASURE_MS: u64 = 5;

/// What of the ceiling of memory the store has, in bytes, a sixth at most: it reads what flash lacks as a whole, its database has a
/// cache, and it remembers the numbers of what is there.
const STORE_BYTES_MAX: usize = 3 << 20;

/// The bus.
pub struct Bus {
    /// The router's root.
    pub root: PathBuf,
    /// The broker.
    pub broker: RefCell<Broker>,
    /// Its connections.
    pub table: RefCell<Table>,
    /// What keeps its state, if something does.
    pub store: RefCell<Option<Store>>,
    /// The control socket, if it could be opened.
    pub control: RefCell<Option<Control>>,
    /// The configuration that holds.
    pub config: RefCell<Config>,
    /// Where that came from.
    pub followed: RefCell<Followed>,
    /// The passwords that hold.
    pub credentials: RefCell<Arc<Credentials>>,
    /// What makes connections to other brokers.
    pub dialer: Dialer,
    /// What finds subordinates on the network.
    pub finder: Finder,
    /// The connections to other brokers.
    pub bridges: RefCell<Bridges>,
    /// The open listeners.
    pub doors: RefCell<Doors>,
    /// The thread that accepts.
    pub acceptor: Acceptor,
    /// The thread that checks passwords.
    pub verifier: Verifier,
    /// What keeps floods from being everybody's.
    pub guard: Arc<Guard>,
    /// The ceiling of what clients may take, in bytes.
    memory_limit: Cell<usize>,
    /// The largest packet that a client may send, in bytes.
    max_packet_size: Cell<usize>,
    /// What the broker was told last of the memory of the network.
    network: Cell<usize>,
    /// When that was measured.
    measured: Cell<Time>,
    scratch: RefCell<Scratch>,
    trail: Rc<Trail>,
    trail_file: RefCell<TrailFile>,
    handle: Handle,
    /// The time of the turn at hand.
    now: Cell<Option<Time>>,
    turn: LocalWaker,
    has_ended: Cell<bool>,
    end: LocalWaker,
}

/// Where the configuration that holds came from.
pub struct Followed {
    /// Its file.
    pub path: PathBuf,
    /// When it was read.
    pub at: Time,
    /// What was wrong with a later one, so that it was not followed.
    pub faults: Vec<String>,
}

/// What a [`Bus`] is made of.
pub struct Parts {
    /// The router's root.
    pub root: PathBuf,
    /// The configuration.
    pub config: Config,
    /// The passwords.
    pub credentials: Credentials,
    /// The thread that accepts.
    pub acceptor: Acceptor,
    /// The thread that checks passwords.
    pub verifier: Verifier,
    /// What keeps floods from being everybody's.
    pub guard: Arc<Guard>,
    /// What clients cannot know.
    pub seed: u64,
    /// What other brokers know this one by since its start.
    pub origin: u64,
}

impl Bus {
    /// The bus of this thread, from now on. Must be called on the event loop.
    pub fn start(parts: Parts) -> Rc<Bus> {
        let settings = settings_of(&parts.config);
        let config_path = config::path(&parts.root);
        let bus = Rc::new(Bus {
            memory_limit: Cell::new(settings.memory_limit),
            max_packet_size: Cell::new(settings.max_packet_size as usize),
            network: Cell::new(0),
            measured: Cell::new(Time(0)),
            root: parts.root,
            broker: RefCell::new(Broker::new(settings, parts.seed, clock::now())),
            table: RefCell::default(),
            store: RefCell::default(),
            control: RefCell::default(),
            config: RefCell::new(parts.config),
            followed: RefCell::new(Followed {
                path: config_path,
                at: clock::now(),
                faults: Vec::new(),
            }),
            credentials: RefCell::new(Arc::new(parts.credentials)),
            dialer: Dialer::default(),
            finder: Finder::default(),
            bridges: RefCell::default(),
            doors: RefCell::default(),
            acceptor: parts.acceptor,
            verifier: parts.verifier,
            guard: parts.guard,
            scratch: RefCell::default(),
            trail: Rc::new(Trail::new(parts.origin)),
            trail_file: RefCell::default(),
            handle: Handle::current(),
            now: Cell::new(None),
            turn: LocalWaker::new(),
            has_ended: Cell::new(false),
            end: LocalWaker::new(),
        });
        BUS.set(Some(bus.clone()));
        ntex::rt::spawn(Turns {
            bus: bus.clone(),
            sleep: None,
        });
        bus
    }

    /// Goes on knowing the messages that it knew before it started. MUST come before any connection.
    pub fn open_trail(&self) {
        let folder = self.root.join(keeping::JOURNAL);
        self.trail.begin_at(self.broker.borrow().next_message_id());
        let file = TrailFile::open(&folder, &self.trail);
        self.trail_file.replace(file);
    }

    /// Has the broker follow new settings.
    pub fn set(&self, settings: Settings) {
        self.memory_limit.set(settings.memory_limit);
        self.max_packet_size.set(settings.max_packet_size as usize);
        self.handle(Input::Settings(settings));
    }

    /// Whether there is memory for one more connection through a listener.
    pub fn has_room_for(&self, door: &Door) -> bool {
        let limit = self.memory_limit.get();
        let limit = if door.listener.is_local() {
            limit
        } else {
            limit - limits::reserve(limit)
        };
        self.broker.borrow().held_bytes() + Table::cost(door) <= limit
    }

    /// Ends the bus: nothing of it is served any more.
    pub fn end(&self) {
        self.has_ended.set(true);
        self.end.wake();
    }

    /// Waits for the end of the bus.
    pub async fn ended(&self) {
        poll_fn(|cx| {
            self.end.register(cx.waker());
            if self.has_ended.get() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Runs `act` with the bus of this thread, if it has one.
    pub fn with(act: impl FnOnce(&Rc<Bus>)) {
        let bus = BUS.with_borrow(Clone::clone);
        if let Some(bus) = bus {
            act(&bus);
        }
    }

    /// The time of the turn at hand: all that happens in one turn happens at once.
    fn now(&self) -> Time {
        self.now.get().unwrap_or_else(|| {
            let now = clock::now();
            self.now.set(Some(now));
            self.turn.wake();
            now
        })
    }

    /// Gives the broker an input. What comes of it is in the table and in the store when this returns.
    #[inline]
    fn give(&self, now: Time, input: Input<'_>, broker: &mut Broker, table: &mut Table) {
        table.hold_no_more();
        let mut store = self.store.borrow_mut();
        let mut keeper = Keeper {
            table,
            store: store.as_mut(),
            now,
        };
        broker.handle(now, input, &mut keeper);
    }

    /// Ends the turn: what is due, and what is to be sent. When to wake up again without an event.
    fn end_turn(&self) -> Option<Time> {
        let now = clock::now();
        self.now.set(None);
        let mut broker = self.broker.borrow_mut();
        let mut table = self.table.borrow_mut();
        table.expire(now);
        table.wake(now);
        table.set_time(now);
        if broker.next_timeout().is_some_and(|at| at <= now) {
            let status = self.store.borrow().as_ref().map(Store::status);
            // Each connection is asked for it, and not more often than it is told.
            let tells = broker.tells_at().is_some_and(|at| at <= now);
            let (unsent_packets, unsent_bytes) = if tells { table.backlog() } else { (0, 0) };
            let traffic = Traffic {
                unsent_packets,
                unsent_bytes,
                store: status.as_ref().map(keeping::storage),
                ..table.traffic()
            };
            self.give(now, Input::Tick(traffic), &mut broker, &mut table);
        }
        // What was said must hold before what promises it leaves.
        let number = self.store.borrow_mut().as_mut().map_or(0, Store::end_turn);
        self.trail_file.borrow_mut().save(&self.trail);
        table.flush(number);
        self.account(now, &mut broker, &mut table);
        let due = [
            broker.next_timeout(),
            table.next_deadline(),
            table.next_wait(),
        ];
        due.into_iter().flatten().min()
    }
}

impl Bus {
    /// Tells the broker what the network holds. Where that is too much although the broker has let go what it could, clients that do
    /// not read what they get are disconnected, the one that holds the most first.
    fn account(&self, now: Time, broker: &mut Broker, table: &mut Table) {
        let limit = self.memory_limit.get();
        let others = broker.held_bytes() - self.network.get();
        let mut held = table.held();
        // What is held may be much less than that: sockets take most of what they are given at once.
        let is_due =
            others + held > limit / 8 * 7 || now.since_ms(self.measured.get()) >= MEASURE_MS;
        if others + held > limit / 2 && is_due {
            self.measured.set(now);
            held = table.measure();
        }
        table.be_thrifty(others + held > limit / 2);
        self.tell(now, held, broker, table);
        while broker.held_bytes() > limit
            && let Some(connection) = table.slowest()
        {
            let input = Input::Disconnect {
                connection,
                reason: ReasonCode::QUOTA_EXCEEDED,
                what: "memory is short, and it does not read what it gets",
                server_reference: None,
            };
            self.give(now, input, broker, table);
            table.abandon(connection);
            self.tell(now, table.held(), broker, table);
        }
        table.set_room(limit.saturating_sub(broker.held_bytes()));
    }

    fn tell(&self, now: Time, held: usize, broker: &mut Broker, table: &mut Table) {
        if self.network.replace(held) != held {
            self.give(now, Input::Network { bytes: held }, broker, table);
        }
    }
}

/// The settings of the broker that the configuration asks for.
pub fn settings_of(config: &Config) -> Settings {
    let global = &config.global;
    let seconds =
        |duration: std::time::Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    let millis =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let memory_limit = global.memory_limit.unwrap_or_else(ram::share);
    // A packet is held twice while it is handled: it must leave room for others.
    let quarter = u32::try_from(memory_limit / 4).unwrap_or(u32::MAX);
    let is_kept = !keeping::settings_of(&config.persistence).is_volatile();
    let store = if is_kept {
        STORE_BYTES_MAX.min(memory_limit / 6)
    } else {
        0
    };
    Settings {
        memory_limit: memory_limit - store,
        max_packet_size: global.max_packet_size.min(quarter),
        max_inflight: global.max_inflight,
        queue_messages: global.queue_messages,
        queue_bytes: global.queue_bytes,
        qos0_queue_ttl_ms: millis(global.qos0_queue_ttl),
        session_expiry_s: seconds(global.session_expiry),
        max_session_expiry_s: global.max_session_expiry.map_or(u32::MAX, seconds),
        max_keep_alive_s: global.max_keep_alive_s,
        response_information: Some(global.response_information.clone()),
        server_reference: global.server_reference.as_deref().map(Rc::from),
        sys_interval_ms: millis(global.sys_interval),
        keepers: config.keepers.iter().flat_map(kept_topics).collect(),
        ..Settings::default()
    }
}

/// What a keeper keeps.
fn kept_topics(keeper: &config::Keeper) -> [KeptTopics; 2] {
    let kept = |filters: &[String], ttl: std::time::Duration, are_requests| KeptTopics {
        filters: filters.to_vec(),
        ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        are_requests,
    };
    [
        kept(&keeper.requests, keeper.request_ttl, true),
        kept(&keeper.replies, keeper.reply_ttl, false),
    ]
}

/// What the guard is to permit, as the configuration asks for it.
pub fn rates_of(global: &Global) -> Rates {
    Rates {
        connections_per_s: global.connection_rate,
        login_delay_ms: u64::try_from(global.login_delay.as_millis()).unwrap_or(u64::MAX),
    }
}

impl Bus {
    /// Has the trace see a packet that comes, and gives it to the broker. It is apart from [`Hub::handle`], and takes the input as a whole,
    /// so that nothing of it costs a message that nobody watches.
    #[cold]
    #[inline(never)]
    fn handle_traced(&self, now: Time, input: Input<'_>) {
        let (mut broker, mut table) = (self.broker.borrow_mut(), self.table.borrow_mut());
        match &input {
            Input::Connect {
                connection,
                connect,
                ..
            } => {
                let packet = ClientPacket::Connect((*connect).clone());
                table.trace_input(*connection, &packet, None);
            }
            Input::Packet { connection, packet } => {
                let aliased = broker.aliased(*connection, packet);
                table.trace_input(*connection, packet, aliased);
            }
            _ => {}
        }
        self.give(now, input, &mut broker, &mut table);
    }
}

impl Hub for Bus {
    #[inline]
    fn handle(&self, input: Input<'_>) {
        let now = self.now();
        let mut table = self.table.borrow_mut();
        if table.is_tracing() {
            drop(table);
            return self.handle_traced(now, input);
        }
        self.give(now, input, &mut self.broker.borrow_mut(), &mut table);
    }

    fn table(&self) -> &RefCell<Table> {
        &self.table
    }

    fn scratch(&self) -> &RefCell<Scratch> {
        &self.scratch
    }

    fn verify(&self, connection: ConnectionId, attempt: Attempt) {
        let handle = self.handle.clone();
        let reply = Box::new(move |verdict| {
            handle.spawn(async move {
                Bus::with(|bus| bus.table.borrow_mut().set_verdict(connection, verdict));
            });
        });
        self.verifier
            .verify(self.credentials.borrow().clone(), attempt, reply);
    }

    fn credentials(&self) -> Arc<Credentials> {
        self.credentials.borrow().clone()
    }

    fn permissions(&self, door: &Door, identity: &Identity, client_id: &str) -> Permissions {
        let groups: Vec<String> = identity.groups().map(str::to_owned).collect();
        self.config.borrow().acl.permissions(&Subject {
            user: identity.user(),
            groups: &groups,
            listener: &door.listener.name,
            client_id,
        })
    }

    fn current(
        &self,
        door: &Rc<Door>,
        identity: &Identity,
        io: &IoRef,
    ) -> Result<(Rc<Door>, Identity), &'static str> {
        let current = self
            .doors
            .borrow()
            .by_name(&door.listener.name)
            .ok_or("the listener was removed")?;
        if Rc::ptr_eq(&current, door) {
            return Ok((current, identity.clone()));
        }
        let identity = judge::renew(door, &current, identity, &self.credentials.borrow(), io)?;
        Ok((current, identity))
    }

    #[inline]
    fn max_packet_size(&self) -> usize {
        self.max_packet_size.get()
    }

    fn end_turn_soon(&self) {
        self.now();
    }

    fn guard(&self) -> &Guard {
        &self.guard
    }

    fn connection_of(&self, client_id: &str) -> Option<ConnectionId> {
        self.broker.borrow().connection_of(client_id)
    }

    fn time(&self) -> Time {
        self.now()
    }

    fn trail(&self) -> &Rc<Trail> {
        &self.trail
    }

    fn is_retained(&self, topic: &str) -> bool {
        self.broker.borrow().is_retained(topic)
    }

    fn has_taken(&self) -> bool {
        self.broker.borrow().has_taken()
    }

    fn accept_more(&self) {
        self.acceptor.look_again();
    }
}

/// The future that ends the turns of the loop and sleeps in between.
struct Turns {
    bus: Rc<Bus>,
    /// When it wakes up by itself.
    sleep: Option<(Time, Sleep)>,
}

impl Future for Turns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.bus.turn.register(cx.waker());
        loop {
            let due = self.bus.end_turn();
            let Some(due) = due else {
                self.sleep = None;
                return Poll::Pending;
            };
            if self.sleep.as_ref().is_none_or(|(at, _)| *at != due) {
                let ms = due.since_ms(clock::now()).clamp(1, SLEEP_MAX_MS);
                self.sleep = Some((due, sleep(Millis(ms as u32))));
            }
            let Some((_, sleeping)) = &self.sleep else {
                return Poll::Pending;
            };
            if sleeping.poll_elapsed(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
        }
    }
}
