//! What the command understands, asks and writes.

use std::fs;

use super::*;
use crate::auth::testing::Scratch;

fn parsed(arguments: &[&str]) -> Result<Option<Request>, String> {
    parse(
        Path::new("/"),
        arguments.iter().map(OsString::from).collect(),
    )
}

fn request(scratch: &Scratch, action: Action, user: &str) -> Request {
    Request {
        root: scratch.path().to_owned(),
        action,
        user: user.into(),
    }
}

fn execute_with(request: &Request, password: &'static str) -> Result<String, Vec<String>> {
    execute(request, |_, _| Ok(Secret::copy_of(password.as_bytes())))
}

#[test]
fn the_three_actions_are_understood_in_any_order() {
    let expected = |root: &str, action| {
        Ok(Some(Request {
            root: root.into(),
            action,
            user: "ann".into(),
        }))
    };
    assert_eq!(parsed(&["ann"]), expected("/", Action::Set));
    assert_eq!(parsed(&["-c", "ann"]), expected("/", Action::Check));
    assert_eq!(parsed(&["ann", "--delete"]), expected("/", Action::Delete));
    assert_eq!(
        parsed(&["-D", "--root=/r", "--", "ann"]),
        expected("/r", Action::Delete)
    );
    assert_eq!(parsed(&["--help", "whatever"]), Ok(None));
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    let fault = parsed(&["ann", "s3cret"]).expect_err("refused");
    assert!(
        fault.contains("never an argument") && !fault.contains("s3cret"),
        "{fault}"
    );
    for arguments in [
        &[][..],
        &["-c"],
        &["-c", "-D", "ann"],
        &["-x", "ann"],
        &["ann", "--root"],
    ] {
        assert!(parsed(arguments).is_err(), "{arguments:?}");
    }
}

#[test]
fn a_user_is_set_checked_changed_and_deleted() {
    let scratch = Scratch::new();
    let run = |action, password| execute_with(&request(&scratch, action, "ann"), password);
    assert!(run(Action::Check, "one").is_err());
    assert!(run(Action::Set, "one").is_ok_and(|done| done.contains("reload")));
    assert!(run(Action::Check, "one").is_ok());
    assert!(run(Action::Check, "two").is_err());
    assert!(run(Action::Set, "two").is_ok());
    assert!(run(Action::Check, "one").is_err());
    assert!(run(Action::Check, "two").is_ok());
    assert!(run(Action::Delete, "").is_ok());
    assert!(run(Action::Delete, "").is_err());
    assert!(run(Action::Check, "two").is_err());
}

#[test]
fn the_user_local_is_refused_before_anything_is_asked_but_can_be_checked() {
    let scratch = Scratch::new();
    auth::ensure_local(scratch.path()).expect("made");
    let asked = execute(&request(&scratch, Action::Set, "local"), |_, _| {
        panic!("nothing is asked")
    });
    assert!(asked.is_err_and(|faults| faults[0].contains("credentials.plain")));
    let plain =
        fs::read_to_string(scratch.path().join("etc/fosquitto/credentials.plain")).expect("there");
    let password = plain
        .trim_end()
        .strip_prefix("local:")
        .expect("local")
        .to_owned();
    let check = request(&scratch, Action::Check, "local");
    assert!(execute(&check, |_, _| Ok(Secret::copy_of(password.as_bytes()))).is_ok());
}

#[test]
fn a_file_with_faults_is_left_alone_and_all_of_them_are_told() {
    let scratch = Scratch::new();
    execute_with(&request(&scratch, Action::Set, "ann"), "one").expect("set");
    let path = scratch.path().join("etc/fosquitto/passwd");
    let content = fs::read_to_string(&path).expect("there") + "bad\nworse\n";
    fs::write(&path, &content).expect("scratch");
    let faults = execute_with(&request(&scratch, Action::Set, "bob"), "x").expect_err("refused");
    assert_eq!(faults.len(), 2);
    assert!(faults[1].contains("etc/fosquitto/passwd:3: "), "{faults:?}");
    assert_eq!(fs::read_to_string(&path).expect("there"), content);
}

#[test]
fn one_line_of_standard_input_is_the_password() {
    let read = |input: &[u8]| read_line(&mut &*input).map(|password| password.expose().to_vec());
    assert_eq!(read(b"one two\nthree").expect("a line"), b"one two");
    assert_eq!(read(b"\xff\0x").expect("a line"), b"\xff\0x");
    assert_eq!(read(b"").expect("a line"), b"");
    assert_eq!(
        read(&[b'x'; PASSWORD_BYTES_MAX]).expect("a line").len(),
        PASSWORD_BYTES_MAX
    );
    assert!(read(&[b'x'; PASSWORD_BYTES_MAX + 1]).is_err());
}

#[test]
fn typed_keys_edit_the_line_or_give_up() {
    let read = |input: &[u8]| read_typed(&mut &*input).map(|password| password.expose().to_vec());
    assert_eq!(read(b"wrong\x15one\x7f\x08n e\r").expect("a line"), b"on e");
    assert_eq!(read(b"\x7f\n").expect("a line"), b"");
    for given_up in [&b"one\x03"[..], b"one\x04", b"one"] {
        assert!(read(given_up).is_err());
    }
}
