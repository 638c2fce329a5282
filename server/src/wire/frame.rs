//! Messages of clients, taken apart where they lie in the input: nothing is copied that is not kept, and no length is trusted.
//!
//! | kind | body |
//! |---|---|
//! | `Q` Query, `f` CopyFail | text |
//! | `P` Parse | name, text, n, n × OID |
//! | `B` Bind | portal, statement, n, n × format, m, m × (length or -1, bytes), k, k × format |
//! | `D` Describe, `C` Close | `S` or `P`, name |
//! | `E` Execute | portal, limit on rows |
//! | `H` Flush, `S` Sync, `c` CopyDone | nothing |
//! | `F` FunctionCall, `X` Terminate, `d` CopyData, `p` password | anything |
//!
//! Texts and names end with a zero byte; n, m and k have 16 bits, lengths, OIDs and the limit 32, unsigned but for -1.

use stratos_types::{Error, ErrorKind, Result, utf8};

/// A message has a kind and a length.
pub const HEADER_BYTES: usize = 5;
/// Messages that carry no data (Sync, Flush, Terminate and their kin) are never longer.
const SMALL_MESSAGE_BYTES_MAX: usize = 10_000;

fn violation(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ProtocolViolation, message)
}

/// Kind and whole length in bytes, kind and length field included, of the message at the front; none if that much has not
/// arrived.
///
/// # Errors
/// 08P01: an unknown kind, a length that cannot be or is over the limit. The stream cannot be followed any further.
pub fn header(input: &[u8], message_bytes_max: usize) -> Result<Option<(u8, usize)>> {
    let Some(header) = input.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let kind = header[0];
    let length = i32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    let limit = match kind {
        b'Q' | b'P' | b'B' | b'F' | b'd' | b'p' => message_bytes_max,
        b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => SMALL_MESSAGE_BYTES_MAX.min(message_bytes_max),
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

/// A client's message, taken apart where it lies.
#[derive(Debug)]
pub enum Message<'a> {
    /// Simple query.
    Query(&'a str),
    /// Prepare a statement.
    Parse {
        /// Name of the statement.
        name: &'a str,
        /// Its text.
        sql: &'a str,
        /// Types of its parameters, 0 where the client leaves it to us.
        types: Vec<u32>,
    },
    /// Give a statement its parameters.
    Bind(Bind<'a>),
    /// Tell what goes into or comes out of something.
    Describe(Object<'a>),
    /// Forget something.
    Close(Object<'a>),
    /// Run a portal.
    Execute {
        /// Its name.
        portal: &'a str,
        /// As many rows at most; 0 and less is all of them.
        rows_max: i32,
    },
    /// Send what waits.
    Flush,
    /// End of a pipeline.
    Sync,
    /// The client goes.
    Terminate,
    /// Rows of a COPY.
    CopyData(&'a [u8]),
    /// There are no more.
    CopyDone,
    /// There will be no more, and why.
    CopyFail(&'a str),
    /// A word of an authentication.
    Password,
}

/// A statement or a portal.
#[derive(Debug, Clone, Copy)]
pub enum Object<'a> {
    /// A prepared statement's name.
    Statement(&'a str),
    /// A portal's name.
    Portal(&'a str),
}

/// What Bind says.
#[derive(Debug)]
pub struct Bind<'a> {
    /// Name of the portal.
    pub portal: &'a str,
    /// Name of the statement.
    pub statement: &'a str,
    /// Formats of the parameters.
    pub parameter_formats: Vec<i16>,
    /// The parameters.
    pub parameters: Vec<Option<&'a [u8]>>,
    /// Formats of the results.
    pub result_formats: Vec<i16>,
}

impl<'a> Message<'a> {
    /// Takes the body of a message of kind `kind` apart.
    ///
    /// # Errors
    /// 08P01 and 22021 in Postgres's words, 0A000 for FunctionCall. The stream goes on behind the message.
    pub fn decode(kind: u8, body: &'a [u8]) -> Result<Message<'a>> {
        let mut body = Body(body);
        let message = match kind {
            b'Q' => Message::Query(body.text()?),
            b'f' => Message::CopyFail(body.text()?),
            b'P' => {
                let (name, sql, types) = (body.text()?, body.text()?, body.count()?);
                let (types, _) = body.bytes(types * 4)?.as_chunks();
                Message::Parse { name, sql, types: types.iter().copied().map(u32::from_be_bytes).collect() }
            }
            b'B' => {
                let (portal, statement) = (body.text()?, body.text()?);
                let parameter_formats = body.formats()?;
                let count = body.count()?;
                // A parameter takes its length at least, whatever the message claims.
                let mut parameters = Vec::with_capacity(count.min(body.0.len() / 4));
                for _ in 0..count {
                    let length = body.long()?;
                    parameters.push(match usize::try_from(length) {
                        Ok(length) => Some(body.bytes(length)?),
                        Err(_) if length == -1 => None,
                        Err(_) => return Err(violation(INSUFFICIENT)),
                    });
                }
                Message::Bind(Bind {
                    portal,
                    statement,
                    parameter_formats,
                    parameters,
                    result_formats: body.formats()?,
                })
            }
            b'D' => Message::Describe(body.object("DESCRIBE")?),
            b'C' => Message::Close(body.object("CLOSE")?),
            b'E' => Message::Execute { portal: body.text()?, rows_max: body.long()? },
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'c' => Message::CopyDone,
            // Whatever stands in these is the matter of those who read it.
            b'd' => return Ok(Message::CopyData(body.0)),
            b'X' => return Ok(Message::Terminate),
            b'p' => return Ok(Message::Password),
            _ => return Err(Error::unsupported("function call message")),
        };
        if body.0.is_empty() { Ok(message) } else { Err(violation("invalid message format")) }
    }
}

const INSUFFICIENT: &str = "insufficient data left in message";

/// What is left of a body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| violation(INSUFFICIENT))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| violation(INSUFFICIENT))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn count(&mut self) -> Result<usize> {
        self.array().map(u16::from_be_bytes).map(usize::from)
    }

    fn long(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn text(&mut self) -> Result<&'a str> {
        self.string().and_then(utf8)
    }

    fn formats(&mut self) -> Result<Vec<i16>> {
        let count = self.count()?;
        let (formats, _) = self.bytes(count * 2)?.as_chunks();
        Ok(formats.iter().copied().map(i16::from_be_bytes).collect())
    }

    fn object(&mut self, message: &str) -> Result<Object<'a>> {
        let what = self.bytes(1)?.first().copied().unwrap_or_default();
        let name = self.text()?;
        match what {
            b'S' => Ok(Object::Statement(name)),
            b'P' => Ok(Object::Portal(name)),
            other => Err(violation(format!("invalid {message} message subtype {other}"))),
        }
    }

    /// Bytes up to a zero, which is taken too.
    fn string(&mut self) -> Result<&'a [u8]> {
        let end = self.0.iter().position(|b| *b == 0).ok_or_else(|| violation("invalid string in message"))?;
        let taken = self.bytes(end)?;
        self.bytes(1)?;
        Ok(taken)
    }
}

/// Mechanism and data of a SASLInitialResponse; none if it is malformed.
pub fn sasl_initial_response(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut body = Body(body);
    let mechanism = body.string().ok()?;
    let length = usize::try_from(body.long().ok()?).ok()?;
    (body.0.len() == length).then_some((mechanism, body.0))
}

/// Names and values of a startup packet (behind its length and version) must end where it does.
///
/// # Errors
/// 08P01.
pub fn check_startup(body: &[u8]) -> Result<()> {
    let layout = || violation("invalid startup packet layout: expected terminator as last byte");
    let mut body = Body(body);
    while !body.string().map_err(|_| layout())?.is_empty() {
        body.string().map_err(|_| layout())?;
    }
    if body.0.is_empty() { Ok(()) } else { Err(layout()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: u8, body: &[u8]) -> String {
        Message::decode(kind, body).unwrap_err().message().to_owned()
    }

    #[test]
    fn well_formed_messages_pass() {
        for (kind, body) in [
            (b'Q', &b"SELECT 1\0"[..]),
            (b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"),
            (b'B', b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0"),
            (b'D', b"Ss\0"),
            (b'C', b"P\0"),
            (b'E', b"p\0\0\0\0\x05"),
            (b'S', b""),
            (b'd', b"anything"),
            (b'X', b"anything"),
        ] {
            Message::decode(kind, body).unwrap();
        }
    }

    #[test]
    fn truncated_and_overlong_bodies_do_not() {
        let bind = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0";
        for length in 0..bind.len() {
            Message::decode(b'B', &bind[..length]).unwrap_err();
        }
        assert_eq!(refused(b'Q', b"SELECT "), "invalid string in message");
        assert_eq!(refused(b'Q', b"SELECT\0 1\0"), "invalid message format");
        assert_eq!(refused(b'E', b"p\0\0\0"), INSUFFICIENT);
        assert_eq!(refused(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"), INSUFFICIENT);
        assert_eq!(refused(b'D', b"X\0"), "invalid DESCRIBE message subtype 88");
        assert_eq!(refused(b'S', b"x"), "invalid message format");
        assert_eq!(Message::decode(b'P', b"\0\xff\0\0\0").unwrap_err().kind(), ErrorKind::CharacterNotInRepertoire);
    }

    #[test]
    fn headers_are_held_to_the_limits() {
        assert_eq!(header(b"Q\0\0\0", 100).unwrap(), None);
        assert_eq!(header(b"Q\0\0\0\x08", 100).unwrap(), Some((b'Q', 9)));
        for bad in [&b"!\0\0\0\x04"[..], b"Q\0\0\0\x03", b"Q\xff\xff\xff\xff", b"Q\0\0\0\x65", b"S\0\x01\0\0"] {
            header(bad, 100).unwrap_err();
        }
    }

    #[test]
    fn startup_packets_end_with_a_terminator() {
        check_startup(b"user\0u\0\0").unwrap();
        check_startup(b"\0").unwrap();
        for bad in [&b""[..], b"user", b"user\0u", b"user\0u\0", b"user\0u\0\0x"] {
            check_startup(bad).unwrap_err();
        }
    }
}
