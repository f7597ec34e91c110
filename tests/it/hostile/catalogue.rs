//! The table of the hostile inputs, held to the tests that are there.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::own_tests;

/// The inputs that a test here must hold, by the project's list. The others are of bridges and of what the program does not have.
fn wanted() -> BTreeSet<u32> {
    (1..=56).chain(59..=62).chain([64, 65]).collect()
}

/// The table of this folder's own doc: the input's number, and the files of its tests.
fn table() -> BTreeMap<u32, Vec<&'static str>> {
    let rows = include_str!("mod.rs").lines().filter_map(|line| {
        let mut cells = line.strip_prefix("//! |")?.split('|').map(str::trim);
        let number = cells.next()?.parse().ok()?;
        let files = cells.nth(1)?.split(", ");
        Some((number, files.map(|file| file.trim_matches('`')).collect()))
    });
    rows.collect()
}

/// The numbers in which a test's name ends.
fn numbers(test: &str) -> Vec<u32> {
    let parts = test.rsplit('_');
    let parts = parts.take_while(|part| part.len() <= 2 || *part == "and");
    parts.filter_map(|part| part.parse().ok()).collect()
}

#[test]
fn every_input_has_its_tests_where_the_table_says() {
    let (tests, table) = (own_tests::all(), table());
    assert_eq!(table.keys().copied().collect::<BTreeSet<u32>>(), wanted());
    for (number, files) in table {
        for file in files {
            let is_there = tests.iter().any(|test| {
                test.starts_with(&format!("hostile::{file}::")) && numbers(test).contains(&number)
            });
            assert!(is_there, "no test of {file} ends in {number}");
        }
    }
}

#[test]
fn every_test_of_an_attack_stands_in_the_table() {
    let table = table();
    for test in own_tests::all() {
        let Some((file, _)) = test
            .strip_prefix("hostile::")
            .and_then(|rest| rest.split_once("::"))
        else {
            continue;
        };
        for number in numbers(&test) {
            let is_named = table
                .get(&number)
                .is_some_and(|files| files.contains(&file));
            assert!(is_named, "{test} is not in the row of {number}");
        }
    }
}

#[test]
fn the_numbers_of_a_name_are_read() {
    assert_eq!(numbers("closed_27"), [27]);
    assert_eq!(numbers("of_nobody_27_and_64"), [64, 27]);
    assert!(numbers("no_number").is_empty());
}
