//! Conditions of several queries that the optimizer brought together.

use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::expr::{conjunction, lazy_case};
use super::udf::RowFunction;

/// Evaluates conditions that may fail only for rows that the others let pass, also where they came from different queries:
/// the filter of a subquery guards what is asked of its rows (`SELECT … FROM (SELECT … WHERE x <> 0) WHERE 1 / x > 2`), but
/// pushing the outer one down puts both beside each other.
#[derive(Debug)]
pub(super) struct GuardConditions;

impl OptimizerRule for GuardConditions {
    fn name(&self) -> &str {
        "guard_conditions"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(Filter { predicate, input, .. }) = plan else { return Ok(Transformed::no(plan)) };
        let unchanged = |predicate, input| Ok(Transformed::no(LogicalPlan::Filter(Filter::try_new(predicate, input)?)));
        if !may_fail(&predicate)? {
            return unchanged(predicate, input);
        }
        let (mut safe, mut risky, mut once) = (Vec::new(), Vec::new(), Vec::new());
        for condition in split_conjunction_owned(predicate.clone()) {
            match (may_fail(&condition)?, condition.is_volatile()) {
                (true, _) => risky.push(condition),
                // Asked twice it may answer differently.
                (false, true) => once.push(condition),
                (false, false) => safe.push(condition),
            }
        }
        let (Some(safe), Some(risky)) = (conjunction(safe), conjunction(risky)) else {
            return unchanged(predicate, input);
        };
        let refused = Expr::IsFalse(Box::new(safe.clone()));
        if let Expr::Case(case) = &risky
            && case.when_then_expr.first().is_some_and(|(when, _)| **when == refused)
        {
            return unchanged(predicate, input);
        }
        let guarded = lazy_case(
            vec![(Box::new(refused), Box::new(lit(false)))],
            Some(Box::new(risky)),
            stratos_types::PgType::Bool,
        );
        let predicate = conjunction(once).into_iter().fold(safe.and(guarded), Expr::and);
        Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, input)?)))
    }
}

fn may_fail(expr: &Expr) -> DfResult<bool> {
    let mut found = false;
    expr.apply(|e| {
        if let Expr::ScalarFunction(call) = e
            && let Some(function) = call.func.inner().downcast_ref::<RowFunction>()
        {
            let constant = call.args.iter().all(|arg| matches!(arg, Expr::Literal(..) | Expr::Placeholder(_)));
            found |= function.may_fail() && !constant;
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
