//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side, as a pure state machine.
//!
//! [`ClientFirst::parse`] reads the client's first message, [`ClientFirst::answer`] gives the server's first one and a [`Pending`], and
//! [`Pending::finish`] judges the proof in the client's final message and gives the server's. The server's nonce is an argument. Both
//! sides prove that they know the password's derivatives. Whoever listens, or reads the server's file, learns no password, but can try
//! guesses against it; whoever does both can pose as that client.
//!
//! The expensive part, PBKDF2, is the client's and that of whoever sets a password. What is left to the server are two HMACs and a hash
//! over a few hundred bytes, some microseconds, so that the exchange may run on the event loop.
//!
//! Channel binding is not offered: a client that does not have it (`n`) or sees that we do not (`y`) is served, one that demands it (`p`)
//! is not. What this does not do: it knows no user, no file and no identity (`exchange`), and it applies no SASLprep: names and
//! passwords are taken byte for byte. For ASCII that is the same, and for other text as far as keyboards write it in normal form; a
//! client whose SASLprep changes a password's characters is refused.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

/// The name of the mechanism, which is the Authentication Method of MQTT 5.0.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// The work of new keys: what RFC 7677 (4) demands at least, because small clients pay it at every connect.
pub(super) const NEW_ITERATIONS: u32 = 4096;

/// A client would take minutes for more.
const ITERATIONS_MAX: u32 = 1_000_000;

/// The length of the salts, all of which are made here.
pub(super) const SALT_BYTES: usize = 16;

/// The longest message of a client. Some 100 bytes are usual; a user whose name has thousands uses the password itself.
const MESSAGE_BYTES_MAX: usize = 4096;

const KEY_BYTES: usize = 32;

/// What the server keeps of a user's password: enough to verify a proof, and not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    iterations: u32,
    salt: [u8; SALT_BYTES],
    stored_key: [u8; KEY_BYTES],
    server_key: [u8; KEY_BYTES],
}

impl Keys {
    /// Derives the keys of a password (RFC 5802, 3). It takes as long as `iterations` of PBKDF2.
    ///
    /// # Errors
    /// OpenSSL has no SHA-256 to give.
    pub(super) fn derive(
        password: &[u8],
        salt: [u8; SALT_BYTES],
        iterations: u32,
    ) -> Result<Keys, ErrorStack> {
        let mut salted = [0; KEY_BYTES];
        let digest = MessageDigest::sha256();
        openssl::pkcs5::pbkdf2_hmac(password, &salt, iterations as usize, digest, &mut salted)?;
        Ok(Keys {
            iterations,
            salt,
            stored_key: openssl::sha::sha256(&hmac(&salted, b"Client Key")?),
            server_key: hmac(&salted, b"Server Key")?,
        })
    }

    /// Keys that no password has, the same whenever they are made of the same secret and user: what an unknown user is answered with.
    ///
    /// # Errors
    /// OpenSSL has no SHA-256 to give.
    pub(super) fn made_up(secret: &[u8; KEY_BYTES], user: &str) -> Result<Keys, ErrorStack> {
        let labelled = |label: &[u8]| hmac(secret, &[label, user.as_bytes()].concat());
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&labelled(b"salt\0")?[..SALT_BYTES]);
        Ok(Keys {
            iterations: NEW_ITERATIONS,
            salt,
            // Nobody knows a client key whose hash this is.
            stored_key: labelled(b"stored key\0")?,
            server_key: labelled(b"server key\0")?,
        })
    }

    /// Reads `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`, the form of RFC 5803. The error repeats nothing of the keys.
    pub(super) fn parse(text: &str) -> Result<Keys, String> {
        const EXPECTED: &str = "expected SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY";
        let fields = text
            .strip_prefix(MECHANISM)
            .and_then(|rest| rest.strip_prefix('$'))
            .ok_or_else(|| format!("the keys are of an unknown kind: {EXPECTED}"))?;
        let (iterations, salt, stored_key, server_key) = split(fields)
            .ok_or_else(|| format!("the keys have a wrong number of fields: {EXPECTED}"))?;
        Ok(Keys {
            iterations: parse_iterations(iterations)?,
            salt: decode(salt, "salt")?,
            stored_key: decode(stored_key, "stored key")?,
            server_key: decode(server_key, "server key")?,
        })
    }

    /// The salt.
    pub(super) fn salt(&self) -> [u8; SALT_BYTES] {
        self.salt
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] = [
            BASE64.encode(self.salt),
            BASE64.encode(self.stored_key),
            BASE64.encode(self.server_key),
        ];
        write!(
            out,
            "{MECHANISM}${}:{salt}${stored}:{server}",
            self.iterations
        )
    }
}

fn split(fields: &str) -> Option<(&str, &str, &str, &str)> {
    let (parameters, keys) = fields.split_once('$')?;
    let (iterations, salt) = parameters.split_once(':')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    Some((iterations, salt, stored_key, server_key))
}

fn parse_iterations(text: &str) -> Result<u32, String> {
    let digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(iterations @ NEW_ITERATIONS..=ITERATIONS_MAX) if digits_only => Ok(iterations),
        _ => Err(format!(
            "the number of iterations is not {NEW_ITERATIONS} to {ITERATIONS_MAX}"
        )),
    }
}

fn decode<const BYTES: usize>(text: &str, what: &str) -> Result<[u8; BYTES], String> {
    let bytes = BASE64
        .decode(text)
        .map_err(|_| format!("the {what} is not base64 (standard alphabet, padded)"))?;
    <[u8; BYTES]>::try_from(&*bytes)
        .map_err(|_| format!("the {what} has {} bytes, expected {BYTES}", bytes.len()))
}

/// Why an exchange ends without success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The client's proof is not one of this user's password.
    WrongProof,
    /// The message is none of SCRAM, or not the one that is due; what is wrong, in words.
    Message(&'static str),
}

/// The client's first message.
#[derive(Debug)]
pub(super) struct ClientFirst<'a> {
    /// The user name, unescaped.
    pub(super) user: String,
    /// Whom the client wants to act for, when that is said.
    pub(super) authorization: Option<String>,
    /// All before the bare message.
    header: &'a str,
    bare: &'a str,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// Reads `n,,n=USER,r=NONCE` and its variants (RFC 5802, 7).
    ///
    /// # Errors
    /// It is no such message, or asks for what is not offered.
    pub(super) fn parse(message: &'a [u8]) -> Result<ClientFirst<'a>, Failure> {
        let text = text(message)?;
        let mut parts = text.splitn(3, ',');
        let (Some(binding), Some(authorization), Some(bare)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Message("the client's first message has no header"));
        };
        match binding {
            "n" | "y" => {}
            _ if binding.starts_with("p=") => {
                return Err(Failure::Message("channel binding is not offered"));
            }
            _ => return Err(Failure::Message("the channel binding flag is unknown")),
        }
        let authorization = match authorization.strip_prefix("a=") {
            Some(name) => Some(unescape(name)?),
            None if authorization.is_empty() => None,
            None => return Err(Failure::Message("the header names no authorization")),
        };
        let mut attributes = bare.split(',');
        // An extension that must be understood (`m=`) would stand here.
        let user = attributes.next().and_then(|first| first.strip_prefix("n="));
        let user = unescape(user.ok_or(Failure::Message("the user name does not come first"))?)?;
        let nonce = attributes.next().and_then(|next| next.strip_prefix("r="));
        let nonce = nonce
            .filter(|nonce| is_nonce(nonce))
            .ok_or(Failure::Message(
                "the client's first message has no nonce of printable characters",
            ))?;
        Ok(ClientFirst {
            user,
            authorization,
            header: &text[..text.len() - bare.len()],
            bare,
            nonce,
        })
    }

    /// The server's first message, which promises `keys`. `server_nonce` MUST never have been used before, and hold printable ASCII
    /// without commas only.
    pub(super) fn answer(&self, keys: &Keys, server_nonce: &str) -> (Pending, String) {
        debug_assert!(is_nonce(server_nonce));
        let nonce = format!("{}{server_nonce}", self.nonce);
        let salt = BASE64.encode(keys.salt);
        let message = format!("r={nonce},s={salt},i={}", keys.iterations);
        let pending = Pending {
            binding: BASE64.encode(self.header),
            messages: format!("{},{message},", self.bare),
            nonce,
        };
        (pending, message)
    }
}

/// An exchange that waits for the client's final message.
#[derive(Debug)]
pub(super) struct Pending {
    /// What the client must say about channel binding.
    binding: String,
    /// Both sides' first messages, each followed by a comma: the proof covers them.
    messages: String,
    /// The nonces of both.
    nonce: String,
}

impl Pending {
    /// Judges the client's final message, `c=BINDING,r=NONCE,p=PROOF`, and gives the server's. The keys are asked for again, so that
    /// a password which was changed meanwhile counts: the proof is then wrong.
    ///
    /// # Errors
    /// The proof is wrong, or it is no such message. A failure of OpenSSL counts as a wrong proof.
    pub(super) fn finish(&self, keys: &Keys, message: &[u8]) -> Result<String, Failure> {
        let text = text(message)?;
        let (without_proof, proof) = text
            .rsplit_once(",p=")
            .ok_or(Failure::Message("the client's final message has no proof"))?;
        let mut attributes = without_proof.split(',');
        let is_bound = attributes.next().and_then(|first| first.strip_prefix("c="))
            == Some(self.binding.as_str());
        if !is_bound {
            return Err(Failure::Message("the channel binding is not as it began"));
        }
        if attributes.next().and_then(|next| next.strip_prefix("r=")) != Some(self.nonce.as_str()) {
            return Err(Failure::Message("the nonce is not that of this exchange"));
        }
        let proof: [u8; KEY_BYTES] = decode(proof, "proof")
            .map_err(|_| Failure::Message("the proof is not 32 bytes of base64"))?;
        let signed = format!("{}{without_proof}", self.messages);
        match verify(keys, &proof, signed.as_bytes()) {
            Ok(Some(signature)) => Ok(format!("v={}", BASE64.encode(signature))),
            Ok(None) | Err(_) => Err(Failure::WrongProof),
        }
    }
}

/// The server's signature, if the proof is one of the password behind `keys`. The comparison takes equally long wherever the
/// difference lies.
fn verify(
    keys: &Keys,
    proof: &[u8; KEY_BYTES],
    signed: &[u8],
) -> Result<Option<[u8; KEY_BYTES]>, ErrorStack> {
    let mut client_key = hmac(&keys.stored_key, signed)?;
    for (byte, proof) in client_key.iter_mut().zip(proof) {
        *byte ^= proof;
    }
    let signature = hmac(&keys.server_key, signed)?;
    let is_right = openssl::memcmp::eq(&openssl::sha::sha256(&client_key), &keys.stored_key);
    Ok(is_right.then_some(signature))
}

fn text(message: &[u8]) -> Result<&str, Failure> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(Failure::Message("the message is longer than any needs"));
    }
    match std::str::from_utf8(message) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(Failure::Message("the message is not UTF-8")),
    }
}

/// Reads a `saslname`: `=2C` stands for a comma and `=3D` for an equals sign, and the latter for nothing else.
fn unescape(name: &str) -> Result<String, Failure> {
    let mut pieces = name.split('=');
    let mut output = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (character, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(Failure::Message("a name is not escaped as it must be")),
        };
        output.push(character);
        output.push_str(rest);
    }
    if output.is_empty() {
        return Err(Failure::Message("a name is empty"));
    }
    Ok(output)
}

/// Whether this is printable ASCII without commas, and not nothing.
fn is_nonce(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',')
}

fn hmac(key: &[u8], message: &[u8]) -> Result<[u8; KEY_BYTES], ErrorStack> {
    let key = PKey::hmac(key)?;
    let mut output = [0; KEY_BYTES];
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    signer.update(message)?;
    signer.sign(&mut output)?;
    Ok(output)
}

#[cfg(test)]
#[path = "scram_tests.rs"]
pub(super) mod tests;
