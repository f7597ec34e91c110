//! What SQLite writes to flash, counted: a VFS that lies between SQLite and the system's files.
//!
//! [`Vfs::register`] is called once, before the database is opened; [`Vfs::name`] is then given to
//! `Connection::open_with_flags_and_vfs`. It is never the default VFS, so that other connections of the process do not count.
//! Every call goes on to SQLite's own VFS for Unix. [`Vfs::counts`] says at any time, on any thread, what was written.
//!
//! There is no shared memory: the methods of a file are those of version 1. So WAL works with `locking_mode=EXCLUSIVE` only, which must
//! be the first pragma on a connection. That is meant: on JFFS2 a shared map fails, on UBIFS it can end in SIGBUS, and a connection
//! that forgot the pragma fails here on every machine, not on the router first. There are no maps of a file to read from either
//! (`mmap_size` stays without effect), so that every byte goes through a system call that can fail in an orderly way.
//!
//! A [`Layer`] can be put under SQLite, which sees every operation before it is carried out and can make it fail. Tests do
//! that; the broker registers none, and what remains of it is one branch.
//!
//! What it does not do: buffer, retry, or judge errors. It does not know what the file system makes of a write (its own headers, compression and
//! erase blocks), so that flash wears by more than is counted here.
//!
//! # What a transaction costs
//!
//! KiB for a thousand messages with topics of 46 bytes and payloads of 120, of which 20 are committed together with `synchronous=FULL`, and
//! a checkpoint is made after 256 KiB of WAL. The tests of `vfs/costs.rs` hold what follows from it, and print all of it.
//!
//! | work | WAL 512 | WAL 1024 | WAL 4096 | TRUNCATE 512 | TRUNCATE 1024 | TRUNCATE 4096 |
//! |---|---|---|---|---|---|---|
//! | queued, the delivery by session and number | 1385 | 1696 | 3843 | 1704 | 2387 | 5749 |
//! | queued, the delivery in the order of arrival | 731 | 697 | 1463 | 615 | 728 | 2151 |
//! | queued, message and delivery in one row | 646 | 599 | 1167 | 512 | 587 | 1701 |
//! | the same, and 20 older ones delivered | 705 | 754 | 1916 | 983 | 1079 | 3156 |
//! | a retained message replaced, by its topic | 1832 | 2282 | 4204 | 2320 | 3318 | 6339 |
//! | a retained message replaced, by a number | 730 | 1478 | 2121 | 1083 | 2133 | 3148 |
//!
//! - **Pages of 1024 bytes** write half of what those of 4096 do. Those of 512 write less again for small rows, but every row of more than 477 bytes
//!   goes into pages of its own there (102 bytes in a table `WITHOUT ROWID`; 989 and 230 with pages of 1024), and each write costs JFFS2 a header of 68 bytes:
//!   reckoned with these, 1024 writes less for what is queued (1162 against 1367 KiB), and the same for what comes and goes (1480 against 1512).
//! - **Keys in the order of arrival** write half of what others do, as a transaction then changes a few neighbouring pages. What is looked up by
//!   another key is better kept in memory, with no index on flash.
//! - **A WAL** is synced once a transaction and three times a checkpoint, a journal in TRUNCATE mode four times a transaction. New pages need no journal, so
//!   that it writes no more than a WAL where rows are only added; whatever changes is written to both.
//! - **A checkpoint** writes each page once that was changed since the last one: with 64, 128, 256 and 512 KiB between them, a thousand messages in one row cost 234,
//!   221, 209 and 206 KiB of it, a thousand retained ones by number 1006, 734, 403 and 190. The WAL is longer than the limit by one transaction at most, and that space
//!   is taken from flash for good while the broker runs.
//! - **A single message** a transaction costs 4.6 times as much as one of twenty (2746 KiB against 599).
//! - `auto_vacuum=INCREMENTAL` adds 12 % where rows are added (673 against 599) and 7 % where they come and go; NONE keeps pages that came free for later rows.
//! - `synchronous=NORMAL` writes the same bytes and loses commits at a power cut, without a bound in time (`power/tests.rs`).
//!
//! Beyond one transaction, two facts hold for whoever writes to the database. A commit that fails may have happened: the rows are there or not, whole, and
//! after the failure a read says which. With a journal, reads fail as well until the disk is well again; neither mode needs a new connection then.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::ffi;

#[cfg(test)]
mod costs;
#[cfg(test)]
mod tests;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A database.
    Database,
    /// The rollback journal of a database.
    Journal,
    /// The write-ahead log of a database.
    Wal,
    /// Anything else: temporary files, the journals of statements and of several databases together.
    Other,
}

/// What was done to the files of one kind. Only what succeeded is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Bytes written.
    pub bytes: u64,
    /// Calls that wrote them.
    pub writes: u64,
    /// Calls that made what was written durable. The first one on a new journal or WAL syncs its folder too, which is not counted apart.
    pub syncs: u64,
    /// Changes of a file's length, without those by a write at its end.
    pub truncates: u64,
}

/// What was done to the files of every connection on a VFS since it was registered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Databases.
    pub database: FileCounts,
    /// Rollback journals.
    pub journal: FileCounts,
    /// Write-ahead logs.
    pub wal: FileCounts,
    /// Other files. With `temp_store=MEMORY` there should be none.
    pub other: FileCounts,
}

impl Counts {
    /// The counts of one kind.
    pub fn of(&mut self, kind: Kind) -> &mut FileCounts {
        match kind {
            Kind::Database => &mut self.database,
            Kind::Journal => &mut self.journal,
            Kind::Wal => &mut self.wal,
            Kind::Other => &mut self.other,
        }
    }

    /// All kinds together.
    pub fn total(&self) -> FileCounts {
        let mut total = FileCounts::default();
        for counts in [self.database, self.journal, self.wal, self.other] {
            total.bytes += counts.bytes;
            total.writes += counts.writes;
            total.syncs += counts.syncs;
            total.truncates += counts.truncates;
        }
        total
    }
}

/// What SQLite is about to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Open it, and with `create` make it if it is not there.
    Open {
        /// Whether a new file may be made.
        create: bool,
    },
    /// Read `length` bytes.
    Read {
        /// Bytes from the beginning of the file.
        offset: u64,
        /// How many bytes.
        length: usize,
    },
    /// Write, which may make the file longer.
    Write {
        /// Bytes from the beginning of the file.
        offset: u64,
        /// What is written.
        data: &'a [u8],
    },
    /// Set the length of the file.
    Truncate {
        /// Its new length in bytes.
        size: u64,
    },
    /// Make what was written to it durable.
    Sync,
    /// Remove it from its folder.
    Delete {
        /// Whether the removal is made durable at once.
        sync_folder: bool,
    },
}

/// Why an operation does not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What SQLite is told: `SQLITE_FULL` or one of the `SQLITE_IOERR_…` codes.
    pub code: c_int,
    /// How many bytes of a write get to the file all the same.
    pub written: usize,
}

/// Something under SQLite that sees each operation before it happens, and may let it fail.
pub trait Layer: Send + Sync {
    /// Called on the thread of the connection. `path` is empty for a temporary file. A panic in here is an I/O error for SQLite.
    ///
    /// # Errors
    /// The operation is not carried out, and SQLite gets the failure's code.
    fn before(&self, path: &Path, kind: Kind, action: Action<'_>) -> Result<(), Failure>;
}

/// A registered VFS. It lives as long as the process, as connections on it may.
pub struct Vfs {
    /// SQLite's VFS for Unix, which does the work.
    base: *mut ffi::sqlite3_vfs,
    name: CString,
    layer: Option<Arc<dyn Layer>>,
    counts: Mutex<Counts>,
}

// SAFETY: `base` is the one field that is not so by itself. SQLite never frees or changes its VFS for Unix after its initialisation, and
// calls its functions from any thread itself.
unsafe impl Send for Vfs {}
// SAFETY: as above.
unsafe impl Sync for Vfs {}

impl Vfs {
    /// Registers a VFS under a name of its own: `fosquitto`, then `fosquitto-1` and so on. It takes a few hundred bytes that are never given back.
    ///
    /// # Errors
    /// SQLite could not be initialised, or refuses it for want of memory.
    pub fn register(layer: Option<Arc<dyn Layer>>) -> rusqlite::Result<&'static Vfs> {
        static REGISTERED: AtomicUsize = AtomicUsize::new(0);
        let name = match REGISTERED.fetch_add(1, Ordering::Relaxed) {
            0 => c"fosquitto".to_owned(),
            number => CString::new(format!("fosquitto-{number}"))
                .expect("a number's digits hold no zero byte"),
        };
        // SAFETY: a null name asks for the default VFS; the call initialises SQLite if nobody has.
        let base = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        if base.is_null() {
            return Err(error(ffi::SQLITE_ERROR));
        }
        let vfs: &'static Vfs = Box::leak(Box::new(Vfs {
            base,
            name,
            layer,
            counts: Mutex::default(),
        }));
        // SAFETY: `base` is not null, so it is a VFS, and nobody writes to these two fields of a registered one.
        let (base_file_size, path_max) = unsafe { ((*base).szOsFile, (*base).mxPathname) };
        let own_size = c_int::try_from(REAL_FILE).expect("it is some dozen bytes");
        let raw = Box::into_raw(Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: own_size + base_file_size,
            mxPathname: path_max,
            pNext: ptr::null_mut(),
            zName: vfs.name.as_ptr(),
            pAppData: ptr::from_ref(vfs).cast_mut().cast::<c_void>(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            // Only loading an extension would call them, and that is refused before it gets here: nobody enables it.
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: Some(last_error),
            xCurrentTimeInt64: Some(current_time_int64),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: `raw` is a whole VFS with a name that no other has, and neither it nor what it points to is ever freed.
        match unsafe { ffi::sqlite3_vfs_register(raw, 0) } {
            ffi::SQLITE_OK => Ok(vfs),
            code => Err(error(code)),
        }
    }

    /// The name to open a connection with.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// What was done to files until now.
    pub fn counts(&self) -> Counts {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the layer, if there is one.
    ///
    /// # Safety
    /// `name` MUST be null or a string that ends in a zero byte and stays as it is during the call.
    unsafe fn ask(
        &self,
        name: *const c_char,
        kind: Kind,
        action: Action<'_>,
    ) -> Result<(), Failure> {
        let Some(layer) = &self.layer else {
            return Ok(());
        };
        let name = if name.is_null() {
            c""
        } else {
            // SAFETY: the caller promises it.
            unsafe { CStr::from_ptr(name) }
        };
        let path = Path::new(OsStr::from_bytes(name.to_bytes()));
        // A panic must not run into SQLite's frames, which cannot be unwound.
        catch_unwind(AssertUnwindSafe(|| layer.before(path, kind, action))).unwrap_or(Err(
            Failure {
                code: ffi::SQLITE_IOERR,
                written: 0,
            },
        ))
    }
}

fn error(code: c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

/// The VFS that a raw one was registered for.
///
/// # Safety
/// `raw` MUST be the VFS that [`Vfs::register`] made, which SQLite gives to each of its functions.
unsafe fn vfs_of(raw: *mut ffi::sqlite3_vfs) -> &'static Vfs {
    // SAFETY: its `pAppData` was made from a `&'static Vfs`.
    unsafe { &*(*raw).pAppData.cast::<Vfs>() }
}

/// An open file as SQLite holds it, in memory that SQLite gives and takes. The base VFS's own file lies behind it, at [`REAL_FILE`].
#[repr(C)]
struct File {
    methods: ffi::sqlite3_file,
    vfs: &'static Vfs,
    kind: Kind,
    /// SQLite keeps the name as it is until the file is closed. Null for a temporary file.
    name: *const c_char,
}

/// Where the base VFS's file begins: SQLite's own files hold 64-bit numbers, so that it stands on eight bytes.
const REAL_FILE: usize = size_of::<File>().next_multiple_of(8);

/// The methods of a file, in their first version: no shared memory, no maps.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// The base VFS's file.
///
/// # Safety
/// `file` MUST be one that SQLite gave to a function of this VFS, with the `szOsFile` bytes that were asked for.
unsafe fn real(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: `szOsFile` is the sum of this offset and what the base VFS asks for.
    unsafe { file.byte_add(REAL_FILE) }
}

/// This VFS's part of an open file.
///
/// # Safety
/// As for [`real`], and [`open`] MUST have succeeded for it, and [`close`] not have been called.
unsafe fn file_of<'a>(file: *mut ffi::sqlite3_file) -> &'a File {
    // SAFETY: `open` wrote a `File` there, and nothing but `close` writes to it again.
    unsafe { &*file.cast::<File>() }
}

/// Defines functions that hand a call on to the base VFS, which has them all.
macro_rules! handed_on_by_vfs {
    ($($function:ident => $field:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $function(raw: *mut ffi::sqlite3_vfs, $($argument: $type),*) -> c_int {
            // SAFETY: SQLite gives the VFS that was registered, and arguments that are right for the base VFS as for this one.
            unsafe {
                let base = vfs_of(raw).base;
                (*base).$field.map_or(ffi::SQLITE_ERROR, |function| function(base, $($argument),*))
            }
        }
    )*};
}

handed_on_by_vfs! {
    access => xAccess(name: *const c_char, flags: c_int, answer: *mut c_int);
    full_pathname => xFullPathname(name: *const c_char, length: c_int, full: *mut c_char);
    randomness => xRandomness(length: c_int, bytes: *mut c_char);
    sleep => xSleep(microseconds: c_int);
    current_time => xCurrentTime(days: *mut f64);
    last_error => xGetLastError(length: c_int, text: *mut c_char);
    current_time_int64 => xCurrentTimeInt64(milliseconds: *mut ffi::sqlite3_int64);
}

/// Defines functions that hand a call on to the base VFS's file. One without its method answers that it does not know the call.
macro_rules! handed_on_by_file {
    ($($function:ident => $field:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $function(file: *mut ffi::sqlite3_file, $($argument: $type),*) -> c_int {
            // SAFETY: SQLite calls it on open files only, whose part of the base VFS is then open too; the arguments are right for both.
            unsafe {
                let real = real(file);
                (*(*real).pMethods)
                    .$field
                    .map_or(ffi::SQLITE_NOTFOUND, |function| function(real, $($argument),*))
            }
        }
    )*};
}

handed_on_by_file! {
    real_close => xClose();
    real_read => xRead(to: *mut c_void, length: c_int, offset: ffi::sqlite3_int64);
    real_write => xWrite(from: *const c_void, length: c_int, offset: ffi::sqlite3_int64);
    real_truncate => xTruncate(size: ffi::sqlite3_int64);
    real_sync => xSync(flags: c_int);
    file_size => xFileSize(size: *mut ffi::sqlite3_int64);
    lock => xLock(level: c_int);
    unlock => xUnlock(level: c_int);
    check_reserved_lock => xCheckReservedLock(answer: *mut c_int);
    file_control => xFileControl(operation: c_int, argument: *mut c_void);
    sector_size => xSectorSize();
    device_characteristics => xDeviceCharacteristics();
}

unsafe extern "C" fn open(
    raw: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let kind = match flags {
        _ if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 => Kind::Database,
        _ if flags & ffi::SQLITE_OPEN_MAIN_JOURNAL != 0 => Kind::Journal,
        _ if flags & ffi::SQLITE_OPEN_WAL != 0 => Kind::Wal,
        _ => Kind::Other,
    };
    let create = flags & ffi::SQLITE_OPEN_CREATE != 0;
    // SAFETY: SQLite gives `szOsFile` bytes at `file` that are nobody else's, and a name that is null or a string which stays as it is
    // until the file is closed. A file whose methods are null counts as one that is not open.
    unsafe {
        let vfs = vfs_of(raw);
        (*file).pMethods = ptr::null();
        if let Err(failure) = vfs.ask(name, kind, Action::Open { create }) {
            return failure.code;
        }
        let real = real(file);
        (*real).pMethods = ptr::null();
        let Some(open) = (*vfs.base).xOpen else {
            return ffi::SQLITE_CANTOPEN;
        };
        let code = open(vfs.base, name, real, flags, flags_out);
        if code == ffi::SQLITE_OK {
            file.cast::<File>().write(File {
                methods: ffi::sqlite3_file { pMethods: &METHODS },
                vfs,
                kind,
                name,
            });
        } else if !(*real).pMethods.is_null() {
            // The contract of xOpen: with methods, a file is closed even if it did not open.
            real_close(file);
        }
        code
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes an open file once. A `File` holds nothing that must be dropped.
    unsafe {
        let code = real_close(file);
        (*file).pMethods = ptr::null();
        code
    }
}

unsafe extern "C" fn delete(
    raw: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_folder: c_int,
) -> c_int {
    // SAFETY: SQLite gives the VFS that was registered, and a string that lasts for the call.
    unsafe {
        let vfs = vfs_of(raw);
        let action = Action::Delete {
            sync_folder: sync_folder != 0,
        };
        // The name alone says what the file was for.
        let kind = match CStr::from_ptr(name).to_bytes() {
            bytes if bytes.ends_with(b"-journal") => Kind::Journal,
            bytes if bytes.ends_with(b"-wal") => Kind::Wal,
            _ => Kind::Other,
        };
        if let Err(failure) = vfs.ask(name, kind, action) {
            return failure.code;
        }
        (*vfs.base).xDelete.map_or(ffi::SQLITE_IOERR, |delete| {
            delete(vfs.base, name, sync_folder)
        })
    }
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    to: *mut c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let action = Action::Read {
        offset: unsigned(offset),
        length: usize::try_from(length).unwrap_or(0),
    };
    // SAFETY: SQLite gives an open file, whose name lasts as long as it is, and `length` bytes to write to.
    unsafe {
        let own = file_of(file);
        match own.vfs.ask(own.name, own.kind, action) {
            Ok(()) => real_read(file, to, length, offset),
            Err(failure) => failure.code,
        }
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite gives an open file, whose name lasts as long as it is, and `length` bytes to read from.
    unsafe {
        let own = file_of(file);
        let data = if length > 0 {
            std::slice::from_raw_parts(from.cast::<u8>(), length as usize)
        } else {
            &[]
        };
        let action = Action::Write {
            offset: unsigned(offset),
            data,
        };
        let (length, failed) = match own.vfs.ask(own.name, own.kind, action) {
            Ok(()) => (length, None),
            Err(failure) => {
                let written = failure.written.min(data.len());
                (written as c_int, Some(failure.code))
            }
        };
        if let (0, Some(code)) = (length, failed) {
            return code;
        }
        let code = real_write(file, from, length, offset);
        if code == ffi::SQLITE_OK {
            let mut counts = own.vfs.lock();
            let counts = counts.of(own.kind);
            counts.bytes += unsigned(length.into());
            counts.writes += 1;
        }
        failed.unwrap_or(code)
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    let action = Action::Truncate {
        size: unsigned(size),
    };
    // SAFETY: SQLite gives an open file, whose name lasts as long as it is.
    unsafe {
        let own = file_of(file);
        if let Err(failure) = own.vfs.ask(own.name, own.kind, action) {
            return failure.code;
        }
        let code = real_truncate(file, size);
        if code == ffi::SQLITE_OK {
            own.vfs.lock().of(own.kind).truncates += 1;
        }
        code
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: SQLite gives an open file, whose name lasts as long as it is.
    unsafe {
        let own = file_of(file);
        if let Err(failure) = own.vfs.ask(own.name, own.kind, Action::Sync) {
            return failure.code;
        }
        let code = real_sync(file, flags);
        if code == ffi::SQLITE_OK {
            own.vfs.lock().of(own.kind).syncs += 1;
        }
        code
    }
}

/// SQLite's offsets and lengths are signed and never negative.
fn unsigned(number: ffi::sqlite3_int64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
