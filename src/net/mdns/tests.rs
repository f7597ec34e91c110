//! Packets as routers send them, and packets that nobody should send.

use super::*;

fn name(text: &str) -> Name {
    Name::of(text.split('.').map(str::as_bytes)).expect("a name")
}

/// An answer in parts: the header for so many records, then these.
fn packet(records: u16, parts: &[&[u8]]) -> Vec<u8> {
    let mut packet = vec![0, 0, 0x84, 0, 0, 0];
    packet.extend_from_slice(&records.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0]);
    packet.extend(parts.concat());
    packet
}

fn record(name: &[u8], of: u16, class: u16, data: &[u8]) -> Vec<u8> {
    let mut record = name.to_vec();
    record.extend_from_slice(&of.to_be_bytes());
    record.extend_from_slice(&class.to_be_bytes());
    record.extend_from_slice(&120_u32.to_be_bytes());
    record.extend_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
    record.extend_from_slice(data);
    record
}

const SERVICES: &[u8] = b"\x0a_fosquitto\x04_tcp\x05local\x00";

/// What a router answers: all four kinds of records, with pointers.
fn answer() -> Vec<u8> {
    // The type's name is at 12, the instance's in the first record's data, 31 + 10 bytes later at 47.
    let instance = b"\x10000000050000006B\xc0\x0c";
    let pointer = record(SERVICES, TYPE_PTR, 1, instance);
    let at = 12 + SERVICES.len() + 10;
    let to_instance = [0xc0, u8::try_from(at).expect("near")];
    let service = record(
        &to_instance,
        TYPE_SRV,
        0x8001,
        b"\0\0\0\0\x2e\x6c\x06Turris\xc0\x1c",
    );
    let text = record(
        &to_instance,
        TYPE_TXT,
        0x8001,
        b"\x13id=000000050000006B\x03a=b",
    );
    let v4 = record(b"\x06turris\x05local\0", TYPE_A, 0x8001, &[192, 0, 2, 8]);
    let v6 = record(
        b"\x06TURRIS\x05local\0",
        TYPE_AAAA,
        0x8001,
        &GROUP_V6.octets(),
    );
    // NSEC, which many responders add.
    let other = record(b"\x06turris\x05local\0", 47, 0x8001, b"\xc0\x0c\0\x01\x40");
    packet(6, &[&pointer, &service, &text, &v4, &v6, &other])
}

#[test]
fn an_answer_of_a_router_is_read() {
    let records = read(&answer()).expect("well formed");
    let [pointer, service, text, v4, v6] = &records[..] else {
        panic!("{records:?}")
    };
    let instance = name("000000050000006b._fosquitto._tcp.local");
    assert_eq!(pointer.name, name("_fosquitto._tcp.local"));
    assert_eq!(pointer.data, Data::Pointer(instance.clone()));
    assert!(!pointer.replaces && service.replaces);
    let host = name("turris.local");
    assert_eq!(service.name, instance);
    assert_eq!(
        service.data,
        Data::Service {
            host: host.clone(),
            port: 11884
        }
    );
    let texts = vec![b"id=000000050000006B".to_vec(), b"a=b".to_vec()];
    assert_eq!((&text.data, text.ttl_s), (&Data::Text(texts), 120));
    assert_eq!(
        (&v4.name, &v4.data),
        (&host, &Data::V4([192, 0, 2, 8].into()))
    );
    assert_eq!((&v6.name, &v6.data), (&host, &Data::V6(GROUP_V6)));
}

#[test]
fn a_packet_that_ends_anywhere_else_is_not_used() {
    let whole = answer();
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{end} bytes");
    }
    assert!(read(&[&whole[..], &[0]].concat()).is_err());
}

#[test]
fn any_changed_byte_is_read_or_refused_but_never_more_than_that() {
    let whole = answer();
    for at in 0..whole.len() {
        for byte in 0..=255 {
            let mut changed = whole.clone();
            changed[at] = byte;
            for record in read(&changed).unwrap_or_default() {
                assert!(record.name.0.len() < NAME_BYTES_MAX);
                assert!(record.name.to_string().is_ascii());
            }
        }
    }
}

#[test]
fn a_name_that_points_to_itself_or_forwards_is_refused() {
    for pointed in [&b"\xc0\x0c"[..], b"\xc0\x10", b"\x01a\xc0\x0c", b"\xff\xff"] {
        let packet = packet(1, &[&record(pointed, TYPE_A, 1, &[192, 0, 2, 1])]);
        assert!(read(&packet).is_err(), "{pointed:?}");
    }
    // Two names that point to one another: the second leads back, and the first forwards.
    let first = record(b"\x01a\xc0\x1c", TYPE_A, 1, &[192, 0, 2, 1]);
    let second = record(b"\x01b\xc0\x0c", TYPE_A, 1, &[192, 0, 2, 1]);
    assert!(read(&packet(2, &[&first, &second])).is_err());
}

#[test]
fn names_and_labels_have_their_lengths() {
    let label = [&[63][..], &[b'a'; 63]].concat();
    let longest = [&label[..], &label, &label, &[61], &[b'a'; 61], &[0]].concat();
    assert_eq!(longest.len(), NAME_BYTES_MAX);
    let a = |name: &[u8]| packet(1, &[&record(name, TYPE_A, 1, &[192, 0, 2, 1])]);
    assert!(read(&a(&longest)).is_ok());
    let longer = [&label[..], &label, &label, &[62], &[b'a'; 62], &[0]].concat();
    assert!(read(&a(&longer)).is_err());
    for wrong in [&b"\x40aaaa\0"[..], b"\x80\0"] {
        assert!(read(&a(wrong)).is_err());
    }
    assert_eq!(Name::of([&b""[..]]), None);
    assert_eq!(Name::of([&[b'a'; 64][..]]), None);
}

#[test]
fn questions_and_other_classes_say_nothing() {
    let asked = question(&[(name("_fosquitto._tcp.local"), Kind::Services)], false);
    let expected = [
        &[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
        SERVICES,
        &[0, 12, 0, 1],
    ]
    .concat();
    assert_eq!(asked, expected);
    assert_eq!(read(&asked), Ok(Vec::new()));
    let chaos = packet(1, &[&record(SERVICES, TYPE_A, 3, &[192, 0, 2, 1])]);
    assert_eq!(read(&chaos), Ok(Vec::new()));
    let both = question(
        &[(name("a"), Kind::Service), (name("b"), Kind::Addresses)],
        true,
    );
    assert_eq!(both[5], 4);
    assert!(both.ends_with(&[1, b'b', 0, 0, 28, 0x80, 1]));
}

#[test]
fn data_of_the_wrong_length_is_refused() {
    for (of, data) in [
        (TYPE_A, &b"\0\0\0"[..]),
        (TYPE_A, b"\0\0\0\0\0"),
        (TYPE_AAAA, b"\0\0\0\0"),
        (TYPE_TXT, b"\x05abc"),
        (TYPE_SRV, b"\0\0\0\0\0"),
        (TYPE_PTR, b"\x01a\0\0"),
    ] {
        let packet = packet(1, &[&record(SERVICES, of, 1, data)]);
        assert!(read(&packet).is_err(), "type {of}");
    }
    let many = packet(u16::MAX, &[]);
    assert!(read(&many).is_err());
}

#[test]
fn what_stands_before_an_ending_is_one_text() {
    let old = name("_mqtt._tcp.local");
    assert_eq!(
        name("6b.foris-controller._mqtt._tcp.local").before(&old),
        Some("6b.foris-controller".into())
    );
    assert_eq!(old.before(&old), None);
    assert_eq!(name("x.local").before(&old), None);
    assert_eq!(name("a\n.b").to_string(), "a\\010.b.");
}

/// Keeps what it hears, and asks for one thing once.
#[derive(Default)]
struct Heard {
    records: std::sync::Mutex<Vec<Record>>,
    has_asked: std::sync::atomic::AtomicBool,
}

impl ear::Listener for Heard {
    fn heard(&self, _: Option<&str>, records: &[Record], _: std::time::Instant) {
        let mut heard = self.records.lock().expect("nothing panics");
        heard.extend_from_slice(records);
    }

    fn asks(&self, _: std::time::Instant) -> (Vec<(Name, Kind)>, std::time::Duration) {
        let has_asked = self
            .has_asked
            .swap(true, std::sync::atomic::Ordering::Relaxed);
        let question = (name("_fosquitto._tcp.local"), Kind::Services);
        let asked = if has_asked {
            Vec::new()
        } else {
            vec![question]
        };
        (asked, std::time::Duration::from_secs(3600))
    }
}

/// The whole way over the loopback device: another program in the group hears the question and answers all.
#[test]
fn a_question_is_heard_in_the_group_and_so_is_its_answer() {
    use socket2::{Domain, InterfaceIndexOrAddress, SockAddr, Socket, Type};
    use std::net::{SocketAddr, UdpSocket};
    use std::time::{Duration, Instant};

    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("shared");
    let bound = SockAddr::from(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)));
    socket.bind(&bound).expect("a port");
    // Number 1 is the loopback device.
    let joined = socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(1));
    joined.expect("the group");
    socket
        .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
        .expect("a device");
    let router = UdpSocket::from(socket);
    router
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");

    let heard = std::sync::Arc::new(Heard::default());
    let ear = ear::Ear::start(heard.clone()).expect("sockets and a thread");
    let asked = question(&[(name("_fosquitto._tcp.local"), Kind::Services)], false);
    let mut buffer = [0; PACKET_BYTES_MAX];
    loop {
        let (count, _) = router.recv_from(&mut buffer).expect("a question");
        if buffer[..count] == asked[..] {
            break;
        }
    }
    router
        .send_to(&answer(), (GROUP_V4, PORT))
        .expect("an answer");
    let begin = Instant::now();
    let expected = read(&answer()).expect("well formed");
    while !heard
        .records
        .lock()
        .expect("nothing panics")
        .ends_with(&expected)
    {
        assert!(begin.elapsed() < Duration::from_secs(20), "it is heard");
        std::thread::yield_now();
    }
    drop(ear);
}
