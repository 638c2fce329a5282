//! `left op ANY (array)` and `left op ALL (array)`.

use datafusion::logical_expr::{ColumnarValue, Expr as DfExpr, Operator, cast as native_cast};
use stratos_types::{ArrayDatum, Datum, Error, PgType, Result};

use super::Lowerer;
use super::deep::WIDTH_MAX;
use super::expr::{among, common_type, comparable, may_fail};
use super::kernel;
use super::udf::{RowOp, literal};
use super::walk::Facts;
use crate::arrow::{arrow_type, needs_equality_key, scalar_of};
use crate::functions::Function;
use crate::ir::{Expr, ExprKind, Quantifier};

impl Lowerer<'_> {
    /// The test against an array. One that is the same for all rows becomes a list where the operator is equality: drivers
    /// write IN so, the scan makes key lookups of it, and what is left to ask of a row is one search in a set.
    pub(super) fn quantified_array(
        &self,
        quantifier: Quantifier,
        operator: &'static Function,
        left: &Expr,
        array: &Expr,
    ) -> Result<DfExpr> {
        let by_row = || self.row_op(RowOp::Quantified(quantifier, operator), &[left, array], PgType::Bool);
        let known = self.constant_array(array)?;
        let items = match &known {
            Some(Datum::Array(items)) if !items.values.is_empty() => items,
            // Neither depends on the left side, unless evaluating that shows.
            Some(empty) if !may_fail(left) && !Facts::of_expr(left).volatile => {
                let value = if empty.is_null() { Datum::Null } else { Datum::Bool(quantifier == Quantifier::All) };
                return literal(PgType::Bool, &value);
            }
            _ => return by_row(),
        };
        let negated = match (quantifier, kernel::comparison(operator)) {
            (Quantifier::Any, Some(Operator::Eq)) => Some(false),
            (Quantifier::All, Some(Operator::NotEq)) => Some(true),
            _ => None,
        };
        if let (Some(negated), Some(common)) = (negated, common_type(left.ty.ty, items.element)) {
            return self.member(left, items, common, negated);
        }
        if quantifier == Quantifier::Any && items.values.len() <= WIDTH_MAX {
            let list: Vec<Expr> = items.values.iter().map(|v| Expr::literal(v.clone(), items.element)).collect();
            return self.in_list(operator, left, &list);
        }
        by_row()
    }

    /// The value of an array that does not depend on the row, as far as it is known before the statement runs.
    fn constant_array(&self, array: &Expr) -> Result<Option<Datum>> {
        Ok(match &array.kind {
            ExprKind::Literal(value) => Some(value.clone()),
            ExprKind::Param(n) => {
                self.tie_to_execution();
                Some(self.param(*n)?.clone())
            }
            ExprKind::Column(id) => self.env.bindings.get(id).map(|(_, value)| value.clone()),
            _ if is_fixed(array) => {
                self.tie_to_execution();
                // What fails is left to fail when it is needed.
                crate::eval::eval(array, &(), &self.statement.params, &self.statement.eval).ok()
            }
            _ => None,
        })
    }

    /// Whether the left side is among the items (`negated`: is not), both brought to their common type.
    fn member(&self, left: &Expr, items: &ArrayDatum, common: PgType, negated: bool) -> Result<DfExpr> {
        let form = arrow_type(common);
        let lowered = self.expr(left)?;
        let lowered = if arrow_type(left.ty.ty) == form { lowered } else { native_cast(lowered, form.clone()) };
        let constant = |value: &Datum| -> Result<DfExpr> {
            let scalar = scalar_of(items.element, value)?
                .cast_to(&form)
                .map_err(|e| Error::internal(format_args!("an array's element: {e}")))?;
            let whole = DfExpr::Literal(scalar.clone(), None);
            if !needs_equality_key(common) {
                return Ok(whole);
            }
            // Computed here, not by the optimizer one by one.
            Ok(match kernel::equality_key(&ColumnarValue::Scalar(scalar), common)? {
                ColumnarValue::Scalar(key) => DfExpr::Literal(key, None),
                ColumnarValue::Array(_) => comparable(whole, common),
            })
        };
        let list = items.values.iter().map(constant).collect::<Result<_>>()?;
        Ok(among(comparable(lowered, common), list, negated))
    }
}

/// Whether an array is made of constants.
fn is_fixed(array: &Expr) -> bool {
    match &array.kind {
        ExprKind::Array(items) => items.iter().all(Expr::is_constant),
        ExprKind::Cast { arg, .. } => is_fixed(arg),
        _ => array.is_constant(),
    }
}
