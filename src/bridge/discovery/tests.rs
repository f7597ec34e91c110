//! What routers say, and where their subordinates are then.

use super::*;

const SUB: &str = "000000050000006B";

fn name(text: &str) -> Name {
    Name::of(text.split('.').map(str::as_bytes)).expect("a name")
}

fn record(of: &str, data: Data) -> Record {
    Record {
        name: name(of),
        ttl_s: 120,
        replaces: !matches!(data, Data::Pointer(_)),
        data,
    }
}

fn pointer(of: &str, instance: &str) -> Record {
    record(of, Data::Pointer(name(instance)))
}

fn place(instance: &str, host: &str) -> Record {
    let (host, port) = (name(host), 11884);
    record(instance, Data::Service { host, port })
}

fn text(instance: &str, texts: &[&str]) -> Record {
    let texts = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    record(instance, Data::Text(texts))
}

fn address(host: &str, ip: &str) -> Record {
    record(
        host,
        match ip.parse().expect("an address") {
            IpAddr::V4(ip) => Data::V4(ip),
            IpAddr::V6(ip) => Data::V6(ip),
        },
    )
}

const NEW: &str = "_fosquitto._tcp.local";
const OLD: &str = "_mqtt._tcp.local";
const INSTANCE: &str = "turris._fosquitto._tcp.local";
const HOST: &str = "turris.local";

fn announced(ips: &[&str]) -> Vec<Record> {
    let mut records = vec![
        pointer(NEW, INSTANCE),
        place(INSTANCE, HOST),
        text(INSTANCE, &[&format!("id={SUB}")]),
    ];
    records.extend(ips.iter().map(|ip| address(HOST, ip)));
    records
}

fn directory() -> Directory {
    let directory = Directory::default();
    directory.want([SUB].into_iter());
    directory
}

fn hear(directory: &Directory, records: &[Record]) {
    directory.heard(Some("br-lan"), records, Instant::now());
}

fn configured() -> Vec<Remote> {
    vec![Remote {
        host: Host::Address("192.0.2.1".parse().expect("an address"), None),
        port: 11884,
    }]
}

fn candidates(directory: &Directory) -> Vec<String> {
    let candidates = directory.candidates(SUB, &configured());
    candidates.iter().map(Remote::to_string).collect()
}

#[test]
fn an_announced_router_is_tried_before_the_configured_place() {
    let directory = directory();
    assert_eq!(candidates(&directory), ["192.0.2.1:11884"]);
    hear(
        &directory,
        &announced(&["198.51.100.7", "fe80::1", "2001:db8::1"]),
    );
    let expected = [
        "198.51.100.7:11884",
        "[fe80::1%br-lan]:11884",
        "[2001:db8::1]:11884",
        "192.0.2.1:11884",
    ];
    let mut found = candidates(&directory);
    assert_eq!(found.pop().as_deref(), Some(expected[3]));
    found.sort();
    let mut sorted = expected[..3].to_vec();
    sorted.sort_unstable();
    assert_eq!(found, sorted);
}

#[test]
fn the_order_of_the_records_does_not_matter_nor_the_packets_that_they_come_in() {
    let whole = announced(&["198.51.100.7"]);
    let mut backwards = whole.clone();
    backwards.reverse();
    let directory = self::directory();
    hear(&directory, &backwards);
    assert_eq!(candidates(&directory)[0], "198.51.100.7:11884");
    let directory = self::directory();
    for record in whole {
        hear(&directory, &[record]);
    }
    assert_eq!(candidates(&directory)[0], "198.51.100.7:11884");
}

#[test]
fn an_old_router_lists_its_addresses() {
    let directory = directory();
    let instance = "000000050000006b.foris-controller._mqtt._tcp.local";
    let listed = r#"addresses=["198.51.100.7", "127.0.0.1", "x", "198.51.100.8"]"#;
    let others = "printer._mqtt._tcp.local";
    hear(
        &directory,
        &[
            pointer(OLD, others),
            place(others, HOST),
            pointer(OLD, instance),
            place(instance, HOST),
            text(instance, &[listed]),
        ],
    );
    let mut found = candidates(&directory);
    found.sort();
    let expected = [
        "192.0.2.1:11884",
        "198.51.100.7:11884",
        "198.51.100.8:11884",
    ];
    assert_eq!(found, expected);
}

#[test]
fn least_failures_come_first_then_what_was_heard_of_last() {
    let directory = directory();
    hear(&directory, &announced(&["198.51.100.7"]));
    let all = directory.candidates(SUB, &configured());
    directory.rank(SUB, &all[0], |failures| failures + 1);
    assert_eq!(
        candidates(&directory),
        ["192.0.2.1:11884", "198.51.100.7:11884"]
    );
    // It comes back with another address: that one is new, and known under both.
    hear(&directory, &announced(&["198.51.100.9"]));
    let expected = [
        "198.51.100.9:11884",
        "192.0.2.1:11884",
        "198.51.100.7:11884",
    ];
    assert_eq!(candidates(&directory), expected);
    directory.rank(SUB, &all[0], |_| 0);
    assert_eq!(candidates(&directory)[1], "198.51.100.7:11884");
}

#[test]
fn whoever_is_not_looked_for_is_not_kept() {
    let directory = directory();
    let mut records = announced(&["198.51.100.7"]);
    records[2] = text(INSTANCE, &["id=another"]);
    hear(&directory, &records);
    assert_eq!(candidates(&directory), ["192.0.2.1:11884"]);
    assert!(directory.lock().services.is_empty() && directory.lock().addresses.is_empty());
    let addresses: Vec<_> = (0..9)
        .map(|at| address(HOST, &format!("198.51.100.{at}")))
        .collect();
    hear(&directory, &addresses);
    assert!(directory.lock().addresses.is_empty(), "nobody's");
    directory.want([].into_iter());
    assert!(directory.is_idle());
    assert_eq!(directory.asks(Instant::now()).0, []);
}

#[test]
fn a_flood_of_names_and_addresses_has_its_bounds_and_the_configured_place_stays() {
    let directory = directory();
    for number in 0..1000 {
        let instance = format!("x{number}.{NEW}");
        hear(&directory, &[pointer(NEW, &instance)]);
    }
    assert_eq!(directory.lock().services.len(), SERVICES_MAX);
    assert_eq!(candidates(&directory), ["192.0.2.1:11884"]);
    hear(&directory, &announced(&[]));
    for number in 0..=255 {
        let ip = format!("198.51.100.{number}");
        let more = Record {
            replaces: false,
            ..address(HOST, &ip)
        };
        hear(&directory, &[more]);
    }
    let found = candidates(&directory);
    assert_eq!(found.len(), CANDIDATES_MAX);
    assert!(found.contains(&"192.0.2.1:11884".to_owned()));
    assert_eq!(found[0], "198.51.100.255:11884");
}

#[test]
fn what_is_not_said_is_asked_for_a_few_times_and_ever_more_seldom() {
    let directory = directory();
    let begin = Instant::now();
    let (questions, wait) = directory.asks(begin);
    let types = [(name(NEW), Kind::Services), (name(OLD), Kind::Services)];
    assert_eq!((questions, wait), (types.to_vec(), PAUSE_MIN));
    directory.heard(None, &[pointer(NEW, INSTANCE)], begin);
    assert_eq!(directory.asks(begin).0, [(name(INSTANCE), Kind::Service)]);
    assert_eq!(directory.asks(begin).0, [], "not again at once");
    directory.heard(None, &announced(&[])[1..], begin);
    let later = begin + Duration::from_secs(1);
    let (questions, _) = directory.asks(later);
    assert!(questions.contains(&(name(HOST), Kind::Addresses)));
    let mut asked = 0;
    for second in 2..100 {
        let (questions, wait) = directory.asks(begin + Duration::from_secs(second));
        assert!(wait <= PAUSE_MAX);
        asked += questions.len();
    }
    // One more for the host, and for the types after 2, 4, 8, 16 and 32 seconds.
    assert!((9..=15).contains(&asked), "{asked}");
}

#[test]
fn a_service_that_says_goodbye_is_forgotten() {
    let directory = directory();
    hear(&directory, &announced(&["198.51.100.7"]));
    let goodbye = Record {
        ttl_s: 0,
        ..pointer(NEW, INSTANCE)
    };
    hear(&directory, &[goodbye]);
    assert!(directory.lock().services.is_empty());
    assert_eq!(
        candidates(&directory).len(),
        2,
        "where it was it may be again"
    );
}
