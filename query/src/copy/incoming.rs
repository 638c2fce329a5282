//! Rows arriving for a table: what stands at the front of the data, and what is said of it when it is wrong.

use std::borrow::Cow;
use std::sync::Arc;

use stratos_types::{ColumnType, Datum, Error, ErrorKind, Result, utf8};

use super::binary::{self, Record};
use super::csv::{self, CsvField};
use super::lines::{Line, LineEnds};
use super::options::{CopyFormat, CopyOptions};
use super::text;
use crate::catalog::Snapshot;
use crate::eval::Program;
use crate::exec::StatementContext;
use crate::exec::rules::TableRules;
use crate::exec::write::WriterState;

/// Longest record in bytes, as Postgres's limit on a string.
const RECORD_BYTES_MAX: usize = 1 << 30;
/// Bytes of a record's beginning that take none of the memory for queries: nearly all records are shorter as a whole.
pub(super) const UNCOUNTED_BYTES_MAX: usize = 1 << 20;

/// Rows arriving for a table.
pub struct CopyIn {
    pub(super) rules: Arc<TableRules>,
    pub(super) catalog: Arc<Snapshot>,
    pub(super) options: CopyOptions,
    /// Positions of the columns that the data has, in its order.
    pub(super) columns: Vec<usize>,
    /// Values of the others: compiled defaults, NULL where there is none.
    pub(super) defaults: Vec<(usize, Option<Program>)>,
    /// For each of `columns`: whether unquoted NULL text is a value, and whether quoted NULL text is NULL.
    pub(super) force: Vec<(bool, bool)>,
    pub(super) writer: WriterState,
    pub(super) buffer: Vec<u8>,
    /// What a long record takes of the memory for queries while it comes.
    pub(super) held: datafusion::execution::memory_pool::MemoryReservation,
    pub(super) csv_resume: (usize, bool),
    /// How far the text format has looked for the end of the line at the front.
    pub(super) text_resume: usize,
    /// Which rows are taken; all where there is none.
    pub(super) condition: Option<Program>,
    pub(super) line: u64,
    /// Bytes of the line that is looked at, its end not among them; none while they are not known, and where there are no lines.
    pub(super) line_bytes: Option<usize>,
    /// How lines end.
    pub(super) ends: LineEnds,
    pub(super) rows: u64,
    pub(super) header_pending: bool,
    pub(super) ended: bool,
}

fn extra_data() -> Error {
    Error::new(ErrorKind::BadCopyFileFormat, "extra data after last expected column")
}

/// The fields of a line; none is NULL.
type Fields<'l> = Vec<Option<Cow<'l, str>>>;

impl CopyIn {
    /// Whether the data is in the binary format.
    pub fn is_binary(&self) -> bool {
        self.options.format == CopyFormat::Binary
    }

    /// Number of fields in a record.
    pub fn column_count(&self) -> usize {
        self.columns.len()
    }

    /// Adds data from the client, for [`crate::session::Session::copy_in_work`] to work on.
    ///
    /// # Errors
    /// 54000 for a record beyond the limit, 53200 where there is no memory for it.
    pub fn feed(&mut self, data: &[u8]) -> Result<()> {
        let bytes = self.buffer.len() + data.len();
        if bytes > RECORD_BYTES_MAX {
            return Err(Error::new(ErrorKind::ProgramLimitExceeded, "a record of COPY data is too long"));
        }
        self.held.try_resize(bytes.saturating_sub(UNCOUNTED_BYTES_MAX)).map_err(crate::lower::error_from)?;
        self.buffer.extend_from_slice(data);
        Ok(())
    }
}

/// Bytes of a line or a value that are shown with an error (Postgres's `MAX_COPY_DATA_DISPLAY`).
const SHOWN_BYTES: usize = 100;

/// As much of a text as is shown.
fn excerpt(text: &str) -> Cow<'_, str> {
    if text.len() <= SHOWN_BYTES {
        return text.into();
    }
    format!("{}...", &text[..text.floor_char_boundary(SHOWN_BYTES)]).into()
}

/// Rows behind the trailer.
pub(super) fn behind_the_end() -> Error {
    Error::new(ErrorKind::BadCopyFileFormat, "received copy data after EOF marker")
}

/// What stood at the front of the data.
pub(super) enum Step {
    Row(Vec<Datum>, usize),
    /// Bytes that are no row: a header, the end marker.
    Skip(usize),
    Incomplete,
}

impl CopyIn {
    /// An error of the row that stands at the front of `data`: with its text, if the row as a whole is wrong.
    pub(super) fn in_context(&self, error: Error, data: &[u8]) -> Error {
        use ErrorKind as K;
        // The header of the binary format is no row.
        if error.context().is_some() || self.is_binary() && self.line == 0 {
            return error;
        }
        let place = format!("COPY {}, line {}", self.rules.table.name, self.line);
        let is_shown = matches!(error.kind(), K::BadCopyFileFormat | K::NotNullViolation | K::CheckViolation);
        match self.line_bytes.and_then(|bytes| data.get(..bytes)).filter(|_| is_shown) {
            Some(line) => error.with_context(format!("{place}: \"{}\"", excerpt(&String::from_utf8_lossy(line)))),
            None => error.with_context(place),
        }
    }

    /// The binary format's header has not come as a whole.
    pub(super) fn lacks_header(&self) -> bool {
        self.is_binary() && self.header_pending
    }

    /// The last row of the binary format is not there as a whole.
    pub(super) fn cut_off(&self) -> Error {
        let table = &self.rules.table;
        let column = self.columns.get(binary::whole_fields(&self.buffer)).and_then(|at| table.columns.get(*at));
        let column = column.map(|column| format!(", column {}", column.name)).unwrap_or_default();
        Error::new(ErrorKind::BadCopyFileFormat, "unexpected EOF in COPY data").with_context(format!(
            "COPY {}, line {}{column}",
            table.name,
            self.line + 1
        ))
    }

    /// Another line is looked at, of which nothing is known yet.
    fn begin_line(&mut self) {
        self.line += 1;
        self.line_bytes = None;
    }

    /// Where all the data has come and is nothing, the header is an empty line.
    fn header_of_nothing(&self, data: &[u8], last: bool) -> Option<Line> {
        (last && self.header_pending && data.is_empty()).then_some(Line { end: 0, next: 0, is_last: true })
    }

    /// Whether a line is the header. It is compared with the columns if it is to match them.
    fn is_header<'l>(&mut self, line: &'l [u8], names: fn(&CopyIn, &'l [u8]) -> Result<Fields<'l>>) -> Result<bool> {
        let is_header = std::mem::take(&mut self.header_pending);
        if is_header {
            utf8(line)?;
        }
        self.line_bytes = Some(line.len());
        if is_header && self.options.header_matches {
            self.check_header(&names(self, line)?)?;
        }
        Ok(is_header)
    }

    /// Whether a line is a row without columns, which an empty line is where there are none.
    fn is_empty_row(&self, line: &[u8]) -> Result<bool> {
        match (self.columns.is_empty(), line.is_empty()) {
            (true, false) => Err(extra_data()),
            (no_columns, _) => Ok(no_columns),
        }
    }

    fn text_fields<'l>(&self, line: &'l [u8]) -> Result<Fields<'l>> {
        if self.is_empty_row(line)? {
            return Ok(Vec::new());
        }
        let mut fields = Vec::with_capacity(self.columns.len());
        text::fields(line, self.options.delimiter, &self.options.null, &mut fields)?;
        Ok(fields)
    }

    fn csv_fields(&self, line: &[u8]) -> Result<Vec<CsvField>> {
        if self.is_empty_row(line)? {
            return Ok(Vec::new());
        }
        let mut fields = Vec::with_capacity(self.columns.len());
        csv::fields(line, &self.options, &mut fields)?;
        Ok(fields)
    }

    fn csv_names<'l>(&self, line: &'l [u8]) -> Result<Fields<'l>> {
        let is_null = |field: &CsvField| !field.quoted && field.text == self.options.null;
        let name = |field: CsvField| (!is_null(&field)).then_some(Cow::Owned(field.text));
        Ok(self.csv_fields(line)?.into_iter().map(name).collect())
    }

    /// HEADER MATCH: the first line names the columns in their order.
    fn check_header(&self, names: &[Option<Cow<'_, str>>]) -> Result<()> {
        let wrong = |message: String| Err(Error::new(ErrorKind::BadCopyFileFormat, message));
        let (got, expected) = (names.len(), self.columns.len());
        if got != expected {
            return wrong(format!("wrong number of fields in header line: got {got}, expected {expected}"));
        }
        for (at, (name, column)) in names.iter().zip(&self.columns).enumerate() {
            let expected = &self.rules.table.columns[*column].name;
            let got = match name {
                Some(name) if name == expected => continue,
                Some(name) => format!("\"{name}\""),
                None => format!("null value (\"{}\")", self.options.null),
            };
            let field = at + 1;
            return wrong(format!(
                "column name mismatch in header line field {field}: got {got}, expected \"{expected}\""
            ));
        }
        Ok(())
    }

    /// What stands at the front of the data; a row only if it is one that is taken.
    pub(super) fn next_row(&mut self, data: &[u8], last: bool, context: &mut StatementContext<'_>) -> Result<Step> {
        let step = self.next_step(data, last, context)?;
        match (&self.condition, step) {
            (Some(condition), Step::Row(row, length)) => match condition.run(&row, &[], context.eval)? {
                Datum::Bool(true) => Ok(Step::Row(row, length)),
                _ => Ok(Step::Skip(length)),
            },
            (_, step) => Ok(step),
        }
    }

    fn next_step(&mut self, data: &[u8], last: bool, context: &mut StatementContext<'_>) -> Result<Step> {
        match self.options.format {
            CopyFormat::Binary => self.next_binary(data, context),
            CopyFormat::Text => {
                self.begin_line();
                let line = text::line(data, self.text_resume, &mut self.ends, last)?;
                let Some(line) = line.or_else(|| self.header_of_nothing(data, last)) else {
                    self.line -= 1;
                    // A carriage return is looked at again with what comes behind it.
                    self.text_resume = data.len() - usize::from(data.ends_with(b"\r"));
                    return Ok(Step::Incomplete);
                };
                self.text_resume = 0;
                let Line { end, next, is_last } = line;
                self.ended = is_last;
                if self.is_header(&data[..end], Self::text_fields)? {
                    return Ok(Step::Skip(next));
                }
                if is_last && end == 0 {
                    return Ok(Step::Skip(next));
                }
                let fields = self.text_fields(&data[..end])?;
                Ok(Step::Row(self.row_of_text(&fields, context)?, next))
            }
            CopyFormat::Csv => {
                self.begin_line();
                let counted = self.ends.counted();
                let lines = |end: usize| memchr::memchr_iter(counted, &data[..end]).count() as u64;
                let line = match csv::record(data, &self.options, &mut self.csv_resume, &mut self.ends, last) {
                    Ok(line) => line.or_else(|| self.header_of_nothing(data, last)),
                    Err(error) => {
                        // It is said of the line that it stands in, which quoted ones may be before.
                        self.line += lines(self.csv_resume.0);
                        return Err(error);
                    }
                };
                let Some(Line { end, next, is_last }) = line else {
                    self.line -= 1;
                    return Ok(Step::Incomplete);
                };
                self.line += lines(end);
                self.ended = is_last;
                if self.is_header(&data[..end], Self::csv_names)? {
                    return Ok(Step::Skip(next));
                }
                if is_last {
                    return Ok(Step::Skip(next));
                }
                let fields: Fields<'_> = self
                    .csv_fields(&data[..end])?
                    .into_iter()
                    .enumerate()
                    .map(|(at, field)| {
                        let (not_null, null) = self.force.get(at).copied().unwrap_or_default();
                        let is_null = field.text == self.options.null && if field.quoted { null } else { !not_null };
                        (!is_null).then_some(Cow::Owned(field.text))
                    })
                    .collect();
                Ok(Step::Row(self.row_of_text(&fields, context)?, next))
            }
        }
    }

    fn next_binary(&mut self, data: &[u8], context: &mut StatementContext<'_>) -> Result<Step> {
        if self.header_pending {
            return Ok(match binary::header_length(data)? {
                None => Step::Incomplete,
                Some(length) => {
                    self.header_pending = false;
                    Step::Skip(length)
                }
            });
        }
        let record = binary::record(data, self.columns.len());
        // Rows are counted from 1, and what is wrong with one is said of it.
        self.line += u64::from(!matches!(record, Ok(Record::Incomplete)));
        match record? {
            Record::Incomplete => Ok(Step::Incomplete),
            Record::End(length) => {
                self.ended = true;
                Ok(Step::Skip(length))
            }
            Record::Row(fields, length) => {
                let mut row = self.defaults(context)?;
                for (field, at) in fields.into_iter().zip(&self.columns) {
                    let ty = self.rules.table.columns[*at].ty;
                    row[*at] = match field {
                        None => Datum::Null,
                        Some(bytes) => {
                            let value = Datum::from_binary(ty.ty, bytes);
                            value.and_then(|value| self.fit(value, ty, context)).map_err(|error| {
                                let table = &self.rules.table;
                                let (line, column) = (self.line, &table.columns[*at].name);
                                error.with_context(format!("COPY {}, line {line}, column {column}", table.name))
                            })?
                        }
                    };
                }
                Ok(Step::Row(row, length))
            }
        }
    }

    /// A value in the column's length or precision.
    fn fit(&self, value: Datum, ty: ColumnType, context: &StatementContext<'_>) -> Result<Datum> {
        if ty.typmod < 0 {
            return Ok(value);
        }
        stratos_types::cast(&value, ty.ty, ty, false, &context.eval.format)
    }

    fn defaults(&self, context: &StatementContext<'_>) -> Result<Vec<Datum>> {
        let mut row = vec![Datum::Null; self.rules.table.columns.len()];
        for (at, program) in &self.defaults {
            if let Some(program) = program {
                row[*at] = program.run(&[], &[], context.eval)?;
            }
        }
        Ok(row)
    }

    fn row_of_text(&self, fields: &[Option<Cow<'_, str>>], context: &StatementContext<'_>) -> Result<Vec<Datum>> {
        let table = &self.rules.table;
        if fields.len() > self.columns.len() {
            return Err(extra_data());
        }
        let mut row = self.defaults(context)?;
        for (position, at) in self.columns.iter().enumerate() {
            let column = &table.columns[*at];
            let field = fields.get(position).ok_or_else(|| {
                Error::new(ErrorKind::BadCopyFileFormat, format!("missing data for column \"{}\"", column.name))
            })?;
            row[*at] = match field {
                None => Datum::Null,
                Some(text) => Datum::from_text(column.ty, text, &context.eval.format).map_err(|error| {
                    error.with_context(format!(
                        "COPY {}, line {}, column {}: \"{}\"",
                        table.name,
                        self.line,
                        column.name,
                        excerpt(text)
                    ))
                })?,
            };
        }
        Ok(row)
    }
}
