//! Who a CONNECT is, for every way in which a listener can ask.

use super::*;
use crate::auth::testing::{Authority, Scratch, Text, der_name, policy};
use crate::auth::{certificate::fingerprint, set_user};

fn user(name: &str, groups: &[&str], pins: &[&str]) -> User {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    User {
        name: name.into(),
        groups: owned(groups),
        pins: owned(pins),
    }
}

fn granted(step: Step) -> String {
    match step {
        Step::Granted(identity) => identity.user().unwrap_or("(anonymous)").to_owned(),
        other => panic!("{other:?}"),
    }
}

fn denied(step: Step) -> Denied {
    match step {
        Step::Denied(denied) => denied,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_common_name_is_the_user_and_connect_is_ignored() {
    let certificate = Authority::new("CA").client().common_name("ann/+#").sign().0;
    let users = [user("ann/+#", &["family"], &[])];
    let policy = policy(IdentitySource::CommonName, false, true, &users);
    let Step::Granted(identity) = policy.begin(Some(&certificate), Some("root"), Some(b"x")) else {
        panic!("a good certificate");
    };
    assert_eq!(identity.user(), Some("ann/+#"));
    assert_eq!(identity.groups().collect::<Vec<_>>(), ["family"]);
    assert_eq!(identity.means(), Means::Certificate);
}

#[test]
fn a_certificate_without_a_usable_name_is_denied_even_with_a_password() {
    let nameless = Authority::new("CA")
        .client()
        .subject(&der_name(&[&[(&[0x55, 4, 3], Text::Utf8(b"a\0b"))]]))
        .sign()
        .0;
    for source in [IdentitySource::CommonName, IdentitySource::Subject] {
        let policy = policy(source, true, false, &[]);
        let denied = denied(policy.begin(Some(&nameless), Some("ann"), Some(b"x")));
        assert_eq!(denied, Denied::NoUsableName);
    }
}

#[test]
fn the_subject_can_be_the_user() {
    let certificate = Authority::new("CA").client().sign().0;
    let policy = policy(IdentitySource::Subject, false, true, &[]);
    assert_eq!(
        granted(policy.begin(Some(&certificate), None, None)),
        "CN=client"
    );
}

#[test]
fn without_its_optional_certificate_a_client_is_asked_for_its_password() {
    for source in [
        IdentitySource::CommonName,
        IdentitySource::Subject,
        IdentitySource::UserName,
    ] {
        let policy = policy(source, false, false, &[]);
        assert!(matches!(
            policy.begin(None, Some("ann"), Some(b"x")),
            Step::Verify(_)
        ));
        assert_eq!(
            denied(policy.begin(None, Some("ann"), None)),
            Denied::BadUserNameOrPassword
        );
        assert_eq!(
            denied(policy.begin(None, None, None)),
            Denied::NotAuthorised
        );
    }
}

#[test]
fn a_required_certificate_that_is_missing_is_never_made_up_for() {
    let policy = policy(IdentitySource::UserName, true, true, &[]);
    assert_eq!(
        denied(policy.begin(None, Some("ann"), Some(b"x"))),
        Denied::NotAuthorised
    );
    assert_eq!(
        denied(policy.begin(None, None, None)),
        Denied::NotAuthorised
    );
}

#[test]
fn only_who_gives_neither_certificate_nor_user_name_is_anonymous() {
    let certificate = Authority::new("CA").client().sign().0;
    let policy = policy(IdentitySource::UserName, true, false, &[]);
    assert_eq!(granted(policy.begin(None, None, None)), "(anonymous)");
    assert!(matches!(
        policy.begin(None, Some(" "), Some(b"")),
        Step::Verify(_)
    ));
    assert_eq!(
        granted(policy.begin(None, Some(""), Some(b""))),
        "(anonymous)",
        "a form that was left empty"
    );
    assert_eq!(
        denied(policy.begin(Some(&certificate), None, None)),
        Denied::NotAuthorised
    );
    assert_eq!(
        denied(policy.begin(None, Some("ann"), None)),
        Denied::BadUserNameOrPassword
    );
}

#[test]
fn a_pinned_user_comes_with_a_pinned_certificate_only() {
    let authority = Authority::new("CA");
    let (pinned, other) = (
        authority.client().sign().0,
        authority.client().serial(3).sign().0,
    );
    let pin = fingerprint(&pinned).to_uppercase();
    let colons: Vec<_> = pin
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).expect("hex"))
        .collect();
    let users = [user("client", &[], &["00", &colons.join(":")])];
    let policy = policy(IdentitySource::CommonName, false, false, &users);
    assert_eq!(granted(policy.begin(Some(&pinned), None, None)), "client");
    assert_eq!(
        denied(policy.begin(Some(&other), None, None)),
        Denied::BadUserNameOrPassword
    );
}

#[test]
fn a_pinned_users_password_does_not_help_without_the_certificate() {
    let certificate = Authority::new("CA").client().sign().0;
    let scratch = Scratch::new();
    set_user(scratch.path(), "ann", &Secret::copy_of(b"right")).expect("written");
    let credentials = Credentials::load(scratch.path()).expect("sound");
    let users = [user("ann", &["family"], &[&fingerprint(&certificate)])];
    let policy = policy(IdentitySource::UserName, false, false, &users);
    let verdict = |certificate: Option<&X509Ref>, password: &[u8]| match policy.begin(
        certificate,
        Some("ann"),
        Some(password),
    ) {
        Step::Verify(attempt) => attempt.decide(&credentials),
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        verdict(None, b"right"),
        Verdict::Denied(Denied::BadUserNameOrPassword)
    ));
    assert!(matches!(
        verdict(Some(&certificate), b"wrong"),
        Verdict::Denied(_)
    ));
    let Verdict::Granted(identity) = verdict(Some(&certificate), b"right") else {
        panic!("both are right");
    };
    assert_eq!(identity.means(), Means::Password);
}

#[test]
fn a_pin_that_is_no_fingerprint_fits_nothing_and_keeps_the_user_pinned() {
    let certificate = Authority::new("CA").client().sign().0;
    let pin = fingerprint(&certificate);
    for pin in [
        "",
        "zz",
        &pin[2..],
        &format!("{pin}00"),
        &pin.replace(|_: char| true, "é"),
    ] {
        assert_eq!(parse_pin(pin), None);
        let policy = policy(
            IdentitySource::CommonName,
            false,
            true,
            &[user("client", &[], &[pin])],
        );
        assert_eq!(
            denied(policy.begin(Some(&certificate), None, None)),
            Denied::BadUserNameOrPassword,
            "{pin}"
        );
    }
}

#[test]
fn a_reload_gives_new_groups_and_takes_pins_and_anonymity_into_account() {
    let certificate = Authority::new("CA").client().sign().0;
    let old = policy(IdentitySource::CommonName, true, false, &[]);
    let Step::Granted(by_certificate) = old.begin(Some(&certificate), None, None) else {
        panic!("a good certificate");
    };
    let anonymous = Identity::anonymous();
    let by_password = Identity::of_user("client".into(), Arc::default(), Means::Password);
    let new = policy(
        IdentitySource::CommonName,
        false,
        false,
        &[user("client", &["guests"], &[&fingerprint(&certificate)])],
    );
    let renewed = new
        .renew(Some(&certificate), &by_certificate)
        .expect("pinned");
    assert_eq!(renewed.groups().collect::<Vec<_>>(), ["guests"]);
    assert!(new.renew(None, &by_password).is_err(), "now pinned");
    assert!(new.renew(None, &anonymous).is_err(), "now forbidden");
    assert!(old.renew(None, &anonymous).is_ok());
    assert!(old.renew(None, &by_password).is_ok());
    let renamed = policy(IdentitySource::Subject, false, false, &[]);
    assert!(
        renamed.renew(Some(&certificate), &by_certificate).is_err(),
        "the name is another one now"
    );
}

#[test]
fn identities_are_equal_by_user_name_whatever_the_proof() {
    let one = Identity::of_user("ann".into(), Arc::default(), Means::Password);
    let other = Identity::of_user(
        "ann".into(),
        Arc::from(["family".into()]),
        Means::Certificate,
    );
    assert_eq!(one, other);
    assert_ne!(one, Identity::anonymous());
    assert_eq!(format!("{one:?}"), "\"ann\" by Password");
}

#[test]
fn nothing_that_is_printed_holds_a_password() {
    let policy = policy(IdentitySource::UserName, false, false, &[]);
    let printed = format!("{:?}", policy.begin(None, Some("ann"), Some(b"s3cret")));
    assert!(
        !printed.contains("s3cret") && printed.contains("ann"),
        "{printed}"
    );
}
