//! Statements about the session itself: transaction control, SET and SHOW, PREPARE and EXECUTE, cursors, EXPLAIN, COPY.

use std::sync::Arc;

use sqlparser::ast::{
    self, CloseCursor, ContextModifier, DiscardObject, Expr as AstExpr, FetchDirection, Ident, ObjectName, Reset, Set,
    Statement, TransactionAccessMode, TransactionIsolationLevel, TransactionMode, Value,
};
use stratos_replication::{Isolation, LockMode};
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::cursor::Movement;
use super::plan::{Planned, Prepared};
use super::session::Session;
use super::transaction::{NamedSavepoint, SAVEPOINTS_MAX, isolation_name};
use crate::binder::{self, Body, ParsedStatement};
use crate::catalog::Relation;
use crate::exec::stored;
use crate::ir::{ColumnId, OutputColumn};
use crate::result::{ResultSet, StatementResult};

/// Whether the statement may run in a failed transaction block, because it ends it or goes back before the failure.
pub fn ends_failed_block(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. })
}

fn text_column(name: &str) -> OutputColumn {
    OutputColumn { id: ColumnId(0), name: name.to_owned(), ty: PgType::Text.into(), origin: None }
}

/// Columns of the utility statements whose result does not depend on the session.
pub fn output_of(statement: &Statement) -> Vec<OutputColumn> {
    match statement {
        Statement::ShowVariable { variable } => match show_name(variable).as_str() {
            "all" => ["name", "setting", "description"].map(text_column).into(),
            name => vec![text_column(&shown_as(name))],
        },
        Statement::Explain { .. } => vec![text_column("QUERY PLAN")],
        _ => Vec::new(),
    }
}

fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn setting_name(name: &ObjectName) -> String {
    let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(|i| i.value.clone()).collect();
    parts.join(".")
}

fn show_name(variable: &[Ident]) -> String {
    let words: Vec<String> = variable.iter().map(|i| i.value.to_lowercase()).collect();
    match words.join(" ").as_str() {
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "session authorization" => "session_authorization".to_owned(),
        "time zone" => "timezone".to_owned(),
        // `a.b` comes as two words from the parser.
        other => other.replace(' ', "."),
    }
}

/// Postgres names the column by the setting's own spelling.
fn shown_as(name: &str) -> String {
    match name {
        "timezone" => "TimeZone".to_owned(),
        "datestyle" => "DateStyle".to_owned(),
        "intervalstyle" => "IntervalStyle".to_owned(),
        other => other.to_owned(),
    }
}

/// The value of a SET as text; `None` is DEFAULT.
fn setting_value(values: &[AstExpr]) -> Result<Option<String>> {
    let mut parts = Vec::with_capacity(values.len());
    for value in values {
        parts.push(match value {
            AstExpr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default") =>
            {
                return Ok(None);
            }
            AstExpr::Identifier(ident) if ident.quote_style.is_some() => {
                if values.len() > 1 {
                    format!("\"{}\"", ident.value.replace('"', "\"\""))
                } else {
                    ident.value.clone()
                }
            }
            AstExpr::Identifier(ident) => ident.value.clone(),
            AstExpr::CompoundIdentifier(parts) => parts.iter().map(|i| i.value.clone()).collect::<Vec<_>>().join("."),
            AstExpr::Value(value) => literal(&value.value)?,
            AstExpr::UnaryOp { op, expr } => match expr.as_ref() {
                AstExpr::Value(value) => format!("{op}{}", literal(&value.value)?),
                _ => return Err(bad_value(value)),
            },
            AstExpr::Interval(interval) => match interval.value.as_ref() {
                AstExpr::Value(value) => literal(&value.value)?,
                _ => return Err(bad_value(value)),
            },
            AstExpr::TypedString(typed) => literal(&typed.value.value)?,
            _ => return Err(bad_value(value)),
        });
    }
    Ok(Some(parts.join(", ")))
}

fn bad_value(value: &AstExpr) -> Error {
    Error::new(ErrorKind::SyntaxError, format!("SET takes constants only, not \"{value}\""))
}

fn literal(value: &Value) -> Result<String> {
    match value {
        Value::Number(text, _) => Ok(text.clone()),
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) | Value::DoubleQuotedString(text) => {
            Ok(text.clone())
        }
        Value::DollarQuotedString(text) => Ok(text.value.clone()),
        Value::Boolean(on) => Ok(if *on { "on" } else { "off" }.to_owned()),
        Value::Null => Err(Error::new(ErrorKind::InvalidParameterValue, "NULL is not a value of a setting")),
        other => Err(Error::new(ErrorKind::SyntaxError, format!("unexpected value {other}"))),
    }
}

/// Isolation level and read-only of a list of transaction modes.
struct Modes {
    isolation: Option<Isolation>,
    read_only: Option<bool>,
}

fn modes(modes: &[TransactionMode]) -> Result<Modes> {
    let mut wanted = Modes { isolation: None, read_only: None };
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(mode) => wanted.read_only = Some(*mode == TransactionAccessMode::ReadOnly),
            TransactionMode::IsolationLevel(level) => {
                wanted.isolation = Some(match level {
                    TransactionIsolationLevel::ReadUncommitted | TransactionIsolationLevel::ReadCommitted => {
                        Isolation::ReadCommitted
                    }
                    TransactionIsolationLevel::RepeatableRead => Isolation::RepeatableRead,
                    TransactionIsolationLevel::Serializable => Isolation::Serializable,
                    TransactionIsolationLevel::Snapshot => return Err(Error::unsupported("ISOLATION LEVEL SNAPSHOT")),
                });
            }
        }
    }
    Ok(wanted)
}

fn done(tag: impl Into<String>) -> Result<StatementResult> {
    Ok(StatementResult::Done(tag.into()))
}

fn count_of(value: &ast::ValueWithSpan) -> Result<i64> {
    match &value.value {
        Value::Number(text, _) => text.parse().map_err(|_| Error::out_of_range("bigint")),
        other => Err(Error::new(ErrorKind::SyntaxError, format!("unexpected {other}, a number was expected"))),
    }
}

fn movement(direction: &FetchDirection) -> Result<Movement> {
    let signed = |n: i64| {
        if n >= 0 { Movement::Forward(Some(n.unsigned_abs())) } else { Movement::Backward(Some(n.unsigned_abs())) }
    };
    Ok(match direction {
        FetchDirection::Next => Movement::Forward(Some(1)),
        FetchDirection::Prior => Movement::Backward(Some(1)),
        FetchDirection::First => Movement::Absolute(1),
        FetchDirection::Last => Movement::Absolute(-1),
        FetchDirection::Count { limit } => signed(count_of(limit)?),
        FetchDirection::Absolute { limit } => Movement::Absolute(count_of(limit)?),
        FetchDirection::Relative { limit } => Movement::Relative(count_of(limit)?),
        FetchDirection::All | FetchDirection::ForwardAll => Movement::Forward(None),
        FetchDirection::BackwardAll => Movement::Backward(None),
        FetchDirection::Forward { limit } => signed(limit.as_ref().map_or(Ok(1), count_of)?),
        FetchDirection::Backward { limit } => signed(-limit.as_ref().map_or(Ok(1), count_of)?),
    })
}

impl Session {
    /// Columns of utility statements that depend on the session: FETCH and EXECUTE.
    pub(super) fn output_of_utility(&self, planned: &Planned) -> Result<Option<Arc<[OutputColumn]>>> {
        let super::plan::Action::Utility(body) = &planned.action else { return Ok(None) };
        let Body::Sql(statement) = body.as_ref() else { return Ok(None) };
        match statement.as_ref() {
            Statement::Fetch { name, .. } => self.cursor_columns(&fold(name)).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) async fn run_utility(
        &mut self,
        prepared: &Prepared,
        body: &Body,
        params: Vec<Datum>,
        in_string: bool,
    ) -> Result<StatementResult> {
        let statement = match body {
            Body::Sql(statement) => statement.as_ref(),
            Body::Vacuum(tables) => return self.vacuum(tables),
            Body::Checkpoint => return done("CHECKPOINT"),
            Body::Copy(copy) => return Box::pin(self.copy(prepared, copy)).await,
            Body::Ddl(_) => return Err(Error::internal("DDL came as a utility statement")),
        };
        match statement {
            Statement::StartTransaction { modes: wanted, begin, modifier, statements, exception, .. } => {
                if modifier.is_some() || !statements.is_empty() || exception.is_some() {
                    return Err(Error::unsupported("BEGIN with a modifier or a body"));
                }
                self.begin(modes(wanted)?)?;
                done(if *begin { "BEGIN" } else { "START TRANSACTION" })
            }
            Statement::Commit { chain, modifier, .. } => {
                if modifier.is_some() {
                    return Err(Error::unsupported("COMMIT with a modifier"));
                }
                self.commit(*chain).await
            }
            Statement::Rollback { chain, savepoint: None } => {
                self.rollback(*chain).await;
                done("ROLLBACK")
            }
            Statement::Rollback { savepoint: Some(name), .. } => self.rollback_to(&fold(name)),
            Statement::Savepoint { name } => self.savepoint(fold(name)),
            Statement::ReleaseSavepoint { name } => self.release(&fold(name)),
            Statement::Set(set) => self.set(set),
            Statement::Reset(reset) => {
                let mut settings = self.shared.settings.lock();
                match &reset.reset {
                    Reset::ALL => settings.reset_all()?,
                    Reset::ConfigurationParameter(name) => settings.reset(&setting_name(name))?,
                }
                done("RESET")
            }
            Statement::ShowVariable { variable } => self.show(&show_name(variable)),
            Statement::Prepare { name, data_types, statement } => {
                self.prepare_by_name(prepared, name, data_types, statement)
            }
            Statement::Execute { name, parameters, immediate, into, using, output, default, .. } => {
                if *immediate || !into.is_empty() || !using.is_empty() || *output || *default {
                    return Err(Error::unsupported("EXECUTE with INTO, USING or IMMEDIATE"));
                }
                let name = name.as_ref().map(setting_name).unwrap_or_default();
                Box::pin(self.execute_by_name(&name.to_lowercase(), parameters, in_string)).await
            }
            Statement::Deallocate { name, .. } => {
                let name = fold(name);
                if name == "all" {
                    self.prepared.clear();
                    return done("DEALLOCATE ALL");
                }
                self.prepared(&name)?;
                self.prepared.remove(&name);
                done("DEALLOCATE")
            }
            Statement::Declare { stmts } => Box::pin(self.declare(prepared, stmts, in_string)).await,
            Statement::Fetch { name, direction, into, .. } => {
                if into.is_some() {
                    return Err(Error::unsupported("FETCH INTO"));
                }
                let name = fold(name);
                let columns = self.cursor_columns(&name)?;
                let rows = self.move_cursor(&name, movement(direction)?).await?;
                Ok(StatementResult::Rows(ResultSet::from_rows(columns, "FETCH", rows)))
            }
            Statement::Close { cursor } => {
                match cursor {
                    CloseCursor::All => self.close_cursor(None)?,
                    CloseCursor::Specific { name } => self.close_cursor(Some(&fold(name)))?,
                }
                done("CLOSE CURSOR")
            }
            Statement::Discard { object_type } => self.discard(object_type, in_string),
            Statement::Explain { .. } => Box::pin(self.explain(prepared, statement, params)).await,
            Statement::Lock(lock) => self.lock_tables(lock).await,
            Statement::Analyze(analyze) => {
                if analyze.partitions.is_some()
                    || analyze.cache_metadata
                    || analyze.noscan
                    || analyze.compute_statistics
                {
                    return Err(Error::unsupported("ANALYZE with options"));
                }
                if let Some(name) = &analyze.table_name {
                    self.existing_table(name)?;
                }
                // Row counts and sizes are exact at every commit: there is nothing to gather.
                done("ANALYZE")
            }
            other => {
                let text = other.to_string();
                let first: Vec<&str> = text.split_whitespace().take(2).collect();
                Err(Error::unsupported(first.join(" ").to_uppercase()))
            }
        }
    }

    /// VACUUM: old versions are removed in the background all the time, and row counts are exact, so there is nothing to do
    /// but to look whether the tables exist.
    fn vacuum(&mut self, tables: &[ObjectName]) -> Result<StatementResult> {
        if self.block.as_ref().is_some_and(|block| block.explicit) {
            return Err(Error::new(ErrorKind::ActiveSqlTransaction, "VACUUM cannot run inside a transaction block"));
        }
        for table in tables {
            self.existing_table(table)?;
        }
        done("VACUUM")
    }

    fn begin(&mut self, wanted: Modes) -> Result<()> {
        match &mut self.block {
            Some(block) if block.explicit => {
                self.warning(ErrorKind::ActiveSqlTransaction, "there is already a transaction in progress");
                Ok(())
            }
            // An implicit transaction that has done something becomes the block, as in Postgres.
            Some(block) if block.used => {
                block.explicit = true;
                if wanted.isolation.is_some_and(|level| level != block.store.isolation()) {
                    return Err(isolation_too_late());
                }
                Ok(())
            }
            _ => {
                self.block = None;
                self.ensure_block();
                let block = self.ensure_block();
                let isolation = wanted.isolation.unwrap_or(block.store.isolation());
                let read_only = wanted.read_only.unwrap_or(block.read_only);
                self.start_block(isolation, read_only, true);
                Ok(())
            }
        }
    }

    async fn commit(&mut self, chain: bool) -> Result<StatementResult> {
        let Some(block) = &self.block else {
            if chain {
                return Err(Error::new(
                    ErrorKind::NoActiveSqlTransaction,
                    "COMMIT AND CHAIN can only be used in transaction blocks",
                ));
            }
            self.warning(ErrorKind::NoActiveSqlTransaction, "there is no transaction in progress");
            return done("COMMIT");
        };
        let (failed, isolation, read_only) = (block.failed, block.store.isolation(), block.read_only);
        if !block.explicit {
            self.warning(ErrorKind::NoActiveSqlTransaction, "there is no transaction in progress");
        }
        if failed {
            self.rollback_block().await;
        } else {
            self.commit_block().await?;
        }
        self.end_cursors();
        if chain {
            self.start_block(isolation, read_only, true);
        }
        done(if failed { "ROLLBACK" } else { "COMMIT" })
    }

    async fn rollback(&mut self, chain: bool) {
        let again = self.block.as_ref().map(|b| (b.explicit, b.store.isolation(), b.read_only));
        if !again.is_some_and(|(explicit, ..)| explicit) {
            self.warning(ErrorKind::NoActiveSqlTransaction, "there is no transaction in progress");
        }
        self.rollback_block().await;
        self.end_cursors();
        if let (true, Some((_, isolation, read_only))) = (chain, again) {
            self.start_block(isolation, read_only, true);
        }
    }

    fn explicit_block(&mut self, statement: &str) -> Result<&mut super::transaction::Block> {
        match &mut self.block {
            Some(block) if block.explicit => Ok(block),
            _ => Err(Error::new(
                ErrorKind::NoActiveSqlTransaction,
                format!("{statement} can only be used in transaction blocks"),
            )),
        }
    }

    fn savepoint(&mut self, name: String) -> Result<StatementResult> {
        let settings = self.shared.settings.lock().clone();
        let block = self.explicit_block("SAVEPOINT")?;
        if block.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(Error::new(ErrorKind::ProgramLimitExceeded, "too many savepoints in this transaction"));
        }
        let id = block.store.savepoint();
        block.savepoints.push(NamedSavepoint {
            name,
            id,
            settings,
            catalog: block.catalog.clone(),
            jobs: block.jobs.len(),
        });
        done("SAVEPOINT")
    }

    fn find_savepoint(&mut self, statement: &str, name: &str) -> Result<usize> {
        let block = self.explicit_block(statement)?;
        block.savepoints.iter().rposition(|s| s.name == name).ok_or_else(|| {
            Error::new(ErrorKind::InvalidSavepointSpecification, format!("savepoint \"{name}\" does not exist"))
        })
    }

    fn release(&mut self, name: &str) -> Result<StatementResult> {
        let at = self.find_savepoint("RELEASE SAVEPOINT", name)?;
        let block = self.explicit_block("RELEASE SAVEPOINT")?;
        block.store.release(block.savepoints[at].id);
        block.savepoints.truncate(at);
        done("RELEASE")
    }

    fn rollback_to(&mut self, name: &str) -> Result<StatementResult> {
        let at = self.find_savepoint("ROLLBACK TO SAVEPOINT", name)?;
        let block = self.explicit_block("ROLLBACK TO SAVEPOINT")?;
        block.savepoints.truncate(at + 1);
        let savepoint = &block.savepoints[at];
        block.store.rollback_to(savepoint.id);
        block.catalog = savepoint.catalog.clone();
        block.jobs.truncate(savepoint.jobs);
        block.failed = false;
        let settings = savepoint.settings.clone();
        *self.shared.settings.lock() = settings;
        self.publish_catalog();
        done("ROLLBACK")
    }

    fn set(&mut self, set: &Set) -> Result<StatementResult> {
        match set {
            Set::SingleAssignment { scope, hivevar, variable, values } => {
                if *hivevar || matches!(scope, Some(ContextModifier::Global)) {
                    return Err(Error::unsupported("SET GLOBAL"));
                }
                let local = matches!(scope, Some(ContextModifier::Local));
                self.assign(&setting_name(variable), setting_value(values)?, local)?;
            }
            Set::SetTimeZone { local, value } => {
                let value = setting_value(std::slice::from_ref(value))?;
                self.assign("TimeZone", value, *local)?;
            }
            Set::SetNames { charset_name, collation_name: None } => {
                self.assign("client_encoding", Some(charset_name.value.clone()), false)?;
            }
            Set::SetNamesDefault {} => self.assign("client_encoding", None, false)?,
            Set::SetTransaction { modes: wanted, snapshot: None, session: true } => {
                let wanted = modes(wanted)?;
                if let Some(level) = wanted.isolation {
                    self.assign("default_transaction_isolation", Some(isolation_name(level).into()), false)?;
                }
                if let Some(read_only) = wanted.read_only {
                    let value = if read_only { "on" } else { "off" };
                    self.assign("default_transaction_read_only", Some(value.into()), false)?;
                }
            }
            Set::SetTransaction { modes: wanted, snapshot: None, session: false } => {
                self.set_transaction(modes(wanted)?)?;
            }
            Set::SetRole { context_modifier: None, role_name } => match role_name {
                None => {}
                Some(name) if fold(name) == self.shared.user || fold(name) == "none" => {}
                Some(_) => return Err(Error::unsupported("SET ROLE to another role")),
            },
            other => return Err(Error::unsupported(format_args!("SET in the form \"{other}\""))),
        }
        done("SET")
    }

    fn assign(&mut self, name: &str, value: Option<String>, local: bool) -> Result<()> {
        let lower = name.to_ascii_lowercase();
        if lower == "transaction_isolation" || lower == "transaction_read_only" {
            let value = value.ok_or_else(|| {
                Error::new(ErrorKind::CantChangeRuntimeParam, format!("parameter \"{lower}\" cannot be reset"))
            })?;
            let mut wanted = Modes { isolation: None, read_only: None };
            if lower == "transaction_isolation" {
                let mut scratch = super::Settings::default();
                scratch.set("default_transaction_isolation", &value)?;
                let level = scratch.show("default_transaction_isolation")?;
                wanted.isolation = Some(super::transaction::isolation_from_name(&level));
            } else {
                let parsed = super::settings::parse_bool(&value);
                wanted.read_only = Some(parsed.ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidParameterValue,
                        format!("parameter \"{lower}\" requires a Boolean value"),
                    )
                })?);
            }
            return self.set_transaction(wanted);
        }
        if local && self.block.as_ref().is_none_or(|b| !b.explicit) {
            self.warning(ErrorKind::NoActiveSqlTransaction, "SET LOCAL can only be used in transaction blocks");
        }
        let mut settings = self.shared.settings.lock();
        match value {
            None => settings.reset(name),
            Some(value) if local => settings.set_local(name, &value),
            Some(value) => settings.set(name, &value),
        }
    }

    fn set_transaction(&mut self, wanted: Modes) -> Result<()> {
        if self.block.is_none() {
            self.warning(ErrorKind::NoActiveSqlTransaction, "SET TRANSACTION can only be used in transaction blocks");
            return Ok(());
        }
        let block = self.ensure_block();
        if wanted.isolation.is_some_and(|level| block.used && level != block.store.isolation()) {
            return Err(isolation_too_late());
        }
        if wanted.read_only == Some(false) && block.read_only && block.used {
            return Err(Error::new(
                ErrorKind::ActiveSqlTransaction,
                "transaction read-write mode must be set before any query",
            ));
        }
        let isolation = wanted.isolation.unwrap_or(block.store.isolation());
        let read_only = wanted.read_only.unwrap_or(block.read_only);
        let explicit = block.explicit;
        if block.used {
            block.read_only = read_only;
            self.shared.read_only.store(read_only, std::sync::atomic::Ordering::Relaxed);
            return Ok(());
        }
        if !block.savepoints.is_empty() {
            return Err(Error::new(
                ErrorKind::ActiveSqlTransaction,
                "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction",
            ));
        }
        let settings_before = block.settings_before.clone();
        self.start_block(isolation, read_only, explicit);
        self.ensure_block().settings_before = settings_before;
        Ok(())
    }

    fn show(&mut self, name: &str) -> Result<StatementResult> {
        if name == "all" {
            let settings = self.shared.settings.lock().all();
            let rows = settings
                .into_iter()
                .map(|(name, value, about)| vec![Datum::text(name), Datum::text(value), Datum::text(about)])
                .collect();
            let columns = ["name", "setting", "description"].map(text_column);
            return Ok(StatementResult::Rows(ResultSet::from_rows(Arc::new(columns), "SHOW", rows)));
        }
        let value = match (name, &self.block) {
            ("transaction_isolation", Some(block)) => isolation_name(block.store.isolation()).to_owned(),
            ("transaction_isolation", None) => self.shared.settings.lock().show("default_transaction_isolation")?,
            ("transaction_read_only", Some(block)) => if block.read_only { "on" } else { "off" }.to_owned(),
            ("transaction_read_only", None) => self.shared.settings.lock().show("default_transaction_read_only")?,
            _ => self.shared.settings.lock().show(name)?,
        };
        let columns = Arc::new([text_column(&shown_as(name))]);
        Ok(StatementResult::Rows(ResultSet::from_rows(columns, "SHOW", vec![vec![Datum::text(value)]])))
    }

    fn prepare_by_name(
        &mut self,
        prepared: &Prepared,
        name: &Ident,
        types: &[ast::DataType],
        statement: &Statement,
    ) -> Result<StatementResult> {
        let name = fold(name);
        if self.prepared.contains_key(&name) {
            return Err(Error::new(
                ErrorKind::DuplicatePreparedStatement,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let declared = types.iter().map(|ty| binder::column_type(ty).map(|ty| Some(ty.ty))).collect::<Result<_>>()?;
        let mut inner = Prepared::new(self.inner_statement(prepared, statement), declared);
        inner.from_sql = true;
        self.plan(&inner)?;
        self.prepared.insert(name, Arc::new(inner));
        done("PREPARE")
    }

    /// A statement inside another one (PREPARE, EXPLAIN, DECLARE), with the outer text for positions in errors.
    pub(super) fn inner_statement(&self, outer: &Prepared, statement: &Statement) -> Option<ParsedStatement> {
        outer
            .parsed
            .as_ref()
            .map(|parsed| ParsedStatement { body: Body::Sql(Box::new(statement.clone())), ..parsed.clone() })
    }

    async fn execute_by_name(&mut self, name: &str, arguments: &[AstExpr], in_string: bool) -> Result<StatementResult> {
        let prepared = self.prepared(name)?;
        let Some(planned) = self.plan(&prepared)? else { return Ok(StatementResult::Empty) };
        if arguments.len() != planned.params.len() {
            return Err(Error::new(
                ErrorKind::SyntaxError,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .with_detail(format!(
                "Expected {} parameters but got {}.",
                planned.params.len(),
                arguments.len()
            )));
        }
        let context = self.bind_context(&planned.catalog, None);
        let eval = self.eval_context(&planned.catalog);
        let mut params = Vec::with_capacity(arguments.len());
        for (argument, ty) in arguments.iter().zip(&planned.params) {
            params.push(binder::eval_constant(argument, (*ty).into(), &context, &eval)?);
        }
        self.execute(&prepared, planned, params, in_string).await
    }

    fn shared_search_path(&self) -> Vec<String> {
        use super::Host;
        self.shared.search_path(false)
    }

    async fn declare(
        &mut self,
        prepared: &Prepared,
        statements: &[ast::Declare],
        in_string: bool,
    ) -> Result<StatementResult> {
        let [declare] = statements else { return Err(Error::unsupported("DECLARE of several things")) };
        let (Some(query), [name]) = (&declare.for_query, declare.names.as_slice()) else {
            return Err(Error::unsupported("DECLARE of anything but a cursor"));
        };
        if declare.binary == Some(true) {
            return Err(Error::unsupported("DECLARE BINARY CURSOR"));
        }
        let hold = declare.hold == Some(true);
        if !hold && !in_string && self.block.as_ref().is_none_or(|b| !b.explicit) {
            return Err(Error::new(
                ErrorKind::NoActiveSqlTransaction,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        let statement = Statement::Query(query.clone());
        let inner = Prepared::new(self.inner_statement(prepared, &statement), Vec::new());
        let Some(planned) = self.plan(&inner)? else { return Ok(StatementResult::Empty) };
        match self.execute(&inner, planned, Vec::new(), in_string).await? {
            StatementResult::Rows(result) => {
                self.declare_cursor(fold(name), result, declare.scroll == Some(true), hold).await?;
                done("DECLARE CURSOR")
            }
            _ => Err(Error::internal("a cursor's query gives no rows")),
        }
    }

    fn discard(&mut self, what: &DiscardObject, in_string: bool) -> Result<StatementResult> {
        match what {
            DiscardObject::ALL => {
                if in_string || self.block.as_ref().is_some_and(|b| b.explicit) {
                    return Err(Error::new(
                        ErrorKind::ActiveSqlTransaction,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.close_cursor(None)?;
                self.prepared.clear();
                self.shared.discard_sequences();
                self.shared.settings.lock().reset_all()?;
                done("DISCARD ALL")
            }
            DiscardObject::PLANS => done("DISCARD PLANS"),
            DiscardObject::SEQUENCES => {
                self.shared.discard_sequences();
                done("DISCARD SEQUENCES")
            }
            DiscardObject::TEMP => done("DISCARD TEMP"),
        }
    }

    /// The user's table of that name.
    pub(crate) fn existing_table(&mut self, name: &ObjectName) -> Result<Arc<crate::catalog::Table>> {
        let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
        let (schema, relation) = match parts.as_slice() {
            [name] => (None, name),
            [schema, name] => (Some(schema.as_str()), name),
            _ => return Err(Error::new(ErrorKind::SyntaxError, format!("improper qualified name: {name}"))),
        };
        let catalog = self.current_catalog()?;
        match catalog.find_relation(schema, relation, &self.shared_search_path()) {
            Some(Relation::Table(table)) => Ok(table),
            Some(other) => Err(Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is not a table", other.name()))),
            None => {
                Err(Error::new(ErrorKind::UndefinedTable, format!("relation \"{}\" does not exist", parts.join("."))))
            }
        }
    }

    async fn lock_tables(&mut self, lock: &ast::Lock) -> Result<StatementResult> {
        self.explicit_block("LOCK TABLE")?;
        for target in &lock.tables {
            let table = self.existing_table(&target.name)?;
            use ast::LockTableMode as Mode;
            // Readers take no table locks here, so only what keeps writers out has an effect that anybody can see.
            let mode = match lock.lock_mode {
                Some(Mode::AccessShare | Mode::RowShare) => continue,
                Some(Mode::RowExclusive) => LockMode::KeyShare,
                _ => LockMode::Update,
            };
            if lock.nowait {
                let key = crate::catalog::keys::table(table.database, table.oid);
                let wait = stratos_replication::WaitPolicy::NoWait;
                stored(self.ensure_block().store.lock_object(&key, mode, wait).await).map_err(|error| {
                    if error.kind() == ErrorKind::LockNotAvailable {
                        Error::new(
                            ErrorKind::LockNotAvailable,
                            format!("could not obtain lock on relation \"{}\"", table.name),
                        )
                    } else {
                        error
                    }
                })?;
            } else {
                self.lock_table(table.database, table.oid, mode).await?;
            }
        }
        done("LOCK TABLE")
    }
}

fn isolation_too_late() -> Error {
    Error::new(ErrorKind::ActiveSqlTransaction, "SET TRANSACTION ISOLATION LEVEL must be called before any query")
}
