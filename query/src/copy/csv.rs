//! The CSV format: records that may span lines, quotes doubled or escaped.

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

/// Where the record at the front of `data` ends: the end of its text and the start of the next record. `None` when the rest
/// has not arrived. `resume` is where the last search stopped, with whether it was inside quotes.
pub fn record_end(data: &[u8], options: &CopyOptions, resume: &mut (usize, bool)) -> Option<(usize, usize)> {
    let (mut at, mut quoted) = *resume;
    while at < data.len() {
        let byte = data[at];
        if quoted && byte == options.escape && options.escape != options.quote {
            if at + 1 >= data.len() {
                break;
            }
            if data[at + 1] == options.quote || data[at + 1] == options.escape {
                at += 1;
            }
        } else if byte == options.quote {
            // A doubled quote toggles twice, which leaves it as it was.
            quoted = !quoted;
        } else if byte == b'\n' && !quoted {
            *resume = (0, false);
            let text_end = if at > 0 && data[at - 1] == b'\r' { at - 1 } else { at };
            return Some((text_end, at + 1));
        }
        at += 1;
    }
    *resume = (at, quoted);
    None
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
            let (end, next) = record_end(&record, &options, &mut resume).unwrap();
            prop_assert_eq!(next, record.len());
            let mut out = Vec::new();
            fields(&record[..end], &options, &mut out).unwrap();
            let back: Vec<String> = out.into_iter().map(|f| f.text).collect();
            prop_assert_eq!(back, values);
        }
    }
}
