//! Repartitioning of one input each.

use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};

/// Joins the inputs of an operator that distributes rows anew.
///
/// With several inputs its rows go to disk through several files at a time, of which the reader waits for one while what it
/// could read is in another: when memory runs out, the query stands still for ever
/// (<https://github.com/apache/datafusion/issues/24883>, in 55.2 and before). One input writes one file.
#[derive(Debug)]
pub(super) struct OneWriter;

impl PhysicalOptimizerRule for OneWriter {
    fn name(&self) -> &'static str {
        "one_writer"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let Some(repartition) = plan.downcast_ref::<RepartitionExec>() else { return Ok(Transformed::no(plan)) };
            let input = repartition.input();
            // Those that keep an order have a file for each input.
            if repartition.preserve_order() || input.output_partitioning().partition_count() < 2 {
                return Ok(Transformed::no(plan));
            }
            let input: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(input.clone()));
            replace_children_if_necessary(plan, vec![input]).map(Transformed::yes)
        })
        .map(|transformed| transformed.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}
