//! UNION ALL gives its parts one after another, as PostgreSQL does and its users have come to expect: DataFusion gives what is
//! ready first.

use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execute_stream};
use futures::{StreamExt, TryStreamExt};

use super::unclaimed::UnclaimedExec;

/// Whether the rows of a plan are those of a UNION ALL, part by part in its partitions.
fn is_union(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let mut plan = plan;
    while plan.downcast_ref::<ProjectionExec>().is_some() || plan.downcast_ref::<UnclaimedExec>().is_some() {
        let [input] = plan.children()[..] else { return false };
        plan = input;
    }
    plan.downcast_ref::<UnionExec>().is_some()
}

/// The rows of a plan; those of a UNION ALL in its order.
pub(super) fn stream_in_order(
    plan: &Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> DfResult<SendableRecordBatchStream> {
    let partitions = plan.output_partitioning().partition_count();
    if partitions <= 1 || !is_union(plan) {
        return execute_stream(plan.clone(), context);
    }
    let schema = plan.schema();
    let plan = plan.clone();
    // A part is begun when the one before it has ended.
    let parts = futures::stream::iter(0..partitions).map(move |part| plan.execute(part, context.clone()));
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, parts.try_flatten())))
}
