//! The CSV format: records that may span lines, quotes doubled or escaped.

use super::lines::{END_MARKER, Ended, Line, LineEnds, no_end, other_marker};
use super::options::CopyOptions;
use super::text::owned;
use stratos_types::{Error, ErrorKind, Result};

/// A field as it stood in the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvField {
    /// Its text without quotes.
    pub text: String,
    /// Whether any of it was quoted: only an unquoted field can be NULL.
    pub quoted: bool,
}

/// The record at the front of `data`; none when the rest of it has not arrived. `resume` is where the last search stopped,
/// with whether it was inside quotes, or where the error is. `whole`: nothing comes behind the data.
///
/// # Errors
/// 22P04 where a record ends otherwise than those before it.
pub fn record(
    data: &[u8],
    options: &CopyOptions,
    resume: &mut (usize, bool),
    ends: &mut LineEnds,
    whole: bool,
) -> Result<Option<Line>> {
    let (mut at, mut quoted) = *resume;
    while at < data.len() {
        let byte = data[at];
        if quoted && byte == options.escape && options.escape != options.quote {
            if at + 1 >= data.len() && !whole {
                break;
            }
            if data.get(at + 1).is_some_and(|next| *next == options.quote || *next == options.escape) {
                at += 1;
            }
        } else if byte == options.quote {
            // A doubled quote toggles twice, which leaves it as it was.
            quoted = !quoted;
        } else if matches!(byte, b'\n' | b'\r') && !quoted {
            let is_last = &data[..at] == END_MARKER;
            *resume = (at, false);
            match ends.at(data, at, whole) {
                Ended::Open => break,
                Ended::Otherwise if is_last && !ends.are_both() => return Err(other_marker()),
                Ended::Otherwise => return Err(no_end(byte, true)),
                Ended::Line(next) => {
                    *resume = (0, false);
                    return Ok(Some(Line { end: if is_last { 0 } else { at }, next, is_last }));
                }
            }
        }
        at += 1;
    }
    if whole && !data.is_empty() {
        *resume = (0, false);
        return Ok(Some(Line { end: data.len(), next: data.len(), is_last: false }));
    }
    *resume = (at, quoted);
    Ok(None)
}

/// Cuts a record into its fields.
///
/// # Errors
/// An unterminated quote, text that is not UTF-8.
pub fn fields(record: &[u8], options: &CopyOptions, out: &mut Vec<CsvField>) -> Result<()> {
    out.clear();
    let mut at = 0;
    loop {
        let mut text = Vec::new();
        let mut was_quoted = false;
        let mut quoted = false;
        while at < record.len() {
            let byte = record[at];
            if quoted {
                let next = record.get(at + 1).copied();
                if byte == options.escape && next.is_some_and(|n| n == options.quote || n == options.escape) {
                    text.extend(next);
                    at += 2;
                    continue;
                }
                if byte == options.quote {
                    quoted = false;
                } else {
                    text.push(byte);
                }
            } else if byte == options.quote {
                quoted = true;
                was_quoted = true;
            } else if byte == options.delimiter {
                break;
            } else {
                text.push(byte);
            }
            at += 1;
        }
        if quoted {
            return Err(Error::new(ErrorKind::BadCopyFileFormat, "unterminated CSV quoted field"));
        }
        let text = owned(text)?;
        out.push(CsvField { text, quoted: was_quoted });
        if at >= record.len() {
            return Ok(());
        }
        at += 1;
    }
}

/// Appends a field, quoted where that is needed or forced. `alone` says that it is the only one of its record, where the end
/// marker of the text format must not appear by itself.
pub fn put_field(out: &mut Vec<u8>, field: &str, options: &CopyOptions, force: bool, alone: bool) {
    let needs = force
        || field == options.null
        || (alone && field == "\\.")
        || field.bytes().any(|b| b == options.delimiter || b == options.quote || b == b'\n' || b == b'\r');
    if !needs {
        out.extend_from_slice(field.as_bytes());
        return;
    }
    out.push(options.quote);
    for byte in field.bytes() {
        if byte == options.quote || byte == options.escape {
            out.push(options.escape);
        }
        out.push(byte);
    }
    out.push(options.quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::options::CopyFormat;
    use proptest::prelude::*;

    fn options(escape: u8) -> CopyOptions {
        CopyOptions {
            format: CopyFormat::Csv,
            delimiter: b',',
            null: String::new(),
            header: false,
            header_matches: false,
            quote: b'"',
            escape,
            force_quote: Vec::new(),
            force_not_null: Vec::new(),
            force_null: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn what_goes_out_comes_back(values in prop::collection::vec("[a,\"\\\\\n\r ]{0,8}", 1..5), escaped in any::<bool>()) {
            let options = options(if escaped { b'\\' } else { b'"' });
            let mut record = Vec::new();
            for (at, value) in values.iter().enumerate() {
                if at > 0 { record.push(b','); }
                put_field(&mut record, value, &options, false, values.len() == 1);
            }
            record.push(b'\n');
            let mut resume = (0, false);
            let found = super::record(&record, &options, &mut resume, &mut LineEnds::default(), false).unwrap().unwrap();
            prop_assert_eq!(found.next, record.len());
            let mut out = Vec::new();
            fields(&record[..found.end], &options, &mut out).unwrap();
            let back: Vec<String> = out.into_iter().map(|f| f.text).collect();
            prop_assert_eq!(back, values);
        }
    }
}
