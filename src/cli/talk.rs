//! `fosquitto pub` and `fosquitto sub`: small MQTT clients for scripts and hotplug. Entered through [`publish`] and [`subscribe`].
//!
//! They come as the router's own programs do unless options say otherwise. Both end with the connection: they try nothing twice, so that a
//! script knows what has happened from the exit status. They speak MQTT 5.0 unless told otherwise: in 3.1.1 the bus cannot say that it
//! has refused a message. `output` prints messages, `properties` are those that travel with them.

mod output;
mod properties;

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser};

use self::output::Format;
use self::properties::Given;
use super::bus::{self, Part, Way};
use super::client::{Client, Failure, Message, Opening, Packet};
use super::request::exchange::uuid;
use super::{FAULTS, OK, TIMED_OUT};
use crate::config::fault::Quoted;
use crate::mqtt::{ReasonCode, Version, topic};

const PUB_USAGE: &str = "\
Usage: fosquitto pub [OPTION...] -t TOPIC (-m TEXT | -f FILE | -s | -l | -n)

Publishes a message, and ends when the bus has it.

  -t, --topic TOPIC         the topic
  -m, --message TEXT        the payload
  -f, --file FILE           the payload is what stands in FILE ('-': standard input)
  -s, --stdin               the payload is what comes from standard input
  -l, --lines               each line from standard input is the payload of a message
  -n, --null                the payload is empty; with --retain that clears what is retained
  -q, --qos 0|1|2           how sure it shall be (default 0)
  -r, --retain              the bus keeps it for those who come later
      --expiry SECONDS      after so long nobody wants it any more
      --content-type TYPE   what the payload is, such as application/json
      --response-topic TOPIC  where an answer is expected
      --correlation TEXT    by what the answer is known
      --user-property NAME=VALUE  anything else; any number of them
";

const SUB_USAGE: &str = "\
Usage: fosquitto sub [OPTION...] -t FILTER [-t FILTER...]

Subscribes, and prints the messages that come, a line each.

  -t, --topic FILTER        the topics
  -q, --qos 0|1|2           the QoS to get them with (default 0)
  -c, --count NUMBER        end after so many messages
  -v, --verbose             print the topic before the payload
      --json                print a line of JSON for each message
      --format FORMAT       print this for each message: %t the topic, %p the payload, %q the QoS, %r whether it was retained (1 or 0),
                            %l the length of the payload, %n a line end, %% a percent sign
      --no-retained         leave out what was retained before
      --retained-only       end with the first message that was not
";

const USAGE_END: &str = "\
  -V, --protocol VERSION    the version of MQTT, 5 (the default) or 3.1.1, which has none of a message's properties
  -i, --client-id CLIENT    the client identifier (default: one by chance)
  -W, --timeout SECONDS     give up after so long (default: pub 30, sub never)
      --root DIR            take the router's paths below DIR (default /)
  -h, --help                show this

Exit status: 0 all went as asked, 1 it could not be done, 2 there was no answer or there were not so many messages in time.
";

/// The broker takes no larger packets by default.
const PAYLOAD_BYTES_MAX: u64 = 16 << 20;
/// How long a PUBLISH may take that has no timeout of its own, and CONNECT and SUBSCRIBE.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The bus closes after one and a half times so long without a packet; a ping is sent in half of it.
const KEEP_ALIVE_S: u16 = 60;
const PING_EVERY: Duration = Duration::from_secs(30);

/// Where a payload comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Text(Vec<u8>),
    File(PathBuf),
    Stdin,
    Lines,
}

/// What a command line asks for, of either command.
#[derive(Debug, Default)]
struct Talk {
    root: PathBuf,
    way: Way,
    topics: Vec<String>,
    source: Option<Source>,
    qos: u8,
    retain: bool,
    count: Option<u64>,
    timeout: Option<Duration>,
    client_id: Option<String>,
    format: Format,
    no_retained: bool,
    retained_only: bool,
    is_v3: bool,
    properties: Given,
}

/// Which command it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Pub,
    Sub,
}

/// Runs `fosquitto pub` with what follows its name.
pub fn publish(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    run(Which::Pub, root, arguments)
}

/// Runs `fosquitto sub` with what follows its name.
pub fn subscribe(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    run(Which::Sub, root, arguments)
}

fn run(which: Which, root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let (name, usage) = match which {
        Which::Pub => ("pub", PUB_USAGE),
        Which::Sub => ("sub", SUB_USAGE),
    };
    let talk = match parse(which, root, arguments) {
        Ok(Some(talk)) => talk,
        Ok(None) => return super::print(&format!("{usage}{}{USAGE_END}", bus::HELP)),
        Err(what) => {
            eprintln!("fosquitto {name}: {what}\nTry 'fosquitto {name} --help'.");
            return ExitCode::from(FAULTS);
        }
    };
    let done = match which {
        Which::Pub => talk.publish(),
        Which::Sub => talk.subscribe(),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(what) => {
            eprintln!("fosquitto {name}: {what}");
            ExitCode::from(FAULTS)
        }
    }
}

fn parse(which: Which, root: &Path, arguments: Vec<OsString>) -> Result<Option<Talk>, String> {
    let in_words = |error: lexopt::Error| error.to_string();
    let mut parser = Parser::from_args(arguments);
    let mut talk = Talk {
        root: root.to_owned(),
        ..Talk::default()
    };
    let is_pub = which == Which::Pub;
    while let Some(argument) = parser.next().map_err(in_words)? {
        if let Some(part) = Part::of(&argument) {
            let value = part.value(&mut parser)?;
            talk.way.take(part, value)?;
            continue;
        }
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("root") => talk.root = parser.value().map_err(in_words)?.into(),
            Arg::Short('r') | Arg::Long("retain") if is_pub => talk.retain = true,
            Arg::Short('s') | Arg::Long("stdin") if is_pub => talk.say(Source::Stdin)?,
            Arg::Short('l') | Arg::Long("lines") if is_pub => talk.say(Source::Lines)?,
            Arg::Short('n') | Arg::Long("null") if is_pub => talk.say(Source::Text(Vec::new()))?,
            Arg::Short('f') | Arg::Long("file") if is_pub => {
                let file = PathBuf::from(parser.value().map_err(in_words)?);
                talk.say(match file.as_os_str() == "-" {
                    true => Source::Stdin,
                    false => Source::File(file),
                })?;
            }
            Arg::Short('v') | Arg::Long("verbose") if !is_pub => talk.format = Format::Topic,
            Arg::Long("json") if !is_pub => talk.format = Format::Json,
            Arg::Long("no-retained") if !is_pub => talk.no_retained = true,
            Arg::Long("retained-only") if !is_pub => talk.retained_only = true,
            other => match option(&other, is_pub) {
                Some(option) => {
                    let value = parser.value().map_err(in_words)?;
                    let lossy = value.to_string_lossy().into_owned();
                    let value = value.into_string();
                    let value = value.map_err(|_| format!("{} is not UTF-8", Quoted(&lossy)))?;
                    talk.set(option, value)?;
                }
                None => return Err(other.unexpected().to_string()),
            },
        }
    }
    talk.check(which)?;
    Ok(Some(talk))
}

/// The name of an option that has a text for its value.
fn option(argument: &Arg<'_>, is_pub: bool) -> Option<&'static str> {
    Some(match argument {
        Arg::Short('t') | Arg::Long("topic") => "topic",
        Arg::Short('q') | Arg::Long("qos") => "qos",
        Arg::Short('i') | Arg::Long("client-id") => "client-id",
        Arg::Short('W') | Arg::Long("timeout") => "timeout",
        Arg::Short('V') | Arg::Long("protocol") => "protocol",
        Arg::Short('m') | Arg::Long("message") if is_pub => "message",
        Arg::Long("expiry") if is_pub => "expiry",
        Arg::Long("content-type") if is_pub => "content-type",
        Arg::Long("response-topic") if is_pub => "response-topic",
        Arg::Long("correlation") if is_pub => "correlation",
        Arg::Long("user-property") if is_pub => "user-property",
        Arg::Short('c') | Arg::Long("count") if !is_pub => "count",
        Arg::Long("format") if !is_pub => "format",
        _ => return None,
    })
}

impl Talk {
    fn say(&mut self, source: Source) -> Result<(), String> {
        match self.source.replace(source) {
            None => Ok(()),
            Some(_) => Err("only one payload can be given".into()),
        }
    }

    fn set(&mut self, option: &str, value: String) -> Result<(), String> {
        let number = || value.parse::<u64>().ok().filter(|number| *number > 0);
        let wrong = |what: &str| format!("--{option} {} is not {what}", Quoted(&value));
        match option {
            "topic" => self.topics.push(value),
            "message" => self.say(Source::Text(value.into_bytes()))?,
            "client-id" => self.client_id = Some(value),
            "format" => self.format = Format::Own(value),
            "qos" => {
                let qos = value.parse().ok().filter(|qos| *qos <= 2);
                self.qos = qos.ok_or_else(|| wrong("0, 1 or 2"))?;
            }
            "count" => self.count = Some(number().ok_or_else(|| wrong("a number above 0"))?),
            "protocol" => {
                // The words are those of mosquitto_pub besides.
                self.is_v3 = match value.as_str() {
                    "5" | "5.0" | "mqttv5" => false,
                    "3.1.1" | "311" | "mqttv311" => true,
                    _ => return Err(wrong("5 or 3.1.1")),
                }
            }
            "expiry" | "content-type" | "response-topic" | "correlation" | "user-property" => {
                let is_taken = self.properties.take(option, &value);
                is_taken.map_err(wrong)?;
            }
            _ => {
                let seconds: Option<f64> = value.parse().ok();
                let seconds = seconds.filter(|it| *it > 0.0 && *it <= 1e9);
                let seconds = seconds.ok_or_else(|| wrong("a number of seconds"))?;
                self.timeout = Some(Duration::from_secs_f64(seconds));
            }
        }
        Ok(())
    }

    fn check(&self, which: Which) -> Result<(), String> {
        let is_valid = match which {
            Which::Pub => topic::is_name,
            Which::Sub => |filter: &str| topic::subscribed(filter).is_some(),
        };
        if let Some(wrong) = self.topics.iter().find(|topic| !is_valid(topic)) {
            return Err(format!("{} is not a topic here", Quoted(wrong)));
        }
        if self.is_v3 && self.properties != Given::default() {
            return Err("messages have no properties in MQTT 3.1.1".into());
        }
        match (which, self.topics.len(), &self.source) {
            (_, 0, _) => Err("--topic is missing".into()),
            (Which::Pub, 2.., _) => Err("only one topic can be given".into()),
            (Which::Pub, _, None) => {
                Err("the payload is missing: --message TEXT, for example".into())
            }
            _ => Ok(()),
        }
    }

    /// Connects; `None`: not in time.
    fn connect(&self, until: Instant) -> Result<Option<Client>, String> {
        let login = self.way.login(&self.root)?;
        let endpoint = self.way.endpoint(&self.root)?;
        let chosen = match &self.client_id {
            Some(client_id) => client_id.clone(),
            None => format!("fosquitto-{}", uuid()?),
        };
        let opening = Opening {
            version: match self.is_v3 {
                true => Version::V3_1_1,
                false => Version::V5,
            },
            client_id: &chosen,
            clean_session: true,
            keep_alive_s: KEEP_ALIVE_S,
            login: login.as_ref(),
        };
        match Client::connect(&endpoint, &opening, until) {
            Ok((client, _)) => Ok(Some(client)),
            Err(failure) if Instant::now() < until => Err(format!("{endpoint}: {failure}")),
            Err(failure) => {
                eprintln!("{endpoint}: {failure}");
                Ok(None)
            }
        }
    }

    fn publish(&self) -> Result<u8, String> {
        let payloads = self.payloads()?;
        let until = Instant::now() + self.timeout.unwrap_or(TIMEOUT);
        let Some(mut client) = self.connect(until)? else {
            return Ok(TIMED_OUT);
        };
        for (payload, id) in payloads.into_iter().zip((1..=u16::MAX).cycle()) {
            let message = Message {
                topic: self.topics[0].clone(),
                payload,
                qos: self.qos,
                retain: self.retain,
                dup: false,
                packet_id: if self.qos > 0 { id } else { 0 },
                expiry_s: self.properties.expiry_s,
                properties: self.properties.encoded(),
            };
            match send(&mut client, &message, until).map_err(|it| it.to_string())? {
                Some(reason) if reason.is_error() => return Err(refusal(reason)),
                Some(_) => {}
                None => {
                    eprintln!("fosquitto pub: the bus has not answered in time");
                    return Ok(TIMED_OUT);
                }
            }
        }
        // The answer to a ping says that what was sent before has been read.
        client.ping().map_err(|failure| failure.to_string())?;
        let is_it = |packet: &Packet| (*packet == Packet::Pingresp).then_some(());
        let answered = wait(&mut client, until, is_it);
        match answered.map_err(|failure| failure.to_string())? {
            Some(()) => {
                // An error means that the connection is gone already.
                let _ = client.disconnect();
                Ok(OK)
            }
            None => Ok(TIMED_OUT),
        }
    }

    /// The payloads, all of which are there before anything is sent.
    fn payloads(&self) -> Result<Vec<Vec<u8>>, String> {
        let stdin = || {
            let mut bytes = Vec::new();
            let read = io::stdin()
                .take(PAYLOAD_BYTES_MAX + 1)
                .read_to_end(&mut bytes);
            read.map_err(|error| format!("standard input: {error}"))?;
            match bytes.len() as u64 > PAYLOAD_BYTES_MAX {
                true => Err("standard input: more than 16 MiB".to_owned()),
                false => Ok(bytes),
            }
        };
        Ok(match &self.source {
            None => Vec::new(),
            Some(Source::Text(text)) => vec![text.clone()],
            Some(Source::Stdin) => vec![stdin()?],
            Some(Source::Lines) => {
                let bytes = stdin()?;
                let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                match text.is_empty() {
                    true => Vec::new(),
                    false => text
                        .split(|byte| *byte == b'\n')
                        .map(<[u8]>::to_vec)
                        .collect(),
                }
            }
            Some(Source::File(file)) => {
                let read = fs::read(file);
                vec![read.map_err(|error| format!("{}: {error}", file.display()))?]
            }
        })
    }

    fn subscribe(&self) -> Result<u8, String> {
        let until = self.timeout.map(|timeout| Instant::now() + timeout);
        let soon = Instant::now() + TIMEOUT;
        let soon = until.map_or(soon, |until| until.min(soon));
        let Some(mut client) = self.connect(soon)? else {
            return Ok(TIMED_OUT);
        };
        let filters: Vec<(&str, u8)> = self
            .topics
            .iter()
            .map(|it| (it.as_str(), self.qos))
            .collect();
        let words = |failure: Failure| failure.to_string();
        client.subscribe(&filters).map_err(words)?;
        let mut out = io::stdout();
        let is_terminal = out.is_terminal();
        let (mut left, mut ping_at) = (self.count, Instant::now() + PING_EVERY);
        loop {
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(TIMED_OUT);
            }
            let next = until.map_or(ping_at, |until| until.min(ping_at));
            match client.receive(next).map_err(words)? {
                Some(Packet::Suback(_, codes)) => {
                    if let Some(code) = codes.into_iter().find(|code| *code >= 0x80) {
                        return Err(refused_subscription(ReasonCode(code)));
                    }
                }
                Some(Packet::Publish(message)) => {
                    if self.retained_only && !message.retain {
                        return Ok(OK);
                    }
                    if self.no_retained && message.retain {
                        continue;
                    }
                    let text = self.format.printed(&message, is_terminal);
                    if out.write_all(&text).and_then(|()| out.flush()).is_err() {
                        // Whoever read it has gone, as `head` does.
                        return Ok(FAULTS);
                    }
                    left = left.map(|left| left - 1);
                    if left == Some(0) {
                        // An error means that the connection is gone already.
                        let _ = client.disconnect();
                        return Ok(OK);
                    }
                }
                Some(_) => {}
                None if Instant::now() >= ping_at => {
                    client.ping().map_err(words)?;
                    ping_at = Instant::now() + PING_EVERY;
                }
                None => {}
            }
        }
    }
}

/// Sends a message, and waits until the bus has it or refuses it; `None`: neither in time.
fn send(
    client: &mut Client,
    message: &Message,
    until: Instant,
) -> Result<Option<ReasonCode>, Failure> {
    client.publish(message)?;
    let id = message.packet_id;
    match message.qos {
        0 => Ok(Some(ReasonCode::SUCCESS)),
        1 => wait(client, until, |packet| match packet {
            Packet::Puback(acknowledged, reason) => (*acknowledged == id).then_some(*reason),
            _ => None,
        }),
        _ => {
            let received = wait(client, until, |packet| match packet {
                Packet::Pubrec(received, reason) => (*received == id).then_some(*reason),
                _ => None,
            })?;
            if received.is_none_or(ReasonCode::is_error) {
                return Ok(received);
            }
            client.release(id)?;
            let is_it = |packet: &Packet| (*packet == Packet::Pubcomp(id)).then_some(());
            let completed = wait(client, until, is_it)?;
            Ok(completed.and(received))
        }
    }
}

fn refusal(reason: ReasonCode) -> String {
    match reason {
        ReasonCode::NOT_AUTHORIZED => {
            "the bus denies the message; 'fosquitto why' says by which rule".into()
        }
        other => format!("the bus refuses the message: {other}"),
    }
}

fn refused_subscription(reason: ReasonCode) -> String {
    match reason {
        // 3.1.1 has one code for all.
        ReasonCode::NOT_AUTHORIZED | ReasonCode::UNSPECIFIED_ERROR => {
            "the bus denies the subscription; 'fosquitto why' says by which rule".into()
        }
        other => format!("the bus refuses the subscription: {other}"),
    }
}

/// Waits for a packet, and gives what it says; `None`: it did not come in time.
fn wait<T>(
    client: &mut Client,
    until: Instant,
    is_it: impl Fn(&Packet) -> Option<T>,
) -> Result<Option<T>, Failure> {
    while let Some(packet) = client.receive(until)? {
        if let Some(said) = is_it(&packet) {
            return Ok(Some(said));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_is_not_understood() {
        let parsed = |which, line: &str| {
            let words = line.split_whitespace().map(OsString::from);
            parse(which, Path::new("/"), words.collect()).map(|talk| talk.is_some())
        };
        assert_eq!(parsed(Which::Pub, "-t a -m x -q 2 -r"), Ok(true));
        assert_eq!(parsed(Which::Sub, "-t a/# -t b -c 1 -W 0.5 -v"), Ok(true));
        assert_eq!(parsed(Which::Sub, "-t a -V mqttv311"), Ok(true));
        assert_eq!(
            parsed(Which::Pub, "-t a -n --user-property a=b=c"),
            Ok(true)
        );
        assert_eq!(parsed(Which::Sub, "--help"), Ok(false));
        for (which, line) in [
            (Which::Pub, "-m x"),
            (Which::Pub, "-t a"),
            (Which::Pub, "-t a/# -m x"),
            (Which::Pub, "-t a -t b -m x"),
            (Which::Pub, "-t a -m x -s"),
            (Which::Pub, "-t a -m x -q 3"),
            (Which::Pub, "-t a -m x -c 1"),
            (Which::Pub, "-t a -m x -V 4"),
            (Which::Pub, "-t a -m x -V 3.1.1 --expiry 1"),
            (Which::Pub, "-t a -m x --expiry soon"),
            (Which::Pub, "-t a -m x --user-property a"),
            (Which::Pub, "-t a -m x --response-topic a/#"),
            (Which::Sub, "-t a --expiry 1"),
            (Which::Sub, "-t a#"),
            (Which::Sub, "-t a -c 0"),
            (Which::Sub, "-t a -W soon"),
            (Which::Sub, "-t a -r"),
            (Which::Sub, "-t a b"),
        ] {
            assert!(parsed(which, line).is_err(), "{line}");
        }
    }
}
