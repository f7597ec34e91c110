//! Why the rules allow or deny something, by the code that decides about packets. Entered through [`reason`], by the control socket with
//! the configuration that holds and by `fosquitto why` with that of the file. It asks no client and changes nothing.

use std::path::Path;

use crate::acl::{self, By, Subject};
use crate::config::Config;
use crate::control::{Action, Question, Reason};
use crate::log::Escaped;
use crate::mqtt::topic;
use crate::net::mount;

/// What a client would be told, and by which rule.
///
/// # Errors
/// The topic is none for this action, or there is no such listener.
pub fn reason(config: &Config, file: &Path, question: &Question) -> Result<Reason, String> {
    let listener = question.listener.as_deref();
    let mount_point = match listener {
        None => None,
        Some(name) => {
            let mut listeners = config.listeners.iter();
            let found = listeners.find(|listener| listener.name == name);
            let found = found.ok_or_else(|| {
                format!(
                    "no listener '{}' is configured, or it is disabled",
                    Escaped(name)
                )
            })?;
            found.mount_point.as_deref()
        }
    };
    let (asked, ruled) = topics(question, mount_point.unwrap_or(""))?;
    let mut users = config.users.iter();
    let user = users.find(|user| Some(user.name.as_str()) == question.user.as_deref());
    let permissions = config.acl.permissions(&Subject {
        user: question.user.as_deref(),
        groups: user.map_or(&[], |user| &user.groups),
        listener: listener.unwrap_or(""),
        client_id: question.client_id.as_deref().unwrap_or(""),
    });
    let decision = permissions.why(action(question.action), &ruled);
    let rule = decision.rule();
    Ok(Reason {
        allowed: decision.allowed,
        by: match decision.by {
            By::Rule(_) => "rule",
            By::Default => "default",
            By::Reserved => "reserved",
        }
        .to_owned(),
        section: rule.map(|place| place.section.clone()),
        line: rule.map(|place| place.line),
        file: file.to_owned(),
        topic: asked,
        words: decision.to_string(),
    })
}

fn action(asked: Action) -> acl::Action {
    match asked {
        Action::Publish => acl::Action::Write,
        Action::Will => acl::Action::Will,
        Action::Read => acl::Action::Read,
        Action::Subscribe => acl::Action::Subscribe,
    }
}

/// The topic or filter as the bus knows it, and that part of it which rules are held against.
fn topics(question: &Question, mount_point: &str) -> Result<(String, String), String> {
    let said = question.topic.as_str();
    if question.action == Action::Subscribe {
        let filter = mount::filter_of(mount_point, said);
        let Some(subscribed) = topic::subscribed(&filter) else {
            return Err(format!("'{}' is not a topic filter", Escaped(said)));
        };
        let ruled = subscribed.filter.to_owned();
        return Ok((filter, ruled));
    }
    if !topic::is_name(said) {
        return Err(format!("'{}' is not a topic name", Escaped(said)));
    }
    // What is delivered is asked for by the bus's own name; what a client publishes gets the prefix.
    let name = mount::topic_of(mount_point, said).map_err(|fault| fault.what.to_owned())?;
    Ok((name.clone(), name))
}
