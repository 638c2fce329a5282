//! Repartitioning of one input each.

use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::Transformed;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};

use super::operators::EachOperator;

/// Joins the inputs of an operator that distributes rows anew.
///
/// With several inputs its rows go to disk through several files at a time, of which the reader waits for one while what it
/// could read is in another: when memory runs out, the query stands still for ever
/// (<https://github.com/apache/datafusion/issues/24883>, in 55.2 and before). One input writes one file.
pub(super) const ONE_WRITER: EachOperator = EachOperator { name: "one_writer", rewrite: join_inputs };

fn join_inputs(plan: Arc<dyn ExecutionPlan>) -> DfResult<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(repartition) = plan.downcast_ref::<RepartitionExec>() else { return Ok(Transformed::no(plan)) };
    let input = repartition.input();
    // Those that keep an order have a file for each input.
    if repartition.preserve_order() || input.output_partitioning().partition_count() < 2 {
        return Ok(Transformed::no(plan));
    }
    let input: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(input.clone()));
    replace_children_if_necessary(plan, vec![input]).map(Transformed::yes)
}
