//! Few rows in the order of an index: `ORDER BY … LIMIT`, and `min` and `max`, which are the first row in one order or the other.

use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, Operator};
use stratos_types::{Datum, PgType, Result};

use super::error::error_from;
use super::kernel;
use super::rel::Lowerer;
use crate::arrow::needs_equality_key;
use crate::catalog::{Index, IndexState, Table};
use crate::functions::{Aggregate, AggregateKind};
use crate::ir::{AggregateCall, ColumnId, Expr, ExprKind, OutputColumn, Rel, ScanColumn, SortKey};
use crate::scan::ScanOrder;

/// Rows that a scan reads in the time in which an index fetches one.
const ROWS_PER_FETCH: u64 = 10;
/// One of so many rows passes a condition that the index knows nothing of.
const CONDITION_PASSES: u64 = 10;

/// Sort keys on columns of a scan, and what the filters over it say.
struct Found<'r, 'g> {
    table: &'r std::sync::Arc<Table>,
    columns: &'r [ScanColumn],
    conditions: Vec<&'r Expr>,
    /// Column, descending, NULLs first.
    keys: Vec<(ColumnId, bool, bool)>,
    given: Given<'g>,
}

/// Tells outer columns, which have one value while the scan runs.
type Given<'r> = &'r dyn Fn(ColumnId) -> bool;

impl Lowerer<'_> {
    /// Lets the scan below a sort go by an index that has the order, if so many of its first rows are wanted.
    pub(super) fn prefer_order(&self, input: &Rel, rows: u64) {
        let Rel::Sort { input, keys } = input else { return };
        let given = |id| self.is_given(id);
        let Some(found) = find(input, keys, &given) else { return };
        if found.columns.first().is_some_and(|first| self.orders.borrow().contains_key(&first.id)) {
            return;
        }
        let best = found.table.indexes.iter().enumerate().filter_map(|(at, index)| {
            let (residual, backward) = found.residual(index)?;
            // Rows that are passed over on the way, and what each costs.
            let passes = CONDITION_PASSES.saturating_pow(u32::try_from(residual).unwrap_or(u32::MAX));
            let read = rows.saturating_mul(passes);
            let cost = if at == 0 { read } else { read.saturating_mul(ROWS_PER_FETCH) };
            Some((cost, at, backward))
        });
        if let Some((cost, index, backward)) = best.min() {
            self.remember_order(found.columns, ScanOrder { index, backward, not_null: None, rows, cost });
        }
    }

    fn remember_order(&self, columns: &[ScanColumn], order: ScanOrder) {
        if let Some(first) = columns.first() {
            self.orders.borrow_mut().insert(first.id, order);
        }
    }

    /// `min` and `max` over all rows of a scan, as the first row of an index each; none where no index helps.
    pub(super) fn extremes(
        &self,
        input: &Rel,
        aggregates: &[(OutputColumn, AggregateCall)],
    ) -> Result<Option<LogicalPlan>> {
        let given = |id| self.is_given(id);
        let mut ways = Vec::with_capacity(aggregates.len());
        for (output, call) in aggregates {
            match way_to(input, call, &given) {
                Some((first, columns, order)) => ways.push((output, call, first, columns, order)),
                None => return Ok(None),
            }
        }
        let mut whole: Option<LogicalPlan> = None;
        for (output, call, first, columns, order) in ways {
            self.remember_order(columns, order);
            let one = self.aggregate(&first, &[], None, &[(output.clone(), call.clone())], &[])?;
            whole = Some(match whole {
                None => one,
                Some(plan) => LogicalPlanBuilder::new(plan)
                    .cross_join(one)
                    .and_then(LogicalPlanBuilder::build)
                    .map_err(error_from)?,
            });
        }
        Ok(whole)
    }
}

/// Whether a relation takes no more than the first rows of an index, for which several parts would only get in each other's way.
pub(super) fn takes_first_rows(rel: &Rel) -> bool {
    match rel {
        Rel::Limit { input, limit: Some(_), .. } => {
            let Rel::Sort { input, keys } = input.as_ref() else { return false };
            find(input, keys, &|_| false).is_some_and(|found| {
                found.table.indexes.iter().any(|index| found.residual(index).is_some_and(|(residual, _)| residual == 0))
            })
        }
        Rel::Aggregate { input, group_by, grouping_sets: None, aggregates, groupings } => {
            group_by.is_empty()
                && groupings.is_empty()
                && !aggregates.is_empty()
                && aggregates.iter().all(|(_, call)| way_to(input, call, &|_| false).is_some())
        }
        _ => false,
    }
}

/// The one row that decides a `min` or `max`, and how the scan finds it.
fn way_to<'r>(input: &'r Rel, call: &AggregateCall, given: Given<'_>) -> Option<(Rel, &'r [ScanColumn], ScanOrder)> {
    let Aggregate { kind, .. } = call.aggregate;
    let descending = match kind {
        AggregateKind::Min => false,
        AggregateKind::Max => true,
        _ => return None,
    };
    let ([arg], None) = (call.args.as_slice(), &call.filter) else { return None };
    let keys = [SortKey { expr: arg.clone(), descending, nulls_first: descending }];
    let found = find(input, &keys, given)?;
    // The scan must find the row at once.
    let mut indexes = found.table.indexes.iter().enumerate();
    let (index, backward) = indexes.find_map(|(at, index)| match found.residual(index)? {
        (0, backward) => Some((at, backward)),
        _ => None,
    })?;
    let column = found.columns.iter().find(|c| matches!(arg.kind, ExprKind::Column(id) if id == c.id))?;
    let descriptor = found.table.columns.get(column.index)?;
    let mut rel = input.clone();
    let not_null = (!descriptor.not_null).then_some(column.index);
    if not_null.is_some() {
        let is_null = Expr { kind: ExprKind::IsNull(Box::new(arg.clone())), ty: PgType::Bool.into() };
        let predicate = Expr { kind: ExprKind::Not(Box::new(is_null)), ty: PgType::Bool.into() };
        rel = Rel::Filter { input: Box::new(rel), predicate };
    }
    rel = Rel::Sort { input: Box::new(rel), keys: keys.to_vec() };
    let limit = Some(Expr::literal(Datum::Int8(1), PgType::Int8));
    rel = Rel::Limit { input: Box::new(rel), limit, offset: None };
    Some((rel, found.columns, ScanOrder { index, backward, not_null, rows: 1, cost: 0 }))
}

/// The scan below, if the keys are columns of it.
fn find<'r, 'g>(mut rel: &'r Rel, keys: &[SortKey], given: Given<'g>) -> Option<Found<'r, 'g>> {
    let column = |key: &SortKey| match key.expr.kind {
        ExprKind::Column(id) => Some((id, key.descending, key.nulls_first)),
        _ => None,
    };
    let mut keys: Vec<(ColumnId, bool, bool)> = keys.iter().map(column).collect::<Option<_>>()?;
    let mut conditions = Vec::new();
    loop {
        match rel {
            Rel::Filter { input, predicate } => {
                conditions.extend(predicate.conjuncts());
                rel = input;
            }
            Rel::Project { input, columns } => {
                for (id, ..) in &mut keys {
                    let (_, from) = columns.iter().find(|(c, _)| c.id == *id)?;
                    let ExprKind::Column(from) = from.kind else { return None };
                    *id = from;
                }
                rel = input;
            }
            Rel::Alias { input, columns } => {
                for (id, ..) in &mut keys {
                    *id = columns.iter().find(|(c, _)| c.id == *id)?.1;
                }
                rel = input;
            }
            Rel::Scan { table, columns, lock: None, .. } => {
                return Some(Found { table, columns, conditions, keys, given });
            }
            _ => return None,
        }
    }
}

impl Found<'_, '_> {
    fn position(&self, id: ColumnId) -> Option<usize> {
        self.columns.iter().find(|c| c.id == id).map(|c| c.index)
    }

    /// How many conditions the index leaves to be tested row by row, and whether it is read from its end; none if it does not
    /// give the order.
    fn residual(&self, index: &Index) -> Option<(usize, bool)> {
        if index.state != IndexState::Public || self.keys.is_empty() {
            return None;
        }
        let mut keys = self.keys.iter().peekable();
        let mut backward = None;
        let mut told = 0;
        for column in &index.columns {
            let position = self.table.column_index(column.attnum)?;
            let ty = self.table.columns.get(position)?.ty.ty;
            let tests: Vec<bool> = self.conditions.iter().filter_map(|e| self.test_of(e, position)).collect();
            let Some((id, descending, nulls_first)) = keys.peek() else { break };
            if self.position(*id) != Some(position) {
                // A column with one value does not disturb the order.
                if !tests.contains(&true) {
                    return None;
                }
                told += tests.len();
                continue;
            }
            let reversed = *descending != column.descending;
            if needs_equality_key(ty)
                || ty.element().is_some()
                || reversed != (*nulls_first != column.nulls_first)
                || *backward.get_or_insert(reversed) != reversed
            {
                return None;
            }
            told += tests.len();
            keys.next();
        }
        keys.next().is_none().then(|| (self.conditions.len() - told, backward.unwrap_or(false)))
    }

    /// Whether a condition compares this column with something constant: `Some(true)` if they must be equal.
    fn test_of(&self, condition: &Expr, position: usize) -> Option<bool> {
        let ExprKind::Call { function, args } = &condition.kind else { return None };
        let [left, right] = args.as_slice() else { return None };
        let is_column = |e: &Expr| matches!(e.kind, ExprKind::Column(id) if self.position(id) == Some(position));
        let constant = |e: &Expr| match e.kind {
            ExprKind::Column(id) => (self.given)(id),
            _ => e.is_given(),
        };
        if !(is_column(left) && constant(right) || constant(left) && is_column(right)) || left.ty.ty != right.ty.ty {
            return None;
        }
        match kernel::comparison(function)? {
            Operator::Eq => Some(true),
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => Some(false),
            _ => None,
        }
    }
}
