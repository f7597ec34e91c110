//! `fosquitto-monitor`: shows what foris controllers say on the bus, with the options and the output of the program of that name that Turris OS
//! has. Entered through [`run`], as `fosquitto monitor` or under the other name (`cli::run` sees to that).
//!
//! It differs where the original ends with a trace of its calls: here an error is a line on standard error, and a message that it could not
//! make sense of is passed over. What would command a terminal is escaped. It does not wait longer and longer for a bus that has gone.

mod json;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use self::json::Json;
use super::bus::{Part, Way};
use super::client::{Client, Endpoint, Failure, Login, Message, Opening, Packet};
use super::request::exchange::uuid;
use crate::config::fault::Quoted;
use crate::config::uci;
use crate::log::Printable;
use crate::mqtt::{Version, topic};
use lexopt::{Arg, Parser};

/// The other name of the program.
pub const NAME: &str = "fosquitto-monitor";

const USAGE: &str = "\
usage: fosquitto-monitor [-h] [-H HOST] [-P PORT] [-F PASSWD_FILE] {listen,detect,list,schemas} ...

options:
  -h, --help            show this help message and exit
  -H HOST, --host HOST
  -P PORT, --port PORT
  -F PASSWD_FILE, --passwd-file PASSWD_FILE
                        path to passwd file (first record will be used to authenticate)

commands:
  listen [-a] [-f ID [ID ...]]             listen for messages on the bus
    -a, --show-advertize                     display advertize messages
    -f, --filter-ids ID [ID ...]             display only messages containing specified ids
  detect [-t SECONDS]                      detects ids of connected devices
    -t, --timeout SECONDS                    end after so long
  list -i ID [-m MODULE [MODULE ...]]      print list of modules and actions
    -i, --device-id ID                       device id - obtained via detect cmd
    -m, --filter-modules MODULE [MODULE ...] display only data regarding specific modules
  schemas -i ID                            prints current json schemas
    -i, --device-id ID                       device id - obtained via detect cmd
";

/// So long an answer may take, and a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const KEEP_ALIVE_S: u16 = 30;
const PING_EVERY: Duration = Duration::from_secs(15);
/// A bus that has gone is tried again so often.
const RETRY: Duration = Duration::from_secs(1);

const NO_ANSWER: &str = "No answer recieved.";
const NO_LIST: &str = "The answer is no list.";

/// What controllers send to say that they are there, each below its own id.
const ADVERTIZE: &str = "foris-controller/+/notification/remote/action/advertize";

/// What the command line asks for.
#[derive(Debug, Default, PartialEq)]
struct Line {
    root: PathBuf,
    host: Option<String>,
    port: Option<u16>,
    way: Way,
    command: String,
    show_advertize: bool,
    ids: Vec<String>,
    timeout: Option<Duration>,
    device: Option<String>,
    modules: Vec<String>,
}

/// Runs the monitor with what follows its name. Exit status 2 if that is not understood, 1 for all else that goes wrong.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let line = match parse(root, arguments) {
        Ok(Some(line)) => line,
        Ok(None) => return super::print(USAGE),
        Err(what) => {
            eprintln!("{USAGE}{NAME}: error: {what}");
            return ExitCode::from(super::USAGE);
        }
    };
    match line.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("Exception: {what}");
            ExitCode::from(super::FAULTS)
        }
    }
}

fn parse(root: &Path, arguments: Vec<OsString>) -> Result<Option<Line>, String> {
    let in_words = |error: lexopt::Error| error.to_string();
    let text = |value: OsString| {
        let lossy = value.to_string_lossy().into_owned();
        value
            .into_string()
            .map_err(|_| format!("{} is no UTF-8", Quoted(&lossy)))
    };
    let mut parser = Parser::from_args(arguments);
    let mut line = Line {
        root: root.to_owned(),
        ..Line::default()
    };
    while let Some(argument) = parser.next().map_err(in_words)? {
        let command = line.command.as_str();
        match (argument, command) {
            (Arg::Short('h') | Arg::Long("help"), _) => return Ok(None),
            (Arg::Long("root"), "") => line.root = parser.value().map_err(in_words)?.into(),
            (Arg::Short('H') | Arg::Long("host"), "") => {
                line.host = Some(text(parser.value().map_err(in_words)?)?);
            }
            (Arg::Short('P') | Arg::Long("port"), "") => {
                let value = text(parser.value().map_err(in_words)?)?;
                let port = value.parse::<u16>();
                let port = port.map_err(|_| format!("invalid port: {}", Quoted(&value)))?;
                line.port = Some(port).filter(|port| *port > 0);
            }
            (Arg::Short('F') | Arg::Long("passwd-file"), "") => {
                let value = parser.value().map_err(in_words)?;
                line.way.take(Part::PasswordFile, value)?;
            }
            (Arg::Short('a') | Arg::Long("show-advertize"), "listen") => line.show_advertize = true,
            (Arg::Short('f') | Arg::Long("filter-ids"), "listen") => {
                let ids = parser.values().map_err(in_words)?;
                line.ids = ids.map(text).collect::<Result<_, _>>()?;
            }
            (Arg::Short('m') | Arg::Long("filter-modules"), "list") => {
                let modules = parser.values().map_err(in_words)?;
                line.modules = modules.map(text).collect::<Result<_, _>>()?;
            }
            (Arg::Short('i') | Arg::Long("device-id"), "list" | "schemas") => {
                line.device = Some(text(parser.value().map_err(in_words)?)?);
            }
            (Arg::Short('t') | Arg::Long("timeout"), "detect") => {
                let value = text(parser.value().map_err(in_words)?)?;
                line.timeout = timeout(&value)?;
            }
            (Arg::Value(word), "") => line.command = text(word)?,
            (other, _) => return Err(other.unexpected().to_string()),
        }
    }
    line.check().map(|()| Some(line))
}

/// How long to listen: not at all if it is negative, and for ever if it is 0.
fn timeout(value: &str) -> Result<Option<Duration>, String> {
    let seconds = value.parse::<f64>().ok().filter(|it| *it < 1e9);
    let wrong = || format!("invalid timeout: {}", Quoted(value));
    let seconds = seconds.ok_or_else(wrong)?;
    Ok((seconds != 0.0).then(|| Duration::from_secs_f64(seconds.max(0.0))))
}

impl Line {
    fn check(&self) -> Result<(), String> {
        let is_name = |name: &String| topic::is_name(name) && !name.contains('/');
        match self.command.as_str() {
            "listen" | "detect" => Ok(()),
            "list" | "schemas" => match &self.device {
                None => Err("the following arguments are required: -i/--device-id".into()),
                Some(device) if is_name(device) && self.modules.iter().all(is_name) => Ok(()),
                Some(_) => Err("an id or a module has a '/', '+' or '#' in it".into()),
            },
            "" => Err("the following arguments are required: command".into()),
            other => Err(format!("invalid choice: {}", Quoted(other))),
        }
    }

    fn execute(&self) -> Result<(), String> {
        let (host, port) = self.place();
        let bus = Bus {
            login: self.way.login(&self.root)?,
            endpoint: Endpoint::Tcp(host.clone(), port),
        };
        match self.command.as_str() {
            "listen" => self.listen(&bus, &format!("{host}:{port}")),
            "detect" => detect(&bus, self.timeout),
            "list" => self.list(&bus),
            _ => self.schemas(&bus),
        }
    }

    /// Where the router's controllers find the bus.
    fn place(&self) -> (String, u16) {
        let path = self.root.join("etc/config/foris-controller");
        let (package, _) = uci::read(&fs::read(path).unwrap_or_default());
        let mqtt = package.sections.iter().find(|section| {
            let name = section.name.as_ref();
            name.is_some_and(|name| name.text == "mqtt")
        });
        let option = |name: &str| mqtt.and_then(|section| section.text(name));
        let port = option("port").and_then(|port| port.parse().ok());
        let host = self.host.clone().or(option("host").map(str::to_owned));
        (
            host.unwrap_or_else(|| "localhost".to_owned()),
            self.port.or(port).unwrap_or(11_883),
        )
    }

    fn listen(&self, bus: &Bus, place: &str) -> Result<(), String> {
        let mut client = bus.connect()?;
        say(&format!("Connecting to host {place}.\n"))?;
        // The original's packet ids go on from one connection to the next.
        for id in (1..=u16::MAX).cycle() {
            say("Connected.\n")?;
            let words = |failure: Failure| failure.to_string();
            client
                .subscribe(&[("foris-controller/#", 0)])
                .map_err(words)?;
            let lost = each_packet(&mut client, None, |packet| match packet {
                Packet::Suback(..) => say(&format!("Subscribed to mid='{id}'.\n")),
                Packet::Publish(message) if self.shows(&message.topic) => say(&shown(&message)),
                _ => Ok(()),
            });
            match lost {
                Err(Ended::Gone) => {}
                Err(Ended::Failed(what)) => return Err(what),
                Ok(()) => return Ok(()),
            }
            client = loop {
                thread::sleep(RETRY);
                if let Ok(client) = bus.connect() {
                    break client;
                }
            };
        }
        Ok(())
    }

    fn shows(&self, name: &str) -> bool {
        let mut levels = name.split('/').skip(1);
        let id = levels.next().unwrap_or_default();
        let rest = levels.collect::<Vec<_>>().join("/");
        let is_advertize =
            !id.is_empty() && rest.starts_with("notification/remote/action/advertize");
        let is_wanted = self.ids.is_empty() || self.ids.iter().any(|wanted| wanted == id);
        is_wanted && (self.show_advertize || !is_advertize)
    }

    fn list(&self, bus: &Bus) -> Result<(), String> {
        let device = self.device.as_deref().unwrap_or_default();
        if self.modules.is_empty() {
            let Json::List(modules) = bus.query(device, "list")? else {
                return Err(NO_LIST.to_owned());
            };
            for module in &modules {
                let name = module.member("name").ok_or(NO_LIST)?;
                let actions = module.member("actions").and_then(Json::iterated);
                say(&actions_of(&name.text(), &actions.ok_or(NO_LIST)?))?;
            }
            return Ok(());
        }
        for module in &self.modules {
            let reply = bus.query(device, &format!("request/{module}/list"))?;
            say(&actions_of(module, &reply.iterated().ok_or(NO_LIST)?))?;
        }
        Ok(())
    }

    fn schemas(&self, bus: &Bus) -> Result<(), String> {
        let device = self.device.as_deref().unwrap_or_default();
        say(&format!(
            "{}\n",
            bus.query(device, "jsonschemas")?.indented()
        ))
    }
}

/// A module's actions, a line each, and an empty one.
fn actions_of(module: &str, actions: &[String]) -> String {
    let lines = actions.iter().map(|action| {
        let line = format!("{module}.{action}");
        format!("{}\n", Printable(&line))
    });
    format!("{}\n", lines.collect::<String>())
}

/// A message between its two lines.
fn shown(message: &Message) -> String {
    let frame = "=".repeat(21);
    let name = Printable(&message.topic);
    let title = format!("{frame} message recieved for '{name}' {frame}");
    let content = match Json::read(&message.payload) {
        Some(value) => value.indented(),
        None => json::bytes_literal(&message.payload),
    };
    let end = "=".repeat(title.chars().count());
    format!("{title}\n{content}\n{end}\n")
}

/// Prints ids of controllers that say that they run, each once.
fn detect(bus: &Bus, timeout: Option<Duration>) -> Result<(), String> {
    let until = timeout.map(|timeout| Instant::now() + timeout);
    let mut known = HashSet::new();
    loop {
        let mut client = bus.connect()?;
        let words = |failure: Failure| failure.to_string();
        client.subscribe(&[(ADVERTIZE, 0)]).map_err(words)?;
        let lost = each_packet(&mut client, until, |packet| {
            let Packet::Publish(message) = packet else {
                return Ok(());
            };
            let said = Json::read(&message.payload);
            let data = said.as_ref().and_then(|said| said.member("data"));
            let member = |name: &str| data.and_then(|data| data.member(name));
            match (member("state"), member("id")) {
                (Some(state), Some(id @ (Json::Text(_) | Json::Plain(_))))
                    if state.is_truthy() && known.insert(id.text()) =>
                {
                    say(&format!("{}\n", Printable(&id.text())))
                }
                _ => Ok(()),
            }
        });
        match lost {
            Ok(()) => return Ok(()),
            Err(Ended::Failed(what)) => return Err(what),
            Err(Ended::Gone) => thread::sleep(RETRY),
        }
    }
}

/// Why no more packets come.
enum Ended {
    /// The bus has gone.
    Gone,
    /// Something else.
    Failed(String),
}

/// Takes packets until a moment, and shows the bus that it is there.
fn each_packet(
    client: &mut Client,
    until: Option<Instant>,
    mut take: impl FnMut(Packet) -> Result<(), String>,
) -> Result<(), Ended> {
    let mut ping_at = Instant::now() + PING_EVERY;
    loop {
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(());
        }
        let next = until.map_or(ping_at, |until| until.min(ping_at));
        match client.receive(next) {
            Ok(Some(packet)) => take(packet).map_err(Ended::Failed)?,
            Ok(None) if Instant::now() >= ping_at => {
                client.ping().map_err(|_| Ended::Gone)?;
                ping_at = Instant::now() + PING_EVERY;
            }
            Ok(None) => {}
            Err(_) => return Err(Ended::Gone),
        }
    }
}

/// Where the bus is, and as whom the monitor comes.
struct Bus {
    endpoint: Endpoint,
    login: Option<Login>,
}

impl Bus {
    fn connect(&self) -> Result<Client, String> {
        let client_id = format!("{NAME}-{}", uuid()?);
        let opening = Opening {
            version: Version::V3_1_1,
            client_id: &client_id,
            clean_session: true,
            keep_alive_s: KEEP_ALIVE_S,
            login: self.login.as_ref(),
        };
        let until = Instant::now() + CONNECT_TIMEOUT;
        let connected = Client::connect(&self.endpoint, &opening, until);
        let (client, _) = connected.map_err(|failure| format!("{}: {failure}", self.endpoint))?;
        Ok(client)
    }

    /// Asks a controller, and waits for the reply.
    fn query(&self, device: &str, below: &str) -> Result<Json, String> {
        let id = uuid()?;
        let until = Instant::now() + ANSWER_TIMEOUT;
        let words = |failure: Failure| failure.to_string();
        let mut client = self.connect()?;
        let reply = format!("foris-controller/{device}/reply/{id}");
        client.subscribe(&[(&reply, 0)]).map_err(words)?;
        while let Some(packet) = client.receive(until).map_err(words)? {
            match packet {
                Packet::Suback(..) => client
                    .publish(&Message {
                        topic: format!("foris-controller/{device}/{below}"),
                        payload: format!("{{\"reply_msg_id\": \"{id}\"}}").into_bytes(),
                        ..Message::default()
                    })
                    .map_err(words)?,
                Packet::Publish(message) => {
                    let Some(reply) = Json::read(&message.payload) else {
                        continue;
                    };
                    // An error means that the connection is gone already.
                    let _ = client.disconnect();
                    let is_none = reply == Json::Plain("null".to_owned());
                    return if is_none {
                        Err(NO_ANSWER.into())
                    } else {
                        Ok(reply)
                    };
                }
                _ => {}
            }
        }
        Err(NO_ANSWER.into())
    }
}

/// Prints at once.
fn say(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> Result<Option<Line>, String> {
        parse(Path::new("/r"), words.iter().map(OsString::from).collect())
    }

    #[test]
    fn options_are_those_of_the_original() {
        let listen = line(&["-H", "h", "-P", "1", "listen", "-a", "-f", "A", "B"]);
        let listen = listen.expect("understood").expect("no help");
        assert_eq!((listen.host.as_deref(), listen.port), (Some("h"), Some(1)));
        assert!(listen.show_advertize);
        assert_eq!(listen.ids, ["A", "B"]);
        let list = line(&["list", "-m", "web", "lan", "--device-id", "A"]);
        let list = list.expect("understood").expect("no help");
        assert_eq!(list.modules, ["web", "lan"]);
        let detect = line(&["detect", "-t", "0.5"])
            .expect("understood")
            .expect("no help");
        assert_eq!(detect.timeout, Some(Duration::from_millis(500)));
        for wrong in [
            &[][..],
            &["look"],
            &["list"],
            &["listen", "-i", "A"],
            &["list", "-i", "A/#"],
            &["detect", "-t", "soon"],
            &["listen", "-f"],
        ] {
            assert!(line(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_message_stands_between_its_title_and_as_many_signs() {
        let message = Message {
            topic: "foris-controller/A/x".into(),
            payload: b"{\"a\":1}".to_vec(),
            ..Message::default()
        };
        let said = shown(&message);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines[0],
            "===================== message recieved for 'foris-controller/A/x' ====================="
        );
        assert_eq!(lines[1..4], ["{", "  \"a\": 1", "}"]);
        assert_eq!(lines[4], "=".repeat(lines[0].len()));
    }
}
