//! The section `keeper`: which requests and replies with QoS 0 wait for somebody who is late. Entered through
//! [`Keeper::read`], and through [`Keeper::foris`] where the file says nothing about the router's own programs.
//!
//! A router that is upgraded keeps its file, which has no such section: so foris' patterns hold without one, and the section
//! `keeper 'foris'` is for changing them or turning them off. It keeps no message itself.

use std::time::Duration;

use super::section::Reader;
use super::value;

/// The name of the keeper that there is without a section.
pub(super) const FORIS: &str = "foris";

/// What foris' controllers are asked by.
const FORIS_REQUESTS: [&str; 5] = [
    "foris-controller/+/request/+/action/+",
    "foris-controller/+/request/+/list",
    "foris-controller/+/list",
    "foris-controller/+/jsonschemas",
    "foris-controller/+/working_replies",
];

/// What they answer by.
const FORIS_REPLIES: [&str; 1] = ["foris-controller/+/reply/+"];

/// Foris' client looks after 5 s whether its request is worked on: it publishes it again if not, and gives up if the controller is
/// not there. A request that is passed on later than that would be done twice, or done when nobody wants it any more.
pub(super) const REQUEST_TTL_S: &str = "5";

/// Foris' client forgets after 30 s which replies it waits for.
pub(super) const REPLY_TTL_S: &str = "30";

/// Messages with QoS 0 that are kept for who is late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    /// The section's name.
    pub name: String,
    /// Well-formed topic filters of requests; not empty if `replies` is.
    pub requests: Vec<String>,
    /// How long a request waits for a subscriber; not zero.
    pub request_ttl: Duration,
    /// Well-formed topic filters of replies.
    pub replies: Vec<String>,
    /// How long a reply waits for a subscriber that is late; not zero.
    pub reply_ttl: Duration,
}

impl Keeper {
    /// A section; `None` if it is disabled or nameless. A disabled one is checked all the same.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.name()?.to_owned();
        let is_foris = name == FORIS;
        if !is_foris && !reader.is_set("request") && !reader.is_set("reply") {
            reader.missing(
                "request",
                "is missing: a keeper needs requests or replies to keep",
            );
        }
        let keeper = Keeper {
            name,
            requests: filters(reader, "request", is_foris.then_some(&FORIS_REQUESTS)),
            request_ttl: reader.required("request_ttl", value::duration),
            replies: filters(reader, "reply", is_foris.then_some(&FORIS_REPLIES)),
            reply_ttl: reader.required("reply_ttl", value::duration),
        };
        reader.flag("enabled").then_some(keeper)
    }

    /// The keeper of foris' messages, as it is without a section.
    pub(super) fn foris(reader: &Reader<'_>) -> Self {
        Keeper {
            name: FORIS.into(),
            requests: FORIS_REQUESTS.map(str::to_owned).into(),
            request_ttl: reader.required("request_ttl", value::duration),
            replies: FORIS_REPLIES.map(str::to_owned).into(),
            reply_ttl: reader.required("reply_ttl", value::duration),
        }
    }
}

/// The filters that are written, else those that hold by default.
fn filters(reader: &Reader<'_>, option: &str, default: Option<&[&str]>) -> Vec<String> {
    match default {
        Some(default) if !reader.is_set(option) => {
            default.iter().copied().map(String::from).collect()
        }
        _ => reader.texts(option),
    }
}
