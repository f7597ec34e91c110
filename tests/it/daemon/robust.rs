//! Clients that hang up, break off or do not read: nothing of what they said is lost, and nothing of them is left behind.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::harness::PATIENCE;
use crate::harness::broker::{Broker, LOCAL, OPEN, until};
use crate::harness::client::Client;
use crate::harness::packet::{self, Connect, DISCONNECT, PINGREQ, Packet, Publish, Version, Will};
use crate::harness::pki::REMOTE;
use crate::harness::root::Root;

/// A subscriber of everything on the listener `open`.
fn listening(broker: &Broker) -> Client {
    let mut client = Client::dial(broker.address("open")).join(&Connect::new(Version::V5, "all"));
    client.subscribe("#", 0);
    client
}

/// How many sockets the broker has open. Its store opens and closes files by itself.
pub fn descriptors(broker: &Broker) -> usize {
    let list = std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).expect("the process runs");
    let links = list.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}

#[test]
fn a_client_that_says_everything_at_once_and_hangs_up_is_heard_out() {
    let broker = Broker::start(OPEN);
    let mut all = listening(&broker);
    let mut client = broker.dial();
    let mut said = broker
        .as_local(&Connect::new(Version::V311, "hurried"))
        .encode();
    said.extend(Publish::new("a", "the last word").encode(Version::V311));
    said.extend(DISCONNECT);
    client.send(&said);
    // The password is still being checked when the socket is closed.
    drop(client);
    assert_eq!(all.text(), "the last word");
}

#[test]
fn what_a_client_of_a_unix_socket_sent_before_it_closed_is_handled() {
    let root = Root::new();
    let socket = root.join("bus.sock");
    root.write_uci(&format!(
        "{OPEN}\nconfig listener 'socket'\n\toption allow_anonymous '1'\n\toption unix '{}'\n",
        socket.display()
    ));
    let broker = Broker::start_on(root);
    let mut all = listening(&broker);
    let payload = vec![b'x'; 150_000];
    for _ in 0..10 {
        let mut stream = UnixStream::connect(&socket).expect("the broker listens");
        let mut said = Connect::new(Version::V311, "by-socket").encode();
        said.extend(Publish::new("large", &payload).encode(Version::V311));
        said.extend(Publish::new("last", "word").encode(Version::V311));
        said.extend(DISCONNECT);
        stream.write_all(&said).expect("it is all sent");
        drop(stream);
        assert_eq!(all.message().payload, payload);
        assert_eq!(all.text(), "word");
    }
}

#[test]
fn a_listener_that_was_removed_and_came_back_is_open_to_everybody() {
    let broker = Broker::start(OPEN);
    // They are counted by the listener that is removed, and gone or past CONNECT when there is another.
    let before = descriptors(&broker);
    let mut early = Client::dial(broker.address("open"));
    let gone = Client::dial(broker.address("open"));
    until("both are accepted", || {
        (descriptors(&broker) == before + 2).then_some(())
    });
    broker.reload(LOCAL);
    broker.reload(OPEN);
    early.connect(&Connect::new(Version::V311, "early"));
    drop(gone);
    drop(early);
    let address = *broker.addresses("open").last().expect("it is bound again");
    for number in 0..3 {
        Client::dial(address)
            .join(&Connect::new(Version::V311, &number.to_string()))
            .ping();
    }
}

/// More than the kernel keeps for both directions of a connection.
const FLOOD_MAX: usize = 32 * 1024 * 1024;

#[test]
fn a_client_that_does_not_read_its_answers_is_not_read_from_until_it_does() {
    let broker = Broker::start(OPEN);
    let resident = broker.resident_bytes();
    let mut stream = TcpStream::connect(broker.address("open")).expect("the broker listens");
    let connect = Connect::new(Version::V311, "flood").keep_alive(0).encode();
    stream.write_all(&connect).expect("it is sent");
    stream.read_exact(&mut [0; 4]).expect("a CONNACK");
    stream
        .set_write_timeout(Some(Duration::from_secs(2)))
        .expect("a socket takes it");
    let pings = PINGREQ.repeat(32 * 1024);
    let mut sent = 0;
    loop {
        match stream.write(&pings[sent % 2..]) {
            Ok(size) => sent += size,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("the connection stays: {error}"),
        }
        assert!(sent < FLOOD_MAX, "the broker keeps the answers");
    }
    let grown = broker.resident_bytes().saturating_sub(resident);
    assert!(grown < 4 * 1024 * 1024, "{grown} bytes are kept");
    let mut answers = vec![0; sent / 2 * 2];
    stream
        .set_read_timeout(Some(*PATIENCE))
        .expect("a socket takes it");
    stream.read_exact(&mut answers).expect("every answer comes");
}

#[test]
fn clients_that_break_off_while_they_are_written_to_leave_no_descriptor_behind() {
    let broker = Broker::start(OPEN);
    let mut flood = Client::dial(broker.address("open")).join(&Connect::new(Version::V311, "f"));
    let before = descriptors(&broker);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let messages = Publish::new("t", [b'x'; 200]).encode(Version::V311);
            let messages = messages.repeat(20);
            while !is_over.load(Ordering::Relaxed) {
                flood.send(&messages);
                flood.ping();
            }
        });
        for _ in 0..10 {
            let streams = [(); 10].map(|()| subscriber(&broker));
            for stream in streams {
                let reset = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                reset.expect("a socket takes it");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    until("every descriptor is given back", || {
        (descriptors(&broker) == before).then_some(())
    });
}

#[test]
fn a_client_that_is_gone_when_it_is_served_leaves_no_descriptor_behind() {
    let root = Root::with_uci(&format!(
        "config global 'global'\n\toption log_level 'debug'\n\n{OPEN}\n\
        config remote 'remote'\n\toption enabled '1'\n\toption port '0'\n\n\
        config listener 'web'\n\toption port '0'\n\tlist address '127.0.0.1'\n\
        \toption allow_anonymous '1'\n\toption protocol 'websocket'\n"
    ));
    REMOTE.install(&root);
    let broker = Broker::start_on(root);
    let before = descriptors(&broker);
    for listener in ["open", "remote", "web"] {
        broker.signal(libc::SIGSTOP);
        let stream = TcpStream::connect(broker.address(listener)).expect("the kernel listens");
        let address = stream.local_addr().expect("it has one");
        drop(stream);
        broker.signal(libc::SIGCONT);
        broker.log().wait_from(0, &address.to_string());
        until("its descriptor is given back", || {
            (descriptors(&broker) == before).then_some(())
        });
    }
}

/// A socket that is subscribed to `t` and has been sent the first message.
fn subscriber(broker: &Broker) -> TcpStream {
    let mut stream = TcpStream::connect(broker.address("open")).expect("the broker listens");
    let mut said = Connect::new(Version::V311, "").encode();
    said.extend(packet::subscribe(Version::V311, 1, &[("t", 0)]));
    stream.write_all(&said).expect("it is sent");
    // CONNACK, SUBACK and the beginning of a message.
    stream.read_exact(&mut [0; 20]).expect("a message comes");
    stream
}

#[test]
fn a_topic_that_is_too_long_with_the_mount_point_ends_its_sender_and_nobody_else() {
    let guest = "\nconfig listener 'guest'\n\toption port '0'\n\tlist address '127.0.0.1'\n\
        \toption allow_anonymous '1'\n\toption mount_point 'guest/'\n";
    let broker = Broker::start(&format!("{OPEN}{guest}"));
    let mut all = listening(&broker);
    let join =
        |name: &str| Client::dial(broker.address("guest")).join(&Connect::new(Version::V5, name));
    let longest = "t".repeat(65_535 - "guest/".len());
    let mut fits = join("fits");
    fits.publish(&longest, "fits");
    assert_eq!(all.text(), "fits");
    let mut does_not = join("does-not");
    does_not.publish(&format!("{longest}t"), "does not");
    does_not.closed_because(0x90);
    let mut will = Connect::new(Version::V5, "will");
    will.will = Some(Will {
        topic: format!("{longest}t"),
        ..Connect::new(Version::V5, "")
            .will("", "")
            .will
            .expect("one")
    });
    let connack = Client::dial(broker.address("guest")).connect(&will);
    assert_eq!(connack.code, 0x90);
    fits.publish("a", "still here");
    assert_eq!(all.text(), "still here");
}

#[test]
fn who_says_nothing_to_one_listener_keeps_nobody_out_of_another() {
    let broker = Broker::start(&format!(
        "config global 'global'\n\toption max_unauthenticated '2'\n\toption connect_timeout '600'\n\n{OPEN}"
    ));
    let before = descriptors(&broker);
    let _older = broker.dial();
    until("the first is accepted", || {
        (descriptors(&broker) == before + 1).then_some(())
    });
    // The listener has no room before one of these two goes.
    let _crowd = [(); 2].map(|()| Client::dial(broker.address("open")));
    Client::dial(broker.address("open"))
        .join(&Connect::new(Version::V311, "a"))
        .ping();
}

/// A line for the file of passwords that costs so many rounds to check.
fn costly_user(user: &str, password: &str, iterations: usize) -> String {
    let (salt, mut hash) = (b"0123456789ab", [0; 64]);
    let digest = openssl::hash::MessageDigest::sha512();
    openssl::pkcs5::pbkdf2_hmac(password.as_bytes(), salt, iterations, digest, &mut hash)
        .expect("OpenSSL knows PBKDF2");
    let base64 = openssl::base64::encode_block;
    format!(
        "{user}:$7${iterations}${}${}\n",
        base64(salt),
        base64(&hash)
    )
}

#[test]
fn clients_whose_passwords_wait_to_be_checked_keep_their_places() {
    let root = Root::with_uci(LOCAL);
    // More clients than a listener lets in at once before CONNECT, and checks that take longer together than a place is kept for
    // who says nothing: what a slow router has after a restart.
    root.write("etc/fosquitto/passwd", costly_user("ann", "right", 20_000));
    let broker = Broker::start_on(root);
    let connect =
        |number: usize| Connect::new(Version::V311, &number.to_string()).user("ann", "right");
    let mut clients: Vec<Client> = (0..80)
        .map(|number| {
            let mut client = broker.dial();
            client.send(&connect(number).encode());
            client
        })
        .collect();
    for client in &mut clients {
        match client.receive() {
            Packet::Connack(connack) => assert_eq!(connack.code, 0),
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }
}

#[test]
fn a_stop_does_not_wait_for_who_says_nothing() {
    // An ordered stop waits two seconds for its clients; a machine that is busy may need as long for anything.
    let is_quick = || {
        let broker = Broker::start(LOCAL);
        let mut silent = broker.dial();
        // The broker has it.
        broker.join(&Connect::new(Version::V311, "a")).ping();
        let start = Instant::now();
        let (status, _root) = broker.stop();
        assert!(status.success());
        assert_eq!(silent.closed(), Vec::<Packet>::new());
        start.elapsed() < Duration::from_secs(2)
    };
    assert!((0..3).any(|_| is_quick()));
}
