//! Subqueries in expressions that are left joins, and lateral joins that are plain ones.
//!
//! `(SELECT max(y) FROM b WHERE b.k = a.k)` is a join with `b` grouped by `k`; `(SELECT name FROM b WHERE b.id = a.b)` is a join
//! with `b` if `id` is unique; `EXISTS` within an expression asks whether the join found anything. Whatever does not have one
//! of these shapes stays a function (see `subquery`), or is planned for each row of the left (see `lateral`).

use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};

use datafusion::common::JoinType;
use datafusion::logical_expr::{Expr as DfExpr, LogicalPlan, LogicalPlanBuilder, Operator};
use stratos_types::{ColumnType, Datum, PgType, Result};

use super::error::error_from;
use super::expr::{column, column_name, may_fail, rel_may_fail};
use super::kernel;
use super::rel::{Lowerer, and, filter, project};
use super::walk::Facts;
use crate::catalog::IndexState;
use crate::fit::is_moment;
use crate::functions::{AggregateKind, Function};
use crate::ir::{AggregateCall, ColumnId, Expr, ExprKind, JoinKind, OutputColumn, Rel, SubqueryKind, Walk};

/// A subquery as a join: what is joined, on what, and what the subquery's value is then.
struct Joined {
    right: Rel,
    on: Vec<Expr>,
    value: Expr,
}

/// `inner = outer`, taken out of a subquery.
pub(super) struct Equality {
    function: &'static Function,
    pub inner: Expr,
    outer: Expr,
    inner_first: bool,
}

impl Equality {
    /// The condition with another expression for the inner side.
    pub fn on(&self, inner: Expr) -> Expr {
        let args = if self.inner_first { vec![inner, self.outer.clone()] } else { vec![self.outer.clone(), inner] };
        Expr { kind: ExprKind::Call { function: self.function, args }, ty: PgType::Bool.into() }
    }
}

impl Lowerer<'_> {
    /// Joins the subqueries in expressions over a plan to it, where they are joins, and puts columns in their places.
    pub(super) fn join_subqueries(&self, plan: LogicalPlan, exprs: &mut [&mut Expr]) -> Result<LogicalPlan> {
        let available: BTreeSet<String> = plan.schema().fields().iter().map(|f| f.name().clone()).collect();
        let mut joins = Vec::new();
        // The binder writes some operands twice, `(a, b) < (c, d)` for one; the same subquery is joined once.
        let mut known: Vec<(Discriminant<SubqueryKind>, Vec<ColumnId>, Expr)> = Vec::new();
        for expr in exprs.iter_mut() {
            expr.try_rewrite(&mut |e| {
                let ExprKind::Subquery { kind, query } = &e.kind else { return Ok(Walk::Into) };
                let kind_of = discriminant(kind);
                let columns: Vec<ColumnId> = query.output().iter().map(|c| c.id).collect();
                if let Some((_, _, value)) = known.iter().find(|(k, c, _)| *k == kind_of && *c == columns) {
                    *e = value.clone();
                } else if let Some(joined) = self.as_left_join(kind, query, &available) {
                    known.push((kind_of, columns, joined.value.clone()));
                    *e = joined.value.clone();
                    joins.push(joined);
                }
                Ok(Walk::Skip)
            })?;
        }
        let mut plan = plan;
        for join in joins {
            let on = join.on.iter().map(|e| self.expr(e)).collect::<Result<Vec<_>>>()?;
            plan = LogicalPlanBuilder::new(plan)
                .join_on(self.rel(&join.right)?, JoinType::Left, on)
                .and_then(LogicalPlanBuilder::build)
                .map_err(error_from)?;
        }
        Ok(plan)
    }

    fn as_left_join(&self, kind: &SubqueryKind, query: &Rel, available: &BTreeSet<String>) -> Option<Joined> {
        let facts = Facts::of(query);
        let outer: BTreeSet<ColumnId> =
            facts.free().into_iter().map(|(id, _)| id).filter(|id| !self.is_given(*id)).collect();
        if facts.volatile || outer.is_empty() || outer.iter().any(|id| !available.contains(&column_name(*id))) {
            return None;
        }
        match kind {
            SubqueryKind::Scalar => self.scalar(query, &outer),
            SubqueryKind::Exists => {
                let (inner, equalities) = self.equalities(query, &outer)?;
                let (right, on, keys) = self.grouped_by(inner, &equalities, Vec::new());
                // A key that matched is not NULL.
                let found = ExprKind::IsNull(Box::new(keys.into_iter().next()?));
                let found = Expr { kind: found, ty: PgType::Bool.into() };
                let value = Expr { kind: ExprKind::Not(Box::new(found)), ty: PgType::Bool.into() };
                Some(Joined { right, on, value })
            }
            _ => None,
        }
    }

    fn scalar(&self, query: &Rel, outer: &BTreeSet<ColumnId>) -> Option<Joined> {
        let result = query.output().into_iter().next()?;
        match query {
            Rel::Project { input, columns } => match (input.as_ref(), columns.as_slice()) {
                (Rel::Aggregate { input, group_by, grouping_sets: None, aggregates, groupings }, [(_, value)])
                    if group_by.is_empty() && groupings.is_empty() =>
                {
                    self.aggregated(input, aggregates, value, outer)
                }
                _ => self.unique(query, &result, outer),
            },
            _ => self.unique(query, &result, outer),
        }
    }

    /// A subquery with aggregates over all that it finds.
    fn aggregated(
        &self,
        input: &Rel,
        aggregates: &[(OutputColumn, AggregateCall)],
        value: &Expr,
        outer: &BTreeSet<ColumnId>,
    ) -> Option<Joined> {
        let (inner, equalities) = self.equalities(input, outer)?;
        let plain = |e: &Expr| !is_correlated(e, outer) && !may_fail(e);
        if value.has_subquery() || !aggregates.iter().all(|(_, call)| call.exprs().all(plain)) {
            return None;
        }
        let (right, on, _) = self.grouped_by(inner, &equalities, aggregates.to_vec());
        let value = of_nothing(value, aggregates)?;
        Some(Joined { right, on, value })
    }

    /// A subquery that finds one row at most.
    fn unique(&self, query: &Rel, result: &OutputColumn, outer: &BTreeSet<ColumnId>) -> Option<Joined> {
        let (inner, equalities) = self.equalities(query, outer)?;
        if !finds_one(&inner, &equalities) {
            return None;
        }
        let on = equalities.iter().map(|equality| equality.on(equality.inner.clone())).collect();
        Some(Joined { right: inner, on, value: Expr::column(result.id, result.ty) })
    }

    /// The relation grouped by the inner sides of equalities, and the equalities with the groups.
    fn grouped_by(
        &self,
        inner: Rel,
        equalities: &[Equality],
        aggregates: Vec<(OutputColumn, AggregateCall)>,
    ) -> (Rel, Vec<Expr>, Vec<Expr>) {
        let mut group_by = Vec::with_capacity(equalities.len());
        let mut on = Vec::with_capacity(equalities.len());
        let mut keys = Vec::with_capacity(equalities.len());
        for equality in equalities {
            let column = self.fresh_column(equality.inner.ty);
            let key = Expr::column(column.id, column.ty);
            on.push(equality.on(key.clone()));
            keys.push(key);
            group_by.push((column, equality.inner.clone()));
        }
        let right =
            Rel::Aggregate { input: Box::new(inner), group_by, grouping_sets: None, aggregates, groupings: Vec::new() };
        (right, on, keys)
    }

    pub(super) fn fresh_column(&self, ty: ColumnType) -> OutputColumn {
        // The binder numbers columns from the other end.
        let id = ColumnId(u32::MAX - u32::try_from(self.number()).unwrap_or(0));
        OutputColumn { id, name: String::new(), ty, origin: None }
    }

    /// A lateral join with aggregates over what is equal to something on the left, as a plain one with groups.
    pub(super) fn lateral_aggregates(
        &self,
        left: &Rel,
        right: &Rel,
        kind: JoinKind,
        on: Option<&Expr>,
    ) -> Result<Option<LogicalPlan>> {
        let always = on.is_none_or(|e| matches!(e.kind, ExprKind::Literal(Datum::Bool(true))));
        let Some((columns, input, aggregates)) = over_aggregates(right).filter(|_| always || kind == JoinKind::Inner)
        else {
            return Ok(None);
        };
        let outer: BTreeSet<ColumnId> = self.needed_from(right, left).into_iter().map(|(id, _)| id).collect();
        let plain = |e: &Expr| !is_correlated(e, &outer) && !e.has_subquery();
        let calls_plain = aggregates.iter().all(|(_, call)| call.exprs().all(|e| plain(e) && !may_fail(e)));
        if Facts::of(right).volatile || !calls_plain || !columns.iter().all(|(_, e)| plain(e)) {
            return Ok(None);
        }
        let Some((inner, equalities)) = self.equalities(input, &outer) else { return Ok(None) };
        let (grouped, conditions, _) = self.grouped_by(inner, &equalities, aggregates.to_vec());
        let plan = self.join(left, &grouped, JoinKind::Left, and(conditions).as_ref())?;
        let mut exprs: Vec<DfExpr> = left.output().iter().map(|c| column(c.id)).collect();
        for (output, value) in &columns {
            let Some(value) = of_nothing(value, aggregates) else { return Ok(None) };
            exprs.push(self.expr(&value)?.alias(column_name(output.id)));
        }
        let plan = project(plan, exprs)?;
        match on.filter(|_| !always) {
            Some(on) => filter(plan, self.expr(on)?).map(Some),
            None => Ok(Some(plan)),
        }
    }

    /// A subquery without its references to outer columns, if all that it does with them is to ask whether something equals them.
    fn equalities(&self, query: &Rel, outer: &BTreeSet<ColumnId>) -> Option<(Rel, Vec<Equality>)> {
        // What may fail must not be asked of rows that nobody asks for.
        if rel_may_fail(query) {
            return None;
        }
        let (inner, conditions) = self.pull(query, outer, true)?;
        let equalities = conditions.into_iter().map(|e| equality(e, outer)).collect::<Option<Vec<_>>>()?;
        (!equalities.is_empty()).then_some((inner, equalities))
    }

    /// The right side of a lateral join without its references to the left, and the conditions that they were.
    pub(super) fn without_laterality(&self, left: &Rel, right: &Rel) -> Option<(Rel, Vec<Expr>)> {
        let facts = Facts::of(right);
        let outer: BTreeSet<ColumnId> = self.needed_from(right, left).into_iter().map(|(id, _)| id).collect();
        // What may fail must not be asked of rows that nobody asks for.
        if facts.volatile || rel_may_fail(right) {
            return None;
        }
        let (rel, conditions) = self.pull(right, &outer, true)?;
        Some((rel, conditions))
    }
}

/// What is computed of aggregates whose group was not found: NULLs come of the join, but nothing counts as 0.
fn of_nothing(value: &Expr, aggregates: &[(OutputColumn, AggregateCall)]) -> Option<Expr> {
    let counts = |id: &ColumnId| {
        aggregates.iter().any(|(c, call)| {
            let kind = call.aggregate.kind;
            c.id == *id && matches!(kind, AggregateKind::Count | AggregateKind::CountStar | AggregateKind::RegrCount)
        })
    };
    let mut value = value.clone();
    value
        .try_rewrite(&mut |e| {
            if matches!(&e.kind, ExprKind::Column(id) if counts(id)) {
                let zero = Expr::literal(Datum::Int8(0), PgType::Int8);
                let column = e.clone();
                *e = Expr { ty: column.ty, kind: ExprKind::Coalesce(vec![column, zero]) };
                return Ok(Walk::Skip);
            }
            Ok(Walk::Into)
        })
        .ok()?;
    Some(value)
}

/// Columns over aggregates, what these take in, and they themselves.
type OverAggregates<'a> = (Vec<(OutputColumn, Expr)>, &'a Rel, &'a [(OutputColumn, AggregateCall)]);

/// A select list over aggregates of all that there is, and the aggregates.
fn over_aggregates(rel: &Rel) -> Option<OverAggregates<'_>> {
    match rel {
        Rel::Project { input, columns } => match input.as_ref() {
            Rel::Aggregate { input, group_by, grouping_sets: None, aggregates, groupings }
                if group_by.is_empty() && groupings.is_empty() =>
            {
                Some((columns.clone(), input, aggregates))
            }
            _ => None,
        },
        Rel::Alias { input, columns } => {
            let (inner, input, aggregates) = over_aggregates(input)?;
            let value = |from: &ColumnId| inner.iter().find(|(c, _)| c.id == *from).map(|(_, e)| e.clone());
            let columns = columns.iter().map(|(c, from)| Some((c.clone(), value(from)?))).collect::<Option<_>>()?;
            Some((columns, input, aggregates))
        }
        _ => None,
    }
}

/// The parts of a condition that compares an inner expression with an outer one.
pub(super) fn equality(condition: Expr, outer: &BTreeSet<ColumnId>) -> Option<Equality> {
    let ExprKind::Call { function, args } = condition.kind else { return None };
    let (Some(Operator::Eq), Ok([left, right])) = (kernel::comparison(function), <[Expr; 2]>::try_from(args)) else {
        return None;
    };
    // A time zone's changes make different local times equal to one instant.
    if left.ty.ty != right.ty.ty && is_moment(left.ty.ty) {
        return None;
    }
    let is_outer = |e: &Expr| {
        let columns = e.columns();
        !columns.is_empty() && !e.has_subquery() && columns.iter().all(|id| outer.contains(id))
    };
    let is_inner = |e: &Expr| !e.columns().is_empty() && !e.has_subquery() && !is_correlated(e, outer);
    match (is_outer(&left), is_outer(&right)) {
        (false, true) if is_inner(&left) => Some(Equality { function, inner: left, outer: right, inner_first: true }),
        (true, false) if is_inner(&right) => Some(Equality { function, inner: right, outer: left, inner_first: false }),
        _ => None,
    }
}

fn is_correlated(e: &Expr, outer: &BTreeSet<ColumnId>) -> bool {
    e.columns().iter().any(|id| outer.contains(id))
}

/// Whether a relation has one row at most for each value of the inner sides: they are the columns of a unique key.
fn finds_one(rel: &Rel, equalities: &[Equality]) -> bool {
    match rel {
        Rel::Project { input, columns } => {
            // Columns are the scan's own below.
            let own = |equality: &Equality| match &equality.inner.kind {
                ExprKind::Column(id) => {
                    columns.iter().any(|(c, e)| c.id == *id && matches!(&e.kind, ExprKind::Column(from) if from == id))
                }
                _ => false,
            };
            equalities.iter().all(own) && finds_one(input, equalities)
        }
        Rel::Filter { input, .. } => finds_one(input, equalities),
        Rel::Scan { table, columns, .. } => {
            let equal = |attnum: i16| {
                let Some(position) = table.column_index(attnum) else { return false };
                let Some(column) = columns.iter().find(|c| c.index == position) else { return false };
                equalities.iter().any(|e| matches!(&e.inner.kind, ExprKind::Column(id) if *id == column.id))
            };
            let is_key = |(at, index): (usize, &crate::catalog::Index)| {
                let unique = index.unique || (at == 0 && table.has_primary_key());
                unique
                    && index.state == IndexState::Public
                    && !index.columns.is_empty()
                    && index.columns.iter().all(|column| equal(column.attnum))
            };
            table.indexes.iter().enumerate().any(is_key)
        }
        _ => false,
    }
}
