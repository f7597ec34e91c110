//! The packages that `openwrt/pack` makes, taken apart and installed.
//!
//! opkg is in none of the registries that this project builds from, so [`Router`] is an installer of its own that follows opkg's rules
//! as far as a package can break them: the form of the archive, architecture, dependencies, order of versions, conffiles, scripts. The
//! program in these packages is a stand-in, so that no cross build is needed; `foreign` has the real ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::harness::broker::Broker;
use crate::harness::packet::{Connect, Version};
use crate::harness::python::PROJECT;
use crate::harness::root::{FOSQUITTO, Root, run, stderr};

/// What every package has as the time of its files.
const EPOCH: &str = "1700000000";

/// Feeds of all targets, made once. They stay in the target folder.
static FEEDS: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("feeds");
    pack(&folder, &targets(), &[]);
    folder
});

/// The first words of the lines of a table of the project.
fn table(path: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(Path::new(PROJECT).join(path)).expect("the table can be read");
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let words = lines.map(|line| line.split_whitespace().map(str::to_owned).collect());
    words.collect()
}

fn targets() -> Vec<String> {
    let lines = table("cross/targets");
    lines.into_iter().map(|words| words[0].clone()).collect()
}

/// Has the packages of these targets made below this folder, of stand-ins for the binaries.
fn pack(folder: &Path, targets: &[String], environment: &[(&str, &str)]) {
    let _ = fs::remove_dir_all(folder);
    let binaries = folder.with_extension("binaries");
    for target in targets {
        fs::create_dir_all(binaries.join(target)).expect("a folder can be made");
        let place = binaries.join(target).join("fosquitto");
        fs::write(&place, format!("#!/bin/sh\necho {target}\n")).expect("a file can be written");
        let status = Command::new("chmod").arg("700").arg(&place).status();
        assert!(status.expect("chmod is there").success());
    }
    let mut command = Command::new(Path::new(PROJECT).join("openwrt/pack"));
    command.arg(folder).args(targets);
    command.env("BINARIES", &binaries);
    command.env("SOURCE_DATE_EPOCH", EPOCH);
    command.envs(environment.iter().copied());
    let output = run(&mut command, "");
    assert!(output.status.success(), "{}", stderr(&output));
}

/// The package of the program for an architecture.
fn package(architecture: &str) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    FEEDS.join(format!(
        "{architecture}/fosquitto_{version}-r1_{architecture}.ipk"
    ))
}

/// What a command prints, given these bytes.
fn piped(command: &mut Command, input: &Path) -> Vec<u8> {
    let input = fs::File::open(input).expect("the file is there");
    let output = command.stdin(input).output().expect("the command is there");
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

/// A package, unpacked one level: `debian-binary`, `data.tar.gz`, `control.tar.gz`, and `control/` with the files of the last.
fn taken_apart(package: &Path) -> Root {
    let root = Root::new();
    let folder = root.path().display().to_string();
    piped(
        Command::new("tar").args(["-xzf", "-", "-C", &folder]),
        package,
    );
    let control = root.join("control");
    fs::create_dir(&control).expect("a folder can be made");
    let folder = control.display().to_string();
    let archive = root.join("control.tar.gz");
    piped(
        Command::new("tar").args(["-xzpf", "-", "-C", &folder]),
        &archive,
    );
    root
}

/// The lines `MODE OWNER/GROUP DATE NAME` of an archive.
fn listed(archive: &Path) -> Vec<String> {
    let mut tar = Command::new("tar");
    tar.args(["-tvzf", "-", "--numeric-owner", "--utc"]);
    let text = String::from_utf8(piped(&mut tar, archive)).expect("the names are text");
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        [words[0], words[1], words[3], words[4], words[5]].join(" ")
    };
    text.lines().map(line).collect()
}

/// The same line for an expected entry.
fn entry(mode: &str, name: &str) -> String {
    format!("{mode} 0/0 2023-11-14 22:13 {name}")
}

/// The fields of a control file; continued lines are joined.
fn fields(text: &str) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix(' ') {
            Some(more) => {
                let value = fields.get_mut(&last).expect("a field stands before");
                *value += &format!("\n{more}");
            }
            None => {
                let (name, value) = line.split_once(':').expect("NAME: VALUE");
                last = name.to_owned();
                fields.insert(last.clone(), value.trim().to_owned());
            }
        }
    }
    fields
}

/// The files of the project's `files/`, with the mode that a router gives them.
fn of_router(folder: &Path, place: &str, entries: &mut BTreeMap<String, String>) {
    for found in fs::read_dir(folder).expect("a folder of the project can be read") {
        let found = found.expect("an entry can be read");
        let name = format!("{place}/{}", found.file_name().to_string_lossy());
        if found.path().is_dir() {
            entries.insert(format!("{name}/"), "drwxr-xr-x".into());
            of_router(&found.path(), &name, entries);
        } else {
            let programs = ["./etc/init.d", "./etc/uci-defaults", "./usr/libexec"];
            let is_program = programs.iter().any(|folder| place.starts_with(folder));
            let mode = if is_program {
                "-rwxr-xr-x"
            } else {
                "-rw-r--r--"
            };
            entries.insert(name, mode.into());
        }
    }
}

#[test]
fn every_architecture_has_a_feed_and_every_binary_an_architecture() {
    let architectures = table("openwrt/architectures");
    let mut names: Vec<String> = architectures.iter().map(|words| words[0].clone()).collect();
    names.sort();
    let found = fs::read_dir(&*FEEDS).expect("the feeds are there");
    let mut feeds: Vec<String> = found
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    feeds.sort();
    assert_eq!(feeds, names);
    for target in targets() {
        assert!(
            architectures.iter().any(|words| words[1] == target),
            "{target} serves some router"
        );
    }
    for words in architectures {
        let root = taken_apart(&package(&words[0]));
        let folder = root.path().display().to_string();
        let mut tar = Command::new("tar");
        tar.args(["-xzf", "-", "-C", &folder, "./usr/sbin/fosquitto"]);
        piped(&mut tar, &root.join("data.tar.gz"));
        let program = root.read("usr/sbin/fosquitto");
        assert!(program.contains(&words[1]), "{} has {program}", words[0]);
    }
}

#[test]
fn a_package_is_what_opkg_reads() {
    let package = package("mips_24kc");
    assert_eq!(
        listed(&package),
        [
            entry("-rw-r--r--", "./debian-binary"),
            entry("-rw-r--r--", "./data.tar.gz"),
            entry("-rw-r--r--", "./control.tar.gz"),
        ]
    );
    let root = taken_apart(&package);
    assert_eq!(root.read("debian-binary"), "2.0\n");
    for archive in [
        package,
        root.join("data.tar.gz"),
        root.join("control.tar.gz"),
    ] {
        // RFC 1952: deflate, no name and no time of the file.
        let head = fs::read(&archive).expect("it can be read");
        assert_eq!(head[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "{archive:?}");
    }
}

#[test]
fn every_file_has_its_place_mode_and_owner() {
    let mut entries = BTreeMap::from([
        ("./".to_owned(), "drwxr-xr-x".to_owned()),
        ("./usr/".to_owned(), "drwxr-xr-x".to_owned()),
        ("./usr/bin/".to_owned(), "drwxr-xr-x".to_owned()),
        (
            "./usr/bin/fosquitto-monitor".to_owned(),
            "lrwxrwxrwx".to_owned(),
        ),
        ("./usr/sbin/".to_owned(), "drwxr-xr-x".to_owned()),
        ("./usr/sbin/fosquitto".to_owned(), "-rwxr-xr-x".to_owned()),
    ]);
    of_router(&Path::new(PROJECT).join("files"), ".", &mut entries);
    assert_has(&package("aarch64_cortex-a53"), &entries);
}

#[test]
fn the_pages_of_luci_land_where_its_web_server_and_rpcd_look() {
    let mut entries = BTreeMap::from([
        ("./".to_owned(), "drwxr-xr-x".to_owned()),
        ("./www/".to_owned(), "drwxr-xr-x".to_owned()),
    ]);
    let app = Path::new(PROJECT).join("openwrt/luci-app-fosquitto");
    of_router(&app.join("htdocs"), "./www", &mut entries);
    of_router(&app.join("root"), ".", &mut entries);
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("mips_24kc/luci-app-fosquitto_{version}-r1_all.ipk");
    let package = FEEDS.join(name);
    assert_has(&package, &entries);
    for path in [
        "./usr/share/rpcd/acl.d/luci-app-fosquitto.json",
        "./usr/share/luci/menu.d/luci-app-fosquitto.json",
        "./www/luci-static/resources/view/fosquitto/status.js",
    ] {
        assert!(entries.contains_key(path), "{path}");
    }
    let control = taken_apart(&package).read("control/control");
    assert!(
        control.contains("Depends: libc, luci-base, fosquitto"),
        "{control}"
    );
}

/// Asserts that a package has these entries, by their names with their modes, and nothing else.
fn assert_has(package: &Path, entries: &BTreeMap<String, String>) {
    let expected: Vec<String> = entries
        .iter()
        .map(|(name, mode)| entry(mode, name))
        .collect();
    let root = taken_apart(package);
    let mut found = listed(&root.join("data.tar.gz"));
    found.sort_by(|one, other| {
        one.split(' ')
            .next_back()
            .cmp(&other.split(' ').next_back())
    });
    assert_eq!(found, expected);
}

#[test]
fn the_control_file_says_what_the_makefile_says() {
    let root = taken_apart(&package("mips_24kc"));
    let mut size = Command::new("gzip");
    let size = piped(size.arg("-dc"), &root.join("data.tar.gz")).len();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        root.read("control/control"),
        format!(
            "Package: fosquitto\nVersion: {version}-r1\nDepends: libc\nSource: openwrt/fosquitto\nSourceName: fosquitto\n\
             License: MIT OR Apache-2.0\nLicenseFiles: LICENSE-MIT LICENSE-APACHE\nSection: net\n\
             Require-User: fosquitto:fosquitto mosquitto=200:mosquitto=200\nSourceDateEpoch: {EPOCH}\n\
             CPE-ID: cpe:/a:fosquitto:fosquitto\nArchitecture: mips_24kc\nInstalled-Size: {size}\n\
             Description:  A broker for MQTT 3.1, 3.1.1 and 5.0 that is configured by\n \
             /etc/config/fosquitto alone and reloads without dropping its clients.\n \
             It works after installation as it is: the router's own programs find\n \
             the bus on 127.0.0.1:11883 and their password in\n /etc/fosquitto/credentials.plain.\n"
        )
    );
    assert_eq!(root.read("control/conffiles"), "/etc/config/fosquitto\n");
    let mut names: Vec<String> = listed(&root.join("control.tar.gz"));
    names.sort();
    assert_eq!(
        names,
        [
            entry("-rw-r--r--", "./conffiles"),
            entry("-rw-r--r--", "./control"),
            entry("-rwxr-xr-x", "./postinst"),
            entry("-rwxr-xr-x", "./prerm"),
            entry("drwxr-xr-x", "./"),
        ]
    );
}

#[test]
fn the_pages_of_luci_are_one_package_for_all_processors() {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("luci-app-fosquitto_{version}-r1_all.ipk");
    let root = taken_apart(&FEEDS.join("x86_64").join(&name));
    let fields = fields(&root.read("control/control"));
    assert_eq!(fields["Depends"], "libc, luci-base, fosquitto");
    assert_eq!(fields["Section"], "luci");
    let mut expected = BTreeMap::from([
        ("./".to_owned(), "drwxr-xr-x".to_owned()),
        ("./www/".to_owned(), "drwxr-xr-x".to_owned()),
    ]);
    let folder = Path::new(PROJECT).join("openwrt/luci-app-fosquitto");
    of_router(&folder.join("htdocs"), "./www", &mut expected);
    of_router(&folder.join("root"), ".", &mut expected);
    let mut found = listed(&root.join("data.tar.gz"));
    found.sort_by(|one, other| {
        one.split(' ')
            .next_back()
            .cmp(&other.split(' ').next_back())
    });
    let expected: Vec<String> = expected
        .iter()
        .map(|(name, mode)| entry(mode, name))
        .collect();
    assert_eq!(found, expected);
    let bytes = |feed: &str| fs::read(FEEDS.join(feed).join(&name)).expect("it is there");
    assert!(bytes("x86_64") == bytes("mips_24kc"), "it is the same one");
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let targets = ["mips-unknown-linux-musl".to_owned()];
    let other = Path::new(env!("CARGO_TARGET_TMPDIR")).join("feeds-again");
    pack(
        &other,
        &targets,
        &[("TZ", "Asia/Tokyo"), ("LC_ALL", "C.UTF-8"), ("GZIP", "-1")],
    );
    let names = ["Packages", "Packages.gz", "sha256sums"];
    let files = names.map(|name| PathBuf::from("mips_24kc").join(name));
    let package = package("mips_24kc");
    let package = package.strip_prefix(&*FEEDS).expect("it is within");
    for file in files.iter().map(PathBuf::as_path).chain([package]) {
        let read = |folder: &Path| fs::read(folder.join(file)).expect("it can be read");
        assert!(read(&FEEDS) == read(&other), "{} differs", file.display());
    }
}

#[test]
fn the_index_names_every_package_of_a_feed() {
    let feed = FEEDS.join("arm_cortex-a9_vfpv3-d16");
    let text = fs::read_to_string(feed.join("Packages")).expect("the index is there");
    let packed = piped(Command::new("gzip").arg("-dc"), &feed.join("Packages.gz"));
    assert!(packed == text.as_bytes(), "both are one index");
    let mut check = Command::new("sha256sum");
    let output = run(check.args(["--check", "sha256sums"]).current_dir(&feed), "");
    assert!(output.status.success(), "{}", stderr(&output));
    let sums = fs::read_to_string(feed.join("sha256sums")).expect("the sums are there");
    let mut named = Vec::new();
    for paragraph in text.split("\n\n").filter(|text| !text.is_empty()) {
        let fields = fields(paragraph);
        let name = &fields["Filename"];
        let bytes = fs::read(feed.join(name)).expect("the package is there");
        assert_eq!(fields["Size"], bytes.len().to_string());
        assert!(sums.contains(&format!("{}  {name}\n", fields["SHA256sum"])));
        let control = taken_apart(&feed.join(name)).read("control/control");
        for line in control.lines() {
            assert!(paragraph.contains(line), "{name}: {line}");
        }
        named.push(name.clone());
    }
    let found = fs::read_dir(&feed).expect("the feed is there");
    let mut there: Vec<String> = found
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".ipk"))
        .collect();
    there.sort();
    assert_eq!(named, there);
}

/// A router's root, with what opkg keeps there.
struct Router {
    root: Root,
    architecture: String,
}

impl Router {
    /// A router for `mips_24kc`.
    fn new() -> Router {
        Router::of("mips_24kc")
    }

    /// A router with its C library, and shell functions that only note that they were called.
    fn of(architecture: &str) -> Router {
        let root = Root::new();
        fs::remove_dir_all(root.join("etc/config")).expect("the folder can be removed");
        root.write(
            "usr/lib/opkg/info/libc.control",
            "Package: libc\nVersion: 1.2.5-r4\n",
        );
        root.write(
            "lib/functions.sh",
            "default_postinst() { echo \"postinst ${1##*/} $2\" >>\"$IPKG_INSTROOT/asked\"; }\n\
             default_prerm() { echo \"prerm ${1##*/} $2\" >>\"$IPKG_INSTROOT/asked\"; }\n",
        );
        Router {
            root,
            architecture: architecture.into(),
        }
    }

    fn info(&self, name: &str) -> String {
        format!("usr/lib/opkg/info/{name}")
    }

    fn installed_version(&self, name: &str) -> Option<String> {
        let path = self.root.join(&self.info(&format!("{name}.control")));
        let text = fs::read_to_string(path).ok()?;
        fields(&text).remove("Version")
    }

    /// `opkg install FILE`.
    fn install(&self, package: &Path) -> Result<(), String> {
        let parts = taken_apart(package);
        let fields = fields(&parts.read("control/control"));
        let name = &fields["Package"];
        if !["all", "noarch", &self.architecture].contains(&fields["Architecture"].as_str()) {
            return Err("incompatible with the architectures configured".into());
        }
        for dependency in fields["Depends"].split(", ") {
            if self.installed_version(dependency).is_none() {
                return Err(format!("cannot find dependency {dependency}"));
            }
        }
        let before = self.installed_version(name);
        if before.is_some_and(|before| !is_newer(&fields["Version"], &before)) {
            return Err("not downgrading package".into());
        }
        self.unpack(&parts, name);
        self.script(name, "postinst", "configure");
        Ok(())
    }

    /// Puts the files in place; a conffile that its owner has changed stays, and the new one lies beside it.
    fn unpack(&self, parts: &Root, name: &str) {
        let conffiles = parts.read("control/conffiles");
        let theirs: Vec<(PathBuf, Option<Vec<u8>>)> = conffiles
            .lines()
            .map(|path| self.root.join(path.trim_start_matches('/')))
            .map(|path| (path.clone(), fs::read(path).ok()))
            .collect();
        let folder = self.root.path().display().to_string();
        let mut tar = Command::new("tar");
        tar.args(["-xzpf", "-", "--no-same-owner", "-C", &folder]);
        piped(&mut tar, &parts.join("data.tar.gz"));
        for (path, before) in theirs {
            let new = fs::read(&path).expect("a conffile is a file of the package");
            if let Some(before) = before.filter(|before| *before != new) {
                let mut beside = path.clone().into_os_string();
                beside.push("-opkg");
                fs::write(beside, new).expect("a file can be written");
                fs::write(&path, before).expect("a file can be written");
            }
        }
        for part in ["control", "conffiles", "postinst", "prerm"] {
            let to = self.root.join(&self.info(&format!("{name}.{part}")));
            fs::copy(parts.join(&format!("control/{part}")), to).expect("a file can be copied");
        }
    }

    /// Runs a script of a package as opkg does.
    fn script(&self, name: &str, script: &str, argument: &str) {
        let path = self.root.join(&self.info(&format!("{name}.{script}")));
        let mut command = Command::new(path);
        command.arg(argument).env("IPKG_INSTROOT", self.root.path());
        let output = run(&mut command, "");
        assert!(output.status.success(), "{script}: {}", stderr(&output));
    }
}

/// Whether a version is newer than another by opkg's order, for versions of numbers, dots and a release.
fn is_newer(version: &str, than: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        let parts = version.split(['.', '-', 'r']);
        parts.filter_map(|part| part.parse().ok()).collect()
    };
    numbers(version) > numbers(than)
}

#[test]
fn it_takes_the_place_of_the_original_and_keeps_its_configuration() {
    let router = Router::new();
    router.root.write(
        &router.info("fosquitto.control"),
        "Package: fosquitto\nVersion: 22.2-r15\n",
    );
    let mine = "config local 'local'\n\toption port 11883\n";
    router.root.write_uci(mine);
    router
        .root
        .write("etc/fosquitto/credentials.plain", "local:00\n");
    router
        .install(&package("mips_24kc"))
        .expect("it is newer and has what it needs");
    assert_eq!(router.root.read("etc/config/fosquitto"), mine);
    assert_eq!(
        router.root.read("etc/fosquitto/credentials.plain"),
        "local:00\n"
    );
    let shipped = fs::read_to_string(Path::new(PROJECT).join("files/etc/config/fosquitto"));
    assert_eq!(
        router.root.read("etc/config/fosquitto-opkg"),
        shipped.expect("it can be read")
    );
    assert_eq!(
        router.root.read("asked"),
        "postinst fosquitto.postinst configure\n"
    );
    router.script("fosquitto", "prerm", "remove");
    assert!(
        router
            .root
            .read("asked")
            .ends_with("prerm fosquitto.prerm remove\n")
    );
}

#[test]
fn what_is_installed_on_a_new_router_is_a_configuration_that_works() {
    let router = Router::new();
    router
        .install(&package("mips_24kc"))
        .expect("it has what it needs");
    let output = router.root.check();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(router.root.mode("etc/init.d/fosquitto"), 0o755);
    assert!(!router.root.join("etc/config/fosquitto-opkg").exists());
    assert_eq!(
        router.install(&package("mips_24kc")),
        Err("not downgrading package".into()),
        "the same version is there already"
    );
}

#[test]
fn installed_as_the_readme_says_it_runs() {
    let readme = fs::read_to_string(Path::new(PROJECT).join("README.md")).expect("it is there");
    let command = readme.lines().find_map(|line| {
        let path = line.strip_prefix("opkg install /tmp/")?;
        path.strip_suffix(".ipk")
    });
    let name = command.expect("the README names a package of this version");
    let (_, architecture) = name.split_once("-r1_").expect("it ends in its processor");
    let router = Router::of(architecture);
    router
        .install(&FEEDS.join(architecture).join(format!("{name}.ipk")))
        .expect("it has what it needs");
    // What opkg calls after that, with the shell functions of tests/openwrt in place of those above.
    fs::remove_file(router.root.join("lib/functions.sh")).expect("it is there");
    let folder = Path::new(PROJECT).join("tests/openwrt");
    let mut after = Command::new(folder.join("run"));
    after.arg(&*FOSQUITTO).arg(folder.join("install.sh"));
    let output = run(after.env("FILES", router.root.path()), "");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.starts_with("ok "), "{said}");
    // What procd then runs, with the shipped configuration but for the port.
    let shipped = router.root.read("etc/config/fosquitto");
    let section = "config local 'local'\n";
    assert!(shipped.contains(section), "{shipped}");
    let uci: Vec<&str> = shipped
        .lines()
        .filter(|line| !line.contains("port"))
        .collect();
    let anywhere = format!("{section}\toption port '0'\n");
    router
        .root
        .write_uci(&(uci.join("\n") + "\n").replace(section, &anywhere));
    let broker = Broker::start_on(router.root);
    broker.join(&Connect::new(Version::V311, "first")).ping();
}

#[test]
fn a_package_of_another_processor_is_refused() {
    let router = Router::new();
    assert_eq!(
        router.install(&package("mipsel_24kc")),
        Err("incompatible with the architectures configured".into())
    );
}

#[test]
fn a_target_without_a_binary_is_said() {
    let root = Root::new();
    let mut command = Command::new(Path::new(PROJECT).join("openwrt/pack"));
    command
        .arg(root.join("feeds"))
        .arg("mips-unknown-linux-musl");
    command.env("BINARIES", root.path());
    let output = run(&mut command, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("make cross TARGET=mips-unknown-linux-musl"));
}
