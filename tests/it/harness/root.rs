//! The scratch root that a broker of a test lives in, and the commands that run on it.
//!
//! A root is removed when its test passes and kept, for a look, when it fails.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The program under test: the one that was built with the tests, or that which `FOSQUITTO` in the environment names, such as a
/// release build or one for another processor.
pub static FOSQUITTO: LazyLock<String> = LazyLock::new(|| {
    let built = || env!("CARGO_BIN_EXE_fosquitto").to_owned();
    let Ok(named) = std::env::var("FOSQUITTO") else {
        return built();
    };
    let path = fs::canonicalize(&named).unwrap_or_else(|error| panic!("{named}: {error}"));
    path.to_str().expect("a path of text").to_owned()
});

/// A folder that stands for the router's root file system.
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// An empty root of its own. Its name is short because a unix socket's path has 107 bytes at most.
    pub fn new() -> Root {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if path.exists() {
            fs::remove_dir_all(&path).expect("a left-over scratch root can be removed");
        }
        fs::create_dir_all(path.join("etc/config")).expect("a scratch root can be made");
        Root { path }
    }

    /// A root with this UCI file.
    pub fn with_uci(uci: &str) -> Root {
        let root = Root::new();
        root.write_uci(uci);
        root
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below the root.
    pub fn join(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// Writes the UCI file.
    pub fn write_uci(&self, uci: &str) {
        self.write("etc/config/fosquitto", uci);
    }

    /// Writes a file that only its owner may read, with the folders above it; the rename makes it appear whole.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.join(path);
        fs::create_dir_all(path.parent().expect("a file stands in a folder"))
            .expect("a folder can be made");
        let draft = path.with_extension("draft");
        fs::write(&draft, bytes).expect("a file can be written");
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).expect("a mode can be set");
        fs::rename(&draft, &path).expect("a file can be renamed");
    }

    /// The text of a file below the root.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.join(path))
            .unwrap_or_else(|error| panic!("{path} can be read: {error}"))
    }

    /// The permission bits of a file below the root.
    pub fn mode(&self, path: &str) -> u32 {
        let metadata = fs::metadata(self.join(path))
            .unwrap_or_else(|error| panic!("{path} is there: {error}"));
        metadata.permissions().mode() & 0o7777
    }

    /// The password of the user `local`, read as the original's readers do: the first line less its last character.
    pub fn local_password(&self) -> String {
        let text = self.read("etc/fosquitto/credentials.plain");
        let line = text
            .split_inclusive('\n')
            .next()
            .expect("the credentials have a line");
        let (user, password) = line[..line.len() - 1]
            .split_once(':')
            .expect("USER:PASSWORD");
        assert_eq!(user, "local");
        password.to_owned()
    }

    /// Runs `fosquitto passwd` for a user.
    pub fn passwd(&self, user: &str, password: &str) -> Output {
        self.run(&["passwd", "--root"], &[user], &format!("{password}\n"))
    }

    /// Runs `fosquitto check`.
    pub fn check(&self) -> Output {
        self.run(&["check", "--root"], &[], "")
    }

    /// Runs `fosquitto serve` to its end, for a start that is expected to fail.
    pub fn serve_to_the_end(&self) -> Output {
        self.run(&["serve", "--root"], &[], "")
    }

    /// Runs any command of the program on this root.
    pub fn command(&self, arguments: &[&str]) -> Output {
        self.run(&["--root"], arguments, "")
    }

    fn run(&self, before_root: &[&str], after_root: &[&str], input: &str) -> Output {
        let mut command = Command::new(&*FOSQUITTO);
        command.args(before_root).arg(&self.path).args(after_root);
        run(&mut command, input)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the scratch root stays: {}", self.path.display());
        } else {
            // What cannot be removed goes with the target folder.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Runs a command to its end with this standard input.
pub fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("the standard input is a pipe");
    // A command that does not read its input may be gone already; its status tells.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("a child can be waited for")
}

/// The standard error of a finished command, as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the program writes UTF-8")
}
