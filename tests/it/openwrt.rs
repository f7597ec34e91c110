//! What a router gets beside the program: the scripts of `files/` and the feed's package in `openwrt/`.
//!
//! The scripts are tested where they run, in busybox's ash: `tests/openwrt/run` does it, with stand-ins of procd's and UCI's shell
//! functions and with this program, and this module calls it. The package's Makefile is held to the feed's written review rules here.
//! No router and no SDK is needed, so whether procd's jail and the feed's build system agree is not tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::python::PROJECT;
use crate::harness::root::{FOSQUITTO, Root, run, stderr};

const MAKEFILE: &str = "openwrt/fosquitto/Makefile";

/// Packages of OpenWrt's core and of the packages feed that ours may depend on.
const DEPENDENCIES: [&str; 2] = ["+libopenssl", "+libsqlite3"];

/// The version of the package that this one takes the place of, as two numbers.
const ORIGINAL: [u64; 2] = [22, 2];

fn project(path: &str) -> PathBuf {
    Path::new(PROJECT).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path} can be read: {error}"))
}

/// Runs all tests of a file of `tests/openwrt`.
fn shell_tests(file: &str) {
    let output = run(
        Command::new(project("tests/openwrt/run"))
            .arg(&*FOSQUITTO)
            .arg(project("tests/openwrt").join(file)),
        "",
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.starts_with("ok "), "it ran tests: {said}");
}

#[test]
fn the_init_script_asks_procd_for_what_it_should() {
    shell_tests("init.sh");
}

#[test]
fn an_upgrade_from_the_original_keeps_its_files_and_works() {
    shell_tests("upgrade.sh");
}

#[test]
fn a_clock_that_becomes_true_is_told_to_the_bus_once() {
    shell_tests("ntp.sh");
}

#[test]
fn a_change_of_interfaces_or_certificates_is_told_to_the_bus() {
    shell_tests("hooks.sh");
}

#[test]
fn what_mosquitto_was_configured_to_do_is_taken_over() {
    shell_tests("mosquitto.sh");
}

#[test]
fn a_failing_shell_test_fails_the_run() {
    let root = Root::new();
    for (name, line) in [
        ("broken", "fail because"),
        ("unknown", "no_such_command_at_all || exit 1"),
    ] {
        root.write("broken.sh", format!("it_is_{name}() {{\n\t{line}\n}}\n"));
        let mut command = Command::new(project("tests/openwrt/run"));
        let output = run(command.arg(&*FOSQUITTO).arg(root.join("broken.sh")), "");
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    }
}

#[test]
fn every_shell_script_of_the_router_passes_shellcheck() {
    let mut scripts = files_below("tests/openwrt");
    scripts.push("openwrt/fosquitto/test.sh".into());
    let of_router = files_below("files").into_iter();
    scripts.extend(of_router.filter(|path| is_script(path)));
    assert!(scripts.len() > 10, "they are found: {scripts:?}");
    let output = run(
        Command::new("shellcheck")
            .args(["--external-sources", "--"])
            .args(&scripts)
            .current_dir(PROJECT),
        "",
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn each_exception_from_shellcheck_has_a_reason() {
    for path in files_below("files")
        .into_iter()
        .chain(files_below("tests/openwrt"))
    {
        for (index, line) in read(&path).lines().enumerate() {
            let line = line.trim_start();
            if let Some(directive) = line.strip_prefix("# shellcheck ")
                && (directive.starts_with("disable=") || directive.starts_with("source="))
                && !path.starts_with("tests/openwrt/router/")
            {
                let (_, reason) = directive.split_once(" # ").unwrap_or_default();
                assert!(!reason.is_empty(), "{path}:{}: why?", index + 1);
            }
        }
    }
}

#[test]
fn the_feeds_own_test_passes_with_this_program() {
    let root = Root::new();
    std::os::unix::fs::symlink(&*FOSQUITTO, root.join("fosquitto")).expect("a link can be made");
    let path = std::env::var("PATH").expect("there is a PATH");
    let output = run(
        Command::new(project("openwrt/fosquitto/test.sh"))
            .args(["fosquitto", env!("CARGO_PKG_VERSION")])
            .env("PATH", format!("{}:{path}", root.path().display())),
        "",
    );
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        stderr(&output)
    );
}

#[test]
fn the_jail_has_no_capabilities_at_all() {
    let text = read("files/etc/capabilities/fosquitto.json");
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let sets = json.as_object().expect("it is an object");
    let mut names: Vec<&str> = sets.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "ambient",
            "bounding",
            "effective",
            "inheritable",
            "permitted"
        ]
    );
    for (name, set) in sets {
        assert_eq!(set.as_array().map(Vec::len), Some(0), "{name} is empty");
    }
}

#[test]
fn the_package_follows_the_feeds_rules() {
    let faults = lint(&Package::of_project());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_submission_lacks_only_what_its_publisher_knows() {
    let package = Package::of_project();
    assert_eq!(
        lint_submission(&package.makefile),
        ["PKG_SOURCE", "PKG_SOURCE_URL", "PKG_HASH", "PKG_MAINTAINER"]
            .map(|name| format!("{name} is missing"))
    );
    let with = |hash: &str, url: &str| {
        let lines = format!(
            "PKG_RELEASE:=1\nPKG_SOURCE:=f.tar.gz\nPKG_SOURCE_URL:={url}\nPKG_HASH:={hash}\nPKG_MAINTAINER:=A Name <a@name.example>"
        );
        lint_submission(&package.makefile.replace("PKG_RELEASE:=1", &lines))
    };
    let hash = "0123456789abcdef".repeat(4);
    assert_eq!(with(&hash, "@GITHUB/a/b"), [""; 0]);
    assert_eq!(with("skip", "@GITHUB/a/b").len(), 1);
    assert_eq!(with(&hash, "https://github.com/a/b").len(), 1);
}

#[test]
fn each_rule_finds_its_breach() {
    let good = Package::of_project();
    for (place, from, to, expected) in BREACHES {
        let mut bad = good.clone();
        let text = match place {
            Place::Makefile => &mut bad.makefile,
            Place::Init => &mut bad.init,
            Place::Test => &mut bad.test,
        };
        assert!(text.contains(from), "the good one has {from:?}");
        *text = text.replacen(from, to, 1);
        let faults = lint(&bad);
        assert!(
            faults.iter().any(|fault| fault.contains(expected)),
            "{from:?} -> {to:?} should say {expected:?}, and says {faults:?}"
        );
    }
}

/// The text of the package that a breach is made in.
#[derive(Clone, Copy)]
enum Place {
    Makefile,
    Init,
    Test,
}

/// What is replaced by what, and what the linter has to say of it.
const BREACHES: [(Place, &str, &str, &str); 27] = [
    (
        Place::Makefile,
        "USERID:=fosquitto:",
        "USERID:=broker:",
        "USERID",
    ),
    (
        Place::Makefile,
        "PKG_VERSION:=26.",
        "PKG_VERSION:=27.",
        "Cargo.toml",
    ),
    (
        Place::Makefile,
        "PKG_VERSION:=26.11.0",
        "PKG_VERSION:=1.0.0",
        "22.2",
    ),
    (
        Place::Makefile,
        "PKG_VERSION:=26.11.0",
        "PKG_VERSION:=26.11.0_rc1",
        "digits and dots",
    ),
    (
        Place::Makefile,
        "PKG_RELEASE:=1\n",
        "PKG_RELEASE:=0\n",
        "PKG_RELEASE",
    ),
    (
        Place::Makefile,
        "PKG_LICENSE:=MIT OR Apache-2.0",
        "PKG_LICENSE:=MIT OR Apache",
        "SPDX",
    ),
    (
        Place::Makefile,
        "PKG_CPE_ID:=cpe:/a:",
        "PKG_CPE_ID:=cpe:",
        "PKG_CPE_ID",
    ),
    (
        Place::Makefile,
        "PKG_BUILD_DEPENDS:=rust/host",
        "PKG_BUILD_DEPENDS:=",
        "rust/host",
    ),
    (
        Place::Makefile,
        "define Package/fosquitto/install",
        "define Package/$(PKG_NAME)/install",
        "literal name",
    ),
    (
        Place::Makefile,
        "(call BuildPackage,fosquitto)",
        "(call BuildPackage,$(PKG_NAME))",
        "literal name",
    ),
    (
        Place::Makefile,
        "  SECTION:=net",
        "\tSECTION:=net",
        "two spaces",
    ),
    (
        Place::Makefile,
        "  CATEGORY:=Network",
        "    CATEGORY:=Network",
        "two spaces",
    ),
    (
        Place::Makefile,
        "\t$(INSTALL_DIR) $(1)/usr/sbin",
        "  $(INSTALL_DIR) $(1)/usr/sbin",
        "a tab",
    ),
    (
        Place::Makefile,
        "\n/etc/config/fosquitto\n",
        "\n  /etc/config/fosquitto\n",
        "no indentation",
    ),
    (
        Place::Makefile,
        "\n/etc/config/fosquitto\n",
        "\n/etc/config/fosquitto/\n",
        "conffiles",
    ),
    (
        Place::Makefile,
        "+libopenssl",
        "+libopenssl +mosquitto-ssl",
        "+mosquitto-ssl",
    ),
    (
        Place::Makefile,
        "$(RUST_ARCH_DEPENDS) ",
        "",
        "RUST_ARCH_DEPENDS",
    ),
    (
        Place::Makefile,
        "--no-default-features",
        "",
        "--no-default-features",
    ),
    (
        Place::Makefile,
        "include $(INCLUDE_DIR)/package.mk\n",
        "",
        "package.mk",
    ),
    (
        Place::Makefile,
        "PKG_BUILD_PARALLEL:=1\n",
        "PKG_BUILD_PARALLEL:=1 \n",
        "end of line",
    ),
    (
        Place::Makefile,
        "etc/hotplug.d/ntp/25-fosquitto $(1)",
        "etc/none $(1)",
        "files/etc/none",
    ),
    (
        Place::Makefile,
        "$(INSTALL_BIN) $(PKG_BUILD_DIR)/files/etc/init.d",
        "$(INSTALL_DATA) $(PKG_BUILD_DIR)/files/etc/init.d",
        "INSTALL_BIN",
    ),
    (
        Place::Init,
        "#!/bin/sh /etc/rc.common",
        "#!/bin/sh",
        "#!/bin/sh /etc/rc.common",
    ),
    (Place::Init, "USE_PROCD=1", "USE_PROCD=", "USE_PROCD=1"),
    (
        Place::Init,
        "start_service() {",
        "begin_service() {",
        "start_service",
    ),
    (
        Place::Init,
        "\tload_uci\n",
        "\t\"$PROG\" serve &\n",
        "background",
    ),
    (
        Place::Test,
        "| grep -F \"fosquitto",
        "| grep -qF \"fosquitto",
        "grep -q",
    ),
];

/// The texts that the rules are about.
#[derive(Clone)]
struct Package {
    makefile: String,
    init: String,
    test: String,
}

impl Package {
    fn of_project() -> Package {
        Package {
            makefile: read(MAKEFILE),
            init: read("files/etc/init.d/fosquitto"),
            test: read("openwrt/fosquitto/test.sh"),
        }
    }
}

/// Everything that breaks a rule of the feed's review.
fn lint(package: &Package) -> Vec<String> {
    let mut faults = Vec::new();
    lint_text(&package.makefile, &mut faults);
    lint_variables(&package.makefile, &mut faults);
    lint_includes(&package.makefile, &mut faults);
    lint_blocks(&package.makefile, &mut faults);
    lint_dependencies(&package.makefile, &mut faults);
    lint_installation(&package.makefile, &mut faults);
    lint_scripts(package, &mut faults);
    faults
}

/// What a pull request to the feed needs and a checkout does not know.
fn lint_submission(makefile: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for name in ["PKG_SOURCE", "PKG_SOURCE_URL", "PKG_HASH", "PKG_MAINTAINER"] {
        if variable(makefile, name).is_none() {
            faults.push(format!("{name} is missing"));
        }
    }
    let is_digest =
        |hash: &str| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if variable(makefile, "PKG_HASH").is_some_and(|hash| !is_digest(hash)) {
        faults.push("PKG_HASH is not a SHA-256 digest".into());
    }
    if variable(makefile, "PKG_SOURCE_URL")
        .is_some_and(|url| url.starts_with("https://github.com/"))
    {
        faults.push("PKG_SOURCE_URL does not use the mirrors' name @GITHUB".into());
    }
    let is_person = |name: &str| {
        name.split_once(" <").is_some_and(|(name, mail)| {
            !name.is_empty() && mail.contains('@') && mail.ends_with('>')
        })
    };
    if variable(makefile, "PKG_MAINTAINER").is_some_and(|name| !is_person(name)) {
        faults.push("PKG_MAINTAINER is not of the form Name <email>".into());
    }
    if makefile.contains("PKG_SOURCE_PROTO:=git") {
        faults.push("an archive is preferred over git".into());
    }
    faults
}

/// The value of a variable that is set at the beginning of a line.
fn variable<'a>(makefile: &'a str, name: &str) -> Option<&'a str> {
    let set = |line: &'a str| line.strip_prefix(name)?.strip_prefix(":=");
    makefile.lines().find_map(set)
}

fn lint_text(makefile: &str, faults: &mut Vec<String>) {
    for (index, line) in makefile.lines().enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            faults.push(format!(
                "line {}: white space at the end of line",
                index + 1
            ));
        }
        let names = ["define ", "$(eval ", "$(call "];
        if names.iter().any(|start| line.starts_with(start)) && line.contains("$(PKG_NAME)") {
            faults.push(format!(
                "line {}: the package's literal name is expected",
                index + 1
            ));
        }
    }
    let end = "$(eval $(call RustBinPackage,fosquitto))\n$(eval $(call BuildPackage,fosquitto))\n";
    if !makefile.ends_with(end) {
        faults.push("the last two lines call RustBinPackage and BuildPackage".into());
    }
}

fn lint_variables(makefile: &str, faults: &mut Vec<String>) {
    let value = |name: &str| variable(makefile, name).unwrap_or_default();
    if value("PKG_NAME") != "fosquitto" {
        faults.push("PKG_NAME is fosquitto".into());
    }
    let version = value("PKG_VERSION");
    if version != env!("CARGO_PKG_VERSION") {
        faults.push(format!(
            "PKG_VERSION {version} is not the one of Cargo.toml"
        ));
    }
    // The two package managers order everything else differently.
    let numbers: Result<Vec<u64>, _> = version.split('.').map(str::parse).collect();
    match numbers {
        Err(_) => faults.push(format!(
            "PKG_VERSION {version} has more than digits and dots"
        )),
        Ok(numbers) if numbers[..] <= ORIGINAL[..] => {
            faults.push(format!("PKG_VERSION {version} is no upgrade from 22.2"));
        }
        Ok(_) => {}
    }
    if !value("PKG_RELEASE")
        .parse()
        .is_ok_and(|release: u32| release >= 1)
    {
        faults.push("PKG_RELEASE is a number from 1 on".into());
    }
    if value("PKG_LICENSE") != "MIT OR Apache-2.0" {
        faults.push("PKG_LICENSE is the SPDX expression of Cargo.toml".into());
    }
    let licences = fs::read_dir(PROJECT).expect("the project can be read");
    for entry in licences.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("LICENSE")
            && !value("PKG_LICENSE_FILES")
                .split(' ')
                .any(|listed| listed == name)
        {
            faults.push(format!("PKG_LICENSE_FILES lacks {name}"));
        }
    }
    if !value("PKG_CPE_ID").starts_with("cpe:/a:") {
        faults.push("PKG_CPE_ID is cpe:/a:VENDOR:PRODUCT".into());
    }
    if value("PKG_BUILD_DEPENDS") != "rust/host" {
        faults.push("PKG_BUILD_DEPENDS is rust/host".into());
    }
}

/// Variables, then package.mk, then rust-package.mk, which adds to what was set before.
fn lint_includes(makefile: &str, faults: &mut Vec<String>) {
    let order = [
        "include $(TOPDIR)/rules.mk\n",
        "PKG_NAME:=",
        "PKG_BUILD_PARALLEL:=",
        "include $(INCLUDE_DIR)/package.mk\n",
        "/lang/rust/rust-package.mk\n",
        "CARGO_PKG_ARGS+=",
        "define Package/fosquitto/install",
    ];
    let mut last = 0;
    for part in order {
        match makefile.find(part) {
            Some(place) if place >= last => last = place,
            Some(_) => faults.push(format!("{:?} is too early", part.trim_end())),
            None => faults.push(format!("{:?} is missing", part.trim_end())),
        }
    }
}

/// The lines of `define NAME … endef`, with the name.
fn blocks(makefile: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut is_inside = false;
    for line in makefile.lines() {
        if let Some(name) = line.strip_prefix("define ") {
            blocks.push((name, Vec::new()));
            is_inside = true;
        } else if line == "endef" {
            is_inside = false;
        } else if let (true, Some((_, lines))) = (is_inside, blocks.last_mut()) {
            lines.push(line);
        }
    }
    blocks
}

fn lint_blocks(makefile: &str, faults: &mut Vec<String>) {
    for (name, lines) in blocks(makefile) {
        let kind = name.strip_prefix("Package/fosquitto").unwrap_or(name);
        for line in lines {
            let wrong = match kind {
                "" | "/description" => (!line.starts_with("  ")
                    || line[2..].starts_with([' ', '\t']))
                .then_some("two spaces"),
                "/conffiles" | "/preinst" | "/postinst" | "/prerm" | "/postrm" => {
                    line.starts_with([' ', '\t']).then_some("no indentation")
                }
                _ => (!line.starts_with('\t')).then_some("a tab"),
            };
            if let Some(expected) = wrong {
                faults.push(format!("{name}: {line:?}: {expected} expected"));
            }
        }
    }
}

fn lint_dependencies(makefile: &str, faults: &mut Vec<String>) {
    let set = |line: &str| {
        line.trim_start()
            .strip_prefix("DEPENDS:=")
            .map(str::to_owned)
    };
    let dependencies = makefile.lines().find_map(set).unwrap_or_default();
    let mut words = dependencies.split(' ');
    if words.next() != Some("$(RUST_ARCH_DEPENDS)") {
        faults.push("DEPENDS begins with $(RUST_ARCH_DEPENDS)".into());
    }
    for word in words.filter(|word| !DEPENDENCIES.contains(word)) {
        faults.push(format!("DEPENDS: {word} is not one that the package needs"));
    }
    if !makefile.contains("\n  USERID:=fosquitto:fosquitto ") {
        faults.push("USERID makes the user that the init script asks for".into());
    }
    if !makefile.contains("\nCARGO_PKG_ARGS+= --no-default-features\n") {
        faults.push(
            "CARGO_PKG_ARGS: --no-default-features, which links the router's libraries".into(),
        );
    }
}

/// Every file of `files/` is installed at its place with its mode, what is not there is not, and what owners change is a conffile.
fn lint_installation(makefile: &str, faults: &mut Vec<String>) {
    let blocks = blocks(makefile);
    let block = |name: &str| {
        let found = blocks.iter().find(|(other, _)| *other == name);
        found.map(|(_, lines)| lines.as_slice()).unwrap_or_default()
    };
    let recipe = block("Package/fosquitto/install");
    let conffiles = block("Package/fosquitto/conffiles");
    for path in files_below("files") {
        let place = path.trim_start_matches("files");
        let is_program = ["/etc/init.d/", "/etc/uci-defaults/", "/usr/libexec/"]
            .iter()
            .any(|folder| place.starts_with(folder));
        let how = if is_program {
            "INSTALL_BIN"
        } else {
            "INSTALL_DATA"
        };
        let line = format!("\t$({how}) $(PKG_BUILD_DIR)/{path} $(1){place}");
        if !recipe.contains(&line.as_str()) {
            faults.push(format!("the package lacks {:?}", line.trim_start()));
        }
        if place.starts_with("/etc/config/") && !conffiles.contains(&place) {
            faults.push(format!("conffiles: {place} is missing"));
        }
    }
    for source in recipe
        .iter()
        .filter_map(|line| line.split("$(PKG_BUILD_DIR)/").nth(1))
    {
        let path = source.split(' ').next().unwrap_or_default();
        if !project(path).is_file() {
            faults.push(format!("{path} is installed and not there"));
        }
    }
    for line in conffiles
        .iter()
        .filter(|line| !project(&format!("files{}", line.trim_end_matches('/'))).is_dir())
    {
        if !line.starts_with('/') || line.ends_with('/') {
            faults.push(format!(
                "conffiles: {line:?} is not the absolute path of a file"
            ));
        }
    }
}

fn lint_scripts(package: &Package, faults: &mut Vec<String>) {
    let init = &package.init;
    for (line, what) in [
        ("#!/bin/sh /etc/rc.common", "begin"),
        ("USE_PROCD=1", "have"),
        ("start_service() {", "have"),
    ] {
        let is_there = match what {
            "begin" => init.lines().next() == Some(line),
            _ => init.lines().any(|other| other == line),
        };
        if !is_there {
            faults.push(format!("the init script has to {what} with: {line}"));
        }
    }
    let code = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.trim().to_owned());
        lines.filter(|line| !line.starts_with('#')).collect()
    };
    for line in code(init) {
        if line.ends_with(" &") || line.contains("start-stop-daemon") {
            faults.push(format!(
                "the init script starts something in the background: {line}"
            ));
        }
    }
    for line in code(&package.test) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_quiet = |pair: &[&str]| {
            pair[0] == "grep"
                && (pair[1] == "--quiet"
                    || (pair[1].starts_with('-')
                        && !pair[1].starts_with("--")
                        && pair[1].contains('q')))
        };
        if words.windows(2).any(is_quiet) {
            faults.push(format!(
                "test.sh: no grep -q, whose output is missed in the log: {line}"
            ));
        }
    }
}

/// All files below a folder of the project, as paths from the project, sorted.
fn files_below(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let entries = fs::read_dir(project(folder)).expect("a folder of the project can be read");
    for entry in entries {
        let entry = entry.expect("an entry can be read");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => files.extend(files_below(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

/// Whether a file of the router is a shell script.
fn is_script(path: &str) -> bool {
    ["/init.d/", "/hotplug.d/", "/uci-defaults/", "/libexec/"]
        .iter()
        .any(|folder| path.contains(folder))
        || path.ends_with(".sh")
}
