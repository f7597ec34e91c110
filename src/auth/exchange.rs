//! Enhanced authentication (4.12 of MQTT 5.0): the exchange by which a client proves that it knows its password.
//!
//! An [`Exchange`] belongs to one CONNECT or one re-authentication. Each of the client's messages goes to [`Exchange::advance`], which says
//! what is answered. It needs microseconds, so that it may be called on the event loop: the hashing is the client's. What this does not
//! do: it encodes no packet, and the messages themselves are `scram`'s.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use openssl::x509::X509Ref;

use super::scram::{ClientFirst, Failure, Pending};
use super::{Credentials, Denied, Identity, Means, Policy};

/// Random bytes of a nonce: more than anybody guesses or sees twice, and a multiple of 3.
const NONCE_BYTES: usize = 18;

/// One exchange of messages. It ends with the first answer that is not [`Progress::Continue`].
#[derive(Debug)]
pub struct Exchange {
    /// The only user who may come out of it, if that is known already.
    expected: Option<Box<str>>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The client's first message is to come; whether it was asked for.
    First { asked: bool },
    /// Its final one is.
    Final {
        pending: Pending,
        claimed: Identity,
        /// False for a user who may only come with another certificate, or who is not the expected one. The proof is judged all the
        /// same: the answer must not tell which users exist.
        is_admissible: bool,
    },
}

/// What one message of the client came to.
#[derive(Debug)]
pub enum Progress {
    /// This is sent, and the client's next message is to come.
    Continue(String),
    /// The client is known; this is sent with the success.
    Granted(Identity, String),
    /// The client is not let in.
    Denied(Denied),
}

impl Exchange {
    /// An exchange that has not begun. A client that has named its user elsewhere, or that is connected already, can be the
    /// `expected` one only; a name of no characters is none.
    pub fn new(expected: Option<&str>) -> Exchange {
        Exchange {
            expected: expected.filter(|user| !user.is_empty()).map(Into::into),
            stage: Stage::First { asked: false },
        }
    }

    /// The user whom the client claims to be, once it has said so.
    pub fn user(&self) -> Option<&str> {
        match &self.stage {
            Stage::First { .. } => self.expected.as_deref(),
            Stage::Final { claimed, .. } => claimed.user(),
        }
    }

    /// Takes the client's next message: the Authentication Data of its CONNECT or AUTH.
    ///
    /// A client that begins without any is asked for its first message by an empty one (RFC 4422, 4).
    pub fn advance(
        &mut self,
        policy: &Policy,
        certificate: Option<&X509Ref>,
        credentials: &Credentials,
        data: Option<&[u8]>,
    ) -> Progress {
        let data = data.unwrap_or_default();
        let progress = match &mut self.stage {
            Stage::First { asked } if data.is_empty() && !*asked => {
                *asked = true;
                Ok(Progress::Continue(String::new()))
            }
            Stage::First { .. } => self.begin(policy, certificate, credentials, data),
            Stage::Final {
                pending,
                claimed,
                is_admissible,
            } => finish(pending, claimed, credentials, data).and_then(|signature| {
                if *is_admissible {
                    Ok(Progress::Granted(claimed.clone(), signature))
                } else {
                    Err(Denied::BadUserNameOrPassword)
                }
            }),
        };
        progress.unwrap_or_else(Progress::Denied)
    }

    fn begin(
        &mut self,
        policy: &Policy,
        certificate: Option<&X509Ref>,
        credentials: &Credentials,
        data: &[u8],
    ) -> Result<Progress, Denied> {
        let first = ClientFirst::parse(data).map_err(denied)?;
        let (claimed, may_come) = policy.claim(certificate, &first.user, Means::Password);
        let is = |name: &str| name == first.user;
        let is_admissible = may_come
            && self.expected.as_deref().is_none_or(is)
            // Nobody may act for another user.
            && first.authorization.as_deref().is_none_or(is);
        let keys = credentials.scram_keys(&first.user);
        let (Ok(keys), Ok(nonce)) = (keys, new_nonce()) else {
            return Err(Denied::Exchange("OpenSSL has no random numbers or hashes"));
        };
        let (pending, answer) = first.answer(&keys, &nonce);
        self.stage = Stage::Final {
            pending,
            claimed,
            is_admissible,
        };
        Ok(Progress::Continue(answer))
    }
}

fn finish(
    pending: &Pending,
    claimed: &Identity,
    credentials: &Credentials,
    data: &[u8],
) -> Result<String, Denied> {
    let keys = credentials.scram_keys(claimed.user().unwrap_or_default());
    let keys = keys.map_err(|_| Denied::BadUserNameOrPassword)?;
    pending.finish(&keys, data).map_err(denied)
}

fn denied(failure: Failure) -> Denied {
    match failure {
        Failure::WrongProof => Denied::BadUserNameOrPassword,
        Failure::Message(what) => Denied::Exchange(what),
    }
}

fn new_nonce() -> Result<String, openssl::error::ErrorStack> {
    let mut bytes = [0; NONCE_BYTES];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(BASE64.encode(bytes))
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
