//! `fosquitto backup`: writes a consistent copy of the database into a new file that only its owner may read. Entered through [`run`].
//!
//! A running bus makes the copy, with all that it has acknowledged, and this command moves it to where it is wanted; where no bus runs it is made
//! of the database and the journal that the next start would go on from. A file that is there is never overwritten. `--kept` is what an upgrade of
//! the system asks for: its copy stands beside the database, and replaces the one of an upgrade before.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::dump::{asker, database, offline};
use crate::control::{Backup, Request};
use crate::store;

const USAGE: &str = "\
Usage: fosquitto backup [--root DIR] FILE    copy the database into FILE, which must not be there
       fosquitto backup [--root DIR] --kept  copy it to where a start takes it from that finds no database, and print where

      --root DIR take the router's paths below DIR (default /)
  -h, --help     show this
";

/// Where the copy goes.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    File(PathBuf),
    Kept,
}

/// Runs the command with what follows its name. Exit status 1 where there is nothing to copy, or no place for it.
pub fn run(root: &Path, arguments: Vec<OsString>) -> ExitCode {
    let (root, target) = match parse(root, arguments) {
        Ok(Some(understood)) => understood,
        Ok(None) => return super::print(USAGE),
        Err(what) => {
            eprintln!("fosquitto backup: {what}\n\n{USAGE}");
            return ExitCode::from(super::USAGE);
        }
    };
    let done = match target {
        Target::File(file) => make_alone(&file)
            .and_then(|to| back_up(&root, &file, to))
            .map(|()| ExitCode::SUCCESS),
        Target::Kept => keep(&root).map(|path| super::print(&format!("{}\n", path.display()))),
    };
    done.unwrap_or_else(|what| {
        eprintln!("fosquitto backup: {what}");
        ExitCode::from(super::FAULTS)
    })
}

fn parse(root: &Path, arguments: Vec<OsString>) -> Result<Option<(PathBuf, Target)>, String> {
    use lexopt::{Arg, Parser};
    let mut parser = Parser::from_args(arguments);
    let (mut root, mut target) = (root.to_owned(), None);
    let in_words = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(in_words)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("root") => root = parser.value().map_err(in_words)?.into(),
            Arg::Long("kept") if target.is_none() => target = Some(Target::Kept),
            Arg::Value(value) if target.is_none() => target = Some(Target::File(value.into())),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let target = target.ok_or("the file to make is missing")?;
    Ok(Some((root, target)))
}

/// Makes a file that only its owner may read.
fn make_alone(path: &Path) -> Result<File, String> {
    let mut open = OpenOptions::new();
    let opened = open.write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{} is there already: it is not overwritten", path.display())
        }
        _ => format!("{}: {error}", path.display()),
    })
}

/// Fills a file that was just made. It is removed where that fails.
fn back_up(root: &Path, path: &Path, mut to: File) -> Result<(), String> {
    let done = with_copy(root, |copy| {
        let mut from = File::open(copy)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()
    });
    done.inspect_err(|_| {
        // What cannot be removed is a part of a copy, which its length shows.
        let _ = fs::remove_file(path);
    })
}

/// Puts a copy beside the database.
fn keep(root: &Path) -> Result<PathBuf, String> {
    let kept = store::kept(&database(root)?);
    let draft = kept.with_extension("kept-draft");
    // What an earlier attempt left is nobody's.
    let _ = fs::remove_file(&draft);
    back_up(root, &draft, make_alone(&draft)?)?;
    fs::rename(&draft, &kept).map_err(|error| format!("{}: {error}", kept.display()))?;
    Ok(kept)
}

/// Runs `act` with the path of a copy that is gone afterwards.
fn with_copy(root: &Path, act: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), String> {
    if let Some(mut asker) = asker(root)? {
        let answer = asker.ask(&Request::Backup {})?;
        let Backup { path } = serde_json::from_value(answer).map_err(|error| error.to_string())?;
        let done = act(&path);
        // The bus removes what is left.
        let _ = fs::remove_file(&path);
        return done.map_err(|error| error.to_string());
    }
    let state = offline(root, None)?;
    act(&state.copy()?).map_err(|error| error.to_string())
}
