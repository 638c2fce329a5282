//! `rank(2) WITHIN GROUP (ORDER BY x)` and its kin: where a row would stand among those of a group. They are counts of the rows
//! that come before it.

use sqlparser::ast::{FunctionArg, FunctionArgExpr, Spanned};
use sqlparser::tokenizer::Span;
use stratos_types::{CastContext, Datum, Error, ErrorKind, PgType, Result};

use super::Binder;
use super::aggregate::CallShape;
use super::expr::not;
use super::query::{order_key, order_options};
use super::scope::Place;
use crate::functions::AggregateKind;
use crate::ir::{AggregateCall, CaseBranch, Expr, ExprKind};

/// Whether there is such an aggregate of that name.
pub(super) fn is_hypothetical(name: &str) -> bool {
    matches!(name, "rank" | "dense_rank" | "percent_rank" | "cume_dist")
}

fn boolean(kind: ExprKind) -> Expr {
    Expr { kind, ty: PgType::Bool.into() }
}

fn is_null(expr: &Expr) -> Expr {
    boolean(ExprKind::IsNull(Box::new(expr.clone())))
}

fn all(terms: Vec<Expr>) -> Expr {
    boolean(ExprKind::And(terms))
}

fn any(terms: Vec<Expr>) -> Expr {
    boolean(ExprKind::Or(terms))
}

/// What the counts of a call have in common.
struct Counted<'s> {
    name: &'s str,
    /// The query that they belong to.
    level: usize,
    filter: Option<Expr>,
}

impl Binder<'_> {
    /// A call of one, as an expression over the counts of the grouping below.
    pub(super) fn hypothetical(&mut self, shape: &CallShape<'_>) -> Result<Expr> {
        let (args, keys) = self.inside_aggregate(|b| {
            let args = shape.args.iter().map(|arg| b.plain_arg(arg)).collect::<Result<Vec<_>>>()?;
            let keys = shape.within_group.iter().map(|key| b.expr(order_key(key)?)).collect::<Result<Vec<_>>>()?;
            Ok((args, keys))
        })?;
        if args.len() != keys.len() {
            let types: Vec<String> = args.iter().chain(&keys).map(|e| e.ty.ty.to_string()).collect();
            let message = format!("function {}({}) does not exist", shape.name, types.join(", "));
            let hint = format!(
                "To use the hypothetical-set aggregate {}, the number of hypothetical direct arguments (here {}) must match the number of ordering columns (here {}).",
                shape.name,
                args.len(),
                keys.len()
            );
            return Err(self.at(Error::new(ErrorKind::UndefinedFunction, message).with_hint(hint), shape.span));
        }
        let filter = self.aggregate_filter(shape.filter)?;
        let level = self.aggregate_level(&keys.iter().chain(&filter).collect::<Vec<_>>(), shape.span)?;
        for (arg, written) in args.iter().zip(shape.args) {
            self.note_direct(level, arg, written.span())?;
        }
        let counted = Counted { name: shape.name, level, filter };
        let mut before = boolean(ExprKind::Literal(Datum::Bool(false)));
        let mut through = boolean(ExprKind::Literal(Datum::Bool(true)));
        let mut fields = Vec::with_capacity(keys.len());
        // From the last key inwards: what is less by this one, or equal and less by the rest.
        let mut pairs = args.into_iter().zip(keys).enumerate().collect::<Vec<_>>();
        while let Some((at, (arg, key))) = pairs.pop() {
            let (Some(given), Some(written)) = (shape.args.get(at), shape.within_group.get(at)) else {
                return Err(Error::internal("a key without its argument"));
            };
            let arg_place = match given {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => e.place(),
                _ => shape.span,
            };
            let (descending, nulls_first) = order_options(written)?;
            let places = [order_key(written)?.place(), arg_place];
            let (mut both, _) = self.unify(vec![key, arg], &places, "WITHIN GROUP")?;
            let (Some(arg), Some(key)) = (both.pop(), both.pop()) else {
                return Err(Error::internal("two expressions"));
            };
            let (arg, key) = (self.known(arg)?, self.known(key)?);
            let symbol = if descending { ">" } else { "<" };
            let less = self.operator(symbol, Some(key.clone()), arg.clone(), self.position(shape.span))?;
            let by_null = match nulls_first {
                true => all(vec![is_null(&key), not(is_null(&arg))]),
                false => all(vec![not(is_null(&key)), is_null(&arg)]),
            };
            let less = any(vec![by_null, less]);
            let (equals, left, right) = self.binary_operands("=", key.clone(), arg, self.position(shape.span))?;
            let equal = boolean(ExprKind::NotDistinct { equals, left: Box::new(left), right: Box::new(right) });
            before = any(vec![less.clone(), all(vec![equal.clone(), before])]);
            through = any(vec![less, all(vec![equal, through])]);
            fields.insert(0, key);
        }
        let place = self.position(shape.span);
        let one = || Expr::literal(Datum::Int8(1), PgType::Int8);
        match shape.name {
            "rank" => {
                let count = self.counted(&counted, None, Some(before))?;
                self.operator("+", Some(count), one(), place)
            }
            "dense_rank" => {
                let row = Expr { kind: ExprKind::Row(fields, None), ty: PgType::Record.into() };
                let count = self.counted(&counted, Some(row), Some(before))?;
                self.operator("+", Some(count), one(), place)
            }
            "percent_rank" => {
                let rows = self.counted(&counted, None, None)?;
                let count = self.counted(&counted, None, Some(before))?;
                let ratio = self.ratio(count, rows.clone(), place)?;
                let zero = Expr::literal(Datum::Int8(0), PgType::Int8);
                let when = self.operator("=", Some(rows), zero, place)?;
                let then = Expr::literal(Datum::Float8(0.0), PgType::Float8);
                let branches = vec![CaseBranch { when, then }];
                let kind = ExprKind::Case { branches, otherwise: Some(Box::new(ratio)) };
                Ok(Expr { kind, ty: PgType::Float8.into() })
            }
            _ => {
                let rows = self.counted(&counted, None, None)?;
                let rows = self.operator("+", Some(rows), one(), place)?;
                let count = self.counted(&counted, None, Some(through))?;
                let count = self.operator("+", Some(count), one(), place)?;
                self.ratio(count, rows, place)
            }
        }
    }

    fn ratio(&mut self, count: Expr, rows: Expr, place: Option<usize>) -> Result<Expr> {
        let mut float = |e: Expr| {
            self.coerce(e, PgType::Float8.into(), CastContext::Explicit, true, Span::empty())?
                .ok_or_else(|| Error::internal("a count is a number"))
        };
        let (count, rows) = (float(count)?, float(rows)?);
        self.operator("/", Some(count), rows, place)
    }

    /// How many rows of the group there are, or how many different values: those of the call's FILTER, for which a condition holds.
    fn counted(&mut self, of: &Counted<'_>, distinct: Option<Expr>, condition: Option<Expr>) -> Result<Expr> {
        let kind = if distinct.is_some() { AggregateKind::Count } else { AggregateKind::CountStar };
        let aggregate = self.cx.registry.aggregates("count").into_iter().find(|a| a.kind == kind);
        let aggregate = aggregate.ok_or_else(|| Error::internal("no count"))?;
        let mut terms: Vec<Expr> = of.filter.iter().cloned().chain(condition).collect();
        let filter = if terms.len() > 1 { Some(all(terms)) } else { terms.pop() };
        let is_distinct = distinct.is_some();
        let call = AggregateCall {
            aggregate,
            args: distinct.into_iter().collect(),
            distinct: is_distinct,
            filter,
            order_by: Vec::new(),
            ty: PgType::Int8.into(),
        };
        Ok(self.aggregate_column(of.level, of.name, call))
    }
}
