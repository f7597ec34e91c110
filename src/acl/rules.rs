//! The rules of all clients and what they come to for one. Entered through [`Rules::permissions`]; the result answers
//! without allocating and without the names it was made for.
//!
//! It does not know topics' syntax (that is `pattern`) and does not remember decisions.

use std::sync::Arc;

use super::pattern::{Pattern, covers, matches};
use super::why::{Action, By, Decision, Place, is_servers};

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Subscribing and receiving.
    Read,
    /// Publishing.
    Write,
    /// Everything.
    ReadWrite,
    /// The right to subscribe alone; receiving is another rule's matter.
    Subscribe,
}

impl Access {
    fn is_about(self, action: Action) -> bool {
        match (self, action) {
            (Access::ReadWrite, _) => true,
            (Access::Read, Action::Read | Action::Subscribe) => true,
            (Access::Write, Action::Write | Action::Will) => true,
            (Access::Subscribe, Action::Subscribe) => true,
            (Access::Read | Access::Write | Access::Subscribe, _) => false,
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands, for those who ask why.
    pub place: Arc<Place>,
    /// The users whom it is for, beside those of `groups`. If both are empty it is for everyone, named or not.
    pub users: Vec<String>,
    /// The groups whose users it is for.
    pub groups: Vec<String>,
    /// The listeners whose clients it is for; of all if empty.
    pub listeners: Vec<String>,
    /// What it is about.
    pub access: Access,
    /// Whether it allows or forbids that.
    pub allow: bool,
    /// The topics that it is about.
    pub topics: Vec<Pattern>,
}

impl Rule {
    fn is_for(&self, subject: &Subject<'_>) -> bool {
        let user = |name: &str| self.users.iter().any(|user| user == name);
        let everyone = self.users.is_empty() && self.groups.is_empty();
        let group = || {
            subject
                .groups
                .iter()
                .any(|group| self.groups.contains(group))
        };
        let listener =
            self.listeners.is_empty() || self.listeners.iter().any(|name| name == subject.listener);
        listener && (everyone || subject.user.is_some_and(|name| user(name) || group()))
    }
}

impl Rule {
    /// Whether whatever another rule would decide is this one's to decide: for all of its clients, actions and topics.
    fn covers(&self, other: &Rule) -> bool {
        let within = |own: &[String], others: &[String]| others.iter().all(|it| own.contains(it));
        let is_for_all = self.users.is_empty() && self.groups.is_empty();
        let others_for_all = other.users.is_empty() && other.groups.is_empty();
        let has_clients = is_for_all
            || !others_for_all
                && within(&self.users, &other.users)
                && within(&self.groups, &other.groups);
        let has_listeners = self.listeners.is_empty()
            || !other.listeners.is_empty() && within(&self.listeners, &other.listeners);
        let has_access = [Action::Write, Action::Read, Action::Subscribe]
            .into_iter()
            .all(|action| !other.access.is_about(action) || self.access.is_about(action));
        // A name stands for the same in both patterns, as one level or as nothing that matches.
        let has_topics = other.topics.iter().all(|topic| {
            let mut own = self.topics.iter();
            own.any(|own| covers(own.text(), topic.text()))
        });
        has_clients && has_listeners && has_access && has_topics
    }
}

/// Who a client is, as far as rules ask.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The user name that was proven; `None` for an anonymous client.
    pub user: Option<&'a str>,
    /// The groups of that user. They MUST be empty for an anonymous client.
    pub groups: &'a [String],
    /// The name of the listener through which the client came.
    pub listener: &'a str,
    /// The client id of its CONNECT, or the one that was assigned.
    pub client_id: &'a str,
}

/// All rules in their order, and what holds when none matches. The default allows everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    allow_by_default: bool,
    rules: Vec<Rule>,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            allow_by_default: true,
            rules: Vec::new(),
        }
    }
}

impl Rules {
    /// Rules in the order in which they are asked.
    pub fn new(allow_by_default: bool, rules: Vec<Rule>) -> Self {
        Rules {
            allow_by_default,
            rules,
        }
    }

    /// All of them, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Rules that never decide anything, each with the earlier one that always comes first. That several earlier ones together leave
    /// nothing is not looked for.
    pub fn shadowed(&self) -> impl Iterator<Item = (&Place, &Place)> {
        self.rules.iter().enumerate().filter_map(|(index, rule)| {
            let mut earlier = self.rules[..index].iter();
            let by = earlier.find(|earlier| earlier.covers(rule))?;
            Some((&*rule.place, &*by.place))
        })
    }

    /// What the rules come to for one client. Its names are put in for `%u` and `%c`; a pattern that they do not fit
    /// matches nothing.
    pub fn permissions(&self, subject: &Subject<'_>) -> Permissions {
        let for_subject = self.rules.iter().filter(|rule| rule.is_for(subject));
        let rules = for_subject
            .filter_map(|rule| OwnRule::new(rule, subject))
            .collect();
        Permissions::new(self.allow_by_default, rules)
    }
}

/// A rule as it is for one client.
#[derive(Debug, PartialEq, Eq)]
struct OwnRule {
    place: Arc<Place>,
    access: Access,
    allow: bool,
    /// Filters with the client's names in them; never empty.
    filters: Vec<String>,
}

impl OwnRule {
    fn new(rule: &Rule, subject: &Subject<'_>) -> Option<Self> {
        let own = |topic: &Pattern| topic.substituted(subject.user, subject.client_id);
        let filters: Vec<_> = rule.topics.iter().filter_map(own).collect();
        (!filters.is_empty()).then_some(OwnRule {
            place: rule.place.clone(),
            access: rule.access,
            allow: rule.allow,
            filters,
        })
    }

    fn decides(&self, action: Action, topic: &str) -> bool {
        let says: fn(&str, &str) -> bool = match action {
            Action::Write | Action::Will | Action::Read => matches,
            Action::Subscribe => covers,
        };
        self.access.is_about(action) && self.filters.iter().any(|filter| says(filter, topic))
    }
}

/// What one client may do: only the rules that can concern it; nothing is held for one that may do everything. Cloning copies a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions(Option<Arc<Own>>);

#[derive(Debug, PartialEq, Eq)]
struct Own {
    allow_by_default: bool,
    writes_all: bool,
    reads_all: bool,
    rules: Vec<OwnRule>,
}

impl Permissions {
    fn new(allow_by_default: bool, rules: Vec<OwnRule>) -> Self {
        if allow_by_default && rules.is_empty() {
            return Permissions::allow_all();
        }
        let all = |action| {
            allow_by_default
                && rules
                    .iter()
                    .all(|rule| rule.allow || !rule.access.is_about(action))
        };
        let (writes_all, reads_all) = (all(Action::Write), all(Action::Read));
        Permissions(Some(Arc::new(Own {
            allow_by_default,
            writes_all,
            reads_all,
            rules,
        })))
    }

    /// Everything is allowed.
    pub fn allow_all() -> Self {
        Permissions(None)
    }

    /// Whether no topic at all is forbidden to publish to, so that asking for each message is idle.
    pub fn writes_all(&self) -> bool {
        self.0.as_ref().is_none_or(|own| own.writes_all)
    }

    /// Whether no topic at all is kept back, so that asking for each delivery is idle.
    pub fn reads_all(&self) -> bool {
        self.0.as_ref().is_none_or(|own| own.reads_all)
    }

    /// Whether the client may publish to the topic name, and have a Will on it.
    #[inline]
    pub fn may_write(&self, topic: &str) -> bool {
        !is_servers(topic) && (self.writes_all() || self.rule(Action::Write, topic).0)
    }

    /// Whether a message of the topic name may be delivered to the client.
    #[inline]
    pub fn may_read(&self, topic: &str) -> bool {
        self.reads_all() || self.rule(Action::Read, topic).0
    }

    /// Whether the client may subscribe to the filter. Of `$share/GROUP/FILTER` only FILTER MUST be given.
    pub fn may_subscribe(&self, filter: &str) -> bool {
        self.rule(Action::Subscribe, filter).0
    }

    /// The decision and what made it: that of [`Permissions::may_write`], [`Permissions::may_read`] or [`Permissions::may_subscribe`]. For
    /// `Subscribe` the topic is a filter.
    pub fn why(&self, action: Action, topic: &str) -> Decision {
        if matches!(action, Action::Write | Action::Will) && is_servers(topic) {
            return Decision {
                allowed: false,
                by: By::Reserved,
            };
        }
        let (allowed, rule) = self.rule(action, topic);
        Decision {
            allowed,
            by: rule.map_or(By::Default, |rule| By::Rule(rule.place.clone())),
        }
    }

    /// Whether the rules allow it, and which one decides.
    fn rule(&self, action: Action, topic: &str) -> (bool, Option<&OwnRule>) {
        let Some(own) = &self.0 else {
            return (true, None);
        };
        match own.rules.iter().find(|rule| rule.decides(action, topic)) {
            Some(rule) => (rule.allow, Some(rule)),
            None => (own.allow_by_default, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(line: u32, access: Access, allow: bool, topics: &[&str]) -> Rule {
        let topics = topics
            .iter()
            .map(|text| Pattern::new(text).expect("tests use patterns"))
            .collect();
        Rule {
            place: Arc::new(Place {
                section: format!("r{line}"),
                line,
            }),
            users: vec![],
            groups: vec![],
            listeners: vec![],
            access,
            allow,
            topics,
        }
    }

    const ANNA: Subject<'_> = Subject {
        user: Some("anna"),
        groups: &[],
        listener: "lan",
        client_id: "phone",
    };

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = Rules::new(
            false,
            vec![
                rule(1, Access::Write, true, &["a/open"]),
                rule(2, Access::ReadWrite, false, &["a/#"]),
                rule(3, Access::ReadWrite, true, &["#"]),
            ],
        );
        let anna = rules.permissions(&ANNA);
        assert!(anna.may_write("a/open"));
        assert!(!anna.may_read("a/open"));
        assert!(!anna.may_write("a/b"));
        assert!(anna.may_write("b"));
        let why = anna.why(Action::Read, "a/open");
        assert_eq!(why.rule().map(|place| place.line), Some(2));
        assert!(!why.allowed);
    }

    #[test]
    fn the_default_decides_when_no_rule_matches() {
        for allow in [true, false] {
            let rules = Rules::new(allow, vec![rule(1, Access::Write, !allow, &["a"])]);
            let anna = rules.permissions(&ANNA);
            assert_eq!(
                anna.why(Action::Write, "b"),
                Decision {
                    allowed: allow,
                    by: By::Default
                }
            );
            assert_eq!(anna.may_read("a"), allow);
            assert_eq!(anna.may_subscribe("a"), allow);
            assert_eq!(anna.may_write("a"), !allow);
        }
    }

    #[test]
    fn a_wide_subscription_passes_beside_a_denied_topic_that_is_kept_back_at_delivery() {
        let rules = Rules::new(true, vec![rule(1, Access::ReadWrite, false, &["secret/#"])]);
        let anna = rules.permissions(&ANNA);
        assert!(anna.may_subscribe("#"));
        assert!(anna.may_subscribe("+/x"));
        assert!(!anna.may_subscribe("secret/#"));
        assert!(!anna.may_subscribe("secret/+"));
        assert!(!anna.may_read("secret/x"));
        assert!(anna.may_read("open"));
    }

    #[test]
    fn a_narrow_right_to_read_does_not_allow_a_wide_subscription() {
        let rules = Rules::new(false, vec![rule(1, Access::Read, true, &["a/+"])]);
        let anna = rules.permissions(&ANNA);
        assert!(anna.may_subscribe("a/+"));
        assert!(anna.may_subscribe("a/b"));
        assert!(!anna.may_subscribe("a/#"));
        assert!(!anna.may_subscribe("#"));
        assert!(!anna.may_write("a/b"));
    }

    #[test]
    fn the_right_to_subscribe_stands_alone() {
        let rules = Rules::new(true, vec![rule(1, Access::Subscribe, false, &["#"])]);
        let anna = rules.permissions(&ANNA);
        assert!(!anna.may_subscribe("#"));
        assert!(!anna.may_subscribe("a/b"));
        assert!(anna.may_read("a/b"));
        assert!(anna.reads_all());
    }

    #[test]
    fn wildcards_leave_sys_to_the_default() {
        let rules = Rules::new(true, vec![rule(1, Access::ReadWrite, false, &["#"])]);
        assert!(rules.permissions(&ANNA).may_subscribe("$SYS/#"));
        let rules = Rules::new(false, vec![rule(1, Access::ReadWrite, true, &["#"])]);
        assert!(!rules.permissions(&ANNA).may_subscribe("$SYS/#"));
        assert!(!rules.permissions(&ANNA).may_read("$SYS/broker/uptime"));
    }

    #[test]
    fn users_and_groups_add_up_and_a_listener_narrows() {
        let mut only = rule(1, Access::ReadWrite, true, &["#"]);
        only.users = vec!["anna".into()];
        only.groups = vec!["home".into()];
        only.listeners = vec!["lan".into()];
        let rules = Rules::new(false, vec![only]);
        let home = ["home".to_string()];
        let may = |subject: Subject<'_>| rules.permissions(&subject).may_write("a");
        assert!(may(ANNA));
        assert!(may(Subject {
            user: Some("ben"),
            groups: &home,
            ..ANNA
        }));
        assert!(!may(Subject {
            user: Some("ben"),
            ..ANNA
        }));
        assert!(!may(Subject {
            listener: "remote",
            ..ANNA
        }));
        assert!(!may(Subject { user: None, ..ANNA }));
        assert!(!may(Subject {
            user: None,
            groups: &home,
            ..ANNA
        }));
    }

    #[test]
    fn each_client_has_its_own_topics_by_its_names() {
        let rules = Rules::new(
            false,
            vec![rule(1, Access::ReadWrite, true, &["u/%u/#", "c/%c"])],
        );
        let anna = rules.permissions(&ANNA);
        assert!(anna.may_write("u/anna/x") && anna.may_write("c/phone"));
        assert!(
            !anna.may_write("u/ben/x") && !anna.may_write("c/anna") && !anna.may_write("u/%u/x")
        );
        let plus = rules.permissions(&Subject {
            user: Some("+"),
            client_id: "#",
            ..ANNA
        });
        for topic in ["u/anna/x", "u/+/x", "c/phone", "c/#", "c/%c"] {
            assert!(
                !plus.may_write(topic) && !plus.may_subscribe(topic),
                "{topic}"
            );
        }
    }

    #[test]
    fn checks_are_idle_only_where_nothing_is_denied() {
        assert!(Permissions::allow_all().writes_all() && Permissions::allow_all().reads_all());
        let denied =
            Rules::new(true, vec![rule(1, Access::Write, false, &["a"])]).permissions(&ANNA);
        assert!(!denied.writes_all() && denied.reads_all());
        let allowed =
            Rules::new(true, vec![rule(1, Access::Write, true, &["a"])]).permissions(&ANNA);
        assert!(allowed.writes_all());
        assert!(!Rules::new(false, vec![]).permissions(&ANNA).reads_all());
        let mut others = rule(1, Access::ReadWrite, false, &["#"]);
        others.users = vec!["ben".into()];
        assert!(
            Rules::new(true, vec![others])
                .permissions(&ANNA)
                .writes_all()
        );
    }

    #[test]
    fn a_rule_that_leaves_nothing_to_a_later_one_shadows_it() {
        let of = |rule: Rule, users: &[&str], groups: &[&str], listeners: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
            Rule {
                users: owned(users),
                groups: owned(groups),
                listeners: owned(listeners),
                ..rule
            }
        };
        let all = Access::ReadWrite;
        let shadowed = |first: Rule, second: Rule| {
            let rules = Rules::new(true, vec![first, second]);
            let found: Vec<_> = rules
                .shadowed()
                .map(|(it, by)| (it.line, by.line))
                .collect();
            assert!(found.is_empty() || found == [(2, 1)]);
            !found.is_empty()
        };
        let first = || rule(1, all, true, &["a/#", "b"]);
        let second = |topics: &[&str]| rule(2, Access::Read, false, topics);
        assert!(shadowed(first(), second(&["a/+", "b"])));
        assert!(shadowed(first(), second(&["a/%u"])));
        assert!(!shadowed(first(), second(&["a/x", "c"])));
        assert!(!shadowed(rule(1, all, true, &["a/%u"]), second(&["a/x"])));
        assert!(!shadowed(
            rule(1, Access::Subscribe, true, &["#"]),
            second(&["a"])
        ));
        assert!(shadowed(
            rule(1, Access::Read, true, &["#"]),
            second(&["a"])
        ));
        assert!(shadowed(
            first(),
            of(second(&["b"]), &["anna"], &[], &["lan"])
        ));
        assert!(!shadowed(of(first(), &["anna"], &[], &[]), second(&["b"])));
        let anna = || of(first(), &["anna"], &[], &[]);
        assert!(!shadowed(
            anna(),
            of(second(&["b"]), &["anna", "ben"], &[], &[])
        ));
        assert!(!shadowed(anna(), of(second(&["b"]), &[], &["home"], &[])));
        assert!(shadowed(
            of(first(), &["anna", "ben"], &["home"], &[]),
            of(second(&["b"]), &["ben"], &[], &[])
        ));
        assert!(!shadowed(of(first(), &[], &[], &["lan"]), second(&["b"])));
        assert!(shadowed(
            of(first(), &[], &[], &["lan", "in"]),
            of(second(&["b"]), &[], &[], &["in"])
        ));
    }

    #[test]
    fn the_reason_is_said_with_its_line() {
        let rules = Rules::new(true, vec![rule(12, Access::ReadWrite, false, &["a"])]);
        let anna = rules.permissions(&ANNA);
        assert_eq!(
            anna.why(Action::Write, "a").to_string(),
            "denied by the rule 'r12' in line 12"
        );
        assert_eq!(
            anna.why(Action::Write, "b").to_string(),
            "allowed by the default"
        );
        assert_eq!(
            anna.why(Action::Will, "$SYS/x").to_string(),
            "denied: only the bus itself publishes to this topic"
        );
    }
}
