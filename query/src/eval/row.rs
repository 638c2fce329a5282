//! The row evaluator: what an expression is worth for one row.

use std::borrow::Cow;
use std::sync::Arc;

use stratos_types::{ArrayDatum, Datum, Error, ErrorKind, PgType, Result};

use super::cast::cast;
use super::fast;
use crate::functions::{Function, of_fair_length};
use crate::ir::{ColumnId, Expr, ExprKind, Quantifier};
use crate::session::EvalContext;

/// How deep expressions may nest. Chains of operators get deeper than what people nest; the binder refuses deeper ones before.
const MAX_DEPTH: u32 = 20_000;
/// Levels between two looks at the stack. A level takes a kilobyte or two of it.
const DEPTH_PER_CHECK: u32 = 16;

/// Where the columns' values come from.
pub trait ColumnSource {
    /// The value of a column, if this source has the column.
    fn column(&self, id: ColumnId) -> Option<&Datum>;
}

/// No columns: constants and parameters only.
impl ColumnSource for () {
    fn column(&self, _: ColumnId) -> Option<&Datum> {
        None
    }
}

/// Values of columns 0, 1, … in order.
impl ColumnSource for [Datum] {
    fn column(&self, id: ColumnId) -> Option<&Datum> {
        self.get(id.0 as usize)
    }
}

/// The value of an expression.
///
/// # Errors
/// As the functions and casts in it; an internal one for subqueries, which only plans can compute, and for columns that
/// `row` lacks.
pub fn eval<R: ColumnSource + ?Sized>(expr: &Expr, row: &R, params: &[Datum], context: &EvalContext) -> Result<Datum> {
    let evaluator = Evaluator { row, params, ctx: context };
    evaluator.value(expr, 0).map(Cow::into_owned)
}

/// Whether a condition holds: NULL is no.
///
/// # Errors
/// As [`eval`].
pub fn eval_condition<R: ColumnSource + ?Sized>(
    expr: &Expr,
    row: &R,
    params: &[Datum],
    context: &EvalContext,
) -> Result<bool> {
    let evaluator = Evaluator { row, params, ctx: context };
    Ok(evaluator.truth(expr, 0)? == Some(true))
}

/// Calls a function with values, NULL strictness applied.
///
/// # Errors
/// As the function.
pub fn call(ctx: &EvalContext, function: &Function, types: &[PgType], args: &[Datum]) -> Result<Datum> {
    if function.strict && args.iter().any(Datum::is_null) {
        return Ok(Datum::Null);
    }
    (function.eval)(ctx, types, args).and_then(|value| of_fair_length(ctx, value))
}

struct Evaluator<'a, R: ?Sized> {
    row: &'a R,
    params: &'a [Datum],
    ctx: &'a EvalContext,
}

fn as_truth(value: &Datum) -> Result<Option<bool>> {
    match value {
        Datum::Bool(b) => Ok(Some(*b)),
        Datum::Null => Ok(None),
        other => Err(Error::internal(format_args!("condition is {other:?}"))),
    }
}

fn from_truth(value: Option<bool>) -> Datum {
    value.map_or(Datum::Null, Datum::Bool)
}

impl<'a, R: ColumnSource + ?Sized> Evaluator<'a, R> {
    fn value(&self, expr: &'a Expr, depth: u32) -> Result<Cow<'a, Datum>> {
        match &expr.kind {
            ExprKind::Literal(value) => Ok(Cow::Borrowed(value)),
            ExprKind::Column(id) => self
                .row
                .column(*id)
                .map(Cow::Borrowed)
                .ok_or_else(|| Error::internal(format_args!("the row has no column {}", id.0))),
            ExprKind::Param(index) => self.params.get(*index).map(Cow::Borrowed).ok_or_else(|| {
                Error::new(ErrorKind::UndefinedParameter, format!("there is no parameter ${}", index + 1))
            }),
            _ if depth % DEPTH_PER_CHECK == DEPTH_PER_CHECK - 1 => self.on_stack(expr, depth + 1),
            _ if depth >= MAX_DEPTH => Err(Error::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded")),
            ExprKind::Call { function, args } => self.call(function, args, depth + 1).map(Cow::Owned),
            _ => self.compound(expr, depth + 1).map(Cow::Owned),
        }
    }

    /// [`Evaluator::value`] with more stack, if little is left.
    #[recursive::recursive]
    fn on_stack(&self, expr: &'a Expr, depth: u32) -> Result<Cow<'a, Datum>> {
        self.value(expr, depth)
    }

    fn truth(&self, expr: &'a Expr, depth: u32) -> Result<Option<bool>> {
        as_truth(self.value(expr, depth)?.as_ref())
    }

    fn call(&self, function: &'static Function, args: &'a [Expr], depth: u32) -> Result<Datum> {
        // One and two arguments, nearly all calls, do without allocation.
        match args {
            [a] => {
                let x = self.value(a, depth)?;
                if function.strict && x.is_null() {
                    return Ok(Datum::Null);
                }
                (function.eval)(self.ctx, &[a.ty.ty], std::slice::from_ref(x.as_ref()))
                    .and_then(|value| of_fair_length(self.ctx, value))
            }
            [a, b] => {
                let x = self.value(a, depth)?;
                let y = self.value(b, depth)?;
                self.binary(function, [a.ty.ty, b.ty.ty], x, y)
            }
            _ => {
                let mut values = Vec::with_capacity(args.len());
                for arg in args {
                    values.push(self.value(arg, depth)?.into_owned());
                }
                let types: Vec<PgType> = args.iter().map(|a| a.ty.ty).collect();
                call(self.ctx, function, &types, &values)
            }
        }
    }

    fn binary(&self, function: &Function, types: [PgType; 2], x: Cow<'_, Datum>, y: Cow<'_, Datum>) -> Result<Datum> {
        if function.strict && (x.is_null() || y.is_null()) {
            return Ok(Datum::Null);
        }
        // What pads a char(n) is no part of its value.
        if let Some(kernel) = function.kernel
            && types[0] != PgType::Bpchar
            && let Some(value) = fast::binary(kernel, &x, &y)
        {
            return Ok(value);
        }
        (function.eval)(self.ctx, &types, &[x.into_owned(), y.into_owned()])
            .and_then(|value| of_fair_length(self.ctx, value))
    }

    fn compound(&self, expr: &'a Expr, depth: u32) -> Result<Datum> {
        match &expr.kind {
            ExprKind::Cast { arg, explicit } => {
                let value = self.value(arg, depth)?;
                cast(self.ctx, &value, arg.ty.ty, expr.ty, *explicit)
            }
            ExprKind::And(terms) => self.chain(terms, depth, false),
            ExprKind::Or(terms) => self.chain(terms, depth, true),
            ExprKind::Not(arg) => Ok(from_truth(self.truth(arg, depth)?.map(|b| !b))),
            ExprKind::IsNull(arg) => {
                let null = match self.value(arg, depth)?.as_ref() {
                    Datum::Null => true,
                    // A row is NULL when all of it is.
                    Datum::Record(fields) => fields.iter().all(|(_, field)| field.is_null()),
                    _ => false,
                };
                Ok(Datum::Bool(null))
            }
            ExprKind::NotDistinct { equals, left, right } => {
                let (x, y) = (self.value(left, depth)?, self.value(right, depth)?);
                if x.is_null() || y.is_null() {
                    return Ok(Datum::Bool(x.is_null() && y.is_null()));
                }
                self.binary(equals, [left.ty.ty, right.ty.ty], x, y)
            }
            ExprKind::Case { branches, otherwise } => {
                for branch in branches {
                    if self.truth(&branch.when, depth)? == Some(true) {
                        return self.value(&branch.then, depth).map(Cow::into_owned);
                    }
                }
                match otherwise {
                    Some(otherwise) => self.value(otherwise, depth).map(Cow::into_owned),
                    None => Ok(Datum::Null),
                }
            }
            ExprKind::Coalesce(args) => {
                for arg in args {
                    let value = self.value(arg, depth)?;
                    if !value.is_null() {
                        return Ok(value.into_owned());
                    }
                }
                Ok(Datum::Null)
            }
            ExprKind::Extremum { greatest, less, args } => self.extremum(*greatest, less, args, depth),
            ExprKind::InList { equals, arg, list } => {
                let value = self.value(arg, depth)?;
                if value.is_null() && equals.strict {
                    return Ok(Datum::Null);
                }
                let mut found = Some(false);
                for item in list {
                    let right = self.value(item, depth)?;
                    let types = [arg.ty.ty, item.ty.ty];
                    let equal = self.binary(equals, types, Cow::Borrowed(value.as_ref()), right)?;
                    match as_truth(&equal)? {
                        Some(true) => return Ok(Datum::Bool(true)),
                        Some(false) => {}
                        None => found = None,
                    }
                }
                Ok(from_truth(found))
            }
            ExprKind::Quantified { quantifier, operator, left, array } => {
                let x = self.value(left, depth)?;
                let array = self.value(array, depth)?;
                self.quantified(*quantifier, operator, left.ty.ty, &x, &array)
            }
            ExprKind::Array(items) => {
                let element = expr.ty.ty.element().unwrap_or(PgType::Unknown);
                if element.element().is_some() {
                    return Err(Error::unsupported("multidimensional array"));
                }
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.value(item, depth)?.into_owned());
                }
                Ok(Datum::Array(Arc::new(ArrayDatum { element, values })))
            }
            ExprKind::Subscript { array, index } => {
                let values = self.value(array, depth)?;
                let index = self.value(index, depth)?;
                let (Datum::Array(values), Datum::Int4(index)) = (values.as_ref(), index.as_ref()) else {
                    return Ok(Datum::Null);
                };
                // The catalogs' vectors count from 0.
                let first = match array.ty.ty {
                    PgType::Int2Vector | PgType::OidVector => 0,
                    _ => 1,
                };
                let position = usize::try_from(i64::from(*index) - first).ok();
                let value = position.and_then(|i| values.values.get(i));
                Ok(value.cloned().unwrap_or(Datum::Null))
            }
            ExprKind::Row(fields, names) => {
                let mut values = Vec::with_capacity(fields.len());
                for field in fields {
                    values.push((field.ty.ty, self.value(field, depth)?.into_owned()));
                }
                Datum::row(values, names.clone())
            }
            ExprKind::Subquery { .. } => Err(Error::internal("a subquery cannot be evaluated row by row")),
            ExprKind::Literal(_) | ExprKind::Column(_) | ExprKind::Param(_) | ExprKind::Call { .. } => {
                self.value(expr, depth).map(Cow::into_owned)
            }
        }
    }

    /// AND (`decisive` false) and OR (`decisive` true): the first decisive term ends it, NULL is remembered.
    fn chain(&self, terms: &'a [Expr], depth: u32, decisive: bool) -> Result<Datum> {
        let mut result = Some(!decisive);
        for term in terms {
            match self.truth(term, depth)? {
                Some(value) if value == decisive => return Ok(Datum::Bool(decisive)),
                Some(_) => {}
                None => result = None,
            }
        }
        Ok(from_truth(result))
    }

    fn extremum(&self, greatest: bool, less: &Function, args: &'a [Expr], depth: u32) -> Result<Datum> {
        let mut best: Option<(Cow<'a, Datum>, PgType)> = None;
        for arg in args {
            let value = self.value(arg, depth)?;
            if value.is_null() {
                continue;
            }
            let better = match &best {
                None => true,
                Some((held, ty)) => {
                    let (held, new) = (Cow::Borrowed(held.as_ref()), Cow::Borrowed(value.as_ref()));
                    let test = if greatest {
                        self.binary(less, [*ty, arg.ty.ty], held, new)?
                    } else {
                        self.binary(less, [arg.ty.ty, *ty], new, held)?
                    };
                    as_truth(&test)? == Some(true)
                }
            };
            if better {
                best = Some((value, arg.ty.ty));
            }
        }
        Ok(best.map_or(Datum::Null, |(value, _)| value.into_owned()))
    }

    fn quantified(
        &self,
        quantifier: Quantifier,
        operator: &Function,
        left: PgType,
        x: &Datum,
        array: &Datum,
    ) -> Result<Datum> {
        let Datum::Array(array) = array else {
            return Ok(Datum::Null);
        };
        let decisive = quantifier == Quantifier::Any;
        let mut result = Some(!decisive);
        for value in &array.values {
            let types = [left, array.element];
            let test = self.binary(operator, types, Cow::Borrowed(x), Cow::Borrowed(value))?;
            match as_truth(&test)? {
                Some(value) if value == decisive => return Ok(Datum::Bool(decisive)),
                Some(_) => {}
                None => result = None,
            }
        }
        Ok(from_truth(result))
    }
}
