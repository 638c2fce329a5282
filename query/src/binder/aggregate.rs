//! Calls of aggregates: their arguments, and the query that they belong to.

use std::collections::HashSet;

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, Spanned};
use sqlparser::tokenizer::Span;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::call::types;
use super::resolve::{Choice, choose};
use super::scope::Place;
use super::{Binder, Clause, Level, Reference};
use crate::functions::{Aggregate, AggregateKind, ArgType};
use crate::ir::{AggregateCall, CaseBranch, ColumnId, Expr, ExprKind, SortKey};

/// The parts of an aggregate's or window function's call.
pub(crate) struct CallShape<'s> {
    pub name: &'s str,
    pub span: Span,
    pub args: &'s [FunctionArg],
    pub star: bool,
    pub distinct: bool,
    pub order_by: &'s [ast::OrderByExpr],
    pub within_group: &'s [ast::OrderByExpr],
    pub filter: Option<&'s ast::Expr>,
}

impl Level {
    /// Whether one of the columns is of its FROM or of what it computes above that.
    fn brings(&self, columns: &HashSet<ColumnId>) -> bool {
        let of_from =
            || self.scope.tables.iter().flat_map(|table| &table.columns).flat_map(|column| column.expr.columns());
        let computed = self.aggregates.iter().map(|(column, _)| column.id);
        let computed = computed.chain(self.groupings.iter().map(|(column, ..)| column.id));
        let mut computed = computed.chain(self.windows.iter().map(|(column, _)| column.id));
        !columns.is_empty() && (computed.any(|id| columns.contains(&id)) || of_from().any(|id| columns.contains(&id)))
    }
}

impl Binder<'_> {
    /// An aggregate without OVER: a column of the grouping of the query that it belongs to.
    pub(super) fn aggregate_in_query(
        &mut self,
        shape: &CallShape<'_>,
        aggregates: &[&'static Aggregate],
    ) -> Result<Expr> {
        let call = self.aggregate_call(shape, aggregates)?;
        let ordered_set = !shape.within_group.is_empty();
        let direct: &[Expr] = if ordered_set { &call.args } else { &[] };
        // Those of an ordered set are computed once for a group.
        let of_rows: Vec<&Expr> = call.exprs().filter(|e| !direct.iter().any(|d| std::ptr::eq(d, *e))).collect();
        let level = self.aggregate_level(&of_rows, shape.span)?;
        for (arg, written) in direct.iter().zip(shape.args) {
            self.note_direct(level, arg, written.span())?;
        }
        Ok(self.aggregate_column(level, shape.name, call))
    }

    /// The query that an aggregate belongs to, as a position in the levels: the innermost of those whose columns the operands
    /// mention that it computes for each row; the current one where they mention none.
    ///
    /// # Errors
    /// 42803 and others where no aggregate of that query may stand.
    pub(super) fn aggregate_level(&self, operands: &[&Expr], span: Span) -> Result<usize> {
        let mentioned: HashSet<ColumnId> = operands.iter().flat_map(|operand| operand.columns()).collect();
        let innermost = self.levels.len().checked_sub(1).ok_or_else(|| Error::unsupported("aggregate here"))?;
        let at = (0..=innermost).rev().find(|at| self.levels[*at].brings(&mentioned)).unwrap_or(innermost);
        let level = &self.levels[at];
        if level.in_aggregate || level.aggregates.iter().any(|(column, _)| mentioned.contains(&column.id)) {
            return Err(
                self.at(Error::new(ErrorKind::GroupingError, "aggregate function calls cannot be nested"), span)
            );
        }
        if level.recurses {
            let message = "aggregate functions are not allowed in a recursive query's recursive term";
            return Err(self.at(Error::new(ErrorKind::InvalidRecursion, message), span));
        }
        if !level.clause.is_some_and(Clause::allows_aggregates) {
            let place = level.clause.map_or("this clause", Clause::place);
            return Err(self.at(
                Error::new(ErrorKind::GroupingError, format!("aggregate functions are not allowed in {place}")),
                span,
            ));
        }
        Ok(at)
    }

    /// Remembers a direct argument of an ordered-set aggregate, which the grouping of its query has to look at.
    ///
    /// # Errors
    /// 42803 for columns of queries inside that one.
    pub(super) fn note_direct(&mut self, at: usize, arg: &Expr, place: Span) -> Result<()> {
        let columns = arg.columns();
        let mentioned: HashSet<ColumnId> = columns.iter().copied().collect();
        if self.levels[at + 1..].iter().any(|inner| inner.brings(&mentioned)) {
            let message = "outer-level aggregate cannot contain a lower-level variable in its direct arguments";
            return Err(self.at(Error::new(ErrorKind::GroupingError, message), place));
        }
        if !columns.is_empty() {
            let position = self.position(place);
            let level = &mut self.levels[at];
            let places = columns.into_iter().zip(position.into_iter().cycle());
            level.references.extend(places.map(|(column, position)| Reference {
                column,
                position,
                in_subquery: false,
            }));
            level.direct_args.push(arg.clone());
        }
        Ok(())
    }

    /// The column of a level's grouping that holds what an aggregate gives.
    pub(super) fn aggregate_column(&mut self, at: usize, name: &str, call: AggregateCall) -> Expr {
        let ty = call.ty;
        // What is different each time is computed each time.
        let volatile = call.exprs().any(Expr::is_volatile);
        let known = self.levels[at].aggregates.iter().find(|(_, a)| !volatile && a.same(&call));
        if let Some((column, _)) = known {
            return Expr::column(column.id, ty);
        }
        let column = self.output(name.to_owned(), ty);
        let expr = Expr::column(column.id, ty);
        self.levels[at].aggregates.push((column, call));
        expr
    }

    /// Resolves an aggregate and its arguments.
    pub(crate) fn aggregate_call(
        &mut self,
        shape: &CallShape<'_>,
        aggregates: &[&'static Aggregate],
    ) -> Result<AggregateCall> {
        let span = shape.span;
        if shape.star {
            let found = aggregates.iter().find(|a| a.kind == AggregateKind::CountStar).copied();
            let Some(aggregate) = found else {
                return Err(self.undefined_function(shape.name, &[], span));
            };
            if shape.distinct {
                return Err(self.at(Error::new(ErrorKind::SyntaxError, "DISTINCT is not allowed with *"), span));
            }
            let filter = self.aggregate_filter(shape.filter)?;
            return Ok(AggregateCall {
                aggregate,
                args: Vec::new(),
                distinct: false,
                filter,
                order_by: Vec::new(),
                ty: PgType::Int8.into(),
            });
        }
        if shape.args.is_empty() && aggregates.iter().any(|a| a.kind == AggregateKind::CountStar) {
            return Err(self.parameterless(shape));
        }
        let (args, mut order_by) = self.inside_aggregate(|b| {
            let mut args = Vec::with_capacity(shape.args.len());
            for arg in shape.args {
                args.push(b.plain_arg(arg)?);
            }
            let keys = if shape.within_group.is_empty() { shape.order_by } else { shape.within_group };
            let mut order_by = Vec::with_capacity(keys.len());
            for key in keys {
                let e = super::query::order_key(key)?;
                // A subquery is the same only as itself: what is written as an argument is, is that argument.
                let twin = shape.args.iter().position(
                    |arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(written)) if written == e),
                );
                let expr = match twin.and_then(|at| args.get(at)).filter(|arg| arg.has_subquery()) {
                    Some(arg) => arg.clone(),
                    None => b.expr(e)?,
                };
                let (descending, nulls_first) = super::query::order_options(key)?;
                order_by.push(SortKey { expr, descending, nulls_first });
            }
            Ok((args, order_by))
        })?;
        let ordered_set = !shape.within_group.is_empty();
        // An ordered-set aggregate's signature has the ordering expressions after the direct arguments.
        let direct = args.len();
        let mut all = args;
        if ordered_set {
            all.extend(order_by.iter().map(|k| k.expr.clone()));
        }
        let actual = types(&all);
        if shape.name == "array_agg" {
            match actual.as_slice() {
                [PgType::Record] => return Err(self.at(Error::unsupported("array of composite values"), span)),
                [ty] if ty.element().is_some() => {
                    return Err(self.at(Error::unsupported("array of more than one dimension"), span));
                }
                _ => {}
            }
        }
        let fitting: Vec<&'static Aggregate> = aggregates
            .iter()
            .copied()
            .filter(|a| a.args.len() == all.len() && a.kind != AggregateKind::CountStar)
            .collect();
        let candidates: Vec<Vec<ArgType>> = fitting.iter().map(|a| a.args.to_vec()).collect();
        let aggregate = match choose(&actual, &candidates) {
            Choice::One(i) => fitting[i],
            Choice::None => return Err(self.undefined_function(shape.name, &actual, span)),
            Choice::Ambiguous => return Err(self.ambiguous_function(shape.name, &actual, span)),
        };
        let is_ordered_set = aggregate.kind.is_ordered_set();
        if is_ordered_set && !ordered_set {
            return Err(self.without_group(shape));
        }
        if ordered_set && !is_ordered_set {
            return Err(self.at(
                Error::new(
                    ErrorKind::WrongObjectType,
                    format!("{} is not an ordered-set aggregate, so it cannot have WITHIN GROUP", shape.name),
                ),
                span,
            ));
        }
        let given = all.clone();
        let (mut args, ret) = self.settle_args(aggregate.args, aggregate.ret, all, span)?;
        if ordered_set {
            let sorted = args.split_off(direct);
            for (key, expr) in order_by.iter_mut().zip(sorted) {
                key.expr = expr;
            }
        } else {
            let keys = std::mem::take(&mut order_by);
            for (at, key) in keys.into_iter().enumerate() {
                // An argument that was converted to the aggregate's type is ordered as that.
                let expr = match given.iter().position(|a| a.same(&key.expr)) {
                    Some(at) => args[at].clone(),
                    None => self.known(key.expr)?,
                };
                if shape.distinct && !args.iter().any(|a| a.same(&expr)) {
                    return Err(self.at(
                        Error::new(
                            ErrorKind::InvalidColumnReference,
                            "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list",
                        ),
                        shape.order_by.get(at).map_or(span, |written| written.expr.place()),
                    ));
                }
                order_by.push(SortKey { expr, ..key });
            }
        }
        let filter = self.aggregate_filter(shape.filter)?;
        if let Some(filter) = &filter {
            let of_rows = args.iter_mut().filter(|_| !ordered_set);
            of_rows.chain(order_by.iter_mut().map(|key| &mut key.expr)).for_each(|operand| only_where(filter, operand));
        }
        Ok(AggregateCall { aggregate, args, distinct: shape.distinct, filter, order_by, ty: ret.into() })
    }

    /// 42809 for an ordered-set aggregate that is called as others are.
    pub(super) fn without_group(&self, shape: &CallShape<'_>) -> Error {
        let message = format!("WITHIN GROUP is required for ordered-set aggregate {}", shape.name);
        self.at(Error::new(ErrorKind::WrongObjectType, message), shape.span)
    }

    /// 42809 for `count()`.
    pub(crate) fn parameterless(&self, shape: &CallShape<'_>) -> Error {
        let message = format!("{}(*) must be used to call a parameterless aggregate function", shape.name);
        self.at(Error::new(ErrorKind::WrongObjectType, message), shape.span)
    }

    pub(super) fn aggregate_filter(&mut self, filter: Option<&ast::Expr>) -> Result<Option<Expr>> {
        let Some(filter) = filter else {
            return Ok(None);
        };
        let before = self.levels.last().is_some_and(|l| l.in_aggregate);
        let expr = self.in_clause(Clause::Filter, |b| {
            if let Some(level) = b.levels.last_mut() {
                level.in_aggregate = false;
            }
            let references = b.levels.last().map_or(0, |l| l.references.len());
            let expr = b.expr(filter)?;
            if let Some(level) = b.levels.last_mut() {
                level.references.truncate(references);
            }
            b.boolean(expr, "FILTER", filter.place())
        });
        if let Some(level) = self.levels.last_mut() {
            level.in_aggregate = before;
        }
        expr.map(Some)
    }

    pub(super) fn inside_aggregate<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let around = self.levels.last_mut().is_some_and(|level| std::mem::replace(&mut level.in_aggregate, true));
        let result = f(self);
        if let Some(level) = self.levels.last_mut() {
            level.in_aggregate = around;
        }
        result
    }
}

/// Makes an operand of an aggregate one that is not computed for rows that its FILTER drops.
pub(super) fn only_where(filter: &Expr, operand: &mut Expr) {
    if operand.is_given() || matches!(operand.kind, ExprKind::Column(_)) {
        return;
    }
    let ty = operand.ty;
    let then = std::mem::replace(operand, Expr { kind: ExprKind::Literal(Datum::Null), ty });
    let branches = vec![CaseBranch { when: filter.clone(), then }];
    operand.kind = ExprKind::Case { branches, otherwise: None };
}
