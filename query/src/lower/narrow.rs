//! From the keys of a join down to the scan that has them, through operators that may see fewer rows as long as those with
//! the keys are all there.

use std::sync::Arc;

use datafusion::common::{JoinType, Result as DfResult};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use stratos_types::PgType;

use super::lookup_join::LookupJoinExec;
use crate::scan::{KeyPath, ScanExec};

/// A scan below a plan whose rows can be found by columns of the plan's output.
pub(super) struct Keyed {
    pub scan: ScanExec,
    /// Which child to go to at each step down.
    pub way: Vec<usize>,
    /// The keys that lead to this scan, by their numbers.
    pub kept: Vec<usize>,
    /// Types of their columns in the table.
    pub types: Vec<PgType>,
    /// Its keys are numbered as in `kept`.
    pub path: KeyPath,
}

impl Keyed {
    /// The scan that gives the columns at these places of a plan's output, if all rows that it does not give for other keys
    /// would only make rows of other keys.
    pub fn find(plan: &Arc<dyn ExecutionPlan>, places: &[usize]) -> Option<Keyed> {
        let traced: Vec<Option<Trace>> = places.iter().map(|place| trace(plan, *place)).collect();
        // Keys may lead to several scans: the first that has an index takes those that are its.
        traced.iter().flatten().find_map(|first| {
            let scan = scan_at(plan, &first.way)?;
            let mut kept: Vec<usize> = (0..traced.len())
                .filter(|at| traced[*at].as_ref().is_some_and(|trace| trace.way == first.way))
                .collect();
            let column = |at: &usize| traced[*at].as_ref().map(|trace| trace.column);
            let columns: Vec<usize> = kept.iter().filter_map(column).collect();
            let path = scan.key_path(&columns)?;
            // A column that two keys are equal to is looked up by one of them.
            let types = columns.iter().filter_map(|at| scan.column_type(*at)).collect();
            kept.truncate(columns.len());
            Some(Keyed { scan: scan.clone(), way: first.way.clone(), kept, types, path })
        })
    }
}

/// Where an output column comes from.
struct Trace {
    way: Vec<usize>,
    /// Its place in the scan's output.
    column: usize,
}

/// How deep plans are looked into.
const DEPTH_MAX: usize = 64;

fn trace(plan: &Arc<dyn ExecutionPlan>, place: usize) -> Option<Trace> {
    let mut way = Vec::new();
    let (mut plan, mut place) = (plan, place);
    while way.len() < DEPTH_MAX {
        if plan.downcast_ref::<ScanExec>().is_some() {
            return Some(Trace { way, column: place });
        }
        let (child, below) = step(plan, place)?;
        way.push(child);
        plan = *plan.children().get(child)?;
        place = below;
    }
    None
}

/// The child that a column comes from, and its place there.
fn step(plan: &Arc<dyn ExecutionPlan>, place: usize) -> Option<(usize, usize)> {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let below = match filter.projection() {
            Some(projection) => *projection.get(place)?,
            None => place,
        };
        return Some((0, below));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return Some((0, column_of(&projection.expr().get(place)?.expr)?));
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        // Groups of other keys are groups of their own; without keys there is one group of all.
        let groups = aggregate.group_expr();
        if !groups.is_single() || aggregate.limit_options().is_some() {
            return None;
        }
        return Some((0, column_of(&groups.expr().get(place)?.0)?));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return through_join(join, place);
    }
    if let Some(join) = plan.downcast_ref::<LookupJoinExec>() {
        // Its inner side is read by other keys already.
        let (child, below) = through_join(join.join(), place)?;
        return ((child == 0) == join.outer_is_left()).then_some((0, below));
    }
    let passes = plan.downcast_ref::<CoalescePartitionsExec>().is_some_and(|p| p.fetch().is_none())
        || plan.downcast_ref::<RepartitionExec>().is_some_and(|p| !p.preserve_order())
        || plan.downcast_ref::<CooperativeExec>().is_some()
        || plan.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_none());
    passes.then_some((0, place))
}

fn through_join(join: &HashJoinExec, place: usize) -> Option<(usize, usize)> {
    // Other kinds give rows that have no match, which fewer rows would make more of.
    let place = match &join.projection {
        Some(projection) => *projection.get(place)?,
        None => place,
    };
    let left = join.left().schema().fields().len();
    match join.join_type() {
        JoinType::Inner if place < left => Some((0, place)),
        JoinType::Inner => Some((1, place - left)),
        JoinType::Left if place < left => Some((0, place)),
        JoinType::Right if place >= left => Some((1, place - left)),
        JoinType::LeftSemi => Some((0, place)),
        JoinType::LeftAnti if !join.null_aware => Some((0, place)),
        JoinType::RightSemi | JoinType::RightAnti => Some((1, place)),
        _ => None,
    }
}

/// The place of the column that an expression is, bare or as a wider integer.
pub(super) fn column_of(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    use arrow::datatypes::DataType;
    if let Some(column) = expr.downcast_ref::<Column>() {
        return Some(column.index());
    }
    let cast = expr.downcast_ref::<CastExpr>()?;
    let column = cast.expr().downcast_ref::<Column>()?;
    matches!(cast.cast_type(), DataType::Int32 | DataType::Int64).then_some(column.index())
}

fn scan_at<'p>(plan: &'p Arc<dyn ExecutionPlan>, way: &[usize]) -> Option<&'p ScanExec> {
    let mut plan = plan;
    for child in way {
        plan = *plan.children().get(*child)?;
    }
    plan.downcast_ref::<ScanExec>()
}

/// The plan with another operator at the end of a way down.
///
/// # Errors
/// DataFusion's.
pub(super) fn replace(
    plan: &Arc<dyn ExecutionPlan>,
    way: &[usize],
    with: Arc<dyn ExecutionPlan>,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let Some((child, rest)) = way.split_first() else { return Ok(with) };
    let mut children: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().cloned().collect();
    if let Some(old) = children.get_mut(*child) {
        *old = replace(old, rest, with)?;
    }
    replace_children_if_necessary(plan.clone(), children)
}
