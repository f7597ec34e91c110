//! The passwords of this router, below `DIR/etc/fosquitto/`.
//!
//! | file | what it holds | who writes it |
//! |---|---|---|
//! | `credentials.plain` | `local:` and 32 upper-case hexadecimal digits, one line feed | [`ensure_local`] |
//! | `credentials.hashed` | the same user's hash, in mosquitto's form | [`ensure_local`] |
//! | `passwd` | further users, in mosquitto's form; need not exist | [`set_user`], [`remove_user`] |
//! | `scram` | SCRAM keys of the users of both (`scram_file` tells its form) | whoever writes one of them |
//! | `scram.secret` | 32 random bytes in base64, from which the salts of unknown users are made | [`ensure_scram_secret`] |
//!
//! The first two, the directory `bridges` beside them and all modes are the contract with the programs of the router: they read the
//! first line of `credentials.plain`, without its last character, and log in with that. So the plain file is the one that counts: the
//! hashed one is made anew from it whenever the two disagree. Every file is written whole and synced before it takes its name, the
//! plain one first, so that a power cut at any moment leaves what the next start repairs.
//!
//! What this does not do: it does not watch the files; [`Credentials`] is what stood in them when it was loaded.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::passwd_file::{self, Users};
use super::password::{self, Hash, NEW_ITERATIONS, Secret};
use super::scram::Keys;
use super::scram_file::{self, Secrets};
use super::{Fault, file};

/// The user by which the programs of this router log in.
pub const LOCAL_USER: &str = "local";

/// Room for some 30,000 users; more is a mistake that would fill a router's memory.
const FILE_BYTES_MAX: usize = 4 << 20;

/// All users that have a password, as the files said when they were read. It does not change: a reload makes a new one.
pub struct Credentials {
    users: Users,
    /// The PBKDF2 iterations that every check is brought up to.
    iterations_max: u32,
    scram: Secrets,
}

impl Credentials {
    /// Reads `credentials.hashed`, `passwd` and `scram` below `root`. A file that is missing has no users.
    ///
    /// # Errors
    /// All faults of the files, a user who stands in both of the first two among them.
    pub fn load(root: &Path) -> Result<Credentials, Vec<Fault>> {
        let (credentials, faults) = Credentials::load_sound(root);
        if faults.is_empty() {
            Ok(credentials)
        } else {
            Err(faults)
        }
    }

    /// Reads the same files, and leaves out the one that has faults: nobody of a file with a fault is let in, but a slip
    /// in `passwd` does not lock out the router's own programs. All faults of the files come with it.
    pub fn load_sound(root: &Path) -> (Credentials, Vec<Fault>) {
        let paths = Paths::below(root);
        let (hashed, passwd) = (&paths.hashed, &paths.passwd);
        let mut users = Users::new();
        let mut faults = Vec::new();
        for path in [hashed, passwd] {
            match load_file(path) {
                Ok(more) => {
                    let twice = more.keys().filter(|user| users.contains_key(*user));
                    let what = |user| format!("user {user:?} stands in {} too", hashed.display());
                    let before = faults.len();
                    faults.extend(twice.map(|user| Fault::of_file(path, what(user))));
                    if faults.len() == before {
                        users.extend(more);
                    }
                }
                Err(more) => faults.extend(more),
            }
        }
        let (scram, more) = load_scram(&paths, &users);
        faults.extend(more);
        let dearest = users.values().map(Hash::iterations).max();
        let credentials = Credentials {
            users,
            iterations_max: dearest.unwrap_or(NEW_ITERATIONS).max(1),
            scram,
        };
        (credentials, faults)
    }

    /// The SCRAM keys of a user, or made-up ones that nobody has the password of.
    ///
    /// # Errors
    /// OpenSSL has no SHA-256 to give.
    pub(super) fn scram_keys(&self, user: &str) -> Result<Keys, openssl::error::ErrorStack> {
        self.scram.keys_of(user)
    }

    /// Whether this is the user's password. It takes equally long for every user, known or not: the time must not tell who exists.
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        let hash = self.users.get(user);
        let is_right = hash.is_some_and(|hash| hash.verifies(password));
        let spent = hash.map_or(0, Hash::iterations);
        password::burn(password, self.iterations_max - spent);
        is_right
    }

    /// Whether the user has a password. A reload asks this of everybody who is logged in.
    pub fn contains(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }
}

/// What [`ensure_local`] found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalCredentials {
    /// Both files were there and belonged together.
    Kept,
    /// The hashed file was made anew from the plain one.
    Repaired,
    /// There is a new password.
    Created,
}

/// Sees to it that the user `local` has a password which the programs of this router can read, and makes the directories that belong
/// to it.
///
/// # Errors
/// Something could not be read or written. The process may go on: what is there, is as it was, or whole.
pub fn ensure_local(root: &Path) -> Result<LocalCredentials, Fault> {
    let paths = Paths::below(root);
    for directory in [&paths.directory, &paths.bridges] {
        file::create_private_directory(directory)
            .map_err(|error| failed(directory, "made", &error))?;
    }
    let _lock = file::DirectoryLock::acquire(&paths.directory)
        .map_err(|error| failed(&paths.directory, "locked", &error))?;
    let plain = Secret::of(read(&paths.plain)?.unwrap_or_default());
    let hashed = read(&paths.hashed)?;
    let (password, done) = match (local_password(plain.expose()), hashed) {
        (Some(password), Some(hashed)) if agrees(&hashed, password.expose()) => {
            (password, LocalCredentials::Kept)
        }
        (Some(password), hashed) => {
            write_hashed(
                &paths.hashed,
                &hashed.unwrap_or_default(),
                password.expose(),
            )?;
            (password, LocalCredentials::Repaired)
        }
        (None, hashed) => {
            let password = new_password().map_err(|error| openssl_failed(&paths.plain, &error))?;
            let mut line = Secret::with_capacity(64);
            for byte in b"local:".iter().chain(password.expose()).chain(b"\n") {
                line.push(*byte);
            }
            write(&paths.plain, line.expose())?;
            write_hashed(
                &paths.hashed,
                &hashed.unwrap_or_default(),
                password.expose(),
            )?;
            (password, LocalCredentials::Created)
        }
    };
    write_local_scram(&paths, password.expose())?;
    Ok(done)
}

/// Sees to it that there is a secret from which the salts of unknown users are made. Without the file, each reload makes another
/// one, and whoever asks before and after it learns which users exist.
///
/// # Errors
/// The file could not be read or written. The process may go on.
pub fn ensure_scram_secret(root: &Path) -> Result<(), Fault> {
    let paths = Paths::below(root);
    file::create_private_directory(&paths.directory)
        .map_err(|error| failed(&paths.directory, "made", &error))?;
    let before = read(&paths.scram_secret)?.unwrap_or_default();
    if scram_file::parse_secret(&before).is_none() {
        let content = scram_file::new_secret()
            .map_err(|error| openssl_failed(&paths.scram_secret, &error))?;
        write(&paths.scram_secret, content.expose())?;
    }
    Ok(())
}

/// Says what keeps a user from getting a password in the file `passwd`: the name cannot stand there, is `local`, or stands in
/// `credentials.hashed`.
///
/// # Errors
/// The reason, or all faults of `credentials.hashed`.
pub fn check_user(root: &Path, user: &str) -> Result<(), Vec<Fault>> {
    let paths = Paths::below(root);
    let refused = |what: String| vec![Fault::of_file(&paths.passwd, what)];
    passwd_file::check_name(user).map_err(refused)?;
    if user == LOCAL_USER {
        let what = "the password of 'local' is generated and read by the programs of this router from credentials.plain: \
                    remove credentials.plain and start again to get a new one";
        return Err(refused(what.into()));
    }
    if load_file(&paths.hashed)?.contains_key(user) {
        let what = format!("user {user:?} stands in {} already", paths.hashed.display());
        return Err(refused(what));
    }
    Ok(())
}

/// Gives a user of the file `passwd` a password, and SCRAM keys.
///
/// # Errors
/// As [`check_user`]; the password is empty, a file would not be sound afterwards (all its faults), or cannot be written. The files are
/// then as they were, but for keys that could not be written after the password: the user can log in by the password itself only.
pub fn set_user(root: &Path, user: &str, password: &Secret) -> Result<(), Vec<Fault>> {
    check_user(root, user)?;
    let paths = Paths::below(root);
    if password.expose().is_empty() {
        return Err(vec![Fault::of_file(&paths.passwd, "the password is empty")]);
    }
    let hash = Hash::make(password.expose())
        .map_err(|error| vec![openssl_failed(&paths.passwd, &error)])?;
    let keys = scram_file::make(password.expose(), &hash)
        .map_err(|error| vec![openssl_failed(&paths.scram, &error)])?;
    edit_passwd(&paths, user, Some((&hash, &keys))).map(|_| ())
}

/// Takes a user out of the files `passwd` and `scram`, and says whether `passwd` had one.
///
/// # Errors
/// A file would not be sound afterwards (all its faults), or cannot be written. The files are then as they were, but for keys that
/// could not be taken away after the password: without that they let nobody in.
pub fn remove_user(root: &Path, user: &str) -> Result<bool, Vec<Fault>> {
    edit_passwd(&Paths::below(root), user, None)
}

/// The users of the file `passwd`, in order of their names: those who can be given a password, or taken theirs away. The user `local` is
/// none of them.
///
/// # Errors
/// All faults of the file.
pub fn users(root: &Path) -> Result<Vec<String>, Vec<Fault>> {
    let users = load_file(&Paths::below(root).passwd)?;
    let mut names: Vec<String> = users.into_keys().map(String::from).collect();
    names.sort();
    Ok(names)
}

fn edit_passwd(
    paths: &Paths,
    user: &str,
    entries: Option<(&str, &str)>,
) -> Result<bool, Vec<Fault>> {
    let (hash, keys) = entries.unzip();
    let one = |fault| vec![fault];
    file::create_private_directory(&paths.directory)
        .map_err(|error| one(failed(&paths.directory, "made", &error)))?;
    let _lock = file::DirectoryLock::acquire(&paths.directory)
        .map_err(|error| one(failed(&paths.directory, "locked", &error)))?;
    let content = read(&paths.passwd).map_err(one)?.unwrap_or_default();
    let (content, was_there) = passwd_file::replace(&content, user, hash);
    // A file that the bus would refuse is not written: it would lock out everybody in it.
    passwd_file::parse(&paths.passwd, &content)?;
    let scram = read(&paths.scram).map_err(one)?.unwrap_or_default();
    let (scram, had_keys) = passwd_file::replace(&scram, user, keys);
    scram_file::parse(&paths.scram, &scram)?;
    // The password first: keys that do not fit it count for nothing, whatever comes between.
    if was_there || hash.is_some() {
        write(&paths.passwd, &content).map_err(one)?;
    }
    // The keys of a user who is not one of `passwd` are not ours to take away.
    if keys.is_some() || (had_keys && was_there) {
        write(&paths.scram, &scram).map_err(one)?;
    }
    Ok(was_there)
}

struct Paths {
    directory: PathBuf,
    bridges: PathBuf,
    plain: PathBuf,
    hashed: PathBuf,
    passwd: PathBuf,
    scram: PathBuf,
    scram_secret: PathBuf,
}

impl Paths {
    fn below(root: &Path) -> Paths {
        let directory = root.join("etc/fosquitto");
        Paths {
            bridges: directory.join("bridges"),
            plain: directory.join("credentials.plain"),
            hashed: directory.join("credentials.hashed"),
            passwd: directory.join("passwd"),
            scram: directory.join("scram"),
            scram_secret: directory.join("scram.secret"),
            directory,
        }
    }
}

fn load_file(path: &Path) -> Result<Users, Vec<Fault>> {
    let content = read_private(path).map_err(|fault| vec![fault])?;
    passwd_file::parse(path, &content)
}

/// The SCRAM keys of `users`, and all faults of their files. Nobody has keys if the file that holds them has a fault.
fn load_scram(paths: &Paths, users: &Users) -> (Secrets, Vec<Fault>) {
    let mut faults = Vec::new();
    let keys = match read_private(&paths.scram) {
        Ok(content) => scram_file::parse(&paths.scram, &content),
        Err(fault) => Err(vec![fault]),
    };
    let mut keys = keys.unwrap_or_else(|more| {
        faults.extend(more);
        scram_file::KeysOfUsers::new()
    });
    if let Some(stale) = scram_file::drop_stale(&mut keys, users) {
        log::warn!("{}: {stale}", paths.scram.display());
    }
    let secret = read_private(&paths.scram_secret).unwrap_or_else(|fault| {
        faults.push(fault);
        Vec::new()
    });
    let secret = scram_file::parse_secret(&secret).unwrap_or_else(|| {
        let mut secret = [0; 32];
        // Without random numbers OpenSSL speaks no TLS either; that unknown users can be told apart then is the least of it.
        let _ = openssl::rand::rand_bytes(&mut secret);
        secret
    });
    (Secrets::new(keys, secret), faults)
}

/// Reads a file that nobody else should be able to read; nothing if there is none.
fn read_private(path: &Path) -> Result<Vec<u8>, Fault> {
    let Some(content) = read(path)? else {
        return Ok(Vec::new());
    };
    if let Ok(metadata) = std::fs::metadata(path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        log::warn!(
            "{}: can be read by others than its owner, expected mode 0600",
            path.display()
        );
    }
    Ok(content)
}

/// The password of the first line that begins with `local:`. A line without its line feed does not count: a power cut may have
/// shortened it, and the readers cut its last character off, so that nobody could log in with it.
fn local_password(plain: &[u8]) -> Option<Secret> {
    let line = plain
        .split_inclusive(|byte| *byte == b'\n')
        .find(|line| line.starts_with(b"local:"))?;
    let password = line.strip_prefix(b"local:")?.strip_suffix(b"\n")?;
    (!password.is_empty()).then(|| Secret::copy_of(password))
}

/// Whether the hashed file lets `local` in with this password.
fn agrees(hashed: &[u8], password: &[u8]) -> bool {
    let Ok(users) = passwd_file::parse(Path::new(""), hashed) else {
        return false;
    };
    users
        .get(LOCAL_USER)
        .is_some_and(|hash| hash.verifies(password))
}

/// Writes the hashed file with this password for `local`. Other users that somebody put there stay; lines that are no entries go,
/// since they would keep the file from being accepted ever again.
fn write_hashed(path: &Path, before: &[u8], password: &[u8]) -> Result<(), Fault> {
    let hash = Hash::make(password).map_err(|error| openssl_failed(path, &error))?;
    let mut sound = Vec::with_capacity(before.len());
    for line in passwd_file::lines(before).filter(|line| passwd_file::is_sound(line)) {
        sound.extend_from_slice(line);
        sound.push(b'\n');
    }
    let (mut content, _) = passwd_file::replace(&sound, LOCAL_USER, Some(&hash));
    if passwd_file::parse(path, &content).is_err() {
        // Somebody else stands there twice; only `local` is ours to decide.
        content = format!("{LOCAL_USER}:{hash}\n").into_bytes();
    }
    write(path, &content)
}

/// Writes the SCRAM keys of `local` where they are not those of its password. A file with faults stays as it is: whoever loads it
/// says what is wrong.
fn write_local_scram(paths: &Paths, password: &[u8]) -> Result<(), Fault> {
    let hashed = read(&paths.hashed)?.unwrap_or_default();
    let scram = read(&paths.scram)?.unwrap_or_default();
    let (Ok(users), Ok(keys)) = (
        passwd_file::parse(&paths.hashed, &hashed),
        scram_file::parse(&paths.scram, &scram),
    ) else {
        return Ok(());
    };
    let Some(hash) = users.get(LOCAL_USER) else {
        return Ok(());
    };
    if keys
        .get(LOCAL_USER)
        .is_some_and(|keys| scram_file::fits(keys, hash))
    {
        return Ok(());
    }
    let keys = scram_file::make_for(password, hash)
        .map_err(|error| openssl_failed(&paths.scram, &error))?;
    let (scram, _) = passwd_file::replace(&scram, LOCAL_USER, Some(&keys));
    write(&paths.scram, &scram)
}

fn new_password() -> Result<Secret, openssl::error::ErrorStack> {
    let mut bytes = [0; 16];
    openssl::rand::rand_bytes(&mut bytes)?;
    let mut password = Secret::with_capacity(32);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            password.push(b"0123456789ABCDEF"[usize::from(digit)]);
        }
    }
    Ok(password)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    file::read(path, FILE_BYTES_MAX).map_err(|error| failed(path, "read", &error))
}

fn write(path: &Path, content: &[u8]) -> Result<(), Fault> {
    file::replace(path, content).map_err(|error| failed(path, "written", &error))
}

fn failed(path: &Path, done: &str, error: &io::Error) -> Fault {
    Fault::of_file(path, format!("cannot be {done}: {error}"))
}

fn openssl_failed(path: &Path, error: &openssl::error::ErrorStack) -> Fault {
    Fault::of_file(
        path,
        format!("OpenSSL cannot make a password hash: {error}"),
    )
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
