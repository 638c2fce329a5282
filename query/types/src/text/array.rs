//! Array and record literals.

use crate::{ArrayDatum, Datum, Error, ErrorKind, FormatOptions, PgType, Result};

fn malformed(input: &str, detail: &str) -> Error {
    Error::new(ErrorKind::InvalidTextRepresentation, format!("malformed array literal: \"{input}\""))
        .with_detail(detail)
}

/// What was read last of a literal with inner braces.
#[derive(Clone, Copy, PartialEq)]
enum Read {
    LevelStart,
    LevelEnd,
    LevelComma,
    Element,
    QuotedElement,
    QuotedEnd,
    ElementComma,
}

/// Most dimensions that Postgres allows.
const MAX_DIMENSIONS: usize = 6;

/// Why a literal with inner braces is refused: it is malformed, in Postgres's words, or the array has several dimensions.
/// `text` starts with the first brace.
fn nested(input: &str, text: &str) -> Error {
    let unexpected = |c: char| malformed(input, &format!("Unexpected \"{c}\" character."));
    let ended = || malformed(input, "Unexpected end of input.");
    let mut last = Read::LevelStart;
    // Elements of each open level so far, less one; and of the levels that were closed before at the same depth.
    let mut counts = vec![1usize];
    let mut before = [0usize; MAX_DIMENSIONS];
    let mut quoted = false;
    let mut chars = text.chars().skip(1);
    while !counts.is_empty() {
        let Some(c) = chars.next() else { return ended() };
        match c {
            '\\' => {
                if !matches!(last, Read::LevelStart | Read::Element | Read::QuotedElement | Read::ElementComma) {
                    return unexpected(c);
                }
                if !quoted {
                    last = Read::Element;
                }
                if chars.next().is_none() {
                    return ended();
                }
            }
            '"' => {
                if !matches!(last, Read::LevelStart | Read::QuotedElement | Read::ElementComma) {
                    return malformed(input, "Unexpected array element.");
                }
                quoted = !quoted;
                last = if quoted { Read::QuotedElement } else { Read::QuotedEnd };
            }
            _ if quoted => {}
            '{' => {
                if !matches!(last, Read::LevelStart | Read::LevelComma) {
                    return unexpected(c);
                }
                if counts.len() >= MAX_DIMENSIONS {
                    return Error::new(
                        ErrorKind::ProgramLimitExceeded,
                        format!(
                            "number of array dimensions ({}) exceeds the maximum allowed ({MAX_DIMENSIONS})",
                            counts.len() + 1
                        ),
                    );
                }
                last = Read::LevelStart;
                counts.push(1);
            }
            '}' => {
                let empty = counts.len() == 1 && last == Read::LevelStart;
                if !empty && !matches!(last, Read::Element | Read::QuotedEnd | Read::LevelEnd) {
                    return unexpected(c);
                }
                last = Read::LevelEnd;
                let count = counts.pop().unwrap_or_default();
                let level = &mut before[counts.len()];
                if *level != 0 && *level != count {
                    return malformed(input, "Multidimensional arrays must have sub-arrays with matching dimensions.");
                }
                *level = count;
            }
            ',' => {
                last = match last {
                    Read::LevelEnd => Read::LevelComma,
                    Read::Element | Read::QuotedEnd => Read::ElementComma,
                    _ => return unexpected(c),
                };
                if let Some(count) = counts.last_mut() {
                    *count += 1;
                }
            }
            c if is_blank(c) => {}
            _ => {
                if !matches!(last, Read::LevelStart | Read::Element | Read::ElementComma) {
                    return malformed(input, "Unexpected array element.");
                }
                last = Read::Element;
            }
        }
    }
    if chars.any(|c| !is_blank(c)) {
        return malformed(input, "Junk after closing right brace.");
    }
    Error::unsupported("an array of several dimensions")
}

/// Splits a one-dimensional array literal into its elements' texts; `None` for NULL.
pub(super) fn split(input: &str) -> Result<Vec<Option<String>>> {
    let mut text = input.trim();
    if text.starts_with('[') {
        let after = text[1..].trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | ':'));
        if after.len() + 1 == text.len() {
            return Err(malformed(input, "\"[\" must introduce explicitly-specified array dimensions."));
        }
        if !after.starts_with(']') {
            return Err(malformed(input, "Missing \"]\" after array dimensions."));
        }
        let Some((bounds, rest)) = text.split_once('=') else {
            return Err(malformed(input, "Missing \"=\" after array dimensions."));
        };
        let inner = bounds.trim().strip_prefix('[').and_then(|b| b.strip_suffix(']'));
        if !inner.is_some_and(|b| !b.contains(']') && b.starts_with("1:")) {
            return Err(Error::unsupported("an array of several dimensions or with a lower bound other than 1"));
        }
        text = rest.trim();
    }
    let Some(body) = text.strip_prefix('{') else {
        return Err(malformed(input, "Array value must start with \"{\" or dimension information."));
    };
    let mut chars = body.chars().peekable();
    let mut elements = Vec::new();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let mut element = String::new();
        let mut quoted = false;
        let mut escaped = false;
        // length up to the last significant character: blanks behind an unquoted element do not count
        let mut significant = 0;
        let end = loop {
            match chars.next() {
                None => return Err(malformed(input, "Unexpected end of input.")),
                Some('"') if !quoted && element.is_empty() => {
                    quoted = true;
                    loop {
                        match chars.next() {
                            None => return Err(malformed(input, "Unexpected end of input.")),
                            Some('"') => break,
                            Some('\\') => element.extend(chars.next()),
                            Some(c) => element.push(c),
                        }
                    }
                }
                Some('"') => return Err(malformed(input, "Unexpected array element.")),
                Some('{') => return Err(nested(input, text)),
                Some(c @ (',' | '}')) => break c,
                Some(c) if c.is_ascii_whitespace() && quoted => {}
                Some(_) if quoted => {
                    return Err(malformed(input, "Unexpected array element."));
                }
                Some('\\') => {
                    escaped = true;
                    element.extend(chars.next());
                    significant = element.len();
                }
                Some(c) => {
                    element.push(c);
                    if !c.is_ascii_whitespace() {
                        significant = element.len();
                    }
                }
            }
        };
        if !quoted {
            element.truncate(significant);
        }
        if !quoted && !escaped && element.is_empty() {
            let only = end == '}' && elements.is_empty();
            if !only {
                return Err(malformed(input, &format!("Unexpected \"{end}\" character.")));
            }
        } else if !quoted && !escaped && element.eq_ignore_ascii_case("null") {
            elements.push(None);
        } else {
            elements.push(Some(element));
        }
        if end == '}' {
            break;
        }
    }
    if chars.any(|c| !c.is_ascii_whitespace()) {
        return Err(malformed(input, "Junk after closing right brace."));
    }
    Ok(elements)
}

fn put_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

pub(super) fn write(out: &mut String, array: &ArrayDatum, options: &FormatOptions) {
    out.push('{');
    for (i, element) in array.values.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        if element.is_null() {
            out.push_str("NULL");
            continue;
        }
        let text = element.to_text(array.element, options);
        let special = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || is_blank(c);
        if text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special) {
            put_quoted(out, &text);
        } else {
            out.push_str(&text);
        }
    }
    out.push('}');
}

pub(super) fn write_record(out: &mut String, fields: &[(PgType, Datum)], options: &FormatOptions) {
    out.push('(');
    for (i, (ty, field)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        if field.is_null() {
            continue;
        }
        let text = field.to_text(*ty, options);
        let special = |c: char| matches!(c, '(' | ')' | ',' | '"' | '\\') || is_blank(c);
        if text.is_empty() || text.contains(special) {
            out.push('"');
            for c in text.chars() {
                if matches!(c, '"' | '\\') {
                    out.push(c);
                }
                out.push(c);
            }
            out.push('"');
        } else {
            out.push_str(&text);
        }
    }
    out.push(')');
}
