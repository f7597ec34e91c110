//! By which names the bus knows messages of other brokers, over a restart and a crash: a file beside the journal, in memory as that is.
//!
//! Entered by [`TrailFile::open`] at the start and by [`TrailFile::save`] at the end of each turn, after the journal and before anything is
//! acknowledged: what is there was taken, and comes a second time on another way. A power cut takes it with the memory. Where it cannot be
//! written the bus goes on without.
//!
//! `trail`: `FQTRL\0` and the version of the form, 2, in two bytes; the seed of the names; how many starts there were; of each start the origin
//! and the number of its first message, the present one the last; and names to the end of the file. All are numbers of 8 bytes, little endian. An end that is no whole number is passed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::net::trail::{Kept, REMEMBERED_MAX, Start, Trail};

const MAGIC: u64 = u64::from_le_bytes(*b"FQTRL\0\x02\0");

/// A file with so many times more names than are remembered at least is written anew; at most three times as many are.
const TIMES_MAX: usize = 4;

/// More than a file ever has, in bytes.
const FILE_BYTES_MAX: u64 = 2 * (TIMES_MAX * REMEMBERED_MAX * size_of::<u64>()) as u64;

/// The file.
#[derive(Debug, Default)]
pub struct TrailFile {
    path: PathBuf,
    /// `None` where it cannot be written.
    file: Option<File>,
    names: usize,
}

impl TrailFile {
    /// Takes over what a former start has left in a folder, and begins to keep.
    pub fn open(folder: &Path, trail: &Trail) -> TrailFile {
        let path = folder.join("trail");
        match read(&path) {
            Ok(Some(kept)) => trail.go_on(kept),
            Ok(None) => {}
            Err(error) => log::debug!("{}: {error}", path.display()),
        }
        let mut file = TrailFile {
            path,
            ..TrailFile::default()
        };
        file.begin(trail);
        file
    }

    /// Appends the names that are new.
    pub fn save(&mut self, trail: &Trail) {
        let Some(file) = &mut self.file else {
            return;
        };
        let (mut count, mut written) = (0, Ok(()));
        trail.take_new(|new| {
            count = new.len();
            written = file.write_all(&bytes_of(new));
        });
        self.names += count;
        if let Err(error) = written {
            self.give_up(&error);
        }
        if self.names > TIMES_MAX * trail.room() {
            self.begin(trail);
        }
    }

    /// Writes all anew; until that is complete, the former file stays.
    fn begin(&mut self, trail: &Trail) {
        let kept = trail.kept();
        let mut numbers = vec![MAGIC, kept.seed, kept.starts.len() as u64];
        numbers.extend(kept.starts.iter().flat_map(|it| [it.origin, it.first]));
        numbers.extend(&kept.names);
        self.names = kept.names.len();
        match replace(&self.path, &bytes_of(&numbers)) {
            Ok(file) => self.file = Some(file),
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        let path = self.path.display();
        log::warn!("{path}: {error}; what comes on two ways may come twice after a restart");
        self.file = None;
        self.names = 0;
    }
}

fn bytes_of(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|it| it.to_le_bytes()).collect()
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.custom_flags(libc::O_NOFOLLOW).open(&beside)?;
    file.write_all(bytes)?;
    fs::rename(&beside, path)?;
    Ok(file)
}

/// What the file has; `None` if there is none, or one of another form.
fn read(path: &Path) -> io::Result<Option<Kept>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let (whole, _) = bytes.as_chunks::<8>();
    let mut numbers = whole.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let (Some(MAGIC), Some(seed), Some(count)) = (numbers.next(), numbers.next(), numbers.next())
    else {
        return Ok(None);
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let starts = std::iter::from_fn(|| {
        let (origin, first) = (numbers.next()?, numbers.next()?);
        Some(Start { origin, first })
    });
    Ok(Some(Kept {
        seed,
        starts: starts.take(count).collect(),
        names: numbers.collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::Scratch;
    use crate::net::trail::Arrival;

    fn arrives(at: &Trail, from: &Trail, number: u64) -> bool {
        let stamped = from.stamp(b"", number, 10).expect("no hops yet");
        match at.judge(&stamped, "t") {
            Arrival::New(name) => {
                at.remember(name.expect("it is stamped"));
                true
            }
            Arrival::Known | Arrival::Past(_) => false,
        }
    }

    #[test]
    fn what_was_had_and_what_was_its_own_is_known_after_a_restart() {
        let scratch = Scratch::new();
        let folder = scratch.file("x", b"");
        let folder = folder.parent().expect("it is in the folder");
        let other = Trail::new(99);
        let mut last = Trail::new(1);
        let mut file = TrailFile::open(folder, &last);
        for start in 2..6 {
            assert!(arrives(&last, &other, start));
            file.save(&last);
            let own = last.stamp(b"", start, 10).expect("no hops yet");
            last = Trail::new(start);
            file = TrailFile::open(folder, &last);
            let judged = last.judge(&own, "t");
            assert!(matches!(judged, Arrival::Past(_)), "it was its own");
            for number in 2..=start {
                assert!(!arrives(&last, &other, number), "{number} of {start}");
            }
        }
    }

    #[test]
    fn the_file_has_a_bound_and_one_that_is_damaged_is_none() {
        let scratch = Scratch::new();
        let path = scratch.file("trail", b"no trail at all");
        let folder = path.parent().expect("it is in the folder");
        let (trail, other) = (Trail::new(1), Trail::new(2));
        let mut file = TrailFile::open(folder, &trail);
        let names_max = TIMES_MAX * trail.room();
        for number in 0..3 * names_max as u64 {
            arrives(&trail, &other, number);
            if number % 100 == 0 {
                file.save(&trail);
            }
            assert!(file.names <= names_max);
        }
        let bytes = fs::metadata(&path).expect("it is there").len();
        assert!(bytes < FILE_BYTES_MAX / 2, "{bytes}");
    }
}
