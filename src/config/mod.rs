//! The configuration: the UCI file `fosquitto` as typed values, or all of its faults. Entered through [`load`], and
//! through [`parse`] where the text is at hand.
//!
//! The way of a file: [`uci`] makes sections with places of it, [`options`] says which sections and options there are,
//! one file a section makes values, and what is wrong anywhere becomes a [`Fault`]. A configuration with a fault is never
//! used, not even in part.
//!
//! It is read by absolute path, so that uncommitted changes never take effect. It opens no sockets and reads no
//! certificates or passwords; comparing two configurations is the server's matter.

mod acl;
mod bind;
pub mod bridge;
pub mod fault;
mod global;
mod keeper;
mod listener;
mod network;
pub mod options;
mod persistence;
mod section;
mod subordinate;
#[cfg(test)]
mod tests;
pub mod uci;
mod user;
mod value;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

pub use bind::Bind;
pub use bridge::{Bridge, BridgeTls, Direction, Host, Mapping, Remote};
pub use fault::{Fault, Faults};
pub use global::Global;
pub use keeper::Keeper;
pub use listener::{IdentitySource, Listener, Protocol, Tls, TlsVersion};
pub use persistence::{Durability, Persistence, TopicClass};
pub use subordinate::{Reach, Subordinate};
pub use user::User;

use crate::acl::Rules;
use fault::{Quoted, did_you_mean};
use network::Network;
use options::{Naming, SectionTable};
use section::Reader;

/// So many listeners are compared with one another and run by one thread.
const LISTENERS_MAX: usize = 64;

/// So many bridges are compared with one another; each has a connection, a session and a queue.
const BRIDGES_MAX: usize = 64;

/// The file that the package installs; it holds where there is none.
const SHIPPED: &str = include_str!("../../files/etc/config/fosquitto");

/// A configuration without faults.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What holds for the whole bus.
    pub global: Global,
    /// The enabled listeners: local, remote, then the others in their order.
    pub listeners: Vec<Listener>,
    /// What is known of users beside their passwords.
    pub users: Vec<User>,
    /// Who may do what.
    pub acl: Rules,
    /// What survives the process.
    pub persistence: Persistence,
    /// The enabled keepers: foris' if the file does not speak of it, then the sections in their order.
    pub keepers: Vec<Keeper>,
    /// The enabled connections to other brokers, in their order.
    pub bridges: Vec<Bridge>,
    /// Devices below this one, the disabled ones included.
    pub subordinates: Vec<Subordinate>,
}

/// What a configuration refers to outside its file.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The directory that stands for `/` in default paths.
    pub root: PathBuf,
    /// The text of `/etc/config/network`; empty if there is none.
    pub network: String,
}

impl Surroundings {
    /// Those of a router below the root. A network file that cannot be read counts as empty: it matters only if a
    /// listener asks for an interface, which is then unknown.
    pub fn of(root: &Path) -> Self {
        let network = read_file(&path_of(root, "network")).unwrap_or_default();
        Surroundings {
            root: root.to_owned(),
            network: String::from_utf8_lossy(&network).into_owned(),
        }
    }
}

impl Surroundings {
    /// The devices of interfaces of the network, as far as they have any.
    pub fn devices(&self, interfaces: &[String]) -> Vec<String> {
        let network = Network::new(&self.network);
        let devices = interfaces.iter().map(|name| network.device(name));
        devices.filter_map(Result::ok).collect()
    }
}

/// Where the configuration of the router below the root is: `var/run/uci/fosquitto` if it exists, which overrides
/// the other completely, else `etc/config/fosquitto`.
pub fn path(root: &Path) -> PathBuf {
    path_of(root, "fosquitto")
}

fn path_of(root: &Path, package: &str) -> PathBuf {
    let override_path = root.join("var/run/uci").join(package);
    if override_path.exists() {
        override_path
    } else {
        root.join("etc/config").join(package)
    }
}

/// Reads the configuration of the router below the root. Where there is no file, the shipped one holds.
pub fn load(root: &Path) -> Result<Config, Faults> {
    let path = path(root);
    if !path.exists() {
        return parse(SHIPPED, &path, &Surroundings::of(root));
    }
    load_file(&path, root)
}

/// Reads the configuration in a file of any name, with the surroundings of the router below the root.
pub fn load_file(path: &Path, root: &Path) -> Result<Config, Faults> {
    let text = read_file(path).map_err(|what| {
        let mut faults = Faults::default();
        faults.push(path, 0, what);
        faults
    })?;
    parse_bytes(&text, path, &Surroundings::of(root))
}

/// The content of a regular file, or one byte more than a configuration may have of a larger one.
fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let is_file = path.metadata().map_err(cannot)?.is_file();
    // Opening a FIFO would wait for somebody to write into it.
    if !is_file {
        return Err("cannot be read: it is not a regular file".into());
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(uci::SIZE_MAX as u64 + 1)
        .read_to_end(&mut text)
        .map_err(cannot)?;
    Ok(text)
}

/// Reads a configuration from its text; the path is for the faults.
pub fn parse(text: &str, path: &Path, surroundings: &Surroundings) -> Result<Config, Faults> {
    parse_bytes(text.as_bytes(), path, surroundings)
}

fn parse_bytes(text: &[u8], path: &Path, surroundings: &Surroundings) -> Result<Config, Faults> {
    let (package, syntax) = uci::read(text);
    let mut parser = Parser {
        path,
        root: &surroundings.root,
        network: Network::new(&surroundings.network),
        faults: Faults::default(),
    };
    // After a fault in the syntax a section may be missing that another one names, which is then nobody's fault.
    let complete = syntax.is_empty();
    for fault in syntax {
        parser.faults.push(path, fault.at.line, fault.what);
    }
    let config = parser.package(&package, complete);
    match parser.faults {
        faults if faults.is_empty() => Ok(config),
        mut faults => {
            faults.sort();
            Err(faults)
        }
    }
}

struct Parser<'a> {
    path: &'a Path,
    root: &'a Path,
    network: Network,
    faults: Faults,
}

/// A section that has a table, with the UCI address under which faults name it.
struct Known<'a> {
    table: &'static SectionTable,
    section: &'a uci::Section,
    address: String,
}

impl<'a> Parser<'a> {
    fn package(&mut self, package: &'a uci::Package, complete: bool) -> Config {
        let known = self.known(package);
        let global = self.one(&known, "global", |reader, _| Global::read(reader));
        let (path, root) = (self.path, self.root);
        let local = self.one(&known, "local", |reader, _| Listener::local(reader, path));
        let remote = self.one(&known, "remote", |reader, _| {
            Listener::remote(reader, path, root)
        });
        let own = self.each(&known, "listener", |reader, network| {
            Listener::read(reader, path, network)
        });
        let users = self.users(&known);
        let rules = self.each(&known, "acl", |reader, _| Some(acl::read(reader)));
        let persistence = self.persistence(&known);
        let keepers = self.keepers(&known);
        let bridges = self.bridges(&known);
        let mut subordinates = self.each(&known, "subordinate", |reader, _| {
            Subordinate::direct(reader)
        });
        subordinates.extend(self.each(&known, "subsubordinate", |reader, _| {
            Subordinate::indirect(reader)
        }));

        let mut listeners: Vec<_> = local.into_iter().chain(remote).chain(own).collect();
        if let Some(first) = listeners.get(LISTENERS_MAX) {
            let what = format!(
                "fosquitto.{}: there are more than {LISTENERS_MAX} listeners",
                first.name
            );
            self.faults.push(self.path, first.line, what);
            listeners.truncate(LISTENERS_MAX);
        }
        for (listener, what) in bind::conflicts(&listeners) {
            let what = format!("fosquitto.{}: {what}", listener.name);
            self.faults.push(self.path, listener.line, what);
        }
        if complete {
            self.check_names(&known, &users);
        }
        let acl = Rules::new(global.acl_default_allow, rules);
        Config {
            global,
            listeners,
            users,
            acl,
            persistence,
            keepers,
            bridges,
            subordinates,
        }
    }

    /// The sections whose type there is, rightly named or said to be wrong.
    fn known(&mut self, package: &'a uci::Package) -> Vec<Known<'a>> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let mut known = Vec::new();
        for section in &package.sections {
            let kind = section.kind.text.as_str();
            let count = counts.entry(kind).or_default();
            let address = match &section.name {
                Some(name) => format!("fosquitto.{}", name.text),
                None => format!("fosquitto.@{}[{count}]", crate::log::Escaped(kind)),
            };
            *count += 1;
            let Some(table) = options::table(kind) else {
                let hint = did_you_mean(kind, options::tables().iter().map(|table| table.kind));
                let what = format!("{address}: unknown section type {}{hint}", Quoted(kind));
                self.faults.push(self.path, section.kind.at.line, what);
                continue;
            };
            if let Some(expected) = wrongly_named(table, section) {
                self.faults.push(
                    self.path,
                    section.kind.at.line,
                    format!("{address}: {expected}"),
                );
            }
            known.push(Known {
                table,
                section,
                address,
            });
        }
        known
    }

    /// The one section of a type, or what holds without it.
    fn one<T>(
        &mut self,
        known: &[Known<'a>],
        kind: &str,
        read: impl Fn(&mut Reader<'_>, &Network) -> T,
    ) -> T {
        let found = known.iter().find(|known| known.table.kind == kind);
        let table = options::table(kind).expect("every type that is asked for has a table");
        let (section, address) = match found {
            Some(known) => (Some(known.section), known.address.clone()),
            None => (None, format!("fosquitto.{kind}")),
        };
        let mut reader = Reader::new(table, section, address, self.path, &mut self.faults);
        read(&mut reader, &self.network)
    }

    /// What each section of a type comes to.
    fn each<T>(
        &mut self,
        known: &[Known<'a>],
        kind: &str,
        read: impl Fn(&mut Reader<'_>, &Network) -> Option<T>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for Known {
            table,
            section,
            address,
        } in known.iter().filter(|known| known.table.kind == kind)
        {
            let mut reader = Reader::new(
                table,
                Some(section),
                address.clone(),
                self.path,
                &mut self.faults,
            );
            all.extend(read(&mut reader, &self.network));
        }
        all
    }

    /// What survives, with the classes of all sections in their order.
    fn persistence(&mut self, known: &[Known<'a>]) -> Persistence {
        let root = self.root;
        let mut persistence = self.one(known, "persistence", |reader, _| {
            Persistence::read(reader, root)
        });
        let classes = self.each(known, "durability", |reader, _| {
            Some(persistence::class(reader))
        });
        persistence.classes = classes.into_iter().flatten().collect();
        persistence
    }

    fn keepers(&mut self, known: &[Known<'a>]) -> Vec<Keeper> {
        let is_foris = |known: &Known<'_>| {
            let name = known.section.name.as_ref();
            known.table.kind == "keeper" && name.is_some_and(|name| name.text == keeper::FORIS)
        };
        let foris = match known.iter().any(is_foris) {
            true => None,
            false => Some(self.one(&[], "keeper", |reader, _| Keeper::foris(reader))),
        };
        let own = self.each(known, "keeper", |reader, _| Keeper::read(reader));
        foris.into_iter().chain(own).collect()
    }

    fn bridges(&mut self, known: &[Known<'a>]) -> Vec<Bridge> {
        let mut bridges = self.each(known, "bridge", |reader, _| Bridge::read(reader));
        if let Some(first) = bridges.get(BRIDGES_MAX) {
            let what = format!(
                "fosquitto.{}: there are more than {BRIDGES_MAX} bridges",
                first.name
            );
            self.faults.push(self.path, first.line.0, what);
        }
        bridges.truncate(BRIDGES_MAX);
        for (bridge, what) in bridge::conflicts(&bridges) {
            let what = format!("fosquitto.{}: {what}", bridge.name);
            self.faults.push(self.path, bridge.line.0, what);
        }
        bridges
    }

    /// The users, each of which has one section.
    fn users(&mut self, known: &[Known<'a>]) -> Vec<User> {
        let users = self.each(known, "user", |reader, _| {
            Some((User::read(reader)?, reader.line()))
        });
        let mut lines: HashMap<&str, u32> = HashMap::new();
        for (user, line) in &users {
            if let Some(first) = lines.insert(&user.name, *line) {
                let what = format!(
                    "fosquitto: user {} has a section in line {first} already",
                    Quoted(&user.name)
                );
                self.faults.push(self.path, *line, what);
            }
        }
        users.into_iter().map(|(user, _)| user).collect()
    }

    /// The listeners and groups that rules name must be there: a slip would make a rule that never matches.
    fn check_names(&mut self, known: &[Known<'a>], users: &[User]) {
        let own = known.iter().filter(|known| known.table.kind == "listener");
        let own = own.filter_map(|known| Some(known.section.name.as_ref()?.text.as_str()));
        let listeners: HashSet<&str> = own.chain(["local", "remote"]).collect();
        let groups: HashSet<&str> = users
            .iter()
            .flat_map(|user| &user.groups)
            .map(String::as_str)
            .collect();
        for Known {
            section, address, ..
        } in known.iter().filter(|known| known.table.kind == "acl")
        {
            for (option, names, what) in [
                ("listener", &listeners, "is not a listener"),
                (
                    "group",
                    &groups,
                    "is a group without users: no 'user' section is in it",
                ),
            ] {
                let tokens = match section.value(option) {
                    Some(uci::Value::Single(token)) => std::slice::from_ref(token),
                    Some(uci::Value::List(items)) => items,
                    None => &[],
                };
                for token in tokens.iter().filter(|token| !token.text.is_empty()) {
                    if !names.contains(token.text.as_str()) && !self.faults.is_full() {
                        let hint = did_you_mean(&token.text, names.iter().copied());
                        let what =
                            format!("{address}.{option}: {} {what}{hint}", Quoted(&token.text));
                        self.faults.push(self.path, token.at.line, what);
                    }
                }
            }
        }
    }
}

/// What is wrong about a section's name, if anything is.
fn wrongly_named(table: &SectionTable, section: &uci::Section) -> Option<String> {
    let name = section.name.as_ref().map(|name| name.text.as_str());
    match (table.naming, name) {
        (Naming::Fixed(fixed), name) if name != Some(fixed) => Some(format!(
            "must be written as: config {} '{fixed}'",
            table.kind
        )),
        (Naming::Named(what), None) => {
            Some(format!("needs a name: config {} '{what}'", table.kind))
        }
        _ => None,
    }
}
