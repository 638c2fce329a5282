//! How many rows a plan gives, roughly. Nothing is known about values; sizes of tables, keys and limits are.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::union::UnionExec;

use super::lateral::LateralExec;
use super::lookup_join::LookupJoinExec;
use crate::scan::ScanExec;

/// One of so many rows passes a filter of which nothing is known.
const FILTER_PASSES: u64 = 10;
/// Rows of the right side for a row of the left in a lateral join.
const LATERAL_ROWS: u64 = 10;

/// None where nothing can be said.
pub(super) fn rows_of(plan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    let children = plan.children();
    if let Some(scan) = plan.downcast_ref::<ScanExec>() {
        return Some(scan.expected_rows());
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let rows = rows_of(filter.input())?;
        // What a scan was told already says no more.
        let told = filter.input().downcast_ref::<ScanExec>().is_some_and(ScanExec::is_restricted);
        return Some(if told { rows } else { (rows / FILTER_PASSES).max(1) });
    }
    if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
        return least(rows_of(limit.input()), limit.fetch());
    }
    if let Some(limit) = plan.downcast_ref::<LocalLimitExec>() {
        return least(rows_of(limit.input()), Some(limit.fetch()));
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        return least(rows_of(sort.input()), sort.fetch());
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return if aggregate.group_expr().is_empty() { Some(1) } else { rows_of(aggregate.input()) };
    }
    if let Some(join) = plan.downcast_ref::<LookupJoinExec>() {
        return Some(join.expected_rows());
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return match join.join_type() {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => rows_of(join.left()),
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => rows_of(join.right()),
            _ => Some(rows_of(join.left())?.max(rows_of(join.right())?)),
        };
    }
    if plan.downcast_ref::<LateralExec>().is_some() {
        return children.first().and_then(|input| rows_of(input)).map(|rows| rows.saturating_mul(LATERAL_ROWS));
    }
    if plan.downcast_ref::<UnionExec>().is_some() {
        return children.into_iter().map(rows_of).sum();
    }
    let known = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new());
    let known = known.ok().and_then(|s| s.num_rows.get_value().copied());
    match (known, children.as_slice()) {
        (Some(rows), _) => u64::try_from(rows).ok(),
        // What only passes rows on.
        (None, [child]) => rows_of(child),
        _ => None,
    }
}

fn least(rows: Option<u64>, fetch: Option<usize>) -> Option<u64> {
    let fetch = fetch.and_then(|n| u64::try_from(n).ok());
    match (rows, fetch) {
        (Some(rows), Some(fetch)) => Some(rows.min(fetch)),
        (rows, fetch) => rows.or(fetch),
    }
}
