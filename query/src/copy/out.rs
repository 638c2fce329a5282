//! Rows that leave, in each format.

use stratos_types::{Datum, Error, ErrorKind, Result};

use super::options::{CopyFormat, CopyOptions};
use super::{binary, csv, text};
use crate::ir::OutputColumn;
use crate::result::ResultSet;

/// Rows leaving.
pub struct CopyOut {
    pub(super) result: ResultSet,
    pub(super) options: CopyOptions,
    pub(super) force_quote: Vec<bool>,
    pub(super) header_pending: bool,
    pub(super) rows: u64,
    pub(super) finished: bool,
}

impl CopyOut {
    /// Whether the data is in the binary format.
    pub fn is_binary(&self) -> bool {
        self.options.format == CopyFormat::Binary
    }

    /// Number of fields in a record.
    pub fn column_count(&self) -> usize {
        self.result.columns.len()
    }

    /// Rows given out.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn header(&self) -> Vec<u8> {
        if self.is_binary() {
            return binary::header();
        }
        let mut out = Vec::new();
        for (at, column) in self.result.columns.iter().enumerate() {
            if at > 0 {
                out.push(self.options.delimiter);
            }
            self.put_field(&mut out, &column.name, false);
        }
        out.push(b'\n');
        out
    }

    fn put_field(&self, out: &mut Vec<u8>, text: &str, force_quote: bool) {
        match self.options.format {
            CopyFormat::Csv => {
                csv::put_field(out, text, &self.options, force_quote, self.result.columns.len() == 1);
            }
            _ => text::put_field(out, text, self.options.delimiter),
        }
    }

    pub(super) fn record(
        &self,
        columns: &[OutputColumn],
        values: &[Datum],
        options: &stratos_types::FormatOptions,
    ) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        if self.is_binary() {
            let count =
                i16::try_from(columns.len()).map_err(|_| Error::new(ErrorKind::TooManyColumns, "too many columns"))?;
            out.extend_from_slice(&count.to_be_bytes());
            for (column, value) in columns.iter().zip(values) {
                if value.is_null() {
                    out.extend_from_slice(&(-1i32).to_be_bytes());
                    continue;
                }
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                value.write_binary(column.ty.ty, &mut out)?;
                let length = i32::try_from(out.len() - start - 4)
                    .map_err(|_| Error::new(ErrorKind::ProgramLimitExceeded, "a value is too long for COPY"))?;
                out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            }
            return Ok(out);
        }
        let mut field = String::new();
        for (at, (column, value)) in columns.iter().zip(values).enumerate() {
            if at > 0 {
                out.push(self.options.delimiter);
            }
            if value.is_null() {
                out.extend_from_slice(self.options.null.as_bytes());
                continue;
            }
            field.clear();
            value.write_text(column.ty.ty, options, &mut field);
            self.put_field(&mut out, &field, self.force_quote[at]);
        }
        out.push(b'\n');
        Ok(out)
    }
}
