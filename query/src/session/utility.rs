//! Statements about the session itself: transaction control, SET and SHOW, PREPARE and EXECUTE, cursors, EXPLAIN, COPY.

use std::borrow::Cow;
use std::sync::Arc;

use sqlparser::ast::{self, CloseCursor, DiscardObject, Expr as AstExpr, Ident, ObjectName, Reset, Statement};
use sqlparser::tokenizer::Span;
use stratos_replication::{LockMode, TableLockMode};
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::block::modes;
use super::plan::{Planned, Prepared};
use super::session::Session;
use super::set::{SEED, setting_name, show_name, shown_as};
use super::transaction::Company;
pub(super) use crate::binder::fold_ident as fold;
use crate::binder::{self, Body, CursorMove, Maintenance, ParsedStatement};
use crate::catalog::{Relation, Table};
use crate::ddl::DdlStatement;
use crate::exec::stored;
use crate::ir::{ColumnId, OutputColumn};
use crate::result::StatementResult;

/// Whether the statement may run in a failed transaction block, because it ends it or goes back before the failure.
pub fn ends_failed_block(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. })
}

pub(super) fn text_column(name: &str) -> OutputColumn {
    OutputColumn { id: ColumnId(0), name: name.to_owned(), ty: PgType::Text.into(), origin: None }
}

/// Columns of the utility statements whose result does not depend on the session.
pub fn output_of(statement: &Statement) -> Vec<OutputColumn> {
    match statement {
        Statement::ShowVariable { variable } => match show_name(variable).as_str() {
            "all" => ["name", "setting", "description"].map(text_column).into(),
            name => vec![text_column(&shown_as(name))],
        },
        Statement::Explain { .. } => {
            vec![OutputColumn { ty: super::explain::explained_as(statement).into(), ..text_column("QUERY PLAN") }]
        }
        _ => Vec::new(),
    }
}

/// The statement inside EXPLAIN or DECLARE, which run it with the parameters that they are given.
pub fn carried(statement: &Statement) -> Option<Cow<'_, Statement>> {
    match statement {
        Statement::Explain { statement, .. } => Some(Cow::Borrowed(statement)),
        Statement::Declare { stmts } => match stmts.as_slice() {
            [ast::Declare { for_query: Some(query), .. }] => Some(Cow::Owned(Statement::Query(query.clone()))),
            _ => None,
        },
        _ => None,
    }
}

/// The name in EXECUTE.
pub(super) fn statement_name(name: &ObjectName) -> String {
    let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
    parts.join(".")
}

pub(super) fn done(tag: impl Into<String>) -> Result<StatementResult> {
    Ok(StatementResult::Done(tag.into()))
}

/// BEGIN, COMMIT, ROLLBACK and their other spellings: without anything that a plan could hold on to.
pub(super) fn is_plain_block_statement(body: &Body) -> bool {
    let Body::Sql(statement) = body else { return false };
    match statement.as_ref() {
        Statement::StartTransaction { .. } | Statement::Commit { .. } => true,
        Statement::Rollback { savepoint, .. } => savepoint.is_none(),
        _ => false,
    }
}

/// As [`is_plain_block_statement`], and what handles savepoints.
pub(super) fn controls_transaction(body: &Body) -> bool {
    let Body::Sql(statement) = body else { return false };
    is_plain_block_statement(body)
        || matches!(
            statement.as_ref(),
            Statement::Rollback { .. } | Statement::Savepoint { .. } | Statement::ReleaseSavepoint { .. }
        )
}

impl Session {
    /// Columns of utility statements that depend on the session: FETCH and EXECUTE. That what they name is not there is told
    /// when they run.
    pub(super) fn output_of_utility(&mut self, planned: &Planned) -> Result<Option<Arc<[OutputColumn]>>> {
        let super::plan::Action::Utility(body) = &planned.action else { return Ok(None) };
        match body.as_ref() {
            Body::Move(CursorMove { name, fetches: true, .. }) => Ok(self.columns_to_fetch(name)),
            Body::Sql(statement) => {
                let Statement::Execute { name: Some(name), .. } = statement.as_ref() else { return Ok(None) };
                let Ok(prepared) = self.prepared(&statement_name(name)) else { return Ok(None) };
                let planned = self.plan_here(&prepared)?;
                Ok(planned.filter(|planned| planned.gives_rows()).map(|planned| planned.output.clone()))
            }
            _ => Ok(None),
        }
    }

    pub(super) async fn run_utility(
        &mut self,
        prepared: &Prepared,
        planned: &Planned,
        body: &Body,
        params: Vec<Datum>,
        company: Company,
    ) -> Result<StatementResult> {
        let statement = match body {
            Body::Sql(statement) => statement.as_ref(),
            Body::Maintain(maintenance) => return self.maintain(maintenance, company),
            Body::Checkpoint => {
                if self.engine.role(&self.shared.user)?.is_some_and(|role| role.superuser) {
                    return done("CHECKPOINT");
                }
                let message = "must be superuser or have privileges of pg_checkpoint to do CHECKPOINT";
                return Err(Error::new(ErrorKind::InsufficientPrivilege, message));
            }
            Body::Copy(copy) => return Box::pin(self.copy(prepared, copy)).await,
            Body::Move(CursorMove { name, movement, fetches }) => {
                if !fetches {
                    return done(format!("MOVE {}", Box::pin(self.move_cursor(name, *movement)).await?));
                }
                return Ok(StatementResult::Rows(Box::pin(self.fetch_from_cursor(name, *movement, "FETCH")).await?));
            }
            Body::SetConstraints { names, deferred } => {
                return Box::pin(self.set_constraints(names.as_deref(), *deferred, company)).await;
            }
            Body::Ddl(_) => return Err(Error::internal("DDL came as a utility statement")),
        };
        match statement {
            Statement::StartTransaction { modes: wanted, begin, modifier, statements, exception, .. } => {
                if modifier.is_some() || !statements.is_empty() || exception.is_some() {
                    return Err(Error::unsupported("BEGIN with a modifier or a body"));
                }
                let text = prepared.parsed.as_ref().map_or("", |parsed| parsed.text());
                self.begin(modes(wanted, text)?)?;
                done(if *begin { "BEGIN" } else { "START TRANSACTION" })
            }
            Statement::Commit { chain, modifier, .. } => {
                if modifier.is_some() {
                    return Err(Error::unsupported("COMMIT with a modifier"));
                }
                Box::pin(self.commit(*chain)).await
            }
            Statement::Rollback { chain, savepoint: None } => Box::pin(self.rollback(*chain)).await,
            Statement::Rollback { savepoint: Some(name), .. } => self.rollback_to(&fold(name)),
            Statement::Savepoint { name } => self.savepoint(fold(name)),
            Statement::ReleaseSavepoint { name } => self.release(&fold(name)),
            Statement::Set(set) => {
                let text = prepared.parsed.as_ref().map_or("", |parsed| parsed.text());
                self.set(set, text, company)
            }
            Statement::Reset(reset) => {
                if let Reset::ConfigurationParameter(name) = &reset.reset
                    && setting_name(name).eq_ignore_ascii_case("transaction_isolation")
                {
                    self.warn_of_reset(company);
                }
                // Taken back when the transaction is.
                self.ensure_block();
                let mut settings = self.shared.settings.lock();
                match &reset.reset {
                    Reset::ALL => settings.reset_all()?,
                    // Nothing but what it would be reset to can be set.
                    Reset::ConfigurationParameter(name)
                        if matches!(
                            setting_name(name).to_ascii_lowercase().as_str(),
                            "role" | "session_authorization" | SEED
                        ) => {}
                    Reset::ConfigurationParameter(name) => settings.reset(&setting_name(name))?,
                }
                done("RESET")
            }
            Statement::ShowVariable { variable } => self.show(&show_name(variable)),
            Statement::Prepare { name, data_types, statement } => {
                Box::pin(self.prepare_by_name(prepared, name, data_types, statement)).await
            }
            Statement::Execute { name, parameters, immediate, into, using, output, default, .. } => {
                if *immediate || !into.is_empty() || !using.is_empty() || *output || *default {
                    return Err(Error::unsupported("EXECUTE with INTO, USING or IMMEDIATE"));
                }
                let name = name.as_ref().map(statement_name).unwrap_or_default();
                Box::pin(self.execute_by_name(prepared, &name, parameters, company)).await
            }
            Statement::Deallocate { name, .. } => {
                let name = fold(name);
                if name == "all" {
                    // The unnamed one is the protocol's, which SQL has no name for.
                    self.shared.prepared.lock().retain(|name, _| name.is_empty());
                    return done("DEALLOCATE ALL");
                }
                self.prepared(&name)?;
                self.shared.prepared.lock().remove(&name);
                done("DEALLOCATE")
            }
            Statement::Declare { stmts } => Box::pin(self.declare(prepared, planned, stmts, params, company)).await,
            Statement::Close { cursor } => match cursor {
                CloseCursor::All => {
                    self.close_cursor(None)?;
                    done("CLOSE CURSOR ALL")
                }
                CloseCursor::Specific { name } => {
                    self.close_cursor(Some(&fold(name)))?;
                    done("CLOSE CURSOR")
                }
            },
            // There is nothing to stop listening to, since LISTEN is refused.
            Statement::UNLISTEN { .. } => done("UNLISTEN"),
            Statement::Discard { object_type } => self.discard(object_type, company).await,
            Statement::Explain { .. } => Box::pin(self.explain(prepared, planned, statement, params)).await,
            Statement::Lock(lock) => Box::pin(self.lock_tables(lock, company)).await,
            other => Err(binder::refusal(&other.to_string())),
        }
    }

    /// 25001 inside a transaction block or a pipeline, for statements that reach beyond it.
    fn must_be_alone(&self, statement: &str, company: Company) -> Result<()> {
        let explicit = self.block.as_ref().is_some_and(|block| block.explicit);
        let why = match company {
            Company::None | Company::Pipeline if explicit => "run inside a transaction block",
            Company::None => return Ok(()),
            Company::String => "run inside a transaction block",
            Company::Pipeline => "be executed within a pipeline",
        };
        Err(Error::new(ErrorKind::ActiveSqlTransaction, format!("{statement} cannot {why}")))
    }

    /// VACUUM: old versions are removed in the background all the time. ANALYZE: row counts and sizes are exact at every commit.
    /// So there is nothing to do but to look whether what they name exists.
    fn maintain(&mut self, maintenance: &Maintenance, company: Company) -> Result<StatementResult> {
        let tag = if maintenance.vacuums { "VACUUM" } else { "ANALYZE" };
        if maintenance.vacuums {
            self.must_be_alone(tag, company)?;
        }
        for (table, columns) in &maintenance.tables {
            let parts: Vec<String> = table.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
            let catalog = self.current_catalog()?;
            let found = self.bind_context(&catalog, None).relation(&parts)?;
            let (name, known): (String, Vec<String>) = match &found {
                binder::Relation::Table(table) => {
                    (table.name.clone(), table.columns.iter().map(|c| c.name.clone()).collect())
                }
                binder::Relation::System(table) if !crate::system::is_view(table.oid()) => {
                    (table.name().to_owned(), table.columns().iter().map(|(name, _)| (*name).to_owned()).collect())
                }
                _ => {
                    let verb = if maintenance.vacuums { "vacuum" } else { "analyze" };
                    let name = parts.last().map_or("", String::as_str);
                    let message = format!("skipping \"{name}\" --- cannot {verb} non-tables or special system tables");
                    self.warning(ErrorKind::Warning, message);
                    continue;
                }
            };
            let mut seen = Vec::with_capacity(columns.len());
            for column in columns.iter().map(fold) {
                let of_table = format!("column \"{column}\" of relation \"{name}\"");
                if !known.contains(&column) {
                    return Err(Error::new(ErrorKind::UndefinedColumn, format!("{of_table} does not exist")));
                }
                if seen.contains(&column) {
                    let message = format!("{of_table} appears more than once");
                    return Err(Error::new(ErrorKind::DuplicateColumn, message));
                }
                seen.push(column);
            }
        }
        done(tag)
    }

    async fn prepare_by_name(
        &mut self,
        prepared: &Prepared,
        ident: &Ident,
        types: &[ast::DataType],
        statement: &Statement,
    ) -> Result<StatementResult> {
        let name = fold(ident);
        if self.shared.prepared.lock().contains_key(&name) {
            return Err(Error::new(
                ErrorKind::DuplicatePreparedStatement,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        self.refuse_too_many_prepared()?;
        let source = prepared.parsed.as_ref().map(|parsed| &parsed.source);
        let is_query = matches!(
            statement,
            Statement::Query(_)
                | Statement::Insert(_)
                | Statement::Update { .. }
                | Statement::Delete(_)
                | Statement::Merge { .. }
        );
        if !is_query {
            let text = statement.to_string();
            let word = text.split(' ').next().unwrap_or_default();
            return Err(refused_word(source.map(AsRef::as_ref), ident.span, word));
        }
        let declared = types
            .iter()
            .map(|ty| match (binder::column_type(ty), ty) {
                (Ok(ty), _) => Ok(Some(ty.ty)),
                (Err(error), ast::DataType::Custom(name, _)) => {
                    let span = name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span);
                    let position = source.zip(span).and_then(|(source, span)| source.position(span));
                    Err(position.map_or(error.clone(), |position| error.at(position)))
                }
                (Err(error), _) => Err(error),
            })
            .collect::<Result<_>>()?;
        let mut inner = Prepared::named(self.inner_statement(prepared, statement), declared);
        inner.from_sql = true;
        let inner = Arc::new(inner);
        self.plan(&inner).await?;
        self.shared.prepared.lock().insert(name, inner);
        done("PREPARE")
    }

    /// A statement inside another one (PREPARE, EXPLAIN, DECLARE), with the outer text for positions in errors.
    pub(super) fn inner_statement(&self, outer: &Prepared, statement: &Statement) -> Option<ParsedStatement> {
        outer.parsed.as_ref().map(|parsed| ParsedStatement {
            body: Body::Sql(Box::new(statement.clone())),
            range: parsed.range.clone(),
            source: parsed.source.clone(),
        })
    }

    /// A statement that runs with the parameters of the one that carries it.
    pub(super) fn carried_statement(&self, outer: &Prepared, planned: &Planned, inner: &Statement) -> Arc<Prepared> {
        let types = planned.params.iter().copied().map(Some).collect();
        Arc::new(Prepared::new(self.inner_statement(outer, inner), types))
    }

    async fn execute_by_name(
        &mut self,
        outer: &Prepared,
        name: &str,
        arguments: &[AstExpr],
        company: Company,
    ) -> Result<StatementResult> {
        let source = outer.parsed.as_ref().map(|parsed| Arc::clone(&parsed.source));
        match self.what_to_execute(name, arguments, source).await? {
            Some((prepared, planned, params)) => self.execute(&prepared, planned, params, company).await,
            None => Ok(StatementResult::Empty),
        }
    }

    /// What EXECUTE is to run, with the values of its arguments, whose places are in `source`; none for an empty statement.
    pub(super) async fn what_to_execute(
        &mut self,
        name: &str,
        arguments: &[AstExpr],
        source: Option<Arc<binder::SourceText>>,
    ) -> Result<Option<(Arc<Prepared>, Arc<Planned>, Vec<Datum>)>> {
        let prepared = self.prepared(name)?;
        let Some(planned) = self.plan(&prepared).await? else { return Ok(None) };
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
        let context = self.bind_context(&planned.catalog, source);
        let eval = self.eval_context(&planned.catalog);
        let mut params = Vec::with_capacity(arguments.len());
        for (number, (argument, ty)) in (1..).zip(arguments.iter().zip(planned.params.iter())) {
            params.push(binder::eval_parameter(argument, number, (*ty).into(), &context, &eval)?);
        }
        Ok(Some((prepared, planned, params)))
    }

    /// CREATE TABLE AS EXECUTE: the same statement with the query that is executed. None for other statements.
    pub(super) async fn with_executed_query(&mut self, statement: &DdlStatement) -> Result<Option<DdlStatement>> {
        let DdlStatement::Sql(sql) = statement else { return Ok(None) };
        let Statement::CreateTable(create) = sql.as_ref() else { return Ok(None) };
        let Some(query) = create.query.as_deref() else { return Ok(None) };
        let Some((name, arguments)) = binder::executed(binder::data_wanted(query).0) else { return Ok(None) };
        let Some((prepared, planned, params)) = self.what_to_execute(&name, &arguments, None).await? else {
            return Ok(None);
        };
        let Some(Statement::Query(executed)) = prepared.parsed.as_ref().and_then(|parsed| parsed.sql()) else {
            return Err(Error::new(ErrorKind::WrongObjectType, "prepared statement is not a SELECT"));
        };
        let mut executed = executed.as_ref().clone();
        crate::ddl::put_values(&mut executed, &planned.params, &params);
        let mut query = query.clone();
        binder::replace_query(&mut query, executed);
        let create = ast::CreateTable { query: Some(Box::new(query)), ..create.clone() };
        Ok(Some(DdlStatement::Sql(Box::new(Statement::CreateTable(create)))))
    }

    pub(super) fn shared_search_path(&self) -> Vec<String> {
        use super::Host;
        self.shared.search_path(false)
    }

    async fn declare(
        &mut self,
        prepared: &Prepared,
        planned: &Planned,
        statements: &[ast::Declare],
        params: Vec<Datum>,
        company: Company,
    ) -> Result<StatementResult> {
        let [declare] = statements else { return Err(Error::unsupported("DECLARE of several things")) };
        let (Some(query), [name]) = (&declare.for_query, declare.names.as_slice()) else {
            return Err(Error::unsupported("DECLARE of anything but a cursor"));
        };
        if declare.binary == Some(true) {
            return Err(Error::unsupported("DECLARE BINARY CURSOR"));
        }
        refuse_cursor(declare, query, prepared.parsed.as_ref().map(|parsed| parsed.source.as_ref()), name)?;
        let hold = declare.hold == Some(true);
        if !hold {
            self.require_block("DECLARE CURSOR", company)?;
        }
        let statement = Statement::Query(query.clone());
        let inner = self.carried_statement(prepared, planned, &statement);
        let Some(planned) = self.plan(&inner).await? else { return Ok(StatementResult::Empty) };
        match self.execute(&inner, planned, params, company).await? {
            StatementResult::Rows(result) => {
                let text = prepared.parsed.as_ref().map_or("", |parsed| parsed.source.text());
                self.declare_cursor(fold(name), text, result, declare.scroll, hold).await?;
                done("DECLARE CURSOR")
            }
            _ => Err(Error::internal("a cursor's query gives no rows")),
        }
    }

    async fn discard(&mut self, what: &DiscardObject, company: Company) -> Result<StatementResult> {
        match what {
            DiscardObject::ALL => {
                self.must_be_alone("DISCARD ALL", company)?;
                self.close_cursor(None)?;
                self.discard_temporary().await?;
                self.shared.prepared.lock().clear();
                self.reuse.clear();
                self.shared.discard_sequences();
                self.shared.advisory.unlock_all();
                self.shared.settings.lock().reset_all()?;
                done("DISCARD ALL")
            }
            DiscardObject::PLANS => {
                self.reuse.clear();
                done("DISCARD PLANS")
            }
            DiscardObject::SEQUENCES => {
                self.shared.discard_sequences();
                done("DISCARD SEQUENCES")
            }
            DiscardObject::TEMP => {
                self.discard_temporary().await?;
                done("DISCARD TEMP")
            }
        }
    }

    /// The user's table of that name.
    pub(crate) fn existing_table(&mut self, name: &ObjectName) -> Result<Arc<Table>> {
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

    async fn lock_tables(&mut self, lock: &ast::Lock, company: Company) -> Result<StatementResult> {
        self.require_block("LOCK TABLE", company)?;
        // Readers take no table locks here: who keeps them out keeps out only those who say ACCESS SHARE.
        let mode = match lock.lock_mode {
            Some(ast::LockTableMode::AccessShare) => TableLockMode::AccessShare,
            Some(ast::LockTableMode::RowShare) => TableLockMode::RowShare,
            Some(ast::LockTableMode::RowExclusive) => TableLockMode::RowExclusive,
            Some(ast::LockTableMode::ShareUpdateExclusive) => TableLockMode::ShareUpdateExclusive,
            Some(ast::LockTableMode::Share) => TableLockMode::Share,
            Some(ast::LockTableMode::ShareRowExclusive) => TableLockMode::ShareRowExclusive,
            Some(ast::LockTableMode::Exclusive) => TableLockMode::Exclusive,
            Some(ast::LockTableMode::AccessExclusive) | None => TableLockMode::AccessExclusive,
        };
        for target in &lock.tables {
            loop {
                let table = self.existing_table(&target.name)?;
                let before = self.ensure_block().store.savepoint();
                match lock.nowait {
                    true => self.lock_table_at_once(&table, mode).await?,
                    false => self.lock_table(table.database, table.oid, mode).await?,
                }
                // Who was waited for may have dropped it, or given its name to another.
                let meant = self.existing_table(&target.name)?.oid == table.oid;
                let store = &mut self.ensure_block().store;
                if !meant {
                    store.rollback_to(before);
                }
                store.release(before);
                if meant {
                    break;
                }
            }
        }
        done("LOCK TABLE")
    }

    async fn lock_table_at_once(&mut self, table: &Table, mode: TableLockMode) -> Result<()> {
        let key = crate::catalog::keys::table(table.database, table.oid);
        let wait = stratos_replication::WaitPolicy::NoWait;
        match stored(self.ensure_block().store.lock_object(&key, LockMode::Table(mode), wait).await) {
            Err(error) if error.kind() == ErrorKind::LockNotAvailable => Err(Error::new(
                ErrorKind::LockNotAvailable,
                format!("could not obtain lock on relation \"{}\"", table.name),
            )),
            locked => locked.map(drop),
        }
    }
}

/// The syntax error at the first such word behind a place.
fn refused_word(source: Option<&binder::SourceText>, behind: Span, word: &str) -> Error {
    match source.and_then(|source| source.word_after(behind, word)) {
        Some((position, written)) => {
            Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{written}\"")).at(position)
        }
        None => Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{word}\"")),
    }
}

/// Refuses cursors that cannot be: over statements that change rows, and those that look again and lock.
fn refuse_cursor(
    declare: &ast::Declare,
    query: &ast::Query,
    source: Option<&binder::SourceText>,
    name: &Ident,
) -> Result<()> {
    let word = match query.body.as_ref() {
        ast::SetExpr::Insert(_) => Some("insert"),
        ast::SetExpr::Update(_) => Some("update"),
        ast::SetExpr::Delete(_) => Some("delete"),
        ast::SetExpr::Merge(_) => Some("merge"),
        _ => None,
    };
    if let Some(word) = word {
        return Err(refused_word(source, name.span, word));
    }
    let Some(lock) = query.locks.first() else { return Ok(()) };
    let strength = match lock.lock_type {
        ast::LockType::Share => "FOR SHARE",
        ast::LockType::Update => "FOR UPDATE",
    };
    if declare.hold == Some(true) {
        let message = format!("DECLARE CURSOR WITH HOLD ... {strength} is not supported");
        let error = Error::new(ErrorKind::FeatureNotSupported, message);
        return Err(error.with_detail("Holdable cursors must be READ ONLY."));
    }
    if declare.scroll == Some(true) {
        let message = format!("DECLARE SCROLL CURSOR ... {strength} is not supported");
        let error = Error::new(ErrorKind::FeatureNotSupported, message);
        return Err(error.with_detail("Scrollable cursors must be READ ONLY."));
    }
    if declare.sensitive == Some(false) {
        let message = format!("DECLARE INSENSITIVE CURSOR ... {strength} is not valid");
        let error = Error::new(ErrorKind::InvalidCursorDefinition, message);
        return Err(error.with_detail("Insensitive cursors must be READ ONLY."));
    }
    Ok(())
}
