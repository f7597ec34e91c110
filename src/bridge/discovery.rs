//! Where subordinates are, by what routers say of themselves on the network. Entered through [`Finder`], which the links ask; the ear of
//! `net::mdns` fills its [`Directory`].
//!
//! A router announces `_fosquitto._tcp` with its controller id in the text `id=…`; old ones announce
//! `ID.foris-controller._mqtt._tcp` with a JSON list of IPv4 addresses in `addresses=…`. What is heard makes candidates: addresses with a
//! port, for those ids only that somebody looks for. They are ranked as the original ranks them: those that have failed least first,
//! and of these the one that was heard of last; the address of the configuration is one among them. A candidate is only ever a place to
//! try: who answers there has to show the certificate of the subordinate's CA.
//!
//! A router that changes its address says so, and then the new one is the first to be tried. What is kept is bounded for each id and for
//! all services that are not yet known in full. It opens no socket.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Host, Remote};
use crate::net::dial::may_be_another_host;
use crate::net::mdns::ear::{Ear, Listener};
use crate::net::mdns::{Data, Kind, Name, Record};

/// Candidates for one id. The original has 100; each costs a round of attempts the time of one.
const CANDIDATES_MAX: usize = 16;

/// Services whose owner is not known yet, or is wanted.
const SERVICES_MAX: usize = 64;

/// Hosts' addresses, all hosts together.
const ADDRESSES_MAX: usize = 256;

/// What an answer leaves open is asked for so often, a second apart.
const FOLLOW_UPS_MAX: u8 = 3;

/// The first questions are a second apart, and each pause is twice the one before (RFC 6762, section 5.2).
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Somebody who looks for a subordinate again has it asked for again if that was not just done.
const ASKED_LATELY: Duration = Duration::from_secs(30);

/// What is heard is kept for no longer than this, whatever it says (RFC 6762, section 10).
const TTL_MAX: Duration = Duration::from_secs(4500);

/// Looks for subordinates as long as there are any. A clone is the same.
#[derive(Clone, Default)]
pub struct Finder {
    directory: Arc<Directory>,
    ear: std::rc::Rc<RefCell<Option<Ear>>>,
}

impl Finder {
    /// Looks for these ids and for no other; without any, nothing is sent or heard. To be called with each configuration.
    pub fn follow<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        self.directory.want(ids);
        let mut ear = self.ear.borrow_mut();
        if self.directory.is_idle() {
            *ear = None;
            return;
        }
        if ear.is_none() {
            match Ear::start(self.directory.clone()) {
                Ok(started) => *ear = Some(started),
                Err(error) => {
                    log::warn!("subordinates are not looked for on the network: {error}");
                }
            }
        }
        if let Some(ear) = &*ear {
            ear.wake();
        }
    }

    /// Where a subordinate may be, the best first: the configured places and those that were heard of. To be called for each round of
    /// attempts: it is looked for again.
    pub fn candidates(&self, id: &str, configured: &[Remote]) -> Vec<Remote> {
        let candidates = self.directory.candidates(id, configured);
        if let Some(ear) = &*self.ear.borrow() {
            ear.wake();
        }
        candidates
    }

    /// Nobody was there, or not the subordinate.
    pub fn failed(&self, id: &str, remote: &Remote) {
        self.directory
            .rank(id, remote, |failures| failures.saturating_add(1));
    }

    /// The subordinate was there.
    pub fn succeeded(&self, id: &str, remote: &Remote) {
        self.directory.rank(id, remote, |_| 0);
    }
}

/// What is known of the subordinates' places. The ears' thread and the event loop share it; nothing is done while it is locked that
/// takes time.
pub struct Directory(Mutex<State>);

struct State {
    wanted: Vec<Wanted>,
    services: Vec<Service>,
    addresses: Vec<Address>,
    /// How often something was heard of: the later, the more.
    heard: u64,
    asked: Option<Instant>,
    pause: Duration,
    types: Types,
}

/// A subordinate that is looked for.
struct Wanted {
    id: String,
    candidates: Vec<Candidate>,
}

struct Candidate {
    remote: Remote,
    failures: u32,
    heard: u64,
}

struct Service {
    instance: Name,
    is_old: bool,
    /// Upper-case as in the configuration of the original, once it is known.
    id: Option<String>,
    place: Option<(Name, u16)>,
    /// What an old router lists in its text.
    listed: Vec<Ipv4Addr>,
    heard: u64,
    until: Instant,
    follow_ups: u8,
    followed: Option<Instant>,
}

struct Address {
    host: Name,
    ip: IpAddr,
    /// The device that a link-local address was heard on.
    device: Option<String>,
    heard: u64,
    until: Instant,
}

/// The types of services that are looked for.
struct Types {
    new: Name,
    old: Name,
}

impl Default for Directory {
    fn default() -> Self {
        let name = |labels: [&str; 3]| {
            let name = Name::of(labels.map(str::as_bytes));
            name.expect("its labels are short")
        };
        Directory(Mutex::new(State {
            wanted: Vec::new(),
            services: Vec::new(),
            addresses: Vec::new(),
            heard: 0,
            asked: None,
            pause: PAUSE_MIN,
            types: Types {
                new: name(["_fosquitto", "_tcp", "local"]),
                old: name(["_mqtt", "_tcp", "local"]),
            },
        }))
    }
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let mut state = self.lock();
        let mut former = std::mem::take(&mut state.wanted);
        for id in ids {
            let known = former.iter().position(|wanted| wanted.id == id);
            let wanted = known.map(|index| former.swap_remove(index));
            state.wanted.push(wanted.unwrap_or_else(|| Wanted {
                id: id.to_owned(),
                candidates: Vec::new(),
            }));
        }
        state.search_again();
    }

    fn is_idle(&self) -> bool {
        self.lock().wanted.is_empty()
    }

    fn candidates(&self, id: &str, configured: &[Remote]) -> Vec<Remote> {
        let mut state = self.lock();
        if state
            .asked
            .is_some_and(|asked| asked.elapsed() > ASKED_LATELY)
        {
            state.search_again();
        }
        let Some(wanted) = state.wanted.iter_mut().find(|wanted| wanted.id == id) else {
            return configured.to_vec();
        };
        for remote in configured {
            wanted.insert(remote.clone(), 0);
        }
        let by_rank = |candidate: &&Candidate| (candidate.failures, u64::MAX - candidate.heard);
        let mut ranked: Vec<&Candidate> = wanted.candidates.iter().collect();
        ranked.sort_by_key(by_rank);
        ranked
            .into_iter()
            .map(|candidate| candidate.remote.clone())
            .collect()
    }

    fn rank(&self, id: &str, remote: &Remote, change: impl Fn(u32) -> u32) {
        let mut state = self.lock();
        let wanted = state.wanted.iter_mut().filter(|wanted| wanted.id == id);
        let candidates = wanted.flat_map(|wanted| &mut wanted.candidates);
        for candidate in candidates.filter(|candidate| candidate.remote == *remote) {
            candidate.failures = change(candidate.failures);
        }
    }
}

impl Listener for Directory {
    fn heard(&self, device: Option<&str>, records: &[Record], now: Instant) {
        self.lock().take(device, records, now);
    }

    fn asks(&self, now: Instant) -> (Vec<(Name, Kind)>, Duration) {
        self.lock().asks(now)
    }
}

impl Wanted {
    /// Adds a place, or notes that it was heard of again.
    fn insert(&mut self, remote: Remote, heard: u64) {
        let known = self
            .candidates
            .iter_mut()
            .find(|known| known.remote == remote);
        if let Some(known) = known {
            known.heard = known.heard.max(heard);
            return;
        }
        if self.candidates.len() >= CANDIDATES_MAX {
            // The configured place has never been heard of, and stays.
            let heard_of = self.candidates.iter().enumerate();
            let heard_of = heard_of.filter(|(_, candidate)| candidate.heard > 0);
            let worst = heard_of.max_by_key(|(_, it)| (it.failures, u64::MAX - it.heard));
            match worst {
                Some((index, _)) => drop(self.candidates.swap_remove(index)),
                None => return,
            }
        }
        self.candidates.push(Candidate {
            remote,
            failures: 0,
            heard,
        });
    }
}

impl State {
    fn search_again(&mut self) {
        self.pause = PAUSE_MIN;
        self.asked = None;
        for service in &mut self.services {
            service.follow_ups = 0;
        }
    }

    /// What is to be asked now, and when to come again.
    fn asks(&mut self, now: Instant) -> (Vec<(Name, Kind)>, Duration) {
        let mut questions = Vec::new();
        if self.wanted.is_empty() {
            return (questions, PAUSE_MAX);
        }
        let is_due = self.asked.is_none_or(|asked| now >= asked + self.pause);
        if is_due {
            self.pause = if self.asked.is_some() {
                (self.pause * 2).min(PAUSE_MAX)
            } else {
                PAUSE_MIN
            };
            self.asked = Some(now);
            questions.push((self.types.new.clone(), Kind::Services));
            questions.push((self.types.old.clone(), Kind::Services));
        }
        let due = self.asked.map_or(now, |asked| asked + self.pause);
        let mut wait = due.saturating_duration_since(now);
        for service in &mut self.services {
            let Some(question) = service.open_question(&self.addresses) else {
                continue;
            };
            if service.follow_ups >= FOLLOW_UPS_MAX {
                continue;
            }
            wait = wait.min(PAUSE_MIN);
            if service
                .followed
                .is_none_or(|followed| now >= followed + PAUSE_MIN)
            {
                service.follow_ups += 1;
                service.followed = Some(now);
                questions.push(question);
            }
        }
        (questions, wait)
    }

    /// Takes in what a packet says.
    fn take(&mut self, device: Option<&str>, records: &[Record], now: Instant) {
        self.heard += 1;
        self.services.retain(|service| service.until > now);
        self.addresses.retain(|address| address.until > now);
        // Names first: a packet may say where a service is before it says that there is one.
        for record in records {
            match &record.data {
                Data::Pointer(instance) => {
                    self.take_service(&record.name, instance, until(record, now));
                }
                Data::V4(_) | Data::V6(_) if record.replaces => self.forget_former(record),
                _ => {}
            }
        }
        for record in records {
            match &record.data {
                Data::Service { host, port } => self.take_place(record, host, *port, now),
                Data::Text(texts) => self.take_texts(record, texts, now),
                _ => {}
            }
        }
        for record in records {
            match &record.data {
                Data::V4(ip) => self.take_address(record, (*ip).into(), None, now),
                Data::V6(ip) if !ip.is_unicast_link_local() => {
                    self.take_address(record, (*ip).into(), None, now);
                }
                Data::V6(ip) if device.is_some() => {
                    self.take_address(record, (*ip).into(), device, now);
                }
                _ => {}
            }
        }
        self.find_candidates();
    }

    /// The addresses of its family that a host had until now.
    fn forget_former(&mut self, record: &Record) {
        let is_v6 = matches!(record.data, Data::V6(_));
        let is_former =
            |address: &Address| address.host == record.name && address.ip.is_ipv6() == is_v6;
        self.addresses.retain(|address| !is_former(address));
    }

    /// A service of one of our types, or its end.
    fn take_service(&mut self, of: &Name, instance: &Name, until: Option<Instant>) {
        let is_old = *of == self.types.old;
        if !is_old && *of != self.types.new {
            return;
        }
        let Some(until) = until else {
            self.services
                .retain(|service| service.instance != *instance);
            return;
        };
        if let Some(known) = self
            .services
            .iter_mut()
            .find(|service| service.instance == *instance)
        {
            known.until = until;
            return;
        }
        let Some(label) = instance.before(of) else {
            return;
        };
        let id = label.strip_suffix(".foris-controller").map(str::to_owned);
        // Of the old form anything may be an MQTT broker; who it is stands in its name.
        let is_wanted = !is_old || id.as_deref().is_some_and(|id| self.is_wanted(id));
        if !is_wanted {
            return;
        }
        if self.services.len() >= SERVICES_MAX {
            // Whoever does not say who it is makes room.
            match self
                .services
                .iter()
                .position(|service| service.id.is_none())
            {
                Some(index) => drop(self.services.remove(index)),
                None => return,
            }
        }
        self.services.push(Service {
            instance: instance.clone(),
            is_old,
            id: id.filter(|_| is_old),
            place: None,
            listed: Vec::new(),
            heard: self.heard,
            until,
            follow_ups: 0,
            followed: None,
        });
    }

    fn is_wanted(&self, id: &str) -> bool {
        self.wanted
            .iter()
            .any(|wanted| wanted.id.eq_ignore_ascii_case(id))
    }

    fn service(&mut self, instance: &Name) -> Option<&mut Service> {
        self.services
            .iter_mut()
            .find(|service| service.instance == *instance)
    }

    fn take_place(&mut self, record: &Record, host: &Name, port: u16, now: Instant) {
        let is_over = until(record, now).is_none();
        if let Some(service) = self.service(&record.name) {
            service.place = (!is_over && port != 0).then(|| (host.clone(), port));
        }
    }

    fn take_texts(&mut self, record: &Record, texts: &[Vec<u8>], now: Instant) {
        if until(record, now).is_none() {
            return;
        }
        let value = |key: &str| {
            let mut texts = texts
                .iter()
                .filter_map(|text| std::str::from_utf8(text).ok());
            texts.find_map(|text| {
                let (name, value) = text.split_once('=')?;
                name.eq_ignore_ascii_case(key).then(|| value.to_owned())
            })
        };
        let (id, addresses, heard) = (value("id"), value("addresses"), self.heard);
        let Some(service) = self.service(&record.name) else {
            return;
        };
        if service.is_old {
            service.listed = listed(&addresses.unwrap_or_default());
            service.heard = heard;
            return;
        }
        let is_nobody = id.as_deref().is_none_or(|id| !self.is_wanted(id));
        // Whoever is not looked for is not asked where it is.
        if is_nobody {
            self.services
                .retain(|service| service.instance != record.name);
        } else if let Some(service) = self.service(&record.name) {
            service.id = id;
        }
    }

    fn take_address(&mut self, record: &Record, ip: IpAddr, device: Option<&str>, now: Instant) {
        let is_host = |service: &Service| {
            service
                .place
                .as_ref()
                .is_some_and(|(host, _)| *host == record.name)
        };
        if !self.services.iter().any(is_host) || !may_be_another_host(ip) {
            return;
        }
        let until = until(record, now);
        let same = |address: &Address| address.host == record.name && address.ip == ip;
        self.addresses.retain(|address| !same(address));
        if let Some(until) = until.filter(|_| self.addresses.len() < ADDRESSES_MAX) {
            self.addresses.push(Address {
                host: record.name.clone(),
                ip,
                device: device.map(str::to_owned),
                heard: self.heard,
                until,
            });
        }
    }

    /// Makes candidates of the services that are known in full.
    fn find_candidates(&mut self) {
        for service in &self.services {
            let (Some(id), Some((host, port))) = (&service.id, &service.place) else {
                continue;
            };
            let found = self
                .addresses
                .iter()
                .filter(|address| address.host == *host);
            let found = found.map(|it| (it.ip, it.device.clone(), it.heard));
            let listed = service.listed.iter();
            let listed = listed.map(|ip| (IpAddr::V4(*ip), None, service.heard));
            let wanted = self
                .wanted
                .iter_mut()
                .find(|it| it.id.eq_ignore_ascii_case(id));
            let Some(wanted) = wanted else { continue };
            for (ip, device, heard) in found.chain(listed) {
                let host = Host::Address(ip, device);
                wanted.insert(Remote { host, port: *port }, heard);
            }
        }
    }
}

impl Service {
    /// What has to be known of it yet.
    fn open_question(&self, addresses: &[Address]) -> Option<(Name, Kind)> {
        let Some((host, _)) = &self.place else {
            return Some((self.instance.clone(), Kind::Service));
        };
        if self.id.is_none() {
            return Some((self.instance.clone(), Kind::Service));
        }
        let has_address = !self.listed.is_empty() || addresses.iter().any(|it| it.host == *host);
        (!has_address).then(|| (host.clone(), Kind::Addresses))
    }
}

/// Until when a record is true; `None`: no longer.
fn until(record: &Record, now: Instant) -> Option<Instant> {
    let ttl = Duration::from_secs(record.ttl_s.into()).min(TTL_MAX);
    (record.ttl_s > 0).then(|| now + ttl)
}

/// The addresses of an old router's text: `["192.0.2.1", "198.51.100.1"]`. What is no address in quotes is passed over.
fn listed(text: &str) -> Vec<Ipv4Addr> {
    let quoted = text.split('"').skip(1).step_by(2);
    let addresses = quoted.filter_map(|address| address.parse().ok());
    let elsewhere = addresses.filter(|ip: &Ipv4Addr| may_be_another_host((*ip).into()));
    elsewhere.take(CANDIDATES_MAX).collect()
}

#[cfg(test)]
mod tests;
