//! Fosquitto, the MQTT message bus of an OpenWrt router: a broker for MQTT 3.1, 3.1.1 and 5.0 that is configured by UCI alone.
//!
//! This page is the map of the code. What the program does for its user stands in README.md.
//!
//! # The way of a message
//!
//! ```text
//! socket → net::tls → net::websocket → net::frame → net::codec → broker (sessions, router, queues) → net::table (outputs) → socket
//!              └ auth: who is it?                  └ acl: may it?
//! ```
//!
//! `net::listener` accepts a connection on its own thread and hands it to the event loop, where `net::connection` is its future.
//! After TLS, the first packet is CONNECT; the listener's policy (`auth`) makes an identity from a certificate, from a password
//! that a thread of its own has checked, or from an exchange of AUTH packets. From then on each packet is parsed where it was
//! read and given to the broker as an *input*, with the time. The broker answers with *effects*: packets to send, connections to
//! close, changes to make durable.
//! `net::table` carries them out: it encodes into the output of each connection and gives every output to its socket once, when
//! the turn of the loop ends.
//!
//! A PUBLISH is borrowed from the read buffer until its effects are done. Nothing is allocated for a QoS 0 message whose
//! subscribers are there; a reference-counted message is made once, when somebody must keep it.
//!
//! # The modules
//!
//! In the order of that way, first the words, then who uses them. A module names only what the table in `tests/it/tidy/rules.rs` lets
//! it name, so that a change behind one of them stays behind it.
//!
//! | module | what it is | its files |
//! |---|---|---|
//! | [`mqtt`] | the specification's vocabulary as values, with the rules that hold for each alone | `topic`, `packet`, `packet_id`, `message`, `property`, `reason`; `tally` counts bytes |
//! | [`acl`] | who may publish, receive and subscribe to what; pure | `pattern` matches topics, `rules` decides, `why` names question and answer |
//! | [`config`] | the UCI file as typed values, or all of its faults with their lines | `uci` and its `cursor` read the syntax; `options` with its `table` and the rows of `bridge` say which sections and options there are; `section` and `value` check them; `global`, `listener`, `bind`, `network`, `user`, `acl`, `persistence`, `keeper`, `bridge` with its `topic` mappings, `subordinate` make values; `fault` tells |
//! | [`auth`] | who a client is | `policy` decides about a CONNECT; `identity` is the proof; `credentials`, `passwd_file`, `password`, `file` are the passwords, `worker` the thread that checks them; `scram` is a mechanism of enhanced authentication, `scram_file` its keys, `exchange` one client's way through it; `certificate` reads names; `guard` slows floods down |
//! | [`net`] | sockets, TLS, WebSocket, frames, packets, outputs | `listener` with `open` and `handed` (its sockets) and `accept`, `door` (a listener that is open), `tls` with its `files`, its `filter` and the `client` side, `websocket` with its `upgrade` and its `frames`, `connection` with its `handshake`, its `connect` and its `exchange` of AUTH packets, `frame`, `codec`, `mount` (the prefix of a listener's topics), `table` with its `live` connections, their `backlog`, `memory`, `wait`, `denials` and `trace`, `delay` (what a connection waits for), `output`, `alias` (of topics that clients get), `write` (how a socket's output is written), `round` (when each socket has been read), `dial` with its `names`, `connect` and `answer` (connections that go out), `outlet` (what the table asks of those), `trail` (by which brokers know a message again), `mdns` with its `ear` (services on the network), `hub` (what it needs of the server) |
//! | [`net::codec`] | bytes to packets and back | `connect`, `publish`, `subscribe`, `disconnect`, `properties`, `reader` decode; `encode`, `publish_head` encode; of a bridge's remote broker `remote` decodes and `outward` encodes |
//! | [`broker`] | the broker as a pure state machine | `input`, `effect`; `connect`, `disconnect`, `publish`, `subscribe`, `deliver`, `pump` handle; `bridge` has the sessions whose clients are other brokers; `session`, `inflight`, `queue`, `replay`, `retained`, `router`, `share`, `will`, `timers` hold state; `keeper` holds messages for who is late; `restore` takes back what a store has kept; `sys` and `load` count, `dump` tells all that there is and `tell` each kind in pages; `limits` bounds each kind, `memory` all together |
//! | [`store`] | what survives a restart | `record` and `journal` on tmpfs, `live` and `coalesce` what is left of them, `resting` what flash does not get yet, `lead` how far the thread is behind, `database` with its `schema` and `write` on flash, `aside` and `salvage` for one that is damaged, `reader` of one that is only read, `recovery` at the start with the `rows` that it gives and the time that has `passed`, `worker` the thread, `compact` its care for the journal, `budget` and `status`, `closed` (whether the database is as it was left); `vfs` lies under SQLite and counts what goes to flash; `faults`, `power`, `folder` and `costs` are for its tests |
//! | [`bridge`] | connections to other brokers | `link` connects again and again, `wire` is one connection and `outward` what goes out over it, `echo` what of it comes back; `mapping` says what is subscribed on both sides and what a topic becomes; `foris` makes bridges of subordinates and `discovery` finds them; `check` looks at their files |
//! | [`control`] | the local control socket, lines of JSON | `socket` is the bus's end with its connections, `client` that of the commands; `status` and `rows` say what is answered |
//! | [`server`] | the running program around them | `bus` is the loop's state and ends its turns; `doors` opens listeners; `bridges` has the connections to other brokers follow; `reload` and `judge` follow the configuration, `watch` the certificates; `keeping` binds the store to it, `trail` keeps by which names messages of other brokers are known; `answer` is what the control socket is told, with its `status`, `rows`, `acts` and `trace`; `why` asks the rules, `lint` warns of what is odd in a configuration; `offline` reads a state that no bus has; `signals`, `clock`; `ram` says what the machine has, and `pages` gives back what only the start needed |
//! | [`log`] | syslog or standard error, and the escaping of what clients chose | `black_box` is what a process that dies leaves behind |
//! | [`cli`] | the command line, one file a command | `serve`, `check`, `passwd`; `status`, `list`, `act`, `why`, `trace`, `control`, `dump`, `backup` ask a running bus by its control socket, with what they share in `ask`, or read its files; `request` with its `exchange` of messages; `talk` is `pub` and `sub`, with its `output` and its `properties`, `monitor` with its `json` what `fosquitto-monitor` does; `rpcd` is the object on ubus; `client` is a small MQTT client for commands, over its `transport` and its `websocket`, `bus` says where they find a bus |
//! | `fuzzing`, in tests and for `tests/fuzz` only | what the fuzz targets reach of the private parts | one more in `auth`; the targets of the broker stand beside its tests |
//!
//! # Threads
//!
//! | thread | what it does | why not the event loop |
//! |---|---|---|
//! | the main thread | runs the event loop: all network I/O, and the broker, which it owns | |
//! | `fosquitto-accept` | waits for new connections, and for signals | a flood of connections costs the loop only what it takes of it |
//! | `fosquitto-auth` | computes password hashes | one takes milliseconds |
//! | `fosquitto-store` | writes to flash | one commit takes milliseconds, and seconds where flash is busy |
//! | `fosquitto-control`, `fosquitto-asked` | accept from the control socket, and serve one connection each | who reads slowly, and JSON, are not for the loop |
//! | `fosquitto-names`, `fosquitto-dial`, while there are bridges | resolve names, and wait for sockets that connect | the system's resolver blocks; ntex waits for no socket that another has opened |
//! | `fosquitto-files`, while a bridge's certificates are read | reads them | they may be some hundred |
//! | `fosquitto-mdns`, while there are subordinates | asks and hears where they are | ntex has no datagrams, and a flood of them is not for the loop |
//! | `fosquitto-stop`, at the end | times an ordered stop | ntex's timer may be late by a tenth of a second |
//! | ntex's timer | wakes the loop | |
//!
//! # Invariants
//!
//! What holds everywhere, and what sees to it. *tidy* are the tests in `tests/it/tidy`, which read the source.
//!
//! 1. **Handling an input cannot fail.** [`broker::Broker::handle`] returns nothing; what a client does wrong is an effect, the close
//!    of its connection with its reason. The type holds it.
//! 2. **The core is pure.** `mqtt`, `acl` and `broker` read no clock, file, socket, environment or source of chance: the same inputs
//!    give the same effects. tidy holds the names; the broker's tests run in virtual time.
//! 3. **An acknowledgement leaves after what it promises holds**, as durably as is configured. The broker says the change
//!    ([`broker::StoreOp`]) before it says the packet; at the end of the turn, in one place (`server::bus`), the changes go to the journal
//!    first and then the outputs leave, but for what waits for flash (`net::table`, `hold`).
//! 4. **What a client can grow has a bound**: in [`broker::limits`] where no option moves it, in the table of options where one does, and
//!    in `net` for what is not past CONNECT; and all of it together has one ceiling, with the order in which things go (`broker::memory`).
//! 5. **An identity is made by `auth` alone, and a session belongs to its identity.** The fields of [`auth::Identity`] are private,
//!    and tidy looks for other makers; the broker refuses a client identifier whose session has another owner.
//! 6. **Running timers count by the boot clock** (`server::clock`), which does not jump. The broker's time goes on over a restart by
//!    what is known to have passed, so that what is kept are lifetimes, and no date is trusted.
//! 7. **A wrong configuration never takes the bus down.** [`config::load`] gives a whole configuration or its faults, and a reload with
//!    faults keeps everything. A listener whose certificates are bad stays closed, or goes on with those that it had.
//! 8. **What a client chose is escaped** before it stands in a log line ([`log::Escaped`]) or a fault ([`config::fault::Quoted`]); tidy
//!    finds lines that go past the log. A name goes into a topic pattern only as one plain level (`acl::pattern`).
//!
//! # Where decisions stand
//!
//! Beside the code that they decide, in its module's own text or at the constant. The ones that are asked for most:
//!
//! | question | place |
//! |---|---|
//! | why packets are parsed by hand, and which are not | [`net::codec`] |
//! | why ntex's WebSocket layer is not used | [`net::websocket`] |
//! | why TLS sessions are not resumed, and what a revocation list that is out of date or a clock that is behind does | [`net::tls`] |
//! | when QoS 2 is passed on, and what a queue drops | `broker::publish`, `broker::queue` |
//! | which messages wait for a subscriber who is not there, and who gets them | `broker::keeper` |
//! | what a denied client is told | [`auth::Denied`], [`mqtt::ReasonCode::connect_return_code`] |
//! | where this UCI reader and libuci differ | [`config::uci`] |
//! | who may stay after a reload | `server::judge` |
//! | every bound, and its reason | [`broker::limits`] |

pub mod acl;
pub mod auth;
pub mod bridge;
pub mod broker;
pub mod cli;
pub mod config;
pub mod control;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod log;
pub mod mqtt;
pub mod net;
pub mod server;
pub mod store;
