//! One request of foris' protocol, from the subscription to the last trace that it leaves. Entered through [`Exchange::run`], then
//! [`Exchange::clean_up`].
//!
//! The steps: 1 subscribe to the topic of the reply, 2 publish the request, 3 the controller gets it, 4 it publishes the reply, retained,
//! 5 the reply comes, 6 unsubscribe. The bus may go away and come back between any two of them, with what it had or without:
//!
//! - Nothing is published before the subscription is acknowledged, and it is subscribed again on each connection, which brings a
//!   reply that is retained. The session is a persistent one, so that a reply that comes meanwhile is kept for it.
//! - The request has QoS 2: it is published until the bus has it, and once if the bus remembers the session.
//! - When the answer is late, or the bus has forgotten the session, the controller is asked for its `working_replies`. If it does not
//!   work on the request, a reply is looked for once more, and then the request is published again. A controller that does not
//!   know that question says it in its advertisement.
//! - In the end a connection with a clean session takes the session away, and clears what the controller would leave retained.
//!
//! It knows nothing of command lines, files and output.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::client::{Client, Endpoint, Failure, Login, Message, Opening, Packet};
use crate::mqtt::Version;

/// The answer is late after so long, as for foris' own client.
const LATE: Duration = Duration::from_secs(5);
/// A question without an answer is asked again after so long: a controller that has lost its connection is back after a second or more.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// A controller that advertises itself for so long after a question, and does not answer it, does not know it.
const UNKNOWN_QUESTION: Duration = Duration::from_secs(3);
/// A bus that restarts is back after 300 ms; one that does not come back is asked ever more seldom.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// So long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The bus closes after one and a half times so long without a packet; a ping is sent in half of it.
const KEEP_ALIVE_S: u16 = 30;
const PING_EVERY: Duration = Duration::from_secs(15);
/// So long the traces may take to be removed after the answer.
const CLEAN_UP: Duration = Duration::from_secs(5);
/// How soon a signal to give up is seen.
const GLANCE: Duration = Duration::from_millis(200);

/// What is asked of whom.
pub struct Question {
    /// The controller's id.
    pub controller: String,
    /// The topic below the controller's: `request/MODULE/action/ACTION`.
    pub topic: String,
    /// The data as JSON, if the request has any.
    pub data: Option<String>,
}

/// How it ends.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The reply's payload.
    Answer(Vec<u8>),
    /// The time is over; why nothing came.
    TimedOut(String),
    /// It could not be asked, and could not be later.
    Failed(String),
    /// Somebody does not want to wait any more.
    GivenUp,
}

/// Where the request is, of which the bus shall have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publication {
    /// It has to be published.
    Unsent,
    /// The bus may have it.
    Sent,
    /// The bus has it, and has to be told that this is known.
    Received,
    /// The bus has it.
    Complete,
}

/// The question whether the request is worked on.
struct Pending {
    /// The topic of its answer.
    topic: String,
    first_asked: Instant,
}

/// One request.
pub struct Exchange<'a> {
    endpoint: Endpoint,
    /// Reads who connects, anew for each connection.
    login: &'a dyn Fn() -> Result<Option<Login>, String>,
    give_up: &'a AtomicBool,
    deadline: Instant,
    id: String,
    client_id: String,
    /// `foris-controller/ID`.
    controller: String,
    request_topic: String,
    reply_topic: String,
    payload: Vec<u8>,
    publication: Publication,
    packet_id: u16,
    ask_at: Option<Instant>,
    pending: Option<Pending>,
    is_worked_on: bool,
    has_joined: bool,
    /// Topics on which the controller may leave something retained.
    traces: Vec<String>,
}

/// A connection, past CONNACK.
struct Link {
    client: Client,
    /// The SUBSCRIBE for the reply.
    subscription: u16,
    pings_sent: u32,
    pings_answered: u32,
    ping_at: Instant,
    /// So many pings must be answered before the request is published: what is retained has come then.
    fence: Option<u32>,
}

impl Link {
    fn ping(&mut self) -> Result<(), Failure> {
        self.client.ping()?;
        self.pings_sent += 1;
        self.ping_at = Instant::now() + PING_EVERY;
        Ok(())
    }
}

impl<'a> Exchange<'a> {
    /// A request that ends after `timeout`. `login` is asked for each connection; `give_up` ends it early.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn new(
        endpoint: Endpoint,
        login: &'a dyn Fn() -> Result<Option<Login>, String>,
        question: &Question,
        timeout: Duration,
        give_up: &'a AtomicBool,
    ) -> Result<Self, String> {
        let id = uuid()?;
        let controller = format!("foris-controller/{}", question.controller);
        let data = question.data.as_ref();
        let data = data.map_or(String::new(), |data| format!(", \"data\": {data}"));
        Ok(Exchange {
            endpoint,
            login,
            give_up,
            deadline: Instant::now() + timeout,
            client_id: format!("{id}-request"),
            request_topic: format!("{controller}/{}", question.topic),
            reply_topic: format!("{controller}/reply/{id}"),
            payload: format!("{{\"reply_msg_id\": \"{id}\"{data}}}").into(),
            controller,
            id,
            publication: Publication::Unsent,
            packet_id: u16::MAX,
            ask_at: None,
            pending: None,
            is_worked_on: false,
            has_joined: false,
            traces: Vec::new(),
        })
    }

    /// Asks until there is an answer, or none can come.
    pub fn run(&mut self) -> End {
        let mut backoff = BACKOFF_MIN;
        let mut trouble = String::new();
        loop {
            if let Some(end) = self.over(&trouble) {
                return end;
            }
            let until = self.deadline.min(Instant::now() + CONNECT_TIMEOUT);
            match self.connect(false, until) {
                Ok((client, present)) => {
                    backoff = BACKOFF_MIN;
                    match self.converse(client, present) {
                        Ok(end) => return end,
                        Err(failure) => trouble = failure.to_string(),
                    }
                }
                Err(End::TimedOut(what)) => trouble = what,
                Err(end) => return end,
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            std::thread::sleep(backoff.min(left));
            backoff = BACKOFF_MAX.min(backoff * 2);
        }
    }

    /// Removes the session and what is retained for it; tries again while the bus is away, but not for long.
    ///
    /// # Errors
    /// The bus did not come back; what is left there goes by itself after the bus' own time.
    pub fn clean_up(&mut self) -> Result<(), String> {
        if !self.has_joined {
            return Ok(());
        }
        let until = Instant::now() + CLEAN_UP;
        let mut backoff = BACKOFF_MIN;
        loop {
            let trouble = match self.connect(true, until) {
                Ok((client, _)) => match self.remove_traces(client, until) {
                    Ok(()) => return Ok(()),
                    Err(failure) => failure.to_string(),
                },
                Err(End::TimedOut(what) | End::Failed(what)) => what,
                Err(End::Answer(_) | End::GivenUp) => String::new(),
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("the session could not be removed: {trouble}"));
            }
            std::thread::sleep(backoff.min(left));
            backoff = BACKOFF_MAX.min(backoff * 2);
        }
    }

    fn remove_traces(&self, mut client: Client, until: Instant) -> Result<(), Failure> {
        for topic in &self.traces {
            client.publish(&Message {
                topic: topic.clone(),
                retain: true,
                ..Message::default()
            })?;
        }
        client.ping()?;
        while let Some(packet) = client.receive(until)? {
            if packet == Packet::Pingresp {
                break;
            }
        }
        client.disconnect()
    }

    fn over(&self, trouble: &str) -> Option<End> {
        if self.give_up.load(Ordering::Relaxed) {
            return Some(End::GivenUp);
        }
        if Instant::now() < self.deadline {
            return None;
        }
        let topic = &self.controller;
        Some(End::TimedOut(if !self.has_joined {
            format!("there is no bus at {}: {trouble}", self.endpoint)
        } else if self.is_worked_on {
            format!("{topic} has not finished in time")
        } else {
            format!("{topic} has not answered in time")
        }))
    }

    /// Connects once. `TimedOut`: it may be tried again.
    fn connect(&self, clean_session: bool, until: Instant) -> Result<(Client, bool), End> {
        let login = (self.login)().map_err(End::Failed)?;
        let opening = Opening {
            version: Version::V3_1_1,
            client_id: &self.client_id,
            clean_session,
            keep_alive_s: KEEP_ALIVE_S,
            login: login.as_ref(),
        };
        Client::connect(&self.endpoint, &opening, until).map_err(|failure| {
            match failure.is_final() {
                true => End::Failed(failure.to_string()),
                false => End::TimedOut(failure.to_string()),
            }
        })
    }

    /// Goes on where the last connection ended.
    fn converse(&mut self, client: Client, present: bool) -> Result<End, Failure> {
        if !present {
            self.bus_has_forgotten();
        }
        self.has_joined = true;
        let mut link = Link {
            client,
            subscription: 0,
            pings_sent: 0,
            pings_answered: 0,
            ping_at: Instant::now(),
            fence: None,
        };
        self.subscribe(&mut link)?;
        if self.publication == Publication::Received {
            link.client.release(self.packet_id)?;
        }
        loop {
            if let Some(end) = self.over("") {
                return Ok(end);
            }
            self.do_what_is_due(&mut link)?;
            let until = self.deadline.min(Instant::now() + GLANCE);
            if let Some(packet) = link.client.receive(until)?
                && let Some(end) = self.take(&mut link, packet)?
            {
                return Ok(end);
            }
        }
    }

    /// What the bus had of an earlier connection it has no more.
    fn bus_has_forgotten(&mut self) {
        self.publication = match self.publication {
            Publication::Unsent | Publication::Sent => Publication::Unsent,
            Publication::Received | Publication::Complete => {
                // Whether the controller got it first, only the controller knows.
                self.ask_at = Some(Instant::now());
                Publication::Complete
            }
        };
    }

    /// Subscribes to all that is waited for, with a ping behind it.
    fn subscribe(&mut self, link: &mut Link) -> Result<(), Failure> {
        let advertisement = format!("{}/notification/remote/action/advertize", self.controller);
        let mut filters = vec![(self.reply_topic.as_str(), 1), (&advertisement, 0)];
        filters.extend(self.pending.as_ref().map(|one| (one.topic.as_str(), 1)));
        link.subscription = link.client.subscribe(&filters)?;
        link.ping()?;
        link.fence = Some(link.pings_sent);
        Ok(())
    }

    fn do_what_is_due(&mut self, link: &mut Link) -> Result<(), Failure> {
        let now = Instant::now();
        if now >= link.ping_at {
            if link.pings_answered < link.pings_sent {
                let what = "the bus does not answer";
                return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, what).into());
            }
            link.ping()?;
        }
        if link.fence.is_none() && self.ask_at.is_some_and(|at| now >= at) {
            self.ask(link)?;
        }
        Ok(())
    }

    /// Asks whether the request is worked on.
    fn ask(&mut self, link: &mut Link) -> Result<(), Failure> {
        let now = Instant::now();
        self.ask_at = Some(now + ASK_AGAIN);
        let topic = match &self.pending {
            Some(pending) => pending.topic.clone(),
            None => {
                let id = uuid().map_err(|what| Failure::Lost(std::io::Error::other(what)))?;
                let topic = format!("{}/reply/{id}", self.controller);
                link.client.subscribe(&[(&topic, 1)])?;
                self.traces.push(topic.clone());
                self.pending = Some(Pending {
                    topic: topic.clone(),
                    first_asked: now,
                });
                topic
            }
        };
        let id = topic.rsplit('/').next().unwrap_or_default();
        link.client.publish(&Message {
            topic: format!("{}/working_replies", self.controller),
            payload: format!("{{\"reply_msg_id\": \"{id}\"}}").into(),
            ..Message::default()
        })
    }

    fn take(&mut self, link: &mut Link, packet: Packet) -> Result<Option<End>, Failure> {
        match packet {
            Packet::Suback(id, codes)
                if id == link.subscription && codes.first() == Some(&0x80) =>
            {
                let what = format!(
                    "the bus does not allow to subscribe to {}",
                    self.reply_topic
                );
                return Ok(Some(End::Failed(what)));
            }
            Packet::Publish(message) => return self.message(link, message),
            Packet::Pubrec(id, _) => {
                link.client.release(id)?;
                if id == self.packet_id && self.publication == Publication::Sent {
                    self.publication = Publication::Received;
                    self.ask_at = Some(Instant::now() + LATE);
                }
            }
            Packet::Pubcomp(id) => {
                if id == self.packet_id && self.publication == Publication::Received {
                    self.publication = Publication::Complete;
                }
            }
            Packet::Pingresp => {
                link.pings_answered += 1;
                if link.fence.is_some_and(|fence| link.pings_answered >= fence) {
                    link.fence = None;
                    self.publish(link)?;
                }
            }
            Packet::Suback(..) | Packet::Unsuback(_) | Packet::Puback(..) => {}
        }
        Ok(None)
    }

    /// Publishes the request if the bus does not have it.
    fn publish(&mut self, link: &mut Link) -> Result<(), Failure> {
        let dup = match self.publication {
            Publication::Unsent => false,
            Publication::Sent => true,
            Publication::Received | Publication::Complete => return Ok(()),
        };
        self.publication = Publication::Sent;
        link.client.publish(&Message {
            topic: self.request_topic.clone(),
            payload: self.payload.clone(),
            qos: 2,
            dup,
            packet_id: self.packet_id,
            ..Message::default()
        })
    }

    fn message(&mut self, link: &mut Link, message: Message) -> Result<Option<End>, Failure> {
        // An empty message clears a topic.
        if message.payload.is_empty() {
            return Ok(None);
        }
        if message.topic == self.reply_topic {
            self.traces.push(message.topic);
            return Ok(Some(End::Answer(message.payload)));
        }
        let Some(pending) = &self.pending else {
            return Ok(None);
        };
        let said = serde_json::from_slice(&message.payload).unwrap_or(Value::Null);
        if message.topic == pending.topic {
            self.told(link, names(&said, &self.id))?;
        } else if message.topic.ends_with("/advertize")
            && pending.first_asked.elapsed() >= UNKNOWN_QUESTION
        {
            self.told(link, names(&said["data"]["working_replies"], &self.id))?;
        }
        Ok(None)
    }

    /// The controller has said whether it works on the request.
    fn told(&mut self, link: &mut Link, is_worked_on: bool) -> Result<(), Failure> {
        self.pending = None;
        self.is_worked_on = is_worked_on;
        self.ask_at = Some(Instant::now() + LATE);
        if !is_worked_on && self.publication != Publication::Sent {
            // It never came there, or it is done: then its reply is retained, and comes before the ping's answer.
            self.publication = Publication::Unsent;
            self.packet_id -= 1;
            self.ask_at = None;
            self.subscribe(link)?;
        }
        Ok(())
    }
}

/// Whether a list, or what it is wrapped in, holds an id.
fn names(said: &Value, id: &str) -> bool {
    match said {
        Value::String(text) => text == id,
        Value::Array(items) => items.iter().any(|item| names(item, id)),
        Value::Object(fields) => fields.values().any(|field| names(field, id)),
        _ => false,
    }
}

/// A random UUID (RFC 9562, version 4), as foris' programs make them.
pub(in crate::cli) fn uuid() -> Result<String, String> {
    let mut bytes = [0; 16];
    openssl::rand::rand_bytes(&mut bytes).map_err(|error| error.to_string())?;
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_form_and_comes_once() {
        let (one, other) = (uuid().expect("random"), uuid().expect("random"));
        assert_ne!(one, other);
        let lengths: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert!(
            one.split('-')
                .nth(2)
                .is_some_and(|part| part.starts_with('4'))
        );
    }

    #[test]
    fn a_list_of_working_replies_may_be_bare_or_wrapped() {
        let said = |text| serde_json::from_str(text).expect("it is JSON");
        for text in [r#"["a", "b"]"#, r#"{"data": {"working_replies": ["b"]}}"#] {
            assert!(names(&said(text), "b"), "{text}");
        }
        for text in ["[]", r#"["bb"]"#, "null", "1"] {
            assert!(!names(&said(text), "b"), "{text}");
        }
    }
}
