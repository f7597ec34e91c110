//! TLS to another broker: what OpenSSL is told, and what the other side's certificate is held against.
//!
//! [`ClientTls::build`] reads the files of a bridge; each connection then gets a fresh [`ClientTls::ssl`], with the name that it is
//! made by. The certificate is checked in the handshake, so that one that is refused never learns ours, and the other side is
//! told why by an alert.
//!
//! What is asked of a certificate: that a CA of ours issued it and that it is valid now; that it is for the name that we asked for,
//! unless the configuration says that any of the CA will do. With pins the certificate itself must be one that is known, and then neither
//! its name is asked nor, without a CA file, who issued it and until when. As on listeners, a clock that stands before the CA was made
//! is wrong beyond doubt, and nothing is concluded from where validity begins. Sessions are not resumed. It touches no socket.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode,
    SslVerifyMode, SslVersion,
};
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509, X509StoreContextRef, X509VerifyResult};

use super::files::{check_key, load_certificates, load_key, out_of_date};
use super::{CHAIN_DEPTH_MAX, CIPHERS, NOT_YET_VALID, is_clock_behind, reasons, store_of};
use crate::auth;
use crate::config::TlsVersion;
use crate::config::bridge::{BridgeTls, Host};

/// Where routers and other systems have the CAs that they trust, below the root; the first that is there.
const SYSTEM_CAS: [&str; 3] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/ssl/cert.pem",
    "etc/ssl/certs",
];

/// A directory of CAs has some 150 of them, each under two or three names.
const CA_FILES_MAX: usize = 1000;

/// The TLS side of a bridge. A clone is the same.
#[derive(Clone)]
pub struct ClientTls(Arc<Inner>);

struct Inner {
    context: SslContext,
    authorities: Vec<X509>,
    pins: Vec<String>,
    verify_name: bool,
    sni: Option<String>,
    warnings: Vec<String>,
}

/// Which files a bridge's are, without what they say: to be compared with a later one. A file that is written anew in a directory of CAs does
/// not show, one that comes or goes there does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<Option<[i64; 6]>>);

impl Stamp {
    /// Looks at the files of a bridge. The system's CAs are those below the root.
    pub fn of(tls: &BridgeTls, root: &Path) -> Stamp {
        let cas = match &tls.ca {
            Some(ca) => vec![ca.clone()],
            None => SYSTEM_CAS.map(|place| root.join(place)).into(),
        };
        let own = tls.own.iter().flat_map(|(cert, key)| [cert, key]).cloned();
        let facts = |path: PathBuf| {
            let facts = fs::metadata(path).ok()?;
            // Numbers that are told apart, not counted with.
            let (inode, bytes) = (facts.ino() as i64, facts.size() as i64);
            let [changed, written] = [
                [facts.ctime(), facts.ctime_nsec()],
                [facts.mtime(), facts.mtime_nsec()],
            ];
            Some([inode, bytes, changed[0], changed[1], written[0], written[1]])
        };
        Stamp(cas.into_iter().chain(own).map(facts).collect())
    }
}

/// Why a certificate was refused, for the log; OpenSSL's own error only says that it was.
#[derive(Debug, Clone, Default)]
pub struct Refusal(Arc<Mutex<Option<String>>>);

impl Refusal {
    /// What is wrong with the certificate, if it was refused.
    pub fn take(&self) -> Option<String> {
        self.0.lock().ok()?.take()
    }

    fn set(&self, what: String) {
        // An error means that a thread panicked in the lines of this type, which have nothing to panic.
        if let Ok(mut refusal) = self.0.lock() {
            refusal.get_or_insert(what);
        }
    }
}

impl ClientTls {
    /// Reads the files of a bridge. The system's CAs are those below the root.
    ///
    /// # Errors
    /// Everything that is wrong; each message begins with the file's path and says what was expected. The bridge must not connect.
    pub fn build(tls: &BridgeTls, root: &Path) -> Result<ClientTls, Vec<String>> {
        let mut faults = Vec::new();
        let authorities = authorities(tls, root).unwrap_or_else(|fault| {
            faults.push(fault);
            Vec::new()
        });
        let own = match &tls.own {
            Some((cert, key)) => Own::load(cert, key).map_err(|fault| faults.extend(fault)),
            None => Ok(Own::default()),
        };
        let (Ok(own), true) = (own, faults.is_empty()) else {
            return Err(faults);
        };
        let mut warnings = Vec::new();
        if let Some(ca) = &tls.ca {
            let odd = authorities
                .iter()
                .filter_map(|ca_cert| out_of_date(ca, ca_cert));
            warnings.extend(odd);
        }
        if let (Some((cert, _)), Some(own)) = (&tls.own, own.chain.first()) {
            warnings.extend(out_of_date(cert, own));
        }
        let context = context(tls, &authorities, &own).map_err(|errors| {
            vec![format!(
                "OpenSSL refuses the settings: {}",
                reasons(&errors)
            )]
        })?;
        Ok(ClientTls(Arc::new(Inner {
            context,
            authorities,
            pins: tls.pins.clone(),
            verify_name: tls.verify_name,
            sni: tls.sni.clone(),
            warnings,
        })))
    }

    /// What is odd about the files but does not keep the bridge from trying: certificates that are out of date. For the log, once.
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// A new connection's state, which begins with our hello, and where it says why it refused a certificate.
    ///
    /// # Errors
    /// OpenSSL has no memory, or the name cannot stand in a hello; it reaches as far as this connection.
    pub fn ssl(&self, host: &Host) -> Result<(Ssl, Refusal), String> {
        let refusal = Refusal::default();
        let ssl = self.made(host, refusal.clone());
        ssl.map(|ssl| (ssl, refusal))
            .map_err(|errors| reasons(&errors))
    }

    fn made(&self, host: &Host, refusal: Refusal) -> Result<Ssl, ErrorStack> {
        let inner = self.0.clone();
        let mut ssl = Ssl::new(&inner.context)?;
        let named = inner.sni.as_deref().map(|sni| match sni.parse() {
            Ok(ip) => Host::Address(ip, None),
            Err(_) => Host::Name(sni.to_owned()),
        });
        let host = named.as_ref().unwrap_or(host);
        match host {
            Host::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                ssl.set_hostname(name)?;
                if inner.verify_name {
                    let parameters = ssl.param_mut();
                    parameters.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
                    parameters.set_host(name)?;
                }
            }
            Host::Address(ip, _) if inner.verify_name => ssl.param_mut().set_ip(*ip)?,
            Host::Address(..) => {}
        }
        ssl.set_verify_callback(SslVerifyMode::PEER, move |is_verified, context| {
            inner.accepts(is_verified, context, &refusal)
        });
        ssl.set_connect_state();
        Ok(ssl)
    }
}

impl Inner {
    /// Called by OpenSSL for each certificate of the chain, from the root on, and for each fault.
    fn accepts(
        &self,
        is_verified: bool,
        context: &mut X509StoreContextRef,
        refusal: &Refusal,
    ) -> bool {
        let result = context.error();
        let is_early = result.as_raw() == NOT_YET_VALID && is_clock_behind(&self.authorities);
        let do_pins_decide = self.authorities.is_empty() && !self.pins.is_empty();
        if !is_verified && !is_early && !do_pins_decide {
            refusal.set(result.error_string().to_owned());
            return false;
        }
        if context.error_depth() == 0 && !self.pins.is_empty() {
            let pinned = context
                .current_cert()
                .map(auth::fingerprint)
                .is_some_and(|fingerprint| self.pins.contains(&fingerprint));
            if !pinned {
                refusal.set("it is none of the pinned ones".to_owned());
                context.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
                return false;
            }
        }
        if !is_verified {
            context.set_error(X509VerifyResult::OK);
        }
        true
    }
}

/// Our own certificate.
#[derive(Default)]
struct Own {
    /// It and what is sent after it; empty if we have none.
    chain: Vec<X509>,
    key: Option<openssl::pkey::PKey<openssl::pkey::Private>>,
}

impl Own {
    fn load(cert: &Path, key: &Path) -> Result<Own, Vec<String>> {
        let chain = load_certificates(cert, "the bridge's certificate");
        let own_key = load_key(key, "the private key of the bridge's certificate");
        match (chain, own_key) {
            (Ok(chain), Ok(own_key)) => {
                check_key((cert, &chain[0]), (key, &own_key)).map_err(|fault| vec![fault])?;
                Ok(Own {
                    chain,
                    key: Some(own_key),
                })
            }
            (chain, own_key) => Err(chain.err().into_iter().chain(own_key.err()).collect()),
        }
    }
}

/// The certificates of the CAs. None if pins decide alone.
fn authorities(tls: &BridgeTls, root: &Path) -> Result<Vec<X509>, String> {
    let expected = "the CA's certificate";
    match &tls.ca {
        Some(path) if path.is_dir() => directory(path),
        Some(path) => load_certificates(path, expected),
        None if !tls.pins.is_empty() => Ok(Vec::new()),
        None => match system_cas(root) {
            Some(path) if path.is_dir() => directory(&path),
            Some(path) => load_certificates(&path, "the CAs that this system trusts"),
            None => Err(format!(
                "{}: missing, and so are other places: install the package 'ca-bundle', or name a file in option ca",
                root.join(SYSTEM_CAS[0]).display()
            )),
        },
    }
}

/// The system's CAs, a file or a directory.
fn system_cas(root: &Path) -> Option<PathBuf> {
    let mut places = SYSTEM_CAS.iter().map(|place| root.join(place));
    places.find(|place| place.exists())
}

/// All certificates in the files of a directory that are named as such; the links by hash are the same ones.
fn directory(path: &Path) -> Result<Vec<X509>, String> {
    let cannot = |error| format!("{}: the directory cannot be read: {error}", path.display());
    let mut files: Vec<PathBuf> = fs::read_dir(path)
        .map_err(cannot)?
        .take(CA_FILES_MAX)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            let extension = file.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("crt" | "pem"))
        })
        .collect();
    files.sort();
    let sound = files.iter().flat_map(|file| {
        // One that is broken is a CA less, and no reason to trust none.
        load_certificates(file, "a CA's certificate").unwrap_or_default()
    });
    let certificates: Vec<X509> = sound.collect();
    if certificates.is_empty() {
        return Err(format!(
            "{}: no certificate is in it, expected files .crt or .pem",
            path.display()
        ));
    }
    Ok(certificates)
}

fn context(tls: &BridgeTls, authorities: &[X509], own: &Own) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(match tls.min_version {
        TlsVersion::V1_2 => SslVersion::TLS1_2,
        TlsVersion::V1_3 => SslVersion::TLS1_3,
    }))?;
    builder.set_cipher_list(CIPHERS)?;
    builder.set_options(
        SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION | SslOptions::NO_TICKET,
    );
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_mode(
        SslMode::RELEASE_BUFFERS
            | SslMode::NO_AUTO_CHAIN
            | SslMode::AUTO_RETRY
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER,
    );
    builder.set_verify_cert_store(store_of(authorities)?.build())?;
    builder.set_verify_depth(u32::from(CHAIN_DEPTH_MAX));
    if let (Some((first, rest)), Some(key)) = (own.chain.split_first(), &own.key) {
        builder.set_certificate(first)?;
        for certificate in rest {
            builder.add_extra_chain_cert(certificate.clone())?;
        }
        builder.set_private_key(key)?;
        builder.check_private_key()?;
    }
    if !tls.alpn.is_empty() {
        let mut wire = Vec::new();
        for name in &tls.alpn {
            // The configuration holds their length to a byte.
            wire.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            wire.extend_from_slice(name.as_bytes());
        }
        builder.set_alpn_protos(&wire)?;
    }
    Ok(builder.build())
}
