//! UNION, INTERSECT, EXCEPT.

use sqlparser::ast::{SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned};
use sqlparser::tokenizer::Span;
use stratos_types::{ColumnType, Datum, Error, ErrorKind, PgType, Result};

use super::Binder;
use super::query::Tail;
use super::resolve::common_type;
use crate::ir::{ColumnId, Expr, ExprKind, OutputColumn, Rel, SetOpKind};

const NO_TAIL: Tail<'static> = Tail { order_by: Vec::new(), limit: None, offset: None, ties: false, locks: &[] };

/// Where the `i`-th column of a query body stands.
pub(super) fn column_span(body: &SetExpr, i: usize) -> Span {
    let span = match body {
        // What stands for several columns leaves open which ones are behind it.
        SetExpr::Select(select) if select.projection.iter().take(i + 1).any(is_wildcard) => None,
        SetExpr::Select(select) => select.projection.get(i).map(Spanned::span),
        SetExpr::Query(query) => Some(column_span(&query.body, i)),
        SetExpr::SetOperation { left, .. } => Some(column_span(left, i)),
        SetExpr::Values(values) => values.rows.first().and_then(|r| r.content.get(i)).map(Spanned::span),
        _ => None,
    };
    span.unwrap_or_else(Span::empty)
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

fn word(op: SetOpKind) -> &'static str {
    match op {
        SetOpKind::Union => "UNION",
        SetOpKind::Intersect => "INTERSECT",
        SetOpKind::Except => "EXCEPT",
    }
}

impl Binder<'_> {
    pub(crate) fn set_operation(
        &mut self,
        left: &SetExpr,
        op: SetOperator,
        quantifier: SetQuantifier,
        right: &SetExpr,
        known: bool,
    ) -> Result<Rel> {
        // Chains of set operations are left-deep: walk them without recursion.
        let mut chain: Vec<(SetOpKind, bool, &SetExpr)> = vec![shape(op, quantifier, right)?];
        let mut first = left;
        while let SetExpr::SetOperation { left, op, set_quantifier, right } = first {
            chain.push(shape(*op, *set_quantifier, right)?);
            first = left;
        }
        let mut sofar = self.body(first, &NO_TAIL, false)?;
        for (op, all, ast) in chain.into_iter().rev() {
            let right = self.body(ast, &NO_TAIL, false)?;
            sofar = self.combine((sofar, first), (right, ast), op, all)?;
        }
        if known { self.decide_output(sofar) } else { Ok(sofar) }
    }

    /// Combines two relations, cast to the common types of their columns.
    pub(crate) fn combine(
        &mut self,
        (left, first): (Rel, &SetExpr),
        (right, ast): (Rel, &SetExpr),
        op: SetOpKind,
        all: bool,
    ) -> Result<Rel> {
        let a = left.output();
        let b = right.output();
        if a.len() != b.len() {
            return Err(self.at(
                Error::new(
                    ErrorKind::SyntaxError,
                    format!("each {} query must have the same number of columns", word(op)),
                ),
                column_span(ast, 0),
            ));
        }
        let mut types = Vec::with_capacity(a.len());
        for (i, (x, y)) in a.iter().zip(&b).enumerate() {
            let ty = common_type(&[x.ty.ty, y.ty.ty], word(op)).map_err(|e| self.at(e, column_span(ast, i)))?;
            let typmod = if x.ty == y.ty { x.ty.typmod } else { -1 };
            types.push(ColumnType { ty, typmod });
        }
        let left = self.cast_output_of(left, &types, Some(first))?;
        let right = self.cast_output_of(right, &types, Some(ast))?;
        let columns = a.iter().zip(&types).map(|(c, ty)| self.output(c.name.clone(), *ty)).collect();
        Ok(Rel::SetOp { op, all, left: Box::new(left), right: Box::new(right), columns })
    }

    /// Columns that are still undecided become text.
    pub(crate) fn decide_output(&mut self, rel: Rel) -> Result<Rel> {
        let types: Vec<ColumnType> =
            rel.output().iter().map(|c| if c.ty.ty == PgType::Unknown { PgType::Text.into() } else { c.ty }).collect();
        self.cast_output(rel, &types)
    }

    /// The relation with its columns cast: undecided literals in place, others by a projection on top.
    pub(crate) fn cast_output(&mut self, rel: Rel, types: &[ColumnType]) -> Result<Rel> {
        self.cast_output_of(rel, types, None)
    }

    /// As [`Binder::cast_output`], with the query that gives the columns, for the places of errors.
    pub(crate) fn cast_output_of(&mut self, mut rel: Rel, types: &[ColumnType], body: Option<&SetExpr>) -> Result<Rel> {
        for (i, ty) in types.iter().enumerate() {
            let span = body.map_or_else(Span::empty, |body| column_span(body, i));
            self.decide_column(&mut rel, i, *ty, span)?;
        }
        let columns = rel.output();
        if columns.iter().zip(types).all(|(c, ty)| c.ty.ty == ty.ty) {
            return Ok(rel);
        }
        let mut projected: Vec<(OutputColumn, Expr)> = Vec::with_capacity(columns.len());
        for (column, ty) in columns.into_iter().zip(types) {
            let expr = Expr::column(column.id, column.ty);
            let expr = self.implicit(expr, ty.ty, Span::empty())?;
            let output = self.output(column.name, expr.ty);
            projected.push((output, expr));
        }
        Ok(Rel::Project { input: Box::new(rel), columns: projected })
    }

    /// As [`Binder::decide_column`], for a column by its identity: the type that it has then, if it is there.
    fn decide_named(&mut self, rel: &mut Rel, id: ColumnId, ty: ColumnType, span: Span) -> Result<Option<ColumnType>> {
        let Some(at) = rel.output().iter().position(|column| column.id == id) else { return Ok(None) };
        self.decide_column(rel, at, ty, span)?;
        Ok(rel.output().get(at).map(|column| column.ty))
    }

    fn decide_column(&mut self, rel: &mut Rel, i: usize, ty: ColumnType, span: Span) -> Result<()> {
        match rel {
            Rel::Project { input, columns } => {
                let Some((output, expr)) = columns.get_mut(i) else {
                    return Ok(());
                };
                if output.ty.ty != PgType::Unknown {
                    return Ok(());
                }
                if let ExprKind::Column(id) = expr.kind {
                    expr.ty = self.decide_named(input, id, ty, span)?.unwrap_or(expr.ty);
                    output.ty = expr.ty;
                }
                if output.ty.ty == PgType::Unknown {
                    let taken = std::mem::replace(expr, Expr::literal(Datum::Null, PgType::Unknown));
                    *expr = self.implicit(taken, ty.ty, span)?;
                    output.ty = expr.ty;
                }
                Ok(())
            }
            Rel::Alias { input, columns } => {
                if let Some((output, id)) = columns.get_mut(i)
                    && output.ty.ty == PgType::Unknown
                {
                    output.ty = self.decide_named(input, *id, ty, span)?.unwrap_or(output.ty);
                }
                Ok(())
            }
            Rel::Limit { input, .. }
            | Rel::Filter { input, .. }
            | Rel::Sort { input, .. }
            | Rel::DistinctOn { input, .. } => self.decide_column(input, i, ty, span),
            Rel::With { body, .. } => self.decide_column(body, i, ty, span),
            Rel::SetOp { left, right, columns, .. } => {
                if columns.get(i).is_some_and(|c| c.ty.ty == PgType::Unknown) {
                    self.decide_column(left, i, ty, span)?;
                    self.decide_column(right, i, ty, span)?;
                    columns[i].ty = ty;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn shape(op: SetOperator, quantifier: SetQuantifier, right: &SetExpr) -> Result<(SetOpKind, bool, &SetExpr)> {
    let op = match op {
        SetOperator::Union => SetOpKind::Union,
        SetOperator::Except => SetOpKind::Except,
        SetOperator::Intersect => SetOpKind::Intersect,
        SetOperator::Minus => return Err(Error::unsupported("MINUS")),
    };
    let all = match quantifier {
        SetQuantifier::All => true,
        SetQuantifier::Distinct | SetQuantifier::None => false,
        SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName => {
            return Err(Error::unsupported("set operation BY NAME"));
        }
    };
    Ok((op, all, right))
}
