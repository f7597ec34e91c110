//! TLS of a listener: what OpenSSL is told, once per configuration. What it is told of connections that go out, `client` says.
//!
//! [`TlsContext::build`] reads the certificate, key, CA and revocation list of a listener and says everything that is wrong with them.
//! Each connection then gets a fresh [`TlsContext::ssl`]. A reload builds a new context and asks it about the clients that are
//! connected ([`TlsContext::is_revoked_or_invalid`]). What this does not do: it touches no socket, and it does not say who a
//! certificate is (`auth`).
//!
//! Three decisions:
//!
//! - **Sessions are not resumed.** A resumed session does not show its certificate again, so that a revoked client would come back
//!   with it; and every session kept, or ticket made, is memory for connections that last for days. The cost is a full handshake at
//!   every connect.
//! - **A revocation list that is out of date counts as it is.** turris-cagen makes lists for 30 days and renews them from cron, and a
//!   router boots with a clock that may be days or years behind. To refuse everybody then would cut off the whole house for a list
//!   that is probably complete; to ignore the list would let those in whom it names. So its entries hold, and the log says that it is
//!   old. A list that is missing or is another CA's refuses the whole listener.
//! - **A clock that is behind our own CA refuses nobody.** A certificate of the future is refused. But a router without a clock of its own
//!   boots in 1970 or on the day its firmware was made, and until the network tells it the time every certificate is of the
//!   future, the CA's included. A clock that stands before the CA was made is wrong beyond doubt, and then nothing is concluded from where
//!   validity begins; signatures, lists, purpose and depth count as ever. That an expired certificate is not found out meanwhile
//!   nobody can help: a reload once the clock is right finds it.

pub mod client;
mod files;
pub mod filter;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslMode, SslOptions,
    SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::stack::Stack;
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{
    CrlStatus, X509, X509Crl, X509NameRef, X509PurposeId, X509Ref, X509StoreContext,
};
use openssl::x509::{X509StoreContextRef, X509VerifyResult};

use self::files::Files;
pub use self::files::Validity;
use crate::auth;
use crate::config::{Tls, TlsVersion};

/// For TLS 1.2: forward secrecy and AES or ChaCha20. CBC suites come last, for small devices that have nothing better. The suites of
/// TLS 1.3 are OpenSSL's own.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL";

/// Certificates between a client's and the root. turris-cagen has none; more than a few is nobody's honest chain.
const CHAIN_DEPTH_MAX: u8 = 4;

/// `X509_V_ERR_CERT_NOT_YET_VALID` of OpenSSL's `x509_vfy.h`, which the binding does not name.
const NOT_YET_VALID: i32 = 9;

/// `X509_V_ERR_CRL_NOT_YET_VALID` and `X509_V_ERR_CRL_HAS_EXPIRED`.
const LIST_OUT_OF_DATE: [i32; 2] = [11, 12];

/// The TLS side of a listener. A clone is the same context.
#[derive(Clone)]
pub struct TlsContext(Arc<Inner>);

struct Inner {
    context: SslContext,
    /// `None` when the listener does not ask for certificates.
    clients: Option<Clients>,
    certificate: X509,
    warnings: Vec<String>,
    dates: Vec<Validity>,
}

/// What a client's certificate is held against when it is not in a handshake.
struct Clients {
    store: X509Store,
    /// The same without a look at the time, for a clock that is behind.
    timeless: X509Store,
    authorities: Vec<X509>,
    /// `None` when no list is configured, which is not the same as an empty file.
    lists: Option<Vec<X509Crl>>,
}

impl TlsContext {
    /// Reads the files of a listener and makes its context.
    ///
    /// # Errors
    /// Everything that is wrong; each message begins with the file's path and says what was expected. The listener must stay closed.
    pub fn build(tls: &Tls) -> Result<TlsContext, Vec<String>> {
        let files = Files::load(tls)?;
        let store = handshake_store(tls, &files.authorities).map_err(|fault| vec![fault])?;
        let context = files
            .context(tls, store)
            .and_then(|context| Ok((context, files.clients()?)));
        let (context, clients) = context.map_err(|errors| {
            vec![format!(
                "{}: OpenSSL refuses it: {}",
                tls.cert.display(),
                reasons(&errors)
            )]
        })?;
        let (warnings, dates) = (files.warnings(tls), files.dates(tls));
        Ok(TlsContext(Arc::new(Inner {
            context,
            clients,
            certificate: files.certificate,
            warnings,
            dates,
        })))
    }

    /// A new connection's state, which waits for the client's hello.
    ///
    /// # Errors
    /// OpenSSL has no memory; it reaches as far as this connection.
    pub fn ssl(&self) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.0.context)?;
        ssl.set_accept_state();
        Ok(ssl)
    }

    /// What is odd about the files but does not keep the listener closed: certificates and lists that are out of date. For the log,
    /// once.
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// From when and until when the certificates and lists are valid.
    pub fn dates(&self) -> &[Validity] {
        &self.0.dates
    }

    /// The listener's own certificate in words: subject, serial number, end of validity.
    pub fn describe(&self) -> String {
        auth::describe(&self.0.certificate)
    }

    /// Holds the certificate of a connected client against this context's CA and revocation list, and says what is wrong with it.
    /// `chain` is what the client sent beside it. A context that asks for no certificates finds nothing wrong.
    pub fn is_revoked_or_invalid(&self, certificate: &X509Ref, chain: &[X509]) -> Option<String> {
        let clients = self.0.clients.as_ref()?;
        match clients.verify(certificate, chain) {
            Ok(X509VerifyResult::OK) => clients.revoked(certificate),
            Ok(result) => Some(result.error_string().to_owned()),
            Err(errors) => Some(reasons(&errors)),
        }
    }
}

impl Files {
    fn context(&self, tls: &Tls, store: X509Store) -> Result<SslContext, ErrorStack> {
        let mut builder = SslContextBuilder::new(SslMethod::tls_server())?;
        builder.set_min_proto_version(Some(match tls.min_version {
            TlsVersion::V1_2 => SslVersion::TLS1_2,
            TlsVersion::V1_3 => SslVersion::TLS1_3,
        }))?;
        builder.set_cipher_list(CIPHERS)?;
        builder.set_options(
            SslOptions::CIPHER_SERVER_PREFERENCE
                // A client that prefers ChaCha20 has no AES in hardware.
                | SslOptions::PRIORITIZE_CHACHA
                | SslOptions::NO_COMPRESSION
                | SslOptions::NO_RENEGOTIATION
                | SslOptions::NO_TICKET,
        );
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_num_tickets(0)?;
        builder.set_mode(
            // Idle connections give their 34 KiB back.
            SslMode::RELEASE_BUFFERS
                | SslMode::NO_AUTO_CHAIN
                | SslMode::AUTO_RETRY
                | SslMode::ENABLE_PARTIAL_WRITE
                | SslMode::ACCEPT_MOVING_WRITE_BUFFER,
        );
        builder.set_certificate(&self.certificate)?;
        for certificate in &self.chain {
            builder.add_extra_chain_cert(certificate.clone())?;
        }
        builder.set_private_key(&self.key)?;
        builder.check_private_key()?;
        self.ask_for_certificates(&mut builder, tls, store)?;
        Ok(builder.build())
    }

    fn ask_for_certificates(
        &self,
        builder: &mut SslContextBuilder,
        tls: &Tls,
        store: X509Store,
    ) -> Result<(), ErrorStack> {
        if self.authorities.is_empty() {
            builder.set_verify(SslVerifyMode::NONE);
            return Ok(());
        }
        builder.set_verify_cert_store(store)?;
        builder.set_verify_depth(u32::from(CHAIN_DEPTH_MAX));
        let mut names = Stack::new()?;
        for authority in &self.authorities {
            names.push(authority.subject_name().to_owned()?)?;
        }
        builder.set_client_ca_list(names);
        let mut mode = SslVerifyMode::PEER;
        if tls.require_certificate {
            mode |= SslVerifyMode::FAIL_IF_NO_PEER_CERT;
        }
        let list = tls.crl.as_ref().map(|path| path.display().to_string());
        let tolerance = Tolerance {
            list: list.unwrap_or_default(),
            authorities: self.authorities.clone(),
            has_warned: AtomicBool::new(false),
        };
        builder.set_verify_callback(mode, move |is_verified, context| {
            is_verified || tolerance.covers(context)
        });
        Ok(())
    }

    /// What clients are held against outside of a handshake. No list is in this store: OpenSSL would refuse everybody for an old one,
    /// and its callback cannot be set here, so [`Clients::revoked`] looks in the lists itself.
    fn clients(&self) -> Result<Option<Clients>, ErrorStack> {
        if self.authorities.is_empty() {
            return Ok(None);
        }
        let store = |flags| {
            let mut builder = store_of(&self.authorities)?;
            let mut parameters = X509VerifyParam::new()?;
            parameters.set_depth(i32::from(CHAIN_DEPTH_MAX));
            parameters.set_flags(flags)?;
            builder.set_param(&parameters)?;
            builder.set_purpose(X509PurposeId::SSL_CLIENT)?;
            Ok::<X509Store, ErrorStack>(builder.build())
        };
        let copies = |lists: &Vec<X509Crl>| {
            lists
                .iter()
                .map(|list| X509Crl::from_der(&list.to_der()?))
                .collect()
        };
        Ok(Some(Clients {
            store: store(X509VerifyFlags::empty())?,
            timeless: store(X509VerifyFlags::NO_CHECK_TIME)?,
            authorities: self.authorities.clone(),
            lists: self.lists.as_ref().map(copies).transpose()?,
        }))
    }
}

impl Clients {
    /// Signatures, times, purpose and depth, as in a handshake.
    fn verify(
        &self,
        certificate: &X509Ref,
        chain: &[X509],
    ) -> Result<X509VerifyResult, ErrorStack> {
        let mut stack = Stack::new()?;
        for certificate in chain {
            stack.push(certificate.clone())?;
        }
        let store = if is_clock_behind(&self.authorities) {
            &self.timeless
        } else {
            &self.store
        };
        X509StoreContext::new()?.init(store, certificate, &stack, |context| {
            context.verify_cert()?;
            Ok(context.error())
        })
    }

    /// Looks a certificate up in the lists of its issuer. Like OpenSSL in a handshake, refuses it when there is none.
    fn revoked(&self, certificate: &X509Ref) -> Option<String> {
        let mut has_list = false;
        for list in self.lists.as_ref()? {
            if !is_same_name(list.issuer_name(), certificate.issuer_name()) {
                continue;
            }
            has_list = true;
            if let CrlStatus::Revoked(entry) = list.get_by_serial(certificate.serial_number()) {
                return Some(format!(
                    "certificate revoked on {}",
                    entry.revocation_date()
                ));
            }
        }
        (!has_list).then(|| "no revocation list of the certificate's issuer".to_owned())
    }
}

/// The faults that OpenSSL may find in a handshake without the handshake failing.
struct Tolerance {
    /// The revocation list's path, for the log.
    list: String,
    authorities: Vec<X509>,
    has_warned: AtomicBool,
}

impl Tolerance {
    /// Whether a fault is only that the revocation list is out of date, or that the clock is behind. OpenSSL goes on then, and looks
    /// the certificate up in the list.
    fn covers(&self, context: &mut X509StoreContextRef) -> bool {
        let result = context.error();
        let what = result.error_string();
        if LIST_OUT_OF_DATE.contains(&result.as_raw()) {
            self.warn(format_args!(
                "{}: {what}; those whom it names stay refused",
                self.list
            ));
        } else if result.as_raw() == NOT_YET_VALID && is_clock_behind(&self.authorities) {
            self.warn(format_args!(
                "the clock stands before the CA was made, so it is not asked since when certificates are valid"
            ));
        } else {
            return false;
        }
        context.set_error(X509VerifyResult::OK);
        true
    }

    /// Once for each context: every connection would say it again.
    fn warn(&self, what: std::fmt::Arguments<'_>) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            log::warn!("{what}");
        }
    }
}

/// Whether the clock stands before the validity of every CA of ours began: nobody can be right whom it calls early then.
fn is_clock_behind(authorities: &[X509]) -> bool {
    Asn1Time::days_from_now(0).is_ok_and(|now| {
        let is_early = |authority: &X509| authority.not_before() > &*now;
        !authorities.is_empty() && authorities.iter().all(is_early)
    })
}

/// The store for handshakes, with the revocation list, which OpenSSL's binding takes from a file only.
fn handshake_store(tls: &Tls, authorities: &[X509]) -> Result<X509Store, String> {
    let fault = |errors: ErrorStack| format!("OpenSSL takes no CA: {}", reasons(&errors));
    let mut builder = store_of(authorities).map_err(fault)?;
    if let Some(path) = &tls.crl {
        // The binding would panic.
        if path.to_str().is_none_or(|path| path.contains('\0')) {
            return Err(format!("{}: the path is not UTF-8", path.display()));
        }
        let lookup = builder.add_lookup(X509Lookup::file()).map_err(fault)?;
        lookup
            .load_crl_file(path, SslFiletype::PEM)
            .map_err(|errors| {
                format!(
                    "{}: no list can be read from it: {}",
                    path.display(),
                    reasons(&errors)
                )
            })?;
        builder
            .set_flags(X509VerifyFlags::CRL_CHECK)
            .map_err(fault)?;
    }
    Ok(builder.build())
}

fn store_of(authorities: &[X509]) -> Result<X509StoreBuilder, ErrorStack> {
    let mut builder = X509StoreBuilder::new()?;
    for authority in authorities {
        builder.add_cert(authority.clone())?;
    }
    Ok(builder)
}

fn is_same_name(one: &X509NameRef, other: &X509NameRef) -> bool {
    one.try_cmp(other).is_ok_and(|order| order.is_eq())
}

/// OpenSSL's errors without their file names and line numbers.
fn reasons(errors: &ErrorStack) -> String {
    let reasons: Vec<_> = errors
        .errors()
        .iter()
        .filter_map(|error| error.reason())
        .collect();
    if reasons.is_empty() {
        "no reason given".into()
    } else {
        reasons.join(", ")
    }
}

#[cfg(test)]
mod tests;
