//! SCRAM's messages: the example of RFC 7677, and everything that differs from it by one thing.

use super::*;

const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

/// The keys of the example's user, whose password is `pencil`.
fn keys() -> Keys {
    let salt = decode("W22ZaJ0SNY7soEsUEjb6gQ==", "salt").expect("16 bytes");
    Keys::derive(b"pencil", salt, 4096).expect("OpenSSL hashes")
}

fn begin(first: &str) -> (Pending, String) {
    let first = ClientFirst::parse(first.as_bytes()).expect("a first message");
    first.answer(&keys(), SERVER_NONCE)
}

fn fault(message: impl AsRef<[u8]>) -> &'static str {
    match ClientFirst::parse(message.as_ref()) {
        Err(Failure::Message(what)) => what,
        other => panic!("{other:?}"),
    }
}

/// The final message of a client that began with `header` and `bare`, and takes this for its password.
pub(in crate::auth) fn last(
    header: &str,
    bare: &str,
    server_first: &str,
    password: &[u8],
) -> String {
    let mut parts = server_first.split(',');
    let mut next = |name| parts.next().and_then(|part| part.strip_prefix(name));
    let (nonce, salt) = (next("r=").expect("a nonce"), next("s=").expect("a salt"));
    let iterations = next("i=").and_then(|number| number.parse().ok());
    let salt = BASE64.decode(salt).expect("base64");
    let without_proof = format!("c={},r={nonce}", BASE64.encode(header));
    let signed = format!("{bare},{server_first},{without_proof}");
    let proof = proof(password, &salt, iterations.expect("a number"), &signed);
    format!("{without_proof},p={proof}")
}

/// The proof of a client that knows the password.
fn proof(password: &[u8], salt: &[u8], iterations: usize, signed: &str) -> String {
    let mut salted = [0; 32];
    let digest = MessageDigest::sha256();
    openssl::pkcs5::pbkdf2_hmac(password, salt, iterations, digest, &mut salted)
        .expect("OpenSSL hashes");
    let mut client_key = hmac(&salted, b"Client Key").expect("OpenSSL hashes");
    let stored_key = openssl::sha::sha256(&client_key);
    let signature = hmac(&stored_key, signed.as_bytes()).expect("OpenSSL hashes");
    for (byte, signature) in client_key.iter_mut().zip(signature) {
        *byte ^= signature;
    }
    BASE64.encode(client_key)
}

#[test]
fn the_example_of_rfc_7677_succeeds() {
    let (pending, server_first) = begin(CLIENT_FIRST);
    assert_eq!(
        server_first,
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    assert_eq!(
        pending.finish(&keys(), CLIENT_FINAL.as_bytes()),
        Ok(SERVER_FINAL.to_owned())
    );
}

#[test]
fn any_other_password_gives_a_wrong_proof() {
    let (pending, _) = begin(CLIENT_FIRST);
    let salt = keys().salt();
    for password in [&b"pencils"[..], b"Pencil", b"", b"pencil\0"] {
        let others = Keys::derive(password, salt, 4096).expect("OpenSSL hashes");
        let judged = pending.finish(&others, CLIENT_FINAL.as_bytes());
        // HMAC fills its key with zeros, so that the last of these is the same password.
        let expected = match password {
            b"pencil\0" => Ok(SERVER_FINAL.to_owned()),
            _ => Err(Failure::WrongProof),
        };
        assert_eq!(judged, expected, "{password:?}");
    }
    let made_up = Keys::made_up(&[7; 32], "user").expect("OpenSSL hashes");
    let judged = pending.finish(&made_up, CLIENT_FINAL.as_bytes());
    assert_eq!(judged, Err(Failure::WrongProof));
}

#[test]
fn a_changed_bit_of_the_proof_is_wrong() {
    let (pending, _) = begin(CLIENT_FIRST);
    let (head, proof) = CLIENT_FINAL.rsplit_once("p=").expect("a proof");
    let proof: [u8; 32] = decode(proof, "proof").expect("32 bytes");
    for bit in 0..256 {
        let mut proof = proof;
        proof[bit / 8] ^= 1 << (bit % 8);
        let message = format!("{head}p={}", BASE64.encode(proof));
        let judged = pending.finish(&keys(), message.as_bytes());
        assert_eq!(judged, Err(Failure::WrongProof), "bit {bit}");
    }
}

#[test]
fn a_final_message_of_another_exchange_is_refused() {
    let first = ClientFirst::parse(CLIENT_FIRST.as_bytes()).expect("a first message");
    let (pending, _) = first.answer(&keys(), "anotherNonce");
    assert_eq!(
        pending.finish(&keys(), CLIENT_FINAL.as_bytes()),
        Err(Failure::Message("the nonce is not that of this exchange"))
    );
}

#[test]
fn a_client_that_can_bind_channels_and_an_authorization_name_are_part_of_the_proof() {
    let (pending, server_first) = begin("y,a=user,n=user,r=abc");
    let right = last("y,a=user,", "n=user,r=abc", &server_first, b"pencil");
    assert!(pending.finish(&keys(), right.as_bytes()).is_ok());
    // A man in the middle who took the client's ability away is noticed.
    let (pending, _) = begin("n,a=user,n=user,r=abc");
    assert_eq!(
        pending.finish(&keys(), right.as_bytes()),
        Err(Failure::Message("the channel binding is not as it began"))
    );
}

#[test]
fn an_unknown_extension_of_the_final_message_is_signed_and_ignored() {
    let (pending, server_first) = begin(CLIENT_FIRST);
    let without_proof = format!("c=biws,r=rOprNGfwEbeRWgbNEkqO{SERVER_NONCE},x=1");
    let signed = format!("{},{server_first},{without_proof}", &CLIENT_FIRST[3..]);
    let proof = proof(b"pencil", &keys().salt(), 4096, &signed);
    let message = format!("{without_proof},p={proof}");
    assert!(pending.finish(&keys(), message.as_bytes()).is_ok());
}

#[test]
fn names_are_unescaped() {
    let parse = |message: &'static str| ClientFirst::parse(message.as_bytes()).expect("sound");
    let first = parse("n,a==3Da,n=b=2C=3Dc=3D2C,r=x");
    assert_eq!(first.authorization.as_deref(), Some("=a"));
    assert_eq!(first.user, "b,=c=2C");
    assert_eq!(parse("n,,n=ä b,r=x").user, "ä b");
    assert_eq!(parse("n,,n=a,r=x,e=1").nonce, "x");
}

#[test]
fn a_first_message_that_is_none_is_refused() {
    for (message, expected) in [
        ("", "no header"),
        ("n,", "no header"),
        ("p=tls-unique,,n=user,r=x", "not offered"),
        ("p=tls-exporter,,n=user,r=x", "not offered"),
        ("q,,n=user,r=x", "flag is unknown"),
        ("N,,n=user,r=x", "flag is unknown"),
        ("n,b,n=user,r=x", "authorization"),
        ("n,a=,n=user,r=x", "empty"),
        ("n,,m=ext,n=user,r=x", "does not come first"),
        ("n,,r=x,n=user", "does not come first"),
        ("n,,n=,r=x", "empty"),
        ("n,,n=us=er,r=x", "escaped"),
        ("n,,n=user=,r=x", "escaped"),
        ("n,,n=user=2c,r=x", "escaped"),
        ("n,,n=user", "nonce"),
        ("n,,n=user,r=", "nonce"),
        ("n,,n=user,r=a b", "nonce"),
        ("n,,n=user,r=ä", "nonce"),
        ("n,,n=user,x=1,r=a", "nonce"),
        ("n,,n=us\0er,r=a", "UTF-8"),
    ] {
        assert!(fault(message).contains(expected), "{message:?}");
    }
    assert!(fault(b"n,,n=\xff,r=x").contains("UTF-8"));
    let long = format!("n,,n=user,r={}", "x".repeat(MESSAGE_BYTES_MAX));
    assert!(fault(long).contains("longer"));
}

#[test]
fn a_final_message_that_is_none_is_refused() {
    let (pending, _) = begin(CLIENT_FIRST);
    let nonce = format!("rOprNGfwEbeRWgbNEkqO{SERVER_NONCE}");
    let proof = BASE64.encode([0; 32]);
    for message in [
        String::new(),
        format!("c=biws,r={nonce}"),
        format!("r={nonce},c=biws,p={proof}"),
        format!("c=biwt,r={nonce},p={proof}"),
        format!("c=biws,r={nonce}x,p={proof}"),
        format!("c=biws,r=rOprNGfwEbeRWgbNEkqO,p={proof}"),
        format!("c=biws,r={nonce},p="),
        format!("c=biws,r={nonce},p={}", BASE64.encode([0; 31])),
        format!("c=biws,r={nonce},p=????"),
        format!("c=biws,r={nonce},p={proof},x=1"),
        CLIENT_FIRST.to_owned(),
    ] {
        let judged = pending.finish(&keys(), message.as_bytes());
        assert!(
            matches!(judged, Err(Failure::Message(_))),
            "{message}: {judged:?}"
        );
    }
}

#[test]
fn keys_are_written_as_rfc_5803_has_them_and_read_again() {
    let text = keys().to_string();
    // Computed with hashlib and hmac of Python; PostgreSQL keeps the same text.
    assert_eq!(
        text,
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==\
         $WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    );
    assert!(Keys::parse(&text).is_ok_and(|read| read == keys()));
}

#[test]
fn what_are_not_keys_is_told_apart_without_repeating_them() {
    let good = BASE64.encode([7; 32]);
    let salt = BASE64.encode([9; 16]);
    for (text, expected) in [
        ("pencil".to_owned(), "unknown kind"),
        (
            format!("SCRAM-SHA-1$4096:{salt}${good}:{good}"),
            "unknown kind",
        ),
        (
            format!("SCRAM-SHA-256:4096:{salt}${good}:{good}"),
            "unknown kind",
        ),
        (format!("SCRAM-SHA-256$4096:{salt}"), "fields"),
        (format!("SCRAM-SHA-256$4096:{salt}${good}"), "fields"),
        (format!("SCRAM-SHA-256$:{salt}${good}:{good}"), "iterations"),
        (
            format!("SCRAM-SHA-256$4095:{salt}${good}:{good}"),
            "iterations",
        ),
        (
            format!("SCRAM-SHA-256$+4096:{salt}${good}:{good}"),
            "iterations",
        ),
        (
            format!("SCRAM-SHA-256$1000001:{salt}${good}:{good}"),
            "iterations",
        ),
        (format!("SCRAM-SHA-256$4096:${good}:{good}"), "salt has 0"),
        (
            format!("SCRAM-SHA-256$4096:{salt}$AAAA:{good}"),
            "stored key has 3",
        ),
        (
            format!("SCRAM-SHA-256$4096:{salt}${good}:AAAA"),
            "server key has 3",
        ),
        (
            format!("SCRAM-SHA-256$4096:{salt}${good}:{good}\r"),
            "server key is not base64",
        ),
    ] {
        let fault = Keys::parse(&text).err().unwrap_or_default();
        assert!(fault.contains(expected), "{text}: {fault:?}");
        assert!(!fault.contains(&good), "a fault must not repeat the keys");
    }
}

#[test]
fn made_up_keys_are_stable_and_another_users_and_another_secrets_are_others() {
    let made_up = |secret, user| Keys::made_up(&[secret; 32], user).expect("OpenSSL hashes");
    assert!(made_up(1, "ann") == made_up(1, "ann"));
    assert_ne!(made_up(1, "ann").salt(), made_up(1, "bob").salt());
    assert_ne!(made_up(1, "ann").salt(), made_up(2, "ann").salt());
    assert!(Keys::parse(&made_up(1, "ann").to_string()).is_ok());
}
