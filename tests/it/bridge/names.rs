//! Name servers that never answer: bridges that wait for them wait alone.
//!
//! It needs a network namespace and a file system view of its own, for `/etc/resolv.conf`; where those may not be made, it says "not
//! shown".

use std::ffi::CString;
use std::net::UdpSocket;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::routers::{Network, enter};
use crate::harness::broker::Broker;
use crate::harness::packet::{Connect, Version};
use crate::harness::root::Root;

/// More than there are threads that resolve names.
const NAMES: usize = 8;

/// What a local round trip may take on a loaded machine. The resolver's patience is 4 s here.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);

/// Puts a file in the place of another for this process alone.
fn put_in_place(file: &CString, of: &CString) -> std::io::Result<()> {
    let flags = [libc::MS_REC | libc::MS_PRIVATE, libc::MS_BIND];
    let done = |result: libc::c_int| match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: the paths are C strings for the calls, which take no other memory.
    unsafe {
        let null = std::ptr::null();
        done(libc::unshare(libc::CLONE_NEWNS))?;
        done(libc::mount(
            null,
            c"/".as_ptr(),
            null,
            flags[0],
            null.cast(),
        ))?;
        done(libc::mount(
            file.as_ptr(),
            of.as_ptr(),
            null,
            flags[1],
            null.cast(),
        ))
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path of text")
}

#[test]
fn a_name_server_that_never_answers_costs_local_clients_and_other_bridges_nothing() {
    let resolv_conf = Path::new("/etc/resolv.conf");
    let Some(network) = Network::new(&["router"]).filter(|_| resolv_conf.exists()) else {
        println!("not shown: no network namespaces can be made here");
        return;
    };
    let silent = network.within("router", || UdpSocket::bind("127.0.0.1:53"));
    let _silent = silent.expect("nobody else is in the namespace");
    let there = network.broker("router", "THERE", Root::with_uci(&super::open_on(1883)));
    let root = Root::new();
    root.write(
        "resolv.conf",
        "nameserver 127.0.0.1\noptions timeout:4 attempts:1\n",
    );
    let mut uci = "config local 'local'\n\toption port '0'\n".to_owned();
    for number in 0..NAMES {
        uci += &format!(
            "config bridge 'silent{number}'\n\tlist address 'broker{number}.example'\n\tlist topic '#'\n\
             \toption connect_timeout '2'\n\toption restart_timeout '1'\n\toption restart_timeout_max '1'\n"
        );
    }
    // Its name is in /etc/hosts, and waits for a thread.
    uci += "config bridge 'good'\n\tlist address 'localhost:1883'\n\tlist topic 'x/#'\n\
            \toption restart_timeout '1'\n\toption restart_timeout_max '1'\n";
    root.write_uci(&uci);
    let (door, own) = (network.door("router"), c_path(&root.join("resolv.conf")));
    let systems = c_path(resolv_conf);
    let here = Broker::start_with(root, |command| {
        let apart = move || {
            enter(&door)?;
            put_in_place(&own, &systems)
        };
        // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
        unsafe { command.pre_exec(apart) };
    });
    let address = here.address("local");
    let client = network.within("router", move || {
        crate::harness::client::Client::dial(address)
    });
    let mut client = client.join(&here.as_local(&Connect::new(Version::V5, "client")));
    client.subscribe("own", 0);
    let (mut trips, mut slowest) = (0, Duration::ZERO);
    let is_said = |text: &str| here.log().says(0, text);
    let begin = Instant::now();
    while !is_said("the name cannot be resolved: no answer in time")
        || !is_said("'good': connected to")
    {
        assert!(
            begin.elapsed() < Duration::from_secs(100),
            "{:?}",
            here.log().lines()
        );
        let sent = Instant::now();
        client.publish("own", "there and back");
        assert_eq!(client.text(), "there and back");
        slowest = slowest.max(sent.elapsed());
        trips += 1;
    }
    println!(
        "{trips} round trips, the slowest {slowest:?}, in {:?}",
        begin.elapsed()
    );
    assert!(
        trips > 10 && slowest < ROUND_TRIP_MAX,
        "{trips} {slowest:?}"
    );
    drop(there);
}
