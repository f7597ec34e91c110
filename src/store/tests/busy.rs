//! The journal of a busy bus: what came and went takes no room there, and nobody reads it to find that out.

use std::collections::VecDeque;

use super::{Class, World, seed};
use crate::broker::StoreOp;
use crate::broker::effect::SessionId;
use crate::mqtt::message::Parts as MessageParts;
use crate::mqtt::{Message, PacketId, Qos};

#[test]
fn of_messages_that_came_and_went_the_journal_keeps_hardly_anything() {
    let mut world = World::new(seed(), Class::Interval);
    world.make_session();
    let (session, mut sent) = (SessionId(1), 0_u16);
    let mut in_flight = VecDeque::new();
    let segment = |world: &World| world.ends.as_ref().map_or(0, |(store, ..)| store.segment);
    let first = segment(&world);
    // Two ended segments are not read yet.
    while segment(&world) < first + 2 {
        sent = sent.checked_add(1).expect("they are longer");
        let parts = MessageParts {
            topic: "busy",
            properties: &[],
            payload: b"small",
            qos: Qos::AtLeastOnce,
            retain: false,
            expires_at_ms: None,
        };
        let message = Message::new(u64::from(sent), parts);
        let packet_id = PacketId::new(sent).expect("not 0");
        world.say(StoreOp::Queued {
            session,
            message: &message,
            qos: Qos::AtLeastOnce,
            retain: false,
            subscription_ids: &[],
            share: None,
            packet_id: Some(packet_id),
        });
        in_flight.push_back(packet_id);
        if in_flight.len() > 3 {
            let packet_id = in_flight.pop_front().expect("it has some");
            world.say(StoreOp::Done { session, packet_id });
        }
        world.turn_ends();
    }
    world.let_thread_run();
    let journal = |number: u64| {
        let name = format!("run/journal-{number}");
        let metadata = world.folder.path().join(name).metadata();
        metadata.map_or(0, |metadata| metadata.len())
    };
    let ended = journal(first) + journal(first + 1);
    assert!(0 < ended && ended < 1000, "{ended}");
}
