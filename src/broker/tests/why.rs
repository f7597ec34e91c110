//! What `why` says is what happens: random rules and clients, each of which does what was asked about.
//!
//! The rules come from the text of a configuration, as the program reads it; the answer is the one of the control socket and of
//! `fosquitto why`; what happens goes through the mount point, the broker and its packets. `FOSQUITTO_SEED=` repeats a run.

use std::path::Path;

use super::world::{Packet, World, qos0, qos1, subscribe, v5, will};
use crate::acl::{Permissions, Subject, is_servers};
use crate::broker::{Input, Settings};
use crate::config::{self, Config, Surroundings};
use crate::control::{Action, Question};
use crate::fuzzing::Choices;
use crate::mqtt::packet::{ClientPacket, Connect, SubscriptionOptions};
use crate::mqtt::{Qos, ReasonCode, topic};
use crate::net::mount::Prefixed;
use crate::server::why;

/// So many rule sets, each with one question.
const ROUNDS: u64 = 10_000;

const USERS: [&str; 4] = ["anna", "ben", "eve", "%u"];
const GROUPS: [&str; 2] = ["home", "admin"];
const CLIENTS: [&str; 4] = ["phone", "c/1", "+", "anna"];
const PATTERNS: [&str; 14] = [
    "#", "+", "a/#", "a/+", "a/b", "+/b", "a/%u", "%u/#", "a/%c/#", "%c", "$SYS/#", "$x/+",
    "a/b/#", "in/a/#",
];
const TOPICS: [&str; 12] = [
    "a",
    "b",
    "a/b",
    "a/anna",
    "anna/x",
    "a/phone/x",
    "phone",
    "$SYS/broker/x",
    "$x/y",
    "a/b/c",
    "c/1",
    "$share/g/a",
];
const FILTERS: [&str; 13] = [
    "#",
    "+",
    "a/#",
    "a/+",
    "a/b",
    "+/b",
    "a/anna",
    "$share/g/a/#",
    "$share/g/+",
    "$SYS/#",
    "a/b/#",
    "anna/#",
    "a/phone/+",
];

/// A configuration with rules by these choices.
fn uci(choices: &mut Choices<'_>) -> String {
    let default = choices.one_of(&["allow", "deny"]);
    let mut text = format!(
        "config global 'global'\n\toption acl_default '{default}'\n\n\
         config listener 'lan'\n\toption port '1'\n\n\
         config listener 'in'\n\toption port '2'\n\toption mount_point 'in/'\n\n\
         config user 'anna'\n\tlist group 'home'\n\tlist group 'admin'\n\n\
         config user 'ben'\n\tlist group 'home'\n\n"
    );
    for number in 0..choices.below(7) {
        let name = choices.one_of(&["", " 'r'"]);
        let name = if name.is_empty() {
            String::new()
        } else {
            format!(" 'r{number}'")
        };
        text += &format!("config acl{name}\n");
        if choices.below(2) == 0 {
            text += &format!("\tlist user '{}'\n", choices.one_of(&USERS[..3]));
        }
        if choices.below(3) == 0 {
            text += &format!("\tlist group '{}'\n", choices.one_of(&GROUPS));
        }
        if choices.below(3) == 0 {
            text += &format!(
                "\tlist listener '{}'\n",
                choices.one_of(&["lan", "in", "local"])
            );
        }
        let access = choices.one_of(&["read", "write", "readwrite", "subscribe", "deny"]);
        text += &format!("\toption access '{access}'\n");
        if access != "deny" {
            text += &format!("\toption action '{}'\n", choices.one_of(&["allow", "deny"]));
        }
        for _ in 0..=choices.below(2) {
            text += &format!("\tlist topic '{}'\n", choices.one_of(&PATTERNS));
        }
        text.push('\n');
    }
    text
}

fn question(choices: &mut Choices<'_>) -> Question {
    let action = choices.one_of(&[
        Action::Publish,
        Action::Subscribe,
        Action::Will,
        Action::Read,
    ]);
    let topic = match action {
        Action::Subscribe => choices.one_of(&FILTERS),
        _ => choices.one_of(&TOPICS),
    };
    Question {
        action,
        topic: topic.to_owned(),
        user: choices
            .one_of(&[None, Some("anna"), Some("ben"), Some("eve")])
            .map(str::to_owned),
        client_id: Some(choices.one_of(&CLIENTS).to_owned()),
        listener: Some(choices.one_of(&["lan", "in", "local"]).to_owned()),
    }
}

/// What a client may do, as the network asks for it.
fn permissions(config: &Config, question: &Question) -> Permissions {
    let user = question.user.as_deref();
    let groups = config
        .users
        .iter()
        .find(|known| Some(known.name.as_str()) == user);
    config.acl.permissions(&Subject {
        user,
        groups: groups.map_or(&[], |user| &user.groups),
        listener: question.listener.as_deref().unwrap_or_default(),
        client_id: question.client_id.as_deref().unwrap_or_default(),
    })
}

/// Whether it happens; `None` where nobody can try it.
fn happens(config: &Config, question: &Question) -> Option<bool> {
    let mut world = World::with(Settings {
        sys_interval_ms: 0,
        ..Settings::default()
    });
    let mut listeners = config.listeners.iter();
    let name = question.listener.as_deref();
    let listener = listeners.find(|listener| Some(listener.name.as_str()) == name)?;
    let mount = listener.mount_point.as_deref().unwrap_or_default();
    let (user, client_id) = (question.user.as_deref(), question.client_id.as_deref()?);
    let permissions = permissions(config, question);
    let said = question.topic.as_str();
    let mounted = |packet: &ClientPacket<'_>| Prefixed::of(mount, packet).ok();
    match question.action {
        Action::Publish => {
            let id = world.connect_as(&v5(client_id, 0), user, permissions);
            world.take(id);
            let packet = ClientPacket::Publish(qos1(said, "x", 1));
            let prefixed = mounted(&packet)?;
            world.send(id, prefixed.packet(packet));
            let packets = world.take(id);
            let [Packet::PubAck(1, reason)] = packets[..] else {
                panic!("one answer: {packets:?}");
            };
            Some(reason != ReasonCode::NOT_AUTHORIZED)
        }
        Action::Subscribe => {
            let id = world.connect_as(&v5(client_id, 0), user, permissions);
            world.take(id);
            let packet = subscribe(said, SubscriptionOptions::with_qos(Qos::AtMostOnce), None);
            let prefixed = mounted(&packet)?;
            world.send(id, prefixed.packet(packet));
            let packets = world.take(id);
            let [Packet::SubAck(1, reasons)] = &packets[..] else {
                panic!("one answer: {packets:?}");
            };
            Some(reasons[0] == ReasonCode::SUCCESS)
        }
        Action::Will => {
            let connect = Connect {
                will: Some(crate::mqtt::packet::Will {
                    topic: said,
                    ..will("x")
                }),
                ..v5(client_id, 0)
            };
            let prefixed = Prefixed::of_will(mount, &connect).ok()?;
            let connect = match mount {
                "" => connect.clone(),
                _ => prefixed.connect(connect.clone()),
            };
            let id = world.connect_as(&connect, user, permissions);
            Some(world.closed(id) != Some(ReasonCode::NOT_AUTHORIZED))
        }
        Action::Read => {
            let name = format!("{mount}{said}");
            // Nobody publishes there, so that there is nothing to read.
            let name = Some(name).filter(|name| !is_servers(name) && !topic::is_shared(name))?;
            // The subscription was allowed once: what is delivered is another question.
            let id = world.connect_as(&v5(client_id, 0), user, Permissions::allow_all());
            world.subscribe(id, &name, Qos::AtMostOnce);
            world.handle(Input::Permissions {
                connection: id,
                permissions,
            });
            world.take(id);
            let (publisher, _) = world.join(&v5("publisher", 0));
            world.publish(publisher, qos0(&name, "x"));
            Some(!world.messages(id).is_empty())
        }
    }
}

#[test]
fn why_agrees_with_what_happens() {
    let given = std::env::var("FOSQUITTO_SEED");
    let seed = given.map_or_else(
        |_| {
            let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
            since.as_nanos() as u64
        },
        |seed| seed.parse().expect("a number"),
    );
    println!("FOSQUITTO_SEED={seed}");
    let mut state = seed;
    let mut random = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)).to_be_bytes()
    };
    let (mut tried, mut denied, mut by_rule) = (0, 0, 0);
    for round in 0..ROUNDS {
        let bytes: Vec<u8> = (0..12).flat_map(|_| random()).collect();
        let mut choices = Choices::new(&bytes);
        let question = question(&mut choices);
        let uci = uci(&mut choices);
        let path = Path::new("fosquitto");
        let config = config::parse(&uci, path, &Surroundings::default())
            .unwrap_or_else(|faults| panic!("{faults}\n{uci}"));
        let reason = why::reason(&config, path, &question).expect("it can be asked");
        if let Some(happens) = happens(&config, &question) {
            assert_eq!(
                reason.allowed, happens,
                "round {round}: {question:?}: {reason:?}\n{uci}"
            );
            tried += 1;
            denied += u64::from(!happens);
        }
        if let Some(line) = reason.line {
            by_rule += 1;
            let at_line = uci.lines().nth(line as usize - 1).unwrap_or_default();
            assert!(at_line.starts_with("config acl"), "{reason:?}\n{uci}");
        }
    }
    // A test that only ever sees one answer would show nothing.
    let enough = |count: u64| count > ROUNDS / 10;
    assert!(tried > ROUNDS / 2 && enough(denied) && enough(tried - denied) && enough(by_rule));
}
