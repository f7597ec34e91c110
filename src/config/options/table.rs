//! The rows of the table of options. Entered through `TABLES`; what a row's parts mean is said in the parent module.

use super::Absent::{self, Is, Said};
use super::Kind::{self, Bool, Count, Duration, Port, Size, Word};
use super::bridge::BRIDGE;
use super::{Naming, OptionRow, SectionTable};
use crate::config::keeper::{REPLY_TTL_S, REQUEST_TTL_S};

pub(super) const fn option(
    name: &'static str,
    kind: Kind,
    default: Absent,
    doc: &'static str,
) -> OptionRow {
    OptionRow {
        name,
        kind,
        list: false,
        default,
        doc,
    }
}

pub(super) const fn list(
    name: &'static str,
    kind: Kind,
    default: Absent,
    doc: &'static str,
) -> OptionRow {
    OptionRow {
        name,
        kind,
        list: true,
        default,
        doc,
    }
}

/// MQTT's largest packet: a remaining length of 268,435,455 bytes and its header.
const PACKET_MAX: u64 = 256 << 20;
/// Memory sizes fit a 32-bit router's address space.
pub(super) const MEMORY_MAX: u64 = 2 << 30;
/// A hundred years: a longer time in a file is a slip.
pub(super) const YEARS_100_S: u64 = 36_500 * 86_400;
/// MQTT's packet identifiers limit the messages in flight.
pub(super) const INFLIGHT_MAX: u64 = 65_535;
/// A database with less has no room for its tables.
const DATABASE_MIN: u64 = 128 << 10;
/// More than any router's disk: a slip.
const DISK_MAX: u64 = 1 << 40;
/// 4 MiB of SPI-NOR flash are 64 blocks of 64 KiB with 100,000 erase cycles each: 400 GiB until they are worn out. SQLite's log, the
/// nodes of JFFS2 and its garbage collection write a byte up to five times, so that 8 MiB a day take 28 years, and on the
/// smallest overlays, of 1 MiB, 7 years. `persistence.daily_budget`'s text says so.
const DAILY_BUDGET: &str = "8M";
/// What is kept for longer than an hour is for a session, not for a keeper.
const KEEPER_TTL_MAX_S: u64 = 3_600;

/// The Keep Alive has two bytes.
const KEEP_ALIVE_MAX_S: u64 = 65_535;

pub(super) const TABLES: &[SectionTable] = &[
    SectionTable {
        kind: "global",
        naming: Naming::Fixed("global"),
        doc: "What holds for the whole bus.",
        options: &[
            option(
                "debug",
                Bool,
                Is("0"),
                "Log everything, whatever `log_level` says.",
            ),
            option(
                "log_level",
                Word(&["error", "warning", "notice", "info", "debug"]),
                Is("notice"),
                "Log this and what is worse.",
            ),
            option(
                "memory_limit",
                Size {
                    min: 1 << 20,
                    max: MEMORY_MAX,
                },
                Said("a quarter of the RAM, 8M to 1G"),
                "The ceiling of what all clients' data may take together: messages, sessions, subscriptions, connections. \
                 The last eighth is for the clients of `local`; where state is kept, a sixth of all, 3M at most, is for that.",
            ),
            option(
                "max_packet_size",
                Size {
                    min: 1 << 10,
                    max: PACKET_MAX,
                },
                Is("16M"),
                "The largest packet that is accepted; never more than a quarter of `memory_limit`.",
            ),
            option(
                "max_inflight",
                Count {
                    min: 1,
                    max: INFLIGHT_MAX,
                },
                Is("20"),
                "So many messages with QoS 1 or 2 are on the way to one client at once.",
            ),
            option(
                "queue_messages",
                Count {
                    min: 1,
                    max: 1_000_000,
                },
                Is("1000"),
                "So many messages wait for one client.",
            ),
            option(
                "queue_bytes",
                Size {
                    min: 1 << 10,
                    max: MEMORY_MAX,
                },
                Is("1M"),
                "So many bytes wait for one client; a larger message waits alone.",
            ),
            option(
                "qos0_queue_ttl",
                Duration {
                    min_s: 0,
                    max_s: YEARS_100_S,
                },
                Is("60"),
                "So long a message with QoS 0 waits for a client that is away; 0: not at all.",
            ),
            option(
                "session_expiry",
                Duration {
                    min_s: 0,
                    max_s: YEARS_100_S,
                },
                Is("1d"),
                "So long the session of an MQTT 3 client that is away is kept.",
            ),
            option(
                "max_session_expiry",
                Duration {
                    min_s: 0,
                    max_s: YEARS_100_S,
                },
                Said("no limit"),
                "The longest that an MQTT 5 client may ask its session to be kept.",
            ),
            option(
                "max_keep_alive",
                Duration {
                    min_s: 0,
                    max_s: KEEP_ALIVE_MAX_S,
                },
                Is("0"),
                "The longest keep alive of an MQTT 5 client: one that asks for more, or for none, is told this one. MQTT 3 \
                 has no words for it, and keeps what it asks for. 0: any.",
            ),
            option(
                "response_information",
                Kind::OwnTopic,
                Is("reply/%c"),
                "The topic below which an MQTT 5 client that asks for it may expect responses; a level `%u` is the user \
                 name, a level `%c` the client id. Told only to who may subscribe to all below it.",
            ),
            list(
                "server_reference",
                Kind::Server,
                Said("none"),
                "A server that MQTT 5 clients are told to use when this one stops.",
            ),
            option(
                "sys_interval",
                Duration {
                    min_s: 0,
                    max_s: 86_400,
                },
                Is("10"),
                "So often the `$SYS` topics are renewed; 0: never.",
            ),
            option(
                "acl_default",
                Word(&["allow", "deny"]),
                Is("allow"),
                "What holds when no `acl` section matches.",
            ),
            option(
                "connect_timeout",
                Duration {
                    min_s: 1,
                    max_s: 3_600,
                },
                Is("15"),
                "The TLS handshake and the CONNECT packet must be there within this time together.",
            ),
            option(
                "max_unauthenticated",
                Count {
                    min: 1,
                    max: 65_535,
                },
                Is("64"),
                "So many connections of one listener may be without an accepted CONNECT at once.",
            ),
            option(
                "connection_rate",
                Count {
                    min: 0,
                    max: 10_000,
                },
                Is("100"),
                "So many new connections a second are accepted from one address, and ten times as many at once; 0: no \
                 limit. There is none for the router's own programs.",
            ),
            option(
                "login_delay",
                Duration {
                    min_s: 0,
                    max_s: 60,
                },
                Is("5"),
                "The answer to a wrong password waits for so long at most, after many of them from one address; 0: not at \
                 all.",
            ),
        ],
    },
    SectionTable {
        kind: "local",
        naming: Naming::Fixed("local"),
        doc: "The router's own programs: 127.0.0.1 and ::1, with a user name and a password.",
        options: &[
            option("enabled", Bool, Is("1"), "Whether it listens."),
            option(
                "port",
                Port,
                Is("11883"),
                "The TCP port; 0: the kernel chooses one.",
            ),
        ],
    },
    SectionTable {
        kind: "remote",
        naming: Naming::Fixed("remote"),
        doc: "Other devices: all addresses, by TLS with the certificates of `/etc/ssl/ca/remote`. Every client needs a \
              certificate of that CA; its common name is the user name.",
        options: &[
            option("enabled", Bool, Is("0"), "Whether it listens."),
            option(
                "port",
                Port,
                Is("11884"),
                "The TCP port; 0: the kernel chooses one.",
            ),
        ],
    },
    SectionTable {
        kind: "listener",
        naming: Naming::Named("NAME"),
        doc: "A further listener, any number of them. It listens on all that `address`, `interface`, `device` and `unix` \
              name together; without any of them on all addresses, IPv4 and IPv6.",
        options: &[
            option("enabled", Bool, Is("1"), "Whether it listens."),
            option(
                "port",
                Port,
                Said("1883, with `tls` 8883"),
                "The TCP port; 0: the kernel chooses one.",
            ),
            list(
                "address",
                Kind::Address,
                Said("none"),
                "An address to listen on; it may come later.",
            ),
            list(
                "interface",
                Kind::Name,
                Said("none"),
                "An interface of `/etc/config/network`, by its name there.",
            ),
            list(
                "device",
                Kind::Device,
                Said("none"),
                "A network device, such as `br-lan`.",
            ),
            list(
                "unix",
                Kind::Path,
                Said("none"),
                "The path of a Unix socket.",
            ),
            option(
                "protocol",
                Word(&["mqtt", "websocket"]),
                Is("mqtt"),
                "What is spoken: MQTT, or MQTT in WebSocket frames, for web pages.",
            ),
            list(
                "origin",
                Kind::Origin,
                Said("any where a password is asked for, else the listener's own"),
                "A web page's origin, `https://host:port`, from which pages may connect by `websocket`; `*`: any. Clients \
                 that are no pages are not bound by it.",
            ),
            option(
                "tls",
                Bool,
                Is("0"),
                "Whether connections are TLS; needs `cert` and `key`.",
            ),
            option(
                "ca",
                Kind::Path,
                Said("none"),
                "The CA certificates that clients' certificates are checked against.",
            ),
            option(
                "cert",
                Kind::Path,
                Said("none"),
                "The listener's certificate with its chain, in PEM.",
            ),
            option(
                "key",
                Kind::Path,
                Said("none"),
                "The key of the certificate, in PEM.",
            ),
            option(
                "crl",
                Kind::Path,
                Said("none"),
                "The certificates that the CA has revoked, in PEM.",
            ),
            option(
                "tls_min",
                Word(&["1.2", "1.3"]),
                Is("1.2"),
                "The oldest version of TLS that is spoken.",
            ),
            option(
                "require_certificate",
                Bool,
                Is("0"),
                "Whether a client needs a certificate; needs `ca`.",
            ),
            option(
                "identity",
                Word(&["cn", "subject", "username"]),
                Said("`cn` with `require_certificate`, else `username`"),
                "Who a client is: its certificate's common name, its certificate's subject, or the user name of its \
                 CONNECT with the password.",
            ),
            option(
                "allow_anonymous",
                Bool,
                Is("0"),
                "Whether a client without a user name is accepted.",
            ),
            option(
                "max_connections",
                Count {
                    min: 1,
                    max: 65_535,
                },
                Is("1000"),
                "So many connections at once.",
            ),
            option(
                "mount_point",
                Kind::MountPoint,
                Said("none"),
                "Put before every topic of this listener's clients.",
            ),
            option(
                "max_qos",
                Word(&["0", "1", "2"]),
                Is("2"),
                "The highest QoS that this listener's clients publish with, and get. A client that sends more is closed.",
            ),
            option(
                "retain_available",
                Bool,
                Is("1"),
                "Whether this listener's clients may have messages retained. One that does it all the same is closed.",
            ),
            option(
                "max_topic_alias",
                Count { min: 0, max: 1_000 },
                Is("16"),
                "So many topic aliases an MQTT 5 client may set up.",
            ),
            list(
                "moved_to",
                Kind::Server,
                Said("none"),
                "Where clients find the bus now: they are told so, whoever they are, and closed.",
            ),
        ],
    },
    SectionTable {
        kind: "user",
        naming: Naming::Named("NAME"),
        doc: "What is known of a user beside the password, which is never in UCI: `fosquitto passwd` sets it.",
        options: &[
            option(
                "name",
                Kind::Name,
                Said("the section's name"),
                "The user name, if UCI cannot have it as a section's name.",
            ),
            list(
                "group",
                Kind::Name,
                Said("none"),
                "A group that the user is in, for `acl` sections.",
            ),
            list(
                "pin",
                Kind::Fingerprint,
                Said("any certificate"),
                "A certificate of which one must be shown, by the SHA-256 fingerprint that `openssl x509 -fingerprint -sha256` prints.",
            ),
        ],
    },
    SectionTable {
        kind: "acl",
        naming: Naming::Free,
        doc: "One rule of who may do what. The rules are asked in their order; the first one that matches decides, and \
              `acl_default` if none does.",
        options: &[
            list(
                "user",
                Kind::Name,
                Said("everyone"),
                "The rule is for this user.",
            ),
            list(
                "group",
                Kind::Name,
                Said("everyone"),
                "The rule is for the users of this group, beside those of `user`.",
            ),
            list(
                "listener",
                Kind::Name,
                Said("any"),
                "The rule is for the clients of this listener, `local` and `remote` included.",
            ),
            option(
                "access",
                Word(&["read", "write", "readwrite", "subscribe", "deny"]),
                Is("readwrite"),
                "What the rule is about: `read` is subscribing and receiving, `write` publishing, `subscribe` the \
                 subscribing alone; `deny` forbids everything.",
            ),
            list(
                "topic",
                Kind::Topic,
                Said("none: it is required"),
                "A topic filter; a level `%u` is the user name, a level `%c` the client id. A filter that begins with a \
                 wildcard does not mean topics that begin with `$`.",
            ),
            option(
                "action",
                Word(&["allow", "deny"]),
                Is("allow"),
                "Whether the rule allows or forbids.",
            ),
        ],
    },
    SectionTable {
        kind: "persistence",
        naming: Naming::Fixed("persistence"),
        doc: "What survives the process and a power cut, and what that may cost the flash.",
        options: &[
            option(
                "durability",
                Word(&["volatile", "interval", "commit"]),
                Is("interval"),
                "What an acknowledgement promises where no `durability` section matches: nothing but this process, to survive the \
                 end of the process (and a power cut but for the last `flush_interval`), or to survive a power cut.",
            ),
            option(
                "path",
                Kind::Path,
                Said("`/etc/fosquitto/fosquitto.db`"),
                "The database. Another path holds from the next start.",
            ),
            option(
                "flush_interval",
                Duration {
                    min_s: 1,
                    max_s: 86_400,
                },
                Is("30"),
                "So long changes of the class `interval` wait to be written together; what is added and removed meanwhile is never written. A message retained at QoS 0 is written when it is 12 seconds old (or half of this) or later, so that the reply of a foris controller never is.",
            ),
            option(
                "size_limit",
                Size {
                    min: DATABASE_MIN,
                    max: DISK_MAX,
                },
                Said("half of what its file system has free, 64M at most"),
                "The most bytes of the database. What has no room stays in memory only.",
            ),
            option(
                "daily_budget",
                Size {
                    min: 0,
                    max: DISK_MAX,
                },
                Is(DAILY_BUDGET),
                "So many bytes are written to the flash a day before `flush_interval` is stretched; nothing is dropped for it, and the \
                 class `commit` is not held back; 0: no bound. The default lets 4 MiB of SPI-NOR flash (64 blocks of 64 KiB, \
                 100,000 cycles each) last 28 years if its file system writes everything five times.",
            ),
        ],
    },
    SectionTable {
        kind: "durability",
        naming: Naming::Free,
        doc: "Topics whose messages have a class of their own. The sections are asked in their order; the first one that matches decides.",
        options: &[
            list(
                "topic",
                Kind::Filter,
                Said("none: it is required"),
                "A topic filter.",
            ),
            option(
                "class",
                Word(&["volatile", "interval", "commit"]),
                Said("none: it is required"),
                "What an acknowledgement of these messages promises, as in `persistence`.",
            ),
        ],
    },
    SectionTable {
        kind: "keeper",
        naming: Naming::Named("NAME"),
        doc: "Requests and replies that reach nobody who is connected: they wait for who is late, and then reach them once. Without a section \
              there is the keeper `foris`, for the router's own programs; a section `keeper 'foris'` changes it, and further ones add theirs.",
        options: &[
            option("enabled", Bool, Is("1"), "Whether it keeps anything."),
            list(
                "request",
                Kind::Filter,
                Said("none; of `foris`: its requests"),
                "A topic filter of messages that are kept while no subscriber is there.",
            ),
            option(
                "request_ttl",
                Duration {
                    min_s: 1,
                    max_s: KEEPER_TTL_MAX_S,
                },
                Is(REQUEST_TTL_S),
                "So long a request waits. Foris' client asks again after 5 s, or gives up: what came later would be done twice or for nobody.",
            ),
            list(
                "reply",
                Kind::Filter,
                Said("none; of `foris`: its replies"),
                "A topic filter of messages that are kept for a subscriber that comes later.",
            ),
            option(
                "reply_ttl",
                Duration {
                    min_s: 1,
                    max_s: KEEPER_TTL_MAX_S,
                },
                Is(REPLY_TTL_S),
                "So long a reply waits. Foris' client forgets after 30 s what it asked.",
            ),
        ],
    },
    BRIDGE,
    SectionTable {
        kind: "subordinate",
        naming: Naming::Named("ID"),
        doc: "A device whose controller is reached through this one. Written by the subordinates page. The \
              bus connects to it by the certificates in `/etc/fosquitto/bridges/ID` and forwards what foris asks and is told.",
        options: &[
            option("enabled", Bool, Is("1"), "Whether it is connected to."),
            option(
                "address",
                Kind::Ip,
                Said("found on the network"),
                "Its address.",
            ),
            option("port", Port, Is("11884"), "The port of its remote side."),
        ],
    },
    SectionTable {
        kind: "subsubordinate",
        naming: Naming::Named("ID"),
        doc: "A device that is reached through a subordinate: what foris asks it goes the same way.",
        options: &[
            option(
                "enabled",
                Bool,
                Is("1"),
                "Whether its messages are forwarded.",
            ),
            option(
                "via",
                Kind::Name,
                Said("none: it is required"),
                "The ID of the subordinate.",
            ),
        ],
    },
];
