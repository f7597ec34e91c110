//! The passwords of this router, below `DIR/etc/fosquitto/`.
//!
//! | file | what it holds | who writes it |
//! |---|---|---|
//! | `credentials.plain` | `local:` and 32 upper-case hexadecimal digits, one line feed | [`ensure_local`] |
//! | `credentials.hashed` | the same user's hash, in mosquitto's form | [`ensure_local`] |
//! | `passwd` | further users, in mosquitto's form; need not exist | [`set_user`], [`remove_user`] |
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
}

impl Credentials {
    /// Reads `credentials.hashed` and `passwd` below `root`. A file that is missing has no users.
    ///
    /// # Errors
    /// All faults of both files, a user who stands in both among them.
    pub fn load(root: &Path) -> Result<Credentials, Vec<Fault>> {
        let (credentials, faults) = Credentials::load_sound(root);
        if faults.is_empty() {
            Ok(credentials)
        } else {
            Err(faults)
        }
    }

    /// Reads the same files, and leaves out the one that has faults: nobody of a file with a fault is let in, but a slip
    /// in `passwd` does not lock out the router's own programs. All faults of both files come with it.
    pub fn load_sound(root: &Path) -> (Credentials, Vec<Fault>) {
        let (hashed, passwd) = (Paths::below(root).hashed, Paths::below(root).passwd);
        let mut users = Users::new();
        let mut faults = Vec::new();
        for path in [&hashed, &passwd] {
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
        (Credentials::of_users(users), faults)
    }

    fn of_users(users: Users) -> Credentials {
        let dearest = users.values().map(Hash::iterations).max();
        Credentials {
            users,
            iterations_max: dearest.unwrap_or(NEW_ITERATIONS).max(1),
        }
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
    match (local_password(plain.expose()), hashed) {
        (Some(password), Some(hashed)) if agrees(&hashed, password.expose()) => {
            Ok(LocalCredentials::Kept)
        }
        (Some(password), hashed) => {
            write_hashed(
                &paths.hashed,
                &hashed.unwrap_or_default(),
                password.expose(),
            )?;
            Ok(LocalCredentials::Repaired)
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
            Ok(LocalCredentials::Created)
        }
    }
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

/// Gives a user of the file `passwd` a password.
///
/// # Errors
/// As [`check_user`]; the password is empty, the file would not be sound afterwards (all its faults), or it cannot be written. The file is
/// then as it was.
pub fn set_user(root: &Path, user: &str, password: &Secret) -> Result<(), Vec<Fault>> {
    check_user(root, user)?;
    let paths = Paths::below(root);
    if password.expose().is_empty() {
        return Err(vec![Fault::of_file(&paths.passwd, "the password is empty")]);
    }
    let hash = Hash::make(password.expose())
        .map_err(|error| vec![openssl_failed(&paths.passwd, &error)])?;
    edit_passwd(&paths, user, Some(&hash)).map(|_| ())
}

/// Takes a user out of the file `passwd`, and says whether there was one.
///
/// # Errors
/// The file would not be sound afterwards (all its faults), or it cannot be written. It is then as it was.
pub fn remove_user(root: &Path, user: &str) -> Result<bool, Vec<Fault>> {
    edit_passwd(&Paths::below(root), user, None)
}

fn edit_passwd(paths: &Paths, user: &str, hash: Option<&str>) -> Result<bool, Vec<Fault>> {
    let one = |fault| vec![fault];
    file::create_private_directory(&paths.directory)
        .map_err(|error| one(failed(&paths.directory, "made", &error)))?;
    let _lock = file::DirectoryLock::acquire(&paths.directory)
        .map_err(|error| one(failed(&paths.directory, "locked", &error)))?;
    let content = read(&paths.passwd).map_err(one)?.unwrap_or_default();
    let (content, was_there) = passwd_file::replace(&content, user, hash);
    // A file that the bus would refuse is not written: it would lock out everybody in it.
    passwd_file::parse(&paths.passwd, &content)?;
    if was_there || hash.is_some() {
        write(&paths.passwd, &content).map_err(one)?;
    }
    Ok(was_there)
}

struct Paths {
    directory: PathBuf,
    bridges: PathBuf,
    plain: PathBuf,
    hashed: PathBuf,
    passwd: PathBuf,
}

impl Paths {
    fn below(root: &Path) -> Paths {
        let directory = root.join("etc/fosquitto");
        Paths {
            bridges: directory.join("bridges"),
            plain: directory.join("credentials.plain"),
            hashed: directory.join("credentials.hashed"),
            passwd: directory.join("passwd"),
            directory,
        }
    }
}

fn load_file(path: &Path) -> Result<Users, Vec<Fault>> {
    let Some(content) = read(path).map_err(|fault| vec![fault])? else {
        return Ok(Users::new());
    };
    if let Ok(metadata) = std::fs::metadata(path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        log::warn!(
            "{}: can be read by others than its owner, expected mode 0600",
            path.display()
        );
    }
    passwd_file::parse(path, &content)
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
