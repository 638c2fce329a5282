//! Array and record literals.

use crate::{ArrayDatum, Datum, Error, ErrorKind, FormatOptions, PgType, Result};

fn malformed(input: &str, detail: &str) -> Error {
    Error::new(ErrorKind::InvalidTextRepresentation, format!("malformed array literal: \"{input}\""))
        .with_detail(detail)
}

/// Why a literal with inner braces is refused: they do not match, or the array has several dimensions.
fn nested(input: &str, body: &str) -> Error {
    let mut depth = 1;
    let mut quoted = false;
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth -= 1,
            _ => {}
        }
    }
    if depth > 0 || quoted {
        malformed(input, "Unexpected end of input.")
    } else {
        Error::unsupported("an array of several dimensions")
    }
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
                Some('{') => return Err(nested(input, body)),
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
