//! A UCI file that is wrong: all its faults at once, each with its line, from `check` and from `serve`.

use std::process::Command;

use crate::harness::pki::{EXPIRED, REMOTE, common_name};
use crate::harness::root::{FOSQUITTO, Root, run, stderr};

/// Line, what the report must name, and the line of the file.
const FAULTY: [(usize, &str, &str); 31] = [
    (0, "", "config global 'global'"),
    (2, "fosquitto.global.debug", "\toption debug 'perhaps'"),
    (3, "fosquitto.global.log_level", "\toption log_level 'loud'"),
    (
        4,
        "fosquitto.global.max_packet_size",
        "\toption max_packet_size 'big'",
    ),
    (
        5,
        "fosquitto.global.acl_default",
        "\toption acl_default 'maybe'",
    ),
    (0, "", ""),
    (0, "", "config local 'local'"),
    (8, "fosquitto.local.port", "\toption port '99999'"),
    (9, "fosquitto.local.prot", "\toption prot '1'"),
    (0, "", ""),
    (0, "", "config listener 'lan'"),
    (0, "", "\toption port '1883'"),
    (13, "fosquitto.lan.address", "\tlist address '192.0.2.300'"),
    (14, "fosquitto.lan.protocol", "\toption protocol 'http'"),
    (
        15,
        "fosquitto.lan.max_connections",
        "\toption max_connections 'all'",
    ),
    (16, "fosquitto.lan.identity", "\toption identity 'face'"),
    (0, "", ""),
    (0, "", "config acl"),
    (0, "", "\tlist user 'alice'"),
    (20, "access", "\toption access 'reed'"),
    (21, "topic", "\tlist topic 'a/#/b'"),
    (0, "", ""),
    (0, "", "config user 'alice'"),
    (0, "", "\tlist group 'family'"),
    (0, "", ""),
    (0, "", "config subordinate '0000000A00000214'"),
    (0, "", "\toption enabled '1'"),
    (0, "", "\toption address '192.0.2.8'"),
    (0, "", "\toption port '11884'"),
    (0, "", ""),
    (0, "", "# the end"),
];

fn faulty_file() -> String {
    FAULTY
        .iter()
        .map(|(_, _, line)| format!("{line}\n"))
        .collect()
}

/// Holds a report to the twelve faults: each on its line, and nothing else.
fn assert_reports_all(report: &str) {
    let expected: Vec<(usize, &str)> = FAULTY
        .iter()
        .map(|(line, name, _)| (*line, *name))
        .filter(|(line, _)| *line > 0)
        .collect();
    assert_eq!(expected.len(), 12);
    for (line, name) in &expected {
        let place = format!("etc/config/fosquitto:{line}: fosquitto.");
        let found = report.lines().find(|text| text.contains(&place));
        let found = found.unwrap_or_else(|| panic!("no fault on line {line} in:\n{report}"));
        assert!(found.contains(name), "line {line} is about {name}: {found}");
    }
    let count = report
        .lines()
        .filter(|text| text.contains("etc/config/fosquitto:"))
        .count();
    assert_eq!(count, expected.len(), "and no other fault:\n{report}");
}

#[test]
fn check_reports_all_twelve_faults_with_their_lines() {
    let root = Root::with_uci(&faulty_file());
    let output = root.check();
    assert_eq!(output.status.code(), Some(1));
    assert_reports_all(&stderr(&output));
}

#[test]
fn serve_reports_them_too_and_does_not_start() {
    let root = Root::with_uci(&faulty_file());
    let output = root.serve_to_the_end();
    assert_eq!(output.status.code(), Some(1));
    assert_reports_all(&stderr(&output));
    assert!(!stderr(&output).contains("listening on"));
}

#[test]
fn a_fault_says_what_was_expected_and_what_was_meant() {
    let report = stderr(&Root::with_uci(&faulty_file()).check());
    let line = |number: usize| {
        let place = format!("etc/config/fosquitto:{number}: ");
        report
            .lines()
            .find(|text| text.contains(&place))
            .unwrap_or_else(|| panic!("line {number} in {report}"))
            .to_owned()
    };
    assert!(
        line(8).ends_with("'99999' is not a port (1-65535)") || line(8).contains("65535"),
        "{}",
        line(8)
    );
    assert!(line(9).contains("port"), "did you mean port: {}", line(9));
    assert!(line(20).contains("read"), "did you mean read: {}", line(20));
}

#[test]
fn an_unknown_section_type_is_a_fault_with_a_proposal() {
    let output = Root::with_uci("config lokal 'local'\n\toption port '0'\n").check();
    assert_eq!(output.status.code(), Some(1));
    let report = stderr(&output);
    assert!(
        report.contains("etc/config/fosquitto:1: ") && report.contains("local"),
        "{report}"
    );
}

#[test]
fn a_syntax_error_is_a_fault_with_its_line() {
    let cases = [
        ("config local 'local'\n\toption port 'open\n", 2),
        ("option port '1'\n", 1),
        ("config local 'local'\n\toptoin port '1'\n", 2),
    ];
    for (uci, line) in cases {
        let output = Root::with_uci(uci).check();
        assert_eq!(output.status.code(), Some(1), "{uci}");
        let report = stderr(&output);
        assert!(
            report.contains(&format!("etc/config/fosquitto:{line}: ")),
            "{uci} is reported as {report}"
        );
    }
}

#[test]
fn the_file_of_the_original_is_correct() {
    let uci = "config global 'global'\n\toption debug '0'\n\nconfig local 'local'\n\toption port 11883\n\n\
        config remote 'remote'\n\toption enabled '0'\n\n\
        config subordinate '0000000A00000214'\n\toption enabled '1'\n\toption address '192.168.1.8'\n\toption port '11884'\n\n\
        config subsubordinate '0000000A00000215'\n\toption enabled '1'\n\toption via '0000000A00000214'\n";
    let output = Root::with_uci(uci).check();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        Root::with_uci("").check().status.success(),
        "an empty file has every default"
    );
}

#[test]
fn check_accepts_what_says_what_survives_and_names_the_line_of_a_slip() {
    let uci = "config persistence 'persistence'\n\toption durability 'interval'\n\toption path '/etc/fosquitto/fosquitto.db'\n\
        \toption flush_interval '30'\n\toption size_limit '4M'\n\toption daily_budget '8M'\n\
        config durability\n\tlist topic 'alarm/#'\n\toption class 'commit'\n\
        config keeper 'foris'\n\toption enabled '0'\n\
        config keeper 'own'\n\tlist request 'ask/+'\n\toption request_ttl '5'\n\tlist reply 'answer/+'\n\toption reply_ttl '30'\n";
    let output = Root::with_uci(uci).check();
    assert!(output.status.success(), "{}", stderr(&output));
    let report = stderr(&Root::with_uci(&uci.replace("ask/+", "ask+")).check());
    assert!(
        report.contains("etc/config/fosquitto:13: fosquitto.own.request: 'ask+'"),
        "{report}"
    );
}

#[test]
fn check_warns_of_what_will_keep_a_bridge_from_connecting_and_finds_no_fault() {
    let uci = "config bridge 'up'\n\tlist address 'broker.example'\n\tlist topic '#'\n\toption username 'me'\n\
        \toption password_file '/nowhere/password'\n\
        config subordinate '0000000A00000214'\n\
        config subordinate '0000000A00000215'\n\toption enabled '0'\n\
        config subsubordinate '0000000A00000216'\n\toption via '0000000A00000215'\n\
        config subsubordinate '0000000A00000217'\n\toption via '0000000A00000218'\n";
    let root = Root::with_uci(uci);
    let output = root.check();
    assert!(output.status.success());
    let report = stderr(&output);
    let token = root.join("etc/fosquitto/bridges/0000000A00000214");
    for expected in [
        ":1: warning: fosquitto.up: /nowhere/password: the file is missing",
        &format!(
            ":6: warning: fosquitto.0000000A00000214: {}/ca.crt: the file is missing",
            token.display()
        ),
        &format!(
            ":6: warning: fosquitto.0000000A00000214: {}/token.key: the file is missing",
            token.display()
        ),
        ":9: warning: fosquitto.0000000A00000216.via: '0000000A00000215' is disabled: it is not reached",
        ":11: warning: fosquitto.0000000A00000217.via: '0000000A00000218' is no subordinate: it is not reached",
    ] {
        assert!(report.contains(expected), "{expected} is not in:\n{report}");
    }
    let folder = "etc/fosquitto/bridges/0000000A00000214";
    let token = REMOTE.client_of(&common_name("sub"), 7, EXPIRED);
    token.write_token(&root, folder, &REMOTE);
    let report = stderr(&root.check());
    assert!(
        report.contains("token.crt: the certificate expired on"),
        "{report}"
    );
    assert!(!report.contains("is missing, expected the CA"), "{report}");
}

#[test]
fn an_uncommitted_change_takes_no_effect_and_an_override_does() {
    let root = Root::with_uci("config local 'local'\n\toption port '0'\n");
    root.write("tmp/.uci/fosquitto", "fosquitto.local.port='99999'\n");
    assert!(root.check().status.success());
    root.write(
        "var/run/uci/fosquitto",
        "config local 'local'\n\toption port '99999'\n",
    );
    let output = root.check();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("var/run/uci/fosquitto:2: fosquitto.local.port"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_version_is_above_the_one_it_replaces() {
    let output = run(Command::new(&*FOSQUITTO).arg("--version"), "");
    assert!(output.status.success());
    assert_eq!(output.stdout, b"fosquitto 26.11.0\n");
}

#[test]
fn an_unknown_command_is_an_error_and_help_is_not() {
    let help = run(Command::new(&*FOSQUITTO).arg("--help"), "");
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).expect("help is text");
    for command in ["serve", "check", "passwd", "request", "--root"] {
        assert!(text.contains(command), "help names {command}");
    }
    let unknown = run(Command::new(&*FOSQUITTO).arg("sevre"), "");
    assert!(!unknown.status.success() && unknown.status.code().is_some());
    assert!(stderr(&unknown).contains("sevre"));
}
