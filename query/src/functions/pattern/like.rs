//! `LIKE` and `ILIKE`.

use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::super::args::text;
use super::super::text::lower_char;
use crate::session::EvalContext;

fn ends_with_escape() -> Error {
    Error::new(ErrorKind::InvalidEscapeSequence, "LIKE pattern must not end with escape character")
}

fn invalid_escape() -> Error {
    Error::new(ErrorKind::InvalidEscapeSequence, "invalid escape string")
        .with_hint("Escape string must be empty or one character.")
}

/// Length of the character that starts with this byte.
fn char_len(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

/// `%` any string, `_` one character (one byte where `utf8` is false), `\` takes the next literally.
fn matches(s: &[u8], pattern: &[u8], utf8: bool) -> Result<bool> {
    let width = |at: usize| if utf8 { char_len(s[at]) } else { 1 };
    let (mut i, mut p) = (0, 0);
    // After the last `%`: where the pattern goes on, and where the string was tried last.
    let mut star: Option<(usize, usize)> = None;
    while i < s.len() {
        match pattern.get(p) {
            Some(b'%') => {
                p += 1;
                star = Some((p, i));
                if p == pattern.len() {
                    return Ok(true);
                }
                continue;
            }
            Some(b'_') => {
                i += width(i);
                p += 1;
                continue;
            }
            Some(b'\\') => {
                let literal = pattern.get(p + 1).ok_or_else(ends_with_escape)?;
                if *literal == s[i] {
                    i += 1;
                    p += 2;
                    continue;
                }
            }
            Some(c) if *c == s[i] => {
                i += 1;
                p += 1;
                continue;
            }
            _ => {}
        }
        match &mut star {
            Some((resume, tried)) => {
                *tried += width(*tried);
                (p, i) = (*resume, *tried);
            }
            None => return Ok(false),
        }
    }
    Ok(pattern.get(p..).is_none_or(|rest| rest.iter().all(|c| *c == b'%')))
}

fn like_of(a: &[Datum]) -> Result<bool> {
    match (&a[0], &a[1]) {
        (Datum::Bytea(s), Datum::Bytea(pattern)) => matches(s, pattern, false),
        (s, pattern) => matches(text(s)?.as_bytes(), text(pattern)?.as_bytes(), true),
    }
}

fn ilike_of(a: &[Datum]) -> Result<bool> {
    let fold = |s: &str| s.chars().map(lower_char).collect::<String>();
    let (s, pattern) = (fold(text(&a[0])?), fold(text(&a[1])?));
    matches(s.as_bytes(), pattern.as_bytes(), true)
}

/// `~~`
pub fn like(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    like_of(a).map(Datum::Bool)
}

/// `!~~`
pub fn not_like(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    like_of(a).map(|b| Datum::Bool(!b))
}

/// `~~*`
pub fn ilike(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    ilike_of(a).map(Datum::Bool)
}

/// `!~~*`
pub fn not_ilike(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    ilike_of(a).map(|b| Datum::Bool(!b))
}

/// `like_escape(pattern, escape)`: the pattern with `\` for escape, which is what `LIKE … ESCAPE` means.
pub fn like_escape(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    if let (Datum::Bytea(pattern), Datum::Bytea(escape)) = (&a[0], &a[1]) {
        if escape.len() > 1 {
            return Err(invalid_escape());
        }
        let mut out = Vec::new();
        let mut bytes = pattern.iter().peekable();
        while let Some(b) = bytes.next() {
            match escape.as_ref() {
                [e] if e == b => {
                    out.push(b'\\');
                    out.extend(bytes.next());
                }
                _ if *b == b'\\' => out.extend_from_slice(b"\\\\"),
                _ => out.push(*b),
            }
        }
        return Ok(Datum::Bytea(out.into()));
    }
    let (pattern, escape) = (text(&a[0])?, text(&a[1])?);
    let mut chars = escape.chars();
    let escape = chars.next();
    if chars.next().is_some() {
        return Err(invalid_escape());
    }
    if escape == Some('\\') {
        return Ok(a[0].clone());
    }
    let mut out = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            out.push('\\');
            out.extend(chars.next());
        } else if c == '\\' {
            out.push_str("\\\\");
        } else {
            out.push(c);
        }
    }
    Ok(Datum::text(out))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (s, pattern, expected) in [
            ("abc", "a%", true),
            ("abc", "_b_", true),
            ("abc", "b", false),
            ("äbc", "_bc", true),
            ("a%c", "a\\%c", true),
            ("abc", "a\\%c", false),
            ("", "%", true),
            ("", "_", false),
            ("aab", "%ab", true),
            ("mississippi", "%iss%ip%", true),
        ] {
            let got = matches(s.as_bytes(), pattern.as_bytes(), true).unwrap();
            assert_eq!(got, expected, "{s} LIKE {pattern}");
        }
        assert!(matches(b"a", b"\\", true).is_err());
    }
}
