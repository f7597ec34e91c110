//! A foris controller as the bus sees it, driven by a test step by step: it subscribes at QoS 0 in a persistent session, gets requests,
//! replies by retained messages, and says when it is asked which replies it works on.
//!
//! It clears no reply, so that a test sees who does.

use serde_json::{Value, json};

use super::broker::Broker;
use super::client::Client;
use super::packet::{Connect, Packet, Publish, Version};

/// The id of the controller.
pub const ID: &str = "0000000A00000214";

/// What it listens to, below `foris-controller/ID/`.
const LISTENS_TO: [&str; 5] = [
    "request/+/action/+",
    "request/+/list",
    "list",
    "jsonschemas",
    "working_replies",
];

/// The question which replies it works on.
const QUESTION: &str = "working_replies";

/// A controller. A test that restarts the broker makes it join again.
#[derive(Default)]
pub struct Controller {
    client: Option<Client>,
    /// The replies that it works on.
    working: Vec<String>,
    requests: u32,
    /// Whether it does not know the question for them, and only advertises itself.
    pub is_mute: bool,
}

/// A request that it has got.
#[derive(Debug)]
pub struct Asked {
    /// Below `foris-controller/ID/`.
    pub topic: String,
    pub reply_id: String,
    pub data: Value,
}

impl Controller {
    /// A controller that has joined.
    pub fn on(broker: &Broker) -> Controller {
        let mut controller = Controller::default();
        controller.join(broker);
        controller
    }

    /// Connects, in its one session, and subscribes.
    pub fn join(&mut self, broker: &Broker) {
        let connect = Connect::new(Version::V311, "controller-request").persistent();
        let mut client = broker.join(&connect);
        for topic in LISTENS_TO {
            client.send_subscribe(&below(topic), 0);
        }
        // What the session has kept may come first.
        self.client = Some(client);
    }

    /// Goes away without a word.
    pub fn leave(&mut self) {
        self.client = None;
    }

    /// Waits until everything that it sent so far has been handled; messages that come before are dropped.
    pub fn settle(&mut self) {
        self.client().ping_past_messages();
    }

    fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("it has joined")
    }

    /// The next request; questions before it are answered.
    pub fn request(&mut self) -> Asked {
        loop {
            let asked = self.next();
            if asked.topic != QUESTION {
                self.requests += 1;
                self.working.push(asked.reply_id.clone());
                return asked;
            }
            self.answer(&asked);
        }
    }

    /// Waits for a question, which must come before any request, and answers it.
    pub fn question(&mut self) {
        let asked = self.next();
        assert_eq!(asked.topic, QUESTION);
        self.answer(&asked);
    }

    /// How many requests it has got.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    fn next(&mut self) -> Asked {
        let message = loop {
            if let Packet::Publish(message) = self.client().receive() {
                break message;
            }
        };
        let said: Value = serde_json::from_slice(&message.payload).expect("a request is JSON");
        let topic = message.topic.strip_prefix(&below(""));
        Asked {
            topic: topic.expect("it is for this controller").to_owned(),
            reply_id: said["reply_msg_id"]
                .as_str()
                .expect("it has an id")
                .to_owned(),
            data: said["data"].clone(),
        }
    }

    /// Says which replies it works on; or, if it does not know the question, that it is there, as it does every second.
    fn answer(&mut self, question: &Asked) {
        if self.is_mute {
            let said = json!({"data": {"state": "running", "id": ID}, "kind": "notification"});
            let topic = below("notification/remote/action/advertize");
            return self.client().publish(&topic, &said.to_string());
        }
        let working = json!(self.working).to_string();
        self.publish_reply(question, &working);
    }

    /// Replies, and forgets the request.
    pub fn reply(&mut self, asked: &Asked, reply: &Value) {
        self.publish_reply(asked, &reply.to_string());
        self.working.retain(|id| *id != asked.reply_id);
    }

    fn publish_reply(&mut self, asked: &Asked, reply: &str) {
        let topic = below(&format!("reply/{}", asked.reply_id));
        let reply = Publish::new(&topic, reply).retained();
        self.client().send_publish(&reply);
    }

    /// Forgets what it worked on, as a controller that was started again.
    pub fn forget(&mut self) {
        self.working.clear();
    }
}

/// A topic of the controller.
pub fn below(topic: &str) -> String {
    format!("foris-controller/{ID}/{topic}")
}
