//! What the planner of operators may take for equal when it says how rows are ordered.

use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, Operator};

use super::expr::conjunction;

/// Writes the conditions `column = expression` of filters, where the expression has columns too, as `(…) IS TRUE`, in a plan that
/// no rule rewrites any more. `None` if there are none.
///
/// Operators put the expression in the place of the column, or the column in its place, when they compare what a window or a
/// merge needs with what a sort below has done. With `coalesce(a, b) = b` the expression holds the column itself: it is put in
/// once more each time, and orders that are the same never look the same. Filters are the only operators that say such
/// things; the keys of joins are columns by then.
pub(super) fn without_equal_expressions(plan: &LogicalPlan) -> DfResult<Option<LogicalPlan>> {
    let mut found = false;
    plan.apply(|node| {
        if let LogicalPlan::Filter(filter) = node {
            found |= has_equal_expression(&filter.predicate);
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !found {
        return Ok(None);
    }
    let plan = plan.clone().transform_up(|node| {
        let LogicalPlan::Filter(filter) = node else { return Ok(Transformed::no(node)) };
        if !has_equal_expression(&filter.predicate) {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let Filter { predicate, input, .. } = filter;
        let hidden = split_conjunction_owned(predicate).into_iter().map(|condition| {
            if equates_expression(&condition) { Expr::IsTrue(Box::new(condition)) } else { condition }
        });
        let predicate = conjunction(hidden).unwrap_or_else(|| datafusion::logical_expr::lit(true));
        Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, Arc::clone(&input))?)))
    })?;
    Ok(Some(plan.data))
}

fn has_equal_expression(predicate: &Expr) -> bool {
    let mut pending = vec![predicate];
    while let Some(expr) = pending.pop() {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => pending.extend([&**left, &**right]),
            condition if equates_expression(condition) => return true,
            _ => {}
        }
    }
    false
}

/// `column = expression with columns`, either way round.
fn equates_expression(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    let computed = |expr: &Expr| !matches!(expr, Expr::Column(_)) && expr.any_column_refs();
    let column = |expr: &Expr| matches!(expr, Expr::Column(_));
    column(left) && computed(right) || column(right) && computed(left)
}
