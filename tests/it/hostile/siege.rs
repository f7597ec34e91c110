//! A broker with a ceiling of 16 MiB, attacked by clients that are let in.
//!
//! Most of these are the inputs of the flow of messages. The resident memory must at no moment grow by more than the ceiling and what the allocator adds, and what is left in the end must
//! be what a small router can spare.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Bystander;
use crate::harness::broker::{Broker, until};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Version};

/// The ceiling of the configuration below.
pub const LIMIT: usize = 16 << 20;

/// What the process may grow by for a moment: the ceiling, a quarter for what the allocator adds, which is not the broker's to count, and what
/// the store works with: what flash lacks is read as a whole, which takes two to three times its bytes, and the database has a cache.
const GROWN_MAX: usize = LIMIT + LIMIT / 4 + (4 << 20);

/// What the process may have in RAM in the end, in bytes, where no more than [`PROGRAM_MAX`] of it are pages of its program, as of a release
/// build. A debug build's program, or an emulator around it, is larger, and may be so.
const LEFT_MAX: usize = 24 << 20;
const PROGRAM_MAX: usize = 7 << 20;

/// The processor time that an attack may cost the broker. Most of it goes into the hundred megabytes and more that some of them move: 5 s
/// in a debug build, 0.6 s in a release build.
const PROCESSOR_TIME_MAX: Duration = Duration::from_secs(20);

/// The ceiling alone.
pub const CEILING: &str = "config global 'global'\n\toption memory_limit '16M'\n\n";

/// The ceiling, and a listener that asks for nothing.
pub const UCI: &str = "config global 'global'\n\toption memory_limit '16M'\n\n\
    config local 'local'\n\toption port '0'\n\n\
    config listener 'open'\n\toption port '0'\n\tlist address '127.0.0.1'\n\toption allow_anonymous '1'\n";

/// A broker under attack, and its bystander.
pub struct Siege {
    bystander: Bystander,
    pub broker: Broker,
    resident_bytes: usize,
    processor_time: Duration,
}

impl Siege {
    pub fn begin() -> Siege {
        Siege::with_uci(UCI)
    }

    pub fn with_uci(uci: &str) -> Siege {
        Siege::of(Broker::start(uci))
    }

    pub fn of(broker: Broker) -> Siege {
        let connect = Connect::new(Version::V311, "bystander");
        let client = Client::dial(broker.address("open")).join(&connect);
        let bystander = Bystander::begin(client);
        bystander.goes_on();
        Siege {
            resident_bytes: broker.resident_bytes(),
            processor_time: broker.processor_time(),
            broker,
            bystander,
        }
    }

    pub fn dial(&self) -> Client {
        Client::dial(self.broker.address("open"))
    }

    pub fn join(&self, connect: &Connect) -> Client {
        self.dial().join(connect)
    }

    pub fn attacker(&self, version: Version) -> Client {
        self.join(&Connect::new(version, "attacker"))
    }

    /// A socket whose client was let in, that gives up a write which the broker does not take.
    pub fn socket(&self, connect: &Connect) -> TcpStream {
        let mut stream = TcpStream::connect(self.broker.address("open")).expect("it listens");
        let patience = Some(Duration::from_millis(300));
        stream.set_write_timeout(patience).expect("a TCP socket");
        stream.write_all(&connect.encode()).expect("it is there");
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).expect("a CONNACK of 3.1.1");
        assert_eq!(connack, [0x20, 2, 0, 0]);
        stream
    }

    /// The bystander has lost nothing, and memory and time were within their bounds.
    pub fn survived(self) -> Broker {
        self.survived_within(PROCESSOR_TIME_MAX)
    }

    /// The same for an attack that may take this time of the processor.
    pub fn survived_within(self, processor_time: Duration) -> Broker {
        self.bystander.goes_on();
        let peak = self.broker.peak_resident_bytes();
        let grown = peak.saturating_sub(self.resident_bytes);
        assert!(grown <= GROWN_MAX, "the broker has grown by {grown} bytes");
        let took = self.broker.processor_time() - self.processor_time;
        // What the store still has to write, it reads for that, and gives the memory back.
        until("little is left in RAM", || {
            let of_program = self.broker.resident_file_bytes().min(PROGRAM_MAX);
            (self.broker.resident_bytes() + of_program < LEFT_MAX).then_some(())
        });
        assert!(took < processor_time, "the broker has worked for {took:?}");
        self.broker
    }
}

pub fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}
