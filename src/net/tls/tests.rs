//! Handshakes of real clients with a listener's context, over a pair of sockets.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use openssl::pkey::{PKey, Private};
use openssl::ssl::SslStream;

use super::*;
use crate::auth::testing::{Authority, Scratch};

/// A listener's files as turris-cagen lays them out.
struct Remote {
    scratch: Scratch,
    authority: Authority,
    tls: Tls,
}

type Certified = (X509, PKey<Private>);

/// What a client tries.
struct Client<'a> {
    certificate: Option<&'a Certified>,
    version: SslVersion,
}

impl Remote {
    fn new() -> Remote {
        let (scratch, authority) = (Scratch::new(), Authority::new("remote"));
        let (certificate, key) = authority.server().sign();
        let tls = Tls {
            ca: Some(scratch.file("ca.crt", authority.certificate.to_pem().expect("PEM"))),
            cert: scratch.file("01.crt", certificate.to_pem().expect("PEM")),
            key: scratch.file("01.key", key.private_key_to_pem_pkcs8().expect("PEM")),
            crl: None,
            min_version: TlsVersion::V1_2,
            require_certificate: true,
        };
        Remote {
            scratch,
            authority,
            tls,
        }
        .with_list(&[], (-1, 30))
    }

    fn with_list(mut self, revoked: &[u32], days: (i64, i64)) -> Remote {
        let list = self
            .authority
            .revocation_list(revoked, days)
            .to_pem()
            .expect("PEM");
        self.tls.crl = Some(self.scratch.file("ca.crl", list));
        self
    }

    fn context(&self) -> TlsContext {
        TlsContext::build(&self.tls).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn faults(&self) -> Vec<String> {
        TlsContext::build(&self.tls).err().unwrap_or_default()
    }

    fn accepts(&self, certificate: Option<&Certified>) -> bool {
        [SslVersion::TLS1_2, SslVersion::TLS1_3].map(|version| {
            handshake(
                &self.context(),
                &Client {
                    certificate,
                    version,
                },
            )
            .is_ok()
        }) == [true, true]
    }

    /// Why a client is refused, in both versions.
    fn refuses(&self, certificate: Option<&Certified>) -> String {
        let refusals = [SslVersion::TLS1_2, SslVersion::TLS1_3].map(|version| {
            handshake(
                &self.context(),
                &Client {
                    certificate,
                    version,
                },
            )
            .expect_err("refused")
        });
        assert_eq!(refusals[0], refusals[1]);
        let [refusal, _] = refusals;
        refusal
    }
}

fn connector(client: &Client<'_>) -> Ssl {
    connector_with(client, &[])
}

/// A client that sends further certificates beside its own.
fn connector_with(client: &Client<'_>, chain: &[X509]) -> Ssl {
    let mut builder = SslContextBuilder::new(SslMethod::tls_client()).expect("a client");
    // OpenSSL 3 does TLS 1.1 at this level only.
    builder.set_security_level(0);
    builder
        .set_min_proto_version(Some(client.version))
        .expect("a version");
    builder
        .set_max_proto_version(Some(client.version))
        .expect("a version");
    if let Some((certificate, key)) = client.certificate {
        builder.set_certificate(certificate).expect("a certificate");
        builder.set_private_key(key).expect("a key");
    }
    for certificate in chain {
        builder
            .add_extra_chain_cert(certificate.clone())
            .expect("a chain");
    }
    let mut ssl = Ssl::new(&builder.build()).expect("a client");
    ssl.set_connect_state();
    ssl
}

/// Shakes hands and sends a byte each way; returns the server's and the client's end. The error is the server's: its reason, or the
/// result of the verification.
fn handshake(
    context: &TlsContext,
    client: &Client<'_>,
) -> Result<[SslStream<UnixStream>; 2], String> {
    handshake_of(context, connector(client))
}

fn handshake_of(context: &TlsContext, ssl: Ssl) -> Result<[SslStream<UnixStream>; 2], String> {
    let (near, far) = UnixStream::pair().expect("two sockets");
    let peer = std::thread::spawn(move || -> std::io::Result<SslStream<UnixStream>> {
        let mut stream = SslStream::new(ssl, far)?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        Ok(stream)
    });
    let mut stream = SslStream::new(context.ssl().expect("a context"), near).expect("a stream");
    let result = stream.do_handshake();
    let verified = stream.ssl().verify_result();
    if let Err(error) = result {
        let reason = error.ssl_error().map_or_else(|| error.to_string(), reasons);
        drop(stream);
        assert!(
            peer.join().expect("no panic").is_err(),
            "the client must learn that it is refused"
        );
        let is_unverified = verified != X509VerifyResult::OK;
        return Err(if is_unverified {
            verified.error_string().into()
        } else {
            reason
        });
    }
    stream.read_exact(&mut [0]).expect("the client's byte");
    stream.write_all(b"y").expect("a byte");
    let client = peer
        .join()
        .expect("no panic")
        .expect("the handshake is done");
    assert_eq!(verified, X509VerifyResult::OK);
    Ok([stream, client])
}

#[test]
fn a_certificate_of_the_ca_is_accepted_without_extended_key_usage() {
    let remote = Remote::new();
    let certified = remote.authority.client().sign();
    assert!(remote.accepts(Some(&certified)));
    let context = remote.context();
    let client = Client {
        certificate: Some(&certified),
        version: SslVersion::TLS1_2,
    };
    let [stream, _] = handshake(&context, &client).expect("accepted");
    let seen = stream
        .ssl()
        .peer_certificate()
        .expect("the client's certificate");
    assert_eq!(auth::common_name(&seen).as_deref(), Some("client"));
    assert_eq!(context.is_revoked_or_invalid(&seen, &[]), None);
    assert!(context.warnings().is_empty(), "{:?}", context.warnings());
    assert!(
        context
            .describe()
            .starts_with("'CN=turris', serial number 01, valid until ")
    );
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let remote = Remote::new();
    // Of the same name, so that only the signature tells.
    let certified = Authority::new("remote").client().sign();
    assert_eq!(
        remote.refuses(Some(&certified)),
        "certificate signature failure"
    );
    assert!(
        remote
            .context()
            .is_revoked_or_invalid(&certified.0, &[])
            .is_some()
    );
}

#[test]
fn a_revoked_certificate_is_refused_and_found_when_connected() {
    let before = Remote::new();
    let (revoked, other) = (
        before.authority.client().serial(7).sign(),
        before.authority.client().serial(8).sign(),
    );
    assert_eq!(
        before.context().is_revoked_or_invalid(&revoked.0, &[]),
        None
    );
    let after = before.with_list(&[5, 7], (-1, 30));
    assert_eq!(after.refuses(Some(&revoked)), "certificate revoked");
    let told = after
        .context()
        .is_revoked_or_invalid(&revoked.0, &[])
        .unwrap_or_default();
    assert!(told.starts_with("certificate revoked on "), "{told}");
    assert!(after.accepts(Some(&other)));
    assert_eq!(after.context().is_revoked_or_invalid(&other.0, &[]), None);
}

#[test]
fn a_list_that_is_out_of_date_refuses_whom_it_names_and_nobody_else() {
    // Past its next update; and of the future, as after a boot without a clock.
    for days in [(-60, -30), (30, 60)] {
        let remote = Remote::new().with_list(&[7], days);
        let (revoked, other) = (
            remote.authority.client().serial(7).sign(),
            remote.authority.client().serial(8).sign(),
        );
        assert_eq!(remote.refuses(Some(&revoked)), "certificate revoked");
        assert!(remote.accepts(Some(&other)));
        let context = remote.context();
        assert!(context.is_revoked_or_invalid(&revoked.0, &[]).is_some());
        assert_eq!(context.is_revoked_or_invalid(&other.0, &[]), None);
        assert_eq!(context.warnings().len(), 1, "{:?}", context.warnings());
    }
}

#[test]
fn an_old_list_excuses_neither_an_expired_nor_a_foreign_certificate() {
    let remote = Remote::new().with_list(&[], (-60, -30));
    let expired = remote.authority.client().days(-20, -10).sign();
    assert_eq!(remote.refuses(Some(&expired)), "certificate has expired");
    let foreign = Authority::new("other").client().sign();
    assert_eq!(
        remote.refuses(Some(&foreign)),
        "unable to get local issuer certificate"
    );
}

#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let remote = Remote::new();
    let (expired, early) = (
        remote.authority.client().days(-20, -10).sign(),
        remote.authority.client().days(10, 20).sign(),
    );
    assert_eq!(remote.refuses(Some(&expired)), "certificate has expired");
    assert_eq!(remote.refuses(Some(&early)), "certificate is not yet valid");
    let told = |certified: &Certified| remote.context().is_revoked_or_invalid(&certified.0, &[]);
    assert_eq!(told(&expired).as_deref(), Some("certificate has expired"));
    assert_eq!(
        told(&early).as_deref(),
        Some("certificate is not yet valid")
    );
}

#[test]
fn a_servers_certificate_is_no_clients() {
    let remote = Remote::new();
    let server = remote.authority.server().serial(9).sign();
    let refusal = remote.refuses(Some(&server));
    assert!(refusal.contains("purpose"), "{refusal}");
    assert_eq!(
        remote.context().is_revoked_or_invalid(&server.0, &[]),
        Some(refusal)
    );
}

#[test]
fn no_certificate_is_refused_where_one_is_required_only() {
    let mut remote = Remote::new();
    assert_eq!(remote.refuses(None), "peer did not return a certificate");
    remote.tls.require_certificate = false;
    assert!(remote.accepts(None));
    let foreign = Authority::new("other").client().sign();
    assert_eq!(
        remote.refuses(Some(&foreign)),
        "unable to get local issuer certificate"
    );
}

#[test]
fn a_listener_without_a_ca_asks_for_no_certificate() {
    let mut remote = Remote::new();
    (
        remote.tls.ca,
        remote.tls.crl,
        remote.tls.require_certificate,
    ) = (None, None, false);
    assert!(remote.accepts(None));
    let client = remote.authority.client().sign();
    assert_eq!(remote.context().is_revoked_or_invalid(&client.0, &[]), None);
}

#[test]
fn versions_below_the_least_one_are_refused() {
    let mut remote = Remote::new();
    let certified = remote.authority.client().sign();
    let mut attempt = |least, version| {
        remote.tls.min_version = least;
        let client = Client {
            certificate: Some(&certified),
            version,
        };
        handshake(&remote.context(), &client).map(|_| ())
    };
    for version in [SslVersion::TLS1, SslVersion::TLS1_1] {
        assert_eq!(
            attempt(TlsVersion::V1_2, version),
            Err("unsupported protocol".into())
        );
    }
    assert_eq!(
        attempt(TlsVersion::V1_3, SslVersion::TLS1_2),
        Err("unsupported protocol".into())
    );
    assert_eq!(attempt(TlsVersion::V1_3, SslVersion::TLS1_3), Ok(()));
}

#[test]
fn a_session_is_not_resumed() {
    let remote = Remote::new();
    let certified = remote.authority.client().sign();
    let context = remote.context();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let certificate = Some(&certified);
        let [_, first] = handshake(
            &context,
            &Client {
                certificate,
                version,
            },
        )
        .expect("accepted");
        let mut again = Ssl::new(first.ssl().ssl_context()).expect("a client");
        again.set_connect_state();
        if let Some(session) = first.ssl().session() {
            // SAFETY: the session was made by the same context.
            unsafe { again.set_session(session) }.expect("a session");
        }
        let [server, client] = handshake_of(&context, again).expect("accepted");
        assert!(!server.ssl().session_reused() && !client.ssl().session_reused());
        assert!(server.ssl().peer_certificate().is_some());
    }
}

#[test]
fn every_fault_of_the_files_is_told_with_its_path() {
    let mut remote = Remote::new();
    let none = PathBuf::from("/nonexistent/file");
    remote.tls.cert = remote.scratch.file("bad.crt", "no PEM");
    remote.tls.key = none.clone();
    remote.tls.ca = Some(remote.scratch.file(
        "bad.ca",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ));
    remote.tls.crl = Some(none);
    let faults = remote.faults();
    assert_eq!(faults.len(), 4, "{faults:#?}");
    for (fault, expected) in faults.iter().zip([
        "bad.crt: no certificate",
        "file: the file is missing",
        "bad.ca: not readable",
        "file: the file is missing",
    ]) {
        assert!(
            fault.contains(expected) && fault.contains("expected"),
            "{fault}"
        );
    }
}

#[test]
fn files_that_do_not_fit_each_other_keep_the_listener_closed() {
    let other = Authority::new("remote");
    let pem = |list: &X509Crl| list.to_pem().expect("PEM");
    let mut remote = Remote::new();
    remote.tls.crl = Some(
        remote
            .scratch
            .file("other.crl", pem(&other.revocation_list(&[], (-1, 30)))),
    );
    assert!(
        remote.faults()[0].contains("not signed by the listener's CA"),
        "{:?}",
        remote.faults()
    );
    remote.tls.crl = Some(remote.scratch.file("empty.crl", ""));
    assert!(
        remote.faults()[0].contains("no list is in it"),
        "{:?}",
        remote.faults()
    );
    remote.tls.crl = None;
    remote.tls.key = remote.scratch.file(
        "other.key",
        other
            .client()
            .sign()
            .1
            .private_key_to_pem_pkcs8()
            .expect("PEM"),
    );
    assert!(
        remote.faults()[0].contains("does not belong to the certificate"),
        "{:?}",
        remote.faults()
    );
    let mut remote = Remote::new();
    (remote.tls.ca, remote.tls.crl) = (None, None);
    assert!(
        remote.faults()[0].contains("no CA is set"),
        "{:?}",
        remote.faults()
    );
}

#[test]
fn a_key_with_a_passphrase_is_refused_without_asking_for_it() {
    let mut remote = Remote::new();
    let key = remote.authority.client().sign().1;
    let cipher = openssl::symm::Cipher::aes_128_cbc();
    let pem = key
        .private_key_to_pem_pkcs8_passphrase(cipher, b"secret")
        .expect("PEM");
    remote.tls.key = remote.scratch.file("locked.key", pem);
    assert!(
        remote.faults()[0].contains("has a passphrase"),
        "{:?}",
        remote.faults()
    );
}

#[test]
fn an_expired_certificate_of_the_listener_is_a_warning_only() {
    let mut remote = Remote::new();
    let (certificate, key) = remote.authority.server().days(-20, -10).sign();
    remote.tls.cert = remote
        .scratch
        .file("old.crt", certificate.to_pem().expect("PEM"));
    remote.tls.key = remote
        .scratch
        .file("old.key", key.private_key_to_pem_pkcs8().expect("PEM"));
    let context = remote.context();
    assert!(
        context.warnings()[0].contains("old.crt: the certificate expired on "),
        "{:?}",
        context.warnings()
    );
    assert!(remote.accepts(Some(&remote.authority.client().sign())));
}

#[test]
fn a_chain_of_reasonable_length_is_followed_and_a_long_one_refused_in_both_ways() {
    let mut remote = Remote::new();
    remote.tls.crl = None;
    let mut authorities = vec![remote.authority.subordinate("0")];
    let mut outcomes = Vec::new();
    for depth in 1..=20_usize {
        let certified = authorities[depth - 1].client().sign();
        let chain: Vec<X509> = authorities
            .iter()
            .rev()
            .map(|authority| authority.certificate.clone())
            .collect();
        let version = SslVersion::TLS1_3;
        let ssl = connector_with(
            &Client {
                certificate: Some(&certified),
                version,
            },
            &chain,
        );
        let is_accepted = handshake_of(&remote.context(), ssl).is_ok();
        let is_sound = remote
            .context()
            .is_revoked_or_invalid(&certified.0, &chain)
            .is_none();
        assert_eq!(is_accepted, is_sound, "{depth}");
        outcomes.push(is_accepted);
        let next = authorities[depth - 1].subordinate(&depth.to_string());
        authorities.push(next);
    }
    let (short, long) = outcomes.split_at(usize::from(CHAIN_DEPTH_MAX));
    assert!(
        short.iter().all(|accepted| *accepted) && !long.contains(&true),
        "{outcomes:?}"
    );
}

#[test]
fn a_listener_below_an_intermediate_ca_sends_it_without_the_root() {
    let mut remote = Remote::new();
    let intermediate = remote.authority.subordinate("intermediate");
    let (certificate, key) = intermediate.server().sign();
    let pem = |certificate: &X509| certificate.to_pem().expect("PEM");
    remote.tls.cert = remote.scratch.file("below.crt", pem(&certificate));
    remote.tls.key = remote
        .scratch
        .file("below.key", key.private_key_to_pem_pkcs8().expect("PEM"));
    let both = [
        pem(&remote.authority.certificate),
        pem(&intermediate.certificate),
    ]
    .concat();
    remote.tls.ca = Some(remote.scratch.file("both.crt", both));
    let certified = remote.authority.client().sign();
    let client = Client {
        certificate: Some(&certified),
        version: SslVersion::TLS1_3,
    };
    let [_, client] = handshake(&remote.context(), &client).expect("accepted");
    let sent = client
        .ssl()
        .peer_cert_chain()
        .expect("a chain")
        .iter()
        .map(|certificate| auth::common_name(certificate).unwrap_or_default());
    assert_eq!(sent.collect::<Vec<_>>(), ["turris", "intermediate"]);
}
