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
//! | 0–7 | `FQJNL\0` and the version of the format, 2, in two bytes |
//! | 8–15 | the database's own number, so that a journal of another one is known |
//! | 16–23 | the boot during which it was written ([`Clock::boot`]) |
//! | 24–31 | the broker's time less the boot clock, in milliseconds |
//! | 32–39 | the first segment whose content this one has: itself, or an earlier one where several were compacted into it |
//! | 40–47 | the number of its first record |
//! | 48–55 | for a compacted one: the number of its last record; 0 for others, which have no gaps |
//! | 56–59 | 1 where the file was a segment's before, so that some of that may follow its last frame; else 0 |
//! | 60–63 | CRC-32 of all before |
//!
//! then *frames*, one a turn of the loop: the length of its records in 4 bytes, how many they are in 4, the CRC-32 of these 8 bytes and
//! of the records in 4, which begins with that of the header, and the records ([`super::record`]). A frame is written at once; one that is cut
//! off or does not fit its CRC ends the segment: a frame of another segment never fits.
//!
//! # Who writes
//!
//! [`Tail`] is the event loop's end: it appends, and begins the next segment when one is full. Where hardly anything is left of the one at hand and
//! nobody has read it, that goes to the beginning of another file, which takes its name ([`Tail::renew`]): two files take turns, and a bus on
//! which messages come and go gets by without more memory and without the store's thread. That one reads
//! ([`read`]), compacts ([`write_compacted`]) and removes. No file is synced: tmpfs is memory, and what a power cut takes the database
//! has or had not yet.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Set;
use super::coalesce::Item;
use super::live::Left;
use super::record::{HEAD_BYTES, Record, Writer};

/// A segment that has more bytes than this is followed by the next: small enough that what is dead in it hardly takes memory, and large
/// enough that a busy bus compacts some ten times a second at most.
pub const SEGMENT_BYTES: u64 = 128 << 10;

/// A segment with so many bytes may go on in the other file.
const RENEW_BYTES: u64 = SEGMENT_BYTES / 2;

const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"FQJNL\0\x02\x00";

/// The file that a segment can go on in.
const SPARE: &str = "spare";

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
    /// Whether something of another segment may follow its frames.
    pub is_reused: bool,
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
        bytes[56] = self.is_reused.into();
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        if bytes[..8] != MAGIC || crc32fast::hash(&bytes[..60]) != crc_of_header(bytes) {
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
            is_reused: bytes[56] > 0,
        })
    }
}

/// What the CRC of each frame begins with.
fn crc_of_header(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[60..64].try_into().expect("four bytes"))
}

/// Where a segment is.
pub fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("journal-{number}"))
}

/// Numbers above this are nobody's: there must be room for those that follow.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// The numbers of the segments that are there, in order. What a compaction left that did not come to its end is removed, and the file that was
/// to be the next.
pub fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b"compacting-") || name == SPARE {
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

/// Removes the file that was to be the next. The caller is at its end.
pub fn remove_spare(directory: &Path) {
    // One that stays is removed at the next start.
    let _ = fs::remove_file(directory.join(SPARE));
}

/// The event loop's end of the journal.
#[derive(Debug)]
pub struct Tail {
    file: File,
    bytes: u64,
    /// What the CRC of each frame begins with.
    crc: u32,
    /// The file that it can go on in, if it has one already.
    spare: Option<File>,
    /// How long it must be to go on there; for ever where the file system cannot do that.
    renewable: u64,
}

impl Tail {
    /// Begins a segment.
    pub fn begin(directory: &Path, number: u64, header: Header) -> io::Result<Tail> {
        let file = create(&path(directory, number))?;
        let header = header.encode();
        file.write_all_at(&header, 0)?;
        Ok(Tail {
            file,
            bytes: HEADER_BYTES as u64,
            crc: crc_of_header(&header),
            spare: None,
            renewable: RENEW_BYTES,
        })
    }

    /// Takes over what the one before can go on with.
    pub fn follow(&mut self, former: &mut Tail) {
        self.spare = former.spare.take();
        if former.renewable == u64::MAX {
            self.renewable = u64::MAX;
        }
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

    /// Whether it is time to look whether it can go on in the other file.
    pub fn is_renewable(&self) -> bool {
        self.bytes >= self.renewable
    }

    /// It could not: that is not looked at again before it is full.
    pub fn is_not_renewed(&mut self) {
        self.renewable = self.renewable.max(SEGMENT_BYTES);
    }

    /// Appends a frame; its bytes. After an error the segment ends where it did before.
    pub fn append(&mut self, records: &mut Writer) -> io::Result<u64> {
        let frame = frame(records, self.crc);
        let bytes = frame.len() as u64;
        let written = self.file.write_all_at(frame, self.bytes);
        match written {
            Ok(()) => self.bytes += bytes,
            // What was written of it must not stand before the next frame.
            Err(_) => self.file.set_len(self.bytes)?,
        }
        written.map(|()| bytes)
    }

    /// Goes on in the other file, with what is left and under another header; its bytes, and where the records begin there. The other file takes the name of
    /// this one at once, so that a crash finds one of them whole. Nobody else may read it meanwhile.
    pub fn renew(
        &mut self,
        directory: &Path,
        number: u64,
        header: Header,
        left: &Left,
    ) -> io::Result<(u64, u64)> {
        let mut records = Writer::default();
        for place in &left.places {
            let room = records.append((place.end - place.start) as usize);
            self.file.read_exact_at(room, u64::from(place.start))?;
        }
        records.counts(left.records);
        let spare = directory.join(SPARE);
        let other = match self.spare.take() {
            Some(file) => file,
            None => create(&spare)?,
        };
        let mut content = header.encode().to_vec();
        self.crc = match self.put_in_place(&other, &spare, number, &mut content, &mut records) {
            Ok(crc) => crc,
            Err(error) => {
                remove_spare(directory);
                self.renewable = u64::MAX;
                return Err(error);
            }
        };
        let former = std::mem::replace(&mut self.file, other);
        match self.bytes <= 2 * SEGMENT_BYTES {
            true => self.spare = Some(former),
            false => remove_spare(directory),
        }
        (self.bytes, self.renewable) = (content.len() as u64, RENEW_BYTES);
        Ok((self.bytes, (HEADER_BYTES + HEAD_BYTES) as u64))
    }

    /// Fills the other file, which is called `spare`, and exchanges the names. What the CRC of each frame begins with from now on.
    fn put_in_place(
        &self,
        other: &File,
        spare: &Path,
        number: u64,
        content: &mut Vec<u8>,
        records: &mut Writer,
    ) -> io::Result<u32> {
        let crc = crc_of_header(content);
        if records.count() > 0 {
            content.extend_from_slice(frame(records, crc));
        }
        other.write_all_at(content, 0)?;
        exchange(spare, &path(spare.parent().unwrap_or(spare), number))?;
        Ok(crc)
    }
}

/// Gives two files each other's name, at once.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let [one, other] = [one, other].map(|path| CString::new(path.as_os_str().as_bytes()));
    let (one, other) = (one?, other?);
    // SAFETY: both names end in a NUL and are there during the call. Not every C library has a function for it.
    let done = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The frame of records in a segment whose header has this CRC.
fn frame(records: &mut Writer, crc: u32) -> &[u8] {
    let mut head = [0; HEAD_BYTES];
    // A turn handles far fewer bytes: sockets are read by pages, and packets have 256 MB at most.
    let length = u32::try_from(records.bytes().len()).expect("a turn has less than 4 GiB");
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..8].copy_from_slice(&records.count().to_le_bytes());
    let crc = crc_of(crc, &head[..8], records.bytes());
    head[8..].copy_from_slice(&crc.to_le_bytes());
    records.frame(head)
}

fn crc_of(begin: u32, head: &[u8], records: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(begin);
    hasher.update(head);
    hasher.update(records);
    hasher.finalize()
}

/// A file that only the bus may read, and no link to another.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
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
    /// What the segment says of itself.
    pub header: Header,
    /// The records of all its frames.
    pub records: Vec<u8>,
    /// How many there are.
    pub count: u64,
    /// Where the next frame begins.
    pub end: u64,
    /// Whether there is something after that which is no frame, and was never anything else.
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
///
/// # Errors
/// It cannot be read, or it is none.
pub fn read(path: &Path, from: u64) -> io::Result<Content> {
    let mut file = open(path)?;
    let mut head = [0; HEADER_BYTES];
    file.read_exact(&mut head)?;
    let header = Header::decode(&head).ok_or(io::ErrorKind::InvalidData)?;
    let from = from.max(HEADER_BYTES as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let (mut all, mut end, mut kept) = (0, 0, 0);
    while let Some((count, length)) = next_frame(&bytes[end..], crc_of_header(&head)) {
        // The records move together in place: a second copy of a large journal would be as large.
        bytes.copy_within(end + HEAD_BYTES..end + length, kept);
        all += u64::from(count);
        (end, kept) = (end + length, kept + length - HEAD_BYTES);
    }
    let is_torn = end < bytes.len() && !header.is_reused;
    bytes.truncate(kept);
    Ok(Content {
        header,
        records: bytes,
        count: all,
        end: from + end as u64,
        is_torn,
    })
}

/// The number of a frame's records, and its length.
fn next_frame(bytes: &[u8], crc: u32) -> Option<(u32, usize)> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let number = |at: usize| Some(u32::from_le_bytes(head[at..at + 4].try_into().ok()?));
    let records = rest.get(..number(0)? as usize)?;
    let is_whole = crc_of(crc, &head[..8], records) == number(8)?;
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
    let header = header.encode();
    let framed = frame(&mut records, crc_of_header(&header));
    let bytes = HEADER_BYTES + framed.len();
    file.write_all(&[&header, framed].concat())?;
    fs::rename(&beside, &path)?;
    Ok(bytes as u64)
}

/// Puts a compacted segment in the place of the one with this number; until it is complete, that one stays.
pub fn write_compacted<'a>(
    directory: &Path,
    number: u64,
    header: Header,
    records: impl Iterator<Item = Item<'a>>,
) -> io::Result<u64> {
    let path = path(directory, number);
    let beside = directory.join(format!("compacting-{number}"));
    let mut file = io::BufWriter::new(create(&beside)?);
    let header = header.encode();
    let crc = crc_of_header(&header);
    file.write_all(&header)?;
    let mut bytes = HEADER_BYTES;
    let mut writer = Writer::default();
    let mut bodies = Set::default();
    for item in records {
        if let Some(body) = item.body.filter(|body| bodies.insert(body.id)) {
            writer.record(&Record::Body(body));
        }
        writer.record(&item.record);
        if writer.bytes().len() as u64 >= SEGMENT_BYTES / 4 {
            let framed = frame(&mut writer, crc);
            bytes += framed.len();
            file.write_all(framed)?;
            writer.clear();
        }
    }
    let framed = frame(&mut writer, crc);
    bytes += framed.len();
    file.write_all(framed)?;
    file.into_inner().map_err(|error| error.into_error())?;
    fs::rename(&beside, &path)?;
    Ok(bytes as u64)
}
