//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) as it goes through MQTT 5.0, written against the RFCs alone.
//!
//! A [`Scram`] makes and reads the messages; the other functions put them into packets. It sends nothing by itself.

use openssl::base64::{decode_block, encode_block};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sha::sha256;
use openssl::sign::Signer;

use super::client::Client;
use super::packet::{Auth, Connect, Packet, Property, Version, property, put_string};

/// The method's name.
pub const METHOD: &str = "SCRAM-SHA-256";

/// One exchange of a client that thinks that this is its password.
pub struct Scram {
    pub user: String,
    password: String,
    header: String,
    nonce: String,
    expected: String,
}

impl Scram {
    /// An exchange with a nonce of its own.
    pub fn new(user: &str, password: &str) -> Scram {
        Scram::with_header(user, password, "n,,")
    }

    /// The same with another header before the first message.
    pub fn with_header(user: &str, password: &str, header: &str) -> Scram {
        let mut nonce = [0; 15];
        openssl::rand::rand_bytes(&mut nonce).expect("there are random numbers");
        Scram {
            user: user.to_owned(),
            password: password.to_owned(),
            header: header.to_owned(),
            nonce: encode_block(&nonce),
            expected: String::new(),
        }
    }

    fn bare(&self) -> String {
        format!("n={},r={}", self.user, self.nonce)
    }

    /// The client's first message.
    pub fn first(&self) -> Vec<u8> {
        format!("{}{}", self.header, self.bare()).into()
    }

    /// The client's final message, in answer to the server's first one.
    pub fn last(&mut self, server_first: &[u8]) -> Vec<u8> {
        let server_first = std::str::from_utf8(server_first).expect("SCRAM is text");
        let (nonce, salt, iterations) = parameters(server_first);
        assert!(nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len());
        let mut salted = [0; 32];
        openssl::pkcs5::pbkdf2_hmac(
            self.password.as_bytes(),
            &salt,
            iterations,
            MessageDigest::sha256(),
            &mut salted,
        )
        .expect("OpenSSL hashes");
        let client_key = hmac(&salted, "Client Key");
        let without_proof = format!("c={},r={nonce}", encode_block(self.header.as_bytes()));
        let signed = format!("{},{server_first},{without_proof}", self.bare());
        let signature = hmac(&sha256(&client_key), &signed);
        let proof: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(a, b)| a ^ b)
            .collect();
        let server_key = hmac(&salted, "Server Key");
        self.expected = format!("v={}", encode_block(&hmac(&server_key, &signed)));
        format!("{without_proof},p={}", encode_block(&proof)).into()
    }

    /// Holds the server to its proof that it knows the password too.
    pub fn verify(&self, server_final: Option<&[u8]>) {
        let expected = Some(self.expected.as_bytes());
        assert_eq!(server_final, expected, "the server's signature");
    }
}

/// Nonce, salt and iterations of the server's first message.
pub fn parameters(server_first: &str) -> (&str, Vec<u8>, usize) {
    let mut attributes = server_first.split(',');
    let mut next = |name| {
        let attribute = attributes.next().and_then(|text| text.strip_prefix(name));
        attribute.unwrap_or_else(|| panic!("{name} in {server_first}"))
    };
    let (nonce, salt, iterations) = (next("r="), next("s="), next("i="));
    let salt = decode_block(salt).expect("base64");
    (nonce, salt, iterations.parse().expect("a number"))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let key = PKey::hmac(key).expect("a key");
    let mut signer = Signer::new(MessageDigest::sha256(), &key).expect("OpenSSL has HMAC");
    signer.update(text.as_bytes()).expect("OpenSSL has HMAC");
    signer.sign_to_vec().expect("OpenSSL has HMAC")
}

/// The two properties of enhanced authentication.
pub fn properties(method: &str, data: Option<&[u8]>) -> Vec<Property> {
    let field = |bytes: &[u8]| {
        let mut value = Vec::new();
        put_string(&mut value, bytes);
        value
    };
    let method = (property::AUTHENTICATION_METHOD, field(method.as_bytes()));
    let data = data.map(|data| (property::AUTHENTICATION_DATA, field(data)));
    [method].into_iter().chain(data).collect()
}

/// A CONNECT with a method and the first data.
pub fn connect(client_id: &str, method: &str, data: Option<&[u8]>) -> Connect {
    let mut connect = Connect::new(Version::V5, client_id);
    connect.properties = properties(method, data);
    connect
}

/// The bytes of an AUTH of this method.
pub fn auth(code: u8, data: &[u8]) -> Vec<u8> {
    let properties = properties(METHOD, Some(data));
    Auth { code, properties }.encode()
}

/// Receives an AUTH with this code, which must name the method [MQTT-4.12.0-5], and returns its data.
pub fn receive_auth(client: &mut Client, code: u8) -> Option<Vec<u8>> {
    let auth = match client.receive() {
        Packet::Auth(auth) => auth,
        other => panic!("expected AUTH, got {other:?}"),
    };
    assert_eq!(auth.code, code);
    let expected = properties(METHOD, None);
    assert_eq!(
        auth.property(property::AUTHENTICATION_METHOD),
        Some(&expected[0].1[..])
    );
    let data = auth.property(property::AUTHENTICATION_DATA);
    data.map(|data| data[2..].to_vec())
}
