//! The rows of the section `bridge`. Entered through `BRIDGE`; what a row's parts mean is said in the parent module.

use super::Absent::{Is, Said};
use super::Kind::{self, Bool, Count, Duration, Size, Word};
use super::table::{INFLIGHT_MAX, MEMORY_MAX, YEARS_100_S, list, option};
use super::{Naming, SectionTable};

/// A day without an answer is nobody's connection.
const WAIT_MAX_S: u64 = 86_400;

pub(super) const BRIDGE: SectionTable = SectionTable {
    kind: "bridge",
    naming: Naming::Named("NAME"),
    doc: "A connection to another broker, over which topics are forwarded. What is said here line by line is what mosquitto calls \
          `connection`, `address`, `topic` and so on; the bus goes on whatever becomes of the other side.",
    options: &[
        option("enabled", Bool, Is("1"), "Whether it is connected."),
        list(
            "address",
            Kind::Remote,
            Said("none: it is required"),
            "Where the other broker is: a name or an address, with a port if it is another than `port`. Several are tried one \
             after the other; the addresses of a name a quarter of a second after one another, until one is connected.",
        ),
        option(
            "port",
            Kind::RemotePort,
            Said("1883, with `tls` 8883"),
            "The port of an `address` without one.",
        ),
        option("tls", Bool, Is("0"), "Whether the connection is TLS."),
        option(
            "ca",
            Kind::Path,
            Said("the system's CAs"),
            "The CA certificates that the other broker's certificate is checked against, in PEM; a file or a directory.",
        ),
        option(
            "cert",
            Kind::Path,
            Said("none"),
            "The certificate that is shown to the other broker, with its chain, in PEM.",
        ),
        option(
            "key",
            Kind::Path,
            Said("none"),
            "The key of `cert`, in PEM.",
        ),
        list(
            "pin",
            Kind::Fingerprint,
            Said("none"),
            "A certificate of which the other broker must show one, by the SHA-256 fingerprint that `openssl x509 -fingerprint -sha256` \
             prints. Its name is not asked then, nor without `ca` who issued it and until when it is valid.",
        ),
        option(
            "verify_name",
            Bool,
            Is("1"),
            "Whether the other broker's certificate must be for the name that it is connected by. 0: any certificate of the CA will do.",
        ),
        option(
            "sni",
            Kind::Host,
            Said("the name in `address`"),
            "The name that the other broker is asked for in the TLS handshake, and that its certificate must be for.",
        ),
        list(
            "alpn",
            Kind::Alpn,
            Said("none"),
            "A protocol's name that is offered in the TLS handshake; some brokers have MQTT and the web on one port.",
        ),
        option(
            "tls_min",
            Word(&["1.2", "1.3"]),
            Is("1.2"),
            "The oldest version of TLS that is spoken.",
        ),
        option(
            "username",
            Kind::Name,
            Said("none"),
            "The user name at the other broker.",
        ),
        option(
            "password_file",
            Kind::Path,
            Said("none"),
            "A file whose first line is the password at the other broker.",
        ),
        option(
            "protocol",
            Word(&["auto", "5", "3.1.1"]),
            Is("auto"),
            "The version of MQTT; `auto`: 5, and 3.1.1 where the other broker does not know that.",
        ),
        option(
            "client_id",
            Kind::Name,
            Said("`NAME.HOSTNAME`"),
            "The client id at the other broker.",
        ),
        list(
            "topic",
            Kind::BridgeTopic,
            Said("none: it is required"),
            "`PATTERN [out or in or both [QOS [LOCAL_PREFIX [REMOTE_PREFIX]]]]`: what is forwarded, as in mosquitto's configuration. \
             `out` is to the other broker, and holds if nothing is said; the QoS is 0 then. The prefixes are put before the pattern on \
             their side, and are exchanged in the topics of messages; `\"\"` is an empty one. Of several lines with prefixes that match a \
             topic the first one translates it.",
        ),
        option(
            "clean_start",
            Bool,
            Is("0"),
            "Whether each connection begins without what the other broker has kept for it. What waits here waits all the same.",
        ),
        option(
            "session_expiry",
            Duration {
                min_s: 0,
                max_s: YEARS_100_S,
            },
            Is("7d"),
            "So long the other broker is asked to keep the session while the connection is lost (MQTT 5).",
        ),
        option(
            "keepalive",
            Duration {
                min_s: 5,
                max_s: 65_535,
            },
            Is("60"),
            "After so long without a packet the other broker is asked whether it is there. What is on its way to it may stay without a sign for half of that, \
             30 s at most and as a rule 10 at least, before the connection counts as dead.",
        ),
        option(
            "connect_timeout",
            Duration {
                min_s: 1,
                max_s: 300,
            },
            Is("15"),
            "A name must be resolved, a connection made and MQTT accepted within this time each.",
        ),
        option(
            "restart_timeout",
            Duration {
                min_s: 1,
                max_s: WAIT_MAX_S,
            },
            Is("5"),
            "So long it waits before it connects again, at first.",
        ),
        option(
            "restart_timeout_max",
            Duration {
                min_s: 1,
                max_s: WAIT_MAX_S,
            },
            Is("30"),
            "So long at most, after many attempts; each waits for a random time between `restart_timeout` and three times the last.",
        ),
        option(
            "bind_address",
            Kind::Ip,
            Said("the kernel's choice"),
            "The local address that it connects from.",
        ),
        option(
            "bind_device",
            Kind::Device,
            Said("the kernel's choice"),
            "The network device that it connects through.",
        ),
        option(
            "try_private",
            Bool,
            Is("1"),
            "Whether the other broker is told that this is a bridge, where MQTT 3.1.1 is spoken: then retained messages keep their flag and \
             none comes back. A broker that does not know it is connected to without.",
        ),
        option(
            "max_hops",
            Count { min: 1, max: 255 },
            Is("10"),
            "A message that has passed through so many bridges already is not forwarded (MQTT 5).",
        ),
        option(
            "retain_out",
            Bool,
            Is("1"),
            "Whether messages keep their retain flag on the way to the other broker.",
        ),
        option(
            "retain_in",
            Bool,
            Is("1"),
            "Whether messages of the other broker keep their retain flag.",
        ),
        option(
            "retain_handling",
            Word(&["always", "new", "never"]),
            Is("new"),
            "Whether the other broker sends what it has retained at each connection, where it has no session of this bridge any more, or \
             not at all (MQTT 5; in 3.1.1 always).",
        ),
        option(
            "notifications",
            Bool,
            Is("1"),
            "Whether a retained message tells that the bridge is connected (`1`) or not (`0`), here and at the other broker.",
        ),
        option(
            "notifications_local_only",
            Bool,
            Is("0"),
            "Whether that is told here only.",
        ),
        option(
            "notification_topic",
            Kind::TopicName,
            Said("here `$SYS/broker/connection/NAME/state`, there with the client id for the name"),
            "The topic that it is told on.",
        ),
        option(
            "queue_messages",
            Count {
                min: 1,
                max: 1_000_000,
            },
            Is("10000"),
            "So many messages wait for the connection; the oldest go first.",
        ),
        option(
            "queue_bytes",
            Size {
                min: 1 << 10,
                max: MEMORY_MAX,
            },
            Is("4M"),
            "So many bytes wait for the connection; a larger message waits alone.",
        ),
        option(
            "queue_ttl",
            Duration {
                min_s: 1,
                max_s: YEARS_100_S,
            },
            Said("no limit"),
            "So long a message with QoS 1 or 2 waits for the connection.",
        ),
        option(
            "qos0_queue_ttl",
            Duration {
                min_s: 0,
                max_s: YEARS_100_S,
            },
            Is("60"),
            "So long a message with QoS 0 waits for the connection; 0: not at all.",
        ),
        option(
            "max_inflight",
            Count {
                min: 1,
                max: INFLIGHT_MAX,
            },
            Is("20"),
            "So many messages with QoS 1 or 2 are on the way at once; fewer where the other broker says so.",
        ),
    ],
};
