//! SCRAM-SHA-256, the server's half (RFC 5802, RFC 7677).
//!
//! A role that does not exist is asked for its password like any other, so that nobody learns which roles there are.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::Authentication;
use stratos_query::engine::Engine;
use stratos_query::scram::{self, Verifier};
use stratos_types::{Error, ErrorKind};

use super::connection::{Connection, ConnectionError};
use super::frame;

const MECHANISM: &str = "SCRAM-SHA-256";
/// Bytes of the server's part of the nonce.
const NONCE_BYTES: usize = 18;

fn failed(user: &str) -> ConnectionError {
    ConnectionError::Fatal(Error::new(
        ErrorKind::InvalidPassword,
        format!("password authentication failed for user \"{user}\""),
    ))
}

fn malformed() -> ConnectionError {
    ConnectionError::Fatal(Error::new(ErrorKind::ProtocolViolation, "malformed SCRAM message"))
}

/// A verifier that no password matches.
fn nobody(salt: [u8; scram::SALT_BYTES]) -> Verifier {
    Verifier {
        iterations: scram::ITERATIONS,
        salt: salt.to_vec(),
        stored_key: rand::random(),
        server_key: rand::random(),
    }
}

/// The client's next message of the exchange.
async fn answer(connection: &mut Connection) -> Result<BytesMut, ConnectionError> {
    connection.flush().await?;
    match connection.message().await? {
        (b'p', body) => Ok(body),
        (b'X', _) => Err(ConnectionError::Closed),
        _ => Err(ConnectionError::Fatal(Error::new(ErrorKind::ProtocolViolation, "expected a SASL response"))),
    }
}

/// Lets the client prove that it knows the role's password.
///
/// # Errors
/// 28P01, and anything that breaks the exchange.
pub async fn authenticate(engine: &Engine, connection: &mut Connection, user: &str) -> Result<(), ConnectionError> {
    let role = engine.role(user).map_err(ConnectionError::Fatal)?;
    let verifier = role.as_ref().and_then(|role| role.verifier.as_deref()).and_then(scram::parse);
    let known = verifier.is_some();
    let verifier = verifier.unwrap_or_else(|| nobody(engine.salt_of_nobody(user)));

    connection.put(&PgWireBackendMessage::Authentication(Authentication::SASL(vec![MECHANISM.to_owned()])))?;
    let initial = answer(connection).await?;
    let (mechanism, first) = frame::sasl_initial_response(&initial).ok_or_else(malformed)?;
    if mechanism != MECHANISM.as_bytes() {
        return Err(malformed());
    }
    let first = std::str::from_utf8(first).map_err(|_| malformed())?;
    let client = ClientFirst::parse(first).ok_or_else(malformed)?;
    if let Some(unsupported) = client.unsupported() {
        return Err(ConnectionError::Fatal(Error::new(ErrorKind::FeatureNotSupported, unsupported)));
    }

    let nonce = format!("{}{}", client.nonce, BASE64_STANDARD.encode(rand::random::<[u8; NONCE_BYTES]>()));
    let server_first = format!("r={nonce},s={},i={}", BASE64_STANDARD.encode(&verifier.salt), verifier.iterations);
    connection
        .put(&PgWireBackendMessage::Authentication(Authentication::SASLContinue(Bytes::from(server_first.clone()))))?;

    let response = answer(connection).await?;
    let last = std::str::from_utf8(&response).map_err(|_| malformed())?;
    let (without_proof, proof) = last.rsplit_once(",p=").ok_or_else(malformed)?;
    let mut parts = without_proof.split(',');
    let binding = parts.next().and_then(|p| p.strip_prefix("c=")).ok_or_else(malformed)?;
    let echoed = parts.next().and_then(|p| p.strip_prefix("r=")).ok_or_else(malformed)?;
    if echoed != nonce || BASE64_STANDARD.decode(binding).ok().as_deref() != Some(client.header.as_bytes()) {
        return Err(malformed());
    }
    let proof = BASE64_STANDARD.decode(proof).map_err(|_| malformed())?;
    let transcript = format!("{},{server_first},{without_proof}", client.bare);
    if !scram::proves(&verifier, transcript.as_bytes(), &proof) || !known {
        return Err(failed(user));
    }
    let signature = scram::server_signature(&verifier, transcript.as_bytes());
    connection.put(&PgWireBackendMessage::Authentication(Authentication::SASLFinal(Bytes::from(format!(
        "v={}",
        BASE64_STANDARD.encode(signature)
    )))))
}

/// The client's first message: `n,,n=user,r=nonce`.
struct ClientFirst<'a> {
    /// The part before the bare message, repeated by the client at the end.
    header: &'a str,
    bare: &'a str,
    nonce: &'a str,
}

impl ClientFirst<'_> {
    fn parse(message: &str) -> Option<ClientFirst<'_>> {
        // `y` would mean that the client could bind to the channel but thinks that we cannot, which is true.
        let flag = message.split(',').next()?;
        if flag != "n" && flag != "y" {
            return None;
        }
        let second_comma = message.match_indices(',').nth(1)?.0;
        let (header, bare) = message.split_at(second_comma + 1);
        let nonce = bare.split(',').find_map(|part| part.strip_prefix("r="))?;
        (!nonce.is_empty()).then_some(ClientFirst { header, bare, nonce })
    }

    /// What the message asks for that is not done: RFC 5802 wants it refused rather than passed over.
    fn unsupported(&self) -> Option<&'static str> {
        if self.bare.starts_with("m=") {
            Some("client requires an unsupported SCRAM extension")
        } else if self.header.split(',').nth(1).is_some_and(|identity| !identity.is_empty()) {
            Some("client uses authorization identity, but it is not supported")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_comes_apart() {
        let first = ClientFirst::parse("n,,n=,r=abc").unwrap();
        assert_eq!((first.header, first.bare, first.nonce), ("n,,", "n=,r=abc", "abc"));
        assert!(ClientFirst::parse("p=tls-unique,,n=,r=abc").is_none());
        assert!(ClientFirst::parse("garbage").is_none());
        assert_eq!(first.unsupported(), None);
        for other in ["n,a=other,n=,r=abc", "n,,m=more,n=,r=abc"] {
            assert!(ClientFirst::parse(other).unwrap().unsupported().is_some(), "{other}");
        }
    }
}
