//! What DataFusion believes of columns that decide others.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{FunctionalDependencies, Result as DfResult};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Takes the functional dependencies off the whole plan before a rule that drops sort and group keys by them.
///
/// Each group has its keys once, that much is right. What DataFusion derives from it further up is not: grouping anew says
/// that a key of the first grouping decides all keys of the second one (`SELECT DISTINCT t.k, d.s FROM (… GROUP BY k) t JOIN
/// d …` would have one `s` for each `k`), and rows that are repeated by unnesting still count as unique. Nodes compute their
/// dependencies whenever they are made, so they are taken off just before they would be believed.
#[derive(Debug)]
pub(super) struct WithoutDependencies<R>(pub R);

impl<R: OptimizerRule + Send + Sync> OptimizerRule for WithoutDependencies<R> {
    fn name(&self) -> &str {
        self.0.name()
    }

    /// Once for the whole plan: rules that look at the nodes below a node would meet dependencies made since.
    fn apply_order(&self) -> Option<ApplyOrder> {
        None
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        let plan = plan.transform_up(forget)?.data;
        match self.0.apply_order() {
            None => self.0.rewrite(plan, config),
            Some(ApplyOrder::TopDown) => plan.transform_down(|node| self.0.rewrite(node, config)),
            Some(ApplyOrder::BottomUp) => plan.transform_up(|node| self.0.rewrite(node, config)),
        }
    }
}

fn forget(mut plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let schema = match &mut plan {
        LogicalPlan::Projection(node) => &mut node.schema,
        LogicalPlan::Aggregate(node) => &mut node.schema,
        LogicalPlan::Window(node) => &mut node.schema,
        LogicalPlan::Join(node) => &mut node.schema,
        LogicalPlan::Unnest(node) => &mut node.schema,
        LogicalPlan::Union(node) => &mut node.schema,
        // The others have no dependencies but those of their input.
        _ => return Ok(Transformed::no(plan)),
    };
    if schema.functional_dependencies().is_empty() {
        return Ok(Transformed::no(plan));
    }
    *schema = Arc::new(schema.as_ref().clone().with_functional_dependencies(FunctionalDependencies::empty())?);
    Ok(Transformed::yes(plan))
}
