//! SCRAM-SHA-256 verifiers as Postgres stores them (RFC 5802 and 5803).
//!
//! `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the three of them in base64.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Rounds of PBKDF2, as Postgres 15's default.
pub const ITERATIONS: u32 = 4096;
/// Bytes of salt.
pub const SALT_BYTES: usize = 16;

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    #[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes any key");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// `Hi` of RFC 5802: PBKDF2 with HMAC-SHA-256 and one block.
pub fn salted_password(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut block = hmac(password.as_bytes(), &[salt, &1u32.to_be_bytes()]);
    let mut result = block;
    for _ in 1..iterations {
        block = hmac(password.as_bytes(), &[&block]);
        result.iter_mut().zip(block).for_each(|(r, b)| *r ^= b);
    }
    result
}

/// A salt that depends on a secret and a role's name only.
pub fn derived_salt(secret: &[u8], name: &str) -> [u8; SALT_BYTES] {
    let digest = hmac(secret, &[name.as_bytes()]);
    let mut salt = [0; SALT_BYTES];
    salt.copy_from_slice(&digest[..SALT_BYTES]);
    salt
}

/// The verifier of a password.
pub fn verifier(password: &str, salt: [u8; SALT_BYTES]) -> String {
    let salted = salted_password(password, &salt, ITERATIONS);
    let stored = Sha256::digest(hmac(&salted, &[b"Client Key"]));
    let server = hmac(&salted, &[b"Server Key"]);
    let base64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    format!("SCRAM-SHA-256${ITERATIONS}:{}${}:{}", base64(&salt), base64(&stored), base64(&server))
}

/// The parts of a verifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Rounds.
    pub iterations: u32,
    /// Salt.
    pub salt: Vec<u8>,
    /// SHA-256 of the client's key.
    pub stored_key: [u8; 32],
    /// The server's key.
    pub server_key: [u8; 32],
}

/// Reads a verifier; `None` when the text is not one.
pub fn parse(text: &str) -> Option<Verifier> {
    let rest = text.strip_prefix("SCRAM-SHA-256$")?;
    let (first, second) = rest.split_once('$')?;
    let (iterations, salt) = first.split_once(':')?;
    let (stored, server) = second.split_once(':')?;
    let decode = |text: &str| BASE64_STANDARD.decode(text).ok();
    Some(Verifier {
        iterations: iterations.parse().ok()?,
        salt: decode(salt)?,
        stored_key: decode(stored)?.try_into().ok()?,
        server_key: decode(server)?.try_into().ok()?,
    })
}

/// Whether the client's proof shows that it knows the password (RFC 5802, section 3). Takes the same time for every proof.
pub fn proves(verifier: &Verifier, transcript: &[u8], proof: &[u8]) -> bool {
    let signature = hmac(&verifier.stored_key, &[transcript]);
    if proof.len() != signature.len() {
        return false;
    }
    let client_key: Vec<u8> = proof.iter().zip(signature).map(|(p, s)| p ^ s).collect();
    let stored: [u8; 32] = Sha256::digest(client_key).into();
    stored.iter().zip(verifier.stored_key).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// What the server shows in return.
pub fn server_signature(verifier: &Verifier, transcript: &[u8]) -> [u8; 32] {
    hmac(&verifier.server_key, &[transcript])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3: password `pencil`.
    #[test]
    fn keys_are_those_of_the_rfc() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password("pencil", &salt, 4096);
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                       r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                       c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac(&hmac(&salted, &[b"Server Key"]), &[message.as_bytes()]);
        assert_eq!(BASE64_STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_verifier_reads_back() {
        let text = verifier("secret", [7; SALT_BYTES]);
        let parsed = parse(&text).unwrap();
        assert_eq!((parsed.iterations, parsed.salt), (ITERATIONS, vec![7; SALT_BYTES]));
        assert_eq!(parse("md5abc"), None);
    }
}
