//! DDL: the catalog's rows change in the session's transaction, and jobs change what is stored.
//!
//! DDL of concurrent transactions goes one after another (they lock the catalog's version), and waits for transactions that
//! write the tables concerned (they hold on to the tables' descriptors).

use std::sync::Arc;

use stratos_replication::{LockMode, Span, TableLockMode, WaitPolicy};
use stratos_types::{Error, ErrorKind, Result};

use super::Host;
use super::session::Session;
use super::transaction::Company;
use crate::binder::{ScalarBinder, SourceText};
use crate::catalog::{IndexState, Snapshot, SnapshotEditor, keys, temporary_schema_name};
use crate::ddl::{self, DdlContext, DdlStatement, Job};
use crate::exec::{StatementContext, beside_others, jobs, online_index, stored};
use crate::result::StatementResult;
use crate::rows::{PRIMARY_INDEX_ID, database_prefix, index_span, storage_prefix};

/// How a schema change holds the tables that it changes.
const ALONE: LockMode = LockMode::Table(TableLockMode::AccessExclusive);

/// How often a transaction that begins with a schema change takes a new snapshot because others change the schema too.
const RESTARTS_MAX: usize = 100;

impl Session {
    pub(super) async fn run_schema_change(
        &mut self,
        statement: &DdlStatement,
        text: &str,
        company: Company,
    ) -> Result<StatementResult> {
        self.shared.note_write();
        let block = self.ensure_block();
        let alone = !block.used && !block.explicit && company == Company::None;
        let untouched = !block.used && block.savepoints.is_empty();
        block.used = true;
        let in_block = block.explicit || company == Company::String;
        let replaced = self.with_executed_query(statement).await?;
        let statement = replaced.as_ref().unwrap_or(statement);
        let mut restarts = 0;
        let outcome = loop {
            match self.change_catalog(statement, text, company, in_block).await {
                Ok(Some(outcome)) => break outcome,
                Ok(None) => {}
                // Another schema change came between the snapshot and the lock. Nobody has seen anything of the snapshot yet.
                Err(error)
                    if untouched && restarts < RESTARTS_MAX && error.kind() == ErrorKind::SerializationFailure =>
                {
                    restarts += 1;
                    let block = self.ensure_block();
                    let (characteristics, explicit) = (block.characteristics(), block.explicit);
                    self.restart_block(characteristics, explicit);
                    self.ensure_block().used = true;
                }
                Err(error) => return Err(error),
            }
        };
        for notice in outcome.notices {
            self.notice(notice);
        }
        self.publish_catalog();
        let mut tag = outcome.tag.to_owned();
        for job in outcome.jobs {
            if let Some(rows) = self.run_job(job, in_block).await? {
                tag = format!("SELECT {rows}");
            }
        }
        self.ensure_block().store.finish_statement(true);
        // What comes after the commit may fail (a duplicate in a unique index): the client must not be told before.
        self.commits_alone = alone && !self.ensure_block().jobs.is_empty();
        Ok(StatementResult::Done(tag))
    }

    /// Changes the catalog's rows. None when writers of a table had to be waited for: the change begins anew then, because
    /// nobody waits for writers and holds the catalog's version, for which all other schema changes wait.
    async fn change_catalog(
        &mut self,
        statement: &DdlStatement,
        text: &str,
        company: Company,
        in_block: bool,
    ) -> Result<Option<ddl::DdlOutcome>> {
        let wait = self.wait_policy();
        let block = self.ensure_block();
        let first = block.catalog.is_none();
        let start = block.store.savepoint();
        stored(block.store.begin_statement())?;
        let mut fresh = None;
        if first {
            stored(block.store.lock(&keys::version(), LockMode::Update, wait).await)?;
            // What the transaction before left must be seen: the statement starts over behind it.
            stored(block.store.begin_statement())?;
            let view = block.store.view();
            fresh = Some(self.engine.catalog_at(self.shared.database, &view)?);
        }
        let catalog = match fresh {
            Some(catalog) => catalog,
            None => self.current_catalog()?,
        };
        let engine = self.engine.clone();
        let oids = engine.oids().await?;
        let mut editor = SnapshotEditor::new(&catalog);
        let role = catalog.role_named(&self.shared.user).map_or(0, |role| role.oid);
        let temporary_schema = temporary_schema_name(self.shared.pid);
        let mut search_path = self.shared.search_path(false);
        if !search_path.contains(&temporary_schema) {
            // The statement may be the one that makes it.
            search_path.insert(0, temporary_schema.clone());
        }
        let creates_temporary = self.shared.creates_temporary();
        let eval = self.eval_context(&catalog);
        let outcome = {
            let view = self.ensure_block().store.view();
            let binder = ScalarBinder::new(self.bind_context(&catalog, Some(Arc::new(SourceText::new(text)))), eval);
            let (pid, database, shared_engine) = (self.shared.pid, self.shared.database, engine.clone());
            let shared = self.shared.clone();
            let deferred = &self.ensure_block().deferred;
            engine.with_reader(&view, |reader| {
                let context = DdlContext {
                    role,
                    search_path: &search_path,
                    temporary_schema: &temporary_schema,
                    creates_temporary,
                    in_transaction_block: in_block,
                    in_pipeline: company == Company::Pipeline,
                    text,
                    oids,
                    binder: &binder,
                    verifier: &crate::session::scram_verifier,
                    sessions: &|database| shared_engine.sessions_of(database, pid),
                    awaits_checks: &|table| deferred.awaits(table),
                    sequence_value: &|sequence| {
                        let value = engine.sequences().value(database, sequence.storage)?;
                        Ok(value.map_or_else(|| sequence.first_value(), |value| value.last))
                    },
                    check_canceled: &|| shared.check_statement(),
                    reader,
                };
                // With thousands of constraints it takes long.
                beside_others(|| ddl::execute(statement, &mut editor, &context))
            })?
        };
        let (snapshot, changes) = editor.finish();
        if snapshot.schema_oid(&temporary_schema).is_some() {
            self.shared.note_temporary();
        }
        for span in new_spans(&catalog, &snapshot, changes.iter().map(|(key, _)| key.as_ref())) {
            self.ensure_block().store.own_span(span);
        }
        let live = snapshot.sequence_storages();
        let retired = catalog.sequence_storages();
        self.ensure_block().retired_sequences.extend(retired.difference(&live));
        for (key, value) in changes {
            let store = &mut self.ensure_block().store;
            if keys::is_table(&key) && first {
                match stored(store.lock_object(&key, ALONE, WaitPolicy::NoWait).await) {
                    Err(error) if error.kind() == ErrorKind::LockNotAvailable => {
                        store.rollback_to(start);
                        store.release(start);
                        stored(store.lock_object(&key, ALONE, wait).await)?;
                        return Ok(None);
                    }
                    held => held?,
                };
            } else if keys::is_table(&key) {
                stored(store.lock_object(&key, ALONE, wait).await)?;
            }
            stored(match value {
                Some(value) => store.put(key, value),
                None => store.delete(key),
            })?;
        }
        // Writers of these tables that were waited for have left rows behind: the jobs must see them.
        stored(self.ensure_block().store.begin_statement())?;
        self.ensure_block().catalog = Some(snapshot);
        self.ensure_block().store.release(start);
        Ok(Some(outcome))
    }

    /// Carries out a job now or keeps it for the commit. Gives the number of rows of CREATE TABLE AS.
    async fn run_job(&mut self, job: Job, in_block: bool) -> Result<Option<u64>> {
        let catalog = self.current_catalog()?;
        let eval = self.eval_context(&catalog);
        let engine = self.engine.clone();
        let wait = self.wait_policy();
        let block = self.ensure_block();
        match job {
            Job::DropStorage { .. } | Job::DropIndexStorage { .. } | Job::DropDatabase { .. } => {
                if let Some(span) = job.freed_span() {
                    stored(block.store.drop_span(&span))?;
                }
                return Ok(None);
            }
            Job::CreateDatabase { database } => {
                let span = Span::prefix(&database_prefix(database));
                stored(engine.store().create_shard_for(span).await)?;
                return Ok(None);
            }
            Job::BuildIndex { online: true, .. } if !in_block => {
                block.jobs.push(job);
                return Ok(None);
            }
            Job::Populate { table, query } => return self.populate(table, &query).await.map(Some),
            _ => {}
        }
        let mut context = StatementContext::new(&engine, &mut block.store, &mut block.deferred, &eval, &[], wait);
        match job {
            Job::Validate { table, what } => jobs::validate(&mut context, table, &what).await?,
            Job::BuildIndex { table, index, .. } => jobs::build_index(&mut context, table, index).await?,
            Job::Rewrite { from, to, columns } => jobs::rewrite(&mut context, &from, &to, &columns).await?,
            Job::Split { table, values } => jobs::split(&mut context, table, &values).await?,
            _ => return Err(Error::internal("a job that runs after the commit came too early")),
        }
        Ok(None)
    }

    async fn populate(&mut self, table: u32, query: &sqlparser::ast::Query) -> Result<u64> {
        let catalog = self.current_catalog()?;
        let table = catalog.tables.get(&table).cloned().ok_or_else(|| Error::internal("the new table is gone"))?;
        let context = self.bind_context(&catalog, None);
        let statement = sqlparser::ast::Statement::Query(Box::new(query.clone()));
        let bound = crate::binder::bind(&statement, &context, &[])?;
        let crate::ir::StatementKind::Query(query) = bound.kind else {
            return Err(Error::internal("CREATE TABLE AS of something that is no query"));
        };
        let rules = self.engine.table_rules(&table, &catalog)?;
        let plan = crate::exec::insert::InsertPlan::from_query(table, query.rel, rules)?;
        let eval = self.eval_context(&catalog);
        let engine = self.engine.clone();
        let wait = self.wait_policy();
        let block = self.ensure_block();
        let mut context = StatementContext::new(&engine, &mut block.store, &mut block.deferred, &eval, &[], wait);
        Ok(plan.run(&mut context).await?.count)
    }

    /// Jobs that DDL left for after its commit. The commit stands whatever becomes of them; what fails first is told.
    pub(super) async fn run_jobs_after_commit(&mut self, jobs: Vec<Job>) -> Result<()> {
        let mut outcome = Ok(());
        for job in jobs {
            let done = match job {
                Job::BuildIndex { table, index, online: true } => {
                    let host: Arc<dyn Host> = self.shared.clone();
                    let target = online_index::Target { database: self.shared.database, table, index };
                    online_index::build(&self.engine, target, &host).await
                }
                _ => Err(Error::internal("a job that belongs into the transaction came too late")),
            };
            outcome = outcome.and(done);
        }
        outcome
    }
}

/// The ranges of tables and indexes that a change of the catalog brings: nobody else knows of them before it is committed.
fn new_spans<'a>(before: &Snapshot, after: &Snapshot, changed: impl Iterator<Item = &'a [u8]>) -> Vec<Span> {
    let mut spans = Vec::new();
    for (_, oid) in changed.filter_map(keys::table_of) {
        let Some(table) = after.tables.get(&oid) else { continue };
        match before.tables.get(&oid).filter(|old| old.storage == table.storage) {
            None => spans.push(Span::prefix(&storage_prefix(table.database, table.storage))),
            Some(old) => {
                let new = table.indexes.iter().filter(|index| old.indexes.iter().all(|other| other.oid != index.oid));
                // Writers keep up an index that is built beside them.
                let hidden = new.filter(|index| index.state == IndexState::Public && index.id != PRIMARY_INDEX_ID);
                spans.extend(hidden.map(|index| index_span(table, index)));
            }
        }
    }
    spans
}

/// The verifier that is stored for a password: SCRAM-SHA-256 in Postgres's form (RFC 5803).
///
/// # Errors
/// An empty password (Postgres stores none then; here it is refused).
pub fn scram_verifier(password: &str) -> Result<String> {
    if password.is_empty() {
        return Err(Error::new(ErrorKind::InvalidParameterValue, "empty passwords are not allowed"));
    }
    Ok(crate::scram::verifier(password, rand::random()))
}
