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
use super::unclaimed::UnclaimedExec;
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
        Keyed::find_all(plan, places).into_iter().next()
    }

    /// That scan, and those whose rows only meet its rows: where a join below compares one of the columns with a column of
    /// its other side, rows of that side with other keys have nothing to be joined with.
    pub fn find_all(plan: &Arc<dyn ExecutionPlan>, places: &[usize]) -> Vec<Keyed> {
        let places: Vec<(usize, usize)> = places.iter().copied().enumerate().collect();
        let mut out = Vec::new();
        collect(plan, &places, &[], &mut out);
        out
    }
}

/// `places`: keys by their numbers, and where they are in the plan's output; `above`: the way to the plan.
fn collect(plan: &Arc<dyn ExecutionPlan>, places: &[(usize, usize)], above: &[usize], out: &mut Vec<Keyed>) {
    let traced: Vec<(usize, Trace)> =
        places.iter().filter_map(|(key, place)| Some((*key, trace(plan, *place)?))).collect();
    // Keys may lead to several scans: the first that has an index takes those that are its.
    out.extend(traced.iter().find_map(|(_, first)| {
        let scan = scan_at(plan, &first.way)?;
        let of_scan: Vec<&(usize, Trace)> = traced.iter().filter(|(_, trace)| trace.way == first.way).collect();
        let columns: Vec<usize> = of_scan.iter().map(|(_, trace)| trace.column).collect();
        let path = scan.key_path(&columns)?;
        // A column that two keys are equal to is looked up by one of them.
        let types = columns.iter().filter_map(|at| scan.column_type(*at)).collect();
        let kept = of_scan.into_iter().map(|(key, _)| *key).collect();
        Some(Keyed { scan: scan.clone(), way: [above, &first.way].concat(), kept, types, path })
    }));
    let mut sides: Vec<(&[usize], Places)> = Vec::new();
    for (key, trace) in &traced {
        for (way, place) in &trace.compared {
            match sides.iter_mut().find(|(side, _)| side == way) {
                Some((_, places)) => places.push((*key, *place)),
                None => sides.push((way, vec![(*key, *place)])),
            }
        }
    }
    for (way, places) in sides {
        if let Some(side) = plan_at(plan, way) {
            collect(side, &places, &[above, way].concat(), out);
        }
    }
}

/// Keys, and where they stand.
type Places = Vec<(usize, usize)>;

/// Where an output column comes from.
struct Trace {
    way: Vec<usize>,
    /// Its place in the scan's output.
    column: usize,
    /// Ways to the other sides of joins that compare it, and the places there of what it is compared with.
    compared: Vec<(Vec<usize>, usize)>,
}

/// How deep plans are looked into.
const DEPTH_MAX: usize = 64;

fn trace(plan: &Arc<dyn ExecutionPlan>, place: usize) -> Option<Trace> {
    let (mut way, mut compared) = (Vec::new(), Vec::new());
    let (mut plan, mut place) = (plan, place);
    while way.len() < DEPTH_MAX {
        if plan.downcast_ref::<ScanExec>().is_some() {
            return Some(Trace { way, column: place, compared });
        }
        let (child, below) = step(plan, place)?;
        if let Some(other) = plan.downcast_ref::<HashJoinExec>().and_then(|join| other_side(join, child, below)) {
            compared.push(([&way[..], &[1 - child]].concat(), other));
        }
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
        || plan.downcast_ref::<UnclaimedExec>().is_some()
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

/// The place on the other side of a join of what a column of this one is compared with, if rows there that match none here do
/// not show.
fn other_side(join: &HashJoinExec, side: usize, place: usize) -> Option<usize> {
    let hidden = match join.join_type() {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => side == 0,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => side == 1,
        JoinType::Full => false,
    };
    if !hidden || join.null_aware {
        return None;
    }
    join.on().iter().find_map(|(left, right)| {
        let (here, there) = if side == 0 { (left, right) } else { (right, left) };
        (column_of(here)? == place).then(|| column_of(there)).flatten()
    })
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
    plan_at(plan, way)?.downcast_ref::<ScanExec>()
}

fn plan_at<'p>(plan: &'p Arc<dyn ExecutionPlan>, way: &[usize]) -> Option<&'p Arc<dyn ExecutionPlan>> {
    let mut plan = plan;
    for child in way {
        plan = *plan.children().get(*child)?;
    }
    Some(plan)
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
