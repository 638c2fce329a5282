//! json and jsonb: validation, jsonb's canonical text, and what the operators and functions need.
//!
//! jsonb is kept as its canonical text: numbers as numeric prints them, keys unique and ordered by length then bytes, one
//! blank after `:` and `,`. Functions that answer a part of a json text give its exact text.

mod build;
mod edit;
mod parse;

use std::cmp::Ordering;

use crate::{Error, ErrorKind, Numeric, Result, key};
use parse::{Escapes, Json, Scanner, parse};

pub use build::{build_array, build_object, to_json, to_json_lines, to_jsonb};
pub use edit::{assign, concat, delete_index, delete_key, delete_keys, delete_path, insert, set};

/// Checks json text.
///
/// # Errors
/// 22P02; 54001 when nested too deeply.
pub fn validate(text: &str) -> Result<()> {
    parse(text, Escapes::Checked).map(|_| ())
}

/// The canonical text of jsonb.
///
/// # Errors
/// As [`validate`]; 22P05 for `\u0000`; 22003 for numbers beyond numeric.
pub fn canonicalize(text: &str) -> Result<String> {
    Ok(text_of(&parse(text, Escapes::Text)?.canonical()?))
}

fn text_of(value: &Json) -> String {
    let mut out = String::new();
    value.write(&mut out);
    out
}

/// Appends a JSON string literal.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The exact texts of the members of an object; `None` when it is none.
fn members(text: &str) -> Result<Option<Vec<(String, &str)>>> {
    let mut s = Scanner::new(text, Escapes::Read);
    s.blanks();
    if !s.eat(b'{') {
        return Ok(None);
    }
    let mut found = Vec::new();
    s.blanks();
    while s.peek() == Some(b'"') {
        let key = s.string()?;
        s.blanks();
        s.eat(b':');
        found.push((key, s.slice(1)?));
        s.blanks();
        s.eat(b',');
        s.blanks();
    }
    Ok(Some(found))
}

/// The exact texts of the elements of an array; `None` when it is none.
fn items(text: &str) -> Result<Option<Vec<&str>>> {
    let mut s = Scanner::new(text, Escapes::Read);
    s.blanks();
    if !s.eat(b'[') {
        return Ok(None);
    }
    let mut found = Vec::new();
    s.blanks();
    while s.peek().is_some_and(|b| b != b']') {
        found.push(s.slice(1)?);
        s.blanks();
        s.eat(b',');
        s.blanks();
    }
    Ok(Some(found))
}

/// `json -> key`: the exact text of the member (the last of that name), on json and jsonb text alike.
///
/// # Errors
/// Not of valid text.
pub fn get_field<'a>(text: &'a str, key: &str) -> Result<Option<&'a str>> {
    Ok(members(text)?.and_then(|m| m.into_iter().rev().find(|(k, _)| k == key).map(|(_, v)| v)))
}

/// `json -> index`: from the end when negative.
///
/// # Errors
/// Not of valid text.
pub fn get_index(text: &str, index: i32) -> Result<Option<&str>> {
    Ok(items(text)?.and_then(|items| position(index, items.len()).map(|i| items[i])))
}

/// An index, from the end when negative, if within.
fn position(index: i32, len: usize) -> Option<usize> {
    let index = i64::from(index);
    let at = if index < 0 { index + len as i64 } else { index };
    usize::try_from(at).ok().filter(|i| *i < len)
}

/// `json #> path`
///
/// # Errors
/// Not of valid text.
pub fn get_path<'a>(text: &'a str, path: &[&str]) -> Result<Option<&'a str>> {
    let mut current = text.trim();
    for step in path {
        let next = match get_field(current, step)? {
            Some(found) => Some(found),
            None => match step.trim().parse() {
                Ok(index) => get_index(current, index)?,
                Err(_) => None,
            },
        };
        match next {
            Some(found) => current = found,
            None => return Ok(None),
        }
    }
    Ok(Some(current))
}

/// What `->>` and `#>>` make of a member's text: strings without quotes, `null` is `None`.
///
/// # Errors
/// Not of valid text.
pub fn as_text(member: &str) -> Result<Option<String>> {
    let member = member.trim();
    if member == "null" {
        return Ok(None);
    }
    if member.starts_with('"') {
        return Scanner::new(member, Escapes::Text).string().map(Some);
    }
    Ok(Some(member.to_owned()))
}

fn holds(a: &Json, b: &Json, top: bool) -> bool {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            b.iter().all(|(key, value)| a.iter().find(|(k, _)| k == key).is_some_and(|(_, v)| holds(v, value, false)))
        }
        (Json::Array(a), Json::Array(b)) => b.iter().all(|value| a.iter().any(|v| holds(v, value, false))),
        // An array may contain a bare scalar, at the top only.
        (Json::Array(a), scalar) if top && !matches!(scalar, Json::Object(_)) => {
            a.iter().any(|v| holds(v, scalar, false))
        }
        (Json::Array(_) | Json::Object(_), _) | (_, Json::Array(_) | Json::Object(_)) => false,
        (a, b) => order(a, b).is_eq(),
    }
}

/// `jsonb @> jsonb`
///
/// # Errors
/// Not of valid text.
pub fn contains(a: &str, b: &str) -> Result<bool> {
    Ok(holds(&parse(a, Escapes::Text)?, &parse(b, Escapes::Text)?, true))
}

/// `jsonb ? text`: a key of an object, or a string element of an array.
///
/// # Errors
/// Not of valid text.
pub fn exists(a: &str, key: &str) -> Result<bool> {
    Ok(match parse(a, Escapes::Text)? {
        Json::Object(members) => members.iter().any(|(k, _)| k == key),
        Json::Array(items) => items.iter().any(|v| matches!(v, Json::String(s) if s == key)),
        Json::String(s) => s == key,
        _ => false,
    })
}

/// `json_typeof`
///
/// # Errors
/// Not of valid text.
pub fn type_of(a: &str) -> Result<&'static str> {
    Ok(match a.trim_start().as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    })
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

/// `json_array_length`
///
/// # Errors
/// 22023 when it is no array.
pub fn array_length(a: &str) -> Result<i32> {
    match items(a)? {
        Some(items) => i32::try_from(items.len()).map_err(|_| Error::out_of_range("integer")),
        None if type_of(a)? == "object" => Err(invalid("cannot get array length of a non-array")),
        None => Err(invalid("cannot get array length of a scalar")),
    }
}

/// `json_array_elements`: exact texts.
///
/// # Errors
/// 22023 when it is no array.
pub fn elements(a: &str) -> Result<Vec<String>> {
    match items(a)? {
        Some(items) => Ok(items.into_iter().map(str::to_owned).collect()),
        None if type_of(a)? == "object" => Err(invalid("cannot extract elements from an object")),
        None => Err(invalid("cannot extract elements from a scalar")),
    }
}

/// `json_object_keys`
///
/// # Errors
/// 22023 when it is no object.
pub fn object_keys(a: &str) -> Result<Vec<String>> {
    match members(a)? {
        Some(members) => Ok(members.into_iter().map(|(k, _)| k).collect()),
        None => Err(invalid(&format!(
            "cannot call json_object_keys on {}",
            if type_of(a)? == "array" { "an array" } else { "a scalar" }
        ))),
    }
}

/// `json_each`: keys and exact texts.
///
/// # Errors
/// 22023 when it is no object.
pub fn each(a: &str) -> Result<Vec<(String, String)>> {
    match members(a)? {
        Some(members) => Ok(members.into_iter().map(|(k, v)| (k, v.to_owned())).collect()),
        None => Err(invalid("cannot deconstruct an array as an object")),
    }
}

/// Where a kind of value stands in jsonb's order.
fn rank(v: &Json) -> u8 {
    match v {
        Json::Null => 1,
        Json::String(_) => 2,
        Json::Number(_) => 3,
        Json::Bool(_) => 4,
        Json::Array(_) => 5,
        Json::Object(_) => 6,
    }
}

/// jsonb's order: Object > Array > Boolean > Number > String > Null; an empty array at the top is least of all.
fn order(a: &Json, b: &Json) -> Ordering {
    match (a, b) {
        (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
        (Json::String(a), Json::String(b)) => a.cmp(b),
        (Json::Number(a), Json::Number(b)) => match (Numeric::parse(a), Numeric::parse(b)) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a.cmp(b),
        },
        (Json::Array(a), Json::Array(b)) => a
            .len()
            .cmp(&b.len())
            .then_with(|| a.iter().zip(b).map(|(x, y)| order(x, y)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)),
        (Json::Object(a), Json::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            a.iter()
                .zip(b)
                .map(|((k, x), (l, y))| k.cmp(l).then_with(|| order(x, y)))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        }),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// Order of two jsonb values, as Postgres's btree has it.
///
/// # Errors
/// Not of valid text.
pub fn compare(a: &str, b: &str) -> Result<Ordering> {
    let (a, b) = (parse(a, Escapes::Text)?, parse(b, Escapes::Text)?);
    let empty = |v: &Json| matches!(v, Json::Array(items) if items.is_empty());
    // Postgres compares an empty array at the top as less than anything.
    Ok(match (empty(&a), empty(&b)) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        _ => order(&a, &b),
    })
}

/// What an empty array at the top has in a key instead of its rank.
const EMPTY_AT_TOP: u8 = 0;
/// What text that is no JSON has instead of a rank: none is stored, but a key must end by itself whatever it holds.
const NO_JSON: u8 = 7;

/// Appends a jsonb as part of a key: the order of the bytes is that of [`compare`], and they end by themselves.
///
/// | value | bytes after its rank (1 null, 2 string, 3 number, 4 bool, 5 array, 6 object) |
/// |---|---|
/// | string | as text in a key |
/// | number | value part of the sortable form |
/// | bool | 0 or 1 |
/// | array | number of elements as 4 bytes big-endian, and the elements |
/// | object | number of members as 4 bytes big-endian, and per member its name as text and its value |
///
/// An empty array that is the whole value is the byte 0.
pub(crate) fn write_key(text: &str, out: &mut Vec<u8>) {
    fn count(out: &mut Vec<u8>, length: usize) {
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
    fn write(value: &Json, out: &mut Vec<u8>) {
        out.push(rank(value));
        match value {
            Json::Null => {}
            Json::String(text) => key::escape(out, text.as_bytes()),
            Json::Number(text) => match Numeric::parse(text) {
                Ok(number) => number.write_sortable(out),
                Err(_) => key::escape(out, text.as_bytes()),
            },
            Json::Bool(value) => out.push(u8::from(*value)),
            Json::Array(items) => {
                count(out, items.len());
                items.iter().for_each(|item| write(item, out));
            }
            Json::Object(members) => {
                count(out, members.len());
                for (name, value) in members {
                    key::escape(out, name.as_bytes());
                    write(value, out);
                }
            }
        }
    }
    match parse(text, Escapes::Text) {
        Ok(Json::Array(items)) if items.is_empty() => out.push(EMPTY_AT_TOP),
        Ok(value) => write(&value, out),
        Err(_) => {
            out.push(NO_JSON);
            key::escape(out, text.as_bytes());
        }
    }
}

/// Writes a value laid out over lines that are indented from `indent` on, or without any space at all.
fn write_laid_out(out: &mut String, value: &Json, indent: Option<usize>) {
    let line = |out: &mut String, indent: Option<usize>| {
        if let Some(indent) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * 4));
        }
    };
    let inner = indent.map(|indent| indent + 1);
    match value {
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(out, inner);
                write_laid_out(out, item, inner);
            }
            line(out, indent);
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (i, (key, member)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(out, inner);
                write_string(out, key);
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write_laid_out(out, member, inner);
            }
            line(out, indent);
            out.push('}');
        }
        scalar => scalar.write(out),
    }
}

/// `jsonb_pretty`
///
/// # Errors
/// Not of valid text.
pub fn pretty(a: &str) -> Result<String> {
    let mut out = String::new();
    write_laid_out(&mut out, &parse(a, Escapes::Text)?, Some(0));
    Ok(out)
}

/// `json_strip_nulls` (compact text) and `jsonb_strip_nulls` (canonical): members that are null go, at all depths.
///
/// # Errors
/// Not of valid text.
pub fn strip_nulls(a: &str, jsonb: bool) -> Result<String> {
    fn strip(value: Json) -> Json {
        match value {
            Json::Array(items) => Json::Array(items.into_iter().map(strip).collect()),
            Json::Object(members) => Json::Object(
                members.into_iter().filter(|(_, v)| *v != Json::Null).map(|(k, v)| (k, strip(v))).collect(),
            ),
            scalar => scalar,
        }
    }
    let stripped = strip(parse(a, Escapes::Read)?);
    if jsonb {
        return Ok(text_of(&stripped.canonical()?));
    }
    let mut out = String::new();
    write_laid_out(&mut out, &stripped, None);
    Ok(out)
}
