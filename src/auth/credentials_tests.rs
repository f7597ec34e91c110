//! What stands in the files of credentials after each start, power cut and change.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::*;
use crate::auth::testing::Scratch;

const HASH: &str = "$7$101$AAECAwQFBgcICQoL$02NS2eDWClBU0t5fjavY7arv2wsc3CilhyCU9VSPRmLvTozK+8buLbimiq0tIUSeue2pXcmdqLR6oJQ9YDn40Q==";
const PASSWORD: &[u8] = b"0123456789ABCDEF0123456789ABCDEF";

struct Router(Scratch);

impl Router {
    fn new() -> Router {
        Router(Scratch::new())
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join("etc/fosquitto").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the file is there")
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        file::create_private_directory(&self.path("")).expect("scratch");
        file::replace(&self.path(name), content.as_ref()).expect("scratch");
    }

    fn start(&self) -> LocalCredentials {
        ensure_local(self.root()).expect("the files can be made")
    }

    /// The password by which the router's programs log in: the first line without its last character, behind the colon.
    fn password_of_readers(&self) -> String {
        let plain = self.read("credentials.plain");
        let line = plain.split_inclusive('\n').next().expect("a first line");
        line[..line.len() - 1]
            .strip_prefix("local:")
            .expect("local")
            .to_owned()
    }

    fn lets_local_in(&self) -> bool {
        let credentials = Credentials::load(self.root()).expect("sound files");
        credentials.verify("local", self.password_of_readers().as_bytes())
    }

    /// Whether the user has SCRAM keys that count.
    fn has_keys(&self, user: &str) -> bool {
        let credentials = Credentials::load(self.root()).expect("sound files");
        let keys = credentials.scram_keys(user).expect("OpenSSL hashes");
        self.path("scram").exists() && self.read("scram").contains(&format!("{user}:{keys}\n"))
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).expect("there").mode() & 0o7777
    }
}

#[test]
fn the_first_start_makes_what_the_original_makes() {
    let router = Router::new();
    assert_eq!(router.start(), LocalCredentials::Created);
    let password = router.password_of_readers();
    assert_eq!(
        router.read("credentials.plain"),
        format!("local:{password}\n")
    );
    assert_eq!(password.len(), 32);
    assert!(
        password
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte))
    );
    let hashed = router.read("credentials.hashed");
    assert!(
        hashed.starts_with("local:$7$1000$")
            && hashed.ends_with("==\n")
            && hashed.lines().count() == 1
    );
    for (name, mode) in [
        (".", 0o700),
        ("bridges", 0o700),
        ("credentials.plain", 0o600),
        ("credentials.hashed", 0o600),
        ("scram", 0o600),
    ] {
        assert_eq!(router.mode(name), mode, "{name}");
    }
    assert!(router.lets_local_in());
}

#[test]
fn a_second_start_touches_nothing() {
    let router = Router::new();
    router.start();
    let before = (
        router.read("credentials.plain"),
        router.read("credentials.hashed"),
    );
    let inode = fs::metadata(router.path("credentials.hashed"))
        .expect("there")
        .ino();
    assert_eq!(router.start(), LocalCredentials::Kept);
    assert_eq!(
        (
            router.read("credentials.plain"),
            router.read("credentials.hashed")
        ),
        before
    );
    assert_eq!(
        fs::metadata(router.path("credentials.hashed"))
            .expect("there")
            .ino(),
        inode
    );
}

#[test]
fn the_files_of_the_original_are_kept() {
    let router = Router::new();
    router.write(
        "credentials.plain",
        "local:0123456789ABCDEF0123456789ABCDEF\n",
    );
    router.write("credentials.hashed", format!("local:{HASH}\n"));
    assert_eq!(router.start(), LocalCredentials::Kept);
    assert!(router.lets_local_in());
    assert!(router.has_keys("local"));
}

#[test]
fn a_hashed_file_that_does_not_fit_is_made_anew_from_the_plain_one() {
    let other = Hash::make(b"another password").expect("OpenSSL hashes");
    for hashed in [
        None,
        Some(String::new()),
        Some("\0\0\0\0".into()),
        Some(format!("ann:{HASH}\n")),
        Some(format!("local:{other}\nann:{HASH}\n")),
        Some(format!("local:{HASH}\nlocal:{HASH}\n")),
        Some(format!("ann:{HASH}\nann:{HASH}\n")),
        Some("local:$7$101$AAEC".into()),
    ] {
        let router = Router::new();
        router.write("credentials.plain", "local:KEEP\n");
        if let Some(hashed) = &hashed {
            router.write("credentials.hashed", hashed);
        }
        assert_eq!(router.start(), LocalCredentials::Repaired, "{hashed:?}");
        assert_eq!(router.read("credentials.plain"), "local:KEEP\n");
        assert!(router.lets_local_in(), "{hashed:?}");
        assert_eq!(router.start(), LocalCredentials::Kept, "{hashed:?}");
        let has_ann_once = hashed.is_some_and(|hashed| hashed.matches("ann:").count() == 1);
        assert_eq!(
            router
                .read("credentials.hashed")
                .contains(&format!("ann:{HASH}\n")),
            has_ann_once
        );
    }
}

#[test]
fn a_plain_file_that_readers_cannot_use_gives_a_new_password() {
    for plain in [
        None,
        Some(""),
        Some("local:\n"),
        Some("local:SHORTENED"),
        Some("\0\0\0\0\0\0\0\0"),
        Some("ann:x\n"),
    ] {
        let router = Router::new();
        router.write("credentials.hashed", format!("local:{HASH}\n"));
        if let Some(plain) = plain {
            router.write("credentials.plain", plain);
        }
        assert_eq!(router.start(), LocalCredentials::Created, "{plain:?}");
        assert!(router.lets_local_in(), "{plain:?}");
        assert!(
            !Credentials::load(router.root())
                .expect("sound")
                .verify("local", PASSWORD)
        );
    }
}

#[test]
fn a_user_of_passwd_logs_in_beside_local_and_an_unknown_one_does_not() {
    let router = Router::new();
    router.start();
    set_user(router.root(), "ann", &Secret::copy_of(b"s3cret")).expect("written");
    let credentials = Credentials::load(router.root()).expect("sound");
    assert!(credentials.verify("ann", b"s3cret"));
    for (user, password) in [
        ("ann", "S3cret"),
        ("ann", ""),
        ("Ann", "s3cret"),
        ("", ""),
        ("bob", "s3cret"),
    ] {
        assert!(
            !credentials.verify(user, password.as_bytes()),
            "{user} {password}"
        );
    }
    assert!(router.lets_local_in());
    assert_eq!(router.mode("passwd"), 0o600);
    assert!(remove_user(router.root(), "ann").expect("written"));
    assert!(!remove_user(router.root(), "ann").expect("nothing to do"));
    assert!(
        !Credentials::load(router.root())
            .expect("sound")
            .contains("ann")
    );
}

/// What this thread has had of a processor: it does not count how long others had it.
fn processor_time_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the whole call, and every thread has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[test]
fn an_unknown_user_costs_what_a_known_one_costs() {
    let dear = format!(
        "$7$60000$AAECAwQFBgcICQoL${}",
        HASH.rsplit('$').next().expect("a hash")
    );
    let router = Router::new();
    router.write("passwd", format!("dear:{dear}\ncheap:{HASH}\n"));
    let credentials = Credentials::load(router.root()).expect("sound");
    let cost = |user| {
        let best = (0..5).map(|_| {
            let start = processor_time_ns();
            credentials.verify(user, b"a wrong password");
            processor_time_ns() - start
        });
        best.min().expect("five rounds") as f64
    };
    let dear = cost("dear");
    for user in ["cheap", "unknown"] {
        let ratio = cost(user) / dear;
        // Wide, for a machine whose processors change their speed; without the added work the ratio is 0.002.
        assert!((0.2..5.0).contains(&ratio), "{user}: {ratio}");
    }
}

#[test]
fn faults_of_both_files_and_a_user_in_both_are_all_told() {
    let router = Router::new();
    router.write("credentials.hashed", "local:x\n");
    router.write("passwd", "ann:y\n");
    let told = |router: &Router| -> Vec<String> {
        let faults = Credentials::load(router.root()).err().unwrap_or_default();
        faults.iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(&router).len(), 2);
    router.write("credentials.hashed", format!("local:{HASH}\n"));
    router.write("passwd", format!("local:{HASH}\n"));
    let faults = told(&router);
    assert!(
        faults.len() == 1 && faults[0].contains("\"local\" stands in"),
        "{faults:?}"
    );
}

#[test]
fn no_file_lets_nobody_in_and_an_unreadable_one_is_a_fault() {
    let router = Router::new();
    let credentials = Credentials::load(router.root()).expect("nothing is no fault");
    assert!(!credentials.verify("local", b""));
    fs::create_dir_all(router.path("passwd")).expect("scratch");
    assert!(
        Credentials::load(router.root()).is_err(),
        "a directory is no password file"
    );
}

#[test]
fn a_change_that_would_leave_a_refused_file_is_not_made() {
    let router = Router::new();
    let content = format!("bad line\nann:{HASH}\nann:{HASH}\n");
    router.write("passwd", &content);
    assert!(set_user(router.root(), "bob", &Secret::copy_of(b"x")).is_err());
    assert_eq!(router.read("passwd"), content);
    router.write("passwd", format!("ann:{HASH}\n# c\nann:{HASH}\n"));
    set_user(router.root(), "ann", &Secret::copy_of(b"x")).expect("the second line goes");
    assert!(router.read("passwd").ends_with("# c\n"));
}

#[test]
fn local_and_impossible_names_and_an_empty_password_are_refused() {
    let router = Router::new();
    router.write("credentials.hashed", format!("eve:{HASH}\n"));
    for user in ["local", "", "a:b", "a\nb", "#a", "eve"] {
        assert!(
            set_user(router.root(), user, &Secret::copy_of(b"x")).is_err(),
            "{user:?}"
        );
    }
    assert!(set_user(router.root(), "ann", &Secret::copy_of(b"")).is_err());
    assert!(!router.path("passwd").exists());
}

#[test]
fn a_file_that_others_can_read_is_accepted() {
    let router = Router::new();
    router.write("passwd", format!("ann:{HASH}\n"));
    fs::set_permissions(router.path("passwd"), fs::Permissions::from_mode(0o644)).expect("scratch");
    assert!(
        Credentials::load(router.root())
            .expect("sound")
            .verify("ann", PASSWORD)
    );
}

#[test]
fn scram_keys_come_and_go_with_the_password() {
    let router = Router::new();
    router.start();
    assert!(router.has_keys("local") && !router.has_keys("ann"));
    set_user(router.root(), "ann", &Secret::copy_of(b"one")).expect("written");
    let before = router.read("scram");
    assert!(router.has_keys("ann"));
    set_user(router.root(), "ann", &Secret::copy_of(b"two")).expect("written");
    assert!(router.has_keys("ann") && router.has_keys("local"));
    assert_ne!(router.read("scram"), before);
    assert_eq!(router.read("scram").lines().count(), 2);
    // The former keys came back, as from a backup: they are not of this password.
    router.write("scram", &before);
    assert!(!router.has_keys("ann") && router.has_keys("local"));
    assert!(remove_user(router.root(), "ann").expect("written"));
    assert!(!router.read("scram").contains("ann:"));
    assert!(!remove_user(router.root(), "local").expect("not a user of passwd"));
    assert!(router.has_keys("local"));
}

#[test]
fn a_start_makes_new_keys_for_local_where_they_are_missing_or_stale() {
    let router = Router::new();
    router.start();
    let first = router.read("scram");
    fs::remove_file(router.path("scram")).expect("scratch");
    router.start();
    assert_eq!(router.read("scram"), first, "the password is the same");
    router.write("credentials.plain", "local:another\n");
    assert_eq!(router.start(), LocalCredentials::Repaired);
    assert!(router.has_keys("local"));
    assert_ne!(router.read("scram"), first);
}

#[test]
fn a_file_of_keys_with_a_fault_is_told_and_nobody_of_it_has_keys() {
    let router = Router::new();
    router.start();
    let content = format!("{}bad line\n", router.read("scram"));
    router.write("scram", &content);
    router.start();
    assert_eq!(router.read("scram"), content, "nothing is repaired unseen");
    let (credentials, faults) = Credentials::load_sound(router.root());
    assert_eq!(faults.len(), 1);
    assert!(faults[0].to_string().contains("scram:2: "), "{}", faults[0]);
    let keys = credentials.scram_keys("local").expect("OpenSSL hashes");
    assert!(!content.contains(&keys.to_string()));
    assert!(credentials.contains("local"));
    assert!(set_user(router.root(), "ann", &Secret::copy_of(b"x")).is_err());
    assert!(!router.path("passwd").exists(), "no password without keys");
}

#[test]
fn the_secret_of_made_up_salts_is_made_once() {
    let router = Router::new();
    ensure_scram_secret(router.root()).expect("written");
    let secret = router.read("scram.secret");
    ensure_scram_secret(router.root()).expect("nothing to do");
    assert_eq!(router.read("scram.secret"), secret);
    assert_eq!(router.mode("scram.secret"), 0o600);
    let keys = || {
        let credentials = Credentials::load(router.root()).expect("sound");
        let keys = credentials.scram_keys("nobody").expect("OpenSSL hashes");
        keys.to_string()
    };
    assert_eq!(keys(), keys());
    router.write("scram.secret", "cut\n");
    assert_ne!(keys(), keys());
    ensure_scram_secret(router.root()).expect("written");
    assert_eq!(keys(), keys());
}
