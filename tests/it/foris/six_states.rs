//! The six states of a request, and a bus that ends between any two of them: README.md's table of what arrives, held to the program.
//!
//! The steps: 1 the client subscribes, 2 it publishes the request, 3 the controller gets it, 4 it replies, 5 the client gets the
//! reply, 6 it unsubscribes. Controllers, and clients of the kind `foris`, are `tests/python/foris_programs.py`: paho-mqtt as the
//! router's programs use it, without their remedies. The other clients are `fosquitto request`. A relay before each side lets it be away.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use crate::harness::PATIENCE;
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Connect, Version};
use crate::harness::python::{PAHO, PROJECT, Script};
use crate::harness::relay::{Relay, Side};
use crate::harness::root::FOSQUITTO;

/// The controller's id; each scene has a bus of its own.
const ID: &str = "0000000A00000214";

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBREC: u8 = 5;

/// On a busy machine, or under an emulator, a controller and a client may need longer than 5 s and 30 s to come back: the bus is as
/// patient as the test.
fn patient() -> String {
    let seconds = PATIENCE.as_secs();
    format!(
        "config keeper 'foris'\n\toption request_ttl '{seconds}'\n\toption reply_ttl '{seconds}'\n"
    )
}

/// So many scenes play at a time: mostly they wait for clients that connect again.
const AT_A_TIME: usize = 12;

const TABLE_BEGIN: &str = "<!-- six states: begin -->\n";
const TABLE_END: &str = "<!-- six states: end -->\n";

/// How a bus ends, before it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// SIGTERM.
    Restart,
    /// SIGKILL.
    Kill,
    /// SIGKILL, and tmpfs is empty afterwards.
    Reboot,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asker {
    /// paho as foris' client uses it.
    Foris,
    /// `fosquitto request`.
    Request,
}

const ENDINGS: [Ending; 3] = [Ending::Restart, Ending::Kill, Ending::Reboot];
const ASKERS: [Asker; 2] = [Asker::Foris, Asker::Request];

/// Where the bus ends: what README.md calls it, and the play.
type Row = (&'static str, fn(&mut Scene<'_>, Ending));

const ROWS: [Row; 9] = [
    ("1 and 2", between_1_and_2),
    ("1 and 2, the controller away", between_1_and_2_alone),
    ("2 and 3, the controller away", between_2_and_3),
    ("2 and 3, the controller starts anew", between_2_and_3_anew),
    ("3 and 4", between_3_and_4),
    ("3 and 4, the client away", between_3_and_4_alone),
    ("4 and 5", between_4_and_5),
    ("4 and 5, the client away", between_4_and_5_alone),
    ("5 and 6", between_5_and_6),
];

/// Who is away and comes back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    Nobody,
    Controller,
    Client,
}

/// A bus, a controller and a client that has one request.
struct Scene<'a> {
    programs: &'a Script,
    broker: Option<Broker>,
    /// The relay before the controller, and that before the client.
    relays: [Relay; 2],
    controller: String,
    client: String,
    asker: Asker,
    asking: Option<Child>,
    /// How often each was ready.
    ready: BTreeMap<String, u32>,
    /// The requests that were replied to.
    replied: usize,
}

impl Scene<'_> {
    fn begin(programs: &Script, asker: Asker, number: usize) -> Scene<'_> {
        let broker = Broker::start(&format!(
            "{LOCAL}config global 'global'\n\toption log_level 'info'\n{}",
            patient()
        ));
        let relays = [Relay::start(), Relay::start()];
        let way = |relay: &Relay| {
            relay.lead_to(Some(broker.address("local")));
            format!(
                "{ID} {} local {}",
                relay.port(),
                broker.root().local_password()
            )
        };
        let (controller, client) = (format!("K{number:02}"), format!("C{number:02}"));
        programs.tell(&format!("controller {controller} {}", way(&relays[0])));
        let way = way(&relays[1]);
        let mut scene = Scene {
            programs,
            broker: Some(broker),
            relays,
            controller,
            client,
            asker,
            asking: None,
            ready: BTreeMap::new(),
            replied: 0,
        };
        scene.wait_for_ready(Away::Client);
        if asker == Asker::Foris {
            programs.tell(&format!("client {} {way}", scene.client));
            scene.wait_for_ready(Away::Controller);
        }
        scene
    }

    fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it is away in `end_bus` only")
    }

    fn wait_for(&self, name: &str, what: &str) -> String {
        let line = format!("{name} {what}");
        self.programs.log().wait_from(0, &line)
    }

    /// Waits until all that are not away are connected and subscribed once more.
    fn wait_for_ready(&mut self, away: Away) {
        let mut names = Vec::new();
        names.extend((away != Away::Controller).then(|| self.controller.clone()));
        let is_program = self.asker == Asker::Foris && away != Away::Client;
        names.extend(is_program.then(|| self.client.clone()));
        for name in names {
            let count = self.ready.entry(name.clone()).or_default();
            *count += 1;
            let what = format!("ready {count}");
            self.wait_for(&name, &what);
        }
    }

    /// Somebody loses the connection, and the bus knows.
    fn leaves(&self, away: Away) {
        let (relay, roles): (_, &[&str]) = match (away, self.asker) {
            (Away::Nobody, _) => return,
            (Away::Controller, _) => (&self.relays[0], &["-controller-request'"]),
            (Away::Client, Asker::Foris) => (
                &self.relays[1],
                &["-client-sender'", "-client-reply-watcher'"],
            ),
            (Away::Client, Asker::Request) => (&self.relays[1], &["-request'"]),
        };
        relay.lead_to(None);
        let mark = self.broker().log().mark();
        relay.cut();
        for role in roles {
            self.broker().log().wait_from(mark, role);
        }
    }

    fn comes_back(&mut self, away: Away) {
        let relay = match away {
            Away::Nobody => return,
            Away::Controller => &self.relays[0],
            Away::Client => &self.relays[1],
        };
        relay.lead_to(Some(self.broker().address("local")));
        match away {
            Away::Client => self.wait_for_ready(Away::Controller),
            _ => self.wait_for_ready(Away::Client),
        }
    }

    /// The controller's program was started again: it comes with a new session, and leaves the old one behind.
    fn another_controller(&mut self) {
        self.programs.tell(&format!("end {}", self.controller));
        self.controller = self.controller.replace('K', "N");
        self.relays[0].lead_to(Some(self.broker().address("local")));
        let password = self.broker().root().local_password();
        let (name, port) = (&self.controller, self.relays[0].port());
        self.programs
            .tell(&format!("controller {name} {ID} {port} local {password}"));
        self.wait_for_ready(Away::Client);
    }

    /// The bus ends and starts again, and those that are not away are back.
    fn end_bus(&mut self, ending: Ending, away: Away) {
        for relay in &self.relays {
            relay.lead_to(None);
        }
        let broker = self.broker.take().expect("it runs");
        let root = match ending {
            Ending::Restart => broker.stop().1,
            Ending::Kill | Ending::Reboot => broker.kill(),
        };
        if ending == Ending::Reboot {
            fs::remove_dir_all(root.join("var/run")).expect("it was there");
        }
        let broker = Broker::start_on(root);
        for (relay, of) in self.relays.iter().zip([Away::Controller, Away::Client]) {
            relay.lead_to((of != away).then(|| broker.address("local")));
        }
        self.broker = Some(broker);
        self.wait_for_ready(away);
    }

    /// Step 1; `fosquitto request` does it with step 2.
    fn subscribe(&self) {
        if self.asker == Asker::Foris {
            self.programs.tell(&format!("subscribe {}", self.client));
            self.wait_for(&self.client, "subscribed");
        }
    }

    fn start_command(&mut self) {
        let port = self.relays[1].port().to_string();
        let timeout = PATIENCE.as_secs().to_string();
        let mut command = Command::new(&*FOSQUITTO);
        command.arg("--root").arg(self.broker().root().path());
        command.args(["request", "-P", &port, "-t", &timeout]);
        command.args([ID, "about", "get", "7"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        self.asking = Some(child.expect("the program can be started"));
    }

    /// Step 2: the bus has the request.
    fn publish(&mut self) {
        if self.asker == Asker::Foris {
            self.programs.tell(&format!("request {}", self.client));
            self.wait_for(&self.client, "published");
            return;
        }
        if self.asking.is_none() {
            self.start_command();
        }
        self.relays[1].wait_for((Side::Broker, PUBREC));
    }

    /// Steps 1 to 3: the controller has the request.
    fn ask(&mut self) {
        self.subscribe();
        self.publish();
        self.wait_for(&self.controller, "got 1 ");
    }

    /// Step 4: the bus has the replies to all requests that are not replied to.
    fn reply(&mut self) {
        let got = self.said(&self.controller, "got");
        for line in &got[self.replied..] {
            let id = line.rsplit(' ').next().expect("a line has words");
            self.programs
                .tell(&format!("reply {} {id}", self.controller));
            self.replied += 1;
            self.wait_for(&self.controller, &format!("replied {id}"));
        }
    }

    /// Everything of a kind that a program has said.
    fn said(&self, name: &str, what: &str) -> Vec<String> {
        let head = format!("{name} {what} ");
        let lines = self.programs.log().lines();
        lines
            .into_iter()
            .filter(|line| line.starts_with(&head))
            .collect()
    }

    /// Waits until a program has got everything that was sent to it.
    fn settle(&self, name: &str, topic: &str) {
        let mut last = self.broker().join(&Connect::new(Version::V311, "last"));
        last.publish(&format!("foris-controller/{ID}/{topic}"), "end");
        last.ping();
        self.wait_for(name, "end");
    }

    /// Lets what is under way come to its end. What arrived, in README.md's words.
    fn outcome(mut self) -> String {
        let is_answered = match self.asking.take() {
            Some(asking) => self.command_is_answered(asking),
            None => {
                self.settle(&self.controller, "request/end/action/end");
                self.reply();
                self.settle(&self.client, "reply/end");
                let answers = self.said(&self.client, "answered");
                let live = answers.iter().filter(|line| line.ends_with(" live"));
                assert!(live.count() <= 1, "a reply comes once: {answers:?}");
                self.programs.tell(&format!("end {}", self.client));
                !answers.is_empty()
            }
        };
        self.programs.tell(&format!("end {}", self.controller));
        let done = self.said(&self.controller, "got").len();
        let text = match (done, is_answered) {
            (1, true) => "answered",
            (2, true) => "answered, done twice",
            (0, false) => "the request is lost",
            (1, false) => "the reply is lost",
            _ => panic!("done {done} times, answered: {is_answered}"),
        };
        text.to_owned()
    }

    /// Replies to what the command asks until it ends.
    fn command_is_answered(&mut self, asking: Child) -> bool {
        let settled = format!("{} end", self.controller);
        let (mut is_over, mut output) = (false, None);
        std::thread::scope(|threads| {
            let broker = self.broker.take().expect("it runs");
            let waiting = threads.spawn(move || {
                let output = asking.wait_with_output();
                let mut last = broker.join(&Connect::new(Version::V311, "last"));
                let topic = format!("foris-controller/{ID}/request/end/action/end");
                last.publish(&topic, "end");
                last.ping();
                (output, broker)
            });
            while !is_over {
                let next = format!("{} got {} ", self.controller, self.replied + 1);
                let said = self.programs.log().wait_for_any(0, &[&next, &settled]);
                is_over = said == settled;
                self.reply();
            }
            let (ended, broker) = waiting.join().expect("it does not panic");
            self.broker = Some(broker);
            output = ended.ok();
        });
        output.expect("a child can be waited for").status.success()
    }
}

fn between_1_and_2(scene: &mut Scene<'_>, ending: Ending) {
    up_to_2(scene, ending, Away::Nobody);
}

fn between_1_and_2_alone(scene: &mut Scene<'_>, ending: Ending) {
    scene.leaves(Away::Controller);
    up_to_2(scene, ending, Away::Controller);
    scene.comes_back(Away::Controller);
}

fn up_to_2(scene: &mut Scene<'_>, ending: Ending, away: Away) {
    scene.subscribe();
    if scene.asker == Asker::Request {
        scene.relays[1].lose((Side::Client, PUBLISH));
        scene.start_command();
        scene.relays[1].wait_for_loss();
    }
    scene.end_bus(ending, away);
    scene.publish();
}

fn between_2_and_3(scene: &mut Scene<'_>, ending: Ending) {
    scene.leaves(Away::Controller);
    scene.subscribe();
    scene.publish();
    scene.end_bus(ending, Away::Controller);
    scene.comes_back(Away::Controller);
}

fn between_2_and_3_anew(scene: &mut Scene<'_>, ending: Ending) {
    scene.leaves(Away::Controller);
    scene.subscribe();
    scene.publish();
    scene.end_bus(ending, Away::Controller);
    scene.another_controller();
}

fn between_3_and_4(scene: &mut Scene<'_>, ending: Ending) {
    scene.ask();
    scene.end_bus(ending, Away::Nobody);
    scene.reply();
}

fn between_3_and_4_alone(scene: &mut Scene<'_>, ending: Ending) {
    scene.ask();
    scene.leaves(Away::Client);
    scene.end_bus(ending, Away::Client);
    scene.reply();
    scene.comes_back(Away::Client);
}

fn between_4_and_5(scene: &mut Scene<'_>, ending: Ending) {
    scene.ask();
    scene.relays[1].lose((Side::Broker, PUBLISH));
    scene.reply();
    scene.relays[1].wait_for_loss();
    scene.end_bus(ending, Away::Nobody);
}

fn between_4_and_5_alone(scene: &mut Scene<'_>, ending: Ending) {
    scene.ask();
    scene.leaves(Away::Client);
    scene.reply();
    scene.end_bus(ending, Away::Client);
    scene.comes_back(Away::Client);
}

fn between_5_and_6(scene: &mut Scene<'_>, ending: Ending) {
    scene.ask();
    match scene.asker {
        Asker::Foris => {
            scene.reply();
            scene.wait_for(&scene.client, "answered 1 ");
        }
        Asker::Request => {
            // It unsubscribes by a connection of its own.
            scene.relays[1].lose((Side::Client, CONNECT));
            scene.reply();
            scene.relays[1].wait_for_loss();
        }
    }
    scene.end_bus(ending, Away::Nobody);
    if scene.asker == Asker::Foris {
        scene
            .programs
            .tell(&format!("unsubscribe {}", scene.client));
        scene.wait_for(&scene.client, "unsubscribed");
    }
}

/// What arrives, by row, who asks, and ending.
fn play_all() -> BTreeMap<(usize, Asker, Ending), String> {
    let programs = Script::start(PAHO[0], "foris_programs.py");
    let cells = (0..ROWS.len()).flat_map(|row| {
        let of_row = ASKERS
            .iter()
            .flat_map(|asker| ENDINGS.iter().map(|it| (*asker, *it)));
        of_row.map(move |(asker, ending)| (row, asker, ending))
    });
    let open = Mutex::new(cells.enumerate());
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|threads| {
        for _ in 0..AT_A_TIME {
            threads.spawn(|| {
                loop {
                    let next = open.lock().expect("nobody panics with it").next();
                    let Some((number, (row, asker, ending))) = next else {
                        return;
                    };
                    println!("scene {number}: {}, {asker:?}, {ending:?}", ROWS[row].0);
                    let mut scene = Scene::begin(&programs, asker, number);
                    ROWS[row].1(&mut scene, ending);
                    let outcome = scene.outcome();
                    let mut outcomes = outcomes.lock().expect("nobody panics with it");
                    outcomes.insert((row, asker, ending), outcome);
                }
            });
        }
    });
    outcomes.into_inner().expect("nobody panics with it")
}

fn table(outcomes: &BTreeMap<(usize, Asker, Ending), String>) -> String {
    let mut text = String::from(
        "\n| the bus ends between | foris: restart | kill | reboot | `request`: restart | kill | reboot |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for (row, (name, _)) in ROWS.iter().enumerate() {
        let of_row = outcomes.iter().filter(|((of, ..), _)| *of == row);
        let cells: Vec<&str> = of_row.map(|(_, outcome)| outcome.as_str()).collect();
        writeln!(text, "| {name} | {} |", cells.join(" | ")).expect("a text takes all");
    }
    text + "\n"
}

#[test]
fn what_arrives_when_the_bus_ends_between_two_steps_is_what_readme_says() {
    let outcomes = play_all();
    println!("{}", table(&outcomes));
    for ((row, asker, ending), outcome) in &outcomes {
        let name = ROWS[*row].0;
        let may_be_less = *ending == Ending::Reboot;
        assert!(
            may_be_less || outcome == "answered",
            "{name}, {asker:?}, {ending:?}: {outcome}"
        );
    }
    let path = Path::new(PROJECT).join("README.md");
    let text = fs::read_to_string(&path).expect("README.md can be read");
    let (before, rest) = text
        .split_once(TABLE_BEGIN)
        .expect("the line before the table");
    let (found, after) = rest
        .split_once(TABLE_END)
        .expect("the line after the table");
    let expected = table(&outcomes);
    if found == expected {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_EXPECT").is_some(),
        "README.md's table is old: UPDATE_EXPECT=1 writes this one:\n{expected}"
    );
    let text = format!("{before}{TABLE_BEGIN}{expected}{TABLE_END}{after}");
    fs::write(path, text).expect("README.md can be written");
}
