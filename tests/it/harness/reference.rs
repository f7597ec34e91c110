//! mosquitto in the broker's place, to hold a test of the protocol to a second opinion.
//!
//! It translates what the tests' UCI files commonly say: both sides, plain listeners, anonymous clients, users
//! and some limits. It knows no ACLs, no reload and no log of ours: tests of those are not for it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use super::root::Root;

/// The environment's variable that names the program to compare with.
const VARIABLE: &str = "FOSQUITTO_REFERENCE";

/// Whether the tests run against the reference.
pub fn in_use() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

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
        let program = PathBuf::from(std::env::var_os(VARIABLE)?);
        let mut text = String::from("per_listener_settings true\nqueue_qos0_messages true\n");
        let mut ports = HashMap::new();
        for section in sections(&root.read("etc/config/fosquitto")) {
            match section.kind.as_str() {
                "global" => text += &section.global_lines(),
                "remote" if section.option("enabled") != Some("1") => {}
                "local" | "listener" | "remote" => {
                    let port = free_port();
                    text += &format!("listener {port} 127.0.0.1\n");
                    text += &match section.kind.as_str() {
                        "remote" => remote_lines(root),
                        _ => section.listener_lines(root),
                    };
                    ports.insert(section.name.clone(), port);
                }
                _ => {}
            }
        }
        let users = std::fs::read_to_string(root.join("etc/fosquitto/passwd"));
        root.write("passwords", HASH.to_owned() + &users.unwrap_or_default());
        root.write(
            "etc/fosquitto/credentials.plain",
            format!("local:{PASSWORD}\n"),
        );
        root.write(
            "mosquitto.conf",
            text + "log_dest stderr\nlog_type all\nuser root\n",
        );
        let configuration = root.join("mosquitto.conf");
        Some(Reference {
            program,
            configuration,
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

    fn global_lines(&self) -> String {
        let names = [
            ("max_packet_size", "max_packet_size"),
            ("max_inflight", "max_inflight_messages"),
            ("queue_messages", "max_queued_messages"),
        ];
        let lines = names
            .iter()
            .filter_map(|(uci, name)| Some(format!("{name} {}\n", self.option(uci)?)));
        lines.collect()
    }

    fn listener_lines(&self, root: &Root) -> String {
        let passwords = root.join("passwords").display().to_string();
        let anonymous = self.option("allow_anonymous") == Some("1");
        let mount_point = self
            .option("mount_point")
            .map(|path| format!("mount_point {path}\n"));
        format!("password_file {passwords}\nallow_anonymous {anonymous}\n")
            + &mount_point.unwrap_or_default()
    }
}

/// The remote side as the original configures it.
fn remote_lines(root: &Root) -> String {
    let path = |name: &str| {
        root.join("etc/ssl/ca/remote")
            .join(name)
            .display()
            .to_string()
    };
    format!(
        "tls_version tlsv1.2\nuse_identity_as_username true\nrequire_certificate true\n\
         cafile {}\ncertfile {}\nkeyfile {}\ncrlfile {}\n",
        path("ca.crt"),
        path("01.crt"),
        path("01.key"),
        path("ca.crl")
    )
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
