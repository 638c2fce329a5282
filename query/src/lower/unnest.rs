//! Conditions on subqueries that are joins: `EXISTS`, `IN` and their negations in WHERE.
//!
//! The conditions of the subquery that mention outer columns are pulled up to become the condition of a semi- or antijoin.
//! Whatever does not have a shape that allows it stays a function (see `subquery`), slower and no less right.

use std::collections::BTreeSet;

use datafusion::logical_expr::{Expr as DfExpr, Operator};
use stratos_types::{Datum, PgType, Result};

use super::decorrelate::equality;
use super::expr::rel_may_fail;
use super::kernel;
use super::rel::{ConditionJoin, Lowerer, and};
use super::walk::Facts;
use crate::ir::{ColumnId, Expr, ExprKind, JoinKind, OutputColumn, Quantifier, Rel, SubqueryKind};

/// What must be true for a condition of WHERE to be true, of which NULL is as good as false. Membership of rows in a subquery
/// (`binder::special`) says when it is NULL, which then falls away, or becomes a condition of its own.
pub(super) fn asked(predicate: &Expr) -> Vec<Expr> {
    predicate.conjuncts().into_iter().flat_map(when_true).collect()
}

fn when_true(condition: &Expr) -> Vec<Expr> {
    let not = |term: &Expr| Expr { kind: ExprKind::Not(Box::new(term.clone())), ty: PgType::Bool.into() };
    match &condition.kind {
        ExprKind::Or(terms) if terms.iter().any(is_never_true) => {
            let rest: Vec<Expr> = terms.iter().filter(|term| !is_never_true(term)).cloned().collect();
            match rest.as_slice() {
                [] => vec![Expr::literal(Datum::Bool(false), PgType::Bool)],
                [one] => when_true(one),
                _ => vec![Expr { kind: ExprKind::Or(rest), ty: PgType::Bool.into() }],
            }
        }
        ExprKind::Not(inner) => match &inner.kind {
            ExprKind::Or(terms) if terms.iter().all(is_membership) => {
                terms.iter().flat_map(|term| when_true(&not(term))).collect()
            }
            // Beside a NULL it is false if the rest is.
            ExprKind::And(terms) if is_never_true(inner) => {
                let rest: Vec<Expr> = terms.iter().filter(|term| !is_null_literal(term)).cloned().collect();
                and(rest).map_or_else(
                    || vec![Expr::literal(Datum::Bool(false), PgType::Bool)],
                    |rest| when_true(&not(&rest)),
                )
            }
            _ => vec![condition.clone()],
        },
        _ => vec![condition.clone()],
    }
}

fn is_null_literal(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Literal(Datum::Null))
}

fn is_never_true(term: &Expr) -> bool {
    matches!(&term.kind, ExprKind::And(terms) if terms.iter().any(is_null_literal))
}

/// Whether it is made of tests for existence and for NULL alone, which may be asked in any order.
fn is_membership(term: &Expr) -> bool {
    match &term.kind {
        ExprKind::Subquery { kind: SubqueryKind::Exists, .. } => true,
        ExprKind::And(terms) | ExprKind::Or(terms) => terms.iter().all(is_membership),
        ExprKind::IsNull(inner) => !inner.has_subquery(),
        _ => is_null_literal(term),
    }
}

impl Lowerer<'_> {
    /// The join that a conjunct of a filter amounts to, if it does.
    pub(super) fn as_join(&self, condition: &Expr) -> Result<Option<ConditionJoin>> {
        let (subquery, anti) = match &condition.kind {
            ExprKind::Not(inner) => (inner.as_ref(), true),
            _ => (condition, false),
        };
        let ExprKind::Subquery { kind, query } = &subquery.kind else {
            return Ok(None);
        };
        let facts = Facts::of(query);
        if facts.volatile {
            return Ok(None);
        }
        let outer: BTreeSet<ColumnId> =
            facts.free().into_iter().map(|(id, _)| id).filter(|id| !self.is_given(*id)).collect();
        let membership = match kind {
            SubqueryKind::Exists if !outer.is_empty() => None,
            SubqueryKind::Quantified { quantifier: Quantifier::Any, operator, left } if !(anti && outer.is_empty()) => {
                let Some(item) = query.output().into_iter().next() else {
                    return Ok(None);
                };
                Some(Expr {
                    kind: ExprKind::Call {
                        function: operator,
                        args: vec![(**left).clone(), Expr::column(item.id, item.ty)],
                    },
                    ty: PgType::Bool.into(),
                })
            }
            // Evaluated once: cheaper than any join.
            _ => return Ok(None),
        };
        // A join makes all groups, also those that nobody asks for: what may fail must not be computed for them.
        if has_groups(query) && rel_may_fail(query) {
            return Ok(None);
        }
        let Some((inner, pulled)) = self.pull(query, &outer, false) else {
            return Ok(None);
        };
        let mut on = pulled.iter().map(|e| self.expr(e)).collect::<Result<Vec<_>>>()?;
        if let Some(equal) = membership {
            let equal = self.expr(&equal)?;
            // NOT IN is true only where every comparison is false, unknown ones count against it.
            on.push(if anti { DfExpr::IsNotFalse(Box::new(equal)) } else { equal });
        }
        Ok(Some(ConditionJoin { right: self.rel(&inner)?, anti, on }))
    }
}

impl Lowerer<'_> {
    /// With little memory: the antijoin of `NOT IN` and a subquery that refers to nothing outside, and what must be true besides. In
    /// the usual case its values are a set in memory, which is faster.
    pub(super) fn as_antijoin(&self, condition: &Expr) -> Result<Option<(ConditionJoin, Expr)>> {
        let ExprKind::Not(inner) = &condition.kind else { return Ok(None) };
        let ExprKind::Subquery {
            kind: SubqueryKind::Quantified { quantifier: Quantifier::Any, operator, left },
            query,
        } = &inner.kind
        else {
            return Ok(None);
        };
        let facts = Facts::of(query);
        let refers_outside = facts.free().iter().any(|(id, _)| !self.is_given(*id));
        let equality = kernel::comparison(operator) == Some(Operator::Eq);
        let Some(item) = query.output().into_iter().next().filter(|_| {
            self.statement.frugal && equality && !facts.volatile && !refers_outside && !left.has_subquery()
        }) else {
            return Ok(None);
        };
        let bool_of = |kind: ExprKind| Expr { kind, ty: PgType::Bool.into() };
        let not = |e: Expr| bool_of(ExprKind::Not(Box::new(e)));
        let is_null = |e: Expr| bool_of(ExprKind::IsNull(Box::new(e)));
        let none_in = |rel: Rel| not(bool_of(ExprKind::Subquery { kind: SubqueryKind::Exists, query: rel.into() }));
        let value = Expr::column(item.id, item.ty);
        let nulls = Rel::Filter { input: Box::new(Rel::clone(query)), predicate: is_null(value.clone()) };
        // Nothing is in what is empty. Otherwise a NULL on either side leaves it open.
        let decided = bool_of(ExprKind::And(vec![not(is_null((**left).clone())), none_in(nulls)]));
        let besides = bool_of(ExprKind::Or(vec![none_in(Rel::clone(query)), decided]));
        let equal = ExprKind::Call { function: operator, args: vec![(**left).clone(), value] };
        let on = vec![self.expr(&bool_of(equal))?];
        Ok(Some((ConditionJoin { right: self.rel(query)?, anti: true, on }, besides)))
    }
}

fn has_groups(rel: &Rel) -> bool {
    matches!(rel, Rel::Aggregate { .. }) || rel.inputs().into_iter().any(has_groups)
}

impl Lowerer<'_> {
    /// The relation without its conditions on outer columns, and these conditions; their inner columns stay in its output.
    /// `exactly`: the rows with their number and order matter, otherwise only whether there are any.
    pub(super) fn pull(&self, rel: &Rel, outer: &BTreeSet<ColumnId>, exactly: bool) -> Option<(Rel, Vec<Expr>)> {
        let correlated = |facts: &Facts| facts.free().iter().any(|(id, _)| outer.contains(id));
        if !correlated(&Facts::of(rel)) {
            return Some((rel.clone(), Vec::new()));
        }
        match rel {
            Rel::Filter { input, predicate } => {
                let (input, mut pulled) = self.pull(input, outer, exactly)?;
                let (up, stay): (Vec<&Expr>, Vec<&Expr>) =
                    predicate.conjuncts().into_iter().partition(|e| correlated(&Facts::of_expr(e)));
                pulled.extend(up.into_iter().cloned());
                let rel = if stay.is_empty() {
                    input
                } else {
                    Rel::Filter {
                        input: Box::new(input),
                        predicate: Expr {
                            kind: ExprKind::And(stay.into_iter().cloned().collect()),
                            ty: PgType::Bool.into(),
                        },
                    }
                };
                Some((rel, pulled))
            }
            Rel::Project { input, columns } => {
                if columns.iter().any(|(_, e)| correlated(&Facts::of_expr(e))) {
                    return None;
                }
                let (input, pulled) = self.pull(input, outer, exactly)?;
                Some((keep(input, columns.clone(), &pulled), pulled))
            }
            Rel::Alias { input, columns } => {
                let (input, pulled) = self.pull(input, outer, exactly)?;
                let columns = columns.iter().map(|(c, from)| (c.clone(), Expr::column(*from, c.ty))).collect();
                Some((keep(input, columns, &pulled), pulled))
            }
            Rel::Join { left, right, kind: JoinKind::Inner, on, lateral: false } => {
                if on.as_ref().is_some_and(|e| correlated(&Facts::of_expr(e))) {
                    return None;
                }
                let (left, mut pulled) = self.pull(left, outer, exactly)?;
                let (right, more) = self.pull(right, outer, exactly)?;
                pulled.extend(more);
                Some((
                    Rel::Join {
                        left: Box::new(left),
                        right: Box::new(right),
                        kind: JoinKind::Inner,
                        on: on.clone(),
                        lateral: false,
                    },
                    pulled,
                ))
            }
            // Order and duplicates do not matter to a semijoin.
            Rel::Sort { input, .. } | Rel::Distinct { input } if !exactly => self.pull(input, outer, exactly),
            // What equals something of an outer row is one value for that row.
            Rel::Distinct { input } => {
                let (input, pulled) = self.pull(input, outer, true)?;
                let is_column = |e: &Expr| {
                    equality(e.clone(), outer).is_some_and(|equal| matches!(equal.inner.kind, ExprKind::Column(_)))
                };
                pulled.iter().all(is_column).then(|| (Rel::Distinct { input: Box::new(input) }, pulled))
            }
            Rel::Aggregate { input, group_by, grouping_sets: None, aggregates, groupings }
                if !group_by.is_empty() && groupings.is_empty() =>
            {
                let mut computed =
                    group_by.iter().map(|(_, e)| e).chain(aggregates.iter().flat_map(|(_, c)| c.exprs()));
                if computed.any(|e| correlated(&Facts::of_expr(e))) {
                    return None;
                }
                let (input, pulled) = self.pull(input, outer, true)?;
                let (mut group_by, mut on) = (group_by.clone(), Vec::with_capacity(pulled.len()));
                for condition in pulled {
                    let equal = equality(condition, outer)?;
                    let column = self.fresh_column(equal.inner.ty);
                    on.push(equal.on(Expr::column(column.id, column.ty)));
                    group_by.push((column, equal.inner));
                }
                let (aggregates, groupings) = (aggregates.clone(), Vec::new());
                let input = Box::new(input);
                Some((Rel::Aggregate { input, group_by, grouping_sets: None, aggregates, groupings }, on))
            }
            _ => None,
        }
    }
}

/// A projection that also passes on what the pulled conditions need of the input.
fn keep(input: Rel, mut columns: Vec<(OutputColumn, Expr)>, pulled: &[Expr]) -> Rel {
    let available = input.output();
    let needed: BTreeSet<ColumnId> = pulled.iter().flat_map(|e| Facts::of_expr(e).free()).map(|(id, _)| id).collect();
    for column in available {
        if needed.contains(&column.id) && !columns.iter().any(|(c, _)| c.id == column.id) {
            let expr = Expr::column(column.id, column.ty);
            columns.push((column, expr));
        }
    }
    Rel::Project { input: Box::new(input), columns }
}
