//! Long lists of rows that columns are compared with, `(a, b) IN ((1, 2), …)`: one search in a set, and keys for a scan.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::logical_expr::{Expr as DfExpr, Operator};
use stratos_types::{Datum, PgType, Result, key};

use super::Lowerer;
use super::deep::MERGED_ABOVE;
use super::kernel;
use super::udf::{RowFunction, RowOp};
use crate::fit::fit_number;
use crate::functions::Function;
use crate::ir::{ColumnId, Expr, ExprKind};

/// The rows of such a list: no value is NULL, and each is of its column's type.
#[derive(Debug, PartialEq)]
pub(crate) struct TupleSet {
    types: Vec<PgType>,
    tuples: Vec<Vec<Datum>>,
    keys: HashSet<Vec<u8>>,
}

impl TupleSet {
    fn new(types: Vec<PgType>, tuples: Vec<Vec<Datum>>) -> Self {
        let keys = tuples.iter().map(|tuple| encoded(&types, tuple)).collect();
        TupleSet { types, tuples, keys }
    }

    /// The rows.
    pub fn tuples(&self) -> &[Vec<Datum>] {
        &self.tuples
    }

    /// Whether a row is one of them; unknown where that depends on what is NULL in it.
    pub(super) fn contains(&self, values: &[Datum]) -> Datum {
        if !values.iter().any(Datum::is_null) {
            return Datum::Bool(self.keys.contains(&encoded(&self.types, values)));
        }
        let agrees = |tuple: &Vec<Datum>| {
            let mut fields = values.iter().zip(tuple).zip(&self.types);
            fields.all(|((value, other), ty)| value.is_null() || key::compare(*ty, value, other).is_eq())
        };
        if self.tuples.iter().any(agrees) { Datum::Null } else { Datum::Bool(false) }
    }
}

/// Equal rows have equal encodings.
fn encoded(types: &[PgType], values: &[Datum]) -> Vec<u8> {
    let mut out = Vec::new();
    for (ty, value) in types.iter().zip(values) {
        key::encode_column(&mut out, *ty, value, false, false);
    }
    out
}

/// The columns and the rows of a condition that asks for membership.
pub(crate) fn membership(condition: &DfExpr) -> Option<(&[DfExpr], &Arc<TupleSet>)> {
    let DfExpr::ScalarFunction(call) = condition else { return None };
    match call.func.inner().downcast_ref::<RowFunction>()?.operation() {
        RowOp::Member(set) => Some((&call.args, set)),
        _ => None,
    }
}

/// `column = constant`, either way round.
pub(super) struct Equality<'e> {
    pub column: &'e Expr,
    pub id: ColumnId,
    pub function: &'static Function,
    pub value: &'e Expr,
}

/// The parts of an equality of a column with a constant whose values the column's type can take in.
pub(super) fn equality(term: &Expr) -> Option<Equality<'_>> {
    let ExprKind::Call { function, args } = &term.kind else { return None };
    let [left, right] = args.as_slice() else { return None };
    if kernel::comparison(function) != Some(Operator::Eq) {
        return None;
    }
    let same = left.ty.ty == right.ty.ty;
    let integer = |e: &Expr| matches!(e.ty.ty, PgType::Int2 | PgType::Int4 | PgType::Int8);
    // The other way round the function has its types in another order.
    let (column, value) = if same && is_constant(left) { (right, left) } else { (left, right) };
    let ExprKind::Column(id) = column.kind else { return None };
    let fits = is_constant(value) && (same || integer(column) && integer(value));
    fits.then_some(Equality { column, id, function, value })
}

/// A value that is given, perhaps in another type.
pub(super) fn is_constant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Cast { arg, .. } => is_constant(arg),
        _ => expr.is_given(),
    }
}

impl Lowerer<'_> {
    /// A long OR of `a = 1 AND b = 2`, all with the same columns, as a search in a set.
    pub(super) fn tuple_member(&self, expr: &Expr) -> Result<Option<DfExpr>> {
        let ExprKind::Or(terms) = &expr.kind else { return Ok(None) };
        if terms.len() <= MERGED_ABOVE {
            return Ok(None);
        }
        let Some((columns, rows)) = rows_of(terms) else { return Ok(None) };
        let outer = |column: &&Expr| match column.kind {
            ExprKind::Column(id) => self.is_given(id),
            _ => true,
        };
        let types: Vec<PgType> = columns.iter().map(|column| column.ty.ty).collect();
        let no_key =
            |ty: &PgType| ty.element().is_some() || matches!(ty, PgType::Json | PgType::Jsonb | PgType::Record);
        if columns.iter().any(outer) || types.iter().any(no_key) {
            return Ok(None);
        }
        if rows.iter().flatten().any(|value| !matches!(value.kind, ExprKind::Literal(_))) {
            self.tie_to_execution();
        }
        let value_of = |(value, ty): (&&Expr, &PgType)| {
            // What fails is left to fail when it is needed; NULL, and what no value of the column equals, to be asked row by row.
            let value = crate::eval::eval(value, &(), &self.statement.params, &self.statement.eval).ok()?;
            fit_number(value, *ty).equal()
        };
        let tuples: Option<Vec<Vec<Datum>>> =
            rows.iter().map(|row| row.iter().zip(&types).map(value_of).collect()).collect();
        let Some(tuples) = tuples else { return Ok(None) };
        let args = columns.into_iter().map(|column| self.expr(column)).collect::<Result<_>>()?;
        let set = Arc::new(TupleSet::new(types.clone(), tuples));
        Ok(Some(RowFunction::call(RowOp::Member(set), types, PgType::Bool, args)))
    }
}

/// The columns that each term fixes, two at least, and the values that it fixes them at.
fn rows_of(terms: &[Expr]) -> Option<(Vec<&Expr>, Vec<Vec<&Expr>>)> {
    let mut columns: Vec<(ColumnId, &Expr)> = Vec::new();
    let mut rows = Vec::with_capacity(terms.len());
    for (at, term) in terms.iter().enumerate() {
        let equalities = term.conjuncts().into_iter().map(equality).collect::<Option<Vec<_>>>()?;
        if at == 0 {
            columns.extend(equalities.iter().map(|e| (e.id, e.column)));
        }
        if equalities.len() != columns.len() {
            return None;
        }
        let of_column = |(id, _): &(ColumnId, &Expr)| {
            let mut found = equalities.iter().filter(|e| e.id == *id);
            found.next().filter(|_| found.next().is_none()).map(|e| e.value)
        };
        rows.push(columns.iter().map(of_column).collect::<Option<Vec<_>>>()?);
    }
    (columns.len() > 1).then(|| (columns.into_iter().map(|(_, column)| column).collect(), rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_makes_unknown_only_what_could_be_there() {
        let row = |a: i32, b: &str| vec![Datum::Int4(a), Datum::Text(b.into())];
        let set = TupleSet::new(vec![PgType::Int4, PgType::Text], vec![row(1, "a"), row(2, "b")]);
        assert_eq!(set.contains(&row(2, "b")), Datum::Bool(true));
        assert_eq!(set.contains(&row(2, "a")), Datum::Bool(false));
        assert_eq!(set.contains(&[Datum::Null, Datum::Text("a".into())]), Datum::Null);
        assert_eq!(set.contains(&[Datum::Null, Datum::Text("c".into())]), Datum::Bool(false));
        assert_eq!(set.contains(&[Datum::Null, Datum::Null]), Datum::Null);
    }
}
