//! Every normative statement of MQTT 3.1.1 and 5.0, with the test that holds it or the reason why none does.
//!
//! The numbers are those of the specifications' Appendix B; the words are this project's own and only say which statement is
//! meant. The tests here read the sources: what a table names must be there, and a test that ends in a number must be known.

mod v3_1_1;
mod v5_0;

use std::io::Write;

use crate::harness::own_tests::all as tests;

/// What holds a statement.
#[derive(Clone, Copy)]
enum Held {
    /// The test, by its module and its name. It need not be the only one.
    Test(&'static str),
    /// Why there is no test.
    Reason(&'static str),
}

/// A statement: its number, what it is about in at most ten words, and what holds it.
type Statement = (&'static str, &'static str, Held);

/// Binds the client only: a server can neither keep nor break it.
const CLIENT: Held = Held::Reason("binds the client only");

/// The specifications by the module that has their own tests.
const SPECIFICATIONS: [(&str, &str, &[Statement]); 2] = [
    ("3.1.1", "conformance::v3", v3_1_1::STATEMENTS),
    ("5.0", "conformance::v5", v5_0::STATEMENTS),
];

/// The statements in whose numbers a test's name ends: none when what it ends in is no number of four parts.
fn numbers(test: &str) -> Vec<String> {
    let mut parts: Vec<&str> = test.split('_').rev().collect();
    let end = parts
        .iter()
        .position(|part| *part != "and" && !part.bytes().all(|byte| byte.is_ascii_digit()))
        .unwrap_or(parts.len());
    parts.truncate(end);
    parts.reverse();
    let groups: Vec<&[&str]> = parts.split(|part| *part == "and").collect();
    if groups.iter().any(|group| group.len() % 4 != 0) {
        return Vec::new();
    }
    let statements = groups.iter().flat_map(|group| group.chunks(4));
    statements
        .map(|number| format!("{}-{}", number[..3].join("."), number[3]))
        .collect()
}

#[test]
fn every_statement_is_held_by_a_test_that_is_there_or_has_its_reason() {
    let tests = tests();
    let mut counts = Vec::new();
    for (version, _, statements) in SPECIFICATIONS {
        let mut tested = 0;
        for (number, _, held) in statements {
            match held {
                Held::Test(name) => {
                    assert!(tests.contains(*name), "{version} {number}: no test {name}");
                    tested += 1;
                }
                Held::Reason(reason) => assert!(!reason.is_empty(), "{version} {number}"),
            }
        }
        let all = statements.len();
        let listed = all - tested;
        counts.push(format!(
            "{version}: {all} statements, {tested} tested, {listed} on the list"
        ));
    }
    // Past the capture of a test's output: whoever runs the tests is to see it.
    let line = format!("\n{}\n", counts.join("; "));
    std::io::stdout()
        .write_all(line.as_bytes())
        .expect("the standard output takes a line");
}

#[test]
fn a_test_that_ends_in_a_number_is_of_a_statement_that_has_tests() {
    let mut unknown = Vec::new();
    for test in tests() {
        let own = SPECIFICATIONS
            .iter()
            .find(|(_, module, _)| test.starts_with(&format!("{module}::")));
        let tables = own.map_or(&SPECIFICATIONS[..], std::slice::from_ref);
        for number in numbers(&test) {
            let is_known = tables.iter().any(|(_, _, statements)| {
                let entry = statements.iter().find(|(other, _, _)| *other == number);
                entry.is_some_and(|(_, _, held)| matches!(held, Held::Test(_)))
            });
            if !is_known {
                unknown.push(format!("{test}: {number}"));
            }
        }
    }
    assert!(unknown.is_empty(), "tested in no table: {unknown:#?}");
}

#[test]
fn no_number_stands_twice_and_all_stand_in_order() {
    for (version, _, statements) in SPECIFICATIONS {
        let keys: Vec<Vec<u32>> = statements
            .iter()
            .map(|(number, _, _)| {
                number
                    .split(['.', '-'])
                    .map(|part| part.parse().expect("a number has numbers"))
                    .collect()
            })
            .collect();
        for (pair, statement) in keys.windows(2).zip(&statements[1..]) {
            assert!(
                pair[0] < pair[1],
                "{version} {}: twice, or out of order",
                statement.0
            );
        }
        for (number, says, _) in statements {
            let words = says.split_whitespace().count();
            assert!((1..=10).contains(&words), "{version} {number}: {words}");
        }
    }
}

#[test]
fn the_numbers_of_a_name_are_read() {
    let of = |name: &str| numbers(name).join(" ");
    assert_eq!(of("m::second_connect_3_1_0_2"), "3.1.0-2");
    assert_eq!(of("expires_3_3_2_5_and_3_3_2_6"), "3.3.2-5 3.3.2-6");
    assert_eq!(
        of("none_and_no_auth_4_12_0_6_4_12_0_7"),
        "4.12.0-6 4.12.0-7"
    );
    for name in [
        "a_section_3_14_2_2_2",
        "closed_27",
        "no_number",
        "tls_1_2_and_1_3",
    ] {
        assert_eq!(of(name), "", "{name}");
    }
}
