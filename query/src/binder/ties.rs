//! Limits that are filters on the rows' numbers: `FETCH FIRST … ROWS WITH TIES`, which goes on with the rows that are equal to the
//! last one, and counts that refer to the query around theirs.

use sqlparser::tokenizer::Span;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::Binder;
use crate::functions::{LIMIT_COUNT, OFFSET_COUNT};
use crate::ir::{CaseBranch, Expr, ExprKind, OutputColumn, Rel, SortKey, WindowCall, WindowFunction};

/// 2201W, 2201X of a constant that is no number of rows.
fn must_count(count: &Expr, kind: ErrorKind, clause: &str) -> Result<()> {
    match &count.kind {
        ExprKind::Literal(Datum::Int8(rows)) if *rows < 0 => {
            Err(Error::new(kind, format!("{clause} must not be negative")))
        }
        ExprKind::Literal(Datum::Null) if kind == ErrorKind::InvalidRowCountInLimit => {
            Err(Error::new(kind, "row count cannot be null in FETCH FIRST ... WITH TIES clause"))
        }
        _ => Ok(()),
    }
}

impl Binder<'_> {
    /// Of rows that are sorted, those behind the first `offset` whose rank is among the first `offset + limit`.
    pub(super) fn limited_with_ties(&mut self, rel: Rel, limit: Expr, offset: Option<Expr>) -> Result<Rel> {
        must_count(&limit, ErrorKind::InvalidRowCountInLimit, "LIMIT")?;
        if let Some(offset) = &offset {
            must_count(offset, ErrorKind::InvalidRowCountInOffset, "OFFSET")?;
        }
        let Rel::Sort { input, keys } = rel else {
            return Err(Error::internal("WITH TIES of rows in no order"));
        };
        let columns = input.output();
        // A count that comes with the execution is looked at there, by a limit that limits nothing.
        let counts = [Some(&limit), offset.as_ref()];
        let later = counts.into_iter().flatten().any(|count| !matches!(count.kind, ExprKind::Literal(_)));
        let faults = match later {
            true => Some((self.fault_of(&limit)?, offset.as_ref().map(|o| self.fault_of(o)).transpose()?)),
            false => None,
        };
        let (rank, rank_call) = self.numbering("rank", &keys);
        let (number, number_call) = self.numbering("row_number", &keys);
        let column = |output: &OutputColumn| Expr::column(output.id, output.ty);
        let (rank_value, number_value) = (column(&rank), column(&number));
        let window = Rel::Window { input, calls: vec![(rank, rank_call), (number, number_call)] };
        let none = || Expr::literal(Datum::Int8(0), PgType::Int8);
        // No offset is given as NULL, too.
        let skipped =
            offset.map(|offset| Expr { kind: ExprKind::Coalesce(vec![offset, none()]), ty: PgType::Int8.into() });
        let last = match skipped.clone() {
            Some(skipped) => self.operator("+", Some(skipped), limit, None)?,
            None => limit,
        };
        let among_first = self.operator("<=", Some(rank_value), last, None)?;
        let always = Expr::literal(Datum::Bool(true), PgType::Bool);
        let mut wanted = vec![match later {
            // A limit of NULL is none.
            true => Expr { kind: ExprKind::Coalesce(vec![among_first, always]), ty: PgType::Bool.into() },
            false => among_first,
        }];
        if let Some(skipped) = skipped {
            wanted.push(self.operator(">", Some(number_value), skipped, None)?);
        }
        let predicate = Expr { kind: ExprKind::And(wanted), ty: PgType::Bool.into() };
        let mut kept = Rel::Filter { input: Box::new(window), predicate };
        if let Some((limit, offset)) = faults {
            kept = Rel::Limit { input: Box::new(kept), limit: Some(limit), offset };
        }
        let columns = columns.into_iter().map(|c| (c.clone(), Expr::column(c.id, c.ty))).collect();
        Ok(Rel::Sort { input: Box::new(Rel::Project { input: Box::new(kept), columns }), keys })
    }

    /// Of rows, sorted or not, those behind the first `offset`, at most `limit`, where these differ from row to row of the query
    /// around this one.
    pub(super) fn limited_from_around(&mut self, rel: Rel, limit: Option<Expr>, offset: Option<Expr>) -> Result<Rel> {
        let columns = rel.output();
        let (input, keys) = match rel {
            Rel::Sort { input, keys } => (input, keys),
            other => (Box::new(other), Vec::new()),
        };
        let (number, call) = self.numbering("row_number", &keys);
        let number_value = Expr::column(number.id, number.ty);
        let window = Rel::Window { input, calls: vec![(number, call)] };
        let count = |b: &mut Self, name: &str, count: Expr| b.call_named(name, vec![count], Span::empty());
        let or = |value: Expr, other: Expr| {
            let ty = other.ty;
            Expr { kind: ExprKind::Coalesce(vec![value, other]), ty }
        };
        // A limit or offset of NULL is none.
        let skipped = match offset {
            Some(offset) => Some(or(count(self, OFFSET_COUNT, offset)?, Expr::literal(Datum::Int8(0), PgType::Int8))),
            None => None,
        };
        let mut wanted = Vec::with_capacity(2);
        if let Some(limit) = limit {
            let limit = count(self, LIMIT_COUNT, limit)?;
            let first = match skipped.clone() {
                Some(skipped) => self.operator("-", Some(number_value.clone()), skipped, None)?,
                None => number_value.clone(),
            };
            let within = self.operator("<=", Some(first), limit, None)?;
            wanted.push(or(within, Expr::literal(Datum::Bool(true), PgType::Bool)));
        }
        if let Some(skipped) = skipped {
            wanted.push(self.operator(">", Some(number_value), skipped, None)?);
        }
        let predicate = Expr { kind: ExprKind::And(wanted), ty: PgType::Bool.into() };
        let kept = Rel::Filter { input: Box::new(window), predicate };
        let columns = columns.into_iter().map(|c| (c.clone(), Expr::column(c.id, c.ty))).collect();
        let kept = Rel::Project { input: Box::new(kept), columns };
        Ok(if keys.is_empty() { kept } else { Rel::Sort { input: Box::new(kept), keys } })
    }

    /// A count that is negative, for a limit to find fault with, else NULL.
    fn fault_of(&mut self, count: &Expr) -> Result<Expr> {
        let when = self.operator("<", Some(count.clone()), Expr::literal(Datum::Int8(0), PgType::Int8), None)?;
        let kind = ExprKind::Case { branches: vec![CaseBranch { when, then: count.clone() }], otherwise: None };
        Ok(Expr { kind, ty: PgType::Int8.into() })
    }

    fn numbering(&mut self, name: &'static str, keys: &[SortKey]) -> (OutputColumn, WindowCall) {
        let call = WindowCall {
            function: WindowFunction::Builtin { name, args: Vec::new() },
            partition_by: Vec::new(),
            order_by: keys.to_vec(),
            frame: None,
            ty: PgType::Int8.into(),
        };
        (self.output(name.to_owned(), PgType::Int8.into()), call)
    }
}
