//! COPY FROM STDIN and COPY TO STDOUT of a session.

use std::borrow::Cow;
use std::sync::Arc;

use sqlparser::ast::{Ident, Statement};
use stratos_types::{ColumnType, Datum, Error, ErrorKind, Result};

use super::binary::{self, Record};
use super::csv::{self, CsvField};
use super::lines::{Line, LineEnds};
use super::options::{CopyFormat, CopyOptions};
use super::out::CopyOut;
use super::parse::{CopyCondition, CopySource, CopyStatement};
use super::text;
use crate::binder::ScalarBinder;
use crate::catalog::{Snapshot, Table, is_temporary_name, temporary_schema_name};
use crate::eval::{Layout, Program};
use crate::exec::rules::TableRules;
use crate::exec::violations;
use crate::exec::write::{TableWriter, WriterState};
use crate::exec::{StatementContext, breathe};
use crate::ir::ColumnId;
use crate::result::StatementResult;
use crate::session::{Prepared, Session};

/// Longest record in bytes, as Postgres's limit on a string.
const RECORD_BYTES_MAX: usize = 1 << 30;
/// Bytes of a record's beginning that take none of the memory for queries: nearly all records are shorter as a whole.
const UNCOUNTED_BYTES_MAX: usize = 1 << 20;
/// Rows that are written together, and the bytes of data after which no further one joins them.
const RUN_ROWS_MAX: usize = 1024;
const RUN_BYTES_MAX: usize = 256 << 10;

/// Rows arriving for a table.
pub struct CopyIn {
    rules: Arc<TableRules>,
    catalog: Arc<Snapshot>,
    options: CopyOptions,
    /// Positions of the columns that the data has, in its order.
    columns: Vec<usize>,
    /// Values of the others: compiled defaults, NULL where there is none.
    defaults: Vec<(usize, Option<Program>)>,
    /// For each of `columns`: whether unquoted NULL text is a value, and whether quoted NULL text is NULL.
    force: Vec<(bool, bool)>,
    writer: WriterState,
    buffer: Vec<u8>,
    /// What a long record takes of the memory for queries while it comes.
    held: datafusion::execution::memory_pool::MemoryReservation,
    csv_resume: (usize, bool),
    /// How far the text format has looked for the end of the line at the front.
    text_resume: usize,
    /// Which rows are taken; all where there is none.
    condition: Option<Program>,
    line: u64,
    /// Bytes of the line that is looked at, its end not among them; none while they are not known, and where there are no lines.
    line_bytes: Option<usize>,
    /// How lines end.
    ends: LineEnds,
    rows: u64,
    header_pending: bool,
    ended: bool,
}

impl CopyIn {
    /// Whether the data is in the binary format.
    pub fn is_binary(&self) -> bool {
        self.options.format == CopyFormat::Binary
    }

    /// Number of fields in a record.
    pub fn column_count(&self) -> usize {
        self.columns.len()
    }

    /// Adds data from the client, for [`Session::copy_in_work`] to work on.
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

fn column_positions(table: &Table, columns: &[Ident]) -> Result<Vec<usize>> {
    if columns.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut positions = Vec::with_capacity(columns.len());
    for ident in columns {
        let name = crate::binder::fold_ident(ident);
        let at = table.column_named(&name).ok_or_else(|| {
            Error::new(
                ErrorKind::UndefinedColumn,
                format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
            )
        })?;
        if positions.contains(&at) {
            return Err(Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" specified more than once")));
        }
        positions.push(at);
    }
    Ok(positions)
}

/// 42703 and 42P10 unless the columns that an option names are copied.
fn must_be_copied(table: &Table, positions: &[usize], names: &[String], option: &str) -> Result<()> {
    for name in names {
        let Some(at) = table.column_named(name) else {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
            return Err(Error::new(ErrorKind::UndefinedColumn, message));
        };
        if !positions.contains(&at) {
            let message = format!("{option} column \"{name}\" not referenced by COPY");
            return Err(Error::new(ErrorKind::InvalidColumnReference, message));
        }
    }
    Ok(())
}

impl Session {
    /// Starts a COPY.
    pub(crate) async fn copy(&mut self, prepared: &Prepared, statement: &CopyStatement) -> Result<StatementResult> {
        let CopyStatement { source, to, standard, options, condition } = statement;
        if !standard {
            return Err(Error::unsupported("COPY from or to a file or program of the server")
                .with_hint("Use COPY FROM STDIN or COPY TO STDOUT, or psql's \\copy."));
        }
        let options = CopyOptions::new(options, *to)?;
        if *to {
            return self.copy_to(prepared, source, options).await;
        }
        let CopySource::Table { name: table_name, columns } = source else {
            return Err(Error::new(ErrorKind::SyntaxError, "COPY query must be TO, not FROM"));
        };
        let target = self.existing_table(table_name)?;
        let temporary = is_temporary_name(&target.schema_name);
        if temporary && target.schema_name != temporary_schema_name(self.shared().pid) {
            let message = "cannot access temporary tables of other sessions";
            return Err(Error::new(ErrorKind::FeatureNotSupported, message));
        }
        if self.ensure_block().read_only && !temporary {
            return Err(Error::new(
                ErrorKind::ReadOnlySqlTransaction,
                "cannot execute COPY FROM in a read-only transaction",
            ));
        }
        self.ensure_block().used = true;
        let (table, catalog, rules) = loop {
            let table = self.existing_table(table_name)?;
            let catalog = self.current_catalog()?;
            let rules = self.engine.table_rules(&table, &catalog)?;
            // The catalog may have changed while the locks were awaited; once it has not, it cannot any more.
            if self.hold_tables(&rules.relies_on, |relied_on| relied_on.oid == table.oid).await? {
                break (table, catalog, rules);
            }
        };
        self.open_statement()?;
        let positions = column_positions(&table, columns)?;
        let binder = ScalarBinder::new(self.bind_context(&catalog, None), self.eval_context(&catalog));
        let mut defaults = Vec::new();
        for (at, column) in table.columns.iter().enumerate() {
            if !positions.contains(&at) {
                let value = binder.column_default(&table, column)?;
                defaults.push((at, value.map(|e| Program::compile(&e, &Layout::default())).transpose()?));
            }
        }
        let condition = match condition {
            None => None,
            Some(CopyCondition { expr, source, before }) => {
                let bound = binder.copy_condition(expr, source.clone(), &table);
                let bound = bound.map_err(|error| error.behind(*before))?;
                let columns = 0..u32::try_from(table.columns.len()).unwrap_or(u32::MAX);
                Some(Program::compile(&bound, &Layout::new(columns.map(ColumnId)))?)
            }
        };
        let listed = |names: &[String], at: usize| names.iter().any(|n| *n == table.columns[at].name);
        must_be_copied(&table, &positions, &options.force_not_null, "FORCE_NOT_NULL")?;
        must_be_copied(&table, &positions, &options.force_null, "FORCE_NULL")?;
        let force = positions
            .iter()
            .map(|at| (listed(&options.force_not_null, *at), listed(&options.force_null, *at)))
            .collect();
        Ok(StatementResult::CopyIn(Box::new(CopyIn {
            rules,
            catalog,
            header_pending: options.header || options.format == CopyFormat::Binary,
            options,
            columns: positions,
            defaults,
            force,
            writer: WriterState::default(),
            buffer: Vec::new(),
            held: crate::lower::kept_rows(self.engine.runtime().memory_pool()),
            csv_resume: (0, false),
            text_resume: 0,
            condition,
            line: 0,
            line_bytes: None,
            ends: LineEnds::default(),
            rows: 0,
            ended: false,
        })))
    }

    async fn copy_to(
        &mut self,
        prepared: &Prepared,
        source: &CopySource,
        options: CopyOptions,
    ) -> Result<StatementResult> {
        let query = match source {
            CopySource::Query(query) => query.as_ref().clone(),
            CopySource::Table { name: table_name, columns } => {
                let table = self.existing_table(table_name)?;
                let positions = column_positions(&table, columns)?;
                let named: Vec<String> = options.force_quote.iter().filter(|name| *name != "*").cloned().collect();
                must_be_copied(&table, &positions, &named, "FORCE_QUOTE")?;
                let list = if columns.is_empty() {
                    "*".to_owned()
                } else {
                    columns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                let parsed = crate::binder::parse(&format!("SELECT {list} FROM {table_name}"))?;
                match parsed.first().and_then(|p| p.sql()) {
                    Some(Statement::Query(query)) => query.as_ref().clone(),
                    _ => return Err(Error::internal("COPY made no query")),
                }
            }
        };
        let statement = Statement::Query(Box::new(query));
        let result = match Box::pin(self.run_inner(prepared, &statement)).await? {
            StatementResult::Rows(result) => result,
            _ => {
                let message = "COPY query must have a RETURNING clause";
                return Err(Error::new(ErrorKind::FeatureNotSupported, message));
            }
        };
        let all = options.force_quote.iter().any(|name| name == "*");
        let force_quote = result.columns.iter().map(|c| all || options.force_quote.contains(&c.name)).collect();
        Ok(StatementResult::CopyOut(CopyOut {
            header_pending: options.header || options.format == CopyFormat::Binary,
            result,
            options,
            force_quote,
            rows: 0,
            finished: false,
        }))
    }

    /// Works on the data that was given to [`CopyIn::feed`].
    ///
    /// # Errors
    /// Malformed data, constraint violations, the store's errors; the COPY has failed then.
    pub async fn copy_in_work(&mut self, copy: &mut CopyIn) -> Result<()> {
        let shared = self.shared().clone();
        let work = Box::pin(self.copy_records(copy, false));
        let result = shared.guarded(work).await;
        if result.is_err() {
            self.fail();
        }
        result
    }

    /// The client has sent everything: gives the command tag.
    ///
    /// # Errors
    /// As [`Session::copy_in_work`].
    pub async fn copy_in_finish(&mut self, mut copy: CopyIn) -> Result<String> {
        let shared = self.shared().clone();
        let result = shared.guarded(Box::pin(self.copy_records(&mut copy, true))).await;
        if let Err(error) = result {
            self.copy_in_abandon(copy);
            return Err(error);
        }
        if let Some(block) = &mut self.block {
            block.store.finish_statement(true);
        }
        self.counters.copied(copy.rows);
        Ok(format!("COPY {}", copy.rows))
    }

    /// The COPY failed: what it wrote is forgotten.
    pub fn copy_in_abandon(&mut self, copy: CopyIn) {
        drop(copy);
        if let Some(block) = &mut self.block {
            block.store.finish_statement(false);
        }
        self.fail();
    }

    async fn copy_records(&mut self, copy: &mut CopyIn, last: bool) -> Result<()> {
        let eval = self.eval_context(&copy.catalog);
        // The client may have kept the statement waiting beyond its time.
        eval.check_canceled()?;
        let engine = self.engine.clone();
        let wait = self.wait_policy();
        let block = self.block.as_mut().ok_or_else(|| Error::internal("COPY outside of a transaction"))?;
        let mut context = StatementContext::new(&engine, &mut block.store, &mut block.deferred, &eval, &[], wait);
        let mut buffer = std::mem::take(&mut copy.buffer);
        let rules = copy.rules.clone();
        let mut writer = TableWriter::resume(&rules, std::mem::take(&mut copy.writer));
        let mut at = 0;
        let mut rows = Vec::new();
        let mut lines = Vec::new();
        let result = loop {
            let from = at;
            rows.clear();
            lines.clear();
            // What stops the taking of rows: an error, or the want of more data.
            let stop = loop {
                if copy.ended {
                    if copy.is_binary() && at < buffer.len() {
                        break Some(Err(copy.in_context(behind_the_end(), &[])));
                    }
                    at = buffer.len();
                    break Some(Ok(()));
                }
                match copy.next_row(&buffer[at..], last, &mut context) {
                    Err(error) => break Some(Err(copy.in_context(error, &buffer[at..]))),
                    Ok(Step::Incomplete) => break Some(Ok(())),
                    Ok(Step::Skip(length)) => at += length,
                    Ok(Step::Row(row, length)) => {
                        lines.push((copy.line, copy.line_bytes.map(|bytes| at..at + bytes)));
                        at += length;
                        rows.push(row);
                        if rows.len() >= RUN_ROWS_MAX || at - from >= RUN_BYTES_MAX {
                            break None;
                        }
                    }
                }
            };
            if let Err((row, error)) = writer.insert_many(&mut context, &rows).await {
                let (line, range) = lines.get(row).cloned().unwrap_or((copy.line, None));
                (copy.line, copy.line_bytes) = (line, range.as_ref().map(ExactSizeIterator::len));
                break Err(copy.in_context(error, &buffer[range.unwrap_or_default()]));
            }
            copy.rows += rows.len() as u64;
            let loaded = if rules.loads() { context.transaction.load().await } else { Ok(()) };
            if let Err(error) = violations::loaded(loaded, &mut context) {
                copy.line_bytes = None;
                break Err(copy.in_context(error, &[]));
            }
            if let Some(stop) = stop {
                break stop;
            }
            if let Err(error) = breathe(&eval).await {
                copy.line_bytes = None;
                break Err(copy.in_context(error, &[]));
            }
        };
        let result = match result {
            Ok(()) if last => match violations::loaded(context.transaction.finish_load().await, &mut context) {
                Ok(()) => writer.finish(&mut context).await,
                error => error,
            },
            other => other,
        };
        copy.writer = writer.suspend();
        buffer.drain(..at);
        buffer.shrink_to(UNCOUNTED_BYTES_MAX);
        copy.buffer = buffer;
        result?;
        // Half a number of fields is none.
        if last && copy.buffer.len() > 1 {
            return Err(copy.cut_off());
        }
        Ok(())
    }

    /// Up to `rows_max` further records, each to be sent as one message; none at the end.
    ///
    /// # Errors
    /// The query's.
    pub async fn copy_out(&mut self, copy: &mut CopyOut, rows_max: usize) -> Result<Option<Vec<bytes::Bytes>>> {
        if copy.finished {
            return Ok(None);
        }
        let mut out: Vec<bytes::Bytes> = Vec::new();
        // The binary header comes with the first row: readers take each message for a row.
        let mut prefix = Vec::new();
        if std::mem::take(&mut copy.header_pending) {
            if copy.is_binary() {
                prefix = copy.header();
            } else {
                out.push(copy.header().into());
            }
        }
        match self.fetch(&mut copy.result, rows_max).await? {
            None => {
                copy.finished = true;
                if copy.is_binary() {
                    prefix.extend(binary::trailer());
                    out.push(prefix.into());
                }
            }
            Some(block) => {
                let options = self.format_options();
                let columns = copy.result.columns.clone();
                let names = if copy.is_binary() { None } else { self.names_for(columns.iter().map(|c| c.ty.ty))? };
                for row in 0..block.len() {
                    let values = columns.iter().enumerate().map(|(at, c)| {
                        let value = block.datum(row, at, c.ty.ty)?;
                        Ok(match &names {
                            Some(names) => crate::eval::with_names(names, value, c.ty.ty),
                            None => value,
                        })
                    });
                    let values = values.collect::<Result<Vec<_>>>()?;
                    let mut record = std::mem::take(&mut prefix);
                    record.extend(copy.record(&columns, &values, &options)?);
                    out.push(record.into());
                    copy.rows += 1;
                }
            }
        }
        Ok(Some(out))
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
fn behind_the_end() -> Error {
    Error::new(ErrorKind::BadCopyFileFormat, "received copy data after EOF marker")
}

/// What stood at the front of the data.
enum Step {
    Row(Vec<Datum>, usize),
    /// Bytes that are no row: a header, the end marker.
    Skip(usize),
    Incomplete,
}

impl CopyIn {
    /// An error of the row that stands at the front of `data`: with its text, if the row as a whole is wrong.
    fn in_context(&self, error: Error, data: &[u8]) -> Error {
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

    /// The last row of the binary format is not there as a whole.
    fn cut_off(&self) -> Error {
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
    fn next_row(&mut self, data: &[u8], last: bool, context: &mut StatementContext<'_>) -> Result<Step> {
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
                let Some(line) = text::line(data, self.text_resume, &mut self.ends, last)? else {
                    self.line -= 1;
                    // A carriage return is looked at again with what comes behind it.
                    self.text_resume = data.len() - usize::from(data.ends_with(b"\r"));
                    return Ok(Step::Incomplete);
                };
                self.text_resume = 0;
                let Line { end, next, is_last } = line;
                self.line_bytes = Some(end);
                self.ended = is_last;
                if is_last && end == 0 {
                    return Ok(Step::Skip(next));
                }
                if std::mem::take(&mut self.header_pending) {
                    if self.options.header_matches {
                        let mut names = Vec::with_capacity(self.columns.len());
                        text::fields(&data[..end], self.options.delimiter, &self.options.null, &mut names)?;
                        self.check_header(&names)?;
                    }
                    return Ok(Step::Skip(next));
                }
                let mut fields = Vec::with_capacity(self.columns.len());
                text::fields(&data[..end], self.options.delimiter, &self.options.null, &mut fields)?;
                Ok(Step::Row(self.row_of_text(&fields, context)?, next))
            }
            CopyFormat::Csv => {
                self.begin_line();
                let counted = self.ends.counted();
                let Some(line) = csv::record(data, &self.options, &mut self.csv_resume, &mut self.ends, last)? else {
                    self.line -= 1;
                    return Ok(Step::Incomplete);
                };
                let Line { end, next, is_last } = line;
                self.line += memchr::memchr_iter(counted, &data[..end]).count() as u64;
                self.line_bytes = Some(end);
                self.ended = is_last;
                if is_last {
                    return Ok(Step::Skip(next));
                }
                if std::mem::take(&mut self.header_pending) {
                    if self.options.header_matches {
                        let mut names = Vec::with_capacity(self.columns.len());
                        csv::fields(&data[..end], &self.options, &mut names)?;
                        let is_null = |field: &CsvField| !field.quoted && field.text == self.options.null;
                        let names = names.into_iter().map(|field| (!is_null(&field)).then_some(Cow::Owned(field.text)));
                        self.check_header(&names.collect::<Vec<_>>())?;
                    }
                    return Ok(Step::Skip(next));
                }
                let mut fields: Vec<CsvField> = Vec::with_capacity(self.columns.len());
                csv::fields(&data[..end], &self.options, &mut fields)?;
                let fields: Vec<Option<Cow<'_, str>>> = fields
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
            return Err(Error::new(ErrorKind::BadCopyFileFormat, "extra data after last expected column"));
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
