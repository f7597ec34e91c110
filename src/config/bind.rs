//! The sockets of a listener: the options `address`, `interface`, `device` and `unix`, and which sockets cannot be open
//! at the same time. Entered through [`read`], [`tcp`] and [`conflicts`]. It opens none of them: an address may come
//! later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::listener::Listener;
use super::network::Network;
use super::section::{Reader, text};
use super::value;

/// So many sockets one listener may have.
const BINDS_MAX: usize = 64;

/// One socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// TCP.
    Tcp {
        /// Address and port; port 0: the kernel chooses. An IPv6 one takes IPv6 only.
        address: SocketAddr,
        /// The only device through which clients may come.
        device: Option<String>,
    },
    /// A Unix socket at this path.
    Unix(PathBuf),
}

/// The router itself, both families.
pub(super) const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
/// All addresses, both families.
pub(super) const EVERYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

/// Sockets without a device.
pub(super) fn tcp(addresses: [IpAddr; 2], port: u16) -> Vec<Bind> {
    addresses
        .map(|ip| Bind::Tcp {
            address: SocketAddr::new(ip, port),
            device: None,
        })
        .into()
}

/// All sockets that the section asks for. Two interfaces of one device, such as wan and wan6, are one socket.
pub(super) fn read(reader: &mut Reader<'_>, port: u16, network: &Network) -> Vec<Bind> {
    let mut devices = reader.list("device", value::device);
    for (interface, line) in reader.list("interface", text).into_iter().take(BINDS_MAX) {
        match network.device(&interface) {
            Ok(device) => devices.push((device, line)),
            Err(what) => reader.fault("interface", line, what),
        }
    }
    let mut binds = Vec::new();
    for (address, _) in reader.list("address", value::address) {
        let value::Address { ip, device } = address;
        binds.push(Bind::Tcp {
            address: SocketAddr::new(ip, port),
            device,
        });
    }
    for (device, _) in devices {
        for ip in EVERYWHERE {
            binds.push(Bind::Tcp {
                address: SocketAddr::new(ip, port),
                device: Some(device.clone()),
            });
        }
    }
    binds.extend(
        reader
            .list("unix", value::path)
            .into_iter()
            .map(|(path, _)| Bind::Unix(path)),
    );
    if !["address", "interface", "device", "unix"]
        .iter()
        .any(|option| reader.is_set(option))
    {
        binds = tcp(EVERYWHERE, port);
    }
    if binds.len() > BINDS_MAX {
        reader.fault_here(format!("asks for more than {BINDS_MAX} sockets"));
        binds.truncate(BINDS_MAX);
    }
    let mut distinct = Vec::new();
    for bind in binds {
        if !distinct.contains(&bind) {
            distinct.push(bind);
        }
    }
    distinct
}

/// Sockets that the kernel would not open both: each pair of listeners once, as the later one and what to say about it.
pub(super) fn conflicts(listeners: &[Listener]) -> Vec<(&Listener, String)> {
    let mut found = Vec::new();
    for (index, later) in listeners.iter().enumerate() {
        for earlier in &listeners[..index] {
            let pairs = later
                .binds
                .iter()
                .flat_map(|bind| earlier.binds.iter().map(move |other| (bind, other)));
            if let Some((bind, other)) =
                pairs.into_iter().find(|(bind, other)| collide(bind, other))
            {
                let place = match earlier.line {
                    0 => "by default".into(),
                    line => format!("line {line}"),
                };
                let what = format!(
                    "{} is taken: '{}' ({place}) listens on {}",
                    shown(bind),
                    earlier.name,
                    shown(other)
                );
                found.push((later, what));
            }
        }
        let own = later.binds.iter().enumerate();
        let mut own =
            own.flat_map(|(at, bind)| later.binds[..at].iter().map(move |other| (bind, other)));
        if let Some((bind, other)) = own.find(|(bind, other)| collide(bind, other)) {
            found.push((
                later,
                format!("{} and {} cannot both be opened", shown(other), shown(bind)),
            ));
        }
    }
    found
}

/// Whether the second of two sockets cannot be opened, as Linux decides it: the same port, and in address and device
/// each the same or one of them open.
fn collide(a: &Bind, b: &Bind) -> bool {
    match (a, b) {
        (Bind::Unix(a), Bind::Unix(b)) => a == b,
        (
            Bind::Tcp {
                address: a,
                device: a_device,
            },
            Bind::Tcp {
                address: b,
                device: b_device,
            },
        ) => {
            let open = a.ip().is_unspecified() || b.ip().is_unspecified();
            let device = a_device.is_none() || b_device.is_none() || a_device == b_device;
            a.port() == b.port()
                && a.port() != 0
                && a.is_ipv4() == b.is_ipv4()
                && device
                && (open || a.ip() == b.ip())
        }
        _ => false,
    }
}

fn shown(bind: &Bind) -> String {
    match bind {
        Bind::Unix(path) => path.display().to_string(),
        Bind::Tcp {
            address,
            device: None,
        } => format!("{address}"),
        Bind::Tcp {
            address,
            device: Some(device),
        } => format!("{address} on {device}"),
    }
}
