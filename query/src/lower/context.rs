//! What every part of a running query can reach.
//!
//! Plans are built of functions and tables that know no session: they find the statement's surroundings through
//! DataFusion's configuration, which comes along wherever an expression or an operator runs.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{DataFusionError, internal_err};
use stratos_replication::PrefixStatistics;
use stratos_types::Datum;

use super::runtime::QueryRuntime;
use crate::catalog::{SystemContext, Table};
use crate::scan::RowSource;
use crate::session::EvalContext;

/// The surroundings of one statement's execution.
pub struct StatementContext {
    /// Settings and clock.
    pub eval: EvalContext,
    /// Where rows come from: one snapshot for the whole statement.
    pub source: Arc<dyn RowSource>,
    /// Values of `$1…`.
    pub params: Arc<[Datum]>,
    /// What system tables look at; none where there is no store (tests).
    pub system: Option<SystemContext>,
    /// The node's memory and disk for queries.
    pub runtime: QueryRuntime,
    /// EXPLAIN without ANALYZE: nothing may be executed, subqueries included.
    pub plan_only: bool,
}

impl StatementContext {
    /// Live rows of a table and their bytes, roughly.
    pub(crate) fn statistics(&self, table: &Table) -> PrefixStatistics {
        self.source.statistics(table).unwrap_or_else(|| self.runtime.statistics(table))
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
