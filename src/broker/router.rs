//! Who gets a message: the subscriptions of all sessions, found by topic.
//!
//! A filter without wildcards is one entry in a table, found by one look-up of the whole topic. Filters with
//! wildcards share a tree of levels: each node has at most one child a level name and one for `+`, and the
//! subscribers of filters that end there, or there with `/#`. A look-up visits each node of the tree at most
//! once, without recursion. The router does not know what a subscription permits; it finds, and that is all.

use std::hash::{BuildHasher, Hash};
use std::rc::Rc;

use foldhash::quality::FixedState;
use hashbrown::{Equivalent, HashMap};

use super::session::SessionKey;
use crate::mqtt::packet::SubscriptionOptions;
use crate::mqtt::topic;

/// A session's subscription as the router keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subscriber {
    pub session: SessionKey,
    /// 0 for none.
    pub subscription_id: u32,
    pub options: SubscriptionOptions,
}

/// All subscriptions.
#[derive(Debug)]
pub(super) struct Router {
    exact: HashMap<Rc<str>, Vec<Subscriber>, FixedState>,
    edges: HashMap<Edge, NodeId, FixedState>,
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    count: usize,
    /// What all of it takes, as far as it grows with subscriptions.
    bytes: usize,
}

/// A node with its place in the table of children, both with what a growing table has to spare, in bytes; its name is counted by
/// itself.
const NODE_BYTES: usize = 2 * size_of::<Node>() + 2 * size_of::<(Edge, NodeId)>() + 32;
/// A filter without wildcards in its table, in bytes.
const EXACT_BYTES: usize = 2 * size_of::<(Rc<str>, Vec<Subscriber>)>() + 16;
/// A subscriber in its list, in bytes.
const SUBSCRIBER_BYTES: usize = 2 * size_of::<Subscriber>();

type NodeId = u32;
const ROOT: NodeId = 0;
/// The root is nobody's child, so its number serves for "none".
const NONE: NodeId = ROOT;

#[derive(Debug, Default)]
struct Node {
    parent: NodeId,
    /// The level that leads here from the parent; empty and meaningless for the child `+`.
    level: Rc<str>,
    plus: NodeId,
    /// Children by name, without `+`.
    children: u32,
    /// Of filters that end here.
    here: Vec<Subscriber>,
    /// Of filters that end in `/#` below here; at the root, of `#`.
    below: Vec<Subscriber>,
}

impl Node {
    fn is_unused(&self) -> bool {
        self.plus == NONE && self.children == 0 && self.here.is_empty() && self.below.is_empty()
    }
}

/// A child by name: the key of the one table of all children.
#[derive(Debug, PartialEq, Eq)]
struct Edge {
    parent: NodeId,
    level: Rc<str>,
}

impl Hash for Edge {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        EdgeRef {
            parent: self.parent,
            level: &self.level,
        }
        .hash(state);
    }
}

#[derive(Hash)]
struct EdgeRef<'a> {
    parent: NodeId,
    level: &'a str,
}

impl Equivalent<Edge> for EdgeRef<'_> {
    fn equivalent(&self, edge: &Edge) -> bool {
        self.parent == edge.parent && *self.level == *edge.level
    }
}

impl Router {
    /// An empty router. `seed` keeps clients from choosing topics that collide.
    pub fn new(seed: u64) -> Router {
        let state = FixedState::with_seed(seed);
        Router {
            exact: HashMap::with_hasher(state.clone()),
            edges: HashMap::with_hasher(state),
            nodes: vec![Node::default()],
            free: Vec::new(),
            count: 0,
            bytes: 0,
        }
    }

    /// Subscriptions in all.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What the subscriptions take, in bytes; their filters are counted by who holds them.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The most that one more subscription, to a filter of so many levels, takes, in bytes.
    pub fn cost(filter: &str, levels: usize) -> usize {
        let place = if topic::has_wildcard(filter) {
            levels * NODE_BYTES + filter.len()
        } else {
            EXACT_BYTES
        };
        place + SUBSCRIBER_BYTES
    }

    /// Gives back the room of what is no longer there, where it is much.
    pub fn shrink(&mut self) {
        if self.exact.capacity() > 1024 && self.exact.len() < self.exact.capacity() / 4 {
            self.exact.shrink_to_fit();
        }
        if self.nodes.len() > 1024 && self.free.len() > self.nodes.len() / 2 {
            self.compact();
        }
    }

    /// Moves the nodes in use together.
    fn compact(&mut self) {
        let mut moved: Vec<NodeId> = vec![NONE; self.nodes.len()];
        let mut nodes = Vec::with_capacity(self.nodes.len() - self.free.len());
        for (index, node) in std::mem::take(&mut self.nodes).into_iter().enumerate() {
            if index == ROOT as usize || !node.is_unused() {
                moved[index] = nodes.len() as NodeId;
                nodes.push(node);
            }
        }
        for node in &mut nodes {
            node.parent = moved[node.parent as usize];
            node.plus = moved[node.plus as usize];
        }
        let mut edges = HashMap::with_capacity_and_hasher(nodes.len(), self.edges.hasher().clone());
        for (Edge { parent, level }, child) in self.edges.drain() {
            let parent = moved[parent as usize];
            edges.insert(Edge { parent, level }, moved[child as usize]);
        }
        (self.nodes, self.edges, self.free) = (nodes, edges, Vec::new());
    }

    /// Adds a subscription to a well-formed filter, or replaces the session's earlier one to the same filter.
    pub fn subscribe(&mut self, filter: &Rc<str>, subscriber: Subscriber) {
        let subscribers = if topic::has_wildcard(filter) {
            let (levels, multi) = split(filter);
            let mut node = ROOT;
            for level in levels.into_iter().flat_map(|levels| levels.split('/')) {
                node = self.child_or_new(node, level);
            }
            let node = &mut self.nodes[node as usize];
            if multi {
                &mut node.below
            } else {
                &mut node.here
            }
        } else {
            let bytes = &mut self.bytes;
            self.exact.entry(filter.clone()).or_insert_with(|| {
                *bytes += EXACT_BYTES;
                Vec::new()
            })
        };
        match subscribers
            .iter_mut()
            .find(|other| other.session == subscriber.session)
        {
            Some(earlier) => *earlier = subscriber,
            None => {
                if subscribers.len() == subscribers.capacity() {
                    // One more at a time: most filters have one subscriber for ever.
                    subscribers.reserve_exact(if subscribers.len() < 4 {
                        1
                    } else {
                        subscribers.len() / 2
                    });
                }
                subscribers.push(subscriber);
                self.count += 1;
                self.bytes += SUBSCRIBER_BYTES;
            }
        }
    }

    /// A session's subscription to a filter.
    pub fn find(&self, filter: &str, session: SessionKey) -> Option<&Subscriber> {
        let subscribers = if topic::has_wildcard(filter) {
            let (levels, multi) = split(filter);
            let mut node = ROOT;
            for level in levels.into_iter().flat_map(|levels| levels.split('/')) {
                node = self.child(node, level)?;
            }
            let node = &self.nodes[node as usize];
            if multi { &node.below } else { &node.here }
        } else {
            self.exact.get(filter)?
        };
        subscribers.iter().find(|other| other.session == session)
    }

    /// Nodes that there is room for, the root included.
    #[cfg(test)]
    pub fn slots(&self) -> usize {
        self.nodes.len()
    }

    /// Nodes in use beside the root, and filters without wildcards.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn sizes(&self) -> (usize, usize) {
        (self.nodes.len() - self.free.len() - 1, self.exact.len())
    }

    /// Removes a session's subscription to a filter; whether there was one.
    pub fn unsubscribe(&mut self, filter: &str, session: SessionKey) -> bool {
        let removed = if topic::has_wildcard(filter) {
            self.unsubscribe_wildcard(filter, session)
        } else {
            self.unsubscribe_exact(filter, session)
        };
        self.count -= usize::from(removed);
        self.bytes -= usize::from(removed) * SUBSCRIBER_BYTES;
        removed
    }

    fn unsubscribe_exact(&mut self, filter: &str, session: SessionKey) -> bool {
        let Some(subscribers) = self.exact.get_mut(filter) else {
            return false;
        };
        let removed = remove(subscribers, session);
        if subscribers.is_empty() {
            self.exact.remove(filter);
            self.bytes -= EXACT_BYTES;
        }
        removed
    }

    fn unsubscribe_wildcard(&mut self, filter: &str, session: SessionKey) -> bool {
        let (levels, multi) = split(filter);
        let mut node = ROOT;
        for level in levels.into_iter().flat_map(|levels| levels.split('/')) {
            match self.child(node, level) {
                Some(child) => node = child,
                None => return false,
            }
        }
        let at = &mut self.nodes[node as usize];
        let removed = remove(if multi { &mut at.below } else { &mut at.here }, session);
        self.prune(node);
        removed
    }

    /// Calls `found` with each list of subscribers whose filter matches `name`. A session stands at most once in a
    /// list, and may stand in several.
    #[inline]
    pub fn matching<'a>(&'a self, name: &str, mut found: impl FnMut(&'a [Subscriber])) {
        if let Some(subscribers) = self.exact.get(name) {
            found(subscribers);
        }
        if self.nodes.len() > self.free.len() + 1 || !self.nodes[0].below.is_empty() {
            self.matching_wildcards(name, &mut found);
        }
    }

    fn matching_wildcards<'a>(&'a self, name: &str, found: &mut impl FnMut(&'a [Subscriber])) {
        // What is left to visit: a node, and what of the topic is below it (`None` at its end).
        let mut open: smallvec::SmallVec<[(NodeId, Option<&str>); 8]> = smallvec::SmallVec::new();
        open.push((ROOT, Some(name)));
        while let Some((id, rest)) = open.pop() {
            let node = &self.nodes[id as usize];
            // [MQTT-4.7.2-1]: a wildcard in the first level does not match a topic of the server.
            let wildcards_match = id != ROOT || !topic::is_reserved(name);
            if !node.below.is_empty() && wildcards_match {
                found(&node.below);
            }
            let Some(rest) = rest else {
                if !node.here.is_empty() {
                    found(&node.here);
                }
                continue;
            };
            let (level, rest) = match rest.split_once('/') {
                Some((level, rest)) => (level, Some(rest)),
                None => (rest, None),
            };
            if node.plus != NONE && wildcards_match {
                open.push((node.plus, rest));
            }
            if node.children > 0
                && let Some(child) = self.edges.get(&EdgeRef { parent: id, level })
            {
                open.push((*child, rest));
            }
        }
    }

    fn child(&self, parent: NodeId, level: &str) -> Option<NodeId> {
        if level == "+" {
            let plus = self.nodes[parent as usize].plus;
            return (plus != NONE).then_some(plus);
        }
        self.edges.get(&EdgeRef { parent, level }).copied()
    }

    fn child_or_new(&mut self, parent: NodeId, level: &str) -> NodeId {
        if let Some(child) = self.child(parent, level) {
            return child;
        }
        let node = Node {
            parent,
            ..Node::default()
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                self.nodes.push(node);
                NodeId::try_from(self.nodes.len() - 1)
                    .expect("memory ends before four billion nodes")
            }
        };
        self.bytes += NODE_BYTES;
        if level == "+" {
            self.nodes[parent as usize].plus = id;
        } else {
            self.bytes += level.len();
            let level: Rc<str> = Rc::from(level);
            self.nodes[id as usize].level = level.clone();
            self.nodes[parent as usize].children += 1;
            self.edges.insert(Edge { parent, level }, id);
        }
        id
    }

    /// Removes a node that nothing needs any more, and then its parents.
    fn prune(&mut self, mut id: NodeId) {
        while id != ROOT && self.nodes[id as usize].is_unused() {
            let Node { parent, level, .. } = std::mem::take(&mut self.nodes[id as usize]);
            if self.nodes[parent as usize].plus == id {
                self.nodes[parent as usize].plus = NONE;
            } else {
                self.edges.remove(&EdgeRef {
                    parent,
                    level: &level,
                });
                self.nodes[parent as usize].children -= 1;
            }
            self.bytes -= NODE_BYTES + level.len();
            self.free.push(id);
            id = parent;
        }
    }
}

/// A filter with wildcards as the levels of its node, and whether it ends in `#`.
fn split(filter: &str) -> (Option<&str>, bool) {
    match filter.strip_suffix('#') {
        Some("") => (None, true),
        Some(levels) => (Some(levels.strip_suffix('/').unwrap_or(levels)), true),
        None => (Some(filter), false),
    }
}

fn remove(subscribers: &mut Vec<Subscriber>, session: SessionKey) -> bool {
    match subscribers
        .iter()
        .position(|subscriber| subscriber.session == session)
    {
        Some(position) => {
            subscribers.swap_remove(position);
            true
        }
        None => false,
    }
}

/// Hashes as the router does; for tables of the broker that are keyed by client-chosen text.
pub(super) type SeededState = FixedState;

/// The state for [`SeededState`] tables.
pub(super) fn seeded(seed: u64) -> SeededState {
    let state = FixedState::with_seed(seed);
    FixedState::with_seed(state.hash_one(seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::Qos;

    fn subscriber(session: u32) -> Subscriber {
        Subscriber {
            session: SessionKey(session),
            subscription_id: 0,
            options: SubscriptionOptions::with_qos(Qos::AtMostOnce),
        }
    }

    fn found(router: &Router, name: &str) -> Vec<u32> {
        let mut sessions = Vec::new();
        router.matching(name, |list| {
            sessions.extend(list.iter().map(|subscriber| subscriber.session.0))
        });
        sessions.sort_unstable();
        sessions
    }

    /// Random filters and topics over a small alphabet, held against [`topic::matches`].
    #[test]
    fn the_router_finds_exactly_what_matches() {
        let seed = std::env::var("FOSQUITTO_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or(4711u64);
        println!("FOSQUITTO_SEED={seed}");
        let mut state = seed;
        let mut random = |bound: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % bound
        };
        let mut router = Router::new(seed);
        let mut subscribed: Vec<(Rc<str>, u32)> = Vec::new();
        for round in 0..3000 {
            let depth = 1 + random(4);
            let level = |n: u64| ["a", "b", "", "$s", "+"][n as usize];
            let mut filter: Vec<&str> = (0..depth).map(|_| level(random(5))).collect();
            if random(4) == 0 {
                filter.push("#");
            }
            let filter: Rc<str> = Rc::from(filter.join("/"));
            if filter.is_empty() {
                continue;
            }
            let session = random(20) as u32;
            if random(2) == 0 {
                router.subscribe(&filter, subscriber(session));
                if !subscribed.contains(&(filter.clone(), session)) {
                    subscribed.push((filter, session));
                }
            } else {
                let known = subscribed
                    .iter()
                    .position(|entry| *entry == (filter.clone(), session));
                assert_eq!(
                    router.unsubscribe(&filter, SessionKey(session)),
                    known.is_some(),
                    "round {round}"
                );
                known.map(|position| subscribed.swap_remove(position));
            }
            let name: Vec<&str> = (0..1 + random(5)).map(|_| level(random(4))).collect();
            let name = name.join("/");
            let mut expected: Vec<u32> = subscribed
                .iter()
                .filter(|(filter, _)| topic::matches(filter, &name))
                .map(|entry| entry.1)
                .collect();
            expected.sort_unstable();
            assert_eq!(
                found(&router, &name),
                expected,
                "round {round}, topic {name:?}"
            );
            assert_eq!(router.count(), subscribed.len());
        }
        for (filter, session) in subscribed {
            assert!(router.unsubscribe(&filter, SessionKey(session)));
        }
        assert_eq!(
            router.nodes.len(),
            router.free.len() + 1,
            "nodes are left behind"
        );
        assert!(router.edges.is_empty() && router.exact.is_empty());
    }

    #[test]
    fn a_filter_of_many_levels_costs_no_recursion() {
        let mut router = Router::new(1);
        let deep: Rc<str> = Rc::from(format!("{}#", "+/".repeat(30_000)));
        router.subscribe(&deep, subscriber(1));
        assert_eq!(found(&router, &"a/".repeat(32_000)), [1]);
        assert!(router.unsubscribe(&deep, SessionKey(1)));
    }
}
