//! String and bytea functions. Positions count characters in text and bytes in bytea, from 1.

use std::collections::HashMap;

use stratos_types::{ArrayDatum, Datum, Error, ErrorKind, PgType, Result};

use super::args::{array, bytes, int, int4, text};
use super::limit::{too_long, value_bytes_max};
use crate::session::EvalContext;

fn out(s: impl Into<std::sync::Arc<str>>) -> Result<Datum> {
    Ok(Datum::Text(s.into()))
}

fn binary(b: impl Into<std::sync::Arc<[u8]>>) -> Result<Datum> {
    Ok(Datum::Bytea(b.into()))
}

fn count(n: usize) -> Result<Datum> {
    i32::try_from(n).map(Datum::Int4).map_err(|_| Error::out_of_range("integer"))
}

/// `length`, `char_length`; trailing blanks of char(n) do not count.
pub fn length(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    match &a[0] {
        Datum::Bytea(b) => count(b.len()),
        other if types.first() == Some(&PgType::Bpchar) => count(text(other)?.trim_end_matches(' ').chars().count()),
        other => count(text(other)?.chars().count()),
    }
}

/// `octet_length`
pub fn octet_length(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    match &a[0] {
        Datum::Bytea(b) => count(b.len()),
        other => count(text(other)?.len()),
    }
}

/// `bit_length`
pub fn bit_length(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    match &a[0] {
        Datum::Bytea(b) => count(b.len() * 8),
        other => count(text(other)?.len() * 8),
    }
}

/// A character's lower case where that is one character, as C's `towlower` has it.
pub fn lower_char(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn upper_char(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// `lower`
pub fn lower(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    out(text(&a[0])?.chars().map(lower_char).collect::<String>())
}

/// `upper`
pub fn upper(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    out(text(&a[0])?.chars().map(upper_char).collect::<String>())
}

/// `initcap`
pub fn initcap(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let mut result = String::new();
    let mut inside = false;
    for c in text(&a[0])?.chars() {
        if inside {
            result.push(lower_char(c));
        } else {
            result.push(upper_char(c));
        }
        inside = c.is_alphanumeric();
    }
    out(result)
}

/// `||` of text, `textcat`
pub fn concat(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    if a.iter().map(Datum::size_bytes).sum::<usize>() > value_bytes_max() {
        return Err(too_long());
    }
    match (&a[0], &a[1]) {
        (Datum::Bytea(x), Datum::Bytea(y)) => binary([&x[..], &y[..]].concat()),
        (x, y) => out([text(x)?, text(y)?].concat()),
    }
}

/// `text || anything` and the reverse: by the other's text output.
pub fn concat_any(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let mut result = String::new();
    for (value, ty) in a.iter().zip(types) {
        crate::eval::write_text(ctx, value, *ty, &mut result)?;
        if result.len() > value_bytes_max() {
            return Err(too_long());
        }
    }
    out(result)
}

/// `text || any` and `any || text`: the other operand is cast to text, which a boolean's output is not.
pub fn concat_cast(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let mut result = String::new();
    for (value, ty) in a.iter().zip(types) {
        result.push_str(&crate::eval::cast_text(ctx, value, *ty)?);
    }
    out(result)
}

/// `concat(any…)`: skips NULLs.
pub fn concat_all(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    concat_any(ctx, types, a)
}

/// `concat_ws(separator, any…)`
pub fn concat_ws(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    if a[0].is_null() {
        return Ok(Datum::Null);
    }
    let separator = text(&a[0])?;
    let mut result = String::new();
    let mut first = true;
    for (value, ty) in a.iter().zip(types).skip(1) {
        if value.is_null() {
            continue;
        }
        if !first {
            result.push_str(separator);
        }
        first = false;
        crate::eval::write_text(ctx, value, *ty, &mut result)?;
        if result.len() > value_bytes_max() {
            return Err(too_long());
        }
    }
    out(result)
}

/// Start (from 0) and end of `substring(… from start for length)` in `total` units.
fn slice_bounds(start: i64, length: Option<i64>, total: usize) -> Result<(usize, usize)> {
    let end = match length {
        Some(length) if length < 0 => {
            return Err(Error::new(ErrorKind::SubstringError, "negative substring length not allowed"));
        }
        Some(length) => start.saturating_add(length),
        None => i64::MAX,
    };
    let total = i64::try_from(total).unwrap_or(i64::MAX);
    let from = (start.max(1) - 1).min(total);
    let to = (end.max(1) - 1).clamp(from, total);
    Ok((from as usize, to as usize))
}

/// `substring(x from start [for length])`, `substr`
pub fn substring(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let start = int(&a[1])?;
    let length = a.get(2).map(int).transpose()?;
    match &a[0] {
        Datum::Bytea(b) => {
            let (from, to) = slice_bounds(start, length, b.len())?;
            binary(&b[from..to])
        }
        other => {
            let s = text(other)?;
            let (from, to) = slice_bounds(start, length, s.len())?;
            if s.is_ascii() {
                return out(&s[from..to]);
            }
            out(s.chars().skip(from).take(to - from).collect::<String>())
        }
    }
}

/// Byte offset of the `n`th character, or the end.
fn char_offset(s: &str, n: usize) -> usize {
    s.char_indices().nth(n).map_or(s.len(), |(i, _)| i)
}

/// How many characters `left(s, n)` keeps; a negative `n` counts from the end.
fn kept(s: &str, n: i32) -> usize {
    if n >= 0 { n as usize } else { s.chars().count().saturating_sub(n.unsigned_abs() as usize) }
}

/// `left`
pub fn left(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let s = text(&a[0])?;
    out(&s[..char_offset(s, kept(s, int4(&a[1])?))])
}

/// `right`
pub fn right(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let s = text(&a[0])?;
    let skipped = s.chars().count().saturating_sub(kept(s, int4(&a[1])?));
    out(&s[char_offset(s, skipped)..])
}

fn pad(a: &[Datum], at_left: bool) -> Result<Datum> {
    let s = text(&a[0])?;
    let wanted = int4(&a[1])?.max(0) as usize;
    let fill = a.get(2).map_or(Ok(" "), text)?;
    if wanted.saturating_mul(4) > value_bytes_max() {
        return Err(too_long());
    }
    let have = s.chars().count();
    if have >= wanted || fill.is_empty() {
        return out(&s[..char_offset(s, wanted)]);
    }
    let padding: String = fill.chars().cycle().take(wanted - have).collect();
    out(if at_left { padding + s } else { [s, &padding].concat() })
}

/// `lpad`
pub fn lpad(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    pad(a, true)
}

/// `rpad`
pub fn rpad(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    pad(a, false)
}

fn trim(a: &[Datum], at_left: bool, at_right: bool) -> Result<Datum> {
    if let Datum::Bytea(b) = &a[0] {
        let set = bytes(&a[1])?;
        let mut rest: &[u8] = b;
        while let [first, tail @ ..] = rest
            && at_left
            && set.contains(first)
        {
            rest = tail;
        }
        while let [head @ .., last] = rest
            && at_right
            && set.contains(last)
        {
            rest = head;
        }
        return binary(rest);
    }
    let set = a.get(1).map_or(Ok(" "), text)?;
    let mut s = text(&a[0])?;
    if at_left {
        s = s.trim_start_matches(|c| set.contains(c));
    }
    if at_right {
        s = s.trim_end_matches(|c| set.contains(c));
    }
    out(s)
}

/// `btrim`
pub fn btrim(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    trim(a, true, true)
}

/// `ltrim`
pub fn ltrim(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    trim(a, true, false)
}

/// `rtrim`
pub fn rtrim(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    trim(a, false, true)
}

/// `replace`
pub fn replace(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (s, from, to) = (text(&a[0])?, text(&a[1])?, text(&a[2])?);
    if from.is_empty() {
        return Ok(a[0].clone());
    }
    let grown = s.len() / from.len() * to.len();
    if grown > value_bytes_max() && s.matches(from).count() * to.len() > value_bytes_max() {
        return Err(too_long());
    }
    out(s.replace(from, to))
}

/// `translate`
pub fn translate(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let mut to = text(&a[2])?.chars();
    let mut map: HashMap<char, Option<char>> = HashMap::new();
    for c in text(&a[1])?.chars() {
        let target = to.next();
        map.entry(c).or_insert(target);
    }
    out(text(&a[0])?.chars().filter_map(|c| map.get(&c).copied().unwrap_or(Some(c))).collect::<String>())
}

/// `position(part in whole)`, `strpos(whole, part)`
pub fn strpos(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    if let (Datum::Bytea(whole), Datum::Bytea(part)) = (&a[0], &a[1]) {
        return count(memchr::memmem::find(whole, part).map_or(0, |i| i + 1));
    }
    let (whole, part) = (text(&a[0])?, text(&a[1])?);
    count(whole.find(part).map_or(0, |i| whole[..i].chars().count() + 1))
}

/// `split_part`
pub fn split_part(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (s, separator, n) = (text(&a[0])?, text(&a[1])?, int4(&a[2])?);
    if n == 0 {
        return Err(Error::new(ErrorKind::InvalidParameterValue, "field position must not be zero"));
    }
    if s.is_empty() {
        return out("");
    }
    if separator.is_empty() {
        return out(if n == 1 || n == -1 { s } else { "" });
    }
    let index = n.unsigned_abs() as usize - 1;
    // Postgres finds the separators from the left also when it counts from the right.
    let part = if n > 0 {
        s.split(separator).nth(index)
    } else {
        let parts: Vec<&str> = s.split(separator).collect();
        parts.len().checked_sub(index + 1).map(|i| parts[i])
    };
    out(part.unwrap_or(""))
}

/// `reverse`
pub fn reverse(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    out(text(&a[0])?.chars().rev().collect::<String>())
}

/// `repeat`
pub fn repeat(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (s, n) = (text(&a[0])?, int4(&a[1])?.max(0) as usize);
    if s.len().saturating_mul(n) > value_bytes_max() {
        return Err(too_long());
    }
    out(s.repeat(n))
}

/// `ascii`: the code point of the first character.
pub fn ascii(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let first = text(&a[0])?.chars().next();
    Ok(Datum::Int4(first.map_or(0, |c| c as i32)))
}

/// `chr`
pub fn chr(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let code = int4(&a[0])?;
    if code == 0 {
        return Err(Error::new(ErrorKind::ProgramLimitExceeded, "null character not permitted"));
    }
    if code < 0 {
        return Err(Error::new(ErrorKind::InvalidParameterValue, "character number must be positive"));
    }
    let too_large =
        || Error::new(ErrorKind::ProgramLimitExceeded, format!("requested character too large for encoding: {code}"));
    if code > 0x10_ffff {
        return Err(too_large());
    }
    let c = char::from_u32(code as u32).ok_or_else(|| {
        Error::new(ErrorKind::ProgramLimitExceeded, format!("requested character not valid for encoding: {code}"))
    })?;
    out(c.to_string())
}

/// `starts_with`, `^@`
pub fn starts_with(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::Bool(text(&a[0])?.starts_with(text(&a[1])?)))
}

/// `overlay(s placing new from start [for length])`
pub fn overlay(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let start = int(&a[2])?;
    if start <= 0 {
        return Err(Error::new(ErrorKind::SubstringError, "negative substring length not allowed"));
    }
    let end_fits = |length: i64| match i32::try_from(start + length) {
        Ok(_) => Ok(length),
        Err(_) => Err(Error::out_of_range("integer")),
    };
    match (&a[0], &a[1]) {
        (Datum::Bytea(s), Datum::Bytea(new)) => {
            let length = a.get(3).map_or(Ok(new.len() as i64), int)?;
            let length = end_fits(length)?;
            let (head, _) = slice_bounds(start, None, s.len())?;
            let (tail, _) = slice_bounds(start.saturating_add(length), None, s.len())?;
            binary([&s[..head], new, &s[tail..]].concat())
        }
        (s, new) => {
            let (s, new) = (text(s)?, text(new)?);
            let length = a.get(3).map_or_else(|| Ok(new.chars().count() as i64), int)?;
            let length = end_fits(length)?;
            let total = s.chars().count();
            let (head, _) = slice_bounds(start, None, total)?;
            let (tail, _) = slice_bounds(start.saturating_add(length), None, total)?;
            out([&s[..char_offset(s, head)], new, &s[char_offset(s, tail)..]].concat())
        }
    }
}

/// `to_hex`
pub fn to_hex(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    match &a[0] {
        Datum::Int4(v) => out(format!("{v:x}")),
        other => out(format!("{:x}", int(other)?)),
    }
}

/// `string_to_array(s, separator[, null])`
pub fn string_to_array(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    if a[0].is_null() {
        return Ok(Datum::Null);
    }
    let values = split_for_array(a)?;
    Ok(Datum::Array(ArrayDatum { element: PgType::Text, values }.into()))
}

/// The elements of `string_to_array` and rows of `string_to_table`; the first argument is not NULL.
pub fn split_for_array(a: &[Datum]) -> Result<Vec<Datum>> {
    let s = text(&a[0])?;
    let null = match a.get(2) {
        Some(Datum::Null) | None => None,
        Some(other) => Some(text(other)?),
    };
    let element = |part: &str| {
        if null == Some(part) { Datum::Null } else { Datum::text(part) }
    };
    if s.is_empty() {
        return Ok(Vec::new());
    }
    Ok(match &a[1] {
        Datum::Null => s.chars().map(|c| element(c.encode_utf8(&mut [0; 4]))).collect(),
        separator => match text(separator)? {
            "" => vec![element(s)],
            separator => s.split(separator).map(element).collect(),
        },
    })
}

/// `array_to_string(array, separator[, null])`
pub fn array_to_string(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    if a[0].is_null() || a[1].is_null() {
        return Ok(Datum::Null);
    }
    let values = array(&a[0])?;
    let separator = text(&a[1])?;
    let null = match a.get(2) {
        Some(Datum::Null) | None => None,
        Some(other) => Some(text(other)?),
    };
    let mut result = String::new();
    let mut first = true;
    for value in &values.values {
        if value.is_null() && null.is_none() {
            continue;
        }
        if !first {
            result.push_str(separator);
        }
        first = false;
        match (value, null) {
            (Datum::Null, Some(null)) => result.push_str(null),
            (value, _) => crate::eval::write_text(ctx, value, values.element, &mut result)?,
        }
    }
    out(result)
}

/// `unistr`: `\XXXX`, `\+XXXXXX`, `\uXXXX`, `\UXXXXXXXX`, `\\`
pub fn unistr(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let invalid = |message: &str| Error::new(ErrorKind::SyntaxError, message.to_owned());
    let mut rest = text(&a[0])?;
    let mut units: Vec<u16> = Vec::new();
    while let Some(i) = rest.find('\\') {
        units.extend(rest[..i].encode_utf16());
        let tail = &rest[i + 1..];
        if let Some(after) = tail.strip_prefix('\\') {
            units.push(u16::from(b'\\'));
            rest = after;
            continue;
        }
        let (digits, skip) = match tail.as_bytes().first() {
            Some(b'u') => (4, 1),
            Some(b'U') => (8, 1),
            Some(b'+') => (6, 1),
            _ => (4, 0),
        };
        let code = tail
            .get(skip..skip + digits)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|d| u32::from_str_radix(d, 16).ok())
            .ok_or_else(|| {
                invalid("invalid Unicode escape")
                    .with_hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
            })?;
        if let Ok(unit) = u16::try_from(code) {
            if unit == 0 {
                return Err(Error::new(ErrorKind::SyntaxError, "invalid Unicode code point: 0000"));
            }
            units.push(unit);
        } else {
            let c = char::from_u32(code).ok_or_else(|| {
                Error::new(ErrorKind::InvalidParameterValue, format!("invalid Unicode code point: {code:04X}"))
            })?;
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
        rest = &tail[skip + digits..];
    }
    units.extend(rest.encode_utf16());
    out(String::from_utf16(&units).map_err(|_| invalid("invalid Unicode surrogate pair"))?)
}

/// `get_byte(bytea, n)`, from 0
pub fn get_byte(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (b, n) = (bytes(&a[0])?, int(&a[1])?);
    let byte = usize::try_from(n).ok().and_then(|n| b.get(n));
    byte.map(|v| Datum::Int4(i32::from(*v))).ok_or_else(|| bad_index(n, b.len()))
}

/// `set_byte(bytea, n, value)`
pub fn set_byte(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (mut b, n) = (bytes(&a[0])?.to_vec(), int(&a[1])?);
    let total = b.len();
    let byte = usize::try_from(n).ok().and_then(|n| b.get_mut(n));
    *byte.ok_or_else(|| bad_index(n, total))? = int4(&a[2])? as u8;
    binary(b)
}

/// `get_bit(bytea, n)`, from 0
pub fn get_bit(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (b, n) = (bytes(&a[0])?, int(&a[1])?);
    let byte = usize::try_from(n / 8).ok().and_then(|i| b.get(i));
    match byte {
        Some(byte) if n >= 0 => Ok(Datum::Int4(i32::from(byte >> (n % 8) & 1))),
        _ => Err(bad_index(n, b.len() * 8)),
    }
}

/// `set_bit(bytea, n, value)`
pub fn set_bit(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (mut b, n, value) = (bytes(&a[0])?.to_vec(), int(&a[1])?, int4(&a[2])?);
    let total = b.len() * 8;
    let byte = usize::try_from(n / 8).ok().and_then(|i| b.get_mut(i));
    let Some(byte) = byte.filter(|_| n >= 0) else {
        return Err(bad_index(n, total));
    };
    match value {
        0 => *byte &= !(1 << (n % 8)),
        1 => *byte |= 1 << (n % 8),
        _ => {
            return Err(Error::new(ErrorKind::InvalidParameterValue, "new bit must be 0 or 1"));
        }
    }
    binary(b)
}

fn bad_index(n: i64, total: usize) -> Error {
    Error::new(ErrorKind::ArraySubscriptError, format!("index {n} out of valid range, 0..{}", total as i64 - 1))
}

/// `bit_count(bytea)`
pub fn bit_count(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let ones: u64 = bytes(&a[0])?.iter().map(|b| u64::from(b.count_ones())).sum();
    Ok(Datum::Int8(ones as i64))
}
