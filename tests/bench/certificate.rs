//! The self-signed certificate of a benchmark's TLS listener: P-256, as a router's own authority would make today, written as PEM files. Nothing
//! here is kept or trusted beyond the run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

/// The host name that the certificate is for.
pub const HOST: &str = "localhost";

/// Where the two files are.
pub struct Files {
    /// The certificate, which is its own authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Makes a key and its certificate, valid for a day, and writes them into `folder`.
pub fn write(folder: &Path) -> io::Result<Files> {
    let files = Files {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    let (certificate, key) = make().map_err(io::Error::other)?;
    fs::write(
        &files.certificate,
        certificate.to_pem().map_err(io::Error::other)?,
    )?;
    fs::write(
        &files.key,
        key.private_key_to_pem_pkcs8().map_err(io::Error::other)?,
    )?;
    Ok(files)
}

fn make() -> Result<(X509, PKey<Private>), ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", HOST)?;
    let name = name.build();
    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    let serial_number = BigNum::from_u32(1)?.to_asn1_integer()?;
    certificate.set_serial_number(&serial_number)?;
    certificate.set_subject_name(&name)?;
    certificate.set_issuer_name(&name)?;
    certificate.set_pubkey(&key)?;
    let (from, until) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(1)?);
    certificate.set_not_before(&from)?;
    certificate.set_not_after(&until)?;
    certificate.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    let names = SubjectAlternativeName::new()
        .dns(HOST)
        .build(&certificate.x509v3_context(None, None))?;
    certificate.append_extension(names)?;
    certificate.sign(&key, MessageDigest::sha256())?;
    Ok((certificate.build(), key))
}
