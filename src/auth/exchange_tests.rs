//! Who comes out of an exchange: the right user with the right password, and nobody else.

use super::*;
use crate::auth::testing::{Authority, Scratch, policy};
use crate::auth::{Secret, fingerprint, scram, set_user};
use crate::config::{IdentitySource, User};

/// The client's final message for a server's first one.
fn last(first: &str, server_first: &str, password: &[u8]) -> String {
    let bare = first.splitn(3, ',').nth(2).expect("a header");
    let header = &first[..first.len() - bare.len()];
    scram::tests::last(header, bare, server_first, password)
}

fn credentials() -> Credentials {
    let scratch = Scratch::new();
    for (user, password) in [("ann", "right"), ("bob", "other"), ("päul", "pässword")] {
        set_user(scratch.path(), user, &Secret::copy_of(password.as_bytes())).expect("written");
    }
    Credentials::load(scratch.path()).expect("sound")
}

fn passwords() -> Policy {
    policy(IdentitySource::UserName, false, false, &[])
}

/// Runs a whole exchange; the identity's user, or why there is none.
fn run(
    expected: Option<&str>,
    policy: &Policy,
    certificate: Option<&X509Ref>,
    first: &str,
    password: &str,
) -> Result<String, Denied> {
    let credentials = credentials();
    let mut exchange = Exchange::new(expected);
    let mut advance =
        |data: &str| exchange.advance(policy, certificate, &credentials, Some(data.as_bytes()));
    let server_first = match advance(first) {
        Progress::Continue(answer) => answer,
        Progress::Denied(denied) => return Err(denied),
        Progress::Granted(..) => panic!("without a proof"),
    };
    match advance(&last(first, &server_first, password.as_bytes())) {
        Progress::Granted(identity, answer) => {
            assert!(answer.starts_with("v="), "{answer}");
            assert_eq!(identity.means(), Means::Password);
            Ok(identity.user().expect("a user").to_owned())
        }
        Progress::Denied(denied) => Err(denied),
        Progress::Continue(_) => panic!("after the end"),
    }
}

const WRONG: Result<String, Denied> = Err(Denied::BadUserNameOrPassword);

#[test]
fn the_right_password_grants_the_users_identity() {
    for (first, password, user) in [
        ("n,,n=ann,r=x", "right", "ann"),
        ("y,a=bob,n=bob,r=x", "other", "bob"),
        ("n,,n=päul,r=x", "pässword", "päul"),
    ] {
        let outcome = run(None, &passwords(), None, first, password);
        assert_eq!(outcome.as_deref(), Ok(user));
    }
}

#[test]
fn a_wrong_password_an_unknown_user_and_another_user_are_one_refusal() {
    for (expected, first, password) in [
        (None, "n,,n=ann,r=x", "other"),
        (None, "n,,n=nobody,r=x", "right"),
        (None, "n,a=bob,n=ann,r=x", "right"),
        (Some("bob"), "n,,n=ann,r=x", "right"),
    ] {
        assert_eq!(run(expected, &passwords(), None, first, password), WRONG);
    }
    // A user name of no characters names nobody else.
    for expected in ["ann", ""] {
        let outcome = run(Some(expected), &passwords(), None, "n,,n=ann,r=x", "right");
        assert_eq!(outcome.as_deref(), Ok("ann"));
    }
}

#[test]
fn a_pinned_user_needs_the_certificate_as_well() {
    let authority = Authority::new("test CA");
    let (pinned, other) = (
        authority.client().sign().0,
        authority.client().serial(3).sign().0,
    );
    let ann = User {
        pins: vec![fingerprint(&pinned)],
        name: "ann".into(),
        groups: Vec::new(),
    };
    let policy = policy(IdentitySource::UserName, false, false, &[ann]);
    let run = |certificate| run(None, &policy, certificate, "n,,n=ann,r=x", "right");
    assert_eq!(run(Some(&*pinned)).as_deref(), Ok("ann"));
    assert_eq!(run(Some(&*other)), WRONG);
    assert_eq!(run(None), WRONG);
}

#[test]
fn a_password_that_is_changed_during_the_exchange_does_not_count() {
    let scratch = Scratch::new();
    let load = |password: &[u8]| {
        set_user(scratch.path(), "ann", &Secret::copy_of(password)).expect("written");
        Credentials::load(scratch.path()).expect("sound")
    };
    let (before, first) = (load(b"old"), "n,,n=ann,r=x");
    let mut exchange = Exchange::new(None);
    let begun = exchange.advance(&passwords(), None, &before, Some(first.as_bytes()));
    let Progress::Continue(server_first) = begun else {
        panic!("{begun:?}");
    };
    let proof = last(first, &server_first, b"old");
    let ended = exchange.advance(&passwords(), None, &load(b"new"), Some(proof.as_bytes()));
    assert!(matches!(
        ended,
        Progress::Denied(Denied::BadUserNameOrPassword)
    ));
}

#[test]
fn passwords_are_not_asked_for_where_certificates_name_the_user() {
    let certificate = Authority::new("test CA").client().sign().0;
    for (source, required, with, without) in [
        (IdentitySource::UserName, false, true, true),
        (IdentitySource::UserName, true, true, false),
        (IdentitySource::CommonName, false, false, true),
        (IdentitySource::Subject, true, false, false),
    ] {
        let policy = policy(source, true, required, &[]);
        assert_eq!(policy.takes_passwords(Some(&certificate)), with);
        assert_eq!(policy.takes_passwords(None), without);
    }
}
