//! What clients were denied: the last of it is remembered, and the log is told of it, ever more seldom for the same client and rule.
//!
//! Entered by [`Table::denied`](crate::broker::Effects::denied) for what the rules deny, and by [`Table::refused`] for logins. It
//! decides nothing, and what it remembers has a bound: so many denials, of each so many bytes of what the client chose.

use std::collections::VecDeque;

use super::Table;
use crate::auth::{LeftOut, Throttle};
use crate::broker::effect::Denial;
use crate::broker::{ConnectionId, Time};
use crate::log::Escaped;

/// So many are remembered: a page of them.
const RECENT_MAX: usize = 32;

/// So many bytes of a client identifier, a user name or a topic are.
pub(super) const TEXT_BYTES_MAX: usize = 256;

/// What clients were denied.
#[derive(Debug, Default)]
pub struct Denials {
    /// The last first.
    recent: VecDeque<Denied>,
    /// Since the start: by the rules, and logins.
    count: u64,
    logins: u64,
    throttle: Throttle,
}

/// Something that a client was denied, maybe more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The last time.
    pub at: Time,
    /// How often.
    pub count: u64,
    /// The client.
    pub client_id: String,
    /// Its user name; `None` for an anonymous one.
    pub user: Option<String>,
    /// Where it came from.
    pub address: String,
    /// The listener that it came through.
    pub listener: String,
    /// What it wanted: `publish`, `subscribe`, `will` or `login`.
    pub action: &'static str,
    /// On which topic, the last time.
    pub topic: String,
    /// The rule that denied it: its section and line.
    pub rule: Option<(String, u32)>,
    /// Why, in words.
    pub words: String,
    /// When the log was told of it the last time.
    said_at: Time,
}

/// So long after the log was told of a denial the same is news again, in milliseconds: who looks into the log of today is to find it.
const NEWS_AGAIN_MS: u64 = 3_600_000;

impl Denied {
    /// Whether it is the same again.
    fn is(&self, other: &Denied) -> bool {
        self.action == other.action
            && self.rule == other.rule
            && self.client_id == other.client_id
            && self.user == other.user
            && self.listener == other.listener
    }
}

impl Denials {
    /// The last, the newest first.
    pub fn recent(&self) -> impl Iterator<Item = &Denied> {
        self.recent.iter()
    }

    /// How often clients were denied something by the rules, since the start.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many logins failed, since the start.
    pub fn logins(&self) -> u64 {
        self.logins
    }

    /// Remembers one; how often it was the same, if the log is to be told.
    fn note(&mut self, mut denied: Denied) -> Option<u64> {
        let same = self.recent.iter().position(|known| known.is(&denied));
        let mut is_news = true;
        if let Some(former) = same.and_then(|position| self.recent.remove(position)) {
            denied.count = former.count + 1;
            // A client that is denied again and again is told of ever more seldom: a log is not for a flood.
            is_news = denied.count.is_power_of_two()
                || denied.at.since_ms(former.said_at) >= NEWS_AGAIN_MS;
            if !is_news {
                denied.said_at = former.said_at;
            }
        }
        let count = denied.count;
        self.recent.truncate(RECENT_MAX - 1);
        self.recent.push_front(denied);
        is_news.then_some(count)
    }
}

impl Table {
    /// What clients were denied.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    /// Notes what the rules denied a client, and says it unless that is said too often.
    pub(super) fn note_denial(&mut self, connection: ConnectionId, denial: &Denial<'_>) {
        let now = self.now;
        let Some(live) = self.live(connection) else {
            return;
        };
        live.denials = live.denials.saturating_add(1);
        let name = live.name();
        let client = live.client.as_ref();
        let rule = denial.decision.rule();
        let denied = Denied {
            at: now,
            count: 1,
            client_id: cut(client.map_or("", |client| &client.client_id)),
            user: client.and_then(|client| client.identity.user()).map(cut),
            address: live.address.to_string(),
            listener: live.through(),
            action: denial.action.name(),
            topic: cut(denial.topic),
            rule: rule.map(|place| (place.section.clone(), place.line)),
            words: denial.decision.to_string(),
            said_at: now,
        };
        self.trace_denial(connection, denial, &denied.words);
        self.denials.count += 1;
        let action = denied.action;
        if let Some(count) = self.denials.note(denied)
            && let Some(left_out) = self.denials.throttle.say(now.0).map(LeftOut)
        {
            let (topic, decision) = (Escaped(denial.topic), &denial.decision);
            log::info!("{name}: may not {action} '{topic}': {decision} (time {count}){left_out}");
        }
    }

    /// Notes that a client was not let in as `user`. The log is whoever's matter who knows why.
    pub fn refused(&mut self, id: ConnectionId, client_id: &str, user: &str, what: &'static str) {
        let now = self.now;
        let Some(live) = self.live(id) else {
            return;
        };
        let denied = Denied {
            at: now,
            count: 1,
            client_id: cut(client_id),
            user: Some(user).filter(|user| !user.is_empty()).map(cut),
            address: live.address.to_string(),
            listener: live.through(),
            action: "login",
            topic: String::new(),
            rule: None,
            words: what.to_owned(),
            said_at: now,
        };
        self.trace_refusal(&denied);
        self.denials.logins += 1;
        self.denials.note(denied);
    }
}

/// The beginning of a text.
pub(super) fn cut(text: &str) -> String {
    cut_to(text, TEXT_BYTES_MAX)
}

/// The beginning of a text, so many bytes at most.
pub(super) fn cut_to(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(client_id: &str, line: u32, at: u64) -> Denied {
        Denied {
            at: Time(at),
            count: 1,
            client_id: client_id.to_owned(),
            user: None,
            address: "192.0.2.1:5".to_owned(),
            listener: "lan".to_owned(),
            action: "publish",
            topic: format!("t/{at}"),
            rule: Some(("r".to_owned(), line)),
            words: "denied".to_owned(),
            said_at: Time(at),
        }
    }

    #[test]
    fn the_same_denial_is_counted_and_the_newest_stands_first() {
        let mut denials = Denials::default();
        assert_eq!(denials.note(denied("a", 1, 1)), Some(1));
        assert_eq!(denials.note(denied("a", 2, 2)), Some(1));
        assert_eq!(denials.note(denied("b", 1, 3)), Some(1));
        assert_eq!(denials.note(denied("a", 1, 4)), Some(2));
        let told: Vec<_> = denials.recent().map(|it| (it.at.0, it.count)).collect();
        assert_eq!(told, [(4, 2), (3, 1), (2, 1)]);
    }

    #[test]
    fn the_log_is_told_of_a_flood_seldom_and_of_a_drizzle_each_hour() {
        let mut denials = Denials::default();
        let told = |at| denials.note(denied("a", 1, at)).is_some();
        assert_eq!((0..1000).map(told).filter(|told| *told).count(), 10);
        let mut denials = Denials::default();
        let each_ms = NEWS_AGAIN_MS / 2;
        let told = |number| denials.note(denied("a", 1, number * each_ms)).is_some();
        let told = (0..1000).map(told).filter(|told| *told).count();
        assert!(told > 490, "{told}");
    }

    #[test]
    fn a_flood_of_names_is_remembered_in_part() {
        let mut denials = Denials::default();
        for number in 0..1000 {
            denials.note(denied(&number.to_string(), 1, number));
        }
        assert_eq!(denials.recent().count(), RECENT_MAX);
        assert_eq!(cut(&"é".repeat(1000)).len(), TEXT_BYTES_MAX);
        assert_eq!(cut("aé"), "aé");
    }
}
