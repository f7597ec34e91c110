//! Password files and SCRAM keys: every fault has its line, and replacing one user's line leaves all others.

use fosquitto::auth::Fault;
use fosquitto::fuzzing::{passwd, replace_user, scram};

/// The content of a file, for each of the two.
pub fn run(bytes: &[u8]) {
    if let Err(faults) = scram(bytes) {
        have_lines(&faults, bytes);
    }
    match passwd(bytes) {
        Err(faults) => have_lines(&faults, bytes),
        Ok(users) => replacing(bytes, &users),
    }
}

fn have_lines(faults: &[Fault], bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert!(!faults.is_empty());
    for fault in faults {
        assert!(fault.line.is_some_and(|line| (1..=lines).contains(&line)));
        assert!(!fault.to_string().contains(char::is_control), "{fault:?}");
    }
}

fn replacing(bytes: &[u8], users: &[String]) {
    let hash = "$7$1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
    for user in users.iter().take(4) {
        let (with, was_there) = replace_user(bytes, user, Some(hash));
        assert!(was_there);
        assert_eq!(passwd(&with).as_deref(), Ok(users));
        let (without, was_there) = replace_user(&with, user, None);
        let left = users.iter().filter(|other| *other != user).cloned();
        assert!(was_there);
        assert_eq!(passwd(&without), Ok(left.collect()));
    }
    let (with, was_there) = replace_user(bytes, "somebody new", Some(hash));
    let is_known = users.iter().any(|user| user == "somebody new");
    assert_eq!(was_there, is_known);
    let now = passwd(&with).map(|users| users.len());
    assert_eq!(now, Ok(users.len() + usize::from(!is_known)));
}
