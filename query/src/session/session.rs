//! What the server drives: one per connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stratos_replication::{KeyChanges, ReadView, WaitPolicy};
use stratos_types::{Datum, Error, ErrorKind, FormatOptions, PgType, Result};

use super::away::INLINE_BYTES_MAX;
use super::cancel::deadline_after;
use super::context::EvalContext;
use super::cursor::{Cursor, Portals};
use super::passwords::shown;
use super::plan::Prepared;
use super::prepared::{LastPlan, Lookup};
use super::recall::Recall;
use super::reuse::Reuse;
use super::settings::Derived;
use super::shared::{NOTICES_MAX, SessionShared};
use super::transaction::{Block, Company};
use super::{Host, now_micros};
use crate::binder::{self, BindContext};
use crate::catalog::Snapshot;
use crate::counters::SessionCounters;
use crate::ddl::Notice;
use crate::engine::Engine;
use crate::result::{ResultSet, RowBlock, StatementResult};

/// Whether the session is in a transaction block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Not in a block.
    Idle,
    /// In a block.
    InBlock,
    /// In a block that failed.
    Failed,
}

/// See the module.
pub struct Session {
    pub(crate) engine: Arc<Engine>,
    pub(super) shared: Arc<SessionShared>,
    pub(crate) block: Option<Block>,
    pub(super) cursors: HashMap<String, Cursor>,
    pub(super) portals: Portals,
    notices: Vec<Notice>,
    /// The settings of which the client has been told.
    reported: Arc<Derived>,
    /// The committed catalog as last looked at, and its generation.
    pub(super) catalog: (Option<KeyChanges>, Arc<Snapshot>),
    pub(super) lookup: Option<Lookup>,
    pub(super) last_plan: Option<LastPlan>,
    /// Never set: statements that can be given up have a flag of their own.
    not_given_up: Arc<AtomicBool>,
    pub(super) recall: Recall,
    pub(super) reuse: Reuse,
    /// The statement that has just run is to be committed before its client is told, because there are jobs to do then.
    pub(super) commits_alone: bool,
    pub(super) statement_micros: i64,
    pub(crate) counters: SessionCounters,
}

/// 25P02.
fn failed_block() -> Error {
    Error::new(
        ErrorKind::InFailedSqlTransaction,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

impl Drop for Session {
    fn drop(&mut self) {
        self.engine.disconnect(self.shared.pid);
        self.leave_temporary();
    }
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>, shared: Arc<SessionShared>) -> Session {
        let catalog = shared.catalog.lock().clone();
        let reported = shared.settings.lock().derived().clone();
        let counters = SessionCounters::new(engine.counters().clone(), shared.database);
        Session {
            engine,
            shared,
            counters,
            block: None,
            cursors: HashMap::new(),
            portals: Portals::default(),
            notices: Vec::new(),
            reported,
            // Generation 0 is never current, so the first statement looks.
            catalog: (None, catalog),
            lookup: None,
            last_plan: None,
            not_given_up: Arc::default(),
            recall: Recall::default(),
            reuse: Reuse::default(),
            commits_alone: false,
            statement_micros: now_micros(),
        }
    }

    /// The part that others can see.
    pub fn shared(&self) -> &Arc<SessionShared> {
        &self.shared
    }

    /// Whether the session is in a transaction block.
    pub fn transaction_status(&self) -> TransactionStatus {
        match &self.block {
            Some(block) if block.explicit && block.failed => TransactionStatus::Failed,
            Some(block) if block.explicit => TransactionStatus::InBlock,
            _ => TransactionStatus::Idle,
        }
    }

    /// Notices since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        let mut notices = std::mem::take(&mut self.notices);
        notices.extend(self.shared.take_notices());
        notices
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX && self.shared.settings.lock().shows(&notice) {
            self.notices.push(notice);
        }
    }

    /// Notices that wait for the client.
    pub(super) fn notice_count(&self) -> usize {
        self.notices.len()
    }

    /// Forgets the notices that came after the first `kept`.
    pub(super) fn forget_notices(&mut self, kept: usize) {
        self.notices.truncate(kept);
    }

    /// Identifiers that are cut, which a client might not expect.
    pub(super) fn tell_of_long_names(&mut self, parsed: Option<&binder::ParsedStatement>) {
        let Some(source) = parsed.map(|parsed| &parsed.source) else { return };
        for (name, cut) in source.long_names() {
            self.warning(ErrorKind::NameTooLong, format!("identifier \"{name}\" will be truncated to \"{cut}\""));
        }
    }

    pub(super) fn warning(&mut self, kind: ErrorKind, message: impl Into<String>) {
        self.notice(Notice { kind: Some(kind), message: message.into(), detail: None });
    }

    /// All settings that the client is to be told about, at its start.
    pub fn reported_settings(&self) -> Vec<(&'static str, String)> {
        self.reported.reported().to_vec()
    }

    /// Those of them that changed since the last call.
    pub fn take_changed_settings(&mut self) -> Vec<(&'static str, String)> {
        let now = {
            let settings = self.shared.settings.lock();
            if Arc::ptr_eq(settings.derived(), &self.reported) {
                return Vec::new();
            }
            settings.derived().clone()
        };
        let old = self.reported.reported();
        let changed = now.reported().iter().zip(old).filter(|(new, old)| new != old).map(|(new, _)| new.clone());
        let changed = changed.collect();
        self.reported = now;
        changed
    }

    /// The catalog that the next statement is planned with: that of its snapshot.
    pub(crate) fn current_catalog(&mut self) -> Result<Arc<Snapshot>> {
        match self.block.as_ref().and_then(Block::own_catalog) {
            Some(own) => Ok(own.clone()),
            None => self.committed_catalog(),
        }
    }

    /// The catalog as committed by now, whatever the transaction's snapshot.
    pub(super) fn committed_catalog(&mut self) -> Result<Arc<Snapshot>> {
        let changes = self.engine.catalog_changes();
        if self.catalog.0 != Some(changes) || changes.under_way > 0 {
            self.catalog = (Some(changes), self.engine.latest_catalog(self.shared.database)?);
            self.publish_catalog();
        }
        Ok(self.catalog.1.clone())
    }

    /// Whether a statement that was planned with `catalog` must be planned anew for a snapshot that was taken since: the snapshot
    /// has a change of the catalog that the plan has not, and would show half of the transaction that made it. Or the plan has
    /// one that the transaction's one snapshot has not, such as an index that lacks rows of it.
    pub(super) fn is_outdated(&self, catalog: &Arc<Snapshot>, view: &ReadView) -> Result<bool> {
        if let Some(own) = self.block.as_ref().and_then(Block::own_catalog) {
            return Ok(own.version != catalog.version || own.private != catalog.private);
        }
        let changes = self.engine.catalog_changes();
        if changes.under_way == 0 && self.catalog.0 == Some(changes) && self.catalog.1.version == catalog.version {
            return Ok(false);
        }
        Ok(self.engine.catalog_at(self.shared.database, view)?.version > catalog.version)
    }

    /// Makes the catalog that a transaction changed (or the committed one again) what functions see.
    pub(super) fn publish_catalog(&mut self) {
        let own = self.block.as_ref().and_then(Block::own_catalog);
        let current = own.unwrap_or(&self.catalog.1).clone();
        *self.shared.catalog.lock() = current;
    }

    pub(crate) fn eval_context(&self, catalog: &Arc<Snapshot>) -> EvalContext {
        EvalContext {
            format: self.shared.settings.lock().format().clone(),
            transaction_micros: self.block.as_ref().map_or(self.statement_micros, |b| b.started_micros),
            statement_micros: self.statement_micros,
            catalog: catalog.clone(),
            host: self.shared.clone(),
            given_up: self.not_given_up.clone(),
        }
    }

    /// What the text forms of these types need to know beyond [`Session::format_options`]: the catalog, where some of them
    /// print names.
    ///
    /// # Errors
    /// The store's.
    pub fn names_for(&mut self, types: impl IntoIterator<Item = PgType>) -> Result<Option<EvalContext>> {
        if !types.into_iter().any(crate::eval::prints_names) {
            return Ok(None);
        }
        let catalog = self.current_catalog()?;
        Ok(Some(self.eval_context(&catalog)))
    }

    pub(crate) fn wait_policy(&self) -> WaitPolicy {
        let millis = self.shared.settings.lock().lock_timeout_ms();
        WaitPolicy::Wait { timeout: (millis > 0).then(|| std::time::Duration::from_millis(millis)) }
    }

    /// How names are looked up for a statement of this session; `source` is the text that positions count in.
    pub(crate) fn bind_context(
        &self,
        catalog: &Arc<Snapshot>,
        source: Option<Arc<crate::binder::SourceText>>,
    ) -> BindContext {
        let format = self.shared.settings.lock().format().clone();
        BindContext { format, ..BindContext::of(catalog, self.shared.search_path(false), source) }
    }

    /// How values read and print in this session.
    pub fn format_options(&self) -> Arc<FormatOptions> {
        self.shared.settings.lock().format().clone()
    }

    /// `idle_session_timeout` in milliseconds; 0 is none.
    pub fn idle_timeout_ms(&self) -> u64 {
        self.shared.settings.lock().idle_session_timeout_ms()
    }

    /// `idle_in_transaction_session_timeout` in milliseconds; 0 is none.
    pub fn idle_in_transaction_timeout_ms(&self) -> u64 {
        self.shared.settings.lock().idle_in_transaction_timeout_ms()
    }

    /// Runs a statement that stands inside another one.
    pub(crate) async fn run_inner(
        &mut self,
        outer: &Prepared,
        statement: &sqlparser::ast::Statement,
    ) -> Result<StatementResult> {
        let inner = Arc::new(Prepared::new(self.inner_statement(outer, statement), Vec::new()));
        let Some(planned) = self.plan(&inner).await? else { return Ok(StatementResult::Empty) };
        self.execute(&inner, planned, Vec::new(), Company::String).await
    }

    /// The clock of a statement starts, and cancel requests are meant for it from now on.
    pub(super) fn begin_statement(&mut self, sql: &str) {
        self.begin_shown(shown(sql));
    }

    /// As [`Session::begin_statement`], of which others see `query`.
    pub(super) fn begin_shown(&mut self, query: Arc<str>) {
        self.start_clock(query);
        self.shared.cancel.start_statement();
        *self.shared.deadline.lock() = deadline_after(self.shared.settings.lock().statement_timeout_ms());
    }

    fn start_clock(&mut self, query: Arc<str>) {
        self.statement_micros = now_micros();
        let mut activity = self.shared.activity.lock();
        activity.query = query;
        activity.query_start_micros = self.statement_micros;
        activity.state = "active";
        activity.transaction_start_micros = self.block.as_ref().map(|b| b.started_micros);
    }

    /// The session waits for its client.
    pub fn became_idle(&mut self) {
        self.counters.end();
        let mut activity = self.shared.activity.lock();
        activity.state = match self.transaction_status() {
            TransactionStatus::Idle => "idle",
            TransactionStatus::InBlock => "idle in transaction",
            TransactionStatus::Failed => "idle in transaction (aborted)",
        };
        activity.transaction_start_micros = self.block.as_ref().map(|b| b.started_micros);
    }

    /// 25P02 in a failed transaction block, unless the statement ends it.
    ///
    /// # Errors
    /// That.
    pub fn refuse_if_failed(&self, prepared: &Prepared) -> Result<()> {
        let ends_block =
            prepared.parsed.as_ref().is_none_or(|p| p.sql().is_some_and(super::utility::ends_failed_block));
        match &self.block {
            Some(block) if block.failed && !ends_block => Err(failed_block()),
            _ => Ok(()),
        }
    }

    /// As [`Session::refuse_if_failed`], for Bind, where Postgres refuses what says nothing, too.
    ///
    /// # Errors
    /// That.
    pub fn refuse_bind_if_failed(&self, prepared: &Prepared) -> Result<()> {
        match &self.block {
            Some(block) if block.failed && prepared.parsed.is_none() => Err(failed_block()),
            _ => self.refuse_if_failed(prepared),
        }
    }

    /// Goes on with the rows of a statement that was run before: its clock starts again.
    ///
    /// # Errors
    /// The transaction block has failed meanwhile.
    pub fn resume(&mut self, prepared: &Prepared) -> Result<()> {
        self.begin_shown(prepared.shown().clone());
        self.refuse_if_failed(prepared)
    }

    pub(super) fn resume_cursor(&mut self, name: &str) -> Result<()> {
        self.begin_statement(&format!("FETCH FROM {name}"));
        match &self.block {
            Some(block) if block.failed => Err(failed_block()),
            _ => Ok(()),
        }
    }

    /// Runs a statement. `company` says what forms one transaction with it.
    /// Rows are then taken with [`Session::fetch`]. After an error the transaction block has failed.
    ///
    /// # Errors
    /// The statement's.
    pub async fn run(
        &mut self,
        prepared: &Arc<Prepared>,
        params: Vec<Datum>,
        company: Company,
    ) -> Result<StatementResult> {
        self.begin_shown(prepared.shown().clone());
        self.run_begun(prepared, params, company).await
    }

    /// As [`Session::run`], for a statement of which others see `text` as the text.
    ///
    /// # Errors
    /// The statement's.
    pub async fn run_as(
        &mut self,
        text: &str,
        prepared: &Arc<Prepared>,
        params: Vec<Datum>,
        company: Company,
    ) -> Result<StatementResult> {
        self.begin_statement(text);
        self.run_begun(prepared, params, company).await
    }

    async fn run_begun(
        &mut self,
        prepared: &Arc<Prepared>,
        params: Vec<Datum>,
        company: Company,
    ) -> Result<StatementResult> {
        self.counters.begin();
        let deadline = *self.shared.deadline.lock();
        // The end of a transaction is not abandoned half way: what became of it has to be known.
        let ends_block =
            prepared.parsed.as_ref().is_some_and(|p| p.sql().is_some_and(super::utility::ends_failed_block));
        let result = match self.run_at_once(prepared, &params) {
            Some(result) => result,
            None => {
                let shared = self.shared.clone();
                let work = self.run_planned(prepared, params, company);
                if ends_block { work.await } else { shared.cancel.guard(deadline, work).await }
            }
        };
        let result = match result {
            // Not to be dropped half way either: the jobs look for cancel requests themselves, and clean up.
            Ok(done) if std::mem::take(&mut self.commits_alone) => Box::pin(self.commit_block()).await.map(|()| done),
            other => other,
        };
        if result.is_err() {
            self.fail();
        }
        result
    }

    /// Runs a statement that waits for nothing: rows by key. `None` leaves it to [`Session::run_planned`].
    fn run_at_once(&mut self, prepared: &Arc<Prepared>, params: &[Datum]) -> Option<Result<StatementResult>> {
        if let Err(error) = self.refuse_if_failed(prepared) {
            return Some(Err(error));
        }
        if prepared.text_bytes() > INLINE_BYTES_MAX {
            return None;
        }
        match self.plan_here(prepared) {
            Err(error) => Some(Err(error)),
            Ok(Some(planned)) if planned.is_of_one_row() && params.len() == planned.params.len() => {
                self.execute_at_once(&planned, params)
            }
            Ok(_) => None,
        }
    }

    async fn run_planned(
        &mut self,
        prepared: &Arc<Prepared>,
        params: Vec<Datum>,
        company: Company,
    ) -> Result<StatementResult> {
        let Some(planned) = self.plan(prepared).await? else { return Ok(StatementResult::Empty) };
        if prepared.without_params && !planned.params.is_empty() {
            let error = Error::new(ErrorKind::UndefinedParameter, "there is no parameter $1");
            let place = prepared.parsed.as_ref().and_then(|p| {
                let at = p.range.start + p.text().find("$1")?;
                p.source.position_of_byte(at)
            });
            return Err(match place {
                Some(place) => error.at(place),
                None => error,
            });
        }
        if params.len() != planned.params.len() {
            return Err(Error::new(
                ErrorKind::ProtocolViolation,
                format!(
                    "bind message supplies {} parameters, but the prepared statement requires {}",
                    params.len(),
                    planned.params.len()
                ),
            ));
        }
        self.execute(prepared, planned, params, company).await
    }

    /// Takes at most `rows_max` further rows of a result.
    ///
    /// # Errors
    /// The statement's; the transaction block has failed then.
    pub async fn fetch(&mut self, result: &mut ResultSet, rows_max: usize) -> Result<Option<RowBlock>> {
        if let Some(ready) = result.next_ready(rows_max) {
            return Ok(ready);
        }
        let deadline = *self.shared.deadline.lock();
        let taken = self.shared.cancel.guard(deadline, result.next(rows_max)).await;
        if taken.is_err() {
            result.stop();
            self.fail();
        }
        taken
    }
}
