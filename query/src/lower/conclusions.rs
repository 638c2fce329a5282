//! What DataFusion must not conclude: that columns decide others, and that a condition may be asked earlier.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{FunctionalDependencies, Result as DfResult};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::expr::conjunction;

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

/// Keeps conditions above grouping, windows and our own operators that the rule would ask below: those without columns,
/// which it takes for conditions on the keys of groups (`SELECT n FROM (SELECT count(*) n FROM t) x WHERE $1` is no row when
/// `$1` is false, and not one that has counted nothing), and volatile ones, which say something of a group, not of a row in it.
#[derive(Debug)]
pub(super) struct AskedAbove<R>(pub R);

impl<R: OptimizerRule + Send + Sync> OptimizerRule for AskedAbove<R> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        let (mut conditions, mut input) = (Vec::new(), &plan);
        while let LogicalPlan::Filter(filter) = input {
            conditions.push(filter.predicate.clone());
            input = &filter.input;
        }
        let makes_rows =
            matches!(input, LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Extension(_));
        if conditions.is_empty() || !makes_rows {
            return self.0.rewrite(plan, config);
        }
        let movable = |condition: &Expr| !condition.column_refs().is_empty() && !condition.is_volatile();
        // Inner conditions come first.
        let conditions = conditions.into_iter().rev().flat_map(split_conjunction_owned);
        let (below, above): (Vec<Expr>, Vec<Expr>) = conditions.partition(movable);
        let Some(above) = conjunction(above) else { return self.0.rewrite(plan, config) };
        let Some(below) = conjunction(below) else { return Ok(Transformed::no(plan)) };
        let below = LogicalPlan::Filter(Filter::try_new(below, Arc::new(input.clone()))?);
        self.0.rewrite(below, config)?.map_data(|plan| {
            Ok(LogicalPlan::Filter(match plan {
                LogicalPlan::Filter(kept) => Filter::try_new(kept.predicate.and(above), kept.input)?,
                other => Filter::try_new(above, Arc::new(other))?,
            }))
        })
    }
}
