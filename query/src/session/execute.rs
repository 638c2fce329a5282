//! Carrying out a planned statement.

use std::sync::Arc;

use stratos_replication::{LockMode, LockOutcome, TableLockMode};
use stratos_types::{Datum, Error, ErrorKind, Result};

use super::plan::{Action, Planned, Prepared, QueryPlan};
use super::session::Session;
use super::transaction::Company;
use crate::binder::Body;
use crate::catalog::{Table, is_temporary_name, keys};
use crate::counters::StatementKind;
use crate::exec::direct_select::DirectSelect;
use crate::exec::{Changes, StatementContext, stored};
use crate::result::{ResultSet, StatementResult};

/// How often a statement is planned anew because the catalog changed while it waited for its tables.
const REPLANS_MAX: usize = 100;

/// What came of looking rows up by their key.
enum ByKey {
    Rows(Vec<Vec<Datum>>),
    /// They are asked for and cannot be computed.
    Failed(Error),
    /// The general form of the statement must find them.
    TooMany,
    /// The catalog has changed since the statement was planned.
    Outdated,
}

fn rows_of(planned: &Planned, rows: Vec<Vec<Datum>>) -> StatementResult {
    StatementResult::Rows(ResultSet::from_rows(planned.output.clone(), "SELECT", rows))
}

fn failed(planned: &Planned, error: Error) -> StatementResult {
    StatementResult::Rows(ResultSet::from_error(planned.output.clone(), "SELECT", error))
}

/// 40001.
fn kept_changing() -> Error {
    Error::new(ErrorKind::SerializationFailure, "the tables kept changing while the statement waited for them")
}

/// How often a statement begins again because rows changed under it.
const RESTARTS_MAX: usize = 100;

/// What a statement is counted as.
fn kind_of(action: &Action) -> StatementKind {
    match action {
        Action::Direct { .. } | Action::Query(_) => StatementKind::Select,
        Action::Insert(_) => StatementKind::Insert,
        Action::Change { tag: "UPDATE", .. } => StatementKind::Update,
        Action::Change { tag: "DELETE", .. } => StatementKind::Delete,
        Action::Change { .. } => StatementKind::Other,
        Action::SchemaChange(_) => StatementKind::Ddl,
        Action::Utility(body) => match body.as_ref() {
            Body::Copy(_) => StatementKind::Copy,
            body if super::utility::controls_transaction(body) => StatementKind::Transaction,
            _ => StatementKind::Other,
        },
    }
}

/// The tables whose descriptors a statement relies on that changes rows, and whether it writes rows of a table.
fn relied_on(action: &Action) -> (&[Arc<Table>], impl Fn(&Table) -> bool) {
    let (tables, insert, rules) = match action {
        Action::Insert(plan) => (plan.relies_on(), !plan.updates(), Some(plan.rules())),
        Action::Change { plan, .. } => (plan.relies_on(), false, Some(plan.rules())),
        _ => (&[] as &[Arc<Table>], true, None),
    };
    let writes = move |table: &Table| match rules {
        Some(rules) if insert => rules.table.oid == table.oid,
        Some(rules) => rules.writes.contains(&table.oid),
        None => false,
    };
    (tables, writes)
}

impl Session {
    /// Carries out a statement that needs to wait for nothing; `None` when it may have to.
    pub(super) fn execute_at_once(
        &mut self,
        planned: &Arc<Planned>,
        params: &[Datum],
    ) -> Option<Result<StatementResult>> {
        let Action::Direct { program, .. } = &planned.action else { return None };
        self.counters.is(StatementKind::Select);
        if let Err(error) = self.check_known(planned, params) {
            return Some(Err(error));
        }
        match self.rows_by_key(planned, program, params) {
            Ok(ByKey::Rows(rows)) => Some(Ok(rows_of(planned, rows))),
            Ok(ByKey::Failed(error)) => Some(Ok(failed(planned, error))),
            Ok(ByKey::TooMany | ByKey::Outdated) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn check_known(&self, planned: &Planned, params: &[Datum]) -> Result<()> {
        match planned.known.is_empty() {
            true => Ok(()),
            false => planned.known.check(params, &self.eval_context(&planned.catalog)),
        }
    }

    /// Whether a program is to run in place of the general form: the table may have grown, or the session does not want it.
    pub(super) fn runs_directly(&self, program: &DirectSelect) -> bool {
        if !program.is_by_key() {
            let settings = self.shared.settings.lock();
            if settings.general_queries() || program.is_join() && !settings.nested_loops() {
                return false;
            }
        }
        let is_small = |(prefix, rows_max): ([u8; 9], u64)| self.engine.store().statistics(&prefix).rows <= rows_max;
        program.whole_table().is_none_or(is_small)
    }

    fn rows_by_key(&mut self, planned: &Planned, program: &DirectSelect, params: &[Datum]) -> Result<ByKey> {
        if !self.runs_directly(program) {
            return Ok(ByKey::TooMany);
        }
        let eval = self.eval_context(&planned.catalog);
        let by_key = |rows: Result<Option<Vec<Vec<Datum>>>>| match rows {
            Ok(rows) => Ok(rows.map_or(ByKey::TooMany, ByKey::Rows)),
            Err(error) if program.fails_early() => Err(error),
            Err(error) => Ok(ByKey::Failed(error)),
        };
        if self.block.is_none() {
            // Alone, it needs no transaction: a snapshot is one.
            let view = self.engine.store().latest_view();
            if self.is_outdated(&planned.catalog, &view)? {
                return Ok(ByKey::Outdated);
            }
            return by_key(program.run(&view, self.engine.runtime(), params, &eval));
        }
        self.ensure_block().used = true;
        self.open_statement()?;
        let view = self.ensure_block().store.view();
        let outdated = self.is_outdated(&planned.catalog, &view);
        let rows = match outdated {
            Ok(true) => Ok(ByKey::Outdated),
            Ok(false) => by_key(program.run(&view, self.engine.runtime(), params, &eval)),
            Err(error) => Err(error),
        };
        if let Some(block) = &mut self.block {
            block.store.finish_statement(true);
        }
        rows
    }

    /// Carries out a planned statement. What a kind of statement needs while it waits is on the heap, each kind by itself: all of
    /// them together are large, and would be moved about for every statement.
    pub(super) async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        planned: Arc<Planned>,
        params: Vec<Datum>,
        company: Company,
    ) -> Result<StatementResult> {
        let mut planned = planned;
        self.counters.is(kind_of(&planned.action));
        self.check_known(&planned, &params)?;
        for _ in 0..REPLANS_MAX {
            let done = match &planned.action {
                Action::Direct { program, general } => match (self.rows_by_key(&planned, program, &params)?, general) {
                    (ByKey::Rows(rows), _) => Some(rows_of(&planned, rows)),
                    (ByKey::Failed(error), _) => Some(failed(&planned, error)),
                    (ByKey::Outdated, _) => None,
                    (ByKey::TooMany, Some(plan)) => Box::pin(self.run_query(&planned, plan, &params)).await?,
                    (ByKey::TooMany, None) => return Err(Error::internal("a query without a general form")),
                },
                Action::Query(plan) => Box::pin(self.run_query(&planned, plan, &params)).await?,
                Action::Insert(_) | Action::Change { .. } => {
                    return Box::pin(self.run_change(prepared, planned, &params)).await;
                }
                Action::SchemaChange(ddl) => {
                    let (own, whole) = prepared.parsed.as_ref().map_or(("", ""), |p| (p.text(), p.source.text()));
                    if self.ensure_block().read_only {
                        return Err(read_only(&crate::binder::command_name(own)));
                    }
                    let filled = (!params.is_empty()).then(|| ddl.with_values(&planned.params, &params));
                    let ddl = filled.as_ref().unwrap_or(ddl);
                    return Box::pin(self.run_schema_change(ddl, whole, company)).await;
                }
                Action::Utility(body) => {
                    return self.run_utility(prepared, &planned, body, params, company).await;
                }
            };
            match done {
                Some(result) => return Ok(result),
                None => planned = self.plan_again(prepared).await?,
            }
        }
        Err(kept_changing())
    }

    async fn plan_again(&mut self, prepared: &Arc<Prepared>) -> Result<Arc<Planned>> {
        self.plan(prepared).await?.ok_or_else(|| Error::internal("a statement vanished"))
    }

    /// A query by DataFusion, whose rows come as they are asked for. `None`: its plan is outdated.
    async fn run_query(
        &mut self,
        planned: &Arc<Planned>,
        plan: &QueryPlan,
        params: &[Datum],
    ) -> Result<Option<StatementResult>> {
        self.ensure_block().used = true;
        if !plan.locked.is_empty() {
            return self.run_locking_query(planned, plan, params).await;
        }
        let eval = self.eval_context(&planned.catalog);
        let engine = self.engine.clone();
        self.open_statement()?;
        let view = Arc::new(self.ensure_block().store.view());
        if self.is_outdated(&planned.catalog, &view)? {
            self.ensure_block().store.finish_statement(false);
            return Ok(None);
        }
        let block = self.ensure_block();
        let statement = crate::lower::statement(params, view, &eval, engine.runtime(), false);
        let stream = crate::lower::execute_in(&plan.query.rel, Some(&plan.template), &statement).await;
        block.store.finish_statement(true);
        Ok(Some(StatementResult::Rows(ResultSet::from_stream(planned.output.clone(), "SELECT", stream?))))
    }

    /// Begins a statement of the transaction. With the one snapshot of REPEATABLE READ and SERIALIZABLE comes the catalog as of
    /// it: indexes that came later lack rows that the snapshot shows.
    pub(crate) fn open_statement(&mut self) -> Result<()> {
        let block = self.ensure_block();
        stored(block.store.begin_statement())?;
        if block.lacks_catalog() {
            let at = block.store.read_timestamp();
            let view = self.engine.store().view_at(at);
            let catalog = self.engine.catalog_at(self.shared.database, &view)?;
            self.ensure_block().catalog_then = Some(catalog);
            self.publish_catalog();
        }
        Ok(())
    }

    /// Holds on to the descriptors of tables until the transaction ends, and tells whether they are as given: the statement
    /// has to be planned anew otherwise.
    ///
    /// # Errors
    /// What waiting for DDL gives; 40001 where the transaction's one snapshot is older than a change of them.
    pub(crate) async fn hold_tables(&mut self, tables: &[Arc<Table>], writes: impl Fn(&Table) -> bool) -> Result<bool> {
        for table in tables {
            let mode = if writes(table) { TableLockMode::RowExclusive } else { TableLockMode::RowShare };
            self.lock_table(table.database, table.oid, mode).await?;
        }
        let block = self.ensure_block();
        let (private, one_snapshot) = (block.catalog.clone(), block.catalog_then.is_some());
        let current = match private {
            Some(private) => private,
            None => self.committed_catalog()?,
        };
        let is_current = |table: &Arc<Table>| {
            let now = current.tables.get(&table.oid);
            now.is_some_and(|now| now.version == table.version && now.storage == table.storage)
        };
        if tables.iter().all(is_current) {
            return Ok(true);
        }
        if one_snapshot {
            return Err(Error::new(
                ErrorKind::SerializationFailure,
                "could not serialize access due to concurrent change of a table's definition",
            ));
        }
        Ok(false)
    }

    /// INSERT, UPDATE, DELETE. The statement holds on to the descriptors of its table and of those that its foreign keys lead to
    /// until the transaction ends, so that DDL on them waits for it, and it for DDL; if one of them changed while it waited, it
    /// is planned anew.
    async fn run_change(
        &mut self,
        prepared: &Arc<Prepared>,
        planned: Arc<Planned>,
        params: &[Datum],
    ) -> Result<StatementResult> {
        self.refuse_write_when_read_only(&planned.action)?;
        self.ensure_block().used = true;
        let mut planned = planned;
        for _ in 0..REPLANS_MAX {
            let (tables, writes) = relied_on(&planned.action);
            if self.hold_tables(tables, writes).await? {
                self.open_statement()?;
                let view = self.ensure_block().store.view();
                if !self.is_outdated(&planned.catalog, &view)? {
                    drop(view);
                    return self.change(&planned, params).await;
                }
            }
            planned = self.plan_again(prepared).await?;
        }
        Err(kept_changing())
    }

    /// Carries out a change whose tables are held, as often as it has to look again.
    async fn change(&mut self, planned: &Planned, params: &[Datum]) -> Result<StatementResult> {
        let wait = self.wait_policy();
        let eval = self.eval_context(&planned.catalog);
        let engine = self.engine.clone();
        let block = self.ensure_block();
        let mut restarts = 0;
        let before = block.deferred.mark();
        loop {
            let mut context =
                StatementContext::new(&engine, &mut block.store, &mut block.deferred, &eval, params, wait);
            let changes = match &planned.action {
                Action::Insert(plan) => plan.run(&mut context).await,
                Action::Change { direct: Some(direct), .. } => direct.run(&mut context).await,
                Action::Change { plan, .. } => Box::pin(plan.run(&mut context)).await,
                _ => Err(Error::internal("not a change")),
            };
            if changes.is_err() && context.looks_again && restarts < RESTARTS_MAX {
                restarts += 1;
                block.deferred.undo_to(&before, &mut block.store);
                stored(block.store.restart_statement())?;
                continue;
            }
            block.store.finish_statement(changes.is_ok());
            let changes = changes?;
            self.counters.changed(kind_of(&planned.action), changes.count);
            return Ok(change_result(planned, changes));
        }
    }

    fn refuse_write_when_read_only(&mut self, action: &Action) -> Result<()> {
        let written = match action {
            Action::Insert(plan) => Some(&plan.rules().table),
            Action::Change { plan, .. } => Some(&plan.rules().table),
            _ => None,
        };
        if !self.ensure_block().read_only || written.is_some_and(|table| is_temporary_name(&table.schema_name)) {
            self.shared.note_write();
            return Ok(());
        }
        let what = match action {
            Action::Insert(_) => "INSERT",
            Action::Change { tag, .. } => tag,
            _ => "the statement",
        };
        Err(read_only(what))
    }

    /// SELECT … FOR UPDATE and its kin: the query yields its rows, each locked table's row is locked in order, and a row that
    /// changed meanwhile is looked at again.
    async fn run_locking_query(
        &mut self,
        planned: &Arc<Planned>,
        plan: &QueryPlan,
        params: &[Datum],
    ) -> Result<Option<StatementResult>> {
        let temporary = plan.locked.iter().all(|table| is_temporary_name(&table.schema_name));
        if self.ensure_block().read_only && !temporary {
            return Err(read_only("SELECT FOR UPDATE"));
        }
        self.shared.note_write();
        let eval = self.eval_context(&planned.catalog);
        let engine = self.engine.clone();
        let wait = self.wait_policy();
        if !self.hold_tables(&plan.locked, |_| false).await? {
            return Ok(None);
        }
        self.open_statement()?;
        let view = self.ensure_block().store.view();
        if self.is_outdated(&planned.catalog, &view)? {
            self.ensure_block().store.finish_statement(false);
            return Ok(None);
        }
        drop(view);
        let block = self.ensure_block();
        let mut context = StatementContext::new(&engine, &mut block.store, &mut block.deferred, &eval, params, wait);
        let rows = crate::exec::row_locks::run(&mut context, &plan.query.rel).await;
        block.store.finish_statement(rows.is_ok());
        Ok(Some(StatementResult::Rows(rows?.into_result(planned.output.clone(), "SELECT"))))
    }

    /// Holds on to a table for DDL or for a change: waits for those who use it otherwise.
    pub(crate) async fn lock_table(&mut self, database: u32, oid: u32, mode: TableLockMode) -> Result<()> {
        let wait = self.wait_policy();
        let key = keys::table(database, oid);
        match stored(self.ensure_block().store.lock_object(&key, LockMode::Table(mode), wait).await)? {
            LockOutcome::Granted { .. } => Ok(()),
            LockOutcome::Skipped => Err(Error::internal("a waiting lock was skipped")),
        }
    }
}

/// 25006.
pub(super) fn read_only(what: &str) -> Error {
    Error::new(ErrorKind::ReadOnlySqlTransaction, format!("cannot execute {what} in a read-only transaction"))
}

fn change_result(planned: &Planned, changes: Changes) -> StatementResult {
    let (tag, returns) = match &planned.action {
        Action::Insert(plan) => ("INSERT 0", plan.returns()),
        Action::Change { tag, returns, .. } => (*tag, *returns),
        _ => ("", false),
    };
    if !returns {
        return StatementResult::Done(format!("{tag} {}", changes.count));
    }
    StatementResult::Rows(changes.returned.into_result(planned.output.clone(), tag))
}
