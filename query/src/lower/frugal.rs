//! A second attempt at queries that ran out of memory, or made batches that are too large, before anybody saw a row: with less
//! memory, or with few rows in a batch.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use stratos_types::{Error, ErrorKind, Result};

use super::Env;
use super::attempt::AttemptPool;
use super::context::StatementContext;
use super::lookup_join::LookupJoinExec;
use super::runtime::{BATCH_ROWS, FRUGAL_PARTITIONS, prepare};
use super::sorted_groups::keeps_rows;
use crate::arrow::is_column_too_large;
use crate::ir::Rel;

/// A second attempt at a statement.
pub(super) struct Fallback {
    rel: Rel,
    statement: Arc<StatementContext>,
    /// The memory of the first one.
    first: Option<Arc<AttemptPool>>,
    partitions: usize,
    /// Whether the plan can do with less memory.
    saves: bool,
}

/// Rows of a batch where those of the usual number were too large: room for values of 128 MB.
const SMALL_BATCH_ROWS: usize = 16;

impl Fallback {
    /// Plans of several parts, or with joins, aggregates or subqueries that keep rows in memory, can do with less memory.
    pub fn of(
        plan: &Arc<dyn ExecutionPlan>,
        partitions: usize,
        rel: &Rel,
        statement: &Arc<StatementContext>,
        session: &SessionState,
    ) -> Self {
        Fallback {
            rel: rel.clone(),
            statement: statement.clone(),
            first: session.config().get_extension(),
            partitions,
            saves: partitions > 1 || has_hash_join(plan) || keeps_rows(rel),
        }
    }

    /// Whether it may do what the first attempt has failed to do.
    pub fn helps(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::OutOfMemory && self.saves || is_column_too_large(error)
    }

    /// Starts it after an error of the first one, when what that held is free.
    ///
    /// # Errors
    /// As planning's.
    pub async fn start(self, error: &Error) -> Result<SendableRecordBatchStream> {
        tracing::debug!(%error, "a query begins again, with less memory or smaller batches");
        if let Some(first) = &self.first {
            first.released().await;
        }
        let (statement, partitions) = match is_column_too_large(error) {
            true => (self.statement.again(false, SMALL_BATCH_ROWS), self.partitions),
            false => (self.statement.again(true, BATCH_ROWS), FRUGAL_PARTITIONS),
        };
        prepare(&Arc::new(statement), &Env::default(), &self.rel, None, partitions).await?.stream()
    }
}

/// Whether there is a join that keeps one side in memory.
pub(super) fn has_hash_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<HashJoinExec>().is_some()
        || plan.downcast_ref::<LookupJoinExec>().is_some()
        || plan.children().into_iter().any(has_hash_join)
}
