//! Which joins look rows up by key instead of reading the whole of a table.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::{JoinType, NullEquality, Result as DfResult};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use super::context::{StatementContext, statement_of};
use super::estimate::rows_of;
use super::lookup_join::{JoinKey, LookupJoinExec};
use super::narrow::{Keyed, column_of};
use crate::scan::ROWS_PER_KEY;

/// Rows that a scan reads in the time of one lookup, roughly.
const ROWS_PER_LOOKUP: u64 = 100;
/// Outer rows for which looking up is not worse than anything else.
const LOOKUPS_MIN: u64 = 16;

/// Puts lookup joins in place of hash joins that would read much of a table for few keys. After the sides of joins are chosen,
/// before anything is said about partitions.
#[derive(Debug)]
pub(super) struct LookupJoins;

impl PhysicalOptimizerRule for LookupJoins {
    fn name(&self) -> &'static str {
        "lookup_joins"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        let Some(wishes) = Wishes::of(statement_of(config)?, &plan) else { return Ok(plan) };
        descend(plan, None, &wishes)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What the settings of the planner say: `enable_nestloop`, `enable_hashjoin`.
struct Wishes {
    /// Lookups wherever they are possible.
    always: bool,
}

impl Wishes {
    /// None when there shall be no lookups, or there is no join.
    fn of(statement: &StatementContext, plan: &Arc<dyn ExecutionPlan>) -> Option<Wishes> {
        if statement.frugal || !super::frugal::has_hash_join(plan) {
            return None;
        }
        let off = |name: &str| statement.eval.host.setting(name).as_deref() == Some("off");
        (!off("enable_nestloop")).then(|| Wishes { always: off("enable_hashjoin") })
    }
}

/// `limit`: so many rows are enough.
fn descend(plan: Arc<dyn ExecutionPlan>, limit: Option<u64>, wishes: &Wishes) -> DfResult<Arc<dyn ExecutionPlan>> {
    let below = if let Some(global) = plan.downcast_ref::<GlobalLimitExec>() {
        let rows = |fetch| (global.skip() + fetch) as u64;
        global.fetch().map(rows).or(limit)
    } else if let Some(local) = plan.downcast_ref::<LocalLimitExec>() {
        Some(local.fetch() as u64)
    } else if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        limit.filter(|_| !matches!(join.join_type(), JoinType::Full))
    } else {
        let passes = plan.downcast_ref::<ProjectionExec>().is_some() || plan.downcast_ref::<FilterExec>().is_some();
        limit.filter(|_| passes)
    };
    let children =
        plan.children().into_iter().map(|child| descend(child.clone(), below, wishes)).collect::<DfResult<Vec<_>>>()?;
    let plan = replace_children_if_necessary(plan, children)?;
    let Some(join) = plan.downcast_ref::<HashJoinExec>() else { return Ok(plan) };
    let sides = [true, false].into_iter().filter_map(|outer_is_left| candidate(join, outer_is_left, limit, wishes));
    match sides.min_by_key(|candidate| candidate.outer_rows) {
        Some(Candidate { outer_is_left, keys, rows_max, rows, outer_rows: _ }) => {
            Ok(Arc::new(LookupJoinExec::try_new(join, outer_is_left, keys, rows_max, rows)?))
        }
        None => Ok(plan),
    }
}

/// A way to do a join by lookups.
struct Candidate {
    outer_is_left: bool,
    keys: Vec<JoinKey>,
    rows_max: u64,
    rows: u64,
    outer_rows: u64,
}

fn candidate(join: &HashJoinExec, outer_is_left: bool, limit: Option<u64>, wishes: &Wishes) -> Option<Candidate> {
    // Rows of the inner side without a match must not matter.
    let possible = match join.join_type() {
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => true,
        JoinType::Left | JoinType::LeftAnti | JoinType::LeftMark => outer_is_left,
        JoinType::Right | JoinType::RightAnti | JoinType::RightMark => !outer_is_left,
        JoinType::Full => false,
    };
    if !possible || join.null_aware || join.null_equality() == NullEquality::NullEqualsNull {
        return None;
    }
    let (outer, inner) = if outer_is_left { (join.left(), join.right()) } else { (join.right(), join.left()) };
    let key = |(left, right): &(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)| {
        let (outer, inner) = if outer_is_left { (left, right) } else { (right, left) };
        Some(JoinKey { outer: outer.clone(), inner: column_of(inner)? })
    };
    let keys: Vec<JoinKey> = join.on().iter().filter_map(key).collect();
    let places: Vec<usize> = keys.iter().map(|key| key.inner).collect();
    let keyed = Keyed::find(inner, &places)?;
    let inner_rows = keyed.scan.expected_rows();
    let outer_rows = rows_of(outer);
    let rows_max = if wishes.always { u64::MAX - 1 } else { (inner_rows / ROWS_PER_LOOKUP).max(LOOKUPS_MIN) };
    let per_row = if keyed.path.unique { 1 } else { ROWS_PER_KEY };
    let few = outer_rows.is_some_and(|rows| rows <= rows_max) || limit.is_some_and(|rows| rows <= rows_max);
    if !wishes.always && (!few || inner_rows <= LOOKUPS_MIN) {
        return None;
    }
    let outer_rows = outer_rows.unwrap_or(u64::MAX);
    Some(Candidate {
        outer_is_left,
        keys,
        rows_max,
        rows: outer_rows.saturating_mul(per_row).min(inner_rows),
        outer_rows,
    })
}
