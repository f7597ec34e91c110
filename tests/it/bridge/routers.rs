//! Three routers in network namespaces of their own: a host, its subordinate, and what is behind that. Links are cut and come back, with
//! another address too, and foris' requests and replies find their way all the same.
//!
//! It needs root and iproute2. Where namespaces may not be made, it says "not shown".

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::broker::Broker;
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Publish, Version, property};
use crate::harness::pki::{Authority, REMOTE, STRANGER};
use crate::harness::root::Root;

use super::line::{Line, Way};
use super::{open_on, take};

const HOST: &str = "0000000A00000001";
const SUB: &str = "0000000A00000002";
const FAR: &str = "0000000A00000003";

/// A link that was cut is noticed by its keep alive of 30 s, and then there are pauses between attempts.
pub(super) const LONG: Duration = Duration::from_secs(120);

/// The port of a router's remote side, and that of a line to it.
const REMOTE_PORT: u16 = 11_884;
const LINE: u16 = 21_884;

/// Namespaces, which go with this.
pub(super) struct Network {
    names: Vec<String>,
}

impl Network {
    /// The namespaces of these routers; `None` where they may not be made.
    pub(super) fn new(routers: &[&str]) -> Option<Network> {
        let mut network = Network { names: Vec::new() };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        for router in routers {
            let name = format!("fosquitto-{}-{number}-{router}", std::process::id());
            if !try_ip(&format!("netns add {name}")) {
                return None;
            }
            network.names.push(name.clone());
            if !try_ip(&format!("-n {name} link set lo up")) {
                return None;
            }
        }
        Some(network)
    }

    fn name(&self, router: &str) -> &str {
        let mut names = self.names.iter();
        let name = names.find(|name| name.ends_with(&format!("-{router}")));
        name.expect("the router has a namespace")
    }

    /// Runs `ip` in a router.
    fn ip(&self, router: &str, arguments: &str) {
        let command = format!("-n {} {arguments}", self.name(router));
        assert!(try_ip(&command), "ip {command}");
    }

    /// A cable between two routers, each with its device's name and address.
    fn connect(&self, one: (&str, &str, &str), other: (&str, &str, &str)) {
        let far = format!("peer name {} netns {}", other.1, self.name(other.0));
        self.ip(one.0, &format!("link add {} type veth {far}", one.1));
        for (router, device, address) in [one, other] {
            self.ip(router, &format!("addr add {address} dev {device}"));
            self.ip(router, &format!("link set {device} up"));
        }
    }

    /// The namespace, to be entered.
    pub(super) fn door(&self, router: &str) -> File {
        let path = format!("/var/run/netns/{}", self.name(router));
        File::open(path).expect("the namespace is there")
    }

    /// Does something on a thread within a router; sockets that it opens stay there.
    pub(super) fn within<T: Send + 'static>(
        &self,
        router: &str,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let door = self.door(router);
        let within = std::thread::spawn(move || {
            enter(&door).expect("the namespace can be entered");
            act()
        });
        within.join().expect("it is done")
    }

    /// A broker in a router, which is told this controller id.
    pub(super) fn broker(&self, router: &str, id: &str, root: Root) -> Broker {
        let door = self.door(router);
        Broker::start_with(root, |command| {
            command.env("FOSQUITTO_CONTROLLER_ID", id);
            // SAFETY: between fork and exec only setns() is called, which is safe there, and nothing is allocated.
            unsafe { command.pre_exec(move || enter(&door)) };
        })
    }

    /// A client of MQTT 5 of the local side of a router.
    fn client(&self, router: &str, broker: &Broker, id: &str) -> Client {
        let address = broker.address("local");
        let client = self.within(router, move || Client::dial(address));
        client.join(&broker.as_local(&Connect::new(Version::V5, id)))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            try_ip(&format!("netns del {name}"));
        }
    }
}

fn try_ip(arguments: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments.split(' ')).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Moves this thread to a namespace.
pub(super) fn enter(door: &File) -> std::io::Result<()> {
    // SAFETY: the descriptor is open.
    match unsafe { libc::setns(door.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// A router's files: its UCI with an open remote side, its CA, and the tokens of its subordinates.
fn root(authority: Option<&Authority>, uci: &str, tokens: &[(&str, &Authority)]) -> Root {
    let root = Root::new();
    let remote = match authority {
        Some(authority) => {
            authority.install(&root);
            "config remote 'remote'\n\toption enabled '1'\n"
        }
        None => "",
    };
    root.write_uci(&format!(
        "config local 'local'\n\toption port '0'\n{remote}{uci}"
    ));
    for (id, authority) in tokens {
        let token = authority.client("above", 2);
        token.write_token(&root, &format!("etc/fosquitto/bridges/{id}"), authority);
    }
    root
}

/// What procd's announcer says in the name of a subordinate on a device, until it has been heeded.
fn announce(id: &str, address: Ipv4Addr, is_heeded: impl Fn() -> bool) {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("shared");
    socket
        .bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5353)).into())
        .expect("the port");
    socket.set_multicast_if_v4(&address).expect("a device");
    let socket = UdpSocket::from(socket);
    let packet = announcement(id, address);
    let deadline = Instant::now() + LONG;
    while !is_heeded() {
        assert!(Instant::now() < deadline, "it is never heeded");
        socket
            .send_to(&packet, (Ipv4Addr::new(224, 0, 0, 251), 5353))
            .expect("it is sent");
        std::thread::park_timeout(Duration::from_millis(500));
    }
}

fn announcement(id: &str, address: Ipv4Addr) -> Vec<u8> {
    let name = |labels: &[&str]| {
        let mut name = Vec::new();
        for label in labels {
            name.push(u8::try_from(label.len()).expect("short"));
            name.extend_from_slice(label.as_bytes());
        }
        name.push(0);
        name
    };
    let record = |name: &[u8], of: u16, data: &[u8]| {
        let length = u16::try_from(data.len()).expect("short").to_be_bytes();
        let class_and_ttl = [0x80, 1, 0, 0, 0, 120];
        [name, &of.to_be_bytes(), &class_and_ttl, &length, data].concat()
    };
    let services = name(&["_fosquitto", "_tcp", "local"]);
    let instance = name(&["sub", "_fosquitto", "_tcp", "local"]);
    let host = name(&["sub", "local"]);
    let place = [&[0, 0, 0, 0][..], &11884_u16.to_be_bytes(), &host].concat();
    let text = format!("id={id}");
    let text = [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    [
        vec![0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0],
        record(&services, 12, &instance),
        record(&instance, 33, &place),
        record(&instance, 16, &text),
        record(&host, 1, &address.octets()),
    ]
    .concat()
}

fn wait_long(broker: &Broker, mark: usize, text: &str) {
    let deadline = Instant::now() + LONG;
    while !broker.log().says(mark, text) {
        let lines = || broker.log().lines().join("\n");
        assert!(
            Instant::now() < deadline,
            "{text}: never said in\n{}",
            lines()
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// The three routers of every test here.
struct Routers {
    network: Network,
    host: Broker,
    sub: Broker,
    far: Broker,
}

/// `None` where they may not be made. The ways to the subordinate and behind it are straight, or lines that hold back what goes over them.
fn routers(has_lines: bool) -> Option<(Routers, Vec<Line>)> {
    let network = Network::new(&["host", "sub", "far"])?;
    network.connect(
        ("host", "below", "10.77.1.1/24"),
        ("sub", "above", "10.77.1.2/24"),
    );
    network.connect(
        ("sub", "below", "10.77.2.1/24"),
        ("far", "above", "10.77.2.2/24"),
    );
    let line = |router, address: [u8; 4]| {
        let [from, to] = [LINE, REMOTE_PORT].map(|port| SocketAddr::from((address, port)));
        Line::new(&network, router, from, to)
    };
    let (port, lines) = match has_lines {
        true => {
            let ends = [("sub", [10, 77, 1, 2]), ("far", [10, 77, 2, 2])];
            (
                LINE,
                ends.map(|(router, address)| line(router, address)).into(),
            )
        }
        false => (REMOTE_PORT, Vec::new()),
    };
    let far = network.broker("far", FAR, root(Some(&STRANGER), "", &[]));
    let at = |address| format!("\toption address '{address}'\n\toption port '{port}'\n");
    let to_far = format!("config subordinate '{FAR}'\n{}", at("10.77.2.2"));
    let sub_root = root(Some(&REMOTE), &to_far, &[(FAR, &STRANGER)]);
    let sub = network.broker("sub", SUB, sub_root);
    let to_both = format!(
        "config subordinate '{SUB}'\n{}config subsubordinate '{FAR}'\n\toption via '{SUB}'\n",
        at("10.77.1.2")
    );
    let host = network.broker("host", HOST, root(None, &to_both, &[(SUB, &REMOTE)]));
    wait_long(&sub, 0, &format!("bridge '{FAR}': connected to 10.77.2.2"));
    wait_long(&host, 0, &format!("bridge '{SUB}': connected to 10.77.1.2"));
    let routers = Routers {
        network,
        host,
        sub,
        far,
    };
    Some((routers, lines))
}

fn topic(end: &str) -> String {
    format!("foris-controller/{FAR}/{end}")
}

/// Asks in the host until the controller that is far away is reached, and what it is asked then.
fn wait_for_way(client: &mut Client, controller: &mut Client) {
    let deadline = Instant::now() + LONG;
    loop {
        client.publish(&topic("request/about/action/get"), super::PROBE);
        if controller.came_within(Duration::from_millis(200)) {
            return;
        }
        assert!(Instant::now() < deadline, "the way is never there");
    }
}

#[test]
fn a_request_reaches_a_controller_behind_two_routers_and_its_reply_comes_back_as_if_one_stood_there()
 {
    let Some((routers, _)) = routers(false) else {
        println!("not shown: no network namespaces can be made here");
        return;
    };
    let Routers {
        network, host, far, ..
    } = &routers;
    let mut controller = network.client("far", far, "controller");
    controller.subscribe(&topic("request/+/action/+"), 0);
    let mut client = network.client("host", host, "client");
    client.subscribe(&topic("reply/+"), 2);
    wait_for_way(&mut client, &mut controller);
    client.publish(&topic("request/wifi/action/get"), "question");
    let asked = take(&mut controller);
    assert_eq!(asked.topic, topic("request/wifi/action/get"));
    assert_eq!((asked.payload, asked.qos), (b"question".to_vec(), 0));

    // Retained there, it is retained here: for who asks now, and for who comes later.
    controller.send_publish(&Publish::new(&topic("reply/one"), "answer").retained());
    assert_eq!(take(&mut client).payload, b"answer");
    let mut late = network.client("host", host, "late");
    late.subscribe(&topic("reply/one"), 0);
    let answer = take(&mut late);
    assert!(answer.retain && answer.payload == b"answer");
    // Were the clearing lost, it would end by itself.
    let ends = |(id, _): &(u8, Vec<u8>)| *id == property::MESSAGE_EXPIRY_INTERVAL;
    assert!(answer.properties.iter().any(ends));
    // Cleared there, it is cleared here.
    let clearing = Publish::new(&topic("reply/one"), "").qos(2, 7).retained();
    controller.publish_acknowledged(clearing);
    assert_eq!(take(&mut client).payload, b"");
    let mut later = network.client("host", host, "later");
    later.subscribe(&topic("reply/one"), 0);
    later.ping();
}

#[test]
fn links_that_are_cut_and_come_back_with_another_address_lose_nothing_and_bring_nothing_twice() {
    let Some((routers, _)) = routers(false) else {
        println!("not shown: no network namespaces can be made here");
        return;
    };
    let Routers {
        network,
        host,
        sub,
        far,
    } = &routers;
    let mut controller = network.client("far", far, "controller");
    controller.subscribe(&topic("request/+/action/+"), 2);
    let mut client = network.client("host", host, "client");
    wait_for_way(&mut client, &mut controller);
    let mut count = Count::default();

    // The link behind the subordinate, for a moment.
    network.ip("sub", "link set below down");
    count.ask(&mut client);
    network.ip("sub", "link set below up");
    count.arrive(&mut controller);

    // Then each link comes back with another address, on the way.
    for (above, broker, below, id, net) in
        [("host", host, "sub", SUB, 1), ("sub", sub, "far", FAR, 2)]
    {
        network.ip(above, "link set below down");
        count.ask(&mut client);
        network.ip(below, "addr flush dev above");
        network.ip(below, &format!("addr add 10.77.{net}.99/24 dev above"));
        network.ip(above, "link set below up");
        let mark = broker.log().mark();
        let (log, connected) = (broker.log().clone(), format!("connected to 10.77.{net}.99"));
        network.within(below, move || {
            announce(id, Ipv4Addr::new(10, 77, net, 99), || {
                log.says(mark, &connected)
            });
        });
        count.arrive(&mut controller);
    }

    assert!(!sub.log().says(0, "panicked"));
    controller.ping_past_messages();
}

/// Messages at QoS 2, each with its number.
#[derive(Default)]
struct Count {
    asked: u16,
    arrived: u16,
}

impl Count {
    /// Asks twenty times.
    fn ask(&mut self, client: &mut Client) {
        for _ in 0..20 {
            self.asked += 1;
            let (topic, text) = (topic("request/wifi/action/set"), self.asked.to_string());
            client.publish_acknowledged(Publish::new(&topic, text).qos(2, self.asked));
        }
    }

    /// The next twenty arrive, in order.
    fn arrive(&mut self, controller: &mut Client) {
        for _ in 0..20 {
            self.arrived += 1;
            let message = take(controller);
            assert_eq!(message.payload, self.arrived.to_string().as_bytes());
            assert_eq!(message.qos, 2);
        }
    }
}

#[test]
fn slow_lines_that_go_dead_and_are_cut_lose_nothing_and_bring_nothing_twice() {
    let Some((routers, lines)) = routers(true) else {
        println!("not shown: no network namespaces can be made here");
        return;
    };
    let mut controller = routers.network.client("far", &routers.far, "controller");
    controller.subscribe(&topic("request/+/action/+"), 2);
    let mut client = routers.network.client("host", &routers.host, "client");
    wait_for_way(&mut client, &mut controller);
    let mut count = Count::default();
    let ends = [(&routers.host, SUB), (&routers.sub, FAR)];
    for (line, (broker, id)) in lines.iter().zip(ends) {
        line.delay(Duration::from_millis(150));
        count.ask(&mut client);
        count.arrive(&mut controller);
        for way in [Way::There, Way::Back] {
            // What is on its way when it is cut is lost: messages, and then what answers them.
            let mark = broker.log().mark();
            line.die(way);
            count.ask(&mut client);
            line.wait_until_it_holds(way);
            line.cut();
            line.mend();
            wait_long(broker, mark, &format!("bridge '{id}': connected to"));
            count.arrive(&mut controller);
        }
    }
    controller.ping_past_messages();
}

#[test]
fn a_line_that_is_dead_without_having_said_so_is_noticed_before_the_keep_alive_is_over() {
    let Some(network) = Network::new(&["host", "far"]) else {
        println!("not shown: no network namespaces can be made here");
        return;
    };
    network.connect(
        ("host", "below", "10.77.3.1/24"),
        ("far", "above", "10.77.3.2/24"),
    );
    let address = SocketAddr::from(([10, 77, 3, 2], 1883));
    let open = open_on(1883).replace("127.0.0.1", "10.77.3.2");
    let _far = network.broker("far", FAR, Root::with_uci(&open));
    let host = network.broker(
        "host",
        HOST,
        Root::with_uci(
            "config local 'local'\n\toption port '0'\n\
             config bridge 'up'\n\tlist address '10.77.3.2:1883'\n\tlist topic '# out 1'\n\
             \toption keepalive '3600'\n\toption restart_timeout '1'\n\toption restart_timeout_max '1'\n",
        ),
    );
    wait_long(&host, 0, "bridge 'up': connected to 10.77.3.2");
    let at_far = network.within("far", move || Client::dial(address));
    let mut at_far = at_far.join(&Connect::new(Version::V5, "far"));
    at_far.subscribe("t", 1);
    let mut client = network.client("host", &host, "client");
    let mark = host.log().mark();
    network.ip("far", "link set above down");
    client.publish_acknowledged(Publish::new("t", "lost on its way").qos(1, 1));
    wait_long(&host, mark, "the connection failed");
    network.ip("far", "link set above up");
    wait_long(&host, mark, "bridge 'up': connected to 10.77.3.2");
    assert_eq!(take(&mut at_far).payload, b"lost on its way");
}
