//! What attackers send, numbered as the project's list of hostile inputs numbers it.
//!
//! To survive an input means: the answer that the specification asks for or a close, bounded memory and processor time, and no effect
//! on any other client. Each test has a [`Victim`] or a [`siege::Siege`], whose [`Bystander`] sends itself one message after the other
//! while the attack goes on; in the end it must have lost none, and memory and time must have stayed within their bounds. A test's name
//! ends in the number of its input. `catalogue` holds the tests to this table:
//!
//! | input | what it is | tests |
//! |---|---|---|
//! | 1 | no CONNECT, 256 MB long | `first_packet` |
//! | 2 | CONNECT byte by byte | `first_packet` |
//! | 3 | TLS hello, then silence | `first_packet` |
//! | 4 | a connection, then silence | `first_packet` |
//! | 5 | a length of five bytes | `first_packet` |
//! | 6 | a length longer than it must be | `first_packet` |
//! | 7 | a length longer than what is sent | `first_packet` |
//! | 8 | CONNECT twice | `first_packet` |
//! | 9 | reserved flags | `first_packet` |
//! | 10 | will flags without a will | `first_packet` |
//! | 11 | a password without a user name in 3.x | `first_packet` |
//! | 12 | protocol names and levels mixed | `first_packet` |
//! | 13 | protocol names of no and of all lengths | `first_packet` |
//! | 14 | packets of a broker, packets out of place | `first_packet` |
//! | 15 | packet types 0 and 15 | `first_packet` |
//! | 16 | properties longer than their packet | `properties` |
//! | 17 | unknown properties | `properties` |
//! | 18 | the same property twice | `properties` |
//! | 19 | properties of another packet | `properties` |
//! | 20 | 10,000 user properties | `properties` |
//! | 21 | topic aliases | `properties` |
//! | 22 | subscription identifier 0, or of a client's PUBLISH | `properties` |
//! | 23 | receive maximum 0, maximum packet size 0 | `properties` |
//! | 24 | session expiry changed by DISCONNECT | `properties` |
//! | 25 | 100,000 wills with an invalid property | `properties` |
//! | 26 | response topics that are none | `properties` |
//! | 27 | ill-formed and odd text everywhere | `strings`, `certificates` |
//! | 28 | empty topic | `strings` |
//! | 29 | a topic of 65,535 bytes | `strings` |
//! | 30 | 32,767 levels of nothing | `strings` |
//! | 31 | a filter of 32,767 `+` | `strings` |
//! | 32 | filters that are none, `$share` without its parts, writing to `$SYS` | `strings` |
//! | 33 | names that mean something in a pattern or a path | `strings` |
//! | 34 | common names: none, many, 64 KB, U+0000 | `certificates` |
//! | 35 | one QoS 2 identifier without end | `flow` |
//! | 36 | 65,535 open QoS 2 identifiers | `flow` |
//! | 37 | acknowledgements of nothing | `flow` |
//! | 38 | PUBACK for QoS 2 | `flow` |
//! | 39 | more than the receive maximum | `flow` |
//! | 40 | SUBSCRIBE of no and of 10,000 filters | `flow` |
//! | 41 | plain and shared filters mixed up | `flow` |
//! | 42 | PUBLISH whose QoS, DUP and identifier do not fit | `flow` |
//! | 43 | subscribers that never read | `flood` |
//! | 44 | slow readers of retained messages | `flood` |
//! | 45 | a client id fought for, a thousand times a second | `flood` |
//! | 46 | takeover in the middle of something | `flood` |
//! | 47 | 100,000 sessions of random ids | `flood` |
//! | 48 | identifiers of a resumed session | `flow` |
//! | 49 | keep alive of 0 and 65,535, no ping | `flow` |
//! | 50 | more connections than descriptors, then a reload | `flood` |
//! | 51 | a second user with the first one's client id | `identity` |
//! | 52 | wills on forbidden topics, or of a refused CONNECT | `identity` |
//! | 53 | rights, users and certificates taken away while connected | `identity`, `certificates` |
//! | 54 | rules, passwords and options that are empty, garbled or missing | `identity` |
//! | 55 | certificates and lists out of their time, or of another CA | `certificates` |
//! | 56 | `$share` against a denial, filters wider than the grant | `identity` |
//! | 59 | a damaged, foreign or unusable database or journal | `stored` |
//! | 60 | a power cut | `stored` |
//! | 61 | another boot and another date | `stored`, `dates` |
//! | 62 | WebSocket | `websocket` |
//! | 64 | escape sequences for the log | `strings` |
//! | 65 | a million denied publishes | `flood` |
//!
//! 57 and 58 need bridges, 63 a proxy's header: the program has none of them yet.

mod catalogue;
mod certificates;
mod dates;
mod first_packet;
mod flood;
mod flow;
mod identity;
mod properties;
mod siege;
mod stored;
mod strings;
mod websocket;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::harness::broker::{Broker, LOCAL, until};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Version};

/// What the broker may grow by under an attack that must leave nothing behind, in bytes.
const GROWN_MAX: usize = 8 << 20;

/// The processor time that such an attack may cost the broker. Most take a few hundredths of a second in a debug build.
const PROCESSOR_TIME_MAX: Duration = Duration::from_secs(5);

/// Nothing may come to the bystander for so long after each of its round trips, which also keeps its own share of the broker's time small.
const PAUSE: Duration = Duration::from_millis(2);

/// A client that has nothing to do with an attack, on a thread of its own.
pub struct Bystander {
    is_over: Arc<AtomicBool>,
    rounds: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Bystander {
    /// Lets a client that has joined send itself one message after the other.
    pub fn begin(mut client: Client) -> Bystander {
        client.subscribe("to/bystander", 0);
        let is_over = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU32::new(0));
        let thread = std::thread::spawn({
            let (is_over, rounds) = (is_over.clone(), rounds.clone());
            move || {
                // The last round trip begins after the attack has ended.
                let mut is_last = false;
                while !is_last {
                    is_last = is_over.load(Ordering::SeqCst);
                    let payload = rounds.load(Ordering::SeqCst).to_string();
                    client.publish("to/bystander", &payload);
                    assert_eq!(client.text(), payload, "the bystander lost a message");
                    client.nothing_for(PAUSE);
                    rounds.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Bystander {
            is_over,
            rounds,
            thread: Some(thread),
        }
    }

    /// Waits for the end of a round trip that began after this call.
    pub fn goes_on(&self) {
        let before = self.rounds.load(Ordering::SeqCst);
        until("two more round trips of the bystander", || {
            let is_there = self
                .thread
                .as_ref()
                .is_some_and(|thread| !thread.is_finished());
            assert!(is_there, "the bystander is gone");
            (self.rounds.load(Ordering::SeqCst) >= before + 2).then_some(())
        });
    }
}

/// Ends it. It MUST be dropped before its broker, or it takes the broker's end for a loss.
impl Drop for Bystander {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let end = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            end.expect("it is ended once")
                .expect("the bystander lost nothing");
        }
    }
}

/// A broker under attack, and a client that has nothing to do with it.
pub struct Victim {
    bystander: Bystander,
    pub broker: Broker,
    resident_bytes: usize,
    processor_time: Duration,
}

impl Victim {
    /// A broker with one honest client.
    pub fn new() -> Victim {
        Victim::with_uci(LOCAL)
    }

    /// The same with another configuration.
    pub fn with_uci(uci: &str) -> Victim {
        Victim::of(Broker::start(uci))
    }

    /// The same with a broker that runs already.
    pub fn of(broker: Broker) -> Victim {
        let client = broker.join(&Connect::new(Version::V311, "bystander"));
        let bystander = Bystander::begin(client);
        bystander.goes_on();
        Victim {
            resident_bytes: broker.resident_bytes(),
            processor_time: broker.processor_time(),
            bystander,
            broker,
        }
    }

    /// A client that has joined in order, to misbehave after that.
    pub fn member(&self, version: Version) -> Client {
        self.broker
            .join(&Connect::new(version, "attacker").will("will", "will"))
    }

    /// Sends these bytes as the first of a connection and waits for the close.
    pub fn attack(&mut self, bytes: &[u8]) {
        let mut attacker = self.broker.dial();
        attacker.send(bytes);
        attacker.refused();
        self.unharmed();
    }

    /// The bystander still gets its messages, and the broker has not grown by more than a few megabytes nor worked for long.
    pub fn unharmed(&mut self) {
        self.bystander.goes_on();
        let grown = self
            .broker
            .resident_bytes()
            .saturating_sub(self.resident_bytes);
        assert!(grown < GROWN_MAX, "the broker has grown by {grown} bytes");
        let took = self.broker.processor_time() - self.processor_time;
        assert!(
            took < PROCESSOR_TIME_MAX,
            "the broker has worked for {took:?}"
        );
    }

    /// The same, for the end of a test whose attack is so large that it may take this time of the processor.
    pub fn unharmed_within(mut self, processor_time: Duration) {
        let took = self.broker.processor_time() - self.processor_time;
        assert!(took < processor_time, "the broker has worked for {took:?}");
        self.processor_time += took;
        self.unharmed();
    }
}
