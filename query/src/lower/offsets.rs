//! Rows that OFFSET leaves out.

use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::{Distribution, OrderingRequirements};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::output_requirements::OutputRequirementExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};

/// Says that an OFFSET without a LIMIT needs its rows in order. DataFusion keeps the sort below a limit because it takes the
/// limit in; a sort that only decides which rows are left out goes where the query around it asks for no order (a join, for
/// one). What says so goes again with DataFusion's own requirements on the output.
#[derive(Debug)]
pub(super) struct OrderedOffsets;

impl PhysicalOptimizerRule for OrderedOffsets {
    fn name(&self) -> &'static str {
        "ordered_offsets"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() else { return Ok(Transformed::no(plan)) };
            let input = limit.input().clone();
            let only_skips = limit.skip() > 0 && limit.fetch().is_none();
            let Some(order) = input.output_ordering().filter(|_| only_skips).cloned() else {
                return Ok(Transformed::no(plan));
            };
            let order = Some(OrderingRequirements::from(order));
            let ordered = OutputRequirementExec::new(input, order, Distribution::SinglePartition, None);
            replace_children_if_necessary(plan, vec![Arc::new(ordered)]).map(Transformed::yes)
        })
        .map(|transformed| transformed.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}
