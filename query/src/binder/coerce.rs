//! Making a value be of a wanted type: literals are read, parameters learn their type, the rest is cast.

use sqlparser::tokenizer::Span;
use stratos_types::{
    CastContext, ColumnType, Datum, Error, ErrorKind, FormatOptions, PgType, Result, TypeCategory, cast, cast_kind,
};

use super::resolve::common_type;
use super::{Binder, Relation};
use crate::functions::catalog_info::{split_name, type_by_name};
use crate::ir::{Expr, ExprKind};

impl Binder<'_> {
    /// The value as `to`, if a cast exists that applies in the given context. `explicit` is for casts that the user wrote:
    /// they cut strings silently.
    pub(crate) fn coerce(
        &mut self,
        expr: Expr,
        to: ColumnType,
        context: CastContext,
        explicit: bool,
        span: Span,
    ) -> Result<Option<Expr>> {
        self.refuse_second_type(&expr, to.ty, span)?;
        let expr = self.refresh(expr);
        let from = expr.ty.ty;
        if from == to.ty {
            return Ok(Some(with_modifier(expr, to, explicit)));
        }
        if from == PgType::Unknown {
            return self.decide(expr, to, explicit, span).map(Some);
        }
        // Elements of an array constructor are cast one by one, as Postgres does.
        let expr = match (expr.kind, to.ty.element()) {
            (ExprKind::Array(items), Some(element)) if context == CastContext::Explicit => {
                let mut cast = Vec::with_capacity(items.len());
                for item in items {
                    let ty = ColumnType { ty: element, typmod: to.typmod };
                    match self.coerce(item, ty, context, explicit, span)? {
                        Some(item) => cast.push(item),
                        None => return Ok(None),
                    }
                }
                return Ok(Some(Expr { kind: ExprKind::Array(cast), ty: to }));
            }
            (kind, _) => Expr { kind, ty: expr.ty },
        };
        match cast_kind(from, to.ty) {
            Some(kind) if kind >= context => {}
            _ => return Ok(None),
        }
        if let ExprKind::Literal(value) = &expr.kind
            && let Some(folded) = fold(value, from, to.ty, explicit, &self.cx.format)
        {
            return Ok(Some(with_modifier(Expr::literal(folded, to.ty), to, explicit)));
        }
        Ok(Some(Expr { kind: ExprKind::Cast { arg: Box::new(expr), explicit }, ty: to }))
    }

    /// A parameter whose type was open where it stands cannot become of another type than elsewhere (42P08).
    fn refuse_second_type(&self, expr: &Expr, to: PgType, span: Span) -> Result<()> {
        let ExprKind::Param(n) = expr.kind else { return Ok(()) };
        let elsewhere = self.params[n];
        if expr.ty.ty != PgType::Unknown || elsewhere == PgType::Unknown || elsewhere == to {
            return Ok(());
        }
        let message = format!("inconsistent types deduced for parameter ${}", n + 1);
        let detail = format!("{} versus {}", elsewhere.sql_name(), to.sql_name());
        Err(self.at(Error::new(ErrorKind::AmbiguousParameter, message).with_detail(detail), span))
    }

    /// A parameter that was seen before its type was known.
    fn refresh(&self, expr: Expr) -> Expr {
        match expr.kind {
            ExprKind::Param(n) if expr.ty.ty == PgType::Unknown => {
                Expr { kind: ExprKind::Param(n), ty: self.params[n].into() }
            }
            kind => Expr { kind, ty: expr.ty },
        }
    }

    fn decide(&mut self, expr: Expr, to: ColumnType, explicit: bool, span: Span) -> Result<Expr> {
        match expr.kind {
            ExprKind::Param(n) => {
                self.params[n] = to.ty;
                Ok(with_modifier(Expr { kind: ExprKind::Param(n), ty: to.ty.into() }, to, explicit))
            }
            ExprKind::Literal(Datum::Null) => Ok(Expr::literal(Datum::Null, to)),
            ExprKind::Literal(Datum::Text(text)) => {
                self.string_is(expr.ty, to);
                match self.read_literal(&text, to).map_err(|e| self.at(e, span))? {
                    // A bare number is so many of the last of the type's fields: it was read with them.
                    Some(value) if to.ty == PgType::Interval => Ok(Expr::literal(value, to)),
                    Some(value) => Ok(with_modifier(Expr::literal(value, to.ty), to, explicit)),
                    None => Ok(Expr {
                        kind: ExprKind::Cast {
                            arg: Box::new(Expr::literal(Datum::Text(text), PgType::Unknown)),
                            explicit,
                        },
                        ty: to,
                    }),
                }
            }
            kind => Ok(Expr { kind: ExprKind::Cast { arg: Box::new(Expr { kind, ty: expr.ty }), explicit }, ty: to }),
        }
    }

    /// The value of a literal, where it can be read now; `None` leaves it to the evaluation.
    fn read_literal(&self, text: &str, to: ColumnType) -> Result<Option<Datum>> {
        let number = text.trim();
        Ok(match to.ty {
            PgType::Text | PgType::Varchar | PgType::Unknown => Some(Datum::text(text)),
            PgType::Regclass => Some(Datum::Oid(self.regclass(text)?)),
            PgType::Regtype => Some(Datum::Oid(self.regtype(text)?)),
            PgType::Regnamespace => match number.parse() {
                Ok(oid) => Some(Datum::Oid(oid)),
                Err(_) => match split_name(text)?.as_slice() {
                    [name] => self.cx.catalog.schema_oid(name).map(Datum::Oid),
                    _ => None,
                },
            },
            PgType::Regproc => self.regproc(number)?,
            PgType::Regrole => match number.parse() {
                Ok(oid) => Some(Datum::Oid(oid)),
                Err(_) => match split_name(text)?.as_slice() {
                    [name] => self.cx.catalog.roles.values().find(|r| r.name == *name).map(|r| Datum::Oid(r.oid)),
                    _ => None,
                },
            },
            // Words that mean the time of evaluation are read then. What is no date at any time is refused here.
            ty if reads_clock(ty, text) => Datum::from_text(ty.into(), text, &self.cx.format).map(|_| None)?,
            PgType::Interval => Some(Datum::from_text(to, text, &self.cx.format)?),
            ty => Some(Datum::from_text(ty.into(), text, &self.cx.format)?),
        })
    }

    fn regproc(&self, name: &str) -> Result<Option<Datum>> {
        if let Ok(oid) = name.parse() {
            return Ok(Some(Datum::Oid(oid)));
        }
        let parts = split_name(name)?;
        let base = match parts.as_slice() {
            [base] => base,
            [schema, base] if schema == "pg_catalog" => base,
            _ => "",
        };
        match self.cx.registry.functions(base).as_slice() {
            [one] => Ok(Some(Datum::Oid(one.oid))),
            // Those that only the catalogs name, such as the types' input functions.
            [] => match crate::system::function_oid(base) {
                Some(oid) => Ok(Some(Datum::Oid(oid))),
                None => Err(Error::new(ErrorKind::UndefinedFunction, format!("function \"{name}\" does not exist"))),
            },
            _ => Err(Error::new(ErrorKind::AmbiguousFunction, format!("more than one function named \"{name}\""))),
        }
    }

    fn regclass(&self, text: &str) -> Result<u32> {
        let text = text.trim();
        if text == "-" {
            return Ok(0);
        }
        if let Ok(oid) = text.parse() {
            return Ok(oid);
        }
        let parts = split_name(text)?;
        Ok(self.cx.relation(&parts)?.oid())
    }

    fn regtype(&self, text: &str) -> Result<u32> {
        let text = text.trim();
        if text == "-" {
            return Ok(0);
        }
        if let Ok(oid) = text.parse() {
            return Ok(oid);
        }
        let table = || match self.cx.relation(&split_name(text).ok()?) {
            Ok(Relation::Table(table)) => Some(table.oid),
            _ => None,
        };
        type_by_name(text)
            .map(PgType::oid)
            .or_else(table)
            .ok_or_else(|| Error::new(ErrorKind::UndefinedObject, format!("type \"{text}\" does not exist")))
    }

    /// Undecided literals and parameters become text.
    pub(crate) fn known(&mut self, expr: Expr) -> Result<Expr> {
        self.known_at(expr, Span::empty())
    }

    /// As [`Binder::known`], with the value's place for errors.
    pub(crate) fn known_at(&mut self, expr: Expr, span: Span) -> Result<Expr> {
        self.refuse_second_type(&expr, PgType::Text, span)?;
        let expr = self.refresh(expr);
        if expr.ty.ty != PgType::Unknown {
            return Ok(expr);
        }
        self.decide(expr, PgType::Text.into(), false, span)
    }

    /// Where a value of any type may stand. A literal is text; what a parameter is here does not show, and the statement is
    /// refused for it at its end, whether something else decides or not.
    pub(crate) fn of_any_type(&mut self, expr: Expr, span: Span) -> Result<Expr> {
        let expr = self.refresh(expr);
        match expr.kind {
            ExprKind::Param(n) if expr.ty.ty == PgType::Unknown => {
                self.open_params.push((n, span));
                Ok(expr)
            }
            _ => self.known_at(expr, span),
        }
    }

    /// A type that resolution found to fit.
    pub(crate) fn implicit(&mut self, expr: Expr, to: PgType, span: Span) -> Result<Expr> {
        let from = expr.ty.ty;
        if from == to {
            return Ok(self.refresh(expr));
        }
        self.coerce(expr, to.into(), CastContext::Implicit, false, span)?.ok_or_else(|| {
            self.at(Error::new(ErrorKind::CannotCoerce, format!("cannot cast type {from} to {to}")), span)
        })
    }

    /// A condition.
    pub(crate) fn boolean(&mut self, expr: Expr, what: &str, span: Span) -> Result<Expr> {
        let from = expr.ty.ty;
        self.coerce(expr, PgType::Bool.into(), CastContext::Implicit, false, span)?.ok_or_else(|| {
            self.at(
                Error::new(
                    ErrorKind::DatatypeMismatch,
                    format!("argument of {what} must be type boolean, not type {from}"),
                ),
                span,
            )
        })
    }

    /// All values as their common type.
    pub(crate) fn unify(&mut self, exprs: Vec<Expr>, spans: &[Span], context: &str) -> Result<(Vec<Expr>, ColumnType)> {
        let exprs: Vec<Expr> = exprs.into_iter().map(|e| self.refresh(e)).collect();
        let types: Vec<PgType> = exprs.iter().map(|e| e.ty.ty).collect();
        let ty = common_type(&types, context).map_err(|e| {
            let first = types.iter().copied().find(|t| *t != PgType::Unknown);
            let odd =
                types.iter().position(|t| *t != PgType::Unknown && first.is_some_and(|f| f.category() != t.category()));
            let span = odd.and_then(|i| spans.get(i)).copied();
            self.at(e, span.unwrap_or_else(Span::empty))
        })?;
        // A modifier survives when all have it.
        let typmod = match exprs.first() {
            Some(f) if exprs.iter().all(|e| e.ty == f.ty && e.ty.ty == ty) => f.ty.typmod,
            _ => -1,
        };
        let mut cast = Vec::with_capacity(exprs.len());
        for (i, expr) in exprs.into_iter().enumerate() {
            let span = spans.get(i).copied().unwrap_or_else(Span::empty);
            let from = expr.ty.ty;
            let Some(expr) = self.coerce(expr, ty.into(), CastContext::Implicit, false, span)? else {
                return Err(self.at(
                    Error::new(ErrorKind::CannotCoerce, format!("{context} could not convert type {from} to {ty}")),
                    span,
                ));
            };
            cast.push(expr);
        }
        Ok((cast, ColumnType { ty, typmod }))
    }
}

/// The type's modifier, where one is wanted that the value does not have yet.
fn with_modifier(expr: Expr, to: ColumnType, explicit: bool) -> Expr {
    if expr.ty.typmod == to.typmod {
        return expr;
    }
    if to.typmod < 0 {
        // An explicit cast to the bare type says that the modifier is not known any more. The value stays as it is.
        return match expr.kind {
            _ if !explicit => expr,
            ExprKind::Literal(_) | ExprKind::Param(_) => Expr { ty: to, ..expr },
            _ => Expr { kind: ExprKind::Cast { arg: Box::new(expr), explicit }, ty: to },
        };
    }
    if let ExprKind::Literal(value) = &expr.kind {
        if value.is_null() {
            return Expr::literal(Datum::Null, to);
        }
        // What does not fit is left to fail when it is evaluated.
        if let Ok(fitted) = cast(value, to.ty, to, explicit, &FormatOptions::default()) {
            return Expr::literal(fitted, to);
        }
    }
    Expr { kind: ExprKind::Cast { arg: Box::new(expr), explicit }, ty: to }
}

/// Casts of constants that depend on no setting; what fails is left to fail when it is evaluated.
fn fold(value: &Datum, from: PgType, to: PgType, explicit: bool, format: &FormatOptions) -> Option<Datum> {
    use TypeCategory as C;
    if value.is_null() {
        return Some(Datum::Null);
    }
    if from.is_oid_like() || to.is_oid_like() {
        return match value {
            Datum::Oid(oid) if to.is_oid_like() => Some(Datum::Oid(*oid)),
            _ => None,
        };
    }
    let plain = |t: PgType| {
        matches!(t.category(), C::Numeric | C::Boolean | C::String)
            || matches!(t, PgType::Uuid | PgType::Json | PgType::Jsonb)
    };
    // Floats print by extra_float_digits.
    let printed_float = matches!(from, PgType::Float4 | PgType::Float8) && to.category() == C::String;
    if !plain(from) || !plain(to) || printed_float {
        return None;
    }
    cast(value, from, to.into(), explicit, format).ok()
}

/// Whether a literal of a date or time type means the moment of its reading.
fn reads_clock(ty: PgType, text: &str) -> bool {
    if !matches!(ty.category(), TypeCategory::DateTime) {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    ["now", "today", "tomorrow", "yesterday"].iter().any(|w| lower.contains(w))
}
