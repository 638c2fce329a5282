//! Reading of JSON text: a checked tree, exact slices of members, and Postgres's errors.

use crate::{Error, ErrorKind, Numeric, Result};

/// Deepest nesting of arrays and objects that is taken.
pub(super) const MAX_DEPTH: u32 = 500;

/// How much of a text an error's context repeats.
const MAX_CONTEXT_CHARS: usize = 60;

/// A JSON value. Objects keep their members in the order of the text, duplicates too, until made canonical.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// The number's text.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Reads JSON text piece by piece.
pub(super) struct Scanner<'a> {
    text: &'a str,
    pub at: usize,
    escapes: Escapes,
}

/// What is done with escapes of characters in strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// Their form is checked: text that is json may name what is no character, as long as nobody reads it.
    Checked,
    /// They are read.
    Read,
    /// They are read, and must be characters of a text, which jsonb's are (`\u0000` is none).
    Text,
}

/// Letters, digits and whatever is not ASCII: what a misspelt word runs on with.
fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str, escapes: Escapes) -> Self {
        Scanner { text, at: 0, escapes }
    }

    fn fail(&self, detail: impl Into<String>) -> Error {
        let upto: String = self.text.chars().take(MAX_CONTEXT_CHARS).collect();
        Error::new(ErrorKind::InvalidTextRepresentation, "invalid input syntax for type json")
            .with_detail(detail)
            .with_context(format!("JSON data, line 1: {upto}"))
    }

    fn invalid(&self, token: &str) -> Error {
        self.fail(format!("Token \"{token}\" is invalid."))
    }

    /// The word at the position; empty where there is none.
    fn word(&self) -> &'a str {
        let bytes = &self.text.as_bytes()[self.at..];
        let length = bytes.iter().take_while(|b| is_word(**b)).count();
        &self.text[self.at..self.at + length]
    }

    /// The error of a token that does not fit; of one that is none at all, that error.
    fn expected(&self, what: &str) -> Error {
        let mut probe = Scanner { text: self.text, at: self.at, escapes: self.escapes };
        let rest = &self.text[self.at..];
        let found = match rest.chars().next() {
            None => return self.fail("The input string ended unexpectedly."),
            Some('{' | '}' | '[' | ']' | ',' | ':') => &rest[..1],
            Some('"') => match probe.string() {
                Ok(_) => &self.text[self.at..probe.at],
                Err(error) => return error,
            },
            Some('-' | '0'..='9') => match probe.number() {
                Ok(number) => number,
                Err(error) => return error,
            },
            Some(c) => match self.word() {
                "" => return self.invalid(&rest[..c.len_utf8()]),
                word @ ("true" | "false" | "null") => word,
                word => return self.invalid(word),
            },
        };
        self.fail(format!("Expected {what}, but found \"{found}\"."))
    }

    pub fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    /// After the value only blanks may come.
    pub fn end(&mut self) -> Result<()> {
        self.blanks();
        if self.at < self.text.len() {
            return Err(self.expected("end of input"));
        }
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4);
        match digits
            .and_then(|d| d.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(d, 16).ok()).flatten())
        {
            Some(n) => {
                self.at += 4;
                Ok(n)
            }
            None => Err(self.fail("\"\\u\" must be followed by four hexadecimal digits.")),
        }
    }

    pub fn string(&mut self) -> Result<String> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(c) = rest.chars().next() else {
                self.at = start;
                let token = &self.text[start..];
                return Err(self.fail(format!("Token \"{token}\" is invalid.")));
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(out),
                '\\' => {
                    let Some(escape) = rest[1..].chars().next() else {
                        continue;
                    };
                    self.at += escape.len_utf8();
                    match escape {
                        '"' | '\\' | '/' => out.push(escape),
                        'b' => out.push('\u{8}'),
                        'f' => out.push('\u{c}'),
                        'n' => out.push('\n'),
                        'r' => out.push('\r'),
                        't' => out.push('\t'),
                        'u' => self.unicode(&mut out)?,
                        other => {
                            return Err(self.fail(format!("Escape sequence \"\\{other}\" is invalid.")));
                        }
                    }
                }
                c if c < ' ' => {
                    return Err(self.fail(format!("Character with value 0x{:02x} must be escaped.", c as u32)));
                }
                c => out.push(c),
            }
        }
    }

    fn unicode(&mut self, out: &mut String) -> Result<()> {
        let code = self.hex4()?;
        let code = match code {
            _ if self.escapes == Escapes::Checked => return Ok(()),
            0xd800..0xdc00 => {
                let low = if self.text[self.at..].starts_with("\\u") {
                    self.at += 2;
                    self.hex4()?
                } else {
                    0
                };
                if !(0xdc00..0xe000).contains(&low) {
                    return Err(self.fail("Unicode low surrogate must follow a high surrogate."));
                }
                0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)
            }
            0xdc00..0xe000 => {
                return Err(self.fail("Unicode low surrogate must follow a high surrogate."));
            }
            0 if self.escapes == Escapes::Text => {
                return Err(Error::new(ErrorKind::UntranslatableCharacter, "unsupported Unicode escape sequence")
                    .with_detail("\\u0000 cannot be converted to text."));
            }
            code => code,
        };
        out.extend(char::from_u32(code));
        Ok(())
    }

    fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let digits = |mut i: usize| {
            while bytes.get(i).is_some_and(u8::is_ascii_digit) {
                i += 1;
            }
            i
        };
        let mut i = start + usize::from(bytes[start] == b'-');
        let mut valid = true;
        match bytes.get(i) {
            // Nothing follows a leading zero.
            Some(b'0') => i += 1,
            Some(b'1'..=b'9') => i = digits(i),
            _ => valid = false,
        }
        if bytes.get(i) == Some(&b'.') {
            let fraction = i + 1;
            i = digits(fraction);
            valid &= i > fraction;
        }
        if matches!(bytes.get(i), Some(b'e' | b'E')) {
            let mut exponent = i + 1;
            exponent += usize::from(matches!(bytes.get(exponent), Some(b'+' | b'-')));
            i = digits(exponent);
            valid &= i > exponent;
        }
        let end = i + bytes[i..].iter().take_while(|b| is_word(**b)).count();
        if !valid || end > i {
            return Err(self.invalid(&self.text[start..end]));
        }
        self.at = i;
        Ok(&self.text[start..i])
    }

    /// The next value.
    pub fn value(&mut self, depth: u32) -> Result<Json> {
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded"));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                let mut members = Vec::new();
                self.blanks();
                if self.eat(b'}') {
                    return Ok(Json::Object(members));
                }
                loop {
                    self.blanks();
                    if self.peek() != Some(b'"') {
                        return Err(self.expected(if members.is_empty() { "string or \"}\"" } else { "string" }));
                    }
                    let key = self.string()?;
                    self.blanks();
                    if !self.eat(b':') {
                        return Err(self.expected("\":\""));
                    }
                    let value = self.value(depth + 1)?;
                    members.push((key, value));
                    self.blanks();
                    if self.eat(b'}') {
                        return Ok(Json::Object(members));
                    }
                    if !self.eat(b',') {
                        return Err(self.expected("\",\" or \"}\""));
                    }
                }
            }
            Some(b'[') => {
                self.at += 1;
                let mut elements = Vec::new();
                self.blanks();
                if self.eat(b']') {
                    return Ok(Json::Array(elements));
                }
                loop {
                    elements.push(self.value(depth + 1)?);
                    self.blanks();
                    if self.eat(b']') {
                        return Ok(Json::Array(elements));
                    }
                    if !self.eat(b',') {
                        return Err(self.expected("\",\" or \"]\""));
                    }
                }
            }
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => Ok(Json::Number(self.number()?.to_owned())),
            _ => {
                for (word, value) in [("true", Json::Bool(true)), ("false", Json::Bool(false)), ("null", Json::Null)] {
                    if self.word() == word {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.expected("JSON value"))
            }
        }
    }

    /// The exact text of the next value.
    pub fn slice(&mut self, depth: u32) -> Result<&'a str> {
        self.blanks();
        let start = self.at;
        self.value(depth)?;
        Ok(&self.text[start..self.at])
    }
}

/// Parses a whole text.
pub(super) fn parse(text: &str, escapes: Escapes) -> Result<Json> {
    let mut scanner = Scanner::new(text, escapes);
    let value = scanner.value(0)?;
    scanner.end()?;
    Ok(value)
}

impl Json {
    /// jsonb's form: numbers as numerics, keys unique (the last wins) and ordered by length, then bytes.
    pub fn canonical(self) -> Result<Json> {
        Ok(match self {
            Json::Number(text) => Json::Number(Numeric::parse(&text)?.to_string()),
            Json::Array(elements) => Json::Array(elements.into_iter().map(Json::canonical).collect::<Result<_>>()?),
            Json::Object(members) => {
                let mut members =
                    members.into_iter().map(|(k, v)| Ok((k, v.canonical()?))).collect::<Result<Vec<_>>>()?;
                sort_members(&mut members);
                Json::Object(members)
            }
            other => other,
        })
    }

    /// Appends the text with one blank after `:` and `,`.
    pub fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Number(text) => out.push_str(text),
            Json::String(text) => super::write_string(out, text),
            Json::Array(elements) => {
                out.push('[');
                for (i, element) in elements.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    super::write_string(out, key);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Orders members by length of the key, then bytes; of equal keys the last stays.
pub(super) fn sort_members(members: &mut Vec<(String, Json)>) {
    members.reverse();
    members.sort_by(|(a, _), (b, _)| (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())));
    members.dedup_by(|later, kept| later.0 == kept.0);
}
