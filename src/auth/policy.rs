//! The decision about a CONNECT: whose it is, or why not.
//!
//! A [`Policy`] is made from a listener's configuration and the UCI users, and does not change. [`Policy::begin`] needs no file and no
//! hash, so it may be called on the event loop. What it does not do: it takes it for granted that OpenSSL has verified the certificate
//! it is shown.

use std::collections::HashMap;
use std::sync::Arc;

use openssl::x509::X509Ref;

use super::password::Secret;
use super::worker::Verdict;
use super::{Credentials, Identity, Means, certificate};
use crate::config::{IdentitySource, Listener, User};
use crate::mqtt::{ReasonCode, Version};

/// Why a client is not let in. It reaches as far as its CONNECT: the answer is a CONNACK and a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The user does not exist, or has another password, or may only come with another certificate; which of these, is not told.
    BadUserNameOrPassword,
    /// Neither a user name nor a certificate was given, and the listener asks for one.
    NotAuthorised,
    /// The certificate holds no name that could be a user name.
    NoUsableName,
    /// What the client sent is not what enhanced authentication expects; what is wrong, in words.
    Exchange(&'static str),
}

impl Denied {
    /// The reason that a CONNACK gives. Before 5.0 a wrong password is told as "not authorized" (5), as mosquitto does, since 4 means there
    /// that user name or password are *malformed* (MQTT 3.1.1, table 3.1); a certificate without a name is told by 4, as mosquitto does.
    pub fn reason(self, version: Version) -> ReasonCode {
        match self {
            Denied::NoUsableName => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
            Denied::BadUserNameOrPassword if version.is_v5() => {
                ReasonCode::BAD_USER_NAME_OR_PASSWORD
            }
            _ => ReasonCode::NOT_AUTHORIZED,
        }
    }

    /// What the log says about it.
    pub fn describe(self) -> &'static str {
        match self {
            Denied::BadUserNameOrPassword => "bad user name or password",
            Denied::NotAuthorised => "not authorised: no user name was given",
            Denied::NoUsableName => "the certificate has no usable name",
            Denied::Exchange(what) => what,
        }
    }
}

/// What [`Policy::begin`] found.
#[derive(Debug)]
pub enum Step {
    /// The client is known.
    Granted(Identity),
    /// The client is not let in.
    Denied(Denied),
    /// The password has to be checked, which is the [`super::Verifier`]'s work.
    Verify(Attempt),
}

/// A user name and a password that nobody has checked yet.
#[derive(Debug)]
pub struct Attempt {
    claimed: Identity,
    password: Secret,
    /// False for a user who may only come with another certificate. The password is checked all the same: the time that the answer
    /// takes must not tell which users have such a rule.
    is_admissible: bool,
}

impl Attempt {
    /// Checks the password. It takes as long as the dearest hash of `credentials`, so it MUST NOT be called on the event loop.
    pub(super) fn decide(self, credentials: &Credentials) -> Verdict {
        let user = self.claimed.user().unwrap_or_default();
        let is_right = credentials.verify(user, self.password.expose());
        if is_right && self.is_admissible {
            Verdict::Granted(self.claimed)
        } else {
            Verdict::Denied(Denied::BadUserNameOrPassword)
        }
    }
}

/// How one listener finds out who a client is.
pub struct Policy {
    source: IdentitySource,
    allow_anonymous: bool,
    certificate_required: bool,
    users: HashMap<Box<str>, Rule>,
}

/// What UCI says about a user.
struct Rule {
    user: Arc<str>,
    groups: Arc<[Box<str>]>,
    /// If there are any, only a certificate with one of these SHA-256 fingerprints is this user's.
    pins: Vec<Pin>,
}

/// `None` stands for a pin that is no SHA-256 fingerprint: it fits no certificate, and the user stays pinned.
type Pin = Option<[u8; 32]>;

impl Policy {
    /// Takes what it needs from a listener and from the UCI users.
    pub fn new(listener: &Listener, users: &[User]) -> Policy {
        let certificate_required = listener
            .tls
            .as_ref()
            .is_some_and(|tls| tls.require_certificate);
        Policy::of_parts(
            listener.identity,
            listener.allow_anonymous,
            certificate_required,
            users,
        )
    }

    pub(super) fn of_parts(
        source: IdentitySource,
        allow_anonymous: bool,
        certificate_required: bool,
        users: &[User],
    ) -> Policy {
        let rule = |user: &User| Rule {
            user: user.name.as_str().into(),
            groups: user
                .groups
                .iter()
                .map(|group| group.as_str().into())
                .collect(),
            pins: user.pins.iter().map(|pin| parse_pin(pin)).collect(),
        };
        Policy {
            source,
            allow_anonymous,
            certificate_required,
            users: users
                .iter()
                .map(|user| (user.name.as_str().into(), rule(user)))
                .collect(),
        }
    }

    /// Decides about a CONNECT, given the certificate that the TLS handshake verified and what CONNECT itself says.
    ///
    /// Where names come from certificates, CONNECT's user name and password are ignored; a client that has no certificate, and need not
    /// have one, is asked for its password instead. An anonymous client is one that gave neither a certificate nor a user name; a user
    /// name of no characters is none, since clients whose form was left empty send one.
    pub fn begin(
        &self,
        certificate: Option<&X509Ref>,
        user_name: Option<&str>,
        password: Option<&[u8]>,
    ) -> Step {
        if certificate.is_none() && self.certificate_required {
            // The handshake refuses these; a connection that got here all the same has no one to be.
            return Step::Denied(Denied::NotAuthorised);
        }
        let user_name = user_name.filter(|user| !user.is_empty());
        match (self.source, certificate, user_name) {
            (IdentitySource::CommonName | IdentitySource::Subject, Some(certificate), _) => {
                match self.named_by(certificate) {
                    Ok(identity) => Step::Granted(identity),
                    Err(denied) => Step::Denied(denied),
                }
            }
            (_, None, None) if self.allow_anonymous => Step::Granted(Identity::anonymous()),
            (_, _, None) => Step::Denied(Denied::NotAuthorised),
            (_, _, Some(user)) => self.ask_password(certificate, user, password),
        }
    }

    /// Whether a client with this certificate is asked for a user name and a password, and may prove by an
    /// [`Exchange`](super::Exchange) instead that it knows the password.
    pub fn takes_passwords(&self, certificate: Option<&X509Ref>) -> bool {
        match certificate {
            Some(_) => matches!(self.source, IdentitySource::UserName),
            None => !self.certificate_required,
        }
    }

    /// Decides again about a client that is connected, after a reload: its groups and pins may be others now. A password is not asked
    /// for again; whether its user still has one, [`Credentials::contains`] knows.
    ///
    /// # Errors
    /// The client must go.
    pub fn renew(
        &self,
        certificate: Option<&X509Ref>,
        identity: &Identity,
    ) -> Result<Identity, Denied> {
        match (identity.means(), certificate, identity.user()) {
            (Means::Anonymous, _, _) if self.allow_anonymous && !self.certificate_required => {
                Ok(identity.clone())
            }
            (Means::Certificate, Some(certificate), Some(user))
                if !matches!(self.source, IdentitySource::UserName) =>
            {
                let renewed = self.named_by(certificate)?;
                // Another source gives the same certificate another name, and a connection cannot change whose it is.
                (renewed.user() == Some(user))
                    .then_some(renewed)
                    .ok_or(Denied::NotAuthorised)
            }
            (Means::Password, certificate, Some(user))
                if certificate.is_some() || !self.certificate_required =>
            {
                let (identity, is_admissible) = self.claim(certificate, user, Means::Password);
                is_admissible
                    .then_some(identity)
                    .ok_or(Denied::BadUserNameOrPassword)
            }
            _ => Err(Denied::NotAuthorised),
        }
    }

    fn named_by(&self, certificate: &X509Ref) -> Result<Identity, Denied> {
        let name = match self.source {
            IdentitySource::Subject => certificate::subject(certificate),
            _ => certificate::common_name(certificate),
        };
        let name = name.ok_or(Denied::NoUsableName)?;
        let (identity, is_admissible) = self.claim(Some(certificate), &name, Means::Certificate);
        is_admissible
            .then_some(identity)
            .ok_or(Denied::BadUserNameOrPassword)
    }

    fn ask_password(
        &self,
        certificate: Option<&X509Ref>,
        user: &str,
        password: Option<&[u8]>,
    ) -> Step {
        let Some(password) = password else {
            return Step::Denied(Denied::BadUserNameOrPassword);
        };
        let (claimed, is_admissible) = self.claim(certificate, user, Means::Password);
        Step::Verify(Attempt {
            claimed,
            password: Secret::copy_of(password),
            is_admissible,
        })
    }

    /// The identity that a user name claims to be, and whether the user's pins allow it with this certificate.
    pub(super) fn claim(
        &self,
        certificate: Option<&X509Ref>,
        user: &str,
        means: Means,
    ) -> (Identity, bool) {
        let Some(rule) = self.users.get(user) else {
            return (Identity::of_user(user.into(), Arc::default(), means), true);
        };
        let identity = Identity::of_user(rule.user.clone(), rule.groups.clone(), means);
        let is_admissible = rule.pins.is_empty()
            || certificate
                .and_then(certificate::sha256)
                .is_some_and(|fingerprint| rule.pins.contains(&Some(fingerprint)));
        (identity, is_admissible)
    }
}

/// Reads a fingerprint as `openssl x509 -fingerprint` and others print it: 64 hexadecimal digits of any case, with or without colons.
fn parse_pin(text: &str) -> Pin {
    let mut pin = [0; 32];
    let mut count = 0;
    for character in text.chars().filter(|character| *character != ':') {
        let digit = u8::try_from(character.to_digit(16)?).ok()?;
        let byte: &mut u8 = pin.get_mut(count / 2)?;
        *byte = *byte << 4 | digit;
        count += 1;
    }
    (count == 64).then_some(pin)
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
