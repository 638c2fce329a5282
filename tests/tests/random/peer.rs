//! The two servers and what they answer.

use std::collections::BTreeMap;

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, Message, close, describe, execute, frame, parse, query, sync};

/// What a server says to a statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Names and types (OIDs) of the columns. Not their modifiers: PostgreSQL takes those of what is left of an expression when
    /// its constants are computed.
    pub columns: Vec<(String, u32)>,
    /// Rows as they came on the wire.
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    /// Command tags.
    pub tags: Vec<String>,
    /// SQLSTATE of the error.
    pub error: Option<String>,
    /// What the error says; not compared.
    pub message: Said,
}

/// Text that differs without making a difference.
#[derive(Debug, Clone, Default)]
pub struct Said(pub String);

impl PartialEq for Said {
    fn eq(&self, _: &Said) -> bool {
        true
    }
}

impl Eq for Said {}

impl Answer {
    fn of(messages: &[Message]) -> Answer {
        let mut answer = Answer::default();
        for message in messages {
            match message.kind {
                'T' => answer.columns = described(&message.body),
                'D' => answer.rows.push(message.columns()),
                'C' => answer.tags.push(zeroed(&message.body)),
                'E' => {
                    answer.error = message.field(b'C');
                    answer.message = Said(message.field(b'M').unwrap_or_default());
                }
                _ => {}
            }
        }
        if answer.error.is_some() {
            // How many rows came before is a matter of the plan.
            answer.rows.clear();
            answer.columns.clear();
        }
        answer
    }

    /// With the rows in an order of their own.
    pub fn sorted(mut self) -> Answer {
        self.rows.sort();
        self
    }

    /// Every NaN in the same bits: PostgreSQL sends those that the processor made, and a NaN has no sign.
    fn with_one_nan(&mut self, columns: &[(String, u32)]) {
        const FLOAT4: u32 = 700;
        const FLOAT8: u32 = 701;
        for row in &mut self.rows {
            for (value, (_, oid)) in row.iter_mut().zip(columns) {
                let Some(bytes) = value else { continue };
                match *oid {
                    FLOAT4 if f32::from_be_bytes(bytes[..].try_into().unwrap()).is_nan() => {
                        *bytes = f32::NAN.to_be_bytes().to_vec();
                    }
                    FLOAT8 if f64::from_be_bytes(bytes[..].try_into().unwrap()).is_nan() => {
                        *bytes = f64::NAN.to_be_bytes().to_vec();
                    }
                    _ => {}
                }
            }
        }
    }

    /// For people.
    pub fn shown(&self) -> String {
        if let Some(code) = &self.error {
            return format!("{code}: {}", self.message.0);
        }
        let value = |value: &Option<Vec<u8>>| match value {
            None => "NULL".to_owned(),
            Some(bytes) => String::from_utf8(bytes.clone()).unwrap_or_else(|_| format!("{bytes:02x?}")),
        };
        let rows = self.rows.iter().take(ROWS_SHOWN).map(|row| row.iter().map(value).collect::<Vec<_>>().join(" | "));
        let rows: Vec<String> = rows.collect();
        format!("{:?} {:?} {} rows\n      {}", self.tags, self.columns, self.rows.len(), rows.join("\n      "))
    }
}

/// Rows of an answer that a report shows.
const ROWS_SHOWN: usize = 10;

fn zeroed(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Takes a `RowDescription` apart: after each name come table, column, type, size, modifier and format.
fn described(body: &[u8]) -> Vec<(String, u32)> {
    const REST: usize = 18;
    let mut columns = Vec::new();
    let mut rest = &body[2..];
    while !rest.is_empty() {
        let name = zeroed(rest);
        let facts = &rest[name.len() + 1..];
        let oid = u32::from_be_bytes(facts[6..10].try_into().unwrap());
        columns.push((name, oid));
        rest = &facts[REST..];
    }
    columns
}

/// A parameter of an execution.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether they are binary.
    pub binary: bool,
}

/// A connection to one of them.
pub struct Peer {
    frames: Frames,
    binaries: BTreeMap<(&'static str, &'static str), Vec<u8>>,
}

impl Peer {
    /// A session with the same settings on both.
    pub fn connect(server: &Server) -> Peer {
        let mut peer = Peer { frames: Frames::connect(server), binaries: BTreeMap::new() };
        let settings =
            "set timezone to 'Europe/Berlin'; set statement_timeout to '30s'; set client_min_messages to error";
        assert_eq!(peer.simple(settings).error, None);
        peer
    }

    /// A simple query.
    pub fn simple(&mut self, sql: &str) -> Answer {
        self.frames.send(&query(sql));
        Answer::of(&self.frames.until_ready())
    }

    /// A prepared statement, executed once for each list of parameters.
    pub fn prepared(&mut self, sql: &str, executions: &[Vec<Parameter>], binary_results: bool) -> Vec<Answer> {
        self.frames.send(&[parse("p", sql), describe(b'S', "p"), sync()].concat());
        let mut answers = vec![Answer::of(&self.frames.until_ready())];
        for parameters in executions {
            if answers[0].error.is_some() {
                break;
            }
            self.frames.send(&[bind(parameters, binary_results), execute("", 0), sync()].concat());
            let mut answer = Answer::of(&self.frames.until_ready());
            if binary_results {
                answer.with_one_nan(&answers[0].columns);
            }
            answers.push(answer);
        }
        self.frames.send(&[close(b'S', "p"), sync()].concat());
        self.frames.until_ready();
        answers
    }

    /// A value in the binary format of its type.
    pub fn binary(&mut self, text: &'static str, ty: &'static str) -> Vec<u8> {
        if let Some(known) = self.binaries.get(&(text, ty)) {
            return known.clone();
        }
        let parameter = Parameter { bytes: text.into(), binary: false };
        let answers = self.prepared(&format!("select $1::{ty}"), &[vec![parameter]], true);
        let bytes = answers[1].rows[0][0].clone().unwrap_or_default();
        self.binaries.insert((text, ty), bytes.clone());
        bytes
    }
}

fn bind(parameters: &[Parameter], binary_results: bool) -> Vec<u8> {
    let count = u16::try_from(parameters.len()).unwrap().to_be_bytes();
    let mut body = b"\0p\0".to_vec();
    body.extend(count);
    body.extend(parameters.iter().flat_map(|parameter| u16::from(parameter.binary).to_be_bytes()));
    body.extend(count);
    for parameter in parameters {
        body.extend(i32::try_from(parameter.bytes.len()).unwrap().to_be_bytes());
        body.extend(&parameter.bytes);
    }
    body.extend([0, 1]);
    body.extend(u16::from(binary_results).to_be_bytes());
    frame(b'B', &body)
}
