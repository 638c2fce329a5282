//! Planning on threads of its own, which may be given up: the client cancelled, its time is over, the node stops.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use stratos_types::{Error, Result};

use super::context::{StatementContext, statement_of};
use super::error::to_datafusion;
use super::runtime::{Prepared, prepare};
use super::{Env, PlanTemplate};
use crate::ir::Rel;

/// A rule that is not applied any more once nobody waits for the plan.
#[derive(Debug)]
pub(super) struct Interruptible(pub Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for Interruptible {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        if let Ok(statement) = statement_of(&config.options()) {
            statement.eval.check_canceled().map_err(to_datafusion)?;
        }
        self.0.rewrite(plan, config)
    }
}

/// Tells the threads of queries when nobody waits for what they do any more.
pub(super) struct GiveUpOnDrop(Option<Arc<StatementContext>>);

impl GiveUpOnDrop {
    pub fn new(statement: &Arc<StatementContext>) -> GiveUpOnDrop {
        GiveUpOnDrop(Some(statement.clone()))
    }

    /// The work is done.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for GiveUpOnDrop {
    fn drop(&mut self) {
        if let Some(statement) = &self.0 {
            statement.eval.given_up.store(true, Ordering::Relaxed);
        }
    }
}

/// Runs `work` inside of a poll of something else, which is why nobody else can stop it.
pub(super) async fn stoppable<T>(statement: &StatementContext, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|cx| match statement.eval.check_canceled() {
        Ok(()) => work.as_mut().poll(cx),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}

/// [`prepare`] on a thread that serves no clients: a plan may take its time, and the future can be dropped meanwhile.
pub(super) async fn prepare_away(
    rel: &Rel,
    template: Option<&Arc<PlanTemplate>>,
    statement: &Arc<StatementContext>,
    partitions: usize,
) -> Result<Prepared> {
    let watch = GiveUpOnDrop::new(statement);
    let (rel, template, statement) = (rel.clone(), template.cloned(), statement.clone());
    let threads = statement.runtime.threads();
    let runtime = threads.clone();
    let planning = threads.spawn_blocking(move || {
        runtime.block_on(prepare(&statement, &Env::default(), &rel, template.as_deref(), partitions))
    });
    let prepared = planning.await.map_err(|_| Error::internal("the planner failed"))?;
    watch.disarm();
    prepared
}
