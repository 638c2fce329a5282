//! A second attempt, with less memory, at queries that ran out of it before anybody saw a row.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use stratos_types::Result;

use super::Env;
use super::attempt::AttemptPool;
use super::context::StatementContext;
use super::lookup_join::LookupJoinExec;
use super::runtime::{FRUGAL_PARTITIONS, prepare};
use super::sorted_groups::keeps_rows;
use crate::ir::Rel;

/// A second attempt at a statement.
pub(super) struct Fallback {
    rel: Rel,
    statement: Arc<StatementContext>,
    /// The memory of the first one.
    first: Option<Arc<AttemptPool>>,
}

impl Fallback {
    /// For plans that can do with less: of several parts, or with joins, aggregates or subqueries that keep rows in memory.
    pub fn of(
        plan: &Arc<dyn ExecutionPlan>,
        partitions: usize,
        rel: &Rel,
        statement: &Arc<StatementContext>,
        session: &SessionState,
    ) -> Option<Self> {
        (partitions > 1 || has_hash_join(plan) || keeps_rows(rel)).then(|| Fallback {
            rel: rel.clone(),
            statement: statement.clone(),
            first: session.config().get_extension(),
        })
    }

    /// Starts it, when what the first one held is free.
    ///
    /// # Errors
    /// As planning's.
    pub async fn start(self) -> Result<SendableRecordBatchStream> {
        tracing::debug!("a query has run out of memory: once more, with less");
        if let Some(first) = &self.first {
            first.released().await;
        }
        let statement = Arc::new(self.statement.frugally());
        prepare(&statement, &Env::default(), &self.rel, None, FRUGAL_PARTITIONS).await?.stream()
    }
}

/// Whether there is a join that keeps one side in memory.
pub(super) fn has_hash_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<HashJoinExec>().is_some()
        || plan.downcast_ref::<LookupJoinExec>().is_some()
        || plan.children().into_iter().any(has_hash_join)
}
