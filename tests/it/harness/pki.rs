//! Certificates like those of turris-cagen: a CA `remote`, its CRL, the server 01 (CN turris) and clients from 02 on.
//!
//! A client certificate has nsCertType client, no extended key usage and no alternative name, as there. Keys are RSA of 2048
//! bits, not 4096: only the tests' time depends on it. Each [`Authority`] is made once for all tests of the run.

use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;

use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time, Asn1Type};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslStream, SslVerifyMode, SslVersion};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Builder, X509Extension, X509Name, X509NameRef};

use super::PATIENCE;
use super::client::Client;
use super::root::Root;

/// The CA that the remote side trusts.
pub static REMOTE: LazyLock<Authority> = LazyLock::new(|| Authority::new("remote"));

/// A CA of the same name and another key.
pub static STRANGER: LazyLock<Authority> = LazyLock::new(|| Authority::new("remote"));

/// A CA that begins in a week: to it the clock of this machine is that of a router that has just started, in the past.
pub static LATER_REMOTE: LazyLock<Authority> =
    LazyLock::new(|| Authority::made("remote", LATER, None));

/// One key for all client certificates: making one takes longer than everything else here.
static CLIENT_KEY: LazyLock<PKey<Private>> = LazyLock::new(key);

/// When a certificate or a CRL holds, in days from now.
#[derive(Clone, Copy)]
pub struct Days {
    pub from: i64,
    pub to: i64,
}

/// From yesterday until in a year.
pub const VALID: Days = Days { from: -1, to: 365 };

/// Over since yesterday.
pub const EXPIRED: Days = Days { from: -30, to: -1 };

/// Begins in a week.
pub const LATER: Days = Days { from: 7, to: 365 };

/// A certificate authority.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate with its key.
pub struct Certified {
    pub certificate: X509,
    pub key: PKey<Private>,
}

impl Authority {
    fn new(name: &str) -> Authority {
        Authority::made(name, VALID, None)
    }

    /// A CA below this one.
    pub fn below(&self, name: &str) -> Authority {
        Authority::made(name, VALID, Some(self))
    }

    fn made(name: &str, days: Days, above: Option<&Authority>) -> Authority {
        let key = key();
        let subject = common_name(name);
        let issuer = above.map_or(&*subject, |above| above.certificate.subject_name());
        let mut builder = builder(&subject, issuer, &key, 0, days);
        let ca = BasicConstraints::new().critical().ca().build();
        builder
            .append_extension(ca.expect("an extension can be made"))
            .expect("an extension fits");
        let usage = KeyUsage::new()
            .critical()
            .key_cert_sign()
            .crl_sign()
            .build();
        builder
            .append_extension(usage.expect("an extension can be made"))
            .expect("an extension fits");
        let id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None));
        builder
            .append_extension(id.expect("an extension can be made"))
            .expect("an extension fits");
        let signer = above.map_or(&key, |above| &above.key);
        builder
            .sign(signer, MessageDigest::sha256())
            .expect("a certificate can be signed");
        Authority {
            certificate: builder.build(),
            key,
        }
    }

    /// The CA's own certificate.
    pub fn certificate(&self) -> X509 {
        self.certificate.clone()
    }

    /// The CA's certificate in PEM.
    pub fn pem(&self) -> Vec<u8> {
        self.certificate
            .to_pem()
            .expect("a certificate has a PEM form")
    }

    /// A client's certificate, valid now.
    pub fn client(&self, name: &str, serial: u32) -> Certified {
        self.client_of(&common_name(name), serial, VALID)
    }

    /// A client's certificate with any subject and time.
    pub fn client_of(&self, subject: &X509NameRef, serial: u32, days: Days) -> Certified {
        // BIT STRING of one bit: SSL client.
        let ns_cert_type = extension("2.16.840.1.113730.1.1", &[0x03, 0x02, 0x07, 0x80]);
        self.issue(subject, &CLIENT_KEY, serial, days, ns_cert_type)
    }

    /// A server's certificate: 01, CN turris.
    pub fn server(&self, days: Days) -> Certified {
        static KEY: LazyLock<PKey<Private>> = LazyLock::new(key);
        let usage = ExtendedKeyUsage::new()
            .server_auth()
            .build()
            .expect("an extension can be made");
        self.issue(&common_name("turris"), &KEY, 1, days, usage)
    }

    fn issue(
        &self,
        subject: &X509NameRef,
        key: &PKey<Private>,
        serial: u32,
        days: Days,
        kind: X509Extension,
    ) -> Certified {
        let mut builder = builder(subject, self.certificate.subject_name(), key, serial, days);
        let not_ca = BasicConstraints::new()
            .build()
            .expect("an extension can be made");
        builder.append_extension(not_ca).expect("an extension fits");
        builder.append_extension(kind).expect("an extension fits");
        let mut issuer = AuthorityKeyIdentifier::new();
        let issuer = issuer
            .keyid(true)
            .build(&builder.x509v3_context(Some(&self.certificate), None));
        builder
            .append_extension(issuer.expect("an extension can be made"))
            .expect("an extension fits");
        builder
            .sign(&self.key, MessageDigest::sha256())
            .expect("a certificate can be signed");
        Certified {
            certificate: builder.build(),
            key: key.clone(),
        }
    }

    /// A CRL in PEM that revokes these serial numbers.
    pub fn crl(&self, revoked: &[u32], days: Days) -> Vec<u8> {
        // RFC 5280, 5.1: CertificateList = tbsCertList, algorithm, signature; the crate has no builder for it.
        let algorithm = der(0x30, &[&der(0x06, &[&SHA256_WITH_RSA]), &[0x05, 0x00]]);
        let issuer = self
            .certificate
            .subject_name()
            .to_der()
            .expect("a name has a DER form");
        let entries: Vec<u8> = revoked
            .iter()
            .flat_map(|serial| der(0x30, &[&der(0x02, &[&positive(*serial)]), &utc_time(-1)]))
            .collect();
        let entries = if entries.is_empty() {
            Vec::new()
        } else {
            der(0x30, &[&entries])
        };
        let number = der(
            0x30,
            &[
                &[0x06, 0x03, 0x55, 0x1D, 0x14],
                &der(0x04, &[&[0x02, 0x01, 0x01]]),
            ],
        );
        let extensions = der(0xA0, &[&der(0x30, &[&number])]);
        let version_2 = [0x02, 0x01, 0x01];
        let list = der(
            0x30,
            &[
                &version_2,
                &algorithm,
                &issuer,
                &utc_time(days.from),
                &utc_time(days.to),
                &entries,
                &extensions,
            ],
        );
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).expect("an RSA key signs");
        let signature = signer.sign_oneshot_to_vec(&list).expect("an RSA key signs");
        let whole = der(0x30, &[&list, &algorithm, &der(0x03, &[&[0], &signature])]);
        let text = openssl::base64::encode_block(&whole);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| str::from_utf8(line).expect("ASCII"))
            .collect();
        format!(
            "-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n",
            lines.join("\n")
        )
        .into_bytes()
    }

    /// Writes ca.crt, ca.crl, 01.crt and 01.key where the remote side looks for them.
    pub fn install(&self, root: &Root) {
        self.install_for(root, VALID);
    }

    /// The same with a certificate and a list of this time.
    pub fn install_for(&self, root: &Root, days: Days) {
        let server = self.server(days);
        root.write("etc/ssl/ca/remote/ca.crt", self.pem());
        root.write(
            "etc/ssl/ca/remote/01.crt",
            server
                .certificate
                .to_pem()
                .expect("a certificate has a PEM form"),
        );
        root.write("etc/ssl/ca/remote/01.key", server.key_pem());
        root.write("etc/ssl/ca/remote/ca.crl", self.crl(&[], days));
    }

    /// Writes a CRL that revokes these serial numbers.
    pub fn install_crl(&self, root: &Root, revoked: &[u32]) {
        root.write("etc/ssl/ca/remote/ca.crl", self.crl(revoked, VALID));
    }
}

impl Certified {
    /// The key in PEM.
    pub fn key_pem(&self) -> Vec<u8> {
        self.key
            .private_key_to_pem_pkcs8()
            .expect("a key has a PEM form")
    }

    /// Writes the three files that a token holds, for a program, and returns nothing: they are token.crt, token.key and ca.crt.
    pub fn write_token(&self, root: &Root, folder: &str, authority: &Authority) {
        root.write(
            &format!("{folder}/token.crt"),
            self.certificate
                .to_pem()
                .expect("a certificate has a PEM form"),
        );
        root.write(&format!("{folder}/token.key"), self.key_pem());
        root.write(&format!("{folder}/ca.crt"), authority.pem());
    }
}

/// How a client opens TLS.
pub struct Handshake<'a> {
    pub trusted: &'a Authority,
    pub certificate: Option<&'a Certified>,
    /// What is sent beside the client's own certificate.
    pub chain: Vec<X509>,
    pub version: SslVersion,
}

impl<'a> Handshake<'a> {
    /// TLS 1.2 alone, as the original's clients speak it, with this certificate.
    pub fn new(certificate: &'a Certified) -> Handshake<'a> {
        Handshake {
            trusted: &REMOTE,
            certificate: Some(certificate),
            chain: Vec::new(),
            version: SslVersion::TLS1_2,
        }
    }

    /// Opens the connection; the error names the alert that the broker sent.
    pub fn open(&self, address: SocketAddr) -> Result<SslStream<TcpStream>, String> {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("OpenSSL has TLS");
        builder.set_verify(SslVerifyMode::PEER);
        // The tests are about what the broker makes of the time.
        let timeless = builder
            .verify_param_mut()
            .set_flags(X509VerifyFlags::NO_CHECK_TIME);
        timeless.expect("OpenSSL knows the flag");
        builder
            .cert_store_mut()
            .add_cert(self.trusted.certificate.clone())
            .expect("a CA can be trusted");
        builder
            .set_min_proto_version(Some(self.version))
            .expect("OpenSSL knows the version");
        builder
            .set_max_proto_version(Some(self.version))
            .expect("OpenSSL knows the version");
        // Else this side itself would refuse to speak TLS 1.1, and the broker's answer would not be seen.
        builder.set_security_level(0);
        if let Some(certified) = self.certificate {
            builder
                .set_certificate(&certified.certificate)
                .expect("a certificate can be used");
            builder
                .set_private_key(&certified.key)
                .expect("the key fits the certificate");
        }
        for certificate in &self.chain {
            builder
                .add_extra_chain_cert(certificate.clone())
                .expect("a certificate can be sent along");
        }
        let mut configuration = builder
            .build()
            .configure()
            .expect("a connection can be configured");
        configuration.set_verify_hostname(false);
        let stream = TcpStream::connect(address).expect("the remote side listens");
        stream
            .set_read_timeout(Some(*PATIENCE))
            .expect("a socket takes a read deadline");
        stream
            .set_nodelay(true)
            .expect("a TCP socket takes TCP_NODELAY");
        configuration
            .connect("turris", stream)
            .map_err(|error| match error {
                HandshakeError::Failure(stream) => stream.error().to_string(),
                HandshakeError::WouldBlock(_) => "the handshake came to a halt".to_owned(),
                HandshakeError::SetupFailure(stack) => {
                    panic!("this side cannot speak TLS: {stack}")
                }
            })
    }

    /// A client over an opened connection.
    pub fn dial(&self, address: SocketAddr) -> Client {
        Client::over(Box::new(
            self.open(address).expect("the handshake is accepted"),
        ))
    }

    /// The error that ends this handshake. With TLS 1.3 a client learns of it at its first read only.
    pub fn refusal(&self, address: SocketAddr) -> String {
        match self.open(address) {
            Err(error) => error,
            Ok(mut stream) => match stream.ssl_read(&mut [0; 64]) {
                Err(error) => error.to_string(),
                Ok(count) => {
                    panic!("the broker sent {count} bytes to a client that it was to refuse")
                }
            },
        }
    }
}

/// A name of one part.
pub fn common_name(name: &str) -> X509Name {
    let mut builder = X509Name::builder().expect("a name can be made");
    builder
        .append_entry_by_nid(Nid::COMMONNAME, name)
        .expect("a common name has up to 64 characters");
    builder.build()
}

/// A name of these attributes, whatever they hold: nothing is checked here.
pub fn name_of(attributes: &[(Nid, &str)]) -> X509Name {
    let mut builder = X509Name::builder().expect("a name can be made");
    for (kind, value) in attributes {
        builder
            .append_entry_by_nid_with_type(*kind, value, Asn1Type::UTF8STRING)
            .expect("a UTF8String of any size");
    }
    builder.build()
}

/// A name without a common name.
pub fn organisation(name: &str) -> X509Name {
    let mut builder = X509Name::builder().expect("a name can be made");
    builder
        .append_entry_by_nid(Nid::ORGANIZATIONNAME, name)
        .expect("an organisation's name fits");
    builder.build()
}

/// sha256WithRSAEncryption, 1.2.840.113549.1.1.11.
const SHA256_WITH_RSA: [u8; 9] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B];

fn key() -> PKey<Private> {
    let key = Rsa::generate(2048).expect("a key can be made");
    PKey::from_rsa(key).expect("an RSA key is a key")
}

fn builder(
    subject: &X509NameRef,
    issuer: &X509NameRef,
    key: &PKeyRef<Private>,
    serial: u32,
    days: Days,
) -> X509Builder {
    let mut builder = X509::builder().expect("a certificate can be made");
    builder.set_version(2).expect("2 stands for X.509 v3");
    let serial = BigNum::from_u32(serial).and_then(|number| Asn1Integer::from_bn(&number));
    builder
        .set_serial_number(&serial.expect("a number is a number"))
        .expect("a serial number fits");
    builder.set_subject_name(subject).expect("a subject fits");
    builder.set_issuer_name(issuer).expect("an issuer fits");
    builder.set_pubkey(key).expect("a key fits");
    builder
        .set_not_before(&time(days.from))
        .expect("a time fits");
    builder.set_not_after(&time(days.to)).expect("a time fits");
    builder
}

fn extension(object: &str, content: &[u8]) -> X509Extension {
    let object = Asn1Object::from_str(object).expect("an object identifier in figures");
    let content = Asn1OctetString::new_from_bytes(content).expect("bytes are bytes");
    X509Extension::new_from_der(&object, false, &content).expect("an extension can be made")
}

fn seconds(days: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("the clock stands after 1970").as_secs();
    i64::try_from(now).expect("seconds since 1970 fit") + days * 86_400
}

fn time(days: i64) -> Asn1Time {
    Asn1Time::from_unix(seconds(days)).expect("the time can be written")
}

/// UTCTime, which RFC 5280 wants up to 2049: YYMMDDHHMMSSZ.
fn utc_time(days: i64) -> Vec<u8> {
    let at: libc::time_t = seconds(days);
    // SAFETY: an all-zero tm is a valid value; gmtime_r writes to it alone.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of this frame.
    unsafe { libc::gmtime_r(&at, &mut parts) };
    let text = format!(
        "{:02}{:02}{:02}{:02}{:02}{:02}Z",
        parts.tm_year % 100,
        parts.tm_mon + 1,
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec
    );
    der(0x17, &[text.as_bytes()])
}

/// A DER value: tag, length, the parts one after the other.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    if length < 0x80 {
        bytes.push(length as u8);
    } else {
        let digits: Vec<u8> = length
            .to_be_bytes()
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect();
        bytes.push(0x80 | digits.len() as u8);
        bytes.extend(digits);
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// The content of a DER INTEGER: a leading zero keeps a high first bit from meaning a minus.
fn positive(number: u32) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(number.to_be_bytes());
    while bytes.len() > 1 && bytes[0] == 0 && bytes[1] < 0x80 {
        bytes.remove(0);
    }
    bytes
}
