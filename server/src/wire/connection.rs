//! Frames over a socket.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use stratos_types::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frame::{self, HEADER_BYTES};

/// A TCP or TLS stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Bytes of answers collected before they are written to the socket, unless the client has to be answered now.
const WRITE_BUFFER_BYTES: usize = 64 << 10;
/// Bytes of answers that are written when there is nothing else to do, though the client has not asked for them: as many as
/// Postgres collects.
const IDLE_BUFFER_BYTES: usize = 8 << 10;
/// An output buffer larger than this is not kept.
const OUTPUT_KEPT_BYTES: usize = 256 << 10;
/// An input buffer larger than this is not kept.
const INPUT_KEPT_BYTES: usize = 512 << 10;
/// How long a client may take to read the last words to it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes read from the socket at once.
pub const READ_BUFFER_BYTES: usize = 16 << 10;
/// Bytes read at once while rows are arriving.
pub const COPY_BUFFER_BYTES: usize = 256 << 10;
/// Memory taken for a long message before its bytes have come.
const READ_AHEAD_BYTES_MAX: usize = 1 << 20;

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
    /// The session was ended from outside; the client is told so, then dropped.
    #[error("{0}")]
    Fatal(Error),
}

/// A connection with its buffers.
pub struct Connection {
    stream: Box<dyn Stream>,
    input: BytesMut,
    output: BytesMut,
    /// The client waits for what is in the output.
    awaited: bool,
    /// Longest message in bytes.
    message_bytes_max: usize,
}

impl Connection {
    /// A connection after the negotiation of TLS.
    pub fn new(stream: Box<dyn Stream>, input: BytesMut, message_bytes_max: usize) -> Connection {
        let output = BytesMut::with_capacity(READ_BUFFER_BYTES);
        Connection { stream, input, output, awaited: false, message_bytes_max }
    }

    /// From now on messages may be so long, in bytes.
    pub fn set_message_bytes_max(&mut self, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max;
    }

    /// Kind and length in bytes (header included) of the next message, if the whole of it has arrived.
    ///
    /// # Errors
    /// Anything that is not a message of the protocol, or too long.
    pub fn arrived(&mut self) -> Result<Option<(u8, usize)>, ConnectionError> {
        let header = frame::header(&self.input, self.message_bytes_max).map_err(ConnectionError::Protocol)?;
        let Some((kind, length)) = header else { return Ok(None) };
        if self.input.len() < length {
            self.input.reserve((length - self.input.len()).min(READ_AHEAD_BYTES_MAX));
            return Ok(None);
        }
        Ok(Some((kind, length)))
    }

    /// What has arrived, for as long as its first message is looked at in place; see [`Connection::give_back`].
    pub fn take_input(&mut self) -> BytesMut {
        std::mem::take(&mut self.input)
    }

    /// Takes the input back, the first `handled` bytes of which are done with.
    pub fn give_back(&mut self, mut input: BytesMut, handled: usize) {
        input.advance(handled);
        // The buffer is used again, unless a long message has made it large.
        if input.is_empty() && input.capacity() > INPUT_KEPT_BYTES {
            input = BytesMut::new();
        }
        self.input = input;
    }

    /// Gives the data of the CopyData messages at the front that have arrived to `take`, until it is `bytes_max` bytes or more;
    /// tells how many messages it were.
    ///
    /// # Errors
    /// As [`Connection::arrived`].
    pub fn take_copy_data(&mut self, bytes_max: usize, mut take: impl FnMut(&[u8])) -> Result<usize, ConnectionError> {
        let (mut messages, mut bytes) = (0, 0);
        while bytes < bytes_max {
            let header = frame::header(&self.input, self.message_bytes_max).map_err(ConnectionError::Protocol)?;
            let Some((b'd', length)) = header else { break };
            if self.input.len() < length {
                break;
            }
            take(&self.input[HEADER_BYTES..length]);
            self.input.advance(length);
            messages += 1;
            bytes += length;
        }
        Ok(messages)
    }

    /// Kind and body of the next message, waiting for it.
    ///
    /// # Errors
    /// As [`Connection::arrived`], and the socket's.
    pub async fn message(&mut self) -> Result<(u8, BytesMut), ConnectionError> {
        loop {
            if let Some((kind, length)) = self.arrived()? {
                let mut message = self.input.split_to(length);
                message.advance(HEADER_BYTES);
                return Ok((kind, message));
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

    /// Whether so much is waiting that it should be written.
    pub fn is_full(&self) -> bool {
        self.output.len() >= WRITE_BUFFER_BYTES
    }

    /// What is in the output is to be written before the client is waited for. Answers of the extended protocol are not: its
    /// clients say Sync or Flush when they want them, and some rely on nothing coming before.
    pub fn answer_soon(&mut self) {
        self.awaited = true;
    }

    /// Whether the output should be written before the client is waited for.
    pub fn has_answers(&self) -> bool {
        self.awaited || self.output.len() >= IDLE_BUFFER_BYTES
    }

    /// Writes everything to the socket, however long the client takes to read it: one that takes nothing at all is noticed by
    /// the system (`super::listener`).
    ///
    /// # Errors
    /// The socket's.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        if self.output.is_empty() {
            return Ok(());
        }
        // One `send` each: gathering writes, which `write_all_buf` would make, cost more of the system's time.
        while !self.output.is_empty() {
            match self.stream.write(&self.output).await? {
                0 => return Err(ConnectionError::Closed),
                written => self.output.advance(written),
            }
        }
        self.stream.flush().await?;
        self.awaited = false;
        // The buffer is used again, unless a long row has made it large.
        if self.output.capacity() > OUTPUT_KEPT_BYTES {
            self.output = BytesMut::new();
        }
        self.output.reserve(READ_BUFFER_BYTES);
        Ok(())
    }

    /// Writes what a client takes at once, and closes the socket.
    pub async fn close(&mut self) {
        let close = async {
            self.flush().await?;
            Ok::<_, ConnectionError>(self.stream.shutdown().await?)
        };
        // The client is going away: there is nobody to tell about a failure.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, close).await;
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::wire::frame::Message;

    const CASES: u64 = 20_000;
    const CASES_LONG: u64 = 2_000_000;

    /// Bytes that look like messages, with bodies that look like what is in them.
    fn stream(random: &mut StdRng) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..random.random_range(1..6) {
            let mut body = Vec::new();
            for _ in 0..random.random_range(0..8) {
                match random.random_range(0..5) {
                    0 => body.extend(b"name\0"),
                    1 => body.extend(random.random_range(0u16..4).to_be_bytes()),
                    2 => body.extend(random.random_range(-2i32..9).to_be_bytes()),
                    3 => body.push(b"SP\0\xff"[random.random_range(0..4)]),
                    _ => body.push(random.random()),
                }
            }
            bytes.push(b"QPBDECHSFdcfpX"[random.random_range(0..14)]);
            let wrong = if random.random_bool(0.1) { random.random_range(-3..4) } else { 0 };
            bytes.extend((i32::try_from(body.len()).unwrap() + 4 + wrong).to_be_bytes());
            bytes.extend(body);
        }
        bytes
    }

    #[tokio::test]
    async fn whatever_arrives_is_a_message_or_an_error() {
        let long = std::env::var("STRATOS_TEST_LONG").is_ok_and(|value| !value.is_empty() && value != "0");
        let (mut messages, mut refused) = (0, 0);
        for seed in 0..if long { CASES_LONG } else { CASES } {
            let bytes = stream(&mut StdRng::seed_from_u64(seed));
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            drop(theirs);
            let mut connection = Connection::new(Box::new(ours), BytesMut::from(&bytes[..]), 1 << 10);
            while let Ok((kind, body)) = connection.message().await {
                match Message::decode(kind, &body) {
                    Ok(_) => messages += 1,
                    // The stream goes on behind it.
                    Err(_) => refused += 1,
                }
            }
        }
        // Both ways were taken often.
        assert!(messages > CASES / 10 && refused > CASES / 10, "{messages} messages, {refused} refused");
    }
}
