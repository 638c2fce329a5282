//! The text format: a line a row, backslash escapes.

use std::borrow::Cow;

use stratos_types::{Error, Result, utf8};

/// End of the data, which old clients still send.
pub const END_MARKER: &[u8] = b"\\.";

/// The end of the line at the front of `data`: where its text ends and where the next line starts. A newline behind an odd
/// number of backslashes belongs to the line.
pub fn line_end(data: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut searched = from;
    loop {
        let newline = searched + memchr::memchr(b'\n', &data[searched..])?;
        let backslashes = data[..newline].iter().rev().take_while(|b| **b == b'\\').count();
        if backslashes % 2 == 0 {
            let text_end = if newline > 0 && data[newline - 1] == b'\r' { newline - 1 } else { newline };
            return Some((text_end, newline + 1));
        }
        searched = newline + 1;
    }
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
            None => out.push(b'\\'),
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
        assert_eq!(line_end(b"a\\\nb\nc", 0), Some((4, 5)));
        assert_eq!(line_end(b"a\\\\\nb", 0), Some((3, 4)));
        assert_eq!(line_end(b"a\r\n", 0), Some((1, 3)));
        assert_eq!(line_end(b"abc", 0), None);
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
