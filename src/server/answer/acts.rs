//! What the administrator has done: clients sent away, sessions ended, messages cleared, the configuration read again. Entered by one
//! function an act; each says in the log, at notice, what was done.

use std::rc::Rc;

use serde_json::json;

use crate::broker::Input;
use crate::control::{Answer, Outcome};
use crate::log::{self as logging, Escaped, Level};
use crate::mqtt::{ReasonCode, topic};
use crate::net::hub::Hub as _;
use crate::server::bus::Bus;
use crate::server::reload;

/// Ends a client's connection.
pub fn kick(bus: &Rc<Bus>, client_id: &str) -> Outcome {
    let connection = bus.broker.borrow().connection_of(client_id);
    let connection = connection.ok_or("no client with this identifier is connected")?;
    log::info!("control: client '{}' is sent away", Escaped(client_id));
    bus.handle(Input::Disconnect {
        connection,
        reason: ReasonCode::ADMINISTRATIVE_ACTION,
        what: "the administrator ends the connection",
        server_reference: None,
    });
    Ok(Answer::Done(json!({"kicked": true})))
}

/// Ends a session.
pub fn drop_session(bus: &Rc<Bus>, client_id: &str) -> Outcome {
    if !bus.broker.borrow().has_session(client_id) {
        return Err("there is no session with this identifier".into());
    }
    log::info!("control: the session of '{}' is ended", Escaped(client_id));
    bus.handle(Input::DropSession { client_id });
    // That of a bridge is made anew.
    bus.bridges.borrow().begin_anew(&**bus, client_id);
    Ok(Answer::Done(json!({"dropped": true})))
}

/// Clears a retained message, or some of those that match a filter.
pub fn clear(
    bus: &Rc<Bus>,
    topic: Option<&str>,
    filter: Option<&str>,
    from: Option<&str>,
) -> Outcome {
    match (topic, filter) {
        (Some(topic), None) if from.is_none() => {
            let is_there = bus.broker.borrow().is_retained(topic);
            if is_there && crate::acl::is_servers(topic) {
                return Err("what the bus itself retains is not for clearing".into());
            }
            if is_there {
                log::info!("control: '{}' is cleared", Escaped(topic));
                bus.handle(Input::ClearRetained { topic });
            }
            Ok(Answer::Done(json!({"cleared": u8::from(is_there)})))
        }
        (None, Some(filter)) if topic::is_filter(filter) => {
            let (topics, next) = bus.broker.borrow().retained_topics(filter, from);
            if !topics.is_empty() {
                let (count, filter) = (topics.len(), Escaped(filter));
                log::info!("control: {count} retained messages of '{filter}' are cleared");
            }
            for topic in &topics {
                bus.handle(Input::ClearRetained { topic });
            }
            Ok(Answer::Done(json!({"cleared": topics.len(), "next": next})))
        }
        (None, Some(filter)) => Err(format!("'{}' is not a topic filter", Escaped(filter))),
        _ => Err("either 'topic' or 'filter' must be given, and 'from' with a filter only".into()),
    }
}

/// Reads the configuration again.
pub fn reload(bus: &Rc<Bus>) -> Answer {
    reload::reload(bus);
    let faults = &bus.followed.borrow().faults;
    Answer::Done(json!({"reloaded": faults.is_empty(), "faults": faults}))
}

/// Sets what is logged, or only tells it.
pub fn log_level(level: Option<&str>) -> Outcome {
    if let Some(word) = level {
        let level =
            Level::named(word).ok_or("the level must be error, warning, notice, info or debug")?;
        logging::set_level(level);
        log::info!("control: the log level is {word} until the next reload");
    }
    Ok(Answer::Done(json!({"level": logging::level().name()})))
}
