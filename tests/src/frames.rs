//! The wire protocol byte by byte, for what no driver would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::client::Server;

/// How long an answer may take. Generous: the machine may be compiling.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// Protocol 3.0.
const PROTOCOL: i32 = 3 << 16;

/// A message of the server: its kind and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Kind byte.
    pub kind: char,
    /// Body without the length.
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an error or a notice by its code: `C` is the SQLSTATE, `M` the message.
    pub fn field(&self, code: u8) -> Option<String> {
        let fields = self.body.split(|b| *b == 0);
        fields.filter(|f| f.first() == Some(&code)).map(|f| String::from_utf8_lossy(&f[1..]).into_owned()).next()
    }

    /// Columns of a data row, `None` for null.
    pub fn columns(&self) -> Vec<Option<Vec<u8>>> {
        let mut columns = Vec::new();
        let mut rest = &self.body[2..];
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            columns.push(length.map(|length| after[..length].to_vec()));
            rest = &after[length.unwrap_or(0)..];
        }
        columns
    }
}

/// A connection that sends what it is told.
#[derive(Debug)]
pub struct Frames {
    socket: TcpStream,
    /// Process id and secret, for cancel requests.
    pub key: (i32, i32),
}

/// A message with a kind byte and a length.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(i32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A packet without a kind byte: a request code and what follows.
pub fn packet(code: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = i32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
    bytes.extend(code.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Text with its terminating zero.
fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// `Query`.
pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', &text(sql))
}

/// `Parse` without declared parameter types.
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    parse_typed(name, sql, &[])
}

/// `Parse` with OIDs of parameter types; 0 leaves one open.
pub fn parse_typed(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = [text(name), text(sql)].concat();
    body.extend(u16::try_from(types.len()).unwrap().to_be_bytes());
    body.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
    frame(b'P', &body)
}

/// `Bind` with parameters in text and results in text.
pub fn bind(portal: &str, statement: &str, parameters: &[&str]) -> Vec<u8> {
    let parameters: Vec<_> = parameters.iter().map(|value| Some(value.as_bytes())).collect();
    bind_values(portal, statement, &[], &parameters, &[])
}

/// `Bind` with parameters in binary and results in text.
pub fn bind_binary(portal: &str, statement: &str, parameters: &[&[u8]]) -> Vec<u8> {
    let parameters: Vec<_> = parameters.iter().map(|value| Some(*value)).collect();
    bind_values(portal, statement, &[1], &parameters, &[])
}

/// `Bind` without parameters, with formats of the results.
pub fn bind_formats(portal: &str, statement: &str, formats: &[u16]) -> Vec<u8> {
    bind_values(portal, statement, &[], &[], formats)
}

/// `Bind` with formats of parameters, their values (none is NULL) and formats of results.
pub fn bind_values(
    portal: &str,
    statement: &str,
    formats: &[u16],
    parameters: &[Option<&[u8]>],
    results: &[u16],
) -> Vec<u8> {
    let list = |formats: &[u16]| {
        let count = u16::try_from(formats.len()).unwrap();
        [count].iter().chain(formats).flat_map(|code| code.to_be_bytes()).collect::<Vec<u8>>()
    };
    let mut body = [text(portal), text(statement), list(formats)].concat();
    body.extend(u16::try_from(parameters.len()).unwrap().to_be_bytes());
    for parameter in parameters {
        let length = parameter.map_or(-1, |value| i32::try_from(value.len()).unwrap());
        body.extend(length.to_be_bytes());
        body.extend(parameter.unwrap_or_default());
    }
    body.extend(list(results));
    frame(b'B', &body)
}

/// `Describe` of a statement (`b'S'`) or a portal (`b'P'`).
pub fn describe(what: u8, name: &str) -> Vec<u8> {
    frame(b'D', &[vec![what], text(name)].concat())
}

/// `Execute` with a limit on rows; 0 is none.
pub fn execute(portal: &str, rows: i32) -> Vec<u8> {
    frame(b'E', &[text(portal), rows.to_be_bytes().to_vec()].concat())
}

/// `Close` of a statement or a portal.
pub fn close(what: u8, name: &str) -> Vec<u8> {
    frame(b'C', &[vec![what], text(name)].concat())
}

/// `Sync`.
pub fn sync() -> Vec<u8> {
    frame(b'S', &[])
}

impl Frames {
    /// A connection on which nothing was said yet.
    pub fn raw(server: &Server) -> Frames {
        let socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.set_read_timeout(Some(ANSWER_PATIENCE)).unwrap();
        socket.set_write_timeout(Some(ANSWER_PATIENCE)).unwrap();
        Frames { socket, key: (0, 0) }
    }

    /// What the server says to a startup message with further parameters.
    pub fn start(server: &Server, parameters: &[(&str, &str)]) -> (Frames, Vec<Message>) {
        let mut frames = Frames::raw(server);
        let mut body = [text("user"), text(&server.user), text("database"), text(&server.database)].concat();
        for (name, value) in parameters {
            body.extend([text(name), text(value)].concat());
        }
        body.push(0);
        frames.send(&packet(PROTOCOL, &body));
        let said = frames.until_ready();
        (frames, said)
    }

    /// A connection ready for queries.
    pub fn connect(server: &Server) -> Frames {
        let (mut frames, said) = Frames::start(server, &[]);
        for message in said {
            match (message.kind, message.body.as_slice()) {
                ('K', key) => {
                    let number = |at: usize| i32::from_be_bytes(key[at..at + 4].try_into().unwrap());
                    frames.key = (number(0), number(4));
                }
                ('R', [0, 0, 0, 0]) | ('S' | 'Z' | 'N', _) => {}
                other => panic!("unexpected at the start: {other:?}"),
            }
        }
        frames
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Sends bytes of which the server may refuse some by closing.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// Says that nothing more will come.
    pub fn finish(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// One byte: the answer to a negotiation.
    pub fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.socket.read_exact(&mut byte).ok().map(|()| byte[0])
    }

    /// Whether nothing comes for so long.
    pub fn is_silent(&mut self, patience: Duration) -> bool {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let waited = self.socket.peek(&mut [0]);
        self.socket.set_read_timeout(Some(ANSWER_PATIENCE)).unwrap();
        waited.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Everything until the server closes; silence for a long time fails the test.
    pub fn until_closed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => return bytes,
                Ok(n) => bytes.extend(&chunk[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the server neither answers nor closes; it said {bytes:?}")
                }
                Err(_) => return bytes,
            }
        }
    }

    /// The next message; `None` when the server has closed.
    pub fn message(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        match self.socket.read_exact(&mut head) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server does not answer")
            }
            Err(_) => return None,
        }
        let length = i32::from_be_bytes(head[1..].try_into().unwrap());
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        self.socket.read_exact(&mut body).ok()?;
        Some(Message { kind: char::from(head[0]), body })
    }

    /// Messages up to and with the next `ReadyForQuery`, or until the server closes.
    pub fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.message() {
            let done = message.kind == 'Z';
            messages.push(message);
            if done {
                break;
            }
        }
        messages
    }

    /// Sends, and gives the first columns of the rows that come.
    pub fn values(&mut self, bytes: &[u8]) -> Vec<String> {
        self.send(bytes);
        let rows = self.until_ready().into_iter().filter(|message| message.kind == 'D');
        rows.map(|row| String::from_utf8(row.columns()[0].clone().unwrap_or_default()).unwrap()).collect()
    }

    /// Sends, and gives the kinds of the messages up to the next `ReadyForQuery`, with the SQLSTATE behind an error.
    pub fn kinds(&mut self, bytes: &[u8]) -> String {
        self.send(bytes);
        let messages = self.until_ready();
        messages
            .iter()
            .filter(|message| !matches!(message.kind, 'S' | 'N'))
            .map(|message| match message.kind {
                'E' => format!("E({})", message.field(b'C').unwrap_or_default()),
                'Z' => format!("Z{}", char::from(message.body[0])),
                kind => kind.to_string(),
            })
            .collect()
    }
}
