//! Passwords on the local side: who gets in, who does not, and what the broker makes at its first start.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{BOTH, Connect, Version};
use crate::harness::root::Root;

/// Two users with the hashes of mosquitto's two older forms; the password of both is [`VECTOR_PASSWORD`].
const VECTORS: &str = "pbkdf2:$7$101$AAECAwQFBgcICQoL$02NS2eDWClBU0t5fjavY7arv2wsc3CilhyCU9VSPRmLvTozK+8buLbimiq0tIUSeue2pXcmdqLR6oJQ9YDn40Q==\n\
    sha512:$6$AAECAwQFBgcICQoL$IqzzGyHXNhyhGRGJpmaEkfP+oYE8T7Y0wMJ56lLwZsIlm8OhK9VPj23Smvsw+rVi7Y+IBxpxl1V30YoYH5EUQQ==\n";

const VECTOR_PASSWORD: &str = "0123456789ABCDEF0123456789ABCDEF";

/// Sends the CONNECT and holds the answer to a refusal for who one is, followed by a close.
fn assert_refused(broker: &Broker, connect: &Connect) -> u8 {
    let (mut client, connack) = broker.attempt(connect);
    let allowed: &[u8] = if connect.version == Version::V5 {
        &[0x86, 0x87]
    } else {
        &[4, 5]
    };
    assert!(
        allowed.contains(&connack.code),
        "{connect:?} is answered by {:#x}",
        connack.code
    );
    assert!(!connack.session_present);
    client.refused();
    connack.code
}

#[test]
fn a_wrong_password_is_refused_like_an_unknown_user() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let wrong = assert_refused(&broker, &Connect::new(version, "a").user("local", "wrong"));
        let unknown = assert_refused(&broker, &Connect::new(version, "a").user("nobody", "wrong"));
        assert_eq!(wrong, unknown, "an answer must not tell which names exist");
    }
    broker.join(&Connect::new(Version::V311, "a")).ping();
}

#[test]
fn a_bad_password_is_answered_in_3_1_1_as_the_original_answers_it() {
    let broker = Broker::start(LOCAL);
    assert_eq!(
        assert_refused(
            &broker,
            &Connect::new(Version::V311, "a").user("local", "wrong")
        ),
        5
    );
}

#[test]
fn no_password_is_refused() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        assert_refused(&broker, &Connect::new(version, "a"));
        let mut nameless = Connect::new(version, "a").user("local", "");
        assert_refused(&broker, &nameless);
        nameless.password = None;
        assert_refused(&broker, &nameless);
    }
}

#[test]
fn nearly_the_password_is_refused() {
    let broker = Broker::start(LOCAL);
    let password = broker.root().local_password();
    for wrong in [
        &password[1..],
        &password.to_lowercase(),
        &format!("{password} "),
        &format!("{password}\n"),
    ] {
        assert_refused(
            &broker,
            &Connect::new(Version::V311, "a").user("local", wrong),
        );
    }
    assert_refused(
        &broker,
        &Connect::new(Version::V311, "a").user("Local", &password),
    );
}

#[test]
fn the_first_start_makes_credentials_as_the_original_does() {
    let broker = Broker::start(LOCAL);
    let text = broker.root().read("etc/fosquitto/credentials.plain");
    let password = text
        .strip_prefix("local:")
        .and_then(|text| text.strip_suffix('\n'))
        .expect("local:PASSWORD LF");
    assert_eq!(password.len(), 32);
    assert!(
        password
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')),
        "{password}"
    );
    assert_eq!(broker.root().mode("etc/fosquitto/credentials.plain"), 0o600);
    assert_eq!(broker.root().mode("etc/fosquitto"), 0o700);
    let hashed = broker.root().read("etc/fosquitto/credentials.hashed");
    assert!(hashed.starts_with("local:$"), "{hashed}");
    assert_eq!(
        broker.root().mode("etc/fosquitto/credentials.hashed"),
        0o600
    );
}

#[test]
fn the_next_start_keeps_the_credentials() {
    let broker = Broker::start(LOCAL);
    let password = broker.root().local_password();
    let (_, root) = broker.stop();
    let broker = Broker::start_on(root);
    assert_eq!(broker.root().local_password(), password);
    broker.join(&Connect::new(Version::V311, "a")).ping();
}

#[test]
fn two_routers_have_two_passwords() {
    let (first, second) = (Broker::start(LOCAL), Broker::start(LOCAL));
    assert_ne!(
        first.root().local_password(),
        second.root().local_password()
    );
}

#[test]
fn hashes_that_mosquitto_made_are_accepted() {
    let root = Root::with_uci(&format!(
        "{LOCAL}\nconfig user 'pbkdf2'\n\nconfig user 'sha512'\n"
    ));
    root.write("etc/fosquitto/passwd", VECTORS);
    let broker = Broker::start_on(root);
    for user in ["pbkdf2", "sha512"] {
        broker
            .join(&Connect::new(Version::V5, user).user(user, VECTOR_PASSWORD))
            .ping();
        assert_refused(
            &broker,
            &Connect::new(Version::V5, user).user(user, "wrong"),
        );
    }
}

#[test]
fn a_garbled_line_of_the_password_file_lets_nobody_in() {
    let root = Root::with_uci(&format!(
        "{LOCAL}\nconfig user 'empty'\n\nconfig user 'plain'\n\nconfig user 'cut'\n"
    ));
    root.write(
        "etc/fosquitto/passwd",
        "empty:\nplain:secret\ncut:$7$101$AAEC\nnoline\n:$6$AA$AA\n",
    );
    let broker = Broker::start_on(root);
    for (user, password) in [
        ("empty", ""),
        ("plain", "secret"),
        ("cut", ""),
        ("noline", ""),
        ("", ""),
    ] {
        assert_refused(
            &broker,
            &Connect::new(Version::V311, "a").user(user, password),
        );
    }
    broker.join(&Connect::new(Version::V311, "b")).ping();
}

#[test]
fn a_password_file_that_cannot_be_read_lets_nobody_of_it_in() {
    let root = Root::with_uci(&format!("{LOCAL}\nconfig user 'alice'\n"));
    // A folder in its place cannot be read by anybody, not even by root.
    std::fs::create_dir_all(root.join("etc/fosquitto/passwd")).expect("a folder can be made");
    let broker = Broker::start_on(root);
    assert_refused(&broker, &Connect::new(Version::V311, "a").user("alice", ""));
    let said = broker
        .log()
        .lines()
        .iter()
        .any(|line| line.contains("etc/fosquitto/passwd"));
    assert!(said, "the log names the file: {:?}", broker.log().lines());
}
