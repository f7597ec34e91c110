//! `fosquitto request`: what a script gets from a controller, also when the bus goes away and comes back between any two steps.
//!
//! The steps: 1 the client subscribes, 2 it publishes the request, 3 the controller gets it, 4 it replies, 5 the client gets the reply,
//! 6 it unsubscribes. A relay between the client and the bus loses the packet before which the bus ends.

use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::controller::{Asked, Controller, ID, below};
use crate::harness::packet::{Connect, Version};
use crate::harness::relay::{Relay, Side};
use crate::harness::root::{FOSQUITTO, Root, run, stderr};

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBREC: u8 = 5;

/// The command with these arguments, as the bus' own root has it.
fn command(root: &Root, arguments: &[&str]) -> Command {
    let mut command = Command::new(&*FOSQUITTO);
    command
        .arg("--root")
        .arg(root.path())
        .arg("request")
        .args(arguments);
    command
}

/// Starts the command against a port of 127.0.0.1.
fn ask(root: &Root, port: u16, arguments: &[&str]) -> Child {
    command(root, &["-P", &port.to_string(), "-t", "60"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started")
}

/// The status and the one line of a command that has ended.
fn outcome(asking: Child) -> (Option<i32>, Value) {
    let output = asking
        .wait_with_output()
        .expect("a child can be waited for");
    let text = String::from_utf8(output.stdout.clone()).expect("it writes UTF-8");
    assert_eq!(text.lines().count(), 1, "{text:?}, {}", stderr(&output));
    let value = serde_json::from_str(&text).expect("it writes JSON");
    (output.status.code(), value)
}

fn port(broker: &Broker) -> u16 {
    broker.address("local").port()
}

fn reply_of(asked: &Asked) -> Value {
    json!({"kind": "reply", "module": "about", "action": "get", "data": {"of": asked.data}})
}

/// Neither the session of the request is left, nor anything that is retained.
fn assert_nothing_is_left(broker: &Broker, asked: &Asked) {
    let client_id = format!("{}-request", asked.reply_id);
    let (_, connack) =
        broker.attempt(&broker.as_local(&Connect::new(Version::V311, &client_id).persistent()));
    assert!(!connack.session_present, "its session is gone");
    let mut last = broker.join(&Connect::new(Version::V311, "last"));
    last.subscribe("foris-controller/+/reply/+", 0);
    last.ping();
}

#[test]
fn a_request_is_answered_in_one_line_of_json() {
    let broker = Broker::start(LOCAL);
    let mut controller = Controller::on(&broker);
    let arguments = [ID, "about", "get", r#"{"b": 1, "a": [1.50]}"#];
    let asking = ask(broker.root(), port(&broker), &arguments);
    let asked = controller.request();
    assert_eq!(asked.topic, "request/about/action/get");
    assert_eq!(asked.data, json!({"b": 1, "a": [1.5]}));
    controller.reply(&asked, &reply_of(&asked));
    assert_eq!(outcome(asking), (Some(0), reply_of(&asked)));
    controller.settle();
    assert_nothing_is_left(&broker, &asked);
}

#[test]
fn modules_actions_and_schemas_are_lists_and_what_controllers_leave_retained_is_cleared() {
    let broker = Broker::start(LOCAL);
    let mut controller = Controller::on(&broker);
    for (arguments, topic) in [
        (&["--list", ID][..], "list"),
        (&["--list", ID, "about"], "request/about/list"),
        (&["--schemas", ID], "jsonschemas"),
    ] {
        let asking = ask(broker.root(), port(&broker), arguments);
        let asked = controller.request();
        assert_eq!((asked.topic.as_str(), &asked.data), (topic, &Value::Null));
        controller.reply(&asked, &json!(["a", "b"]));
        assert_eq!(outcome(asking), (Some(0), json!(["a", "b"])), "{topic}");
        assert_nothing_is_left(&broker, &asked);
    }
}

#[test]
fn a_reply_with_errors_is_printed_and_is_status_3() {
    let broker = Broker::start(LOCAL);
    let mut controller = Controller::on(&broker);
    let asking = ask(broker.root(), port(&broker), &[ID, "about", "got"]);
    let asked = controller.request();
    let reply =
        json!({"kind": "reply", "errors": [{"description": "no such action", "stacktrace": ""}]});
    controller.reply(&asked, &reply);
    assert_eq!(outcome(asking), (Some(3), reply));
}

#[test]
fn no_answer_in_time_is_status_2_whether_the_controller_or_the_bus_is_missing() {
    let broker = Broker::start(LOCAL);
    let in_a_second = |root: &Root, port: u16| {
        let port = port.to_string();
        run(
            &mut command(root, &["-t", "1", "-P", &port, ID, "about", "get"]),
            "",
        )
    };
    let output = in_a_second(broker.root(), port(&broker));
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && stderr(&output).contains("has not answered in time"));
    let port = port(&broker);
    let (_, root) = broker.stop();
    let output = in_a_second(&root, port);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("there is no bus at 127.0.0.1:"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_cannot_be_asked_at_all_is_status_1_at_once() {
    let deny = format!(
        "{LOCAL}config acl\n\toption access 'deny'\n\tlist topic 'foris-controller/+/reply/+'\n"
    );
    let broker = Broker::start(&deny);
    let port = port(&broker).to_string();
    broker.root().write("wrong", "local:0\n");
    let wrong = broker.root().join("wrong").display().to_string();
    let fails = |arguments: &[&str]| -> Output {
        let output = run(&mut command(broker.root(), arguments), "");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty());
        output
    };
    let cases: [(&[&str], &str); 5] = [
        (
            &["-P", &port, "-F", &wrong, ID, "m", "a"],
            "refuses the user name and the password",
        ),
        (&["-P", &port, ID, "m", "a"], "does not allow to subscribe"),
        (&["-P", &port, ID, "m", "a", "{"], "the data is not JSON"),
        (&["-P", &port, ID, "m"], "ACTION is missing"),
        (&[ID, "m", "a"], "no fixed port"),
    ];
    for (arguments, what) in cases {
        let said = stderr(&fails(arguments));
        assert!(said.contains(what), "{arguments:?}: {said}");
    }
}

#[test]
fn a_unix_socket_another_user_and_data_from_standard_input_are_taken() {
    let root = Root::new();
    let socket = root.join("s").display().to_string();
    root.write_uci(&format!(
        "{LOCAL}config listener 'unix'\n\tlist unix '{socket}'\n"
    ));
    assert!(root.passwd("ann", "her own").status.success());
    root.write("passwords", "local:0\nann:her own\n");
    let broker = Broker::start_on(root);
    let passwords = broker.root().join("passwords").display().to_string();
    let arguments = [
        "-H", &socket, "-F", &passwords, "-u", "ann", ID, "about", "set", "-",
    ];
    let mut controller = Controller::on(&broker);
    let mut asking = command(broker.root(), &arguments);
    let asking = std::thread::spawn(move || run(&mut asking, "{\"secret\": 1}\n"));
    let asked = controller.request();
    assert_eq!(asked.data, json!({"secret": 1}));
    controller.reply(&asked, &reply_of(&asked));
    let output = asking.join().expect("it does not panic");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_help_says_options_and_statuses() {
    let output = run(&mut command(&Root::new(), &["--help"]), "");
    let text = String::from_utf8(output.stdout).expect("help is text");
    assert!(output.status.success());
    for word in [
        "--timeout",
        "--host",
        "--user",
        "--password-file",
        "--list",
        "--schemas",
        "2 there was no answer",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// How a bus ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Stopped,
    Killed,
}

/// A bus behind a relay, and the command that asks through it.
struct Scene {
    broker: Option<Broker>,
    relay: Relay,
}

impl Scene {
    fn begin() -> Scene {
        let broker = Broker::start(LOCAL);
        let relay = Relay::start();
        relay.lead_to(Some(broker.address("local")));
        Scene {
            broker: Some(broker),
            relay,
        }
    }

    fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it is taken in `restart` only")
    }

    fn ask(&self) -> Child {
        ask(
            self.broker().root(),
            self.relay.port(),
            &[ID, "about", "get", "7"],
        )
    }

    /// Ends the bus and starts it again on what it left.
    fn restart(&mut self, ending: Ending) {
        self.relay.lead_to(None);
        let broker = self.broker.take().expect("it is taken here only");
        let root = match ending {
            Ending::Stopped => broker.stop().1,
            Ending::Killed => broker.kill(),
        };
        let broker = Broker::start_on(root);
        self.relay.lead_to(Some(broker.address("local")));
        self.broker = Some(broker);
    }

    /// Answers requests until the command has its answer: who has lost a reply asks again.
    fn answer_to_the_end(&self, mut controller: Controller, asking: Child, asked: Option<Asked>) {
        let asked = asked.unwrap_or_else(|| controller.request());
        assert_eq!(asked.data, json!(7));
        controller.reply(&asked, &reply_of(&asked));
        controller.settle();
        assert_eq!(outcome(asking), (Some(0), reply_of(&asked)));
        assert_nothing_is_left(self.broker(), &asked);
    }
}

fn restart_before_the_client_comes(ending: Ending) {
    let mut scene = Scene::begin();
    scene.relay.lose((Side::Client, CONNECT));
    let asking = scene.ask();
    scene.relay.wait_for_loss();
    scene.restart(ending);
    let controller = Controller::on(scene.broker());
    scene.answer_to_the_end(controller, asking, None);
}

fn restart_between_1_and_2(ending: Ending) {
    let mut scene = Scene::begin();
    scene.relay.lose((Side::Client, PUBLISH));
    let asking = scene.ask();
    scene.relay.wait_for_loss();
    scene.restart(ending);
    let controller = Controller::on(scene.broker());
    scene.answer_to_the_end(controller, asking, None);
}

fn restart_between_2_and_3(ending: Ending) {
    let mut scene = Scene::begin();
    let mut controller = Controller::on(scene.broker());
    controller.settle();
    controller.leave();
    let asking = scene.ask();
    scene.relay.wait_for((Side::Broker, PUBREC));
    scene.restart(ending);
    controller.join(scene.broker());
    scene.answer_to_the_end(controller, asking, None);
}

fn restart_between_3_and_4(ending: Ending) {
    let mut scene = Scene::begin();
    let mut controller = Controller::on(scene.broker());
    let asking = scene.ask();
    let asked = controller.request();
    scene.restart(ending);
    controller.join(scene.broker());
    // It asks before it would publish the request again, and so does not.
    controller.question();
    scene.answer_to_the_end(controller, asking, Some(asked));
}

fn restart_between_4_and_5(ending: Ending) {
    let mut scene = Scene::begin();
    let mut controller = Controller::on(scene.broker());
    let asking = scene.ask();
    let asked = controller.request();
    scene.relay.lose((Side::Broker, PUBLISH));
    controller.reply(&asked, &reply_of(&asked));
    scene.relay.wait_for_loss();
    scene.restart(ending);
    controller.join(scene.broker());
    assert_eq!(outcome(asking), (Some(0), reply_of(&asked)));
    // The bus has kept the retained reply: nothing is done twice.
    let mut last = scene.broker().join(&Connect::new(Version::V311, "end"));
    last.publish(&below("list"), r#"{"reply_msg_id": "end"}"#);
    last.ping();
    assert_eq!(controller.request().reply_id, "end");
    assert_nothing_is_left(scene.broker(), &asked);
}

fn restart_between_5_and_6(ending: Ending) {
    let mut scene = Scene::begin();
    let mut controller = Controller::on(scene.broker());
    let asking = scene.ask();
    let asked = controller.request();
    scene.relay.lose((Side::Client, CONNECT));
    controller.reply(&asked, &reply_of(&asked));
    scene.relay.wait_for_loss();
    scene.restart(ending);
    assert_eq!(outcome(asking), (Some(0), reply_of(&asked)));
    assert_nothing_is_left(scene.broker(), &asked);
}

/// The tests of one gap: the bus is stopped in order, or killed.
macro_rules! gap {
    ($play:ident, $stopped:ident, $killed:ident) => {
        #[test]
        fn $stopped() {
            $play(Ending::Stopped);
        }

        #[test]
        fn $killed() {
            $play(Ending::Killed);
        }
    };
}

gap!(
    restart_before_the_client_comes,
    a_bus_that_stops_before_the_client_comes_costs_no_answer,
    a_bus_that_is_killed_before_the_client_comes_costs_no_answer
);
gap!(
    restart_between_1_and_2,
    a_bus_that_stops_between_1_and_2_costs_no_answer,
    a_bus_that_is_killed_between_1_and_2_costs_no_answer
);
gap!(
    restart_between_2_and_3,
    a_bus_that_stops_between_2_and_3_costs_no_answer,
    a_bus_that_is_killed_between_2_and_3_costs_no_answer
);
gap!(
    restart_between_3_and_4,
    a_bus_that_stops_between_3_and_4_costs_no_answer,
    a_bus_that_is_killed_between_3_and_4_costs_no_answer
);
gap!(
    restart_between_4_and_5,
    a_bus_that_stops_between_4_and_5_costs_no_answer,
    a_bus_that_is_killed_between_4_and_5_costs_no_answer
);
gap!(
    restart_between_5_and_6,
    a_bus_that_stops_between_5_and_6_costs_no_answer,
    a_bus_that_is_killed_between_5_and_6_costs_no_answer
);

#[test]
fn a_command_that_is_told_to_end_leaves_nothing_behind() {
    let broker = Broker::start(LOCAL);
    let mut controller = Controller::on(&broker);
    let asking = ask(broker.root(), port(&broker), &[ID, "about", "get"]);
    let asked = controller.request();
    let pid = libc::pid_t::try_from(asking.id()).expect("a process id fits its type");
    // SAFETY: kill() takes plain numbers; the process is our own child and not waited for yet.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    let output = asking
        .wait_with_output()
        .expect("a child can be waited for");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_nothing_is_left(&broker, &asked);
}

#[test]
fn a_request_that_is_worked_on_is_not_published_again() {
    let broker = Broker::start(LOCAL);
    let mut controller = Controller::on(&broker);
    let asking = ask(broker.root(), port(&broker), &[ID, "about", "get", "7"]);
    let asked = controller.request();
    // The client asks when the answer is late. It has got what it wanted to know when it asks for the second time.
    controller.question();
    controller.question();
    controller.reply(&asked, &reply_of(&asked));
    assert_eq!(outcome(asking), (Some(0), reply_of(&asked)));
    assert_eq!(controller.requests(), 1);
    assert_nothing_is_left(&broker, &asked);
}

#[test]
fn a_controller_that_forgot_the_request_gets_it_again_once_even_if_it_does_not_know_the_question() {
    let broker = Broker::start(LOCAL);
    let mut controller = Controller::on(&broker);
    controller.is_mute = true;
    let asking = ask(broker.root(), port(&broker), &[ID, "about", "get", "7"]);
    let first = controller.request();
    controller.forget();
    let again = controller.request();
    assert_eq!(again.reply_id, first.reply_id);
    controller.reply(&again, &reply_of(&again));
    assert_eq!(outcome(asking), (Some(0), reply_of(&again)));
    assert_eq!(controller.requests(), 2);
    assert_nothing_is_left(&broker, &again);
}
