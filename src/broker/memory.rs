//! How much memory everything that clients can grow takes together, and what goes when it is too much.
//!
//! Kept messages, sessions and connections count themselves in one [`Tally`]; the router knows its own size, and what the
//! network holds comes in as [`Input::Network`](super::Input::Network). The sum is held against `Settings::memory_limit`, of which the
//! last part is a reserve for the clients of the router itself ([`limits::reserve`]). Above the limit goes, in this order: QoS 0
//! messages that wait and what the keeper has, the oldest first; sessions without a client, those first that hold nothing, then those that hold nothing above QoS 0, and
//! of equals the one whose client has been away for longest; QoS 1 and 2 messages that wait, the oldest first; and when all that is not enough, new work is refused.
//! Clients that have the reserve lose theirs after all others. In the same order sessions without a client go when there are too many of them.
//!
//! What this does not do: it does not know what the allocator adds, nor the rooms of tables that were larger once. That is why the
//! limit is a share of the RAM and not all of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Broker;
use super::effect::Effects;
use super::keeper::Keeper;
use super::limits;
use super::session::{Session, SessionKey};
use super::timers::Time;
use crate::mqtt::Tally;

/// After a look for what can go that found too little, the next one comes after so many milliseconds: it costs as much as
/// there are sessions.
const LOOK_AGAIN_MS: u64 = 100;

/// Trouble is over when there was none for so long, in milliseconds; the log is told then, and not at each message.
const CALM_MS: u64 = 10_000;

/// The account.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Messages, sessions and connections.
    pub tally: Tally,
    /// What the network said last.
    pub network: usize,
    /// The most that there ever was.
    pub maximum: usize,
    /// How often sessions were ended because there were too many without a client.
    orphan_rounds: u64,
    /// No look for what can go before this moment, unless there is more than this.
    look_again: Option<(Time, usize)>,
    /// What has happened since the limit was reached.
    trouble: Option<Trouble>,
}

/// A time in which the limit was reached again and again.
#[derive(Debug)]
struct Trouble {
    last: Time,
    qos0: u64,
    sessions: u64,
    queued: u64,
    refused: u64,
}

/// Which messages wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Qos0,
    Others,
}

impl Broker {
    /// Bytes of everything that clients have made the broker and the network hold, as far as they are counted.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.memory.tally.bytes() + self.router.bytes() + self.shares.bytes() + self.memory.network
    }

    /// The most that there may be for clients without the reserve.
    #[inline]
    fn ordinary_limit(&self) -> usize {
        let limit = self.settings.memory_limit;
        limit - limits::reserve(limit)
    }

    fn limit_for(&self, has_reserve: bool) -> usize {
        if has_reserve {
            self.settings.memory_limit
        } else {
            self.ordinary_limit()
        }
    }

    /// Whether a session's client may take from the reserve.
    fn has_reserve(&self, key: Option<SessionKey>) -> bool {
        key.and_then(|key| self.sessions.get(key.index()))
            .is_some_and(|session| session.has_reserve)
    }

    /// Whether so many bytes more are within the limit, without anything having to go.
    #[inline]
    pub(super) fn fits(&self, bytes: usize, of: Option<SessionKey>) -> bool {
        let held = self.held_bytes().saturating_add(bytes);
        held <= self.ordinary_limit()
            || (held <= self.settings.memory_limit && self.has_reserve(of))
    }

    /// Makes room for what a client (the one of the session `of`) asks for; whether it may have it. Sessions may end, but none that has a
    /// client: the caller MUST NOT hold the key of any other.
    #[inline]
    pub(super) fn make_room<E: Effects>(
        &mut self,
        now: Time,
        bytes: usize,
        of: Option<SessionKey>,
        effects: &mut E,
    ) -> bool {
        self.fits(bytes, of) || self.make_room_for(now, bytes, self.has_reserve(of), effects)
    }

    /// The same, when there is none.
    pub(super) fn make_room_for<E: Effects>(
        &mut self,
        now: Time,
        bytes: usize,
        has_reserve: bool,
        effects: &mut E,
    ) -> bool {
        let limit = self.limit_for(has_reserve);
        if self.held_bytes().saturating_add(bytes) <= limit {
            return true;
        }
        self.relieve(now, bytes, has_reserve, effects);
        let fits = self.held_bytes().saturating_add(bytes) <= limit;
        if !fits {
            self.trouble(now).refused += 1;
        }
        fits
    }

    /// Makes room for a QoS 0 message that is to wait, for which only others of its kind go; whether there is some. It is called while a message
    /// is routed, so no session may end.
    pub(super) fn make_room_to_wait<E: Effects>(
        &mut self,
        now: Time,
        bytes: usize,
        of: Option<SessionKey>,
        effects: &mut E,
    ) -> bool {
        if self.fits(bytes, of) {
            return true;
        }
        let has_reserve = self.has_reserve(of);
        if self.may_look(now, bytes) {
            let target = target(self.limit_for(has_reserve), bytes);
            self.drop_qos0(now, target, has_reserve, effects);
            self.looked(now, target);
        }
        self.fits(bytes, of)
    }

    /// What stands at the end of every input: notes how much there is, and brings it below the limit if it is above.
    #[inline]
    pub(super) fn settle<E: Effects>(&mut self, now: Time, effects: &mut E) {
        let held = self.held_bytes();
        self.memory.maximum = self.memory.maximum.max(held);
        if held > self.ordinary_limit() {
            self.relieve(now, 0, false, effects);
        }
    }

    /// Lets go what can be spared, until there are so many bytes below the limit and some more, so that the next look is not soon.
    fn relieve<E: Effects>(&mut self, now: Time, bytes: usize, has_reserve: bool, effects: &mut E) {
        if !self.may_look(now, bytes) {
            return;
        }
        let first = target(self.limit_for(has_reserve), bytes);
        self.let_go(now, first, false, effects);
        let limit = self.settings.memory_limit;
        if has_reserve || self.held_bytes() > limit {
            self.let_go(now, target(limit, bytes), true, effects);
        }
        self.looked(now, first);
    }

    /// Lets go in order, from the clients of the router itself only if `with_reserve`.
    fn let_go<E: Effects>(
        &mut self,
        now: Time,
        target: usize,
        with_reserve: bool,
        effects: &mut E,
    ) {
        self.drop_qos0(now, target, with_reserve, effects);
        self.end_sessions_of_nobody(now, target, with_reserve, effects);
        let dropped = self.drop_waiting(Waiting::Others, target, with_reserve, effects);
        if dropped > 0 {
            self.trouble(now).queued += dropped;
        }
    }

    fn may_look(&self, now: Time, bytes: usize) -> bool {
        self.memory
            .look_again
            .is_none_or(|(at, above)| at <= now || self.held_bytes().saturating_add(bytes) > above)
    }

    fn looked(&mut self, now: Time, target: usize) {
        let held = self.held_bytes();
        // Whoever found too little would find as little at the next message.
        let above = held.saturating_add(self.settings.memory_limit / 16);
        self.memory.look_again = (held > target).then(|| (now.after_ms(LOOK_AGAIN_MS), above));
    }

    fn drop_qos0<E: Effects>(
        &mut self,
        now: Time,
        target: usize,
        with_reserve: bool,
        effects: &mut E,
    ) {
        let dropped = self.drop_waiting(Waiting::Qos0, target, with_reserve, effects);
        if dropped > 0 {
            self.trouble(now).qos0 += dropped;
        }
    }

    /// Drops messages that wait, the oldest first, until no more than `target` bytes are held. How many.
    fn drop_waiting<E: Effects>(
        &mut self,
        kind: Waiting,
        target: usize,
        with_reserve: bool,
        effects: &mut E,
    ) -> u64 {
        if self.held_bytes() <= target {
            return 0;
        }
        let oldest = |key: SessionKey, session: &Session| {
            let front = match kind {
                Waiting::Qos0 => session.qos0_queue.front(),
                Waiting::Others => session.queue.front(),
            }?;
            Some(Reverse((front.since, front.message.id(), Some(key))))
        };
        let mut queues: BinaryHeap<_> = self
            .keys()
            .filter(|(_, session)| with_reserve || !session.has_reserve)
            .filter_map(|(key, session)| oldest(key, session))
            .collect();
        let oldest_kept = |keeper: &Keeper| {
            let front = keeper.front().filter(|_| kind == Waiting::Qos0)?;
            Some(Reverse((front.since, front.message.id(), None)))
        };
        queues.extend(oldest_kept(&self.keeper));
        let mut count = 0;
        while self.held_bytes() > target
            && let Some(Reverse((_, _, key))) = queues.pop()
        {
            let Some(key) = key else {
                if let Some(dropped) = self.keeper.pop() {
                    self.drop_kept(&dropped, effects);
                }
                queues.extend(oldest_kept(&self.keeper));
                continue;
            };
            let session = &mut self.sessions[key.index()];
            let queue = match kind {
                Waiting::Qos0 => &mut session.qos0_queue,
                Waiting::Others => &mut session.queue,
            };
            let Some(dropped) = queue.pop() else {
                continue;
            };
            session.count_dropped(1);
            session.store_dropped(&dropped, effects);
            queues.extend(oldest(key, session));
            count += 1;
        }
        self.sys.publish_dropped += count;
        count
    }

    /// Ends sessions whose client is away, until no more than `target` bytes are held. An attacker's sessions mostly hold nothing: they go
    /// before an honest one that has been left for longer.
    fn end_sessions_of_nobody<E: Effects>(
        &mut self,
        now: Time,
        target: usize,
        with_reserve: bool,
        effects: &mut E,
    ) {
        if self.held_bytes() <= target {
            return;
        }
        for key in self.sessions_of_nobody(with_reserve) {
            if self.held_bytes() <= target {
                return;
            }
            self.sys.clients_expired += 1;
            self.trouble(now).sessions += 1;
            self.end_session(now, key, effects);
        }
    }

    /// Sessions whose client is away, in the order in which they can be spared.
    fn sessions_of_nobody(&self, with_reserve: bool) -> Vec<SessionKey> {
        let mut of_nobody: Vec<_> = self
            .keys()
            .filter(|(_, session)| session.connection.is_none() && session.bridge.is_none())
            .filter(|(_, session)| with_reserve || !session.has_reserve)
            .map(|(key, session)| {
                let expires_at = session.expires_at.unwrap_or(Time(u64::MAX));
                (
                    session.has_reserve,
                    session.holds(),
                    session.offline_since,
                    expires_at,
                    key,
                )
            })
            .collect();
        of_nobody.sort_unstable();
        of_nobody.into_iter().map(|(.., key)| key).collect()
    }

    /// How many sessions there are whose client is away.
    #[inline]
    pub(super) fn sessions_away(&self) -> usize {
        self.sessions.len() - self.sys.connected()
    }

    /// Ends sessions whose client is away when there are too many, and more than `before`: after a restart all of them are away, and nobody is to
    /// blame for that.
    #[inline]
    pub(super) fn bound_sessions_away<E: Effects>(
        &mut self,
        now: Time,
        before: usize,
        effects: &mut E,
    ) {
        let away = self.sessions_away();
        if away > limits::SESSIONS_AWAY_MAX.max(before) {
            self.end_orphans(now, away, effects);
        }
    }

    fn end_orphans<E: Effects>(&mut self, now: Time, away: usize, effects: &mut E) {
        let kept = limits::SESSIONS_AWAY_MAX - limits::SESSIONS_AWAY_MAX / 16;
        self.memory.orphan_rounds += 1;
        // Whoever makes so many goes on with it: the log is told ever more seldom.
        if self.memory.orphan_rounds.is_power_of_two() {
            log::warn!(
                "{away} sessions are without a client: those that can best be spared end, until there are {kept}"
            );
        }
        for key in self.sessions_of_nobody(true).into_iter().take(away - kept) {
            self.sys.clients_expired += 1;
            self.end_session(now, key, effects);
        }
    }

    fn keys(&self) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.sessions
            .iter()
            .map(|(index, session)| (SessionKey(index as u32), session))
    }

    /// The trouble at hand. The log is told when it begins.
    fn trouble(&mut self, now: Time) -> &mut Trouble {
        let held = self.held_bytes();
        let limit = self.settings.memory_limit;
        let trouble = self.memory.trouble.get_or_insert_with(|| {
            log::warn!("memory: {held} of {limit} bytes are in use: what can be spared goes");
            Trouble {
                last: now,
                qos0: 0,
                sessions: 0,
                queued: 0,
                refused: 0,
            }
        });
        trouble.last = now;
        trouble
    }

    /// Says what trouble has cost once it is over; called now and then.
    pub(super) fn calm_down(&mut self, now: Time) {
        let is_over = |trouble: &mut Trouble| now.since_ms(trouble.last) >= CALM_MS;
        if let Some(trouble) = self.memory.trouble.take_if(is_over) {
            log::warn!(
                "memory: {} of {} bytes are in use again; {} messages of QoS 0, {} sessions and {} other messages went, \
                 and {} requests were refused",
                self.held_bytes(),
                self.settings.memory_limit,
                trouble.qos0,
                trouble.sessions,
                trouble.queued,
                trouble.refused
            );
        }
    }
}

/// What is aimed at: a sixteenth below the limit.
fn target(limit: usize, bytes: usize) -> usize {
    (limit - limit / 16).saturating_sub(bytes)
}
