//! bool, integers, oid, bytea, uuid.

use std::str::FromStr;

use crate::numeric::is_space;
use crate::{ByteaOutput, Error, ErrorKind, Result};

pub(super) fn parse_bool(input: &str) -> Result<bool> {
    let text = input.trim_matches(is_space).to_ascii_lowercase();
    let prefix_of = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if prefix_of("true", 1) || prefix_of("yes", 1) || text == "on" || text == "1" {
        Ok(true)
    } else if prefix_of("false", 1) || prefix_of("no", 1) || prefix_of("off", 2) || text == "0" {
        Ok(false)
    } else {
        Err(Error::invalid_text("boolean", input))
    }
}

pub(super) fn parse_int<T: FromStr>(input: &str, type_name: &str) -> Result<T> {
    if let Ok(value) = input.parse() {
        return Ok(value);
    }
    let text = input.trim_matches(is_space);
    text.parse().map_err(|_| {
        // Digits beyond the range are found before what follows them.
        let sign = usize::from(text.starts_with(['+', '-']));
        let end = text.bytes().skip(sign).take_while(u8::is_ascii_digit).count() + sign;
        if end > sign && text[..end].parse::<T>().is_err() {
            Error::new(
                ErrorKind::NumericValueOutOfRange,
                format!("value \"{input}\" is out of range for type {type_name}"),
            )
        } else {
            Error::invalid_text(type_name, input)
        }
    })
}

/// oid and xid: unsigned, a negative number wraps.
pub(super) fn parse_oid(input: &str, type_name: &str) -> Result<u32> {
    let wide: i64 = parse_int(input, type_name)?;
    u32::try_from(wide).or_else(|_| i32::try_from(wide).map(|n| n as u32)).map_err(|_| {
        Error::new(ErrorKind::NumericValueOutOfRange, format!("value \"{input}\" is out of range for type {type_name}"))
    })
}

pub(super) fn parse_bytea(input: &str) -> Result<Vec<u8>> {
    if let Some(hex) = input.strip_prefix("\\x") {
        let mut out = Vec::with_capacity(hex.len() / 2);
        let mut high = None;
        for c in hex.chars() {
            let Some(digit) = c.to_digit(16) else {
                if high.is_none() && is_space(c) {
                    continue;
                }
                return Err(Error::new(
                    ErrorKind::InvalidParameterValue,
                    format!("invalid hexadecimal digit: \"{c}\""),
                ));
            };
            match high.take() {
                None => high = Some(digit),
                Some(h) => out.push((h << 4 | digit) as u8),
            }
        }
        if high.is_some() {
            return Err(Error::new(ErrorKind::InvalidParameterValue, "invalid hexadecimal data: odd number of digits"));
        }
        return Ok(out);
    }
    let bytes = input.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] != b'\\' {
            out.push(bytes[i]);
            i += 1;
            continue;
        }
        match bytes[i + 1..] {
            [b'\\', ..] => {
                out.push(b'\\');
                i += 2;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                i += 4;
            }
            _ => {
                return Err(Error::new(ErrorKind::InvalidTextRepresentation, "invalid input syntax for type bytea"));
            }
        }
    }
    Ok(out)
}

pub(super) fn write_bytea(out: &mut String, bytes: &[u8], form: ByteaOutput) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match form {
        ByteaOutput::Hex => {
            out.reserve(2 + 2 * bytes.len());
            out.push_str("\\x");
            for b in bytes {
                out.push(char::from(HEX[usize::from(b >> 4)]));
                out.push(char::from(HEX[usize::from(b & 15)]));
            }
        }
        ByteaOutput::Escape => {
            for b in bytes {
                match b {
                    b'\\' => out.push_str("\\\\"),
                    0x20..=0x7e => out.push(char::from(*b)),
                    _ => out.push_str(&format!("\\{b:03o}")),
                }
            }
        }
    }
}

/// Hyphens may stand after every four digits, braces around.
pub(super) fn parse_uuid(input: &str) -> Result<[u8; 16]> {
    let bad = || Error::invalid_text("uuid", input);
    let body = match input.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(bad)?,
        None => input,
    };
    let mut out = [0u8; 16];
    let mut digits = 0;
    let mut hyphen = true;
    for c in body.chars() {
        if c == '-' && !hyphen && digits % 4 == 0 && digits > 0 && digits < 32 {
            hyphen = true;
            continue;
        }
        let digit = c.to_digit(16).ok_or_else(bad)?;
        if digits == 32 {
            return Err(bad());
        }
        out[digits / 2] = out[digits / 2] << 4 | digit as u8;
        digits += 1;
        hyphen = false;
    }
    if digits == 32 && !hyphen { Ok(out) } else { Err(bad()) }
}
