//! `cargo bench --bench bus`: this project's broker side by side with Debian's mosquitto. For every case it starts each broker in turn, round by round,
//! measures the processor time (of all threads) or the memory that the same work costs, and prints medians and their ratio as a Markdown table.
//! Nothing counts that was not delivered: every message carries its number, and what is lost is said.
//!
//! The way of a run: `main` reads the options → `cases` is the table of what is measured → `broker` starts a broker → `flow`,
//! `connections`, `latency`, `memory`, `durability` and `asked` let it work → `report` prints. `instructions` is `--instructions`, `relay` the floor below which no broker can be.
//!
//! It does not compare what brokers can do, and it uses nothing of the crate that it measures but the binary.

mod asked;
mod broker;
mod cases;
mod certificate;
mod client;
mod connections;
mod durability;
mod flow;
mod instructions;
mod latency;
mod machine;
mod memory;
mod packet;
mod relay;
mod report;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use broker::{Kind, Programs};
use cases::Case;
use report::Rounds;

const USAGE: &str = "usage: bus --bench [options]
  --case NAME        only this case, or all that begin with NAME before a '*'; may be given several times
  --list             print the names of the cases and end
  --rounds N         rounds, of which the medians count (5)
  --seconds S        how long each broker works in each round (1)
  --only BROKER      mosquitto, fosquitto or relay alone; may be given several times
  --fosquitto PATH   the binary to measure (the one that was built with the benchmark)
  --mosquitto PATH   the mosquitto to measure against (/usr/sbin/mosquitto)
  --instructions     callgrind's instructions a message instead, held against tests/bench/instructions.txt
Without any option it prints this and ends: `cargo test --all-targets` starts it like that.";

/// What the command line asks for.
struct Options {
    cases: Vec<String>,
    list: bool,
    rounds: usize,
    seconds: f64,
    only: Vec<Kind>,
    programs: Programs,
    instructions: bool,
    relay: Option<u16>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match Options::read(arguments).and_then(|options| options.run()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn read(arguments: Vec<String>) -> io::Result<Options> {
        let mut options = Options {
            cases: Vec::new(),
            list: false,
            rounds: 5,
            seconds: 1.0,
            only: Vec::new(),
            programs: Programs {
                mosquitto: PathBuf::from("/usr/sbin/mosquitto"),
                fosquitto: built_binary(),
                processors: Vec::new(),
                apart: Vec::new(),
                wrapper: Vec::new(),
            },
            instructions: false,
            relay: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(option) = arguments.next() {
            options.take(&option, &mut arguments)?;
        }
        Ok(options)
    }

    /// Takes one option and the value that follows it, if it has one.
    fn take(&mut self, option: &str, rest: &mut impl Iterator<Item = String>) -> io::Result<()> {
        let mut value = || {
            rest.next()
                .ok_or_else(|| io::Error::other(format!("{option} needs a value\n{USAGE}")))
        };
        match option {
            // Cargo says so to every benchmark.
            "--bench" => {}
            "--case" => self.cases.push(value()?),
            "--list" => self.list = true,
            "--rounds" => self.rounds = number(&value()?)?,
            "--seconds" => self.seconds = number(&value()?)?,
            "--only" => {
                let name = value()?;
                let kinds = [Kind::Mosquitto, Kind::Fosquitto, Kind::Relay];
                let kind = kinds.into_iter().find(|kind| kind.name() == name);
                self.only.push(kind.ok_or_else(|| {
                    io::Error::other(format!("'{name}' is not a broker\n{USAGE}"))
                })?);
            }
            "--fosquitto" => self.programs.fosquitto = PathBuf::from(value()?),
            "--mosquitto" => self.programs.mosquitto = PathBuf::from(value()?),
            "--instructions" => self.instructions = true,
            "--relay" => self.relay = Some(number(&value()?)?),
            _ => {
                return Err(io::Error::other(format!(
                    "'{option}' is not an option\n{USAGE}"
                )));
            }
        }
        Ok(())
    }

    /// Does what was asked for; false if a broker failed or lost something.
    fn run(mut self) -> io::Result<bool> {
        if let Some(port) = self.relay {
            return relay::serve(port).map(|()| true);
        }
        let cases: Vec<Case> = cases::all()
            .into_iter()
            .filter(|case| self.chooses(&case.name))
            .collect();
        if cases.is_empty() {
            return Err(io::Error::other(
                "no case has such a name; --list prints them",
            ));
        }
        if self.list {
            cases.iter().for_each(|case| println!("{}", case.name));
            return Ok(true);
        }
        self.find_programs()?;
        machine::raise_open_files()?;
        self.share_processor()?;
        if self.instructions {
            return instructions::hold(&self.kinds(), &self.programs);
        }
        self.measure(&cases)
    }

    fn chooses(&self, name: &str) -> bool {
        let fits = |wanted: &String| {
            wanted
                .strip_suffix('*')
                .map_or(wanted == name, |start| name.starts_with(start))
        };
        self.cases.is_empty() || self.cases.iter().any(fits)
    }

    /// Says at once which broker is missing, not once a case and round.
    fn find_programs(&mut self) -> io::Result<()> {
        let kinds = self.kinds();
        let programs = [
            (Kind::Mosquitto, &mut self.programs.mosquitto),
            (Kind::Fosquitto, &mut self.programs.fosquitto),
        ];
        for (kind, program) in programs
            .into_iter()
            .filter(|(kind, _)| kinds.contains(kind))
        {
            let (name, shown) = (kind.name(), program.display());
            // A name without a folder would be looked for in PATH.
            *program = program.canonicalize().map_err(|error| {
                let remedy = format!("give its path by --{name}, or do without by --only");
                io::Error::other(format!("there is no {name} at {shown} ({error}): {remedy}"))
            })?;
        }
        Ok(())
    }

    /// Generator and broker take turns on the last processor: whoever works has a batch waiting when it is its turn, as on a router with one
    /// core. On two processors the broker would also pay for waking the other one at each write, or not, as chance has it: that made the
    /// same run differ by half.
    fn share_processor(&mut self) -> io::Result<()> {
        let mut processors = machine::processors();
        if let Some(last) = processors.pop() {
            machine::stay_on(&[last])?;
            self.programs.processors = vec![last];
            self.programs.apart = if processors.is_empty() {
                vec![last]
            } else {
                processors
            };
        }
        Ok(())
    }

    /// The kinds of brokers to run, in the order of a round.
    fn kinds(&self) -> Vec<Kind> {
        let all = vec![Kind::Mosquitto, Kind::Fosquitto, Kind::Relay];
        if self.only.is_empty() {
            all
        } else {
            self.only.clone()
        }
    }

    fn measure(&self, cases: &[Case]) -> io::Result<bool> {
        let time = Duration::from_secs_f64(self.seconds);
        println!(
            "{} rounds of {} s each on {}; medians\n\n{}",
            self.rounds,
            self.seconds,
            machine::processor_name(),
            report::heading()
        );
        if cases.iter().any(Case::is_synced) {
            eprintln!("bench: a sync takes {:.2} ms", durability::sync_ms()?);
        }
        let mut good = true;
        for case in cases {
            let mut rounds = Rounds {
                case,
                found: self
                    .kinds()
                    .into_iter()
                    .map(|kind| (kind, Vec::new()))
                    .collect(),
            };
            for _ in 0..self.rounds {
                for (kind, found) in &mut rounds.found {
                    match case.run(*kind, &self.programs, time) {
                        None => {}
                        Some(Ok(run)) => found.push(run),
                        Some(Err(error)) => {
                            good = false;
                            eprintln!("bench: {}, {}: {error}", case.name, kind.name());
                        }
                    }
                }
            }
            good &= !rounds.is_faulty();
            rounds.lines().iter().for_each(|line| println!("{line}"));
        }
        Ok(good)
    }
}

/// The release binary: the one that Cargo built together with this benchmark, or the one that lies two folders above it.
fn built_binary() -> PathBuf {
    let beside = || {
        Some(
            std::env::current_exe()
                .ok()?
                .parent()?
                .parent()?
                .join("fosquitto"),
        )
    };
    option_env!("CARGO_BIN_EXE_fosquitto")
        .map(PathBuf::from)
        .or_else(beside)
        .unwrap_or_else(|| Path::new("fosquitto").to_owned())
}

fn number<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse()
        .map_err(|_| io::Error::other(format!("'{text}' is not a number that fits")))
}
