//! The devices of the router's interfaces: `list interface 'lan'` becomes `br-lan`. Entered through [`Network::new`]
//! and [`Network::device`]. It reads UCI text of `/etc/config/network` and asks neither the kernel nor netifd, so an
//! interface that is down has its device all the same.

use super::fault::{Quoted, did_you_mean};
use super::uci::{self, Package, SyntaxFault};

/// Aliases (`option device '@lan'`) lead on to other aliases; more than so many are a circle.
const ALIASES_MAX: usize = 8;

/// Protocols whose device netifd names after the protocol and the interface.
const NAMED_AFTER_PROTOCOL: [&str; 8] =
    ["ppp", "pppoe", "pppoa", "pptp", "l2tp", "3g", "6in4", "6rd"];

/// The content of `/etc/config/network`.
pub struct Network {
    package: Package,
    fault: Option<SyntaxFault>,
}

impl Network {
    /// Reads the text; an empty one has no interfaces.
    pub fn new(text: &str) -> Self {
        let (package, faults) = uci::read(text.as_bytes());
        Network {
            package,
            fault: faults.into_iter().next(),
        }
    }

    /// The device of an interface, or why there is none, as the end of a fault's line.
    pub fn device(&self, interface: &str) -> Result<String, String> {
        if let Some(fault) = &self.fault {
            return Err(format!(
                "{} cannot be looked up: /etc/config/network is wrong in line {}: {}",
                Quoted(interface),
                fault.at.line,
                fault.what
            ));
        }
        let mut name = interface;
        for _ in 0..ALIASES_MAX {
            let section = self.interface(name)?;
            let device = device_of(name, section).ok_or_else(|| {
                format!(
                    "interface {} has no device in /etc/config/network",
                    Quoted(name)
                )
            })?;
            match device {
                Device::Named(device) => return Ok(device),
                Device::SameAs(other) => name = other,
            }
        }
        Err(format!(
            "interface {} is an alias of itself in /etc/config/network",
            Quoted(interface)
        ))
    }

    fn interface(&self, name: &str) -> Result<&uci::Section, String> {
        let named = |section: &&uci::Section| {
            section
                .name
                .as_ref()
                .is_some_and(|token| token.text == name)
        };
        let mut interfaces = self
            .package
            .sections
            .iter()
            .filter(|section| section.kind.text == "interface");
        interfaces.clone().find(named).ok_or_else(|| {
            let names = interfaces
                .by_ref()
                .filter_map(|section| Some(section.name.as_ref()?.text.as_str()));
            let hint = did_you_mean(name, names);
            format!(
                "{} is not an interface of /etc/config/network{hint}",
                Quoted(name)
            )
        })
    }
}

enum Device<'a> {
    Named(String),
    SameAs(&'a str),
}

fn device_of<'a>(name: &str, section: &'a uci::Section) -> Option<Device<'a>> {
    let protocol = section.text("proto").unwrap_or("none");
    if NAMED_AFTER_PROTOCOL.contains(&protocol) {
        return Some(Device::Named(format!("{protocol}-{name}")));
    }
    if protocol == "wireguard" {
        return Some(Device::Named(name.to_owned()));
    }
    // Before OpenWrt 21.02 bridges were interfaces of a type, and devices were called ifname.
    if section.text("type") == Some("bridge") {
        return Some(Device::Named(format!("br-{name}")));
    }
    let device = section.text("device").or_else(|| section.text("ifname"))?;
    match device.strip_prefix('@') {
        Some(other) => Some(Device::SameAs(other)),
        None => super::value::device(device).map(Device::Named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: &str = "
config interface 'loopback'
	option device 'lo'
config device
	option name 'br-lan'
	option type 'bridge'
config interface 'lan'
	option device 'br-lan'
	option proto 'static'
config interface 'guest6'
	option device '@lan'
config interface 'wan'
	option device 'eth2'
	option proto 'pppoe'
config interface 'vpn'
	option proto 'wireguard'
config interface 'old'
	option type 'bridge'
	option ifname 'eth0 eth1'
config interface 'empty'
config interface 'self'
	option device '@self'
";

    #[test]
    fn an_interface_is_its_device() {
        let network = Network::new(NETWORK);
        for (interface, device) in [
            ("lan", "br-lan"),
            ("guest6", "br-lan"),
            ("wan", "pppoe-wan"),
            ("vpn", "vpn"),
            ("old", "br-old"),
            ("loopback", "lo"),
        ] {
            assert_eq!(network.device(interface).as_deref(), Ok(device));
        }
    }

    #[test]
    fn an_unknown_interface_is_said_with_the_nearest_one() {
        let network = Network::new(NETWORK);
        let what = network.device("lna").expect_err("there is none");
        assert_eq!(
            what,
            "'lna' is not an interface of /etc/config/network (did you mean 'lan'?)"
        );
        assert!(network.device("br-lan").is_err());
    }

    #[test]
    fn an_interface_without_a_device_and_a_circle_are_said() {
        let network = Network::new(NETWORK);
        assert!(
            network
                .device("empty")
                .expect_err("it has none")
                .contains("has no device")
        );
        assert!(
            network
                .device("self")
                .expect_err("it is a circle")
                .contains("alias of itself")
        );
    }

    #[test]
    fn a_network_file_that_is_wrong_is_said_with_its_line() {
        let what = Network::new("config interface 'lan'\n\toptoin x\n")
            .device("lan")
            .expect_err("it is wrong");
        assert!(
            what.contains("/etc/config/network is wrong in line 2"),
            "{what}"
        );
    }
}
