//! Joins on `a IS NOT DISTINCT FROM b`, which match rows whose keys are NULL.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{NullEquality, Result as DfResult};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerContext, OptimizerRule};

/// Leaves `a IS NOT DISTINCT FROM b` among a join's conditions while plans are optimized; only `a = b` becomes a key.
///
/// A join has one answer for all of its keys to whether NULL equals NULL, and the rules that put keys of several joins together
/// (those that order inner joins, those that find keys in conditions pushed down) take it from whichever join they look at
/// first: NULLs of the others would match no longer, or would begin to. [`null_safe_keys`] makes the keys once they are done.
#[derive(Debug)]
pub(super) struct EqualKeys(pub ExtractEquijoinPredicate);

impl OptimizerRule for EqualKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        if !could_be_null_safe(&plan) {
            return self.0.rewrite(plan, config);
        }
        let rewritten = self.0.rewrite(plan.clone(), config)?;
        match &rewritten.data {
            LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull => Ok(Transformed::no(plan)),
            _ => Ok(rewritten),
        }
    }
}

/// Makes keys of the null-safe comparisons of joins without other keys, in a plan that no rule rewrites any more: hashing and
/// merging are quicker than comparing all pairs. `None` if there is no such join.
pub(super) fn null_safe_keys(plan: &LogicalPlan) -> DfResult<Option<LogicalPlan>> {
    let mut found = false;
    plan.apply(|node| {
        found |= could_be_null_safe(node);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !found {
        return Ok(None);
    }
    let (rule, config) = (ExtractEquijoinPredicate::new(), OptimizerContext::new());
    let keyed = plan.clone().transform_up(|node| {
        if could_be_null_safe(&node) { rule.rewrite(node, &config) } else { Ok(Transformed::no(node)) }
    })?;
    Ok(Some(keyed.data))
}

/// Whether a join has no keys yet, but a null-safe comparison among its conditions.
fn could_be_null_safe(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Join(join) = plan else { return false };
    join.on.is_empty() && join.filter.as_ref().is_some_and(has_null_safe)
}

fn has_null_safe(condition: &Expr) -> bool {
    let mut pending = vec![condition];
    while let Some(expr) = pending.pop() {
        match expr {
            Expr::BinaryExpr(BinaryExpr { op: Operator::IsNotDistinctFrom, .. }) => return true,
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => pending.extend([&**left, &**right]),
            _ => {}
        }
    }
    false
}
