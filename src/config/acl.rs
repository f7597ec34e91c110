//! The section `acl`: one access rule. Entered through [`read`]. What rules mean to a client is `crate::acl`'s matter;
//! whether the listeners and groups that they name exist is checked where all sections are known.

use std::sync::Arc;

use super::section::{Reader, text};
use crate::acl::{Access, Pattern, Place, Rule};

/// The rule of one section. One with a fault is of no use but for finding more faults.
pub(super) fn read(reader: &mut Reader<'_>) -> Rule {
    let access = reader.required("access", text);
    let mut allow = reader.required("action", text) == "allow";
    if access == "deny" {
        if reader.is_set("action") && allow {
            let line = reader.line_of("action");
            reader.fault(
                "action",
                line,
                "'allow' contradicts access 'deny': leave it out",
            );
        }
        allow = false;
    }
    if !reader.is_set("topic") {
        reader.missing(
            "topic",
            "is missing: a rule needs at least one topic filter ('#' for all)",
        );
    }
    let topics = reader.list("topic", |text| Pattern::new(text).ok());
    Rule {
        place: Arc::new(Place {
            section: reader.section_name().to_owned(),
            line: reader.line(),
        }),
        users: reader.texts("user"),
        groups: reader.texts("group"),
        listeners: reader.texts("listener"),
        access: match access.as_str() {
            "read" => Access::Read,
            "write" => Access::Write,
            "subscribe" => Access::Subscribe,
            _ => Access::ReadWrite,
        },
        allow,
        topics: topics.into_iter().map(|(topic, _)| topic).collect(),
    }
}
