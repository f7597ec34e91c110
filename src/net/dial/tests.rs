//! Connections to servers on loopback, on a loop as the program has it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Instant;

use ntex::codec::BytesCodec;
use ntex::rt::{DefaultRuntime, Runner as _};
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContextBuilder, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::X509;

use super::*;
use crate::auth::testing::{Authority, Scratch};
use crate::config::bridge::BridgeTls;
use crate::config::{Bridge, Surroundings, parse};

const PATIENCE: Duration = Duration::from_secs(20);

/// A loop's thread has no other after it.
fn on_a_loop<T, F>(begin: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let run = move || {
        let (tell, told) = channel();
        let run = DefaultRuntime.block_on(Box::pin(async move {
            let _ = tell.send(begin().await);
        }));
        run.expect("the loop runs");
        told.recv().expect("it has ended")
    };
    std::thread::spawn(run).join().expect("no panic")
}

fn target(remote: Remote, timeout: Duration) -> Target {
    Target {
        remote,
        tls: None,
        from: Source::default(),
        timeout,
        silence: Duration::from_secs(30),
    }
}

fn at(address: SocketAddr) -> Remote {
    Remote {
        host: Host::Address(address.ip(), None),
        port: address.port(),
    }
}

/// What was connected to, and what it says first.
fn greeting(target: Target) -> Result<(SocketAddr, Vec<u8>), Failure> {
    on_a_loop(async move || {
        let dialed = Dialer::default()
            .dial(&target, SharedCfg::new("test").build())
            .await?;
        let read = dialed.io.recv(&BytesCodec).await;
        let greeting = read.ok().flatten().map(|bytes| bytes.to_vec());
        Ok((dialed.peer, greeting.unwrap_or_default()))
    })
}

fn greeter() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serve = move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.write_all(b"hello").expect("it is there");
        // Until it goes.
        let _ = stream.read(&mut [0]);
    };
    (address, std::thread::spawn(serve))
}

/// A port on which nothing answers: its queue is full, so that the kernel drops what comes. Held by what is returned beside it.
fn silent() -> (SocketAddr, (socket2::Socket, Vec<TcpStream>)) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a port");
    socket.listen(0).expect("it listens");
    let address = socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket());
    let address = address.expect("an address");
    let mut clients = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        clients.push(stream);
    }
    (address, (socket, clients))
}

#[test]
fn a_name_is_resolved_and_connected() {
    let (address, server) = greeter();
    let remote = Remote {
        host: Host::Name("localhost".into()),
        port: address.port(),
    };
    let (peer, greeting) = greeting(target(remote, PATIENCE)).expect("connected");
    assert_eq!((peer, greeting), (address, b"hello".to_vec()));
    server.join().expect("it served");
}

#[test]
fn an_address_that_is_silent_or_closed_costs_the_next_one_a_quarter_of_a_second_or_nothing() {
    let (quiet, _held) = silent();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let closed = closed.expect("a port that was open");
    for (first, least) in [
        (closed, Duration::ZERO),
        (quiet, Duration::from_millis(250)),
    ] {
        let (address, server) = greeter();
        let began = Instant::now();
        let connected = on_a_loop(async move || {
            let race = Race::new(vec![first, address], Source::default(), PATIENCE);
            Connector::default().connect(race).await
        });
        assert_eq!(connected.map(|(_, peer)| peer), Ok(address));
        assert!(began.elapsed() >= least && began.elapsed() < PATIENCE);
        server.join().expect("it served");
    }
}

#[test]
fn what_cannot_be_connected_is_said_with_each_address() {
    let (quiet, _held) = silent();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let closed = closed.expect("a port that was open");
    let failure = on_a_loop(async move || {
        let race = Race::new(
            vec![quiet, closed],
            Source::default(),
            Duration::from_millis(400),
        );
        Connector::default().connect(race).await.map(|_| ())
    });
    let failure = failure.expect_err("nobody answers");
    assert!(
        failure.contains(&format!("{quiet}: no answer in time")),
        "{failure}"
    );
    assert!(
        failure.contains(&format!("{closed}: Connection refused")),
        "{failure}"
    );
}

#[test]
fn it_goes_out_from_where_it_is_told() {
    let (address, server) = greeter();
    let from = |ip: &str, device: Option<&str>| Target {
        from: Source {
            address: Some(ip.parse().expect("an address")),
            device: device.map(str::to_owned),
        },
        ..target(at(address), PATIENCE)
    };
    let other_family = greeting(from("::1", None)).expect_err("another family");
    assert!(other_family.to_string().contains("of another family"));
    let nobodys = greeting(from("192.0.2.1", None)).expect_err("not an address of this machine");
    assert!(matches!(nobodys, Failure::Connect(_)));
    let no_device = greeting(from("127.0.0.1", Some("nothere"))).expect_err("no such device");
    assert!(matches!(no_device, Failure::Connect(_)));
    assert!(greeting(from("127.0.0.9", None)).is_ok());
    server.join().expect("it served");
}

#[test]
fn an_answer_that_names_this_host_or_none_is_dropped() {
    for (ip, expected) in [
        ("192.0.2.1", true),
        ("2001:db8::1", true),
        ("fe80::1", true),
        ("0.0.0.0", false),
        ("0.1.2.3", false),
        ("127.0.0.1", false),
        ("127.8.8.8", false),
        ("::1", false),
        ("::", false),
        ("::ffff:127.0.0.1", false),
        ("224.0.0.251", false),
        ("255.255.255.255", false),
        ("ff02::1", false),
    ] {
        let ip: IpAddr = ip.parse().expect("an address");
        assert_eq!(may_be_another_host(ip), expected, "{ip}");
    }
    assert!(is_this_hosts("localhost") && is_this_hosts("A.Localhost."));
    assert!(!is_this_hosts("localhost.example") && !is_this_hosts("notlocalhost"));
}

#[test]
fn the_families_take_turns() {
    let parsed = |texts: &[&str]| -> Vec<SocketAddr> {
        let parse = |text: &&str| text.parse().expect("an address");
        texts.iter().map(parse).collect()
    };
    let given = parsed(&[
        "[2001:db8::1]:1",
        "[2001:db8::2]:1",
        "[2001:db8::3]:1",
        "192.0.2.1:1",
    ]);
    let expected = [
        "[2001:db8::1]:1",
        "192.0.2.1:1",
        "[2001:db8::2]:1",
        "[2001:db8::3]:1",
    ];
    assert_eq!(interleaved(given), parsed(&expected));
    assert_eq!(interleaved(Vec::new()), []);
}

#[test]
fn a_password_is_the_first_line_of_its_file() {
    let scratch = Scratch::new();
    for (content, expected) in [("secret\n", "secret"), ("a b\r\nmore\n", "a b"), ("x", "x")] {
        let read = password(&scratch.file("password", content)).expect("a password");
        assert_eq!(read.expose(), expected.as_bytes());
    }
    for path in [
        scratch.file("empty", "\nsecret\n"),
        PathBuf::from("/nowhere/password"),
    ] {
        let fault = password(&path).expect_err("no password");
        assert!(fault.starts_with(&*path.to_string_lossy()), "{fault}");
    }
}

type Certified = (X509, PKey<Private>);

/// A server that shows a certificate, greets, and tells who the client is or why it went.
fn tls_greeter(
    certified: Certified,
    authority: X509,
) -> (SocketAddr, JoinHandle<Result<Option<X509>, String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serve = move || {
        let mut builder = SslContextBuilder::new(SslMethod::tls_server()).expect("a server");
        builder
            .set_certificate(&certified.0)
            .expect("a certificate");
        builder.set_private_key(&certified.1).expect("a key");
        builder.cert_store_mut().add_cert(authority).expect("a CA");
        builder.set_verify(SslVerifyMode::PEER);
        let ssl = Ssl::new(&builder.build()).expect("a server");
        let (stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut stream = SslStream::new(ssl, stream).expect("a server");
        stream.accept().map_err(|error| error.to_string())?;
        stream
            .write_all(b"hello")
            .map_err(|error| error.to_string())?;
        // TLS 1.3 tells a server only now what its client thinks of it.
        let read = stream.ssl_read(&mut [0]);
        match read {
            Err(error) if error.ssl_error().is_some() => Err(error.to_string()),
            _ => Ok(stream.ssl().peer_certificate()),
        }
    };
    (address, std::thread::spawn(serve))
}

struct Pki {
    scratch: Scratch,
    authority: Authority,
}

impl Pki {
    fn new() -> Pki {
        Pki {
            scratch: Scratch::new(),
            authority: Authority::new("remote"),
        }
    }

    /// The settings of a bridge with these options and the CA's file.
    fn tls(&self, options: &str) -> BridgeTls {
        let pem = self.authority.certificate.to_pem().expect("PEM");
        let ca = self.scratch.file("ca.crt", pem);
        settings(&format!("\toption ca '{}'\n{options}", ca.display()))
    }

    fn connects(&self, tls: &BridgeTls, certified: Certified) -> (Result<(), String>, Seen) {
        let (address, server) = tls_greeter(certified, self.authority.certificate.clone());
        let tls = ClientTls::build(tls, self.scratch.path());
        let tls = tls.unwrap_or_else(|faults| panic!("{faults:?}"));
        let mut target = target(at(address), PATIENCE);
        target.tls = Some(tls);
        let greeted = greeting(target);
        let seen = server.join().expect("it served");
        let said = greeted.map(|(_, said)| assert_eq!(said, b"hello"));
        (said.map_err(|failure| failure.to_string()), seen)
    }
}

type Seen = Result<Option<X509>, String>;

fn settings(options: &str) -> BridgeTls {
    let text = format!(
        "config bridge 'up'\n\tlist address 'a'\n\tlist topic '#'\n\toption tls '1'\n{options}"
    );
    let config = parse(&text, "/f".as_ref(), &Surroundings::default());
    let mut bridges = config.unwrap_or_else(|faults| panic!("{faults}")).bridges;
    let bridge: Bridge = bridges.remove(0);
    bridge.tls.expect("TLS")
}

#[test]
fn a_certificate_must_be_of_the_ca_valid_and_for_the_name() {
    let pki = Pki::new();
    let for_the_name = pki.tls("\toption sni 'turris'\n");
    let (said, seen) = pki.connects(&for_the_name, pki.authority.server().sign());
    assert_eq!(said, Ok(()));
    assert!(seen.is_ok_and(|client| client.is_none()));
    let strangers = Authority::new("another");
    for (certified, tls, expected) in [
        (
            pki.authority.server().sign(),
            pki.tls("\toption sni 'other'\n"),
            "mismatch",
        ),
        (
            pki.authority.server().sign(),
            pki.tls(""),
            "IP address mismatch",
        ),
        (strangers.server().sign(), for_the_name.clone(), "issuer"),
        (
            pki.authority.server().days(-9, -1).sign(),
            for_the_name.clone(),
            "expired",
        ),
        (
            pki.authority.client().sign(),
            for_the_name.clone(),
            "purpose",
        ),
    ] {
        let (said, seen) = pki.connects(&tls, certified);
        let failure = said.expect_err("refused");
        assert!(
            failure.contains("is refused") && failure.contains(expected),
            "{failure}"
        );
        assert!(
            seen.is_err_and(|seen| seen.contains("alert")),
            "it is told why"
        );
    }
    let any = pki.tls("\toption verify_name '0'\n");
    assert_eq!(pki.connects(&any, pki.authority.server().sign()).0, Ok(()));
}

#[test]
fn a_pinned_certificate_needs_no_name_and_without_a_ca_file_no_ca() {
    let pki = Pki::new();
    let strangers = Authority::new("another");
    let known = strangers.server().days(-9, -1).sign();
    let pin = |certificate: &X509| format!("\tlist pin '{}'\n", auth::fingerprint(certificate));
    let pinned = settings(&pin(&known.0));
    assert_eq!(pki.connects(&pinned, known.clone()).0, Ok(()));
    let (said, seen) = pki.connects(&pinned, strangers.server().sign());
    assert!(said.is_err_and(|failure| failure.contains("none of the pinned")));
    assert!(seen.is_err());
    // With a file, both are asked.
    let both = pki.tls(&pin(&known.0));
    assert!(pki.connects(&both, known).0.is_err());
    let ours = pki.authority.server().sign();
    let both = pki.tls(&pin(&ours.0));
    assert_eq!(pki.connects(&both, ours).0, Ok(()));
}

#[test]
fn our_own_certificate_is_shown_and_faults_of_its_files_are_said_at_once() {
    let pki = Pki::new();
    let (certificate, key) = pki.authority.client().sign();
    let cert = pki
        .scratch
        .file("own.crt", certificate.to_pem().expect("PEM"));
    let key_file = pki
        .scratch
        .file("own.key", key.private_key_to_pem_pkcs8().expect("PEM"));
    let own = |cert: &std::path::Path, key: &std::path::Path| {
        let (cert, key) = (cert.display(), key.display());
        pki.tls(&format!(
            "\toption sni 'turris'\n\toption cert '{cert}'\n\toption key '{key}'\n"
        ))
    };
    let (said, seen) = pki.connects(&own(&cert, &key_file), pki.authority.server().sign());
    assert_eq!(said, Ok(()));
    let client = seen.expect("a handshake").expect("a certificate");
    assert_eq!(auth::fingerprint(&client), auth::fingerprint(&certificate));
    let missing = PathBuf::from("/nowhere");
    let mut tls = own(&missing, &cert);
    tls.ca = Some("/nowhere/ca.crt".into());
    let faults = ClientTls::build(&tls, pki.scratch.path())
        .err()
        .expect("faults");
    assert_eq!(faults.len(), 3, "{faults:?}");
    let other_key = pki.authority.client().sign().1;
    let other_key = other_key.private_key_to_pem_pkcs8().expect("PEM");
    let other_key = pki.scratch.file("other.key", other_key);
    let faults = ClientTls::build(&own(&cert, &other_key), pki.scratch.path()).err();
    assert!(faults.is_some_and(|faults| faults[0].contains("does not belong")));
}

#[test]
fn without_a_ca_file_those_of_the_system_below_the_root_are_asked() {
    let pki = Pki::new();
    let tls = settings("\toption sni 'turris'\n");
    let faults = ClientTls::build(&tls, pki.scratch.path())
        .err()
        .expect("faults");
    assert!(faults[0].contains("ca-bundle"), "{faults:?}");
    std::fs::create_dir_all(pki.scratch.path().join("etc/ssl/certs")).expect("made");
    let pem = pki.authority.certificate.to_pem().expect("PEM");
    pki.scratch.file("etc/ssl/certs/own.crt", &pem);
    pki.scratch
        .file("etc/ssl/certs/broken.crt", "no certificate");
    assert_eq!(pki.connects(&tls, pki.authority.server().sign()).0, Ok(()));
    pki.scratch.file("etc/ssl/certs/ca-certificates.crt", &pem);
    assert_eq!(pki.connects(&tls, pki.authority.server().sign()).0, Ok(()));
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_left_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let pki = Pki::new();
    let mut target = target(at(address), Duration::from_millis(300));
    let tls = ClientTls::build(&pki.tls(""), pki.scratch.path());
    target.tls = Some(tls.unwrap_or_else(|faults| panic!("{faults:?}")));
    let failure = greeting(target).expect_err("nobody says anything");
    assert_eq!(
        failure,
        Failure::Tls(format!("{address}: no answer in time"))
    );
}
