//! `FETCH FIRST … ROWS WITH TIES`: the rows by number, and those that are equal to the last one.

use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::Binder;
use crate::ir::{Expr, ExprKind, OutputColumn, Rel, SortKey, WindowCall, WindowFunction};

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
            return Err(Error::unsupported("WITH TIES of DISTINCT ON"));
        };
        let columns = input.output();
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
        let mut wanted = vec![self.operator("<=", Some(rank_value), last, None)?];
        if let Some(skipped) = skipped {
            wanted.push(self.operator(">", Some(number_value), skipped, None)?);
        }
        let predicate = Expr { kind: ExprKind::And(wanted), ty: PgType::Bool.into() };
        let kept = Rel::Filter { input: Box::new(window), predicate };
        let columns = columns.into_iter().map(|c| (c.clone(), Expr::column(c.id, c.ty))).collect();
        Ok(Rel::Sort { input: Box::new(Rel::Project { input: Box::new(kept), columns }), keys })
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
