//! Frames over a socket.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage};
use stratos_types::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A TCP or TLS stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Bytes of answers collected before they are written to the socket, unless the client has to be answered now.
const WRITE_BUFFER_BYTES: usize = 64 << 10;
/// An output buffer larger than this is not kept.
const OUTPUT_KEPT_BYTES: usize = 256 << 10;
/// Bytes read from the socket at once.
pub const READ_BUFFER_BYTES: usize = 16 << 10;
/// Bytes read at once while rows are arriving.
pub const COPY_BUFFER_BYTES: usize = 256 << 10;
/// Kind and length at the front of a message.
const FRAME_HEADER_BYTES: usize = 5;
/// A client that takes nothing for so long is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
/// Messages that carry no data (Sync, Flush, Terminate and their kin) are never longer.
const SMALL_MESSAGE_BYTES_MAX: usize = 10_000;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The client went away.
    #[error("the client closed the connection")]
    Closed,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The client does not speak the protocol; it is told so, then dropped.
    #[error("{0}")]
    Protocol(Error),
    /// A whole message, taken out of the stream, whose text is not UTF-8: only that statement is refused.
    #[error("{error}")]
    BadText {
        /// What is wrong with it.
        error: Error,
        /// It was a simple query, which is answered at once, rather than part of the extended protocol.
        simple: bool,
    },
    /// The session was ended from outside; the client is told so, then dropped.
    #[error("{0}")]
    Fatal(Error),
}

/// A connection with its buffers.
pub struct Connection {
    stream: Box<dyn Stream>,
    input: BytesMut,
    output: BytesMut,
    context: DecodeContext,
    /// Longest message in bytes.
    message_bytes_max: usize,
}

fn violation(message: impl Into<String>) -> ConnectionError {
    ConnectionError::Protocol(Error::new(ErrorKind::ProtocolViolation, message))
}

impl Connection {
    /// A connection after the negotiation of TLS.
    pub fn new(stream: Box<dyn Stream>, input: BytesMut, message_bytes_max: usize) -> Connection {
        let mut context = DecodeContext::default();
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        Connection { stream, input, output: BytesMut::with_capacity(READ_BUFFER_BYTES), context, message_bytes_max }
    }

    /// The next message, if it has arrived already.
    ///
    /// # Errors
    /// Anything that is not a message of the protocol, or too long, or text that is not UTF-8.
    pub fn buffered_message(&mut self) -> Result<Option<PgWireFrontendMessage>, ConnectionError> {
        let Some((kind, length)) = self.frame()? else { return Ok(None) };
        if self.input.len() < length {
            self.input.reserve(length.min(self.message_bytes_max) - self.input.len());
            return Ok(None);
        }
        // The codec would replace what is not UTF-8; Postgres refuses it.
        let text = match kind {
            b'Q' => Some(&self.input[5..length]),
            b'P' => self.input[5..length].splitn(3, |b| *b == 0).nth(1),
            _ => None,
        };
        if let Some(Err(error)) = text.map(std::str::from_utf8) {
            let bad = text.and_then(|t| t.get(error.valid_up_to())).copied().unwrap_or_default();
            self.input.advance(length);
            let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{bad:02x}");
            let error = Error::new(ErrorKind::CharacterNotInRepertoire, message);
            return Err(ConnectionError::BadText { error, simple: kind == b'Q' });
        }
        let mut message = self.input.split_to(length);
        match PgWireFrontendMessage::decode(&mut message, &self.context) {
            Ok(Some(decoded)) => Ok(Some(decoded)),
            Ok(None) => Err(violation("invalid message format")),
            Err(error) => Err(violation(error.to_string())),
        }
    }

    /// Gives the data of the CopyData messages at the front that have arrived to `take`, until it is `bytes_max` bytes or more;
    /// tells how many messages it were.
    ///
    /// # Errors
    /// As [`Connection::buffered_message`].
    pub fn take_copy_data(&mut self, bytes_max: usize, mut take: impl FnMut(&[u8])) -> Result<usize, ConnectionError> {
        let (mut messages, mut bytes) = (0, 0);
        while bytes < bytes_max
            && let Some((b'd', length)) = self.frame()?
            && self.input.len() >= length
        {
            take(&self.input[FRAME_HEADER_BYTES..length]);
            self.input.advance(length);
            messages += 1;
            bytes += length;
        }
        Ok(messages)
    }

    /// Kind and whole length (kind and length field included) of the frame at the front.
    fn frame(&self) -> Result<Option<(u8, usize)>, ConnectionError> {
        let Some(header) = self.input.first_chunk::<5>() else { return Ok(None) };
        let kind = header[0];
        let length = i32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let limit = match kind {
            b'Q' | b'P' | b'B' | b'd' | b'p' => self.message_bytes_max,
            b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' | b'F' => SMALL_MESSAGE_BYTES_MAX,
            other => return Err(violation(format!("invalid frontend message type {other}"))),
        };
        match usize::try_from(length) {
            Ok(length) if length >= 4 && length <= limit => Ok(Some((kind, length + 1))),
            Ok(length) if length > limit => {
                Err(violation(format!("message of {length} bytes exceeds the limit of {limit} bytes")))
            }
            _ => Err(violation("invalid message length")),
        }
    }

    /// The next message, waiting for it.
    ///
    /// # Errors
    /// As [`Connection::buffered_message`], and the socket's.
    pub async fn message(&mut self) -> Result<PgWireFrontendMessage, ConnectionError> {
        loop {
            if let Some(message) = self.buffered_message()? {
                return Ok(message);
            }
            self.read(READ_BUFFER_BYTES).await?;
        }
    }

    /// Waits for more bytes, and takes about `bytes` of them if there are so many. Cancel-safe.
    ///
    /// # Errors
    /// The socket's.
    pub async fn read(&mut self, bytes: usize) -> Result<(), ConnectionError> {
        self.input.reserve(bytes);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(ConnectionError::Closed),
            _ => Ok(()),
        }
    }

    /// Adds a message to the output.
    ///
    /// # Errors
    /// A message too long for the protocol.
    pub fn put(&mut self, message: &PgWireBackendMessage) -> Result<(), ConnectionError> {
        message
            .encode(&mut self.output)
            .map_err(|error| ConnectionError::Protocol(Error::new(ErrorKind::ProgramLimitExceeded, error.to_string())))
    }

    /// The output, for messages that are encoded in place.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Writes to the socket if much is waiting.
    ///
    /// # Errors
    /// The socket's.
    pub async fn flush_if_full(&mut self) -> Result<(), ConnectionError> {
        if self.output.len() >= WRITE_BUFFER_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Writes everything to the socket.
    ///
    /// # Errors
    /// The socket's, and a client that takes nothing.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        if self.output.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        match tokio::time::timeout(WRITE_TIMEOUT, write).await {
            Ok(result) => {
                // The buffer is used again, unless a long row has made it large.
                if self.output.capacity() > OUTPUT_KEPT_BYTES {
                    self.output = BytesMut::with_capacity(READ_BUFFER_BYTES);
                }
                self.output.clear();
                Ok(result?)
            }
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    /// Closes the socket.
    pub async fn close(&mut self) {
        // The client is going away: there is nobody to tell about a failure.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.stream.shutdown()).await;
    }
}
