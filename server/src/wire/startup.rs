//! The first messages: TLS, cancel requests, the startup message, authentication.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, SecretKey};
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage};
use stratos_query::engine::{Connect, Encryption, Engine};
use stratos_query::session::{Session, parse_bool};
use stratos_types::{Error, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::auth::authenticate;
use super::connection::{Connection, ConnectionError, Stream};
use super::encode::{error_response, parameter_status};
use super::frame;
use super::serve::serve;
use crate::lobby::Place;
use crate::tls;

/// How long a client may take until it is authenticated: one that says nothing must not hold a place.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest startup packet in bytes (Postgres's `MAX_STARTUP_PACKET_LENGTH`).
const STARTUP_BYTES_MAX: usize = 10_000;
/// Longest message of a client that is not authenticated yet, in bytes (Postgres's `PG_MAX_AUTH_TOKEN_LENGTH`).
const AUTHENTICATION_BYTES_MAX: usize = 65_535;
/// The version of the protocol.
const PROTOCOL_MAJOR: u16 = 3;
/// The newest version of it that is spoken here, 3.0, as a startup message has it.
const PROTOCOL_NEWEST: i32 = (PROTOCOL_MAJOR as i32) << 16;
/// Negotiations of TLS or GSS encryption that one connection may ask for.
const NEGOTIATIONS_MAX: usize = 3;

/// What connections need to know of the node.
pub struct WireOptions {
    /// Certificates for TLS.
    pub tls: Option<TlsAcceptor>,
    /// Connections from loopback addresses need no password.
    pub trust_loopback: bool,
    /// Longest message of a client in bytes.
    pub message_bytes_max: usize,
}

/// Serves an accepted socket to its end. Until it is authenticated its place may go to another one.
pub async fn run(
    engine: Arc<Engine>,
    options: Arc<WireOptions>,
    socket: TcpStream,
    peer: SocketAddr,
    mut place: Place,
) {
    let started = tokio::select! {
        started = tokio::time::timeout(STARTUP_TIMEOUT, start(&engine, &options, socket, peer)) => started,
        () = place.lost() => {
            tracing::debug!(%peer, "connection was too slow to authenticate: its place went to another one");
            return;
        }
    };
    match started {
        Ok(Ok(Some((connection, session)))) if place.admit() => serve(connection, session).await,
        Ok(Ok(Some(_))) => tracing::debug!(%peer, "connection authenticated when its place had gone"),
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "connection not established"),
        Err(_) => tracing::debug!(%peer, "connection did not authenticate in time"),
    }
}

/// Reads until a whole packet without a kind byte is there: its length comes first.
async fn read_packet(stream: &mut Box<dyn Stream>, input: &mut BytesMut) -> Result<usize, ConnectionError> {
    loop {
        if let Some(length) = input.first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
            if !(8..=STARTUP_BYTES_MAX).contains(&length) {
                return Err(protocol("invalid length of startup packet"));
            }
            if input.len() >= length {
                return Ok(length);
            }
        }
        if stream.read_buf(input).await? == 0 {
            return Err(ConnectionError::Closed);
        }
    }
}

fn protocol(message: &str) -> ConnectionError {
    ConnectionError::Protocol(Error::new(ErrorKind::ProtocolViolation, message))
}

/// `SSLRequest`, `GSSENCRequest` and `CancelRequest` by their codes.
const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// First byte of a TLS handshake, where the client does not ask before.
const TLS_HANDSHAKE: u8 = 0x16;

async fn start(
    engine: &Arc<Engine>,
    options: &WireOptions,
    socket: TcpStream,
    peer: SocketAddr,
) -> Result<Option<(Connection, Session)>, ConnectionError> {
    let accepted_at = socket.local_addr()?;
    let mut encryption = None;
    let mut first = [0u8];
    let direct_tls = socket.peek(&mut first).await? > 0 && first[0] == TLS_HANDSHAKE;
    let mut stream: Box<dyn Stream> = if direct_tls {
        let acceptor = options.tls.as_ref().ok_or(ConnectionError::Closed)?;
        let stream = acceptor.accept(socket).await?;
        encryption = tls::encryption(stream.get_ref().1);
        Box::new(stream)
    } else {
        Box::new(socket)
    };
    let mut input = BytesMut::with_capacity(1024);
    for _ in 0..=NEGOTIATIONS_MAX {
        let length = read_packet(&mut stream, &mut input).await?;
        let code = (&input[4..8]).get_i32();
        match code {
            SSL_REQUEST | GSS_REQUEST if length != 8 => return Err(protocol("invalid startup packet")),
            SSL_REQUEST | GSS_REQUEST if input.len() > length => {
                // Bytes behind the request were sent in the clear; taking them for part of the TLS session would let somebody
                // in between speak for the client (CVE-2021-23214).
                return Err(protocol("received unencrypted data after SSL request"));
            }
            SSL_REQUEST => {
                input.advance(length);
                match options.tls.as_ref().filter(|_| encryption.is_none()) {
                    Some(acceptor) => {
                        stream.write_all(b"S").await?;
                        stream.flush().await?;
                        let encrypted = acceptor.accept(stream).await?;
                        encryption = tls::encryption(encrypted.get_ref().1);
                        stream = Box::new(encrypted);
                    }
                    None => {
                        stream.write_all(b"N").await?;
                        stream.flush().await?;
                    }
                }
            }
            GSS_REQUEST => {
                input.advance(length);
                stream.write_all(b"N").await?;
                stream.flush().await?;
            }
            CANCEL_REQUEST => {
                if let (16, Some(body)) = (length, input.get(8..16)) {
                    engine.cancel((&body[..4]).get_i32(), (&body[4..]).get_i32());
                }
                // Over TLS the end has to be said: clients that wait for it take a bare end of the stream for an attack.
                Connection::new(stream, BytesMut::new(), 0).close().await;
                return Ok(None);
            }
            _ => {
                let packet = input.split_to(length);
                let mut connection = Connection::new(stream, input, AUTHENTICATION_BYTES_MAX);
                return match establish(engine, options, &mut connection, packet, (peer, accepted_at, encryption)).await
                {
                    Ok(session) => Ok(Some((connection, session))),
                    Err(ConnectionError::Protocol(error) | ConnectionError::Fatal(error)) => {
                        connection.put(&error_response(&error, "FATAL"))?;
                        connection.close().await;
                        Ok(None)
                    }
                    Err(error) => Err(error),
                };
            }
        }
    }
    Err(protocol("too many negotiations"))
}

/// From the startup message to a session.
async fn establish(
    engine: &Arc<Engine>,
    options: &WireOptions,
    connection: &mut Connection,
    mut packet: BytesMut,
    (peer, accepted_at, encryption): (SocketAddr, SocketAddr, Option<Encryption>),
) -> Result<Session, ConnectionError> {
    let [major, minor] = [4, 6].map(|at| packet.get(at..at + 2).map_or(0, |mut bytes| bytes.get_u16()));
    if major != PROTOCOL_MAJOR {
        return Err(ConnectionError::Protocol(Error::new(
            ErrorKind::FeatureNotSupported,
            format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0"),
        )));
    }
    let mut context = DecodeContext::default();
    context.awaiting_frontend_ssl = false;
    let layout = frame::check_startup(packet.get(8..).unwrap_or_default());
    let startup = match PgWireFrontendMessage::decode(&mut packet, &context) {
        Ok(Some(PgWireFrontendMessage::Startup(startup))) => startup,
        Ok(_) => return Err(protocol("invalid startup packet")),
        Err(error) => return Err(protocol(&error.to_string())),
    };
    layout.map_err(ConnectionError::Protocol)?;
    let mut parameters = startup.parameters;
    let unknown: Vec<String> = parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if startup.protocol_number_minor > 0 || !unknown.is_empty() {
        let negotiate = NegotiateProtocolVersion::new(PROTOCOL_NEWEST, unknown);
        connection.put(&PgWireBackendMessage::NegotiateProtocolVersion(negotiate))?;
    }
    let user = parameters.remove("user").filter(|user| !user.is_empty()).ok_or_else(|| {
        ConnectionError::Fatal(Error::new(
            ErrorKind::InvalidAuthorizationSpecification,
            "no PostgreSQL user name specified in startup packet",
        ))
    })?;
    let database = parameters.remove("database").filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    if let Some(value) = parameters.remove("replication") {
        refuse_replication(&value).map_err(ConnectionError::Fatal)?;
    }
    // A socket that listens on IPv6 shows clients of IPv4 by mapped addresses.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if !(options.trust_loopback && peer.ip().is_loopback()) {
        authenticate(engine, connection, &user).await?;
    }
    connection.set_message_bytes_max(options.message_bytes_max);
    let settings = settings(parameters).map_err(ConnectionError::Fatal)?;
    let connect = Connect {
        user,
        database,
        client: peer.to_string(),
        server: SocketAddr::new(accepted_at.ip().to_canonical(), accepted_at.port()).to_string(),
        encryption,
        settings,
    };
    let mut session = engine.connect(connect).map_err(ConnectionError::Fatal)?;
    connection.put(&PgWireBackendMessage::Authentication(Authentication::Ok))?;
    for (name, value) in session.reported_settings() {
        connection.put(&parameter_status(name, value))?;
    }
    // What was reported is no change any more.
    session.take_changed_settings();
    let shared = session.shared();
    let key = BackendKeyData::new(shared.pid, SecretKey::I32(shared.secret));
    connection.put(&PgWireBackendMessage::BackendKeyData(key))?;
    Ok(session)
}

/// `replication=…` asks for another protocol, unless it says no.
fn refuse_replication(value: &str) -> Result<(), Error> {
    match (value, parse_bool(value)) {
        ("database", _) | (_, Some(true)) => Err(Error::unsupported("replication protocol")),
        (_, Some(false)) => Ok(()),
        (_, None) => Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!("invalid value for parameter \"replication\": \"{value}\""),
        )
        .with_hint("Valid values are: \"false\", 0, \"true\", 1, \"database\".")),
    }
}

/// The settings of a startup message: those in `options` (`-c name=value`, `--name=value`), then each by its name, so that the
/// latter win.
fn settings(mut parameters: BTreeMap<String, String>) -> Result<Vec<(String, String)>, Error> {
    let options = parameters.remove("options");
    let mut settings = options.map_or_else(|| Ok(Vec::new()), |options| command_line_settings(&options))?;
    settings.extend(parameters.into_iter().filter(|(name, _)| !name.starts_with("_pq_.")));
    Ok(settings)
}

/// Words are parted by spaces; a backslash keeps the next character.
fn command_line_settings(options: &str) -> Result<Vec<(String, String)>, Error> {
    let mut words = vec![String::new()];
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        let Some(word) = words.last_mut() else { break };
        match c {
            '\\' => word.extend(chars.next()),
            c if c.is_whitespace() => words.push(String::new()),
            c => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    let wrong = |message: String| Error::new(ErrorKind::SyntaxError, message);
    while let Some(word) = words.next() {
        let (switch, assignment) = match (word.as_str(), word.strip_prefix("--"), word.strip_prefix("-c")) {
            ("-c", ..) => ("-c ", words.next()),
            (_, Some(long), _) => ("--", Some(long.to_owned())),
            (_, _, Some(short)) => ("-c ", Some(short.to_owned())),
            _ => ("", None),
        };
        let Some(assignment) = assignment else {
            return Err(wrong(format!("invalid command-line argument for server process: {word}"))
                .with_hint("Try \"postgres --help\" for more information."));
        };
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(wrong(format!("{switch}{assignment} requires a value")));
        };
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_startup_message_are_settings() {
        let settings = command_line_settings(r"-c statement_timeout=5s --search-path=a\ b -cwork_mem=1MB").unwrap();
        let expected = [("statement_timeout", "5s"), ("search_path", "a b"), ("work_mem", "1MB")];
        assert_eq!(settings, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        for (options, said) in [
            ("--foo", "--foo requires a value"),
            ("-c foo", "-c foo requires a value"),
            ("-c", "invalid command-line argument for server process: -c"),
            ("foo=1", "invalid command-line argument for server process: foo=1"),
        ] {
            assert_eq!(command_line_settings(options).unwrap_err().message(), said);
        }
    }

    #[test]
    fn what_is_said_directly_wins() {
        let given = [("options", "-c TimeZone=UTC"), ("TimeZone", "Asia/Tokyo")];
        let settings = settings(given.map(|(n, v)| (n.to_owned(), v.to_owned())).into()).unwrap();
        assert_eq!(settings.last().unwrap().1, "Asia/Tokyo");
    }
}
