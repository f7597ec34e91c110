//! Names from certificates.
//!
//! Whoever asks the CA for a certificate may have chosen what is in it, so a name is only taken where it is beyond doubt: one common
//! name, short, valid, without characters that end a string or a line elsewhere. Whether the certificate is of our CA is not decided
//! here but by OpenSSL, before.

use std::fmt::Write as _;

use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::x509::{X509NameEntryRef, X509NameRef, X509Ref};

/// The longest common name. X.520 allows 64 characters, which are at most 256 bytes.
const COMMON_NAME_BYTES_MAX: usize = 256;

/// The longest subject, in the form of RFC 2253.
const SUBJECT_BYTES_MAX: usize = 1024;

/// The certificate's common name, if it has exactly one and that can be a user name: 1 to 256 bytes of UTF-8 without control
/// characters (U+0000 among them).
pub fn common_name(certificate: &X509Ref) -> Option<String> {
    let mut entries = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    let (only, None) = (entries.next()?, entries.next()) else {
        return None;
    };
    let name = text(only)?;
    let is_usable =
        (1..=COMMON_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    is_usable.then_some(name)
}

/// The certificate's subject in the form of RFC 2253 as OpenSSL writes it (`CN=ann,O=home`: the last attribute comes first, and what
/// is not printable ASCII as `\C3\A4`), if that can be a user name: 1 to 1024 bytes, every attribute of a known kind and without
/// U+0000, and one attribute in each relative name, since `CN=a+O=b` and `CN=a,O=b` must not become one user.
pub fn subject(certificate: &X509Ref) -> Option<String> {
    let name = certificate.subject_name();
    let entries: Vec<_> = name.entries().collect();
    if relative_names(name)? != entries.len() {
        return None;
    }
    let mut subject = String::new();
    for entry in entries.iter().rev() {
        let value = text(entry)?;
        if value.contains('\0') {
            return None;
        }
        if !subject.is_empty() {
            subject.push(',');
        }
        let kind = entry.object().nid();
        if kind == Nid::UNDEF {
            return None;
        }
        subject.push_str(kind.short_name().ok()?);
        subject.push('=');
        escape_into(&mut subject, &value);
        if subject.len() > SUBJECT_BYTES_MAX {
            return None;
        }
    }
    (!subject.is_empty()).then_some(subject)
}

/// The SHA-256 fingerprint in lower-case hexadecimal digits, which is what a user's pins are compared with.
pub fn fingerprint(certificate: &X509Ref) -> String {
    let mut digits = String::with_capacity(64);
    for byte in sha256(certificate).unwrap_or_default() {
        write!(digits, "{byte:02x}").expect("a String takes everything");
    }
    digits
}

/// The SHA-256 fingerprint; `None` if OpenSSL has no SHA-256 to give.
pub(super) fn sha256(certificate: &X509Ref) -> Option<[u8; 32]> {
    let digest = certificate.digest(MessageDigest::sha256()).ok()?;
    digest.as_ref().try_into().ok()
}

/// One certificate in words for the log: subject, serial number and end of validity. All of it is printable ASCII.
pub fn describe(certificate: &X509Ref) -> String {
    let subject =
        subject(certificate).unwrap_or_else(|| "(a subject that cannot be written)".into());
    let number = certificate
        .serial_number()
        .to_bn()
        .and_then(|number| number.to_hex_str());
    let number = number.map_or_else(|_| "?".to_owned(), |number| number.to_string());
    format!(
        "'{subject}', serial number {number}, valid until {}",
        certificate.not_after()
    )
}

/// An attribute's value, if it is a string that means one thing only.
fn text(entry: &X509NameEntryRef) -> Option<String> {
    // UTF-32 takes the most room, four bytes a character; a longer value need not even be converted.
    if entry.data().len() > 4 * SUBJECT_BYTES_MAX {
        return None;
    }
    let text = entry.data().to_string().ok()?;
    // OpenSSL's binding puts U+FFFD where the bytes are not what their type says. No honest name has one.
    (!text.contains('\u{FFFD}')).then_some(text)
}

/// Escapes a value as RFC 2253, 2.4 asks and OpenSSL does it.
fn escape_into(output: &mut String, value: &str) {
    let last = value.len().wrapping_sub(1);
    for (index, byte) in value.bytes().enumerate() {
        let is_special = match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => true,
            b'#' => index == 0,
            b' ' => index == 0 || index == last,
            _ => false,
        };
        if is_special {
            output.push('\\');
        }
        if byte.is_ascii() && !byte.is_ascii_control() {
            output.push(char::from(byte));
        } else {
            write!(output, "\\{byte:02X}").expect("a String takes everything");
        }
    }
}

/// The number of relative distinguished names, which the binding does not tell: counts the SETs in the outer SEQUENCE.
fn relative_names(name: &X509NameRef) -> Option<usize> {
    let der = name.to_der().ok()?;
    let (mut rest, _) = der_element(&der)?;
    let mut count = 0;
    while !rest.is_empty() {
        rest = der_element(rest)?.1;
        count += 1;
    }
    Some(count)
}

/// Splits a DER element (X.690, 8.1) into its content and what follows it.
fn der_element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[_tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let fold = |sum: usize, byte: &u8| sum.checked_mul(256).map(|sum| sum | usize::from(*byte));
        (length.iter().try_fold(0, fold)?, rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{Authority, Text, der_name};
    use openssl::x509::X509Name;

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];

    fn names(rdns: &[&[(&[u8], Text)]]) -> (Option<String>, Option<String>) {
        // Some of what follows OpenSSL does not even parse: such a certificate never gets through a handshake.
        if X509Name::from_der(&der_name(rdns)).is_err() {
            return (None, None);
        }
        let certificate = Authority::new("test CA")
            .client()
            .subject(&der_name(rdns))
            .sign()
            .0;
        (common_name(&certificate), subject(&certificate))
    }

    fn cn(text: Text) -> Option<String> {
        names(&[&[(CN, text)]]).0
    }

    #[test]
    fn one_common_name_of_any_string_type_is_taken() {
        assert_eq!(cn(Text::Utf8(b"ann")).as_deref(), Some("ann"));
        assert_eq!(cn(Text::Printable(b"ann")).as_deref(), Some("ann"));
        assert_eq!(
            cn(Text::Bmp(b"\0a\0n\x01\x41")).as_deref(),
            Some("an\u{141}")
        );
        assert_eq!(
            cn(Text::Utf8("Bärbel +/#".as_bytes())).as_deref(),
            Some("Bärbel +/#")
        );
        assert_eq!(
            cn(Text::Utf8(&[b'x'; 256])).map(|name| name.len()),
            Some(256)
        );
    }

    #[test]
    fn a_common_name_that_could_be_misread_is_not_taken() {
        for text in [
            Text::Utf8(b""),
            Text::Utf8(b"ann\0.example"),
            Text::Utf8(b"\0"),
            Text::Utf8(b"a\nb"),
            Text::Utf8(b"\x1b[31m"),
            Text::Utf8("\u{85}".as_bytes()),
            Text::Utf8(b"\xff\xfe"),
            Text::Utf8(b"\xc0\x80"),
            Text::Bmp(b"\0a\0\0\0b"),
            Text::Bmp(b"\xd8\x00\0a"),
            Text::Bmp(b"\0"),
            Text::Utf8(&[b'x'; 257]),
            Text::Utf8(&[b'x'; 65_536]),
        ] {
            assert_eq!(cn(text), None, "{text:?}");
        }
        let ann: (&[u8], Text) = (CN, Text::Utf8(b"ann"));
        let bob: (&[u8], Text) = (CN, Text::Utf8(b"bob"));
        assert_eq!(names(&[&[ann], &[bob]]).0, None);
        assert_eq!(names(&[&[ann, bob]]).0, None);
        assert_eq!(names(&[&[ann], &[ann]]).0, None);
        assert_eq!(names(&[&[(O, Text::Utf8(b"home"))]]).0, None);
        assert_eq!(names(&[]), (None, None));
    }

    #[test]
    fn the_subject_is_written_as_openssl_writes_it() {
        // As printed by `openssl x509 -noout -subject -nameopt RFC2253` of OpenSSL 3.0.
        let subject = names(&[
            &[(O, Text::Utf8("A, \"B\" + C; <D>\\=ä\x7f".as_bytes()))],
            &[(CN, Text::Utf8(b"# x "))],
        ]);
        let expected = "CN=\\# x\\ ,O=A\\, \\\"B\\\" \\+ C\\; \\<D\\>\\\\=\\C3\\A4\\7F";
        assert_eq!(subject.1.as_deref(), Some(expected));
    }

    #[test]
    fn a_subject_that_could_be_another_one_is_not_taken() {
        let ann: (&[u8], Text) = (CN, Text::Utf8(b"ann"));
        let home: (&[u8], Text) = (O, Text::Utf8(b"home"));
        assert_eq!(
            names(&[&[home], &[ann]]).1.as_deref(),
            Some("CN=ann,O=home")
        );
        assert_eq!(names(&[&[home, ann]]).1, None);
        assert_eq!(
            names(&[&[(&[0x2a, 3, 4], Text::Utf8(b"x"))]]).1,
            None,
            "an unknown attribute"
        );
        assert_eq!(names(&[&[(O, Text::Utf8(b"a\0b"))]]).1, None);
        assert_eq!(names(&[&[(O, Text::Utf8(&[b'x'; 1025]))]]).1, None);
        assert_eq!(names(&[&[(O, Text::Utf8(&[b'x'; 65_536]))]]).1, None);
    }

    #[test]
    fn the_fingerprint_is_of_the_whole_certificate() {
        let authority = Authority::new("test CA");
        let (one, other) = (
            authority.client().sign().0,
            authority.client().serial(3).sign().0,
        );
        assert_eq!(fingerprint(&one).len(), 64);
        assert_eq!(fingerprint(&one), fingerprint(&one.to_owned()));
        assert_ne!(fingerprint(&one), fingerprint(&other));
        let description = describe(&other);
        assert!(
            description.starts_with("'CN=client', serial number 03, valid until "),
            "{description}"
        );
    }
}
