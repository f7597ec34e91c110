//! What is wrong in a configuration: every fault with its file, line and option, as one line each to print. Entered
//! through [`Faults::push`] by the parsers, and through `Display` by whoever tells the user.
//!
//! A fault reaches the whole configuration: one is enough that it is not used. Nothing here decides what a fault is.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// So many faults are kept; of the others it is only said that there are more.
pub(crate) const FAULTS_MAX: usize = 200;

/// The longest piece of the user's text that a message repeats, in characters.
const QUOTED_MAX: usize = 80;

/// One thing that is wrong, printed as `/etc/config/fosquitto:12: fosquitto.lan.port: '99999' is not a port (1-65535)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 0 if it is the file itself (it cannot be read).
    pub line: u32,
    /// What is wrong and what was expected, without a line's end; begins with the option's UCI address if there is one.
    pub what: String,
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.what),
        }
    }
}

/// All that is wrong in a configuration, in the order of the lines. Printed as one line each, without a final line's end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Adds one, unless there are very many already: then the first one too many says so.
    pub fn push(&mut self, path: &Path, line: u32, what: impl Into<String>) {
        let (line, what) = match self.0.len() {
            0..FAULTS_MAX => (line, what.into()),
            FAULTS_MAX => (0, "there are more faults than these".into()),
            _ => return,
        };
        let path = path.to_owned();
        self.0.push(Fault { path, line, what });
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there are so many that further ones are not kept, and need not be looked for.
    pub fn is_full(&self) -> bool {
        self.0.len() > FAULTS_MAX
    }

    /// Brings them into the order of files and lines; those of one line keep their order, and that there are more
    /// stays the last.
    pub fn sort(&mut self) {
        let kept = self.0.len().min(FAULTS_MAX);
        self.0[..kept].sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    }
}

impl Display for Faults {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A piece of the user's text in quotes, escaped and bounded, so that it cannot forge a line or a terminal's command.
pub struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", crate::log::Escaped::bounded(self.0, QUOTED_MAX))
    }
}

/// ` (did you mean 'port'?)` if one of the known words is near enough to what was written, else nothing.
pub fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(written, known) {
        Some(word) => format!(" (did you mean '{word}'?)"),
        None => String::new(),
    }
}

/// The known word that is nearest to what was written: at most a third of its letters differ, swapped neighbours
/// counting as one, and case as none.
fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A longer text is no slip of the keys, and comparing takes the product of both lengths.
    if written.len() > 64 {
        return None;
    }
    let written = written.to_lowercase();
    let letters = written.chars().count();
    let near = known.into_iter().filter_map(|word| {
        let word_letters = word.chars().count();
        let slips = word_letters.div_ceil(3);
        // A cheap look at the lengths first: there may be thousands of names.
        if word_letters.abs_diff(letters) > slips {
            return None;
        }
        let distance = strsim::damerau_levenshtein(&written, &word.to_lowercase());
        (distance <= slips).then_some((distance, word))
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_printed_with_its_file_and_line() {
        let fault = Fault {
            path: "/etc/config/fosquitto".into(),
            line: 12,
            what: "fosquitto.lan.port: wrong".into(),
        };
        assert_eq!(
            fault.to_string(),
            "/etc/config/fosquitto:12: fosquitto.lan.port: wrong"
        );
        let fault = Fault { line: 0, ..fault };
        assert_eq!(
            fault.to_string(),
            "/etc/config/fosquitto: fosquitto.lan.port: wrong"
        );
    }

    #[test]
    fn faults_are_sorted_by_line_and_keep_their_order_within_one() {
        let mut faults = Faults::default();
        for (line, what) in [(7, "b"), (2, "x"), (7, "a")] {
            faults.push(Path::new("/f"), line, what);
        }
        faults.sort();
        assert_eq!(faults.to_string(), "/f:2: x\n/f:7: b\n/f:7: a");
    }

    #[test]
    fn very_many_faults_are_cut_and_it_is_said() {
        let mut faults = Faults::default();
        for line in 1..10_000 {
            faults.push(Path::new("/f"), line, "wrong");
        }
        assert!(faults.is_full() && faults.0.len() == FAULTS_MAX + 1);
        faults.sort();
        let last = faults.0[FAULTS_MAX].to_string();
        assert_eq!(last, "/f: there are more faults than these");
    }

    #[test]
    fn quoted_text_cannot_forge_a_line_or_a_terminal_command() {
        assert_eq!(Quoted("a\n\x1b[2Jb'").to_string(), r"'a\n\x1b[2Jb\''");
        assert!(Quoted(&"x".repeat(500)).to_string().chars().count() <= QUOTED_MAX + 3);
    }

    #[test]
    fn a_slip_of_the_keys_is_recognized_and_another_word_is_not() {
        let known = ["port", "address", "protocol"];
        assert_eq!(did_you_mean("prot", known), " (did you mean 'port'?)");
        assert_eq!(did_you_mean("Port", known), " (did you mean 'port'?)");
        assert_eq!(did_you_mean("adress", known), " (did you mean 'address'?)");
        assert_eq!(did_you_mean("colour", known), "");
        assert_eq!(did_you_mean(&"port".repeat(1000), known), "");
    }
}
