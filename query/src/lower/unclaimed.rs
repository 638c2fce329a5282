//! What holds for an input of an operator and not for the rows that are made of it.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{JoinType, Result as DfResult, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, PlanProperties, replace_children_if_necessary,
};

use super::operators::{EachOperator, shown_by_name, with_an_input};

/// Hides from operators above which columns of their inputs are constant, or equal to others, where that ends with them.
///
/// - *The side of an outer join that may be missing*: its constants are NULL in rows without a match. DataFusion passes them on as
///   constants, and sorts by them no more (`SELECT … FROM (SELECT id, 1 AS c FROM b) b RIGHT JOIN a … ORDER BY c`).
/// - *What is grouped by several sets*: so are keys that are not in a set, and they are in no order any more.
/// - *Cross joins*: what they say of constants of their sides is lost above the next join, and a sort that left one out is refused.
/// - *Unions*: a column that is constant in each part need not be sorted by within the parts, that much is right. But it is left
///   out of the merge of the parts as well (`SELECT 5, NULL UNION ALL SELECT c, 0 FROM t ORDER BY 2 DESC, 1 LIMIT 3` would be
///   the first rows by the other column alone). And where a sort goes below the union, and a part is in order because a key is
///   computed of constants, DataFusion no longer sees that the whole is, and refuses its own plan.
/// - *Conditions that fix what is computed of a column* (`lower(t) = 'x'`, and `n = 2` of a numeric, which compares its equality
///   key): a sort by the same value is left out. When a projection is then taken into an operator below, which passes the column
///   on and not the value, DataFusion forgets that the value is constant, and refuses its own plan. The same where a column is known
///   to be constant without its value being named (`i2 = 3::bigint`, from bounds): the right side of a join forgets it.
pub(super) const UNCLAIM: EachOperator = EachOperator { name: "unclaim", rewrite: unclaim };

fn unclaim(plan: Arc<dyn ExecutionPlan>) -> DfResult<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(union) = plan.downcast_ref::<UnionExec>() {
        let hides = union.inputs().iter().any(claims);
        return Ok(if hides { Transformed::yes(unclaimed(plan)) } else { Transformed::no(plan) });
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let hides = !aggregate.group_expr().is_single() && (claims(&plan) || plan.output_ordering().is_some());
        return Ok(if hides { Transformed::yes(unclaimed(plan)) } else { Transformed::no(plan) });
    }
    if plan.downcast_ref::<FilterExec>().is_some() {
        let known = plan.equivalence_properties();
        let computed = known.eq_group().iter().flat_map(|class| class.iter()).any(is_computed);
        let hides = computed || known.constants().iter().any(|constant| !has_literal(known, &constant.expr));
        return Ok(if hides { Transformed::yes(UnclaimedExec::of_columns(plan)) } else { Transformed::no(plan) });
    }
    let kind = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        *join.join_type()
    } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        *join.join_type()
    } else if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        join.join_type()
    } else if plan.downcast_ref::<CrossJoinExec>().is_some() {
        // As of a full one.
        JoinType::Full
    } else {
        return Ok(Transformed::no(plan));
    };
    let may_be_missing = match kind {
        JoinType::Left => [false, true],
        JoinType::Right => [true, false],
        JoinType::Full => [true, true],
        _ => return Ok(Transformed::no(plan)),
    };
    let children: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().cloned().collect();
    let hidden = children.into_iter().zip(may_be_missing);
    let hidden = hidden.map(|(child, hides)| if hides && claims(&child) { unclaimed(child) } else { child });
    replace_children_if_necessary(plan, hidden.collect()).map(Transformed::yes)
}

fn claims(plan: &Arc<dyn ExecutionPlan>) -> bool {
    !plan.equivalence_properties().eq_group().is_empty()
}

fn is_literal(value: &Arc<dyn PhysicalExpr>) -> bool {
    value.downcast_ref::<Literal>().is_some()
}

fn is_column(value: &Arc<dyn PhysicalExpr>) -> bool {
    value.downcast_ref::<Column>().is_some()
}

fn is_computed(value: &Arc<dyn PhysicalExpr>) -> bool {
    !is_column(value) && !is_literal(value)
}

/// Whether a value is known to be equal to a constant that is named.
fn has_literal(known: &EquivalenceProperties, value: &Arc<dyn PhysicalExpr>) -> bool {
    known.eq_group().get_equivalence_class(value).is_some_and(|class| class.iter().any(is_literal))
}

fn unclaimed(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(UnclaimedExec::new(plan, Said::Nothing))
}

/// What is said of rows.
#[derive(Debug, Clone, Copy)]
enum Said {
    Nothing,
    /// Their order, and which columns are equal, to each other or to a constant.
    OfColumns,
    Everything,
}

/// Rows of whose order and constants nothing is said, or nothing is asked. It stays in the plan: a sort looks again when it begins
/// whether it has anything to do.
#[derive(Debug)]
pub(super) struct UnclaimedExec {
    input: Arc<dyn ExecutionPlan>,
    said: Said,
    properties: Arc<PlanProperties>,
}

impl UnclaimedExec {
    fn new(input: Arc<dyn ExecutionPlan>, said: Said) -> Self {
        let known = match said {
            Said::Nothing => EquivalenceProperties::new(input.schema()),
            Said::OfColumns => known_of_columns(&input),
            Said::Everything => input.equivalence_properties().clone(),
        };
        let properties = PlanProperties::new(
            known,
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        UnclaimedExec { input, said, properties: Arc::new(properties) }
    }

    /// Rows that are sorted anew above, if they must have another order, not before they come here.
    pub fn settled(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(UnclaimedExec::new(input, Said::Everything))
    }

    fn of_columns(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(UnclaimedExec::new(input, Said::OfColumns))
    }
}

fn known_of_columns(input: &Arc<dyn ExecutionPlan>) -> EquivalenceProperties {
    let whole = input.equivalence_properties();
    let mut known = EquivalenceProperties::new_with_orderings(input.schema(), whole.oeq_class().iter().cloned());
    for class in whole.eq_group().iter() {
        let mut equal = class.iter().filter(|value| !is_computed(value));
        let Some(first) = equal.next() else { continue };
        for other in equal {
            // It fails where an order that follows from this cannot be found: less is said then.
            if let Err(e) = known.add_equal_conditions(first.clone(), other.clone()) {
                tracing::debug!("what is equal in {} is not known: {e}", input.name());
            }
        }
    }
    known
}

shown_by_name!(UnclaimedExec);

impl ExecutionPlan for UnclaimedExec {
    with_an_input!("UnclaimedExec", |this, input| UnclaimedExec::new(input, this.said));

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> DfResult<Arc<Statistics>> {
        match inputs.first() {
            Some(of_union) => Ok(of_union.clone()),
            None => internal_err!("an operator with one input"),
        }
    }
}
