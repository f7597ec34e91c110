//! Passwords and their hashes, in the two forms of mosquitto's password file.
//!
//! - `$7$ITERATIONS$SALT$HASH`: PBKDF2-HMAC-SHA512, 64 bytes of output. New hashes are of this form.
//! - `$6$SALT$HASH`: SHA-512 of the password and then the salt. Read, never made.
//!
//! Salt and hash are base64 of the standard alphabet, padded. What this does not do: it knows no file and no user (`passwd_file`).

use std::fmt;
use std::sync::atomic::{Ordering, compiler_fence};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;

/// The work of a new hash. mosquitto 2.0 makes 101, which is little; its 2.1 makes 1000. One check costs a router's core some 10 ms
/// at 1000, and every client pays it at every connect.
pub(super) const NEW_ITERATIONS: u32 = 1000;

/// A file with more would occupy the one thread that checks passwords for seconds per attempt.
pub(super) const ITERATIONS_MAX: u32 = 1_000_000;

/// mosquitto 2.0 accepts no other length.
const NEW_SALT_BYTES: usize = 12;

const SALT_BYTES_MAX: usize = 64;
const HASH_BYTES: usize = 64;

/// A password, wiped from memory when it goes. It prints as nothing.
pub struct Secret(Vec<u8>);

impl Secret {
    /// Copies a password; the original stays the caller's to wipe.
    pub fn copy_of(password: &[u8]) -> Secret {
        Secret(password.to_vec())
    }

    /// Takes over bytes that are not a password but as secret as one.
    pub(crate) fn of(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    /// An empty secret that takes `bytes_max` bytes without moving: a move would leave a copy behind.
    pub(crate) fn with_capacity(bytes_max: usize) -> Secret {
        Secret(Vec::with_capacity(bytes_max))
    }

    /// Appends a byte, and says whether there was room for it.
    pub(crate) fn push(&mut self, byte: u8) -> bool {
        let has_room = self.0.len() < self.0.capacity();
        if has_room {
            self.0.push(byte);
        }
        has_room
    }

    /// Takes the last byte away, if there is one.
    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    /// The password itself, for hashing.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // What was popped lies behind the length, so all of the capacity is wiped.
        self.0.resize(self.0.capacity(), 0);
        wipe(&mut self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

/// Overwrites memory in a way that the compiler does not drop as useless.
fn wipe(bytes: &mut [u8]) {
    for byte in bytes.iter_mut() {
        // SAFETY: `byte` is a valid, aligned and exclusive reference.
        unsafe { std::ptr::write_volatile(byte, 0) };
    }
    compiler_fence(Ordering::SeqCst);
}

/// The hash of one user's password.
pub(super) struct Hash {
    kind: Kind,
    salt: Box<[u8]>,
    hash: [u8; HASH_BYTES],
}

#[derive(Clone, Copy)]
enum Kind {
    Pbkdf2 { iterations: u32 },
    Sha512,
}

impl Hash {
    /// Reads what stands behind the user name and its colon. The error says what is wrong and repeats nothing of the hash.
    pub(super) fn parse(text: &str) -> Result<Hash, String> {
        const EXPECTED: &str = "expected $7$ITERATIONS$SALT$HASH or $6$SALT$HASH";
        let Some(fields) = text.strip_prefix('$') else {
            return Err(format!("the password is not hashed: {EXPECTED}"));
        };
        let mut fields = fields.split('$');
        let kind = match fields.next() {
            Some("7") => Kind::Pbkdf2 {
                iterations: parse_iterations(fields.next().unwrap_or(""))?,
            },
            Some("6") => Kind::Sha512,
            Some("argon2id") => {
                return Err("argon2id hashes are not supported: set this password again with 'fosquitto passwd'".into());
            }
            _ => return Err(format!("the hash is of an unknown kind: {EXPECTED}")),
        };
        let (Some(salt), Some(hash), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err(format!("the hash has a wrong number of fields: {EXPECTED}"));
        };
        let salt = decode(salt, "salt")?;
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            return Err(format!(
                "the salt has {} bytes, expected 1 to {SALT_BYTES_MAX}",
                salt.len()
            ));
        }
        let hash = decode(hash, "hash")?;
        let hash = <[u8; HASH_BYTES]>::try_from(&*hash)
            .map_err(|_| format!("the hash has {} bytes, expected {HASH_BYTES}", hash.len()))?;
        Ok(Hash {
            kind,
            salt: salt.into(),
            hash,
        })
    }

    /// Hashes a password anew and returns the text for the file.
    ///
    /// # Errors
    /// OpenSSL has no random numbers or no SHA-512 to give.
    pub(super) fn make(password: &[u8]) -> Result<String, ErrorStack> {
        let mut salt = [0; NEW_SALT_BYTES];
        openssl::rand::rand_bytes(&mut salt)?;
        let kind = Kind::Pbkdf2 {
            iterations: NEW_ITERATIONS,
        };
        let hash = compute(kind, password, &salt)?;
        let (salt, hash) = (BASE64.encode(salt), BASE64.encode(hash));
        Ok(format!("$7${NEW_ITERATIONS}${salt}${hash}"))
    }

    /// Whether this is the hash of `password`; the comparison takes equally long wherever the difference lies. A failure of OpenSSL
    /// counts as a wrong password.
    pub(super) fn verifies(&self, password: &[u8]) -> bool {
        match compute(self.kind, password, &self.salt) {
            Ok(computed) => openssl::memcmp::eq(&computed, &self.hash),
            Err(_) => false,
        }
    }

    /// A fingerprint of this hash with its salt. It tells nothing of the password to whoever does not know the salt.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = openssl::sha::Sha256::new();
        hasher.update(b"fosquitto password hash\0");
        hasher.update(&self.salt);
        hasher.update(&self.hash);
        hasher.finish()
    }

    /// The number of PBKDF2 iterations that a check costs; 0 where it costs one SHA-512.
    pub(super) fn iterations(&self) -> u32 {
        match self.kind {
            Kind::Pbkdf2 { iterations } => iterations,
            Kind::Sha512 => 0,
        }
    }
}

/// Does the work of `iterations` and forgets the result, so that a check which needs less takes as long as the dearest one.
pub(super) fn burn(password: &[u8], iterations: u32) {
    if iterations > 0 {
        let work = compute(Kind::Pbkdf2 { iterations }, password, &[0; NEW_SALT_BYTES]);
        std::hint::black_box(work.is_ok());
    }
}

fn compute(kind: Kind, password: &[u8], salt: &[u8]) -> Result<[u8; HASH_BYTES], ErrorStack> {
    let mut output = [0; HASH_BYTES];
    match kind {
        Kind::Pbkdf2 { iterations } => {
            let digest = MessageDigest::sha512();
            openssl::pkcs5::pbkdf2_hmac(password, salt, iterations as usize, digest, &mut output)?;
        }
        Kind::Sha512 => {
            let mut hasher = openssl::sha::Sha512::new();
            hasher.update(password);
            hasher.update(salt);
            output = hasher.finish();
        }
    }
    Ok(output)
}

fn parse_iterations(text: &str) -> Result<u32, String> {
    let digits_only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(iterations @ 1..=ITERATIONS_MAX) if digits_only => Ok(iterations),
        _ => Err(format!(
            "the number of iterations is not 1 to {ITERATIONS_MAX}"
        )),
    }
}

fn decode(text: &str, what: &str) -> Result<Vec<u8>, String> {
    BASE64
        .decode(text)
        .map_err(|_| format!("the {what} is not base64 (standard alphabet, padded)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &[u8] = b"0123456789ABCDEF0123456789ABCDEF";

    fn accepts(hash: &str, password: &[u8]) -> bool {
        Hash::parse(hash)
            .expect("a hash of the file's form")
            .verifies(password)
    }

    #[test]
    fn hashes_that_mosquitto_accepts_are_verified() {
        for hash in [
            "$7$101$AAECAwQFBgcICQoL$02NS2eDWClBU0t5fjavY7arv2wsc3CilhyCU9VSPRmLvTozK+8buLbimiq0tIUSeue2pXcmdqLR6oJQ9YDn40Q==",
            "$6$AAECAwQFBgcICQoL$IqzzGyHXNhyhGRGJpmaEkfP+oYE8T7Y0wMJ56lLwZsIlm8OhK9VPj23Smvsw+rVi7Y+IBxpxl1V30YoYH5EUQQ==",
        ] {
            assert!(accepts(hash, PASSWORD), "{hash}");
            assert!(!accepts(hash, &PASSWORD[1..]), "{hash}");
            assert!(!accepts(hash, b""), "{hash}");
        }
    }

    #[test]
    fn entries_made_by_mosquitto_passwd_2_0_11_are_verified() {
        for (password, hash) in [
            (
                "pass word:x$",
                "$7$101$yLh5joee/5C+Nq39$4ynunzQ2aRafA0ZhZGTU5swH4wfBphZn58hgkTuWx3/IGQqNNMpUsGcEmijHvAyddYTRMDT6/rSUXukEeebiFA==",
            ),
            (
                "",
                "$7$101$R/e3sTR6ZDmj5fyl$pswFsdai9oMSW8ZmK+EbIBg+I33TAPxc/GQUfCvag9CkSClOJ6trqIV9UhCkxdbM91cRTY6tvi9RMf2ZYNAlbg==",
            ),
            (
                "päss",
                "$7$101$9zl+j+yMDN2dlITt$5bV1rL6iQ5EHjYQmbozkzfEOl/i8O3ubLGVey/pq3izjWCxihpEVf45Iv/0ehH2/td0k37gKve3NwkmrfJQaKA==",
            ),
        ] {
            assert!(accepts(hash, password.as_bytes()), "{password}");
            assert!(!accepts(hash, b"another"), "{password}");
        }
    }

    #[test]
    fn a_new_hash_verifies_its_password_only_and_is_salted() {
        for password in [PASSWORD, b"", b"\0\xff", &[b'x'; 65_535]] {
            let hash = Hash::make(password).expect("OpenSSL hashes");
            assert!(hash.starts_with("$7$1000$"), "{hash}");
            assert!(accepts(&hash, password));
            assert!(!accepts(&hash, b"something else"));
            assert_ne!(hash, Hash::make(password).expect("OpenSSL hashes"));
        }
    }

    #[test]
    fn what_is_not_a_hash_is_told_apart() {
        let good_hash = BASE64.encode([7; 64]);
        for (text, expected) in [
            ("secret".to_owned(), "not hashed"),
            ("".to_owned(), "not hashed"),
            (format!("$5$AAAA${good_hash}"), "unknown kind"),
            (
                "$argon2id$v=19$m=1$AAAA$AAAA".to_owned(),
                "fosquitto passwd",
            ),
            (format!("$7$0$AAAA${good_hash}"), "iterations"),
            (format!("$7$+5$AAAA${good_hash}"), "iterations"),
            (format!("$7$$AAAA${good_hash}"), "iterations"),
            (format!("$7$1000001$AAAA${good_hash}"), "iterations"),
            (format!("$7$99999999999999$AAAA${good_hash}"), "iterations"),
            ("$7$101$AAAA".to_owned(), "fields"),
            (format!("$7$101$AAAA${good_hash}$"), "fields"),
            (format!("$6$${good_hash}"), "salt has 0"),
            (
                format!("$6${}${good_hash}", BASE64.encode([0; 65])),
                "salt has 65",
            ),
            (format!("$6$AAA${good_hash}"), "salt is not base64"),
            ("$6$AAAA$AAAA".to_owned(), "hash has 3"),
            (format!("$6$AAAA${good_hash}\r"), "hash is not base64"),
        ] {
            let fault = Hash::parse(&text).err().unwrap_or_default();
            assert!(fault.contains(expected), "{text}: {fault:?}");
            assert!(
                !fault.contains(&good_hash),
                "a fault must not repeat the hash"
            );
        }
    }

    #[test]
    fn a_secret_prints_nothing_and_takes_no_more_than_its_room() {
        let mut secret = Secret::with_capacity(2);
        assert!(secret.push(b'a') && secret.push(b'b'));
        while secret.push(b'c') {}
        assert!(secret.expose().starts_with(b"ab"));
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
