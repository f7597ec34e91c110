//! Subordinates as bridges: what the sections `subordinate` and `subsubordinate` mean. Entered through [`links`]; pure.
//!
//! Each enabled subordinate is one bridge, which forwards what foris' clients here ask its controller and those of its enabled
//! subsubordinates, and what these answer and tell. The topics carry the controller's id and stay as they are. A subsubordinate whose
//! subordinate is disabled or not there is reached by nobody.
//!
//! The certificates are those of the token that the subordinates page was given. The subordinate's certificate must be of the CA that
//! came with it; it is for no name (turris-cagen makes it for `turris`), so that none is asked.
//!
//! Messages keep QoS and retain flag: a reply is retained at the subordinate until its client or a timer clears it with an empty
//! message, and so it is here. QoS 2 is the most that is asked for; foris' requests and replies have 0, and the clearing has 2. A request
//! that waited longer than foris' client does would be done twice, or for nobody: it is not sent any more. What the original
//! does not forward, `jsonschemas` and `working_replies`, goes too.

use std::path::Path;
use std::time::Duration;

use crate::config::bridge::{
    BridgeProtocol, BridgeQueue, BridgeTls, Host, Line, Notify, RetainHandling,
};
use crate::config::{Bridge, Direction, Mapping, Reach, Remote, Subordinate, TlsVersion};
use crate::mqtt::Qos;

/// Where tokens are, below the root.
const TOKENS: &str = "etc/fosquitto/bridges";

/// What is asked of a controller: the ends of topics after its id.
const ASKED: [&str; 6] = [
    "request/+/action/+",
    "request/+/list",
    "list",
    "schema",
    "jsonschemas",
    "working_replies",
];

/// What a controller says.
const SAID: [&str; 2] = ["notification/+/action/+", "reply/+"];

/// The original's.
const KEEP_ALIVE_S: u16 = 30;

/// Foris' client asks again after 5 s.
const REQUEST_TTL: Duration = Duration::from_secs(5);

/// A reply is cleared ten seconds after it was given. The clearing can be lost with the way here, and then the reply would be there for ever: it
/// ends by itself after some times as long, in seconds.
const REPLY_EXPIRY_S: u32 = 60;

/// How long a retained message of a subordinate stays at most, in seconds; `None` if that is its sender's matter.
pub fn expiry_s(topic: &str) -> Option<u32> {
    let mut levels = topic.split('/');
    let is_reply = levels.next() == Some("foris-controller") && levels.nth(1) == Some("reply");
    is_reply.then_some(REPLY_EXPIRY_S)
}

/// The bridges of the enabled subordinates, in their order. `host` is this router's controller id, if it has one: the Client Identifiers
/// are then the original's, `SUB->HOST`.
pub fn links(subordinates: &[Subordinate], root: &Path, host: Option<&str>) -> Vec<Bridge> {
    let enabled = subordinates
        .iter()
        .filter(|subordinate| subordinate.enabled);
    let direct = enabled.filter_map(|subordinate| match &subordinate.reach {
        Reach::Direct { address, port } => Some((subordinate, *address, *port)),
        Reach::Via(_) => None,
    });
    let link = |(subordinate, address, port): (&Subordinate, Option<std::net::IpAddr>, u16)| {
        let remote = |ip| Remote {
            host: Host::Address(ip, None),
            port,
        };
        Bridge {
            remotes: address.into_iter().map(remote).collect(),
            client_id: host.map(|host| format!("{}->{host}", subordinate.id)),
            topics: topics(subordinates, &subordinate.id),
            ..bridge(subordinate, root)
        }
    };
    direct.map(link).collect()
}

/// What is the same for all of them.
fn bridge(subordinate: &Subordinate, root: &Path) -> Bridge {
    let id = &subordinate.id;
    Bridge {
        name: id.clone(),
        line: Line(subordinate.line.0),
        remotes: Vec::new(),
        found: Some(id.clone()),
        tls: Some(tls(root, id)),
        bind_address: None,
        bind_device: None,
        connect_timeout: Duration::from_secs(15),
        username: None,
        password_file: None,
        protocol: BridgeProtocol::Auto,
        client_id: None,
        topics: Vec::new(),
        clean_start: false,
        session_expiry: Duration::from_secs(86_400),
        keep_alive_s: KEEP_ALIVE_S,
        restart: (Duration::from_secs(1), Duration::from_secs(30)),
        try_private: true,
        max_hops: 10,
        retain_out: true,
        retain_in: true,
        retain_handling: RetainHandling::New,
        notify: Notify::Local,
        notification_topic: None,
        queue: BridgeQueue {
            messages: 1000,
            bytes: 1 << 20,
            ttl: None,
            qos0_ttl: REQUEST_TTL,
        },
        max_inflight: 20,
    }
}

fn tls(root: &Path, id: &str) -> BridgeTls {
    let token = root.join(TOKENS).join(id);
    BridgeTls {
        ca: Some(token.join("ca.crt")),
        own: Some((token.join("token.crt"), token.join("token.key"))),
        pins: Vec::new(),
        verify_name: false,
        sni: None,
        alpn: Vec::new(),
        min_version: TlsVersion::V1_2,
    }
}

/// The topics of a subordinate and of all that are reached through it.
fn topics(subordinates: &[Subordinate], id: &str) -> Vec<Mapping> {
    let is_behind = |other: &&Subordinate| {
        other.enabled && matches!(&other.reach, Reach::Via(via) if via == id)
    };
    let behind = subordinates.iter().filter(is_behind);
    let ids = std::iter::once(id).chain(behind.map(|other| other.id.as_str()));
    let mut topics = Vec::new();
    for id in ids {
        let mapping = |direction, end: &&str| Mapping {
            pattern: format!("foris-controller/{id}/{end}"),
            direction,
            qos: Qos::ExactlyOnce,
            local_prefix: String::new(),
            remote_prefix: String::new(),
        };
        topics.extend(ASKED.iter().map(|end| mapping(Direction::Out, end)));
        topics.extend(SAID.iter().map(|end| mapping(Direction::In, end)));
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::mapping::Mappings;
    use crate::config::{Surroundings, parse};

    const SUB: &str = "0000000A00000214";
    const FAR: &str = "0000000A00000215";

    fn of(text: &str) -> Vec<Bridge> {
        let config = parse(text, "/f".as_ref(), &Surroundings::default());
        let config = config.unwrap_or_else(|faults| panic!("{faults}"));
        links(&config.subordinates, "/r".as_ref(), Some("HOST"))
    }

    fn sub(options: &str) -> String {
        format!("config subordinate '{SUB}'\n{options}")
    }

    #[test]
    fn a_subordinate_is_a_bridge_by_its_token() {
        let links = of(&sub(
            "\toption address '192.0.2.8'\n\toption port '11885'\n",
        ));
        let [link] = &links[..] else {
            panic!("one link")
        };
        assert_eq!(link.remotes[0].to_string(), "192.0.2.8:11885");
        assert_eq!(link.client_id.as_deref(), Some("0000000A00000214->HOST"));
        assert_eq!(link.found.as_deref(), Some(SUB));
        let tls = link.tls.as_ref().expect("TLS");
        let token = Path::new("/r/etc/fosquitto/bridges").join(SUB);
        assert_eq!(tls.ca, Some(token.join("ca.crt")));
        assert_eq!(
            tls.own,
            Some((token.join("token.crt"), token.join("token.key")))
        );
        assert!(!tls.verify_name && !link.clean_start && link.retain_in && link.retain_out);
        assert!(
            of(&sub(""))[0].remotes.is_empty(),
            "it is found on the network"
        );
    }

    #[test]
    fn what_foris_says_goes_its_way_unchanged_and_nothing_else_does() {
        let links = of(&sub(""));
        let mappings = Mappings::new(&links[0].topics);
        for (topic, goes_out, comes_in) in [
            ("request/wifi/action/get", true, false),
            ("request/wifi/list", true, false),
            ("list", true, false),
            ("jsonschemas", true, false),
            ("working_replies", true, false),
            ("notification/wifi/action/update", false, true),
            ("reply/5cf5", false, true),
            ("other", false, false),
        ] {
            let topic = format!("foris-controller/{SUB}/{topic}");
            let goes = |goes: bool| goes.then_some(topic.as_str());
            assert_eq!(
                mappings.to_remote(&topic).as_deref(),
                goes(goes_out),
                "{topic}"
            );
            assert_eq!(
                mappings.to_local(&topic).as_deref(),
                goes(comes_in),
                "{topic}"
            );
        }
        assert_eq!(mappings.to_remote("foris-controller/other/list"), None);
    }

    #[test]
    fn a_reply_ends_by_itself_and_nothing_else_does() {
        let of = |end: &str| expiry_s(&format!("foris-controller/{SUB}/{end}"));
        assert_eq!(of("reply/5cf5"), Some(REPLY_EXPIRY_S));
        assert_eq!(of("notification/reply/action/x"), None);
        assert_eq!(expiry_s("reply/foris-controller"), None);
    }

    #[test]
    fn a_subsubordinate_is_reached_through_its_subordinate_if_both_are_enabled() {
        let far = |options: &str| {
            let text = sub("");
            of(&format!("{text}config subsubordinate '{FAR}'\n{options}"))
        };
        let reaches = |links: &[Bridge]| {
            let topic = format!("foris-controller/{FAR}/list");
            links
                .iter()
                .any(|link| Mappings::new(&link.topics).to_remote(&topic).is_some())
        };
        let via = format!("\toption via '{SUB}'\n");
        assert!(reaches(&far(&via)));
        assert!(!reaches(&far(&format!("{via}\toption enabled '0'\n"))));
        assert!(!reaches(&far("\toption via 'another'\n")));
        let disabled = sub("\toption enabled '0'\n");
        assert_eq!(
            of(&format!("{disabled}config subsubordinate '{FAR}'\n{via}")),
            []
        );
    }
}
