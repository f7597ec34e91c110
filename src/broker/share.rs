//! Shared Subscriptions (4.8.2): groups of sessions of which one gets each message.
//!
//! A group is found by topic as a session is, by a [`Router`] of its own. Who of its members gets a message is decided by what
//! each has in flight and waiting, so that a slow member gets less; members without a connection come last. A message that a
//! member has not acknowledged when its connection ends goes to another that is connected, and when its session ends to any other. One at
//! QoS 2 that was sent does not: no other client may get it [MQTT-4.8.2-5].

use std::cell::Cell;
use std::rc::Rc;

use hashbrown::HashMap;
use slab::Slab;

use super::deliver::Grant;
use super::effect::{Effects, StoreOp};
use super::publish::Outgoing;
use super::router::{Router, SeededState, Subscriber, seeded};
use super::session::{Session, SessionKey};
use super::timers::Time;
use super::{Broker, limits};
use crate::mqtt::packet::SubscriptionOptions;
use crate::mqtt::{Message, Qos, topic};

/// What a group's name takes, held by its table and by its sessions: an estimate, since names differ.
const GROUP_NAME_BYTES: usize = 64;

/// All groups.
#[derive(Debug)]
pub(super) struct Shares {
    /// The groups' filters; a "session" here is a group's position.
    router: Router,
    groups: Slab<Group>,
    /// By `$share/{ShareName}/{filter}`.
    by_name: HashMap<Rc<str>, SessionKey, SeededState>,
    members: usize,
}

#[derive(Debug)]
struct Group {
    name: Rc<str>,
    members: Vec<Subscriber>,
    /// With whom the search for the next receiver begins, so that equals take turns.
    next: Cell<usize>,
}

/// A message that was on its way to a member that does not get it any more.
pub(super) struct Released {
    /// The group's name.
    pub share: Rc<str>,
    pub message: Message,
    pub retain: bool,
}

impl Shares {
    /// No groups.
    pub fn new(seed: u64) -> Shares {
        Shares {
            router: Router::new(seed),
            groups: Slab::new(),
            by_name: HashMap::with_hasher(seeded(seed)),
            members: 0,
        }
    }

    /// Whether there are no groups.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// What the groups and their members take, in bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.groups.len() * (size_of::<Group>() + GROUP_NAME_BYTES)
            + self.members * size_of::<Subscriber>()
            + self.router.bytes()
    }

    /// Shared subscriptions in all.
    pub fn count(&self) -> usize {
        self.members
    }

    /// A member of a group.
    pub fn find(&self, name: &str, session: SessionKey) -> Option<&Subscriber> {
        let group = &self.groups[self.by_name.get(name)?.index()];
        group
            .members
            .iter()
            .find(|member| member.session == session)
    }

    /// Groups in all.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn groups(&self) -> usize {
        self.groups.len() + self.by_name.len() + self.router.count()
    }

    /// Adds a member to the group that `name` calls, or replaces its earlier subscription.
    pub fn subscribe(&mut self, name: &Rc<str>, member: Subscriber) {
        let key = match self.by_name.get(name) {
            Some(key) => *key,
            None => self.new_group(name),
        };
        let members = &mut self.groups[key.index()].members;
        match members
            .iter_mut()
            .find(|other| other.session == member.session)
        {
            Some(earlier) => *earlier = member,
            None => {
                members.push(member);
                self.members += 1;
            }
        }
    }

    fn new_group(&mut self, name: &Rc<str>) -> SessionKey {
        let group = Group {
            name: name.clone(),
            members: Vec::new(),
            next: Cell::new(0),
        };
        let key = SessionKey(
            u32::try_from(self.groups.insert(group)).expect("below the bound of subscriptions"),
        );
        self.by_name.insert(name.clone(), key);
        // What a group grants is its members' matter.
        let options = SubscriptionOptions::with_qos(Qos::ExactlyOnce);
        self.router.subscribe(
            &filter_of(name),
            Subscriber {
                session: key,
                subscription_id: 0,
                options,
            },
        );
        key
    }

    /// Removes a member from a group; whether it was one.
    pub fn unsubscribe(&mut self, name: &str, session: SessionKey) -> bool {
        let Some(key) = self.by_name.get(name).copied() else {
            return false;
        };
        let group = &mut self.groups[key.index()];
        let Some(position) = group
            .members
            .iter()
            .position(|member| member.session == session)
        else {
            return false;
        };
        group.members.remove(position);
        self.members -= 1;
        if group.members.is_empty() {
            self.router.unsubscribe(&filter_of(name), key);
            self.by_name.remove(name);
            self.groups.remove(key.index());
        }
        true
    }

    /// The groups whose filter matches a topic.
    fn matching(&self, name: &str) -> Vec<SessionKey> {
        let mut found = Vec::new();
        self.router.matching(name, |list| {
            found.extend(list.iter().map(|group| group.session))
        });
        found
    }
}

/// The filter of `$share/{ShareName}/{filter}`; a group's name was checked when it was made.
fn filter_of(name: &str) -> Rc<str> {
    Rc::from(topic::subscribed(name).map_or(name, |subscribed| subscribed.filter))
}

impl Broker {
    /// Passes a message to one member of each group whose filter matches. How many there are.
    pub(super) fn route_shared<E: Effects>(
        &mut self,
        now: Time,
        outgoing: &mut Outgoing<'_>,
        effects: &mut E,
    ) -> usize {
        let groups = self.shares.matching(outgoing.topic);
        groups
            .into_iter()
            .filter(|group| self.deliver_to_group(now, *group, None, outgoing, effects))
            .count()
    }

    /// Passes a message to a member of a group other than `except`. `false` when there is none that may have it.
    fn deliver_to_group<E: Effects>(
        &mut self,
        now: Time,
        group: SessionKey,
        except: Option<SessionKey>,
        outgoing: &mut Outgoing<'_>,
        effects: &mut E,
    ) -> bool {
        let Some(member) = self.choose(group, except, outgoing.topic) else {
            return false;
        };
        let share = self.shares.groups[group.index()].name.clone();
        // [MQTT-3.8.3-4]: there is no No Local for it.
        let Some(grant) = Grant::of(&[member], outgoing, None) else {
            return false;
        };
        self.deliver(
            now,
            member.session,
            &grant.shared_by(share),
            outgoing,
            effects,
        )
    }

    /// The member that has the least to do, connected ones first.
    fn choose(
        &self,
        group: SessionKey,
        except: Option<SessionKey>,
        name: &str,
    ) -> Option<Subscriber> {
        let group = &self.shares.groups[group.index()];
        let first = group.next.get() % group.members.len().max(1);
        let (before, after) = group.members.split_at(first);
        let turn = after.iter().chain(before).zip(first..);
        let open = turn.filter(|(member, _)| {
            Some(member.session) != except && self.may_read(member.session, name)
        });
        let (chosen, position) = open.min_by_key(|(member, _)| self.load(member.session))?;
        group.next.set((position + 1) % group.members.len());
        Some(*chosen)
    }

    /// Whether a member is away, and how much it has to do.
    fn load(&self, key: SessionKey) -> (bool, usize) {
        let session = &self.sessions[key.index()];
        let busy = session.inflight.len() + session.queue.len() + session.qos0_queue.len();
        (session.connection.is_none(), busy)
    }

    /// Whether a session's client may read a topic, as far as is known while it is away.
    pub(super) fn may_read(&self, key: SessionKey, name: &str) -> bool {
        let connection = self.sessions[key.index()].connection;
        let connection = connection.and_then(|id| self.connections[id.index as usize].as_deref());
        connection.is_none_or(|connection| {
            connection.permissions.reads_all() || connection.permissions.may_read(name)
        })
    }

    /// A member has lost its connection: what it has not acknowledged goes to members that have one (4.8.2).
    pub(super) fn hand_over_shared<E: Effects>(
        &mut self,
        now: Time,
        key: SessionKey,
        effects: &mut E,
    ) {
        if self.shares.is_empty() {
            return;
        }
        let has_other = |share: &str| {
            let group = self
                .shares
                .by_name
                .get(share)
                .map(|group| &self.shares.groups[group.index()]);
            group.is_some_and(|group| {
                let others = group.members.iter().filter(|member| member.session != key);
                others
                    .into_iter()
                    .any(|member| self.sessions[member.session.index()].connection.is_some())
            })
        };
        let names = self.sessions[key.index()].filters.iter();
        let names: Vec<Rc<str>> = names
            .filter(|name| topic::is_shared(name) && has_other(name))
            .cloned()
            .collect();
        for name in names {
            let released = self.sessions[key.index()].release(&name, effects);
            self.redeliver(now, key, released, effects);
        }
    }

    /// Passes messages on to other members of their groups; without one they are lost, as without a subscription.
    pub(super) fn redeliver<E: Effects>(
        &mut self,
        now: Time,
        except: SessionKey,
        released: Vec<Released>,
        effects: &mut E,
    ) {
        for Released {
            share,
            message,
            retain,
        } in released
        {
            let Some(group) = self.shares.by_name.get(&share).copied() else {
                self.sys.publish_dropped += 1;
                continue;
            };
            let expires_at = message.expires_at_ms().map(Time);
            if expires_at.is_some_and(|at| at <= now) {
                self.sys.publish_dropped += 1;
                continue;
            }
            let mut outgoing = Outgoing {
                serial: self.new_serial(),
                topic: message.topic(),
                properties: message.properties(),
                payload: message.payload(),
                qos: message.qos(),
                retain,
                expires_at,
                origin: None,
                kept: Some(message.clone()),
                reached: false,
            };
            if !self.deliver_to_group(now, group, Some(except), &mut outgoing, effects) {
                self.sys.publish_dropped += 1;
            }
        }
    }
}

impl Session {
    /// Gives up what it has of a group and has not acknowledged, but not what was sent at QoS 2.
    pub fn release<E: Effects>(&mut self, name: &str, effects: &mut E) -> Vec<Released> {
        let mut released = Vec::new();
        for (packet_id, entry) in self.inflight.take_unacknowledged(&is_of(name)) {
            if self.is_durable() {
                effects.store(&StoreOp::Done {
                    session: self.id,
                    packet_id,
                });
            }
            released.push(entry);
        }
        released.extend(self.release_queued(name, effects));
        released
    }

    /// Gives up what it has of a group and has not been sent.
    pub fn release_queued<E: Effects>(&mut self, name: &str, effects: &mut E) -> Vec<Released> {
        let mut queued = self.queue.take(&is_of(name));
        queued.extend(self.qos0_queue.take(&is_of(name)));
        for queued in &queued {
            self.store_dropped(queued, effects);
        }
        let all = queued.into_iter();
        all.map(|queued| Released {
            share: Rc::from(name),
            message: queued.message,
            retain: queued.retain,
        })
        .collect()
    }
}

fn is_of(name: &str) -> impl Fn(&Option<Rc<str>>) -> bool {
    move |share| share.as_deref() == Some(name)
}

/// Members of one group; a check of every one is made for each message, so that their number is bounded.
pub(super) fn is_full(shares: &Shares, name: &str) -> bool {
    let group = shares
        .by_name
        .get(name)
        .map(|key| &shares.groups[key.index()]);
    group.is_some_and(|group| group.members.len() >= limits::SHARE_MEMBERS_MAX)
}
