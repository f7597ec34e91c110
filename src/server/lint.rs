//! What is right in a configuration and still not as it should be: warnings of `fosquitto check`. Entered through [`warnings`].
//!
//! Unlike the parser it looks at the files that the configuration names, and at where they lie. A warning stops nothing: a file may come
//! later, and a rule that never decides does no harm. It opens no socket and changes nothing.

use std::ffi::CString;
use std::fs;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::auth::Credentials;
use crate::config::fault::{Fault, Quoted, did_you_mean};
use crate::config::{Bind, Config, Durability, IdentitySource, Listener, Surroundings, uci};
use crate::net::tls::TlsContext;

/// What a file system is that a restart of the router empties (statfs(2)).
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58F6;

/// Everything that is odd about a configuration read from `path`, in the order of its lines.
pub fn warnings(config: &Config, path: &Path, root: &Path) -> Vec<Fault> {
    let mut lint = Lint {
        path,
        found: Vec::new(),
    };
    lint.rules(config);
    lint.users(config, root);
    for listener in &config.listeners {
        lint.anonymous(listener, root);
        lint.certificates(listener);
    }
    lint.store(config);
    lint.found.sort_by_key(|warning| warning.line);
    lint.found
}

struct Lint<'p> {
    path: &'p Path,
    found: Vec<Fault>,
}

impl Lint<'_> {
    fn warn(&mut self, line: u32, what: String) {
        let path = self.path.to_owned();
        self.found.push(Fault { path, line, what });
    }

    /// Rules that an earlier one leaves nothing to decide.
    fn rules(&mut self, config: &Config) {
        for (shadowed, by) in config.acl.shadowed() {
            let (section, name) = (&shadowed.section, &by.section);
            let what = format!(
                "fosquitto.{section}: never decides anything: the rule '{name}' in line {} comes first",
                by.line
            );
            self.warn(shadowed.line, what);
        }
    }

    /// Users in rules whom nobody can be. Where names come from certificates, every name can be somebody's.
    fn users(&mut self, config: &Config, root: &Path) {
        let by_certificate = config.listeners.iter().any(|listener| {
            listener.tls.is_some() && listener.identity != IdentitySource::UserName
        });
        if by_certificate {
            return;
        }
        let (credentials, _) = Credentials::load_sound(root);
        let known = |user: &str| {
            credentials.contains(user) || config.users.iter().any(|known| known.name == user)
        };
        for rule in config.acl.rules() {
            for user in rule.users.iter().filter(|user| !known(user)) {
                let names = config.users.iter().map(|user| user.name.as_str());
                let hint = did_you_mean(user, names);
                let what = format!(
                    "fosquitto.{}.user: {} has neither a password nor a section 'user'{hint}",
                    rule.place.section,
                    Quoted(user)
                );
                self.warn(rule.place.line, what);
            }
        }
    }

    /// A listener that lets everybody in who comes from outside.
    fn anonymous(&mut self, listener: &Listener, root: &Path) {
        if !listener.allow_anonymous {
            return;
        }
        let outside = outside_devices(root);
        let what = listener.binds.iter().find_map(|bind| match bind {
            Bind::Tcp {
                device: Some(device),
                ..
            } if outside.contains(device) => Some(format!("on {}", Quoted(device))),
            Bind::Tcp {
                address,
                device: None,
            } if address.ip().is_unspecified() => Some("on all addresses".to_owned()),
            Bind::Tcp {
                address,
                device: None,
            } if is_public(address.ip()) => Some(format!("on {}", address.ip())),
            _ => None,
        });
        if let Some(place) = what {
            let name = &listener.name;
            let what = format!(
                "fosquitto.{name}.allow_anonymous: whoever comes from outside {place} is let in, \
                 unless the firewall stops it"
            );
            self.warn(listener.line, what);
        }
    }

    /// Files of TLS that cannot be used, or not for long.
    fn certificates(&mut self, listener: &Listener) {
        let Some(tls) = &listener.tls else {
            return;
        };
        let name = &listener.name;
        let context = match TlsContext::build(tls) {
            Ok(context) => context,
            Err(faults) => {
                for fault in faults {
                    let what = format!("fosquitto.{name}: it would stay closed: {fault}");
                    self.warn(listener.line, what);
                }
                return;
            }
        };
        for warning in context.warnings() {
            self.warn(listener.line, format!("fosquitto.{name}: {warning}"));
        }
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = since_1970.map_or(0, |since| since.as_secs().cast_signed());
        for validity in context.dates() {
            let (Some(until), Some(until_s)) = (&validity.until, validity.until_s) else {
                continue;
            };
            let left_s = until_s - now_s;
            // What has ended is told of by the context's own warnings.
            if left_s >= 0 && validity.is_due(now_s) {
                let what = match validity.kind {
                    "crl" => "a new list is due",
                    _ => "the certificate ends",
                };
                // A day that has begun counts: on the last one that is 1.
                let (days, path) = ((left_s + 86_399) / 86_400, validity.path.display());
                let what = format!("fosquitto.{name}: {path}: {what} in {days} days, on {until}");
                self.warn(listener.line, what);
            }
        }
    }

    /// A database that does not outlive the router's restart.
    fn store(&mut self, config: &Config) {
        let persistence = &config.persistence;
        if persistence.durability == Durability::Volatile {
            return;
        }
        let folder = persistence.path.ancestors().skip(1).find(|it| it.exists());
        if folder.is_some_and(is_in_memory) {
            let what = format!(
                "fosquitto.persistence.path: {} lies in memory: nothing is kept over a restart of the router",
                persistence.path.display()
            );
            self.warn(0, what);
        }
    }
}

/// The devices of the interfaces behind which the world is: those of the firewall's zone `wan`, and the usual ones.
fn outside_devices(root: &Path) -> Vec<String> {
    let text = fs::read(root.join("etc/config/firewall")).unwrap_or_default();
    let (firewall, _) = uci::read(&text);
    let zones = firewall
        .sections
        .iter()
        .filter(|section| section.kind.text == "zone" && section.text("name") == Some("wan"));
    let mut interfaces = vec!["wan".to_owned(), "wan6".to_owned(), "wwan".to_owned()];
    for zone in zones {
        match zone.value("network") {
            Some(uci::Value::Single(names)) => {
                interfaces.extend(names.text.split_whitespace().map(str::to_owned));
            }
            Some(uci::Value::List(names)) => {
                interfaces.extend(names.iter().map(|name| name.text.clone()));
            }
            None => {}
        }
    }
    Surroundings::of(root).devices(&interfaces)
}

/// Whether an address can be reached from everywhere.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_loopback() || address.is_private() || address.is_link_local())
        }
        IpAddr::V6(address) => {
            !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local())
        }
    }
}

/// Whether a folder is gone after a restart of the machine.
fn is_in_memory(folder: &Path) -> bool {
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: all bits 0 are a valid statfs, `path` ends in 0, and both are valid for the whole call.
    let kind = unsafe {
        let mut told: libc::statfs = std::mem::zeroed();
        match libc::statfs(path.as_ptr(), &raw mut told) {
            0 => told.f_type as u64 & 0xFFFF_FFFF,
            _ => 0,
        }
    };
    kind == TMPFS_MAGIC || kind == RAMFS_MAGIC
}
