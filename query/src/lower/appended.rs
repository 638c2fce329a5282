//! UNION ALL gives its parts one after another, as PostgreSQL does and its users have come to expect: DataFusion gives what is
//! ready first.

use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::Transformed;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PlanProperties, execute_stream};
use futures::{StreamExt, TryStreamExt};

use super::operators::{EachOperator, shown_by_name, with_an_input};

/// Puts the parts of a UNION ALL one after another where they become one, and what was made of each part by itself, such as the
/// first half of a grouping.
pub(super) const APPEND: EachOperator = EachOperator { name: "append", rewrite: append };

fn append(plan: Arc<dyn ExecutionPlan>) -> DfResult<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(merged) = plan.downcast_ref::<CoalescePartitionsExec>().filter(|merged| is_of_union(merged.input()))
    else {
        return Ok(Transformed::no(plan));
    };
    let appended: Arc<dyn ExecutionPlan> = Arc::new(AppendedExec::new(merged.input().clone()));
    Ok(Transformed::yes(match merged.fetch() {
        Some(rows) => Arc::new(GlobalLimitExec::new(appended, 0, Some(rows))),
        None => appended,
    }))
}

/// Whether the partitions of a plan are those of a UNION ALL, in its order.
fn is_of_union(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let mut plan = plan;
    while plan.downcast_ref::<UnionExec>().is_none() {
        let [input] = plan.children()[..] else { return false };
        let kept = input.output_partitioning().partition_count() == plan.output_partitioning().partition_count();
        if !kept || plan.downcast_ref::<RepartitionExec>().is_some() {
            return false;
        }
        plan = input;
    }
    true
}

/// The rows of a plan; those of a UNION ALL in its order.
pub(super) fn stream_in_order(
    plan: &Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> DfResult<SendableRecordBatchStream> {
    let partitions = plan.output_partitioning().partition_count();
    if partitions <= 1 || !is_of_union(plan) {
        return execute_stream(plan.clone(), context);
    }
    Ok(one_by_one(plan.clone(), context))
}

/// All partitions, each begun when the one before it has ended.
fn one_by_one(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> SendableRecordBatchStream {
    let (schema, partitions) = (plan.schema(), plan.output_partitioning().partition_count());
    let parts = futures::stream::iter(0..partitions).map(move |part| plan.execute(part, context.clone()));
    Box::pin(RecordBatchStreamAdapter::new(schema, parts.try_flatten()))
}

/// The partitions of its input one after another.
#[derive(Debug)]
struct AppendedExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl AppendedExec {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(1),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        AppendedExec { input, properties: Arc::new(properties) }
    }
}

shown_by_name!(AppendedExec);

impl ExecutionPlan for AppendedExec {
    with_an_input!("AppendedExec", |_this, input| AppendedExec::new(input));

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        Ok(one_by_one(self.input.clone(), context))
    }
}
