//! The text format: a line a row, backslash escapes.

use std::borrow::Cow;

use stratos_types::{Error, Result, utf8};

use super::lines::{END_MARKER, Ended, Line, LineEnds, corrupt_marker, no_end, other_marker};

/// The line at the front of `data`, of which the first `from` bytes were looked at before; none when it has not arrived.
/// A line's end behind a backslash belongs to the line. `whole`: nothing comes behind the data.
///
/// # Errors
/// 22P04 where a line ends otherwise than those before it, and for an end marker with something behind it.
pub fn line(data: &[u8], from: usize, ends: &mut LineEnds, whole: bool) -> Result<Option<Line>> {
    let mut searched = from;
    while let Some(found) = memchr::memchr2(b'\n', b'\r', &data[searched..]) {
        let at = searched + found;
        searched = at + 1;
        if is_escaped(data, at) {
            continue;
        }
        let text = &data[..at];
        return match ends.at(data, at, whole) {
            Ended::Open => Ok(None),
            Ended::Otherwise if marker(text)?.is_some() => Err(other_marker()),
            Ended::Otherwise => Err(no_end(data[at], false)),
            Ended::Line(next) => Ok(Some(match marker(text)? {
                Some(end) => Line { end, next, is_last: true },
                None => Line { end: at, next, is_last: false },
            })),
        };
    }
    if !whole || data.is_empty() {
        return Ok(None);
    }
    match marker(data)? {
        Some(_) => Err(corrupt_marker()),
        None => Ok(Some(Line { end: data.len(), next: data.len(), is_last: false })),
    }
}

/// Whether a backslash stands before a place that no other backslash takes for itself.
fn is_escaped(data: &[u8], at: usize) -> bool {
    data[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Where the end marker begins that a line ends with.
fn marker(line: &[u8]) -> Result<Option<usize>> {
    let mut searched = 0;
    while let Some(found) = memchr::memchr(b'\\', &line[searched..]) {
        let at = searched + found;
        if line[at..].starts_with(END_MARKER) {
            return if at + END_MARKER.len() == line.len() { Ok(Some(at)) } else { Err(corrupt_marker()) };
        }
        // With what it stands before.
        searched = (at + 2).min(line.len());
    }
    Ok(None)
}

/// Cuts a line at its delimiters and takes the escapes out; `None` is NULL.
///
/// # Errors
/// Text that is not UTF-8.
pub fn fields<'a>(line: &'a [u8], delimiter: u8, null: &str, out: &mut Vec<Option<Cow<'a, str>>>) -> Result<()> {
    out.clear();
    let mut start = 0;
    loop {
        let mut end = start;
        let mut escaped = false;
        while end < line.len() && line[end] != delimiter {
            if line[end] == b'\\' {
                escaped = true;
                end += 1;
            }
            end += 1;
        }
        let end = end.min(line.len());
        let raw = &line[start..end];
        out.push(if raw == null.as_bytes() {
            None
        } else if escaped {
            Some(Cow::Owned(owned(unescape(raw))?))
        } else {
            Some(Cow::Borrowed(utf8(raw)?))
        });
        if end >= line.len() {
            return Ok(());
        }
        start = end + 1;
    }
}

/// The bytes as text.
///
/// # Errors
/// 22021.
pub fn owned(bytes: Vec<u8>) -> Result<String> {
    utf8(&bytes)?;
    String::from_utf8(bytes).map_err(|e| Error::internal(e.to_string()))
}

fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            // At the very end of the data it stands for nothing.
            None => {}
            Some(b'b') => out.push(8),
            Some(b'f') => out.push(12),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'v') => out.push(11),
            Some(b'x') => {
                let mut value = 0u8;
                let mut digits = 0;
                while digits < 2
                    && let Some(digit) = bytes.peek().and_then(|b| char::from(*b).to_digit(16))
                {
                    value = value << 4 | u8::try_from(digit).unwrap_or(0);
                    bytes.next();
                    digits += 1;
                }
                out.push(if digits == 0 { b'x' } else { value });
            }
            Some(octal @ b'0'..=b'7') => {
                let mut value = u32::from(octal - b'0');
                let mut digits = 1;
                while digits < 3
                    && let Some(digit @ b'0'..=b'7') = bytes.peek().copied()
                {
                    value = value << 3 | u32::from(digit - b'0');
                    bytes.next();
                    digits += 1;
                }
                out.push((value & 0xff) as u8);
            }
            Some(other) => out.push(other),
        }
    }
    out
}

/// Appends a field with its escapes.
pub fn put_field(out: &mut Vec<u8>, field: &str, delimiter: u8) {
    for byte in field.bytes() {
        let escape = match byte {
            b'\\' => b'\\',
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            other if other == delimiter => other,
            other => {
                out.push(other);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escape]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &[u8]) -> Vec<Option<String>> {
        let mut out = Vec::new();
        fields(line, b'\t', "\\N", &mut out).unwrap();
        out.into_iter().map(|f| f.map(Cow::into_owned)).collect()
    }

    #[test]
    fn escapes_and_nulls() {
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(parse(b"a\t\\N\t\t\\\\N"), [some("a"), None, some(""), some("\\N")]);
        assert_eq!(parse(b"\\x41\\101\\n\\q\\\tz"), [some("AA\nq\tz")]);
    }

    #[test]
    fn a_zero_byte_is_no_text() {
        for line in [&b"a\0"[..], b"a\\x00", b"a\\000"] {
            assert!(fields(line, b'\t', "\\N", &mut Vec::new()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn a_newline_behind_a_backslash_does_not_end_the_line() {
        let at =
            |data: &[u8]| line(data, 0, &mut LineEnds::default(), false).unwrap().map(|line| (line.end, line.next));
        assert_eq!(at(b"a\\\nb\nc"), Some((4, 5)));
        assert_eq!(at(b"a\\\\\nb"), Some((3, 4)));
        assert_eq!(at(b"a\r\n"), Some((1, 3)));
        assert_eq!(at(b"a\r"), None);
        assert_eq!(at(b"abc"), None);
    }

    #[test]
    fn the_end_marker_stands_alone_at_the_end_of_a_line() {
        let last = |data: &[u8], whole| {
            line(data, 0, &mut LineEnds::default(), whole).map(|line| line.map(|line| (line.end, line.is_last)))
        };
        assert_eq!(last(b"\\.\nx", false).unwrap(), Some((0, true)));
        assert_eq!(last(b"ab\\.\nx", false).unwrap(), Some((2, true)));
        assert_eq!(last(b"ab\\\\.\nx", false).unwrap(), Some((5, false)));
        assert!(last(b"\\.x\n", false).is_err());
        assert!(last(b"\\.", true).is_err());
        assert_eq!(last(b"\\.", false).unwrap(), None);
    }

    proptest! {
        #[test]
        fn what_goes_out_comes_back(values in prop::collection::vec("[^\\x00]*", 1..5)) {
            let mut line = Vec::new();
            for (at, value) in values.iter().enumerate() {
                if at > 0 { line.push(b'\t'); }
                put_field(&mut line, value, b'\t');
            }
            let back: Vec<String> = parse(&line).into_iter().map(|f| f.unwrap_or_else(|| "\\N".into())).collect();
            prop_assert_eq!(back, values);
        }
    }
}
