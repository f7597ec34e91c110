//! What the tests of this module and of `net::tls` need: a scratch directory, and a certificate authority as turris-cagen makes one
//! (clients have `nsCertType` client, no extended key usage and no alternative names), of elliptic curves because these are fast.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, SubjectKeyIdentifier,
};
use openssl::x509::{
    CrlNumber, X509, X509Builder, X509Crl, X509CrlBuilder, X509Extension, X509Name,
    X509RevokedBuilder,
};

use super::{Attempt, Policy, Step};
use crate::config::{IdentitySource, User};

/// A directory that goes when the test ends.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("fosquitto-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Scratch(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("scratch");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An attempt as a listener with passwords makes it.
pub(crate) fn attempt(user: &str, password: &[u8]) -> Attempt {
    match policy(IdentitySource::UserName, false, false, &[]).begin(
        None,
        Some(user),
        Some(password),
    ) {
        Step::Verify(attempt) => attempt,
        other => panic!("{other:?}"),
    }
}

/// A policy without a listener's other options.
pub(crate) fn policy(
    source: IdentitySource,
    anonymous: bool,
    certificate_required: bool,
    users: &[User],
) -> Policy {
    Policy::of_parts(source, anonymous, certificate_required, users)
}

/// The time `days` from now, which may be negative.
pub(crate) fn days_from_now(days: i64) -> Asn1Time {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let then = i64::try_from(now).expect("a time of this age") + days * 86_400;
    Asn1Time::from_unix(then).expect("a time of this age")
}

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) certificate: X509,
    key: PKey<Private>,
}

/// A certificate that is being made.
pub(crate) struct Request<'a> {
    authority: &'a Authority,
    subject: X509Name,
    serial: u32,
    days: (i64, i64),
    is_server: bool,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        Authority::signed_by(None, name)
    }

    /// An authority below this one.
    pub(crate) fn subordinate(&self, name: &str) -> Authority {
        Authority::signed_by(Some(self), name)
    }

    fn signed_by(superior: Option<&Authority>, name: &str) -> Authority {
        let key = new_key();
        let subject = common_name(name);
        let issuer = superior.map_or(&*subject, |superior| superior.certificate.subject_name());
        let mut builder = certificate_builder(&subject, issuer, 1, (-1, 3650), &key);
        let constraints = BasicConstraints::new().critical().ca().build();
        builder
            .append_extension(constraints.expect("an extension"))
            .expect("an extension");
        let context = builder.x509v3_context(None, None);
        let identifier = SubjectKeyIdentifier::new()
            .build(&context)
            .expect("an extension");
        builder.append_extension(identifier).expect("an extension");
        let signer = superior.map_or(&key, |superior| &superior.key);
        builder
            .sign(signer, MessageDigest::sha256())
            .expect("signed");
        Authority {
            certificate: builder.build(),
            key,
        }
    }

    pub(crate) fn client(&self) -> Request<'_> {
        Request {
            authority: self,
            subject: common_name("client"),
            serial: 2,
            days: (-1, 365),
            is_server: false,
        }
    }

    pub(crate) fn server(&self) -> Request<'_> {
        Request {
            subject: common_name("turris"),
            serial: 1,
            is_server: true,
            ..self.client()
        }
    }

    /// A revocation list of these serial numbers, valid from and to so many days from now.
    pub(crate) fn revocation_list(&self, revoked: &[u32], days: (i64, i64)) -> X509Crl {
        let mut builder = X509CrlBuilder::new().expect("a list");
        builder
            .set_issuer_name(self.certificate.subject_name())
            .expect("a name");
        builder
            .set_last_update(&days_from_now(days.0))
            .expect("a time");
        builder
            .set_next_update(&days_from_now(days.1))
            .expect("a time");
        for serial in revoked {
            let mut entry = X509RevokedBuilder::new().expect("an entry");
            entry
                .set_revocation_date(&days_from_now(-1))
                .expect("a time");
            entry.set_serial_number(&number(*serial)).expect("a number");
            builder.add_revoked(entry.build()).expect("an entry");
        }
        let subject = X509Builder::new().expect("a certificate");
        let context = subject.x509v3_context(Some(&self.certificate), None);
        let identifier = AuthorityKeyIdentifier::new()
            .keyid(true)
            .build(&context)
            .expect("an extension");
        builder.append_extension(identifier).expect("an extension");
        let crl_number = CrlNumber::new(BigNum::from_u32(1).expect("a number")).expect("a number");
        builder
            .append_extension(crl_number.build().expect("an extension"))
            .expect("an extension");
        builder
            .sign(&self.key, MessageDigest::sha256())
            .expect("signed");
        builder.build().expect("a list")
    }
}

impl Request<'_> {
    /// A whole DER name.
    pub(crate) fn subject(mut self, der: &[u8]) -> Self {
        self.subject = X509Name::from_der(der).expect("a name");
        self
    }

    pub(crate) fn common_name(mut self, name: &str) -> Self {
        self.subject = common_name(name);
        self
    }

    pub(crate) fn serial(mut self, serial: u32) -> Self {
        self.serial = serial;
        self
    }

    pub(crate) fn days(mut self, from: i64, to: i64) -> Self {
        self.days = (from, to);
        self
    }

    pub(crate) fn sign(self) -> (X509, PKey<Private>) {
        let key = new_key();
        let issuer = self.authority.certificate.subject_name();
        let mut builder = certificate_builder(&self.subject, issuer, self.serial, self.days, &key);
        let usage = if self.is_server {
            ExtendedKeyUsage::new()
                .server_auth()
                .build()
                .expect("an extension")
        } else {
            // BIT STRING, 7 unused bits, the first bit: SSL client.
            let value = Asn1OctetString::new_from_bytes(&[3, 2, 7, 0x80]).expect("a value");
            let kind = Asn1Object::from_str("2.16.840.1.113730.1.1").expect("nsCertType");
            X509Extension::new_from_der(&kind, false, &value).expect("an extension")
        };
        builder.append_extension(usage).expect("an extension");
        builder
            .sign(&self.authority.key, MessageDigest::sha256())
            .expect("signed");
        (builder.build(), key)
    }
}

/// A value of an attribute, in one of ASN.1's string types.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Text {
    Utf8(&'static [u8]),
    Printable(&'static [u8]),
    Bmp(&'static [u8]),
}

impl From<&Text> for (u8, &'static [u8]) {
    fn from(text: &Text) -> (u8, &'static [u8]) {
        match text {
            Text::Utf8(bytes) => (12, bytes),
            Text::Printable(bytes) => (19, bytes),
            Text::Bmp(bytes) => (30, bytes),
        }
    }
}

/// A distinguished name of relative names of attributes, in DER. OpenSSL's own builder would refuse what an attacker puts there.
pub(crate) fn der_name(relative_names: &[&[(&[u8], Text)]]) -> Vec<u8> {
    let sets = relative_names.iter().map(|attributes| {
        let attributes = attributes.iter().map(|(kind, text)| {
            let (tag, bytes) = text.into();
            der(0x30, &[der(6, kind), der(tag, bytes)].concat())
        });
        der(0x31, &attributes.collect::<Vec<_>>().concat())
    });
    der(0x30, &sets.collect::<Vec<_>>().concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len())
        .expect("a short element")
        .to_be_bytes();
    let mut element = vec![tag, 0x84];
    if content.len() < 0x80 {
        element = vec![tag, length[3]];
    } else {
        let zeros = length.iter().take_while(|byte| **byte == 0).count();
        element[1] = 0x80 | u8::try_from(4 - zeros).expect("at most four");
        element.extend_from_slice(&length[zeros..]);
    }
    element.extend_from_slice(content);
    element
}

fn certificate_builder(
    subject: &X509Name,
    issuer: &openssl::x509::X509NameRef,
    serial: u32,
    days: (i64, i64),
    key: &PKey<Private>,
) -> X509Builder {
    let mut builder = X509Builder::new().expect("a certificate");
    builder.set_version(2).expect("version 3");
    builder.set_subject_name(subject).expect("a name");
    builder.set_issuer_name(issuer).expect("a name");
    builder
        .set_serial_number(&number(serial))
        .expect("a number");
    builder
        .set_not_before(&days_from_now(days.0))
        .expect("a time");
    builder
        .set_not_after(&days_from_now(days.1))
        .expect("a time");
    builder.set_pubkey(key).expect("a key");
    builder
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn common_name(name: &str) -> X509Name {
    let mut builder = X509Name::builder().expect("a name");
    builder
        .append_entry_by_nid(Nid::COMMONNAME, name)
        .expect("a name");
    builder.build()
}

fn number(value: u32) -> Asn1Integer {
    BigNum::from_u32(value)
        .and_then(|number| number.to_asn1_integer())
        .expect("a number")
}
