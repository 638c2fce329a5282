//! Rows that OFFSET leaves out.

use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::Transformed;
use datafusion::physical_expr::{Distribution, OrderingRequirements};
use datafusion::physical_optimizer::output_requirements::OutputRequirementExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};

use super::operators::EachOperator;
use super::unclaimed::UnclaimedExec;

/// Keeps an OFFSET together with the sort that says which rows come first.
///
/// - It goes below projections, to the sort: where they drop the sort's keys, nothing above them can say any more that rows are
///   in order, and what divides rows among partitions below them would not keep them so.
/// - Without a LIMIT it says that it needs its rows in order. DataFusion keeps the sort below a limit because it takes the
///   limit in; a sort that only decides which rows are left out goes where the query around it asks for no order (a join, for
///   one), and comes too late where it asks for another one (a window), which is then made below the offset.
pub(super) const ORDERED_OFFSETS: EachOperator = EachOperator { name: "ordered_offsets", rewrite: keep_with_sort };

fn keep_with_sort(plan: Arc<dyn ExecutionPlan>) -> DfResult<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(limit) = plan.downcast_ref::<GlobalLimitExec>().filter(|limit| limit.skip() > 0) else {
        return Ok(Transformed::no(plan));
    };
    let without_limit = limit.fetch().is_none();
    let mut projections = Vec::new();
    let mut input = limit.input().clone();
    while let Some(projection) = input.downcast_ref::<ProjectionExec>() {
        let below = projection.input().clone();
        projections.push(input);
        input = below;
    }
    let Some(order) = input.output_ordering().cloned() else { return Ok(Transformed::no(plan)) };
    if without_limit {
        let order = Some(OrderingRequirements::from(order));
        input = Arc::new(OutputRequirementExec::new(input, order, Distribution::SinglePartition, None));
    }
    let mut limited = replace_children_if_necessary(plan, vec![input])?;
    if without_limit {
        limited = UnclaimedExec::settled(limited);
    }
    let whole = projections
        .into_iter()
        .rev()
        .try_fold(limited, |below, projection| replace_children_if_necessary(projection, vec![below]))?;
    Ok(Transformed::yes(whole))
}
