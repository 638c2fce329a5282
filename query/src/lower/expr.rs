//! Expressions.

use std::sync::Arc;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, Case, InList};
use datafusion::logical_expr::{Expr as DfExpr, Operator, cast as native_cast};
use stratos_types::{ColumnType, Datum, Error, PgType, Result, TypeCategory};

use super::deep::{merge_equalities, pinned};
use super::kernel;
use super::rel::Lowerer;
use super::repeated::Repeated;
use super::subquery::{SubqueryPlan, SubqueryUse};
use super::template::open_parameter;
use super::udf::{RowFunction, RowOp, literal};
use super::walk::Facts;
use crate::arrow::{arrow_type, needs_equality_key};
use crate::fit::{End, Fit, fit, is_moment};
use crate::functions::{Function, Kernel, Volatility};
use crate::ir::{ColumnId, Expr, ExprKind, Rel, SubqueryKind};

/// The name of a column inside plans.
pub(crate) fn column_name(id: ColumnId) -> String {
    format!("c{}", id.0)
}

/// A column inside plans.
pub(crate) fn column(id: ColumnId) -> DfExpr {
    DfExpr::Column(Column::new_unqualified(column_name(id)))
}

/// What comparisons, grouping, joins and set operations must look at instead of the value.
pub(crate) fn comparable(expr: DfExpr, ty: PgType) -> DfExpr {
    if needs_equality_key(ty) { equality_key(expr, ty) } else { expr }
}

/// What ORDER BY must look at instead of the value, where peers (`peers`) must have one and the same key or not.
pub(crate) fn sortable(expr: DfExpr, ty: PgType, peers: bool) -> DfExpr {
    // The order of the bytes of numeric and its kin is the order of the values, the form breaking ties.
    let by_form = matches!(ty, PgType::Numeric | PgType::Interval | PgType::TimeTz) && !peers;
    if kernel::keyed_by_bytes(ty) || needs_equality_key(ty) && !by_form { equality_key(expr, ty) } else { expr }
}

fn equality_key(expr: DfExpr, ty: PgType) -> DfExpr {
    RowFunction::call(RowOp::EqualityKey, vec![ty], ty, vec![expr])
}

/// A comparison with a constant on its right. The optimizer takes `a = 2` and `2 = a` for conditions that exclude each other.
fn column_first(left: DfExpr, op: Operator, right: DfExpr) -> (DfExpr, Operator, DfExpr) {
    let constant = |e: &DfExpr| e.column_refs().is_empty() && !e.is_volatile();
    match op.swap() {
        Some(mirrored) if constant(&left) && !constant(&right) => (right, mirrored, left),
        _ => (left, op, right),
    }
}

fn binary(left: DfExpr, op: Operator, right: DfExpr) -> DfExpr {
    DfExpr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// Whether a value is among others (`negated`: is not). NULL stands beside the list, not in it: where the optimizer makes one list
/// of several (`x NOT IN (1, NULL) AND x IN (2, 3)`) it would take it for a value that equals no other.
pub(super) fn among(value: DfExpr, mut list: Vec<DfExpr>, negated: bool) -> DfExpr {
    let count = list.len();
    list.retain(|item| !matches!(item, DfExpr::Literal(item, _) if item.is_null()));
    let with_null = list.len() < count;
    let unknown = DfExpr::Literal(ScalarValue::Boolean(None), None);
    if list.is_empty() && with_null {
        return unknown;
    }
    let test = DfExpr::InList(InList::new(Box::new(value), list, negated));
    match (with_null, negated) {
        (false, _) => test,
        (true, false) => binary(test, Operator::Or, unknown),
        (true, true) => binary(test, Operator::And, unknown),
    }
}

/// CASE. The optimizer makes ANDs and ORs of a searched one that is boolean, and would evaluate all its parts for all
/// rows; it lets `CASE true WHEN …` alone.
pub(super) fn lazy_case(
    branches: Vec<(Box<DfExpr>, Box<DfExpr>)>,
    otherwise: Option<Box<DfExpr>>,
    ty: PgType,
) -> DfExpr {
    let operand = (ty == PgType::Bool).then(|| Box::new(datafusion::logical_expr::lit(true)));
    DfExpr::Case(Case::new(operand, branches, otherwise))
}

/// All of them; none is true.
pub(crate) fn conjunction(list: impl IntoIterator<Item = DfExpr>) -> Option<DfExpr> {
    joined(list.into_iter().collect(), Operator::And)
}

/// A chain of one associative operator as a tree that is as flat as can be.
fn joined(mut list: Vec<DfExpr>, op: Operator) -> Option<DfExpr> {
    if list.len() < 2 {
        return list.pop();
    }
    let right = list.split_off(list.len() / 2);
    Some(binary(joined(list, op)?, op, joined(right, op)?))
}

impl Lowerer<'_> {
    /// An expression over the columns of the relation below; bound outer columns and parameters become constants.
    pub fn expr(&self, expr: &Expr) -> Result<DfExpr> {
        if let Some(merged) = merge_equalities(expr) {
            return self.expr(&merged);
        }
        if let Some(member) = self.tuple_member(expr)? {
            return Ok(member);
        }
        let computed = self.constant_members(expr);
        let expr = computed.as_ref().unwrap_or(expr);
        if let Some(whole) = self.by_row(expr)? {
            // What all its branches say of a column stays where a scan can see it; the whole is no other for that.
            let pinned = pinned(expr).iter().map(|list| self.expr(list)).collect::<Result<Vec<_>>>()?;
            return conjunction(pinned.into_iter().chain([whole])).ok_or_else(|| Error::internal("no condition"));
        }
        let ty = expr.ty.ty;
        Ok(match &expr.kind {
            ExprKind::Literal(value) => literal(ty, value)?,
            ExprKind::Param(n) => match self.is_template().then(|| open_parameter(*n, ty)).flatten() {
                Some(open) => open,
                None => {
                    self.tie_to_execution();
                    literal(ty, self.param(*n)?)?
                }
            },
            ExprKind::Column(id) => match self.env.bindings.get(id) {
                Some((ty, value)) => literal(*ty, value)?,
                None => match self.open_column(*id) {
                    Some(n) => open_parameter(n, ty).ok_or_else(|| Error::internal("a value that decides the plan"))?,
                    None => column(*id),
                },
            },
            ExprKind::Call { function, args } => self.call(function, args, ty)?,
            ExprKind::Cast { arg, explicit } => self.cast(arg, expr.ty, *explicit)?,
            ExprKind::And(list) => self.guarded(list, true)?,
            ExprKind::Or(list) => self.guarded(list, false)?,
            ExprKind::Not(arg) => DfExpr::Not(Box::new(self.expr(arg)?)),
            ExprKind::IsNull(arg) => DfExpr::IsNull(Box::new(self.expr(arg)?)),
            ExprKind::NotDistinct { equals, left, right } => {
                if let Some((l, Operator::Eq, r)) = self.comparison(equals, left, right)? {
                    binary(l, Operator::IsNotDistinctFrom, r)
                } else {
                    self.row_op(RowOp::NotDistinct(equals), &[left, right], ty)?
                }
            }
            ExprKind::Case { branches, otherwise } => lazy_case(
                branches
                    .iter()
                    .map(|b| Ok((Box::new(self.expr(&b.when)?), Box::new(self.expr(&b.then)?))))
                    .collect::<Result<_>>()?,
                otherwise.as_deref().map(|e| self.expr(e).map(Box::new)).transpose()?,
                ty,
            ),
            ExprKind::Coalesce(list) => self.coalesce(list, ty)?,
            ExprKind::Extremum { greatest, less, args } => {
                let args: Vec<&Expr> = args.iter().collect();
                self.row_op(RowOp::Extremum { greatest: *greatest, less }, &args, ty)?
            }
            ExprKind::InList { equals, arg, list } => self.in_list(equals, arg, list)?,
            ExprKind::Quantified { quantifier, operator, left, array } => {
                self.quantified_array(*quantifier, operator, left, array)?
            }
            ExprKind::Array(list) => {
                let element = ty.element().ok_or_else(|| Error::internal("ARRAY[] of no array type"))?;
                let args: Vec<&Expr> = list.iter().collect();
                self.row_op(RowOp::Array(element), &args, ty)?
            }
            ExprKind::Subscript { array, index } => self.row_op(RowOp::Subscript, &[array, index], ty)?,
            ExprKind::Row(list, names) => {
                let args: Vec<&Expr> = list.iter().collect();
                self.row_op(RowOp::Row(names.clone()), &args, ty)?
            }
            ExprKind::Subquery { kind, query } => {
                // It remembers its results.
                self.tie_to_execution();
                let (usage, left) = match kind {
                    SubqueryKind::Scalar => (SubqueryUse::Scalar, None),
                    SubqueryKind::Exists => (SubqueryUse::Exists, None),
                    SubqueryKind::Array => (
                        SubqueryUse::Array(ty.element().ok_or_else(|| Error::internal("ARRAY() of no array type"))?),
                        None,
                    ),
                    SubqueryKind::Quantified { quantifier, operator, left } => (
                        SubqueryUse::Quantified {
                            quantifier: *quantifier,
                            operator,
                            left: left.ty.ty,
                            right: query.output().first().map_or(left.ty.ty, |column| column.ty.ty),
                        },
                        Some(left.as_ref()),
                    ),
                };
                let facts = Facts::of(query);
                let outer: Vec<_> =
                    facts.free().into_iter().filter(|(id, _)| !self.env.bindings.contains_key(id)).collect();
                let mut types: Vec<PgType> = left.iter().map(|e| e.ty.ty).collect();
                types.extend(outer.iter().map(|(_, ty)| *ty));
                let mut args = left.iter().map(|e| self.expr(e)).collect::<Result<Vec<_>>>()?;
                for (id, ty) in &outer {
                    args.push(self.expr(&Expr::column(*id, (*ty).into()))?);
                }
                let repeated = Repeated::new(self.env.clone(), outer);
                let plan = SubqueryPlan::new(usage, query.clone(), repeated, facts.volatile, self.statement);
                RowFunction::call(RowOp::Subquery(Arc::new(plan)), types, ty, args)
            }
        })
    }

    pub(super) fn param(&self, n: usize) -> Result<&Datum> {
        self.statement.params.get(n).ok_or_else(|| {
            Error::new(stratos_types::ErrorKind::UndefinedParameter, format!("there is no parameter ${}", n + 1))
        })
    }

    /// Any operation on lowered arguments.
    pub(super) fn row_op(&self, op: RowOp, args: &[&Expr], ret: PgType) -> Result<DfExpr> {
        let types = args.iter().map(|e| e.ty.ty).collect();
        let args = args.iter().map(|e| self.expr(e)).collect::<Result<_>>()?;
        Ok(RowFunction::call(op, types, ret, args))
    }

    fn call(&self, function: &'static Function, args: &[Expr], ret: PgType) -> Result<DfExpr> {
        if let [left, right] = args
            && ret == PgType::Bool
            && let Some((l, op, r)) = self.comparison(function, left, right)?
        {
            let (l, op, r) = column_first(l, op, r);
            return Ok(binary(l, op, r));
        }
        let refs: Vec<&Expr> = args.iter().collect();
        if let [left, right] = args
            && let Some(bounded) = self.moment_comparison(function, left, right)?
        {
            return Ok(bounded);
        }
        if let Some(kernel) = function.kernel
            && matches!(kernel, Kernel::Add | Kernel::Sub | Kernel::Mul | Kernel::Div | Kernel::Rem | Kernel::Neg)
            && args.iter().all(|a| a.ty.ty == ret)
            && matches!(ret, PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Float4 | PgType::Float8)
        {
            return self.row_op(RowOp::Arithmetic(function, kernel), &refs, ret);
        }
        if function.volatility != Volatility::Immutable {
            // The optimizer computes what is constant for a statement.
            self.tie_to_execution();
        }
        self.row_op(RowOp::Call(function), &refs, ret)
    }

    /// The two sides of a comparison as columns that compare as SQL says.
    pub(super) fn comparison(
        &self,
        function: &Function,
        left: &Expr,
        right: &Expr,
    ) -> Result<Option<(DfExpr, Operator, DfExpr)>> {
        let Some(op) = kernel::comparison(function) else {
            return Ok(None);
        };
        let (lt, rt) = (left.ty.ty, right.ty.ty);
        let (l, r) = (self.expr(left)?, self.expr(right)?);
        let Some(common) = common_type(lt, rt) else {
            return Ok(None);
        };
        let side = |e: DfExpr, ty: PgType| {
            if arrow_type(ty) == arrow_type(common) { e } else { native_cast(e, arrow_type(common)) }
        };
        let (l, r) = (side(l, lt), side(r, rt));
        // A float that is a constant other than zero or NaN equals only itself. (Of greater and less this does not hold: a NaN
        // with a sign would be less.)
        let plain = |e: &DfExpr| matches!(e, DfExpr::Literal(v, _) if plain_float(v));
        if matches!(op, Operator::Eq | Operator::NotEq) && (plain(&l) || plain(&r)) {
            return Ok(Some((l, op, r)));
        }
        Ok(Some((comparable(l, common), op, comparable(r, common))))
    }

    /// A comparison across dates and timestamps with a value that is the same for all rows, as bounds in the other side's
    /// own type, which a scan can make keys of.
    fn moment_comparison(&self, function: &'static Function, left: &Expr, right: &Expr) -> Result<Option<DfExpr>> {
        let Some(op) = kernel::comparison(function) else { return Ok(None) };
        if left.ty.ty == right.ty.ty || !is_moment(left.ty.ty) || !is_moment(right.ty.ty) {
            return Ok(None);
        }
        let (side, op, value) = match (left.is_constant(), right.is_constant()) {
            (false, true) => (left, Some(op), right),
            (true, false) => (right, op.swap(), left),
            _ => return Ok(None),
        };
        let (Some(op), ty) = (op, side.ty.ty) else { return Ok(None) };
        self.tie_to_execution();
        // What fails is left to fail when it is needed.
        let eval = &self.statement.eval;
        let Ok(value) = crate::eval::eval(value, &(), &self.statement.params, eval) else { return Ok(None) };
        let Ok(fit) = fit(value, ty, &eval.format.time_zone) else { return Ok(None) };
        let lowered = self.expr(side)?;
        if let Fit::Exact(value) = &fit {
            return Ok(Some(binary(lowered, op, literal(ty, value)?)));
        }
        let decided = matches!(fit, Fit::Between(..)) && !matches!(op, Operator::Eq | Operator::NotEq);
        let mut bounds = Vec::new();
        let sides = [
            (matches!(op, Operator::Gt | Operator::GtEq | Operator::Eq), fit.clone().low(true), Operator::GtEq),
            (matches!(op, Operator::Lt | Operator::LtEq | Operator::Eq), fit.high(true), Operator::LtEq),
        ];
        for (_, end, bound) in sides.into_iter().filter(|(bounded, ..)| *bounded) {
            if let End::At(value, _) = end {
                bounds.push(binary(lowered.clone(), bound, literal(ty, &value)?));
            }
        }
        if !decided || bounds.is_empty() {
            bounds.push(self.row_op(RowOp::Call(function), &[left, right], PgType::Bool)?);
        }
        Ok(conjunction(bounds))
    }

    fn cast(&self, arg: &Expr, to: ColumnType, explicit: bool) -> Result<DfExpr> {
        let from = arg.ty.ty;
        let same_form = from == to.ty || (plain_text(from) && plain_text(to.ty));
        if to.typmod < 0 && same_form {
            return self.expr(arg);
        }
        let widening = matches!(
            (from, to.ty),
            (PgType::Int2, PgType::Int4 | PgType::Int8)
                | (PgType::Int4, PgType::Int8)
                | (PgType::Int2 | PgType::Int4, PgType::Float8)
                | (PgType::Float4, PgType::Float8)
        );
        if widening {
            return Ok(native_cast(self.expr(arg)?, arrow_type(to.ty)));
        }
        let read = to.ty.element().unwrap_or(to.ty);
        if from.is_string() && read.category() == TypeCategory::DateTime && Facts::of_expr(arg).free().is_empty() {
            // It may say `now` or `today`, and the optimizer computes what is constant for a statement.
            self.tie_to_execution();
        }
        self.row_op(RowOp::Cast { to, explicit }, &[arg], to.ty)
    }

    fn coalesce(&self, list: &[Expr], ty: PgType) -> Result<DfExpr> {
        let (last, init) = list.split_last().ok_or_else(|| Error::internal("COALESCE of nothing"))?;
        if init.iter().any(|e| Facts::of_expr(e).volatile) {
            let args: Vec<&Expr> = list.iter().collect();
            return self.row_op(RowOp::Coalesce, &args, ty);
        }
        if init.is_empty() {
            return self.expr(last);
        }
        let branches = init
            .iter()
            .map(|e| {
                let value = self.expr(e)?;
                Ok((Box::new(DfExpr::IsNotNull(Box::new(value.clone()))), Box::new(value)))
            })
            .collect::<Result<_>>()?;
        Ok(lazy_case(branches, Some(Box::new(self.expr(last)?)), ty))
    }

    pub(super) fn in_list(&self, equals: &'static Function, arg: &Expr, list: &[Expr]) -> Result<DfExpr> {
        let ty = arg.ty.ty;
        if kernel::comparison(equals) == Some(Operator::Eq) && list.iter().all(|e| e.ty.ty == ty) {
            let item = |e: &Expr| match e.kind {
                ExprKind::Literal(Datum::Null) => self.expr(e),
                _ => Ok(comparable(self.expr(e)?, ty)),
            };
            let values = list.iter().map(item).collect::<Result<_>>()?;
            return Ok(among(comparable(self.expr(arg)?, ty), values, false));
        }
        let any = list
            .iter()
            .map(|item| self.call(equals, &[arg.clone(), item.clone()], PgType::Bool))
            .collect::<Result<Vec<_>>>()?;
        joined(any, Operator::Or).map_or_else(|| literal(PgType::Bool, &Datum::Bool(false)), Ok)
    }

    /// AND and OR. Operands that may fail (a division, the reading of a text) are evaluated only for rows that the
    /// others leave undecided: users rely on `x <> 0 AND 1 / x > 2`.
    fn guarded(&self, list: &[Expr], and: bool) -> Result<DfExpr> {
        let op = if and { Operator::And } else { Operator::Or };
        let mut safe = Vec::new();
        let mut risky = Vec::new();
        // Asked twice, these may answer differently.
        let mut once = Vec::new();
        for e in list {
            let target = match may_fail(e) {
                true => &mut risky,
                false if Facts::of_expr(e).volatile => &mut once,
                false => &mut safe,
            };
            target.push(self.expr(e)?);
        }
        let (safe, risky) = (joined(safe, op), joined(risky, op));
        let rest = match (safe, risky) {
            (Some(safe), Some(risky)) => {
                let decided =
                    if and { DfExpr::IsFalse(Box::new(safe.clone())) } else { DfExpr::IsTrue(Box::new(safe.clone())) };
                let guarded = lazy_case(
                    vec![(Box::new(decided), Box::new(literal(PgType::Bool, &Datum::Bool(!and))?))],
                    Some(Box::new(risky)),
                    PgType::Bool,
                );
                Some(binary(safe, op, guarded))
            }
            (safe, risky) => safe.or(risky),
        };
        match joined(once.into_iter().chain(rest).collect(), op) {
            Some(all) => Ok(all),
            None => literal(PgType::Bool, &Datum::Bool(and)),
        }
    }
}

/// The type that two operands of a comparison have in common, where Arrow can compare them.
pub(super) fn common_type(left: PgType, right: PgType) -> Option<PgType> {
    use PgType::{Float4, Float8, Int2, Int4, Int8};
    if left == right {
        return Some(left);
    }
    match (left, right) {
        (Int2, Int4) | (Int4, Int2) => Some(Int4),
        (Int2 | Int4, Int8) | (Int8, Int2 | Int4) => Some(Int8),
        (Float4, Float8) | (Float8, Float4) => Some(Float8),
        (a, b) if plain_text(a) && plain_text(b) => Some(PgType::Text),
        (a, b) if a.is_oid_like() && b.is_oid_like() => Some(PgType::Oid),
        _ => None,
    }
}

fn plain_text(ty: PgType) -> bool {
    ty.is_string() && ty != PgType::Bpchar
}

fn plain_float(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(v)) => *v != 0.0 && !v.is_nan(),
        ScalarValue::Float64(Some(v)) => *v != 0.0 && !v.is_nan(),
        _ => false,
    }
}

/// Whether a function may raise an error that a condition beside it commonly guards against.
pub(super) fn function_may_fail(function: &Function) -> bool {
    match function.kernel {
        Some(Kernel::Div | Kernel::Rem) => true,
        Some(_) => false,
        None => {
            let partial =
                ["sqrt", "ln", "log", "log10", "power", "pow", "exp", "to_date", "to_timestamp", "to_number", "chr"];
            ["div", "mod"].iter().any(|s| function.name.contains(s)) || partial.contains(&function.name)
        }
    }
}

/// Whether a cast is the reading of a text.
pub(super) fn reads_text(from: PgType, to: PgType) -> bool {
    (from.is_string() || from == PgType::Json) && !to.is_string()
}

/// Whether evaluating may raise an error that a condition beside it commonly guards against.
pub(crate) fn may_fail(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Literal(_) | ExprKind::Param(_) | ExprKind::Column(_) => false,
        ExprKind::Call { function, args } => function_may_fail(function) || args.iter().any(may_fail),
        ExprKind::Cast { arg, .. } => (reads_text(arg.ty.ty, expr.ty.ty) && !arg.is_given()) || may_fail(arg),
        ExprKind::Not(e) | ExprKind::IsNull(e) => may_fail(e),
        ExprKind::And(list)
        | ExprKind::Or(list)
        | ExprKind::Coalesce(list)
        | ExprKind::Array(list)
        | ExprKind::Row(list, _) => list.iter().any(may_fail),
        ExprKind::Extremum { args, .. } => args.iter().any(may_fail),
        ExprKind::NotDistinct { left, right, .. } => may_fail(left) || may_fail(right),
        ExprKind::Case { branches, otherwise } => {
            branches.iter().any(|b| may_fail(&b.when) || may_fail(&b.then))
                || otherwise.as_deref().is_some_and(may_fail)
        }
        ExprKind::InList { arg, list, .. } => may_fail(arg) || list.iter().any(may_fail),
        ExprKind::Quantified { left, array, .. } => may_fail(left) || may_fail(array),
        ExprKind::Subscript { array, index } => may_fail(array) || may_fail(index),
        ExprKind::Subquery { kind: SubqueryKind::Scalar, query } => one_row_may_fail(query),
        ExprKind::Subquery { .. } => false,
    }
}

/// Whether a subquery that must not give more than one row may give more, or may fail otherwise. Without groups there is one row.
pub(super) fn one_row_may_fail(query: &Rel) -> bool {
    let single = match query {
        Rel::Project { input, .. } => matches!(
            input.as_ref(),
            Rel::Aggregate { group_by, grouping_sets: None, groupings, .. } if group_by.is_empty() && groupings.is_empty()
        ),
        _ => false,
    };
    !single || rel_may_fail(query)
}

/// Whether evaluating some expression of a relation may raise such an error.
pub(super) fn rel_may_fail(rel: &Rel) -> bool {
    rel.exprs().into_iter().any(may_fail) || rel.inputs().into_iter().any(rel_may_fail)
}
