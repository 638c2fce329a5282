//! EXPLAIN: the physical plan in words like Postgres's.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use datafusion::common::JoinType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use stratos_types::Result;

use super::context::StatementContext;
use super::explain_text::Names;
use super::lookup_join::LookupJoinExec;
use super::runtime::prepare_top;
use super::sorted_groups::SortedGroupsExec;
use super::stream::RowStream;
use crate::ir::Rel;
use crate::scan::ScanExec;

/// What EXPLAIN was asked to show.
#[derive(Debug, Clone, Copy)]
pub struct ExplainOptions {
    /// Run the statement and show rows.
    pub analyze: bool,
    /// Show how many rows are expected.
    pub costs: bool,
    /// With `analyze`, show the times of operators.
    pub timing: bool,
    /// With `analyze`, show the time of the whole.
    pub summary: bool,
}

/// The plan of a relation, a line each. With `analyze` the relation is run to its end.
///
/// # Errors
/// As planning's and, with `analyze`, execution's.
pub async fn explain(rel: &Rel, statement: &Arc<StatementContext>, options: ExplainOptions) -> Result<Vec<String>> {
    let started = Instant::now();
    let prepared = prepare_top(rel, statement).await?;
    let planned = started.elapsed();
    let plan = prepared.plan.clone();
    let started = Instant::now();
    if options.analyze {
        let mut stream = RowStream::start(rel.output(), prepared, None, statement);
        while stream.next_batch().await?.is_some() {}
    }
    let executed = started.elapsed();
    let mut lines = Vec::new();
    node(&plan, 0, options, &Names::of(rel), &mut lines);
    if options.analyze {
        lines.push(format!("Planning Time: {:.3} ms", millis(planned)));
        if options.summary {
            lines.push(format!("Execution Time: {:.3} ms", millis(executed)));
        }
    }
    Ok(lines)
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Operators that only move batches about.
const PLUMBING: &[&str] = &[
    "CooperativeExec",
    "CoalesceBatchesExec",
    "AppendedExec",
    "CoalescePartitionsExec",
    "RepartitionExec",
    "ProjectionExec",
    "BufferExec",
    "ChargedExec",
    "UnclaimedExec",
];

/// How deep a plan is printed.
const DEPTH_MAX: usize = 256;

fn node(plan: &Arc<dyn ExecutionPlan>, depth: usize, options: ExplainOptions, names: &Names, lines: &mut Vec<String>) {
    let name = plan.name();
    let children = plan.children();
    if depth > DEPTH_MAX {
        return;
    }
    if let ([child], true) = (children.as_slice(), PLUMBING.contains(&name)) {
        return node(child, depth, options, names, lines);
    }
    let mut details = Vec::new();
    let mut line = title(plan, names, &mut details);
    let mut shown = plan.clone();
    // A filter belongs to what it filters.
    if name == "FilterExec"
        && let Some(below) = below_plumbing(plan)
        && below.children().is_empty()
    {
        details.clear();
        line = title(&below, names, &mut details);
        details.extend(filter_text(plan, names));
        shown = below;
    }
    let (head, indent) = if depth == 0 {
        (String::new(), "  ".to_owned())
    } else {
        (format!("{}->  ", " ".repeat(depth * 6 - 4)), " ".repeat(depth * 6 + 2))
    };
    if let Some(rows) = expected(&shown).filter(|_| options.costs) {
        let _ = write!(line, "  (rows={rows})");
    }
    if options.analyze
        && let Some(metrics) = plan.metrics()
    {
        let rows = metrics.output_rows().unwrap_or(0);
        match elapsed(plan, 0).filter(|_| options.timing) {
            Some(nanos) => {
                let _ = write!(line, " (actual time={:.3} rows={rows})", nanos as f64 / 1e6);
            }
            None => {
                let _ = write!(line, " (actual rows={rows})");
            }
        }
        if let Some(spills) = metrics.spill_count().filter(|n| *n > 0) {
            details.push(format!("Disk: {}kB in {spills} files", metrics.spilled_bytes().unwrap_or(0) / 1024));
        }
    }
    lines.push(format!("{head}{line}"));
    for detail in details {
        lines.push(format!("{indent}{detail}"));
    }
    if let Some(join) = shown.downcast_ref::<LookupJoinExec>() {
        let key = |key: &_| names.physical(key, join.outer(), None, 0);
        return join.shown(&key).iter().for_each(|side| node(side, depth + 1, options, names, lines));
    }
    for child in shown.children() {
        node(child, depth + 1, options, names, lines);
    }
}

/// Nanoseconds that an operator and all below it have computed; none where none of them measures it.
fn elapsed(plan: &Arc<dyn ExecutionPlan>, depth: usize) -> Option<usize> {
    if depth > DEPTH_MAX {
        return None;
    }
    let below: Vec<Option<usize>> = match plan.downcast_ref::<LookupJoinExec>() {
        Some(join) => join.shown(&|_| String::new()).iter().map(|side| elapsed(side, depth + 1)).collect(),
        None => plan.children().into_iter().map(|child| elapsed(child, depth + 1)).collect(),
    };
    let own = plan.metrics().and_then(|metrics| metrics.elapsed_compute());
    below.into_iter().chain([own]).flatten().reduce(usize::saturating_add)
}

fn below_plumbing(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let mut current = plan.clone();
    loop {
        let next = match current.children().as_slice() {
            [child] => (*child).clone(),
            _ => return None,
        };
        if !PLUMBING.contains(&next.name()) {
            return Some(next);
        }
        current = next;
    }
}

fn expected(plan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    let any: &dyn std::any::Any = plan.as_ref();
    any.downcast_ref::<ScanExec>().map(ScanExec::expected_rows)
}

fn one_line(plan: &dyn ExecutionPlan) -> String {
    datafusion::physical_plan::displayable(plan).one_line().to_string().trim_end().to_owned()
}

/// `Filter: …` of a filter.
fn filter_text(plan: &Arc<dyn ExecutionPlan>, names: &Names) -> Option<String> {
    let any: &dyn std::any::Any = plan.as_ref();
    let filter = any.downcast_ref::<FilterExec>()?;
    Some(format!("Filter: {}", names.physical(filter.predicate(), filter.input(), None, 0)))
}

/// `Hash Left Join`
fn join_title(kind: &str, join: JoinType) -> String {
    let how = match join {
        JoinType::Inner => "",
        JoinType::Left => "Left ",
        JoinType::Right => "Right ",
        JoinType::Full => "Full ",
        JoinType::LeftSemi | JoinType::RightSemi => "Semi ",
        JoinType::LeftAnti | JoinType::RightAnti => "Anti ",
        JoinType::LeftMark | JoinType::RightMark => "Mark ",
    };
    // Postgres has no word for an inner one of these.
    if kind == "Nested Loop" && how.is_empty() { kind.to_owned() } else { format!("{kind} {how}Join") }
}

fn title(plan: &Arc<dyn ExecutionPlan>, names: &Names, details: &mut Vec<String>) -> String {
    let any: &dyn std::any::Any = plan.as_ref();
    if let Some(scan) = any.downcast_ref::<ScanExec>() {
        return scan_title(scan, details);
    }
    if plan.name() == "FilterExec" {
        details.extend(filter_text(plan, names));
        return "Result".to_owned();
    }
    if let Some(aggregate) = any.downcast_ref::<AggregateExec>() {
        let mode = match aggregate.mode() {
            AggregateMode::Partial | AggregateMode::PartialReduce => "Partial ",
            AggregateMode::Final | AggregateMode::FinalPartitioned => "Finalize ",
            AggregateMode::Single | AggregateMode::SinglePartitioned => "",
        };
        let keys: Vec<String> =
            aggregate.group_expr().expr().iter().map(|(key, _)| names.key(key, aggregate.input())).collect();
        if keys.is_empty() {
            return format!("{mode}Aggregate");
        }
        details.push(format!("Group Key: {}", keys.join(", ")));
        return format!("{mode}HashAggregate");
    }
    if let Some(groups) = any.downcast_ref::<SortedGroupsExec>() {
        let sets = groups.keys().unwrap_or_default();
        for keys in sets.iter().filter(|keys| !keys.is_empty()) {
            let keys: Vec<String> = keys.iter().map(|key| names.key(key, groups.input())).collect();
            details.push(format!("Group Key: {}", keys.join(", ")));
        }
        return if details.is_empty() { "Aggregate" } else { "GroupAggregate" }.to_owned();
    }
    if let Some(sort) = any.downcast_ref::<SortExec>() {
        details.push(format!("Sort Key: {}", names.ordering(sort.expr(), sort.input())));
        if let Some(rows) = sort.fetch() {
            details.push(format!("Top Rows: {rows}"));
        }
        return "Sort".to_owned();
    }
    if let Some(join) = any.downcast_ref::<HashJoinExec>() {
        details.push(format!(
            "Hash Cond: {}",
            names.equalities(join.on(), join.null_equality(), join.left(), join.right())
        ));
        details.extend(join.filter().map(|filter| join_filter(filter, names, plan)));
        return join_title("Hash", *join.join_type());
    }
    if let Some(lookups) = any.downcast_ref::<LookupJoinExec>() {
        let join = lookups.join();
        details.extend(join.filter().map(|filter| join_filter(filter, names, plan)));
        return join_title("Nested Loop", lookups.kind());
    }
    if let Some(join) = any.downcast_ref::<SortMergeJoinExec>() {
        details.push(format!(
            "Merge Cond: {}",
            names.equalities(join.on(), join.null_equality(), join.left(), join.right())
        ));
        details.extend(join.filter().as_ref().map(|filter| join_filter(filter, names, plan)));
        return join_title("Merge", join.join_type());
    }
    if let Some(join) = any.downcast_ref::<NestedLoopJoinExec>() {
        details.extend(join.filter().map(|filter| join_filter(filter, names, plan)));
        return join_title("Nested Loop", *join.join_type());
    }
    match plan.name() {
        "SortPreservingMergeExec" => "Gather Merge".to_owned(),
        "CrossJoinExec" => "Nested Loop".to_owned(),
        "LateralExec" => "Nested Loop (lateral)".to_owned(),
        "UnionExec" | "InterleaveExec" => "Append".to_owned(),
        "GlobalLimitExec" | "LocalLimitExec" => "Limit".to_owned(),
        "WindowAggExec" | "BoundedWindowAggExec" => "WindowAgg".to_owned(),
        "EmptyExec" | "PlaceholderRowExec" => "Result".to_owned(),
        "DataSourceExec" => "Values Scan".to_owned(),
        "SourceExec" => one_line(plan.as_ref()),
        other => other.to_owned(),
    }
}

fn join_filter(filter: &JoinFilter, names: &Names, plan: &Arc<dyn ExecutionPlan>) -> String {
    format!("Join Filter: {}", names.physical(filter.expression(), plan, None, 0))
}

fn scan_title(scan: &ScanExec, details: &mut Vec<String>) -> String {
    let conditions = scan.conditions();
    if !conditions.is_empty() {
        details.push(format!("Index Cond: {}", conditions.join(" AND ")));
    }
    let backward = if scan.is_backward() { " Backward" } else { "" };
    match scan.index_name() {
        Some(index) if scan.is_index_only() => {
            format!("Index Only Scan{backward} using {index} on {}", scan.table_name())
        }
        Some(index) => format!("Index Scan{backward} using {index} on {}", scan.table_name()),
        None => format!("Seq Scan{backward} on {}", scan.table_name()),
    }
}
