//! The journal: what the broker did since the database was written last, on tmpfs, so that a crash loses nothing and flash is not
//! worn by what comes and goes.
//!
//! # Files
//!
//! `journal-N`, N counting up, one after the other; a *segment* each. A segment begins with a header of 64 bytes, all numbers little
//! endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | `FQJNL\0` and the version of the format, 1, in two bytes |
//! | 8–15 | the database's own number, so that a journal of another one is known |
//! | 16–23 | the boot during which it was written ([`Clock::boot`]) |
//! | 24–31 | the broker's time less the boot clock, in milliseconds |
//! | 32–39 | the first segment whose content this one has: itself, or an earlier one where several were compacted into it |
//! | 40–47 | the number of its first record |
//! | 48–55 | for a compacted one: the number of its last record; 0 for others, which have no gaps |
//! | 56–59 | CRC-32 of all before |
//! | 60–63 | 0 |
//!
//! then *frames*, one a turn of the loop: the length of its records in 4 bytes, how many they are in 4, the CRC-32 of these 8 bytes and
//! of the records in 4, and the records ([`super::record`]). A frame is written at once; one that is cut off or does not fit its CRC ends the segment.
//!
//! # Who writes
//!
//! [`Tail`] is the event loop's end: it appends, and begins the next segment when one is full. The store's thread reads
//! ([`read`]), compacts ([`write_compacted`]) and removes. No file is synced: tmpfs is memory, and what a power cut takes the database
//! has or had not yet.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Set;
use super::coalesce::Item;
use super::live::Left;
use super::record::{HEAD_BYTES, Record, Writer};

/// A segment that has more bytes than this is followed by the next: small enough that what is dead in it hardly takes memory, and large
/// enough that a busy bus compacts some ten times a second at most.
pub const SEGMENT_BYTES: u64 = 128 << 10;

const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"FQJNL\0\x01\x00";

/// Which time it is: how the broker's time goes on over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// A number of the present boot of the machine.
    pub boot: u64,
    /// The broker's time less the boot clock, in milliseconds; wraps.
    pub offset_ms: u64,
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The database's number.
    pub store: u64,
    /// When it was written.
    pub clock: Clock,
    /// The first segment that it replaces.
    pub covers_from: u64,
    /// The number of its first record.
    pub first: u64,
    /// The number of its last record where it was compacted.
    pub compacted_to: Option<u64>,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        let numbers = [
            self.store,
            self.clock.boot,
            self.clock.offset_ms,
            self.covers_from,
            self.first,
            self.compacted_to.unwrap_or(0),
        ];
        for (place, number) in bytes[8..56].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[..56]);
        bytes[56..60].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let crc = u32::from_le_bytes(bytes[56..60].try_into().ok()?);
        if bytes[..8] != MAGIC || crc32fast::hash(&bytes[..56]) != crc {
            return None;
        }
        let mut numbers = bytes[8..56]
            .chunks_exact(8)
            .map(|place| u64::from_le_bytes(place.try_into().expect("chunks of 8")));
        let mut next = || numbers.next().expect("there are 6");
        Some(Header {
            store: next(),
            clock: Clock {
                boot: next(),
                offset_ms: next(),
            },
            covers_from: next(),
            first: next(),
            compacted_to: Some(next()).filter(|last| *last > 0),
        })
    }
}

/// Where a segment is.
pub fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("journal-{number}"))
}

/// Numbers above this are nobody's: there must be room for those that follow.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// The numbers of the segments that are there, in order. What a compaction left that did not come to its end is removed.
pub fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b"compacting-") {
            // One that stays is memory lost, and nothing else.
            let _ = fs::remove_file(entry.path());
        }
        let number = name.to_str().and_then(|name| name.strip_prefix("journal-"));
        let number = number.and_then(|number| number.parse::<u64>().ok());
        // `journal-07` is none of ours.
        let is_ours =
            |number: &u64| *number < NUMBER_MAX && path(directory, *number).ends_with(&name);
        numbers.extend(number.filter(is_ours));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The event loop's end of the journal.
#[derive(Debug)]
pub struct Tail {
    file: File,
    bytes: u64,
}

impl Tail {
    /// Begins a segment.
    pub fn begin(directory: &Path, number: u64, header: Header) -> io::Result<Tail> {
        let mut file = create(&path(directory, number))?;
        file.write_all(&header.encode())?;
        Ok(Tail {
            file,
            bytes: HEADER_BYTES as u64,
        })
    }

    /// Lets every write from now on fail as on a full tmpfs.
    #[cfg(test)]
    pub fn fill_up(&mut self) {
        let full = OpenOptions::new().write(true).open("/dev/full");
        self.file = full.expect("Linux has it");
    }

    /// How long the segment is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the next one should begin.
    pub fn is_full(&self) -> bool {
        self.bytes >= SEGMENT_BYTES
    }

    /// Appends a frame; its bytes. After an error the segment ends where it did before.
    pub fn append(&mut self, records: &mut Writer) -> io::Result<u64> {
        let frame = frame(records);
        let bytes = frame.len() as u64;
        let written = self.file.write_all(frame);
        match written {
            Ok(()) => self.bytes += bytes,
            Err(_) => {
                // What was written of it must not stand before the next frame.
                self.file.set_len(self.bytes)?;
                self.file.seek(SeekFrom::Start(self.bytes))?;
            }
        }
        written.map(|()| bytes)
    }
}

/// The frame of records.
fn frame(records: &mut Writer) -> &[u8] {
    let mut head = [0; HEAD_BYTES];
    // A turn handles far fewer bytes: sockets are read by pages, and packets have 256 MB at most.
    let length = u32::try_from(records.bytes().len()).expect("a turn has less than 4 GiB");
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..8].copy_from_slice(&records.count().to_le_bytes());
    let crc = crc_of(&head[..8], records.bytes());
    head[8..].copy_from_slice(&crc.to_le_bytes());
    records.frame(head)
}

fn crc_of(head: &[u8], records: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(records);
    hasher.finalize()
}

/// A file that only the bus may read, and no link to another.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
}

/// The content of a segment, or of its end.
#[derive(Debug)]
pub struct Content {
    /// The records of all its frames.
    pub records: Vec<u8>,
    /// How many there are.
    pub count: u64,
    /// Where the next frame begins.
    pub end: u64,
    /// Whether there is something after that which is no frame.
    pub is_torn: bool,
}

/// Opens a segment to read. What is no plain file neither keeps it waiting nor leads it elsewhere.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC);
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The header of a segment.
pub fn read_header(path: &Path) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER_BYTES];
    match open(path)?.read_exact(&mut bytes) {
        Ok(()) => Ok(Header::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The frames of a segment from `from` on; 0 for all.
pub fn read(path: &Path, from: u64) -> io::Result<Content> {
    let mut file = open(path)?;
    let from = from.max(HEADER_BYTES as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let (mut all, mut end, mut kept) = (0, 0, 0);
    while let Some((count, length)) = next_frame(&bytes[end..]) {
        // The records move together in place: a second copy of a large journal would be as large.
        bytes.copy_within(end + HEAD_BYTES..end + length, kept);
        all += u64::from(count);
        (end, kept) = (end + length, kept + length - HEAD_BYTES);
    }
    let is_torn = end < bytes.len();
    bytes.truncate(kept);
    Ok(Content {
        records: bytes,
        count: all,
        end: from + end as u64,
        is_torn,
    })
}

/// The number of a frame's records, and its length.
fn next_frame(bytes: &[u8]) -> Option<(u32, usize)> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let number = |at: usize| Some(u32::from_le_bytes(head[at..at + 4].try_into().ok()?));
    let records = rest.get(..number(0)? as usize)?;
    let is_whole = crc_of(&head[..8], records) == number(8)?;
    is_whole.then_some((number(4)?, HEAD_BYTES + records.len()))
}

/// Leaves in a segment the records of these places, which are few, under another header; its bytes. Until that is complete, all stays.
pub fn write_left(directory: &Path, number: u64, header: Header, left: &Left) -> io::Result<u64> {
    let path = path(directory, number);
    let from = open(&path)?;
    let mut records = Writer::default();
    for place in &left.places {
        let room = records.append((place.end - place.start) as usize);
        from.read_exact_at(room, u64::from(place.start))?;
    }
    records.counts(left.records);
    let beside = directory.join(format!("compacting-{number}"));
    let mut file = create(&beside)?;
    let framed = frame(&mut records);
    let bytes = HEADER_BYTES + framed.len();
    file.write_all(&[&header.encode(), framed].concat())?;
    fs::rename(&beside, &path)?;
    Ok(bytes as u64)
}

/// Puts a compacted segment in the place of the one with this number; until it is complete, that one stays.
pub fn write_compacted<'r, 'a: 'r>(
    directory: &Path,
    number: u64,
    header: Header,
    records: impl Iterator<Item = Item<'r, 'a>>,
) -> io::Result<u64> {
    let path = path(directory, number);
    let beside = directory.join(format!("compacting-{number}"));
    let mut file = io::BufWriter::new(create(&beside)?);
    file.write_all(&header.encode())?;
    let mut bytes = HEADER_BYTES;
    let mut writer = Writer::default();
    let mut bodies = Set::default();
    for item in records {
        if let Some(body) = item.body.filter(|body| bodies.insert(body.id)) {
            writer.record(&Record::Body(*body));
        }
        writer.record(item.record);
        if writer.bytes().len() as u64 >= SEGMENT_BYTES / 4 {
            let framed = frame(&mut writer);
            bytes += framed.len();
            file.write_all(framed)?;
            writer.clear();
        }
    }
    let framed = frame(&mut writer);
    bytes += framed.len();
    file.write_all(framed)?;
    file.into_inner().map_err(|error| error.into_error())?;
    fs::rename(&beside, &path)?;
    Ok(bytes as u64)
}
