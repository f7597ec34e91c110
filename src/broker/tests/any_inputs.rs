//! Any inputs in any order: packets that the codec takes from clients that follow no rule, and whatever the network and the
//! administrator can say. [`World`] holds the broker to what always holds, and at the end nothing is left of anybody.

use super::world::{World, qos0, v3, v5, without};
use crate::acl::{Access, Permissions};
use crate::broker::{ConnectionId, Input, KeptTopics, Settings};
use crate::fuzzing::Choices;
use crate::mqtt::packet::{ClientPacket, Connect};
use crate::mqtt::{ReasonCode, Version};
use crate::net::codec::{Scratch, decode, decode_connect};

/// No session lasts longer, so that all can be waited for.
const EXPIRY_MAX_S: u32 = 600;

/// Runs the inputs that bytes say. A packet is `WHO, 0, SIZE, FIRST BYTE, BODY`.
pub fn any_inputs(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let settings = settings(&mut choices);
    let mut stage = Stage {
        world: World::with(settings),
        links: [None; 4],
        last: ConnectionId {
            index: 9,
            generation: 9,
        },
    };
    while !choices.is_over() {
        stage.step(&mut choices);
    }
    stage.end();
}

fn settings(choices: &mut Choices<'_>) -> Settings {
    Settings {
        memory_limit: choices.one_of(&[1 << 30, 20_000, 4_000]),
        max_inflight: choices.one_of(&[20, 1, 3]),
        queue_messages: choices.one_of(&[1000, 2]),
        queue_bytes: choices.one_of(&[1 << 20, 300]),
        qos0_queue_ttl_ms: choices.one_of(&[60_000, 0]),
        sys_interval_ms: choices.one_of(&[0, 10_000]),
        max_session_expiry_s: EXPIRY_MAX_S,
        keepers: keepers(choices.below(3)),
        ..Settings::default()
    }
}

fn keepers(count: u64) -> Vec<KeptTopics> {
    let topics = |filter: &str, ttl_ms, are_requests| KeptTopics {
        filters: vec![filter.to_owned()],
        ttl_ms,
        are_requests,
    };
    let all = [topics("+/+", 5_000, true), topics("#", 30_000, false)];
    all.into_iter().take(count as usize).collect()
}

struct Stage {
    world: World,
    links: [Option<(ConnectionId, Version)>; 4],
    /// One that may be gone already.
    last: ConnectionId,
}

impl Stage {
    fn step(&mut self, choices: &mut Choices<'_>) {
        let who = choices.below(4) as usize;
        // Where there is no connection it is one that is not there, or not any more.
        let link = self.links[who].map_or(self.last, |(link, _)| link);
        let is_known = self.world.effects.links.contains_key(&link);
        match choices.below(16) {
            0..8 => {
                let size = choices.below(256) as usize;
                self.packet(who, choices.bytes(size));
            }
            8 | 9 => self.connect_soundly(who, choices),
            10 if is_known => {
                let room = choices.below(6) as usize + 1;
                self.world.drain(link, room);
            }
            11 if is_known => {
                self.world.cut(link);
                self.links[who] = None;
            }
            12 => {
                let s = choices.one_of(&[0, 1, 45, 400]);
                self.world.advance_s(s);
            }
            13 => self.administer(link, choices),
            14 => {
                let bytes = choices.one_of(&[0, 3_000, 50_000]);
                self.world.handle(Input::Network { bytes });
            }
            _ => self.world.handle(Input::Alive { connection: link }),
        }
        for link in &mut self.links {
            let world = &self.world;
            *link = link.filter(|(id, _)| world.closed(*id).is_none());
        }
    }

    fn packet(&mut self, who: usize, bytes: &[u8]) {
        let Some((first, body)) = bytes.split_first() else {
            return;
        };
        let mut scratch = Scratch::new();
        match self.links[who] {
            None => {
                if let Ok(connect) = decode_connect(*first, body, &mut scratch) {
                    self.connect(who, &connect);
                }
            }
            Some((link, version)) => match decode(version, *first, body, &mut scratch) {
                Ok(packet) => self.world.send(link, packet),
                Err(fault) => self.world.handle(Input::Violation {
                    connection: link,
                    reason: fault.reason,
                    what: fault.what,
                }),
            },
        }
    }

    fn connect_soundly(&mut self, who: usize, choices: &mut Choices<'_>) {
        let name = choices.one_of(&["a", "b", "c", ""]);
        let connect = match choices.below(3) {
            0 => v3(name),
            1 if !name.is_empty() => Connect {
                clean_start: false,
                ..v3(name)
            },
            _ => Connect {
                keep_alive_s: choices.one_of(&[0, 10]),
                ..v5(name, choices.one_of(&[0, 30, 600, u32::MAX]))
            },
        };
        self.world.room = choices.below(8) as usize + 1;
        self.connect(who, &connect);
    }

    fn connect(&mut self, who: usize, connect: &Connect<'_>) {
        if let Some((link, _)) = self.links[who] {
            // Another connection has this place from now on.
            self.last = link;
        }
        let permissions = match who {
            3 => without(Access::ReadWrite, "secret/#"),
            _ => Permissions::allow_all(),
        };
        let user = (who == 2).then_some("anna");
        self.world.reserve = who == 1;
        let link = self.world.connect_as(connect, user, permissions);
        self.links[who] = Some((link, connect.version));
    }

    fn administer(&mut self, link: ConnectionId, choices: &mut Choices<'_>) {
        match choices.below(6) {
            0 => self.world.handle(Input::Settings(settings(choices))),
            1 => self.world.handle(Input::Permissions {
                connection: link,
                permissions: without(Access::Read, "a/#"),
            }),
            2 => self.world.handle(Input::Disconnect {
                connection: link,
                reason: ReasonCode::ADMINISTRATIVE_ACTION,
                what: "told to go",
                server_reference: None,
            }),
            3 => {
                let client_id = choices.one_of(&["a", "b", "c"]);
                self.world.handle(Input::DropSession { client_id });
            }
            4 => {
                let topic = choices.one_of(&["a", "a/b", "$SYS/broker/version"]);
                self.world.handle(Input::ClearRetained { topic });
            }
            _ => self.world.handle(Input::Packet {
                connection: link,
                packet: ClientPacket::PingReq,
            }),
        }
    }

    /// Everybody goes, all sessions run out and what is retained is cleared: nothing is left, and nothing is counted.
    fn end(mut self) {
        self.world.handle(Input::Network { bytes: 0 });
        self.world.handle(Input::Settings(Settings {
            sys_interval_ms: 0,
            max_session_expiry_s: EXPIRY_MAX_S,
            ..Settings::default()
        }));
        let open = self.world.effects.links.iter();
        let open = open.filter(|(_, link)| link.closed.is_none());
        let open: Vec<ConnectionId> = open.map(|(id, _)| *id).collect();
        for id in open {
            self.world.cut(id);
        }
        self.world.advance_s(2 * u64::from(EXPIRY_MAX_S));
        self.world.assert_nobody_left();
        let topics: Vec<String> = self.world.effects.store.retained.keys().cloned().collect();
        self.world.room = usize::MAX;
        let (last, _) = self.world.join(&v3("the last client"));
        for topic in topics {
            let mut clearing = qos0(&topic, "");
            clearing.retain = true;
            self.world.send(last, ClientPacket::Publish(clearing));
        }
        self.world.cut(last);
        assert!(self.world.effects.store.retained.is_empty());
        self.world.assert_nothing_is_counted();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, Hasher, RandomState};

    #[test]
    fn whatever_comes_nothing_is_left_of_clients_that_went() {
        let seed = RandomState::new().build_hasher().finish();
        println!("seed {seed}");
        let mut state = seed;
        for _ in 0..300 {
            let bytes: Vec<u8> = (0..400)
                .map(|_| {
                    state = state
                        .wrapping_mul(0x5851_F42D_4C95_7F2D)
                        .wrapping_add(0x1405_7B7E_F767_814F);
                    (state >> 56) as u8
                })
                .collect();
            any_inputs(&bytes);
        }
    }
}
