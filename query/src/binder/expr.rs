//! Expressions: literals, names, operators, casts, CASE. Predicates with a syntax of their own are in `special`, calls in
//! `call`.

use sqlparser::ast::{
    self, BinaryOperator, CastKind, CeilFloorKind, DateTimeField, ExtractSyntax, TrimWhereField, TypedString, Value,
};
use sqlparser::tokenizer::Span;
use stratos_types::{CastContext, ColumnType, Datum, Error, ErrorKind, PgType, Result};

use super::Binder;
use super::MAX_DEPTH;
use super::scope::{Place, name_parts, name_span};
use super::types::column_type;
use crate::ir::{CaseBranch, Expr, ExprKind};

impl Binder<'_> {
    /// Binds an expression. Literals and parameters that nothing decided yet have type `unknown`.
    #[recursive::recursive]
    pub(crate) fn expr(&mut self, e: &ast::Expr) -> Result<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            self.depth -= 1;
            return Err(Error::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded"));
        }
        let result = self.expr_inner(e);
        self.depth -= 1;
        result
    }

    fn expr_inner(&mut self, e: &ast::Expr) -> Result<Expr> {
        use ast::Expr as E;
        let span = e.place();
        match e {
            E::Identifier(ident) if ident.quote_style.is_none() && super::call::is_keyword_function(&ident.value) => {
                self.keyword_function(&ident.value.to_ascii_lowercase(), None, ident.span)
            }
            E::Identifier(ident) => self.column_named(ident),
            E::CompoundIdentifier(idents) => self.qualified_column(idents),
            E::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            E::Value(value) => self.value(&value.value, value.span),
            E::Nested(inner) => self.expr(inner),
            E::TypedString(TypedString { data_type, value, uses_odbc_syntax }) => {
                if *uses_odbc_syntax {
                    return Err(Error::unsupported("ODBC literal"));
                }
                let place = match data_type {
                    ast::DataType::Custom(name, _) => name_span(name),
                    _ => span,
                };
                let ty = column_type(data_type).map_err(|e| self.at(e, place))?;
                let literal = self.value(&value.value, value.span)?;
                self.cast(literal, ty, span)
            }
            E::Interval(interval) => self.interval(interval),
            E::Cast { kind, expr, data_type, array, format } => {
                if *array || format.is_some() {
                    return Err(Error::unsupported("CAST with FORMAT or ARRAY"));
                }
                let place = match kind {
                    CastKind::Cast => self.cx.source.symbol_before(span, "cast"),
                    CastKind::DoubleColon => {
                        // The span of a cast ends before its type: casts of casts are behind the one operand.
                        let mut casts = 0;
                        let mut operand = expr.as_ref();
                        while let E::Cast { kind: CastKind::DoubleColon, expr, .. } = operand {
                            (casts, operand) = (casts + 1, expr);
                        }
                        let inner = sqlparser::ast::Spanned::span(operand);
                        self.cx.source.nth_symbol_after(Span::new(inner.end, inner.end), "::", casts)
                    }
                    CastKind::TryCast | CastKind::SafeCast => {
                        return Err(Error::unsupported("TRY_CAST"));
                    }
                };
                let ty = match (column_type(data_type), data_type) {
                    (Ok(ty), _) => ty,
                    // Every table is a type of its rows.
                    (Err(_), ast::DataType::Custom(name, modifiers))
                        if modifiers.is_empty() && is_null(expr) && self.names_table(name) =>
                    {
                        return Ok(Expr::literal(Datum::Null, PgType::Record));
                    }
                    (Err(e), ast::DataType::Custom(name, _)) => {
                        return Err(match place.filter(|_| e.kind() == ErrorKind::FeatureNotSupported) {
                            Some(position) => e.at(position),
                            None => self.at(e, name_span(name)),
                        });
                    }
                    (Err(e), _) => return Err(self.at(e, span)),
                };
                if let (E::Array(items), Some(element)) = (&**expr, ty.ty.element())
                    && items.elem.is_empty()
                {
                    return Ok(Expr {
                        kind: ExprKind::Array(Vec::new()),
                        ty: ColumnType { ty: element.array().unwrap_or(ty.ty), typmod: ty.typmod },
                    });
                }
                let arg = if let (E::Array(items), Some(element)) = (&**expr, ty.ty.element()) {
                    self.array_of(items, element)?
                } else {
                    self.expr(expr)?
                };
                // A literal that does not read is reported where it stands, a missing cast where the cast does.
                let literal = arg.ty.ty == PgType::Unknown;
                let at = if literal { span } else { Span::empty() };
                self.cast(arg, ty, at).map_err(|e| match place {
                    Some(p) => e.at(p),
                    None => e,
                })
            }
            E::BinaryOp { left: _, op: BinaryOperator::And, right: _ } => self.logic(e, true),
            E::BinaryOp { left: _, op: BinaryOperator::Or, right: _ } => self.logic(e, false),
            E::BinaryOp { left, op, right } => self.binary(left, op, right),
            E::UnaryOp { op, expr } => self.unary(*op, expr),
            E::Prefixed { prefix, value } => self.named_prefix(prefix, value),
            E::IsNull(inner) => self.null_test(inner, true),
            E::IsNotNull(inner) => self.null_test(inner, false),
            E::IsTrue(inner) => self.truth_test(inner, Some(true), false, "IS TRUE"),
            E::IsNotTrue(inner) => self.truth_test(inner, Some(true), true, "IS NOT TRUE"),
            E::IsFalse(inner) => self.truth_test(inner, Some(false), false, "IS FALSE"),
            E::IsNotFalse(inner) => self.truth_test(inner, Some(false), true, "IS NOT FALSE"),
            E::IsUnknown(inner) => self.truth_test(inner, None, false, "IS UNKNOWN"),
            E::IsNotUnknown(inner) => self.truth_test(inner, None, true, "IS NOT UNKNOWN"),
            E::IsDistinctFrom(left, right) => Ok(not(self.not_distinct(left, right)?)),
            E::IsNotDistinctFrom(left, right) => self.not_distinct(left, right),
            E::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            E::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated),
            E::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            E::Like { negated, any, expr, pattern, escape_char } => {
                if *any {
                    return Err(Error::unsupported("LIKE ANY without an operator"));
                }
                let symbol = if *negated { "!~~" } else { "~~" };
                self.like(symbol, "like_escape", expr, pattern, escape_char.as_ref(), "LIKE")
            }
            E::ILike { negated, any, expr, pattern, escape_char } => {
                if *any {
                    return Err(Error::unsupported("ILIKE ANY without an operator"));
                }
                let symbol = if *negated { "!~~*" } else { "~~*" };
                self.like(symbol, "like_escape", expr, pattern, escape_char.as_ref(), "ILIKE")
            }
            E::SimilarTo { negated, expr, pattern, escape_char } => {
                self.similar(*negated, expr, pattern, escape_char.as_ref())
            }
            E::AnyOp { left, compare_op, right, is_some: _ } => {
                self.quantified(left, compare_op, right, crate::ir::Quantifier::Any)
            }
            E::AllOp { left, compare_op, right } => {
                self.quantified(left, compare_op, right, crate::ir::Quantifier::All)
            }
            E::Exists { subquery, negated } => self.exists(subquery, *negated),
            E::Subquery(query) => self.scalar_subquery(query),
            E::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            E::Array(items) => self.array(items, span),
            E::Tuple(items) => self.row(items),
            E::Function(function) => self.function(function),
            E::AtTimeZone { timestamp, time_zone } => {
                let args = vec![self.expr(time_zone)?, self.expr(timestamp)?];
                self.call_named("timezone", args, span)
            }
            E::Extract { field, syntax: ExtractSyntax::From | ExtractSyntax::Comma, expr } => {
                let field = Expr::literal(Datum::text(field_name(field)), PgType::Unknown);
                let args = vec![field, self.expr(expr)?];
                self.call_by_grammar("extract", args, expr.place(), &["extract"])
            }
            E::Ceil { expr, field } => self.rounding("ceil", expr, field, span),
            E::Floor { expr, field } => self.rounding("floor", expr, field, span),
            E::Position { expr, r#in } => {
                // position(substring IN string) is position(string, substring), also known as strpos.
                let args = vec![self.expr(r#in)?, self.expr(expr)?];
                let name = if self.cx.registry.functions("position").is_empty() { "strpos" } else { "position" };
                self.call_by_grammar(name, args, expr.place(), &["position"])
            }
            E::Substring { expr, substring_from, substring_for, special: _, shorthand: _ } => {
                let mut args = vec![self.expr(expr)?];
                match (substring_from, substring_for) {
                    (Some(from), length) => {
                        args.push(self.expr(from)?);
                        if let Some(length) = length {
                            args.push(self.expr(length)?);
                        }
                    }
                    (None, Some(length)) => {
                        args.push(Expr::literal(Datum::Int4(1), PgType::Int4));
                        let length = self.expr(length)?;
                        args.push(self.implicit(length, PgType::Int4, span)?);
                    }
                    (None, None) => {}
                }
                self.call_by_grammar("substring", args, expr.place(), &["substring"])
            }
            E::Trim { expr, trim_where, trim_what, trim_characters } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "btrim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                let mut args = vec![self.expr(expr)?];
                if let Some(what) = trim_what {
                    args.push(self.expr(what)?);
                }
                for what in trim_characters.iter().flatten() {
                    args.push(self.expr(what)?);
                }
                let first = trim_what.as_deref().unwrap_or(expr).place();
                self.call_by_grammar(name, args, first, &["trim"])
            }
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args = vec![self.expr(expr)?, self.expr(overlay_what)?, self.expr(overlay_from)?];
                if let Some(length) = overlay_for {
                    args.push(self.expr(length)?);
                }
                self.call_by_grammar("overlay", args, expr.place(), &["overlay"])
            }
            E::QualifiedWildcard(name, _) => self.row_of(name),
            E::IsNormalized { expr, form, negated } => self.is_normalized(expr, *form, *negated),
            E::Collate { expr, collation } => {
                let parts = name_parts(collation)?;
                let known = match parts.as_slice() {
                    [name] => Some(name),
                    [schema, name] if schema == "pg_catalog" => Some(name),
                    _ => None,
                };
                // Postgres's place is that of the word COLLATE.
                let place = self.cx.source.symbol_before(name_span(collation), "collate");
                let at = |error: Error| match place {
                    Some(position) => error.at(position),
                    None => error,
                };
                if !known.is_some_and(|n| matches!(n.as_str(), "C" | "POSIX" | "default" | "ucs_basic")) {
                    return Err(at(undefined_collation(&parts.join("."))));
                }
                let inner = self.expr(expr)?;
                let inner = self.known(inner)?;
                if !inner.ty.ty.is_string() && inner.ty.ty.element().is_none() {
                    return Err(at(Error::new(
                        ErrorKind::DatatypeMismatch,
                        format!("collations are not supported by type {}", inner.ty.ty),
                    )));
                }
                Ok(inner)
            }
            other => Err(self.at(Error::unsupported(format!("expression {other}")), span)),
        }
    }

    pub(crate) fn value(&mut self, value: &Value, span: Span) -> Result<Expr> {
        let ty = match value {
            Value::Number(..) | Value::Boolean(_) | Value::Null | Value::Placeholder(_) => PgType::Unknown.into(),
            _ => self.string_type(value, span),
        };
        let unknown = |text: &str| Expr::literal(Datum::text(text), ty);
        Ok(match value {
            Value::Number(text, _) => self.number(text, span)?,
            Value::SingleQuotedString(s) | Value::EscapedStringLiteral(s) | Value::NationalStringLiteral(s) => {
                unknown(s)
            }
            Value::DollarQuotedString(s) => unknown(&s.value),
            Value::Boolean(b) => Expr::literal(Datum::Bool(*b), PgType::Bool),
            Value::Null => Expr::literal(Datum::Null, PgType::Unknown),
            Value::Placeholder(name) => self.param(name, span)?,
            Value::SingleQuotedByteStringLiteral(_) | Value::HexStringLiteral(_) => {
                return Err(self.at(Error::unsupported("bit string literal"), span));
            }
            _ => return Err(self.at(Error::unsupported("this form of literal"), span)),
        })
    }

    /// An integer constant is int4, int8 or numeric, whichever is the first to hold it.
    pub(super) fn number(&mut self, text: &str, span: Span) -> Result<Expr> {
        let digits: String = text.chars().filter(|c| *c != '_').collect();
        if let Ok(v) = digits.parse::<i32>() {
            return Ok(Expr::literal(Datum::Int4(v), PgType::Int4));
        }
        if let Ok(v) = digits.parse::<i64>() {
            return Ok(Expr::literal(Datum::Int8(v), PgType::Int8));
        }
        let literal = Expr::literal(Datum::text(digits), PgType::Unknown);
        self.implicit(literal, PgType::Numeric, span)
    }

    fn names_table(&self, name: &ast::ObjectName) -> bool {
        let parts = name_parts(name).unwrap_or_default();
        matches!(self.cx.relation(&parts), Ok(super::Relation::Table(_)))
    }

    fn interval(&mut self, interval: &ast::Interval) -> Result<Expr> {
        let ast::Interval { value, leading_field, leading_precision, last_field, fractional_seconds_precision } =
            interval;
        let span = value.place();
        // `SECOND (2)` is about its fraction.
        let only_seconds = matches!(leading_field, Some(DateTimeField::Second)) && last_field.is_none();
        if leading_precision.is_some() && (!only_seconds || fractional_seconds_precision.is_some()) {
            let error = Error::new(ErrorKind::SyntaxError, "syntax error at or near \"(\"");
            return Err(match self.cx.source.symbol_after(Span::new(span.end, span.end), "(") {
                Some(position) => error.at(position),
                None => error,
            });
        }
        let fractional_seconds_precision = fractional_seconds_precision.or(*leading_precision);
        let bit = |f: &DateTimeField| -> Option<i32> {
            Some(match f {
                DateTimeField::Year => 1 << 2,
                DateTimeField::Month => 1 << 1,
                DateTimeField::Day => 1 << 3,
                DateTimeField::Hour => 1 << 10,
                DateTimeField::Minute => 1 << 11,
                DateTimeField::Second => 1 << 12,
                _ => return None,
            })
        };
        // Only some fields go together.
        let pairs = matches!(
            (leading_field, last_field),
            (_, None)
                | (Some(DateTimeField::Year), Some(DateTimeField::Month))
                | (Some(DateTimeField::Day), Some(DateTimeField::Hour))
                | (Some(DateTimeField::Day | DateTimeField::Hour), Some(DateTimeField::Minute))
                | (Some(DateTimeField::Day | DateTimeField::Hour | DateTimeField::Minute), Some(DateTimeField::Second))
        );
        if let (false, Some(last)) = (pairs, last_field) {
            let wrong = match leading_field {
                Some(DateTimeField::Month | DateTimeField::Second) => "to".to_owned(),
                _ => last.to_string(),
            };
            let found = self.cx.source.word_after(Span::new(span.end, span.end), &wrong);
            let word = found.map_or(wrong.as_str(), |(_, word)| word);
            let error = Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{word}\""));
            return Err(match found {
                Some((position, _)) => error.at(position),
                None => error,
            });
        }
        // The coarsest to the finest field: `DAY TO MINUTE` includes the hours between.
        let order = [1 << 2, 1 << 1, 1 << 3, 1 << 10, 1 << 11, 1 << 12];
        let mut ty = ColumnType::from(PgType::Interval);
        if let Some(first) = leading_field {
            let bad = || Error::unsupported("this field of an interval");
            let first = bit(first).ok_or_else(bad)?;
            let last = match last_field {
                Some(f) => bit(f).ok_or_else(bad)?,
                None => first,
            };
            let from = order.iter().position(|b| *b == first).unwrap_or(0);
            let to = order.iter().position(|b| *b == last).unwrap_or(0);
            let range: i32 = order.get(from..=to).unwrap_or(&[]).iter().sum();
            let precision = fractional_seconds_precision.map_or(0xffff, |p| i32::try_from(p.min(6)).unwrap_or(6));
            ty.typmod = (range << 16) | precision;
        } else if fractional_seconds_precision.is_some() {
            return Err(self.at(Error::unsupported("interval precision"), span));
        }
        let literal = self.expr(value)?;
        self.cast(literal, ty, span)
    }

    /// A cast that the user wrote.
    pub(crate) fn cast(&mut self, arg: Expr, to: ColumnType, span: Span) -> Result<Expr> {
        let from = arg.ty.ty;
        if from == PgType::Record && to.ty == PgType::Record {
            return Ok(arg);
        }
        self.coerce(arg, to, CastContext::Explicit, true, span)?.ok_or_else(|| {
            self.at(Error::new(ErrorKind::CannotCoerce, format!("cannot cast type {from} to {}", to.ty)), span)
        })
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Expr> {
        self.conditionally("CASE", |b| {
            let mut whens = Vec::with_capacity(conditions.len());
            let mut results = Vec::with_capacity(conditions.len() + 1);
            let mut spans = Vec::with_capacity(conditions.len() + 1);
            for ast::CaseWhen { condition, result } in conditions {
                let span = condition.place();
                let when = match operand {
                    Some(operand) => {
                        let left = b.expr(operand)?;
                        let left = b.known(left)?;
                        let right = b.expr(condition)?;
                        let place = b.position(span);
                        b.operator("=", Some(left), right, place)?
                    }
                    None => b.expr(condition)?,
                };
                whens.push(b.boolean(when, "CASE/WHEN", span)?);
                results.push(b.expr(result)?);
                spans.push(result.place());
            }
            if let Some(otherwise) = otherwise {
                // Postgres looks at ELSE first when it chooses the type.
                results.insert(0, b.expr(otherwise)?);
                spans.insert(0, otherwise.place());
            }
            let (mut results, mut ty) = b.unify(results, &spans, "CASE")?;
            if otherwise.is_none() {
                // The NULL behind it has no modifier.
                ty.typmod = -1;
            }
            let otherwise = otherwise.is_some().then(|| Box::new(results.remove(0)));
            let branches = whens.into_iter().zip(results).map(|(when, then)| CaseBranch { when, then }).collect();
            Ok(Expr { kind: ExprKind::Case { branches, otherwise }, ty })
        })
    }

    /// Runs `f` where set-returning functions may not stand.
    pub(crate) fn conditionally<T>(&mut self, what: &'static str, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = self.levels.last().and_then(|l| l.conditional);
        if let Some(level) = self.levels.last_mut() {
            level.conditional = Some(what);
        }
        let result = f(self);
        if let Some(level) = self.levels.last_mut() {
            level.conditional = before;
        }
        result
    }

    fn rounding(&mut self, name: &'static str, expr: &ast::Expr, field: &CeilFloorKind, span: Span) -> Result<Expr> {
        if !matches!(field, CeilFloorKind::DateTimeField(DateTimeField::NoDateTime)) {
            return Err(Error::unsupported(format!("{name} to a unit")));
        }
        let arg = self.expr(expr)?;
        self.call_named(name, vec![arg], span)
    }
}

fn is_null(mut e: &ast::Expr) -> bool {
    while let ast::Expr::Nested(inner) = e {
        e = inner;
    }
    matches!(e, ast::Expr::Value(value) if value.value == Value::Null)
}

/// Name of a field of EXTRACT, as the function takes it.
fn field_name(field: &DateTimeField) -> String {
    match field {
        DateTimeField::Custom(ident) => ident.value.to_lowercase(),
        other => other.to_string().to_lowercase(),
    }
}

pub(crate) fn not(expr: Expr) -> Expr {
    Expr { kind: ExprKind::Not(Box::new(expr)), ty: PgType::Bool.into() }
}

/// The refusal of a collation: 0A000 for one that PostgreSQL could have from the system or from ICU, 42704 for others.
pub(crate) fn undefined_collation(name: &str) -> Error {
    let plain = name.strip_prefix("pg_catalog.").unwrap_or(name);
    let locale = plain.split(['.', '@']).next().unwrap_or_default();
    let of_system = locale.split_once('_').is_some_and(|(language, country)| {
        matches!(language.len(), 2 | 3) && country.len() == 2 && country.chars().all(|c| c.is_ascii_uppercase())
    });
    if of_system || plain.ends_with("-x-icu") || plain == "unicode" || plain.starts_with("C.") {
        return Error::unsupported(format!("collation \"{name}\""));
    }
    Error::new(ErrorKind::UndefinedObject, format!("collation \"{name}\" for encoding \"UTF8\" does not exist"))
}
