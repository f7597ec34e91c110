//! mosquitto in the broker's place, to hold a test of the protocol to a second opinion.
//!
//! It translates what the tests' UCI files commonly say: the local side, plain listeners, anonymous clients, the largest packet
//! and ACLs by user. It knows no reload, no certificates and no log of ours: tests of those are not for it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use super::root::Root;

/// The password that the user `local` has there.
const PASSWORD: &str = "0123456789ABCDEF0123456789ABCDEF";

/// Its hash in mosquitto's form: PBKDF2 with HMAC-SHA512, 101 rounds, a salt of twelve bytes 00 to 0b.
const HASH: &str = "local:$7$101$AAECAwQFBgcICQoL$02NS2eDWClBU0t5fjavY7arv2wsc3CilhyCU9VSPRmLvTozK+8buLbimiq0tIUSeue2pXcmdqLR6oJQ9YDn40Q==\n";

/// A mosquitto that is ready to be started.
pub struct Reference {
    program: PathBuf,
    configuration: PathBuf,
    ports: HashMap<String, u16>,
}

impl Reference {
    /// Prepares `root` for mosquitto when the environment asks for it.
    pub fn asked_for(root: &Root) -> Option<Reference> {
        let program = PathBuf::from(std::env::var_os("FOSQUITTO_REFERENCE")?);
        let mut text = String::from(
            "per_listener_settings true\nqueue_qos0_messages true\nmax_inflight_messages 20\n",
        );
        let mut ports = HashMap::new();
        let mut acl = String::new();
        for section in sections(&root.read("etc/config/fosquitto")) {
            match section.kind.as_str() {
                "global" => {
                    if let Some(bytes) = section.option("max_packet_size") {
                        text += &format!("max_packet_size {bytes}\n");
                    }
                }
                "local" | "listener" => {
                    let port = free_port();
                    text += &format!(
                        "listener {port} 127.0.0.1\npassword_file {}\n",
                        root.join("passwords").display()
                    );
                    let anonymous = section.option("allow_anonymous") == Some("1");
                    text += &format!("allow_anonymous {anonymous}\n");
                    if let Some(mount_point) = section.option("mount_point") {
                        text += &format!("mount_point {mount_point}\n");
                    }
                    text += &format!("acl_file {}\n", root.join("acl").display());
                    ports.insert(section.name.clone(), port);
                }
                "acl" if section.option("action") != Some("deny") => acl += &section.acl_lines(),
                _ => {}
            }
        }
        root.write(
            "acl",
            if acl.is_empty() {
                "pattern readwrite #\npattern read $SYS/#\n".to_owned()
            } else {
                acl
            },
        );
        root.write("passwords", HASH);
        root.write(
            "etc/fosquitto/credentials.plain",
            format!("local:{PASSWORD}\n"),
        );
        root.write(
            "mosquitto.conf",
            text + "log_dest stderr\nlog_type all\nuser root\n",
        );
        Some(Reference {
            program,
            configuration: root.join("mosquitto.conf"),
            ports,
        })
    }

    /// The command that runs it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&self.configuration);
        command
    }

    /// Where the listener of this section is bound.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let port = self
            .ports
            .get(listener)
            .unwrap_or_else(|| panic!("the reference has a listener {listener}"));
        (Ipv4Addr::LOCALHOST, *port).into()
    }
}

struct Section {
    kind: String,
    name: String,
    values: Vec<(String, String)>,
}

impl Section {
    fn option(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .rev()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    fn acl_lines(&self) -> String {
        let mut lines = String::new();
        for (_, user) in self.values.iter().filter(|(name, _)| name == "user") {
            lines += &format!("user {user}\n");
            for (_, topic) in self.values.iter().filter(|(name, _)| name == "topic") {
                lines += &format!(
                    "topic {} {topic}\n",
                    self.option("access").unwrap_or("readwrite")
                );
            }
        }
        lines
    }
}

/// The sections of a UCI file as the tests write them: one value a line, in single quotes.
fn sections(uci: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in uci.lines() {
        let mut words = line.split_whitespace();
        let (keyword, first) = (words.next(), words.next());
        let value = words
            .collect::<Vec<_>>()
            .join(" ")
            .trim_matches('\'')
            .to_owned();
        match (keyword, first) {
            (Some("config"), Some(kind)) => sections.push(Section {
                kind: kind.to_owned(),
                name: value,
                values: Vec::new(),
            }),
            (Some("option" | "list"), Some(name)) => {
                let section = sections.last_mut().expect("an option stands in a section");
                section.values.push((name.to_owned(), value));
            }
            _ => {}
        }
    }
    sections
}

/// A port that was free a moment ago, for programs that cannot say which one the kernel chose.
pub fn free_port() -> u16 {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the kernel has a free port");
    probe
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}
