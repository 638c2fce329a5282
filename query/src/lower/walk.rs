//! Looking through `ir` trees: which columns a relation needs from outside, and whether it may be evaluated twice.

use std::collections::{BTreeMap, BTreeSet};

use stratos_types::PgType;

use crate::functions::Volatility;
use crate::ir::{AggregateCall, ColumnId, Expr, ExprKind, FrameBound, Rel, SortKey, SubqueryKind, WindowFunction};

/// What [`Facts::of`] finds out about a relation.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    produced: BTreeSet<ColumnId>,
    referenced: BTreeMap<ColumnId, PgType>,
    /// Calls something volatile.
    pub volatile: bool,
    /// How often each CTE is scanned.
    pub cte_scans: BTreeMap<u32, usize>,
}

impl Facts {
    pub fn of(rel: &Rel) -> Facts {
        let mut facts = Facts::default();
        facts.rel(rel);
        facts
    }

    pub fn of_expr(expr: &Expr) -> Facts {
        let mut facts = Facts::default();
        facts.expr(expr);
        facts
    }

    /// Columns that something outside must supply.
    pub fn free(&self) -> Vec<(ColumnId, PgType)> {
        self.referenced.iter().filter(|(id, _)| !self.produced.contains(id)).map(|(id, ty)| (*id, *ty)).collect()
    }

    fn produce(&mut self, columns: impl IntoIterator<Item = ColumnId>) {
        self.produced.extend(columns);
    }

    fn rel(&mut self, rel: &Rel) {
        match rel {
            Rel::Scan { columns, .. } => self.produce(columns.iter().map(|c| c.id)),
            Rel::SystemScan { columns, .. } => self.produce(columns.iter().map(|c| c.id)),
            Rel::Values { columns, rows } => {
                self.produce(columns.iter().map(|c| c.id));
                rows.iter().flatten().for_each(|e| self.expr(e));
            }
            Rel::TableFunction { args, columns, .. } => {
                self.produce(columns.iter().map(|c| c.id));
                args.iter().for_each(|e| self.expr(e));
            }
            Rel::Filter { input, predicate } => {
                self.rel(input);
                self.expr(predicate);
            }
            Rel::Project { input, columns } => {
                self.rel(input);
                for (column, expr) in columns {
                    self.produce([column.id]);
                    self.expr(expr);
                }
            }
            Rel::Join { left, right, on, .. } => {
                self.rel(left);
                self.rel(right);
                on.iter().for_each(|e| self.expr(e));
            }
            Rel::Aggregate { input, group_by, aggregates, groupings, .. } => {
                self.rel(input);
                for (column, expr) in group_by {
                    self.produce([column.id]);
                    self.expr(expr);
                }
                for (column, call) in aggregates {
                    self.produce([column.id]);
                    self.aggregate(call);
                }
                self.produce(groupings.iter().map(|(c, _)| c.id));
            }
            Rel::Window { input, calls } => {
                self.rel(input);
                for (column, call) in calls {
                    self.produce([column.id]);
                    match &call.function {
                        WindowFunction::Aggregate(call) => self.aggregate(call),
                        WindowFunction::Builtin { args, .. } => {
                            args.iter().for_each(|e| self.expr(e));
                        }
                    }
                    call.partition_by.iter().for_each(|e| self.expr(e));
                    self.keys(&call.order_by);
                    if let Some(frame) = &call.frame {
                        for bound in [&frame.start, &frame.end] {
                            if let FrameBound::Preceding(e) | FrameBound::Following(e) = bound {
                                self.expr(e);
                            }
                        }
                    }
                }
            }
            Rel::Sort { input, keys } => {
                self.rel(input);
                self.keys(keys);
            }
            Rel::Limit { input, limit, offset } => {
                self.rel(input);
                limit.iter().chain(offset).for_each(|e| self.expr(e));
            }
            Rel::Distinct { input } => self.rel(input),
            Rel::DistinctOn { input, on, keys } => {
                self.rel(input);
                on.iter().for_each(|e| self.expr(e));
                self.keys(keys);
            }
            Rel::SetOp { left, right, columns, .. } => {
                self.rel(left);
                self.rel(right);
                self.produce(columns.iter().map(|c| c.id));
            }
            Rel::With { ctes, body } => {
                for cte in ctes {
                    self.rel(&cte.query);
                    if let Some((term, _)) = &cte.recursive {
                        self.rel(term);
                    }
                    self.produce(cte.columns.iter().map(|c| c.id));
                }
                self.rel(body);
            }
            Rel::CteScan { cte, columns } => {
                *self.cte_scans.entry(*cte).or_default() += 1;
                self.produce(columns.iter().map(|c| c.id));
            }
            Rel::Alias { input, columns } => {
                self.rel(input);
                self.produce(columns.iter().map(|(c, _)| c.id));
            }
        }
    }

    fn keys(&mut self, keys: &[SortKey]) {
        keys.iter().for_each(|k| self.expr(&k.expr));
    }

    fn aggregate(&mut self, call: &AggregateCall) {
        call.args.iter().chain(&call.filter).for_each(|e| self.expr(e));
        self.keys(&call.order_by);
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Literal(_) | ExprKind::Param(_) => {}
            ExprKind::Column(id) => {
                self.referenced.insert(*id, expr.ty.ty);
            }
            ExprKind::Call { function, args } => {
                self.volatile |= function.volatility == Volatility::Volatile;
                args.iter().for_each(|e| self.expr(e));
            }
            ExprKind::Cast { arg, .. } => self.expr(arg),
            ExprKind::Not(e) | ExprKind::IsNull(e) => self.expr(e),
            ExprKind::And(list)
            | ExprKind::Or(list)
            | ExprKind::Coalesce(list)
            | ExprKind::Array(list)
            | ExprKind::Row(list) => list.iter().for_each(|e| self.expr(e)),
            ExprKind::Extremum { args, .. } => args.iter().for_each(|e| self.expr(e)),
            ExprKind::NotDistinct { left, right, .. } => {
                self.expr(left);
                self.expr(right);
            }
            ExprKind::Case { branches, otherwise } => {
                for branch in branches {
                    self.expr(&branch.when);
                    self.expr(&branch.then);
                }
                otherwise.iter().for_each(|e| self.expr(e));
            }
            ExprKind::InList { arg, list, .. } => {
                self.expr(arg);
                list.iter().for_each(|e| self.expr(e));
            }
            ExprKind::Quantified { left, array, .. } => {
                self.expr(left);
                self.expr(array);
            }
            ExprKind::Subscript { array, index } => {
                self.expr(array);
                self.expr(index);
            }
            ExprKind::Subquery { kind, query } => {
                if let SubqueryKind::Quantified { left, .. } = kind {
                    self.expr(left);
                }
                self.rel(query);
            }
        }
    }
}

/// The conjuncts of a condition, flattened.
pub(crate) fn conjuncts<'a>(expr: &'a Expr, out: &mut Vec<&'a Expr>) {
    match &expr.kind {
        ExprKind::And(list) => list.iter().for_each(|e| conjuncts(e, out)),
        _ => out.push(expr),
    }
}
