//! What every part of a running query can reach.
//!
//! Plans are built of functions and tables that know no session: they find the statement's surroundings through
//! DataFusion's configuration, which comes along wherever an expression or an operator runs.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{DataFusionError, internal_err};
use stratos_replication::PrefixStatistics;
use stratos_types::{Datum, Error};

use super::runtime::QueryRuntime;
use crate::catalog::{StoreFacts, SystemContext, Table};
use crate::scan::RowSource;
use crate::session::EvalContext;

/// The surroundings of one statement's execution.
pub struct StatementContext {
    /// Settings, clock and catalog.
    pub eval: EvalContext,
    /// Where rows come from: one snapshot for the whole statement.
    pub source: Arc<dyn RowSource>,
    /// Values of `$1…`.
    pub params: Arc<[Datum]>,
    /// What system tables look at, once one is read: it names every session and setting of the node, which is much to collect
    /// for the many statements that ask for none of it.
    pub(crate) system: OnceLock<SystemContext>,
    /// The node's memory and disk for queries.
    pub runtime: QueryRuntime,
    /// EXPLAIN without ANALYZE: nothing may be executed, subqueries included.
    pub plan_only: bool,
    /// The statement has run out of memory once: its joins shall be of the kind that goes to disk.
    pub frugal: bool,
    /// Most rows of a batch.
    pub batch_rows: usize,
}

impl StatementContext {
    /// What system tables look at, the same for all that the statement reads.
    ///
    /// # Errors
    /// Where there is no store (tests).
    pub(crate) fn system(&self) -> stratos_types::Result<&SystemContext> {
        let store = self.runtime.store().ok_or_else(|| Error::internal("system tables need a store"))?;
        Ok(self.system.get_or_init(|| system_context(&self.eval, store)))
    }

    /// The same surroundings for another attempt, with less memory or with fewer rows in a batch.
    pub(crate) fn again(&self, frugal: bool, batch_rows: usize) -> StatementContext {
        StatementContext {
            eval: self.eval.clone(),
            source: self.source.clone(),
            params: self.params.clone(),
            system: self.system.clone(),
            runtime: self.runtime.clone(),
            plan_only: self.plan_only,
            frugal,
            batch_rows,
        }
    }

    /// Whether aggregates that keep their rows are to be computed by sorting, which goes to disk, rather than by hashing, which is
    /// faster.
    pub(crate) fn groups_by_sorting(&self) -> bool {
        self.frugal || self.eval.host.setting("enable_hashagg").is_some_and(|value| value == "off")
    }

    /// Live rows of a table and their bytes, roughly.
    pub(crate) fn statistics(&self, table: &Table) -> PrefixStatistics {
        self.source.statistics(table).unwrap_or_else(|| self.runtime.statistics(table))
    }
}

/// What system tables look at in a session.
pub(super) fn system_context(eval: &EvalContext, store: &Arc<dyn StoreFacts>) -> SystemContext {
    let host = &eval.host;
    SystemContext {
        catalog: eval.catalog.clone(),
        store: store.clone(),
        sessions: Arc::new(host.sessions()),
        prepared: Arc::new(host.prepared_statements()),
        cursors: Arc::new(host.cursors()),
        role: host.current_user(),
        settings: Arc::new(host.all_settings()),
        search_path: Arc::new(host.search_path(false)),
    }
}

impl fmt::Debug for StatementContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatementContext")
    }
}

/// [`StatementContext`] as DataFusion carries it.
#[derive(Debug, Clone)]
pub(crate) struct StatementExtension(pub Arc<StatementContext>);

impl ExtensionOptions for StatementExtension {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }
    fn set(&mut self, key: &str, _value: &str) -> Result<(), DataFusionError> {
        internal_err!("no option {key}")
    }
    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

impl ConfigExtension for StatementExtension {
    const PREFIX: &'static str = "stratos";
}

/// The statement that an expression or operator with these options belongs to.
pub(crate) fn statement_of(options: &ConfigOptions) -> Result<&Arc<StatementContext>, DataFusionError> {
    match options.extensions.get::<StatementExtension>() {
        Some(extension) => Ok(&extension.0),
        None => internal_err!("executed outside of a statement"),
    }
}
