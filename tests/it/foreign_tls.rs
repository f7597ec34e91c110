//! What TLS needs of the cryptographic library: each kind of key, signature, key exchange and cipher that both sides may agree on.
//!
//! A binary for a router carries a library of its own, trimmed to what the broker uses (`cross/libraries`): these tests are the proof that
//! no more is gone. `cross/test` runs them against such a binary; otherwise they run against that of this machine.

use std::net::TcpStream;

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::X509;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Version};
use crate::harness::pki::common_name;
use crate::harness::root::Root;

/// A listener that anybody may use over TLS, with the certificate `NAME.crt`.
fn listener(root: &Root, name: &str) -> String {
    let certificate = root.join(&format!("etc/{name}.crt"));
    let key = root.join(&format!("etc/{name}.key"));
    format!(
        "config listener '{name}'\n\toption port '0'\n\tlist address '127.0.0.1'\n\toption allow_anonymous '1'\n\toption tls '1'\n\
         \toption cert '{}'\n\toption key '{}'\n\n",
        certificate.display(),
        key.display()
    )
}

fn elliptic(curve: Nid) -> EcKey<Private> {
    let group = EcGroup::from_curve_name(curve).expect("OpenSSL knows the curve");
    EcKey::generate(&group).expect("a key can be made")
}

/// The kinds of keys by the name of their listener, in each form that a file may have.
fn keys() -> Vec<(&'static str, PKey<Private>, Vec<u8>)> {
    let pkcs8 = |key: &PKey<Private>| {
        let pem = key.private_key_to_pem_pkcs8();
        pem.expect("a key has a PEM form")
    };
    let rsa = Rsa::generate(2048).expect("a key can be made");
    let traditional = rsa.private_key_to_pem().expect("it has the form of PKCS 1");
    let rsa = PKey::from_rsa(rsa).expect("it is a key");
    let p256 = elliptic(Nid::X9_62_PRIME256V1);
    let sec1 = p256.private_key_to_pem().expect("it has the form of SEC 1");
    let p256 = PKey::from_ec_key(p256).expect("it is a key");
    let p384 = PKey::from_ec_key(elliptic(Nid::SECP384R1)).expect("it is a key");
    let ed25519 = PKey::generate_ed25519().expect("a key can be made");
    let of = |name, key: PKey<Private>| {
        let pem = pkcs8(&key);
        (name, key, pem)
    };
    vec![
        ("rsa1", rsa.clone(), traditional),
        ("sec1", p256.clone(), sec1),
        of("rsa", rsa),
        of("p256", p256),
        of("p384", p384),
        of("ed25519", ed25519),
    ]
}

/// A certificate that the key itself signs.
fn certificate(key: &PKey<Private>) -> X509 {
    let name = common_name("turris");
    let mut builder = X509::builder().expect("a certificate can be made");
    let serial = BigNum::from_u32(1).expect("it is a number");
    let serial = Asn1Integer::from_bn(&serial).expect("it is a number");
    let from = Asn1Time::days_from_now(0).expect("it is a time");
    let to = Asn1Time::days_from_now(9).expect("it is a time");
    let digest = match key.id() {
        openssl::pkey::Id::ED25519 => MessageDigest::null(),
        _ => MessageDigest::sha384(),
    };
    let made = builder
        .set_version(2)
        .and_then(|()| builder.set_serial_number(&serial))
        .and_then(|()| builder.set_subject_name(&name))
        .and_then(|()| builder.set_issuer_name(&name))
        .and_then(|()| builder.set_not_before(&from))
        .and_then(|()| builder.set_not_after(&to))
        .and_then(|()| builder.set_pubkey(key))
        .and_then(|()| builder.sign(key, digest));
    made.expect("it can be signed");
    builder.build()
}

/// What a client insists on: TLS 1.3 with a suite, a group and a signature, or TLS 1.2 with a cipher and the others. In TLS 1.2 the groups
/// have the curve of the certificate too (RFC 8422, 5.1).
struct Way {
    listener: &'static str,
    version: SslVersion,
    cipher: &'static str,
    group: &'static str,
    signature: &'static str,
}

const fn way(
    listener: &'static str,
    version: SslVersion,
    [cipher, group, signature]: [&'static str; 3],
) -> Way {
    Way {
        listener,
        version,
        cipher,
        group,
        signature,
    }
}

const V12: SslVersion = SslVersion::TLS1_2;
const V13: SslVersion = SslVersion::TLS1_3;

const WAYS: [Way; 16] = [
    way(
        "rsa",
        V13,
        ["TLS_AES_128_GCM_SHA256", "X25519", "RSA-PSS+SHA256"],
    ),
    way(
        "rsa",
        V13,
        ["TLS_AES_256_GCM_SHA384", "P-256", "RSA-PSS+SHA384"],
    ),
    way(
        "rsa1",
        V13,
        ["TLS_CHACHA20_POLY1305_SHA256", "P-384", "RSA-PSS+SHA512"],
    ),
    way(
        "p256",
        V13,
        ["TLS_AES_256_GCM_SHA384", "P-521", "ECDSA+SHA256"],
    ),
    way(
        "p384",
        V13,
        ["TLS_AES_128_GCM_SHA256", "X448", "ECDSA+SHA384"],
    ),
    way(
        "sec1",
        V13,
        ["TLS_AES_128_GCM_SHA256", "X25519", "ECDSA+SHA256"],
    ),
    way(
        "ed25519",
        V13,
        ["TLS_AES_256_GCM_SHA384", "X25519", "ed25519"],
    ),
    way(
        "rsa",
        V12,
        ["ECDHE-RSA-AES128-GCM-SHA256", "X25519", "RSA+SHA256"],
    ),
    way(
        "rsa",
        V12,
        ["ECDHE-RSA-AES256-GCM-SHA384", "P-256", "RSA+SHA384"],
    ),
    way(
        "rsa",
        V12,
        ["ECDHE-RSA-CHACHA20-POLY1305", "P-384", "RSA+SHA512"],
    ),
    way(
        "rsa1",
        V12,
        ["ECDHE-RSA-AES256-GCM-SHA384", "P-256", "RSA-PSS+SHA256"],
    ),
    way(
        "p256",
        V12,
        ["ECDHE-ECDSA-AES128-GCM-SHA256", "P-256", "ECDSA+SHA256"],
    ),
    way(
        "p384",
        V12,
        ["ECDHE-ECDSA-AES256-GCM-SHA384", "P-384", "ECDSA+SHA384"],
    ),
    way(
        "p256",
        V12,
        [
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "X25519:P-256",
            "ECDSA+SHA512",
        ],
    ),
    way(
        "sec1",
        V12,
        [
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "X25519:P-256",
            "ECDSA+SHA256",
        ],
    ),
    way(
        "ed25519",
        V12,
        ["ECDHE-ECDSA-AES256-GCM-SHA384", "X25519", "ed25519"],
    ),
];

impl Way {
    /// Joins in this way and no other.
    fn join(&self, broker: &Broker, certificate: &X509) -> Result<(), String> {
        let in_words = |error: &dyn std::fmt::Display| error.to_string();
        let mut builder = SslConnector::builder(SslMethod::tls()).map_err(|e| in_words(&e))?;
        let trusted = certificate.clone();
        builder.set_verify(SslVerifyMode::PEER);
        builder
            .cert_store_mut()
            .add_cert(trusted)
            .and_then(|()| builder.set_min_proto_version(Some(self.version)))
            .and_then(|()| builder.set_max_proto_version(Some(self.version)))
            .and_then(|()| match self.version {
                SslVersion::TLS1_2 => builder.set_cipher_list(self.cipher),
                _ => builder.set_ciphersuites(self.cipher),
            })
            .and_then(|()| builder.set_groups_list(self.group))
            .and_then(|()| builder.set_sigalgs_list(self.signature))
            .map_err(|error| in_words(&error))?;
        let mut configuration = builder.build().configure().map_err(|e| in_words(&e))?;
        configuration.set_verify_hostname(false);
        let stream = TcpStream::connect(broker.address(self.listener)).map_err(|e| in_words(&e))?;
        stream
            .set_read_timeout(Some(*PATIENCE))
            .map_err(|e| in_words(&e))?;
        let stream = configuration
            .connect("turris", stream)
            .map_err(|e| in_words(&e))?;
        let used = stream.ssl().current_cipher().map(|cipher| cipher.name());
        if used != Some(self.cipher) {
            return Err(format!("{used:?} is used"));
        }
        let client = Client::over(Box::new(stream));
        client.join(&Connect::new(Version::V5, "")).ping();
        Ok(())
    }
}

#[test]
fn every_key_signature_exchange_and_cipher_of_tls_is_there() {
    let keys = keys();
    let root = Root::new();
    let mut uci = "config local 'local'\n\toption enabled '0'\n\n".to_owned();
    let mut certificates = Vec::new();
    for (name, key, pem) in &keys {
        uci.push_str(&listener(&root, name));
        let certificate = certificate(key);
        let public = certificate.to_pem().expect("it has a PEM form");
        root.write(&format!("etc/{name}.crt"), public);
        root.write(&format!("etc/{name}.key"), pem);
        certificates.push((*name, certificate));
    }
    root.write_uci(&uci);
    let broker = Broker::start_on(root);
    let mut failed = Vec::new();
    for way in &WAYS {
        let own = certificates.iter().find(|(name, _)| *name == way.listener);
        let (_, certificate) = own.expect("each listener has one");
        if let Err(error) = way.join(&broker, certificate) {
            let Way {
                listener,
                cipher,
                group,
                signature,
                ..
            } = way;
            failed.push(format!("{listener} {cipher} {group} {signature}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
