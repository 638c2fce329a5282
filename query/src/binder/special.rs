//! Predicates with a syntax of their own: IN, BETWEEN, LIKE, IS, ANY/ALL, EXISTS, row comparisons, subqueries.

use std::sync::Arc;

use sqlparser::ast::{self, BinaryOperator, Spanned, ValueWithSpan};
use sqlparser::tokenizer::Span;
use stratos_types::{ColumnType, Datum, Error, ErrorKind, PgType, Result};

use super::Binder;
use super::composite::bare_row;
use super::composite::is_row;
use super::expr::not;
use super::operator::symbol;
use super::scope::Place;
use crate::dialect::SYMMETRIC;
use crate::functions::{Function, ReturnType};
use crate::ir::{Expr, ExprKind, OutputColumn, Quantifier, Rel, SubqueryKind};

/// The two sides of a row comparison, column by column, with places for errors.
pub(crate) type RowPairs = Vec<(Expr, Expr)>;

pub(super) fn all(mut terms: Vec<Expr>) -> Expr {
    if terms.len() == 1 {
        return terms.remove(0);
    }
    Expr { kind: ExprKind::And(terms), ty: PgType::Bool.into() }
}

fn any(mut terms: Vec<Expr>) -> Expr {
    if terms.len() == 1 {
        return terms.remove(0);
    }
    Expr { kind: ExprKind::Or(terms), ty: PgType::Bool.into() }
}

pub(super) fn is_null(expr: Expr) -> Expr {
    Expr { kind: ExprKind::IsNull(Box::new(expr)), ty: PgType::Bool.into() }
}

impl Binder<'_> {
    /// `IS [NOT] NULL`; of a row: all fields null, or none.
    pub(crate) fn null_test(&mut self, inner: &ast::Expr, null: bool) -> Result<Expr> {
        let expr = self.expr(inner)?;
        let expr = bare_row(self.of_any_type(expr, inner.place())?);
        match expr.kind {
            ExprKind::Row(fields, _) => {
                Ok(all(fields.into_iter().map(|f| if null { is_null(f) } else { not(is_null(f)) }).collect()))
            }
            kind => {
                let test = is_null(Expr { kind, ty: expr.ty });
                Ok(if null { test } else { not(test) })
            }
        }
    }

    /// `IS [NOT] TRUE | FALSE | UNKNOWN`: never null.
    pub(crate) fn truth_test(
        &mut self,
        inner: &ast::Expr,
        value: Option<bool>,
        negated: bool,
        what: &str,
    ) -> Result<Expr> {
        let span = inner.place();
        let expr = self.expr(inner)?;
        let expr = self.boolean(expr, what, span)?;
        let test = match value {
            None => is_null(expr),
            Some(value) => {
                let wanted = if value { expr } else { not(expr) };
                Expr {
                    kind: ExprKind::Coalesce(vec![wanted, Expr::literal(Datum::Bool(false), PgType::Bool)]),
                    ty: PgType::Bool.into(),
                }
            }
        };
        Ok(if negated { not(test) } else { test })
    }

    /// `left IS NOT DISTINCT FROM right`.
    pub(crate) fn not_distinct(&mut self, left: &ast::Expr, right: &ast::Expr) -> Result<Expr> {
        let span = right.place();
        let place = self.cx.source.symbol_before(span, "is");
        let pairs = match self.row_operands(left, right)? {
            Some(pairs) => pairs,
            None => vec![(self.expr(left)?, self.expr(right)?)],
        };
        let mut terms = Vec::with_capacity(pairs.len());
        for (left, right) in pairs {
            let unknown_null =
                |e: &Expr| matches!(e.kind, ExprKind::Literal(Datum::Null)) && e.ty.ty == PgType::Unknown;
            if unknown_null(&right) {
                let left = self.known(left)?;
                terms.push(is_null(left));
                continue;
            }
            if unknown_null(&left) {
                let right = self.known(right)?;
                terms.push(is_null(right));
                continue;
            }
            let (equals, left, right) = self.binary_operands("=", left, right, place)?;
            terms.push(Expr {
                kind: ExprKind::NotDistinct { equals, left: Box::new(left), right: Box::new(right) },
                ty: PgType::Bool.into(),
            });
        }
        Ok(all(terms))
    }

    /// The function of a binary operator and its operands, cast to what it takes.
    pub(crate) fn binary_operands(
        &mut self,
        symbol: &str,
        left: Expr,
        right: Expr,
        place: Option<usize>,
    ) -> Result<(&'static Function, Expr, Expr)> {
        self.binary_operands_at(symbol, left, right, place, &[])
    }

    /// As [`Binder::binary_operands`], with the places of the operands for errors in literals.
    pub(crate) fn binary_operands_at(
        &mut self,
        symbol: &str,
        left: Expr,
        right: Expr,
        place: Option<usize>,
        spans: &[Span],
    ) -> Result<(&'static Function, Expr, Expr)> {
        let bound = self.operator_at(symbol, Some(left), right, place, spans)?;
        match bound.kind {
            ExprKind::Call { function, mut args } if args.len() == 2 => {
                let right = args.remove(1);
                let left = args.remove(0);
                Ok((function, left, right))
            }
            _ => Err(Error::internal("a binary operator without two operands")),
        }
    }

    /// Both sides of a comparison of rows; `None` when it is none.
    pub(crate) fn row_operands(&mut self, left: &ast::Expr, right: &ast::Expr) -> Result<Option<RowPairs>> {
        if !is_row(left) && !is_row(right) {
            return Ok(None);
        }
        let a = self.row_fields(left)?;
        let mut other = right;
        while let ast::Expr::Nested(inner) = other {
            other = inner;
        }
        if let (Some(fields), ast::Expr::Subquery(query)) = (&a, other) {
            // Each column is a subquery of its own: the plan has no multi-column scalar subquery.
            let mut pairs = Vec::with_capacity(fields.len());
            for (n, field) in fields.iter().enumerate() {
                pairs.push((field.clone(), self.column_of_row_subquery(query, n, fields.len())?));
            }
            return Ok(Some(pairs));
        }
        let b = self.row_fields(right)?;
        match (a, b) {
            (Some(a), Some(b)) if a.len() == b.len() => Ok(Some(a.into_iter().zip(b).collect())),
            (Some(_), Some(_)) => {
                let e = Error::new(ErrorKind::SyntaxError, "unequal number of entries in row expressions");
                Err(match self.cx.source.symbol_before(right.place(), "(") {
                    Some(place) => e.at(place),
                    None => e,
                })
            }
            _ => Err(self.at(Error::unsupported("comparison of a row with something else"), right.place())),
        }
    }

    /// Fields of a row constructor, with literals left undecided.
    pub(super) fn row_fields(&mut self, e: &ast::Expr) -> Result<Option<Vec<Expr>>> {
        match e {
            ast::Expr::Nested(inner) => self.row_fields(inner),
            ast::Expr::Tuple(items) => {
                let mut fields = Vec::with_capacity(items.len());
                for item in items {
                    fields.extend(self.row_item(item)?);
                }
                Ok(Some(fields))
            }
            ast::Expr::Function(function) if super::call::is_row_constructor(function) => {
                match super::call::row_items(function) {
                    Ok(items) => items.into_iter().map(|item| self.expr(item)).collect::<Result<_>>().map(Some),
                    // `ROW(t.*)`
                    Err(_) => self.fields_of_row(e),
                }
            }
            other => self.fields_of_row(other),
        }
    }

    fn fields_of_row(&mut self, e: &ast::Expr) -> Result<Option<Vec<Expr>>> {
        Ok(match bare_row(self.expr(e)?).kind {
            ExprKind::Row(fields, _) => Some(fields),
            _ => None,
        })
    }

    /// `(a, b) < (c, d)`, by the first fields that differ.
    pub(crate) fn compare_rows(&mut self, symbol: &str, pairs: RowPairs, place: Option<usize>) -> Result<Expr> {
        match symbol {
            "=" => {
                let mut terms = Vec::with_capacity(pairs.len());
                for (a, b) in pairs {
                    terms.push(self.operator("=", Some(a), b, place)?);
                }
                Ok(all(terms))
            }
            "<>" | "!=" => {
                let mut terms = Vec::with_capacity(pairs.len());
                for (a, b) in pairs {
                    terms.push(self.operator("<>", Some(a), b, place)?);
                }
                Ok(any(terms))
            }
            "<" | "<=" | ">" | ">=" => {
                let strict = &symbol[..1];
                let mut pairs = pairs.into_iter().rev();
                let Some((a, b)) = pairs.next() else {
                    return Err(Error::new(ErrorKind::FeatureNotSupported, "cannot compare rows of zero length"));
                };
                // From the last field inwards: a < c OR (a = c AND rest).
                let mut result = self.operator(symbol, Some(a), b, place)?;
                for (a, b) in pairs {
                    let less = self.operator(strict, Some(a.clone()), b.clone(), place)?;
                    let equal = self.operator("=", Some(a), b, place)?;
                    result = any(vec![less, all(vec![equal, result])]);
                }
                Ok(result)
            }
            other => Err(Error::new(
                ErrorKind::FeatureNotSupported,
                format!("could not determine interpretation of row comparison operator {other}"),
            )
            .with_hint("Row comparison operators must be associated with btree operator families.")),
        }
    }

    /// `[NOT] IN (a, b, …)`.
    pub(crate) fn in_list(&mut self, expr: &ast::Expr, list: &[ast::Expr], negated: bool) -> Result<Expr> {
        let place = list.first().and_then(|f| self.cx.source.symbol_before(f.place(), "in"));
        if is_row(expr) {
            let mut terms = Vec::with_capacity(list.len());
            for item in list {
                let pairs = self.row_operands(expr, item)?.ok_or_else(|| Error::internal("a row is a row"))?;
                terms.push(self.compare_rows("=", pairs, place)?);
            }
            let test = any(terms);
            return Ok(if negated { not(test) } else { test });
        }
        let arg = self.expr(expr)?;
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            items.push(self.expr(item)?);
        }
        let types: Vec<PgType> = std::iter::once(&arg).chain(&items).map(|e| e.ty.ty).collect();
        let common = super::resolve::common_type(&types, "IN");
        let test = match common {
            Ok(ty) if items.len() > 1 && types.iter().all(|t| super::resolve::implicitly(*t, ty)) => {
                let arg = self.implicit(arg, ty, expr.place())?;
                let mut cast = Vec::with_capacity(items.len());
                for (item, ast) in items.into_iter().zip(list) {
                    cast.push(self.implicit(item, ty, ast.place())?);
                }
                let (equals, arg, first) = self.binary_operands("=", arg, cast.remove(0), place)?;
                let to = first.ty.ty;
                let mut list = vec![first];
                for item in cast {
                    list.push(self.implicit(item, to, Span::empty())?);
                }
                Expr { kind: ExprKind::InList { equals, arg: Box::new(arg), list }, ty: PgType::Bool.into() }
            }
            _ => {
                let mut terms = Vec::with_capacity(items.len());
                for item in items {
                    terms.push(self.operator("=", Some(arg.clone()), item, place)?);
                }
                any(terms)
            }
        };
        Ok(if negated { not(test) } else { test })
    }

    /// `[NOT] BETWEEN [SYMMETRIC] low AND high`.
    pub(crate) fn between(
        &mut self,
        expr: &ast::Expr,
        negated: bool,
        low: &ast::Expr,
        high: &ast::Expr,
    ) -> Result<Expr> {
        let place = self.cx.source.symbol_before(low.place(), "between");
        let (low, symmetric) = match low {
            ast::Expr::Prefixed { prefix, value } if prefix.value == SYMMETRIC => (&**value, true),
            low => (low, false),
        };
        let side = |b: &mut Self, symbol: &str, bound: &ast::Expr| -> Result<Expr> {
            if let Some(pairs) = b.row_operands(expr, bound)? {
                return b.compare_rows(symbol, pairs, place);
            }
            let left = b.expr(expr)?;
            let right = b.expr(bound)?;
            b.operator_at(symbol, Some(left), right, place, &[expr.place(), bound.place()])
        };
        let mut test = all(vec![side(self, ">=", low)?, side(self, "<=", high)?]);
        if symmetric {
            let other = all(vec![side(self, ">=", high)?, side(self, "<=", low)?]);
            test = any(vec![test, other]);
        }
        Ok(if negated { not(test) } else { test })
    }

    pub(crate) fn like(
        &mut self,
        symbol: &str,
        escape_function: &str,
        expr: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ValueWithSpan>,
        keyword: &str,
    ) -> Result<Expr> {
        let span = pattern.place();
        let place = self.cx.source.symbol_before(span, keyword);
        let left = self.expr(expr)?;
        let mut right = self.expr(pattern)?;
        if let Some(escape) = escape {
            let escape = self.value(&escape.value, escape.span)?;
            right = self.call_named(escape_function, vec![right, escape], span)?;
        }
        self.operator(symbol, Some(left), right, place)
    }

    pub(crate) fn similar(
        &mut self,
        negated: bool,
        expr: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ValueWithSpan>,
    ) -> Result<Expr> {
        let span = pattern.place();
        let place = self.cx.source.symbol_before(span, "similar");
        let left = self.expr(expr)?;
        let mut args = vec![self.expr(pattern)?];
        if let Some(escape) = escape {
            args.push(self.value(&escape.value, escape.span)?);
        }
        let right = self.call_named("similar_to_escape", args, span)?;
        self.operator(if negated { "!~" } else { "~" }, Some(left), right, place)
    }

    /// A subquery as an expression: its relation, and its columns.
    pub(crate) fn subquery(&mut self, query: &ast::Query) -> Result<(Rel, Vec<OutputColumn>)> {
        self.subqueries += 1;
        if self.subqueries > super::MAX_SUBQUERIES + self.cx.source.text().len() {
            return Err(super::too_complex());
        }
        let rel = self.query(query, true)?;
        let columns = rel.output();
        Ok((rel, columns))
    }

    fn one_column(&mut self, query: &ast::Query, many: &str) -> Result<(Rel, OutputColumn)> {
        let (rel, mut columns) = self.subquery(query)?;
        if columns.len() != 1 {
            let e = Error::new(ErrorKind::SyntaxError, many);
            return Err(match self.cx.source.symbol_before(query.span(), "(") {
                Some(p) => e.at(p),
                None => e,
            });
        }
        Ok((rel, columns.remove(0)))
    }

    pub(crate) fn scalar_subquery(&mut self, query: &ast::Query) -> Result<Expr> {
        let (rel, column) = self.one_column(query, "subquery must return only one column")?;
        Ok(Expr { kind: ExprKind::Subquery { kind: SubqueryKind::Scalar, query: Arc::new(rel) }, ty: column.ty })
    }

    /// `ARRAY(SELECT …)`.
    pub(crate) fn array_subquery(&mut self, query: &ast::Query) -> Result<Expr> {
        let place = self.cx.source.symbol_before(query.span(), "array");
        let (rel, mut columns) = self.subquery(query)?;
        if columns.len() != 1 {
            let error = Error::new(ErrorKind::SyntaxError, "subquery must return only one column");
            return Err(place.map_or(error.clone(), |position| error.at(position)));
        }
        let column = columns.remove(0);
        if column.ty.ty.element().is_some() {
            return Err(Error::unsupported("array of more than one dimension"));
        }
        let ty = column.ty.ty.array().ok_or_else(|| {
            Error::new(ErrorKind::UndefinedObject, format!("could not find array type for data type {}", column.ty.ty))
        })?;
        Ok(Expr {
            kind: ExprKind::Subquery { kind: SubqueryKind::Array, query: Arc::new(rel) },
            ty: ColumnType { ty, typmod: column.ty.typmod },
        })
    }

    pub(crate) fn exists(&mut self, query: &ast::Query, negated: bool) -> Result<Expr> {
        let (rel, _) = self.subquery(query)?;
        let test = exists(without_values(rel));
        Ok(if negated { not(test) } else { test })
    }

    pub(crate) fn in_subquery(&mut self, left: &ast::Expr, query: &ast::Query, negated: bool) -> Result<Expr> {
        let test = if is_row(left) {
            self.row_in_subquery(left, query)?
        } else {
            self.quantified_subquery(left, "=", query, Quantifier::Any, "in")?
        };
        Ok(if negated { not(test) } else { test })
    }

    /// `(a, b) IN (SELECT x, y …)`: true if some row is equal, else NULL if some comparison is NULL, else false. A comparison is
    /// NULL only where a field is, on either side: that is said apart, for it is seldom so and quickly seen.
    fn row_in_subquery(&mut self, left: &ast::Expr, query: &ast::Query) -> Result<Expr> {
        let mut matching = Vec::with_capacity(3);
        let mut without_field = None;
        for (null, inside) in [(false, false), (true, true), (true, false)] {
            let (rel, columns) = self.subquery(query)?;
            let fields = self.row_fields(left)?.unwrap_or_default();
            if fields.len() != columns.len() {
                let few = if columns.len() < fields.len() {
                    "subquery has too few columns"
                } else {
                    "subquery has too many columns"
                };
                let error = Error::new(ErrorKind::SyntaxError, few);
                return Err(match self.cx.source.one_of_before(query.span(), &["in", "="]) {
                    Some(position) => error.at(position),
                    None => error,
                });
            }
            let columns: Vec<Expr> = columns.into_iter().map(|c| Expr::column(c.id, c.ty)).collect();
            without_field = Some(any(fields.iter().cloned().map(is_null).collect()));
            let missing = inside.then(|| any(columns.iter().cloned().map(is_null).collect()));
            let place = self.position(left.place());
            let equal = self.compare_rows("=", fields.into_iter().zip(columns).collect(), place)?;
            let predicate = if null { is_null(equal) } else { equal };
            let predicate = match missing {
                Some(missing) => all(vec![missing, predicate]),
                None => predicate,
            };
            matching.push(exists(Rel::Filter { input: Box::new(rel), predicate }));
        }
        let (Some(without_field), Ok([found, inside, any_row])) = (without_field, <[Expr; 3]>::try_from(matching))
        else {
            return Err(Error::internal("a row is looked for in three ways"));
        };
        let unknown = any(vec![inside, all(vec![without_field, any_row])]);
        Ok(any(vec![found, all(vec![unknown, Self::null(PgType::Bool)])]))
    }

    fn quantified_subquery(
        &mut self,
        left: &ast::Expr,
        symbol: &str,
        query: &ast::Query,
        quantifier: Quantifier,
        keyword: &str,
    ) -> Result<Expr> {
        let place = self.cx.source.symbol_before(query.span(), keyword);
        let left_expr = self.expr(left)?;
        let (rel, mut columns) = self.subquery(query)?;
        if columns.len() != 1 {
            let e = Error::new(ErrorKind::SyntaxError, "subquery has too many columns");
            return Err(match place {
                Some(p) => e.at(p),
                None => e,
            });
        }
        let column = columns.remove(0);
        let right = Expr::column(column.id, column.ty);
        let (operator, left, right) = self.binary_operands(symbol, left_expr, right, place)?;
        must_be_boolean(operator)?;
        let rel = if matches!(right.kind, ExprKind::Column(_)) {
            rel
        } else {
            let output = self.output(column.name, right.ty);
            Rel::Project { input: Box::new(rel), columns: vec![(output, right)] }
        };
        Ok(Expr {
            kind: ExprKind::Subquery {
                kind: SubqueryKind::Quantified { quantifier, operator, left: Box::new(left) },
                query: Arc::new(rel),
            },
            ty: PgType::Bool.into(),
        })
    }

    /// `left op ANY|ALL (array or subquery)`.
    pub(crate) fn quantified(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        quantifier: Quantifier,
    ) -> Result<Expr> {
        let symbol = symbol(op)?;
        let mut inner = right;
        while let ast::Expr::Nested(e) = inner {
            inner = e;
        }
        if let ast::Expr::Subquery(query) = inner {
            if is_row(left) {
                // `= ANY` is IN, and `<> ALL` is NOT IN.
                match (symbol.as_str(), quantifier) {
                    ("=", Quantifier::Any) => return self.row_in_subquery(left, query),
                    ("<>", Quantifier::All) => return Ok(not(self.row_in_subquery(left, query)?)),
                    _ => {}
                }
                return Err(self.at(Error::unsupported("ANY or ALL of a row and a subquery"), left.place()));
            }
            return self.quantified_subquery(left, &symbol, query, quantifier, &symbol);
        }
        let place = self.cx.source.symbol_before(right.place(), &symbol);
        let left = self.expr(left)?;
        let array = self.expr(right)?;
        // An undecided right side is the array of the left side's type.
        let element = match array.ty.ty {
            PgType::Unknown => PgType::Unknown,
            ty => ty.element().ok_or_else(|| {
                let e = Error::new(ErrorKind::WrongObjectType, "op ANY/ALL (array) requires array on right side");
                match place {
                    Some(p) => e.at(p),
                    None => e,
                }
            })?,
        };
        let left_type = match (left.ty.ty, element) {
            (PgType::Unknown, PgType::Unknown) => PgType::Text,
            (ty, _) => ty,
        };
        let found = self.find_operator(&symbol, &[left_type, element], place)?;
        must_be_boolean(found.function)?;
        let formal: Vec<_> = found.left.into_iter().chain([found.right]).collect();
        let actual = [left_type, if element == PgType::Unknown { left_type } else { element }];
        let (targets, _) = super::resolve::settle(&actual, &formal, found.function.ret)?;
        let to_left = targets.first().copied().flatten().unwrap_or(left_type);
        let to_right = targets.get(1).copied().flatten().unwrap_or(element);
        let span = right.place();
        let left = self.implicit(left, to_left, span)?;
        let to_array = to_right.array().ok_or_else(|| Error::unsupported(format!("array of {to_right}")))?;
        // int2vector and oidvector hold the same values as the arrays.
        let array = if element == to_right { array } else { self.implicit(array, to_array, span)? };
        let (operator, left) = (found.function, Box::new(left));
        let kind = match array.kind {
            // The array is never NULL, and its elements are what the subquery gives.
            ExprKind::Subquery { kind: SubqueryKind::Array, query } => {
                ExprKind::Subquery { kind: SubqueryKind::Quantified { quantifier, operator, left }, query }
            }
            _ => ExprKind::Quantified { quantifier, operator, left, array: Box::new(array) },
        };
        Ok(Expr { kind, ty: PgType::Bool.into() })
    }
}

/// The rows of a query of which only the number counts: neither are the values of its select list computed nor are they ordered,
/// as in Postgres's `simplify_EXISTS_query`.
fn without_values(rel: Rel) -> Rel {
    match rel {
        Rel::Sort { input, .. }
        | Rel::Distinct { input }
        | Rel::DistinctOn { input, .. }
        | Rel::Alias { input, .. } => without_values(*input),
        Rel::Limit { input, limit, offset } => Rel::Limit { input: Box::new(without_values(*input)), limit, offset },
        Rel::Project { input, columns } => match *input {
            Rel::Aggregate { ref aggregates, .. } if !aggregates.is_empty() => Rel::Project { input, columns },
            Rel::Window { .. } => Rel::Project { input, columns },
            // There is a group where there is a row.
            Rel::Aggregate { input, group_by, grouping_sets: None, .. } if !group_by.is_empty() => ones(input, columns),
            _ => ones(input, columns),
        },
        other => other,
    }
}

fn ones(input: Box<Rel>, columns: Vec<(OutputColumn, Expr)>) -> Rel {
    let one = || Expr::literal(Datum::Int4(1), PgType::Int4);
    let first = columns.into_iter().take(1);
    let columns = first.map(|(column, _)| (OutputColumn { ty: PgType::Int4.into(), ..column }, one())).collect();
    Rel::Project { input, columns }
}

fn exists(rel: Rel) -> Expr {
    Expr { kind: ExprKind::Subquery { kind: SubqueryKind::Exists, query: Arc::new(rel) }, ty: PgType::Bool.into() }
}

fn must_be_boolean(operator: &'static Function) -> Result<()> {
    if operator.ret == ReturnType::Is(PgType::Bool) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::WrongObjectType, "op ANY/ALL (array) requires operator to yield boolean"))
}
