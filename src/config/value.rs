//! The texts of option values as typed values: one function a kind. Entered from the sections' parsers through
//! [`super::section::Reader`]. What is right and what is expected is decided by the [`Kind`] of the table of options;
//! nothing here knows a section.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::bridge::{Host, Mapping};
use super::options::Kind;

/// libuci's words for yes and no, in lower case only, as `uci_validate_section` reads them.
pub fn bool(text: &str) -> Option<bool> {
    match text {
        "1" | "true" | "yes" | "on" | "enabled" => Some(true),
        "0" | "false" | "no" | "off" | "disabled" => Some(false),
        _ => None,
    }
}

/// Bytes: `65536`, `64K`, `16M`, `1G`, with factors of 1024, in either case.
pub fn size(text: &str) -> Option<u64> {
    let (digits, unit) = with_unit(text)?;
    let factor = match unit {
        None => 1,
        Some('k' | 'K') => 1 << 10,
        Some('m' | 'M') => 1 << 20,
        Some('g' | 'G') => 1 << 30,
        Some(_) => return None,
    };
    digits.checked_mul(factor)
}

/// Seconds: `60`, `60s`, `30m`, `12h`, `1d`, `2w`.
pub fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = with_unit(text)?;
    let factor = match unit {
        None | Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some('w') => 604_800,
        Some(_) => return None,
    };
    digits.checked_mul(factor).map(Duration::from_secs)
}

/// Decimal digits only: no sign, no blank, no other base.
pub fn count(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn with_unit(text: &str) -> Option<(u64, Option<char>)> {
    let unit = text.chars().next_back().filter(char::is_ascii_alphabetic);
    let digits = &text[..text.len() - unit.map_or(0, char::len_utf8)];
    Some((count(digits)?, unit))
}

/// An address to listen on or to connect to, and the device that a link-local IPv6 address needs: `fe80::1%br-lan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The device after `%`.
    pub device: Option<String>,
}

/// An IPv4 or IPv6 address, the latter with or without brackets; a link-local one with its device.
pub fn address(text: &str) -> Option<Address> {
    let (ip, device) = match text.split_once('%') {
        Some((ip, name)) if device(name).is_some() => (ip, Some(name.to_owned())),
        Some(_) => return None,
        None => (text, None),
    };
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
    let ip: IpAddr = match bare {
        Some(bare) => IpAddr::V6(bare.parse::<Ipv6Addr>().ok()?),
        None => ip.parse().ok()?,
    };
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    (link_local == device.is_some()).then_some(Address { ip, device })
}

/// A network device's name as Linux allows it: 1 to 15 bytes without blanks and `/`.
pub fn device(text: &str) -> Option<String> {
    let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
    let bad = |byte: u8| !byte.is_ascii_graphic() || byte == b'/' || byte == b':';
    (fits && !text.bytes().any(bad)).then(|| text.to_owned())
}

/// An absolute path.
pub fn path(text: &str) -> Option<PathBuf> {
    (text.starts_with('/') && !text.bytes().any(|byte| byte < b' ')).then(|| text.into())
}

/// A SHA-256 fingerprint: 64 hexadecimal digits, with or without colons between the bytes. The result has lower-case
/// digits and no colons, so that two spellings of one fingerprint are equal.
pub fn fingerprint(text: &str) -> Option<String> {
    let colons = text.len() == 95 && text.bytes().skip(2).step_by(3).all(|byte| byte == b':');
    let digits = if colons {
        text.replace(':', "")
    } else {
        text.to_owned()
    };
    let valid = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| digits.to_ascii_lowercase())
}

/// Whether the text is a value of this kind. The parsers of the sections read only what passed here.
pub fn is_valid(text: &str, kind: Kind) -> bool {
    let within = |value: Option<u64>, min: u64, max: u64| {
        value.is_some_and(|value| (min..=max).contains(&value))
    };
    match kind {
        Kind::Bool => bool(text).is_some(),
        Kind::Size { min, max } => within(size(text), min, max),
        Kind::Duration { min_s, max_s } => {
            within(duration(text).map(|value| value.as_secs()), min_s, max_s)
        }
        Kind::Count { min, max } => within(count(text), min, max),
        Kind::Port => within(count(text), 0, 65_535),
        Kind::Word(words) => words.contains(&text),
        Kind::Name => !text.is_empty() && text.len() <= 65_535 && !text.contains(char::is_control),
        Kind::Path => path(text).is_some(),
        Kind::Address => address(text).is_some(),
        Kind::Ip => text.parse::<IpAddr>().is_ok(),
        Kind::Device => device(text).is_some(),
        Kind::Fingerprint => fingerprint(text).is_some(),
        Kind::Topic => crate::acl::Pattern::new(text).is_ok(),
        Kind::Filter => filter_fault(text).is_none(),
        Kind::MountPoint => mount_point(text),
        Kind::Origin => text == "*" || origin(text),
        Kind::OwnTopic => mount_point(text) && crate::acl::Pattern::new(text).is_ok(),
        Kind::Server => server(text),
        Kind::Remote => remote(text).is_some(),
        Kind::RemotePort => within(count(text), 1, 65_535),
        Kind::Host => host(text).is_some(),
        Kind::Alpn => {
            (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        }
        Kind::TopicName => text.len() <= 1024 && crate::mqtt::topic::is_name(text),
        Kind::BridgeTopic => Mapping::parse(text).is_ok(),
    }
}

/// Why a text is not a topic filter that stands for the same topics whoever the client is.
pub fn filter_fault(text: &str) -> Option<String> {
    if let Err(fault) = crate::acl::Pattern::new(text) {
        return Some(fault.to_string());
    }
    let placeholder = text
        .split('/')
        .find(|level| matches!(*level, "%u" | "%c"))?;
    Some(format!(
        "'{placeholder}' means something in 'acl' sections only: '+' stands for any level"
    ))
}

/// An origin as browsers write it (RFC 6454, section 6.2): scheme, host and port, and no path, not even `/`.
fn origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else {
        return false;
    };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"/?#@,*".contains(&byte);
    !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !authority.is_empty()
        && authority.bytes().all(is_plain)
}

/// A reference to a server in the form of 4.11 of MQTT 5.0: a name or an address, and a port if it is another than MQTT's.
fn server(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, rest)) if ip.parse::<Ipv6Addr>().is_ok() => match rest.strip_prefix(':') {
            Some(port) => (ip, Some(port)),
            None if rest.is_empty() => (ip, None),
            None => return false,
        },
        Some(_) => return false,
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"[]/,".contains(&byte);
    let is_port = |port: &str| count(port).is_some_and(|port| (1..=65_535).contains(&port));
    (1..=255).contains(&host.len()) && host.bytes().all(is_plain) && port.is_none_or(is_port)
}

/// Where another broker is: a host, and a port if it says so. An IPv6 address with a port needs brackets, and one without may
/// have them: what follows its last colon could be either.
pub fn remote(text: &str) -> Option<(Host, Option<u16>)> {
    let port = |text: &str| u16::try_from(count(text)?).ok().filter(|port| *port > 0);
    if let Some((ip, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let host = host(ip).filter(|host| matches!(host, Host::Address(IpAddr::V6(_), _)))?;
        return match rest.strip_prefix(':') {
            Some(digits) => Some((host, Some(port(digits)?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        Some((name, digits)) => Some((host(name)?, Some(port(digits)?))),
        None => Some((host(text)?, None)),
    }
}

/// A host's name as DNS has it, or its address. What looks like a part of an address is no name: a resolver would read `1.2` as
/// 1.0.0.2.
pub fn host(text: &str) -> Option<Host> {
    if let Some(Address { ip, device }) = address(text) {
        return Some(Host::Address(ip, device));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_plain);
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last
            .get(..2)
            .is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    let is_name = name.len() <= 253 && name.split('.').all(is_label) && !is_number;
    is_name.then(|| Host::Name(text.to_owned()))
}

/// A topic's beginning: what is put before every topic of a listener's clients.
fn mount_point(text: &str) -> bool {
    (1..=1024).contains(&text.len())
        && !text.contains(['+', '#', '$'])
        && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_factors_of_1024() {
        assert_eq!(size("0"), Some(0));
        assert_eq!(size("64K"), Some(65_536));
        assert_eq!(size("16M"), Some(16_777_216));
        assert_eq!(size("1g"), Some(1 << 30));
        for wrong in [
            "",
            "M",
            "-1",
            "1.5M",
            "1 M",
            "1MB",
            "0x10",
            "16E",
            "99999999999999999999",
            "18446744073709551615G",
        ] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_have_units_of_seconds_to_weeks() {
        assert_eq!(duration("60"), Some(Duration::from_secs(60)));
        assert_eq!(duration("1d"), Some(Duration::from_secs(86_400)));
        assert_eq!(duration("12h"), Some(Duration::from_secs(43_200)));
        assert_eq!(duration("30m"), Some(Duration::from_secs(1_800)));
        assert_eq!(duration("2w"), Some(Duration::from_secs(1_209_600)));
        for wrong in ["", "d", "1y", "1d12h", "-1", "1 d", "é"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_link_local_address_needs_its_device_and_no_other_has_one() {
        assert!(address("192.0.2.1").is_some_and(|address| address.device.is_none()));
        assert!(address("[::1]").is_some());
        assert_eq!(
            address("fe80::1%br-lan").and_then(|address| address.device),
            Some("br-lan".into())
        );
        for wrong in [
            "",
            "fe80::1",
            "192.0.2.1%eth0",
            "fe80::1%",
            "fe80::1%a/b",
            "[192.0.2.1]",
            "localhost",
            "1.2.3",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let plain = "00ff".repeat(16);
        let colons = ["00:FF"; 16].join(":");
        assert_eq!(fingerprint(&plain), fingerprint(&colons));
        assert_eq!(fingerprint(&plain), Some(plain.clone()));
        for wrong in [
            &plain[1..],
            &colons.replace(':', "-"),
            &plain.replace('f', "g"),
            "",
            &"é".repeat(32),
        ] {
            assert_eq!(fingerprint(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_origin_has_no_path() {
        for right in [
            "https://router.lan",
            "http://192.0.2.1:8080",
            "http://[2001:db8::1]",
        ] {
            assert!(is_valid(right, Kind::Origin), "{right}");
        }
        assert!(is_valid("*", Kind::Origin));
        for wrong in [
            "",
            "router.lan",
            "https://",
            "https://a/",
            "://a",
            "https://*.lan",
            "https://a b",
        ] {
            assert!(!is_valid(wrong, Kind::Origin), "{wrong}");
        }
    }

    #[test]
    fn a_server_is_a_host_with_or_without_a_port() {
        for right in [
            "router.lan",
            "router.lan:8883",
            "192.0.2.1:1883",
            "[2001:db8::1]:1883",
            "[::1]",
        ] {
            assert!(is_valid(right, Kind::Server), "{right}");
        }
        for wrong in [
            "",
            ":1883",
            "a b",
            "a:",
            "a:0",
            "a:65536",
            "2001:db8::1",
            "[::1",
            "[a]:1",
            "mqtt://a",
        ] {
            assert!(!is_valid(wrong, Kind::Server), "{wrong}");
        }
    }

    #[test]
    fn another_broker_is_a_host_with_or_without_a_port() {
        let name = |text: &str| Host::Name(text.into());
        let ip = |text: &str| Host::Address(text.parse().expect("an address"), None);
        for (text, expected) in [
            ("test.mosquitto.org", (name("test.mosquitto.org"), None)),
            ("a_b-c:1883", (name("a_b-c"), Some(1883))),
            ("192.0.2.1:1", (ip("192.0.2.1"), Some(1))),
            ("192.0.2.1", (ip("192.0.2.1"), None)),
            ("[2001:db8::1]:8883", (ip("2001:db8::1"), Some(8883))),
            ("[::1]", (ip("::1"), None)),
            ("localhost.", (name("localhost."), None)),
        ] {
            assert_eq!(remote(text), Some(expected), "{text}");
        }
        let link_local = remote("[fe80::1%br-lan]:1883").expect("an address");
        assert_eq!(link_local.0.to_string(), "fe80::1%br-lan");
        for wrong in [
            "",
            ":1883",
            "a b",
            "a:",
            "a:0",
            "a:65536",
            "2001:db8::1",
            "::1:1883",
            "[::1",
            "[a]:1",
            "[192.0.2.1]:1",
            "mqtt://a",
            "a..b",
            "-\u{e9}",
            "192.0.2.300",
            "1.2",
            "0x7f.1",
            "0x7f000001",
            "[fe80::1]:1883",
        ] {
            assert_eq!(remote(wrong), None, "{wrong}");
        }
        assert_eq!(remote(&"a".repeat(64)), None);
    }

    #[test]
    fn a_topic_of_a_clients_own_has_no_wildcards() {
        assert!(is_valid("reply/%u/%c", Kind::OwnTopic));
        for wrong in ["", "reply/#", "reply/+", "$SYS/%c", "reply/x%c"] {
            assert!(!is_valid(wrong, Kind::OwnTopic), "{wrong}");
        }
    }

    #[test]
    fn only_libucis_words_are_yes_or_no() {
        assert_eq!(bool("enabled"), Some(true));
        assert_eq!(bool("off"), Some(false));
        for wrong in ["", "2", "Yes", "TRUE", "y"] {
            assert_eq!(bool(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn device_names_are_those_that_linux_allows() {
        assert!(device("br-lan.100").is_some());
        for wrong in ["", ".", "..", "a b", "a/b", "a:1", "sixteen-letters-", "é"] {
            assert_eq!(device(wrong), None, "{wrong}");
        }
    }
}
