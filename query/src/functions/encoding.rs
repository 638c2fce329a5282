//! Digests, encodings, quoting, and `format`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::args::{bytes, text, type_of};
use super::catalog_info;
use crate::eval;
use crate::session::EvalContext;

fn hex(data: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(data.len() * 2);
    for b in data {
        out.push(char::from(DIGITS[usize::from(b >> 4)]));
        out.push(char::from(DIGITS[usize::from(b & 15)]));
    }
    out
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

/// `md5`, in hexadecimal
pub fn md5(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let digest = match &a[0] {
        Datum::Bytea(b) => Md5::digest(b),
        other => Md5::digest(text(other)?.as_bytes()),
    };
    Ok(Datum::text(hex(&digest)))
}

macro_rules! digests {
    ($($name:ident $hasher:ident;)*) => {$(
        /// The digest of this name.
        pub fn $name(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
            let digest = $hasher::digest(bytes(&a[0])?);
            Ok(Datum::Bytea(digest.as_slice().into()))
        }
    )*};
}

digests! {
    sha224 Sha224;
    sha256 Sha256;
    sha384 Sha384;
    sha512 Sha512;
}

/// Postgres breaks base64 after this many characters.
const BASE64_LINE_CHARS: usize = 76;

/// `encode(bytea, format)`
pub fn encode(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (data, format) = (bytes(&a[0])?, text(&a[1])?);
    Ok(Datum::text(match format.to_ascii_lowercase().as_str() {
        "hex" => hex(data),
        "base64" => {
            let flat = STANDARD.encode(data);
            let mut out = String::with_capacity(flat.len() + flat.len() / BASE64_LINE_CHARS);
            for (i, c) in flat.chars().enumerate() {
                if i > 0 && i % BASE64_LINE_CHARS == 0 {
                    out.push('\n');
                }
                out.push(c);
            }
            out
        }
        "escape" => {
            let mut out = String::new();
            for b in data {
                match b {
                    0 | 0x80.. => out.push_str(&format!("\\{b:03o}")),
                    b'\\' => out.push_str("\\\\"),
                    b => out.push(char::from(*b)),
                }
            }
            out
        }
        _ => return Err(bad(format!("unrecognized encoding: \"{format}\""))),
    }))
}

/// `decode(text, format)`
pub fn decode(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (data, format) = (text(&a[0])?, text(&a[1])?);
    let out = match format.to_ascii_lowercase().as_str() {
        "hex" => decode_hex(data)?,
        "base64" => {
            let compact: Vec<u8> = data.bytes().filter(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t')).collect();
            let strange = data
                .chars()
                .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | ' ' | '\n' | '\r' | '\t')));
            if let Some(c) = strange {
                return Err(bad(format!("invalid symbol \"{c}\" found while decoding base64 sequence")));
            }
            STANDARD.decode(&compact).map_err(|_| {
                bad("invalid base64 end sequence")
                    .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted.")
            })?
        }
        "escape" => decode_escape(data)?,
        _ => return Err(bad(format!("unrecognized encoding: \"{format}\""))),
    };
    Ok(Datum::Bytea(out.into()))
}

fn decode_hex(data: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len() / 2);
    let mut high: Option<u32> = None;
    for c in data.chars() {
        if matches!(c, ' ' | '\n' | '\r' | '\t') && high.is_none() {
            continue;
        }
        let digit = c.to_digit(16).ok_or_else(|| bad(format!("invalid hexadecimal digit: \"{c}\"")))?;
        match high.take() {
            None => high = Some(digit),
            Some(first) => out.push((first * 16 + digit) as u8),
        }
    }
    if high.is_some() {
        return Err(bad("invalid hexadecimal data: odd number of digits"));
    }
    Ok(out)
}

fn decode_escape(data: &str) -> Result<Vec<u8>> {
    let invalid = || Error::new(ErrorKind::InvalidTextRepresentation, "invalid input syntax for type bytea");
    let mut out = Vec::with_capacity(data.len());
    let mut rest = data.as_bytes();
    loop {
        match rest {
            [] => return Ok(out),
            [b'\\', b'\\', tail @ ..] => {
                out.push(b'\\');
                rest = tail;
            }
            [b'\\', x @ b'0'..=b'3', y @ b'0'..=b'7', z @ b'0'..=b'7', tail @ ..] => {
                out.push((x - b'0') * 64 + (y - b'0') * 8 + (z - b'0'));
                rest = tail;
            }
            [b'\\', ..] => return Err(invalid()),
            [b, tail @ ..] => {
                out.push(*b);
                rest = tail;
            }
        }
    }
}

fn utf8_name(name: &str) -> bool {
    matches!(name.to_ascii_lowercase().replace(['-', '_'], "").as_str(), "utf8" | "unicode" | "sqlascii")
}

fn unknown_encoding(name: &str) -> Error {
    bad(format!("invalid encoding name \"{name}\""))
}

/// `convert_to(text, encoding)`; UTF8 and LATIN1
pub fn convert_to(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (s, name) = (text(&a[0])?, text(&a[1])?);
    if utf8_name(name) {
        return Ok(Datum::Bytea(s.as_bytes().into()));
    }
    if !name.eq_ignore_ascii_case("latin1") {
        return Err(unknown_encoding(name));
    }
    let latin: Option<Vec<u8>> = s.chars().map(|c| u8::try_from(c).ok()).collect();
    latin.map(|b| Datum::Bytea(b.into())).ok_or_else(|| {
        Error::new(
            ErrorKind::UntranslatableCharacter,
            "character in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
        )
    })
}

/// `convert_from(bytea, encoding)`; UTF8 and LATIN1
pub fn convert_from(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (data, name) = (bytes(&a[0])?, text(&a[1])?);
    if name.eq_ignore_ascii_case("latin1") {
        return Ok(Datum::text(data.iter().map(|b| char::from(*b)).collect::<String>()));
    }
    if !utf8_name(name) {
        return Err(unknown_encoding(name));
    }
    stratos_types::utf8(data).map(Datum::text)
}

/// `quote_ident`
pub fn quote_ident(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::text(catalog_info::quote_ident(text(&a[0])?)))
}

fn literal(s: &str) -> String {
    let doubled = s.replace('\'', "''");
    if s.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// `quote_literal`
pub fn quote_literal(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let s = eval::cast_text(ctx, &a[0], type_of(types, 0))?;
    Ok(Datum::text(literal(&s)))
}

/// `quote_nullable`
pub fn quote_nullable(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    if a[0].is_null() {
        return Ok(Datum::text("NULL"));
    }
    quote_literal(ctx, types, a)
}

/// `format(template, any…)`: `%[n$][-][width]{s,I,L}`
pub fn format(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    if a[0].is_null() {
        return Ok(Datum::Null);
    }
    let mut chars = text(&a[0])?.chars().peekable();
    let mut out = String::new();
    let mut next = 1;
    let argument = |i: usize| a.get(i).ok_or_else(|| bad("too few arguments for format()"));
    let unterminated = || bad("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".");
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.peek() == Some(&'%') {
            chars.next();
            out.push('%');
            continue;
        }
        let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| -> Result<Option<i32>> {
            let mut value: Option<i32> = None;
            while let Some(d) = chars.peek().and_then(|c| c.to_digit(10)) {
                chars.next();
                value = Some(
                    value
                        .unwrap_or(0)
                        .checked_mul(10)
                        .and_then(|v| v.checked_add(d as i32))
                        .ok_or_else(|| Error::new(ErrorKind::NumericValueOutOfRange, "number is out of range"))?,
                );
            }
            Ok(value)
        };
        let mut position = None;
        let mut width = number(&mut chars)?;
        if width.is_some() && chars.peek() == Some(&'$') {
            chars.next();
            position = width.take();
            if position == Some(0) {
                return Err(bad("format specifies argument 0, but arguments are numbered from 1"));
            }
        }
        let mut left = false;
        if width.is_none() {
            while chars.peek() == Some(&'-') {
                chars.next();
                left = true;
            }
            if chars.peek() == Some(&'*') {
                chars.next();
                let at = match number(&mut chars)? {
                    Some(0) => {
                        return Err(bad("format specifies argument 0, but arguments are numbered from 1"));
                    }
                    Some(n) if chars.next() == Some('$') => n as usize,
                    Some(_) => return Err(bad("width argument position must be ended by \"$\"")),
                    None => next,
                };
                // What stands next is formatted, wherever the width came from.
                next = at + 1;
                let given = match argument(at)? {
                    Datum::Null => 0,
                    Datum::Int4(width) => *width,
                    other => {
                        let text = eval::to_text(ctx, other, type_of(types, at))?;
                        super::args::int4(&Datum::from_text(PgType::Int4.into(), &text, &ctx.format)?)?
                    }
                };
                left |= given < 0;
                width = Some(given.saturating_abs());
            } else {
                width = number(&mut chars)?;
            }
        }
        let kind = chars.next().ok_or_else(unterminated)?;
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(bad(format!("unrecognized format() type specifier \"{kind}\""))
                .with_hint("For a single \"%\" use \"%%\"."));
        }
        let index = match position {
            Some(n) => n as usize,
            None => next,
        };
        next = index + 1;
        let value = argument(index)?;
        let shown = match (kind, value) {
            ('s', Datum::Null) => String::new(),
            ('L', Datum::Null) => "NULL".to_owned(),
            (_, Datum::Null) => {
                return Err(Error::new(
                    ErrorKind::NullValueNotAllowed,
                    "null values cannot be formatted as an SQL identifier",
                ));
            }
            (kind, value) => {
                let s = eval::to_text(ctx, value, type_of(types, index))?;
                match kind {
                    's' => s.into_owned(),
                    'I' => catalog_info::quote_ident(&s),
                    _ => literal(&s),
                }
            }
        };
        let missing = (width.unwrap_or(0) as usize).saturating_sub(shown.chars().count());
        if missing > MAX_WIDTH {
            return Err(bad("number is out of range"));
        }
        let padding = " ".repeat(missing);
        if left {
            out.push_str(&shown);
            out.push_str(&padding);
        } else {
            out.push_str(&padding);
            out.push_str(&shown);
        }
    }
    Ok(Datum::text(out))
}

/// Widest field of `format`, characters.
const MAX_WIDTH: usize = 1 << 24;

/// `num_nulls`
pub fn num_nulls(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let nulls = a.iter().filter(|d| d.is_null()).count();
    Ok(Datum::Int4(nulls as i32))
}

/// `num_nonnulls`
pub fn num_nonnulls(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let others = a.iter().filter(|d| !d.is_null()).count();
    Ok(Datum::Int4(others as i32))
}

/// `gen_random_uuid`
pub fn gen_random_uuid(_: &EvalContext, _: &[PgType], _: &[Datum]) -> Result<Datum> {
    let random = uuid::Builder::from_random_bytes(rand::random());
    Ok(Datum::Uuid(random.into_uuid().into_bytes()))
}
