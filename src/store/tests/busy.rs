//! The journal of a busy bus: what came and went takes no room there, and nobody reads it to find that out.

use std::collections::VecDeque;

use super::{Class, World, seed};
use crate::broker::StoreOp;
use crate::broker::effect::SessionId;
use crate::mqtt::message::Parts as MessageParts;
use crate::mqtt::{Message, PacketId, Qos};

/// A session to which messages come that it is soon done with.
struct Busy {
    world: World,
    sent: u16,
    in_flight: VecDeque<u16>,
}

impl Busy {
    fn begin() -> Busy {
        let mut world = World::new(seed(), Class::Interval);
        world.make_session();
        Busy {
            world,
            sent: 0,
            in_flight: VecDeque::new(),
        }
    }

    fn say(&mut self, operation: StoreOp<'_>) {
        let (store, ..) = self.world.ends.as_mut().expect("it runs");
        store.record(&operation, 1000);
    }

    /// A turn in which a message comes, and the fourth before it is done.
    fn goes_on(&mut self) {
        self.sent = self.sent.checked_add(1).expect("so many are not needed");
        let parts = MessageParts {
            topic: "busy",
            properties: &[],
            payload: b"small",
            qos: Qos::AtLeastOnce,
            retain: false,
            expires_at_ms: None,
        };
        self.say(StoreOp::Queued {
            session: SessionId(1),
            message: &Message::new(u64::from(self.sent), parts),
            qos: Qos::AtLeastOnce,
            retain: false,
            subscription_ids: &[],
            share: None,
            packet_id: PacketId::new(self.sent),
        });
        self.in_flight.push_back(self.sent);
        if self.in_flight.len() > 3 {
            let packet_id = self.in_flight.pop_front().and_then(PacketId::new);
            self.say(StoreOp::Done {
                session: SessionId(1),
                packet_id: packet_id.expect("not 0"),
            });
        }
        let (store, ..) = self.world.ends.as_mut().expect("it runs");
        store.end_turn();
    }

    fn segment(&self) -> u64 {
        self.world
            .ends
            .as_ref()
            .map_or(0, |(store, ..)| store.segment)
    }

    fn bytes_of(&self, name: &str) -> u64 {
        let path = self.world.folder.path().join("run").join(name);
        path.metadata().map_or(0, |metadata| metadata.len())
    }

    /// What comes back after a crash: the messages in flight, in order.
    fn crash(&mut self) -> Vec<u16> {
        drop(self.world.ends.take());
        let folder = self.world.folder.path();
        let parts = super::parts(folder, &folder.join("run"), Class::Interval, self.world.vfs);
        let recovery = super::recover(parts).expect("nobody else is there");
        let found = super::found(&recovery);
        let in_flight = found.sessions[&1].inflight.iter();
        in_flight.map(|(packet_id, _)| *packet_id).collect()
    }
}

#[test]
fn of_messages_that_came_and_went_the_journal_keeps_hardly_anything() {
    let mut busy = Busy::begin();
    let first = busy.segment();
    // Two ended segments are not read yet. They end where somebody may have read them.
    while busy.segment() < first + 2 {
        if let Some((store, ..)) = &busy.world.ends {
            *store.read.lock().expect("nobody panics while holding it") = u64::MAX;
        }
        busy.goes_on();
    }
    busy.world.let_thread_run();
    let ended = [first, first + 1].map(|number| busy.bytes_of(&format!("journal-{number}")));
    let ended: u64 = ended.iter().sum();
    assert!(0 < ended && ended < 1000, "{ended}");
}

#[test]
fn a_busy_journal_goes_on_in_two_files_without_the_thread_and_comes_back_whole_at_any_moment() {
    use super::super::journal::SEGMENT_BYTES;
    let mut busy = Busy::begin();
    let first = busy.segment();
    let name = format!("journal-{first}");
    let (mut renewed, mut before) = (0, 0);
    while renewed < 5 {
        busy.goes_on();
        let bytes = busy
            .world
            .ends
            .as_ref()
            .and_then(|(store, ..)| store.tail.as_ref());
        let bytes = bytes.map_or(0, super::super::journal::Tail::bytes);
        renewed += u32::from(bytes < before);
        before = bytes;
    }
    assert_eq!(busy.segment(), first);
    assert!(busy.bytes_of(&name).max(busy.bytes_of("spare")) < SEGMENT_BYTES);
    // A few more, so that what was there before begins anywhere behind them.
    for _ in 0..busy.world.random.below(200) {
        busy.goes_on();
    }
    let expected: Vec<u16> = busy.in_flight.iter().copied().collect();
    assert_eq!(busy.crash(), expected);
    assert_eq!(busy.bytes_of("spare"), 0, "it is of no use any more");
}

#[test]
fn what_was_said_while_the_journal_is_renewed_and_written_comes_back() {
    let mut busy = Busy::begin();
    for _ in 0..20_000 {
        busy.goes_on();
        if busy.world.random.below(2000) == 0 {
            busy.world.flush();
        }
    }
    let expected: Vec<u16> = busy.in_flight.iter().copied().collect();
    assert_eq!(busy.crash(), expected);
}

#[test]
fn where_there_can_be_no_second_file_the_journal_goes_on_in_segments() {
    let mut busy = Busy::begin();
    let folder = busy.world.folder.path().join("run");
    std::fs::create_dir(folder.join("spare")).expect("nothing is there");
    let first = busy.segment();
    while busy.segment() < first + 2 {
        busy.goes_on();
    }
    busy.world.let_thread_run();
    let expected: Vec<u16> = busy.in_flight.iter().copied().collect();
    assert_eq!(busy.crash(), expected);
}
