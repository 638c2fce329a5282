//! COPY FROM STDIN and COPY TO STDOUT of a session.

use sqlparser::ast::{Ident, ObjectName, Statement};
use stratos_types::{Error, ErrorKind, Result};

use super::binary;
use super::incoming::{CopyIn, Step, UNCOUNTED_BYTES_MAX, behind_the_end};
use super::lines::LineEnds;
use super::options::{CopyFormat, CopyOptions};
use super::out::CopyOut;
use super::parse::{CopyCondition, CopySource, CopyStatement};
use crate::binder::ScalarBinder;
use crate::catalog::{Table, is_temporary_name, temporary_schema_name};
use crate::eval::{Layout, Program};
use crate::exec::violations;
use crate::exec::write::{TableWriter, WriterState};
use crate::exec::{StatementContext, breathe};
use crate::ir::ColumnId;
use crate::result::StatementResult;
use crate::session::{Prepared, Session};

/// Rows that are written together, and the bytes of data after which no further one joins them.
const RUN_ROWS_MAX: usize = 1024;
const RUN_BYTES_MAX: usize = 256 << 10;

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

fn is_system_table(name: &ObjectName) -> bool {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(crate::binder::fold_ident).collect();
    match parts.as_slice() {
        [name] => crate::system::find("pg_catalog", name).is_some(),
        [schema, name] => crate::system::find(schema, name).is_some(),
        _ => false,
    }
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
                match self.existing_table(table_name) {
                    Ok(table) => {
                        let positions = column_positions(&table, columns)?;
                        let named = options.force_quote.iter().filter(|name| *name != "*").cloned();
                        must_be_copied(&table, &positions, &named.collect::<Vec<_>>(), "FORCE_QUOTE")?;
                    }
                    // Those of the catalogs are read like others.
                    Err(error) if error.kind() == ErrorKind::UndefinedTable && is_system_table(table_name) => {}
                    Err(error) => return Err(error),
                }
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
        if last && copy.lacks_header() {
            return Err(binary::header_cut_off(&copy.buffer));
        }
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
