//! The files of TLS: read, each sound in itself, and fitting the others.
//!
//! [`Files::load`] is entered by `net::tls`, which makes OpenSSL's context of a listener from what it gives; `client` reads its own with
//! the same functions. What this does not do: it decides nothing
//! about clients.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509Crl, X509Ref, X509VerifyResult};

use super::{CHAIN_DEPTH_MAX, is_same_name, reasons};
use crate::auth;
use crate::config::Tls;

/// A list of that size names a hundred thousand certificates.
const FILE_BYTES_MAX: usize = 8 << 20;

/// From when and until when a file of a listener is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// `certificate`, `ca` or `crl`.
    pub kind: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Whose it is, or of a list who made it.
    pub subject: String,
    /// From when.
    pub from: String,
    /// Until when; of a list when the next one is due, if it says so.
    pub until: Option<String>,
    /// The same in seconds since 1970.
    pub until_s: Option<i64>,
    /// For how many seconds, in all.
    pub lifetime_s: Option<i64>,
}

/// A month is time to make another certificate by hand.
const SOON_S_MAX: i64 = 30 * 86_400;

/// What is made anew by a program is made when this part of its time is left, or before: turris-cagen's lists live for 30 days and are made each day,
/// certificates of ACME live for 90 and are renewed after 60.
const SOON_PART: i64 = 4;

impl Validity {
    /// Whether it ends so soon that another should be there by now, at this time in seconds since 1970. Also whether it has ended.
    pub fn is_due(&self, now_s: i64) -> bool {
        let soon_s = self.lifetime_s.unwrap_or(i64::MAX) / SOON_PART;
        self.until_s
            .is_some_and(|until_s| until_s - now_s < soon_s.min(SOON_S_MAX))
    }
}

/// The content of a listener's files, each sound in itself and fitting the others.
pub(super) struct Files {
    pub(super) certificate: X509,
    /// What is sent after the certificate.
    pub(super) chain: Vec<X509>,
    pub(super) key: PKey<Private>,
    pub(super) authorities: Vec<X509>,
    pub(super) lists: Option<Vec<X509Crl>>,
}

impl Files {
    /// Reads all of them.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn load(tls: &Tls) -> Result<Files, Vec<String>> {
        let mut faults = Vec::new();
        let mut keep = |fault| faults.push(fault);
        let chain = load_certificates(&tls.cert, "the listener's certificate").map_err(&mut keep);
        let key =
            load_key(&tls.key, "the private key of the listener's certificate").map_err(&mut keep);
        let authorities = load_optional(tls.ca.as_deref(), |path| {
            load_certificates(path, "the CA's certificate")
        });
        let authorities = authorities
            .map(Option::unwrap_or_default)
            .map_err(&mut keep);
        let lists = load_optional(tls.crl.as_deref(), load_lists).map_err(&mut keep);
        if let (Ok(chain), Ok(key)) = (&chain, &key) {
            check_key((&tls.cert, &chain[0]), (&tls.key, key)).unwrap_or_else(&mut keep);
        }
        if let (Ok(authorities), Ok(lists), Some(path)) = (&authorities, &lists, &tls.crl) {
            check_lists(path, lists.as_deref().unwrap_or_default(), authorities)
                .unwrap_or_else(&mut keep);
        }
        if tls.require_certificate && tls.ca.is_none() {
            keep("a certificate is required of clients but no CA is set, expected the file of the CA's certificate".into());
        }
        let (Ok(chain), Ok(key), Ok(authorities), Ok(lists), true) =
            (chain, key, authorities, lists, faults.is_empty())
        else {
            return Err(faults);
        };
        let mut chain = chain.into_iter();
        let certificate = chain.next().expect("load_certificates gives at least one");
        let chain = complete_chain(&certificate, chain.collect(), &authorities);
        Ok(Files {
            certificate,
            chain,
            key,
            authorities,
            lists,
        })
    }

    /// From when and until when each of them is valid.
    pub(super) fn dates(&self, tls: &Tls) -> Vec<Validity> {
        let of = |kind, path: &Path, certificate: &X509| Validity {
            kind,
            path: path.to_owned(),
            subject: auth::subject(certificate).unwrap_or_else(|| "?".into()),
            from: certificate.not_before().to_string(),
            until: Some(certificate.not_after().to_string()),
            until_s: seconds(certificate.not_after()),
            lifetime_s: span(certificate.not_before(), certificate.not_after()),
        };
        let own = of("certificate", &tls.cert, &self.certificate);
        let authorities = tls.ca.iter().flat_map(|path| {
            let authorities = self.authorities.iter();
            authorities.map(|certificate| of("ca", path, certificate))
        });
        let lists = tls.crl.iter().flat_map(|path| {
            let lists = self.lists.iter().flatten();
            lists.map(|list| Validity {
                kind: "crl",
                path: path.clone(),
                subject: issuer(list),
                from: list.last_update().to_string(),
                until: list.next_update().map(ToString::to_string),
                until_s: list.next_update().and_then(seconds),
                lifetime_s: list
                    .next_update()
                    .and_then(|until| span(list.last_update(), until)),
            })
        });
        std::iter::once(own)
            .chain(authorities)
            .chain(lists)
            .collect()
    }

    /// What is out of date.
    pub(super) fn warnings(&self, tls: &Tls) -> Vec<String> {
        let mut warnings = Vec::new();
        let Ok(now) = Asn1Time::days_from_now(0) else {
            return warnings;
        };
        let authorities = tls.ca.iter().flat_map(|path| {
            self.authorities
                .iter()
                .map(move |certificate| (path, certificate))
        });
        for (path, certificate) in
            std::iter::once((&tls.cert, &self.certificate)).chain(authorities)
        {
            warnings.extend(out_of_date(path, certificate));
        }
        for (path, list) in tls
            .crl
            .iter()
            .flat_map(|path| self.lists.iter().flatten().map(move |list| (path, list)))
        {
            let path = path.display();
            if let Some(next) = list.next_update().filter(|next| **next < *now) {
                warnings.push(format!(
                    "{path}: a new list was due on {next}; those whom this one names stay refused"
                ));
            } else if list.last_update() > &*now {
                let from = list.last_update();
                warnings.push(format!("{path}: the list is valid from {from} only; those whom it names are refused now"));
            }
        }
        warnings
    }
}

/// What is wrong with the dates of a certificate.
pub(super) fn out_of_date(path: &Path, certificate: &X509Ref) -> Option<String> {
    let now = Asn1Time::days_from_now(0).ok()?;
    let path = path.display();
    if certificate.not_after() < &*now {
        let end = certificate.not_after();
        Some(format!("{path}: the certificate expired on {end}"))
    } else if certificate.not_before() > &*now {
        let start = certificate.not_before();
        Some(format!(
            "{path}: the certificate is valid from {start} only"
        ))
    } else {
        None
    }
}

/// Seconds since 1970.
fn seconds(time: &Asn1TimeRef) -> Option<i64> {
    span(&*Asn1Time::from_unix(0).ok()?, time)
}

/// Seconds from one time to another.
fn span(from: &Asn1TimeRef, until: &Asn1TimeRef) -> Option<i64> {
    let span = from.diff(until).ok()?;
    Some(i64::from(span.days) * 86_400 + i64::from(span.secs))
}

/// Who made a list, by the common name alone if there is one.
fn issuer(list: &X509Crl) -> String {
    let mut entries = list.issuer_name().entries_by_nid(Nid::COMMONNAME);
    let name = entries
        .next()
        .and_then(|entry| entry.data().to_string().ok());
    name.map_or_else(|| "?".into(), |name| format!("CN={name}"))
}

fn load_optional<T>(
    path: Option<&Path>,
    load: impl Fn(&Path) -> Result<T, String>,
) -> Result<Option<T>, String> {
    path.map(load).transpose()
}

fn read(path: &Path, expected: &str) -> Result<Vec<u8>, String> {
    let fault = |what: &dyn Display| {
        format!(
            "{}: {what}, expected {expected} in PEM form",
            path.display()
        )
    };
    match auth::file::read(path, FILE_BYTES_MAX) {
        Ok(Some(content)) => Ok(content),
        Ok(None) => Err(fault(&"the file is missing")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(fault(&"the file may not be read"))
        }
        Err(error) => Err(fault(&format_args!("the file cannot be read: {error}"))),
    }
}

pub(super) fn load_certificates(path: &Path, expected: &str) -> Result<Vec<X509>, String> {
    let certificates = X509::stack_from_pem(&read(path, expected)?).map_err(|errors| {
        format!(
            "{}: not readable ({}), expected {expected} in PEM form",
            path.display(),
            reasons(&errors)
        )
    })?;
    if certificates.is_empty() {
        return Err(format!(
            "{}: no certificate is in it, expected {expected} in PEM form",
            path.display()
        ));
    }
    Ok(certificates)
}

pub(super) fn load_key(path: &Path, expected: &str) -> Result<PKey<Private>, String> {
    let pem = auth::Secret::of(read(path, expected)?);
    // Without a callback OpenSSL would ask the terminal for the passphrase.
    let mut is_encrypted = false;
    let key = PKey::private_key_from_pem_callback(pem.expose(), |_| {
        is_encrypted = true;
        Err(ErrorStack::get())
    });
    key.map_err(|errors| {
        let path = path.display();
        if is_encrypted {
            format!("{path}: the key has a passphrase, expected one without, which the bus can read when nobody is there")
        } else {
            format!("{path}: no key can be read from it ({}), expected {expected} in PEM form", reasons(&errors))
        }
    })
}

fn load_lists(path: &Path) -> Result<Vec<X509Crl>, String> {
    const BEGIN: &[u8] = b"-----BEGIN X509 CRL-----";
    let expected = "the CA's revocation list";
    let pem = read(path, expected)?;
    let starts = (0..pem.len()).filter(|start| pem[*start..].starts_with(BEGIN));
    let lists: Result<Vec<_>, _> = starts
        .map(|start| X509Crl::from_pem(&pem[start..]))
        .collect();
    match lists {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        Ok(_) => Err(format!(
            "{}: no list is in it, expected {expected} in PEM form",
            path.display()
        )),
        Err(errors) => Err(format!(
            "{}: not readable ({}), expected {expected}",
            path.display(),
            reasons(&errors)
        )),
    }
}

/// Whether a key is that of a certificate; each with its path.
pub(super) fn check_key(
    (cert_path, certificate): (&Path, &X509Ref),
    (key_path, key): (&Path, &PKey<Private>),
) -> Result<(), String> {
    let is_same = certificate
        .public_key()
        .is_ok_and(|public| public.public_eq(key));
    is_same.then_some(()).ok_or_else(|| {
        let (key, certificate) = (key_path.display(), cert_path.display());
        format!("{key}: the key does not belong to the certificate in {certificate}")
    })
}

/// Every list must be signed by one of the CAs: another one's says nothing about our clients.
fn check_lists(path: &Path, lists: &[X509Crl], authorities: &[X509]) -> Result<(), String> {
    for list in lists {
        let is_ours = authorities.iter().any(|authority| {
            let is_signed = authority.public_key().and_then(|key| list.verify(&key));
            is_same_name(authority.subject_name(), list.issuer_name()) && is_signed.unwrap_or(false)
        });
        if !is_ours {
            return Err(format!(
                "{}: the list is not signed by the listener's CA",
                path.display()
            ));
        }
    }
    Ok(())
}

/// What follows the listener's certificate on the wire: what stands in its file, or else the intermediate CAs from the CA's file, as
/// mosquitto sends them, but without the root, which the client must have already.
fn complete_chain(certificate: &X509, chain: Vec<X509>, authorities: &[X509]) -> Vec<X509> {
    if !chain.is_empty() {
        return chain;
    }
    let mut chain: Vec<X509> = Vec::new();
    while chain.len() < usize::from(CHAIN_DEPTH_MAX) {
        let last = chain.last().unwrap_or(certificate);
        let issuer = authorities
            .iter()
            .find(|authority| authority.issued(last) == X509VerifyResult::OK);
        match issuer {
            Some(issuer) if !is_same_name(issuer.subject_name(), issuer.issuer_name()) => {
                chain.push(issuer.clone())
            }
            _ => break,
        }
    }
    chain
}
