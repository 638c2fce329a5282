//! Whether two expressions are the same computation.
//!
//! Columns of relations in subqueries have identities of their own, so that the same text bound twice differs in them: two
//! subqueries are the same if they differ in nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use stratos_types::Datum;

use super::expr::{
    AggregateCall, ColumnId, Expr, ExprKind, FrameBound, SortKey, SubqueryKind, WindowCall, WindowFunction,
};
use super::rel::{Cte, OutputColumn, Rel};

impl Expr {
    /// Whether both are the same computation.
    pub fn same(&self, other: &Expr) -> bool {
        Comparison::default().expr(self, other)
    }
}

impl AggregateCall {
    /// Whether both are the same computation.
    pub fn same(&self, other: &AggregateCall) -> bool {
        Comparison::default().aggregate(self, other)
    }
}

/// Whether both are the same constant: NaN is itself, and the zeros are not each other.
fn same_value(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Float4(a), Datum::Float4(b)) => a.to_bits() == b.to_bits(),
        (Datum::Float8(a), Datum::Float8(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

fn all<T>(a: &[T], b: &[T], mut same: impl FnMut(&T, &T) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

fn both<T>(a: Option<T>, b: Option<T>, same: impl FnOnce(T, T) -> bool) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => same(a, b),
        _ => false,
    }
}

/// What of the left corresponds to what of the right, as far as it was met.
#[derive(Default)]
struct Comparison {
    columns: HashMap<ColumnId, ColumnId>,
    ctes: HashMap<u32, u32>,
}

impl Comparison {
    fn pair(&mut self, a: ColumnId, b: ColumnId) {
        self.columns.insert(a, b);
    }

    /// Columns that relations produce.
    fn outputs<'c>(
        &mut self,
        a: impl ExactSizeIterator<Item = &'c OutputColumn>,
        b: impl ExactSizeIterator<Item = &'c OutputColumn>,
    ) -> bool {
        a.len() == b.len()
            && a.zip(b).all(|(a, b)| {
                self.pair(a.id, b.id);
                a.ty == b.ty
            })
    }

    fn exprs(&mut self, a: &[Expr], b: &[Expr]) -> bool {
        all(a, b, |a, b| self.expr(a, b))
    }

    fn expr(&mut self, a: &Expr, b: &Expr) -> bool {
        a.ty == b.ty && self.kind(&a.kind, &b.kind)
    }

    fn column(&self, a: ColumnId, b: ColumnId) -> bool {
        *self.columns.get(&a).unwrap_or(&a) == b
    }

    fn kind(&mut self, a: &ExprKind, b: &ExprKind) -> bool {
        use ExprKind as K;
        match (a, b) {
            (K::Literal(a), K::Literal(b)) => same_value(a, b),
            (K::Column(a), K::Column(b)) => self.column(*a, *b),
            (K::Param(a), K::Param(b)) => a == b,
            (K::Call { function, args }, K::Call { function: f, args: b }) => function == f && self.exprs(args, b),
            (K::Cast { arg, explicit }, K::Cast { arg: b, explicit: e }) => explicit == e && self.expr(arg, b),
            (K::And(a), K::And(b))
            | (K::Or(a), K::Or(b))
            | (K::Coalesce(a), K::Coalesce(b))
            | (K::Array(a), K::Array(b)) => self.exprs(a, b),
            (K::Row(a, names), K::Row(b, others)) => names == others && self.exprs(a, b),
            (K::Not(a), K::Not(b)) | (K::IsNull(a), K::IsNull(b)) => self.expr(a, b),
            (K::NotDistinct { equals, left, right }, K::NotDistinct { equals: e, left: l, right: r }) => {
                equals == e && self.expr(left, l) && self.expr(right, r)
            }
            (K::Case { branches, otherwise }, K::Case { branches: b, otherwise: o }) => {
                all(branches, b, |a, b| self.expr(&a.when, &b.when) && self.expr(&a.then, &b.then))
                    && both(otherwise.as_ref(), o.as_ref(), |a, b| self.expr(a, b))
            }
            (K::Extremum { greatest, less, args }, K::Extremum { greatest: g, less: l, args: a }) => {
                greatest == g && less == l && self.exprs(args, a)
            }
            (K::InList { equals, arg, list }, K::InList { equals: e, arg: a, list: l }) => {
                equals == e && self.expr(arg, a) && self.exprs(list, l)
            }
            (
                K::Quantified { quantifier, operator, left, array },
                K::Quantified { quantifier: q, operator: o, left: l, array: a },
            ) => quantifier == q && operator == o && self.expr(left, l) && self.expr(array, a),
            (K::Subscript { array, index }, K::Subscript { array: a, index: i }) => {
                self.expr(array, a) && self.expr(index, i)
            }
            (K::Subquery { kind, query }, K::Subquery { kind: k, query: q }) => {
                self.subquery(kind, k) && (Arc::ptr_eq(query, q) || self.rel(query, q))
            }
            _ => false,
        }
    }

    fn subquery(&mut self, a: &SubqueryKind, b: &SubqueryKind) -> bool {
        use SubqueryKind as K;
        match (a, b) {
            (K::Scalar, K::Scalar) | (K::Exists, K::Exists) | (K::Array, K::Array) => true,
            (K::Quantified { quantifier, operator, left }, K::Quantified { quantifier: q, operator: o, left: l }) => {
                quantifier == q && operator == o && self.expr(left, l)
            }
            _ => false,
        }
    }

    fn keys(&mut self, a: &[SortKey], b: &[SortKey]) -> bool {
        all(a, b, |a, b| a.descending == b.descending && a.nulls_first == b.nulls_first && self.expr(&a.expr, &b.expr))
    }

    fn aggregate(&mut self, a: &AggregateCall, b: &AggregateCall) -> bool {
        std::ptr::eq(a.aggregate, b.aggregate)
            && a.distinct == b.distinct
            && self.exprs(&a.args, &b.args)
            && both(a.filter.as_ref(), b.filter.as_ref(), |a, b| self.expr(a, b))
            && self.keys(&a.order_by, &b.order_by)
    }

    fn bound(&mut self, a: &FrameBound, b: &FrameBound) -> bool {
        use FrameBound as B;
        match (a, b) {
            (B::UnboundedPreceding, B::UnboundedPreceding)
            | (B::CurrentRow, B::CurrentRow)
            | (B::UnboundedFollowing, B::UnboundedFollowing) => true,
            (B::Preceding(a), B::Preceding(b)) | (B::Following(a), B::Following(b)) => self.expr(a, b),
            _ => false,
        }
    }

    fn window(&mut self, a: &WindowCall, b: &WindowCall) -> bool {
        use WindowFunction as F;
        let function = match (&a.function, &b.function) {
            (F::Aggregate(a), F::Aggregate(b)) => self.aggregate(a, b),
            (F::Builtin { name, args }, F::Builtin { name: n, args: b }) => name == n && self.exprs(args, b),
            _ => false,
        };
        function
            && a.ty == b.ty
            && self.exprs(&a.partition_by, &b.partition_by)
            && self.keys(&a.order_by, &b.order_by)
            && both(a.frame.as_ref(), b.frame.as_ref(), |a, b| {
                a.units == b.units && self.bound(&a.start, &b.start) && self.bound(&a.end, &b.end)
            })
    }

    /// Computed columns with what they are computed by.
    fn computed<T>(
        &mut self,
        a: &[(OutputColumn, T)],
        b: &[(OutputColumn, T)],
        mut same: impl FnMut(&mut Self, &T, &T) -> bool,
    ) -> bool {
        all(a, b, |(_, a), (_, b)| same(self, a, b)) && self.outputs(a.iter().map(|a| &a.0), b.iter().map(|b| &b.0))
    }

    fn cte(&mut self, a: &Cte, b: &Cte) -> bool {
        // Its recursive term refers to it.
        self.ctes.insert(a.id, b.id);
        self.rel(&a.query, &b.query)
            && self.outputs(a.columns.iter(), b.columns.iter())
            && both(a.recursive.as_ref(), b.recursive.as_ref(), |(a, all), (b, other)| all == other && self.rel(a, b))
            && a.materialized == b.materialized
    }

    /// What is below comes first: what is above refers to its columns.
    fn rel(&mut self, a: &Rel, b: &Rel) -> bool {
        use Rel as R;
        match (a, b) {
            (R::Scan { table, columns, lock, alias }, R::Scan { table: t, columns: c, lock: l, alias: a }) => {
                // Postgres compares what is written, aliases too.
                table.oid == t.oid
                    && alias == a
                    && lock == l
                    && all(columns, c, |a, b| {
                        self.pair(a.id, b.id);
                        a.index == b.index
                    })
            }
            (R::SystemScan { table, columns }, R::SystemScan { table: t, columns: c }) => {
                table.oid() == t.oid() && self.outputs(columns.iter(), c.iter())
            }
            (R::Values { columns, rows }, R::Values { columns: c, rows: r }) => {
                all(rows, r, |a, b| self.exprs(a, b)) && self.outputs(columns.iter(), c.iter())
            }
            (
                R::TableFunction { function, args, columns, ordinality },
                R::TableFunction { function: f, args: a, columns: c, ordinality: o },
            ) => function == f && ordinality == o && self.exprs(args, a) && self.outputs(columns.iter(), c.iter()),
            (R::Filter { input, predicate }, R::Filter { input: i, predicate: p }) => {
                self.rel(input, i) && self.expr(predicate, p)
            }
            (R::Project { input, columns }, R::Project { input: i, columns: c }) => {
                self.rel(input, i) && self.computed(columns, c, Self::expr)
            }
            (R::Join { left, right, kind, on, lateral }, R::Join { left: l, right: r, kind: k, on: o, lateral: t }) => {
                kind == k
                    && lateral == t
                    && self.rel(left, l)
                    && self.rel(right, r)
                    && both(on.as_ref(), o.as_ref(), |a, b| self.expr(a, b))
            }
            (
                R::Aggregate { input, group_by, grouping_sets, aggregates, groupings },
                R::Aggregate { input: i, group_by: g, grouping_sets: s, aggregates: a, groupings: n },
            ) => {
                grouping_sets == s
                    && self.rel(input, i)
                    && self.computed(group_by, g, Self::expr)
                    && self.computed(aggregates, a, Self::aggregate)
                    && self.computed(groupings, n, |_, a, b| a == b)
            }
            (R::Window { input, calls }, R::Window { input: i, calls: c }) => {
                self.rel(input, i) && self.computed(calls, c, Self::window)
            }
            (R::Sort { input, keys }, R::Sort { input: i, keys: k }) => self.rel(input, i) && self.keys(keys, k),
            (R::Limit { input, limit, offset }, R::Limit { input: i, limit: l, offset: o }) => {
                self.rel(input, i)
                    && both(limit.as_ref(), l.as_ref(), |a, b| self.expr(a, b))
                    && both(offset.as_ref(), o.as_ref(), |a, b| self.expr(a, b))
            }
            (R::Distinct { input }, R::Distinct { input: i }) => self.rel(input, i),
            (R::DistinctOn { input, on, keys }, R::DistinctOn { input: i, on: o, keys: k }) => {
                self.rel(input, i) && self.exprs(on, o) && self.keys(keys, k)
            }
            (R::SetOp { op, all, left, right, columns }, R::SetOp { op: p, all: a, left: l, right: r, columns: c }) => {
                op == p && all == a && self.rel(left, l) && self.rel(right, r) && self.outputs(columns.iter(), c.iter())
            }
            (R::With { ctes, body }, R::With { ctes: c, body: b }) => {
                all(ctes, c, |a, b| self.cte(a, b)) && self.rel(body, b)
            }
            (R::CteScan { cte, columns }, R::CteScan { cte: o, columns: c }) => {
                self.ctes.get(cte).unwrap_or(cte) == o && self.outputs(columns.iter(), c.iter())
            }
            (R::Alias { input, columns }, R::Alias { input: i, columns: c }) => {
                self.rel(input, i) && self.computed(columns, c, |pairs, a, b| pairs.column(*a, *b))
            }
            _ => false,
        }
    }
}
