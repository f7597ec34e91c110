//! Whole configurations: defaults, every section, and files with faults.

use std::time::Duration;

use super::*;
use crate::acl::{Action, By, Decision, Pattern, Subject};
use crate::log::Level;

const NETWORK: &str = "config interface 'lan'\n\toption device 'br-lan'\n\
                       config interface 'wan'\n\toption device 'eth2'\n\
                       config interface 'wan6'\n\toption device 'eth2'\n";

fn read(text: &str) -> Result<Config, Faults> {
    let surroundings = Surroundings {
        root: "/r".into(),
        network: NETWORK.into(),
    };
    parse(text, Path::new("/etc/config/fosquitto"), &surroundings)
}

fn good(text: &str) -> Config {
    read(text).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The faults without the file's name.
fn faults(text: &str) -> Vec<String> {
    let faults = read(text).expect_err("the text has faults");
    faults
        .0
        .iter()
        .map(|fault| fault.to_string().replace("/etc/config/fosquitto:", ""))
        .collect()
}

fn binds(listener: &Listener) -> Vec<String> {
    let shown = |bind: &Bind| match bind {
        Bind::Tcp {
            address,
            device: None,
        } => address.to_string(),
        Bind::Tcp {
            address,
            device: Some(device),
        } => format!("{address}%{device}"),
        Bind::Unix(path) => path.display().to_string(),
    };
    listener.binds.iter().map(shown).collect()
}

#[test]
fn an_empty_file_is_the_local_side_with_every_default() {
    let config = good("");
    let expected = Global {
        log_level: Level::Notice,
        memory_limit: None,
        max_packet_size: 16 << 20,
        max_inflight: 20,
        queue_messages: 1000,
        queue_bytes: 1 << 20,
        qos0_queue_ttl: Duration::from_secs(60),
        session_expiry: Duration::from_secs(86_400),
        max_session_expiry: None,
        max_keep_alive_s: 0,
        response_information: Pattern::new("reply/%c").expect("a pattern"),
        server_reference: None,
        sys_interval: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(15),
        max_unauthenticated: 64,
        connection_rate: 100,
        login_delay: Duration::from_secs(5),
        acl_default_allow: true,
    };
    assert_eq!(config.global, expected);
    assert_eq!(config.listeners.len(), 1);
    let local = &config.listeners[0];
    assert_eq!(
        (local.name.as_str(), local.line, local.allow_anonymous),
        ("local", 0, false)
    );
    assert_eq!(binds(local), ["127.0.0.1:11883", "[::1]:11883"]);
    assert_eq!(local.identity, IdentitySource::UserName);
    assert!(
        config.acl == Rules::default() && config.users.is_empty() && config.subordinates.is_empty()
    );
}

#[test]
fn the_shipped_file_says_the_same_as_none() {
    let surroundings = Surroundings {
        root: "/r".into(),
        network: String::new(),
    };
    let shipped =
        parse(SHIPPED, Path::new("/f"), &surroundings).expect("the package ships a good file");
    let empty = parse("", Path::new("/f"), &surroundings).expect("an empty file is good");
    assert_eq!(shipped, empty);
}

#[test]
fn the_originals_file_is_read_as_it_was_meant() {
    let config = good(
        "config global 'global'\n\toption debug '1'\nconfig local 'local'\n\toption port 11883\n\
         config remote 'remote'\n\toption enabled '1'\n\
         config subordinate '0000000A00000214'\n\toption enabled '1'\n\toption address '192.168.1.8'\n\toption port '11885'\n\
         config subordinate '0000000A00000215'\n\toption enabled '0'\n\toption address ''\n\
         config subsubordinate '0000000A00000216'\n\toption enabled '1'\n\toption via '0000000A00000214'\n",
    );
    assert_eq!(config.global.log_level, Level::Debug);
    let remote = &config.listeners[1];
    assert_eq!(binds(remote), ["0.0.0.0:11884", "[::]:11884"]);
    assert_eq!((remote.name.as_str(), remote.line), ("remote", 5));
    assert_eq!(remote.identity, IdentitySource::CommonName);
    let tls = remote.tls.as_ref().expect("the remote side is TLS");
    assert!(tls.require_certificate && tls.min_version == TlsVersion::V1_2);
    assert_eq!(
        tls.ca.as_deref(),
        Some(Path::new("/r/etc/ssl/ca/remote/ca.crt"))
    );
    assert_eq!(
        tls.crl.as_deref(),
        Some(Path::new("/r/etc/ssl/ca/remote/ca.crl"))
    );
    assert_eq!(tls.cert, Path::new("/r/etc/ssl/ca/remote/01.crt"));
    assert_eq!(tls.key, Path::new("/r/etc/ssl/ca/remote/01.key"));
    let address = Some("192.168.1.8".parse().expect("it is one"));
    let reaches: Vec<_> = config
        .subordinates
        .iter()
        .map(|subordinate| subordinate.reach.clone())
        .collect();
    assert_eq!(
        reaches,
        [
            Reach::Direct {
                address,
                port: 11885
            },
            Reach::Direct {
                address: None,
                port: 11884
            },
            Reach::Via("0000000A00000214".into())
        ]
    );
    assert!(config.subordinates[0].enabled && !config.subordinates[1].enabled);
}

#[test]
fn a_listener_listens_on_all_that_it_names_together() {
    let config = good(
        "config listener 'all'\n\
         config listener 'some'\n\toption port '1884'\n\tlist address '192.0.2.1'\n\tlist address 'fe80::1%eth1'\n\
         \tlist unix '/var/run/mqtt.sock'\n\
         config listener 'wans'\n\toption port '1885'\n\tlist interface 'wan'\n\tlist interface 'wan6'\n\tlist device 'br-lan'\n\
         config listener 'socket'\n\toption unix '/var/run/other.sock'\n\
         config listener 'off'\n\toption enabled '0'\n",
    );
    let names: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| listener.name.as_str())
        .collect();
    assert_eq!(names, ["local", "all", "some", "wans", "socket"]);
    assert_eq!(binds(&config.listeners[1]), ["0.0.0.0:1883", "[::]:1883"]);
    assert_eq!(
        binds(&config.listeners[2]),
        [
            "192.0.2.1:1884",
            "[fe80::1]:1884%eth1",
            "/var/run/mqtt.sock"
        ]
    );
    assert_eq!(
        binds(&config.listeners[3]),
        [
            "0.0.0.0:1885%br-lan",
            "[::]:1885%br-lan",
            "0.0.0.0:1885%eth2",
            "[::]:1885%eth2"
        ]
    );
    assert_eq!(binds(&config.listeners[4]), ["/var/run/other.sock"]);
}

#[test]
fn a_tls_listener_has_its_own_port_and_asks_certificates_who_a_client_is() {
    let tls = "\toption tls 1\n\toption cert /c\n\toption key /k\n";
    let config = good(&format!(
        "config listener 'a'\n{tls}config listener 'b'\n{tls}\toption port 2\n\toption ca /a\n\toption require_certificate 1\n\
         config listener 'c'\n{tls}\toption port 3\n\toption ca /a\n\toption identity subject\n\toption tls_min 1.3\n\
         \toption mount_point 'c/'\n\toption max_connections 5\n\toption allow_anonymous 1\n"
    ));
    assert_eq!(binds(&config.listeners[1])[0], "0.0.0.0:8883");
    let identities: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| listener.identity)
        .collect();
    use IdentitySource::{CommonName, Subject, UserName};
    assert_eq!(identities, [UserName, UserName, CommonName, Subject]);
    let last = &config.listeners[3];
    assert_eq!(
        last.tls.as_ref().map(|tls| tls.min_version),
        Some(TlsVersion::V1_3)
    );
    assert_eq!(
        (
            last.mount_point.as_deref(),
            last.max_connections,
            last.allow_anonymous
        ),
        (Some("c/"), 5, true)
    );
}

#[test]
fn rules_keep_their_order_their_lines_and_their_meaning() {
    let config = good(
        "config global 'global'
	option acl_default deny
config user 'anna'
	list group 'home'
config user 'dotted'
	option name 'ben@example.org'
config acl 'first'
	list user 'ben@example.org'
	list listener 'local'
	option access deny
	list topic 'secret/#'
config acl
	option access read
	list topic '%u/#'
config acl
	list group 'home'
	list topic 'home/#'
	list topic 'secret/a'
config acl
	option access subscribe
	option action deny
	option topic '#'
",
    );
    let home = &config.users[0].groups;
    let subject = |user, groups| Subject {
        user: Some(user),
        groups,
        listener: "local",
        client_id: "c",
    };
    let anna = config.acl.permissions(&subject("anna", home));
    let ben = config.acl.permissions(&subject("ben@example.org", &[]));
    assert!(anna.may_write("secret/a") && anna.may_read("anna/x") && anna.may_subscribe("home/+"));
    assert!(!anna.may_write("anna/x") && !anna.may_read("ben/x") && !anna.may_subscribe("other"));
    assert!(!ben.may_write("secret/a") && ben.may_read("ben@example.org/x"));
    let line = |decision: Decision| decision.rule().map(|place| place.line);
    assert_eq!(line(ben.why(Action::Write, "secret/a")), Some(7));
    assert_eq!(line(anna.why(Action::Write, "secret/a")), Some(15));
    assert_eq!(line(anna.why(Action::Subscribe, "x")), Some(19));
    assert_eq!(
        anna.why(Action::Read, "x"),
        Decision {
            allowed: false,
            by: By::Default
        }
    );
}

#[test]
fn without_a_section_an_interval_is_kept_on_the_flash_and_foris_messages_are_kept() {
    let config = good("");
    let expected = Persistence {
        durability: Durability::Interval,
        path: "/r/etc/fosquitto/fosquitto.db".into(),
        flush_interval: Duration::from_secs(30),
        size_limit: None,
        daily_budget: Some(8 << 20),
        classes: Vec::new(),
    };
    assert_eq!(config.persistence, expected);
    assert_eq!(config.keepers.len(), 1);
    let foris = &config.keepers[0];
    assert_eq!(foris.name, "foris");
    assert_eq!(
        (foris.request_ttl, foris.reply_ttl),
        (Duration::from_secs(5), Duration::from_secs(30))
    );
    let kept = |filters: &[String], topic: &str| {
        filters
            .iter()
            .any(|filter| crate::mqtt::topic::matches(filter, topic))
    };
    for topic in [
        "request/about/action/get",
        "request/about/list",
        "list",
        "jsonschemas",
        "working_replies",
    ] {
        let topic = format!("foris-controller/0000000A00000214/{topic}");
        assert!(kept(&foris.requests, &topic), "{topic}");
        assert!(!kept(&foris.replies, &topic), "{topic}");
    }
    assert!(kept(
        &foris.replies,
        "foris-controller/0000000A00000214/reply/x"
    ));
    assert!(!kept(
        &foris.requests,
        "foris-controller/0000000A00000214/notification/remote/action/advertize"
    ));
}

#[test]
fn classes_of_topics_keep_their_order() {
    let config = good(
        "config persistence 'persistence'\n\toption durability volatile\n\toption path /mnt/db\n\toption flush_interval 5m\n\
         \toption size_limit 1M\n\toption daily_budget 0\n\
         config durability\n\tlist topic 'a/#'\n\tlist topic '+/b'\n\toption class commit\n\
         config durability 'named'\n\toption topic '#'\n\toption class interval\n",
    );
    let class = |filter: &str, class| TopicClass {
        filter: filter.into(),
        class,
    };
    let expected = Persistence {
        durability: Durability::Volatile,
        path: "/mnt/db".into(),
        flush_interval: Duration::from_secs(300),
        size_limit: Some(1 << 20),
        daily_budget: None,
        classes: vec![
            class("a/#", Durability::Commit),
            class("+/b", Durability::Commit),
            class("#", Durability::Interval),
        ],
    };
    assert_eq!(config.persistence, expected);
}

#[test]
fn a_keeper_of_ones_own_stands_beside_that_of_foris_which_can_be_changed_and_turned_off() {
    let own = "config keeper 'own'\n\tlist request 'ask/+'\n\toption reply_ttl 1m\n";
    let config = good(own);
    let names = |config: &Config| -> Vec<String> {
        let names = config.keepers.iter().map(|keeper| keeper.name.clone());
        names.collect()
    };
    assert_eq!(names(&config), ["foris", "own"]);
    let expected = Keeper {
        name: "own".into(),
        requests: vec!["ask/+".into()],
        request_ttl: Duration::from_secs(5),
        replies: Vec::new(),
        reply_ttl: Duration::from_secs(60),
    };
    assert_eq!(config.keepers[1], expected);
    let off = good(&format!("config keeper 'foris'\n\toption enabled 0\n{own}"));
    assert_eq!(names(&off), ["own"]);
    let changed = good("config keeper 'foris'\n\toption request_ttl 3\n\tlist reply 'r/+'\n");
    let foris = &changed.keepers[0];
    assert_eq!(foris.requests, config.keepers[0].requests);
    assert_eq!(
        (foris.request_ttl, &foris.replies),
        (Duration::from_secs(3), &vec!["r/+".into()])
    );
}

#[test]
fn faults_of_what_survives_are_each_reported_with_their_line() {
    let text = "\
config persistence 'persistence'
	option durability 'comit'
	option path 'fosquitto.db'
	option flush_interval '0'
	option size_limit '64K'
	option dayly_budget '1M'
config durability
	option class 'commit'
config durability
	list topic 'a/#/b'
	list topic 'a/%u'
config persistence 'other'
config keeper
	list request 'a'
config keeper 'own'
	option reply_ttl '1d'
";
    assert_eq!(
        faults(text),
        [
            "2: fosquitto.persistence.durability: 'comit' is not one of volatile, interval, commit (did you mean 'commit'?)",
            "3: fosquitto.persistence.path: 'fosquitto.db' is not an absolute path",
            "4: fosquitto.persistence.flush_interval: '0' is not a time (seconds, or with m, h, d or w; 1 to 1d)",
            "5: fosquitto.persistence.size_limit: '64K' is not a size (bytes, or with K, M or G; 128K to 1024G)",
            "6: fosquitto.persistence.dayly_budget: there is no such option in 'persistence' (did you mean 'daily_budget'?)",
            "7: fosquitto.@durability[0].topic: is missing: the topics that the class is for",
            "9: fosquitto.@durability[1].class: is missing: volatile, interval or commit",
            "10: fosquitto.@durability[1].topic: 'a/#/b' is not a topic filter: '#' must be its last level, and alone in it",
            "11: fosquitto.@durability[1].topic: 'a/%u' is not a topic filter: '%u' means something in 'acl' sections only: \
             '+' stands for any level",
            "12: fosquitto.other: must be written as: config persistence 'persistence'",
            "13: fosquitto.@keeper[0]: needs a name: config keeper 'NAME'",
            "15: fosquitto.own.request: is missing: a keeper needs requests or replies to keep",
            "16: fosquitto.own.reply_ttl: '1d' is not a time (seconds, or with m, h, d or w; 1 to 1h)",
        ]
    );
}

#[test]
fn what_users_are_known_by_is_read() {
    let pin = ["0A:ff"; 16].join(":");
    let config = good(&format!(
        "config user 'anna'\n\tlist pin '{pin}'\n\tlist group 'a'\n\tlist group 'b'\n"
    ));
    let pins = vec!["0aff".repeat(16)];
    assert_eq!(
        config.users,
        [User {
            name: "anna".into(),
            groups: vec!["a".into(), "b".into()],
            pins
        }]
    );
}

#[test]
fn a_listener_that_only_moved_is_equal_and_one_that_changed_is_not() {
    let text = "config listener 'a'\n\toption mount_point 'm/'\n";
    let (here, there) = (good(text), good(&format!("# moved\n\n{text}")));
    assert_eq!(here, there);
    assert_ne!(here.listeners[1].line, there.listeners[1].line);
    assert_ne!(
        here,
        good("config listener 'a'\n\toption mount_point 'n/'\n")
    );
    assert_ne!(here, good(&format!("{text}\toption max_connections 7\n")));
}

#[test]
fn twelve_faults_are_each_reported_with_their_line() {
    let text = "\
config global 'global'
	option log_level 'loud'
	option session_expiry '1y'
	option quee_bytes '1M'
config local 'local'
	option port '99999'
config listner 'lan'
config listener 'lan'
	option tls '1'
config acl
	list topic 'a/#/b'
config acl
	option access 'raed'
	list listener 'nowhere'
config user
	list pin 'abc'
	option group-x 'y'
";
    assert_eq!(
        faults(text),
        [
            "2: fosquitto.global.log_level: 'loud' is not one of error, warning, notice, info, debug",
            "3: fosquitto.global.session_expiry: '1y' is not a time (seconds, or with m, h, d or w; 0 to 36500d)",
            "4: fosquitto.global.quee_bytes: there is no such option in 'global' (did you mean 'queue_bytes'?)",
            "6: fosquitto.local.port: '99999' is not a port (1-65535)",
            "7: fosquitto.lan: unknown section type 'listner' (did you mean 'listener'?)",
            "8: section 'lan' is of type 'listener' here and of type 'listner' in line 7",
            "11: fosquitto.@acl[0].topic: 'a/#/b' is not a topic filter: '#' must be its last level, and alone in it",
            "12: fosquitto.@acl[1].topic: is missing: a rule needs at least one topic filter ('#' for all)",
            "13: fosquitto.@acl[1].access: 'raed' is not one of read, write, readwrite, subscribe, deny \
             (did you mean 'read'?)",
            "15: fosquitto.@user[0]: needs a name: config user 'NAME'",
            "16: fosquitto.@user[0].pin: 'abc' is not a SHA-256 fingerprint (64 hexadecimal digits)",
            "17: a name consists of A-Z, a-z, 0-9 and _: 'group-x' contains '-'",
        ]
    );
}

#[test]
fn options_of_a_listener_that_need_one_another_are_said_all_at_once() {
    let text = "\
config listener 'a'
	option port '1'
	option protocol 'websockets'
	option cert '/c'
	option identity 'cn'
	list interface 'lna'
config listener 'b'
	option port '2'
	option tls '1'
	option require_certificate '1'
	option crl '/crl'
config listener 'local'
	list port '3'
	option ca 'relative'
";
    assert_eq!(
        faults(text),
        [
            "3: fosquitto.a.protocol: 'websockets' is not one of mqtt, websocket (did you mean 'websocket'?)",
            "4: fosquitto.a.cert: is of no use without option tls '1'",
            "5: fosquitto.a.identity: needs tls '1' and option ca: it is read from the client's certificate",
            "6: fosquitto.a.interface: 'lna' is not an interface of /etc/config/network (did you mean 'lan'?)",
            "7: fosquitto.b.cert: is missing: tls '1' needs the path of the certificate",
            "7: fosquitto.b.key: is missing: tls '1' needs the path of the certificate's key",
            "10: fosquitto.b.require_certificate: needs option ca: the CA that clients' certificates are checked against",
            "11: fosquitto.b.crl: needs option ca: the CA that clients' certificates are checked against",
            "12: fosquitto.local: 'local' is the local side: choose another name",
            "13: fosquitto.local.port: is a list here and must be one value: write 'option port'",
            "14: fosquitto.local.ca: 'relative' is not an absolute path",
            "14: fosquitto.local.ca: is of no use without option tls '1'",
        ]
    );
}

#[test]
fn two_listeners_cannot_have_the_same_socket_and_both_lines_are_said() {
    let text = "\
config listener 'everywhere'
	option port '11883'
config listener 'one'
	list address '192.0.2.1'
	list address '192.0.2.2'
config listener 'other'
	list address '192.0.2.2'
config listener 'lan'
	list device 'br-lan'
	option port '5'
	option unix '/s'
config listener 'wan'
	list device 'eth2'
	option port '5'
	option unix '/s'
config listener 'self'
	option port '6'
	list address '0.0.0.0'
	list address '192.0.2.1'
config listener 'off'
	option enabled '0'
";
    assert_eq!(
        faults(text),
        [
            "1: fosquitto.everywhere: 0.0.0.0:11883 is taken: 'local' (by default) listens on 127.0.0.1:11883",
            "6: fosquitto.other: 192.0.2.2:1883 is taken: 'one' (line 3) listens on 192.0.2.2:1883",
            "12: fosquitto.wan: /s is taken: 'lan' (line 8) listens on /s",
            "16: fosquitto.self: 0.0.0.0:6 and 192.0.2.1:6 cannot both be opened",
        ]
    );
    let config =
        good("config listener 'a'\n\toption port 0\nconfig listener 'b'\n\toption port 0\n");
    assert_eq!(binds(&config.listeners[2])[0], "0.0.0.0:0");
}

#[test]
fn listeners_and_their_sockets_have_a_bound() {
    let listener = |number: u16| format!("config listener 'l{number}'\n\toption port '{number}'\n");
    let listeners = |count: u16| -> String { (1..=count).map(listener).collect() };
    assert_eq!(good(&listeners(63)).listeners.len(), 64);
    assert_eq!(
        faults(&listeners(70)),
        ["127: fosquitto.l64: there are more than 64 listeners"]
    );
    let sockets: String = (1..=65)
        .map(|number| format!("\tlist address '192.0.2.{number}'\n"))
        .collect();
    assert_eq!(
        faults(&format!("config listener 'a'\n{sockets}")),
        ["1: fosquitto.a: asks for more than 64 sockets"]
    );
}

#[test]
fn names_that_rules_and_sections_use_must_be_there() {
    let text = "\
config user 'anna'
	list group 'home'
config user 'again'
	option name 'anna'
config acl 'r'
	list listener 'remte'
	list listener 'off'
	list group 'hom'
	option access deny
	option action allow
	list topic 'a/%u-x'
config listener 'off'
	option enabled 0
config local
config subsubordinate 'x'
config subordinate 'y'
	option port '0'
	option address 'router.lan'
";
    assert_eq!(
        faults(text),
        [
            "3: fosquitto: user 'anna' has a section in line 1 already",
            "6: fosquitto.r.listener: 'remte' is not a listener (did you mean 'remote'?)",
            "8: fosquitto.r.group: 'hom' is a group without users: no 'user' section is in it (did you mean 'home'?)",
            "10: fosquitto.r.action: 'allow' contradicts access 'deny': leave it out",
            "11: fosquitto.r.topic: 'a/%u-x' is not a topic filter: '%u' and '%c' must be alone in their level",
            "14: fosquitto.@local[0]: must be written as: config local 'local'",
            "15: fosquitto.x.via: is missing: the ID of the subordinate through which it is reached",
            "17: fosquitto.y.port: '0' is not a port (1-65535): it is the other device's",
            "18: fosquitto.y.address: 'router.lan' is not an IP address",
        ]
    );
}

#[test]
fn what_a_file_contains_cannot_forge_a_line_of_a_message() {
    let text = "config global 'global'\n\toption log_level 'x\n/etc/config/fosquitto:9: \x1b[2J'\nconfig \\'a\n";
    let said = read(text).expect_err("it is wrong").to_string();
    assert_eq!(said.lines().count(), 2);
    assert!(
        !said.contains('\x1b') && said.contains(r"'x\n/etc/config/fosquitto:9: \x1b[2J'"),
        "{said}"
    );
}

/// A directory of this test's own, which is removed at its end.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("fosquitto-config-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("etc/config"))
            .expect("the temporary directory can be written");
        Root(path)
    }

    fn write(&self, path: &str, text: &[u8]) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().expect("it has one"))
            .expect("the directory can be written");
        std::fs::write(path, text).expect("the directory can be written");
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_router_without_a_file_has_the_shipped_one_and_var_run_uci_overrides_etc_config() {
    let root = Root::new("override");
    assert_eq!(load(&root.0).map(|config| config.listeners.len()), Ok(1));
    root.write(
        "etc/config/fosquitto",
        b"config remote 'remote'\n\toption enabled 1\n",
    );
    let config = load(&root.0).expect("the file is good");
    let tls = config.listeners[1]
        .tls
        .as_ref()
        .expect("the remote side is TLS");
    assert!(tls.cert.starts_with(&root.0));
    root.write("etc/config/network", NETWORK.as_bytes());
    root.write(
        "var/run/uci/fosquitto",
        b"config listener 'x'\n\tlist interface 'lan'\n",
    );
    let config = load(&root.0).expect("the file is good");
    assert_eq!(binds(&config.listeners[1])[0], "0.0.0.0:1883%br-lan");
}

#[test]
fn a_file_that_cannot_be_read_is_one_fault_with_its_name() {
    let root = Root::new("unreadable");
    std::fs::create_dir(root.0.join("etc/config/fosquitto")).expect("the directory can be written");
    let faults = load(&root.0).expect_err("it is a directory");
    assert!(
        faults
            .to_string()
            .ends_with("etc/config/fosquitto: cannot be read: it is not a regular file")
    );
    let missing = load_file(&root.0.join("missing"), &root.0).expect_err("it is missing");
    assert_eq!((missing.0.len(), missing.0[0].line), (1, 0));
    root.write("big", &vec![b'\n'; uci::SIZE_MAX + 1]);
    let big = load_file(&root.0.join("big"), &root.0).expect_err("it is too large");
    assert!(big.to_string().contains("larger than 1024 KiB"), "{big}");
}

#[test]
fn a_bridge_has_every_default() {
    let config = good("config bridge 'up'\n\tlist address 'broker.example'\n\tlist topic '#'\n");
    let [bridge] = &config.bridges[..] else {
        panic!("one bridge")
    };
    assert_eq!(bridge.name, "up");
    assert_eq!(bridge.remotes[0].to_string(), "broker.example:1883");
    assert_eq!((bridge.keep_alive_s, bridge.max_hops), (60, 10));
    assert_eq!(
        bridge.restart,
        (Duration::from_secs(5), Duration::from_secs(30))
    );
    assert!(bridge.tls.is_none() && bridge.client_id.is_none() && bridge.found.is_none());
    assert!(!bridge.clean_start && bridge.try_private && bridge.retain_in && bridge.retain_out);
    assert_eq!(bridge.queue.ttl, None);
    assert_eq!(bridge.notify, bridge::Notify::Both);
}

#[test]
fn a_bridge_by_tls_has_its_own_port_and_pins_instead_of_names() {
    let pin = "AB".repeat(32);
    let config = good(&format!(
        "config bridge 'up'\n\tlist address 'a'\n\tlist address '[2001:db8::1]:1'\n\tlist topic 'a/# both 1 L/ R/'\n\
         \toption tls '1'\n\toption cert '/c'\n\toption key '/k'\n\tlist pin '{pin}'\n\tlist alpn 'mqtt'\n\
         config bridge 'off'\n\toption enabled '0'\n\tlist address 'a'\n\tlist topic '#'\n"
    ));
    let [bridge] = &config.bridges[..] else {
        panic!("one bridge is enabled")
    };
    let shown: Vec<_> = bridge.remotes.iter().map(Remote::to_string).collect();
    assert_eq!(shown, ["a:8883", "[2001:db8::1]:1"]);
    let tls = bridge.tls.as_ref().expect("TLS");
    assert_eq!(tls.pins, [pin.to_lowercase()]);
    assert!(!tls.verify_name && tls.own.is_some() && tls.ca.is_none());
}

#[test]
fn a_bridge_that_only_moved_is_the_same() {
    let text = "config bridge 'up'\n\tlist address 'a'\n\tlist topic '#'\n";
    assert_eq!(good(text).bridges, good(&format!("\n\n{text}")).bridges);
    assert_ne!(
        good(text).bridges,
        good(&text.replace("'a'", "'b'")).bridges
    );
}

#[test]
fn the_faults_of_bridges_have_their_lines() {
    let text = "config bridge 'one'\n\toption adress 'a'\n\toption client_id 'me'\n\
                \tlist topic '# sideways'\n\toption ca '/ca'\n\
                config bridge 'two'\n\tlist address 'b'\n\tlist topic '# out'\n\tlist topic '# in 0 from/'\n\
                \toption client_id 'me'\n\toption password_file '/p'\n\toption restart_timeout_max '1'\n\
                config bridge 'three'\n\tlist address 'b'\n\tlist topic '#'\n\toption client_id 'me'\n\
                config bridge 'four'\n\tlist address '2001:db8::1'\n\tlist topic '#'\n\toption tls '1'\n\
                \toption cert '/c'\n\toption port '0'\n\toption client_id 'a+'\n";
    let expected = [
        "1: fosquitto.one.address: is missing: where the other broker is",
        "2: fosquitto.one.adress: there is no such option in 'bridge' (did you mean 'address'?)",
        "4: fosquitto.one.topic: '# sideways' is not PATTERN [out, in or both [QOS [LOCAL_PREFIX [REMOTE_PREFIX]]]]: \
         the second word is none of out, in and both",
        "5: fosquitto.one.ca: is of no use without option tls '1'",
        "9: fosquitto.two.topic: brings back under another name what goes out, and that goes out again: a loop",
        "11: fosquitto.two.password_file: needs option username beside it",
        "12: fosquitto.two.restart_timeout_max: is less than restart_timeout, with which it begins",
        "13: fosquitto.three: has the client id of 'two' at the same address: they would throw each other out",
        "18: fosquitto.four.address: '2001:db8::1' is not a broker's address (host, host:port, IPv4:port, or [IPv6 address]:port)",
        "21: fosquitto.four.cert: needs option key beside it",
        "22: fosquitto.four.port: '0' is not a port (1-65535)",
        "23: fosquitto.four.client_id: 'a+' has a + or #, which no topic has",
    ];
    assert_eq!(faults(text), expected);
}
